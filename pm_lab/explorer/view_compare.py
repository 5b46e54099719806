"""The comparison tab: who is in groups A and B, their survival, genes, pathways and cell types."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import numpy as np
import pandas as pd

from pm_lab.errors import DataError

from . import charts, comparison
from .disclosure import Disclosure
from .group_controls import GroupControls
from .layout import card, column_box, fold
from .live_figure import LiveFigure
from .paged_table import PagedTable
from .state import CohortState

PADJ = 0.05
MOST_NAMED = 12
MOST_PATHWAYS = 16


class ComparePanel:
    """The comparison tab."""

    def __init__(
        self, state: CohortState, on_error: Callable[[Exception], None], on_gene: Callable[[str], None]
    ):
        self._state, self._on_gene = state, on_gene
        self._who = LiveFigure()
        self._a, self._b = GroupControls("A", state, on_error), GroupControls("B", state, on_error)
        self._curve, self._tests = LiveFigure(), LiveFigure()
        self._volcano = LiveFigure(self._picked, on_error)
        self._genes = PagedTable("Genes, A against B", on_row=self._row, on_error=on_error)
        self._pathways, self._types = LiveFigure(), LiveFigure()
        self._table = pd.DataFrame()
        self._table_card = card("pm-card", self._genes)
        self._test_card, self._type_card = card("pm-card", self._tests), card("pm-card", self._types)
        self._results = column_box(
            card("pm-two", card("pm-card", self._curve), self._test_card),
            card("pm-two", card("pm-card", self._volcano), self._table_card),
            card("pm-two", card("pm-card", self._pathways), self._type_card),
        )
        self.box = column_box(card("pm-card", self._who, self._a.box, self._b.box), self._results)

    def update(self, changed: set[str]) -> None:
        """Draw what a change concerns; without groups the selection is compared with the rest."""
        if not changed & {"data", "filters", "groups", "endpoint", "settings"}:
            return
        self._a.update()
        self._b.update()
        try:
            groups = comparison.groups_of(self._state)
        except DataError as error:
            return self._show_nothing(str(error))
        if not (groups.a.any() and groups.b.any()):
            return self._show_nothing(
                "One of the groups is empty: filter the cohort, or set the groups here."
            )
        # Another comparison begins with all of its points in view.
        self._compared = f"genes {hash((id(self._state.data), groups.a.tobytes(), groups.b.tobytes()))}"
        fold(self._results, False)
        n_a, n_b = (
            charts.screen_rules(self._state).people(int(group.sum())) for group in (groups.a, groups.b)
        )
        self._who.show(
            charts.html(
                f'<div class="pm-numbers"><span><b>{n_a}</b> {escape(groups.name_a)}</span>'
                f"<span><b>{n_b}</b> {escape(groups.name_b)}</span></div>"
            )
        )
        self._draw_survival()
        self._draw_genes()
        self._draw_pathways()
        self._draw_types()

    def _show_nothing(self, why: str) -> None:
        fold(self._results, True)
        self._who.show(charts.message("Groups A and B", why))

    def _draw_survival(self) -> None:
        found = comparison.compare_survival(self._state)
        rules = charts.screen_rules(self._state)
        curves, note = (
            charts.screen_curves(self._state, found.curves, "groups"),
            "" if found.curves else found.note,
        )
        self._curve.show(charts.curve_chart(curves, "Survival of A and B", note, least=rules.least))
        fold(self._test_card, not found.curves)
        self._tests.show(charts.html(_tests(found, rules, comparison.least_people(self._state))))

    def _draw_genes(self) -> None:
        self._table = table = comparison.differential_genes(self._state)
        note = table.attrs.get("note", "")
        fold(self._table_card, table.empty)
        if table.empty:
            return self._volcano.show(charts.message("Genes", note))
        tested = table["p"].notna()
        shown = ["gene", "difference", "p", "padj", "mean_a", "mean_b"]
        self._genes.fill(table[shown], note)
        if not tested.any():
            return self._volcano.show(charts.message("Genes", note))
        found = table["padj"].to_numpy() < PADJ
        rank = np.argsort(table["p"].to_numpy(), kind="stable")[:MOST_NAMED]
        height = -np.log10(np.maximum(table["p"].to_numpy(float), 1e-300))
        named = [{"i": int(i), "label": str(table["gene"].iloc[i])} for i in rank if found[i]]
        self._volcano.show(
            charts.point_chart(
                np.where(tested, table["difference"], np.nan),
                np.where(tested, height, np.nan),
                "Volcano: genes of A against B",
                f"{int(found.sum()):,} of {int(tested.sum()):,} genes have a false discovery rate < {PADJ:g}"
                f"{'; first ' + ', '.join(one['label'] for one in named[:5]) if named else ''}. Exploratory.",
                f"mean of A less mean of B ({self._state.data.unit})",
                "−log10 p",
                codes=found.astype(np.uint8),
                labels=[f"FDR ≥ {PADJ:g}", f"FDR < {PADJ:g}"],
                palette=["--pm-c7", "--pm-c1"],
                rings=named,
                pick=True,
                points=self._compared,
                height=360,
            )
        )

    def _picked(self, event: dict) -> None:
        if event["type"] == "pick":
            self._on_gene(str(self._table["gene"].iloc[event["index"]]))

    def _row(self, place: int) -> None:
        self._on_gene(str(self._table["gene"].iloc[place]))

    def _draw_pathways(self) -> None:
        table = comparison.pathway_difference(self._state)
        note = table.attrs.get("note", "")
        if table.empty:
            return self._pathways.show(charts.message("Pathways", note))
        if len(table) > MOST_PATHWAYS:
            note = f"The {MOST_PATHWAYS} of {len(table)} sets with the smallest p. {note}"
        table = table.head(MOST_PATHWAYS)
        table = table.assign(said=["FDR " + charts.p_text(p) for p in table["padj"]])
        colours = [1 if p < PADJ else 7 for p in table["padj"]]
        self._pathways.show(
            charts.interval_chart(
                table,
                "Pathway activity, A less B",
                "pathway",
                "difference",
                "difference of mean activity",
                note="said",
                reference=0.0,
                summary=note,
                colours=colours,
            )
        )

    def _draw_types(self) -> None:
        table = comparison.composition_difference(self._state)
        note = table.attrs.get("note", "")
        fold(self._type_card, self._state.data.cells is None)
        if table.empty or table["log2_fold_change"].isna().all():
            return self._types.show(charts.message("Cell types", note))
        table = table.assign(
            said=[
                f"{100 * a:.0f} % and {100 * b:.0f} %, FDR {charts.p_text(p)}"
                for a, b, p in zip(table["fraction_a"], table["fraction_b"], table["padj"], strict=True)
            ]
        )
        self._types.show(
            charts.interval_chart(
                table,
                "Composition of cell types, A over B",
                "cell_type",
                "log2_fold_change",
                "log2 fold change",
                lower="lower",
                upper="upper",
                note="said",
                reference=0.0,
                summary=note,
            )
        )


def _tests(found: comparison.SurvivalComparison, rules: Disclosure, least: int) -> str:
    """The numbers beside the curves, as an HTML table."""
    if not found.curves:
        return ""
    between = lambda a, b: "" if a is None else f" ({a:.3g} to {b:.3g})"  # noqa: E731
    rows = [
        ("people, A and B", f"{rules.people(found.n_a)} and {rules.people(found.n_b)}"),
        ("events, A and B", f"{rules.people(found.events_a)} and {rules.people(found.events_b)}"),
    ]
    if found.log_rank_p is not None:
        rows.append(("log-rank p", charts.p_text(found.log_rank_p)))
    few = min(found.n_a, found.n_b) < least
    if few:
        rows.append(("estimates", f"none: a group has fewer than {least} people"))
    if found.rmst_difference is not None and not few:
        rows.append(
            (
                f"mean survival up to {found.horizon:.3g} {found.unit}, A less B",
                f"{found.rmst_difference:.3g} {found.unit}{between(found.rmst_lower, found.rmst_upper)}",
            )
        )
    if found.hazard_ratio is not None and not few:
        rows.append(
            (
                "hazard ratio, A over B",
                f"{found.hazard_ratio:.3g}{between(found.hazard_lower, found.hazard_upper)}",
            )
        )
    if found.proportional_p is not None:
        rows.append(("p that the ratio is constant", charts.p_text(found.proportional_p)))
    cells = "".join(f'<tr><th scope="row">{escape(a)}</th><td>{escape(b)}</td></tr>' for a, b in rows)
    notes = "".join(f"<li>{escape(note)}</li>" for note in found.notes)
    return (
        f'<h4>Survival, A against B</h4><table>{cells}</table><ul class="pm-note pm-list">{notes}</ul>'
        '<p class="pm-note">In brackets: intervals of 95 %.</p>'
    )
