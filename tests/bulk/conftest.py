"""The built-in cohort and its tested genes, made once, and a small cohort for each test to spoil."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import pm_lab as pm


@pytest.fixture(scope="session")
def cohort():
    """The built-in cohort. Not to be changed: see ``bulk`` for a copy."""
    return pm.datasets.simulate_cohort(n_cells=600, seed=0)


@pytest.fixture
def bulk(cohort):
    return cohort.bulk.copy()


@pytest.fixture(scope="session")
def results(cohort):
    """DESeq2 on the built-in cohort, with the confounders in the design."""
    return pm.bulk.differential_expression(cohort)


@pytest.fixture
def small():
    """12 patients × 80 genes; the first six are four-fold up in responders."""
    rng = np.random.default_rng(0)
    n, n_genes = 12, 80
    obs = pd.DataFrame(
        {
            "response": ["yes", "no"] * 6,
            "batch": ["a", "a", "a", "a", "b", "b"] * 2,
            "age": np.linspace(40, 70, n).round(),
        },
        index=[f"p{i:02d}" for i in range(n)],
    )
    rate = np.exp(rng.normal(5, 1, n_genes)) * rng.gamma(12, 1 / 12, (n, n_genes))
    rate[:, :6] *= np.where(obs["response"] == "yes", 4, 1)[:, None]
    counts = rng.poisson(rate).astype(float)
    var = pd.DataFrame(index=[f"g{i}" for i in range(n_genes)])
    return ad.AnnData(np.log2(counts + 1), obs=obs, var=var, layers={"counts": counts})
