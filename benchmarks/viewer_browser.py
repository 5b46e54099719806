"""The AnnData viewer in a real JupyterLab and headless Chromium, drawn by software.

Called by ``python benchmarks/viewer.py --browser``. Needs playwright, Chromium (PM_LAB_CHROMIUM, or one on
the PATH) and the built front end. Every request beyond this machine is refused; one made counts as a miss.

data
    1,000,000 cells: from the first request for the embedding and the column that colours it to the last byte
    in the page, and to the picture; the file has just been read, the viewer has not opened it before.
redraw
    From a key or a click to points that can be read, two frames later. As a person gets it, which without a
    graphics card is painted by the processor; and by WebGL all the same (setting "painting"), for
    comparison. The peer is a bare jupyter-scatter of as many points and the same size in the same page,
    where it is installed; it is no dependency of ours.
activation
    Main thread's time in our plugins' activate functions (performance measures "pm-lab:activate").
code
    Bytes of every file of the front end, gzipped, and of those that a page asks for before a file is opened.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import statistics
import urllib.request
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from explorer_browser import FLAGS, RENDERER, SLOW, ask, jupyterlab, notebook, run_cell, verdict

STATIC = Path(__file__).resolve().parents[1] / "pm_lab" / "labextension" / "static"
FILE = "million.h5ad"
REPEATS = 9
TARGETS = {"data": 1_500.0, "redraw": 250.0, "activation": 50.0, "chunk": 1_000_000, "initial": 150_000}
PEER = """
import json, jscatter, h5py
with h5py.File("million.h5ad") as file:
    where = file["obsm/X_umap"][:]
width, height = json.load(open("size.json"))
jscatter.Scatter(x=where[:, 0], y=where[:, 1], width=width, height=height).show()
"""

DRAWN = """document.querySelector(".pml-Legend") &&
  document.querySelector(".pml-PlotStatus")?.innerText.includes("drawn") &&
  performance.getEntriesByName("pm-lab:redraw").some(({ detail }) => detail.points >= 1e5)"""
RECEIVED = """() => {
  const asked = performance.getEntriesByType("resource")
    .filter(({ name }) => /pm-lab\\/anndata\\/(embedding|colour)/.test(name));
  const start = Math.min(...asked.map((one) => one.startTime));
  const whole = performance.getEntriesByName("pm-lab:redraw").find(({ detail }) => detail.points >= 1e5);
  return {
    n: asked.length,
    data: Math.max(...asked.map((one) => one.responseEnd)) - start,
    picture: whole.startTime + whole.duration - start,
  };
}"""
REDRAW = """async ([what, times]) => {
  const host = document.querySelector(".pml-Points");
  const lines = [...document.querySelectorAll(".pml-Legend button")];
  const frame = () => new Promise(requestAnimationFrame);
  const wait = () => {
    const canvas = host.querySelector("canvas");
    const gl = canvas.getContext("webgl2");
    if (gl) gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
    else canvas.getContext("2d").getImageData(0, 0, 1, 1);
  };
  const drawn = () => performance.getEntriesByName("pm-lab:redraw").length;
  const key = (name) => host.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
  const act = {
    zoom: (i) => key("+-"[i % 2]),
    pan: (i) => key(["ArrowLeft", "ArrowRight"][i % 2]),
    recolour: (i) => lines[i % 2].click(),
  }[what];
  const taken = [];
  let changed = 0;
  for (let i = 0; i < times; i++) {
    const before = drawn();
    const start = performance.now();
    act(i);
    await frame();
    await frame();
    wait();
    taken.push(performance.now() - start);
    changed += drawn() > before;
    await new Promise((done) => setTimeout(done, 150));
  }
  const { width, height } = host.getBoundingClientRect();
  return { taken, changed, size: [Math.round(width), Math.round(height)] };
}"""


@contextmanager
def opened(browser, lab, address: str):
    """A page of JupyterLab; ``refused`` lists what it asked for beyond this machine."""
    base, token = lab
    context = browser.new_context(viewport={"width": 1500, "height": 1000})
    context.add_init_script("performance.setResourceTimingBufferSize(5000)")
    page = context.new_page()
    page.refused = []

    def answer(route):
        local = urlsplit(route.request.url).hostname in (None, "127.0.0.1", "localhost")
        if not local:
            page.refused.append(route.request.url)
        route.continue_() if local else route.abort()

    context.route("**/*", answer)
    page.goto(f"{base}/lab/workspaces/{address}{'&' if '?' in address else '?'}token={token}")
    page.locator("#jp-main-dock-panel").wait_for(timeout=SLOW)
    yield page
    context.close()


def measure_activation(browser, lab) -> tuple[bool, set[str]]:
    """Time of our plugins at start; and the files of the front end that a page asks for at start."""
    taken, names = [], set()
    for i in range(REPEATS):
        with opened(browser, lab, f"start{i}?reset") as page:
            page.wait_for_timeout(2_000)
            own = page.evaluate(
                "performance.getEntriesByName('pm-lab:activate').map(({ duration }) => duration)"
            )
            urls = page.evaluate("performance.getEntriesByType('resource').map(({ name }) => name)")
            taken.append(sum(own))
            names |= {Path(urlsplit(url).path).name for url in urls if "/pm-lab-extension/static/" in url}
    if not all(taken):
        print("activation: the front end did not start, or does not measure itself")
        return False, names
    median = statistics.median(taken)
    print(f"activation of all plugins, worst of {REPEATS}: {max(taken):.1f} ms")
    return verdict(f"activation (median of {REPEATS})", median, TARGETS["activation"], ".1f", "ms"), names


def measure_code(initial: set[str]) -> bool:
    """Gzipped sizes of the files as built."""
    sizes = {path.name: len(gzip.compress(path.read_bytes(), 9)) for path in STATIC.glob("*.js")}
    for name, size in sorted(sizes.items(), key=lambda one: -one[1]):
        print(f"    {size:>9,} B {'at start' if name in initial else 'lazily'}: {name[:70]}")
    if any(STATIC.glob("*.map")):
        print("    a development build, not minified: make a release build to see what people get")
    at_start = sum(size for name, size in sizes.items() if name in initial)
    return all(
        [
            verdict("largest file, gzipped", max(sizes.values()), TARGETS["chunk"], ",.0f", "B"),
            verdict("files at start, gzipped", at_start, TARGETS["initial"], ",.0f", "B"),
            bool(initial),
        ]
    )


def paint_by(lab, painting: str) -> None:
    """Set how points are painted, as the settings editor does."""
    base, token = lab
    body = json.dumps({"raw": json.dumps({"painting": painting})}).encode()
    request = urllib.request.Request(
        f"{base}/lab/api/settings/pm-lab-extension:viewer",
        body,
        {"Authorization": f"token {token}"},
        method="PUT",
    )
    urllib.request.urlopen(request, timeout=10).close()


def redraws(browser, lab, painting: str) -> tuple[dict, dict, str, list[str]]:
    """Arrival of the data and times of redraws, with the points painted in one way."""
    paint_by(lab, painting)
    with opened(browser, lab, f"{painting}/tree/{FILE}?reset") as page:
        page.get_by_role("tab", name="Embedding").click(timeout=SLOW)
        page.wait_for_function(DRAWN, timeout=SLOW)
        received = page.evaluate(RECEIVED)
        page.wait_for_timeout(2_000)
        found = {what: page.evaluate(REDRAW, [what, REPEATS]) for what in ("zoom", "pan", "recolour")}
        status = page.locator(".pml-PlotStatus").inner_text()
        print(f"\n{status}\nWebGL of the browser: {page.evaluate(RENDERER)}")
        return received, found, status, page.refused


def measure_embedding(browser, lab, path: Path) -> bool:
    """Data in the page and redraws, the peer beside them."""
    path.read_bytes()  # the page cache is warm
    received, found, _, refused = redraws(browser, lab, "auto")
    print(f"from the first request to the picture: {received['picture']:.0f} ms")
    held = [
        verdict("embedding and column in the page", received["data"], TARGETS["data"], ".0f", "ms"),
        received["n"] == 2,
        not refused,
    ]
    _, by_webgl, _, _ = redraws(browser, lab, "webgl")
    size = found["zoom"]["size"]
    peer = measure_peer(browser, lab, size)
    for what, one in found.items():
        median, webgl = statistics.median(one["taken"]), statistics.median(by_webgl[what]["taken"])
        held.append(verdict(f"{what} (median of {REPEATS})", median, TARGETS["redraw"], ".0f", "ms"))
        held.append(one["changed"] == REPEATS)
        beside = f"; jupyter-scatter {peer:.0f} ms, ratio {median / peer:.2f}" if peer else ""
        print(f"    worst {max(one['taken']):.0f} ms; by WebGL all the same {webgl:.0f} ms{beside}")
        if one["changed"] < REPEATS:
            print(f"    only {one['changed']} of {REPEATS} were drawn again: nothing was measured")
    print(f"plot of {size[0]} × {size[1]} pixels; two frames alone take some 33 ms")
    return all(held)


def measure_peer(browser, lab, size: list[int]) -> float | None:
    """A zoom of a bare jupyter-scatter, in ms."""
    if find_spec("jscatter") is None:
        print("jupyter-scatter is not installed: the ratio to it was not looked at")
        return None
    from explorer_browser import REDRAW as PEER_REDRAW

    body = {"type": "file", "format": "text", "content": json.dumps(size)}
    ask(*lab, "contents/size.json", json.dumps(body).encode())
    with notebook(browser, lab, "peer", [PEER]) as page:
        run_cell(page, 0, "canvas")
        page.wait_for_timeout(5_000)
        found = page.evaluate(PEER_REDRAW, [".jp-Notebook", "zoom", REPEATS])
    if found["changed"] < REPEATS:
        print("jupyter-scatter did not follow: not compared")
        return None
    return statistics.median(found["taken"])


def measure_browser(path: Path) -> bool:
    """Print the tables; True where all targets hold."""
    names = [os.environ.get("PM_LAB_CHROMIUM"), "chromium", "chromium-browser", "google-chrome"]
    chromium = next((found for name in names if name and (found := shutil.which(name))), None)
    if chromium is None or find_spec("playwright") is None or not STATIC.exists():
        print("Not looked at: the page; it needs playwright, Chromium and the built front end (make lab).")
        return False
    from playwright.sync_api import sync_playwright

    with jupyterlab({FILE: path}) as lab, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        print(f"\nChromium {browser.version}; load of this machine {os.getloadavg()[0]:.1f}")
        active, initial = measure_activation(browser, lab)
        held = [active, measure_code(initial), measure_embedding(browser, lab, path)]
        browser.close()
    print("Not looked at: other browsers, hardware rendering, a slow network.")
    return all(held)
