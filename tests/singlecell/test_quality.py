"""Quality control: the planted broken cells and doublets are found, and everything is reported."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.metrics import roc_auc_score

import pm_lab as pm
from pm_lab.errors import DataError, PmLabWarning

REASONS = ["low_counts", "high_counts", "few_genes", "many_genes", "high_mt", "doublet"]


def test_planted_damaged_cells_and_doublets_are_found(small_cohort, cells):
    pm.singlecell.quality_control(cells)
    damaged = small_cohort.truth["damaged"].reindex(cells.obs_names).to_numpy(bool)
    doublet = small_cohort.truth["doublet"].reindex(cells.obs_names).to_numpy(bool)
    keep = cells.obs["keep"].to_numpy()
    assert (~keep)[damaged].mean() > 0.95
    assert (~keep)[~damaged & ~doublet].mean() < 0.04
    scored = cells.obs["doublet_score"].notna().to_numpy()
    assert roc_auc_score(doublet[scored], cells.obs["doublet_score"][scored]) > 0.9
    called = cells.obs["qc_reason"].str.contains("doublet").to_numpy()
    assert doublet[called].mean() > 0.75
    assert called[doublet].mean() > 0.45


def test_no_cell_is_deleted_and_the_table_adds_up(cells):
    before = cells.obs_names.copy()
    table = pm.singlecell.quality_control(cells)
    assert cells.obs_names.equals(before)
    assert cells.obs["keep"].dtype == bool
    assert (cells.obs["keep"] == (cells.obs["qc_reason"] == "")).all()
    assert table["n_cells"].sum() == cells.n_obs
    assert table["n_kept"].sum() == cells.obs["keep"].sum()
    reasons = cells.obs["qc_reason"].str.get_dummies(";").reindex(columns=REASONS, fill_value=0).sum()
    assert (table[REASONS].sum() == reasons).all()
    total = np.asarray(cells.X.sum(axis=1)).ravel()
    np.testing.assert_allclose(cells.obs["total_counts"], total)
    median = pd.Series(total).groupby(cells.obs["patient"].to_numpy(), observed=True).median()
    np.testing.assert_allclose(table["median_counts"], median.loc[table.index])


def test_metrics_equal_scanpys(cells):
    import scanpy as sc

    pm.singlecell.quality_control(cells, doublets=False)
    ours = cells.obs[["total_counts", "n_genes_by_counts", "pct_counts_mt"]].copy()
    cells.var["mt"] = cells.var_names.str.startswith("MT-")
    sc.pp.calculate_qc_metrics(cells, qc_vars=["mt"], percent_top=None, log1p=False, inplace=True)
    np.testing.assert_allclose(ours, cells.obs[ours.columns], rtol=1e-5)


@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csc_array, sparse.csc_matrix, np.asarray])
def test_the_kind_of_matrix_does_not_matter(cells, kind):
    few = cells[:300].copy()
    other = few.copy()
    del other.layers["counts"]
    other.X = np.asarray(few.X.toarray()) if kind is np.asarray else kind(few.X)
    reference = pm.singlecell.quality_control(few)
    pd.testing.assert_frame_equal(pm.singlecell.quality_control(other), reference)
    pd.testing.assert_frame_equal(other.obs, few.obs)


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array])
def test_a_stored_zero_is_no_detected_gene(cells, kind):
    few = cells[:200].copy()
    reference = few.copy()
    pm.singlecell.quality_control(reference, doublets=False)
    few.X = kind(few.X + sparse.csr_matrix(np.ones(few.shape)))
    few.X.data -= 1  # every value is stored now
    few.layers.clear()
    assert few.X.nnz == few.n_obs * few.n_vars
    pm.singlecell.quality_control(few, doublets=False)
    pd.testing.assert_series_equal(few.obs["n_genes_by_counts"], reference.obs["n_genes_by_counts"])
    assert few.obs["n_genes_by_counts"].max() < few.n_vars


@pytest.mark.parametrize("kind", ["bool", "boolean", "int", "category"])
def test_patients_that_are_not_text(cells, kind):
    few = cells[:300].copy()
    first = few.obs["patient"].cat.codes.to_numpy() % 2 == 0
    few.obs["patient"] = np.where(first, "True", "False")
    reference = pm.singlecell.quality_control(few, doublets=False, copy=True)[0]
    few.obs["patient"] = pd.Series(first, few.obs_names).astype(kind)
    table = pm.singlecell.quality_control(few, doublets=False)
    assert table.index.astype(bool).tolist() == [False, True]
    assert reference.index.tolist() == ["False", "True"]
    np.testing.assert_array_equal(table.to_numpy(), reference.to_numpy())


def made(totals_by_patient: dict[str, list[int]]) -> ad.AnnData:
    """Cells whose counts, all in the one gene that is not mitochondrial, are given."""
    totals = np.concatenate(list(totals_by_patient.values())).astype(np.float32)
    patient = np.repeat(list(totals_by_patient), [len(t) for t in totals_by_patient.values()])
    X = sparse.csr_matrix(np.column_stack([totals, np.zeros_like(totals)]))
    obs = pd.DataFrame({"patient": patient}, index=[f"c{i}" for i in range(len(totals))])
    return ad.AnnData(X, obs=obs, var=pd.DataFrame(index=["ACTB", "MT-CO1"]))


def test_limits_are_robust_standard_deviations_of_the_patients_own_cells():
    rng = np.random.default_rng(0)
    deep = rng.lognormal(9, 0.2, 200).astype(int)
    shallow = rng.lognormal(7, 0.2, 200).astype(int)
    cells = made({"deep": [*deep, 1000], "shallow": shallow})
    table = pm.singlecell.quality_control(cells, doublets=False, n_mads=4)
    log = np.log1p(np.array([*deep, 1000]))
    spread = 1.4826 * np.median(np.abs(log - np.median(log)))
    expected = np.expm1(np.median(log) + np.array([-4, 4]) * spread)
    np.testing.assert_allclose(table.loc["deep", ["min_counts", "max_counts"]].astype(float), expected)
    # 1,000 counts are usual for the shallow patient, not for the deep one.
    assert cells.obs.loc["c200", "qc_reason"] == "low_counts"
    assert table.loc["shallow", "low_counts"] == 0


def test_a_patient_of_few_cells_is_judged_by_all():
    rng = np.random.default_rng(0)
    cells = made({"many": rng.lognormal(8, 0.2, 300).astype(int), "few": [1, 2, 3]})
    with pytest.warns(PmLabWarning, match="1 of 2 patients keep less than half of their cells .few"):
        table = pm.singlecell.quality_control(cells, doublets=False)
    assert table["limits_from"].to_dict() == {"few": "all", "many": "patient"}
    assert table.loc["few", "low_counts"] == 3


def test_a_low_mitochondrial_share_is_never_an_outlier():
    cells = made({"p": [1000] * 100})
    X = cells.X.toarray()
    X[:4, 1] = [10, 40, 60, 500]  # 1 %, 3.8 %, 5.7 %, 33 %; the others have none
    cells.X = sparse.csr_matrix(X)
    with pytest.warns(PmLabWarning, match="less than half"):  # counts do not vary here, so any more is odd
        pm.singlecell.quality_control(cells, doublets=False)
    flagged = cells.obs["qc_reason"].str.contains("high_mt").to_numpy()
    assert flagged.nonzero()[0].tolist() == [2, 3]


def test_no_mitochondrial_gene_is_said_and_nan(cells):
    few = cells[:200, ~cells.var_names.str.startswith("MT-")].copy()
    with pytest.warns(PmLabWarning, match="no gene name starts with 'MT-'"):
        table = pm.singlecell.quality_control(few, doublets=False)
    assert few.obs["pct_counts_mt"].isna().all()
    assert table["median_mt_percent"].isna().all()
    assert table["high_mt"].sum() == 0


def test_doublet_threshold_is_reported_and_can_be_given(cells):
    table = pm.singlecell.quality_control(cells)
    threshold = table.attrs["doublet_threshold"]
    above = (cells.obs["doublet_score"] > threshold).to_numpy()
    assert (above == cells.obs["qc_reason"].str.contains("doublet").to_numpy()).all()
    assert cells.uns["pm_lab"]["quality_control"]["doublet_threshold"] == threshold
    with pytest.warns(PmLabWarning, match="less than half"):
        strict = pm.singlecell.quality_control(cells, doublet_threshold=0.01)
    assert strict["doublet"].sum() > table["doublet"].sum()


def test_same_seed_same_result_and_copy_leaves_the_input(cells):
    first, one = pm.singlecell.quality_control(cells, copy=True)
    second, two = pm.singlecell.quality_control(cells, copy=True)
    pd.testing.assert_frame_equal(first, second)
    pd.testing.assert_frame_equal(one.obs, two.obs)
    assert "keep" not in cells.obs


def test_the_result_survives_a_file(cells, tmp_path):
    cells.obs["patient"] = cells.obs["patient"].cat.codes  # numbers as patient names, too
    pm.singlecell.quality_control(cells, doublets=False)
    cells.write_h5ad(tmp_path / "cells.h5ad")
    again = ad.read_h5ad(tmp_path / "cells.h5ad")
    assert (again.obs["keep"] == cells.obs["keep"]).all()
    assert len(again.uns["pm_lab"]["quality_control"]["limits"]) == cells.obs["patient"].nunique()


def test_dense_counts_and_other_patient_key(cells):
    few = cells[:300].copy()
    few.X = few.X.toarray()
    del few.layers["counts"]
    few.obs = few.obs.rename(columns={"patient": "donor"})
    table = pm.singlecell.quality_control(few, patient_key="donor")
    assert table.index.name == "donor"


def test_bad_input_is_refused(cells):
    quality_control = pm.singlecell.quality_control
    few = cells[:150].copy()
    with pytest.raises(DataError, match="no column 'donor'"):
        quality_control(few, patient_key="donor")
    with pytest.raises(DataError, match=r"too few to find doublets.*doublets=False"):
        quality_control(few[:80].copy())
    log = few.copy()
    log.X = np.log1p(log.X)
    del log.layers["counts"]
    with pytest.raises(DataError, match="log-normalised"):
        quality_control(log)
    nan = few.copy()
    nan.obs.loc[nan.obs_names[:3], "patient"] = np.nan
    with pytest.raises(DataError, match="missing for 3 of 150"):
        quality_control(nan)
    with pytest.raises(DataError, match="empty: 0 observations"):
        quality_control(few[:0].copy())
    infinite = few.copy()
    infinite.layers["counts"] = few.X.copy()
    infinite.layers["counts"].data[5] = np.inf
    with pytest.raises(DataError, match="1 NaN or infinite"):
        quality_control(infinite)
    twice = few.copy()
    twice.var_names = ["A", *twice.var_names[1:-1], "A"]
    with pytest.raises(DataError, match="1 var names occur more than once"):
        quality_control(twice)
