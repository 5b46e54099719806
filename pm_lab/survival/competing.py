"""Competing causes: the cumulative incidence of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab import checks
from pm_lab.errors import DataError

from .curves import by_group, fit_curve, grouped, net_at_risk

if TYPE_CHECKING:
    from anndata import AnnData


def cumulative_incidence(
    cohort: AnnData | pd.DataFrame,
    endpoint: str | Mapping,
    groupby: str | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Aalen-Johansen estimate: the share of patients to whom each of several competing causes has happened.

    One minus Kaplan-Meier with the other causes censored is too high: it is the share in a world in which
    nobody dies of anything else.

    Parameters
    ----------
    cohort, groupby : as for :func:`kaplan_meier`.
    endpoint : as for :func:`endpoint_table`, with ``"censored"``: all other levels are causes.
    level : of the pointwise confidence intervals (log-log transformed, Aalen's variance).

    Returns
    -------
    pandas.DataFrame
        One row per group, cause and time at which something happened: ``group``, ``cause``, ``time``,
        ``at_risk``, ``events`` (of that cause), ``incidence``, ``lower``, ``upper`` (missing with left
        truncation, for which no library has a variance, and where nothing has happened yet).

    Raises
    ------
    DataError
        As :func:`kaplan_meier`; fewer than two causes.

    Examples
    --------
    >>> import pandas as pd, pm_lab as pm
    >>> table = pd.DataFrame({"months": [1.0, 2, 3, 4], "what": ["relapse", "death", "none", "relapse"]})
    >>> endpoint = {"time": "months", "event": "what", "unit": "months", "censored": "none"}
    >>> incidence = pm.survival.cumulative_incidence(table, endpoint)
    >>> incidence.groupby("cause")["incidence"].last().to_dict()
    {'death': 0.25, 'relapse': 0.75}

    Source: Aalen and Johansen, Scand J Stat 5:141 (1978); estimated by scikit-survival, with left truncation
    from the overall survival of lifelines.
    """
    checks.shares(level=level)
    table, groups = grouped(cohort, endpoint, groupby)
    causes = sorted(table["cause"].dropna().unique())
    if len(causes) < 2:
        raise DataError(
            f"there is one cause only ({causes}), so nothing competes: use kaplan_meier. Several causes are "
            'told apart by the levels of the event column, with "censored": <level> in the endpoint.'
        )
    estimate = _truncated_incidence if "entry" in table else _incidence
    parts = [estimate(part, causes, level).assign(group=name) for name, part in by_group(table, groups)]
    result = pd.concat(parts, ignore_index=True)
    columns = ["group", "cause", "time", "at_risk", "events", "incidence", "lower", "upper"]
    result = result[columns].astype({"at_risk": int, "events": int})
    result.attrs = {**table.attrs, "groupby": groupby or "", "level": level}
    return result


def _incidence(part: pd.DataFrame, causes: list[str], level: float) -> pd.DataFrame:
    from sksurv.nonparametric import cumulative_incidence_competing_risks

    present = [cause for cause in causes if (part["cause"] == cause).any()]  # the library wants no gaps
    if len(present) < 2:  # nor one cause alone
        return _one_cause(part, causes, level)
    codes = part["cause"].map({cause: i + 1 for i, cause in enumerate(present)}).fillna(0).astype(int)
    time = part["time"].to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):  # before the first event of a cause
        times, incidence, band = cumulative_incidence_competing_risks(
            codes.to_numpy(), time, conf_level=level, conf_type="log-log"
        )
    at_risk = (time[:, None] >= times).sum(axis=0)
    parts = []
    for cause in causes:
        row = present.index(cause) + 1 if cause in present else None
        some = np.zeros(len(times)) if row is None else incidence[row]
        known = some > 0
        parts.append(
            pd.DataFrame(
                {
                    "cause": cause,
                    "time": times,
                    "at_risk": at_risk,
                    "events": [((time == t) & (part["cause"] == cause)).sum() for t in times],
                    "incidence": some,
                    "lower": np.where(known, band[row][0], np.nan) if row else np.nan,
                    "upper": np.where(known, band[row][1], np.nan) if row else np.nan,
                }
            )
        )
    return pd.concat(parts)


def _one_cause(part: pd.DataFrame, causes: list[str], level: float) -> pd.DataFrame:
    """In a group in which nothing competes, one minus Kaplan-Meier is right."""
    fitter = fit_curve(part.assign(event=part["cause"].notna()), level)
    survival, counts = fitter.survival_function_["survival"], fitter.event_table
    shares = {"incidence": 1 - survival}
    shares |= dict(zip(("upper", "lower"), (1 - fitter.confidence_interval_).T.to_numpy(), strict=True))
    parts = []
    for cause in causes:
        happened = bool((part["cause"] == cause).any())
        table = pd.DataFrame({"at_risk": net_at_risk(fitter), "events": counts["observed"] * happened})
        table = (
            table.assign(**shares) if happened else table.assign(incidence=0.0, lower=np.nan, upper=np.nan)
        )
        known = (table["incidence"] > 0) & (survival > 0)
        table[["lower", "upper"]] = table[["lower", "upper"]].where(known)
        parts.append(table.assign(cause=cause, time=table.index.to_numpy(float)).reset_index(drop=True))
    return pd.concat(parts)


def _truncated_incidence(part: pd.DataFrame, causes: list[str], level: float) -> pd.DataFrame:
    """The sum over times of survival until then × events / at risk.

    scikit-survival's estimator takes no entries; that of lifelines moves tied times at random and counts
    those who enter at a time as at risk there.
    """
    fitter = fit_curve(part.assign(event=part["cause"].notna()), level)
    before = fitter.survival_function_["survival"].shift(fill_value=1.0).to_numpy()
    at_risk = net_at_risk(fitter)
    parts = []
    for cause in causes:
        events = part.loc[part["cause"] == cause, "time"].value_counts()
        events = events.reindex(at_risk.index, fill_value=0).to_numpy()
        share = np.divide(events, at_risk, out=np.zeros(len(events)), where=events > 0)
        columns = {"cause": cause, "time": at_risk.index.to_numpy(float), "at_risk": at_risk.to_numpy(int)}
        columns |= {"events": events, "incidence": np.cumsum(before * share)}
        parts.append(pd.DataFrame(columns).assign(lower=np.nan, upper=np.nan))
    return pd.concat(parts)
