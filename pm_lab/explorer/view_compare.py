"""The comparison tab: who is in groups A and B, their survival, genes, pathways and cell types."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import ipywidgets as widgets
import numpy as np
import pandas as pd

from pm_lab.errors import DataError, PmLabError

from . import charts, comparison
from .disclosure import Disclosure
from .filters import CategoryFilter, Filter, GeneFilter, RangeFilter, number_text
from .groups import Group
from .layout import GeneSearch, card, column_box, fold, labelled, row_box
from .live_figure import LiveFigure
from .paged_table import PagedTable
from .state import CohortState

SOURCES = [
    ("the present selection", "selection"),
    ("everybody not selected now", "rest"),
    ("values of a category", "values"),
    ("a range of a number", "range"),
    ("the upper part of a gene", "above_quantile"),
    ("the lower part of a gene", "below_quantile"),
    ("not set", ""),
]
KEPT = ("as it was set", "kept")  # from code, or from filters that have changed since
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


class GroupControls:
    """From where a group comes."""

    def __init__(self, name: str, state: CohortState, on_error: Callable[[Exception], None]):
        self._name, self._state, self._on_error = name, state, on_error
        start = "selection" if name == "A" else "rest"
        self._source = labelled(widgets.Dropdown, f"group {name} is", "300px", options=SOURCES, value=start)
        self._column = labelled(widgets.Dropdown, f"of (group {name})", options=[])
        self._values = labelled(widgets.SelectMultiple, f"values of {name}", "280px", options=[], rows=4)
        self._low = labelled(widgets.Text, f"{name} at least", "150px")
        self._high = labelled(widgets.Text, f"{name} below", "150px")
        self._gene_name: str | None = None
        self._seen: tuple | None = None
        self._gene = GeneSearch(f"gene of {name}", state, self._take_gene, on_error)
        self._share = labelled(
            widgets.BoundedFloatText, f"quantile of {name}", "170px", value=0.5, min=0.0, max=1.0, step=0.05
        )
        button = widgets.Button(description=f"set group {name}")
        button.on_click(self._set)
        self._source.observe(lambda _: self._arrange(), "value")
        self._column.observe(lambda _: self._offer_values(), "value")
        self.box = row_box(
            self._source,
            self._column,
            self._values,
            self._low,
            self._high,
            self._gene.figure,
            self._share,
            button,
        )
        self._arrange()

    def update(self) -> None:
        """Show the group as it is set, unless that has not changed since the last look."""
        group, present = self._state.groups.get(self._name), tuple(self._state.filters.values())
        now = (group, group is not None and group.filters == present, bool(self._state.groups))
        if now != self._seen:
            self._seen = now
            self._follow(group, present)
        self._offer_columns()

    def _follow(self, group: Group | None, present: tuple[Filter, ...]) -> None:
        one = group.filters[0] if group is not None and len(group.filters) == 1 else None
        plain = one is not None and not group.rest and not group.label
        if group is None:
            self._choose("" if self._state.groups else "selection" if self._name == "A" else "rest")
        elif group.filters == present and not group.label:
            self._choose("rest" if group.rest else "selection")
        elif plain and isinstance(one, CategoryFilter) and not one.missing:
            self._choose("values", one.column)
            self._values.value = [value for value in one.chosen if value in self._values.options]
        elif plain and isinstance(one, GeneFilter) and not one.missing and None in (one.low, one.high):
            self._choose("below_quantile" if one.low is None else "above_quantile")
            self._match_gene(one)
        elif plain and isinstance(one, RangeFilter) and not isinstance(one, GeneFilter) and not one.missing:
            self._choose("range", one.column)
            for field, limit in ((self._low, one.low), (self._high, one.high)):
                field.value = "" if limit is None else number_text(limit)
        else:
            self._choose("kept")

    def _choose(self, source: str, column: str | None = None) -> None:
        options = [*SOURCES, KEPT] if source == "kept" else SOURCES
        if list(self._source.options) != options:
            self._source.options = options
        self._source.value = source
        if column in self._column.options:
            self._column.value = column

    def _match_gene(self, one: GeneFilter) -> None:
        """The gene, and the share of the patients below its threshold."""
        self._gene_name = one.column
        self._gene.set_value(one.column)
        limit = one.high if one.low is None else one.low
        values = self._state.data.gene(one.column)
        known = values[np.isfinite(values)].astype(float)
        if len(known) and not np.isclose(np.quantile(known, self._share.value), limit, rtol=1e-6):
            self._share.value = round(float(np.mean(known < limit)), 4)

    def _arrange(self) -> None:
        source = self._source.value
        needs = {
            "values": (self._column, self._values),
            "range": (self._column, self._low, self._high),
            "above_quantile": (self._gene.figure, self._share),
            "below_quantile": (self._gene.figure, self._share),
        }.get(source, ())
        for control in (self._column, self._values, self._low, self._high, self._gene.figure, self._share):
            control.layout.display = "" if control in needs else "none"
        self._offer_columns()

    def _offer_columns(self) -> None:
        kinds = ("category",) if self._source.value == "values" else ("number", "date")
        columns = [
            c.name
            for c in self._state.data.columns.values()
            if c.kind in kinds and c.group != "endpoint" and not c.private
        ]
        if list(self._column.options) != columns:
            self._column.options = columns
        self._offer_values()

    def _offer_values(self) -> None:
        column = self._state.data.columns.get(self._column.value)
        values = list(column.categories[:500]) if column is not None and column.kind == "category" else []
        if list(self._values.options) != values:
            self._values.options = values

    def _take_gene(self, gene: str) -> None:
        self._state.data.gene(gene)
        self._gene_name = gene

    def _set(self, _) -> None:
        if self._source.value == "kept":
            return
        try:
            self._state.set_group(self._name, self._given())
        except (PmLabError, ValueError) as error:
            self._on_error(error)

    def _given(self):
        source, column = self._source.value, self._column.value
        if source == "values":
            return {"column": column, "values": list(self._values.value)}
        if source == "range":
            number = self._state.data.columns[column].kind == "number"
            limits = [field.value.strip() or None for field in (self._low, self._high)]
            low, high = (float(limit) if limit and number else limit for limit in limits)
            return {"column": column, "low": low, "high": high}
        if source in ("above_quantile", "below_quantile"):
            if self._gene_name is None:
                raise DataError(f"group {self._name}: type a gene first, and choose it with Enter.")
            return {"gene": self._gene_name, source: self._share.value}
        return source or None
