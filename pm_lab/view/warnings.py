"""What somebody should know of an AnnData before working with it, and how to mend it."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from pm_lab import keys
from pm_lab.errors import listed
from pm_lab.identifiers import identifier_columns

from .contents import Contents, Matrix

LARGE_BYTES = 10_000_000  # of counts kept as float64: below that nothing is gained by less


def identifiers_of(obs: pd.DataFrame) -> dict[str | None, str]:
    """Columns that may identify patients, with the reason; under None the names of the observations."""
    columns = identifier_columns(obs.set_axis(pd.RangeIndex(len(obs)), copy=False))
    names = identifier_columns(pd.DataFrame(index=obs.index))
    found = dict(zip(columns["column"], columns["reason"], strict=True))
    if len(names):
        found[None] = names["reason"].iloc[0]
    return found


def warnings_of(contents: Contents, identifiers: dict[str | None, str]) -> list[str]:
    """Duplicate names, counts as float64, no raw counts, values that are no numbers, identifiers."""
    return [
        *_names(contents),
        *_matrices(contents),
        *(_identifier(*found) for found in identifiers.items()),
    ]


def _names(contents: Contents) -> Iterator[str]:
    n = int(contents.obs.index.duplicated().sum())
    if n:  # not named: they may be patients
        yield (
            f"{n:,} names of observations occur more than once. Mend: adata.obs_names_make_unique(), or put "
            "the sample's name before each."
        )
    twice = contents.var_names[contents.var_names.duplicated()].unique()
    if len(twice):
        yield (
            f"{len(twice):,} names of genes occur more than once ({listed(twice, 3)}). Mend: sum the columns "
            "of one gene, or adata.var_names_make_unique()."
        )


def _matrices(contents: Contents) -> Iterator[str]:
    found = [one for one in (contents.x, *contents.layers, contents.raw) if one is not None]
    for matrix in found:
        if matrix.n_not_finite:
            yield (
                f"{matrix.name} holds NaN or infinite values ({matrix.n_not_finite:,} in the sample). Most "
                "methods stop at them: find where they came from."
            )
        if matrix.holds == "counts" and matrix.dtype == "float64" and matrix.n_bytes >= LARGE_BYTES:
            yield (
                f"{matrix.name} holds counts as float64, twice the memory that they need "
                f"({matrix.n_bytes / 1e6:,.0f} MB). Mend: {_in_python(matrix)} = "
                f'{_in_python(matrix)}.astype("float32").'
            )
    if not any(matrix.holds == "counts" for matrix in found):
        yield (
            f'no raw counts were found in X, raw or layers["{keys.COUNTS}"]: methods that need counts '
            "(pseudobulk, differential expression) will refuse. Mend: keep them before normalising, "
            f'adata.layers["{keys.COUNTS}"] = adata.X.copy().'
        )


def _in_python(matrix: Matrix) -> str:
    return f"adata.{matrix.name}" if matrix.name != "raw" else "adata.raw"


def _identifier(column: str | None, reason: str) -> str:
    if column is None:
        which, mend = f"the names of observations may identify patients ({reason}); they", "Replace them"
    else:
        which, mend = f"obs column {column!r} may identify patients ({reason}); its values", "Leave it out"
    return (
        f"{which} are not shown here. {mend} before sharing the file. This is a check of patterns, no proof "
        "that the rest is safe."
    )
