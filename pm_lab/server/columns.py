"""A column of a data frame in the file: described without reading it, read in parts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pm_lab.server.elements import is_text, texts

INDEX = ":index"  # how the page calls the names of the rows
CLOSE = 64  # rows this near to each other are read in one go
EXACT = 2**53  # whole numbers beyond it are not exact in a page


@dataclass(frozen=True)
class Values:
    """A part of a column: numbers, booleans or labels, and which of them mean nothing."""

    type: str
    array: np.ndarray
    missing: np.ndarray

    def listed(self) -> list:
        """As JSON: None for missing, infinity as a text, whole numbers that JSON cannot hold as texts."""
        return [None if gone else plain(value) for value, gone in zip(self.array, self.missing, strict=True)]


def plain(value: Any) -> Any:
    """One value as JSON can hold it."""
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else str(value)
    if isinstance(value, np.float32 | np.float16):
        value = float(str(value))  # 0.1 and not 0.10000000149
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else (None if math.isnan(value) else str(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) <= EXACT else str(value)
    return value if isinstance(value, str | bool) else str(value)


@dataclass(frozen=True)
class Column:
    """Where a column lies and of what type it is."""

    name: str
    type: str  # "number", "integer", "boolean", "category", "string" or "date"
    encoding: str
    n: int
    values: Any  # numbers, booleans, strings, or the codes of categories; None for rows without names
    mask: Any = None
    categories: Any = None

    @property
    def n_categories(self) -> int:
        return 0 if self.categories is None else int(self.categories.shape[0])

    def read(self, start: int, stop: int) -> Values:
        """Rows ``start`` to ``stop``, read without the rest."""
        stop = min(stop, self.n)
        return self._values(self.read_stored(start, stop), self.read_mask(start, stop))

    def take(self, rows: np.ndarray) -> Values:
        """The values of any rows in any order."""
        close = max(CLOSE, chunk_rows(self.values))
        mask = None if self.mask is None else take(self._read_mask, rows, close)
        return self._values(take(self.read_stored, rows, close), mask)

    def read_stored(self, start: int, stop: int) -> np.ndarray:
        """What is stored: codes (int32, -1 where missing) and not labels; masked values as they are."""
        if self.values is None:
            return np.array([str(row) for row in range(start, stop)], object)
        if self.type == "string":
            return texts(self.values, start, stop)
        array = np.asarray(self.values[start:stop])
        if self.type == "category":
            return np.where((array < 0) | (array >= self.n_categories), -1, array).astype(np.int32)
        return array

    def missing(self, stored: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """Which of the stored values mean nothing."""
        nothing = np.zeros(len(stored), bool) if mask is None else mask
        if self.type == "category":
            return nothing | (stored < 0)
        if stored.dtype.kind in "fM":
            return nothing | (np.isnan(stored) if stored.dtype.kind == "f" else np.isnat(stored))
        return nothing

    def read_mask(self, start: int, stop: int) -> np.ndarray | None:
        """The mask of a nullable column; None where it has none."""
        return None if self.mask is None else self._read_mask(start, stop)

    def _read_mask(self, start: int, stop: int) -> np.ndarray:
        return np.asarray(self.mask[start:stop]).astype(bool)

    def _values(self, stored: np.ndarray, mask: np.ndarray | None) -> Values:
        missing = self.missing(stored, mask)
        if self.type == "category":
            stored = self.labels(np.where(missing, 0, stored), missing)
        return Values(self.type, stored, missing)

    def labels(self, codes: np.ndarray, missing: np.ndarray | None = None) -> np.ndarray:
        """The labels that belong to these codes, of which only those needed are read."""
        found = np.full(len(codes), None, object)
        known = np.ones(len(codes), bool) if missing is None else ~missing
        wanted, places = np.unique(codes[known], return_inverse=True)
        if len(wanted):
            gap = max(CLOSE, chunk_rows(self.categories))
            found[known] = take(self._read_labels, wanted, gap)[places]
        return found

    def _read_labels(self, start: int, stop: int) -> np.ndarray:
        if is_text(self.categories):
            return texts(self.categories, start, stop)
        read = np.asarray(self.categories[start:stop])
        return np.array([plain(one) for one in read] + [None], object)[:-1]


def chunk_rows(array: Any) -> int:
    """Rows of one chunk, which are decompressed together anyway."""
    chunks = getattr(array, "chunks", None)
    return int(chunks[0]) if chunks else 0


def take(read: Callable[[int, int], np.ndarray], rows: np.ndarray, close: int) -> np.ndarray:
    """Pick rows in any order from what can be read in stretches; rows close to each other in one stretch."""
    rows = np.asarray(rows, np.int64)
    if not len(rows):
        return read(0, 0)
    if rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
        return read(int(rows[0]), int(rows[-1]) + 1)
    order = np.argsort(rows, kind="stable")
    ascending = rows[order]
    starts = np.flatnonzero(np.diff(ascending, prepend=ascending[0] - close - 1) > close)
    parts = []
    for start, stop in zip(starts, [*starts[1:], len(rows)], strict=True):
        low = int(ascending[start])
        parts.append(read(low, int(ascending[stop - 1]) + 1)[ascending[start:stop] - low])
    read_rows = np.concatenate(parts)
    picked = np.empty_like(read_rows)
    picked[order] = read_rows
    return picked
