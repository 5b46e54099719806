"""Composition: patients as replicates, a reference that moves with nobody."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from pm_lab.errors import DataError, DesignError
from pm_lab.singlecell import composition

TYPES = np.array(["A", "B", "C", "D", "E"])


def make_cells(log_shift, n=12, per_patient=400, seed=0):
    """n patients a side; log_shift is added to the log-abundance of each type in "yes"."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(2 * n):
        response = "yes" if i < n else "no"
        weight = np.exp(rng.normal(0, 0.3, 5) + (response == "yes") * np.asarray(log_shift))
        types = rng.choice(TYPES, per_patient, p=weight / weight.sum())
        rows.append(pd.DataFrame({"patient": f"p{i:02d}", "response": response, "cell_type": types}))
    obs = pd.concat(rows, ignore_index=True)
    obs.index = [f"c{i}" for i in range(len(obs))]
    return ad.AnnData(np.zeros((len(obs), 1), np.float32), obs=obs)


def test_one_sided_shift_is_found_and_the_others_are_not_blamed():
    table = composition(make_cells([1.2, 1.2, 0, 0, 0]), "response").set_index("cell_type")
    assert (table["padj"][["A", "B"]] < 0.05).all()
    assert (table["padj"][["C", "D", "E"]] > 0.05).all()
    assert table.attrs["reference"] == ["C", "D", "E"]
    assert table["log2_fold_change"]["A"] == pytest.approx(1.2 / np.log(2), abs=0.5)
    assert (table["lower"] < table["log2_fold_change"]).all()
    assert (table["log2_fold_change"] < table["upper"]).all()
    assert table["fraction_yes"].sum() == pytest.approx(1)


def test_under_permuted_labels_false_positives_keep_to_the_level():
    """90 null data sets: with Benjamini-Hochberg at .05 about one in twenty has a false call."""
    false = 0
    for seed in range(90):
        cells = make_cells([0, 0, 0, 0, 0], n=8, per_patient=150, seed=seed)
        false += (composition(cells, "response")["padj"] < 0.05).any()
    assert false <= 12


def test_named_reference():
    table = composition(make_cells([1.2, 0, 0, 0, 0]), "response", reference="E").set_index("cell_type")
    assert table.attrs["reference"] == ["E"]
    assert np.isnan(table.loc["E", "pvalue"]) and table.loc["A", "padj"] < 0.05
    both = composition(make_cells([1.2, 0, 0, 0, 0]), "response", reference=["D", "E"])
    assert both.attrs["reference"] == ["D", "E"] and both["padj"].notna().all()
    with pytest.raises(DataError, match="none of the cell types"):
        composition(make_cells([0, 0, 0, 0, 0]), "response", reference="Z")


def test_contrast_chooses_the_direction():
    cells = make_cells([1, 0, 0, 0, 0])
    forward = composition(cells, "response").set_index("cell_type")["log2_fold_change"]
    reverse = composition(cells, "response", contrast=("no", "yes")).set_index("cell_type")[
        "log2_fold_change"
    ]
    assert np.allclose(forward, -reverse[forward.index])


def test_unassigned_cells_and_small_patients_are_left_out_and_counted():
    cells = make_cells([0, 0, 0, 0, 0])
    cells.obs.loc[cells.obs_names[:10], "cell_type"] = "unassigned"
    small = (cells.obs["patient"] == "p00") & (np.arange(cells.n_obs) >= 15)
    table = composition(cells[~small].copy(), "response")
    assert table.attrs["left_out"] == {"unassigned_cells": 10, "patients": ["p00"]}
    assert table.attrs["n_patients"] == {"yes": 11, "no": 12}
    assert "unassigned" not in set(table["cell_type"])


def test_patients_on_both_sides_are_refused():
    cells = make_cells([0, 0, 0, 0, 0])
    cells.obs["response"] = np.where(np.arange(cells.n_obs) % 2 == 0, "yes", "no")
    with pytest.raises(DesignError, match="both"):
        composition(cells, "response")


def test_one_patient_a_side_is_refused():
    with pytest.raises(DesignError, match="at least two patients"):
        composition(make_cells([0, 0, 0, 0, 0], n=1), "response")


def test_condition_equal_to_batch_is_refused():
    cells = make_cells([0, 0, 0, 0, 0])
    cells.obs["batch"] = cells.obs["response"]
    with pytest.raises(DesignError, match="equals 'batch'"):
        composition(cells, "response")


def test_three_levels_need_a_contrast():
    cells = make_cells([0, 0, 0, 0, 0])
    cells.obs["arm"] = cells.obs["patient"].str[1:].astype(int).mod(3).map({0: "a", 1: "b", 2: "c"})
    with pytest.raises(DesignError, match="contrast="):
        composition(cells, "arm")
    assert len(composition(cells, "arm", contrast=("a", "b"))) == 5


def test_missing_labels_are_counted():
    cells = make_cells([0, 0, 0, 0, 0])
    cells.obs.loc[cells.obs_names[:7], "cell_type"] = np.nan
    with pytest.raises(DataError, match="7"):
        composition(cells, "response")


def test_cells_named_as_patients_are_refused():
    cells = make_cells([0, 0, 0, 0, 0])
    cells.obs["cell"] = cells.obs_names
    with pytest.raises(DesignError, match="names cells, not patients"):
        composition(cells, "response", patient_key="cell")


def test_conditions_written_as_numbers():
    cells = make_cells([1, 0, 0, 0, 0])
    by_name = composition(cells, "response")
    cells.obs["response"] = (cells.obs["response"] == "yes").astype(float)
    assert np.allclose(composition(cells, "response", contrast=(1, 0))["stat"], by_name["stat"])
