"""Filters of patients: each gives its mask, says itself in words and in pandas, and travels as JSON."""

from __future__ import annotations

import base64
import json
import math
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab.errors import DataError

if TYPE_CHECKING:
    from .cohort_data import CohortData

ONLY = "only"  # missing="only": those without a value
FITTED = "by a risk that was fitted to some of these patients"
REASONS = re.compile(  # why patients were chosen, in a text from elsewhere
    rf"picked by hand|by risk|{FITTED}"
    r"|(with a chosen value|with one of [\d,]{1,12} chosen values|in a chosen range)( or missing)?"
)


def inside_polygon(x: np.ndarray, y: np.ndarray, polygon) -> np.ndarray:
    """Which points lie inside a polygon, by the even–odd rule; NaN lies nowhere.

    Examples
    --------
    >>> from pm_lab.explorer import inside_polygon
    >>> inside_polygon([0.5, 2.0], [0.5, 0.5], [(0, 0), (1, 0), (1, 1), (0, 1)]).tolist()
    [True, False]
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    corners = np.asarray(polygon, float)
    (left, low), (right, high) = corners.min(axis=0), corners.max(axis=0)
    near = np.flatnonzero((x >= left) & (x <= right) & (y >= low) & (y <= high))
    px, py, odd = x[near], y[near], np.zeros(len(near), bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        crosses = (y0 > py) != (y1 > py)
        odd ^= crosses & (px < (x1 - x0) * (py - y0) / (y1 - y0) + x0)
    inside = np.zeros(len(x), bool)
    inside[near] = odd
    return inside


@dataclass(frozen=True)
class RangeFilter:
    """``low`` ≤ value < ``high`` of a column of numbers or dates, or of a gene."""

    column: str
    low: float | str | None = None  # of dates: ISO text
    high: float | str | None = None
    missing: bool | str = False

    @property
    def key(self) -> str:
        return self.column

    def values(self, data: CohortData) -> np.ndarray:
        return data.column(self.column).values

    def mask(self, data: CohortData) -> np.ndarray:
        values = self.values(data)
        if self.missing == ONLY:
            return pd.isna(values)
        low, high = (_threshold(values, limit) for limit in (self.low, self.high))
        if low is None and high is None:
            return ~pd.isna(values)
        mask = values >= low if low is not None else values < high
        if low is not None and high is not None:
            mask &= values < high
        return mask | pd.isna(values) if self.missing else mask

    def describe(self) -> str:
        name = named(self.called())
        if self.missing == ONLY:
            return f"{name} missing"
        low, high = (None if limit is None else number_text(limit) for limit in (self.low, self.high))
        if low is None and high is None:
            return f"{name} known"
        if high is None:
            said = f"{name} ≥ {low}"
        else:
            said = f"{name} < {high}" if low is None else f"{low} ≤ {name} < {high}"
        return f"({said} or missing)" if self.missing else said

    def called(self) -> str:
        return self.column

    def code(self) -> str:
        place = f"table[{self.key!r}]"
        if self.missing == ONLY:
            return f"{place}.isna()"
        parts = [f"({place} >= {self.low!r})"] if self.low is not None else []
        parts += [f"({place} < {self.high!r})"] if self.high is not None else []
        if not parts:
            return f"{place}.notna()"
        said = " & ".join(parts)
        return f"({said} | {place}.isna())" if self.missing else (f"({said})" if len(parts) > 1 else said)

    def to_dict(self) -> dict:
        return {
            "kind": "range",
            "column": self.column,
            "low": self.low,
            "high": self.high,
            "missing": self.missing,
        }


@dataclass(frozen=True)
class GeneFilter(RangeFilter):
    """``low`` ≤ expression < ``high`` of a gene; thresholds are float32, as the values are."""

    @property
    def key(self) -> str:
        return f"gene:{self.column}"

    def values(self, data: CohortData) -> np.ndarray:
        return data.gene(self.column)

    def called(self) -> str:
        return f"{self.column} expression"

    def to_dict(self) -> dict:
        return {**super().to_dict(), "kind": "gene"}


@dataclass(frozen=True)
class CategoryFilter:
    """One of some categories of a column."""

    column: str
    chosen: tuple[str, ...]
    missing: bool | str = False

    @property
    def key(self) -> str:
        return self.column

    def mask(self, data: CohortData) -> np.ndarray:
        column = data.column(self.column)
        wanted = set(self.chosen)
        lookup = np.array([*(name in wanted for name in column.categories), bool(self.missing)], bool)
        return lookup[column.values]

    def describe(self) -> str:
        name, values = named(self.column), [quoted(value) for value in self.chosen]
        if not values:
            return f"{name} missing" if self.missing else f"{name} is none of its values"
        said = f"{name} = {values[0]}" if len(values) == 1 else f"{name} is one of {', '.join(values)}"
        return f"({said} or missing)" if self.missing else said

    def without_rare(self, data: CohortData, least: int) -> CategoryFilter:
        """For words alone: values that fewer than ``least`` patients have are not named."""
        column = data.column(self.column)
        counts = np.bincount(column.values[column.values >= 0], minlength=len(column.categories))
        common = {name for name, n in zip(column.categories, counts, strict=True) if n >= least}
        named_ones = [value for value in self.chosen if value in common]
        n_rare = len(self.chosen) - len(named_ones)
        rare = ["a rare value"] if n_rare == 1 else [f"{n_rare:,} rare values"] if n_rare else []
        return replace(self, chosen=(*named_ones, *rare))

    def code(self) -> str:
        place = f"table[{self.column!r}]"
        if not self.chosen:
            return f"{place}.isna()" if self.missing else f"{place}.isin([])"
        said = f"{place}.isin({list(self.chosen)!r})"
        return f"({said} | {place}.isna())" if self.missing else said

    def to_dict(self) -> dict:
        return {
            "kind": "category",
            "column": self.column,
            "values": list(self.chosen),
            "missing": self.missing,
        }


@dataclass(frozen=True)
class RowsFilter:
    """Patients by the place of their rows: picked by hand, or by values that may name them."""

    key: str
    packed: bytes
    n_rows: int
    why: str = "picked by hand"

    @classmethod
    def of(cls, mask: np.ndarray, key: str, why: str = "picked by hand") -> RowsFilter:
        return cls(key, np.packbits(np.asarray(mask, bool)).tobytes(), len(mask), why)

    def mask(self, data: CohortData | None = None) -> np.ndarray:
        return np.unpackbits(np.frombuffer(self.packed, np.uint8), count=self.n_rows).astype(bool)

    def describe(self, count: Callable[[int], str] = "{:,}".format) -> str:
        n = int(self.mask().sum())
        name = "" if self.key == "patients" else f"{named(self.key)}: "
        number = count(n)
        return f"{name}{number} patient{'' if number == '1' else 's'} {self.why}"

    def code(self) -> str:
        rows = np.flatnonzero(self.mask()).tolist()
        return f"pd.Series(range(len(table)), table.index).isin({rows})"

    def to_dict(self) -> dict:
        bits = base64.b64encode(zlib.compress(self.packed, 9)).decode()
        return {"kind": "rows", "key": self.key, "bits": bits, "n_rows": self.n_rows, "why": self.why}


@dataclass(frozen=True)
class LassoFilter:
    """Patients inside a polygon drawn on an embedding (even–odd rule)."""

    embedding: str
    polygon: tuple[tuple[float, float], ...]

    @property
    def key(self) -> str:
        return f"lasso:{self.embedding}"

    def mask(self, data: CohortData) -> np.ndarray:
        x, y = data.embedding(self.embedding).T
        return inside_polygon(x, y, self.polygon)

    def describe(self) -> str:
        corners = " ".join(f"({number_text(x)}, {number_text(y)})" for x, y in self.polygon)
        return f"inside a lasso on {named(self.embedding)} with the corners {corners}"

    def brief(self) -> str:
        """In words, without the numbers."""
        return f"inside a lasso on {named(self.embedding)} ({len(self.polygon):,} corners)"

    def code(self) -> str:
        axes = ", ".join(f"table[{f'{self.embedding}:{axis}'!r}]" for axis in (1, 2))
        return f"pd.Series(pm.explorer.inside_polygon({axes}, {list(self.polygon)!r}), table.index)"

    def to_dict(self) -> dict:
        return {"kind": "lasso", "embedding": self.embedding, "polygon": [list(p) for p in self.polygon]}


Filter = RangeFilter | GeneFilter | CategoryFilter | RowsFilter | LassoFilter


def said(filters: Iterable[Filter], count: Callable[[int], str], brief: bool = False) -> str:
    """Filters in words; ``count`` writes numbers of patients, ``brief`` leaves out the corners of a lasso."""
    return " and ".join(
        one.describe(count)
        if isinstance(one, RowsFilter)
        else one.brief()
        if brief and isinstance(one, LassoFilter)
        else one.describe()
        for one in filters
    )


def code_of(filters: Iterable[Filter]) -> str:
    """Filters as one expression of bools over ``table``."""
    return " & ".join(one.code() for one in filters) or "pd.Series(True, table.index)"


def range_filter(data: CohortData, column: str, low, high, missing) -> RangeFilter | RowsFilter | None:
    """Checked against the data; None where it keeps everyone; of a column that may name patients, as rows."""
    about = data.column(column)
    kind = about.kind
    if kind not in ("number", "date"):
        raise DataError(f"{column!r} is a {kind}: choose among its values with set_categories, or retype it.")
    read = _date if kind == "date" else _number
    made = _range(RangeFilter, column, read(low, "low"), read(high, "high"), missing)
    if made is None or not about.private or (made.low is None and made.high is None):
        return made
    return RowsFilter.of(made.mask(data), column, f"in a chosen range{' or missing' if made.missing else ''}")


def gene_filter(data: CohortData, gene: str, low, high, missing) -> GeneFilter | None:
    """Checked against the data; None where it keeps everyone."""
    data.gene(gene)
    low, high = (_as_float32(_number(limit, name)) for limit, name in ((low, "low"), (high, "high")))
    return _range(GeneFilter, str(gene), low, high, missing)


def _range(kind, name: str, low, high, missing) -> RangeFilter | None:
    if not isinstance(missing, bool | np.bool_ | str) or missing not in (False, True, ONLY):
        raise DataError(f"missing={missing!r}: False, True (or missing) or 'only'.")
    if missing == ONLY:
        return kind(name, None, None, ONLY)
    if low is not None and high is not None and low >= high:
        raise DataError(f"{name!r}: no value is at least {low} and below {high}. Put low below high.")
    if low is None and high is None and missing:
        return None
    return kind(name, low, high, bool(missing))


def category_filter(data: CohortData, column: str, values, missing) -> CategoryFilter | RowsFilter:
    """Checked against the data; of a column that may name patients, as rows."""
    about = data.column(column)
    if about.kind not in ("category", "text"):
        raise DataError(f"{column!r} is a {about.kind}: choose a range with set_range, or retype it.")
    if not isinstance(missing, bool | np.bool_ | str) or missing not in (False, True, ONLY):
        raise DataError(f"missing={missing!r}: False, True (or missing) or 'only'.")
    from pm_lab.design import level_name

    asked = [] if missing == ONLY else list(dict.fromkeys(map(level_name, _listed(values))))
    known = set(about.categories)
    unknown = [value for value in asked if value not in known]
    if unknown:
        there = "" if about.private else f"; there are {', '.join(about.categories[:8])}"
        raise DataError(f"{column!r} has no value {', '.join(map(repr, unknown[:5]))}{there}.")
    wanted = set(asked)
    ordered = tuple(name for name in about.categories if name in wanted)
    chosen = CategoryFilter(column, ordered, bool(missing))
    if not about.private or not ordered:
        return chosen
    why = f"with one of {len(ordered):,} chosen values" if len(ordered) > 1 else "with a chosen value"
    return RowsFilter.of(chosen.mask(data), column, f"{why}{' or missing' if missing else ''}")


def rows_filter(data: CohortData, ids) -> RowsFilter:
    """Patients by their names, or by a bool mask of all of them."""
    return RowsFilter.of(rows_of(data, ids), "patients")


def rows_of(data: CohortData, ids) -> np.ndarray:
    """A mask of patients from names, a bool array, or a bool Series by name."""
    if isinstance(ids, pd.Series) and ids.dtype != object and pd.api.types.is_bool_dtype(ids):
        if ids.isna().any():
            raise DataError(f"the choice is missing for {int(ids.isna().sum()):,} patients: fill it in.")
        ids = ids.index[ids.to_numpy(bool)]
    values = np.asarray(_listed(ids))
    if values.dtype == bool:
        if values.shape != (data.n,):
            raise DataError(
                f"a mask of {values.size:,} values for {data.n:,} patients: one is needed for each."
            )
        return values.copy()
    names = pd.Index([str(value) for value in values.tolist()], dtype=object).unique()
    place = data.patients.get_indexer(names)
    if (place < 0).any():
        raise DataError(
            f"{int((place < 0).sum()):,} of {len(names):,} names are of no patient of the cohort, such as "
            f"{', '.join(names[place < 0][:3])}."
        )
    mask = np.zeros(data.n, bool)
    mask[place] = True
    return mask


def lasso_filter(data: CohortData, embedding: str, polygon) -> LassoFilter:
    """Checked against the data."""
    data.embedding(embedding)
    try:
        corners = tuple((float(x), float(y)) for x, y in polygon)
    except (TypeError, ValueError):
        raise DataError("a lasso is a list of corners, (x, y) each.") from None
    if len(corners) < 3 or not np.isfinite(corners).all():
        raise DataError(f"a lasso needs 3 corners at least, all finite; it has {len(corners)}.")
    return LassoFilter(embedding, corners)


FIELDS = {
    "range": {"column", "low", "high", "missing"},
    "gene": {"column", "low", "high", "missing"},
    "category": {"column", "values", "missing"},
    "rows": {"key", "bits", "n_rows", "why"},
    "lasso": {"embedding", "polygon"},
}


def from_dict(data: CohortData, given: Mapping) -> Filter:
    """A filter from what :meth:`to_dict` wrote, checked against the data as a new one is."""
    kind = given.get("kind") if isinstance(given, Mapping) else None
    if not isinstance(kind, str) or kind not in FIELDS or set(given) != {"kind", *FIELDS[kind]}:
        raise DataError(f"a filter that this version does not know: {json.dumps(given, default=str)[:120]}.")
    if kind in ("range", "gene"):
        make = range_filter if kind == "range" else gene_filter
        made = make(data, given["column"], given["low"], given["high"], given["missing"])
        if made is None:
            raise DataError(f"the filter of {given['column']!r} keeps everyone, which is none.")
        return made
    if kind == "category":
        return category_filter(data, given["column"], given["values"], given["missing"])
    if kind == "lasso":
        return lasso_filter(data, given["embedding"], given["polygon"])
    return _rows_from_dict(data, given)


def _rows_from_dict(data: CohortData, given: Mapping) -> RowsFilter:
    size = (data.n + 7) // 8
    try:
        unpacker = zlib.decompressobj()
        packed = unpacker.decompress(base64.b64decode(given["bits"], validate=True), size + 1)
    except (ValueError, TypeError, zlib.error):
        raise DataError("chosen patients cannot be read: the text was changed or cut.") from None
    if len(packed) != size or given["n_rows"] != data.n:
        raise DataError(f"chosen patients are of {given['n_rows']} rows, the cohort has {data.n:,}.")
    key, why = given["key"], given["why"]
    if not isinstance(key, str) or not isinstance(why, str) or not REASONS.fullmatch(why):
        raise DataError("chosen patients lack their key or their reason: the text was changed.")
    if key != "patients":
        data.column(key)
    mask = np.unpackbits(np.frombuffer(packed, np.uint8), count=data.n)
    return RowsFilter.of(mask, key, why)


def number_text(value: float | str) -> str:
    """A threshold exactly, 40.0 as 40."""
    if isinstance(value, str):
        return value
    return repr(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def named(name: str) -> str:
    return name if name.replace("_", "a").replace(" ", "a").isalnum() else quoted(name)


def quoted(text: str) -> str:
    """As it is where it reads as one word or phrase, else in quotes."""
    plain = text and text.strip() == text and text.isprintable()
    plain = plain and not any(sign in text for sign in (*',"():≥≤<=', " and ", " or "))
    return text if plain else json.dumps(text, ensure_ascii=False)


def _listed(values) -> list:
    if isinstance(values, str):
        return [values]
    try:
        return list(values)
    except TypeError:
        return [values]


def _number(value, name: str) -> float | None:
    if value is None:
        return None
    try:
        if isinstance(value, str | bool | np.bool_):
            raise TypeError
        value = float(value)
    except (TypeError, ValueError):
        raise DataError(f"{name}={value!r}: a number is needed.") from None
    if math.isnan(value):
        raise DataError(f"{name} is NaN: a number is needed, or None for an open end.")
    return None if math.isinf(value) else value


def _as_float32(value: float | None) -> float | None:
    return None if value is None else float(str(np.float32(value)))


def _date(value, name: str) -> str | None:
    if value is None:
        return None
    try:
        date = pd.Timestamp(value)
    except (TypeError, ValueError):
        date = pd.NaT
    if date is pd.NaT or isinstance(value, int | float):
        raise DataError(f"{name}={value!r}: a date is needed, such as '2020-01-31'.")
    date = date.tz_convert("UTC").tz_localize(None) if date.tz is not None else date
    return date.isoformat() if date != date.normalize() else date.date().isoformat()


def _threshold(values: np.ndarray, limit):
    if isinstance(limit, str):
        return np.datetime64(pd.Timestamp(limit).to_datetime64(), "ns")
    return None if limit is None else values.dtype.type(limit)
