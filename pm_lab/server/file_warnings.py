"""Warnings about a file: at once from its structure, or after a look at whole columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from tornado import web

from pm_lab.server.answers import PmLabHandler
from pm_lab.server.files import Handle
from pm_lab.server.frames import Frame, frame
from pm_lab.server.scans import hashed

if TYPE_CHECKING:
    import pandas as pd

STRETCHES = 20  # that the rows for the identifier check are read in
NAMED = 5  # duplicate names that a warning gives


def quick_warnings(described: dict) -> list[dict]:
    """Warnings that the structure of a file suffices for."""
    return list(_quick(described))


def _warning(what: str, where: str, mend: str) -> dict:
    return {"what": what, "where": where, "mend": mend}


def _quick(described: dict) -> Iterator[dict]:
    raw = described["raw"]
    matrices = [one for one in (described["x"], *described["layers"], raw and raw["x"]) if one]
    if not described["n_obs"] or not described["n_vars"]:
        yield _warning(
            f"The file holds {described['n_obs']:,} observations and {described['n_vars']:,} variables.",
            "obs" if not described["n_obs"] else "var",
            "Check that it was written completely.",
        )
    if described["x"] is None:
        yield _warning("There is no X.", "X", "Colour by a layer, if there is one.")
    for one in matrices:
        n_vars = raw["n_vars"] if raw and one is raw["x"] else described["n_vars"]
        if one["shape"] != [described["n_obs"], n_vars]:
            yield _warning(
                f"{one['name']} is {one['shape'][0]:,} × {one['shape'][1]:,}, unlike obs and var.",
                one["name"],
                "Write the file again: parts of it are of another version.",
            )
        if one["holds"] == "counts" and one["dtype"] == "float64":
            yield _warning(
                f"{one['name']} keeps counts as float64, twice the memory that they need.",
                one["name"],
                'Store them as float32 or int32: adata.X = adata.X.astype("float32").',
            )
    if matrices and not any(one["holds"] == "counts" for one in matrices):
        yield _warning(
            "No matrix holds raw counts, which differential expression and pseudobulk need.",
            "X, layers, raw",
            'Keep them when normalising: adata.layers["counts"] = adata.X.copy().',
        )


def slow_warnings(handle: Handle) -> list[dict]:
    """Duplicate names and columns that look like identifiers, kept for the next request."""
    return handle.remember(("warnings",), lambda: list(_slow(handle)))


def _slow(handle: Handle) -> Iterator[dict]:
    from pm_lab.identifiers import identifier_columns

    for axis, of in (("obs", "observations"), ("var", "variables")):
        table = frame(handle, axis)
        n, names = _duplicates(handle, table)
        if n:
            first = ", ".join(names[:NAMED])
            yield _warning(
                f"{n:,} {of} share their name with another: {first}{' …' if len(names) > NAMED else ''}.",
                axis,
                f"Make them unique: adata.{axis}_names_make_unique().",
            )
    found = identifier_columns(_sampled(handle, frame(handle, "obs")))
    for column, reason, n, example in found.itertuples(index=False):
        yield _warning(
            f"The column {column!r} looks like {reason}: {n:,} values of those looked at, as {example!r}.",
            f"obs/{column}",
            "Remove or coarsen it before you share the file. This check finds patterns and proves nothing.",
        )


def _duplicates(handle: Handle, table: Frame) -> tuple[int, list[str]]:
    """How many rows share their name with another, and the first of these names."""
    if table.index.values is None or not table.n:
        return 0, []
    hashes, _ = hashed(handle, table.index)
    ordered = np.sort(hashes)
    again = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not len(again):
        return 0, []
    rows = np.flatnonzero(np.isin(hashes, again))
    _, first = np.unique(hashes[rows], return_index=True)
    named = table.index.take(rows[np.sort(first)[: NAMED + 1]])
    return len(rows), [str(name) for name in named.array]


def _sampled(handle: Handle, table: Frame) -> pd.DataFrame:
    """Up to as many rows as the identifier check reads, in stretches spread over the table."""
    import pandas as pd

    from pm_lab.identifiers import ROWS_READ

    length = min(table.n, ROWS_READ)
    n_stretches = 1 if table.n <= ROWS_READ else STRETCHES
    size = length // n_stretches
    starts = np.linspace(0, table.n - size, n_stretches).astype(int)

    def read(column) -> pd.Series:
        handle.step()
        parts = [column.read(int(start), int(start) + size) for start in starts]
        values = np.concatenate([part.array for part in parts])
        missing = np.concatenate([part.missing for part in parts])
        return pd.Series(values).mask(missing)

    columns = {name: read(column) for name, column in table.columns.items()}
    sampled = pd.DataFrame(columns) if columns else pd.DataFrame(index=range(size))
    if table.index.values is not None and size:
        sampled.index = read(table.index).to_numpy()
    return sampled


class WarningsHandler(PmLabHandler):
    """GET ``anndata/warnings?path``: ``{"warnings": [{what, where, mend}]}``, those that read columns."""

    @web.authenticated
    async def get(self) -> None:
        self.answer({"warnings": await self.read(slow_warnings)})


ROUTES = [(r"anndata/warnings", WarningsHandler)]
