"""What a model may learn from: genes and clinical columns, checked at the door, prepared inside the folds."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from pm_lab import checks
from pm_lab.biomarkers.paths import martingale_residuals
from pm_lab.endpoints import check_measured, endpoint_columns
from pm_lab.errors import DataError, PmLabWarning
from pm_lab.validation import Outcome

COPIES = 6  # of the matrix that are held at once: whole, training, inner training, standardised, test
LARGEST_SHARE = 0.8  # of the free memory
SAME = 0.9999  # absolute rank correlation at which a feature is the outcome itself


@dataclass
class Features:
    """Genes (patients × genes, NaN where not measured), clinical columns as numbers, and the batch."""

    genes: np.ndarray
    names: pd.Index
    clinical: np.ndarray
    clinical_names: pd.Index
    batch: np.ndarray | None = None

    def take(self, rows) -> Features:
        batch = None if self.batch is None else self.batch[rows]
        return Features(self.genes[rows], self.names, self.clinical[rows], self.clinical_names, batch)


def read_features(
    cohort, outcome: Outcome, genes=None, clinical=(), batch_key: str | None = None, layer: str | None = None
) -> Features:
    """The features of a cohort, refused where they hold the outcome or do not fit into memory."""
    adata = checks.bulk_of(cohort)
    checks.unique_names(adata)
    clinical = [clinical] if isinstance(clinical, str) else list(clinical)
    _refuse_outcome_columns(adata, outcome, [*clinical, *([batch_key] if batch_key else [])])
    place = _places(adata, genes)
    _refuse_outcome_names(adata, outcome, adata.var_names[place])
    if outcome.kind == "survival":
        check_measured(adata, outcome.name, [*clinical, *adata.var_names[place]])
    _refuse_too_large(adata.n_obs, len(place))
    matrix = _matrix(adata, layer, place)
    names = adata.var_names[place].astype(str)
    matrix, names = _informative(matrix, names)
    _refuse_same_profile(matrix, adata.obs_names)
    _refuse_outcome_values(matrix, names, outcome)
    table = encode_clinical(adata.obs, clinical)
    batch = None
    if batch_key is not None:
        batch = checks.obs_column(adata, batch_key, argument="batch_key").astype(str).to_numpy()
    return Features(matrix, names, table.to_numpy(float), table.columns, batch)


def _places(adata, genes) -> np.ndarray:
    if genes is None:
        return np.arange(adata.n_vars)
    wanted = pd.Index([genes] if isinstance(genes, str) else list(genes)).drop_duplicates()
    place = adata.var_names.get_indexer(wanted)
    if (place < 0).any():
        raise DataError(
            f"{int((place < 0).sum()):,} of the {len(wanted):,} genes asked for are not in var_names: "
            f"{_first(wanted[place < 0])}. Take those that are there: "
            "[gene for gene in genes if gene in cohort.var_names]."
        )
    return place


def _refuse_outcome_columns(adata, outcome: Outcome, columns: list[str]) -> None:
    of_endpoint = endpoint_columns(adata)
    held = [name for name in columns if name in outcome.columns or name in of_endpoint]
    if held:
        raise DataError(
            f"{_first(held)} {'is' if len(held) == 1 else 'are'} the outcome {outcome.name!r} or part of an "
            "endpoint, known only after what is to be predicted. Leave it out of the features."
        )


def _refuse_outcome_names(adata, outcome: Outcome, names: pd.Index) -> None:
    forbidden = {outcome.name, *outcome.columns, *endpoint_columns(adata)}
    held = [str(name) for name in names if name in forbidden]
    if held:
        raise DataError(
            f"the outcome column is among the features: var_names holds {_first(held)}. Remove it: "
            f"cohort = cohort[:, ~cohort.var_names.isin({held})].copy()."
        )


def _refuse_too_large(n: int, p: int) -> None:
    import psutil

    needed, free = 8 * n * p * COPIES, psutil.virtual_memory().available
    if needed > LARGEST_SHARE * free:
        raise DataError(
            f"{n:,} patients × {p:,} features need about {needed / 1e9:.1f} GB in cross-validation, and "
            f"{free / 1e9:.1f} GB are free. Pass genes=... with a list that was chosen without the outcome "
            "(the most variable, or those on another platform too)."
        )


def _matrix(adata, layer: str | None, place: np.ndarray) -> np.ndarray:
    if layer is not None and layer not in adata.layers:
        raise DataError(f"there is no layer {layer!r}; layers are {sorted(adata.layers)}.")
    matrix = adata.X if layer is None else adata.layers[layer]
    if matrix is None:
        raise DataError("there is no X. Put log expression there, or name a layer.")
    matrix = matrix[:, place]
    matrix = np.array(matrix.toarray() if sparse.issparse(matrix) else matrix, dtype=float)
    n_infinite = int(np.isinf(matrix).sum())
    if n_infinite:
        raise DataError(f"X holds {n_infinite:,} infinite values: a logarithm of zero? Mend them first.")
    if matrix.size and np.nanmax(matrix) > 200 and not (matrix % 1).any():
        raise DataError(
            f"X holds whole numbers up to {np.nanmax(matrix):.4g}: raw counts, whose spread is the library "
            "size. Run pm.bulk.normalize(cohort) first."
        )
    return matrix


def _informative(matrix: np.ndarray, names: pd.Index) -> tuple[np.ndarray, pd.Index]:
    """Without genes that say nothing in the whole cohort, with a warning that counts them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of genes without any value
        spread = np.nanmax(matrix, axis=0) - np.nanmin(matrix, axis=0)
    constant = ~(spread > 0)
    if constant.all():
        raise DataError(f"all {len(names):,} features are constant or empty: there is nothing to learn from.")
    if constant.any():
        warnings.warn(
            f"{int(constant.sum()):,} of {len(names):,} genes are constant or empty and left out: "
            f"{_first(names[constant])}.",
            PmLabWarning,
            stacklevel=5,
        )
    return (matrix[:, ~constant], names[~constant]) if constant.any() else (matrix, names)


def _refuse_same_profile(matrix: np.ndarray, names: pd.Index) -> None:
    """One tumour under two names would be in training and in test."""
    if matrix.shape[1] < 20:
        return
    hashes = pd.util.hash_array(np.array([row.tobytes() for row in matrix], dtype=object))
    twice = pd.Series(hashes).duplicated(keep=False).to_numpy()
    if twice.any():
        raise DataError(
            f"{int(twice.sum()):,} rows have an expression profile that occurs twice "
            f"({_first(names[twice])}): the same sample under two names would be in training and in test. "
            "Keep one row of each."
        )


def _refuse_outcome_values(matrix: np.ndarray, names: pd.Index, outcome: Outcome) -> None:
    if outcome.kind == "survival":
        targets = {"time": outcome.time, "event": outcome.values}
    else:
        targets = {"outcome": outcome.values}
    filled = np.where(np.isnan(matrix), np.nanmedian(matrix, axis=0), matrix)
    centred = filled - filled.mean(axis=0)
    size = np.sqrt((centred**2).sum(axis=0))
    for what, target in targets.items():
        direction = target - target.mean()
        with np.errstate(invalid="ignore", divide="ignore"):
            r = np.abs(direction @ centred) / (size * np.linalg.norm(direction))
        held = names[np.nan_to_num(r) > SAME]
        if len(held):
            raise DataError(
                f"the outcome is among the features: {_first(held)} is the {what} of {outcome.name!r} itself "
                "(correlation 1). Remove it from X."
            )


def encode_clinical(obs: pd.DataFrame, columns: list[str], levels: dict | None = None) -> pd.DataFrame:
    """Clinical columns as numbers: numbers as they are, others one column for each level but the first.

    ``levels`` (column → levels) are those of an earlier cohort; by default what is in this one. Missing
    values stay NaN and are filled in inside the folds.
    """
    absent = [name for name in columns if name not in obs]
    if absent:
        raise DataError(f"obs has no {absent}; it has {_first(obs.columns, 12)}.")
    parts = {}
    for name in columns:
        column = obs[name]
        known = (levels or {}).get(name)
        if known is None and pd.api.types.is_numeric_dtype(column):
            parts[name] = column.astype(float)
            continue
        known = clinical_levels(obs, [name]).get(name) if known is None else known
        text = column.astype(str).where(column.notna())
        for level in known[1:]:
            parts[f"{name}={level}"] = (text == level).astype(float).where(text.notna())
    return pd.DataFrame(parts, index=obs.index)


def clinical_levels(obs: pd.DataFrame, columns: list[str]) -> dict[str, list[str]]:
    """Levels of the clinical columns that are not numbers."""
    found = {}
    for name in columns:
        column = obs[name]
        if not pd.api.types.is_numeric_dtype(column):
            levels = column.cat.categories if column.dtype == "category" else sorted(column.dropna().unique())
            found[name] = [str(level) for level in levels if (column == level).any()]
    return found


@dataclass
class Preparation:
    """Median imputation, batch centring, scaling and choice of genes, learnt from training patients."""

    medians: np.ndarray
    means: np.ndarray
    sds: np.ndarray
    shifts: dict[str, np.ndarray]
    kept: np.ndarray | None = None

    def __call__(self, values: np.ndarray, batch: np.ndarray | None = None) -> np.ndarray:
        """Standardised values; patients of a batch that was not in training are left unshifted."""
        values = values.astype(float, copy=True)
        missing = np.isnan(values)
        if missing.any():
            values[missing] = np.broadcast_to(self.medians, values.shape)[missing]
        for name, shift in self.shifts.items():
            values[batch == name] -= shift
        values -= self.means
        values /= self.sds
        return values if self.kept is None else values[:, self.kept]


def prepare(
    values: np.ndarray, batch: np.ndarray | None, outcome: Outcome, screen: int | None = None
) -> tuple[Preparation, np.ndarray]:
    """Learn the preparation from training patients, and apply it to them.

    ``screen``: keep that many features, those most associated with the outcome in these patients.
    """
    medians = np.zeros(values.shape[1])
    missing = np.isnan(values)
    if missing.any():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of genes without a value in this fold
            medians = np.nan_to_num(np.nanmedian(values, axis=0))
        values = np.where(missing, medians, values)
    shifts = {}
    if batch is not None:
        overall = values.mean(axis=0)
        values = values.copy()
        for name in np.unique(batch):
            rows = batch == name
            shifts[str(name)] = values[rows].mean(axis=0) - overall
            values[rows] -= shifts[str(name)]
    means, sds = values.mean(axis=0), values.std(axis=0)
    sds[sds < 1e-12] = 1.0
    standardised = (values - means) / sds
    if screen is None or screen >= values.shape[1]:
        return Preparation(medians, means, sds, shifts), standardised
    kept = np.sort(np.argsort(-np.abs(association(standardised, outcome)), kind="stable")[:screen])
    return Preparation(medians, means, sds, shifts, kept), standardised[:, kept]


def association(X: np.ndarray, outcome: Outcome) -> np.ndarray:
    """Correlation of each standardised feature with the outcome, or with its martingale residuals."""
    if outcome.kind == "survival":
        target = martingale_residuals(outcome)
    else:
        target = outcome.values - outcome.values.mean()
    return target @ X / (np.linalg.norm(target) * np.sqrt(len(X)))


def _first(names, n: int = 5) -> str:
    names = [str(name) for name in names]
    return ", ".join(names[:n]) + (", ..." if len(names) > n else "")
