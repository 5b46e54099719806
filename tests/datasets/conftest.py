"""A tiny registered data set, a server on this machine that can misbehave, and folders of their own."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pm_lab.datasets import download, readers, registry

CONTENT = {"tiny/genes.csv": b"gene,a,b\nISG15,1,2\nIFI6,3,4\n", "tiny/more/note.txt": b"x" * 200_000}


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    """No test sees or touches the user's cache."""
    monkeypatch.setenv("PM_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PM_LAB_MIRROR", raising=False)
    monkeypatch.delenv("PM_LAB_OFFLINE", raising=False)
    monkeypatch.setenv("PM_LAB_PROGRESS", "0")
    monkeypatch.setattr(download, "FIRST_WAIT_SECONDS", 0.0)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def tiny_mirror(tmp_path, monkeypatch):
    """A complete mirror of the tiny data set."""
    folder = tmp_path / "mirror"
    for name, content in CONTENT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    monkeypatch.setenv("PM_LAB_MIRROR", str(folder))
    return folder


def pinned(name, content):
    digest = hashlib.sha256(content).hexdigest()
    return registry.RegisteredFile(name, "someone/data", "c0ffee", f"raw files/{name}", len(content), digest)


def tiny_set():
    files = tuple(pinned(name, content) for name, content in CONTENT.items())
    return registry.DataSet("tiny", "two genes", "CC0", "nobody 2020", 2, 2, files=files)


@pytest.fixture
def tiny(monkeypatch):
    """A registered data set of two files whose reader builds a small AnnData."""
    monkeypatch.setitem(registry.registered(), "tiny", tiny_set())
    monkeypatch.setitem(readers.READERS, "tiny", readers.Reader(read_tiny))
    return registry.find("tiny")


def read_tiny(genes, note):
    import anndata
    import pandas as pd

    assert note.stat().st_size == 200_000
    return anndata.AnnData(pd.read_csv(genes, index_col="gene").T.astype("float32"))


class Server(ThreadingHTTPServer):
    """Answers every registered path as ``behave[name]`` says, else with its content."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.behave = {}
        self.requests = []
        self.sending = threading.Event()  # set when a first part has been sent
        self.go_on = threading.Event()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_GET(self):
        name = self.path.split("/c0ffee/raw%20files/")[-1]
        self.server.requests.append(name)
        behaviour = self.server.behave.get(name, good)
        behaviour(self, CONTENT[name])

    def start(self, size, status=200):
        self.send_response(status)
        self.send_header("Content-Length", str(size))
        self.end_headers()


def good(handler, content):
    handler.start(len(content))
    handler.wfile.write(content)


def cut(handler, content):
    """The connection breaks in the middle."""
    handler.start(len(content))
    handler.wfile.write(content[: len(content) // 2])


def cut_unnoticed(handler, content):
    """As :func:`cut`, by a proxy that announces no length."""
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(content[: len(content) // 2])


def other(handler, content):
    """A login page instead of the file."""
    good(handler, b"<html>Please sign in to the guest network</html>")


def status(code):
    def answer(handler, content):
        handler.start(0, code)

    return answer


def slow(handler, content):
    """The first half, then a pause until the test says go on."""
    handler.start(len(content))
    handler.wfile.write(content[: len(content) // 2])
    handler.wfile.flush()
    handler.server.sending.set()
    handler.server.go_on.wait(30)
    handler.wfile.write(content[len(content) // 2 :])


def first(times, behaviour, then=good):
    """``behaviour`` for the first requests, then another."""
    left = iter(range(times))

    def answer(handler, content):
        (then if next(left, None) is None else behaviour)(handler, content)

    return answer


@pytest.fixture
def server(monkeypatch):
    running = Server()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("PM_LAB_BASE_URL", running.address)
    yield running
    running.go_on.set()
    running.shutdown()
    running.server_close()
    thread.join()
