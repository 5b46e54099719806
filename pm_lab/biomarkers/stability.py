"""Which genes are chosen again and again in halves of the cohort, and how many of them may be false."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd

from pm_lab import checks
from pm_lab.biomarkers.features import association, encode_clinical, read_features
from pm_lab.biomarkers.paths import elastic_net_path, penalties
from pm_lab.errors import DataError
from pm_lab.validation import Outcome, endpoint_columns, patients_of, read_outcome

LEAST_THRESHOLD = 0.6
METHODS = ("univariate", "elastic_net")


def stability_selection(
    cohort,
    outcome: str,
    method: str = "univariate",
    max_false: float = 1.0,
    n_select: int | None = None,
    n_pairs: int = 50,
    adjust=(),
    seed: int = 0,
    *,
    genes=None,
    l1_ratio: float = 0.5,
    patient_key: str | None = None,
    positive: str | None = None,
) -> pd.DataFrame:
    """Stability selection on complementary halves of the patients, with a bound on false genes.

    In each half the ``n_select`` genes that come first are taken, and a gene is selected when it was taken
    in a large enough share of the halves. The share is set so that at most ``max_false`` genes are expected
    among the selected that a half takes no more often than a random gene.

    Parameters
    ----------
    method : "univariate" (each gene alone: finds all genes that go with the outcome, also those that say the
        same) or "elastic_net" (order of entrance into the path: finds few that complement one another, and
        passes over a gene whose place another takes).
    max_false : the expected number of false genes is at most this.
    n_select : genes taken in each half; by default as many as allow a share of .75. A number near that of
        the genes that really differ finds most of them, at the price of a larger bound.
    n_pairs : pairs of halves; each half is fitted.
    adjust : columns of ``obs`` (batch, age) that are regressed out of each gene within each half.
    genes : candidates, chosen without the outcome.
    cohort, outcome, patient_key, positive, seed : as in :func:`nested_cross_validate`.

    Returns
    -------
    DataFrame by gene, most frequent first: ``frequency`` (share of the halves), ``selected``, ``direction``
    (sign of its association with the event, class or number). ``attrs``: ``n_select``, ``threshold``,
    ``bound`` (expected number of false genes, at most; assumes a unimodal distribution of frequencies),
    ``bound_without_assumption`` (Meinshausen and Bühlmann's), ``n_candidates``, ``n_pairs``.

    Raises
    ------
    DataError
        No share of the halves can keep the bound; an unknown method; what
        :func:`nested_cross_validate` refuses.

    References
    ----------
    Meinshausen 2010, doi:10.1111/j.1467-9868.2010.00740.x; Shah 2013,
    doi:10.1111/j.1467-9868.2011.01034.x.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.simulate_cohort(n_cells=600)
    >>> table = pm.biomarkers.stability_selection(cohort, "response", adjust=["batch", "age"], n_pairs=10)
    >>> table.attrs["bound"] <= 1
    True
    """
    from tqdm.auto import tqdm

    if method not in METHODS:
        raise DataError(f"method={method!r} is not known; there are {', '.join(METHODS)}.")
    adata = checks.bulk_of(cohort)
    target = read_outcome(adata, outcome, positive)
    patients = patients_of(adata, patient_key)
    features = read_features(adata, target, genes)
    design = _adjustment(adata, target, adjust)
    n_genes = len(features.names)
    n_select = n_select or max(1, int(np.sqrt(max_false * n_genes / _constant(0.75, n_pairs))))
    if not 0 < n_select < n_genes:
        raise DataError(
            f"n_select={n_select} of {n_genes:,} genes: give a number between 1 and {n_genes - 1}."
        )
    threshold = _threshold(n_select, n_genes, n_pairs, max_false)
    values = np.where(np.isnan(features.genes), np.nanmedian(features.genes, axis=0), features.genes)
    counts = np.zeros(n_genes)
    quiet = os.environ.get("PM_LAB_PROGRESS") == "0"
    pairs = tqdm(_halves(target, patients, n_pairs, seed), desc="pairs", leave=False, disable=quiet)
    for pair in pairs:
        for half in pair:
            X = _standardised(values[half], design[half])
            counts[_first_genes(X, target.take(half), n_select, method, l1_ratio)] += 1
    frequency = counts / (2 * n_pairs)
    direction = np.sign(association(_standardised(values, design), target)).astype(int)
    table = pd.DataFrame(
        {"frequency": frequency, "selected": frequency >= threshold, "direction": direction},
        index=features.names.rename("gene"),
    ).sort_values("frequency", ascending=False, kind="stable")
    table.attrs = {
        "method": method,
        "n_select": n_select,
        "threshold": threshold,
        "bound": error_bound(n_select, n_genes, threshold, n_pairs),
        "bound_without_assumption": n_select**2 / ((2 * threshold - 1) * n_genes),
        "n_candidates": n_genes,
        "n_pairs": n_pairs,
        "adjust": list(adjust),
        "seed": seed,
    }
    return table


def error_bound(n_select: int, n_genes: int, threshold: float, n_pairs: int = 50) -> float:
    """Most false genes to be expected, for unimodal frequencies (Shah and Samworth 2013, eq. 8).

    Examples
    --------
    >>> import pm_lab as pm
    >>> round(pm.biomarkers.error_bound(40, 2000, 0.9, n_pairs=50), 2)
    0.35
    """
    return _constant(threshold, n_pairs) * n_select**2 / n_genes


def _constant(threshold: float, n_pairs: int) -> float:
    if threshold <= 0.75:
        return 1 / (2 * (2 * threshold - 1 - 1 / (2 * n_pairs)))
    return 4 * (1 - threshold + 1 / (2 * n_pairs)) / (1 + 1 / n_pairs)


def _threshold(n_select: int, n_genes: int, n_pairs: int, max_false: float) -> float:
    """The smallest share of the halves that keeps the bound."""
    shares = np.arange(int(np.ceil(2 * n_pairs * LEAST_THRESHOLD)), 2 * n_pairs + 1) / (2 * n_pairs)
    bounds = np.array([error_bound(n_select, n_genes, share, n_pairs) for share in shares])
    if bounds.min() > max_false:
        most = int(np.sqrt(max_false * n_genes / _constant(1.0, n_pairs)))
        raise DataError(
            f"n_select={n_select} of {n_genes:,} genes: even genes taken in every half may hold "
            f"{bounds.min():.2g} false ones, more than max_false={max_false:g}. Use n_select={max(1, most)} "
            "or fewer, more pairs, or a larger max_false."
        )
    return float(shares[np.argmax(bounds <= max_false)])


def _adjustment(adata, outcome: Outcome, adjust) -> np.ndarray:
    adjust = [adjust] if isinstance(adjust, str) else list(adjust)
    held = [name for name in adjust if name in outcome.columns or name in endpoint_columns(adata)]
    if held:
        raise DataError(f"adjust={adjust}: {held} is the outcome or part of an endpoint. Leave it out.")
    table = encode_clinical(adata.obs, adjust)
    missing = table.isna().any(axis=1)
    if missing.any():
        raise DataError(
            f"adjust={adjust}: missing for {int(missing.sum()):,} patients "
            f"({', '.join(table.index[missing][:5])}). Fill in, or leave these patients out."
        )
    return np.column_stack([np.ones(len(table)), table.to_numpy(float)])


def _halves(outcome: Outcome, patients: np.ndarray, n_pairs: int, seed: int) -> list[tuple]:
    """Pairs of disjoint halves of the patients, each with its share of events or classes."""
    rng = np.random.default_rng(seed)
    code = pd.factorize(patients)[0]
    has_event = pd.Series(outcome.values).groupby(code).max().to_numpy()
    if outcome.kind == "continuous":
        has_event = np.zeros(code.max() + 1)
    found = []
    for _ in range(n_pairs):
        side = np.empty(code.max() + 1, int)
        offset = 0
        for value in np.unique(has_event):
            members = rng.permutation(np.flatnonzero(has_event == value))
            side[members] = (np.arange(len(members)) + offset) % 2
            offset += len(members)  # so that the two halves differ by one patient at most
        found.append((np.flatnonzero(side[code] == 0), np.flatnonzero(side[code] == 1)))
    return found


def _standardised(values: np.ndarray, design: np.ndarray) -> np.ndarray:
    residuals = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
    sds = residuals.std(axis=0)
    return residuals / np.where(sds < 1e-9, np.inf, sds)


def _first_genes(X: np.ndarray, outcome: Outcome, n: int, method: str, l1_ratio: float) -> np.ndarray:
    if method == "univariate":
        return np.argsort(-np.abs(association(X, outcome)), kind="stable")[:n]
    return path_order(X, outcome, n, l1_ratio)


def path_order(X: np.ndarray, outcome: Outcome, n: int, l1_ratio: float) -> np.ndarray:
    """The first n genes that enter the elastic-net path, of those that enter together the larger first.

    The path is continued only as far as it takes for n genes.
    """
    alphas = penalties(X, outcome, l1_ratio, 40, 0.02)
    coefs = np.zeros((X.shape[1], 0))
    for stop in (10, 20, 30, 40):
        coefs, _ = elastic_net_path(X, outcome, alphas[:stop], l1_ratio)
        if (coefs != 0).any(axis=1).sum() >= n:
            break
    entered = np.flatnonzero((coefs != 0).any(axis=1))
    first = (coefs[entered] != 0).argmax(axis=1)
    size = np.abs(coefs[entered, first])
    return entered[np.lexsort((-size, first))][:n]
