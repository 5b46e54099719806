"""The built-in cohort: its tables and names, equal seeds, and the sizes that it refuses."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import pm_lab as pm
from pm_lab.errors import DataError

from . import cohorts
from .cohorts import SMALL, default_cohort, digest

CLINICAL = ["patient", "batch", "age", "sex", "stage", "subtype", "arm", "response"]


@pytest.fixture(scope="module")
def cohort():
    return pm.datasets.load("simulated")


def test_default_sizes_and_tables(cohort):
    assert cohort.bulk.shape == (120, 2000)
    assert cohort.cells.shape == (6000, 2000)
    assert cohort.screen.shape == (300, 2000)
    assert cohort.screen.obsm["response"].shape == (300, 60)
    for obs in (cohort.clinical, cohort.cells.obs):
        assert list(obs.columns[:8]) == CLINICAL
        assert set(obs["response"]) == {"yes", "no"}
        assert not obs.isna().to_numpy().any()
    assert cohort.clinical is cohort.bulk.obs
    assert cohort.clinical["response"].value_counts().to_dict() == {"no": 72, "yes": 48}
    assert (cohort.clinical.index == cohort.clinical["patient"]).all()
    for line in ("120 patients × 2,000", "6,000 cells of 24 patients", "300 cell lines", "oracle_auc"):
        assert line in repr(cohort)


def test_endpoint_is_declared_and_censored(cohort):
    endpoint = cohort.bulk.uns["endpoints"]["os"]
    assert endpoint["unit"] == "months"
    time, event = cohort.clinical[endpoint["time"]], cohort.clinical[endpoint["event"]]
    assert event.dtype == bool
    assert (time > 0).all()
    assert 0.3 < event.mean() < 0.7


def test_twelve_responders_and_twelve_others_have_cells(cohort):
    with_cells = cohort.cells.obs.drop_duplicates("patient").set_index("patient")
    assert with_cells["response"].value_counts().to_dict() == {"yes": 12, "no": 12}
    assert (pd.crosstab(with_cells["batch"], with_cells["response"]) == 6).all(axis=None)
    shared = [name for name in CLINICAL if name not in ("patient", "batch")]
    assert with_cells[shared].astype(str).equals(cohort.clinical.loc[with_cells.index, shared].astype(str))
    patient_of_name = cohort.cells.obs_names.str.split("-").str[0]
    assert (patient_of_name == cohort.cells.obs["patient"]).all()


def test_matrices_are_what_their_names_say(cohort):
    for counts in (cohort.bulk.layers["counts"], cohort.cells.layers["counts"].data):
        assert (counts >= 0).all()
        assert (counts == np.round(counts)).all()
    assert cohort.bulk.layers["counts"].max() < 2**24  # whole numbers are exact in float32
    assert sparse.isspmatrix_csr(cohort.cells.X)
    assert (cohort.cells.layers["counts"] != cohort.cells.X).nnz == 0
    bulk = cohort.bulk.layers["counts"].astype(float)
    cpm = bulk / bulk.sum(axis=1, keepdims=True) * 1e6
    np.testing.assert_allclose(cohort.bulk.X, np.log2(cpm + 1), rtol=1e-5)
    np.testing.assert_allclose((np.exp2(cohort.screen.X.astype(float)) - 1).sum(axis=1), 1e6, rtol=1e-3)


def test_normalising_cells_in_place_leaves_the_counts(cohort):
    cells = pm.datasets.simulate_cohort(**SMALL).cells
    before = cells.layers["counts"].copy()
    cells.X.data[:] = np.log1p(cells.X.data)
    assert (cells.layers["counts"] != before).nnz == 0


def test_genes_have_unique_names_and_core_sets_come_first(cohort):
    core = {gene for genes in pm.gene_sets.core().values() for gene in genes}
    names = cohort.bulk.var_names
    assert names.is_unique
    assert set(names[: len(core)]) == core
    assert names[len(core) :].str.fullmatch(r"GENE\d{5}").all()
    assert names.equals(cohort.cells.var_names)
    assert names.equals(cohort.screen.var_names)


def test_screen_has_missing_entries_and_a_drug_table(cohort):
    response, drugs = cohort.screen.obsm["response"], cohort.screen.uns["drugs"]
    assert response.index.equals(cohort.screen.obs_names)
    assert response.columns.equals(drugs.index)
    assert {"cid", "smiles", "pathway"} <= set(drugs.columns)
    assert 0.18 < response.isna().to_numpy().mean() < 0.22
    between = response.mean().var() / np.nanvar(response.to_numpy())
    assert 0.55 < between < 0.85


def test_truth_has_the_promised_entries(cohort):
    truth, cells = cohort.truth, cohort.cells
    types = list(truth["cell_type_response"].index)
    for name in ("cell_type", "doublet", "damaged"):
        assert isinstance(truth[name], pd.Series)
        assert truth[name].index.equals(cells.obs_names)
    assert truth["doublet"].dtype == truth["damaged"].dtype == bool
    assert set(truth["cell_type"]) == set(types)
    assert len(types) == 8
    assert truth["genes"].index.equals(cohort.bulk.var_names)
    assert truth["cell_type_response"].columns.equals(cells.var_names)
    assert {"marker_of", "pathway", "response_log2_fold_change"} <= set(truth["genes"].columns)
    assert isinstance(truth["composition"], dict)
    assert 0 < len(truth["composition"]) < len(types) / 2
    assert min(truth["composition"].values()) >= 2.7
    assert 8 <= len(truth["pathways"]) <= 12
    assert truth["drugs"].shape == (60, len(truth["pathways"]))
    assert truth["drugs"].index.equals(cohort.screen.uns["drugs"].index)
    assert truth["line_activities"].index.equals(cohort.screen.obs_names)
    for name in ("activities", "abundance", "response_axis"):
        assert truth[name].index.equals(cohort.bulk.obs_names)
    assert set(truth["ambient"].index) == set(cells.obs["patient"])


def test_biomarkers_lie_outside_sets_and_no_gene_has_two_paths(cohort):
    truth = cohort.truth
    biomarkers = truth["genes"].loc[truth["biomarkers"]]
    assert len(biomarkers) == 10
    assert biomarkers["biomarker"].all()
    assert (biomarkers[["marker_of", "pathway"]] == "").all(axis=None)
    planted = truth["genes"][truth["genes"]["response_log2_fold_change"] != 0]
    assert not ((planted["marker_of"] != "") & (planted["pathway"] != "")).any()


def test_h5ad_keeps_everything(cohort, tmp_path):
    for name in ("bulk", "cells", "screen"):
        adata = getattr(cohort, name)
        adata.write_h5ad(tmp_path / f"{name}.h5ad")
        again = pm.datasets.read_anndata(tmp_path / f"{name}.h5ad")
        pd.testing.assert_frame_equal(again.obs, adata.obs)
        pd.testing.assert_frame_equal(again.var, adata.var)
        assert set(again.layers) == set(adata.layers)
        for layer in (None, *adata.layers):
            matrix, expected = (each.X if layer is None else each.layers[layer] for each in (again, adata))
            assert type(matrix) is type(expected)
            assert (matrix != expected).sum() == 0
        if "endpoints" in adata.uns:
            assert again.uns["endpoints"] == adata.uns["endpoints"]
        if name == "screen":
            pd.testing.assert_frame_equal(again.obsm["response"], adata.obsm["response"])
            pd.testing.assert_frame_equal(again.uns["drugs"], adata.uns["drugs"])


# Seeds and sizes


def test_load_gives_the_default_cohort(cohort):
    assert digest(cohort) == digest(default_cohort(0))


def test_same_seed_same_bytes_in_another_process_too():
    script = (
        f"import runpy, pm_lab as pm; test = runpy.run_path({cohorts.__file__!r});"
        "print(test['digest'](pm.datasets.simulate_cohort(**test['SMALL'], seed=5)))"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    run = subprocess.run(
        [sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True
    )
    one, again, other = (digest(pm.datasets.simulate_cohort(**SMALL, seed=seed)) for seed in (5, 5, 6))
    assert one == again == run.stdout.strip()
    assert one != other


def test_every_part_changes_with_the_seed():
    one, other = (pm.datasets.simulate_cohort(**SMALL, seed=seed) for seed in (1, 2))
    assert (one.bulk.X != other.bulk.X).any()
    assert (one.cells.X != other.cells.X).nnz > 0
    assert (one.screen.X != other.screen.X).any()
    assert not one.truth["genes"].equals(other.truth["genes"])


@settings(max_examples=8, deadline=None)
@given(st.data())
def test_any_sizes_that_are_large_enough_are_kept(data):
    n_patients = data.draw(st.integers(20, 60))
    most = 2 * round(0.4 * n_patients) // 2
    with_cells = 2 * data.draw(st.integers(2, most))
    sizes = {
        "n_patients": n_patients,
        "n_patients_with_cells": with_cells,
        "n_cells": data.draw(st.integers(10 * with_cells, 600)),
        "n_genes": data.draw(st.integers(1200, 1300)),
        "n_lines": data.draw(st.integers(10, 40)),
        "n_drugs": data.draw(st.integers(2, 10)),
    }
    cohort = pm.datasets.simulate_cohort(**sizes, seed=data.draw(st.integers(0, 2**64)))
    assert cohort.bulk.shape == (n_patients, sizes["n_genes"])
    assert cohort.cells.shape == (sizes["n_cells"], sizes["n_genes"])
    assert cohort.screen.obsm["response"].shape == (sizes["n_lines"], sizes["n_drugs"])
    sides = cohort.cells.obs.drop_duplicates("patient")["response"].value_counts()
    assert sides.to_dict() == {"yes": with_cells // 2, "no": with_cells // 2}
    assert cohort.cells.obs_names.is_unique


SMALLEST = {
    "n_patients": 20,
    "n_patients_with_cells": 4,
    "n_cells": 40,
    "n_genes": 1200,
    "n_lines": 10,
    "n_drugs": 2,
    "seed": 0,
}


@pytest.mark.parametrize("name", SMALLEST)
@given(data=st.data())
def test_bad_sizes_are_named(name, data):
    no_number = st.one_of(st.none(), st.floats(), st.text(), st.lists(st.integers(), max_size=2))
    too_small = st.integers(max_value=SMALLEST[name] - 1)
    value = data.draw(st.one_of(no_number, too_small))
    with pytest.raises(DataError, match=rf"^{name}=.*whole number of at least [\d,]+"):
        pm.datasets.simulate_cohort(**SMALL | {name: value})


@pytest.mark.parametrize(("n_patients", "with_cells"), [(30, 5), (30, 26), (20, 18)])
def test_patients_with_cells_are_even_and_not_more_than_there_are(n_patients, with_cells):
    sizes = SMALL | {"n_patients": n_patients, "n_patients_with_cells": with_cells, "n_cells": 500}
    with pytest.raises(DataError, match=f"n_patients_with_cells={with_cells}.*even and at most"):
        pm.datasets.simulate_cohort(**sizes)


def test_each_patient_with_cells_needs_ten():
    with pytest.raises(DataError, match="n_cells=239: give a whole number of at least 240"):
        pm.datasets.simulate_cohort(n_cells=239)
