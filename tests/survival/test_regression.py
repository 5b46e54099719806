"""Cox regression: R's coefficients, hand-made examples, planted hazards, and designs that it refuses."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar

import pm_lab as pm
from pm_lab.errors import DataError, DesignError, PmLabWarning
from pm_lab.survival import CoxModel, cox

ROSSI = ["fin", "age", "race", "wexp", "mar", "paro", "prio"]
LATE = {"time": "time", "event": "cause", "unit": "years", "censored": 0, "entry": "entry"}

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{text}:pm_lab.errors.PmLabWarning")
    for text in (".*events for", "hazards are not proportional for IL7R")
]


@pytest.fixture(scope="module")
def of_rossi(rossi):
    with pytest.warns(PmLabWarning, match=r"not proportional for age \(p = 0.0009\), wexp"):
        return cox(rossi, ROSSI, "arrest")


def test_rossi_equals_r(of_rossi):
    """coxph of R, Efron's ties (Fox and Weisberg, Cox regression in R; Allison's recidivism data)."""
    published = [-0.379, -0.057, 0.314, -0.150, -0.434, -0.085, 0.091]
    assert of_rossi["log_hazard_ratio"].tolist() == pytest.approx(published, abs=5e-4)
    errors = [0.191, 0.022, 0.308, 0.212, 0.382, 0.196, 0.029]
    assert of_rossi["standard_error"].tolist() == pytest.approx(errors, abs=6e-4)
    assert of_rossi.attrs["c_index"] == pytest.approx(0.640, abs=5e-4)
    assert (of_rossi.attrs["n"], of_rossi.attrs["events"]) == (432, 114)
    assert of_rossi.loc["prio", "hazard_ratio"] == pytest.approx(1.096, abs=5e-4)
    assert of_rossi.loc["fin", ["lower", "upper"]].tolist() == pytest.approx([0.470, 0.996], abs=6e-4)


def test_hazard_ratio_per_sd_and_proportionality(of_rossi, rossi):
    sd = rossi["age"].std()
    assert of_rossi.loc["age", "hazard_ratio_per_sd"] == pytest.approx(of_rossi["hazard_ratio"]["age"] ** sd)
    assert np.isnan(of_rossi.loc["fin", "hazard_ratio_per_sd"])  # two values
    # lifelines' documentation, "Testing the proportional hazard assumptions", transform km
    assert of_rossi.loc[["age", "wexp"], "ph_statistic"].tolist() == pytest.approx([11.03, 7.48], abs=0.01)


def test_left_truncated_likelihood_by_hand(late):
    def minus_log_likelihood(beta):
        total = 0.0
        for _, patient in late[late["cause"] > 0].iterrows():
            at_risk = late[(late["entry"] < patient["time"]) & (late["time"] >= patient["time"])]
            total += beta * patient["x"] - np.log(np.exp(beta * at_risk["x"]).sum())
        return -total

    best = minimize_scalar(minus_log_likelihood)
    table = cox(late, ["x"], LATE)
    assert table.loc["x", "log_hazard_ratio"] == pytest.approx(best.x, abs=1e-5)
    assert table.attrs["log_likelihood"] == pytest.approx(-best.fun)
    without = cox(late, ["x"], {key: value for key, value in LATE.items() if key != "entry"})
    assert abs(without.loc["x", "log_hazard_ratio"] - best.x) > 0.1


def test_left_truncated_baseline_by_hand(late):
    model = CoxModel(["x"]).fit(late, LATE)
    weight = np.exp(model.coefficients_["x"] * (late["x"] - late["x"].mean()))
    hazard, hazards = 0.0, {}
    for t in (2, 4, 5, 6, 8):
        hazard += 1 / weight[(late["entry"] < t) & (late["time"] >= t)].sum()
        hazards[t] = hazard
    found = model.predict_survival(late, [1, 2, 5.5, 8]).loc["b"]
    expected = np.exp(-weight["b"] * np.array([0, hazards[2], hazards[5], hazards[8]]))
    assert found.tolist() == pytest.approx(expected)


def test_check_of_proportionality_with_entries_agrees_with_lifelines_where_nobody_is_late(rossi):
    entered = rossi.assign(zero=0.0)
    spec = {"time": "week", "event": "arrest", "unit": "weeks"}
    with pytest.warns(PmLabWarning):
        plain = cox(entered, ["fin", "age", "prio"], spec)
    with pytest.warns(PmLabWarning):
        late = cox(entered, ["fin", "age", "prio"], spec | {"entry": "zero"})
    assert late["ph_statistic"].tolist() == pytest.approx(plain["ph_statistic"].tolist(), rel=1e-6, abs=1e-8)
    assert np.isnan(late.attrs["c_index"])


def test_hazards_that_cross_are_noticed():
    rng = np.random.default_rng(1)
    group = np.repeat([0, 1], 200)
    time = np.where(group == 0, rng.weibull(0.6, 400), rng.weibull(3.0, 400)) * 10
    table = pd.DataFrame({"time": time, "event": True, "group": group})
    spec = {"time": "time", "event": "event", "unit": "months"}
    with pytest.warns(PmLabWarning, match="hazards are not proportional for group"):
        assert cox(table, ["group"], spec).loc["group", "ph_pvalue"] < 1e-10


def test_planted_hazards_are_found():
    """Coefficients of the simulator's own covariates lie within 3 standard errors of what it planted."""
    cohort = pm.datasets.simulate_cohort(n_patients=1000, n_cells=600, seed=3)
    truth, obs = cohort.truth["hazard"], cohort.bulk.obs
    obs["axis"] = cohort.truth["response_axis"]
    obs["stage_step"] = obs["stage"].cat.codes
    obs["age_sd"] = (obs["age"] - obs["age"].mean()) / 11
    obs["interferon"] = cohort.truth["activities"]["INTERFERON_GAMMA_RESPONSE"]
    obs["treated"] = (obs["arm"] == "experimental").astype(float)
    obs["treated_interferon"] = obs["treated"] * obs["interferon"]
    table = cox(cohort, ["age_sd", "axis", "stage_step", "treated", "treated_interferon"], "os")
    planted = [truth[name] for name in ("age", "response_axis", "stage", "arm", "arm_x_interferon")]
    z = (table["log_hazard_ratio"] - planted) / table["standard_error"]
    assert z.abs().max() < 3
    assert (table["pvalue"] < 0.05).all()


def test_formula_labels_genes_and_strata(bulk):
    table = cox(bulk, "~ age + stage * arm", "os")
    assert "stage[T.III]:arm[T.experimental]" in table.index and len(table) == 6
    gene = bulk.var_names[0]
    table = bulk.obs.assign(**{gene: np.asarray(bulk[:, gene].X).ravel()})
    by_hand = cox(table, [gene, "mutation_TP53"], bulk.uns["endpoints"]["os"])
    with_gene = cox(bulk, [gene, "mutation_TP53"], "os")
    assert with_gene.index.tolist() == [gene, "mutation_TP53[T.True]"]
    assert with_gene["log_hazard_ratio"].tolist() == pytest.approx(by_hand["log_hazard_ratio"].tolist())
    stratified = cox(bulk, ["age"], "os", strata="stage")
    assert (
        stratified.loc["age", "log_hazard_ratio"] != cox(bulk, ["age"], "os").loc["age", "log_hazard_ratio"]
    )
    with pytest.raises(DataError, match="stratified"):
        CoxModel(["age"], strata="stage").fit(bulk, "os").predict_survival(bulk, [12])


def test_predictions_equal_those_of_scikit_survival(breast):
    from sksurv.linear_model import CoxPHSurvivalAnalysis
    from sksurv.util import Surv

    model = CoxModel(["age", "size"]).fit(breast, "dmfs")
    x, y = breast.obs[["age", "size"]], Surv.from_dataframe("dmfs_event", "dmfs_time", breast.obs)
    theirs = CoxPHSurvivalAnalysis(ties="efron").fit(x, y)
    times = [365.0, 1826.0, 3650.0]
    expected = np.array([function(times) for function in theirs.predict_survival_function(x)])
    assert model.predict_survival(breast, times).to_numpy() == pytest.approx(expected, abs=1e-4)
    risk = model.predict(breast)
    assert np.corrcoef(risk, theirs.predict(x))[0, 1] == pytest.approx(1)
    assert risk.mean() == pytest.approx(0, abs=1e-9)


def test_saved_model_predicts_the_same(bulk, tmp_path):
    model = CoxModel(["age", "stage"]).fit(bulk, "os")
    model.save(tmp_path / "model.json")
    text = (tmp_path / "model.json").read_text()
    assert "P001" not in text and [path.name for path in tmp_path.iterdir()] == ["model.json"]
    loaded = CoxModel.load(tmp_path / "model.json")
    assert loaded.predict(bulk).equals(model.predict(bulk))
    assert loaded.predict_survival(bulk, [12, 36]).equals(model.predict_survival(bulk, [12, 36]))
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(DataError, match=r"other.json is not a model"):
        CoxModel.load(tmp_path / "other.json")


def test_new_patients_the_model_cannot_know(bulk):
    model = CoxModel(["age", "stage"]).fit(bulk, "os")
    other = bulk.copy()
    other.obs["stage"] = other.obs["stage"].astype(str).replace("III", "IV")
    with pytest.raises(DataError, match=r"'stage' has \['IV'\] in 30 patients, which the model has not seen"):
        model.predict(other)
    with pytest.raises(DataError, match="no column 'age'"):
        model.predict(bulk.obs.drop(columns="age"))
    with pytest.raises(DataError, match="the follow-up of the fit"):
        model.predict_survival(bulk, [12, 500])


def test_designs_that_are_refused(bulk):
    obs = bulk.obs
    obs["constant"], obs["months"] = 1.0, obs["age"] * 12
    obs["rare"] = np.where(np.arange(120) == np.flatnonzero(~obs["os_event"])[0], "x", "y")
    obs["hole"] = obs["age"].where(obs["age"] > 50)
    obs["endless"] = obs["age"].where(obs["age"] > 50, np.inf)
    for covariates, kind, message in (
        (["constant"], DesignError, r"'constant' has one value only \(1.0\)"),
        (["age", "months"], DesignError, r"'months' says the same as \['age'\]"),
        (["rare"], DesignError, "none of the 1 patients with rare = 'x', the reference"),
        (["hole"], DataError, r"'hole' \(covariate\) is missing for"),
        (["endless"], DataError, "'endless' holds infinite values"),
        (["nosuch"], DataError, "no column 'nosuch'"),
        ([], DesignError, "no covariates"),
    ):
        with pytest.raises(kind, match=message):
            cox(bulk, covariates, "os")


def test_more_covariates_than_events_and_few_events_per_covariate(bulk, cohort):
    n_events = int(bulk.obs["os_event"].sum())
    with pytest.raises(DesignError, match=f"{n_events + 1} coefficients for {n_events} events"):
        cox(bulk, list(bulk.var_names[: n_events + 1]), "os")
    with pytest.warns(PmLabWarning, match=f"{n_events} events for 8 coefficients: .* per variable, below 10"):
        cox(bulk, list(bulk.var_names[:8]), "os")
