"""Survival curves as they may be shared: at times of a grid, in steps of ten events or more."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from .group_survival import numbers_at_risk, risk_table_times
from .small_counts import coarse_steps
from .summaries import Curve, curves_of

if TYPE_CHECKING:
    from .disclosure import Disclosure
    from .group_survival import Outcomes

PRINT_POINTS = 300  # of a curve: no step of more than .7 % is lost
STEPS = 10  # of the grid between two ticks of the time axis


def shown_curves(
    outcomes: Outcomes, masks: dict[str, np.ndarray], rules: Disclosure
) -> tuple[list[Curve], list[np.ndarray]]:
    """A curve of each group (and cause) as it may be shown, and the numbers at risk at its points.

    With small counts hidden no curve shows when anybody had the event: it is drawn at times of a grid that
    depends on the cohort alone, each step stands for ten events or more, and it ends where fewer than ten are
    under observation. One of fewer events, or of fewer people without, has no points.
    """
    masks = {name: mask for name, mask in masks.items() if (mask & outcomes.known).any()}
    if not masks:
        return [], []
    curves = curves_of(outcomes, masks, None if rules.least else PRINT_POINTS)
    if not rules.least:
        return curves, [numbers_at_risk(outcomes, masks[curve.name], curve.time) for curve in curves]
    found = [_shared(curve, outcomes, masks[curve.name], rules.least) for curve in curves]
    return [curve for curve, _ in found], [numbers for _, numbers in found]


def time_grid(outcomes: Outcomes) -> np.ndarray:
    """Round times from 0 to beyond the longest follow-up of the cohort."""
    ticks = risk_table_times(float(outcomes.ends[-1]))
    step = ticks[1] if len(ticks) > 1 else 1.0
    return np.arange(len(ticks) * STEPS + 1) * (step / STEPS)


def _shared(curve: Curve, outcomes: Outcomes, mask: np.ndarray, least: int) -> tuple[Curve, np.ndarray]:
    grid, group = time_grid(outcomes), mask & outcomes.known
    happened = np.sort(outcomes.end[group & (outcomes.cause == outcomes.causes.index(curve.cause) + 1)])
    events = np.searchsorted(happened, grid, side="right")
    events[0] = 0  # the curve begins before anything has happened
    at_risk = numbers_at_risk(outcomes, mask, np.nextafter(grid, np.inf))
    kept = coarse_steps(events, at_risk, curve.n, least)
    observed = np.flatnonzero(at_risk >= least)
    if not len(kept) or not len(observed):
        nothing = np.array([])
        return replace(curve, time=nothing, survival=nothing, lower=nothing, upper=nothing), nothing
    place = np.searchsorted(curve.time, grid[kept], side="right") - 1
    parts = {name: getattr(curve, name)[place] for name in ("survival", "lower", "upper")}
    sure = 1.0 if curve.kind == "survival" else np.nan
    first = {"survival": 1.0 if curve.kind == "survival" else 0.0, "lower": sure, "upper": sure}
    for name, values in parts.items():
        values[0] = first[name]
    end = observed[-1]
    if end > kept[-1]:  # as far as enough are under observation, at the height of the last step
        kept = np.append(kept, end)
        parts = {name: np.append(values, values[-1:]) for name, values in parts.items()}
    return replace(curve, time=grid[kept], **parts), at_risk[kept]
