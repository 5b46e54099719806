"""Shortcuts fool, nested cross-validation does not: shown on the same noise."""

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


def test_bad_arguments(shared):
    with pytest.raises(DataError, match="one at least"):
        pm.biomarkers.permutation_null(shared, "os", n_permutations=0)
    with pytest.raises(DataError, match="'lasso' is not known"):
        pm.biomarkers.optimism(shared, "os", "lasso")
