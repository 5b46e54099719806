"""Static figures of bulk expression. Each returns a matplotlib Figure and never shows it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab import checks, keys
from pm_lab.design import as_text
from pm_lab.errors import DataError, PmLabWarning

from .expression import check_results
from .normalization import dense_counts, log_cpm, median_of_ratios

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind people can tell apart, then two of Tol's muted ones.
COLOURS = ["#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "#F0E442", "#332288", "#882255"]
MARKERS = "osD^vP*Xd"
GREY, UP, DOWN = "#BBBBBB", "#D55E00", "#0072B2"
DIVERGING, SEQUENTIAL = "RdBu_r", "viridis"
MOST_GENES, MOST_NAMES = 500, 60
LARGEST_Z = 3.0
LONGEST_NEGATIVE_LOG = 300  # p-values of zero are drawn here


def volcano(
    results: pd.DataFrame,
    n_labels: int = 12,
    padj: float = 0.05,
    min_log2_fold_change: float = 0.0,
    genes: list[str] | None = None,
    shrunken: bool = False,
) -> Figure:
    """Show size against certainty of each gene's change.

    Parameters
    ----------
    results : of :func:`differential_expression`.
    n_labels : how many of the genes that pass are named, by p-value.
    padj, min_log2_fold_change : genes below and above these pass, and are coloured.
    genes : name these instead, whether they pass or not.
    shrunken : show the shrunken fold change; which genes pass still rests on the raw one.

    Returns
    -------
    matplotlib.figure.Figure
        log2 fold change against -log10 of the p-value; the dashed line is the largest p-value that passes.
        Genes without a p-value or adjusted p-value are counted in the caption.

    Raises
    ------
    DataError
        When ``results`` lacks a column, or a gene of ``genes``.

    Examples
    --------
    >>> import pm_lab as pm
    >>> results = pm.bulk.differential_expression(pm.datasets.simulate_cohort(n_cells=600))
    >>> figure = pm.bulk.volcano(results, n_labels=3)
    """
    from matplotlib.figure import Figure

    check_results(results)
    effect = "shrunken_log2_fold_change" if shrunken else "log2_fold_change"
    if effect not in results:
        raise DataError("results has no shrunken fold changes. Run differential_expression with shrink=True.")
    unknown = [name for name in genes or [] if name not in results.index]
    if unknown:
        raise DataError(f"genes: {unknown[:5]} were not tested (left out, or not in the cohort).")
    shown = results[results["pvalue"].notna()]
    height = -np.log10(shown["pvalue"].clip(lower=10.0**-LONGEST_NEGATIVE_LOG))
    passed = (shown["padj"] < padj) & (shown["log2_fold_change"].abs() >= min_log2_fold_change)
    up = shown["log2_fold_change"] > 0
    _, level, reference = results.attrs.get("contrast", ("", "the first level", "the other"))

    figure = Figure(figsize=(7.5, 5.6), layout="constrained")
    ax = figure.subplots()
    for rows, colour, marker, label in (
        (~passed, GREY, "o", f"others ({(~passed).sum():,})"),
        (passed & up, UP, "^", f"higher in {level} ({(passed & up).sum():,})"),
        (passed & ~up, DOWN, "v", f"lower in {level} ({(passed & ~up).sum():,})"),
    ):
        ax.scatter(
            shown[effect][rows], height[rows], s=12, c=colour, marker=marker, label=label, linewidths=0
        )
    if passed.any():
        ax.axhline(height[passed].min(), color="black", linewidth=0.8, linestyle="--")
    ax.axvline(0, color="black", linewidth=0.5)
    ax.margins(x=0.12, y=0.1)
    name = "shrunken log2 fold change" if shrunken else "log2 fold change"
    ax.set(xlabel=f"{name}, {level} over {reference}", ylabel="-log10 p-value", title=_caption(results, padj))
    ax.title.set_fontsize(10)
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), markerscale=1.5)
    named = list(genes) if genes is not None else list(shown[passed].sort_values("pvalue").index[:n_labels])
    _label(ax, {gene: (shown[effect][gene], height[gene]) for gene in named if gene in shown.index})
    return figure


def _caption(results: pd.DataFrame, padj: float) -> str:
    without = {
        "no p-value (count outliers)": int(results["pvalue"].isna().sum()),
        "no adjusted p-value (counts too low)": int(
            (results["padj"].isna() & results["pvalue"].notna()).sum()
        ),
    }
    said = "; ".join(f"{n:,} with {why}" for why, n in without.items() if n)
    return f"{len(results):,} genes tested, padj < {padj:g} coloured" + (f"\n{said}" if said else "")


def _label(ax, places: dict[str, tuple[float, float]]) -> None:
    """Names beside their points, moved apart."""
    from adjustText import adjust_text

    texts = [ax.text(x, y, gene, fontsize=8) for gene, (x, y) in places.items()]
    if not texts:
        return
    ax.figure.canvas.draw()  # so that the sizes of the texts are known
    x, y = zip(*places.values(), strict=True)
    adjust_text(
        texts,
        x=list(x),
        y=list(y),
        ax=ax,
        expand=(1.15, 1.5),
        iter_lim=500,  # of steps, not of seconds: the same figure on every machine
        arrowprops={"arrowstyle": "-", "color": "#666666", "linewidth": 0.5},
    )


def heatmap(
    cohort: AnnData,
    genes: list[str],
    groupby: str | list[str],
    cluster_genes: bool = True,
) -> Figure:
    """Show genes × patients, each gene in standard deviations from its mean.

    Patients are ordered by the first column of ``groupby`` and within it by clustering, so that groups stand
    side by side; genes by clustering (average linkage of correlation). Ordering by a group shows what it
    looks like, not that the genes separate it: genes picked by a test on these patients always will.

    Parameters
    ----------
    cohort : patients × genes with raw counts in ``layers["counts"]`` or ``X``; a Cohort's ``bulk``. Shown is
        log2 CPM (median of ratios).
    genes : names, at most 500. Those not in the cohort are warned of; those that do not vary are left out.
    groupby : columns of obs, one annotation bar each; labels or numbers.
    cluster_genes : order genes by clustering, or keep the order given.

    Returns
    -------
    matplotlib.figure.Figure
        Values beyond ±3 have the colour of ±3.

    Raises
    ------
    DataError
        No raw counts, fewer than two genes to show, more than 500, an absent column.

    Warns
    -----
    PmLabWarning
        Genes that are not in the cohort or do not vary, with names.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.simulate_cohort(n_cells=600)
    >>> figure = pm.bulk.heatmap(cohort, cohort.truth["biomarkers"], groupby=["response", "batch"])
    """
    from matplotlib.figure import Figure

    cohort = checks.bulk_of(cohort)
    columns = [groupby] if isinstance(groupby, str) else list(groupby)
    groups = {name: checks.obs_column(cohort, name, argument="groupby") for name in columns}
    z = _z_scores(cohort, genes)
    if cluster_genes:
        z = z.iloc[:, _cluster(z.T)]
    z = z.iloc[_within_groups(z, groups[columns[0]])]

    n_bars, n_genes = len(columns), z.shape[1]
    height = float(np.clip(0.16 * n_genes, 2.5, 12))
    figure = Figure(figsize=(9.5, height + 0.3 * n_bars + 0.9), layout="constrained")
    axes = figure.subplots(n_bars + 1, 1, sharex=True, height_ratios=[0.25] * n_bars + [height])
    used = 0  # colours of the bars before: no colour means two things
    for ax, values in zip(axes, groups.values(), strict=False):
        used += _bar(figure, ax, values[z.index], axes, used)
    ax = axes[-1]
    picture = ax.imshow(
        z.T, aspect="auto", cmap=DIVERGING, vmin=-LARGEST_Z, vmax=LARGEST_Z, interpolation="nearest"
    )
    many = n_genes > MOST_NAMES
    ax.set_yticks([] if many else range(n_genes), [] if many else z.columns, fontsize=7)
    ax.set_xticks([])
    ax.set_xlabel(f"{len(z):,} patients")
    ax.set_ylabel(f"{n_genes:,} genes" if many else "")
    figure.colorbar(picture, ax=axes, label="log2 CPM, SD from the gene's mean", shrink=0.5, pad=0.01)
    return figure


def _z_scores(cohort: AnnData, genes: list[str]) -> pd.DataFrame:
    """Patients × genes; says which genes cannot be shown."""
    genes = list(dict.fromkeys([genes] if isinstance(genes, str) else genes))
    if len(genes) > MOST_GENES:
        raise DataError(f"{len(genes):,} genes are too many to see; pass at most {MOST_GENES}.")
    counts = dense_counts(cohort)
    known = [gene for gene in genes if gene in cohort.var_names]
    log = log_cpm(counts, median_of_ratios(counts))[:, cohort.var_names.get_indexer(known)]
    table = pd.DataFrame(log, cohort.obs_names, known)
    varying = table.loc[:, table.std() > 0]
    for left_out, why in (
        ([gene for gene in genes if gene not in known], "not in the cohort"),
        ([gene for gene in known if gene not in varying], "the same in every patient"),
    ):
        if left_out:
            warnings.warn(f"{len(left_out)} genes are {why}: {left_out[:5]}.", PmLabWarning, stacklevel=3)
    if varying.shape[1] < 2:
        raise DataError(
            f"{varying.shape[1]} of {len(genes)} genes can be shown; two are needed. The cohort's genes are "
            f"named like {list(cohort.var_names[:3])}."
        )
    return (varying - varying.mean()) / varying.std()


def _cluster(rows: pd.DataFrame) -> np.ndarray:
    """Order of the rows in which similar ones are neighbours."""
    from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
    from scipy.spatial.distance import pdist

    if len(rows) < 3:
        return np.arange(len(rows))
    distance = np.nan_to_num(pdist(rows.to_numpy(), "correlation"), nan=1.0).clip(0)
    return leaves_list(optimal_leaf_ordering(linkage(distance, "average"), distance))


def _within_groups(z: pd.DataFrame, groups: pd.Series) -> np.ndarray:
    """Patients by group, and by clustering within each; a number is sorted by."""
    if _is_number(groups):
        return np.argsort(groups.to_numpy(), kind="stable")
    labels = as_text(groups).to_numpy()
    places = [np.flatnonzero(labels == name) for name in _levels(groups)]
    return np.concatenate([rows[_cluster(z.iloc[rows])] for rows in places])


def _is_number(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def _levels(values: pd.Series) -> list[str]:
    present = as_text(values)
    if hasattr(values, "cat"):
        return [name for name in map(str, values.cat.categories) if (present == name).any()]
    return sorted(present.unique())


def _bar(figure: Figure, ax, values: pd.Series, axes, first_colour: int) -> int:
    """One annotation bar with its legend; returns how many colours it took."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    ax.set_yticks([0], [values.name], fontsize=8)
    ax.tick_params(bottom=False)
    if _is_number(values):
        picture = ax.imshow(values.to_numpy(float)[None], aspect="auto", cmap=SEQUENTIAL)
        figure.colorbar(picture, ax=axes, label=values.name, shrink=0.25, pad=0.01)
        return 0
    levels = _levels(values)
    colours = [COLOURS[(first_colour + i) % len(COLOURS)] for i in range(len(levels))]
    codes = pd.Index(levels).get_indexer(as_text(values))
    ax.imshow(codes[None], aspect="auto", cmap=ListedColormap(colours), vmin=-0.5, vmax=len(levels) - 0.5)
    ax.legend(
        handles=[Patch(color=colour, label=level) for level, colour in zip(levels, colours, strict=True)],
        ncols=len(levels),
        loc="lower right",
        bbox_to_anchor=(1, 0.9),
        frameon=False,
        fontsize=7,
    )
    return len(levels)


def plot_quality(cohort: AnnData, batch: str | None = None, condition: str | None = None) -> Figure:
    """Show library size, detected genes and principal components of the samples.

    Parameters
    ----------
    cohort : patients × genes after :func:`quality_control`; a Cohort's ``bulk``.
    batch, condition : columns of obs for the colours; by default those that quality control was run with.

    Returns
    -------
    matplotlib.figure.Figure
        Counts and detected genes of each sample, ordered by batch; the first two components, once coloured by
        condition and once by batch. Samples with a ``qc_reason`` are ringed and named.

    Raises
    ------
    DataError
        When quality control was not run, or a column is absent.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.simulate_cohort(n_cells=600)
    >>> table = pm.bulk.quality_control(cohort, batch="batch", condition="response")
    >>> figure = pm.bulk.plot_quality(cohort)
    """
    from matplotlib.figure import Figure

    cohort = checks.bulk_of(cohort)
    record = cohort.uns.get(keys.RECORD, {}).get("quality_control")
    if record is None or "library_size" not in cohort.obs:
        raise DataError("there is no quality control to show. Run pm.bulk.quality_control(cohort) first.")
    names = {"batch": batch or record.get("batch"), "condition": condition or record.get("condition")}
    colours = {
        role: checks.obs_column(cohort, name, argument=role)
        for role, name in names.items()
        if name is not None
    }
    by = colours.get("batch", colours.get("condition", pd.Series("all samples", cohort.obs_names)))
    odd = (cohort.obs["qc_reason"] != "").to_numpy()
    order = np.lexsort((cohort.obs["library_size"], as_text(by)))

    n_pca = max(1, len(colours))
    figure = Figure(figsize=(10, 8), layout="constrained")
    upper, lower = figure.subfigures(2, 1)
    for ax, (key, label) in zip(
        upper.subplots(1, 2), {"library_size": "counts", "n_genes": "genes with a count"}.items(), strict=True
    ):
        _by_sample(ax, cohort.obs[key].iloc[order], by.iloc[order], odd[order], label)
    axes = np.atleast_1d(lower.subplots(1, n_pca))
    for ax, values in zip(axes, reversed(colours.values()) if colours else [by], strict=True):
        _components(ax, cohort.obsm[keys.PCA], values, odd, record["variance_share"])
    return figure


def _by_sample(ax, values: pd.Series, groups: pd.Series, odd: np.ndarray, label: str) -> None:
    from matplotlib.ticker import MaxNLocator

    place = np.arange(len(values))
    for mask, style in _styles(groups):
        ax.scatter(place[mask], values[mask], s=16, linewidths=0, **style)
    _ring(ax, place, values.to_numpy(), values.index, odd)
    ax.set(xlabel="samples", ylabel=label, xticks=[])
    ax.margins(y=0.12)
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    if groups.nunique() > 1:
        ax.legend(frameon=False, title=groups.name, ncols=min(groups.nunique(), 4), loc="best")


def _components(ax, points: np.ndarray, values: pd.Series, odd: np.ndarray, share: np.ndarray) -> None:
    if _is_number(values):
        drawn = ax.scatter(points[:, 0], points[:, 1], c=values, cmap=SEQUENTIAL, s=22, linewidths=0)
        ax.figure.colorbar(drawn, ax=ax, label=values.name)
    else:
        for mask, style in _styles(values):
            ax.scatter(points[mask, 0], points[mask, 1], s=22, linewidths=0, **style)
        if values.nunique() > 1:
            ax.legend(frameon=False, title=values.name)
    _ring(ax, points[:, 0], points[:, 1], values.index, odd)
    ax.set(
        xlabel=f"PC1 ({share[0]:.0%} of variance)",
        ylabel=f"PC2 ({share[1]:.0%})",
        title=f"log2 CPM by {values.name}" if values.name else "log2 CPM",
    )


def _styles(groups: pd.Series):
    """Mask, colour, marker and label of each level; a number counts as its quartile."""
    if _is_number(groups):
        groups = pd.qcut(groups, 4, duplicates="drop").astype(str)
    labels = as_text(groups).to_numpy()
    for i, name in enumerate(_levels(groups)):
        yield (
            labels == name,
            {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)], "label": name},
        )


def _ring(ax, x, y, names: pd.Index, odd: np.ndarray) -> None:
    """Rings around samples to look at; names while they can be read."""
    ax.scatter(x[odd], y[odd], s=90, facecolors="none", edgecolors="black", linewidths=1)
    for i in np.flatnonzero(odd)[:10]:
        ax.annotate(str(names[i]), (x[i], y[i]), xytext=(5, 5), textcoords="offset points", fontsize=7)
