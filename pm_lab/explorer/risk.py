"""A predicted risk of one patient: its place in the cohort, and how such predictions turned out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab.errors import DataError

from .comparison import least_people
from .group_survival import incidence_steps, kaplan_meier_steps
from .patient import patient_row, percentiles
from .summaries import NO_ENDPOINT, outcomes_of

if TYPE_CHECKING:
    from .cohort_data import CohortData
    from .state import CohortState

FIFTHS = 5
OUT_OF_FOLD = (
    "Observed among the fifth of the cohort with similar predictions. It says something of a new patient "
    "only if no patient was in the training of their own prediction (out of fold)."
)


@dataclass(frozen=True)
class PatientRisk:
    """A predicted risk of one patient, and how such predictions turned out.

    Attributes
    ----------
    value, percentile, n_known : the prediction, its place in the cohort (high is more risk), people with one.
    low, high, n : limits of the fifth of the cohort that the patient is in, and people in it whose outcome is
        known.
    predicted : mean prediction of that fifth.
    observed, lower, upper : the share of that fifth with the event by ``horizon``, and its interval of 95 %;
        None where they are fewer than ten, or without an endpoint.
    """

    name: str
    value: float
    percentile: float
    n_known: int
    low: float
    high: float
    n: int
    predicted: float
    observed: float | None = None
    lower: float | None = None
    upper: float | None = None
    horizon: float | None = None
    unit: str = ""
    note: str = ""


def patient_risk(
    state: CohortState, risk: str | pd.Series, patient: str | None = None, horizon: float | None = None
) -> PatientRisk:
    """A predicted risk of a patient against the cohort, and what was observed of patients with similar ones.

    Parameters
    ----------
    state : the cohort, its endpoint and the patient that is looked at.
    risk : name of a column of numbers, or a Series by patient; higher is worse. Predictions must have been
        made without the patient they are of (out of fold), or they look better than they are.
    patient : by default the one that is looked at.
    horizon : in the endpoint's unit; by default the median time in the cohort.

    Raises
    ------
    DataError
        As :func:`patient_row`; no numbers, a part of an endpoint, no prediction for the patient.
    """
    row, data = patient_row(state, patient), state.data
    name, values = _risk_values(data, risk)
    if not np.isfinite(values[row]):
        raise DataError(f"{name}: there is no prediction for this patient.")
    place, known = percentiles(values[:, None], row)
    edges = np.nanquantile(values, np.linspace(0, 1, FIFTHS + 1))
    fifth = int(np.clip(np.searchsorted(edges, values[row], side="right") - 1, 0, FIFTHS - 1))
    low, high = edges[fifth], edges[fifth + 1]
    group = (values >= low) & ((values < high) if fifth < FIFTHS - 1 else (values <= high))
    found = PatientRisk(
        name, float(values[row]), float(place[0]), int(known[0]), float(low), float(high),
        int(group.sum()), float(values[group].mean()),
    )  # fmt: skip
    return _calibrated(state, found, group, horizon)


def _risk_values(data: CohortData, risk: str | pd.Series) -> tuple[str, np.ndarray]:
    if isinstance(risk, pd.Series):
        values = risk.set_axis(risk.index.astype(str)).reindex(data.patients)
        return str(risk.name or "risk"), pd.to_numeric(values, errors="coerce").to_numpy(float)
    column = data.column(risk)
    if column.kind != "number" or column.group == "endpoint":
        raise DataError(
            f"{risk!r} is {'part of an endpoint' if column.group == 'endpoint' else 'no number'}."
        )
    return risk, column.values


def _calibrated(
    state: CohortState, found: PatientRisk, group: np.ndarray, horizon: float | None
) -> PatientRisk:
    outcomes = outcomes_of(state)
    if outcomes is None:
        return replace(found, note=NO_ENDPOINT)
    if horizon is None:
        horizon = float(np.median(outcomes.end[outcomes.known]))
    counted = outcomes.counted([group])
    found = replace(found, n=counted.n[0], horizon=horizon, unit=outcomes.unit)
    least = least_people(state)
    if counted.n[0] < least or counted.last[0] < horizon:
        few = f"fewer than {least} people" if counted.n[0] < least else "nobody followed that long"
        return replace(found, note=f"No calibration: {few} in this fifth of the cohort.")
    share = incidence_steps(counted, 0, 0) if outcomes.competing else kaplan_meier_steps(counted, 0)
    at = share.iloc[int(np.searchsorted(share["time"], horizon, side="right")) - 1]
    values = [at["survival"], at["lower"], at["upper"]]
    if not outcomes.competing:
        values = [1 - at["survival"], 1 - at["upper"], 1 - at["lower"]]
    observed, lower, upper = (None if np.isnan(value) else float(value) for value in values)
    return replace(found, observed=observed, lower=lower, upper=upper, note=OUT_OF_FOLD)
