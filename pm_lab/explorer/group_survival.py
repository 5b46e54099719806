"""Survival of groups fast enough to follow a brush: one sort a data set, then counts of each group.

:mod:`pm_lab.survival` answers the same questions from a table, by lifelines; at 100,000 patients that takes
seconds. What is here is tested equal to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

LEVEL = 0.95
MOST_STEPS = 50  # of Newton's method
AT_RISK_TICKS = 6


@dataclass(frozen=True)
class Outcomes:
    """Times of all patients, sorted once.

    Attributes
    ----------
    times : the distinct times at which a patient left observation, ascending.
    end : of each patient, the place in ``times``; -1 where the outcome is not known.
    entry : of each patient, the time at which they came under observation; None without left truncation.
    start : the first place in ``times`` at which they are at risk.
    cause : of each patient, 0 censored, 1 the event of interest, 2 and up competing events.
    causes : their names, from 1 on.
    """

    name: str
    unit: str
    times: np.ndarray
    end: np.ndarray
    start: np.ndarray | None
    entry: np.ndarray | None
    cause: np.ndarray
    causes: list[str]

    @classmethod
    def of(cls, table: pd.DataFrame, patients: pd.Index) -> Outcomes:
        """From :func:`pm_lab.endpoints.endpoint_table`; patients without a row in it are not known."""
        table_time = table["time"].to_numpy(float)
        row = table.index.get_indexer(patients)
        known = row >= 0
        known[known] = np.isfinite(table_time[row[known]])
        times, place = np.unique(table_time[row[known]], return_inverse=True)
        end = np.full(len(patients), -1, np.int32)
        end[known] = place
        start = entry = None
        if "entry" in table:
            start, entry = np.zeros(len(patients), np.int32), np.full(len(patients), np.nan)
            entry[known] = table["entry"].to_numpy(float)[row[known]]
            start[known] = np.searchsorted(times, entry[known], side="right")
        cause = np.zeros(len(patients), np.int8)
        codes, causes = _causes(table)
        cause[known] = codes[row[known]]
        return cls(table.attrs["endpoint"], table.attrs["unit"], times, end, start, entry, cause, causes)

    @property
    def known(self) -> np.ndarray:
        return self.end >= 0

    @property
    def event(self) -> np.ndarray:
        return (self.cause == 1) & self.known

    @property
    def competing(self) -> bool:
        return len(self.causes) > 1

    def counted(self, masks: Sequence[np.ndarray]) -> Counts:
        """Numbers at risk and of events of each group, at each time at which anyone of them had an event."""
        m = len(self.times)
        at_risk, happened = np.empty((len(masks), m)), np.empty((len(masks), len(self.causes), m))
        for g, mask in enumerate(masks):
            rows = np.flatnonzero(mask & self.known)
            end, cause = self.end[rows], self.cause[rows]
            gone = np.bincount(end, minlength=m)
            if self.start is None:
                at_risk[g] = len(rows) - np.cumsum(gone) + gone
            else:
                entered = np.bincount(self.start[rows], minlength=m + 1)[:m]
                at_risk[g] = np.cumsum(entered) - np.cumsum(gone) + gone
            for k in range(len(self.causes)):
                happened[g, k] = np.bincount(end[cause == k + 1], minlength=m)
        some = happened.any(axis=(0, 1))
        last = [self.times[self.end[mask & self.known].max(initial=0)] if m else 0.0 for mask in masks]
        n = [int((mask & self.known).sum()) for mask in masks]
        return Counts(self, self.times[some], at_risk[:, some], happened[:, :, some], np.array(last), n)


def _causes(table: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    """0 censored, 1 of interest, 2 and up competing; without competing events all causes are 1."""
    event = table["event"].to_numpy(bool)
    cause = table["cause"].astype(object)
    others = sorted(set(cause[~event].dropna()))
    interest = sorted(set(cause[event].dropna())) or ["event"]
    codes = event.astype(np.int8)
    for k, name in enumerate(others):
        codes[(cause == name).to_numpy(bool) & ~event] = k + 2
    return codes, [" or ".join(interest), *others]


@dataclass(frozen=True)
class Counts:
    """What curves and tests of groups need.

    Attributes
    ----------
    times : at which anyone of the groups had an event of any cause.
    at_risk : groups × times, under observation just before.
    happened : groups × causes × times.
    last : each group's longest follow-up.
    n : people of each group whose outcome is known.
    """

    outcomes: Outcomes
    times: np.ndarray
    at_risk: np.ndarray
    happened: np.ndarray
    last: np.ndarray
    n: list[int]

    @property
    def events(self) -> np.ndarray:
        """Groups × times, of the event of interest."""
        return self.happened[:, 0]

    def emptied(self, group: int) -> float | None:
        """The time at which, under left truncation, nobody was left while others had yet to enter."""
        if self.outcomes.start is None:
            return None
        gone = self.happened[group].sum(axis=0)
        empty = np.flatnonzero((gone > 0) & (gone == self.at_risk[group]) & (self.times < self.last[group]))
        return float(self.times[empty[0]]) if len(empty) else None


def kaplan_meier_steps(counts: Counts, group: int, level: float = LEVEL) -> pd.DataFrame:
    """One group's curve: a row at 0, at each event and at the end of follow-up.

    Returns
    -------
    DataFrame with ``time``, ``survival``, ``lower``, ``upper`` (log-log transformed, as lifelines has them),
    ``at_risk`` (just before; missing at the ends) and ``events``.
    """
    events, at_risk = counts.events[group], counts.at_risk[group]
    rows = events > 0
    time, d, n = counts.times[rows], events[rows], at_risk[rows]
    with np.errstate(divide="ignore", invalid="ignore"):
        survival = np.exp(np.cumsum(np.log1p(-d / n)))
        spread = np.sqrt(np.cumsum(d / (n * (n - d))))
        lower, upper = _log_log(survival, spread / np.log(survival), level)
    return _framed(counts, group, time, survival, lower, upper, n, d, start=1.0)


def incidence_steps(counts: Counts, group: int, cause: int, level: float = LEVEL) -> pd.DataFrame:
    """As :func:`kaplan_meier_steps`, for the cumulative incidence of one cause (Aalen and Johansen).

    Intervals by Aalen's variance as scikit-survival has it, log-log transformed; none under left truncation.
    """
    happened, n = counts.happened[group], counts.at_risk[group]
    rows = happened.any(axis=0)
    time, n = counts.times[rows], n[rows]
    d, all_d = happened[cause][rows], happened[:, rows].sum(axis=0)
    before = np.concatenate([[1.0], np.cumprod(1 - all_d / n)])[:-1]
    incidence = np.cumsum(before * d / n)
    lower = upper = np.full(len(time), np.nan)
    if counts.outcomes.start is None:
        with np.errstate(divide="ignore", invalid="ignore"):
            if d.sum() == all_d.sum():  # nothing competes in this group: one minus Kaplan-Meier is right
                spread = np.sqrt(np.cumsum(d / (n * (n - d)))) / np.log(1 - incidence)
                low, high = _log_log(1 - incidence, spread, level)
                lower, upper = 1 - high, 1 - low
            else:
                spread = np.sqrt(_aalen_variance(n, d, all_d, before, incidence))
                lower, upper = _log_log(incidence, spread / (incidence * np.log(incidence)), level)
    return _framed(counts, group, time, incidence, lower, upper, n, d, start=0.0)


def _log_log(share: np.ndarray, spread: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Limits of a share on the scale log(-log); unknown where it is 0 or 1."""
    from scipy.special import ndtri

    reach = np.exp(ndtri((1 + level) / 2) * np.abs(spread))
    inside = (share > 0) & (share < 1)
    return np.where(inside, share**reach, np.nan), np.where(inside, share ** (1 / reach), np.nan)


def _aalen_variance(n, d, all_d, before, incidence) -> np.ndarray:
    """Pintilie 2006, equation 4.5: sums over earlier times, expanded so that each is one cumulative sum."""
    divided = lambda a, b: np.divide(a, b, out=np.zeros(len(n)), where=b > 0)  # noqa: E731
    a = divided(all_d, (n - 1) * (n - all_d))
    b = divided((n - d) * d * before**2, (n - 1) * n**2)
    c = divided(d * (n - d) * before, n * (n - all_d) * (n - 1))
    total = np.cumsum
    first = incidence**2 * total(a) - 2 * incidence * total(a * incidence) + total(a * incidence**2)
    return np.maximum(first + total(b) - 2 * (incidence * total(c) - total(c * incidence)), 0)


def _framed(counts: Counts, group: int, time, share, lower, upper, n, d, start: float) -> pd.DataFrame:
    """With a row at time 0 (unless something happened there), and a last one at the end of follow-up."""
    last = counts.last[group]
    if (gone := counts.emptied(group)) is not None:
        kept = time <= gone
        time, share, lower, upper, n, d = (a[kept] for a in (time, share, lower, upper, n, d))
        last = gone
    add_first = len(time) == 0 or time[0] > 0
    add_last = len(time) == 0 or time[-1] < last
    ends = lambda array, first, end: np.concatenate(  # noqa: E731
        [[first] if add_first else [], array, [end] if add_last and last > 0 else []]
    )
    at_end = lambda array, first: array[-1] if len(array) else first  # noqa: E731
    known = 1.0 if start == 1.0 else np.nan  # survival is 1 for sure before the first event
    return pd.DataFrame(
        {
            "time": ends(time, 0.0, last),
            "survival": ends(share, start, at_end(share, start)),
            "lower": ends(lower, known, at_end(lower, known)),
            "upper": ends(upper, known, at_end(upper, known)),
            "at_risk": ends(n, at_start(counts, group), np.nan),
            "events": ends(d, 0, 0),
        }
    )


def at_start(counts: Counts, group: int) -> float:
    return float(counts.n[group]) if counts.outcomes.start is None else np.nan


def thinned(steps: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most about ``most`` of the rows, evenly along the curve: no step moves by more than 2 / most."""
    if len(steps) <= most:
        return steps
    time, share = steps["time"].to_numpy(), steps["survival"].to_numpy()
    along = time / time[-1] + np.abs(share - share[0])
    wanted = np.searchsorted(along, np.linspace(0, along[-1], most - 1))
    return steps.iloc[np.unique(np.append(wanted, len(steps) - 1))]


def log_rank_statistic(counts: Counts) -> tuple[float, int]:
    """Chi-squared and degrees of freedom of the log-rank test, on the hazard of the cause of interest."""
    at_risk, events = counts.at_risk, counts.events
    n, d = at_risk.sum(axis=0), events.sum(axis=0)
    rows = (d > 0) & (n > 0)
    at_risk, n, d = at_risk[:, rows], n[rows], d[rows]
    share = at_risk / n
    excess = (events[:, rows] - share * d).sum(axis=1)
    weight = d * np.divide(n - d, n - 1, out=np.zeros(len(n)), where=n > 1)
    covariance = np.diag((share * weight).sum(axis=1)) - (share * weight) @ share.T
    freedom = len(at_risk) - 1
    if not freedom or np.linalg.matrix_rank(covariance) < freedom:
        return np.nan, freedom
    return float(excess[:-1] @ np.linalg.solve(covariance[:-1, :-1], excess[:-1])), freedom


@dataclass(frozen=True)
class RestrictedMean:
    """Mean survival up to ``horizon``, and its standard error."""

    mean: float
    error: float
    horizon: float


def restricted_mean(counts: Counts, group: int, horizon: float) -> RestrictedMean:
    """The area under the Kaplan-Meier curve, with Greenwood's variance."""
    events, at_risk = counts.events[group], counts.at_risk[group]
    rows = (events > 0) & (counts.times < horizon)
    time, d, n = counts.times[rows], events[rows], at_risk[rows]
    with np.errstate(divide="ignore"):
        survival = np.exp(np.cumsum(np.log1p(-d / n)))
    pieces = survival * np.diff(np.append(time, horizon))
    area = np.cumsum(pieces[::-1])[::-1]  # from each event to the horizon
    mean = (time[0] if len(time) else horizon) + pieces.sum()
    steps = n > d
    variance = (area[steps] ** 2 * d[steps] / (n[steps] * (n[steps] - d[steps]))).sum()
    return RestrictedMean(float(mean), float(np.sqrt(variance)), float(horizon))


@dataclass(frozen=True)
class CoxFit:
    """Cox regression on one group against another: log hazard ratio (first over second), its error, and p.

    ``proportional_p`` tests whether the ratio changes over time (scaled Schoenfeld residuals against the
    Kaplan-Meier transform of time).
    """

    log_ratio: float
    error: float
    p: float
    proportional_p: float


def cox_of_two(counts: Counts) -> CoxFit | None:
    """Efron's ties, as lifelines; None where one of the groups has no event, so that there is no estimate."""
    from scipy.special import chdtrc, ndtr

    both = counts.events
    if (both.sum(axis=1) == 0).any():
        return None
    d = both.sum(axis=0)
    rows = np.flatnonzero(d > 0)
    each = np.repeat(rows, d[rows].astype(int))  # one element a death
    first = np.cumsum(d[rows]) - d[rows]
    tie = (np.arange(len(each)) - np.repeat(first, d[rows].astype(int))) / d[each]
    in_first = counts.at_risk[0][each] - tie * both[0][each]
    in_second = counts.at_risk[1][each] - tie * both[1][each]
    log_ratio, information, share = 0.0, 0.0, np.zeros(len(each))
    for _ in range(MOST_STEPS):
        weighted = np.exp(log_ratio) * in_first
        share = weighted / (weighted + in_second)
        information = (share * (1 - share)).sum()
        if information <= 0:
            return None
        step = (both[0].sum() - share.sum()) / information
        log_ratio += np.clip(step, -1, 1)
        if abs(step) < 1e-10:
            break
    else:
        return None
    error = float(1 / np.sqrt(information))
    p = 2 * ndtr(-abs(log_ratio) / error)
    statistic = _change_over_time(counts, rows, share, each, error)
    return CoxFit(float(log_ratio), error, float(p), float(chdtrc(1, statistic)))


def _change_over_time(counts: Counts, rows, share, each, error: float) -> float:
    """Chi-squared of Schoenfeld residuals, summed by time, against 1 - Kaplan-Meier of everyone."""
    d, dead = counts.events.sum(axis=0), counts.events[0]
    expected = np.bincount(each, share, minlength=len(d))
    residual = (dead - expected)[rows]
    transform = _km_transform(counts)[rows]
    mean = (transform * d[rows]).sum() / d[rows].sum()
    n = d[rows].sum()
    spread = (d[rows] * (transform - mean) ** 2).sum()
    if spread <= 0:
        return np.nan
    scaled = n * error**2 * ((transform - mean) * residual).sum()
    return scaled**2 / (n * error**2 * spread)


def _km_transform(counts: Counts) -> np.ndarray:
    n, d = counts.at_risk.sum(axis=0), counts.events.sum(axis=0)
    return 1 - np.cumprod(1 - np.divide(d, n, out=np.zeros(len(n)), where=n > 0))


def risk_table_times(last: float) -> np.ndarray:
    """About six round times from 0 to the end, under which numbers at risk stand."""
    if not last > 0:
        return np.zeros(1)
    rough = last / AT_RISK_TICKS
    size = 10.0 ** np.floor(np.log10(rough))
    step = next(m * size for m in (1, 2, 2.5, 5, 10) if m * size >= rough * (1 - 1e-12))
    return np.arange(0, last * (1 + 1e-12), step)


def numbers_at_risk(outcomes: Outcomes, mask: np.ndarray, ticks: np.ndarray) -> np.ndarray:
    """People of a group under observation just before each time."""
    rows = np.flatnonzero(mask & outcomes.known)
    place = np.searchsorted(outcomes.times, ticks)
    gone = np.bincount(outcomes.end[rows], minlength=len(outcomes.times))
    still = len(rows) - np.concatenate([[0], np.cumsum(gone)])[place]  # who leaves at the time is still there
    if outcomes.entry is None:
        return still
    after_zero = np.where(ticks > 0, ticks, np.nextafter(0, 1))  # who enters at 0 is there at 0
    entered = np.searchsorted(np.sort(outcomes.entry[rows]), after_zero)
    return still - (len(rows) - entered)
