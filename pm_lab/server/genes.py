"""The values of one gene in all cells, from a matrix that is far larger than memory.

A gene is a column. Column-compressed (CSC) and dense matrices give one away directly; row-compressed (CSR)
ones, which nearly all files hold, have to be read through: their indices are scanned a chunk at a time, and
of their data only the chunks that hold the gene are unpacked.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pm_lab.errors import DataError
from pm_lab.server.chunks import PIECE, Chunks, Step, in_pieces
from pm_lab.server.elements import Matrix, matrix, pieces
from pm_lab.server.files import Handle
from pm_lab.server.frames import frame
from pm_lab.server.refusals import Refused

Piece = tuple[np.ndarray, np.ndarray]  # rows and the values there


def gene_values(handle: Handle, gene: str, layer: str | None = None) -> np.ndarray:
    """A gene's values in all cells as float32, in the file's order; kept for the next request.

    Parameters
    ----------
    gene
        A name of ``var``, or of ``raw/var`` for the layer ``raw/X``. Of equal names the first is meant.
    layer
        None for X, a layer's name, or ``raw/X``.
    """
    layer = layer or "X"
    of = matrix(handle, layer)
    names = "raw/var" if layer == "raw/X" else "var"
    place = _places(handle, names).get(gene)
    if place is None:
        raise Refused(400, f"There is no gene {gene!r}.", names, "Choose one of the names of the variables.")
    n = frame(handle, "obs").n

    def read() -> tuple[np.ndarray | None, np.ndarray]:
        return _without_zeros(column(of, place, n, lambda done: handle.step(done, f"reading {gene}")))

    rows, values = handle.remember(("gene", layer, place), read)
    if rows is None:
        return values
    everywhere = np.zeros(n, np.float32)
    everywhere[rows] = values
    return everywhere


def _places(handle: Handle, axis: str) -> dict[str, int]:
    """The number of each variable by name."""

    def read() -> dict[str, int]:
        names = frame(handle, axis).index
        found: dict[str, int] = {}
        for start, stop in pieces(names.n):
            handle.step()
            for place, name in enumerate(names.read(start, stop).array, start):
                found.setdefault(str(name), place)
        return found

    return handle.remember(("places", axis), read)


def _without_zeros(values: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
    """Rows and values of a gene that most cells do not express; None and all values of another."""
    rows = np.flatnonzero(values).astype(np.uint32)
    if 2 * len(rows) < len(values):
        return rows, values[rows]
    values.setflags(write=False)  # every request gets the same array
    return None, values


def column(of: Matrix, place: int, n_rows: int, step: Step | None = None) -> np.ndarray:
    """One column of a matrix as float32, by row.

    Parameters
    ----------
    place
        The column's number.
    n_rows
        Rows that the matrix must have: the number of cells that the file's ``obs`` lists.
    step
        Called with the share that is done (0 to 1) between the pieces of a long read, to show or to stop it.

    Raises
    ------
    DataError
        The matrix has another shape, or parts that do not fit each other.
    """
    if of.shape[0] != n_rows or not 0 <= place < of.shape[1]:
        rows, columns = of.shape
        raise DataError(
            f"{of.where} is {rows:,} × {columns:,}, which does not fit obs ({n_rows:,} rows) and var."
        )
    if of.kind == "dense":
        return _dense_column(of.data, place, step)
    values = np.zeros(n_rows, np.float32)
    for rows, found in (_scan if of.kind == "csr" else _stretch)(of, _starts(of), place, step):
        if len(rows) and not 0 <= rows.min() <= rows.max() < n_rows:
            raise DataError(f"{of.where} has values in rows that do not exist: the file is damaged.")
        np.add.at(values, rows, found.astype(np.float32))  # values stored twice add up, as in scipy
    return values


def _starts(of: Matrix) -> np.ndarray:
    starts = of.indptr[:]
    if starts[0] != 0 or starts[-1] != of.n_stored or (starts[1:] < starts[:-1]).any():
        raise DataError(f"{of.where}: indptr does not fit the values stored: the file is damaged.")
    return starts


def _stretch(of: Matrix, starts: np.ndarray, place: int, step: Step | None) -> Iterator[Piece]:
    """Rows and values of a column of a column-compressed matrix, where they lie together."""
    start, stop = int(starts[place]), int(starts[place + 1])
    for low, high in pieces(stop - start, PIECE):
        if step is not None:
            step(low / (stop - start))
        here = slice(start + low, start + high)
        yield of.indices[here].astype(np.int64), of.data[here]


def _scan(of: Matrix, starts: np.ndarray, place: int, step: Step | None) -> Iterator[Piece]:
    """Rows and values of a column of a row-compressed matrix, where they lie anywhere."""
    of_indices, of_data = Chunks(of.indices), Chunks(of.data)
    (length,) = of_indices.shape

    def find(numbers: range) -> Piece:
        positions = [number * length + np.flatnonzero(of_indices.read(number) == place) for number in numbers]
        positions = np.concatenate([np.empty(0, np.int64), *positions])
        return np.searchsorted(starts, positions, side="right") - 1, _take(of_data, positions)

    n_chunks = -(-of.indices.shape[0] // length)
    n_bytes = length * (of.indices.dtype.itemsize + of.dtype.itemsize)
    yield from in_pieces(find, n_chunks, max(1, PIECE // length), n_bytes, step)


def _take(chunks: Chunks, positions: np.ndarray) -> np.ndarray:
    """Values at ascending positions; chunks that hold none of them stay packed."""
    values = np.empty(len(positions), chunks.array.dtype)
    if not len(positions):
        return values
    (length,) = chunks.shape
    numbers, first = np.unique(positions // length, return_index=True)
    for number, start, stop in zip(numbers, first, [*first[1:], len(positions)], strict=True):
        values[start:stop] = chunks.read(int(number))[positions[start:stop] - number * length]
    return values


def _dense_column(array, place: int, step: Step | None) -> np.ndarray:
    """A column of a dense array, through the chunks that it crosses."""
    chunks = Chunks(array)
    n_rows, (length, width) = array.shape[0], chunks.shape

    def read(numbers: range):
        if not array.chunks:  # then a column can be read without its neighbours
            return array[numbers.start * length : numbers.stop * length, place]
        parts = [chunks.read(number, place // width)[:, place % width] for number in numbers]
        return np.concatenate(parts)

    size = max(1, PIECE // (length * width))
    parts = in_pieces(read, -(-n_rows // length), size, chunks.n_bytes, step)
    return np.concatenate([np.empty(0, np.float32), *parts], dtype=np.float32, casting="unsafe")
