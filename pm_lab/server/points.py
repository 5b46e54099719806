"""Where the points of an embedding lie, and which of them a plot shows."""

from __future__ import annotations

import numpy as np

from pm_lab.server.elements import is_group, items, pieces
from pm_lab.server.files import Handle
from pm_lab.server.frames import Frame, frame
from pm_lab.server.refusals import Refused

MOST_POINTS = 5_000_000  # that a page may ask for
PIECE_BYTES = 4 * 2**20
SEED = 0


def shown_rows(n: int, limit: int) -> np.ndarray | None:
    """The rows that a plot of at most ``limit`` points shows, ascending; None where it shows all.

    The rows are divided into ``limit`` stretches of equal length and one row of each is drawn, so a file that
    is sorted by sample or type keeps the shares of these. The same file and limit give the same rows.

    Examples
    --------
    >>> from pm_lab.server.points import shown_rows
    >>> shown_rows(10, 20) is None
    True
    >>> len(shown_rows(1_000_000, 1_000))
    1000
    """
    if n <= limit:
        return None
    edges = np.arange(limit + 1, dtype=np.int64) * n // limit
    drawn = np.random.default_rng(SEED).random(limit) * np.diff(edges)
    return (edges[:-1] + drawn.astype(np.int64)).astype(np.uint32)


def coordinates(handle: Handle, key: str, x: int, y: int) -> np.ndarray:
    """Two columns of an array of obsm as float32 (cells × 2), kept for the next request."""
    return handle.remember(("coordinates", key, x, y), lambda: _coordinates(handle, key, x, y))


def _coordinates(handle: Handle, key: str, x: int, y: int) -> np.ndarray:
    where = f"obsm[{key!r}]"
    item = items(handle, "obsm").get(key)
    if item is None:
        raise Refused(400, f"There is no embedding {key!r}.", "obsm", "Choose one that the overview lists.")
    n = frame(handle, "obs").n
    points = np.empty((n, 2), np.float32)
    if is_group(item):  # a data frame
        columns = list(Frame(item, n).columns.values())
        if any(column.type not in ("number", "integer") for column in columns):
            raise Refused(422, "This is no table of numbers.", where)
        _check_columns(where, len(columns), x, y)
        for side, place in enumerate((x, y)):
            for start, stop in pieces(n):
                handle.step()
                values = columns[place].read(start, stop)
                points[start:stop, side] = np.where(values.missing, np.nan, values.array)
        return points
    if item.ndim != 2 or item.dtype.kind not in "biuf" or item.shape[0] != n:
        raise Refused(422, f"This is no array of numbers with {n:,} rows.", where)
    _check_columns(where, item.shape[1], x, y)
    low, high = min(x, y), max(x, y) + 1
    rows = max(1, PIECE_BYTES // (item.dtype.itemsize * item.shape[1]))
    for start, stop in pieces(n, rows):
        handle.step()
        points[start:stop] = item[start:stop, low:high][:, [x - low, y - low]]
    return points


def _check_columns(where: str, n: int, x: int, y: int) -> None:
    if max(x, y) >= n:
        raise Refused(400, f"It has {n:,} columns, counted from 0: {x} and {y} were asked for.", where)
