"""From counts to clusters."""

from __future__ import annotations

import gc
import warnings
from numbers import Integral, Real
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from .. import checks, keys
from ..errors import DataError, PmLabWarning
from . import embedding

if TYPE_CHECKING:
    from anndata import AnnData

TARGET_SUM = 1e4  # counts a cell after normalisation


def process(
    cells: AnnData,
    batch_key: str | None = None,
    n_top_genes: int = 2000,
    n_comps: int = 50,
    n_neighbors: int = 15,
    resolution: float = 1.0,
    umap: bool = True,
    seed: int = 0,
    copy: bool = False,
) -> AnnData | None:
    """Normalise, choose variable genes, reduce, cluster with Leiden and lay out with UMAP.

    The steps and their numbers are scanpy's (counts to 10,000 a cell, log1p, Seurat's variable genes,
    scaling, PCA, UMAP's graph of neighbours, Leiden of modularity), written where scanpy's functions
    look for them, so ``sc.tl.*`` and ``sc.pl.*`` go on working. Cells × genes is never made dense.

    Parameters
    ----------
    cells : cells × genes with raw counts in ``layers["counts"]`` or ``X``.
    batch_key : column of ``obs``. Variable genes are then chosen within batches, and Harmony aligns the
        principal components over them; without it nothing is corrected.
    n_top_genes : number of variable genes.
    n_comps : number of principal components; fewer where the data allow fewer, with a warning.
    n_neighbors : neighbours of a cell, itself included.
    resolution : of Leiden; higher gives more clusters.
    umap : whether to make the UMAP, the longest step on many cells.
    seed : equal data and seed give equal results on one machine.
    copy : return a changed copy instead of changing ``cells``.

    Returns
    -------
    AnnData or None
        Written: ``X`` (log1p of counts per 10,000, float32), ``layers["counts"]``,
        ``var["highly_variable"]``, ``obsm["X_pca"]`` (scaled genes), ``obsm["X_harmony"]`` (with
        ``batch_key``), ``obsm["X_umap"]``, ``obs["cluster"]`` ("0" is the largest), ``obsp["distances"]``
        and ``obsp["connectivities"]``, ``uns["neighbors"]``, parameters in ``uns["pm_lab"]["process"]``.

    Raises
    ------
    DataError
        No counts, a name twice, cells without counts, fewer cells than ``n_neighbors``, no such batch,
        a number out of range, ``obs["keep"]`` that is not bool. ``cells`` are then unchanged.

    Warns
    -----
    PmLabWarning
        When cells that quality control marked ``keep = False`` are still there.

    References
    ----------
    scanpy: doi:10.1186/s13059-017-1382-0. Leiden: doi:10.1038/s41598-019-41695-z.
    UMAP: doi:10.21105/joss.00861. Harmony: doi:10.1038/s41592-019-0619-0.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cells = pm.datasets.simulate_cohort(n_cells=600).cells
    >>> pm.singlecell.process(cells, umap=False)
    >>> cells.obsm["X_pca"].shape
    (600, 50)
    """
    _check_numbers(n_top_genes, n_comps, n_neighbors, resolution)
    checks.unique_names(cells)
    counts = checks.counts(cells)
    batch = None if batch_key is None else _batch(cells, batch_key)
    _check_cells(cells, counts, n_neighbors)
    if copy:
        cells = cells.copy()
        counts = checks.counts(cells)

    # An AnnData lies in reference cycles: the one that was just cut down to kept cells is still in memory.
    gc.collect()
    for stale in (keys.HARMONY, keys.UMAP):  # of an earlier run with other arguments
        cells.obsm.pop(stale, None)
    cells.layers[keys.COUNTS] = counts
    cells.X = per_ten_thousand(counts)
    variable = variable_genes(cells.X, cells.var_names, batch, n_top_genes)
    cells.var[variable.columns] = variable
    np.log1p(cells.X.data, out=cells.X.data)
    cells.uns["log1p"] = {}  # scanpy reads here that the logarithm is natural

    _write_components(cells, variable["highly_variable"].to_numpy(), n_comps)
    use_rep = keys.PCA if batch is None else keys.HARMONY
    if batch is not None:
        cells.obsm[keys.HARMONY] = _harmony(cells.obsm[keys.PCA], batch, seed)
    indices, distances = embedding.nearest_others(cells.obsm[use_rep], n_neighbors - 1)
    graph = embedding.fuzzy_graph(indices, distances)
    _write_neighbors(cells, indices, distances, graph, use_rep, seed)
    clusters = embedding.leiden(graph, resolution, seed)
    names = [str(i) for i in range(clusters.max() + 1)]
    cells.obs[keys.CLUSTER] = pd.Categorical.from_codes(clusters, names)
    if umap:
        cells.obsm[keys.UMAP] = embedding.umap(indices, distances, cells.obsm[use_rep][:, :2], seed)

    parameters = {
        "n_top_genes": n_top_genes,
        "n_comps": cells.obsm[keys.PCA].shape[1],
        "n_neighbors": n_neighbors,
        "resolution": resolution,
        "umap": umap,
        "seed": seed,
        "target_sum": TARGET_SUM,
    }
    if batch_key is not None:
        parameters["batch_key"] = batch_key
    cells.uns.setdefault(keys.RECORD, {})["process"] = parameters
    return cells if copy else None


def _batch(cells: AnnData, batch_key: str) -> pd.Series:
    batch = checks.obs_column(cells, batch_key, argument="batch_key")
    if batch.nunique() < 2:
        raise DataError(f"obs[{batch_key!r}] has one value: there is nothing to correct. Omit batch_key.")
    return batch


def _check_numbers(n_top_genes: int, n_comps: int, n_neighbors: int, resolution: float) -> None:
    for name, value in (("n_top_genes", n_top_genes), ("n_comps", n_comps), ("n_neighbors", n_neighbors)):
        if not isinstance(value, Integral) or value < 2:
            raise DataError(f"{name}={value!r}: a whole number of at least 2 is needed.")
    if n_top_genes <= n_comps:
        raise DataError(
            f"n_top_genes={n_top_genes} variable genes have fewer principal components than "
            f"n_comps={n_comps}. Raise n_top_genes or lower n_comps."
        )
    if not isinstance(resolution, Real) or not 0 < resolution < np.inf:
        raise DataError(f"resolution={resolution!r}: a number above 0 is needed (1.0 is usual).")


def _check_cells(cells: AnnData, counts, n_neighbors: int) -> None:
    empty = int((np.asarray(counts.sum(axis=1)).ravel() == 0).sum())
    if empty:
        raise DataError(f"{empty:,} cells have no counts at all. Run quality_control and drop what it marks.")
    if cells.n_obs <= max(n_neighbors, 2):
        raise DataError(f"{cells.n_obs} cells are too few for n_neighbors={n_neighbors}.")
    n_marked = int((~checks.keep(cells)).sum()) if keys.KEEP in cells.obs else 0
    if n_marked:
        warnings.warn(
            f"{n_marked:,} cells that quality control marked keep=False are still here and will form "
            'clusters. Drop them first: cells = cells[cells.obs["keep"]].copy()',
            PmLabWarning,
            stacklevel=3,
        )


def per_ten_thousand(counts) -> sparse.csr_matrix:
    """A normalised copy of counts: CSR, float32, made in place so that no third matrix exists."""
    from sklearn.preprocessing import normalize

    normalised = sparse.csr_matrix(counts, dtype=np.float32, copy=True)
    normalised.sort_indices()
    normalize(normalised, norm="l1", copy=False)
    normalised.data *= np.float32(TARGET_SUM)
    return normalised


def variable_genes(
    X: sparse.csr_matrix, names: pd.Index, batch: pd.Series | None, n_top: int
) -> pd.DataFrame:
    """Seurat's variable genes of normalised, not yet logged X, as ``sc.pp.highly_variable_genes`` has them.

    scanpy undoes the logarithm on copies of the whole matrix; here it has not been taken yet.
    """
    if batch is None:
        table = _dispersions(X, names, n_top)
        table["highly_variable"] = table["highly_variable"].astype(bool)
        return table
    tables = [_dispersions(X[(batch == b).to_numpy()], names, n_top, seen=True) for b in batch.unique()]
    stacked = pd.concat(tables)
    table = stacked.groupby(level=0).mean()
    table["highly_variable_nbatches"] = stacked["highly_variable"].groupby(level=0).sum().astype(int)
    # Genes variable in most batches first; among those of equal number, the most variable.
    order = table.sort_values(["highly_variable_nbatches", "dispersions_norm"], ascending=False).index
    table["highly_variable"] = table.index.isin(order[:n_top])
    return table.loc[names]


def _dispersions(X, names: pd.Index, n_top: int, seen: bool = False) -> pd.DataFrame:
    """Log dispersion of each gene, standardised among 20 bins of genes of like mean."""
    mean, variance = embedding.column_moments(X)
    with np.errstate(divide="ignore", invalid="ignore"):
        dispersion = np.log(np.where(variance > 0, variance, np.nan) / mean)
    table = pd.DataFrame({"means": np.log1p(mean), "dispersions": dispersion}, index=names)
    measured = table[mean > 0] if seen else table
    bins = pd.cut(measured["means"], 20)
    by_bin = measured["dispersions"].groupby(bins, observed=True)
    average, spread = by_bin.transform("mean"), by_bin.transform("std")
    alone = spread.isna()  # the only gene of its bin gets 1
    average, spread = average.mask(alone, 0.0), spread.mask(alone, average)
    norm = (measured["dispersions"] - average) / spread
    cut_off = norm.dropna().nlargest(n_top).min()
    table["dispersions_norm"] = norm
    table["highly_variable"] = (norm >= cut_off).reindex(names, fill_value=False).astype(float)
    if seen:
        table.loc[mean == 0] = 0.0
    return table


def _write_components(cells: AnnData, chosen: np.ndarray, n_comps: int) -> None:
    """Principal components of the chosen genes, kept as scanpy keeps them."""
    most = min(int(chosen.sum()), cells.n_obs) - 1
    if n_comps > most:
        warnings.warn(
            f"only {most} of {n_comps} principal components exist for {cells.n_obs} cells and "
            f"{int(chosen.sum())} variable genes.",
            PmLabWarning,
            stacklevel=3,
        )
        n_comps = most
    X = cells.X[:, chosen]
    components = embedding.fit_components(X, n_comps)
    cells.obsm[keys.PCA] = embedding.project(X, components)
    cells.varm["PCs"] = np.zeros((cells.n_vars, n_comps))
    cells.varm["PCs"][chosen] = components.loadings
    cells.uns["pca"] = {
        "params": {"zero_center": True, "use_highly_variable": True, "scaled": True},
        "variance": components.variance,
        "variance_ratio": components.variance_ratio,
    }


def _harmony(scores: np.ndarray, batch: pd.Series, seed: int) -> np.ndarray:
    """Principal components (cells × components) aligned over batches."""
    import harmonypy

    found = harmonypy.run_harmony(
        scores, batch.astype(str).to_frame(), batch.name, random_state=seed, verbose=False
    )
    aligned = np.asarray(found.Z_corr, dtype=np.float32)
    assert aligned.shape == scores.shape, "this harmonypy returns components × cells; install 2.1 or newer"
    return np.ascontiguousarray(aligned)


def _write_neighbors(cells: AnnData, indices, distances, graph, use_rep: str, seed: int) -> None:
    """Keep the graph where scanpy looks for it, in its format."""
    n, k = indices.shape
    cells.obsp["distances"] = sparse.csr_matrix(
        (distances.ravel().astype(float), indices.ravel().astype(np.int32), np.arange(0, n * k + 1, k)),
        shape=(n, n),
    )
    cells.obsp["connectivities"] = graph
    cells.uns["neighbors"] = {
        "connectivities_key": "connectivities",
        "distances_key": "distances",
        "params": {
            "n_neighbors": k + 1,
            "method": "umap",
            "metric": "euclidean",
            "random_state": seed,
            "use_rep": use_rep,
        },
    }
