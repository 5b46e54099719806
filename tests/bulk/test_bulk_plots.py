"""Figures of bulk expression: what they show, and what they refuse."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from pm_lab.bulk import heatmap, plot_quality, quality_control, volcano
from pm_lab.errors import DataError, PmLabWarning


def texts(figure):
    return {text.get_text() for ax in figure.axes for text in ax.texts}


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_volcano_counts_and_names_what_passes(results):
    figure = volcano(results, n_labels=4)
    assert isinstance(figure, Figure)
    ax = figure.axes[0]
    passed = results["padj"] < 0.05
    up = results["log2_fold_change"] > 0
    assert legend(ax) == [
        f"others ({(~passed).sum():,})",
        f"higher in yes ({(passed & up).sum()})",
        f"lower in yes ({(passed & ~up).sum()})",
    ]
    assert texts(figure) == set(results.sort_values("pvalue").index[:4])
    assert ax.get_xlabel() == "log2 fold change, yes over no"
    drawn = sum(len(points.get_offsets()) for points in ax.collections)
    assert drawn >= len(results)


def test_volcano_says_what_has_no_p_value(results):
    spoiled = results.copy()
    spoiled.iloc[:3, spoiled.columns.get_indexer(["pvalue", "padj"])] = np.nan
    spoiled.iloc[3:5, spoiled.columns.get_loc("padj")] = np.nan
    title = volcano(spoiled, n_labels=0).axes[0].get_title()
    assert "3 with no p-value" in title and "2 with no adjusted" in title


def test_volcano_of_chosen_genes_and_of_shrunken_changes(results):
    figure = volcano(results, genes=["GENE00477"], shrunken=True)
    assert texts(figure) == {"GENE00477"}
    assert figure.axes[0].get_xlabel().startswith("shrunken")
    with pytest.raises(DataError, match="NOSUCH"):
        volcano(results, genes=["NOSUCH"])
    with pytest.raises(DataError, match="shrink=True"):
        volcano(results.drop(columns="shrunken_log2_fold_change"), shrunken=True)
    with pytest.raises(DataError, match="padj"):
        volcano(results.drop(columns="padj"))


def test_volcano_where_nothing_passes(results):
    figure = volcano(results.assign(padj=1.0))
    assert texts(figure) == set()


def test_heatmap_orders_patients_by_group(bulk):
    figure = heatmap(bulk, list(bulk.var_names[:20]), groupby=["response", "age"])
    bar, ages, values = figure.axes[:3]
    codes = bar.images[0].get_array()[0]
    assert (np.diff(codes) >= 0).all() and legend(bar) == ["no", "yes"]
    assert sorted(ages.images[0].get_array()[0]) == sorted(bulk.obs["age"])
    z = values.images[0].get_array()
    assert z.shape == (20, 120)
    assert np.allclose(z.mean(axis=1), 0, atol=1e-5) and np.allclose(z.std(axis=1, ddof=1), 1)
    assert {label.get_text() for label in values.get_yticklabels()} == set(bulk.var_names[:20])


def test_heatmap_keeps_the_order_of_genes_if_asked(bulk):
    genes = list(bulk.var_names[[5, 1, 9]])
    figure = heatmap(bulk, genes, groupby="batch", cluster_genes=False)
    assert [label.get_text() for label in figure.axes[1].get_yticklabels()] == genes


def test_heatmap_says_which_genes_it_cannot_show(bulk):
    genes = [*bulk.var_names[:3], "NOSUCH"]
    with pytest.warns(PmLabWarning, match="1 genes are not in the cohort.*NOSUCH"):
        heatmap(bulk, genes, groupby="response")
    with pytest.warns(PmLabWarning), pytest.raises(DataError, match="0 of 1 genes"):
        heatmap(bulk, ["NOSUCH"], groupby="response")
    with pytest.raises(DataError, match="too many"):
        heatmap(bulk, list(bulk.var_names[:501]), groupby="response")
    with pytest.raises(DataError, match="groupby="):
        heatmap(bulk, genes, groupby="plate")


def test_plot_quality_shows_both_columns_and_rings_the_odd(bulk):
    bulk.layers["counts"][7] = np.round(bulk.layers["counts"][7] / 40)
    quality_control(bulk, batch="batch", condition="response")
    figure = plot_quality(bulk)
    titles = {ax.get_title() for ax in figure.axes}
    assert {"log2 CPM by response", "log2 CPM by batch"} <= titles
    assert texts(figure) == {"P008"}


def test_plot_quality_counts_genes_in_whole_numbers(small):
    quality_control(small)
    small.obs["n_genes"] = 79 + np.arange(12) % 2
    axes = {ax.get_ylabel(): ax for ax in plot_quality(small).axes}
    ticks = axes["genes with a count"].get_yticks()
    assert len(ticks) and (ticks % 1 == 0).all()


def test_plot_quality_without_columns_and_without_quality_control(small):
    with pytest.raises(DataError, match="quality_control"):
        plot_quality(small)
    quality_control(small)
    assert len(plot_quality(small).axes) == 3
    assert "log2 CPM by age" in {ax.get_title() for ax in plot_quality(small, condition="age").axes}
