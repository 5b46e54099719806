"""Which rows of a file a list of filters keeps: ranges, values, texts, genes and lassos, joined by "and"."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pm_lab.server.columns import Column, plain
from pm_lab.server.elements import pieces
from pm_lab.server.files import Handle
from pm_lab.server.frames import frame
from pm_lab.server.genes import gene_values
from pm_lab.server.points import coordinates
from pm_lab.server.refusals import Refused
from pm_lab.server.scans import coded, is_coded, numbers

FEW_TEXTS = 100_000  # different texts of a column, searched once each and not once a row


def rows(handle: Handle, axis: str, filters: list[dict]) -> np.ndarray | None:
    """A boolean for each row of the axis: whether all filters for that axis keep it. None without any.

    ``filters`` are as :meth:`pm_lab.server.answers.PmLabHandler.filters` returns them.
    """
    kept = None
    for one in filters:
        if one["axis"] != axis:
            continue
        found = KINDS[one["kind"]](handle, axis, one)
        kept = found if kept is None else kept & found
    return kept


def _range(handle: Handle, axis: str, one: dict) -> np.ndarray:
    column = frame(handle, axis).column(one["column"], axis)
    if column.type not in ("number", "integer", "boolean"):
        raise Refused(
            400, f"{one['column']!r} holds no numbers.", "filters", "Filter it by its values or by a text."
        )
    values, missing = numbers(handle, axis, one["column"])
    return np.where(missing, one["missing"], _between(values, one["min"], one["max"]))


def _between(values: np.ndarray, low: float | None, high: float | None) -> np.ndarray:
    """Both ends belong to it; None leaves an end open."""
    kept = np.ones(len(values), bool)
    if low is not None:
        kept &= values >= low
    if high is not None:
        kept &= values <= high
    return kept


def _values(handle: Handle, axis: str, one: dict) -> np.ndarray:
    column = frame(handle, axis).column(one["column"], axis)
    wanted = {as_text(value) for value in one["values"]}
    if column.values is None:
        return _by_row(handle, column, lambda text: text in wanted)
    if is_coded(column):
        labels = coded(handle, axis, column.name)
        if labels.n_labels > FEW_TEXTS:
            return _by_row(handle, column, lambda text: text in wanted, one["missing"])
        return _of_labels(labels.codes, labels.labels(), lambda text: text in wanted, one["missing"])
    values, missing = numbers(handle, axis, column.name)
    distinct, places = np.unique(values, return_inverse=True)
    found = np.array([as_text(plain(value)) in wanted for value in distinct], bool)
    return np.where(missing, one["missing"], found[places])


def as_text(value: object) -> str:
    """The same text for a value of the page and of the file: 3 for 3.0, true for True."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value)
    return text.lower() if text in ("True", "False") else text


def _contains(handle: Handle, axis: str, one: dict) -> np.ndarray:
    column = frame(handle, axis).column(one["column"], axis)
    text = one["text"].casefold()

    def fits(label: object) -> bool:
        return text in str(label).casefold()

    if column.type != "category" or column.n_categories > FEW_TEXTS:
        return _by_row(handle, column, fits)
    labels = coded(handle, axis, column.name)
    return _of_labels(labels.codes, labels.labels(), fits, False)


def _of_labels(codes: np.ndarray, labels: np.ndarray, fits: Callable, missing: bool) -> np.ndarray:
    found = np.array([fits(as_text(label)) for label in labels] + [missing], bool)
    return found[codes]  # -1, missing, is the last


def _by_row(handle: Handle, column: Column, fits: Callable, missing: bool = False) -> np.ndarray:
    """Look at each value, in pieces: a million texts at once would take too much memory."""
    kept = np.empty(column.n, bool)
    for start, stop in pieces(column.n):
        handle.step(start / column.n, f"searching {column.name.strip(':')}")
        values = column.read(start, stop)
        kept[start:stop] = [
            missing if gone else fits(value) for value, gone in zip(values.array, values.missing, strict=True)
        ]
    return kept


def _gene(handle: Handle, axis: str, one: dict) -> np.ndarray:
    _obs_only(axis, "A gene")
    return _between(gene_values(handle, one["gene"], one["layer"]), one["min"], one["max"])


def _lasso(handle: Handle, axis: str, one: dict) -> np.ndarray:
    _obs_only(axis, "A lasso")
    return inside(coordinates(handle, one["key"], one["x"], one["y"]), np.asarray(one["polygon"], float))


def _obs_only(axis: str, what: str) -> None:
    if axis != "obs":
        raise Refused(400, f"{what} selects observations, not variables.", "filters")


def inside(xy: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Which points lie in a polygon, by the even-odd rule; points without a place (NaN) do not.

    Examples
    --------
    >>> import numpy as np
    >>> from pm_lab.server.filters import inside
    >>> square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    >>> inside(np.array([[0.5, 0.5], [1.5, 0.5]]), square)
    array([ True, False])
    """
    within = np.zeros(len(xy), bool)
    low, high = polygon.min(axis=0), polygon.max(axis=0)
    near = np.flatnonzero(((xy >= low) & (xy <= high)).all(axis=1))
    for start, stop in pieces(len(near)):
        some = near[start:stop]
        x, y = xy[some, 0].astype(float), xy[some, 1].astype(float)
        odd = np.zeros(len(some), bool)
        for (x1, y1), (x2, y2) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
            if y1 != y2:
                crossed = (y1 > y) != (y2 > y)
                odd ^= crossed & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
        within[some] = odd
    return within


KINDS = {"range": _range, "values": _values, "contains": _contains, "gene": _gene, "lasso": _lasso}
