"""Genes that mark a group of cells."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from .. import checks
from ..errors import DataError

if TYPE_CHECKING:
    from anndata import AnnData

BLOCK = 256  # cells looked at together


def rank_markers(cells: AnnData, groupby: str = "cluster") -> pd.DataFrame:
    """Rank the genes of each group of cells against all other cells by Wilcoxon's rank sum.

    **Descriptive.** The clusters were found on these same cells, and cells of one patient are not
    independent: the p-values say how to rank genes and are no evidence of a difference between people.
    For that, use :func:`differential_expression`, where patients are the replicates.

    Parameters
    ----------
    cells : processed cells × genes; ``X`` is log1p of normalised counts.
    groupby : column of ``obs`` with the groups.

    Returns
    -------
    pandas.DataFrame
        One row per group and gene, best score first within each group:

        - ``group``, ``gene``
        - ``score``: z of the rank sum (no correction for ties or continuity, as in scanpy)
        - ``log2_fold_change``: of expm1 of the mean ``X``, group over rest, as in scanpy
        - ``pvalue``, ``padj``: two-sided; Benjamini-Hochberg within the group
        - ``fraction_in``, ``fraction_out``: fraction of cells with the gene, in the group and elsewhere

    Raises
    ------
    DataError
        When ``X`` is not log-normalised, a name occurs twice, the column is missing or has NaN, or a
        group has one cell.

    References
    ----------
    Wilcoxon (1945), doi:10.2307/3001968; computed by illico.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cells = pm.datasets.simulate_cohort(n_cells=600).cells
    >>> pm.singlecell.process(cells, umap=False)
    >>> pm.singlecell.rank_markers(cells).columns.tolist()[:3]
    ['group', 'gene', 'score']
    """
    checks.unique_names(cells)
    groups = checks.obs_column(cells, groupby, argument="groupby").astype(str)
    X = _sorted_rows(checks.log_normalised(cells))
    sizes = groups.value_counts()
    if len(sizes) < 2:
        raise DataError(f"obs[{groupby!r}] has {len(sizes)} group: two at least are needed.")
    if sizes.min() < 2:
        single = ", ".join(sizes.index[sizes < 2][:5])
        raise DataError(f"groups of one cell in obs[{groupby!r}]: {single}. Merge or drop them.")

    tests = _rank_sums(X, groups, cells.var_names)
    inside, outside = _fractions(X, groups, tests["group"].unique())
    tests["fraction_in"], tests["fraction_out"] = inside.ravel(), outside.ravel()
    order = _natural_order(cells.obs[groupby], tests["group"].unique())
    tests["group"] = pd.Categorical(tests["group"], categories=order)
    return tests.sort_values(["group", "score"], ascending=[True, False], kind="stable", ignore_index=True)


def _sorted_rows(X) -> sparse.csr_matrix:
    X = sparse.csr_matrix(X)
    return X if X.has_sorted_indices else X.sorted_indices()


def _rank_sums(X: sparse.csr_matrix, groups: pd.Series, genes: pd.Index) -> pd.DataFrame:
    import sys
    from functools import partial
    from unittest.mock import patch

    from anndata import AnnData
    from illico import asymptotic_wilcoxon
    from loguru import logger
    from statsmodels.stats.multitest import multipletests

    bare = AnnData(X, obs=pd.DataFrame({"group": groups.to_numpy()}, index=groups.index))
    bare.var_names = genes
    logger.disable("illico")  # it reports each step on stderr
    module = sys.modules["illico.asymptotic_wilcoxon"]  # and draws a progress bar that no argument turns off
    with patch.object(module, "tqdm", partial(module.tqdm, disable=True)):
        found = asymptotic_wilcoxon(
            bare,
            is_log1p=True,
            group_keys="group",
            n_threads=os.cpu_count() or 1,
            batch_size=1024,  # each batch reads through all cells, so few batches
            use_continuity=False,
            tie_correct=False,
            exp_post_agg=True,
        )
    names = found.index.get_level_values(0)
    pvalues = found["p_value"].fillna(1.0)
    return pd.DataFrame(
        {
            "group": names.astype(str),
            "gene": found.index.get_level_values(1),
            "score": found["z_score"].to_numpy(),
            "log2_fold_change": np.log2(found["fold_change"].to_numpy()),
            "pvalue": pvalues.to_numpy(),
            "padj": pvalues.groupby(names, sort=False)
            .transform(lambda p: multipletests(p, method="fdr_bh")[1])
            .to_numpy(),
        }
    )


def _fractions(X: sparse.csr_matrix, groups: pd.Series, order) -> tuple[np.ndarray, np.ndarray]:
    """Groups × genes: fraction of cells with the gene inside and outside each group."""
    codes = pd.Categorical(groups, categories=order).codes.astype(np.int64)
    shape = (len(order), X.shape[1])
    detected = np.zeros(shape)
    for start in range(0, X.shape[0], BLOCK):
        block = X[start : start + BLOCK]
        group = np.repeat(codes[start : start + BLOCK], np.diff(block.indptr))
        place = (group * X.shape[1] + block.indices)[block.data > 0]
        detected += np.bincount(place, minlength=detected.size).reshape(shape)
    size = np.bincount(codes, minlength=len(order))[:, None]
    rest = detected.sum(axis=0) - detected
    return detected / size, rest / (len(codes) - size)


def _natural_order(column: pd.Series, present) -> list[str]:
    """Groups in the order of the column's own categories, else sorted."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return [name for name in column.cat.categories.astype(str) if name in set(present)]
    return sorted(present)
