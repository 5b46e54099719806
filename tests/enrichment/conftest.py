"""One built-in cohort for all tests of enrichment, and a ranking in which one set lies at the top."""

import numpy as np
import pandas as pd
import pytest

import pm_lab as pm


@pytest.fixture(scope="session")
def cohort_once():
    return pm.datasets.simulate_cohort(n_cells=600, seed=0)


@pytest.fixture
def bulk(cohort_once):
    """Patients × genes, anew for each test."""
    return cohort_once.bulk.copy()


@pytest.fixture(scope="session")
def core():
    return pm.gene_sets.core("pathway")


@pytest.fixture(scope="session")
def ranking():
    """1,000 genes; UP is among the highest, DOWN among the lowest (see ``sets``)."""
    values = np.random.default_rng(0).normal(size=1000)
    values[:20] += 1.5
    values[20:40] -= 1.5
    return pd.Series(values, index=[f"GENE{i}" for i in range(1000)], name="stat")


@pytest.fixture(scope="session")
def sets(ranking):
    rng = np.random.default_rng(1)
    random = {f"RANDOM{i}": list(rng.choice(ranking.index[40:], 25, replace=False)) for i in range(12)}
    return {"UP": list(ranking.index[:20]), "DOWN": list(ranking.index[20:40]), **random}
