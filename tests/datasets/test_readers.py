"""What load() returns: the real sets as published, and what is kept of them for the next time."""

import errno
import os
import warnings
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

import pm_lab as pm
from pm_lab import keys
from pm_lab.datasets import readers
from pm_lab.errors import PmLabWarning


@pytest.fixture
def real(mirror, monkeypatch):
    """The real data sets of the mirror, and nothing else."""
    monkeypatch.setenv("PM_LAB_MIRROR", str(mirror))
    monkeypatch.setenv("PM_LAB_OFFLINE", "1")
    return pm.datasets.load


def same(one, two):
    pd.testing.assert_frame_equal(one.obs, two.obs)
    pd.testing.assert_frame_equal(one.var, two.var)
    assert (one.X != two.X).sum() == 0
    assert one.X.dtype == two.X.dtype and type(one.X) is type(two.X)
    assert set(one.layers) == set(two.layers)
    assert dict(one.uns[keys.RECORD]["load"]) == dict(two.uns[keys.RECORD]["load"])
    return True


def is_counts(matrix):
    return matrix.dtype == np.float32 and matrix.data.min() > 0 and not (matrix.data % 1).any()


def test_kang2018(real):
    cells = real("kang2018")
    assert cells.shape == (2000, 9015)
    assert cells.obs["condition"].value_counts().to_dict() == {"ctrl": 1000, "stim": 1000}
    assert cells.obs_names.is_unique and cells.var_names.is_unique
    assert cells.X.format == "csr" and is_counts(cells.X)
    assert (cells.layers[keys.COUNTS] != cells.X).nnz == 0
    assert not np.shares_memory(cells.X.data, cells.layers[keys.COUNTS].data)
    assert (cells.X.nnz, cells.X[(cells.obs["condition"] == "stim").to_numpy()].nnz) == (1129806, 571399)
    assert "doi:10.1038/nbt.4042" in cells.uns[keys.RECORD]["load"]["citation"]
    assert same(cells, real("kang2018"))


def test_kang2018_shows_the_published_response(real):
    """Genes and cells are matched with their values: interferon-beta raises ISG15, IFI6 and IFIT3 most."""
    cells = real("kang2018")
    scale = 1e4 / np.asarray(cells.X.sum(axis=1)).ravel()
    log = cells.X.multiply(scale[:, None]).tocsr().log1p()
    stimulated = (cells.obs["condition"] == "stim").to_numpy()
    difference = np.asarray(log[stimulated].mean(axis=0) - log[~stimulated].mean(axis=0)).ravel()
    top = cells.var_names[np.argsort(-difference)[:4]]
    assert {"ISG15", "IFI6", "IFIT3"} <= set(top)


def test_airway(real):
    cohort = real("airway")
    counts = cohort.layers[keys.COUNTS]
    assert cohort.shape == (8, 64102) and (counts.sum(axis=0) > 0).sum() == 33469
    assert not (counts % 1).any() and counts.sum(axis=1).astype(int)[0] == 20637971
    assert pd.crosstab(cohort.obs["celltype"], cohort.obs["dex"]).eq(1).all(axis=None)
    assert (cohort.obs["patient"].astype(str) == cohort.obs["celltype"].astype(str)).all()
    assert counts[0, cohort.var_names.get_loc("ENSG00000000003")] == 679
    assert counts[7, cohort.var_names.get_loc("ENSG00000000419")] == 508
    assert "doi:10.1371/journal.pone.0099625" in cohort.uns[keys.RECORD]["load"]["citation"]


def test_colorectal(real):
    cohort = real("colorectal")
    counts = cohort.layers[keys.COUNTS]
    assert cohort.shape == (10, 19719) and not (counts % 1).any()
    assert cohort.obs["group"].value_counts().to_dict() == {"CASE": 5, "CTRL": 5}
    assert cohort.obs.loc["CASE_1", "source"] == "metastasized cancer"
    assert cohort.var.loc["TSPAN6", "width"] == 12883
    assert counts[0, cohort.var_names.get_loc("TSPAN6")] == 776426
    # Sums of coverage: hundreds of times what a sequencer gives in reads, and kept to the last digit.
    assert counts.sum(axis=1).min() > 3.6e9 and counts.sum(axis=1)[0] == 5835484126


@pytest.mark.parametrize(
    ("name", "shape", "sizes", "gene", "first"),
    [
        ("p53", (50, 10100), {"MUT": 33, "WT": 17}, "TACC2", 46.05),
        ("leukemia", (48, 9020), {"ALL": 24, "AML": 24}, "AADAC", -121.2),
    ],
)
def test_the_examples_of_the_broad(real, name, shape, sizes, gene, first):
    cohort = real(name)
    assert cohort.shape == shape and cohort.var_names.is_unique
    assert cohort.obs[name].value_counts().to_dict() == sizes
    assert cohort[:, gene].X[0, 0] == first
    assert keys.COUNTS not in cohort.layers


def test_kang2018_donors(real):
    cells = real("kang2018_donors")
    assert cells.shape == (1556, 1267)
    assert is_counts(cells.X) and (cells.layers[keys.COUNTS] != cells.X).nnz == 0
    # The numbers of cells that the file itself states of each sample.
    by_sample = cells.obs.groupby(["condition", keys.PATIENT], observed=True).size().to_dict()
    expected = {("ctrl", "101"): 454, ("ctrl", "107"): 296, ("stim", "101"): 500, ("stim", "107"): 306}
    assert by_sample == expected
    assert cells.obs["author_cell_type"].nunique() == 5
    assert "CD79A" in cells.var_names and not cells.var_names.str.contains("ENSG").any()
    assert cells.var_names.is_unique
    monocytes = (cells.obs["author_cell_type"] == "CD14+ Monocytes").to_numpy()
    lyz = cells.obs_vector("LYZ")
    assert lyz[monocytes].mean() > 5 * lyz[~monocytes].mean()
    assert cells.obs_names.is_unique
    assert same(cells, real("kang2018_donors"))


def test_gene_sets(real):
    sets = real("gene_sets")
    assert {name: len(library) for name, library in sets.items()} == {
        "hallmark": 50,
        "go_bp": 6036,
        "c2_broad_2005": 522,
    }
    assert "STAT1" in sets["hallmark"]["HALLMARK_INTERFERON_GAMMA_RESPONSE"]


def test_breast_signatures(real):
    tables = real("breast_signatures")
    assert {name: table.shape for name, table in tables.items()} == {
        "pam50": (50, 5),
        "gene70": (70, 9),
        "gene76": (76, 10),
    }
    pam50 = tables["pam50"]
    assert list(pam50.columns) == ["Basal", "Her2", "LumA", "LumB", "Normal"]
    assert pam50.loc["ESR1"].idxmax() == "LumA" and pam50.loc["ERBB2"].idxmax() == "Her2"


@pytest.mark.parametrize(
    ("name", "shape", "events", "positive", "without_symbol"),
    [("nki", (150, 922), 53, 112, 50), ("vdx", (150, 966), 47, 85, 26)],
)
def test_breast_cancers_with_time_to_metastasis(real, name, shape, events, positive, without_symbol):
    cohort = real(name)
    assert cohort.shape == shape and cohort.obs["patient"].is_unique
    endpoint = cohort.uns[keys.ENDPOINTS]["dmfs"]
    assert endpoint == {"time": "dmfs_time", "event": "dmfs_event", "unit": "days"}
    assert cohort.obs["dmfs_event"].sum() == events
    assert (cohort.obs["er"] == "positive").sum() == positive
    assert (cohort.var["symbol"] == "").sum() == without_symbol
    assert set(cohort.uns[keys.ENDPOINTS]) == {"dmfs", "rfs"} | ({"os"} if name == "nki" else set())
    # Genes and patients are matched with their values: tumours with the receptor express its gene.
    receptor = np.asarray(cohort[:, cohort.var["symbol"] == "ESR1"].X).mean(axis=1)
    is_positive = (cohort.obs["er"] == "positive").to_numpy()
    spread = receptor.std()
    assert receptor[is_positive].mean() > receptor[~is_positive].mean() + spread
    assert same(cohort, real(name)) if name == "vdx" else np.isnan(cohort.X).sum() == 361


def test_what_is_unknown_stays_unknown(real):
    nki, vdx = real("nki").obs, real("vdx").obs
    assert nki["dmfs_time"].isna().sum() == 4 and nki["published_gene70"].isna().sum() == 21
    assert vdx["age"].isna().sum() == 29 and vdx["grade"].isna().sum() == 64
    # The file's "size" is in cm in one set and a T category in the other; they must not be mixed up.
    assert "size" not in vdx and vdx["t_category"].value_counts().to_dict() == {
        "1": 60,
        "2": 58,
        "3": 2,
        "4": 1,
    }
    assert vdx.loc[vdx["age"].isna(), "series"].eq("VDXN").all()
    assert nki.loc["NKI_123", ["age", "size", "er", "grade", "dmfs_time"]].tolist() == [
        48,
        2,
        "positive",
        "3",
        5209,
    ]


def test_golub(real):
    cohort = real("golub")
    assert cohort.shape == (72, 7129)
    assert cohort.obs["leukemia"].value_counts().to_dict() == {"ALL": 47, "AML": 25}
    assert cohort.obs["set"].value_counts().to_dict() == {"train": 38, "test": 34}
    # Zyxin, the paper's best gene for myeloid leukaemia.
    zyxin = np.asarray(cohort[:, "X95735_at"].X).ravel()
    myeloid = (cohort.obs["leukemia"] == "AML").to_numpy()
    assert np.median(zyxin[myeloid]) > 3 * np.median(zyxin[~myeloid])


def test_pbmc68k_reduced():
    cells = pm.datasets.load("pbmc68k_reduced")
    assert cells.shape == (700, 765) and cells.raw.shape == (700, 765)
    assert cells.X.min() < 0  # scaled
    assert cells.raw.X.min() == 0 and (cells.raw.X.data % 1).any()  # log-normalised
    assert cells.obs["bulk_labels"].nunique() == 10


def test_gse7390():
    cohort = pm.datasets.load("gse7390")
    assert cohort.shape == (198, 76)
    endpoint = cohort.uns[keys.ENDPOINTS]["dmfs"]
    assert endpoint == {"time": "dmfs_time", "event": "dmfs_event", "unit": "days"}
    assert cohort.obs[endpoint["event"]].sum() == 51
    assert cohort.obs[endpoint["time"]].between(0, 30 * 365).all()
    assert list(cohort.obs.columns[:5]) == [keys.PATIENT, "age", "er", "grade", "size"]
    assert cohort.obs[keys.PATIENT].is_unique
    assert cohort.obs["grade"].value_counts()["unknown"] == 2
    assert cohort.var_names.str.fullmatch(r"\d+(_\w)*_at").all()


@pytest.mark.parametrize("name", ["pbmc68k_reduced", "gse7390"])
def test_bundled_sets_need_neither_cache_nor_network(name, cache, monkeypatch):
    monkeypatch.setenv("PM_LAB_OFFLINE", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pm.datasets.load(name)
    assert not cache.exists()


@pytest.fixture
def built(tiny, tiny_mirror, cache):
    """The path of what was built of the tiny set, and the data."""
    data = pm.datasets.load("tiny")
    (path,) = cache.rglob("*.h5ad")
    return path, data


def test_the_second_load_reads_what_was_built(built, tiny_mirror, monkeypatch):
    def unwanted(*paths):
        raise AssertionError("read again")

    monkeypatch.setitem(readers.READERS, "tiny", readers.Reader(unwanted))
    for file in tiny_mirror.rglob("*.*"):
        file.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert same(pm.datasets.load("tiny"), built[1])


def flipped(content):
    """One changed byte within the compressed values of X."""
    changed = bytearray(content)
    with_values = content.index(b"\x78\x01") + 8  # a zlib stream of the fast level begins like that
    changed[with_values] ^= 0xFF
    return bytes(changed)


@pytest.mark.parametrize(
    "damage",
    [flipped, lambda content: content[:-100], lambda content: b"", lambda content: b"HDF" * 1000],
    ids=["a byte flipped", "truncated", "empty", "not HDF5"],
)
def test_a_damaged_built_file_is_built_again_and_said(built, damage):
    path, data = built
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(PmLabWarning, match="built again"):
        assert same(pm.datasets.load("tiny"), data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert same(pm.datasets.load("tiny"), data)


def test_a_foreign_built_file_is_built_again_and_said(built):
    path, data = built
    anndata.AnnData(np.eye(2, dtype="float32")).write_h5ad(path)
    with pytest.warns(PmLabWarning, match="not written by pm_lab"):
        assert same(pm.datasets.load("tiny"), data)


def test_a_built_file_with_a_link_to_elsewhere_is_built_again_and_said(built):
    import h5py

    path, data = built
    with h5py.File(path, "r+") as file:
        file["uns/leak"] = h5py.ExternalLink("/etc/hostname", "/")
    with pytest.warns(PmLabWarning, match="external link"):
        assert same(pm.datasets.load("tiny"), data)


def test_a_newer_reader_does_not_read_what_an_older_one_built(built, monkeypatch):
    newer = replace(readers.READERS["tiny"], version=2, read=lambda *paths: anndata.AnnData(np.ones((3, 3))))
    monkeypatch.setitem(readers.READERS, "tiny", newer)
    assert pm.datasets.load("tiny").shape == (3, 3)


def test_a_disk_that_is_full_when_the_built_file_is_written(tiny, tiny_mirror, cache, monkeypatch):
    def fill(path, content):
        with path.open("wb") as stream:
            stream.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Path, "write_bytes", fill)
    with pytest.warns(PmLabWarning, match="not kept for next time") as caught:
        assert pm.datasets.load("tiny").shape == (2, 2)
    assert len(caught) == 1 and "No space left" in str(caught[0].message)
    assert [path for path in cache.rglob("*") if path.is_file()] == []
