"""One small cohort with a signal, one without, and the results that several tests share."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import pm_lab as pm

CLINICAL = ["age", "stage"]


def made_up(n=120, n_genes=60, effect=0.9, seed=2) -> ad.AnnData:
    """The first four genes act on the hazard and the response; age does a little, stage not at all."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, n_genes))
    age = rng.normal(60, 10, n)
    risk = effect * X[:, :4] @ [1, 1, -1, -1] / 2 + effect * (age - 60) / 30
    time, censoring = rng.exponential(np.exp(-2 * risk)) * 30, rng.exponential(60, n)
    obs = pd.DataFrame(
        {
            "patient": [f"P{i:03d}" for i in range(n)],
            "age": age,
            "stage": pd.Categorical(rng.choice(["I", "II", "III"], n)),
            "batch": rng.choice(["a", "b"], n),
            "os_time": np.minimum(time, censoring),
            "os_event": time <= censoring,
            "response": pd.Categorical(np.where(risk + rng.logistic(size=n) / 3 > 0, "yes", "no")),
            "level": risk + 0.5 * rng.normal(size=n),
        },
        index=[f"P{i:03d}" for i in range(n)],
    )
    var = pd.DataFrame(index=[f"G{i:02d}" for i in range(n_genes)])
    endpoints = {"os": {"time": "os_time", "event": "os_event", "unit": "months"}}
    return ad.AnnData(X, obs=obs, var=var, uns={"endpoints": endpoints})


@pytest.fixture(scope="session")
def shared():
    """The cohort with a signal. Not to be changed: see ``cohort`` for a copy."""
    return made_up()


@pytest.fixture
def cohort(shared):
    return shared.copy()


@pytest.fixture(scope="session")
def larger():
    """Twice as many patients, for questions about parts of them."""
    return made_up(n=300, n_genes=30)


@pytest.fixture(scope="session")
def noise():
    """No gene has anything to do with anything."""
    return made_up(n=80, n_genes=1000, effect=0.0, seed=5)


@pytest.fixture(scope="session")
def nested(shared):
    return pm.biomarkers.nested_cross_validate(
        shared, "os", ["elastic_net", "elastic_net+clinical", "clinical"], clinical=CLINICAL, n_repeats=2
    )
