"""Figures of explanations: pathways of a drug, drugs × pathways, and whether the map means anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab.checks import whole_number
from pm_lab.drug_response.contract import first
from pm_lab.drug_response.pathways import Explanation
from pm_lab.drug_response.randomisation import OTHER, SHUFFLED
from pm_lab.errors import DataError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind people can tell apart.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#BBBBBB"
UNITS = {"ln_ic50": "ln IC50", "auc": "area under the curve"}
MOST_DRUGS = 80  # whose names can be read


def plot_pathways(found: Explanation, drug: str, n: int = 15, level: float = 0.05) -> Figure:
    """Show the pathways that drive the predictions of one drug, the largest score on top.

    Parameters
    ----------
    found : of :func:`explain`.
    drug : its name.
    n : pathways shown, at most.
    level : false discovery rate below which a bar is coloured.

    Returns
    -------
    matplotlib.figure.Figure
        Bars of the score, blue where the drug works better with the pathway active, orange where it works
        worse, grey where random sets of genes do as much. Numbers are effects: the change of the prediction
        with all genes of the pathway one SD higher.

    Raises
    ------
    DataError
        The drug was not explained.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.simulate_cohort(n_cells=600, n_lines=60, n_drugs=10)
    >>> model = pm.drug_response.DrugResponseModel(members=2, hidden=16).fit(cohort.screen)
    >>> found = pm.drug_response.explain(model, cohort.screen)
    >>> figure = pm.drug_response.plot_pathways(found, "DRUG001")
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    table = found.pathways[found.pathways["drug"] == drug]
    if table.empty:
        known = found.pathways["drug"].unique()
        raise DataError(f"no drug {drug!r} was explained; there are {first(known)}.")
    whole_number(n, "n", 1)
    table = table.sort_values("score", key=np.abs, ascending=False, kind="stable").head(n)[::-1]
    colours = np.where(table["fdr"] >= level, GREY, np.where(table["score"] < 0, BLUE, ORANGE))
    figure = Figure(figsize=(7.5, 1.6 + 0.28 * len(table)), layout="constrained")
    ax = figure.subplots()
    bars = ax.barh(range(len(table)), table["score"], color=colours, height=0.7)
    effects = [
        f"{effect:+.2f}" if fdr < level else ""
        for effect, fdr in zip(table["effect"], table["fdr"], strict=True)
    ]
    ax.bar_label(bars, effects, padding=3, fontsize=8)
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set_yticks(range(len(table)), [_readable(name) for name in table["pathway"]])
    ax.set_xlabel(
        "score (SD of random sets of genes that go together as much)\n"
        f"numbers: effect on {_unit(found)}, all genes one SD higher"
    )
    ax.set_title(f"What drives the predictions of {drug}", loc="left")
    ax.spines[["top", "right"]].set_visible(False)
    ax.margins(x=0.12, y=0.01)
    labels = ((BLUE, "active: more sensitive"), (ORANGE, "active: less sensitive"))
    handles = [Patch(color=colour, label=text) for colour, text in labels if colour in colours]
    handles += [Patch(color=GREY, label=f"FDR ≥ {level:g}")] if GREY in colours else []
    figure.legend(handles=handles, frameon=False, loc="outside lower right", ncols=3, fontsize=9)
    return figure


def plot_pathway_map(found: Explanation, level: float = 0.05) -> Figure:
    """Show drugs × pathways at a glance: similar drugs beside each other.

    Parameters
    ----------
    found : of :func:`explain`, of two drugs at least.
    level : false discovery rate below which a cell has a dot.

    Returns
    -------
    matplotlib.figure.Figure
        Colour is the score: blue where active pathways go with sensitivity, red with resistance. Drugs are
        in the order of hierarchical clustering (correlation, average linkage), pathways of the sum of their
        squared scores.

    Raises
    ------
    DataError
        Fewer than two drugs, or more than can be drawn.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.simulate_cohort(n_cells=600, n_lines=60, n_drugs=10)
    >>> model = pm.drug_response.DrugResponseModel(members=2, hidden=16).fit(cohort.screen)
    >>> figure = pm.drug_response.plot_pathway_map(pm.drug_response.explain(model, cohort.screen))
    """
    from matplotlib.figure import Figure

    score = found.pathways.pivot(index="drug", columns="pathway", values="score")
    if not 2 <= len(score) <= 300:
        raise DataError(f"{len(score):,} drugs: the map shows 2 to 300. Pass drugs=[...] to explain.")
    order = (score**2).sum().sort_values(ascending=False, kind="stable").index
    score = score.iloc[_clustered(score.to_numpy())][order]
    fdr = found.pathways.pivot(index="drug", columns="pathway", values="fdr").loc[score.index, score.columns]
    most = float(np.quantile(np.abs(score), 0.99)) or 1.0
    readable = len(score) <= MOST_DRUGS
    figure = Figure(figsize=(min(3.5 + 0.15 * len(score), 16), 1.8 + 0.22 * len(order)), layout="constrained")
    ax = figure.subplots()
    image = ax.imshow(score.T, cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto", interpolation="nearest")
    drug, pathway = np.nonzero(fdr.to_numpy() < level)
    size = 3.2 if readable else 1.2
    ax.plot(drug, pathway, "o", color="white", markeredgecolor="black", markeredgewidth=size / 5, ms=size)
    ax.set_yticks(range(len(order)), [_readable(name) for name in order], fontsize=8)
    if readable:
        ax.set_xticks(range(len(score)), score.index, rotation=90, fontsize=7)
    else:
        ax.set_xticks([])
    ax.set_xlabel(f"{len(score):,} drugs, alike ones side by side")
    ax.set_title(f"Pathways that drive predictions (dots: FDR < {level:g})", loc="left", fontsize=11)
    bar = figure.colorbar(image, ax=ax, shrink=0.8, extend="both")
    bar.set_label("score (SD of random sets)\nblue: active, more sensitive", fontsize=9)
    return figure


def _clustered(values: np.ndarray) -> np.ndarray:
    from scipy.cluster.hierarchy import leaves_list, linkage

    centred = values - values.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = np.divide(centred, length, out=np.zeros_like(centred), where=length > 0)
    # Euclidean distances of unit rows are those of their correlations.
    return leaves_list(linkage(unit, "average", optimal_ordering=len(values) <= MOST_DRUGS))


def plot_randomisation(check: pd.DataFrame) -> Figure:
    """Show whether the map of effects depends on what the model learnt.

    Parameters
    ----------
    check : of :func:`randomisation_check`.

    Returns
    -------
    matplotlib.figure.Figure
        Each dot a drug, the bar its median: agreement of genes and of pathways with a model of shuffled
        responses (it should be about 0), and between models of two halves of the lines (the highest that
        can be hoped for), and how large the effects are beside those of the model.

    Raises
    ------
    DataError
        The table is none of :func:`randomisation_check`.

    Examples
    --------
    >>> import pm_lab as pm
    >>> screen = pm.datasets.simulate_cohort(n_cells=600, n_lines=60, n_drugs=10).screen
    >>> model = pm.drug_response.DrugResponseModel(members=2, hidden=16).fit(screen)
    >>> check = pm.drug_response.randomisation_check(model, screen)
    >>> figure = pm.drug_response.plot_randomisation(check)
    """
    from matplotlib.figure import Figure

    panels = {
        "genes": "correlation of effects,\ngenes",
        "pathways": "correlation of effects,\npathways",
        "size": "size of effects,\nof the model's",
    }
    lacking = {"comparison", "drug", *panels} - set(check.columns)
    if lacking or check.empty:
        what = ", ".join(sorted(lacking)) or "rows"
        raise DataError(f"check has no {what}: pass what randomisation_check(...) returns.")
    figure = Figure(figsize=(8.5, 2.9), layout="constrained")
    rng = np.random.default_rng(0)
    for ax, (column, label) in zip(figure.subplots(1, 3, sharey=True), panels.items(), strict=True):
        for place, (name, colour) in enumerate(((OTHER, BLUE), (SHUFFLED, ORANGE))):
            values = check.loc[check["comparison"] == name, column]
            height = place + rng.uniform(-0.18, 0.18, len(values))
            ax.scatter(values, height, s=14, color=colour, alpha=0.6, linewidths=0)
            ax.plot([values.median()] * 2, [place - 0.32, place + 0.32], color=colour, linewidth=2.2)
        ax.axvline(1 if column == "size" else 0, color="black", linewidth=0.8, linestyle=":")
        ax.set(xlabel=label, ylim=(-0.5, 1.5), yticks=[0, 1])
        ax.set_yticklabels(["two halves\nof the lines", "shuffled\nresponses"])
        ax.spines[["top", "right"]].set_visible(False)
    n_drugs = check["drug"].nunique()
    figure.suptitle(
        f"Does the map depend on what was learnt? {n_drugs:,} drugs", x=0.01, ha="left", fontsize=11
    )
    return figure


def _unit(found: Explanation) -> str:
    return UNITS.get(found.attribution.measure, found.attribution.measure)


def _readable(name: str) -> str:
    return str(name).removeprefix("HALLMARK_").replace("_", " ")
