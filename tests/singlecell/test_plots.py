"""Figures: what they show is what is in the data."""

import matplotlib.figure
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import pm_lab as pm
from pm_lab.errors import DataError


@pytest.fixture(autouse=True)
def nothing_is_left_open():
    yield
    assert not plt.get_fignums(), "a figure was registered with pyplot and would be shown twice"


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_quality_shows_each_patient_and_the_limits_used(cells):
    table = pm.singlecell.quality_control(cells, doublets=False)
    figure = pm.singlecell.plot_quality(cells)
    assert isinstance(figure, matplotlib.figure.Figure)
    _, _, mitochondrial, scatter = figure.axes
    assert [t.get_text() for t in mitochondrial.get_xticklabels()] == list(table.index.astype(str))
    limits = [c.get_segments() for c in mitochondrial.collections if hasattr(c, "get_segments")]
    drawn = [segment[0][1] for segments in limits for segment in segments]
    assert set(np.round(table["max_mt_percent"], 6)) <= set(np.round(drawn, 6))
    legend = [text.get_text() for text in scatter.get_legend().get_texts()]
    assert legend[0] == f"kept ({cells.obs['keep'].sum():,})"
    figure.canvas.draw()


def test_umap_by_category_number_and_gene(processed):
    figure = pm.singlecell.plot_umap(processed, ["cluster", "response", "CD3E", "age"])
    panels = [ax for ax in figure.axes if ax.get_title()]
    assert [ax.get_title() for ax in panels] == ["cluster", "response", "CD3E", "age"]
    for ax in panels:
        assert len(ax.collections[0].get_offsets()) == processed.n_obs
    assert texts(panels[0]) == list(processed.obs["cluster"].cat.categories)
    assert [t.get_text() for t in panels[1].get_legend().get_texts()] == ["no", "yes"]
    gene = processed[:, "CD3E"].X.toarray().ravel()
    np.testing.assert_allclose(panels[2].collections[0].get_array(), np.sort(gene))
    figure.canvas.draw()


def test_every_category_has_its_own_colour_up_to_many(processed):
    for n in (5, 16, 40):
        processed.obs["group"] = pd.Categorical([f"g{i % n}" for i in range(processed.n_obs)])
        ax = pm.singlecell.plot_umap(processed, "group").axes[0]
        assert len(np.unique(ax.collections[0].get_facecolors(), axis=0)) == n


def test_markers_dots_are_means_and_fractions(processed):
    figure = pm.singlecell.plot_markers(processed, {"T": ["CD3D", "CD3E"], "B": ["MS4A1"]})
    ax = figure.axes[0]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["CD3D", "CD3E", "MS4A1"]
    assert texts(ax) == ["T", "B"]
    dots = ax.collections[0]
    frame = pd.DataFrame(processed[:, ["CD3D", "CD3E", "MS4A1"]].X.toarray())
    fraction = (frame > 0).groupby(processed.obs["cluster"].array, observed=True).mean().to_numpy().ravel()
    sizes = dots.get_sizes()
    np.testing.assert_allclose(sizes / sizes.max(), fraction / fraction.max(), rtol=1e-6)
    colour = np.asarray(dots.get_array()).reshape(-1, 3)
    np.testing.assert_allclose(colour.max(axis=0), 1)
    figure.canvas.draw()


def test_composition_bars_are_shares_of_each_patient(processed):
    figure = pm.singlecell.plot_composition(processed, groupby="cluster", condition="response")
    no, yes = figure.axes
    assert (no.get_title(), yes.get_title()) == ("response: no", "response: yes")
    patients = [t.get_text() for ax in figure.axes for t in ax.get_xticklabels()]
    assert sorted(patients) == sorted(processed.obs["patient"].unique())
    for ax in figure.axes:
        heights = np.array([[bar.get_height() for bar in bars] for bars in ax.containers])
        np.testing.assert_allclose(heights.sum(axis=0), 1)
    figure.canvas.draw()


def test_bad_input_is_refused(cells, processed):
    with pytest.raises(DataError, match="Run quality_control"):
        pm.singlecell.plot_quality(cells)
    with pytest.raises(DataError, match="no UMAP"):
        pm.singlecell.plot_umap(cells)
    with pytest.raises(DataError, match="'NOPE' is neither"):
        pm.singlecell.plot_umap(processed, "NOPE")
    with pytest.raises(DataError, match="NOPE"):
        pm.singlecell.plot_markers(processed, ["CD3E", "NOPE"])
    with pytest.raises(DataError, match="none was given"):
        pm.singlecell.plot_markers(processed, [])
    processed.obs["time"] = np.resize(["before", "after"], processed.n_obs)
    with pytest.raises(DataError, match="several values of obs\\['time'\\]"):
        pm.singlecell.plot_composition(processed, groupby="cluster", condition="time")
    with pytest.raises(DataError, match="no column 'cell_type'"):
        pm.singlecell.plot_composition(processed)
