"""The notebook contract of CONTRIBUTING.md, on every committed notebook. Nothing is executed here."""

import ast
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import execute
import nbformat
import pytest

PROMISED = ["00_welcome", "01_single_cell", "02_bulk_expression", "03_pathway_enrichment"]
PROMISED += ["04_biomarker_discovery", "05_drug_response", "06_patient_explorer"]
PROMISED += ["case_studies/colorectal_metastasis", "case_studies/interferon_kang2018"]
PROMISED += ["case_studies/breast_cancer_prognosis", "case_studies/gdsc1_benchmark"]

OPENING = ["What you will be able to do", "Runtime, memory, data"]
CLOSING = ["What could fool you", "How did we do", "Exercises", "References", "Session info"]
# A welcome page shows the way and analyses nothing: there is no finding to doubt, to grade or to vary.
WELCOME_CLOSING = ["References", "Session info"]

CODE_LINES, TEXT_LINES = 30, 40  # a screen
MAX_BYTES = 1_000_000
DOI = re.compile(r"\b10\.\d{4,9}/\S+")
# Two or more path components after a space, a quote or the like. Not "n/a", not a DOI, not https://.
ABSOLUTE_PATH = re.compile(r"(?:^|[\s\"'(=])((?:/[\w.-]+){2,}|[A-Z]:\\\w+)", re.MULTILINE)


@dataclass
class Notebook:
    path: Path
    content: nbformat.NotebookNode

    @property
    def is_welcome(self):
        return self.path.stem == "00_welcome"

    @property
    def cells(self):
        return self.content.cells

    @property
    def code(self):
        return [cell for cell in self.cells if cell.cell_type == "code"]

    def headings(self):
        """(index of the cell, text) of every second-level heading."""
        return [
            (index, line[3:].strip())
            for index, cell in enumerate(self.cells)
            if cell.cell_type == "markdown"
            for line in _outside_fences(cell.source)
            if line.startswith("## ")
        ]

    def section(self, heading):
        """The cells from this second-level heading to the next."""
        found = self.headings()
        position = next(i for i, (_, text) in enumerate(found) if text == heading)
        end = found[position + 1][0] if position + 1 < len(found) else len(self.cells)
        return self.cells[found[position][0] : end]

    def outputs(self):
        return [output for cell in self.code for output in cell.outputs]


def _outside_fences(source):
    inside = False
    for line in source.splitlines():
        if line.lstrip().startswith("```"):
            inside = not inside
        elif not inside:
            yield line


def read(path):
    return Notebook(path, nbformat.read(path, as_version=4))


@pytest.fixture(params=execute.find(), ids=lambda path: path.stem)
def notebook(request):
    return read(request.param)


@pytest.fixture(params=[p for p in execute.find() if p.stem != "00_welcome"], ids=lambda path: path.stem)
def lesson(request):
    return read(request.param)


def text_of(output):
    """What an output says in words: streams, and its text representations."""
    if output.output_type == "stream":
        return output.text
    data = output.get("data", {})
    return "\n".join(str(value) for kind, value in data.items() if kind.startswith("text/"))


@pytest.mark.parametrize("name", PROMISED)
def test_promised_notebook_exists(name):
    assert (execute.NOTEBOOKS / f"{name}.ipynb").is_file()


def test_notebook_is_valid(notebook):
    nbformat.validate(notebook.content)
    assert notebook.content.metadata.kernelspec.name == "python3"


def test_title_and_one_question(notebook):
    first = notebook.cells[0]
    assert first.cell_type == "markdown"
    title, *rest = first.source.strip().splitlines()
    assert re.fullmatch(r"# \S.*", title)
    question = " ".join(rest).strip().strip("*_ ")
    assert question.endswith("?"), "the title is followed by one sentence that is a question"
    assert not re.search(r"[.?!]\s+[A-Z]", question), f"more than one sentence: {question}"
    others = [
        line
        for cell in notebook.cells[1:]
        if cell.cell_type == "markdown"
        for line in _outside_fences(cell.source)
    ]
    assert not [line for line in others if line.startswith("# ")], "only the title is a first-level heading"


def test_sections_are_in_order(notebook):
    headings = [text for _, text in notebook.headings()]
    closing = WELCOME_CLOSING if notebook.is_welcome else CLOSING
    assert headings[:2] == OPENING
    assert headings[-len(closing) :] == closing
    free = headings[2 : -len(closing)]
    assert free, "no section of analysis"
    assert not set(free) & {*OPENING, *CLOSING}


def test_runtime_memory_data_and_licence_are_stated(notebook):
    text = "\n".join(
        cell.source for cell in notebook.section("Runtime, memory, data") if cell.cell_type == "markdown"
    )
    assert re.search(r"\d+\s*(s|seconds|min|minutes)\b", text)
    assert re.search(r"\d+\s*(MB|GB)\b", text)
    assert re.search(r"licen[cs]e", text, re.IGNORECASE)


def test_one_cell_of_parameters_comes_before_the_analysis(lesson):
    tagged = [i for i, cell in enumerate(lesson.cells) if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    headings = lesson.headings()
    assert headings[1][0] < tagged[0] < headings[2][0]
    assert lesson.cells[tagged[0]] is lesson.code[0], "the parameters are the first code"
    statements = ast.parse(lesson.code[0].source).body
    assert statements and all(isinstance(s, ast.Assign | ast.AnnAssign) for s in statements)


def test_every_code_cell_is_explained(notebook):
    unexplained = [
        cell.source.splitlines()[0]
        for before, cell in zip(notebook.cells, notebook.cells[1:], strict=False)
        if cell.cell_type == "code" and before.cell_type != "markdown"
    ]
    assert not unexplained, "each code cell follows a Markdown cell that explains it"


def test_no_cell_is_longer_than_a_screen(notebook):
    for cell in notebook.cells:
        assert cell.source.strip(), "an empty cell"
        limit = CODE_LINES if cell.cell_type == "code" else TEXT_LINES
        lines = cell.source.splitlines()
        assert len(lines) <= limit, f"{len(lines)} lines: {lines[0]!r}"


def test_executed_top_to_bottom(notebook):
    counts = [cell.execution_count for cell in notebook.code]
    assert counts == list(range(1, len(counts) + 1))


def test_no_error_and_nothing_on_stderr(notebook):
    for output in notebook.outputs():
        assert output.output_type != "error", output.get("evalue")
        assert output.get("name") != "stderr", output.text


def test_no_path_of_a_machine(notebook):
    written = "\n".join(text_of(output) for output in notebook.outputs())
    assert ABSOLUTE_PATH.findall(written) == []
    raw = notebook.path.read_text(encoding="utf-8")
    for folder in (Path.home(), execute.ROOT, Path(sys.prefix)):
        assert str(folder) + "/" not in raw


def test_no_widget_state_and_no_run_records(notebook):
    assert set(notebook.content.metadata) <= {"kernelspec", "language_info", "title"}
    for cell in notebook.cells:
        assert set(cell.metadata) <= {"tags"}, "execute.py --save removes run records"
    kinds = {kind for output in notebook.outputs() for kind in output.get("data", {})}
    assert not {kind for kind in kinds if "widget" in kind or "plotly" in kind}, "figures are static pictures"


def test_size(notebook):
    assert notebook.path.stat().st_size < MAX_BYTES


def test_there_is_a_figure(lesson):
    assert any({"image/png", "image/svg+xml"} & set(output.get("data", {})) for output in lesson.outputs())


def test_negative_control_is_run(lesson):
    code = [cell for cell in lesson.section("What could fool you") if cell.cell_type == "code"]
    assert any(cell.outputs for cell in code)


def test_result_is_graded_in_a_table(lesson):
    outputs = [
        o for cell in lesson.section("How did we do") if cell.cell_type == "code" for o in cell.outputs
    ]
    assert any("<table" in o.get("data", {}).get("text/html", "") for o in outputs)


def test_three_exercises_with_folded_solutions(lesson):
    text = "\n".join(cell.source for cell in lesson.section("Exercises"))
    solutions = re.findall(r"<details>\s*<summary>Solution</summary>(.+?)</details>", text, re.DOTALL)
    assert len(solutions) == 3
    assert all(solution.strip() for solution in solutions)


def test_references_have_dois(notebook):
    text = "\n".join(cell.source for cell in notebook.section("References"))
    assert DOI.search(text)


def test_session_info_is_the_last_cell(notebook):
    _, *cells = notebook.section("Session info")
    assert len(cells) == 1 and cells[0].cell_type == "code"
    assert "".join(text_of(output) for output in cells[0].outputs).strip()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Cache: /home/anna/.cache/pm_lab", ["/home/anna/.cache/pm_lab"]),
        ("opened '/srv/data'", ["/srv/data"]),
        (r"C:\Users", [r"C:\Users"]),
        ("https://doi.org/10.1038/nbt.4042 and n/a, 5 / 8 wells, T/NK, <b>x</b>", []),
    ],
)
def test_what_counts_as_a_path(text, found):
    assert ABSOLUTE_PATH.findall(text) == found
