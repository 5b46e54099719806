"""Shortcuts fool, nested cross-validation does not: shown on the same noise."""

import anndata as ad
import numpy as np
import pytest

import pm_lab as pm
from pm_lab.errors import DataError


@pytest.fixture(scope="module")
def on_noise(noise):
    return pm.biomarkers.optimism(noise, "os")


def test_genes_chosen_outside_the_folds_fool(on_noise):
    c = on_noise["c_index"]
    assert c["genes chosen outside the folds"] > 0.7
    assert c["apparent"] > 0.6
    assert abs(c["nested"] - 0.5) < 0.1
    assert c["search not nested"] > c["nested"]
    assert on_noise.loc["nested", "optimism"] == 0


def test_other_models_have_no_search_to_report(shared):
    table = pm.biomarkers.optimism(shared, "response", "random_forest", n_splits=2)
    assert list(table.index) == ["apparent", "genes chosen outside the folds", "nested"]
    assert table.loc["apparent", "auc"] > 0.95


def test_the_null_is_centred_and_the_signal_stands_out(shared):
    genes = shared.var_names[:12]  # the four that act, and eight others
    null = pm.biomarkers.permutation_null(shared, "os", n_permutations=19, n_splits=3, genes=genes)
    assert null.p_value == pytest.approx(1 / 20)
    assert abs(null.null.mean() - 0.5) < 0.04
    table = null.table().iloc[0]
    assert table["null_low"] < 0.5 < table["null_high"] < table["c_index"]


def test_permuted_outcomes_score_a_half(noise):
    """Genes are chosen inside the folds, before and by the elastic net: nothing is found in nothing."""
    null = pm.biomarkers.permutation_null(noise, "os", n_permutations=25, n_splits=3, screen=20)
    error = null.null.std(ddof=1) / np.sqrt(25)
    assert abs(null.null.mean() - 0.5) < 2.6 * error and error < 0.02
    assert null.p_value > 0.05


def test_equal_seeds_give_equal_nulls(noise):
    one, two = (
        pm.biomarkers.permutation_null(noise, "os", n_permutations=2, n_splits=2, screen=20) for _ in range(2)
    )
    assert np.array_equal(one.null, two.null)


def test_the_null_is_of_the_pipeline_that_was_run(shared):
    settings = {"n_splits": 2, "n_repeats": 3, "seed": 4, "signatures": {"planted": ["G00", "G01"]}}
    result = pm.biomarkers.nested_cross_validate(shared, "response", ["planted"], **settings)
    null = pm.biomarkers.permutation_null(shared, "response", "planted", n_permutations=3, **settings)
    assert null.observed == pytest.approx(result.scores["auc"].mean())
    assert null.predictions.groupby(["permutation", "repeat"]).size().tolist() == [120] * 9
    assert set(null.record["settings"]) == set(result.record["settings"])
    few = pm.biomarkers.permutation_null(
        shared,
        "response",
        "elastic_net",
        1,
        2,
        genes=shared.var_names[:6],
        l1_ratios=(1.0,),
        n_inner=2,
        n_trees=7,
    )
    assert (
        few.record["settings"] | {"l1_ratios": (1.0,), "n_inner": 2, "n_trees": 7} == few.record["settings"]
    )


def test_outcomes_are_exchanged_between_patients(shared):
    double = ad.concat([shared, shared[:40]], index_unique="-", keys=["1", "2"])
    double.X += np.random.default_rng(0).normal(0, 0.01, double.shape)
    settings = {"n_permutations": 2, "n_splits": 2, "signatures": {"s": ["G00"]}, "patient_key": "patient"}
    with pytest.raises(DataError, match="more than one row"):
        pm.biomarkers.permutation_null(double, "level", "s", **(settings | {"patient_key": None}))
    null = pm.biomarkers.permutation_null(double, "level", "s", **settings)
    numbers = null.predictions.groupby("permutation")["outcome"].value_counts()
    assert set(numbers) == {1, 2} and (numbers == 2).groupby("permutation").sum().tolist() == [40, 40]
    double.obs.loc["P003-2", "level"] = 9.0
    with pytest.raises(DataError, match=r"rows of 1 patients differ in 'level' \(P003\)"):
        pm.biomarkers.permutation_null(double, "level", "s", **settings)


def test_bad_arguments(shared):
    with pytest.raises(DataError, match="n_permutations=0: a whole number, 1 at least"):
        pm.biomarkers.permutation_null(shared, "os", n_permutations=0)
    with pytest.raises(DataError, match="n_chosen=0"):
        pm.biomarkers.optimism(shared, "os", n_chosen=0)
    with pytest.raises(DataError, match="chooses no genes"):
        pm.biomarkers.optimism(shared, "os", "clinical", clinical=["age"])
    for function in (pm.biomarkers.optimism, pm.biomarkers.permutation_null):
        with pytest.raises(DataError, match="one name"):
            function(shared, "os", ["elastic_net", "linear_svm"])
    with pytest.raises(DataError, match="'lasso' is not known"):
        pm.biomarkers.optimism(shared, "os", "lasso")
