"""Groups A and B side by side: survival, genes, pathways and cell types. Everything here is exploratory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab.errors import DataError

from .filters import FITTED, RowsFilter
from .group_moments import moments_of, prepare_values, welch
from .group_survival import cox_of_two, log_rank_statistic, restricted_mean
from .groups import Group
from .prepared import prepare_once
from .summaries import NO_ENDPOINT, Curve, counted_curves, outcomes_of

if TYPE_CHECKING:
    from .cohort_data import CohortData
    from .filters import Filter
    from .group_survival import Counts
    from .state import CohortState

LEVEL = 0.95
LEAST_PEOPLE, LEAST_EVENTS = 10, 10  # for p-values and intervals, whatever is set
MIN_CELLS = 20  # of a patient, for a composition; as pm_lab.singlecell.composition
DOUBTFUL = 0.05
EXPLORATORY = (
    "Exploratory: the groups were chosen with the data in view, and no p-value is corrected for that. "
    "Confirm in other patients, or with groups that were fixed before."
)
UNADJUSTED = "Nothing is adjusted for (batch, age, ...); pm.bulk.differential_expression can."
CELLS_NEEDED = (
    'No cell types: cells with obs["patient"] and obs["cell_type"] (or "cluster") are needed, such as '
    "pm.singlecell.annotate gives."
)
GENES = "genes as numbers"  # what is kept of all genes for comparisons


@dataclass(frozen=True)
class Groups:
    """The two groups that are compared: as set, else those selected (A) and the rest (B)."""

    name_a: str
    name_b: str
    a: np.ndarray
    b: np.ndarray
    chosen: dict[str, Group]

    @property
    def filters(self) -> list[Filter]:
        """All filters that one of the groups was chosen by."""
        return [one for group in self.chosen.values() for one in group.filters]


@dataclass(frozen=True)
class SurvivalComparison:
    """Survival of A against B.

    Attributes
    ----------
    name_a, name_b, curves : the groups and their curves (:class:`pm_lab.explorer.Curve`).
    n_a, n_b, events_a, events_b : people whose outcome is known, and events (of the cause of interest).
    log_rank_p : of the log-rank test; with competing risks of the hazards of the cause of interest.
    rmst_difference, rmst_lower, rmst_upper, rmst_p : mean survival up to ``horizon`` of A less that of B,
        with an interval of 95 %; None with competing risks.
    horizon : the shorter of the groups' longest follow-ups, in ``unit``.
    hazard_ratio, hazard_lower, hazard_upper, hazard_p : of A over B (Cox, Efron's ties), interval of 95 %.
    proportional_p : of the test that the hazard ratio is the same at all times.
    reason : why p-values and intervals are None; empty where they are there.
    notes : what a reader must know.
    """

    name_a: str
    name_b: str
    curves: list[Curve] = field(default_factory=list)
    n_a: int = 0
    n_b: int = 0
    events_a: int = 0
    events_b: int = 0
    log_rank_p: float | None = None
    rmst_difference: float | None = None
    rmst_lower: float | None = None
    rmst_upper: float | None = None
    rmst_p: float | None = None
    horizon: float | None = None
    hazard_ratio: float | None = None
    hazard_lower: float | None = None
    hazard_upper: float | None = None
    hazard_p: float | None = None
    proportional_p: float | None = None
    unit: str = ""
    reason: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def note(self) -> str:
        """The notes as one text."""
        return " ".join(self.notes)


def groups_of(state: CohortState) -> Groups:
    """Groups A and B of a state.

    Where none is set, A is the selection and B the rest; where one is set, the other is everyone else.

    Raises
    ------
    DataError
        A patient is in both groups.

    Examples
    --------
    >>> import pm_lab as pm
    >>> state = pm.explorer.CohortState(pm.datasets.simulate_cohort(n_cells=600))
    >>> state.set_categories("response", ["yes"])
    >>> groups = pm.explorer.groups_of(state)
    >>> groups.name_a, int(groups.a.sum()), int(groups.b.sum())
    ('A: response = yes', 48, 72)
    """
    chosen = dict(state.groups)
    if not chosen:
        filters = tuple(state.filters.values())
        chosen = {"A": Group(filters), "B": Group(filters, rest=True)}
        masks = {"A": state.mask, "B": ~state.mask}
    else:
        masks = {name: state.group(name) for name in chosen}
        for name, other in (("A", "B"), ("B", "A")):
            if name not in masks:
                masks[name] = ~masks[other]
    both = masks["A"] & masks["B"]
    if both.any():
        raise DataError(
            f"{int(both.sum()):,} patients are in A and in B: a comparison needs groups without common "
            "members. Set one of them to everybody else: state.set_group('B', None)."
        )
    name_a, name_b = (
        f"{name}: {chosen[name].describe() if name in chosen else 'everybody else'}" for name in "AB"
    )
    return Groups(name_a, name_b, masks["A"], masks["B"], chosen)


def compare_survival(state: CohortState) -> SurvivalComparison:
    """Curves, log-rank test, difference of restricted means and hazard ratio of groups A and B.

    p-values and intervals are None, with the reason, where a group has fewer people than ten (or than
    ``state.settings["least_count"]``, where that is more), where the two have fewer than ten events together,
    or where a group was chosen by what is known only after time zero: then the outcome has chosen the group
    and not the other way round.

    Raises
    ------
    DataError
        A patient is in both groups.

    Examples
    --------
    >>> import pm_lab as pm
    >>> state = pm.explorer.CohortState(pm.datasets.simulate_cohort(n_cells=600))
    >>> state.set_categories("response", ["yes"])
    >>> comparison = pm.explorer.compare_survival(state)
    >>> comparison.n_a, comparison.events_a, comparison.log_rank_p < 0.05
    (48, 18, True)
    """
    groups, outcomes = groups_of(state), outcomes_of(state)
    if outcomes is None:
        return SurvivalComparison(groups.name_a, groups.name_b, reason=NO_ENDPOINT, notes=[NO_ENDPOINT])
    counted = outcomes.counted([groups.a, groups.b])
    found = {
        "curves": counted_curves(counted, {groups.name_a: groups.a, groups.name_b: groups.b}),
        "unit": outcomes.unit,
        **dict(zip(("n_a", "n_b"), counted.n, strict=True)),
        **dict(zip(("events_a", "events_b"), counted.events.sum(axis=1).astype(int).tolist(), strict=True)),
    }
    reason = (
        _chosen_by_outcome(state, groups)
        or _too_few(state, counted.n)
        or _emptied(counted)
        or _too_few_events(counted)
    )
    notes = [EXPLORATORY, *_said_of_groups(state.data, groups), *(c.note for c in found["curves"] if c.note)]
    if min(counted.n) > 0:
        found |= _estimates(counted, sure=not reason)
        notes += _said_of_estimates(counted, found, reason)
    if reason:
        notes.insert(0, reason)
    return SurvivalComparison(groups.name_a, groups.name_b, reason=reason, notes=notes, **found)


def _estimates(counted: Counts, sure: bool) -> dict:
    """Tests and intervals only where they are ``sure`` of being meant as such."""
    from scipy.special import chdtrc, ndtr, ndtri

    found, reach = {}, ndtri((1 + LEVEL) / 2)
    if sure:
        statistic, freedom = log_rank_statistic(counted)
        found["log_rank_p"] = None if np.isnan(statistic) else float(chdtrc(freedom, statistic))
    horizon = float(counted.last.min())
    if not counted.outcomes.competing and horizon > 0 and not any(counted.emptied(g) for g in (0, 1)):
        mean_a, mean_b = (restricted_mean(counted, group, horizon) for group in (0, 1))
        difference, error = mean_a.mean - mean_b.mean, float(np.hypot(mean_a.error, mean_b.error))
        found |= {"rmst_difference": difference, "horizon": horizon}
        if sure and error > 0:
            found |= {
                "rmst_lower": difference - reach * error,
                "rmst_upper": difference + reach * error,
                "rmst_p": float(2 * ndtr(-abs(difference) / error)),
            }
    if fit := cox_of_two(counted):
        found["hazard_ratio"] = float(np.exp(fit.log_ratio))
        if sure:
            found |= {
                "hazard_lower": float(np.exp(fit.log_ratio - reach * fit.error)),
                "hazard_upper": float(np.exp(fit.log_ratio + reach * fit.error)),
                "hazard_p": fit.p,
                "proportional_p": None if np.isnan(fit.proportional_p) else fit.proportional_p,
            }
    return found


def _said_of_estimates(counted: Counts, found: dict, reason: str) -> list[str]:
    notes = []
    events = counted.events.sum(axis=1)
    if (events == 0).any():
        notes.append("A group has no event, so there is no hazard ratio.")
    if counted.outcomes.competing:
        notes.append(
            f"Other events compete with {counted.outcomes.causes[0]}: curves are cumulative incidences; the "
            "log-rank test and the hazard ratio compare the hazards of that cause alone, and no restricted "
            "mean is given."
        )
    if (found.get("proportional_p") or 1) < DOUBTFUL:
        notes.append(
            f"The hazard ratio changes over time (p = {found['proportional_p']:.2g}): it is an average; the "
            "difference of restricted means does not need it to be constant."
        )
    n, events_a = counted.n, events[0]
    if not reason and ((events_a == n[0] and events[1] == 0) or (events[1] == n[1] and events_a == 0)):
        notes.append("One group has all the events and the other none: was it chosen by the outcome?")
    return notes


def _chosen_by_outcome(state: CohortState, groups: Groups) -> str:
    """Why the outcome chose the groups, or empty."""
    data, keys = state.data, {one.key for one in groups.filters}
    parts = sorted(key for key in keys if key in data.columns and data.columns[key].group == "endpoint")
    if parts:
        return (
            f"No test: the groups were chosen by {', '.join(parts)}, a part of an endpoint, so of course "
            "they differ in it."
        )
    if any(isinstance(one, RowsFilter) and one.why == FITTED for one in groups.filters):
        return (
            "No test: the groups were chosen by a panel that was fitted to some of these patients and their "
            "outcome, so of course they differ in it. Test it on patients whom it has not seen."
        )
    measured = data.endpoints[state.endpoint].get("measured", {})
    late = sorted(key for key in keys if measured.get(key, 0) != 0)
    if late or (measured.get("expression", 0) != 0 and any(key.startswith("gene:") for key in keys)):
        return (
            f"No test: the groups were chosen by {', '.join(late) or 'expression'}, which is declared as "
            "measured after time zero: only who lived that long has a value (immortal time)."
        )
    return ""


def _too_few(state: CohortState, n: list[int]) -> str:
    least = least_people(state)
    few = [name for name, size in zip("AB", n, strict=True) if size < least]
    if not few:
        return ""
    return (
        f"No p-values and intervals: group {' and group '.join(few)} {'has' if len(few) == 1 else 'have'} "
        f"fewer than {least} people."
    )


def least_people(state: CohortState) -> int:
    """People whom each group must have for p-values: what is set, and never fewer than ten."""
    return max(state.settings["least_count"], LEAST_PEOPLE)


def _too_few_events(counted: Counts) -> str:
    if counted.events.sum() >= LEAST_EVENTS:
        return ""
    return (
        f"No p-values and intervals: the groups have fewer than {LEAST_EVENTS} events together, and the "
        "tests hold for many."
    )


def _emptied(counted: Counts) -> str:
    if any(counted.emptied(group) is not None for group in (0, 1)):
        return "No test: in a group nobody was left at risk while others had yet to enter."
    return ""


def _said_of_groups(data: CohortData, groups: Groups) -> list[str]:
    """Unknown values are among the rest: nobody should take them for the opposite."""
    notes = []
    for name, mask in (("A", groups.a), ("B", groups.b)):
        group = groups.chosen.get(name)
        if group is None or not group.rest:
            continue
        for one in group.filters:
            if one.key in data.columns and data.columns[one.key].n_missing:
                unknown = int((data.columns[one.key].missing & mask).sum())
                if unknown:
                    notes.append(
                        f"Group {name}, the rest, holds {unknown:,} people whose {one.key} is not known."
                    )
    return notes


def differential_genes(state: CohortState) -> pd.DataFrame:
    """Welch's test of every gene between A and B, on the values as they are shown: fast and exploratory.

    Returns
    -------
    DataFrame
        One row a gene, by p: ``gene``, ``difference`` (mean of A less mean of B, in the units of X),
        ``t``, ``p``, ``padj`` (Benjamini-Hochberg), ``mean_a``, ``mean_b``, ``n_a``, ``n_b`` (people with a
        value). ``t``, ``p`` and ``padj`` are missing where a group has fewer than ten people, for genes that
        the groups were chosen by, and for genes that vary in neither group. ``attrs["note"]`` says so. Empty
        without expression.

    Raises
    ------
    DataError
        A patient is in both groups.

    Examples
    --------
    >>> import pm_lab as pm
    >>> state = pm.explorer.CohortState(pm.datasets.simulate_cohort(n_cells=600))
    >>> state.set_categories("response", ["yes"])
    >>> genes = pm.explorer.differential_genes(state)
    >>> len(genes), bool((genes["padj"] < 0.05).any())
    (2000, True)
    """
    groups, data = groups_of(state), state.data
    if data.expression is None:
        return _nothing("gene", "No expression in this cohort.")
    values = prepare_once(data, GENES, lambda: prepare_values(data.expression))
    circular = {one.key.removeprefix("gene:") for one in groups.filters if one.key.startswith("gene:")}
    table = _tested(state, groups, values, data.genes, "gene", circular)
    return _with_note(table, [UNADJUSTED, f"Values: {data.unit}."])


def pathway_difference(state: CohortState) -> pd.DataFrame:
    """Welch's test of the activity of each pathway; as :func:`differential_genes`, with ``pathway``."""
    groups, pathways = groups_of(state), state.data.pathways
    if pathways is None:
        return _nothing("pathway", "No pathway activities: see pm.enrichment.sample_activity.")
    values = prepare_once(
        state.data, "pathways as numbers", lambda: prepare_values(pathways.to_numpy(np.float32))
    )
    circular = {one.key for one in groups.filters if one.key in pathways.columns}
    return _with_note(_tested(state, groups, values, pathways.columns, "pathway", circular), [UNADJUSTED])


def _tested(state, groups: Groups, values, names: pd.Index, called: str, circular: set[str]) -> pd.DataFrame:
    a, b = moments_of(values, groups.a, groups.b)
    t, p = welch(a, b)
    notes = [EXPLORATORY]
    few = _too_few(state, [int(a.n.max(initial=0)), int(b.n.max(initial=0))])
    own = names.isin(list(circular))
    hidden = own | (np.minimum(a.n, b.n) < least_people(state))
    if few:
        notes.insert(0, few)
    elif own.any():
        notes.append(f"{', '.join(names[own])}: no p, since the groups were chosen by it.")
    t, p = np.where(hidden, np.nan, t), np.where(hidden, np.nan, p)
    untested = int((np.isnan(p) & ~own).sum())
    if untested and not few:
        notes.append(
            f"{untested:,} of {len(names):,} have no p: they vary in neither group, or fewer than "
            f"{least_people(state)} people of one have a value."
        )
    table = pd.DataFrame(
        {
            called: np.asarray(names, object),
            "difference": a.mean - b.mean,
            "t": t,
            "p": p,
            "padj": adjusted(p),
            "mean_a": a.mean,
            "mean_b": b.mean,
            "n_a": a.n,
            "n_b": b.n,
        }
    ).iloc[np.lexsort((-np.abs(np.nan_to_num(a.mean - b.mean)), np.where(np.isnan(p), 2.0, p)))]
    table = table.reset_index(drop=True)
    table.attrs = {"notes": notes, "name_a": groups.name_a, "name_b": groups.name_b}
    return table


def adjusted(p: np.ndarray) -> np.ndarray:
    """Benjamini-Hochberg over the known p-values; unknown ones stay unknown."""
    from scipy.stats import false_discovery_control

    found, known = np.full(len(p), np.nan), ~np.isnan(p)
    if known.any():
        found[known] = false_discovery_control(p[known])
    return found


def _nothing(called: str, note: str) -> pd.DataFrame:
    columns = [called, "difference", "t", "p", "padj", "mean_a", "mean_b", "n_a", "n_b"]
    table = pd.DataFrame({name: pd.Series(dtype=object if name == called else float) for name in columns})
    table.attrs = {"note": note}
    return table


def _with_note(table: pd.DataFrame, more: list[str]) -> pd.DataFrame:
    table.attrs["note"] = " ".join([*table.attrs.pop("notes"), *more])
    return table


def composition_difference(state: CohortState) -> pd.DataFrame:
    """Cell types of A against B, patients as the unit; as :func:`pm_lab.singlecell.composition`.

    Returns
    -------
    DataFrame
        One row a type, by p: ``cell_type``, ``fraction_a``, ``fraction_b`` (means over patients with at least
        20 cells), ``log2_fold_change`` (relative to the types that change least), ``lower``, ``upper``,
        ``p``, ``padj``, ``in_reference``. Tests and intervals are missing where a group has fewer than
        ten such patients. ``attrs``: ``n_a``, ``n_b``, ``note``.

    Raises
    ------
    DataError
        A patient is in both groups.
    """
    from pm_lab.singlecell.abundance import PSEUDOCOUNT, LogCounts, compare_log_counts

    groups, counts = groups_of(state), counts_by_patient(state.data)
    columns = ["cell_type", "fraction_a", "fraction_b", "log2_fold_change", "lower", "upper", "p", "padj"]
    if counts is None or counts.shape[1] < 2:
        table = pd.DataFrame(columns=[*columns, "in_reference"])
        table.attrs = {"note": CELLS_NEEDED, "n_a": 0, "n_b": 0}
        return table
    fractions = fractions_by_patient(state.data).to_numpy()
    logs = prepare_once(state.data, "logs of types", lambda: np.log(counts.to_numpy() + PSEUDOCOUNT))
    enough = np.isfinite(fractions[:, 0])
    rows_a, rows_b = np.flatnonzero(groups.a & enough), np.flatnonzero(groups.b & enough)
    n_a, n_b = len(rows_a), len(rows_b)
    means = [fractions[rows].mean(axis=0) if len(rows) else np.nan for rows in (rows_a, rows_b)]
    table = pd.DataFrame({"fraction_a": means[0], "fraction_b": means[1]}, counts.columns)
    few = _too_few(state, [n_a, n_b])
    if min(n_a, n_b) >= 2:
        sides = LogCounts.of(logs[rows_a]), LogCounts.of(logs[rows_b])
        tested = compare_log_counts(*sides, counts.columns).rename(columns={"pvalue": "p"})
        if few:
            tested[["lower", "upper", "p", "padj"]] = np.nan
        table = table.join(tested)
    table = table.reindex(columns=[*columns[1:], "in_reference"]).rename_axis("cell_type").reset_index()
    table = table.sort_values("p", kind="stable").reset_index(drop=True)
    said = f"Patients with at least {MIN_CELLS} cells: {n_a:,} of A, {n_b:,} of B."
    table.attrs = {"n_a": n_a, "n_b": n_b, "note": " ".join(filter(None, [few, EXPLORATORY, said]))}
    return table


def counts_by_patient(data: CohortData) -> pd.DataFrame | None:
    """Cells of each patient (row, all of the cohort) and type (column); None without cells of known types.

    Cells without a type, or "unassigned", are not counted.
    """
    return prepare_once(data, "cells by patient and type", lambda: _count_cells(data))


def fractions_by_patient(data: CohortData) -> pd.DataFrame | None:
    """Shares of cell types, as :func:`counts_by_patient`; missing of patients with fewer than 20 cells."""
    return prepare_once(data, "fractions by patient and type", lambda: _fractions(counts_by_patient(data)))


def _fractions(counts: pd.DataFrame | None) -> pd.DataFrame | None:
    if counts is None:
        return None
    total = counts.sum(axis=1)
    return counts.div(total.where(total >= MIN_CELLS), axis=0)


def _count_cells(data: CohortData) -> pd.DataFrame | None:
    from pm_lab.keys import UNASSIGNED

    types = data.cell_types
    if types is None:
        return None
    known = (data.cell_rows >= 0) & (types.values >= 0)
    n_types = len(types.categories)
    place = data.cell_rows[known].astype(np.int64) * n_types + types.values[known]
    table = np.bincount(place, minlength=data.n * n_types).reshape(data.n, n_types)
    counts = pd.DataFrame(table, data.patients, pd.Index(types.categories, dtype=object))
    return counts.drop(columns=UNASSIGNED, errors="ignore")
