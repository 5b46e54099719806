"""What external validation says of a panel and of a given score: the same columns, whatever is missing."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest

import pm_lab as pm
from pm_lab.errors import DataError, DesignError, PmLabWarning

external_validation, signature_score = pm.biomarkers.external_validation, pm.biomarkers.signature_score


@pytest.fixture(scope="module")
def parts(shared):
    return shared[:80].copy(), shared[80:].copy()


@pytest.fixture(scope="module")
def of_a_panel(parts):
    return external_validation(pm.biomarkers.fit_panel(parts[0], "level"), parts[1], "level", n_boot=20)


def test_tables_have_their_columns_when_nothing_is_missing(of_a_panel, parts):
    assert of_a_panel.missing.empty and list(of_a_panel.missing.columns) == ["weight"]
    assert of_a_panel.mapping.index.name == of_a_panel.missing.index.name == "gene"
    assert (of_a_panel.mapping["probes"] == of_a_panel.mapping.index).all()
    assert of_a_panel.table.attrs == {"outcome": "level", "scale": "panel", "match": "name"}
    given = external_validation(parts[1].obs["age"], parts[1], "level", n_boot=20)
    for name in ("table", "missing", "mapping"):
        one, other = getattr(given, name), getattr(of_a_panel, name)
        pd.testing.assert_index_equal(one.columns, other.columns)
        assert one.dtypes.astype(str).tolist() == other.dtypes.astype(str).tolist()
        assert one.index.name == other.index.name
    row = given.table.iloc[0]
    assert row[["n_genes", "n_measured", "weight_measured", "calibration_slope"]].isna().all()
    assert given.missing.empty and given.mapping.empty and given.table.attrs == {"outcome": "level"}


def test_a_signature_carries_what_it_lacks(parts):
    genes = [*parts[1].var_names[:6], "X1", "X2"]
    signature = pd.DataFrame(
        {
            "probe": genes,
            "NCBI.gene.symbol": "",
            "EntrezGene.ID": pd.Series([pd.NA] * 8, dtype="Int64"),
            "average.good.prognosis.profile": np.linspace(-1, 1, 8),
        }
    )
    score = signature_score(parts[1], signature)
    result = external_validation(score.rename("published"), parts[1], "level", n_boot=20)
    assert result.table.loc["published", ["n_genes", "n_measured"]].tolist() == [8, 6]
    assert result.missing.index.tolist() == ["X1", "X2"] and result.missing["weight"].isna().all()


def test_scores_that_cannot_be_judged(parts, of_a_panel):
    age = parts[1].obs["age"]
    with pytest.raises(DataError, match=r"names 1 patients more than once \(P080\)"):
        external_validation(pd.concat([age, age.iloc[:1]]), parts[1], "level")
    with pytest.raises(DataError, match="numbers, higher = more risk"):
        external_validation(parts[1].obs["stage"].astype(str), parts[1], "level")
    with pytest.raises(DataError, match="panel is of type DataFrame: pass a Panel"):
        external_validation(of_a_panel.table, parts[1], "level")
    with pytest.raises(DataError, match=r"signature lacks the columns .*NCBI\.gene\.symbol"):
        signature_score(parts[1], pd.DataFrame({"probe": ["G00"]}))


@pytest.fixture(scope="module")
def survival_panel(parts):
    return pm.biomarkers.fit_panel(parts[0], "os")


def relabelled(cohort, words):
    cohort = cohort.copy()
    cohort.obs["response"] = cohort.obs["response"].astype(str).map(words)
    return cohort


@pytest.mark.parametrize("positive", ["yes", "no"])
def test_the_panels_class_is_the_class_that_is_judged(parts, positive):
    """Whichever class was learnt, and however the other cohort orders its levels."""
    panel = pm.biomarkers.fit_panel(parts[0], "response", positive=positive)
    other = relabelled(parts[1], {"yes": "yes", "no": "no"})
    result = external_validation(panel, other, "response", n_boot=10).table.iloc[0]
    assert result["auc"] > 0.7 and result["odds_ratio_per_sd"] > 1
    assert result["n_events"] == (parts[1].obs["response"] == positive).sum()
    renamed = relabelled(parts[1], {"yes": "1", "no": "0"})
    with pytest.raises(DataError, match=f"higher scores mean '{positive}', .* '0' and '1'.*positive="):
        external_validation(panel, renamed, "response")
    named = external_validation(
        panel, renamed, "response", n_boot=10, positive={"yes": "1", "no": "0"}[positive]
    )
    assert named.table["auc"].item() == result["auc"]


def test_random_panels_learn_and_judge_the_same_class(parts):
    settings = {"outcome": "response", "size": 3, "n_panels": 5, "genes": [f"G{i:02d}" for i in range(4)]}
    scores = {word: pm.biomarkers.random_panels(*parts, positive=word, **settings) for word in ("yes", "no")}
    assert scores["yes"].to_numpy() == pytest.approx(scores["no"].to_numpy()) and scores["no"].min() > 0.6
    with pytest.raises(DataError, match="higher scores mean 'yes'"):
        pm.biomarkers.random_panels(parts[0], relabelled(parts[1], {"yes": "1", "no": "0"}), **settings)


def renamed_copy(cohort):
    cohort = cohort.copy()
    cohort.obs_names = cohort.obs["patient"] = [f"new{i}" for i in range(cohort.n_obs)]
    return cohort


def test_a_panel_recognises_its_own_patients(survival_panel, parts, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", PmLabWarning)
        honest = external_validation(survival_panel, parts[1], "os", n_boot=10)
    assert honest.table["same_patients"].item() == 0
    message = "80 of 80 patients are those it was fitted to.*apparent"
    with pytest.warns(PmLabWarning, match=message):
        own = external_validation(survival_panel, parts[0], "os", n_boot=10)
    assert own.table["same_patients"].item() == 80
    with pytest.warns(PmLabWarning, match=message):  # by expression alone
        external_validation(survival_panel, renamed_copy(parts[0]), "os", n_boot=10)
    measured_again = parts[0].copy()
    measured_again.X = np.asarray(measured_again.X) + np.random.default_rng(0).normal(0, 0.1, (80, 60))
    with pytest.warns(PmLabWarning, match=message):  # by name alone
        external_validation(survival_panel, measured_again, "os", n_boot=10)
    survival_panel.save(tmp_path / "panel.json")
    loaded = pm.biomarkers.Panel.load(tmp_path / "panel.json")
    assert loaded.own_patients(parts[0][:7].copy()).tolist() == parts[0].obs_names[:7].tolist()


def test_evaluate_risk_sees_the_patients_of_a_panel(survival_panel, parts):
    with pytest.warns(PmLabWarning, match="80 of 80 patients are those it was fitted to"):
        pm.survival.evaluate_risk(survival_panel, renamed_copy(parts[0]), "os", n_boot=2)


def test_a_sample_of_a_known_patient_is_recognised(survival_panel, parts):
    sample = parts[0][:3].copy()
    sample.X = np.asarray(sample.X) + 0.1
    sample.obs_names = [f"{name}-relapse" for name in sample.obs_names]
    assert survival_panel.own_patients(sample).tolist() == ["P000-relapse", "P001-relapse", "P002-relapse"]


def test_a_saved_panel_names_no_patient(survival_panel, parts, tmp_path):
    path = tmp_path / "panel.json"
    survival_panel.save(path)
    assert not any(name in path.read_text() for name in parts[0].obs_names)
    hashes = json.loads(path.read_text())["patients"]
    assert len(hashes["names"]) == len(hashes["profiles"]) == 80
    assert hashes["names"] == sorted(hashes["names"]) and hashes["profiles"] == sorted(hashes["profiles"])
    other = pm.biomarkers.fit_panel(parts[0], "level").patients
    assert not set(other["names"]) & set(hashes["names"])  # two panels cannot be put together by patient
    survival_panel.save(path, patients=False)
    assert json.loads(path.read_text())["patients"] == {}
    without = pm.biomarkers.Panel.load(path)
    table = external_validation(without, parts[0], "os", n_boot=10).table
    assert table["same_patients"].isna().all()


def test_numbers_of_rows_are_no_names(parts):
    first, second = (part.copy() for part in parts)
    for part in (first, second):
        del part.obs["patient"]
        part.obs_names = [str(row) for row in range(part.n_obs)]
    panel = pm.biomarkers.fit_panel(first, "os")
    assert len(panel.own_patients(second)) == 0 and len(panel.own_patients(first)) == 80


def test_random_panels_on_their_own_patients_are_warned_of(parts):
    with pytest.warns(PmLabWarning, match="random genes: 80 of 80 patients"):
        pm.biomarkers.random_panels(parts[0], renamed_copy(parts[0]), "os", size=3, n_panels=2)


@pytest.mark.filterwarnings("ignore:17 events only")
@pytest.mark.parametrize("late", ["expression", "G00"])
def test_expression_measured_after_time_zero_is_refused(survival_panel, parts, late):
    other = parts[1].copy()
    other.uns["endpoints"] = {"os": {**other.uns["endpoints"]["os"], "measured": {late: 30}}}
    message = f"{late!r} was measured after time zero"
    with pytest.raises(DesignError, match=message):
        external_validation(survival_panel, other, "os")
    with pytest.raises(DesignError, match=message):
        pm.survival.evaluate_risk(survival_panel, other, "os", n_boot=2)
    with pytest.raises(DesignError, match=message):
        pm.biomarkers.random_panels(parts[0], other, "os", size=3, n_panels=2)
    symbols = other.copy()  # found by another name
    symbols.var["symbol"], symbols.var_names = symbols.var_names, [f"probe{i}" for i in range(60)]
    if late == "expression":
        with pytest.raises(DesignError, match=message):
            external_validation(survival_panel, symbols, "os")


def test_a_signature_that_is_refused_is_not_warned_of_as_well(parts):
    genes = [*parts[1].var_names[:6], *(f"X{i}" for i in range(10))]
    signature = pd.DataFrame(
        {"probe": genes, "NCBI.gene.symbol": "", "EntrezGene.ID": pd.Series([pd.NA] * 16, dtype="Int64")}
    ).assign(er=1, **{"std.cox.coefficient": 0.5})
    other = parts[1].copy()
    other.obs["er"] = ["negative", "positive"] * 20
    with warnings.catch_warnings(), pytest.raises(DataError, match="20 ER-negative patients and 0 measured"):
        warnings.simplefilter("error", PmLabWarning)
        signature_score(other, signature, er_key="er")
    other.obs["er"] = "positive"
    with pytest.warns(PmLabWarning, match="6 of the 16 genes"):
        signature_score(other, signature, er_key="er")
