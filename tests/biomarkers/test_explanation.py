"""Importance out of fold, contributions of one patient, and correlated genes as one group."""

from itertools import product
from math import comb

import numpy as np
import pytest

import pm_lab as pm
from pm_lab.errors import DataError

explain = pm.biomarkers.explain


@pytest.fixture(scope="module")
def with_twin(shared):
    """G50 says nearly the same as G01."""
    cohort = shared.copy()
    cohort.X[:, 50] = cohort.X[:, 1] + np.random.default_rng(0).normal(0, 0.3, cohort.n_obs)
    return cohort


@pytest.fixture(scope="module")
def explained(with_twin):
    return explain(with_twin, "level", patient="P007")


def test_planted_genes_matter_and_a_twin_shares_its_group(explained):
    table = explained.importance
    assert set(table["features"][:4]) == {"G00", "G01, G50", "G02", "G03"}
    assert table["importance"].iloc[3] > 5 * abs(table["importance"].iloc[4])
    assert explained.groups["G01"] == explained.groups["G50"]
    assert table.loc[table["features"] == "G01, G50", "n_features"].item() == 2
    assert f"more): 1 of {len(table)}." in explained.note
    assert len(table) + explained.record["n_unused"] == 59 == explained.groups.nunique()


def test_contributions_add_up_to_the_out_of_fold_prediction(explained, with_twin):
    nested = pm.biomarkers.nested_cross_validate(with_twin, "level")
    expected = nested.predictions.set_index("row").loc["P007", "prediction"]
    assert explained.prediction == pytest.approx(expected)
    assert explained.baseline + explained.patient["contribution"].sum() == pytest.approx(expected)
    assert explained.record["scale"] == "level" and explained.record["patient"] == "P007"
    by_group = explained.patient_by_group()
    assert by_group.sum() == pytest.approx(explained.patient["contribution"].sum())
    assert len(by_group) == 59


def shapley_values(predict, x, background) -> np.ndarray:
    """By definition, over all coalitions of features."""
    masks = list(product([False, True], repeat=len(x)))
    value = {mask: predict(np.where(mask, x, background)).mean() for mask in masks}
    found = np.zeros(len(x))
    for mask in masks:
        for i in np.flatnonzero(~np.array(mask)):
            joined = (*mask[:i], True, *mask[i + 1 :])
            weight = 1 / (len(x) * comb(len(x) - 1, sum(mask)))
            found[i] += weight * (value[joined] - value[mask])
    return found


def test_models_that_are_not_linear(shared):
    from sklearn.ensemble import GradientBoostingClassifier

    genes = ["G00", "G01", "G02", "G03", "G10", "G11"]
    found = explain(shared, "response", "gradient_boosting", "P003", genes=genes, n_shuffles=2, n_splits=3)
    assert found.importance["importance"].iloc[:2].min() > 0
    assert found.record["scale"] == "probability"
    # The model of the fold in which P003 was tested, fitted again.
    outcome = pm.validation.read_outcome(shared, "response")
    row = shared.obs_names.get_loc("P003")
    (split,) = (split for split in pm.validation.splits(outcome, n_splits=3) if row in split.test)
    X = np.asarray(shared[:, genes].X)
    X = (X - X[split.train].mean(axis=0)) / X[split.train].std(axis=0)
    settings = {"n_estimators": 200, "learning_rate": 0.05, "max_depth": 2, "subsample": 0.5}
    model = GradientBoostingClassifier(**settings, max_features="sqrt", random_state=0)
    model.fit(X[split.train], outcome.values[split.train])
    expected = shapley_values(lambda Z: model.predict_proba(Z)[:, 1], X[row], X[split.train])
    assert found.prediction == pytest.approx(model.predict_proba(X[[row]])[0, 1], abs=1e-9)
    contribution = found.patient["contribution"].loc[genes].to_numpy()
    assert np.abs(contribution - expected).max() < 0.02 < 0.1 < np.abs(expected).max()


def test_without_a_patient_and_bad_arguments(shared, monkeypatch):
    found = explain(shared, "level", n_shuffles=1, n_splits=2)
    with pytest.raises(DataError, match="no patient was explained"):
        found.patient_by_group()
    with pytest.raises(DataError, match="'P999' is not in obs_names"):
        explain(shared, "level", patient="P999")
    with pytest.raises(DataError, match="correlation=0"):
        explain(shared, "level", correlation=0)
    with pytest.raises(DataError, match="n_shuffles=0"):
        explain(shared, "level", n_shuffles=0)
    with pytest.raises(DataError, match="the name of one model"):
        explain(shared, "level", ["elastic_net", "linear_svm"])
    monkeypatch.setattr("pm_lab.biomarkers.explanation.MOST_GROUPS", 10)
    with pytest.raises(DataError, match=r"uses 60 groups.*screen=200"):
        explain(shared, "level", "linear_svm")
    monkeypatch.setattr("pm_lab.biomarkers.explanation.MOST_FEATURES", 50)
    with pytest.raises(DataError, match=r"60 features: .* 50 at most.*chosen without the outcome"):
        explain(shared, "level")


def test_the_scale_of_a_regression_of_classes_is_log_odds(shared):
    found = explain(shared, "response", patient="P003", n_shuffles=1, n_splits=3)
    nested = pm.biomarkers.nested_cross_validate(shared, "response", n_splits=3)
    probability = nested.predictions.set_index("row").loc["P003", "prediction"]
    assert found.record["scale"] == "log odds"
    assert 1 / (1 + np.exp(-found.prediction)) == pytest.approx(probability)


def test_a_model_that_uses_nothing_says_so(noise):
    cohort = noise[:, :30].copy()
    cohort.obs["level"] = np.tile([0.0, 1.0, 2.0, 3.0], 20)
    found = explain(cohort, "level", n_shuffles=1, n_splits=2, seed=1)
    assert found.importance.empty and found.record["n_unused"] == found.groups.nunique()
    assert list(found.importance.columns) == ["group", "features", "n_features", "importance", "sd"]
