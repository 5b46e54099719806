"""Routes ``anndata/column`` and ``anndata/summary``: columns in figures, of all rows or of a selection."""

from __future__ import annotations

import numpy as np
from tornado import web

from pm_lab.server.answers import PmLabHandler
from pm_lab.server.columns import INDEX, Column, plain
from pm_lab.server.files import Handle
from pm_lab.server.filters import rows
from pm_lab.server.frames import frame
from pm_lab.server.scans import coded, is_coded, numbers
from pm_lab.server.table import AXES, chosen

MOST_CATEGORIES = 1_000  # given with their counts; the rest is counted together
MOST_SUMMARIES = 50  # columns of one answer
BINS = 30


def summary(handle: Handle, axis: str, name: str, kept: np.ndarray | None) -> dict:
    """One column in figures: counts of its values, or the distribution of its numbers."""
    column = frame(handle, axis).column(name, axis)
    described = {"name": column.name, "type": column.type}
    if is_coded(column):
        return described | _of_labels(handle, axis, column, kept)
    values, missing = numbers(handle, axis, column.name)
    if kept is not None:
        values, missing = values[kept], missing[kept]
    known = values[~missing]
    described |= {"n": len(values), "n_missing": int(missing.sum())}
    if column.type in ("boolean", "date"):
        return described | _counted(*np.unique(known, return_counts=True))
    return described | _of_numbers(known)


def _of_labels(handle: Handle, axis: str, column: Column, kept: np.ndarray | None) -> dict:
    n = column.n if kept is None else int(kept.sum())
    if column.values is None:  # rows that have no names
        return {"n": n, "n_missing": 0, "n_unique": n, "categories": [], "n_more": n}
    labels = coded(handle, axis, column.name)
    counts = labels.counts(kept)
    used = np.flatnonzero(counts)
    shown = used[np.argsort(-counts[used], kind="stable")][:MOST_CATEGORIES]
    found = [
        {"value": str(label), "count": int(count)}
        for label, count in zip(labels.labels(shown), counts[shown], strict=True)
    ]
    known = int(counts.sum())
    return {
        "n": n,
        "n_missing": n - known,
        "n_unique": len(used),
        "categories": found,
        "n_more": len(used) - len(shown),
    }


def _counted(values: np.ndarray, counts: np.ndarray) -> dict:
    order = np.argsort(-counts, kind="stable")[:MOST_CATEGORIES]
    categories = [{"value": str(plain(values[i])), "count": int(counts[i])} for i in order]
    return {"n_unique": len(values), "categories": categories, "n_more": len(values) - len(order)}


def _of_numbers(known: np.ndarray) -> dict:
    """Infinite values count among the values and lie outside of the histogram."""
    n_unique = len(np.unique(known))
    finite = known[np.isfinite(known)].astype(float)
    found = dict.fromkeys(("min", "max", "mean", "median", "histogram")) | {"n_unique": n_unique}
    if not len(finite):
        return found
    with np.errstate(over="ignore"):
        ends = {"min": finite.min(), "max": finite.max(), "mean": finite.mean(), "median": np.median(finite)}
    found |= {name: plain(value) for name, value in ends.items()}
    width = ends["max"] - ends["min"]
    if np.isfinite(width):
        bins = min(BINS, max(1, int(width) + 1)) if known.dtype.kind in "iu" else BINS
        try:
            counts, edges = np.histogram(finite, bins=bins)
        except ValueError:  # numbers so close together that no bins lie between them
            counts, edges = np.array([len(finite)]), np.array([ends["min"], ends["max"]])
        found["histogram"] = {"edges": edges.tolist(), "counts": counts.tolist()}
    return found


def one_summary(handle: Handle, axis: str, name: str, filters: list[dict]) -> dict:
    """A column of the rows that the filters keep."""
    return summary(handle, axis, name, rows(handle, axis, filters))


def all_summaries(handle: Handle, axis: str, columns: list[str] | None, filters: list[dict]) -> dict:
    """Several columns of the rows that the filters keep."""
    table = frame(handle, axis)
    names = chosen(table, axis, columns)[:MOST_SUMMARIES]
    kept = rows(handle, axis, filters)
    found = []
    for place, name in enumerate(names):
        handle.step(place / len(names), f"reading {name}")
        found.append(summary(handle, axis, name, kept))
    n = table.n if kept is None else int(kept.sum())
    return {"n_matching": n, "n_total": table.n, "columns": found}


class ColumnHandler(PmLabHandler):
    """GET ``anndata/column?path&axis&name&filters``: see :func:`summary`; no name, those of the rows."""

    @web.authenticated
    async def get(self) -> None:
        axis, name = self.choice("axis", AXES), self.text("name", INDEX)
        self.answer(await self.read(one_summary, axis, name, self.filters()))


class SummaryHandler(PmLabHandler):
    """GET ``anndata/summary?path&axis&filters&columns``: ``{n_matching, n_total, columns: [...]}``."""

    @web.authenticated
    async def get(self) -> None:
        columns = self.names("columns", MOST_SUMMARIES)
        axis = self.choice("axis", AXES)
        self.answer(await self.read(all_summaries, axis, columns, self.filters()))


ROUTES = [(r"anndata/column", ColumnHandler), (r"anndata/summary", SummaryHandler)]
