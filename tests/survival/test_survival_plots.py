"""Figures of survival: what they show, say, and refuse."""

import numpy as np
import pytest

from pm_lab import survival
from pm_lab.errors import DataError


@pytest.fixture(scope="module")
def evaluation(breast):
    return survival.evaluate_risk("size", breast, "dmfs", horizon=3650, clinical=["er", "size"], n_boot=5)


def test_kaplan_meier_shows_numbers_at_risk(leukemia):
    curves = survival.kaplan_meier(leukemia, "remission", groupby="arm")
    figure = survival.plot_kaplan_meier(curves, survival.log_rank(leukemia, "remission", "arm"))
    ax, numbers = figure.axes
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "6-MP (9 events in 21)",
        "placebo (21 events in 21)",
    ]
    assert ax.get_xlabel() == "time, weeks (pale: fewer than 10 at risk)"
    assert "log-rank p = 4.2e-05" in ax.get_title()
    bands = [band.get_paths()[0].vertices[:, 0].max() for band in ax.collections]
    for arm, end in zip(["6-MP", "placebo"], bands, strict=True):
        assert (leukemia.loc[leukemia["arm"] == arm, "weeks"] >= end).sum() >= 10
    shown = {text.get_position(): text.get_text() for text in numbers.texts}
    weeks = sorted({x for x, _ in shown})
    for i, arm in enumerate(["6-MP", "placebo"]):
        times = leukemia.loc[leukemia["arm"] == arm, "weeks"]
        assert [shown[(x, -i)] for x in weeks] == [str((times >= x).sum()) for x in weeks]
    assert "6-MP 0.45; placebo 0.00" in figure.get_label()


def test_numbers_at_risk_with_late_entry(late):
    spec = {"time": "time", "event": "cause", "unit": "years", "censored": 0, "entry": "entry"}
    numbers = survival.plot_kaplan_meier(survival.kaplan_meier(late, spec)).axes[1]
    for text in numbers.texts:
        t = text.get_position()[0]
        at_risk = ((late["entry"] < t) & (late["time"] >= t)).sum() if t > 0 else (late["entry"] == 0).sum()
        assert text.get_text() == str(at_risk)


def test_cumulative_incidence_has_a_panel_per_group(late):
    spec = {"time": "time", "event": "cause", "unit": "years", "censored": 0}
    figure = survival.plot_cumulative_incidence(survival.cumulative_incidence(late, spec, groupby="x"))
    assert [ax.get_title() for ax in figure.axes] == ["x: 0", "x: 1"]
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["1", "2"]
    assert "0, 2 1.00" in figure.get_label()


def test_hazard_ratios_per_unit_and_per_sd(breast):
    table = survival.cox(breast, ["age", "er", "size"], "dmfs")
    ax = survival.plot_hazard_ratios(table, per_sd=True).axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "age, per SD",
        "er[T.positive]",
        "size, per SD",
    ]
    drawn = np.concatenate(
        [points.get_offsets()[:, 0] for points in ax.collections if len(points.get_offsets())]
    )
    for value in (table["hazard_ratio_per_sd"]["age"], table["hazard_ratio"]["er[T.positive]"]):
        assert np.isclose(drawn, value).any()


def test_calibration_and_decision_curves(evaluation):
    figure = survival.plot_calibration(evaluation)
    assert figure.axes[0].get_xlabel() == "predicted risk by 3650 days"
    assert "clinical only slope" in figure.get_label() and "no information" not in figure.get_label()
    figure = survival.plot_decision_curve(evaluation)
    names = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert names == ["age", "clinical only", "treat all", "treat none"]


def test_tables_of_something_else_are_refused(leukemia, evaluation):
    curves = survival.kaplan_meier(leukemia, "remission")
    with pytest.raises(DataError, match=r"not a table of pm\.survival\.cox"):
        survival.plot_hazard_ratios(curves)
    with pytest.raises(DataError, match=r"not a table of pm\.survival\.kaplan_meier"):
        survival.plot_kaplan_meier(evaluation.scores)
    with pytest.raises(DataError, match=r"not a table of pm\.survival\.cumulative_incidence"):
        survival.plot_cumulative_incidence(curves)


def test_scores_alone_have_no_calibration(leukemia):
    risk = (leukemia["arm"] == "placebo").astype(float)
    evaluation = survival.evaluate_risk(risk, leukemia, "remission", horizon=10, n_boot=2)
    for plot in (survival.plot_calibration, survival.plot_decision_curve):
        with pytest.raises(DataError, match="scores without probabilities"):
            plot(evaluation)
