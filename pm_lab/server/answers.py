"""What all routes share: typed questions, work in threads, and answers as JSON or arrays."""

from __future__ import annotations

import asyncio
import ctypes
import json
import math
import struct
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from jupyter_core.utils import ensure_async
from jupyter_server.auth.utils import HTTP_METHOD_TO_AUTH_ACTION
from jupyter_server.base.handlers import APIHandler
from tornado import web

from pm_lab.errors import PmLabError
from pm_lab.server.files import RELOAD
from pm_lab.server.paths import resolve
from pm_lab.server.refusals import Cancelled, Refused

ARRAY_TYPES = {"float32", "float64", "uint8", "uint16", "uint32"}
ALIGNED = 8
MOST_FILTERS = 100
FILTER_KINDS = ("range", "values", "contains", "gene", "lasso")
CLIENT_CLOSED = 499
MALLOC_TRIM = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


class PmLabHandler(APIHandler):
    """Base of the routes under ``pm-lab/``. Each verb of a subclass needs ``@web.authenticated``."""

    auth_resource = "contents"  # what an authorizer is asked about: the routes read and write files

    async def prepare(self) -> None:
        self.cancelled = threading.Event()
        await super().prepare()
        if self.request.method != "OPTIONS":  # a browser asks it without a token, and it tells nothing
            await self._admit()

    async def _admit(self) -> None:
        """Refuse who has no token, whatever the verb, and whom the server's authorizer forbids to."""
        action = HTTP_METHOD_TO_AUTH_ACTION[self.request.method]
        allowed = self.current_user and await ensure_async(
            self.authorizer.is_authorized(self, self.current_user, action, self.auth_resource)
        )
        if not allowed:
            raise web.HTTPError(403)

    @property
    def lab(self):
        """The settings and what all requests share (:class:`pm_lab.server.settings.PmLab`)."""
        return self.settings["pm_lab"]

    def on_connection_close(self) -> None:
        self.cancelled.set()

    async def in_thread(self, function: Callable, *args) -> Any:
        """Run a function that reads in one of a few threads; it is not begun when the client has gone."""

        def run():
            if self.cancelled.is_set():
                raise Cancelled
            return function(*args)

        return await asyncio.get_running_loop().run_in_executor(self.lab.threads, run)

    async def read(self, function: Callable[..., Any], *args, etag: str = "") -> Any:
        """Run ``function(handle, *args)`` in a thread, with the file that the query's ``path`` names.

        Where the file is by now another version than ``etag`` (by default the query's) says, the answer is
        409. The query's ``task`` is the id under which the handle's progress is reported.
        """
        path, etag = self.text("path"), etag or bare_etag(self.text("etag"))
        task = self.text("task")

        def run():
            real, name = self.resolved(path)
            with self.lab.files.open(real, name, self.cancelled, self._report(task)) as handle:
                if etag and etag != handle.identity.etag:
                    raise Refused(409, "The file changed on disk since it was opened.", name, RELOAD)
                answer = function(handle, *args)
            # Else glibc keeps tens of megabytes of read columns for each thread, for good.
            if MALLOC_TRIM is not None:
                MALLOC_TRIM(0)
            return answer

        if self._reads_genes():
            async with self.lab.scans:
                return await self.in_thread(run)
        return await self.in_thread(run)

    def _reads_genes(self) -> bool:
        """Whether the answer may need a scan of a whole matrix, which keeps a thread busy for seconds."""
        return bool(self.text("gene")) or '"gene"' in self.text("filters")

    def resolved(self, path: str):
        """The real path and the contents path of a file; see :func:`pm_lab.server.paths.resolve`."""
        return resolve(self.contents_manager, path, self.lab.follow_symlinks)

    def _report(self, task: str) -> Callable[[float, str], None]:
        return lambda done, what: self.lab.progress.report(task, done, what)

    async def unchanged(self) -> bool:
        """Whether ``If-None-Match`` names the file's present version; answers 304 where it does."""
        known = {bare_etag(one) for one in self.request.headers.get("If-None-Match", "").split(",")}
        path = self.text("path")
        identity = await self.in_thread(lambda: self.lab.files.identity(*self.resolved(path)))
        if identity.etag in known:
            self.set_status(304)
            await self.finish()
            return True
        return False

    def compute_etag(self) -> None:
        """None: the version of the file is the answer's etag, not a digest of the answer."""

    def answer(self, body: dict, handle_etag: str = "") -> None:
        """Finish with JSON; NaN and infinity, which JSON lacks, must have been replaced before."""
        if handle_etag:
            self.set_header("ETag", f'"{handle_etag}"')
        self.set_header("Cache-Control", "no-cache")
        self.finish(json.dumps(body, allow_nan=False))

    def answer_arrays(self, meta: dict, arrays: dict[str, np.ndarray]) -> None:
        """Finish with arrays, as :func:`pack` makes them."""
        self.set_header("Cache-Control", "no-cache")
        self.finish(pack(meta, arrays), set_content_type="application/octet-stream")

    def text(self, name: str, default: str = "") -> str:
        """A text of the query."""
        return self.get_query_argument(name, default, strip=False)

    def number(self, name: str, default: float, least: float, most: float) -> float:
        """A number of the query within bounds; a whole one where the default is whole."""
        text = self.text(name).strip()
        if not text:
            return default
        whole = isinstance(default, int)
        try:
            value = int(text) if whole else float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            kind = "a whole number" if whole else "a number"
            raise Refused(400, f"{name} must be {kind} from {least:,} to {most:,}.", name)
        return value

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """One of several words; the first where the query has none."""
        value = self.text(name, choices[0])
        if value not in choices:
            raise Refused(400, f"{name} must be one of {', '.join(choices)}.", name)
        return value

    def switch(self, name: str) -> bool:
        """True for 1 or true, False for 0, false or nothing."""
        return self.choice(name, ("0", "1", "false", "true", "")) in ("1", "true")

    def names(self, name: str, most: int) -> list[str] | None:
        """A JSON list of names; None where the query has none."""
        found = self._json(name)
        if found is None:
            return None
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found) or len(found) > most:
            raise Refused(400, f"{name} must be a JSON list of at most {most:,} names.", name)
        return found

    def filters(self) -> list[dict]:
        """The query's filters, each with all its keys and of the right types."""
        found = self._json("filters") or []
        if not isinstance(found, list) or len(found) > MOST_FILTERS:
            raise Refused(400, f"filters must be a JSON list of at most {MOST_FILTERS} filters.", "filters")
        return [checked_filter(one, place) for place, one in enumerate(found)]

    def _json(self, name: str) -> Any:
        text = self.text(name)
        if not text.strip():
            return None
        try:
            return json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise Refused(400, f"{name} is no JSON.", name) from error

    def send_error(self, status_code: int = 500, **kwargs) -> None:
        error = (kwargs.get("exc_info") or (None, None))[1]
        if isinstance(error, Refused):
            status_code = error.status
        elif isinstance(error, Cancelled):
            status_code, kwargs["reason"] = CLIENT_CLOSED, "Client closed the request"
        elif isinstance(error, PmLabError):
            status_code = 422
        super().send_error(status_code, **kwargs)

    def write_error(self, status_code: int, **kwargs) -> None:
        error = (kwargs.get("exc_info") or (None, None))[1]
        body = {"what": "The server could not answer.", "where": "", "mend": "Its log says why."}
        if isinstance(error, Refused):
            body = {"what": error.what, "where": error.where, "mend": error.mend}
        elif isinstance(error, PmLabError):
            body = {"what": str(error), "where": "", "mend": ""}
        elif isinstance(error, web.HTTPError):
            mend = self._admission() if status_code == 403 else ""
            body = {"what": error.log_message or self._reason, "where": "", "mend": mend}
        self.finish(json.dumps(body))

    def _admission(self) -> str:
        if getattr(self, "_jupyter_current_user", None):
            return "Ask the administrator of the server for access."
        return "Open JupyterLab again with its token."

    def log_exception(self, typ, value, tb) -> None:
        """Only what was not foreseen leaves a traceback in the log."""
        foreseen = (PmLabError, Cancelled)
        if isinstance(value, Refused):  # for a file that cannot be read the library's word is reason enough
            value, foreseen = value.__cause__, (*foreseen, OSError, ValueError)
        if value is not None and not isinstance(value, foreseen):
            super().log_exception(typ, value, tb)


def bare_etag(text: str) -> str:
    """An etag without quotes and without the mark of a weak one."""
    return text.strip().removeprefix("W/").strip('"')


def pack(meta: dict, arrays: dict[str, np.ndarray]) -> bytes:
    """Meta data and arrays as one binary answer.

    Four bytes hold the length of the header (little-endian), then come the header as JSON, padded with
    spaces to a multiple of 8, and the arrays, each beginning at a multiple of 8. The header's ``arrays``
    gives each one's name, dtype, shape and offset from the end of the header.

    Examples
    --------
    >>> import numpy as np
    >>> from pm_lab.server.answers import pack
    >>> packed = pack({"n": 1}, {"xy": np.zeros((1, 2), "float32")})
    >>> len(packed) % 8
    0
    """
    described, parts, offset = [], [], 0
    for name, array in arrays.items():
        if array.dtype.name not in ARRAY_TYPES:
            raise TypeError(f"{name} is {array.dtype}: pages read {', '.join(sorted(ARRAY_TYPES))}")
        block = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        described.append(
            {"name": name, "dtype": array.dtype.name, "shape": list(array.shape), "offset": offset}
        )
        padding = -block.nbytes % ALIGNED
        parts += [block.data.cast("B") if block.size else b"", b"\0" * padding]
        offset += block.nbytes + padding
    header = json.dumps({**meta, "arrays": described}, allow_nan=False).encode()
    header += b" " * (-(4 + len(header)) % ALIGNED)
    return b"".join([struct.pack("<I", len(header)), header, *parts])


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def checked_filter(one: Any, place: int) -> dict:
    """A filter with defaults filled in, or 400 that says which of its keys is wrong."""
    where = f"filters[{place}]"

    def need(fits: bool, what: str) -> None:
        if not fits:
            raise Refused(400, f"{what}.", where)

    need(isinstance(one, dict), "A filter must be a JSON object")
    kind = one.get("kind")
    need(kind in FILTER_KINDS, f"kind must be one of {', '.join(FILTER_KINDS)}")
    checked = {"kind": kind, "axis": one.get("axis", "obs"), "missing": one.get("missing", False) is True}
    need(checked["axis"] in ("obs", "var"), "axis must be obs or var")
    if kind in ("range", "gene"):
        for end in ("min", "max"):
            need(_is_number(one.get(end)), f"{end} must be a number or null")
            checked[end] = one.get(end)
    if kind in ("range", "values", "contains"):
        checked["column"] = one.get("column")
        need(isinstance(checked["column"], str), "column must be the name of a column")
    if kind == "values":
        checked["values"] = one.get("values")
        need(
            isinstance(checked["values"], list)
            and all(isinstance(value, str | bool | int | float) for value in checked["values"]),
            "values must be a list of texts, numbers or booleans",
        )
    if kind == "contains":
        checked["text"] = one.get("text")
        need(isinstance(checked["text"], str), "text must be a text")
    if kind == "gene":
        checked["gene"], checked["layer"] = one.get("gene"), one.get("layer")
        need(isinstance(checked["gene"], str), "gene must be a name")
        need(checked["layer"] is None or isinstance(checked["layer"], str), "layer must be a name or null")
    if kind == "lasso":
        checked |= {"key": one.get("key"), "x": one.get("x", 0), "y": one.get("y", 1)}
        need(isinstance(checked["key"], str), "key must name an embedding")
        for axis in ("x", "y"):
            need(
                type(checked[axis]) is int and 0 <= checked[axis] < 10**6, f"{axis} must be a column's number"
            )
        checked["polygon"] = one.get("polygon")
        need(_is_polygon(checked["polygon"]), "polygon must be a list of 3 to 500 pairs of numbers")
    return checked


def _is_number(value: Any, null: bool = True) -> bool:
    if value is None:
        return null
    return type(value) in (int, float) and abs(value) <= 1e308


def _is_polygon(points: Any) -> bool:
    return (
        isinstance(points, list)
        and 3 <= len(points) <= 500
        and all(
            isinstance(point, list) and len(point) == 2 and all(_is_number(one, null=False) for one in point)
            for point in points
        )
    )
