"""Whole columns in the least memory: numbers as they are, texts and categories as codes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pm_lab.server.columns import INDEX, Column
from pm_lab.server.elements import PIECE, pieces
from pm_lab.server.files import Handle
from pm_lab.server.frames import frame

FEW_LABELS = 100_000  # that many are sorted by themselves
LONGEST_KEY = 200  # bytes of a text that sorting looks at


@dataclass(frozen=True)
class Coded:
    """A column of texts or categories: for each row the number of its label, -1 where missing."""

    codes: np.ndarray  # int32
    n_labels: int  # unused categories too
    column: Column
    first: np.ndarray | None = None  # of texts: the row where each label is first seen

    @property
    def nbytes(self) -> int:
        return self.codes.nbytes + (0 if self.first is None else self.first.nbytes)

    def labels(self, codes: np.ndarray | None = None) -> np.ndarray:
        """The labels with these codes (all of them by default), as an object array of str."""
        codes = np.arange(self.n_labels) if codes is None else codes
        if self.first is None:
            return self.column.labels(codes)
        return self.column.take(self.first[codes]).array

    def counts(self, rows: np.ndarray | None = None) -> np.ndarray:
        """How many rows (of those where ``rows`` is true) have each label."""
        codes = self.codes if rows is None else self.codes[rows]
        return np.bincount(codes[codes >= 0], minlength=self.n_labels)


def coded(handle: Handle, axis: str, name: str) -> Coded:
    """A column of texts, categories or booleans as codes, kept for the next request."""
    column = frame(handle, axis).column(name, axis)
    return handle.remember(("coded", axis, column.name), lambda: _coded(handle, column))


def _coded(handle: Handle, column: Column) -> Coded:
    if column.type == "category":
        codes = np.empty(column.n, np.int32)
        for start, stop in pieces(column.n, 10 * PIECE):
            handle.step()
            codes[start:stop] = column.read_stored(start, stop)
        return Coded(codes, column.n_categories, column)
    hashes, missing = hashed(handle, column)
    _, first, codes = np.unique(hashes, return_index=True, return_inverse=True)
    # Labels in the order in which they are first seen, so that rows next to each other are read together.
    order = np.argsort(first, kind="stable")
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    codes, first = place[codes], first[order].astype(np.int32)
    if missing is not None:
        codes[missing] = -1
        used = np.flatnonzero(np.bincount(codes[~missing], minlength=len(first)))
        place = np.full(len(first) + 1, -1, np.int32)
        place[used] = np.arange(len(used), dtype=np.int32)
        codes = place[codes]
        first = _first_known(codes, len(used))
    return Coded(codes, len(first), column, first)


def _first_known(codes: np.ndarray, n: int) -> np.ndarray:
    """The first row of each code: a masked row may have had the same text before."""
    first = np.zeros(n, np.int32)
    rows = np.flatnonzero(codes >= 0)[::-1]
    first[codes[rows]] = rows
    return first


def hashed(handle: Handle, column: Column) -> tuple[np.ndarray, np.ndarray | None]:
    """64 bits for each value, which differ where values do, and the mask of a nullable column.

    A million different texts as Python objects take ten times the memory.
    """
    from pandas.util import hash_array

    hashes = np.empty(column.n, np.uint64)
    missing = None if column.mask is None else np.zeros(column.n, bool)
    for start, stop in pieces(column.n):
        handle.step()
        stored = column.read_stored(start, stop)
        hashes[start:stop] = hash_array(stored, categorize=False)
        if missing is not None:
            missing[start:stop] = column.read_mask(start, stop)
    return hashes, missing


def numbers(handle: Handle, axis: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """A whole column of numbers, booleans or dates, and which of its values are missing."""
    column = frame(handle, axis).column(name, axis)
    return handle.remember(("numbers", axis, column.name), lambda: _numbers(handle, column))


def _numbers(handle: Handle, column: Column) -> tuple[np.ndarray, np.ndarray]:
    array = np.empty(column.n, column.values.dtype)
    missing = np.zeros(column.n, bool)
    for start, stop in pieces(column.n, 10 * PIECE):
        handle.step()
        stored = column.read_stored(start, stop)
        array[start:stop] = stored
        missing[start:stop] = column.missing(stored, column.read_mask(start, stop))
    return array, missing


def is_coded(column: Column) -> bool:
    """Whether a column holds labels and not numbers."""
    return column.type in ("category", "string")


def row_order(handle: Handle, axis: str, name: str, descending: bool) -> np.ndarray:
    """Rows in the order of a column, as pandas sorts: equal ones as in the file, missing ones last.

    Categories come in their own order, texts by their characters.
    """
    column = frame(handle, axis).column(name or INDEX, axis)
    key = ("order", axis, column.name, descending)
    return handle.remember(key, lambda: _row_order(handle, axis, column, descending))


def _row_order(handle: Handle, axis: str, column: Column, descending: bool) -> np.ndarray:
    if not is_coded(column):
        values, missing = numbers(handle, axis, column.name)
    elif column.name == INDEX and column.type == "string" and column.mask is None:
        # Names are all different: codes would not help.
        values, missing = _all_keys(handle, column), np.zeros(column.n, bool)
    else:
        labels = coded(handle, axis, column.name)
        missing = labels.codes < 0
        values = labels.codes if column.type == "category" else _ranks(handle, labels)
    known = np.flatnonzero(~missing)
    values = values[known]
    if descending:
        order = (len(known) - 1 - np.argsort(values[::-1], kind="stable"))[::-1]
    else:
        order = np.argsort(values, kind="stable")
    return np.concatenate([known[order], np.flatnonzero(missing)]).astype(np.int32)


def _ranks(handle: Handle, labels: Coded) -> np.ndarray:
    """For each row something that sorts as its text does."""
    if labels.n_labels <= FEW_LABELS:
        order = np.argsort(_keys(labels.labels()), kind="stable")
        ranks = np.empty(labels.n_labels, np.int32)
        ranks[order] = np.arange(labels.n_labels, dtype=np.int32)
        return ranks[np.maximum(labels.codes, 0)] if labels.n_labels else labels.codes
    return _all_keys(handle, labels.column)


def _all_keys(handle: Handle, column: Column) -> np.ndarray:
    parts = [np.array([], "S1")]
    for start, stop in pieces(column.n):
        handle.step(start / column.n, f"sorting by {column.name.strip(':')}")
        parts.append(_keys(column.read_stored(start, stop)))
    return np.concatenate(parts)


def _keys(texts: np.ndarray) -> np.ndarray:
    """Texts as bytes of fixed width: compact, and sorted without holding up other threads."""
    if not len(texts):
        return np.array([], "S1")
    return np.array([text.encode("utf-8", "replace")[:LONGEST_KEY] for text in texts], "S")
