"""Size factors: against DESeq2 and edgeR, and what must hold for any counts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pm_lab.bulk import normalize
from pm_lab.errors import DataError

METHODS = ["median_of_ratios", "tmm"]


def small_matrix(seed=7):
    """5 samples × 60 genes: one sample with six genes up 20-fold, one with a third of the reads."""
    rng = np.random.default_rng(seed)
    counts = rng.negative_binomial(2, 0.02, (5, 60)).astype(float)
    counts[1, :6] *= 20
    counts[2] = np.round(counts[2] / 3)
    counts[:, 58] = 0
    return counts


def factors(counts, method):
    import anndata as ad

    data = ad.AnnData(np.asarray(counts, float))
    normalize(data, method=method)
    return data.obs["size_factor"].to_numpy()


def test_tmm_equals_edgers():
    """rnanorm 2.2's TMM().get_norm_factors, itself tested against edgeR's calcNormFactors."""
    counts = small_matrix()
    expected = np.array([1.29568338, 0.40821073, 1.39759978, 1.1824046, 1.14410994]) * counts.sum(axis=1)
    assert np.allclose(factors(counts, "tmm"), expected / np.exp(np.log(expected).mean()), rtol=1e-7)


def test_median_of_ratios_equals_pydeseq2s(bulk):
    from pydeseq2.preprocessing import deseq2_norm

    normalize(bulk)
    expected = deseq2_norm(bulk.layers["counts"].astype(int))[1]
    assert np.allclose(bulk.obs["size_factor"], expected / np.exp(np.log(expected).mean()), rtol=1e-6)


def test_median_of_ratios_where_every_gene_has_a_zero():
    counts = small_matrix()
    depth = np.array([1, 2, 4, 8, 16])
    counts = np.round(np.outer(depth, np.arange(100, 160)))
    counts[np.arange(60) % 5, np.arange(60)] = 0
    found = factors(counts, "median_of_ratios")
    assert np.allclose(found / found[0], depth, rtol=0.15)


def ratio_after_sequencing_deeper(counts, method, scale, sample):
    """How much larger the sample's factor becomes, relative to another sample's."""
    other = (sample + 1) % len(counts)
    before = factors(counts, method)
    deeper = counts.copy()
    deeper[sample] *= scale
    after = factors(deeper, method)
    return (after[sample] / after[other]) / (before[sample] / before[other])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.integers(2, 50), sample=st.integers(0, 4))
def test_median_of_ratios_follows_the_depth_of_a_sample(seed, scale, sample):
    ratio = ratio_after_sequencing_deeper(small_matrix(seed), "median_of_ratios", scale, sample)
    assert ratio == pytest.approx(scale, rel=1e-9)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.integers(2, 50), sample=st.integers(0, 4))
def test_tmm_follows_the_depth_of_a_sample(seed, scale, sample):
    """TMM weighs log ratios by depth: exact where samples have one profile, near it with 5 % of noise."""
    rng = np.random.default_rng(seed)
    counts = np.round(rng.integers(200, 5000, 60) * rng.lognormal(0, 0.05, (5, 60)))
    assert ratio_after_sequencing_deeper(counts, "tmm", scale, sample) == pytest.approx(scale, rel=0.01)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_order_of_genes_does_not_matter(method, seed):
    counts = small_matrix(seed)
    order = np.random.default_rng(seed).permutation(60)
    assert np.allclose(factors(counts[:, order], method), factors(counts, method), rtol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_written(bulk, method):
    raw = bulk.layers["counts"].copy()
    changed = normalize(bulk, method=method, copy=True)
    assert "size_factor" not in bulk.obs
    assert np.array_equal(changed.layers["counts"], raw)
    assert changed.uns["pm_lab"]["normalize"] == {"method": method}
    assert np.exp(np.log(changed.obs["size_factor"]).mean()) == pytest.approx(1)
    sums = (2 ** changed.X.astype(float) - 1).sum(axis=1)
    assert sums.mean() == pytest.approx(1e6, rel=1e-4)


def test_counts_in_x_are_kept_as_a_layer(bulk):
    bulk.X = bulk.layers.pop("counts")
    raw = bulk.X.copy()
    normalize(bulk)
    assert np.array_equal(bulk.layers["counts"], raw) and not np.array_equal(bulk.X, raw)


def test_one_gene_that_takes_half_the_reads_moves_neither_method(bulk):
    before = {method: factors(bulk.layers["counts"], method) for method in METHODS}
    bulk.layers["counts"][0, 0] = bulk.layers["counts"][0].sum()
    for method in METHODS:
        after = factors(bulk.layers["counts"], method)
        assert after[0] / after[1] == pytest.approx(before[method][0] / before[method][1], rel=0.02)


def test_refused(bulk):
    with pytest.raises(DataError, match="method="):
        normalize(bulk, method="rpkm")
    bulk.layers["counts"][5] = 0
    with pytest.raises(DataError, match=r"P006"):
        normalize(bulk)


@pytest.mark.filterwarnings("error")
def test_a_view_is_copied_or_refused():
    import anndata as ad

    data = ad.AnnData(small_matrix())
    with pytest.raises(DataError, match=r"view of 3 × 60.*copy=True"):
        normalize(data[:3])
    assert "size_factor" in normalize(data[:3], copy=True).obs
