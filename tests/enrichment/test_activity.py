"""Activity of pathways by patient, and its comparison between groups of patients."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from scipy import stats

import pm_lab as pm
from pm_lab import keys
from pm_lab.errors import DataError, DesignError, PmLabWarning

ENSEMBL = [f"ENSG{i:011d}" for i in range(2000)]
DESIGN, CONTRAST = "~ batch + age + response", ("response", "yes", "no")


@pytest.fixture(scope="module")
def scored_once(cohort_once, core):
    return pm.enrichment.sample_activity(cohort_once, core, copy=True)


@pytest.fixture
def scored(scored_once):
    return scored_once.copy()


@pytest.fixture(scope="module")
def standardised(scored_once):
    table = scored_once.to_df().astype(float)
    return (table - table.mean()) / table.std()


def test_scores_are_written_with_how_they_were_made(cohort_once, scored, core):
    assert keys.PATHWAYS not in cohort_once.bulk.obsm, "a copy was asked for"
    scores = scored.obsm["pathways"]
    assert list(scores.columns) == list(core)
    assert scores.index.equals(scored.obs_names)
    record = scored.uns["pm_lab"]["sample_activity"]
    assert (record["method"], record["n_genes"]) == ("ulm", scored.n_vars)
    assert record["mapping"]["set"].tolist() == list(core)


def test_the_mean_over_all_genes_is_written_beside_scores_that_follow_it(bulk, standardised, core):
    pm.enrichment.sample_activity(bulk, core)
    np.testing.assert_allclose(bulk.obs["mean_standardized_expression"], standardised.mean(axis=1), atol=1e-6)
    few = bulk[:5].copy()
    pm.enrichment.sample_activity(few, {"EMT": core["EMT"]}, method="ssgsea")
    assert "mean_standardized_expression" not in few.obs


def test_ulm_is_the_t_of_a_regression_through_the_origin(scored, standardised, core):
    for name in ("HYPOXIA", "EMT"):
        member = standardised.columns.isin(core[name]).astype(float)
        for patient in standardised.index[:3]:
            expected = sm.OLS(standardised.loc[patient].to_numpy(), member).fit().tvalues[0]
            assert scored.obsm["pathways"].at[patient, name] == pytest.approx(expected)


def test_mlm_is_the_t_of_all_sets_together(bulk, standardised, core):
    pm.enrichment.sample_activity(bulk, core, method="mlm")
    members = np.column_stack([standardised.columns.isin(genes) for genes in core.values()]).astype(float)
    for patient in standardised.index[:2]:
        expected = sm.OLS(standardised.loc[patient].to_numpy(), members).fit().tvalues
        np.testing.assert_allclose(bulk.obsm["pathways"].loc[patient], expected)


def test_ssgsea_scores_a_patient_alike_in_any_company(bulk, core):
    few = {name: core[name] for name in ("HYPOXIA", "EMT")}
    together = pm.enrichment.sample_activity(bulk[:10], few, method="ssgsea", copy=True).obsm["pathways"]
    alone = pm.enrichment.sample_activity(bulk[3:4], few, method="ssgsea", copy=True).obsm["pathways"]
    pd.testing.assert_frame_equal(alone, together[3:4])
    assert together.abs().max().max() < 1


def test_ssgsea_is_the_area_between_the_two_walks(bulk, core):
    values = bulk.to_df().iloc[0]
    one = pm.enrichment.sample_activity(bulk[:1], {"A": core["EMT"]}, method="ssgsea", copy=True)
    order = values.rank()[values.sort_values(ascending=False, kind="stable").index]
    member = order.index.isin(core["EMT"])
    weight = np.where(member, (10_000 * order / len(order)) ** 0.25, 0)
    gap = np.cumsum(weight) / weight.sum() - np.cumsum(~member) / (~member).sum()
    assert one.obsm["pathways"].iloc[0, 0] == pytest.approx(gap.mean(), rel=0.02)


@pytest.mark.parametrize("method", ["ulm", "mlm"])
def test_a_new_patient_is_scored_as_within_the_reference(bulk, core, method):
    pm.enrichment.sample_activity(bulk, core, method=method)
    one = bulk[7:8].copy()
    del one.obsm["pathways"]
    pm.enrichment.sample_activity(one, core, method=method, reference=bulk)
    pd.testing.assert_frame_equal(one.obsm["pathways"], bulk.obsm["pathways"][7:8])


def test_genes_that_only_one_has_are_counted(bulk, core):
    one = bulk[7:8, 100:].copy()
    pm.enrichment.sample_activity(one, core, reference=bulk[:, :-50])
    assert one.uns["pm_lab"]["sample_activity"]["n_not_shared"] == 150


def test_scores_follow_the_planted_activities(scored, cohort_once):
    planted = cohort_once.truth["activities"]
    for name in planted.columns:
        assert np.corrcoef(scored.obsm["pathways"][name], planted.loc[scored.obs_names, name])[0, 1] > 0.9


def test_scores_survive_a_file(scored, tmp_path):
    scored.write_h5ad(tmp_path / "scored.h5ad")
    back = ad.read_h5ad(tmp_path / "scored.h5ad")
    pd.testing.assert_frame_equal(back.obsm["pathways"], scored.obsm["pathways"], check_names=False)
    assert back.uns["pm_lab"]["sample_activity"]["method"] == "ulm"


def test_names_that_a_file_cannot_keep_are_warned_of(bulk, core):
    with pytest.warns(PmLabWarning, match=r"1 sets have a / in their name \(G2/M\)"):
        pm.enrichment.sample_activity(bulk, {"G2/M": core["CELL_CYCLE_G2M"], "EMT": core["EMT"]})
    assert list(bulk.obsm["pathways"]) == ["G2/M", "EMT"]


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (lambda a: a[:50], {}, r"is a view.*copy\(\)"),
        (lambda a: a[:1].copy(), {}, "1 patients have no mean and spread.*reference=cohort"),
        (lambda a: a, {"method": "gsva"}, "method='gsva'"),
        (lambda a: a, {"method": "ssgsea", "reference": "cohort"}, "no use for reference"),
        (lambda a: ad.AnnData(a.layers["counts"], a.obs, a.var), {}, "whole numbers only"),
        (lambda a: ad.AnnData(np.exp2(a.X) - 1, a.obs, a.var), {}, "no logarithm was taken.*bulk.normalize"),
        (lambda a: ad.AnnData(np.where(a.X > 12, np.nan, a.X), a.obs, a.var), {}, "NaN or infinite"),
        (lambda a: ad.AnnData(a.X, a.obs, a.var.set_axis(ENSEMBL)), {}, "are Ensembl ids"),
    ],
)
def test_refused(bulk, core, change, arguments, message):
    if "reference" in arguments:
        arguments = {**arguments, "reference": bulk}
    with pytest.raises(DataError, match=message):
        pm.enrichment.sample_activity(change(bulk), core, **arguments)


def test_sets_that_hold_the_same_genes_are_refused_by_mlm(bulk, core):
    twice = {"A": core["EMT"], "B": core["EMT"], "C": core["HYPOXIA"]}
    with pytest.raises(DataError, match="only 2 of them can be told apart"):
        pm.enrichment.sample_activity(bulk, twice, method="mlm")


def test_a_small_reference_is_warned_of(bulk, core):
    with pytest.warns(PmLabWarning, match="relative to only 5 patients"):
        pm.enrichment.sample_activity(bulk[:5], core, copy=True)


# Comparison


def test_comparison_is_the_linear_model(scored):
    table = pm.enrichment.compare_activity(scored, DESIGN, CONTRAST).set_index("pathway")
    data = scored.obs.assign(score=scored.obsm["pathways"]["HYPOXIA"].to_numpy())
    data["yes"] = (data["response"] == "yes").astype(float)
    fit = smf.ols("score ~ batch + age + yes", data).fit()
    row = table.loc["HYPOXIA"]
    assert row["difference"] == pytest.approx(fit.params["yes"])
    assert row["pvalue"] == pytest.approx(fit.pvalues["yes"])
    np.testing.assert_allclose(row[["lower", "upper"]].astype(float), fit.conf_int().loc["yes"])
    assert (row["n_yes"], row["n_no"]) == (48, 72)
    assert table.attrs["degrees_of_freedom"] == fit.df_resid
    np.testing.assert_allclose(table["fdr"], stats.false_discovery_control(table["pvalue"]))


def test_without_covariates_it_is_students_t_test(scored):
    table = pm.enrichment.compare_activity(scored, "~ response", CONTRAST).set_index("pathway")
    yes = (scored.obs["response"] == "yes").to_numpy()
    scores = scored.obsm["pathways"]
    expected = stats.ttest_ind(scores[yes], scores[~yes])
    np.testing.assert_allclose(table.loc[scores.columns, "stat"], expected.statistic)


def test_planted_pathways_come_with_their_sign(scored):
    table = pm.enrichment.compare_activity(scored, DESIGN, CONTRAST).set_index("pathway")
    planted = ["INTERFERON_GAMMA_RESPONSE", "CELL_CYCLE_G2M", "HYPOXIA", "TGF_BETA_SIGNALING"]
    assert np.sign(table.loc[planted, "difference"]).tolist() == [1, 1, -1, -1]
    assert (table.loc[planted, "fdr"] < 0.01).all()


def test_turning_the_contrast_turns_the_sign(scored):
    there = pm.enrichment.compare_activity(scored, DESIGN, CONTRAST)
    back = pm.enrichment.compare_activity(scored, DESIGN, ("response", "no", "yes"))
    np.testing.assert_allclose(there["difference"], -back["difference"])
    np.testing.assert_allclose(there["lower"], -back["upper"])


def test_a_third_level_is_left_out_and_counted(scored):
    table = pm.enrichment.compare_activity(scored, "~ subtype", ("subtype", "Luminal A", "Basal-like"))
    n = scored.obs["subtype"].value_counts()
    assert table["n_Luminal A"].iloc[0] == n["Luminal A"]
    assert table.attrs["n_left_out"] == len(scored) - n["Luminal A"] - n["Basal-like"]


def test_other_terms_may_interact_but_not_the_condition(scored):
    table = pm.enrichment.compare_activity(scored, "~ sex * age + response", CONTRAST).set_index("pathway")
    data = scored.obs.assign(score=scored.obsm["pathways"]["HYPOXIA"].to_numpy())
    data["yes"] = (data["response"] == "yes").astype(float)
    fit = smf.ols("score ~ sex * age + yes", data).fit()
    assert table.at["HYPOXIA", "stat"] == pytest.approx(fit.tvalues["yes"])
    with pytest.raises(DesignError, match="'response' interacts"):
        pm.enrichment.compare_activity(scored, "~ sex * response", CONTRAST)


def test_few_patients_are_warned_of(scored):
    few = scored[:8].copy()
    few.obs["group"] = ["a", "b"] * 4
    few.obs["score"] = np.arange(8.0) ** 2
    with pytest.warns(PmLabWarning, match="Only 4 residual degrees of freedom"):
        table = pm.enrichment.compare_activity(few, "~ age + score + group", ("group", "a", "b"))
    assert np.isfinite(table["pvalue"]).all()


def test_groups_that_differ_in_depth_are_warned_of(bulk, core, recwarn):
    pm.enrichment.sample_activity(bulk, core)
    pm.enrichment.compare_activity(bulk, DESIGN, CONTRAST)
    assert not recwarn.list, "as the cohort is"
    counts, yes = bulk.layers["counts"].astype(int), (bulk.obs["response"] == "yes").to_numpy()
    counts[yes] = np.random.default_rng(0).binomial(counts[yes], 0.1)
    bulk.X = np.log2(counts / counts.sum(axis=1, keepdims=True) * 1e6 + 1)
    pm.enrichment.sample_activity(bulk, core)
    with pytest.warns(PmLabWarning, match="average gene differs between 'yes' and 'no'.*depth or quality"):
        pm.enrichment.compare_activity(bulk, DESIGN, CONTRAST)


def test_pairs_are_compared_within_patients(scored):
    pairs = scored[:20].copy()
    pairs.obs["patient"] = np.repeat(np.arange(10), 2)  # numbers, yet no slope
    pairs.obs["when"] = ["before", "after"] * 10
    contrast = ("when", "after", "before")
    table = pm.enrichment.compare_activity(pairs, "~ patient + when", contrast).set_index("pathway")
    scores = pairs.obsm["pathways"]
    expected = stats.ttest_rel(scores[1::2], scores[::2])
    np.testing.assert_allclose(table.loc[scores.columns, "stat"], expected.statistic)
    np.testing.assert_allclose(table.loc[scores.columns, "pvalue"], expected.pvalue)
    with pytest.raises(DesignError, match=r"10 patients are in both.*'~ patient \+ when'"):
        pm.enrichment.compare_activity(pairs, "~ when", contrast)
    pairs.obs["when"] = ["before"] * 2 + ["before", "after"] * 9
    with pytest.raises(DesignError, match=r"1 patients have several rows of one when \(0\)"):
        pm.enrichment.compare_activity(pairs, "~ patient + when", contrast)


@pytest.mark.parametrize(
    ("change", "design", "error", "message"),
    [
        (lambda a: a.obsm.pop("pathways"), DESIGN, DataError, "obsm has no 'pathways'.*sample_activity"),
        (lambda a: a.obsm.update(pathways=np.ones((120, 2))), DESIGN, DataError, "is a ndarray"),
        (lambda a: a.obs.__setitem__("patient", "one"), DESIGN, DesignError, "1 patients have several rows"),
        (lambda a: a.obs.__setitem__("patient", np.nan), DESIGN, DataError, "is missing for 120 of 120"),
        (lambda a: None, "~ batch + grade + response", DataError, r"uses \['grade'\]"),
        (lambda a: None, "~ batch + age", DesignError, "contrast is about 'response'"),
        (lambda a: a.obs.isetitem(1, a.obs["response"]), DESIGN, DesignError, "equals 'batch'"),
        (lambda a: a.obsm["pathways"].isetitem(0, np.nan), DESIGN, DataError, "for 120 of 120"),
    ],
)
def test_comparisons_refused(scored, change, design, error, message):
    change(scored)
    with pytest.raises(error, match=message):
        pm.enrichment.compare_activity(scored, design, CONTRAST)
