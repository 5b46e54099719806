"""The model predicts lines and patients that it has not seen, says how sure it is, and survives a disk."""

import json
import os
import pickle
import signal
import subprocess
import sys
import warnings

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

import pm_lab as pm
from pm_lab.errors import DataError, PmLabWarning

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


@pytest.fixture
def little(built_in):
    """60 lines × 10 drugs, with every fifth value missing."""
    part = dr.take_drugs(built_in[:60].copy(), built_in.obsm["response"].columns[:10])
    gaps = (np.arange(60)[:, None] * 2 + np.arange(10)) % 5 == 3
    part.obsm["response"] = part.obsm["response"].mask(gaps)
    return part


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
    model = quick().fit(fold.take(built_in, "train+validation"))
    predicted = model.predict_matrix(built_in)
    observed = built_in.obsm["response"].where(fold.test)
    means = dr.MeanEffects().fit(fold.take(built_in, "train+validation")).predict_matrix(built_in)
    assert error_of(predicted, observed) < 0.9 * error_of(means, observed)
    table = model.predict(built_in).pivot(index="line", columns="drug")[["lower", "upper"]]
    table = table.loc[observed.index]
    inside = (observed >= table["lower"]) & (observed <= table["upper"])
    assert inside.to_numpy()[fold.test].mean() == pytest.approx(0.9, abs=0.02)


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
        DataError, match=r"2 of 3 drugs were not in training \(Aspirin, Newdrug\).*Known are 60"
    ):
        fitted.predict(test, drugs=["Aspirin", "DRUG002", "Newdrug"])


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


def test_a_drug_on_few_lines_gets_an_interval_all_the_same(little):
    response = little.obsm["response"].copy()
    response.iloc[6:, 0] = np.nan
    little.obsm["response"] = response
    table = quick().fit(little).predict(little)
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


# On disk


@pytest.fixture
def saved(little, tmp_path):
    model = quick().fit(little)
    return model, little, model.save(tmp_path / "model")


def test_a_saved_model_predicts_the_same(saved):
    model, little, folder = saved
    again = dr.DrugResponseModel.load(folder)
    pd.testing.assert_frame_equal(again.predict(little), model.predict(little))
    pd.testing.assert_frame_equal(again.history_, model.history_)
    assert again.members == 2 and list(again.drugs_) == list(model.drugs_) and len(again.lines_) == 60
    suffixes = {path.suffix for path in folder.iterdir()}
    assert suffixes == {".json", ".safetensors"} and len(list(folder.iterdir())) == 2
    again.save(folder)
    assert len(list(folder.iterdir())) == 2


def change_description(folder, **changes):
    path = folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_models_that_cannot_be_read(saved, tmp_path):
    folder = saved[2]
    numbers = next(folder.glob("*.safetensors"))
    whole, description = numbers.read_bytes(), (folder / "model.json").read_text()

    def refused(match):
        with pytest.raises(DataError, match=match):
            dr.DrugResponseModel.load(folder)
        numbers.write_bytes(whole)
        (folder / "model.json").write_text(description)

    numbers.write_bytes(whole[: len(whole) // 2])
    refused("is not what was saved .* cut off or changed")
    numbers.unlink()
    refused("the numbers of .* cannot be read")
    change_description(folder, version=99)
    refused("format version 99, this pm_lab reads 1: train and save the model again")
    change_description(folder, format="somebody's model")
    refused("is no pm_lab drug response model: its format is")
    change_description(folder, genes=["TP53"])
    refused(r"is damaged: expression has the shape \(60, 2000\) instead of \(60, 1\)")
    change_description(folder, settings={"seed": 0, "layers": 3})
    refused("is damaged: TypeError")
    (folder / "model.json").write_text(description[:100])
    refused("cannot be read: .* Is this the folder of a saved model")
    with pytest.raises(DataError, match="cannot be read"):
        dr.DrugResponseModel.load(tmp_path / "nowhere")


def test_nothing_in_a_model_is_executed(saved, tmp_path):
    import hashlib

    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    folder = saved[2]
    packed = pickle.dumps(Trap())
    next(folder.glob("*.safetensors")).write_bytes(packed)
    change_description(folder, sha256=hashlib.sha256(packed).hexdigest())
    with pytest.raises(DataError, match="is no safetensors file"):
        dr.DrugResponseModel.load(folder)
    assert not (tmp_path / "sprung").exists()


KILLED = """
import os, signal, sys
import anndata
import pm_lab as pm
from pm_lab.drug_response import store

write, calls = store._write, []
def deadly(path, content):
    calls.append(path)
    if len(calls) == 4:  # the numbers of the second checkpoint are written, its description is not
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, content)
store._write = deadly
screen = anndata.read_h5ad(sys.argv[1])
pm.drug_response.DrugResponseModel(members=2, hidden=8, max_epochs=20).fit(screen, resume=sys.argv[2])
"""


def test_killed_in_mid_training_it_ends_with_the_same_numbers(little, tmp_path):
    screen, folder = tmp_path / "screen.h5ad", tmp_path / "checkpoint"
    little.write_h5ad(screen)
    done = subprocess.run([sys.executable, "-c", KILLED, screen, folder], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert json.loads((folder / "model.json").read_text())["epoch"] == 5
    little = anndata.read_h5ad(screen)
    new = little[:9].copy()
    new.obs_names = [f"new{i}" for i in range(9)]
    whole = quick(max_epochs=20).fit(little)
    again = quick(max_epochs=20).fit(little, resume=folder)
    pd.testing.assert_frame_equal(again.predict_matrix(new), whole.predict_matrix(new), rtol=0, atol=0)
    pd.testing.assert_frame_equal(again.history_, whole.history_, rtol=0, atol=0)
    assert json.loads((folder / "model.json").read_text())["epoch"] == 20
    finished = quick(max_epochs=20).fit(little, resume=folder)
    pd.testing.assert_frame_equal(finished.predict_matrix(new), whole.predict_matrix(new), rtol=0, atol=0)


def test_a_checkpoint_is_for_its_data_and_settings(little, tmp_path):
    quick().fit(little, resume=tmp_path)
    with pytest.raises(DataError, match=r"checkpoint of other data or other settings\. Delete"):
        quick(hidden=9).fit(little, resume=tmp_path)
    little.X[0, 0] += 1
    with pytest.raises(DataError, match="checkpoint of other data"):
        quick().fit(little, resume=tmp_path)
    with pytest.raises(DataError, match="is no pm_lab drug response model"):
        dr.DrugResponseModel.load(tmp_path)


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
