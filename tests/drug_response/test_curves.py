"""Curves with planted parameters are found again, and doubtful ones are flagged."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pm_lab as pm
from pm_lab.errors import DataError, PmLabWarning

dr = pm.drug_response
DOSES = 10 / 2.0 ** np.arange(9)  # GDSC1's: nine doses over 256-fold
FLAGS = ["extrapolated", "no_response", "non_monotone", "poor_fit", "shallow", "uncertain", "too_few_doses"]


def wells(viability, doses=DOSES, line="L", drug="D"):
    return pd.DataFrame({"line": line, "drug": drug, "dose": doses, "viability": viability})


def sigmoid(ln_ic50, slope, doses=DOSES):
    return 1 / (1 + (doses / np.exp(ln_ic50)) ** slope)


def fitted(viability, doses=DOSES):
    return dr.fit_curves(wells(viability, doses)).iloc[0]


def simulated(n, noise, seed=0):
    """Curves as a screen has them: IC50 from far below to far above the doses."""
    rng = np.random.default_rng(seed)
    ln_ic50, slope = rng.normal(1.5, 2.5, n), np.exp(rng.normal(0, 0.4, n))
    values = [sigmoid(*pair) + rng.normal(0, noise, len(DOSES)) for pair in zip(ln_ic50, slope, strict=True)]
    table = pd.concat([wells(value, line=f"L{i}") for i, value in enumerate(values)], ignore_index=True)
    return table, ln_ic50, slope


@settings(max_examples=40, deadline=None, derandomize=True)
@given(ln_ic50=st.floats(np.log(0.1), np.log(5)), slope=st.floats(0.6, 2.5))
def test_without_noise_the_planted_curve_is_found(ln_ic50, slope):
    curve = fitted(sigmoid(ln_ic50, slope))
    assert curve["ln_ic50"] == pytest.approx(ln_ic50, abs=0.05)
    assert curve["rmse"] < 0.01 and curve["r2"] > 0.99
    assert not curve[FLAGS].any()
    grid = np.geomspace(DOSES.min(), DOSES.max(), 2001)
    assert curve["auc"] == pytest.approx(sigmoid(ln_ic50, slope, grid).mean(), abs=0.01)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(factor=st.floats(1e-3, 1e3), seed=st.integers(0, 100))
def test_the_unit_of_dose_shifts_ln_ic50_and_nothing_else(factor, seed):
    viability = sigmoid(0.5, 1.2) + np.random.default_rng(seed).normal(0, 0.05, len(DOSES))
    one, other = fitted(viability), fitted(viability, DOSES * factor)
    assert other["ln_ic50"] - one["ln_ic50"] == pytest.approx(np.log(factor), abs=1e-3)
    np.testing.assert_allclose(
        other[["slope", "auc", "rmse"]].astype(float), one[["slope", "auc", "rmse"]].astype(float), rtol=1e-3
    )


@pytest.fixture(scope="module")
def noisy():
    table, ln_ic50, slope = simulated(1500, 0.05)
    return dr.fit_curves(table), ln_ic50, slope


def test_with_noise_the_error_is_what_the_standard_error_says(noisy):
    curves, ln_ic50, _ = noisy
    inside = ~curves["extrapolated"]
    error = (curves["ln_ic50"] - ln_ic50)[inside]
    assert np.sqrt((error**2).mean()) < 0.15 and abs(error.mean()) < 0.02
    within = (error.abs() < 1.96 * curves["ln_ic50_se"][inside]).mean()
    assert 0.88 < within < 0.97


def test_extrapolation_is_flagged_and_keeps_the_order(noisy):
    curves, ln_ic50, _ = noisy
    truly = (ln_ic50 > np.log(DOSES.max())) | (ln_ic50 < np.log(DOSES.min()))
    clear = np.abs(ln_ic50 - np.log(DOSES.max())) > 0.5
    assert (curves["extrapolated"] == truly)[clear].mean() > 0.98
    above = (ln_ic50 > np.log(DOSES.max())).astype(bool)
    assert np.corrcoef(curves["ln_ic50"][above], ln_ic50[above])[0, 1] > 0.7
    assert curves["ln_ic50"].max() < 12
    assert (curves.loc[ln_ic50 > 6, "no_response"]).mean() > 0.95
    assert not curves.loc[ln_ic50 < 1, "no_response"].any()


def test_auc_is_that_of_the_planted_curve(noisy):
    curves, ln_ic50, slope = noisy
    grid = np.geomspace(DOSES.min(), DOSES.max(), 400)
    truth = [sigmoid(*pair, doses=grid).mean() for pair in zip(ln_ic50, slope, strict=True)]
    assert np.sqrt(((curves["auc"] - truth) ** 2).mean()) < 0.02


def test_two_processes_give_what_one_does():
    table, *_ = simulated(1200, 0.05, seed=1)
    pd.testing.assert_frame_equal(dr.fit_curves(table), dr.fit_curves(table, n_jobs=2))


def test_order_of_wells_does_not_matter():
    table, *_ = simulated(20, 0.05)
    mixed = table.sample(frac=1, random_state=0)
    one = dr.fit_curves(table).set_index("line").sort_index()
    pd.testing.assert_frame_equal(one, dr.fit_curves(mixed).set_index("line").sort_index())


def test_a_line_that_does_not_respond():
    curve = fitted(np.full(9, 1.0))
    assert curve["no_response"] and curve["extrapolated"] and not curve["poor_fit"]
    assert curve["auc"] > 0.99 and np.isnan(curve["r2"])


def test_a_line_that_is_killed_by_every_dose():
    curve = fitted(np.full(9, 0.02))
    assert curve["extrapolated"] and curve["ln_ic50"] < np.log(DOSES.min()) and not curve["no_response"]


def test_a_curve_that_rises_again():
    curve = fitted(np.where(DOSES < 1, 0.4, 0.9))
    assert curve["non_monotone"] and curve["poor_fit"]


def test_a_drug_that_kills_half_of_the_cells_is_flagged(noisy):
    """It fits one that stops at .5 no sigmoid to 0: the IC50 is where the doses end, not where it acts."""
    partial = fitted(0.5 + 0.5 / (1 + (DOSES / 0.1) ** 2))
    assert partial["shallow"] and partial["uncertain"] and not partial["poor_fit"]
    flat = fitted(np.full(9, 0.5))
    assert flat["shallow"] and flat["uncertain"] and not flat["extrapolated"]
    assert noisy[0]["shallow"].mean() < 0.02 and noisy[0]["uncertain"].mean() < 0.01


def test_wells_of_one_value_have_nothing_to_explain():
    assert np.isnan(fitted(np.full(9, 1.9))["r2"]) and np.isnan(fitted(np.full(9, 0.3))["r2"])


def test_a_fit_that_does_not_converge_has_no_standard_error():
    with pytest.warns(PmLabWarning, match="1 of 9 viabilities are below -0.5 or above 2"):
        curve = fitted([0.4, 0.4, 0.2, 0.4, 10.0, 0.7, 0.2, 0.6, 0.7])
    assert np.isnan(curve["ln_ic50_se"]) and curve["uncertain"]


def test_repeated_wells_of_a_dose():
    rng = np.random.default_rng(0)
    doses = np.repeat(DOSES, 3)
    curve = fitted(sigmoid(0.3, 1.0, doses) + rng.normal(0, 0.05, len(doses)), doses)
    assert (curve["n_doses"], curve["n_wells"]) == (9, 27)
    assert curve["ln_ic50"] == pytest.approx(0.3, abs=0.15)


def test_too_few_doses_are_not_fitted():
    table = pd.concat([wells(sigmoid(0, 1)), wells([0.9, 0.5, 0.1], [0.1, 1, 10], line="few")])
    curves = dr.fit_curves(table).set_index("line")
    assert curves.loc["few", ["ln_ic50", "auc", "slope"]].isna().all() and curves.loc["few", "too_few_doses"]
    assert not curves.loc["few", FLAGS[:6]].any() and curves.loc["L", "ln_ic50"] == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"dose": [0.0, *DOSES[1:]]}, "1 of 9 doses are missing, infinite, zero or negative"),
        ({"dose": np.log10(DOSES)}, "of 9 doses .* not logged"),
        ({"viability": 100 * sigmoid(0, 1)}, "percent or raw signals"),
        ({"viability": ["high", *sigmoid(0, 1)[1:]]}, "1 values of viability are no numbers: high"),
        ({"viability": np.nan}, "no well has a viability"),
        ({"line": [None, *"LLLLLLLL"]}, r"1 of 9 wells name no line or no drug \(row 1\)"),
        ({"drug": np.nan}, "9 of 9 wells name no line or no drug"),
    ],
    ids=["dose 0", "log dose", "percent", "text", "NaN", "line", "drug"],
)
def test_wells_that_cannot_be_fitted(change, match):
    with pytest.raises(DataError, match=match):
        dr.fit_curves(wells(sigmoid(0, 1)).assign(**change))


def test_wells_without_a_column():
    with pytest.raises(DataError, match="no column 'dose'; they have line, drug, viability"):
        dr.fit_curves(wells(sigmoid(0, 1)).drop(columns="dose"))
    with pytest.raises(DataError, match="wells are a NoneType: give a DataFrame"):
        dr.fit_curves(None)


def test_pairs_of_which_no_well_is_left_are_named():
    table = pd.concat([wells(sigmoid(0, 1)), wells(np.nan, line="A549"), wells(np.nan, drug="X")])
    match = r"18 of 27 wells .* 2 pairs .* no curve: A549 and D, L and X"
    with pytest.warns(PmLabWarning, match=match):
        assert len(dr.fit_curves(table)) == 1


@pytest.mark.parametrize(
    ("table", "match"),
    [
        (wells([np.nan, *sigmoid(0, 1)[1:]]), "1 of 9 wells have no viability"),
        (wells([3.0, *sigmoid(0, 1)[1:]]), "1 of 9 viabilities are below -0.5 or above 2"),
        (wells(sigmoid(0, 1), DOSES * 1e4), "if they are in nM"),
        (wells(sigmoid(0, 1), DOSES * 1e3), "go up to 10,000 µM: if they are in nM"),
    ],
    ids=["missing", "odd", "nM", "10 µM in nM"],
)
def test_wells_to_be_looked_at(table, match):
    with pytest.warns(PmLabWarning, match=match):
        assert len(dr.fit_curves(table)) == 1


def test_figure_of_curves(noisy):
    table, *_ = simulated(6, 0.05)
    curves = dr.fit_curves(table)
    figure = dr.plot_curves(table, curves)
    titles = [ax.get_title() for ax in figure.axes[:6]]
    assert all(f"L{i}, D" in title for i, title in enumerate(titles))
    assert any("extrapolated" in title for title in titles) == curves["extrapolated"].any()
    assert len(figure.axes[0].lines[0].get_xdata()) == 9
    with pytest.raises(DataError, match="1,500 curves"):
        dr.plot_curves(table, noisy[0])
