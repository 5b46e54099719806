"""Sums of coverage by base that pass for read counts."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab import checks, keys
from pm_lab.errors import DataError, PmLabWarning

from .normalization import dense_counts, log_cpm

if TYPE_CHECKING:
    from anndata import AnnData

LARGEST_LIBRARY = 500_000_000  # reads; deep libraries have a tenth of that


def warn_of_coverage(counts: np.ndarray, names: pd.Index) -> None:
    size = counts.sum(axis=1, dtype=float)
    large = size > LARGEST_LIBRARY
    if large.any():
        warnings.warn(
            f"{int(large.sum())} of {len(size)} samples have more than {LARGEST_LIBRARY / 1e6:.0f} million "
            f"counts (up to {size.max():.3g}, e.g. {names[large][0]}): no library has so many reads. They "
            "look like sums of coverage by base, as recount2 gives them. Each read counts many times, so the "
            "noise of genes with few reads is understated. Mend: pm.bulk.coverage_to_counts(cohort, "
            "read_length=...).",
            PmLabWarning,
            stacklevel=3,
        )


def coverage_to_counts(cohort: AnnData, read_length: int, copy: bool = False) -> AnnData | None:
    """Turn sums of coverage by base into read counts: divided by the read length and rounded.

    recount2 adds up, for each gene, the coverage of its bases, so that a read counts once for each of its
    bases. Left so, a count model takes every read for as many independent ones as it has bases.

    Parameters
    ----------
    cohort : patients × genes with coverage sums in ``layers["counts"]`` or ``X``.
    read_length : bases of a read that were aligned, summed over mates if pairs are to count once.
    copy : leave ``cohort`` as it is and return a changed copy.

    Returns
    -------
    AnnData or None
        The copy with ``copy=True``. Written: ``layers["counts"]`` (reads), ``layers["coverage"]`` (what was
        there), ``X`` (log2 CPM) and ``uns["pm_lab"]["coverage_to_counts"]``.

    Raises
    ------
    DataError
        A read length below 2, values that are no whole numbers, coverage that was turned before, a view
        (``cohort[...]``) without ``copy``.

    References
    ----------
    Collado-Torres 2017, doi:10.12688/f1000research.12223.1.

    Examples
    --------
    >>> import pm_lab as pm
    >>> bulk = pm.datasets.simulate_cohort(n_cells=600).bulk
    >>> bulk.layers["counts"] = bulk.layers["counts"] * 100
    >>> pm.bulk.coverage_to_counts(bulk, read_length=100)
    >>> int(bulk.layers["counts"].sum() / bulk.layers["coverage"].sum() * 100)
    1
    """
    cohort = checks.bulk_of(cohort)
    if not copy:
        checks.not_a_view(cohort)
    if isinstance(read_length, bool) or not read_length >= 2:
        raise DataError(f"read_length={read_length!r}: give the number of bases of a read, such as 100.")
    if "coverage" in cohort.layers:
        raise DataError('layers["coverage"] is there already: these counts were made from coverage before.')
    coverage = dense_counts(cohort)
    if copy:
        cohort = cohort.copy()
    counts = np.rint(coverage / read_length)
    cohort.layers["coverage"] = coverage
    cohort.layers[keys.COUNTS] = counts
    cohort.X = log_cpm(counts, counts.sum(axis=1) / counts.sum(axis=1).mean()).astype(np.float32)
    cohort.uns.setdefault(keys.RECORD, {})["coverage_to_counts"] = {"read_length": int(read_length)}
    return cohort if copy else None
