"""What every model says of itself, after TRIPOD+AI; what nobody said stays visibly "not provided"."""

from __future__ import annotations

import html
import os
from dataclasses import dataclass, field
from pathlib import Path

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
        """The card as Markdown."""
        lines = [f"# {_inline(self.title)}", "", f"*{NOTICE}*", ""]
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
    items : text, number, list, dict or DataFrame by key; the keys are those of ``pm.model_card.ITEMS``.
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


def _is_empty(value) -> bool:
    if value is None or isinstance(value, (pd.DataFrame, pd.Series)):
        return value is None or value.empty
    return not isinstance(value, (bool, int, float)) and len(value) == 0


def _rounded(table) -> pd.DataFrame:
    table = table.to_frame() if isinstance(table, pd.Series) else table
    return table.reset_index() if table.index.names != [None] else table


def _cell(value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _inline(text: str) -> str:
    return " ".join(str(text).split())


def _markdown(value) -> str:
    if _is_empty(value):
        return f"*{NOT_PROVIDED}*"
    if isinstance(value, (pd.DataFrame, pd.Series)):
        table = _rounded(value)
        rows = [[str(name) for name in table.columns], ["---"] * table.shape[1]]
        rows += [[_cell(cell).replace("|", "\\|") for cell in row] for row in table.itertuples(index=False)]
        return "\n".join("| " + " | ".join(row) + " |" for row in rows)
    if isinstance(value, dict):
        return "\n".join(f"- {key}: {_inline(_cell(item))}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return "\n".join(f"- {_inline(_cell(item))}" for item in value)
    return _cell(value)


def _html(value) -> str:
    if _is_empty(value):
        return f"<em>{NOT_PROVIDED}</em>"
    if isinstance(value, (pd.DataFrame, pd.Series)):
        table = _rounded(value)
        text = table.to_html(index=False, border=0, float_format=lambda x: f"{x:.3g}", escape=True)
        if len(table) <= FOLDED:
            return text
        return f"<details><summary>{len(table):,} rows</summary>{text}</details>"
    if isinstance(value, (dict, list, tuple)):
        texts = (
            [f"{k}: {_cell(v)}" for k, v in value.items()] if isinstance(value, dict) else map(_cell, value)
        )
        return "<ul>" + "".join(f"<li>{html.escape(text)}</li>" for text in texts) + "</ul>"
    return html.escape(_cell(value))
