"""Open AnnData files kept between requests: checked once, closed when they change or nobody asks."""

from __future__ import annotations

import hashlib
import math
import os
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pm_lab.datasets.open import check_hdf5, check_zarr
from pm_lab.errors import DataError
from pm_lab.server.refusals import Cancelled, Refused

if TYPE_CHECKING:
    import h5py
    import zarr

ZARR_METADATA = (".zgroup", ".zarray", ".zattrs", "zarr.json")
MOST_ZARR_NODES = 5_000  # looked at for changes
PATIENCE = 10.0  # seconds that a request waits for others to let go of a file that changed
LOOK_AGAIN = 0.5  # seconds after which one that waits for another's work looks whether it is still wanted
RELOAD = "Reload the file: its tables and plots will be read again."


@dataclass(frozen=True)
class Identity:
    """Which version of which file: equal as long as nobody wrote to it."""

    key: tuple[int, int]  # device and inode: HDF5 takes files with equal ones as one file
    etag: str
    size: int
    modified_ns: int


def identity_of(path: Path) -> Identity:
    """The identity of a file, or of a zarr folder by the times of its metadata.

    Raises FileNotFoundError where there is none.
    """
    status = path.stat()
    key, size, modified = (status.st_dev, status.st_ino), status.st_size, status.st_mtime_ns
    if path.is_dir():
        digest = hashlib.sha256()
        size = 0
        for name, entry in _zarr_metadata(path):
            digest.update(f"{name}:{entry.st_mtime_ns}:{entry.st_size};".encode())
            modified, size = max(modified, entry.st_mtime_ns), size + entry.st_size
        return Identity(key, f"{status.st_ino}-{digest.hexdigest()[:16]}-{modified}", size, modified)
    return Identity(key, f"{status.st_ino}-{size}-{modified}", size, modified)


def _zarr_metadata(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Metadata files of a zarr hierarchy. Folders of chunks, which have none, are not entered."""
    waiting, seen = [""], 0
    while waiting and seen < MOST_ZARR_NODES:
        group = waiting.pop()
        seen += 1
        entries = {entry.name: entry for entry in os.scandir(folder / group)}
        found = [name for name in ZARR_METADATA if name in entries]
        for name in found:
            yield f"{group}/{name}", entries[name].stat(follow_symlinks=False)
        if found and ".zarray" not in found:
            folders = (entry for entry in entries.values() if entry.is_dir(follow_symlinks=False))
            waiting.extend(f"{group}/{entry.name}".lstrip("/") for entry in folders)


class Memo:
    """What was read, kept up to a number of bytes; the least recently used goes first."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes, self.n_bytes = most_bytes, 0
        self._lock = threading.Lock()
        self._values: OrderedDict[tuple, tuple[Any, int]] = OrderedDict()
        self._making: dict[tuple, threading.Event] = {}

    def remember(self, key: tuple, make: Callable[[], Any], wanted: Callable[[], None]) -> Any:
        """The value of a key, made once although several threads ask for it.

        A thread that waits for another's value calls ``wanted`` now and then, which may raise.
        """
        while True:
            with self._lock:
                if key in self._values:
                    self._values.move_to_end(key)
                    return self._values[key][0]
                made = self._making.get(key)
                if made is None:
                    self._making[key] = threading.Event()
                    break
            while not made.wait(LOOK_AGAIN):
                wanted()
        try:
            value = make()
            self._keep(key, value)
        finally:
            with self._lock:
                self._making.pop(key).set()
        return value

    def holds(self, key: tuple) -> bool:
        """Whether a value is there, without making it."""
        with self._lock:
            return key in self._values

    def forget(self, etag: str) -> None:
        """Drop everything of one version of a file."""
        with self._lock:
            for key in [key for key in self._values if key[0] == etag]:
                self.n_bytes -= self._values.pop(key)[1]

    def _keep(self, key: tuple, value: Any) -> None:
        size = n_bytes(value)
        with self._lock:
            if size > self.most_bytes // 2:  # it would push out all else
                return
            self._values[key] = (value, size)
            self.n_bytes += size
            while self.n_bytes > self.most_bytes:
                self.n_bytes -= self._values.popitem(last=False)[1][1]


def n_bytes(value: Any) -> int:
    """About how much memory a value takes."""
    if isinstance(value, dict):
        return sum(n_bytes(one) for pair in value.items() for one in pair)
    if isinstance(value, list | tuple):
        return sum(n_bytes(one) for one in value) + 8 * len(value)
    if isinstance(value, np.ndarray) and value.dtype == object:
        return sum(sys.getsizeof(one) for one in value.ravel()) + value.nbytes
    if hasattr(value, "nbytes"):
        return value.nbytes
    if hasattr(value, "__dict__"):
        return sum(n_bytes(one) for one in vars(value).values())
    return sys.getsizeof(value)


@dataclass
class _Kept:
    """A file that is open, and how many requests use it now."""

    file: h5py.File | zarr.Group
    identity: Identity
    users: int = 0
    used: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Handle:
    """An open file as one request sees it.

    ``file`` is a :class:`h5py.File` or a :class:`zarr.Group`; both may be read from several threads.
    """

    file: h5py.File | zarr.Group
    format: str  # "h5ad" or "zarr"
    name: str  # its contents path, the only path that an answer may hold
    identity: Identity
    memo: Memo
    cancelled: threading.Event = field(default_factory=threading.Event)
    progress: Callable[[float, str], None] = lambda done, what: None

    def remember(self, key: tuple, make: Callable[[], Any]) -> Any:
        """What ``make`` returns, kept for the next request for this version of the file."""
        return self.memo.remember((self.identity.etag, *key), make, self.step)

    def step(self, done: float | None = None, what: str = "") -> None:
        """To be called between the pieces of a long read: stops it when the client has gone."""
        if self.cancelled.is_set():
            raise Cancelled
        if done is not None:
            self.progress(done, what)


class Files:
    """At most ``most`` open files, each of them checked before its first read."""

    def __init__(self, most: int, idle_seconds: float, cache_bytes: int) -> None:
        self.most, self.idle_seconds = most, idle_seconds
        self.memo = Memo(cache_bytes)
        self._changed = threading.Condition()
        self._kept: OrderedDict[tuple[int, int], _Kept] = OrderedDict()
        self._opening: set[tuple[int, int]] = set()
        self._timer: threading.Timer | None = None

    def identity(self, path: Path, name: str) -> Identity:
        """:func:`identity_of`, or :class:`Refused` for a file that is gone or may not be read."""
        with _named(path, name):
            return identity_of(path)

    @contextmanager
    def open(
        self,
        path: Path,
        name: str,
        cancelled: threading.Event | None = None,
        progress: Callable[[float, str], None] | None = None,
    ) -> Iterator[Handle]:
        """Lend an open file. What goes wrong while it is read becomes a :class:`Refused` that names it."""
        cancelled = cancelled or threading.Event()
        with _named(path, name):
            kept = self._take(path, name, cancelled)
            try:
                kind = "zarr" if path.is_dir() else "h5ad"
                yield Handle(
                    kept.file,
                    kind,
                    name,
                    kept.identity,
                    self.memo,
                    cancelled,
                    progress or (lambda done, what: None),
                )
            finally:
                self._give_back(kept)

    def close_idle(self, idle_seconds: float | None = None) -> None:
        """Close files that nobody asked for in a while (all that are not in use, with 0)."""
        oldest = time.monotonic() - (self.idle_seconds if idle_seconds is None else idle_seconds)
        with self._changed:
            self._timer = None
            for key, kept in list(self._kept.items()):
                if not kept.users and kept.used <= oldest:
                    self._drop(key)
            if self._kept:
                self._close_later()

    def _take(self, path: Path, name: str, cancelled: threading.Event) -> _Kept:
        until = time.monotonic() + PATIENCE
        while True:
            identity = identity_of(path)  # outside of the lock: a zarr folder has many files to look at
            key = identity.key
            with self._changed:
                kept, opening = self._kept.get(key), key in self._opening
                if kept and not opening and kept.identity == identity:
                    kept.users += 1
                    self._kept.move_to_end(key)
                    return kept
                # HDF5 shares what it knows of a file among all its opens: the old one must be closed first.
                if not opening and not (kept and kept.users):
                    if kept:
                        self._drop(key)
                    self._opening.add(key)
                    break
                if not opening and time.monotonic() >= until:
                    raise Refused(409, "The file changed on disk while it was being read.", name, RELOAD)
                if cancelled.is_set():
                    raise Cancelled
                self._changed.wait(LOOK_AGAIN if opening else min(LOOK_AGAIN, until - time.monotonic()))
        return self._newly_opened(path, identity)

    def _newly_opened(self, path: Path, identity: Identity) -> _Kept:
        key = identity.key
        kept = None
        try:
            kept = _Kept(_opened(path, identity), identity, users=1)
        finally:
            with self._changed:
                self._opening.discard(key)
                if kept:
                    self._kept[key] = kept
                    self._drop_oldest()
                    self._close_later()
                self._changed.notify_all()
        return kept

    def _give_back(self, kept: _Kept) -> None:
        with self._changed:
            kept.users -= 1
            kept.used = time.monotonic()
            self._drop_oldest()
            self._changed.notify_all()

    def _drop_oldest(self) -> None:
        unused = [key for key, kept in self._kept.items() if not kept.users]
        for key in unused[: max(0, len(self._kept) - self.most)]:
            self._drop(key)

    def _drop(self, key: tuple[int, int]) -> None:
        kept = self._kept.pop(key)
        self.memo.forget(kept.identity.etag)
        if hasattr(kept.file, "close"):  # a zarr group has nothing to close
            kept.file.close()

    def _close_later(self) -> None:
        if self._timer is None:
            self._timer = threading.Timer(self.idle_seconds, self.close_idle)
            self._timer.daemon = True
            self._timer.start()


def _opened(path: Path, identity: Identity) -> h5py.File | zarr.Group:
    if not path.is_file() and not path.is_dir():
        raise Refused(422, "This is a pipe or a device, no file.", "", "Open an h5ad file or a zarr folder.")
    if path.is_dir():
        import zarr

        if not any((path / name).is_file() for name in (".zgroup", "zarr.json")):
            raise Refused(422, "This folder is no zarr group.", "", "Open a folder written by write_zarr.")
        check_zarr(path, math.inf)
        # Consolidated metadata are a second copy that could differ from what was checked.
        return zarr.open_group(str(path), mode="r", use_consolidated=False)
    import h5py

    path.open("rb").close()  # says where it may not be read, as HDF5 does not
    if not h5py.is_hdf5(path):
        raise Refused(422, "This is no h5ad file: it has no HDF5 signature.", "", "Was it copied completely?")
    # Without a lock: a notebook may write the file that is shown here.
    file = h5py.File(path, "r", locking=False)
    try:
        check_hdf5(file, path, math.inf)
        if identity_of(path) != identity:
            raise Refused(409, "The file changed on disk while it was being opened.", "", RELOAD)
    except BaseException:
        file.close()
        raise
    return file


@contextmanager
def _named(path: Path, name: str) -> Iterator[None]:
    """Turn what a broken file raises into a :class:`Refused` that names it by its contents path."""
    try:
        yield
    except Refused as error:
        error.where = error.where or name
        raise
    except Cancelled:
        raise
    except FileNotFoundError as error:
        mend = "Refresh the file browser: it may have been moved."
        raise Refused(404, "There is no such file.", name, mend) from error
    except PermissionError as error:
        mend = "Ask its owner for leave to read it."
        raise Refused(403, "The server may not read this file.", name, mend) from error
    except Exception as error:
        text = str(error).replace(str(path), name)  # before spaces go, of which the path may have several
        text = " ".join(text.split()) or type(error).__name__
        what = text if isinstance(error, DataError) else f"The file cannot be read: {text}"
        mend = "Check that it was copied completely and that anndata.read_h5ad opens it."
        raise Refused(422, what, name, mend) from error
