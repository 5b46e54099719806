"""Files made to harm, broken files, and files that change or go while they are open."""

import json
import os
import shutil
import subprocess
import sys
import threading

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr

from pm_lab.datasets.open import check_hdf5
from pm_lab.server.files import Files
from pm_lab.server.refusals import Cancelled, Refused

ROUTES = {
    "anndata/structure": {},
    "anndata/warnings": {},
    "anndata/table": {"axis": "obs"},
    "anndata/column": {"name": "x"},
    "anndata/summary": {},
    "anndata/names": {},
    "anndata/export": {},
    "anndata/embedding": {"key": "X_umap"},
    "anndata/colour": {"obs": "x"},
    "anndata/mask": {"filters": "[]"},
    "anndata/distribution": {"obs": "x"},
}


def small(n=20, shift=0):
    obs = pd.DataFrame({"x": np.arange(n) + shift}, index=[f"c{i}" for i in range(n)])
    adata = anndata.AnnData(np.ones((n, 3), "float32"), obs=obs)
    adata.obsm["X_umap"] = np.zeros((n, 2), "float32")
    return adata


@pytest.fixture
def victim(jp_root_dir):
    """A file outside of the root with something that must never be shown."""
    path = jp_root_dir.parent / "secret.h5"
    with h5py.File(path, "w") as file:
        file["values"] = np.full(20, 31_337)
    (jp_root_dir.parent / "secret.bin").write_bytes(b"\x69\x7a" * 100)
    return path


def external_link(file, victim):
    del file["obs/x"]
    file["obs/x"] = h5py.ExternalLink(str(victim), "values")


def external_storage(file, victim):
    del file["obs/x"]
    storage = [(str(victim.parent / "secret.bin"), 0, 40)]
    file["obs"].create_dataset("x", (20,), "i2", external=storage)


def virtual_dataset(file, victim):
    layout = h5py.VirtualLayout((20,), "i8")
    layout[:] = h5py.VirtualSource(str(victim), "values", shape=(20,))
    del file["obs/x"]
    file["obs"].create_virtual_dataset("x", layout)


def crowd(file, victim):
    for i in range(300):
        file["uns"].create_group(str(i))


def soft_link(file, victim):
    file["obs/y"] = h5py.SoftLink("/obs/x")


def bomb(file, victim):
    file["obs"].create_dataset("z", (10**12,), "i8", chunks=(10**6,), compression="gzip")


@pytest.mark.parametrize("harm", [external_link, external_storage, virtual_dataset, soft_link, bomb, crowd])
async def test_a_harmful_file_is_refused_by_every_route(jp_root_dir, call, victim, harm, monkeypatch):
    monkeypatch.setattr("pm_lab.datasets.open.MOST_OBJECTS", 250)
    path = jp_root_dir / "x.h5ad"
    small().write_h5ad(path)
    with h5py.File(path, "r+") as file:
        harm(file, victim)
    for route, query in ROUTES.items():
        status, body = await call(route, path="x.h5ad", **query)
        assert status == 422, route
        assert body["what"].startswith("x.h5ad") and body["what"].count("/root_dir") == 0
        assert "31337" not in json.dumps(body)
        assert str(jp_root_dir.parent) not in json.dumps(body).replace(str(victim), "")


async def test_a_zarr_folder_with_a_codec_that_runs_code_is_refused(jp_root_dir, call):
    path = jp_root_dir / "x.zarr"
    small().write_zarr(path)
    found = next(path.rglob("obs/_index/.zarray"))
    metadata = json.loads(found.read_text())
    metadata["filters"] = [{"id": "vlen-utf8"}, {"id": "pickle", "protocol": 5}]
    found.write_text(json.dumps(metadata))
    for route, query in ROUTES.items():
        status, body = await call(route, path="x.zarr", **query)
        assert status == 422 and "pickle" in body["what"], route


async def test_a_zarr_folder_with_a_link_is_refused(jp_root_dir, call, victim):
    path = jp_root_dir / "x.zarr"
    small().write_zarr(path)
    os.symlink(victim, path / "obs" / "stolen")
    status, body = await call("anndata/structure", path="x.zarr")
    assert status == 422 and "symbolic link" in body["what"]


@pytest.mark.parametrize("kept", [0, 7, 100, 3_000, 9_000])
async def test_a_truncated_file_is_refused_and_named(jp_root_dir, call, kept):
    path = jp_root_dir / "x.h5ad"
    small().write_h5ad(path)
    path.write_bytes(path.read_bytes()[:kept])
    for route, query in ROUTES.items():
        status, body = await call(route, path="x.h5ad", **query)
        assert status == 422, route
        assert body["where"] == "x.h5ad" and body["mend"]


async def test_what_is_no_anndata_is_said_so(jp_root_dir, call):
    (jp_root_dir / "text.h5ad").write_text("patient,age\n")
    (jp_root_dir / "folder").mkdir()
    with h5py.File(jp_root_dir / "plain.h5ad", "w") as file:
        file["values"] = np.arange(5)
    assert (await call("anndata/structure", path="text.h5ad"))[0] == 422
    assert (await call("anndata/structure", path="folder"))[0] == 422
    status, body = await call("anndata/structure", path="plain.h5ad")
    assert status == 200 and body["n_obs"] == 0 and body["x"] is None


async def test_a_damaged_block_is_an_answer_and_no_crash(jp_root_dir, call):
    path = jp_root_dir / "x.h5ad"
    adata = small(5_000)
    adata.obs["x"] = np.random.default_rng(0).normal(size=5_000)
    adata.write_h5ad(path, compression="gzip")
    with h5py.File(path) as file:
        place = file["obs/x"].id.get_chunk_info(0).byte_offset
    raw = bytearray(path.read_bytes())
    raw[place + 50 : place + 300] = b"\xff" * 250
    path.write_bytes(raw)
    assert (await call("anndata/structure", path="x.h5ad"))[0] == 200
    for route in ("anndata/table", "anndata/column", "anndata/colour", "anndata/export"):
        assert (await call(route, path="x.h5ad", **ROUTES[route]))[0] == 422, route


async def test_a_file_that_is_deleted_while_open(jp_root_dir, call):
    path = jp_root_dir / "x.h5ad"
    small().write_h5ad(path)
    assert (await call("anndata/table", path="x.h5ad"))[0] == 200
    path.unlink()
    for route, query in ROUTES.items():
        assert (await call(route, path="x.h5ad", **query))[0] == 404, route


@pytest.mark.parametrize("in_place", [True, False])
async def test_a_file_that_is_replaced_while_open(jp_root_dir, call, in_place):
    path, other = jp_root_dir / "x.h5ad", jp_root_dir / "other.h5ad"
    small(20).write_h5ad(path)
    small(30, shift=100).write_h5ad(other)
    _, first = await call("anndata/structure", path="x.h5ad")
    assert (await call("anndata/table", path="x.h5ad", etag=first["etag"]))[1]["n_total"] == 20
    if in_place:
        path.write_bytes(other.read_bytes())  # the same inode, which HDF5 takes for the same file
    else:
        os.replace(other, path)
    for route, query in ROUTES.items():
        if route != "anndata/structure":
            status, body = await call(route, path="x.h5ad", etag=first["etag"], **query)
            assert status == 409 and "changed" in body["what"], route
    _, page = await call("anndata/table", path="x.h5ad")
    assert page["n_total"] == 30 and page["columns"]["x"]["values"][0] == 100


async def test_a_zarr_folder_that_is_written_again(jp_root_dir, call):
    path = jp_root_dir / "x.zarr"
    small(20).write_zarr(path)
    _, first = await call("anndata/structure", path="x.zarr")
    assert (await call("anndata/table", path="x.zarr", etag=first["etag"]))[0] == 200
    shutil.rmtree(path)
    small(30).write_zarr(path)
    assert (await call("anndata/table", path="x.zarr", etag=first["etag"]))[0] == 409
    assert (await call("anndata/table", path="x.zarr"))[1]["n_total"] == 30


async def test_a_notebook_may_write_the_file_that_is_shown(jp_root_dir, call):
    path = jp_root_dir / "x.h5ad"
    small().write_h5ad(path)
    assert (await call("anndata/table", path="x.h5ad"))[0] == 200
    code = f"import h5py; h5py.File({str(path)!r}, 'r+')['obs/x'][0] = 77"
    subprocess.run([sys.executable, "-c", code], check=True)
    os.utime(path)
    assert (await call("anndata/table", path="x.h5ad"))[1]["columns"]["x"]["values"][0] == 77


def test_a_changed_file_waits_for_those_who_read_it(tmp_path, monkeypatch):
    path = tmp_path / "x.h5ad"
    small(20).write_h5ad(path)
    files = Files(2, 60, 10**6)
    monkeypatch.setattr("pm_lab.server.files.PATIENCE", 0.05)
    with files.open(path, "x.h5ad") as first:
        path.write_bytes(path.read_bytes())
        os.utime(path, ns=(1, 1))
        with pytest.raises(Refused) as refused, files.open(path, "x.h5ad"):
            pass
        assert refused.value.status == 409
        assert first.file["obs/x"][3] == 3
    with files.open(path, "x.h5ad") as later:
        assert later.identity != first.identity


def test_few_files_stay_open_and_idle_ones_are_closed(tmp_path):
    paths = [tmp_path / f"{i}.h5ad" for i in range(4)]
    for path in paths:
        small().write_h5ad(path)
    files = Files(2, 60, 10**6)
    opened = []
    for path in paths:
        with files.open(path, path.name) as handle:
            opened.append(handle.file)
    assert [bool(file) for file in opened] == [False, False, True, True]
    with files.open(paths[3], "3.h5ad") as used:
        files.close_idle(0)
        assert [bool(file) for file in opened] == [False, False, False, True]
        assert used.file["obs/x"].shape == (20,)


def test_who_waits_for_anothers_value_stops_when_the_client_has_gone(tmp_path, monkeypatch):
    monkeypatch.setattr("pm_lab.server.files.LOOK_AGAIN", 0.01)
    path = tmp_path / "x.h5ad"
    small().write_h5ad(path)
    files, gone, begun, go_on = Files(2, 60, 10_000), threading.Event(), threading.Event(), threading.Event()

    def slow():
        begun.set()
        assert go_on.wait(60)
        return 1

    with files.open(path, "x.h5ad") as first, files.open(path, "x.h5ad", gone) as second:
        maker = threading.Thread(target=first.remember, args=(("a",), slow))
        maker.start()
        assert begun.wait(60)
        gone.set()
        with pytest.raises(Cancelled):
            second.remember(("a",), slow)
        go_on.set()
        maker.join()
        assert first.remember(("a",), slow) == 1


def test_others_wait_as_long_as_a_file_is_being_opened(tmp_path, monkeypatch):
    path = tmp_path / "x.h5ad"
    small().write_h5ad(path)
    monkeypatch.setattr("pm_lab.server.files.PATIENCE", 0.02)
    check, begun, go_on = check_hdf5, threading.Event(), threading.Event()

    def slow(*args):
        begun.set()
        assert go_on.wait(60)
        check(*args)

    monkeypatch.setattr("pm_lab.server.files.check_hdf5", slow)
    files, found = Files(2, 60, 10_000), []

    def read():
        with files.open(path, "x.h5ad") as handle:
            found.append(handle.file["obs/x"].shape)

    threads = [threading.Thread(target=read) for _ in range(3)]
    threads[0].start()
    assert begun.wait(60)
    for thread in threads[1:]:
        thread.start()
        thread.join(0.2)  # ten times their patience with a file that changes
    go_on.set()
    for thread in threads:
        thread.join()
    assert found == [(20,)] * 3


def test_what_is_remembered_is_made_once_and_bounded(tmp_path):
    path = tmp_path / "x.h5ad"
    small().write_h5ad(path)
    files = Files(2, 60, 10_000)
    made = []

    def make():
        made.append(1)
        return np.zeros(100)

    with files.open(path, "x.h5ad") as handle:
        threads = [threading.Thread(target=handle.remember, args=(("a",), make)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(made) == 1
        for i in range(50):
            handle.remember(("b", i), make)
        assert files.memo.n_bytes <= 10_000
        assert handle.remember(("large",), lambda: np.zeros(10**6)).size == 10**6
        assert files.memo.n_bytes <= 10_000
    zarr.open_group(tmp_path / "y.zarr", mode="w")
    with files.open(tmp_path / "y.zarr", "y.zarr") as other:
        assert other.format == "zarr"
