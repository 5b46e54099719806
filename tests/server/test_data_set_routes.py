"""Data sets in the panel: their list, and one that is fetched from a server on this machine."""

import asyncio
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pm_lab.datasets import download, registry
from pm_lab.server import data_sets

CONTENT = b"patient,age\n" + b"p1,50\n" * 100_000


class FileServer(ThreadingHTTPServer):
    """Sends half of the file, and the rest once the test says ``go_on``; or only a status."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.half_sent, self.go_on, self.status = threading.Event(), threading.Event(), 200


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_GET(self):
        server = self.server
        self.send_response(server.status)
        self.send_header("Content-Length", str(len(CONTENT) if server.status == 200 else 0))
        self.end_headers()
        if server.status == 200:
            half = len(CONTENT) // 2
            self.wfile.write(CONTENT[:half])
            self.wfile.flush()
            server.half_sent.set()
            server.go_on.wait(30)
            self.wfile.write(CONTENT[half:])


@pytest.fixture(autouse=True)
def own_state(temporary_cache, monkeypatch):
    monkeypatch.delenv("PM_LAB_MIRROR", raising=False)
    monkeypatch.delenv("PM_LAB_OFFLINE", raising=False)
    monkeypatch.setattr(download, "FIRST_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(data_sets, "FETCHES", data_sets.Fetches())


@pytest.fixture
def source(monkeypatch):
    """A registered data set of one file, and the server that has it."""
    file = registry.RegisteredFile(
        "tiny/patients.csv", "a/b", "c0ffee", "p.csv", len(CONTENT), hashlib.sha256(CONTENT).hexdigest()
    )
    tiny = registry.DataSet("tiny", "a table", "CC0", "nobody 2020", files=(file,))
    monkeypatch.setitem(registry.registered(), "tiny", tiny)
    server = FileServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("PM_LAB_BASE_URL", f"http://127.0.0.1:{server.server_address[1]}")
    yield server
    server.go_on.set()
    server.shutdown()
    server.server_close()
    thread.join()


async def ended(call):
    """The fetch once it no longer runs."""
    for _ in range(1500):
        _, fetch = await call("data-sets/fetch", name="tiny")
        if fetch["state"] != "running":
            return fetch
        await asyncio.sleep(0.02)
    raise AssertionError("the fetch did not end")


async def row(call):
    _, answer = await call("data-sets")
    return next(one for one in answer["data_sets"] if one["name"] == "tiny")


async def test_the_list_has_what_the_panel_shows(call, source):
    status, answer = await call("data-sets")
    assert status == 200 and answer["offline"] is False
    rows = {one["name"]: one for one in answer["data_sets"]}
    assert set(rows) == set(registry.registered())
    assert rows["simulated"]["where"] == "bundled" and rows["kang2018"]["where"] == "to fetch"
    assert rows["kang2018"]["n_obs"] == 2000 and rows["tiny"]["n_obs"] is None
    assert (
        rows["kang2018"]["licence"] and rows["kang2018"]["size_mb"] > 1 and rows["kang2018"]["fetch"] is None
    )


async def test_a_fetch_tells_its_progress_and_ends_in_the_cache(call, source, temporary_cache):
    assert (await call("data-sets/fetch", name="tiny"))[1]["state"] == "idle"
    status, begun = await call("data-sets/fetch", "POST", {"name": "tiny"})
    assert (status, begun["state"], begun["total_bytes"]) == (202, "running", len(CONTENT))
    assert await asyncio.to_thread(source.half_sent.wait, 30)
    while not (midway := (await call("data-sets/fetch", name="tiny"))[1])["done_bytes"]:
        await asyncio.sleep(0.02)
    assert midway["state"] == "running" and midway["done_bytes"] <= len(CONTENT) // 2
    assert (await row(call))["fetch"]["state"] == "running"
    source.go_on.set()
    fetch = await ended(call)
    assert (fetch["state"], fetch["done_bytes"], fetch["error"]) == ("done", len(CONTENT), None)
    assert (await row(call))["where"] == "cached"
    assert (temporary_cache / "tiny" / "patients.csv").read_bytes() == CONTENT


async def test_a_second_request_joins_the_first(call, source):
    for _ in range(2):
        await call("data-sets/fetch", "POST", {"name": "tiny"})
    source.go_on.set()
    assert (await ended(call))["done_bytes"] == len(CONTENT)


async def test_a_cancelled_fetch_leaves_nothing_and_can_be_begun_again(call, source, temporary_cache):
    await call("data-sets/fetch", "POST", {"name": "tiny"})
    assert await asyncio.to_thread(source.half_sent.wait, 30)
    status, fetch = await call("data-sets/fetch", "DELETE", name="tiny")
    assert (status, fetch["state"]) == (200, "cancelled")
    source.go_on.set()
    await call("data-sets/fetch", "POST", {"name": "tiny"})
    assert (await ended(call))["state"] == "done"
    files = [path.name for path in temporary_cache.rglob("*") if path.is_file()]
    assert files == ["patients.csv"]


async def test_a_failure_says_why_and_shows_no_folder(call, source, temporary_cache):
    source.status = 404
    await call("data-sets/fetch", "POST", {"name": "tiny"})
    fetch = await ended(call)
    assert fetch["state"] == "failed" and "answered 404" in fetch["error"]["what"]
    assert "pm-lab data fetch tiny" in fetch["error"]["mend"]
    wrong = temporary_cache / "tiny" / "patients.csv"
    wrong.parent.mkdir(parents=True, exist_ok=True)
    wrong.write_bytes(b"changed")
    await call("data-sets/fetch", "POST", {"name": "tiny"})
    fetch = await ended(call)
    assert "the cache folder/tiny/patients.csv is not the registered file" in fetch["error"]["what"]
    assert str(temporary_cache) not in str(fetch)


async def test_offline_is_said(call, source, monkeypatch):
    monkeypatch.setenv("PM_LAB_OFFLINE", "1")
    assert (await call("data-sets"))[1]["offline"] is True
    await call("data-sets/fetch", "POST", {"name": "tiny"})
    fetch = await ended(call)
    assert fetch["state"] == "failed" and "PM_LAB_OFFLINE" in fetch["error"]["what"]


@pytest.mark.parametrize("body", [{"name": "tinny"}, {"name": 3}, {"name": None}, ["tiny"], {}])
async def test_only_registered_sets_are_fetched(call, body):
    status, answer = await call("data-sets/fetch", "POST", body)
    assert status == 404 and "No data set" in answer["what"]
