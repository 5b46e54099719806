"""The built-in cohort: patients, bulk, single cells and a drug screen from one stated latent model."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse
from scipy.stats import norm

from pm_lab import gene_sets, keys
from pm_lab.datasets.simulate_screen import simulate_screen
from pm_lab.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

LN2 = np.log(2)

# Response ("yes" for 40 % of patients) acts through one latent axis u with u | yes ~ N(+D/2, 1) and
# u | no ~ N(-D/2, 1). With age and batch, which also differ by response, it sets the oracle AUC.
RESPONSE_RATE = 0.4
AXIS_SEPARATION = 1.72
AGE_SEPARATION = 0.4  # responders are younger by this many standard deviations (11 years)
BATCHES = ("B1", "B2", "B3")
BATCH_GIVEN_YES = (0.42, 0.33, 0.25)
BATCH_GIVEN_NO = (0.27, 0.33, 0.40)

SUBTYPES = {"Luminal A": 0.42, "Luminal B": 0.23, "HER2-enriched": 0.14, "Basal-like": 0.21}

# Median cell-type fractions of a patient in the middle of the response axis.
COMPOSITION = {
    "Epithelial cell": 0.28,
    "Fibroblast": 0.13,
    "Endothelial cell": 0.09,
    "Macrophage": 0.10,
    "CD4 T cell": 0.13,
    "CD8 T cell": 0.10,
    "NK cell": 0.08,
    "B cell": 0.09,
}
# Natural log shift of latent abundance between responders and non-responders; one-sided on purpose.
COMPOSITION_SHIFT = {"CD8 T cell": 1.0, "NK cell": 1.0, "B cell": 1.0}
ABUNDANCE_SD = 0.45
SHIFTED_ABUNDANCE_NOISE_SD = 0.12
LINEAGE = {"CD4 T cell": "lymphoid", "CD8 T cell": "lymphoid", "NK cell": "lymphoid"}

# Pathway: (correlation with the response axis, subtype means in the order of SUBTYPES, cell types it
# acts in; "all" means every type). Correlation 0 is a null pathway.
TUMOUR = ("Epithelial cell",)
PATHWAYS = {
    "INTERFERON_GAMMA_RESPONSE": (0.75, (0, 0, 0, 0), "all"),
    "CELL_CYCLE_G2M": (0.75, (-0.8, 0.4, 0.3, 0.9), TUMOUR),
    "HYPOXIA": (-0.75, (0, 0, 0, 0), ("Epithelial cell", "Fibroblast", "Macrophage")),
    "TGF_BETA_SIGNALING": (-0.75, (0, 0, 0, 0), ("Epithelial cell", "Fibroblast")),
    "ESTROGEN_RESPONSE": (0.0, (1.0, 0.6, -0.8, -1.6), TUMOUR),
    "ERBB2_AMPLICON": (0.0, (-0.3, 0.0, 2.2, -0.4), TUMOUR),
    "P53_TARGETS": (0.0, (0, 0, 0, 0), TUMOUR),
    "DNA_REPAIR": (0.0, (0, 0, 0, 0), TUMOUR),
    "PI3K_AKT_MTOR": (0.0, (0, 0, 0, 0), TUMOUR),
    "OXIDATIVE_PHOSPHORYLATION": (0.0, (0, 0, 0, 0), ("Epithelial cell", "Macrophage")),
    "UNFOLDED_PROTEIN_RESPONSE": (0.0, (0, 0, 0, 0), ("Epithelial cell", "Fibroblast")),
}
# Mutation: (frequency by subtype, pathway whose activity it shifts, shift in standard deviations).
MUTATIONS = {
    "TP53": ((0.12, 0.30, 0.70, 0.80), "P53_TARGETS", -1.2),
    "PIK3CA": ((0.45, 0.30, 0.38, 0.08), "PI3K_AKT_MTOR", 1.0),
    "BRCA1": ((0.02, 0.03, 0.03, 0.15), "DNA_REPAIR", -1.2),
    "GATA3": ((0.14, 0.13, 0.02, 0.02), "ESTROGEN_RESPONSE", 0.4),
}
N_RESPONSE_GENES = 150  # respond within five of the eight cell types each
TYPES_PER_RESPONSE_GENE = 5
N_BIOMARKERS = 10
BIOMARKER_AUC = 0.85
BIOMARKER_DISPERSION = 0.2
DOUBLET_RATE = 0.06
DAMAGED_RATE = 0.04
MEDIAN_LIBRARY = 3300  # UMI of a tumour-free average cell, before ambient RNA and damage
CELL_DISPERSION = 0.25
PATIENT_TYPE_DISPERSION = 0.07
HAZARD = {"age": 0.25, "response_axis": -0.35, "stage": 0.45, "arm": -0.25, "arm_x_interferon": -0.35}


@dataclass
class Cohort:
    """One simulated cohort: ``bulk``, ``cells`` and ``screen`` (AnnData each) and the planted ``truth``."""

    bulk: ad.AnnData
    cells: ad.AnnData
    screen: ad.AnnData
    truth: dict = field(repr=False)

    @property
    def clinical(self) -> pd.DataFrame:
        """Clinical table, one row per patient (a view of ``bulk.obs``)."""
        return self.bulk.obs

    def __repr__(self) -> str:
        with_cells = self.cells.obs[keys.PATIENT].nunique()
        return (
            f"Cohort of {self.bulk.n_obs} patients (simulated)\n"
            f"  bulk    {self.bulk.n_obs:,} patients × {self.bulk.n_vars:,} genes\n"
            f"  cells   {self.cells.n_obs:,} cells of {with_cells} patients × {self.cells.n_vars:,} genes\n"
            f"  screen  {self.screen.n_obs:,} cell lines × {self.screen.n_vars:,} genes, "
            f"{self.screen.obsm[keys.RESPONSE].shape[1]} drugs\n"
            f"  truth   {', '.join(self.truth)}"
        )


def simulate_cohort(
    n_patients: int = 120,
    n_patients_with_cells: int = 24,
    n_cells: int = 6000,
    n_genes: int = 2000,
    n_lines: int = 300,
    n_drugs: int = 60,
    seed: int = 0,
) -> Cohort:
    """Simulate a breast-cancer-like cohort with bulk, single cells and a drug screen, and keep the truth.

    The model, so that it can be checked:

    *Patients.* Response y is "yes" for 40 % of patients. One latent axis u carries everything that is
    biologically different between responders and non-responders: u | y ~ N(±D/2, 1), D = 1.72, drawn by
    Latin hypercube within each response group (and within the patients who have cells), so that the
    difference in the sample equals the planted one. Age (responders 0.4 SD younger, SD 11 years) and
    batch (three, with other probabilities in responders) differ by response too: they are the
    confounders, drawn by quota. Subtype, sex, stage and arm (randomised 1:1) are independent of response.

    *Pathways.* z_k = r_k u + sqrt(1 − r_k²) e_k + subtype mean + mutation shift, e_k ~ N(0, 1), with
    r_k = ±0.75 for the four planted pathways and 0 for the null ones. Mutations depend on subtype.

    *Cell-type abundance.* Latent log-abundance a_t = log f_t + s_t u / D + noise, s_t = 1 (natural log,
    2.72-fold between groups) for CD8 T, NK and B cells, 0 otherwise. Fractions are softmax(a).

    *Bulk.* Counts are negative binomial with mean = library size × exp(η) and gene-wise dispersion
    (log-normal, median 0.12); η is linear in what was planted: base + w (a_t − E a_t) for markers of
    type t (w in .5–1) + b z_k for pathway genes + β u / D for response genes and biomarkers + age slope +
    batch shift (every gene, SD 0.9 log2). Each gene has one path at most from response, so its total
    log2 fold change is w s_t / ln 2, b r_k D or β, all between .5 and 2 in size.

    *Cells.* 12 + 12 patients (with the default sizes) have cells: random responders, each matched with a
    non-responder of the same subtype and like age, in two runs balanced over response. A cell of type t has counts negative binomial (dispersion 0.25) around
    L · [(1 − α) q + α ambient], L the log-normal library size, q the type's profile × pathway and
    response effects in the types where they act × a gamma factor per patient, type and gene
    (dispersion 0.07), α the ambient fraction of the patient (3–8 %). 6 % of barcodes are doublets (sums
    of two cells of one patient), 4 % damaged (few counts, many of them mitochondrial).

    *Drug screen.* Cell lines share the pathway loadings; ln IC50 (µM) = drug mean + line effect +
    weights · z + noise, a fifth of it missing.

    *Survival.* Weibull hazard (shape 1.3) with age, u, stage, arm and arm × interferon activity;
    administrative and random censoring; months.

    Parameters
    ----------
    n_patients : patients in the bulk cohort.
    n_patients_with_cells : patients who have single cells, half of them responders; even.
    n_cells : cells (barcodes) in all. 100,000 with ``n_genes=10_000`` works in about a minute or two.
    n_genes : genes; those of the bundled core sets first, then ``GENE00001`` and on. At least 1,200.
    n_lines, n_drugs : size of the drug screen.
    seed : equal seeds and sizes give equal bytes on one machine.

    Returns
    -------
    Cohort
        ``bulk`` (patients × genes; ``X`` = log2(CPM + 1)), ``cells`` (cells × genes; ``X`` = raw counts),
        ``screen`` (lines × genes; ``X`` = log2(TPM + 1)). ``truth`` holds

        - ``"oracle_auc"``: AUC of the best possible classifier of response, given u, age and batch
        - ``"biomarkers"``: names of 10 genes outside the pathways; ``"biomarker_auc"``: their joint AUC
        - ``"composition"``: {type: fold change of latent abundance}
        - ``"genes"``: by gene, ``response_log2_fold_change`` (total, given batch and age),
          ``marker_of``, ``pathway``, ``biomarker``, ``age_log2_slope`` (per SD), ``dispersion``
        - ``"cell_type_response"``: cell type × gene, log2 fold change within the type
        - ``"pathways"``: difference of mean activity yes − no, in SD; ``"drugs"``: drug × pathway weights
        - ``"cell_type"``, ``"doublet"``, ``"damaged"`` by cell; ``"activities"``, ``"abundance"``,
          ``"response_axis"``, ``"ambient"`` by patient; ``"hazard"``: log hazard ratios

    Raises
    ------
    DataError
        When a size cannot carry the model.

    Examples
    --------
    >>> from pm_lab.datasets import simulate_cohort
    >>> cohort = simulate_cohort(n_cells=600, seed=1)
    >>> cohort.clinical["response"].value_counts().to_dict()
    {'no': 72, 'yes': 48}
    """
    _check_sizes(n_patients, n_patients_with_cells, n_cells, n_genes, n_lines, n_drugs)
    streams = (np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(5))
    patients_rng, genes_rng, bulk_rng, cells_rng, screen_rng = streams
    clinical, latent = _draw_patients(patients_rng, n_patients, n_patients_with_cells)
    genes, within_type = _plant_genes(genes_rng, n_genes)
    profiles = _type_profiles(genes_rng, genes)
    bulk = _simulate_bulk(bulk_rng, clinical, latent, genes, profiles)
    cells, cell_truth = _simulate_cells(cells_rng, clinical, latent, genes, within_type, profiles, n_cells)
    screen, weights = simulate_screen(screen_rng, genes, list(PATHWAYS), n_lines, n_drugs)
    truth = _truth(clinical, latent, genes, within_type) | cell_truth | {"drugs": weights}
    return Cohort(bulk=bulk, cells=cells, screen=screen, truth=truth)


def _check_sizes(n_patients, n_patients_with_cells, n_cells, n_genes, n_lines, n_drugs) -> None:
    sizes = {
        "n_patients": (n_patients, 20),
        "n_patients_with_cells": (n_patients_with_cells, 4),
        "n_cells": (n_cells, 10 * n_patients_with_cells),
        "n_genes": (n_genes, 1200),
        "n_lines": (n_lines, 10),
        "n_drugs": (n_drugs, 2),
    }
    for name, (value, smallest) in sizes.items():
        if int(value) != value or value < smallest:
            raise DataError(f"{name}={value!r}: give a whole number of at least {smallest:,}.")
    n_yes = round(RESPONSE_RATE * n_patients)
    if n_patients_with_cells % 2 or n_patients_with_cells // 2 > min(n_yes, n_patients - n_yes):
        raise DataError(
            f"n_patients_with_cells={n_patients_with_cells}: half of them are responders, so it must be even "
            f"and at most {2 * min(n_yes, n_patients - n_yes)} with n_patients={n_patients}."
        )


# --- patients -----------------------------------------------------------------------------------------


def _stratified_normal(rng: np.random.Generator, n: int) -> np.ndarray:
    """n standard normal draws, one from each of n equal strata, in random order."""
    return norm.ppf((rng.permutation(n) + rng.uniform(0.02, 0.98, n)) / n)


def _quota(rng: np.random.Generator, labels, probabilities, n: int) -> np.ndarray:
    """n labels in random order whose counts match the probabilities as closely as whole numbers can."""
    edges = np.round(np.cumsum(probabilities) / np.sum(probabilities) * n).astype(int)
    counts = np.diff(np.concatenate([[0], edges]))
    return rng.permutation(np.repeat(np.asarray(labels, dtype=object), counts))


def _draw_patients(rng: np.random.Generator, n: int, n_with_cells: int) -> tuple[pd.DataFrame, dict]:
    names = pd.Index([f"P{i:0{len(str(n))}d}" for i in range(1, n + 1)], name=None)
    n_yes = round(RESPONSE_RATE * n)
    response = rng.permutation(np.repeat(["yes", "no"], [n_yes, n - n_yes]))
    axis, age_z = np.zeros(n), np.zeros(n)
    batch = np.empty(n, dtype=object)
    subtype = _quota(rng, list(SUBTYPES), list(SUBTYPES.values()), n)
    for label, sign, probabilities in (("yes", 0.5, BATCH_GIVEN_YES), ("no", -0.5, BATCH_GIVEN_NO)):
        rows = np.flatnonzero(response == label)
        age_z[rows] = _stratified_normal(rng, len(rows)) - sign * AGE_SEPARATION
        batch[rows] = _quota(rng, BATCHES, probabilities, len(rows))
    has_cells = _matched_patients(rng, response == "yes", age_z, subtype, n_with_cells)
    for label, sign in (("yes", 0.5), ("no", -0.5)):
        for group in ((response == label) & has_cells, (response == label) & ~has_cells):
            axis[group] = _stratified_normal(rng, group.sum()) + sign * AXIS_SEPARATION
    clinical = pd.DataFrame(
        {
            keys.PATIENT: names,
            "batch": pd.Categorical(batch, BATCHES),
            "age": np.clip(np.round(57 + 11 * age_z), 24, 89).astype(int),
            "sex": pd.Categorical(_quota(rng, ["female", "male"], [0.95, 0.05], n), ["female", "male"]),
            "stage": pd.Categorical(
                _quota(rng, ["I", "II", "III"], [0.3, 0.45, 0.25], n), ["I", "II", "III"], ordered=True
            ),
            "subtype": pd.Categorical(subtype, list(SUBTYPES)),
            "arm": pd.Categorical(
                _quota(rng, ["control", "experimental"], [0.5, 0.5], n), ["control", "experimental"]
            ),
            "response": pd.Categorical(response, ["no", "yes"]),
        },
        index=names,
    )
    latent = {"axis": axis, "age": (clinical["age"].to_numpy() - 57) / 11, "has_cells": has_cells}
    _draw_activities(rng, clinical, latent)
    _draw_abundance(rng, latent, n)
    _draw_survival(rng, clinical, latent)
    return clinical, latent


def _matched_patients(rng, responder: np.ndarray, age_z, subtype, n: int) -> np.ndarray:
    """Mask of n patients: random responders, each with the non-responder of like subtype and age."""
    chosen = rng.choice(np.flatnonzero(responder), n // 2, replace=False)
    free = list(np.flatnonzero(~responder))
    mask = np.zeros(len(responder), dtype=bool)
    mask[chosen] = True
    for row in chosen:
        partner = min(
            free, key=lambda other: (subtype[other] != subtype[row], abs(age_z[other] - age_z[row]))
        )
        free.remove(partner)
        mask[partner] = True
    return mask


def _draw_activities(rng: np.random.Generator, clinical: pd.DataFrame, latent: dict) -> None:
    subtype = clinical["subtype"].cat.codes.to_numpy()
    activities = pd.DataFrame(index=clinical.index)
    for name, (r, subtype_means, _) in PATHWAYS.items():
        noise = np.sqrt(1 - r**2) * rng.standard_normal(len(clinical))
        activities[name] = r * latent["axis"] + noise + np.asarray(subtype_means, float)[subtype]
    for gene, (frequency, pathway, shift) in MUTATIONS.items():
        mutated = rng.random(len(clinical)) < np.asarray(frequency)[subtype]
        clinical[f"mutation_{gene}"] = mutated
        activities[pathway] += shift * mutated
    latent["activities"] = activities


def _draw_abundance(rng: np.random.Generator, latent: dict, n: int) -> None:
    """Latent log-abundance, patients × types. Its centre is the composition in the middle of the axis."""
    centre = np.log(list(COMPOSITION.values()))
    shift = np.array([COMPOSITION_SHIFT.get(name, 0.0) for name in COMPOSITION])
    sd = np.where(shift != 0, SHIFTED_ABUNDANCE_NOISE_SD, ABUNDANCE_SD)
    deviation = np.outer(latent["axis"] / AXIS_SEPARATION, shift) + sd * rng.standard_normal((n, len(sd)))
    latent["deviation"] = deviation
    latent["abundance"] = pd.DataFrame(
        centre + deviation, index=latent["activities"].index, columns=list(COMPOSITION)
    )


def _draw_survival(rng: np.random.Generator, clinical: pd.DataFrame, latent: dict) -> None:
    experimental = (clinical["arm"] == "experimental").to_numpy()
    log_hazard = (
        HAZARD["age"] * latent["age"]
        + HAZARD["response_axis"] * latent["axis"]
        + HAZARD["stage"] * (clinical["stage"].cat.codes.to_numpy() - 1)
        + experimental
        * (HAZARD["arm"] + HAZARD["arm_x_interferon"] * latent["activities"]["INTERFERON_GAMMA_RESPONSE"])
    ).to_numpy()
    n = len(clinical)
    death = 70 * (rng.exponential(size=n) * np.exp(-log_hazard)) ** (1 / 1.3)
    censoring = np.minimum(rng.uniform(24, 96, n), rng.exponential(200, n))
    clinical["os_time"] = np.maximum(np.round(np.minimum(death, censoring), 1), 0.1)
    clinical["os_event"] = death <= censoring


# --- genes --------------------------------------------------------------------------------------------


def _plant_genes(rng: np.random.Generator, n_genes: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Roles, effects and nuisance of every gene, and the type × gene log2 effects within types."""
    core = list(dict.fromkeys(gene for members in gene_sets.core().values() for gene in members))
    core = core[: n_genes - N_RESPONSE_GENES - N_BIOMARKERS - 20]
    others = [f"GENE{i:05d}" for i in range(1, n_genes - len(core) + 1)]
    index = pd.Index(core + others)
    genes = pd.DataFrame({"marker_of": "", "marker_of_absent": "", "pathway": ""}, index=index)
    _assign_sets(genes)
    genes["loading"] = 0.0
    in_pathway = genes["pathway"] != ""
    planted_sd = 0.75 * AXIS_SEPARATION
    genes.loc[in_pathway, "loading"] = rng.uniform(0.5, 1.45, in_pathway.sum()) / planted_sd
    genes["abundance_weight"] = np.where(genes["marker_of"] != "", rng.uniform(0.52, 1.0, n_genes), 0.0)

    free = rng.permutation(others)
    response_genes, biomarkers = free[:N_RESPONSE_GENES], free[N_RESPONSE_GENES:][:N_BIOMARKERS]
    genes["axis_log2"] = 0.0
    size = rng.permutation(np.linspace(0.8, 2.0, N_RESPONSE_GENES))
    genes.loc[response_genes, "axis_log2"] = size * rng.choice([-1, 1], N_RESPONSE_GENES)
    genes["biomarker"] = index.isin(biomarkers)
    genes["dispersion"] = 0.12 * np.exp(0.5 * rng.standard_normal(n_genes))
    genes["base_ln"] = rng.normal(0.0, 1.1, n_genes)
    genes.loc[biomarkers, "dispersion"] = BIOMARKER_DISPERSION
    genes.loc[biomarkers, "base_ln"] = rng.uniform(0.5, 1.5, N_BIOMARKERS)
    genes.loc[biomarkers, "axis_log2"] = _biomarker_effect() * rng.choice([-1, 1], N_BIOMARKERS)
    # Response genes are common enough to be seen; the rest spans four orders of magnitude.
    genes.loc[response_genes, "base_ln"] = rng.uniform(-0.5, 1.5, N_RESPONSE_GENES)
    genes.loc[genes["marker_of_absent"] != "", "base_ln"] -= 2.5
    genes["age_log2_slope"] = np.where(rng.random(n_genes) < 0.5, rng.normal(0, 0.45, n_genes), 0.0)
    return genes, _effects_within_types(rng, genes, response_genes, biomarkers)


def _assign_sets(genes: pd.DataFrame) -> None:
    """One role a gene: marker of a simulated type, else of an absent type, else member of a pathway."""
    markers = gene_sets.core("cell_type")
    for name in sorted(markers, key=lambda name: name not in COMPOSITION):
        column = "marker_of" if name in COMPOSITION else "marker_of_absent"
        free = (genes["marker_of"] == "") & (genes["marker_of_absent"] == "")
        genes.loc[genes.index.isin(markers[name]) & free, column] = name
    pathways = gene_sets.core("pathway")
    for name in PATHWAYS:
        free = (genes[["marker_of", "marker_of_absent", "pathway"]] == "").all(axis=1)
        genes.loc[genes.index.isin(pathways[name]) & free, "pathway"] = name


def _biomarker_effect() -> float:
    """The log2 fold change m at which 10 genes on the axis have joint AUC .85.

    On the natural log scale gene j is m u / D + noise of variance v (its dispersion); the best linear
    score is the sum, with squared separation 10 m² / (v + 10 m² / D²). Set that to 2 Φ⁻¹(AUC)².
    """
    wanted = 2 * norm.ppf(BIOMARKER_AUC) ** 2
    squared = wanted * BIOMARKER_DISPERSION / (N_BIOMARKERS * (1 - wanted / AXIS_SEPARATION**2))
    return np.sqrt(squared) / LN2


def _effects_within_types(rng, genes: pd.DataFrame, response_genes, biomarkers) -> pd.DataFrame:
    """Cell type × gene: log2 fold change between responders and non-responders within the type."""
    types = list(COMPOSITION)
    effects = pd.DataFrame(0.0, index=types, columns=genes.index)
    for gene in response_genes:
        effects.loc[rng.choice(types, TYPES_PER_RESPONSE_GENE, replace=False), gene] = genes.at[
            gene, "axis_log2"
        ]
    effects.loc["Epithelial cell", biomarkers] = genes.loc[biomarkers, "axis_log2"]
    for name, (r, _, acts_in) in PATHWAYS.items():
        members = genes.index[genes["pathway"] == name]
        rows = types if acts_in == "all" else list(acts_in)
        effects.loc[rows, members] = (genes.loc[members, "loading"] * r * AXIS_SEPARATION).to_numpy()
    return effects


def _type_profiles(rng: np.random.Generator, genes: pd.DataFrame) -> np.ndarray:
    """Relative expression, types × genes, rows sum to one. Types of one lineage share most of theirs."""
    lineages = {name: LINEAGE.get(name, name) for name in COMPOSITION}
    shared = {name: rng.normal(0, 0.4, len(genes)) for name in dict.fromkeys(lineages.values())}
    responding = (genes["axis_log2"] != 0).to_numpy()
    own_level = rng.normal(0.9, 0.5, len(genes))
    log_profile = np.empty((len(COMPOSITION), len(genes)))
    marker_lineage = genes["marker_of"].map(lineages)
    for row, name in enumerate(COMPOSITION):
        deviation = shared[lineages[name]] + rng.normal(0, 0.25, len(genes))
        log_profile[row] = genes["base_ln"] + np.where(responding, 0.5 * deviation, deviation)
        own = (genes["marker_of"] == name).to_numpy()
        elsewhere = (genes["marker_of"] != "").to_numpy() & ~own
        same_lineage = (marker_lineage == lineages[name]).to_numpy()
        log_profile[row, own] = own_level[own]
        fall = np.where(same_lineage, 2.0, 3.2)
        log_profile[row, elsewhere] = (own_level - fall)[elsewhere]
    mitochondrial = genes.index.str.startswith("MT-")
    profile = np.exp(log_profile)
    profile[:, mitochondrial] = 0
    profile /= profile.sum(axis=1, keepdims=True)
    share = rng.dirichlet(np.full(mitochondrial.sum(), 8.0)) if mitochondrial.any() else []
    profile *= 0.95
    profile[:, mitochondrial] = 0.05 * np.asarray(share)
    return profile


# --- bulk ---------------------------------------------------------------------------------------------


def _simulate_bulk(rng, clinical: pd.DataFrame, latent: dict, genes: pd.DataFrame, profiles) -> ad.AnnData:
    n, n_genes = len(clinical), len(genes)
    eta = np.tile(np.log(np.asarray(list(COMPOSITION.values())) @ profiles), (n, 1))
    type_of = pd.Index(COMPOSITION).get_indexer(genes["marker_of"])
    marker = type_of >= 0
    eta[:, marker] += latent["deviation"][:, type_of[marker]] * genes["abundance_weight"].to_numpy()[marker]
    eta += LN2 * _pathway_log2(latent["activities"], genes)
    eta += LN2 * np.outer(latent["axis"] / AXIS_SEPARATION, genes["axis_log2"])
    eta += LN2 * np.outer(latent["age"], genes["age_log2_slope"])
    batch_shift = rng.normal(0, 0.9, (len(BATCHES), n_genes))
    eta += LN2 * batch_shift[clinical["batch"].cat.codes]
    male = (clinical["sex"] == "male").to_numpy()
    eta[:, genes.index == "XIST"] -= 6 * male[:, None]
    y_linked = genes.index.str.fullmatch(r"RPS4Y1|DDX3Y|EIF1AY|KDM5D|UTY|USP9Y|ZFY|TXLNGY|NLGN4Y|TMSB4Y")
    eta[:, y_linked] -= 6 * ~male[:, None]
    size = 500.0 * n_genes * np.exp(0.3 * rng.standard_normal(n))
    dispersion = genes["dispersion"].to_numpy()
    rate = size[:, None] * np.exp(eta) * rng.gamma(1 / dispersion, dispersion, (n, n_genes))
    counts = rng.poisson(rate).astype(np.float32)
    cpm = counts / counts.sum(axis=1, keepdims=True) * 1e6
    bulk = ad.AnnData(
        X=np.log2(cpm + 1).astype(np.float32),
        obs=clinical.copy(),
        var=pd.DataFrame(index=genes.index),
        layers={keys.COUNTS: counts},
    )
    bulk.uns[keys.ENDPOINTS] = {"os": {"time": "os_time", "event": "os_event", "unit": "months"}}
    return bulk


def _pathway_log2(activities: pd.DataFrame, genes: pd.DataFrame, pathways=None) -> np.ndarray:
    """Patients × genes: loading × activity on the log2 scale, for the pathways given (all by default)."""
    chosen = list(PATHWAYS) if pathways is None else list(pathways)
    member = genes["pathway"].to_numpy()[None, :] == np.array(chosen, dtype=object)[:, None]
    return activities[chosen].to_numpy() @ (member * genes["loading"].to_numpy())


# --- cells --------------------------------------------------------------------------------------------


def _simulate_cells(rng, clinical, latent, genes, within_type, profiles, n_cells):
    rows = np.flatnonzero(latent["has_cells"])
    ambient = rng.uniform(0.03, 0.08, len(rows))
    weight = np.exp(0.2 * rng.standard_normal(len(rows)))
    per_patient = np.maximum(np.round(weight / weight.sum() * n_cells).astype(int), 5)
    per_patient[np.argmax(per_patient)] += n_cells - per_patient.sum()
    mitochondrial = genes.index.str.startswith("MT-")
    jobs = zip(rows, per_patient, ambient, rng.spawn(len(rows)), strict=True)

    def simulate(job):
        row, n, alpha, own_rng = job
        rates = _patient_rates(own_rng, row, latent, genes, within_type, profiles)
        abundance = latent["abundance"].to_numpy()[row]
        return _draw_barcodes(own_rng, rates, mitochondrial, abundance, n, alpha)

    with ThreadPoolExecutor(2) as pool:  # numpy's generators release the interpreter lock
        parts = list(pool.map(simulate, jobs))
    counts = sparse.vstack([part[0] for part in parts], format="csr")
    names = np.concatenate(
        [
            [f"{clinical.index[row]}-{i:05d}" for i in range(1, n + 1)]
            for row, n in zip(rows, per_patient, strict=True)
        ]
    )
    obs = clinical.iloc[np.repeat(rows, per_patient)].drop(columns=["batch"])
    obs = obs.set_axis(names)
    obs[keys.PATIENT] = pd.Categorical(obs[keys.PATIENT])
    runs = _balanced_runs(rng, clinical["response"].to_numpy()[rows])
    obs.insert(1, "batch", pd.Categorical(np.repeat(runs, per_patient)))
    cells = ad.AnnData(X=counts, obs=obs, var=pd.DataFrame(index=genes.index))
    cells.layers[keys.COUNTS] = counts
    types = np.array(list(COMPOSITION), dtype=object)
    truth = {
        "cell_type": pd.Series(types[np.concatenate([p[1] for p in parts])], index=names, dtype="category"),
        "doublet": pd.Series(np.concatenate([p[2] for p in parts]), index=names),
        "damaged": pd.Series(np.concatenate([p[3] for p in parts]), index=names),
        "ambient": pd.Series(ambient, index=clinical.index[rows]),
    }
    return cells, truth


def _balanced_runs(rng: np.random.Generator, response: np.ndarray) -> np.ndarray:
    """Two single-cell runs, each with half of the responders and half of the others."""
    runs = np.empty(len(response), dtype=object)
    for label in ("yes", "no"):
        rows = np.flatnonzero(response == label)
        runs[rows] = _quota(rng, ["run1", "run2"], [0.5, 0.5], len(rows))
    return runs


def _patient_rates(rng, row: int, latent: dict, genes, within_type: pd.DataFrame, profiles) -> np.ndarray:
    """Expected relative expression of one patient, types × genes."""
    log2 = np.zeros(profiles.shape)
    planted = (genes["axis_log2"] != 0).to_numpy()
    log2[:, planted] += within_type.to_numpy()[:, planted] * latent["axis"][row] / AXIS_SEPARATION
    activity = latent["activities"].iloc[[row]]
    for type_row, name in enumerate(COMPOSITION):
        acting = [p for p, (_, _, acts_in) in PATHWAYS.items() if acts_in == "all" or name in acts_in]
        log2[type_row] += _pathway_log2(activity, genes, acting)[0]
    noise = rng.gamma(1 / PATIENT_TYPE_DISPERSION, PATIENT_TYPE_DISPERSION, profiles.shape)
    return profiles * np.exp(LN2 * log2) * noise


def _draw_barcodes(rng, rates: np.ndarray, mitochondrial, abundance: np.ndarray, n: int, alpha: float):
    """Counts (sparse, n × genes), type index, doublet and damaged flags of one patient's barcodes."""
    fraction = np.exp(abundance - abundance.max())
    fraction /= fraction.sum()
    # Tumour and stromal cells hold more RNA than lymphocytes.
    size_of_type = np.array([0.75 if t in LINEAGE or t == "B cell" else 1.2 for t in COMPOSITION])
    types = rng.choice(len(fraction), n, p=fraction)
    partners = rng.choice(len(fraction), n, p=fraction)
    doublet = rng.random(n) < DOUBLET_RATE
    damaged = ~doublet & (rng.random(n) < DAMAGED_RATE)
    library = MEDIAN_LIBRARY * size_of_type[types] * np.exp(0.4 * rng.standard_normal(n)) * np.where(damaged, 0.2, 1)
    partner_library = doublet * MEDIAN_LIBRARY * size_of_type[partners] * np.exp(0.4 * rng.standard_normal(n))
    mito_factor = np.exp(0.35 * rng.standard_normal(n)) * np.where(damaged, 8.0, 1.0)
    soup = fraction @ rates
    parts = []
    for rows in _chunks(n, max(1, 4_000_000 // rates.shape[1])):
        mean = library[rows, None] * rates[types[rows]] + partner_library[rows, None] * rates[partners[rows]]
        mean[:, mitochondrial] *= mito_factor[rows, None]
        mean = (1 - alpha) * mean + alpha * (library + partner_library)[rows, None] * soup
        mean *= rng.standard_gamma(1 / CELL_DISPERSION, mean.shape, dtype=np.float32) * CELL_DISPERSION
        parts.append(sparse.csr_matrix(rng.poisson(mean).astype(np.float32)))
    return sparse.vstack(parts, format="csr"), types, doublet, damaged


def _chunks(n: int, size: int) -> Iterator[slice]:
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


# --- truth --------------------------------------------------------------------------------------------


def _truth(clinical: pd.DataFrame, latent: dict, genes: pd.DataFrame, within_type: pd.DataFrame) -> dict:
    shift = genes["marker_of"].map(COMPOSITION_SHIFT).fillna(0.0)
    correlation = genes["pathway"].map({name: r for name, (r, _, _) in PATHWAYS.items()}).fillna(0.0)
    table = genes[["marker_of", "pathway", "biomarker", "age_log2_slope", "dispersion"]].copy()
    table.insert(
        0,
        "response_log2_fold_change",
        genes["abundance_weight"] * shift / LN2
        + genes["loading"] * correlation * AXIS_SEPARATION
        + genes["axis_log2"],
    )
    return {
        "oracle_auc": _oracle_auc(),
        "biomarkers": list(genes.index[genes["biomarker"]]),
        "biomarker_auc": BIOMARKER_AUC,
        "composition": {name: float(np.exp(shift)) for name, shift in COMPOSITION_SHIFT.items()},
        "genes": table,
        "cell_type_response": within_type,
        "pathways": pd.Series({name: r * AXIS_SEPARATION for name, (r, _, _) in PATHWAYS.items()}),
        "activities": latent["activities"],
        "abundance": latent["abundance"],
        "response_axis": pd.Series(latent["axis"], index=clinical.index),
        "hazard": dict(HAZARD),
    }


def _oracle_auc(n: int = 200_000) -> float:
    """AUC of the log likelihood ratio of response given u, age and batch, by simulation from the model."""
    rng = np.random.default_rng(0)
    log_ratio = np.log(np.array(BATCH_GIVEN_YES) / np.array(BATCH_GIVEN_NO))

    def score(sign, batch_probabilities):
        axis = rng.standard_normal(n) + sign * AXIS_SEPARATION / 2
        age = rng.standard_normal(n) - sign * AGE_SEPARATION / 2
        batch = rng.choice(len(BATCHES), n, p=batch_probabilities)
        return AXIS_SEPARATION * axis - AGE_SEPARATION * age + log_ratio[batch]

    no, yes = score(-1, BATCH_GIVEN_NO), score(1, BATCH_GIVEN_YES)
    ranks = np.searchsorted(np.sort(no), yes)
    return float(ranks.mean() / n)
