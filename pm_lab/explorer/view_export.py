"""The export tab: figures, selection, state, code and reports as files."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from io import BytesIO
from zipfile import ZipFile

import ipywidgets as widgets

from pm_lab.errors import DataError, PmLabError

from . import charts, exports, report
from .layout import card, column_box, labelled, row_box
from .live_figure import LiveFigure
from .small_counts import LEAST
from .state import CohortState

FIGURES_OF = [("cohort", "cohort"), ("groups A and B", "compare"), ("patient", "patient"), ("gene", "gene")]
MEDIA = {"svg": "image/svg+xml", "png": "image/png", "pdf": "application/pdf"}
HIDING = (
    "Small counts are hidden in what is shared: fewer people than {least} are shown as <{least}, and so is "
    "what follows from differences. Switch it off only for files that stay with those who may see patients."
)


class ExportPanel:
    """The export tab."""

    def __init__(self, state: CohortState, on_error: Callable[[Exception], None]):
        self._state, self._on_error = state, on_error
        self._files = LiveFigure()  # shows nothing; browsers save files through it
        self._hide = widgets.Checkbox(value=True, description="hide small counts in files", indent=False)
        self._patient = self._button("patient report", self._save_patient_report)
        self._view = labelled(widgets.Dropdown, "figures of", options=FIGURES_OF)
        self._kind = labelled(widgets.Dropdown, "as", "120px", options=list(exports.KINDS))
        self._code, self._token, self._note = LiveFigure(), LiveFigure(), LiveFigure()
        self._paste = labelled(widgets.Text, "token or JSON", "420px")
        self.box = column_box(
            card("pm-card", self._note, self._hide),
            card(
                "pm-card",
                row_box(self._view, self._kind, self._button("save figures", self._save_figures)),
                row_box(
                    self._button("selection as CSV", self._save_csv),
                    self._button("state as JSON", self._save_json),
                    self._button("cohort report", self._save_cohort_report),
                    self._patient,
                ),
                self._files,
            ),
            card("pm-card", self._code),
            card("pm-card", self._token, row_box(self._paste, self._button("restore", self._restore))),
        )

    def update(self, changed: set[str]) -> None:
        """Draw what a change concerns."""
        state = self._state
        least = max(state.settings["least_count"], LEAST)
        self._patient.disabled = state.patient is None
        self._patient.tooltip = "choose a patient in the patient tab first" if state.patient is None else ""
        self._note.show(charts.message("What leaves the explorer", HIDING.format(least=least)))
        self._files.show(charts.html(""))
        self._code.show(
            charts.html(_copied("Code that makes this selection", exports.selection_code(state), "code"))
        )
        self._token.show(
            charts.html(
                _copied(
                    "Token that restores this on the same data; it names no patient",
                    state.share_token(),
                    "token",
                )
            )
        )

    def _button(self, label: str, act: Callable[[], None]) -> widgets.Button:
        button = widgets.Button(description=label)

        def pressed(_) -> None:
            try:
                act()
            except PmLabError as error:
                self._on_error(error)

        button.on_click(pressed)
        return button

    def _save_figures(self) -> None:
        kind = self._kind.value
        files = exports.figure_files(self._state, self._view.value, kind, self._hide.value)
        if len(files) == 1:
            name, content = next(iter(files.items()))
            return self._files.offer(name, content, MEDIA[kind])
        buffer = BytesIO()
        with ZipFile(buffer, "w") as packed:
            for name, content in files.items():
                packed.writestr(name, content)
        self._files.offer(f"{self._view.value}_figures_{kind}.zip", buffer.getvalue(), "application/zip")

    def _save_csv(self) -> None:
        self._files.offer("selection.csv", exports.selection_csv(self._state, self._hide.value), "text/csv")

    def _save_json(self) -> None:
        self._files.offer("state.json", exports.state_json(self._state), "application/json")

    def _save_cohort_report(self) -> None:
        self._files.offer(
            "cohort_report.html", report.cohort_report(self._state, self._hide.value), "text/html"
        )

    def _save_patient_report(self) -> None:
        if self._state.patient is None:
            raise DataError("no patient is chosen: choose one in the patient tab first.")
        content = report.patient_report(self._state, hide_small_counts=self._hide.value)
        self._files.offer("patient_report.html", content, "text/html")

    def _restore(self) -> None:
        self._state.restore(self._paste.value)
        self._paste.value = ""


def _copied(title: str, text: str, name: str) -> str:
    return (
        f'<div class="pm-head"><h4>{escape(title)}</h4><button type="button" class="pm-quiet pm-copy" '
        f'data-copy=".pm-text-{name}" aria-label="copy: {escape(title)}">copy</button></div>'
        f'<pre class="pm-text-{name}" tabindex="0">{escape(text)}</pre>'
    )
