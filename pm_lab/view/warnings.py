"""What somebody should know of an AnnData before working with it, and how to mend it."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from pm_lab import keys
from pm_lab.errors import listed

from .contents import Contents, Matrix

LARGE_BYTES = 10_000_000  # of counts kept as float64: below that nothing is gained by less


def warnings_of(contents: Contents, identifiers: pd.DataFrame) -> list[str]:
    """Duplicate names, counts as float64, no raw counts, values that are no numbers, identifiers."""
    return [
        *_names(contents),
        *_matrices(contents),
        *(_identifier(*row) for row in zip(*(identifiers[key] for key in ("column", "reason")), strict=True)),
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


def _identifier(column: str, reason: str) -> str:
    return (
        f"obs column {column!r} may identify patients ({reason}); its values are not shown here. Leave it "
        "out before sharing the file. This is a check of patterns, no proof that the rest is safe."
    )
