"""Columns of obs, var and other data frames in the file, described without reading them, read in parts.

Covers categories of today, of anndata 0.7 (``__categories`` with references) and of 0.6 (codes with
``uns/<column>_categories``), nullable columns, strings, and the compound tables of anndata 0.6.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pm_lab.server.elements import (
    Field,
    as_matrix,
    attribute,
    is_group,
    is_text,
    items,
    keys_of,
    matrix_names,
    member,
    texts,
)
from pm_lab.server.files import Handle
from pm_lab.server.refusals import Refused

INDEX = ":index"  # how the page calls the names of the rows
OLD_CATEGORIES = "__categories"
TYPES = {"f": "number", "i": "integer", "u": "integer", "b": "boolean", "M": "date"}
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


def frame(handle: Handle, axis: str) -> Frame:
    """The data frame ``obs``, ``var`` or ``raw/var``, without values."""
    return handle.remember(("frame", axis), lambda: _frame(handle, axis))


def _frame(handle: Handle, axis: str) -> Frame:
    group = member(handle.file, axis)
    if group is None and axis == "raw/var":
        group = member(handle.file, "raw.var")
    old_categories = member(handle.file, "uns") if axis != "raw/var" else None
    return Frame(group, axis_length(handle, axis), old_categories)


def axis_length(handle: Handle, axis: str) -> int:
    """Number of observations or variables, by the names of the rows, else by the matrices."""
    _, index = _layout(group := member(handle.file, axis))
    if index is not None:
        return int(group.shape[0] if not is_group(group) else group[index].shape[0])
    for name in keys_of(group):
        if not is_group(group[name]) and group[name].ndim == 1:
            return int(group[name].shape[0])
    place = 0 if axis == "obs" else 1
    names = matrix_names(handle) if axis != "raw/var" else {"raw/X": "raw/X"}
    for where in names.values():
        if (axis != "var" or "raw" not in where) and (item := member(handle.file, where)) is not None:
            return as_matrix(item, where).shape[place]
    for item in items(handle, f"{axis}m").values():
        if not is_group(item) and item.shape:
            return int(item.shape[0])
    return 0


class Frame:
    """A data frame in the file: its columns in order, the names of its rows, and what cannot be read."""

    def __init__(self, group: Any, n: int, old_categories: Any = None) -> None:
        self.n = n
        self.columns: dict[str, Column] = {}
        self.unreadable: dict[str, str] = {}
        self._group, self._old = group, old_categories
        names, index = _layout(group)
        for name in names:
            self._add(name)
        self.index_name = index or ""
        self.index = Column(INDEX, "string", "none", n, None)
        if index is not None:
            described = self._described(index)
            if isinstance(described, str):
                self.unreadable[index] = described
            else:
                self.index = described

    @property
    def nbytes(self) -> int:
        return 4_000 * (1 + len(self.columns))

    def column(self, name: str, where: str = "") -> Column:
        """A column by name; :data:`INDEX` or nothing for the names of the rows."""
        if name in ("", INDEX):
            return self.index
        if name in self.unreadable:
            raise Refused(422, f"The column {name!r} cannot be read: {self.unreadable[name]}", where)
        if name not in self.columns:
            raise Refused(400, f"There is no column {name!r}.", where, "Choose one that the tables list.")
        return self.columns[name]

    def _add(self, name: str) -> None:
        described = self._described(name)
        if isinstance(described, str):
            self.unreadable[name] = described
        else:
            self.columns[name] = described

    def _described(self, name: str) -> Column | str:
        """The column, or why it cannot be read."""
        try:
            item = self._group[name] if is_group(self._group) else Field(self._group, name)
            column = _of_group(name, item) if is_group(item) else self._of_array(name, item)
        except (KeyError, OSError, TypeError, ValueError) as error:
            return " ".join(str(error).split())[:200]
        if isinstance(column, Column) and column.n != self.n:
            return f"it has {column.n:,} values for {self.n:,} rows."
        return column

    def _of_array(self, name: str, array: Any) -> Column | str:
        if array.ndim != 1:
            return f"it has {array.ndim} dimensions."
        encoding = str(attribute(array, "encoding-type", "") or "array")
        categories = self._categories(name, array)
        if categories is not None and array.dtype.kind in "iu":
            return Column(name, "category", "categorical (old)", len(array), array, None, categories)
        if is_text(array):
            return Column(name, "string", encoding, array.shape[0], array)
        kind = TYPES.get(array.dtype.kind)
        if kind is None:
            return f"values of type {array.dtype} are not known here."
        return Column(name, kind, encoding, array.shape[0], array)

    def _categories(self, name: str, array: Any) -> Any:
        """Categories beside the codes: a reference or a path (0.7), or ``uns/<column>_categories`` (0.6)."""
        reference = array.attrs.get("categories")
        if reference is None:
            found = member(self._old, f"{name}_categories") if array.dtype.kind in "iu" else None
        elif isinstance(reference, str):
            found = member(member(self._group, OLD_CATEGORIES), reference.rpartition("/")[2])
        else:
            found = array.file[reference]
        return found if found is not None and not is_group(found) and found.ndim == 1 else None


def _layout(group: Any) -> tuple[list[str], str | None]:
    """Names of the columns in order, and the name under which the rows' names are kept."""
    if group is None:
        return [], None
    if not is_group(group):
        names = list(group.dtype.names or ())
        return names[1:], (names[0] if names else None)
    present = keys_of(group)
    index = attribute(group, "_index")
    if index not in present:
        index = next((name for name in ("_index", "index") if name in present), None)
    order = attribute(group, "column-order")
    if order is None:
        order = present
    elif not isinstance(order, list):
        order = [order]
    columns = [name for name in dict.fromkeys(order) if name in present]
    return [name for name in columns if name not in (index, OLD_CATEGORIES)], index


def _of_group(name: str, group: Any) -> Column | str:
    """Categories and nullable columns, each of which is a group of two arrays."""
    encoding = str(attribute(group, "encoding-type", "") or "group")
    if encoding == "categorical":
        codes, categories = group["codes"], group["categories"]
        if is_group(categories):  # nullable strings as categories
            categories = categories["values"]
        if codes.ndim != 1 or codes.dtype.kind not in "iu" or categories.ndim != 1:
            return "its codes and categories do not fit together."
        return Column(name, "category", encoding, codes.shape[0], codes, None, categories)
    if encoding in ("nullable-integer", "nullable-boolean", "nullable-string-array", "nullable-float"):
        values, mask = group["values"], group["mask"]
        kind = "string" if is_text(values) else TYPES.get(values.dtype.kind)
        if values.ndim != 1 or values.shape != mask.shape or kind is None:
            return "its values and mask do not fit together."
        return Column(name, kind, encoding, values.shape[0], values, mask)
    return f"its encoding {encoding!r} is not known here."
