"""The welcome notebook as a person meets it: in JupyterLab, with no network."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

WELCOME = Path(__file__).resolve().parents[2] / "notebooks" / "00_welcome.ipynb"
SLOW = 60_000  # milliseconds: the first page of a fresh server, a kernel's start

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def welcome(page, jupyterlab):
    """The page that `make lab` opens, once the notebook is drawn."""
    page.goto(jupyterlab)
    page.locator(".jp-NotebookPanel .jp-RenderedMarkdown h1").first.wait_for(timeout=SLOW)
    return page


def test_lab_opens_on_the_welcome_notebook(welcome):
    title = json.loads(WELCOME.read_text())["cells"][0]["source"]
    title = "".join(title).splitlines()[0].removeprefix("# ")
    heading = welcome.locator(".jp-NotebookPanel .jp-RenderedMarkdown h1").first
    expect(heading).to_contain_text(title)
    expect(welcome).to_have_title(re.compile("^00_welcome"))
    assert welcome.refused == []


def test_no_question_about_news(welcome):
    expect(welcome.locator(".jp-NotebookPanel .jp-Notebook-ExecutionIndicator")).to_have_attribute(
        "data-status", "idle", timeout=SLOW
    )
    assert welcome.locator(".jp-toast, .Toastify__toast").count() == 0


def test_first_cell_runs(welcome):
    cell = welcome.locator(".jp-NotebookPanel .jp-CodeCell").first
    expect(welcome.locator(".jp-NotebookPanel .jp-Notebook-ExecutionIndicator")).to_have_attribute(
        "data-status", "idle", timeout=SLOW
    )
    welcome.get_by_role("menuitem", name="Edit").click()
    welcome.get_by_role("menuitem", name="Clear Outputs of All Cells").click()
    cell.scroll_into_view_if_needed()
    cell.locator(".jp-InputPrompt").click()
    welcome.keyboard.press("Shift+Enter")
    expect(cell.locator(".jp-InputPrompt")).to_have_text("[1]:", timeout=SLOW)
    assert cell.locator('[data-mime-type="application/vnd.jupyter.stderr"]').count() == 0
    assert cell.locator('[data-mime-type="application/vnd.jupyter.error"]').count() == 0
    assert welcome.refused == []


def test_a_request_to_elsewhere_would_be_seen(page, jupyterlab):
    """Otherwise the empty lists above would say nothing."""
    page.goto(jupyterlab)
    page.evaluate("fetch('https://example.org/news').catch(() => null)")
    assert page.refused == ["https://example.org/news"]
