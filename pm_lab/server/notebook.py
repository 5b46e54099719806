"""Route ``notebook``: a new notebook beside a file, with code that rebuilds what the viewer shows."""

from __future__ import annotations

from pathlib import PurePosixPath

import nbformat
import numpy as np
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from tornado import web

from pm_lab.server.answers import PmLabHandler, checked_filter
from pm_lab.server.columns import plain
from pm_lab.server.elements import is_text
from pm_lab.server.files import Handle
from pm_lab.server.filters import FEW_TEXTS, as_text, rows
from pm_lab.server.frames import frame
from pm_lab.server.refusals import Refused
from pm_lab.server.scans import coded, numbers
from pm_lab.server.selection_code import colouring, selection
from pm_lab.server.working_copies import save_new

KERNEL = {"kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}}
MOST_FILTERS = 100
LARGE = """\
**Larger than memory?** Then open it without reading it whole, and take into memory only what you select:

```python
import anndata
adata = anndata.read_h5ad(FILE, backed="r")
selected = adata[keep_obs, keep_var].to_memory()
```"""


class NotebookHandler(PmLabHandler):
    """POST ``{path, kind: "open" | "explore", state}``: 201 ``{"path"}`` of a new notebook beside the file.

    ``state`` is the viewer's: ``filters``, ``colour`` (``{kind, name, layer}`` or null) and ``embedding``
    (``{key, x, y}``). The notebook runs from top to bottom and selects the rows that the viewer counts.
    """

    @web.authenticated
    async def post(self) -> None:
        asked = self.get_json_body()
        if not isinstance(asked, dict) or not isinstance(asked.get("path"), str):
            raise Refused(400, 'The request must be {"path": a file, "kind": "open" or "explore"}.')
        if asked.get("kind") not in ("open", "explore"):
            raise Refused(400, "kind must be open or explore.", "kind")
        if asked["kind"] == "explore":
            _, path = await self.in_thread(self.resolved, asked["path"])
            file = PurePosixPath(path)
            notebook, stem = explore_notebook(file.name), f"{file.stem}-explore"
        else:
            state = _checked_state(asked.get("state"))
            path, counts = await self.in_thread(self._settled, asked["path"], state)
            file = PurePosixPath(path)
            notebook, stem = open_notebook(file.name, state, counts), file.stem
        folder = "" if str(file.parent) == "." else str(file.parent)
        made = await save_new(self.contents_manager, notebook, folder, stem)
        self.set_status(201)
        self.answer({"path": made})

    def _settled(self, path: str, state: dict) -> tuple[str, dict[str, int]]:
        """The contents path, and how many rows of each axis the filters keep.

        Filters by values get those of the file: its number 3 for the page's text "3".
        """
        real, name = self.resolved(path)
        with self.lab.files.open(real, name, self.cancelled) as handle:
            counts = {}
            for axis in ("obs", "var"):
                kept = rows(handle, axis, state["filters"])
                counts[axis] = frame(handle, axis).n if kept is None else int(kept.sum())
            for one in state["filters"]:
                if one["kind"] == "contains" and (labels := _numbers_that_contain(handle, one)) is not None:
                    one |= {"kind": "values", "values": labels}
                elif one["kind"] == "values":
                    one["values"] = _of_the_file(handle, one)
            if state["colour"] and state["colour"]["kind"] == "obs":
                state["colour"]["drawn_as"] = _drawn_as(handle, state["colour"]["name"])
        return name, counts


def _of_the_file(handle: Handle, one: dict) -> list:
    """The values of a column that a filter by values keeps, as pandas will have them."""
    column = frame(handle, one["axis"]).column(one["column"], one["axis"])
    wanted = {as_text(value) for value in one["values"]}
    if column.type in ("number", "integer", "boolean"):
        values, missing = numbers(handle, one["axis"], column.name)
        return [one.item() for one in np.unique(values[~missing]) if as_text(plain(one)) in wanted]
    if column.type == "category":
        labels = coded(handle, one["axis"], column.name).labels().tolist()
        return [label for label in labels if as_text(label) in wanted]
    return sorted(wanted | {text.capitalize() for text in wanted & {"true", "false"}})


def _numbers_that_contain(handle: Handle, one: dict) -> list | None:
    """Categories that are numbers and contain a text as the page writes them, 3 for 3.0; else None."""
    column = frame(handle, one["axis"]).column(one["column"], one["axis"])
    if column.type != "category" or column.n_categories > FEW_TEXTS or is_text(column.categories):
        return None
    labels = coded(handle, one["axis"], column.name).labels().tolist()
    return [label for label in labels if one["text"].casefold() in as_text(label).casefold()]


def _drawn_as(handle: Handle, name: str) -> str:
    """Empty where scanpy can colour by the column as it is: no nullable one, none named as a gene."""
    column = frame(handle, "obs").column(name, "obs")
    genes = frame(handle, "var").index
    if column.mask is None and name not in genes.read(0, genes.n).array:
        return ""
    return "float" if column.type in ("number", "integer") else "category"


def open_notebook(name: str, state: dict, counts: dict[str, int]) -> nbformat.NotebookNode:
    """Load ``name``, select and colour as ``state`` says, which :func:`_checked_state` has seen."""
    code = selection(state["filters"], state["colour"])
    cells = [
        new_markdown_cell(f"# {_markdown(name)}\n\nThe file, and what was selected in the viewer of pm_lab."),
        new_code_cell(
            "import numpy as np\nimport pm_lab as pm\nimport scanpy as sc\n\n"
            f"FILE = {name!r}\nadata = pm.datasets.read_anndata(FILE)\nadata"
        ),
        new_markdown_cell(LARGE),
        new_markdown_cell(f"## Selection\n\n{_said(state, counts)}"),
        new_code_cell("\n".join(code.lines)),
        new_code_cell(
            "selected = adata[keep_obs, keep_var].copy()\n"
            'print(f"{selected.n_obs:,} of {adata.n_obs:,} observations, '
            '{selected.n_vars:,} of {adata.n_vars:,} variables")'
        ),
    ]
    if drawn := colouring(state["embedding"], state["colour"]):
        cells += [new_markdown_cell("## Embedding"), new_code_cell("\n".join(drawn))]
    return _notebook(cells)


def explore_notebook(name: str) -> nbformat.NotebookNode:
    """Open the patient explorer on ``name``."""
    return _notebook(
        [
            new_markdown_cell(
                f"# Patients of {_markdown(name)}\n\n"
                "The patient explorer: filter and compare patients, look at one of them, write a report. "
                "Research use only: not a medical device."
            ),
            new_code_cell(f"import pm_lab as pm\n\npm.explore({name!r})"),
        ]
    )


def _notebook(cells: list) -> nbformat.NotebookNode:
    for number, cell in enumerate(cells, 1):
        cell["id"] = f"cell-{number}"
    return new_notebook(cells=cells, metadata=KERNEL)


def _said(state: dict, counts: dict[str, int]) -> str:
    if not state["filters"]:
        return (
            "No filter was set: everything is selected. Narrow `keep_obs` (rows) or `keep_var` (genes) here."
        )
    return (
        "Each condition narrows `keep_obs` (rows) or `keep_var` (genes) further. The viewer counted "
        f"{counts['obs']:,} observations and {counts['var']:,} variables."
    )


def _markdown(name: str) -> str:
    """A file's name as Markdown that shows it as it is."""
    return "`" + " ".join(name.replace("`", "'").split()) + "`"


def _checked_state(state: object) -> dict:
    """What of the viewer's state the notebook needs, or 400."""
    state = {} if state is None else state
    if not isinstance(state, dict):
        raise Refused(400, "state must be a JSON object.", "state")
    filters = state.get("filters") or []
    if not isinstance(filters, list) or len(filters) > MOST_FILTERS:
        raise Refused(400, f"filters must be a list of at most {MOST_FILTERS} filters.", "filters")
    return {
        "filters": [checked_filter(one, place) for place, one in enumerate(filters)],
        "colour": _checked_colour(state.get("colour")),
        "embedding": _checked_embedding(state.get("embedding")),
    }


def _checked_colour(colour: object) -> dict | None:
    if colour is None:
        return None
    if isinstance(colour, dict):
        kind, name, layer = (colour.get(key) for key in ("kind", "name", "layer"))
        if kind in ("obs", "gene") and isinstance(name, str) and isinstance(layer, str | None):
            return {"kind": kind, "name": name, "layer": layer}
    raise Refused(400, "colour must be {kind: obs or gene, name, layer}.", "colour")


def _checked_embedding(embedding: object) -> dict | None:
    if embedding is None or (isinstance(embedding, dict) and embedding.get("key") is None):
        return None
    if isinstance(embedding, dict):
        key, x, y = embedding.get("key"), embedding.get("x", 0), embedding.get("y", 1)
        if isinstance(key, str) and all(type(place) is int and 0 <= place < 10**6 for place in (x, y)):
            return {"key": key, "x": x, "y": y}
    raise Refused(400, "embedding must be {key, x, y}.", "embedding")


ROUTES = [(r"notebook", NotebookHandler)]
