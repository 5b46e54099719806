"""What each figure carries: it gets the code of all figures once a page, also from a kernel that is busy."""

import json
import shutil
import subprocess

import pytest

from pm_lab.explorer.live_figure import LiveFigure

PAGE = """
const waiting = [];
globalThis.setInterval = (f) => waiting.push(f);
globalThis.clearInterval = (i) => { waiting[i - 1] = () => {}; };
let now = 1e6;
Date.now = () => now;
const later = async (seconds) => { now += 1000 * seconds; for (const f of waiting) f(); await settle(); };
const settle = () => new Promise((done) => setImmediate(done));
URL.createObjectURL = () => "data:text/javascript,export const render = (c) => { c.drawn = true; };";
const figure = (dead = false) => {
  const heard = new Set();
  const model = {
    sent: 0, send: () => { model.sent += 1; }, on: (_, f) => heard.add(f), off: (_, f) => heard.delete(f),
    answer: (message) => [...heard].forEach((f) => f(message)),
  };
  return { model, el: { closest: () => dead }, heard };
};
const load = async () => (await import("data:text/javascript," + encodeURIComponent(LOADER))).default;
const { render } = await load();
const told = {};
"""
AFTER = "\nconsole.log(JSON.stringify(told)); process.exit(0);"


@pytest.fixture
def told(missing, tmp_path):
    """What a script of figures in a page tells, by Node."""
    node = shutil.which("node")
    if node is None:
        missing("no Node found to run the loader with")

    def told(script):
        text = f"const LOADER = {json.dumps(LiveFigure._esm)};{PAGE}{script}{AFTER}"
        (tmp_path / "page.mjs").write_text(text)
        ran = subprocess.run([node, tmp_path / "page.mjs"], capture_output=True, text=True, timeout=60)
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    return told


def test_one_figure_asks_and_all_are_drawn_when_a_busy_kernel_answers_late(told):
    found = told("""
      const figures = [figure(), figure(), figure()];
      figures.forEach((one) => render(one));
      told.first = figures.map((one) => one.model.sent);
      for (let i = 0; i < 6; i++) await later(20);
      told.asked = figures.reduce((sum, one) => sum + one.model.sent, 0);
      told.before = figures.map((one) => Boolean(one.drawn));
      figures[2].model.answer({ code: "x" });
      await settle(); await settle(); await settle();
      told.after = figures.map((one) => Boolean(one.drawn));
      told.heard = figures.map((one) => one.heard.size);
    """)
    assert found["first"] == [1, 0, 0]
    assert found["asked"] == 7  # once in twenty seconds, by one of them
    assert found["before"] == [False] * 3 and found["after"] == [True] * 3
    assert found["heard"] == [0, 0, 0]


def test_a_figure_of_a_kernel_that_is_gone_does_not_keep_the_next_from_asking(told):
    found = told("""
      const lost = figure(), next = figure();
      render(lost);
      lost.el.closest = () => true;
      render(next);
      told.first = next.model.sent;
      await later(20);
      told.second = next.model.sent;
      next.model.answer({ code: "x" });
      await settle(); await settle(); await settle();
      told.drawn = Boolean(next.drawn);
    """)
    assert (found["first"], found["second"], found["drawn"]) == (0, 1, True)
