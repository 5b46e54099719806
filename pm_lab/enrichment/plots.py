"""Figures of enrichment. What a figure shows is said in words as well: ``figure.get_label()``."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab.enrichment.overlap import leading_edge_overlap, redundancy
from pm_lab.enrichment.permutation import SetIndex, enrichment_scores, leading_edges, places
from pm_lab.enrichment.ranked import checked_ranking
from pm_lab.enrichment.sets import GeneSets, testable
from pm_lab.errors import DataError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UP, DOWN, GREY = "#D55E00", "#0072B2", "#999999"  # Okabe and Ito's, which colour-blind people can tell apart
SIGNIFICANT = 0.05
NES = "normalized_enrichment_score"
LISTED = 25  # clusters named beside the map
LARGEST_SHOWN = 4  # -log10 of the fdr at which the colour scale ends


def plot_running_score(
    ranking: pd.Series | pd.DataFrame,
    gene_sets: GeneSets,
    name: str,
    results: pd.DataFrame | None = None,
) -> Figure:
    """Show where the genes of one set lie in the ranking, and the walk whose peak is the enrichment score.

    Parameters
    ----------
    ranking : as for :func:`gsea`; :func:`rank_genes` makes that of ``null="permute_labels"``.
    gene_sets : as for :func:`gsea`.
    name : the set.
    results : of :func:`gsea`, for the normalised score and the false discovery rate in the title.

    Returns
    -------
    matplotlib.figure.Figure
        Walk, members as ticks (those of the leading edge in colour), ranking. ``get_label()``
        says it in words.

    Raises
    ------
    DataError
        No such set, no gene of it measured, and what :func:`gsea` says of rankings.

    Examples
    --------
    >>> import pm_lab as pm
    >>> bulk = pm.datasets.simulate_cohort(n_cells=600).bulk
    >>> ranking = pm.enrichment.rank_genes(bulk, "response")
    >>> figure = pm.enrichment.plot_running_score(ranking, "core", "HYPOXIA")
    """
    from matplotlib.figure import Figure

    seed = 0 if results is None else results.attrs.get("seed", 0)  # of the order of ties
    genes, values, _ = checked_ranking(ranking, seed)
    members = _one_set(gene_sets, name, genes)
    position, weight = places(values)
    score = enrichment_scores(position, weight, SetIndex.of([members], len(genes)))[0]
    edge = position[leading_edges(position, weight, [members], [score])[0]]
    place = np.sort(position[members])
    colour = UP if score >= 0 else DOWN

    figure = Figure(figsize=(6.5, 5.2), layout="constrained")
    walk, ticks, metric = figure.subplots(3, 1, sharex=True, height_ratios=[3, 0.7, 1.4])
    walk.plot(*_walk(place, weight), color=colour)
    walk.axhline(0, color=GREY, linewidth=0.8)
    walk.set(ylabel="running score", title="\n".join([name, _in_numbers(name, score, results)]))
    ticks.vlines(place, 0, 1, color=GREY, linewidth=0.8)
    ticks.vlines(edge, 0, 1, color=colour, linewidth=0.8)
    ticks.set(yticks=[], ylabel="genes")
    metric.fill_between(np.arange(len(values)), np.sort(values)[::-1], color="#BBBBBB", linewidth=0)
    metric.set(
        ylabel="statistic", xlabel=f"place in the ranking of {len(genes):,} genes", xlim=(0, len(genes))
    )
    figure.set_label(
        f"Running enrichment score of {name}: its {len(members)} genes in a ranking of {len(genes):,}. The "
        f"walk {'rises' if score >= 0 else 'falls'} to {score:.2f}, its peak at place "
        f"{edge.max() + 1 if score >= 0 else edge.min() + 1:,}; the leading edge has {len(edge)} genes. "
        f"In numbers: {_in_numbers(name, score, results)}."
    )
    return figure


def _one_set(gene_sets: GeneSets, name: str, genes: list[str]) -> np.ndarray:
    sets = testable(gene_sets, genes, 1, len(genes)).members
    if name not in sets:
        raise DataError(f"no set {name!r} with measured genes; there are {', '.join(list(sets)[:5])}, ...")
    number = {gene: i for i, gene in enumerate(genes)}
    return np.array([number[gene] for gene in sets[name]])


def _walk(place: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The running score at its corners: right before and right after each member."""
    n = len(weight)
    share = weight[place] / max(weight[place].sum(), 1e-300)
    after = np.cumsum(share) - (place - np.arange(len(place))) / (n - len(place))
    x = np.column_stack([place, place]).ravel()
    y = np.column_stack([after - share, after]).ravel()
    return np.concatenate([[0], x, [n]]), np.concatenate([[0], y, [0]])


def _in_numbers(name: str, score: float, results: pd.DataFrame | None) -> str:
    if results is None:
        return f"enrichment score {score:.2f}"
    row = results[results["gene_set"] == name]
    if row.empty:
        raise DataError(f"results has no row of {name!r}.")
    return f"enrichment score {score:.2f}, normalised {row[NES].iloc[0]:.2f}, FDR {row['fdr'].iloc[0]:.2g}"


def plot_dots(results: pd.DataFrame, n: int = 20) -> Figure:
    """Show the sets with the smallest p-values as dots: place is the score, area the size, colour the FDR.

    Parameters
    ----------
    results : of :func:`gsea` (normalised score) or :func:`over_representation` (fold enrichment).
    n : how many sets at most.

    Returns
    -------
    matplotlib.figure.Figure
        Sets by score; those with fdr < .05 have a black rim. ``get_label()`` says it in words.

    Raises
    ------
    DataError
        No rows, or not a table of these functions.

    Examples
    --------
    >>> import pm_lab as pm
    >>> background = [gene for members in pm.gene_sets.core("pathway").values() for gene in members]
    >>> chosen = pm.gene_sets.core("pathway")["HYPOXIA"][:12]
    >>> results = pm.enrichment.over_representation(chosen, "core", background)
    >>> figure = pm.enrichment.plot_dots(results, n=10)
    """
    from matplotlib.figure import Figure

    score, label = _score_of(results)
    shown = results.nsmallest(n, "pvalue", keep="first").sort_values(score, ignore_index=True)
    figure = Figure(figsize=(8, 1.8 + 0.3 * len(shown)), layout="constrained")
    ax = figure.subplots()
    areas = _areas(shown["size"])
    dots = ax.scatter(
        shown[score],
        range(len(shown)),
        s=areas,
        c=_minus_log(shown["fdr"]),
        cmap="viridis_r",
        vmin=0,
        vmax=LARGEST_SHOWN,
        edgecolors=["black" if fdr < SIGNIFICANT else "none" for fdr in shown["fdr"]],
    )
    ax.set_yticks(
        range(len(shown)), [textwrap.shorten(name, 48, placeholder="…") for name in shown["gene_set"]]
    )
    ax.axvline(0 if score == NES else 1, color=GREY, linewidth=0.8)
    ax.set(xlabel=label, ylim=(-0.7, len(shown) - 0.3))
    ax.margins(x=0.08)
    bar = figure.colorbar(
        dots, ax=ax, label="false discovery rate", shrink=0.6, ticks=range(LARGEST_SHOWN + 1)
    )
    bar.set_ticklabels(["1", "0.1", "0.01", "0.001", "≤ 0.0001"])
    sizes = sorted({int(shown["size"].min()), int(shown["size"].max())})
    handles = [ax.scatter([], [], s=_areas(shown["size"], size), color=GREY, label=size) for size in sizes]
    figure.legend(handles=handles, title="genes; black rim: FDR < .05", loc="outside lower center", ncols=2)
    passed = shown.loc[shown["fdr"] < SIGNIFICANT, "gene_set"].tolist()
    figure.set_label(
        f"{label.capitalize()} of {len(shown)} gene sets; {len(passed)} have a false discovery rate below "
        f".05{': ' + ', '.join(passed[::-1]) if passed else ''}. From {shown[score].iloc[0]:.2f} "
        f"({shown['gene_set'].iloc[0]}) to {shown[score].iloc[-1]:.2f} ({shown['gene_set'].iloc[-1]})."
    )
    return figure


def _score_of(results: pd.DataFrame) -> tuple[str, str]:
    if len(results) == 0:
        raise DataError("results has no rows to show.")
    needed = {"gene_set", "size", "pvalue", "fdr"}
    score = next((name for name in (NES, "fold_enrichment") if name in results), None)
    if score is None or not needed <= set(results.columns):
        raise DataError(
            f"results is not a table of gsea or over_representation: {list(results.columns)[:12]}."
        )
    return score, "normalised enrichment score" if score == NES else "fold enrichment"


def _areas(sizes: pd.Series, size: float | None = None):
    """Area of a dot proportional to the number of genes, the largest 220 points."""
    return 220 * (sizes if size is None else size) / sizes.max()


def _minus_log(fdr: pd.Series) -> np.ndarray:
    return -np.log10(np.maximum(fdr, 10.0**-LARGEST_SHOWN))


def plot_enrichment_map(
    results: pd.DataFrame, min_overlap: float = 0.3, n: int = 50, threshold: float = 0.5, seed: int = 0
) -> Figure:
    """Show sets as a network: lines join those whose leading edges overlap, so one signal is one cluster.

    Parameters
    ----------
    results : of :func:`gsea` or :func:`over_representation`, usually the significant rows.
    min_overlap : overlap of leading edges from which a line is drawn.
    n : how many sets at most, those with the smallest p-values.
    threshold : of :func:`redundancy`, whose representatives are named.
    seed : of the layout.

    Returns
    -------
    matplotlib.figure.Figure
        Orange is up, blue is down; area is the number of genes in the leading edge. Numbers are clusters,
        named beside the map after their most significant set. ``get_label()`` says it in words;
        :func:`redundancy` gives the table.

    Raises
    ------
    DataError
        As :func:`redundancy`.

    Examples
    --------
    >>> import pm_lab as pm
    >>> background = [gene for members in pm.gene_sets.core("pathway").values() for gene in members]
    >>> chosen = pm.gene_sets.core("pathway")["HYPOXIA"][:12]
    >>> results = pm.enrichment.over_representation(chosen, "core", background)
    >>> figure = pm.enrichment.plot_enrichment_map(results[results["fdr"] < 0.05])
    """
    from matplotlib.figure import Figure

    score, _ = _score_of(results)
    table = redundancy(results.nsmallest(n, "pvalue", keep="first"), threshold)
    similarity = leading_edge_overlap(table).to_numpy()
    joined = np.argwhere(np.triu(similarity, 1) >= min_overlap)
    xy = _layout(len(table), joined, similarity, seed)

    figure = Figure(figsize=(10, 6), layout="constrained")
    ax, names = figure.subplots(1, 2, width_ratios=[3, 2])
    for a, b in joined:
        ax.plot(*xy[[a, b]].T, color=GREY, linewidth=0.5 + 2 * similarity[a, b], alpha=0.5, zorder=1)
    n_genes = table["leading_edge" if "leading_edge" in table else "genes"].map(len)
    up = (table[score] >= 0).to_numpy()
    colours = np.where(up, UP, DOWN)
    ax.scatter(*xy.T, s=30 + _areas(n_genes), c=colours, edgecolors="white", zorder=2)
    ax.set_aspect("equal")
    ax.margins(0.08)
    ax.set_title(f"{len(table)} sets; lines: leading edges overlap by {min_overlap:.0%} or more", fontsize=10)
    leaders = table[table["gene_set"] == table["representative"]]
    for row, number in leaders["cluster"].items():
        reach = 2 + np.sqrt(30 + _areas(n_genes)[row]) / 2  # of the dot, in points
        ax.annotate(
            number,
            xy[row],
            xytext=(reach * 0.7, reach * 0.7),
            textcoords="offset points",
            fontsize=8,
            fontweight="bold",
            zorder=3,
        )
    _list_of_clusters(names, leaders, colours)
    for one in (ax, names):
        one.set_axis_off()
    figure.set_label(
        f"Network of {len(table)} gene sets joined where leading edges overlap, in {len(leaders)} clusters, "
        f"the largest of {table['cluster_size'].max()} sets; {up.sum()} sets are up, "
        f"{(~up).sum()} down. Clusters are named after their most significant sets: "
        f"{', '.join(leaders['gene_set'].iloc[:LISTED])}{', ...' if len(leaders) > LISTED else ''}."
    )
    return figure


def _list_of_clusters(ax, leaders: pd.DataFrame, colours: np.ndarray) -> None:
    ax.set_title("clusters, orange up, blue down (sets)", fontsize=10, loc="left")
    lines = [
        (f"{row.cluster}  {textwrap.shorten(row.gene_set, 46, placeholder='…')} ({row.cluster_size})", colour)
        for row, colour in zip(leaders.itertuples(), colours[leaders.index], strict=True)
    ]
    if len(lines) > LISTED:
        lines = [*lines[:LISTED], (f"and {len(lines) - LISTED} more", GREY)]
    for place, (line, colour) in enumerate(lines):
        ax.text(0, 1 - (place + 0.5) / (LISTED + 1), line, color=colour, fontsize=8, va="center")


def _layout(n_sets: int, joined: np.ndarray, similarity: np.ndarray, seed: int) -> np.ndarray:
    """Sets that hang together laid out by springs, these groups side by side in rows, the largest first."""
    import networkx as nx

    graph = nx.Graph()
    graph.add_nodes_from(range(n_sets))
    graph.add_weighted_edges_from((int(a), int(b), similarity[a, b]) for a, b in joined)
    groups = sorted(nx.connected_components(graph), key=len, reverse=True)
    sides = [1 + 1.2 * np.sqrt(len(group) - 1) for group in groups]
    width = max(1.2 * np.sqrt(np.square(sides).sum()), sides[0])
    points, left, top, row = np.empty((n_sets, 2)), 0.0, 0.0, sides[0]
    for group, side in zip(groups, sides, strict=True):
        if left + side > width + 1e-9:
            left, top, row = 0.0, top - row, side
        centre = (left + side / 2, top - side / 2)
        placed = nx.spring_layout(
            graph.subgraph(sorted(group)), scale=side / 2 - 0.4, center=centre, seed=seed, iterations=100
        )
        for node, point in placed.items():
            points[node] = point
        left += side
    return points
