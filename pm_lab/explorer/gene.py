"""One gene: by group, with survival, and in cells by type."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab import gene_sets
from pm_lab.errors import DataError

from .comparison import CELLS_NEEDED, LEAST_EVENTS, groups_of, least_people
from .group_survival import log_rank_statistic
from .prepared import prepare_once
from .summaries import (
    EVERYONE,
    NO_ENDPOINT,
    REST,
    SELECTED,
    Curve,
    counted_curves,
    groups_of_levels,
    outcomes_of,
    round_edges,
)

if TYPE_CHECKING:
    from .cohort_data import CohortData
    from .group_survival import Counts
    from .state import CohortState

TERTILES = ("low", "middle", "high")
PER_CELL = 10_000  # counts, to which those of a cell are brought
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
TERTILES_EXPLORATORY = (
    "Exploratory: thirds of the patients by expression. Among thousands of genes some split any cohort with "
    "a small p, and p is not corrected for the genes that were looked at. Test a gene that was named before "
    "in other patients, as a number: pm.survival.cox."
)


def gene_names(state: CohortState, text: str, n: int = 20) -> list[str]:
    """Measured genes for what was typed so far: the gene itself, its other names, then what begins with it.

    Examples
    --------
    >>> import pm_lab as pm
    >>> state = pm.explorer.CohortState(pm.datasets.simulate_cohort(n_cells=600))
    >>> pm.explorer.gene_names(state, "cd3")[:3]
    ['CD3D', 'CD3E', 'CD3G']
    """
    text = text.strip().upper()
    if not text or state.data.expression is None:
        return []
    upper = prepare_once(state.data, "genes in capitals", lambda: [str(g).upper() for g in state.data.genes])
    genes = [str(gene) for gene in state.data.genes]
    exact = [gene for gene, name in zip(genes, upper, strict=True) if name == text]
    _, mended = gene_sets.match_symbols({"typed": [text]}, genes)
    begins = [gene for gene, name in zip(genes, upper, strict=True) if name.startswith(text)]
    within = [gene for gene, name in zip(genes, upper, strict=True) if text in name]
    return list(dict.fromkeys([*exact, *mended["matched_as"], *begins, *within]))[:n]


@dataclass(frozen=True)
class GeneByGroup:
    """Expression of a gene in groups of patients.

    Attributes
    ----------
    table : ``group``, ``n`` (people with a value), ``n_missing``, ``mean``, ``sd`` and the quantiles ``q05``,
        ``q25``, ``median``, ``q75``, ``q95``.
    edges, counts : bins that all groups share, and people by group and bin.
    unit : of the values.
    """

    gene: str
    table: pd.DataFrame
    edges: np.ndarray
    counts: np.ndarray
    unit: str


def gene_by_group(state: CohortState, gene: str, by: str | None = None) -> GeneByGroup:
    """Distribution of a gene by group.

    Parameters
    ----------
    state : filters and groups.
    gene : as named in the cohort.
    by : None for those selected and the rest, "groups" for A and B, or a category (of those selected).

    Raises
    ------
    DataError
        A gene that is not measured; ``by`` as in :func:`pm_lab.explorer.survival`.

    Examples
    --------
    >>> import pm_lab as pm
    >>> state = pm.explorer.CohortState(pm.datasets.simulate_cohort(n_cells=600))
    >>> pm.explorer.gene_by_group(state, "ERBB2", "subtype").table["n"].tolist()
    [50, 28, 17, 25]
    """
    values, mask = state.data.gene(gene).astype(float), state.mask
    if by is None:
        groups = {EVERYONE: mask} if mask.all() else {SELECTED: mask, REST: ~mask}
    elif by == "groups":
        found = groups_of(state)
        groups = {found.name_a: found.a, found.name_b: found.b}
    else:
        groups = {name: part & mask for name, part in groups_of_levels(state.data, by).items()}
    known = np.isfinite(values)
    edges = round_edges(values[known], state.settings["bins"])
    counts = [np.histogram(values[group & known], edges)[0] for group in groups.values()]
    rows = [_described(name, values[group]) for name, group in groups.items()]
    counts = np.array(counts).reshape(len(groups), len(edges) - 1)
    return GeneByGroup(gene, pd.DataFrame(rows), edges, counts, state.data.unit)


def _described(name: str, values: np.ndarray) -> dict:
    known = values[np.isfinite(values)]
    names = ("q05", "q25", "median", "q75", "q95")
    found = {"group": name, "n": len(known), "n_missing": len(values) - len(known)}
    if not len(known):
        return found | dict.fromkeys(("mean", "sd", *names), np.nan)
    found |= {"mean": known.mean(), "sd": known.std(ddof=1) if len(known) > 1 else np.nan}
    return found | dict(zip(names, np.quantile(known, QUANTILES), strict=True))


@dataclass(frozen=True)
class GeneSurvival:
    """Survival by thirds of a gene's expression.

    Attributes
    ----------
    curves : low, middle, high.
    cuts : the two values between the thirds.
    log_rank_p : None with the ``reason``.
    notes : what a reader must know; the first says that this is exploratory.
    """

    gene: str
    curves: list[Curve]
    cuts: tuple[float, ...]
    log_rank_p: float | None = None
    reason: str = ""
    notes: list[str] = field(default_factory=list)


def gene_survival(state: CohortState, gene: str) -> GeneSurvival:
    """Curves of the selected patients by thirds of a gene's expression: exploratory, and says so.

    Raises
    ------
    DataError
        A gene that is not measured.
    """
    values, outcomes = state.data.gene(gene).astype(float), outcomes_of(state)
    if outcomes is None:
        return GeneSurvival(gene, [], (), reason=NO_ENDPOINT, notes=[NO_ENDPOINT])
    known = state.mask & outcomes.known & np.isfinite(values)
    if not known.any():
        reason = "Nobody is selected whose expression and outcome are known."
        return GeneSurvival(gene, [], (), reason=reason, notes=[TERTILES_EXPLORATORY, reason])
    cuts = np.quantile(values[known], (1 / 3, 2 / 3))
    third = np.searchsorted(cuts, values, side="right")
    groups = {name: known & (third == place) for place, name in enumerate(TERTILES)}
    groups = {name: mask for name, mask in groups.items() if mask.any()}
    notes, counted = [TERTILES_EXPLORATORY], outcomes.counted(list(groups.values()))
    if len(groups) < len(TERTILES):
        notes.append("Many patients share one value, so there are fewer than three groups.")
    reason = _untested(counted, least_people(state))
    notes += [reason] if reason else []
    p = None if reason else _log_rank_p(counted)
    cuts = tuple(float(cut) for cut in cuts)
    return GeneSurvival(gene, counted_curves(counted, groups), cuts, p, reason, notes)


def _untested(counted: Counts, least: int) -> str:
    """Why thirds are not tested; empty where they are."""
    events = int(counted.events.sum())
    if len(counted.n) < 2:
        return "One group only."
    if min(counted.n) < least:
        return f"No p-value: a group has fewer than {least} people."
    if events < LEAST_EVENTS:
        return f"No p-value: fewer than {LEAST_EVENTS} events in all, too few for the log-rank test."
    return ""


def _log_rank_p(counted: Counts) -> float | None:
    from scipy.special import chdtrc

    statistic, freedom = log_rank_statistic(counted)
    return None if np.isnan(statistic) else float(chdtrc(freedom, statistic))


@dataclass(frozen=True)
class GeneInCells:
    """A gene in cells by type, patients as the unit.

    Attributes
    ----------
    by_type : ``cell_type``, ``n_cells``, ``n_patients``, ``mean`` (over patients of their mean), ``lower``,
        ``upper`` (quartiles over patients), ``share_expressing`` (mean over patients, in percent).
    by_patient : ``patient``, ``cell_type``, ``n_cells``, ``mean``, ``share_expressing``.
    unit : of the means.
    note : what is lacking.
    """

    gene: str
    by_type: pd.DataFrame
    by_patient: pd.DataFrame
    unit: str
    note: str = ""


def gene_in_cells(state: CohortState, gene: str) -> GeneInCells:
    """A gene in the cells of the selected patients, by type.

    Raw counts are brought to ten thousand a cell and logged (log(1 + x)); other values are taken as they are.

    Raises
    ------
    DataError
        A gene that the cells do not have.
    """
    data = state.data
    columns = ["patient", "cell_type", "n_cells", "mean", "share_expressing"]
    if data.cells is None or data.cell_types is None:
        empty = pd.DataFrame(columns=["cell_type", "n_cells", "n_patients", "mean", "lower", "upper"])
        return GeneInCells(gene, empty, pd.DataFrame(columns=columns), "", CELLS_NEEDED)
    if gene not in data.cells.var_names:
        raise DataError(f"the cells have no gene {gene!r}; they have {data.cells.n_vars:,}, other ones.")
    types = data.cell_types
    used = (data.cell_rows >= 0) & (types.values >= 0)
    used[used] = state.mask[data.cell_rows[used]]
    values, unit = _cell_values(data, gene)
    values = values[used]
    place = data.cell_rows[used].astype(np.int64) * len(types.categories) + types.values[used]
    pairs, code = np.unique(place, return_inverse=True)
    n = np.bincount(code, minlength=len(pairs))
    table = pd.DataFrame(
        {
            "patient": data.patients[pairs // len(types.categories)],
            "cell_type": np.asarray(types.categories, object)[pairs % len(types.categories)],
            "n_cells": n,
            "mean": np.bincount(code, values, minlength=len(pairs)) / n,
            "share_expressing": 100 * np.bincount(code, values > 0, minlength=len(pairs)) / n,
        }
    )
    note = "" if len(table) else "No cells of the selected patients have a type."
    return GeneInCells(gene, _by_type(table), table, unit, note)


def _by_type(table: pd.DataFrame) -> pd.DataFrame:
    grouped = table.groupby("cell_type", sort=False)
    found = pd.DataFrame(
        {
            "n_cells": grouped["n_cells"].sum(),
            "n_patients": grouped["patient"].nunique(),
            "mean": grouped["mean"].mean(),
            "lower": grouped["mean"].quantile(0.25),
            "upper": grouped["mean"].quantile(0.75),
            "share_expressing": grouped["share_expressing"].mean(),
        }
    )
    return found.sort_values("mean", ascending=False, kind="stable").rename_axis("cell_type").reset_index()


def _cell_values(data: CohortData, gene: str) -> tuple[np.ndarray, str]:
    """One gene in all cells, on a scale on which means of cells can be compared, and its name."""
    X = data.cells.X
    column = X[:, data.cells.var_names.get_loc(gene)]
    values = np.asarray(column.todense() if hasattr(column, "todense") else column, float).ravel()
    total = prepare_once(data, "counts by cell", lambda: _depth(X))
    if total is None:
        return values, "as in X of the cells"
    return np.log1p(PER_CELL * values / np.maximum(total, 1)), "log(1 + counts per 10,000)"


def _depth(X) -> np.ndarray | None:
    """Counts of each cell, or None where X holds no raw counts."""
    some = X[:1_000]
    some = some.data if hasattr(some, "nnz") else np.asarray(some)
    if (some < 0).any() or (some % 1 != 0).any():
        return None
    return np.asarray(X.sum(axis=1), float).ravel()
