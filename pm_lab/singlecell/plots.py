"""Static figures of single-cell data. Each returns a matplotlib Figure and never shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from .. import checks, keys
from ..errors import DataError

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind people can tell apart, then Tol's muted ones.
# fmt: off
COLOURS = [
    "#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "#F0E442", "#999999",
    "#332288", "#88CCEE", "#44AA99", "#117733", "#999933", "#DDCC77", "#882255", "#AA4499",
]
# fmt: on
GREY = "#BBBBBB"
MEASURES = {
    "total_counts": ("counts per cell", ("min_counts", "max_counts")),
    "n_genes_by_counts": ("genes per cell", ("min_genes", "max_genes")),
    "pct_counts_mt": ("mitochondrial counts, %", ("max_mt_percent",)),
}


def plot_quality(cells: AnnData, patient_key: str = "patient") -> Figure:
    """Show counts, genes and mitochondrial share of each patient's cells with the limits used.

    Parameters
    ----------
    cells : cells after :func:`quality_control`.
    patient_key : column of ``obs`` that quality control was run with.

    Returns
    -------
    matplotlib.figure.Figure
        A violin per patient and measure, the limits as orange bars; last, genes against counts, where
        dropped cells are orange.

    Raises
    ------
    DataError
        When quality control was not run on these cells.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cells = pm.datasets.simulate_cohort(n_cells=600).cells
    >>> table = pm.singlecell.quality_control(cells)
    >>> figure = pm.singlecell.plot_quality(cells)
    """
    from matplotlib.figure import Figure

    record = cells.uns.get(keys.RECORD, {}).get("quality_control")
    if record is None or keys.KEEP not in cells.obs:
        raise DataError("there is no quality control to show. Run quality_control(cells) first.")
    patient = checks.obs_column(cells, patient_key, argument="patient_key").astype(str)
    limits = record["limits"]
    names = [name for name in limits.index.astype(str) if name in set(patient)]
    measures = {key: text for key, text in MEASURES.items() if cells.obs[key].notna().any()}

    width = float(np.clip(0.32 * len(names), 6, 16))
    figure = Figure(figsize=(width, 2.3 * len(measures) + 3.2), layout="constrained")
    axes = figure.subplots(len(measures) + 1, 1, height_ratios=[1] * len(measures) + [1.5])
    for ax, (key, (label, bounds)) in zip(axes, measures.items(), strict=False):
        _violins(ax, [cells.obs.loc[(patient == name).to_numpy(), key] for name in names])
        for bound in bounds:
            heights = limits.set_axis(limits.index.astype(str)).loc[names, bound]
            ax.hlines(heights, np.arange(len(names)) - 0.4, np.arange(len(names)) + 0.4, color="#D55E00")
        ax.set_ylabel(label)
        ax.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
        ax.tick_params(labelbottom=ax is axes[-2])  # the patients are the same in every panel
        if key != "pct_counts_mt":
            ax.set_yscale("log")
            _round_log_ticks(ax.yaxis)
    axes[0].set_title("Quality of cells by patient; orange bars are the limits")
    _scatter_of_quality(axes[-1], cells.obs, checks.keep(cells))
    return figure


def _violins(ax, samples: list[pd.Series]) -> None:
    bodies = ax.violinplot(
        [np.asarray(s, dtype=float) for s in samples],
        positions=range(len(samples)),
        widths=0.85,
        showextrema=False,
        showmedians=True,
    )
    for body in bodies["bodies"]:
        body.set(facecolor="#56B4E9", edgecolor="#0072B2", alpha=0.8)
    bodies["cmedians"].set_color("black")


def _scatter_of_quality(ax, obs: pd.DataFrame, keep: pd.Series) -> None:
    for rows, colour, label in (
        (keep, "#0072B2", f"kept ({keep.sum():,})"),
        (~keep, "#E69F00", f"dropped ({(~keep).sum():,})"),
    ):
        some = obs[rows.to_numpy()]
        ax.scatter(
            some["total_counts"],
            some["n_genes_by_counts"],
            s=4,
            color=colour,
            label=label,
            linewidths=0,
            rasterized=True,
        )
    ax.set(xscale="log", yscale="log", xlabel="counts per cell", ylabel="genes per cell")
    for axis in (ax.xaxis, ax.yaxis):
        _round_log_ticks(axis)
    ax.legend(markerscale=3, frameon=False)


def _round_log_ticks(axis) -> None:
    """200, 500, 1,000 in place of powers of ten."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axis.set_minor_formatter(NullFormatter())


def plot_umap(cells: AnnData, color: str | list[str] = "cluster", size: float | None = None) -> Figure:
    """Show cells in the UMAP, coloured by columns of ``obs`` or genes.

    Parameters
    ----------
    cells : processed cells with ``obsm["X_umap"]``.
    color : a column of ``obs`` or a gene, or several: one panel each. Categories of up to 16 values get
        colours that colour-blind people can tell apart and their names on the plot; numbers and genes get
        a scale.
    size : area of a point; by default smaller for more cells.

    Raises
    ------
    DataError
        When there is no UMAP, or a name is neither a column nor a gene.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cells = pm.datasets.simulate_cohort(n_cells=600).cells
    >>> pm.singlecell.process(cells)
    >>> figure = pm.singlecell.plot_umap(cells, ["cluster", "CD3E"])
    """
    from matplotlib.figure import Figure

    if keys.UMAP not in cells.obsm:
        raise DataError("there is no UMAP. Run process(cells) with umap=True first.")
    colors = [color] if isinstance(color, str) else list(color)
    values = [_values(cells, name) for name in colors]
    n_columns = min(len(colors), 3)
    n_rows = -(-len(colors) // n_columns)
    figure = Figure(figsize=(5.2 * n_columns, 4.4 * n_rows), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    size = float(np.clip(40_000 / cells.n_obs, 1, 25)) if size is None else size
    for ax, name, value in zip(axes, colors, values, strict=False):
        _draw_cells(ax, np.asarray(cells.obsm[keys.UMAP]), value, size)
        ax.set(title=name, xlabel="UMAP 1", ylabel="UMAP 2", xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    for ax in axes[len(colors) :]:
        ax.set_axis_off()
    return figure


def _values(cells: AnnData, name: str) -> pd.Series:
    """A column of obs or the expression of a gene, one value per cell."""
    if name in cells.obs:
        column = cells.obs[name]
        is_number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
        return column if is_number else column.astype("category")
    if name in cells.var_names:
        checks.unique_names(cells)
        column = cells[:, name].X
        return pd.Series(
            np.asarray(column.todense() if sparse.issparse(column) else column).ravel(), name=name
        )
    raise DataError(f"{name!r} is neither a column of obs nor a gene of these cells.")


def _draw_cells(ax, points: np.ndarray, value: pd.Series, size: float) -> None:
    from matplotlib.patheffects import withStroke

    order = np.random.default_rng(0).permutation(len(points))  # so that no group hides another
    dots = {"s": size, "linewidths": 0, "rasterized": True}
    if not isinstance(value.dtype, pd.CategoricalDtype):
        order = np.argsort(value.to_numpy(), kind="stable")  # cells that express the gene on top
        drawn = ax.scatter(*points[order].T, c=value.to_numpy()[order], cmap="viridis", **dots)
        ax.figure.colorbar(drawn, ax=ax, shrink=0.7)
        return
    codes = value.cat.codes.to_numpy()
    palette = np.array([*_palette(len(value.cat.categories)), GREY], dtype=object)  # code -1: missing
    ax.scatter(*points[order].T, c=palette[codes[order]], **dots)
    present = [(code, str(name)) for code, name in enumerate(value.cat.categories) if (codes == code).any()]
    if value.name in (keys.CLUSTER, keys.CELL_TYPE):  # these lie together, so a name on them is readable
        outline = [withStroke(linewidth=2.5, foreground="white")]
        for code, name in present:
            x, y = np.median(points[codes == code], axis=0)
            ax.text(x, y, name, ha="center", va="center", fontsize=8, path_effects=outline)
        return
    handles = [ax.scatter([], [], s=30, color=palette[code], label=name) for code, name in present]
    n_columns = -(-len(handles) // 16)
    ax.legend(
        handles=handles,
        ncols=n_columns,
        fontsize=8,
        frameon=False,
        loc="center left",
        bbox_to_anchor=(1, 0.5),
    )


def _palette(n: int) -> list[str]:
    if n <= len(COLOURS):
        return COLOURS[:n]
    import matplotlib

    return [matplotlib.colors.to_hex(c) for c in matplotlib.colormaps["turbo"](np.linspace(0.03, 0.97, n))]


def plot_markers(cells: AnnData, genes: list[str] | dict[str, list[str]], groupby: str = "cluster") -> Figure:
    """Show marker genes of each group as dots: size is the fraction of cells, colour the mean expression.

    Parameters
    ----------
    cells : processed cells; ``X`` is log-normalised.
    genes : gene symbols, or a dict of lists, whose names are written above their genes.
    groupby : column of ``obs`` with the groups.

    Returns
    -------
    matplotlib.figure.Figure
        Colour is the mean of ``X`` over the group's cells divided by the largest group's mean of that
        gene, so that genes of different levels can be read together.

    Raises
    ------
    DataError
        When a gene is not among the cells' genes, or the column is missing.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cells = pm.datasets.simulate_cohort(n_cells=600).cells
    >>> pm.singlecell.process(cells, umap=False)
    >>> figure = pm.singlecell.plot_markers(cells, {"T cell": ["CD3D", "CD3E"], "B cell": ["MS4A1"]})
    """
    from matplotlib.figure import Figure

    blocks = genes if isinstance(genes, dict) else {"": list(genes)}
    shown = [gene for block in blocks.values() for gene in block]
    absent = [gene for gene in shown if gene not in cells.var_names]
    if absent or not shown:
        raise DataError(f"genes not among these cells' genes: {', '.join(absent[:5]) or 'none was given'}.")
    by = checks.obs_column(cells, groupby, argument="groupby").astype("category").array
    X = cells[:, shown].X
    frame = pd.DataFrame(X.toarray() if sparse.issparse(X) else np.asarray(X))
    mean = frame.groupby(by, observed=True).mean()
    fraction = (frame > 0).groupby(by, observed=True).mean()
    relative = mean / mean.max().replace(0, 1)

    figure = Figure(figsize=(4.4 + 0.36 * len(shown), 2.4 + 0.32 * len(mean)), layout="constrained")
    ax = figure.subplots()
    x, y = np.meshgrid(np.arange(len(shown)), np.arange(len(mean)))
    dots = ax.scatter(
        x.ravel(),
        y.ravel(),
        s=130 * fraction.to_numpy().ravel(),
        c=relative.to_numpy().ravel(),
        cmap="Blues",
        vmin=0,
        vmax=1,
        edgecolors="#666666",
        linewidths=0.3,
    )
    ax.set_xticks(range(len(shown)), shown, rotation=90)
    ax.set_yticks(range(len(mean)), mean.index.astype(str))
    ax.set(ylabel=groupby, xlim=(-0.7, len(shown) - 0.3), ylim=(len(mean) - 0.4, -0.6))
    _name_blocks(ax, blocks)
    figure.colorbar(dots, ax=ax, shrink=0.5, aspect=10, anchor=(0, 1), label="mean, largest group = 1")
    sizes = [ax.scatter([], [], s=130 * f, color="#666666", label=f"{f:.0%}") for f in (0.25, 0.5, 1.0)]
    figure.legend(handles=sizes, title="cells with the gene", loc="outside right lower", frameon=False)
    return figure


def _name_blocks(ax, blocks: dict[str, list[str]]) -> None:
    start = 0
    for name, block in blocks.items():
        if name:
            ax.text(
                start - 0.3, -0.75, name, rotation=40, ha="left", va="bottom", fontsize=9, fontweight="bold"
            )
        start += len(block)
        if start < sum(map(len, blocks.values())):
            ax.axvline(start - 0.5, color=GREY, linewidth=0.8)


def plot_composition(
    cells: AnnData,
    groupby: str = "cell_type",
    patient_key: str = "patient",
    condition: str | None = None,
) -> Figure:
    """Show the share of each group of cells in each patient as stacked bars.

    Parameters
    ----------
    cells : cells with the columns named.
    groupby : column of ``obs`` with the cell types or clusters.
    patient_key : column of ``obs`` with the patient.
    condition : column of ``obs`` by which patients are put side by side; one panel each.

    Raises
    ------
    DataError
        When a column is missing or a patient has several conditions.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cells = pm.datasets.simulate_cohort(n_cells=600).cells
    >>> figure = pm.singlecell.plot_composition(cells, groupby="batch", condition="response")
    """
    from matplotlib.figure import Figure

    patient = checks.obs_column(cells, patient_key, argument="patient_key").astype(str)
    group = checks.obs_column(cells, groupby, argument="groupby").astype("category")
    shares = pd.crosstab(patient, group, normalize="index")
    panels = {"": shares.index.to_numpy()}
    if condition is not None:
        of_patient = checks.obs_column(cells, condition, argument="condition").astype(str).groupby(patient)
        mixed = of_patient.nunique()
        if (mixed > 1).any():
            raise DataError(
                f"{(mixed > 1).sum()} patients have several values of obs[{condition!r}] "
                f"({', '.join(mixed.index[mixed > 1][:5])}): a bar is one patient."
            )
        panels = {
            name: rows.index.to_numpy() for name, rows in of_patient.first().groupby(of_patient.first())
        }

    figure = Figure(figsize=(float(np.clip(3 + 0.3 * len(shares), 5, 16)), 4.2), layout="constrained")
    widths = [len(rows) for rows in panels.values()]
    axes = figure.subplots(1, len(panels), sharey=True, width_ratios=widths, squeeze=False)[0]
    for ax, (name, rows) in zip(axes, panels.items(), strict=True):
        below = np.zeros(len(rows))
        for column, colour in zip(shares.columns, _palette(shares.shape[1]), strict=True):
            height = shares.loc[rows, column].to_numpy()
            ax.bar(range(len(rows)), height, bottom=below, color=colour, width=0.9, label=str(column))
            below += height
        ax.set_xticks(range(len(rows)), rows, rotation=90, fontsize=8)
        ax.set(title=f"{condition}: {name}" if condition else "", ylim=(0, 1), xlim=(-0.6, len(rows) - 0.4))
    axes[0].set_ylabel("share of cells")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], title=groupby, loc="outside right upper", frameon=False)
    return figure
