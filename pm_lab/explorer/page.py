"""One self-contained HTML page for reports: no script, no external address, printed on A4.

Everything that is put into it as text is escaped. A content security policy in the page itself lets a browser
load nothing but what the page holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import escape
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LINES = 'style="stroke-linejoin: round; stroke-linecap: butt"'  # as matplotlib says of the whole page
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"

STYLE = """
:root { color-scheme: light; --ink: #1b2733; --soft: #55626e; --line: #d5dde4; --pale: #f4f7f9;
  --blue: #0072b2; --orange: #b34700 }
* { box-sizing: border-box }
body { margin: 0; background: #e9edf0; color: var(--ink);
  font: 9pt/1.35 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", Verdana, sans-serif }
main { background: #fff; width: 210mm; max-width: 100%; margin: 8mm auto; padding: 11mm 12mm 9mm;
  box-shadow: 0 1px 6px #0002 }
header .use { max-width: 78mm }
header { display: flex; justify-content: space-between; align-items: flex-end; gap: 8mm;
  border-bottom: 2px solid var(--blue); padding-bottom: 2mm; margin-bottom: 3mm }
h1 { font-size: 16pt; line-height: 1.15; margin: 0; font-weight: 600; overflow-wrap: anywhere }
h2 { font-size: 10pt; margin: 0 0 1.2mm; font-weight: 600; color: var(--blue) }
p { margin: 0 0 1.5mm; overflow-wrap: anywhere }
ul { margin: 0; padding-left: 4mm; overflow-wrap: anywhere }
.kind { color: var(--soft); margin: 0 }
.use { display: inline-block; border: 1px solid var(--orange); color: var(--orange);
  border-radius: 2mm; padding: 1mm 2.5mm; font-size: 8pt; margin: 0 }
.note { color: var(--soft); font-size: 8pt }
.grid { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 3.5mm 7mm }
section { break-inside: avoid; min-width: 0; margin-bottom: 3mm } .grid > section { margin: 0 }
.grid { margin-bottom: 3mm }
.three { grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 0 5mm; margin: 0 }
.three table { font-size: 7.5pt } .three :is(th, td) { padding-top: .4mm; padding-bottom: .4mm }
.numbers { display: flex; flex-wrap: wrap; gap: 2mm 3mm; margin: 0 0 3mm }
.numbers div { background: var(--pale); border-radius: 1.5mm; padding: 1.5mm 2.5mm; flex: 1 1 auto }
.numbers dt { color: var(--soft); font-size: 8pt }
.numbers dd { margin: 0; font-size: 12pt; font-weight: 600; white-space: nowrap }
table { border-collapse: collapse; width: 100%; font-size: 8pt; font-variant-numeric: tabular-nums }
caption { text-align: left; color: var(--soft); padding-bottom: .8mm }
th, td { text-align: left; vertical-align: top; padding: .55mm 2mm .55mm 0; overflow-wrap: anywhere;
  border-bottom: 1px solid var(--line) }
th { font-weight: 600 } tbody th { font-weight: 400 } thead th { border-bottom-color: var(--soft) }
.right { text-align: right } td.right { white-space: nowrap }
figure { margin: 0 } svg { display: block; width: 100%; height: auto }
.bar { display: inline-block; position: relative; width: 18mm; height: 1.6mm; border-radius: 1mm;
  background: #dbe3e9; vertical-align: middle; margin-right: 1.5mm }
.bar i { position: absolute; top: -.7mm; width: 1.1mm; height: 3mm; border-radius: .5mm;
  background: var(--blue); margin-left: -.5mm }
footer { border-top: 1px solid var(--line); margin-top: 3mm; padding-top: 2mm; color: var(--soft);
  font-size: 7pt; line-height: 1.3 }
footer dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .2mm 3mm; margin: 0 }
footer dt { font-weight: 600 } footer dd { margin: 0; overflow-wrap: anywhere }
@page { size: A4; margin: 9mm 11mm }
@media print {
  body { background: #fff; -webkit-print-color-adjust: exact; print-color-adjust: exact }
  main { width: auto; margin: 0; padding: 0; box-shadow: none }
  .sheet { zoom: .88 }
  .sheet:has(.three) { zoom: .8 }
}
@media screen and (max-width: 160mm) {
  .grid, .three { grid-template-columns: minmax(0, 1fr) }
  main { padding: 5mm }
}
"""


class Html(str):
    """Text that is HTML already; everything else is escaped on its way into a page."""


def as_html(value: Any) -> Html:
    """A value as HTML: escaped, numbers in three digits, an en dash for what is missing."""
    if isinstance(value, Html):
        return value
    return Html(escape(as_text(value)))


def as_text(value: Any) -> str:
    """A value as people read it: whole numbers in full, other numbers in three digits."""
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if value is None or (np.ndim(value) == 0 and pd.isna(value)):
        return "–"
    if isinstance(value, (int, np.integer)):
        return f"{value:,}"
    if isinstance(value, (float, np.floating)):
        return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e9 else f"{value:.3g}"
    if isinstance(value, pd.Timestamp):
        return value.date().isoformat()
    return str(value)


def document(title: str, kind: str, body: Iterable[str], use: str, footer: Mapping[str, Any]) -> str:
    """The whole page: header with the title and how it may be used, sections, footer with its origin.

    It is printed a little smaller than shown, so that a patient or a cohort fits on one sheet.
    """
    origin = "".join(f"<dt>{as_html(name)}</dt><dd>{as_html(value)}</dd>" for name, value in footer.items())
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{as_html(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        '<main class="sheet">\n'
        f'<header><div><p class="kind">{as_html(kind)}</p><h1>{as_html(title)}</h1></div>'
        f'<p class="use">{as_html(use)}</p></header>\n'
        + "\n".join(body)
        + f"\n<footer><dl>{origin}</dl></footer>\n</main>\n</body>\n</html>\n"
    )


def section(title: str, *parts: str, wide: bool = False) -> Html:
    """A titled block of the page; empty parts are left out."""
    inner = "".join(as_html(part) if isinstance(part, Html) else paragraph(part) for part in parts if part)
    return Html(f"<section{' class=wide' if wide else ''}><h2>{as_html(title)}</h2>{inner}</section>")


def grid(sections: Iterable[str]) -> Html:
    """Sections in two columns, from left to right."""
    return Html(f'<div class="grid">{"".join(part for part in sections if part)}</div>')


def columns(*parts: Iterable[str]) -> Html:
    """Two or three columns side by side, each filled from above."""
    inner = "".join("<div>" + "".join(part) + "</div>" for part in parts)
    return Html(f'<div class="grid{" three" if len(parts) == 3 else ""}">{inner}</div>')


def paragraph(text: Any, name: str = "note") -> Html:
    return Html(f'<p class="{name}">{as_html(text)}</p>')


def bullets(lines: Iterable[Any]) -> Html:
    return Html("<ul>" + "".join(f"<li>{as_html(line)}</li>" for line in lines) + "</ul>")


def numbers(items: Mapping[str, Any]) -> Html:
    """A row of large numbers with their names."""
    cards = "".join(
        f"<div><dt>{as_html(name)}</dt><dd>{as_html(value)}</dd></div>" for name, value in items.items()
    )
    return Html(f'<dl class="numbers">{cards}</dl>')


def table(frame: pd.DataFrame, caption: str = "", right: Iterable[str] = ()) -> Html:
    """A table: the first column names the rows; columns in ``right`` are set to the right."""
    right = set(right)
    places = [' class="right"' if name in right else "" for name in frame.columns]
    head = "".join(
        f'<th scope="col"{place}>{as_html(name)}</th>' for name, place in zip(frame, places, strict=True)
    )
    rows = []
    for values in frame.itertuples(index=False, name=None):
        first, *rest = (f"{place}>{as_html(value)}" for value, place in zip(values, places, strict=True))
        rows.append(
            f'<tr><th scope="row"{first}</th>' + "".join(f"<td{cell}</td>" for cell in rest) + "</tr>"
        )
    titled = f"<caption>{as_html(caption)}</caption>" if caption else ""
    return Html(f"<table>{titled}<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>")


def percentile_bar(percentile: float) -> Html:
    """A small bar with a mark at a percentile, and the number."""
    if pd.isna(percentile):
        return as_html(None)
    place = float(np.clip(percentile, 0, 100))
    return Html(f'<span class="bar" aria-hidden="true"><i style="left: {place:.0f}%"></i></span>{place:.0f}')


def inline_svg(figure: Figure, name: str) -> Html:
    """A figure as inline SVG: its label is its text summary, its ids carry ``name``.

    Nothing of the file remains that names an address: the document type, the namespaces and the metadata go.
    """
    from .figures import drawing

    buffer = StringIO()
    with drawing():
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<style.*?</style>", "", text, count=1, flags=re.DOTALL)  # it is for the whole page
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(url\(|href=")#', rf"\1#{name}-", text)
    label = escape(str(figure.get_label()) or name)
    text = text.replace("<svg", f'<svg role="img" aria-label="{label}" {LINES}', 1)
    return Html(f"<figure>{text.strip()}</figure>")
