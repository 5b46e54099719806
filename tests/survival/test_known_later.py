"""What is known only after time zero is no covariate, group or score; arguments that make no sense."""

import numpy as np
import pandas as pd
import pytest

import pm_lab as pm
from pm_lab import survival
from pm_lab.errors import DataError, DesignError


@pytest.fixture(scope="module")
def table():
    """Two endpoints of 80 patients, and what may and may not explain them."""
    rng = np.random.default_rng(0)
    time, event = rng.exponential(24, 80), rng.random(80) < 0.6
    table = pd.DataFrame(
        {
            "os_time": time,
            "os_event": event,
            "pfs_time": time * rng.uniform(0.3, 1, 80),
            "pfs_event": event | (rng.random(80) < 0.3),
            "age": rng.normal(60, 10, 80),
            "arm": rng.choice(["a", "b"], 80),
            "size": rng.gamma(2, 1, 80),
        },
        index=[f"P{i:02d}" for i in range(80)],
    )
    for name in ("os", "pfs"):
        survival.declare_endpoint(table, name, f"{name}_time", f"{name}_event", "months")
    return table


def evaluate(model, table, **arguments):
    return survival.evaluate_risk(model, table, "os", n_boot=1, **arguments)


ANALYSES = {
    "covariate": lambda table, name: survival.cox(table, ["age", name], "os"),
    "formula": lambda table, name: survival.cox(table, f"~ age * {name}", "os"),
    "strata": lambda table, name: survival.cox(table, ["age"], "os", strata=name),
    "groups of curves": lambda table, name: survival.kaplan_meier(table, "os", groupby=name),
    "groups of a summary": lambda table, name: survival.survival_summary(table, "os", groupby=name),
    "groups of a test": lambda table, name: survival.log_rank(table, "os", groupby=name),
    "score by name": lambda table, name: evaluate(name, table),
    "score as Series": lambda table, name: evaluate(-table[name].astype(float), table),
    "reference": lambda table, name: evaluate("size", table, clinical=["age", name]),
}


@pytest.mark.parametrize("name", ["os_time", "os_event", "pfs_time", "pfs_event"])
@pytest.mark.parametrize("analysis", ANALYSES)
def test_parts_of_endpoints_are_refused(table, analysis, name):
    with pytest.raises(DataError, match=f"'{name}' .of '{name.split('_')[0]}'. is part of an endpoint"):
        ANALYSES[analysis](table, name)


def test_parts_of_an_endpoint_that_is_not_declared(table):
    spec = {"time": "t", "event": "e", "unit": "months"}
    plain = pd.DataFrame({"t": table["os_time"], "e": table["os_event"], "age": table["age"]})
    with pytest.raises(DataError, match=r"'t' .of 'endpoint'. is part of an endpoint"):
        survival.cox(plain, ["age", "t"], spec)


def test_the_time_of_entry_is_known_at_entry(table):
    """It may explain the hazard: so one looks whether entry and survival are independent."""
    late = table.assign(entry=table["os_time"] * np.random.default_rng(1).uniform(0, 0.9, 80))
    late.attrs = {}
    spec = {"time": "os_time", "event": "os_event", "unit": "months", "entry": "entry"}
    assert survival.cox(late, ["entry"], spec).index.tolist() == ["entry"]


def test_a_model_of_a_part_of_an_endpoint_is_not_judged(table):
    bare = table.copy()
    bare.attrs = {}  # where the model was learnt, pfs is not declared
    spec = {"time": "os_time", "event": "os_event", "unit": "months"}
    model = survival.CoxModel(["pfs_time"]).fit(bare[20:], spec)
    with pytest.raises(DataError, match=r"'pfs_time' .of 'pfs'. is part of an endpoint"):
        evaluate({"model": model}, table[:20])


def test_copies_of_the_outcome_are_refused(table):
    time, relapse = table["os_time"], table["os_event"].astype(int)
    leaky = table.assign(years=time / 12, log=np.log(time), relapse=relapse)
    leaky.attrs = table.attrs
    for name, what in (("years", "time"), ("log", "time")):
        with pytest.raises(DataError, match=f"covariates: '{name}' is the {what} of 'os' in other words"):
            survival.cox(leaky, ["age", name], "os")
        with pytest.raises(DataError, match=f"model: '{name}' is the {what} of 'os' in other words"):
            evaluate(name, leaky)
    with pytest.raises(DataError, match="model: 'relapse' is the event of 'os' in other words"):
        evaluate("relapse", leaky)


def test_late_covariates_of_models_and_references_are_refused(table):
    late = table.copy()
    survival.declare_endpoint(late, "os", "os_time", "os_event", "months", measured={"size": 30})
    model = survival.CoxModel(["size"]).fit(table[:40], "os")
    for judged in ({"cox": model}, "size", late["size"]):
        with pytest.raises(DesignError, match="'size' was measured after time zero"):
            evaluate(judged, late)
    with pytest.raises(DesignError, match="'size' was measured after time zero"):
        evaluate("age", late[40:], clinical=["size"], train=table[:40])


LEVELS = (0, 1, 95, -0.1, "0.95", None, True, np.nan)


@pytest.mark.parametrize("level", LEVELS, ids=str)
def test_levels(table, level):
    for call in (
        lambda: survival.kaplan_meier(table, "os", level=level),
        lambda: survival.survival_summary(table, "os", level=level),
        lambda: survival.cox(table, ["age"], "os", level=level),
        lambda: survival.cumulative_incidence(table, "os", level=level),
        lambda: survival.evaluate_risk("size", table, "os", n_boot=1, level=level),
    ):
        with pytest.raises(DataError, match=f"level={level!r}: a share below 1"):
            call()


@pytest.mark.parametrize(
    "arguments",
    [
        *({"n_boot": value} for value in (0, -1, 2.5, "9", None)),
        *({"seed": value} for value in (-1, None, 0.5)),
        *({"horizon": value} for value in ("12", np.nan, np.inf, True)),
        *({"thresholds": value} for value in ("x", None, [], [0.2, 1.5])),
    ],
    ids=str,
)
def test_arguments_of_evaluate_risk(table, arguments):
    with pytest.raises(DataError, match=next(iter(arguments))):
        survival.evaluate_risk("size", table, "os", **arguments)


def test_other_arguments(table):
    for horizon in ("12", np.nan):
        with pytest.raises(DataError, match="horizon="):
            survival.survival_summary(table, "os", horizon=horizon)
    with pytest.raises(DataError, match="q='1': a number"):
        survival.log_rank(table, "os", "arm", weighting="fleming-harrington", q="1")
    for covariates in (None, 3, []):
        with pytest.raises(DesignError, match="covariates"):
            survival.cox(table, covariates, "os")
    model = survival.CoxModel(["age"]).fit(table, "os")
    for times in ("soon", [np.nan], [None], [-1]):
        with pytest.raises(DataError, match="times"):
            model.predict_survival(table, times)
    for endpoint in (None, 3, ["os"]):
        with pytest.raises(DataError, match="the name of a declared endpoint"):
            survival.kaplan_meier(table, endpoint)
    for part in ({"time": 3}, {"event": ["os_event"]}, {"unit": None}, {"entry": 0.0}, {"measured": ["age"]}):
        spec = {"time": "os_time", "event": "os_event", "unit": "months"} | part
        with pytest.raises(DataError, match=f"endpoint: {next(iter(part))}="):
            survival.endpoint_table(table, spec)


@pytest.mark.parametrize("nothing", [None, 3, "curves", []], ids=str)
def test_figures_of_nothing(nothing):
    for plot in ("kaplan_meier", "cumulative_incidence", "hazard_ratios", "calibration", "decision_curve"):
        with pytest.raises(DataError, match=r"this is a \w+, not"):
            getattr(pm.survival, f"plot_{plot}")(nothing)
