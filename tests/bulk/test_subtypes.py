"""Consensus clustering: finds planted subtypes, says when there are none, and knows a batch."""

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

import pm_lab as pm
from pm_lab.errors import DataError, PmLabWarning

QUICK = {"k": [2, 3, 4], "n_resamples": 15, "n_null": 24, "n_genes": 150}


def cohort_of(X: np.ndarray, **obs) -> ad.AnnData:
    names = [f"P{i:03d}" for i in range(len(X))]
    var = pd.DataFrame(index=[f"GENE{i:05d}" for i in range(X.shape[1])])
    return ad.AnnData(X + 6, obs=pd.DataFrame(obs, index=names), var=var)


def noise(seed: int, n: int = 90, n_genes: int = 150) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, n_genes))


@pytest.fixture(scope="module")
def planted():
    """Three separated subtypes of 45, 30 and 15 patients, and the table found."""
    truth = np.repeat(["a", "b", "c"], [45, 30, 15])
    profile = pd.DataFrame(0.7 * noise(1, 3), index=["a", "b", "c"])
    adata = cohort_of(noise(2) + profile.loc[truth].to_numpy(), truth=truth)
    return adata, pm.bulk.subtype(adata, **QUICK)


def test_finds_planted_subtypes(planted):
    adata, table = planted
    assert table.attrs["k"] == 3
    assert table.set_index("k")["chosen"].to_dict() == {2: False, 3: True, 4: False}
    assert adjusted_rand_score(adata.obs["truth"], adata.obs["expression_subtype"]) == 1
    row = table.set_index("k").loc[3]
    assert row["pac"] < 0.05 < row["pac_null"]
    assert row["padj"] == pytest.approx(1 / 25)
    assert row["bootstrap_ari"] > 0.95
    assert row["smallest"] == 15


def test_labels_go_by_size_and_carry_a_certainty(planted):
    adata, _ = planted
    assert adata.obs["expression_subtype"].value_counts().to_dict() == {"S1": 45, "S2": 30, "S3": 15}
    assert adata.obs["expression_subtype_certainty"].between(0.5, 1).all()


def test_equal_seeds_give_equal_results(planted):
    adata, table = planted
    again, changed = pm.bulk.subtype(adata, copy=True, **QUICK)
    pd.testing.assert_frame_equal(again, table)
    assert changed.obs["expression_subtype"].equals(adata.obs["expression_subtype"])


@pytest.fixture(scope="module")
def noise_table():
    adata = cohort_of(noise(0))
    return adata, pm.bulk.subtype(adata, **QUICK)


def test_noise_has_no_subtypes(noise_table):
    adata, table = noise_table
    assert table.attrs["k"] == 1
    assert not table["chosen"].any()
    assert adata.obs["expression_subtype"].unique().tolist() == ["S1"]
    assert adata.obs["expression_subtype_certainty"].isna().all()


@pytest.mark.parametrize("seed", [0, 1])
def test_a_strong_gradient_is_not_subtypes(seed, noise_table):
    rng = np.random.default_rng(10 + seed)
    adata = cohort_of(noise(seed) + np.outer(rng.standard_normal(90), 1.5 * rng.standard_normal(150)))
    table = pm.bulk.subtype(adata, seed=seed, **QUICK)
    assert table.attrs["k"] == 1
    # Its two halves are more stable than any clusters of noise: stability alone would call them subtypes.
    assert table["bootstrap_ari"][0] > noise_table[1]["bootstrap_ari"].max()


@pytest.fixture(scope="module")
def batches():
    """No subtypes, three batches, written as numbers."""
    batch = np.repeat([1, 2, 3], 30)
    return cohort_of(noise(3) + 0.8 * noise(4, 3)[batch - 1], seq_batch=batch)


def test_clusters_that_are_batches_are_named(batches):
    with pytest.warns(PmLabWarning, match=r"follow seq_batch \(Cramér's V 1.00\)"):
        table, changed = pm.bulk.subtype(batches, copy=True, **QUICK)
    assert table.attrs["k"] == 3
    found = changed.uns["pm_lab"]["subtype"]["batches"]
    assert found["adjusted_mutual_information"].item() == pytest.approx(1)
    assert "expression_subtype" not in batches.obs


def test_without_the_batch_nothing_is_left(batches):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table, _ = pm.bulk.subtype(batches, covariates=["seq_batch"], copy=True, **QUICK)
    assert table.attrs["k"] == 1


def test_genes_named_beforehand_find_what_variance_hides():
    X = 3 * noise(5)  # loud genes without subtypes
    truth = np.arange(90) % 2
    X[:, :20] = noise(6, 90, 20) / 3 + truth[:, None]
    adata = cohort_of(X)
    options = QUICK | {"n_genes": 100}
    assert pm.bulk.subtype(adata, copy=True, **options)[0].attrs["k"] == 1
    table = pm.bulk.subtype(adata, genes=adata.var_names[:20], **options)
    assert table.attrs["k"] == 2
    assert adjusted_rand_score(truth, adata.obs["expression_subtype"]) == 1


def test_numeric_covariates_are_one_slope():
    age = np.linspace(30, 80, 90)
    X = noise(7) + np.outer((age - 55) / 10, noise(8, 1)[0])
    adata = cohort_of(X, age=age)
    pm.bulk.subtype(adata, covariates=["age"], **QUICK)
    first = np.linalg.svd(X - X.mean(axis=0))[0][:, 0]
    assert abs(np.corrcoef(first, age)[0, 1]) > 0.95
    matrix = adata.uns["pm_lab"]["subtype"]["consensus"]
    near = np.abs(np.subtract.outer(age, age)) < 10
    others = ~np.eye(90, dtype=bool)
    assert matrix[near & others].mean() == pytest.approx(matrix[~near].mean(), abs=0.05)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda a: a.X.__imul__(0), {}, "whole numbers only"),
        (lambda a: a.X.__imul__(100), {}, "no logarithm"),
        (lambda a: a.X.__setitem__((3, 7), np.nan), {}, r"1 missing.*GENE00007"),
        (None, {"k": [1, 2]}, "from 2 to 18"),
        (None, {"k": [40]}, "from 2 to 18"),
        (None, {"covariates": ["site"]}, "no column 'site'"),
        (None, {"genes": ["TP53"]}, "0 genes are measured"),
    ],
)
def test_bad_input(change, options, message):
    adata = cohort_of(noise(0))
    if change:
        change(adata)
    with pytest.raises(DataError, match=message):
        pm.bulk.subtype(adata, **(QUICK | options))
    assert "expression_subtype" not in adata.obs


def test_a_view_is_refused():
    with pytest.raises(DataError, match=r"view of 50 × 150.*copy=True"):
        pm.bulk.subtype(cohort_of(noise(0))[:50], **QUICK)


def test_too_few_patients():
    with pytest.raises(DataError, match="12 patients are too few"):
        pm.bulk.subtype(cohort_of(noise(0, n=12)), **QUICK)


def test_result_survives_a_file_and_is_drawn(planted, tmp_path):
    adata, _ = planted
    adata.write_h5ad(tmp_path / "cohort.h5ad")
    figure = pm.bulk.plot_consensus(ad.read_h5ad(tmp_path / "cohort.h5ad"))
    matrix, curves, ambiguity = figure.axes[:3]
    assert matrix.get_title() == "3 clusters"
    shown = np.asarray(matrix.images[0].get_array())
    assert shown[:45, :45].mean() > 0.9 > 0.1 > shown[:45, 45:].mean()
    assert len(curves.lines) == 2 * 3 + 1
    assert [text.get_text() for text in ambiguity.texts][1] == "p 0.04"


def test_no_clusters_is_said_in_the_figure(noise_table):
    adata, table = noise_table
    nearest = table["k"][table["z"].idxmax()]
    assert pm.bulk.plot_consensus(adata).axes[0].get_title() == f"no clusters (shown: k = {nearest})"


def test_figure_needs_its_own_patients(planted):
    adata, _ = planted
    with pytest.raises(DataError, match=r"Run pm\.bulk\.subtype"):
        pm.bulk.plot_consensus(cohort_of(noise(0)))
    with pytest.raises(DataError, match="90 patients, and there are 80 now"):
        pm.bulk.plot_consensus(adata[:80].copy())
