"""The blocks of the cohort's report: numbers, selection, comparison of groups, notes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab.errors import DataError

from . import page, view_figures
from .comparison import (
    EXPLORATORY,
    SurvivalComparison,
    compare_survival,
    composition_difference,
    differential_genes,
    groups_of,
)
from .group_survival import numbers_at_risk, restricted_mean
from .provenance import selection_text
from .shared_curves import time_grid
from .small_counts import LEAST
from .summaries import NO_ENDPOINT, counts, outcomes_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .disclosure import Disclosure
    from .state import CohortState

TITLE = "Groups A and B (exploratory)"
TOP_GENES = 10
TOP_PATHWAYS = 8
TOP_TYPES = 8
NORMAL_95 = 1.959964  # standard errors to either side that cover 95 %


def blocks(state: CohortState, rules: Disclosure) -> list[page.Html]:
    """Everything between the header and the footer."""
    hidden = view_figures.groups_hidden(state, rules) if state.groups else ""
    compared = bool(state.groups and not hidden)
    columns = view_figures.column_charts(state, rules, rows=1 if compared else 2)
    if compared:
        middle = _comparison(state, rules)
    else:
        middle = [_survival(state, view_figures.survival_chart(state, rules, width=6.6))]
        if hidden:
            middle.append(page.section(TITLE, f"Not shown: {hidden}."))
    return [
        page.numbers(numbers(state, rules)),
        page.section("What was selected", page.bullets(selected(state, rules))),
        page.section(
            "Columns",
            "Grey: all patients; blue: those selected." if rules.filtered else "All patients.",
            _drawn(columns, "columns", "No column can be charted."),
        ),
        *middle,
        page.section("Notes", page.bullets(_notes(state, rules))),
    ]


def _survival(state: CohortState, curves: Figure | None) -> page.Html:
    otherwise = NO_ENDPOINT if state.endpoint is None else "No curve can be shown."
    title = f"Survival: {state.endpoint}" if state.endpoint else "Survival"
    return page.section(title, _drawn(curves, "survival", otherwise))


def _drawn(figure: Figure | None, name: str, otherwise: str) -> page.Html:
    return page.paragraph(otherwise) if figure is None else page.inline_svg(figure, name)


def numbers(state: CohortState, rules: Disclosure) -> dict[str, str]:
    """The large numbers at the top."""
    found = counts(state)
    cards = {"Patients": rules.people(found["n"])}
    if rules.filtered:
        cards["Selected"] = rules.part(found["n_selected"], found["n"])
    if state.endpoint is not None:
        cause = outcomes_of(state).causes[0]
        cards[f"Events, {state.endpoint}"] = rules.events(found["events"], found["n"], cause)
        if rules.filtered:
            cards["Events, selected"] = rules.events(found["events_selected"], found["n_selected"], cause)
    return cards | {"Columns": len(state.data.columns), "Genes": len(state.data.genes)}


def selected(state: CohortState, rules: Disclosure) -> list[str]:
    """The selection in words, and the groups."""
    groups = [rules.words(state.group_name(name)) for name in state.groups if name not in rules.withheld]
    return [selection_text(state, rules), *groups]


def _notes(state: CohortState, rules: Disclosure) -> list[str]:
    """What the data's reader left out or inferred, and what this report leaves out."""
    return [*rules.notes(), *map(rules.words, state.data.notes)] or ["Nothing was left out."]


def _comparison(state: CohortState, rules: Disclosure) -> list[page.Html]:
    """Survival of the selection; of groups A and B curves, tests, genes, pathways: three columns."""
    selection = _survival(state, view_figures.brief_survival_chart(state, rules))
    try:
        found = compare_survival(state)
    except DataError as error:
        return [selection, page.section(TITLE, rules.words(str(error)))]
    curves = view_figures.brief_survival_chart(state, rules, "groups") if state.endpoint else None
    genes = differential_genes(state)
    volcano = view_figures.volcano_chart(state, (view_figures.THIRD, 2.1))
    notes = dict.fromkeys([EXPLORATORY, *found.notes])  # of all that follows, and said once
    tests = (page.paragraph(rules.words(note)) for note in notes)
    pathways = view_figures.pathway_chart(state, TOP_PATHWAYS, view_figures.THIRD)
    return [
        page.columns(
            [
                selection,
                page.section("Genes", _drawn(volcano, "genes", _why(genes, rules))),
            ],
            [
                page.section(
                    "Survival of A and B", _drawn(curves, "groups", rules.words(found.reason) or "No curve.")
                ),
                page.section("Genes that differ most", _gene_table(genes), _why(genes, rules)),
            ],
            [
                page.section(TITLE, _tests(state, found, rules), *tests),
                *([page.section("Pathways", page.inline_svg(pathways, "pathways"))] if pathways else []),
                *_cell_types(state),
            ],
        )
    ]


def _cell_types(state: CohortState) -> list[page.Html]:
    """Composition of A and B, means over patients; nothing where too few have cells."""
    table = composition_difference(state)
    if table.empty or min(table.attrs["n_a"], table.attrs["n_b"]) < max(state.settings["least_count"], LEAST):
        return []
    names = {"cell_type": "type", "fraction_a": "share A", "fraction_b": "share B", "padj": "padj"}
    shown = table[list(names)].rename(columns=names).head(TOP_TYPES)
    more = f"and {len(table) - TOP_TYPES} more types" if len(table) > TOP_TYPES else ""
    return [page.section("Cell types", page.table(shown, right=list(shown)[1:]), more)]


def _why(table: pd.DataFrame, rules: Disclosure) -> page.Html:
    note = table.attrs.get("note", "").removeprefix(EXPLORATORY).strip()
    return page.paragraph(rules.words(note)) if note else page.Html("")


def _gene_table(genes: pd.DataFrame) -> page.Html:
    if genes.empty or genes["p"].isna().all():
        return page.Html("")
    names = {"gene": "gene", "difference": "A − B", "p": "p", "padj": "padj"}
    shown = genes.dropna(subset=["p"]).head(TOP_GENES)[list(names)].rename(columns=names)
    return page.table(shown, right=shown.columns[1:])


def _tests(state: CohortState, found: SurvivalComparison, rules: Disclosure) -> page.Html:
    """Numbers of both groups and of the tests, a row each."""
    groups = groups_of(state)
    n_a, n_b = int(groups.a.sum()), int(groups.b.sum())
    rows = [
        ("people with known outcome, A", rules.about(found.n_a, n_a)),
        ("people with known outcome, B", rules.about(found.n_b, n_b)),
    ]
    if found.curves:
        cause = found.curves[0].cause
        rows += [
            ("events, A", rules.events(found.events_a, n_a, cause)),
            ("events, B", rules.events(found.events_b, n_b, cause)),
        ]
    if found.log_rank_p is not None:
        rows.append(("log-rank p", found.log_rank_p))
    if found.hazard_ratio is not None:
        rows.append(
            ("hazard ratio, A over B", _interval(found.hazard_ratio, found.hazard_lower, found.hazard_upper))
        )
    if found.rmst_difference is not None:
        rows += _restricted_means(state, found, rules)
    return page.table(pd.DataFrame(rows, columns=["", "value"]), right=["value"])


def _restricted_means(state: CohortState, found: SurvivalComparison, rules: Disclosure) -> list[tuple]:
    """The difference of mean survival; shared, up to a round time at which enough people are followed.

    The longest follow-up, up to which it is computed otherwise, is that of one person.
    """
    difference, horizon = found.rmst_difference, found.horizon
    limits = [found.rmst_lower, found.rmst_upper]
    if rules.least:
        groups, outcomes = groups_of(state), outcomes_of(state)
        grid = time_grid(outcomes)
        fewest = np.minimum(*(numbers_at_risk(outcomes, mask, grid) for mask in (groups.a, groups.b)))
        grid = grid[(fewest >= rules.least) & (grid <= horizon) & (grid > 0)]
        if not len(grid):
            return []
        counted, horizon = outcomes.counted([groups.a, groups.b]), float(grid[-1])
        a, b = (restricted_mean(counted, group, horizon) for group in (0, 1))
        difference, reach = a.mean - b.mean, NORMAL_95 * np.hypot(a.error, b.error)
        if limits[0] is not None:
            limits = [difference - reach, difference + reach]
    return [(f"mean survival to {page.as_text(horizon)} {found.unit}, A − B", _interval(difference, *limits))]


def _interval(value: float, lower: float | None, upper: float | None) -> str:
    if lower is None or upper is None:
        return f"{value:.3g}"
    return f"{value:.3g} ({lower:.3g} to {upper:.3g})"
