"""Hostile and broken files that a user may be sent: none is read, each is named."""

import gzip
import json
import shutil
import warnings

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import random as random_sparse

import pm_lab as pm
from pm_lab.errors import DataError

SECRET = b"TOP SECRET " * 64


@pytest.fixture
def honest(tmp_path):
    """A file with every kind of element that AnnData writes."""
    data = anndata.AnnData(
        random_sparse(20, 10, density=0.3, format="csr", dtype="float32", random_state=0),
        obs=pd.DataFrame(
            {"patient": pd.Categorical(list("ABCD") * 5), "age": np.arange(20), "note": ["x"] * 20},
            index=[f"cell{i}" for i in range(20)],
        ),
        uns={"nothing": None, "text": "a", "nested": {"table": pd.DataFrame({"a": [1.5, None]})}},
        obsm={"X_pca": np.ones((20, 2))},
    )
    data.layers["counts"] = data.X.copy()
    data.obs["maybe"] = pd.array([1, None] * 10, dtype="Int64")
    data.uns["records"] = np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")])
    path = tmp_path / "honest.h5ad"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.write_h5ad(path, compression="gzip")
        data.write_zarr(tmp_path / "honest.zarr")
    return path


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret.bin"
    path.write_bytes(SECRET)
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["data"] = np.frombuffer(SECRET, "u1")
    return path


@pytest.mark.parametrize("name", ["honest.h5ad", "honest.zarr"])
def test_an_honest_file_is_read_as_anndata_reads_it(honest, name):
    path = honest.with_name(name)
    ours = pm.datasets.read_anndata(path)
    theirs = anndata.io.read_h5ad(honest)
    pd.testing.assert_frame_equal(ours.obs, theirs.obs, check_categorical=False)
    assert (ours.X != theirs.X).nnz == 0
    assert set(ours.uns) == set(theirs.uns)
    assert pm.datasets.read_anndata(str(path)).shape == (20, 10)


def external_link(file, folder):
    file["obsm/leak"] = h5py.ExternalLink(str(folder / "secret.h5"), "/data")


def external_link_as_group(file, folder):
    file["layers/leak"] = h5py.ExternalLink(str(folder / "secret.h5"), "/")


def external_storage(file, folder):
    stored = [(str(folder / "secret.bin"), 0, 400)]
    leak = file.create_dataset("obsm/leak", (20, 20), "u1", external=stored)
    leak.attrs["encoding-type"], leak.attrs["encoding-version"] = "array", "0.2.0"


def soft_link(file, folder):
    file["uns/again"] = h5py.SoftLink("/uns")


def group_linked_into_itself(file, folder):
    file["uns/again"] = file["uns"]


def reference_to_a_nameless_dataset(file, folder):
    """Old files name the categories of a column by reference; anndata follows it anywhere."""
    stored = [(str(folder / "secret.bin"), 0, 4)]
    leak = file.create_dataset(None, (4,), "u1", external=stored)
    del file["obs/patient"]
    codes = file.create_dataset("obs/patient", data=np.array([0, 1, 2, 3] * 5, "i1"))
    codes.attrs["categories"] = leak.ref
    return leak


def reference_to_a_nameless_group(file, folder):
    group = file.create_group(None)
    group["values"] = h5py.ExternalLink(str(folder / "secret.h5"), "/data")
    file["obs/age"].attrs["categories"] = np.array([group.ref], dtype=h5py.ref_dtype)
    return group


@pytest.mark.parametrize(
    ("attack", "named"),
    [
        (external_link, "/obsm/leak is an external link"),
        (external_link_as_group, "/layers/leak is an external link"),
        (external_storage, "'/obsm/leak' is external storage"),
        (soft_link, "/uns/again is a soft link"),
        (group_linked_into_itself, "is linked twice"),
        (reference_to_a_nameless_dataset, "'/obs/patient' refers to an object that is in no group"),
        (reference_to_a_nameless_group, "'/obs/age' refers to an object that is in no group"),
    ],
)
def test_a_file_that_points_outside_itself_is_refused(honest, secret, attack, named):
    sent = honest.with_name("sent.h5ad")
    with h5py.File(honest, "r+") as file:
        nameless = attack(file, honest.parent)
        file.flush()
        shutil.copy(honest, sent)  # while it is open: HDF5 drops nameless objects when they are closed
        del nameless
    with pytest.raises(DataError, match=named) as caught:
        pm.datasets.read_anndata(sent)
    assert str(sent) in str(caught.value)


def test_a_virtual_dataset_is_refused(honest, secret):
    layout = h5py.VirtualLayout((704,), "u1")
    layout[:] = h5py.VirtualSource(str(honest.with_name("secret.h5")), "data", (704,))
    with h5py.File(honest, "r+") as file:
        file.create_virtual_dataset("uns/leak", layout)
    with pytest.raises(DataError, match="'/uns/leak' is a virtual dataset"):
        pm.datasets.read_anndata(honest)


@pytest.mark.filterwarnings("ignore::anndata.OldFormatWarning")
def test_the_attacks_would_work_without_the_guard(honest, secret):
    """Else the tests above would show nothing."""
    with h5py.File(honest, "r+") as file:
        external_storage(file, honest.parent)
        file["uns/leak"] = h5py.ExternalLink(str(honest.with_name("secret.h5")), "/data")
    data = anndata.io.read_h5ad(honest)
    assert bytes(data.obsm["leak"]) == SECRET[:400]
    assert bytes(data.uns["leak"]) == SECRET


def test_references_within_the_file_are_allowed(honest):
    with h5py.File(honest, "r+") as file:
        file["obs/age"].attrs["see"] = file["obs/note"].ref
    assert pm.datasets.read_anndata(honest).shape == (20, 10)


def test_a_small_file_that_declares_much_is_refused(tmp_path):
    path = tmp_path / "bomb.h5ad"
    anndata.AnnData(np.eye(3)).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        file.create_dataset("uns/bomb", (6 * 2**30 // 8,), "f8", chunks=(1024,))
    with pytest.raises(DataError, match=r"bytes on disk and declares 6,442,4"):
        pm.datasets.read_anndata(path, max_bytes=2**40)


def test_many_links_to_one_dataset_count_as_many(tmp_path):
    path = tmp_path / "links.h5ad"
    anndata.AnnData(np.eye(3)).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        file["uns/a0"] = np.zeros(2**20)
        for i in range(1, 400):
            file[f"uns/a{i}"] = file["uns/a0"]
    with pytest.raises(DataError, match="declares"):
        pm.datasets.read_anndata(path, max_bytes=2**40)


def test_max_bytes_bounds_an_honest_file(honest):
    with pytest.raises(DataError, match="max_bytes"):
        pm.datasets.read_anndata(honest, max_bytes=1000)
    assert pm.datasets.read_anndata(honest, max_bytes=10**6).shape == (20, 10)


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n" + b"\0" * 100, b"not an h5ad at all"])
def test_what_is_no_h5ad_is_said(tmp_path, content):
    path = tmp_path / "broken.h5ad"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.h5ad"):
        pm.datasets.read_anndata(path)


def test_a_truncated_h5ad_is_said(honest):
    honest.write_bytes(honest.read_bytes()[:-2000])
    with pytest.raises(DataError, match=r"honest\.h5ad"):
        pm.datasets.read_anndata(honest)


@pytest.mark.filterwarnings("ignore::anndata.OldFormatWarning")
def test_hdf5_that_is_no_anndata_is_said(secret):
    with pytest.raises(DataError, match=r"secret\.h5"):
        pm.datasets.read_anndata(secret.with_name("secret.h5"))


@pytest.mark.parametrize("read", ["read_anndata", "read_table"])
@pytest.mark.parametrize("path", ["http://127.0.0.1/a.csv", "s3://bucket/a.csv", "nowhere/a.csv"])
def test_addresses_and_absent_files_are_refused(read, path):
    with pytest.raises(DataError, match=r"is an address|does not exist"):
        getattr(pm.datasets, read)(path)


def zarr_metadata(folder, change):
    """Apply ``change`` to the metadata of the first array of a zarr folder."""
    file = sorted(path for path in folder.rglob("*") if path.name in (".zarray", "zarr.json"))[-1]
    metadata = json.loads(file.read_text())
    change(metadata)
    file.write_text(json.dumps(metadata))


def pickle_filter(metadata):
    metadata["filters"] = [{"id": "vlen-utf8"}, {"id": "pickle", "protocol": 5}]


def pickle_codec(metadata):
    inner = {"name": "numcodecs.pickle", "configuration": {}}
    metadata["codecs"] = [{"name": "sharding_indexed", "configuration": {"codecs": [inner]}}]


def huge_shape(metadata):
    metadata["shape"] = [2**40]


def huge_element(metadata):
    metadata.pop("dtype", None)
    metadata["data_type"] = {"name": "fixed_length_utf32", "configuration": {"length_bytes": 2**45}}
    metadata["shape"] = [1]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (pickle_filter, "codec.*pickle"),
        (pickle_codec, "codec.*pickle"),
        (huge_shape, "declares"),
        (huge_element, "declares"),
    ],
)
def test_hostile_zarr_metadata_are_refused(honest, change, named):
    folder = honest.with_name("honest.zarr")
    zarr_metadata(folder, change)
    with pytest.raises(DataError, match=named):
        pm.datasets.read_anndata(folder)


def test_a_zarr_chunk_that_is_a_link_is_refused(honest, secret):
    folder = honest.with_name("honest.zarr")
    chunk = next(path for path in (folder / "obsm").rglob("*") if path.is_file() and path.name[0].isdigit())
    chunk.unlink()
    chunk.symlink_to(secret)
    with pytest.raises(DataError, match="symbolic link"):
        pm.datasets.read_anndata(folder)


def test_a_zarr_folder_that_is_a_link_away_is_refused(honest):
    """A linked folder inside is not walked into, and not read either."""
    folder = honest.with_name("honest.zarr")
    (folder / "uns" / "elsewhere").symlink_to(folder / "obs", target_is_directory=True)
    with pytest.raises(DataError, match="symbolic link"):
        pm.datasets.read_anndata(folder)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.txt.gz", "A.CSV.GZ"])
def test_tables(tmp_path, name):
    path = tmp_path / name
    text = "patient,age\nP1,61\n" if ".csv" in name.lower() else "patient\tage\nP1\t61\n"
    path.write_bytes(gzip.compress(text.encode()) if name.lower().endswith("gz") else text.encode())
    assert pm.datasets.read_table(path).to_dict("list") == {"patient": ["P1"], "age": [61]}
    assert pm.datasets.read_table(path, index_col="patient").index.tolist() == ["P1"]


@pytest.mark.parametrize("name", ["a.pkl", "a.csv.zip", "a"])
def test_other_kinds_of_table_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"a\n1\n")
    with pytest.raises(DataError, match="must be"):
        pm.datasets.read_table(tmp_path / name)


def test_a_table_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    from pm_lab.datasets import open as opener

    monkeypatch.setattr(opener, "SMALL_BYTES", 2**20)
    path = tmp_path / "bomb.csv.gz"
    path.write_bytes(gzip.compress(b"0,0,0\n" * 10**6))
    with pytest.raises(DataError, match="declares"):
        pm.datasets.read_table(path)
    with pytest.raises(DataError, match="max_bytes"):
        pm.datasets.read_table(path, max_bytes=1000)
