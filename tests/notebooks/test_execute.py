"""The notebook runner: what it names when a cell fails, what it measures, what it writes."""

import execute
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook


@pytest.fixture
def write(tmp_path):
    """Write a notebook of these code cells, give its path."""

    def write(name, *sources):
        path = tmp_path / f"{name}.ipynb"
        cells = [new_markdown_cell("# A title"), *[new_code_cell(source) for source in sources]]
        nbformat.write(new_notebook(cells=cells, metadata={"papermill": {"output_path": "x"}}), path)
        return path

    return write


def test_failing_cell_is_named_and_the_other_notebooks_still_run(write, tmp_path, capsys):
    bad, good = write("bad", "x = 1", "raise ValueError('no such gene')"), write("good", "1 + 1")
    pages = tmp_path / "pages"
    code = execute.main([str(bad), str(good), "--pages", str(pages)])
    assert code == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert message == (
        "FAILED bad.ipynb, cell 3 (\"raise ValueError('no such gene')\"): ValueError: no such gene"
    )
    assert [page.name for page in pages.iterdir()] == ["good.html"]


def test_dead_kernel_is_a_failure(write):
    run = execute.execute(write("dead", "import os; os._exit(1)"))
    assert run.failures and "dead.ipynb, cell 2" in run.failures[0]


def test_peak_memory_counts_child_processes(write):
    child = "import sys, time; block = bytearray(300_000_000); time.sleep(1)"
    run = execute.execute(
        write("memory", f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}])")
    )
    assert not run.failures
    assert 300e6 < run.peak_memory < 900e6
    assert "| memory.ipynb |" in execute.table([run])


def test_memory_of_the_shortest_notebook_is_measured(write):
    assert execute.execute(write("short", "1")).peak_memory > 20e6


def test_files_left_beside_the_notebook_are_a_failure(write):
    run = execute.execute(write("litter", "open('left.csv', 'w').close()"))
    assert run.failures == ["litter.ipynb left files behind: left.csv. Write to a temporary folder."]


def test_save_keeps_outputs_and_drops_what_differs_between_machines(write, tmp_path):
    path = write("saved", "print('a')\nprint('b')")
    assert execute.main([str(path), "--save", "--pages", str(tmp_path)]) == 0
    saved = nbformat.read(path, as_version=4)
    assert saved.metadata == execute.METADATA
    assert saved.cells[1].execution_count == 1
    assert [output.text for output in saved.cells[1].outputs] == ["a\nb\n"]


def test_save_keeps_what_stands_in_for_a_widget_and_nothing_of_the_widget(write, tmp_path):
    show = "from IPython.display import HTML, display; import ipywidgets"
    path = write("widget", show, "display(HTML('in its place')); display(ipywidgets.Text('P001'))")
    assert execute.main([str(path), "--save", "--pages", str(tmp_path)]) == 0
    saved = nbformat.read(path, as_version=4)
    assert [output.data["text/html"] for output in saved.cells[2].outputs] == ["in its place"]
    page = (tmp_path / "widget.html").read_text()
    assert "in its place" in page and ".widget-state+json" not in page


def test_failed_notebook_is_not_saved(write, tmp_path):
    path = write("failing", "1", "1 / 0")
    before = path.read_text()
    assert execute.main([str(path), "--save", "--pages", str(tmp_path)]) == 1
    assert path.read_text() == before
