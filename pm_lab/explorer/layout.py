"""Boxes, labelled controls and the search for genes that the tabs of the explorer share."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as widgets

from .gene import gene_names
from .live_figure import LiveFigure
from .state import CohortState

MOST_OFFERED = 12


def card(name: str, *children: widgets.Widget) -> widgets.Box:
    """A box with the look called ``name`` in the style sheet."""
    box = widgets.VBox(list(children))
    box.add_class(name)
    return box


def column_box(*children: widgets.Widget) -> widgets.VBox:
    return widgets.VBox(list(children), layout={"grid_gap": "10px"})


def row_box(*children: widgets.Widget) -> widgets.HBox:
    return widgets.HBox(
        list(children), layout={"flex_flow": "row wrap", "align_items": "center", "grid_gap": "4px 12px"}
    )


def labelled(kind: type[widgets.Widget], label: str, width: str = "240px", **kwargs) -> widgets.Widget:
    """A control whose label is never cut off."""
    return kind(description=label, style={"description_width": "initial"}, layout={"width": width}, **kwargs)


def fold(box: widgets.Widget, empty: bool) -> None:
    """Leave no frame around nothing."""
    box.layout.display = "none" if empty else ""


def shown_when(toggle: widgets.ToggleButton, box: widgets.Widget, before: Callable[[], None]) -> None:
    """Show a box while a button is pressed; ``before`` fills it."""

    def follow(_=None) -> None:
        if toggle.value:
            before()
        box.layout.display = "" if toggle.value else "none"

    toggle.observe(follow, "value")
    follow()


class Search:
    """A field that completes what is typed, from a list that stays in the kernel."""

    def __init__(
        self,
        title: str,
        placeholder: str,
        complete: Callable[[str], list[str]],
        on_chosen: Callable[[str], None],
        on_error: Callable[[Exception], None],
    ):
        self._complete, self._on_chosen = complete, on_chosen
        self._description = {"kind": "search", "title": title, "placeholder": placeholder}
        self.figure = LiveFigure(self._answer, on_error)
        self.figure.show(self._description)

    def set_value(self, value: str | None) -> None:
        """What stands in the field."""
        self._description["value"] = value or ""
        self.figure.show(self._description)

    def _answer(self, event: dict) -> None:
        if event["type"] == "query":
            self.figure.show({**self._description, "value": None, "options": self._complete(event["query"])})
        elif event["type"] == "chosen" and event["value"].strip():
            self._description["value"] = event["value"]
            self._on_chosen(event["value"].strip())


class GeneSearch(Search):
    """A search for a gene by symbol, its other names too."""

    def __init__(self, title, state: CohortState, on_chosen, on_error):
        def chosen(text: str) -> None:
            found = [text] if text in state.data.genes else gene_names(state, text, 1)
            self.set_value(found[0] if found else text)
            on_chosen(found[0] if found else text)

        super().__init__(
            title, "symbol", lambda text: gene_names(state, text, MOST_OFFERED), chosen, on_error
        )
