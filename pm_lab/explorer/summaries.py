"""Numbers of the cohort view: histograms, bars, counts and survival, each following all the filters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pm_lab import checks
from pm_lab.errors import DataError

from .group_survival import (
    Counts,
    Outcomes,
    incidence_steps,
    kaplan_meier_steps,
    numbers_at_risk,
    risk_table_times,
)
from .prepared import prepare_once

if TYPE_CHECKING:
    from .cohort_data import CohortData
    from .columns import Column
    from .state import CohortState

FEW = 10  # people; on fewer a curve rests lightly
MOST_BARS = 50
MOST_CURVES = 12
MOST_POINTS = 1_000  # of a curve: finer than a screen shows
CHARTS = 12  # shown when nobody says which
GENE = "gene:"
SELECTED, REST, EVERYONE, MISSING = "selected", "the rest", "all patients", "missing"
NO_ENDPOINT = (
    "No survival is shown: no endpoint is declared. Declare one before opening, "
    'pm.survival.declare_endpoint(cohort, "os", time="os_time", event="os_event", unit="months"), or pass '
    'endpoint={"time": ..., "event": ..., "unit": ...}.'
)


@dataclass(frozen=True)
class Histogram:
    """People by bin of a number; a bin holds ``edges[i] <= x < edges[i + 1]``.

    ``selected`` counts those whom all filters but the column's own let through, so that its own brush can be
    drawn on top. Missing values are counted apart.
    """

    column: str
    edges: np.ndarray
    everyone: np.ndarray
    selected: np.ndarray
    missing_everyone: int
    missing_selected: int


@dataclass(frozen=True)
class Bars:
    """People by category; as :class:`Histogram`. Beyond 50 categories the rarer ones share the last bar."""

    column: str
    labels: list[str]
    everyone: np.ndarray
    selected: np.ndarray
    missing_everyone: int
    missing_selected: int
    n_together: int = 0


@dataclass(frozen=True)
class Curve:
    """Survival, or with competing risks the cumulative incidence of a cause, of one group.

    Attributes
    ----------
    n, events : people whose outcome is known, and those of them with the event (of ``cause``).
    n_unknown : people of the group who are not in the curve, since their outcome is not known.
    time, survival, lower, upper : the steps, a row from each time on; with ``kind`` "incidence" ``survival``
        is the cumulative incidence. Limits of 95 %, pointwise; missing where there are none.
    at_risk_times, at_risk : for the table below the curve, people under observation just before each time.
    note : what a reader must know of this curve; empty if nothing.
    """

    name: str
    n: int
    events: int
    n_unknown: int
    time: np.ndarray
    survival: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    at_risk_times: np.ndarray
    at_risk: np.ndarray
    unit: str
    kind: str = "survival"
    cause: str = "event"
    note: str = ""


@dataclass(frozen=True)
class CohortView:
    """All that the cohort view shows."""

    counts: dict
    charts: dict[str, Histogram | Bars]
    curves: list[Curve]
    notes: list[str] = field(default_factory=list)


def cohort_view(state: CohortState, columns: Sequence[str] | None = None) -> CohortView:
    """Counts, charts and curves after a change of the filters.

    Parameters
    ----------
    state : the filters.
    columns : that have a chart, ``"gene:TP53"`` for a gene; by default the first twelve that can have one,
        and those that are filtered.

    Raises
    ------
    DataError
        An unknown column, or one of free text.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.simulate_cohort(n_cells=600)
    >>> state = pm.explorer.CohortState(pm.explorer.CohortData.open(cohort))
    >>> state.set_range("age", 50, 60)
    >>> view = pm.explorer.cohort_view(state, ["subtype"])
    >>> int(view.charts["subtype"].selected.sum()) == view.counts["n_selected"]
    True
    """
    names = charted(state) if columns is None else columns
    charts = {name: chart(state, name) for name in names}
    notes = [] if outcomes_of(state) else [NO_ENDPOINT]
    if state.n_selected == 0:
        notes.append("No patient passes all filters: widen or clear one.")
    return CohortView(counts(state), charts, survival(state), notes)


def charted(state: CohortState) -> list[str]:
    kinds = {name: column.kind for name, column in state.data.columns.items() if column.group != "endpoint"}
    said = [name for name, kind in kinds.items() if kind in ("number", "category", "date")]
    alike = prepare_once(state.data, "alike", lambda: same_for_all(state.data))
    names = [name for name in said if name not in alike][:CHARTS]
    filtered = [key for key in state.filters if kinds.get(key, "text") != "text" or key.startswith(GENE)]
    return names + [key for key in filtered if key not in names]


def same_for_all(data: CohortData) -> list[str]:
    """Columns without a value, or with one that all patients share: nothing is to be seen of them."""
    if data.n < 2:
        return []
    known = {name: column.values[~column.missing] for name, column in data.columns.items()}
    return [
        name
        for name, values in known.items()
        if len(values) == 0 or (len(values) == data.n and bool((values == values[0]).all()))
    ]


def chart(state: CohortState, column: str) -> Histogram | Bars:
    """The histogram of a number, date or gene, or the bars of a category."""
    if not column.startswith(GENE) and state.data.column(column).kind == "category":
        return bars(state, column)
    return histogram(state, column)


def histogram(state: CohortState, column: str, bins: int | None = None) -> Histogram:
    """Count people by bin of a number: all, and those that the other filters let through.

    Edges are round numbers, the same for all filters; at most ``bins`` bins (by default as many as
    ``state.settings["bins"]`` says), and a few more at need.

    Raises
    ------
    DataError
        An unknown column, or one that holds no numbers; ``bins`` below 1.
    """
    bins = checks.whole_number(state.settings["bins"] if bins is None else bins, "bins")
    edges, codes, everyone = prepare_once(
        state.data, ("bins", column, bins), lambda: _binned(_numbers(state.data, column), bins)
    )
    selected = np.bincount(codes[state.mask_without(column)], minlength=len(everyone))
    return Histogram(column, edges, everyone[:-1], selected[:-1], int(everyone[-1]), int(selected[-1]))


def bars(state: CohortState, column: str) -> Bars:
    """Count people by category: all, and those that the other filters let through.

    Raises
    ------
    DataError
        An unknown column, or one that holds no categories.
    """
    levels = prepare_once(state.data, ("levels", column), lambda: _coded(state.data, column))
    selected = np.bincount(levels.codes[state.mask_without(column)], minlength=len(levels.everyone))
    return Bars(
        column,
        levels.labels,
        levels.everyone[:-1],
        selected[:-1],
        int(levels.everyone[-1]),
        int(selected[-1]),
        levels.n_together,
    )


def counts(state: CohortState) -> dict:
    """How many people, selected people, and events: ``n``, ``n_selected``, and with an endpoint ``endpoint``,
    ``n_unknown`` (outcome not known), ``events`` and, of those selected, ``unknown_selected``,
    ``events_selected``; with competing risks ``events`` are those of the cause of interest.
    """
    found = {"n": state.data.n, "n_selected": state.n_selected}
    outcomes = outcomes_of(state)
    if outcomes is None:
        return found
    unknown, event, mask = ~outcomes.known, outcomes.cause == 1, state.mask
    return found | {
        "endpoint": outcomes.name,
        "n_unknown": int(unknown.sum()),
        "events": int(event.sum()),
        "unknown_selected": int((unknown & mask).sum()),
        "events_selected": int((event & mask).sum()),
    }


def survival(
    state: CohortState, split: str | None = None, most_points: int | None = MOST_POINTS
) -> list[Curve]:
    """Kaplan-Meier curves, or where events compete the cumulative incidence of each cause.

    Parameters
    ----------
    state : filters, groups and the endpoint.
    split : None for those selected against the rest, "groups" for A and B, or a category, for one curve a
        level of those selected.
    most_points : about as many steps a curve, evenly along it, all of them exact; None for all.

    Returns
    -------
    list of Curve
        Groups of nobody have none. Empty without an endpoint.

    Raises
    ------
    DataError
        ``split`` is no category, has more than twelve levels, or is part of an endpoint.
    """
    outcomes = outcomes_of(state)
    if outcomes is None:
        return []
    return curves_of(outcomes, _split(state, split), most_points)


def curves_of(
    outcomes: Outcomes, groups: dict[str, np.ndarray], most_points: int | None = MOST_POINTS
) -> list[Curve]:
    """A curve a group (and cause, where events compete), from their masks; none of nobody."""
    return counted_curves(outcomes.counted(list(groups.values())), groups, most_points)


def counted_curves(
    counted: Counts, groups: dict[str, np.ndarray], most_points: int | None = MOST_POINTS
) -> list[Curve]:
    """As :func:`curves_of`, for groups that are counted already."""
    outcomes = counted.outcomes
    if not any(counted.n):
        return []
    ticks = risk_table_times(float(counted.last.max()))
    return [
        _curve(counted, place, name, mask, cause, ticks, most_points)
        for place, (name, mask) in enumerate(groups.items())
        for cause in range(len(outcomes.causes))
        if mask.any()
    ]


def _curve(counted: Counts, place: int, name: str, mask, cause: int, ticks, most_points) -> Curve:
    outcomes = counted.outcomes
    if outcomes.competing:
        steps = incidence_steps(counted, place, cause, most_points)
    else:
        steps = kaplan_meier_steps(counted, place, most_points)
    note = ""
    if (gone := counted.emptied(place)) is not None:
        note = (
            f"{name}: at {gone:g} {outcomes.unit} nobody was left at risk while others had yet to enter, so "
            "the curve ends there."
        )
    elif counted.thin(place, FEW):
        note = (
            f"{name}: early on fewer than {FEW} people were at risk while more had yet to enter, so the "
            "height of the whole curve, and its mean, hang on those few."
        )
    return Curve(
        name=name,
        n=counted.n[place],
        events=int(counted.happened[place, cause].sum()),
        n_unknown=int(mask.sum()) - counted.n[place],
        **{key: steps[key].to_numpy() for key in ("time", "survival", "lower", "upper")},
        at_risk_times=ticks,
        at_risk=numbers_at_risk(outcomes, mask, ticks),
        unit=outcomes.unit,
        kind="incidence" if outcomes.competing else "survival",
        cause=outcomes.causes[cause],
        note=note,
    )


def outcomes_of(state: CohortState) -> Outcomes | None:
    """Times and events of the state's endpoint, sorted once; None without an endpoint."""
    if state.endpoint is None:
        return None
    return outcomes_named(state.data, state.endpoint)


def outcomes_named(data: CohortData, endpoint: str) -> Outcomes:
    """Times and events of an endpoint of the data."""
    return prepare_once(
        data, ("outcomes", endpoint), lambda: Outcomes.of(data.outcome(endpoint), data.patients)
    )


def _split(state: CohortState, split: str | None) -> dict[str, np.ndarray]:
    mask = state.mask
    if split is None:
        return {EVERYONE: mask} if mask.all() else {SELECTED: mask, REST: ~mask}
    if split == "groups":
        masks = {state.group_name(name) or name: state.group(name) for name in "AB"}
        return {name: group for name, group in masks.items() if group is not None}
    return {name: group & mask for name, group in groups_of_levels(state.data, split).items()}


def groups_of_levels(data: CohortData, column: str) -> dict[str, np.ndarray]:
    """The patients of each level of a category, missing values as a level of their own.

    Raises
    ------
    DataError
        An unknown column, no category, more than twelve levels, a part of an endpoint.
    """
    found = data.column(column)
    if found.group == "endpoint":
        raise DataError(f"{column!r} is part of an endpoint: groups made by the outcome differ in it.")
    if found.kind != "category":
        raise DataError(
            f"{column!r} is a {found.kind}; curves are split by categories. Filter by its values."
        )
    if len(found.categories) > MOST_CURVES:
        raise DataError(
            f"{column!r} has {len(found.categories):,} levels, and more than {MOST_CURVES} curves cannot be "
            "told apart. Choose levels as groups A and B."
        )
    groups = {str(name): found.values == code for code, name in enumerate(found.categories)}
    return groups | ({MISSING: found.values < 0} if (found.values < 0).any() else {})


@dataclass(frozen=True)
class _Levels:
    labels: list[str]
    codes: np.ndarray  # the last code is missing
    everyone: np.ndarray
    n_together: int


def _coded(data: CohortData, name: str) -> _Levels:
    found = data.column(name)
    if found.kind != "category":
        raise DataError(f"{name!r} is a {found.kind}, not a category; pass it to histogram, or retype it.")
    codes, labels, n_together = np.asarray(found.values), [str(x) for x in found.categories], 0
    if len(labels) > MOST_BARS:
        common = np.sort(
            np.argsort(-np.bincount(codes[codes >= 0], minlength=len(labels)), kind="stable")[: MOST_BARS - 1]
        )
        n_together = len(labels) - len(common)
        place = np.full(len(labels), len(common))
        place[common] = np.arange(len(common))
        codes = np.where(codes >= 0, place[codes], -1)
        labels = [labels[i] for i in common] + [f"{n_together:,} other values"]
    codes = np.where(codes < 0, len(labels), codes).astype(np.intp)
    return _Levels(labels, codes, np.bincount(codes, minlength=len(labels) + 1), n_together)


def _numbers(data: CohortData, name: str) -> np.ndarray:
    """Values as float64, NaN where missing; dates as days since 1970."""
    if name.startswith(GENE):
        return np.asarray(data.gene(name.removeprefix(GENE)), float)
    found = data.column(name)
    if found.kind not in ("number", "date"):
        raise DataError(f"{name!r} is a {found.kind}, not a number; pass it to bars, or retype it.")
    return as_numbers(found)


def as_numbers(column: Column) -> np.ndarray:
    """A number or date as float64, NaN where missing; dates as days since 1970."""
    if column.kind == "number":
        return column.values
    return np.where(column.missing, np.nan, column.values.astype("datetime64[s]").astype(float) / 86_400)


def _binned(values: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Round edges, the bin of each value (the last one is missing), and people by bin."""
    known = np.isfinite(values)
    edges = round_edges(values[known], bins)
    codes = np.full(len(values), len(edges) - 1, np.intp)
    codes[known] = np.clip(np.searchsorted(edges, values[known], side="right") - 1, 0, None)
    return edges, codes, np.bincount(codes, minlength=len(edges))


def round_edges(values: np.ndarray, bins: int) -> np.ndarray:
    """Edges at round numbers, the last one above the largest value; whole numbers get whole steps.

    Examples
    --------
    >>> import numpy as np
    >>> from pm_lab.explorer.summaries import round_edges
    >>> round_edges(np.array([24.0, 89.0]), 7).tolist()
    [20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0]
    """
    if len(values) == 0:
        return np.zeros(1)
    low, high = float(values.min()), float(values.max())
    rough = (high - low) / bins
    if not rough > abs(high) * 1e-12:  # one value
        rough = max(abs(high), 1.0) / 10
    size = 10.0 ** np.floor(np.log10(rough))
    step = next(m * size for m in (1, 2, 2.5, 5, 10) if m * size >= rough * (1 - 1e-9))
    if (values == np.round(values)).all():
        step = max(1.0, np.ceil(step))
    first = np.floor(low / step + 1e-9)
    n = int(np.floor(high / step - first + 1e-9)) + 1
    return np.round((first + np.arange(n + 1)) * step, 12 - int(np.floor(np.log10(step))))
