"""The summary as HTML without script, and as plain text.

Words are HTML and take the colours of the page, light or dark. Bars are images given as data: in a notebook
that is not trusted JupyterLab shows those, but of an SVG in the page the words alone. Their one colour can be
told from white and from black.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable

from pm_lab.explorer.page import Html, as_html

from .columns import Bar, Column
from .contents import Contents, Matrix

COLOUR = "#0072B2"  # of Okabe and Ito; 5.2 : 1 on white, 3.6 : 1 on JupyterLab's black
WIDTH, HEIGHT = 120, 10  # of a bar
TALL, BIN = 44, 14  # of a histogram: its height, the width of a bin
MOST_NAME = 60  # characters of a name or value
MOST_LISTED = 30  # names of a list
CELL = 'style="text-align: left; vertical-align: top"'


def summary_html(
    title: str,
    contents: Contents,
    columns: list[Column],
    counted: str,
    warnings: list[str],
    notes: Iterable[str | Html],
) -> str:
    """The whole summary as one section."""
    return (
        '<section class="pm-lab-view" aria-label="Summary of an AnnData" style="max-width: 60em">'
        f"<p><strong>{as_html(title)}</strong></p>"
        f"{_warnings(warnings)}"
        f"<table><caption {CELL}>What it holds</caption><tbody>"
        f"{''.join(_row(name, [as_html(text)]) for name, text in parts_of(contents))}</tbody></table>"
        f"{_columns(columns, counted)}"
        f"{''.join(f'<p><small>{as_html(note)}</small></p>' for note in notes)}"
        "</section>"
    )


def summary_text(title: str, contents: Contents, columns: list[Column], warnings: list[str]) -> str:
    """The same in a few lines, without counts of the columns."""
    lines = [title, *(f"  {name}: {text}" for name, text in parts_of(contents))]
    if columns:
        lines.append(f"  obs: {names([column.name for column in columns])}")
    return "\n".join([*lines, *(f"  Warning: {_printable(warning)}" for warning in warnings)])


def parts_of(contents: Contents) -> list[tuple[str, str]]:
    """Each part with what is in it; parts that are empty are left out."""
    rows = [("X", "none")] if contents.x is None else []
    for matrix in (contents.x, *contents.layers, contents.raw):
        if matrix is not None:
            rows.append((cut(matrix.name), _matrix(matrix)))
    rows += [(name, names(listed)) for name, listed in contents.parts.items() if listed]
    if contents.var_columns:
        rows.append(("var", names(contents.var_columns)))
    return rows


def cut(text: str) -> str:
    """A name on one line, not too long."""
    text = _printable(text)
    return text if len(text) <= MOST_NAME else f"{text[: MOST_NAME - 1]}…"


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)


def names(listed: list[str]) -> str:
    """Names one after the other, as many as can be read."""
    more = f", and {len(listed) - MOST_LISTED:,} more" if len(listed) > MOST_LISTED else ""
    return ", ".join(map(cut, listed[:MOST_LISTED])) + more


def _matrix(matrix: Matrix) -> str:
    return f"{matrix.words()}; {matrix.kind}, {matrix.dtype}".rstrip(", ")


def _row(name: str, cells: Iterable[Html]) -> str:
    rest = "".join(f"<td {CELL}>{cell}</td>" for cell in cells)
    return f'<tr><th scope="row" {CELL}>{as_html(cut(name))}</th>{rest}</tr>'


def _warnings(warnings: list[str]) -> str:
    if not warnings:
        return ""
    items = "".join(f"<li>{as_html(_printable(one))}</li>" for one in warnings)
    return f"<p>To look at ({len(warnings)}):</p><ul>{items}</ul>"


def _columns(columns: list[Column], counted: str) -> str:
    if not columns:
        return ""
    rows = "".join(
        _row(column.name, [_figure(column), as_html(_printable(column.note))]) for column in columns
    )
    caption = f"<caption {CELL}>Columns of obs, with {as_html(counted)}</caption>"
    return f"<table>{caption}<tbody>{rows}</tbody></table>"


def _figure(column: Column) -> Html:
    if column.bars:
        return Html("<br>".join(_bar(bar) for bar in column.bars))
    return _histogram(column) if column.bins else Html("")


def _bar(bar: Bar) -> str:
    """A bar and its count; the words say all that the bar shows, so that it needs no text of its own."""
    length = 0 if bar.length is None else max(1, round(WIDTH * bar.length))
    path = f'<path d="M0 0H{length}V{HEIGHT}H0z" fill="{COLOUR}"/>' if length else ""
    return f"{_image(path, WIDTH, HEIGHT, '')} {as_html(cut(bar.label))}: {as_html(bar.count)}"


def _histogram(column: Column) -> Html:
    """Bins as an image that says its counts in words; a hidden bin is a frame of one height."""
    shapes = []
    for place, one in enumerate(column.bins):
        x = place * BIN
        if one.length is None:
            shapes.append(
                f'<path d="M{x + 1.5} {TALL - 5.5}h{BIN - 4}v5h-{BIN - 4}z" fill="none" stroke="{COLOUR}"/>'
            )
        else:
            height = max(1, round(TALL * one.length)) if one.length else 0
            shapes.append(f'<path d="M{x} {TALL}v-{height}h{BIN - 1}v{height}z" fill="{COLOUR}"/>')
    words = "; ".join(f"{one.label}: {one.count}" for one in column.bins)
    image = _image("".join(shapes), BIN * len(column.bins), TALL, f"Histogram of {cut(column.name)}. {words}")
    low, high = column.ends
    frames = "; frames: hidden" if any(one.length is None for one in column.bins) else ""
    return Html(f"{image}<br><small>{as_html(f'{low} to {high}{frames}')}</small>")


def _image(shapes: str, width: int, height: int, words: str) -> str:
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}">{shapes}</svg>'
    )
    data = b64encode(svg.encode()).decode()
    source = f"data:image/svg+xml;base64,{data}"
    return f'<img width="{width}" height="{height}" alt="{as_html(words)}" src="{source}">'
