"""Simulated cohorts that several test files use, each made once, and the statistics to look at them."""

import hashlib
from functools import cache

import numpy as np
import pandas as pd
from scipy import sparse

import pm_lab as pm

SMALL = {
    "n_patients": 30,
    "n_patients_with_cells": 4,
    "n_cells": 80,
    "n_genes": 1200,
    "n_lines": 12,
    "n_drugs": 3,
}


@cache
def default_cohort(seed):
    return pm.datasets.simulate_cohort(seed=seed)


@cache
def large_cohort():
    """Many patients, hardly any cells: sampling error is small beside what is planted in bulk."""
    return pm.datasets.simulate_cohort(**SMALL | {"n_patients": 3000, "n_lines": 2000, "n_drugs": 20}, seed=1)


@cache
def cohort_with_many_cells():
    sizes = SMALL | {"n_patients": 220, "n_patients_with_cells": 170, "n_cells": 34_000}
    return pm.datasets.simulate_cohort(**sizes, seed=1)


def digest(cohort) -> str:
    """One hash of every matrix, table and truth."""
    seen = hashlib.sha256()

    def add(value):
        if sparse.issparse(value):
            add([value.data, value.indices, value.indptr])
        elif isinstance(value, np.ndarray):
            seen.update(value.tobytes())
        elif isinstance(value, (pd.DataFrame, pd.Series)):
            seen.update(value.to_csv(float_format="%r").encode())
        elif isinstance(value, dict):
            for key, item in value.items():
                seen.update(key.encode())
                add(item)
        elif isinstance(value, list):
            for item in value:
                add(item)
        else:
            seen.update(repr(value).encode())

    for adata in (cohort.bulk, cohort.cells, cohort.screen):
        add([adata.X, adata.obs, adata.var, dict(adata.layers), dict(adata.obsm), dict(adata.uns)])
    add(cohort.truth)
    return seen.hexdigest()


def coefficients(y, columns):
    """Least-squares coefficients and standard errors of y (samples × genes), the intercept first."""
    design = np.column_stack([np.ones(len(y)), *columns]).astype(float)
    inverse = np.linalg.inv(design.T @ design)
    estimates = inverse @ design.T @ y
    residuals = y - design @ estimates
    variance = (residuals**2).sum(axis=0) / (len(y) - design.shape[1])
    return estimates, np.sqrt(np.outer(np.diag(inverse), variance))


def is_yes(obs):
    return (obs["response"] == "yes").to_numpy()


def confounders(obs):
    """Age and batch as columns of a design."""
    return [(obs["age"] - 57) / 11, obs["batch"] == "B2", obs["batch"] == "B3"]


def within_groups(values, groups):
    """Values (one or more columns) less the means of their groups, always as columns."""
    table = pd.DataFrame(np.asarray(values))
    return (table - table.groupby(groups).transform("mean")).to_numpy()
