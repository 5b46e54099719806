"""Columns of a cohort as the explorer takes them: their kind is inferred, said, and can be corrected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pm_lab.design import level_name
from pm_lab.errors import DataError

KINDS = ("number", "category", "text", "date")
FEW_NUMBERS = 10  # whole numbers with no more distinct values are read as categories (grade, ER = 0 or 1)
MOST_LEVELS = (
    500  # more levels than this are no categories and not charted, unless they are codes that repeat
)
MOST_CODES = 5_000
REPEATED = 10  # patients a code, on average
FEW_LEVELS = 20  # up to this many are categories even if every patient has one of his own
ISO_DATE = r"\d{4}-\d{2}-\d{2}(?:[ T]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?)?"
MOLECULAR = ("mutation_", "mut_", "cna_", "cnv_", "copy_number_", "methylation_", "fusion_")


@dataclass(frozen=True, eq=False)
class Column:
    """One column of a cohort, typed.

    ``values`` are float64 with NaN ("number"), int32 codes into ``categories`` with −1 ("category", "text"),
    or datetime64 with NaT ("date"). ``private`` columns name patients or may do so: what is filtered by them
    is written as rows, never as values.
    """

    name: str
    kind: str
    values: np.ndarray
    categories: tuple[str, ...] = ()
    n_missing: int = 0
    note: str = ""
    group: str = "clinical"
    private: bool = False

    @property
    def missing(self) -> np.ndarray:
        """True where a patient has no value."""
        return self.values < 0 if self.kind in ("category", "text") else pd.isna(self.values)

    def series(self, index: pd.Index) -> pd.Series:
        """The column in pandas: float64, Categorical of text, or datetime64."""
        values = self.values
        if self.kind in ("category", "text"):
            values = pd.Categorical.from_codes(values, list(self.categories))
        return pd.Series(values, index, name=self.name)


def typed(series: pd.Series, kind: str | None = None, group: str = "clinical") -> Column:
    """Read a column as the kind given, or as the one that its values suggest.

    Raises
    ------
    DataError
        An unknown kind, or one as which none of the values can be read.
    """
    if kind is not None and kind not in KINDS:
        raise DataError(f"{series.name!r}: kind={kind!r}; kinds are {', '.join(KINDS)}.")
    given, note, labels = kind, "", None if _measures(series) else _Labels.of(series)
    if kind is None:
        kind, note = _suggested_for_measures(series) if labels is None else _suggested_for_labels(labels)
    categories: list[str] = []
    if kind in ("category", "text"):
        labels = labels or _Labels.of(series)
        values, categories = labels.codes, labels.texts
        n_missing = int((values < 0).sum())
    else:
        values = (_numbers if kind == "number" else _dates)(series, labels)
        n_missing = int(pd.isna(values).sum())
        lost = n_missing - int(series.isna().sum())
        if lost and n_missing == len(values) and given is not None:
            raise DataError(f"{series.name!r} cannot be read as a {kind}: none of its values is one.")
        if lost:
            note = f"{lost:,} values could not be read as a {kind} and count as missing"
    values.flags.writeable = False
    return Column(
        name=str(series.name),
        kind=kind,
        values=values,
        categories=tuple(categories),
        n_missing=n_missing,
        note=note,
        group="molecular" if group == "clinical" and str(series.name).startswith(MOLECULAR) else group,
    )


def _measures(series: pd.Series) -> bool:
    """Numbers, dates and durations; everything else, booleans too, are labels."""
    types = pd.api.types
    return (types.is_numeric_dtype(series) and series.dtype.kind not in "bc") or (
        types.is_datetime64_any_dtype(series)
        or types.is_timedelta64_dtype(series)
        or isinstance(series.dtype, pd.PeriodDtype)
    )


@dataclass
class _Labels:
    """Labels as codes (int32, −1 missing) into texts, so that each text is looked at once."""

    codes: np.ndarray
    texts: list[str]

    @classmethod
    def of(cls, series: pd.Series) -> _Labels:
        if isinstance(series.dtype, pd.CategoricalDtype):  # keeps the order of the categories
            used = series.cat.remove_unused_categories()
            codes, levels, ordered = used.cat.codes.to_numpy(), used.cat.categories, True
        else:
            codes, levels = _factorized(series)
            ordered = False
        texts = [level_name(level) for level in levels]
        names = list(dict.fromkeys(texts))  # 1, 1.0 and "1" are one level
        names = names if ordered else _sorted(names)
        place = {text: position for position, text in enumerate(names)}
        lookup = np.array([*(place[text] for text in texts), -1], np.int32)
        return cls(lookup[codes], names)


def _factorized(series: pd.Series) -> tuple[np.ndarray, list]:
    try:
        return pd.factorize(series)
    except TypeError:  # a list in a cell
        return pd.factorize(series.map(str, na_action="ignore"))


def _sorted(texts: list[str]) -> list[str]:
    try:
        return sorted(texts, key=float)
    except ValueError:
        return sorted(texts)


def _suggested_for_measures(series: pd.Series) -> tuple[str, str]:
    """The kind that the values suggest, and what to say of it where that is not plain."""
    if not series.notna().any():
        return "category", _ALL_MISSING
    if pd.api.types.is_timedelta64_dtype(series):
        return "number", "durations in days"
    if not pd.api.types.is_numeric_dtype(series):
        return "date", ""
    known = series.to_numpy(float, na_value=np.nan)
    known = known[np.isfinite(known)]
    levels = pd.unique(known)
    if not len(levels) or len(levels) > FEW_NUMBERS or (levels % 1 != 0).any():
        return "number", ""
    if set(levels) <= {0.0, 1.0} or len(known) >= 10 * len(levels):
        return "category", "a few whole numbers, read as categories"
    return "number", ""


_ALL_MISSING = "missing for all patients"


def _suggested_for_labels(labels: _Labels) -> tuple[str, str]:
    n, known = len(labels.texts), int((labels.codes >= 0).sum())
    texts = pd.Series(labels.texts, dtype=object)
    if not n:
        return "category", _ALL_MISSING
    if n > FEW_NUMBERS and pd.to_numeric(texts, errors="coerce").notna().all():
        return "number", "text that holds numbers"
    if texts.str.fullmatch(ISO_DATE).all() and _parsed(texts).notna().all():
        return "date", "text that holds dates"
    codes = n <= MOST_CODES and known >= REPEATED * n
    if (n > MOST_LEVELS and not codes) or (n > FEW_LEVELS and n > known / 2):
        return "text", f"{n:,} different values for {known:,} patients: not charted, can be searched"
    return "category", ""


def _numbers(series: pd.Series, labels: _Labels | None) -> np.ndarray:
    if labels is not None:
        levels = pd.to_numeric(pd.Series([*labels.texts, None], dtype=object), errors="coerce")
        values = levels.to_numpy(float)[labels.codes]
    elif pd.api.types.is_timedelta64_dtype(series):
        values = (series.dt.total_seconds() / 86_400).to_numpy(copy=True)
    elif pd.api.types.is_numeric_dtype(series):
        values = series.to_numpy(float, na_value=np.nan, copy=True)
    else:
        raise DataError(f"{series.name!r} holds dates, which cannot be read as numbers.")
    values[~np.isfinite(values)] = np.nan
    return values


def _dates(series: pd.Series, labels: _Labels | None) -> np.ndarray:
    if labels is not None:
        return _parsed(pd.Series([*labels.texts, None], dtype=object)).to_numpy("datetime64[ns]")[
            labels.codes
        ]
    if isinstance(series.dtype, pd.PeriodDtype):
        series = series.dt.to_timestamp()
    if not pd.api.types.is_datetime64_any_dtype(series):
        raise DataError(f"{series.name!r} holds {series.dtype}, which cannot be read as dates.")
    if series.dt.tz is not None:
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    return series.to_numpy("datetime64[ns]", copy=True)


def _parsed(texts: pd.Series) -> pd.Series:
    dates = pd.to_datetime(texts, errors="coerce", format="ISO8601", utc=True)
    return dates.dt.tz_localize(None)


def content(column: Column) -> bytes:
    """The values of a column as bytes that are the same wherever the values are, for a hash."""
    if column.kind in ("category", "text"):
        levels = pd.util.hash_array(np.array(column.categories, object), categorize=False)
        return np.append(levels, np.uint64(0)).astype("<u8")[column.values].tobytes()
    if column.kind == "date":
        return column.values.astype("<i8").tobytes()
    values = column.values + 0.0  # −0 is 0
    values[np.isnan(values)] = np.nan
    return values.astype("<f8").tobytes()
