"""The outcome in other words is refused wherever it comes in; what only resembles it is not."""

import numpy as np
import pandas as pd
import pytest

import pm_lab as pm
from pm_lab.biomarkers.features import read_features
from pm_lab.errors import DataError, PmLabWarning
from pm_lab.validation import Outcome, read_outcome

from .conftest import made_up

nested_cross_validate = pm.biomarkers.nested_cross_validate
stability_selection = pm.biomarkers.stability_selection

# The outcome and how it is written in other words, by what that is. Some are missing where there was none.
COPIES = {
    "event as 0 and 1": ("os", lambda obs: obs["os_event"].astype(int)),
    "event as text": ("os", lambda obs: np.where(obs["os_event"], "relapsed", "no")),
    "event, reversed": ("os", lambda obs: pd.Categorical(np.where(obs["os_event"], "a", "b"))),
    "event in finer levels": ("os", lambda obs: np.where(obs["os_event"], obs["batch"], "none")),
    "event by what is missing": ("os", lambda obs: obs["batch"].where(obs["os_event"])),
    "number known after the event": ("os", lambda obs: obs["age"].where(obs["os_event"])),
    "time in years": ("os", lambda obs: obs["os_time"] / 12),
    "logarithm of time": ("os", lambda obs: np.log(obs["os_time"])),
    "time, reversed": ("os", lambda obs: -(obs["os_time"] ** 3)),
    "time, half of it missing": ("os", lambda obs: obs["os_time"].where(np.arange(len(obs)) % 2 == 0)),
    "time to the event": ("os", lambda obs: obs["os_time"].where(obs["os_event"])),
    "response as bool": ("response", lambda obs: obs["response"] == "yes"),
    "response as text": ("response", lambda obs: np.where(obs["response"] == "yes", "CR", "PD")),
    "response by RECIST": (
        "response",
        lambda obs: np.where(obs["response"] == "yes", np.where(obs["age"] > 60, "CR", "PR"), "SD"),
    ),
    "response, nearly exact": ("response", lambda obs: (obs["response"] == "yes") + 1e-6 * obs["age"]),
    "level, exponential": ("level", lambda obs: np.exp(obs["level"])),
}


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_among_clinical_columns(cohort, name):
    outcome, copy = COPIES[name]
    cohort.obs["leak"] = copy(cohort.obs)
    with pytest.raises(DataError, match=f"clinical: 'leak' is the .* of '{outcome}' in other words"):
        nested_cross_validate(cohort, outcome, ["clinical"], clinical=["age", "leak"])


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_that_genes_are_adjusted_for(cohort, name):
    outcome, copy = COPIES[name]
    cohort.obs["leak"] = copy(cohort.obs)
    with pytest.raises(DataError, match="adjust"):  # missing values are refused before
        stability_selection(cohort, outcome, adjust=["batch", "leak"], n_pairs=2)


@pytest.mark.parametrize("name", [name for name in COPIES if not name.endswith(("missing", "event"))])
def test_a_batch_that_decides_the_outcome(cohort, name):
    outcome, copy = COPIES[name]
    cohort.obs["leak"] = pd.Series(copy(cohort.obs), cohort.obs_names).astype(object)
    with pytest.raises(DataError, match="batch_key"):
        nested_cross_validate(cohort, outcome, batch_key="leak")


@pytest.mark.parametrize(
    ("outcome", "values"),
    [
        ("os", lambda obs: obs["os_time"] * 3 - 2),
        ("os", lambda obs: np.log(obs["os_time"])),
        ("os", lambda obs: -(obs["os_time"] ** 3)),
        ("os", lambda obs: obs["os_time"].where(np.arange(len(obs)) % 3 > 0) ** 2),
        ("os", lambda obs: obs["os_event"] * 5.0 + 1e-6 * obs["age"]),
        ("response", lambda obs: (obs["response"] == "yes") * -2.0),
        ("response", lambda obs: ((obs["response"] == "yes") * 1.0).where(np.arange(len(obs)) % 3 > 0)),
        ("level", lambda obs: np.exp(obs["level"])),
    ],
)
def test_a_gene_that_is_the_outcome(cohort, outcome, values):
    cohort.X[:, 9] = values(cohort.obs)
    with pytest.raises(DataError, match=f"the outcome is among the features: G09 is the .* of '{outcome}'"):
        nested_cross_validate(cohort, outcome)


def test_a_gene_that_separates_the_classes_is_no_copy(cohort):
    rng = np.random.default_rng(0)
    positive = (cohort.obs["response"] == "yes").to_numpy()
    cohort.X[:, 9] = rng.normal(8 * positive, 1)
    cohort.X[:, 10] = positive * rng.integers(1, 4, len(positive))  # as copy numbers would
    features = read_features(cohort, read_outcome(cohort, "response"))
    assert "G09" in features.names and "G10" in features.names
    cohort.X[:, 11] = -np.sqrt(cohort.obs["os_time"]) + rng.normal(0, 0.3, cohort.n_obs)  # ρ of about .98
    assert len(read_features(cohort, read_outcome(cohort, "os")).names) == 60


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.filterwarnings("error::pm_lab.errors.PmLabWarning")
def test_honest_columns_pass_without_a_word(seed):
    """Of small cohorts too, whose columns agree with the outcome as well as chance has it."""
    cohort = made_up(n=24 + 5 * seed, n_genes=25, seed=seed)
    rng = np.random.default_rng(seed)
    cohort.obs["sex"] = rng.choice(["f", "m"], cohort.n_obs)
    cohort.obs["rare"] = rng.random(cohort.n_obs) < 0.1
    cohort.obs.loc[cohort.obs_names[:2], "rare"] = [True, False]
    cohort.obs["site"] = rng.choice([f"site {i}" for i in range(8)], cohort.n_obs)
    clinical = ["age", "stage", "sex", "rare", "site"]
    for outcome in ("os", "response", "level"):
        target = read_outcome(cohort, outcome)
        found = read_features(cohort, target, clinical=clinical, batch_key="site")
        assert {"age", "rare"} <= set(found.clinical_names)


def test_a_column_equal_to_the_event_by_chance_is_warned_of():
    """Of 20 patients with two events: one marker in 190 agrees."""
    cohort = made_up(n=20)
    cohort.obs["response"] = np.where(np.arange(20) < 2, "yes", "no")
    cohort.obs["mutated"] = np.arange(20) < 2
    with pytest.warns(PmLabWarning, match=r"'mutated' is nearly the class .*may be chance in 20 patients"):
        read_features(cohort, read_outcome(cohort, "response"), clinical=["mutated"])
    cohort.X[:, 5] = np.arange(20) < 2
    with pytest.warns(PmLabWarning, match="G05 is equal to the class .* may be chance"):
        assert "G05" in read_features(cohort, read_outcome(cohort, "response")).names


def test_nearly_the_outcome_is_warned_of(cohort):
    positive = (cohort.obs["response"] == "yes").to_numpy()
    positive[0] = ~positive[0]
    cohort.obs["run"] = np.where(positive, "day 1", "day 2")
    cohort.obs["years"] = (cohort.obs["os_time"] / 3).round()
    target = read_outcome(cohort, "response")
    with pytest.warns(PmLabWarning, match=r"batch_key: 'run' is nearly the class .*Cramér's V 0\.9"):
        read_features(cohort, target, batch_key="run")
    with pytest.warns(PmLabWarning, match=r"'years' is nearly the time of 'os': rank correlation 0\.99"):
        read_features(cohort, read_outcome(cohort, "os"), clinical=["years"])
    cohort.obs["separates"] = cohort.obs["age"] + 100 * (target.values > 0)
    with pytest.warns(PmLabWarning, match="'separates' is nearly the class .*a threshold separates all 120"):
        read_features(cohort, target, clinical=["separates"])


@pytest.mark.parametrize("noise", [0.0, 1e-6, 1e-3])
def test_one_profile_under_two_names(cohort, noise):
    rng = np.random.default_rng(0)
    cohort.X[7] = cohort.X[3] + rng.normal(0, noise, cohort.n_vars)
    cohort.X[50] *= 1e6  # a patient on another scale hides nothing, and makes no others look alike
    with pytest.raises(DataError, match=r"^2 rows have an expression profile that occurs twice \(P003, P007"):
        read_features(cohort, read_outcome(cohort, "os"))
    cohort.X[7] = cohort.X[3] + rng.normal(0, 0.05, cohort.n_vars)  # a second measurement of the tumour
    assert len(read_features(cohort, read_outcome(cohort, "os")).genes) == 120


def test_counts_with_a_missing_value(cohort):
    cohort.X = np.random.default_rng(0).poisson(300, cohort.shape).astype(float)
    cohort.X[3, 4] = np.nan
    with pytest.raises(DataError, match="raw counts"):
        read_features(cohort, read_outcome(cohort, "os"))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (lambda obs: obs.index, "'extra' has 120 levels in 120 patients .*an identifier"),
        (lambda obs: [f"ward {i % 25:02d}" for i in range(120)], "'extra' has 25 levels"),
        (lambda obs: pd.Categorical(obs.index), "an identifier"),
        (lambda obs: pd.date_range("2020-01-01", periods=120), "'extra' holds dates"),
        (lambda obs: pd.Categorical(pd.date_range("2020-01-01", periods=120)), "'extra' holds dates"),
        (lambda obs: pd.date_range("2020-01-01", periods=120).date, "'extra' holds dates"),
        (
            lambda obs: np.where(np.arange(120) == 3, np.inf, obs["age"]),
            "infinite for 1 of 120 .* .P003",
        ),
    ],
)
def test_clinical_columns_that_are_no_covariates(cohort, column, message):
    cohort.obs["extra"] = column(cohort.obs)
    with pytest.raises(DataError, match=f"clinical: .*{message}"):
        nested_cross_validate(cohort, "os", ["clinical"], clinical=["age", "extra"])


def test_clinical_columns_that_say_nothing_are_left_out(cohort):
    cohort.obs["one"], cohort.obs["none"], cohort.obs["level one"] = 3.0, np.nan, "a"
    target = read_outcome(cohort, "os")
    with pytest.warns(PmLabWarning, match="clinical: one, none, level one have one value only, or none"):
        found = read_features(cohort, target, clinical=["one", "age", "none", "level one", "age"])
    assert list(found.clinical_names) == ["age"]
    with pytest.warns(PmLabWarning), pytest.raises(DataError, match="needs clinical columns"):
        nested_cross_validate(cohort, "os", ["clinical"], clinical="one")


def test_nullable_columns(cohort):
    cohort.obs["smoker"] = pd.array([True, False, None] * 40, dtype="boolean")
    cohort.obs["packs"] = pd.array([1, 2, None, 4] * 30, dtype="Int64")
    found = read_features(cohort, read_outcome(cohort, "os"), clinical=["smoker", "packs"])
    assert np.isnan(found.clinical).sum(axis=0).tolist() == [40, 30]
    assert np.nanmean(found.clinical, axis=0).tolist() == [0.5, pytest.approx(7 / 3)]


@pytest.mark.parametrize(
    "arguments",
    [
        *({name: value} for name in ("n_splits", "n_inner") for value in (1, 2.5, "5", None, True)),
        *({name: value} for name in ("n_repeats", "n_trees", "screen") for value in (0, -3, 1.5, "3")),
        *({"seed": value} for value in (-1, None, 0.5, "0")),
        *({"l1_ratios": value} for value in ((), 0, (0,), 2, (0.5, -1), "lasso", None, (np.nan,), ["0.5"])),
        {"n_jobs": 0},
        {"clinical": 3},
        {"clinical": None},
        {"genes": 7},
        {"models": None},
        {"models": [3]},
        {"positive": "x"},
        {"batch_key": "patient"},
    ],
    ids=str,
)
def test_arguments_of_nested_cross_validation(shared, arguments):
    with pytest.raises(DataError, match=next(iter(arguments))):
        nested_cross_validate(shared, "os", **arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        *({name: value} for name in ("n_pairs", "n_select") for value in (0, -1, 2.5, "5")),
        *({"max_fdr": value} for value in (0, 1, 95, "0.1", None, np.nan)),
        *({"max_false": value} for value in (0, -1, "1", np.inf)),
        *({"l1_ratio": value} for value in (0, 2, "1", None)),
        {"seed": -1},
        {"adjust": None},
    ],
    ids=str,
)
def test_arguments_of_stability_selection(shared, arguments):
    with pytest.raises(DataError, match=next(iter(arguments))):
        stability_selection(shared, "os", **arguments)


@pytest.mark.parametrize(
    "arguments",
    [{"n_shuffles": 0}, {"n_shuffles": 1.5}, {"correlation": 0}, {"correlation": "0.7"}, {"screen": 0}],
    ids=str,
)
def test_arguments_of_explain(shared, arguments):
    with pytest.raises(DataError, match=next(iter(arguments))):
        pm.biomarkers.explain(shared, "os", **arguments)


def test_the_chance_bound_is_one():
    """Levels given out at random decide the outcome no more often than the bound says."""
    from pm_lab.leaks import _chance

    rng = np.random.default_rng(0)
    for n, n_events, n_levels in ((6, 3, 2), (8, 2, 2), (8, 4, 3)):
        target = np.arange(n) < n_events
        labels = rng.permuted(np.tile(np.arange(n) % n_levels, (5000, 1)), axis=1)
        both = [(labels == k)[:, side].any(axis=1) for k in range(3) for side in (target, ~target)]
        mixed = np.array(both[::2]) & np.array(both[1::2])
        assert np.mean(~mixed.any(axis=0)) <= _chance(target.astype(float), n_levels) < 1


def test_a_binary_outcome_in_groups(nested, shared):
    for by in ("os_time", "os_event", ["stage", "os_event"]):
        with pytest.raises(DataError, match="part of an endpoint"):
            pm.biomarkers.subgroup_performance(nested, shared, by)
    outcome = Outcome("response", "binary", np.ones(120), columns=("response",))
    binary = type(nested)(nested.scores, nested.predictions, nested.selected, outcome, nested.record)
    with pytest.raises(DataError, match="response is the outcome 'response'"):
        pm.biomarkers.subgroup_performance(binary, shared, "response")
