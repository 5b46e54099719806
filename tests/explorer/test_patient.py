"""One patient against the cohort: places by hand, similar patients without their outcome, drugs, risk."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import pm_lab as pm
from pm_lab.errors import DataError
from pm_lab.explorer import (
    CohortData,
    CohortState,
    alterations,
    gene_percentiles,
    pathway_percentiles,
    patient_cells,
    patient_drugs,
    patient_risk,
    patient_summary,
    similar_patients,
    timeline,
)
from pm_lab.explorer.patient_figures import timeline_figure

SIX = [f"S{i}" for i in range(6)]


def state_of(cohort, patient=None, **options):
    state = CohortState(CohortData.open(cohort, **options))
    state.select_patient(patient)
    return state


def six():
    """Six patients whose places can be said by hand."""
    return pd.DataFrame(
        {
            "age": [30.0, 40, 40, 60, np.nan, 80],
            "grade": ["low", "low", "high", None, "high", "high"],
            "nothing": [None] * 6,
            "mutation_TP53": [True, False, None, False, True, True],
            "mutation_KRAS": ["wild type", "p.G12D", "wild type", "p.G12V", "wild type", "wild type"],
            "months": [5.0, 7, 9, 11, 13, 15],
            "died": [1, 0, 1, 0, 1, 0],
        },
        SIX,
    )


OS = {"time": "months", "event": "died", "unit": "months"}


def test_summary_of_six_patients():
    state = state_of(six(), "S1", endpoint=OS)
    found = patient_summary(state).set_index("column")
    assert found.loc["age", "value"] == 40 and found.loc["age", "n_known"] == 5
    assert (
        found.loc["age", "percentile"] == 100 * (1 + 2 / 2) / 5
    )  # one below, two equal, the patient included
    assert found.loc["grade", "value"] == "low" and found.loc["grade", "share"] == 100 * 2 / 5
    assert found.loc["nothing", "value"] is None and found.loc["nothing", "n_known"] == 0
    assert "months" not in found.index and "died" not in found.index
    unknown = patient_summary(state, "S4").set_index("column")
    assert unknown.loc["age", "value"] is None and np.isnan(unknown.loc["age", "percentile"])
    with pytest.raises(DataError, match="there is no patient 'S9'"):
        patient_summary(state, "S9")
    state.select_patient(None)
    with pytest.raises(DataError, match="nobody is looked at"):
        patient_summary(state)


def test_percentiles_are_mid_ranks(built_in):
    state = CohortState(built_in)
    genes = gene_percentiles(state, "P007").set_index("gene")
    X = pd.DataFrame(built_in.expression, built_in.patients, built_in.genes)
    expected = [stats.percentileofscore(X[gene], X.loc["P007", gene], "mean") for gene in X.columns[:50]]
    n = len(X)
    ranks = (X.rank().loc["P007"] - 0.5) / n * 100
    np.testing.assert_allclose(genes["percentile"], ranks, rtol=1e-9)
    np.testing.assert_allclose(genes["percentile"][:50], expected, rtol=1e-9)
    assert (genes["n_known"] == n).all()
    two = gene_percentiles(state, "P007", genes=["ERBB2", "CD3E"])
    assert two["percentile"].tolist() == genes.loc[["ERBB2", "CD3E"], "percentile"].tolist()
    pathways = pathway_percentiles(state, "P007").set_index("pathway")
    ranks = (built_in.pathways.rank().loc["P007"] - 0.5) / n * 100
    np.testing.assert_allclose(pathways["percentile"], ranks[pathways.index], rtol=1e-9)
    clinical = state_of(six(), "S0")
    assert gene_percentiles(clinical).empty and pathway_percentiles(clinical).empty


def test_alterations_of_six_patients():
    found = alterations(state_of(six(), "S1")).set_index("alteration")
    assert found.loc["KRAS", "altered"] is True and found.loc["KRAS", "value"] == "p.G12D"
    assert found.loc["TP53", "altered"] is False and found.loc["TP53", "frequency"] == 100 * 3 / 5
    assert found.loc["KRAS", "frequency"] == pytest.approx(100 * 2 / 6) and set(found["kind"]) == {"mutation"}
    assert alterations(state_of(six(), "S2")).set_index("alteration").loc["TP53", "altered"] is None
    assert alterations(state_of(six()[["age"]], "S0")).empty


def test_timeline_from_endpoints_and_dates():
    table = six().assign(
        entry=[0.0, 1, 0, 0, 0, 0],
        diagnosis=pd.to_datetime(["2020-01-01"] * 6),
        biopsy=pd.to_datetime(["2020-01-31", None, "2020-01-31", None, None, None]),
    )
    endpoint = OS | {"entry": "entry", "start": "diagnosis", "measured": {"age": 0.5}}
    with pytest.warns(pm.errors.PmLabWarning, match="may identify"):
        state = state_of(table, endpoint=endpoint)
    found = timeline(state, "S0")
    assert found["kind"].tolist() == ["start", "date", "measured", "date", "event"]
    assert found.set_index("what").loc["biopsy", "days"] == 30
    death = found[found["kind"] == "event"].iloc[0]
    assert (
        death["time"] == 5 and death["unit"] == "months" and death["days"] == pytest.approx(5 * 365.25 / 12)
    )
    other = timeline(state, "S1")
    assert other["kind"].tolist() == ["start", "date", "measured", "entry", "censored"]
    assert other.iloc[-1]["what"] == "endpoint: end of follow-up"
    assert timeline(state_of(six()[["age"]], "S0")).empty


@pytest.mark.parametrize("endpoint", [OS, OS | {"start": "diagnosis"}], ids=["none", "of some"])
def test_dates_without_a_known_time_zero_stand_apart(endpoint):
    table = six().assign(
        diagnosis=pd.to_datetime([None] + ["2020-01-01"] * 5),
        visit=pd.to_datetime(["2020-06-30"] * 6),
        biopsy=pd.to_datetime(["2020-01-31"] * 6),
    )
    with pytest.warns(pm.errors.PmLabWarning, match="may identify"):
        state = state_of(table, "S0", endpoint=endpoint)
    found = timeline(state)
    assert found["kind"].tolist() == ["start", "event", "date", "date"]
    dates = found[found["kind"] == "date"]
    assert dates["what"].tolist() == ["biopsy", "visit"] and dates["date"].notna().all()
    assert dates[["time", "days"]].isna().all().all() and dates["unit"].isna().all()
    assert "Dates stand apart" in found.attrs["note"]
    figure = timeline_figure(found)
    assert "apart: biopsy 2020-01-31, visit 2020-06-30" in figure.get_label()
    assert "nan" not in figure.get_label()
    placed = timeline(state, "S1")
    assert (placed.attrs["note"] == "") == ("start" in endpoint)
    with pytest.warns(pm.errors.PmLabWarning, match="may identify"):
        alone = timeline(state_of(table.drop(columns=["months", "died"]), "S0"))
    assert alone["days"].tolist() == [0, 151] and alone.attrs["note"] == ""


def test_competing_event_is_named_in_the_timeline(followed):
    cohort = followed(competing=True)
    other = cohort.obs_names[cohort.obs["event"] == 2][0]
    last = timeline(state_of(cohort), other).iloc[-1]
    assert (last["kind"], last["what"]) == ("competing event", "os: 2")


def test_gower_by_hand():
    state = state_of(six(), "S1", endpoint=OS)
    found = similar_patients(state, columns=["age", "grade"]).set_index("patient")
    # age: |x - 40| / 50; grade: 0 or 1; what is unknown of either is left out.
    expected = {"S0": 0.1, "S2": 0.5, "S3": 0.4, "S4": 1.0, "S5": 0.9}
    assert found["distance"].to_dict() == pytest.approx(expected)
    assert found["n_compared"].to_dict() == {"S0": 2, "S3": 1, "S2": 2, "S5": 2, "S4": 1}
    assert list(found.index) == ["S0", "S3", "S2", "S5", "S4"]
    assert found["time"].to_dict() == six()["months"].drop("S1").to_dict()
    assert found["event"].tolist() == [True, False, True, False, True]
    assert found.attrs["distance"] == "Gower's distance on age, grade" and found.attrs["unit"] == "months"
    assert "do not predict" in found.attrs["note"]
    assert len(similar_patients(state, n=2)) == 2
    assert similar_patients(state).attrs["distance"] == "Gower's distance on age, grade, nothing"


def test_expression_by_principal_components(followed):
    cohort = followed()
    found = similar_patients(state_of(cohort), "F000", n=299)
    X = cohort.X.astype(float)
    standard = (X - X.mean(0)) / X.std(0, ddof=1)
    by_hand = np.sqrt(((standard - standard[0]) ** 2).sum(axis=1))  # five genes: all components, a rotation
    expected = pd.Series(by_hand, cohort.obs_names)[found["patient"]]
    np.testing.assert_allclose(found["distance"], expected, rtol=1e-4)
    assert found["distance"].is_monotonic_increasing and "F000" not in set(found["patient"])
    assert "5 principal components of the 5 most variable genes" in found.attrs["distance"]
    both = similar_patients(state_of(cohort), "F000", n=299, columns=["expression", "age"])
    age = (cohort.obs["age"] - cohort.obs["age"].iloc[0]).abs() / np.ptp(cohort.obs["age"])
    mixed = (by_hand / by_hand.max() + age) / 2
    np.testing.assert_allclose(both["distance"], mixed[both["patient"]], rtol=1e-4)


@pytest.mark.parametrize("columns", [None, ["age", "arm"], ["expression", "age"]])
def test_the_outcome_never_enters_the_distance(followed, columns):
    """With times and events of other patients the same patients are similar, at the same distance."""
    cohort = followed().copy()
    before = similar_patients(state_of(cohort), "F010", columns=columns)
    order = np.random.default_rng(1).permutation(len(cohort))
    cohort.obs[["time", "event"]] = cohort.obs[["time", "event"]].to_numpy()[order]
    after = similar_patients(state_of(cohort), "F010", columns=columns)
    same = ["patient", "distance"]
    pd.testing.assert_frame_equal(before[same], after[same])
    assert before["time"].tolist() != after["time"].tolist()
    for column in ("time", "event"):
        with pytest.raises(DataError, match=f"'{column}' is part of an endpoint, or known only after"):
            similar_patients(state_of(cohort), "F010", columns=["age", column])


def test_what_cannot_be_compared(followed):
    cohort = followed().copy()
    late = dict(cohort.uns["endpoints"]["os"], measured={"age": 3.0})
    cohort.uns["endpoints"] = {"os": late}
    with pytest.raises(DataError, match="'age' is part of an endpoint, or known only after"):
        similar_patients(state_of(cohort), "F000", columns=["age"])
    with pytest.raises(DataError, match="there is no expression"):
        similar_patients(state_of(six()), "S0", columns=["expression"])
    with pytest.raises(DataError, match="columns is empty"):
        similar_patients(state_of(six()), "S0", columns=[])
    for n in (-1, 0, 2.5):
        with pytest.raises(DataError, match=f"n={n}: a whole number"):
            similar_patients(state_of(six()), "S0", n=n)
    alone = similar_patients(state_of(six().iloc[:1]), "S0")
    assert alone.empty and list(alone.columns[:2]) == ["patient", "distance"]
    X = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    X[2] = np.nan
    pair = (six()[["age"]], pd.DataFrame(X, SIX, list("abcd")))
    assert "S2" not in set(similar_patients(state_of(pair), "S0")["patient"])
    assert similar_patients(state_of(pair), "S2").empty


def test_cells_of_a_patient(with_cells):
    clinical, cells = with_cells
    state = state_of(clinical, "P03", cells=cells)
    found = patient_cells(state)
    assert found.rows.tolist() == np.flatnonzero(cells.obs["patient"] == "P03").tolist()
    assert found.embedding.shape == (len(cells), 2) and not found.note
    shares = pd.crosstab(cells.obs["patient"], cells.obs["cell_type"], normalize="index").drop("P39")
    types = found.types.set_index("cell_type")
    np.testing.assert_allclose(types["fraction"], shares.loc["P03", types.index])
    np.testing.assert_allclose(types["median"], shares[types.index].median())
    np.testing.assert_allclose(types["percentile"], (shares.rank().loc["P03", types.index] - 0.5) / 39 * 100)
    assert (types["n_known"] == 39).all()
    few = patient_cells(state, "P39")
    assert few.note == "5 cells: at least 20 are needed for a composition." and len(few.rows) == 5
    assert few.types["percentile"].isna().all()
    none = patient_cells(state_of(six(), "S0"))
    assert none.types.empty and len(none.rows) == 0 and "No cell types" in none.note


def test_drugs_are_a_research_ranking():
    predictions = pd.DataFrame(
        {
            "patient": ["S1"] * 3 + ["S0"],
            "drug": ["A", "B", "C", "A"],
            "rank": [1, 2, 3, 1],
            "ln_ic50": [-3.0, 2.0, 0.5, 1.0],
            "lower": [-4.0, 1, 0, 0],
            "upper": [-2.0, 3, 1, 2],
            "percentile": [60.0, 5, 90, 50],
            "out_of_distribution": [True, True, True, False],
        }
    )
    state = state_of(six(), "S1", predictions=predictions)
    found = patient_drugs(state)
    assert found["drug"].tolist() == ["B", "A", "C"] and found["rank"].tolist() == [1, 2, 3]
    assert {"ln_ic50", "lower", "upper", "percentile", "out_of_distribution"} <= set(found)
    assert (
        "A research ranking" in found.attrs["note"]
        and "99 % of these are from each other" in found.attrs["note"]
    )
    assert "extrapolated" not in found.attrs["note"]
    assert "recommend" not in found.attrs["note"]
    assert "99 %" not in patient_drugs(state, "S0").attrs["note"]
    assert patient_drugs(state, "S2").attrs["note"] == "There are no predictions for this patient."
    plain = state_of(six(), "S1", predictions=predictions[["patient", "drug", "ln_ic50"]])
    assert "two drugs cannot be compared" in patient_drugs(plain).attrs["note"]
    assert patient_drugs(state_of(six(), "S1")).empty


@pytest.mark.parametrize("competing", [False, True])
def test_risk_and_what_was_observed(followed, competing):
    cohort = followed(competing=competing)
    risk = pd.Series(np.random.default_rng(2).random(300), cohort.obs_names, name="panel")
    state = state_of(cohort, "F000")
    found = patient_risk(state, risk, horizon=15.0)
    assert found.percentile == pytest.approx(100 * (risk.rank()["F000"] - 0.5) / 300)
    fifth = pd.qcut(risk, 5, labels=False)
    group = cohort[(fifth == fifth["F000"]).to_numpy()].copy()
    assert found.n == len(group) == 60 and found.predicted == pytest.approx(risk[group.obs_names].mean())
    if competing:
        table = pm.survival.cumulative_incidence(group, "os").query("cause == '1' and time <= 15").iloc[-1]
        expected = table[["incidence", "lower", "upper"]].tolist()
    else:
        table = pm.survival.kaplan_meier(group, "os").query("time <= 15").iloc[-1]
        expected = [1 - table["survival"], 1 - table["upper"], 1 - table["lower"]]
    assert [found.observed, found.lower, found.upper] == pytest.approx(expected, rel=1e-6)
    assert "out of fold" in found.note


def test_risk_that_says_nothing(followed):
    state = state_of(followed(), "F000")
    risk = pd.Series(np.arange(40.0), followed().obs_names[:40])
    few = patient_risk(state, risk)
    assert few.observed is None and "fewer than 10 people" in few.note and few.n_known == 40
    with pytest.raises(DataError, match="there is no prediction for this patient"):
        patient_risk(state, risk, "F200")
    with pytest.raises(DataError, match="'time' is part of an endpoint"):
        patient_risk(state, "time")
    assert patient_risk(state, "age").n == 60
    assert "no endpoint is declared" in patient_risk(state_of(six(), "S0"), "age").note
