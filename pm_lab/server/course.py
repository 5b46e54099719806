"""Route ``course``: what the notebooks say of themselves, and working copies of them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import nbformat
from tornado import web

import pm_lab
from pm_lab.datasets.registry import registered
from pm_lab.server.answers import PmLabHandler
from pm_lab.server.data_sets import missing
from pm_lab.server.refusals import Refused
from pm_lab.server.working_copies import save_new

PACKAGE = Path(pm_lab.__file__).parent
FIRST = "00_welcome.ipynb"
CASE_STUDIES = "case_studies"
# Of a working copy, or of a notebook that the viewer wrote beside a file, the name is another.
NUMBERED, NAMED = re.compile(r"\d\d_\w+\.ipynb"), re.compile(r"\w+\.ipynb")

RUNTIME = re.compile(r"About (\d[\d.,]*\s*(?:s|min|minutes))\b")
MEMORY = re.compile(r"\b(\d[\d.,]*\s*[MG]B)\b")


class CourseHandler(PmLabHandler):
    """The notebooks of the course and the case studies.

    GET: ``{"notebooks": [{name, title, question, runtime, memory, data, case_study, needs, missing}]}``.
    ``needs`` are registered data sets that the notebook loads, ``missing`` those not on this machine.
    POST ``{name, folder}``: 201 ``{"path"}`` of a working copy in that folder.
    """

    @web.authenticated
    async def get(self) -> None:
        self.answer({"notebooks": await self.in_thread(described)})

    @web.authenticated
    async def post(self) -> None:
        asked = self.get_json_body() or {}
        name, folder = (asked.get(key) for key in ("name", "folder")) if isinstance(asked, dict) else (0, 0)
        if not isinstance(name, str) or not isinstance(folder, str):
            raise Refused(400, 'The request must be {"name": a notebook, "folder": a folder}.')
        source = notebooks().get(name)
        if source is None:
            raise Refused(404, "The course has no such notebook.", name, "Reload the list of the course.")
        notebook = await self.in_thread(nbformat.read, source, 4)
        path = await save_new(self.contents_manager, notebook, folder, source.stem)
        self.set_status(201)
        self.answer({"path": path})


def notebooks() -> dict[str, Path]:
    """Where each notebook is, by its name; beside the package in a checkout, inside it in a wheel."""
    for place in (PACKAGE / "notebooks", PACKAGE.parent / "notebooks"):
        if (place / FIRST).is_file():
            course = [file for file in place.iterdir() if NUMBERED.fullmatch(file.name)]
            studies = [file for file in place.glob(f"{CASE_STUDIES}/*") if NAMED.fullmatch(file.name)]
            files = [*sorted(course), *sorted(studies)]
            return {file.relative_to(place).as_posix().removesuffix(".ipynb"): file for file in files}
    return {}


def described() -> list[dict]:
    """What each notebook says of itself, and which data sets it needs that are not on this machine."""
    found = notebooks()
    if not found:
        raise Refused(
            404, "The notebooks of the course are not on this machine.", "", "Install pm_lab again: make lab."
        )
    about = {name: _described(file, file.stat().st_mtime_ns) for name, file in found.items()}
    absent = missing({need for one in about.values() for need in one["needs"]})
    return [
        {"name": name, **one, "missing": [need for need in one["needs"] if need in absent]}
        for name, one in about.items()
    ]


@lru_cache(maxsize=64)
def _described(file: Path, modified_ns: int) -> dict:
    cells = nbformat.read(file, 4).cells
    text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    about = _section(text, "Runtime, memory, data")
    return {
        "title": _first(re.compile(r"^# (.+)$", re.M), text) or file.stem,
        "question": _first(re.compile(r"^\*([^*\n]+)\*$", re.M), text),
        "runtime": _first(RUNTIME, about),
        "memory": _first(MEMORY, about),
        "data": _data(about),
        "case_study": file.parent.name == CASE_STUDIES,
        "needs": sorted(
            {need for cell in cells if cell.cell_type == "code" for need in _loaded(cell.source)}
        ),
    }


def _first(pattern: re.Pattern, text: str) -> str:
    found = pattern.search(text)
    return found[1].strip() if found else ""


def _section(text: str, heading: str) -> str:
    """What stands between a heading and the next one."""
    return _first(re.compile(rf"^## {re.escape(heading)}$(.*?)(?=^#|\Z)", re.M | re.S), text)


def _data(about: str) -> str:
    """The first sentence on the data, without asides and Markdown: after "Data:", or that says "fetched"."""
    plain = " ".join(line for line in about.splitlines() if not line.startswith(("|", "```")))
    plain = re.sub(r"[*`]", "", plain)
    for _ in range(2):  # an aside may hold another
        plain = re.sub(r"\s*\([^()]*\)", "", plain)
    text = _first(re.compile(r"Data: (.+)"), plain) or _first(
        re.compile(r"([A-Z][^.:]*\bfetched\b.*)"), plain
    )
    sentence = re.split(r"[.:;]\s+(?=[A-Z])", text)[0].rstrip(" .:;")
    return sentence[:1].upper() + sentence[1:]


def _loaded(source: str) -> Iterator[str]:
    """Registered names in statements that load data sets, as ``pm.datasets.load("nki")`` or in a loop."""
    python = "\n".join(line for line in source.splitlines() if not line.startswith(("%", "!")))
    try:
        statements = ast.parse(python).body
    except SyntaxError:
        return
    for statement in statements:
        if "datasets.load(" in ast.unparse(statement):
            for node in ast.walk(statement):
                if (
                    isinstance(node, ast.Constant)
                    and isinstance(node.value, str)
                    and node.value in registered()
                ):
                    yield node.value


ROUTES = [(r"course", CourseHandler)]
