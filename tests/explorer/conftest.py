"""Cohorts of the explorer, made once: a small one with everything odd in it, and the built-in one."""

import functools

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import pm_lab as pm
from pm_lab.explorer import CohortData, CohortState, small_counts

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


@pytest.fixture(scope="session")
def followed():
    """A function: 300 patients with an endpoint, a label and a gene; late entry, competing risks and ties."""

    @functools.cache
    def followed(late=False, competing=False, ties=False, n=300):
        rng = np.random.default_rng(3)
        names = [f"F{i:03d}" for i in range(n)]
        arm = rng.choice(["new", "old"], n, p=[0.4, 0.6])
        end = rng.exponential(20, n) * np.where(arm == "new", 1.5, 1.0) + 0.1
        censoring = rng.uniform(2, 50, n)
        event = (end <= censoring).astype(int) * (rng.integers(1, 4, n) if competing else 1)
        time = np.ceil(np.minimum(end, censoring)) if ties else np.minimum(end, censoring)
        obs = pd.DataFrame({"arm": arm, "age": rng.normal(60, 8, n), "time": time, "event": event}, names)
        spec = {"time": "time", "event": "event", "unit": "months"}
        if competing:
            spec |= {"censored": 0, "of_interest": 1}
        if late:
            obs["entry"] = np.where(rng.random(n) < 0.5, 0, np.floor(rng.random(n) * time * 0.9))
            spec["entry"] = "entry"
        genes = rng.normal(6, 1, (n, 5)).astype(np.float32)
        genes[:, 0] += (time / 20).astype(np.float32)
        var = pd.DataFrame(index=[f"GENE{i}" for i in range(5)])
        cohort = anndata.AnnData(genes, obs, var)
        pm.survival.declare_endpoint(cohort, "os", **spec)
        return cohort

    return followed


@pytest.fixture(scope="session")
def with_cells():
    """40 patients and their cells: group "yes" has more B cells; P39 has 5 cells, X are counts."""
    rng = np.random.default_rng(5)
    names = [f"P{i:02d}" for i in range(40)]
    group = np.repeat(["yes", "no"], 20)
    rows, types = [], []
    for i, name in enumerate(names):
        n = 5 if i == 39 else 60
        shares = [0.5, 0.3, 0.2] if group[i] == "yes" else [0.2, 0.48, 0.32]
        rows += [name] * n
        types += list(rng.choice(["B cell", "T cell", "Monocyte"], n, p=shares))
    counts = rng.poisson(3, (len(rows), 4)).astype(np.float32)
    counts[:, 1] = rng.poisson(np.where(np.array(types) == "B cell", 8, 0.2))
    obs = pd.DataFrame({"patient": rows, "cell_type": types}, [f"c{i}" for i in range(len(rows))])
    cells = anndata.AnnData(sparse.csr_matrix(counts), obs, pd.DataFrame(index=["A1", "CD19", "C3", "D4"]))
    cells.obsm["X_umap"] = rng.normal(size=(len(rows), 2))
    clinical = pd.DataFrame({"response": group, "age": np.arange(40.0) + 30}, names)
    return clinical, cells


@pytest.fixture(autouse=True)
def nothing_shared(monkeypatch):
    """Tests open the same data again and again: what one of them shared does not bind the next."""
    monkeypatch.setattr(small_counts, "REGISTERS", {})
