"""Outcomes, splits by patient, metrics and intervals."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import pm_lab as pm
from pm_lab.errors import DataError, DesignError, PmLabWarning
from pm_lab.validation import Outcome, bootstrap, patients_of, read_outcome, score, score_each, splits


@pytest.fixture
def cohort():
    rng = np.random.default_rng(0)
    n = 60
    obs = pd.DataFrame(
        {
            "t": rng.exponential(20, n).round(1) + 0.1,
            "e": rng.random(n) < 0.5,
            "response": pd.Categorical(np.where(rng.random(n) < 0.4, "yes", "no")),
            "age": rng.normal(60, 10, n),
            "stage": rng.choice(["I", "II", "III"], n),
        },
        index=[f"P{i}" for i in range(n)],
    )
    endpoints = {"os": {"time": "t", "event": "e", "unit": "months"}}
    return ad.AnnData(rng.normal(size=(n, 5)), obs=obs, uns={"endpoints": endpoints})


def test_the_three_kinds_of_outcome(cohort):
    survival = read_outcome(cohort, "os")
    assert (survival.kind, survival.unit, survival.metric) == ("survival", "months", "c_index")
    assert survival.n_events == cohort.obs["e"].sum()
    binary = read_outcome(cohort, "response")
    assert (binary.kind, binary.positive, binary.metric) == ("binary", "yes", "auc")
    assert binary.values.sum() == (cohort.obs["response"] == "yes").sum()
    assert read_outcome(cohort, "response", positive="no").positive == "no"
    assert read_outcome(cohort, "age").kind == "continuous"


@pytest.mark.parametrize(
    "coding", [lambda e: e.astype(int), lambda e: e.astype(str), lambda e: e.astype(float)]
)
def test_events_in_other_words(cohort, coding):
    expected = read_outcome(cohort, "os").values
    cohort.obs["e"] = coding(cohort.obs["e"])
    assert (read_outcome(cohort, "os").values == expected).all()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("e", False, "all patients are censored"),
        ("e", "one", "one event only"),
        ("e", 2, r"levels 2 \(60\)"),
        ("t", -1.0, "negative for 60 of 60 patients"),
        ("t", np.nan, "missing for 60 of 60"),
    ],
)
def test_bad_endpoints(cohort, column, value, message):
    cohort.obs[column] = np.arange(60) == 0 if isinstance(value, str) else value
    with pytest.raises(DataError, match=message):
        read_outcome(cohort, "os")


def test_an_outcome_is_the_table_of_its_endpoint(cohort):
    cohort.obs["what"] = np.where(cohort.obs["e"], "death", "none")
    cohort.obs.loc[cohort.obs_names[:20], "what"] = "relapse"
    pm.endpoints.declare_endpoint(cohort, "relapse", "t", "what", "months", censored="none")
    outcome, table = read_outcome(cohort, "relapse"), pm.endpoints.endpoint_table(cohort, "relapse")
    assert (outcome.values == table["event"]).all() and (outcome.time == table["time"]).all()
    assert outcome.n_events > cohort.obs["e"].sum()  # any cause is the event
    assert pm.endpoints.endpoint_columns(cohort) == {"t": "relapse", "e": "os", "what": "relapse"}


def test_competing_events_are_censored_with_a_warning(cohort):
    cohort.obs["what"] = np.repeat(["relapse", "death", "none"], 20)
    cohort.uns["endpoints"]["os"] |= {"event": "what", "censored": "none", "of_interest": "relapse"}
    with pytest.warns(PmLabWarning, match=r"endpoint 'os': 20 patients have a competing.*cause-specific"):
        outcome = read_outcome(cohort, "os")
    assert outcome.values.tolist() == [1] * 20 + [0] * 40


def test_left_truncation_is_refused_and_mended(cohort):
    cohort.obs["start"] = np.where(np.arange(60) < 3, cohort.obs["t"] / 2, 0.0)
    cohort.uns["endpoints"]["os"]["entry"] = "start"
    with pytest.raises(DataError, match=r"3 of 60 patients came under observation after.*obs\['t'\] - obs"):
        pm.biomarkers.nested_cross_validate(cohort, "os")
    with pytest.raises(DataError, match=r"part of the endpoint 'os'"):
        read_outcome(cohort, "start")
    cohort.obs["since"] = cohort.obs["t"] - cohort.obs["start"]
    cohort.uns["endpoints"]["os"] = {"time": "since", "event": "e", "unit": "months"}
    assert read_outcome(cohort, "os").time[0] == cohort.obs["t"].iloc[0] / 2
    cohort.obs["start"] = 0.0
    cohort.uns["endpoints"]["os"]["entry"] = "start"  # nobody came late
    assert len(read_outcome(cohort, "os")) == 60


@pytest.mark.parametrize("measured", ["stage", "expression", "3"])  # the third is a gene
def test_covariates_measured_after_time_zero_are_refused(cohort, measured):
    from pm_lab.biomarkers import explain, nested_cross_validate, stability_selection, subgroup_performance

    cohort.obs["when"] = np.where(np.arange(60) < 2, 1.0, 0.0)
    late = f"'{measured}' was measured after time zero in 2 of 60 patients"
    cohort.uns["endpoints"]["os"]["measured"] = {measured: "when"}
    for refused in (
        lambda: nested_cross_validate(cohort, "os", clinical=["stage"]),
        lambda: explain(cohort, "os", clinical="stage"),
        lambda: stability_selection(cohort, "os", adjust="stage", n_select=1),
    ):
        with pytest.raises(DesignError, match=late):
            refused()
    cohort.uns["endpoints"]["os"]["measured"] = {measured: 0.0}
    result = nested_cross_validate(cohort, "os", ["clinical"], n_splits=2, clinical=["stage"])
    cohort.uns["endpoints"]["os"]["measured"] = {"stage": "when"}
    with pytest.raises(DesignError, match="'stage' was measured after time zero"):
        subgroup_performance(result, cohort, "stage")


def test_bad_columns(cohort):
    with pytest.raises(DataError, match=r"part of the endpoint 'os'.*Pass outcome='os'"):
        read_outcome(cohort, "t")
    with pytest.raises(DataError, match=r"neither an endpoint of uns\['endpoints'\] \(os\)"):
        read_outcome(cohort, "death")
    with pytest.raises(DataError, match="3 levels"):
        read_outcome(cohort, "stage")
    cohort.obs["same"] = "x"
    with pytest.raises(DataError, match="one value only"):
        read_outcome(cohort, "same")


def test_the_c_index_and_auc_are_the_libraries(cohort):
    from sklearn.metrics import r2_score, roc_auc_score
    from sksurv.metrics import concordance_index_censored

    prediction = np.random.default_rng(1).normal(size=60).round(1)  # with ties
    cohort.obs["t"] = cohort.obs["t"].round(0)
    survival, binary, age = (read_outcome(cohort, name) for name in ("os", "response", "age"))
    expected = concordance_index_censored(survival.values > 0, survival.time, prediction)[0]
    assert score(survival, prediction) == pytest.approx(expected)
    assert score(binary, prediction) == pytest.approx(roc_auc_score(binary.values, prediction))
    assert score(age, prediction) == pytest.approx(r2_score(age.values, prediction))
    assert score_each(survival, np.column_stack([prediction, -prediction])) == pytest.approx(
        [expected, 1 - expected]
    )


def test_scores_within_folds_compare_only_patients_of_one_fold():
    outcome = Outcome("x", "binary", np.array([0.0, 1.0, 0.0, 1.0]))
    prediction = np.array([10.0, 11.0, 0.0, 1.0])  # each fold on its own scale
    assert score(outcome, prediction, within=[0, 0, 1, 1]) == 1.0
    assert score(outcome, prediction) == 0.75
    assert np.isnan(score(outcome, prediction, within=[0, 1, 2, 3]))


def test_many_repeats_are_compared_fold_by_fold():
    """All pairs of 20,000 rows would be 200 million; those within folds are two."""
    rng = np.random.default_rng(0)
    outcome = Outcome("x", "binary", np.tile(np.repeat([0.0, 1.0], 500), 20))
    folds = np.tile(np.arange(1000) % 5, 20)
    repeats = np.repeat(np.arange(20), 1000)
    prediction = outcome.values + rng.normal(size=20_000)
    labels = 5 * repeats + folds
    with pytest.raises(DataError, match="20,000 patients are too many to compare all pairs"):
        score(outcome, prediction)
    parts = [score(outcome.take(labels == label), prediction[labels == label]) for label in range(100)]
    assert score(outcome, prediction, labels) == pytest.approx(np.mean(parts))
    people = np.tile(np.arange(1000), 20)
    table = bootstrap(outcome, {"m": prediction}, people, folds, n_boot=10, repeats=repeats)
    assert table["auc"].item() == pytest.approx(np.mean(parts))


def test_splits_are_stratified_and_repeatable(cohort):
    outcome = read_outcome(cohort, "os")
    folds = splits(outcome, n_splits=5, n_repeats=2, seed=3)
    assert [(split.repeat, split.fold) for split in folds] == [(r, f) for r in range(2) for f in range(5)]
    events = [outcome.values[split.test].sum() for split in folds]
    assert max(events) - min(events) <= 1
    tested = np.concatenate([split.test for split in folds[:5]])
    assert sorted(tested) == list(range(60))
    again = splits(outcome, n_splits=5, n_repeats=2, seed=3)
    assert all((a.test == b.test).all() for a, b in zip(folds, again, strict=True))
    assert not all((a.test == b.test).all() for a, b in zip(folds[:5], folds[5:], strict=True))


@pytest.mark.parametrize("name", ["os", "response", "age"])
def test_rows_of_one_patient_stay_together(cohort, name):
    cohort.obs["patient"] = [f"p{i // 2}" for i in range(60)]
    with pytest.raises(DataError, match=r"30 patients have more than one row.*patient_key='patient'"):
        patients_of(cohort)
    patients = patients_of(cohort, "patient")
    for split in splits(read_outcome(cohort, name), patients):
        assert not set(patients[split.train]) & set(patients[split.test])


def test_too_few_events_for_the_folds():
    outcome = Outcome("os", "survival", np.r_[np.ones(3), np.zeros(50)], np.arange(53.0))
    with pytest.raises(DataError, match=r"3 patients with an event for 5 folds.*n_splits=3"):
        splits(outcome)
    assert len(splits(outcome, n_splits=3)) == 3
    with pytest.raises(DataError, match="n_splits=1: a whole number, 2 at least"):
        splits(outcome, n_splits=1)


def test_intervals_cover_the_truth():
    """95 % intervals of an AUC of .76 (two normals one SD apart) hold it in about 95 of 100 samples."""
    held = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        outcome = Outcome("x", "binary", np.repeat([0.0, 1.0], 60))
        table = bootstrap(outcome, {"m": outcome.values + rng.normal(size=120)}, n_boot=200, seed=seed)
        held += table["low"].item() <= 0.7602 <= table["high"].item()
    assert 88 <= held <= 99


@pytest.mark.parametrize("n_repeats", [1, 4])
def test_intervals_of_cross_validation_cover_the_truth(n_repeats):
    """Noise, where the truth is .5: models of other folds learnt from the patients that are judged."""
    held, held_as_if_fixed = 0, 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        X, outcome = (
            rng.normal(size=(100, 8)),
            Outcome("x", "binary", rng.permutation(np.repeat([0.0, 1.0], 50))),
        )
        parts = []
        for split in splits(outcome, n_repeats=n_repeats, seed=seed):
            weights = np.linalg.lstsq(X[split.train], outcome.values[split.train] - 0.5)[0]
            where = np.full(len(split.test), split.repeat), np.full(len(split.test), split.fold)
            parts.append(np.column_stack([split.test, X[split.test] @ weights, *where]))
        rows, prediction, repeats, folds = np.vstack(parts).T
        rows = rows.astype(int)
        given = outcome.take(rows), {"m": prediction}, rows
        table = bootstrap(*given, folds, n_boot=200, repeats=repeats)
        held += table["low"].item() <= 0.5 <= table["high"].item()
        table = bootstrap(*given, 10 * repeats + folds, n_boot=200)
        held_as_if_fixed += table["low"].item() <= 0.5 <= table["high"].item()
    assert 92 <= held <= 99
    assert held_as_if_fixed <= 90  # as if models were fixed: too narrow, with repeats still more


def test_repeated_rows_do_not_narrow_the_interval(cohort):
    outcome = read_outcome(cohort, "os")
    prediction = np.random.default_rng(0).normal(size=60)
    once = bootstrap(outcome, {"m": prediction})
    twice = Outcome("os", "survival", np.tile(outcome.values, 2), np.tile(outcome.time, 2))
    names = np.tile(np.arange(60), 2)
    within = np.repeat([0, 1], 60)
    both = bootstrap(twice, {"m": np.tile(prediction, 2)}, patients=names, within=within)
    pd.testing.assert_frame_equal(once, both, rtol=1e-4)


def test_a_difference_is_taken_on_the_same_draws(cohort):
    outcome = read_outcome(cohort, "age")
    noise = np.random.default_rng(0).normal(size=60)
    table = bootstrap(outcome, {"a": outcome.values + noise, "b": outcome.values + 2 * noise}, reference="b")
    assert table.loc["b", ["difference", "difference_low", "difference_high"]].tolist() == [0, 0, 0]
    assert table.loc["a", "difference_low"] > 0
    with pytest.raises(DataError, match="level=95: between 0 and 1"):
        bootstrap(outcome, {"a": noise}, level=95)
