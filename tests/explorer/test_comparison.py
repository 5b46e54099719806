"""Groups A and B: numbers as pm_lab.survival and scipy have them, and no p where it would mean nothing."""

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import pm_lab as pm
from pm_lab.errors import DataError
from pm_lab.explorer import (
    CohortData,
    CohortState,
    compare_survival,
    composition_difference,
    differential_genes,
    gene_survival,
    group_moments,
    groups_of,
    pathway_difference,
)


def state_of(cohort, **options):
    return CohortState(CohortData.open(cohort, **options))


def by_arm(cohort):
    state = state_of(cohort)
    state.set_categories("arm", ["new"])
    return state


def cox_by_statsmodels(obs, late):
    """Log hazard ratio of the new arm, its error and p, with Efron's ties."""
    from statsmodels.duration.hazard_regression import PHReg

    new = (obs["arm"] == "new").to_numpy(float)[:, None]
    # Who enters at the time of an event is not yet at risk, as in R; in statsmodels they are.
    entry = obs["entry"].to_numpy() + 1e-6 if late else None
    fit = PHReg(obs["time"], new, (obs["event"] == 1).astype(int), entry=entry, ties="efron").fit()
    return fit.params[0], fit.bse[0], fit.pvalues[0]


def cox_of_pm_lab(cohort):
    table = cohort.obs.assign(new=(cohort.obs["arm"] == "new").astype(float))
    return pm.survival.cox(table, ["new"], cohort.uns["endpoints"]["os"]).iloc[0]


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("ties", [False, True])
def test_survival_as_pm_lab_survival(followed, late, ties):
    cohort = followed(late=late, ties=ties)
    found = compare_survival(by_arm(cohort))
    test = pm.survival.log_rank(cohort, "os", "arm")
    assert found.log_rank_p == pytest.approx(test["pvalue"].iloc[0], rel=1e-8)
    summary = pm.survival.survival_summary(cohort, "os", "arm")
    assert found.horizon == summary.attrs["horizon"]
    old = summary.set_index("group").loc["old"]  # there old less new, here A, the new, less the rest
    assert found.rmst_difference == pytest.approx(-old["rmst_difference"], rel=1e-9)
    assert (found.rmst_lower, found.rmst_upper) == pytest.approx(
        (-old["difference_upper"], -old["difference_lower"]), rel=1e-9
    )
    assert found.rmst_p == pytest.approx(old["difference_pvalue"], rel=1e-6)
    log_ratio, error, p = cox_by_statsmodels(cohort.obs, late)
    assert np.log(found.hazard_ratio) == pytest.approx(log_ratio, rel=1e-6)
    limits = np.exp([log_ratio - 1.959964 * error, log_ratio + 1.959964 * error])
    assert [found.hazard_lower, found.hazard_upper] == pytest.approx(limits, rel=1e-6)
    assert found.hazard_p == pytest.approx(p, rel=1e-5)
    ours = cox_of_pm_lab(cohort)
    apart = np.log(found.hazard_ratio) - ours["log_hazard_ratio"]
    assert abs(apart) < 1e-3 * error  # lifelines stops Newton's method earlier
    if not late:  # lifelines' transform of time does not know of entries
        assert found.proportional_p == pytest.approx(ours["ph_pvalue"], rel=1e-3)
    assert (found.n_a, found.n_b) == tuple(cohort.obs["arm"].value_counts()[["new", "old"]])
    assert found.events_a == cohort.obs.loc[cohort.obs["arm"] == "new", "event"].sum()
    assert found.reason == "" and found.notes[0].startswith("Exploratory: the groups were chosen with")
    assert [curve.name for curve in found.curves] == ["A: arm = new", "B: not (arm = new)"]


@pytest.mark.parametrize("late", [False, True])
def test_competing_risks_compare_the_hazard_of_the_cause(followed, late):
    cohort = followed(late=late, competing=True)
    found = compare_survival(by_arm(cohort))
    assert {curve.kind for curve in found.curves} == {"incidence"} and len(found.curves) == 6
    expected = pm.survival.log_rank(cohort, "os", "arm")["pvalue"].iloc[0]
    assert found.log_rank_p == pytest.approx(expected, rel=1e-8)
    assert found.rmst_difference is None and "no restricted mean is given" in found.note
    log_ratio, error, _ = cox_by_statsmodels(cohort.obs, late)
    assert np.log(found.hazard_ratio) == pytest.approx(log_ratio, rel=1e-6)
    assert abs(log_ratio - cox_of_pm_lab(cohort)["log_hazard_ratio"]) < 1e-3 * error


def test_few_people_have_no_p_and_no_interval(followed):
    cohort = followed()
    state = state_of(cohort)
    state.set_group("A", list(cohort.obs_names[:9]))
    state.set_group("B", list(cohort.obs_names[9:60]))
    found = compare_survival(state)
    shown = {name: getattr(found, name) for name in vars(found)}
    hidden = [name for name in shown if name.endswith(("_p", "_lower", "_upper"))]
    assert len(hidden) == 8 and all(shown[name] is None for name in hidden)
    assert found.hazard_ratio is not None and found.rmst_difference is not None
    assert found.reason == "No p-values and intervals: group A has fewer than 10 people." == found.notes[0]
    genes = differential_genes(state)
    assert genes[["t", "p", "padj"]].isna().all().all() and genes["difference"].notna().all()
    assert genes.attrs["note"].startswith("No p-values and intervals: group A has fewer than 10 people.")
    state.set_group("A", list(cohort.obs_names[:10]))
    state.set_group("B", list(cohort.obs_names[10:60]))
    assert compare_survival(state).log_rank_p is not None
    assert differential_genes(state)["p"].notna().all()
    state.set_setting("least_count", 20)
    assert compare_survival(state).log_rank_p is None


def test_groups_chosen_by_the_outcome_are_not_tested(followed):
    state = state_of(followed())
    state.set_range("time", 20)
    found = compare_survival(state)
    assert found.log_rank_p is None and found.hazard_p is None and found.hazard_lower is None
    assert found.reason.startswith("No test: the groups were chosen by time, a part of an endpoint")
    state.clear()
    state.set_group("A", {"column": "event", "values": ["1"]})
    assert "chosen by event" in compare_survival(state).reason
    by_hand = state_of(followed())
    events = followed().obs["event"] == 1
    by_hand.set_patients(list(followed().obs_names[events]))
    assert "was it chosen by the outcome?" in compare_survival(by_hand).note


def test_immortal_time_is_not_tested(followed):
    cohort = followed().copy()
    spec = dict(cohort.uns["endpoints"]["os"], measured={"age": 6.0, "expression": 1.0})
    cohort.uns["endpoints"] = {"os": spec}
    state = state_of(cohort)
    state.set_range("age", 60)
    assert "age, which is declared as measured after time zero" in compare_survival(state).reason
    state.clear()
    state.set_gene("GENE0", 6)
    assert "expression, which is declared as measured after time zero" in compare_survival(state).reason
    state.clear()
    state.set_categories("arm", ["new"])
    assert compare_survival(state).reason == ""


def test_groups_by_default_overlap_and_rest(followed, state, plain):
    cohort = followed()
    open_state = state_of(cohort)
    everyone = groups_of(open_state)
    assert everyone.a.all() and not everyone.b.any()
    assert compare_survival(open_state).log_rank_p is None  # nobody is in B
    open_state.set_group("A", {"column": "arm", "values": ["new"]})
    groups = groups_of(open_state)
    assert groups.name_b == "B: everybody else" and (groups.a ^ groups.b).all()
    open_state.set_group("B", list(cohort.obs_names))
    with pytest.raises(DataError, match=f"{int(groups.a.sum())} patients are in A and in B"):
        compare_survival(open_state)
    state.set_categories("er", ["1"])
    unknown = int(plain["er"].isna().sum())
    assert (
        f"Group B, the rest, holds {unknown} people whose er is not known." in compare_survival(state).notes
    )


def test_no_endpoint_no_events_and_one_time():
    names = [f"p{i}" for i in range(40)]
    table = pd.DataFrame({"g": ["a", "b"] * 20, "t": 5.0, "e": [1, 0] * 10 + [0] * 20}, names)
    plain = state_of(table[["g"]])
    plain.set_categories("g", ["a"])
    assert "no endpoint is declared" in compare_survival(plain).reason and not compare_survival(plain).curves
    state = state_of(table, endpoint={"time": "t", "event": "e", "unit": "days"})
    state.set_categories("g", ["a"])
    found = compare_survival(state)
    assert found.hazard_ratio is None and "A group has no event" in found.note
    statistic = 5**2 / (10 / 4 * 30 / 39)  # O - E = 5, hypergeometric variance
    assert found.log_rank_p == pytest.approx(1 - stats.chi2.cdf(statistic, 1))


@pytest.mark.parametrize("events", [2, 9, 10])
def test_few_events_have_no_p_and_no_interval(events):
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"g": ["a"] * 30 + ["b"] * 90, "t": rng.exponential(20, 120) + 1, "e": 0})
    table.loc[[0, *range(30, 29 + events)], "e"] = 1
    table.index = [f"p{i}" for i in range(120)]
    genes = pd.DataFrame(rng.normal(6, 1, (120, 2)), table.index, ["G0", "G1"])
    state = state_of((table, genes), endpoint={"time": "t", "event": "e", "unit": "months"})
    state.set_categories("g", ["a"])
    found = compare_survival(state)
    hidden = [
        getattr(found, name) is None for name in vars(found) if name.endswith(("_p", "_lower", "_upper"))
    ]
    assert all(hidden) == (events < 10) and found.hazard_ratio is not None
    assert ("fewer than 10 events together" in found.reason) == (events < 10)
    state.clear()
    thirds = gene_survival(state, "G0")
    assert (thirds.log_rank_p is None) == (events < 10) == ("fewer than 10 events" in thirds.reason)


def test_no_setting_shows_a_p_of_few_people(followed):
    cohort = followed()
    state = state_of(cohort)
    state.set_setting("least_count", 0)
    state.set_patients(list(cohort.obs_names[:3]))
    assert compare_survival(state).log_rank_p is None
    assert differential_genes(state)["p"].isna().all()
    state.set_patients(list(cohort.obs_names[:24]))
    thirds = gene_survival(state, "GENE1")
    assert thirds.log_rank_p is None and "fewer than 10 people" in thirds.reason


def test_an_early_collapse_under_late_entry_is_said(followed):
    rng = np.random.default_rng(3)
    table = pd.DataFrame({"g": ["a", "b"] * 60, "t": rng.exponential(20, 120) + 10, "e": 1})
    table["entry"] = rng.uniform(5, 9, 120)
    table.loc[0, ["t", "entry"]], table.loc[2, "entry"] = (2.0, 0.5), 0.6  # two at risk, one of them dies
    table.index = [f"p{i}" for i in range(120)]
    state = state_of(table, endpoint={"time": "t", "event": "e", "unit": "months", "entry": "entry"})
    state.set_categories("g", ["a"])
    found = compare_survival(state)
    assert found.curves[0].survival[1] == 0.5
    assert "early on fewer than 10 people were at risk while more had yet to enter" in found.note
    assert "early on" not in compare_survival(by_arm(followed(late=True))).note


@pytest.mark.parametrize("many", [10_000_000, 0], ids=["float64", "float32"])
def test_genes_as_welch_of_scipy(built_in, many, monkeypatch):
    monkeypatch.setattr(group_moments, "MANY", many)
    data = built_in.retyped({})  # nothing kept of the other precision
    state = CohortState(data)
    state.set_categories("response", ["yes"])
    X, mask = data.expression.astype(float), state.mask
    expected = stats.ttest_ind(X[mask], X[~mask], equal_var=False)
    found = differential_genes(state)
    assert found["p"].is_monotonic_increasing
    found = found.set_index("gene").loc[data.genes]
    precise = {"rtol": 1e-9} if many else {"rtol": 1e-4, "atol": 1e-6}
    np.testing.assert_allclose(found["t"], expected.statistic, **precise)
    np.testing.assert_allclose(found["p"], expected.pvalue, **{**precise, "rtol": 10 * precise["rtol"]})
    np.testing.assert_allclose(found["padj"], stats.false_discovery_control(found["p"]))
    np.testing.assert_allclose(found["difference"], X[mask].mean(0) - X[~mask].mean(0), rtol=1e-4, atol=1e-6)
    assert "Exploratory" in found.attrs["note"] and "Nothing is adjusted for" in found.attrs["note"]


@pytest.mark.filterwarnings("ignore:Precision loss", "ignore:After omitting NaNs")  # scipy, of c and e
def test_missing_constant_and_own_genes():
    rng = np.random.default_rng(1)
    X = rng.normal(7, 1, (80, 6)).astype(np.float32)
    X[rng.random(80) < 0.3, 1] = np.nan
    X[5:9] = np.nan  # patients without expression
    X[:, 2] = 3.75  # constant
    X[:40, 3] = 1.25  # constant in A alone
    X[:, 4] = np.nan
    names = [f"p{i}" for i in range(80)]
    expression = pd.DataFrame(X, names, list("abcdef"))
    state = state_of((pd.DataFrame({"g": ["A"] * 40 + ["B"] * 40}, names), expression))
    state.set_categories("g", ["A"])
    for part in (slice(0, 40), slice(0, 30)):  # the rest, and other groups
        state.set_group("A", names[part])
        state.set_group("B", names[40:])
        found = differential_genes(state).set_index("gene")
        expected = stats.ttest_ind(
            X[part].astype(float), X[40:].astype(float), equal_var=False, nan_policy="omit"
        )
        for i, gene in ((0, "a"), (1, "b"), (3, "d"), (5, "f")):
            assert found.loc[gene, "p"] == pytest.approx(expected.pvalue[i], rel=1e-7)
            assert found.loc[gene, "n_a"] == np.isfinite(X[part, i]).sum()
        assert found.loc[["c", "e"], ["t", "p", "padj"]].isna().all().all()
        assert "2 of 6 have no p: they vary in neither group" in found.attrs["note"]
    state.clear()
    state.set_group("B", None)
    state.set_group("A", {"gene": "a", "above_quantile": 0.5})
    found = differential_genes(state).set_index("gene")
    assert np.isnan(found.loc["a", "p"]) and found.loc["f", "p"] > 0
    assert "a: no p, since the groups were chosen by it" in found.attrs["note"]


def test_pathways_and_what_is_not_there(built_in, followed):
    state = CohortState(built_in)
    state.set_categories("response", ["yes"])
    table, mask = built_in.pathways, state.mask
    found = pathway_difference(state).set_index("pathway").loc[table.columns]
    expected = stats.ttest_ind(table[mask], table[~mask], equal_var=False)
    np.testing.assert_allclose(found["p"], expected.pvalue, rtol=1e-4)
    clinical = state_of(pd.DataFrame({"g": ["a", "b"] * 10}, [f"p{i}" for i in range(20)]))
    for function, note in (
        (differential_genes, "No expression"), (pathway_difference, "No pathway"),
        (composition_difference, "No cell types"),
    ):  # fmt: skip
        empty = function(clinical)
        assert empty.empty and note in empty.attrs["note"]


def test_a_pathway_that_chose_the_groups_has_no_p():
    rng = np.random.default_rng(0)
    names = [f"p{i}" for i in range(60)]
    scores = pd.DataFrame(rng.normal(size=(60, 2)), names, ["HYPOXIA", "P53_TARGETS"])
    bulk = anndata.AnnData(rng.normal(size=(60, 3)), obs=scores[["HYPOXIA"]], obsm={"pathways": scores})
    state = state_of(bulk)
    state.set_group("A", {"column": "HYPOXIA", "low": 0.0})
    found = pathway_difference(state).set_index("pathway")
    assert found.loc["HYPOXIA", ["t", "p", "padj"]].isna().all() and found.loc["HYPOXIA", "difference"] > 1
    assert 0 < found.loc["P53_TARGETS", "p"] <= found.loc["P53_TARGETS", "padj"] <= 1
    assert "HYPOXIA: no p, since the groups were chosen by it" in found.attrs["note"]


def test_composition_as_pm_lab_singlecell(with_cells):
    clinical, cells = with_cells
    state = state_of(clinical, cells=cells)
    state.set_categories("response", ["yes"])
    found = composition_difference(state)
    cells = cells.copy()
    cells.obs["response"] = cells.obs["patient"].map(clinical["response"]).to_numpy()
    expected = pm.singlecell.composition(cells, "response")
    assert found["cell_type"].tolist() == expected["cell_type"].tolist()
    columns = {"fraction_yes": "fraction_a", "fraction_no": "fraction_b", "pvalue": "p"}
    same = ["log2_fold_change", "lower", "upper", "padj", *columns]
    np.testing.assert_allclose(found[[columns.get(name, name) for name in same]], expected[same], rtol=1e-9)
    assert (found.attrs["n_a"], found.attrs["n_b"]) == (20, 19)  # one patient has 5 cells
    assert found.iloc[0]["cell_type"] == "B cell" and found.iloc[0]["padj"] < 0.05
    # By hand: the unit is the patient.
    shares = pd.crosstab(cells.obs["patient"], cells.obs["cell_type"], normalize="index").drop("P39")
    assert found.iloc[0]["fraction_a"] == pytest.approx(
        shares.loc[clinical["response"].eq("yes"), "B cell"].mean()
    )
    state.set_group("A", ["P00", "P01", "P02"])
    few = composition_difference(state)
    assert few["p"].isna().all() and few["log2_fold_change"].notna().all()
    assert "group A has fewer than 10 people" in few.attrs["note"]
    state.set_group("A", ["P39"])
    assert composition_difference(state)["log2_fold_change"].isna().all()


def test_a_permuted_outcome_is_found_different_five_times_in_a_hundred(followed):
    """The negative control of the notebook, in the same functions: brushing nothing finds nothing."""
    cohort = followed().copy()
    rng = np.random.default_rng(0)
    called = []
    for _ in range(100):
        order = rng.permutation(len(cohort))
        cohort.obs[["time", "event"]] = cohort.obs[["time", "event"]].to_numpy()[order]
        state = by_arm(cohort)
        called.append(compare_survival(state).log_rank_p < 0.05)
    assert 0.01 <= np.mean(called) <= 0.10
