"""Designs that cannot answer their question are refused, with the reason and the mend."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pm_lab import design
from pm_lab.errors import DataError, DesignError, PmLabWarning

CONTRAST = ("response", "yes", "no")


def patients(n=12):
    return pd.DataFrame(
        {
            "patient": [f"p{i}" for i in range(n)],
            "response": ["yes", "no"] * (n // 2),
            "batch": (["a"] * (n // 2) + ["b"] * (n // 2)),
            "age": np.linspace(40, 70, n),
        },
        index=[f"p{i}" for i in range(n)],
    )


def test_variables_are_read_from_the_formula():
    assert design.variables("~ batch + age + response") == ["batch", "age", "response"]
    assert design.variables("~ batch * response") == ["batch", "response"]


def test_names_with_spaces_go_in_backticks():
    with pytest.raises(DesignError, match=r"with spaces in backticks") as refused:
        design.variables("~ batch + age at diagnosis + response")
    assert str(refused.value).isprintable(), "no terminal codes, no line breaks"
    obs = patients().rename(columns={"age": "age at diagnosis"})
    assert design.design_report(obs, "~ `age at diagnosis` + response", CONTRAST).rank == 3


@pytest.mark.parametrize("formula", ["~ batch * response", "~ batch + response:age"])
def test_an_interaction_of_the_condition_is_refused(formula):
    with pytest.raises(DesignError, match=r"'response' interacts.*Fit each group apart"):
        design.design_report(patients(20), formula, CONTRAST)
    assert design.design_report(patients(20), "~ batch * age + response", CONTRAST).rank == 5


@pytest.mark.parametrize("formula", ["y ~ response", "~ response +"])
def test_not_a_design_formula(formula):
    with pytest.raises(DesignError, match="design="):
        design.variables(formula)


def test_unknown_level_lists_the_levels():
    with pytest.raises(DesignError, match=r"no level 'maybe'.*\['no', 'yes'\]"):
        design.check_contrast(patients(), "~ response", ("response", "maybe", "no"))


def test_unknown_column_lists_the_columns():
    with pytest.raises(DataError, match=r"\['sex'\].*response"):
        design.check_contrast(patients(), "~ sex + response", CONTRAST)


def test_contrast_must_be_in_the_design():
    with pytest.raises(DesignError, match="does not contain"):
        design.check_contrast(patients(), "~ batch", CONTRAST)


def test_contrast_of_a_level_with_itself():
    with pytest.raises(DesignError, match="with itself"):
        design.check_contrast(patients(), "~ response", ("response", "yes", "yes"))


def test_missing_covariate_is_counted_and_named():
    obs = patients()
    obs.loc["p3", "age"] = np.nan
    with pytest.raises(DataError, match=r"missing for 1 of 12.*p3"):
        design.check_contrast(obs, "~ age + response", CONTRAST)


def test_factor_with_one_level():
    obs = patients().assign(batch="a")
    with pytest.raises(DesignError, match="one value only"):
        design.check_contrast(obs, "~ batch + response", CONTRAST)


def test_condition_equal_to_batch_in_the_design():
    obs = patients().assign(plate=lambda t: t["response"].map({"yes": "P1", "no": "P2"}))
    with pytest.raises(DesignError, match="Drop 'plate'"):
        design.model_matrix(obs, "~ plate + response", "response")


def test_condition_equal_to_batch_outside_the_design():
    obs = patients().assign(batch=lambda t: t["response"].map({"yes": "B1", "no": "B2"}))
    with pytest.raises(DesignError, match="'response' equals 'batch'"):
        design.check_batch(obs, "response", "patient")
    design.check_batch(patients(), "response", "patient")
    numbered = obs.assign(batch=obs["batch"].str[1:].astype(float))
    with pytest.raises(DesignError, match="'response' equals 'batch'"):
        design.check_batch(numbered, "response", "patient")


@pytest.mark.parametrize(
    "name", ["seq_run", "batch_1", "processingBatch", "flow_cell", "10x_run", "hospital"]
)
def test_columns_that_mean_a_batch(name):
    obs = patients().assign(**{name: lambda t: t["response"].map({"yes": 1, "no": 2})})
    with pytest.raises(DesignError, match=name):
        design.check_batch(obs, "response", "patient")


@pytest.mark.parametrize("name", ["treatment", "arm", "trunk_size", "brunch"])
def test_columns_that_do_not(name):
    obs = patients().assign(**{name: lambda t: t["response"].map({"yes": 1, "no": 2})})
    design.check_batch(obs, "response", "patient")


def test_a_library_each_is_no_batch_and_nested_sites_are_warned_of():
    design.check_batch(patients().assign(library=lambda t: "L" + t["patient"]), "response", "patient")
    sites = patients().assign(site=[f"{side}{i // 2 % 3}" for i, side in enumerate(["yes", "no"] * 6)])
    with pytest.warns(PmLabWarning, match="site"):
        design.check_batch(sites, "response", "patient")


@pytest.mark.parametrize("levels", [[1, 0], [1.0, 0.0], [True, False], ["1", "0"]])
def test_conditions_written_as_numbers(fitted, levels):
    counts, obs, result = fitted
    coded = obs.assign(response=obs["response"].map({"yes": levels[0], "no": levels[1]}))
    contrast = ("response", *levels)
    design.check_contrast(coded, "~ age + response", contrast)
    again = design.fit_deseq2(counts, coded, "~ age + response", contrast)
    assert np.allclose(again["stat"], result["stat"], equal_nan=True)


def test_batches_written_as_numbers_are_no_slope(fitted):
    counts, obs, _ = fitted
    batch = np.arange(16) // 2 % 3
    letters, numbers = (
        obs.assign(batch=pd.Series(batch).map(code).to_numpy()) for code in ("abc".__getitem__, int)
    )
    one, other = (design.fit_deseq2(counts, t, "~ batch + response", CONTRAST) for t in (letters, numbers))
    assert np.allclose(one["stat"], other["stat"], equal_nan=True)


def test_functions_in_a_formula_are_refused_with_the_mend():
    with pytest.raises(DataError, match="make the column in obs"):
        design.check_contrast(patients(), "~ C(batch) + response", CONTRAST)


def test_pairs_need_both_sides():
    with pytest.raises(DesignError, match="no pairs"):
        design.check_replicates(patients(), CONTRAST, "patient", paired=True)


def test_no_residual_degrees_of_freedom():
    obs = patients(4).assign(batch=list("abca"))
    with pytest.raises(DesignError, match="nothing is left"):
        design.model_matrix(obs, "~ batch + response", "response")


def test_one_patient_a_side_is_refused():
    obs = patients(4).iloc[:2]
    with pytest.raises(DesignError, match="at least two patients"):
        design.check_replicates(obs, CONTRAST, "patient", paired=False)


def test_two_patients_a_side_are_warned_of():
    with pytest.warns(PmLabWarning, match="Only two patients"):
        design.check_replicates(patients(4), CONTRAST, "patient", paired=False)


def test_patient_on_both_sides_needs_pairing():
    obs = pd.DataFrame({"patient": ["a", "a", "b", "b", "c", "c"], "response": ["yes", "no"] * 3})
    with pytest.raises(DesignError, match=r"~ patient \+ response"):
        design.check_replicates(obs, CONTRAST, "patient", paired=False)
    design.check_replicates(obs, CONTRAST, "patient", paired=True)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 6), st.integers(0, 6))
def test_every_side_below_two_is_refused(n_yes, n_no):
    obs = pd.DataFrame(
        {"patient": [f"p{i}" for i in range(n_yes + n_no)], "response": ["yes"] * n_yes + ["no"] * n_no}
    )
    if min(n_yes, n_no) < 2:
        with pytest.raises(DesignError):
            design.check_replicates(obs, CONTRAST, "patient", paired=False)
    elif min(n_yes, n_no) >= 3:
        design.check_replicates(obs, CONTRAST, "patient", paired=False)


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    obs = patients(16)
    mean = np.exp(rng.normal(4, 1, 60))
    effect = np.where(np.arange(60) < 6, 2.0, 0.0)
    rate = mean * 2 ** np.outer(obs["response"] == "yes", effect) * rng.gamma(10, 0.1, (16, 60))
    counts = pd.DataFrame(rng.poisson(rate), obs.index, [f"g{i}" for i in range(60)])
    return counts, obs, design.fit_deseq2(counts, obs, "~ age + response", CONTRAST)


def test_fit_columns_and_effects(fitted):
    counts, _, result = fitted
    assert list(result.columns) == design.RESULT_COLUMNS
    assert list(result.index) == list(counts.columns)
    assert np.allclose(result["log2_fold_change"][:6], 2, atol=0.8)
    assert (result["padj"][:6] < 0.05).all()
    assert (result["padj"][6:] < 0.05).sum() <= 4


def test_fit_does_not_depend_on_the_unit_of_a_covariate(fitted):
    counts, obs, result = fitted
    days = design.fit_deseq2(counts, obs.assign(age=obs["age"] * 365), "~ age + response", CONTRAST)
    assert np.allclose(days["log2_fold_change"], result["log2_fold_change"], atol=1e-3)


def test_fit_reverses_with_the_contrast(fitted):
    counts, obs, result = fitted
    reverse = design.fit_deseq2(counts, obs, "~ age + response", ("response", "no", "yes"))
    assert np.allclose(reverse["log2_fold_change"], -result["log2_fold_change"], atol=1e-6)


def test_fitting_in_parallel_equals_one_by_one_and_leaves_no_process(fitted):
    import psutil

    counts, obs, result = fitted
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    each = design.fit_deseq2_each(
        dict.fromkeys(("a", "b"), (counts, obs, "~ age + response", CONTRAST)), n_jobs=2
    )
    assert np.allclose(each["b"].set_index("gene")["stat"], result["stat"], equal_nan=True)
    after = psutil.Process().children(recursive=True)
    left = [
        child
        for child in after
        if child.pid not in before and "resource_tracker" not in " ".join(child.cmdline())
    ]
    assert left == []


# The report before fitting.


def test_report_of_a_sound_design():
    obs = patients(20)
    report = design.design_report(obs, "~ batch + age + response", CONTRAST)
    assert (report.n_samples, report.rank, report.residual_df) == (20, 4, 16)
    assert report.groups == {"yes": 10, "no": 10}
    assert report.leverage.sum() == pytest.approx(4), "hat values sum to the number of coefficients"
    assert report.cross_tables["batch"].loc["yes"].tolist() == [5, 5]
    assert report.verdict == "can be estimated" and report.warnings == []
    for text in ("residual df           16", "10 yes, 10 no", "response by batch", "can be estimated"):
        assert text in repr(report)


def test_report_says_which_sample_has_leverage():
    obs = patients(20)
    obs.loc["p7", "age"] = 150
    report = design.design_report(obs, "~ age + response", CONTRAST)
    assert report.high_leverage == ["p7"] and report.leverage.idxmax() == "p7"


def test_report_measures_how_much_other_terms_cost():
    balanced = design.design_report(patients(20), "~ batch + response", CONTRAST)
    assert balanced.variance_inflation == pytest.approx(1)
    obs = patients(20)
    obs["age"] = np.where(obs["response"] == "yes", 60, 50) + np.tile([0, 0, 1, 1], 5)
    obs["age"] += np.arange(20) / 100
    with pytest.warns(PmLabWarning, match="inflate the variance of response"):
        report = design.design_report(obs, "~ age + response", CONTRAST)
    matrix = np.column_stack([np.ones(20), obs["age"], obs["response"] == "yes"]).astype(float)
    inverse = np.linalg.inv(matrix.T @ matrix)
    assert report.variance_inflation == pytest.approx(inverse[2, 2] / (2 / 10))


def test_report_leaves_a_third_level_out_and_counts_it():
    obs = patients(20)
    obs.loc[["p0", "p1"], "response"] = "unknown"
    report = design.design_report(obs, "~ response", CONTRAST)
    assert (report.left_out, report.n_samples) == (2, 18)


def test_report_can_be_recorded_as_json():
    import json

    report = design.design_report(patients(20), "~ batch + response", CONTRAST)
    record = json.loads(json.dumps(report.record()))
    assert record["residual_df"] == 17 and record["cross_tables"]["batch"]["yes"] == {"a": 5, "b": 5}


@pytest.mark.parametrize(
    ("spoil", "formula", "message"),
    [
        (lambda t: t.assign(plate=t["response"]), "~ plate + response", "plate"),
        (lambda t: t.assign(site=t["batch"] + "1"), "~ batch + site + response", "Drop 'batch'"),
        (lambda t: t.assign(age2=2 * t["age"]), "~ age + age2 + response", "terms repeat each other"),
        (lambda t: t.assign(id=t.index), "~ id + response", "'id' fixes 'response'"),
        (lambda t: t.assign(batch="a"), "~ batch + response", "one value only"),
        (lambda t: t.iloc[:3], "~ response", "at least two patients"),
        (lambda t: t.assign(patient="p1"), "~ response", "more than one sample"),
    ],
)
def test_report_refuses_and_names_the_term(spoil, formula, message):
    with pytest.raises(DesignError, match=message):
        design.design_report(spoil(patients(20)), formula, CONTRAST)


def test_report_warns_of_what_is_thin():
    with pytest.warns(PmLabWarning, match="Only 2 samples with response='yes'"):
        design.design_report(patients(20).iloc[[0, 1, 2, 3, 5, 7, 9]], "~ response", CONTRAST)
    with pytest.warns(PmLabWarning, match="2 residual degrees of freedom"):
        report = design.design_report(patients(6), "~ batch + age + response", CONTRAST)
    assert len(report.warnings) == 1
    obs = patients(20).assign(plate=lambda t: t["response"].map({"yes": "P1", "no": "P2"}))
    obs.loc["p0", "plate"] = "P2"
    with pytest.warns(PmLabWarning) as caught:
        report = design.design_report(obs, "~ plate + response", CONTRAST)
    assert "all but fixed by 'plate': 1 samples alone" in str(caught[0].message)
    assert report.verdict == "can be estimated, with care"


def pairs(n=8, **columns):
    obs = pd.DataFrame({"condition": ["post", "pre"] * n}, index=[f"s{i}" for i in range(2 * n)])
    return obs.assign(**{name: np.repeat(values, 2) for name, values in columns.items()})


@pytest.mark.parametrize("kind", [int, float, str, "category"])
@pytest.mark.parametrize(("name", "key"), [("patient", "patient"), ("donor", "donor"), ("mouse", "mouse")])
def test_patients_written_as_numbers_are_paired(name, key, kind):
    obs = pairs(**{name: np.arange(1, 9)})
    obs[name] = obs[name].astype(kind)
    report = design.design_report(obs, f"~ {name} + condition", ("condition", "post", "pre"), key)
    assert (report.residual_df, report.rank) == (7, 9) and report.warnings == []


@pytest.mark.parametrize("name", ["patient", "donor", "Subject ID", "pair"])
def test_patients_written_as_numbers_are_no_slope_in_the_fit(name):
    obs, formula = pairs(**{name: np.arange(8)}), f"~ `{name}` + condition"
    table = design.model_table(obs, formula, ("condition", "post", "pre"))
    assert design.model_matrix(table, formula, "condition").shape == (16, 9)


def test_a_number_does_not_pair():
    obs = pairs(patient=list("abcdefgh"), age=np.arange(51, 59))
    with pytest.raises(DesignError, match="8 patients are in both"):
        design.design_report(obs, "~ age + condition", ("condition", "post", "pre"))


def test_a_few_whole_numbers_may_name_groups():
    obs = patients(20).assign(stage=np.arange(20) // 2 % 4, sex=np.arange(20) // 8 % 2)
    with pytest.warns(PmLabWarning, match=r"'stage' is a number with 4 values.*astype\(str\)"):
        report = design.design_report(obs, "~ stage + sex + response", CONTRAST)
    assert len(report.warnings) == 1, "a slope over two values is the same as two groups"
    obs["stage"] = obs["stage"].astype(str)
    assert design.design_report(obs, "~ stage + sex + response", CONTRAST).rank == 6
    obs["age"] = np.arange(40, 60)
    assert design.design_report(obs, "~ age + response", CONTRAST).warnings == []


def test_unknown_patients_are_named():
    obs = patients(20)
    obs.loc[["p3", "p5"], "patient"] = None
    with pytest.raises(DataError, match=r"'patient'\] is missing for 2 of 20 samples: p3, p5"):
        design.design_report(obs, "~ response", CONTRAST)


# DESeq2 for many genes at once against pydeseq2's own loop over genes.


@pytest.fixture(scope="module")
def by_pydeseq2(fitted):
    """pydeseq2 as its documentation has it, covariate standardised."""
    from pydeseq2.dds import DeseqDataSet
    from pydeseq2.default_inference import DefaultInference
    from pydeseq2.ds import DeseqStats

    counts, obs, _ = fitted
    table = obs[["age", "response"]].assign(age=(obs["age"] - obs["age"].mean()) / obs["age"].std())
    inference = DefaultInference(n_cpus=1)
    dds = DeseqDataSet(
        counts=counts, metadata=table, design="~ age + response", inference=inference, quiet=True
    )
    dds.deseq2()
    stats = DeseqStats(dds, contrast=["response", "yes", "no"], inference=inference, quiet=True)
    stats.summary()
    raw = stats.results_df.copy()
    stats.lfc_shrink("response[T.yes]")
    return raw, stats.results_df


def test_fit_equals_pydeseq2s(fitted, by_pydeseq2):
    result, raw = fitted[2], by_pydeseq2[0]
    assert np.allclose(result["base_mean"], raw["baseMean"])
    assert np.allclose(result["log2_fold_change"], raw["log2FoldChange"], atol=1e-4)
    # Its optimiser stops where the likelihood of the dispersion is flat; the standard error follows.
    assert np.allclose(result["lfc_se"], raw["lfcSE"], rtol=0.01)
    assert np.allclose(result["stat"], raw["stat"], rtol=0.01, atol=0.005)


def test_shrunken_fold_changes_equal_pydeseq2s(fitted, by_pydeseq2):
    counts, obs, result = fitted
    shrunken = design.fit_deseq2(counts, obs, "~ age + response", CONTRAST, shrink=True)
    pd.testing.assert_frame_equal(shrunken[design.RESULT_COLUMNS], result)
    assert np.allclose(
        shrunken["shrunken_log2_fold_change"], by_pydeseq2[1]["log2FoldChange"], rtol=0.01, atol=0.01
    )


def test_shrunken_standard_error_is_the_curvature_of_the_posterior():
    """Against numerical second derivatives; pydeseq2 0.5 adds the prior's curvature to whole columns."""
    from pm_lab.design.negative_binomial import BatchedInference

    rng = np.random.default_rng(0)
    x = np.column_stack([np.ones(20), np.arange(20) % 2, rng.normal(size=20)])
    counts = rng.negative_binomial(5, 0.05, (20, 3)).astype(float)
    size, scale = np.array([5.0, 4.0, 6.0]), 0.2
    beta, inverse, converged = BatchedInference().lfc_shrink_nbinom_glm(
        x, counts, size, np.zeros(20), 15, scale, "", 1
    )

    def loss(b, gene):
        eta = x @ b
        likelihood = counts[:, gene] * eta - (counts[:, gene] + size[gene]) * np.logaddexp(
            eta, np.log(size[gene])
        )
        return b[[0, 2]] @ b[[0, 2]] / (2 * 15**2) + np.log1p((b[1] / scale) ** 2) - likelihood.sum()

    step = 1e-4 * np.eye(3)
    for gene in range(3):
        b = beta[gene]
        gradient = [(loss(b + d, gene) - loss(b - d, gene)) / 2e-4 for d in step]
        hessian = [
            [
                (
                    loss(b + d + e, gene)
                    - loss(b + d - e, gene)
                    - loss(b - d + e, gene)
                    + loss(b - d - e, gene)
                )
                / 4e-8
                for e in step
            ]
            for d in step
        ]
        assert np.allclose(gradient, 0, atol=1e-3)
        assert np.allclose(np.linalg.inv(hessian), inverse[gene], rtol=1e-3, atol=1e-6)
    assert converged.all()


def test_genes_that_diverge_are_handed_to_pydeseq2s_solver():
    """All counts on one side: the fold change has no finite estimate."""
    from pydeseq2.utils import irls_solver

    from pm_lab.design.negative_binomial import BatchedInference

    x = np.column_stack([np.ones(8), np.arange(8) % 2])
    counts = np.array([[0, 900] * 4, [50, 60] * 4]).T.astype(float)
    size_factors, dispersion = np.ones(8), np.array([1e-8, 0.1])
    beta, mean, leverage, converged = BatchedInference().irls(counts, size_factors, x, dispersion, 0.5, 1e-8)
    for gene in range(2):
        expected = irls_solver(counts[:, gene], size_factors, x, dispersion[gene])
        assert np.allclose(beta[gene], expected[0], rtol=1e-4, atol=1e-6)
        assert np.allclose(leverage[:, gene], expected[2], atol=1e-4)
    assert np.isfinite(mean).all() and converged.all()


def test_contrasts_as_pydeseq2_writes_them(fitted):
    from pydeseq2.dds import DeseqDataSet
    from pydeseq2.ds import DeseqStats

    from pm_lab.design.negative_binomial import BatchedInference

    counts, obs, _ = fitted
    inference = BatchedInference()
    dds = DeseqDataSet(counts=counts, metadata=obs, design="~ response", inference=inference, quiet=True)
    dds.deseq2()
    stats = DeseqStats(dds, contrast=["response", "yes", "no"], inference=inference, quiet=True)
    stats.run_wald_test()
    ours = design.fit_deseq2(counts, obs, "~ response", CONTRAST)
    assert np.allclose(stats.p_values, ours["pvalue"])


def test_size_factors_can_be_given(fitted):
    counts, obs, result = fitted
    given = pd.Series(np.linspace(0.5, 2, len(obs)), obs.index)
    other = design.fit_deseq2(counts, obs, "~ age + response", CONTRAST, size_factors=given)
    assert np.allclose(other["base_mean"], counts.div(given, axis=0).mean())
    assert not np.allclose(other["base_mean"], result["base_mean"])


def test_few_residual_degrees_of_freedom_take_rs_prior():
    """Dispersions that vary by a known amount around their trend: 1 in ln, variance."""
    from pydeseq2.dds import DeseqDataSet

    from pm_lab.design.dispersions import match_prior_variance

    rng = np.random.default_rng(0)
    obs = patients(6).iloc[:5]
    counts = pd.DataFrame(rng.poisson(50, (5, 4000)), obs.index, [f"g{i}" for i in range(4000)])
    dds = DeseqDataSet(counts=counts, metadata=obs[["response"]], design="~ response", quiet=True)
    drawn = rng.chisquare(3, 4000) / 3 * np.exp(rng.normal(0, 1, 4000))
    dds.var["fitted_dispersions"] = 0.1
    dds.var["genewise_dispersions"] = 0.1 * drawn
    match_prior_variance(dds)
    assert dds.uns["prior_disp_var"] == pytest.approx(1, abs=0.12)
