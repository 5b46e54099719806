"""Routes ``data-sets`` and ``data-sets/fetch``: which data sets there are, and fetching one of them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from tornado import web

from pm_lab.datasets import download
from pm_lab.datasets.registry import DataSet, registered
from pm_lab.errors import DatasetUnavailable
from pm_lab.server.answers import PmLabHandler
from pm_lab.server.refusals import Refused

IDLE = {"state": "idle", "done_bytes": 0, "total_bytes": 0, "error": None}


@dataclass
class Fetch:
    """One data set on its way to this machine, in a thread of its own."""

    data_set: DataSet
    total_bytes: int
    state: str = "running"  # then "done", "failed" or "cancelled"
    done_bytes: int = 0
    error: dict | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> None:
        """Download what is absent; how it ended stands in ``state``."""
        try:
            download.obtain(self.data_set.files, progress=self._add, stop=self.stop)
            self._end("done")
        except download.Stopped:
            self._end("cancelled")
        except Exception as error:
            if not isinstance(error, DatasetUnavailable):
                logging.getLogger("pm_lab").exception("fetching %s", self.data_set.name)
            self._end("failed", _failure(self.data_set, error))

    def cancel(self) -> None:
        """Said at once; the download itself ends at its next chunk."""
        self.stop.set()
        self._end("cancelled")

    def described(self) -> dict:
        """As the page gets it."""
        with self._lock:
            return {key: getattr(self, key) for key in IDLE}

    def _add(self, n_bytes: int) -> None:
        with self._lock:
            self.done_bytes += n_bytes

    def _end(self, state: str, error: dict | None = None) -> None:
        with self._lock:
            if self.state == "running":
                self.state, self.error = state, error


class Fetches:
    """The last fetch of each data set since the server was started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fetches: dict[str, Fetch] = {}

    def start(self, data_set: DataSet) -> None:
        """Begin to fetch a data set, unless it is on its way."""
        with self._lock:
            before = self._fetches.get(data_set.name)
            if before is None or before.state != "running":
                fetch = self._fetches[data_set.name] = Fetch(data_set, _absent_bytes(data_set))
                threading.Thread(target=fetch.run, daemon=True, name=f"fetch {data_set.name}").start()

    def of(self, name: str) -> Fetch | None:
        """The last fetch of a data set."""
        with self._lock:
            return self._fetches.get(name)


FETCHES = Fetches()  # one a server process, as the cache folder that they write to


class DataSetsHandler(PmLabHandler):
    """GET ``data-sets``: ``{offline, data_sets: [rows of available(), each with its fetch]}``."""

    @web.authenticated
    async def get(self) -> None:
        rows = await self.in_thread(_rows)
        self.answer({"offline": download.offline(), "data_sets": rows})


class FetchHandler(PmLabHandler):
    """POST ``{name}``: 202, the data set is fetched. GET ``?name=``: how far it is. DELETE: stop it.

    GET answers ``{state, done_bytes, total_bytes, error}``, where ``state`` is "idle", "running", "done",
    "failed" (then ``error`` is ``{what, where, mend}``) or "cancelled".
    """

    @web.authenticated
    async def get(self) -> None:
        self._described(_registered(self.text("name")))

    @web.authenticated
    async def post(self) -> None:
        asked = self.get_json_body()
        data_set = _registered(asked.get("name") if isinstance(asked, dict) else None)
        await self.in_thread(FETCHES.start, data_set)
        self.set_status(202)
        self._described(data_set)

    @web.authenticated
    async def delete(self) -> None:
        data_set = _registered(self.text("name"))
        if fetch := FETCHES.of(data_set.name):
            fetch.cancel()
        self._described(data_set)

    def _described(self, data_set: DataSet) -> None:
        fetch = FETCHES.of(data_set.name)
        self.answer(fetch.described() if fetch else IDLE)


def missing(names: Iterable[str]) -> set[str]:
    """Those of some registered data sets that must be fetched before they can be loaded."""
    absent = {row["name"] for row in _rows() if row["where"] == "to fetch"}
    return absent.intersection(names)


def _rows() -> list[dict]:
    import pandas as pd

    from pm_lab.datasets import available

    rows = available().to_dict("records")
    for row in rows:
        fetch = FETCHES.of(row["name"])
        row["fetch"] = fetch.described() if fetch else None
        row |= {key: None if pd.isna(row[key]) else int(row[key]) for key in ("n_obs", "n_vars")}
    return rows


def _registered(name: object) -> DataSet:
    if not isinstance(name, str) or name not in registered():
        where = name if isinstance(name, str) else "name"
        raise Refused(404, "No data set is registered under this name.", where, "Reload the list.")
    return registered()[name]


def _absent_bytes(data_set: DataSet) -> int:
    return sum(file.bytes for file, place in download.locate(data_set.files).items() if place is None)


def _failure(data_set: DataSet, error: Exception) -> dict:
    """The first line of the reason; folders of this machine are named by what they are for."""
    text = str(error).splitlines()[0].rstrip(":") if isinstance(error, DatasetUnavailable) else repr(error)
    folders = ((download.cache_folder(), "the cache folder"), (download.mirror_folder(), "the mirror folder"))
    for folder, name in folders:
        if folder is not None:
            text = text.replace(str(folder), name)
    mend = (
        f"Where there is a network: pm-lab data fetch {data_set.name}. Elsewhere, that command in a terminal "
        "lists the files, their addresses and the folder to put them into."
    )
    return {"what": text, "where": data_set.name, "mend": mend}


ROUTES = [(r"data-sets", DataSetsHandler), (r"data-sets/fetch", FetchHandler)]
