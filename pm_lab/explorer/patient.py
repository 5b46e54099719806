"""One patient against the cohort: place among all, events, alterations, cells and drugs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab import keys
from pm_lab.endpoints import DAYS
from pm_lab.errors import DataError

from .columns import MOLECULAR, Column
from .comparison import CELLS_NEEDED, MIN_CELLS, counts_by_patient, fractions_by_patient
from .prepared import prepare_once
from .summaries import as_numbers

if TYPE_CHECKING:
    from .cohort_data import CohortData
    from .state import CohortState

BLOCK = 2_048
UNALTERED = {
    *("false", "0", "no", "none", "wt", "wild type", "wild-type", "wildtype", "normal", "neutral"),
    *("absent", "negative", "unaltered", "not altered", "not mutated", "diploid"),
}
RESEARCH = (
    "A research ranking from cell lines, no advice on treatment. Percentile: share of the cell lines that "
    "are predicted to be more sensitive; a low one stands out."
)
NO_PERCENTILES = (
    "A research ranking, no advice on treatment, in the order of the predictions: without percentiles two "
    "drugs cannot be compared."
)
NO_PREDICTIONS = (
    "No predictions: pass those of a DrugResponseModel, "
    "pm.explore(cohort, predictions=model.predict(cohort))."
)
OUTSIDE = (
    "This patient is further from the cell lines of training than 99 % of these are from each other (out of "
    "distribution): how well such a patient is predicted is not known."
)
DATES_APART = (
    "Dates stand apart, without a number of days: time zero of the endpoints has no declared date "
    "(declare_endpoint(..., start=...)), or this patient's is not known."
)


def patient_row(state: CohortState, patient: str | None = None) -> int:
    """The row of a patient, by default of the one that is looked at.

    Raises
    ------
    DataError
        An unknown patient, or nobody is looked at.
    """
    patient = state.patient if patient is None else patient
    if patient is None:
        raise DataError("nobody is looked at: state.select_patient(...) first, or pass a patient.")
    row = int(state.data.patients.get_indexer([str(patient)])[0])
    if row < 0:
        raise DataError(f"there is no patient {patient!r} in the cohort.")
    return row


def patient_summary(state: CohortState, patient: str | None = None) -> pd.DataFrame:
    """Columns of a patient, and where they place the patient among all of the cohort.

    Returns
    -------
    DataFrame
        One row a column: ``column``, ``group`` ("clinical" or "molecular"), ``value`` (number, text or
        timestamp; None where it is missing), ``percentile`` (of numbers and dates, 0 to 100: the share below
        and half of those equal, the patient included), ``share`` (of a category, in percent of those known),
        ``n_known``. Parts of endpoints are left out: see :func:`timeline`.

    Raises
    ------
    DataError
        As :func:`patient_row`.

    Examples
    --------
    >>> import pm_lab as pm
    >>> state = pm.explorer.CohortState(pm.datasets.simulate_cohort(n_cells=600))
    >>> table = pm.explorer.patient_summary(state, "P001").set_index("column")
    >>> table.loc["age", "value"], int(table.loc["age", "n_known"])
    (59.0, 120)
    """
    row = patient_row(state, patient)
    columns = [column for column in state.data.columns.values() if column.group != "endpoint"]
    return pd.DataFrame(
        [_placed(column, row) for column in columns],
        columns=["column", "group", "value", "percentile", "share", "n_known"],
    )


def _placed(column: Column, row: int) -> dict:
    found = {"column": column.name, "group": column.group, "value": None, "percentile": np.nan}
    found |= {"share": np.nan, "n_known": len(column.values) - column.n_missing}
    if column.missing[row]:
        return found
    if column.kind in ("category", "text"):
        code = column.values[row]
        return found | {
            "value": column.categories[code],
            "share": 100 * float((column.values == code).sum()) / found["n_known"],
        }
    place, _ = percentiles(as_numbers(column)[:, None], row)
    value = column.values[row]
    return found | {
        "value": float(value) if column.kind == "number" else pd.Timestamp(value),
        "percentile": float(place[0]),
    }


def percentiles(values: np.ndarray, row: int) -> tuple[np.ndarray, np.ndarray]:
    """Mid-ranks of one row in each column, 0 to 100, and how many values there are."""
    own = values[row]
    below, equal, known = np.zeros((3, values.shape[1]))
    for start in range(0, len(values), BLOCK):
        block = values[start : start + BLOCK]
        below += (block < own).sum(axis=0)
        equal += (block == own).sum(axis=0)
        known += np.isfinite(block).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        place = 100 * (below + equal / 2) / known
    return np.where(np.isfinite(own), place, np.nan), known.astype(int)


def gene_percentiles(
    state: CohortState, patient: str | None = None, genes: Sequence[str] | None = None
) -> pd.DataFrame:
    """Where a patient's genes are within the cohort.

    Returns
    -------
    DataFrame
        One row a gene: ``gene``, ``value`` (in the units of X), ``percentile`` (as :func:`patient_summary`),
        ``n_known``. Empty without expression.

    Raises
    ------
    DataError
        As :func:`patient_row`; a gene that is not measured.
    """
    row, data = patient_row(state, patient), state.data
    if data.expression is None:
        return pd.DataFrame(columns=["gene", "value", "percentile", "n_known"])
    if genes is None:
        names, values = data.genes, data.expression
    else:
        names, values = list(genes), np.column_stack([data.gene(gene) for gene in genes])
    place, known = percentiles(values, row)
    return pd.DataFrame(
        {"gene": np.asarray(names, object), "value": values[row], "percentile": place, "n_known": known}
    )


def pathway_percentiles(state: CohortState, patient: str | None = None) -> pd.DataFrame:
    """Where a patient's pathway activities are within the cohort; as :func:`gene_percentiles`."""
    row, pathways = patient_row(state, patient), state.data.pathways
    if pathways is None:
        return pd.DataFrame(columns=["pathway", "value", "percentile", "n_known"])
    values = pathways.to_numpy(float)
    place, known = percentiles(values, row)
    return pd.DataFrame(
        {"pathway": list(pathways.columns), "value": values[row], "percentile": place, "n_known": known}
    )


def timeline(state: CohortState, patient: str | None = None) -> pd.DataFrame:
    """What happened to a patient and when, from endpoints and columns of dates.

    Returns
    -------
    DataFrame
        One row an event, in order of time: ``what`` (in words), ``kind`` ("start", "entry", "measured",
        "event", "competing event", "censored", "date"), ``time`` with its ``unit``, ``days`` (the same in
        days, where the unit is one of time), ``date`` (NaT where there is none) and ``column``. Time zero is
        that of the endpoints. Dates count from it where all endpoints declare the same column as its date
        (``start``) and the patient has one; without endpoints they count from the patient's first date; else
        they have no ``time``, ``unit`` and ``days`` and stand last. ``attrs["note"]`` says so.

    Raises
    ------
    DataError
        As :func:`patient_row`.
    """
    row, data = patient_row(state, patient), state.data
    events = [event for name in data.endpoints for event in _of_endpoint(data, name, row)]
    events += _of_dates(data, row)
    columns = ["what", "kind", "time", "unit", "days", "date", "column"]
    table = pd.DataFrame(events, columns=columns).drop_duplicates(["what", "kind", "days"])
    table["date"] = pd.to_datetime(table["date"])
    table = table.sort_values(["days", "time"], kind="stable").reset_index(drop=True)
    apart = (table["kind"].eq("date") & table["time"].isna()).any()
    table.attrs = {"note": DATES_APART if apart else ""}
    return table


def _of_endpoint(data: CohortData, name: str, row: int) -> list[dict]:
    spec, outcome = data.endpoints[name], data.outcome(name).iloc[row]
    unit = str(spec["unit"])
    scale = DAYS.get(unit.lower().rstrip("s"), np.nan)
    event = lambda what, kind, time, column: {  # noqa: E731
        **{"what": what, "kind": kind, "time": float(time), "unit": unit, "days": float(time) * scale},
        **{"date": pd.NaT, "column": column},
    }
    found = [event("time zero", "start", 0.0, spec.get("start", ""))]
    for covariate, when in spec.get("measured", {}).items():
        if isinstance(when, int | float):
            found.append(event(f"{covariate} measured", "measured", when, covariate))
    if pd.isna(outcome["time"]):
        return found
    if pd.notna(outcome.get("entry")) and outcome["entry"] > 0:
        found.append(event("came under observation", "entry", outcome["entry"], spec["entry"]))
    cause = outcome["cause"]
    if cause is None or pd.isna(cause):
        return [*found, event(f"{name}: end of follow-up", "censored", outcome["time"], spec["time"])]
    what = name if cause == "event" else f"{name}: {cause}"
    kind = "event" if outcome["event"] else "competing event"
    return [*found, event(what, kind, outcome["time"], spec["time"])]


def _of_dates(data: CohortData, row: int) -> list[dict]:
    dates = {name: pd.Timestamp(c.values[row]) for name, c in data.columns.items() if c.kind == "date"}
    dates = {name: date for name, date in dates.items() if date is not pd.NaT}
    if not dates:
        return []
    starts = {spec.get("start") for spec in data.endpoints.values()}
    zero = dates.get(next(iter(starts))) if len(starts) == 1 else None
    if not starts:
        zero = min(dates.values())
    found = []
    for name, date in sorted(dates.items(), key=lambda item: item[1]):
        days = np.nan if zero is None else (date - zero) / pd.Timedelta(days=1)
        unit = None if zero is None else "days"
        event = {"what": name, "kind": "date", "time": days, "unit": unit, "days": days}
        found.append(event | {"date": date, "column": name})
    return found


def alterations(state: CohortState, patient: str | None = None) -> pd.DataFrame:
    """Mutations and other alterations of a patient: one row of an oncoprint.

    They are the categories among molecular columns (``mutation_TP53``). A value such as no, 0 or wild type
    is no alteration, any other one is.

    Returns
    -------
    DataFrame
        One row a column: ``alteration`` ("TP53"), ``kind`` ("mutation"), ``value``, ``altered`` (None where
        it is not known), ``frequency`` (percent of the cohort's known patients), ``n_known``, ``column``;
        most frequent first.

    Raises
    ------
    DataError
        As :func:`patient_row`.
    """
    row = patient_row(state, patient)
    rows = [
        _altered(column, row)
        for column in state.data.columns.values()
        if column.group == "molecular" and column.kind == "category"
    ]
    names = ["alteration", "kind", "value", "altered", "frequency", "n_known", "column"]
    table = pd.DataFrame(rows, columns=names).astype({"altered": object})
    return table.sort_values("frequency", ascending=False, kind="stable").reset_index(drop=True)


def _altered(column: Column, row: int) -> dict:
    prefix = next((start for start in MOLECULAR if column.name.startswith(start)), "")
    is_altered = np.array([*(name.lower() not in UNALTERED for name in column.categories), False])
    known = len(column.values) - column.n_missing
    missing = bool(column.missing[row])
    return {
        "alteration": column.name.removeprefix(prefix),
        "kind": {"mut": "mutation"}.get(prefix.rstrip("_"), prefix.rstrip("_").replace("_", " ")),
        "value": None if missing else column.categories[column.values[row]],
        "altered": None if missing else bool(is_altered[column.values[row]]),
        "frequency": 100 * float(is_altered[column.values].sum()) / known if known else np.nan,
        "n_known": known,
        "column": column.name,
    }


@dataclass(frozen=True)
class PatientCells:
    """A patient's cells within all cells.

    Attributes
    ----------
    rows : places of the patient's cells among all cells.
    embedding : coordinates of all cells (n × 2), or None where there is no UMAP.
    types : ``cell_type``, ``n`` (cells), ``fraction``, and within the patients of the cohort with at least
        20 cells ``median`` fraction, ``percentile`` and ``n_known``.
    note : what is lacking.
    """

    rows: np.ndarray
    embedding: np.ndarray | None
    types: pd.DataFrame
    note: str = ""


def patient_cells(state: CohortState, patient: str | None = None) -> PatientCells:
    """The cells of a patient: where they are in the UMAP of all cells, and of which types.

    Raises
    ------
    DataError
        As :func:`patient_row`.
    """
    row, data = patient_row(state, patient), state.data
    columns = ["cell_type", "n", "fraction", "median", "percentile", "n_known"]
    if data.cells is None:
        return PatientCells(np.zeros(0, int), None, pd.DataFrame(columns=columns), CELLS_NEEDED)
    rows = np.flatnonzero(data.cell_rows == row)
    embedding = data.cells.obsm.get(keys.UMAP)
    embedding = None if embedding is None else np.asarray(embedding)[:, :2].astype(np.float32, copy=False)
    counts = counts_by_patient(data)
    if counts is None:
        return PatientCells(rows, embedding, pd.DataFrame(columns=columns), CELLS_NEEDED)
    n = counts.to_numpy()[row]
    note = (
        ""
        if n.sum() >= MIN_CELLS
        else f"{n.sum():,} cells: at least {MIN_CELLS} are needed for a composition."
    )
    fractions = fractions_by_patient(data).to_numpy()
    place, known = percentiles(fractions, row)
    some = np.isfinite(fractions[:, 0]) if fractions.shape[1] else np.zeros(0, bool)
    middle = np.median(fractions[some], axis=0) if some.any() else np.full(len(n), np.nan)
    own = n / n.sum() if n.sum() else np.full(len(n), np.nan)
    table = [counts.columns, n, own, middle, place, known]
    return PatientCells(rows, embedding, pd.DataFrame(dict(zip(columns, table, strict=True))), note)


def patient_drugs(state: CohortState, patient: str | None = None) -> pd.DataFrame:
    """Predicted drugs of a patient, most sensitive against the cell lines first: a research ranking.

    Returns
    -------
    DataFrame
        One row a drug: ``rank``, ``drug``, and what the predictions have of ``ln_ic50`` (µM) or ``auc``,
        ``lower``, ``upper``, ``percentile``, ``nearest_lines``, ``out_of_distribution``, ``isolation``.
        ``attrs["note"]`` must be shown with it. Empty without predictions.

    Raises
    ------
    DataError
        As :func:`patient_row`.
    """
    row, data = patient_row(state, patient), state.data
    if data.predictions is None:
        table = pd.DataFrame(columns=["rank", "drug"])
        table.attrs = {"note": NO_PREDICTIONS}
        return table
    places = prepare_once(data, "rows of predictions", lambda: _rows_by_patient(data))
    table = data.predictions.iloc[places.get(row, [])].drop(columns=[keys.PATIENT])
    notes = [RESEARCH]
    if "percentile" in table:
        table = table.sort_values("percentile", kind="stable")
    else:
        notes = [NO_PERCENTILES]
    if len(table) and table.get("out_of_distribution", pd.Series([False])).any():
        notes.append(OUTSIDE)
    if table.empty:
        notes = ["There are no predictions for this patient."]
    table = table.drop(columns="rank", errors="ignore").reset_index(drop=True)
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    table.attrs = {"note": " ".join(notes)}
    return table


def _rows_by_patient(data: CohortData) -> dict[int, np.ndarray]:
    place = data.patients.get_indexer(data.predictions[keys.PATIENT])
    order = np.argsort(place, kind="stable")
    found, first = np.unique(place[order], return_index=True)
    return dict(zip(found.tolist(), np.split(order, first[1:]), strict=True))
