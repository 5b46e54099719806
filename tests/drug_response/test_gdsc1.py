"""The real screen: numbers of its publication and of the protocol that it is judged by."""

import numpy as np
import pytest
from sklearn.model_selection import KFold

import pm_lab as pm
from pm_lab import keys

dr = pm.drug_response


def test_sizes(gdsc1):
    response, drugs = gdsc1.obsm["response"], gdsc1.uns["drugs"]
    assert gdsc1.shape == (525, 697) and response.shape == (525, 238)
    assert response.notna().to_numpy().sum() == 100_127
    assert drugs["cid"].nunique() == 223 and (drugs["cid"].value_counts() == 2).sum() == 15
    assert gdsc1.obs["tissue"].nunique() == 27 and (gdsc1.obs["tissue"] != "unknown").all()
    lines = {name: dr.measured(gdsc1, name).sum() for name in ("copy_number", "mutation", "methylation")}
    assert lines == {"copy_number": 525, "mutation": 436, "methylation": 525}
    assert dr.modality(gdsc1, "mutation").shape == (525, 706)
    assert dr.modality(gdsc1, "methylation").shape == (525, 808)
    assert len(gdsc1.uns[keys.RECORD]["gdsc1"]["drugs_without_structure"]) == 28


def test_lines_are_in_the_order_of_their_list_and_have_their_values(gdsc1, mirror):
    assert list(gdsc1.obs_names) == (mirror / "gdsc1" / "cellline_list.txt").read_text().split()
    assert list(gdsc1.var_names) == (mirror / "gdsc1" / "gene_list.txt").read_text().split()
    one = gdsc1["ACH-000001"]
    assert one[:, "EXT1"].X[0, 0] == pytest.approx(4.80838505)
    assert dr.modality(gdsc1, "copy_number").loc["ACH-000001", "SOCS1"] == pytest.approx(0.72882530)
    assert dr.modality(gdsc1, "methylation").loc["ACH-000698", "TNFRSF14_1_2486803_2487803"] == pytest.approx(
        0.00739
    )
    table = pm.datasets.read_table(mirror / "gdsc1" / "GDSC_IC50.csv", index_col=0)
    assert gdsc1.obsm["response"].loc["ACH-000698", "Olaparib (1017)"] == table.loc["GDSC:1017", "ACH-000698"]
    np.testing.assert_array_equal(
        gdsc1.obsm["response"]["Erlotinib"], table.loc["GDSC:1", gdsc1.obs_names].to_numpy()
    )
    assert gdsc1.obs.loc["ACH-000698", ["name", "tissue"]].tolist() == ["DMS 53", "SCLC"]


def test_compounds_under_two_names_are_told_apart_and_kept_together(gdsc1):
    table = dr.drug_table(gdsc1)
    twice = table[table["name"] == "Olaparib"]
    assert list(twice.index) == ["Olaparib (1017)", "Olaparib (1495)"]
    assert twice["drug_id"].tolist() == ["GDSC:1017", "GDSC:1495"]
    assert twice["cid"].tolist() == ["23725625"] * 2
    assert "VNLG-124" in table.index and table.loc["VNLG-124", "name"] == "VNLG/124"
    assert len(np.unique(dr.compounds(gdsc1))) == 223


def test_lines_without_expression_can_be_reached(gdsc1):
    rest = gdsc1.uns["response_only"]
    assert rest["response"].shape == (444, 238) and rest["response"].index.equals(rest["obs"].index)
    assert not rest["obs"].index.isin(gdsc1.obs_names).any()
    assert list(rest["response"].columns) == list(gdsc1.obsm["response"].columns)
    assert rest["response"].notna().to_numpy().sum() == 86_662
    assert (rest["obs"]["tissue"] != "unknown").sum() == 319


def test_it_is_a_screen(gdsc1):
    response = dr.check_screen(gdsc1)
    # A drug's mean alone: global r .847 out of sample, so nearly that in sample.
    values = response.to_numpy()
    known = ~np.isnan(values)
    mean = np.broadcast_to(np.nanmean(values, axis=0), values.shape)
    assert np.corrcoef(values[known], mean[known])[0, 1] == pytest.approx(0.85, abs=0.005)
    table = dr.screen_overview(gdsc1)
    assert table.loc["all", "share_measured"] == pytest.approx(100_127 / (525 * 238))
    assert table.loc["LUAD", ["n_lines", "n_mutation"]].tolist() == [48, 40]
    assert "doi:10.1016/j.cell.2016.06.017" in pm.datasets.citation("gdsc1")


def test_lco_folds_are_those_of_the_protocol(gdsc1):
    """The drug mean reaches a global Pearson of .847 there, as the protocol says."""
    response = dr.check_screen(gdsc1).to_numpy()
    found = dr.folds(gdsc1, "LCO")
    correlations = []
    for fold, (_, test) in zip(
        found, KFold(5, shuffle=True, random_state=0).split(gdsc1.obs_names), strict=True
    ):
        np.testing.assert_array_equal(np.flatnonzero(fold.test.any(axis=1)), test)
        mean = np.nanmean(np.where(fold.train | fold.validation, response, np.nan), axis=0)
        mean = np.broadcast_to(mean, response.shape)
        correlations.append(np.corrcoef(response[fold.test], mean[fold.test])[0, 1])
    assert np.mean(correlations) == pytest.approx(0.847, abs=0.0005)


def test_tissues_left_out_do_not_come_in_by_lines_without_expression(gdsc1):
    for fold in dr.folds(gdsc1, "LTO"):
        part = fold.take(gdsc1)
        rest = part.uns["response_only"]
        held = set(gdsc1.obs["tissue"][(fold.test | fold.validation).any(axis=1)])
        assert not held & set(rest["obs"]["tissue"]) and "unknown" not in set(rest["obs"]["tissue"])
        assert len(rest["response"]) == len(rest["obs"]) > 100
