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
    end, entry : of each patient, when they left and came under observation; NaN where that is not known.
        ``entry`` is None without left truncation.
    cause : of each patient, 0 censored, 1 the event of interest, 2 and up competing events.
    causes : their names, from 1 on.
    known : patients whose outcome is known.
    order, entering : known patients by end and by entry; ``ends`` are those of ``order``.
    times : the distinct times of events (of any cause), ascending.
    left : how many had left before each of these times; in ``order``.
    entered : how many had entered before each of them; in ``entering``.
    deaths : for each cause the patients with it, and their places in ``times``.
    """

    name: str
    unit: str
    end: np.ndarray
    entry: np.ndarray | None
    cause: np.ndarray
    causes: list[str]
    known: np.ndarray
    order: np.ndarray
    ends: np.ndarray
    entering: np.ndarray | None
    times: np.ndarray
    left: np.ndarray
    entered: np.ndarray | None
    deaths: list[tuple[np.ndarray, np.ndarray]]

    @classmethod
    def of(cls, table: pd.DataFrame, patients: pd.Index) -> Outcomes:
        """From :func:`pm_lab.endpoints.endpoint_table`; patients without a row or a time are not known."""
        table = table.reindex(patients).set_axis(patients)
        end = table["time"].to_numpy(float)
        known = np.isfinite(end)
        cause, causes = _causes(table)
        rows = np.flatnonzero(known)
        order = rows[np.argsort(end[rows], kind="stable")]
        times = np.unique(end[known & (cause > 0)])
        entry = entering = entered = None
        if "entry" in table:
            entry = table["entry"].to_numpy(float)
            entering = rows[np.argsort(entry[rows], kind="stable")]
            entered = np.searchsorted(entry[entering], times)
        dead = [np.flatnonzero(known & (cause == k + 1)) for k in range(len(causes))]
        return cls(
            name=table.attrs["endpoint"],
            unit=table.attrs["unit"],
            **{"end": end, "entry": entry, "cause": cause, "causes": causes, "known": known},
            **{"order": order, "ends": end[order], "entering": entering, "times": times, "entered": entered},
            left=np.searchsorted(end[order], times),
            deaths=[(some, np.searchsorted(times, end[some])) for some in dead],
        )

    @property
    def competing(self) -> bool:
        return len(self.causes) > 1

    def counted(self, masks: Sequence[np.ndarray]) -> Counts:
        """Numbers at risk and of events of each group, at each time at which anyone had an event."""
        m, k = len(self.times), len(self.causes)
        at_risk, happened = np.empty((len(masks), m)), np.empty((len(masks), k, m))
        waiting = np.zeros((len(masks), m))
        n, last = [], []
        for g, mask in enumerate(masks):
            leaving = mask[self.order]
            n.append(int(np.count_nonzero(leaving)))
            last.append(self.end[self.order[-1 - np.argmax(leaving[::-1])]] if n[-1] else 0.0)
            at_risk[g] = _so_far(mask, self.entering, self.entered) if self.entering is not None else n[-1]
            waiting[g] = n[-1] - at_risk[g]
            at_risk[g] -= _sum_to(leaving, self.left)
            for cause, (patients, place) in enumerate(self.deaths):
                happened[g, cause] = np.bincount(place[mask[patients]], minlength=m)
        return Counts(self, self.times, at_risk, happened, waiting, np.array(last), n)


def _so_far(mask: np.ndarray, order: np.ndarray, places: np.ndarray) -> np.ndarray:
    return _sum_to(mask[order], places)


def _sum_to(inside: np.ndarray, places: np.ndarray) -> np.ndarray:
    """How many of a group are among the first of an order, for each of many places in it."""
    return np.concatenate([[0], np.cumsum(inside)])[places]


def _causes(table: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    """0 censored, 1 of interest, 2 and up competing; without competing events all causes are 1."""
    event = table["event"].eq(True).to_numpy(bool)
    cause = table["cause"].astype(object)
    interest = sorted(set(cause[event].dropna())) or ["event"]
    others = sorted(set(cause[~event].dropna()))
    codes = event.astype(np.int8)
    for k, name in enumerate(others):
        codes[(cause == name).to_numpy(bool) & ~event] = k + 2
    return codes, [" or ".join(interest), *others]


@dataclass(frozen=True)
class Counts:
    """What curves and tests of groups need.

    Attributes
    ----------
    times : at which anyone had an event of any cause.
    at_risk : groups × times, under observation just before.
    happened : groups × causes × times.
    waiting : groups × times, yet to enter (left truncation).
    last : each group's longest follow-up.
    n : people of each group whose outcome is known.
    """

    outcomes: Outcomes
    times: np.ndarray
    at_risk: np.ndarray
    happened: np.ndarray
    waiting: np.ndarray
    last: np.ndarray
    n: list[int]

    @property
    def events(self) -> np.ndarray:
        """Groups × times, of the event of interest."""
        return self.happened[:, 0]

    def emptied(self, group: int) -> float | None:
        """The time at which, under left truncation, nobody was left while others had yet to enter."""
        if self.outcomes.entry is None:
            return None
        gone = self.happened[group].sum(axis=0)
        empty = np.flatnonzero((gone > 0) & (gone == self.at_risk[group]) & (self.times < self.last[group]))
        return float(self.times[empty[0]]) if len(empty) else None

    def thin(self, group: int, least: int) -> bool:
        """Whether someone had an event while fewer than ``least`` were at risk, and so many yet to enter."""
        gone = self.happened[group].any(axis=0)
        return bool((gone & (self.at_risk[group] < least) & (self.waiting[group] >= least)).any())


def kaplan_meier_steps(
    counts: Counts, group: int, most: int | None = None, level: float = LEVEL
) -> pd.DataFrame:
    """One group's curve: a row at 0, at each event and at the end of follow-up.

    Parameters
    ----------
    most : about as many rows, evenly along the curve; None for all.

    Returns
    -------
    DataFrame with ``time``, ``survival``, ``lower`` and ``upper`` (log-log transformed, as lifelines has
    them).
    """
    rows = _until_emptied(counts, group, counts.events[group] > 0)
    time, d, n = counts.times[rows], counts.events[group][rows], counts.at_risk[group][rows]
    with np.errstate(divide="ignore", invalid="ignore"):
        survival = np.exp(np.cumsum(np.log1p(-d / n)))
        spread = np.cumsum(d / (n * (n - d)))
        kept = _thinned(time, survival, most)
        survival, spread = survival[kept], np.sqrt(spread[kept])
        lower, upper = _log_log(survival, spread / np.log(survival), level)
    return _framed(counts, group, time[kept], survival, lower, upper, start=1.0)


def incidence_steps(
    counts: Counts, group: int, cause: int, most: int | None = None, level: float = LEVEL
) -> pd.DataFrame:
    """As :func:`kaplan_meier_steps`, for the cumulative incidence of one cause (Aalen and Johansen).

    Intervals by Aalen's variance as scikit-survival has it, log-log transformed; none under left truncation.
    """
    rows = _until_emptied(counts, group, counts.happened[group].any(axis=0))
    happened, n = counts.happened[group][:, rows], counts.at_risk[group][rows]
    time, d, all_d = counts.times[rows], happened[cause], happened.sum(axis=0)
    before = np.concatenate([[1.0], np.cumprod(1 - all_d / n)])[:-1]
    incidence = np.cumsum(before * d / n)
    kept = _thinned(time, incidence, most)
    lower = upper = np.full(len(kept), np.nan)
    if counts.outcomes.entry is None:
        with np.errstate(divide="ignore", invalid="ignore"):
            if d.sum() == all_d.sum():  # nothing competes in this group: one minus Kaplan-Meier is right
                spread = np.sqrt(np.cumsum(d / (n * (n - d)))) / np.log(1 - incidence)
                low, high = _log_log(1 - incidence[kept], spread[kept], level)
                lower, upper = 1 - high, 1 - low
            else:
                spread = np.sqrt(_aalen_variance(n, d, all_d, before, incidence))
                spread = spread / (incidence * np.log(incidence))
                lower, upper = _log_log(incidence[kept], spread[kept], level)
    return _framed(counts, group, time[kept], incidence[kept], lower, upper, start=0.0)


def _until_emptied(counts: Counts, group: int, rows: np.ndarray) -> np.ndarray:
    gone = counts.emptied(group)
    return np.flatnonzero(rows if gone is None else rows & (counts.times <= gone))


def _thinned(time: np.ndarray, share: np.ndarray, most: int | None) -> np.ndarray:
    """Places of about ``most`` steps, evenly along the curve: drawn, none moves by more than 2 / most."""
    if most is None or len(time) <= most:
        return np.arange(len(time))
    along = time / time[-1] + np.abs(share - share[0])
    wanted = np.searchsorted(along, np.linspace(0, along[-1], most))
    return np.unique(np.append(np.minimum(wanted, len(time) - 1), len(time) - 1))


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


def _framed(counts: Counts, group: int, time, share, lower, upper, start: float) -> pd.DataFrame:
    """With a row at time 0 (unless something happened there), and a last one at the end of follow-up."""
    gone = counts.emptied(group)
    last = counts.last[group] if gone is None else gone
    add_first = [0.0] if len(time) == 0 or time[0] > 0 else []
    add_last = [last] if last > (time[-1] if len(time) else 0.0) else []
    sure = 1.0 if start == 1.0 else np.nan  # survival is 1 for sure before the first event
    columns = {"time": np.concatenate([add_first, time, add_last])}
    for name, values, first in (("survival", share, start), ("lower", lower, sure), ("upper", upper, sure)):
        end = values[-1] if len(values) else first
        columns[name] = np.concatenate([[first] * len(add_first), values, [end] * len(add_last)])
    return pd.DataFrame(columns)


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
    leaving = mask[outcomes.order]
    left = _sum_to(leaving, np.searchsorted(outcomes.ends, ticks))  # who leaves at a time is still there
    if outcomes.entry is None:
        return np.count_nonzero(leaving) - left
    after_zero = np.where(ticks > 0, ticks, np.nextafter(0, 1))  # who enters at 0 is there at 0
    places = np.searchsorted(outcomes.entry[outcomes.entering], after_zero)
    return _so_far(mask, outcomes.entering, places) - left
