"""The blocks of a patient's report, which prints on one sheet of A4."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab.errors import DataError

from . import page, view_figures
from .figures import survival_figure
from .patient import alterations, patient_drugs, patient_summary
from .provenance import DRUGS_USE
from .risk import patient_risk
from .shared_curves import shown_curves
from .similarity import similar_patients
from .small_counts import LEAST
from .summaries import EVERYONE, outcomes_of

if TYPE_CHECKING:
    from .disclosure import Disclosure
    from .state import CohortState

SIMILAR = 30  # enough that their outcomes can be shown as an aggregate
NOTHING = page.Html("")
MOST_COLUMNS, MOST_DRUGS, MOST_LISTED = 12, 8, 10


def blocks(
    state: CohortState, row: int, rules: Disclosure, show_similar: bool, risk: str | pd.Series | None
) -> list[page.Html]:
    """Everything between the header and the footer."""
    patient = str(state.data.patients[row])
    left = [
        page.section("Clinical summary", _clinical(state, patient, rules)),
        page.section("Timeline", _timeline(state, patient, rules), _alterations(state, patient, rules)),
        _cells(state, patient),
    ]
    if risk is not None:
        left.append(page.section("Predicted risk", *_risk(state, patient, risk, rules)))
    right = [
        page.section("Pathways within the cohort", _pathways(state, patient)),
        _similar(state, row, rules, show_similar),
    ]
    return [page.columns(left, right), _drugs(state, patient), _left_out(rules)]


def _clinical(state: CohortState, patient: str, rules: Disclosure) -> page.Html:
    """Columns with the patient's values and where these are within the cohort."""
    found = view_figures.exported_rows(state, patient_summary(state, patient), rules)
    found = found[found["group"] == "clinical"]
    if found.empty:
        return page.paragraph("No clinical column can be shown.")
    rows = [(one.column, one.value, _place(one, rules)) for one in found.head(MOST_COLUMNS).itertuples()]
    table = page.table(pd.DataFrame(rows, columns=["column", "value", "within the cohort"], dtype=object))
    more = len(found) - MOST_COLUMNS
    return page.Html(table + (page.paragraph(f"{more:,} more columns.") if more > 0 else ""))


def _place(one, rules: Disclosure) -> page.Html | str:
    if not np.isnan(one.percentile):
        return page.percentile_bar(one.percentile)
    if np.isnan(one.share):
        return "not known"
    return _frequency(one.share, one.n_known, rules)


def _frequency(percent: float, n_known: int, rules: Disclosure) -> str:
    """How many share a value: in percent, unless that would be few people."""
    n = round(percent * n_known / 100)
    if rules.least and (n < rules.least or n_known - n < rules.least):
        return f"{rules.part(n, n_known)} patients"
    return f"{percent:.0f} % of patients"


def _pathways(state: CohortState, patient: str) -> page.Html:
    figure = view_figures.pathways_of_patient(state, patient)
    if figure is None:
        return page.paragraph("No pathway activities.")
    return page.inline_svg(figure, "pathways")


def _timeline(state: CohortState, patient: str, rules: Disclosure) -> page.Html:
    figure = view_figures.timeline_chart(state, rules, patient)
    if figure is None:
        return page.paragraph("No endpoint and no dates are known, so there are no events to show.")
    return page.inline_svg(figure, "timeline")


def _alterations(state: CohortState, patient: str, rules: Disclosure) -> page.Html:
    found = view_figures.exported_rows(state, alterations(state, patient), rules)
    if found.empty:
        return NOTHING
    there = found[found["altered"].eq(True)]
    words = [
        f"{one.alteration}{f' {one.kind}' if one.kind else ''} "
        f"({_frequency(one.frequency, one.n_known, rules)})"
        for one in there.itertuples()
    ]
    unknown = int(found["altered"].isna().sum())
    text = f"Altered: {', '.join(words) or 'none'}, of {len(found):,} alterations looked at"
    return page.paragraph(text + (f"; {unknown:,} not known." if unknown else "."), "text")


def _similar(state: CohortState, row: int, rules: Disclosure, show: bool) -> page.Html:
    """What became of similar patients, all together."""
    title = "Similar patients"
    n = min(SIMILAR, max(state.data.n // 4, LEAST), state.data.n - 1)
    if n < 1:
        return page.section(title, "The cohort has no other patient.")
    try:
        found = similar_patients(state, state.data.patients[row], n)
    except DataError as error:
        return page.section(title, str(error))
    parts = [page.paragraph(f"The {rules.people(len(found))} nearest by: {found.attrs['distance']}.")]
    outcomes = outcomes_of(state)
    if outcomes is None:
        parts.append(page.paragraph("No endpoint is declared, so their outcomes are not known."))
    else:
        parts.append(_outcomes(state, outcomes, found, rules))
        parts.append(page.paragraph("A few similar patients describe; they predict nothing for this one."))
    if show:
        parts.append(_listed(state, found, rules))
    return page.section(title, *parts)


def _outcomes(state: CohortState, outcomes, found: pd.DataFrame, rules: Disclosure) -> page.Html:
    mask = state.data.patients.isin(found["patient"])
    if len(found) < rules.least or state.data.n - len(found) < rules.least:
        few = "" if len(found) < rules.least else "all but "
        return page.paragraph(f"Their outcomes are not shown: {few}<{rules.least} people.")
    curves, numbers = shown_curves(outcomes, {"similar": mask, EVERYONE: np.ones(len(mask), bool)}, rules)
    if not curves:
        return page.paragraph("Nobody's outcome is known.")
    return page.inline_svg(survival_figure(curves, numbers, rules), "similar")


def _listed(state: CohortState, found: pd.DataFrame, rules: Disclosure) -> page.Html:
    if "patient" in rules.left_out:
        rows = state.data.patients.get_indexer(found["patient"]) + 1
        found = found.assign(patient=[f"in row {row:,}" for row in rows])
    names = [name for name in ("patient", "distance", "time", "event") if name in found]
    return page.table(found.head(MOST_LISTED)[names], right=names[1:3])


def _cells(state: CohortState, patient: str) -> page.Html:
    figure = view_figures.composition_chart(state, patient)
    return NOTHING if figure is None else page.section("Cell types", page.inline_svg(figure, "cells"))


def _risk(state: CohortState, patient: str, risk: str | pd.Series, rules: Disclosure) -> list[page.Html]:
    """The prediction, its place in the cohort, and what was observed of those with similar predictions."""
    found = patient_risk(state, risk, patient)
    rows = [
        (f"{found.name}, this patient", page.as_text(found.value)),
        ("percentile in the cohort", page.percentile_bar(found.percentile)),
    ]
    if found.observed is not None and found.n >= rules.least:
        share = f"{found.observed:.0%}"
        if found.lower is not None and found.upper is not None:
            share += f" ({found.lower:.0%} to {found.upper:.0%})"
        rows.append((f"observed by {found.horizon:.3g} {found.unit}, similar predictions", share))
        rows.append(("people with similar predictions", rules.people(found.n)))
    table = page.table(pd.DataFrame(rows, columns=["", "value"], dtype=object))
    return [table, page.paragraph(rules.words(found.note))]


def _drugs(state: CohortState, patient: str) -> page.Html:
    """The ranking with intervals; nothing where there are no predictions."""
    found = patient_drugs(state, patient)
    if found.empty:
        return NOTHING
    shown = pd.DataFrame({"": found["rank"], "drug": found["drug"]}, dtype=object)
    if "percentile" in found:
        shown["percentile among cell lines"] = found["percentile"].map(page.percentile_bar)
    for name, called in (("ln_ic50", "ln IC50 (µM)"), ("auc", "AUC")):
        if name in found:
            shown[called] = [_interval(one, name) for one in found.to_dict("records")]
    if "out_of_distribution" in found:
        flags = found["out_of_distribution"].map({True: "out of distribution", False: "no"})
        shown["unlike the lines"] = flags.fillna("not known")
    more = f" The first {MOST_DRUGS} of {len(found):,}." if len(found) > MOST_DRUGS else ""
    said = found.attrs.get("note", "")
    coverage = state.data.predictions.attrs.get("coverage")
    if coverage:
        said += f" Intervals cover {coverage:.0%} of cell lines left out; of patients that is not known."
    return page.section(
        "Predicted drugs: a research ranking",
        page.paragraph(DRUGS_USE, "use"),
        page.table(shown.head(MOST_DRUGS)),
        page.paragraph(said + more),
    )


def _interval(one: dict, name: str) -> str:
    value = page.as_text(float(one[name]))
    if pd.isna(one.get("lower", np.nan)) or pd.isna(one.get("upper", np.nan)):
        return value
    return f"{value} ({page.as_text(float(one['lower']))} to {page.as_text(float(one['upper']))})"


def _left_out(rules: Disclosure) -> page.Html:
    return page.section("Notes", page.bullets(rules.notes())) if rules.left_out else NOTHING
