"""Which genes are chosen again and again in halves of the cohort, and how many of them may be false."""

from __future__ import annotations

import os
from numbers import Real

import numpy as np
import pandas as pd

from pm_lab import checks, leaks
from pm_lab.biomarkers.features import association, encode_clinical, names_given, read_features
from pm_lab.biomarkers.learners import check_l1_ratios
from pm_lab.biomarkers.paths import elastic_net_path, penalties
from pm_lab.endpoints import check_measured, endpoint_columns
from pm_lab.errors import DataError
from pm_lab.validation import Outcome, patients_of, read_outcome

LEAST_THRESHOLD = 0.6
N_SIZES = 25
METHODS = ("univariate", "elastic_net")


def stability_selection(
    cohort,
    outcome: str,
    method: str = "univariate",
    max_fdr: float = 0.1,
    n_select: int | None = None,
    n_pairs: int = 50,
    adjust=(),
    seed: int = 0,
    *,
    max_false: float | None = None,
    genes=None,
    l1_ratio: float = 0.5,
    patient_key: str | None = None,
    positive: str | None = None,
) -> pd.DataFrame:
    """Stability selection on complementary halves of the patients, with a bound on false genes.

    In each half the ``n_select`` genes that come first are taken, and a gene is selected when it was taken
    in at least the share ``threshold`` of the halves. Both numbers set a bound on how many genes are
    expected among the selected that a half takes no more often than a random gene. Of all pairs of numbers
    that keep the bound asked for, those are used that select most genes.

    A gene counts as false when it has nothing to do with the outcome (given ``adjust``). A gene that follows
    a cause of the outcome is not false: a list of several hundred genes can be right.

    Parameters
    ----------
    method : "univariate" (each gene alone: finds all genes that go with the outcome, also those that say the
        same) or "elastic_net" (order of entrance into the path: finds few that complement one another, and
        passes over a gene whose place another takes).
    max_fdr : the bound is at most this share of the selected genes.
    n_select : genes taken in each half; by default chosen as said, from 5 to half of the
        candidates (along a path to a quarter of the patients in a half).
    n_pairs : pairs of halves; each half is fitted.
    adjust : columns of ``obs`` (batch, age) that are regressed out of each gene within each half.
    max_false : instead of ``max_fdr``: the bound is at most this number of genes.
    genes : candidates, chosen without the outcome.
    cohort, outcome, patient_key, positive, seed : as in :func:`nested_cross_validate`.

    Returns
    -------
    DataFrame by gene, most frequent first: ``frequency`` (share of the halves), ``selected``, ``direction``
    (sign of its association with the event, class or number). ``attrs``: ``n_select``, ``threshold``,
    ``bound`` (expected number of false genes, at most; assumes a unimodal distribution of frequencies, and
    numbers that are not chosen with the data: see Notes), ``bound_without_assumption`` (Meinshausen and
    Bühlmann's), ``n_candidates``, ``n_pairs``. Where no numbers keep the bound, none is selected and
    ``threshold`` is NaN.

    Raises
    ------
    DataError
        ``n_select`` with which ``max_false`` cannot be kept; an unknown method; a column of ``adjust``
        that is the outcome in other words; what :func:`nested_cross_validate` refuses.

    Notes
    -----
    The theory holds for numbers fixed beforehand; here they are chosen with the data. In 300 cohorts of noise
    (60 patients, 300 genes) a gene was selected in 2 % of them at ``max_fdr=.1``, and in 1 % with genes in
    correlated blocks (``benchmarks/recovery_biomarkers.py``).

    References
    ----------
    Meinshausen 2010, doi:10.1111/j.1467-9868.2010.00740.x; Shah 2013,
    doi:10.1111/j.1467-9868.2011.01034.x.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.simulate_cohort(n_cells=600)
    >>> table = pm.biomarkers.stability_selection(cohort, "response", adjust=["batch", "age"], n_pairs=10)
    >>> bool(table.attrs["bound"] <= 0.1 * table["selected"].sum())
    True
    """
    if method not in METHODS:
        raise DataError(f"method={method!r} is not known; there are {', '.join(METHODS)}.")
    _check_numbers(n_select, n_pairs, seed, max_fdr, max_false, l1_ratio)
    adata = checks.bulk_of(cohort)
    target = read_outcome(adata, outcome, positive)
    patients = patients_of(adata, patient_key)
    features = read_features(adata, target, genes)
    design = _adjustment(adata, target, adjust)
    grid = _grid(n_select, len(features.names), len(set(patients)) // 2, method)
    if n_select is not None and max_false is not None:
        _refuse_impossible(n_select, len(features.names), n_pairs, max_false)
    values = np.where(np.isnan(features.genes), np.nanmedian(features.genes, axis=0), features.genes)
    halves = _halves(target, patients, n_pairs, seed)
    counts = _times_taken(values, design, target, halves, grid, method, l1_ratio)
    place, threshold = _most_genes(counts, grid, n_pairs, max_fdr, max_false)
    frequency = counts[place] / (2 * n_pairs)
    direction = np.sign(association(_standardised(values, design), target)).astype(int)
    table = pd.DataFrame(
        {"frequency": frequency, "selected": frequency >= threshold, "direction": direction},
        index=features.names.rename("gene"),
    ).sort_values("frequency", ascending=False, kind="stable")
    table.attrs = _bounds(int(grid[place]), len(table), threshold, n_pairs) | {
        "method": method,
        "max_fdr": max_fdr if max_false is None else None,
        "max_false": max_false,
        "n_candidates": len(table),
        "n_pairs": n_pairs,
        "adjust": names_given(adjust, "adjust"),
        "seed": seed,
    }
    return table


def _check_numbers(n_select, n_pairs, seed, max_fdr, max_false, l1_ratio) -> None:
    checks.whole_number(n_pairs, "n_pairs")
    checks.whole_number(seed, "seed", least=0)
    if n_select is not None:
        checks.whole_number(n_select, "n_select")
    checks.shares(max_fdr=max_fdr)
    check_l1_ratios((l1_ratio,), "l1_ratio")
    if max_false is not None and not (isinstance(max_false, Real) and 0 < max_false < np.inf):
        raise DataError(f"max_false={max_false!r}: a number of genes above 0.")


def _grid(n_select: int | None, n_genes: int, half: int, method: str) -> np.ndarray:
    """Numbers of genes to take in a half: along a path of n patients not more than n / 4 genes."""
    if n_select is not None:
        if not 0 < n_select < n_genes:
            raise DataError(
                f"n_select={n_select} of {n_genes:,} genes: give a number between 1 and {n_genes - 1}."
            )
        return np.array([n_select])
    most = n_genes // 2 if method == "univariate" else min(n_genes // 2, half // 4)
    return np.unique(np.geomspace(min(5, max(1, most)), max(1, most), N_SIZES).astype(int))


def _times_taken(values, design, outcome: Outcome, halves, grid, method: str, l1_ratio: float) -> np.ndarray:
    """In how many halves each gene was among the first (numbers of the grid × genes)."""
    from threadpoolctl import threadpool_limits
    from tqdm.auto import tqdm

    counts = np.zeros((len(grid), values.shape[1]), int)
    quiet = os.environ.get("PM_LAB_PROGRESS") == "0"
    with threadpool_limits(1):  # products of a half are small: threads only wait
        for pair in tqdm(halves, desc="pairs of halves", leave=False, disable=quiet):
            for half in pair:
                X = _standardised(values[half], design[half])
                first = _first_genes(X, outcome.take(half), int(grid[-1]), method, l1_ratio)
                for place, size in enumerate(grid):
                    counts[place, first[:size]] += 1
    return counts


def _most_genes(counts: np.ndarray, grid, n_pairs: int, max_fdr, max_false) -> tuple[int, float]:
    """Place in the grid and threshold that select most genes while the bound holds; NaN if none does."""
    least = int(np.ceil(2 * n_pairs * LEAST_THRESHOLD))
    best = (0, 0.0, 0, np.nan)  # selected, −bound, place, threshold
    for place, size in enumerate(grid):
        for times in range(least, 2 * n_pairs + 1):
            threshold = times / (2 * n_pairs)
            bound = error_bound(int(size), counts.shape[1], threshold, n_pairs)
            selected = int((counts[place] >= times).sum())
            if bound <= (max_fdr * selected if max_false is None else max_false):
                best = max(best, (selected, -bound, place, threshold), key=lambda one: one[:2])
    return best[2], best[3]


def _bounds(n_select: int, n_genes: int, threshold: float, n_pairs: int) -> dict:
    known = np.isfinite(threshold)
    return {
        "n_select": n_select,
        "threshold": threshold,
        "bound": error_bound(n_select, n_genes, threshold, n_pairs) if known else 0.0,
        "bound_without_assumption": n_select**2 / ((2 * threshold - 1) * n_genes) if known else 0.0,
    }


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


def _refuse_impossible(n_select: int, n_genes: int, n_pairs: int, max_false: float) -> None:
    least = error_bound(n_select, n_genes, 1.0, n_pairs)
    if least > max_false:
        most = int(np.sqrt(max_false * n_genes / _constant(1.0, n_pairs)))
        raise DataError(
            f"n_select={n_select} of {n_genes:,} genes: even genes taken in every half may hold "
            f"{least:.2g} false ones, more than max_false={max_false:g}. Use n_select={max(1, most)} "
            "or fewer, more pairs, or a larger max_false."
        )


def _adjustment(adata, outcome: Outcome, adjust) -> np.ndarray:
    adjust = names_given(adjust, "adjust")
    held = [name for name in adjust if name in outcome.columns or name in endpoint_columns(adata)]
    if held:
        raise DataError(f"adjust={adjust}: {held} is the outcome or part of an endpoint. Leave it out.")
    if outcome.kind == "survival":
        check_measured(adata, outcome.name, adjust)
    table = encode_clinical(adata.obs, adjust, "adjust", most_levels=adata.n_obs // 2)
    leaks.check_columns(adata.obs, adjust, outcome, "adjust", most_levels=np.inf)
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
    basis, size, _ = np.linalg.svd(design, full_matrices=False)  # of the few columns, not of the genes
    basis = basis[:, size > 1e-10 * size[0]]
    residuals = values - basis @ (basis.T @ values)
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
    stops = (40,) if outcome.kind == "binary" else (10, 20, 30, 40)  # a logistic path ends by itself
    for stop in stops:
        coefs, _ = elastic_net_path(X, outcome, alphas[:stop], l1_ratio, most=n)
        if (coefs != 0).any(axis=1).sum() >= n:
            break
    entered = np.flatnonzero((coefs != 0).any(axis=1))
    first = (coefs[entered] != 0).argmax(axis=1)
    size = np.abs(coefs[entered, first])
    return entered[np.lexsort((-size, first))][:n]
