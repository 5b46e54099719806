"""Counts of the columns of obs as they may be shared: of people where there are any, small ones hidden."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from pm_lab import keys
from pm_lab.errors import DataError, listed
from pm_lab.explorer.disclosure import bin_labels
from pm_lab.explorer.page import as_text
from pm_lab.explorer.small_counts import LEAST, shown, suppress
from pm_lab.explorer.summaries import round_edges

PEOPLE = (keys.PATIENT, "patient_id", "donor", "donor_id", "individual", "subject", "subject_id", "case_id")
MOST_BARS = 8
MOST_LEVELS = 200  # more different values than this are text, and so are many that hardly anybody shares
FEW_LEVELS = 20
FEW_NUMBERS = 10  # whole numbers with no more different values are categories (grade, ER = 0 or 1)
BINS = 12
MOST_HIDDEN = 0.5  # of the rows of a histogram; with more hidden it shows nothing
OTHERS, MISSING = "further values", "missing"


@dataclass(frozen=True)
class People:
    """Who the rows are of; without a column of patients each row counts as one person."""

    key: str | None
    codes: np.ndarray | None
    n: int
    one_row_each: bool
    least: int

    @classmethod
    def of(cls, obs: pd.DataFrame, key: str | None, least: int = LEAST) -> People:
        """Find the column of patients, or take the one that is named.

        Raises
        ------
        DataError
            obs has no column ``key``.
        """
        if key is not None and key not in obs:
            raise DataError(
                f"obs has no column {key!r}; it has {listed(obs.columns, 12)}. Pass patient_key=... or leave "
                "it out to count rows."
            )
        key = key or next((name for name in PEOPLE if name in obs), None)
        if key is None:
            return cls(None, None, len(obs), False, least)
        codes, names = pd.factorize(obs[key])
        if len(names) == len(obs):
            return cls(key, None, len(obs), True, least)
        return cls(key, codes, len(names), False, least)

    @property
    def word(self) -> str:
        return "rows" if self.key is None else "patients"


@dataclass(frozen=True)
class Counts:
    """Rows, and who they are of, by category or bin; ``who``: categories × people, unless rows are people."""

    rows: np.ndarray
    who: np.ndarray | None
    people: People

    @classmethod
    def of(cls, codes: np.ndarray, n: int, people: People) -> Counts:
        """Count ``codes`` from 0 to n − 1."""
        rows = np.bincount(codes, minlength=n)
        if people.codes is None:
            return cls(rows, None, people)
        who = np.zeros(n * people.n, bool)
        known = people.codes >= 0
        who[codes[known] * people.n + people.codes[known]] = True
        return cls(rows, who.reshape(n, people.n), people)

    @property
    def n_people(self) -> np.ndarray:
        return self.rows if self.who is None else self.who.sum(axis=1)

    def together(self, into: np.ndarray) -> Counts:
        """Join categories: ``into`` says for each where it goes, from 0 without gaps."""
        n = int(into.max(initial=-1)) + 1
        rows = np.bincount(into, weights=self.rows, minlength=n).astype(np.int64)
        who = None
        if self.who is not None:
            who = np.zeros((n, self.people.n), bool)
            np.logical_or.at(who, into, self.who)
        return Counts(rows, who, self.people)

    def countable(self) -> np.ndarray:
        """People, where what everyone shares is not small: it sets nobody apart."""
        few, everyone = self.n_people, self.people.n
        return np.where(few == everyone, np.maximum(few, self.people.least), few)

    def texts(self) -> list[str | None]:
        """How many people each is of, "<10" and "hidden" included."""
        return suppress(pd.Series(self.countable()), self.people.least).tolist()

    def hidden(self) -> np.ndarray:
        return np.array([text == "hidden" or text.startswith("<") for text in self.texts()], bool)


@dataclass(frozen=True)
class Bar:
    """One category: its name, what is written beside it, and its length (None: not shown)."""

    label: str
    count: str
    length: float | None


@dataclass(frozen=True)
class Column:
    """A column of obs: bars, a histogram, or words alone. ``note`` says what was left out and why."""

    name: str
    note: str
    bars: list[Bar] = field(default_factory=list)
    bins: list[Bar] = field(default_factory=list)
    ends: tuple[str, str] = ("", "")


def summarised(name: str, values: pd.Series, people: People) -> Column:
    """Bars of a category, a histogram of a number, words for what has neither."""
    if name == people.key:
        return Column(name, f"{shown(people.n, people.least)} patients: who is counted; not listed")
    if not values.notna().any():
        return Column(name, "no value")
    types = pd.api.types
    if types.is_datetime64_any_dtype(values) or types.is_timedelta64_dtype(values):
        return Column(name, "dates or durations: not drawn")
    if types.is_numeric_dtype(values) and not types.is_bool_dtype(values) and values.dtype.kind != "c":
        numbers = values.to_numpy(float, na_value=np.nan)
        if not _few_numbers(numbers):
            return _histogram(name, numbers, people)
    return _bars(name, values, people)


def _few_numbers(numbers: np.ndarray) -> bool:
    """Whether numbers are codes of categories; most columns of numbers are told by their first rows."""
    for known in (numbers[:1000], numbers):
        known = known[np.isfinite(known)]
        levels = pd.unique(known)
        if len(levels) > FEW_NUMBERS or (levels % 1 != 0).any():
            return False
    return {*levels} in ({0.0}, {1.0}, {0.0, 1.0}) or len(known) >= 10 * len(levels) > 0


def _bars(name: str, values: pd.Series, people: People) -> Column:
    codes, levels = _levels(values)
    n = len(levels)
    if n > MOST_LEVELS:
        return Column(name, f"more than {MOST_LEVELS} different values: not listed")
    counts = Counts.of(np.where(codes < 0, n, codes), n + 1, people)
    each = counts.n_people[:n]
    # Values that hardly anybody shares name people, or are what is known of one alone.
    if (people.n > 1 and (each < 2).mean() > 0.5) or (n > FEW_LEVELS and each.mean() < 2):
        some = shown(n, people.least)
        return Column(
            name, f"{some} different values, most of one {people.word.rstrip('s')} only: not listed"
        )
    order = np.arange(n) if n <= MOST_BARS else np.argsort(-counts.rows[:n], kind="stable")
    into = np.full(n + 1, min(n, MOST_BARS))
    into[order[:MOST_BARS]] = np.arange(min(n, MOST_BARS))
    names = [as_text(levels[place]) for place in order[:MOST_BARS]]
    if n > MOST_BARS:
        names.append(f"{n - MOST_BARS:,} {OTHERS}")
    if counts.rows[n]:
        names.append(MISSING)
    into[n] = len(names) - 1  # nobody, where nothing is missing
    return Column(name, f"{n:,} value{'s' * (n != 1)}", bars=_drawn(names, counts.together(into)))


def _levels(values: pd.Series) -> tuple[np.ndarray, pd.Index]:
    """Codes, −1 for missing, and what they stand for; categories keep their order."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        used = values.cat.remove_unused_categories()
        return used.cat.codes.to_numpy(np.int64), used.cat.categories
    some = values.iloc[: 100 * MOST_LEVELS]
    try:
        codes, levels = pd.factorize(some)
        if len(some) < len(values) and len(levels) <= MOST_LEVELS:
            codes, levels = pd.factorize(values)
    except TypeError:  # lists in the cells
        codes, levels = pd.factorize(values.map(str, na_action="ignore"))
    if len(levels) > MOST_LEVELS:
        return codes, levels
    order = sorted(range(len(levels)), key=lambda place: (str(type(levels[place])), levels[place]))
    return np.append(np.argsort(order), -1)[codes], pd.Index([levels[place] for place in order], dtype=object)


def _drawn(names: list[str], counts: Counts) -> list[Bar]:
    """Bars of rows; those of few people have no number of rows, nor a length, nor a part in other lengths."""
    texts, hidden, everyone = counts.texts(), counts.hidden(), counts.n_people == counts.people.n
    longest = max(int(counts.rows[~hidden].max(initial=0)), 1)
    bars = []
    for place, name in enumerate(names):
        if hidden[place]:
            few = counts.who is not None and texts[place] != "hidden"
            bars.append(Bar(name, f"{texts[place]}{' patients' * few}", None))
            continue
        rows = int(counts.rows[place])
        who = "" if counts.who is None else f" ({'all' if everyone[place] else texts[place]} patients)"
        bars.append(Bar(name, f"{rows:,}{who}", rows / longest))
    return bars


def _histogram(name: str, numbers: np.ndarray, people: People) -> Column:
    """Bins at round numbers; the first and the last are open, so that no end is that of few people."""
    finite = np.isfinite(numbers)
    known = numbers[finite]
    if not len(known):
        return Column(name, "no finite value")
    share = min(max(0.01, people.least / len(known)), 0.25)  # beyond these limits the bins are open
    low, high = np.quantile(known, [share, 1 - share])
    middle = known[(known >= low) & (known <= high)]
    edges = round_edges(middle, BINS)
    edges[0] = -np.inf if known.min() < edges[0] else edges[0]
    edges[-1] = np.inf if known.max() >= edges[-1] else edges[-1]
    codes = np.where(finite, np.searchsorted(edges[1:-1], numbers, side="right"), len(edges) - 1)
    edges, counts = _wide_ends(edges, Counts.of(codes, len(edges), people))
    n = len(edges) - 1
    if n < 2:
        return Column(name, "numbers, not drawn: nearly all alike, or of few people")
    if finite.all():
        counts = counts.together(np.append(np.arange(n), 0))
    if counts.rows[:n][counts.hidden()[:n]].sum() > MOST_HIDDEN * len(known):
        return Column(name, f"numbers, not drawn: fewer than {people.least} {people.word} in most bins")
    bars = _drawn([*bin_labels(edges, dates=False), *[MISSING] * (not finite.all())], counts)
    notes = [f"median {as_text(float(np.median(known)))}"] if len(known) >= 2 * max(people.least, 5) else []
    notes += [f"{one.label}: {one.count}" for one in bars[n:]]
    return Column(name, "; ".join(notes), bins=bars[:n], ends=_ends(edges))


def _wide_ends(edges: np.ndarray, counts: Counts) -> tuple[np.ndarray, Counts]:
    """Join the first bins, and the last, until both hold as many people as may be shown.

    The last of the counts is of missing values, and stays apart.
    """
    for first in (True, False):
        while (n := len(edges) - 1) > 1 and counts.countable()[0 if first else n - 1] < counts.people.least:
            into = np.arange(n + 1)
            counts = counts.together(np.maximum(into - 1, 0) if first else into - (into >= n - 1))
            edges = np.delete(edges, 1 if first else -2)
            edges[0 if first else -1] = -np.inf if first else np.inf
    return edges, counts


def _ends(edges: np.ndarray) -> tuple[str, str]:
    """The least and the greatest limit of the bins in words."""
    low = f"below {edges[1]:,g}" if np.isneginf(edges[0]) else f"{edges[0]:,g}"
    high = f"{edges[-2]:,g} or more" if np.isposinf(edges[-1]) else f"{edges[-1]:,g}"
    return low, high
