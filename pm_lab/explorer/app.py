"""The explorer in a notebook cell: a header and five tabs, all of them views of one :class:`CohortState`."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterable
from html import escape

import ipywidgets as widgets

from pm_lab.errors import PmLabError, PmLabWarning

from . import charts
from .choices import ASPECTS
from .cohort_data import CohortData
from .filters import LassoFilter
from .layout import card, column_box, labelled, row_box
from .live_figure import LiveFigure
from .prepared import prepare_once
from .state import CohortState
from .summaries import counts

TABS = [
    ("cohort", "Cohort"),
    ("compare", "Compare"),
    ("patient", "Patient"),
    ("gene", "Genes"),
    ("export", "Export"),
]
SUMMARY_AFTER = 1.0  # seconds without a change, after which what is saved without a kernel is drawn anew
RESEARCH = "Research use only: not a medical device."


def explore(cohort, cells=None, predictions=None, endpoint=None) -> Explorer:
    """Open the patient explorer on a cohort, as the last line of a notebook cell.

    Parameters
    ----------
    cohort : what :meth:`CohortData.open` takes: a Cohort, an AnnData of patients × genes, a table with one
        row per patient, a pair of tables (clinical, expression), or a path; or a CohortData or CohortState.
    cells : AnnData with ``obs["patient"]``, or its path.
    predictions : as :meth:`pm_lab.drug_response.DrugResponseModel.predict` returns it.
    endpoint : the name of a declared endpoint, or a declaration.

    Returns
    -------
    Explorer
        ``.state`` is all that was chosen in it; whatever changes the state changes what is shown.

    Raises
    ------
    DataError
        As :meth:`CohortData.open`.

    Examples
    --------
    >>> import pm_lab as pm
    >>> explorer = pm.explore(pm.datasets.load("gse7390"))
    >>> explorer.state.set_range("age", 40, 55)
    >>> explorer.state.describe()
    '40 ≤ age < 55: 132 of 198 patients'
    """
    if isinstance(cohort, CohortState):
        return Explorer(cohort)
    said: list[str] = []
    if not isinstance(cohort, CohortData):
        cohort, said = _opened(cohort, cells, predictions, endpoint)
    return Explorer(CohortState(cohort, endpoint if isinstance(endpoint, str) else None), said)


def _opened(*given) -> tuple[CohortData, list[str]]:
    """The cohort, and what its reader warns of: it is shown in the explorer, which no notebook keeps."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PmLabWarning)
        data = CohortData.open(*given)
    said = [str(one.message) for one in caught if issubclass(one.category, PmLabWarning)]
    for one in caught:
        if not issubclass(one.category, PmLabWarning):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    return data, said


class Explorer:
    """The application. ``state`` is what it shows and changes; ``said`` are warnings to be shown in it."""

    def __init__(self, state: CohortState, said: Iterable[str] = ()):
        self.state = state
        self._warned = LiveFigure()
        notes = "".join(f'<p role="note" class="pm-warn">{escape(text)}</p>' for text in dict.fromkeys(said))
        self._warned.show(charts.html(notes))
        self._summary = None  # the display that stands in for the application where there is no kernel
        self._summary_due: asyncio.TimerHandle | None = None
        self._tabs = LiveFigure(self._choose_tab)
        self._panels: dict[str, object] = {}
        self._stale: dict[str, set[str]] = {}
        self._place = column_box()
        self._place.add_class("pm-panel")
        self._said, self._status = LiveFigure(), LiveFigure()
        self._endpoint = labelled(widgets.Dropdown, "endpoint", "200px", options=list(state.data.endpoints))
        self._endpoint.observe(self._choose_endpoint, "value")
        self._undo, self._redo, self._clear = (
            widgets.Button(description=text, tooltip=tip, layout={"width": "auto"})
            for text, tip in (
                ("undo", "take back the last change"),
                ("redo", "make it again"),
                ("clear filters", "select all patients"),
            )
        )
        self._undo.on_click(lambda _: state.undo())
        self._redo.on_click(lambda _: state.redo())
        self._clear.on_click(lambda _: state.clear())
        self._hide = widgets.Checkbox(
            description="hide small counts on screen", indent=False, layout={"width": "auto"}
        )
        self._hide.observe(self._hide_small_counts, "value")
        controls = row_box(self._undo, self._redo, self._clear, self._endpoint, self._hide)
        header = card("pm-card", self._said, self._warned, controls, self._status)
        self.widget = column_box(header, self._tabs, self._place)
        self.widget.add_class("pm-explorer")
        self._tab = self._asked_for = state.settings["view"]
        self.end = state.observe(self._update)
        self._update(set(ASPECTS))

    def _ipython_display_(self) -> None:
        from IPython.display import HTML, display

        from .report import static_summary

        # Hidden where the application lives, see front/explorer.css.
        self._summary = display(HTML(static_summary(self.state)), display_id=True)
        display(self.widget)
        _warm(self.state.data)

    def _draw_summary_later(self) -> None:
        """What a saved notebook shows without a kernel follows what is chosen, once nothing changes."""
        if self._summary is None:
            return
        if self._summary_due is not None:
            self._summary_due.cancel()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return self._draw_summary()
        self._summary_due = loop.call_later(SUMMARY_AFTER, self._draw_summary)

    def _draw_summary(self) -> None:
        from IPython.display import HTML

        from .report import static_summary

        self._summary.update(HTML(static_summary(self.state)))

    def _update(self, changed: set[str]) -> None:
        panel = self._panels.get("cohort")
        if panel is not None and panel.quiet:
            return
        self._draw_header()
        self._draw_summary_later()
        for theme in ("light", "dark"):
            asked = self.state.settings["theme"] == theme  # otherwise the page's own
            (self.widget.add_class if asked else self.widget.remove_class)(f"pm-{theme}")
        if "settings" in changed and self.state.settings["view"] != self._asked_for:
            self._tab = self._asked_for = self.state.settings["view"]
        for name in self._panels:
            self._stale[name] = self._stale.get(name, set()) | changed
        self._say(None)
        self._show_tab()

    def _draw_header(self) -> None:
        state = self.state
        found = counts(state)
        rules = charts.screen_rules(state)
        # Everyone is nobody's small rest.
        part = rules.part if rules.filtered else lambda n, _: rules.people(n)
        numbers = [_number(part(found["n_selected"], found["n"]), found["n"], "patients")]
        if "events_selected" in found:
            some, events = found["events_selected"], found["events"]
            numbers.append(_number(part(some, events), events, f"events ({state.endpoint})"))
        self._said.show(
            charts.html(
                f'<div class="pm-numbers">{"".join(numbers)}<span class="pm-note">{RESEARCH}</span></div>'
                f'<p class="pm-selection" role="status">{escape(_brief(state))}</p>{_corners(state)}'
            )
        )
        self._undo.disabled, self._redo.disabled = not state.can_undo, not state.can_redo
        self._clear.disabled = not state.filters
        self._hide.value = state.settings["hide_small_counts"]
        options = list(state.data.endpoints)
        self._endpoint.layout.display = "" if options else "none"
        if list(self._endpoint.options) != options:  # a new list chooses its first, which nobody asked for
            self._endpoint.unobserve(self._choose_endpoint, "value")
            self._endpoint.options = options
            self._endpoint.observe(self._choose_endpoint, "value")
        if state.endpoint is not None and self._endpoint.value != state.endpoint:
            self._endpoint.value = state.endpoint

    def _hide_small_counts(self, change: dict) -> None:
        if change["new"] != self.state.settings["hide_small_counts"]:
            self.state.set_setting("hide_small_counts", change["new"])

    def _choose_endpoint(self, change: dict) -> None:
        if change["new"] is not None and change["new"] != self.state.endpoint:
            self.state.set_endpoint(change["new"])

    def _choose_tab(self, event: dict) -> None:
        if event["type"] == "tab":
            self._tab = event["key"]
            self._say(None)
            self._show_tab()

    def _show_tab(self) -> None:
        """Make the panel of the chosen tab when it is first looked at, and bring it up to date."""
        self._tabs.show({"kind": "tabs", "title": "views", "tabs": TABS, "chosen": self._tab})
        panel = self._panels.get(self._tab)
        if panel is None:
            panel = self._panels[self._tab] = self._make(self._tab)
            self._stale[self._tab] = set(ASPECTS)
        if stale := self._stale.pop(self._tab, set()):
            panel.update(stale)
        if self._place.children != (panel.box,):
            self._place.children = (panel.box,)

    def _make(self, name: str):
        from . import view_cohort, view_compare, view_export, view_gene, view_patient

        if name == "compare":
            return view_compare.ComparePanel(self.state, self._say, self._look_at_gene)
        kinds = {
            "cohort": view_cohort.CohortPanel,
            "patient": view_patient.PatientPanel,
            "gene": view_gene.GenePanel,
            "export": view_export.ExportPanel,
        }
        return kinds[name](self.state, self._say)

    def _look_at_gene(self, gene: str) -> None:
        self._tab = "gene"
        if self.state.settings["gene"] == gene:
            self._show_tab()
        else:
            self.state.set_setting("gene", gene)

    def _say(self, error: Exception | None) -> None:
        """What cannot be done, and how to mend it."""
        if error is None:
            return self._status.show(charts.html(""))
        text = (
            str(error)
            if isinstance(error, PmLabError | PmLabWarning)
            else f"This failed: {error!r}. It is a defect of ours."
        )
        return self._status.show(charts.html(f'<p role="alert" class="pm-warn">{escape(text)}</p>'))


def _number(text: str, total: int, what: str) -> str:
    """A large number of the header: how many of them all."""
    some, _, rest = text.partition(" of ")
    return f"<span><b>{escape(some)}</b> of {escape(rest or f'{total:,}')} {escape(what)}</span>"


def _brief(state: CohortState) -> str:
    """The selection in words, a lasso without its corners: a wall of numbers says nothing to a reader."""
    text = state.describe()
    for one in state.filters.values():
        if isinstance(one, LassoFilter):
            text = text.replace(one.describe(), one.brief())
    return text


def _corners(state: CohortState) -> str:
    """The corners of a lasso, for whoever wants them."""
    drawn = [one.describe() for one in state.filters.values() if isinstance(one, LassoFilter)]
    said = "".join(f"<p>{escape(text)}</p>" for text in drawn)
    return f'<details class="pm-note"><summary>the exact lasso</summary>{said}</details>' if drawn else ""


def _warm(data: CohortData) -> None:
    """Work out beforehand, while nobody asks, what a first comparison would wait for."""
    from threading import Thread

    def prepare() -> None:
        from scipy import special, stats  # noqa: F401 - to have them loaded

        from . import comparison, view_compare, view_gene, view_patient  # noqa: F401
        from .group_moments import prepare_values

        if data.expression is not None:
            prepare_once(data, comparison.GENES, lambda: prepare_values(data.expression))
        data.pathways  # noqa: B018 - to ask for them is to work them out

    Thread(target=prepare, daemon=True).start()
