"""The model card of a panel, filled from what was computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from pm_lab.model_card import ModelCard, model_card

if TYPE_CHECKING:
    from pm_lab.biomarkers.controls import PermutationNull
    from pm_lab.biomarkers.nested import NestedResult
    from pm_lab.biomarkers.panels import Panel
    from pm_lab.biomarkers.transfer import ExternalResult


def panel_card(
    panel: Panel,
    nested: NestedResult | None = None,
    external: dict[str, ExternalResult] | None = None,
    null: PermutationNull | None = None,
    subgroups: pd.DataFrame | None = None,
    **items,
) -> ModelCard:
    """Model card of a panel (TRIPOD+AI); everything that is not given stays "not provided".

    Parameters
    ----------
    nested : nested cross-validation in the discovery cohort: performance with intervals and the baselines
        that were run beside it.
    external : cohort's name → :func:`external_validation` there: performance and calibration.
    null : :func:`permutation_null`, the negative control.
    subgroups : :func:`subgroup_performance`.
    items : further items of :func:`pm_lab.model_card.model_card`, such as ``purpose`` or ``limitations``.

    Examples
    --------
    >>> import pm_lab as pm
    >>> panel = pm.biomarkers.fit_panel(pm.datasets.load("gse7390"), "dmfs")
    >>> card = pm.biomarkers.panel_card(panel, purpose="Teaching")
    >>> "calibration" in card.missing
    True
    """
    record = panel.record
    level = f", probability of {panel.positive!r}" if panel.positive else ""
    found = {
        "outcome": f"{panel.outcome} ({panel.kind}{', ' + panel.unit if panel.unit else ''}{level})",
        "n": {"patients": record.get("n_patients", ""), "events": record.get("n_events", "")},
        "method": {key: record[key] for key in ("method", "l1_ratio", "alpha", "screen") if record.get(key)},
        "predictors": f"expression of {len(panel.genes)} genes (of {record.get('n_candidates', '?')})",
        "weights": pd.DataFrame({"gene": panel.genes, "weight per SD": panel.weights}),
        "missing": _missing(record),
        "seed": record.get("seed"),
    }
    if record.get("cohort"):
        found["source"] = f"data set {record['cohort']!r}"
    if nested is not None:
        found |= _from_nested(nested)
    if external:
        table = pd.concat({name: result.table for name, result in external.items()}, names=["cohort"])
        found["external"] = table.droplevel("model")
        found["calibration"] = table["calibration_slope"].droplevel("model")
    if null is not None:
        found["negative_control"] = null.table()
    if subgroups is not None:
        found["subgroups"] = subgroups
    return model_card(f"{panel.name}: {panel.outcome}", **(found | items))


def _missing(record: dict) -> list[str] | str:
    """What was missing when the panel was fitted, and what is done where it is applied."""
    applied = (
        "where the panel is applied, missing genes and values count as average (the mean of discovery, or "
        "of the cohort where it is standardised there), with a warning that counts them; patients with less "
        "than half of its weight measured have no score"
    )
    counts = record.get("missing")
    if counts is None:
        return applied
    n, p = record.get("n_patients", 0), record.get("n_candidates", 0)
    fitted = f"no expression value was missing at fitting ({n:,} patients × {p:,} candidate genes)"
    if counts["values"]:
        fitted = (
            f"{counts['values']:,} of {n * p:,} expression values were missing at fitting, in "
            f"{counts['genes']:,} of {p:,} candidate genes and {counts['patients']:,} of {n:,} patients, and "
            "filled in with the gene's median in the training patients"
        )
    return [fitted, applied]


def _from_nested(nested: NestedResult) -> dict:
    record = nested.record
    summary = nested.summary()
    found = {
        "discrimination": summary,
        "validation": f"nested cross-validation by patient, {record['n_splits']} folds, "
        f"{record['n_repeats']} repeats, seed {record['seed']}; intervals by bootstrap of patients, "
        "widened since the models were learnt from the same patients",
    }
    baselines = [name for name in summary.index if name == "clinical"]
    return found | ({"baseline": summary.loc[baselines]} if baselines else {})
