"""What an export may show: small counts, selections too like one another, columns that may name a patient."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .small_counts import LEAST, shown, shown_of, suppress
from .summaries import Bars, Histogram, outcomes_of

if TYPE_CHECKING:
    from .columns import Column
    from .state import CohortState

SELECTION = "selection"
PEOPLE = re.compile(
    r"(?<![<>≤≥\d,.])\b\d[\d,]*(?= (?:(?:of \d[\d,]* )?(?:people|patients?|events?)\b|of [AB]\b))"
)


@dataclass(frozen=True)
class Disclosure:
    """The rules of one export.

    Attributes
    ----------
    least : the fewest people whose count is shown; 0 shows all.
    filtered : whether fewer than all patients are selected and this may be shown.
    n : people of the cohort.
    happened : cause → how many of the cohort have had this event.
    withheld : "selection", "A" or "B" → why it is not shown.
    left_out : column → why it is not exported.
    """

    least: int
    filtered: bool = False
    n: int = 0
    happened: dict[str, int] = field(default_factory=dict)
    withheld: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, state: CohortState, hide_small_counts: bool = True, remember: bool = True) -> Disclosure:
        """The rules for a state; with small counts hidden its selections are from now on known as shared.

        ``remember=False`` compares them with what was shared and does not count them as shared.
        """
        rules = cls.of_patients(state, hide_small_counts)
        filtered = state.n_selected < state.data.n
        if not rules.least:
            return replace(rules, filtered=filtered)
        masks = {SELECTION: state.mask, "A": state.group("A"), "B": state.group("B")}
        ask = state.data.shared.share if remember else state.data.shared.why_not
        reasons = {name: ask(mask, rules.least) for name, mask in masks.items() if mask is not None}
        withheld = {name: reason for name, reason in reasons.items() if reason}
        return replace(rules, filtered=filtered and SELECTION not in withheld, withheld=withheld)

    @classmethod
    def of_patients(cls, state: CohortState, hide_small_counts: bool = True) -> Disclosure:
        """The rules for what shows single patients, whatever is selected."""
        flagged = state.data.identifiers
        left_out = dict(zip(flagged["column"].astype(str), flagged["reason"].astype(str), strict=True))
        # A state may come from somebody else: what it says may hide more people than ten, not fewer.
        least = max(state.settings["least_count"], LEAST) if hide_small_counts else 0
        outcomes, happened = outcomes_of(state), {}
        if outcomes is not None:
            happened = {
                name: int((outcomes.known & (outcomes.cause == place)).sum())
                for place, name in enumerate(outcomes.causes, 1)
            }
        return cls(least, n=state.data.n, happened=happened, left_out=left_out)

    def exports(self, column: Column) -> bool:
        """Whether a column's values may leave the explorer."""
        return column.name not in self.left_out and not column.private

    def people(self, n: int) -> str:
        """A number of people."""
        return shown(n, self.least)

    def part(self, n: int, total: int) -> str:
        """A number of people of a known total."""
        return shown_of(n, total, self.least)

    def events(self, events: int, n: int, cause: str) -> str:
        """Events in a group of ``n`` people (of whom the outcome of some may not be known).

        They are shown where those with and without the event are not few, neither in the group nor in the
        rest of the cohort: nothing is then left to be worked out from the events of everyone.
        """
        text = self.part(events, n)
        if not self.least or n >= self.n or min(events, n - events) < self.least:
            return text
        rest = self.happened.get(cause, events) - events
        both = pd.DataFrame([[events, n - events], [rest, self.n - n - rest]])
        return f"hidden of {n:,}" if suppress(both, self.least).iat[0, 0] == "hidden" else text

    def about(self, n: int, total: int) -> str:
        """A number of people who are all of a known total but few: "≤150"."""
        if self.least and total >= self.least and 0 < total - n < self.least:
            return f"≤{total:,}"
        return self.people(n)

    def words(self, text: str) -> str:
        """A note in which counts of people are shown as all others are."""
        return PEOPLE.sub(lambda found: self.people(int(found[0].replace(",", ""))), text)

    def notes(self) -> list[str]:
        """What was not exported, and why."""
        lines = [f"{name} is not shown: {reason}" for name, reason in self.withheld.items()]
        if self.left_out:
            columns = "; ".join(f"{name} ({reason})" for name, reason in self.left_out.items())
            lines.append(
                f"{len(self.left_out):,} columns that may identify patients are left out: {columns}. This is "
                "a check of patterns, no proof that the rest is safe."
            )
        return lines


def shown_counts(
    chart: Histogram | Bars,
    rules: Disclosure,
    dates: bool = False,
    differing: Iterable[Histogram | Bars] = (),
) -> pd.DataFrame:
    """Counts of a chart by bin or category, missing values last; NaN where hidden.

    Columns are ``everyone`` and, where it may be shown, ``selected``. ``dates`` says that a histogram's edges
    are days since 1970. ``differing`` are the same charts of those by whom the selection differs from others
    that were shared before: where they are few in a bin or category, the selected are hidden in it.
    """
    labels = list(chart.labels) if isinstance(chart, Bars) else bin_labels(chart.edges, dates)
    counts = pd.DataFrame({"everyone": chart.everyone, "selected": chart.selected}, index=labels)
    if chart.missing_everyone:
        counts.loc["missing"] = [chart.missing_everyone, chart.missing_selected]
    counts = counts.astype(float)
    if not rules.least or counts.empty:
        return counts
    hidden = _is_hidden(counts["everyone"], rules.least)
    if rules.filtered:
        both = pd.DataFrame({"in": counts["selected"], "out": counts["everyone"] - counts["selected"]})
        few = np.zeros(len(counts), bool)
        for other in differing:
            missing = [other.missing_selected] if chart.missing_everyone else []
            differs = np.append(other.selected, missing)
            few |= (differs > 0) & (differs < rules.least)
        also = np.column_stack([few, few])
        counts["selected"] = counts["selected"].mask(_is_hidden(both, rules.least, also).any(axis=1) | hidden)
    else:
        counts = counts[["everyone"]].copy()
    counts["everyone"] = counts["everyone"].mask(hidden)
    return counts


def _is_hidden(counts, least: int, also: np.ndarray | None = None):
    """Where :func:`suppress` writes a word in place of the number."""
    numbers = counts.astype(np.int64)
    return suppress(numbers, least, also) != numbers.map(lambda n: f"{n:,}")


def edge_labels(edges: np.ndarray, dates: bool = False) -> list[str]:
    """Limits of bins as text; an open end has none."""
    if dates:
        return [str(np.datetime64(int(edge), "D")) if np.isfinite(edge) else "" for edge in edges]
    return [f"{edge:g}" if np.isfinite(edge) else "" for edge in edges]


def bin_labels(edges: np.ndarray, dates: bool) -> list[str]:
    names = []
    for low, high in pairwise(edge_labels(edges, dates)):
        if low and high:
            names.append(f"{low} to {high}")
        else:
            names.append(f"{low} or more" if low else f"below {high}" if high else "all values")
    return names


def shown_at_risk(numbers: np.ndarray, rules: Disclosure, n: int | None = None) -> list[str]:
    """Numbers at risk in order of time; who left between two of them is hidden where few did ("≤63").

    ``n`` are the people of the group: those whose outcome is not known are hidden where they are few.
    """
    texts: list[str] = []
    last = n
    for n in map(int, numbers):
        if rules.least and last is not None and n >= rules.least and 0 < abs(last - n) < rules.least:
            texts.append(f"{'≤' if n < last else '≥'}{last:,}")
            continue
        texts.append(rules.people(n))
        last = n
    return texts


def coarse_curve(at_risk: np.ndarray, rules: Disclosure) -> np.ndarray:
    """Places of a curve's points that are shown: where enough people are under observation."""
    return np.flatnonzero(np.asarray(at_risk) >= rules.least)
