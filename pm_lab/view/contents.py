"""What an AnnData holds, read sparingly: shapes, names, the table of observations, samples of matrices."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pm_lab import checks
from pm_lab.errors import DataError

if TYPE_CHECKING:
    import h5py
    from anndata import AnnData

BLOCKS, BLOCK = 20, 5_000  # of the values of a matrix that are looked at, spread over all of it
ROWS = 200  # of a view that are looked at: its matrices would be copied to show more
CONTAINERS = ("obsm", "varm", "obsp", "varp")


@dataclass(frozen=True)
class Matrix:
    """X, a layer or raw: its size, and what a sample of its values looks like."""

    name: str
    kind: str
    dtype: str
    holds: str
    how: str
    largest: float = 0.0  # of the sample
    n_not_finite: int = 0  # of the sample
    n_bytes: int = 0

    def words(self) -> str:
        return f"{self.holds}: {self.how}"


@dataclass(frozen=True)
class Contents:
    """An AnnData as the summary needs it."""

    n_obs: int
    n_vars: int
    obs: pd.DataFrame
    var_names: pd.Index
    var_columns: list[str]
    x: Matrix | None
    layers: list[Matrix]
    raw: Matrix | None
    parts: dict[str, list[str]] = field(default_factory=dict)  # obsm, uns and so on: name with shape


def of_anndata(adata: AnnData) -> Contents:
    """Look at an AnnData in memory, backed by a file, or a view of another."""
    part, raw = adata, adata.raw
    if adata.is_view:
        part, raw = _some_rows(adata), None  # the raw values of a view are those of its origin
    return Contents(
        adata.n_obs,
        adata.n_vars,
        adata.obs,
        adata.var_names,
        list(map(str, adata.var.columns)),
        None if part.X is None else _matrix("X", part.X),
        [_matrix(f'layers["{name}"]', part.layers[name]) for name in part.layers],
        None if raw is None else _matrix("raw", raw.X),
        {name: _listed(getattr(adata, name)) for name in CONTAINERS} | {"uns": _listed(adata.uns)},
    )


def _some_rows(view: AnnData) -> AnnData:
    """Rows spread over a view; of a backed one they are taken from its origin, since it has no views."""
    rows = np.unique(np.linspace(0, view.n_obs - 1, min(ROWS, view.n_obs)).astype(int))
    if not view.isbacked:
        return view[rows]
    origin = view._adata_ref
    return origin[np.sort(np.arange(origin.n_obs)[view._oidx][rows]), view._vidx]


def of_file(path: Path) -> Contents:
    """Look at an h5ad without loading it: the table of observations is read, of matrices a sample.

    Raises
    ------
    DataError
        No h5ad, one that points outside itself, or one without obs and var.
    """
    from anndata.io import read_elem

    from pm_lab.datasets.open import opened_h5ad

    with opened_h5ad(path) as file:
        missing = [name for name in ("obs", "var") if name not in file]
        if missing:
            raise DataError(f"{path.name} has no {' and no '.join(missing)}: it is no AnnData file.")
        _fits_in_memory([file["obs"], file["var"]], path)
        obs, var = (_table(read_elem(file[name])) for name in ("obs", "var"))
        layers = file.get("layers", {})
        raw = file.get("raw/X") or file.get("raw.X")
        parts = {name: _listed(file.get(name, {})) for name in (*CONTAINERS, "uns")}
        return Contents(
            len(obs),
            len(var),
            obs,
            var.index,
            list(map(str, var.columns)),
            _matrix("X", file["X"]) if _is_matrix(file.get("X")) else None,
            [_matrix(f'layers["{name}"]', layers[name]) for name in layers],
            None if raw is None else _matrix("raw", raw),
            parts,
        )


def _fits_in_memory(tables: list[h5py.Group | h5py.Dataset], path: Path) -> None:
    import h5py
    import psutil

    parts = [part for table in tables for part in (table.values() if hasattr(table, "keys") else [table])]
    parts += [part for group in parts if isinstance(group, h5py.Group) for part in group.values()]
    declared = sum(part.nbytes for part in parts if isinstance(part, h5py.Dataset))
    if declared > psutil.virtual_memory().available:
        raise DataError(
            f"{path.name}: obs and var declare {declared / 1e9:,.1f} GB, more than memory is free."
        )


def _is_matrix(element: Any) -> bool:
    """AnnData writes a missing X as an empty element of the encoding "null"."""
    return element is not None and element.attrs.get("encoding-type") != "null"


def _table(element: Any) -> pd.DataFrame:
    """A table as a data frame; anndata before 0.7 wrote it as one array of records."""
    if isinstance(element, pd.DataFrame):
        return element
    records = pd.DataFrame.from_records(np.asarray(element))
    index = next((name for name in ("index", "_index") if name in records), records.columns[0])
    records = records.map(lambda value: value.decode(errors="replace") if isinstance(value, bytes) else value)
    return records.set_index(index)


def _listed(mapping: Any) -> list[str]:
    """Names in a mapping, each with the shape of what it holds."""
    if not hasattr(mapping, "keys"):  # before anndata 0.7, arrays of records
        return list(mapping.dtype.names or ())
    return [f"{name}{_shape(mapping[name])}" for name in mapping]


def _shape(element: Any) -> str:
    shape = getattr(element, "shape", None)
    attributes = getattr(element, "attrs", {})
    if shape is None and "shape" in attributes:  # a sparse matrix in a file
        shape = attributes["shape"]
    if shape is None:
        n = len(element) if hasattr(element, "keys") else 0
        return f" ({n:,} {'entry' if n == 1 else 'entries'})" if n else ""
    return f" ({' × '.join(f'{n:,}' for n in shape)})" if len(shape) else ""


def _matrix(name: str, matrix: Any) -> Matrix:
    """Look at some of a matrix's values, in memory or in a file, dense or sparse."""
    kind, stored, shape = _stored(matrix)
    if stored is None:
        return Matrix(name, kind, str(getattr(matrix, "dtype", "")), "unknown", "not looked at")
    sample = _sample(stored)
    holds, reason = checks.scale_of(sample)
    seen = (
        "all" if sample.size == np.prod(stored.shape, dtype=float) else f"a sample of {sample.size:,} of the"
    )
    values = "values" if kind == "dense" else "stored values"
    finite = sample[np.isfinite(sample)] if sample.dtype.kind in "iuf" else sample[:0]
    return Matrix(
        name,
        f"{kind}, {shape}" if kind == "dense" else f"{kind}, {stored.shape[0]:,} stored values",
        str(stored.dtype),
        holds,
        f"{reason} (judged from {seen} {values})",
        float(finite.max(initial=0)),
        int(sample.size - finite.size) if sample.dtype.kind == "f" else 0,
        int(np.prod(stored.shape, dtype=float)) * stored.dtype.itemsize,
    )


def _stored(matrix: Any) -> tuple[str, Any, str]:
    """The kind of a matrix, the array that holds its values (None: left alone), and its shape in words."""
    from scipy import sparse

    group = getattr(matrix, "group", matrix)  # of a sparse matrix that is backed by a file
    if sparse.issparse(matrix) and matrix.format in ("csr", "csc", "coo"):
        return f"sparse {matrix.format.upper()}", matrix.data, ""
    if hasattr(group, "attrs") and hasattr(group, "keys"):
        written = str(group.attrs.get("encoding-type", group.attrs.get("h5sparse_format", "")))
        if "data" not in group:
            return "unknown", None, ""
        return f"sparse {written[:3].upper()}", group["data"], ""
    if isinstance(matrix, np.ndarray) or type(matrix).__module__.startswith(("h5py", "zarr")):
        return "dense", matrix, " × ".join(f"{n:,}" for n in matrix.shape)
    return type(matrix).__name__, None, ""


def _sample(stored: Any) -> np.ndarray:
    """Blocks of values, or of whole rows, spread evenly; all of them where there are few."""
    n = stored.shape[0] if stored.ndim else 0
    width = max(1, int(np.prod(stored.shape[1:], dtype=float)))
    rows = max(1, BLOCK // width)
    if n <= BLOCKS * rows:
        return np.asarray(stored[:]).ravel() if n else np.empty(0)
    starts = np.linspace(0, n - rows, BLOCKS).astype(int)
    return np.concatenate([np.asarray(stored[start : start + rows]).ravel() for start in starts])
