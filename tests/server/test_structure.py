"""The overview of a file: what it holds, what X is judged to be, warnings, versions, progress."""

import json
import os
import threading

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from tornado.httpclient import HTTPClientError

from pm_lab.server.files import Files
from pm_lab.server.refusals import Cancelled
from pm_lab.server.table import names_like

N = 60


def adata_of(x, **obs):
    table = pd.DataFrame(obs, index=[f"c{i}" for i in range(N)])
    return anndata.AnnData(x, obs=table)


def counts(dtype="float32"):
    return np.random.default_rng(0).poisson(1.0, (N, 8)).astype(dtype)


async def structure_of(call, adata, jp_root_dir, **options):
    written = jp_root_dir / "written.h5ad"
    adata.write_h5ad(written, **options)
    os.replace(written, jp_root_dir / "x.h5ad")  # which this process may have open
    status, found = await call("anndata/structure", path="x.h5ad")
    assert status == 200
    return found


async def test_the_overview_of_a_file(jp_root_dir, call):
    adata = adata_of(counts(), cell_type=pd.Categorical(["B", "T"] * (N // 2)), age=np.arange(N) / 2)
    adata.layers["counts"] = sp.csr_matrix(counts())
    adata.obsm["X_pca"] = np.zeros((N, 5), "float32")
    adata.obsm["X_umap"] = np.zeros((N, 2), "float32")
    adata.obsm["one"] = np.zeros((N, 1), "float32")
    adata.obsm["table"] = pd.DataFrame({"a": np.zeros(N), "b": np.ones(N)}, index=adata.obs_names)
    adata.obsm["texts"] = pd.DataFrame({"a": ["x"] * N, "b": np.ones(N)}, index=adata.obs_names)
    adata.obsp["near"] = sp.csr_matrix(np.eye(N))
    adata.varm["loadings"] = np.zeros((8, 5))
    adata.uns["run"] = {"date": "2026", "deep": {"deeper": {"deepest": {"x": 1}}}}
    adata.uns["table"] = pd.DataFrame({"a": [1]}, index=["r"])
    adata.uns["many"] = {f"k{i:03d}": i for i in range(300)}
    found = await structure_of(call, adata, jp_root_dir, compression="gzip")
    assert (found["path"], found["name"], found["format"]) == ("x.h5ad", "x.h5ad", "h5ad")
    assert found["size"] == (jp_root_dir / "x.h5ad").stat().st_size
    assert found["modified"].startswith("20") and "T" in found["modified"]
    assert found["encoding"] == {"type": "anndata", "version": "0.1.0"}
    assert (found["n_obs"], found["n_vars"]) == (N, 8)
    x, (layer,) = found["x"], found["layers"]
    assert (x["kind"], x["dtype"], x["holds"], x["compression"]) == ("dense", "float32", "counts", "gzip")
    assert x["bytes"] == N * 8 * 4
    assert layer["name"] == "counts" and layer["kind"] == "csr" and layer["n_stored"] == (counts() != 0).sum()
    columns = {column["name"]: column for column in found["obs"]["columns"]}
    assert columns["cell_type"] == {
        "name": "cell_type", "type": "category", "encoding": "categorical", "n_categories": 2,
    }  # fmt: skip
    obsm = {entry["name"]: entry for entry in found["obsm"]}
    points = {name: entry["points"] for name, entry in obsm.items()}
    assert points == {"X_pca": True, "X_umap": True, "one": False, "table": True, "texts": False}
    assert obsm["X_pca"]["shape"] == [N, 5] and obsm["table"]["shape"] == [N, 2]
    assert found["default_embedding"] == "X_umap"
    assert found["obsp"][0]["kind"] == "csr" and found["varm"][0]["shape"] == [8, 5]
    uns = {node["name"]: node for node in found["uns"]}
    assert uns["table"]["kind"] == "dataframe"
    deep = {node["name"]: node for node in uns["run"]["children"]}
    assert deep["date"]["value"] == "2026"
    assert "children" not in deep["deep"]["children"][0]
    assert len(uns["many"]["children"]) + uns["many"]["n_more"] == 300
    assert json.dumps(found["uns"]).count('"name"') <= 200
    assert found["unreadable"] == []


JUDGED = {
    "counts": (counts(), "counts"),
    "sparse counts": (sp.csc_matrix(counts()), "counts"),
    "log": (np.log1p(counts() * 1.3), "log"),
    "scaled": (counts() - counts().mean(axis=0), "scaled"),
    "normalised": (counts() * 1000.5, "unknown"),
    "nothing stored": (sp.csr_matrix((N, 8), dtype="float32"), "unknown"),
    "not a number": (np.full((N, 8), np.nan, "float32"), "unknown"),
}


@pytest.mark.parametrize("name", JUDGED)
async def test_what_x_holds_is_judged_and_said_how(jp_root_dir, call, name):
    x, holds = JUDGED[name]
    found = await structure_of(call, adata_of(x), jp_root_dir)
    assert found["x"]["holds"] == holds
    assert found["x"]["how"].endswith(".")
    lacks_counts = any("raw counts" in one["what"] for one in found["warnings"])
    assert lacks_counts == (holds != "counts")


async def test_warnings_at_once(jp_root_dir, call):
    found = await structure_of(call, adata_of(counts("float64")), jp_root_dir)
    assert [one["where"] for one in found["warnings"] if "float64" in one["what"]] == ["X"]
    found = await structure_of(call, adata_of(counts("float32")), jp_root_dir)
    assert found["warnings"] == []


@pytest.mark.filterwarnings("ignore::UserWarning")
async def test_warnings_after_reading_columns(jp_root_dir, call):
    adata = adata_of(counts(), contact=[f"p{i}@example.org" for i in range(N)], stage=["I", "II"] * (N // 2))
    adata.obs_names = ["twice", "twice", "c3", "c3", "c3", *(f"c{i}" for i in range(5, N))]
    adata.write_h5ad(jp_root_dir / "x.h5ad")
    _, found = await call("anndata/warnings", path="x.h5ad")
    duplicates, contact = found["warnings"]
    assert duplicates["what"].startswith("5 observations") and "twice, c3" in duplicates["what"]
    assert "obs_names_make_unique" in duplicates["mend"]
    assert contact["where"] == "obs/contact" and "e-mail" in contact["what"]
    assert "p1@example.org" not in str(found)
    adata_of(counts()).write_h5ad(jp_root_dir / "clean.h5ad")
    assert (await call("anndata/warnings", path="clean.h5ad"))[1]["warnings"] == []


@pytest.mark.filterwarnings("ignore::UserWarning")
async def test_duplicates_are_found_in_any_piece_of_many_names(jp_root_dir, call):
    n = 120_000
    names = [f"c{i}" for i in range(n)]
    names[70_000] = names[10]
    adata = anndata.AnnData(
        sp.csr_matrix((n, 1), dtype="float32"), obs=pd.DataFrame({"x": np.zeros(n)}, index=names)
    )
    adata.write_h5ad(jp_root_dir / "x.h5ad")
    _, found = await call("anndata/warnings", path="x.h5ad")
    assert found["warnings"][0]["what"] == "2 observations share their name with another: c10."


async def test_whether_rows_are_patients(jp_root_dir, call):
    found = await structure_of(call, adata_of(counts(), patient=[f"P{i}" for i in range(N)]), jp_root_dir)
    assert found["cohort"]["is"] is True
    found = await structure_of(call, adata_of(counts(), patient=["P1", "P2"] * (N // 2)), jp_root_dir)
    assert found["cohort"]["is"] is False
    adata = adata_of(counts(), time=np.ones(N), event=np.ones(N))
    assert (await structure_of(call, adata, jp_root_dir))["cohort"]["is"] is False
    adata.uns["endpoints"] = {"os": {"time": "time", "event": "event", "unit": "days"}}
    found = await structure_of(call, adata, jp_root_dir)
    assert found["cohort"] == {"is": True, "why": "It declares the endpoints os."}


async def test_the_version_of_a_file(jp_root_dir, call, jp_fetch):
    found = await structure_of(call, adata_of(counts()), jp_root_dir)

    async def ask(etag):
        query = {"path": "x.h5ad"}
        return await jp_fetch("pm-lab/anndata/structure", params=query, headers={"If-None-Match": etag})

    response = await ask('"other"')
    assert response.headers["ETag"] == f'"{found["etag"]}"'
    for known in (
        response.headers["ETag"],
        f"W/{response.headers['ETag']}",
        f'"a", {response.headers["ETag"]}',
    ):
        with pytest.raises(HTTPClientError) as same:
            await ask(known)
        assert same.value.code == 304
    await structure_of(call, adata_of(counts()[:, :5]), jp_root_dir)
    assert (await ask(f'"{found["etag"]}"')).code == 200


async def test_progress_of_a_task(jp_root_dir, call, ask_arrays):
    adata = adata_of(sp.csr_matrix(counts()))
    adata.obsm["X_umap"] = np.zeros((N, 2), "float32")
    adata.write_h5ad(jp_root_dir / "x.h5ad")
    assert (await call("progress", task="t1"))[0] == 404
    await ask_arrays("anndata/colour", path="x.h5ad", gene="3", task="t1")
    status, progress = await call("progress", task="t1")
    assert status == 200 and progress["done"] == 1 and "3" in progress["what"]


def test_a_long_read_stops_when_the_client_has_gone(tmp_path):
    adata_of(counts()).write_h5ad(tmp_path / "x.h5ad")
    gone = threading.Event()
    gone.set()
    with (
        Files(2, 60, 10**6).open(tmp_path / "x.h5ad", "x.h5ad", gone) as handle,
        pytest.raises(Cancelled),
    ):
        names_like(handle, "obs", "c", 10)
