"""Activity of the core pathways in every patient of a large cohort, in a fraction of a second."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab import keys
from pm_lab.errors import DataError

from .group_moments import prepare_values
from .prepared import prepare_once

if TYPE_CHECKING:
    from anndata import AnnData

    from .cohort_data import CohortData

MOST_AT_ONCE = 1_000  # patients that pm_lab.enrichment scores in no time
BLOCK = 2_048
SIZES = 5, 500  # of sets, as of pm_lab.enrichment.sample_activity


def core_activity(data: CohortData) -> pd.DataFrame:
    """Activity of the core sets, patients × sets, as :func:`pm_lab.enrichment.sample_activity` ("ulm").

    Of up to 1,000 patients it is that function. Of more, whether X holds log expression is looked at in 1,000
    of them, evenly spaced, and the scores of all are the same formula in float32, in blocks.

    Raises
    ------
    DataError
        As :func:`pm_lab.enrichment.sample_activity`.
    """
    from pm_lab import enrichment

    step = -(-data.n // MOST_AT_ONCE)
    some = _as_anndata(data, slice(None, None, step))
    if step > 1:  # what is unknown of anyone must be said of all
        values = prepare_once(data, "genes as numbers", lambda: prepare_values(data.expression))
        if len(values.odd):
            names = ", ".join(str(gene) for gene in data.genes[values.odd[:5]])
            raise DataError(f"{len(values.odd):,} genes have missing or infinite values ({names}).")
    enrichment.sample_activity(some, "core")
    if step == 1:
        return some.obsm[keys.PATHWAYS].set_axis(data.patients, axis=0)
    return _scored(data, values)


def _as_anndata(data: CohortData, rows: slice) -> AnnData:
    import anndata

    obs = pd.DataFrame(index=data.patients[rows].astype(str))
    var = pd.DataFrame(index=pd.Index(data.genes, dtype=str))
    return anndata.AnnData(data.expression[rows], obs=obs, var=var)


def _scored(data: CohortData, values) -> pd.DataFrame:
    """t of the mean of a set's standardised genes, around which all genes of the patient spread."""
    from pm_lab.enrichment.sets import testable

    n, total = data.n, values.total
    offset = total.first / n
    variance = (total.second - n * offset**2) / (n - 1)
    varies = variance > 1e-12
    centre = (values.centre + offset)[varies].astype(np.float32)
    scale = (1 / np.sqrt(variance[varies])).astype(np.float32)
    genes = pd.Index(data.genes[varies])
    sets = testable("core", genes, *SIZES).members
    members = np.column_stack([genes.isin(found) for found in sets.values()]).astype(np.float32)
    sizes, scores = members.sum(axis=0), np.empty((n, len(sets)))
    for start in range(0, n, BLOCK):
        block = data.expression[start : start + BLOCK][:, varies] - centre
        block *= scale
        sums = (block @ members).astype(float)
        rest = np.einsum("ij,ij->i", block, block)[:, None] - sums**2 / sizes
        scores[start : start + BLOCK] = sums / np.sqrt(sizes) / np.sqrt(rest / (len(genes) - 1))
    return pd.DataFrame(scores, data.patients, list(sets))
