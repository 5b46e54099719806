"""Figures of biomarkers. What a figure shows is said in words as well: ``figure.get_label()``."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab.biomarkers.forest import (
    BLUE,
    GREY,
    LIGHT,
    METRICS,
    MOST_ROWS,
    NO_INFORMATION,
    ORANGE,
    check_table,
    column_of,
    draw_interval,
    look_of,
    mark_no_information,
    name_rows,
    numbers,
    places_of,
    room_for,
    width_of,
    write_beside,
)
from pm_lab.errors import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pm_lab.biomarkers.controls import PermutationNull
    from pm_lab.biomarkers.explanation import Explanation
    from pm_lab.biomarkers.nested import NestedResult


def plot_scores(result: NestedResult, summary: pd.DataFrame | None = None) -> Figure:
    """Show how models did in nested cross-validation: each fold, and all patients with an interval.

    Parameters
    ----------
    result : of :func:`nested_cross_validate`.
    summary : ``result.summary()``, where it is at hand.

    Returns
    -------
    matplotlib.figure.Figure
        Small dots are folds; below them the score over all folds with its 95 % interval by patient. The
        clinical model is an orange square.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.load("gse7390")
    >>> result = pm.biomarkers.nested_cross_validate(cohort, "dmfs", ["clinical"], clinical=["age", "size"])
    >>> figure = pm.biomarkers.plot_scores(result)
    """
    metric = result.outcome.metric
    columns = [metric, "low", "high"]
    summary = result.summary() if summary is None else summary
    check_table(summary, "nested_cross_validate (summary)", *columns)
    names = [str(name) for name in summary.index]
    figure, ax = _rows(names, 0.55)
    for place, name in zip(places_of(len(names)), names, strict=True):
        folds = result.scores.loc[result.scores["model"] == name, metric]
        ax.scatter(folds, np.full(len(folds), place + 0.2), s=16, color=LIGHT, linewidths=0)
        draw_interval(ax, place - 0.1, summary.loc[name, columns], *look_of(name))
    name_rows(ax, names)
    texts = [numbers(*row) for row in summary[columns].to_numpy()]
    write_beside(ax, places_of(len(names)), texts)
    mark_no_information(ax, metric)
    n_folds = int((result.scores["model"] == names[0]).sum())
    ax.set_title(
        f"{result.outcome.name}, nested cross-validation; dots are {n_folds} folds", fontsize=10, loc="left"
    )
    words = "; ".join(f"{name} {text}" for name, text in zip(names, texts, strict=True))
    figure.set_label(f"{METRICS[metric]} in nested cross-validation: {words}.")
    return figure


def plot_optimism(table: pd.DataFrame) -> Figure:
    """Show the same model judged in four ways, and by how much three of them flatter it.

    Parameters
    ----------
    table : of :func:`optimism`.

    Returns
    -------
    matplotlib.figure.Figure
        The nested score is the blue diamond; lines are the differences from it.

    Examples
    --------
    >>> import pm_lab as pm
    >>> table = pm.biomarkers.optimism(pm.datasets.load("gse7390"), "dmfs")
    >>> figure = pm.biomarkers.plot_optimism(table)
    """
    check_table(table, "optimism", "optimism")
    metric = column_of(table, METRICS, "optimism")
    if "nested" not in table.index:
        raise DataError("the table has no row 'nested', with which the others are compared.")
    names, honest = [str(name) for name in table.index], float(table.loc["nested", metric])
    figure, ax = _rows(names, 0.42)
    ax.axvline(honest, color=BLUE, linewidth=0.8)
    texts = []
    for place, name in zip(places_of(len(names)), names, strict=True):
        value, colour, marker = table.loc[name, metric], *((BLUE, "D") if name == "nested" else (ORANGE, "o"))
        ax.hlines(place, *sorted((honest, value)), color=ORANGE, linewidth=2)
        ax.scatter(value, place, s=60, zorder=3, color=colour, marker=marker)
        more = "" if name == "nested" else f" ({table.loc[name, 'optimism']:+.2f})"
        texts.append(f"{value:.2f}{more}")
    name_rows(ax, [f"{name} (honest)" if name == "nested" else name for name in names])
    ax.get_yticklabels()[names.index("nested")].set(fontweight="bold", color=BLUE)
    write_beside(ax, places_of(len(names)), texts)
    mark_no_information(ax, metric)
    ax.set_xlabel(f"{METRICS[metric]} (dashed: no information)")
    ax.set_title(
        "one model, judged in several ways; in brackets, what a shortcut adds", fontsize=10, loc="left"
    )
    words = "; ".join(f"{name} {text}" for name, text in zip(names, texts, strict=True))
    figure.set_label(f"{METRICS[metric]} of one model: {words}.")
    return figure


def plot_permutation_null(null: PermutationNull) -> Figure:
    """Show what the whole pipeline scores on permuted outcomes, and what it scored on the true ones.

    Parameters
    ----------
    null : of :func:`permutation_null`.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.load("gse7390")
    >>> null = pm.biomarkers.permutation_null(cohort, "dmfs", n_permutations=5)
    >>> figure = pm.biomarkers.plot_permutation_null(null)
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    n, metric, nothing = len(null.null), METRICS[null.metric], NO_INFORMATION[null.metric]
    figure = Figure(figsize=(7, 3.8), layout="constrained")
    ax = figure.subplots()
    ax.hist(null.null, bins=int(np.clip(n / 3, 5, 30)), color=LIGHT, edgecolor="white")
    for value, other, colour, width, text in (
        (null.observed, nothing, ORANGE, 2.5, f"observed {null.observed:.2f}"),
        (nothing, null.observed, GREY, 1, f"no information {nothing:g}"),
    ):
        ax.axvline(value, color=colour, linewidth=width, linestyle="-" if width > 1 else "--")
        room_for(ax, value)
        right = value >= other  # the two texts stand on the outer sides
        ax.annotate(
            text, (value, 0.98), (5 if right else -5, 0), ("data", "axes fraction"), "offset points",
            color=colour, va="top", ha="left" if right else "right",
        )  # fmt: skip
    ax.set_ylim(0, 1.15 * ax.get_ylim()[1])  # above the bars, for the texts
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel=f"mean {metric} over folds, outcomes permuted", ylabel="permutations")
    ax.spines[["top", "right"]].set_visible(False)
    reached = int((null.null >= null.observed).sum())
    words = f"{reached or 'none'} of {n} permuted outcomes {'score' if reached > 1 else 'scores'} as high"
    least = " (the least that so many can show)" if reached == 0 else ""
    ax.set_title(f"{null.model}: {words},\np = {null.p_value:.2g}{least}", fontsize=10, loc="left")
    figure.set_label(
        f"{metric} of {null.model} {null.observed:.2f}; under permuted outcomes {null.null.mean():.2f} on "
        f"average; {words}, p = {null.p_value:.2g}."
    )
    return figure


def plot_stability(table: pd.DataFrame, n: int = 30) -> Figure:
    """Show how often the first genes were taken in halves of the cohort, and which are selected.

    Parameters
    ----------
    table : of :func:`stability_selection`.
    n : genes shown, 60 at most.

    Returns
    -------
    matplotlib.figure.Figure
        Triangles that point right are genes that are higher with the event, class or number, those that
        point left lower; selected genes are filled.

    Examples
    --------
    >>> import pm_lab as pm
    >>> table = pm.biomarkers.stability_selection(pm.datasets.load("gse7390"), "dmfs", n_pairs=10)
    >>> figure = pm.biomarkers.plot_stability(table)
    """
    check_table(table.iloc[:1], "stability_selection", "frequency", "selected", "direction")
    if "threshold" not in table.attrs:
        raise DataError(
            "the table has lost its attrs (threshold, bound). Pass it as stability_selection gave it."
        )
    shown = table.iloc[: min(n, MOST_ROWS)]
    names = [str(name) for name in shown.index]
    figure, ax = _rows(names, 0.21)
    places = places_of(len(shown))
    ax.hlines(places, 0, shown["frequency"], color=LIGHT, linewidth=0.8)
    for is_up, colour, marker, word in ((True, ORANGE, ">", "higher"), (False, BLUE, "<", "lower")):
        for selected, note, face in ((True, ", selected", colour), (False, ", not selected", "white")):
            rows = (((shown["direction"] >= 0) == is_up) & (shown["selected"] == selected)).to_numpy()
            ax.scatter(
                shown["frequency"][rows], places[rows], marker=marker, s=42, zorder=3, facecolor=face,
                edgecolor=colour, label=f"{word} with the outcome{note}" if rows.any() else None,
            )  # fmt: skip
    name_rows(ax, names, fontsize=8)
    ax.set(xlim=(0, 1.03), xlabel="share of the halves of the cohort in which the gene was taken")
    if np.isfinite(table.attrs["threshold"]):
        ax.axvline(table.attrs["threshold"], color=GREY, linewidth=1, linestyle="--", label="threshold")
    figure.legend(frameon=False, loc="outside lower center", ncols=2, fontsize=8)
    words = _selected_in_words(table, len(shown))
    ax.set_title("\n".join(words), fontsize=10, loc="left")
    figure.set_label(f"{'; '.join(words)}. First: {', '.join(names[:5])}.")
    return figure


def _selected_in_words(table: pd.DataFrame, n_shown: int) -> tuple[str, str]:
    attrs, n = table.attrs, int(table["selected"].sum())
    found = f"{n:,} of {attrs['n_candidates']:,} genes selected"
    found += f" ({n_shown} shown)" if n > n_shown else ""
    if not np.isfinite(attrs["threshold"]):
        return found, "no threshold keeps the bound that was asked for"
    bound, without = (
        f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
        for value in (attrs["bound"], attrs["bound_without_assumption"])
    )
    share = "all" if attrs["threshold"] == 1 else f"at least {attrs['threshold']:.0%} of"
    return (
        f"{found}: taken in {share} {2 * attrs['n_pairs']} halves",
        f"at most {bound} false ones expected ({without} if shares are not unimodal)",
    )


def plot_panel_sizes(table: pd.DataFrame) -> Figure:
    """Show how a panel's score grows with its genes, and which size was chosen.

    Parameters
    ----------
    table : the second result of :func:`minimal_panel`.

    Returns
    -------
    matplotlib.figure.Figure
        Bars are standard errors over the folds of one repeat; the dashed line is one standard error below the
        best size.

    Examples
    --------
    >>> import pm_lab as pm
    >>> _, table = pm.biomarkers.minimal_panel(pm.datasets.load("gse7390"), "dmfs", sizes=[1, 3, 10])
    >>> figure = pm.biomarkers.plot_panel_sizes(table)
    """
    from matplotlib.figure import Figure

    check_table(table, "minimal_panel", "standard_error", "chosen")
    metric = column_of(table, METRICS, "minimal_panel")
    best, chosen = table[metric].idxmax(), table.index[table["chosen"]][0]
    limit = table.loc[best, metric] - table.loc[best, "standard_error"]
    figure = Figure(figsize=(7, 4), layout="constrained")
    ax = figure.subplots()
    ax.errorbar(
        table.index, table[metric], table["standard_error"], color=BLUE, marker="o", capsize=3, linewidth=1.2
    )
    ax.scatter(
        chosen, table.loc[chosen, metric], s=190, facecolor="none", edgecolor=ORANGE, linewidth=2, zorder=4,
        label=f"chosen: {chosen} {'gene' if chosen == 1 else 'genes'}, {table.loc[chosen, metric]:.2f}",
    )  # fmt: skip
    ax.axhline(limit, color=ORANGE, linewidth=1, linestyle="--", label="best size less one standard error")
    ax.set_xscale("log")
    ax.set_xticks(table.index, [str(size) for size in table.index])
    ax.minorticks_off()
    ax.set(xlabel="genes in the panel (log scale)", ylabel=f"{METRICS[metric]}, patients not learnt from")
    ax.set_title("the smallest size within one standard error of the best", fontsize=10)
    ax.legend(frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    figure.set_label(
        f"{METRICS[metric]} of panels of {', '.join(map(str, table.index))} genes: best {best} "
        f"({table.loc[best, metric]:.2f}), chosen {chosen} ({table.loc[chosen, metric]:.2f})."
    )
    return figure


def plot_explanation(explanation: Explanation, n: int = 12) -> Figure:
    """Show what a model leans on, and beside it how one patient's score comes about.

    Parameters
    ----------
    explanation : of :func:`explain`.
    n : groups shown, 60 at most.

    Returns
    -------
    matplotlib.figure.Figure
        Left, the fall of the metric when a group of features is shuffled, with its SD over folds. Right,
        where a patient was explained, the way from an average patient to this one.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.load("gse7390")
    >>> found = pm.biomarkers.explain(cohort, "dmfs", patient="GSE7390_001", n_shuffles=1)
    >>> figure = pm.biomarkers.plot_explanation(found)
    """
    from matplotlib.figure import Figure

    if explanation.importance.empty:
        raise DataError("the model uses no feature in any fold: there is nothing to explain.")
    n = min(n, MOST_ROWS)
    shown, record = explanation.importance.iloc[:n], explanation.record
    with_patient = explanation.patient is not None
    members = explanation.groups.value_counts()
    names = [_group_name(name, members) for name in shown["group"]]
    width = (12 if with_patient else 7) + (1 + with_patient) * width_of(names)
    figure = Figure(figsize=(width, 1.9 + 0.29 * max(len(names), 6)), layout="constrained")
    axes = figure.subplots(1, 1 + with_patient, squeeze=False)[0]
    _importances(axes[0], shown, names, record)
    words = f"{record['model']} leans most on {', '.join(shown['group'][:3])}"
    if with_patient:
        _waterfall(axes[1], explanation, members, n)
        words += f"; {record['patient']}: {explanation.prediction:z.2f}, average {explanation.baseline:z.2f}"
    figure.supxlabel(textwrap.fill(explanation.note, int(13 * width)), fontsize=8, color=GREY)
    figure.set_label(f"{words}. {explanation.note}")
    return figure


def _importances(ax: Axes, shown: pd.DataFrame, names: list[str], record: dict) -> None:
    places = places_of(len(shown))
    ax.barh(places, shown["importance"], xerr=shown["sd"], color=BLUE, ecolor="black", height=0.6)
    ax.axvline(0, color=GREY, linewidth=0.8)
    name_rows(ax, names)
    ax.set_xlabel(f"fall of the {METRICS[record['metric']]} when shuffled (line: SD over folds)")
    ax.set_title(
        f"{record['model']}, {record['outcome']}: \nwhat the model leans on", fontsize=10, loc="left"
    )


def _waterfall(ax: Axes, explanation: Explanation, members: pd.Series, n: int) -> None:
    contribution = explanation.patient_by_group()
    names = [_group_name(name, members, explanation.patient) for name in contribution.index[:n]]
    steps = list(contribution.iloc[:n])
    if len(contribution) > n:
        names.append(f"{len(contribution) - n} other{' groups' if len(contribution) > n + 1 else ' group'}")
        steps.append(contribution.iloc[n:].sum())
    ends = explanation.baseline + np.cumsum(steps)
    starts = ends - steps
    places = places_of(len(steps))
    colours = [ORANGE if step > 0 else BLUE for step in steps]
    ax.barh(places, steps, left=starts, color=colours, height=0.6)
    for place, start, end, step in zip(places, starts, ends, steps, strict=True):
        ax.text(max(start, end), place, f" {step:+.2f}", va="center", fontsize=8)
    for value in (explanation.baseline, explanation.prediction):
        ax.axvline(value, color=GREY, linewidth=0.8, linestyle="--")
    name_rows(ax, names)
    low, high = min(*starts, *ends), max(*starts, *ends)
    ax.set_xlim(low - 0.05 * (high - low), high + 0.14 * (high - low))  # right of the bars, for the numbers
    ax.set_xlabel(explanation.record["scale"])
    title = f"{explanation.record['patient']}: {explanation.prediction:z.2f}"
    ax.set_title(f"{title},\nfrom an average of {explanation.baseline:z.2f}", fontsize=10, loc="left")


def _group_name(name: str, members: pd.Series, patient: pd.DataFrame | None = None) -> str:
    if members[name] > 1:
        return f"{name} + {members[name] - 1} correlated"
    return name if patient is None else f"{name} ({patient.loc[name, 'value']:+.1f} SD)"


def _rows(names: list[str], height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    size = (7.5 + width_of(names), 1.3 + height * len(names))
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots()
