"""What every model says of itself, after TRIPOD+AI; what nobody said stays visibly "not provided"."""

from __future__ import annotations

import html
import os
import re
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pm_lab.errors import DataError

NOT_PROVIDED = "not provided"
NOTICE = "Research software, not a medical device: not for decisions about patients."

TITLE = 'style="text-align: left; vertical-align: top; width: 30%" scope="row"'
CELL = 'style="text-align: left; vertical-align: top"'  # JupyterLab sets cells to the right
FOLDED = 12  # rows from which a table is folded

# Section → items: key, what it is called. The items follow TRIPOD+AI: background, data, participants,
# outcome, predictors, sample size, missing data, methods, fairness, performance, the model in full, limits.
SECTIONS = {
    "Intended use": {
        "purpose": "What it predicts, and for what use",
        "users": "Who would use it, and when",
        "not_for": "What it must not be used for",
    },
    "Population": {
        "source": "Source of the data, dates, setting",
        "participants": "Eligibility and treatment",
        "n": "Patients and events",
        "outcome": "Outcome, its unit and how it was assessed",
        "predictors": "Predictors and how they were measured",
        "missing": "Missing data and how they were handled",
    },
    "Model": {
        "method": "Method and tuning",
        "weights": "The model in full",
        "validation": "How it was validated",
    },
    "Performance": {
        "discrimination": "Discrimination, with intervals",
        "calibration": "Calibration",
        "external": "In other cohorts",
        "subgroups": "In subgroups (fairness)",
        "negative_control": "Negative control (permuted outcomes)",
        "baseline": "Naive baseline",
    },
    "Limits": {
        "limitations": "Limitations",
        "ethics": "Ethics approval and consent",
        "funding": "Funding and conflicts of interest",
        "availability": "Data, code and registration",
    },
    "Reproducibility": {"versions": "Versions", "seed": "Seed"},
}
ITEMS = {key: title for items in SECTIONS.values() for key, title in items.items()}


@dataclass
class ModelCard:
    """A model card: ``items`` by key, shown in the order of TRIPOD+AI. In a notebook it shows itself."""

    title: str
    items: dict = field(default_factory=dict, repr=False)

    @property
    def missing(self) -> list[str]:
        """Keys of the items that are not provided."""
        return [key for key in ITEMS if _is_empty(self.items.get(key))]

    def to_markdown(self) -> str:
        """The card as Markdown; no text in it can forge HTML, a heading, a list or a table."""
        lines = [f"# {_escaped(self.title)}", "", f"*{NOTICE}*", ""]
        for section, items in SECTIONS.items():
            lines += [f"## {section}", ""]
            for key, title in items.items():
                lines += [f"**{title}**", "", _markdown(self.items.get(key)), ""]
        return "\n".join(lines).rstrip() + "\n"

    def to_html(self) -> str:
        """The card as an HTML fragment; all text is escaped."""
        parts = [f"<h2>{html.escape(self.title)}</h2>", f"<p><em>{NOTICE}</em></p>"]
        for section, items in SECTIONS.items():
            rows = [
                f"<tr><th {TITLE}>{title}</th><td {CELL}>{_html(self.items.get(key))}</td></tr>"
                for key, title in items.items()
            ]
            parts += [f"<h3>{section}</h3>", f'<table style="width: 100%">{"".join(rows)}</table>']
        return "\n".join(parts)

    def _repr_html_(self) -> str:
        return self.to_html()

    def save(self, path: str | Path) -> None:
        """Write Markdown (``.md``) or HTML (``.html``), under another name first."""
        path = Path(path)
        if path.suffix not in (".md", ".html"):
            raise DataError(f"{path.name}: a model card is saved as .md or .html.")
        text = self.to_markdown()
        if path.suffix == ".html":
            title = html.escape(self.title)
            text = (
                '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
                f"<title>{title}</title>"
                "<style>body { font-family: sans-serif; max-width: 60em; margin: 2em auto }</style></head>\n"
                f"<body>\n{self.to_html()}\n</body></html>\n"
            )
        unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            unfinished.write_text(text, encoding="utf-8")
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)


def model_card(title: str, **items) -> ModelCard:
    """A model card from what is known; all other items of TRIPOD+AI are shown as "not provided".

    Parameters
    ----------
    title : the model's name and what it predicts.
    items : text, number, date, path, list, dict or table by key; the keys are those of
        ``pm.model_card.ITEMS``. What is blank, NaN or made of such alone is "not provided".
        ``versions`` are those of this environment unless given.

    Raises
    ------
    DataError
        An unknown key, with those there are.

    References
    ----------
    Collins 2024 (TRIPOD+AI), doi:10.1136/bmj-2023-078378; Mitchell 2019, doi:10.1145/3287560.3287596.

    Examples
    --------
    >>> from pm_lab.model_card import model_card
    >>> card = model_card("A panel", purpose="Research on time to metastasis")
    >>> "not provided" in card.to_markdown(), "purpose" in card.missing
    (True, False)
    """
    unknown = [key for key in items if key not in ITEMS]
    if unknown:
        raise DataError(f"a model card has no item {', '.join(unknown)}; there are {', '.join(ITEMS)}.")
    return ModelCard(title, {"versions": _versions()} | items)


def _versions() -> dict[str, str]:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for name in ("pm_lab", "numpy", "pandas", "scikit-learn", "scikit-survival"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _is_empty(value: Any) -> bool:
    """Whether nothing was said: None, NaN, blank text, or a container of such alone."""
    if isinstance(value, (pd.DataFrame, pd.Series)):
        return value.empty or bool(value.isna().to_numpy().all())
    if isinstance(value, dict):
        return all(map(_is_empty, value.values()))
    if isinstance(value, str):
        return not value.strip()
    if _is_list(value):
        return all(map(_is_empty, value))
    return _is_missing(value)


def _is_list(value: Any) -> bool:
    is_array = isinstance(value, np.ndarray) and value.ndim > 0
    return is_array or isinstance(value, (list, tuple, set, frozenset, range, pd.Index))


def _is_missing(value: Any) -> bool:
    found = pd.isna(value)
    return isinstance(found, (bool, np.bool_)) and bool(found)


def _text(value: Any) -> str:
    """One value as text: three digits, whole numbers in full, dates as year-month-day."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_text(item)}" for key, item in value.items())
    if _is_list(value):
        return ", ".join(map(_text, value))
    if isinstance(value, (np.generic, np.ndarray)) and not _is_missing(value):
        value = value.item()
    if not isinstance(value, str) and _is_missing(value):
        return NOT_PROVIDED
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e6 else f"{value:.3g}"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ").removesuffix(" 00:00:00")
    return value.isoformat() if isinstance(value, date) else str(value)


def _cells(table: pd.DataFrame | pd.Series) -> tuple[list[str], list[list[str]]]:
    """Names of the columns and rows of text; the index comes first, unless it only counts the rows."""
    table = table.to_frame() if isinstance(table, pd.Series) else table
    names, columns = (
        [_text(name) for name in table.columns],
        [table.iloc[:, i] for i in range(table.shape[1])],
    )
    if not table.index.equals(pd.RangeIndex(len(table))) or table.index.name is not None:
        levels = range(table.index.nlevels)
        names = ["" if name is None else _text(name) for name in table.index.names] + names
        columns = [table.index.get_level_values(level) for level in levels] + columns
    texts = [["–" if _is_empty(value) else _text(value) for value in column] for column in columns]
    return names, [list(row) for row in zip(*texts, strict=True)]


def _lines(value: Any) -> list[str]:
    """A list or dict, one line an item."""
    if isinstance(value, dict):
        return [f"{key}: {NOT_PROVIDED if _is_empty(item) else _text(item)}" for key, item in value.items()]
    return [NOT_PROVIDED if _is_empty(item) else _text(item) for item in value]


# What Markdown reads as markup within a line, and as a heading, list, quote or rule at its start. An
# underscore within a word is none, and & is only before the name of a character.
WITHIN = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])")
AT_START = re.compile(r"^([#>=]|--|[+-](?=\s|$)|\d+(?=[.)](\s|$)))")
ENTITY = re.compile(r"&(?=#?\w+;)")


def _escaped(text: Any) -> str:
    """Text on one line in which Markdown finds nothing but text."""
    line = " ".join(_text(text).split())
    line = ENTITY.sub("&amp;", WITHIN.sub(r"\\\g<0>", line)).replace("<", "&lt;")
    if line[:1].isdigit():
        return AT_START.sub(lambda found: found[0] + "\\", line)
    return AT_START.sub(r"\\\g<0>", line)


def _markdown(value: Any) -> str:
    if _is_empty(value):
        return f"*{NOT_PROVIDED}*"
    if isinstance(value, (pd.DataFrame, pd.Series)):
        names, rows = _cells(value)
        rows = [[*map(_escaped, names)], ["---"] * len(names), *([*map(_escaped, row)] for row in rows)]
        return "\n".join("| " + " | ".join(row) + " |" for row in rows)
    if isinstance(value, dict) or _is_list(value):
        return "\n".join(f"- {_escaped(line)}" for line in _lines(value))
    paragraphs = re.split(r"\n\s*\n", _text(value))
    return "\n\n".join(_escaped(part) for part in paragraphs if part.strip())


def _html(value: Any) -> str:
    if _is_empty(value):
        return f"<em>{NOT_PROVIDED}</em>"
    if isinstance(value, (pd.DataFrame, pd.Series)):
        names, rows = _cells(value)
        with pd.option_context("display.max_colwidth", None):
            text = pd.DataFrame(rows, columns=names).to_html(index=False, border=0, escape=True)
        return (
            text if len(rows) <= FOLDED else f"<details><summary>{len(rows):,} rows</summary>{text}</details>"
        )
    if isinstance(value, dict) or _is_list(value):
        return "<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in _lines(value)) + "</ul>"
    return html.escape(_text(value))
