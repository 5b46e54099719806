"""Cell types of clusters, from marker genes."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab import checks, gene_sets, keys
from pm_lab.errors import DataError, PmLabWarning

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from anndata import AnnData


def annotate(
    cells: AnnData,
    markers: Mapping[str, Sequence[str]] | None = None,
    groupby: str = "cluster",
    min_score: float = 0.25,
    min_margin: float = 0.1,
    copy: bool = False,
) -> pd.DataFrame | tuple[pd.DataFrame, AnnData]:
    """Name each cluster after the marker set that it expresses most, or "unassigned".

    The score of a cell for a set is the mean of the standardised log expression (z over all cells,
    clipped at ±3) of the set's genes; the score of a cluster is the mean over its cells. A cluster takes
    the type with the highest score if that is at least ``min_score`` and leads the next by ``min_margin``.
    Scores are relative to the other cells of the data: a data set of one cell type has no contrast to
    read, and its clusters stay unassigned.

    Parameters
    ----------
    cells : processed cells × genes; ``X`` log-normalised, gene symbols as names.
    markers : cell type to gene symbols; the bundled core markers (19 blood, stromal and epithelial types)
        by default. Older and newer symbols of one gene are matched. A set of which more than half is not
        measured is warned of and not used.
    groupby : obs column of clusters.
    min_score, min_margin : below these a cluster is "unassigned".
    copy : return ``(table, changed copy)`` and leave ``cells`` as they are.

    Returns
    -------
    DataFrame
        One row per cluster: ``cluster`` (named as ``groupby``), ``cell_type``, ``score``, ``margin``,
        ``second`` (the runner-up), ``n_cells``. ``obs["cell_type"]`` is written.

    Raises
    ------
    DataError
        Ensembl ids instead of symbols, a name twice, ``X`` not log-normalised, no usable marker set.

    Warns
    -----
    PmLabWarning
        Marker sets that were left out because more than half of their genes are not measured.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cells = pm.datasets.simulate_cohort(n_cells=1500).cells
    >>> pm.singlecell.process(cells, umap=False)
    >>> table = pm.singlecell.annotate(cells)
    >>> "Fibroblast" in set(table["cell_type"])
    True
    """
    checks.unique_names(cells)
    checks.symbols(cells)
    clusters = checks.obs_column(cells, groupby, argument="groupby")
    X = checks.log_normalised(cells)
    if copy:
        cells = cells.copy()
    used = _usable(gene_sets.core("cell_type") if markers is None else markers, cells.var_names)
    scores = _cluster_scores(X, cells.var_names, clusters.astype(str), used)
    table = _decide(scores, min_score, min_margin)
    table.insert(0, groupby, scores.index)
    table["n_cells"] = clusters.astype(str).value_counts()[scores.index].to_numpy()
    named = clusters.astype(str).map(table.set_index(groupby)["cell_type"])
    cells.obs[keys.CELL_TYPE] = pd.Categorical(named)
    cells.uns.setdefault(keys.RECORD, {})["annotate"] = {
        "groupby": groupby,
        "min_score": min_score,
        "min_margin": min_margin,
        "markers": "core" if markers is None else "given",
        "n_marker_sets": len(used),
    }
    return (table, cells) if copy else table


def _usable(markers: Mapping[str, Sequence[str]], genes: pd.Index) -> dict[str, list[str]]:
    """The marker sets of which at least half is measured, in the symbols of the data."""
    matched, _ = gene_sets.match_symbols(markers, genes)
    report = gene_sets.mapping_report(matched, genes).set_index("set")
    absent = report[report["fraction"] < 0.5]
    if len(absent) == len(report):
        raise DataError(
            "Less than half of every marker set is measured, so no cluster can be named. "
            f"The data's genes look like {', '.join(map(str, genes[:5]))}; the markers like "
            f"{', '.join(next(iter(markers.values()))[:5])}."
        )
    if len(absent):
        described = "; ".join(f"{row.Index}: {row.measured} of {row.size}" for row in absent.itertuples())
        warnings.warn(
            f"Marker sets left out, since more than half of their genes are not measured ({described}). "
            f"Their cells may stay {keys.UNASSIGNED!r} or take a neighbouring type.",
            PmLabWarning,
            stacklevel=3,
        )
    measured = set(genes)
    return {
        name: [gene for gene in members if gene in measured]
        for name, members in matched.items()
        if name not in absent.index
    }


def _cluster_scores(X, names: pd.Index, clusters: pd.Series, markers: dict[str, list[str]]) -> pd.DataFrame:
    """Cluster × type: mean over cells and genes of clipped standardised expression."""
    genes = list(dict.fromkeys(gene for members in markers.values() for gene in members))
    values = X[:, names.get_indexer(genes)]
    values = values.toarray() if hasattr(values, "toarray") else np.array(values)
    spread = values.std(axis=0)
    z = np.clip((values - values.mean(axis=0)) / np.where(spread > 0, spread, 1), -3, 3)
    means = pd.DataFrame(z, columns=genes).groupby(clusters.to_numpy()).mean()
    order = [name for name in dict.fromkeys(clusters) if name in means.index]
    order = sorted(order, key=lambda name: (len(name), name))
    return pd.DataFrame({name: means[members].mean(axis=1) for name, members in markers.items()}).loc[order]


def _decide(scores: pd.DataFrame, min_score: float, min_margin: float) -> pd.DataFrame:
    ranked = np.argsort(-scores.to_numpy(), axis=1)
    rows = np.arange(len(scores))
    best = scores.to_numpy()[rows, ranked[:, 0]]
    several = scores.shape[1] > 1
    margin = best - scores.to_numpy()[rows, ranked[:, 1]] if several else np.full(len(scores), np.inf)
    names = scores.columns.to_numpy()
    certain = (best >= min_score) & (margin >= min_margin)
    return pd.DataFrame(
        {
            "cell_type": np.where(certain, names[ranked[:, 0]], keys.UNASSIGNED),
            "score": best,
            "margin": margin,
            "second": names[ranked[:, 1]] if several else "",
        }
    )
