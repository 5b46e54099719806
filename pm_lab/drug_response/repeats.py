"""One cell line under two names, and the lines without expression: what a split cannot keep apart."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab import keys
from pm_lab.drug_response.contract import LARGEST_AUC, LARGEST_LN_IC50, VALUES_FOR_A_GUESS, first
from pm_lab.errors import DataError

if TYPE_CHECKING:
    from anndata import AnnData

FEWEST_EXPRESSED = 20  # genes that must be equal, and not 0, before two lines are taken for one
FEWEST_VALUES = 5  # responses that must be equal, and rare, before two lines are taken for one
RARE = 0.05  # of the lines may share a response; the highest dose, to which many are resistant, says nothing
NEARLY_ALL = 0.9  # of the drugs tested on both
DECIMALS = 4  # to which two tables of one measurement agree


def refuse_repeats(screen: AnnData, response: pd.DataFrame) -> None:
    """Raise DataError where a line is in a screen twice, so that it would be learnt from and tested.

    Parameters
    ----------
    screen : lines × genes, ``X`` and ``uns["response_only"]`` are looked at.
    response : its responses, lines × drugs, numbers.

    Raises
    ------
    DataError
        Two lines with the same expression, or with the same responses to nine of ten drugs, five of them
        values that few lines have. Lines without expression that are in the screen too, or whose responses
        do not fit those of the screen: names, drugs, numbers, scale. Two of these may be one line: neither is
        tested.

    Examples
    --------
    >>> import pm_lab as pm
    >>> from pm_lab.drug_response.repeats import refuse_repeats
    >>> screen = pm.datasets.simulate_cohort(n_cells=600).screen
    >>> refuse_repeats(screen, screen.obsm["response"])
    """
    rest = _lines_without_expression(screen, response)
    same = _of_equal_expression(screen)
    if same:
        raise DataError(
            f"{len(same):,} lines have the expression of another ({first(same)}): one line under two names "
            "would be learnt from and tested. Keep one of them, with "
            "screen[~screen.to_df().round(4).duplicated().to_numpy()].copy(), or give both one name and make "
            "the screen again with replicates='median'."
        )
    same = _of_equal_responses(response, rest)
    if same:
        raise DataError(
            f"{len(same):,} lines have the responses of another ({first(same)}): one line under two names, "
            f"or once more among uns['{keys.RESPONSE_ONLY}'], would be learnt from and tested. Leave one of "
            "each two out."
        )


def _lines_without_expression(screen: AnnData, response: pd.DataFrame) -> pd.DataFrame:
    """Their responses to the drugs of the screen; no row where there are no such lines."""
    if keys.RESPONSE_ONLY not in screen.uns:
        return response.iloc[:0]
    where = f"uns['{keys.RESPONSE_ONLY}']"
    found = screen.uns[keys.RESPONSE_ONLY]
    tables = [found.get(name) if hasattr(found, "get") else None for name in ("obs", "response")]
    if not all(isinstance(table, pd.DataFrame) for table in tables):
        raise DataError(f"{where} must be a dict of two DataFrames by line, 'obs' and 'response'.")
    obs, rest = tables
    if not obs.index.equals(rest.index) or rest.index.has_duplicates:
        raise DataError(f"{where}: 'obs' and 'response' must name the same lines in one order, each once.")
    again = rest.index[rest.index.isin(screen.obs_names)]
    if len(again):
        raise DataError(
            f"{len(again):,} lines of {where} are in the screen too ({first(again)}): what is tested would "
            "be learnt from. It is for lines without expression; drop these."
        )
    absent = response.columns[~response.columns.isin(rest.columns)]
    if len(absent):
        raise DataError(
            f"{where}['response'] has no column for {len(absent):,} drugs of the screen ({first(absent)}). "
            "Add them, NaN where not tested: table.reindex(columns=screen.obsm['response'].columns)."
        )
    rest = rest[response.columns]
    try:
        rest = rest.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}['response'] holds what is no number: {error}") from error
    _check_scale(
        rest.to_numpy(), response.to_numpy(), screen.uns.get(keys.RESPONSE_MEASURE, "ln_ic50"), where
    )
    return rest


def _check_scale(rest: np.ndarray, values: np.ndarray, measure: str, where: str) -> None:
    """Raise for responses on another scale than those of the screen."""
    n_infinite = int(np.isinf(rest).sum())
    if n_infinite:
        raise DataError(f"{where}['response'] holds {n_infinite:,} infinite values. Make them NaN.")
    known = rest[~np.isnan(rest)]
    if not len(known):
        return
    low, high = known.min(), known.max()
    needed = "areas under the curve" if measure == "auc" else "ln IC50 in µM: np.log(ic50_in_micromolar)"
    lowest, highest = (0.0, LARGEST_AUC) if measure == "auc" else (-LARGEST_LN_IC50, LARGEST_LN_IC50)
    never_negative = len(known) >= VALUES_FOR_A_GUESS and low >= 0 and np.nanmean(values < 0) > 0.1
    if low < lowest or high > highest or never_negative:
        raise DataError(
            f"{where}['response'] goes from {low:.3g} to {high:.3g}, the responses of the screen from "
            f"{np.nanmin(values):.3g} to {np.nanmax(values):.3g}: another unit, or no logarithm. Both must "
            f"be {needed}."
        )


def _of_equal_expression(screen: AnnData) -> list[str]:
    """Each line whose expression an earlier one has, as "A = B"."""
    seen: dict[bytes, str] = {}
    same = []
    for start in range(0, screen.n_obs, 100):
        block = screen.X[start : start + 100]
        block = block.toarray() if hasattr(block, "toarray") else np.asarray(block)
        block = np.round(block.astype(np.float32), DECIMALS) + 0.0  # no negative zeros
        expressed = (block != 0).sum(axis=1)
        for row, name in enumerate(screen.obs_names[start : start + 100]):
            if expressed[row] < FEWEST_EXPRESSED:
                continue
            digest = hashlib.blake2b(block[row].tobytes(), digest_size=16).digest()
            if digest in seen:
                same.append(f"{seen[digest]} = {name}")
            seen.setdefault(digest, name)
    return same


def _of_equal_responses(response: pd.DataFrame, rest: pd.DataFrame) -> list[str]:
    """Pairs of lines of equal responses, one of them at least in the screen, as "A = B"."""
    names = [*response.index, *rest.index]
    values = np.round(np.vstack([response.to_numpy(), rest.to_numpy()]), DECIMALS)
    same = []
    for one, other in _pairs_with_rare_values(values):
        both = ~np.isnan(values[one]) & ~np.isnan(values[other])
        equal = values[one][both] == values[other][both]
        if one < len(response) and equal.mean() >= NEARLY_ALL:
            same.append(f"{names[one]} = {names[other]}")
    return same


def _pairs_with_rare_values(values: np.ndarray) -> np.ndarray:
    """Pairs of rows, the smaller number first, that share five values or more which few rows have."""
    from scipy.sparse import coo_matrix, triu

    line, drug = np.nonzero(~np.isnan(values))
    levels, level = np.unique(values[line, drug], return_inverse=True)
    found, value, n_lines = np.unique(drug * len(levels) + level, return_inverse=True, return_counts=True)
    rare = ((n_lines > 1) & (n_lines <= max(3, RARE * len(values))))[value]
    shape = (len(values), len(found))
    held = coo_matrix((np.ones(rare.sum(), np.int32), (line[rare], value[rare])), shape).tocsr()
    shared = triu(held @ held.T, k=1).tocoo()
    enough = shared.data >= FEWEST_VALUES
    return np.c_[shared.row, shared.col][enough]
