"""Points of an embedding, what colours them, and which of them filters keep."""

import json

import anndata
import numpy as np
import pandas as pd
import pytest

N = 900


@pytest.fixture
def adata(jp_root_dir):
    rng = np.random.default_rng(0)
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical.from_codes(rng.integers(-1, 3, N), ["T", "B", "NK"]),
            "age": np.where(rng.random(N) < 0.1, np.nan, rng.normal(50, 10, N)),
            "n_counts": rng.integers(0, 5_000, N),
            "treated": rng.random(N) < 0.5,
            "responder": pd.array(rng.choice([True, False, None], N), "boolean"),
            "sample": [f"s{i % 7}" for i in rng.integers(0, 100, N)],
        },
        index=[f"cell {i}" for i in range(N)],
    )
    adata = anndata.AnnData(rng.poisson(1, (N, 3)).astype(np.float32), obs)
    adata.obsm["X_umap"] = rng.normal(size=(N, 2))
    adata.obsm["X_umap"][5] = np.nan
    adata.obsm["X_pca"] = rng.normal(size=(N, 20)).astype(np.float32)
    adata.obsm["scores"] = pd.DataFrame(rng.normal(size=(N, 3)), obs.index, ["a", "b", "c"])
    adata.obsm["one"] = rng.normal(size=(N, 1))
    adata.strings_to_categoricals = lambda *_: None  # texts stay texts in the file
    adata.write_h5ad(jp_root_dir / "a.h5ad", compression="gzip")
    return adata


async def test_points_are_the_columns_asked_for(ask_arrays, adata):
    meta, arrays = await ask_arrays("anndata/embedding", path="a.h5ad", key="X_umap")
    assert (meta["n_total"], meta["n_shown"], meta["sampled"]) == (N, N, False) and "rows" not in arrays
    np.testing.assert_array_equal(arrays["xy"], adata.obsm["X_umap"].astype(np.float32))
    _, arrays = await ask_arrays("anndata/embedding", path="a.h5ad", key="X_pca", x=7, y=2)
    np.testing.assert_array_equal(arrays["xy"], adata.obsm["X_pca"][:, [7, 2]])
    _, arrays = await ask_arrays("anndata/embedding", path="a.h5ad", key="scores", x=0, y=2)
    np.testing.assert_array_equal(arrays["xy"], adata.obsm["scores"][["a", "c"]].to_numpy(np.float32))


async def test_zarr_gives_the_same_points(ask_arrays, adata, jp_root_dir):
    adata.write_zarr(jp_root_dir / "a.zarr", chunks=(100, 2))
    _, arrays = await ask_arrays("anndata/embedding", path="a.zarr", key="X_pca", x=3, y=0)
    np.testing.assert_array_equal(arrays["xy"], adata.obsm["X_pca"][:, [3, 0]])


async def test_a_sample_is_the_same_for_points_colours_and_masks(ask_arrays, adata):
    query = {"path": "a.h5ad", "limit": 100}
    meta, umap = await ask_arrays("anndata/embedding", key="X_umap", **query)
    _, pca = await ask_arrays("anndata/embedding", key="X_pca", **query)
    rows = umap["rows"]
    assert meta["sampled"] and meta["n_shown"] == len(rows) == 100 and f"100 of {N}" in meta["how"]
    assert (np.diff(rows.astype(int)) > 0).all() and rows.max() < N
    np.testing.assert_array_equal(rows, pca["rows"])
    np.testing.assert_array_equal(umap["xy"], adata.obsm["X_umap"][rows].astype(np.float32))
    _, ages = await ask_arrays("anndata/colour", obs="age", **query)
    np.testing.assert_array_equal(ages["values"], adata.obs["age"].to_numpy(np.float32)[rows])
    _, gene = await ask_arrays("anndata/colour", gene="1", **query)
    np.testing.assert_array_equal(gene["values"], adata.X[rows, 1])
    meta, types = await ask_arrays("anndata/colour", obs="cell_type", **query)
    codes = adata.obs["cell_type"].cat.codes.to_numpy()
    np.testing.assert_array_equal(types["codes"], codes[rows].astype(np.uint8))
    assert meta["counts"] == np.bincount(codes[codes >= 0]).tolist()  # of all rows, not of the sample
    wanted = [{"kind": "range", "column": "age", "min": 40, "max": 55}]
    meta, mask = await ask_arrays("anndata/mask", axis="obs", filters=json.dumps(wanted), **query)
    kept = adata.obs["age"].between(40, 55).to_numpy()
    np.testing.assert_array_equal(mask["mask"], kept[rows])
    assert (meta["n_matching"], meta["n_total"]) == (kept.sum(), N)


async def test_mask_without_filters_keeps_all(ask_arrays, adata):
    meta, arrays = await ask_arrays("anndata/mask", path="a.h5ad")
    assert meta == {"n_matching": N, "n_total": N} and arrays["mask"].sum() == N


@pytest.mark.parametrize("name", ["cell_type", "treated", "responder", "sample"])
async def test_labels_are_coded_with_their_counts(ask_arrays, adata, name):
    meta, arrays = await ask_arrays("anndata/colour", path="a.h5ad", obs=name)
    column = adata.obs[name]
    expected = column if name == "cell_type" else pd.Categorical(column.astype("string"))
    expected = pd.Series(expected).cat
    assert meta["kind"] == "category" and meta["categories"] == [str(x) for x in expected.categories]
    np.testing.assert_array_equal(arrays["codes"], expected.codes.to_numpy().astype(np.uint8))
    assert meta["n_missing"] == column.isna().sum()
    assert meta["counts"] == [int((expected.codes == i).sum()) for i in range(len(expected.categories))]


async def test_many_categories_have_wider_codes(ask_arrays, adata, jp_root_dir):
    adata.obs["plate"] = pd.Categorical.from_codes(np.arange(N) % 300, [f"plate {i}" for i in range(300)])
    adata.obs.loc[adata.obs_names[3], "plate"] = np.nan
    adata.write_h5ad(jp_root_dir / "b.h5ad")
    meta, arrays = await ask_arrays("anndata/colour", path="b.h5ad", obs="plate")
    assert arrays["codes"].dtype == np.uint16 and arrays["codes"][3] == 65_535 and arrays["codes"][4] == 4
    assert len(meta["counts"]) == 300 and meta["n_missing"] == 1


@pytest.mark.parametrize("name", ["age", "n_counts"])
async def test_numbers_come_with_the_ends_of_their_scale(ask_arrays, adata, name):
    meta, arrays = await ask_arrays("anndata/colour", path="a.h5ad", obs=name)
    column = adata.obs[name]
    np.testing.assert_array_equal(arrays["values"], column.to_numpy(np.float32))
    assert meta["kind"] == "number" and meta["n_missing"] == column.isna().sum()
    assert meta["n_zero"] == (column == 0).sum()
    ends = [meta[end] for end in ("min", "low", "high", "max")]
    np.testing.assert_allclose(ends, np.nanpercentile(column, [0, 1, 99, 100]), rtol=1e-6)


async def test_scale_of_a_rare_gene_is_not_empty(ask_arrays, adata, jp_root_dir):
    adata.X = np.zeros_like(adata.X)
    adata.X[4, 0] = 3
    adata.write_h5ad(jp_root_dir / "b.h5ad")
    meta, _ = await ask_arrays("anndata/colour", path="b.h5ad", gene="0")
    assert (meta["low"], meta["high"]) == (0, 3)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
async def test_infinity_is_shown_as_missing(ask_arrays, jp_root_dir, kind):
    largest = np.finfo(kind).max
    obs = pd.DataFrame({"x": np.array([np.inf, -np.inf, np.nan, largest, 0], kind)}, index=list("abcde"))
    anndata.AnnData(obs=obs).write_h5ad(jp_root_dir / "a.h5ad")
    meta, arrays = await ask_arrays("anndata/colour", path="a.h5ad", obs="x")
    beyond = largest > np.finfo(np.float32).max
    assert meta["n_missing"] == 3 + beyond and meta["max"] == (0 if beyond else largest)
    np.testing.assert_array_equal(np.isnan(arrays["values"]), [True, True, True, beyond, False])


async def test_texts_that_all_differ_are_no_colour(call, jp_root_dir):
    many = anndata.AnnData(obs=pd.DataFrame({"code": [f"c{i}" for i in range(1_001)]}).astype(object))
    many.obs_names = many.obs_names.astype(str)
    many.strings_to_categoricals = lambda *_: None
    many.write_h5ad(jp_root_dir / "many.h5ad")
    status, said = await call("anndata/colour", path="many.h5ad", obs="code")
    assert status == 422 and "1,001" in said["what"] and said["mend"]


@pytest.mark.parametrize(
    ("route", "query"),
    [
        ("embedding", {"key": "X_tsne"}),
        ("embedding", {"key": "X_umap", "y": 2}),
        ("embedding", {"key": "one"}),
        ("embedding", {"key": "X_umap", "x": -1}),
        ("embedding", {"key": "X_umap", "limit": 0}),
        ("embedding", {"key": "X_umap", "limit": "many"}),
        ("colour", {}),
        ("colour", {"obs": "age", "gene": "1"}),
        ("colour", {"obs": "no such"}),
        ("mask", {"filters": "[{}]"}),
    ],
)
async def test_wrong_questions_are_answered_with_400(call, adata, route, query):
    status, said = await call(f"anndata/{route}", path="a.h5ad", **query)
    assert status == 400 and said["what"]


async def test_arrays_of_another_version_of_the_file_are_refused(call, adata):
    for route, query in (("embedding", {"key": "X_umap"}), ("colour", {"obs": "age"}), ("mask", {})):
        status, said = await call(f"anndata/{route}", path="a.h5ad", etag="1-2-3", **query)
        assert status == 409 and said["what"]
