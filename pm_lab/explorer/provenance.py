"""Where an export comes from: data, selection, thresholds, versions, date, and what it may be used for."""

from __future__ import annotations

from datetime import date as Date
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from .disclosure import PEOPLE, SELECTION, Disclosure

if TYPE_CHECKING:
    from .state import CohortState

RESEARCH_USE = "Research use only: not a medical device, not for decisions about patients."
DRUGS_USE = "A ranking for research, from models of cell lines; never a recommendation of a treatment."
EXPLORATORY = (
    "Exploratory: the groups were chosen by looking at the data, so p-values order genes and prove nothing."
)
LIBRARIES = ("numpy", "pandas", "scipy", "lifelines", "anndata", "matplotlib")


def versions() -> dict[str, str]:
    """Versions of pm_lab, of Python and of the libraries behind the numbers."""
    import platform

    from pm_lab import __version__

    found = {"pm_lab": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def provenance(state: CohortState, rules: Disclosure, date: Date | None = None) -> dict[str, str]:
    """What every export says of itself, by name, as text.

    Parameters
    ----------
    state : the state that is exported.
    rules : of the export.
    date : of the export; by default today.
    """
    few = f"fewer than {rules.least} people are shown as <{rules.least}" if rules.least else "all are shown"
    return {
        "Use": RESEARCH_USE,
        "Data": f"SHA-256 {state.data.hash}",
        "Selection": selection_text(state, rules),
        "Endpoint": endpoint_text(state),
        "Small counts": few,
        "Versions": ", ".join(f"{name} {number}" for name, number in versions().items()),
        "Date": (date or Date.today()).isoformat(),
    }


def selection_text(state: CohortState, rules: Disclosure) -> str:
    """The selection with its thresholds; how many it keeps only where that may be shown."""
    text = state.describe(hide=rules.least > 0)
    if not rules.least or not state.filters:
        return text
    said, _, count = text.rpartition(": ")
    said = PEOPLE.sub("some", said)  # how many were picked by hand, before the other filters
    if SELECTION in rules.withheld:
        return f"{said} (how many patients is withheld: {rules.withheld[SELECTION]})"
    return f"{said}: {count}"


def endpoint_text(state: CohortState) -> str:
    """The endpoint with its declaration, in words."""
    if state.endpoint is None:
        return "none declared"
    spec = state.data.endpoints[state.endpoint]
    details = ", ".join(f"{part} {value}" for part, value in spec.items() if part != "unit")
    return f"{state.endpoint}: {details}, in {spec['unit']}"
