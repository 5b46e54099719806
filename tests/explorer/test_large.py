"""Cohorts larger than a page can hold: what is drawn is bounded and said, what is counted is whole."""

import anndata
import numpy as np
import pandas as pd
import pytest

import pm_lab as pm
from pm_lab.explorer import charts

N = 400


@pytest.fixture
def many_points(monkeypatch):
    """A cohort with a map of more patients than are drawn."""
    monkeypatch.setattr(charts, "MOST_POINTS", 100)
    rng = np.random.default_rng(0)
    obs = pd.DataFrame({"age": rng.integers(30, 80, N).astype(float)}, [f"P{i:03d}" for i in range(N)])
    cohort = anndata.AnnData(np.zeros((N, 1), np.float32), obs, obsm={"X_map": rng.random((N, 2))})
    return pm.explore(cohort)


def test_a_map_is_sampled_says_so_and_selects_among_all(many_points):
    points = many_points._panels["cohort"]._points
    shown = points._figure.description
    assert len(shown["x"]) == 100
    assert "100 are drawn, a sample" in shown["summary"]
    points._answer({"type": "lasso", "polygon": [[-1, -1], [0.5, -1], [0.5, 2], [-1, 2]]})
    left = many_points.state.data.embedding("X_map")[:, 0] < 0.5
    assert many_points.state.n_selected == left.sum() > 100


def test_cells_are_sampled_but_those_of_the_patient_are_all_drawn(with_cells, monkeypatch):
    monkeypatch.setattr(charts, "MOST_POINTS", 200)
    clinical, cells = with_cells
    explorer = pm.explore(clinical, cells=cells)
    explorer.state.select_patient("P03")
    explorer._choose_tab({"type": "tab", "key": "patient"})
    shown = explorer._panels["patient"]._map.description
    own = (cells.obs["patient"] == "P03").sum()
    assert sum(shown["mask"]) == own
    assert f"{own} cells of this patient in colour, 2,345 in all." in shown["summary"]
    assert "200 are drawn, a sample" in shown["summary"]


def test_five_thousand_categories_are_drawn_as_the_most_frequent(recwarn):
    rng, n = np.random.default_rng(0), 100_000
    code = rng.integers(0, 5_000, n)
    code[:300] = 7
    table = pd.DataFrame(
        {
            "code": pd.Categorical.from_codes(code, [f"code {i}" for i in range(5_000)]),
            "months": rng.exponential(30, n),
            "died": rng.random(n) < 0.6,
        }
    )
    explorer = pm.explore(table, endpoint={"time": "months", "event": "died", "unit": "months"})
    for tab in ("compare", "patient", "gene", "export", "cohort"):
        explorer._choose_tab({"type": "tab", "key": tab})
    drawn = explorer._panels["cohort"]._figures["code"].description
    assert drawn["labels"][0] == "code 7" and drawn["together"] > 4_900
    assert len(drawn["labels"]) <= 51 and sum(drawn["everyone"]) == n
    explorer.state.set_categories("code", ["code 7"])
    assert explorer.state.n_selected == (code == 7).sum()
    explorer.state.clear()
    explorer._choose_tab({"type": "tab", "key": "compare"})
    explorer.state.set_group("A", {"column": "code", "values": ["code 7"]})
    controls = explorer._panels["compare"]._a
    assert controls._column.value == "code" and 0 < len(controls._values.options) <= 500
    assert explorer._status.description["html"] == ""
