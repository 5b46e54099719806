"""The numbers of the model behind the built-in cohort, and its one classifier bound."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import norm

LN2 = np.log(2)

# Response ("yes" for 40 % of patients) acts through one latent axis u with u | yes ~ N(+D/2, 1) and
# u | no ~ N(-D/2, 1). With age and batch, which also differ by response, it sets the oracle AUC.
RESPONSE_RATE = 0.4
AXIS_SEPARATION = 1.72  # D
AGE_MEAN, AGE_SD = 57, 11  # years
AGE_SEPARATION = 0.4  # responders are younger by this many standard deviations
BATCHES = ("B1", "B2", "B3")
BATCH_GIVEN_YES = (0.42, 0.33, 0.25)
BATCH_GIVEN_NO = (0.27, 0.33, 0.40)
# Each gene drifts from the first batch over the second to the third, by N(0, this) log2 a batch.
BATCH_DRIFT_SD = 0.65

SUBTYPES = {"Luminal A": 0.42, "Luminal B": 0.23, "HER2-enriched": 0.14, "Basal-like": 0.21}

# Median cell-type fractions of a patient in the middle of the response axis.
COMPOSITION = {
    "Epithelial cell": 0.24,
    "Fibroblast": 0.12,
    "Endothelial cell": 0.10,
    "Macrophage": 0.11,
    "CD4 T cell": 0.13,
    "CD8 T cell": 0.10,
    "NK cell": 0.10,
    "B cell": 0.10,
}
# Natural log shift of latent abundance between responders and non-responders; one-sided on purpose.
COMPOSITION_SHIFT = {"CD8 T cell": 1.0, "NK cell": 1.0, "B cell": 1.0}
ABUNDANCE_SD = 0.42
SHIFTED_ABUNDANCE_SD = 0.12  # beside what the response axis itself varies
# Types of one lineage share most of their expression profile.
LINEAGE = {name: name for name in COMPOSITION} | dict.fromkeys(
    ("CD4 T cell", "CD8 T cell", "NK cell"), "lymphoid"
)


class Pathway(NamedTuple):
    """One pathway; correlation 0 with the response axis makes it a null one."""

    correlation: float
    subtype_means: tuple[float, ...] = (0, 0, 0, 0)  # in the order of SUBTYPES
    acts_in: tuple[str, ...] = ("Epithelial cell",)


PATHWAY_CORRELATION = 0.75
PATHWAYS = {
    "INTERFERON_GAMMA_RESPONSE": Pathway(PATHWAY_CORRELATION, acts_in=tuple(COMPOSITION)),
    "CELL_CYCLE_G2M": Pathway(PATHWAY_CORRELATION, (-0.8, 0.4, 0.3, 0.9)),
    "HYPOXIA": Pathway(-PATHWAY_CORRELATION, acts_in=("Epithelial cell", "Fibroblast", "Macrophage")),
    "TGF_BETA_SIGNALING": Pathway(-PATHWAY_CORRELATION, acts_in=("Epithelial cell", "Fibroblast")),
    "ESTROGEN_RESPONSE": Pathway(0.0, (1.0, 0.6, -0.8, -1.6)),
    "ERBB2_AMPLICON": Pathway(0.0, (-0.3, 0.0, 2.2, -0.4)),
    "P53_TARGETS": Pathway(0.0),
    "DNA_REPAIR": Pathway(0.0),
    "PI3K_AKT_MTOR": Pathway(0.0),
    "OXIDATIVE_PHOSPHORYLATION": Pathway(0.0, acts_in=("Epithelial cell", "Macrophage")),
    "UNFOLDED_PROTEIN_RESPONSE": Pathway(0.0, acts_in=("Epithelial cell", "Fibroblast")),
}


class Mutation(NamedTuple):
    frequency: tuple[float, ...]  # in the order of SUBTYPES
    pathway: str
    shift: float  # of the pathway's activity


MUTATIONS = {
    "TP53": Mutation((0.12, 0.30, 0.70, 0.80), "P53_TARGETS", -1.2),
    "PIK3CA": Mutation((0.45, 0.30, 0.38, 0.08), "PI3K_AKT_MTOR", 1.0),
    "BRCA1": Mutation((0.02, 0.03, 0.03, 0.15), "DNA_REPAIR", -1.2),
    "GATA3": Mutation((0.14, 0.13, 0.02, 0.02), "ESTROGEN_RESPONSE", 0.4),
}

N_RESPONSE_GENES = 150
TYPES_PER_RESPONSE_GENE = 5
N_BIOMARKERS = 10
BIOMARKER_AUC = 0.85
BIOMARKER_DISPERSION = 0.2
MEDIAN_DISPERSION = 0.12  # of a gene between patients, beside everything that is planted
BULK_COUNTS_PER_GENE = 500

MEDIAN_LIBRARY = 3300  # UMI of a cell of size 1
SMALL_CELLS = ("CD4 T cell", "CD8 T cell", "NK cell", "B cell")
CELL_SIZE = {name: 0.75 if name in SMALL_CELLS else 1.2 for name in COMPOSITION}
CELL_DISPERSION = 0.25
PATIENT_TYPE_DISPERSION = 0.085
AMBIENT_RANGE = (0.03, 0.08)
DOUBLET_RATE = 0.06
DAMAGED_RATE = 0.04
MITOCHONDRIAL_FRACTION = 0.05

# Log hazard ratios: age per SD, axis and interferon activity per unit, stage per step, experimental arm.
HAZARD = {"age": 0.25, "response_axis": -0.35, "stage": 0.45, "arm": -0.25, "arm_x_interferon": -0.35}
WEIBULL_SHAPE, WEIBULL_SCALE = 1.3, 70  # months


def oracle_auc() -> float:
    """AUC of the log likelihood ratio of response given the axis, age and batch.

    Given response and batch b the ratio is normal with mean ±S/2 + l_b and variance S, where
    S = D² + (age separation)² and l_b is the log ratio of the batch's probabilities; so the AUC is a
    mixture of Φ((S + l_b − l_c) / √(2 S)) over the batches b of responders and c of the others.
    """
    yes, no = np.array(BATCH_GIVEN_YES), np.array(BATCH_GIVEN_NO)
    separation = AXIS_SEPARATION**2 + AGE_SEPARATION**2
    of_batch = np.log(yes / no)
    z = (separation + np.subtract.outer(of_batch, of_batch)) / np.sqrt(2 * separation)
    return float(yes @ norm.cdf(z) @ no)


def biomarker_effect() -> float:
    """The log2 fold change m / ln 2 at which 10 genes on the axis have the joint AUC wanted.

    On the natural log scale gene j is m u / D + noise of variance v (its dispersion); the best linear
    score is the sum, with squared separation 10 m² / (v + 10 m² / D²). Set that to 2 Φ⁻¹(AUC)².
    """
    wanted = 2 * norm.ppf(BIOMARKER_AUC) ** 2
    squared = wanted * BIOMARKER_DISPERSION / (N_BIOMARKERS * (1 - wanted / AXIS_SEPARATION**2))
    return np.sqrt(squared) / LN2
