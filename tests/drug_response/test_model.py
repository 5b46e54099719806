"""The model predicts lines and patients that it has not seen, and says how sure it is."""

import warnings

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_matrix

import pm_lab as pm
from pm_lab.errors import DataError, PmLabError, PmLabWarning

dr = pm.drug_response
SMALL = {"members": 4, "hidden": 64, "max_epochs": 30}


@pytest.fixture(scope="module")
def parts(built_in):
    """A fold of the built-in screen: lines to learn from, and 60 lines without their responses."""
    fold = dr.folds(built_in, "LCO")[0]
    training, test = fold.take(built_in, "train+validation"), fold.take(built_in, "test")
    observed = test.obsm.pop("response")
    return training, test, observed


@pytest.fixture(scope="module")
def fitted(parts):
    return dr.DrugResponseModel(**SMALL).fit(parts[0])


def quick(**options):
    return dr.DrugResponseModel(**{"members": 2, "hidden": 8, "max_epochs": 10, **options})


def error_of(predicted, observed):
    return float(np.sqrt(np.nanmean((predicted - observed).to_numpy() ** 2)))


# Predictions


def test_new_lines_are_predicted_better_than_by_the_mean_and_by_ridge(parts, fitted):
    training, test, observed = parts
    predicted = fitted.predict_matrix(test)
    assert predicted.index.equals(observed.index) and predicted.columns.equals(observed.columns)
    mean = dr.DrugMean().fit(training).predict_matrix(test)
    ridge = dr.PCARidge().fit(training).predict_matrix(test)
    assert error_of(predicted, observed) < error_of(ridge, observed) < 0.95 * error_of(mean, observed)


def test_a_pair_left_out_is_predicted_from_other_responses_of_its_line(built_in):
    fold = dr.folds(built_in, "LPO")[0]
    model = dr.DrugResponseModel(**SMALL).fit(fold.take(built_in, "train+validation"))
    predicted = model.predict_matrix(built_in)
    observed = built_in.obsm["response"].where(fold.test)
    training = fold.take(built_in, "train+validation")
    means, ridge = (
        baseline.fit(training).predict_matrix(built_in) for baseline in (dr.MeanEffects(), dr.KernelRidge())
    )
    assert error_of(predicted, observed) < 0.95 * error_of(ridge, observed) < error_of(means, observed)
    scores = [dr.score_responses(observed, found, means) for found in (predicted, ridge)]
    assert scores[0]["normalized_pearson"] > scores[1]["normalized_pearson"]
    table = model.predict(built_in).pivot(index="line", columns="drug")[["lower", "upper"]]
    table = table.loc[observed.index]
    inside = (observed >= table["lower"]) & (observed <= table["upper"])
    assert inside.to_numpy()[fold.test].mean() == pytest.approx(0.9, abs=0.02)


def test_a_line_with_few_responses_is_predicted_from_them_and_from_its_genes(built_in):
    """Four responses a line: they alone say little, genes more, both together most."""
    rng = np.random.default_rng(0)
    part, whole = built_in.copy(), built_in.obsm["response"]
    hidden = np.zeros(whole.shape, bool)
    for line in range(60):
        known = np.flatnonzero(whole.iloc[line].notna())
        hidden[line, rng.permutation(known)[4:]] = True
    part.obsm["response"] = whole.mask(hidden)
    observed = whole.where(hidden)
    model = quick(hidden=32, max_epochs=20).fit(part)
    both = model.predict_matrix(part)
    by_responses = dr.MeanEffects().fit(part).predict_matrix(part)
    part.obs_names = [f"{name} again" for name in part.obs_names]
    by_genes = model.predict_matrix(part).set_axis(both.index)
    assert error_of(both, observed) < 0.99 * error_of(by_genes, observed)
    assert error_of(both, observed) < 0.95 * error_of(by_responses, observed)


def test_a_line_of_training_is_not_predicted_by_its_own_value(little):
    """One value is made absurd: the others of its line move with it, itself least of all."""
    other = little.copy()
    response = other.obsm["response"].copy()
    response.iloc[7, 2] += 8.0
    other.obsm["response"] = response
    moved = quick().fit(other).predict_matrix(other) - quick().fit(little).predict_matrix(little)
    assert abs(moved.iloc[7, 2]) < 8.0 / 4


def test_responses_of_what_is_predicted_are_never_used(parts, fitted):
    _, test, observed = parts
    told = test.copy()
    told.obsm["response"] = observed
    pd.testing.assert_frame_equal(fitted.predict_matrix(told), fitted.predict_matrix(test))


def test_a_drug_that_was_not_in_training(parts, fitted):
    _, test, _ = parts
    table = pd.DataFrame({"cid": "", "smiles": ""}, index=["Newdrug", "DRUG002"])
    predicted = fitted.predict_matrix(test, table)
    every = fitted.predict_matrix(test)
    assert list(predicted.columns) == ["Newdrug", "DRUG002"]
    np.testing.assert_allclose(predicted["Newdrug"], every.mean(axis=1))
    pd.testing.assert_series_equal(predicted["DRUG002"], every["DRUG002"])
    with pytest.raises(
        DataError, match=r"2 of 3 drugs were not in training \(Aspirin, Newdrug\).*model.drugs_ names the 60"
    ):
        fitted.predict(test, drugs=["Aspirin", "DRUG002", "Newdrug"])


def test_structures_of_drugs(little):
    """Where a drug's response follows its structure, a drug that was not in training follows it as well."""
    smiles = ["CCCCCCCO", "CCCCCCCCO", "CCCCCCCCCO", "CCCCCCCCCCO", "CCCCCCCCCCCO"]
    rings = ["c1ccccc1C(=O)N", "c1ccccc1C(=O)NC", "c1ccc(F)cc1C(=O)N", "c1ccc(Cl)cc1C(=O)N", "c1ccccc1C(N)=S"]
    response = little.obsm["response"]
    signal = np.linalg.svd(little.X - little.X.mean(axis=0))[0][:, 0] * 15  # a pattern of many genes, SD 2
    sign = np.repeat([1.0, -1.0], 5)
    noise = np.random.default_rng(0).normal(0, 0.3, response.shape)
    level = noise + signal[:, None] * sign + 1.0
    little.obsm["response"] = pd.DataFrame(level, response.index, response.columns)
    little.uns["drugs"] = little.uns["drugs"].loc[response.columns].assign(smiles=smiles + rings)
    new = pd.DataFrame({"smiles": ["CCCCCCCCCCCCO", "c1ccc(Br)cc1C(=O)N", ""]}, index=["chain", "ring", "?"])
    model = quick(hidden=32, max_epochs=40).fit(little)
    found = model.predict_matrix(little, new)
    assert np.corrcoef(found["chain"] - found["?"], signal)[0, 1] > 0.5
    assert np.corrcoef(found["ring"] - found["?"], signal)[0, 1] < -0.5
    mean = model.predict_matrix(little).mean(axis=1)
    np.testing.assert_allclose(found["?"], mean)
    without = quick(hidden=32, max_epochs=40, fingerprints=False).fit(little).predict_matrix(little, new)
    np.testing.assert_allclose(without["chain"], without["?"])


def test_smiles_that_cannot_be_parsed_are_named_and_the_others_used(little):
    little.uns["drugs"] = little.uns["drugs"].copy()
    little.uns["drugs"].loc["DRUG003", "smiles"] = "no structure"
    with pytest.warns(
        PmLabWarning, match=r"1 of 10 SMILES cannot be parsed \(DRUG003: no structure\)"
    ) as seen:
        model = quick().fit(little)
    assert len(seen) == 1 and np.isfinite(model.predict_matrix(little)).all(axis=None)


def test_equal_seeds_give_equal_numbers(little):
    one, same, other = (quick(seed=seed).fit(little).predict_matrix(little[:5]) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(one, same)
    new = little[:5].copy()
    new.obs_names = [f"new{i}" for i in range(5)]
    left, right = (quick(seed=seed).fit(little).predict_matrix(new) for seed in (0, 1))
    assert 0 < np.abs(left - right).to_numpy().max() < 1 and other.shape == one.shape


def test_lines_without_expression_teach_what_drugs_have_in_common(little, built_in):
    """Two drugs that are alike are so in lines that nobody sequenced alone."""
    rng = np.random.default_rng(0)
    response = little.obsm["response"].copy()
    response.iloc[:, 1] = response.iloc[:, 1].where(np.arange(60) < 6)
    response.iloc[:, 0] = response.iloc[:, 0].where(np.arange(60) >= 6, response.iloc[:, 0].mean())
    little.obsm["response"] = response
    names = [f"Z{i}" for i in range(200)]
    shared = rng.normal(0, 2, (200, 1))
    rest = response.mean().to_numpy() + rng.normal(0, 0.3, (200, 10)) + shared * [1, 1, *[0] * 8]
    little.uns["response_only"] = {
        "obs": pd.DataFrame({"tissue": "skin"}, index=names),
        "response": pd.DataFrame(rest, index=names, columns=response.columns),
    }
    with_rest = quick().fit(little).predict_matrix(little)
    del little.uns["response_only"]
    without = quick().fit(little).predict_matrix(little)
    gap = response.iloc[:, 1].isna() & response.iloc[:, 0].notna()
    first = response.loc[gap, response.columns[0]]
    together = [np.corrcoef(found.loc[gap].iloc[:, 1], first)[0, 1] for found in (with_rest, without)]
    assert together[0] > 0.8 > together[1]


# Validation


def whole_lines(screen, lines):
    return np.repeat(np.asarray(lines)[:, None], screen.obsm["response"].shape[1], axis=1)


def test_validation_says_what_is_left_out_together(little):
    """Of whole tissues: networks and penalties are judged on tissues that they did not see."""
    tissue = little.obs["tissue"].to_numpy()
    together = whole_lines(little, tissue == tissue[0])
    each, lines, tissues = (
        quick().fit(little, validation).history_["validation_loss"]
        for validation in (None, whole_lines(little, np.arange(60) < 6), together)
    )
    pd.testing.assert_series_equal(each, lines)  # lines are what is left out otherwise
    assert (each != tissues).all()


def test_no_line_of_a_tissue_is_judged_by_what_saw_the_tissue(little):
    """All lines of a tissue but one are given another response, which nothing about the line tells: of
    the one left it is expected where lines are left out, and not where tissues are."""
    lines = np.flatnonzero(little.obs["tissue"] == "breast")
    response = little.obsm["response"].copy()
    response.iloc[lines[1:]] += 6.0
    little.obsm["response"] = response
    together = whole_lines(little, little.obs["tissue"] == "skin")
    left_out = [quick().fit(little, validation)._learnt.left_out for validation in (None, together)]
    level = [found[lines[0]].mean() - response.iloc[lines[0]].mean() for found in left_out]
    assert level[0] > level[1] + 0.3


def test_validation_that_does_not_fit(little):
    with pytest.raises(DataError, match=r"validation is int64 of shape \(3,\): booleans of the shape"):
        quick().fit(little, validation=np.arange(3))
    with pytest.raises(DataError, match="some must be, and some must be left to learn from"):
        quick().fit(little, validation=whole_lines(little, np.ones(60, bool)))


# What a user sees


def test_intervals_hold_what_they_promise(parts, fitted):
    _, test, observed = parts
    widths = {}
    for coverage in (0.5, 0.9):
        table = fitted.predict(test, coverage=coverage, align="none").set_index(["patient", "drug"])
        seen = observed.stack().rename_axis(["patient", "drug"]).rename("observed")
        both = table.join(seen, how="inner")
        inside = both["observed"].between(both["lower"], both["upper"])
        assert inside.mean() == pytest.approx(coverage, abs=0.03)
        widths[coverage] = both["upper"] - both["lower"]
    assert (widths[0.5] < widths[0.9]).all()
    with pytest.raises(DataError, match=r"coverage=90: a share below 1 and above 0"):
        fitted.predict(test, coverage=90)


def test_percentiles_place_among_the_lines_of_training(parts, fitted):
    """Lines like those of training are everywhere between the first and the last of them."""
    table = fitted.predict(parts[1], drugs=["DRUG003", "DRUG001"], align="none")
    assert set(table["drug"]) == {"DRUG001", "DRUG003"} and len(table) == 120
    for _, of_drug in table.groupby("drug"):
        assert 35 < of_drug["percentile"].mean() < 65
        order = of_drug.sort_values("ln_ic50")["percentile"]
        assert order.is_monotonic_increasing


def test_percentiles_of_the_lines_of_training_are_spread_evenly(parts, fitted):
    """They are predicted with their responses and so further apart than new lines: each is among its like."""
    of_known = fitted.predict(parts[0])["percentile"]
    assert abs((of_known < 2).mean() - 0.02) < 0.005
    assert abs((of_known >= 98).mean() - 0.02) < 0.005


def test_arguments_that_name_nothing_are_refused(parts, fitted):
    for drugs, says in (([], "drugs is empty"), (5, "names of drugs"), (["DRUG001"] * 2, "more than once")):
        with pytest.raises(DataError, match=says):
            fitted.predict(parts[1], drugs=drugs, align="none")
    for seed in (-1, 1.5, None, "a", True, 2**62):
        with pytest.raises(DataError, match="seed="):
            quick(seed=seed).fit(parts[0])


def test_a_cohort_has_patients_and_lines_and_a_matrix_is_of_lines(fitted):
    cohort = pm.datasets.simulate_cohort(n_cells=240, n_lines=40, n_drugs=4)
    with pytest.raises(DataError, match=r"call predict\(cohort\), which aligns them"):
        fitted.predict_matrix(cohort)


@pytest.mark.parametrize("n_lines", [6, 3])
def test_a_drug_on_few_lines_gets_an_interval_all_the_same(little, n_lines):
    response = little.obsm["response"].copy()
    tested = response.iloc[:, 0].dropna().index[:n_lines]
    response.iloc[~response.index.isin(tested), 0] = np.nan
    little.obsm["response"] = response
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", PmLabWarning)
        model = quick().fit(little)
    said = [str(one.message) for one in seen if one.category is PmLabWarning]
    if n_lines == 3:
        assert len(said) == 1 and "1 drugs were measured on fewer than 5 lines (DRUG001: 3)" in said[0]
        assert "drop_unusable_drugs" in said[0]
    else:
        assert said == []
    table = model.predict(little)
    assert "line" in table and np.isfinite(table[["lower", "upper"]]).all(axis=None)


def test_areas_stay_areas(little):
    little.obsm["response"] = 1 / (1 + np.exp(-little.obsm["response"]))
    little.uns["response_measure"] = "auc"
    table = quick().fit(little).predict(little)
    assert "auc" in table and "ln_ic50" not in table and table["auc"].between(-0.2, 1.2).all()


# Inputs


def test_genes_in_another_order_and_sparse(parts, fitted):
    test = parts[1]
    turned = test[:, ::-1].copy()
    turned.X = csr_matrix(turned.X)
    np.testing.assert_allclose(fitted.predict_matrix(turned), fitted.predict_matrix(test), atol=1e-5)


def test_missing_genes(parts, fitted):
    test = parts[1]
    with pytest.warns(PmLabWarning, match=r"200 of the 2,000 genes of training are absent \(.*average"):
        found = fitted.predict_matrix(test[:, 200:].copy())
    assert np.corrcoef(found.to_numpy().ravel(), fitted.predict_matrix(test).to_numpy().ravel())[0, 1] > 0.95
    with pytest.raises(DataError, match=r"1,300 of the 2,000 genes of training are there, .* least 70%"):
        fitted.predict_matrix(test[:, 700:].copy())


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda x: np.round(2**x - 1), "whole numbers only"),
        (lambda x: x * np.log(2), "natural logarithm"),
        (lambda x: np.where(x > 9, np.nan, x), "NaN"),
    ],
    ids=["counts", "ln", "NaN"],
)
def test_expression_on_another_scale(parts, fitted, change, match):
    test = parts[1].copy()
    test.X = change(test.X.astype(float))
    with pytest.raises(DataError, match=match):
        fitted.predict(test)


def test_genes_that_occur_twice(parts, fitted):
    test = parts[1].copy()
    test.var_names = [test.var_names[1], *test.var_names[1:]]
    with pytest.raises(DataError, match="1 var names occur more than once"):
        fitted.predict(test)


def test_tissues_may_be_unknown(parts, fitted):
    test = parts[1].copy()
    del test.obs["tissue"]
    without = fitted.predict_matrix(test)
    test.obs["tissue"] = "a tissue of its own"
    pd.testing.assert_frame_equal(fitted.predict_matrix(test), without)


def test_modalities_may_lack_lines(little):
    rng = np.random.default_rng(0)
    little.obsm["mutation"] = rng.integers(0, 2, (60, 4)).astype(np.float32)
    little.obsm["mutation"][:9] = np.nan
    little.uns["features"] = {"mutation": ["KRAS", "TP53", "BRAF", "PTEN"]}
    model = quick(modalities=["mutation"]).fit(little)
    new = little.copy()
    new.obs_names = [f"new{i}" for i in range(60)]
    told = model.predict_matrix(new)
    del new.obsm["mutation"]
    with pytest.warns(PmLabWarning, match=r"learnt from mutation \(4 features\), which 0 of 60 rows have"):
        untold = model.predict_matrix(new)
    assert np.isfinite(told).all(axis=None)
    change = np.abs(told - untold).to_numpy().max(axis=1)
    assert (change[:9] < 1e-6).all() and (change[9:] > 1e-4).all()


def test_constant_genes_say_nothing(little):
    little.X[:, 3] = 5.0
    model = quick().fit(little)
    new = anndata.AnnData(
        little.X.copy(), var=little.var, obs=pd.DataFrame(index=[f"n{i}" for i in range(60)])
    )
    before = model.predict_matrix(new)
    new.X[:, 3] = 9.0
    pd.testing.assert_frame_equal(model.predict_matrix(new), before)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"members": 1}, "members=1: a whole number of at least 2"),
        ({"members": 40}, r"60 lines; 40 networks .* need 160 at least"),
        ({"modalities": ["proteome"]}, r"modalities=\['proteome'\]: a list of some of copy_number"),
        ({"modalities": "mutation"}, "modalities='mutation': a list"),
        ({"modalities": ["mutation"]}, "no modality 'mutation'; it has none"),
        ({"device": "gpu"}, "device='gpu' is none"),
    ],
)
def test_settings_that_cannot_be(little, options, match):
    with pytest.raises(DataError, match=match):
        quick(**options).fit(little)


def test_screens_that_cannot_be_learnt_from(little):
    spoilt = little.copy()
    spoilt.obsm["response"] = spoilt.obsm["response"].assign(DRUG002=1.5)
    with pytest.raises(DataError, match="1 drugs have the same value on every line"):
        quick().fit(spoilt)
    with pytest.raises(DataError, match=r"call fit\(screen\) or load\(folder\) first"):
        quick().predict(little)


@pytest.mark.parametrize(
    ("where", "error"),
    [
        (
            "pm_lab.drug_response.network.DrugResponseNet.forward",
            torch.OutOfMemoryError("CUDA out of memory"),
        ),
        ("pm_lab.drug_response.kernel_path.fill_responses", MemoryError("Unable to allocate 9.9 GiB")),
        (
            "pm_lab.drug_response.kernel_path.LineKernel.learn",
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes"),
        ),
    ],
    ids=["torch", "numpy", "torch on the CPU"],
)
def test_too_little_memory_is_said_with_what_to_do(little, monkeypatch, where, error):
    def full(*_, **__):
        raise error

    monkeypatch.setattr(where, full)
    said = (
        r"cpu has too little memory for 2 networks of 8 hidden units\. Pass fewer of either, "
        r"Drug.*\(members=2, hidden=4\), or .* genes\."
    )
    with pytest.raises(PmLabError, match=said):
        quick(device="cpu").fit(little)


@pytest.mark.parametrize("call", ["predict", "predict_matrix"])
@pytest.mark.parametrize(
    ("where", "error"),
    [
        ("pm_lab.drug_response.network.DrugResponseNet.forward", torch.OutOfMemoryError("out of memory")),
        ("pm_lab.drug_response.network.DrugResponseNet.forward", RuntimeError("can't allocate memory: 99")),
        ("pm_lab.drug_response.kernel_path.LineKernel.between", MemoryError("Unable to allocate 9.9 GiB")),
    ],
    ids=["torch", "torch on the CPU", "numpy"],
)
def test_too_little_memory_at_prediction_is_said_with_what_to_do(
    parts, fitted, monkeypatch, call, where, error
):
    def full(*_, **__):
        raise error

    monkeypatch.setattr(where, full)
    said = r"too little memory to predict 5 rows and 60 drugs at once\. Predict the rows in parts"
    with pytest.raises(PmLabError, match=said):
        getattr(fitted, call)(parts[1][:5].copy())


def test_other_errors_are_not_taken_for_too_little_memory(little, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr("pm_lab.drug_response.network.DrugResponseNet.forward", broken)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        quick().fit(little)


# Real data


def test_gdsc1_lines_left_out(gdsc1):
    """Above kernel ridge tuned within training, which reaches .494 on these lines."""
    fold = dr.folds(gdsc1, "LCO")[0]
    training, test = fold.take(gdsc1, "train+validation"), fold.take(gdsc1, "test")
    observed = test.obsm.pop("response")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predicted = dr.DrugResponseModel(members=4, hidden=128).fit(training).predict_matrix(test)
    means = dr.MeanEffects().fit(training).predict_matrix(test)
    scores = dr.score_responses(observed, predicted, means)
    assert scores["normalized_pearson"] > 0.50 and scores["rmse"] < 1.26
