"""Which figures a view has, drawn under the rules of an export."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pm_lab.errors import DataError

from . import figures, patient_figures
from .comparison import differential_genes, groups_of, pathway_difference
from .disclosure import SELECTION, Disclosure
from .gene import TERTILES, gene_by_group, gene_in_cells, gene_survival
from .patient import (
    pathway_percentiles,
    patient_cells,
    patient_drugs,
    patient_row,
    patient_summary,
    timeline,
)
from .shared_curves import shown_curves
from .summaries import EVERYONE, GENE, REST, SELECTED, Curve, outcomes_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from .state import CohortState

THIRD = 2.4  # inches: a column of a sheet with three
CHARTS = 9  # of columns, in print
IN_A_ROW = 4  # of them, in a report
MOST_PATHWAYS = 15
MEASURES = ("ln_ic50", "auc")  # of predictions


def view_figures(state: CohortState, view: str, rules: Disclosure) -> dict[str, Figure]:
    """The figures of a view by name.

    Raises
    ------
    DataError
        An unknown view, or one with nothing to show.
    """
    if view not in _VIEWS:
        raise DataError(f"view={view!r}: figures are of {', '.join(_VIEWS)}.")
    made = {name: figure for name, figure in _VIEWS[view](state, rules).items() if figure is not None}
    if not made:
        reasons = "; ".join(f"{name}: {why}" for name, why in rules.withheld.items())
        raise DataError(f"the view {view!r} has no figure that can be saved. {reasons or 'It has no data.'}")
    return made


def charted_columns(state: CohortState, rules: Disclosure) -> list[str]:
    """The columns that are charted in print: those filtered, then those of the view or the first ones."""
    chosen = state.settings["columns"]
    kinds = {
        name: column
        for name, column in state.data.columns.items()
        if column.kind != "text" and rules.exports(column) and column.n_missing < state.data.n
    }
    names = [name for name, column in kinds.items() if column.group != "endpoint"]
    if chosen is not None:
        names = [name for name in chosen if name in kinds]
    filtered = [key for key in state.filters if key in kinds or key.startswith(GENE)]
    return list(dict.fromkeys([*filtered, *names]))[:CHARTS]


def column_charts(state: CohortState, rules: Disclosure, rows: int = 2) -> Figure | None:
    """The charts of the first columns in print, in so many rows."""
    names = charted_columns(state, rules)[: rows * IN_A_ROW]
    if not names:
        return None
    panels = [figures.Panel.of(state, name, rules) for name in names]
    return figures.charts_figure(panels, rules, IN_A_ROW, (1.85, 1.35))


def survival_of(
    state: CohortState, rules: Disclosure, split: str | None = None
) -> tuple[list[Curve], list[np.ndarray]]:
    """Curves that may be shown, and the number at risk at each of their points.

    ``split`` as in :func:`summaries.survival`: None for selected and rest, "groups" for A and B.
    """
    outcomes = outcomes_of(state)
    if outcomes is None:
        return [], []
    return shown_curves(outcomes, _masks(state, rules, split), rules)


def _masks(state: CohortState, rules: Disclosure, split: str | None) -> dict[str, np.ndarray]:
    if split == "groups":
        groups = groups_of(state)
        return {groups.name_a: groups.a, groups.name_b: groups.b}
    if not rules.filtered:
        return {EVERYONE: np.ones(state.data.n, bool)}
    return {SELECTED: state.mask, REST: ~state.mask}


def survival_chart(
    state: CohortState, rules: Disclosure, split: str | None = None, width: float = 3.6, height: float = 2.4
) -> Figure | None:
    """Survival with the numbers at risk; None where there is nothing that may be shown."""
    curves, at_risk = survival_of(state, rules, split)
    if not curves:
        return None
    return figures.survival_figure(curves, at_risk, rules, f"{state.endpoint}, bands 95 %", width, height)


def brief_survival_chart(state: CohortState, rules: Disclosure, split: str | None = None) -> Figure | None:
    """As :func:`survival_chart`, for a third of a sheet; groups are called A and B."""
    curves, at_risk = survival_of(state, rules, split)
    if split == "groups":
        curves = [replace(curve, name=curve.name[:1]) for curve in curves]
    if not curves:
        return None
    return figures.survival_figure(curves, at_risk, rules, f"{state.endpoint}, 95 %", THIRD, 1.65)


def volcano_chart(state: CohortState, size: tuple[float, float] = (3.4, 2.5)) -> Figure | None:
    """Genes of A against B; None without a test."""
    table = differential_genes(state)
    return None if table["p"].isna().all() else figures.volcano_figure(table, size=size)


def pathway_chart(state: CohortState, most: int = MOST_PATHWAYS, width: float = 3.4) -> Figure | None:
    """Pathways that differ most between A and B; None without a test."""
    table = pathway_difference(state)
    if table["p"].isna().all():
        return None
    shown = table.dropna(subset=["p"]).head(most)
    return figures.differences_figure(shown, "pathway", "difference of activity, A − B", width)


def groups_hidden(state: CohortState, rules: Disclosure) -> str:
    """Why groups may not be compared in this export; empty where they may."""
    compared = tuple(state.groups) or (SELECTION,)  # without groups, the selection is compared with the rest
    return "; ".join(f"{name}: {why}" for name, why in rules.withheld.items() if name in compared)


def _cohort(state: CohortState, rules: Disclosure) -> dict[str, Figure | None]:
    made: dict = {}
    for name in charted_columns(state, rules):
        figure = figures.charts_figure([figures.Panel.of(state, name, rules)], rules, columns=1)
        made[_unused(figures.file_name(name), made)] = figure
    return made | {_unused("survival", made): survival_chart(state, rules, width=5)}


def _unused(name: str, made: dict) -> str:
    """Two columns may come to the same file name."""
    return name if name not in made else f"{name}_{len(made) + 1}"


def _compare(state: CohortState, rules: Disclosure) -> dict[str, Figure | None]:
    if groups_hidden(state, rules):
        return {}
    return {
        "survival": survival_chart(state, rules, "groups", width=5),
        "genes": volcano_chart(state),
        "pathways": pathway_chart(state),
    }


def _patient(state: CohortState, rules: Disclosure) -> dict[str, Figure | None]:
    patient_row(state)  # that one is selected
    drugs, cells = patient_drugs(state), patient_cells(state)
    placed = cells.embedding is not None and len(cells.rows) > 0
    measure = next((name for name in MEASURES if name in drugs), None)
    return {
        "columns": columns_chart(state, rules),
        "pathways": pathways_of_patient(state, most=30),
        "timeline": timeline_chart(state, rules),
        "composition": composition_chart(state),
        "cells": patient_figures.cells_figure(cells) if placed else None,
        "drugs": patient_figures.drugs_figure(drugs, measure) if measure and len(drugs) else None,
    }


def exported_rows(state: CohortState, table: pd.DataFrame, rules: Disclosure) -> pd.DataFrame:
    """The rows of a table whose ``column`` may be exported."""
    kept = [rules.exports(state.data.columns[name]) for name in table["column"]]
    return table[np.array(kept, bool)]


def columns_chart(state: CohortState, rules: Disclosure, patient: str | None = None) -> Figure | None:
    """Percentiles of a patient's numbers."""
    table = patient_summary(state, patient).dropna(subset=["percentile"])
    table = exported_rows(state, table, rules).rename(columns={"column": "name"})
    return patient_figures.positions_figure(table, "percentile in the cohort") if len(table) else None


def pathways_of_patient(state: CohortState, patient: str | None = None, most: int = 10) -> Figure | None:
    """The pathways that are farthest from the middle of the cohort, highest first."""
    table = pathway_percentiles(state, patient).dropna(subset=["percentile"])
    if table.empty:
        return None
    far = (table["percentile"] - 50).abs().sort_values(ascending=False, kind="stable").index[:most]
    table = table.loc[far].sort_values("percentile", ascending=False).rename(columns={"pathway": "name"})
    return patient_figures.positions_figure(table, "percentile in the cohort")


def timeline_chart(state: CohortState, rules: Disclosure, patient: str | None = None) -> Figure | None:
    """A patient's events, without columns that may identify."""
    table = timeline(state, patient)
    table = table[~table["column"].isin(list(rules.left_out))]
    return patient_figures.timeline_figure(table) if len(table) > 1 else None


def composition_chart(state: CohortState, patient: str | None = None) -> Figure | None:
    """Types of a patient's cells; None where there are too few."""
    cells = patient_cells(state, patient)
    if cells.types.empty or cells.note:
        return None
    return patient_figures.composition_figure(cells.types)


def _gene(state: CohortState, rules: Disclosure) -> dict[str, Figure | None]:
    gene = state.settings["gene"]
    if gene is None:
        raise DataError("no gene is chosen: state.set_setting('gene', 'TP53') first.")
    if SELECTION in rules.withheld and state.filters:
        return {}
    made = {
        "by_group": patient_figures.gene_groups_figure(
            gene_by_group(state, gene, _by(state, rules)), rules.least
        ),
        "survival": _thirds(state, gene, rules),
    }
    return made | {"cells": _in_cells(state, gene, rules)}


def _in_cells(state: CohortState, gene: str, rules: Disclosure) -> Figure | None:
    """A gene in cells by type; None where there are no typed cells with it, of enough patients."""
    if state.data.cells is None or gene not in state.data.cells.var_names:
        return None
    found = gene_in_cells(state, gene)
    if not (found.by_type["n_patients"] >= max(rules.least, 1)).any():
        return None
    return patient_figures.gene_cells_figure(found, rules.least)


def _by(state: CohortState, rules: Disclosure) -> str | None:
    """How the gene view splits patients: by the colour's category, else by A and B, else by the selection."""
    column = state.data.columns.get(state.settings["colour_by"])
    if column is not None and column.kind == "category" and rules.exports(column):
        return column.name
    return "groups" if state.groups and not groups_hidden(state, rules) else None


def _thirds(state: CohortState, gene: str, rules: Disclosure) -> Figure | None:
    """Survival by thirds of a gene's expression."""
    found, outcomes = gene_survival(state, gene), outcomes_of(state)
    if not found.curves:
        return None
    values = state.data.gene(gene).astype(float)
    known = state.mask & outcomes.known & np.isfinite(values)
    third = np.searchsorted(found.cuts, values, side="right")
    masks = {name: known & (third == place) for place, name in enumerate(TERTILES)}
    title = f"{state.endpoint} by thirds of {gene}: exploratory"
    return figures.survival_figure(*shown_curves(outcomes, masks, rules), rules, title, width=5)


_VIEWS = {"cohort": _cohort, "compare": _compare, "patient": _patient, "gene": _gene}
