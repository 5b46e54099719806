"""The explorer in a real JupyterLab: what a person does there gives the numbers of pandas and lifelines."""

import json
import re
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import lifelines
import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from lifelines.statistics import logrank_test
from playwright.sync_api import expect

from pm_lab.biomarkers import Panel

SLOW = 90_000  # milliseconds: a kernel's start and its imports on a busy machine
SCREENSHOTS = Path(__file__).resolve().parents[2] / "build" / "screenshots"
NOTEBOOK = "explorer.ipynb"
TABS = ["cohort", "compare", "patient", "gene", "export"]
COHORT = """
import anndata, numpy as np, pandas as pd

rng = np.random.default_rng(0)
n = 150
place = np.repeat([0, 1, 2], 50)
clinical = pd.DataFrame(
    {
        "age": rng.integers(30, 80, n).astype(float),
        "grade": pd.Categorical(rng.choice(["high", "low"], n)),
        "marker": np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n)),
        "months": rng.exponential(30, n),
        "died": rng.random(n) < 0.6,
    },
    index=[f"person {i:03d}" for i in range(n)],
)
genes = ["ERBB2", "ESR1", "MKI67", *(f"GENE{i}" for i in range(20))]
cohort = anndata.AnnData(rng.normal(8, 2, (n, len(genes))), obs=clinical, var=pd.DataFrame(index=genes))
cohort.obsm["X_map"] = np.c_[place * 10 + rng.random(n), rng.random(n)]
cohort.uns["endpoints"] = {"os": {"time": "months", "event": "died", "unit": "months"}}
drugs = [f"drug {i:02d}" for i in range(16)]
predictions = pd.DataFrame(
    {
        "patient": np.repeat(clinical.index, len(drugs)),
        "drug": np.tile(drugs, n),
        "ln_ic50": rng.normal(1, 2, n * len(drugs)),
        "percentile": rng.uniform(0, 100, n * len(drugs)),
        "out_of_distribution": np.repeat(np.arange(n) % 3 == 0, len(drugs)),
    }
)
half = rng.uniform(0.5, 3, len(predictions))
predictions["lower"], predictions["upper"] = predictions["ln_ic50"] - half, predictions["ln_ic50"] + half
"""

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def given():
    """What the notebook makes: ``clinical``, ``predictions``."""
    names = {}
    exec(COHORT, names)
    return names


@pytest.fixture(scope="module")
def clinical(given):
    return given["clinical"]


@contextmanager
def opened(browser):
    """A page that notes in ``refused`` what it asked for beyond this machine."""
    context = browser.new_context(viewport={"width": 1500, "height": 2400}, accept_downloads=True)
    page = context.new_page()
    page.refused, page.broken = [], []

    def answer(route):
        address = urlsplit(route.request.url)
        if address.scheme in ("file", "data", "blob") or address.hostname in ("127.0.0.1", "localhost"):
            route.continue_()
        else:
            page.refused.append(route.request.url)
            route.abort()

    context.route("**/*", answer)
    page.on("pageerror", lambda error: page.broken.append(str(error)))
    yield page
    context.close()


@pytest.fixture(scope="module")
def application(browser, jupyterlab):
    """The explorer, open in a notebook."""
    sources = [COHORT, "import pm_lab as pm\npm.explore(cohort, predictions=predictions)"]
    empty = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    cells = [{**empty, "source": source} for source in sources]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    keep(jupyterlab, NOTEBOOK, {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 4})
    base, token = jupyterlab.split("/?token=")
    with opened(browser) as page:
        page.goto(f"{base}/lab/workspaces/explorer/tree/{NOTEBOOK}?token={token}")
        ready = page.locator('.jp-NotebookPanel .jp-Notebook-ExecutionIndicator[data-status="idle"]')
        ready.wait_for(timeout=SLOW)
        run_all(page)
        page.locator('[data-name="age"] svg, .jp-RenderedText').first.wait_for(timeout=SLOW)
        assert page.locator(".jp-RenderedText").all_inner_texts() == []
        yield page
        assert page.refused == []
        assert page.broken == []


def contents(jupyterlab, name, body=None):
    """Read a notebook through the server, or write one."""
    base, token = jupyterlab.split("/?token=")
    request = urllib.request.Request(
        f"{base}/api/contents/{name}",
        body,
        {"Authorization": f"token {token}", "Content-Type": "application/json"},
        method="PUT" if body else "GET",
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def keep(jupyterlab, name, notebook):
    body = {"type": "notebook", "format": "json", "content": notebook}
    contents(jupyterlab, name, json.dumps(body).encode())


def menu(page, first, *labels):
    """Choose from the menus of JupyterLab."""
    page.get_by_role("menuitem", name=first, exact=True).click()
    *on_the_way, last = [
        page.locator(".lm-Menu-itemLabel").get_by_text(label, exact=True) for label in labels
    ]
    for entry in on_the_way:
        entry.hover()
    last.click()


def run_all(page):
    """Run the cells; what is asked for while the kernel is still being connected can be lost."""
    started = page.locator(".jp-CodeCell .jp-InputPrompt", has_text=re.compile(r"\[(\*|\d+)\]"))
    for _ in range(5):
        menu(page, "Run", "Run All Cells")
        page.wait_for_timeout(3_000)
        if started.count():
            return


@pytest.fixture
def explorer(application):
    """The cohort tab with no filter."""
    show(application, "cohort")
    clear = application.get_by_role("button", name="clear filters")
    if clear.is_enabled():
        clear.click()
    expect(selection(application)).to_have_text(re.compile("^all 150 patients"), timeout=SLOW)
    last = application.get_by_role("group", name="Map of the patients")  # drawn after all the others
    expect(last).to_contain_text("150 of 150 patients are selected", timeout=SLOW)
    return application


def selection(page):
    return page.locator(".pm-selection")


def show(page, tab):
    page.locator(f'[role="tab"][data-key="{tab}"]').click()
    expect(page.locator(f'[role="tab"][data-key="{tab}"]')).to_have_attribute("aria-selected", "true")
    settled(page)


def brush(page, name, start, end):
    """Drag over a share of a histogram."""
    box = page.locator(f'[data-name="{name}"] .pm-area').bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + start * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + end * box["width"], y, steps=10)
    page.mouse.up()
    settled(page)


def settled(page):
    """Nothing that was done is still under way in the kernel."""
    expect(page.locator('.pm-figure[aria-busy="true"]')).to_have_count(0, timeout=SLOW)


def limits(page, name):
    """The thresholds that stand under a histogram."""
    return [
        float(page.locator(f'[data-name="{name}"] [data-key="{key}"]').input_value())
        for key in ("from", "to")
    ]


def test_brush_moves_counts_bars_and_curve(explorer, clinical):
    brush(explorer, "age", 0.3, 0.7)
    expect(explorer.locator('[data-name="age"] .pm-brush')).to_be_visible()
    expect(explorer.locator('[data-name="age"] [data-key="clear"]')).to_be_visible()
    low, high = limits(explorer, "age")
    some = clinical[(clinical["age"] >= low) & (clinical["age"] < high)]
    assert 0 < len(some) < 150
    expect(selection(explorer)).to_have_text(f"{low:g} ≤ age < {high:g}: {len(some)} of 150 patients")
    high_grade = explorer.locator('[data-name="grade"] .pm-bar').first
    total, part = (clinical["grade"] == "high").sum(), (some["grade"] == "high").sum()
    expect(high_grade).to_have_attribute("aria-label", f"high: {part} of {total}")
    explorer.get_by_role("button", name="Survival: os as a table").click()
    rows = explorer.get_by_role("region", name="Survival: os, table").locator("tbody tr").all_inner_texts()
    explorer.get_by_role("button", name="Survival: os as a table").click()
    fitted = lifelines.KaplanMeierFitter().fit(some["months"], some["died"])
    shown = [row.split("\t") for row in rows if row.startswith("selected") and "–" not in row]
    assert len(shown) > 3
    for _, time, at_risk, share, *_ in shown:
        assert float(share) == pytest.approx(float(fitted.predict(float(time))), abs=5e-4)
        assert int(at_risk) == (some["months"] >= float(time)).sum()


def test_undo_and_redo(explorer):
    brush(explorer, "age", 0.2, 0.6)
    expect(selection(explorer)).to_have_text(re.compile("≤ age <"))
    said = selection(explorer).inner_text()
    explorer.get_by_role("button", name="undo").click()
    expect(selection(explorer)).to_have_text("all 150 patients")  # the whole drag is one step
    explorer.get_by_role("button", name="redo").click()
    expect(selection(explorer)).to_have_text(said)


def test_keyboard_alone(explorer, clinical):
    explorer.get_by_role("slider", name="age from").focus()
    explorer.keyboard.press("PageUp")
    expect(selection(explorer)).to_have_text(re.compile("^age ≥"))
    explorer.keyboard.press("ArrowRight")
    settled(explorer)
    low = float(explorer.locator('[data-name="age"] [data-key="from"]').input_value())
    expect(selection(explorer)).to_have_text(
        f"age ≥ {low:g}: {(clinical['age'] >= low).sum()} of 150 patients"
    )
    explorer.keyboard.press("Escape")
    expect(selection(explorer)).to_have_text("all 150 patients")
    bar = explorer.locator('[data-name="grade"] .pm-bar').first
    bar.focus()
    explorer.keyboard.press("Enter")
    expect(selection(explorer)).to_contain_text("grade = high")
    explorer.locator('.pm-explorer [role="tab"][aria-selected="true"]').focus()
    explorer.keyboard.press("ArrowRight")
    expect(explorer.locator('[role="tab"][data-key="compare"]')).to_be_focused()
    expect(explorer.get_by_role("button", name="set group A")).to_be_visible(timeout=SLOW)


def test_missing_values_are_a_category_of_their_own(explorer, clinical):
    explorer.locator('[data-name="marker"] .pm-missing').click()
    n = clinical["marker"].isna().sum()
    expect(selection(explorer)).to_have_text(f"marker missing: {n} of 150 patients")


def test_lasso_with_the_mouse_and_by_coordinates(explorer):
    box = explorer.locator(".pm-points canvas").bounding_box()
    x, y, width, height = (box[name] for name in ("x", "y", "width", "height"))
    corners = [(0.01, 0.02), (0.3, 0.02), (0.3, 0.97), (0.01, 0.97), (0.01, 0.06)]
    explorer.mouse.move(x + 0.01 * width, y + 0.02 * height)
    explorer.mouse.down()
    for a, b in corners[1:]:
        explorer.mouse.move(x + a * width, y + b * height, steps=6)
    explorer.mouse.up()
    expect(selection(explorer)).to_have_text(re.compile(": 50 of 150 patients$"))  # the left one of three
    explorer.get_by_text("Select by coordinates").click()
    fields = explorer.locator(".pm-corners input")
    fields.nth(0).fill("5")
    explorer.locator(".pm-corners").get_by_role("button", name="select").click()
    expect(selection(explorer)).to_have_text(re.compile(": 100 of 150 patients$"))


def test_patient_picked_in_the_table_and_by_search(explorer):
    show(explorer, "patient")
    explorer.get_by_role("button", name="person 004").first.click()
    expect(explorer.get_by_text("Patient person 004")).to_be_visible(timeout=SLOW)
    similar = explorer.get_by_role("region", name="Similar patients, table").locator("tbody tr")
    expect(similar).to_have_count(10, timeout=SLOW)
    field = explorer.get_by_role("combobox", name="patient")
    field.fill("077")
    expect(explorer.get_by_role("option", name="person 077")).to_be_visible(timeout=SLOW)
    field.press("ArrowDown")
    field.press("Enter")
    expect(explorer.get_by_text("Patient person 077")).to_be_visible(timeout=SLOW)


def test_gene_search_completes(explorer):
    show(explorer, "gene")
    field = explorer.get_by_role("combobox", name="gene")
    field.fill("er")
    expect(explorer.get_by_role("option", name="ERBB2")).to_be_visible(timeout=SLOW)
    field.press("ArrowDown")
    field.press("Enter")
    expect(explorer.get_by_role("group", name="ERBB2 by group")).to_be_visible(timeout=SLOW)


def test_export_and_restore(explorer, clinical, tmp_path):
    explorer.locator('[data-name="grade"] .pm-bar').first.click()
    expect(selection(explorer)).to_contain_text("grade = high")
    said = selection(explorer).inner_text()
    show(explorer, "export")
    explorer.get_by_label("hide small counts").last.uncheck()
    with explorer.expect_download(timeout=SLOW) as download:
        explorer.get_by_role("button", name="selection as CSV").click()
    table = pd.read_csv(download.value.path(), comment="#")
    assert list(table["patient"]) == list(clinical.index[clinical["grade"] == "high"])
    token = explorer.locator(".pm-text-token").inner_text()
    assert "person" not in token
    explorer.get_by_role("button", name="clear filters").click()
    expect(selection(explorer)).to_have_text("all 150 patients")
    explorer.get_by_label("token or JSON").fill(token)
    explorer.get_by_label("token or JSON").press("Tab")
    explorer.get_by_role("button", name="restore", exact=True).click()
    expect(selection(explorer)).to_have_text(said, timeout=SLOW)


def choose(page, name):
    """The patient of this name, on the patient tab."""
    show(page, "patient")
    field = page.get_by_role("combobox", name="patient")
    field.fill(name)
    expect(page.get_by_role("option", name=name)).to_be_visible(timeout=SLOW)
    field.press("ArrowDown")
    field.press("Enter")
    expect(page.get_by_text(f"Patient {name}")).to_be_visible(timeout=SLOW)
    settled(page)


@pytest.mark.parametrize("name", ["person 003", "person 004"])
def test_drugs_are_those_of_the_predictions(explorer, given, name):
    """Of one patient who is unlike the cell lines, and of one who is not."""
    choose(explorer, name)
    table = given["predictions"]
    table = table[table["patient"] == name].sort_values("percentile").reset_index(drop=True)
    card = explorer.get_by_role("group", name="All predicted drugs", exact=True)
    columns = [text.strip(" ▾▴") for text in card.locator("thead th").all_inner_texts()]
    rows = []
    for page in range(2):
        expect(card.locator("tbody tr")).to_have_count((10, 6)[page], timeout=SLOW)
        rows += [row.locator("td").all_inner_texts() for row in card.locator("tbody tr").all()]
        if page == 0:
            card.get_by_role("button", name="next").click()
            settled(explorer)
    shown = pd.DataFrame(rows, columns=columns)
    assert list(shown["rank"]) == [str(i + 1) for i in range(16)]
    assert list(shown["drug"]) == list(table["drug"])
    assert set(shown["out_of_distribution"]) == {"yes" if name == "person 003" else "no"}
    for column in ("ln_ic50", "lower", "upper", "percentile"):
        assert list(shown[column]) == [f"{value:.3g}" for value in table[column]]
    warned = card.get_by_text("(out of distribution)")
    assert warned.count() == (name == "person 003")
    chart = explorer.get_by_role("group", name="Predicted drugs: the first 14 of 16")
    first = f"percentile {table['percentile'][0]:.0f}{', unlike' if name == 'person 003' else ''}"
    expect(chart.get_by_text(first, exact=True).first).to_be_visible()


@pytest.fixture
def panel_file(tmp_path):
    """A panel of three of the cohort's genes, in a file."""
    weights = {"ERBB2": 0.5, "ESR1": -0.3, "MKI67": 0.2}
    made = Panel("trio", "survival", "os", list(weights), list(weights.values()), [8.0] * 3, [2.0] * 3)
    made.save(tmp_path / "panel.json")
    return tmp_path / "panel.json"


def test_groups_by_the_risk_of_a_panel(explorer, given, panel_file):
    show(explorer, "compare")
    risk = Panel.load(panel_file).predict(given["cohort"])
    high = (risk >= risk.quantile(0.6)).to_numpy()
    for name, part in (("A", "the upper part of a risk"), ("B", "the lower part of a risk")):
        explorer.get_by_label(f"group {name} is").select_option(label=part)
        explorer.get_by_label(f"panel file of {name}").fill(str(panel_file))
        explorer.get_by_label(f"panel file of {name}").press("Tab")
        explorer.get_by_label(f"quantile of {name}").fill("0.6")
        explorer.get_by_label(f"quantile of {name}").press("Tab")
        explorer.get_by_role("button", name=f"set group {name}").click()
        settled(explorer)
    numbers = explorer.locator(".pm-numbers", has_text="risk of the panel")
    expect(numbers).to_contain_text(re.compile(rf"{high.sum()}\s*A: .*risk of the panel"), timeout=SLOW)
    expect(numbers).to_contain_text(re.compile(rf"{(~high).sum()}\s*B: risk of the panel <"))
    clinical = given["clinical"]
    tested = logrank_test(
        clinical["months"][high], clinical["months"][~high], *(clinical["died"][m] for m in (high, ~high))
    )
    row = explorer.get_by_role("row", name=re.compile("^log-rank p"))
    assert float(row.locator("td").inner_text()) == pytest.approx(tested.p_value, rel=0.06)
    for name in "AB":
        explorer.get_by_label(f"group {name} is").select_option(label="not set")
        explorer.get_by_role("button", name=f"set group {name}").click()
        settled(explorer)


def main_view(page, tab):
    """A tab with all that it can show: some selected, a patient and a gene looked at."""
    brush(page, "age", 0.3, 0.7)
    expect(selection(page)).to_have_text(re.compile("≤ age <"))
    if tab == "patient":
        return choose(page, "person 003")
    show(page, tab)
    if tab == "compare":  # the selected and the rest are its groups
        expect(page.get_by_role("group", name="Survival of A and B")).to_be_visible(timeout=SLOW)
    if tab == "gene":
        page.get_by_role("combobox", name="gene").fill("ERBB2")
        page.get_by_role("combobox", name="gene").press("Enter")
        expect(page.get_by_role("group", name="ERBB2 by group")).to_be_visible(timeout=SLOW)


def picture_of(page, name):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"explorer_{name}.png")


def serious(page):
    """What axe-core finds in the application, as (rule, element)."""
    found = Axe().run(page, context=".pm-explorer").response
    assert len(found["passes"]) > 10
    worst = [v for v in found["violations"] if v["impact"] in ("serious", "critical")]
    return [(v["id"], v["nodes"][0]["html"]) for v in worst]


@pytest.mark.parametrize("tab", TABS)
def test_no_serious_violation_of_accessibility(explorer, tab):
    main_view(explorer, tab)
    picture_of(explorer, tab)
    assert serious(explorer) == []


def theme(page, name):
    """Another theme from the menu of JupyterLab."""
    menu(page, "Settings", "Theme", name)
    light = "false" if "Dark" in name else "true"
    expect(page.locator("body")).to_have_attribute("data-jp-theme-light", light, timeout=SLOW)


@pytest.fixture(scope="module")
def dark(application):
    theme(application, "JupyterLab Dark")
    yield
    theme(application, "JupyterLab Light")


LIGHTNESS = """([selector, property]) => {
  const colour = getComputedStyle(document.querySelector(selector))[property];
  const [r, g, b] = colour.match(/[\\d.]+/g).map(Number);
  return (r + g + b) / 3;
}"""
POINTS = """canvas => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const found = new Set();
  for (let i = 0; i < data.length; i += 4)
    if (data[i + 3] === 255) found.add(`${data[i]} ${data[i + 1]} ${data[i + 2]}`);
  return [...found].sort();
}"""


def look_of(page):
    """Lightness of the ground, a word, a bar; the colours of the points on the canvas."""
    parts = {
        ".pm-explorer .pm-card": "backgroundColor",
        ".pm-selection": "color",
        "i.pm-some": "backgroundColor",
    }
    lightness = [page.evaluate(LIGHTNESS, [*part]) for part in parts.items()]
    return lightness, page.locator(".pm-points canvas").evaluate(POINTS)


def test_colours_follow_the_theme(explorer, request):
    (ground, word, bar), points = look_of(explorer)
    assert ground > 192 and word < 96
    request.getfixturevalue("dark")
    card = explorer.locator(".pm-explorer .pm-card").first
    expect(card).not_to_have_css("background-color", "rgb(255, 255, 255)")
    settled(explorer)
    (dark_ground, dark_word, dark_bar), dark_points = look_of(explorer)
    assert dark_ground < 64 and dark_word > 160
    assert dark_bar > bar
    assert points == ["0 114 178"]  # painted anew, not only restyled
    assert dark_points == ["86 180 233"]


@pytest.mark.parametrize("tab", TABS)
def test_no_serious_violation_in_the_dark(explorer, dark, tab):
    main_view(explorer, tab)
    picture_of(explorer, f"{tab}_dark")
    assert serious(explorer) == []


def test_the_summary_for_saved_notebooks_is_hidden_while_the_application_lives(explorer):
    assert explorer.locator(".pm-lab-static").count() == 1
    expect(explorer.locator(".pm-lab-static")).to_be_hidden()


@pytest.fixture(scope="module")
def saved(application, jupyterlab):
    """The notebook as JupyterLab saves it, with the state of its widgets, after patients were looked at."""
    choose(application, "person 077")
    show(application, "cohort")
    menu(application, "Settings", "Save Widget State Automatically")
    for _ in range(30):
        menu(application, "File", "Save Notebook")
        application.wait_for_timeout(500)
        notebook = contents(jupyterlab, NOTEBOOK)["content"]
        if "widgets" in notebook["metadata"]:
            return notebook
    pytest.fail("JupyterLab saved no state of widgets")


def test_a_saved_notebook_holds_no_patient(saved):
    state = saved["metadata"]["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    assert sum(one["model_name"] == "AnyModel" for one in state.values()) > 10
    assert any("pm-lab-static" in json.dumps(cell.get("outputs", "")) for cell in saved["cells"])
    planted = re.compile(r"person[ _]?\d{3}")
    assert planted.findall(json.dumps(state)) == []
    assert planted.findall(json.dumps(saved)) == []


def test_a_notebook_without_a_kernel_shows_the_summary(saved, browser, jupyterlab):
    unknown = {name: value for name, value in saved["metadata"].items() if name == "widgets"}
    keep(jupyterlab, "saved.ipynb", {**saved, "metadata": unknown})
    base, token = jupyterlab.split("/?token=")
    with opened(browser) as page:
        page.goto(f"{base}/lab/workspaces/saved/tree/saved.ipynb?token={token}")
        page.get_by_role("dialog").get_by_role("button", name="No Kernel", exact=True).click(timeout=SLOW)
        summary = page.locator(".pm-lab-static")
        expect(summary).to_be_visible(timeout=SLOW)
        expect(summary).to_contain_text("150")
        expect(summary.locator("img")).to_be_visible()
        picture_of(page, "saved")
        assert page.locator(".pm-figure").count() == 0
        assert page.refused == []
