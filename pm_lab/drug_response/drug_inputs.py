"""Drugs as the network takes them: where their structures lie among those of training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pm_lab.drug_response.structures import fingerprints

N_COMPONENTS = 32
FEWEST_STRUCTURES = 3


def bits_of(table: pd.DataFrame) -> np.ndarray:
    """Fingerprints, drugs × bits, NaN where a structure is not known; without any, RDKit is not asked for."""
    if "smiles" not in table or not (table["smiles"].fillna("").astype(str) != "").any():
        return np.full((len(table), 1), np.nan)
    return fingerprints(table).to_numpy(float)


@dataclass(frozen=True)
class DrugStructures:
    """Principal components of fingerprints, learnt on the drugs of training, applied to others."""

    center: np.ndarray  # bits
    directions: np.ndarray  # bits × components, in units of the mean size of a drug of training

    @classmethod
    def learn(cls, bits: np.ndarray) -> DrugStructures | None:
        """None where fewer than three drugs have a structure, or where all have the same."""
        bits = bits[~np.isnan(bits).any(axis=1)]
        if len(bits) < FEWEST_STRUCTURES or (bits == bits[0]).all():
            return None
        centred = bits - bits.mean(axis=0)
        directions = np.linalg.svd(centred, full_matrices=False)[2][: min(N_COMPONENTS, len(bits) - 1)].T
        size = np.sqrt(((centred @ directions) ** 2).sum(axis=1).mean())
        return cls(bits.mean(axis=0), directions / size)

    def of(self, bits: np.ndarray) -> np.ndarray:
        """Drugs × components, float32; 0, the mean of training, where the structure is not known."""
        return (np.nan_to_num(bits - self.center) @ self.directions).astype(np.float32)
