"""Deconvolution: known mixtures of held-out patients are recovered, and what cannot be is refused."""

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import pm_lab as pm
from pm_lab.errors import DataError, DesignError, PmLabWarning


@pytest.fixture(scope="module")
def cohort():
    cohort = pm.datasets.simulate_cohort(n_cells=4000, n_genes=1200, seed=3)
    cohort.cells.obs["cell_type"] = cohort.truth["cell_type"]
    return cohort


@pytest.fixture(scope="module")
def cells(cohort):
    return cohort.cells


@pytest.fixture(scope="module")
def validated(cells):
    return pm.bulk.validate_deconvolution(cells, n_mixtures=60)


def sums_of(cells: ad.AnnData, key: str) -> ad.AnnData:
    """Sums of counts and true fractions by a column of obs."""
    member = pd.get_dummies(cells.obs[key].astype(str)).astype(float)
    counts = member.T.to_numpy() @ cells.layers["counts"]
    bulk = ad.AnnData(counts, obs=pd.DataFrame(index=member.columns), var=cells.var[[]].copy())
    true = pd.crosstab(cells.obs[key].astype(str), cells.obs["cell_type"].astype(str), normalize="index")
    bulk.obsm["true"] = true.loc[bulk.obs_names]
    return bulk


def test_held_out_mixtures_are_recovered(validated):
    assert set(validated["mixtures"]) == {"random", "natural"}
    assert validated.groupby("mixtures")["cell_type"].nunique().tolist() == [8, 8]
    assert (validated["n_patients"] == 24).all()
    assert (validated["n_mixtures"] == 60).all()
    random = validated[validated["mixtures"] == "random"]
    assert random["r"].min() > 0.9
    assert random["bias"].abs().max() < 0.02
    assert (validated["skill"] > 0.7).all()
    assert (validated["rmse"] < validated["rmse_baseline"]).all()


def test_the_table_is_what_the_estimates_say(validated):
    estimates = pd.DataFrame(validated.attrs["estimates"])
    sums = estimates.groupby(["mixtures", "mixture"])[["true", "estimated", "baseline"]].sum()
    assert sums.to_numpy() == pytest.approx(1)
    row = validated.query("mixtures == 'natural' and cell_type == 'B cell'").iloc[0]
    own = estimates.query("mixtures == 'natural' and cell_type == 'B cell'")
    assert row["r"] == pytest.approx(np.corrcoef(own["true"], own["estimated"])[0, 1])
    assert row["rmse"] == pytest.approx(np.sqrt(np.mean((own["estimated"] - own["true"]) ** 2)))


def test_equal_seeds_give_equal_results(cells):
    once, twice, other = (
        pm.bulk.validate_deconvolution(cells, n_mixtures=8, n_folds=2, seed=seed) for seed in (1, 1, 2)
    )
    pd.testing.assert_frame_equal(once, twice)
    assert not once["rmse"].equals(other["rmse"])


def test_shuffled_types_have_no_markers(cells):
    """A negative control: with the labels permuted within patients there is nothing to find."""
    rng = np.random.default_rng(0)
    shuffled = cells.copy()
    labels = shuffled.obs["cell_type"].astype(str)
    shuffled.obs["cell_type"] = labels.groupby(shuffled.obs["patient"], observed=True).transform(
        rng.permutation
    )
    with pytest.raises(DataError, match="too few marker genes for B cell"):
        pm.bulk.validate_deconvolution(shuffled, n_mixtures=8)


def test_sums_of_other_patients(cells):
    patients = cells.obs["patient"].cat.categories
    held_out = cells.obs["patient"].isin(patients[:8]).to_numpy()
    bulk = sums_of(cells[held_out], "patient")
    found = pm.bulk.deconvolve(bulk, cells[~held_out])
    assert found.sum(axis=1).to_numpy() == pytest.approx(1)
    assert (found >= 0).all().all()
    assert found.index.equals(bulk.obs_names)
    error = found - bulk.obsm["true"][found.columns]
    assert np.sqrt((error**2).to_numpy().mean()) < 0.03
    pd.testing.assert_frame_equal(bulk.obsm["cell_type_fractions"], found)
    assert bulk.obs["deconvolution_r"].min() > 0.95
    assert bulk.obs["deconvolution_residual"].between(0, 0.5).all()
    record = bulk.uns["pm_lab"]["deconvolve"]
    assert record["n_patients"] == 16
    assert len(record["markers"]["B cell"]) >= 5


def test_cells_and_rna_differ_by_the_size_of_a_cell(cells):
    bulk = sums_of(cells, "batch")
    of_cells, with_cells = pm.bulk.deconvolve(bulk, cells, copy=True)
    of_rna = pm.bulk.deconvolve(bulk, cells, fractions="rna")
    size = pd.Series(with_cells.uns["pm_lab"]["deconvolve"]["cell_size"])
    again = of_cells * size[of_cells.columns]
    pd.testing.assert_frame_equal(again.div(again.sum(axis=1), axis=0), of_rna)
    # Simulated: lymphocytes 0.75, all other cells 1.2.
    lymphocytes = ["B cell", "CD4 T cell", "CD8 T cell", "NK cell"]
    ratio = size.drop(lymphocytes).mean() / size[lymphocytes].mean()
    assert ratio == pytest.approx(1.2 / 0.75, rel=0.1)
    true = bulk.obsm["true"][lymphocytes].sum(axis=1)
    assert (of_cells[lymphocytes].sum(axis=1) - true).abs().max() < 0.03
    assert (of_rna[lymphocytes].sum(axis=1) < true - 0.05).all()


def test_patients_of_other_depth_change_nothing(cells):
    """Each patient's cells count by their profile, not by how deeply they were sequenced."""
    bulk = sums_of(cells, "batch")
    usual = pm.bulk.deconvolve(bulk, cells)
    deeper = cells.copy()
    factor = np.where(cells.obs["patient"].cat.codes % 2, 5, 1)
    deeper.layers["counts"] = deeper.layers["counts"].multiply(factor[:, None]).tocsr()
    again = pm.bulk.deconvolve(bulk, deeper)
    pd.testing.assert_frame_equal(again, usual)


def test_the_cohort_goes_the_right_way(cohort):
    """The simulated bulk is no sum of cells, so only the direction is asked: CD8 T, NK and B cells are up."""
    found, bulk = pm.bulk.deconvolve(cohort, cohort.cells, copy=True)
    mean = found.groupby(bulk.obs["response"], observed=True).mean()
    up = mean.loc["yes"] > 1.2 * mean.loc["no"]
    assert set(up.index[up]) == set(cohort.truth["composition"])
    abundance = np.exp(cohort.truth["abundance"])
    assert found.corrwith(abundance.div(abundance.sum(axis=1), axis=0)).min() > 0.5
    assert "cell_type_fractions" not in cohort.bulk.obsm


def test_older_gene_names_are_matched(cells):
    bulk = sums_of(cells, "batch")
    usual = pm.bulk.deconvolve(bulk, cells)
    old = bulk.copy()
    old.var_names = ["CDCA1" if name == "NUF2" else name for name in old.var_names]
    assert "CDCA1" in old.var_names
    pd.testing.assert_frame_equal(pm.bulk.deconvolve(old, cells), usual)
    assert old.uns["pm_lab"]["deconvolve"]["n_shared_genes"] == cells.n_vars


def test_unassigned_cells_are_left_out_and_counted(cells):
    part = cells.copy()
    part.obs["cell_type"] = part.obs["cell_type"].astype(str)
    part.obs.iloc[:50, part.obs.columns.get_loc("cell_type")] = "unassigned"
    bulk = sums_of(cells, "batch")
    with pytest.warns(PmLabWarning, match="50 cells without a type"):
        found = pm.bulk.deconvolve(bulk, part)
    assert "unassigned" not in found


def test_a_bulk_of_something_else_is_warned_of(cells):
    bulk = sums_of(cells, "batch")
    rng = np.random.default_rng(0)
    bulk.X = bulk.X[:, rng.permutation(bulk.n_vars)]
    with pytest.warns(PmLabWarning, match="does not fit 2 of 2 samples"):
        pm.bulk.deconvolve(bulk, cells)
    assert (bulk.obs["deconvolution_r"] < 0.6).all()


def change(cells: ad.AnnData, **columns) -> ad.AnnData:
    return ad.AnnData(cells.layers["counts"].copy(), cells.obs.assign(**columns), cells.var[[]].copy())


def test_bad_reference(cells):
    bulk = sums_of(cells, "batch")
    patients = cells.obs["patient"].cat.categories
    with pytest.raises(DataError, match="reference has 2 patients; 3 or more"):
        pm.bulk.deconvolve(bulk, cells[cells.obs["patient"].isin(patients[:2])])
    with pytest.raises(DesignError, match="names cells, not patients"):
        pm.bulk.deconvolve(bulk, change(cells, patient=cells.obs_names))
    with pytest.raises(DataError, match=r"no column 'type'.*cell_type_key"):
        pm.bulk.deconvolve(bulk, cells, cell_type_key="type")
    rare = cells.obs["cell_type"].astype(str).to_numpy()
    rare[:7] = "Mast cell"
    with pytest.raises(DataError, match=r"too few cells of Mast cell \(7 cells; 1 patients with 5 or more\)"):
        pm.bulk.deconvolve(bulk, change(cells, cell_type=rare))
    with pytest.raises(DataError, match="1 cell type"):
        pm.bulk.deconvolve(bulk, change(cells, cell_type="cell"))
    logged = change(cells)
    logged.X = logged.X.log1p()
    with pytest.raises(DataError, match="not whole numbers"):
        pm.bulk.deconvolve(bulk, logged)
    with pytest.raises(DataError, match="24 patients in 1 folds"):
        pm.bulk.validate_deconvolution(cells, n_folds=1)


def test_bad_bulk(cells):
    bulk = sums_of(cells, "batch")
    logged = ad.AnnData(np.log1p(bulk.X), bulk.obs, bulk.var)
    with pytest.raises(DataError, match="not whole numbers"):
        pm.bulk.deconvolve(logged, cells)
    with pytest.raises(DataError, match="share 150 genes of 150 and 1,200"):
        pm.bulk.deconvolve(bulk[:, :150].copy(), cells)
    ensembl = bulk.copy()
    ensembl.var_names = [f"ENSG{i:011d}" for i in range(bulk.n_vars)]
    with pytest.raises(DataError, match="Ensembl"):
        pm.bulk.deconvolve(ensembl, cells)
    empty = bulk.copy()
    empty.X[1] = 0
    with pytest.raises(DataError, match="1 samples have no count in any marker gene: run2"):
        pm.bulk.deconvolve(empty, cells)
    with pytest.raises(DataError, match='of "cells" or of "rna"'):
        pm.bulk.deconvolve(bulk, cells, fractions="percent")
    with pytest.raises(DataError, match=r"view of 1 × .*copy=True"):
        pm.bulk.deconvolve(bulk[:1], cells)
    assert "cell_type_fractions" not in bulk.obsm


def test_figures(validated, cohort, cells):
    figure = pm.bulk.plot_deconvolution(validated)
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert len(titles) == 8
    row = validated.query("mixtures == 'random' and cell_type == 'B cell'").iloc[0]
    assert f"random: r {row['r']:.2f}, RMSE {row['rmse']:.3f}" in next(t for t in titles if "B cell" in t)

    _, bulk = pm.bulk.deconvolve(cohort, cells, copy=True)
    figure = pm.bulk.plot_deconvolution(bulk, groupby="response")
    assert [ax.get_title() for ax in figure.axes] == ["response: no (n = 72)", "response: yes (n = 48)"]
    heights = [sum(patch.get_height() for patch in ax.patches) for ax in figure.axes]
    assert heights == pytest.approx([72, 48])
    with pytest.raises(DataError, match="Run deconvolve"):
        pm.bulk.plot_deconvolution(cohort)
    with pytest.raises(DataError, match="holds no estimates"):
        pm.bulk.plot_deconvolution(pd.DataFrame())


def test_result_survives_a_file(cohort, cells, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", PmLabWarning)
        found, bulk = pm.bulk.deconvolve(cohort, cells, copy=True)
    bulk.write_h5ad(tmp_path / "bulk.h5ad")
    read = ad.read_h5ad(tmp_path / "bulk.h5ad")
    pd.testing.assert_frame_equal(read.obsm["cell_type_fractions"], found)
