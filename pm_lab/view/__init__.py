"""An AnnData at a glance in a notebook: :func:`view`, and ``%load_ext pm_lab`` to see each one so."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pm_lab.errors import DataError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from .columns import Column, People
    from .contents import Contents

MOST_COLUMNS = 16  # of obs that are drawn; the others are named
ANNDATA = "anndata._core.anndata", "AnnData"  # module and name, so that anndata need not be loaded


@dataclass(frozen=True)
class Summary:
    """What :func:`view` returns: shown by Jupyter as HTML, elsewhere as text."""

    html: str = field(repr=False)
    text: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.text


def view(
    adata: AnnData | str | Path,
    path: str | Path | None = None,
    patient_key: str | None = None,
    hide_small_counts: bool = True,
) -> Summary:
    """Show what an AnnData holds, with figures of its obs columns and a link to open it in the viewer.

    The summary is static: it needs no script and stays readable in saved notebooks and HTML pages. It holds
    no names of observations and no values of single rows. Whether X holds counts, logarithms or scaled values
    is judged from a sample of it.

    Parameters
    ----------
    adata : an AnnData, in memory or backed, or the path of an ``.h5ad`` (of which the table of observations,
        the names of genes and samples of the matrices are read) or of a ``.zarr`` folder (read whole).
    path : a file for an AnnData in memory, to link to. Written if it does not exist; a file that exists is
        never replaced: if its names are those of ``adata``, it is linked to as it is.
    patient_key : the column of obs that says whose a row is; people are counted, not rows. By default
        ``patient``, or a column such as ``donor_id``, where there is one. Without one, rows are counted.
    hide_small_counts : show fewer than ten people as "<10", and what would give such a count away as
        "hidden". The number of observations and what all patients share are shown in any case. This protects
        what is shared; who runs the kernel can see all.

    Returns
    -------
    Summary
        Jupyter shows it; ``.html`` and ``.text`` are what it shows.

    Raises
    ------
    DataError
        Something else than an AnnData; a file that cannot be trusted or read; a ``path`` that exists and
        holds another AnnData; an unknown ``patient_key``.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.simulate_cohort(n_cells=600)
    >>> summary = pm.view(cohort.bulk)
    >>> "subtype" in summary.html, "<script" in summary.html
    (True, False)
    """
    from . import files
    from .columns import LEAST, People

    contents, own, said = _opened(adata, path)
    people = People.of(contents.obs, patient_key, LEAST if hide_small_counts else 0)
    return _summary(contents, people, own, [files.offer(own), *said])


def _opened(adata, path: str | Path | None) -> tuple[Contents, Path | None, list[str]]:
    """The contents, the file that they are in, and what is to be said of it."""
    from . import contents, files

    if isinstance(adata, str | Path):
        if path is not None:
            raise DataError("path= is for an AnnData in memory: the first argument is a file already.")
        own = Path(adata).expanduser()
        if own.is_dir():
            from pm_lab.datasets import read_anndata

            return contents.of_anndata(read_anndata(own)), own, []
        return contents.of_file(own), own, []
    if not all(hasattr(adata, name) for name in ("obs_names", "layers", "isbacked")):
        raise DataError(
            f"this is a {type(adata).__name__}: give an AnnData or the path of an .h5ad; of a Cohort give "
            "its .bulk or .cells."
        )
    said = []
    own = Path(adata.filename) if adata.isbacked else None
    if own is not None and not own.exists():
        raise DataError(f"the file behind this AnnData, {own.name}, is no longer where it was.")
    if path is not None:
        own = Path(path).expanduser()
        said = [files.keep(adata, own)]
    return contents.of_anndata(adata), own, said


def _summary(contents: Contents, people: People, own: Path | None, notes: list[str]) -> Summary:
    from . import writing
    from .warnings import identifiers_of, warnings_of

    identifiers = identifiers_of(contents.obs)
    columns = _columns(contents.obs, people, identifiers)
    rows = _rows_are(contents, people)
    title = f"AnnData: {contents.n_obs:,} {rows} × {contents.n_vars:,} genes"
    of_whom = ", and of how many patients" if people.codes is not None else ""
    counted = f"how many {rows} have each value{of_whom}"
    warnings = warnings_of(contents, identifiers)
    whose = f"obs[{people.key!r}] says whose a row is. " if people.key else ""
    if people.least:
        notes.append(
            f"{whose}Fewer than {people.least} {people.word} are shown as <{people.least}, and what would "
            "give such a count away as hidden; pm.view(adata, hide_small_counts=False) shows all."
        )
    if len(contents.obs.columns) > len(columns):
        more = contents.obs.columns[len(columns) :]
        notes.append(f"{len(more):,} more columns of obs: {writing.names(list(map(str, more)))}")
    if own is not None:
        title = f"{own.name} · {title}"
    return Summary(
        writing.summary_html(title, contents, columns, counted, warnings, notes),
        writing.summary_text(title, contents, columns, warnings),
    )


def _columns(obs: pd.DataFrame, people: People, identifiers: dict[str | None, str]) -> list[Column]:
    from .columns import Column, summarised

    private = {name: reason for name, reason in identifiers.items() if name is not None}
    shown = []
    for place, name in enumerate(map(str, obs.columns[:MOST_COLUMNS])):
        if name in private and name != people.key:
            shown.append(Column(name, f"not shown: {private[name]}"))
        else:
            shown.append(summarised(name, obs.iloc[:, place], people))
    return shown


def _rows_are(contents: Contents, people: People) -> str:
    """What the rows are, where the AnnData says so."""
    if people.one_row_each:
        return "patients"
    barcodes = contents.obs.index[:100].astype(str).str.contains(r"[ACGT]{12}")
    if people.key is not None or (len(barcodes) and barcodes.mean() > 0.5):
        return "cells"
    response = any(name.startswith("response ") for name in contents.parts.get("obsm", []))
    return "cell lines" if response else "observations"


def load_ipython_extension(ipython) -> None:
    """``%load_ext pm_lab``: each AnnData that a cell ends with is shown as by :func:`view`."""
    ipython.display_formatter.formatters["text/html"].for_type_by_name(*ANNDATA, _html)


def unload_ipython_extension(ipython) -> None:
    """``%unload_ext pm_lab``: AnnData are shown as anndata itself does."""
    ipython.display_formatter.formatters["text/html"].pop(".".join(ANNDATA), None)


def _html(adata: AnnData) -> str:
    from pm_lab.explorer.page import as_html

    try:
        return view(adata).html
    except DataError as error:  # beside the text that anndata itself shows, not in its place
        return f"<p>{as_html(f'pm_lab shows no summary: {error}')}</p>"
