"""How sure predicted responses are: conformal intervals drug by drug, and whether they hold."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab import checks, keys
from pm_lab.drug_response.contract import first, screen_of
from pm_lab.drug_response.effects import responses_of
from pm_lab.drug_response.lines import tissue_of
from pm_lab.drug_response.plots import BLUE, GREY, MOST_NAMES, ORANGE
from pm_lab.drug_response.splits import Fold
from pm_lab.drug_response.splits import folds as cut
from pm_lab.errors import DataError, PmLabWarning

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEWEST_ERRORS = 50  # of a drug, for an interval from its own errors alone
PRIOR_ERRORS = 10  # errors' worth of evidence that a drug is predicted as well as the others
NEEDED = ("model", "line", "drug", "observed", "predicted", "lower", "upper")
LEVEL = 0.95  # of the interval of a coverage
MOST_TISSUES = 30  # named in the figure


def half_widths(errors: np.ndarray, coverage: float) -> np.ndarray:
    """Half widths of conformal intervals, one a drug.

    A drug with ``n`` errors takes the ``ceil((n + 1) coverage)``-th smallest of their sizes: a new line whose
    error is drawn like these n lies inside with at least this probability. A drug with fewer than 50 errors,
    or too few for the coverage, borrows: its width is the same quantile of the errors of all drugs, each in
    units of the spread of its drug, times its own spread. The spread is the root mean square of a drug's
    errors and 10 more of the size of all drugs' errors.

    Of new lines of GDSC1 90 % intervals cover .901, of lines of a tissue that was not in training .885: these
    are not drawn like the others. After 40 lines × 10 drugs they cover .90 (built-in screen, mean of 5; parts
    of GDSC1 .90), after 80 × 20 .915 (.905); after one choice of 40 or 80 lines between .87 and .93.

    Widths that grow with the distance from the lines or with the prediction were 1 % narrower at best, and
    are not used. On GDSC1, with 8 to 50 errors left of a drug, this covers .89 to .91 of 90 % on average, the
    worst drugs more than with their own few errors, and is narrower; a drug that is predicted far worse than
    others is covered a little less.

    Parameters
    ----------
    errors : lines × drugs, observed − predicted for lines that the prediction did not know; NaN where not
        measured.
    coverage : between 0 and 1.

    Raises
    ------
    DataError
        All errors together are too few for this coverage.

    Source
    ------
    Vovk, Gammerman and Shafer 2005, doi:10.1007/b106715 (a quantile for each category: "Mondrian").

    Examples
    --------
    >>> import numpy as np
    >>> from pm_lab.drug_response.uncertainty import half_widths
    >>> half_widths(np.arange(-100.0, 100.0)[:, None], 0.9)
    array([90.])
    """
    size = np.abs(errors)
    n = (~np.isnan(size)).sum(axis=0)
    own = np.array([_quantile(column, coverage) for column in size.T])
    borrows = (n < FEWEST_ERRORS) | np.isinf(own)
    if not borrows.any():
        return own
    squares = np.nansum(size**2, axis=0)
    spread = np.sqrt((squares + PRIOR_ERRORS * squares.sum() / n.sum()) / (n + PRIOR_ERRORS))
    pooled = _quantile((size / np.where(spread > 0, spread, 1.0)).ravel(), coverage)
    if np.isinf(pooled):
        raise DataError(
            f"coverage={coverage!r} needs {math.ceil(coverage / (1 - coverage)):,} errors of lines left out, "
            f"and there are {int(n.sum()):,}. Ask for a smaller coverage."
        )
    return np.where(borrows, pooled * spread, own)


def _quantile(values: np.ndarray, coverage: float) -> float:
    """With one place for the new value; infinite where there are too few."""
    values = np.sort(values[~np.isnan(values)])
    place = math.ceil((len(values) + 1) * coverage - 1e-9)
    return float(values[place - 1]) if place <= len(values) else math.inf


def held_out_intervals(
    screen,
    model=None,
    split: str = "LCO",
    n_splits: int = 5,
    seed: int = 0,
    coverage: float = 0.9,
    folds: Sequence[Fold] | None = None,
) -> pd.DataFrame:
    """Intervals of a model for what it did not see, beside those of the mean of each drug.

    In each fold the model learns from training and validation, makes its intervals from its own errors on
    lines left out within them, and is asked for the test part.

    Parameters
    ----------
    screen : as :func:`check_screen` describes it, or a simulated Cohort.
    model : an unfitted :class:`DrugResponseModel`; by default one with this seed.
    split : "LCO", "LTO" or "LPO", cut by :func:`folds`. Of drugs that were left out nothing is known, and
        they get no intervals.
    n_splits, seed : of the folds.
    coverage : of the intervals.
    folds : folds that were made or loaded before; ``split``, ``n_splits`` and ``seed`` then do not count.

    Returns
    -------
    DataFrame, one row a model and test pair: ``model`` ("drug_mean" is the mean of the drug with conformal
    intervals of its own), ``fold``, ``line``, ``tissue``, ``drug``, ``observed``, ``predicted``, ``lower``,
    ``upper`` (ln µM, or the units of the screen). ``attrs["coverage"]`` is what was asked for;
    ``attrs["not_trained"]`` lists the drugs that have values in the test part of a fold and none in training
    (``fold``, ``drug``, ``n_values``): they have no interval and no row, which a warning says.

    Raises
    ------
    DataError
        ``split="LDO"``, a coverage that is none, or whatever :func:`folds` and ``fit`` refuse.

    Examples
    --------
    >>> import pm_lab as pm
    >>> screen = pm.datasets.simulate_cohort(n_cells=600, n_lines=60, n_drugs=10).screen
    >>> model = pm.drug_response.DrugResponseModel(members=2, hidden=8, max_epochs=5)
    >>> table = pm.drug_response.held_out_intervals(screen, model, n_splits=2)
    >>> sorted(table["model"].unique())
    ['drug_mean', 'network']
    """
    from pm_lab.drug_response.model import DrugResponseModel

    checks.shares(coverage=coverage)
    screen = screen_of(screen)
    model = DrugResponseModel(seed=seed) if model is None else model
    folds = cut(screen, split, n_splits, seed) if folds is None else list(folds)
    if not folds or any(fold.split == "LDO" for fold in folds):
        raise DataError(
            "intervals are for drugs of training: pass folds that leave cell lines (LCO), tissues (LTO) or "
            "pairs (LPO) out."
        )
    parts, skipped = zip(*(_of_fold(screen, model, fold, coverage) for fold in folds), strict=True)
    found = pd.concat(parts, ignore_index=True)
    skipped = [row for rows in skipped for row in rows]
    found.attrs |= {"coverage": coverage, "not_trained": skipped}
    _say_skipped(skipped, len(found["fold"].unique()))
    return found


def _say_skipped(skipped: list[dict], n_folds: int) -> None:
    if skipped:
        names = list(dict.fromkeys(row["drug"] for row in skipped))
        warnings.warn(
            f"{len(names):,} drugs were tested in the test part of some of the {n_folds:,} folds and in "
            f"nothing of their training part ({first(names)}): there they have no intervals, and "
            f"{sum(row['n_values'] for row in skipped):,} values are not judged.",
            PmLabWarning,
            stacklevel=3,
        )


def _of_fold(screen, model, fold: Fold, coverage: float) -> tuple[pd.DataFrame, list[dict]]:
    """Intervals of the test part, and its drugs that were not in training."""
    training, test = fold.take(screen, "train+validation"), fold.take(screen, "test")
    observed = test.obsm[keys.RESPONSE].copy()
    absent = observed.columns[~observed.columns.isin(training.obsm[keys.RESPONSE].columns)]
    skipped = [
        {"fold": fold.number, "drug": name, "n_values": int(n)}
        for name, n in observed[absent].notna().sum().items()
    ]
    observed = observed.drop(columns=absent)
    test.obsm[keys.RESPONSE] = observed * np.nan
    learnt_from = fold.train | fold.validation
    validation = fold.validation[np.ix_(learnt_from.any(axis=1), learnt_from.any(axis=0))]
    fitted = copy.deepcopy(model).fit(training, validation)
    table = fitted.predict(test, drugs=observed.columns, coverage=coverage)
    measure = next(name for name in ("ln_ic50", "auc") if name in table)
    wide = table.pivot(index="line", columns="drug", values=[measure, "lower", "upper"])
    at = lambda name: wide[name].reindex(observed.index)[observed.columns].to_numpy(float)  # noqa: E731
    of_mean = _of_drug_mean(responses_of(training)[observed.columns], coverage)
    parts = {getattr(fitted, "name", "model"): (at(measure), at("lower"), at("upper")), "drug_mean": of_mean}
    return pd.concat([_tidy(name, fold, test, observed, part) for name, part in parts.items()]), skipped


def _of_drug_mean(response: pd.DataFrame, coverage: float) -> tuple[np.ndarray, ...]:
    """Mean of each drug and its interval, from the errors of the means that leave a line out."""
    n, mean = response.notna().sum(), response.mean()
    width = half_widths(((response - mean) * n / (n - 1).clip(lower=1)).to_numpy(), coverage)
    mean = mean.to_numpy()
    return mean, mean - width, mean + width


def _tidy(name: str, fold: Fold, test, observed: pd.DataFrame, numbers: tuple) -> pd.DataFrame:
    line, drug = np.nonzero(observed.notna().to_numpy())
    at = [np.broadcast_to(array, observed.shape)[line, drug] for array in numbers]
    return pd.DataFrame(
        {
            "model": name,
            "fold": fold.number,
            "line": observed.index.to_numpy(object)[line],
            "tissue": tissue_of(test)[line],
            "drug": observed.columns.to_numpy(object)[drug],
            "observed": observed.to_numpy()[line, drug],
            **dict(zip(("predicted", "lower", "upper"), at, strict=True)),
        }
    )


def coverage_report(predictions: pd.DataFrame, by: str | None = "drug") -> pd.DataFrame:
    """How many observed responses lie within their intervals, and how wide these are.

    Parameters
    ----------
    predictions : as :func:`held_out_intervals` returns them: ``model``, ``line``, ``drug``, ``observed``,
        ``predicted``, ``lower``, ``upper`` and the column ``by``.
    by : "drug", "tissue", "fold" or another column; None: all together.

    Returns
    -------
    DataFrame, one row a model and drug (or tissue), least covered first within a model: ``model``, ``drug``,
    ``n_values``, ``n_lines``, ``coverage``, ``coverage_lower`` and ``coverage_upper`` (95 % interval),
    ``mean_width`` (ln units). Values of one line go together, so the interval counts lines, not values: it is
    Wilson's with as many values as would have the variance that is seen between lines.

    Raises
    ------
    DataError
        Columns are missing, or numbers are.

    Source
    ------
    Wilson 1927, doi:10.1080/01621459.1927.10502953.

    Examples
    --------
    >>> import pandas as pd, pm_lab as pm
    >>> table = pd.DataFrame({"model": "m", "line": list("abcd"), "drug": "X", "observed": [0, 0, 0, 5.0]})
    >>> table = table.assign(predicted=0.0, lower=-1.0, upper=1.0)
    >>> pm.drug_response.coverage_report(table)[["coverage", "mean_width"]].values.tolist()
    [[0.75, 2.0]]
    """
    _check_predictions(predictions, by)
    table = predictions.assign(
        inside=predictions["observed"].between(predictions["lower"], predictions["upper"]),
        width=predictions["upper"] - predictions["lower"],
    )
    groups = ["model"] if by is None else ["model", by]
    rows = []
    for names, part in table.groupby(groups, sort=False, observed=True):
        rows.append({**dict(zip(groups, names, strict=True)), **_coverage(part)})
    found = pd.DataFrame(rows)
    order = found["model"].map({name: place for place, name in enumerate(found["model"].unique())})
    return found.iloc[np.lexsort((found["coverage"], order))].reset_index(drop=True)


def _check_predictions(predictions: pd.DataFrame, by: str | None) -> None:
    absent = [name for name in (*NEEDED, *([by] if by else [])) if name not in predictions]
    if absent:
        raise DataError(
            f"predictions have no column {first(absent)}: pass what "
            "pm.drug_response.held_out_intervals(screen) returns, or the same columns of your own."
        )
    numbers = predictions[["observed", "lower", "upper"]]
    bad = numbers.isna().any(axis=1)
    if bad.any() or predictions.empty:
        raise DataError(
            f"{int(bad.sum()):,} of {len(predictions):,} predictions have no observed value or no interval: "
            "leave out pairs that were not measured."
        )


def _coverage(part: pd.DataFrame) -> dict:
    from statsmodels.stats.proportion import proportion_confint

    of_line = part.groupby("line", observed=True)["inside"].agg(["sum", "count"])
    n, m = int(of_line["count"].sum()), len(of_line)
    share = of_line["sum"].sum() / n
    between = ((of_line["sum"] - share * of_line["count"]) ** 2).sum() * m / max(m - 1, 1) / n**2
    counted = min(share * (1 - share) / between, n) if between > 0 else m
    low, high = proportion_confint(share * counted, counted, 1 - LEVEL, method="wilson")
    return {
        "n_values": n,
        "n_lines": m,
        "coverage": share,
        "coverage_lower": low,
        "coverage_upper": high,
        "mean_width": part["width"].mean(),
    }


def plot_coverage(predictions: pd.DataFrame, model: str = "network") -> Figure:
    """How often the intervals of a model hold, by drug and by tissue, and how wide they are.

    Parameters
    ----------
    predictions : as :func:`held_out_intervals` returns them, with ``tissue``.
    model : the model to show; "drug_mean", if it is there, is what its widths are compared with.

    Returns
    -------
    matplotlib.figure.Figure
        Left: coverage of each drug, sorted, with 95 % intervals, and what was promised. Middle: the same by
        tissue. Right: mean width of the interval of each drug against that of its mean; below the diagonal
        the model is the surer one.

    Raises
    ------
    DataError
        The model or columns are not in the predictions.

    Examples
    --------
    >>> import pm_lab as pm
    >>> screen = pm.datasets.simulate_cohort(n_cells=600, n_lines=60, n_drugs=10).screen
    >>> model = pm.drug_response.DrugResponseModel(members=2, hidden=8, max_epochs=5)
    >>> figure = pm.drug_response.plot_coverage(
    ...     pm.drug_response.held_out_intervals(screen, model, n_splits=2)
    ... )
    """
    from matplotlib.figure import Figure

    of_drug, of_tissue = (coverage_report(predictions, by) for by in ("drug", "tissue"))
    if model not in set(of_drug["model"]):
        raise DataError(f"model={model!r} is not in the predictions: {first(of_drug['model'].unique())}.")
    promised = predictions.attrs.get("coverage")
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=[1.1, 1.2, 1])
    drugs, tissues = (table[table["model"] == model] for table in (of_drug, of_tissue))
    _draw_coverage(axes[0], drugs, promised, along="x")
    axes[0].set(xlabel=f"{len(drugs):,} drugs, sorted", ylabel="share of test lines within the interval")
    axes[0].set_xticks([])
    shown = tissues.nlargest(MOST_TISSUES, "n_lines").sort_values("coverage", ascending=False)
    _draw_coverage(axes[1], shown, promised, along="y")
    names = [f"{row.tissue} ({row.n_lines})" for row in shown.itertuples()]
    axes[1].set_yticks(range(len(names)), names, fontsize=8)
    axes[1].set(xlabel="share of values within the interval", ylabel="tissue (lines)")
    _draw_widths(axes[2], of_drug, model)
    whole = coverage_report(predictions[predictions["model"] == model], None).iloc[0]
    asked = "" if promised is None else f" of {promised:.0%} promised"
    figure.suptitle(
        f"{model}: {whole['coverage']:.1%}{asked} covered, mean width {whole['mean_width']:.2f}, "
        f"least covered drug {drugs['coverage'].min():.0%}"
    )
    return figure


def _draw_coverage(ax, table: pd.DataFrame, promised: float | None, along: str) -> None:
    places, shares = np.arange(len(table)), table["coverage"].to_numpy()
    bars = np.abs(table[["coverage_lower", "coverage_upper"]].to_numpy().T - shares)
    thin = 0.8 if len(table) <= MOST_NAMES else 0.3  # many bars side by side would be a block
    style = {"fmt": "o", "color": BLUE, "ecolor": GREY, "markersize": 3, "elinewidth": thin}
    if along == "x":
        ax.errorbar(places, shares, yerr=bars, **style)
    else:
        ax.errorbar(shares, places, xerr=bars, **style)
    if promised is not None:
        line = ax.axhline if along == "x" else ax.axvline
        line(promised, color=ORANGE, linewidth=1.2, label=f"promised: {promised:.0%}")
        ax.legend(frameon=False, loc="lower right" if along == "x" else "lower left")


def _draw_widths(ax, of_drug: pd.DataFrame, model: str) -> None:
    wide = of_drug.pivot(index="drug", columns="model", values="mean_width")
    if "drug_mean" not in wide or model == "drug_mean":
        ax.hist(wide[model], bins=30, color=BLUE)
        ax.set(xlabel="mean width of the interval of a drug (ln units)", ylabel="drugs")
        return
    end = wide[[model, "drug_mean"]].to_numpy().max() * 1.05
    ax.plot([0, end], [0, end], color="black", linewidth=0.6, linestyle=":")
    ax.plot(wide["drug_mean"], wide[model], "o", color=BLUE, markersize=3)
    ax.set(xlabel="width around the drug's mean (ln units)", ylabel=f"width around {model} (ln units)")
    ax.set(xlim=(0, end), ylim=(0, end), aspect="equal")
