"""The controls of the comparison tab that say from where a group comes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import ipywidgets as widgets
import numpy as np

from pm_lab.errors import DataError, PmLabError, PmLabWarning

from .filters import CategoryFilter, Filter, GeneFilter, RangeFilter, number_text
from .groups import Group
from .layout import GeneSearch, labelled, row_box
from .state import CohortState

SOURCES = [
    ("the present selection", "selection"),
    ("everybody not selected now", "rest"),
    ("values of a category", "values"),
    ("a range of a number", "range"),
    ("the upper part of a gene", "above_gene"),
    ("the lower part of a gene", "below_gene"),
    ("the upper part of a risk", "above_risk"),
    ("the lower part of a risk", "below_risk"),
    ("not set", ""),
]
KEPT = ("as it was set", "kept")  # from code, or from filters that have changed since
PARTS = {"above": "above_quantile", "below": "below_quantile"}
PANEL = ("a panel in a file", "")
SCALES = [("of the panel's own cohort", "panel"), ("of this cohort (another platform)", "cohort")]
MOST_VALUES = 500  # of a category to choose from


class GroupControls:
    """From where a group comes."""

    def __init__(self, name: str, state: CohortState, on_error: Callable[[Exception], None]):
        self._name, self._state, self._on_error = name, state, on_error
        self._gene_name: str | None = None
        self._seen: tuple | None = None
        self._own = False  # while what is set here is under way: the controls say it better than the state
        start = "selection" if name == "A" else "rest"
        self._source = labelled(widgets.Dropdown, f"group {name} is", "300px", options=SOURCES, value=start)
        self._column = labelled(widgets.Dropdown, f"of (group {name})", options=[])
        self._values = labelled(widgets.SelectMultiple, f"values of {name}", "280px", options=[], rows=4)
        self._low = labelled(widgets.Text, f"{name} at least", "150px")
        self._high = labelled(widgets.Text, f"{name} below", "150px")
        self._gene = GeneSearch(f"gene of {name}", state, self._take_gene, on_error)
        self._risk = labelled(widgets.Dropdown, f"risk of {name}", "300px", options=[PANEL])
        self._panel = labelled(widgets.Text, f"panel file of {name}", "300px", placeholder="panel.json")
        self._scale = labelled(widgets.Dropdown, f"mean and SD of {name}", "340px", options=SCALES)
        share = {"value": 0.5, "min": 0.0, "max": 1.0, "step": 0.05}
        self._share = labelled(widgets.BoundedFloatText, f"quantile of {name}", "170px", **share)
        button = widgets.Button(description=f"set group {name}")
        button.on_click(self._set)
        for control in (self._source, self._risk):
            control.observe(lambda _: self._arrange(), "value")
        self._column.observe(lambda _: self._offer_values(), "value")
        self._all = [self._column, self._values, self._low, self._high, self._gene.figure]
        self._all += [self._risk, self._panel, self._scale, self._share]
        self.box = row_box(self._source, *self._all, button)
        self._arrange()

    def update(self) -> None:
        """Show the group as it is set, unless that has not changed since the last look."""
        group, present = self._state.groups.get(self._name), tuple(self._state.filters.values())
        now = (group, group is not None and group.filters == present, bool(self._state.groups))
        if now != self._seen:
            self._seen = now
            if not self._own:
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
            self._choose("below_gene" if one.low is None else "above_gene")
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
            "values": [self._column, self._values],
            "range": [self._column, self._low, self._high],
            "gene": [self._gene.figure, self._share],
            "risk": [self._risk, self._share],
        }.get(source.split("_")[-1], [])
        if self._risk in needs and self._risk.value == PANEL[1]:
            needs += [self._panel, self._scale]
        for control in self._all:
            control.layout.display = "" if control in needs else "none"
        self._offer_columns()

    def _offer_columns(self) -> None:
        columns = [c for c in self._state.data.columns.values() if c.group != "endpoint" and not c.private]
        risks = [PANEL, *((c.name, c.name) for c in columns if c.kind == "number")]
        if list(self._risk.options) != risks:
            self._risk.options = risks
        kinds = ("category",) if self._source.value == "values" else ("number", "date")
        names = [c.name for c in columns if c.kind in kinds]
        if list(self._column.options) != names:
            self._column.options = names
        self._offer_values()

    def _offer_values(self) -> None:
        column = self._state.data.columns.get(self._column.value)
        category = column is not None and column.kind == "category"
        values = list(column.categories[:MOST_VALUES]) if category else []
        if list(self._values.options) != values:
            self._values.value = ()  # the page would look for the chosen ones among the new options
            self._values.options = values

    def _take_gene(self, gene: str) -> None:
        self._state.data.gene(gene)
        self._gene_name = gene

    def _set(self, _) -> None:
        source = self._source.value
        if source == "kept":
            return
        self._own = source.endswith("_risk")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", PmLabWarning)
            try:
                self._state.set_group(self._name, self._given())
            except (PmLabError, ValueError) as error:
                return self._on_error(error)
            finally:
                self._own = False
        if said := [str(one.message) for one in caught if issubclass(one.category, PmLabWarning)]:
            self._on_error(PmLabWarning(" ".join(said)))

    def _given(self):
        source, column = self._source.value, self._column.value
        if source == "values":
            return {"column": column, "values": list(self._values.value)}
        if source == "range":
            number = self._state.data.columns[column].kind == "number"
            limits = [field.value.strip() or None for field in (self._low, self._high)]
            low, high = (float(limit) if limit and number else limit for limit in limits)
            return {"column": column, "low": low, "high": high}
        part, _, of = source.partition("_")
        if of == "gene":
            if self._gene_name is None:
                raise DataError(f"group {self._name}: type a gene first, and choose it with Enter.")
            return {"gene": self._gene_name, PARTS[part]: self._share.value}
        if of == "risk":
            return {**self._risk_given(), PARTS[part]: self._share.value}
        return source or None

    def _risk_given(self) -> dict:
        if self._risk.value:
            return {"panel_risk": self._risk.value}
        path = self._panel.value.strip()
        if not path:
            raise DataError(f"group {self._name}: name the file of a panel, as Panel.save wrote it.")
        return {"panel_risk": Path(path).expanduser(), "scale": self._scale.value}
