"""Patients like one patient, by a distance that is said, and never by outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab import checks
from pm_lab.errors import DataError

from .group_moments import prepare_values
from .patient import patient_row
from .prepared import prepare_once
from .summaries import as_numbers, outcomes_of

if TYPE_CHECKING:
    from .cohort_data import CohortData
    from .state import CohortState

EXPRESSION = "expression"
COMPONENTS = 20
MOST_GENES = 1_000
MOST_FOR_AXES = 5_000  # patients; axes of a cohort hardly change with more
BLOCK = 2_048
MAP_DIGITS = 3  # of a map's coordinates, so that a lasso keeps the same patients on other machines
OF_FEW = "Outcomes of a few similar patients describe them; they do not predict this patient's."


def similar_patients(
    state: CohortState, patient: str | None = None, n: int = 10, columns: Sequence[str] | None = None
) -> pd.DataFrame:
    """The patients most like one, and what became of them.

    Parameters
    ----------
    state : the cohort and its endpoint; all patients are compared, not only those selected.
    patient : by default the one that is looked at.
    n : how many.
    columns : what they are compared by: columns of the cohort, "expression", or both. By default the
        expression, or where there is none all clinical columns. Expression: Euclidean distance on up to 20
        principal components of standardised genes. Columns: Gower's, the mean over columns of |x - y| / range
        for numbers and dates, and of 0 or 1 for categories; what is unknown of either patient is left out of
        the mean. Both: the mean of the two, with the expression's divided by the largest to this patient.

    Returns
    -------
    DataFrame
        Nearest first: ``patient``, ``distance``, ``n_compared`` (columns known of both; expression counts as
        one), and with an endpoint ``time``, ``event`` and ``cause`` (None where censored). ``attrs``:
        ``distance`` (in words), ``endpoint``, ``unit``, ``note``.

    Raises
    ------
    DataError
        As :func:`pm_lab.explorer.patient_row`; ``n`` below 1; unknown columns, those of free text, and parts
        of endpoints or what was measured after time zero: patients would be alike for how they ended.

    Examples
    --------
    >>> import pm_lab as pm
    >>> state = pm.explorer.CohortState(pm.datasets.simulate_cohort(n_cells=600))
    >>> similar = pm.explorer.similar_patients(state, "P001", columns=["age", "subtype", "stage"])
    >>> len(similar), bool(similar["distance"].is_monotonic_increasing)
    (10, True)

    Source: Gower, Biometrics 27:857 (1971), doi:10.2307/2528823.
    """
    row, data, n = patient_row(state, patient), state.data, checks.whole_number(n, "n")
    wanted = _compared(data, columns)
    clinical = [name for name in wanted if name != EXPRESSION]
    parts, words, compared = [], [], np.zeros(data.n, int)
    if EXPRESSION in wanted:
        axes = expression_axes(data)
        distance = np.sqrt(((axes.scores - axes.scores[row]) ** 2).sum(axis=1))
        if clinical:
            distance = distance / max(np.nanmax(distance, initial=0), 1e-12)
        parts.append(distance)
        compared += np.isfinite(distance)
        words.append(axes.words + (", divided by the largest to this patient" if clinical else ""))
    if clinical:
        distance, n_known = _gower(data, clinical, row)
        parts.append(distance)
        compared += n_known
        words.append(f"Gower's distance on {', '.join(clinical)}")
    distance = np.nanmean(np.where(compared > 0, parts, 0.0), axis=0)
    distance[(compared == 0) | (np.arange(data.n) == row)] = np.inf
    nearest = np.argsort(distance, kind="stable")[: min(n, int(np.isfinite(distance).sum()))]
    table = pd.DataFrame(
        {
            "patient": data.patients[nearest],
            "distance": distance[nearest],
            "n_compared": compared[nearest],
        }
    )
    said = words[0] if len(words) == 1 else f"mean of {words[0]}, and of {words[1]}"
    return _with_outcomes(state, table, nearest, said)


def _compared(data: CohortData, columns: Sequence[str] | None) -> list[str]:
    late = _measured_late(data)
    if columns is None:
        if data.expression is not None and EXPRESSION not in late:
            return [EXPRESSION]
        usable = [
            name
            for name, column in data.columns.items()
            if column.group == "clinical"
            and column.kind != "text"
            and name not in late
            and not column.private
        ]
        if not usable:
            raise DataError("there is nothing to compare patients by: no expression and no clinical column.")
        return usable
    names = [columns] if isinstance(columns, str) else list(dict.fromkeys(columns))
    if not names:
        raise DataError("columns is empty: name columns, or 'expression'.")
    for name in names:
        if name in late or (name in data.columns and data.columns[name].group == "endpoint"):
            raise DataError(
                f"{name!r} is part of an endpoint, or known only after time zero: patients would be alike "
                "for how they ended, and their outcomes would tell nothing. Leave it out."
            )
        if name == EXPRESSION:
            if data.expression is None:
                raise DataError("there is no expression in this cohort: compare by columns.")
        elif data.column(name).kind == "text":
            raise DataError(f"{name!r} is free text, by which patients cannot be compared.")
    return names


def _measured_late(data: CohortData) -> set[str]:
    """Columns (and "expression") that an endpoint declares as measured after time zero, or may be."""
    return {
        name
        for spec in data.endpoints.values()
        for name, when in spec.get("measured", {}).items()
        if isinstance(when, str) or when > 0
    }


def _gower(data: CohortData, names: list[str], row: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean dissimilarity of everyone to one patient, NaN where nothing is known of both; columns compared."""
    total, known = np.zeros(data.n), np.zeros(data.n, int)
    for name in names:
        column = data.column(name)
        both = ~column.missing & ~column.missing[row]
        if column.kind == "category":
            apart = (column.values != column.values[row]).astype(float)
        else:
            values = as_numbers(column)
            spread = np.ptp(values[~column.missing]) if not column.missing.all() else 0.0
            apart = np.abs(values - values[row]) / (spread or 1.0)
        total += np.where(both, apart, 0.0)
        known += both
    return np.divide(total, known, out=np.full(data.n, np.nan), where=known > 0), known


@dataclass(frozen=True)
class Axes:
    """Principal components of a cohort's expression: ``scores`` are patients × components."""

    scores: np.ndarray
    words: str


def expression_axes(data: CohortData) -> Axes:
    """Principal components of the most variable genes, standardised; worked out once a cohort."""
    return prepare_once(data, "expression axes", lambda: _axes(data))


def map_of_patients(data: CohortData) -> np.ndarray:
    """The first two of :func:`expression_axes` as a map, n × 2; unknown expression is NaN."""
    scores = expression_axes(data).scores[:, :2]
    if scores.shape[1] < 2:
        scores = np.column_stack([scores, np.zeros(len(scores))])
    far = np.nan_to_num(scores)
    sign = np.sign(far[np.abs(far).argmax(axis=0), (0, 1)])  # an axis may point either way
    found = np.round(scores * np.where(sign == 0, 1, sign), MAP_DIGITS) + 0.0
    return np.ascontiguousarray(found, np.float32)


def _axes(data: CohortData) -> Axes:
    values = prepare_once(data, "genes as numbers", lambda: prepare_values(data.expression))
    total = values.total
    n = np.maximum(total.n, 2)
    variance = np.maximum(total.second - total.first**2 / n, 0) / (n - 1)
    variance[total.n < data.n / 2] = 0  # mostly unknown genes
    genes = np.sort(np.argsort(-variance, kind="stable")[:MOST_GENES])
    genes = genes[variance[genes] > 0]
    if not len(genes):
        return Axes(np.zeros((data.n, 1)), "no distance: the expression does not vary")
    centre = (values.centre + total.first / n)[genes].astype(np.float32)
    spread = np.sqrt(variance[genes]).astype(np.float32)

    def standard(rows: slice) -> np.ndarray:
        block = data.expression[rows][:, genes] - centre
        block /= spread
        return block

    some = standard(slice(None, None, int(np.ceil(data.n / MOST_FOR_AXES))))
    some[~np.isfinite(some)] = 0  # the cohort's mean
    k = min(COMPONENTS, len(genes), max(len(some) - 1, 1))
    if len(some) < len(genes):  # the same axes from the smaller side, in a fraction of the time
        directions = np.linalg.svd(some.astype(float), full_matrices=False)[2].T
    else:
        directions = np.linalg.eigh((some.T @ some).astype(float))[1][:, ::-1]
    directions, scores = directions[:, :k].astype(np.float32), np.empty((data.n, k))
    for start in range(0, data.n, BLOCK):
        block = standard(slice(start, start + BLOCK))
        known = np.isfinite(block)
        block[~known] = 0
        scores[start : start + BLOCK] = block @ directions
        scores[start : start + BLOCK][~known.any(axis=1)] = np.nan
    sampled = f" of {len(some):,} of the patients" if len(some) < data.n else ""
    return Axes(
        scores,
        f"Euclidean distance on {k} principal components{sampled} of the {len(genes):,} most variable genes, "
        "each standardised",
    )


def _with_outcomes(state: CohortState, table: pd.DataFrame, rows: np.ndarray, distance: str) -> pd.DataFrame:
    attrs = {"distance": distance, "endpoint": "", "unit": "", "note": f"Distance: {distance}."}
    outcomes = outcomes_of(state)
    if outcomes is not None:
        known, cause = outcomes.known[rows], outcomes.cause[rows]
        names = np.array([None, *outcomes.causes], object)
        event = np.where(known, cause == 1, None)
        table = table.assign(time=outcomes.end[rows], event=event, cause=np.where(known, names[cause], None))
        attrs |= {"endpoint": outcomes.name, "unit": outcomes.unit, "note": f"{attrs['note']} {OF_FEW}"}
    table.attrs = attrs
    return table
