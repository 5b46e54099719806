"""The chunks of long HDF5 and zarr arrays, read one at a time so that nothing else has to wait.

h5py holds one lock for all files while it decompresses. Here that lock is held only while the compressed
bytes of a chunk are fetched; zlib then works outside of it, in several threads.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import h5py
import numpy as np

from pm_lab.errors import DataError

Step = Callable[[float], None]

THREADS = 2
PIECE = 1 << 20  # elements: a few tens of milliseconds, after which a scan looks whether it is still wanted
LARGE_CHUNK = 64 * 2**20  # bytes: of larger chunks only one is unpacked at a time


class Chunks:
    """The chunks of one array of an HDF5 file or zarr folder.

    Attributes
    ----------
    array
        The ``h5py.Dataset`` or ``zarr.Array``.
    shape
        Elements of one chunk along each axis; for an array that has no chunks, rows of about ``PIECE``
        elements.
    """

    def __init__(self, array):
        self.array = array
        whole = tuple(max(1, length) for length in array.shape)
        self.shape = array.chunks or (max(1, PIECE // int(np.prod(whole[1:], dtype=np.int64))), *whole[1:])
        self.filters = _filters(array) if isinstance(array, h5py.Dataset) and array.chunks else None
        self.n_bytes = int(np.prod(self.shape, dtype=np.int64)) * array.dtype.itemsize

    def read(self, *place: int) -> np.ndarray:
        """The values of the chunk at this place (counted in chunks along each axis)."""
        starts = tuple(i * length for i, length in zip(place, self.shape, strict=True))
        ends = tuple(
            min(start + length, most)
            for start, length, most in zip(starts, self.shape, self.array.shape, strict=True)
        )
        if self.filters is not None:
            values = self._unpacked(starts)
            if values is not None:
                return values[tuple(slice(end - start) for start, end in zip(starts, ends, strict=True))]
        return self.array[tuple(slice(*part) for part in zip(starts, ends, strict=True))]

    def _unpacked(self, starts: tuple[int, ...]) -> np.ndarray | None:
        """The whole chunk, or None where it was not stored in the usual way."""
        stored = self.array.id.get_chunk_info_by_coord(starts)
        if not stored.size or stored.filter_mask:  # never written, so it holds the fill value; not filtered
            return None
        _, packed = self.array.id.read_direct_chunk(starts)
        if "gzip" in self.filters:
            packed = _inflated(packed, self.n_bytes, self.array.name)
        if len(packed) != self.n_bytes:
            return None
        kind = self.array.dtype
        if "shuffle" in self.filters and kind.itemsize > 1:
            planes = np.frombuffer(packed, np.uint8).reshape(kind.itemsize, -1)
            return np.ascontiguousarray(planes.T).view(kind).reshape(self.shape)
        return np.frombuffer(packed, kind).reshape(self.shape)


def _filters(dataset: h5py.Dataset) -> list[str] | None:
    """Names of the filters if these are gzip and shuffle at most, on values that numpy has too; else None."""
    properties = dataset.id.get_create_plist()
    found = [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]
    usual = {
        (): [],
        (h5py.h5z.FILTER_DEFLATE,): ["gzip"],
        (h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE): ["shuffle", "gzip"],
    }.get(tuple(found))
    same = dataset.dtype.kind in "biuf" and dataset.id.get_type() == h5py.h5t.py_create(
        dataset.dtype, logical=True
    )
    return usual if same else None


def _inflated(packed: bytes, n_bytes: int, name: str) -> bytes:
    """Unpack a chunk to no more than it may hold: a few bytes can be made to unpack to gigabytes."""
    try:
        return zlib.decompressobj().decompress(packed, n_bytes)
    except zlib.error as error:
        raise DataError(f"{name}: a chunk is damaged ({error}). Copy the file again.") from error


def in_pieces(
    work: Callable[[range], Any], n: int, size: int, n_bytes: int, step: Step | None
) -> Iterator[Any]:
    """Yield ``work(range)`` for consecutive ranges of ``size`` out of ``n``, in order, from two threads.

    Parameters
    ----------
    work
        Called with the range of one piece; it may run at the same time as others.
    n_bytes
        What one chunk holds in memory. Large ones are worked on one at a time.
    step
        Called with the share that is done (0 to 1) after each piece. What it raises ends the work.
    """
    pieces = [range(start, min(start + size, n)) for start in range(0, n, size)]
    threads = THREADS if n_bytes <= LARGE_CHUNK else 1
    with ThreadPoolExecutor(threads, thread_name_prefix="pm_lab_pieces") as pool:
        waiting = deque(pool.submit(work, piece) for piece in pieces[: 2 * threads])
        try:
            for done in range(1, len(pieces) + 1):
                result = waiting.popleft().result()
                waiting.extend(pool.submit(work, piece) for piece in pieces[done + 2 * threads - 1 :][:1])
                if step is not None:
                    step(done / len(pieces))
                yield result
        finally:
            for future in waiting:
                future.cancel()
