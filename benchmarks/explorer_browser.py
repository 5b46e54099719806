"""The explorer in a real JupyterLab and headless Chromium, drawn by software.

Called by ``python benchmarks/explorer.py --browser``. Needs playwright and Chromium (PM_LAB_CHROMIUM, or one
on the PATH). Every request beyond this machine is refused; one that was made counts as a miss.

display
    10,000 patients × 2,000 genes with a map, as explorer.py makes them: from the key that runs it to the
    last change of the page, with the cohort open already, and with its opening. All frames that the sockets
    brought in that time count as data, but for our own code.
code
    Bytes of our code that came by the sockets for one explorer, and for a second one on the same page.
large
    2,000,000 patients, one column of 5,000 categories: first display, a brush, and each tab, until nothing is
    under way; the counts shown are those of pandas, and no text of an error is on the page.
embedding
    1,000,000 cells on the patient tab: from an event to pixels that can be read, two frames later (so some
    33 ms even where nothing is drawn). The peer is a bare jupyter-scatter of the same points and size in the
    same page, where it is installed; it is no dependency of ours.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

HERE = Path(__file__).resolve().parent
TARGETS = {"seconds": 3.0, "bytes": 3_000_000, "redraw": 250.0}
SLOW = 180_000  # milliseconds
FLAGS = [
    *["--no-sandbox", "--disable-gpu", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
    *["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-pings"],
]
CODE = b"FIGURES.scatter = function"  # stands once in our code, and nowhere else
REPEATS = 9

COHORT = f"""
import runpy
import pm_lab as pm
cohort, cells = runpy.run_path({str(HERE / "explorer.py")!r})["make_cohort"](10_000)
cohort.obsm["X_map"] = cohort.X[:, :2]
"""
OPEN = "data = pm.explorer.CohortData.open(cohort, cells=cells)"
CELLS = """
import anndata, numpy as np, pandas as pd, pm_lab as pm
from scipy import sparse
rng, n = np.random.default_rng(0), 1_000_000
names = pd.Index([f"P{i:03d}" for i in range(200)])
kinds = rng.integers(0, 8, n)
where = (rng.normal(0, 6, (8, 2))[kinds] + rng.normal(0, 1.2, (n, 2))).astype(np.float32)
about = pd.DataFrame({
    "patient": pd.Categorical.from_codes(rng.integers(0, 200, n), names),
    "cell_type": pd.Categorical.from_codes(kinds, [f"type {i}" for i in range(8)]),
})
about.index = about.index.astype(str)
cells = anndata.AnnData(sparse.csr_matrix((n, 1), dtype=np.float32), about, obsm={"X_umap": where})
clinical = pd.DataFrame({"age": rng.normal(58, 12, 200)}, names)
state = pm.explorer.CohortState(pm.explorer.CohortData.open(clinical, cells=cells))
state.select_patient("P000")
state.set_setting("view", "patient")
"""
LARGE = """
import numpy as np, pandas as pd, pm_lab as pm
rng, n = np.random.default_rng(0), 2_000_000
table = pd.DataFrame({
    "age": rng.integers(18, 89, n),
    "code": pd.Categorical.from_codes(rng.integers(0, 5000, n), [f"code {i}" for i in range(5000)]),
    "marker": rng.normal(size=n),
    "months": rng.exponential(30, n),
    "died": rng.random(n) < 0.6,
})
"""
OPEN_LARGE = 'pm.explore(table, endpoint={"time": "months", "event": "died", "unit": "months"})'
PEER = """
import json, jscatter
width, height = json.load(open("size.json"))
jscatter.Scatter(x=where[:, 0], y=where[:, 1], width=width, height=height).show()
"""

WATCH = """() => {
  window.lastChange = 0;
  const ours = ({ target }) => target.nodeType === 1 && target.closest(".jp-OutputArea");
  const now = () => { window.lastChange = performance.now(); };
  const watch = new MutationObserver((all) => all.some(ours) && requestAnimationFrame(now));
  watch.observe(document.querySelector(".jp-Notebook"), { childList: true, subtree: true });
}"""
RENDERER = """() => {
  const gl = document.createElement("canvas").getContext("webgl");
  const more = gl?.getExtension("WEBGL_debug_renderer_info");
  return gl ? gl.getParameter(more ? more.UNMASKED_RENDERER_WEBGL : gl.RENDERER) : "no WebGL";
}"""
REDRAW = """async ([place, what, times]) => {
  const found = [...document.querySelectorAll(`${place} canvas`)];
  const canvas = found.sort((a, b) => b.width * b.height - a.width * a.height)[0];
  canvas.scrollIntoView({ block: "center" });
  await new Promise((done) => setTimeout(done, 500));
  const { left, top, width, height } = canvas.getBoundingClientRect();
  const frame = () => new Promise(requestAnimationFrame);
  const read = (w, h) => canvas.getContext("2d").getImageData(0, 0, w, h).data;
  const add = (sum, value, i) => (sum * 31 + value * (i % 97)) % 1000003;
  const sum = () => read(canvas.width, canvas.height).reduce(add, 7);
  const at = (dx) => ({
    clientX: left + width / 2 + dx, clientY: top + height / 2, bubbles: true, cancelable: true, button: 0,
    buttons: 1, pointerId: 1, isPrimary: true, pointerType: "mouse", view: window,
  });
  const both = (name, event) => {
    canvas.dispatchEvent(new PointerEvent(`pointer${name}`, event));
    canvas.dispatchEvent(new MouseEvent(`mouse${name}`, event));
  };
  const turned = (i) => ({ ...at(0), buttons: 0, deltaY: i % 2 ? 100 : -100, ctrlKey: true });
  const body = document.body.dataset;
  const theme = body.jpThemeLight;
  const act = {
    zoom: (i) => canvas.dispatchEvent(new WheelEvent("wheel", turned(i))),
    pan: (i) => both("move", at(12 * (i + 1))),
    recolour: (i) => { body.jpThemeLight = String(body.jpThemeLight !== "true"); },
  }[what];
  if (what === "pan") { both("over", at(0)); both("enter", at(0)); both("down", at(0)); }
  const taken = [];
  let changed = 0;
  for (let i = 0; i < times; i++) {
    const before = sum();
    const start = performance.now();
    act(i);
    await frame();
    await frame();
    read(1, 1); // waits until everything is drawn
    taken.push(performance.now() - start);
    changed += sum() !== before;
    await new Promise((done) => setTimeout(done, 150));
  }
  if (what === "pan") both("up", at(12 * times));
  body.jpThemeLight = theme;
  return { taken, changed, size: [canvas.width, canvas.height, Math.round(width), Math.round(height)] };
}"""


@contextmanager
def jupyterlab(files: dict[str, Path] | None = None):
    """Address and token of a JupyterLab without the settings of whoever runs this.

    ``files``: what its folder holds by which name; the server half of pm_lab is on then.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex()
    folder = Path(tempfile.mkdtemp(prefix="explorer-"))
    shutil.copy(HERE.parent / "jupyter_lab_config.py", folder)
    names = ["JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"]
    names += ["JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR"]
    own = {name: str(folder / name.lower()) for name in names}
    if files:
        _serve(files, folder, Path(own["JUPYTER_CONFIG_DIR"]))
    command = [sys.executable, "-m", "jupyterlab", "--config=jupyter_lab_config.py", "--no-browser"]
    command += [f"--IdentityProvider.token={token}", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    with (folder / "log.txt").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, env={**os.environ, **own}, stdout=log, stderr=log)
    base = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                ask(base, token, "status")
                break
            except OSError:
                time.sleep(0.2)
        else:
            raise SystemExit(f"JupyterLab did not start:\n{(folder / 'log.txt').read_text()[-2000:]}")
        yield base, token
    finally:
        server.terminate()
        server.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _serve(files: dict[str, Path], folder: Path, settings: Path) -> None:
    settings.mkdir()
    server = {"ServerApp": {"jpserver_extensions": {"pm_lab.server": True}}}
    (settings / "jupyter_server_config.json").write_text(json.dumps(server))
    for name, path in files.items():
        try:
            os.link(path, folder / name)  # no copy, and no link that leads out of the folder
        except OSError:
            shutil.copy(path, folder / name)


def ask(base: str, token: str, path: str, body: bytes | None = None) -> None:
    request = urllib.request.Request(
        f"{base}/api/{path}", body, {"Authorization": f"token {token}"}, method="PUT" if body else "GET"
    )
    urllib.request.urlopen(request, timeout=10).close()


@contextmanager
def notebook(browser, lab, name: str, cells: list[str]):
    """A page with these cells and a kernel. ``frames``: what its sockets brought."""
    empty = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    content = {"metadata": kernel, "nbformat": 4, "nbformat_minor": 4}
    content["cells"] = [{**empty, "source": source} for source in cells]
    base, token = lab
    body = {"type": "notebook", "format": "json", "content": content}
    ask(base, token, f"contents/{name}.ipynb", json.dumps(body).encode())
    context = browser.new_context(viewport={"width": 1500, "height": 2400})
    page = context.new_page()
    page.frames_received, page.refused = [], []

    def answer(route):
        local = urlsplit(route.request.url).hostname in (None, "127.0.0.1", "localhost")
        if not local:
            page.refused.append(route.request.url)
        route.continue_() if local else route.abort()

    def keep(payload):
        page.frames_received.append(payload if isinstance(payload, bytes) else payload.encode())

    context.route("**/*", answer)
    page.on("websocket", lambda socket: socket.on("framereceived", keep))
    page.goto(f"{base}/lab/workspaces/{name}/tree/{name}.ipynb?token={token}")
    idle = page.locator('.jp-NotebookPanel .jp-Notebook-ExecutionIndicator[data-status="idle"]')
    idle.wait_for(timeout=SLOW)
    page.wait_for_timeout(3_000)  # what is asked for while the kernel is still being connected can be lost
    page.evaluate(WATCH)
    yield page
    context.close()


def run_cell(page, place: int, drawn: str | None = None, least: int = 1) -> float:
    """Run one cell; seconds until the page changed for the last time, ``least`` of ``drawn`` being there."""
    cell = page.locator(".jp-Notebook .jp-CodeCell").nth(place)
    prompt = cell.locator(".jp-InputArea-prompt")
    prompt.click()
    page.wait_for_timeout(300)
    page.frames_received.clear()
    start = page.evaluate("performance.now()")
    page.keyboard.press("Control+Enter")
    give_up = time.monotonic() + SLOW / 1000
    while time.monotonic() < give_up:
        page.wait_for_timeout(100)
        failed = cell.locator('[data-mime-type="application/vnd.jupyter.stderr"], .jp-RenderedText')
        if failed.count() and "Error" in (said := failed.first.inner_text()):
            raise SystemExit(f"a cell failed: {said[-1500:]}")
        if not re.search(r"\[\d+\]", prompt.inner_text()):
            continue
        if drawn is None:
            return 0.0
        last, now = page.evaluate("[window.lastChange, performance.now()]")
        if cell.locator(drawn).count() >= least and last > start and now - last > 2_000:
            return (last - start) / 1e3
    raise SystemExit(f"cell {place} did not end with {least} of {drawn}")


def received(page) -> tuple[int, int]:
    """Bytes of data and of our code since the last cell was run."""
    code = sum(len(frame) for frame in page.frames_received if CODE in frame)
    return sum(map(len, page.frames_received)) - code, code


def verdict(name: str, value: float, target: float, form: str, unit: str) -> bool:
    reached = value <= target
    said = "reached" if reached else "MISSED"
    print(f"{name:46}{format(value, form):>12} {unit:3} target {format(target, form)}: {said}")
    return reached


def measure_display(browser, lab) -> bool:
    """First display with and without opening; code sent once."""
    charts = "[data-name] svg, [data-name] .pm-bars, .pm-points canvas"
    with notebook(browser, lab, "open", [COHORT, OPEN, "pm.explore(data)", "pm.explore(data)"]) as page:
        run_cell(page, 0)
        run_cell(page, 1)
        seconds = run_cell(page, 2, charts, 13)
        data, code = received(page)
        page.locator(".jp-Notebook .jp-CodeCell").nth(2).evaluate(
            "cell => cell.scrollIntoView({block: 'end'})"
        )
        second = run_cell(page, 3, charts, 13)
        data_2, code_2 = received(page)
        refused = page.refused
    with notebook(browser, lab, "closed", [COHORT, "pm.explore(cohort, cells=cells)"]) as page:
        run_cell(page, 0)
        with_opening = run_cell(page, 1, charts, 13)
        data_closed, _ = received(page)
        refused += page.refused
    held = [
        verdict("first display, cohort open", seconds, TARGETS["seconds"], ".2f", "s"),
        verdict("first display with opening", with_opening, TARGETS["seconds"], ".2f", "s"),
        verdict("data to the page", data, TARGETS["bytes"], ",.0f", "B"),
        verdict("data to the page with opening", data_closed, TARGETS["bytes"], ",.0f", "B"),
    ]
    print(f"{'a second explorer on the page':46}{second:12.2f} s, {data_2:,} B of data")
    once = code > 0 and code_2 == 0
    said = "once" if once else "MISSED"
    print(f"our code: {code:,} B for the first explorer, {code_2:,} B for the second: {said}")
    print(f"requests beyond this machine: {len(refused)}")
    return all(held) and once and not refused


def measure_large(browser, lab) -> bool:
    """Two million patients and five thousand categories in the page."""
    names = {}
    exec(LARGE.replace(", pm_lab as pm", ""), names)  # the same table, to count in
    ages = names["table"]["age"]
    with notebook(browser, lab, "large", [LARGE, OPEN_LARGE]) as page:
        run_cell(page, 0)
        print(f"\n{'2,000,000 patients: first display':46}{run_cell(page, 1, '[data-name] svg', 2):12.2f} s")
        print(f"{'data to the page':46}{received(page)[0]:12,} B")
        box = page.locator('[data-name="age"] .pm-area').bounding_box()
        page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + box["height"] / 2, steps=8)
        start = time.monotonic()
        page.mouse.up()
        settle(page)
        print(f"{'a brush, all views':46}{time.monotonic() - start:12.2f} s")
        said = page.locator(".pm-selection").inner_text()
        low, high = (float(limit) for limit in re.findall(r"(\d+) ≤ age < (\d+)", said)[0])
        right = f"{int(((ages >= low) & (ages < high)).sum()):,} of 2,000,000" in said
        for tab in ("compare", "patient", "gene", "export", "cohort"):
            start = time.monotonic()
            page.locator(f'[role="tab"][data-key="{tab}"]').click()
            page.locator(f'[role="tab"][data-key="{tab}"][aria-selected="true"]').wait_for(timeout=SLOW)
            settle(page)
            print(f"{f'tab {tab}':46}{time.monotonic() - start:12.2f} s")
        failed = page.locator(".jp-RenderedText, .pm-explorer [role=alert]").all_inner_texts()
        print(f"counts as of pandas: {'yes' if right else 'NO'}; errors on the page: {failed or 'none'}")
        return right and not failed and not page.refused


def settle(page) -> None:
    """Wait until nothing that was done is still under way in the kernel."""
    page.wait_for_timeout(200)
    busy = '!document.querySelector(".pm-figure[aria-busy=true]")'
    page.wait_for_function(busy, timeout=SLOW)


def measure_embedding(browser, lab) -> bool:
    """Redraws of a million cells, and of jupyter-scatter beside them."""
    peer = find_spec("jscatter") is not None
    sources = [CELLS, "pm.explore(state)", *([PEER] if peer else [])]
    with notebook(browser, lab, "cells", sources) as page:
        run_cell(page, 0)
        run_cell(page, 1, ".pm-points canvas")
        print(f"\n1,000,000 cells; WebGL of the browser: {page.evaluate(RENDERER)}")
        map_ = '.pm-figure[aria-label^="Cells of the patient"]'
        found = {what: page.evaluate(REDRAW, [map_, what, REPEATS]) for what in ("zoom", "pan", "recolour")}
        own = float(page.locator(map_).get_attribute("data-redraw"))
        other = {}
        if peer:
            size = {"type": "file", "format": "text", "content": json.dumps(found["zoom"]["size"][2:])}
            ask(*lab, "contents/size.json", json.dumps(size).encode())
            run_cell(page, 2, "canvas")
            page.wait_for_timeout(5_000)
            page.evaluate("document.querySelectorAll('.jp-CodeCell')[2].classList.add('the-peer')")
            other = {what: page.evaluate(REDRAW, [".the-peer", what, REPEATS]) for what in ("zoom", "pan")}
        refused = page.refused
    held = []
    for what, one in found.items():
        if one["changed"] < REPEATS:
            print(f"{what}: only {one['changed']} of {REPEATS} changed the picture: nothing was measured")
        median = float(np.median(one["taken"]))
        held.append(one["changed"] == REPEATS)
        held.append(verdict(f"{what} (median of {REPEATS})", median, TARGETS["redraw"], ".0f", "ms"))
        line = f"    worst {max(one['taken']):.0f} ms"
        if what in other and other[what]["changed"]:
            theirs = float(np.median(other[what]["taken"]))
            line += f"; jupyter-scatter {theirs:.0f} ms, ratio {median / theirs:.2f}"
            line += f" ({other[what]['changed']} of {REPEATS} changed its picture)"
        elif what in other:
            line += "; jupyter-scatter did not follow: not compared"
        print(line)
    print(f"our painting alone, by its own clock: {own:.0f} ms; canvas {found['zoom']['size']}")
    if peer:
        print(f"canvas of jupyter-scatter {other['zoom']['size']}; its recolouring was not compared")
    else:
        print("jupyter-scatter is not installed: the ratio to it was not looked at")
    return all(held) and not refused


def measure_browser() -> bool:
    """Print the tables; True where all targets hold."""
    names = [os.environ.get("PM_LAB_CHROMIUM"), "chromium", "chromium-browser", "google-chrome"]
    chromium = next((path for name in names if name and (path := shutil.which(name))), None)
    if chromium is None or find_spec("playwright") is None:
        print("Not looked at: display and embedding; they need playwright and Chromium (PM_LAB_CHROMIUM).")
        return False
    from playwright.sync_api import sync_playwright

    with jupyterlab() as lab, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        print(f"\nChromium {browser.version}; 10,000 patients × 2,000 genes with a map")
        held = [measure_display(browser, lab), measure_large(browser, lab), measure_embedding(browser, lab)]
        browser.close()
    print("Not looked at: other browsers, hardware rendering, a slow network, Voilà.")
    return all(held)
