"""The drug screen of the built-in cohort: cell lines that share the patients' pathways."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd

from pm_lab import keys

TISSUES = ("breast", "lung", "large intestine", "skin", "ovary", "pancreas", "haematopoietic", "brain")
# One scaffold per drug class; side chains vary, so that structure says something about the target.
SCAFFOLDS = (
    "c1ccc2c(c1)ncnc2N{}",
    "O=C(N{})c1cccnc1",
    "c1cnc(nc1)N{}",
    "O=S(=O)(N{})c1ccccc1",
    "c1ccc(cc1)C(=O)N{}",
    "C1CN(CCN1){}",
)
SIDE_CHAINS = ("C", "CC", "c1ccccc1", "c1ccc(F)cc1", "c1ccc(Cl)cc1", "CCO", "c1ccc(OC)cc1", "C1CC1")


def simulate_screen(
    rng: np.random.Generator, genes: pd.DataFrame, pathways: list[str], n_lines: int, n_drugs: int
) -> tuple[ad.AnnData, dict]:
    """Cell lines × genes with ln IC50 (µM); the truth: drug × pathway weights and the lines' activities.

    ``genes`` needs the columns ``pathway``, ``loading``, ``base_ln`` and ``dispersion``.
    ln IC50 = drug mean (SD 2.3) + line effect (SD .45) + weights · activity + noise (SD .9); 20 % is missing
    at random. About 70 % of the variance lies between drugs, as in GDSC.
    """
    lines = pd.Index([f"LINE{i:04d}" for i in range(1, n_lines + 1)])
    tissue = rng.permutation(np.resize(np.array(TISSUES, dtype=object), n_lines))
    tissue_means = rng.normal(0, 0.6, (len(TISSUES), len(pathways)))
    codes = pd.Categorical(tissue, TISSUES).codes
    activities = pd.DataFrame(
        tissue_means[codes] + rng.standard_normal((n_lines, len(pathways))), index=lines, columns=pathways
    )
    drugs, weights = _plant_drugs(rng, pathways, n_drugs)
    ln_ic50 = (
        rng.normal(2.0, 2.3, n_drugs)
        + rng.normal(0, 0.45, (n_lines, 1))
        + activities.to_numpy() @ weights.to_numpy().T
        + rng.normal(0, 0.9, (n_lines, n_drugs))
    )
    ln_ic50[rng.random((n_lines, n_drugs)) < 0.2] = np.nan
    screen = ad.AnnData(
        X=_expression(rng, genes, activities),
        obs=pd.DataFrame({"tissue": pd.Categorical(tissue, TISSUES)}, index=lines),
        var=pd.DataFrame(index=genes.index),
    )
    # h5ad keeps no name of a table's columns, so none is given.
    screen.obsm[keys.RESPONSE] = pd.DataFrame(ln_ic50, index=lines, columns=list(weights.index))
    screen.uns[keys.DRUGS] = drugs
    return screen, {"drugs": weights, "line_activities": activities}


def _plant_drugs(rng, pathways: list[str], n_drugs: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The drug table, and weights: one target pathway each (lower ln IC50 where active), often a second."""
    names = pd.Index([f"DRUG{i:03d}" for i in range(1, n_drugs + 1)], name="drug")
    target = rng.permutation(np.resize(np.arange(len(pathways)), n_drugs))
    weights = np.zeros((n_drugs, len(pathways)))
    weights[np.arange(n_drugs), target] = -rng.uniform(0.5, 1.2, n_drugs)
    second = rng.integers(0, len(pathways), n_drugs)
    weights[np.arange(n_drugs), second] += np.where(rng.random(n_drugs) < 0.5, rng.normal(0, 0.4, n_drugs), 0)
    chains = rng.integers(0, len(SIDE_CHAINS), n_drugs)
    table = pd.DataFrame(
        {
            "cid": [f"SIM{i}" for i in range(1, n_drugs + 1)],
            "smiles": [
                SCAFFOLDS[t % len(SCAFFOLDS)].format(SIDE_CHAINS[c])
                for t, c in zip(target, chains, strict=True)
            ],
            "pathway": np.array(pathways)[target],
        },
        index=names,
    )
    return table, pd.DataFrame(weights, index=names, columns=pathways)


def _expression(rng: np.random.Generator, genes: pd.DataFrame, activities: pd.DataFrame) -> np.ndarray:
    """log2(TPM + 1) of the lines: the patients' base level and pathway loadings, no batch."""
    member = genes["pathway"].to_numpy()[None, :] == np.array(activities.columns, dtype=object)[:, None]
    log2 = activities.to_numpy() @ (member * genes["loading"].to_numpy())
    noise = rng.normal(0, np.sqrt(genes["dispersion"].to_numpy()), (len(activities), len(genes)))
    level = np.exp(genes["base_ln"].to_numpy() + np.log(2) * log2 + noise)
    tpm = level / level.sum(axis=1, keepdims=True) * 1e6
    return np.log2(tpm + 1).astype(np.float32)
