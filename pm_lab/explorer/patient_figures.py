"""Static figures of one patient and of one gene."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .figures import COLOURS, GREY, INK, MOST_DOTS, PALE, drawing, new_figure, short
from .small_counts import suppress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .gene import GeneByGroup, GeneInCells
    from .patient import PatientCells

MARKS = {"start": "|", "event": "X", "competing event": "X", "censored": "o", "entry": ">"}
MOST_CELLS = 20_000  # in grey behind the patient's own


@drawing()
def positions_figure(table: pd.DataFrame, title: str, width: float = 3.5) -> Figure:
    """Where one patient stands within the cohort, a row each: ``name`` and ``percentile``."""
    table = table.dropna(subset=["percentile"])
    figure = new_figure(width, 0.55 + 0.165 * len(table))
    ax = figure.subplots()
    place, value = np.arange(len(table)), table["percentile"].to_numpy(float)
    ax.hlines(place, 0, 100, color=PALE, linewidth=1)
    ax.hlines(place, 50, value, color=COLOURS[0], linewidth=2)
    ax.plot(value, place, "o", color=COLOURS[0], markersize=4)
    ax.axvline(50, color=GREY, linewidth=0.7)
    ax.set(xlim=(-1, 101), xticks=[0, 25, 50, 75, 100])
    ax.set_xlabel(title, labelpad=1)
    _rows(ax, table["name"])
    words = [f"{name} {percentile:.0f}" for name, percentile in zip(table["name"], value, strict=True)]
    figure.set_label(f"{title}: {', '.join(words) or 'nothing known'}.")
    return figure


def _rows(ax, names) -> None:
    """One row a name, from above."""
    ax.set_yticks(np.arange(len(names)), [short(name, 32) for name in names], fontsize=7)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)


@drawing()
def timeline_figure(table: pd.DataFrame, width: float = 3.5) -> Figure:
    """A patient's events, a row each, along time from time zero."""
    apart = table[table["time"].isna()]  # dates that no number of days leads to
    table = table.drop(apart.index)
    days = table["days"].notna().all()
    unit = table["unit"].iloc[0] if len(table) else ""
    if days and len(table) and (table["unit"] != unit).any():
        time, unit = table["days"], "days"
    else:
        time = table["time"]
    figure = new_figure(width, 0.55 + 0.2 * len(table))
    ax = figure.subplots()
    low, high = min(0.0, time.min()), max(time.max(), 1e-9)
    for row, (when, kind) in enumerate(zip(time, table["kind"], strict=True)):
        colour = COLOURS[1] if "event" in kind else COLOURS[0]
        face = "white" if kind == "censored" else colour
        ax.hlines(row, low, when, color=PALE, linewidth=1)
        look = {"markersize": 6, "markerfacecolor": face, "markeredgecolor": colour}
        ax.plot([when], [row], MARKS.get(kind, "D"), **look)
        right = when > low + 0.75 * (high - low)
        offset, side = (-6, "right") if right else (6, "left")
        place = {"xytext": (offset, 0), "textcoords": "offset points", "ha": side, "va": "center"}
        ax.annotate(f"{when:.3g}", (when, row), fontsize=7, color=INK, **place)
    _rows(ax, table["what"])
    ax.set_xlim(low - 0.03 * (high - low), high + 0.03 * (high - low))
    ax.set_xlabel(f"time, {unit}", labelpad=1)
    parts = [f"{what} at {when:.3g}" for what, when in zip(table["what"], time, strict=True)]
    if dated := [f"{one.what} {one.date:%Y-%m-%d}" for one in apart.itertuples()]:
        parts.append(f"time zero has no known date, so apart: {', '.join(dated)}")
        ax.set_title(textwrap.fill(parts[-1], 60), fontsize=6.5)
    figure.set_label(f"Timeline in {unit}: {'; '.join(parts)}.")
    return figure


@drawing()
def composition_figure(types: pd.DataFrame, width: float = 3.5) -> Figure:
    """Shares of a patient's cells by type, beside the median of the cohort's patients."""
    figure = new_figure(width, 0.6 + 0.165 * len(types))
    ax = figure.subplots()
    place = np.arange(len(types))
    ax.barh(place, 100 * types["fraction"].to_numpy(float), 0.7, color=COLOURS[5])
    middle = 100 * types["median"].to_numpy(float)
    ax.plot(middle, place, "|", color=COLOURS[1], markersize=9, markeredgewidth=2)
    _rows(ax, types["cell_type"])
    ax.set_xlabel("% of the patient's cells", labelpad=1)
    ax.set_title("blue: this patient; orange: median of patients", fontsize=7)
    parts = [f"{row.cell_type} {100 * row.fraction:.0f} %" for row in types.itertuples()]
    figure.set_label(f"Cells by type: {', '.join(parts)}.")
    return figure


@drawing()
def cells_figure(cells: PatientCells) -> Figure:
    """The patient's cells within all cells."""
    figure = new_figure(3.2, 3.0)
    ax = figure.subplots()
    step = max(1, -(-len(cells.embedding) // MOST_CELLS))
    behind, own = cells.embedding[::step], cells.embedding[cells.rows]
    ax.scatter(*behind.T, s=2, color=PALE, linewidths=0, rasterized=True, label="all cells")
    ax.scatter(*own.T, s=4, color=COLOURS[0], linewidths=0, rasterized=len(own) > MOST_DOTS, label="patient")
    ax.set(xticks=[], yticks=[], xlabel="UMAP 1", ylabel="UMAP 2")
    ax.legend(fontsize=7, markerscale=3, loc="best", handletextpad=0.2)
    figure.set_label(f"UMAP of all cells; {len(own):,} of {len(cells.embedding):,} are the patient's.")
    return figure


@drawing()
def drugs_figure(table: pd.DataFrame, measure: str, most: int = 15) -> Figure:
    """Predicted responses with their intervals, in the order of the ranking."""
    table = table.head(most)
    figure = new_figure(4.2, 0.9 + 0.18 * len(table))
    ax = figure.subplots()
    place = np.arange(len(table))
    outside = table.get("out_of_distribution", pd.Series(False, table.index)).to_numpy(bool)
    for rows, colour, mark, label in (
        (~outside, COLOURS[0], "o", "within what was learnt"),
        (outside, COLOURS[1], "D", "unlike the lines: how well is not known"),
    ):
        if rows.any():
            if "lower" in table:
                ax.hlines(place[rows], table["lower"][rows], table["upper"][rows], color=colour)
            ax.plot(table[measure][rows], place[rows], mark, color=colour, markersize=4, label=label)
    _rows(ax, table["drug"])
    ax.set_xlabel("predicted ln IC50 (µM), with interval" if measure == "ln_ic50" else f"predicted {measure}")
    ax.set_title("A research ranking, never a recommendation", fontsize=7)
    figure.legend(fontsize=6.5, loc="outside lower center", ncols=2, borderpad=0.1)
    names = list(table["drug"])
    if "percentile" in table:
        known = table["percentile"].notna()
        numbers = [
            f"{value:.0f}" if there else "–" for value, there in zip(table["percentile"], known, strict=True)
        ]
        right = ax.secondary_yaxis("right")
        right.set_yticks(place, numbers, fontsize=7)
        right.tick_params(length=0)
        right.spines["right"].set_visible(False)
        ax.annotate(
            "percentile",
            (1, 1),
            xycoords="axes fraction",
            xytext=(4, 3),
            textcoords="offset points",
            fontsize=7,
        )
        names = [f"{name} (percentile {n})" for name, n in zip(names, numbers, strict=True)]
    figure.set_label(f"Drugs in the order of a research ranking, no advice: {', '.join(names)}.")
    return figure


@drawing()
def gene_groups_figure(found: GeneByGroup, least: int) -> Figure:
    """Quantiles of a gene by group; groups of few people are named and not drawn.

    With the total known, how many are in a small group could follow from the others: one of them is hidden.
    """
    table = found.table
    figure = new_figure(3.8, 0.75 + 0.3 * len(table))
    ax = figure.subplots()
    enough = (table["n"] >= max(least, 1)).to_numpy()
    place = np.arange(len(table))
    drawn = table[enough]
    ax.hlines(place[enough], drawn["q05"], drawn["q95"], color=GREY, linewidth=1)
    ax.barh(place[enough], drawn["q75"] - drawn["q25"], 0.5, drawn["q25"], color=COLOURS[5])
    ax.plot(drawn["median"], place[enough], "|", color=INK, markersize=10, markeredgewidth=2)
    sizes = suppress(table["n"], least)
    names = [f"{short(group, 24)} ({n})" for group, n in zip(table["group"], sizes, strict=True)]
    _rows(ax, names)
    ax.set_xlabel(short(f"{found.gene}, {found.unit}", 60))
    ax.set_title("median, quartiles, 5 to 95 %", fontsize=7)
    parts = [f"{row.group} median {row.median:.3g}" for row in drawn.itertuples()]
    figure.set_label(f"{found.gene} by group: {', '.join(parts) or 'too few people'}.")
    return figure


@drawing()
def gene_cells_figure(found: GeneInCells, least: int) -> Figure:
    """Mean of a gene in cells by type, quartiles over patients; types of few patients are left out."""
    table = found.by_type[found.by_type["n_patients"] >= max(least, 1)]
    figure = new_figure(3.8, 0.75 + 0.2 * len(table))
    ax = figure.subplots()
    place = np.arange(len(table))
    ax.hlines(place, table["lower"], table["upper"], color=GREY)
    ax.plot(table["mean"], place, "o", color=COLOURS[0], markersize=5)
    _rows(ax, table["cell_type"])
    ax.set_xlabel(short(f"{found.gene}, {found.unit}", 60))
    ax.set_title("mean of patients' means, quartiles over patients", fontsize=7)
    parts = [f"{row.cell_type} {row.mean:.3g}" for row in table.itertuples()]
    figure.set_label(f"{found.gene} in cells by type: {', '.join(parts)}.")
    return figure
