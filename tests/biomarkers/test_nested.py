"""Nested cross-validation: what it returns, what it refuses, and that nothing leaks between folds."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import pm_lab as pm
from pm_lab.errors import DataError, PmLabWarning

ALL = ["elastic_net", "random_forest", "gradient_boosting", "linear_svm", "clinical", "planted"]
nested_cross_validate = pm.biomarkers.nested_cross_validate


def test_the_tables(nested, shared):
    assert list(nested.scores.columns[:4]) == ["model", "repeat", "fold", "c_index"]
    assert len(nested.scores) == 3 * 2 * 5
    assert nested.scores["c_index"].between(0, 1).all()
    counts = nested.predictions.groupby(["model", "repeat"])["row"].agg(["size", "nunique"])
    assert (counts == shared.n_obs).all(axis=None)
    one = nested.predictions.query("model == 'clinical' and repeat == 1").set_index("row")
    assert (one["time"] == shared.obs["os_time"].loc[one.index]).all()
    assert nested.selected.loc[["G00", "G01", "G02", "G03"], "elastic_net"].min() >= 0.8
    assert nested.selected["elastic_net"].iloc[4:].median() < 0.5
    assert "age" in nested.selected.index and "clinical" not in nested.selected.columns


def test_the_summary(nested):
    table = nested.summary(reference="clinical")
    assert table.loc["elastic_net+clinical", "c_index"] > table.loc["elastic_net", "c_index"]
    assert table.loc["elastic_net+clinical", "difference_low"] > 0
    with pytest.raises(DataError, match="reference='zz' is no model here; there are clinical, elastic_net"):
        nested.summary(reference="zz")
    with pytest.raises(DataError, match="n_boot=0"):
        nested.summary(n_boot=0)
    assert ((table["low"] < table["c_index"]) & (table["c_index"] < table["high"])).all()
    # Pairs within folds weigh folds by their pairs: near the mean of the folds, not equal.
    assert table["c_index"].to_numpy() == pytest.approx(table["mean"].to_numpy(), abs=0.02)


@pytest.mark.parametrize(
    ("outcome", "metric", "least"), [("os", "c_index", 0.58), ("response", "auc", 0.6), ("level", "r2", 0.0)]
)
def test_every_model_on_every_kind_of_outcome(shared, outcome, metric, least):
    result = nested_cross_validate(
        shared,
        outcome,
        ALL,
        n_splits=3,
        clinical=["age"],
        signatures={"planted": pd.Series([1.0, 1, -1, -1], ["G00", "G01", "G02", "G03"])},
        n_trees=60,
        n_inner=3,
    )
    mean = result.scores.groupby("model")[metric].mean()
    assert set(mean.index) == set(ALL)
    learnt = mean.drop(["clinical", "planted"])
    assert (learnt > least).all(), mean
    if metric != "r2":
        assert mean["planted"] > learnt.max() - 0.05
    if outcome == "response":
        assert result.predictions.query("model == 'elastic_net'")["prediction"].between(0, 1).all()


def test_a_few_candidate_genes_that_say_little(shared):
    """Penalties of one training part may be too large for an inner one, where nothing enters at first."""
    genes = ["G10", "G11", "G12", "G13"]
    result = nested_cross_validate(shared, "os", genes=genes)
    assert result.scores["n_selected"].between(0, 4).all() and result.scores["n_selected"].max() > 1
    assert 0.35 < result.scores["c_index"].mean() < 0.65


def test_equal_seeds_give_equal_results(shared, nested):
    again = nested_cross_validate(shared, "os", ["elastic_net"], n_repeats=2)
    first = nested.scores.query("model == 'elastic_net'").reset_index(drop=True)
    pd.testing.assert_frame_equal(again.scores, first)
    other = nested_cross_validate(shared, "os", ["elastic_net"], seed=1)
    second = nested.scores.query("model == 'elastic_net' and repeat == 1")
    assert other.scores["n_test"].tolist() == second["n_test"].tolist()  # repeat 1 of seed 0 has its folds


def test_what_is_not_in_training_does_not_matter(shared):
    """Test patients' outcomes and expression change nothing in the model that judges them."""
    first = nested_cross_validate(shared, "level", ["elastic_net"], screen=10)
    fold = first.predictions.query("fold == 0")
    spoilt = shared.copy()
    row = spoilt.obs_names.get_loc(fold["row"].iloc[0])
    # As extreme in rank as before, so that the folds stay as they are.
    spoilt.X[row] = 50.0
    second = nested_cross_validate(spoilt, "level", ["elastic_net"], screen=10).predictions.query("fold == 0")
    assert second["row"].tolist() == fold["row"].tolist()
    changed = second["prediction"].to_numpy() != fold["prediction"].to_numpy()
    assert changed[0] and not changed[1:].any()


def test_missing_values_are_filled_in_inside_the_folds(cohort):
    rng = np.random.default_rng(0)
    cohort.X[rng.random(cohort.shape) < 0.05] = np.nan
    cohort.obs.loc[cohort.obs_names[:5], "age"] = np.nan
    cohort.obs.loc[cohort.obs_names[5:9], "stage"] = None
    result = nested_cross_validate(cohort, "os", ["elastic_net+clinical"], clinical=["age", "stage"])
    assert result.scores["c_index"].mean() > 0.65
    assert result.predictions["prediction"].notna().all()


def test_batches_are_centred_inside_the_folds(cohort):
    shifted = cohort.copy()
    rows = np.flatnonzero(cohort.obs["batch"] == "b")
    shifted.X[rows, :4] += [5.0, 5.0, -5.0, -5.0]  # no other gene tells the batch
    plain = nested_cross_validate(shifted, "level", ["elastic_net"]).scores["r2"].mean()
    mended = nested_cross_validate(shifted, "level", ["elastic_net"], batch_key="batch").scores["r2"].mean()
    clean = nested_cross_validate(cohort, "level", ["elastic_net"], batch_key="batch").scores["r2"].mean()
    assert mended > plain + 0.05
    assert mended == pytest.approx(clean, abs=1e-3)


def test_repeated_patients_are_refused_unless_grouped(cohort):
    double = ad.concat([cohort, cohort], index_unique="-", keys=["1", "2"])
    double.X += np.random.default_rng(0).normal(0, 0.01, double.shape)
    double.uns["endpoints"] = cohort.uns["endpoints"]
    with pytest.raises(DataError, match=r"120 patients have more than one row \(P000"):
        nested_cross_validate(double, "os")
    result = nested_cross_validate(double, "os", patient_key="patient")
    assert (result.predictions.groupby("patient")["fold"].nunique() == 1).all()


def test_one_sample_under_two_names_is_refused(cohort):
    cohort.X[7] = cohort.X[3]
    with pytest.raises(
        DataError, match=r"2 rows have an expression profile that occurs twice \(P003, P007\)"
    ):
        nested_cross_validate(cohort, "os")


def test_the_outcome_among_the_features_is_refused(cohort):
    with pytest.raises(DataError, match="os_time is the outcome 'os' or part of an endpoint"):
        nested_cross_validate(cohort, "os", ["clinical"], clinical=["age", "os_time"])
    with pytest.raises(DataError, match="response is the outcome"):
        nested_cross_validate(cohort, "response", ["clinical"], clinical=["response"])
    with pytest.raises(DataError, match="os_event is the outcome 'response' or part of an endpoint"):
        nested_cross_validate(cohort, "response", ["clinical"], clinical=["os_event"])
    named = cohort.copy()
    named.var_names = ["os_event", *cohort.var_names[1:]]
    with pytest.raises(DataError, match="var_names holds os_event"):
        nested_cross_validate(named, "os")
    cohort.X[:, 9] = 3 * cohort.obs["os_time"] - 2
    with pytest.raises(DataError, match="G09 is the time of 'os' itself"):
        nested_cross_validate(cohort, "os")


def test_all_censored_and_one_event(cohort):
    cohort.obs["os_event"] = False
    with pytest.raises(DataError, match="all patients are censored"):
        nested_cross_validate(cohort, "os")
    cohort.obs.loc["P000", "os_event"] = True
    with pytest.raises(DataError, match="one event only"):
        nested_cross_validate(cohort, "os")
    cohort.obs.loc["P001":"P003", "os_event"] = True
    with pytest.raises(DataError, match="4 patients with an event for 5 folds"):
        nested_cross_validate(cohort, "os")


def test_constant_genes_are_left_out_and_counted(cohort):
    cohort.X[:, 10] = 3.0
    cohort.X[:, 11] = np.nan
    with pytest.warns(PmLabWarning, match=r"2 of 60 genes are constant or empty and left out: G10, G11"):
        result = nested_cross_validate(cohort, "os")
    assert result.record["n_genes"] == 58 and "G10" not in result.selected.index
    # Constant in training only: G12 differs in one patient, who is in the test part of one fold.
    cohort.X[:, 12] = 0.0
    cohort.X[0, 12] = 1.0
    with pytest.warns(PmLabWarning, match="2 of 60"):
        again = nested_cross_validate(cohort, "os")
    assert again.predictions["prediction"].notna().all()
    with pytest.raises(DataError, match="all 1 features are constant"):
        nested_cross_validate(cohort, "os", genes=["G10"])


def test_more_features_than_memory(cohort, monkeypatch):
    import psutil

    free = type("memory", (), {"available": 100_000})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    with pytest.raises(DataError, match=r"120 patients × 60 features need about .* GB.*Pass genes="):
        nested_cross_validate(cohort, "os")
    assert len(nested_cross_validate(cohort, "os", genes=cohort.var_names[:5]).scores) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"models": ["lasso"]}, "'lasso' is not known. There are elastic_net"),
        ({"models": ["clinical"]}, "pass clinical="),
        ({"models": []}, "models is empty"),
        ({"genes": ["G00", "TP53"]}, "1 of the 2 genes asked for are not in var_names: TP53"),
        ({"signatures": {"s": ["A", "B"]}}, "0 of its 2 genes"),
        ({"signatures": {"clinical": ["G00"]}}, "is the name of a model"),
        ({"batch_key": "site"}, "no column 'site'"),
        ({"clinical": ["er"], "models": ["clinical"]}, "obs has no"),
        ({"n_splits": 2.5}, "n_splits=2.5: a whole number, 2 at least"),
        ({"n_splits": "5"}, "n_splits='5'"),
        ({"seed": -1}, "seed=-1: a whole number, 0 at least"),
        ({"seed": None}, "seed=None"),
        ({"screen": 0}, "screen=0"),
        ({"screen": -3}, "screen=-3"),
        ({"n_trees": 0}, "n_trees=0"),
        ({"n_inner": 0}, "n_inner=0: a whole number, 2 at least"),
        ({"l1_ratios": ()}, r"l1_ratios=\(\): numbers"),
        ({"l1_ratios": (0,)}, "no penalty is large enough"),
        ({"l1_ratios": 2}, "l1_ratios=2"),
        ({"positive": "x"}, "'os' is an endpoint, without classes"),
    ],
)
def test_bad_arguments(cohort, arguments, message):
    with pytest.raises(DataError, match=message):
        nested_cross_validate(cohort, "os", **arguments)


def test_bad_expression(cohort):
    counts = cohort.copy()
    counts.X = np.random.default_rng(0).poisson(300, cohort.shape).astype(float)
    with pytest.raises(DataError, match="raw counts"):
        nested_cross_validate(counts, "os")
    cohort.X[0, 0] = -np.inf
    with pytest.raises(DataError, match="1 infinite values"):
        nested_cross_validate(cohort, "os")


def test_gse7390_is_in_the_published_range():
    """Five folds, seed 0. Elsewhere: Coxnet .644 ± .034, forest .693 ± .107, clinical Cox .610 ± .077."""
    cohort = pm.datasets.load("gse7390")
    clinical = ["age", "er", "grade", "size"]
    models = ["elastic_net", "random_forest", "clinical"]
    result = nested_cross_validate(cohort, "dmfs", models, clinical=clinical, n_trees=100)
    mean = result.scores.groupby("model")["c_index"].mean()
    assert 0.57 < mean["elastic_net"] < 0.72
    assert 0.58 < mean["random_forest"] < 0.80
    assert 0.53 < mean["clinical"] < 0.69
