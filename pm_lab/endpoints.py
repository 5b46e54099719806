"""Endpoints, declared once in ``uns["endpoints"]`` and read here alone: the checks that each must pass."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab import checks, keys
from pm_lab.design import as_text, level_name
from pm_lab.errors import DataError, DesignError, PmLabWarning, listed

if TYPE_CHECKING:
    from anndata import AnnData

REQUIRED = ("time", "event", "unit")
OPTIONAL = ("entry", "censored", "of_interest", "start", "measured")
# Codings that mean one thing only. 1 and 2 do not: R's survival reads 2 as the event, many tables 1.
PLAIN_CODINGS = {"0": False, "1": True, "False": False, "True": True}
EXPRESSION = "expression"  # under "measured": all genes at once
DAYS = {"day": 1.0, "week": 7.0, "month": 365.25 / 12, "year": 365.25}


def declare_endpoint(
    cohort: AnnData | pd.DataFrame,
    name: str,
    time: str,
    event: str,
    unit: str,
    entry: str | None = None,
    censored: str | int | None = None,
    of_interest: str | int | None = None,
    start: str | None = None,
    measured: Mapping[str, str | float] | None = None,
) -> None:
    """Check an endpoint and write it into ``uns["endpoints"]`` (of a table: ``attrs["endpoints"]``).

    Parameters
    ----------
    cohort : one row per patient; a Cohort's ``bulk``, or a table with the same columns as ``obs``.
    name : what the endpoint is called from now on, e.g. ``"dmfs"``.
    time : column with the time from time zero to the event or to censoring.
    event : column that says whether the event was seen: booleans or 0 and 1; anything else needs
        ``censored``.
    unit : of ``time`` and ``entry``, e.g. ``"days"``.
    entry : column with the time at which a patient came under observation (left truncation).
    censored : the level of ``event`` that means censored; the others are causes.
    of_interest : the cause that counts as the event; the other causes compete with it. Without one, any cause
        is the event.
    start : column with the date of time zero, needed where ``measured`` has dates. As text ("2020-01-31")
        if the cohort is to be written as h5ad, which takes no dates.
    measured : when covariates were measured: {covariate: column with its date or its time since time zero in
        ``unit``, or one number}. A covariate measured after a patient's time zero (after ``entry``, where
        there is one) is refused by every analysis: only who lived long enough has a value (immortal time).
        ``"expression"`` stands for all genes.

    Raises
    ------
    DataError
        As :func:`endpoint_table`; the endpoint is then not written.

    Examples
    --------
    >>> import pandas as pd, pm_lab as pm
    >>> table = pd.DataFrame({"months": [3.0, 9.5, 12.0], "status": [1, 2, 2]})
    >>> pm.survival.declare_endpoint(table, "os", "months", "status", "months", censored=1)
    >>> int(pm.survival.endpoint_table(table, "os")["event"].sum())
    2
    """
    given = {
        "time": time,
        "event": event,
        "unit": unit,
        "entry": entry,
        "censored": censored,
        "of_interest": of_interest,
        "start": start,
        "measured": (dict(measured) or None) if isinstance(measured, Mapping) else measured,
    }
    spec = {key: value for key, value in given.items() if value is not None}
    endpoint_table(cohort, spec)
    _declarations(cohort).setdefault(keys.ENDPOINTS, {})[name] = spec


def endpoint_table(cohort: AnnData | pd.DataFrame, endpoint: str | Mapping) -> pd.DataFrame:
    """Times and events of an endpoint, one row per patient, checked.

    Parameters
    ----------
    cohort : one row per patient; a Cohort's ``bulk``, or a table with the same columns as ``obs``.
    endpoint : a name declared in ``uns["endpoints"]`` (of a table: ``attrs["endpoints"]``), or the
        declaration itself: ``{"time": ..., "event": ..., "unit": ...}`` with the columns' names, and what
        else :func:`declare_endpoint` takes.

    Returns
    -------
    pandas.DataFrame
        Indexed as the cohort: ``time``, ``event`` (bool), ``cause`` (text, missing where censored) and, with
        left truncation, ``entry``. ``attrs``: ``endpoint`` and ``unit``.

    Raises
    ------
    DataError
        Unknown endpoint; missing, negative or infinite times; an event coding that can be read two ways;
        nobody with an event; an entry at or after the end; a patient in two rows.

    Warns
    -----
    PmLabWarning
        Events at time zero; a censoring level that nobody has.

    Examples
    --------
    >>> import pm_lab as pm
    >>> table = pm.survival.endpoint_table(pm.datasets.load("gse7390"), "dmfs")
    >>> len(table), int(table["event"].sum()), table.attrs["unit"]
    (198, 51, 'days')
    """
    _one_row_per_patient(patient_rows(cohort))
    return endpoint_rows(cohort, endpoint)


def endpoint_rows(cohort: AnnData | pd.DataFrame, endpoint: str | Mapping) -> pd.DataFrame:
    """As :func:`endpoint_table`, for analyses that take several rows (samples) of a patient.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.load("gse7390")
    >>> pm.endpoints.endpoint_rows(cohort, "dmfs").equals(pm.endpoints.endpoint_table(cohort, "dmfs"))
    True
    """
    obs = patient_rows(cohort)
    spec = specification(cohort, endpoint)
    table = pd.DataFrame({"time": _times(obs, spec["time"], "time")}, index=obs.index)
    table["cause"] = _causes(obs, spec)
    table.insert(1, "event", _is_event(table["cause"], spec))
    if "entry" in spec:
        table["entry"] = _times(obs, spec["entry"], "entry")
        _entered_before_the_end(table, spec)
    _has_events(obs, table, spec)
    table.attrs = {
        "endpoint": endpoint if isinstance(endpoint, str) else str(spec["event"]),
        "unit": str(spec["unit"]),
    }
    return table


def endpoint_columns(cohort: AnnData | pd.DataFrame) -> dict[str, str]:
    """Every column that belongs to a declared endpoint → that endpoint's name.

    Examples
    --------
    >>> import pm_lab as pm
    >>> pm.endpoints.endpoint_columns(pm.datasets.load("gse7390"))
    {'dmfs_time': 'dmfs', 'dmfs_event': 'dmfs'}
    """
    return {
        str(spec[part]): name
        for name, spec in _declarations(cohort).get(keys.ENDPOINTS, {}).items()
        for part in ("time", "event", "entry")
        if spec.get(part) is not None
    }


def patient_rows(cohort: AnnData | pd.DataFrame) -> pd.DataFrame:
    """The table with one row per patient: ``obs``, or the table itself."""
    if isinstance(cohort, pd.DataFrame):
        return cohort
    cohort = checks.bulk_of(cohort)
    if not hasattr(cohort, "obs"):
        raise DataError(f"cohort is a {type(cohort).__name__}; pass an AnnData, a Cohort or a DataFrame.")
    return cohort.obs


def _declarations(cohort: AnnData | pd.DataFrame) -> dict:
    return cohort.attrs if isinstance(cohort, pd.DataFrame) else checks.bulk_of(cohort).uns


def specification(cohort: AnnData | pd.DataFrame, endpoint: str | Mapping) -> dict:
    """The declaration of an endpoint, its form checked."""
    if not isinstance(endpoint, str | Mapping):
        raise DataError(f"endpoint={endpoint!r}: the name of a declared endpoint, or its declaration.")
    if isinstance(endpoint, Mapping):
        spec, called = dict(endpoint), "endpoint"
    else:
        known = _declarations(cohort).get(keys.ENDPOINTS, {})
        if endpoint not in known:
            names = f"Declared are {sorted(known)}" if known else "None is declared"
            raise DataError(
                f"there is no endpoint {endpoint!r}. {names}. Declare it with "
                f"pm.survival.declare_endpoint(cohort, {endpoint!r}, time=..., event=..., unit=...)."
            )
        spec, called = dict(known[endpoint]), f"endpoint {endpoint!r}"
    missing = [key for key in REQUIRED if key not in spec]
    unknown = sorted(set(spec) - {*REQUIRED, *OPTIONAL})
    if missing or unknown:
        wrong = f"lacks {missing}" if missing else f"has {unknown}, which mean nothing"
        raise DataError(f"{called} {wrong}. It needs {list(REQUIRED)} and may have {list(OPTIONAL)}.")
    for part in ("time", "event", "unit", "entry", "start"):
        if part in spec and not isinstance(spec[part], str):
            raise DataError(f"{called}: {part}={spec[part]!r} is no text, such as the name of a column.")
    if not isinstance(spec.get("measured", {}), Mapping):
        raise DataError(f"{called}: measured={spec['measured']!r} is no dict by covariate.")
    return spec


def column(obs: pd.DataFrame, name: str, role: str) -> pd.Series:
    """A column of the patients' table without missing values, or an error that names the role it plays."""
    if name not in obs:
        raise DataError(f"there is no column {name!r} ({role}); there are {listed(obs.columns, 12)}.")
    missing = obs[name].isna()
    if missing.any():
        raise DataError(
            f"{name!r} ({role}) is missing for {int(missing.sum()):,} of {len(obs):,} patients "
            f"({listed(obs.index[missing])}). Fill it in, or leave these patients out knowingly: "
            f"cohort[cohort.obs[{name!r}].notna()].copy()."
        )
    return obs[name]


def _one_row_per_patient(obs: pd.DataFrame) -> None:
    names = obs.index if keys.PATIENT not in obs else pd.Index(obs[keys.PATIENT])
    twice = names[names.duplicated()].unique()
    if len(twice):
        raise DataError(
            f"{len(twice):,} patients have more than one row ({listed(twice)}); a patient has one time to an "
            "event. Keep one row (sample) of each."
        )


def _times(obs: pd.DataFrame, name: str, role: str) -> pd.Series:
    values = column(obs, name, role)
    if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        raise DataError(
            f"{name!r} ({role}) holds {values.dtype} ({listed(values.unique(), 3)}), not numbers. Make it "
            "the time since time zero, in the unit that the endpoint declares."
        )
    values = values.astype(float)
    for wrong, what, mend in (
        (np.isinf(values), "infinite", "Put in the time of censoring."),
        (values < 0, "negative", "Look at the dates: the end lies before time zero."),
    ):
        if wrong.any():
            raise DataError(
                f"{name!r} ({role}) is {what} for {int(wrong.sum()):,} of {len(values):,} patients "
                f"({listed(values.index[wrong])}; smallest {values.min():g}). {mend}"
            )
    return values


def _causes(obs: pd.DataFrame, spec: dict) -> pd.Series:
    """What happened to each patient, as text; missing where the patient was censored."""
    name = spec["event"]
    values = as_text(column(obs, name, "event"))
    counts = values.value_counts().sort_index()
    shown = ", ".join(f"{level} ({n:,})" for level, n in counts[:8].items())
    if "censored" in spec:
        label = level_name(spec["censored"])
        if label not in counts.index:
            warnings.warn(
                f"nobody is coded {label!r} (censored) in {name!r}, so all {len(values):,} patients count as "
                f"having an event. Levels: {shown}.",
                PmLabWarning,
                stacklevel=5,
            )
        return values.where(values != label, None)
    if not set(counts.index) <= set(PLAIN_CODINGS):
        raise DataError(
            f"{name!r} (event) has the levels {shown}. Only booleans, or 0 and 1, say by themselves which is "
            'the event. Mend: add "censored": <level> to the endpoint, and "of_interest": <level> where '
            "several causes compete."
        )
    happened = values.map(PLAIN_CODINGS).astype(bool)
    return pd.Series("event", obs.index, dtype=object).where(happened, None)


def _is_event(causes: pd.Series, spec: dict) -> pd.Series:
    if "of_interest" not in spec:
        return causes.notna()
    if "censored" not in spec:
        raise DataError('the endpoint has "of_interest" and needs "censored": the level that means censored.')
    wanted = level_name(spec["of_interest"])
    if wanted not in set(causes.dropna()):
        raise DataError(
            f"nobody has the event of interest {wanted!r}; causes in {spec['event']!r} are "
            f"{sorted(set(causes.dropna()))}."
        )
    return causes == wanted


def _entered_before_the_end(table: pd.DataFrame, spec: dict) -> None:
    late = table["entry"] >= table["time"]
    if late.any():
        raise DataError(
            f"{int(late.sum()):,} of {len(table):,} patients enter at or after their end "
            f"({listed(table.index[late])}): {spec['entry']!r} must be below {spec['time']!r}. Such patients "
            "were never at risk under observation: leave them out knowingly."
        )


def _has_events(obs: pd.DataFrame, table: pd.DataFrame, spec: dict) -> None:
    if not table["event"].any():
        levels = as_text(obs[spec["event"]]).value_counts().to_dict()
        raise DataError(
            f"none of {len(table):,} patients has an event: all patients are censored. Check the coding of "
            f"{spec['event']!r} ({levels}) or follow the patients for longer."
        )
    at_zero = table["event"] & (table["time"] == 0)
    if at_zero.any():
        warnings.warn(
            f"{int(at_zero.sum()):,} patients have their event at time zero "
            f"({listed(table.index[at_zero])}): an event at diagnosis, or a missing date that was filled in. "
            "Nothing measured at time zero predicts it.",
            PmLabWarning,
            stacklevel=5,
        )


def check_measured(cohort, endpoint: str | Mapping, covariates: Iterable[str]) -> None:
    """Refuse covariates that were not known at time zero (or at entry), as far as endpoints say so.

    These are the times and events of this and of all declared endpoints, and what this endpoint declares as
    measured later.

    Parameters
    ----------
    covariates : columns of obs and genes that an analysis is about to use.

    Raises
    ------
    DesignError
        One of them, or ``"expression"`` where a gene is among them, was measured too late in some patients.
    DataError
        One of them is a part of an endpoint. Dates of measurement without the date of time zero, or missing
        ones.
    """
    spec = specification(cohort, endpoint)
    wanted = set(covariates)
    _refuse_parts_of_endpoints(cohort, endpoint, spec, wanted)
    if not isinstance(cohort, pd.DataFrame) and not wanted.isdisjoint(checks.bulk_of(cohort).var_names):
        wanted.add(EXPRESSION)
    declared = {name: when for name, when in spec.get("measured", {}).items() if name in wanted}
    obs = patient_rows(cohort)
    limit = obs[spec["entry"]] if "entry" in spec else pd.Series(0.0, obs.index)
    for name, when in declared.items():
        time = _time_of_measurement(obs, spec, name, when)
        late = time > limit
        if late.any():
            raise DesignError(
                f"{name!r} was measured after time zero in {int(late.sum()):,} of {len(obs):,} patients "
                f"({listed(obs.index[late])}; up to {time.max():.4g} {spec['unit']}). Only patients who got "
                "that far have a value, so it would seem to protect (immortal time). Mend: use a value known "
                "at time zero, or start the clock at the measurement, or declare it as the entry."
            )


def _refuse_parts_of_endpoints(cohort, endpoint: str | Mapping, spec: dict, names: set[str]) -> None:
    own = endpoint if isinstance(endpoint, str) else "endpoint"
    parts = endpoint_columns(cohort) | {str(spec[part]): own for part in ("time", "event")}
    parts.pop(spec.get("entry"), None)  # known when a patient comes under observation, such as an age
    held = {name: parts[name] for name in sorted(names & set(parts))}
    if held:
        shown = ", ".join(f"{name!r} (of {of!r})" for name, of in held.items())
        raise DataError(
            f"{shown} {'is' if len(held) == 1 else 'are'} part of an endpoint: known only after what is to "
            "be explained or predicted. Leave it out of covariates, groups and scores."
        )


def _time_of_measurement(obs: pd.DataFrame, spec: dict, name: str, when: str | float) -> pd.Series:
    """Times since time zero in the endpoint's unit, from a number, a column of numbers or one of dates."""
    if not isinstance(when, str):
        return pd.Series(float(when), obs.index)
    values = column(obs, when, f"when {name!r} was measured")
    if pd.api.types.is_numeric_dtype(values):
        return values.astype(float)
    days = DAYS.get(str(spec["unit"]).lower().rstrip("s"))
    if "start" not in spec or days is None:
        raise DataError(
            f"{when!r} (when {name!r} was measured) holds dates: the endpoint needs 'start', the column "
            f"with the date of time zero, and as unit one of {[unit + 's' for unit in DAYS]}, "
            f"not {spec['unit']!r}."
        )
    start = column(obs, spec["start"], "date of time zero")
    try:
        return (pd.to_datetime(values) - pd.to_datetime(start)).dt.total_seconds() / 86_400 / days
    except (ValueError, TypeError) as error:
        raise DataError(f"{when!r} or {spec['start']!r} is not a column of dates: {error}") from None
