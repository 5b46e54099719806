"""The door of the explorer: what people bring is read, typed, checked, and what was inferred is said."""

import warnings

import anndata
import numpy as np
import pandas as pd
import pytest

import pm_lab as pm
from pm_lab.errors import DataError, PmLabWarning
from pm_lab.explorer import CohortData, CohortState, cohort_view, pathway_activity
from pm_lab.explorer.columns import typed

IDS = [f"P{i:03d}" for i in range(40)]


@pytest.fixture
def clinical():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "grade": rng.integers(1, 4, 40),
            "age": rng.integers(30, 80, 40).astype(float),
            "stage": rng.choice(["II", "I"], 40),
            "months": rng.exponential(40, 40),
            "died": rng.choice([True, False], 40),
        },
        index=pd.Index(IDS, name="patient"),
    )


@pytest.fixture
def expression():
    values = np.random.default_rng(1).normal(6, 1, (40, 5))
    return pd.DataFrame(values, index=IDS, columns=[f"G{i}" for i in range(5)])


OS = {"time": "months", "event": "died", "unit": "months"}


def kinds(data):
    return {name: column.kind for name, column in data.columns.items()}


def test_the_built_in_cohort(built_in):
    cohort = pm.datasets.simulate_cohort(seed=0)
    assert built_in.n == 120 and built_in.patients.tolist() == cohort.bulk.obs["patient"].tolist()
    assert built_in.columns["age"].kind == "number" and built_in.columns["stage"].kind == "category"
    assert built_in.columns["mutation_PIK3CA"].group == "molecular"
    assert built_in.columns["os_time"].group == built_in.columns["os_event"].group == "endpoint"
    assert (built_in.gene("ESR1") == cohort.bulk[:, "ESR1"].X.ravel().astype(np.float32)).all()
    assert built_in.expression.flags.c_contiguous and built_in.expression.dtype == np.float32
    assert built_in.unit == "log2(CPM + 1)"
    assert built_in.cells.n_obs == 6000
    whose = built_in.patients[built_in.cell_rows]
    assert (whose == cohort.cells.obs["patient"].astype(str)).all()
    assert built_in.cell_types is None and built_in.predictions is None
    assert built_in.identifiers.empty and built_in.notes == []
    assert built_in.outcome("os").equals(pm.survival.endpoint_table(cohort, "os").rename_axis("patient"))


def test_pathways_are_scored_or_taken(built_in, adata):
    assert built_in.pathways.shape[0] == 120 and built_in.pathways.index.equals(built_in.patients)
    assert "ESTROGEN_RESPONSE" in built_in.pathways
    given = adata.copy()
    given.obsm["pathways"] = pd.DataFrame({"MINE": np.arange(60.0)}, index=given.obs_names)
    with pytest.warns(PmLabWarning):
        assert CohortData.open(given).pathways["MINE"].tolist() == list(range(60))


def test_genes_without_sets_give_no_pathways_and_say_so(clinical, expression):
    data = CohortData.open((clinical, expression))
    assert data.pathways is None
    assert any(note.startswith("no pathways") for note in data.notes)


def test_every_form_gives_the_same_cohort(clinical, expression, tmp_path):
    whole = anndata.AnnData(expression.to_numpy(), obs=clinical, var=pd.DataFrame(index=expression.columns))
    whole.write_h5ad(tmp_path / "c.h5ad")
    clinical.to_csv(tmp_path / "c.csv")
    clinical.to_csv(tmp_path / "c.tsv.gz", sep="\t")
    with_genes = {
        CohortData.open(form).hash
        for form in (whole, tmp_path / "c.h5ad", str(tmp_path / "c.h5ad"), (clinical, expression))
    }
    with_genes.add(CohortData.open((clinical, expression.sample(frac=1, random_state=0))).hash)
    plain = {CohortData.open(form).hash for form in (clinical, clinical.reset_index())}
    plain |= {CohortData.open(tmp_path / name).hash for name in ("c.csv", "c.tsv.gz")}
    assert len(with_genes) == len(plain) == 1 and with_genes != plain


def test_a_file_that_cannot_be_read(tmp_path):
    (tmp_path / "bad.h5ad").write_text("no")
    (tmp_path / "bad.xlsx").write_text("no")
    for name, message in (
        ("bad.h5ad", "not an h5ad"),
        ("bad.xlsx", "is read from"),
        ("none.csv", "does not exist"),
    ):
        with pytest.raises(DataError, match=message):
            CohortData.open(tmp_path / name)
    with pytest.raises(DataError, match="address"):
        CohortData.open("https://example.org/c.csv")


@pytest.mark.parametrize("name", ["Patient_ID", "sample", "Unnamed: 0"])
def test_a_file_may_call_its_patients_otherwise(clinical, tmp_path, name):
    clinical.rename_axis(None).reset_index(names=name).to_csv(tmp_path / "c.csv", index=False)
    assert CohortData.open(tmp_path / "c.csv").patients.tolist() == IDS


def test_rows_without_names_are_numbered_and_it_is_said(clinical):
    data = CohortData.open(clinical.reset_index(drop=True))
    assert data.patients.tolist() == [str(i) for i in range(40)]
    assert any("row number" in note for note in data.notes)


def with_value(table, column, row, value):
    table = table.reset_index()
    table[column] = table[column].astype(object)
    table.loc[row, column] = value
    return table


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda t: t.iloc[:0], "no rows"),
        (lambda t: with_value(t, "patient", 1, "P000"), r"1 patients have more than one row \(P000\)"),
        (lambda t: with_value(t, "patient", 1, None), "1 of 40 patients have no name"),
        (lambda t: pd.concat([t, t], axis=1), "occur twice"),
        (lambda t: None, "NoneType"),
        (lambda t: (t, "x"), "pair"),
        (lambda t: (t, t[["age"]].set_axis([f"Q{i}" for i in range(40)])), "no patient"),
        (lambda t: (t, t[["age"]].T), "expression.T"),
        (lambda t: (t, t[["stage"]]), "not numbers"),
    ],
)
def test_what_is_no_cohort_is_refused(clinical, broken, message):
    with pytest.raises(DataError, match=message):
        CohortData.open(broken(clinical))


def test_patients_without_expression_stay(clinical, expression):
    extra = expression.set_axis([*IDS[:30], *(f"Q{i}" for i in range(10))])
    data = CohortData.open((clinical, extra))
    assert data.n == 40 and np.isnan(data.gene("G0")[30:]).all() and not np.isnan(data.gene("G0")[:30]).any()
    assert sum("10 of 40 patients have no expression" in note for note in data.notes) == 1
    assert sum("10 rows of expression" in note for note in data.notes) == 1


def test_genes_that_occur_twice_are_said(clinical, expression):
    whole = anndata.AnnData(expression.to_numpy(), obs=clinical)
    whole.var_names = ["G0", "G0", "G2", "G3", "G4"]
    data = CohortData.open(whole)
    assert data.genes.tolist() == ["G0", "G2", "G3", "G4"]
    assert (data.gene("G0") == expression["G0"].to_numpy(np.float32)).all()
    assert any("1 genes occur more than once (G0)" in note for note in data.notes)


def test_sparse_counts_are_read_and_said(clinical):
    from scipy import sparse

    counts = sparse.csr_matrix(np.random.default_rng(0).poisson(20, (40, 3)).astype(float))
    data = CohortData.open(anndata.AnnData(counts, obs=clinical))
    assert data.unit == "counts, as in X" and any("counts" in note for note in data.notes)


@pytest.mark.parametrize(
    ("values", "kind", "categories"),
    [
        ([1.5, 2.5, None] * 20, "number", ()),
        ([1, 2, 3] * 20, "category", ("1", "2", "3")),
        ([0, 1, np.nan], "category", ("0", "1")),
        ([3, 4, 5], "number", ()),
        (list(range(60)), "number", ()),
        ([True, False] * 5, "category", ("False", "True")),
        (pd.array([True, None] * 5, dtype="boolean"), "category", ("True",)),
        (pd.array([1, None] * 15, dtype="Int64"), "category", ("1",)),
        (["10", "9", None] * 5, "category", ("9", "10")),
        ([str(i / 2) for i in range(30)], "number", ()),
        (["2020-01-31", None, "2021-02-01"], "date", ()),
        (pd.to_datetime(["2020-01-31", None, "2021-02-01"]), "date", ()),
        (pd.to_datetime(["2020-01-31", "2021-02-01"]).tz_localize("Asia/Tokyo"), "date", ()),
        (pd.period_range("2020-01", periods=3, freq="M"), "date", ()),
        (pd.to_timedelta([1, 2, 3.5], "D"), "number", ()),
        (pd.Categorical(["b", "a", None], categories=["b", "a", "unused"]), "category", ("b", "a")),
        ([f"free text {i}" for i in range(30)], "text", None),
        ([f"c{i % 25}" for i in range(100)], "category", None),
        ([f"c{i % 5000}" for i in range(20_000)], "text", None),
        ([[1], [2], None] * 3, "category", ("[1]", "[2]")),
        ([1 + 2j] * 3, "category", ("(1+2j)",)),
        (["x", 1, 1.0, "1"], "category", ("1", "x")),
        ([None] * 5, "category", ()),
        ([np.nan] * 5, "category", ()),
        ([np.inf, 1.5, -np.inf, 2.5], "number", ()),
        (["only"], "category", ("only",)),
    ],
)
def test_kinds_are_inferred(values, kind, categories):
    column = typed(pd.Series(values, name="x"))
    assert column.kind == kind
    if categories is not None:
        assert column.categories == categories
    assert column.n_missing == column.missing.sum()
    assert column.values.dtype == {"number": float, "date": "datetime64[ns]"}.get(kind, np.int32)


def test_five_thousand_categories_are_text_and_can_be_searched():
    n = 20_000
    table = pd.DataFrame({"town": [f"town {i % 5000}" for i in range(n)]}, index=[f"P{i}" for i in range(n)])
    data = CohortData.open(table)
    assert data.columns["town"].kind == "text" and len(data.columns["town"].categories) == 5000
    assert any("5,000 different values" in note for note in data.notes)
    state = CohortState(data)
    state.set_categories("town", ["town 17"])
    assert state.n_selected == 4
    assert "town 17" not in state.describe() + state.to_json()


def test_a_column_without_values_stays_and_is_said(clinical):
    data = CohortData.open(clinical.assign(empty=np.nan))
    assert data.columns["empty"].n_missing == 40
    assert "column 'empty': missing for all patients" in data.notes
    state = CohortState(data)
    state.set_categories("empty", [], missing="only")
    assert state.n_selected == 40


def test_one_patient(clinical, expression):
    data = CohortData.open((clinical.iloc[:1].assign(died=True), expression.iloc[:1]), endpoint=OS)
    state = CohortState(data)
    state.set_gene("G0", 0)
    assert state.describe() == "G0 expression ≥ 0: 1 of 1 patients"
    assert len(data.outcome("endpoint")) == 1


def test_kinds_can_be_corrected(clinical):
    data = CohortData.open(clinical.assign(size=["1.5", "2", "about 3", None] * 10))
    assert kinds(data)["grade"] == "category"
    corrected = data.retyped({"grade": "number", "size": "number"})
    assert kinds(corrected)["grade"] == kinds(corrected)["size"] == "number"
    assert corrected.columns["size"].n_missing == 20
    assert "column 'size': 10 values could not be read as a number and count as missing" in corrected.notes
    assert corrected.hash == data.hash and kinds(data)["grade"] == "category"
    assert corrected.retyped({"grade": "category"}).columns["grade"].kind == "category"
    opened = CohortData.open(clinical, kinds={"grade": "number"})
    assert opened.columns["grade"].kind == "number" and opened.hash == CohortData.open(clinical).hash
    with pytest.raises(DataError, match="no column colour"):
        data.retyped({"colour": "number"})
    with pytest.raises(DataError, match="none of its values"):
        data.retyped({"stage": "number"})
    with pytest.raises(DataError, match="kinds are"):
        data.retyped({"stage": "graph"})


def test_names_that_are_keys_of_filters_are_changed_and_it_is_said(clinical):
    data = CohortData.open(clinical.rename(columns={"grade": "patients", "stage": "gene:G0"}))
    assert {"column patients", "column gene:G0"} <= set(data.columns)
    assert any("'patients'" in note for note in data.notes)


def test_without_survival_the_error_says_how_to_declare(clinical):
    data = CohortData.open(clinical)
    assert dict(data.endpoints) == {} and CohortState(data).endpoint is None
    with pytest.raises(DataError, match=r"declare_endpoint\(cohort"):
        data.outcome("os")


def test_endpoints(clinical):
    data = CohortData.open(clinical, endpoint=OS)
    assert data.outcome("endpoint").attrs == {"endpoint": "endpoint", "unit": "months", "n_missing": 0}
    pm.survival.declare_endpoint(clinical, "os", **OS)
    data = CohortData.open(clinical, endpoint="os")
    assert (data.outcome("os")["time"] == clinical["months"]).all()
    assert data.columns["months"].group == "endpoint"
    with pytest.raises(DataError, match="dfs"):
        CohortData.open(clinical, endpoint="dfs")


def test_unknown_times_are_left_out_of_the_outcome_and_said(clinical):
    pm.survival.declare_endpoint(clinical, "os", **OS)
    clinical.loc[IDS[:3], "months"] = np.nan
    data = CohortData.open(clinical)
    outcome = data.outcome("os")
    assert outcome["time"].isna().sum() == 3 == outcome.attrs["n_missing"]
    assert outcome["event"].dtype == bool and not outcome["event"][:3].any()
    assert "endpoint 'os' is not known for 3 of 40 patients" in data.notes


def test_an_endpoint_that_cannot_be_used_is_left_out_and_said_without_names(clinical):
    clinical.attrs["endpoints"] = {"os": OS, "dfs": {**OS, "time": "none"}}
    clinical.loc["P007", "months"] = -1
    data = CohortData.open(clinical)
    assert dict(data.endpoints) == {}
    said = [note for note in data.notes if "left out" in note]
    assert len(said) == 2 and "negative" in said[0] and not any("P007" in note for note in said)
    with pytest.raises(DataError, match="negative"):
        CohortData.open(clinical, endpoint="os")


def test_cells_of_other_patients(clinical):
    cells = anndata.AnnData(
        np.ones((6, 2)),
        obs=pd.DataFrame({"patient": ["P001", "P002", "P001", "X", "X", "P000"], "cell_type": [*"TTBBTT"]}),
    )
    data = CohortData.open(clinical, cells=cells)
    assert data.cell_rows.tolist() == [1, 2, 1, -1, -1, 0]
    assert data.cell_types.categories == ("B", "T") and data.cell_types.values.tolist() == [1, 1, 0, 0, 1, 1]
    assert "2 of 6 cells are of no patient of the cohort" in data.notes
    with pytest.raises(DataError, match="no cell belongs"):
        CohortData.open(clinical, cells=cells[3:5].copy())
    with pytest.raises(DataError, match="patient"):
        CohortData.open(clinical, cells=anndata.AnnData(np.ones((2, 2))))


def test_predictions(clinical):
    table = pd.DataFrame(
        {"patient": ["P001", "P001", "X"], "drug": ["a", "b", "a"], "ln_ic50": [0.1, 0.2, 0.3]}
    )
    table.attrs["purpose"] = "research"
    data = CohortData.open(clinical, predictions=table)
    assert data.predictions["drug"].tolist() == ["a", "b"] and data.predictions.attrs == {
        "purpose": "research"
    }
    assert "1 rows of predictions are of no patient of the cohort" in data.notes
    with pytest.raises(DataError, match="other patients"):
        CohortData.open(clinical, predictions=table.iloc[2:])
    with pytest.raises(DataError, match="drug"):
        CohortData.open(clinical, predictions=table[["patient"]])


def test_identifiers_are_warned_of_once(clinical):
    table = clinical.assign(mail=[f"{name}@example.org" for name in IDS])
    with pytest.warns(PmLabWarning, match=r"'mail' \(e-mail addresses, 40\)") as caught:
        data = CohortData.open(table)
    assert len(caught) == 1 and "example.org" not in str(caught[0].message)
    assert data.identifiers["column"].tolist() == ["mail"] and data.columns["mail"].private
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data.retyped({"grade": "number"})
        CohortState(data).set_range("age", 40)


def test_values_that_are_names_of_patients_travel_as_rows():
    table = pd.DataFrame({"who": ["ann", "bob", "cid"] * 4}, index=[*"uvwxyzabc", "ann", "bob", "cid"])
    state = CohortState(CohortData.open(table))
    state.set_categories("who", ["ann"])
    assert state.n_selected == 4
    assert "ann" not in state.describe() + state.to_json() + state.expression()


def test_the_hash_sees_every_change(clinical, expression):
    base = CohortData.open((clinical, expression)).hash
    assert CohortData.open((clinical.copy(), expression.copy())).hash == base
    seen = {base}
    for column, value in (("age", 31.5), ("stage", "III"), ("months", np.nan)):
        changed = clinical.copy()
        changed.loc["P005", column] = value
        seen.add(CohortData.open((changed, expression)).hash)
    one = expression.copy()
    one.iloc[3, 2] += 1e-5
    swapped = expression.copy()
    swapped.iloc[[0, 1]] = expression.iloc[[1, 0]].to_numpy()
    for changed in (one, swapped, expression.rename(columns={"G0": "G9"}), expression.iloc[:, :4]):
        seen.add(CohortData.open((clinical, changed)).hash)
    seen.add(
        CohortData.open((clinical.rename(index={"P000": "Q000"}), expression.rename({"P000": "Q000"}))).hash
    )
    seen.add(CohortData.open((clinical.rename(columns={"age": "Age"}), expression)).hash)
    seen.add(CohortData.open(clinical).hash)
    assert len(seen) == 11


def test_the_hash_sees_values_that_change_places():
    """Sums by row and by column stay what they are."""
    rng = np.random.default_rng(3)
    table = pd.DataFrame({"a": rng.normal(size=8)}, index=[f"P{i}" for i in range(8)])
    calls = pd.DataFrame(np.eye(8, dtype=np.float32), table.index, [f"G{i}" for i in range(8)])
    other = calls.copy()
    other.iloc[:4, :4] = calls.iloc[[2, 1, 0, 3], :4].to_numpy()
    assert (other.sum(axis=0) == calls.sum(axis=0)).all() and (other.sum(axis=1) == calls.sum(axis=1)).all()
    one, two = CohortData.open((table, calls)), CohortData.open((table, other))
    assert one.hash != two.hash
    state = CohortState(one)
    state.set_gene("G0", 0.5)
    with pytest.raises(DataError, match="made on other data"):
        CohortState.from_token(two, state.share_token())


def test_a_column_without_a_finite_value_is_said_and_refuses_nothing(clinical):
    data = CohortData.open(clinical.assign(ratio=[np.inf] + [np.nan] * 39))
    assert data.columns["ratio"].n_missing == 40
    assert "column 'ratio': 1 values could not be read as a number and count as missing" in data.notes
    view = cohort_view(CohortState(data), ["ratio"])
    assert view.charts["ratio"].missing_everyone == 40
    with pytest.raises(DataError, match="none of its values"):
        data.retyped({"ratio": "number"})


def test_codes_that_repeat_are_categories_and_are_charted():
    rng = np.random.default_rng(0)
    codes = [f"C{i:03d}" for i in rng.integers(0, 600, 10_000)]
    stay = [f"ward {i}" for i in rng.integers(0, 5_000, 10_000)]
    data = CohortData.open(pd.DataFrame({"code": codes, "stay": stay}, [f"P{i}" for i in range(10_000)]))
    assert kinds(data) == {"code": "category", "stay": "text"}
    state = CohortState(data)
    state.set_categories("code", ["C017"])
    assert "code = C017" in state.describe() and not data.columns["code"].private
    charted = cohort_view(state).charts["code"]
    assert charted.n_together == 551 and charted.everyone.sum() == 10_000
    assert data.columns["stay"].private and not data.retyped({"stay": "category"}).columns["stay"].private


def test_labels_of_single_patients_stay_private_when_retyped(clinical):
    data = CohortData.open(clinical.assign(who=[f"name {i}" for i in range(40)]))
    assert data.columns["who"].private and data.retyped({"who": "category"}).columns["who"].private


def test_a_correction_keeps_other_notes(clinical):
    data = CohortData.open(clinical.rename(columns={"grade": "patients"}))
    renamed = [note for note in data.notes if "is called" in note]
    assert len(renamed) == 1 and renamed[0] in data.retyped({"age": "category"}).notes


def test_cells_that_are_none_are_refused(clinical):
    for cells in (3, clinical):
        with pytest.raises(DataError, match="an AnnData of cells"):
            CohortData.open(clinical, cells=cells)


def test_obs_written_by_pandas_has_no_nameless_column(clinical, tmp_path):
    obs = clinical.reset_index().set_index(np.array([f"row {i}" for i in range(40)], object))
    obs.to_csv(tmp_path / "c.csv")
    data = CohortData.open(tmp_path / "c.csv")
    assert "Unnamed: 0" not in data.columns and data.patients.tolist() == IDS
    assert data.hash == CohortData.open(obs).hash == CohortData.open(clinical).hash


def test_a_cohort_without_a_map_gets_one_of_its_expression(followed):
    cohort = followed()
    data = CohortData.open(cohort)
    plain = data.hash
    assert list(data.embeddings) == ["X_pca"] and "X_umap" not in data.embeddings
    values = data.embedding("X_pca")
    X = cohort.X.astype(float)
    standard = (X - X.mean(0)) / X.std(0, ddof=1)
    left, size, _ = np.linalg.svd(standard, full_matrices=False)
    np.testing.assert_allclose(np.abs(values), np.abs(left[:, :2] * size[:2]), atol=2e-3)
    assert (values[np.abs(values).argmax(axis=0), [0, 1]] > 0).all()
    assert CohortData.open(cohort).hash == plain == data.hash
    state = CohortState(data)
    state.set_lasso("X_pca", [(0, -9), (9, -9), (9, 9), (0, 9)])
    assert state.n_selected == (values[:, 0] > 0).sum()
    other = CohortState.from_token(CohortData.open(cohort), state.share_token())
    assert other.selected.equals(state.selected)
    space = {"cohort": cohort}
    exec(state.to_code(), space)
    assert space["selected"].index.tolist() == state.selected.tolist()
    assert list(CohortData.open(cohort.obs).embeddings) == []


def test_pathways_of_many_patients_are_those_of_few(monkeypatch):
    cohort = pm.datasets.simulate_cohort(n_cells=600).bulk
    expected = CohortData.open(cohort).pathways
    monkeypatch.setattr(pathway_activity, "MOST_AT_ONCE", 50)
    monkeypatch.setattr(pathway_activity, "BLOCK", 47)
    found = CohortData.open(cohort).pathways
    pd.testing.assert_frame_equal(found, expected, rtol=1e-4, atol=1e-5, check_names=False)
    holed = cohort.copy()
    holed.X[3, 7] = np.nan  # not among those looked at
    data = CohortData.open(holed)
    assert data.pathways is None and any("1 genes have missing" in note for note in data.notes)


def test_two_million_patients():
    n = 2_000_000
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"age": rng.integers(18, 89, n), "arm": pd.Categorical.from_codes(rng.integers(0, 3, n), list("abc"))}
    )
    data = CohortData.open(table)
    state = CohortState(data)
    state.set_range("age", 40, 50)
    state.set_categories("arm", "b")
    expected = (table["age"] >= 40) & (table["age"] < 50) & (table["arm"] == "b")
    assert state.n_selected == expected.sum()
    assert CohortState.from_token(data, state.share_token()).n_selected == state.n_selected
