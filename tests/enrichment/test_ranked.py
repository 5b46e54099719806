"""GSEA of a ranking: scores, p-values, what is refused and what is warned of."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

import pm_lab as pm
from pm_lab.errors import DataError, PmLabWarning

CORRELATION = "genes of one pathway rise and fall together"


@pytest.fixture(autouse=True)
def _the_warning_of_correlation_is_tested_once():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", f".*{CORRELATION}", PmLabWarning)
        yield


@pytest.fixture(scope="module")
def results(ranking, sets):
    with pytest.warns(PmLabWarning, match=CORRELATION):
        return pm.enrichment.gsea(ranking, sets)


def walk(values: np.ndarray, member: np.ndarray) -> np.ndarray:
    """The running score as Subramanian 2005 writes it, gene by gene."""
    order = np.argsort(-values, kind="stable")
    hit = member[order]
    rises = np.where(hit, np.abs(values[order]), 0)
    return np.cumsum(rises / rises.sum() - ~hit / (~hit).sum())


def as_far_up_as_down(running: np.ndarray) -> bool:
    """Then the score may have either sign."""
    return running.max() == pytest.approx(-running.min())


@settings(max_examples=50)
@given(seed=st.integers(0, 10_000), n_genes=st.integers(15, 60), size=st.integers(3, 12))
def test_score_and_leading_edge_are_those_of_the_definition(seed, n_genes, size):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=n_genes)
    names = np.array([f"G{i:03d}" for i in range(n_genes)])
    member = np.isin(np.arange(n_genes), rng.choice(n_genes, size, replace=False))
    running = walk(values, member)
    assume(not as_far_up_as_down(running))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PmLabWarning)
        row = pm.enrichment.gsea(
            pd.Series(values, names), {"A": names[member]}, min_size=1, n_permutations=100
        ).iloc[0]
    peak = np.argmax(running) if running.max() >= -running.min() else np.argmin(running)
    assert row["enrichment_score"] == pytest.approx(running[peak])
    order = np.argsort(-values)
    before = order[: peak + 1] if running[peak] > 0 else order[peak + 1 :][::-1]
    assert row["leading_edge"] == [names[gene] for gene in before if member[gene]]


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_turning_the_ranking_round_turns_the_score(seed):
    rng = np.random.default_rng(seed)
    ranking = pd.Series(rng.normal(size=80), [f"G{i}" for i in range(80)])
    sets = {f"S{j}": list(rng.choice(ranking.index, 12, replace=False)) for j in range(5)}
    assume(not any(as_far_up_as_down(walk(ranking.to_numpy(), ranking.index.isin(s))) for s in sets.values()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PmLabWarning)
        there, back = (
            pm.enrichment.gsea(one, sets, n_permutations=100).set_index("gene_set").loc[list(sets)]
            for one in (ranking, -ranking)
        )
    np.testing.assert_allclose(there["enrichment_score"], -back["enrichment_score"], atol=1e-12)
    assert there["leading_edge"].tolist() == back["leading_edge"].tolist()


def test_the_planted_sets_are_found_and_no_other(results):
    assert set(results["gene_set"].iloc[:2]) == {"UP", "DOWN"}
    score = results.set_index("gene_set")["normalized_enrichment_score"]
    assert score["UP"] > 1.5
    assert score["DOWN"] < -1.5
    assert set(results.loc[results["fdr"] < 0.05, "gene_set"]) == {"UP", "DOWN"}
    assert results.attrs["method"] == "permutation"
    assert results.attrs["ranking"] == {"n_missing": 0, "n_genes": 1000, "n_ties": 0}


def test_no_p_value_is_zero_and_the_smallest_is_what_permutations_allow(results):
    # Of 1,000 random sets about half have the sign; one is added above and below.
    assert results["pvalue"].iloc[0] == pytest.approx(1 / 500, rel=0.15)
    assert (results["fdr"] > 0).all()


def test_scores_agree_with_gseapy(ranking, sets, results):
    import gseapy

    theirs = gseapy.prerank(ranking, sets, min_size=10, outdir=None, no_plot=True, seed=0, threads=1).res2d
    both = results.merge(theirs, left_on="gene_set", right_on="Term")
    assert len(both) == len(sets)
    np.testing.assert_allclose(both["enrichment_score"], both["ES"].astype(float), atol=1e-9)
    # Both divide by the mean of 1,000 random sets' scores, each its own.
    np.testing.assert_allclose(both["normalized_enrichment_score"], both["NES"].astype(float), rtol=0.05)


def test_multilevel_agrees_with_many_permutations(ranking, sets):
    many = pm.enrichment.gsea(ranking, sets, n_permutations=20_000).set_index("gene_set")
    multilevel = pm.enrichment.gsea(ranking, sets, method="multilevel").set_index("gene_set").loc[many.index]
    assert multilevel.attrs["fdr"] == "Benjamini-Hochberg"
    np.testing.assert_allclose(multilevel["fdr"], stats.false_discovery_control(multilevel["pvalue"]))
    likely = many["pvalue"] > 0.01
    np.testing.assert_allclose(multilevel["pvalue"][likely], many["pvalue"][likely], atol=0.05)
    assert (multilevel["pvalue"][["UP", "DOWN"]] < 1e-3).all()
    assert multilevel["leading_edge"].tolist() == many["leading_edge"].tolist()


def test_many_sets_are_tested_by_multilevel(ranking):
    rng = np.random.default_rng(2)
    sets = {f"S__{i}": list(rng.choice(ranking.index, 15, replace=False)) for i in range(101)}
    assert pm.enrichment.gsea(ranking, sets).attrs["method"] == "multilevel"
    assert pm.enrichment.gsea(ranking, dict(list(sets.items())[:100])).attrs["method"] == "permutation"


@pytest.mark.parametrize("method", ["permutation", "multilevel"])
def test_equal_seeds_give_equal_results_in_any_order_of_genes(ranking, sets, method):
    table = pm.enrichment.gsea(ranking, sets, seed=3, method=method)
    shuffled = ranking.sample(frac=1, random_state=1)
    backwards = dict(reversed(sets.items()))
    pd.testing.assert_frame_equal(table, pm.enrichment.gsea(shuffled, backwards, seed=3, method=method))
    other = pm.enrichment.gsea(ranking, sets, seed=4, method=method)
    assert not table["pvalue"].equals(other["pvalue"])


def test_random_rankings_give_p_values_that_are_uniform(ranking, sets):
    rng = np.random.default_rng(5)
    few = {name: sets[name] for name in ("RANDOM1", "RANDOM2")}
    pvalues = []
    for _ in range(100):
        shuffled = pd.Series(rng.permutation(ranking.to_numpy()), ranking.index)
        pvalues += list(pm.enrichment.gsea(shuffled, few, n_permutations=200)["pvalue"])
    assert stats.kstest(pvalues, "uniform").pvalue > 0.01


def test_the_table_of_differential_expression_is_ranked_by_its_statistic(ranking, sets):
    table = pd.DataFrame({"log2_fold_change": 0.0, "stat": ranking, "pvalue": 1.0})
    table.loc["GENE999", "stat"] = np.nan
    found = pm.enrichment.gsea(table, sets, n_permutations=100)
    assert found.attrs["ranking"]["n_missing"] == 1
    expected = pm.enrichment.gsea(ranking.drop("GENE999"), sets, n_permutations=100)
    pd.testing.assert_frame_equal(found, expected)


def test_ties_are_counted_and_many_are_warned_of(ranking, sets):
    with pytest.warns(PmLabWarning, match="of 1,000 genes share their value"):
        found = pm.enrichment.gsea(ranking.round(2), sets, n_permutations=100)
    assert found.attrs["ranking"]["n_ties"] == ranking.round(2).duplicated(keep=False).sum()


def test_ties_carry_no_order_of_names(sets):
    names = [f"GENE{i:03d}" for i in range(400)]
    ranking = pd.Series(np.r_[np.zeros(300) + 0.5, -np.ones(100)], names)
    run = {"gene_sets": {"FIRST": names[:25]}, "n_permutations": 200}  # first by name of a block of 300
    with pytest.warns(PmLabWarning, match="put in random order"):
        found = [pm.enrichment.gsea(ranking, seed=seed, **run) for seed in range(20)]
        again = pm.enrichment.gsea(ranking.sample(frac=1, random_state=0), seed=3, **run)
        figure = pm.enrichment.plot_running_score(ranking, run["gene_sets"], "FIRST", found[3])
    pd.testing.assert_frame_equal(again, found[3])
    assert f"to {found[3]['enrichment_score'].iloc[0]:.2f}" in figure.get_label()
    scores = [table["enrichment_score"].iloc[0] for table in found]
    assert max(scores) < 0.6  # ordered by name it would be 1
    assert len(set(scores)) > 10


def test_a_ranking_without_a_sign_is_warned_of(ranking, sets):
    with pytest.warns(PmLabWarning, match="no negative value"):
        pm.enrichment.gsea(ranking.abs(), sets, n_permutations=100)


def test_a_set_without_any_null_score_of_its_sign_is_no_evidence():
    names = [f"G{i}" for i in range(40)]
    flat = pd.Series(np.r_[np.full(20, 1.0), np.full(20, 1e-9)], names)
    with pytest.warns(PmLabWarning):
        found = pm.enrichment.gsea(flat, {"A": names[20:32]}, n_permutations=100)
    assert np.isfinite(found["normalized_enrichment_score"]).all()
    assert 0 < found["pvalue"].iloc[0] <= 1


def test_genes_may_be_named_by_numbers(ranking, sets):
    numbered = ranking.set_axis(range(len(ranking)))
    numbers = {i: [int(gene.removeprefix("GENE")) for gene in sets[name]] for i, name in enumerate(sets)}
    found = pm.enrichment.gsea(numbered, numbers, n_permutations=100)
    assert set(found["gene_set"].iloc[:2]) == {"0", "1"}
    assert set(found["leading_edge"].iloc[0]) <= set(map(str, range(40)))
    with pytest.raises(DataError, match="Gene set 'A' has a missing value"):
        pm.enrichment.gsea(numbered, {"A": [1, 2, np.nan]})
    with pytest.raises(DataError, match="Two gene sets are called '1'"):
        pm.enrichment.gsea(numbered, {1: [1, 2], "1": [3]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.mask(r.index == "GENE3"), r"no finite number for 1 of 1,000 genes \(GENE3\)"),
        (lambda r: r.where(r.index != "GENE3", np.inf), "no finite number for 1 of"),
        (lambda r: pd.concat([r, r[:2]]), r"2 genes are in the ranking more than once \(GENE0, GENE1\)"),
        (lambda r: r * 0, "all 1,000 genes of the ranking have one value, 0"),
        (lambda r: r.to_frame("score"), "no column 'stat'"),
        (lambda r: list(r), "ranking is a list"),
        (lambda r: None, "ranking is missing"),
        (lambda r: r.set_axis([f"ENSG{i:011d}" for i in range(len(r))]), "are Ensembl ids"),
        (lambda r: r.set_axis([f"X{i}" for i in range(len(r))]), "None of the genes of the 14 sets"),
    ],
)
def test_rankings_refused(ranking, sets, change, message):
    with pytest.raises(DataError, match=message):
        pm.enrichment.gsea(change(ranking), sets)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gene_sets": None}, "gene_sets is missing"),
        ({"null": "genes"}, "null is one of"),
        ({"method": "fast"}, "method of"),
        ({"n_permutations": 10}, "n_permutations=10: 100 at least"),
        ({"labels": ["a"]}, 'labels: for null="permute_labels" only'),
        ({"null": "permute_labels"}, "makes its own ranking"),
    ],
)
def test_arguments_refused(ranking, sets, arguments, message):
    with pytest.raises(DataError, match=message):
        pm.enrichment.gsea(ranking, **{"gene_sets": sets, **arguments})
