"""What lies in an AnnData file, as every version of anndata wrote it: attributes, arrays, matrices, strings.

Works on h5py and zarr alike. Nothing here reads more than it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pm_lab.server.files import Handle
from pm_lab.server.refusals import Refused

PIECE = 50_000  # values read together: h5py and Python then let other threads run every few ms
LAYERS_OF_RAW = ("raw/X", "raw.X")
# What h5py, zarr and numpy raise on a part that is damaged or of a kind they do not know.
UNREADABLE = (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)


def is_group(item: Any) -> bool:
    """Whether it holds other items (a compound dataset of old files does not)."""
    return hasattr(item, "keys")


def attribute(item: Any, name: str, default: Any = None) -> Any:
    """An attribute as plain Python: text for bytes, a list for an array."""
    try:
        value = item.attrs.get(name, default)
    except UNREADABLE:  # of a type that h5py cannot read
        return default
    if isinstance(value, h5py.Empty):
        return default
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, list):
        return [_text(one) if isinstance(one, bytes) else one for one in value]
    return _text(value) if isinstance(value, bytes) else value


def _text(value: bytes) -> str:
    return value.decode("utf-8", errors="replace")


def member(group: Any, name: str) -> Any:
    """A group or an array by its name or path in a group, or None."""
    if group is None or not is_group(group):
        return None
    try:
        item = group[name]
    except (KeyError, ValueError):
        return None
    return item if is_group(item) or hasattr(item, "shape") else None  # a named data type is neither


def keys_of(group: Any) -> list[str]:
    """Names of a group's items, sorted; none where there is no group."""
    if group is None or not is_group(group):
        return []
    if hasattr(group, "store"):  # zarr's own listing fails at the first item of a type that it does not know
        folder = Path(group.store.root, group.path)
        return sorted(path.name for path in folder.iterdir() if _is_zarr_node(path))
    return sorted(group.keys())


def _is_zarr_node(path: Path) -> bool:
    return any((path / name).is_file() for name in (".zgroup", ".zarray", "zarr.json"))


def reason(error: Exception) -> str:
    """What a library says of a part that it cannot read, in one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


class Field:
    """One field of a compound dataset: anndata before 0.7 kept obs, var and obsm so."""

    def __init__(self, dataset: Any, name: str) -> None:
        kind = dataset.dtype[name]
        self._fields, self.attrs = dataset.fields(name) if hasattr(dataset, "fields") else None, {}
        self._dataset, self._name = dataset, name
        self.dtype, self.shape = kind.base, (*dataset.shape, *kind.shape)
        self.chunks, self.compression, self.ndim = dataset.chunks, None, len(self.shape)

    def __getitem__(self, where: Any) -> np.ndarray:
        rows, *columns = where if isinstance(where, tuple) else (where,)
        read = self._fields[rows] if self._fields is not None else self._dataset[rows][self._name]
        return read[(slice(None), *columns)] if columns else read


def items(handle: Handle, where: str) -> dict[str, Any]:
    """Arrays and groups of obsm, varm, obsp, varp or layers by name; None for what cannot be opened."""
    group = member(handle.file, where)
    if group is None:
        return {}
    if is_group(group):
        return {name: member(group, name) for name in keys_of(group)}
    names = group.dtype.names or ()
    return {name: Field(group, name) for name in names}


@dataclass(frozen=True)
class Matrix:
    """X, a layer or raw/X: ``data`` is the dense array, or the stored values beside indices and indptr."""

    where: str
    kind: str  # "csr", "csc" or "dense"
    shape: tuple[int, int]
    data: Any
    indices: Any = None
    indptr: Any = None

    @property
    def dtype(self) -> np.dtype:
        return self.data.dtype

    @property
    def n_stored(self) -> int:
        return int(np.prod(self.data.shape, dtype=np.int64))


def matrix_names(handle: Handle) -> dict[str, str]:
    """Where each matrix lies, by the name that the page calls it: X, the layers' names, raw/X."""
    x = {"X": "X"} if member(handle.file, "X") is not None else {}
    layers = {name: f"layers/{name}" for name in keys_of(member(handle.file, "layers")) if name not in x}
    raw = next((where for where in LAYERS_OF_RAW if member(handle.file, where) is not None), None)
    return x | layers | ({"raw/X": raw} if raw else {})


def matrix(handle: Handle, name: str = "X") -> Matrix:
    """A matrix by name: ``X``, a layer's name, ``raw/X``. 400 where there is none of that name."""
    where = matrix_names(handle).get(name)
    if where is None:
        raise Refused(400, f"The file has no matrix {name!r}.", name, "Choose X or one of the layers.")
    return as_matrix(member(handle.file, where), name)


def as_matrix(item: Any, where: str) -> Matrix:
    """Sparse by today's attributes or those of anndata 0.6 (``h5sparse_format``), or dense."""
    if item is None:
        raise Refused(422, "Its type is not known here.", where)
    if not is_group(item):
        if item.ndim != 2 or item.dtype.kind not in "biuf":
            raise Refused(422, f"This is no matrix of numbers: {item.dtype}, {item.ndim} dimensions.", where)
        return Matrix(where, "dense", tuple(item.shape), item)
    kind = str(attribute(item, "encoding-type", attribute(item, "h5sparse_format", "")))
    kind = kind.removesuffix("_matrix")
    shape = attribute(item, "shape", attribute(item, "h5sparse_shape"))
    parts = [member(item, name) for name in ("data", "indices", "indptr")]
    if kind not in ("csr", "csc") or any(part is None or is_group(part) for part in parts):
        raise Refused(
            422, f"This matrix is kept in a way that is not known here: {kind or 'no encoding'}.", where
        )
    fits = (
        isinstance(shape, list)
        and len(shape) == 2
        and all(_is_length(one) for one in shape)
        and all(part.ndim == 1 for part in parts)
        and parts[0].shape == parts[1].shape
        and parts[2].shape[0] == shape[0 if kind == "csr" else 1] + 1
        and parts[0].dtype.kind in "biuf"
        and parts[1].dtype.kind in "iu"
        and parts[2].dtype.kind in "iu"
    )
    if not fits:
        raise Refused(422, "The parts of this sparse matrix do not fit together.", where)
    return Matrix(where, kind, (int(shape[0]), int(shape[1])), *parts)


def _is_length(value: Any) -> bool:
    return isinstance(value, int | float) and value >= 0 and float(value).is_integer()


def pieces(n: int, size: int = PIECE) -> Iterator[tuple[int, int]]:
    """Bounds of the pieces that n values are read in."""
    for start in range(0, n, size):
        yield start, min(n, start + size)


def is_text(item: Any) -> bool:
    """Whether an array holds strings, of fixed or any length."""
    return not is_group(item) and item.dtype.kind in "OSUT"


def texts(array: Any, start: int, stop: int) -> np.ndarray:
    """A stretch of an array of strings, as an object array of str."""
    read = np.asarray(array[start:stop])
    if read.dtype.kind == "S":
        read = np.char.decode(read, "utf-8", "replace")
    read = read.astype(object)
    if any(not isinstance(one, str) for one in read):
        read[:] = [_text(one) if isinstance(one, bytes) else str(one) for one in read]
    return read
