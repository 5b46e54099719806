"""What a model may learn from: genes and clinical columns, checked at the door, prepared inside the folds."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from pm_lab import checks, leaks
from pm_lab.biomarkers.paths import martingale_residuals
from pm_lab.endpoints import check_measured, endpoint_columns
from pm_lab.errors import DataError, PmLabWarning, listed
from pm_lab.validation import Outcome

COPIES = 6  # of the matrix that are held at once: whole, training, inner training, standardised, test
LARGEST_SHARE = 0.8  # of the free memory
MOST_LEVELS = 20  # of a clinical column that is no number
FEWEST_GENES = 20  # with fewer, two patients may have the same profile
TWINS = 0.005  # difference, in SDs of a gene, below which two profiles are one sample
MOST_COMPARED, PROJECTIONS = 2000, 16  # genes and random directions in which twins are looked for


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
    clinical = names_given(clinical, "clinical")
    refuse_outcome_columns(adata, outcome, [*clinical, *([batch_key] if batch_key else [])])
    place = _places(adata, genes)
    _refuse_outcome_names(adata, outcome, adata.var_names[place])
    if outcome.kind == "survival":
        check_measured(adata, outcome.name, [*clinical, *adata.var_names[place]])
    _refuse_too_large(adata.n_obs, len(place))
    matrix = _matrix(adata, layer, place)
    names = adata.var_names[place].astype(str)
    matrix, names = _informative(matrix, names)
    _refuse_same_profile(matrix, adata.obs_names)
    leaks.check_matrix(matrix, names, outcome)
    table = encode_clinical(adata.obs, clinical)
    leaks.check_columns(adata.obs, clinical, outcome, "clinical")
    batch = None if batch_key is None else _batch(adata, batch_key, outcome)
    return Features(matrix, names, table.to_numpy(float), table.columns, batch)


def names_given(names, argument: str) -> list[str]:
    """One name or several as a list, without repeats."""
    names = [names] if isinstance(names, str) else names
    try:
        return list(dict.fromkeys(names))
    except TypeError:
        raise DataError(f"{argument}={names!r}: a name, or a list of names.") from None


def _batch(adata, key: str, outcome: Outcome) -> np.ndarray:
    batch = checks.obs_column(adata, key, argument="batch_key").astype(str)
    if batch.nunique() == len(batch):
        raise DataError(
            f"batch_key={key!r} has as many batches as patients ({len(batch):,}): centred in batches of one, "
            "nothing is left of the expression. Pass the column of the laboratory's batches."
        )
    leaks.check_columns(adata.obs, [key], outcome, "batch_key", most_levels=np.inf)
    return batch.to_numpy()


def _places(adata, genes) -> np.ndarray:
    if genes is None:
        return np.arange(adata.n_vars)
    wanted = pd.Index(names_given(genes, "genes"))
    place = adata.var_names.get_indexer(wanted)
    if (place < 0).any():
        raise DataError(
            f"{int((place < 0).sum()):,} of the {len(wanted):,} genes asked for are not in var_names: "
            f"{listed(wanted[place < 0])}. Take those that are there: "
            "[gene for gene in genes if gene in cohort.var_names]."
        )
    return place


def refuse_outcome_columns(adata, outcome: Outcome, columns: list[str]) -> None:
    of_endpoint = endpoint_columns(adata)
    held = [name for name in columns if name in outcome.columns or name in of_endpoint]
    if held:
        raise DataError(
            f"{listed(held)} {'is' if len(held) == 1 else 'are'} the outcome {outcome.name!r} or part of an "
            "endpoint, known only after what is to be predicted. Leave it out of the features and groups."
        )


def _refuse_outcome_names(adata, outcome: Outcome, names: pd.Index) -> None:
    forbidden = {outcome.name, *outcome.columns, *endpoint_columns(adata)}
    held = [str(name) for name in names if name in forbidden]
    if held:
        raise DataError(
            f"the outcome column is among the features: var_names holds {listed(held)}. Remove it: "
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
    largest = np.fmax.reduce(matrix, axis=None, initial=0.0)
    if largest > 200 and not np.nansum(matrix % 1):
        raise DataError(
            f"X holds whole numbers up to {largest:.4g}: raw counts, whose spread is the library "
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
            f"{listed(names[constant])}.",
            PmLabWarning,
            stacklevel=5,
        )
    return (matrix[:, ~constant], names[~constant]) if constant.any() else (matrix, names)


def _refuse_same_profile(matrix: np.ndarray, names: pd.Index) -> None:
    """One tumour under two names would be in training and in test, also after rounding or a file format."""
    if matrix.shape[1] < FEWEST_GENES:
        return
    twice = _twins(_robustly_scaled(matrix))
    if twice.any():
        raise DataError(
            f"{int(twice.sum()):,} rows have an expression profile that occurs twice "
            f"({listed(names[twice])}): the same sample under two names would be in training and in test. "
            "Keep one row of each."
        )


def _robustly_scaled(matrix: np.ndarray) -> np.ndarray:
    """Some genes by their quartiles: one patient on another scale must not make all others look alike."""
    step = max(1, matrix.shape[1] // MOST_COMPARED)
    values = matrix[:, ::step]
    missing = np.isnan(values)
    values = np.where(missing, np.nanmedian(values, axis=0), values)
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
    scale = np.where(high > low, (high - low) / 1.35, values.std(axis=0))
    return np.clip((values - middle) / np.where(scale > 0, scale, 1.0), -10, 10)


def _twins(values: np.ndarray) -> np.ndarray:
    """Rows that another is no further from than TWINS: near in random directions, then in all genes."""
    from scipy.spatial import cKDTree

    rng = np.random.default_rng(0)
    seen = values @ rng.normal(size=(values.shape[1], PROJECTIONS)) / np.sqrt(PROJECTIONS)
    near = TWINS * np.sqrt(values.shape[1])
    found = np.zeros(len(values), bool)
    for one, other in cKDTree(seen).query_pairs(2 * near):
        if np.linalg.norm(values[one] - values[other]) < near:
            found[[one, other]] = True
    return found


def encode_clinical(
    obs: pd.DataFrame, columns: list[str], argument: str = "clinical", most_levels: int = MOST_LEVELS
) -> pd.DataFrame:
    """Columns of obs as numbers: numbers as they are, others one column for each level but the first.

    Missing values stay NaN and are filled in inside the folds. A column that says nothing is left out with
    a warning; dates, identifiers and infinite numbers are refused.
    """
    absent = [name for name in columns if name not in obs]
    if absent:
        raise DataError(f"{argument}: obs has no {absent}; it has {listed(obs.columns, 12)}.")
    parts, empty = {}, []
    for name in columns:
        column = obs[name]
        if column.nunique() < 2:
            empty.append(name)
        elif pd.api.types.is_numeric_dtype(column):
            parts[name] = _finite(column, argument)
        else:
            text = column.astype(object).astype(str).where(column.notna())
            for level in _levels(column, argument, most_levels)[1:]:
                parts[f"{name}={level}"] = (text == level).astype(float).where(text.notna())
    if empty:
        warnings.warn(
            f"{argument}: {listed(empty)} {'has' if len(empty) == 1 else 'have'} one value only, or none, in "
            f"these {len(obs):,} patients and {'is' if len(empty) == 1 else 'are'} left out.",
            PmLabWarning,
            stacklevel=4,
        )
    return pd.DataFrame(parts, index=obs.index)


def _finite(column: pd.Series, argument: str) -> np.ndarray:
    values = column.to_numpy(float, na_value=np.nan)
    infinite = np.isinf(values)
    if infinite.any():
        raise DataError(
            f"{argument}: {column.name!r} is infinite for {int(infinite.sum()):,} of {len(values):,} "
            f"patients ({listed(column.index[infinite])}). Mend these values, or make them missing."
        )
    return values


def _levels(column: pd.Series, argument: str, most_levels: int) -> list[str]:
    """Levels that somebody has, in order; refused where they are dates or identifiers."""
    values = column.cat.categories if column.dtype == "category" else column
    if "date" in pd.api.types.infer_dtype(values, skipna=True):
        raise DataError(
            f"{argument}: {column.name!r} holds dates. Make it a number, such as years since the first one."
        )
    present = column.dropna()
    found = present.cat.categories if present.dtype == "category" else sorted(present.unique(), key=str)
    here = set(present.astype(str))
    levels = [str(level) for level in found if str(level) in here]
    if len(levels) > most_levels or len(levels) == len(present):
        raise DataError(
            f"{argument}: {column.name!r} has {len(levels):,} levels in {len(present):,} patients "
            f"({listed(levels)}): an identifier, or numbers kept as text. Make it numbers, merge levels to "
            f"{min(most_levels, len(present) - 1)} at most, or leave it out."
        )
    return levels


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
