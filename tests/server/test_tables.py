"""Tables, filters, summaries and CSV: the numbers that pandas gives."""

import io
import json
import os

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from tornado.httpclient import HTTPClientError
from tornado.simple_httpclient import HTTPStreamClosedError

from pm_lab.server import export

N, GENES = 500, 20
COLUMNS = ["cell_type", "age", "n", "treated", "note", "score"]


def cells():
    rng = np.random.default_rng(0)
    obs = pd.DataFrame(index=[f"Cell_{i:03d}" for i in rng.permutation(N)])
    obs["cell_type"] = pd.Categorical(rng.choice(["T", "B", "NK"], N), categories=["T", "B", "NK", "unused"])
    obs["age"] = rng.integers(30, 80, N) / 2
    obs["n"] = rng.integers(-5, 5, N)
    obs["treated"] = rng.random(N) < 0.3
    obs["note"] = [f"Patient P{i:04d}" for i in rng.integers(0, 400, N)]
    obs["score"] = rng.normal(size=N).astype("float32")
    obs.iloc[rng.choice(N, 40, replace=False), 0] = np.nan
    obs.iloc[rng.choice(N, 40, replace=False), 1] = np.nan
    adata = anndata.AnnData(sp.random(N, GENES, 0.3, "csr", random_state=1, dtype="float32"), obs=obs)
    adata.var_names = [f"GENE{i}" for i in range(GENES - 2)] + ["CD3E", "ACD3"]
    adata.obsm["X_umap"] = rng.normal(size=(N, 2)).astype("float32")
    adata.strings_to_categoricals = lambda *args: None  # keep the texts
    return adata


@pytest.fixture(scope="module")
def adata():
    return cells()


@pytest.fixture(params=["h5ad", "zarr"])
def path(adata, jp_root_dir, request):
    name = f"x.{request.param}"
    if request.param == "h5ad":
        adata.write_h5ad(jp_root_dir / name, compression="gzip")
    else:
        with anndata.settings.override(zarr_write_format=3):
            adata.write_zarr(jp_root_dir / name)
    return name


pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of anndata and zarr on formats to come


def listed(values):
    return [None if pd.isna(value) else value for value in values]


async def test_pages_follow_the_file(path, adata, call):
    for start, stop in ((0, 10), (123, 223), (495, 600), (900, 950), (0, 2_000)):
        status, page = await call("anndata/table", path=path, start=start, stop=stop)
        assert status == 200
        expected = adata.obs.iloc[start:stop]
        assert page["index"] == expected.index.tolist()
        assert (page["n_total"], page["n_matching"]) == (N, N)
        assert page["positions"] == list(range(page["start"], page["stop"]))
        for name in COLUMNS:
            values = page["columns"][name]["values"]
            if name == "score":
                assert np.allclose(values, expected[name])
            else:
                assert values == listed(expected[name])
    assert (await call("anndata/table", path=path, stop=2_001))[0] == 400
    _, page = await call("anndata/table", path=path, axis="var", columns="[]")
    assert page["index"] == adata.var_names.tolist() and page["columns"] == {}


async def test_sorting_is_that_of_pandas(path, adata, call):
    for name in COLUMNS:
        for descending in (0, 1):
            query = {"sort": name, "descending": descending, "columns": json.dumps([name]), "stop": N}
            _, page = await call("anndata/table", path=path, **query)
            expected = adata.obs.sort_values(name, ascending=not descending, kind="stable")
            assert page["index"] == expected.index.tolist(), (name, descending)
            assert page["positions"] == adata.obs_names.get_indexer(expected.index).tolist()
    _, page = await call("anndata/table", path=path, sort=":index", descending=1, columns="[]", stop=N)
    assert page["index"] == sorted(adata.obs_names, reverse=True)


def condition(kind, column="", **rest):
    return {"kind": kind, "axis": "obs", "column": column, **rest}


FILTERS = {
    "both ends": (
        [condition("range", "age", min=20, max=30.5, missing=False)],
        lambda a: a.obs["age"].between(20, 30.5),
    ),
    "open end": ([condition("range", "n", min=None, max=-2)], lambda a: a.obs["n"] <= -2),
    "keeps missing": (
        [condition("range", "age", min=35, max=None, missing=True)],
        lambda a: (a.obs["age"] >= 35) | a.obs["age"].isna(),
    ),
    "categories": (
        [condition("values", "cell_type", values=["T", "NK"])],
        lambda a: a.obs["cell_type"].isin(["T", "NK"]),
    ),
    "missing category": (
        [condition("values", "cell_type", values=["B"], missing=True)],
        lambda a: a.obs["cell_type"].isin(["B"]) | a.obs["cell_type"].isna(),
    ),
    "booleans": ([condition("values", "treated", values=[True])], lambda a: a.obs["treated"]),
    "booleans as texts": ([condition("values", "treated", values=["False"])], lambda a: ~a.obs["treated"]),
    "numbers as texts": ([condition("values", "n", values=["3", -1])], lambda a: a.obs["n"].isin([3, -1])),
    "texts": (
        [condition("values", "note", values=["Patient P0001", "Patient P0002", "Patient P0003"])],
        lambda a: a.obs["note"].isin(["Patient P0001", "Patient P0002", "Patient P0003"]),
    ),
    "a part of a text": (
        [condition("contains", "note", text="p00")],
        lambda a: a.obs["note"].str.contains("p00", case=False),
    ),
    "a part of a name": (
        [condition("contains", "", text="CELL_1")],
        lambda a: a.obs_names.str.contains("Cell_1"),
    ),
    "a part of a category": (
        [condition("contains", "cell_type", text="n")],
        lambda a: a.obs["cell_type"] == "NK",
    ),
    "a gene": (
        [{"kind": "gene", "gene": "CD3E", "layer": None, "min": 0.2, "max": None}],
        lambda a: a[:, "CD3E"].X.toarray().ravel() >= 0.2,
    ),
    "a lasso": (
        [{"kind": "lasso", "key": "X_umap", "x": 0, "y": 1, "polygon": [[0, 0], [3, 0], [3, 3], [0, 3]]}],
        lambda a: ((a.obsm["X_umap"] > 0) & (a.obsm["X_umap"] < 3)).all(axis=1),
    ),
    "all together": (
        [
            condition("range", "n", min=0, max=None),
            condition("values", "cell_type", values=["T"]),
            condition("contains", "note", text="p0"),
        ],
        lambda a: (a.obs["n"] >= 0) & (a.obs["cell_type"] == "T") & a.obs["note"].str.contains("P0"),
    ),
    "other axis": ([{**condition("contains", "", text="x"), "axis": "var"}], lambda a: np.ones(N, bool)),
}


async def test_filters_are_those_of_pandas(path, adata, call):
    for name, (filters, kept) in FILTERS.items():
        expected = adata.obs[np.asarray(kept(adata), bool)]
        query = {"filters": json.dumps(filters), "columns": "[]", "stop": N, "path": path}
        status, page = await call("anndata/table", **query)
        assert status == 200, name
        assert page["index"] == expected.index.tolist(), name
        assert page["n_matching"] == len(expected) and page["n_total"] == N
        _, page = await call("anndata/table", **query, sort="score")
        assert page["index"] == expected.sort_values("score", kind="stable").index.tolist(), name
        _, summary = await call(
            "anndata/summary", path=path, filters=json.dumps(filters), columns='["age", "note"]'
        )
        assert summary["n_matching"] == len(expected)
        age, note = summary["columns"]
        assert age["n_missing"] == expected["age"].isna().sum()
        if expected["age"].notna().any():
            assert age["median"] == pytest.approx(expected["age"].median())
        assert note["n_unique"] == expected["note"].nunique()


async def test_columns_in_figures(path, adata, call):
    obs = adata.obs
    for name in ("age", "n", "score"):
        _, column = await call("anndata/column", path=path, name=name)
        known = obs[name].dropna()
        assert column["n"] == N and column["n_missing"] == N - len(known)
        assert column["n_unique"] == known.nunique()
        for figure in ("min", "max", "mean", "median"):
            assert column[figure] == pytest.approx(float(getattr(known, figure)()), rel=1e-5)
        assert sum(column["histogram"]["counts"]) == len(known)
        assert len(column["histogram"]["edges"]) == len(column["histogram"]["counts"]) + 1
    for name in ("cell_type", "treated", "note"):
        _, column = await call("anndata/column", path=path, name=name)
        counts = obs[name].value_counts()
        found = {one["value"]: one["count"] for one in column["categories"]}
        assert found == {str(value): count for value, count in counts[counts > 0].items()}
        assert [one["count"] for one in column["categories"]] == sorted(found.values(), reverse=True)
        assert column["n_missing"] == obs[name].isna().sum() and column["n_more"] == 0
    _, column = await call("anndata/column", path=path)
    assert column["n_unique"] == N


async def test_a_column_of_many_texts_names_the_most_frequent(jp_root_dir, call):
    obs = pd.DataFrame({"note": [f"t{i // 2}" for i in range(3_000)] + ["often"] * 5})
    adata = anndata.AnnData(np.zeros((len(obs), 1), "float32"), obs=obs.set_axis(obs.index.astype(str)))
    adata.strings_to_categoricals = lambda *args: None
    adata.write_h5ad(jp_root_dir / "x.h5ad")
    _, column = await call("anndata/column", path="x.h5ad", name="note")
    assert column["categories"][0] == {"value": "often", "count": 5}
    assert column["n_unique"] == 1_501 and len(column["categories"]) == 1_000 and column["n_more"] == 501


async def test_names_begin_with_the_text_before_they_contain_it(path, call):
    _, found = await call("anndata/names", path=path, prefix="cd3")
    assert found == {"names": ["CD3E", "ACD3"], "n": 2}
    _, found = await call("anndata/names", path=path, prefix="gene1", limit=3)
    assert found == {"names": ["GENE1", "GENE10", "GENE11"], "n": 9}


async def exported(jp_fetch, **query):
    response = await jp_fetch("pm-lab", "anndata", "export", params=query)
    return response, response.body.decode()


async def test_csv_is_that_of_pandas(path, adata, jp_fetch):
    response, text = await exported(jp_fetch, path=path)
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert "x-obs.csv" in response.headers["Content-Disposition"]
    assert text == adata.obs.to_csv()
    filters = json.dumps([condition("values", "cell_type", values=["T"])])
    columns = ["score", "note"]
    _, text = await exported(
        jp_fetch, path=path, filters=filters, sort="score", descending=1, columns=json.dumps(columns)
    )
    part = adata.obs[adata.obs["cell_type"] == "T"].sort_values("score", ascending=False, kind="stable")
    assert text == part[columns].to_csv()
    _, text = await exported(jp_fetch, path=path, axis="var")
    assert pd.read_csv(io.StringIO(text), index_col=0).index.tolist() == adata.var_names.tolist()


async def test_csv_of_many_rows_is_complete(jp_root_dir, jp_fetch):
    obs = pd.DataFrame({"x": np.arange(7_001)}, index=[f"c{i}" for i in range(7_001)])
    anndata.AnnData(np.zeros((7_001, 1), "float32"), obs=obs).write_h5ad(jp_root_dir / "x.h5ad")
    _, text = await exported(jp_fetch, path="x.h5ad", sort="x", descending=1)
    assert text == obs[::-1].to_csv()


async def test_csv_of_a_file_that_changes_meanwhile_is_no_whole_file(jp_root_dir, jp_fetch, monkeypatch):
    obs = pd.DataFrame({"x": np.arange(7_001)}, index=[f"c{i}" for i in range(7_001)])
    anndata.AnnData(np.zeros((7_001, 1), "float32"), obs=obs).write_h5ad(jp_root_dir / "x.h5ad")
    read = export.lines

    def then_changed(*args):
        os.utime(jp_root_dir / "x.h5ad", ns=(1, 1))
        return read(*args)

    monkeypatch.setattr(export, "lines", then_changed)
    with pytest.raises((HTTPStreamClosedError, HTTPClientError)):
        await exported(jp_fetch, path="x.h5ad")


async def test_csv_holds_no_formulas(jp_root_dir, jp_fetch):
    texts = ["=1+1", "+1", "-1", "@x", "\tx", "plain", "a=b"]
    obs = pd.DataFrame({"=HYPERLINK(1)": texts, "x": [-1.5] * 7}, index=[f"={i}" for i in range(7)])
    adata = anndata.AnnData(np.zeros((7, 1), "float32"), obs=obs)
    adata.write_h5ad(jp_root_dir / "x.h5ad")
    _, text = await exported(jp_fetch, path="x.h5ad")
    table = pd.read_csv(io.StringIO(text))
    assert table.columns.tolist() == ["Unnamed: 0", "'=HYPERLINK(1)", "x"]
    assert table.iloc[:, 0].tolist() == [f"'={i}" for i in range(7)]
    assert table.iloc[:, 1].tolist() == ["'=1+1", "'+1", "'-1", "'@x", "'\tx", "plain", "a=b"]
    assert (table["x"] == -1.5).all()
