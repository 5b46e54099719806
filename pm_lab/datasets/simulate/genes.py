"""Genes of the built-in cohort: their roles, planted effects, nuisance and cell-type profiles."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pm_lab import gene_sets
from pm_lab.datasets.simulate import model

SMALLEST = 1200  # genes: those of the core sets, and enough others to carry response and biomarkers


def plant_genes(rng: np.random.Generator, n_genes: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Roles, effects and nuisance of every gene, and the type × gene log2 effects within types."""
    core = list(dict.fromkeys(gene for members in gene_sets.core().values() for gene in members))
    others = [f"GENE{i:05d}" for i in range(1, n_genes - len(core) + 1)]
    genes = _assign_sets(pd.Index(core + others))
    in_pathway, is_marker = genes["pathway"] != "", genes["marker_of"] != ""
    genes["loading"] = 0.0
    planted_sd = model.PATHWAY_CORRELATION * model.AXIS_SEPARATION
    genes.loc[in_pathway, "loading"] = rng.uniform(0.5, 1.45, in_pathway.sum()) / planted_sd
    genes["abundance_weight"] = np.where(is_marker, rng.uniform(0.52, 1.0, n_genes), 0.0)

    free = rng.permutation(others)
    response_genes = free[: model.N_RESPONSE_GENES]
    biomarkers = free[model.N_RESPONSE_GENES :][: model.N_BIOMARKERS]
    size = rng.permutation(np.linspace(0.8, 2.0, len(response_genes)))
    genes["axis_log2"] = 0.0
    genes.loc[response_genes, "axis_log2"] = size * rng.choice([-1, 1], len(response_genes))
    genes["biomarker"] = genes.index.isin(biomarkers)
    genes["dispersion"] = model.MEDIAN_DISPERSION * np.exp(0.5 * rng.standard_normal(n_genes))
    genes.loc[biomarkers, "dispersion"] = model.BIOMARKER_DISPERSION
    genes["base_ln"] = rng.normal(0.0, 1.1, n_genes)
    # Biomarkers and response genes are common enough to be seen; the rest spans four orders of magnitude.
    genes.loc[biomarkers, "base_ln"] = rng.uniform(0.5, 1.5, len(biomarkers))
    genes.loc[biomarkers, "axis_log2"] = model.biomarker_effect() * rng.choice([-1, 1], len(biomarkers))
    genes.loc[response_genes, "base_ln"] = rng.uniform(-0.5, 1.5, len(response_genes))
    genes.loc[genes["marker_of_absent"] != "", "base_ln"] -= 2.5
    genes["age_log2_slope"] = np.where(rng.random(n_genes) < 0.5, rng.normal(0, 0.45, n_genes), 0.0)
    return genes, _effects_within_types(rng, genes, response_genes)


def _assign_sets(index: pd.Index) -> pd.DataFrame:
    """One role a gene: marker of a simulated type, else of an absent type, else member of a pathway."""
    genes = pd.DataFrame({"marker_of": "", "marker_of_absent": "", "pathway": ""}, index=index)
    markers = gene_sets.core("cell_type")
    for name in sorted(markers, key=lambda name: name not in model.COMPOSITION):
        column = "marker_of" if name in model.COMPOSITION else "marker_of_absent"
        free = (genes["marker_of"] == "") & (genes["marker_of_absent"] == "")
        genes.loc[index.isin(markers[name]) & free, column] = name
    pathways = gene_sets.core("pathway")
    for name in model.PATHWAYS:
        free = (genes == "").all(axis=1)
        genes.loc[index.isin(pathways[name]) & free, "pathway"] = name
    return genes


def _effects_within_types(rng, genes: pd.DataFrame, response_genes) -> pd.DataFrame:
    """Cell type × gene: log2 fold change between responders and non-responders within the type."""
    types = list(model.COMPOSITION)
    effects = pd.DataFrame(0.0, index=types, columns=genes.index)
    for gene in response_genes:
        chosen = rng.choice(types, model.TYPES_PER_RESPONSE_GENE, replace=False)
        effects.loc[chosen, gene] = genes.at[gene, "axis_log2"]
    biomarkers = genes.index[genes["biomarker"]]
    effects.loc["Epithelial cell", biomarkers] = genes.loc[biomarkers, "axis_log2"]
    for name, pathway in model.PATHWAYS.items():
        members = genes.index[genes["pathway"] == name]
        log2 = genes.loc[members, "loading"] * pathway.correlation * model.AXIS_SEPARATION
        effects.loc[list(pathway.acts_in), members] = log2.to_numpy()
    return effects


def total_response(genes: pd.DataFrame) -> pd.Series:
    """Total log2 fold change in bulk, yes − no, given batch and age. One path at most a gene is not zero."""
    shift = genes["marker_of"].map(model.COMPOSITION_SHIFT).fillna(0.0)
    correlations = {name: pathway.correlation for name, pathway in model.PATHWAYS.items()}
    correlation = genes["pathway"].map(correlations).fillna(0.0)
    through_composition = genes["abundance_weight"] * shift / model.LN2
    through_pathway = genes["loading"] * correlation * model.AXIS_SEPARATION
    return through_composition + through_pathway + genes["axis_log2"]


def type_profiles(rng: np.random.Generator, genes: pd.DataFrame) -> np.ndarray:
    """Relative expression, types × genes, rows sum to one. Types of one lineage share most of theirs."""
    lineage = model.LINEAGE
    shared = {name: rng.normal(0, 0.4, len(genes)) for name in dict.fromkeys(lineage.values())}
    responding = (genes["axis_log2"] != 0).to_numpy()
    marker_level = rng.normal(0.9, 0.5, len(genes))
    is_marker = (genes["marker_of"] != "").to_numpy()
    markers, marker_lineage = gene_sets.core("cell_type"), genes["marker_of"].map(lineage)
    log_profile = np.empty((len(model.COMPOSITION), len(genes)))
    for row, name in enumerate(model.COMPOSITION):
        deviation = shared[lineage[name]] + rng.normal(0, 0.25, len(genes))
        log_profile[row] = genes["base_ln"] + np.where(responding, 0.5 * deviation, deviation)
        # A marker is e^2 times lower in other types of its lineage, e^3.2 times in all others. Types share
        # a few (CD3E: CD4 and CD8 T cells).
        fall = np.where(marker_lineage == lineage[name], 2.0, 3.2)
        fall[genes.index.isin(markers[name])] = 0.0
        log_profile[row, is_marker] = (marker_level - fall)[is_marker]
    return _with_mitochondrial_share(rng, np.exp(log_profile), genes.index.str.startswith("MT-"))


def _with_mitochondrial_share(rng, profile: np.ndarray, mitochondrial: np.ndarray) -> np.ndarray:
    profile[:, mitochondrial] = 0
    profile *= (1 - model.MITOCHONDRIAL_FRACTION) / profile.sum(axis=1, keepdims=True)
    share = rng.dirichlet(np.full(mitochondrial.sum(), 8.0))
    profile[:, mitochondrial] = model.MITOCHONDRIAL_FRACTION * share
    return profile


def pathway_log2(activities: np.ndarray, genes: pd.DataFrame, pathways: list[str]) -> np.ndarray:
    """Loading × activity on the log2 scale; ``activities`` has the pathways given in its last axis."""
    member = genes["pathway"].to_numpy()[None, :] == np.array(pathways, dtype=object)[:, None]
    return activities @ (member * genes["loading"].to_numpy())
