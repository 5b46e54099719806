"""Static matplotlib figures of the explorer's views, for exports and reports.

They are drawn from the same numbers as the charts on the screen. ``figure.get_label()`` says in words what a
figure shows.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .disclosure import coarse_curve, edge_labels, shown_at_risk, shown_counts
from .summaries import GENE, Bars, Curve, Histogram, as_numbers, bars, histogram, round_edges

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .disclosure import Disclosure
    from .state import CohortState

# Okabe and Ito's colours, which colour-blind people can tell apart.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#332288", "#882255"]
DASHES = ["-", "--", "-.", ":"]
PALE, GREY, INK = "#C9D5DE", "#7A8894", "#1B2733"
BINS = (15, 10, 8, 6, 5, 4, 3)  # of a histogram in print
MOST_HIDDEN = 0.1  # of the people, by small bins
MOST_BARS = 8  # of a category in print; how many have another one is said
MOST_DOTS = 3_000  # more of them are drawn as pixels in vector files
MOST_LABEL = 28  # characters of a name beside an axis
MOST_NAME = 160  # of a group in a legend, where it is wrapped: its thresholds must be read
LETTERS = 16  # of a legend, in an inch
FEW = "hatched: hidden (few people, or few could be worked out)"


@contextmanager
def drawing() -> Iterator[None]:
    """Settings under which figures are made and saved: text stays text, names are never read as formulas."""
    import matplotlib

    settings = {
        "svg.fonttype": "none",
        "svg.hashsalt": "pm_lab",
        "pdf.fonttype": 42,
        "text.parse_math": False,
        "font.family": "sans-serif",
        "font.size": 8,
        "axes.titlesize": 8,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": GREY,
        "axes.labelcolor": INK,
        "text.color": INK,
        "xtick.color": GREY,
        "ytick.color": GREY,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "hatch.linewidth": 0.6,
        "hatch.color": GREY,
        "legend.frameon": False,
    }
    with matplotlib.rc_context(settings):
        yield


def file_name(name: str) -> str:
    """A column's name as part of a file name."""
    return re.sub(r"[^0-9A-Za-z_]+", "_", name).strip("_")[:60] or "column"


def short(name: object, most: int = MOST_LABEL) -> str:
    """A name cut to what fits beside an axis."""
    text = " ".join(str(name).split())
    return text if len(text) <= most else text[: most - 1] + "…"


def new_figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


@dataclass(frozen=True)
class Panel:
    """A chart and what its axis needs: the unit of genes, and whether a histogram is of dates."""

    chart: Histogram | Bars
    unit: str = ""
    dates: bool = False
    differing: tuple[Histogram | Bars, ...] = ()

    @classmethod
    def of(cls, state: CohortState, column: str, rules: Disclosure) -> Panel:
        """The chart of a column or gene, in bins that leave most of the people shown.

        On the screen a chart leaves its own filter out, so that it can be moved; here all filters hold.
        """
        gene = column.startswith(GENE)
        kind = "number" if gene else state.data.columns[column].kind

        def drawn(mask: np.ndarray) -> Histogram | Bars:
            filtered = SimpleNamespace(data=state.data, mask_without=lambda key: mask)
            return bars(filtered, column) if kind == "category" else _readable(filtered, column, rules)

        differing: tuple = ()
        if rules.least and rules.filtered:
            differing = tuple(drawn(state.mask ^ other) for other in state.data.shared.before(state.mask))
        return cls(drawn(state.mask), state.data.unit if gene else "", kind == "date", differing)

    @property
    def name(self) -> str:
        return self.chart.column.removeprefix(GENE)

    def counts(self, rules: Disclosure) -> pd.DataFrame:
        return shown_counts(self.chart, rules, self.dates, self.differing)

    def words(self, rules: Disclosure) -> str:
        """Where most of the people are."""
        counts = self.counts(rules)
        known = counts["everyone"].dropna()
        if known.empty or known.max() == 0:
            return f"{self.name}: no count of people can be shown."
        parts = [f"{label} {int(n):,}" for label, n in known.sort_values(ascending=False).head(3).items()]
        return f"{self.name}, patients: {', '.join(parts)}{', and others' if len(counts) > 3 else ''}."


def _readable(state, column: str, rules: Disclosure) -> Histogram:
    """The histogram with the most bins among those that hide few people, of all patients."""
    tried = []
    for bins in BINS:
        few = rules.least
        made = _open_ended(state, column, bins, few) if few else histogram(state, column, bins)
        share = made.everyone[made.everyone < few].sum() / max(made.everyone.sum(), 1)
        if share <= MOST_HIDDEN:
            return made
        tried.append((share, made))
    return min(tried, key=lambda pair: pair[0])[1]


def _open_ended(state, column: str, bins: int, least: int) -> Histogram:
    """A histogram whose limits are those of no few people: the first and last bins hold ``least`` or more.

    They have no end where somebody is beyond the ``least``-th smallest or largest value by a bin or more.
    """
    data, gene = state.data, column.startswith(GENE)
    values = data.gene(column.removeprefix(GENE)) if gene else as_numbers(data.column(column))
    values = np.asarray(values, float)
    known = np.sort(values[np.isfinite(values)])
    place = min(least, (len(known) + 1) // 2)
    edges = round_edges(known[place - 1 : len(known) - place + 1], bins)
    if len(known):
        edges[0] = -np.inf if known[0] < edges[0] else edges[0]
        edges[-1] = np.inf if known[-1] >= edges[-1] else edges[-1]
    codes = np.searchsorted(edges[1:-1], values, side="right")
    codes = np.where(np.isfinite(values), codes, len(edges) - 1)
    everyone = np.bincount(codes, minlength=len(edges))
    selected = np.bincount(codes[state.mask_without(column)], minlength=len(edges))
    return Histogram(column, edges, everyone[:-1], selected[:-1], int(everyone[-1]), int(selected[-1]))


@drawing()
def charts_figure(
    panels: list[Panel], rules: Disclosure, columns: int = 3, size: tuple[float, float] = (2.45, 1.62)
) -> Figure:
    """Several columns' charts side by side, each of this size."""
    rows = -(-len(panels) // columns)
    figure = new_figure(size[0] * columns + 0.5 * (columns == 1), size[1] * rows + 0.2)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    hidden = [draw_chart(ax, panel, rules) for ax, panel in zip(axes, panels, strict=False)]
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    if any(hidden):
        figure.supxlabel(FEW, fontsize=6.5, color=GREY)
    words = [panel.words(rules) for panel in panels] + [f"{FEW.capitalize()}."] * any(hidden)
    figure.set_label(" ".join(words))
    return figure


def draw_chart(ax: Axes, panel: Panel, rules: Disclosure) -> bool:
    """Draw a chart; whether something in it is hidden."""
    counts = panel.counts(rules)
    across = isinstance(panel.chart, Bars)
    if across:
        counts = _merged(counts)
    place = np.arange(len(counts))
    for column, colour in (("everyone", PALE), ("selected", COLOURS[0])):
        if column == "everyone" or rules.filtered:
            _draw_counts(ax, place, counts[column], colour, across, max(rules.least, 1))
    _name_axes(ax, panel, counts, across)
    return bool(counts["everyone"].isna().any() or (rules.filtered and counts["selected"].isna().any()))


def _draw_counts(ax: Axes, place, counts: pd.Series, colour: str, across: bool, low: int) -> None:
    """Bars of what is shown; those hidden are hatched, all of the same height."""
    known = counts.notna().to_numpy()
    draw = ax.barh if across else ax.bar
    draw(place[known], counts[known], 0.86, color=colour)
    draw(
        place[~known],
        np.full((~known).sum(), low),
        0.86,
        facecolor="none",
        edgecolor=GREY,
        hatch="/////",
        linewidth=0.5,
    )


def _name_axes(ax: Axes, panel: Panel, counts: pd.DataFrame, across: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.set_title(short(panel.name, 34), fontweight="bold")
    if across:
        ax.set_yticks(np.arange(len(counts)), [short(label, 20) for label in counts.index])
        ax.set_ylim(max(len(counts), 3) - 0.4, -0.6)
        ax.set_xlabel("patients", labelpad=1)
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        return
    labels = edge_labels(panel.chart.edges, panel.dates)
    ticks = np.arange(0, len(labels), max(1, round((len(labels) - 1) / (2 if panel.dates else 5))))
    places, names = list(ticks - 0.5), [labels[i] for i in ticks]
    if panel.chart.missing_everyone:
        kept = [i for i in range(len(places)) if places[i] < len(labels) - 2.6]
        places, names = [*(places[i] for i in kept), len(counts) - 1], [*(names[i] for i in kept), "missing"]
    ax.set_xticks(places, names)
    ax.set_ylabel("patients", labelpad=1)
    ax.set_xlabel(short(panel.unit, 40), labelpad=1)
    ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))


def _merged(counts: pd.DataFrame) -> pd.DataFrame:
    """The most frequent categories; of the rest only how many people they have, if that may be shown."""
    if len(counts) <= MOST_BARS:
        return counts
    order = counts["everyone"].fillna(0).sort_values(ascending=False, kind="stable").index
    first = counts.loc[[name for name in counts.index if name in set(order[: MOST_BARS - 1])]]
    rest = counts.drop(index=first.index)["everyone"]
    known = "" if rest.isna().any() else f": {int(rest.sum()):,}"
    first.loc[f"{len(rest):,} others{known}"] = 0.0
    return first


@drawing()
def survival_figure(
    curves: list[Curve],
    at_risk: list[np.ndarray],
    rules: Disclosure,
    title: str = "",
    width: float = 3.6,
    height: float = 2.4,
) -> Figure:
    """Curves with bands and the numbers at risk below; ``at_risk`` is that of each point of each curve.

    ``height`` is without the legend and the numbers at risk.
    With small counts hidden curves are those of :func:`shared_curves.shown_curves`.
    """
    groups = list({curve.name: curve for curve in curves}.values())
    labels = [_labelled(curve, rules, width) for curve in curves]
    lines = sum(label.count("\n") + 1 for label in labels)
    figure = new_figure(width, height + 0.15 * len(groups) + 0.13 * lines)
    ax, table = figure.subplots(2, 1, height_ratios=[10, 0.9 + 0.85 * len(groups)], sharex=True)
    unit, incidence = curves[0].unit, curves[0].kind == "incidence"
    colour = {curve.name: COLOURS[i % len(COLOURS)] for i, curve in enumerate(groups)}
    causes = list(dict.fromkeys(curve.cause for curve in curves))
    for curve, numbers, label in zip(curves, at_risk, labels, strict=True):
        rows = coarse_curve(numbers, rules)
        style = DASHES[(causes.index(curve.cause) if incidence else groups.index(_of(groups, curve))) % 4]
        look = {"color": colour[curve.name], "linestyle": style}
        time = np.append(curve.time[rows], _last(curve, numbers, rules))
        ax.step(time, _extended(curve.survival[rows]), where="post", linewidth=1.3, label=label, **look)
        lower, upper = _extended(curve.lower[rows]), _extended(curve.upper[rows])
        ax.fill_between(time, lower, upper, step="post", color=colour[curve.name], alpha=0.13, lw=0)
    ends = [_last(curve, numbers, rules) for curve, numbers in zip(curves, at_risk, strict=True)]
    end = np.nanmax(ends) if np.isfinite(ends).any() else 1.0
    ax.set(ylim=(0, None if incidence else 1.03), xlim=(0, max(end, 1e-9) * 1.02))
    ax.set_ylabel("cumulative incidence" if incidence else "share without event")
    figure.legend(fontsize=7, loc="outside upper left", handlelength=1.8, borderpad=0.1)
    ax.tick_params(labelbottom=True)
    ax.set_xlabel(f"time, {unit}", labelpad=1)
    steps = f"steps of ≥{rules.least} events" if rules.least else ""
    if title or steps:
        ax.set_title(short("; ".join(filter(None, [title, steps])), int(22 * width)))
    _numbers_at_risk(table, groups, colour, rules, end)
    figure.set_label(survival_words(curves, at_risk, rules))
    return figure


def _labelled(curve: Curve, rules: Disclosure, width: float) -> str:
    """A curve in the legend, in as many lines as it needs."""
    cause = f", {short(curve.cause)}" if curve.kind == "incidence" else ""
    events = rules.events(curve.events, curve.n + curve.n_unknown, curve.cause)
    label = f"{short(curve.name, MOST_NAME)}{cause}: {events} with event"
    return textwrap.fill(label, int(LETTERS * width))


def _of(groups: list[Curve], curve: Curve) -> Curve:
    return next(group for group in groups if group.name == curve.name)


def _extended(values: np.ndarray) -> np.ndarray:
    return np.append(values, values[-1:]) if len(values) else np.array([np.nan])


def _last(curve: Curve, numbers: np.ndarray, rules: Disclosure) -> float:
    """Up to where a curve may be drawn: to its last point at which enough people are under observation."""
    enough = np.flatnonzero(numbers >= rules.least) if rules.least else np.arange(len(curve.time))
    return float(curve.time[enough[-1]]) if len(enough) else np.nan


def _people(curve: Curve) -> int | None:
    """All people of a curve's group; None where they enter later."""
    return curve.n + curve.n_unknown if len(curve.at_risk) and curve.at_risk[0] == curve.n else None


def _numbers_at_risk(ax: Axes, groups: list[Curve], colour: dict, rules: Disclosure, end: float) -> None:
    for row, curve in enumerate(groups):
        texts = shown_at_risk(curve.at_risk, rules, _people(curve))
        for tick, text in zip(curve.at_risk_times, texts, strict=True):
            if tick > end * 1.02:
                continue
            ax.text(tick, -row, text, ha="center", va="center", fontsize=7, color=colour[curve.name])
    ax.set(ylim=(-len(groups) + 0.4, 0.6))
    ax.set_yticks([-row for row in range(len(groups))], [_row_name(curve.name) for curve in groups])
    for label, curve in zip(ax.get_yticklabels(), groups, strict=True):
        label.set(color=colour[curve.name], fontsize=7)
    ax.set_title("number at risk", fontsize=7, pad=2, color=GREY)
    ax.tick_params(length=0, labelbottom=False)
    ax.tick_params(axis="y", pad=14)  # the first number stands around the left end of the axis
    ax.set_frame_on(False)


def _row_name(name: str) -> str:
    """Of a compared group its letter, which the legend explains: a cut name would lose its threshold."""
    return name[0] if name.startswith(("A: ", "B: ")) else short(name, 18)


def survival_words(curves: list[Curve], at_risk: list[np.ndarray], rules: Disclosure) -> str:
    """Curves in words: what each has come to where it is last shown."""
    parts = []
    for curve, numbers in zip(curves, at_risk, strict=True):
        rows = coarse_curve(numbers, rules)
        if len(rows):
            value, time = curve.survival[rows[-1]], curve.time[rows[-1]]
            cause = f", {curve.cause}" if curve.kind == "incidence" else ""
            parts.append(f"{curve.name}{cause} {value:.2f} at {time:,.4g} {curve.unit}")
        else:
            parts.append(f"{curve.name} hidden (fewer than {rules.least} with or without event)")
    what = "Cumulative incidence" if curves[0].kind == "incidence" else "Kaplan-Meier curves"
    return f"{what}: {'; '.join(parts)}."


@drawing()
def volcano_figure(
    table: pd.DataFrame, threshold: float = 0.05, most: int = 6, size: tuple[float, float] = (3.4, 2.5)
) -> Figure:
    """Difference of groups against its p-value, a dot a gene; those below the threshold are coloured."""
    from adjustText import adjust_text

    figure = new_figure(*size)
    ax = figure.subplots()
    table = table.dropna(subset=["p"])
    found = (table["padj"] < threshold).to_numpy()
    difference, log_p = table["difference"].to_numpy(), -np.log10(table["p"].to_numpy(float).clip(1e-300))
    for rows, colour, label in (
        (~found, PALE, f"others ({(~found).sum():,})"),
        (found, COLOURS[1], f"padj < {threshold:g} ({found.sum():,})"),
    ):
        look = {"s": 5, "color": colour, "linewidths": 0, "rasterized": len(table) > MOST_DOTS}
        ax.scatter(difference[rows], log_p[rows], label=label, **look)
    first = np.flatnonzero(found)[:most]  # the table is sorted by p
    texts = [ax.text(difference[i], log_p[i], short(table["gene"].iloc[i], 14), fontsize=6) for i in first]
    ax.axvline(0, color=GREY, linewidth=0.7)
    ax.set(xlabel="difference of means, A − B", ylabel="−log10 p")
    about = {"fontsize": 7, "markerscale": 2, "handletextpad": 0.2, "columnspacing": 0.8, "borderpad": 0.1}
    figure.legend(loc="outside upper left", ncols=2, **about)
    ax.set_ylim(0, 1.15 * max(log_p.max(initial=0), 1))
    if texts:
        figure.draw_without_rendering()  # the layout decides how much room there is
        adjust_text(texts, ax=ax, arrowprops={"arrowstyle": "-", "color": GREY, "lw": 0.4})
    figure.set_label(
        f"{found.sum():,} of {len(table):,} genes differ between A and B, padj < {threshold:g}; exploratory."
    )
    return figure


@drawing()
def differences_figure(table: pd.DataFrame, name: str, title: str, width: float = 3.4) -> Figure:
    """Differences between groups as bars, a row each; ``padj`` below .05 in colour."""
    figure = new_figure(width, 0.55 + 0.165 * len(table))
    ax = figure.subplots()
    place = np.arange(len(table))
    found = (table["padj"] < 0.05).to_numpy()
    colour = np.where(found, COLOURS[1], PALE)
    ax.barh(place, table["difference"].to_numpy(float), 0.7, color=colour)
    ax.axvline(0, color=GREY, linewidth=0.7)
    ax.set_yticks(place, [short(label, int(9.5 * width)) for label in table[name]], fontsize=7)
    ax.set(ylim=(len(table) - 0.4, -0.6))
    figure.supxlabel(title, fontsize=8, color=INK)
    ax.set_title("orange: padj < 0.05 (exploratory)", fontsize=7, loc="right")
    parts = [f"{row[0]} {row[1]:.2g}" for row in table[[name, "difference"]].head(3).itertuples(index=False)]
    figure.set_label(
        f"{title}: {', '.join(parts)}, and others; {found.sum():,} of {len(table):,} padj < 0.05."
    )
    return figure
