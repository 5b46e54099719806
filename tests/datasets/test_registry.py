"""What is registered, and what a user is told about it."""

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pm_lab as pm
from pm_lab.datasets import registry
from pm_lab.datasets.readers import READERS
from pm_lab.errors import DataError, PmLabError, ReaderMissing

SETS = registry.registered()
COLUMNS = ["name", "what", "n_obs", "n_vars", "licence", "citation", "size_mb", "where", "reader"]


def test_every_file_of_the_manifest_is_registered_as_it_stands_there(mirror):
    if not (mirror / "MANIFEST.tsv").is_file():
        pytest.skip("only a mirror that was made apart from this package has a MANIFEST.tsv")
    with (mirror / "MANIFEST.tsv").open(newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    manifest = {
        (row["dataset"], row["file"]): (
            f"https://raw.githubusercontent.com/{row['repository']}/{row['commit']}/"
            + row["path_in_repository"].replace(" ", "%20"),
            int(row["bytes"]),
            row["sha256"],
        )
        for row in rows
    }
    ours = {
        (data_set.name, file.name): (file.address, file.bytes, file.sha256)
        for data_set in SETS.values()
        for file in data_set.files
    }
    assert len(rows) == 564
    assert ours == manifest


def test_pins_are_whole():
    files = [file for data_set in SETS.values() for file in data_set.files]
    assert len({file.name for file in files}) == len(files)
    for file in files:
        assert re.fullmatch("[0-9a-f]{64}", file.sha256) and re.fullmatch("[0-9a-f]{40}", file.commit)
        assert file.bytes > 0
        assert ".." not in Path(file.name).parts and not Path(file.name).is_absolute()


@pytest.mark.parametrize("data_set", SETS.values(), ids=SETS)
def test_every_set_is_described(data_set):
    assert data_set.what and data_set.licence
    assert bool(data_set.files) != bool(data_set.bundled_in)
    assert "doi:10." in data_set.citation or "no DOI" in data_set.citation or data_set.name == "simulated"
    described = (Path(__file__).parents[2] / "data" / "README.md").read_text(encoding="utf-8")
    assert f"`{data_set.name}`" in described


def test_available_says_where_each_set_is(tiny, tiny_mirror, cache):
    def where():
        table = pm.datasets.available()
        assert list(table.columns) == COLUMNS
        assert set(table["name"]) == set(SETS)
        return table.set_index("name")["where"]

    assert where()[["simulated", "pbmc68k_reduced", "gse7390"]].eq("bundled").all()
    assert where()["kang2018"] == "to fetch"
    assert where()["tiny"] == "mirror"
    pm.datasets.load("tiny")
    assert where()["tiny"] == "cached"
    (tiny_mirror / "tiny" / "genes.csv").unlink()
    assert where()["tiny"] == "cached"  # what was built is enough to load
    next((cache / "tiny").glob("*.h5ad")).unlink()
    assert where()["tiny"] == "to fetch"


def test_available_tells_size_and_reader():
    table = pm.datasets.available().set_index("name")
    assert table.loc["gdsc1", "size_mb"] == pytest.approx(20.79)
    assert table.loc["kang2018", ["n_obs", "n_vars"]].tolist() == [2000, 9015]
    assert table["reader"].sum() == len(READERS)


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(DataError, match=r"'kang2019'.*'kang2018'"):
        pm.datasets.load("kang2019")
    with pytest.raises(DataError, match="available"):
        pm.datasets.citation("qqq")


@pytest.mark.parametrize("call", ["load", "fetch", "verify", "citation"])
@pytest.mark.parametrize("name", [["kang2018"], None, 3], ids=str)
def test_a_name_that_is_no_text_is_refused(call, name):
    with pytest.raises(DataError, match=f"one text.*not by {re.escape(repr(name))}"):
        getattr(pm.datasets, call)(name)


@pytest.mark.parametrize("name", sorted(set(SETS) - set(READERS)))
def test_a_set_without_a_reader_says_so_and_names_its_files(name):
    with pytest.raises(ReaderMissing, match="no reader") as caught:
        pm.datasets.load(name)
    for file in SETS[name].files[:10]:
        assert file.name in str(caught.value) and file.address in str(caught.value)
    assert isinstance(caught.value, PmLabError)


def test_citation_tells_licence_and_limits():
    text = pm.datasets.citation("kang2018")
    assert "doi:10.1038/nbt.4042" in text and "Licence:" in text and "no p-values" in text


def test_datasets_are_known_without_heavy_imports():
    code = (
        "import sys, pm_lab as pm; pm.datasets\n"
        "from pm_lab.datasets.registry import registered; registered()\n"
        "print([m for m in ('numpy', 'pandas', 'anndata', 'pooch', 'requests', 'h5py') if m in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"
