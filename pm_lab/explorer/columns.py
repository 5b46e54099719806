"""Columns of a cohort as the explorer takes them: their kind is inferred, said, and can be corrected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pm_lab.design import level_name
from pm_lab.errors import DataError

KINDS = ("number", "category", "text", "date")
FEW_NUMBERS = 10  # whole numbers with no more distinct values are read as categories (grade, ER = 0 or 1)
MOST_LEVELS = 500  # more levels than this are no categories, and are not charted
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
    note = ""
    if kind is None:
        kind, note = _suggested(series)
    values, categories, lost = _READERS[kind](series)
    if lost:
        note = f"{lost:,} values could not be read as a {kind} and count as missing"
    missing = values < 0 if categories is not None else pd.isna(values)
    values.flags.writeable = False
    return Column(
        name=str(series.name),
        kind=kind,
        values=values,
        categories=tuple(categories or ()),
        n_missing=int(missing.sum()),
        note=note,
        group="molecular" if group == "clinical" and str(series.name).startswith(MOLECULAR) else group,
    )


def _suggested(series: pd.Series) -> tuple[str, str]:
    """The kind that the values suggest, and what to say of it where that is not plain."""
    if not series.notna().any():
        return "category", f"missing for all {len(series):,} patients"
    if pd.api.types.is_bool_dtype(series):
        return "category", ""
    if pd.api.types.is_datetime64_any_dtype(series) or isinstance(series.dtype, pd.PeriodDtype):
        return "date", ""
    if pd.api.types.is_timedelta64_dtype(series):
        return "number", "durations in days"
    if pd.api.types.is_numeric_dtype(series):
        return _suggested_for_numbers(series)
    return _suggested_for_labels(series)


def _suggested_for_numbers(series: pd.Series) -> tuple[str, str]:
    if series.dtype.kind == "c":
        raise DataError(f"{series.name!r} holds complex numbers, which have no order. Leave it out.")
    known = series.to_numpy(float, na_value=np.nan)
    known = known[np.isfinite(known)]
    levels = pd.unique(known)
    if not len(levels) or len(levels) > FEW_NUMBERS or (levels % 1 != 0).any():
        return "number", ""
    if set(levels) <= {0.0, 1.0} or len(known) >= 10 * len(levels):
        return "category", f"{len(levels)} whole numbers, read as categories"
    return "number", ""


def _suggested_for_labels(series: pd.Series) -> tuple[str, str]:
    _, levels = pd.factorize(_plain(series))
    known = int(series.notna().sum())
    texts = pd.Series([level_name(level) for level in levels], dtype=object)
    if len(texts) > FEW_NUMBERS and pd.to_numeric(texts, errors="coerce").notna().all():
        return "number", "text that holds numbers"
    if (
        texts.str.fullmatch(ISO_DATE).all()
        and pd.to_datetime(texts, errors="coerce", format="ISO8601").notna().all()
    ):
        return "date", "text that holds dates"
    if len(texts) > MOST_LEVELS or (len(texts) > FEW_LEVELS and len(texts) > known / 2):
        return "text", f"{len(texts):,} different values for {known:,} patients: not charted, can be searched"
    return "category", ""


def _plain(series: pd.Series) -> pd.Series:
    """Labels as objects that can be compared: what cannot (a list in a cell) becomes its text."""
    if isinstance(series.dtype, pd.CategoricalDtype):
        return series.cat.remove_unused_categories()
    try:
        pd.factorize(series)
    except TypeError:
        return series.map(str, na_action="ignore")
    return series


def _read_number(series: pd.Series) -> tuple[np.ndarray, None, int]:
    if pd.api.types.is_timedelta64_dtype(series):
        series = series.dt.total_seconds() / 86_400
    elif not pd.api.types.is_numeric_dtype(series):
        known = series.notna()
        series = pd.to_numeric(series.astype(object).map(level_name, na_action="ignore"), errors="coerce")
        if known.any() and not series.notna().any():
            raise DataError(f"{series.name!r} cannot be read as numbers: none of its values is one.")
        values = series.to_numpy(float, na_value=np.nan, copy=True)
        return _finite(values), None, int(known.sum() - np.isfinite(values).sum())
    values = series.to_numpy(float, na_value=np.nan, copy=True)
    n_infinite = int(np.isinf(values).sum())
    return _finite(values), None, n_infinite


def _finite(values: np.ndarray) -> np.ndarray:
    values[~np.isfinite(values)] = np.nan
    return values


def _read_labels(series: pd.Series) -> tuple[np.ndarray, list[str], int]:
    plain = _plain(series)
    if isinstance(plain.dtype, pd.CategoricalDtype):  # keeps the order of the categories
        codes, levels = plain.cat.codes.to_numpy(), plain.cat.categories
    else:
        codes, levels = pd.factorize(plain, sort=False)
    texts = [level_name(level) for level in levels]
    ordered = list(dict.fromkeys(texts))  # 1, 1.0 and "1" are one level
    if not isinstance(plain.dtype, pd.CategoricalDtype):
        ordered = _sorted(ordered)
    place = {text: position for position, text in enumerate(ordered)}
    lookup = np.array([*(place[text] for text in texts), -1], np.int32)
    return lookup[codes], ordered, 0


def _sorted(texts: list[str]) -> list[str]:
    try:
        return sorted(texts, key=float)
    except ValueError:
        return sorted(texts)


def _read_date(series: pd.Series) -> tuple[np.ndarray, None, int]:
    known = series.notna()
    if isinstance(series.dtype, pd.PeriodDtype):
        dates = series.dt.to_timestamp()
    elif pd.api.types.is_datetime64_any_dtype(series):
        dates = series
    else:
        dates = pd.to_datetime(
            series.astype(object).map(str, na_action="ignore"), errors="coerce", format="ISO8601"
        )
    if dates.dt.tz is not None:
        dates = dates.dt.tz_convert("UTC").dt.tz_localize(None)
    if known.any() and not dates.notna().any():
        raise DataError(f"{series.name!r} cannot be read as dates: write them as 2020-01-31.")
    return dates.to_numpy("datetime64[ns]", copy=True), None, int(known.sum() - dates.notna().sum())


_READERS = {"number": _read_number, "category": _read_labels, "text": _read_labels, "date": _read_date}
