"""Forest plots of biomarkers: rows with an interval each, their names left and their numbers right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab.errors import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind people can tell apart; a second sign is in shape or words.
BLUE, ORANGE, GREY, LIGHT = "#0072B2", "#D55E00", "#666666", "#BBBBBB"
METRICS = {"c_index": "C-index", "auc": "AUC", "r2": "R²"}
NO_INFORMATION = {"c_index": 0.5, "auc": 0.5, "r2": 0.0}
EFFECTS = {
    "hazard_ratio_per_sd": "hazard ratio per SD of the score",
    "odds_ratio_per_sd": "odds ratio per SD of the score",
    "slope_per_sd": "slope per SD of the score",
}
MOST_ROWS = 60
TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20, 30, 50, 100)
BETWEEN = (0.3, 0.7, 1.5, 3, 30)  # ticks that a wide axis does without


def plot_external(table: pd.DataFrame) -> Figure:
    """Show how fixed scores did in other cohorts: the metric, and the effect of one SD, with intervals.

    Parameters
    ----------
    table : tables of :func:`external_validation` below one another, by model or by (cohort, model):
        ``pd.concat({"vdx": pd.concat([ours.table, theirs.table])}, names=["cohort"])``.

    Returns
    -------
    matplotlib.figure.Figure
        One row a model and cohort, as wide as the 95 % interval; clinical models are orange squares.

    Raises
    ------
    DataError
        When the table is not of :func:`external_validation`, mixes kinds of outcome, or is indexed otherwise.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.load("gse7390")
    >>> panel = pm.biomarkers.fit_panel(cohort[:120].copy(), "dmfs")
    >>> result = pm.biomarkers.external_validation(panel, cohort[120:].copy(), "dmfs")
    >>> figure = pm.biomarkers.plot_external(result.table)
    """
    check_table(table, "external_validation", "low", "high", "effect_low", "effect_high", "n", "n_events")
    metric, effect = (column_of(table, kinds, "external_validation") for kinds in (METRICS, EFFECTS))
    if table.index.nlevels > 2:
        raise DataError(f"the table is indexed by {list(table.index.names)}; by (cohort, model) is meant.")
    table = pd.concat({"": table}) if table.index.nlevels == 1 else table
    groups = {
        f"{name}{', ' if name else ''}{_size(part)}": part.droplevel(0)
        for name, part in table.groupby(level=0, sort=False)
    }
    figure, axes, places = _forest({header: list(part.index) for header, part in groups.items()}, 2)
    rows = pd.concat(list(groups.values()))
    columns = ([metric, "low", "high"], [effect, "effect_low", "effect_high"])
    for ax, names in zip(axes, columns, strict=True):
        values = rows[names].to_numpy(float)
        for place, model, row in zip(places, rows.index, values, strict=True):
            draw_interval(ax, place, row, *look_of(str(model)))
        texts = [numbers(*row) if np.isfinite(row).all() else "constant score" for row in values]
        write_beside(ax, places, texts)
    mark_no_information(axes[0], metric)
    _mark_effect(axes[1], effect)
    words = "; ".join(
        f"{cohort + ': ' if cohort else ''}{model} {numbers(*row)}"
        for (cohort, model), row in zip(table.index, table[columns[0]].to_numpy(float), strict=True)
    )
    figure.set_label(f"{METRICS[metric]} in other cohorts: {words}.")
    return figure


def _mark_effect(ax: Axes, effect: str) -> None:
    value = 0 if effect == "slope_per_sd" else 1
    ax.axvline(value, color=GREY, linewidth=0.8, linestyle="--")
    room_for(ax, value)
    if effect == "slope_per_sd":
        ax.set_xlabel(f"{EFFECTS[effect]} (dashed: none)")
        return
    ax.set_xscale("log")
    low, high = ax.get_xlim()
    ticks = [tick for tick in TICKS if low <= tick <= high]
    ax.set_xticks(ticks if len(ticks) < 6 else [tick for tick in ticks if tick not in BETWEEN])
    ax.xaxis.set_major_formatter(lambda tick, _: f"{tick:g}")
    ax.minorticks_off()
    ax.set_xlabel(f"{EFFECTS[effect]}, log scale (dashed: no effect)")


def _size(part: pd.DataFrame) -> str:
    n, events = part["n"].iloc[0], part["n_events"].iloc[0]
    if part["n"].nunique() > 1:
        return f"{part['n'].min():,} to {part['n'].max():,} patients"
    text = f"{n:,} {'patient' if n == 1 else 'patients'}"
    return text if events == n else f"{text}, {events:,} {'event' if events == 1 else 'events'}"


def plot_subgroups(table: pd.DataFrame) -> Figure:
    """Show how well a model does in each subgroup, beside how well it does in all patients.

    Parameters
    ----------
    table : of :func:`subgroup_performance`.

    Returns
    -------
    matplotlib.figure.Figure
        The line is the value of all patients. Orange diamonds are subgroups whose whole interval lies below
        it; those that are too small have no number.

    Raises
    ------
    DataError
        When the table is not of :func:`subgroup_performance`.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.load("gse7390")
    >>> result = pm.biomarkers.nested_cross_validate(cohort, "dmfs", ["clinical"], clinical=["grade", "size"])
    >>> figure = pm.biomarkers.plot_subgroups(pm.biomarkers.subgroup_performance(result, cohort, ["er"]))
    """
    check_table(table, "subgroup_performance", "n", "n_events", "low", "high", "note")
    metric = column_of(table, METRICS, "subgroup_performance")
    groups = {}
    for i, (column, level) in enumerate(table.index):
        header, name = ("", "all") if column == "all" else (str(column), str(level))
        groups.setdefault(header, []).append(f"{name} ({_size(table.iloc[[i]])})")
    figure, (ax,), places = _forest(groups, 1)
    ax.axvline(table[metric].iloc[0], color=BLUE, linewidth=0.8)
    values = table[[metric, "low", "high"]].to_numpy(float)
    for place, row, note in zip(places, values, table["note"], strict=True):
        draw_interval(ax, place, row, *((ORANGE, "D") if note == "worse" else (BLUE, "o")))
        text = note if note == "too few" else f"{numbers(*row)}  {note}".rstrip()
        write_beside(ax, [place], [text])
    mark_no_information(ax, metric, "blue: all patients, ")
    worse, few = (
        [f"{column} {level}" for column, level in table.index[table["note"] == note]]
        for note in ("worse", "too few")
    )
    if worse:
        ax.set_title("worse: the whole interval lies below all patients", fontsize=10, loc="left")
    figure.set_label(
        f"{METRICS[metric]} in {len(table) - 1} subgroups; worse: {', '.join(worse) or 'none seen'}; too few "
        f"patients to say: {', '.join(few) or 'none'}."
    )
    return figure


def _forest(groups: dict[str, list[str]], n_axes: int) -> tuple[Figure, list, np.ndarray]:
    """Axes that share rows; each group of rows stands below its name in bold. Places are of the rows."""
    from matplotlib.figure import Figure

    lines = []
    for header, rows in groups.items():
        lines += ([(header, True)] if header else []) + [(row, False) for row in rows]
    width = 4.8 + 3.6 * n_axes + width_of([line for line, _ in lines])
    figure = Figure(figsize=(width, 1.2 + 0.29 * max(3, len(lines))), layout="constrained")
    axes = figure.subplots(1, n_axes, sharey=True, squeeze=False)[0]
    places = places_of(len(lines))
    for ax in axes:
        name_rows(ax, [line for line, _ in lines])
        ax.locator_params(axis="x", nbins=6)
        ax.tick_params(axis="y", labelleft=ax is axes[0])
    for label, (_, bold) in zip(axes[0].get_yticklabels(), lines, strict=True):
        label.set_fontweight("bold" if bold else "normal")
    return figure, list(axes), places[[not bold for _, bold in lines]]


def check_table(table: pd.DataFrame, function: str, *needed: str) -> None:
    """Refuse a table of another function, and one with too many rows to read."""
    if not isinstance(table, pd.DataFrame):
        raise DataError(f"{type(table).__name__} is no table; pass that of pm.biomarkers.{function}.")
    lacking = [name for name in needed if name not in table]
    if lacking or table.empty:
        raise DataError(f"this is not a table of pm.biomarkers.{function}: it lacks {lacking or 'rows'}.")
    if len(table) > MOST_ROWS:
        raise DataError(f"{len(table):,} rows are too many to see; pass at most {MOST_ROWS}.")


def column_of(table: pd.DataFrame, kinds: dict[str, str], function: str) -> str:
    """The one of several columns that the table has, such as its metric."""
    held = [name for name in kinds if name in table]
    if not held:
        raise DataError(
            f"this is not a table of pm.biomarkers.{function}: it has none of {', '.join(kinds)}."
        )
    if len(held) > 1:
        raise DataError(f"the table mixes kinds of outcome ({', '.join(held)}): one figure for each.")
    return held[0]


def look_of(model: str) -> tuple[str, str]:
    """Colour and marker: the baseline to beat is not a model like others."""
    return (ORANGE, "s") if model.lower().startswith("clinical") else (BLUE, "o")


def places_of(n: int) -> np.ndarray:
    """Heights of rows, the first on top."""
    return np.arange(n)[::-1]


def name_rows(ax: Axes, names: list[str], fontsize: int = 9) -> None:
    """Names left of the rows, and no frame but the axis below."""
    ax.set_yticks(places_of(len(names)), names, fontsize=fontsize)
    ax.set_ylim(-0.6, len(names) - 0.4)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)


def width_of(names: list[str]) -> float:
    """Inches that long names need beyond the usual width."""
    return 0.07 * max(0, max(map(len, names)) - 28)


def draw_interval(ax: Axes, place: float, row, colour: str, marker: str) -> None:
    """Value, low and high as a marker on a line."""
    value, low, high = (float(number) for number in row)
    ax.hlines(place, low, high, color=colour, linewidth=1.8)
    ax.scatter(value, place, color=colour, marker=marker, s=45, zorder=3)


def numbers(value: float, low: float, high: float) -> str:
    """Value and interval as text."""
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


def write_beside(ax: Axes, places, texts: list[str]) -> None:
    """Text in a column right of the axes."""
    for place, text in zip(places, texts, strict=True):
        ax.text(1.02, place, text, transform=ax.get_yaxis_transform(), va="center", fontsize=9)


def mark_no_information(ax: Axes, metric: str, before: str = "") -> None:
    """A dashed line at the score of a coin, and what the axis means."""
    value = NO_INFORMATION[metric]
    ax.axvline(value, color=GREY, linewidth=0.8, linestyle="--")
    room_for(ax, value)
    ax.set_xlabel(f"{METRICS[metric]} with 95 % interval ({before}dashed: no information)")


def room_for(ax: Axes, value: float) -> None:
    """Limits that hold the value."""
    low, high = ax.get_xlim()
    ax.set_xlim(min(low, value - 0.03 * (high - low)), max(high, value + 0.03 * (high - low)))
