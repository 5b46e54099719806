"""The gene tab: one gene by group, in survival, in cells."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import ipywidgets as widgets

from pm_lab.errors import DataError

from . import charts, gene
from .layout import GeneSearch, card, column_box, labelled, row_box
from .live_figure import LiveFigure
from .state import CohortState
from .summaries import MOST_CURVES


class GenePanel:
    """The gene tab."""

    def __init__(self, state: CohortState, on_error: Callable[[Exception], None]):
        self._state, self._on_error = state, on_error
        self._search = GeneSearch("gene", state, self._choose, on_error)
        self._by = labelled(widgets.Dropdown, "by group", "280px", options=[("selected and the rest", "")])
        self._by.observe(lambda _: self.update({"settings"}), "value")
        self._who, self._boxes, self._curve, self._cells = (LiveFigure() for _ in range(4))
        self._figures = column_box(
            card("pm-two", card("pm-card", self._boxes), card("pm-card", self._curve)),
            card("pm-card", self._cells),
        )
        self.box = column_box(
            card("pm-card", row_box(self._search.figure, self._by), self._who), self._figures
        )

    def _choose(self, name: str) -> None:
        self._state.set_setting("gene", name)

    def update(self, changed: set[str]) -> None:
        """Draw what a change concerns."""
        if not changed & {"data", "filters", "groups", "endpoint", "patient", "settings"}:
            return
        name = self._state.settings["gene"]
        self._offer_groups()
        self._search.set_value(name)
        self._figures.layout.display = "none" if name is None else ""
        if name is None:
            known = len(self._state.data.genes)
            text = (
                f"Type a symbol: {known:,} genes are measured." if known else "No expression in this cohort."
            )
            return self._who.show(charts.html(f"<p>{text}</p>"))
        self._who.show(charts.html(f"<p><b>{escape(name)}</b> in {escape(self._state.describe())}</p>"))
        self._draw_groups(name)
        self._draw_survival(name)
        self._draw_cells(name)

    def _offer_groups(self) -> None:
        levels = [
            (c.name, c.name)
            for c in self._state.data.columns.values()
            if c.kind == "category"
            and c.group != "endpoint"
            and not c.private
            and 1 < len(c.categories) <= MOST_CURVES
        ]
        options = [("selected and the rest", ""), ("groups A and B", "groups"), *levels]
        if list(self._by.options) != options:
            self._by.options = options

    def _draw_groups(self, name: str) -> None:
        try:
            found = gene.gene_by_group(self._state, name, self._by.value or None)
        except DataError as error:
            return self._boxes.show(charts.message("By group", str(error)))
        mark = None
        if self._state.patient is not None:
            row = self._state.data.patients.get_loc(self._state.patient)
            mark = float(self._state.data.gene(name)[row])
        note = f"Dashed: patient {self._state.patient}." if mark is not None else ""
        self._boxes.show(
            charts.box_chart(found.table, f"{name} by group", f"{name}, {found.unit}", mark, note)
        )

    def _draw_survival(self, name: str) -> None:
        found = gene.gene_survival(self._state, name)
        p = f"Log-rank p = {charts.p_text(found.log_rank_p)}." if found.log_rank_p is not None else ""
        cuts = f"Cut at {' and '.join(f'{cut:.3g}' for cut in found.cuts)}." if found.cuts else ""
        note = " ".join(filter(None, [p, cuts, *found.notes]))
        self._curve.show(charts.curve_chart(found.curves, f"Survival by thirds of {name}", note))

    def _draw_cells(self, name: str) -> None:
        title = f"{name} in cells of the selected patients"
        try:
            found = gene.gene_in_cells(self._state, name)
        except DataError as error:
            return self._cells.show(charts.message(title, str(error)))
        if found.by_type.empty:
            return self._cells.show(charts.message(title, found.note))
        table = found.by_type.assign(
            said=[
                f"{s:.0f} % express, {n} patients"
                for s, n in zip(found.by_type["share_expressing"], found.by_type["n_patients"], strict=True)
            ]
        )
        summary = f"Mean over patients of their means, and quartiles over patients. {found.note}".strip()
        self._cells.show(
            charts.interval_chart(
                table,
                title,
                "cell_type",
                "mean",
                found.unit,
                lower="lower",
                upper="upper",
                note="said",
                summary=summary,
            )
        )
