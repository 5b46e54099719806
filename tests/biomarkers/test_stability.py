"""Stability selection: the planted genes, the bound, and what it does with noise."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

import pm_lab as pm
from pm_lab.errors import DataError

stability_selection = pm.biomarkers.stability_selection


@pytest.mark.parametrize("method", ["univariate", "elastic_net"])
@pytest.mark.parametrize("outcome", ["os", "level"])
def test_planted_genes_come_first(shared, method, outcome):
    table = stability_selection(shared, outcome, method, n_pairs=20, adjust=["age"], max_false=1)
    assert len(set(table.index[:4]) & {"G00", "G01", "G02", "G03"}) >= 3
    assert set(table.index[table["selected"]]) <= {"G00", "G01", "G02", "G03"}
    assert table["selected"].sum() >= 2
    assert table.loc[["G00", "G01", "G02", "G03"], "direction"].tolist() == [1, 1, -1, -1]
    assert table.attrs["bound"] <= 1
    assert (table["selected"] == (table["frequency"] >= table.attrs["threshold"])).all()


def test_the_bound_holds_on_noise():
    """Expected number of false genes, over 12 data sets in which every gene is false."""
    import anndata as ad

    selected, bounds = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        obs = pd.DataFrame({"y": rng.normal(size=60)}, index=[f"P{i}" for i in range(60)])
        cohort = ad.AnnData(rng.normal(size=(60, 300)), obs=obs)
        table = stability_selection(cohort, "y", n_pairs=20, n_select=17, max_false=1)
        selected.append(table["selected"].sum())
        bounds.append(table.attrs["bound"])
    assert np.mean(selected) <= max(bounds) <= 1


def test_error_bound_is_the_published_formula():
    """Meinshausen and Buehlmann's for threshold .9 halves with the unimodal bound at .7."""
    assert pm.biomarkers.error_bound(20, 1000, 0.7, 50) == pytest.approx(400 / 1000 / (2 * (0.4 - 0.01)))
    assert pm.biomarkers.error_bound(20, 1000, 0.9, 50) == pytest.approx(0.4 * 4 * 0.11 / 1.02)
    # The two branches meet at .75 and fall with the threshold.
    bounds = [pm.biomarkers.error_bound(20, 1000, share / 100, 50) for share in range(60, 101)]
    assert all(a > b for a, b in pairwise(bounds))
    without = 400 / (0.8 * 1000)
    assert pm.biomarkers.error_bound(20, 1000, 0.9, 50) < without


def recovered(n_patients, seeds, alone=False, **settings):
    """Recall of the ten biomarkers and share of false genes, pooled. False: no planted effect of response.

    ``alone``: no other gene with an effect is a candidate.
    """
    found = n_selected = n_false = 0
    for seed in seeds:
        cohort = pm.datasets.simulate_cohort(n_patients=n_patients, n_cells=600, seed=seed)
        genes = cohort.truth["genes"]
        null = genes["response_log2_fold_change"] == 0
        candidates = genes.index[null | genes["biomarker"]] if alone else None
        table = stability_selection(cohort, "response", adjust=["batch", "age"], genes=candidates, **settings)
        chosen = table.index[table["selected"]]
        found += genes.loc[chosen, "biomarker"].sum()
        n_false += null[chosen].sum()
        n_selected += len(chosen)
    return found / (10 * len(seeds)), n_false / max(1, n_selected)


def test_biomarkers_of_500_patients_are_found_and_few_of_120():
    """Ten weak biomarkers among genes without any effect."""
    recall, false = recovered(500, [0, 1], alone=True)
    assert recall >= 0.7 and false <= 0.1
    fewer, false = recovered(120, [0, 1], alone=True)
    assert fewer <= 0.7 * recall and false <= 0.1


def test_weak_biomarkers_are_found_behind_stronger_genes():
    """All 2,000 genes are candidates, and 302 others respond, most of them more strongly."""
    recall, false = recovered(500, [0])
    assert recall >= 0.7 and false <= 0.1


def test_few_genes_are_asked_for_few_are_found():
    """With one false gene at most, only stronger genes than the ten biomarkers are selected."""
    few, false = recovered(120, [0], max_false=1)
    assert few == 0 and false == 0


def test_the_share_of_false_genes_holds_on_noise():
    """Nothing is true here: a cohort in which anything is selected has a share of 1."""
    import anndata as ad

    wrong = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        obs = pd.DataFrame({"y": rng.normal(size=60)}, index=[f"P{i}" for i in range(60)])
        cohort = ad.AnnData(rng.normal(size=(60, 300)), obs=obs)
        table = stability_selection(cohort, "y", n_pairs=20)
        wrong += table["selected"].any()
        assert table["selected"].any() == np.isfinite(table.attrs["threshold"])
    assert wrong <= 8  # 4 are expected at most; more than 8 happen in 2 % of such tests


def test_equal_seeds_and_rows_of_one_patient(cohort):
    one = stability_selection(cohort, "os", n_pairs=5)
    pd.testing.assert_frame_equal(one, stability_selection(cohort, "os", n_pairs=5))
    cohort.obs["patient"] = [f"P{i // 2}" for i in range(cohort.n_obs)]
    with pytest.raises(DataError, match="patient_key"):
        stability_selection(cohort, "os")
    assert len(stability_selection(cohort, "os", n_pairs=5, patient_key="patient")) == 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "lasso"}, "there are univariate, elastic_net"),
        ({"n_select": 60}, "between 1 and 59"),
        ({"n_select": 40, "max_false": 1}, r"more than max_false=1. Use n_select=\d+ or fewer"),
        ({"max_fdr": 10}, "a share below 1"),
        ({"adjust": ["os_time"]}, "part of an endpoint"),
        ({"adjust": ["site"]}, "obs has no"),
    ],
)
def test_bad_arguments(shared, arguments, message):
    with pytest.raises(DataError, match=message):
        stability_selection(shared, "os", **arguments)
