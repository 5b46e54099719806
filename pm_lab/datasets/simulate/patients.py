"""Patients of the built-in cohort: clinical table and what is latent behind it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import norm

from pm_lab import keys
from pm_lab.datasets.simulate import model


@dataclass
class Latent:
    """What is behind the clinical table, one row a patient in each."""

    axis: np.ndarray
    age: np.ndarray  # in standard deviations
    has_cells: np.ndarray
    activities: pd.DataFrame  # by pathway
    deviation: np.ndarray  # of log abundance from its centre, by cell type

    @property
    def abundance(self) -> pd.DataFrame:
        """Latent log abundance, patients × cell types."""
        centre = np.log(list(model.COMPOSITION.values()))
        return pd.DataFrame(
            centre + self.deviation, index=self.activities.index, columns=list(model.COMPOSITION)
        )


def draw_patients(rng: np.random.Generator, n: int, n_with_cells: int) -> tuple[pd.DataFrame, Latent]:
    """The clinical table of n patients and their latent variables."""
    n_yes = round(model.RESPONSE_RATE * n)
    response = rng.permutation(np.repeat(["yes", "no"], [n_yes, n - n_yes]))
    subtype = quota(rng, list(model.SUBTYPES), list(model.SUBTYPES.values()), n)
    age_z, batch = np.zeros(n), np.empty(n, dtype=object)
    for label, sign, probabilities in (
        ("yes", 0.5, model.BATCH_GIVEN_YES),
        ("no", -0.5, model.BATCH_GIVEN_NO),
    ):
        rows = np.flatnonzero(response == label)
        age_z[rows] = _stratified_normal(rng, len(rows)) - sign * model.AGE_SEPARATION
        batch[rows] = quota(rng, model.BATCHES, probabilities, len(rows))
    has_cells = _matched_patients(rng, response == "yes", age_z, subtype, n_with_cells)
    axis = _draw_axis(rng, response, has_cells)
    clinical = _clinical_table(rng, response, subtype, age_z, batch)
    age = (clinical["age"].to_numpy() - model.AGE_MEAN) / model.AGE_SD
    activities = _draw_activities(rng, clinical, axis)
    deviation = _draw_abundance(rng, axis)
    latent = Latent(axis, age, has_cells, activities, deviation)
    _draw_survival(rng, clinical, latent)
    return clinical, latent


def quota(rng: np.random.Generator, labels, probabilities, n: int) -> np.ndarray:
    """n labels in random order whose counts match the probabilities as closely as whole numbers can."""
    edges = np.round(np.cumsum(probabilities) / np.sum(probabilities) * n).astype(int)
    counts = np.diff(np.concatenate([[0], edges]))
    return rng.permutation(np.repeat(np.asarray(labels, dtype=object), counts))


def _stratified_normal(rng: np.random.Generator, n: int) -> np.ndarray:
    """n standard normal draws, one from each of n equal strata, in random order."""
    return norm.ppf((rng.permutation(n) + rng.uniform(0.02, 0.98, n)) / n)


def _matched_patients(rng, responder: np.ndarray, age_z, subtype, n: int) -> np.ndarray:
    """Mask of n patients: random responders, each with the non-responder of like subtype and age."""
    chosen = rng.choice(np.flatnonzero(responder), n // 2, replace=False)
    free = list(np.flatnonzero(~responder))
    mask = np.zeros(len(responder), dtype=bool)
    mask[chosen] = True
    for row in chosen:
        partner = min(
            free, key=lambda other: (subtype[other] != subtype[row], abs(age_z[other] - age_z[row]))
        )
        free.remove(partner)
        mask[partner] = True
    return mask


def _draw_axis(rng: np.random.Generator, response: np.ndarray, has_cells: np.ndarray) -> np.ndarray:
    axis = np.zeros(len(response))
    for label, sign in (("yes", 0.5), ("no", -0.5)):
        for group in ((response == label) & has_cells, (response == label) & ~has_cells):
            axis[group] = _stratified_normal(rng, group.sum()) + sign * model.AXIS_SEPARATION
    return axis


def _clinical_table(rng: np.random.Generator, response, subtype, age_z, batch) -> pd.DataFrame:
    n = len(response)
    names = pd.Index([f"P{i:0{len(str(n))}d}" for i in range(1, n + 1)])
    age = np.clip(np.round(model.AGE_MEAN + model.AGE_SD * age_z), 24, 89).astype(int)
    sexes, stages, arms = ["female", "male"], ["I", "II", "III"], ["control", "experimental"]
    return pd.DataFrame(
        {
            keys.PATIENT: names,
            "batch": pd.Categorical(batch, model.BATCHES),
            "age": age,
            "sex": pd.Categorical(quota(rng, sexes, [0.95, 0.05], n), sexes),
            "stage": pd.Categorical(quota(rng, stages, [0.3, 0.45, 0.25], n), stages, ordered=True),
            "subtype": pd.Categorical(subtype, list(model.SUBTYPES)),
            "arm": pd.Categorical(quota(rng, arms, [0.5, 0.5], n), arms),
            "response": pd.Categorical(response, ["no", "yes"]),
        },
        index=names,
    )


def _draw_activities(rng: np.random.Generator, clinical: pd.DataFrame, axis: np.ndarray) -> pd.DataFrame:
    """Pathway activities; adds the mutations that shift them to the clinical table."""
    subtype = clinical["subtype"].cat.codes.to_numpy()
    activities = pd.DataFrame(index=clinical.index)
    for name, pathway in model.PATHWAYS.items():
        noise = np.sqrt(1 - pathway.correlation**2) * rng.standard_normal(len(clinical))
        means = np.asarray(pathway.subtype_means, float)
        activities[name] = pathway.correlation * axis + noise + means[subtype]
    for gene, mutation in model.MUTATIONS.items():
        mutated = rng.random(len(clinical)) < np.asarray(mutation.frequency)[subtype]
        clinical[f"mutation_{gene}"] = mutated
        activities[mutation.pathway] += mutation.shift * mutated
    return activities


def _draw_abundance(rng: np.random.Generator, axis: np.ndarray) -> np.ndarray:
    """Log abundance, patients × types, as deviation from the composition in the middle of the axis."""
    shift = np.array([model.COMPOSITION_SHIFT.get(name, 0.0) for name in model.COMPOSITION])
    sd = np.where(shift != 0, model.SHIFTED_ABUNDANCE_SD, model.ABUNDANCE_SD)
    noise = sd * rng.standard_normal((len(axis), len(sd)))
    return np.outer(axis / model.AXIS_SEPARATION, shift) + noise


def _draw_survival(rng: np.random.Generator, clinical: pd.DataFrame, latent: Latent) -> None:
    """Add months to death or censoring, and which of the two it was, to the clinical table."""
    hazard = model.HAZARD
    experimental = (clinical["arm"] == "experimental").to_numpy()
    interferon = latent.activities["INTERFERON_GAMMA_RESPONSE"].to_numpy()
    log_hazard = (
        hazard["age"] * latent.age
        + hazard["response_axis"] * latent.axis
        + hazard["stage"] * (clinical["stage"].cat.codes.to_numpy() - 1)
        + experimental * (hazard["arm"] + hazard["arm_x_interferon"] * interferon)
    )
    n = len(clinical)
    death = rng.exponential(size=n) * np.exp(-log_hazard)
    death = model.WEIBULL_SCALE * death ** (1 / model.WEIBULL_SHAPE)
    censoring = np.minimum(rng.uniform(24, 96, n), rng.exponential(200, n))
    clinical["os_time"] = np.maximum(np.round(np.minimum(death, censoring), 1), 0.1)
    clinical["os_event"] = death <= censoring
