"""All that is chosen in the explorer at one moment, and the settings that there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pm_lab import checks
from pm_lab.errors import DataError

if TYPE_CHECKING:
    from .cohort_data import CohortData
    from .filters import Filter
    from .groups import Group

DEFAULTS = {
    "least_count": 10,  # people; fewer are not shown where small counts are hidden
    "hide_small_counts": False,
    "colour_by": None,  # a column, or "gene:TP53"
    "gene": None,
    "columns": None,  # those charted, in their order
    "embedding": None,
    "bins": 30,
    "theme": "page",  # as the page around it
    "view": "cohort",
}
MOST_BINS = 500
VIEWS = ("cohort", "compare", "patient", "gene", "export")
THEMES = ("page", "light", "dark")
ASPECTS = ("data", "filters", "groups", "patient", "endpoint", "settings")


@dataclass(frozen=True)
class Choices:
    """One state of everything; undo goes back to the one before."""

    data: CohortData
    filters: Mapping[str, Filter] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)
    patient: int | None = None  # row
    endpoint: str | None = None
    settings: Mapping = field(default_factory=lambda: dict(DEFAULTS))

    def differing(self, other: Choices) -> set[str]:
        """Names of the aspects in which two differ; the order of filters is one of them."""
        changed = {name for name in ASPECTS[1:] if getattr(self, name) != getattr(other, name)}
        if list(self.filters) != list(other.filters):
            changed.add("filters")
        return changed | ({"data"} if self.data is not other.data else set())


def checked_setting(data: CohortData, name: str, value):
    """A setting that may be kept: of a known name, and of what it can be.

    Settings travel in tokens, so free text, which could hold the name of a patient, is refused.
    """
    if name not in DEFAULTS:
        raise DataError(f"there is no setting {name!r}; settings are {', '.join(DEFAULTS)}.")
    if name == "bins":
        if checks.whole_number(value, name, least=2) > MOST_BINS:
            raise DataError(f"bins={value!r}: {MOST_BINS} at most.")
        return int(value)
    if name == "least_count":
        return checks.whole_number(value, name, least=0)
    if name == "hide_small_counts":
        if not isinstance(value, bool):
            raise DataError(f"{name}={value!r}: True or False.")
        return value
    allowed = {"theme": THEMES, "view": VIEWS}.get(name)
    if allowed:
        if value not in allowed:
            raise DataError(f"{name}={value!r}: one of {', '.join(allowed)}.")
        return value
    return None if value is None else _checked_name(data, name, value)


def _checked_name(data: CohortData, name: str, value):
    """A setting that names a column, a gene or an embedding of the data."""
    if name == "columns":
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise DataError(f"columns={value!r}: a list of columns.")
        return tuple(data.column(column).name for column in value)
    if not isinstance(value, str):
        raise DataError(f"{name}={value!r}: a name is needed.")
    if name == "gene":
        data.gene(value)
    elif name == "embedding":
        data.embedding(value)
    elif value.startswith("gene:"):
        data.gene(value.removeprefix("gene:"))
    else:
        data.column(value)
    return value
