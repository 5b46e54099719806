"""Cell types from marker sets."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from pm_lab.errors import DataError, PmLabWarning
from pm_lab.singlecell import annotate

MARKERS = {"T": ["CD3D", "CD3E", "IL7R"], "B": ["MS4A1", "CD79A", "CD19"]}


def make_cells(seed=0):
    """Clusters: 0 expresses T markers, 1 B markers, 2 neither."""
    rng = np.random.default_rng(seed)
    genes = [*MARKERS["T"], *MARKERS["B"], "ACTB", "GAPDH"]
    cluster = np.repeat(["0", "1", "2"], 50)
    X = rng.gamma(1, 0.2, (150, 8))
    X[:50, :3] += 2
    X[50:100, 3:6] += 2
    obs = pd.DataFrame({"cluster": cluster}, index=[f"c{i}" for i in range(150)])
    return ad.AnnData(X.astype(np.float32), obs=obs, var=pd.DataFrame(index=genes))


def test_clusters_take_the_type_they_express():
    cells = make_cells()
    table = annotate(cells, MARKERS).set_index("cluster")
    assert table["cell_type"].to_dict() == {"0": "T", "1": "B", "2": "unassigned"}
    assert table.loc["0", "margin"] > 0.5 and table.loc["0", "second"] == "B"
    assert (cells.obs["cell_type"] == cells.obs["cluster"].map(table["cell_type"])).all()


def test_too_small_a_lead_stays_unassigned():
    table = annotate(make_cells(), MARKERS, min_margin=10)
    assert set(table["cell_type"]) == {"unassigned"}


def test_an_absent_set_is_warned_of_and_not_used():
    cells = make_cells()
    markers = MARKERS | {"NK": ["GNLY", "NKG7", "KLRD1", "CD3D"]}
    with pytest.warns(PmLabWarning, match="NK: 1 of 4"):
        table = annotate(cells, markers)
    assert "NK" not in set(table["cell_type"]) | set(table["second"])


def test_no_usable_set_is_an_error():
    with pytest.raises(DataError, match="Less than half of every marker set"):
        annotate(make_cells(), {"NK": ["GNLY", "NKG7"]})


def test_ensembl_ids_are_refused():
    cells = make_cells()
    cells.var_names = [f"ENSG0000000{i:04d}" for i in range(cells.n_vars)]
    with pytest.raises(DataError, match="Ensembl"):
        annotate(cells)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X: X * 100, "no logarithm"),
        (lambda X: np.clip((X * 10).round(), 0, 15), "whole numbers only"),
        (lambda X: X - X.mean(axis=0), "negative"),
        (lambda X: np.where(X > 2.5, np.nan, X), "NaN or infinite"),
    ],
)
def test_what_is_not_log_normalised_is_refused(change, message):
    cells = make_cells()
    cells.X = change(cells.X)
    with pytest.raises(DataError, match=message):
        annotate(cells, MARKERS)
    assert "cell_type" not in cells.obs


def test_a_gene_that_occurs_twice_is_refused():
    cells = make_cells()
    cells.var_names = [*cells.var_names[:-1], "CD3D"]
    with pytest.raises(DataError, match="1 var names occur more than once: CD3D"):
        annotate(cells, MARKERS)


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, sparse.csc_array])
def test_the_kind_of_matrix_does_not_matter(kind):
    reference = annotate(make_cells(), MARKERS)
    cells = make_cells()
    cells.X = kind(cells.X)
    pd.testing.assert_frame_equal(annotate(cells, MARKERS), reference)


def test_copy_leaves_the_cells_alone():
    cells = make_cells()
    table, annotated = annotate(cells, MARKERS, copy=True)
    assert "cell_type" not in cells.obs and "cell_type" in annotated.obs
    assert len(table) == 3


def test_one_marker_set_has_no_runner_up():
    table = annotate(make_cells(), {"T": MARKERS["T"]}).set_index("cluster")
    assert table["cell_type"].to_dict() == {"0": "T", "1": "unassigned", "2": "unassigned"}
