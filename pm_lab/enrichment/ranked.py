"""Gene set enrichment analysis: where in the ranking of all genes does a set lie?"""

from __future__ import annotations

import os
import warnings

import numpy as np
import pandas as pd

from pm_lab.enrichment import labels as groups
from pm_lab.enrichment.permutation import (
    SetIndex,
    enrichment_scores,
    gene_null,
    leading_edges,
    places,
    progress,
    significance,
)
from pm_lab.enrichment.sets import GeneSets, testable
from pm_lab.errors import DataError, PmLabWarning

MANY_SETS = 100  # above this many, multilevel
MANY_TIES = 0.1  # share of genes from which ties are warned of
CHUNK = 500  # sets given to gseapy together: it keeps a walk over all genes for each
FEWEST_PERMUTATIONS = 100
SAMPLE_SIZE, SMALLEST_P = 101, 1e-50  # fgsea's own choices
PERMUTATIONS = {"permute_genes": 1_000, "permute_labels": 10_000}  # by null
METHODS = ("auto", "permutation", "multilevel")


def gsea(
    ranking: pd.Series | pd.DataFrame | None = None,
    gene_sets: GeneSets | None = None,
    min_size: int = 10,
    max_size: int = 500,
    seed: int = 0,
    method: str = "auto",
    n_permutations: int | None = None,
    null: str = "permute_genes",
    expression=None,
    labels=None,
    contrast: tuple[str, str] | None = None,
    covariates: pd.DataFrame | list[str] | None = None,
    statistic: str | None = None,
    patient_key: str = "patient",
) -> pd.DataFrame:
    """Gene set enrichment analysis of a ranking, or of two groups of patients.

    Two nulls, two questions. ``null="permute_genes"`` asks whether the set lies higher in ``ranking`` than
    random genes do. Genes of one pathway rise and fall together in patients whatever their group, so this
    null is too narrow and too many sets are called: of the pathways with fdr < .05 about a quarter do not
    differ (.27 on average over five built-in cohorts, ``benchmarks/recovery_bulk.py``); a warning says so.
    ``null="permute_labels"`` asks whether the set differs between the groups more than it does between random
    groups of these patients, and keeps the correlation. Take it whenever there are enough patients.

    Parameters
    ----------
    ranking : signed statistic by gene, or the table of ``pm.bulk.differential_expression``, whose ``stat`` is
        taken. Genes with equal values are put in random order, by ``seed``.
    gene_sets : dict of set name to genes, path of a gmt file, "core" or a registered name (:func:`read_gmt`).
    min_size, max_size : sets with fewer or more measured genes are not tested. Published results mostly have
        15 and 500, the Broad's defaults. The ``fdr`` of a set depends on which others are tested: that of
        p53Pathway in the P53 data is .0041 with 15 and .0053 with 10.
    seed : equal input and seed give equal results.
    method : of ``permute_genes``: ``"permutation"`` (random sets of the same size), ``"multilevel"``
        (fgsea's, as in gseapy: small p-values without many permutations) or ``"auto"``, the second for more
        than 100 sets.
    n_permutations : number of random sets (by default 1,000; for multilevel they set the normalised score
        only) or of random labellings (by default 10,000: of 1,000 so few reach a strong set's score that an
        ``fdr`` of .005 comes out anywhere from .002 to .012). Where there are no more labellings than that,
        and no covariates, each other labelling is taken once and the p-value is exact.
    null : ``"permute_genes"`` or ``"permute_labels"``.
    expression, labels, contrast, covariates, statistic, patient_key : for ``permute_labels``, in place of
        ``ranking``: patients × genes, their groups and how they are compared, see :func:`rank_genes`.

    Returns
    -------
    DataFrame
        One row per set tested, by p-value: ``gene_set``, ``size`` (genes measured), ``enrichment_score``,
        ``normalized_enrichment_score``, ``pvalue`` (within the score's sign), ``fdr``, ``leading_edge`` (list
        of the genes up to the peak, the most extreme first). ``fdr`` is Subramanian's from the pooled null
        with permutations (never 0: one is added to the counts of the null), Benjamini-Hochberg with
        multilevel. The first is an estimate and not a bound: with the labels of the P53 data shuffled, 12 %
        of the shuffles have one or more of 308 sets below .05. ``attrs``: ``null``, ``method``, ``fdr``,
        ``n_permutations``, ``seed``, ``ranking`` (``n_genes``, ``n_ties``, ``n_missing``; with labels also
        the contrast, the statistic and the patients counted), ``mapping`` (each set given, genes measured,
        whether tested and why not), ``mended`` (older symbols that were matched).

    Raises
    ------
    DataError
        NaN, infinite or repeated genes in the ranking, one value in all genes, Ensembl ids against symbols,
        missing values among the genes of a set, no set of the size asked for, and what :func:`rank_genes`
        raises.

    Warns
    -----
    PmLabWarning
        That permuted genes ignore correlation; many ties; a ranking without a sign; with labels, values
        beyond the reach of a logarithm and few ways to label the patients.

    References
    ----------
    Subramanian 2005, doi:10.1073/pnas.0506580102. Multilevel: Korotkevich 2021, doi:10.1101/060012. On nulls:
    Goeman 2007, doi:10.1093/bioinformatics/btm051. Residuals permuted: Winkler 2014,
    doi:10.1016/j.neuroimage.2014.01.060.

    Examples
    --------
    >>> import pm_lab as pm
    >>> bulk = pm.datasets.simulate_cohort(n_cells=600).bulk
    >>> results = pm.enrichment.gsea(
    ...     gene_sets=pm.gene_sets.core("pathway"), null="permute_labels", expression=bulk, labels="response",
    ...     covariates=["batch", "age"], n_permutations=200,
    ... )
    >>> results.attrs["ranking"]["contrast"]
    ('yes', 'no')
    """
    n_permutations = PERMUTATIONS.get(null) if n_permutations is None else n_permutations
    _check_choices(gene_sets, null, method, n_permutations)
    if null == "permute_labels":
        _only_labels(ranking, method)
        comparison = groups.compare(expression, labels, contrast, covariates, statistic, patient_key)
        comparison = groups.in_order(comparison, order_of_ties(len(comparison.genes), seed))
        genes, values, facts = comparison.genes, groups.observed(comparison), comparison.facts
        _refuse_one_value(values)
    else:
        _only_ranking({"expression": expression, "labels": labels, "covariates": covariates})
        genes, values, facts = checked_ranking(ranking, seed)
    sets = testable(gene_sets, genes, min_size, max_size)
    facts = {**facts, "n_genes": len(genes), "n_ties": _ties(values)}

    number = {gene: i for i, gene in enumerate(genes)}
    members = [np.array([number[gene] for gene in found]) for found in sets.members.values()]
    position, weight = places(values)
    index = SetIndex.of(members, len(genes))
    scores = enrichment_scores(position, weight, index)
    if null == "permute_labels":
        orders = groups.labellings(comparison, n_permutations, seed)
        method, n_permutations = "permutation", len(orders)
        tested = _by_labels(scores, comparison, index, orders)
    else:
        _warn_of_correlation()
        method = _choose(method, len(members))
        if method == "multilevel":
            tested = _multilevel(scores, values, index, n_permutations, seed)
        else:
            tested = significance(scores, gene_null(weight, index.sizes, n_permutations, seed))
    edges = [[genes[gene] for gene in edge] for edge in leading_edges(position, weight, members, scores)]
    table = _table(list(sets.members), index.sizes, scores, *tested, edges)
    table.attrs = {
        "null": null,
        "method": method,
        "fdr": "Benjamini-Hochberg" if method == "multilevel" else "pooled null (Subramanian 2005)",
        "n_permutations": n_permutations,
        "seed": seed,
        "ranking": facts,
        "mapping": sets.mapping,
        "mended": sets.mended,
    }
    return table


def _table(names, sizes, scores, normalised, pvalue, fdr, edges) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "gene_set": names,
            "size": sizes,
            "enrichment_score": scores,
            "normalized_enrichment_score": normalised,
            "pvalue": pvalue,
            "fdr": fdr,
            "leading_edge": edges,
        }
    )
    order = np.lexsort([table["gene_set"].to_numpy(str), -np.abs(normalised), pvalue])
    return table.iloc[order].reset_index(drop=True)


def _check_choices(gene_sets, null: str, method: str, n_permutations: int) -> None:
    if gene_sets is None:
        raise DataError('gene_sets is missing: a dict, the path of a gmt file, or a name such as "hallmark".')
    if null not in PERMUTATIONS or method not in METHODS:
        raise DataError(
            f"null={null!r}, method={method!r}: null is one of {tuple(PERMUTATIONS)}, method of {METHODS}."
        )
    if n_permutations < FEWEST_PERMUTATIONS:
        raise DataError(f"n_permutations={n_permutations}: {FEWEST_PERMUTATIONS} at least.")


def _only_labels(ranking, method: str) -> None:
    if ranking is not None:
        raise DataError(
            'null="permute_labels" makes its own ranking from expression and labels; leave ranking out.'
        )
    if method == "multilevel":
        raise DataError('method="multilevel" permutes genes. With null="permute_labels" leave method out.')


def _only_ranking(others: dict) -> None:
    given = [name for name, value in others.items() if value is not None]
    if given:
        raise DataError(f'{", ".join(given)}: for null="permute_labels" only. Pass it, or leave these out.')


def checked_ranking(ranking, seed: int) -> tuple[list[str], np.ndarray, dict]:
    """Genes in the order in which ties are kept, their statistics, and what was left out."""
    ranking, n_missing = _as_series(ranking)
    genes = pd.Index(ranking.index.astype(str))
    twice = genes[genes.duplicated()].unique()
    if len(twice):
        raise DataError(
            f"{len(twice):,} genes are in the ranking more than once ({', '.join(twice[:5])}). Keep one row "
            "a gene, e.g. the one with the most counts, before looking at the statistics."
        )
    values = pd.to_numeric(ranking, errors="coerce").to_numpy(float)
    bad = ~np.isfinite(values)
    if bad.any():
        raise DataError(
            f"the ranking has no finite number for {int(bad.sum()):,} of {len(bad):,} genes "
            f"({', '.join(genes[bad][:5])}). Leave them out (ranking.dropna()); an infinite value is often "
            "the logarithm of a p-value of 0: rank by the test statistic."
        )
    _refuse_one_value(values)
    _warn_of_ranking(values)
    order = np.argsort(genes.to_numpy(str), kind="stable")[order_of_ties(len(genes), seed)]
    return list(genes[order]), values[order], {"n_missing": n_missing}


def order_of_ties(n_genes: int, seed: int) -> np.ndarray:
    """A random order for genes sorted by name: families of genes have like names and would tie as a block."""
    return np.random.default_rng([seed, n_genes]).permutation(n_genes)


def _refuse_one_value(values: np.ndarray) -> None:
    if len(values) and values.min() == values.max():
        raise DataError(
            f"all {len(values):,} genes of the ranking have one value, {values[0]:g}: nothing is ranked. Is "
            "this the column of the test statistic?"
        )


def _as_series(ranking) -> tuple[pd.Series, int]:
    if ranking is None:
        raise DataError(
            "ranking is missing: a Series of signed statistics by gene, or the table of "
            'pm.bulk.differential_expression. For null="permute_labels" pass expression and labels.'
        )
    if isinstance(ranking, pd.DataFrame):
        if "stat" not in ranking:
            raise DataError(
                f"the table has no column 'stat' to rank by; it has {list(ranking.columns)[:12]}."
            )
        if "gene" in ranking:
            ranking = ranking.set_index("gene")
        tested = ranking["stat"].notna()
        return ranking.loc[tested, "stat"], int((~tested).sum())
    if not isinstance(ranking, pd.Series):
        raise DataError(f"ranking is a {type(ranking).__name__}: give a Series of statistics by gene.")
    return ranking, 0


def _ties(values: np.ndarray) -> int:
    return int(pd.Series(values).duplicated(keep=False).sum())


def _warn_of_ranking(values: np.ndarray) -> None:
    n_ties = _ties(values)
    if n_ties > MANY_TIES * len(values):
        warnings.warn(
            f"{n_ties:,} of {len(values):,} genes share their value in the ranking with another; they are "
            "put in random order, which says nothing: another seed gives other results. Rank by a test "
            "statistic rather than a rounded p-value.",
            PmLabWarning,
            stacklevel=4,
        )
    if len(values) and (values >= 0).all():
        warnings.warn(
            "The ranking has no negative value: sets of genes that do not change end up at its bottom and "
            "look down-regulated. Rank by a signed statistic.",
            PmLabWarning,
            stacklevel=4,
        )


def _warn_of_correlation() -> None:
    warnings.warn(
        "Random sets of genes ignore that genes of one pathway rise and fall together, so p-values are too "
        "small: of the pathways with fdr < .05 about a quarter do not differ (.27 on average over five "
        'built-in cohorts). With patients at hand check with null="permute_labels" or compare_activity.',
        PmLabWarning,
        stacklevel=3,
    )


def _choose(method: str, n_sets: int) -> str:
    if method == "auto":
        return "multilevel" if n_sets > MANY_SETS else "permutation"
    return method


def _by_labels(scores, comparison, index: SetIndex, orders: np.ndarray):
    against = np.empty((len(scores), len(orders)), dtype=np.float32)
    for column, statistic in zip(progress(len(orders)), groups.permuted(comparison, orders), strict=True):
        against[:, column] = enrichment_scores(*places(statistic, stable=False), index)
    return significance(scores, against)


def _multilevel(scores, statistic, index: SetIndex, n_permutations: int, seed: int):
    """Normalised scores and p-values of fgsea's multilevel algorithm as gseapy has it, then BH."""
    # gseapy.prerank around it would double the time and fill gigabytes, a Python number a gene and set.
    from gseapy.gse import fgsea_rs
    from scipy.stats import false_discovery_control
    from tqdm.auto import tqdm

    order = np.argsort(-statistic, kind="stable")
    genes, values = [f"g{gene}" for gene in order], statistic[order].tolist()
    sets = [[f"g{gene}" for gene in genes] for genes in np.split(index.genes, index.starts[1:])]
    normalised, pvalue = np.empty(len(sets)), np.empty(len(sets))
    quiet = os.environ.get("PM_LAB_PROGRESS") == "0"
    for start in tqdm(range(0, len(sets), CHUNK), desc="sets", leave=False, disable=quiet):
        chunk = {str(i): sets[i] for i in range(start, min(start + CHUNK, len(sets)))}
        found = fgsea_rs(
            *(genes, values, chunk, 1.0, 1, len(genes), SAMPLE_SIZE, n_permutations, SMALLEST_P, 1, seed)
        )
        for one in found.summaries:
            normalised[int(one.term)], pvalue[int(one.term)] = one.nes, one.pval
    return normalised, pvalue, false_discovery_control(pvalue)
