"""Reports, one self-contained HTML page each: of the cohort, of a patient; a summary for saved notebooks.

The pages load nothing, run no script, and print on A4. Small counts are hidden unless asked otherwise.
"""

from __future__ import annotations

from datetime import date as Date
from typing import TYPE_CHECKING

from . import cohort_page, page, patient_page, static_page
from .disclosure import Disclosure
from .filters import LassoFilter
from .patient import patient_row
from .provenance import RESEARCH_USE, provenance

if TYPE_CHECKING:
    import pandas as pd

    from .state import CohortState


def cohort_report(state: CohortState, hide_small_counts: bool = True, date: Date | None = None) -> str:
    """The cohort and the selection on one HTML page: counts, columns, survival, and groups where set.

    Parameters
    ----------
    state : filters, groups and endpoint.
    hide_small_counts : show fewer people than ten (or ``settings["least_count"]``, where that is more) as
        "<10", coarsen curves so that each step stands for as many events, and withhold selections, and cells
        of their tables, that differ in few people from those shared before. Curves and numbers at risk of
        two reports are not compared.
    date : of the report; by default today.

    Returns
    -------
    str
        HTML. It loads nothing; printing it gives A4. Columns that may identify a patient are left out and
        named.

    Examples
    --------
    >>> import pm_lab as pm
    >>> state = pm.explorer.CohortState(pm.datasets.load("gse7390"))
    >>> "198" in pm.explorer.cohort_report(state)
    True
    """
    rules = Disclosure.of(state, hide_small_counts)
    body = cohort_page.blocks(state, rules)
    return page.document(
        f"Cohort report: {rules.people(state.data.n)} patients",
        f"pm_lab explorer · {state.data.source}",
        body,
        RESEARCH_USE,
        provenance(state, rules, date),
    )


def patient_report(
    state: CohortState,
    patient: str | None = None,
    hide_small_counts: bool = True,
    show_similar: bool = False,
    risk: str | pd.Series | None = None,
    date: Date | None = None,
) -> str:
    """One patient on one page: clinical summary, timeline, pathways, similar patients, drugs.

    Parameters
    ----------
    patient : by default the selected one. All comparisons are with the whole cohort, whatever is selected.
    hide_small_counts : show numbers of other patients below ten as "<10". The patient's own values are shown
        in any case. The similar patients are named nowhere and not compared with those of other reports.
    show_similar : list the most similar patients, by name or, where names look like identifiers, by row;
        otherwise their outcomes are shown together only.
    risk : predictions, as :func:`patient_risk` takes them; by default the report has no risk.
    date : of the report; by default today.

    Returns
    -------
    str
        HTML. It loads nothing; printing it gives A4. Columns that may identify the patient are left out and
        named, and so is the patient's name where it looks like an identifier.

    Raises
    ------
    DataError
        An unknown patient, or none is selected; no prediction of the patient's risk.

    Examples
    --------
    >>> import pm_lab as pm
    >>> state = pm.explorer.CohortState(pm.datasets.simulate_cohort(n_cells=600))
    >>> "P001" in pm.explorer.patient_report(state, "P001")
    True
    """
    row = patient_row(state, patient)
    patient = str(state.data.patients[row])
    rules = Disclosure.of_patients(state, hide_small_counts)
    origin = provenance(state, rules, date)
    origin["Selection"] = f"none: compared with all {rules.people(state.data.n)} patients of the cohort"
    name = f"in row {row + 1}" if "patient" in rules.left_out else patient
    kind = f"Patient report · pm_lab explorer · {state.data.source}"
    body = patient_page.blocks(state, row, rules, show_similar, risk)
    return page.document(f"Patient {name}", kind, body, RESEARCH_USE, origin)


def static_summary(state: CohortState) -> str:
    """What a saved notebook shows without a kernel: aggregates only, small counts hidden; no patient, no row.

    The selection is compared with what was shared, and does not itself count as shared: each summary takes
    the place of the one before.

    Returns
    -------
    str
        An HTML fragment.

    Examples
    --------
    >>> import pm_lab as pm
    >>> state = pm.explorer.CohortState(pm.datasets.load("gse7390"))
    >>> "<script" in pm.explorer.static_summary(state)
    False
    """
    rules = Disclosure.of(state, hide_small_counts=True, remember=False)
    numbers = [f"{name}: {value}" for name, value in cohort_page.numbers(state, rules).items()]
    lines = [*cohort_page.selected(state, rules), *numbers]
    for one in state.filters.values():
        if isinstance(one, LassoFilter):
            lines = [line.replace(one.describe(), one.brief()) for line in lines]
    return (
        f'{static_page.LIVE_ONLY}<section class="pm-lab-static" style="max-width: 40em">'
        "<p><strong>pm_lab explorer</strong>: run this cell to use it. What was shown when it was saved, "
        f"aggregates only:</p>{page.bullets(lines)}{static_page.curves_chart(state, rules)}"
        f"<p><em>{page.as_html(RESEARCH_USE)}</em></p></section>"
    )
