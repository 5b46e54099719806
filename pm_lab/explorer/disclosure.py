"""What an export may show: small counts, selections too like one another, columns that may name a patient."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .small_counts import coarse_steps, shown, shown_of, suppress
from .summaries import Bars, Histogram

if TYPE_CHECKING:
    from .columns import Column
    from .state import CohortState

SELECTION = "selection"
PEOPLE = re.compile(r"\b\d[\d,]*(?= (?:(?:of \d[\d,]* )?(?:people|patients?|events?)\b|of [AB]\b))")


@dataclass(frozen=True)
class Disclosure:
    """The rules of one export.

    Attributes
    ----------
    least : the fewest people whose count is shown; 0 shows all.
    filtered : whether fewer than all patients are selected and this may be shown.
    withheld : "selection", "A" or "B" → why it is not shown.
    left_out : column → why it is not exported.
    """

    least: int
    filtered: bool = False
    withheld: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, state: CohortState, hide_small_counts: bool = True) -> Disclosure:
        """The rules for a state; with small counts hidden its selections are from now on known as shared."""
        rules = cls.of_patients(state, hide_small_counts)
        filtered = state.n_selected < state.data.n
        if not rules.least:
            return replace(rules, filtered=filtered)
        masks = {SELECTION: state.mask, "A": state.group("A"), "B": state.group("B")}
        reasons = {name: rules.refuses(state, mask) for name, mask in masks.items() if mask is not None}
        withheld = {name: reason for name, reason in reasons.items() if reason}
        return replace(rules, filtered=filtered and SELECTION not in withheld, withheld=withheld)

    @classmethod
    def of_patients(cls, state: CohortState, hide_small_counts: bool = True) -> Disclosure:
        """The rules for what shows single patients, whatever is selected."""
        flagged = state.data.identifiers
        left_out = dict(zip(flagged["column"].astype(str), flagged["reason"].astype(str), strict=True))
        return cls(state.settings["least_count"] if hide_small_counts else 0, left_out=left_out)

    def refuses(self, state: CohortState, mask: np.ndarray) -> str:
        """Why patients may not be shown as a group, or empty; then they are known as shared."""
        return state.data.shared.share(mask, self.least) if self.least else ""

    def exports(self, column: Column) -> bool:
        """Whether a column's values may leave the explorer."""
        return column.name not in self.left_out and not column.private

    def people(self, n: int) -> str:
        """A number of people."""
        return shown(n, self.least)

    def part(self, n: int, total: int) -> str:
        """A number of people of a known total."""
        return shown_of(n, total, self.least)

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


def shown_counts(chart: Histogram | Bars, rules: Disclosure, dates: bool = False) -> pd.DataFrame:
    """Counts of a chart by bin or category, missing values last; NaN where hidden.

    Columns are ``everyone`` and, where it may be shown, ``selected``. ``dates`` says that a histogram's edges
    are days since 1970.
    """
    labels = list(chart.labels) if isinstance(chart, Bars) else _bins(edge_labels(chart.edges, dates))
    counts = pd.DataFrame({"everyone": chart.everyone, "selected": chart.selected}, index=labels)
    if chart.missing_everyone:
        counts.loc["missing"] = [chart.missing_everyone, chart.missing_selected]
    counts = counts.astype(float)
    if not rules.least or counts.empty:
        return counts
    hidden = _is_hidden(counts["everyone"], rules.least)
    if rules.filtered:
        both = pd.DataFrame({"in": counts["selected"], "out": counts["everyone"] - counts["selected"]})
        counts["selected"] = counts["selected"].mask(_is_hidden(both, rules.least).any(axis=1) | hidden)
    else:
        counts = counts[["everyone"]].copy()
    counts["everyone"] = counts["everyone"].mask(hidden)
    return counts


def _is_hidden(counts, least: int):
    """Where :func:`suppress` writes a word in place of the number."""
    numbers = counts.astype(np.int64)
    return suppress(numbers, least) != numbers.map(lambda n: f"{n:,}")


def edge_labels(edges: np.ndarray, dates: bool = False) -> list[str]:
    """Limits of bins as text."""
    if dates:
        return [str(day) for day in np.asarray(edges).astype("int64").astype("datetime64[D]")]
    return [f"{edge:g}" for edge in edges]


def _bins(edges: list[str]) -> list[str]:
    return [f"{low} to {high}" for low, high in pairwise(edges)]


def shown_at_risk(numbers: np.ndarray, rules: Disclosure) -> list[str]:
    """Numbers at risk in order of time; who left between two of them is hidden where few did ("≤63")."""
    texts: list[str] = []
    last = None
    for n in map(int, numbers):
        if rules.least and last is not None and n >= rules.least and 0 < abs(last - n) < rules.least:
            texts.append(f"{'≤' if n < last else '≥'}{last:,}")
            continue
        texts.append(rules.people(n))
        last = n
    return texts


def coarse_curve(at_risk: np.ndarray, rules: Disclosure) -> np.ndarray:
    """Places of a curve's points that are shown."""
    return coarse_steps(at_risk, rules.least) if rules.least else np.arange(len(at_risk))
