"""Size factors that make samples comparable, and log2 CPM for display."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from pm_lab import checks, keys
from pm_lab.errors import DataError

if TYPE_CHECKING:
    from anndata import AnnData

METHODS = ("median_of_ratios", "tmm")
TRIM_RATIO, TRIM_LEVEL = 0.3, 0.05  # edgeR's: shares cut off each end of log ratios and of mean levels


def normalize(cohort: AnnData, method: str = "median_of_ratios", copy: bool = False) -> AnnData | None:
    """Estimate size factors and write log2 CPM of the normalised counts into ``X``.

    Libraries differ in depth, and a few very abundant genes can take reads from all others, so counts are
    not divided by their sum but by what the bulk of genes that do not change says. ``X`` becomes
    log2(counts / size factor × c + 1), where c makes the mean sample sum to a million: for figures,
    clustering and scores. Tests take the counts.

    Parameters
    ----------
    cohort : patients × genes with raw counts in ``layers["counts"]``, or ``X`` if there is no such layer; a
        Cohort's ``bulk``.
    method : ``"median_of_ratios"`` (DESeq2): the median over genes of the ratio to the geometric mean (where
        every gene is zero somewhere, that of positive counts, as DESeq2's ``type="poscounts"``). ``"tmm"``
        (edgeR): the library size times a trimmed, weighted mean of log ratios to one sample.
    copy : leave ``cohort`` as it is and return a changed copy.

    Returns
    -------
    AnnData or None
        The copy with ``copy=True``. Written: ``obs["size_factor"]`` (geometric mean 1), ``X``, and
        ``layers["counts"]`` where the counts were in ``X``; ``uns["pm_lab"]["normalize"]`` has the method.

    Raises
    ------
    DataError
        No raw counts, a sample without any count, a name twice, an unknown method, a view
        (``cohort[...]``) without ``copy``.

    References
    ----------
    Median of ratios: Anders 2010, doi:10.1186/gb-2010-11-10-r106. TMM: Robinson 2010,
    doi:10.1186/gb-2010-11-3-r25.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.simulate_cohort(n_cells=600)
    >>> pm.bulk.normalize(cohort, method="tmm")
    >>> bool(cohort.bulk.obs["size_factor"].between(0.3, 3).all())
    True
    """
    if method not in METHODS:
        raise DataError(f"method={method!r}: choose one of {METHODS}.")
    cohort = checks.bulk_of(cohort)
    if not copy:
        checks.not_a_view(cohort)
    counts = dense_counts(cohort)
    if copy:
        cohort = cohort.copy()
    factors = size_factors(counts, method)
    if keys.COUNTS not in cohort.layers:
        cohort.layers[keys.COUNTS] = cohort.X.copy()
    cohort.obs["size_factor"] = factors
    cohort.X = log_cpm(counts, factors).astype(np.float32)
    cohort.uns.setdefault(keys.RECORD, {})["normalize"] = {"method": method}
    return cohort if copy else None


def dense_counts(cohort: AnnData) -> np.ndarray:
    """The raw counts, samples × genes, as a dense matrix of numbers that were checked."""
    checks.unique_names(cohort)
    counts = checks.counts(cohort)
    counts = counts.toarray() if sparse.issparse(counts) else np.asarray(counts)
    empty = counts.sum(axis=1) == 0
    if empty.any():
        names = list(cohort.obs_names[empty])
        raise DataError(
            f"{len(names)} of {cohort.n_obs} samples have no count at all: {names[:5]}. Their libraries "
            "failed, or their column was lost; leave them out: cohort[~cohort.obs_names.isin([...])]."
        )
    return counts


def size_factors(counts: np.ndarray, method: str) -> np.ndarray:
    """Size factor of each sample, geometric mean 1. For TMM, effective library sizes made so."""
    if method == "median_of_ratios":
        factors = median_of_ratios(counts)
    else:
        factors = counts.sum(axis=1) * tmm_factors(counts)
    return factors / np.exp(np.log(factors).mean())


def log_cpm(counts: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """log2 of normalised counts per million + 1, the mean sample summing to a million."""
    normalised = counts / factors[:, None]
    return np.log2(normalised * (1e6 / normalised.sum(axis=1).mean()) + 1)


def median_of_ratios(counts: np.ndarray) -> np.ndarray:
    """DESeq2's size factors of samples × genes, as R's ``estimateSizeFactors`` gives them."""
    positive = counts > 0
    log_counts = np.log(counts, where=positive, out=np.zeros(counts.shape))
    everywhere = positive.all(axis=0)
    if everywhere.any():
        ratios = log_counts[:, everywhere]
        return np.exp(np.median(ratios - ratios.mean(axis=0), axis=1))
    ratios = np.where(positive, log_counts - log_counts.mean(axis=0), np.nan)
    factors = np.exp(np.nanmedian(ratios, axis=1))
    return factors / np.exp(np.log(factors).mean())


def tmm_factors(counts: np.ndarray) -> np.ndarray:
    """TMM factors of samples × genes by which library sizes are multiplied; geometric mean 1.

    The reference is the sample whose upper quartile of counts per read is nearest the mean one. Log ratios
    to it are trimmed by 30 % and mean log levels by 5 % at each end, and what is left is averaged with
    inverse variances as weights.
    """
    counts = counts[:, (counts > 0).any(axis=0)].astype(float)
    size = counts.sum(axis=1)
    quartile = np.quantile(counts, 0.75, axis=1) / size
    if np.median(quartile) < 1e-20:
        reference = int(np.argmax(np.sqrt(counts).sum(axis=1)))
    else:
        reference = int(np.argmin(np.abs(quartile - quartile.mean())))
    log_factors = np.array(
        [_trimmed_mean(counts[i], counts[reference], size[i], size[reference]) for i in range(len(counts))]
    )
    return 2 ** (log_factors - log_factors.mean())


def _trimmed_mean(sample, reference, sample_size: float, reference_size: float) -> float:
    """log2 TMM factor of one sample against the reference."""
    from scipy.stats import rankdata

    both = (sample > 0) & (reference > 0)
    sample, reference = sample[both] / sample_size, reference[both] / reference_size
    ratio, level = np.log2(sample / reference), np.log2(sample * reference) / 2
    if not len(ratio) or np.abs(ratio).max() < 1e-6:
        return 0.0
    n = len(ratio)
    inside = np.ones(n, bool)
    for values, trim in ((ratio, TRIM_RATIO), (level, TRIM_LEVEL)):
        lowest = np.floor(n * trim) + 1
        rank = rankdata(values)
        inside &= (rank >= lowest) & (rank <= n + 1 - lowest)
    if not inside.any():
        return 0.0
    variance = (1 - sample) / (sample * sample_size) + (1 - reference) / (reference * reference_size)
    return float(np.average(ratio[inside], weights=1 / variance[inside]))
