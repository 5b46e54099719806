"""Where people look before they trust a screen: its responses, its gaps, its curves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab import checks, keys
from pm_lab.drug_response.contract import check_screen, screen_of
from pm_lab.drug_response.curves import viability_at
from pm_lab.errors import DataError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind people can tell apart.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#999999"
MOST_NAMES = 70  # drugs whose names can be read along an axis
LABELS = {"ln_ic50": "ln IC50 (µM)", "auc": "area under the curve (1 = no effect)"}
FLAGS = ("extrapolated", "no_response", "non_monotone", "poor_fit", "shallow", "uncertain", "too_few_doses")


def plot_responses(screen) -> Figure:
    """The responses of every drug over the lines, drugs sorted by their median.

    Returns
    -------
    matplotlib.figure.Figure
        Median (dot), middle half (thick) and middle 90 % (thin) of each drug. What lies between drugs is no
        achievement of a model; what lies between lines is what it must predict.

    Raises
    ------
    DataError
        The screen is refused by :func:`check_screen`.

    Examples
    --------
    >>> import pm_lab as pm
    >>> figure = pm.drug_response.plot_responses(pm.datasets.simulate_cohort(n_cells=600).screen)
    """
    from matplotlib.figure import Figure

    screen = screen_of(screen)
    response = check_screen(screen)
    response = response[response.median().sort_values(kind="stable").index]
    levels = response.quantile([0.05, 0.25, 0.5, 0.75, 0.95]).to_numpy()
    places, names = np.arange(response.shape[1]), list(response.columns)
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    ax = figure.subplots()
    ax.vlines(places, levels[0], levels[4], color=GREY, linewidth=1, label="middle 90 % of lines")
    ax.vlines(places, levels[1], levels[3], color=BLUE, linewidth=2.2, label="middle half")
    ax.plot(places, levels[2], "o", color=ORANGE, markersize=3, label="median")
    measure = screen.uns.get(keys.RESPONSE_MEASURE, "ln_ic50")
    if measure == "ln_ic50":
        ax.axhline(0, color="black", linewidth=0.6, linestyle=":")  # 1 µM
    if len(names) <= MOST_NAMES:
        ax.set_xticks(places, names, rotation=90, fontsize=7)
    else:
        ax.set_xticks([])
        ends = f"most potent: {', '.join(names[:3])}\nleast potent: {', '.join(names[-3:])}"
        ax.text(0.99, 0.03, ends, transform=ax.transAxes, ha="right", va="bottom", fontsize=9)
    ax.set(xlabel=f"{len(names):,} drugs, sorted by median", ylabel=LABELS[measure], xlim=(-1, len(names)))
    between = _share_between_drugs(response)
    ax.set_title(f"Responses of {screen.n_obs:,} lines: {between:.0%} of the variance lies between drugs")
    ax.legend(frameon=False, loc="upper left")
    return figure


def _share_between_drugs(response: pd.DataFrame) -> float:
    """How much of the variance of all values the means of the drugs explain."""
    values = response.to_numpy()
    known = ~np.isnan(values)
    within = (values - np.nanmean(values, axis=0))[known]
    return float(1 - (within**2).sum() / ((values[known] - values[known].mean()) ** 2).sum())


def plot_measured(screen) -> Figure:
    """Which pairs of line and drug were measured: lines by tissue, drugs by how often they were.

    Returns
    -------
    matplotlib.figure.Figure
        Blue where there is a value. Blocks of white are drugs that were tested on some plates only.

    Examples
    --------
    >>> import pm_lab as pm
    >>> figure = pm.drug_response.plot_measured(pm.datasets.simulate_cohort(n_cells=600).screen)
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

    screen = screen_of(screen)
    known = check_screen(screen, min_lines=0).notna()
    tissue = checks.obs_column(screen, keys.TISSUE).astype(str)
    rank = tissue.map(tissue.value_counts().rank(method="first", ascending=False))
    rows = np.lexsort((-known.sum(axis=1).to_numpy(), rank.to_numpy()))
    columns = np.argsort(-known.sum().to_numpy(), kind="stable")
    figure = Figure(figsize=(9, 6), layout="constrained")
    ax = figure.subplots()
    colours = ListedColormap(["white", BLUE])
    ax.imshow(known.to_numpy()[np.ix_(rows, columns)], aspect="auto", cmap=colours, interpolation="nearest")
    _name_blocks(ax, tissue.to_numpy()[rows])
    ax.set(
        xlabel=f"{known.shape[1]:,} drugs, those tested most often first",
        title=f"{known.to_numpy().mean():.0%} of {known.size:,} pairs of line and drug were measured",
    )
    return figure


def _name_blocks(ax, labels: np.ndarray) -> None:
    """A line between blocks of equal labels, and the names of those that have room for one."""
    starts = np.flatnonzero(np.r_[True, labels[1:] != labels[:-1]])
    ends = np.r_[starts[1:], len(labels)]
    ax.hlines(starts[1:] - 0.5, *ax.get_xlim(), color="black", linewidth=0.4)
    room = (ends - starts) >= 0.02 * len(labels)
    middles = (starts + ends - 1)[room] / 2
    names = [f"{labels[start]} ({end - start})" for start, end in zip(starts[room], ends[room], strict=True)]
    ax.set_yticks(middles, names, fontsize=8)
    rest = int((~room).sum())
    ax.set_ylabel(f"lines by tissue ({rest:,} small tissues unnamed)" if rest else "lines by tissue")


def plot_curves(responses: pd.DataFrame, curves: pd.DataFrame) -> Figure:
    """Wells and fitted curves, one panel a line and drug, with IC50 and flags.

    Parameters
    ----------
    responses : the wells that the curves were fitted to (``line``, ``drug``, ``dose``, ``viability``).
    curves : rows of :func:`fit_curves`, up to 24 of them, such as ``curves.query("poor_fit").head(12)``.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    DataError
        No row, or too many to be seen.

    Examples
    --------
    >>> import numpy as np, pandas as pd, pm_lab as pm
    >>> dose = np.array([0.01, 0.1, 1.0, 10.0])
    >>> wells = pd.DataFrame({"line": "A549", "drug": "X", "dose": dose, "viability": 1 / (1 + dose)})
    >>> figure = pm.drug_response.plot_curves(wells, pm.drug_response.fit_curves(wells))
    """
    from matplotlib.figure import Figure

    if not 1 <= len(curves) <= 24:
        raise DataError(f"{len(curves):,} curves: pass between 1 and 24 rows, such as curves.head(12).")
    n_columns = min(4, len(curves))
    n_rows = -(-len(curves) // n_columns)
    figure = Figure(figsize=(2.8 * n_columns + 0.4, 2.4 * n_rows + 0.5), layout="constrained")
    panels = figure.subplots(n_rows, n_columns, sharey=True, squeeze=False)
    of_pair = responses.groupby(["line", "drug"], sort=False)
    for ax, curve in zip(panels.flat, curves.itertuples(), strict=False):
        _panel(ax, of_pair.get_group((curve.line, curve.drug)), curve)
    for ax in panels.flat[len(curves) :]:
        ax.set_axis_off()
    figure.supxlabel("dose (µM)")
    figure.supylabel("viability (1 = untreated)")
    return figure


def _panel(ax, wells: pd.DataFrame, curve) -> None:
    doses = np.geomspace(curve.min_dose, curve.max_dose, 100)
    ax.plot(wells["dose"], wells["viability"], "o", color=GREY, markersize=4)
    ax.plot(doses, viability_at(doses, curve.ln_ic50, curve.slope), color=BLUE)
    if not (curve.extrapolated or curve.too_few_doses):
        ax.axvline(np.exp(curve.ln_ic50), color=ORANGE, linestyle="--", linewidth=1)
    ax.axhline(0.5, color="black", linewidth=0.5, linestyle=":")
    ax.set(xscale="log", ylim=(-0.15, 1.35))
    said = "not fitted" if curve.too_few_doses else f"IC50 {np.exp(curve.ln_ic50):.3g} µM"
    flags = [flag.replace("_", " ") for flag in FLAGS if getattr(curve, flag)]
    ax.set_title("\n".join([f"{curve.line}, {curve.drug}", said, ", ".join(flags)]).rstrip(), fontsize=8)
