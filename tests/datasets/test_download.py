"""Faults on the way of a file to this machine: whatever happens, only whole and right files are used."""

import contextlib
import errno
import os
import shutil
import subprocess
import sys
import threading
import time
import warnings
from collections import namedtuple
from pathlib import Path

import pytest

import pm_lab as pm
from pm_lab.datasets import download
from pm_lab.errors import DatasetUnavailable, PmLabWarning

from .conftest import CONTENT, cut, cut_unnoticed, first, other, slow, status

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])
GENES, NOTE = CONTENT


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_files_are_downloaded_once(tiny, server, cache):
    paths = pm.datasets.fetch("tiny")
    assert [path.read_bytes() for path in paths] == list(CONTENT.values())
    assert files_below(cache) == sorted(CONTENT)
    assert pm.datasets.fetch("tiny") == paths
    assert sorted(server.requests) == sorted(CONTENT)


def test_the_mirror_comes_before_the_network(tiny, server, tiny_mirror, cache):
    assert pm.datasets.fetch("tiny") == [tiny_mirror / name for name in CONTENT]
    assert server.requests == []
    assert not cache.exists()


def test_the_cache_comes_before_the_mirror(tiny, server, tiny_mirror, cache):
    (cache / GENES).parent.mkdir(parents=True)
    (cache / GENES).write_bytes(CONTENT[GENES])
    assert pm.datasets.fetch("tiny") == [cache / GENES, tiny_mirror / NOTE]


@pytest.mark.parametrize("fault", [cut, cut_unnoticed, status(503), status(429)])
def test_a_transient_fault_is_tried_again(tiny, server, fault):
    server.behave[NOTE] = first(2, fault)
    assert pm.datasets.fetch("tiny")[1].read_bytes() == CONTENT[NOTE]
    assert server.requests.count(NOTE) == 3


@pytest.mark.parametrize("fault", [cut, cut_unnoticed, other, status(503)])
def test_nothing_incomplete_or_wrong_stays(tiny, server, cache, fault):
    server.behave[NOTE] = fault
    with pytest.raises(DatasetUnavailable, match=NOTE) as caught:
        pm.datasets.fetch("tiny")
    assert files_below(cache) == [GENES]  # the file that came whole is kept
    assert GENES not in str(caught.value)
    server.behave.clear()
    assert pm.datasets.fetch("tiny")[1].read_bytes() == CONTENT[NOTE]


def test_a_wrong_hash_is_said(tiny, server):
    server.behave[NOTE] = other
    with pytest.raises(DatasetUnavailable, match="another SHA-256 than the registered one"):
        pm.datasets.fetch("tiny")


def test_a_404_is_said_at_once(tiny, server, cache):
    server.behave[NOTE] = status(404)
    with pytest.raises(DatasetUnavailable, match="answered 404") as caught:
        pm.datasets.load("tiny")
    assert server.requests.count(NOTE) == 1
    assert f"{server.address}/someone/data/c0ffee/raw%20files/{NOTE}" in str(caught.value)
    assert str(cache) in str(caught.value)


def test_no_server_at_all(tiny, server, monkeypatch):
    monkeypatch.setenv("PM_LAB_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(DatasetUnavailable, match="connection failed"):
        pm.datasets.fetch("tiny")


def test_offline_names_files_addresses_and_folder(tiny, server, cache, monkeypatch):
    monkeypatch.setenv("PM_LAB_OFFLINE", "1")
    with pytest.raises(DatasetUnavailable, match="PM_LAB_OFFLINE") as caught:
        pm.datasets.load("tiny")
    message = str(caught.value)
    for file in tiny.files:
        assert file.name in message and file.address in message
    assert str(cache) in message
    assert server.requests == []
    # Files put there by hand are enough.
    for name, content in CONTENT.items():
        (cache / name).parent.mkdir(parents=True, exist_ok=True)
        (cache / name).write_bytes(content)
    assert pm.datasets.load("tiny").shape == (2, 2)


def test_a_load_that_may_not_fetch_asks_no_server(tiny, server, cache):
    with pytest.raises(DatasetUnavailable, match="asks no server") as caught:
        pm.datasets.load("tiny", fetch=False)
    assert all(file.name in str(caught.value) for file in tiny.files)
    assert server.requests == []
    assert pm.datasets.load("tiny").shape == (2, 2)
    assert pm.datasets.load("tiny", fetch=False).shape == (2, 2)


def test_a_missing_mirror_file_is_downloaded_or_named(tiny, server, tiny_mirror, cache, monkeypatch):
    (tiny_mirror / NOTE).unlink()
    monkeypatch.setenv("PM_LAB_OFFLINE", "1")
    with pytest.raises(DatasetUnavailable, match=r"^1 file\(s\)") as caught:
        pm.datasets.load("tiny")
    assert NOTE in str(caught.value) and GENES not in str(caught.value)
    monkeypatch.delenv("PM_LAB_OFFLINE")
    assert pm.datasets.load("tiny").shape == (2, 2)
    assert server.requests == [NOTE]


def test_a_mirror_that_does_not_exist_is_said(tiny, server, monkeypatch, tmp_path):
    monkeypatch.setenv("PM_LAB_MIRROR", str(tmp_path / "nowhere"))
    with pytest.warns(PmLabWarning, match="not a folder"):
        pm.datasets.fetch("tiny")


@pytest.mark.parametrize("place", ["cache", "mirror"])
@pytest.mark.parametrize("change", ["same length", "shorter", "empty"])
def test_a_file_with_another_hash_is_refused_and_left_alone(tiny, server, tiny_mirror, cache, place, change):
    folder = {"cache": cache, "mirror": tiny_mirror}[place]
    content = CONTENT[GENES]
    wrong = {"same length": content[:-2] + b"9\n", "shorter": content[:-5], "empty": b""}[change]
    (folder / GENES).parent.mkdir(parents=True, exist_ok=True)
    (folder / GENES).write_bytes(wrong)
    for call in (pm.datasets.load, pm.datasets.fetch):
        with pytest.raises(DatasetUnavailable, match="not the registered file") as caught:
            call("tiny")
        assert str(folder / GENES) in str(caught.value)
    assert (folder / GENES).read_bytes() == wrong
    checked = pm.datasets.verify("tiny").set_index("file")
    assert checked["ok"].to_dict() == {GENES: False, NOTE: True}
    assert str(folder / GENES) in checked.loc[GENES, "problem"]


def test_verify_reports_absent_files(tiny, tiny_mirror):
    (tiny_mirror / NOTE).unlink()
    checked = pm.datasets.verify("tiny").set_index("file")
    assert checked["where"].to_dict() == {GENES: "mirror", NOTE: "absent"}
    assert checked["ok"].to_dict() == {GENES: True, NOTE: False}


def unwritable(tmp_path, monkeypatch):
    """A cache folder that cannot be made: below a regular file, where even root cannot write."""
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("PM_LAB_CACHE", str(tmp_path / "file" / "cache"))


def test_a_read_only_cache_still_loads_from_the_mirror(tiny, server, tiny_mirror, tmp_path, monkeypatch):
    unwritable(tmp_path, monkeypatch)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = pm.datasets.load("tiny")
    assert data.shape == (2, 2)
    assert [warning.category for warning in caught] == [PmLabWarning]
    assert "PM_LAB_CACHE" in str(caught[0].message)


def test_a_read_only_cache_cannot_take_a_download(tiny, server, tmp_path, monkeypatch):
    unwritable(tmp_path, monkeypatch)
    with pytest.raises(DatasetUnavailable, match="cannot be written") as caught:
        pm.datasets.load("tiny")
    assert "PM_LAB_CACHE" in str(caught.value)
    assert server.requests == []


def test_a_cache_that_turns_read_only_cannot_take_a_download(tiny, server, monkeypatch):
    def refuse(path, *arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "makedirs", refuse)  # what pooch makes the data set's folder with
    reason = r"and the cache folder cannot be written \(Permission denied; PM_LAB_CACHE names another\):"
    with pytest.raises(DatasetUnavailable, match=reason):
        pm.datasets.fetch("tiny")


def test_too_little_room_is_said_before_any_download(tiny, server, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**9, 10**9, 1000))
    with pytest.raises(DatasetUnavailable, match=r"0\.0 MB free for the 0\.2 MB"):
        pm.datasets.fetch("tiny")
    assert server.requests == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_disk_that_fills_up_during_the_download(tiny, server, cache, monkeypatch):
    @contextlib.contextmanager
    def on_a_full_disk(path=None):
        yield "/dev/full"

    monkeypatch.setattr("pooch.core.temporary_file", on_a_full_disk)
    with pytest.raises(DatasetUnavailable, match="disk of the cache folder is full"):
        pm.datasets.fetch("tiny")
    assert files_below(cache) == []
    assert len(server.requests) <= len(CONTENT)  # a full disk is not tried again


CHILD = """
import pm_lab as pm
from pm_lab.datasets import registry
from tests.datasets.conftest import CONTENT, tiny_set

registry.registered()["tiny"] = tiny_set()
assert [path.read_bytes() for path in pm.datasets.fetch("tiny")] == list(CONTENT.values())
"""


def another_process():
    """Fetches the tiny data set; it finds the folders and the server by its environment."""
    return subprocess.Popen([sys.executable, "-c", CHILD], cwd=Path(__file__).parents[2])


def test_two_processes_fetching_at_once(tiny, server, cache):
    server.behave[NOTE] = slow
    children = [another_process(), another_process()]
    wait_until(lambda: server.requests.count(NOTE) == 2)  # both are in the middle of the same file
    assert not (cache / NOTE).exists()
    server.go_on.set()
    assert [child.wait(30) for child in children] == [0, 0]
    assert files_below(cache) == sorted(CONTENT)


def test_a_process_killed_in_the_middle_leaves_nothing_that_is_used(tiny, server, cache):
    server.behave[NOTE] = first(1, slow)
    child = another_process()
    assert server.sending.wait(30)
    wait_until(lambda: (cache / GENES).exists())
    child.kill()
    child.wait(30)
    assert not (cache / NOTE).exists()
    assert pm.datasets.verify("tiny").set_index("file").loc[NOTE, "where"] == "absent"
    assert pm.datasets.load("tiny").shape == (2, 2)
    assert (cache / NOTE).read_bytes() == CONTENT[NOTE]


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_who_watches_is_told_every_byte_once(tiny, server):
    server.behave[NOTE] = first(2, cut)
    told = []
    download.obtain(tiny.files, progress=told.append)
    assert sum(told) == sum(map(len, CONTENT.values()))
    assert min(told) < 0, "what came before the connection broke is taken back"


def test_who_watches_can_stop_it(tiny, server, cache):
    server.behave[NOTE] = slow
    stop = threading.Event()

    def stop_in_the_middle():
        assert server.sending.wait(30)
        stop.set()
        server.go_on.set()

    watcher = threading.Thread(target=stop_in_the_middle)
    watcher.start()
    with pytest.raises(download.Stopped):
        download.obtain(tiny.files, progress=lambda n_bytes: None, stop=stop)
    watcher.join()
    assert NOTE not in files_below(cache) and set(files_below(cache)) <= {GENES}


def test_an_interrupt_stops_the_other_downloads(tiny, server, cache, monkeypatch):
    def interrupted(jobs):
        assert server.sending.wait(30)
        server.go_on.set()
        raise KeyboardInterrupt

    server.behave[NOTE] = slow
    monkeypatch.setattr(download, "as_completed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pm.datasets.fetch("tiny")
    assert NOTE not in files_below(cache)
    assert set(files_below(cache)) <= {GENES}
