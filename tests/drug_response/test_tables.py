"""A user's own tables become a screen, and nothing on the way is lost in silence."""

import numpy as np
import pandas as pd
import pytest

import pm_lab as pm
from pm_lab.errors import DataError, PmLabWarning

dr = pm.drug_response
LINES = [f"L{i}" for i in range(12)]
DRUGS = ["Olaparib", "Gefitinib", "Dabrafenib"]


def expression(lines=LINES):
    rng = np.random.default_rng(1)
    return pd.DataFrame(rng.uniform(0, 9, (len(lines), 5)), lines, ["TP53", "MYC", "EGFR", "KRAS", "BRAF"])


def tidy(lines=LINES, value="ln_ic50"):
    rng = np.random.default_rng(2)
    table = pd.DataFrame([(line, drug) for drug in DRUGS for line in lines], columns=["line", "drug"])
    table[value] = rng.normal(0, 2, len(table)) if value == "ln_ic50" else rng.uniform(0, 1, len(table))
    return table


def test_a_tidy_table():
    table = tidy().drop(index=5)
    table["tissue"] = table["line"].map(lambda name: "lung" if int(name[1:]) < 6 else "skin")
    table["cid"] = table["drug"].map({"Olaparib": 23725625, "Gefitinib": 123631, "Dabrafenib": 44462760})
    screen = dr.make_screen(table.sample(frac=1, random_state=0), expression())
    assert list(screen.obs_names) == LINES and np.isnan(screen.obsm["response"].loc["L5", "Olaparib"])
    for row in table.itertuples():
        assert screen.obsm["response"].loc[row.line, row.drug] == row.ln_ic50
    assert screen.obs["tissue"].value_counts().to_dict() == {"lung": 6, "skin": 6}
    assert dr.drug_table(screen).loc["Gefitinib", "cid"] == "123631"
    np.testing.assert_allclose(screen.X, expression(), rtol=1e-6)


def test_areas():
    screen = dr.make_screen(tidy(value="auc"), expression())
    assert screen.uns["response_measure"] == "auc"
    both = tidy().assign(auc=0.5)
    assert dr.make_screen(both, expression()).uns["response_measure"] == "ln_ic50"
    with pytest.raises(DataError, match="3 drugs have the same value on every line"):
        dr.make_screen(both, expression(), measure="auc")


def test_raw_viabilities():
    doses = 10 / 4.0 ** np.arange(6)
    truth = tidy()
    rows = truth.loc[truth.index.repeat(len(doses))].assign(dose=np.tile(doses, len(truth)))
    rows["viability"] = 1 / (1 + rows["dose"] / np.exp(rows["ln_ic50"]))
    screen = dr.make_screen(rows.drop(columns="ln_ic50"), expression())
    inside = ~screen.uns["curves"]["extrapolated"]
    curves = screen.uns["curves"].merge(truth, on=["line", "drug"], suffixes=("", "_true"))
    assert inside.sum() > 20
    np.testing.assert_allclose(curves["ln_ic50"][inside], curves["ln_ic50_true"][inside], atol=0.1)
    response = screen.obsm["response"]
    assert (
        response.loc["L3", "Gefitinib"]
        == curves.query("line == 'L3' and drug == 'Gefitinib'")["ln_ic50"].item()
    )


def test_doubtful_curves_are_counted(tmp_path):
    doses = 10 / 4.0 ** np.arange(6)
    table = tidy().iloc[: len(LINES)]
    rows = table.loc[table.index.repeat(6)].assign(dose=np.tile(doses, len(LINES)))
    rows["viability"] = 1 / (1 + rows["dose"] / np.exp(rows["ln_ic50"]))
    rows.loc[rows["line"] == "L0", "viability"] = [1.0, 1, 1, 0.1, 0.1, 0.1]
    rows = rows[(rows["line"] != "L1") | (rows["dose"] > 0.1)].drop(columns="ln_ic50")
    counts = "too_few_doses 0, poor_fit 1, non_monotone 1, shallow 1, uncertain 0"
    with pytest.warns(PmLabWarning, match=counts):
        screen = dr.make_screen(rows, expression())
    screen.write_h5ad(tmp_path / "raw.h5ad")
    again = pm.datasets.read_anndata(tmp_path / "raw.h5ad")
    assert again.uns["curves"]["poor_fit"].sum() == 1


def test_lines_of_one_table_only_are_kept_or_counted():
    with pytest.warns(PmLabWarning, match=r"10 lines are in both.* 2 lines .*\(L10, L11\).* 1 lines .*\(Z\)"):
        screen = dr.make_screen(tidy(), expression([*LINES[:10], "Z"]), tissue=dict.fromkeys(LINES, "lung"))
    rest = screen.uns["response_only"]
    assert list(rest["response"].index) == ["L10", "L11"] and (rest["obs"]["tissue"] == "lung").all()
    assert (
        rest["response"].loc["L10", "Olaparib"]
        == tidy().set_index(["line", "drug"]).loc[("L10", "Olaparib")].item()
    )
    assert screen.uns["pm_lab"]["make_screen"] == {
        "n_response_only": 2,
        "n_without_response": 1,
        "drugs_without_value": [],
        "lines_without_value": [],
    }


def test_modalities():
    mutation = pd.DataFrame({"KRAS": [0, 1, 0], "BRAF": [1, 0, 0]}, index=["L1", "L0", "Z"])
    screen = dr.make_screen(tidy(), expression(), modalities={"mutation": mutation})
    table = dr.modality(screen, "mutation")
    assert table.loc["L0"].tolist() == [1, 0] and table.loc["L2"].isna().all()
    assert dr.measured(screen, "mutation").sum() == 2
    with pytest.raises(DataError, match="'proteins' is not one of copy_number, mutation, methylation"):
        dr.make_screen(tidy(), expression(), modalities={"proteins": mutation})
    with pytest.raises(DataError, match=r"no line of mutation \(Z\)"):
        dr.make_screen(tidy(), expression(), modalities={"mutation": mutation.loc[["Z"]]})


def test_repeated_measurements():
    again = tidy().iloc[:3].assign(ln_ic50=lambda table: table["ln_ic50"] + 1)
    table = pd.concat([tidy(), again])
    with pytest.raises(DataError, match=r"3 pairs of line and drug have several values \(L0 and Olaparib"):
        dr.make_screen(table, expression())
    screen = dr.make_screen(table, expression(), replicates="mean")
    expected = tidy()["ln_ic50"][0] + 0.5
    assert screen.obsm["response"].loc["L0", "Olaparib"] == pytest.approx(expected)
    same = pd.concat([tidy(), tidy().iloc[:3]])
    assert dr.make_screen(same, expression()).shape == (12, 5)


def test_two_data_sets_in_one_table_are_told_apart():
    other = tidy().assign(ln_ic50=lambda t: t["ln_ic50"] + 1, dataset="GDSC2")
    both = pd.concat([tidy().assign(dataset="GDSC1"), other])
    with pytest.raises(
        DataError, match=r"several data sets \(dataset: GDSC1, GDSC2\).*\['dataset'\] == 'GDSC1'"
    ):
        dr.make_screen(both, expression())
    assert dr.make_screen(both[both["dataset"] == "GDSC1"], expression()).shape == (12, 5)


def test_numbers_kept_as_objects_are_numbers():
    np.testing.assert_array_equal(
        dr.make_screen(tidy(), expression().astype(object)).X, dr.make_screen(tidy(), expression()).X
    )


def test_slashes_in_drug_names():
    table = tidy().replace({"drug": {"Olaparib": "VNLG/124"}})
    assert "VNLG-124" in dr.make_screen(table, expression()).uns["drugs"].index


def test_drugs_that_a_slash_alone_tells_apart():
    table = tidy().replace({"drug": {"Olaparib": "x/y", "Gefitinib": "x-y"}})
    with pytest.raises(DataError, match=r"2 drugs would become one, .* \(?x/y, x-y"):
        dr.make_screen(table, expression())


@pytest.mark.filterwarnings("ignore:11 lines are in both tables")
def test_drugs_and_lines_without_a_value_are_named(tmp_path):
    table = tidy()
    table.loc[(table["drug"] == "Gefitinib") | (table["line"] == "L3"), "ln_ic50"] = np.nan
    with pytest.warns(PmLabWarning, match=r"1 drugs \(Gefitinib\) and 1 lines \(L3\) have no value"):
        screen = dr.make_screen(table, expression())
    assert list(screen.obsm["response"]) == ["Olaparib", "Dabrafenib"]
    screen.write_h5ad(tmp_path / "screen.h5ad")
    record = pm.datasets.read_anndata(tmp_path / "screen.h5ad").uns["pm_lab"]["make_screen"]
    assert list(record["drugs_without_value"]) == ["Gefitinib"]
    with pytest.raises(DataError, match="no row of responses has a value of ln_ic50: all 36"):
        dr.make_screen(tidy().assign(ln_ic50=np.nan), expression())


@pytest.mark.filterwarnings("ignore:of 24 curves")
def test_a_drug_of_too_few_doses_is_named():
    doses = 10 / 4.0 ** np.arange(6)
    table = tidy().iloc[: 2 * len(LINES)]
    rows = table.loc[table.index.repeat(6)].assign(dose=np.tile(doses, len(table)))
    rows["viability"] = 1 / (1 + rows["dose"] / np.exp(rows["ln_ic50"]))
    rows = rows[(rows["drug"] == "Olaparib") | (rows["dose"] > 0.5)].drop(columns="ln_ic50")
    with pytest.warns(PmLabWarning, match=r"1 drugs \(Gefitinib\) have no value .* no curve of theirs"):
        assert list(dr.make_screen(rows, expression()).obsm["response"]) == ["Olaparib"]


def test_a_table_of_drugs():
    drugs = pd.DataFrame({"drug": DRUGS, "cid": [23725625, np.nan, 44462760], "smiles": ["CCO", None, "CC"]})
    with pytest.raises(DataError, match=r"none of the 3 drugs: its index is 0, 1, 2, .*set_index\('drug'\)"):
        dr.make_screen(tidy(), expression(), drugs=drugs)
    table = dr.drug_table(dr.make_screen(tidy(), expression(), drugs=drugs.set_index("drug")))
    assert table["cid"].tolist() == ["23725625", "", "44462760"] and table["smiles"].tolist() == [
        "CCO",
        "",
        "CC",
    ]
    with pytest.warns(PmLabWarning, match=r"1 of 3 drugs have no row in drugs \(Dabrafenib\)"):
        dr.make_screen(tidy(), expression(), drugs=drugs.set_index("drug").iloc[:2])
    with pytest.raises(DataError, match="drugs is a list: give a DataFrame"):
        dr.make_screen(tidy(), expression(), drugs=DRUGS)


def test_cids_of_a_column_with_gaps():
    table = tidy()
    table["cid"] = table["drug"].map({"Olaparib": 23725625, "Gefitinib": 123631})
    screen = dr.make_screen(table, expression())
    assert screen.uns["drugs"]["cid"].tolist() == ["23725625", "123631", ""]


def test_tissues_by_line():
    with pytest.raises(DataError, match="tissue names none of the 12 lines: it has no line, they are L0"):
        dr.make_screen(tidy(), expression(), tissue={})
    with pytest.raises(DataError, match="it has ACH-1, they are L0"):
        dr.make_screen(tidy(), expression(), tissue=pd.Series({"ACH-1": "lung"}))
    with pytest.raises(DataError, match="tissue is a str: give a dict"):
        dr.make_screen(tidy(), expression(), tissue="lung")
    with pytest.warns(PmLabWarning, match=r"tissue does not name 11 of 12 lines \(L1, .*'unknown'"):
        screen = dr.make_screen(tidy(), expression(), tissue={"L0": "lung"})
    assert screen.obs["tissue"].astype(str).tolist() == ["lung"] + ["unknown"] * 11


@pytest.mark.parametrize(
    ("responses", "profiles", "match"),
    [
        (None, expression(), "responses is a NoneType: give a DataFrame"),
        (tidy(), None, "expression is a NoneType: give a DataFrame"),
        (tidy(), expression().assign(site="lung"), r"1 columns of expression hold text \(site\).*set_index"),
        (tidy().rename(columns={"line": "cell"}), expression(), "no column 'line'; they have cell, drug"),
        (tidy().drop(columns="ln_ic50"), expression(), "neither ln_ic50 nor auc nor dose and viability"),
        (tidy().assign(ln_ic50=">10"), expression(), "36 values of ln_ic50 are no numbers: >10"),
        (tidy().assign(drug=[None, *tidy()["drug"][1:]]), expression(), "1 rows of responses name no line"),
        (tidy(), expression([f"ACH-{i}" for i in range(12)]), "no line is in both tables: .*L0.*ACH-0"),
        (tidy(), expression(["L0", *LINES[:11]]), "1 lines have more than one row of expression: L0"),
        (
            tidy().assign(ln_ic50=lambda t: np.exp(t["ln_ic50"]) * 50),
            expression(),
            "IC50 without a logarithm",
        ),
        (tidy(), 2 ** expression() * 1e4, "no logarithm was taken"),
        (tidy().iloc[:15], expression(), r"1 drugs .* fewer than 5 lines \(Gefitinib: 3\)"),
    ],
    ids=[
        "no responses",
        "no expression",
        "text column",
        "column",
        "measure",
        "text",
        "name",
        "ids",
        "twice",
        "IC50",
        "TPM",
        "three lines",
    ],
)
def test_tables_that_are_no_screen(responses, profiles, match):
    with pytest.raises(DataError, match=match):
        dr.make_screen(responses, profiles)


def test_a_line_of_two_tissues():
    table = tidy().assign(tissue=["lung"] * 35 + ["skin"])
    with pytest.raises(DataError, match="1 of line have more than one tissue in responses: L11"):
        dr.make_screen(table, expression())


# Official releases

RELEASE = """DATASET,NLME_RESULT_ID,NLME_CURVE_ID,COSMIC_ID,CELL_LINE_NAME,SANGER_MODEL_ID,TCGA_DESC,DRUG_ID,\
DRUG_NAME,PUTATIVE_TARGET,PATHWAY_NAME,COMPANY_ID,WEBRELEASE,MIN_CONC,MAX_CONC,LN_IC50,AUC,RMSE,Z_SCORE
GDSC1,342,15580432,684057,ES5,SIDM00263,UNCLASSIFIED,1,Erlotinib,EGFR,EGFR signaling,1045,Y,0.007813,2.0,\
3.966813,0.985678,0.026081,1.299144
GDSC1,342,15580806,684059,ES7,SIDM00269,LUAD,1,Erlotinib,EGFR,EGFR signaling,1045,Y,0.007813,2.0,\
2.692090,0.972690,0.110059,0.156076
GDSC1,342,15581198,684062,EW-11,SIDM00203,,1017,Olaparib,"PARP1, PARP2",Genome integrity,1046,Y,0.1,10.0,\
2.477990,0.944459,0.087019,-0.035912
GDSC1,342,15581542,687448,SK-ES-1,SIDM01111,SARC,1495,Olaparib,"PARP1, PARP2",Genome integrity,1046,Y,\
0.1,10.0,2.033564,0.950758,0.016290,-0.434437
"""


@pytest.fixture
def release(tmp_path):
    path = tmp_path / "GDSC1_fitted_dose_response_27Oct23.csv"
    path.write_text(RELEASE)
    return path


def test_an_official_release(release):
    table = dr.read_gdsc_release(release)
    assert table["line"].tolist() == ["ES5", "ES7", "EW-11", "SK-ES-1"]
    assert table["drug"].tolist() == ["Erlotinib", "Erlotinib", "Olaparib (1017)", "Olaparib (1495)"]
    assert table["ln_ic50"].tolist() == [3.966813, 2.692090, 2.477990, 2.033564]
    assert table.loc[1, ["auc", "rmse", "min_dose", "max_dose"]].tolist() == [
        0.972690,
        0.110059,
        0.007813,
        2.0,
    ]
    assert table["tissue"].tolist() == ["unknown", "LUAD", "unknown", "SARC"]
    assert table.loc[2, ["drug_id", "targets", "pathway"]].tolist() == [
        "1017",
        "PARP1, PARP2",
        "Genome integrity",
    ]
    by_id = dr.read_gdsc_release(release, line_id="COSMIC_ID")
    assert by_id["line"].tolist() == ["684057", "684059", "684062", "687448"]


def test_a_release_becomes_a_screen(release, tmp_path):
    text = release.read_text().splitlines()
    lines = [f"L{i}" for i in range(8)]
    rows = [text[1].replace("ES5", line).replace("3.966813", str(1.0 - i)) for i, line in enumerate(lines)]
    (tmp_path / "whole.csv").write_text("\n".join([text[0], *rows]))
    screen = dr.make_screen(dr.read_gdsc_release(tmp_path / "whole.csv"), expression(lines))
    assert screen.obsm["response"]["Erlotinib"].tolist() == [1.0 - i for i in range(8)]
    assert dr.drug_table(screen).loc["Erlotinib", ["targets", "pathway"]].tolist() == [
        "EGFR",
        "EGFR signaling",
    ]


def test_tables_that_are_no_release(release):
    with pytest.raises(DataError, match="line_id='ACH'"):
        dr.read_gdsc_release(release, line_id="ACH")
    release.write_text(RELEASE.replace("LN_IC50", "IC50"))
    with pytest.raises(DataError, match="no column LN_IC50: it is not a table of fitted responses"):
        dr.read_gdsc_release(release)
    release.write_text(RELEASE.replace("SIDM00263", ""))
    with pytest.raises(DataError, match=r"1 of 4 rows .* have no SANGER_MODEL_ID"):
        dr.read_gdsc_release(release, line_id="SANGER_MODEL_ID")


@pytest.mark.parametrize("column", ["DRUG_ID", "DRUG_NAME"])
@pytest.mark.parametrize("rows", ["one", "all"])
def test_a_release_whose_drugs_have_no_name_or_id(release, column, rows):
    table = pd.read_csv(release, dtype=str)
    table.loc[table.index[2:3] if rows == "one" else table.index, column] = np.nan
    table.to_csv(release, index=False)
    n, which = ("1", "row 3") if rows == "one" else ("4", "row 1, row 2, row 3, row 4")
    with pytest.raises(DataError, match=rf"{n} of 4 rows .* have no {column} \({which}\)"):
        dr.read_gdsc_release(release)


def test_a_release_says_of_which_data_set_a_row_is(release):
    assert dr.read_gdsc_release(release)["dataset"].tolist() == ["GDSC1"] * 4
