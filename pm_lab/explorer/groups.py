"""Groups A and B: patients whom filters keep, or whom they do not, said in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pm_lab import checks
from pm_lab.errors import DataError

from . import filters as f
from .panel_risk import risk_of

if TYPE_CHECKING:
    from .cohort_data import CohortData


NUMBER = r"[-+.0-9einf]{1,25}"
LABELS = re.compile(  # of a group in a text from elsewhere: what _from_risk writes, or none
    rf"|({NUMBER} ≤ risk of the panel)?( and )?(risk of the panel < {NUMBER})?"
)


@dataclass(frozen=True)
class Group:
    """Patients whom all filters keep, or (``rest``) those whom they do not keep."""

    filters: tuple[f.Filter, ...]
    rest: bool = False
    label: str = ""

    def mask(self, data: CohortData) -> np.ndarray:
        kept = np.ones(data.n, bool)
        for one in self.filters:
            kept &= one.mask(data)
        return ~kept if self.rest else kept

    def describe(self, count: Callable[[int], str] = "{:,}".format) -> str:
        said = self.label or f.said(self.filters, count, brief=True) or "all patients"
        return f"not ({said})" if self.rest else said

    def code(self) -> str:
        return f"~({f.code_of(self.filters)})" if self.rest else f.code_of(self.filters)

    def to_dict(self) -> dict:
        return {"filters": [one.to_dict() for one in self.filters], "rest": self.rest, "label": self.label}


def group_from(data: CohortData, source, present: tuple[f.Filter, ...]) -> Group:
    """A group from what :meth:`CohortState.set_group` takes; ``present`` are the active filters."""
    if isinstance(source, str) and source in ("selection", "rest"):
        return Group(present, rest=source == "rest")
    if not isinstance(source, Mapping):
        return Group((f.rows_filter(data, source),))
    for part, make in (
        ("panel_risk", _from_risk),
        ("gene", _from_gene),
        ("values", _from_categories),
        ("column", _from_range),
    ):
        if part in source:
            try:
                return make(data, **source)
            except TypeError:
                raise DataError(
                    f"a group from {sorted(source)}: see set_group for what can be given."
                ) from None
    raise DataError(f"a group from {sorted(source)}: see set_group for what can be given.")


def _from_categories(data: CohortData, column: str, values, missing: bool | str = False) -> Group:
    return Group((f.category_filter(data, column, values, missing),))


def _from_range(data: CohortData, column: str, low=None, high=None, missing: bool | str = False) -> Group:
    made = f.range_filter(data, column, low, high, missing)
    return Group(() if made is None else (made,))


def _from_gene(data: CohortData, gene: str, above_quantile=None, below_quantile=None) -> Group:
    values = data.gene(gene)
    low, high = (
        None if share is None else _quantile(values, share, gene)
        for share in (above_quantile, below_quantile)
    )
    return Group((f.gene_filter(data, gene, low, high, False),))


def _from_risk(
    data: CohortData, panel_risk, above_quantile=None, below_quantile=None, scale: str = "panel"
) -> Group:
    if above_quantile is None and below_quantile is None:
        above_quantile = 0.5
    if isinstance(panel_risk, str) and panel_risk in data.columns:
        return _from_risk_column(data, panel_risk, above_quantile, below_quantile)
    risk = risk_of(data, panel_risk, scale)
    values = risk.values
    mask, said = np.isfinite(values), []
    if above_quantile is not None:
        low = _quantile(values, above_quantile, "panel_risk")
        mask, said = mask & (values >= low), [f"{low!r} ≤ risk of the panel"]
    if below_quantile is not None:
        high = _quantile(values, below_quantile, "panel_risk")
        mask, said = mask & (values < high), [*said, f"risk of the panel < {high!r}"]
    why = f.FITTED if risk.fitted else "by risk"
    return Group((f.RowsFilter.of(mask, "patients", why),), label=" and ".join(said))


def _from_risk_column(data: CohortData, column: str, above_quantile, below_quantile) -> Group:
    about = data.column(column)
    if about.kind != "number" or about.group == "endpoint":
        what = "part of an endpoint" if about.group == "endpoint" else f"a {about.kind}"
        raise DataError(f"{column!r} is {what}: a risk is a column of numbers.")
    low, high = (
        None if share is None else _quantile(about.values, share, column)
        for share in (above_quantile, below_quantile)
    )
    return _from_range(data, column, low, high)


def _quantile(values: np.ndarray, share, name: str) -> float:
    checks.shares(quantile=share)
    known = values[np.isfinite(values)]
    if not len(known):
        raise DataError(f"{name}: no patient of the cohort has a value.")
    return float(np.quantile(known, share))


def group_from_dict(data: CohortData, name: str, given) -> Group:
    """A group from what :meth:`Group.to_dict` wrote."""
    form = {"filters": list, "rest": bool, "label": str}
    if (
        name not in ("A", "B")
        or not isinstance(given, dict)
        or set(given) != set(form)
        or not all(isinstance(given[part], kind) for part, kind in form.items())
        or not LABELS.fullmatch(given["label"])
    ):
        raise DataError(f"the group {name!r} cannot be read: the state was changed.")
    return Group(tuple(f.from_dict(data, one) for one in given["filters"]), given["rest"], given["label"])
