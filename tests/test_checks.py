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


@pytest.mark.parametrize("given", [None, pd.DataFrame({"TP53": [1.0]}), "cohort.h5ad"])
def test_what_is_no_cohort(given):
    with pytest.raises(DataError, match=f"is a {type(given).__name__}: give an AnnData or a Cohort"):
        checks.bulk_of(given)


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
        (lambda x: np.where(x == 3, np.nan, x), "1 NaN or infinite"),
        (lambda x: np.where(x == 3, np.inf, x), "1 NaN or infinite"),
        (lambda x: np.where(x == 3, -np.inf, x), "1 NaN or infinite"),
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
    wrong=st.sampled_from([0.5, -1.0, np.nan, np.inf]),
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


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
@pytest.mark.parametrize("check", [checks.counts, checks.log_normalised])
def test_an_empty_matrix_is_refused(check, shape):
    for kind in (np.asarray, sparse.csr_matrix):
        with pytest.raises(DataError, match=f"empty: {shape[0]} observations × {shape[1]} genes"):
            check(adata(kind(np.zeros(shape, dtype=np.float32))))


KINDS = [np.asarray, np.asfortranarray, sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array]


@pytest.mark.parametrize("kind", KINDS)
def test_log_normalised_values_are_returned_as_they_are(kind):
    data = adata(kind(np.log1p(COUNTS)))
    assert checks.log_normalised(data) is data.X


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("X", "message"),
    [
        (COUNTS, r"whole numbers only \(up to 7\)"),
        (np.clip(COUNTS * 9, 0, 15), r"whole numbers only \(up to 15\)"),
        (COUNTS.astype(int), "whole numbers only"),
        (np.log1p(COUNTS) - np.log1p(COUNTS).mean(axis=0), "negative values .*centred"),
        (COUNTS / 6 * 1e4, "up to 1.167e.04, so no logarithm"),
        (np.where(COUNTS == 3, np.nan, np.log1p(COUNTS)), "1 NaN or infinite"),
        (np.where(COUNTS == 3, np.inf, np.log1p(COUNTS)), "1 NaN or infinite"),
    ],
)
def test_what_is_not_log_normalised_is_told_apart_and_mended(kind, X, message):
    with pytest.raises(DataError, match=message) as error:
        checks.log_normalised(adata(kind(X)))
    assert "not log-normalised" in str(error.value)
    assert "process(cells)" in str(error.value)


def test_each_block_is_looked_at(monkeypatch):
    monkeypatch.setattr(checks, "BLOCK", 2)
    X = np.log1p(np.arange(1.0, 13.0).reshape(4, 3))
    for place in np.ndindex(4, 3):
        wrong = X.copy()
        wrong[place] = -1.0
        for matrix in (wrong, np.asfortranarray(wrong), sparse.csc_matrix(wrong)):
            with pytest.raises(DataError, match="negative"):
                checks.log_normalised(adata(matrix))


def test_log_normalised_values_that_are_absent_or_in_a_file(tmp_path):
    with pytest.raises(DataError, match="there is no X"):
        checks.log_normalised(ad.AnnData(obs=pd.DataFrame(index=["a"]), var=pd.DataFrame(index=["g"])))
    for kind in (np.asarray, sparse.csr_matrix):
        adata(kind(np.log1p(COUNTS))).write_h5ad(tmp_path / "cells.h5ad")
        backed = ad.read_h5ad(tmp_path / "cells.h5ad", backed="r")
        with pytest.raises(DataError, match=r"not a numeric matrix in memory.*to_memory"):
            checks.log_normalised(backed)
        checks.log_normalised(backed.to_memory())
        backed.file.close()


def test_keep_that_came_back_as_text_is_refused():
    data = adata(COUNTS)
    data.obs["keep"] = [True, False]
    assert checks.keep(data).tolist() == [True, False]
    data.obs["keep"] = pd.array([True, False], dtype="boolean")
    assert checks.keep(data).tolist() == [True, False]
    for text in (["True", "False"], pd.Categorical(["True", "False"])):
        data.obs["keep"] = text
        with pytest.raises(DataError, match=r"keep.*True, False.*not booleans.*== .True."):
            checks.keep(data)
    data.obs["keep"] = data.obs["keep"].astype(str) == "True"  # as the message says
    assert checks.keep(data).tolist() == [True, False]


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
