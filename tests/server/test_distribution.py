"""Distributions by group against pandas, scipy and matplotlib."""

import json

import anndata
import numpy as np
import pandas as pd
import pytest
from matplotlib.cbook import boxplot_stats
from scipy.stats import gaussian_kde

N = 1_500


@pytest.fixture
def adata(jp_root_dir):
    rng = np.random.default_rng(0)
    types = pd.Categorical.from_codes(rng.integers(-1, 3, N), ["T", "B", "NK", "never"])
    obs = pd.DataFrame(
        {
            "cell_type": types,
            "age": np.where(rng.random(N) < 0.1, np.nan, rng.normal(50, 10, N) + 5 * types.codes),
            "response": pd.Categorical(rng.choice(["yes", "no", None], N)),
            "cluster": rng.integers(0, 4, N),
            "well": pd.Categorical.from_codes(rng.integers(0, 70, N), [f"well {i:02d}" for i in range(70)]),
            "constant": np.ones(N),
        },
        index=[f"cell {i}" for i in range(N)],
    )
    X = rng.poisson(0.4, (N, 2)).astype(np.float32)
    adata = anndata.AnnData(X, obs, pd.DataFrame(index=["CD3E", "LYZ"]))
    adata.write_h5ad(jp_root_dir / "a.h5ad")
    return adata


async def ask(call, **query):
    status, answer = await call("anndata/distribution", path="a.h5ad", **query)
    assert status == 200, answer
    return answer, {group["name"]: group for group in answer["groups"]}


def check_numbers(group, values):
    known = values.dropna()
    assert (group["n"], group["n_missing"]) == (len(known), values.isna().sum())
    assert group["n_zero"] == (known == 0).sum()
    found = [group[name] for name in ("min", "q1", "median", "q3", "max", "mean")]
    expected = [*known.quantile([0, 0.25, 0.5, 0.75, 1]), known.mean()]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    (box,) = boxplot_stats(known)
    np.testing.assert_allclose([group["whisker_low"], group["whisker_high"]], [box["whislo"], box["whishi"]])


async def test_numbers_by_type_are_those_of_pandas(call, adata):
    answer, groups = await ask(call, obs="age", by="cell_type")
    assert answer["kind"] == "number" and list(groups) == ["T", "B", "NK"]  # none without cells
    assert answer["n_without_group"] == adata.obs["cell_type"].isna().sum() and answer["left_out"] == []
    for name, values in adata.obs.groupby("cell_type", observed=True)["age"]:
        check_numbers(groups[name], values)


async def test_density_is_that_of_scipy(call, adata):
    _, groups = await ask(call, obs="age", by="cell_type")
    for name, values in adata.obs.groupby("cell_type", observed=True)["age"]:
        x, y = groups[name]["density"]["x"], groups[name]["density"]["y"]
        assert len(x) == 64 and (x[0], x[-1]) == (values.min(), values.max())
        expected = gaussian_kde(values.dropna())(x)
        np.testing.assert_allclose(y, expected, atol=0.002 * expected.max())


async def test_gene_by_type_counts_its_zeros(call, adata):
    answer, groups = await ask(call, gene="CD3E", by="cell_type")
    assert answer["name"] == "CD3E"
    gene = pd.Series(adata.X[:, 0], adata.obs_names)
    for name, values in gene.groupby(adata.obs["cell_type"], observed=True):
        check_numbers(groups[name], values)
        # Whole numbers stay peaks of their own, however few points the density has.
        assert groups[name]["density"]["y"][0] == max(groups[name]["density"]["y"])


async def test_without_groups_all_cells_are_one(call, adata):
    answer, groups = await ask(call, obs="age")
    assert answer["by"] == "" and len(groups) == 1
    check_numbers(next(iter(groups.values())), adata.obs["age"])


async def test_filters_leave_cells_out(call, adata):
    wanted = [{"kind": "range", "column": "cluster", "min": 1, "max": 2}]
    answer, groups = await ask(call, obs="age", by="cell_type", filters=json.dumps(wanted))
    kept = adata.obs[adata.obs["cluster"].between(1, 2)]
    for name, values in kept.groupby("cell_type", observed=True)["age"]:
        check_numbers(groups[name], values)
    assert answer["n_without_group"] == kept["cell_type"].isna().sum()


async def test_filters_that_keep_nothing_leave_no_group(call, adata):
    wanted = json.dumps([{"kind": "range", "column": "age", "min": 1_000, "max": None}])
    assert (await ask(call, obs="age", by="cell_type", filters=wanted))[1] == {}
    _, groups = await ask(call, obs="age", filters=wanted)
    (alone,) = groups.values()
    assert alone["n"] == 0 and alone["median"] is None and alone["density"] == {"x": [], "y": []}


async def test_categories_by_type_are_a_crosstab(call, adata):
    answer, groups = await ask(call, obs="response", by="cell_type")
    expected = pd.crosstab(adata.obs["cell_type"], adata.obs["response"])
    assert answer["kind"] == "category" and answer["categories"] == ["no", "yes"]
    for name, counts in expected.iterrows():
        assert groups[name]["counts"] == counts.tolist() and groups[name]["n"] == counts.sum()
        missing = adata.obs["response"].isna() & (adata.obs["cell_type"] == name)
        assert groups[name]["n_missing"] == missing.sum()


async def test_few_whole_numbers_are_groups(call, adata):
    _, groups = await ask(call, obs="age", by="cluster")
    assert list(groups) == ["0", "1", "2", "3"]
    check_numbers(groups["2"], adata.obs.loc[adata.obs["cluster"] == 2, "age"])


async def test_fifty_groups_are_shown_and_the_rest_named(call, adata):
    answer, groups = await ask(call, obs="age", by="well")
    sizes = adata.obs["well"].value_counts()
    assert len(groups) == 50 and answer["n_left_out"] == len(answer["left_out"]) == 20
    assert list(groups) == sorted(groups)
    left_out = {one["name"]: one["n"] for one in answer["left_out"]}
    assert left_out == sizes[list(left_out)].to_dict() and not set(left_out) & set(groups)
    assert max(left_out.values()) <= min(sizes[list(groups)])


async def test_equal_values_have_no_density(call, adata):
    _, groups = await ask(call, obs="constant")
    (alone,) = groups.values()
    assert alone["density"] == {"x": [], "y": []} and alone["whisker_low"] == alone["max"] == 1


@pytest.mark.parametrize("values", [[1e308, -1e308, 0, 1], [5e-324, 0, 0, 0], [np.inf, 1, 2, 3]])
async def test_extreme_numbers_are_answered(call, jp_root_dir, values):
    obs = pd.DataFrame({"x": np.array(values, float)}, index=list("abcd"))
    anndata.AnnData(obs=obs).write_h5ad(jp_root_dir / "a.h5ad")
    _, groups = await ask(call, obs="x")
    (alone,) = groups.values()
    assert alone["n"] + alone["n_missing"] == 4


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, 400),
        ({"obs": "age", "gene": "LYZ"}, 400),
        ({"obs": "age", "by": "no such"}, 400),
        ({"obs": "age", "by": "age"}, 422),
        ({"gene": "no such"}, 400),
        ({"obs": "age", "filters": "{"}, 400),
    ],
)
async def test_wrong_questions_are_refused(call, adata, query, expected):
    status, said = await call("anndata/distribution", path="a.h5ad", **query)
    assert status == expected and said["what"]
