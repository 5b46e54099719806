"""Markers: scanpy's Wilcoxon numbers, and a tidy table."""

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse

import pm_lab as pm
from pm_lab.errors import DataError


@pytest.fixture
def by_scanpy(processed):
    sc.tl.rank_genes_groups(processed, "cluster", method="wilcoxon", pts=True)
    table = sc.get.rank_genes_groups_df(processed, group=None)
    return table.set_index(["group", "names"]).sort_index()


def test_equal_groups_get_scanpys_numbers(processed, by_scanpy):
    ours = pm.singlecell.rank_markers(processed).set_index(["group", "gene"]).sort_index()
    ours.index = ours.index.set_levels(ours.index.levels[0].astype(str), level=0)
    ours = ours.loc[by_scanpy.index]
    np.testing.assert_allclose(ours["score"], by_scanpy["scores"], atol=1e-4)
    np.testing.assert_allclose(ours["pvalue"], by_scanpy["pvals"], rtol=1e-3, atol=1e-12)
    np.testing.assert_allclose(ours["padj"], by_scanpy["pvals_adj"], rtol=1e-3, atol=1e-12)
    np.testing.assert_allclose(ours["fraction_in"], by_scanpy["pct_nz_group"], rtol=1e-6)
    np.testing.assert_allclose(ours["fraction_out"], by_scanpy["pct_nz_reference"], rtol=1e-6)
    seen = (ours["fraction_in"] > 0) & (ours["fraction_out"] > 0)
    np.testing.assert_allclose(
        ours.loc[seen, "log2_fold_change"], by_scanpy.loc[seen, "logfoldchanges"], rtol=1e-3, atol=1e-4
    )


def test_one_row_per_group_and_gene_best_first(processed):
    table = pm.singlecell.rank_markers(processed)
    n_groups = processed.obs["cluster"].nunique()
    assert len(table) == n_groups * processed.n_vars
    assert not table.duplicated(["group", "gene"]).any()
    assert not table.isna().any().any()
    assert list(table["group"].cat.categories) == list(processed.obs["cluster"].cat.categories)
    for _, rows in table.groupby("group", observed=True):
        assert (rows["score"].diff().dropna() <= 0).all()


def test_planted_types_are_marked_by_their_planted_genes(small_cohort, processed):
    processed.obs["planted"] = small_cohort.truth["cell_type"].reindex(processed.obs_names).to_numpy()
    table = pm.singlecell.rank_markers(processed, groupby="planted")
    planted = small_cohort.truth["genes"]["marker_of"]
    best = table.groupby("group", observed=True).head(5)
    hits = [planted.get(gene) == group for group, gene in zip(best["group"], best["gene"], strict=True)]
    assert np.mean(hits) > 0.6


def test_dense_csc_and_unsorted_values_give_the_same(processed):
    few = processed[:400, :200].copy()

    def same(other):
        pd.testing.assert_frame_equal(rank(other), reference, atol=1e-6)

    def rank(cells):
        return pm.singlecell.rank_markers(cells, groupby="response")

    reference = rank(few)
    stored = few.copy()
    stored.X = sparse.csr_matrix(few.X.toarray() + 1)
    stored.X.data -= 1  # every zero is stored now
    assert stored.X.nnz == 400 * 200
    same(stored)
    for change in (np.asarray, sparse.csc_matrix, sparse.csr_array, sparse.csc_array):
        other = few.copy()
        other.X = change(few.X.toarray())
        pd.testing.assert_frame_equal(
            pm.singlecell.rank_markers(other, groupby="response"), reference, atol=1e-6
        )
    unsorted = few.copy()
    X = unsorted.X
    for row in range(X.shape[0]):
        place = slice(X.indptr[row], X.indptr[row + 1])
        X.indices[place], X.data[place] = X.indices[place][::-1].copy(), X.data[place][::-1].copy()
    X.has_sorted_indices = False
    pd.testing.assert_frame_equal(
        pm.singlecell.rank_markers(unsorted, groupby="response"), reference, atol=1e-6
    )


def test_nothing_is_printed_or_changed(processed, capfd):
    before = processed.X.copy()
    pm.singlecell.rank_markers(processed)
    assert capfd.readouterr() == ("", "")
    assert (before != processed.X).nnz == 0
    assert "rank_genes_groups" not in processed.uns


def test_bad_input_is_refused(processed):
    rank = pm.singlecell.rank_markers
    with pytest.raises(DataError, match="no column 'cell_type'"):
        rank(processed, groupby="cell_type")
    processed.obs["one"] = "a"
    with pytest.raises(DataError, match="has 1 group"):
        rank(processed, groupby="one")
    processed.obs["single"] = ["x", *["y"] * (processed.n_obs - 1)]
    with pytest.raises(DataError, match=r"groups of one cell.*: x"):
        rank(processed, groupby="single")
    twice = processed.copy()
    twice.var_names = [twice.var_names[0], *twice.var_names[:-1]]
    with pytest.raises(DataError, match="1 var names occur more than once"):
        rank(twice)
    processed.X = processed.layers["counts"]
    with pytest.raises(DataError, match="not log-normalised"):
        rank(processed)
    processed.X = -processed.X
    with pytest.raises(DataError, match="negative"):
        rank(processed)
