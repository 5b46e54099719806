"""Histograms, bars and curves are what pandas and lifelines give, whatever is filtered."""

import numpy as np
import pandas as pd
import pytest

import pm_lab as pm
from pm_lab.errors import DataError
from pm_lab.explorer import (
    CohortData,
    CohortState,
    bars,
    cohort_view,
    counts,
    gene_by_group,
    histogram,
    survival,
)
from pm_lab.explorer.summaries import NO_ENDPOINT, outcomes_named, round_edges


def table_state(table, **options):
    return CohortState(CohortData.open(table, **options))


def at(curve, times, name="survival"):
    """A step function at some times."""
    return getattr(curve, name)[np.searchsorted(curve.time, times, side="right") - 1]


def test_histogram_counts_what_the_other_filters_keep(state, plain):
    state.set_range("age", 40, 60)
    state.set_categories("er", ["1"], missing=True)
    found = histogram(state, "age", bins=10)
    others = plain["age"][(plain["er"] == "1") | plain["er"].isna()]
    for counted, values in ((found.everyone, plain["age"]), (found.selected, others)):
        expected = pd.cut(values, found.edges, right=False).value_counts(sort=False)
        assert counted.tolist() == expected.tolist() and counted.sum() == values.notna().sum()
    assert found.missing_everyone == plain["age"].isna().sum()
    assert found.missing_selected == others.isna().sum() > 0
    assert 40 in found.edges and 60 in found.edges  # so that a brush from edge to edge says round numbers


def test_the_setting_says_how_many_bins(followed):
    state = table_state(followed())
    before = len(histogram(state, "age").everyone)
    state.set_setting("bins", 5)
    assert len(histogram(state, "age").everyone) < before / 2
    assert len(cohort_view(state, ["age"]).charts["age"].everyone) == len(histogram(state, "age").everyone)
    assert gene_by_group(state, "GENE0").counts.shape[1] <= 8
    for bins in (0, -3, 2.5):
        with pytest.raises(DataError, match=f"bins={bins}: a whole number"):
            histogram(state, "age", bins)
    with pytest.raises(DataError, match="bins=1000000: 500 at most"):
        state.set_setting("bins", 1_000_000)


def test_histograms_of_genes_and_dates(state, plain):
    gene = histogram(state, "gene:GENE1")
    assert gene.everyone.sum() == plain["gene:GENE1"].notna().sum()
    assert gene.missing_everyone == plain["gene:GENE1"].isna().sum() > 0
    dates = histogram(state, "first")
    assert dates.everyone.sum() == plain["first"].notna().sum()
    assert dates.edges[0] <= (plain["first"].min() - pd.Timestamp(0)).days
    with pytest.raises(DataError, match="'er' is a category, not a number"):
        histogram(state, "er")
    with pytest.raises(DataError, match="there is no column 'weight'"):
        histogram(state, "weight")


def test_bars_count_categories_and_missing(state, plain):
    state.set_range("age", 40, 60)
    state.set_categories("er", ["0"])
    found = bars(state, "er")
    others = plain["er"][plain["age"].between(40, 60, inclusive="left")]
    assert found.labels == ["0", "1"] and found.n_together == 0
    assert found.everyone.tolist() == plain["er"].value_counts()[["0", "1"]].tolist()
    assert found.selected.tolist() == others.value_counts()[["0", "1"]].tolist()
    assert found.missing_selected == others.isna().sum() > 0
    with pytest.raises(DataError, match="'age' is a number, not a category"):
        bars(state, "age")


def test_many_categories_share_the_last_bar():
    rng = np.random.default_rng(0)
    label = pd.Series(rng.integers(0, 300, 5_000) // rng.integers(1, 9, 5_000)).map("level {:03d}".format)
    ids = [f"code {i}" for i in range(5_000)]
    state = table_state(
        pd.DataFrame({"label": label.to_numpy(), "free": ids}, [f"p{i}" for i in range(5_000)])
    )
    found = bars(state, "label")
    assert len(found.labels) == 50 and found.everyone.sum() == 5_000
    assert (
        found.labels[-1] == f"{label.nunique() - 49} other values"
        and found.n_together == label.nunique() - 49
    )
    kept = label.value_counts()[found.labels[:-1]]
    assert found.everyone[:-1].tolist() == kept.tolist()
    assert kept.min() >= label.value_counts().drop(kept.index).max()
    assert list(cohort_view(state).charts) == ["label"]  # 5,000 categories are text, which has no chart
    with pytest.raises(DataError, match="'free' is a text"):
        bars(state, "free")


@pytest.mark.parametrize(
    ("values", "bins"),
    [
        ([24.0, 89], 7),
        ([0.001, 0.0011], 30),
        ([1e9, 1e9 + 3], 30),
        ([-5.5, 4.25], 4),
        ([7.0], 30),
        ([0.0], 30),
    ],
)
def test_edges_are_round_and_hold_all_values(values, bins):
    edges = round_edges(np.array(values), bins)
    assert edges[0] <= min(values) and max(values) < edges[-1] and len(edges) <= bins + 2
    steps = np.diff(edges)
    assert (steps > 0).all() and steps == pytest.approx(steps[0], rel=1e-6)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("ties", [False, True])
def test_selected_against_the_rest_is_kaplan_meier(followed, late, ties):
    cohort = followed(late=late, ties=ties)
    state = table_state(cohort)
    state.set_range("age", 55, 65)
    chosen = cohort.obs["age"].between(55, 65, inclusive="left")
    cohort = cohort.copy()
    cohort.obs["side"] = np.where(chosen, "selected", "the rest")
    expected = pm.survival.kaplan_meier(cohort, "os", groupby="side")
    curves = survival(state, most_points=None)
    assert [curve.name for curve in curves] == ["selected", "the rest"]
    for curve in curves:
        part = expected[(expected["group"] == curve.name) & (expected["time"] > 0)]
        for name in ("survival", "lower", "upper"):
            np.testing.assert_allclose(at(curve, part["time"], name), part[name], rtol=1e-9)
        mine = cohort.obs[cohort.obs["side"] == curve.name]
        assert (curve.n, curve.events) == (len(mine), mine["event"].sum())
        entry = mine["entry"] if late else pd.Series(-1.0, mine.index)
        people = [int(((entry < t) & (mine["time"] >= t)).sum()) for t in curve.at_risk_times[1:]]
        assert curve.at_risk[1:].tolist() == people
        assert curve.unit == "months" and curve.kind == "survival" and not curve.note
    few = survival(state, most_points=20)[1]
    assert len(few.time) <= 24 and few.time[-1] == curves[1].time[-1]
    assert np.abs(at(few, curves[1].time) - curves[1].survival).max() <= 2 / 20
    np.testing.assert_array_equal(at(curves[1], few.time), few.survival)


@pytest.mark.parametrize("late", [False, True])
def test_competing_risks_are_cumulative_incidences(followed, late):
    cohort = followed(late=late, competing=True)
    curves = survival(table_state(cohort), split="arm", most_points=None)
    expected = pm.survival.cumulative_incidence(cohort, "os", groupby="arm")
    assert [(curve.name, curve.cause) for curve in curves] == [
        (arm, cause) for arm in ("new", "old") for cause in "123"
    ]
    for curve in curves:
        part = expected[(expected["group"] == curve.name) & (expected["cause"] == curve.cause)]
        part = part[part["time"] > 0]
        assert curve.kind == "incidence" and curve.events == part["events"].sum()
        np.testing.assert_allclose(at(curve, part["time"]), part["incidence"], rtol=1e-9, atol=1e-12)
        for name in ("lower", "upper"):
            np.testing.assert_allclose(at(curve, part["time"], name), part[name], rtol=1e-6)


def test_a_group_where_nothing_competes():
    table = pd.DataFrame(
        {
            "time": np.r_[np.arange(1.0, 13), np.arange(1.0, 13)],
            "what": ["a", "none", "a"] * 4 + ["a", "b", "none"] * 4,
            "g": ["x"] * 12 + ["y"] * 12,
        }
    )
    spec = {"time": "time", "event": "what", "unit": "days", "censored": "none", "of_interest": "a"}
    expected = pm.survival.cumulative_incidence(table, spec, groupby="g")
    for curve in survival(table_state(table, endpoint=spec), split="g", most_points=None):
        part = expected[(expected["group"] == curve.name) & (expected["cause"] == curve.cause)]
        part = part[part["time"] > 0]
        for name, theirs in (("survival", "incidence"), ("lower", "lower"), ("upper", "upper")):
            known = part[theirs].notna()
            np.testing.assert_allclose(at(curve, part["time"][known], name), part[theirs][known], rtol=1e-6)


def test_emptied_risk_set_ends_the_curve_and_says_so():
    late = pd.DataFrame({"entry": [0.0, 0, 5, 5, 5], "time": [1.0, 2, 7, 8, 9], "event": [1, 1, 1, 0, 0]})
    spec = {"time": "time", "event": "event", "unit": "days", "entry": "entry"}
    (curve,) = survival(table_state(late, endpoint=spec))
    assert curve.time[-1] == 2 and curve.survival[-1] == 0
    assert "at 2 days nobody was left at risk while others had yet to enter" in curve.note


def test_unknown_outcomes_are_counted_and_left_out(state, plain, adata):
    assert counts(state) == {
        "n": 60, "n_selected": 60, "endpoint": "os", "n_unknown": 0, "events": (plain["died"] == "1").sum(),
        "unknown_selected": 0, "events_selected": (plain["died"] == "1").sum(),
    }  # fmt: skip
    part = plain[["months", "died", "flag"]].assign(died=plain["died"].astype(int))
    part.loc[part.index[:7], "months"] = np.nan
    state = table_state(part, endpoint={"time": "months", "event": "died", "unit": "months"})
    (curve,) = survival(state, most_points=None)
    known = pm.survival.kaplan_meier(part.iloc[7:], dict(state.data.endpoints["endpoint"]))
    assert (curve.n, curve.n_unknown) == (53, 7) and counts(state)["n_unknown"] == 7
    np.testing.assert_allclose(at(curve, known["time"]), known["survival"], rtol=1e-9)


def test_splits(state):
    state.set_categories("flag", ["True"])
    curves = survival(state, split="er")
    assert [curve.name for curve in curves] == ["0", "1", "missing"]
    assert sum(curve.n for curve in curves) == state.n_selected
    for split, message in {
        "age": "'age' is a number; curves are split by categories",
        "died": "'died' is part of an endpoint",
        "no": "there is no column 'no'",
    }.items():
        with pytest.raises(DataError, match=message):
            survival(state, split=split)
    state.set_group("A", "selection")
    state.set_group("B", "rest")
    assert [curve.name for curve in survival(state, split="groups")] == [
        "A: flag = True",
        "B: not (flag = True)",
    ]


def test_nobody_one_patient_and_no_endpoint(state, plain):
    state.set_range("age", 1_000)
    view = cohort_view(state)
    assert view.counts["n_selected"] == 0 and "No patient passes all filters" in view.notes[0]
    assert [curve.name for curve in view.curves] == ["the rest"]
    assert view.charts["er"].selected.sum() == 0 and view.charts["age"].selected.sum() > 0
    one = cohort_view(table_state(pd.DataFrame({"age": [50.0], "er": [None], "sex": ["f"]}, ["p1"])))
    assert one.notes == [NO_ENDPOINT] and one.curves == []
    assert one.charts["er"].missing_everyone == 1 and one.charts["er"].labels == []
    assert one.charts["age"].everyone.sum() == 1
    alone = plain[["months"]].iloc[:1].assign(died=[1])
    (curve,) = survival(table_state(alone, endpoint={"time": "months", "event": "died", "unit": "months"}))
    assert curve.n == 1 and curve.survival[-1] == 0


def test_answers_belong_to_their_data(followed):
    """What is kept of one data set is never used for another, nor after a column was retyped."""
    cohort = followed()
    first = table_state(cohort)
    before = histogram(first, "age").everyone.sum()
    half = table_state(cohort[:150].copy())
    assert histogram(half, "age").everyone.sum() == 150 == before - 150
    data = CohortData.open(pd.DataFrame({"grade": [1, 2, 3] * 20}))
    assert bars(CohortState(data), "grade").everyone.tolist() == [20, 20, 20]
    numbers = CohortState(data.retyped({"grade": "number"}))
    assert histogram(numbers, "grade").everyone.sum() == 60
    assert len(outcomes_named(first.data, "os").end) == 300


def test_many_rows_are_thinned_for_display_and_counted_whole():
    n = 50_000
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"x": rng.random(n), "time": rng.random(n), "event": rng.random(n) < 0.5})
    state = table_state(table, endpoint={"time": "time", "event": "event", "unit": "years"})
    state.set_range("x", 0.25, 0.5)
    view = cohort_view(state, ["x"])
    assert view.charts["x"].everyone.sum() == n
    assert view.counts["n_selected"] == table["x"].between(0.25, 0.5, inclusive="left").sum()
    assert all(len(curve.time) <= 1_003 for curve in view.curves)
    assert sum(curve.n for curve in view.curves) == n
