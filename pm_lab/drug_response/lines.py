"""Lines and patients as numbers: standardised genes, tissue, further modalities; a kernel between them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab import checks, keys
from pm_lab.drug_response.contract import check_expression, check_modality, check_scale, first
from pm_lab.drug_response.screen import modality
from pm_lab.errors import DataError, PmLabWarning

if TYPE_CHECKING:
    from anndata import AnnData

FEWEST_GENES = 0.7  # of those of training
WIDTH = 0.7  # of the Gaussian kernel, in 1 / median squared distance of two lines
TISSUE_WEIGHT = 0.1  # that two lines of one tissue are alike, whatever their genes
TISSUE_SIZE = 2.0  # of a tissue among the inputs of the network, in SD of a gene
MODALITY_SIZE = 0.5  # of a feature of a further modality, in SD of a gene
CLIP = 5.0
PATTERNS = 20  # of response that genes are weighted by
PENALTIES = 10.0 ** np.arange(-2, 1.6, 0.25)


@dataclass(frozen=True)
class LineInputs:
    """How lines become numbers: learnt on the lines of training, applied to others."""

    genes: list[str]
    tissues: list[str]
    features: dict[str, list[str]]
    numbers: dict[str, np.ndarray]  # "center" and "scale" of the genes, "<modality>_center" and so on

    @classmethod
    def learn(cls, screen: AnnData, modalities: tuple[str, ...]) -> LineInputs:
        expression = _dense(screen.X)
        numbers = {"center": expression.mean(axis=0), "scale": _scale(expression)}
        features = {}
        for name in modalities:
            table = modality(screen, name)
            values = table.to_numpy(float)[table.notna().all(axis=1)]
            if not len(values):
                raise DataError(f"no line of training has {name}: leave it out of modalities.")
            numbers |= {f"{name}_center": values.mean(axis=0), f"{name}_scale": _scale(values)}
            features[name] = list(table.columns.astype(str))
        return cls(list(screen.var_names), sorted(set(tissue_of(screen)) - {keys.UNKNOWN}), features, numbers)

    def expression(self, adata: AnnData) -> np.ndarray:
        """Rows × genes of training, in SD; a gene that is absent is 0, the mean of training."""
        checks.unique_names(adata)
        check_expression(adata)
        genes = pd.Index(self.genes)
        place = adata.var_names.get_indexer(genes)
        absent = genes[place < 0]
        if len(absent) > (1 - FEWEST_GENES) * len(genes):
            raise DataError(
                f"{len(genes) - len(absent):,} of the {len(genes):,} genes of training are there, and at "
                f"least {FEWEST_GENES:.0%} must be. Absent: {first(absent)}. Are they named as in training "
                f"({first(genes, 3)}; here {first(adata.var_names, 3)})?"
            )
        if len(absent):
            warnings.warn(
                f"{len(absent):,} of the {len(genes):,} genes of training are absent ({first(absent)}): they "
                "are taken to be average.",
                PmLabWarning,
                stacklevel=2,
            )
        found = np.zeros((adata.n_obs, len(genes)))
        found[:, place >= 0] = _dense(adata.X)[:, place[place >= 0]]
        return np.where(place >= 0, (found - self.numbers["center"]) / self.numbers["scale"], 0.0)

    def check_scale(self, expression: np.ndarray, measured: np.ndarray, aligned: bool) -> dict:
        """:func:`check_scale` of what :meth:`expression` returned, over the genes that were measured."""
        center, scale = (self.numbers[name][measured] for name in ("center", "scale"))
        given = expression[:, measured] * np.where(np.isinf(scale), 0.0, scale) + center
        return check_scale(given, center, scale, aligned)

    def check_modalities(self, adata: AnnData) -> dict[str, dict]:
        """What rows have of the modalities of training; a warning where most have none, or features lack.

        Returns
        -------
        For each modality ``of_training`` and ``found``, numbers of features, and ``rows`` that have it.

        Raises
        ------
        DataError
            Values that it cannot have, rows that have it in part, or features of other names only.
        """
        report = {}
        for name, features in self.features.items():
            found, rows = [], 0
            if name in adata.obsm:
                check_modality(adata, name)
                table = modality(adata, name)
                found, rows = table.columns.intersection(features), int(table.notna().any(axis=1).sum())
                _say_features(name, features, table.columns)
            if rows < adata.n_obs / 2:
                warnings.warn(
                    f"the model has learnt from {name} ({len(features):,} features), which {rows:,} of "
                    f"{adata.n_obs:,} rows have: for the others it is taken to be average.",
                    PmLabWarning,
                    stacklevel=5,
                )
            report[name] = {"of_training": len(features), "found": len(found), "rows": rows}
        return report

    def tissue(self, adata: AnnData) -> np.ndarray:
        """Rows × tissues of training; all 0 where it is another one or not known."""
        return (tissue_of(adata)[:, None] == np.array(self.tissues, dtype=object)[None, :]).astype(float)

    def network(self, adata: AnnData, expression: np.ndarray | None = None) -> np.ndarray:
        """Inputs of the network: genes, tissue, modalities (0 = average), which of these were measured.

        ``expression`` is that of :meth:`expression`, if it was made before, perhaps aligned.
        """
        expression = self.expression(adata) if expression is None else expression
        parts = [expression, TISSUE_SIZE * self.tissue(adata)]
        for name, features in self.features.items():
            table = pd.DataFrame(index=adata.obs_names)
            if name in adata.obsm:
                table = modality(adata, name)
            values = table.reindex(columns=features).to_numpy(float)
            values = (values - self.numbers[f"{name}_center"]) / self.numbers[f"{name}_scale"]
            has = ~np.isnan(values).all(axis=1, keepdims=True)
            parts += [MODALITY_SIZE * np.nan_to_num(np.clip(values, -CLIP, CLIP)), has.astype(float)]
        return np.hstack(parts).astype(np.float32)


@dataclass(frozen=True)
class LineKernel:
    """A Gaussian kernel of weighted genes, and a little more between lines of one tissue."""

    weight: np.ndarray
    unit: float

    @classmethod
    def learn(cls, expression: np.ndarray, residual: np.ndarray) -> LineKernel:
        """Genes weigh by the square root of how much of the main patterns of response they explain."""
        left, size, _ = np.linalg.svd(residual, full_matrices=False)
        explained = ((expression.T @ left[:, :PATTERNS]) ** 2 * size[:PATTERNS] ** 2).sum(axis=1)
        weight = np.sqrt(explained / max(explained.mean(), 1e-12))
        distances = _distances(expression * np.sqrt(weight), expression * np.sqrt(weight))
        return cls(weight, float(np.median(distances)) or 1.0)

    def distances(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Distances of the rows of ``one`` from the rows of ``other`` in the weighted genes."""
        root = np.sqrt(self.weight)
        return np.sqrt(_distances(one * root, other * root))

    def between(self, one: np.ndarray, other: np.ndarray, tissue: np.ndarray, tissues: np.ndarray):
        """Rows of ``one`` × rows of ``other``, given their genes and their tissues."""
        near = np.exp(-WIDTH * self.distances(one, other) ** 2 / self.unit)
        return near + TISSUE_WEIGHT * (tissue @ tissues.T)


def ridge_path(
    kernel: np.ndarray, residual: np.ndarray, axes: np.ndarray, groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel ridge regression of the axes of response, each with a penalty of its own.

    The penalty of an axis is the one with the smallest error on groups of lines left out in turn, by the
    closed form; an axis that no penalty predicts is not predicted.

    Parameters
    ----------
    kernel : lines × lines. residual : lines × drugs. axes : drugs × axes, orthonormal.
    groups : numbers, one a line: lines of one group are left out together.

    Returns
    -------
    coefficients, lines × axes, and predictions of each line from the other groups, lines × drugs.
    """
    target = residual @ axes
    values, vectors = np.linalg.eigh(kernel)
    rotated = vectors.T @ target
    parts = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    smallest = (target**2).sum(axis=0)
    coefficients, left_out = np.zeros_like(target), np.zeros_like(target)
    for penalty in PENALTIES:
        shrunk = values / (values + penalty)
        errors = _errors_left_out(
            target, target - vectors @ (shrunk[:, None] * rotated), vectors, shrunk, parts
        )
        error = (errors**2).sum(axis=0)
        better = error < smallest
        smallest = np.where(better, error, smallest)
        left_out[:, better] = (target - errors)[:, better]
        coefficients[:, better] = (vectors @ (rotated / (values + penalty)[:, None]))[:, better]
    return coefficients, left_out @ axes.T


def _errors_left_out(
    target: np.ndarray, errors: np.ndarray, vectors: np.ndarray, shrunk: np.ndarray, parts: list[np.ndarray]
) -> np.ndarray:
    """Errors of each group were it left out, from those of the regression on all lines: (I − H)⁻¹ errors."""
    if len(parts) == len(target):
        return errors / (1 - (vectors**2) @ shrunk)[:, None]
    found = np.empty_like(errors)
    for rows in parts:
        own = np.eye(len(rows)) - (vectors[rows] * shrunk) @ vectors[rows].T
        found[rows] = np.linalg.solve(own, errors[rows])
    return found


def _say_features(name: str, features: list[str], given: pd.Index) -> None:
    absent = [feature for feature in features if feature not in given]
    if len(absent) == len(features):
        raise DataError(
            f"of {name} none of the {len(features):,} features of training are there. Are they named as in "
            f"training ({first(features, 3)}; here {first(given, 3)})? Else delete obsm[{name!r}]."
        )
    if absent:
        warnings.warn(
            f"{len(absent):,} of the {len(features):,} features of {name} in training are absent "
            f"({first(absent)}): they are taken to be average.",
            PmLabWarning,
            stacklevel=6,
        )


def tissue_of(adata: AnnData) -> np.ndarray:
    """The tissue of each row, "unknown" where nobody says."""
    if keys.TISSUE not in adata.obs:
        return np.full(adata.n_obs, keys.UNKNOWN, dtype=object)
    tissue = adata.obs[keys.TISSUE].astype(object)
    return tissue.where(tissue.notna(), keys.UNKNOWN).astype(str).to_numpy(object)


def _distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)[None, :]
    return np.maximum(squares - 2 * one @ other.T, 0.0)


def _dense(matrix) -> np.ndarray:
    return np.asarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix, dtype=np.float64)


def _scale(values: np.ndarray) -> np.ndarray:
    """Standard deviations; infinite for what does not vary, so that it says nothing."""
    scale = values.std(axis=0)
    return np.where(scale > 1e-6, scale, np.inf)
