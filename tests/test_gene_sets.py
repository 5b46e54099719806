"""Gene sets: what the bundled ones hold, what the reader refuses, and how names are matched."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pm_lab as pm
from pm_lab.errors import DataError, PmLabWarning

CELL_TYPES = [
    *("CD4 T cell", "CD8 T cell", "NK cell", "B cell", "Plasma cell", "CD14 monocyte", "FCGR3A monocyte"),
    *("Macrophage", "Dendritic cell", "Plasmacytoid dendritic cell", "Mast cell", "Megakaryocyte"),
    *("Neutrophil", "Erythrocyte", "Fibroblast", "Endothelial cell", "Pericyte", "Epithelial cell"),
    "Myoepithelial cell",
]
PATHWAYS = [
    *("INTERFERON_ALPHA_RESPONSE", "INTERFERON_GAMMA_RESPONSE", "CELL_CYCLE_S", "CELL_CYCLE_G2M"),
    *("P53_TARGETS", "HYPOXIA", "EMT", "ESTROGEN_RESPONSE", "ERBB2_AMPLICON", "DNA_REPAIR"),
    *("TGF_BETA_SIGNALING", "ANGIOGENESIS", "PI3K_AKT_MTOR", "GLYCOLYSIS", "NFKB_INFLAMMATION"),
    *("ANTIGEN_PRESENTATION", "CYTOTOXICITY", "T_CELL_EXHAUSTION", "MYC_TARGETS"),
    *("OXIDATIVE_PHOSPHORYLATION", "UNFOLDED_PROTEIN_RESPONSE", "DISSOCIATION_STRESS"),
    "MITOCHONDRIAL_GENES",
]
SIGNATURES = ["PAM50", "SEX_GENES"]
MITOCHONDRIAL_SUFFIXES = (
    "ND1",
    "ND2",
    "ND3",
    "ND4",
    "ND4L",
    "ND5",
    "ND6",
    "CO1",
    "CO2",
    "CO3",
    "ATP6",
    "ATP8",
    "CYB",
)
MITOCHONDRIAL = {f"MT-{suffix}" for suffix in MITOCHONDRIAL_SUFFIXES}
# Markers that two types really share; every other marker belongs to one type.
SHARED_MARKERS = {"CD3D", "CD3E", "NKG7", "HLA-DQA1"}


@pytest.fixture
def gmt(tmp_path):
    """Write text to a gmt file and return its path."""

    def write(text, encoding="utf-8"):
        path = tmp_path / "sets.gmt"
        path.write_bytes(text.encode(encoding))
        return path

    return write


# The bundled sets


def test_core_holds_the_promised_sets_in_order():
    assert list(pm.gene_sets.core("cell_type")) == CELL_TYPES
    assert list(pm.gene_sets.core("pathway")) == PATHWAYS
    assert list(pm.gene_sets.core("signature")) == SIGNATURES
    assert list(pm.gene_sets.core()) == CELL_TYPES + PATHWAYS + SIGNATURES


def test_core_set_sizes():
    table = pm.gene_sets.describe().set_index("set")
    assert table.loc[CELL_TYPES, "n_genes"].between(12, 20).all()
    assert (
        table.loc[[name for name in PATHWAYS if name != "MITOCHONDRIAL_GENES"], "n_genes"]
        .between(15, 30)
        .all()
    )
    assert table.loc["PAM50", "n_genes"] == 50
    assert set(pm.gene_sets.core()["MITOCHONDRIAL_GENES"]) == MITOCHONDRIAL


def test_core_is_read_without_a_warning_and_has_no_repeats():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sets = pm.gene_sets.core()
    assert all(len(genes) == len(set(genes)) for genes in sets.values())


def test_every_core_set_has_a_citable_source_and_says_whether_it_was_checked():
    table = pm.gene_sets.describe()
    assert table["source"].str.contains(r"doi:10\.\d{4,9}/\S+|PMID:\d+").all()
    assert set(table["checked"]) == {"yes", "no"}
    assert table.loc[table["checked"] == "yes", "set"].tolist() == ["PAM50"]


def test_markers_are_disjoint_but_for_the_known_ones():
    counts = pd.Series(
        [gene for genes in pm.gene_sets.core("cell_type").values() for gene in genes]
    ).value_counts()
    assert set(counts.index[counts > 1]) == SHARED_MARKERS


def test_no_marker_is_interferon_induced():
    markers = {gene for genes in pm.gene_sets.core("cell_type").values() for gene in genes}
    assert markers.isdisjoint(pm.gene_sets.core()["INTERFERON_ALPHA_RESPONSE"])


def test_core_returns_a_fresh_copy():
    pm.gene_sets.core()["B cell"].clear()
    assert pm.gene_sets.core()["B cell"]


def test_core_refuses_an_unknown_kind():
    with pytest.raises(DataError, match=r"kind 'celltype'.*cell_type, pathway, signature"):
        pm.gene_sets.core("celltype")


def test_aliases_lead_to_one_symbol_that_is_no_alias_itself():
    folder = Path(pm.__file__).parents[1] / "data" / "gene_sets"
    table = pd.read_csv(folder / "aliases.tsv", sep="\t")
    assert list(table.columns) == ["alias", "approved"]
    assert table["alias"].is_unique
    assert set(table["alias"]).isdisjoint(table["approved"])
    assert not set(table["alias"]) & {gene for genes in pm.gene_sets.core().values() for gene in genes}


# The bundled sets against the registered data


def _gmt_symbols(path):
    for line in path.read_text().splitlines():
        yield from (gene for gene in line.split("\t")[2:] if gene)


def _first_column(path, skip):
    return [line.split("\t")[0].strip('"') for line in path.read_text().splitlines()[skip:]]


@pytest.fixture(scope="module")
def colorectal_symbols(mirror):
    return set(_first_column(mirror / "colorectal" / "SRP029880.raw_counts.tsv", 1))


@pytest.fixture(scope="module")
def registered_symbols(mirror, colorectal_symbols):
    symbols = set(colorectal_symbols)
    for file in ("hallmark_v7.0", "go_bp_2021", "c2_broad_2005"):
        symbols |= set(_gmt_symbols(mirror / "gene_sets" / f"{file}.gmt"))
    symbols |= set(_first_column(mirror / "p53" / "P53_collapsed_symbols.gct", 3))
    symbols |= set(_first_column(mirror / "leukemia" / "Leukemia_hgu95av2.trim.gct", 3))
    symbols |= set((mirror / "gdsc1" / "gene_list.txt").read_text().split())
    symbols |= set(pm.datasets.load("kang2018").var_names)
    return symbols | set(pm.datasets.load("kang2018_donors").var_names)


def test_every_core_symbol_is_used_by_a_registered_data_set(registered_symbols):
    unknown = {
        name: missing
        for name, genes in pm.gene_sets.core().items()
        if (missing := [gene for gene in genes if gene not in registered_symbols])
    }
    assert unknown == {}


def test_core_fits_the_colorectal_counts(colorectal_symbols):
    sets, _ = pm.gene_sets.match_symbols(pm.gene_sets.core(), colorectal_symbols)
    report = pm.gene_sets.mapping_report(sets, colorectal_symbols).set_index("set")
    absent = {gene for missing in report["missing"] for gene in missing.split(", ") if gene}
    # Not protein-coding, which is all that file holds.
    assert absent == {"IGHG1", "IGKC", "TXLNGY", "XIST"}


def test_pam50_is_the_published_list(mirror):
    published = pm.datasets.load("breast_signatures")["pam50"].index
    sets, mended = pm.gene_sets.match_symbols({"PAM50": pm.gene_sets.core()["PAM50"]}, published)
    assert sorted(sets["PAM50"]) == sorted(published)
    assert dict(zip(mended["symbol"], mended["matched_as"], strict=True)) == {
        "NUF2": "CDCA1",
        "NDC80": "KNTC2",
        "ORC6": "ORC6L",
    }


def test_mitochondrial_genes_are_all_there_are(colorectal_symbols):
    assert {gene for gene in colorectal_symbols if gene.startswith("MT-")} == MITOCHONDRIAL


def test_no_core_set_is_a_hallmark_set(mirror):
    hallmark = pm.datasets.load("gene_sets")["hallmark"]
    for name, genes in pm.gene_sets.core("pathway").items():
        overlaps = [
            len(set(genes) & set(other)) / len(set(genes) | set(other)) for other in hallmark.values()
        ]
        assert max(overlaps) < 0.3, name


@pytest.mark.parametrize("condition", ["ctrl", "stim"])
def test_markers_tell_the_authors_cell_types_apart(mirror, condition):
    cells = pm.datasets.load("kang2018_donors")
    counts = cells.layers["counts"].toarray()
    expression = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    z = np.clip((expression - expression.mean(axis=0)) / expression.std(axis=0), -5, 5)
    markers = pm.gene_sets.core("cell_type")
    report = pm.gene_sets.mapping_report(markers, cells.var_names).set_index("set")
    usable = report.index[report["fraction"] >= 0.5]
    scores = pd.DataFrame(
        {name: z[:, cells.var_names.isin(markers[name])].mean(axis=1) for name in usable},
        index=cells.obs_names,
    )
    chosen = cells.obs["condition"] == condition
    by_label = scores[chosen].groupby(cells.obs.loc[chosen, "author_cell_type"], observed=True).mean()
    assert by_label.idxmax(axis=1).to_dict() == {
        "B cells": "B cell",
        "CD14+ Monocytes": "CD14 monocyte",
        "CD4 T cells": "CD4 T cell",
        "CD8 T cells": "CD8 T cell",
        "FCGR3A+ Monocytes": "FCGR3A monocyte",
    }
    best_two = np.sort(by_label.to_numpy(), axis=1)[:, -2:]
    assert (np.diff(best_two) > 0.25).all()


# Reading gmt files


@pytest.mark.parametrize("read", [pm.gene_sets.read_gmt, pm.gene_sets.describe])
@pytest.mark.parametrize("name", ["hallmark", "go_bp", "c2_broad_2005"])
def test_a_registered_collection_is_named_with_the_call_that_loads_it(read, name):
    with pytest.raises(DataError, match=rf'pm\.datasets\.load\("gene_sets"\)\["{name}"\]'):
        read(name)


def test_a_file_may_be_called_like_a_registered_collection(gmt, monkeypatch):
    path = gmt("A\td\tCD3D\n")
    path.rename(path.with_name("hallmark"))
    monkeypatch.chdir(path.parent)
    assert pm.gene_sets.read_gmt("hallmark") == {"A": ["CD3D"]}


def test_reads_blank_descriptions_trailing_tabs_byte_order_mark_and_windows_lines(gmt):
    path = gmt("\ufeffA\t\tCD3D\tCD3E\t\r\n\r\nB\thttp://x\tMS4A1 \r\n")
    assert pm.gene_sets.read_gmt(path) == {"A": ["CD3D", "CD3E"], "B": ["MS4A1"]}
    assert pm.gene_sets.read_gmt(str(path)) == pm.gene_sets.read_gmt(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A\td\tCD3D\nB CD3E MS4A1\n", r"sets\.gmt, line 2: not a gmt line"),
        ("A\td\tCD3D\n\t\tCD3E\n", r"line 2: not a gmt line"),
        ("A\td\tCD3D\n\nB\td\t\t\n", r"line 3: set 'B' has no genes"),
        ("A\tCD3D\n", r"line 1: set 'A' has no genes"),
        ("A\td\tCD3D\nB\td\tCD4\nA\td\tCD8A\n", r"line 3: set 'A' was already given in line 1"),
        ("\n \n", r"holds no gene sets"),
    ],
)
def test_bad_lines_are_named_by_number(gmt, text, message):
    with pytest.raises(DataError, match=message):
        pm.gene_sets.read_gmt(gmt(text))


def test_a_file_that_is_no_text_is_refused(gmt):
    with pytest.raises(DataError, match="not plain text in UTF-8"):
        pm.gene_sets.read_gmt(gmt("A\td\tCD3Dé\n", encoding="latin-1"))


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r'No gmt file at .*hallmarks\.gmt.*"core"'):
        pm.gene_sets.read_gmt(tmp_path / "hallmarks.gmt")


def test_repeated_genes_are_removed_with_a_count(gmt):
    path = gmt("A\td\tCD3D\tCD3E\tCD3D\tCD3D\nB\td\tMS4A1\nC\td\tCD4\tCD4\n")
    with pytest.warns(PmLabWarning, match=r"3 repeated gene names removed from 2 sets: A \(2\), C \(1\)"):
        sets = pm.gene_sets.read_gmt(path)
    assert sets == {"A": ["CD3D", "CD3E"], "B": ["MS4A1"], "C": ["CD4"]}


# Matching names

SYMBOLS = st.sampled_from(
    ["CD3D", "CD3E", "JCHAIN", "IGJ", "NUF2", "CDCA1", "CYorf15B", "TXLNG2P", "TXLNGY", "X1"]
)
SETS = st.dictionaries(st.sampled_from("ABC"), st.lists(SYMBOLS, min_size=1), min_size=1)


@given(gene_sets=SETS, genes=st.lists(SYMBOLS, min_size=1))
def test_mapping_report_accounts_for_every_gene(gene_sets, genes):
    report = pm.gene_sets.mapping_report(gene_sets, genes)
    assert report["set"].tolist() == list(gene_sets)
    for row in report.itertuples():
        missing = set(filter(None, row.missing.split(", ")))
        assert row.size == len(set(gene_sets[row.set]))
        assert missing == set(gene_sets[row.set]) - set(genes)
        assert row.measured + len(missing) == row.size
        assert row.fraction == row.measured / row.size


@given(gene_sets=SETS, genes=st.lists(SYMBOLS, min_size=1))
def test_matching_only_adds_measured_genes_and_lists_each_change(gene_sets, genes):
    matched, mended = pm.gene_sets.match_symbols(gene_sets, genes)
    for name, members in gene_sets.items():
        renamed = mended[mended["set"] == name]
        assert set(renamed["symbol"]).isdisjoint(genes)
        assert set(renamed["matched_as"]) <= set(genes)
        assert set(members) & set(genes) <= set(matched[name])
        assert set(matched[name]) == set(members) - set(renamed["symbol"]) | set(renamed["matched_as"])
        assert len(matched[name]) == len(set(matched[name]))
    again, nothing = pm.gene_sets.match_symbols(matched, genes)
    assert again == matched
    assert nothing.empty


def test_renamed_genes_are_found_in_both_directions():
    sets, mended = pm.gene_sets.match_symbols({"A": ["JCHAIN", "CDCA1", "CD3D"]}, ["IGJ", "NUF2", "ACTB"])
    assert sets == {"A": ["IGJ", "NUF2", "CD3D"]}
    assert mended.values.tolist() == [["A", "JCHAIN", "IGJ"], ["A", "CDCA1", "NUF2"]]


def test_two_old_names_of_one_gene_meet():
    sets, mended = pm.gene_sets.match_symbols({"A": ["CYorf15B", "TXLNG2P"]}, ["TXLNGY"])
    assert sets == {"A": ["TXLNGY"]}
    assert mended["symbol"].tolist() == ["CYorf15B", "TXLNG2P"]


@pytest.mark.parametrize("compare", [pm.gene_sets.mapping_report, pm.gene_sets.match_symbols])
@pytest.mark.parametrize("version", ["", ".12"])
def test_ensembl_ids_where_symbols_are_needed(compare, version):
    genes = [f"ENSG{number:011d}{version}" for number in range(10)] + ["CD3D", "spike"]
    with pytest.raises(DataError, match=r"Ensembl ids.*symbols into var_names"):
        compare({"A": ["CD3D"]}, genes)
    with pytest.raises(DataError, match="gene sets use Ensembl ids"):
        compare({"A": genes}, ["CD3D", "CD3E"])


def test_ensembl_ids_on_both_sides_are_compared():
    ids = [f"ENSG{number:011d}" for number in range(4)]
    assert pm.gene_sets.mapping_report({"A": ids[:2]}, ids[1:])["fraction"].tolist() == [0.5]


@pytest.mark.parametrize(
    ("gene_sets", "genes", "message"),
    [
        ({"A": "CD3D"}, ["CD3D"], "'A' is a single string"),
        ({"A": ["CD3D"]}, "CD3D", "genes is a single string"),
        ({"A": ["CD3D"]}, [], "genes is empty"),
        ({}, ["CD3D"], "no genes in the gene sets"),
    ],
)
def test_shapes_that_hide_a_mistake_are_refused(gene_sets, genes, message):
    with pytest.raises(DataError, match=message):
        pm.gene_sets.mapping_report(gene_sets, genes)
