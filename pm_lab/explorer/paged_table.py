"""A table in pages, sorted and searched in the kernel: only the page that is looked at leaves it."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from .live_figure import LiveFigure

PAGE = 12


class PagedTable(LiveFigure):
    """A table of any length.

    Parameters
    ----------
    title : said to screen readers and above the table.
    on_row : called with the position (in the table given) of the row that was chosen by its first cell.
    """

    def __init__(
        self, title: str, on_row: Callable[[int], None] | None = None, page_rows: int = PAGE, **kwargs
    ):
        super().__init__(on_event=self._asked, **kwargs)
        self._title, self._on_row, self._page_rows = title, on_row, page_rows
        self._table, self._order, self._said = pd.DataFrame(), pd.RangeIndex(0), ""
        self._page, self._sort, self._query, self._marked = 0, None, "", -1

    def fill(self, table: pd.DataFrame, said: str = "", marked: int = -1) -> None:
        """Show this table; ``said`` is put under it, ``marked`` is the position of a row that stands out."""
        self._table, self._said, self._marked, self._page = table, said, marked, 0
        self._arrange()
        self._show_page()

    def _asked(self, event: dict) -> None:
        if event["type"] == "row" and self._on_row is not None:
            self._on_row(int(self._order[self._page * self._page_rows + int(event["row"])]))
        elif event["type"] == "table":
            self._sort = tuple(event["sort"]) if event["sort"] else None
            self._query = str(event["query"] or "")
            self._arrange()
            last = max(0, (len(self._order) - 1) // self._page_rows)
            self._page = min(max(int(event["page"]), 0), last)
            self._show_page()

    def _arrange(self) -> None:
        """Positions of the rows that the query keeps, in the order asked for."""
        found = self._table.reset_index(drop=True)
        if self._query and len(found):
            first = found.iloc[:, 0].astype(str)
            found = found[first.str.contains(self._query, case=False, regex=False)]
        if self._sort and self._sort[0] in found:
            found = found.sort_values(self._sort[0], ascending=not self._sort[1], kind="stable")
        self._order = found.index

    def _show_page(self) -> None:
        start = self._page * self._page_rows
        rows = self._table.iloc[self._order[start : start + self._page_rows]]
        right = [
            pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype)
            for dtype in self._table.dtypes
        ]
        marked = [
            i for i, place in enumerate(self._order[start : start + self._page_rows]) if place == self._marked
        ]
        found = f"{len(self._order):,} of {len(self._table):,} rows. " if self._query else ""
        self.show(
            {
                "kind": "table",
                "title": self._title,
                "columns": [str(name) for name in self._table.columns],
                "rows": [[_shown(value) for value in row] for row in rows.itertuples(index=False)],
                "right": right,
                "page": self._page,
                "pages": -(-len(self._order) // self._page_rows),
                "sort": list(self._sort) if self._sort else None,
                "query": self._query,
                "searchable": len(self._table) > self._page_rows,
                "pick": self._on_row is not None,
                "marked": marked,
                "summary": f"{found}{self._said}".strip(),
                "say": True,
            }
        )


def _shown(value) -> str | None:
    if value is None or (not isinstance(value, str) and pd.isna(value)):
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if value == round(value) and abs(value) >= 1_000 else f"{value:.3g}"
    if isinstance(value, pd.Timestamp):
        return str(value.date())
    return f"{value:,}" if isinstance(value, int) else str(value)
