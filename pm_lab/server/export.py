"""Route ``anndata/export``: a table as CSV, as it is sorted and filtered, a piece at a time."""

from __future__ import annotations

import csv
import io
from pathlib import PurePosixPath
from urllib.parse import quote

import numpy as np
from tornado import web
from tornado.iostream import StreamClosedError

from pm_lab.server.answers import PmLabHandler
from pm_lab.server.columns import INDEX
from pm_lab.server.files import Handle
from pm_lab.server.frames import frame
from pm_lab.server.refusals import Cancelled
from pm_lab.server.scans import is_coded
from pm_lab.server.table import AXES, chosen, positions

ROWS = 2_000  # of a piece
SORTED_ROWS = 50_000  # of a piece whose rows lie anywhere: for each, about the whole table is read
MOST_COLUMNS = 2_000
# What a spreadsheet takes for a formula, wide signs of East Asian keyboards among it.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def planned(
    handle: Handle, axis: str, filters: list[dict], sort: str, descending: bool, columns: list[str] | None
) -> tuple[str, list[str], np.ndarray | None, int, str]:
    """The file's version, the columns, the rows in their order (None: all), how many, and the first line."""
    table = frame(handle, axis)
    names = chosen(table, axis, columns, MOST_COLUMNS)
    order = positions(handle, axis, filters, sort, descending)
    header = ["" if table.index_name == "_index" else table.index_name, *names]
    n = table.n if order is None else len(order)
    return handle.identity.etag, names, order, n, _lines([[_defused(name) for name in header]])


def lines(handle: Handle, axis: str, names: list[str], rows: np.ndarray) -> str:
    """These rows as CSV."""
    table = frame(handle, axis)
    cells = []
    for name in (INDEX, *names):
        handle.step()
        column = table.column(name, axis)
        values = column.take(rows).listed()
        cells.append([_defused(value) for value in values] if is_coded(column) else values)
    return _lines(zip(*cells, strict=True))


def _defused(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _lines(rows) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


class ExportHandler(PmLabHandler):
    """GET ``anndata/export?path&axis&filters&sort&descending&columns``: a CSV file to be saved.

    Texts that a spreadsheet would take for a formula get a leading apostrophe.
    """

    @web.authenticated
    async def get(self) -> None:
        axis, filters, sort = self.choice("axis", AXES), self.filters(), self.text("sort")
        columns = self.names("columns", MOST_COLUMNS)
        plan = await self.read(planned, axis, filters, sort, self.switch("descending"), columns)
        etag, names, order, n, header = plan
        self.set_header("Content-Type", "text/csv; charset=utf-8")
        stem = PurePosixPath(self.text("path")).stem
        self.set_header("Content-Disposition", f"attachment; filename*=UTF-8''{quote(f'{stem}-{axis}.csv')}")
        self.write(header)
        try:
            size = ROWS if order is None else SORTED_ROWS
            for start in range(0, n, size):
                stop = min(n, start + size)
                rows = np.arange(start, stop) if order is None else order[start:stop]
                self.write(await self.read(lines, axis, names, rows, etag=etag))
                await self.flush()
        except (StreamClosedError, Cancelled):
            return
        except Exception:
            if self._headers_written:  # a part of the table must look broken, not like all of it
                self.request.connection.stream.close()
            raise
        self.finish(set_content_type="text/csv; charset=utf-8")


ROUTES = [(r"anndata/export", ExportHandler)]
