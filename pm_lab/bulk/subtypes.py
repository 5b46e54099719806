"""Subtypes found in the data: consensus clustering that may answer that there are none."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from pm_lab import checks, keys
from pm_lab.bulk.consensus import (
    GRID,
    against_null,
    ambiguity,
    bootstrap_ari,
    components,
    consensus_matrices,
    distribution,
    labels_of,
    without_clusters,
)
from pm_lab.design import as_text
from pm_lab.design.formula import names_a_batch
from pm_lab.errors import DataError, PmLabWarning
from pm_lab.gene_sets import match_symbols

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.figure import Figure

SUBTYPE = "expression_subtype"  # obs; "subtype" is left to the clinical one
CERTAINTY = "expression_subtype_certainty"  # obs
FEWEST_PATIENTS = 20
FEWEST_GENES = 10
LARGEST_LOG = 30  # log2 of the brightest array or CPM stays below
N_COMPONENTS = 10
ALPHA = 0.05
FOLLOWS_BATCH = 0.3  # Cramér's V above which clusters are said to follow a batch


def subtype(
    cohort,
    k: Iterable[int] = range(2, 7),
    n_genes: int = 500,
    genes: Iterable[str] | None = None,
    covariates: Iterable[str] = (),
    n_resamples: int = 50,
    n_null: int = 59,
    seed: int = 0,
    copy: bool = False,
) -> pd.DataFrame | tuple[pd.DataFrame, AnnData]:
    """Look for subtypes by consensus clustering, and say so when there are none.

    Patients are clustered (Ward's method on the first ten principal components) in ``n_resamples``
    random 80 % of the cohort. The consensus of two patients is how often they fall together; clusters are
    the average linkage of it. Good clusters leave few pairs in between: the proportion of ambiguous
    clustering (PAC), with a consensus between .1 and .9, is low.

    Any data, pure noise too, have a k with the lowest PAC. So each k is compared with ``n_null`` cohorts
    without clusters: the same principal components with the same variances and, in each, the
    distribution of the data blurred to a single mode. (M3C draws them from a Gaussian, and takes an even
    gradient for clusters more often.) k is the number of clusters with ``padj`` < .05 that stands out
    furthest from the null (``z``), and 1 where there is none.

    Clusters are not subtypes until another cohort has them. They are whatever differs most: a batch, the
    share of tumour cells, a strong pathway. Two kinds of data without clusters are still taken for
    clusters: a curved gradient over two components, and heavy tails (in a small trial 3 of 21 cohorts of
    t-distributed values with 3 degrees of freedom). The components of the null are independent, those of
    data only uncorrelated, which makes the null clearer-cut than data: power is lower than it looks.

    Parameters
    ----------
    cohort : patients × genes, ``X`` on a log scale (or a Cohort, whose ``bulk`` is used).
    k : numbers of clusters to try, each 2 or more.
    n_genes : genes with the largest variance that are used.
    genes : use these genes (symbols; aliases are mended) instead, when the question is about them.
    covariates : columns of ``obs`` whose linear effect is taken out of every gene first, such as
        ``["batch"]``. What goes along with them is taken out, too.
    n_resamples : resamples a consensus, and bootstraps.
    n_null : cohorts without clusters; the smallest p-value is 1 / (n_null + 1).
    seed : equal seeds give equal labels on one machine.
    copy : leave the cohort as it is and return ``(table, changed copy)``.

    Returns
    -------
    pandas.DataFrame
        One row per k: ``k``, ``pac``, ``pac_null`` (mean without clusters), ``log_ratio`` (mean of
        log PAC without clusters − log PAC, the relative cluster stability index of M3C), ``z`` (the same in
        standard deviations of the null), ``pvalue`` (Monte Carlo, one-sided), ``padj`` (for having tried
        several k), ``bootstrap_ari`` (mean adjusted Rand index between the clusters and those of
        bootstrapped patients), ``smallest`` (patients in the smallest cluster), ``chosen``.
        ``attrs["k"]``: the number of clusters, 1 for none.

        Written: ``obs["expression_subtype"]`` ("S1" is the largest; all are "S1" where there are none),
        ``obs["expression_subtype_certainty"]`` (mean consensus with the own cluster less that with the
        nearest other one; NaN where there are none) and, in ``uns["pm_lab"]["subtype"]``, the table, the
        parameters, the batches and what :func:`plot_consensus` draws.

    Raises
    ------
    DataError
        No log expression, fewer than 20 patients, an impossible k, a missing column, unknown genes, a view
        (``cohort[...]``) without ``copy``.

    Warns
    -----
    PmLabWarning
        When the clusters follow a column of ``obs`` whose name says batch (Cramér's V above .3).

    References
    ----------
    Consensus clustering: Monti 2003, doi:10.1023/A:1023949509487. PAC: Șenbabaoğlu 2014,
    doi:10.1038/srep06207. Null without clusters: John 2020 (M3C), doi:10.1038/s41598-020-58766-1.
    Critical bandwidth: Silverman 1981, doi:10.1111/j.2517-6161.1981.tb01155.x.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.simulate_cohort(n_cells=600)
    >>> table = pm.bulk.subtype(cohort, covariates=["batch"], n_resamples=20, n_null=19)
    >>> table.attrs["k"]
    1
    """
    from threadpoolctl import threadpool_limits

    bulk = checks.bulk_of(cohort)
    if not copy:
        checks.not_a_view(bulk)
    X = log_expression(bulk)
    covariates = [covariates] if isinstance(covariates, str) else list(covariates)
    ks = _numbers(k, len(X))
    if covariates:
        X = _residuals(X, bulk, covariates)
    used = _genes_to_use(X, bulk.var_names, n_genes, genes)
    rng = np.random.default_rng(seed)
    # Thousands of small matrices: more than one linear-algebra thread only gets in the way.
    with threadpool_limits(1):
        points = components(X[:, used], N_COMPONENTS)
        matrices = consensus_matrices(points, ks, n_resamples, rng)
        curves = np.array([distribution(matrix) for matrix in matrices])
        null_curves = _null_curves(points, ks, n_resamples, n_null, rng)
        labels = [labels_of(matrix, number) for matrix, number in zip(matrices, ks, strict=True)]
        stability = bootstrap_ari(points, labels, ks, n_resamples, rng)
    table = against_null(ambiguity(curves), ambiguity(null_curves))
    table.insert(0, "k", ks)
    table["bootstrap_ari"] = stability
    table["smallest"] = [int(np.bincount(found).min()) for found in labels]
    passed = table["z"].where(table["padj"] < ALPHA)
    table["chosen"] = passed.notna() & (passed == passed.max())
    best = int(passed.idxmax()) if passed.notna().any() else None

    if copy:
        bulk = bulk.copy()
    record = {
        "k": 1 if best is None else ks[best],
        "table": table.copy(),
        "genes": bulk.var_names[used].to_numpy(dtype=str),
        "covariates": covariates,
        "n_resamples": n_resamples,
        "n_null": n_null,
        "seed": seed,
        "cdf": curves,
        "cdf_null": null_curves.mean(axis=0),
    }
    _annotate(bulk, table, labels, matrices, best, record)
    bulk.uns.setdefault(keys.RECORD, {})["subtype"] = record
    if best is not None:
        record["batches"] = _batches(bulk.obs)
        _warn_of_batches(record["batches"])
    table.attrs["k"] = record["k"]
    return (table, bulk) if copy else table


def log_expression(bulk: AnnData) -> np.ndarray:
    """``X`` as a dense float array, or an error that says why it is not log expression."""
    checks.unique_names(bulk)
    if bulk.X is None or 0 in bulk.shape:
        raise DataError(f"there is no expression: {bulk.n_obs:,} patients × {bulk.n_vars:,} genes. {_LOG}")
    X = np.asarray(bulk.X.toarray() if sparse.issparse(bulk.X) else bulk.X, dtype=float)
    unknown = ~np.isfinite(X)
    if unknown.any():
        named = bulk.var_names[unknown.any(axis=0)]
        raise DataError(
            f"X has {int(unknown.sum()):,} missing or infinite values, in {len(named):,} genes "
            f"({', '.join(map(str, named[:5]))}). Leave these genes out, or fill the values in."
        )
    if (X.round() == X).all():
        raise DataError(f"X holds whole numbers only (up to {X.max():.4g}), as raw counts do. {_LOG}")
    if X.max() > LARGEST_LOG:
        raise DataError(f"X goes up to {X.max():.4g}, so no logarithm was taken. {_LOG}")
    return X


_LOG = "Put log2 expression into X: pm.bulk.normalize(cohort), or log2(CPM + 1)."


def _numbers(k: Iterable[int], n_patients: int) -> list[int]:
    ks = sorted({int(number) for number in ([k] if isinstance(k, int) else k)})
    if n_patients < FEWEST_PATIENTS:
        raise DataError(
            f"{n_patients} patients are too few to find subtypes in; {FEWEST_PATIENTS} are needed."
        )
    if not ks or ks[0] < 2 or ks[-1] > n_patients // 5:
        raise DataError(
            f"k={ks}: with {n_patients} patients numbers of clusters from 2 to {n_patients // 5} can be "
            "tried. (That there are none is always among the answers.)"
        )
    return ks


def _residuals(X: np.ndarray, bulk: AnnData, covariates: list[str]) -> np.ndarray:
    """X without the linear effect of columns of obs; text and batches count as categories."""
    columns = [np.ones((len(X), 1))]
    for name in covariates:
        values = checks.obs_column(bulk, name, argument="covariates")
        if pd.api.types.is_numeric_dtype(values) and not names_a_batch(name):
            columns.append(values.to_numpy(float)[:, None] - values.mean())
        else:
            columns.append(pd.get_dummies(as_text(values), drop_first=True).to_numpy(float))
    design = np.hstack(columns)
    return X - design @ np.linalg.lstsq(design, X, rcond=None)[0]


def _genes_to_use(X: np.ndarray, names: pd.Index, n_genes: int, genes: Iterable[str] | None) -> np.ndarray:
    """Positions of the genes with the largest variance, or of those named."""
    variance = X.var(axis=0)
    if genes is None:
        chosen = np.argsort(-variance, kind="stable")[:n_genes]
    else:
        matched, _ = match_symbols({"genes": list(genes)}, names)
        chosen = np.flatnonzero(names.isin(matched["genes"]))
    chosen = chosen[variance[chosen] > 1e-12]
    if len(chosen) < FEWEST_GENES:
        raise DataError(
            f"{len(chosen)} genes are measured and vary between patients; {FEWEST_GENES} are needed. "
            "Raise n_genes, or give genes by the names in var_names."
        )
    return chosen


def _null_curves(points: np.ndarray, ks: list[int], n_resamples: int, n_null: int, rng) -> np.ndarray:
    """Distributions of consensus without clusters, draws × ks × grid."""
    from tqdm.auto import tqdm

    draw = without_clusters(points, rng)
    quiet = os.environ.get("PM_LAB_PROGRESS") == "0"
    rounds = tqdm(range(n_null), desc="Cohorts without clusters", leave=False, disable=quiet)
    return np.array(
        [
            [distribution(matrix) for matrix in consensus_matrices(draw(), ks, n_resamples, rng)]
            for _ in rounds
        ]
    )


def _annotate(bulk: AnnData, table: pd.DataFrame, labels, matrices, best: int | None, record: dict) -> None:
    """Write labels and their certainty to obs; the matrix shown is that of the k that came nearest."""
    shown = int(table["z"].idxmax()) if best is None else best
    record |= {"k_shown": int(table["k"][shown]), "consensus": matrices[shown], "clusters": labels[shown]}
    if best is None:
        found, certainty = np.zeros(bulk.n_obs, dtype=int), np.full(bulk.n_obs, np.nan)
    else:
        found, certainty = labels[best], _certainty(matrices[best], labels[best])
    names = [f"S{number + 1}" for number in range(found.max() + 1)]
    bulk.obs[SUBTYPE] = pd.Categorical.from_codes(found, names)
    bulk.obs[CERTAINTY] = certainty


def _certainty(matrix: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean consensus with the other members of the own cluster, less that with the nearest other cluster."""
    member = np.eye(labels.max() + 1)[labels]
    size = member.sum(axis=0)
    own = labels[:, None] == np.arange(len(size))
    mean = (matrix @ member - own) / np.maximum(size - own, 1)  # a patient's consensus with itself is 1
    return mean[own] - np.where(own, -np.inf, mean).max(axis=1)


def _batches(obs: pd.DataFrame) -> pd.DataFrame:
    """How closely the clusters follow each column whose name says batch."""
    from scipy.stats.contingency import association
    from sklearn.metrics import adjusted_mutual_info_score

    rows = []
    for name in obs.columns:
        values = as_text(obs[name])
        if not names_a_batch(name) or not 2 <= values.nunique() <= len(obs) // 2:
            continue
        known = values.notna()
        counts = pd.crosstab(obs[SUBTYPE][known], values[known])
        if min(counts.shape) < 2:
            continue
        v = association(counts.to_numpy(), method="cramer", correction=False)
        ami = adjusted_mutual_info_score(obs[SUBTYPE][known].astype(str), values[known])
        rows.append((name, float(v), float(ami)))
    return pd.DataFrame(rows, columns=["column", "cramers_v", "adjusted_mutual_information"])


def _warn_of_batches(batches: pd.DataFrame) -> None:
    following = batches[batches["cramers_v"] > FOLLOWS_BATCH]
    if following.empty:
        return
    named = ", ".join(f"{row.column} (Cramér's V {row.cramers_v:.2f})" for row in following.itertuples())
    warnings.warn(
        f"the clusters follow {named}: they may be where samples were processed, not what the patients have. "
        f"Take it out with covariates={list(following['column'])}, and see whether clusters remain.",
        PmLabWarning,
        stacklevel=3,
    )


def plot_consensus(cohort) -> Figure:
    """Show the consensus of patients and, by number of clusters, how far it is from that without clusters.

    Parameters
    ----------
    cohort : Cohort or AnnData after :func:`subtype`.

    Returns
    -------
    matplotlib.figure.Figure
        Left: consensus of each two patients, in the order of the clusters; where none were found, those of
        the k that came nearest. Middle: cumulative distribution of the consensus by k, dashed without
        clusters; flat between .1 and .9 is unambiguous. Right: PAC by k, in black, and without clusters
        (mean), in grey; full points have an adjusted p-value below .05.

    Raises
    ------
    DataError
        When :func:`subtype` was not run on this cohort.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.simulate_cohort(n_cells=600)
    >>> table = pm.bulk.subtype(cohort, covariates=["batch"], n_resamples=20, n_null=19)
    >>> figure = pm.bulk.plot_consensus(cohort)
    """
    from matplotlib.figure import Figure

    bulk = checks.bulk_of(cohort)
    record = bulk.uns.get(keys.RECORD, {}).get("subtype")
    if record is None:
        raise DataError("there is no consensus to show. Run pm.bulk.subtype(cohort) first.")
    if len(record["consensus"]) != bulk.n_obs:
        raise DataError(
            f"subtype was run on {len(record['consensus'])} patients, and there are {bulk.n_obs} now. "
            "Run it again."
        )
    figure = Figure(figsize=(13, 4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    _draw_matrix(left, record)
    _draw_distributions(middle, record)
    _draw_ambiguity(right, record)
    return figure


def _draw_matrix(ax, record: dict) -> None:
    clusters, matrix = np.asarray(record["clusters"]), np.asarray(record["consensus"])
    order = np.lexsort((-_certainty(matrix, clusters), clusters))
    image = ax.imshow(matrix[np.ix_(order, order)], cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    for edge in np.cumsum(np.bincount(clusters))[:-1]:
        ax.axhline(edge - 0.5, color="black", lw=0.6)
        ax.axvline(edge - 0.5, color="black", lw=0.6)
    ax.set(xlabel="patients", ylabel="patients", xticks=[], yticks=[])
    found = f"{record['k']} clusters" if record["k"] > 1 else f"no clusters (shown: k = {record['k_shown']})"
    ax.set_title(found)
    ax.figure.colorbar(image, ax=ax, shrink=0.8, label="consensus")


def _draw_distributions(ax, record: dict) -> None:
    from matplotlib import colormaps

    ks = list(record["table"]["k"])
    for colour, number, own, null in zip(
        colormaps["viridis"](np.linspace(0, 0.9, len(ks))), ks, record["cdf"], record["cdf_null"], strict=True
    ):
        ax.plot(GRID, own, color=colour, lw=1.8, label=f"k = {number}")
        ax.plot(GRID, null, color=colour, lw=1, ls="--")
    ax.plot([], [], color="black", lw=1, ls="--", label="no clusters")
    ax.axvspan(0.1, 0.9, color="#EEEEEE", zorder=0)
    ax.set(xlabel="consensus of two patients", ylabel="cumulative share of pairs", ylim=(0, 1), xlim=(0, 1))
    ax.legend(frameon=False, fontsize=8)


def _draw_ambiguity(ax, record: dict) -> None:
    table = record["table"]
    ax.plot(table["k"], table["pac_null"], color="#999999", marker="s", ls="--", label="without clusters")
    ax.plot(table["k"], table["pac"], color="black", lw=1.5)
    passed = table["padj"] < ALPHA
    for rows, fill, label in ((passed, "black", "adjusted p < .05"), (~passed, "white", "not significant")):
        if rows.any():
            points = table[rows]
            ax.plot(points["k"], points["pac"], "o", color="black", markerfacecolor=fill, label=label)
    for row in table.itertuples():
        ax.annotate(f"p {row.padj:.2g}", (row.k, row.pac), (0, 7), textcoords="offset points", fontsize=8)
    ax.set(xlabel="number of clusters k", ylabel="ambiguous pairs (PAC)", xticks=list(table["k"]))
    ax.margins(x=0.12)
    ax.set_ylim(0, max(table["pac"].max(), table["pac_null"].max()) * 1.2)
    ax.legend(frameon=False, fontsize=8)
