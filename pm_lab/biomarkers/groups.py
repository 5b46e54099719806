"""Groups of patients: where a model is worse, and risk groups that were not fitted to the outcome."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from pm_lab import checks
from pm_lab.biomarkers.nested import NestedResult
from pm_lab.endpoints import check_measured
from pm_lab.errors import DataError
from pm_lab.validation import Outcome, bootstrap

FEWEST = 10  # patients and, of a survival or binary outcome, FEWEST_EVENTS on each side
FEWEST_EVENTS = 5
NAMES = {2: ["low", "high"], 3: ["low", "middle", "high"]}


def subgroup_performance(
    result: NestedResult,
    cohort,
    by,
    cuts: dict[str, float] | None = None,
    model: str | None = None,
    n_boot: int = 1000,
) -> pd.DataFrame:
    """How good out-of-fold predictions are in each subgroup, with intervals by patient.

    Parameters
    ----------
    result : of :func:`nested_cross_validate`.
    cohort : the cohort that it was computed on.
    by : columns of ``obs``. Numbers are cut in two.
    cuts : where to cut numbers, e.g. ``{"age": 50}``; by default at the median.
    model : by default the first of the result.

    Returns
    -------
    DataFrame by (``column``, ``level``), "all" first: ``n``, ``n_events``, the metric, ``low``, ``high``
    (95 %), ``worse`` (the whole interval lies below the value of all patients) and ``note``: "too few"
    where there are fewer than 10 patients or 5 events (or patients of a class), which get no number,
    "worse", or "" (which with few patients does not mean equal: look at the interval).

    Raises
    ------
    DataError
        When the rows of the result are not in the cohort, or a column is missing.
    """
    adata = checks.bulk_of(cohort)
    predictions = _predictions_of(result, model)
    absent = ~predictions["row"].isin(adata.obs_names)
    if absent.any():
        raise DataError(
            f"{int(absent.sum()):,} rows of the result are not in this cohort. Pass the same one."
        )
    if result.outcome.kind == "survival":  # a group known only later holds those who lived until then
        check_measured(adata, result.outcome.name, [by] if isinstance(by, str) else by)
    obs = adata.obs.loc[predictions["row"]]
    whole = _performance(predictions, np.ones(len(predictions), bool), result, n_boot)
    rows = {("all", "all"): whole}
    for column in [by] if isinstance(by, str) else by:
        if column not in obs:
            raise DataError(f"obs has no column {column!r}.")
        for level, members in _levels(obs[column], (cuts or {}).get(column)).items():
            rows[(column, level)] = _performance(predictions, members, result, n_boot)
    table = pd.DataFrame(
        list(rows.values()), index=pd.MultiIndex.from_tuples(rows, names=["column", "level"])
    )
    metric = result.outcome.metric
    table["worse"] = (table["high"] < whole[metric]).fillna(False)
    few = table[metric].isna()
    table["note"] = np.where(few, "too few", np.where(table["worse"], "worse", ""))
    return table


def _predictions_of(result: NestedResult, model: str | None) -> pd.DataFrame:
    models = list(result.predictions["model"].unique())
    model = result.scores["model"].iloc[0] if model is None else model
    if model not in models:
        raise DataError(f"model={model!r} is not in the result; there are {', '.join(models)}.")
    return result.predictions[result.predictions["model"] == model].reset_index(drop=True)


def _levels(column: pd.Series, cut: float | None) -> dict[str, np.ndarray]:
    missing = column.isna().to_numpy()
    numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if numeric and (cut is not None or column.nunique() > 4):
        cut = float(column.median()) if cut is None else cut
        above = (column > cut).to_numpy() & ~missing
        found = {f"≤ {cut:g}": ~above & ~missing, f"> {cut:g}": above}
    else:
        text = column.astype(str).to_numpy()
        found = {level: (text == level) & ~missing for level in sorted(set(text[~missing]))}
    return found | ({"missing": missing} if missing.any() else {})


def _performance(table: pd.DataFrame, members: np.ndarray, result: NestedResult, n_boot: int) -> dict:
    part = table[members]
    like, metric = result.outcome, result.outcome.metric
    values = part["event" if like.kind == "survival" else "outcome"].to_numpy(float)
    time = part["time"].to_numpy() if like.kind == "survival" else None
    outcome = Outcome(like.name, like.kind, values, time)
    once = part.drop_duplicates("row")
    n = len(once)
    n_events = n if like.kind == "continuous" else int(once.get("event", once.get("outcome")).sum())
    smaller = min(n_events, n - n_events) if like.kind == "binary" else n_events
    row = {"n": n, "n_events": n_events}
    if n < FEWEST or smaller < FEWEST_EVENTS:
        return row | {metric: np.nan, "low": np.nan, "high": np.nan}
    within = (part["repeat"].astype(str) + "/" + part["fold"].astype(str)).to_numpy()
    interval = bootstrap(
        outcome,
        {"model": part["prediction"].to_numpy()},
        part["patient"].to_numpy(),
        within,
        n_boot=n_boot,
        seed=result.record["seed"],
    )
    return row | interval.iloc[0].to_dict()


@dataclass
class RiskGroups:
    """What :func:`stratify` returns.

    Attributes
    ----------
    groups : risk group by row of the cohort, an ordered categorical.
    table : by group: ``n``, ``n_events`` (or ``mean`` of a continuous outcome) and ``rate``.
    test : log-rank (survival), chi-squared (binary) or Kruskal-Wallis (continuous): ``statistic``,
        ``p_value``; how the groups were made: ``rule``.
    """

    groups: pd.Series = field(repr=False)
    table: pd.DataFrame
    test: dict


def stratify(
    result: NestedResult,
    shares=None,
    cutpoints=None,
    model: str | None = None,
    repeat: int = 0,
) -> RiskGroups:
    """Risk groups from out-of-fold predictions, by a rule that was fixed beforehand.

    Give one of ``shares`` or ``cutpoints``. A cutpoint searched for on the outcomes is refused: the best of
    many splits is significant in noise. A continuous effect needs no cutpoint at all (``hazard_ratio_per_sd``
    of :func:`external_validation`).

    Parameters
    ----------
    result : of :func:`nested_cross_validate`.
    shares : e.g. ``[0.5]`` or ``[1/3, 2/3]``: quantiles of the predictions within each fold, whose models
        have no common scale. They do not look at the outcome.
    cutpoints : values on the scale of the predictions, declared beforehand (a risk of .2, say).
    model, repeat : which predictions; by default the first of both.

    Raises
    ------
    DataError
        For a cutpoint that is to be searched for ("optimal" and the like), both or none of the two rules, or
        an empty group.

    References
    ----------
    Altman 1994, doi:10.1093/jnci/86.11.829.

    Examples
    --------
    >>> import pm_lab as pm
    >>> result = pm.biomarkers.nested_cross_validate(pm.datasets.load("gse7390"), "dmfs")
    >>> pm.biomarkers.stratify(result, shares=[0.5]).table["n"].sum()
    np.int64(198)
    """
    if isinstance(shares, str) or isinstance(cutpoints, str):
        raise DataError(
            f"{shares or cutpoints!r}: a cutpoint that is searched for on the outcomes gives a test that "
            "means nothing (the best of many splits is significant in noise). Declare cutpoints=[0.2] or "
            "shares=[0.5] beforehand, or use the continuous score: its effect per SD needs no cutpoint."
        )
    if (shares is None) == (cutpoints is None):
        raise DataError(
            "give one rule: shares=[0.5] (within each fold) or cutpoints=[...] (declared before)."
        )
    table = _predictions_of(result, model)
    table = table[table["repeat"] == repeat].reset_index(drop=True)
    if table.empty:
        raise DataError(f"repeat={repeat} is not in the result.")
    edges = np.atleast_1d(np.asarray(shares if cutpoints is None else cutpoints, float))
    if (np.diff(edges) <= 0).any() or not np.isfinite(edges).all():
        raise DataError(f"the rule {edges.tolist()} must rise.")
    if cutpoints is None:
        if not ((edges > 0) & (edges < 1)).all():
            raise DataError(f"shares={edges.tolist()}: numbers between 0 and 1.")
        ranks = table.groupby("fold")["prediction"].rank(method="average", pct=True)
        code = np.searchsorted(edges, ranks.to_numpy() - 1e-12, side="left")
    else:
        code = np.searchsorted(edges, table["prediction"].to_numpy(), side="right")
    names = NAMES.get(len(edges) + 1) or [f"group {i}" for i in range(1, len(edges) + 2)]
    groups = pd.Series(pd.Categorical.from_codes(code, names, ordered=True), index=table["row"], name="risk")
    empty = [name for name in names if not (groups == name).any()]
    if empty:
        raise DataError(
            f"no patient falls into {', '.join(empty)}: choose another rule, before looking again."
        )
    rule = {"shares": edges.tolist()} if cutpoints is None else {"cutpoints": edges.tolist()}
    return RiskGroups(groups, *_compare(table, groups, result.outcome.kind, rule))


def _compare(table: pd.DataFrame, groups: pd.Series, kind: str, rule: dict) -> tuple[pd.DataFrame, dict]:
    labels = groups.to_numpy()
    column = table["event" if kind == "survival" else "outcome"].astype(float)
    by = column.groupby(labels, observed=False)
    names = list(groups.cat.categories)
    summary = pd.DataFrame({"n": by.size()}).loc[names]
    if kind == "continuous":
        from scipy.stats import kruskal

        summary["mean"] = by.mean()
        found = kruskal(*[column[labels == name] for name in names])
        return summary, {"test": "Kruskal-Wallis", "statistic": found[0], "p_value": found[1], "rule": rule}
    summary["n_events"] = by.sum().astype(int)
    summary["rate"] = by.mean()
    if kind == "binary":
        from scipy.stats import chi2_contingency

        found = chi2_contingency(pd.crosstab(labels, column))
        return summary, {"test": "chi-squared", "statistic": found[0], "p_value": found[1], "rule": rule}
    from lifelines.statistics import multivariate_logrank_test

    found = multivariate_logrank_test(table["time"], labels, column)
    return summary, {
        "test": "log-rank",
        "statistic": float(found.test_statistic),
        "p_value": float(found.p_value),
        "rule": rule,
    }
