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
