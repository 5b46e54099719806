"""What a user brings to the explorer, in any of its forms, brought to one."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from pm_lab import checks, keys
from pm_lab.errors import DataError, listed

ID_NAMES = ("patient", "patient_id", "patientid", "id", "case", "case_id", "sample", "sample_id", "subject")
TABLES = (".csv", ".tsv", ".txt", ".gz")
NAMELESS = "Unnamed: 0"  # what pandas calls a column without a name
BLOCK_ROWS = 4096
RESERVED = re.compile(
    r"patients|gene:.*|lasso:.*|X_.*:[12]", re.DOTALL
)  # keys of filters that are no column's


@dataclass
class Parts:
    """One row per patient everywhere, in one order; ``clinical`` is indexed by the patients' names."""

    clinical: pd.DataFrame
    expression: np.ndarray | None = None  # patients × genes, float32, C order
    genes: pd.Index = field(default_factory=lambda: pd.Index([], dtype=object))
    unit: str = "expression, as in X"
    endpoints: dict = field(default_factory=dict)
    embeddings: dict[str, np.ndarray] = field(default_factory=dict)
    pathways: pd.DataFrame | None = None
    cells: object = None
    source: str = "cohort"
    notes: list[str] = field(default_factory=list)


def read_parts(cohort) -> Parts:
    """Bring a Cohort, an AnnData, a table, a pair of tables or a path to one form.

    Raises
    ------
    DataError
        Something else; no patients; a patient without a name or in two rows; expression of other patients.
    """
    if isinstance(cohort, str | Path):
        return _from_path(cohort)
    if isinstance(cohort, pd.DataFrame):
        return _from_table(cohort)
    if isinstance(cohort, tuple | list):
        if len(cohort) != 2 or not all(isinstance(part, pd.DataFrame) for part in cohort):
            raise DataError(
                "a pair must be (clinical table, expression of patients × genes), two DataFrames."
            )
        return _from_pair(*cohort)
    parts = _from_anndata(checks.bulk_of(cohort))
    parts.cells = getattr(cohort, "cells", None)
    if hasattr(cohort, "bulk"):
        parts.unit = "log2(CPM + 1)"
    return parts


def _from_path(path: str | Path) -> Parts:
    from pm_lab import datasets

    suffix = Path(path).suffix.lower()
    if suffix in (".h5ad", ".zarr"):
        parts = _from_anndata(datasets.read_anndata(path))
    elif suffix in TABLES:
        parts = _from_table(_with_names(datasets.read_table(path, float_precision="round_trip")))
    else:
        raise DataError(f"{Path(path).name}: a cohort is read from .h5ad, .zarr, .csv, .tsv or .txt.")
    parts.source = Path(path).name
    return parts


def _with_names(table: pd.DataFrame) -> pd.DataFrame:
    """Take the patients' names of a file from a column that is called so, or from a nameless first one."""
    if not isinstance(table.index, pd.RangeIndex):
        return table
    if keys.PATIENT in table:  # a nameless first column was the names of rows, as to_csv writes them
        return table.drop(columns=NAMELESS) if table.columns[0] == NAMELESS else table
    known = {str(name).lower(): name for name in reversed(table.columns)}
    for called in (*ID_NAMES, NAMELESS.lower()):
        name = known.get(called)
        if name is not None and table[name].notna().all():
            return table.set_index(name)
    return table


def _from_table(table: pd.DataFrame) -> Parts:
    table, notes = _named(table)
    return Parts(table, endpoints=dict(table.attrs.get(keys.ENDPOINTS, {})), notes=notes)


def _named(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The table indexed by its patients' names as text, checked."""
    if not len(table):
        raise DataError("the cohort has no rows: one row per patient is needed.")
    if isinstance(table.columns, pd.MultiIndex) or table.columns.astype(str).duplicated().any():
        twice = table.columns[table.columns.astype(str).duplicated()]
        raise DataError(f"columns must have names of their own; these occur twice: {listed(twice)}.")
    table = table.set_axis(table.columns.astype(str), axis=1)
    renamed = {name: f"column {name}" for name in table.columns if RESERVED.fullmatch(name)}
    notes = [f"column {old!r} is called {new!r} here" for old, new in renamed.items()]
    table = table.rename(columns=renamed)
    if keys.PATIENT in table:
        names = pd.Index(table[keys.PATIENT])
        table = table.drop(columns=keys.PATIENT)
    else:
        names = table.index
        if isinstance(names, pd.RangeIndex):
            notes.append('no column "patient" and no names of rows: patients are called by their row number')
    if isinstance(names, pd.MultiIndex):
        raise DataError("rows have names of several levels; one row per patient is needed, with one name.")
    if names.isna().any():
        rows = np.flatnonzero(names.isna())
        raise DataError(
            f"{len(rows):,} of {len(names):,} patients have no name (rows {listed(rows)}). Name them."
        )
    names = pd.Index([str(name) for name in names.tolist()], dtype=object, name=keys.PATIENT)
    if not names.is_unique:
        twice = names[names.duplicated()].unique()
        raise DataError(
            f"{len(twice):,} patients have more than one row ({listed(twice)}): the explorer counts "
            "patients. Keep one row (sample) of each, such as table.drop_duplicates('patient')."
        )
    return table.set_axis(names, axis=0), notes


def _from_pair(clinical: pd.DataFrame, expression: pd.DataFrame) -> Parts:
    parts = _from_table(clinical)
    expression, _ = _named(expression)
    names = parts.clinical.index
    place = expression.index.get_indexer(names)
    if (place < 0).all():
        turned = pd.Index(expression.columns).isin(names).any()
        mend = "it is genes × patients: pass expression.T" if turned else "compare the names of their rows"
        raise DataError(f"no patient of the clinical table has a row in the expression; {mend}.")
    other = len(expression) - int((place >= 0).sum())
    if other:
        parts.notes.append(
            f"{other:,} rows of expression belong to no patient of the table and were left out"
        )
    if (place < 0).any():
        parts.notes.append(f"{int((place < 0).sum()):,} of {len(names):,} patients have no expression")
    values = _as_matrix(expression.to_numpy())
    values = values if (place == np.arange(len(values))).all() else _rows(values, place)
    _put_genes(parts, values, expression.columns.astype(str))
    return parts


def _rows(values: np.ndarray, place: np.ndarray) -> np.ndarray:
    taken = values[np.maximum(place, 0)]
    taken[place < 0] = np.nan
    return taken


def _from_anndata(adata) -> Parts:
    if not adata.n_obs:
        raise DataError("the cohort has no rows: one row per patient is needed.")
    table, notes = _named(adata.obs)
    parts = Parts(table, endpoints=_declared(adata), notes=notes)
    if adata.X is not None and adata.n_vars:
        _put_genes(parts, _as_matrix(adata.X), adata.var_names.astype(str))
    for name in adata.obsm:
        values = adata.obsm[name]
        if name == keys.PATHWAYS and isinstance(values, pd.DataFrame):
            parts.pathways = values.set_axis(table.index, axis=0)
        elif name.startswith("X_") and getattr(values, "ndim", 0) == 2 and values.shape[1] >= 2:
            parts.embeddings[name] = np.ascontiguousarray(np.asarray(values)[:, :2], np.float32)
    return parts


def _declared(adata) -> dict:
    declared = adata.uns.get(keys.ENDPOINTS, {})
    return {str(name): dict(spec) for name, spec in declared.items()}


def _as_matrix(values) -> np.ndarray:
    """Float32 in C order; not copied where it is that already."""
    from scipy import sparse

    if sparse.issparse(values):
        values = values.toarray()
    values = np.asarray(values)
    if values.dtype.kind not in "biuf":
        raise DataError(f"the expression holds {values.dtype}, not numbers. Leave other columns out of it.")
    return np.ascontiguousarray(values, np.float32)


def _put_genes(parts: Parts, values: np.ndarray, genes: pd.Index) -> None:
    twice = genes.duplicated()
    if twice.any():
        which = f"{int(twice.sum()):,} genes occur more than once ({listed(genes[twice].unique())})"
        parts.notes.append(f"{which}: the first is shown")
        values, genes = np.ascontiguousarray(values[:, ~twice]), genes[~twice]
    block = values[: max(1, BLOCK_ROWS // 4)]
    known = block[np.isfinite(block)]
    if len(known) and known.max() > checks.LARGEST_LOG and (known % 1 == 0).all():
        parts.unit = "counts, as in X"
        parts.notes.append("X holds counts: differences between groups are better seen on log values")
    parts.expression, parts.genes = values, pd.Index(genes, dtype=object)
