"""Which barcodes are whole, single cells."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from .. import checks, keys
from ..errors import DataError, PmLabWarning
from . import embedding
from .processing import per_ten_thousand, variable_genes

if TYPE_CHECKING:
    from anndata import AnnData

ENOUGH_CELLS = 50  # a patient with fewer is judged by the limits of all patients together
LOWEST_MT_LIMIT = 5.0  # percent: below this a mitochondrial share is never an outlier
MAD_TO_SD = 1.4826  # of a normal distribution
SIMULATED_PER_CELL = 2  # simulated doublets for each cell
EXPECTED_DOUBLETS = 0.06  # prior in Scrublet's score; it moves the score, hardly the ranking
DOUBLET_GENES, DOUBLET_COMPONENTS = 1000, 20
FEWEST_FOR_DOUBLETS = 100  # with fewer cells in all, neighbourhoods say nothing
REASONS = ("low_counts", "high_counts", "few_genes", "many_genes", "high_mt", "doublet")


def quality_control(
    cells: AnnData,
    patient_key: str = "patient",
    n_mads: float = 3.5,
    mt_prefix: str = "MT-",
    doublets: bool = True,
    doublet_threshold: float | None = None,
    seed: int = 0,
    copy: bool = False,
) -> pd.DataFrame | tuple[pd.DataFrame, AnnData]:
    """Mark broken cells and doublets, patient by patient. No cell is deleted.

    A cell is an outlier when its log counts or log number of genes lie further than ``n_mads`` robust
    standard deviations (1.4826 × median absolute deviation) from its patient's median, or when its
    mitochondrial percentage lies that far above it and above 5 %. A patient with fewer than 50 cells is
    judged by the limits of all cells.

    Doublets are found by Scrublet's score: the share of simulated doublets among a cell's nearest
    neighbours, made a probability of being one. Doublets form between cells of one sample, so they are
    simulated within patients; neighbours are searched among all cells, so that rare types have some.
    (``sc.pp.scrublet`` does neither, and takes minutes at 20,000 cells.) Doublets of two cells of the
    same type cannot be told from single cells by this score.

    Parameters
    ----------
    cells : cells × genes with raw counts in ``layers["counts"]`` or ``X``.
    patient_key : column of ``obs`` with the patient (or the sample, where a patient gave several).
    n_mads : how far from the median a cell may lie. Lower is stricter.
    mt_prefix : how names of mitochondrial genes start (``"mt-"`` in mice).
    doublets : whether to look for doublets. Turn it off for data already cleaned of them.
    doublet_threshold : score above which a cell is a doublet. By default Otsu's threshold of the simulated
        doublets' log odds, which parts those that stand out from those that look like single cells. It
        errs towards keeping: on the simulated cohort 84–100 % of the cells called are doublets and about
        60 % of all doublets are called. The threshold used is in ``table.attrs``.
    seed : of the simulated doublets.
    copy : leave ``cells`` as it is and return ``(table, changed copy)``.

    Returns
    -------
    pandas.DataFrame
        One row per patient: ``n_cells``, ``n_kept``, ``fraction_kept``, number dropped by reason (a cell
        may have several: ``low_counts``, ``high_counts``, ``few_genes``, ``many_genes``, ``high_mt``,
        ``doublet``), ``median_counts``, ``median_genes``, ``median_mt_percent`` (NaN when no mitochondrial
        gene is measured), the limits ``min_counts`` … ``max_mt_percent``, and ``limits_from``
        ("patient" or "all"). ``.attrs["doublet_threshold"]`` is the threshold used.

        Written into ``obs``: ``total_counts``, ``n_genes_by_counts``, ``pct_counts_mt``,
        ``doublet_score`` (NaN with ``doublets=False``), ``keep`` and ``qc_reason`` (reasons joined by
        ";", empty for kept cells). Go on with ``cells = cells[cells.obs["keep"]].copy()``.

    Raises
    ------
    DataError
        No counts, no cells, a name twice, no patient column, patients missing.

    Warns
    -----
    PmLabWarning
        When no mitochondrial gene is measured, or a patient keeps less than half of the cells.

    References
    ----------
    MAD outliers: doi:10.12688/f1000research.9501.2. Scrublet: doi:10.1016/j.cels.2018.11.005.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cells = pm.datasets.simulate_cohort(n_cells=600).cells
    >>> table = pm.singlecell.quality_control(cells)
    >>> cells = cells[cells.obs["keep"]].copy()
    """
    checks.unique_names(cells)
    counts = checks.counts(cells)
    patient = checks.obs_column(cells, patient_key, argument="patient_key")
    if copy:
        cells = cells.copy()
    metrics = _metrics(cells, counts, mt_prefix)
    limits = _limits(metrics, patient, n_mads)
    reasons = _outliers(metrics, limits.iloc[limits.index.get_indexer(patient)].set_axis(cells.obs_names))

    threshold = np.nan
    score = np.full(cells.n_obs, np.nan)
    if doublets:
        whole = ~(reasons["low_counts"] | reasons["few_genes"] | reasons["high_mt"]).to_numpy()
        if whole.sum() < FEWEST_FOR_DOUBLETS:
            raise DataError(
                f"{int(whole.sum())} whole cells are too few to find doublets among "
                f"({FEWEST_FOR_DOUBLETS} are needed). Pass doublets=False."
            )
        score[whole], simulated = _doublet_scores(counts[whole], patient[whole], cells.var_names, seed)
        threshold = _threshold(simulated) if doublet_threshold is None else doublet_threshold
    reasons["doublet"] = score > threshold

    cells.obs[metrics.columns] = metrics
    cells.obs[keys.DOUBLET_SCORE] = score
    cells.obs[keys.KEEP] = ~reasons.any(axis=1)
    cells.obs["qc_reason"] = _join_reasons(reasons)
    table = _table(metrics, reasons, cells.obs[keys.KEEP], patient, limits)
    table.attrs["doublet_threshold"] = float(threshold)
    cells.uns.setdefault(keys.RECORD, {})["quality_control"] = {
        "patient_key": patient_key,
        "n_mads": n_mads,
        "mt_prefix": mt_prefix,
        "doublets": doublets,
        "doublet_threshold": float(threshold),
        "seed": seed,
        "limits": limits.drop(columns="limits_from").set_axis(limits.index.astype(str)),
    }
    _warn_of_losses(table)
    return (table, cells) if copy else table


def _metrics(cells: AnnData, counts, mt_prefix: str) -> pd.DataFrame:
    """Counts, genes and mitochondrial percentage of each cell, under scanpy's names."""
    total = np.asarray(counts.sum(axis=1)).ravel().astype(float)
    seen = _n_detected(counts)
    mitochondrial = cells.var_names.str.startswith(mt_prefix)
    percent = np.full(len(total), np.nan)
    if mitochondrial.any():
        of_mt = np.asarray(counts[:, mitochondrial].sum(axis=1)).ravel()
        percent = 100 * of_mt / np.maximum(total, 1)
    else:
        warnings.warn(
            f"no gene name starts with {mt_prefix!r}: damaged cells cannot be told by their mitochondrial "
            'share. Pass mt_prefix=... if the genes are named otherwise (mouse: "mt-").',
            PmLabWarning,
            stacklevel=3,
        )
    return pd.DataFrame(
        {"total_counts": total, "n_genes_by_counts": seen, "pct_counts_mt": percent}, index=cells.obs_names
    )


def _n_detected(counts) -> np.ndarray:
    """Genes with a count in each cell. Zeros may be stored in a sparse matrix and are none."""
    if not sparse.issparse(counts):
        return np.count_nonzero(counts, axis=1)
    if counts.format == "csr" and counts.data.all():
        return np.diff(counts.indptr).astype(int)
    make = sparse.csc_array if counts.format == "csc" else sparse.csr_array
    seen = make(((counts.data != 0).astype(np.float32), counts.indices, counts.indptr), shape=counts.shape)
    return (seen @ np.ones(counts.shape[1], dtype=np.float32)).astype(int)


def _limits(metrics: pd.DataFrame, patient: pd.Series, n_mads: float) -> pd.DataFrame:
    """Limits of each patient: lowest and highest counts and genes, highest mitochondrial percentage."""
    everybody = _limits_of(metrics, n_mads) | {"limits_from": "all"}
    rows = {}
    for name, group in metrics.groupby(patient, observed=True):
        own = len(group) >= ENOUGH_CELLS
        rows[name] = _limits_of(group, n_mads) | {"limits_from": "patient"} if own else everybody
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(patient.name)


def _limits_of(metrics: pd.DataFrame, n_mads: float) -> dict[str, float]:
    log = np.log1p(metrics[["total_counts", "n_genes_by_counts"]])
    middle = log.median()
    reach = n_mads * MAD_TO_SD * (log - middle).abs().median()
    low, high = np.expm1(middle - reach), np.expm1(middle + reach)
    mt = metrics["pct_counts_mt"].dropna()  # all of it where no mitochondrial gene is measured
    mt_limit = mt.median() + n_mads * MAD_TO_SD * (mt - mt.median()).abs().median()
    return {
        "min_counts": low["total_counts"],
        "max_counts": high["total_counts"],
        "min_genes": low["n_genes_by_counts"],
        "max_genes": high["n_genes_by_counts"],
        "max_mt_percent": max(mt_limit, LOWEST_MT_LIMIT) if len(mt) else np.nan,
    }


def _outliers(metrics: pd.DataFrame, limits: pd.DataFrame) -> pd.DataFrame:
    """Cells × reasons, bool. ``limits`` has a row per cell."""
    counts, genes = metrics["total_counts"], metrics["n_genes_by_counts"]
    return pd.DataFrame(
        {
            "low_counts": (counts < limits["min_counts"]) | (counts == 0),
            "high_counts": counts > limits["max_counts"],
            "few_genes": genes < limits["min_genes"],
            "many_genes": genes > limits["max_genes"],
            "high_mt": metrics["pct_counts_mt"] > limits["max_mt_percent"],
        }
    )


def _doublet_scores(counts, patient: pd.Series, names: pd.Index, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scrublet's score of each cell and of each simulated doublet."""
    counts = sparse.csr_matrix(counts)
    n = counts.shape[0]
    normalised = per_ten_thousand(counts)
    chosen = variable_genes(normalised, names, None, DOUBLET_GENES)["highly_variable"].to_numpy()
    observed = normalised[:, chosen]
    del normalised
    first = np.tile(np.arange(n), SIMULATED_PER_CELL)
    second = _partners(patient, seed)
    total = np.asarray(counts.sum(axis=1)).ravel()
    few = counts[:, chosen].astype(np.float32)
    simulated = few[first] + few[second]
    simulated = sparse.diags_array(np.float32(1e4) / (total[first] + total[second])) @ simulated
    observed, simulated = np.log1p(observed), np.log1p(simulated.tocsr().astype(np.float32))

    n_comps = min(DOUBLET_COMPONENTS, n - 1, int(chosen.sum()) - 1)
    components = embedding.fit_components(observed, n_comps)
    points = np.vstack([embedding.project(X, components) for X in (observed, simulated)])
    k = min(round(0.5 * np.sqrt(n) * (1 + SIMULATED_PER_CELL)), n - 1)
    neighbours, _ = embedding.nearest_others(points, k)
    score = _probability((neighbours >= n).sum(axis=1), k)
    return score[:n], score[n:]


def _partners(patient: pd.Series, seed: int) -> np.ndarray:
    """For each cell, and again for each simulated doublet of it, another cell of the same patient."""
    rng = np.random.default_rng(seed)
    codes = pd.factorize(patient)[0]
    order = np.argsort(codes, kind="stable")
    size = np.bincount(codes)
    start = np.concatenate([[0], np.cumsum(size)[:-1]])
    place = np.empty(len(codes), dtype=int)
    place[order] = np.arange(len(codes)) - start[codes[order]]
    n_others = np.maximum(size[codes] - 1, 1)
    draws = []
    for _ in range(SIMULATED_PER_CELL):
        step = 1 + (rng.random(len(codes)) * n_others).astype(int)
        draws.append(order[start[codes] + (place + step) % size[codes]])
    return np.concatenate(draws)


def _probability(n_simulated: np.ndarray, k: int) -> np.ndarray:
    """Scrublet's likelihood of being a doublet, from the number of simulated ones among k neighbours."""
    q = (n_simulated + 1) / (k + 2)
    rho, r = EXPECTED_DOUBLETS, SIMULATED_PER_CELL
    return q * rho / r / (1 - rho - q * (1 - rho - rho / r))


def _threshold(simulated: np.ndarray) -> float:
    """Otsu's threshold on the log odds of simulated doublets' scores."""
    from scipy.special import expit, logit
    from skimage.filters import threshold_otsu

    return float(expit(threshold_otsu(logit(np.clip(simulated, 1e-6, 1 - 1e-6)))))


def _join_reasons(reasons: pd.DataFrame) -> pd.Categorical:
    """The reasons of each cell joined by ";"."""
    joined = np.full(len(reasons), "", dtype=object)
    for name in REASONS:
        hit = reasons[name].to_numpy()
        joined[hit] = [f"{before};{name}" if before else name for before in joined[hit]]
    return pd.Categorical(joined)


def _table(metrics, reasons, keep, patient: pd.Series, limits: pd.DataFrame) -> pd.DataFrame:
    """One row per patient: kept, dropped by reason, medians, limits."""
    by = patient.to_numpy()
    table = pd.DataFrame({"n_cells": keep.groupby(by).size(), "n_kept": keep.groupby(by).sum()})
    table["fraction_kept"] = table["n_kept"] / table["n_cells"]
    table[list(REASONS)] = reasons[list(REASONS)].groupby(by).sum()
    medians = metrics.groupby(by).median()
    names = {
        "total_counts": "median_counts",
        "n_genes_by_counts": "median_genes",
        "pct_counts_mt": "median_mt_percent",
    }
    return table.join(medians.rename(columns=names)).join(limits).rename_axis(patient.name)


def _warn_of_losses(table: pd.DataFrame) -> None:
    poor = table.index[table["fraction_kept"] < 0.5]
    if len(poor):
        warnings.warn(
            f"{len(poor)} of {len(table)} patients keep less than half of their cells "
            f"({', '.join(map(str, poor[:5]))}): look at their limits in the table before going on.",
            PmLabWarning,
            stacklevel=3,
        )
