"""Open in notebook: the code makes the selection that the viewer counts, whatever the names are."""

import ast
import json
import shutil

import anndata
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
from nbclient import NotebookClient
from scipy import sparse

import pm_lab as pm

N, GENES = 300, 20
HOSTILE = '\'; raise SystemExit\n""" {x} `\\'


@pytest.fixture
def cells(jp_root_dir):
    """300 cells with columns of every type, missing values, and names that try to leave their quotes."""
    rng = np.random.default_rng(0)
    score = rng.normal(size=N).astype("float32")
    score[:30] = np.nan
    kinds = rng.choice(["B cell", "T cell", HOSTILE, "True"], N).astype(object)
    kinds[rng.random(N) < 0.1] = np.nan
    visits = pd.array(rng.integers(0, 5, N), dtype="Int64")
    visits[:20] = pd.NA
    obs = pd.DataFrame(
        {
            "score": score,
            "kind": pd.Categorical(kinds),
            "stage": pd.Categorical(rng.choice([1.0, 2.0, 3.5], N)),
            "visits": visits,
            "ratio": np.where(np.arange(N) % 3, rng.normal(size=N), np.inf),
            "treated": rng.random(N) < 0.5,
            "relapse": pd.array(rng.choice([True, False, None], N), dtype="boolean"),
            "note": rng.choice(["Straße 1", "STRASSE 2", "lane 3"], N),
            HOSTILE: rng.integers(0, 3, N),
        },
        index=[f"cell-{i}" for i in range(N)],
    )
    counts = sparse.csr_matrix(rng.poisson(0.7, (N, GENES)).astype("float32"))
    names = ["CD3E", HOSTILE, *(f"G{i}" for i in range(GENES - 2))]
    adata = anndata.AnnData(counts, obs=obs, var=pd.DataFrame({"length": np.arange(GENES)}, index=names))
    adata.raw = adata.copy()
    adata.layers["scaled"] = counts.toarray() - 0.5
    adata.obsm["X_umap"] = rng.normal(size=(N, 3)).astype("float32")
    folder = jp_root_dir / "my data"
    folder.mkdir()
    adata.write_h5ad(folder / "cells.h5ad")
    return adata


def made(jp_root_dir, path):
    return nbformat.read(jp_root_dir / path, 4)


@pytest.fixture
def run(cells, jp_root_dir, tmp_path, monkeypatch):
    """Run the code cells one after the other; returns what they leave behind.

    On a copy of the file: HDF5 lets one process open a file in one way only, and the server has it open.
    """
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(jp_root_dir / "my data" / "cells.h5ad", folder)
    monkeypatch.chdir(folder)
    return _run


def _run(notebook):
    names = {}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, "<cell>", "exec"), names)
    plt.close("all")
    return names


def where(column, **rest):
    return {"axis": "obs", "column": column, **rest}


FILTERS = {
    "range": [where("score", kind="range", min=-0.5, max=1)],
    "range or missing": [where("score", kind="range", min=None, max=0.25, missing=True)],
    "not missing": [where("score", kind="range", min=None, max=None)],
    "nullable integer": [where("visits", kind="range", min=2, max=3, missing=True)],
    "values": [where("kind", kind="values", values=["B cell", HOSTILE])],
    "values or missing": [where("kind", kind="values", values=["True"], missing=True)],
    "numeric categories": [where("stage", kind="values", values=["1", "3.5"])],
    "text of numeric categories": [where("stage", kind="contains", text="1")],
    "infinity": [where("ratio", kind="values", values=["inf"])],
    "numbers": [where("visits", kind="values", values=["3", 4])],
    "booleans": [where("treated", kind="values", values=["true"])],
    "nullable booleans": [where("relapse", kind="values", values=[False], missing=True)],
    "hostile column": [where(HOSTILE, kind="values", values=["1", "2"])],
    "text": [where("note", kind="contains", text="strasse")],
    "hostile text": [where("kind", kind="contains", text=HOSTILE.upper())],
    "names": [where("", kind="contains", text="CELL-1")],
    "gene": [{"kind": "gene", "gene": "CD3E", "layer": None, "min": 1, "max": None}],
    "hostile gene": [{"kind": "gene", "gene": HOSTILE, "layer": "scaled", "min": 0.1, "max": 1.5}],
    "raw gene": [{"kind": "gene", "gene": "G3", "layer": "raw/X", "min": None, "max": 0}],
    "lasso": [
        {"kind": "lasso", "key": "X_umap", "x": 2, "y": 0, "polygon": [[-1, -1], [1.5, -1], [0, 2], [0.3, 0]]}
    ],
}
FILTERS["all together"] = [FILTERS[name][0] for name in ("range or missing", "text", "gene", "lasso")]


@pytest.mark.parametrize("filters", FILTERS.values(), ids=FILTERS)
async def test_the_code_selects_what_the_viewer_counts(call, run, jp_root_dir, filters):
    path = "my data/cells.h5ad"
    _, page = await call("anndata/table", path=path, axis="obs", filters=json.dumps(filters), stop=1)
    assert 0 < page["n_matching"] < N, "a filter that keeps all or none tests nothing"
    state = {"filters": filters, "embedding": {"key": None, "x": 0, "y": 1}, "colour": None}
    status, answer = await call("notebook", "POST", {"path": path, "kind": "open", "state": state})
    assert (status, answer) == (201, {"path": "my data/cells.ipynb"})
    notebook = made(jp_root_dir, answer["path"])
    selected = run(notebook)["selected"]
    assert selected.n_obs == page["n_matching"]
    assert f"{page['n_matching']:,} observations" in str(notebook.cells)


async def test_columns_of_genes_are_selected_too(call, run, jp_root_dir):
    filters = [{"kind": "range", "axis": "var", "column": "length", "min": 5, "max": None, "missing": False}]
    body = {"path": "my data/cells.h5ad", "kind": "open", "state": {"filters": filters}}
    _, answer = await call("notebook", "POST", body)
    assert run(made(jp_root_dir, answer["path"]))["selected"].shape == (N, GENES - 5)


@pytest.mark.parametrize(
    "colour",
    [
        None,
        *(
            {"kind": "obs", "name": name, "layer": None}
            for name in ("kind", "score", "relapse", "note", HOSTILE)
        ),
        {"kind": "gene", "name": "CD3E", "layer": None},
        {"kind": "gene", "name": HOSTILE, "layer": "raw/X"},
    ],
    ids=str,
)
async def test_the_embedding_is_drawn_in_its_colours(call, run, jp_root_dir, colour):
    state = {
        "filters": FILTERS["range"] + FILTERS["gene"],
        "embedding": {"key": "X_umap", "x": 0, "y": 2},
        "colour": colour,
    }
    body = {"path": "my data/cells.h5ad", "kind": "open", "state": state}
    _, answer = await call("notebook", "POST", body)
    notebook = made(jp_root_dir, answer["path"])
    assert "sc.pl.embedding" in notebook.cells[-1].source
    run(notebook)


async def test_it_runs_in_a_kernel_of_its_own(call, cells, jp_root_dir, monkeypatch):
    monkeypatch.delenv("MPLBACKEND", raising=False)  # the kernel shall draw into the notebook
    state = {
        "filters": FILTERS["values"],
        "embedding": {"key": "X_umap", "x": 0, "y": 1},
        "colour": {"kind": "obs", "name": "kind", "layer": None},
    }
    body = {"path": "my data/cells.h5ad", "kind": "open", "state": state}
    _, answer = await call("notebook", "POST", body)
    notebook = made(jp_root_dir, answer["path"])
    client = NotebookClient(notebook, resources={"metadata": {"path": str(jp_root_dir / "my data")}})
    await client.async_execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    expected = int(cells.obs["kind"].isin(["B cell", HOSTILE]).sum())
    assert any(f"{expected} of {N} observations" in output.get("text", "") for output in outputs)
    assert any("image/png" in output.get("data", {}) for output in outputs)


async def test_the_explorer_of_a_cohort_opens_in_a_kernel_of_its_own(call, jp_root_dir, monkeypatch):
    monkeypatch.delenv("MPLBACKEND", raising=False)
    pm.datasets.simulate_cohort(n_patients=40, n_cells=600).bulk.write_h5ad(jp_root_dir / "my cohort.h5ad")
    _, page = await call("anndata/structure", path="my cohort.h5ad")
    assert page["cohort"]["is"], "the page offers the explorer for it"
    _, answer = await call("notebook", "POST", {"path": "my cohort.h5ad", "kind": "explore"})
    notebook = made(jp_root_dir, answer["path"])
    client = NotebookClient(notebook, resources={"metadata": {"path": str(jp_root_dir)}})
    await client.async_execute()
    outputs = notebook.cells[-1].outputs
    assert any("application/vnd.jupyter.widget-view+json" in output.get("data", {}) for output in outputs)
    assert not [output for output in outputs if output.get("name") == "stderr"], outputs


async def test_a_zarr_folder_is_loaded_and_selected_from_too(call, cells, jp_root_dir, tmp_path, monkeypatch):
    cells.write_zarr(tmp_path / "cells.zarr")
    shutil.copytree(tmp_path / "cells.zarr", jp_root_dir / "cells.zarr")
    state = {"filters": FILTERS["all together"]}
    _, page = await call(
        "anndata/table", path="cells.zarr", axis="obs", filters=json.dumps(state["filters"]), stop=1
    )
    _, answer = await call("notebook", "POST", {"path": "cells.zarr", "kind": "open", "state": state})
    monkeypatch.chdir(tmp_path)
    selected = _run(made(jp_root_dir, answer["path"]))["selected"]
    assert 0 < selected.n_obs == page["n_matching"]


async def test_nothing_is_ever_overwritten(call, cells, jp_root_dir):
    (jp_root_dir / "my data" / "cells.ipynb").write_text("mine")
    body = {"path": "my data/cells.h5ad", "kind": "open"}
    paths = [(await call("notebook", "POST", body))[1]["path"] for _ in range(2)]
    assert paths == ["my data/cells-2.ipynb", "my data/cells-3.ipynb"]
    assert (jp_root_dir / "my data" / "cells.ipynb").read_text() == "mine"


async def test_a_cohort_opens_in_the_explorer(call, cells, jp_root_dir):
    _, answer = await call("notebook", "POST", {"path": "my data/cells.h5ad", "kind": "explore"})
    assert answer["path"] == "my data/cells-explore.ipynb"
    assert "pm.explore('cells.h5ad')" in made(jp_root_dir, answer["path"]).cells[-1].source


async def test_a_hostile_file_name_stays_a_text(call, cells, jp_root_dir):
    name = "a'); import os; os.abort() #`.h5ad"
    (jp_root_dir / "my data" / "cells.h5ad").rename(jp_root_dir / name)
    for kind in ("open", "explore"):
        _, answer = await call("notebook", "POST", {"path": name, "kind": kind})
        source = "\n".join(
            cell.source for cell in made(jp_root_dir, answer["path"]).cells if cell.cell_type == "code"
        )
        assert name in {node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"path": "my data/none.h5ad", "kind": "open"}, 404),
        ({"path": "../cells.h5ad", "kind": "open"}, 403),
        ({"path": "../cells.h5ad", "kind": "explore"}, 403),
        ({"path": "my data/cells.h5ad", "kind": "shut"}, 400),
        ({"path": 1, "kind": "open"}, 400),
        ({"path": "my data/cells.h5ad", "kind": "open", "state": []}, 400),
        ({"path": "my data/cells.h5ad", "kind": "open", "state": {"filters": [{"kind": "no"}]}}, 400),
        ({"path": "my data/cells.h5ad", "kind": "open", "state": {"filters": "x"}}, 400),
        ({"path": "my data/cells.h5ad", "kind": "open", "state": {"colour": {"kind": "obs"}}}, 400),
        ({"path": "my data/cells.h5ad", "kind": "open", "state": {"embedding": {"key": "U", "x": "1"}}}, 400),
        (
            {
                "path": "my data/cells.h5ad",
                "kind": "open",
                "state": {"filters": [where("absent", kind="values", values=["a"])]},
            },
            400,
        ),
    ],
)
async def test_what_makes_no_notebook_is_refused(call, cells, jp_root_dir, body, expected):
    status, answer = await call("notebook", "POST", body)
    assert status == expected and answer["what"]
    assert list(jp_root_dir.rglob("*.ipynb")) == []
