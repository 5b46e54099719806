"""Curves, log-rank, restricted means and cumulative incidence against published and hand-made numbers."""

import numpy as np
import pandas as pd
import pytest

from pm_lab.errors import DataError, PmLabWarning
from pm_lab.survival import cumulative_incidence, kaplan_meier, log_rank, survival_summary

LATE = {"time": "time", "event": "cause", "unit": "years", "censored": 0}


def survival_at(curves, time, group=None):
    part = curves if group is None else curves[curves["group"] == group]
    return part[part["time"] <= time]["survival"].iloc[-1]


def test_freireich_remission_times(leukemia):
    """Kaplan-Meier of 6-MP as in the textbooks: S(6) = 18/21, S(7) = S(6) · 16/17, S(10) = S(7) · 14/15."""
    curves = kaplan_meier(leukemia, "remission", groupby="arm")
    expected = {6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448}
    for week, survival in expected.items():
        assert survival_at(curves, week, "6-MP") == pytest.approx(survival, abs=5e-4)
    for week, left in {1: 19, 4: 14, 8: 8, 12: 4, 22: 1, 23: 0}.items():  # nobody is censored on placebo
        assert survival_at(curves, week, "placebo") == pytest.approx(left / 21)
    six = curves[curves["group"] == "6-MP"].set_index("time")
    assert six.loc[[0, 6, 7, 10, 23], "at_risk"].tolist() == [21, 21, 17, 15, 6]
    assert six["events"].sum() == 9 and six["censored"].sum() == 12
    # Log-log interval at week 10 by hand: Greenwood's sum is 3/(21·18) + 1/(17·16) + 1/(15·14).
    error = np.sqrt(3 / (21 * 18) + 1 / (17 * 16) + 1 / (15 * 14)) / abs(np.log(0.7529412))
    bounds = 0.7529412 ** np.exp(np.array([1, -1]) * 1.959964 * error)
    assert six.loc[10, ["lower", "upper"]].tolist() == pytest.approx(bounds, abs=1e-5)
    assert curves.attrs["unit"] == "weeks"
    last = curves[curves["group"] == "placebo"].iloc[-1]
    assert last["survival"] == 0 and np.isnan(last["lower"])


def test_log_rank_of_freireich(leukemia):
    """Chi-squared 16.79 and, weighted, 13.46, 15.12 and 14.08, as published for these data.

    Kleinbaum and Klein, Survival Analysis, a self-learning text, chapter 2; of Fleming-Harrington with p = 1
    and q = 0 R's survdiff(rho = 1) prints 14.5.
    """
    test = log_rank(leukemia, "remission", "arm").iloc[0]
    assert test["statistic"] == pytest.approx(16.793, abs=1e-3)
    assert test["degrees_of_freedom"] == 1 and test["pvalue"] == pytest.approx(4.17e-5, rel=1e-2)
    for weighting, statistic in {"wilcoxon": 13.458, "tarone-ware": 15.124, "peto": 14.084}.items():
        weighted = log_rank(leukemia, "remission", "arm", weighting).iloc[0]
        assert weighted["statistic"] == pytest.approx(statistic, abs=1e-3)
        assert weighted["test"] == f"{weighting} weighted log-rank"
    late = log_rank(leukemia, "remission", "arm", "fleming-harrington", p=0, q=1)["statistic"].iloc[0]
    early = log_rank(leukemia, "remission", "arm", "fleming-harrington", p=1, q=0)["statistic"].iloc[0]
    assert early == pytest.approx(14.457, abs=1e-3) and late != early
    with pytest.raises(DataError, match="the exponents of Fleming-Harrington are 0 or more"):
        log_rank(leukemia, "remission", "arm", "fleming-harrington", p=-1)
    with pytest.raises(DataError, match="'gehan' is not known"):
        log_rank(leukemia, "remission", "arm", "gehan")
    with pytest.raises(DataError, match="one group only"):
        log_rank(leukemia.assign(arm="a"), "remission", "arm")


def test_medians_and_restricted_means_of_freireich(leukemia):
    table = survival_summary(leukemia, "remission", groupby="arm", horizon=20).set_index("group")
    assert table["median"].tolist() == [23, 8] and table["median_upper"].tolist() == [np.inf, 11]
    # By hand on placebo, where nobody is censored by week 20: the mean of min(weeks, 20), and its error with
    # the variance's denominator n.
    weeks = leukemia.loc[leukemia["arm"] == "placebo", "weeks"].clip(upper=20)
    assert table.loc["placebo", "rmst"] == pytest.approx(weeks.mean())
    half = (table.loc["placebo", "rmst_upper"] - table.loc["placebo", "rmst_lower"]) / 2
    assert half == pytest.approx(1.959964 * weeks.std(ddof=0) / np.sqrt(21), rel=1e-6)
    # By hand on 6-MP: areas under the steps up to week 20.
    steps = {0: 1, 6: 6 / 7, 7: 0.8067227, 10: 0.7529412, 13: 0.6901961, 16: 0.6274510}
    widths = np.diff([*steps, 20])
    assert table.loc["6-MP", "rmst"] == pytest.approx(np.dot(list(steps.values()), widths), abs=1e-5)
    difference = table.loc["placebo", "rmst"] - table.loc["6-MP", "rmst"]
    assert table.loc["placebo", "rmst_difference"] == pytest.approx(difference)
    assert np.isnan(table.loc["6-MP", "rmst_difference"]) and np.isnan(table.loc["placebo", "follow_up"])
    with pytest.raises(DataError, match="'6-MP' was followed up to 35 only"):
        survival_summary(leukemia, "remission", groupby="arm", horizon=40)
    assert survival_summary(leukemia, "remission", groupby="arm").attrs["horizon"] == 23


def test_restricted_means_of_lung_cancer_equal_those_of_r():
    """R's survfit(Surv(time, status) ~ sex, lung): men 326.0841, se 22.91156, up to their last day, 1022."""
    from lifelines.datasets import load_lung

    lung, spec = load_lung(), {"time": "time", "event": "status", "unit": "days"}
    men = survival_summary(lung[lung["sex"] == 1], spec).iloc[0]
    assert men["rmst"] == pytest.approx(326.0841, abs=1e-4)
    assert (men["rmst_upper"] - men["rmst"]) / 1.959964 == pytest.approx(22.91156, abs=1e-4)
    both = survival_summary(lung, spec, groupby="sex", horizon=900).set_index("group")
    women, men = both.loc["2"], both.loc["1"]
    errors = [(row["rmst_upper"] - row["rmst"]) / 1.959964 for row in (men, women)]
    assert women["rmst_difference"] == pytest.approx(women["rmst"] - men["rmst"])
    reach = 1.959964 * np.hypot(*errors)
    assert women["difference_lower"] == pytest.approx(women["rmst_difference"] - reach)
    assert women["difference_lower"] > 0 and women["difference_pvalue"] < 0.01


def test_left_truncated_estimate_by_hand(late):
    """At risk are those with entry < t <= time. t=2: a, b, e, f; t=4: b-f; t=5: c-f; t=6: d-f; t=8: f."""
    curves = kaplan_meier(late, LATE | {"entry": "entry"}).set_index("time")
    assert curves.loc[[2, 4, 5, 6, 8], "at_risk"].tolist() == [4, 5, 4, 3, 1]
    expected = [3 / 4, 3 / 4 * 4 / 5, 3 / 4 * 4 / 5 * 3 / 4, 3 / 4 * 4 / 5 * 3 / 4 * 2 / 3, 0]
    assert curves.loc[[2, 4, 5, 6, 8], "survival"].tolist() == pytest.approx(expected)
    ignored = kaplan_meier(late, LATE).set_index("time")
    assert ignored.loc[2, "survival"] == pytest.approx(5 / 6)  # too high: c and d were not yet at risk


def test_left_truncated_log_rank_by_hand(late):
    observed = expected = variance = 0.0
    for t in (2, 4, 5, 6, 8):
        at_risk = late[(late["entry"] < t) & (late["time"] >= t)]
        share = at_risk["x"].mean()
        observed += late.loc[late["time"] == t, "x"].iloc[0]
        expected, variance = expected + share, variance + share * (1 - share)
    test = log_rank(late, LATE | {"entry": "entry"}, "x")["statistic"].iloc[0]
    assert test == pytest.approx((observed - expected) ** 2 / variance)
    with pytest.raises(DataError, match="'peto' cannot be had with left truncation"):
        log_rank(late, LATE | {"entry": "entry"}, "x", "peto")


def test_risk_set_that_empties_early_is_refused(late):
    first = pd.DataFrame({"entry": [0.0], "time": [1.0], "cause": [1], "x": [0.0]}, index=["z"])
    early = pd.concat([first, late.assign(entry=late["entry"] + 1.5, time=late["time"] + 5)])
    with pytest.raises(DataError, match="First to enter: z, a, b"):
        kaplan_meier(early, LATE | {"entry": "entry"})
    last = late.assign(time=[2.0, 4, 5, 6, 7, 9], entry=[0.0, 0, 2, 3, 0, 8], cause=[1, 1, 1, 1, 1, 0])
    with pytest.raises(DataError, match="nobody was left at risk"):
        kaplan_meier(last, LATE | {"entry": "entry"})


def test_competing_risks_by_hand(late):
    """Aalen-Johansen: the sum over event times of S(t-) d / n, S being that of either cause."""
    table = cumulative_incidence(late, LATE).set_index(["cause", "time"])
    # 6 at risk at 2, 5 at 4, 4 at 5, 3 at 6, (7 censored), 1 at 8; S before: 1, 5/6, 4/6, 3/6, 2/6.
    first = [1 / 6, 1 / 6 + 4 / 6 / 4, 1 / 6 + 4 / 6 / 4 + 3 / 6 / 3]
    assert table.loc["1"].loc[[2, 5, 6], "incidence"].tolist() == pytest.approx(first)
    assert table.loc["2"].loc[[4, 8], "incidence"].tolist() == pytest.approx([1 / 6, 1 / 6 + 2 / 6])
    total = table["incidence"].unstack(0).sum(axis=1)
    either = kaplan_meier(late, LATE).set_index("time")["survival"]
    assert total.to_numpy() == pytest.approx(1 - either.loc[total.index].to_numpy())
    assert table.loc[("1", 2.0), "lower"] > 0 and np.isnan(table.loc[("2", 2.0), "lower"])


def test_competing_risks_with_left_truncation_and_ties_by_hand(late):
    table = cumulative_incidence(late, LATE | {"entry": "entry"}).set_index(["cause", "time"])["incidence"]
    # S before the events: 1, .75, .6, .45, .3; at risk 4, 5, 4, 3, 1.
    assert table["1"].loc[[2, 5, 6]].tolist() == pytest.approx([0.25, 0.25 + 0.15, 0.4 + 0.15])
    assert table["2"].loc[[4, 8]].tolist() == pytest.approx([0.15, 0.15 + 0.3])
    tied = late.assign(time=[2.0, 5, 5, 6, 7, 8])  # b and c at 5, of different causes; at risk b-f
    table = cumulative_incidence(tied, LATE | {"entry": "entry"}).set_index(["cause", "time"])["incidence"]
    assert [table["1"][5], table["2"][5]] == pytest.approx([0.25 + 0.75 / 5, 0.75 / 5])


def test_competing_risks_without_truncation_agree_with_late_entry_of_nobody(breast):
    rng = np.random.default_rng(0)
    obs = breast.obs.assign(zero=-0.0, cause=np.where(breast.obs["dmfs_event"], rng.integers(1, 3, 198), 0))
    spec = {"time": "dmfs_time", "event": "cause", "unit": "days", "censored": 0}
    plain = cumulative_incidence(obs, spec).set_index(["cause", "time"])["incidence"]
    entered = cumulative_incidence(obs, spec | {"entry": "zero"}).set_index(["cause", "time"])["incidence"]
    assert entered.loc[plain.index].to_numpy() == pytest.approx(plain.to_numpy())


def test_a_cause_that_one_group_lacks(late):
    table = cumulative_incidence(late, LATE, groupby="x")
    lacking = table.query("group == '0' and cause == '1'")  # b and f have cause 2, e is censored
    assert len(lacking) and (lacking["incidence"] == 0).all() and lacking["events"].sum() == 0
    there = table.query("group == '0' and cause == '2'").set_index("time")
    assert there.loc[[4, 7, 8], "incidence"].tolist() == pytest.approx([1 / 3, 1 / 3, 1])
    curve = kaplan_meier(late[late["x"] == 0], LATE).set_index("time")
    assert there.loc[4, ["lower", "upper"]].tolist() == pytest.approx(
        (1 - curve.loc[4, ["upper", "lower"]]).tolist()
    )
    with pytest.raises(DataError, match="one cause only"):
        cumulative_incidence(late.assign(cause=[1, 1, 1, 0, 0, 1]), LATE)


def test_competing_events_censored_in_kaplan_meier_are_warned_of(late):
    with pytest.warns(PmLabWarning, match="2 patients have a competing event"):
        curves = kaplan_meier(late, LATE | {"of_interest": 1})
    assert curves["events"].sum() == 3


def test_groups(bulk):
    curves = kaplan_meier(bulk, "os", groupby="stage")
    assert list(dict.fromkeys(curves["group"])) == ["I", "II", "III"]
    sizes = curves[curves["time"] == 0].set_index("group")["at_risk"]
    assert sizes.to_dict() == bulk.obs["stage"].value_counts().to_dict()
    with pytest.raises(DataError, match="too many for curves"):
        kaplan_meier(bulk, "os", groupby="age")
    bulk.obs["stage"] = bulk.obs["stage"].where(bulk.obs["stage"] != "I")
    with pytest.raises(DataError, match=r"'stage' \(groupby\) is missing for 36 of 120"):
        kaplan_meier(bulk, "os", groupby="stage")
