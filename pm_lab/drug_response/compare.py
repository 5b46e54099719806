"""Is one model better than another? A test that knows that folds share training data, and a figure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab.drug_response.benchmarking import Benchmark
from pm_lab.drug_response.contract import first
from pm_lab.drug_response.metrics import METRICS
from pm_lab.errors import DataError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOWER_IS_BETTER = ("rmse", "seconds", "peak_gb")
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#999999"
UNITS = {"ln_ic50": "ln µM", "auc": "area under the curve"}  # of an error
LABELS = {
    "pearson": "Pearson, all pairs",
    "r2": "R², all pairs",
    "per_drug_pearson": "Pearson within drugs",
    "normalized_pearson": "Pearson beyond mean effects",
    "normalized_r2": "R² beyond mean effects",
    "seconds": "seconds a fold",
    "peak_gb": "peak memory (GB)",
}


def compare_models(
    results: Benchmark | Iterable[Benchmark],
    reference: str = "kernel_ridge",
    metric: str = "normalized_pearson",
    level: float = 0.95,
) -> pd.DataFrame:
    """Compare each model with one of them, fold by fold, by the corrected resampled t-test.

    Folds share most of their training data, so their differences are not independent and an ordinary paired
    t-test finds differences where there are none. The corrected test multiplies their variance by
    1 / n_folds + n_test / n_train in place of 1 / n_folds.

    Parameters
    ----------
    results : of :func:`benchmark`; several ones, of other seeds, are taken together (repeated
        cross-validation).
    reference : the model that the others are compared with.
    metric : a column of ``metrics``.
    level : of the interval.

    Returns
    -------
    DataFrame, one row a model: ``model``, ``difference`` (mean of model − reference), ``low``, ``high``,
    ``n_better`` (folds in which the model is better: lower for ``rmse``, ``seconds`` and ``peak_gb``, higher
    for the others), ``n_folds``, ``t``, ``p`` (two-sided, one test a row).

    Raises
    ------
    DataError
        An unknown model or metric, results of several splits or measures, of equal seeds or without a model,
        or fewer than two folds.

    Source
    ------
    Nadeau and Bengio 2003, doi:10.1023/A:1024068626366.

    Examples
    --------
    >>> import pm_lab as pm
    >>> screen = pm.datasets.simulate_cohort(n_cells=600).screen
    >>> result = pm.drug_response.benchmark(["kernel_ridge", "drug_mean"], screen)
    >>> pm.drug_response.compare_models(result)[["model", "n_better", "n_folds"]].values.tolist()
    [['drug_mean', 0, 5]]
    """
    from scipy import stats

    results = _results(results)
    values = _by_fold(results, metric)
    if reference not in values:
        raise DataError(
            f"there is no model {reference!r} to compare with; there are {first(values.columns)}."
        )
    if len(values) < 2:
        raise DataError("one fold only: a difference needs two folds at least to be judged.")
    n = len(values)
    share = float(np.mean([result.test_share for result in results]))
    quantile = stats.t.ppf((1 + level) / 2, n - 1)
    rows = []
    for model in values.columns.drop(reference):
        difference = (values[model] - values[reference]).to_numpy()
        mean, error = difference.mean(), np.sqrt((1 / n + share) * difference.var(ddof=1))
        t = mean / error if error > 0 else np.sign(mean) * np.inf if mean else 0.0
        better = difference < 0 if metric in LOWER_IS_BETTER else difference > 0
        row = {"model": model, "difference": mean, "low": mean - quantile * error}
        row |= {"high": mean + quantile * error, "n_better": int(better.sum()), "n_folds": n}
        rows.append(row | {"t": t, "p": 2 * stats.t.sf(abs(t), n - 1)})
    columns = ["model", "difference", "low", "high", "n_better", "n_folds", "t", "p"]
    table = pd.DataFrame(rows, columns=columns)
    table.attrs = {"reference": reference, "metric": metric, "split": results[0].split}
    return table


def _results(results) -> list[Benchmark]:
    found = [results] if isinstance(results, Benchmark) else list(results)
    if not found or not all(isinstance(result, Benchmark) for result in found):
        raise DataError("results: what pm.drug_response.benchmark returned, or a list of such.")
    splits, seeds = {result.split for result in found}, [result.seed for result in found]
    if len(splits) > 1:
        raise DataError(f"results of several splits, {', '.join(sorted(splits))}: compare within one.")
    measures = sorted({result.measure for result in found})
    if len(measures) > 1:
        raise DataError(
            f"results of several measures, {', '.join(measures)}: their errors cannot be compared."
        )
    if len(set(seeds)) < len(seeds):
        raise DataError(f"results of the seeds {first(seeds)}: equal folds must not count twice.")
    return found


def _by_fold(results: list[Benchmark], metric: str) -> pd.DataFrame:
    """Folds of all seeds × models."""
    if metric not in (*METRICS, "seconds", "peak_gb"):
        raise DataError(f"metric={metric!r}: one of {', '.join(METRICS)}, seconds, peak_gb.")
    parts = [result.metrics.pivot(index="fold", columns="model", values=metric) for result in results]
    values = pd.concat(parts, keys=[result.seed for result in results])
    lacking = values.columns[values.isna().any()]
    if len(lacking):
        raise DataError(
            f"{metric} is missing in some folds of {first(lacking)}: a model was not run for every seed, or "
            "the metric means nothing in this split."
        )
    return values[list(dict.fromkeys(results[0].metrics["model"]))]


def plot_benchmark(
    results: Benchmark | Iterable[Benchmark],
    metrics: Sequence[str] = ("normalized_pearson", "rmse", "seconds"),
    highlight: str = "network",
) -> Figure:
    """Show models side by side: each fold a dot, the mean a bar, best model on top.

    Parameters
    ----------
    results : of :func:`benchmark`, or several of other seeds.
    metrics : columns of ``metrics``, one panel each. Models are sorted by the first.
    highlight : the model drawn in orange.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    DataError
        As :func:`compare_models`.

    Examples
    --------
    >>> import pm_lab as pm
    >>> screen = pm.datasets.simulate_cohort(n_cells=600).screen
    >>> result = pm.drug_response.benchmark(["pca_ridge", "drug_mean"], screen)
    >>> figure = pm.drug_response.plot_benchmark(result, highlight="pca_ridge")
    """
    from matplotlib.figure import Figure

    results = _results(results)
    if not metrics:
        raise DataError("metrics is empty: name one at least.")
    tables = {metric: _by_fold(results, metric) for metric in metrics}
    main = tables[metrics[0]]
    order = main.mean().sort_values(ascending=metrics[0] not in LOWER_IS_BETTER, kind="stable").index
    figure = Figure(figsize=(2.2 + 3.2 * len(metrics), 1.3 + 0.42 * len(order)), layout="constrained")
    panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    for ax, (metric, values) in zip(panels, tables.items(), strict=True):
        for place, model in enumerate(order):
            _draw_model(ax, place, values[model], ORANGE if model == highlight else BLUE, metric)
        ax.set_xlabel(LABELS.get(metric, f"RMSE ({UNITS[results[0].measure]})"))
        ax.spines[["top", "right"]].set_visible(False)
        ax.margins(y=0.08)
        if metric == "seconds":
            ax.set_xscale("log")
    panels[0].set_yticks(range(len(order)), [str(model).replace("_", " ") for model in order])
    panels[0].set_title(
        f"{results[0].split}: {len(main)} folds; dots are folds, bars their mean", loc="left", fontsize=10
    )
    return figure


def _draw_model(ax, place: int, values: pd.Series, colour: str, metric: str) -> None:
    ax.scatter(values, np.full(len(values), place), s=18, color=colour, alpha=0.45, linewidths=0)
    mean = values.mean()
    ax.plot([mean, mean], [place - 0.28, place + 0.28], color=colour, linewidth=2.2)
    text = f"{mean:.2g}" if metric == "seconds" else f"{mean:.3f}"
    ax.annotate(text, (mean, place + 0.3), ha="center", va="bottom", fontsize=7.5, color=colour)
