"""Files that anndata 0.6 to 0.13 wrote, the same encodings by hand with their odd cases, and missing parts.

The files in ``written_by`` were written by the version in their name, each installed with the h5py and
pandas of its time.
"""

import gzip
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import zarr

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of anndata and zarr on formats to come

N, GENES = 6, 4
TYPES = ["B", "T", "B", "NK", "T", "B"]
COUNTS = np.array(
    [[0, 3, 0, 1], [2, 0, 0, 0], [0, 0, 5, 0], [1, 0, 0, 0], [0, 0, 0, 7], [0, 2, 0, 0]], "float32"
)
CELLS = [f"cell{i}" for i in range(N)]
NAMES = ["CD3E", "MS4A1", "NKG7", "LYZ"]
TEXT = h5py.string_dtype()


def compound(columns, kinds):
    rows = np.empty(len(next(iter(columns.values()))), dtype=list(kinds.items()))
    for name, values in columns.items():
        rows[name] = values
    return rows


def version_0_6(path):
    """Compound obs and obsm, codes with uns/<column>_categories, sparse X by its old attributes, raw.X."""
    obs = {"index": CELLS, "cell_type": [0, 2, 0, 1, 2, 0], "age": [50.5, 61, 70, np.nan, 44, 39]}
    with h5py.File(path, "w") as file:
        file["obs"] = compound(obs, {"index": TEXT, "cell_type": "i1", "age": "f8"})
        file["var"] = compound({"index": NAMES}, {"index": TEXT})
        file["uns/cell_type_categories"] = np.array(["B", "NK", "T"], TEXT)
        file["obsm"] = compound({"X_umap": np.arange(2 * N).reshape(N, 2)}, {"X_umap": ("f4", (2,))})
        for name in ("X", "raw.X"):
            group = file.create_group(name)
            group.attrs["h5sparse_format"], group.attrs["h5sparse_shape"] = "csr", (N, GENES)
            matrix = sp.csr_matrix(COUNTS)
            for part in ("data", "indices", "indptr"):
                group[part] = getattr(matrix, part)
        file["raw.var"] = compound({"index": NAMES}, {"index": TEXT})


def version_0_7(path):
    """Groups, with categories behind references and sparse X by encoding-type."""
    with h5py.File(path, "w") as file:
        for name, index in (("obs", CELLS), ("var", NAMES), ("raw/var", NAMES)):
            group = file.create_group(name)
            group.attrs["_index"], group.attrs["encoding-type"] = "_index", "dataframe"
            group.attrs["encoding-version"] = "0.1.0"
            columns = ["age", "cell_type"] if name == "obs" else []
            group.attrs.create("column-order", np.array(columns, TEXT), dtype=TEXT)
            group.create_dataset("_index", data=np.array(index, object), dtype=TEXT)
        file["obs/age"] = np.array([50.5, 61, 70, np.nan, 44, 39])
        file["obs/__categories/cell_type"] = np.array(["B", "NK", "T"], TEXT)
        file["obs/cell_type"] = np.array([0, 2, 0, 1, 2, 0], "i1")
        file["obs/cell_type"].attrs["categories"] = file["obs/__categories/cell_type"].ref
        file["obsm/X_umap"] = np.arange(2 * N, dtype="f4").reshape(N, 2)
        for name in ("X", "raw/X"):
            group = file.create_group(name)
            group.attrs["encoding-type"], group.attrs["encoding-version"] = "csr_matrix", "0.1.0"
            group.attrs["shape"] = (N, GENES)
            matrix = sp.csr_matrix(COUNTS)
            for part in ("data", "indices", "indptr"):
                group[part] = getattr(matrix, part)


def today():
    obs = pd.DataFrame(
        {"age": [50.5, 61, 70, np.nan, 44, 39], "cell_type": pd.Categorical(TYPES)}, index=CELLS
    )
    adata = anndata.AnnData(sp.csr_matrix(COUNTS), obs=obs, var=pd.DataFrame(index=NAMES))
    adata.obsm["X_umap"] = np.arange(2 * N, dtype="f4").reshape(N, 2)
    adata.raw = adata.copy()
    return adata


def version_today(path):
    today().write_h5ad(path)


def zarr_format(version):
    def write(path):
        with anndata.settings.override(zarr_write_format=version):
            today().write_zarr(path)

    return write


def zarr_version_0_7(path):
    """Categories beside the codes, named by an attribute."""
    zarr_format(2)(path)
    obs = zarr.open_group(path, mode="r+", use_consolidated=False)["obs"]
    del obs["cell_type"]
    categories = obs.create_group("__categories")
    labels = np.array(["B", "NK", "T"], object)
    categories.create_array("cell_type", shape=3, dtype=str)[:] = labels
    codes = obs.create_array("cell_type", data=np.array([0, 2, 0, 1, 2, 0], "i1"))
    codes.attrs["categories"] = "__categories/cell_type"


WRITERS = {
    "old.h5ad": version_0_6,
    "middle.h5ad": version_0_7,
    "today.h5ad": version_today,
    "two.zarr": zarr_format(2),
    "three.zarr": zarr_format(3),
    "old.zarr": zarr_version_0_7,
}


@pytest.mark.parametrize("name", WRITERS)
async def test_every_version_shows_the_same(jp_root_dir, call, ask_arrays, name):
    WRITERS[name](jp_root_dir / name)
    status, found = await call("anndata/structure", path=name)
    assert status == 200
    assert found["unreadable"] == []
    assert (found["n_obs"], found["n_vars"]) == (N, GENES)
    assert (
        found["x"]["kind"] == "csr" and found["x"]["shape"] == [N, GENES] and found["x"]["holds"] == "counts"
    )
    assert found["raw"]["n_vars"] == GENES and found["raw"]["x"]["shape"] == [N, GENES]
    types = {column["name"]: column["type"] for column in found["obs"]["columns"]}
    assert types == {"age": "number", "cell_type": "category"}
    assert found["default_embedding"] == "X_umap"
    assert found["format"] == name.rpartition(".")[2]
    path = jp_root_dir / name
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    assert found["size"] == sum(file.stat().st_size for file in files)

    _, page = await call("anndata/table", path=name)
    assert page["index"] == CELLS
    assert page["columns"]["cell_type"] == {"type": "category", "values": TYPES}
    assert page["columns"]["age"]["values"] == [50.5, 61, 70, None, 44, 39]
    _, page = await call("anndata/table", path=name, axis="var")
    assert page["index"] == NAMES

    _, column = await call("anndata/column", path=name, name="cell_type")
    expected = [{"value": "B", "count": 3}, {"value": "T", "count": 2}, {"value": "NK", "count": 1}]
    assert column["categories"] == expected
    for layer in ("", "raw/X"):
        _, arrays = await ask_arrays("anndata/colour", path=name, gene="MS4A1", layer=layer)
        assert arrays["values"].tolist() == COUNTS[:, 1].tolist()
    _, arrays = await ask_arrays("anndata/embedding", path=name, key="X_umap")
    assert arrays["xy"].tolist() == np.arange(2 * N).reshape(N, 2).tolist()


WRITTEN = sorted((Path(__file__).parent / "written_by").glob("*.h5ad.gz"))


@pytest.mark.parametrize("packed", WRITTEN, ids=[path.name.removesuffix(".h5ad.gz") for path in WRITTEN])
async def test_files_that_old_and_new_versions_wrote(jp_root_dir, call, ask_arrays, packed):
    (jp_root_dir / "x.h5ad").write_bytes(gzip.decompress(packed.read_bytes()))
    status, found = await call("anndata/structure", path="x.h5ad")
    assert status == 200 and found["unreadable"] == []
    assert (found["n_obs"], found["n_vars"], found["raw"]["n_vars"]) == (N, GENES, GENES)
    assert found["x"]["kind"] == "csr" and found["x"]["holds"] == "counts"
    assert found["default_embedding"] == "X_umap"
    assert {node["name"] for node in found["uns"]} >= {"nest"}
    _, page = await call("anndata/table", path="x.h5ad")
    expected = {
        "age": ("number", [50.5, 61, 70, None, 44, 39]),
        "cell_type": ("category", TYPES),
        "flag": ("boolean", [True, False, True, True, False, True]),
        "whole": ("integer", [1, None, 3, 4, None, 6]),
    }
    if packed.name.startswith(("0.6", "0.7")):  # which could not write nullable columns
        del expected["whole"]
    shown = {name: (column["type"], column["values"]) for name, column in page["columns"].items()}
    assert page["index"] == CELLS and shown == expected
    for layer in ("", "csc", "raw/X"):
        _, arrays = await ask_arrays("anndata/colour", path="x.h5ad", gene="MS4A1", layer=layer)
        assert arrays["values"].tolist() == COUNTS[:, 1].tolist()
    _, arrays = await ask_arrays("anndata/embedding", path="x.h5ad", key="X_umap")
    assert arrays["xy"].tolist() == np.arange(2 * N).reshape(N, 2).tolist()
    for route in ("warnings", "summary", "names", "column"):
        assert (await call(f"anndata/{route}", path="x.h5ad"))[0] == 200, route


@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
async def test_nullable_and_text_columns(jp_root_dir, call, kind):
    obs = pd.DataFrame(index=CELLS)
    obs["whole"] = pd.array([1, None, 3, 4, None, 6], dtype="Int64")
    obs["flag"] = pd.array([True, None, False, True, True, None], dtype="boolean")
    obs["plain"] = [True, False, True, True, False, True]
    obs["note"] = [f"text {i} é" for i in range(N)]
    obs["maybe"] = pd.array(["x", None, "y", "x", "", "y"], dtype="string")
    obs["wide"] = np.array([1, 2, 2**60, 4, 5, 6])
    obs["float32"] = np.array([0.1, np.inf, -np.inf, np.nan, 2, 3], "float32")
    obs["levels"] = pd.Categorical([3, 1, 3, None, 2, 1], categories=[3, 2, 1], ordered=True)
    obs["fixed"] = "a"
    with anndata.settings.override(allow_write_nullable_strings=True):
        adata = anndata.AnnData(COUNTS, obs=obs)
        adata.strings_to_categoricals = lambda *args: None
        (adata.write_h5ad if kind == "h5ad" else adata.write_zarr)(jp_root_dir / f"x.{kind}")
    _, found = await call("anndata/structure", path=f"x.{kind}")
    assert found["unreadable"] == []
    types = {column["name"]: column["type"] for column in found["obs"]["columns"]}
    expected = {"whole": "integer", "flag": "boolean", "plain": "boolean", "wide": "integer"}
    expected |= {"float32": "number", "levels": "category"}
    assert {name: types[name] for name in expected} == expected
    assert {types[name] for name in ("note", "maybe", "fixed")} <= {"string", "category"}
    _, page = await call("anndata/table", path=f"x.{kind}")
    values = {name: column["values"] for name, column in page["columns"].items()}
    assert values["whole"] == [1, None, 3, 4, None, 6]
    assert values["flag"] == [True, None, False, True, True, None]
    assert values["plain"] == [True, False, True, True, False, True]
    assert values["note"] == [f"text {i} é" for i in range(N)]
    assert values["maybe"] == ["x", None, "y", "x", "", "y"]
    assert values["wide"] == [1, 2, str(2**60), 4, 5, 6]
    assert values["float32"] == [0.1, "inf", "-inf", None, 2, 3]
    assert values["levels"] == [3, 1, 3, None, 2, 1]
    _, page = await call("anndata/table", path=f"x.{kind}", sort="maybe", columns='["maybe"]')
    assert page["columns"]["maybe"]["values"] == ["", "x", "x", "y", "y", None]


async def test_strings_of_fixed_and_any_length(jp_root_dir, call):
    version_0_7(jp_root_dir / "x.h5ad")
    with h5py.File(jp_root_dir / "x.h5ad", "r+") as file:
        file["obs/fixed"] = np.array([f"é{i}".encode() for i in range(N)], "S4")
        file["obs/any"] = np.array([f"é{i}" for i in range(N)], TEXT)
        file["obs/maybe/values"] = np.array(["a", "a", "b", "c", "b", "a"], TEXT)
        file["obs/maybe/mask"] = np.array([True, False, False, False, True, False])
        file["obs/maybe"].attrs["encoding-type"] = "nullable-string-array"
        del file["obs"].attrs["column-order"]
    _, page = await call("anndata/table", path="x.h5ad")
    values = {name: column["values"] for name, column in page["columns"].items()}
    assert values["fixed"] == values["any"] == [f"é{i}" for i in range(N)]
    assert values["maybe"] == [None, "a", "b", "c", None, "a"]
    _, column = await call("anndata/column", path="x.h5ad", name="maybe")
    assert {one["value"]: one["count"] for one in column["categories"]} == {"a": 2, "b": 1, "c": 1}
    assert column["n_missing"] == 2


async def test_what_is_not_known_is_shown_as_such(jp_root_dir, call):
    version_today(jp_root_dir / "x.h5ad")
    with h5py.File(jp_root_dir / "x.h5ad", "r+") as file:
        file.create_group("obs/strange").attrs["encoding-type"] = "tree"
        file["obs/short"] = np.arange(3)
        file["obs/flat"] = np.zeros((N, 2))
        file["obs"].attrs["column-order"] = np.array(
            ["age", "cell_type", "strange", "short", "flat", "gone"], TEXT
        )
        file.create_group("layers/odd").attrs["encoding-type"] = "rational_matrix"
        file["layers/text"] = np.array([b"a", b"b"])
        file.create_group("obsm/odd").attrs["encoding-type"] = "awkward-array"
        broken = file.create_group("layers/broken")
        broken.attrs["encoding-type"], broken.attrs["shape"] = "csr_matrix", (N, GENES)
        broken["data"], broken["indices"] = np.ones(3), np.zeros(2, "i4")
        broken["indptr"] = np.zeros(N + 1, "i4")
        file["uns/empty"] = h5py.Empty("f4")
    status, found = await call("anndata/structure", path="x.h5ad")
    assert status == 200
    assert {one["where"] for one in found["unreadable"]} == {
        "obs/strange", "obs/short", "obs/flat", "layers/odd", "layers/text", "layers/broken", "obsm/odd",
    }  # fmt: skip
    assert (await call("anndata/table", path="x.h5ad"))[0] == 200
    status, body = await call("anndata/table", path="x.h5ad", columns='["strange"]')
    assert status == 422 and "tree" in body["what"]


@pytest.mark.parametrize("part", ["var", "X", "obs", "obsm", "uns", "layers", "raw"])
async def test_a_file_without_a_part(jp_root_dir, call, part):
    version_today(jp_root_dir / "x.h5ad")
    with h5py.File(jp_root_dir / "x.h5ad", "r+") as file:
        del file[part]
    status, found = await call("anndata/structure", path="x.h5ad")
    assert status == 200
    assert (found["n_obs"], found["n_vars"]) == (N, GENES)
    for axis in ("obs", "var"):
        status, page = await call("anndata/table", path="x.h5ad", axis=axis)
        assert status == 200 and page["n_total"] == (N if axis == "obs" else GENES)
    if part == "obs":
        assert page["index"] == NAMES
        _, page = await call("anndata/table", path="x.h5ad", sort=":index", descending=1)
        assert page["index"] == ["5", "4", "3", "2", "1", "0"]
        filters = '[{"kind": "contains", "column": "", "text": "3"}]'
        assert (await call("anndata/table", path="x.h5ad", filters=filters))[1]["index"] == ["3"]
    for route in ("warnings", "names", "summary", "column"):
        assert (await call(f"anndata/{route}", path="x.h5ad"))[0] == 200, route


async def test_an_empty_file(jp_root_dir, call):
    anndata.AnnData(np.zeros((0, 0), "float32")).write_h5ad(jp_root_dir / "x.h5ad")
    status, found = await call("anndata/structure", path="x.h5ad")
    assert status == 200 and found["n_obs"] == 0
    for route in ("table", "warnings", "summary", "names", "column"):
        assert (await call(f"anndata/{route}", path="x.h5ad"))[0] == 200, route
    assert (await call("anndata/table", path="x.h5ad", sort=":index"))[1]["n_matching"] == 0
