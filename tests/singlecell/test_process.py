"""Processing: the numbers of scanpy's recipe, its formats, and the planted structure."""

import subprocess
import sys

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse
from sklearn.manifold import trustworthiness
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import NearestNeighbors

import pm_lab as pm
from pm_lab.errors import DataError, PmLabWarning
from pm_lab.singlecell import embedding


@pytest.fixture(scope="module")
def by_scanpy(small_cohort):
    """The same cells through scanpy's recipe, up to principal components."""
    cells = small_cohort.cells[:1200].copy()
    sc.pp.normalize_total(cells, target_sum=1e4)
    sc.pp.log1p(cells)
    sc.pp.highly_variable_genes(cells, n_top_genes=2000)
    cells.layers["log"] = cells.X.copy()
    scaled = cells[:, cells.var["highly_variable"]].copy()
    sc.pp.scale(scaled, max_value=10)
    sc.tl.pca(scaled, n_comps=50, svd_solver="full")
    cells.obsm["X_pca"] = scaled.obsm["X_pca"]
    cells.uns["pca"] = scaled.uns["pca"]
    return cells


def mixture(n_cells=600, n_genes=300, n_types=3, batches=1, seed=0) -> ad.AnnData:
    """Poisson counts of types that differ in 40 genes each; each batch shifts a third of the genes."""
    rng = np.random.default_rng(seed)
    rate = np.tile(rng.lognormal(0, 1, n_genes), (n_types, 1))
    for t in range(n_types):
        rate[t, t * 40 : (t + 1) * 40] *= 6
    shift = np.where(rng.random((batches, n_genes)) < 0.3, np.exp(rng.normal(0, 0.3, (batches, n_genes))), 1)
    kind, batch = rng.integers(0, n_types, n_cells), rng.integers(0, batches, n_cells)
    X = sparse.csr_matrix(rng.poisson(rate[kind] * shift[batch]).astype(np.float32))
    obs = pd.DataFrame({"type": kind.astype(str), "run": [f"run{b}" for b in batch]})
    return ad.AnnData(X, obs=obs.set_axis([f"c{i}" for i in range(n_cells)]))


def test_normalised_values_equal_scanpys_and_counts_are_kept(small_cohort, processed_once, by_scanpy):
    np.testing.assert_allclose(processed_once.X.toarray(), by_scanpy.layers["log"].toarray(), rtol=2e-5)
    counts = small_cohort.cells[:1200].X
    assert (processed_once.layers["counts"] != counts).nnz == 0


@pytest.mark.parametrize("n_top", [200, 1000])
@pytest.mark.parametrize("batch_key", [None, "batch"])
def test_variable_genes_equal_scanpys(cells, n_top, batch_key):
    cells = cells[:800].copy()
    reference = cells.copy()
    sc.pp.normalize_total(reference, target_sum=1e4)
    sc.pp.log1p(reference)
    sc.pp.highly_variable_genes(reference, n_top_genes=n_top, batch_key=batch_key)
    pm.singlecell.process(cells, n_top_genes=n_top, batch_key=batch_key, umap=False)
    differ = cells.var["highly_variable"] != reference.var["highly_variable"]
    assert differ.sum() <= 2  # a tie at the cut may fall either way
    column = "dispersions_norm"
    np.testing.assert_allclose(cells.var[column], reference.var[column], rtol=1e-2, atol=1e-3)


def test_principal_components_equal_scanpys_on_scaled_genes(processed_once, by_scanpy):
    ours, theirs = processed_once.obsm["X_pca"], by_scanpy.obsm["X_pca"]
    assert ours.shape == theirs.shape == (1200, 50)
    np.testing.assert_allclose(
        processed_once.uns["pca"]["variance_ratio"], by_scanpy.uns["pca"]["variance_ratio"], rtol=1e-3
    )
    for component in range(8):
        assert abs(np.corrcoef(ours[:, component], theirs[:, component])[0, 1]) > 0.999


def test_neighbours_are_exact_and_the_graph_is_umaps(processed_once):
    from umap.umap_ import fuzzy_simplicial_set

    points = processed_once.obsm["X_pca"]
    distances, indices = NearestNeighbors(n_neighbors=15).fit(points).kneighbors(points)
    distances[:, 0] = 0.0  # of a cell to itself: rounding leaves 1e-7
    ours = processed_once.obsp["distances"]
    assert (np.diff(ours.indptr) == 14).all()
    np.testing.assert_allclose(np.sort(ours.data.reshape(-1, 14)), distances[:, 1:], rtol=1e-3)
    reference, *_ = fuzzy_simplicial_set(
        points, 15, random_state=0, metric="euclidean", knn_indices=indices, knn_dists=distances.astype("f4")
    )
    difference = processed_once.obsp["connectivities"] - reference
    assert np.abs(difference.data).max() < 2e-3
    graph = processed_once.obsp["connectivities"]
    assert abs(graph - graph.T).max() < 1e-6
    assert graph.diagonal().sum() == 0


def test_equal_cells_do_not_break_the_graph():
    points = np.zeros((60, 5), dtype=np.float32)
    points[40:] = np.random.default_rng(0).normal(size=(20, 5))
    indices, distances = embedding.nearest_others(points, 14)
    assert (indices != np.arange(60)[:, None]).all()
    graph = embedding.fuzzy_graph(indices, distances)
    assert np.isfinite(graph.data).all()
    assert graph.data.max() <= 1 + 1e-6


def test_search_in_many_cells_finds_the_true_neighbours():
    rng = np.random.default_rng(0)
    sd = np.linspace(4, 0.5, 20)  # falls from component to component, as that of cells does
    points = (sd * rng.normal(size=(52_000, 20)) + 8 * rng.integers(0, 2, (52_000, 1))).astype(np.float32)
    indices, distances = embedding.nearest_others(points, 14)
    some = rng.choice(len(points), 300, replace=False)
    true = NearestNeighbors(n_neighbors=15).fit(points).kneighbors(points[some], return_distance=False)[:, 1:]
    recall = np.mean([len(set(a) & set(b)) / 14 for a, b in zip(indices[some], true, strict=True)])
    assert recall > 0.9  # cells of several types: 0.998
    again, _ = embedding.nearest_others(points, 14)
    assert (again == indices).all()
    assert (np.diff(distances) >= 0).all()


def test_clusters_are_the_planted_types_and_the_largest_is_first():
    cells = mixture()
    pm.singlecell.process(cells, n_comps=20, resolution=0.3)
    assert adjusted_rand_score(cells.obs["type"], cells.obs["cluster"]) > 0.95
    sizes = cells.obs["cluster"].value_counts()
    assert sizes.index[0] == "0"
    assert list(cells.obs["cluster"].cat.categories) == [str(i) for i in range(len(sizes))]


def test_the_layout_keeps_neighbourhoods_as_umap_learn_does(processed):
    ours = trustworthiness(processed.obsm["X_pca"], processed.obsm["X_umap"])
    sc.tl.umap(processed)
    assert np.isfinite(ours)
    assert ours > trustworthiness(processed.obsm["X_pca"], processed.obsm["X_umap"]) - 0.02


def test_scanpy_goes_on_from_the_result(processed):
    ours = processed.obs["cluster"].copy()
    sc.tl.leiden(processed, flavor="igraph", n_iterations=2, directed=False)
    assert adjusted_rand_score(ours, processed.obs["leiden"]) > 0.8
    sc.tl.diffmap(processed, n_comps=5)
    sc.tl.rank_genes_groups(processed, "cluster", method="t-test")
    sc.tl.paga(processed, "cluster")
    assert processed.uns["neighbors"]["params"]["n_neighbors"] == 15


def test_harmony_mixes_batches_and_keeps_types():
    cells = mixture(n_cells=900, batches=2)
    pm.singlecell.process(cells, n_comps=20, umap=False)
    apart = same_batch(cells)
    pm.singlecell.process(cells, n_comps=20, batch_key="run", umap=False, resolution=0.3)
    assert cells.obsm["X_harmony"].shape == cells.obsm["X_pca"].shape
    assert cells.uns["neighbors"]["params"]["use_rep"] == "X_harmony"
    assert apart > 0.75
    assert same_batch(cells) < 0.6
    assert adjusted_rand_score(cells.obs["type"], cells.obs["cluster"]) > 0.9


def same_batch(cells) -> float:
    """Fraction of neighbours from a cell's own batch."""
    rows, columns = cells.obsp["distances"].nonzero()
    run = cells.obs["run"].to_numpy()
    return float((run[rows] == run[columns]).mean())


def test_same_seed_same_result(small_cohort, processed_once):
    again = pm.singlecell.process(small_cohort.cells[:1200].copy(), copy=True)
    for key in ("X_pca", "X_umap"):
        np.testing.assert_array_equal(again.obsm[key], processed_once.obsm[key])
    assert (again.obs["cluster"] == processed_once.obs["cluster"]).all()


def test_the_order_and_kind_of_matrix_do_not_matter():
    cells = mixture(n_cells=300)
    dense = cells.copy()
    dense.X = cells.X.toarray().astype(int)
    others = [dense]
    for kind in (sparse.csc_matrix, sparse.csr_array, sparse.csc_array):
        others.append(cells.copy())
        others[-1].X = kind(cells.X)
    results = [pm.singlecell.process(c, n_comps=10, umap=False, copy=True) for c in (cells, *others)]
    for other in results[1:]:
        np.testing.assert_allclose(other.obsm["X_pca"], results[0].obsm["X_pca"], atol=1e-4)
        assert (other.obs["cluster"] == results[0].obs["cluster"]).all()


def test_copy_leaves_the_input_and_processing_again_changes_nothing():
    cells = mixture(n_cells=300)
    before = cells.X.copy()
    first = pm.singlecell.process(cells, n_comps=10, copy=True)
    assert (before != cells.X).nnz == 0
    assert not cells.obsm
    assert not cells.layers
    second = pm.singlecell.process(first, n_comps=10, copy=True)  # counts are found in the layer
    np.testing.assert_array_equal(second.obsm["X_umap"], first.obsm["X_umap"])
    assert (second.X != first.X).nnz == 0
    third = pm.singlecell.process(second, n_comps=10, umap=False, copy=True)
    assert "X_umap" not in third.obsm  # the old one would belong to other clusters


def test_the_result_survives_a_file_with_its_parameters(tmp_path):
    cells = mixture(n_cells=300, batches=2)
    pm.singlecell.process(cells, n_comps=10, batch_key="run", umap=False)
    cells.write_h5ad(tmp_path / "cells.h5ad")
    record = ad.read_h5ad(tmp_path / "cells.h5ad").uns["pm_lab"]["process"]
    assert record["batch_key"] == "run"
    assert record["n_comps"] == 10
    assert "X_umap" not in cells.obsm


def test_cells_that_failed_quality_control_are_warned_of():
    cells = mixture(n_cells=300)
    cells.obs["keep"] = np.arange(300) >= 7
    with pytest.warns(PmLabWarning, match=r"7 cells .* keep=False.*cells\[cells.obs\["):
        pm.singlecell.process(cells, n_comps=10, umap=False)


@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csc_array])
def test_sparse_arrays_are_summed_as_matrices_are(kind):
    cells = mixture(n_cells=100)
    reference = pm.singlecell.pseudobulk(cells, groupby="type", patient_key="run")
    cells.X = kind(cells.X)
    summed = pm.singlecell.pseudobulk(cells, groupby="type", patient_key="run")
    np.testing.assert_array_equal(summed.layers["counts"], reference.layers["counts"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_neighbors": 1}, "n_neighbors=1: a whole number"),
        ({"n_neighbors": 7.5}, "n_neighbors=7.5: a whole number"),
        ({"n_comps": 1}, "n_comps=1: a whole number"),
        ({"n_comps": "10"}, "n_comps='10': a whole number"),
        ({"n_top_genes": 0}, "n_top_genes=0: a whole number"),
        ({"n_top_genes": 10}, "n_top_genes=10 .*n_comps=10"),
        ({"resolution": 0}, "resolution=0: a number above 0"),
        ({"resolution": -1.0}, "resolution=-1.0"),
        ({"resolution": np.nan}, "resolution=nan"),
        ({"resolution": "high"}, "resolution='high'"),
    ],
)
def test_a_number_out_of_range_is_refused_before_anything_changes(arguments, message):
    cells = mixture(n_cells=100)
    before = cells.copy()
    with pytest.raises(DataError, match=message):
        pm.singlecell.process(cells, **{"n_comps": 10} | arguments)
    assert_unchanged(cells, before)


def test_keep_as_text_is_refused_before_anything_changes():
    cells = mixture(n_cells=100)
    cells.obs["keep"] = np.where(np.arange(100) < 7, "False", "True")
    before = cells.copy()
    with pytest.raises(DataError, match=r"keep.*not booleans"):
        pm.singlecell.process(cells, n_comps=10)
    assert_unchanged(cells, before)


def assert_unchanged(cells, before):
    assert (cells.X != before.X).nnz == 0
    pd.testing.assert_frame_equal(cells.obs, before.obs)
    pd.testing.assert_frame_equal(cells.var, before.var)
    assert not any((cells.layers, cells.obsm, cells.varm, cells.obsp, cells.uns))


def test_fewer_components_than_asked_is_said():
    cells = mixture(n_cells=40)
    with pytest.warns(PmLabWarning, match="only 39 of 50 principal components"):
        pm.singlecell.process(cells, umap=False)
    assert cells.obsm["X_pca"].shape == (40, 39)


def test_bad_input_is_refused():
    process = pm.singlecell.process
    log = mixture(n_cells=100)
    sc.pp.log1p(log)
    with pytest.raises(DataError, match="log-normalised"):
        process(log)
    cells = mixture(n_cells=100)
    with pytest.raises(DataError, match="too few for n_neighbors=15"):
        process(cells[:15].copy())
    with pytest.raises(DataError, match=r"no column 'lane'.*batch_key="):
        process(cells, batch_key="lane")
    with pytest.raises(DataError, match="has one value"):
        process(cells, batch_key="run", n_comps=10)
    empty = cells.copy()
    empty.X = sparse.csr_matrix(np.where(np.arange(100)[:, None] < 3, 0, cells.X.toarray()))
    with pytest.raises(DataError, match="3 cells have no counts"):
        process(empty)


def test_processing_needs_neither_scanpy_nor_umap():
    # Their imports take longer than all of the work on a few thousand cells.
    code = (
        "import sys, numpy as np, anndata, pm_lab as pm\n"
        "cells = anndata.AnnData(np.random.default_rng(0).poisson(2, (100, 50)).astype('f4'))\n"
        "pm.singlecell.process(cells, n_comps=5)\n"
        "pm.singlecell.rank_markers(cells)\n"
        "print([m for m in ('scanpy', 'umap', 'pynndescent', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
