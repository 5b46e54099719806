"""benchmarks/drug_response.py and its peers in another Python: with a stand-in for that Python."""

import sys

import drug_response as script
import numpy as np
import pandas as pd
import pytest

import pm_lab as pm

FOREST = "drevalpy_random_forest"
# predicts the mean of each drug over the lines that it may learn from, and refuses to know more
STAND_IN = f"""#!{sys.executable}
import sys
import numpy as np

if sys.argv[2:] == ["--version"]:
    sys.exit(print("0.0 (a stand-in)"))
model, read, write = sys.argv[2:]
fold = np.load(read, allow_pickle=False)
test, learnt_from = fold["test"], ~fold["test"]
assert model == "RandomForest"
assert np.isnan(fold["response"][test]).all() and not fold["validation"][test].any()
assert 0 < fold["validation"].sum() < learnt_from.sum() / 5
assert fold["expression"].shape[0] == len(fold["lines"]) == len(set(fold["lines"]))
assert fold["fingerprints"].shape == (len(fold["drugs"]), 128) and np.isfinite(fold["fingerprints"]).all()
means = np.nanmean(fold["response"][learnt_from], axis=0)
predicted = np.tile(means, (test.sum(), 1))
np.savez(write, predicted=predicted, seconds=7.0, peak_gb=0.5, hyperparameters="none")
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch, built_in):
    """A Python that has a drevalpy of its own; the screen is the built-in one."""
    path = tmp_path / "python"
    path.write_text(STAND_IN, encoding="utf-8")
    path.chmod(0o755)
    monkeypatch.setattr(script, "FOLDER", tmp_path)
    monkeypatch.setattr(pm.datasets, "load", lambda name: built_in)
    return str(path)


def test_without_a_peer_the_script_says_so_and_goes_on(capsys, tmp_path):
    asked = ["network", FOREST]
    assert script.with_peers(asked, None) == ["network"]
    assert "not run; --peer-python names" in capsys.readouterr().out
    assert script.with_peers(asked, str(tmp_path / "absent")) == ["network"]
    assert "does not have it (" in capsys.readouterr().out


def test_a_python_without_drevalpy_is_told_apart(capsys):
    pytest.importorskip("importlib.metadata")
    assert script.with_peers([FOREST], sys.executable) == []
    assert "No package metadata was found for drevalpy" in capsys.readouterr().out


def test_a_peer_learns_from_the_same_pairs_and_stands_in_the_same_table(stand_in, built_in, capsys):
    assert script.with_peers([FOREST], stand_in) == [FOREST]
    assert "0.0 (a stand-in)" in capsys.readouterr().out
    found, intervals = script.results([FOREST], "LCO", [0], stand_in, peer_folds=[0, 1])
    folds = pm.drug_response.folds(built_in, "LCO", seed=0)[:2]
    means = pm.drug_response.benchmark(["drug_mean"], built_in, folds=folds)
    metrics = means.metrics.columns.drop(["model", "seconds", "peak_gb"])
    pd.testing.assert_frame_equal(found[0].metrics[metrics], means.metrics[metrics])
    assert (found[0].metrics["seconds"] == 7).all() and (found[0].metrics["peak_gb"] == 0.5).all()
    assert not len(intervals)
    table, _, _ = script.show(found, intervals, "LCO")
    assert np.isclose(table.at[FOREST, "rmse"], means.metrics["rmse"].mean())


def test_a_peer_on_two_folds_is_compared_on_these():
    ran = [(model, fold) for model in ("network", "pca_ridge") for fold in range(5)]
    metrics = pd.DataFrame([*ran, (FOREST, 0), (FOREST, 1)], columns=["model", "fold"])
    metrics["normalized_pearson"] = [0.50, 0.42, 0.55, 0.49, 0.52, 0.49, 0.43, 0.53, 0.47, 0.51, 0.44, 0.40]
    found = [pm.drug_response.Benchmark(metrics, pd.DataFrame(), "LCO", 0, 0.25)]
    compared = script.compare_network(found)
    assert compared["n_folds"].to_dict() == {"pca_ridge": 5, FOREST: 2}
    assert compared["n_better"].to_dict() == {"pca_ridge": 4, FOREST: 2}
    assert compared["difference"].to_dict() == pytest.approx({"pca_ridge": 0.01, FOREST: 0.04})
