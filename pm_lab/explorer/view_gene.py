"""The gene tab: one gene by group, in survival, in cells."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import ipywidgets as widgets
import numpy as np
import pandas as pd

from pm_lab.errors import DataError

from . import charts, gene
from .disclosure import Disclosure
from .layout import GeneSearch, card, column_box, labelled, row_box
from .live_figure import LiveFigure
from .shared_curves import shown_curves
from .small_counts import suppress
from .state import CohortState
from .summaries import FEW, MOST_CURVES, Curve, outcomes_of


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
        table, hidden = _large_groups(found.table, charts.screen_rules(self._state).least)
        title = f"{name} by group"
        if table.empty and hidden:
            return self._boxes.show(charts.message(title, hidden))
        note = f"{note} {hidden}".strip()
        self._boxes.show(charts.box_chart(table, title, f"{name}, {found.unit}", mark, note))

    def _draw_survival(self, name: str) -> None:
        found = gene.gene_survival(self._state, name)
        p = f"Log-rank p = {charts.p_text(found.log_rank_p)}." if found.log_rank_p is not None else ""
        cuts = f"Cut at {' and '.join(f'{cut:.3g}' for cut in found.cuts)}." if found.cuts else ""
        note, title = " ".join(filter(None, [p, cuts, *found.notes])), f"Survival by thirds of {name}"
        if found.curves and min(curve.n for curve in found.curves) < FEW:
            few = f"No curves: a third has fewer than {FEW} people whose expression and outcome are known."
            return self._curve.show(charts.message(title, few))
        rules = charts.screen_rules(self._state)
        curves = self._coarse(found, rules) if rules.least else found.curves
        self._curve.show(charts.curve_chart(curves, title, rules.words(note), least=rules.least))

    def _coarse(self, found: gene.GeneSurvival, rules: Disclosure) -> list[Curve]:
        """The curves as they may be seen where small counts are hidden."""
        outcomes = outcomes_of(self._state)
        if outcomes is None or not found.curves:
            return []
        values = self._state.data.gene(found.gene).astype(float)
        known = self._state.mask & outcomes.known & np.isfinite(values)
        third = np.searchsorted(found.cuts, values, side="right")
        masks = {name: known & (third == place) for place, name in enumerate(gene.TERTILES)}
        return shown_curves(outcomes, masks, rules)[0]

    def _draw_cells(self, name: str) -> None:
        title = f"{name} in cells of the selected patients"
        try:
            found = gene.gene_in_cells(self._state, name)
        except DataError as error:
            return self._cells.show(charts.message(title, str(error)))
        if found.by_type.empty:
            return self._cells.show(charts.message(title, found.note))
        least = charts.screen_rules(self._state).least
        table = found.by_type[found.by_type["n_patients"] >= least]
        if table.empty:
            return self._cells.show(charts.message(title, f"Every type is of fewer than {least} patients."))
        table = table.assign(
            said=[
                f"{s:.0f} % express, {n} patients"
                for s, n in zip(table["share_expressing"], table["n_patients"], strict=True)
            ]
        )
        left_out = len(found.by_type) - len(table)
        hidden = f"{left_out} types of fewer than {least} patients are hidden." if left_out else ""
        summary = "Mean over patients of their means, and quartiles over patients."
        summary = " ".join(filter(None, [summary, hidden, found.note]))
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


def _large_groups(table: pd.DataFrame, least: int) -> tuple[pd.DataFrame, str]:
    """The groups whose numbers may be seen, and what is said of the others."""
    if not least or table.empty:
        return table, ""
    shown = (suppress(table["n"], least) == table["n"].map("{:,}".format)).to_numpy()
    missing = [f"<{least}" if 0 < n < least else n for n in table["n_missing"]]
    table, n_hidden = table.assign(n_missing=missing)[shown], int((~shown).sum())
    said = f"{n_hidden} groups are hidden: they are, or would give away, fewer than {least} people."
    return table, said if n_hidden else ""
