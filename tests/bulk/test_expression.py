"""Differential expression of patients: what was planted, what R finds on airway, what is refused."""

import numpy as np
import pandas as pd
import pytest

import pm_lab as pm
from pm_lab.bulk import coverage_to_counts, differential_expression, top_table
from pm_lab.errors import DataError, DesignError, PmLabWarning

DESIGN, CONTRAST = "~ batch + age + response", ("response", "yes", "no")
COLUMNS = ["base_mean", "log2_fold_change", "lfc_se", "stat", "pvalue", "padj"]
SHRUNKEN = ["shrunken_log2_fold_change", "shrunken_lfc_se"]


@pytest.fixture(scope="module")
def voom(cohort):
    return differential_expression(cohort, method="voom")


def planted(cohort, genes):
    return cohort.truth["genes"]["response_log2_fold_change"][genes]


@pytest.mark.parametrize("method", ["deseq2", "voom"])
def test_finds_what_was_planted(cohort, results, voom, method):
    table = results if method == "deseq2" else voom
    effect = planted(cohort, table.index)
    found = table["padj"] < 0.05
    assert found[effect.abs() >= 0.8].mean() >= 0.8
    assert (effect[found] == 0).mean() <= 0.1
    assert table.attrs["method"] == method


def test_leaving_the_confounders_out_finds_false_genes(cohort):
    naive = differential_expression(cohort, "~ response", CONTRAST)
    found = naive["padj"] < 0.05
    assert (planted(cohort, naive.index)[found] == 0).mean() > 0.1


def test_columns_and_raw_fold_change_beside_the_shrunken_one(cohort, results):
    assert list(results.columns) == COLUMNS + SHRUNKEN
    assert results.index.name == "gene"
    plain = differential_expression(cohort, shrink=False)
    assert list(plain.columns) == COLUMNS
    pd.testing.assert_frame_equal(plain, results[COLUMNS], check_exact=True)
    smaller = results["shrunken_log2_fold_change"].abs() <= results["log2_fold_change"].abs() + 1e-3
    assert smaller.mean() > 0.99


def test_voom_agrees_with_deseq2(results, voom):
    assert np.corrcoef(voom["log2_fold_change"], results["log2_fold_change"])[0, 1] >= 0.98
    assert np.corrcoef(voom[SHRUNKEN[0]], results[SHRUNKEN[0]])[0, 1] >= 0.98
    assert np.corrcoef(voom["stat"], results["stat"])[0, 1] >= 0.98
    one, other = (set(table.index[table["padj"] < 0.05]) for table in (voom, results))
    assert len(one & other) / len(one | other) >= 0.9
    assert np.allclose(voom["base_mean"], results["base_mean"], rtol=0.01)


def test_voom_is_limmas(cohort):
    """The same figures as pylimma's own gene-by-gene fit."""
    import pylimma
    from formulaic import model_matrix

    from pm_lab.bulk.normalization import tmm_factors

    part = cohort.bulk[:, :60].copy()
    ours = differential_expression(part, "~ batch + response", CONTRAST, method="voom", min_count=0)
    counts = part.layers["counts"].astype(float)
    matrix = pd.DataFrame(model_matrix("~ batch + response", part.obs))
    fit = pylimma.lm_fit(
        pylimma.voom(counts.T, matrix.to_numpy(), lib_size=counts.sum(axis=1) * tmm_factors(counts))
    )
    theirs = pylimma.e_bayes(fit)
    column = list(matrix.columns).index("response[T.yes]")
    assert np.allclose(ours["log2_fold_change"], theirs["coefficients"][:, column], atol=1e-8)
    assert np.allclose(ours["stat"], theirs["t"][:, column], atol=1e-6)
    assert np.allclose(ours["pvalue"], theirs["p_value"][:, column], rtol=1e-5)


def test_method_auto_takes_voom_in_large_cohorts_only(small):
    import anndata as ad

    assert differential_expression(small, DESIGN, CONTRAST).attrs["method"] == "deseq2"
    large = ad.concat([small] * 17, index_unique="-")
    assert large.n_obs > 200
    assert differential_expression(large, DESIGN, CONTRAST).attrs["method"] == "voom"


def test_works_on_a_cohort_and_on_its_bulk_and_leaves_both_as_they_are(cohort, results):
    before = cohort.bulk.copy()
    again = differential_expression(cohort.bulk)
    pd.testing.assert_frame_equal(again, results)
    assert list(cohort.bulk.obs) == list(before.obs) and cohort.bulk.uns.keys() == before.uns.keys()


def test_threads_do_not_change_the_result_and_leave_no_process(cohort, results):
    import psutil

    before = {child.pid for child in psutil.Process().children(recursive=True)}
    for n_jobs in (1, 2):
        pd.testing.assert_frame_equal(differential_expression(cohort, n_jobs=n_jobs), results, rtol=1e-9)
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before


def test_low_genes_are_left_out_and_named(small):
    small.layers["counts"][:, 78] = 0
    small.layers["counts"][:, 79] = 1
    results = differential_expression(small, DESIGN, CONTRAST)
    assert results.attrs["genes_left_out"] == ["g78", "g79"]
    left_out = pd.DataFrame(results.attrs["left_out"]).set_index("why")["n"]
    assert left_out["no count at all"] == 1 and left_out.sum() == 2
    kept = differential_expression(small, DESIGN, CONTRAST, min_count=0)
    assert kept.attrs["genes_left_out"] == ["g78"]


def test_filter_needs_the_counts_in_as_many_samples_as_the_smaller_group_has(small):
    counts = small.layers["counts"]
    size = counts.sum(axis=1)
    counts[:, 78:] = 0
    counts[:6, 78] = counts[:5, 79] = np.ceil(30 * size.max() / size.min())
    results = differential_expression(small, "~ response", CONTRAST)
    assert "g78" in results.index and results.attrs["genes_left_out"] == ["g79"]


def test_samples_of_a_third_level_are_left_out_and_counted(small):
    small.obs.loc["p00", "response"] = "unknown"
    results = differential_expression(small, DESIGN, CONTRAST)
    without = differential_expression(small[1:].copy(), DESIGN, CONTRAST)
    pd.testing.assert_frame_equal(results, without)
    assert results.attrs["left_out"][0]["n"] == 1
    assert results.attrs["design"]["n_samples"] == 11


def test_paired_design(small):
    small.obs["patient"] = np.repeat([f"P{i}" for i in range(6)], 2)
    paired = differential_expression(small, "~ patient + response", CONTRAST)
    assert set(paired.sort_values("pvalue").index[:6]) == {f"g{i}" for i in range(6)}
    small.obs["donor"] = small.obs["patient"].str.lower()
    same = differential_expression(small, "~ donor + response", CONTRAST)
    assert np.allclose(same["stat"], paired["stat"])
    with pytest.raises(DesignError, match="patients are in both"):
        differential_expression(small, DESIGN, CONTRAST)


@pytest.mark.parametrize("method", ["deseq2", "voom"])
def test_patients_written_as_numbers_are_paired(small, method):
    small.obs["donor"] = np.repeat([f"D{i}" for i in range(6)], 2)
    arguments = {"patient_key": "donor", "method": method, "shrink": False}
    paired = differential_expression(small, "~ donor + response", CONTRAST, **arguments)
    small.obs["donor"] = small.obs["donor"].str[1:].astype(int)
    again = differential_expression(small, "~ donor + response", CONTRAST, **arguments)
    assert again.attrs["design"]["residual_df"] == 5
    assert np.allclose(again["stat"], paired["stat"])
    small.obs["mouse"] = small.obs.pop("donor")
    arguments["patient_key"] = "mouse"
    again = differential_expression(small, "~ mouse + response", CONTRAST, **arguments)
    assert np.allclose(again["stat"], paired["stat"])


LEVELS = {"int": [1, 0], "float": [1.0, 0.0], "text": ["1", "0"], "categories": pd.Categorical([1.0, 0.0])}


@pytest.mark.parametrize("asked", ["int", "float", "text"])
@pytest.mark.parametrize("written", LEVELS)
def test_conditions_written_as_numbers(small, written, asked):
    expected = differential_expression(small, "~ response", CONTRAST, method="voom")
    small.obs["response"] = pd.Series(LEVELS[written]).take([0, 1] * 6).set_axis(small.obs_names)
    contrast = ("response", *LEVELS[asked])
    results = differential_expression(small, "~ response", contrast, method="voom")
    assert np.allclose(results["stat"], expected["stat"])


def test_conditions_that_are_true_or_false(small):
    expected = differential_expression(small, "~ response", CONTRAST, method="voom")
    small.obs["response"] = small.obs["response"] == "yes"
    for levels in ((True, False), ("True", "False"), (np.True_, np.False_)):
        results = differential_expression(small, "~ response", ("response", *levels), method="voom")
        assert np.allclose(results["stat"], expected["stat"])
    with pytest.raises(DesignError, match=r"no level 1\. Its levels are \['False', 'True'\]"):
        differential_expression(small, "~ response", ("response", 1, 0))


def test_repeated_samples_of_a_patient_are_refused(small):
    small.obs["patient"] = small.obs_names
    small.obs.loc["p02", "patient"] = "p00"
    with pytest.raises(DesignError, match=r"1 patients have more than one sample.*sum the counts"):
        differential_expression(small, DESIGN, CONTRAST)


def test_shrinking_needs_one_coefficient(small):
    with pytest.raises(DesignError, match="pass shrink=False"):
        differential_expression(small, "~ 0 + response", CONTRAST)
    whole = differential_expression(small, "~ response", CONTRAST, shrink=False)
    without = differential_expression(small, "~ 0 + response", CONTRAST, shrink=False)
    assert np.allclose(without["log2_fold_change"], whole["log2_fold_change"], atol=1e-4)


def test_shrinking_keeps_signs_where_counts_are_large():
    """pydeseq2's own optimiser turns g5 from -0.75 to +1.84 here (its issue 347)."""
    import anndata as ad

    counts = [
        [25, 405, 1355, 12558, 489843],
        [28, 480, 2144, 13844, 514571],
        [12, 690, 1919, 15632, 564106],
        [31, 420, 1684, 11513, 556380],
        [34, 278, 3849, 11577, 412551],
        [19, 249, 3086, 7296, 295565],
        [17, 491, 4089, 13805, 280945],
        [15, 251, 2785, 10492, 214062],
    ]
    obs = pd.DataFrame({"condition": list("AAAABBBB")}, index=[f"s{i}" for i in range(8)])
    data = ad.AnnData(np.array(counts, float), obs, pd.DataFrame(index=["g1", "g2", "g3", "g4", "g5"]))
    table = differential_expression(data, "~ condition", ("condition", "B", "A"), min_count=0)
    ratio = table["shrunken_log2_fold_change"] / table["log2_fold_change"]
    assert (ratio > 0).all() and (ratio <= 1.001).all()


# What is refused.


def test_fractions_negative_and_logged_counts(small):
    counts = small.layers["counts"].copy()
    for spoiled, message in (
        (counts + 0.5, "not whole numbers"),
        (counts - 500, "negative"),
        (np.log2(counts + 1), "log-normalised"),
    ):
        small.layers["counts"] = spoiled
        with pytest.raises(DataError, match=message):
            differential_expression(small, DESIGN, CONTRAST)


def test_a_sample_with_zero_counts_is_named(small):
    small.layers["counts"][3] = 0
    with pytest.raises(DataError, match=r"1 of 12 samples.*p03"):
        differential_expression(small, DESIGN, CONTRAST)


def test_a_missing_covariate_is_named(small):
    small.obs.loc["p05", "age"] = np.nan
    with pytest.raises(DataError, match=r"'age'\] is missing for 1 of 12.*p05"):
        differential_expression(small, DESIGN, CONTRAST)


def test_an_infinite_covariate(small):
    small.obs.loc["p05", "age"] = np.inf
    with pytest.raises(DataError, match="infinite"):
        differential_expression(small, DESIGN, CONTRAST)


def test_a_factor_with_one_level(small):
    small.obs["batch"] = "a"
    with pytest.raises(DesignError, match=r"'batch'\] has one value only"):
        differential_expression(small, DESIGN, CONTRAST)


def test_duplicated_genes_are_named(small):
    small.var_names = ["g0", "g0", *small.var_names[2:]]
    with pytest.raises(DataError, match=r"more than once: g0"):
        differential_expression(small, DESIGN, CONTRAST)


def test_an_unknown_level_lists_the_levels(small):
    with pytest.raises(DesignError, match=r"no level 'maybe'.*\['no', 'yes'\]"):
        differential_expression(small, DESIGN, ("response", "maybe", "no"))


def test_condition_equal_to_batch_in_the_design_or_not(small):
    small.obs["batch"] = small.obs["response"].map({"yes": "b1", "no": "b2"})
    for design in ("~ batch + response", "~ response"):
        with pytest.raises(DesignError, match="batch"):
            differential_expression(small, design, CONTRAST)


def test_unknown_method_and_nothing_to_test(small):
    with pytest.raises(DataError, match="method="):
        differential_expression(small, DESIGN, CONTRAST, method="edger")
    with pytest.raises(DataError, match="0 of 80 genes"):
        differential_expression(small, DESIGN, CONTRAST, min_count=1e9)


# Coverage that passes for counts.


def test_coverage_is_warned_of_and_mended(small):
    reads = small.layers["counts"].copy()
    small.layers["counts"] = reads * 100_000
    with pytest.warns(PmLabWarning, match=r"12 of 12 samples.*coverage_to_counts"):
        differential_expression(small, DESIGN, CONTRAST)
    mended = coverage_to_counts(small, read_length=100_000, copy=True)
    assert np.array_equal(mended.layers["counts"], reads)
    assert np.array_equal(mended.layers["coverage"], small.layers["counts"])
    assert "coverage" not in small.layers
    with pytest.raises(DataError, match="before"):
        coverage_to_counts(mended, read_length=100_000)
    with pytest.raises(DataError, match="read_length"):
        coverage_to_counts(small, read_length=1)


# The table for reading.


def test_top_table(results):
    table = top_table(results, n=10, padj=0.01, min_log2_fold_change=1)
    assert len(table) == 10 and table["pvalue"].is_monotonic_increasing
    assert (table["padj"] < 0.01).all() and (table["log2_fold_change"].abs() >= 1).all()
    up = table["log2_fold_change"] > 0
    assert set(table["direction"][up]) == {"higher in yes"} and set(table["direction"][~up]) == {
        "lower in yes"
    }
    passed = (results["padj"] < 0.01) & (results["log2_fold_change"].abs() >= 1)
    assert table.attrs["n_passed"] == passed.sum()


def test_top_table_of_nothing_and_of_another_table(results):
    assert len(top_table(results, padj=0)) == 0
    with pytest.raises(DataError, match="padj"):
        top_table(results.drop(columns="padj"))
    with pytest.raises(DataError, match="n="):
        top_table(results, n=0)


# R's DESeq2 on airway, ~ celltype + dex, treated over control, as printed in the vignettes of the
# Bioconductor packages iSEEde and mosdef and in the rnaseqGene workflow.

BASE_MEANS = {"ENSG00000152583": 997.43977, "ENSG00000165995": 495.0929, "ENSG00000120129": 3409.0294}
FOLD_CHANGES = {"ENSG00000152583": 4.574919, "ENSG00000165995": 3.291062, "ENSG00000120129": 2.947810}
STANDARD_ERRORS = {
    "ENSG00000152583": 0.1840561,
    "ENSG00000165995": 0.1331737,
    "ENSG00000120129": 0.1214377,
    "ENSG00000101347": 0.1554380,
    "ENSG00000189221": 0.1417823,
    "ENSG00000211445": 0.1658306,
    "ENSG00000109906": 0.5363902,  # a dispersion far above the trend, which is not shrunken
    "ENSG00000127954": 0.4930839,
    "ENSG00000250978": 0.6777980,
    "ENSG00000163884": 0.2348638,
    "ENSG00000179593": 1.0545033,  # no counts in controls
}


@pytest.fixture(scope="module")
def airway(mirror, tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("PM_LAB_MIRROR", str(mirror))
    patch.setenv("PM_LAB_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield pm.datasets.load("airway")
    patch.undo()


@pytest.mark.parametrize("min_count", [10, 0])
def test_airway_agrees_with_r(airway, min_count):
    with pytest.warns(PmLabWarning, match="3 residual degrees of freedom"):
        table = differential_expression(
            airway, "~ celltype + dex", ("dex", "treated", "control"), min_count=min_count, shrink=False
        )
    assert np.allclose(table["base_mean"][list(BASE_MEANS)], list(BASE_MEANS.values()), atol=6e-5)
    difference = table["log2_fold_change"][list(FOLD_CHANGES)] - list(FOLD_CHANGES.values())
    assert difference.abs().max() <= 0.001
    # Plain pydeseq2: 0.88 to 1.57.
    ratio = table["lfc_se"][list(STANDARD_ERRORS)] / list(STANDARD_ERRORS.values())
    assert ratio.between(0.97, 1.005).all()
    if min_count == 0:
        assert len(table) == 33_469
