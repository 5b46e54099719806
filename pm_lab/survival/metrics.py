"""Measures of one set of predictions on one set of patients: those of scikit-survival, and net benefit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

NAMES = [
    "c_index",
    "c_index_uno",
    "auc",
    "auc_at_horizon",
    "hazard_ratio_per_sd",
    "integrated_brier",
    "calibration_slope",
    "observed_over_expected",
]
SMALLEST = 1e-6  # risks are kept this far from 0 and 1, whose log-log is infinite


@dataclass(frozen=True)
class Setting:
    """Times of the evaluation, ascending and ending with the horizon, and thresholds of risk."""

    times: np.ndarray
    horizon: float
    thresholds: np.ndarray

    @property
    def at_horizon(self) -> int:
        """Column of the horizon among the times."""
        return len(self.times) - 1


@dataclass(frozen=True)
class Prediction:
    """One risk per patient (higher is worse) and, where there are any, survival (patients × times)."""

    risk: np.ndarray
    survival: np.ndarray | None

    def take(self, rows: np.ndarray) -> Prediction:
        """The predictions of some patients."""
        return Prediction(self.risk[rows], None if self.survival is None else self.survival[rows])


@dataclass(frozen=True)
class Measures:
    """``scalars`` in the order of NAMES, curves over times, groups and thresholds; NaN: not to be had."""

    scalars: np.ndarray
    auc: np.ndarray
    brier: np.ndarray
    observed: np.ndarray
    groups: dict
    net_benefit: np.ndarray
    treat_all: np.ndarray


def measure(time, event, prediction: Prediction, group: np.ndarray, setting: Setting) -> Measures:
    """All measures of predictions on these patients, resampled ones included.

    Parameters
    ----------
    time, event : of each patient.
    prediction : for the same patients at ``setting.times``.
    group : group of predicted risk of each patient, -1 for none.
    """
    y = np.empty(len(time), dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = event, time
    nothing = np.full(len(setting.times), np.nan)
    scalars = dict.fromkeys(NAMES, np.nan)
    found, auc = _discrimination(y, prediction.risk, setting)
    scalars |= found
    n_groups = int(group.max()) + 1
    brier, observed, groups = nothing, np.full(n_groups, np.nan), {}
    everyone = np.ones((len(time), 1))
    benefit = np.full(len(setting.thresholds), np.nan)
    if prediction.survival is not None:
        event_risk = 1 - prediction.survival[:, setting.at_horizon]
        brier = _brier(y, prediction.survival, setting)
        scalars |= _calibration(y, prediction, brier, setting)
        members = group[:, None] == np.arange(n_groups)
        observed = 1 - survival_of_groups(time, event, members, setting.horizon)
        sizes = members.sum(axis=0)
        with np.errstate(invalid="ignore"):  # groups that a resample missed
            groups = {"group": np.arange(n_groups), "n": sizes, "predicted": event_risk @ members / sizes}
        benefit = net_benefit(time, event, event_risk[:, None] >= setting.thresholds, setting)
    treat_all = net_benefit(time, event, np.repeat(everyone, len(setting.thresholds), axis=1), setting)
    return Measures(np.array(list(scalars.values())), auc, brier, observed, groups, benefit, treat_all)


def _discrimination(y: np.ndarray, risk: np.ndarray, setting: Setting) -> tuple[dict, np.ndarray]:
    """Measures of ranking, and the AUC at each time."""
    from sksurv.metrics import concordance_index_censored, concordance_index_ipcw, cumulative_dynamic_auc

    times = setting.times
    if np.ptp(risk) == 0:  # nobody is ranked before anybody
        half = dict.fromkeys(("c_index", "c_index_uno", "auc", "auc_at_horizon"), 0.5)
        return half, np.full(len(times), 0.5)
    with np.errstate(divide="ignore", invalid="ignore"):
        auc, mean = _or_nan(
            lambda: cumulative_dynamic_auc(y, y, risk, times), (np.full(len(times), np.nan), np.nan)
        )
    found = {
        "c_index": _or_nan(lambda: concordance_index_censored(y["event"], y["time"], risk)[0], np.nan),
        "c_index_uno": _or_nan(lambda: concordance_index_ipcw(y, y, risk, tau=setting.horizon)[0], np.nan),
        "auc": mean,
        "auc_at_horizon": auc[-1],
        "hazard_ratio_per_sd": np.exp(slope_of(y["time"], y["event"], risk / risk.std())),
    }
    return found, auc


def _or_nan(compute: Callable, otherwise):
    """What cannot be computed on a resample (no event early enough, no pair) is missing, and counted."""
    try:
        return compute()
    except ValueError:  # scikit-survival's word for it, NoComparablePairException included
        return otherwise


def slope_of(time: np.ndarray, event: np.ndarray, score: np.ndarray) -> float:
    """Coefficient of a Cox model (Efron) with this score alone; NaN where it is not finite.

    The libraries fit the same in 10 to 80 ms, too long for each resample.
    """
    order = np.argsort(-time, kind="stable")
    time, event, x = time[order], event[order], (score - score.mean())[order]
    dead = np.flatnonzero(event)
    last = np.searchsorted(-time, -time[dead], side="right") - 1  # those at risk: all up to this row
    _, tie, size = np.unique(time[dead], return_inverse=True, return_counts=True)
    share = _place_within(tie) / size[tie]
    powers = np.vstack([np.ones_like(x), x, x**2])
    coefficient = 0.0
    for _ in range(25):
        weighted = np.exp(np.clip(coefficient * x, -500, 500)) * powers
        of_tie = np.array([np.bincount(tie, row[dead]) for row in weighted])
        total, mean, square = np.cumsum(weighted, axis=1)[:, last] - share * of_tie[:, tie]
        mean, square = mean / total, square / total
        gradient, information = (x[dead] - mean).sum(), (square - mean**2).sum()
        if not information > 1e-12:
            return np.nan
        step = gradient / information
        coefficient += np.clip(step, -2, 2)
        if abs(step) < 1e-8:
            return float(coefficient)
    return np.nan  # the score separates the patients, and the slope grows without end


def _place_within(labels: np.ndarray) -> np.ndarray:
    """0, 1, 2, ... within each run of equal labels."""
    starts = np.flatnonzero(np.diff(labels, prepend=labels[:1] - 1))
    lengths = np.diff(np.append(starts, len(labels)))
    return np.arange(len(labels)) - np.repeat(starts, lengths)


def _brier(y: np.ndarray, survival: np.ndarray, setting: Setting) -> np.ndarray:
    from sksurv.metrics import brier_score

    nothing = np.full(len(setting.times), np.nan)
    return _or_nan(lambda: brier_score(y, y, survival, setting.times)[1], nothing)


def _calibration(y: np.ndarray, prediction: Prediction, brier: np.ndarray, setting: Setting) -> dict:
    times, everyone = setting.times, np.ones((len(y), 1), bool)
    event_risk = 1 - prediction.survival[:, setting.at_horizon]
    clipped = np.clip(event_risk, SMALLEST, 1 - SMALLEST)
    happened = 1 - survival_of_groups(y["time"], y["event"], everyone, setting.horizon)[0]
    constant = np.ptp(prediction.risk) == 0
    slope = np.nan if constant else slope_of(y["time"], y["event"], np.log(-np.log(1 - clipped)))
    span = times[-1] - times[0]
    return {
        "integrated_brier": np.trapezoid(brier, times) / span if span > 0 else brier[-1],
        "calibration_slope": slope,
        "observed_over_expected": happened / event_risk.mean(),
    }


def survival_of_groups(
    time: np.ndarray, event: np.ndarray, members: np.ndarray, horizon: float
) -> np.ndarray:
    """Kaplan-Meier survival at the horizon of many groups at once (patients × groups); NaN of an empty one.

    The same as the libraries' estimator, which takes one group in the time that this takes for a hundred.
    """
    times = np.unique(time[event & (time <= horizon)])
    members = members.astype(float)
    at_risk = (time[:, None] >= times).T @ members
    events = ((time[:, None] == times) & event[:, None]).T @ members
    falls = np.divide(events, at_risk, out=np.zeros_like(events), where=at_risk > 0)
    return np.where(members.any(axis=0), np.prod(1 - falls, axis=0), np.nan)


def quantile_groups(prediction: Prediction, setting: Setting, n_groups: int) -> np.ndarray:
    """Group of each patient by predicted risk, 0 for the lowest; -1 where there are no probabilities."""
    if prediction.survival is None:
        return np.full(len(prediction.risk), -1)
    if np.ptp(prediction.risk) == 0:
        return np.zeros(len(prediction.risk), int)
    risk = 1 - prediction.survival[:, setting.at_horizon]
    edges = np.unique(np.quantile(risk, np.linspace(0, 1, n_groups + 1)[1:-1]))
    return np.unique(np.searchsorted(edges, risk, side="right"), return_inverse=True)[1]


def net_benefit(time, event, treated: np.ndarray, setting: Setting) -> np.ndarray:
    """True positives less weighted false positives, per patient, at each threshold (patients × thresholds).

    Of the share treated, Kaplan-Meier says how many have the event by the horizon (after Vickers et al.,
    BMC Med Inform Decis Mak 8:53 (2008), doi:10.1186/1472-6947-8-53).
    """
    free = np.nan_to_num(survival_of_groups(time, event, treated, setting.horizon))
    odds = setting.thresholds / (1 - setting.thresholds)
    return treated.mean(axis=0) * ((1 - free) - free * odds)
