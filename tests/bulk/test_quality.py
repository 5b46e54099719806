"""Quality control of samples: spoiled ones are marked, sound ones are not, nothing is dropped."""

import numpy as np
import pandas as pd
import pytest

from pm_lab.bulk import pc_associations, quality_control
from pm_lab.errors import DataError, PmLabWarning


def test_the_built_in_cohort_is_sound(bulk):
    table = quality_control(bulk, batch="batch", condition="response")
    assert len(table) == 120
    assert (table["qc_reason"] == "").all()
    assert (table["expressed_sex"].astype(str) == bulk.obs["sex"].astype(str)).all()


def test_spoiled_samples_are_marked_with_their_reason(bulk):
    rng = np.random.default_rng(0)
    counts = bulk.layers["counts"]
    counts[0] = rng.binomial(counts[0].astype(int), 0.02)
    counts[1, 10] = 5 * counts[1].sum()
    counts[2] = rng.permutation(counts[2])
    bulk.obs["sex"] = bulk.obs["sex"].astype(str)
    bulk.obs.loc["P004", "sex"] = {"female": "M", "male": "F"}[bulk.obs.loc["P004", "sex"]]
    with pytest.warns(PmLabWarning, match="P004"):
        table = quality_control(bulk)
    reasons = table["qc_reason"].astype(str)
    assert "few_counts" in reasons["P001"]
    assert "dominated" in reasons["P002"]
    assert "low_correlation" in reasons["P003"] and "far_in_pca" in reasons["P003"]
    assert reasons["P004"] == "sex_mismatch"
    assert (reasons[4:] == "").all()
    assert bulk.n_obs == 120


def test_measures(small):
    table = quality_control(small)
    counts = small.layers["counts"]
    assert np.array_equal(table["library_size"], counts.sum(axis=1))
    assert np.array_equal(table["n_genes"], (counts > 0).sum(axis=1))
    top = np.sort(counts, axis=1)[:, -50:].sum(axis=1) / counts.sum(axis=1)
    assert np.allclose(table["top_50_share"], top)
    assert "expressed_sex" not in table, "neither XIST nor a gene of the Y chromosome is measured"
    pd.testing.assert_frame_equal(small.obs[table.columns], table)


def test_sex_on_record_may_be_absent_or_unknown(bulk):
    bulk.obs["sex"] = "not asked"
    assert (quality_control(bulk)["qc_reason"] == "").all()
    del bulk.obs["sex"]
    assert "expressed_sex" in quality_control(bulk)


def test_associations_show_that_the_batch_leads(bulk):
    quality_control(bulk, batch="batch", condition="response")
    table = bulk.uns["pm_lab"]["quality_control"]["associations"]
    r2 = table.set_index(["variable", "component"])["r2"]
    assert r2["batch", "PC1"] > 0.8 > r2["response", "PC1"]
    assert r2["batch", "all"] > r2["response", "all"] > 0
    assert table["r2"].between(0, 1).all()


def test_associations_equal_those_of_statsmodels(bulk):
    import statsmodels.formula.api as smf

    quality_control(bulk)
    table = pc_associations(bulk, ["batch", "age"]).set_index(["variable", "component"])
    data = bulk.obs.assign(pc=bulk.obsm["X_pca"][:, 1])
    for name in ("batch", "age"):
        fit = smf.ols(f"pc ~ {name}", data).fit()
        assert table.loc[(name, "PC2"), "r2"] == pytest.approx(fit.rsquared)
        assert table.loc[(name, "PC2"), "pvalue"] == pytest.approx(fit.f_pvalue)


def test_copy_leaves_the_cohort_as_it_is(small):
    table, changed = quality_control(small, copy=True)
    assert "library_size" in changed.obs and "X_pca" in changed.obsm
    assert "library_size" not in small.obs and "X_pca" not in small.obsm
    assert len(table) == 12


def test_written_cohort_can_be_saved_and_read(small, tmp_path):
    import anndata as ad

    quality_control(small, batch="batch")
    small.write_h5ad(tmp_path / "small.h5ad")
    record = ad.read_h5ad(tmp_path / "small.h5ad").uns["pm_lab"]["quality_control"]
    assert record["batch"] == "batch" and len(record["associations"]) > 0


@pytest.mark.filterwarnings("error")
def test_two_genes_and_equal_samples(small):
    table = quality_control(small[:, :2].copy())
    assert table["median_correlation"].isna().all()
    assert not table["qc_reason"].astype(str).str.contains("low_correlation").any()
    small.layers["counts"][1:] = small.layers["counts"][0]
    table = quality_control(small)
    assert np.allclose(table["median_correlation"], 1)
    assert not table["qc_reason"].astype(str).str.contains("low_correlation").any()


@pytest.mark.filterwarnings("error")
def test_a_view_would_lose_what_is_written(small):
    with pytest.raises(DataError, match=r"view of 6 × 80.*\.copy\(\).*copy=True"):
        quality_control(small[:6])
    table, changed = quality_control(small[:6], copy=True)
    assert len(table) == changed.n_obs == 6 and "library_size" not in small.obs


def test_coverage_is_warned_of(small):
    small.layers["counts"] *= 100_000
    with pytest.warns(PmLabWarning, match="coverage_to_counts"):
        quality_control(small)


def test_refused(small):
    with pytest.raises(DataError, match="3 samples"):
        quality_control(small[:3].copy())
    with pytest.raises(DataError, match=r"no column 'plate'.*batch="):
        quality_control(small, batch="plate")
    with pytest.raises(DataError, match="quality_control"):
        pc_associations(small, ["batch"])
