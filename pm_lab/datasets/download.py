"""From a registered file to a path on this machine: cache, mirror, or a pinned download."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import threading
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

from pm_lab.datasets.registry import RegisteredFile, listed
from pm_lab.errors import DatasetUnavailable, PmLabWarning

ATTEMPTS = 4
FIRST_WAIT_SECONDS = 1.0  # doubled after each failed attempt
TIMEOUT_SECONDS = 30
AT_ONCE = 8
TRANSIENT_STATUS = {408, 425, 429, 500, 502, 503, 504}


def cache_folder() -> Path:
    """Where files are kept: PM_LAB_CACHE, or the platform's folder for caches."""
    chosen = os.environ.get("PM_LAB_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    import pooch

    return Path(pooch.os_cache("pm_lab"))


def mirror_folder() -> Path | None:
    """The read-only folder named by PM_LAB_MIRROR, or None."""
    chosen = os.environ.get("PM_LAB_MIRROR")
    if not chosen:
        return None
    folder = Path(chosen).expanduser()
    if not folder.is_dir():
        warnings.warn(
            f"PM_LAB_MIRROR is {chosen!r}, which is not a folder: ignored.", PmLabWarning, stacklevel=3
        )
        return None
    return folder


def offline() -> bool:
    """Whether PM_LAB_OFFLINE forbids downloads."""
    return os.environ.get("PM_LAB_OFFLINE", "").lower() not in ("", "0", "false", "no")


def locate(files: Iterable[RegisteredFile]) -> dict[RegisteredFile, tuple[str, Path] | None]:
    """For each file ("cached" or "mirror", path) if it is on this machine, unverified, else None."""
    folders = {"cached": cache_folder(), "mirror": mirror_folder()}
    return {
        file: next(
            (
                (where, folder / file.name)
                for where, folder in folders.items()
                if folder is not None and (folder / file.name).is_file()
            ),
            None,
        )
        for file in files
    }


def obtain(
    files: Iterable[RegisteredFile],
    fetch: bool = True,
    progress: Callable[[int], object] | None = None,
    stop: threading.Event | None = None,
) -> list[Path]:
    """Verified paths of the files in their order; with ``fetch`` those that are absent are downloaded.

    ``progress`` is told how many bytes have come (a negative number where a file is begun again) instead
    of a progress bar. Once ``stop`` is set, downloads end at their next chunk.

    Raises :class:`DatasetUnavailable` when a file cannot be had or its SHA-256 is not the registered one,
    and :class:`Stopped` after ``stop``.
    """
    found = locate(files)
    for file, place in found.items():
        if place is not None:
            refuse_other_content(file, place[1])
    absent = [file for file, place in found.items() if place is None]
    if absent and offline():
        raise DatasetUnavailable(_absent_message(absent, "PM_LAB_OFFLINE is set"))
    if absent and not fetch:
        raise DatasetUnavailable(_absent_message(absent, "an analysis asks no server"))
    if absent:
        _download_all(absent, progress, stop or threading.Event())
    return [cache_folder() / file.name if place is None else place[1] for file, place in found.items()]


def sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def refuse_other_content(file: RegisteredFile, path: Path) -> None:
    """Raise :class:`DatasetUnavailable` if the file at ``path`` is not the registered one, byte for byte."""
    try:
        same = path.stat().st_size == file.bytes and sha256(path) == file.sha256
    except OSError as error:
        raise DatasetUnavailable(f"{path} cannot be read: {error}") from error
    if not same:
        raise DatasetUnavailable(
            f"{path} is not the registered file: it has {path.stat().st_size:,} bytes and SHA-256 "
            f"{sha256(path)}, registered are {file.bytes:,} bytes and {file.sha256}. It was neither used nor "
            f"changed. Move it away or replace it with {file.address}, then try again."
        )


def _absent_message(absent: list[RegisteredFile], reason: str) -> str:
    return (
        f"{len(absent)} file(s) are not on this machine, and {reason}:\n{listed(absent)}\n"
        "Fetch them where there is a network (pm-lab data fetch NAME) and put them, under these names, "
        f"into\n  {cache_folder()}\nor into a folder that PM_LAB_MIRROR names."
    )


def _download_all(
    absent: list[RegisteredFile], progress: Callable[[int], object] | None, stop: threading.Event
) -> None:
    """Download the files, several at once. What is complete stays; what is not leaves no trace."""
    from tqdm.auto import tqdm

    _check_room(absent)
    failures: dict[RegisteredFile, Exception] = {}
    quiet = progress is not None or os.environ.get("PM_LAB_PROGRESS") == "0"
    total = sum(file.bytes for file in absent)
    label = f"Fetching {len(absent)} file(s)"
    with (
        _quiet_pooch(),
        tqdm(total=total, unit="B", unit_scale=True, desc=label, disable=quiet, leave=False) as bar,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        jobs = {pool.submit(_download, file, progress or bar.update, stop): file for file in absent}
        try:
            for job in as_completed(jobs):
                error = job.exception()
                if error is not None:
                    failures[jobs[job]] = error
                if _is_disk_full(error):
                    stop.set()
        except BaseException:  # an interrupt: the downloads under way end at their next chunk
            stop.set()
            raise
    if failures:
        _raise_for(failures)


def _check_room(absent: list[RegisteredFile]) -> None:
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise DatasetUnavailable(_absent_message(absent, _cannot_write(error))) from error
    needed = sum(file.bytes for file in absent)
    if free < needed:
        reason = f"the cache folder has {free / 1e6:,.1f} MB free for the {needed / 1e6:,.1f} MB of them"
        raise DatasetUnavailable(_absent_message(absent, reason))


def _cannot_write(error: OSError) -> str:
    if error.strerror is None and isinstance(error.__cause__, OSError):
        error = error.__cause__  # pooch raises a long text from the error that has the reason
    return f"the cache folder cannot be written ({error.strerror or error}; PM_LAB_CACHE names another)"


class Stopped(Exception):
    """Another download failed for good, or the user interrupted."""


class _Progress:
    """What pooch takes for a progress bar: one file's share of what is reported, and the place to stop."""

    total = 0

    def __init__(self, report: Callable[[int], object], stop: threading.Event):
        self.report, self.stop, self.shown = report, stop, 0

    def update(self, n_bytes: int) -> None:
        if self.stop.is_set():
            raise Stopped
        self.shown += n_bytes
        self.report(n_bytes)

    def reset(self) -> None:
        self.report(-self.shown)
        self.shown = 0

    def close(self) -> None:
        pass


def _download(file: RegisteredFile, report: Callable[[int], object], stop: threading.Event) -> None:
    """Fetch one file. pooch writes to a temporary name, checks the SHA-256 and only then renames."""
    import pooch

    target = cache_folder() / file.name
    for attempt in range(ATTEMPTS):
        progress = _Progress(report, stop)
        try:
            if stop.is_set():
                raise Stopped
            pooch.retrieve(
                file.address,
                known_hash=f"sha256:{file.sha256}",
                fname=target.name,
                path=target.parent,
                downloader=pooch.HTTPDownloader(
                    progressbar=progress, chunk_size=1 << 16, timeout=TIMEOUT_SECONDS
                ),
            )
            return
        except Exception as error:
            progress.reset()
            if attempt == ATTEMPTS - 1 or not _is_transient(error):
                raise
            stop.wait(FIRST_WAIT_SECONDS * 2**attempt)


def _is_transient(error: Exception) -> bool:
    import requests

    if isinstance(error, requests.HTTPError):
        return error.response is not None and error.response.status_code in TRANSIENT_STATUS
    # A connection that closes early may show only as a wrong hash, which pooch raises as ValueError.
    # What requests raises as both is an address that is none.
    return isinstance(error, requests.RequestException) != isinstance(error, ValueError)


def _is_disk_full(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _raise_for(failures: dict[RegisteredFile, Exception]) -> None:
    first = next((error for error in failures.values() if _is_disk_full(error)), None)
    if first is not None:
        raise DatasetUnavailable(
            _absent_message(list(failures), "the disk of the cache folder is full")
        ) from first
    broken = [error for error in failures.values() if not isinstance(error, Stopped)]
    if not broken:
        raise next(iter(failures.values()))
    first, reasons = broken[0], sorted({_reason(error) for error in broken})
    raise DatasetUnavailable(_absent_message(list(failures), "; ".join(reasons))) from first


def _reason(error: Exception) -> str:
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.RequestException):
        return f"the connection failed ({type(error).__name__})"
    if isinstance(error, ValueError):
        return "what the server sent has another SHA-256 than the registered one and was discarded"
    if isinstance(error, OSError):
        return _cannot_write(error)
    return f"the download failed ({error!r})"


@contextmanager
def _quiet_pooch():
    """pooch logs a paragraph for every file to standard error; the progress bar says it already."""
    import pooch

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
