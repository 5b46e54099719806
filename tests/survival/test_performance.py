"""Evaluation of risk scores: against scikit-survival and hand-made numbers, planted truth and noise."""

import numpy as np
import pandas as pd
import pytest

import pm_lab as pm
from pm_lab.errors import DataError, DesignError, PmLabWarning
from pm_lab.survival import CoxModel, evaluate_risk


def score(evaluation, model, metric, column="estimate"):
    table = evaluation.scores.set_index(["model", "metric"])
    return table.loc[(model, metric), column]


@pytest.fixture(scope="module")
def planted(drawn):
    """Judged on the second half: a model learnt on the first, the truth, and one twice too sure of it."""
    train, test = drawn.iloc[:200], drawn.iloc[200:]
    times = np.linspace(0.5, 12, 24)
    sure = np.exp(-np.outer(np.exp(2 * test["x"]), times / 10))
    models = {
        "cox": CoxModel(["x"]).fit(train, "os"),
        "truth": pd.DataFrame(np.exp(-np.outer(np.exp(test["x"]), times / 10)), test.index, times),
        "too sure": pd.DataFrame(sure, test.index, times),
        "noise": test["noise"],
    }
    return evaluate_risk(models, test, "os", horizon=10, clinical=["age"], train=train, n_boot=25)


def test_estimates_equal_those_of_scikit_survival(planted, drawn):
    from sksurv import metrics
    from sksurv.util import Surv

    train, test = drawn.iloc[:200], drawn.iloc[200:]
    model, y = CoxModel(["x"]).fit(train, "os"), Surv.from_dataframe("event", "time", test)
    risk = model.predict(test).to_numpy()
    curve = planted.curves.query("model == 'cox' and metric == 'auc'")
    times = curve["time"].to_numpy()
    survival = model.predict_survival(test, times).to_numpy()
    auc, mean = metrics.cumulative_dynamic_auc(y, y, risk, times)
    expected = {
        "c_index": metrics.concordance_index_censored(test["event"], test["time"], risk)[0],
        "c_index_uno": metrics.concordance_index_ipcw(y, y, risk, tau=10)[0],
        "auc": mean,
        "auc_at_horizon": auc[-1],
        "integrated_brier": metrics.integrated_brier_score(y, y, survival, times),
    }
    for metric, value in expected.items():
        assert score(planted, "cox", metric) == pytest.approx(value)
    assert curve["estimate"].tolist() == pytest.approx(auc.tolist())
    assert times[-1] == planted.horizon == 10 and planted.n == 200


def test_slopes_equal_those_of_lifelines(drawn):
    from lifelines import CoxPHFitter

    test = drawn.iloc[200:].assign(time=lambda t: t["time"].round().clip(lower=1))  # ties
    evaluation = evaluate_risk("noise", test.drop(columns="age"), "os", horizon=10, n_boot=1)
    z = test["noise"] / test["noise"].std(ddof=0)
    fit = CoxPHFitter().fit(test[["time", "event"]].assign(z=z), "time", "event")
    found = score(evaluation, "noise", "hazard_ratio_per_sd")
    assert found == pytest.approx(np.exp(fit.params_["z"]), rel=1e-5)


def test_observed_risk_and_net_benefit_equal_kaplan_meier(planted, drawn):
    from lifelines import KaplanMeierFitter

    train, test = drawn.iloc[:200], drawn.iloc[200:]
    risk = 1 - CoxModel(["x"]).fit(train, "os").predict_survival(test, [10])[10.0]
    groups = pd.qcut(risk, 5, labels=False)
    table = planted.calibration.query("model == 'cox'")
    for group, row in table.set_index("group").iterrows():
        part = test[groups == group]
        fit = KaplanMeierFitter().fit(part["time"], part["event"])
        assert row["n"] == len(part) and row["predicted"] == pytest.approx(risk[groups == group].mean())
        assert row["observed"] == pytest.approx(1 - fit.predict(10))
        assert row["lower"] <= row["observed"] <= row["upper"]
    treated = test[risk >= 0.5]
    free = KaplanMeierFitter().fit(treated["time"], treated["event"]).predict(10)
    by_hand = len(treated) / 200 * ((1 - free) - free * 1)  # odds of 50 % are 1
    benefit = planted.net_benefit.set_index(["model", "threshold"])["net_benefit"]
    assert benefit["cox", 0.5] == pytest.approx(by_hand)
    everyone = 1 - KaplanMeierFitter().fit(test["time"], test["event"]).predict(10)
    assert benefit["treat all", 0.2] == pytest.approx(everyone - (1 - everyone) * 0.25)
    assert (benefit["treat none"] == 0).all()


def test_planted_truth_is_found(planted):
    assert score(planted, "cox", "c_index", "lower") > 0.65
    for metric in ("calibration_slope", "observed_over_expected"):
        assert score(planted, "truth", metric, "lower") < 1 < score(planted, "truth", metric, "upper")
    assert score(planted, "too sure", "calibration_slope", "upper") < 0.7
    assert score(planted, "too sure", "integrated_brier") > score(planted, "truth", "integrated_brier")
    assert score(planted, "cox", "hazard_ratio_per_sd", "lower") > 2  # planted: e


def test_noise_and_references_are_at_one_half(planted):
    for name in ("noise", "age", "clinical only"):
        assert score(planted, name, "c_index", "lower") < 0.5 < score(planted, name, "c_index", "upper")
    assert score(planted, "no information", "c_index") == 0.5
    assert "integrated_brier" not in planted.scores.query("model == 'noise'")["metric"].tolist()
    assert any("noise: scores without probabilities" in note for note in planted.notes)
    gain = planted.differences.set_index(["model", "reference", "metric"])
    assert gain.loc[("cox", "no information", "c_index"), "lower"] > 0.1
    assert gain.loc[("cox", "no information", "integrated_brier"), "upper"] < 0
    low, high = gain.loc[("noise", "age", "c_index"), ["lower", "upper"]]
    assert low < 0 < high
    assert ("noise", "cox", "c_index") in gain.index and ("cox", "noise", "c_index") not in gain.index


def test_seed_and_order_of_patients(drawn):
    test = drawn.iloc[200:].drop(columns="age")
    first = evaluate_risk(test["x"], test, "os", horizon=10, n_boot=5, seed=1)
    again = evaluate_risk(test["x"][::-1], test, "os", horizon=10, n_boot=5, seed=1)
    pd.testing.assert_frame_equal(first.scores, again.scores)
    other = evaluate_risk(test["x"], test, "os", horizon=10, n_boot=5, seed=2)
    assert score(first, "x", "c_index") == score(other, "x", "c_index")
    assert score(first, "x", "c_index", "lower") != score(other, "x", "c_index", "lower")


def test_references_are_cross_fitted_within_the_cohort(breast):
    """Clinical C-index of GSE7390 in five folds: .610 ± .077 of scikit-survival's Cox (seed not known)."""
    evaluation = evaluate_risk("size", breast, "dmfs", clinical=["age", "er", "grade", "size"], n_boot=2)
    fitted = CoxModel(["age", "er", "grade", "size"])
    apparent = fitted.fit(breast, "dmfs").table_.attrs["c_index"]
    assert 0.53 < score(evaluation, "clinical only", "c_index") < apparent
    assert evaluation.unit == "days" and evaluation.events == 51
    assert 4000 < evaluation.horizon < 6000  # the median follow-up


def test_apparent_performance_is_warned_of(drawn):
    model = CoxModel(["x"]).fit(drawn.iloc[:200], "os")
    with pytest.warns(PmLabWarning, match="model: 100 of 200 patients are those it was fitted to"):
        evaluate_risk(model, drawn.iloc[100:300], "os", n_boot=1)
    with pytest.raises(DesignError, match="100 patients are in train and in the cohort"):
        evaluate_risk("x", drawn.iloc[100:300], "os", train=drawn.iloc[:200])


def test_scikit_survival_models_are_taken(breast):
    from sksurv.linear_model import CoxPHSurvivalAnalysis
    from sksurv.util import Surv

    x, y = breast.obs[["age", "size"]], Surv.from_dataframe("dmfs_event", "dmfs_time", breast.obs)
    fitted = CoxPHSurvivalAnalysis(ties="efron").fit(x.iloc[:150], y[:150])
    evaluation = evaluate_risk(fitted, breast[150:], "dmfs", horizon=3000, n_boot=2, train=breast[:150])
    ours = CoxModel(["age", "size"]).fit(breast[:150], "dmfs")
    same = evaluate_risk(ours, breast[150:], "dmfs", horizon=3000, n_boot=2, train=breast[:150])
    pd.testing.assert_frame_equal(evaluation.scores, same.scores, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (lambda risk: risk.iloc[1:], DataError, r"1 of 200 patients have no finite score \(p200\)"),
        (lambda risk: risk.where(risk < 2), DataError, "have no finite score"),
        (lambda risk: pd.concat([risk, risk.head(2)]), DataError, r"2 patients have several scores"),
        (lambda risk: risk.to_numpy(), DataError, "may be in another order"),
        (lambda risk: risk.astype(str), DataError, "a risk score is a number"),
        (lambda risk: object(), DataError, "pass a fitted model"),
        (lambda risk: "nosuch", DataError, "no column 'nosuch'"),
        (lambda risk: {"age": risk}, DataError, r"models are called \['age'\]"),
        (lambda risk: pd.DataFrame({5.0: 0.5, 10: 0.6}, risk.index), DataError, "survival rises with time"),
        (lambda risk: pd.DataFrame({5.0: 50, 10: 40}, risk.index), DataError, "not within 0 and 1"),
        (lambda risk: pd.DataFrame({5.0: 0.5}, risk.index), DataError, "end at 5, before horizon=10"),
        (lambda risk: pd.DataFrame({10: 0.5}, risk.index[1:]), DataError, "1 of 200 patients have no row"),
    ],
)
def test_scores_that_cannot_be_judged(drawn, change, kind, message):
    test = drawn.iloc[200:]
    with pytest.raises(kind, match=message):
        evaluate_risk(change(test["x"]), test, "os", horizon=10)


def test_settings_that_cannot_be(drawn):
    with pytest.raises(DataError, match="horizon=99 months: it must lie between"):
        evaluate_risk("x", drawn, "os", horizon=99)
    with pytest.raises(DataError, match="thresholds are risks between 0 and 1"):
        evaluate_risk("x", drawn, "os", thresholds=[20])
    few = drawn.iloc[:30].assign(event=np.arange(30) < 6)
    with pytest.warns(PmLabWarning, match="6 events only"):
        evaluate_risk("x", few, "os", horizon=5, n_boot=2)


def test_constant_risk_has_no_information(drawn):
    evaluation = evaluate_risk(pd.Series(1.0, drawn.index), drawn.drop(columns="age"), "os", n_boot=2)
    assert any("no reference 'age'" in note for note in evaluation.notes)
    assert score(evaluation, "model", "c_index") == 0.5
    assert pm.survival.RiskEvaluation is type(evaluation)
