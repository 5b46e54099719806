"""Input contracts that every analysis shares. Each check raises at the door, before any work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from . import keys
from .errors import DataError, listed

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from anndata import AnnData

BLOCK = 10_000_000  # values looked at together, so that a check of a large matrix needs little memory
LARGEST_LOG = 20  # e^20 is 500 million: no log1p of normalised counts comes near


def bulk_of(cohort) -> AnnData:
    """Return the AnnData of a cohort: its ``bulk`` if it is a simulated Cohort, else itself.

    Raises
    ------
    DataError
        When it is neither, such as None or a DataFrame.

    Examples
    --------
    >>> import pm_lab as pm
    >>> from pm_lab import checks
    >>> cohort = pm.datasets.simulate_cohort(n_cells=600)
    >>> checks.bulk_of(cohort) is cohort.bulk, checks.bulk_of(cohort.bulk) is cohort.bulk
    (True, True)
    """
    bulk = getattr(cohort, "bulk", cohort)
    if not hasattr(bulk, "obs_names"):
        raise DataError(
            f"cohort or expression is a {type(cohort).__name__}: give an AnnData or a Cohort of patients × "
            "genes."
        )
    return bulk


def not_a_view(adata: AnnData) -> None:
    """Raise DataError for a view: what is written into ``bulk[:50]`` is gone with it.

    Examples
    --------
    >>> import anndata, numpy as np
    >>> from pm_lab import checks
    >>> adata = anndata.AnnData(np.eye(4))
    >>> checks.not_a_view(adata[:2].copy())
    """
    if adata.is_view:
        raise DataError(
            f"this is a view of {adata.n_obs:,} × {adata.n_vars:,} of another AnnData, and what is written "
            "into it would be lost. Copy the part first, part = cohort[...].copy(), or pass copy=True."
        )


def counts(adata: AnnData, layer: str | None = None):
    """Return the raw counts of an AnnData, or say why what is there is not counts.

    Parameters
    ----------
    adata : observations × genes.
    layer : the layer to take. By default ``layers["counts"]``, and ``X`` where there is none.

    Returns
    -------
    numpy.ndarray or scipy sparse matrix
        The matrix itself, not a copy. Every stored value was looked at.

    Raises
    ------
    DataError
        When there are no cells or no genes, or when it holds NaN, infinite or negative values or fractions.

    Examples
    --------
    >>> import anndata, numpy as np
    >>> from pm_lab import checks
    >>> checks.counts(anndata.AnnData(np.array([[0.0, 3.0], [1.0, 2.0]]))).sum()
    np.float64(6.0)
    """
    _not_empty(adata)
    where, matrix = _find_counts(adata, layer)
    n_infinite = n_negative = n_fraction = 0
    largest = 0.0
    for block in _blocks(matrix, where):
        n_infinite += _not_finite(block)
        n_negative += int((block < 0).sum())
        if block.dtype.kind == "f":
            n_fraction += int((block != block.round()).sum())  # NaN too, but they are reported first
        largest = max(largest, float(block.max()))
    if n_infinite:
        raise DataError(
            f"{where} holds {n_infinite:,} NaN or infinite values; counts are needed. "
            f"Find where they came from: {_MEND}"
        )
    if n_negative:
        raise DataError(
            f"{where} holds {n_negative:,} negative values: scaled, centred or batch-corrected data. {_MEND}"
        )
    if n_fraction:
        raise DataError(
            f"{where} holds {n_fraction:,} values that are not whole numbers (largest {largest:.4g}): "
            f"{_kind_of_fractions(largest)}. {_MEND}"
        )
    return matrix


_MEND = (
    'Put the raw counts into layers["counts"] (before normalising: adata.layers["counts"] = adata.X.copy()).'
)


def _find_counts(adata: AnnData, layer: str | None):
    if layer is not None:
        if layer not in adata.layers:
            raise DataError(f"there is no layer {layer!r}; layers are {sorted(adata.layers)}.")
        return f"layers[{layer!r}]", adata.layers[layer]
    if keys.COUNTS in adata.layers:
        return f'layers["{keys.COUNTS}"]', adata.layers[keys.COUNTS]
    if adata.X is None:
        raise DataError(f"there is neither X nor layers['counts']. {_MEND}")
    return "X", adata.X


def _blocks(matrix, where: str) -> Iterator[np.ndarray]:
    """Yield the stored values of a dense or sparse matrix in pieces."""
    import numpy as np
    from scipy import sparse

    values = matrix.data if sparse.issparse(matrix) else matrix
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "biuf":
        raise DataError(
            f"{where} is a {type(matrix).__name__} and not a numeric matrix in memory. "
            "Read it with anndata.read_h5ad, or call .to_memory() first."
        )
    step = max(1, BLOCK // max(1, values[:1].size))  # rows of a dense matrix: flattened, it might be copied
    for start in range(0, len(values), step):
        yield values[start : start + step]


def _not_finite(block: np.ndarray) -> int:
    import numpy as np

    # NaN and infinity show in the extremes, which need no temporary array.
    if block.dtype.kind != "f" or (np.isfinite(block.max()) and np.isfinite(block.min())):
        return 0
    return int((~np.isfinite(block)).sum())


def _not_empty(adata: AnnData) -> None:
    if adata.n_obs == 0 or adata.n_vars == 0:
        raise DataError(
            f"the AnnData is empty: {adata.n_obs:,} observations × {adata.n_vars:,} genes. "
            "Look at the step before: a filter may have kept none."
        )


def log_normalised(adata: AnnData):
    """Return ``X``, or say why it cannot be log1p of normalised counts.

    Returns
    -------
    numpy.ndarray or scipy sparse matrix
        ``X`` itself, not a copy. Every stored value was looked at.

    Raises
    ------
    DataError
        When ``X`` is absent, empty or not in memory, when it holds NaN, infinite or negative values, only
        whole numbers (counts, also cut ones), or a value of 20 or more (not logged).

    Examples
    --------
    >>> import anndata, numpy as np
    >>> from pm_lab import checks
    >>> checks.log_normalised(anndata.AnnData(np.log1p(np.array([[0.0, 3.0], [1.0, 2.0]])))).shape
    (2, 2)
    """
    matrix = adata.X
    if matrix is None:
        raise DataError(f"there is no X; log-normalised values are needed. {_PROCESS}")
    _not_empty(adata)
    n_infinite, smallest, largest, whole = 0, 0.0, 0.0, True
    for block in _blocks(matrix, "X"):
        n_infinite += _not_finite(block)
        smallest, largest = min(smallest, float(block.min())), max(largest, float(block.max()))
        whole = whole and (block.dtype.kind != "f" or bool((block == block.round()).all()))
    what = ""
    if n_infinite:
        what = f"holds {n_infinite:,} NaN or infinite values"
    elif smallest < 0:
        what = f"holds negative values (down to {smallest:.4g}): scaled, centred or batch-corrected data"
    elif whole:
        what = f"holds whole numbers only (up to {largest:.4g}), as raw counts do"
    elif largest >= LARGEST_LOG:
        what = f"goes up to {largest:.4g}, so no logarithm was taken"
    if what:
        raise DataError(f"X {what}; it is not log-normalised. {_PROCESS}")
    return matrix


_PROCESS = 'Run pm.singlecell.process(cells): it makes X anew from the counts, best kept in layers["counts"].'


def _kind_of_fractions(largest: float) -> str:
    if largest < LARGEST_LOG:
        return "it looks log-normalised"
    return (
        "it looks normalised (CPM, TPM or the like); if these are estimated counts (salmon, RSEM), round them"
    )


def unique_names(adata: AnnData) -> None:
    """Raise DataError when cell (patient) names or gene names occur twice.

    Examples
    --------
    >>> import anndata, numpy as np, pandas as pd
    >>> from pm_lab import checks
    >>> checks.unique_names(anndata.AnnData(np.eye(2), var=pd.DataFrame(index=["TP53", "MYC"])))
    """
    for index, what, mend in (
        (adata.obs_names, "obs", "adata.obs_names_make_unique(), or put the sample's name before each"),
        (adata.var_names, "var", "sum the rows of one gene, or adata.var_names_make_unique()"),
    ):
        twice = index[index.duplicated()].unique()
        if len(twice):
            raise DataError(
                f"{len(twice):,} {what} names occur more than once: {listed(twice)}. Mend: {mend}."
            )


def obs_column(adata: AnnData, key: str, argument: str = "key") -> pd.Series:
    """Return ``obs[key]``, or raise DataError when it is missing or has NaN.

    Parameters
    ----------
    key : the column.
    argument : the name of the argument that the user can pass instead, for the message.

    Examples
    --------
    >>> import anndata, numpy as np, pandas as pd
    >>> from pm_lab import checks
    >>> adata = anndata.AnnData(np.eye(2), obs=pd.DataFrame({"patient": ["a", "b"]}, index=["c1", "c2"]))
    >>> checks.obs_column(adata, "patient", argument="patient_key").tolist()
    ['a', 'b']
    """
    if key not in adata.obs:
        raise DataError(
            f"obs has no column {key!r}; it has {listed(adata.obs.columns, 12)}. Pass {argument}=..."
        )
    column = adata.obs[key]
    missing = column.isna()
    if missing.any():
        raise DataError(
            f"obs[{key!r}] is missing for {int(missing.sum()):,} of {len(column):,} rows "
            f"({listed(column.index[missing])}). Fill it in, or drop those rows first."
        )
    return column


def keep(adata: AnnData) -> pd.Series:
    """Return ``obs["keep"]`` as bool, or raise DataError when it is something else.

    Text is refused and not read: after a CSV file, "False" would count as true.

    Examples
    --------
    >>> import anndata, numpy as np, pandas as pd
    >>> from pm_lab import checks
    >>> obs = pd.DataFrame({"keep": [True, False]}, index=["c1", "c2"])
    >>> int(checks.keep(anndata.AnnData(np.eye(2), obs=obs)).sum())
    1
    """
    from pandas.api.types import is_bool_dtype

    column = obs_column(adata, keys.KEEP)
    if not is_bool_dtype(column.dtype):
        raise DataError(
            f"obs[{keys.KEEP!r}] holds {column.dtype} ({listed(column.astype(str).unique())}), not booleans. "
            f'Mend: cells.obs["{keys.KEEP}"] = cells.obs["{keys.KEEP}"].astype(str) == "True".'
        )
    return column.astype(bool)


def whole_number(value, argument: str, least: int = 1) -> int:
    """Return an argument that counts something, or raise DataError when it is no whole number or too small.

    Examples
    --------
    >>> from pm_lab import checks
    >>> checks.whole_number(5, "n_splits", least=2)
    5
    """
    from numbers import Integral

    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise DataError(f"{argument}={value!r}: a whole number, {least} at least.")
    return int(value)


def symbols(adata: AnnData) -> None:
    """Raise DataError when gene names are Ensembl ids where gene symbols are needed.

    Examples
    --------
    >>> import anndata, numpy as np, pandas as pd
    >>> from pm_lab import checks
    >>> checks.symbols(anndata.AnnData(np.eye(2), var=pd.DataFrame(index=["TP53", "MYC"])))
    """
    ensembl = adata.var_names.str.match(r"ENS[A-Z]*G\d{6,}")
    if ensembl.mean() <= 0.5:
        return
    likely = [name for name in adata.var.columns if "symbol" in name.lower() or "gene_name" in name.lower()]
    hint = f"var[{likely[0]!r}] may hold them" if likely else "map them with the annotation of your data"
    raise DataError(
        f"{int(ensembl.sum()):,} of {adata.n_vars:,} gene names are Ensembl ids ({listed(adata.var_names)}), "
        f"but gene symbols are needed: {hint}; set adata.var_names to the symbols."
    )


def number(value, argument: str) -> float:
    """Return an argument that measures something, or raise DataError when it is no finite number.

    Examples
    --------
    >>> from pm_lab import checks
    >>> checks.number(60, "horizon")
    60.0
    """
    from math import isfinite
    from numbers import Real

    if isinstance(value, bool) or not isinstance(value, Real) or not isfinite(value):
        raise DataError(f"{argument}={value!r}: a number is needed.")
    return float(value)


def shares(**values) -> None:
    """Raise DataError where an argument is not a number above 0 and below 1.

    Examples
    --------
    >>> from pm_lab import checks
    >>> checks.shares(level=0.95)
    """
    from numbers import Real

    for name, value in values.items():
        if not isinstance(value, Real) or isinstance(value, bool) or not 0 < value < 1:
            meant = f" (did you mean {value / 100:g}?)" if value in range(2, 100) else ""
            raise DataError(f"{name}={value!r}: a share below 1 and above 0 is needed{meant}.")


def scale_of(values: np.ndarray) -> tuple[str, str]:
    """Say what a sample of a matrix's values looks like, without refusing anything.

    Parameters
    ----------
    values : a sample, such as some of the stored values of a sparse matrix.

    Returns
    -------
    tuple of str
        ``"counts"``, ``"log"``, ``"scaled"`` or ``"unknown"``, and the reason in words.

    Examples
    --------
    >>> import numpy as np
    >>> from pm_lab import checks
    >>> checks.scale_of(np.array([0.0, 3.0, 12.0]))[0], checks.scale_of(np.log1p([0.0, 3.0, 12.0]))[0]
    ('counts', 'log')
    """
    import numpy as np

    values = np.asarray(values).ravel()
    if values.dtype.kind not in "iuf":
        return "unknown", f"it holds {values.dtype}, not numbers"
    known = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if not known.any():
        return "unknown", "no value other than zero was found"
    smallest, largest = float(known.min()), float(known.max())
    if smallest < 0:
        return "scaled", f"negative values, down to {smallest:.3g}: scaled, centred or batch-corrected"
    if known.dtype.kind in "iu" or bool((known == known.round()).all()):
        return "counts", f"whole numbers only, up to {largest:,.0f}"
    if largest < LARGEST_LOG:
        return "log", f"fractions, none negative, up to {largest:.3g}"
    return "unknown", f"fractions up to {largest:,.4g}: no logarithm was taken (CPM, TPM or estimated counts)"
