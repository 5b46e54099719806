"""Measures of one set of predictions on one set of patients, who may have entered late or of other causes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

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
TIED = 1e-8  # scikit-survival's limit
MOST_PAIRS = 5_000_000  # of patients held at once for a concordance


@dataclass(frozen=True)
class FollowUp:
    """What happened to each patient.

    Attributes
    ----------
    time : of the end of follow-up.
    event : the event of interest was seen then.
    any_cause : it or a competing event was.
    entry : when the patient came under observation; None where all were from time zero on.
    competing : there are competing events in the cohort (not only in a resample of it).
    """

    time: np.ndarray
    event: np.ndarray
    any_cause: np.ndarray
    entry: np.ndarray | None
    competing: bool

    @classmethod
    def of(cls, outcome: pd.DataFrame) -> FollowUp:
        """From what ``endpoint_table`` returned."""
        event, any_cause = outcome["event"].to_numpy(), outcome["cause"].notna().to_numpy()
        entry = outcome["entry"].to_numpy() if "entry" in outcome else np.zeros(len(outcome))
        late = entry if (entry > 0).any() else None
        return cls(outcome["time"].to_numpy(), event, any_cause, late, bool((any_cause & ~event).any()))

    def take(self, rows: np.ndarray) -> FollowUp:
        """The follow-up of some patients."""
        entry = None if self.entry is None else self.entry[rows]
        parts = {name: getattr(self, name)[rows] for name in ("time", "event", "any_cause")}
        return replace(self, entry=entry, **parts)

    def structured(self, happened: np.ndarray) -> np.ndarray:
        """Times with these events, as scikit-survival takes them."""
        y = np.empty(len(self.time), dtype=[("event", bool), ("time", float)])
        y["event"], y["time"] = happened, self.time
        return y


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


def measure(followed: FollowUp, prediction: Prediction, group: np.ndarray, setting: Setting) -> Measures:
    """All measures of predictions on these patients, resampled ones included.

    Parameters
    ----------
    followed : what happened to each patient.
    prediction : for the same patients at ``setting.times``.
    group : patients × groups of predicted risk, who is in which.
    """
    found, auc = _discrimination(followed, prediction.risk, setting)
    scalars = dict.fromkeys(NAMES, np.nan) | found
    n_groups = group.shape[1]
    treated = np.zeros((len(group), 0), bool)
    brier, groups = np.full(len(setting.times), np.nan), {}
    if prediction.survival is not None:
        event_risk = 1 - prediction.survival[:, setting.at_horizon]
        treated = event_risk[:, None] >= setting.thresholds
        sizes = group.sum(axis=0)
        with np.errstate(invalid="ignore"):  # groups that a resample missed
            groups = {"group": np.arange(n_groups), "n": sizes, "predicted": event_risk @ group / sizes}
        brier = _brier(followed, prediction.survival, setting)
        scalars["integrated_brier"] = _mean_over_time(brier, setting.times)
        scalars["calibration_slope"] = _calibration_slope(followed, prediction.risk, event_risk)
    everyone = np.ones((len(group), 1), bool)
    happened = incidence_of_groups(followed, np.hstack([everyone, group, treated]), setting.horizon)
    whole, observed, among_treated = happened[0], happened[1 : n_groups + 1], happened[n_groups + 1 :]
    benefit = np.full(len(setting.thresholds), np.nan)
    treat_all = benefit
    # Who came under observation late is healthier than who was there at time zero: neither the mean of the
    # predicted risks nor the share treated is that of the patients whom the observed risk is about.
    if followed.entry is None:
        treat_all = net_benefit(np.ones(len(benefit)), np.full(len(benefit), whole), setting)
        if prediction.survival is not None:
            benefit = net_benefit(treated.mean(axis=0), among_treated, setting)
            scalars["observed_over_expected"] = whole / event_risk.mean()
    return Measures(np.array(list(scalars.values())), auc, brier, observed, groups, benefit, treat_all)


def _discrimination(followed: FollowUp, risk: np.ndarray, setting: Setting) -> tuple[dict, np.ndarray]:
    """Measures of ranking, and the AUC at each time. A competing event counts as censored."""
    from sksurv.metrics import concordance_index_censored, concordance_index_ipcw, cumulative_dynamic_auc

    times, nothing = setting.times, np.full(len(setting.times), np.nan)
    if np.ptp(risk) == 0:  # nobody is ranked before anybody
        if followed.entry is not None:
            return {"c_index": 0.5}, nothing
        half = dict.fromkeys(("c_index", "c_index_uno", "auc", "auc_at_horizon"), 0.5)
        return half, np.full(len(times), 0.5)
    ratio = {"hazard_ratio_per_sd": np.exp(slope_of(followed, risk / risk.std()))}
    if followed.entry is not None:
        return ratio | {"c_index": truncated_concordance(followed, risk)}, nothing
    y = followed.structured(followed.event)
    with np.errstate(divide="ignore", invalid="ignore"):
        auc, mean = _or_nan(lambda: cumulative_dynamic_auc(y, y, risk, times), (nothing, np.nan))
    found = {
        "c_index": _or_nan(lambda: concordance_index_censored(y["event"], y["time"], risk)[0], np.nan),
        "c_index_uno": _or_nan(lambda: concordance_index_ipcw(y, y, risk, tau=setting.horizon)[0], np.nan),
        "auc": mean,
        "auc_at_horizon": auc[-1],
    }
    return found | ratio, auc


def truncated_concordance(followed: FollowUp, risk: np.ndarray) -> float:
    """Harrell's C over the pairs that were under observation together; NaN without any.

    The patient with the later end must have entered before the event of the other: otherwise they were
    never at risk at one time, and that the one who entered later lived longer is no finding.
    """
    events, step = np.flatnonzero(followed.event), max(1, MOST_PAIRS // len(risk))
    concordant = comparable = 0.0
    for start in range(0, len(events), step):
        first = events[start : start + step, None]
        time = followed.time[first]
        later = (followed.time > time) | ((followed.time == time) & ~followed.event)
        pairs = later & (followed.entry < time)
        difference = (risk[first] - risk)[pairs]
        concordant += (difference > TIED).sum() + 0.5 * (np.abs(difference) <= TIED).sum()
        comparable += len(difference)
    return concordant / comparable if comparable else np.nan


def _or_nan(compute: Callable, otherwise):
    """What cannot be computed on a resample (no event early enough, no pair) is missing, and counted."""
    try:
        return compute()
    except ValueError:  # scikit-survival's word for it, NoComparablePairException included
        return otherwise


def slope_of(followed: FollowUp, score: np.ndarray) -> float:
    """Coefficient of a Cox model (Efron) with this score alone; NaN where it is not finite.

    The libraries fit the same in 10 to 80 ms, too long for each resample.
    """
    order = np.argsort(-followed.time, kind="stable")
    time, event, x = followed.time[order], followed.event[order], (score - score.mean())[order]
    dead = np.flatnonzero(event)
    last = np.searchsorted(-time, -time[dead], side="right") - 1  # those at risk: all up to this row
    if followed.entry is not None:  # less those who had not entered
        entry = followed.entry[order]
        latest = np.argsort(-entry)
        absent = np.searchsorted(-entry[latest], -time[dead], side="right")
    _, tie, size = np.unique(time[dead], return_inverse=True, return_counts=True)
    share = _place_within(tie) / size[tie]
    powers = np.vstack([np.ones_like(x), x, x**2])
    coefficient = 0.0
    for _ in range(25):
        weighted = np.exp(np.clip(coefficient * x, -500, 500)) * powers
        of_tie = np.array([np.bincount(tie, row[dead]) for row in weighted])
        at_risk = np.cumsum(weighted, axis=1)[:, last]
        if followed.entry is not None:
            at_risk -= _cumulated(weighted[:, latest])[:, absent]
        total, mean, square = at_risk - share * of_tie[:, tie]
        mean, square = mean / total, square / total
        gradient, information = (x[dead] - mean).sum(), (square - mean**2).sum()
        if not information > 1e-12:
            return np.nan
        step = gradient / information
        coefficient += np.clip(step, -2, 2)
        if abs(step) < 1e-8:
            return float(coefficient)
    return np.nan  # the score separates the patients, and the slope grows without end


def _cumulated(rows: np.ndarray) -> np.ndarray:
    """Sums along each row, from 0 for none."""
    return np.hstack([np.zeros((len(rows), 1)), np.cumsum(rows, axis=1)])


def _place_within(labels: np.ndarray) -> np.ndarray:
    """0, 1, 2, ... within each run of equal labels."""
    starts = np.flatnonzero(np.diff(labels, prepend=labels[:1] - 1))
    lengths = np.diff(np.append(starts, len(labels)))
    return np.arange(len(labels)) - np.repeat(starts, lengths)


def _brier(followed: FollowUp, survival: np.ndarray, setting: Setting) -> np.ndarray:
    """Brier score at each time, patients weighted by their chance not to have been censored before.

    Who had a competing event is known to stay without the event of interest (Schoop et al., Biom J 53:88
    (2011), doi:10.1002/bimj.201000073); scikit-survival's score would count such a patient as censored.
    """
    from sksurv.nonparametric import CensoringDistributionEstimator

    time, times = followed.time, setting.times
    nothing = np.full(len(times), np.nan)
    if followed.entry is not None or times[-1] >= time.max():
        return nothing

    def score() -> np.ndarray:
        watched = CensoringDistributionEstimator().fit(followed.structured(followed.any_cause))
        over = time[:, None] <= times
        chance = np.where(over, watched.predict_proba(time)[:, None], watched.predict_proba(times))
        known = ~over | followed.any_cause[:, None]
        weight = np.divide(known, chance, out=np.zeros(over.shape), where=chance > 0)
        return (weight * ((over & followed.event[:, None]) - (1 - survival)) ** 2).mean(axis=0)

    return _or_nan(score, nothing)


def _mean_over_time(values: np.ndarray, times: np.ndarray) -> float:
    span = times[-1] - times[0]
    return np.trapezoid(values, times) / span if span > 0 else values[-1]


def _calibration_slope(followed: FollowUp, risk: np.ndarray, event_risk: np.ndarray) -> float:
    if followed.competing or np.ptp(risk) == 0:  # the hazard of one cause is not what the risk follows from
        return np.nan
    clipped = np.clip(event_risk, SMALLEST, 1 - SMALLEST)
    return slope_of(followed, np.log(-np.log(1 - clipped)))


def incidence_of_groups(followed: FollowUp, members: np.ndarray, horizon: float) -> np.ndarray:
    """Share of each of many groups (patients × groups) with the event by the horizon, by Aalen-Johansen.

    Without competing events it is one minus Kaplan-Meier. The same as the libraries' estimators, which take
    one group in the time that this takes for a hundred. NaN for an empty group and, under left truncation,
    for one in which nobody was left at risk before others entered.
    """
    times = np.unique(followed.time[followed.any_cause & (followed.time <= horizon)])
    order = np.argsort(followed.time)
    starts, ends = (np.searchsorted(followed.time[order], times, side) for side in ("left", "right"))
    members = members.T.astype(float)  # groups × patients

    def events(happened: np.ndarray) -> np.ndarray:
        total = _cumulated((members * happened)[:, order])
        return total[:, ends] - total[:, starts]

    sums = _cumulated(members[:, order])
    at_risk = sums[:, -1:] - sums[:, starts]
    if followed.entry is not None:
        latest = np.argsort(-followed.entry)  # less those who had not entered
        absent = np.searchsorted(-followed.entry[latest], -times, side="right")
        at_risk -= _cumulated(members[:, latest])[:, absent]
    ended, happened = events(followed.any_cause), events(followed.event)
    free = np.cumprod(1 - np.divide(ended, at_risk, out=np.zeros(ended.shape), where=at_risk > 0), axis=1)
    before = np.hstack([np.ones((len(free), 1)), free])[:, :-1]
    rise = np.divide(happened, at_risk, out=np.zeros(ended.shape), where=at_risk > 0)
    last = np.where(members > 0, followed.time, -np.inf).max(axis=1)
    emptied = ((free == 0) & (times < last[:, None])).any(axis=1)
    return np.where((last >= 0) & ~emptied, (before * rise).sum(axis=1), np.nan)


def quantile_groups(prediction: Prediction, setting: Setting, n_groups: int) -> np.ndarray:
    """Patients × groups by predicted risk, the lowest first; none where there are no probabilities."""
    if prediction.survival is None:
        return np.zeros((len(prediction.risk), 0), bool)
    if np.ptp(prediction.risk) == 0:
        return np.ones((len(prediction.risk), 1), bool)
    risk = 1 - prediction.survival[:, setting.at_horizon]
    edges = np.unique(np.quantile(risk, np.linspace(0, 1, n_groups + 1)[1:-1]))
    group = np.searchsorted(edges, risk, side="right")
    return group[:, None] == np.unique(group)


def net_benefit(treated: np.ndarray, happened: np.ndarray, setting: Setting) -> np.ndarray:
    """True positives less weighted false positives, per patient, at each threshold.

    Parameters
    ----------
    treated : share of the patients whose risk reaches each threshold.
    happened : share of these who have the event by the horizon (after Vickers et al., BMC Med Inform Decis
        Mak 8:53 (2008), doi:10.1186/1472-6947-8-53).
    """
    odds = setting.thresholds / (1 - setting.thresholds)
    return np.where(treated > 0, treated * (happened - (1 - happened) * odds), 0.0)
