"""Groups of patients: where a model is worse, and risk groups that were not fitted to the outcome."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab import checks
from pm_lab.biomarkers.features import refuse_outcome_columns
from pm_lab.biomarkers.nested import NestedResult, out_of_fold_interval
from pm_lab.endpoints import check_measured
from pm_lab.errors import DataError

if TYPE_CHECKING:
    from pm_lab.biomarkers.controls import PermutationNull

FEWEST = 10  # patients and, of a survival or binary outcome, FEWEST_EVENTS on each side
FEWEST_EVENTS = 5
TESTS = {"survival": "log-rank", "binary": "chi-squared", "continuous": "Kruskal-Wallis"}
NO_P_VALUE = (
    "none without a permutation null: a patient's out-of-fold prediction was learnt from others' outcomes, "
    "so the distribution in tables is too narrow (in noise it finds one cohort in nine significant at .05). "
    "Pass null=pm.biomarkers.permutation_null(...) of the same cohort, model and folds."
)
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
    (95 %, as in :meth:`NestedResult.summary`), ``worse`` (the whole interval lies below the value of all
    patients, which is taken as fixed; each subgroup is looked at alone, so of many one will be worse by
    chance) and ``note``: "too few" where there are fewer than 10 patients or 5 events (or patients of a
    class), which get no number, "worse", or "" (which with few patients does not mean equal: look at the
    interval).

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
    by = [by] if isinstance(by, str) else list(by)
    if result.outcome.kind == "survival":  # a group known only later holds those who lived until then
        check_measured(adata, result.outcome.name, by)
    refuse_outcome_columns(adata, result.outcome, by)
    obs = adata.obs.loc[predictions["row"]]
    whole = _performance(predictions, np.ones(len(predictions), bool), result, n_boot)
    rows = {("all", "all"): whole}
    for column in by:
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
    kind, metric = result.outcome.kind, result.outcome.metric
    once = part.drop_duplicates("row")
    n = len(once)
    n_events = n if kind == "continuous" else int(once.get("event", once.get("outcome")).sum())
    smaller = min(n_events, n - n_events) if kind == "binary" else n_events
    row = {"n": n, "n_events": n_events}
    if n < FEWEST or smaller < FEWEST_EVENTS:
        return row | {metric: np.nan, "low": np.nan, "high": np.nan}
    return row | out_of_fold_interval({"model": part}, result, n_boot).iloc[0].to_dict()


@dataclass
class RiskGroups:
    """What :func:`stratify` returns.

    Attributes
    ----------
    groups : risk group by row of the cohort, an ordered categorical.
    table : by group: ``n``, ``n_events`` (or ``mean`` of a continuous outcome) and ``rate``.
    test : ``test``, log-rank (survival), chi-squared (binary) or Kruskal-Wallis (continuous), its
        ``statistic``, how the groups were made (``rule``), and ``p_value``: by permutation, with
        ``n_permutations``, where :func:`stratify` was given a null, else NaN with the ``reason``.
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
    null: PermutationNull | None = None,
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
    null : :func:`permutation_null` of the same cohort, model, folds and settings. Groups are made under each
        permutation by the same rule and compared by the same statistic; the p-value is (1 + permutations
        whose statistic is at least as large) / (1 + permutations).

    Raises
    ------
    DataError
        For a cutpoint that is to be searched for ("optimal" and the like), both or none of the two rules, an
        empty group, or a null of something else.

    Notes
    -----
    There is no p-value from the log-rank, chi-squared or Kruskal-Wallis distribution. These take the groups
    as given, but each patient's group was made by models that had learnt from the other patients' outcomes,
    and the tests are then too often significant: in noise (100 patients, 8 clinical columns, two groups) the
    log-rank's own p-value was below .05 in 11 % of 300 cohorts. By permutation it was in 4 % of 80.

    References
    ----------
    Altman 1994, doi:10.1093/jnci/86.11.829; Simon 2011, doi:10.1093/bib/bbr001.

    Examples
    --------
    >>> import pm_lab as pm
    >>> result = pm.biomarkers.nested_cross_validate(pm.datasets.load("gse7390"), "dmfs")
    >>> pm.biomarkers.stratify(result, shares=[0.5]).table["n"].sum()
    np.int64(198)
    """
    if any(isinstance(rule, str) or callable(rule) for rule in (shares, cutpoints)):
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
    rule = _read_rule(shares, cutpoints)
    code, names = _groups(table, rule)
    groups = pd.Series(pd.Categorical.from_codes(code, names, ordered=True), index=table["row"], name="risk")
    empty = [name for name in names if not (groups == name).any()]
    if empty:
        raise DataError(
            f"no patient falls into {', '.join(empty)}: choose another rule, before looking again."
        )
    kind = result.outcome.kind
    test = {"test": TESTS[kind], "statistic": _statistic(table, code, kind), "rule": rule}
    if null is None:
        test |= {"p_value": np.nan, "reason": NO_P_VALUE}
    else:
        _check_null(null, result, table["model"].iloc[0])
        test |= _permutation_p(null, test["statistic"], rule, kind)
    return RiskGroups(groups, _compare(table, groups, kind), test)


def _read_rule(shares, cutpoints) -> dict[str, list[float]]:
    name, given = ("shares", shares) if cutpoints is None else ("cutpoints", cutpoints)
    try:
        edges = np.atleast_1d(np.asarray(given, float))
    except (TypeError, ValueError):
        raise DataError(f"{name}={given!r}: a list of numbers.") from None
    if edges.ndim > 1 or not edges.size or (np.diff(edges) <= 0).any() or not np.isfinite(edges).all():
        raise DataError(f"the rule {edges.tolist()} must rise.")
    if name == "shares" and not ((edges > 0) & (edges < 1)).all():
        raise DataError(f"shares={edges.tolist()}: numbers between 0 and 1.")
    return {name: edges.tolist()}


def _groups(table: pd.DataFrame, rule: dict[str, list[float]]) -> tuple[np.ndarray, list[str]]:
    """Group of each row as a number, and the names of groups."""
    ((how, edges),) = rule.items()
    if how == "shares":
        ranks = table.groupby("fold")["prediction"].rank(method="average", pct=True)
        code = np.searchsorted(edges, ranks.to_numpy() - 1e-12, side="left")
    else:
        code = np.searchsorted(edges, table["prediction"].to_numpy(), side="right")
    return code, NAMES.get(len(edges) + 1) or [f"group {i}" for i in range(1, len(edges) + 2)]


def _statistic(table: pd.DataFrame, code: np.ndarray, kind: str) -> float:
    """How far groups are apart; 0 where there is one only, as a cutpoint may leave under a permutation."""
    column = table["event" if kind == "survival" else "outcome"].to_numpy(float)
    held = np.unique(code)
    if len(held) < 2:
        return 0.0
    if kind == "survival":
        from lifelines.statistics import multivariate_logrank_test

        return float(multivariate_logrank_test(table["time"], code, column).test_statistic)
    if kind == "binary":
        from scipy.stats import chi2_contingency

        return float(chi2_contingency(pd.crosstab(code, column))[0])
    from scipy.stats import kruskal

    return float(kruskal(*[column[code == group] for group in held])[0])


def _check_null(null: PermutationNull, result: NestedResult, model: str) -> None:
    """Refuse a null whose models are not those of the result, or that permuted other outcomes."""
    ours = result.record | result.record["settings"] | {"model": model}
    theirs = null.record | null.record.get("settings", {}) | {"model": null.model}
    ignored = {"seed", "n_jobs", "n_repeats", "versions", "settings"}
    told = [
        f"{name} {theirs.get(name)}, not {value}"
        for name, value in ours.items()
        if name not in ignored and theirs.get(name) != value
    ]
    if not told and not all(
        np.array_equal(getattr(null.outcome, part), getattr(result.outcome, part))
        for part in ("values", "time")
    ):
        told = ["other outcomes"]
    if told:
        raise DataError(
            f"the null is of something else than the result: {'; '.join(told)}. Call permutation_null with "
            "the cohort and the arguments that nested_cross_validate had."
        )


def _permutation_p(null: PermutationNull, statistic: float, rule: dict, kind: str) -> dict:
    first = null.predictions[null.predictions["repeat"] == 0]
    drawn = np.array(
        [
            _statistic(part, _groups(part, rule)[0], kind)
            for _, part in first.groupby("permutation", sort=False)
        ]
    )
    reached = int((drawn >= statistic * (1 - 1e-9)).sum())
    return {"p_value": (1 + reached) / (1 + len(drawn)), "n_permutations": len(drawn)}


def _compare(table: pd.DataFrame, groups: pd.Series, kind: str) -> pd.DataFrame:
    column = table["event" if kind == "survival" else "outcome"].astype(float)
    by = column.groupby(groups.to_numpy(), observed=False)
    summary = pd.DataFrame({"n": by.size()}).loc[list(groups.cat.categories)]
    if kind == "continuous":
        return summary.assign(mean=by.mean())
    return summary.assign(n_events=by.sum().astype(int), rate=by.mean())
