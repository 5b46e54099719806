"""The outcome in other words: columns and genes that are a copy of what is to be predicted."""

from __future__ import annotations

import warnings
from math import comb
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab.errors import DataError, PmLabWarning, listed

if TYPE_CHECKING:
    from pm_lab.validation import Outcome

SAME = 0.9999  # absolute correlation, of values or of ranks, at which a column is the outcome itself
NEAR_RANKS, NEAR_LABELS = 0.99, 0.9  # rank correlation and Cramér's V from which a column is warned of
CHANCE = 1e-3  # how likely an agreement by chance may be before it is no longer taken for a copy
FEWEST = 12  # patients; the ranks of fewer agree by chance in one of thousands of genes
MOST_LEVELS = 20  # of labels that are compared with a class
PREFILTER_ROWS, PREFILTER = 64, 0.8  # of all genes, before ranks of all patients are compared


def check_columns(
    obs: pd.DataFrame, columns: list[str], outcome: Outcome, argument: str, most_levels: float = MOST_LEVELS
) -> None:
    """Refuse columns that say the outcome in other words; warn of those that nearly do.

    Compared are labels with event or class (does each level hold one class only?), numbers with time or
    number (by value and by rank), and which values are missing with event or class. Numbers that separate
    the classes without being a copy are warned of.

    Parameters
    ----------
    obs : one row per patient, as the outcome.
    argument : that the columns were passed to, for the message.
    most_levels : labels with more levels are not compared.

    Raises
    ------
    DataError
        A copy. With so few patients that the agreement may be chance there is a warning in its place.

    Examples
    --------
    >>> import pandas as pd, pm_lab as pm
    >>> from pm_lab import leaks
    >>> outcome = pm.validation.Outcome("relapse", "binary", [0.0, 1.0] * 10)
    >>> leaks.check_columns(pd.DataFrame({"age": range(40, 60)}), ["age"], outcome, "clinical")
    """
    for name in columns:
        for what, target in _targets(outcome).items():
            target = np.asarray(target, float)
            if what in ("event", "class"):
                found = _like_labels(obs[name], target, most_levels)
            else:
                found = _like_numbers(_numbers(obs[name]), target)
            if found is None:
                continue
            is_copy, why = found
            about = f"{argument}: {name!r} is the {what} of {outcome.name!r} in other words: {why}."
            if is_copy:
                raise DataError(
                    f"{about} It cannot have been known before the outcome. Leave it out; if it was known, "
                    f"take it as the outcome, or leave out those patients whom it decides."
                )
            about = f"{argument}: {name!r} is nearly the {what} of {outcome.name!r}: {why}."
            warnings.warn(
                f"{about} Make sure that it was known beforehand; else leave it out.",
                PmLabWarning,
                stacklevel=4,
            )


def check_matrix(matrix: np.ndarray, names: pd.Index, outcome: Outcome) -> None:
    """Refuse genes that are a copy of the outcome. One that separates the classes well is no copy.

    Parameters
    ----------
    matrix : patients × genes, NaN where not measured; no gene is constant.

    Raises
    ------
    DataError
        The time, event, class or number, also on another scale, or with noise too small to matter.

    Examples
    --------
    >>> import numpy as np, pandas as pd, pm_lab as pm
    >>> from pm_lab import leaks
    >>> outcome = pm.validation.Outcome("level", "continuous", np.arange(20.0))
    >>> leaks.check_matrix(np.random.default_rng(0).normal(size=(20, 2)), pd.Index(["TP53", "MYC"]), outcome)
    """
    known = ~np.isnan(matrix)
    centred = np.where(known, matrix - _mean_of_known(matrix), 0.0)
    size = np.linalg.norm(centred, axis=0)
    many = known.sum(axis=0) >= min(FEWEST, len(matrix))
    for what, target in _targets(outcome).items():
        spread = target**2 @ known - (target @ known) ** 2 / np.maximum(1, known.sum(axis=0))
        with np.errstate(invalid="ignore", divide="ignore"):
            r = np.abs(target @ centred) / (size * np.sqrt(spread))
        held = (np.nan_to_num(r, posinf=0.0) > SAME) & many
        if what in ("event", "class"):
            if held.any() and len(names) * _chance(target, 2) > CHANCE:
                _warn_of_chance(names[held], what, outcome)
                continue
        else:
            held |= _same_ranks(matrix, target)
        if held.any():
            raise DataError(
                f"the outcome is among the features: {listed(names[held])} is the {what} of {outcome.name!r} "
                "itself (correlation 1, of values or of ranks). Remove it from X."
            )


def _warn_of_chance(names: pd.Index, what: str, outcome: Outcome) -> None:
    warnings.warn(
        f"{listed(names)} is equal to the {what} of {outcome.name!r} in all {len(outcome):,} patients; with "
        "so few that may be chance. Make sure that it was measured beforehand.",
        PmLabWarning,
        stacklevel=4,
    )


def _targets(outcome: Outcome) -> dict[str, np.ndarray]:
    if outcome.kind == "survival":
        return {"time": outcome.time, "event": outcome.values}
    return {"class" if outcome.kind == "binary" else "number": outcome.values}


def _numbers(column: pd.Series) -> np.ndarray:
    """A column as numbers, also those kept as text; NaN for others."""
    if pd.api.types.is_datetime64_any_dtype(column):
        return np.where(column.isna(), np.nan, column.astype("int64"))
    values = pd.to_numeric(column.astype(object), errors="coerce").to_numpy(float, na_value=np.nan)
    return np.where(np.isfinite(values), values, np.nan)


def _like_numbers(values: np.ndarray, target: np.ndarray) -> tuple[bool, str] | None:
    known = ~np.isnan(values)
    if known.sum() < FEWEST or np.ptp(values[known]) == 0 or np.ptp(target[known]) == 0:
        return None
    by_rank = abs(_rank_correlation(values[known], target[known]))
    strongest = max(by_rank, abs(np.corrcoef(values[known], target[known])[0, 1]))
    if strongest > SAME:
        return True, f"correlation 1 in {int(known.sum()):,} patients"
    if by_rank > NEAR_RANKS:
        return False, f"rank correlation {by_rank:.3f} in {int(known.sum()):,} patients"
    return None


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    from scipy.stats import rankdata

    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])


def _like_labels(column: pd.Series, target: np.ndarray, most_levels: float) -> tuple[bool, str] | None:
    values = _numbers(column)
    varies = not np.isnan(values).any() and np.ptp(values) > 0
    if varies and abs(np.corrcoef(values, target)[0, 1]) > SAME:
        return _copy_or_chance(target, 2, "correlation 1")
    labels = column.astype(object).where(column.notna(), "missing").astype(str)
    if labels.nunique() > most_levels:
        labels = column.isna().map({True: "missing", False: "known"})
        number = column.notna().any() and not np.isnan(values[column.notna()]).any()
        if number and _separates(values, target) and _chance(target, 2) < CHANCE:
            return False, f"a threshold separates all {len(target):,} patients"
    n_levels = labels.nunique()
    if n_levels < 2:
        return None
    table = pd.crosstab(labels.to_numpy(), target).to_numpy()
    if ((table > 0).sum(axis=1) == 1).all():
        names = listed(sorted(labels.unique()))
        return _copy_or_chance(target, n_levels, f"each of its levels ({names}) goes with one value only")
    v = _cramers_v(table)
    return (False, f"Cramér's V {v:.2f}") if v > NEAR_LABELS else None


def _copy_or_chance(target: np.ndarray, n_levels: int, why: str) -> tuple[bool, str] | None:
    chance = _chance(target, n_levels)
    if chance < CHANCE:
        return True, why
    if chance == 1:  # nearly a level for each patient
        return None
    return False, f"{why}, which may be chance in {len(target):,} patients"


def _chance(target: np.ndarray, n_levels: int) -> float:
    """Upper bound of the chance that levels given out at random hold one class each."""
    return min(1.0, 2.0 ** min(n_levels, 1000) / comb(len(target), int(target.sum())))


def _separates(values: np.ndarray, target: np.ndarray) -> bool:
    """Whether all numbers of one class lie above all of the other."""
    sides = [values[(target == side) & ~np.isnan(values)] for side in (0, 1)]
    if min(map(len, sides)) == 0:
        return False
    low, high = sides
    return bool(low.max() < high.min() or high.max() < low.min())


def _cramers_v(table: np.ndarray) -> float:
    """Corrected for its bias (Bergsma 2013, doi:10.1016/j.jkss.2012.10.002): many small levels look alike."""
    n, (rows, columns) = table.sum(), table.shape
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / n
    phi = ((table - expected) ** 2 / expected).sum() / n
    phi = max(0.0, phi - (rows - 1) * (columns - 1) / (n - 1))
    rows, columns = (k - (k - 1) ** 2 / (n - 1) for k in (rows, columns))
    return float(np.sqrt(phi / max(min(rows, columns) - 1, 1e-12)))


def _same_ranks(matrix: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Genes whose ranks are those of the target, or reversed."""
    from scipy.stats import rankdata

    found = np.zeros(matrix.shape[1], bool)
    if len(target) < FEWEST:
        return found
    rows = np.argsort(target, kind="stable")
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, PREFILTER_ROWS).astype(int))]
    ranks = pd.DataFrame(matrix[rows]).rank().to_numpy()
    centred = np.nan_to_num(ranks - _mean_of_known(ranks))
    wanted = rankdata(target[rows]) - (len(rows) + 1) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        r = np.abs(wanted @ centred) / (np.linalg.norm(centred, axis=0) * np.linalg.norm(wanted))
    # Of genes that lack many values, too few may be among these rows.
    few = (~np.isnan(matrix[rows])).sum(axis=0) < FEWEST
    for place in np.flatnonzero((np.nan_to_num(r) > PREFILTER) | few):
        known = ~np.isnan(matrix[:, place])
        if known.sum() >= FEWEST and np.ptp(target[known]) > 0 and np.ptp(matrix[known, place]) > 0:
            found[place] = abs(_rank_correlation(matrix[known, place], target[known])) > SAME
    return found


def _mean_of_known(matrix: np.ndarray) -> np.ndarray:
    missing = np.isnan(matrix)
    return np.where(missing, 0.0, matrix).sum(axis=0) / np.maximum(1, (~missing).sum(axis=0))
