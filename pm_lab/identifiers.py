"""A check of columns that may identify a patient: a linter with warnings, no claim of compliance.

It looks for patterns in names and values. What it does not name is not thereby safe: rare values together
(an age, a tumour, a town) can single somebody out, and names in a code of their own look like any label.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from datetime import date as Date

import pandas as pd

ROWS_READ = 20_000  # of a column of text, evenly spaced; numbers and dates are read whole
OLDEST, OLDEST_AGE = 89, 130  # ages above the first are few; above the second they are no ages in years
UNKNOWN_CODES = (-9, -99, -999, 777, 888, 999, 9999)  # what stands for an unknown age
MOST = 0.8  # share of the values that must look alike where one value alone says little
MANY = 0.3  # the same, of what hardly is anything else
FREE_TEXT_WORDS = 6
MASKED = 24  # characters of an example

EMAIL = r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}"
PHONE = r"\+\d[\d\s().-]{6,}\d|\(?\d{3}\)?[-. ]\d{3}[-. ]\d{4}|0\d{2,4}[-/ ]\d{3}[\d\s/-]{3,}"
SOCIAL_SECURITY = r"\d{3}-\d{2}-\d{4}"
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
PLAIN_DATES = (  # these are nothing else
    r"(?:19|20)\d{2}-\d{1,2}-\d{1,2}(?:[ T].*)?|\d{1,2}[./]\d{1,2}[./](?:19|20)\d{2}"
    rf"|\d{{1,2}}(?:st|nd|rd|th)?[. -]*(?:of )?{_MONTH}[. ,-]+\d{{2,4}}"
    rf"|{_MONTH}\.? \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}}"
)
# A year and a month are finer than a year too.
DATES = (
    rf"{PLAIN_DATES}|\d{{4}}-\d{{1,2}}(?:-\d{{1,2}}(?:[ T].*)?)?|\d{{4}}[/.]\d{{1,2}}[/.]\d{{1,2}}"
    r"|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}"
)
COMPACT_DATE = r"(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
POSTAL = r"[A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2}|[A-Z]\d[A-Z] \d[A-Z]\d|\d{5}-\d{4}"
PERSON = (
    r"[A-ZÀ-Þ][a-zà-ÿ'’]+(?:-[A-ZÀ-Þ][a-zà-ÿ]+)?,? (?:[A-Z]\. )?[A-ZÀ-Þ][a-zà-ÿ'’]+(?:-[A-ZÀ-Þ][a-zà-ÿ]+)?"
)
TITLED = r"(?:Mr|Mrs|Ms|Dr|Prof|Herr|Frau)\.? [A-ZÀ-Þ][a-zà-ÿ].*"

AGE_WORDS = {"age", "ages", "alter"}
DATE_WORDS = {
    "date",
    "dob",
    "dod",
    "birth",
    "birthday",
    "birthdate",
    "datum",
    "day",
    "surgery",
    "visit",
    "death",
}
BIRTH_WORDS = {"birth", "born", "yob", "birthyear", "geburtsjahr"}
POSTAL_WORDS = {"zip", "zipcode", "postcode", "postal", "plz", "postleitzahl", "address", "street", "adresse"}
PHONE_WORDS = {"phone", "telephone", "tel", "mobile", "fax", "telefon", "cellphone"}
RECORD_WORDS = {"mrn", "ssn", "nhs", "insurance", "passport", "hospitalnumber", "recordnumber", "fallnummer"}
NUMBER_WORDS = {"id", "no", "nr", "num", "number", "record", "case", "chart", "accession", "patient"}
PERSON_WORDS = {"surname", "lastname", "firstname", "forename", "vorname", "nachname", "fullname", "initials"}
PERSON_WORDS |= {"physician", "doctor", "surgeon", "oncologist"}
NAMED_PERSONS = {"patient", "full", "first", "last", "family", "given", "middle", "maiden", "contact", "kin"}


def identifier_columns(table: pd.DataFrame) -> pd.DataFrame:
    """Columns of a table that may identify a patient, with the reason.

    Looked for are dates finer than a year, ages over 89, postal codes and addresses, e-mail addresses, phone
    numbers, record numbers, names of persons, and free text, which can hold any of these. The names of the
    rows are looked at as the column ``patient``. A linter: it finds patterns and proves nothing.

    Parameters
    ----------
    table : one row per patient. Of columns of text up to 20,000 rows are read, evenly spaced.

    Returns
    -------
    pandas.DataFrame
        One row a column found: ``column``, ``reason``, ``n`` values that look so (of those read), and
        ``example_masked``, the shape of one of them with letters as x and digits as 9.

    Examples
    --------
    >>> import pandas as pd
    >>> from pm_lab.identifiers import identifier_columns
    >>> table = pd.DataFrame({"stage": ["I", "II"], "contact": ["ann@example.org", "bob@example.org"]})
    >>> identifier_columns(table)[["column", "reason", "example_masked"]].values.tolist()
    [['contact', 'e-mail addresses', 'xxx@xxxxxxx.xxx']]
    """
    columns = {str(name): table.iloc[:, place] for place, name in enumerate(table.columns)}
    if not isinstance(table.index, pd.RangeIndex | pd.MultiIndex):
        columns.setdefault("patient", table.index.to_series().reset_index(drop=True))
    found = []
    for name, values in columns.items():
        flagged = _of_numbers(name, values) if _holds_numbers(values) else _of_text(name, values)
        if flagged is not None:
            reason, n, example = flagged
            found.append((name, reason, n, _masked(example)))
    return pd.DataFrame(found, columns=["column", "reason", "n", "example_masked"])


def words_of(name: str) -> set[str]:
    """The words of a column's name, and pairs of them: ``zipCode`` has zip, code and zipcode."""
    parts = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    words = [word.lower() for word in re.findall(r"[^\W\d_]+", parts)]
    return {*words, *(a + b for a, b in itertools.pairwise(words))}


def _holds_numbers(values: pd.Series) -> bool:
    types = pd.api.types
    return types.is_numeric_dtype(values) or types.is_datetime64_any_dtype(values)


def _of_numbers(name: str, values: pd.Series) -> tuple[str, int, str] | None:
    known, words = values.dropna(), words_of(name)
    if not len(known) or pd.api.types.is_bool_dtype(values):
        return None
    if pd.api.types.is_datetime64_any_dtype(values):
        finer = known[(known.dt.dayofyear != 1) | (known != known.dt.normalize())]
        return _found("dates finer than a year", finer)
    if values.dtype.kind == "c" or (known % 1 != 0).any():
        return _old_ages(known) if words & AGE_WORDS else None
    if words & AGE_WORDS and (old := _old_ages(known)):
        return old
    if words & BIRTH_WORDS and (old := _old_years(known)):
        return old
    sample = _sampled(known).astype("int64", errors="ignore").astype(str)
    if (compact := sample.str.fullmatch(COMPACT_DATE)).mean() >= MANY:
        return _found("dates finer than a year", sample[compact])
    for named, reason in ((POSTAL_WORDS, "postal codes or addresses"), (PHONE_WORDS, "phone numbers")):
        if words & named and (sample.str.len() >= 4).mean() >= MOST:
            return _found(reason, sample)
    if words & RECORD_WORDS or (words & NUMBER_WORDS and _like_record_numbers(sample)):
        return _found("record numbers", sample)
    return None


def _found(reason: str, which: pd.Series) -> tuple[str, int, str] | None:
    return (reason, len(which), str(which.iloc[0])) if len(which) else None


def _old_ages(known: pd.Series) -> tuple[str, int, str] | None:
    ages = known[~known.isin(UNKNOWN_CODES)]
    in_years = (ages <= OLDEST_AGE).all()
    return _found(f"ages over {OLDEST}", ages[ages > OLDEST]) if in_years else None


def _old_years(known: pd.Series) -> tuple[str, int, str] | None:
    """Years of birth of people who would be over 89 today."""
    today = Date.today().year
    old = known.between(today - OLDEST_AGE, today - OLDEST - 1)
    return _found(f"ages over {OLDEST}", known[old])


def _like_record_numbers(texts: pd.Series) -> bool:
    """Long numbers, one for each patient, of about the same length."""
    long = texts.str.fullmatch(r"\d{6,12}")
    alike = texts.str.len().value_counts(normalize=True).iloc[0] >= MOST
    return len(texts) > 1 and bool(long.mean() >= MOST and texts.is_unique and alike)


@dataclass
class _Texts:
    """Different texts of a column and how many patients have each, so that each is looked at once."""

    values: pd.Series
    counts: pd.Series

    @classmethod
    def of(cls, values: pd.Series) -> _Texts:
        counts = _sampled(values.dropna()).astype(str).str.strip().value_counts(sort=False)
        counts = counts[counts.index != ""]
        return cls(counts.index.to_series().reset_index(drop=True), counts.reset_index(drop=True))

    @property
    def n(self) -> int:
        return int(self.counts.sum())

    def share(self, which: pd.Series) -> float:
        return float(self.counts[which].sum() / self.n)

    def mostly(self, which: pd.Series) -> pd.Series | None:
        return which if self.share(which) >= MOST else None

    def mostly_different(self) -> bool:
        return len(self.values) > max(1, self.n / 2)

    def fullmatch(self, pattern: str, ignore_case: bool = False) -> pd.Series:
        return self.values.str.fullmatch(pattern, flags=re.IGNORECASE if ignore_case else 0)


def _of_text(name: str, values: pd.Series) -> tuple[str, int, str] | None:
    texts = _Texts.of(values)
    if not len(texts.values):
        return None
    words = words_of(name)
    for reason, finder in _TEXT_CHECKS:
        which = finder(texts, words)
        if which is not None and which.any():
            return reason, int(texts.counts[which].sum()), texts.values[which].iloc[0]
    return None


def _sampled(values: pd.Series) -> pd.Series:
    return values.iloc[:: -(-len(values) // ROWS_READ)] if len(values) > ROWS_READ else values


def _emails(texts: _Texts, words: set[str]) -> pd.Series:
    return texts.values.str.contains(EMAIL)


def _social_security(texts: _Texts, words: set[str]) -> pd.Series:
    return texts.fullmatch(SOCIAL_SECURITY)


def _dates(texts: _Texts, words: set[str]) -> pd.Series | None:
    """Each of them where the name says date; else many, or most of what may be anything, such as 1-2-10."""
    dates, compact = texts.fullmatch(DATES, ignore_case=True), texts.fullmatch(COMPACT_DATE)
    if words & DATE_WORDS:
        return dates | compact
    for plain in (texts.fullmatch(PLAIN_DATES, ignore_case=True), compact):
        if texts.share(plain) >= MANY:
            return dates | plain
    return texts.mostly(dates)


def _text_ages(texts: _Texts, words: set[str]) -> pd.Series | None:
    if not words & AGE_WORDS:
        return None
    ages = pd.to_numeric(texts.values, errors="coerce")
    ages = ages.mask(ages.isin(UNKNOWN_CODES))
    return None if (ages > OLDEST_AGE).any() else ages > OLDEST


def _postal(texts: _Texts, words: set[str]) -> pd.Series | None:
    if words & POSTAL_WORDS:
        return texts.values.str.contains(r"\d")
    return texts.mostly(texts.fullmatch(POSTAL))


def _phones(texts: _Texts, words: set[str]) -> pd.Series | None:
    if words & PHONE_WORDS:
        return texts.values.str.count(r"\d") >= 6
    return texts.mostly(texts.fullmatch(PHONE))


def _records(texts: _Texts, words: set[str]) -> pd.Series | None:
    if words & RECORD_WORDS:
        return texts.values.str.contains(r"\d")
    unique = (texts.counts == 1).all()
    return texts.fullmatch(r"\d+") if unique and _like_record_numbers(texts.values) else None


def _persons(texts: _Texts, words: set[str]) -> pd.Series | None:
    if words & PERSON_WORDS or ("name" in words and (words == {"name"} or words & NAMED_PERSONS)):
        return texts.values.str.contains(r"[^\W\d_]{2}")
    titled, persons = texts.fullmatch(TITLED), texts.fullmatch(PERSON)
    # Labels of two words, such as "Soft Tissue", come again; names of persons hardly do.
    likely = len(texts.values) > 4 and texts.mostly_different() and texts.share(persons) >= MOST
    return titled | persons if likely else titled


def _free_text(texts: _Texts, words: set[str]) -> pd.Series | None:
    long = texts.values.str.count(r"\s+") + 1 >= FREE_TEXT_WORDS
    return long if texts.mostly_different() and texts.share(long) > 0.5 else None


_TEXT_CHECKS = (
    ("e-mail addresses", _emails),
    ("record numbers", _social_security),
    ("dates finer than a year", _dates),
    (f"ages over {OLDEST}", _text_ages),
    ("phone numbers", _phones),
    ("postal codes or addresses", _postal),
    ("record numbers", _records),
    ("names of persons", _persons),
    ("free text, which can hold names", _free_text),
)


def _masked(value: str) -> str:
    """The shape of a value: letters as x, digits as 9."""
    shape = re.sub(r"[^\W\d_]", "x", re.sub(r"\d", "9", value))
    return shape[:MASKED] + ("…" if len(shape) > MASKED else "")
