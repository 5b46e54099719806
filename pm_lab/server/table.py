"""Routes ``anndata/table`` and ``anndata/names``: a page of obs or var, sorted and filtered."""

from __future__ import annotations

import numpy as np
from tornado import web

from pm_lab.server.answers import PmLabHandler
from pm_lab.server.columns import INDEX
from pm_lab.server.elements import pieces
from pm_lab.server.files import Handle
from pm_lab.server.filters import rows
from pm_lab.server.frames import Frame, frame
from pm_lab.server.refusals import Refused
from pm_lab.server.scans import row_order

MOST_ROWS = 2_000  # of a page
MOST_COLUMNS = 200  # of a page
AXES = ("obs", "var")
FAR = 2**53  # the largest row number that JSON can hold


def positions(
    handle: Handle, axis: str, filters: list[dict], sort: str, descending: bool
) -> np.ndarray | None:
    """Rows in the order asked for, without those that the filters drop; None: all, as in the file."""
    kept = rows(handle, axis, filters)
    if not sort:
        return None if kept is None else np.flatnonzero(kept)
    order = row_order(handle, axis, sort, descending)
    return order if kept is None else order[kept[order]]


def chosen(table: Frame, axis: str, columns: list[str] | None, most: int = MOST_COLUMNS) -> list[str]:
    """Names of the columns asked for (by default the first ones), each of which exists."""
    names = list(table.columns)[:most] if columns is None else list(dict.fromkeys(columns))
    for name in names:
        table.column(name, axis)
    return names


def page(
    handle: Handle,
    axis: str,
    start: int,
    stop: int,
    filters: list[dict],
    sort: str = "",
    descending: bool = False,
    columns: list[str] | None = None,
) -> dict:
    """The rows ``start`` to ``stop`` of a table that is sorted and filtered; the keys are the answer's."""
    table = frame(handle, axis)
    names = chosen(table, axis, columns)
    order = positions(handle, axis, filters, sort, descending)
    n = table.n if order is None else len(order)
    start = min(start, n)
    stop = max(start, min(stop, n, start + MOST_ROWS))
    shown = np.arange(start, stop) if order is None else order[start:stop]

    def listed(name: str) -> list:
        handle.step()
        return table.column(name, axis).take(shown).listed()

    return {
        "axis": axis,
        "n_total": table.n,
        "n_matching": n,
        "start": start,
        "stop": stop,
        "index": listed(INDEX),
        "positions": shown.tolist(),
        "columns": {name: {"type": table.column(name).type, "values": listed(name)} for name in names},
    }


def names_like(handle: Handle, axis: str, text: str, limit: int) -> dict:
    """Names of rows that begin with a text, then those that contain it, whatever their case."""
    index = frame(handle, axis).index
    text = text.casefold()
    first: list[str] = []
    later: list[str] = []
    n = 0
    for start, stop in pieces(index.n):
        handle.step()
        for name in map(str, index.read(start, stop).array):
            place = name.casefold().find(text)
            n += place >= 0
            if place == 0 and len(first) < limit:
                first.append(name)
            elif place > 0 and len(later) < limit:
                later.append(name)
    return {"names": (first + later)[:limit], "n": n}


class TableHandler(PmLabHandler):
    """GET ``anndata/table?path&axis&start&stop&sort&descending&filters&columns``: see :func:`page`."""

    @web.authenticated
    async def get(self) -> None:
        start = self.number("start", 0, 0, FAR)
        stop = self.number("stop", start + 100, 0, FAR)
        if stop - start > MOST_ROWS:
            raise Refused(400, f"A page has at most {MOST_ROWS:,} rows.", "stop")
        axis, descending = self.choice("axis", AXES), self.switch("descending")
        columns = self.names("columns", MOST_COLUMNS)
        sort = self.text("sort")
        self.answer(await self.read(page, axis, start, stop, self.filters(), sort, descending, columns))


class NamesHandler(PmLabHandler):
    """GET ``anndata/names?path&axis&prefix&limit``: see :func:`names_like`."""

    @web.authenticated
    async def get(self) -> None:
        axis = self.choice("axis", ("var", "obs", "raw/var"))
        limit = self.number("limit", 20, 1, 1_000)
        self.answer(await self.read(names_like, axis, self.text("prefix"), limit))


ROUTES = [(r"anndata/table", TableHandler), (r"anndata/names", NamesHandler)]
