"""The HTML pages that `make notebooks` writes, in a browser without a network."""

import execute
import nbformat
import pytest


@pytest.mark.parametrize("path", execute.find(), ids=lambda path: path.stem)
def test_page_shows_the_notebook_and_asks_for_nothing(path, page, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    written = tmp_path / "page.html"
    written.write_text(execute.to_html(notebook, path.stem), encoding="utf-8")
    page.goto(written.as_uri(), wait_until="networkidle")
    title = notebook.cells[0].source.splitlines()[0].removeprefix("# ")
    assert title in page.locator("h1").first.inner_text()
    assert page.refused == []


def test_a_page_that_asks_is_seen(page, tmp_path):
    written = tmp_path / "page.html"
    written.write_text('<script src="https://example.org/plotly.js"></script>')
    page.goto(written.as_uri())
    assert page.refused == ["https://example.org/plotly.js"]
