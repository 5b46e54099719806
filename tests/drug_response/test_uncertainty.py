"""Intervals hold what they promise, for drugs on few lines too, and a report says where they do not."""

import numpy as np
import pandas as pd
import pytest

import pm_lab as pm
from pm_lab.drug_response.uncertainty import half_widths
from pm_lab.errors import DataError, PmLabWarning

dr = pm.drug_response


@pytest.fixture(scope="module")
def held_out(built_in):
    model = dr.DrugResponseModel(members=2, hidden=16, max_epochs=15)
    return dr.held_out_intervals(built_in, model, n_splits=2)


def test_the_quantile_leaves_a_place_for_the_new_line():
    """Of 99 errors the 90th smallest: 90 of 100 places lie below it."""
    errors = np.random.default_rng(0).permutation(np.arange(1.0, 100.0))[:, None]
    assert half_widths(-errors, 0.9) == 90 and half_widths(errors, 0.5) == 50


def test_coverage_is_kept_on_average_over_calibrations():
    rng = np.random.default_rng(0)
    widths = [half_widths(rng.standard_t(3, (60, 2)) * [1, 5], 0.9) for _ in range(400)]
    inside = np.abs(rng.standard_t(3, (400, 500, 2)) * [1, 5]) <= np.array(widths)[:, None, :]
    assert inside.mean(axis=(0, 1)) == pytest.approx([0.9, 0.9], abs=0.01)


def test_a_drug_on_few_lines_borrows_in_its_own_units():
    """Eight errors give no 90 %; those of all drugs do, scaled by how well this one is predicted."""
    rng = np.random.default_rng(0)
    spread = np.array([1.0] * 10 + [0.5, 2.0])
    found = []
    for _ in range(100):
        errors = rng.normal(0, spread, (200, 12))
        errors[8:, 10:] = np.nan
        found.append(half_widths(errors, 0.9))
    few = np.mean(found, axis=0)
    assert few[10] < 0.9 * few[:10].mean() and few[11] > 1.4 * few[:10].mean()
    inside = np.abs(rng.normal(0, spread, (100, 500, 12))) <= np.array(found)[:, None, :]
    # Eight errors say little of the spread: it is drawn to that of the others, 1.
    assert 0.75 < inside[..., 11].mean() < 0.9 < inside[..., 10].mean()
    assert inside[..., :10].mean() == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize("n", [15, 40])
def test_a_few_dozen_errors_are_not_enough_of_a_drug_alone(n):
    """The 90 % quantile of 15 errors is the second largest: it differs from choice to choice of the lines."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(200):
        errors = rng.normal(size=(200, 12))
        errors[n:, 11] = np.nan
        found.append(half_widths(errors, 0.9)[11])
    assert np.std(found) / np.mean(found) < 0.12  # .15 to .21 from its own errors alone
    inside = np.abs(rng.normal(size=(200, 500))) <= np.array(found)[:, None]
    assert inside.mean() == pytest.approx(0.9, abs=0.012)


def test_a_drug_without_errors_takes_those_of_the_others():
    errors = np.random.default_rng(0).normal(size=(200, 3))
    errors[:, 2] = np.nan
    found = half_widths(errors, 0.9)
    assert found[2] == pytest.approx(found[:2].mean(), rel=0.1)


def test_too_few_errors_for_a_coverage():
    with pytest.raises(DataError, match=r"coverage=0.99 needs 99 errors .* there are 20"):
        half_widths(np.ones((10, 2)), 0.99)


def test_intervals_of_the_built_in_screen(held_out, built_in):
    assert set(held_out["model"]) == {"network", "drug_mean"} and held_out.attrs["coverage"] == 0.9
    n_measured = int(built_in.obsm["response"].notna().to_numpy().sum())
    assert (held_out.groupby("model").size() == n_measured).all()
    whole = dr.coverage_report(held_out, by=None).set_index("model")
    assert whole["coverage"].between(0.88, 0.92).all()
    assert whole.loc["network", "mean_width"] < 0.9 * whole.loc["drug_mean", "mean_width"]
    of_drug = dr.coverage_report(held_out, by="drug")
    assert len(of_drug) == 120 and of_drug["coverage"].min() > 0.8
    assert of_drug.groupby("model", sort=False)["coverage"].is_monotonic_increasing.all()
    assert set(dr.coverage_report(held_out, by="tissue")["tissue"]) == set(built_in.obs["tissue"])


def test_lines_are_counted_not_values():
    """Ten lines that are all in or all out tell of ten, however many drugs they were tested on."""
    table = pd.DataFrame({"line": np.repeat(np.arange(10), 50), "drug": np.tile(np.arange(50), 10)})
    table = table.assign(model="m", observed=np.where(table["line"] == 0, 9.0, 0.0), predicted=0.0)
    table = table.assign(lower=-1.0, upper=1.0, tissue="skin")
    row = dr.coverage_report(table, by="tissue").iloc[0]
    assert (row["n_values"], row["n_lines"], row["coverage"], row["mean_width"]) == (500, 10, 0.9, 2.0)
    assert row["coverage_lower"] < 0.65 and row["coverage_upper"] > 0.97
    inside = dr.coverage_report(table[table["line"] > 0], by=None).iloc[0]
    assert inside["coverage"] == 1 and inside["coverage_lower"] < 0.75


def test_drugs_that_were_not_in_training_are_left_out_and_named(built_in):
    """Tested in one tissue alone: where this one is left out nothing is known of the drug."""
    screen = dr.take_drugs(built_in[:120].copy(), built_in.obsm["response"].columns[:8])
    tissue = screen.obs["tissue"].astype(str)
    first = tissue == tissue.value_counts().index[0]
    response = screen.obsm["response"].copy()
    response.iloc[:, 0] = response.iloc[:, 0].where(first)
    screen.obsm["response"] = response
    n = int(response.iloc[:, 0].notna().sum())
    model = dr.DrugResponseModel(members=2, hidden=8, max_epochs=5)
    with pytest.warns(PmLabWarning, match=rf"1 drugs were tested .* \(DRUG001\).* {n} values are not judged"):
        table = dr.held_out_intervals(screen, model, split="LTO", n_splits=3)
    (skipped,) = table.attrs["not_trained"]
    assert skipped["drug"] == "DRUG001" and skipped["n_values"] == n
    assert len(table) == 2 * (response.notna().to_numpy().sum() - n)
    assert "DRUG001" not in set(table["drug"])


def test_tables_and_splits_that_cannot_be_judged(held_out, built_in):
    with pytest.raises(DataError, match="no column lower, upper"):
        dr.coverage_report(held_out.drop(columns=["lower", "upper"]))
    with pytest.raises(DataError, match="no column country"):
        dr.coverage_report(held_out, by="country")
    with pytest.raises(DataError, match=r"1 of [\d,]+ predictions have no observed value"):
        dr.coverage_report(held_out.assign(observed=held_out["observed"].where(held_out.index > 0)))
    with pytest.raises(DataError, match="model='forest' is not in the predictions"):
        dr.plot_coverage(held_out, model="forest")
    with pytest.raises(DataError, match=r"pass folds that leave cell lines \(LCO\)"):
        dr.held_out_intervals(built_in, split="LDO")
    with pytest.raises(DataError, match=r"coverage=90: .*did you mean 0.9"):
        dr.held_out_intervals(built_in, coverage=90)


def test_the_figure_shows_every_drug_and_tissue(held_out):
    figure = dr.plot_coverage(held_out)
    drugs, tissues, widths = figure.axes
    assert "60 drugs" in drugs.get_xlabel() and len(tissues.get_yticklabels()) == 8
    assert len(widths.lines[1].get_xdata()) == 60 and "90% promised" in figure.get_suptitle()
    alone = dr.plot_coverage(held_out[held_out["model"] == "network"])
    assert alone.axes[2].get_ylabel() == "drugs"
