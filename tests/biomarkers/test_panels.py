"""Panels: saved, loaded, carried to another platform, never refitted."""

import json

import numpy as np
import pandas as pd
import pytest

import pm_lab as pm
from pm_lab.errors import DataError, PmLabWarning

fit_panel, external_validation = pm.biomarkers.fit_panel, pm.biomarkers.external_validation


@pytest.fixture(scope="module")
def halves(shared):
    return shared[:80].copy(), shared[80:].copy()


@pytest.fixture(scope="module")
def panel(halves):
    return fit_panel(halves[0], "os", name="ours")


def test_a_panel_finds_what_was_planted(panel, halves):
    weight = pd.Series(panel.weights, panel.genes)
    assert set(weight.abs().nlargest(4).index) == {"G00", "G01", "G02", "G03"}
    assert np.sign(weight[["G00", "G01", "G02", "G03"]]).tolist() == [1, 1, -1, -1]
    result = external_validation(panel, halves[1], "os")
    row = result.table.loc["ours"]
    assert row["c_index"] > 0.65 and row["low"] < row["c_index"] < row["high"]
    assert row["hazard_ratio_per_sd"] > row["effect_low"] > 1
    assert (row["n"], row["weight_measured"]) == (40, 1.0)
    assert 0.5 < row["calibration_slope"] < 3
    assert result.missing.empty


def test_saved_and_loaded_it_gives_the_same_numbers(panel, halves, tmp_path):
    panel.save(tmp_path / "panel.json")
    assert [path.name for path in tmp_path.iterdir()] == ["panel.json"]
    loaded = pm.biomarkers.Panel.load(tmp_path / "panel.json")
    assert loaded == panel
    pd.testing.assert_series_equal(loaded.predict(halves[1]), panel.predict(halves[1]), check_exact=True)
    again = external_validation(loaded, halves[1], "os").table
    pd.testing.assert_frame_equal(again, external_validation(panel, halves[1], "os").table)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("not json", "not JSON"),
        ("[]", "format 1"),
        ('{"format": 2}', "format 1"),
        ('{"format": 1, "name": "x"}', "is no panel"),
    ],
)
def test_what_is_no_panel_is_not_loaded(tmp_path, content, message):
    (tmp_path / "panel.json").write_text(content)
    with pytest.raises(DataError, match=message):
        pm.biomarkers.Panel.load(tmp_path / "panel.json")
    with pytest.raises(DataError, match="there is no panel"):
        pm.biomarkers.Panel.load(tmp_path / "other.json")


@pytest.fixture(scope="module")
def content(panel, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "panel.json"
    panel.save(path)
    return json.loads(path.read_text())


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("weights", lambda old: old[1:], "weights for"),
        ("weights", lambda old: ["a", *old[1:]], "weights are no finite numbers"),
        ("weights", lambda old: [None, *old[1:]], "weights are no finite numbers"),
        ("weights", lambda old: [True, *old[1:]], "weights are no finite numbers"),
        ("weights", lambda old: [old], "weights are no finite numbers"),
        ("weights", lambda old: [0.0 for _ in old], "or all zero"),
        ("weights", lambda old: [10**400, *old[1:]], "weights are no finite numbers"),
        ("means", lambda old: dict.fromkeys(range(len(old)), 1.0), "means are no finite"),
        ("sds", lambda old: [0, *old[1:]], "sds are no numbers above 0"),
        ("sds", lambda old: [-1.0, *old[1:]], "sds are no numbers above 0"),
        ("intercept", lambda old: "0", "intercept is no finite number"),
        ("intercept", lambda old: float("nan"), "NaN is no number"),
        ("kind", lambda old: "foo", "kind is none of survival, binary, continuous"),
        ("kind", lambda old: ["survival"], "kind is none of"),
        ("kind", lambda old: "binary", "which class"),
        ("name", lambda old: None, "name is no text"),
        ("outcome", lambda old: "", "outcome is no text"),
        ("genes", lambda old: [], "genes are no names"),
        ("genes", lambda old: [old[1], *old[1:]], "genes are no names, each once"),
        ("genes", lambda old: list(range(len(old))), "genes are no names"),
        ("genes", lambda old: "".join(gene[0] for gene in old), "genes are no names"),
        ("identifiers", lambda old: {"symbol": ["A"]}, r"1 identifiers\['symbol'\] for"),
        ("identifiers", lambda old: [1], "identifiers are no lists"),
        ("identifiers", lambda old: {"symbol": "A"}, "identifiers are no lists"),
        ("record", lambda old: [], "record is no record"),
        ("patients", lambda old: {"names": []}, "no salt"),
        ("patients", lambda old: old | {"names": [1]}, "no salt"),
        ("more", lambda old: 1, r"it has \['more'\]"),
    ],
)
def test_a_damaged_panel_is_not_loaded(content, tmp_path, part, change, message):
    path = tmp_path / "panel.json"
    path.write_text(json.dumps(content | {part: change(content.get(part))}))
    with pytest.raises(DataError, match=message):
        pm.biomarkers.Panel.load(path)


def test_files_that_cannot_be_read_or_written(panel, tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        pm.biomarkers.Panel.load(tmp_path)
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match="not JSON"):
        pm.biomarkers.Panel.load(tmp_path / "deep.json")
    (tmp_path / "binary.json").write_bytes(bytes(range(128, 256)))
    with pytest.raises(DataError, match="not JSON"):
        pm.biomarkers.Panel.load(tmp_path / "binary.json")
    with pytest.raises(DataError, match=r"no folder .*absent"):
        panel.save(tmp_path / "absent" / "panel.json")
    assert not (tmp_path / "absent").exists()


def with_missing(cohort, values):
    """A copy without some values: patient's row → genes."""
    cohort = cohort.copy()
    for row, genes in values.items():
        cohort.X[row, cohort.var_names.get_indexer(genes)] = np.nan
    return cohort


def test_missing_values_count_as_average_and_are_counted(panel, halves):
    weight = pd.Series(panel.weights, panel.genes).abs().sort_values()
    few, most = list(weight.index[:2]), list(weight.index[1:])
    with pytest.warns(PmLabWarning, match=r"'ours', 40 patients: 3 values of 2 patients .* \(P080, P083\)"):
        found = panel.predict(with_missing(halves[1], {0: few, 3: few[:1]}))
    whole, values = panel.predict(halves[1]), halves[1].to_df().iloc[0]
    place = [panel.genes.index(gene) for gene in few]
    lost = sum((values[panel.genes[i]] - panel.means[i]) / panel.sds[i] * panel.weights[i] for i in place)
    assert found.iloc[0] == pytest.approx(whole.iloc[0] - lost)
    pd.testing.assert_series_equal(found.drop(["P080", "P083"]), whole.drop(["P080", "P083"]), rtol=1e-12)
    lacking = with_missing(halves[1], {5: most})
    with pytest.warns(PmLabWarning, match=r"1 patients have no score.*\(P085\)"):
        found = panel.predict(lacking)
    assert np.isnan(found["P085"])
    pd.testing.assert_series_equal(found.drop("P085"), whole.drop("P085"), rtol=1e-12)
    with pytest.warns(PmLabWarning, match="no score"), pytest.raises(DataError, match=r"1 of 40 .*\(P085\)"):
        external_validation(panel, lacking, "os")


def test_a_gene_without_any_value_is_not_measured(panel, halves):
    weakest = pd.Series(panel.weights, panel.genes).abs().idxmin()
    empty = with_missing(halves[1], {row: [weakest] for row in range(40)})
    result = external_validation(panel, empty, "os", n_boot=10)
    assert result.missing.index.tolist() == [weakest]


def test_missing_values_at_fitting_are_recorded_and_on_the_card(panel, halves):
    assert panel.record["missing"] == {"values": 0, "genes": 0, "patients": 0}
    assert "no expression value was missing" in pm.biomarkers.panel_card(panel).to_markdown()
    gapped = fit_panel(with_missing(halves[0], {0: ["G00", "G50"], 1: ["G50"]}), "os")
    assert gapped.record["missing"] == {"values": 3, "genes": 2, "patients": 2}
    text = pm.biomarkers.panel_card(gapped).to_markdown()
    assert (
        "3 of 4,800 expression values were missing at fitting, in 2 of 60 candidate genes and 2 of 80" in text
    )
    assert "no score" in text


def test_a_single_patient_can_be_scored(panel, halves):
    together = panel.predict(halves[1])
    alone = panel.predict(halves[1][5].copy())
    assert alone.iloc[0] == pytest.approx(together.iloc[5], rel=1e-12)
    with pytest.raises(DataError, match="10 at least"):
        panel.predict(halves[1][5].copy(), scale="cohort")


def test_another_platform(panel, halves):
    """Other probes, two of one gene, on another scale: found by symbol, standardised within the cohort."""
    first, second = (half.copy() for half in halves)
    first.var["symbol"] = [f"SYM{i}" for i in range(60)]
    other_panel = fit_panel(first, "os")
    second.var["symbol"] = first.var["symbol"]
    probes = np.r_[0:60, 0]
    other = second[:, probes].copy()
    other.X = 3 * np.asarray(other.X) + 8
    other.var_names = [f"{i}_at" for i in range(61)]
    with pytest.raises(DataError, match=r"another platform or another scale\. Pass scale=\"cohort\""):
        external_validation(other_panel, other, "os")
    result = external_validation(other_panel, other, "os", scale="cohort")
    assert result.table.attrs["match"] == "symbol"
    assert result.mapping.loc["G00", "probes"] == "0_at, 60_at"
    same = external_validation(other_panel, second, "os", scale="cohort", match="name")
    assert result.predictions.to_numpy() == pytest.approx(same.predictions.to_numpy())


def test_missing_genes_are_reported_warned_of_and_refused(panel, halves):
    weight = pd.Series(panel.weights, panel.genes).abs()
    strongest = weight.idxmax()
    without = halves[1][:, halves[1].var_names != strongest].copy()
    share = 1 - weight.max() / weight.sum()
    with pytest.warns(PmLabWarning, match=f"missing: {strongest}"):
        result = external_validation(panel, without, "os")
    assert list(result.missing.index) == [strongest]
    assert result.table["weight_measured"].item() == pytest.approx(share)
    few = halves[1][:, halves[1].var_names.isin(weight.nsmallest(1).index)].copy()
    with pytest.raises(DataError, match="Half is needed"):
        external_validation(panel, few, "os")


def test_a_score_is_judged_like_a_panel(halves, panel):
    score = panel.predict(halves[1]).rename("score")
    table = external_validation(score, halves[1], "os").table
    expected = external_validation(panel, halves[1], "os").table
    columns = ["c_index", "low", "high", "hazard_ratio_per_sd"]
    assert table[columns].to_numpy() == pytest.approx(expected[columns].to_numpy())
    with pytest.raises(DataError, match="missing for 1 of 40"):
        external_validation(score.iloc[1:], halves[1], "os")
    with pytest.raises(DataError, match="predicts a survival outcome, 'response' is binary"):
        external_validation(panel, halves[1], "response")


@pytest.mark.parametrize(
    ("outcome", "column"), [("response", "odds_ratio_per_sd"), ("level", "slope_per_sd")]
)
def test_other_kinds_of_outcome(halves, outcome, column):
    panel = fit_panel(halves[0], outcome)
    row = external_validation(panel, halves[1], outcome).table.iloc[0]
    assert row["effect_low"] < row[column] < row["effect_high"]
    assert row[column] > (1 if outcome == "response" else 0)
    if outcome == "response":
        assert panel.predict(halves[1]).between(0, 1).all() and panel.positive == "yes"


def test_no_panel_where_cross_validation_finds_nothing(noise):
    with pytest.raises(DataError, match="takes no gene"):
        constant = noise.copy()
        constant.obs["level"] = np.tile([0.0, 1.0, 2.0, 3.0], 20)
        fit_panel(constant, "level", seed=1)


@pytest.mark.parametrize("outcome", ["os", "response", "level"])
def test_minimal_panel(shared, outcome):
    panel, table = pm.biomarkers.minimal_panel(shared, outcome, sizes=[1, 2, 4, 16, 60], n_repeats=1)
    metric = table.columns[0]
    chosen = table.index[table["chosen"]].item()
    assert len(panel.genes) == chosen <= 16
    assert len(set(panel.genes) & {"G00", "G01", "G02", "G03"}) >= min(3, chosen)
    best = table[metric].idxmax()
    limit = table.loc[best, metric] - table.loc[best, "standard_error"]
    assert table.loc[chosen, metric] >= limit and (table.loc[: chosen - 1, metric] < limit).all()
    with pytest.raises(DataError, match="no number between 1 and the 60"):
        pm.biomarkers.minimal_panel(shared, outcome, sizes=[100])


def test_repeats_do_not_shrink_the_standard_error(shared):
    genes = shared.var_names[:8]
    errors = [
        pm.biomarkers.minimal_panel(shared, "level", sizes=[4], n_repeats=n, genes=genes)[1]["standard_error"]
        for n in (1, 12)
    ]
    assert 0.6 < errors[1].item() / errors[0].item() < 1.6  # one over the root of twelve is .29
    for sizes in ("3", [2.5], [0]):
        with pytest.raises(DataError, match=r"sizes=.*: a whole number, 1 at least"):
            pm.biomarkers.minimal_panel(shared, "level", sizes=sizes)


def test_random_panels_of_the_planted_genes_and_of_the_others(halves):
    planted, others = [f"G{i:02d}" for i in range(4)], [f"G{i:02d}" for i in range(4, 60)]
    settings = {"outcome": "os", "size": 3, "n_panels": 40}
    good = pm.biomarkers.random_panels(*halves, genes=planted, **settings)
    bad = pm.biomarkers.random_panels(*halves, genes=others, **settings)
    assert good.median() > 0.65 > bad.quantile(0.9) and abs(bad.mean() - 0.5) < 0.05
    assert (good.name, good.attrs["n_candidates"], len(good)) == ("c_index", 4, 40)
    again = pm.biomarkers.random_panels(*halves, genes=planted, **settings)
    assert again.equals(good)
    # All four candidates in one panel leave nothing to chance: the panel is their ridge regression.
    whole = pm.biomarkers.random_panels(*halves, "os", size=4, n_panels=2, genes=planted)
    fixed, _ = pm.biomarkers.minimal_panel(halves[0], "os", sizes=[4], n_repeats=1, genes=planted)
    expected = external_validation(fixed, halves[1], "os", n_boot=10).table["c_index"].item()
    assert whole.tolist() == pytest.approx([expected, expected])
    with pytest.raises(DataError, match="4 of the 4 candidates"):
        pm.biomarkers.random_panels(*halves, "os", size=5, genes=planted)


def test_genes_that_are_not_measured_are_not_drawn(halves):
    genes = [f"G{i:02d}" for i in range(6)]
    found = pm.biomarkers.random_panels(halves[0], halves[1][:, :5].copy(), "os", 5, 3, genes=genes)
    assert found.attrs["n_candidates"] == 5 and found.nunique() == 1
    with pytest.raises(DataError, match="5 of the 6 candidates"):
        pm.biomarkers.random_panels(halves[0], halves[1][:, :5].copy(), "os", 6, 3, genes=genes)


def test_published_signatures(mirror, temporary_cache):
    """The 76 genes were learnt on this cohort, so they must stand out in it; the 70 genes in theirs."""
    tables = pm.datasets.load("breast_signatures")
    vdx, nki = pm.datasets.load("vdx"), pm.datasets.load("nki")
    score = pm.biomarkers.signature_score(vdx, tables["gene76"], er_key="er")
    assert (score.attrs["n_measured"], score.attrs["match"]) == (76, "name")
    assert external_validation(score, vdx, "dmfs", n_boot=100).table["c_index"].item() > 0.68
    nki = nki[nki.obs["dmfs_time"].notna()].copy()
    score = pm.biomarkers.signature_score(nki, tables["gene70"])
    assert score.attrs["n_measured"] == 70
    assert external_validation(score, nki, "dmfs", n_boot=100).table["c_index"].item() > 0.62
    known = nki.obs["published_gene70"].notna().to_numpy()
    poor = (nki.obs["published_gene70"] == "Poor").to_numpy()
    agreement = pm.validation.score(
        pm.validation.Outcome("poor", "binary", poor[known].astype(float)), score.to_numpy()[known]
    )
    assert agreement > 0.95
    with pytest.warns(PmLabWarning, match="16 of the 70 genes"):
        pm.biomarkers.signature_score(vdx, tables["gene70"])
    with pytest.raises(DataError, match=r"[01] of the 70 genes"):
        pm.biomarkers.signature_score(pm.datasets.load("gse7390"), tables["gene70"])
    with pytest.raises(DataError, match="pass er_key"):
        pm.biomarkers.signature_score(vdx, tables["gene76"])
