"""The summary of pm.view in a saved notebook that nobody ran or trusted, and its link to the file."""

import base64
import json
from pathlib import Path
from urllib.parse import urlsplit

import anndata
import nbformat
import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import expect

import pm_lab as pm

SLOW = 60_000
FILE = "view cells.h5ad"

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def saved(page, jupyterlab, tmp_path, monkeypatch):
    """A page with JupyterLab, in whose folder lie an h5ad and a saved notebook with its summary."""
    monkeypatch.chdir(tmp_path)
    obs = pd.DataFrame(
        {"kind": ["a", "b"] * 50, "score": np.arange(100.0)}, index=[f"c{i}" for i in range(100)]
    )
    anndata.AnnData(np.eye(100, 5, dtype="float32"), obs=obs).write_h5ad(FILE)
    output = nbformat.v4.new_output("display_data", {"text/html": pm.view(FILE).html})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("pm.view()", outputs=[output])])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    put(page, jupyterlab, FILE, type="file", format="base64", content=packed(tmp_path / FILE))
    text = base64.b64encode(json.dumps(notebook).encode()).decode()
    put(page, jupyterlab, "view.ipynb", type="file", format="base64", content=text)
    address = urlsplit(jupyterlab)
    page.goto(
        f"{address.scheme}://{address.netloc}/lab/workspaces/view/tree/notebooks/view.ipynb?{address.query}"
    )
    page.locator(".pm-lab-view").wait_for(timeout=SLOW)
    return page


def packed(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def put(page, jupyterlab, name, **model):
    address = urlsplit(jupyterlab)
    token = address.query.removeprefix("token=")
    answer = page.request.put(
        f"{address.scheme}://{address.netloc}/api/contents/notebooks/{name}",
        headers={"Authorization": f"token {token}"},
        data=model,
    )
    assert answer.ok, answer.text()


def test_figures_are_shown_in_a_notebook_that_is_not_trusted(saved):
    images = saved.locator(".pm-lab-view img")
    assert images.count() == 3
    assert images.evaluate_all("all => all.every(image => image.complete && image.naturalWidth > 0)")
    expect(saved.locator(".pm-lab-view")).to_contain_text("a: 50")
    assert saved.refused == []


def test_the_link_opens_the_file_in_a_tab(saved):
    saved.get_by_role("link", name="Open in viewer").click()
    expect(saved.get_by_role("tab", name=FILE)).to_be_visible(timeout=SLOW)
    assert saved.refused == []
