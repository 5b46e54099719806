"""Pseudobulk and differential expression: the patient is the unit."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pm_lab as pm
from pm_lab.errors import DataError, DesignError, PmLabWarning
from pm_lab.singlecell import differential_expression, pseudobulk

CONTRAST = ("response", "yes", "no")
COLUMNS = ["cell_type", "gene", "base_mean", "log2_fold_change", "lfc_se", "stat", "pvalue", "padj"]


def make_cells(n_patients=8, per_patient=40, n_genes=60, seed=0, paired=False):
    """Two types; gene g0 is 4-fold up in responders' (or stimulated) T cells."""
    rng = np.random.default_rng(seed)
    n = n_patients * per_patient
    patient = np.repeat([f"p{i:02d}" for i in range(n_patients)], per_patient)
    response = np.where(np.repeat(np.arange(n_patients), per_patient) % 2 == 0, "yes", "no")
    if paired:
        response = np.tile(["yes", "no"], n // 2)
    cell_type = np.where(np.arange(n) % 4 < 2, "T", "B")
    rate = np.exp(np.random.default_rng(1).normal(0.5, 0.5, n_genes)) * np.ones((n, 1))
    rate[:, 0] *= np.where((response == "yes") & (cell_type == "T"), 4, 1)
    rate *= rng.gamma(20, 0.05, (n_patients, n_genes))[np.repeat(np.arange(n_patients), per_patient)]
    obs = pd.DataFrame(
        {"patient": patient, "response": response, "cell_type": cell_type, "n": np.arange(n)},
        index=[f"c{i}" for i in range(n)],
    )
    obs["age"] = obs["patient"].str[1:].astype(int) * 3 % 7 + 50
    counts = rng.poisson(rate).astype(np.float32)
    var = pd.DataFrame(index=[f"g{i}" for i in range(n_genes)])
    return ad.AnnData(counts, obs=obs, var=var, layers={"counts": counts})


def test_pseudobulk_sums_cells():
    cells = make_cells()
    samples = pseudobulk(cells)
    assert samples.n_obs == 16
    row = samples.obs_names.get_loc("p03 | T")
    mask = ((cells.obs["patient"] == "p03") & (cells.obs["cell_type"] == "T")).to_numpy()
    assert np.array_equal(samples.layers["counts"][row], cells.layers["counts"][mask].sum(axis=0))
    assert samples.obs["n_cells"].iloc[row] == mask.sum()
    assert samples.obs["age"].iloc[row] == cells.obs["age"][mask].iloc[0]
    assert "n" not in samples.obs, "a column that varies within a sample has no value for it"


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 6), st.integers(3, 15), st.integers(0, 1000))
def test_pseudobulk_loses_no_count(n_patients, per_patient, seed):
    cells = make_cells(n_patients, per_patient, n_genes=5, seed=seed)
    samples = pseudobulk(cells)
    assert samples.layers["counts"].sum() == cells.layers["counts"].sum()
    assert samples.obs["n_cells"].sum() == cells.n_obs


def test_pseudobulk_takes_sparse_counts():
    from scipy import sparse

    cells = make_cells()
    dense = pseudobulk(cells)
    cells.layers["counts"] = sparse.csr_matrix(cells.layers["counts"])
    assert np.array_equal(pseudobulk(cells).layers["counts"], dense.layers["counts"])


def test_finds_the_planted_gene_in_its_type_only():
    result = differential_expression(make_cells(), "~ response", CONTRAST)
    assert list(result.columns) == COLUMNS
    hits = result[result["padj"] < 0.05]
    assert ("T", "g0") in set(zip(hits["cell_type"], hits["gene"], strict=True))
    assert ("B", "g0") not in set(zip(hits["cell_type"], hits["gene"], strict=True))
    planted = result[(result["cell_type"] == "T") & (result["gene"] == "g0")]
    assert planted["log2_fold_change"].item() == pytest.approx(2, abs=0.6)
    assert result.attrs["samples"][0] == {"cell_type": "B", "yes": 4, "no": 4}


def test_paired_design_uses_patient_times_condition():
    result = differential_expression(make_cells(paired=True), "~ patient + response", CONTRAST)
    top = result[result["cell_type"] == "T"].iloc[0]
    assert top["gene"] == "g0"
    assert result.attrs["samples"][1] == {"cell_type": "T", "yes": 8, "no": 8}


def test_covariates_of_the_patient_enter():
    result = differential_expression(make_cells(12), "~ age + response", CONTRAST)
    assert set(result["cell_type"]) == {"T", "B"}


def test_what_is_left_out_is_told():
    cells = make_cells()
    rare = ((cells.obs["patient"] == "p00") & (cells.obs["cell_type"] == "B")).to_numpy()
    cells = cells[~rare | (np.cumsum(rare) <= 5)].copy()
    cells.layers["counts"][:, 59] = 0
    cells.obs.loc[cells.obs_names[:3], "cell_type"] = "unassigned"
    result = differential_expression(cells, "~ response", CONTRAST)
    left = pd.DataFrame(result.attrs["left_out"])
    assert ("B", "samples", 1) in set(zip(left["cell_type"], left["what"], left["n"], strict=True))
    assert left["why"].str.contains("mean count").any()
    assert "unassigned" not in set(result["cell_type"])
    assert "g59" not in set(result["gene"])


def test_ambient_genes_are_not_tested_where_they_leak():
    cells = make_cells()
    is_t = (cells.obs["cell_type"] == "T").to_numpy()
    cells.layers["counts"][is_t, 1] = 300
    cells.layers["counts"][~is_t, 1] = 3
    result = differential_expression(cells, "~ response", CONTRAST)
    tested = set(zip(result["cell_type"], result["gene"], strict=True))
    assert ("T", "g1") in tested and ("B", "g1") not in tested
    assert "explained by ambient RNA" in {row["why"] for row in result.attrs["left_out"]}


def test_log_normalised_input_is_refused():
    cells = make_cells()
    cells.layers["counts"] = np.log1p(cells.layers["counts"])
    with pytest.raises(DataError, match="log-normalised"):
        differential_expression(cells, "~ response", CONTRAST)


def test_negative_input_is_refused():
    cells = make_cells()
    cells.layers["counts"][0, 0] = -1
    with pytest.raises(DataError, match="negative"):
        differential_expression(cells, "~ response", CONTRAST)


def test_cells_as_replicates_are_refused():
    cells = make_cells()
    cells.obs["cell"] = cells.obs_names
    with pytest.raises(DesignError, match="names cells, not patients"):
        differential_expression(cells, "~ response", CONTRAST, patient_key="cell")


def test_one_patient_a_side_is_refused_two_are_warned_of():
    with pytest.raises(DesignError, match="at least two patients"):
        differential_expression(make_cells(2), "~ response", CONTRAST)
    with pytest.warns(PmLabWarning, match="Only two patients"):
        differential_expression(make_cells(4), "~ response", CONTRAST)


def test_patient_on_both_sides_unpaired_is_refused():
    with pytest.raises(DesignError, match=r"~ patient \+ response"):
        differential_expression(make_cells(paired=True), "~ response", CONTRAST)


def test_condition_equal_to_batch_is_refused():
    cells = make_cells()
    cells.obs["batch"] = cells.obs["response"].map({"yes": "b1", "no": "b2"})
    for formula in ("~ response", "~ batch + response"):
        with pytest.raises(DesignError, match="batch"):
            differential_expression(cells, formula, CONTRAST)


def test_covariate_that_varies_within_a_patient_is_refused():
    cells = make_cells()
    with pytest.raises(DesignError, match=r"\['n'\] varies between the cells of one patient"):
        differential_expression(cells, "~ n + response", CONTRAST)


def test_duplicated_names_are_refused():
    cells = make_cells()
    cells.var_names = ["g0"] * 2 + list(cells.var_names[2:])
    with pytest.raises(DataError, match="more than once"):
        differential_expression(cells, "~ response", CONTRAST)


def test_missing_patient_column_is_named():
    cells = make_cells()
    del cells.obs["patient"]
    with pytest.raises(DataError, match=r"'patient'.*patient_key"):
        differential_expression(cells, "~ response", CONTRAST)


def test_too_few_cells_everywhere_is_an_error_not_an_empty_table():
    with pytest.raises(DesignError, match="Too few patients for"):
        differential_expression(make_cells(), "~ response", CONTRAST, min_cells=1000)


def test_patients_and_conditions_named_by_numbers_are_categories():
    cells = make_cells(paired=True)
    by_name = differential_expression(cells, "~ patient + response", CONTRAST)
    cells.obs["patient"] = cells.obs["patient"].str[1:].astype(int)
    cells.obs["response"] = (cells.obs["response"] == "yes").astype(float)
    by_number = differential_expression(cells, "~ patient + response", ("response", 1, 0))
    assert np.allclose(by_number["stat"], by_name["stat"], equal_nan=True)


def test_half_a_pair_is_left_out_with_its_reason():
    cells = make_cells(paired=True)
    half = ((cells.obs["patient"] == "p00") & (cells.obs["response"] == "yes")).to_numpy()
    result = differential_expression(cells[~half].copy(), "~ patient + response", CONTRAST, min_cells=3)
    assert {row["why"] for row in result.attrs["left_out"] if row["what"] == "samples"} == {
        "the other side of the pair is missing"
    }


def test_a_type_that_cannot_be_tested_is_warned_of():
    cells = make_cells()
    gone = ((cells.obs["response"] == "yes") & (cells.obs["cell_type"] == "B")).to_numpy()
    with pytest.warns(PmLabWarning, match="Not tested: B"):
        result = differential_expression(cells[~gone].copy(), "~ response", CONTRAST)
    assert set(result["cell_type"]) == {"T"}


def test_works_from_the_package_name():
    assert pm.singlecell.differential_expression is differential_expression
