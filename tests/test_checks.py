"""Input contracts: what is refused, and that the message says how to mend it."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import sparse

from pm_lab import checks
from pm_lab.errors import DataError


def adata(X, **layers):
    return ad.AnnData(X, layers=layers)


COUNTS = np.array([[0.0, 3.0, 1.0], [2.0, 0.0, 7.0]])


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array])
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_counts_are_returned_as_they_are(kind, dtype):
    data = adata(kind(COUNTS.astype(dtype)))
    assert checks.counts(data) is data.X


def test_the_counts_layer_comes_before_X():
    data = adata(np.log1p(COUNTS), counts=COUNTS)
    np.testing.assert_array_equal(checks.counts(data), COUNTS)


def test_a_named_layer_is_the_one_looked_at():
    data = adata(COUNTS, raw=COUNTS + 1, log=np.log1p(COUNTS))
    assert checks.counts(data, layer="raw").sum() == COUNTS.sum() + 6
    with pytest.raises(DataError, match=r"layers\['log'\].*log-normalised"):
        checks.counts(data, layer="log")
    with pytest.raises(DataError, match="no layer 'absent'"):
        checks.counts(data, layer="absent")


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (np.log1p, "log-normalised"),
        (lambda x: x * 123.4, "normalised .CPM"),
        (lambda x: x - 2, "negative"),
        (lambda x: np.where(x == 3, np.nan, x), "1 NaN"),
    ],
)
def test_what_is_not_counts_is_told_apart_and_mended(kind, change, message):
    with pytest.raises(DataError, match=message) as error:
        checks.counts(adata(kind(change(COUNTS))))
    assert 'layers["counts"]' in str(error.value)


@settings(max_examples=30, deadline=None)
@given(
    X=arrays.arrays(np.float32, (4, 5), elements=st.integers(0, 2**20)),
    place=st.tuples(st.integers(0, 3), st.integers(0, 4)),
    wrong=st.sampled_from([0.5, -1.0, np.nan]),
)
def test_one_wrong_value_anywhere_is_found(X, place, wrong):
    assert checks.counts(adata(X)) is not None
    X = X.copy()
    X[place] = wrong
    for matrix in (X, sparse.csr_matrix(X)):
        with pytest.raises(DataError):
            checks.counts(adata(matrix))


def test_counts_that_are_absent_or_not_in_memory():
    with pytest.raises(DataError, match="neither X"):
        checks.counts(ad.AnnData(obs=pd.DataFrame(index=["a"]), var=pd.DataFrame(index=["g"])))
    with pytest.raises(DataError, match="not a numeric matrix"):
        checks.counts(ad.AnnData(np.array([["a"]], dtype=object)))


@pytest.mark.parametrize(("axis", "what"), [("obs_names", "obs"), ("var_names", "var")])
def test_names_that_occur_twice(axis, what):
    data = adata(np.ones((3, 3)))
    checks.unique_names(data)
    setattr(data, axis, ["A", "B", "A"])
    with pytest.raises(DataError, match=f"1 {what} names occur more than once: A"):
        checks.unique_names(data)


def test_obs_column_missing_or_with_nan():
    data = adata(np.ones((3, 1)))
    with pytest.raises(DataError, match=r"no column 'patient'.*patient_key="):
        checks.obs_column(data, "patient", argument="patient_key")
    data.obs["patient"] = ["p1", None, "p2"]
    with pytest.raises(DataError, match=r"missing for 1 of 3 rows .1."):
        checks.obs_column(data, "patient")
    data.obs["patient"] = ["p1", "p1", "p2"]
    assert checks.obs_column(data, "patient").tolist() == ["p1", "p1", "p2"]


def test_ensembl_ids_where_symbols_are_needed():
    data = adata(np.ones((1, 3)))
    data.var_names = ["ENSG00000141510.18", "ENSMUSG00000059552", "MYC"]
    data.var["gene_symbols"] = ["TP53", "Trp53", "MYC"]
    with pytest.raises(DataError, match=r"2 of 3 gene names are Ensembl ids.*gene_symbols"):
        checks.symbols(data)
    data.var_names = data.var["gene_symbols"]
    checks.symbols(data)
