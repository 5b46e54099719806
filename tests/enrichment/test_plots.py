"""Figures: what they show is what is in the tables, and is said in words."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

import pm_lab as pm
from pm_lab.errors import DataError


@pytest.fixture(autouse=True)
def nothing_is_left_open():
    yield
    assert not plt.get_fignums(), "a figure was registered with pyplot and would be shown twice"


@pytest.fixture(scope="module")
def results(ranking, sets):
    with pytest.warns(pm.errors.PmLabWarning):
        return pm.enrichment.gsea(ranking, sets, n_permutations=200)


@pytest.mark.parametrize("name", ["UP", "DOWN"])
def test_the_peak_of_the_walk_is_the_score(ranking, sets, results, name):
    figure = pm.enrichment.plot_running_score(ranking, sets, name, results)
    row = results.set_index("gene_set").loc[name]
    walk, ticks, _ = figure.axes
    y = walk.lines[0].get_ydata()
    assert y[np.argmax(np.abs(y))] == pytest.approx(row["enrichment_score"])
    assert (y[0], y[-1]) == (0, 0)
    drawn = [len(collection.get_segments()) for collection in ticks.collections]
    assert drawn == [len(sets[name]), len(row["leading_edge"])]
    assert f"{row['normalized_enrichment_score']:.2f}" in walk.get_title()
    assert f"{row['enrichment_score']:.2f}" in figure.get_label()
    figure.canvas.draw()


def test_dots_are_the_sets_with_the_smallest_p_values(results):
    figure = pm.enrichment.plot_dots(results, n=5)
    shown = results.head(5).sort_values("normalized_enrichment_score")
    dots = figure.axes[0].collections[0]
    np.testing.assert_allclose(dots.get_offsets()[:, 0], shown["normalized_enrichment_score"])
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == shown["gene_set"].tolist()
    rims = ["black" if edge[3] else "none" for edge in dots.get_edgecolors()]
    assert rims == ["black" if fdr < 0.05 else "none" for fdr in shown["fdr"]]
    areas = dots.get_sizes() / shown["size"].to_numpy()
    np.testing.assert_allclose(areas, areas[0])
    assert "2 have a false discovery rate below .05: UP, DOWN" in figure.get_label()
    figure.canvas.draw()


def test_dots_of_over_representation(core, bulk):
    found = pm.enrichment.over_representation(core["HYPOXIA"][:15], core, bulk.var_names)
    figure = pm.enrichment.plot_dots(found, n=4)
    assert figure.axes[0].get_xlabel() == "fold enrichment"
    assert "HYPOXIA" in figure.get_label()


def test_the_map_joins_sets_that_overlap_and_names_each_cluster_once(ranking, sets):
    twice = {**sets, "UP AGAIN": sets["UP"][:-2], "UP ONCE MORE": sets["UP"][2:]}
    with pytest.warns(pm.errors.PmLabWarning):
        found = pm.enrichment.gsea(ranking, twice, n_permutations=200)
    found = found[found["fdr"] < 0.05]
    figure = pm.enrichment.plot_enrichment_map(found)
    network, names = figure.axes
    overlap = pm.enrichment.leading_edge_overlap(found).to_numpy()
    assert len(network.lines) == (np.triu(overlap, 1) >= 0.3).sum() > 0
    assert len(network.collections[0].get_offsets()) == len(found)
    clusters = pm.enrichment.redundancy(found)
    assert len(names.texts) == clusters["cluster"].nunique() == 2
    assert sorted(text.get_text() for text in network.texts) == ["1", "2"]
    again = pm.enrichment.plot_enrichment_map(found)
    np.testing.assert_array_equal(
        network.collections[0].get_offsets(), again.axes[0].collections[0].get_offsets()
    )
    figure.canvas.draw()


def test_tables_and_names_refused(ranking, sets, results):
    with pytest.raises(DataError, match="no set 'UPP'"):
        pm.enrichment.plot_running_score(ranking, sets, "UPP")
    with pytest.raises(DataError, match="results has no row of 'UP'"):
        pm.enrichment.plot_running_score(ranking, sets, "UP", results[results["gene_set"] != "UP"])
    with pytest.raises(DataError, match="no rows"):
        pm.enrichment.plot_dots(results[:0])
    with pytest.raises(DataError, match="not a table of gsea"):
        pm.enrichment.plot_enrichment_map(results.drop(columns="normalized_enrichment_score"))
