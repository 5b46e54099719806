"""The values of one gene in all cells, from a matrix that is far larger than memory.

A gene is a column. Column-compressed (CSC) and dense matrices give one away directly; row-compressed (CSR)
ones, which nearly all files hold, have to be read through: their indices are scanned a chunk at a time, and
of their data only the chunks that hold the gene are unpacked.
"""

from __future__ import annotations

import numpy as np

from pm_lab.errors import DataError
from pm_lab.server.chunks import PIECE, Chunks, Step, in_pieces


def column(matrix, place: int, n_rows: int, step: Step | None = None) -> np.ndarray:
    """One column of a matrix as float32, by row.

    Parameters
    ----------
    matrix
        The group of a sparse matrix (CSR or CSC) or the array of a dense one, of an HDF5 file or zarr folder.
    place
        The column's number.
    n_rows
        Rows that the matrix must have: the number of cells that the file's ``obs`` lists.
    step
        Called with the share that is done (0 to 1) between the pieces of a long read, to show or to stop it.

    Raises
    ------
    DataError
        The matrix has another shape, no numbers, or parts that do not fit each other.
    """
    kind, shape = layout(matrix)
    if shape[0] != n_rows:
        raise DataError(f"{matrix.name} has {shape[0]:,} rows and obs has {n_rows:,}. The file is damaged.")
    if not 0 <= place < shape[1]:
        raise DataError(f"{matrix.name} has {shape[1]:,} columns; number {place:,} was asked for.")
    if kind == "dense":
        return _dense_column(matrix, place, step)
    indices, data = matrix["indices"], matrix["data"]
    if indices.dtype.kind not in "iu" or data.dtype.kind not in "biuf" or len(indices) != len(data):
        raise DataError(f"{matrix.name}: its indices and data do not fit each other. The file is damaged.")
    starts = _starts(matrix, shape[0] if kind == "csr" else shape[1], len(indices))
    if kind == "csr":
        positions, found = _scan(indices, data, place, step)
        rows = np.searchsorted(starts, positions, side="right") - 1
    else:
        start, stop = int(starts[place]), int(starts[place + 1])
        rows, found = indices[start:stop].astype(np.int64), data[start:stop]
    values = np.zeros(n_rows, np.float32)
    if len(rows) and (rows.min() < 0 or rows.max() >= n_rows):
        raise DataError(f"{matrix.name} has values in rows that do not exist. The file is damaged.")
    np.add.at(values, rows, found.astype(np.float32))  # values stored twice add up, as in scipy
    return values


def layout(matrix) -> tuple[str, tuple[int, int]]:
    """``csr``, ``csc`` or ``dense``, and the shape of a matrix."""
    if hasattr(matrix, "dtype"):
        if matrix.ndim != 2 or matrix.dtype.kind not in "biuf":
            raise DataError(f"{matrix.name} is no matrix of numbers.")
        return "dense", tuple(matrix.shape)
    attributes = matrix.attrs
    # anndata before 0.7 wrote h5sparse_*.
    kind = str(attributes.get("encoding-type") or attributes.get("h5sparse_format") or "")[:3]
    shape = attributes.get("shape", attributes.get("h5sparse_shape"))
    if kind not in ("csr", "csc") or shape is None or len(shape) != 2:
        raise DataError(f"{matrix.name} is neither a sparse nor a dense matrix that is known here.")
    if any(name not in matrix for name in ("data", "indices", "indptr")):
        raise DataError(f"{matrix.name} lacks data, indices or indptr. The file is damaged.")
    return kind, (int(shape[0]), int(shape[1]))


def _starts(matrix, n: int, n_stored: int) -> np.ndarray:
    indptr = matrix["indptr"]
    if indptr.shape != (n + 1,) or indptr.dtype.kind not in "iu":
        raise DataError(f"{matrix.name}: indptr does not fit the shape. The file is damaged.")
    starts = indptr[:]
    if starts[0] != 0 or starts[-1] != n_stored or (starts[1:] < starts[:-1]).any():
        raise DataError(f"{matrix.name}: indptr does not fit the values stored. The file is damaged.")
    return starts


def _scan(indices, data, place: int, step: Step | None):
    """Positions among the stored values of those in this column, and the values there."""
    of_indices, of_data = Chunks(indices), Chunks(data)
    (length,) = of_indices.shape

    def find(numbers: range):
        positions = [number * length + np.flatnonzero(of_indices.read(number) == place) for number in numbers]
        positions = np.concatenate([np.empty(0, np.int64), *positions])
        return positions, _take(of_data, positions)

    n_chunks = -(-len(indices) // length)
    size = max(1, PIECE // length)
    n_bytes = length * (indices.dtype.itemsize + data.dtype.itemsize)
    found = list(in_pieces(find, n_chunks, size, n_bytes, step))
    positions = np.concatenate([np.empty(0, np.int64), *(part for part, _ in found)])
    return positions, np.concatenate([np.empty(0, data.dtype), *(part for _, part in found)])


def _take(chunks: Chunks, positions: np.ndarray) -> np.ndarray:
    """Values at ascending positions; chunks that hold none of them stay packed."""
    values = np.empty(len(positions), chunks.array.dtype)
    (length,) = chunks.shape
    numbers, first = np.unique(positions // length, return_index=True)
    for number, start, stop in zip(numbers, first, [*first[1:], len(positions)], strict=True):
        values[start:stop] = chunks.read(int(number))[positions[start:stop] - number * length]
    return values


def _dense_column(array, place: int, step: Step | None) -> np.ndarray:
    """A column of a dense array, through the chunks that it crosses."""
    chunks = Chunks(array)
    n_rows, (length, width) = len(array), chunks.shape

    def read(numbers: range):
        if not array.chunks:  # then a column can be read without its neighbours
            return array[numbers.start * length : numbers.stop * length, place]
        parts = [chunks.read(number, place // width)[:, place % width] for number in numbers]
        return np.concatenate(parts)

    size = max(1, PIECE // (length * width))
    parts = in_pieces(read, -(-n_rows // length), size, chunks.n_bytes, step)
    return np.concatenate([np.empty(0, np.float32), *parts], dtype=np.float32, casting="unsafe")
