"""Importance out of fold, contributions of one patient, and correlated genes as one group."""

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


def test_contributions_add_up_to_the_out_of_fold_prediction(explained, with_twin):
    nested = pm.biomarkers.nested_cross_validate(with_twin, "level")
    expected = nested.predictions.set_index("row").loc["P007", "prediction"]
    assert explained.prediction == pytest.approx(expected)
    assert explained.baseline + explained.patient["contribution"].sum() == pytest.approx(expected)
    by_group = explained.patient_by_group()
    assert by_group.sum() == pytest.approx(explained.patient["contribution"].sum())
    assert len(by_group) == 59


def test_models_that_are_not_linear(shared):
    genes = ["G00", "G01", "G02", "G03", "G10", "G11"]
    found = explain(shared, "response", "gradient_boosting", "P003", genes=genes, n_shuffles=2, n_splits=3)
    assert found.importance["importance"].iloc[:2].min() > 0
    nested = pm.biomarkers.nested_cross_validate(shared, "response", ["gradient_boosting"], 3, genes=genes)
    expected = nested.predictions.set_index("row").loc["P003", "prediction"]
    assert found.prediction == pytest.approx(expected, abs=1e-6)


def test_without_a_patient_and_bad_arguments(shared, monkeypatch):
    found = explain(shared, "level", n_shuffles=1, n_splits=2)
    with pytest.raises(DataError, match="no patient was explained"):
        found.patient_by_group()
    with pytest.raises(DataError, match="'P999' is not in obs_names"):
        explain(shared, "level", patient="P999")
    with pytest.raises(DataError, match="correlation=0"):
        explain(shared, "level", correlation=0)
    monkeypatch.setattr("pm_lab.biomarkers.explanation.MOST_GROUPS", 10)
    with pytest.raises(DataError, match=r"uses 60 groups.*screen=200"):
        explain(shared, "level", "linear_svm")
