"""Subgroups in which a model is worse are named; cutpoints are declared, not searched for."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import pm_lab as pm
from pm_lab.errors import DataError

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
    from lifelines.statistics import multivariate_logrank_test

    obs = shared.obs.loc[found.groups.index]
    expected = multivariate_logrank_test(obs["os_time"], found.groups.to_numpy(), obs["os_event"])
    assert found.test["p_value"] == pytest.approx(expected.p_value) and found.test["p_value"] < 0.01


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
    assert found.test["p_value"] == pytest.approx(stats.kruskal(low, high)[1])


@pytest.mark.parametrize("rule", [{"cutpoints": "optimal"}, {"shares": "best"}])
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
