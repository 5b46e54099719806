"""Execute notebooks headless: HTML pages that need no network, and a table of time and memory.

    python tests/notebooks/execute.py                        every notebook (`make notebooks`)
    python tests/notebooks/execute.py notebooks/01_x.ipynb   one
    python tests/notebooks/execute.py --save notebooks/...   and keep the outputs in the notebook itself

Each notebook runs from a fresh kernel in an empty folder, which it must leave empty. Exits with 1 after
naming every notebook and cell that failed.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbconvert import HTMLExporter
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
PAGES = ROOT / "build" / "notebooks"
CELL_TIMEOUT = 600  # seconds
WIDGET = "application/vnd.jupyter.widget-view+json"

# The page template of nbconvert without the scripts it would fetch: require.js, MathJax, mermaid, widgets.
PAGE = """\
{% extends "lab/index.html.j2" %}
{% block html_head_js %}{% endblock %}
{% block jupyter_widgets %}{% endblock %}
{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
"""

# What a saved notebook says of its kernel: nothing that differs between machines.
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


@dataclass
class Run:
    """One executed notebook: the time and peak memory it took, and what went wrong in which cell."""

    path: Path
    notebook: nbformat.NotebookNode
    seconds: float = 0.0
    peak_memory: int = 0
    failures: list[str] = field(default_factory=list)


def find() -> list[Path]:
    """Every notebook of the course and every case study, in order."""
    return sorted(path for path in NOTEBOOKS.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)


def execute(path: Path, progress: tqdm | None = None) -> Run:
    """Run a notebook from a fresh kernel, up to its first failing cell."""
    run = Run(path, nbformat.read(path, as_version=4))
    with tempfile.TemporaryDirectory() as folder:
        work, settings = Path(folder, "work"), Path(folder, "ipython")
        work.mkdir()
        client = NotebookClient(
            run.notebook,
            timeout=CELL_TIMEOUT,
            kernel_name="python3",
            resources={"metadata": {"path": str(work)}},
            record_timing=False,
            store_widget_state=False,  # it holds what the widget shows: rows of patients
            coalesce_streams=True,
            extra_arguments=["--IPKernelApp.log_level=40"],  # warns of unencrypted TCP, in every kernel
        )
        started = time.perf_counter()
        environment = {**os.environ, "PM_LAB_PROGRESS": "0", "IPYTHONDIR": str(settings)}
        with client.setup_kernel(env=environment), _PeakMemory(client.km.provisioner.pid) as memory:
            _run_cells(client, run, progress)
            run.seconds = time.perf_counter() - started
        _remove_widgets(run.notebook)
        run.peak_memory = memory.peak
        left = sorted(str(item.relative_to(work)) for item in work.rglob("*"))
    if left:
        names = ", ".join(left[:5])
        run.failures.append(f"{path.name} left files behind: {names}. Write to a temporary folder.")
    return run


def _run_cells(client: NotebookClient, run: Run, progress: tqdm | None) -> None:
    for index, cell in enumerate(run.notebook.cells):
        try:
            client.execute_cell(cell, index)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            last_line = _plain(str(error)).strip().splitlines()[-1]
            first_line = next(iter(cell.source.splitlines()), "")
            run.failures.append(f"{run.path.name}, cell {index + 1} ({first_line!r}): {last_line}")
            return
        finally:
            if progress is not None:
                progress.update()


def _remove_widgets(notebook: nbformat.NotebookNode) -> None:
    """Without its kernel a widget shows an error; what stands in for it is an output of its own."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", {})]


class _PeakMemory:
    """Watches the resident memory of a process and all its children."""

    def __init__(self, pid: int):
        self.process = psutil.Process(pid)
        self.peak = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        stopped = False
        while not stopped:  # at least once, however short the notebook
            self.peak = max(self.peak, self._resident())
            stopped = self._stop.wait(0.05)

    def _resident(self) -> int:
        total = 0
        try:
            for process in [self.process, *self.process.children(recursive=True)]:
                total += process.memory_info().rss
        except psutil.NoSuchProcess:
            pass  # ended between the listing and the reading
        return total


def to_html(notebook: nbformat.NotebookNode, title: str) -> str:
    """The notebook as one HTML page that makes no request."""
    exporter = HTMLExporter(raw_template=PAGE)
    page, _ = exporter.from_notebook_node(notebook, resources={"metadata": {"name": title}})
    return page


def save(run: Run) -> None:
    """Write the executed notebook back over its source, without what differs between machines."""
    run.notebook.metadata = nbformat.from_dict(METADATA)
    for cell in run.notebook.cells:
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k == "tags"})
    _write(run.path, nbformat.writes(run.notebook) + "\n")


def table(runs: list[Run]) -> str:
    """Wall time and peak memory of each notebook, as Markdown."""
    lines = ["| notebook | seconds | peak memory (MB) |", "|---|---:|---:|"]
    lines += [f"| {run.path.name} | {run.seconds:.0f} | {run.peak_memory / 1e6:.0f} |" for run in runs]
    return "\n".join(lines)


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".tmp")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: every notebook")
    parser.add_argument("--save", action="store_true", help="write the outputs back into the notebooks")
    parser.add_argument("--pages", type=Path, default=PAGES, help="folder for the HTML pages")
    options = parser.parse_args(arguments)

    paths = options.notebooks or find()
    runs = []
    cells = sum(len(nbformat.read(path, as_version=4).cells) for path in paths)
    with tqdm(total=cells, unit="cell") as progress:
        for path in paths:
            progress.set_description(path.stem)
            run = execute(path, progress)
            runs.append(run)
            page = options.pages / f"{path.stem}.html"
            page.unlink(missing_ok=True)
            if run.failures:
                continue
            _write(page, to_html(run.notebook, path.stem))
            if options.save:
                save(run)
    print(table(runs))
    failures = [failure for run in runs for failure in run.failures]
    for failure in failures:
        print(f"FAILED {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
