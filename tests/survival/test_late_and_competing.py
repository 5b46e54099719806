"""Evaluation of risk scores where patients entered late or could have another event first."""

import numpy as np
import pandas as pd
import pytest

from pm_lab.errors import DataError, PmLabWarning
from pm_lab.survival import CoxModel, cox, evaluate_risk, kaplan_meier, plot_decision_curve

TIMES = np.linspace(0.5, 10, 20)
ENTERED = {"time": "time", "event": "event", "unit": "months", "entry": "entry"}
NOT_ENTERED = {key: value for key, value in ENTERED.items() if key != "entry"}
CAUSES = {"time": "time", "event": "cause", "unit": "months", "censored": "none", "of_interest": "relapse"}


def scores(evaluation, model):
    return evaluation.scores.query("model == @model").set_index("metric")


@pytest.fixture(scope="module")
def entered():
    """400 of an exponential model with log hazard x, entering over 8 months: who died before is not seen."""
    rng = np.random.default_rng(0)
    x, n = rng.normal(size=1500), 1500
    death, entry, censoring = rng.exponential(10 * np.exp(-x)), rng.uniform(0, 8, n), rng.uniform(5, 30, n)
    time = np.minimum(death, censoring)
    table = pd.DataFrame({"x": x, "time": time, "event": death <= censoring, "entry": entry})
    return table[time > entry].head(400).rename(index="p{}".format)


@pytest.fixture(scope="module")
def judged(entered):
    """Learnt on the first half, judged on the second; the truth beside it."""
    train, test = entered.iloc[:200], entered.iloc[200:]
    truth = pd.DataFrame(np.exp(-np.outer(np.exp(test["x"]), TIMES / 10)), test.index, TIMES)
    models = {"cox": CoxModel(["x"]).fit(train, ENTERED), "truth": truth, "score": test["x"]}
    return evaluate_risk(models, test, ENTERED, horizon=9, clinical=["x"], train=train, n_boot=25)


def test_c_index_of_late_entries_equals_a_plain_double_loop(entered):
    table = entered.head(60).assign(time=lambda t: t["time"].round() + 1, x=lambda t: t["x"].round(1))
    table["entry"] = table["entry"].round()  # ties of times, of entries with times, and of scores
    concordant = comparable = 0.0
    for i in table.index:
        for j in table.index:
            first, other = table.loc[i], table.loc[j]
            outlives = other["time"] > first["time"] or (
                other["time"] == first["time"] and not other["event"]
            )
            if first["event"] and outlives and other["entry"] < first["time"]:
                comparable += 1
                concordant += (first["x"] > other["x"]) + 0.5 * (first["x"] == other["x"])
    found = evaluate_risk("x", table, ENTERED, horizon=9, n_boot=1)
    assert scores(found, "x").loc["c_index", "estimate"] == pytest.approx(concordant / comparable)
    ignored = evaluate_risk("x", table, NOT_ENTERED, horizon=9, n_boot=1)
    assert abs(scores(ignored, "x").loc["c_index", "estimate"] - concordant / comparable) > 0.005


def test_hazard_ratio_of_late_entries_equals_that_of_lifelines(entered):
    from lifelines import CoxPHFitter

    table = entered.assign(time=lambda t: t["time"].round() + 1, entry=lambda t: t["entry"].round())
    found = evaluate_risk("x", table, ENTERED, horizon=9, n_boot=1)
    z = table["x"] / table["x"].std(ddof=0)
    exact = {"precision": 1e-12, "r_precision": 1e-14}  # by default it stops four digits before
    data = table.drop(columns="x").assign(z=z)
    fit = CoxPHFitter().fit(data, "time", "event", entry_col="entry", fit_options=exact)
    ratio = scores(found, "x").loc["hazard_ratio_per_sd", "estimate"]
    assert ratio == pytest.approx(np.exp(fit.params_["z"]), rel=1e-6)


def test_observed_risk_of_late_entries_equals_kaplan_meier_with_entries(judged, entered):
    from lifelines import KaplanMeierFitter

    train, test = entered.iloc[:200], entered.iloc[200:]
    groups = pd.qcut(test["x"], 5, labels=False)
    table = judged.calibration.query("model == 'truth'").set_index("group")["observed"]
    for group, part in test.groupby(groups):
        fit = KaplanMeierFitter().fit(part["time"], part["event"], entry=part["entry"])
        assert table[group] == pytest.approx(1 - fit.predict(9))
    learnt = KaplanMeierFitter().fit(train["time"], train["event"], entry=train["entry"])
    null = judged.calibration.query("model == 'no information'")["predicted"]
    assert null.tolist() == pytest.approx([1 - learnt.predict(9)])


def test_planted_truth_is_found_among_late_entries(judged, entered):
    slope = scores(judged, "truth").loc["calibration_slope"]
    assert slope["lower"] < 1 < slope["upper"]
    ratio = scores(judged, "score").loc["hazard_ratio_per_sd"]
    assert ratio["lower"] < np.exp(entered["x"].iloc[200:].std()) < ratio["upper"]
    test = entered.iloc[200:]
    whole = judged.calibration.query("model == 'no information'").iloc[0]
    ignored = kaplan_meier(test.drop(columns="entry"), NOT_ENTERED)
    assert whole["lower"] < 0.5915 < whole["upper"]  # by 9 months, over the normal distribution of x
    assert 1 - ignored.query("time <= 9")["survival"].iloc[-1] < whole["lower"]


def test_what_cannot_be_had_with_late_entries_is_left_out_and_said(judged):
    expected = {"c_index", "hazard_ratio_per_sd", "calibration_slope"}
    assert set(scores(judged, "cox").index) == expected
    assert scores(judged, "no information").index.tolist() == ["c_index"]
    assert judged.curves.empty and judged.net_benefit.empty
    assert any("200 of 200 patients entered late" in note and "Brier" in note for note in judged.notes)
    assert any("nobody was under observation before 0." in note for note in judged.notes)
    assert set(judged.differences["metric"]) == {"c_index"}
    with pytest.raises(DataError, match=r"entered late.*net benefit are left out"):
        plot_decision_curve(judged)


def test_entries_at_time_zero_change_nothing(drawn):
    test = drawn.iloc[200:].assign(entry=0.0)
    spec = drawn.attrs["endpoints"]["os"]
    plain = evaluate_risk("x", test, spec, horizon=10, n_boot=2)
    entered = evaluate_risk("x", test, spec | {"entry": "entry"}, horizon=10, n_boot=2)
    pd.testing.assert_frame_equal(plain.scores, entered.scores)


def test_a_group_that_empties_before_others_enter_has_no_observed_risk(entered):
    early = pd.DataFrame({"x": 9.0, "time": 0.5, "event": True, "entry": 0.0}, index=["first"])
    table = pd.concat([early, entered.query("entry > 1").head(199)])
    risk = pd.DataFrame(np.exp(-np.outer(np.exp(table["x"]), TIMES / 10)), table.index, TIMES)
    evaluation = evaluate_risk(risk, table, ENTERED, horizon=9, n_boot=2)
    calibration = evaluation.calibration.query("model == 'model'").set_index("group")
    observed = calibration["observed"]
    assert np.isnan(observed[4]) and np.isnan(calibration.loc[4, "upper"]) and observed.notna().any()
    assert any(f"model: {observed.isna().sum()} groups" in note for note in evaluation.notes)
    for group, part in table.groupby(pd.qcut(table["x"], 5, labels=False)):
        if np.isnan(observed[group]):
            with pytest.raises(DataError, match="nobody was left at risk"):
                kaplan_meier(part, ENTERED)
        else:
            assert kaplan_meier(part, ENTERED)["survival"].iloc[-1] < 1


@pytest.fixture(scope="module")
def causes():
    """Hazards of relapse exp(x) / 20 and of death 1 / 10 a month; followed for 8 to 16 months."""
    rng = np.random.default_rng(2)
    n = 500
    x = rng.normal(size=n)
    relapse, death = rng.exponential(20 * np.exp(-x)), rng.exponential(10, n)
    end = rng.uniform(8, 16, n)
    cause = np.where(relapse < death, "relapse", "death")
    cause[np.minimum(relapse, death) > end] = "none"
    time = np.minimum(np.minimum(relapse, death), end)
    return pd.DataFrame({"x": x, "time": time, "cause": cause}, index=[f"p{i}" for i in range(n)])


@pytest.fixture(scope="module")
def judged_causes(causes):
    train, test = causes.iloc[:250], causes.iloc[250:]
    models = {"truth": planted(test), "cox": CoxModel(["x"]).fit(train, CAUSES), "score": test["x"]}
    return evaluate_risk(models, test, CAUSES, horizon=10, clinical=["x"], train=train, n_boot=25)


def planted(table):
    relapse = np.exp(table["x"].to_numpy())[:, None] / 20
    share = relapse / (relapse + 0.1) * (1 - np.exp(-(relapse + 0.1) * TIMES))
    return pd.DataFrame(1 - share, table.index, TIMES)


def incidence_by_lifelines(part):
    from lifelines import AalenJohansenFitter

    code = part["cause"].map({"none": 0, "relapse": 1, "death": 2})
    return AalenJohansenFitter(calculate_variance=False).fit(part["time"], code, 1).predict(10)


def test_observed_risk_among_causes_equals_aalen_johansen(judged_causes, causes):
    test = causes.iloc[250:]
    groups = pd.qcut(test["x"], 5, labels=False)
    table = judged_causes.calibration.query("model == 'truth'").set_index("group")["observed"]
    for group, part in test.groupby(groups):
        assert table[group] == pytest.approx(incidence_by_lifelines(part), abs=1e-6)
    everyone, risk = incidence_by_lifelines(test), 1 - planted(test)[10.0]
    ratio = scores(judged_causes, "truth").loc["observed_over_expected", "estimate"]
    assert ratio == pytest.approx(everyone / risk.mean(), rel=1e-5)
    treated = risk >= 0.3
    happened = incidence_by_lifelines(test[treated])
    by_hand = treated.mean() * (happened - (1 - happened) * 3 / 7)
    benefit = judged_causes.net_benefit.set_index(["model", "threshold"])["net_benefit"]
    assert benefit["truth", 0.3] == pytest.approx(by_hand, abs=1e-6)
    assert benefit["treat all", 0.3] == pytest.approx(everyone - (1 - everyone) * 3 / 7, abs=1e-6)


def test_measures_of_ranking_are_cause_specific(judged_causes, causes):
    from sksurv.metrics import concordance_index_censored

    test = causes.iloc[250:]
    expected = concordance_index_censored(test["cause"] == "relapse", test["time"], test["x"])[0]
    assert scores(judged_causes, "score").loc["c_index", "estimate"] == pytest.approx(expected)
    ratio = scores(judged_causes, "score").loc["hazard_ratio_per_sd"]
    assert ratio["lower"] < np.exp(test["x"].std()) < ratio["upper"]
    assert not (judged_causes.scores["metric"] == "calibration_slope").any()
    assert any("have a competing event" in note for note in judged_causes.notes)


def test_brier_score_among_causes_by_hand(causes):
    seen = causes[causes["cause"] != "none"]  # nobody is censored: the plain mean of squares
    with pytest.warns(PmLabWarning, match="nobody is coded 'none'"):
        evaluation = evaluate_risk(planted(seen), seen, CAUSES, horizon=7, n_boot=1)
    found = evaluation.curves.query("model == 'model' and metric == 'brier'").set_index("time")["estimate"]
    relapsed = (seen["cause"] == "relapse") & (seen["time"] <= 7)
    assert found[7.0] == pytest.approx(((relapsed - (1 - planted(seen)[7.0])) ** 2).mean())


def test_planted_shares_are_right_and_cause_specific_risks_are_not(judged_causes):
    ratio = judged_causes.scores.query("metric == 'observed_over_expected'").set_index("model")
    for model in ("truth", "clinical only", "no information"):
        assert ratio.loc[model, "lower"] < 1 < ratio.loc[model, "upper"]
    assert ratio.loc["cox", "upper"] < 0.9  # as if nobody died
    assert any(note.startswith("cox: a Cox model") for note in judged_causes.notes)
    predicted = judged_causes.calibration.set_index(["model", "group"])["predicted"]
    assert np.abs(predicted["clinical only"] - predicted["truth"]).max() < 0.08
    assert np.abs(predicted["cox"] - predicted["truth"]).max() > 0.2
    brier = judged_causes.scores.query("metric == 'integrated_brier'").set_index("model")["estimate"]
    assert brier["truth"] < brier["no information"] and brier["truth"] < brier["cox"]


def test_cohort_and_adata_by_keyword(cohort):
    for one in (cohort, cohort.bulk):
        assert len(kaplan_meier(one, endpoint="os", groupby="arm"))
        assert cox(one, covariates=["age"], endpoint="os").index.tolist() == ["age"]
        found = evaluate_risk({"years": "age"}, cohort=one, endpoint="os", n_boot=1)
        assert found.endpoint == "os" and found.n == 120


def test_a_resample_may_miss_a_group(drawn):
    few = drawn.iloc[200:212]
    risk = pd.DataFrame(np.exp(-np.outer(np.exp(few["x"]), TIMES / 10)), few.index, TIMES)
    with pytest.warns(PmLabWarning, match="events only"):
        table = evaluate_risk(risk, few.drop(columns="age"), "os", horizon=8, n_boot=60).calibration
    assert table.query("model == 'model'")["n"].tolist() == [3, 2, 2, 2, 3]
