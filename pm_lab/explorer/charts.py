"""What the figures of the explorer show, worked out from its numbers: descriptions for :class:`LiveFigure`.

Why code of our own and neither bqplot nor plotly (first view of 10,000 patients in JupyterLab 4.6): plotly
7.1 sent 5.1 MB to the page, stood after 17 s, and a brush reached the counts in 2.3 s, later ones never;
bqplot 0.13.1 sent .16 MB and .98 MB of code, .01 to .09 s. But drawings of both have no role, name or place
in the tab order, nor can be given them from Python; bars filter by mouse alone; their traits stay in every
notebook saved with its widgets; embeddings, volcanos and tables would need jupyter-scatter (2.1 MB a figure,
WebGL, its points saved too) and itables (.6 MB). Here: 55 kB a page for all of them, HTML buttons and
sliders, data by message, the theme's own colours; points are painted without WebGL.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .disclosure import Disclosure, coarse_curve, shown_counts
from .filters import CategoryFilter, RangeFilter, RowsFilter
from .small_counts import LEAST, suppress
from .small_counts import shown as shown_number
from .summaries import GENE, MISSING, Bars, Curve, Histogram

if TYPE_CHECKING:
    from .state import CohortState

PALETTE = [f"--pm-d{i}" for i in range(16)]
MOST_POINTS = 1_000_000  # more are sampled for display, and it is said; what is selected is worked out on all
MOST_CURVE_POINTS = 400


def histogram_chart(state: CohortState, chart: Histogram, unit: str = "") -> dict:
    """A histogram with its brush."""
    chosen = state.filters.get(chart.column)
    is_date = not chart.column.startswith(GENE) and state.data.columns[chart.column].kind == "date"
    limits, missing = None, None
    if isinstance(chosen, RangeFilter):
        missing = chosen.missing
        if chosen.low is not None or chosen.high is not None:
            limits = [_position(limit, is_date) for limit in (chosen.low, chosen.high)]
    shown = shown_counts(chart, screen_rules(state), is_date)
    title = chart.column.removeprefix(GENE) + (f" ({unit})" if unit else "")
    bins = [
        f"{_limit(a, is_date)} to {_limit(b, is_date)}"
        for a, b in zip(chart.edges[:-1], chart.edges[1:], strict=True)
    ]
    return {
        "kind": "histogram",
        "name": chart.column,
        "title": title,
        "date": is_date,
        "edges": chart.edges.astype(float),
        **_people(shown),
        "range": limits,
        "missing": missing,
        "filtered": chosen is not None,
        "summary": _spread(shown, bins),
        "table": _count_table(shown, chart.column),
    }


def _position(limit, is_date: bool) -> float | None:
    if limit is None:
        return None
    return float(np.datetime64(str(limit), "D").astype(int)) if is_date else float(limit)


def _limit(value: float, is_date: bool) -> str:
    return str(np.datetime64(int(value), "D")) if is_date else f"{value:g}"


def screen_rules(state: CohortState) -> Disclosure:
    """What is hidden on the screen: small counts where the switch is on. Looking is not sharing: nothing is
    noted as shared."""
    least = max(state.settings["least_count"], LEAST) if state.settings["hide_small_counts"] else 0
    return Disclosure(least, filtered=state.n_selected < state.data.n)


def _people(shown: pd.DataFrame) -> dict:
    """Counts as numbers for the drawing; what is hidden is −1."""
    known = shown.drop(index=MISSING, errors="ignore")
    missing = shown.loc[MISSING] if MISSING in shown.index else pd.Series(0, shown.columns)
    selected = "selected" if "selected" in shown else "everyone"
    number = lambda n: -1 if pd.isna(n) else int(n)  # noqa: E731
    return {
        "everyone": np.array([number(n) for n in known["everyone"]], np.int32),
        "selected": np.array([number(n) for n in known[selected]], np.int32),
        "missing_everyone": number(missing["everyone"]),
        "missing_selected": number(missing[selected]),
    }


def _spread(shown: pd.DataFrame, bins: list[str]) -> str:
    """Where the selected are."""
    people = _people(shown)
    everyone, selected = (np.maximum(people[name], 0) for name in ("everyone", "selected"))
    if not everyone.sum():
        return "No value that can be shown."
    said = f"{int(selected.sum()):,} of {int(everyone.sum()):,} known values"
    if selected.sum():
        said += f", most in {bins[int(np.argmax(selected))]}"
    if people["missing_everyone"] > 0:
        said += f"; missing {max(people['missing_selected'], 0):,} of {people['missing_everyone']:,}"
    return f"{said}."


def named(label) -> str:
    """A category as it is read; the empty one has no name of its own."""
    return str(label) if str(label).strip() else "(empty)"


def _count_table(shown: pd.DataFrame, column: str) -> dict:
    selected = "selected" if "selected" in shown else "everyone"
    rows = [
        [named(label), *("hidden" if pd.isna(n) else int(n) for n in (row[selected], row["everyone"]))]
        for label, row in shown.iterrows()
    ]
    return {"columns": [column, "selected by the other filters", "all"], "rows": rows}


def bar_chart(state: CohortState, chart: Bars) -> dict:
    """Bars of a category, each a button."""
    chosen = state.filters.get(chart.column)
    values, missing = [], False
    if isinstance(chosen, CategoryFilter):
        values, missing = list(chosen.chosen), chosen.missing
    elif isinstance(chosen, RowsFilter):
        values = [label for label, n in zip(chart.labels, chart.selected, strict=True) if n]
    shown = shown_counts(chart, screen_rules(state))
    return {
        "kind": "bars",
        "name": chart.column,
        "title": chart.column,
        "labels": chart.labels,
        **_people(shown),
        "chosen": values,
        "missing": missing,
        "together": chart.n_together,
        "filtered": chosen is not None,
        "summary": _spread(shown, [named(label) for label in chart.labels]),
        "table": _count_table(shown, chart.column),
    }


def screen_curves(state: CohortState, curves: list[Curve], split: str | None = None) -> list[Curve]:
    """Curves as they may be seen: where small counts are hidden, in steps of as many people."""
    rules = screen_rules(state)
    if not rules.least:
        return curves
    from .view_figures import survival_of

    coarse = []
    for curve, at_risk in zip(*survival_of(state, rules, split), strict=True):
        kept = coarse_curve(at_risk, rules)
        parts = {name: getattr(curve, name)[kept] for name in ("time", "survival", "lower", "upper")}
        coarse.append(replace(curve, **parts))
    return coarse


def curve_chart(
    curves: Sequence[Curve], title: str, note: str = "", height: int = 230, least: int = 0
) -> dict:
    """Survival or cumulative incidence, with numbers at risk; fewer than ``least`` people are not counted."""
    people = lambda n: shown_number(int(n), least)  # noqa: E731
    curves = [curve for curve in curves if len(curve.time)]
    if not curves:
        return message(title, note or "Nobody to draw a curve of.")
    competing = curves[0].kind == "incidence"
    names = [f"{c.name}, {c.cause}" if competing else c.name for c in curves]
    last = max(float(curve.time[-1]) if len(curve.time) else 0.0 for curve in curves)
    series = [
        {
            "name": f"{name} ({people(curve.n)})",
            "colour": 3 if name == "the rest" else i,
            **{part: np.asarray(getattr(curve, part), float) for part in ("time", "lower", "upper")},
            "value": np.asarray(curve.survival, float),
        }
        for i, (name, curve) in enumerate(zip(names, curves, strict=True))
    ]
    said = [
        f"{name}: {_many(people(curve.n), 'person', 'people')}, "
        f"{_many(people(curve.events), 'event', 'events')}, {_middle(curve)}"
        for name, curve in zip(names, curves, strict=True)
    ]
    first_cause = curves[:: len({c.cause for c in curves})] if competing else curves
    return {
        "kind": "curves",
        "title": title,
        "series": series,
        "x_max": last,
        "y_max": 1.0,
        "x_name": f"time ({curves[0].unit})",
        "y_name": "cumulative incidence" if competing else "share without the event",
        "at_risk": {
            "times": [float(t) for t in curves[0].at_risk_times],
            "rows": [[people(n) for n in curve.at_risk] for curve in first_cause],
        },
        "height": height,
        "summary": ". ".join([*said, *filter(None, [note.rstrip(".")])]) + ".",
        "say": True,
        "table": _curve_table(names, curves, people),
    }


def _many(n: str, one: str, more: str) -> str:
    return f"{n} {one if n == '1' else more}"


def _duration(time: float) -> str:
    """A time to three digits, and to the day, month or year where there are more."""
    return f"{time:,.0f}" if abs(time) >= 100 else f"{time:.3g}"


def _middle(curve: Curve) -> str:
    """The median, or what is reached at the end."""
    if curve.kind == "survival":
        below = np.flatnonzero(curve.survival <= 0.5)
        if len(below):
            return f"median {_duration(curve.time[below[0]])} {curve.unit}"
        return f"median not reached, {curve.survival[-1]:.0%} at {_duration(curve.time[-1])} {curve.unit}"
    return f"{curve.survival[-1]:.0%} by {_duration(curve.time[-1])} {curve.unit}"


def _curve_table(names: list[str], curves: Sequence[Curve], people) -> dict:
    rows = []
    for name, curve in zip(names, curves, strict=True):
        for time, n in zip(curve.at_risk_times, curve.at_risk, strict=True):
            place = int(np.searchsorted(curve.time, time, side="right")) - 1
            known = place >= 0 and time <= curve.time[-1]
            values = (
                [curve.survival[place], curve.lower[place], curve.upper[place]] if known else [np.nan] * 3
            )
            rows.append([name, float(time), people(n), *(float(v) for v in values)])
    return {
        "columns": ["group", f"time, {curves[0].unit}", "at risk", "share", "lower", "upper"],
        "rows": rows,
    }


def message(title: str, text: str) -> dict:
    """A card that says why there is nothing to see."""
    return html(f"<h4>{escape(title)}</h4><p class='pm-note'>{escape(text)}</p>")


def html(content: str) -> dict:
    """Words; what comes from the data must be escaped."""
    return {"kind": "html", "html": content}


def interval_chart(table: pd.DataFrame, title: str, label: str, value: str, x_name: str, **more) -> dict:
    """A row each with its interval. ``more``: lower, upper, note (columns), reference, summary, colours."""
    take = lambda name, row: float(row[name]) if name and name in row and pd.notna(row[name]) else None  # noqa: E731
    colours = more.get("colours") or [4] * len(table)
    rows = [
        {
            "label": str(row[label]),
            "value": take(value, row),
            "lower": take(more.get("lower"), row),
            "upper": take(more.get("upper"), row),
            "note": str(row[more["note"]]) if more.get("note") else None,
            "colour": colour,
        }
        for (_, row), colour in zip(table.iterrows(), colours, strict=True)
    ]
    columns = [
        name for name in (label, value, more.get("lower"), more.get("upper"), more.get("note")) if name
    ]
    return {
        "kind": "intervals",
        "title": title,
        "rows": rows,
        "reference": more.get("reference"),
        "x_name": x_name,
        "summary": more.get("summary", ""),
        "say": True,
        "table": {"columns": columns, "rows": _plain_rows(table[columns])},
    }


def box_chart(
    table: pd.DataFrame, title: str, x_name: str, mark: float | None = None, note: str = ""
) -> dict:
    """Quantiles by group, from the table of :func:`pm_lab.explorer.gene_by_group`."""
    names = ["q05", "q25", "median", "q75", "q95"]
    known = table[table["n"] > 0]
    if known.empty:
        return message(title, "No known values among the selected patients.")
    low, high = float(known["q05"].min()), float(known["q95"].max())
    pad = (high - low or 1) * 0.05
    groups = [
        {
            "name": str(row["group"]),
            "n": int(row["n"]),
            "quantiles": [float(row[q]) for q in names],
            "colour": i,
        }
        for i, (_, row) in enumerate(known.iterrows())
    ]
    said = "; ".join(f"{group['name']}: median {group['quantiles'][2]:.3g}" for group in groups)
    return {
        "kind": "boxes",
        "title": title,
        "groups": groups,
        "range": [low - pad, high + pad],
        "x_name": x_name,
        "mark": mark,
        "summary": f"Boxes: quartiles and median; lines: 5 to 95 %. {said}. {note}".strip(),
        "say": True,
        "table": {"columns": list(table.columns), "rows": _plain_rows(table)},
    }


def position_chart(table: pd.DataFrame, title: str, label: str, note: str) -> dict:
    """Where one patient is within the cohort, a row a measure."""
    rows = [
        {
            "label": str(row[label]),
            "value": words(row["value"]),
            "percentile": float(row["percentile"]) if pd.notna(row["percentile"]) else None,
        }
        for _, row in table.iterrows()
    ]
    return {
        "kind": "positions",
        "title": title,
        "rows": rows,
        "scale_note": note,
        "summary": "",
        "table": {"columns": [label, "value", "percentile"], "rows": [list(row.values()) for row in rows]},
    }


def point_chart(x, y, title: str, summary: str, x_name: str, y_name: str, **more) -> dict:
    """Points. ``more``: codes, labels, mask, rings, lasso, pick, polygon, palette, height, points (an id),
    and ``least``, the fewest that the table beside them counts."""
    x, y = np.ascontiguousarray(x, np.float32), np.ascontiguousarray(y, np.float32)
    known = np.isfinite(x) & np.isfinite(y)
    limits = [0.0, 1.0, 0.0, 1.0]
    if known.any():
        limits = [float(f(v[known])) for v in (x, y) for f in (np.min, np.max)]
        for low, high in ((0, 1), (2, 3)):
            pad = (limits[high] - limits[low] or 1.0) * 0.04
            limits[low], limits[high] = limits[low] - pad, limits[high] + pad
    more["table"] = _point_table(known, more, more.pop("least", 0))
    return {
        "kind": "scatter",
        "title": title,
        "summary": summary,
        "say": True,
        "x": x,
        "y": y,
        "limits": limits,
        "x_name": x_name,
        "y_name": y_name,
        "palette": more.pop("palette", ["--pm-some"]),
        **more,
    }


def _point_table(known: np.ndarray, more: dict, least: int) -> dict:
    """How many points there are of each colour, and of them in the foreground."""
    labels = list(more.get("labels") or ["points"])
    codes = np.asarray(more["codes"] if "codes" in more else np.zeros(len(known)), int)
    parts = {"points": known}
    if more.get("mask") is not None:
        front = np.asarray(more["mask"]) > 0
        parts = {"in the foreground": known & front, "in the background": known & ~front}
    counts = pd.DataFrame(
        {name: np.bincount(codes[some], minlength=len(labels)) for name, some in parts.items()}, labels
    )
    shown = suppress(counts, least) if least else counts
    rows = [[named(label), *row] for label, row in zip(labels, shown.to_numpy().tolist(), strict=True)]
    return {"columns": ["colour", *parts], "rows": rows}


def coloured(values: np.ndarray, categories: Sequence[str]) -> dict:
    """Codes, labels and palette for :func:`point_chart`; rare categories beyond fifteen share grey."""
    codes = np.asarray(values).astype(int)
    labels = list(categories)
    if len(labels) > 15:
        common = np.argsort(-np.bincount(codes[codes >= 0], minlength=len(labels)), kind="stable")[:15]
        place = np.full(len(labels), 15)
        place[common] = np.arange(15)
        codes, labels = np.where(codes >= 0, place[codes], -1), [labels[i] for i in common] + ["others"]
    palette = PALETTE[: len(labels)]
    if len(labels) == 16:
        palette[15] = "--pm-c7"
    if (codes < 0).any():
        codes, labels, palette = (
            np.where(codes < 0, len(labels), codes),
            [*labels, "missing"],
            [*palette, "--pm-c7"],
        )
    return {"codes": codes.astype(np.uint8), "labels": labels, "palette": palette}


def graded(values: np.ndarray, name: str, steps: int = 5) -> dict:
    """Codes, labels and palette for numbers: fifths of the known values, light to dark."""
    known = np.isfinite(values)
    cuts = np.quantile(values[known], np.arange(1, steps) / steps) if known.any() else np.zeros(steps - 1)
    codes = np.searchsorted(cuts, values, side="right")
    edges = ["lowest", *(f"≥ {cut:.3g}" for cut in cuts)]
    palette, labels = [f"--pm-g{i}" for i in range(steps)], [f"{name} {edges[0]}", *edges[1:]]
    if not known.all():
        codes, labels, palette = np.where(known, codes, steps), [*labels, "missing"], [*palette, "--pm-c7"]
    return {"codes": codes.astype(np.uint8), "labels": labels, "palette": palette}


def words(value) -> str:
    """A value as text."""
    if value is None or (not isinstance(value, str) and pd.isna(value)):
        return "missing"
    if isinstance(value, pd.Timestamp):
        return str(value.date())
    if isinstance(value, float | np.floating):
        return f"{value:.4g}"
    return str(value)


def p_text(p: float | None) -> str:
    """A p-value as text."""
    if p is None or pd.isna(p):
        return "–"
    return f"{p:.2g}" if p >= 1e-4 else f"{p:.1e}"


def _plain_rows(table: pd.DataFrame) -> list[list]:
    plain = lambda v: None if not isinstance(v, str) and pd.isna(v) else v  # noqa: E731
    return [[plain(value) for value in row] for row in table.itertuples(index=False)]
