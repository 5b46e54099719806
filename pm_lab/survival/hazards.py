"""Baseline hazard, incidence among competing causes, and the check of proportional hazards."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd

from pm_lab.errors import PmLabWarning

SUSPICIOUS = 0.05


def baseline_hazard(outcome: pd.DataFrame, log_hazard: np.ndarray) -> pd.Series:
    """Breslow's cumulative hazard of a patient whose log hazard is 0, by time from 0 on.

    lifelines' own counts patients before they have entered, so it is too low under left truncation.
    """
    time, event = outcome["time"].to_numpy(), outcome["event"].to_numpy()
    entry = _entry(outcome)
    weight = np.exp(log_hazard)
    times = np.unique(time[event])
    steps = [event[time == t].sum() / weight[(entry < t) & (time >= t)].sum() for t in times]
    hazard = pd.Series(np.cumsum(steps), times)
    return hazard.reindex(np.unique([0.0, *times, time.max()])).ffill().fillna(0.0)


def incidence(
    hazard: pd.Series, ratio: np.ndarray, other: pd.Series, other_ratio: np.ndarray, times: np.ndarray
) -> np.ndarray:
    """Share of patients like each one (row) who have the event by each time (column), others dying before.

    Parameters
    ----------
    hazard, other : cumulative baseline hazards of the event and of all competing events, by time.
    ratio, other_ratio : hazard ratios of each patient.

    Source: Benichou and Gail, Biometrics 46:813 (1990).
    """
    steps = np.diff(hazard, prepend=0.0)
    of_others = np.append(0.0, other)[np.searchsorted(other.index, hazard.index, side="left")]
    free = np.exp(-np.outer(ratio, hazard - steps) - np.outer(other_ratio, of_others))  # until before each
    reached = np.cumsum(free * -np.expm1(-np.outer(ratio, steps)), axis=1)
    return reached[:, np.searchsorted(hazard.index, times, side="right") - 1]


def check_proportional_hazards(
    fitter, data: pd.DataFrame, columns: pd.Index, outcome: pd.DataFrame, stratum: pd.Series | None
) -> pd.DataFrame:
    """``ph_statistic`` (chi-squared, 1 degree of freedom) and ``ph_pvalue`` of each coefficient, warned of.

    Parameters
    ----------
    fitter : fitted to ``data``, whose rows are in order of time.
    columns : the covariates.
    outcome : the endpoint's table.
    stratum : of each row of ``data``, with a stratified model.
    """
    from lifelines.statistics import proportional_hazard_test

    residuals = None
    if "entry" in outcome:  # lifelines has residuals without entries only, but takes given ones
        ordered = outcome.loc[data.index]
        residuals = _scaled_schoenfeld(fitter, data[columns], ordered, stratum)
    test = proportional_hazard_test(fitter, data, time_transform="km", precomputed_residuals=residuals)
    table = pd.DataFrame(
        {"ph_statistic": test.test_statistic, "ph_pvalue": test.p_value}, index=fitter.params_.index
    )
    suspicious = table["ph_pvalue"][table["ph_pvalue"] < SUSPICIOUS / len(table)]
    if len(suspicious):
        found = ", ".join(f"{name} (p = {p:.2g})" for name, p in suspicious.items())
        warnings.warn(
            f"hazards are not proportional for {found}: its hazard ratio is an average over time that "
            "depends on the follow-up. Look at kaplan_meier by it, use it as strata, or compare means.",
            PmLabWarning,
            stacklevel=4,
        )
    return table


def _scaled_schoenfeld(fitter, covariates: pd.DataFrame, outcome: pd.DataFrame, stratum) -> pd.DataFrame:
    """One row per event in order of time: its covariates less those expected of all at risk (Efron)."""
    time, event, entry = outcome["time"].to_numpy(), outcome["event"].to_numpy(), _entry(outcome)
    x = covariates.to_numpy()
    weight = np.exp(x @ fitter.params_[covariates.columns].to_numpy())
    groups = np.zeros(len(x)) if stratum is None else pd.factorize(stratum)[0]
    residuals = np.full(x.shape, np.nan)
    for group, t in {(g, t) for g, t in zip(groups[event], time[event], strict=True)}:
        at_risk = (groups == group) & (entry < t) & (time >= t)
        dead = (groups == group) & (time == t) & event
        shares = np.arange(dead.sum()) / dead.sum()
        weights = weight * (at_risk - shares[:, None] * dead)
        expected = (weights @ x / weights.sum(axis=1, keepdims=True)).mean(axis=0)
        residuals[dead] = x[dead] - expected
    scaled = event.sum() * residuals[event] @ fitter.variance_matrix_.loc[covariates.columns].to_numpy()
    return pd.DataFrame(scaled, columns=fitter.variance_matrix_.columns)


def _entry(outcome: pd.DataFrame) -> np.ndarray:
    return outcome["entry"].to_numpy() if "entry" in outcome else np.full(len(outcome), -np.inf)
