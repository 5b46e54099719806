"""Filters, sorting and pages of any table give the rows that pandas gives."""

import anndata
import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from pm_lab.server.answers import checked_filter
from pm_lab.server.files import Files
from pm_lab.server.filters import rows
from pm_lab.server.table import page

finite = st.floats(-1e6, 1e6, width=32)
words = st.text(st.sampled_from("abBÄß. 1"), max_size=3)


@st.composite
def tables(draw):
    n = draw(st.integers(1, 12))

    def some(values):
        return draw(st.lists(values, min_size=n, max_size=n))

    obs = pd.DataFrame(index=[f"c{i}" for i in range(n)])
    obs["number"] = np.array(some(finite | st.sampled_from([np.nan, np.inf, -np.inf, 0.0])), float)
    obs["single"] = np.array(some(finite), "f4")
    obs["whole"] = np.array(some(st.integers(-(2**40), 2**40)), "i8")
    obs["small"] = np.array(some(st.integers(0, 255)), "u1")
    obs["nullable"] = pd.array(some(st.none() | st.integers(-5, 5)), dtype="Int64")
    obs["label"] = pd.Categorical(some(st.none() | words))
    obs["text"] = pd.Series([f"{one}x" for one in some(words)], index=obs.index, dtype=object)
    return obs


@st.composite
def conditions(draw, obs):
    kind = draw(st.sampled_from(["range", "values", "contains"]))
    columns = ["number", "single", "whole", "small", "nullable"] if kind == "range" else list(obs.columns)
    columns = [name for name in columns if name != "single" or kind == "range"]  # shown with fewer digits
    one = {"kind": kind, "column": draw(st.sampled_from(columns)), "missing": draw(st.booleans())}
    values = obs[one["column"]]
    if kind == "range":
        known = [float(value) for value in values.dropna() if np.isfinite(value)]
        ends = st.none() | finite | st.sampled_from(known or [0.0])
        return one | {"min": draw(ends), "max": draw(ends)}
    if kind == "values":  # as the page has them from the table
        known = [value for value in values.dropna().tolist() if isinstance(value, str) or np.isfinite(value)]
        return one | {"values": draw(st.lists(st.sampled_from(known), max_size=3)) if known else []}
    return one | {"text": draw(words)}


def kept_by_pandas(obs, one):
    values = obs[one["column"]]
    if one["kind"] == "range":
        kept = values.notna()
        if one["min"] is not None:
            kept &= (values >= one["min"]).fillna(False).astype(bool)
        if one["max"] is not None:
            kept &= (values <= one["max"]).fillna(False).astype(bool)
    elif one["kind"] == "values":
        kept = values.isin(one["values"]) & values.notna()
    else:
        text = one["text"].casefold()
        return np.array([not pd.isna(v) and text in str(v).casefold() for v in values])
    return (kept | (values.isna() & one["missing"])).to_numpy(bool)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(data=st.data())
def test_filters_and_sorting_are_those_of_pandas(tmp_path_factory, data):
    obs = data.draw(tables())
    path = tmp_path_factory.mktemp("chance") / "x.h5ad"
    adata = anndata.AnnData(np.zeros((len(obs), 1), "float32"), obs=obs)
    adata.strings_to_categoricals = lambda *args: None  # else few texts become categories
    adata.write_h5ad(path)
    asked = data.draw(st.lists(conditions(obs), min_size=1, max_size=3))
    sort, descending = data.draw(st.sampled_from(list(obs.columns))), data.draw(st.booleans())
    filters = [checked_filter(one, place) for place, one in enumerate(asked)]
    expected = np.all([kept_by_pandas(obs, one) for one in asked], axis=0)
    with Files(2, 60, 10**6).open(path, "x.h5ad") as handle:
        assert rows(handle, "obs", filters).tolist() == expected.tolist()
        shown = page(handle, "obs", 0, 100, filters, sort, descending)
    ordered = obs[expected].sort_values(sort, kind="stable", ascending=not descending)
    assert shown["index"] == ordered.index.tolist()
    assert shown["n_matching"] == expected.sum()
