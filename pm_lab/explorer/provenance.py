"""Where an export comes from: data, selection, thresholds, versions, date, and what it may be used for."""

from __future__ import annotations

from datetime import date as Date
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from .disclosure import SELECTION, Disclosure
from .filters import CategoryFilter, said

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
    few = "all are shown"
    if rules.least:
        few = (
            f"fewer than {rules.least} people are shown as <{rules.least}; exports made of these data before "
            "in the same kernel are compared with this one, but not their curves and numbers at risk"
        )
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
    if not rules.least:
        return state.describe(hide=False)
    if not state.filters:
        return f"all {rules.people(state.data.n)} patients"
    # Not how many were picked by hand: with the other filters these are more than the selection.
    filters = [
        one.without_rare(state.data, rules.least) if isinstance(one, CategoryFilter) else one
        for one in state.filters.values()
    ]
    chosen = said(filters, lambda n: "some")
    if SELECTION in rules.withheld:
        return f"{chosen} (how many patients is withheld: {rules.withheld[SELECTION]})"
    return f"{chosen}: {rules.part(state.n_selected, state.data.n)} patients"


def endpoint_text(state: CohortState) -> str:
    """The endpoint with its declaration, in words."""
    if state.endpoint is None:
        return "none declared"
    spec = state.data.endpoints[state.endpoint]
    details = ", ".join(f"{part} {value}" for part, value in spec.items() if part != "unit")
    return f"{state.endpoint}: {details}, in {spec['unit']}"
