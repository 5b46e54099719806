"""Small data sets with published or hand-computed answers, and the cohorts, made once."""

import numpy as np
import pandas as pd
import pytest

import pm_lab as pm

# Freireich et al., Blood 21:699 (1963), weeks in remission; as in Cox (1972), table 1.
SIX_MP = "6 6 6 6+ 7 9+ 10 10+ 11+ 13 16 17+ 19+ 20+ 22 23 25+ 32+ 32+ 34+ 35+"
PLACEBO = "1 1 2 2 3 4 4 5 5 8 8 8 8 11 11 12 12 15 17 22 23"


@pytest.fixture(scope="session")
def leukemia():
    """42 children; the endpoint is ``remission``, the arms are 6-MP and placebo."""
    rows = [
        (weeks, arm) for arm, times in (("6-MP", SIX_MP), ("placebo", PLACEBO)) for weeks in times.split()
    ]
    table = pd.DataFrame(
        {
            "weeks": [int(weeks.rstrip("+")) for weeks, _ in rows],
            "relapse": [not weeks.endswith("+") for weeks, _ in rows],
            "arm": pd.Categorical([arm for _, arm in rows]),
        }
    )
    pm.survival.declare_endpoint(table, "remission", "weeks", "relapse", "weeks")
    return table


@pytest.fixture(scope="session")
def rossi():
    from lifelines.datasets import load_rossi

    table = load_rossi()
    pm.survival.declare_endpoint(table, "arrest", "week", "arrest", "weeks")
    return table


@pytest.fixture
def late():
    """Six patients who came under observation late; patient c enters as a has the event."""
    return pd.DataFrame(
        {
            "entry": [0.0, 0, 2, 3, 0, 1],
            "time": [2.0, 4, 5, 6, 7, 8],
            "cause": [1, 2, 1, 1, 0, 2],
            "x": [1.0, 0, 1, 1, 0, 0],
        },
        index=list("abcdef"),
    )


@pytest.fixture(scope="session")
def cohort():
    """The built-in cohort. Not to be changed: see ``bulk`` for a copy."""
    return pm.datasets.simulate_cohort(n_cells=600, seed=0)


@pytest.fixture
def bulk(cohort):
    return cohort.bulk.copy()


@pytest.fixture(scope="session")
def breast():
    """GSE7390, with the grade of two patients of unknown grade put into the middle one."""
    cohort = pm.datasets.load("gse7390")
    grade = cohort.obs["grade"].astype(str).replace("unknown", "intermediate")
    cohort.obs["grade"] = pd.Categorical(grade)
    return cohort


@pytest.fixture(scope="session")
def drawn():
    """400 patients from an exponential model with log hazard x (SD 1), halves to learn from and to judge."""
    rng = np.random.default_rng(0)
    n = 400
    x, noise = rng.normal(size=(2, n))
    death, censoring = rng.exponential(10 * np.exp(-x)), rng.uniform(5, 30, n)
    table = pd.DataFrame(
        {
            "x": x,
            "noise": noise,
            "age": rng.integers(30, 80, n),
            "time": np.minimum(death, censoring),
            "event": death <= censoring,
        },
        index=[f"p{i:03d}" for i in range(n)],
    )
    pm.survival.declare_endpoint(table, "os", "time", "event", "months")
    return table
