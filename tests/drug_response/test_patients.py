"""From lines to patients: genes, alignment, who is like no line, and the ranking that was planted."""

import warnings

import numpy as np
import pandas as pd
import pytest

import pm_lab as pm
from pm_lab.errors import DataError, PmLabWarning

dr = pm.drug_response
OTHER_TISSUE = "ignore:.* patients were aligned to lines of all tissues"
OUTSIDE = "ignore:.* patients are further from the lines"
quiet = pytest.mark.filterwarnings(OTHER_TISSUE, OUTSIDE)


@pytest.fixture(scope="module")
def cohort():
    return pm.datasets.simulate_cohort(n_cells=600)


@pytest.fixture(scope="module")
def model(cohort):
    return dr.DrugResponseModel(members=2, hidden=16, max_epochs=15).fit(cohort.screen)


@pytest.fixture
def bulk(cohort):
    """Patients that a test may spoil."""
    return cohort.bulk.copy()


def planted(cohort):
    """Where each patient truly is among the lines, drug by drug, in percent; and the planted ln IC50."""
    weights = cohort.truth["drugs"].T
    patients, lines = cohort.truth["activities"] @ weights, cohort.truth["line_activities"] @ weights
    below = lambda drug: [100 * (lines[drug] < value).mean() for value in patients[drug]]  # noqa: E731
    return pd.DataFrame({drug: below(drug) for drug in patients}, patients.index), patients


def wide(table, column, like):
    return table.pivot(index="patient", columns="drug", values=column).loc[like.index, like.columns]


def recovery(table, cohort):
    """Mean over patients of the rank correlation with the truth; mean over drugs of the correlation."""
    percentile, ln_ic50 = planted(cohort)
    of_patient = wide(table, "percentile", percentile).corrwith(percentile, axis=1, method="spearman")
    return of_patient.mean(), wide(table, "ln_ic50", ln_ic50).corrwith(ln_ic50).mean()


@quiet
def test_patients_get_a_ranked_table(model, cohort):
    table = model.predict(cohort)
    columns = ["patient", "drug", "rank", "ln_ic50", "lower", "upper", "percentile"]
    columns += ["top_pathways", "nearest_lines", "nearest_ln_ic50", "out_of_distribution", "isolation"]
    assert list(table.columns) == columns
    assert len(table) == 120 * 60 and list(table["patient"].unique()) == list(cohort.bulk.obs_names)
    assert ((table["lower"] < table["ln_ic50"]) & (table["ln_ic50"] < table["upper"])).all()
    assert table["percentile"].between(0, 100).all()
    by_patient = table.groupby("patient", sort=False)
    assert by_patient["percentile"].is_monotonic_increasing.all()
    assert (by_patient["rank"].agg(list).map(lambda ranks: ranks == list(range(1, 61)))).all()


@quiet
def test_the_ranking_is_the_one_that_was_planted(model, cohort):
    """Aligned to the lines patients are ranked as planted; raw, stroma and batch come between."""
    aligned, raw = (recovery(model.predict(cohort, align=how), cohort) for how in ("auto", "none"))
    assert aligned[0] > 0.80 and aligned[1] > 0.85
    assert aligned[1] > raw[1] + 0.05
    table, percentile = model.predict(cohort), planted(cohort)[0]
    top = table[table["rank"] <= 5]
    true = [percentile.loc[row.patient, row.drug] for row in top.itertuples()]
    assert np.mean(true) < 18  # 50 by chance, 8 for the best five


@quiet
def test_the_result_says_what_it_is_and_what_was_done(model, cohort):
    attrs = model.predict(cohort, drugs=["DRUG001"], coverage=0.8).attrs
    assert "no recommendation of a treatment" in attrs["purpose"] and attrs["coverage"] == 0.8
    assert attrs["genes"]["found"] == 2000 and attrs["genes"]["absent"] == []
    (group,) = attrs["alignment"]
    assert group == {
        "method": "gene",
        "patients": 120,
        "reference": "lines of all tissues",
        "lines": 300,
    }
    assert attrs["out_of_distribution"]["rows"] == 120


@quiet
def test_evidence_is_of_lines_on_which_the_drug_was_measured(model, cohort):
    table, response = model.predict(cohort), cohort.screen.obsm["response"]
    row = table[table["drug"] == "DRUG007"].iloc[3]
    names = row["nearest_lines"].split(", ")
    measured = response.loc[names, "DRUG007"]
    assert len(names) == 3 and measured.notna().all()
    assert row["nearest_ln_ic50"] == pytest.approx(measured.mean())


@quiet
def test_pathways_are_evidence_for_the_first_drugs(model, cohort):
    """They are those of explain(), and what was planted behind a drug is among them."""
    patients = cohort.bulk[:40].copy()
    table = model.predict(patients)
    shown = table[table["rank"] <= 5]
    assert (table.loc[table["rank"] > 5, "top_pathways"] == "").all()
    assert table.attrs["top_pathways"] == {"drugs_of_each": 5, "pathways": 23}
    row = shown.iloc[7]
    scores = dr.explain(model, patients, drugs=[row["drug"]], n_permutations=500).rows
    scores = scores[scores["patient"] == row["patient"]].set_index("pathway")["score"]
    best = scores.loc[scores.abs().sort_values(ascending=False).index[:3]]
    assert row["top_pathways"] == ", ".join(
        f"{'-' if score < 0 else '+'}{name}" for name, score in best.items()
    )
    planted = cohort.truth["drugs"].abs()
    strong = shown[shown["drug"].isin(planted.index[planted.max(axis=1) > 0.6])]
    found = [planted.loc[row.drug].idxmax() in row.top_pathways for row in strong.itertuples()]
    assert len(found) > 50 and np.mean(found) > 0.5  # 3 of 23 by chance


@quiet
@pytest.mark.filterwarnings("ignore:genes that go together in the lines")  # these genes are noise
def test_genes_of_no_pathway_leave_the_evidence_empty(cohort):
    screen = cohort.screen[:60, cohort.screen.var_names.str.startswith("GENE")].copy()
    screen = dr.take_drugs(screen, screen.obsm["response"].columns[:4])
    model = dr.DrugResponseModel(members=2, hidden=4, max_epochs=5).fit(screen)
    table = model.predict(cohort.bulk[:30].copy())
    assert (table["top_pathways"] == "").all() and table.attrs["top_pathways"]["pathways"] == 0


@quiet
def test_a_patient_with_the_name_of_a_line_is_no_line(model, bulk, cohort):
    """Names may coincide: the responses of the line must not become those of the patient."""
    names, lines = list(bulk.obs_names), list(cohort.screen.obs_names[:2])
    before = model.predict(bulk)
    bulk.obs_names = [*lines, *names[2:]]
    with pytest.warns(PmLabWarning, match=r"2 of 120 rows have the name of a line of training, but other"):
        table = model.predict(bulk)
    assert "patient" in table and table.attrs["alignment"] == before.attrs["alignment"]
    before["patient"] = before["patient"].replace(dict(zip(names, lines, strict=False)))
    pd.testing.assert_frame_equal(table, before)
    plain = model.predict_matrix(cohort.bulk).to_numpy()
    with pytest.warns(PmLabWarning, match="they are taken to be new"):
        np.testing.assert_allclose(model.predict_matrix(bulk).to_numpy(), plain)


def test_a_line_is_known_by_its_genes_however_they_are_kept(model, cohort):
    part = cohort.screen[:5].copy()
    expected = model.predict_matrix(part)
    part.X = np.round(part.X, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pd.testing.assert_frame_equal(model.predict_matrix(part), expected)


def test_a_line_is_its_own_neighbour_to_nobody(model, cohort):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = model.predict(cohort.screen, drugs=["DRUG001"])
    assert "line" in table and table.attrs["alignment"] == [{"method": "none", "patients": 300}]
    assert not any(row.line in row.nearest_lines for row in table.itertuples())
    assert table["out_of_distribution"].mean() == pytest.approx(0.01, abs=0.005)
    raw = model.predict_matrix(cohort.screen)["DRUG001"]
    np.testing.assert_allclose(table.set_index("line")["ln_ic50"].loc[raw.index], raw)


@pytest.mark.filterwarnings(OTHER_TISSUE)
def test_who_is_like_no_line_is_said(model, bulk):
    mixed = np.random.default_rng(0).permutation(bulk.n_vars)
    bulk.X[:4] = bulk.X[:4][:, mixed]
    with pytest.warns(PmLabWarning, match=r"of 120 patients are further .*out_of_distribution"):
        table = model.predict(bulk, drugs=["DRUG001"]).set_index("patient").loc[bulk.obs_names]
    assert table["out_of_distribution"][:4].all() and table["out_of_distribution"][4:].mean() < 0.3
    assert table["isolation"][:4].min() > table["isolation"][4:].max()


@quiet
def test_level_and_spread_of_a_platform_do_not_matter(model, bulk):
    """Another factor for each gene, as another kit has, changes nothing where all patients have it."""
    before = model.predict(bulk, drugs=["DRUG001"])
    factor = np.random.default_rng(0).uniform(0.5, 1.0, bulk.n_vars)
    bulk.X = bulk.X * factor
    pd.testing.assert_frame_equal(model.predict(bulk, drugs=["DRUG001"]), before, rtol=1e-4, atol=1e-3)


@pytest.mark.filterwarnings(OUTSIDE)
def test_few_patients_are_aligned_one_by_one(model, bulk):
    with pytest.warns(PmLabWarning, match=r"1 patients are fewer than the 20 .* ranks of its own genes"):
        alone = model.predict(bulk[:1].copy())
    with pytest.warns(PmLabWarning, match="3 patients are fewer"):
        among = model.predict(bulk[:3].copy())
    assert alone.attrs["alignment"][0]["method"] == "sample"
    pd.testing.assert_frame_equal(alone, among[:60], rtol=1e-5, atol=1e-5)
    with pytest.raises(DataError, match="align='gene' with 3 patients: at least 20"):
        model.predict(bulk[:3].copy(), align="gene")
    with pytest.raises(DataError, match="align='rank': one of auto, gene, sample, none"):
        model.predict(bulk, align="rank")


@pytest.mark.filterwarnings(OUTSIDE)
def test_patients_are_aligned_to_lines_of_their_tissue(model, bulk):
    bulk.obs["tissue"] = ["breast"] * 60 + ["thymus"] * 60
    with pytest.warns(PmLabWarning, match=r"60 patients were aligned to lines of all tissues.*breast"):
        table = model.predict(bulk, drugs=["DRUG001"])
    references = {group["reference"]: group["patients"] for group in table.attrs["alignment"]}
    assert references == {"lines of breast": 60, "lines of all tissues": 60}


@quiet
def test_older_symbols_are_mended(model, bulk):
    """NUF2 was CDCA1; a name that is there is left alone."""
    before = model.predict(bulk, drugs=["DRUG001"])
    bulk.var_names = ["CDCA1" if name == "NUF2" else name for name in bulk.var_names]
    overlap = dr.gene_overlap(model, bulk).set_index("gene")
    assert overlap.loc["NUF2", ["found_as", "status"]].tolist() == ["CDCA1", "mended"]
    with pytest.warns(PmLabWarning, match=r"1 of the 2,000 genes .* under another symbol: CDCA1 for NUF2"):
        table = model.predict(bulk, drugs=["DRUG001"])
    assert table.attrs["genes"]["mended"] == {"NUF2": "CDCA1"}
    pd.testing.assert_frame_equal(table, before)


@quiet
def test_missing_genes_are_named_and_too_few_refused(model, bulk):
    part = bulk[:, 400:].copy()
    overlap = dr.gene_overlap(model, part)
    assert (overlap["status"] == "absent").sum() == 400 and overlap["weight"].sum() == pytest.approx(1)
    with pytest.warns(PmLabWarning, match="400 of the 2,000 genes of training are absent"):
        table = model.predict(part, drugs=["DRUG001"])
    assert table.attrs["genes"]["absent"] == list(bulk.var_names[:400])
    with pytest.raises(DataError, match=r"1,300 of the 2,000 genes .*gene_overlap\(model, cohort\)"):
        model.predict(bulk[:, 700:].copy())


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda b: setattr(b, "X", b.layers["counts"]), "whole numbers only"),
        (lambda b: setattr(b, "X", b.X * np.log(2)), "natural logarithm"),
        (
            lambda b: b.X.__setitem__((0, 0), np.nan),
            r"1 NaN or infinite values, in 1 patients .* of a patient sum",
        ),
        (lambda b: setattr(b, "X", 2**b.X - 1), "no logarithm was taken"),
        (
            lambda b: setattr(b, "var_names", [b.var_names[1], *b.var_names[1:]]),
            "1 var names occur more than once",
        ),
        (
            lambda b: setattr(b, "var_names", [f"ENSG{i:011d}" for i in range(b.n_vars)]),
            "Ensembl ids",
        ),
    ],
    ids=["counts", "ln", "NaN", "TPM", "twice", "Ensembl"],
)
def test_expression_that_cannot_be_used(model, bulk, change, match):
    change(bulk)
    with pytest.raises(DataError, match=match):
        model.predict(bulk)


@quiet
def test_unknown_drugs(model, bulk):
    with pytest.raises(
        DataError, match=r"1 of 2 drugs were not in training \(Aspirin\).*model\.drugs_ names"
    ):
        model.predict(bulk, drugs=["DRUG001", "Aspirin"])
    assert list(model.predict(bulk[:30].copy(), drugs="DRUG001")["rank"]) == [1] * 30
