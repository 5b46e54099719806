"""Groups A and B by a risk: of a panel that is applied to the cohort, of its file, or of a column."""

import anndata
import numpy as np
import pandas as pd
import pytest

import pm_lab as pm
from pm_lab.errors import DataError
from pm_lab.explorer import CohortData, CohortState, compare_survival

GENES = ["ERBB2", "ESR1", "MKI67"]
WEIGHTS = [0.8, -0.5, 0.3]


def cohort(seed, n=120):
    """Patients whose hazard follows three genes."""
    rng = np.random.default_rng(seed)
    names = [f"S{seed}-{i:03d}" for i in range(n)]
    genes = rng.normal(8, 2, (n, 6)).astype(np.float32)
    risk = (genes[:, :3] - 8) / 2 @ WEIGHTS
    end, leaves = rng.exponential(20 * np.exp(-risk)), rng.uniform(5, 60, n)
    obs = pd.DataFrame({"months": np.minimum(end, leaves), "died": end <= leaves, "score": risk}, names)
    var = pd.DataFrame(index=[*GENES, "A1", "A2", "A3"])
    made = anndata.AnnData(genes, obs, var)
    pm.survival.declare_endpoint(made, "os", "months", "died", "months")
    return made


@pytest.fixture(scope="module")
def panel():
    return pm.biomarkers.fit_panel(cohort(1), "os", genes=GENES)


@pytest.fixture
def state():
    return CohortState(CohortData.open(cohort(2)))


def by_hand(panel, given, share):
    """Who has a risk of at least this quantile, by the panel's own numbers."""
    z = (given[:, panel.genes].X - panel.means) / panel.sds
    risk = z @ panel.weights + panel.intercept
    return risk >= np.quantile(risk, share)


@pytest.mark.parametrize("form", ["panel", "path", "text"])
def test_a_panel_and_its_file_split_as_by_hand(panel, state, tmp_path, form):
    panel.save(tmp_path / "panel.json")
    given = {"panel": panel, "path": tmp_path / "panel.json", "text": str(tmp_path / "panel.json")}[form]
    state.set_group("A", {"panel_risk": given, "above_quantile": 0.75})
    state.set_group("B", {"panel_risk": given, "below_quantile": 0.75})
    expected = by_hand(panel, cohort(2), 0.75)
    assert (state.group("A") == expected).all()
    assert (state.group("B") == ~expected).all()
    assert "≤ risk of the panel" in state.group_name("A")
    assert "S2-" not in state.group_name("A") + state.to_json()
    found = compare_survival(state)
    assert found.hazard_ratio > 1.5 and found.log_rank_p < 0.01


def test_genes_are_found_by_the_panel_s_other_names(panel, tmp_path):
    probes = cohort(1)
    probes.var["symbol"] = list(probes.var_names)
    probes.var_names = [f"probe_{i}" for i in range(probes.n_vars)]
    learnt = pm.biomarkers.fit_panel(probes, "os", genes=["probe_0", "probe_1", "probe_2"])
    state = CohortState(CohortData.open(cohort(2)))
    state.set_group("A", {"panel_risk": learnt})
    assert (state.group("A") == by_hand(panel, cohort(2), 0.5)).all()


def test_a_panel_of_another_platform_is_scaled_here_when_asked(panel):
    other = cohort(2)
    other.X = other.X * 10 + 500
    state = CohortState(CohortData.open(other))
    with pytest.raises(DataError, match='scale="cohort"'):
        state.set_group("A", {"panel_risk": panel})
    state.set_group("A", {"panel_risk": panel, "scale": "cohort"})
    assert state.group("A").sum() == 60


def test_a_panel_that_was_fitted_to_these_patients_is_not_tested_on_them(panel):
    state = CohortState(CohortData.open(cohort(1)))
    state.set_group("A", {"panel_risk": panel})
    found = compare_survival(state)
    assert found.log_rank_p is None and found.hazard_lower is None
    assert "fitted to some of these patients" in found.reason
    restored = CohortState.from_token(state.data, state.share_token())
    assert compare_survival(restored).reason == found.reason


def test_a_column_of_risk_is_a_range_with_its_threshold(state):
    score = cohort(2).obs["score"]
    state.set_group("A", {"panel_risk": "score", "above_quantile": 0.5})
    assert (state.group("A") == (score >= score.median())).all()
    assert state.group_name("A") == f"A: score ≥ {float(score.median())!r}"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("months", "part of an endpoint"),
        ("no_such_file.json", "no_such_file.json"),
        (3.5, "a column, a panel or its file"),
    ],
)
def test_what_is_no_risk_is_refused(state, given, message):
    with pytest.raises(DataError, match=message):
        state.set_group("A", {"panel_risk": given})
    assert not state.groups


def test_without_expression_no_panel_can_be_applied(panel):
    state = CohortState(CohortData.open(cohort(2).obs))
    with pytest.raises(DataError, match="no expression"):
        state.set_group("A", {"panel_risk": panel})


def test_damaged_files_are_refused(state, tmp_path):
    (tmp_path / "mine.json").write_text("{}")
    with pytest.raises(DataError, match="panel"):
        state.set_group("A", {"panel_risk": tmp_path / "mine.json"})


def test_the_controls_set_groups_by_a_panel_in_a_file(panel, tmp_path):
    panel.save(tmp_path / "panel.json")
    explorer = pm.explore(cohort(2))
    explorer._choose_tab({"type": "tab", "key": "compare"})
    view = explorer._panels["compare"]
    for controls, source in ((view._a, "above_risk"), (view._b, "below_risk")):
        controls._source.value = source
        assert controls._panel.layout.display == "" and controls._gene.figure.layout.display == "none"
        controls._panel.value = str(tmp_path / "panel.json")
        controls._set(None)
        assert controls._source.value == source
    assert (explorer.state.group("A") == by_hand(panel, cohort(2), 0.5)).all()
    assert (explorer.state.group("B") == ~explorer.state.group("A")).all()
    assert "log-rank p" in view._tests.description["html"]
    view._a._panel.value = str(tmp_path / "absent.json")
    view._a._set(None)
    assert "absent.json" in explorer._status.description["html"]
    view._a._risk.value = "score"
    assert view._a._panel.layout.display == "none"
    view._a._set(None)
    assert "score ≥" in explorer.state.group_name("A")


def test_what_a_panel_warns_of_is_shown(panel, tmp_path):
    panel.save(tmp_path / "panel.json")
    holed = cohort(2)
    holed.X[3, 0] = np.nan
    explorer = pm.explore(holed)
    explorer._choose_tab({"type": "tab", "key": "compare"})
    controls = explorer._panels["compare"]._a
    controls._source.value, controls._panel.value = "above_risk", str(tmp_path / "panel.json")
    controls._set(None)
    assert "1 values of 1 patients are missing" in explorer._status.description["html"]
