"""The HTML pages of the notebooks ask nothing of the network."""

import re
from html.parser import HTMLParser

import execute
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

# Attributes that make a browser fetch something by itself; the href of an <a> is not among them.
FETCHING = {"src", "srcset", "data", "poster", "background"}
IN_STYLE = re.compile(r"(?:url\(|@import)\s*[\"']?\s*((?:https?:)?//[^\"')\s]+)")
IN_SCRIPT = re.compile(r"[\"'`]((?:https?:)?//[^\"'`\s]+\.m?js[^\"'`\s]*)[\"'`]")


class _Requests(HTMLParser):
    """Collects the addresses outside the page that a browser would ask for."""

    def __init__(self):
        super().__init__()
        self.found = []
        self._inside = None

    def handle_starttag(self, tag, attrs):
        self._inside = tag if tag in ("script", "style") else self._inside
        for name, value in attrs:
            fetches = name in FETCHING or (tag == "link" and name == "href")
            if fetches and re.match(r"(https?:)?//", (value or "").strip()):
                self.found.append(value)
            if name == "style":
                self.found += IN_STYLE.findall(value or "")

    def handle_endtag(self, tag):
        self._inside = None if tag == self._inside else self._inside

    def handle_data(self, data):
        if self._inside == "style":
            self.found += IN_STYLE.findall(data)
        elif self._inside == "script":
            self.found += IN_SCRIPT.findall(data)


def requests_of(page):
    parser = _Requests()
    parser.feed(page)
    return parser.found


@pytest.mark.parametrize("path", execute.find(), ids=lambda path: path.stem)
def test_page_of_committed_notebook_makes_no_request(path):
    page = execute.to_html(nbformat.read(path, as_version=4), path.stem)
    assert requests_of(page) == []


def test_formulas_diagrams_and_widgets_bring_in_no_script():
    cells = [new_markdown_cell("# T\n\n$\\alpha$\n\n```mermaid\ngraph TD;\n```"), new_code_cell("1")]
    notebook = new_notebook(
        cells=cells, metadata={"widgets": {"application/vnd.jupyter.widget-state+json": {}}}
    )
    page = execute.to_html(notebook, "a title")
    assert requests_of(page) == []
    assert "<title>a title</title>" in page
    assert "cdn" not in page.lower()


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.example.org/plotly.min.js"></script>',
        '<img src="//example.org/a.png">',
        '<link rel="stylesheet" href="https://example.org/a.css">',
        "<style>@import 'https://example.org/a.css';</style>",
        "<style>a { background: url(https://example.org/a.png) }</style>",
        "<script>require(['https://cdn.example.org/plotly.js'])</script>",
        '<p style="background: url(https://example.org/a.png)">x</p>',
    ],
)
def test_the_check_sees_a_request_in_an_output(html):
    cell = new_code_cell("1", outputs=[new_output("display_data", {"text/html": html})])
    assert len(requests_of(execute.to_html(new_notebook(cells=[cell]), "x"))) == 1


def test_a_link_to_follow_is_not_a_request():
    cell = new_markdown_cell("[DESeq2](https://doi.org/10.1186/s13059-014-0550-8)")
    assert requests_of(execute.to_html(new_notebook(cells=[cell]), "x")) == []
