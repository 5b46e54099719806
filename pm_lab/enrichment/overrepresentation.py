"""Over-representation: does a list of genes hold more of a set than chance would put there?"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from pm_lab.enrichment.sets import GeneSets, testable
from pm_lab.errors import DataError


def over_representation(
    genes: Iterable[str],
    gene_sets: GeneSets,
    background: Iterable[str] | None = None,
    min_size: int = 10,
    max_size: int = 500,
) -> pd.DataFrame:
    """Test each set for holding more of the chosen genes than a random choice from the background.

    Hypergeometric test, one-sided, then Benjamini-Hochberg over the sets tested. It takes genes as
    independent of each other; those of one pathway are not, so p-values of correlated sets are too small.

    Parameters
    ----------
    genes : the chosen genes, e.g. those with ``padj < 0.05``.
    gene_sets : dict of set name to genes, path of a gmt file, "core" or a registered name (:func:`read_gmt`).
    background : all genes that could have been chosen: those that were tested. Needed: with the whole
        genome in its place every set that is merely expressed in the tissue looks enriched.
    min_size, max_size : sets with fewer or more genes in the background are not tested.

    Returns
    -------
    DataFrame
        One row per set tested, by p-value: ``gene_set``, ``size`` (genes in the background), ``overlap``
        (of these, chosen), ``expected`` (overlap by chance), ``fold_enrichment`` (overlap / expected),
        ``odds_ratio`` (of the 2 × 2 table), ``pvalue``, ``fdr``, ``genes`` (list, those in the overlap, by
        name). ``attrs``: ``mapping`` (each set given, its genes measured, whether tested and why not;
        ``pd.DataFrame(result.attrs["mapping"])``), ``mended`` (older symbols that were matched),
        ``n_genes``, ``n_background``, ``n_repeated`` (names given more than once, counted once).

    Raises
    ------
    DataError
        No background, no genes, genes that are not in the background, Ensembl ids against symbols, no set
        of the size asked for.

    References
    ----------
    On the choice of background: Timmons 2015, doi:10.1186/s13059-015-0761-7.

    Examples
    --------
    >>> import pm_lab as pm
    >>> background = [gene for members in pm.gene_sets.core("pathway").values() for gene in members]
    >>> chosen = pm.gene_sets.core("pathway")["HYPOXIA"][:12]
    >>> pm.enrichment.over_representation(chosen, "core", background)["gene_set"].iloc[0]
    'HYPOXIA'
    """
    from scipy.stats import false_discovery_control, hypergeom

    chosen, universe, n_repeated = _check_genes(genes, background)
    sets = testable(gene_sets, universe, min_size, max_size)
    rows = []
    for name, members in sets.members.items():
        found = sorted(chosen.intersection(members))
        rows.append((name, len(members), len(found), found))
    table = pd.DataFrame(rows, columns=["gene_set", "size", "overlap", "genes"])
    n_chosen, n_all = len(chosen), len(universe)
    overlap, size = table["overlap"], table["size"]
    table["expected"] = n_chosen * size / n_all
    table["fold_enrichment"] = overlap / table["expected"]
    outside = n_all - n_chosen - size + overlap
    # A zero in the lower cells is an infinite ratio; with a zero above as well there is nothing to compare.
    table["odds_ratio"] = (overlap * outside).astype(float) / ((size - overlap) * (n_chosen - overlap))
    table["pvalue"] = hypergeom.sf(overlap - 1, n_all, size, n_chosen)
    table["fdr"] = false_discovery_control(table["pvalue"])
    order = ["gene_set", "size", "overlap", "expected", "fold_enrichment", "odds_ratio", "pvalue", "fdr"]
    table = table[[*order, "genes"]].sort_values(["pvalue", "gene_set"], ignore_index=True)
    table.attrs = {
        "mapping": sets.mapping,
        "mended": sets.mended,
        "n_genes": n_chosen,
        "n_background": n_all,
        "n_repeated": n_repeated,
    }
    return table


def _check_genes(genes, background) -> tuple[set[str], list[str], int]:
    if background is None:
        raise DataError(
            "background is missing: give all genes that could have been chosen, i.e. every gene that was "
            "tested, such as results.index[results['padj'].notna()]. Against all genes of the genome, "
            "whatever is expressed in the tissue would look enriched."
        )
    for what, names in (("genes", genes), ("background", background)):
        if isinstance(names, str | int):
            raise DataError(f"{what} is {names!r}: give a list of gene names.")
    genes, background = list(map(str, genes)), list(map(str, background))
    chosen, universe = set(genes), list(dict.fromkeys(background))
    if not chosen:
        raise DataError(
            "genes is empty: nothing was chosen, so nothing can be enriched. Use gsea on all genes."
        )
    outside = sorted(chosen.difference(universe))
    if outside:
        raise DataError(
            f"{len(outside):,} of {len(chosen):,} genes are not in the background "
            f"({', '.join(outside[:5])}): it must hold every gene that could have been "
            "chosen. Take both from the same table."
        )
    if len(chosen) == len(universe):
        raise DataError(f"genes holds all {len(universe):,} genes of the background: nothing was chosen.")
    return chosen, universe, len(genes) - len(chosen) + len(background) - len(universe)
