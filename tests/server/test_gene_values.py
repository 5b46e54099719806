"""The values of a gene, out of every kind of matrix that an AnnData file can hold."""

import asyncio
import threading
import zlib
from types import SimpleNamespace

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from tornado.httpclient import HTTPClientError

from pm_lab.server.chunks import Chunks
from pm_lab.server.elements import as_matrix
from pm_lab.server.genes import column

GENES = ["CD3E", "MS4A1", "NKG7", "LYZ", "SILENT"]


def make_adata(n=700, seed=0, kind=np.float32):
    rng = np.random.default_rng(seed)
    X = rng.poisson(0.6, (n, len(GENES))).astype(kind)
    X[:, 4] = 0
    names = pd.Index([f"cell {i}" for i in range(n)])
    return anndata.AnnData(X, pd.DataFrame({"n": np.arange(n)}, names), pd.DataFrame(index=GENES))


def write_by_hand(path, adata, chunks, **options):
    """X as CSR with these options of its arrays, which anndata does not offer for each alone."""
    adata.write_h5ad(path)
    rows = sparse.csr_matrix(adata.X)
    with h5py.File(path, "r+") as file:
        del file["X"]
        group = file.create_group("X")
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0"})
        group.attrs["shape"] = adata.shape
        group["indptr"] = rows.indptr
        for name, length in zip(("indices", "data"), chunks, strict=True):
            group.create_dataset(name, data=getattr(rows, name), chunks=length and (length,), **options)
    return rows


async def check_all_genes(ask_arrays, adata, path="a.h5ad", **query):
    X = adata.X.toarray() if sparse.issparse(adata.X) else adata.X
    for place, gene in enumerate(GENES):
        meta, arrays = await ask_arrays("anndata/colour", path=path, gene=gene, **query)
        assert meta["kind"] == "number" and meta["n_zero"] == (X[:, place] == 0).sum()
        np.testing.assert_array_equal(arrays["values"], X[:, place].astype(np.float32))


@pytest.mark.parametrize("to", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
async def test_every_layout_and_type_gives_the_matrix_s_own_values(ask_arrays, jp_root_dir, to):
    adata = make_adata()
    for kind in ("f8", "i4", "u1", "i8", "?"):
        adata.layers[kind] = to(adata.X.astype(kind))
    adata.X = to(adata.X)
    adata.write_h5ad(jp_root_dir / "a.h5ad", compression="gzip")
    await check_all_genes(ask_arrays, adata)
    for layer in adata.layers:
        of_layer = anndata.AnnData(adata.layers[layer])
        await check_all_genes(ask_arrays, of_layer, layer=layer)


@pytest.mark.parametrize("to", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
async def test_zarr_gives_the_same(ask_arrays, jp_root_dir, to):
    adata = make_adata()
    adata.X = to(adata.X)
    adata.write_zarr(jp_root_dir / "a.zarr", chunks=(64, 2) if to is np.asarray else None)
    await check_all_genes(ask_arrays, adata, "a.zarr")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "gzip"},
        {"compression": "gzip", "shuffle": True},
        {"compression": "lzf"},
        {"compression": "gzip", "fletcher32": True},
    ],
    ids=str,
)
async def test_every_filter_and_chunk_gives_the_same(ask_arrays, jp_root_dir, options):
    adata = make_adata()
    for name, chunks in {"same": (100, 100), "apart": (37, 256), "one": (1_000, 11)}.items():
        write_by_hand(jp_root_dir / f"{name}.h5ad", adata, chunks, **options)
        await check_all_genes(ask_arrays, adata, f"{name}.h5ad")


async def test_numbers_with_the_other_byte_order(ask_arrays, jp_root_dir):
    adata = make_adata()
    write_by_hand(jp_root_dir / "a.h5ad", adata, (100, 100))
    with h5py.File(jp_root_dir / "a.h5ad", "r+") as file:
        for name, kind in (("indices", ">i4"), ("data", ">f8")):
            values = file["X"][name][:]
            del file["X"][name]
            file["X"].create_dataset(name, data=values, dtype=kind, chunks=(100,), compression="gzip")
    await check_all_genes(ask_arrays, adata)


async def test_arrays_without_chunks(ask_arrays, jp_root_dir):
    adata = make_adata()
    write_by_hand(jp_root_dir / "a.h5ad", adata, (None, None))
    await check_all_genes(ask_arrays, adata)


async def test_dense_matrix_in_chunks_of_both_axes(ask_arrays, jp_root_dir):
    adata = make_adata()
    adata.write_h5ad(jp_root_dir / "a.h5ad")
    with h5py.File(jp_root_dir / "a.h5ad", "r+") as file:
        attributes = dict(file["X"].attrs)
        del file["X"]
        made = file.create_dataset("X", data=adata.X, chunks=(64, 2), compression="gzip", shuffle=True)
        made.attrs.update(attributes)
    await check_all_genes(ask_arrays, adata)


async def test_chunk_that_was_stored_without_its_filter(ask_arrays, jp_root_dir):
    adata = make_adata()
    rows = write_by_hand(jp_root_dir / "a.h5ad", adata, (100, 100), compression="gzip")
    with h5py.File(jp_root_dir / "a.h5ad", "r+") as file:
        indices = file["X/indices"]
        indices.id.write_direct_chunk((0,), rows.indices[:100].astype(indices.dtype).tobytes(), 1)
    await check_all_genes(ask_arrays, adata)


async def test_unsorted_indices_and_values_stored_twice_add_up(ask_arrays, jp_root_dir):
    adata = make_adata()
    write_by_hand(jp_root_dir / "a.h5ad", adata, (None, None))
    with h5py.File(jp_root_dir / "a.h5ad", "r+") as file:
        del file["X/indices"], file["X/data"], file["X/indptr"]
        file["X/indices"], file["X/data"] = np.array([3, 0, 3, 1]), np.array([1.5, 2, 4, 7], np.float32)
        file["X/indptr"] = np.array([0, 3, *([4] * 699)])
    adata.X = np.zeros_like(adata.X)
    adata.X[0, [3, 0]], adata.X[1, 1] = [5.5, 2], 7
    await check_all_genes(ask_arrays, adata)


async def test_layers_and_raw_have_genes_of_their_own(ask_arrays, call, jp_root_dir):
    adata = make_adata()
    adata.raw = adata.copy()
    adata = adata[:, [2, 0]].copy()
    adata.layers["counts"] = sparse.csr_matrix(adata.X * 2)
    adata.write_h5ad(jp_root_dir / "a.h5ad")
    query = {"route": "anndata/colour", "path": "a.h5ad"}
    _, layer = await ask_arrays(**query, gene="CD3E", layer="counts")
    np.testing.assert_array_equal(layer["values"], 2 * adata.X[:, 1])
    _, raw = await ask_arrays(**query, gene="LYZ", layer="raw/X")
    np.testing.assert_array_equal(raw["values"], np.ravel(adata.raw[:, "LYZ"].X))
    for refused in ({"gene": "LYZ"}, {"gene": "CD3E", "layer": "spliced"}):
        status, said = await call(**query, **refused)
        assert status == 400 and said["what"]


async def test_sparse_matrix_of_anndata_0_6(ask_arrays, jp_root_dir):
    adata = make_adata()
    write_by_hand(jp_root_dir / "a.h5ad", adata, (100, 100), compression="gzip")
    with h5py.File(jp_root_dir / "a.h5ad", "r+") as file:
        attributes = file["X"].attrs
        del attributes["encoding-type"], attributes["encoding-version"], attributes["shape"]
        attributes.update({"h5sparse_format": "csr", "h5sparse_shape": adata.shape})
    await check_all_genes(ask_arrays, adata)


async def test_of_equal_names_the_first_is_shown(ask_arrays, jp_root_dir):
    adata = make_adata()
    adata.var_names = ["CD3E", "MS4A1", "CD3E", "LYZ", "SILENT"]
    adata.write_h5ad(jp_root_dir / "a.h5ad")
    _, arrays = await ask_arrays("anndata/colour", path="a.h5ad", gene="CD3E")
    np.testing.assert_array_equal(arrays["values"], adata.X[:, 0])


async def test_second_time_nothing_is_scanned(ask_arrays, call, jp_root_dir):
    adata = make_adata()
    write_by_hand(jp_root_dir / "a.h5ad", adata, (100, 100), compression="gzip")
    query = {"route": "anndata/colour", "path": "a.h5ad", "gene": "CD3E"}
    first, second = await ask_arrays(**query, task="first"), await ask_arrays(**query, task="second")
    np.testing.assert_array_equal(first[1]["values"], second[1]["values"])
    assert await call("progress", task="first") == (200, {"done": 1.0, "what": "reading CD3E"})
    assert (await call("progress", task="second"))[0] == 404  # it had no progress to report


def spoil_chunk(file):
    file["X/data"].id.write_direct_chunk((0,), b"these bytes are no gzip")


def spoil_starts(file):
    file["X/indptr"][5] = 10**6


def spoil_shape(file):
    file["X"].attrs["shape"] = [10**12, len(GENES)]


def spoil_rows(file):
    columns = sparse.csc_matrix(make_adata().X)
    del file["X/indptr"], file["X/indices"]
    file["X/indptr"], file["X/indices"] = columns.indptr, columns.indices + 10**6
    file["X"].attrs["encoding-type"] = "csc_matrix"


@pytest.mark.parametrize("spoil", [spoil_chunk, spoil_starts, spoil_shape, spoil_rows])
async def test_damaged_matrix_is_refused_with_its_reason(call, jp_root_dir, spoil):
    write_by_hand(jp_root_dir / "a.h5ad", make_adata(), (100, 100), compression="gzip")
    with h5py.File(jp_root_dir / "a.h5ad", "r+") as file:
        spoil(file)
    status, said = await call("anndata/colour", path="a.h5ad", gene="CD3E")
    assert status == 422 and said["what"]
    assert str(jp_root_dir) not in str(said)


def test_chunk_is_unpacked_to_no_more_than_it_may_hold(tmp_path):
    with h5py.File(tmp_path / "a.h5ad", "w") as file:
        group = file.create_group("X")
        group.attrs.update({"encoding-type": "csr_matrix", "shape": [1, 5]})
        group["indptr"] = [0, 10]
        for name, kind in (("indices", "i4"), ("data", "f4")):
            made = group.create_dataset(name, (10,), kind, chunks=(10,), compression="gzip")
            made.id.write_direct_chunk((0,), zlib.compress(bytes(40) + b"\x01" * 10**7))
        # Ten values at column 0, each 0: what follows in the stream is not looked at.
        assert column(as_matrix(group, "X"), 0, 1).tolist() == [0.0]


@pytest.fixture
def slow_chunks(monkeypatch):
    """Chunks that are read only once ``go`` is set; ``n`` counts them. Each is a piece of its own."""
    read, state = Chunks.read, SimpleNamespace(go=threading.Event(), begun=threading.Event(), n=0)

    def wait_and_read(self, *place):
        state.begun.set()
        assert state.go.wait(60)
        state.n += 1
        return read(self, *place)

    monkeypatch.setattr(Chunks, "read", wait_and_read)
    monkeypatch.setattr("pm_lab.server.genes.PIECE", 1)
    yield state
    state.go.set()


async def test_others_are_answered_while_genes_are_scanned(ask_arrays, call, jp_root_dir, slow_chunks):
    adata = make_adata()
    write_by_hand(jp_root_dir / "a.h5ad", adata, (100, 100), compression="gzip")
    tasks = [asyncio.create_task(ask_arrays("anndata/colour", path="a.h5ad", gene=gene)) for gene in GENES]
    while not slow_chunks.begun.is_set():
        await asyncio.sleep(0.01)
    wanted = '[{"kind": "gene", "gene": "LYZ", "min": 1}]'
    tasks += [asyncio.create_task(call("anndata/table", path="a.h5ad", filters=wanted)) for _ in range(5)]
    status, answer = await call("anndata/table", path="a.h5ad")
    assert status == 200 and answer["n_total"] == 700 and not any(task.done() for task in tasks)
    slow_chunks.go.set()
    answers = await asyncio.gather(*tasks)
    for place, (_, arrays) in enumerate(answers[: len(GENES)]):
        np.testing.assert_array_equal(arrays["values"], adata.X[:, place])
    assert all(answer["n_matching"] == (adata.X[:, 3] >= 1).sum() for _, answer in answers[len(GENES) :])


async def test_scan_ends_when_the_client_has_gone(jp_fetch, jp_root_dir, jp_serverapp, slow_chunks):
    write_by_hand(jp_root_dir / "a.h5ad", make_adata(), (2, 2), compression="gzip")
    lab = jp_serverapp.web_app.settings["pm_lab"]
    query = {"path": "a.h5ad", "gene": "CD3E", "task": "mine"}
    with pytest.raises(HTTPClientError) as error:
        await jp_fetch("pm-lab", "anndata", "colour", params=query, request_timeout=1)
    assert error.value.code == 599 and slow_chunks.begun.is_set()
    await asyncio.sleep(0.1)  # until the server has seen that the connection was closed
    slow_chunks.go.set()
    while lab.files._kept:  # in use as long as the scan goes on
        await asyncio.sleep(0.01)
        lab.files.close_idle(0)
    assert slow_chunks.n < 50  # of some 700


def test_scan_ends_when_nobody_waits(tmp_path):
    class Gone(Exception):
        pass

    done = []

    def step(share):
        done.append(share)
        raise Gone

    with h5py.File(tmp_path / "a.h5ad", "w") as file:
        group = file.create_group("X")
        group.attrs.update({"encoding-type": "csr_matrix", "shape": [1, 5]})
        n = 5 * 2**20
        group["indptr"] = [0, n]
        for name, kind in (("indices", "i4"), ("data", "f4")):
            group.create_dataset(name, (n,), kind, chunks=(2**16,), compression="gzip")
        with pytest.raises(Gone):
            column(as_matrix(group, "X"), 0, 1, step)
    assert len(done) == 1 and done[0] < 0.5
