"""Two groups of patients: the ranking of genes, and the null of permuted labels."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

import pm_lab as pm
from pm_lab.errors import DataError, DesignError, PmLabWarning

N = 24


@pytest.fixture
def expression():
    rng = np.random.default_rng(0)
    values = rng.normal(8, 1, size=(N, 60))
    return pd.DataFrame(values, [f"P{i}" for i in range(N)], [f"G{j}" for j in range(60)])


@pytest.fixture
def labels(expression):
    return pd.Series(["a", "b"] * (N // 2), expression.index)


@pytest.fixture
def covariates(expression):
    rng = np.random.default_rng(1)
    batch = rng.choice(["x", "y", "z"], N)
    return pd.DataFrame({"batch": batch, "age": rng.normal(60, 10, N)}, expression.index)


@pytest.fixture
def sets(expression):
    rng = np.random.default_rng(2)
    return {f"S{j}": list(rng.choice(expression.columns, 12, replace=False)) for j in range(6)}


def test_signal_to_noise_is_the_published_one(expression, labels):
    expression["G0"] = 20 + expression["G0"] / 1000  # its spread is below 0.2 of its mean
    ranking = pm.enrichment.rank_genes(expression, labels)
    level, reference = expression[labels == "b"], expression[labels == "a"]
    spread = [np.maximum(side.std(), 0.2 * side.mean().abs()) for side in (level, reference)]
    expected = (level.mean() - reference.mean()) / (spread[0] + spread[1])
    pd.testing.assert_series_equal(ranking.sort_index(), expected.sort_index(), check_names=False)
    assert ranking.is_monotonic_decreasing
    assert ranking.attrs["contrast"] == ("b", "a")
    assert ranking.attrs["statistic"] == "signal_to_noise"


def test_t_without_covariates_is_students(expression, labels):
    ranking = pm.enrichment.rank_genes(expression, labels, ("a", "b"), statistic="t")
    expected = stats.ttest_ind(expression[labels == "a"], expression[labels == "b"]).statistic
    np.testing.assert_allclose(ranking[expression.columns], expected)


def test_t_with_covariates_is_that_of_the_linear_model(expression, labels, covariates):
    ranking = pm.enrichment.rank_genes(expression, labels, covariates=covariates)
    design = pd.get_dummies(covariates.assign(b=labels == "b"), drop_first=True).astype(float)
    for gene in expression.columns[:5]:
        fit = sm.OLS(expression[gene], sm.add_constant(design)).fit()
        assert ranking[gene] == pytest.approx(fit.tvalues["b"])
    assert ranking.attrs["covariates"] == ["batch", "age"]


@pytest.mark.parametrize("order", [None, ["b", "a"], ["a", "b"]])
def test_the_second_label_in_order_is_compared_with_the_first(expression, labels, order):
    if order is not None:
        labels = labels.astype(pd.CategoricalDtype(order))
    expected = ("a", "b") if order == ["b", "a"] else ("b", "a")
    assert pm.enrichment.rank_genes(expression, labels).attrs["contrast"] == expected


def test_other_labels_are_left_out_and_counted(expression, labels):
    third = labels.where(np.arange(N) >= 4, "c")
    ranking = pm.enrichment.rank_genes(expression, third, ("b", "a"))
    pd.testing.assert_series_equal(ranking, pm.enrichment.rank_genes(expression[4:], labels[4:]))
    assert ranking.attrs["n_left_out"] == 4
    assert ranking.attrs["n_patients"] == {"b": 10, "a": 10}
    with pytest.raises(DesignError, match=r"labels have 3 values \(\['a', 'b', 'c'\]\).*contrast="):
        pm.enrichment.rank_genes(expression, third)


def test_values_that_are_no_logarithms_are_warned_of(expression, labels, sets, recwarn):
    with pytest.warns(PmLabWarning, match="goes up to 2,.*no logarithm was taken") as caught:
        pm.enrichment.rank_genes(np.exp2(expression), labels)
    assert caught[0].filename == __file__
    pm.enrichment.rank_genes(expression, labels)
    assert not recwarn.list


def test_constant_genes_are_left_out_and_counted(expression, labels):
    ranking = pm.enrichment.rank_genes(expression.assign(G3=5.0), labels)
    assert "G3" not in ranking
    assert ranking.attrs["n_constant"] == 1


def test_labels_come_in_any_order_and_from_obs(expression, labels, bulk):
    shuffled = labels.sample(frac=1, random_state=0)
    pd.testing.assert_series_equal(
        pm.enrichment.rank_genes(expression, labels), pm.enrichment.rank_genes(expression, shuffled)
    )
    from_list = pm.enrichment.rank_genes(bulk.to_df(), list(bulk.obs["response"]))
    pd.testing.assert_series_equal(pm.enrichment.rank_genes(bulk, "response"), from_list)


def test_equal_seeds_give_equal_results(expression, labels, sets):
    run = {"gene_sets": sets, "null": "permute_labels", "expression": expression, "n_permutations": 200}
    one = pm.enrichment.gsea(labels=labels, seed=1, **run)
    pd.testing.assert_frame_equal(one, pm.enrichment.gsea(labels=labels, seed=1, **run))
    assert not one["pvalue"].equals(pm.enrichment.gsea(labels=labels, seed=2, **run)["pvalue"])
    assert one.attrs["null"] == "permute_labels"
    assert one.attrs["n_permutations"] == 200


def test_no_warning_of_correlation_with_permuted_labels(expression, labels, sets, recwarn):
    run = {"gene_sets": sets, "expression": expression, "labels": labels, "n_permutations": 100}
    pm.enrichment.gsea(null="permute_labels", **run)
    assert not [w for w in recwarn if issubclass(w.category, PmLabWarning)]


@pytest.mark.parametrize("with_covariates", [False, True])
def test_p_values_are_uniform_where_genes_are_correlated(
    expression, labels, covariates, sets, with_covariates
):
    rng = np.random.default_rng(3)
    batch = (covariates["batch"] == "x").to_numpy()
    pvalues, of_random_genes = [], []
    for _ in range(60):
        values = rng.normal(size=expression.shape)
        values[:, expression.columns.isin(sets["S0"])] += rng.normal(size=(N, 1)) * 1.5
        shuffled = pd.Series(rng.permutation(labels), labels.index)
        if with_covariates:  # which act on expression and differ between the groups
            values += 2 * batch[:, None]
            shuffled[batch & (rng.random(N) < 0.4)] = "a"
        table = pd.DataFrame(values, expression.index, expression.columns)
        who = {"labels": shuffled, "covariates": covariates if with_covariates else None}
        run = {"gene_sets": {"S0": sets["S0"]}, "n_permutations": 100}
        found = pm.enrichment.gsea(null="permute_labels", expression=table, **who, **run)
        pvalues.append(found["pvalue"].iloc[0])
        with pytest.warns(PmLabWarning, match="rise and fall together"):
            plain = pm.enrichment.gsea(pm.enrichment.rank_genes(table, **who), **run)
        of_random_genes.append(plain["pvalue"].iloc[0])
    assert stats.kstest(pvalues, "uniform").pvalue > 0.01
    assert np.mean(np.array(of_random_genes) < 0.05) > 0.25


def test_permuted_labels_give_nothing(bulk, core):
    rng = np.random.default_rng(0)
    run = {"gene_sets": core, "null": "permute_labels", "expression": bulk, "n_permutations": 300}
    for _ in range(3):
        found = pm.enrichment.gsea(labels=list(rng.permutation(bulk.obs["response"])), **run)
        assert (found["fdr"] > 0.05).all()


def test_few_ways_to_label_are_warned_of(expression, labels, sets):
    run = {"gene_sets": sets, "null": "permute_labels", "n_permutations": 1000}
    few, of_few = expression[:6].copy(), labels[:6]
    few.loc[of_few == "b", sets["S0"]] += 15  # the groups differ as much as they can
    with pytest.warns(PmLabWarning, match="Only 20 ways to label.*much below 1/10"):
        found = pm.enrichment.gsea(expression=few, labels=of_few, **run).set_index("gene_set")
    assert found.at["S0", "enrichment_score"] > 0.9
    assert found.at["S0", "pvalue"] == 0.1  # one of the ten labellings in which its score is positive


@pytest.mark.parametrize("statistic", ["signal_to_noise", "t"])
def test_all_labellings_are_taken_where_they_are_few(expression, labels, sets, statistic):
    few, of_few = expression[:7], labels[:7]
    run = {"gene_sets": sets, "min_size": 1, "n_permutations": 100}
    with pytest.warns(PmLabWarning, match="Only 35 ways"):
        found = pm.enrichment.gsea(
            null="permute_labels", expression=few, labels=of_few, statistic=statistic, **run
        ).set_index("gene_set")
    assert found.attrs["n_permutations"] == 34
    scores = []
    for chosen in combinations(range(7), 3):
        labelled = ["b" if i in chosen else "a" for i in range(7)]
        with pytest.warns(PmLabWarning):
            ranking = pm.enrichment.rank_genes(few, labelled, statistic=statistic)
            scores.append(pm.enrichment.gsea(ranking, **run).set_index("gene_set")["enrichment_score"])
    for name, of_all in pd.concat(scores, axis=1).iterrows():
        score = found.at[name, "enrichment_score"]
        same = of_all[np.sign(of_all) == np.sign(score)].abs()
        assert found.at[name, "pvalue"] == pytest.approx((same >= abs(score) - 1e-9).mean())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"labels": None}, DataError, "labels is missing"),
        ({"labels": ["a", "b"]}, DataError, "labels has 2 values for 24 patients"),
        ({"labels": ["a"] * N}, DesignError, r"labels have 1 values \(\['a'\]\)"),
        ({"labels": ["a"] * 2 + ["b"] * (N - 2)}, DesignError, "Too few patients to permute"),
        (
            {"labels": [None, *["a", "b"] * 11, "a"]},
            DataError,
            r"labels is missing for 1 of 24 patients \(P0\)",
        ),
        ({"labels": "response"}, DataError, "labels='response': obs has no such column"),
        ({"contrast": ("c", "a")}, DesignError, r"the labels are \['a', 'b'\]"),
        ({"contrast": "b"}, DesignError, "give \\(level, reference\\)"),
        ({"statistic": "fold"}, DataError, "statistic='fold'"),
        ({"covariates": ["batch"]}, DataError, r"covariates \['batch'\] are no columns of obs"),
    ],
)
def test_comparisons_refused(expression, labels, change, error, message):
    with pytest.raises(error, match=message):
        pm.enrichment.rank_genes(**{"expression": expression, "labels": labels, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x.mask(x > 10.5), "expression has NaN or infinite values in"),
        (lambda x: x.set_axis(["P0", *x.index[:-1]]), r"patients \(rows\) more than once: \['P0'\]"),
        (
            lambda x: x.set_axis(["G0", *x.columns[:-1]], axis=1),
            r"genes \(columns\) more than once: \['G0'\]",
        ),
        (lambda x: x.round(), "expression holds whole numbers only .up to 1.*, as raw counts do"),
        (lambda x: x * 0 + 0.5, "no gene differs"),
        (lambda x: list(x), "expression is a list: give an AnnData"),
    ],
)
def test_expression_refused(expression, labels, change, message):
    with pytest.raises(DataError, match=message):
        pm.enrichment.rank_genes(change(expression), list(labels))


def test_covariates_that_fix_the_group_or_are_missing_are_refused(expression, labels, covariates):
    with pytest.raises(DesignError, match="'batch'"):
        pm.enrichment.rank_genes(expression, labels, covariates=covariates.assign(batch=labels))
    with pytest.raises(DataError, match=r"obs\['age'\] is missing for"):
        pm.enrichment.rank_genes(
            expression, labels, covariates=covariates[["age"]].where(covariates[["age"]] > 50)
        )
    with pytest.raises(DataError, match="no value for 4 of 24 patients"):
        pm.enrichment.rank_genes(expression, labels, covariates=covariates[4:])
    with pytest.raises(DataError, match="knows no covariates"):
        pm.enrichment.rank_genes(expression, labels, covariates=covariates, statistic="signal_to_noise")


def test_covariates_may_have_any_name(expression, labels, covariates):
    expected = pm.enrichment.rank_genes(expression, labels, covariates=covariates)
    for batch, age in (("class", "age at diagnosis"), ("label", "label_"), ("a b", "a.b"), (1, "2 years")):
        odd = covariates.set_axis([batch, age], axis=1)
        found = pm.enrichment.rank_genes(expression, labels, covariates=odd)
        pd.testing.assert_series_equal(found, expected)
        assert found.attrs["covariates"] == [str(batch), age]


def test_a_patient_with_several_rows_is_refused(bulk, core):
    bulk.obs["patient"] = ["one", "one", *bulk.obs_names[2:]]
    with pytest.raises(DesignError, match=r"1 patients have several rows \(one\).*compare_activity"):
        pm.enrichment.gsea(gene_sets=core, null="permute_labels", expression=bulk, labels="response")
    bulk.obs["patient"] = [None, None, *bulk.obs_names[2:]]
    with pytest.raises(DataError, match=r"'patient'.* is missing for 2 of 120 rows"):
        pm.enrichment.rank_genes(bulk, "response")


def test_multilevel_does_not_permute_labels(bulk, core):
    with pytest.raises(DataError, match="permutes genes"):
        pm.enrichment.gsea(
            gene_sets=core, null="permute_labels", expression=bulk, labels="response", method="multilevel"
        )
