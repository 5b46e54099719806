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

TOP_GENES = 12
NORMAL_95 = 1.959964  # standard errors to either side that cover 95 %


def blocks(state: CohortState, rules: Disclosure) -> list[page.Html]:
    """Everything between the header and the footer."""
    columns = view_figures.column_charts(state, rules)
    curves = view_figures.survival_chart(state, rules, width=6.6)
    no_curve = NO_ENDPOINT if state.endpoint is None else "No curve can be shown."
    return [
        page.numbers(numbers(state, rules)),
        page.section("What was selected", page.bullets(selected(state, rules))),
        page.section(
            "Columns",
            "Grey: all patients; blue: those selected." if rules.filtered else "All patients.",
            _drawn(columns, "columns", "No column can be charted."),
        ),
        page.section(
            f"Survival: {state.endpoint}" if state.endpoint else "Survival",
            _drawn(curves, "survival", no_curve),
        ),
        *(_comparison(state, rules) if state.groups else ()),
        page.section("Notes", page.bullets(_notes(state, rules))),
    ]


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
    """Groups A and B: curves, tests, genes, pathways; or why they are not shown."""
    title = "Groups A and B (exploratory)"
    if hidden := view_figures.groups_hidden(state, rules):
        return [page.section(title, f"Not shown: {hidden}.")]
    try:
        found = compare_survival(state)
    except DataError as error:
        return [page.section(title, rules.words(str(error)))]
    curves = view_figures.survival_chart(state, rules, "groups") if state.endpoint else None
    genes = differential_genes(state)
    blocks = [
        page.section(
            "Survival of A and B", _drawn(curves, "groups", rules.words(found.reason) or "No curve.")
        ),
        page.section(
            "Tests", _tests(state, found, rules), *(page.paragraph(rules.words(n)) for n in found.notes)
        ),
        page.section("Genes", _drawn(view_figures.volcano_chart(state, rules), "genes", _why(genes, rules))),
        page.section("Genes that differ most", _gene_table(genes), _why(genes, rules)),
    ]
    if pathways := view_figures.pathway_chart(state, rules):
        blocks.append(page.section("Pathways", page.inline_svg(pathways, "pathways")))
    blocks += _cell_types(state)
    names = page.bullets([rules.words(found.name_a), rules.words(found.name_b)])
    return [page.section(title, names), page.grid(blocks)]


def _cell_types(state: CohortState) -> list[page.Html]:
    """Composition of A and B, means over patients; nothing where too few have cells."""
    table = composition_difference(state)
    if table.empty or min(table.attrs["n_a"], table.attrs["n_b"]) < max(state.settings["least_count"], LEAST):
        return []
    names = {"cell_type": "type", "fraction_a": "share A", "fraction_b": "share B", "padj": "padj"}
    shown = table[list(names)].rename(columns=names)
    return [page.section("Cell types", page.table(shown, right=list(shown)[1:]), page.paragraph(EXPLORATORY))]


def _why(table: pd.DataFrame, rules: Disclosure) -> page.Html:
    return page.paragraph(rules.words(table.attrs.get("note", EXPLORATORY)))


def _gene_table(genes: pd.DataFrame) -> page.Html:
    if genes.empty or genes["p"].isna().all():
        return page.Html("")
    names = {"gene": "gene", "difference": "A − B", "mean_a": "mean A", "mean_b": "mean B"}
    names |= {"p": "p", "padj": "padj"}
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
