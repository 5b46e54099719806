"""Cell types from marker sets."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

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


def test_raw_counts_are_refused():
    cells = make_cells()
    cells.X = cells.X * 100
    with pytest.raises(DataError, match="log-normalised"):
        annotate(cells, MARKERS)


def test_copy_leaves_the_cells_alone():
    cells = make_cells()
    table, annotated = annotate(cells, MARKERS, copy=True)
    assert "cell_type" not in cells.obs and "cell_type" in annotated.obs
    assert len(table) == 3


def test_one_marker_set_has_no_runner_up():
    table = annotate(make_cells(), {"T": MARKERS["T"]}).set_index("cluster")
    assert table["cell_type"].to_dict() == {"0": "T", "1": "unassigned", "2": "unassigned"}
