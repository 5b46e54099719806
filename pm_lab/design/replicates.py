"""Whether patients are the replicates, and whether a batch passes for the condition."""

from __future__ import annotations

import warnings

import pandas as pd

from pm_lab.errors import DesignError, PmLabWarning

from .formula import as_text, is_nested, level_name, names_a_batch


def check_replicates(
    obs: pd.DataFrame, contrast: tuple[str, str, str], patient_key: str, paired: bool, where: str = ""
) -> None:
    """Patients a side: fewer than two are refused, two are warned of; no patient on both sides unpaired.

    ``obs`` has one row per sample (patient, or patient × condition when paired).
    """
    factor, level, reference = contrast[0], level_name(contrast[1]), level_name(contrast[2])
    group, patient = as_text(obs[factor]), as_text(obs[patient_key])
    sides = {name: set(patient[group == name]) for name in (level, reference)}
    both = sides[level] & sides[reference]
    if paired and not both:
        raise DesignError(
            f"No patient has samples of both {level!r} and {reference!r}{where}, so there are no pairs: drop "
            f"{patient_key!r} from the design if {factor} does not vary within patients."
        )
    if both and not paired:
        raise DesignError(
            f"{len(both)} patients are in both {level!r} and {reference!r}{where}, e.g. {sorted(both)[:3]}. "
            "Their samples are not independent: pair them by adding the patient to the design "
            f"('~ {patient_key} + {factor}')."
        )
    counted = {name: len(both) if paired else len(side) for name, side in sides.items()}
    smallest = min(counted.values())
    described = ", ".join(f"{count} with {factor}={name!r}" for name, count in counted.items())
    if smallest < 2:
        raise DesignError(
            f"Too few patients{where}: {described}. A difference between groups needs at least two patients "
            "a side (cells are not replicates), and three or more to be of use."
        )
    if smallest < 3:
        warnings.warn(
            f"Only two patients on a side{where} ({described}): the variance between patients is all but "
            "unknown, and no claim should rest on this.",
            PmLabWarning,
            stacklevel=3,
        )


def check_batch(obs: pd.DataFrame, factor: str, patient_key: str) -> None:
    """Refuse when a column named like a batch equals the condition, in the design or not.

    Several batches within each condition are warned of: their differences add to those between
    conditions. A column with a value for each patient (a library each) is no batch.
    """
    for name in obs.columns:
        if name in (factor, patient_key) or not names_a_batch(name) or obs[name].nunique() < 2:
            continue
        if obs.groupby(name, observed=True)[patient_key].nunique().max() == 1:
            continue
        if not is_nested(obs.assign(**{name: as_text(obs[name])}), factor, name):
            continue
        if obs[name].nunique() == obs[factor].nunique():
            raise DesignError(
                f"{factor!r} equals {name!r}: each value of obs[{name!r}] holds one value of {factor} only, "
                "so any difference may be the batch. No model can separate them; it takes samples that break "
                f"the tie. If {name!r} is no batch, rename or drop the column."
            )
        warnings.warn(
            f"Each value of obs[{name!r}] holds one value of {factor!r} only: differences between them add "
            "to the difference tested, and the p-values do not know of it.",
            PmLabWarning,
            stacklevel=3,
        )


def check_patients(obs: pd.DataFrame, patient_key: str) -> None:
    """Refuse a column of patients that names cells: cells of one patient are not independent."""
    n_patients = obs[patient_key].nunique()
    if n_patients > 0.5 * len(obs):
        raise DesignError(
            f"obs[{patient_key!r}] has {n_patients:,} values for {len(obs):,} cells: it names cells, not "
            "patients. Cells of one patient are not independent; pass the column of patients as patient_key."
        )
