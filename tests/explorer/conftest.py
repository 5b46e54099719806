"""Cohorts of the explorer, made once: a small one with everything odd in it, and the built-in one."""

import anndata
import numpy as np
import pandas as pd
import pytest

import pm_lab as pm
from pm_lab.explorer import CohortData, CohortState

N = 60
COMMAS = ["a, b", 'say "c"', "d and e", "ü ≥ 1"]


@pytest.fixture(scope="session")
def plain():
    """The plain table of the small cohort, in the words of expressions: labels as text, genes as columns."""
    rng = np.random.default_rng(7)
    names = [f"Zzyzx-{i:03d}" for i in range(N)]
    age = rng.integers(30, 80, N).astype(float)
    age[rng.random(N) < 0.2] = np.nan
    er = rng.choice(["0", "1", None], N, p=[0.3, 0.5, 0.2])
    genes = rng.normal(6, 2, (N, 3)).astype(np.float32)
    genes[rng.random((N, 3)) < 0.05] = np.nan
    dates = pd.Series(pd.Timestamp("2015-01-01") + pd.to_timedelta(rng.integers(0, 3000, N), "D"))
    return pd.DataFrame(
        {
            "age": age,
            "size (cm)": rng.choice([0.1, 0.7, 1.3, 2.25, 1 / 3, 5e-324, 1e22], N) + rng.integers(0, 3, N),
            "er": er,
            'odd\'s "name"': rng.choice(COMMAS, N),
            "flag": rng.choice(["False", "True"], N),
            "first": dates.where(rng.random(N) > 0.1).to_numpy(),
            "note": [f"Quuxville {i % 50}" for i in range(N)],
            "months": rng.exponential(40, N).round(1),
            "died": rng.choice(["0", "1"], N),
            "gene:GENE1": genes[:, 0],
            "gene:GENE2": genes[:, 1],
            "gene:GENE3": genes[:, 2],
            "X_umap:1": rng.normal(size=N).astype(np.float32),
            "X_umap:2": rng.normal(size=N).astype(np.float32),
        },
        index=pd.Index(names, name="patient"),
    )


@pytest.fixture(scope="session")
def adata(plain):
    """The small cohort as a user would have it: numbers as numbers, booleans as booleans, categories."""
    obs = plain.iloc[:, :9].copy()
    obs["er"] = pd.to_numeric(obs["er"])
    obs['odd\'s "name"'] = obs['odd\'s "name"'].astype("category")
    obs["flag"] = obs["flag"] == "True"
    obs["died"] = obs["died"] == "1"
    genes = plain.filter(like="gene:")
    var = pd.DataFrame(index=genes.columns.str.removeprefix("gene:"))
    adata = anndata.AnnData(genes.to_numpy(), obs=obs, var=var)
    adata.obsm["X_umap"] = plain[["X_umap:1", "X_umap:2"]].to_numpy()
    pm.survival.declare_endpoint(adata, "os", "months", "died", "months")
    return adata


@pytest.fixture(scope="session")
def data(adata):
    with pytest.warns(pm.errors.PmLabWarning, match="'first'"):
        return CohortData.open(adata)


@pytest.fixture
def state(data):
    return CohortState(data)


@pytest.fixture(scope="session")
def built_in():
    """The simulated cohort of 120 patients, opened once; leave it unchanged."""
    return CohortData.open(pm.datasets.simulate_cohort(seed=0))


@pytest.fixture(scope="session")
def evaluated(plain):
    """The patients that an expression keeps, by pandas on the plain table."""

    def evaluated(expression):
        kept = eval(expression, {"table": plain, "pd": pd, "pm": pm})
        return plain.index[kept].tolist()

    return evaluated
