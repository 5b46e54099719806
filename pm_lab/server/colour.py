"""Route ``anndata/colour``: what the points of an embedding are coloured by, an obs column or a gene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tornado import web

from pm_lab.server.answers import PmLabHandler
from pm_lab.server.files import Handle
from pm_lab.server.frames import frame
from pm_lab.server.genes import gene_values
from pm_lab.server.points import MOST_POINTS, shown_rows
from pm_lab.server.refusals import Refused
from pm_lab.server.scans import coded, is_coded, numbers

MOST_LABELS = {"string": 1_000, "category": 100_000}  # that a page is sent
PERCENTILES = (1, 99)  # ends of the colour scale, so that one outlier does not take all of it


@dataclass(frozen=True)
class Labels:
    """A category for each row: ``codes`` are places in ``categories``, -1 where missing."""

    categories: list[str]
    codes: np.ndarray  # int32


def plotted(handle: Handle, name: str) -> Labels | np.ndarray:
    """An obs column as it is plotted: labels, or numbers with NaN where missing.

    Texts become labels, sorted, as long as at most 1,000 of them differ; booleans are labels too.
    """
    where = f"obs[{name!r}]"
    column = frame(handle, "obs").column(name, where)
    if column.type == "date":
        raise Refused(422, "Dates cannot be plotted.", where, "Choose another column.")
    if is_coded(column):
        found = coded(handle, "obs", name)
        if found.n_labels > MOST_LABELS[column.type]:
            raise Refused(
                422,
                f"This column has {found.n_labels:,} different values; {MOST_LABELS[column.type]:,} at most "
                "can be told apart.",
                where,
                "Choose a column with fewer categories, or one of numbers.",
            )
        labels = [str(label) for label in found.labels()]
        return Labels(labels, found.codes) if column.type == "category" else _sorted(labels, found.codes)
    values, missing = numbers(handle, "obs", name)
    if column.type == "boolean":
        return Labels(["False", "True"], np.where(missing, -1, values.astype(np.int32)))
    return np.where(missing, np.nan, values) if missing.any() else values


def _sorted(labels: list[str], codes: np.ndarray) -> Labels:
    order = sorted(range(len(labels)), key=labels.__getitem__)
    place = np.full(len(labels) + 1, -1, np.int32)  # its last entry is that of the code -1
    place[order] = np.arange(len(labels), dtype=np.int32)
    return Labels([labels[i] for i in order], place[codes])


def as_categories(labels: Labels, rows: np.ndarray | None) -> tuple[dict, dict[str, np.ndarray]]:
    """Meta data and codes; the largest code of their type stands for missing, counts are of all rows."""
    n = len(labels.categories)
    counts = np.bincount(labels.codes + 1, minlength=n + 1)
    kind = next(kind for kind in (np.uint8, np.uint16, np.uint32) if n <= np.iinfo(kind).max)
    codes = labels.codes if rows is None else labels.codes[rows]
    meta = {"kind": "category", "categories": labels.categories, "counts": counts[1:].tolist()}
    return meta | {"n_missing": int(counts[0])}, {"codes": codes.astype(kind)}  # -1 wraps to the largest


def as_numbers(numbers: np.ndarray, rows: np.ndarray | None) -> tuple[dict, dict[str, np.ndarray]]:
    """Meta data and values; the ends of the colour scale are percentiles of all rows."""
    with np.errstate(over="ignore"):  # what float32 cannot hold counts as missing
        shown = numbers.astype(np.float32)
    known = shown[np.isfinite(shown)]
    meta = {"kind": "number", "n_missing": len(numbers) - len(known), "n_zero": int((known == 0).sum())}
    ends = dict.fromkeys(("min", "max", "low", "high"))
    if len(known):
        ends["min"], ends["max"] = float(known.min()), float(known.max())
        ends["low"], ends["high"] = (float(end) for end in np.percentile(known, PERCENTILES))
        if ends["low"] == ends["high"]:  # a gene that few cells express
            ends["low"], ends["high"] = ends["min"], ends["max"]
    shown[np.isinf(shown)] = np.nan
    return meta | ends, {"values": shown if rows is None else shown[rows]}


def colour(handle: Handle, obs: str, gene: str, layer: str, limit: int) -> tuple[dict, dict[str, np.ndarray]]:
    """What the route answers, before it is packed."""
    found = gene_values(handle, gene, layer or None) if gene else plotted(handle, obs)
    rows = shown_rows(frame(handle, "obs").n, limit)
    return as_categories(found, rows) if isinstance(found, Labels) else as_numbers(found, rows)


class ColourHandler(PmLabHandler):
    """GET ``anndata/colour?path&limit&(obs=|gene=&layer=)&task``: codes or values of the rows shown."""

    @web.authenticated
    async def get(self) -> None:
        obs, gene, layer = self.text("obs"), self.text("gene"), self.text("layer")
        limit = self.number("limit", 1_000_000, 1, MOST_POINTS)
        if bool(obs) == bool(gene):
            raise Refused(400, "Ask for a column (obs=) or a gene (gene=), not for both.", "obs")
        self.answer_arrays(*await self.read(colour, obs, gene, layer, limit))


ROUTES = [(r"anndata/colour", ColourHandler)]
