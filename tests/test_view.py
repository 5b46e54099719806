"""pm.view and %load_ext pm_lab: what an AnnData shows of itself, and what it keeps for itself."""

import base64
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from urllib.parse import unquote

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import pm_lab as pm
from pm_lab.errors import DataError

HOSTILE = '<img src=x onerror="alert(1)"><script>alert(2)</script>\x00'
SAFE_TAGS = {
    "section",
    "p",
    "strong",
    "table",
    "caption",
    "tbody",
    "tr",
    "th",
    "td",
    "img",
    "br",
    "small",
    "a",
}
SAFE_TAGS |= {"ul", "li", "code"}


class Page(HTMLParser):
    """Tags, images and text of the summary; text is also in the alternatives of images."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.images, self.links, self.texts, self.attributes = set(), [], [], [], set()
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag == "img":
            self.images.append(dict(attrs))
            self.texts.append(dict(attrs)["alt"])
        if tag == "a":
            self.links.append(dict(attrs)["href"])

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return " ".join(self.texts)


def seen(adata, **options):
    return Page(pm.view(adata, **options).html)


def cells(n_patients=20, cells_each=10, **obs):
    """Cells of patients, with counts, log values and an embedding."""
    n = n_patients * cells_each
    random = np.random.default_rng(0)
    counts = sparse.csr_matrix(random.poisson(0.5, (n, 30)).astype("float32"))
    table = pd.DataFrame({"patient": np.repeat([f"secret{i:02d}" for i in range(n_patients)], cells_each)})
    table = table.assign(**obs).set_index(pd.Index([f"barcode-{i}" for i in range(n)]))
    adata = anndata.AnnData(counts.log1p(), obs=table, layers={"counts": counts})
    adata.var_names = [f"GENE{i}" for i in range(30)]
    adata.obsm["X_umap"] = random.normal(size=(n, 2))
    adata.uns["note"] = "kept"
    return adata


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_what_it_holds():
    summary = pm.view(cells())
    for text in (Page(summary.html).text, summary.text, repr(summary)):
        assert "200 cells × 30 genes" in text
        assert "X" in text and "log: fractions, none negative" in text
        assert 'layers["counts"]' in text and "counts: whole numbers only" in text
        assert "X_umap (200 × 2)" in text and "note" in text
    assert "Warning" not in summary.text


def test_how_x_was_judged_is_said():
    few = anndata.AnnData(np.eye(3, dtype="float32"))
    assert "judged from all values" in seen(few).text
    many = anndata.AnnData(np.ones((2000, 200), "float32"))
    assert "judged from a sample of 100,000 of the values" in seen(many).text
    scaled = anndata.AnnData(np.random.default_rng(0).normal(size=(30, 5)))
    assert "scaled: negative values" in seen(scaled).text
    assert "unknown: no value other than zero" in seen(anndata.AnnData(np.zeros((3, 2)))).text


def test_nothing_but_static_html():
    page = seen(cells(group=["a", "b"] * 100, score=np.arange(200.0)))
    assert page.tags <= SAFE_TAGS
    assert page.attributes <= {"class", "aria-label", "style", "scope", "width", "height", "alt", "src"}
    assert all(image["src"].startswith("data:image/svg+xml;base64,") for image in page.images)
    for image in page.images:
        ET.fromstring(base64.b64decode(image["src"].partition(",")[2]))


def test_bars_and_histograms_say_their_counts():
    page = seen(cells(group=["a", "b"] * 100, score=np.arange(200.0)))
    assert "a: 100 (all patients)" in page.text
    histogram = next(image["alt"] for image in page.images if image["alt"])
    assert histogram.startswith("Histogram of score.")
    whole = anndata.AnnData(np.ones((100, 2)), obs=pd.DataFrame({"x": np.arange(100.0)}))
    counts = [int(n) for n in re.findall(r": (\d+)", seen(whole).images[0]["alt"])]
    assert sum(counts) == 100


def test_no_names_of_rows_and_no_identifiers():
    obs = {"mail": [f"ann{i}@example.org" for i in range(200)], "sample": [f"S{i:03d}" for i in range(200)]}
    summary = pm.view(cells(**obs))
    for shown in (summary.html, summary.text):
        assert not re.search(r"secret\d\d|barcode-\d|@example|S\d\d\d", shown)
    assert "'mail' may identify patients (e-mail addresses)" in summary.text
    assert "20 patients" in summary.html


@pytest.mark.parametrize("patient", [True, False])
def test_names_of_observations_that_identify_are_said_and_not_shown(patient):
    adata = cells()
    adata.obs_names = [f"ann{i}@example.org" for i in range(200)]
    if not patient:
        del adata.obs["patient"]
    text = pm.view(adata).text
    assert "names of observations may identify patients (e-mail addresses)" in text and "@example" not in text
    assert "obs column 'patient'" not in text


def test_people_are_counted_not_rows():
    few = np.where(np.arange(200) < 40, "rare", np.where(np.arange(200) < 120, "some", "many"))
    page = seen(cells(kind=few))  # 4, 8 and 8 of 20 patients, with 40, 80 and 80 cells
    assert "rare: <10 patients" in page.text and not re.search(r": (40|80)\b", page.text)
    assert "rare: 40 (4 patients)" in seen(cells(kind=few), hide_small_counts=False).text
    by_rows = seen(cells(kind=few), patient_key="kind", hide_small_counts=False)
    assert "3 patients" in by_rows.text


def test_a_small_count_cannot_be_worked_out():
    kind = np.where(np.arange(200) < 30, "rare", np.where(np.arange(200) < 140, "some", "many"))
    kind = kind.astype(object)
    page = seen(cells(n_patients=200, cells_each=1, kind=kind))
    assert all(f"{name}: {n}" in page.text for name, n in (("rare", 30), ("some", 110), ("many", 60)))
    kind[25:30] = None
    kind[:21] = "many"
    page = seen(cells(n_patients=200, cells_each=1, kind=kind))
    assert "rare: <10" in page.text and "missing: <10" in page.text
    assert "many: hidden" in page.text or "some: hidden" in page.text


def test_values_that_all_few_patients_share_are_counted():
    page = seen(cells(n_patients=4, cells_each=50, kind=["T", "B"] * 100))
    assert "T: 100 (all patients)" in page.text
    assert "<10 patients: who is counted" in page.text


def test_no_end_of_a_histogram_is_that_of_few_people():
    score = np.r_[np.full(5, -900.0), np.arange(190.0), np.full(5, 7777.0)]
    page = seen(cells(n_patients=200, cells_each=1, score=score))
    assert "7777" not in page.text and "-900" not in page.text
    counts = [int(n) for n in re.findall(r": (\d+)", page.images[0]["alt"])]
    assert min(counts) >= 10 and sum(counts) == 200


def test_missing_values_of_numbers_are_counted_and_hidden():
    score = np.arange(200.0)
    score[:50] = np.nan
    page = seen(cells(n_patients=200, cells_each=1, score=score))
    assert "missing: 50" in page.text
    score[3:50] = 5
    page = seen(cells(n_patients=200, cells_each=1, score=score))
    assert "missing: <10" in page.text and re.search(r": hidden|: <10", page.images[0]["alt"])


def test_a_few_numbers_are_not_drawn():
    page = seen(anndata.AnnData(np.eye(6), obs=pd.DataFrame({"age": [41.5, 52, 63, 74, 58, 61]})))
    assert not page.images and not re.search("41|52|63|74|58|61", page.text)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (pd.array([1, None] * 100, dtype="Int64"), "1: 100"),
        (pd.array([True, None] * 100, dtype="boolean"), "yes: 100"),
        (pd.Categorical(["b", "a"] * 100, categories=["b", "a", "unused"], ordered=True), "2 values"),
        ([None] * 200, "no value"),
        ([np.inf] * 200, "no finite value"),
        ([[1, 2], [3]] * 100, "[1, 2]: 100"),
        (["x", 1] * 100, "x: 100"),
        (pd.to_datetime(["2020-01-01"] * 200), "not drawn"),
        (np.full(200, 7.25), "not drawn"),
        ([f"note {i % 190}" for i in range(200)], "not listed"),
        ([1 + 2j, 1] * 100, "100"),
        ([f"level {i % 20}" for i in range(200)], "12 further values"),
    ],
)
def test_columns_of_every_kind(values, said):
    assert said in seen(cells(n_patients=200, cells_each=1, column=values)).text


def test_hostile_text_stays_text():
    adata = cells(**{HOSTILE: [HOSTILE, "b"] * 100, "score" + HOSTILE: np.arange(200.0)})
    adata.uns[HOSTILE], adata.layers[HOSTILE] = 1, adata.X
    adata.var[HOSTILE] = 1
    page = seen(adata)
    assert page.tags <= SAFE_TAGS and not [name for name in page.attributes if name.startswith("on")]
    assert "<script>" in page.text and "\x00" not in page.text


def test_an_anndata_with_nothing_in_it():
    for empty in (anndata.AnnData(), anndata.AnnData(shape=(5, 0)), anndata.AnnData(np.ones((0, 3)))):
        summary = pm.view(empty)
        assert f"{empty.n_obs} observations × {empty.n_vars} genes" in summary.text
        assert Page(summary.html).tags <= SAFE_TAGS


def test_warnings():
    adata = anndata.AnnData(
        np.random.default_rng(0).poisson(1, (2000, 700)).astype("float64") + 0.5,
        layers={"counts": np.ones((2000, 700))},
    )
    adata.obs_names = ["row77"] * 2 + [f"c{i}" for i in range(1998)]
    adata.var_names = ["TP53"] * 2 + [f"g{i}" for i in range(698)]
    adata.X[:, 0] = np.nan
    text = pm.view(adata).text
    assert "1 names of observations occur more than once" in text and "row77" not in text
    assert "1 names of genes occur more than once (TP53)" in text
    assert 'layers["counts"] holds counts as float64' in text
    assert "X holds NaN or infinite values" in text
    assert "no raw counts" not in text
    del adata.layers["counts"]
    assert "no raw counts were found" in pm.view(adata).text


def test_many_rows_are_counted_exactly():
    n = 2_000_000
    random = np.random.default_rng(0)
    obs = pd.DataFrame({f"number{i}": random.normal(size=n) for i in range(5)})
    obs["patient"] = random.integers(0, 300, n)
    obs["kind"] = pd.Categorical.from_codes(np.arange(n) % 4, list("abcd"))
    obs["text"], obs["flag"], obs["id"] = obs["patient"].astype(str), obs["patient"] > 9, np.arange(n)
    obs.index = obs.index.astype(str)
    page = seen(anndata.AnnData(np.zeros((n, 1), "float32"), obs=obs))
    assert page.text.count("500,000 (all patients)") == 4
    assert len([image for image in page.images if image["alt"]]) == 6


def test_a_view_of_another_is_not_copied_whole():
    adata = cells(kind=["a", "b"] * 100)
    part = adata[adata.obs["kind"] == "a", :7]
    text = seen(part).text
    assert part.is_view and "100 cells × 7 genes" in text and "a: 100" in text


def test_raw_is_looked_at():
    adata = cells()
    adata.X, adata.raw = adata.X - 1 if not sparse.issparse(adata.X) else adata.X, adata
    del adata.layers["counts"]
    assert "raw" in pm.view(adata).text and "no raw counts" in pm.view(adata).text


# Files


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "my cells #1.h5ad"
    adata = cells(kind=["a", "b"] * 100)
    adata.raw = adata
    adata.write_h5ad(path, compression="gzip")
    return path


def test_a_file_shows_the_same_as_what_is_in_it(file):
    memory, backed = anndata.read_h5ad(file), anndata.read_h5ad(file, backed="r")

    def body(summary):
        return summary.text.partition("AnnData")[2]

    assert body(pm.view(file)) == body(pm.view(str(file))) == body(pm.view(backed)) == body(pm.view(memory))


def test_a_view_of_a_file_is_looked_at(file):
    backed = anndata.read_h5ad(file, backed="r")
    for part in (backed[:100], backed[backed.obs["kind"] == "a", ["GENE7", "GENE3"]], backed[[5, 3, 1]]):
        text = seen(part).text
        assert f"{part.n_obs} cells × {part.n_vars} genes" in text and "log: fractions" in text
    assert "× 30 genes" in seen(backed[[]]).text


def test_the_link_leads_to_the_file_from_the_folder_of_the_notebook(file, tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    for folder, link in ((".", "./my cells #1.h5ad"), ("notebooks", "../my cells #1.h5ad")):
        monkeypatch.chdir(tmp_path / folder)
        for shown in (seen(file), seen(anndata.read_h5ad(file, backed="r"))):
            assert [unquote(one).removeprefix("./") for one in shown.links] == [link.removeprefix("./")]
            assert "#" not in shown.links[0] and "Open in viewer" in shown.text
            assert str(tmp_path) not in shown.text


def test_no_folder_of_the_machine_is_named(file, monkeypatch):
    monkeypatch.chdir("/usr/lib")
    page = seen(file)
    assert page.links == [] and "open it from the file browser" in page.text
    assert file.parent.name not in page.text


def test_no_layer_of_a_file_is_read_whole(file, monkeypatch):
    read = []
    original = h5py.Dataset.__getitem__
    monkeypatch.setattr(
        h5py.Dataset, "__getitem__", lambda self, key: read.append(self.name) or original(self, key)
    )
    pm.view(file)
    assert "/X/data" in read and not [name for name in read if re.search("indices|obsm|uns", name)]


def test_files_that_cannot_be_trusted_or_read(tmp_path, file):
    linked = tmp_path / "linked.h5ad"
    linked.write_bytes(file.read_bytes())
    with h5py.File(linked, "a") as opened:
        opened["uns/other"] = h5py.ExternalLink("/etc/hosts", "/x")
    with pytest.raises(DataError, match="external link"):
        pm.view(linked)
    cut = tmp_path / "cut.h5ad"
    cut.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"cut\.h5ad cannot be read"):
        pm.view(cut)
    other = tmp_path / "other.h5ad"
    with h5py.File(other, "w") as opened:
        opened["x"] = 1
    with pytest.raises(DataError, match="no obs and no var"):
        pm.view(other)
    with pytest.raises(DataError, match="does not exist"):
        pm.view(tmp_path / "none.h5ad")


def test_a_zarr_folder(tmp_path):
    cells(kind=["a", "b"] * 100).write_zarr(tmp_path / "x.zarr")
    page = seen(tmp_path / "x.zarr")
    assert "a: 100" in page.text and page.links == []


def test_an_old_file_with_tables_of_records(tmp_path):
    obs = np.array([(b"c1", 1.0), (b"c2", 2.0)], dtype=[("index", "S2"), ("x", "f8")])
    var = np.array([(b"g1",), (b"g2",), (b"g3",)], dtype=[("index", "S2")])
    with h5py.File(tmp_path / "old.h5ad", "w") as opened:
        opened["X"], opened["obs"], opened["var"] = np.eye(2, 3), obs, var
        opened["obsm"] = np.zeros(2, [("X_pca", "f4", 2)])
    assert "2 observations × 3 genes" in pm.view(tmp_path / "old.h5ad").text
    assert "X_pca" in pm.view(tmp_path / "old.h5ad").text


def test_a_new_file_is_written_and_none_replaced(tmp_path):
    adata = cells(kind=["a", "b"] * 100)
    path = tmp_path / "new.h5ad"
    page = seen(adata, path=path)
    assert page.links == ["new.h5ad"] and "was written" in page.text
    assert adata.obs["kind"].dtype == object  # writing changes nothing
    assert [one.name for one in tmp_path.iterdir()] == ["new.h5ad"]
    before = path.read_bytes()
    adata.obs["kind"] = "c"
    page = seen(adata, path="new.h5ad")
    assert "left as it is" in page.text and "values were not compared" in page.text
    with pytest.raises(DataError, match="holds another AnnData"):
        pm.view(cells(n_patients=3), path=path)
    assert path.read_bytes() == before


def test_places_where_no_file_is_written(tmp_path, file):
    adata = cells()
    (tmp_path / "text.h5ad").write_text("mine")
    for path, words in (
        (tmp_path / "text.h5ad", "not an h5ad"),
        (tmp_path / "x.csv", "end in .h5ad"),
        (tmp_path / "nowhere" / "x.h5ad", "folder does not exist"),
    ):
        with pytest.raises(DataError, match=words):
            pm.view(adata, path=path)
    assert (tmp_path / "text.h5ad").read_text() == "mine"
    with pytest.raises(DataError, match="already has a file"):
        pm.view(anndata.read_h5ad(file, backed="r"), path=tmp_path / "y.h5ad")
    with pytest.raises(DataError, match="a file already"):
        pm.view(file, path=tmp_path / "y.h5ad")


def test_a_backed_anndata_whose_file_is_gone(file):
    backed = anndata.read_h5ad(file, backed="r")
    backed.file.close()
    file.unlink()
    with pytest.raises(DataError, match=r"my cells #1\.h5ad, is no longer where it was"):
        pm.view(backed)


def test_what_is_no_anndata():
    with pytest.raises(DataError, match="DataFrame"):
        pm.view(pd.DataFrame())
    with pytest.raises(DataError, match="no column 'who'"):
        pm.view(cells(), patient_key="who")


# In a notebook

ORDERS = [
    "import pm_lab as pm; pm.view; import pm_lab.view",
    "import pm_lab.view; import pm_lab as pm",
    "import pm_lab as pm; from pm_lab.view import view; assert pm.view is view",
    "from pm_lab.view import writing; import pm_lab as pm",
    "import pm_lab as pm; pm.load_ipython_extension",
]


@pytest.mark.parametrize("order", ORDERS)
def test_view_can_be_called_whatever_was_imported_first(order):
    code = f"{order}; import anndata, numpy; print(pm.view(anndata.AnnData(numpy.eye(2))).text)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.startswith("AnnData: 2 observations × 2 genes"), done.stderr


def test_load_ext_shows_each_anndata_and_unload_ext_ends_it():
    code = """
from IPython.testing.globalipapp import start_ipython
shell = start_ipython()
shell.display_formatter.active_types = ["text/plain", "text/html"]  # as in a kernel
shell.run_line_magic("load_ext", "pm_lab")
import json, sys
from pathlib import Path
assert "anndata" not in sys.modules
import anndata, numpy as np
adata = anndata.AnnData(np.eye(3))
shown = shell.display_formatter.format(adata)[0]
adata.write_h5ad("gone.h5ad")
gone = anndata.read_h5ad("gone.h5ad", backed="r")
gone.file.close()
Path("gone.h5ad").unlink()
without = shell.display_formatter.format(gone)[0]
shell.run_line_magic("load_ext", "pm_lab")  # twice does nothing
shell.run_line_magic("unload_ext", "pm_lab")
print(json.dumps([shown, without, shell.display_formatter.format(adata)[0]]))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    loaded, gone, unloaded = json.loads(done.stdout.splitlines()[-1])
    assert "no longer where it was" in gone["text/html"] and "Traceback" not in done.stdout + done.stderr
    assert "pm-lab-view" in loaded["text/html"] and "n_obs × n_vars = 3 × 3" in loaded["text/plain"]
    assert "text/html" not in unloaded


def test_it_stays_in_a_saved_notebook_and_its_html_page(tmp_path):
    import nbformat
    from nbconvert import HTMLExporter

    summary = pm.view(cells(kind=["a", "b"] * 100))
    data = {"text/html": summary._repr_html_(), "text/plain": repr(summary)}
    output = nbformat.v4.new_output("execute_result", data, execution_count=1)
    cell = nbformat.v4.new_code_cell("pm.view(cells)", outputs=[output], execution_count=1)
    notebook = nbformat.reads(
        nbformat.writes(nbformat.v4.new_notebook(cells=[cell])), nbformat.current_nbformat
    )
    page = HTMLExporter().from_notebook_node(notebook)[0]
    assert "a: 100 (all patients)" in page
    assert all(image["src"] in page for image in Page(summary.html).images)
