"""The curves of a saved notebook: an SVG by hand, since matplotlib takes longer to load than all else.

It is an image and not a part of the page: in a notebook that is not trusted, JupyterLab shows images that are
given as data, but of an SVG in the page the words alone.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

import numpy as np

from . import page
from .disclosure import coarse_curve
from .figures import COLOURS
from .view_figures import survival_of

if TYPE_CHECKING:
    from .disclosure import Disclosure
    from .state import CohortState
    from .summaries import Curve

LEFT, RIGHT, TOP, BOTTOM = 40, 380, 10, 160  # of the frame
FRAME = (
    f'<path d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}" fill="none" stroke="#7A8894"/>'
    f'<text x="{LEFT - 6}" y="{TOP + 4}" text-anchor="end">1</text>'
    f'<text x="{LEFT - 6}" y="{BOTTOM + 3}" text-anchor="end">0</text>'
    f'<text x="{LEFT}" y="{BOTTOM + 15}" text-anchor="middle">0</text>'
)

# Opened without its kernel, a notebook has the application's boxes but no figure in them: the summary stands.
# A notebook that is not trusted loses this line, and has no boxes either.
LIVE_ONLY = "<style>.pm-explorer:not(:has(.pm-figure)) { display: none }</style>"


def curves_chart(state: CohortState, rules: Disclosure) -> page.Html:
    """Survival (or incidence of the cause of interest) as far and as finely as it may be shown."""
    shown = []
    for curve, numbers in zip(*survival_of(state, rules), strict=True):
        rows = coarse_curve(numbers, rules)
        if len(rows) and (not shown or curve.cause == shown[0][0].cause):
            shown.append((curve, rows))
    if not shown:
        return page.Html("")
    end = max(float(curve.time[rows[-1]]) for curve, rows in shown) or 1.0
    lines = [_line(*one, place, end, rules) for place, one in enumerate(shown)]
    what = "cumulative incidence" if shown[0][0].kind == "incidence" else "share without event"
    words = "; ".join(f"{curve.name} {curve.survival[rows[-1]]:.2f}" for curve, rows in shown)
    unit = _xml(shown[0][0].unit)
    image = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 200" width="400" height="200" '
        f'style="font: 11px sans-serif"><rect width="400" height="200" fill="#fff"/>{FRAME}'
        f'<text x="{RIGHT}" y="{BOTTOM + 15}" text-anchor="middle">{page.as_text(end)}</text>'
        f'<text x="{(LEFT + RIGHT) / 2}" y="{BOTTOM + 31}" text-anchor="middle">time, {unit}</text>'
        f'<text transform="translate(14 90) rotate(-90)" text-anchor="middle">{what}</text>'
        f"{''.join(lines)}</svg>"
    )
    source = f"data:image/svg+xml;base64,{b64encode(image.encode()).decode()}"
    return page.Html(
        f'<img width="400" alt="{what}, at the end: {page.as_html(words)}; time, {unit}" src="{source}">'
    )


def _xml(text: str) -> str:
    """Escaped, without what no XML may hold: a browser shows nothing of an image that has it."""
    return page.as_html("".join(letter for letter in text if letter.isprintable()))


def _line(curve: Curve, rows: np.ndarray, place: int, end: float, rules: Disclosure) -> str:
    """One curve as steps, and its label."""
    x = LEFT + (RIGHT - LEFT) * curve.time[rows] / end
    y = BOTTOM - (BOTTOM - TOP) * curve.survival[rows]
    steps = "".join(f"H{a:.1f}V{b:.1f}" for a, b in zip(x[1:], y[1:], strict=True))
    colour, dashes = COLOURS[place], "none" if place == 0 else "6 3"
    below = TOP + 10 + 14 * place if curve.kind == "incidence" else BOTTOM - 8 - 14 * place
    events = rules.events(curve.events, curve.n + curve.n_unknown, curve.cause)
    label = _xml(f"{curve.name}: {events} with {curve.cause}")
    return (
        f'<path d="M{x[0]:.1f} {y[0]:.1f}{steps}" fill="none" stroke="{colour}" stroke-width="2" '
        f'stroke-dasharray="{dashes}"/>'
        f'<text x="{LEFT + 8}" y="{below}" fill="{colour}">{label}</text>'
    )
