"""Scores of published signatures, from the genes of them that a cohort measures."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab import checks
from pm_lab.biomarkers.matching import FEWEST_TO_SCALE, expression_of, find_genes
from pm_lab.errors import DataError, PmLabWarning

if TYPE_CHECKING:
    from anndata import AnnData

FEWEST_OF_SIGNATURE = 5


def signature_score(
    cohort, signature: pd.DataFrame, er_key: str | None = None, match: str | None = None
) -> pd.Series:
    """Score of the published 70- or 76-gene signature, in SDs of each gene within this cohort.

    Parameters
    ----------
    signature : ``pm.datasets.load("breast_signatures")["gene70"]`` or ``["gene76"]``.
    er_key : column of ``obs`` with the estrogen receptor ("positive"/"negative", 1/0, booleans), for the 76
        genes, of which 60 are for ER-positive and 16 for ER-negative patients.
    match : "name" (probes as published) or "entrez" or "symbol"; by default whichever finds most.

    Returns
    -------
    Series by patient, higher = earlier metastasis. 70 genes: minus the correlation (Spearman) with the
    average profile of good prognosis. 76 genes: the mean of standardised expression weighted by the
    published coefficients, standardised within ER-positive and ER-negative patients, so that it compares
    patients of one receptor status; the published constants for absolute intensities are not used.
    ``attrs``: ``n_genes``, ``n_measured``, ``missing``, ``match``.

    Raises
    ------
    DataError
        When fewer than five of the genes are measured, or the receptor is missing.

    Warns
    -----
    PmLabWarning
        When less than half of the genes are measured.

    References
    ----------
    van 't Veer 2002, doi:10.1038/415530a; Wang 2005, doi:10.1016/S0140-6736(05)17947-1.
    """
    adata = checks.bulk_of(cohort)
    lacking = [name for name in ("probe", "NCBI.gene.symbol", "EntrezGene.ID") if name not in signature]
    if lacking:
        raise DataError(
            f"signature lacks the columns {lacking}: pass pm.datasets.load('breast_signatures')['gene70'] or "
            "['gene76']. A list of weights is scored by nested_cross_validate(signatures=...)."
        )
    signature = signature.set_index("probe")
    ids = {
        "symbol": signature["NCBI.gene.symbol"].fillna("").astype(str).tolist(),
        "entrez": signature["EntrezGene.ID"].astype("Int64").astype(str).replace("<NA>", "").tolist(),
    }
    places, how = find_genes([str(probe) for probe in signature.index], ids, adata, match)
    measured = np.array([len(place) > 0 for place in places])
    text = _refuse_too_few(signature.index[~measured], len(places))
    X = np.column_stack([_mean_of(adata, place) for place in places if len(place)])
    table = signature[measured]
    if "average.good.prognosis.profile" in table:
        score = _profile_score(X, table["average.good.prognosis.profile"].to_numpy(float))
    else:
        score = _weighted_by_receptor(X, table, _receptor(adata, er_key))
    if measured.sum() < len(places) / 2:  # said last: where there is no score, the refusal says it
        warnings.warn(f"{text}: this is not the published signature any more.", PmLabWarning, stacklevel=2)
    found = pd.Series(score, index=adata.obs_names)
    found.attrs = {
        "n_genes": len(places),
        "n_measured": int(measured.sum()),
        "missing": [str(probe) for probe in signature.index[~measured]],
        "match": how,
    }
    return found


def _refuse_too_few(missing: pd.Index, n: int) -> str:
    found = n - len(missing)
    named = (
        f" (missing: {', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''})" if len(missing) else ""
    )
    text = f"{found} of the {n} genes of the signature are measured{named}"
    if found < FEWEST_OF_SIGNATURE:
        raise DataError(
            f"{text}; {FEWEST_OF_SIGNATURE} at least are needed. var needs the published probes as names, or "
            "columns 'symbol' or 'entrez'."
        )
    return text


def _mean_of(adata: AnnData, place: np.ndarray) -> np.ndarray:
    values = expression_of(adata, place)
    values = np.where(np.isnan(values), np.nanmean(values, axis=0), values)
    return values.mean(axis=1)


def _profile_score(X: np.ndarray, profile: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata

    ranks = rankdata(X - np.median(X, axis=0), axis=1)
    return -np.array([np.corrcoef(row, rankdata(profile))[0, 1] for row in ranks])


def _weighted_by_receptor(X: np.ndarray, table: pd.DataFrame, positive: np.ndarray) -> np.ndarray:
    score = np.zeros(len(X))
    for status in (1, 0):
        rows, columns = positive == status, (table["er"] == status).to_numpy()
        if not rows.any():
            continue
        if rows.sum() < FEWEST_TO_SCALE or not columns.any():
            word = "positive" if status else "negative"
            raise DataError(
                f"{int(rows.sum())} ER-{word} patients and {int(columns.sum())} measured genes for them; "
                f"{FEWEST_TO_SCALE} patients and one gene are needed. Leave these patients out."
            )
        part = X[np.ix_(rows, columns)]
        sds = part.std(axis=0)
        z = (part - part.mean(axis=0)) / np.where(sds > 1e-12, sds, np.inf)
        weights = table.loc[columns, "std.cox.coefficient"].to_numpy(float)
        score[rows] = z @ weights / np.abs(weights).sum()
        score[rows] /= max(score[rows].std(), 1e-12)
    return score


def _receptor(adata: AnnData, er_key: str | None) -> np.ndarray:
    if er_key is None:
        raise DataError("the 76 genes need the estrogen receptor: pass er_key='er'.")
    words = checks.obs_column(adata, er_key, argument="er_key").astype(str).str.lower()
    positive, negative = (
        words.isin(["positive", "1", "1.0", "true"]),
        words.isin(["negative", "0", "0.0", "false"]),
    )
    if not (positive | negative).all():
        raise DataError(
            f"obs[{er_key!r}] holds {sorted(set(words))[:5]}; 'positive' and 'negative' are meant."
        )
    return positive.to_numpy(int)
