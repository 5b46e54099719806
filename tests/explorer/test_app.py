"""The application without a browser: figures are drawn from the state, and what a person does changes it."""

import json

import numpy as np
import pandas as pd
import pytest

import pm_lab as pm
from pm_lab.explorer.live_figure import LiveFigure, bundle

TABS = ["cohort", "compare", "patient", "gene", "export"]


@pytest.fixture
def clinical():
    rng = np.random.default_rng(0)
    n = 90
    return pd.DataFrame(
        {
            "age": rng.integers(30, 80, n).astype(float),
            "grade": pd.Categorical(rng.choice(["low", "high"], n)),
            "seen": pd.to_datetime("2015-01-01") + pd.to_timedelta(rng.integers(0, 900, n), unit="D"),
            "marker": np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n)),
            "time": rng.exponential(30, n),
            "event": rng.random(n) < 0.6,
        },
        index=[f"SECRET-{i:03d}" for i in range(n)],
    )


@pytest.fixture
def explorer(clinical, recwarn):
    rng = np.random.default_rng(1)
    names = [f"G{i}" for i in range(30)]
    expression = pd.DataFrame(rng.normal(size=(90, 30)), clinical.index, names)
    return pm.explore((clinical, expression), endpoint={"time": "time", "event": "event", "unit": "months"})


def opened(explorer, tab):
    """The panel of a tab, made and brought up to date as when it is clicked."""
    explorer._choose_tab({"type": "tab", "key": tab})
    return explorer._panels[tab]


def drawn(explorer, name):
    return opened(explorer, "cohort")._figures[name].description


def brushed(explorer, low, high, live=False):
    event = {"type": "range", "low": low, "high": high, "missing": False, "live": live}
    opened(explorer, "cohort")._answer("age", event)


def test_brush_changes_the_other_charts_to_what_pandas_counts(explorer, clinical):
    brushed(explorer, 40, 60)
    some = clinical[(clinical["age"] >= 40) & (clinical["age"] < 60)]
    found = drawn(explorer, "grade")
    drawn_counts = dict(zip(found["labels"], found["selected"], strict=True))
    assert drawn_counts == some["grade"].value_counts().to_dict()
    assert explorer.state.n_selected == len(some)
    assert drawn(explorer, "marker")["missing_selected"] == some["marker"].isna().sum()
    assert drawn(explorer, "age")["selected"].sum() == len(clinical)  # its own brush is drawn on top


def test_a_whole_drag_is_one_step_of_undo(explorer):
    for high in (45, 50, 55):
        brushed(explorer, 40, high, live=True)
    brushed(explorer, 40, 60)
    assert explorer.state.describe().startswith("40 ≤ age < 60")
    explorer.state.undo()
    assert not explorer.state.filters
    assert not explorer.state.can_undo


def test_state_changed_from_code_is_drawn(explorer):
    opened(explorer, "cohort")
    explorer.state.set_range("age", 50, 60)
    assert drawn(explorer, "age")["range"] == [50.0, 60.0]
    assert "50 ≤ age &lt; 60" in explorer._said.description["html"]


def test_categories_missing_values_and_dates_are_filtered_by_clicks(explorer, clinical):
    panel, state = opened(explorer, "cohort"), explorer.state
    panel._answer("grade", {"type": "category", "value": "high"})
    assert state.n_selected == (clinical["grade"] == "high").sum()
    panel._answer("grade", {"type": "category", "value": "high"})
    assert not state.filters
    panel._answer("marker", {"type": "missing"})
    assert state.n_selected == clinical["marker"].isna().sum()
    panel._answer("marker", {"type": "clear"})
    first = (np.datetime64("2016-01-01") - np.datetime64("1970-01-01")).astype(int)
    later = {"type": "range", "low": float(first), "high": None, "missing": False, "live": False}
    panel._answer("seen", later)
    assert state.n_selected == (clinical["seen"] >= "2016-01-01").sum()


def test_small_counts_are_hidden_on_the_screen_when_asked(explorer, clinical):
    explorer.state.set_range("age", 40, 43)
    n = explorer.state.n_selected
    assert 0 < n < 10
    assert f"<b>{n}</b>" in explorer._said.description["html"]
    explorer.state.set_setting("hide_small_counts", True)
    assert "<b>&lt;10</b>" in explorer._said.description["html"]
    assert set(drawn(explorer, "grade")["selected"]) == {-1}


def test_every_tab_opens_and_follows(explorer):
    explorer.state.select_patient("SECRET-003")
    explorer.state.set_setting("gene", "G3")
    explorer.state.set_categories("grade", ["high"])
    for tab in TABS:
        opened(explorer, tab)
    explorer.state.set_range("age", 40, 60)
    for tab in TABS:
        opened(explorer, tab)
    assert "SECRET-003" in explorer._panels["patient"]._who.description["html"]


def test_an_error_is_said_and_not_raised(explorer):
    panel = opened(explorer, "cohort")
    figure = panel._figures["age"]
    figure._answer({"type": "range", "low": 60.0, "high": 40.0, "missing": False, "live": False})
    assert "Put low below high" in explorer._status.description["html"]


def test_no_endpoint_says_how_to_declare_one(clinical, recwarn):
    explorer = pm.explore(clinical.drop(columns=["time", "event"]))
    assert "declare_endpoint" in opened(explorer, "cohort")._curve.description["html"]
    for tab in TABS:
        opened(explorer, tab)


@pytest.mark.parametrize("rows", [1, 2])
def test_hardly_any_patients(clinical, rows, recwarn):
    explorer = pm.explore(clinical.iloc[:rows])
    explorer.state.select_patient("SECRET-000")
    for tab in TABS:
        opened(explorer, tab)
    explorer.state.set_range("age", 200, 201)
    for tab in TABS:
        opened(explorer, tab)
    assert explorer.state.n_selected == 0


def test_no_widget_holds_a_patient(explorer):
    """What a notebook saved with its widgets would keep: the state of every widget there is."""
    import ipywidgets

    explorer.state.select_patient("SECRET-003")
    explorer.state.set_setting("gene", "G3")
    for tab in TABS:
        opened(explorer, tab)
    held = json.dumps(ipywidgets.Widget.get_manager_state(), default=str)
    assert "pm-explorer" in held
    assert "SECRET" not in held


def test_figures_share_their_code(explorer):
    """Each figure carries a loader; the code itself travels once a page, by message."""
    assert len(LiveFigure()._esm) < 1_000
    assert len(bundle()) < 55_000
    assert "https://" not in bundle()
    assert "http://" not in bundle().replace("http://www.w3.org/2000/svg", "")


def test_volcano_of_other_groups_begins_with_all_of_its_points(explorer):
    explorer.state.set_range("age", 40, 60)
    panel = opened(explorer, "compare")
    before = panel._volcano.description["points"]
    explorer.state.set_setting("bins", 20)
    assert panel._volcano.description["points"] == before
    explorer.state.set_group("A", {"column": "grade", "values": ["high"]})
    assert panel._volcano.description["points"] != before


def test_controls_of_groups_follow_the_state(explorer):
    state, panel = explorer.state, opened(explorer, "compare")
    state.set_group("A", {"column": "grade", "values": ["high"]})
    assert (panel._a._source.value, panel._a._column.value) == ("values", "grade")
    assert (panel._a._values.value, panel._b._source.value) == (("high",), "")
    state.set_group("A", {"column": "age", "low": 40, "high": 55})
    assert (panel._a._source.value, panel._a._low.value, panel._a._high.value) == ("range", "40", "55")
    state.set_group("A", {"gene": "G3", "below_quantile": 0.25})
    assert panel._a._source.value == "below_gene"
    assert panel._a._share.value == pytest.approx(0.25, abs=0.02)
    state.set_group("A", ["SECRET-001", "SECRET-002"])
    assert panel._a._source.value == "kept"
    state.undo()
    assert panel._a._source.value == "below_gene"
    state.set_group("A", None)
    assert (panel._a._source.value, panel._b._source.value) == ("selection", "rest")


def test_a_group_of_few_has_no_estimates(explorer):
    explorer.state.set_patients([f"SECRET-{i:03d}" for i in range(4)])
    shown = opened(explorer, "compare")._tests.description["html"]
    assert "none: a group has fewer than 10 people" in shown
    assert "hazard ratio, A over B" not in shown
    assert "mean survival" not in shown


def test_small_counts_are_hidden_in_the_genes_tab(explorer):
    state = explorer.state
    state.set_setting("gene", "G3")
    state.set_setting("hide_small_counts", True)
    state.set_range("age", 40, 43)
    panel = opened(explorer, "gene")
    assert 0 < state.n_selected < 10
    assert "fewer than 10 people" in panel._boxes.description["html"]
    assert "No curves" in panel._curve.description["html"]
    state.clear()
    curves = panel._curve.description
    assert all("<10" not in one["name"] for one in curves["series"])
    assert max(len(one["time"]) for one in curves["series"]) <= 4  # of 15 to 25 events each, in steps of ten
    state.set_setting("hide_small_counts", False)
    assert max(len(one["time"]) for one in panel._curve.description["series"]) > 10


def test_an_endpoint_is_declared_in_the_interface(clinical, recwarn):
    clinical["vital"] = np.where(clinical.pop("event"), "dead", "alive")
    explorer = pm.explore(clinical)
    panel = opened(explorer, "cohort")
    form = panel._declare
    assert (form._time.value, form._event.value) == ("time", "vital")
    form._declare(None)
    assert "censored" in explorer._status.description["html"]
    form._censored.value = "alive"
    form._declare(None)
    assert explorer._status.description["html"] == ""
    assert panel._curve.description["kind"] == "curves"
    assert explorer.state.data.outcome("endpoint")["event"].sum() == (clinical["vital"] == "dead").sum()
    assert {"time", "vital"}.isdisjoint(
        panel._figures[f.description["name"]].description["name"] for f in panel._grid.children
    )
    explorer.state.undo()
    assert explorer.state.endpoint is None


def test_columns_that_say_nothing_have_no_chart(clinical, recwarn):
    panel = opened(pm.explore(clinical.assign(site="one", lost=np.nan)), "cohort")
    assert {"site", "lost"}.isdisjoint(panel._figures)
    assert "&#x27;lost&#x27; has no chart" in panel._notes.description["html"]


def test_a_lasso_is_named_briefly_and_drawn_with_few_corners(clinical):
    import anndata

    place = np.random.default_rng(2).normal(size=(90, 2))
    adata = anndata.AnnData(
        np.zeros((90, 2), np.float32), obs=clinical.drop(columns="seen"), obsm={"X_umap": place}
    )
    explorer = pm.explore(adata)
    around = np.linspace(0, 2 * np.pi, 600, endpoint=False)
    polygon = np.column_stack([np.cos(around), np.sin(around)]).tolist()
    points = opened(explorer, "cohort")._points
    points._answer({"type": "lasso", "polygon": polygon})
    lasso = explorer.state.filters["lasso:X_umap"]
    assert 10 < len(lasso.polygon) < 120
    inside = np.hypot(*place.T) < 1
    assert np.count_nonzero(explorer.state.mask != inside) <= 1
    header = explorer._said.description["html"]
    assert f"inside a lasso on X_umap ({len(lasso.polygon)} corners): " in header
    assert header.index("<details") < header.index("with the corners")


def test_dates_that_the_timeline_has_no_place_for_are_said(explorer, clinical):
    explorer.state.select_patient("SECRET-003")
    panel = opened(explorer, "patient")
    seen = clinical.loc["SECRET-003", "seen"]
    placed = [row["label"] for row in panel._timeline.description["rows"]]
    assert placed == ["time zero", "endpoint: end of follow-up"]
    said = panel._lacking.description["html"]
    assert f"Not in the timeline: seen {seen:%Y-%m-%d}. Dates stand apart" in said


def test_warnings_are_shown_inside_with_small_counts_hidden(clinical, recwarn):
    clinical.loc[clinical.index[:2], "age"] = 93.0
    explorer = pm.explore(clinical)
    assert not [one for one in recwarn if issubclass(one.category, pm.errors.PmLabWarning)]
    assert "ages over 89, &lt;10" in explorer._warned.description["html"]


def test_summary_without_a_kernel_names_no_rare_value(clinical, recwarn):
    clinical["site"] = ["PLANTED"] * 3 + ["here"] * 50 + ["there"] * 37
    explorer = pm.explore(clinical)
    explorer.state.set_categories("site", ["PLANTED"])
    summary = pm.explorer.static_summary(explorer.state)
    assert "site = a rare value" in summary
    assert "PLANTED" not in summary
