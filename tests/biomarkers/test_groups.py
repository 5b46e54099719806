"""Subgroups in which a model is worse are named; cutpoints are declared, not searched for."""

from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from lifelines.statistics import multivariate_logrank_test
from scipy import stats

import pm_lab as pm
from pm_lab.errors import DataError

CLINICAL = ["age", "stage"]
stratify, subgroup_performance = pm.biomarkers.stratify, pm.biomarkers.subgroup_performance


def test_a_model_that_fails_in_one_group_is_said_to(larger):
    cohort = larger.copy()
    rng = np.random.default_rng(0)
    cohort.obs["er"] = pd.Categorical(rng.choice(["positive", "negative"], cohort.n_obs))
    negative = (cohort.obs["er"] == "negative").to_numpy()
    cohort.X[negative] = rng.normal(size=(negative.sum(), cohort.n_vars))  # there the genes say nothing
    result = pm.biomarkers.nested_cross_validate(cohort, "os", n_repeats=2)
    table = subgroup_performance(result, cohort, ["er", "age", "stage"], cuts={"age": 60}, n_boot=300)
    assert table.loc[("er", "negative"), "note"] == "worse"
    assert table.loc[("er", "positive"), "c_index"] > table.loc[("er", "negative"), "c_index"] + 0.1
    assert table.loc[("all", "all"), "n"] == 300
    assert table.loc["age"].index.tolist() == ["≤ 60", "> 60"] and table.loc["age", "n"].sum() == 300
    assert table.loc["stage", "n_events"].sum() == table.loc[("all", "all"), "n_events"]


def test_few_patients_get_no_number(nested, shared):
    cohort = shared.copy()
    cohort.obs["site"] = ["small"] * 6 + [None] * 4 + ["large"] * 110
    table = subgroup_performance(nested, cohort, "site", n_boot=50)
    assert table.loc[("site", "small"), "note"] == "too few"
    assert np.isnan(table.loc[("site", "small"), "c_index"]) and table.loc[("site", "missing"), "n"] == 4
    with pytest.raises(DataError, match="no column 'er'"):
        subgroup_performance(nested, cohort, "er")
    with pytest.raises(DataError, match="not in this cohort"):
        subgroup_performance(nested, cohort[:50].copy(), "site")
    with pytest.raises(DataError, match="'svm' is not in the result"):
        subgroup_performance(nested, cohort, "site", model="svm")


def test_risk_groups_are_made_within_folds(nested, shared):
    found = stratify(nested, shares=[1 / 3, 2 / 3])
    assert found.groups.cat.categories.tolist() == ["low", "middle", "high"]
    one = nested.predictions.query("model == 'elastic_net' and repeat == 0").set_index("row")
    sizes = pd.crosstab(one["fold"], found.groups.loc[one.index])
    assert (sizes.max(axis=1) - sizes.min(axis=1)).max() <= 1
    assert found.table["rate"].is_monotonic_increasing and found.table["n"].sum() == 120

    obs = shared.obs.loc[found.groups.index]
    expected = multivariate_logrank_test(obs["os_time"], found.groups.to_numpy(), obs["os_event"])
    assert found.test["statistic"] == pytest.approx(expected.test_statistic)
    assert np.isnan(found.test["p_value"]) and "null=pm.biomarkers.permutation_null" in found.test["reason"]


def test_declared_cutpoints_on_other_outcomes(shared):
    response = pm.biomarkers.nested_cross_validate(shared, "response", n_splits=3, n_inner=3)
    found = stratify(response, cutpoints=[0.5])
    above = response.predictions.set_index("row")["prediction"] >= 0.5
    assert ((found.groups == "high") == above.loc[found.groups.index]).all()
    assert found.test["test"] == "chi-squared" and found.test["rule"] == {"cutpoints": [0.5]}
    level = pm.biomarkers.nested_cross_validate(shared, "level", n_splits=3)
    found = stratify(level, shares=[0.5])
    values = shared.obs.loc[found.groups.index, "level"]
    low, high = (values[(found.groups == name).to_numpy()] for name in ("low", "high"))
    assert found.test["statistic"] == pytest.approx(stats.kruskal(low, high)[0])


@pytest.fixture(scope="module")
def null(shared):
    return pm.biomarkers.permutation_null(shared, "os", "clinical", n_permutations=19, clinical=CLINICAL)


def test_a_p_value_takes_a_null(nested, null):
    found = stratify(nested, shares=[0.5], model="clinical", null=null).test
    drawn = []
    for _, table in null.predictions.query("repeat == 0").groupby("permutation"):
        high = table.groupby("fold")["prediction"].transform(lambda part: part.rank() > len(part) / 2)
        drawn.append(multivariate_logrank_test(table["time"], high, table["event"]).test_statistic)
    reached = (np.array(drawn) >= found["statistic"]).sum()
    assert found["p_value"] == pytest.approx((1 + reached) / 20) and found["n_permutations"] == 19
    assert "reason" not in found


def test_a_null_of_something_else_is_refused(nested, null, shared):
    with pytest.raises(DataError, match="model clinical, not elastic_net"):
        stratify(nested, shares=[0.5], null=null)
    other = shared.copy()
    other.obs["os_time"] = other.obs["os_time"].to_numpy()[::-1]
    settings = {"clinical": CLINICAL}
    result = pm.biomarkers.nested_cross_validate(other, "os", ["clinical"], **settings)
    with pytest.raises(DataError, match="other outcomes"):
        stratify(result, shares=[0.5], null=null)
    result = pm.biomarkers.nested_cross_validate(shared, "os", ["clinical"], n_splits=3, **settings)
    with pytest.raises(DataError, match="n_splits 5, not 3"):
        stratify(result, shares=[0.5], null=null)


def test_risk_groups_in_noise_are_seldom_significant():
    """Forty times a cohort with its outcomes exchanged, each judged by the others and by Kruskal's table."""
    rng = np.random.default_rng(0)
    columns = [f"x{i}" for i in range(8)]
    obs = pd.DataFrame(rng.normal(size=(60, 9)), [f"P{i}" for i in range(60)], [*columns, "level"])
    cohort = ad.AnnData(rng.normal(size=(60, 2)), obs=obs)
    settings = {"clinical": columns, "n_splits": 5}
    result = pm.biomarkers.nested_cross_validate(cohort, "level", ["clinical"], **settings)
    null = pm.biomarkers.permutation_null(cohort, "level", "clinical", n_permutations=40, **settings)
    tests = []
    for number in range(40):
        mine = null.predictions["permutation"] == number
        one = replace(result, predictions=null.predictions[mine].assign(model="clinical", row=range(60)))
        others = replace(null, predictions=null.predictions[~mine])
        tests.append(stratify(one, shares=[0.5], null=others).test)
    by_table = stats.chi2.sf([test["statistic"] for test in tests], 1)
    by_permutation = np.array([test["p_value"] for test in tests])
    assert (by_permutation <= 0.1).sum() <= 4
    assert (by_table <= 0.1).sum() >= 8  # which is why it is not told


@pytest.mark.parametrize("rule", [{"cutpoints": "optimal"}, {"shares": "best"}, {"cutpoints": max}])
def test_a_searched_cutpoint_is_refused(nested, rule):
    with pytest.raises(DataError, match=r"significant in noise.*continuous score"):
        stratify(nested, **rule)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({}, "give one rule"),
        ({"shares": [0.5], "cutpoints": [0.1]}, "give one rule"),
        ({"shares": [1.5]}, "between 0 and 1"),
        ({"shares": [0.6, 0.3]}, "must rise"),
        ({"cutpoints": [1e6]}, "no patient falls into high"),
        ({"shares": [0.5], "repeat": 7}, "repeat=7 is not"),
        ({"cutpoints": [[0.1]]}, "must rise"),
        ({"cutpoints": {"a": 1}}, "a list of numbers"),
    ],
)
def test_bad_rules(nested, rule, message):
    with pytest.raises(DataError, match=message):
        stratify(nested, **rule)


def test_the_card_of_a_panel(nested, shared):
    panel = pm.biomarkers.fit_panel(shared[:80].copy(), "os")
    external = pm.biomarkers.external_validation(panel, shared[80:].copy(), "os", n_boot=50)
    subgroups = subgroup_performance(nested, shared, "age", n_boot=50)
    null = pm.biomarkers.permutation_null(shared, "os", n_permutations=3, n_splits=2)
    card = pm.biomarkers.panel_card(
        panel, nested, {"second half": external}, null, subgroups, purpose="Teaching", limitations="Made up"
    )
    assert set(card.missing) == {
        "users", "not_for", "source", "participants", "ethics", "funding", "availability",
    }  # fmt: skip
    text = card.to_markdown()
    assert "second half" in text and "G00" in text and "5 folds, 2 repeats, seed 0" in text
    assert {"calibration", "external", "negative_control"} <= set(pm.biomarkers.panel_card(panel).missing)
