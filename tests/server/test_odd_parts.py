"""Parts that nobody writes in earnest: each is shown as unreadable, and the rest of the file as it is."""

import asyncio
import json
import os
import shutil

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import zarr

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of anndata and zarr on formats to come

N, GENES = 20, 5
TEXT = h5py.string_dtype()
CELLS = [f"c{i}" for i in range(N)]
FILTERS = [
    {"kind": "contains", "column": "", "text": "1"},
    {"kind": "values", "column": "x", "values": [1]},
    {"kind": "gene", "gene": "g1", "min": 1, "max": None},
    {"kind": "lasso", "key": "X_umap", "polygon": [[-1, -1], [1, -1], [0, 1]]},
]
QUESTIONS = [
    ("warnings", {}),
    ("table", {"sort": ":index"}),
    ("table", {"axis": "var", "sort": ":index", "descending": 1}),
    ("column", {}),
    ("summary", {}),
    ("names", {"axis": "obs", "prefix": "c"}),
    ("export", {}),
    ("embedding", {"key": "X_umap"}),
    ("colour", {"obs": "t"}),
    ("colour", {"gene": "g1"}),
    ("distribution", {"gene": "g1", "by": "t"}),
    *(("mask", {"filters": json.dumps([one])}) for one in FILTERS),
]


def made():
    rng = np.random.default_rng(0)
    obs = pd.DataFrame({"x": np.arange(N) / 3, "t": pd.Categorical(["B", "T"] * (N // 2))}, index=CELLS)
    var = pd.DataFrame(index=[f"g{i}" for i in range(GENES)])
    adata = anndata.AnnData(sp.csr_matrix(rng.poisson(1, (N, GENES)).astype("f4")), obs=obs, var=var)
    adata.obsm["X_umap"] = rng.normal(size=(N, 2)).astype("f4")
    adata.layers["counts"] = adata.X.copy()
    adata.uns["run"] = {"a": 1}
    return adata


@pytest.fixture
def changed(jp_root_dir):
    """Write a file, change it by a function, and give its path."""

    def changed(change):
        made().write_h5ad(jp_root_dir / "x.h5ad")
        with h5py.File(jp_root_dir / "x.h5ad", "r+") as file:
            change(file)

    return changed


def odd_obsm(file):
    file["obsm/empty"] = h5py.Empty("f4")
    file["obsm/type"] = np.dtype("f4")


def odd_layer(file):
    file["layers/type"] = np.dtype("f4")


def odd_uns(file):
    file["uns/type"] = np.dtype("f4")
    space = h5py.h5s.create_simple((3,))
    h5py.h5d.create(file["uns"].id, b"time", h5py.h5t.UNIX_D32LE, space)


def odd_column(file):
    h5py.h5d.create(file["obs"].id, b"time", h5py.h5t.UNIX_D32LE, h5py.h5s.create_simple((N,)))
    file["obs/type"] = np.dtype("f4")
    file["obs"].attrs["column-order"] = np.array(["x", "t", "time", "type"], TEXT)


def odd_order(file):
    file["obs"].attrs["column-order"] = h5py.Empty("f4")


def odd_categories(file):
    file["obs/x"].attrs["categories"] = 3
    file["obs"].attrs["column-order"] = np.array(["t", "k"], TEXT)


def odd_shape(file):
    file["layers/counts"].attrs["shape"] = np.array(["many", "few"], TEXT)


@pytest.mark.parametrize(
    ("change", "unreadable"),
    [
        (odd_obsm, {"obsm/type"}),
        (odd_layer, {"layers/type"}),
        (odd_uns, set()),
        (odd_column, {"obs/time", "obs/type"}),
        (odd_order, set()),
        (odd_categories, set()),
        (odd_shape, {"layers/counts"}),
    ],
)
async def test_the_rest_of_a_file_is_shown(changed, jp_fetch, call, change, unreadable):
    changed(change)
    status, found = await call("anndata/structure", path="x.h5ad")
    assert status == 200, found
    assert unreadable <= {one["where"] for one in found["unreadable"]}
    for route, query in QUESTIONS:
        query = {"path": "x.h5ad", **query}
        response = await jp_fetch("pm-lab", "anndata", route, params=query, raise_error=False)
        assert response.code == 200 or change is odd_categories, (route, query, response.body)
        assert response.code in (200, 400, 422)


def nullable(group):
    group.attrs["encoding-type"] = "nullable-string-array"
    group["values"], group["mask"] = np.array(CELLS, TEXT), np.zeros(N, bool)


def categories(group):
    group.attrs["encoding-type"] = "categorical"
    group["categories"], group["codes"] = np.array(CELLS, TEXT), np.arange(N, dtype="i1")


@pytest.mark.parametrize("encode", [nullable, categories, "i8", "f8"])
async def test_names_of_rows_are_texts_however_they_are_kept(changed, jp_fetch, call, encode):
    expected = CELLS

    def change(file):
        del file["obs/_index"]
        if callable(encode):
            encode(file["obs"].create_group("_index"))
        else:
            file["obs/_index"] = np.arange(N, dtype=encode)

    if not callable(encode):
        expected = [str(one) for one in np.arange(N, dtype=encode).tolist()]
    changed(change)
    assert (await call("anndata/structure", path="x.h5ad"))[1]["n_obs"] == N
    _, page = await call("anndata/table", path="x.h5ad")
    assert page["index"] == expected
    _, page = await call("anndata/table", path="x.h5ad", sort=":index", descending=1)
    assert sorted(page["index"]) == sorted(expected)
    if encode is not categories:  # which keep their own order
        assert page["index"] == sorted(expected, reverse=True)
    assert (await call("anndata/names", path="x.h5ad", axis="obs", prefix=expected[3]))[1]["names"][
        0
    ] == expected[3]
    for route, query in QUESTIONS:
        response = await jp_fetch(
            "pm-lab", "anndata", route, params={"path": "x.h5ad", **query}, raise_error=False
        )
        assert response.code == 200, (route, query, response.body)


async def test_a_zarr_type_that_is_not_known_is_shown_as_such(jp_root_dir, call):
    path = jp_root_dir / "x.zarr"
    with anndata.settings.override(zarr_write_format=3):
        made().write_zarr(path)
    zarr.open_group(path / "uns", mode="r+").create_array("rows", shape=1, dtype="i4")
    file = path / "uns" / "rows" / "zarr.json"
    metadata = json.loads(file.read_text())
    text = {"name": "fixed_length_utf32", "configuration": {"length_bytes": 12}}
    fields = [{"name": "n", "data_type": "int32"}, {"name": "s", "data_type": text}]
    metadata["data_type"] = {"name": "rows_of_the_future", "configuration": {"fields": fields}}
    file.write_text(json.dumps(metadata))
    shutil.copytree(file.parent, path / "obsm" / "rows")
    status, found = await call("anndata/structure", path="x.zarr")
    assert status == 200 and found["n_obs"] == N
    assert {node["name"]: node["kind"] for node in found["uns"]}["rows"] == "unreadable"
    assert [one["where"] for one in found["unreadable"]] == ["obsm/rows"]
    assert (await call("anndata/table", path="x.zarr"))[0] == 200


async def test_names_that_are_not_utf8_are_refused_and_named(changed, call):
    changed(lambda file: h5py.h5o.link(file["obs/x"].id, file["obs"].id, b"\xff\xfe"))
    status, body = await call("anndata/structure", path="x.h5ad")
    assert status == 422 and "UTF-8" in body["what"] and body["what"].startswith("x.h5ad")


async def test_values_are_found_as_they_are_shown(changed, call):
    def change(file):
        del file["obs/x"]
        file["obs/x"] = np.arange(N, dtype="f4") / 10

    changed(change)
    filters = json.dumps([{"kind": "values", "column": "x", "values": [0.1, 0.3]}])
    _, page = await call("anndata/table", path="x.h5ad", filters=filters)
    assert page["columns"]["x"]["values"] == [0.1, 0.3]


async def test_pipes_and_devices_are_not_read(jp_root_dir, call):
    os.mkfifo(jp_root_dir / "pipe.h5ad")
    made().write_zarr(jp_root_dir / "x.zarr")
    os.mkfifo(jp_root_dir / "x.zarr" / "X" / "zarr.json")
    for path in ("pipe.h5ad", "x.zarr"):
        for route in ("structure", "table", "export"):
            # Else it would wait for ever for somebody who writes into the pipe.
            status, body = await asyncio.wait_for(call(f"anndata/{route}", path=path), 60)
            assert status == 422 and "pipe" in body["what"], (path, route)


async def test_what_may_not_be_read_is_said_so(jp_root_dir, call, monkeypatch):
    made().write_h5ad(jp_root_dir / "x.h5ad")

    def forbidden(path, *options):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.open", forbidden)
    status, body = await call("anndata/structure", path="x.h5ad")
    assert status == 403 and body["where"] == "x.h5ad" and str(jp_root_dir) not in str(body)


async def test_no_answer_shows_the_folder_whatever_its_name(jp_root_dir, call):
    folder = jp_root_dir / "a  b'\"\\"
    folder.mkdir()
    made().write_h5ad(folder / "x.h5ad")
    (folder / "x.h5ad").write_bytes((folder / "x.h5ad").read_bytes()[:3_000])
    status, body = await call("anndata/structure", path=f"{folder.name}/x.h5ad")
    assert status == 422
    assert str(jp_root_dir) not in " ".join(body.values())
    with h5py.File(folder / "y.h5ad", "w") as file:
        file["soft"] = h5py.SoftLink("/obs")
    status, body = await call("anndata/structure", path=f"{folder.name}/y.h5ad")
    assert status == 422 and body["what"].startswith("a b'\"\\/y.h5ad: /soft is a soft link")


async def test_a_table_of_more_rows_than_fit_is_refused(changed, call, monkeypatch):
    changed(lambda file: None)
    monkeypatch.setattr("pm_lab.server.frames.MOST_ROWS", N - 1)
    status, body = await call("anndata/table", path="x.h5ad")
    assert status == 422 and f"{N} rows" in body["what"]
