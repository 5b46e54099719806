"""The built-in cohort as a whole: sizes, the model in words, the truth."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field

import anndata as ad
import numpy as np
import pandas as pd

from pm_lab import keys
from pm_lab.datasets.simulate import model
from pm_lab.datasets.simulate.bulk import simulate_bulk
from pm_lab.datasets.simulate.cells import simulate_cells
from pm_lab.datasets.simulate.genes import SMALLEST, plant_genes, total_response, type_profiles
from pm_lab.datasets.simulate.patients import Latent, draw_patients
from pm_lab.datasets.simulate.screen import simulate_screen
from pm_lab.errors import DataError


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

    The model, so that it can be checked (log2 and ln are written out; N(m, s) has standard deviation s):

    *Patients.* Response y is "yes" for 40 % of patients. One latent axis u carries everything that is
    biologically different between responders and non-responders: u | y ~ N(±D/2, 1), D = 1.72. Age
    (responders 0.4 SD younger, SD 11 years) and batch (three, with other probabilities in responders)
    differ by response too: they are the confounders. Subtype, sex, stage and arm (randomised 1:1) are
    independent of response. u and age are drawn by Latin hypercube within each response group (u also
    within the patients who have cells), batch within response and the other labels by quota, so that
    groups differ in the sample as they do in the model.

    *Pathways.* z_k = r_k u + sqrt(1 − r_k²) e_k + subtype mean + mutation shift, e_k ~ N(0, 1), with
    r_k = ±0.75 for the four planted pathways and 0 for the seven null ones. The chance of a mutation
    depends on subtype.

    *Cell-type abundance.* Latent ln abundance a_t = ln f_t + s_t u / D + noise, where s_t = 1 (2.72-fold
    between groups; noise SD 0.12) for CD8 T, NK and B cells, and s_t = 0 (noise SD 0.42) for the other
    five. Fractions are softmax(a).

    *Bulk.* Counts are negative binomial with mean = library size × exp(η) and a dispersion per gene
    (log-normal, median 0.12, ln SD 0.5; biomarkers 0.2). Library size is log-normal, ln SD 0.3, about 500
    counts a gene. η is linear in what was planted; on the log2 scale: base + w (a_t − ln f_t) / ln 2 for
    markers of type t (w in 0.52–1) + b z_k for genes of pathway k + β u / D for response genes
    (β from 0.8 to 2 in size) and biomarkers + age slope (half of the genes, N(0, 0.45) per SD) + batch (every
    gene drifts by N(0, 0.65) from each batch to the next). XIST and the genes of the Y chromosome follow
    sex. Each gene has one path at most from response, so its total log2 fold change is w s_t / ln 2,
    b r_k D or β: all that are not 0 are between 0.5 and 2 in size. Bulk shares u, z and a with the cells;
    it is not their sum.

    *Cells.* 12 + 12 patients (with the default sizes) have cells: random responders, each matched with a
    non-responder of the same subtype, where one is left, and like age. They are in two runs (``batch``),
    balanced over response, which have no effect. Cells a patient vary with ln SD 0.2, types are drawn from
    softmax(a). A cell of type t has counts negative binomial (dispersion 0.25) around
    L · [(1 − α) q_t + α Σ f_s q_s], where L is its library size (log-normal, ln SD 0.4, median 3,300 × 0.75
    for lymphocytes and × 1.2 for others), q_t the type's profile × pathway and response effects in the
    types where they act (each response gene in five types) × a gamma factor for each patient, type and
    gene (dispersion 0.085), and α the patient's ambient fraction (3–8 %). Mitochondrial genes have 5 % of a
    profile, times a factor for each cell (ln SD 0.35). 6 % of barcodes are doublets (sums of two cells of
    one patient; ``truth["cell_type"]`` is the first); 4 % of the rest are damaged (a fifth of the counts,
    mitochondrial genes × 8).

    *Drug screen.* Cell lines have pathway activities of their own (tissue mean, SD 0.6, + N(0, 1)) and the
    patients' loadings; ln IC50 (µM) = drug mean + line effect + weights · z + noise, a fifth of it missing.

    *Survival.* Proportional hazards over a Weibull baseline (shape 1.3, scale 70 months) with age, u,
    stage, arm and arm × interferon activity; administrative (24–96 months) and random censoring.

    Parameters
    ----------
    n_patients : patients in the bulk cohort.
    n_patients_with_cells : patients who have single cells, half of them responders; even.
    n_cells : cells (barcodes) in all. 100,000 with ``n_genes=10_000`` takes a minute and 4 GB.
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
          ``"response_axis"``, ``"ambient"`` by patient; ``"line_activities"`` by cell line
        - ``"hazard"``: log hazard ratios (age per SD, u and interferon activity per unit, stage per step)

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
    _check_sizes(n_patients, n_patients_with_cells, n_cells, n_genes, n_lines, n_drugs, seed)
    streams = (np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(5))
    patients_rng, genes_rng, bulk_rng, cells_rng, screen_rng = streams
    clinical, latent = draw_patients(patients_rng, n_patients, n_patients_with_cells)
    genes, within_type = plant_genes(genes_rng, n_genes)
    profiles = type_profiles(genes_rng, genes)
    bulk = simulate_bulk(bulk_rng, clinical, latent, genes, profiles)
    cells, cell_truth = simulate_cells(cells_rng, clinical, latent, genes, within_type, profiles, n_cells)
    screen, screen_truth = simulate_screen(screen_rng, genes, list(model.PATHWAYS), n_lines, n_drugs)
    truth = _truth(clinical, latent, genes, within_type) | cell_truth | screen_truth
    return Cohort(bulk=bulk, cells=cells, screen=screen, truth=truth)


def _check_sizes(n_patients, n_patients_with_cells, n_cells, n_genes, n_lines, n_drugs, seed) -> None:
    _check_whole("n_patients", n_patients, 20)
    _check_whole("n_patients_with_cells", n_patients_with_cells, 4)
    _check_whole("n_cells", n_cells, 10 * n_patients_with_cells)
    _check_whole("n_genes", n_genes, SMALLEST)
    _check_whole("n_lines", n_lines, 10)
    _check_whole("n_drugs", n_drugs, 2)
    _check_whole("seed", seed, 0)
    n_yes = round(model.RESPONSE_RATE * n_patients)
    largest = 2 * min(n_yes, n_patients - n_yes)
    if n_patients_with_cells % 2 or n_patients_with_cells > largest:
        raise DataError(
            f"n_patients_with_cells={n_patients_with_cells}: half of them are responders, so it must be even "
            f"and at most {largest} with n_patients={n_patients}."
        )


def _check_whole(name: str, value, smallest: int) -> None:
    try:
        whole = operator.index(value)
    except TypeError:
        whole = None
    if whole is None or whole < smallest:
        raise DataError(f"{name}={value!r}: give a whole number of at least {smallest:,}.")


def _truth(clinical: pd.DataFrame, latent: Latent, genes: pd.DataFrame, within_type: pd.DataFrame) -> dict:
    table = genes[["marker_of", "pathway", "biomarker", "age_log2_slope", "dispersion"]].copy()
    table.insert(0, "response_log2_fold_change", total_response(genes))
    differences = {
        name: pathway.correlation * model.AXIS_SEPARATION for name, pathway in model.PATHWAYS.items()
    }
    return {
        "oracle_auc": model.oracle_auc(),
        "biomarkers": list(genes.index[genes["biomarker"]]),
        "biomarker_auc": model.BIOMARKER_AUC,
        "composition": {name: float(np.exp(shift)) for name, shift in model.COMPOSITION_SHIFT.items()},
        "genes": table,
        "cell_type_response": within_type,
        "pathways": pd.Series(differences),
        "activities": latent.activities,
        "abundance": latent.abundance,
        "response_axis": pd.Series(latent.axis, index=clinical.index),
        "hazard": dict(model.HAZARD),
    }
