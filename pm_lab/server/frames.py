"""Data frames in the file: obs, var and others, as every version of anndata wrote them.

Covers categories of today, of anndata 0.7 (``__categories`` with references) and of 0.6 (codes with
``uns/<column>_categories``), nullable columns, strings, and the compound tables of anndata 0.6.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

from pm_lab.server.columns import INDEX, Column
from pm_lab.server.elements import (
    UNREADABLE,
    Field,
    as_matrix,
    attribute,
    is_group,
    is_text,
    items,
    keys_of,
    matrix_names,
    member,
    reason,
)
from pm_lab.server.files import Handle
from pm_lab.server.refusals import Refused

OLD_CATEGORIES = "__categories"
MOST_ROWS = 200_000_000  # a column of more would not fit in memory, nor their numbers in 32 bits
TYPES = {"f": "number", "i": "integer", "u": "integer", "b": "boolean", "M": "date"}


def frame(handle: Handle, axis: str) -> Frame:
    """The data frame ``obs``, ``var`` or ``raw/var``, without values."""
    return handle.remember(("frame", axis), lambda: _frame(handle, axis))


def _frame(handle: Handle, axis: str) -> Frame:
    old_categories = member(handle.file, "uns") if axis != "raw/var" else None
    n = axis_length(handle, axis)
    if n > MOST_ROWS:
        what = f"This table declares {n:,} rows; the viewer reads tables of at most {MOST_ROWS:,}."
        raise Refused(422, what, axis, "Write a part of it to a file of its own.")
    return Frame(_group(handle, axis), n, old_categories)


def _group(handle: Handle, axis: str) -> Any:
    """The group or compound dataset; anndata 0.6 wrote ``raw.var`` beside obs and var."""
    group = member(handle.file, axis)
    return member(handle.file, "raw.var") if group is None and axis == "raw/var" else group


def axis_length(handle: Handle, axis: str) -> int:
    """Number of observations or variables, by the names of the rows, else by the matrices."""
    _, index = _layout(group := _group(handle, axis))
    names = [] if index is None else [index]
    for item in [member(group, name) for name in (*names, *keys_of(group))] if is_group(group) else [group]:
        if (n := _n_values(item)) is not None:
            return n
    place = 0 if axis == "obs" else 1
    for name, where in matrix_names(handle).items():
        # The raw matrix has the same observations and variables of its own.
        if axis == "obs" or (axis == "raw/var") == (name == "raw/X"):
            with suppress(Refused, *UNREADABLE):  # a matrix that cannot be read is no reason to show nothing
                return as_matrix(member(handle.file, where), where).shape[place]
    for item in items(handle, f"{axis}m").values():
        if not is_group(item) and getattr(item, "shape", None):
            return int(item.shape[0])
    return 0


def _n_values(column: Any) -> int | None:
    """How many values an array, categories or a nullable column hold; None for what is no column."""
    if is_group(column):
        column = next(
            (part for name in ("codes", "values") if (part := member(column, name)) is not None), None
        )
    shape = getattr(column, "shape", None)
    return int(shape[0]) if shape is not None and len(shape) == 1 else None


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
                # Names are texts, whatever they are stored as.
                kind = "category" if described.type == "category" else "string"
                self.index = replace(described, name=INDEX, type=kind)

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
        except UNREADABLE as error:
            return reason(error)
        if isinstance(column, Column) and column.n != self.n:
            return f"it has {column.n:,} values for {self.n:,} rows."
        return column

    def _of_array(self, name: str, array: Any) -> Column | str:
        if array.ndim != 1:
            return f"it has {array.ndim} dimensions."
        encoding = str(attribute(array, "encoding-type", "") or "array")
        categories = self._categories(name, array)
        if categories is not None and array.dtype.kind in "iu":
            return Column(name, "category", "categorical (old)", array.shape[0], array, None, categories)
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
    columns = [name for name in dict.fromkeys(map(str, order)) if name in present]
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
