"""Which of the sets found are one signal under several names?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from pm_lab.errors import DataError

MEASURES = ("overlap", "jaccard")


def leading_edge_overlap(results: pd.DataFrame, measure: str = "overlap") -> pd.DataFrame:
    """How much the leading edges of sets overlap.

    Parameters
    ----------
    results : of :func:`gsea` (``leading_edge``) or :func:`over_representation` (``genes``), usually the
        significant rows.
    measure : ``"overlap"``, shared genes over the smaller number, 1 when one holds the other; or
        ``"jaccard"``, shared over all genes of the two.

    Returns
    -------
    DataFrame
        Sets × sets, from 0 to 1; 1 on the diagonal.

    Raises
    ------
    DataError
        No such columns, no rows, a set twice, an unknown measure.

    Examples
    --------
    >>> import pandas as pd, pm_lab as pm
    >>> results = pd.DataFrame({"gene_set": ["A", "B"], "leading_edge": [["TP53", "MDM2"], ["MDM2"]]})
    >>> float(pm.enrichment.leading_edge_overlap(results).loc["A", "B"])
    1.0
    """
    if measure not in MEASURES:
        raise DataError(f"measure={measure!r}: choose one of {', '.join(MEASURES)}.")
    edges = _edges(results)
    genes = {gene: i for i, gene in enumerate(dict.fromkeys(gene for edge in edges for gene in edge))}
    members = np.zeros((len(edges), len(genes)))
    for row, edge in enumerate(edges):
        members[row, [genes[gene] for gene in edge]] = 1
    shared, size = members @ members.T, members.sum(axis=1)
    of_two = {"overlap": np.minimum.outer(size, size), "jaccard": np.add.outer(size, size) - shared}
    out_of = of_two[measure]
    similarity = np.where(out_of > 0, shared / np.maximum(out_of, 1), 0)
    np.fill_diagonal(similarity, 1)
    names = pd.Index(results["gene_set"], name="gene_set")
    return pd.DataFrame(similarity, names, names.rename(None))


def _edges(results: pd.DataFrame) -> list[list[str]]:
    column = next((name for name in ("leading_edge", "genes") if name in results), None)
    if column is None or "gene_set" not in results:
        raise DataError(
            "results must have gene_set and leading_edge (gsea) or genes (over_representation); it has "
            f"{list(results.columns)[:12]}."
        )
    if results.empty:
        raise DataError("results has no rows, so there is nothing to compare: no set passed?")
    twice = results["gene_set"][results["gene_set"].duplicated()].unique()
    if len(twice):
        raise DataError(f"{len(twice):,} sets are in results more than once: {', '.join(twice[:5])}.")
    if results[column].map(lambda edge: isinstance(edge, str)).any():
        raise DataError(f"{column} holds text, not lists, as after a CSV file. Mend: .map(ast.literal_eval).")
    return list(results[column])


def redundancy(results: pd.DataFrame, threshold: float = 0.5, measure: str = "overlap") -> pd.DataFrame:
    """Group sets whose leading edges are mostly the same genes, and name one of each group.

    Sets of one direction are joined by average linkage while the mean overlap between groups is at least
    ``threshold``. The representative is the set with the smallest p-value, then the larger score. So
    ``table[table["gene_set"] == table["representative"]]`` is the list without its repetitions.

    Parameters
    ----------
    results : rows of :func:`gsea` or :func:`over_representation`, usually the significant ones.
    threshold : mean overlap from which groups are one.
    measure : as in :func:`leading_edge_overlap`.

    Returns
    -------
    DataFrame
        The rows of ``results`` with ``cluster`` (1 holds the most significant set), ``cluster_size``,
        ``representative`` and ``overlap_with_representative``, by cluster and p-value.

    Raises
    ------
    DataError
        As :func:`leading_edge_overlap`; a threshold outside 0 to 1.

    Examples
    --------
    >>> import pandas as pd, pm_lab as pm
    >>> results = pd.DataFrame(
    ...     {
    ...         "gene_set": ["A", "B", "C"],
    ...         "normalized_enrichment_score": [2.0, 1.5, 1.2],
    ...         "pvalue": [0.001, 0.01, 0.02],
    ...         "leading_edge": [["TP53", "MDM2"], ["MDM2"], ["EGFR"]],
    ...     }
    ... )
    >>> pm.enrichment.redundancy(results)["representative"].tolist()
    ['A', 'A', 'C']
    """
    if not 0 < threshold <= 1:
        raise DataError(f"threshold={threshold}: a number above 0 and up to 1.")
    similarity = leading_edge_overlap(results, measure)
    table = results.reset_index(drop=True)
    score = "normalized_enrichment_score" if "normalized_enrichment_score" in table else "fold_enrichment"
    up = table[score].to_numpy() >= (0 if score == "normalized_enrichment_score" else -np.inf)
    strength = np.lexsort([table["gene_set"].to_numpy(str), -table[score].abs(), table["pvalue"]])
    groups = _clusters(np.where(np.equal.outer(up, up), similarity, 0), threshold)
    first = {}
    for row in strength:
        first.setdefault(groups[row], row)
    number = {group: i for i, group in enumerate(first, start=1)}
    leader = np.array([first[group] for group in groups])
    table["cluster"] = [number[group] for group in groups]
    table["cluster_size"] = table.groupby("cluster")["cluster"].transform("size")
    table["representative"] = table["gene_set"].to_numpy()[leader]
    table["overlap_with_representative"] = similarity.to_numpy()[np.arange(len(table)), leader]
    table = table.iloc[strength].sort_values("cluster", kind="stable").reset_index(drop=True)
    table.attrs = {**results.attrs, "redundancy": {"threshold": threshold, "measure": measure}}
    return table


def _clusters(similarity: np.ndarray, threshold: float) -> np.ndarray:
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    if len(similarity) == 1:
        return np.array([1])
    tree = linkage(squareform(1 - similarity, checks=False), method="average")
    return fcluster(tree, 1 - threshold + 1e-9, criterion="distance")
