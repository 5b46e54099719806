"""Real data: the published findings of the P53 and Leukemia examples of GSEA."""

import numpy as np
import pytest

import pm_lab as pm

# The published examples are intensities without a logarithm.
pytestmark = pytest.mark.filterwarnings("ignore:expression goes up to:pm_lab.errors.PmLabWarning")
SIZES = {"min_size": 15, "max_size": 500, "null": "permute_labels"}


@pytest.fixture(scope="module")
def p53(mirror):
    return pm.datasets.load("p53")


def test_p53_sets_are_those_published(p53):
    """Subramanian 2005: FDR < .001 for the first three, .013 for P53_UP, .078 for radiation sensitivity."""
    table = pm.enrichment.gsea(
        gene_sets="c2_broad_2005", expression=p53, labels="p53", contrast=("WT", "MUT"), **SIZES
    ).set_index("gene_set")
    assert len(table) == 308
    up = table[table["normalized_enrichment_score"] > 0].sort_values("fdr")
    assert set(up.index[:4]) == {"hsp27Pathway", "p53hypoxiaPathway", "p53Pathway", "P53_UP"}
    assert (up.loc[["hsp27Pathway", "p53hypoxiaPathway", "p53Pathway"], "fdr"] < 0.005).all()
    assert up.at["P53_UP", "fdr"] == pytest.approx(0.013, abs=0.006)
    assert up.at["radiation_sensitivity", "fdr"] == pytest.approx(0.078, abs=0.03)
    assert (table["fdr"] < 0.05).sum() == 4
    score = table.loc[["hsp27Pathway", "p53hypoxiaPathway", "p53Pathway", "P53_UP"], "enrichment_score"]
    np.testing.assert_allclose(score, [0.7783, 0.6794, 0.7459, 0.5995], atol=1e-4)  # as gseapy has them


def test_the_p53_hallmark_leads_but_does_not_pass(p53):
    table = pm.enrichment.gsea(
        gene_sets="hallmark",
        expression=p53,
        labels="p53",
        contrast=("WT", "MUT"),
        n_permutations=2000,
        **SIZES,
    )
    up = table[table["normalized_enrichment_score"] > 0].iloc[0]
    assert up["gene_set"] == "HALLMARK_P53_PATHWAY"
    assert up["normalized_enrichment_score"] == pytest.approx(1.44, abs=0.04)
    assert up["pvalue"] == pytest.approx(0.03, abs=0.01)
    assert up["fdr"] > 0.8


def test_p53_with_permuted_labels_gives_nothing(p53):
    """Nothing differs, yet the pooled rate is no more than an estimate: of 300 labellings 12 % have a set."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(5):
        labels = list(rng.permutation(p53.obs["p53"]))
        run = {"gene_sets": "c2_broad_2005", "n_permutations": 200, **SIZES}
        found.append((pm.enrichment.gsea(expression=p53, labels=labels, **run)["fdr"] < 0.05).sum())
    assert np.count_nonzero(found) <= 1
    assert max(found) <= 3


def test_lymphoblastic_leukemia_divides_more(mirror):
    leukemia = pm.datasets.load("leukemia")
    table = pm.enrichment.gsea(
        gene_sets="hallmark",
        expression=leukemia,
        labels="leukemia",
        contrast=("ALL", "AML"),
        n_permutations=1000,
        **SIZES,
    ).set_index("gene_set")
    division = ["HALLMARK_E2F_TARGETS", "HALLMARK_G2M_CHECKPOINT", "HALLMARK_MITOTIC_SPINDLE"]
    myeloid = ["HALLMARK_INFLAMMATORY_RESPONSE", "HALLMARK_TNFA_SIGNALING_VIA_NFKB"]
    assert (table.loc[division, "normalized_enrichment_score"] > 1.3).all()
    assert (table.loc[myeloid, "normalized_enrichment_score"] < -1.3).all()
