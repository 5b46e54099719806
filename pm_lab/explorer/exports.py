"""What leaves the explorer as a file: the selection as CSV, JSON and code, figures as SVG, PNG and PDF.

Each says where it comes from: the data's hash, the selection with its thresholds, versions, date, and that it
is for research only. Nothing in them names a user or a folder of this machine.
"""

from __future__ import annotations

import csv
import json
import re
from datetime import date as Date
from io import BytesIO, StringIO
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab.errors import DataError

from .disclosure import Disclosure
from .provenance import RESEARCH_USE, provenance, versions

if TYPE_CHECKING:
    from .state import CohortState

KINDS = ("svg", "png", "pdf")
DOTS_PER_INCH = 200
# What a spreadsheet would run as a formula. A sign alone ("+", "-", "-1.5") is a value, as of a receptor.
FORMULA = re.compile(r"^\s*([=@\t\r]|[+-].*[(|!])")


def selection_csv(
    state: CohortState,
    hide_small_counts: bool = True,
    genes: list[str] | None = None,
    date: Date | None = None,
) -> bytes:
    """The selected patients as CSV: counts by column that can be shared, or their rows.

    The first lines begin with ``#`` and say where the table comes from; read it with
    ``pandas.read_csv(file, comment="#")``.

    Parameters
    ----------
    hide_small_counts : True: one row a column and value, with the number of all and of the selected patients,
        small ones hidden, and no patient. False: one row a patient, with name and values, for those who may
        see them; where the names look like identifiers, the number of the row in their place.
    genes : whose expression is added to the patients' rows; by default those that are filtered.
    date : of the export; by default today.

    Returns
    -------
    bytes
        UTF-8. Columns that may identify a patient (``data.identifiers``) are left out and named in the first
        lines. Text that a spreadsheet would run as a formula gets an apostrophe before it.

    Raises
    ------
    DataError
        A gene that is not measured.

    Examples
    --------
    >>> import io, pandas as pd, pm_lab as pm
    >>> state = pm.explorer.CohortState(pm.datasets.load("gse7390"))
    >>> state.set_range("age", 40, 55)
    >>> rows = pm.explorer.selection_csv(state, hide_small_counts=False)
    >>> len(pd.read_csv(io.BytesIO(rows), comment="#")) == state.n_selected
    True
    """
    rules = Disclosure.of(state, hide_small_counts)
    table = _count_table(state, rules) if hide_small_counts else _patient_table(state, rules, genes)
    table, n_guarded = _guarded(table)
    said = [f"{name}: {value}" for name, value in provenance(state, rules, date).items()]
    said += rules.notes()
    if n_guarded:
        said.append(
            f"{n_guarded:,} texts got an apostrophe before them: a spreadsheet would run them as formulas."
        )
    buffer = StringIO()
    for line in said:
        buffer.write(f"# {' '.join(line.split())}\n")
    table.to_csv(buffer, index=False, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    return buffer.getvalue().encode()


def _patient_table(state: CohortState, rules: Disclosure, genes: list[str] | None) -> pd.DataFrame:
    if genes is None:
        genes = [key.removeprefix("gene:") for key in state.filters if key.startswith("gene:")]
    table = state.data.table(genes=genes)[state.mask]
    names = table.index.astype(str)
    if "patient" in rules.left_out:
        names = [f"row {row + 1}" for row in np.flatnonzero(state.mask)]
    table = table.drop(columns=[name for name in rules.left_out if name in table])
    for name, column in table.items():
        if isinstance(column.dtype, pd.CategoricalDtype):
            table[name] = column.astype(object)
        elif pd.api.types.is_datetime64_any_dtype(column):
            table[name] = column.dt.strftime("%Y-%m-%d")
    name = "patient" if "patient" not in table else "patient_in_explorer"
    table.insert(0, name, names)
    return table


def _count_table(state: CohortState, rules: Disclosure) -> pd.DataFrame:
    """Every chart's counts, below each other; "hidden" is what may not be shown."""
    from .figures import Panel

    parts = []
    for name, column in state.data.columns.items():
        if not rules.exports(column) or column.kind == "text" or column.group == "endpoint":
            continue
        counts = Panel.of(state, name, rules).counts(rules)
        counts = counts.map(lambda n: "hidden" if pd.isna(n) else str(int(n)))
        if "selected" not in counts:
            counts["selected"] = "hidden" if "selection" in rules.withheld else counts["everyone"]
        counts.insert(0, "value", counts.index.astype(str))
        counts.insert(0, "column", name)
        parts.append(counts)
    names = ["column", "value", "everyone", "selected"]
    return pd.concat(parts, ignore_index=True)[names] if parts else pd.DataFrame(columns=names)


def _guarded(table: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The table without what a spreadsheet takes for formulas, in its header too; and how many there were."""
    n = 0

    def guard(value):
        nonlocal n
        if isinstance(value, str) and FORMULA.match(value):
            n += 1
            return f"'{value}"
        return value

    guarded = table.copy()
    for place in range(table.shape[1]):
        if pd.api.types.is_object_dtype(table.dtypes.iloc[place]):
            guarded.isetitem(place, table.iloc[:, place].map(guard))
    guarded.columns = [guard(str(name)) for name in table.columns]
    return guarded, n


def state_json(state: CohortState) -> bytes:
    """The whole state as JSON, to be opened with :meth:`CohortState.from_json` on the same data.

    It names no patient: those picked by hand are kept as rows, which mean nothing without the data. It is not
    a table to share: the rows of few people are in it.

    Examples
    --------
    >>> import pm_lab as pm
    >>> data = pm.explorer.CohortData.open(pm.datasets.load("gse7390"))
    >>> state = pm.explorer.CohortState(data)
    >>> state.set_range("age", 40, 55)
    >>> text = pm.explorer.state_json(state).decode()
    >>> pm.explorer.CohortState.from_json(data, text).describe() == state.describe()
    True
    """
    text = json.dumps(json.loads(state.to_json()), ensure_ascii=False, indent=1, sort_keys=True)
    return (text + "\n").encode()


def selection_code(state: CohortState) -> str:
    """Python that makes the same selection ("copy as code").

    It runs as it stands where ``cohort`` is what was explored; explored from a file, it names the file.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.load("gse7390")
    >>> state = pm.explorer.CohortState(cohort)
    >>> state.set_range("age", 40, 55)
    >>> names = {"cohort": cohort}
    >>> exec(pm.explorer.selection_code(state), names)
    >>> list(names["selected"].index) == list(state.selected)
    True
    """
    code = state.to_code()
    said = ", ".join(f"{name} {number}" for name, number in versions().items())
    opened = ""
    if "." in state.data.source:
        opened = f"cohort = {state.data.source!r}  # in the folder in which this runs\n"
    code = code.replace(
        "data = pm.explorer.CohortData.open(", f"{opened}data = pm.explorer.CohortData.open(", 1
    )
    return f"# {RESEARCH_USE}\n# Made with {said}\n{code}"


def figure_files(
    state: CohortState, view: str, kind: str = "svg", hide_small_counts: bool = True
) -> dict[str, bytes]:
    """The figures of a view, by file name.

    Parameters
    ----------
    view : "cohort", "compare", "patient" or "gene"; "patient" needs a selected patient, "gene" the setting
        ``gene``.
    kind : "svg" (text stays text), "png" (200 dots an inch) or "pdf" (fonts embedded).
    hide_small_counts : hide what would show fewer people than ``settings["least_count"]``.

    Returns
    -------
    dict of file name to bytes
        Each file says in its metadata what it shows, of which data and selection, and with which versions.

    Raises
    ------
    DataError
        An unknown view or kind; nothing to show in it, with the reason.

    Examples
    --------
    >>> import pm_lab as pm
    >>> state = pm.explorer.CohortState(pm.datasets.load("gse7390"))
    >>> "cohort_survival.svg" in pm.explorer.figure_files(state, "cohort")
    True
    """
    from .figures import drawing
    from .view_figures import view_figures

    if kind not in KINDS:
        raise DataError(f"kind={kind!r}: figures are saved as {', '.join(KINDS)}.")
    rules = Disclosure.of(state, hide_small_counts)
    origin = provenance(state, rules)
    files = {}
    for name, figure in view_figures(state, view, rules).items():
        buffer = BytesIO()
        with drawing():
            figure.savefig(buffer, format=kind, dpi=DOTS_PER_INCH, metadata=_metadata(figure, kind, origin))
        files[f"{view}_{name}.{kind}"] = buffer.getvalue()
    return files


def _metadata(figure, kind: str, origin: dict[str, str]) -> dict:
    """What a figure shows and where it comes from, under the names that each format has for it."""
    title, maker = "pm_lab explorer", f"pm_lab {versions()['pm_lab']}"
    text = f"{figure.get_label()} " + " | ".join(f"{name}: {value}" for name, value in origin.items())
    if kind == "svg":
        return {"Title": title, "Description": text, "Creator": maker, "Date": None}
    if kind == "png":
        return {"Title": title, "Description": text, "Software": maker}
    return {"Title": title, "Subject": text, "Creator": maker, "Producer": maker, "CreationDate": None}
