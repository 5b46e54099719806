"""The cohort tab: charts that filter each other, survival, embeddings with a lasso, kinds of columns."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import ipywidgets as widgets
import numpy as np
import pandas as pd

from pm_lab.errors import DataError, PmLabError

from . import charts, summaries
from .columns import KINDS
from .filters import CategoryFilter, LassoFilter, RangeFilter
from .layout import GeneSearch, card, column_box, fold, labelled, row_box, shown_when
from .live_figure import LiveFigure
from .paged_table import PagedTable
from .prepared import prepare_once
from .state import CohortState
from .summaries import GENE, Histogram

SCREEN = 800  # pixels of the wider side of a map, at most
TIMES = ("time", "month", "day", "year", "os", "dfs", "pfs", "rfs", "follow")  # in names of columns
UNITS = ("days", "weeks", "months", "years")
EVENTS = ("event", "status", "died", "death", "dead", "relapse", "recurrence", "progress", "censor", "vital")


class CohortPanel:
    """The cohort tab. It changes the state and is drawn from it, nothing else."""

    def __init__(self, state: CohortState, on_error: Callable[[Exception], None]):
        self._state, self._on_error = state, on_error
        self._figures: dict[str, LiveFigure] = {}
        self._added: list[str] = []
        self._drag: tuple[str, dict] | None = None
        self.quiet = False
        self._curve = LiveFigure()
        self._points = EmbeddingCard(state, on_error)
        self._grid = card("pm-cards")
        self._notes = LiveFigure()
        self._add = widgets.Dropdown(description="add a chart", options=[("choose a column", "")])
        self._add.observe(self._add_column, "value")
        self._gene = GeneSearch("or of a gene", state, self._add_gene, on_error)
        self._kinds = KindsPanel(state, on_error)
        toggle = widgets.ToggleButton(
            description="columns and kinds", tooltip="show which kind each column has"
        )
        shown_when(toggle, self._kinds.box, self._kinds.update)
        self._declare = EndpointForm(state, on_error)
        declare = widgets.ToggleButton(
            description="declare an endpoint",
            tooltip="say which columns hold time and event",
            layout={"width": "auto"},
        )
        shown_when(declare, self._declare.box, self._declare.update)
        self.box = column_box(
            card("pm-two", card("pm-card", self._curve), self._points.box),
            row_box(self._add, self._gene.figure, toggle, declare),
            self._kinds.box,
            self._declare.box,
            self._grid,
            self._notes,
        )

    def update(self, changed: set[str]) -> None:
        """Draw what a change concerns."""
        if self.quiet:
            return
        if "data" in changed:
            self._added = [name for name in self._added if name.startswith(GENE)]
            self._kinds.update()
            self._declare.update()
        if changed & {"data", "filters", "endpoint", "settings"}:
            self._draw_charts()
        if changed & {"data", "filters", "patient", "settings"}:
            self._points.update(changed)

    def _draw_charts(self) -> None:
        state = self._state
        names = list(state.settings["columns"] or summaries.charted(state))
        names += [name for name in [*self._added, *_filtered(state)] if name not in names]
        view = summaries.cohort_view(state, names)
        title = f"Survival: {state.endpoint}" if state.endpoint else "Survival"
        curves, least = charts.screen_curves(state, view.curves), charts.screen_rules(state).least
        self._curve.show(charts.curve_chart(curves, title, " ".join(view.notes), least=least))
        for name, numbers in view.charts.items():
            figure = self._figures.get(name)
            if figure is None:
                figure = self._figures[name] = LiveFigure(self._answer_for(name), self._on_error)
                figure.add_class("pm-card")
            unit = state.data.unit if name.startswith(GENE) else ""
            is_number = isinstance(numbers, Histogram)
            figure.show(
                charts.histogram_chart(state, numbers, unit)
                if is_number
                else charts.bar_chart(state, numbers)
            )
        self._grid.children = tuple(self._figures[name] for name in view.charts)
        self._offer_columns(list(view.charts))
        left_out = prepare_once(state.data, "alike", lambda: summaries.same_for_all(state.data))
        said = [f"column {name!r} has no chart: all its values are the same or missing" for name in left_out]
        notes = "".join(f"<li>{escape(note)}</li>" for note in [*state.data.notes, *said])
        self._notes.show(
            charts.html(
                f"<details><summary>What was inferred or left out</summary><ul>{notes}</ul></details>"
                if notes
                else ""
            )
        )

    def _offer_columns(self, shown: list[str]) -> None:
        columns = self._state.data.columns.values()
        more = [c.name for c in columns if c.kind != "text" and c.group != "endpoint" and c.name not in shown]
        options = [("choose a column", ""), *((name, name) for name in more)]
        if list(self._add.options) != options:
            self._add.options = options
            self._add.disabled = not more

    def _add_column(self, change: dict) -> None:
        if change["new"]:
            self._added.append(change["new"])
            self._draw_charts()

    def _add_gene(self, gene: str) -> None:
        self._state.data.gene(gene)
        if GENE + gene not in self._added:
            self._added.append(GENE + gene)
        self._draw_charts()

    # What a person does in a chart

    def _answer_for(self, name: str) -> Callable[[dict], None]:
        return lambda event: self._answer(name, event)

    def _answer(self, name: str, event: dict) -> None:
        if event["type"] == "range":
            try:
                self._brushed(name, event)
            except DataError:
                self._figures[name].show(self._figures[name].description)  # what was typed does not hold
                raise
        elif event["type"] == "category":
            self._toggle_category(name, event["value"])
        elif event["type"] == "missing":
            self._toggle_missing(name)
        elif event["type"] == "clear":
            self._state.clear(name)

    def _brushed(self, name: str, event: dict) -> None:
        """A whole drag is one step of undo: what it has set so far is taken back before it sets more."""
        before = dict(self._state.filters)
        if self._drag is not None and self._drag[0] == name:
            before = self._drag[1]
            if dict(self._state.filters) != before:
                self.quiet = True
                try:
                    self._state.undo()
                finally:
                    self.quiet = False
        self._drag = (name, before) if event["live"] else None
        self._set_range(name, event["low"], event["high"], event["missing"])

    def _set_range(self, name: str, low, high, missing) -> None:
        state = self._state
        if low is None and high is None:
            return state.clear(name)
        if name.startswith(GENE):
            return state.set_gene(name.removeprefix(GENE), low, high, bool(missing))
        if state.data.columns[name].kind == "date":
            low, high = (None if x is None else str(np.datetime64(int(x), "D")) for x in (low, high))
        return state.set_range(name, low, high, bool(missing))

    def _toggle_category(self, name: str, value: str) -> None:
        present = self._state.filters.get(name)
        values = list(present.chosen) if isinstance(present, CategoryFilter) else []
        missing = present.missing if isinstance(present, CategoryFilter) else False
        values = [one for one in values if one != value] if value in values else [*values, value]
        self._set_categories(name, values, missing)

    def _toggle_missing(self, name: str) -> None:
        present = self._state.filters.get(name)
        if isinstance(present, CategoryFilter):
            self._set_categories(name, list(present.chosen), not present.missing)
        elif isinstance(present, RangeFilter) and (present.low is not None or present.high is not None):
            low, high, missing = present.low, present.high, not present.missing
            setter = self._state.set_gene if name.startswith(GENE) else self._state.set_range
            setter(name.removeprefix(GENE), low, high, missing)
        elif present is not None:
            self._state.clear(name)
        elif name.startswith(GENE):
            self._state.set_gene(name.removeprefix(GENE), missing="only")
        elif self._state.data.columns[name].kind == "category":
            self._state.set_categories(name, [], missing=True)
        else:
            self._state.set_range(name, missing="only")

    def _set_categories(self, name: str, values: list[str], missing) -> None:
        if values or missing:
            self._state.set_categories(name, values, missing)
        else:
            self._state.clear(name)


def _filtered(state: CohortState) -> list[str]:
    """Filtered columns and genes that can have a chart."""
    columns = state.data.columns
    return [k for k in state.filters if k.startswith(GENE) or (k in columns and columns[k].kind != "text")]


class EmbeddingCard:
    """Patients on an embedding, with a lasso."""

    def __init__(self, state: CohortState, on_error: Callable[[Exception], None]):
        self._state = state
        self._figure = LiveFigure(self._answer, on_error)
        self._which = labelled(widgets.Dropdown, "embedding", options=list(state.data.embeddings))
        self._colour = labelled(widgets.Dropdown, "colour by", options=[("selection", "")])
        self._which.observe(lambda _: self._draw(), "value")
        self._colour.observe(self._coloured, "value")
        self._gene = GeneSearch(
            "gene", state, lambda gene: state.set_setting("colour_by", GENE + gene), on_error
        )
        self._sent: tuple | None = None
        self._rows = np.zeros(0, int)
        self.box = card("pm-card", row_box(self._which, self._colour, self._gene.figure), self._figure)

    def update(self, changed: set[str]) -> None:
        wanted = self._state.settings["embedding"]
        if wanted is not None and "settings" in changed and wanted in self._which.options:
            self._which.value = wanted
        self._draw()

    def _coloured(self, change: dict) -> None:
        if (change["new"] or None) != self._state.settings["colour_by"]:
            self._state.set_setting("colour_by", change["new"] or None)

    def _answer(self, event: dict) -> None:
        if event["type"] == "lasso":
            self._state.set_lasso(self._which.value, self._simple(event["polygon"]))
        elif event["type"] == "pick":
            self._state.select_patient(self._state.data.patients[self._rows[event["index"]]])

    def _simple(self, polygon: list) -> list[tuple[float, float]]:
        """The corners that can be told apart on the screen, without digits that nobody drew."""
        corners = np.asarray(polygon, float)
        values = self._state.data.embedding(self._which.value)
        step = np.nanmax(np.nanmax(values, axis=0) - np.nanmin(values, axis=0)) / SCREEN
        if len(corners) <= 4 or not step > 0:
            return [tuple(corner) for corner in corners.tolist()]
        digits = max(0, 1 - int(np.floor(np.log10(step))))
        kept = simplified(corners, step)
        return [(round(x, digits), round(y, digits)) for x, y in kept.tolist()]

    def _draw(self) -> None:
        state, name = self._state, self._which.value
        fold(self.box, name is None)
        if name is None:
            return
        colour_by = state.settings["colour_by"]
        self._offer_colours(colour_by)
        coordinates = state.data.embedding(name)
        self._rows = _sampled(state.data.n)
        said = f"{state.n_selected:,} of {state.data.n:,} patients are selected. Draw around some to select."
        if len(self._rows) < state.data.n:
            said += f" {len(self._rows):,} are drawn, a sample; what is selected is worked out on all."
        more = {"mask": state.mask[self._rows].astype(np.uint8)} if not state.mask.all() else {}
        if colour_by is not None:
            more |= _colours(state, colour_by, self._rows)
        chosen = state.filters.get(f"lasso:{name}")
        sent = (name, colour_by, id(state.data))
        found = charts.point_chart(
            *coordinates[self._rows].T,
            f"Map of the patients: {name}",
            said,
            f"{name} 1",
            f"{name} 2",
            lasso=True,
            pick=True,
            points=f"{id(state.data)} {name}",
            least=charts.screen_rules(state).least,
            polygon=[list(p) for p in chosen.polygon] if isinstance(chosen, LassoFilter) else None,
            rings=self._ring(),
            height=330,
            **more,
        )
        self._figure.show(
            found,
            kept=("x", "y", "codes")
            if sent == self._sent and "codes" in found
            else ("x", "y")
            if sent == self._sent
            else (),
        )
        self._sent = sent

    def _ring(self) -> list[dict]:
        if self._state.patient is None:
            return []
        row = self._state.data.patients.get_loc(self._state.patient)
        place = np.searchsorted(self._rows, row)
        known = place < len(self._rows) and self._rows[place] == row
        return [{"i": int(place), "label": ""}] if known else []

    def _offer_colours(self, chosen: str | None) -> None:
        columns = [c.name for c in self._state.data.columns.values() if c.kind in ("number", "category")]
        options = [("selection", ""), *((name, name) for name in columns)]
        if chosen is not None and chosen not in columns:
            options.append((chosen.removeprefix(GENE), chosen))
        if list(self._colour.options) != options:
            self._colour.options = options
        if self._colour.value != (chosen or ""):
            self._colour.value = chosen or ""


def _sampled(n: int) -> np.ndarray:
    """All rows, or an even sample of as many as a screen can show."""
    return np.arange(n) if n <= charts.MOST_POINTS else np.linspace(0, n - 1, charts.MOST_POINTS).astype(int)


def _colours(state: CohortState, name: str, rows: np.ndarray) -> dict:
    if name.startswith(GENE):
        return charts.graded(state.data.gene(name.removeprefix(GENE))[rows], name.removeprefix(GENE))
    column = state.data.column(name)
    if column.kind == "category":
        return charts.coloured(column.values[rows], column.categories)
    return charts.graded(np.asarray(column.values, float)[rows], name)


def simplified(corners: np.ndarray, step: float) -> np.ndarray:
    """The corners of a closed line without those less than ``step`` from the line through their neighbours.

    Ramer's algorithm (Comput Graph Image Process 1972; Douglas and Peucker 1973).
    """
    if len(corners) <= 3:
        return corners
    kept = np.zeros(len(corners), bool)
    far = int(np.argmax(((corners - corners[0]) ** 2).sum(axis=1)))
    closed = np.vstack([corners, corners[:1]])
    kept[[0, far]] = True
    parts = [(0, far), (far, len(corners))]
    while parts:
        start, end = parts.pop()
        if end - start < 2:
            continue
        along = closed[end] - closed[start]
        between = closed[start + 1 : end] - closed[start]
        length = float(np.hypot(*along))
        away = (
            np.abs(along[0] * between[:, 1] - along[1] * between[:, 0]) / length
            if length
            else np.hypot(*between.T)
        )
        if away.max() >= step:
            middle = start + 1 + int(np.argmax(away))
            kept[middle] = True
            parts += [(start, middle), (middle, end)]
    return corners[kept] if kept.sum() >= 3 else corners


class EndpointForm:
    """Which columns hold the time and the event of an endpoint, for those who write no code."""

    def __init__(self, state: CohortState, on_error: Callable[[Exception], None]):
        self._state, self._on_error = state, on_error
        self._time = labelled(widgets.Dropdown, "time", options=[])
        self._event = labelled(widgets.Dropdown, "event", options=[])
        self._censored = labelled(widgets.Dropdown, "censored is", options=[("0 or false", "")])
        self._unit = labelled(widgets.Dropdown, "unit", "160px", options=list(UNITS), value="months")
        apply = widgets.Button(description="use this endpoint")
        apply.on_click(self._declare)
        self._event.observe(lambda _: self._offer_levels(), "value")
        self._note = LiveFigure()
        self._note.show(
            charts.message(
                "Declare an endpoint",
                "Time to the event or to the end of follow-up, and whether the event was seen.",
            )
        )
        self.box = card(
            "pm-card", self._note, row_box(self._time, self._event, self._censored, self._unit, apply)
        )

    def update(self) -> None:
        """Offer the columns that there are, those first whose names say that they are meant."""
        alike = summaries.same_for_all(self._state.data)
        columns = [c for c in self._state.data.columns.values() if not (c.private or c.name in alike)]
        self._offer(self._time, [c.name for c in columns if c.kind == "number"], TIMES)
        self._offer(self._event, [c.name for c in columns if c.kind == "category"], EVENTS)
        self._offer_levels()

    def _offer(self, control: widgets.Dropdown, names: list[str], words: tuple[str, ...]) -> None:
        names = sorted(names, key=lambda name: not any(word in name.casefold() for word in words))
        if list(control.options) != names:
            control.options = names
            control.value = names[0] if names else None

    def _offer_levels(self) -> None:
        column = self._state.data.columns.get(self._event.value)
        levels = list(column.categories) if column is not None and len(column.categories) <= 20 else []
        options = [("0 or false", ""), *((level, level) for level in levels)]
        if list(self._censored.options) != options:
            self._censored.options = options

    def _declare(self, _) -> None:
        more = {"censored": self._censored.value} if self._censored.value else {}
        try:
            if not (self._time.value and self._event.value):
                raise DataError("an endpoint needs a column of numbers, its time, and one of categories.")
            self._state.declare_endpoint(self._time.value, self._event.value, self._unit.value, **more)
        except (PmLabError, KeyError) as error:
            self._on_error(error)


class KindsPanel:
    """Which kind each column was taken for, and a way to correct it."""

    def __init__(self, state: CohortState, on_error: Callable[[Exception], None]):
        self._state, self._on_error = state, on_error
        self._table = PagedTable("Columns", on_row=self._choose, on_error=on_error)
        self._column = labelled(widgets.Dropdown, "column", options=list(state.data.columns))
        self._kind = labelled(widgets.Dropdown, "kind", options=list(KINDS))
        apply = widgets.Button(description="use this kind")
        apply.on_click(self._retype)
        self._column.observe(lambda _: self._match(), "value")
        self.box = card("pm-card", self._table, row_box(self._column, self._kind, apply))
        self._match()

    def update(self) -> None:
        columns = self._state.data.columns.values()
        levels = [len(c.categories) if c.kind in ("category", "text") else None for c in columns]
        table = pd.DataFrame(
            {
                "column": [c.name for c in columns],
                "kind": [c.kind for c in columns],
                "missing": [c.n_missing for c in columns],
                "levels": pd.array(levels, dtype="Int64"),
                "part": [c.group for c in columns],
                "note": [c.note for c in columns],
            }
        )
        self._table.fill(table, "Choose a column to correct its kind; filters of it are cleared.")

    def _choose(self, place: int) -> None:
        self._column.value = list(self._state.data.columns)[place]

    def _match(self) -> None:
        if self._column.value is not None:
            self._kind.value = self._state.data.columns[self._column.value].kind

    def _retype(self, _) -> None:
        try:
            self._state.retype({self._column.value: self._kind.value})
        except DataError as error:
            self._on_error(error)
