"""Nearest centroid and PAM50: right labels, honest doubt, and no silent centring of a skewed cohort."""

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import pm_lab as pm
from pm_lab.errors import DataError, DatasetUnavailable, PmLabWarning

PAM50 = pm.gene_sets.core()["PAM50"]
LUMINAL, OTHER = ["LumA", "LumB"], ["Basal", "Her2"]


def cohort_of(X: pd.DataFrame, **obs) -> ad.AnnData:
    """Patients × genes; names and columns as given."""
    return ad.AnnData(
        X.to_numpy(float, copy=True), obs=pd.DataFrame(obs, index=X.index), var=pd.DataFrame(index=X.columns)
    )


@pytest.fixture(scope="module")
def centroids() -> pd.DataFrame:
    """Made up: genes × 4 subtypes; luminal ones are alike, and unlike the others."""
    rng = np.random.default_rng(0)
    receptor, own = rng.standard_normal(50), rng.standard_normal((50, 4))
    side = np.array([-1, -1, 1, 1])
    return pd.DataFrame(np.outer(receptor, side) + 0.8 * own, PAM50, OTHER + LUMINAL)


def patients_of(centroids: pd.DataFrame, labels, noise: float = 0.4, seed: int = 1) -> ad.AnnData:
    """Patients of known subtypes in log2 expression at the level of each gene."""
    rng = np.random.default_rng(seed)
    level = np.random.default_rng(99).uniform(4, 12, len(centroids))
    X = centroids[list(labels)].T.to_numpy() + level + noise * rng.standard_normal((len(labels), len(level)))
    names = [f"P{i:03d}" for i in range(len(labels))]
    er = np.isin(labels, LUMINAL)
    return cohort_of(pd.DataFrame(X, names, centroids.index), label=list(labels), er=er)


MIXED = ["Basal"] * 20 + ["Her2"] * 20 + ["LumA"] * 20 + ["LumB"] * 20
SKEWED = ["Basal"] * 6 + ["Her2"] * 6 + ["LumA"] * 60 + ["LumB"] * 8


def test_each_centroid_is_its_own_class(centroids):
    adata = cohort_of(centroids.T)
    table = pm.bulk.nearest_centroid(adata, centroids)
    assert table["label"].tolist() == list(centroids.columns)
    assert table["correlation"].to_numpy() == pytest.approx(1)
    assert not table["unsure"].any()
    expected = centroids.corr(method="spearman")
    pd.testing.assert_frame_equal(table[expected.columns], expected, check_names=False)
    assert adata.obs["nearest_centroid_margin"].tolist() == table["margin"].tolist()


def test_doubt_grows_with_noise(centroids):
    unsure, right = [], []
    for noise in (0.2, 2.0, 5.0):
        adata = patients_of(centroids, MIXED, noise)
        adata.X -= np.median(adata.X, axis=0)
        table = pm.bulk.nearest_centroid(adata, centroids, method="pearson")
        unsure.append(table["unsure"].mean())
        right.append((table["label"].astype(str) == adata.obs["label"])[~table["unsure"]].mean())
    assert unsure[0] == 0
    assert unsure[0] < unsure[1] < unsure[2]
    assert right[0] == 1
    assert unsure[2] > 0.5


def test_a_class_halfway_is_unsure(centroids):
    halfway = centroids.assign(between=centroids[["LumA", "LumB"]].mean(axis=1))[["between"]]
    table = pm.bulk.nearest_centroid(cohort_of(halfway.T), centroids)
    assert table["margin"].item() == pytest.approx(table["LumA"].sub(table["LumB"]).abs().item())
    assert table["unsure"].item()


def test_missing_values_leave_the_gene_out_for_that_patient(centroids):
    adata = cohort_of(centroids.T)
    adata.X[1, :15] = np.nan
    table = pm.bulk.nearest_centroid(adata, centroids)
    assert table["n_genes"].tolist() == [50, 35, 50, 50]
    expected = centroids.iloc[15:].corr(method="spearman").loc["Her2"]
    pd.testing.assert_series_equal(
        table.loc["Her2", expected.index].astype(float), expected, check_names=False
    )


def test_old_symbols_are_mended_and_listed(centroids):
    old = centroids.rename(index={"NUF2": "CDCA1", "NDC80": "KNTC2"})
    table = pm.bulk.nearest_centroid(cohort_of(centroids.T), old)
    assert table.attrs["mended"] == {"CDCA1": "NUF2", "KNTC2": "NDC80"}
    assert table.attrs["n_genes"] == 50


def test_how_many_genes_are_measured(centroids):
    adata = cohort_of(centroids.T)
    with pytest.warns(PmLabWarning, match=r"only 30 of the centroids' 50 genes"):
        table = pm.bulk.nearest_centroid(adata[:, PAM50[:30]].copy(), centroids)
    assert table.attrs["n_genes"] == 30
    assert table.attrs["missing"] == PAM50[30:]
    with pytest.raises(DataError, match=r"24 of the centroids' 50 genes.*half"):
        pm.bulk.nearest_centroid(adata[:, PAM50[:24]].copy(), centroids)
    with pytest.raises(DataError, match="10 or more"):
        pm.bulk.nearest_centroid(adata, centroids.iloc[:8])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X: X * 100, "no logarithm"),
        (lambda X: (X * 2).round(), "whole numbers"),
        (lambda X: X.assign(ESR1=np.nan), "1 genes have no value.*ESR1"),
        (lambda X: X + 7, "not centred by gene"),
    ],
)
def test_bad_expression(centroids, change, message):
    X = pd.concat([centroids.T.add_prefix("")] * 3).set_axis([f"P{i}" for i in range(12)])
    with pytest.raises(DataError, match=message):
        pm.bulk.nearest_centroid(cohort_of(change(X)), centroids)


def test_bad_centroids_and_method(centroids):
    adata = cohort_of(centroids.T)
    with pytest.raises(DataError, match="two classes or more"):
        pm.bulk.nearest_centroid(adata, centroids[["LumA"]])
    with pytest.raises(DataError, match="missing or infinite"):
        pm.bulk.nearest_centroid(adata, centroids.replace(centroids.iloc[0, 0], np.nan))
    with pytest.raises(DataError, match='"spearman" or "pearson"'):
        pm.bulk.nearest_centroid(adata, centroids, method="kendall")


def test_pam50_of_a_mixed_cohort(centroids):
    adata = patients_of(centroids, MIXED)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = pm.bulk.pam50(adata, centroids, receptor_key="er")
    assert (table["label"].astype(str) == adata.obs["label"]).all()
    assert table.attrs["er_positive"] == 0.5
    assert adata.obs["pam50"].equals(table["label"])
    assert adata.uns["pm_lab"]["pam50"]["n_genes"] == 50


def test_a_skewed_cohort_is_warned_of_and_balancing_mends_it(centroids):
    adata = patients_of(centroids, SKEWED)
    with pytest.warns(PmLabWarning, match="85% of the patients.*shifted towards ER-negative"):
        plain = pm.bulk.pam50(adata, centroids, receptor_key="er")
    assert (plain["label"].astype(str) != SKEWED).mean() > 0.1
    adata = patients_of(centroids, ["Basal"] * 4 + ["Her2"] * 4 + SKEWED)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        balanced = pm.bulk.pam50(adata, centroids, centre="balanced", receptor_key="er")
    assert (balanced["label"].astype(str) == adata.obs["label"]).mean() == 1


def test_a_cohort_of_one_kind_needs_a_reference(centroids):
    reference = pm.bulk.pam50(patients_of(centroids, MIXED), centroids, receptor_key="er")
    medians = pd.Series(reference.attrs["medians"])
    luminal = patients_of(centroids, ["LumA"] * 50 + ["LumB"] * 10, seed=2)
    with pytest.warns(PmLabWarning, match="100% of the patients"):
        plain = pm.bulk.pam50(luminal, centroids, receptor_key="er", copy=True)[0]
    assert (~plain["label"].isin(LUMINAL)).mean() > 0.1
    with pytest.raises(DataError, match="60 ER-positive and 0 ER-negative"):
        pm.bulk.pam50(luminal, centroids, centre="balanced", receptor_key="er")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = pm.bulk.pam50(luminal, centroids, centre=medians)
        single = pm.bulk.pam50(luminal[:1].copy(), centroids, centre=medians)
    assert (table["label"].astype(str) == luminal.obs["label"]).all()
    assert single["label"].item() == "LumA"
    assert single["correlation"].item() == table["correlation"].iloc[0]


def test_a_single_patient_cannot_be_centred(centroids):
    adata = patients_of(centroids, ["LumA"])
    with pytest.raises(DataError, match=r"1 patients cannot be centred.*medians of a reference cohort"):
        pm.bulk.pam50(adata, centroids, receptor_key="er")


def test_small_and_unknown_cohorts_are_warned_of(centroids):
    adata = patients_of(centroids, MIXED[::4])
    with pytest.warns(
        PmLabWarning, match="medians of 20 patients are unstable.*receptor status is not known"
    ):
        table = pm.bulk.pam50(adata, centroids)
    assert np.isnan(table.attrs["er_positive"])


@pytest.mark.parametrize(
    "values",
    [
        pd.Categorical(["negative"] * 40 + ["Positive"] * 40),
        [0] * 40 + [1.0] * 40,
        ["ER-"] * 40 + ["ER+"] * 39 + [None],
    ],
)
def test_receptor_status_in_other_words(centroids, values):
    adata = patients_of(centroids, MIXED)
    adata.obs["status"] = values
    table = pm.bulk.pam50(adata, centroids, receptor_key="status")
    assert table.attrs["er_positive"] == pytest.approx(0.5, abs=0.01)


def test_balanced_medians_are_the_medians_of_a_balanced_cohort(centroids):
    adata = patients_of(centroids, MIXED)
    table = pm.bulk.pam50(adata, centroids, centre="balanced", receptor_key="er")
    assert list(table.attrs["medians"].values()) == pytest.approx(np.median(adata.X, axis=0).tolist())
    luminal = adata[adata.obs["er"]]
    thrice = ad.concat({"1": adata, "2": luminal, "3": luminal}, index_unique="-")
    again = pm.bulk.pam50(thrice, centroids, centre="balanced", receptor_key="er")
    assert list(again.attrs["medians"].values()) == pytest.approx(list(table.attrs["medians"].values()))


def test_bad_arguments_of_pam50(centroids):
    adata = patients_of(centroids, MIXED)
    with pytest.raises(DataError, match="no column 'ER'; it has label, er"):
        pm.bulk.pam50(adata, centroids, receptor_key="ER")
    with pytest.raises(DataError, match=r"basal.*not understood as a receptor status"):
        pm.bulk.pam50(adata, centroids, receptor_key="label")
    with pytest.raises(DataError, match="'mean'"):
        pm.bulk.pam50(adata, centroids, centre="mean")
    with pytest.raises(DataError, match="lack 49 measured genes"):
        pm.bulk.pam50(adata, centroids, centre=pd.Series({PAM50[0]: 1.0}))


def test_published_centroids(mirror, temporary_cache):
    centroids = pm.datasets.load("breast_signatures")["pam50"]
    assert centroids.shape == (50, 5)
    alone = pm.bulk.nearest_centroid(cohort_of(centroids.T), centroids)
    assert alone["label"].tolist() == list(centroids.columns)
    labels = np.repeat(["Basal", "Her2", "LumA", "LumB"], [15, 8, 16, 8])
    adata = patients_of(centroids, [*labels, "Normal", "Normal", "Normal"], noise=0.3)
    table = pm.bulk.pam50(adata, receptor_key="er")
    assert (table["label"].astype(str) == adata.obs["label"]).mean() > 0.95
    # The same patients without most of those who are ER-negative.
    skewed = adata[(adata.obs["er"] | (np.arange(adata.n_obs) % 5 == 0)).to_numpy()].copy()
    with pytest.warns(PmLabWarning, match="ER-positive"):
        found = pm.bulk.pam50(skewed, receptor_key="er")
    assert (found["label"].astype(str) != skewed.obs["label"]).mean() > 0.1


def test_views_are_refused(centroids):
    adata = patients_of(centroids, MIXED)
    for call in (pm.bulk.pam50, pm.bulk.nearest_centroid):
        with pytest.raises(DataError, match=r"view of 30 × 50.*copy=True"):
            call(adata[:30], centroids)


def test_parkers_centroids_are_never_downloaded(centroids, monkeypatch, tmp_path):
    monkeypatch.setenv("PM_LAB_CACHE", str(tmp_path))
    monkeypatch.delenv("PM_LAB_MIRROR", raising=False)
    with pytest.raises(DatasetUnavailable, match="asks no server"):
        pm.bulk.pam50(patients_of(centroids, MIXED))
