"""Over-representation: the hypergeometric test, and what it refuses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import pm_lab as pm
from pm_lab.errors import DataError, DatasetUnavailable

GENES = [f"GENE{i}" for i in range(40)]


@given(
    chosen=st.sets(st.sampled_from(GENES), min_size=1, max_size=39),
    members=st.sets(st.sampled_from(GENES), min_size=1, max_size=39),
)
def test_it_is_fishers_exact_test(chosen, members):
    row = pm.enrichment.over_representation(chosen, {"A": members}, GENES, min_size=1).iloc[0]
    a, b, c = len(chosen & members), len(members - chosen), len(chosen - members)
    table = [[a, b], [c, 40 - a - b - c]]
    expected = stats.fisher_exact(table, alternative="greater")
    assert row["pvalue"] == pytest.approx(expected.pvalue)
    np.testing.assert_allclose(row["odds_ratio"], expected.statistic)
    assert row["expected"] == pytest.approx(len(chosen) * len(members) / 40)
    assert set(row["genes"]) == chosen & members
    assert (row["size"], row["overlap"]) == (len(members), a)


def test_fdr_is_benjamini_hochberg_over_all_sets_tested(core, bulk):
    chosen = [*core["HYPOXIA"][:8], *core["EMT"][:4]]
    table = pm.enrichment.over_representation(chosen, core, bulk.var_names)
    assert table["gene_set"].iloc[0] == "HYPOXIA"
    assert len(table) == len(core)
    np.testing.assert_allclose(table["fdr"], stats.false_discovery_control(table["pvalue"]))
    assert table["pvalue"].is_monotonic_increasing


def test_genes_of_sets_outside_the_background_do_not_count(core, bulk):
    few = list(bulk.var_names[:500])
    table = pm.enrichment.over_representation(few[:50], core, few, min_size=1).set_index("gene_set")
    for name in table.index:
        assert table.at[name, "size"] == len(set(core[name]) & set(few))
    mapping = table.attrs["mapping"]
    for name, tested, why in zip(mapping["set"], mapping["tested"], mapping["why"], strict=True):
        assert (name in table.index) == tested
        assert bool(why) != tested


def test_what_was_dropped_mended_and_repeated_is_reported():
    background = ["IGJ", *GENES]
    sets = {"PLASMA": ["JCHAIN", *GENES[:9]], "SMALL": GENES[:3], "ABSENT": ["X1"], "LARGE": GENES}
    table = pm.enrichment.over_representation(["IGJ", "IGJ"], sets, background, max_size=20)
    assert table["gene_set"].tolist() == ["PLASMA"]
    assert table["genes"].iloc[0] == ["IGJ"]
    assert table.attrs["mended"] == {"set": ["PLASMA"], "symbol": ["JCHAIN"], "matched_as": ["IGJ"]}
    assert table.attrs["n_repeated"] == 1
    reasons = dict(zip(table.attrs["mapping"]["set"], table.attrs["mapping"]["why"], strict=True))
    assert reasons == {
        "PLASMA": "",
        "SMALL": "fewer than 10 genes measured",
        "ABSENT": "no gene measured",
        "LARGE": "more than 20 genes measured",
    }


@pytest.mark.parametrize(
    ("genes", "background", "message"),
    [
        (GENES[:3], None, "background is missing.*every gene that was tested"),
        (GENES[:3], 20_000, "background is 20000: give a list"),
        ("GENE1", GENES, "genes is 'GENE1'"),
        ([], GENES, "genes is empty"),
        (GENES, GENES, "all 40 genes of the background"),
        (["GENE1", "TP53", "MYC"], GENES, r"2 of 3 genes are not in the background \(MYC, TP53\)"),
    ],
)
def test_refused(genes, background, message):
    with pytest.raises(DataError, match=message):
        pm.enrichment.over_representation(genes, {"A": GENES[:10]}, background)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ({"A": ["TP53", "MYC"]}, r"None of the genes of the 1 sets \(TP53, MYC, ...\)"),
        ({"A": GENES[:5]}, "the largest, 'A', has 5 of 5"),
        ({"A": "GENE1"}, "'A' is a single string"),
        ({}, "no genes in the gene sets"),
        ([GENES], "gene_sets is a list"),
        ({"A": [f"ENSG{i:011d}" for i in range(12)]}, "gene sets use Ensembl ids"),
    ],
)
def test_gene_sets_that_cannot_be_tested_are_refused(sets, message):
    with pytest.raises(DataError, match=message):
        pm.enrichment.over_representation(GENES[:3], sets, GENES)


def test_sizes_that_make_no_sense_are_refused():
    with pytest.raises(DataError, match="min_size=0"):
        pm.enrichment.over_representation(GENES[:3], {"A": GENES[:10]}, GENES, min_size=0)


def test_gene_sets_from_a_file_or_by_name(tmp_path, mirror):
    path = tmp_path / "sets.gmt"
    path.write_text("A\td\t" + "\t".join(GENES[:12]) + "\n")
    assert pm.enrichment.over_representation(GENES[:3], path, GENES)["gene_set"].tolist() == ["A"]
    assert len(pm.enrichment.read_gmt("hallmark")) == 50
    assert pm.enrichment.read_gmt("core") == pm.gene_sets.read_gmt("core")


def test_registered_sets_that_are_not_here_are_not_fetched(temporary_cache, monkeypatch):
    """The error comes from the folders: a socket would fail with another one."""
    monkeypatch.delenv("PM_LAB_MIRROR", raising=False)
    monkeypatch.delenv("PM_LAB_OFFLINE", raising=False)
    with pytest.raises(DatasetUnavailable, match=r"asks no server:\n.*hallmark_v7"):
        pm.enrichment.over_representation(GENES[:3], "hallmark", GENES)


def test_a_malformed_line_is_named_by_its_number(tmp_path):
    path = tmp_path / "sets.gmt"
    path.write_text("A\td\tTP53\nB TP53 MYC\n")
    with pytest.raises(DataError, match=r"sets\.gmt, line 2: not a gmt line"):
        pm.enrichment.over_representation(GENES[:3], path, GENES)
    with pytest.raises(DataError, match=r"sets\.gmt, line 2"):
        pm.enrichment.read_gmt(path)
