"""Routes ``anndata/embedding`` and ``anndata/mask``: where the points are, and which a filter keeps."""

from __future__ import annotations

import numpy as np
from tornado import web

from pm_lab.server.answers import PmLabHandler
from pm_lab.server.files import Handle
from pm_lab.server.filters import rows as filtered_rows
from pm_lab.server.frames import frame
from pm_lab.server.points import MOST_POINTS, coordinates, shown_rows

MOST_COLUMNS = 10**6


def embedding(handle: Handle, key: str, x: int, y: int, limit: int) -> tuple[dict, dict[str, np.ndarray]]:
    """What the route answers, before it is packed."""
    points = coordinates(handle, key, x, y)
    rows = shown_rows(len(points), limit)
    meta = {"key": key, "x": x, "y": y, "n_total": len(points), "sampled": rows is not None}
    if rows is None:
        return meta | {"n_shown": len(points), "how": "all points are shown"}, {"xy": points}
    how = (
        f"{limit:,} of {len(points):,} points are shown: one drawn at random from each of {limit:,} equal "
        "stretches of the file"
    )
    return meta | {"n_shown": limit, "how": how}, {"xy": points[rows], "rows": rows}


def mask(handle: Handle, filters: list[dict], limit: int) -> tuple[dict, dict[str, np.ndarray]]:
    """What the route answers, before it is packed."""
    n = frame(handle, "obs").n
    kept = filtered_rows(handle, "obs", filters)
    kept = np.ones(n, bool) if kept is None else kept
    rows = shown_rows(n, limit)
    shown = kept if rows is None else kept[rows]
    return {"n_matching": int(kept.sum()), "n_total": n}, {"mask": shown.astype(np.uint8)}


class EmbeddingHandler(PmLabHandler):
    """GET ``anndata/embedding?path&key&x&y&limit``: the points, float32, and their rows where sampled."""

    @web.authenticated
    async def get(self) -> None:
        x, y = (self.number(name, default, 0, MOST_COLUMNS) for name, default in (("x", 0), ("y", 1)))
        limit = self.number("limit", 1_000_000, 1, MOST_POINTS)
        self.answer_arrays(*await self.read(embedding, self.text("key"), x, y, limit))


class MaskHandler(PmLabHandler):
    """GET ``anndata/mask?path&filters&limit``: for each point that is shown whether the filters keep it."""

    @web.authenticated
    async def get(self) -> None:
        limit = self.number("limit", 1_000_000, 1, MOST_POINTS)
        self.answer_arrays(*await self.read(mask, self.filters(), limit))


ROUTES = [(r"anndata/embedding", EmbeddingHandler), (r"anndata/mask", MaskHandler)]
