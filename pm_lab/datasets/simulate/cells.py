"""Single cells of the built-in cohort."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from pm_lab import keys
from pm_lab.datasets.simulate import model
from pm_lab.datasets.simulate.genes import pathway_log2
from pm_lab.datasets.simulate.patients import Latent, quota

VALUES_AT_ONCE = 4_000_000  # dense cells × genes held by each thread


class Barcodes(NamedTuple):
    """What was drawn for the barcodes of one patient."""

    counts: sparse.csr_matrix  # barcodes × genes
    cell_type: np.ndarray  # positions in model.COMPOSITION
    doublet: np.ndarray
    damaged: np.ndarray


def simulate_cells(
    rng: np.random.Generator,
    clinical: pd.DataFrame,
    latent: Latent,
    genes: pd.DataFrame,
    within_type: pd.DataFrame,
    profiles: np.ndarray,
    n_cells: int,
) -> tuple[ad.AnnData, dict]:
    """Cells × genes (raw counts), and the truth by cell and by patient."""
    rows = np.flatnonzero(latent.has_cells)
    ambient = rng.uniform(*model.AMBIENT_RANGE, len(rows))
    per_patient = _cells_per_patient(rng, len(rows), n_cells)
    mitochondrial = genes.index.str.startswith("MT-")
    abundance = latent.abundance.to_numpy()

    def draw(job) -> Barcodes:
        row, n, alpha, own_rng = job
        rates = _patient_rates(own_rng, row, latent, genes, within_type, profiles)
        return _draw_barcodes(own_rng, rates, mitochondrial, abundance[row], n, alpha)

    jobs = zip(rows, per_patient, ambient, rng.spawn(len(rows)), strict=True)
    counts, cell_type, doublet, damaged = _draw_all(draw, jobs, len(rows))
    obs = _cell_table(clinical.iloc[rows], per_patient, rng)
    # Two matrices, so that normalising X in place, as scanpy does, leaves the counts as they are.
    layers = {keys.COUNTS: counts.copy()}
    cells = ad.AnnData(X=counts, obs=obs, var=pd.DataFrame(index=genes.index), layers=layers)
    names = pd.Categorical.from_codes(cell_type, list(model.COMPOSITION))
    truth = {
        "cell_type": pd.Series(names, index=obs.index),
        "doublet": pd.Series(doublet, index=obs.index),
        "damaged": pd.Series(damaged, index=obs.index),
        "ambient": pd.Series(ambient, index=clinical.index[rows]),
    }
    return cells, truth


def _cells_per_patient(rng: np.random.Generator, n_patients: int, n_cells: int) -> np.ndarray:
    weight = np.exp(0.2 * rng.standard_normal(n_patients))
    per_patient = np.maximum(np.round(weight / weight.sum() * n_cells).astype(int), 5)
    per_patient[np.argmax(per_patient)] += n_cells - per_patient.sum()
    return per_patient


def _draw_all(draw, jobs, n_jobs: int) -> Barcodes:
    from tqdm.auto import tqdm

    quiet = os.environ.get("PM_LAB_PROGRESS") == "0"
    with ThreadPoolExecutor(2) as pool:  # numpy's generators release the interpreter lock
        drawn = pool.map(draw, jobs)
        parts = list(tqdm(drawn, "Simulating cells", n_jobs, leave=False, delay=2, disable=quiet))
    counts, *by_cell = zip(*parts, strict=True)
    return Barcodes(sparse.vstack(counts, format="csr"), *map(np.concatenate, by_cell))


def _cell_table(patients: pd.DataFrame, per_patient: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    """obs of the cells: what is known of the patient, and the single-cell run as batch."""
    names = [
        f"{patient}-{i:05d}"
        for patient, n in zip(patients.index, per_patient, strict=True)
        for i in range(1, n + 1)
    ]
    obs = patients.assign(batch=pd.Categorical(_balanced_runs(rng, patients["response"].to_numpy())))
    obs = obs.iloc[np.repeat(np.arange(len(patients)), per_patient)].set_axis(names)
    obs[keys.PATIENT] = pd.Categorical(obs[keys.PATIENT])
    return obs


def _balanced_runs(rng: np.random.Generator, response: np.ndarray) -> np.ndarray:
    """Two single-cell runs, each with half of the responders and half of the others."""
    runs = np.empty(len(response), dtype=object)
    for label in ("yes", "no"):
        rows = np.flatnonzero(response == label)
        runs[rows] = quota(rng, ["run1", "run2"], [0.5, 0.5], len(rows))
    return runs


def _patient_rates(rng, row: int, latent: Latent, genes, within_type: pd.DataFrame, profiles) -> np.ndarray:
    """Expected relative expression of one patient, types × genes."""
    on_axis = (genes["axis_log2"] != 0).to_numpy()
    log2 = np.where(on_axis, within_type.to_numpy() * latent.axis[row] / model.AXIS_SEPARATION, 0.0)
    activity = latent.activities.iloc[row]
    for type_row, name in enumerate(model.COMPOSITION):
        acting = [pathway for pathway in model.PATHWAYS if name in model.PATHWAYS[pathway].acts_in]
        log2[type_row] += pathway_log2(activity[acting].to_numpy(), genes, acting)
    dispersion = model.PATIENT_TYPE_DISPERSION
    return profiles * np.exp(model.LN2 * log2) * rng.gamma(1 / dispersion, dispersion, profiles.shape)


def _draw_barcodes(
    rng, rates: np.ndarray, mitochondrial: np.ndarray, abundance: np.ndarray, n: int, alpha: float
) -> Barcodes:
    """n barcodes of one patient: cells, doublets and damaged cells in the ambient RNA of fraction alpha."""
    fraction = np.exp(abundance - abundance.max())
    fraction /= fraction.sum()
    cell_size = np.array(list(model.CELL_SIZE.values()))
    types, partners = (rng.choice(len(fraction), n, p=fraction) for _ in range(2))
    doublet = rng.random(n) < model.DOUBLET_RATE
    damaged = ~doublet & (rng.random(n) < model.DAMAGED_RATE)
    library, partner_library = (
        model.MEDIAN_LIBRARY * cell_size[which] * np.exp(0.4 * rng.standard_normal(n))
        for which in (types, partners)
    )
    library *= np.where(damaged, 0.2, 1.0)
    partner_library *= doublet
    mito_factor = np.exp(0.35 * rng.standard_normal(n)) * np.where(damaged, 8.0, 1.0)
    soup = alpha * (fraction @ rates)
    dispersion = model.CELL_DISPERSION
    parts = []
    for rows in _chunks(n, max(1, VALUES_AT_ONCE // rates.shape[1])):
        mean = library[rows, None] * rates[types[rows]]
        paired = np.flatnonzero(doublet[rows])
        mean[paired] += partner_library[rows][paired, None] * rates[partners[rows][paired]]
        mean[:, mitochondrial] *= mito_factor[rows, None]
        mean *= 1 - alpha
        mean += (library + partner_library)[rows, None] * soup
        mean *= dispersion * rng.standard_gamma(1 / dispersion, mean.shape, dtype=np.float32)
        parts.append(sparse.csr_matrix(rng.poisson(mean).astype(np.float32)))
    return Barcodes(sparse.vstack(parts, format="csr"), types, doublet, damaged)


def _chunks(n: int, size: int) -> Iterator[slice]:
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))
