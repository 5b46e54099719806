"""Survival of groups: Kaplan-Meier, medians, restricted means and log-rank tests."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab import checks
from pm_lab.design import as_text
from pm_lab.endpoints import check_measured, column, endpoint_table, patient_rows
from pm_lab.errors import DataError, PmLabWarning

if TYPE_CHECKING:
    from anndata import AnnData
    from lifelines import KaplanMeierFitter

EVERYONE = "all patients"
MOST_GROUPS = 12
# By the names of lifelines; statsmodels has those that can be had with left truncation.
WEIGHTINGS = ("wilcoxon", "tarone-ware", "peto", "fleming-harrington")
TRUNCATED_WEIGHTINGS = {None: None, "wilcoxon": "gb", "tarone-ware": "tw"}


def kaplan_meier(
    cohort: AnnData | pd.DataFrame,
    endpoint: str | Mapping,
    groupby: str | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Kaplan-Meier estimate of survival, with confidence bands and numbers at risk.

    Parameters
    ----------
    cohort : one row per patient; a Cohort's ``bulk``, or a table with the same columns as ``obs``.
    endpoint : as for :func:`endpoint_table`. With left truncation a patient counts from after the entry.
    groupby : column with labels, one curve each. A column of many numbers is refused: cut it at a value
        chosen before the data were seen, or let :func:`cox` take it as a number.
    level : of the pointwise confidence intervals (log-log transformed).

    Returns
    -------
    pandas.DataFrame
        One row per group and time at which something happened, from time 0 on: ``group``, ``time``,
        ``at_risk`` (just before that time), ``events``, ``censored``, ``survival``, ``lower``, ``upper``
        (missing where survival is 0). ``attrs``: ``endpoint``, ``unit``, ``groupby``, ``level``.

    Raises
    ------
    DataError
        As :func:`endpoint_table`; an absent column, one with missing values or with too many groups, or one
        that is part of an endpoint; under left truncation, a risk set that empties before others enter.
    DesignError
        A group that was only known after time zero (immortal time).

    Warns
    -----
    PmLabWarning
        One event only; competing events, which are censored here.

    Examples
    --------
    >>> import pm_lab as pm
    >>> curves = pm.survival.kaplan_meier(pm.datasets.load("gse7390"), "dmfs", groupby="er")
    >>> curves.groupby("group")["events"].sum().to_dict()
    {'negative': 23, 'positive': 28}

    Source: Kaplan and Meier, J Am Stat Assoc 53:457 (1958), doi:10.1080/01621459.1958.10501452; estimated by
    lifelines.
    """
    checks.shares(level=level)
    table, groups = grouped(cohort, endpoint, groupby)
    _warn_of_few_events(table)
    _warn_of_competing_events(table)
    parts = [_curve(name, part, level) for name, part in by_group(table, groups)]
    curves = pd.concat(parts, ignore_index=True)
    curves.attrs = {**table.attrs, "groupby": groupby or "", "level": level}
    return curves


def survival_summary(
    cohort: AnnData | pd.DataFrame,
    endpoint: str | Mapping,
    groupby: str | None = None,
    horizon: float | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Median and restricted mean survival of each group, and differences of the restricted means.

    Parameters
    ----------
    cohort, endpoint, groupby, level : as for :func:`kaplan_meier`.
    horizon : up to which time the mean is taken, in the endpoint's unit. By default the shortest of the
        groups' longest follow-ups.

    Returns
    -------
    pandas.DataFrame
        One row per group: ``group``, ``n``, ``events``, ``follow_up`` (median, by reverse Kaplan-Meier;
        missing with left truncation and where all had the event), ``median``, ``median_lower``,
        ``median_upper`` (infinite where the curve stays above a half), ``rmst`` (mean survival up to
        the horizon), ``rmst_lower``, ``rmst_upper``, ``rmst_difference`` to the first group with
        ``difference_lower``, ``difference_upper`` and ``difference_pvalue`` (normal approximation). ``attrs``
        as :func:`kaplan_meier`, and ``horizon``.

    Raises
    ------
    DataError
        As :func:`kaplan_meier`; a horizon beyond the follow-up of a group.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.simulate_cohort(n_cells=600)
    >>> table = pm.survival.survival_summary(cohort, "os", groupby="response", horizon=60)
    >>> table["group"].tolist()
    ['no', 'yes']

    Source: variance of the restricted mean as in Klein and Moeschberger, Survival Analysis (2003), chapter 4,
    doi:10.1007/b97377.
    """
    checks.shares(level=level)
    table, groups = grouped(cohort, endpoint, groupby)
    parts = dict(by_group(table, groups))
    longest = {name: float(part["time"].max()) for name, part in parts.items()}
    if horizon is None:
        horizon = min(longest.values())
    checks.number(horizon, "horizon")
    rows = [_summary_row(name, part, horizon, level) for name, part in parts.items()]
    summary = _with_differences(pd.DataFrame(rows), level)
    summary.attrs = {**table.attrs, "groupby": groupby or "", "level": level, "horizon": float(horizon)}
    return summary


def log_rank(
    cohort: AnnData | pd.DataFrame,
    endpoint: str | Mapping,
    groupby: str,
    weighting: str | None = None,
    p: float = 0.0,
    q: float = 1.0,
) -> pd.DataFrame:
    """Test whether groups have the same survival.

    The plain test has most power where hazards are proportional. The weighted ones look at early
    differences (Wilcoxon, Tarone-Ware, Peto, Fleming-Harrington with ``p`` above ``q``) or at late ones
    (``q`` above ``p``). Choose before seeing the curves.

    Parameters
    ----------
    cohort, endpoint, groupby : as for :func:`kaplan_meier`.
    weighting : ``"wilcoxon"`` (Gehan-Breslow), ``"tarone-ware"``, ``"peto"``, ``"fleming-harrington"`` or
        None. With left truncation the first two only.
    p, q : exponents of Fleming-Harrington, weight S^p (1 − S)^q.

    Returns
    -------
    pandas.DataFrame
        One row: ``test``, ``statistic`` (chi-squared), ``degrees_of_freedom``, ``pvalue``, ``n``, ``events``.

    Raises
    ------
    DataError
        As :func:`kaplan_meier`; one group only; an unknown weighting; negative exponents.

    Examples
    --------
    >>> import pm_lab as pm
    >>> test = pm.survival.log_rank(pm.datasets.load("gse7390"), "dmfs", groupby="er")
    >>> int(test["degrees_of_freedom"].iloc[0])
    1
    """
    table, groups = grouped(cohort, endpoint, groupby)
    if groups.nunique() < 2:
        raise DataError(f"{groupby!r} has one group only ({groups.iloc[0]!r}); a test needs two.")
    if weighting is not None and weighting not in WEIGHTINGS:
        raise DataError(f"weighting={weighting!r} is not known: {list(WEIGHTINGS)} or None.")
    if min(checks.number(p, "p"), checks.number(q, "q")) < 0:
        raise DataError(f"p={p:g}, q={q:g}: the exponents of Fleming-Harrington are 0 or more.")
    statistic = _log_rank_statistic(table, groups, weighting, p, q)
    from scipy.stats import chi2

    freedom = groups.nunique() - 1
    row = {
        "test": "log-rank" if weighting is None else f"{weighting} weighted log-rank",
        "statistic": statistic,
        "degrees_of_freedom": freedom,
        "pvalue": chi2.sf(statistic, freedom),
        "n": len(table),
        "events": int(table["event"].sum()),
    }
    result = pd.DataFrame([row])
    result.attrs = {**table.attrs, "groupby": groupby}
    return result


def _log_rank_statistic(table: pd.DataFrame, groups: pd.Series, weighting: str | None, p, q) -> float:
    if "entry" in table:  # lifelines' test does not know of entries
        from statsmodels.duration.survfunc import survdiff

        if weighting not in TRUNCATED_WEIGHTINGS:
            raise DataError(f"weighting={weighting!r} cannot be had with left truncation; 'wilcoxon' can.")
        arrays = [table[name].to_numpy() for name in ("time", "event")]
        kind = TRUNCATED_WEIGHTINGS[weighting]
        chi2, _ = survdiff(*arrays, groups.to_numpy(), weight_type=kind, entry=table["entry"].to_numpy())
        return float(chi2)
    from lifelines.statistics import multivariate_logrank_test

    options = {}
    if weighting == "fleming-harrington":
        options = {"p": p, "q": q}
        if (table["time"] == 0).any():
            raise DataError("fleming-harrington weights cannot be had with times of zero; use 'wilcoxon'.")
    test = multivariate_logrank_test(
        table["time"], groups.to_numpy(), table["event"], weightings=weighting, **options
    )
    return float(test.test_statistic)


def grouped(cohort, endpoint, groupby: str | None) -> tuple[pd.DataFrame, pd.Series]:
    """The endpoint's table and each patient's group, in the order of the groups' levels."""
    table = endpoint_table(cohort, endpoint)
    if groupby is None:
        return table, pd.Series(EVERYONE, table.index)
    values = column(patient_rows(cohort), groupby, "groupby")
    check_measured(cohort, endpoint, [groupby])
    labels = as_text(values)
    if labels.nunique() > MOST_GROUPS:
        raise DataError(
            f"{groupby!r} has {labels.nunique():,} values, too many for curves. Cut it at values chosen "
            "before the data were seen (a cut searched for in them makes every test too good), or use "
            "pm.survival.cox."
        )
    levels = as_text(pd.Series(values.cat.categories)) if hasattr(values, "cat") else sorted(labels.unique())
    present = [name for name in levels if (labels == name).any()]
    return table, labels.astype(pd.CategoricalDtype(present, ordered=True))


def by_group(table: pd.DataFrame, groups: pd.Series) -> Iterator[tuple[str, pd.DataFrame]]:
    names = groups.cat.categories if hasattr(groups, "cat") else [EVERYONE]
    for name in names:
        yield name, table[(groups == name).to_numpy()]


def _warn_of_few_events(table: pd.DataFrame) -> None:
    if table["event"].sum() == 1:
        warnings.warn(
            f"one event only in {len(table):,} patients: the curve is one step, whose place says little.",
            PmLabWarning,
            stacklevel=3,
        )


def _warn_of_competing_events(table: pd.DataFrame) -> None:
    competing = table["cause"].notna() & ~table["event"]
    if competing.any():
        warnings.warn(
            f"{int(competing.sum()):,} patients have a competing event and are censored there, so one minus "
            "survival overstates the risk. See pm.survival.cumulative_incidence.",
            PmLabWarning,
            stacklevel=3,
        )


def fit_curve(part: pd.DataFrame, level: float) -> KaplanMeierFitter:
    """Fit one group; refuse a risk set that empties early, after which the estimate could only stay 0."""
    from lifelines import KaplanMeierFitter
    from lifelines.exceptions import StatError

    fitter = KaplanMeierFitter(alpha=1 - level, label="survival")
    try:
        fitter.fit(part["time"], part["event"], entry=part.get("entry"))
        gone = fitter.survival_function_.index[fitter.survival_function_["survival"] == 0].min()
        emptied = bool((part["time"] > gone).any())
    except StatError:  # lifelines looks at the first half of the times
        emptied = True
    if emptied:
        early = part.sort_values("entry").index[:5]
        raise DataError(
            "under left truncation nobody was left at risk before the others entered, so survival would be 0 "
            f"from there on. First to enter: {', '.join(map(str, early))}. Start the clock later, where more "
            "patients are at risk, and leave out those whose time ended before."
        )
    return fitter


def net_at_risk(fitter: KaplanMeierFitter) -> pd.Series:
    """Number at risk just before each time; lifelines counts those who enter at that time already."""
    counts = fitter.event_table
    at_risk = counts["at_risk"] - counts["entrance"]
    at_risk.iloc[0] = counts["at_risk"].iloc[0]
    return at_risk


def _curve(name: str, part: pd.DataFrame, level: float) -> pd.DataFrame:
    fitter = fit_curve(part, level)
    counts, survival = fitter.event_table, fitter.survival_function_["survival"]
    band = fitter.confidence_interval_.mask(survival == 0)
    return pd.DataFrame(
        {
            "group": name,
            "time": survival.index.to_numpy(float),
            "at_risk": net_at_risk(fitter).to_numpy(int),
            "events": counts["observed"].to_numpy(int),
            "censored": counts["censored"].to_numpy(int),
            "survival": survival.to_numpy(),
            "lower": band.iloc[:, 0].to_numpy(),
            "upper": band.iloc[:, 1].to_numpy(),
        }
    )


def _summary_row(name: str, part: pd.DataFrame, horizon: float, level: float) -> dict:
    from lifelines.utils import median_survival_times, restricted_mean_survival_time
    from scipy.stats import norm

    fitter = fit_curve(part, level)
    lower, upper = median_survival_times(fitter.confidence_interval_).iloc[0]
    if not 0 < horizon <= part["time"].max() and fitter.survival_function_["survival"].iloc[-1] > 0:
        raise DataError(
            f"horizon={horizon:g}, but {name!r} was followed up to {part['time'].max():g} only. Take a "
            "horizon within the follow-up of every group."
        )
    mean = float(restricted_mean_survival_time(fitter, t=horizon))
    error = _restricted_mean_error(fitter, horizon)
    reach = norm.ppf((1 + level) / 2) * error
    return {
        "group": name,
        "n": len(part),
        "events": int(part["event"].sum()),
        "follow_up": np.nan if "entry" in part else _follow_up(part),
        "median": float(fitter.median_survival_time_),
        "median_lower": float(lower),
        "median_upper": float(upper),
        "rmst": mean,
        "rmst_lower": mean - reach,
        "rmst_upper": mean + reach,
        "rmst_error": error,
    }


def _follow_up(part: pd.DataFrame) -> float:
    from lifelines import KaplanMeierFitter

    if part["event"].all():
        return np.nan  # nobody's follow-up ended before the event
    return float(KaplanMeierFitter().fit(part["time"], ~part["event"]).median_survival_time_)


def _restricted_mean_error(fitter: KaplanMeierFitter, horizon: float) -> float:
    """Standard error of the restricted mean: the variance that lifelines returns is that of the times."""
    survival = fitter.survival_function_["survival"]
    survival = survival[survival.index < horizon]
    edges = np.append(survival.index.to_numpy(float), horizon)
    area = np.cumsum((survival.to_numpy() * np.diff(edges))[::-1])[::-1]  # from each time to the horizon
    n = net_at_risk(fitter).loc[survival.index].to_numpy(float)
    d = fitter.event_table["observed"].loc[survival.index].to_numpy(float)
    steps = (d > 0) & (n > d)  # where all fall, no area is left
    return float(np.sqrt((area[steps] ** 2 * d[steps] / (n[steps] * (n[steps] - d[steps]))).sum()))


def _with_differences(summary: pd.DataFrame, level: float) -> pd.DataFrame:
    from scipy.stats import norm

    error = np.hypot(summary["rmst_error"], summary["rmst_error"].iloc[0])
    difference = summary["rmst"] - summary["rmst"].iloc[0]
    reach = norm.ppf((1 + level) / 2) * error
    columns = {
        "rmst_difference": difference,
        "difference_lower": difference - reach,
        "difference_upper": difference + reach,
        "difference_pvalue": 2 * norm.sf((difference / error).abs()),
    }
    others = summary.index > 0
    columns = {key: pd.Series(values, summary.index).where(others) for key, values in columns.items()}
    return summary.drop(columns="rmst_error").assign(**columns)
