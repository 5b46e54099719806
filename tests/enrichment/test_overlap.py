"""Overlap of leading edges, and the clusters that make 40 names of one signal read as one."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pm_lab as pm
from pm_lab.errors import DataError

EDGES = st.lists(st.sets(st.sampled_from("ABCDEFGH"), min_size=1), min_size=1, max_size=8)


def table(edges, scores=None, pvalues=None):
    n = len(edges)
    return pd.DataFrame(
        {
            "gene_set": [f"S{i}" for i in range(n)],
            "size": 10,
            "normalized_enrichment_score": scores or [1.5] * n,
            "pvalue": pvalues or list(np.arange(1, n + 1) / 100),
            "fdr": 0.01,
            "leading_edge": [list(edge) for edge in edges],
        }
    )


@given(edges=EDGES)
def test_both_measures_are_those_of_sets(edges):
    overlap = pm.enrichment.leading_edge_overlap(table(edges))
    jaccard = pm.enrichment.leading_edge_overlap(table(edges), "jaccard")
    for i, a in enumerate(edges):
        for j, b in enumerate(edges):
            assert overlap.iloc[i, j] == pytest.approx(len(a & b) / min(len(a), len(b)))
            assert jaccard.iloc[i, j] == pytest.approx(len(a & b) / len(a | b))


@given(edges=EDGES, threshold=st.sampled_from([0.3, 0.5, 1.0]))
def test_every_set_is_in_one_cluster_with_its_most_significant_member_as_representative(edges, threshold):
    clusters = pm.enrichment.redundancy(table(edges), threshold)
    assert sorted(clusters["gene_set"]) == [f"S{i}" for i in range(len(edges))]
    for _, members in clusters.groupby("cluster"):
        assert members["representative"].nunique() == 1
        best = members.loc[members["pvalue"].idxmin(), "gene_set"]
        assert members["representative"].iloc[0] == best
        assert (members["cluster_size"] == len(members)).all()
    assert clusters["cluster"].is_monotonic_increasing
    assert clusters["cluster"].iloc[0] == 1


def test_many_names_of_one_signal_read_as_one():
    rng = np.random.default_rng(0)
    signal, other = [f"A{i}" for i in range(20)], [f"B{i}" for i in range(20)]
    edges = [rng.choice(signal, 15, replace=False) for _ in range(40)]
    edges += [rng.choice(other, 15, replace=False) for _ in range(5)]
    clusters = pm.enrichment.redundancy(table(edges))
    assert clusters.loc[clusters["gene_set"] == clusters["representative"], "gene_set"].tolist() == [
        "S0",
        "S40",
    ]
    assert clusters.groupby("cluster").size().tolist() == [40, 5]
    np.testing.assert_allclose(clusters["overlap_with_representative"].iloc[0], 1)


def test_sets_of_opposite_direction_are_not_one():
    clusters = pm.enrichment.redundancy(table([{"A", "B"}, {"A", "B"}], scores=[2.0, -2.0]))
    assert clusters["cluster"].tolist() == [1, 2]


def test_over_representation_has_clusters_too(core, bulk):
    chosen = core["HYPOXIA"][:15]
    twice = {**core, "HYPOXIA AGAIN": core["HYPOXIA"][:-2]}
    found = pm.enrichment.over_representation(chosen, twice, bulk.var_names)
    clusters = pm.enrichment.redundancy(found[found["fdr"] < 0.05])
    assert set(clusters.loc[clusters["cluster"] == 1, "gene_set"]) >= {"HYPOXIA", "HYPOXIA AGAIN"}
    assert clusters.attrs["n_genes"] == 15


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[:0], "no set passed"),
        (lambda t: t.drop(columns="leading_edge"), "must have gene_set and leading_edge"),
        (lambda t: pd.concat([t, t]), "2 sets are in results more than once: S0, S1"),
        (lambda t: t.assign(leading_edge="['A']"), "holds text, not lists"),
    ],
)
def test_tables_refused(change, message):
    with pytest.raises(DataError, match=message):
        pm.enrichment.redundancy(change(table([{"A"}, {"B"}])))


def test_arguments_refused():
    with pytest.raises(DataError, match="measure='cosine'"):
        pm.enrichment.leading_edge_overlap(table([{"A"}]), "cosine")
    with pytest.raises(DataError, match="threshold=0"):
        pm.enrichment.redundancy(table([{"A"}]), 0)
