"""The state of the explorer: what it keeps, says, undoes and restores is what pandas gives."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import pm_lab as pm
from pm_lab.errors import DataError
from pm_lab.explorer import CohortData, CohortState

ODD = 'odd\'s "name"'
COMMAS = ["a, b", 'say "c"', "d and e", "ü ≥ 1"]
LIMITS = st.one_of(
    st.none(), st.floats(-1e3, 1e3), st.integers(0, 90), st.sampled_from([0.1, 0.7, 1 / 3, 2.25])
)
MISSING = st.sampled_from([False, True, "only"])
FEW = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


def in_order(low, high):
    if low is None or high is None or low < high:
        return low, high
    return (high, low) if high < low else (low, None)


def kept_by_range(values, low, high, missing):
    """The rule in plain pandas, written anew."""
    if missing == "only":
        return values.isna()
    kept = values.notna()
    if low is not None:
        kept = kept & (values >= low)
    if high is not None:
        kept = kept & (values < high)
    return kept | values.isna() if missing else kept


def kept_by_values(values, chosen, missing):
    kept = values.isin([] if missing == "only" else chosen)
    return kept | values.isna() if missing else kept


@pytest.fixture(scope="module")
def machine(data, plain, evaluated):
    """Any sequence of changes, undo, redo, JSON and tokens, beside a model in plain pandas."""

    class Machine(RuleBasedStateMachine):
        @initialize()
        def start(self):
            self.state, self.model, self.past, self.future = CohortState(data), {}, [], []
            self.text = self.state.to_json()

        def changed(self, model):
            """Take over what the model says now; a step if what is chosen is said otherwise than before."""
            text = self.state.to_json()
            if text != self.text:
                self.past.append((self.model, self.text))
                self.future.clear()
            self.model, self.text = model, text

        @rule(
            column=st.sampled_from(["age", "size (cm)", "months"]), low=LIMITS, high=LIMITS, missing=MISSING
        )
        def set_range(self, column, low, high, missing):
            low, high = in_order(low, high)
            self.state.set_range(column, low, high, missing)
            self.put(column, kept_by_range(plain[column], low, high, missing), low, high, missing)

        @rule(gene=st.sampled_from(["GENE1", "GENE2"]), row=st.integers(0, 59), missing=MISSING)
        def set_gene_at_a_value(self, gene, row, missing):
            values = plain[f"gene:{gene}"]
            low = None if np.isnan(values.iloc[row]) else float(values.iloc[row])
            self.state.set_gene(gene, low, None, missing)
            self.put(f"gene:{gene}", kept_by_range(values, low, None, missing), low, None, missing)

        @rule(days=st.integers(0, 3000), missing=MISSING)
        def set_dates(self, days, missing):
            low = pd.Timestamp("2015-01-01") + pd.Timedelta(days, "D")
            self.state.set_range("first", low, None, missing)
            self.put("first", kept_by_range(plain["first"], low, None, missing), low, None, missing)

        def put(self, key, kept, low, high, missing):
            model = {**self.model, key: kept}
            if low is None and high is None and missing is True:
                del model[key]  # keeps everyone
            self.changed(model)

        @rule(
            column=st.sampled_from(["er", ODD, "flag", "note"]),
            places=st.sets(st.integers(0, 3)),
            missing=MISSING,
        )
        def set_categories(self, column, places, missing):
            levels = sorted(plain[column].dropna().unique())
            chosen = [levels[place] for place in places if place < len(levels)]
            self.state.set_categories(column, chosen, missing)
            self.changed({**self.model, column: kept_by_values(plain[column], chosen, missing)})

        @rule(rows=st.sets(st.integers(0, 59), max_size=20))
        def set_patients(self, rows):
            ids = plain.index[sorted(rows)]
            self.state.set_patients(ids)
            self.changed({**self.model, "patients": pd.Series(plain.index.isin(ids), plain.index)})

        @rule(size=st.floats(0.2, 3), x=st.floats(-1, 1))
        def set_lasso(self, size, x):
            self.state.set_lasso("X_umap", [(x, -size), (x + size, 0), (x, size), (x - size, 0)])
            away = (plain["X_umap:1"].astype(float) - x).abs() + plain["X_umap:2"].astype(float).abs()
            self.changed({**self.model, "lasso:X_umap": away < size})

        @rule(key=st.sampled_from([None, "age", "er", "gene:GENE1", "patients", "nobody"]))
        def clear(self, key):
            self.state.clear(key)
            self.changed({} if key is None else {k: v for k, v in self.model.items() if k != key})

        @rule()
        def batch(self):
            with self.state.batch():
                self.state.set_range("age", 40, 55)
                self.state.set_categories("er", ["1"])
            now = {**self.model, "age": kept_by_range(plain["age"], 40, 55, False)}
            self.changed({**now, "er": kept_by_values(plain["er"], ["1"], False)})

        @precondition(lambda self: self.past)
        @rule()
        def undo(self):
            assert self.state.undo()
            self.future.append((self.model, self.text))
            self.model, self.text = self.past.pop()

        @precondition(lambda self: self.future)
        @rule()
        def redo(self):
            assert self.state.redo()
            self.past.append((self.model, self.text))
            self.model, self.text = self.future.pop()

        @rule(by_token=st.booleans(), group=st.sampled_from(["selection", "rest"]))
        def round_trip(self, by_token, group):
            self.state.set_group("A", group)
            self.changed(self.model)
            text = self.state.share_token() if by_token else self.state.to_json()
            restored = (CohortState.from_token if by_token else CohortState.from_json)(data, text)
            assert restored.to_json() == self.state.to_json()
            assert (restored.group("A") == (self.kept() if group == "selection" else ~self.kept())).all()
            assert restored.describe() == self.state.describe()
            assert not re.search("Zzyzx|Quux", self.state.to_json() + text + restored.describe())

        def kept(self):
            kept = pd.Series(True, plain.index)
            for mask in self.model.values():
                kept &= mask
            return kept.to_numpy(bool)

        @invariant()
        def patients_are_those_of_pandas(self):
            expected = plain.index[self.kept()].tolist()
            assert self.state.to_json() == self.text
            assert self.state.selected.tolist() == expected
            assert evaluated(self.state.expression()) == expected
            assert set(self.state.filters) == set(self.model)
            assert self.state.can_undo == bool(self.past)
            assert self.state.can_redo == bool(self.future)
            end = f"{len(expected)} of 60 patients" if self.model else "all 60 patients"
            assert self.state.describe().endswith(end)

    return Machine


def test_any_sequence_of_changes_gives_the_patients_of_pandas(machine):
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(machine, settings=FEW)


@given(low=st.floats(allow_nan=False), high=st.floats(allow_nan=False), missing=st.booleans())
@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_thresholds_in_words_are_exact(data, low, high, missing):
    state = CohortState(data)
    low, high = in_order(low, high)
    state.set_range("age", low, high, missing)
    words = state.describe().split(":")[0]
    said = [float(number) for number in re.findall(r"-?\d[\d.]*(?:e[+-]?\d+)?", words)]
    finite = [limit for limit in (low, high) if limit is not None and np.isfinite(limit)]
    assert said == (finite or ([] if state.filters else [60]))


def words(state, change):
    change(state)
    return state.describe()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.clear(), "all 60 patients"),
        (lambda s: s.set_range("age", 40, 55), "40 ≤ age < 55: "),
        (lambda s: s.set_range("age", 40.5), "age ≥ 40.5: "),
        (lambda s: s.set_range("age", high=40, missing=True), "(age < 40 or missing): "),
        (lambda s: s.set_range("age", missing="only"), "age missing: "),
        (lambda s: s.set_range("age"), "age known: "),
        (lambda s: s.set_range("age", -np.inf, np.inf), "age known: "),
        (lambda s: s.set_range("size (cm)", 1), '"size (cm)" ≥ 1: '),
        (
            lambda s: s.set_range("first", "2017-05-01", pd.Timestamp("2018-01-01")),
            "first: 4 patients in a chosen range: 4 of 60",  # dates may name a patient
        ),
        (lambda s: s.set_categories("er", [1]), "er = 1: "),
        (lambda s: s.set_categories("er", 1.0, missing=True), "(er = 1 or missing): "),
        (lambda s: s.set_categories("er", ["1", "0"]), "er is one of 0, 1: "),
        (lambda s: s.set_categories("er", [], missing="only"), "er missing: "),
        (lambda s: s.set_categories("er", []), "er is none of its values: 0 of 60"),
        (lambda s: s.set_categories("flag", True), "flag = True: "),
        (lambda s: s.set_categories(ODD, COMMAS[:3]), ' is one of "a, b", "d and e", "say \\"c\\"": '),
        (lambda s: s.set_gene("GENE1", 5.3), "GENE1 expression ≥ 5.3: "),
        (lambda s: s.set_patients(["Zzyzx-003"]), "1 patient picked by hand: 1 of 60 patients"),
        (
            lambda s: s.set_categories("note", ["Quuxville 3"]),
            "note: 2 patients with a chosen value: 2 of 60",
        ),
        (lambda s: s.set_lasso("X_umap", [(0, 0), (9, 0), (0, 9.5)]), "corners (0, 0) (9, 0) (0, 9.5): "),
    ],
)
def test_words(state, evaluated, change, said):
    assert said in words(state, change)
    assert evaluated(state.expression()) == state.selected.tolist()


def test_the_sentence_of_the_published_cohort():
    cohort = pm.datasets.load("gse7390")
    state = CohortState(CohortData.open(cohort))
    state.set_categories("er", ["positive"])
    state.set_range("age", 40, 55)
    obs = cohort.obs
    n = ((obs["er"] == "positive") & (obs["age"] >= 40) & (obs["age"] < 55)).sum()
    assert state.describe() == f"er = positive and 40 ≤ age < 55: {n} of 198 patients"


def test_code_runs_and_selects_the_same_patients(state, adata):
    state.set_range("age", 40, missing=True)
    state.set_gene("GENE2", high=7)
    state.set_lasso("X_umap", [(-1, -1), (2, -1), (2, 2), (-1, 2)])
    state.set_categories("note", ["Quuxville 1", "Quuxville 2", "Quuxville 4"])
    code = state.to_code()
    assert "Quux" not in code and "Zzyzx" not in code
    space = {"cohort": adata}
    with pytest.warns(pm.errors.PmLabWarning):
        exec(code, space)
    assert space["selected"].index.tolist() == state.selected.tolist()
    assert state.n_selected > 0


def test_code_has_groups_and_endpoint(plain):
    table = plain[["age", "er", "months", "died"]]
    spec = {"time": "months", "event": "died", "unit": "months"}
    state = CohortState(CohortData.open((table, plain.filter(like="gene:")), endpoint=spec))
    genes = state.data.genes.tolist()
    state.set_group("A", {"gene": genes[1], "above_quantile": 0.5})
    state.set_group("B", {"column": "age", "low": 30})
    space = {"cohort": (table, plain.filter(like="gene:"))}
    exec(state.to_code(), space)
    for name in "AB":
        expected = state.data.patients[state.group(name)].tolist()
        assert space[f"group_{name.lower()}"].index.tolist() == expected and expected
    assert space["outcome"].equals(state.data.outcome("endpoint"))
    assert "# B: age ≥ 30" in state.to_code()


def test_code_keeps_corrected_kinds(state, adata):
    state.retype({"er": "number"})
    state.set_range("er", 1)
    space = {"cohort": adata}
    with pytest.warns(pm.errors.PmLabWarning):
        exec(state.to_code(), space)
    assert space["selected"].index.tolist() == state.selected.tolist()


def test_crossfilter_leaves_out_one_filter(state, plain):
    state.set_range("age", 40, 60)
    state.set_categories("er", "1")
    assert (state.mask_without("age") == (plain["er"] == "1")).all()
    assert (state.mask_without("er") == ((plain["age"] >= 40) & (plain["age"] < 60))).all()
    assert (state.mask_without("none such") == state.mask).all()


def test_masks_are_kept_and_read_only(state):
    state.set_range("age", 40)
    assert state.mask is state.mask
    with pytest.raises(ValueError, match="read-only"):
        state.mask[0] = True
    with pytest.raises(TypeError):
        state.filters["age"] = None
    with pytest.raises(TypeError):
        state.settings["bins"] = 3


def test_only_the_changed_filter_is_computed(state, monkeypatch):
    from pm_lab.explorer import filters

    state.set_range("age", 40)
    state.set_categories("er", "1")
    state.mask  # noqa: B018
    computed = []
    for kind in (filters.RangeFilter, filters.CategoryFilter):
        whole = kind.mask
        monkeypatch.setattr(
            kind, "mask", lambda self, data, whole=whole: computed.append(self.key) or whole(self, data)
        )
    state.set_range("age", 50)
    state.mask, state.mask_without("er"), state.mask_without("age")
    assert computed == ["age"]


def test_two_hundred_steps_can_be_undone(state):
    said = [state.describe()]
    for step in range(200):
        state.set_range("age", step / 10)
        said.append(state.describe())
    for expected in reversed(said[:-1]):
        assert state.undo()
        assert state.describe() == expected
    assert not state.undo() and not state.can_undo
    for expected in said[1:]:
        assert state.redo()
        assert state.describe() == expected
    state.undo()
    state.set_range("age", 77)
    assert not state.redo()


def test_observers_hear_what_changed_once(state):
    heard = []
    stop = state.observe(heard.append)
    state.set_range("age", 40)
    state.set_range("age", 40)  # nothing new
    with state.batch():
        state.set_range("age", 50)
        state.set_categories("er", "1")
        state.select_patient("Zzyzx-001")
        with state.batch():
            state.set_setting("bins", 20)
    state.set_group("A", "selection")
    state.undo()
    state.undo()
    state.set_endpoint(None)
    assert heard == [
        {"filters"},
        {"filters", "patient", "settings"},
        {"groups"},
        {"groups"},
        {"filters", "patient", "settings"},
        {"endpoint"},
    ]
    stop()
    stop()
    state.clear()
    assert len(heard) == 6


def test_a_batch_that_fails_changes_nothing(state):
    heard = []
    state.observe(heard.append)
    state.set_range("age", 40)
    before = state.to_json()
    with pytest.raises(DataError), state.batch():
        state.set_categories("er", "1")
        state.set_range("no such column", 1)
    assert state.to_json() == before and len(heard) == 1
    with pytest.raises(DataError, match="batch"), state.batch():
        state.undo()
    state.set_range("age", 41)
    assert state.can_undo


def test_groups(state, plain):
    er = plain["er"] == "1"
    state.set_categories("er", "1")
    state.set_group("A", "selection")
    state.set_group("B", "rest")
    state.clear()
    assert (state.group("A") == er).all() and (state.group("B") == ~er).all()
    assert state.group_name("A") == "A: er = 1" and state.group_name("B") == "B: not (er = 1)"
    state.set_group("A", {"column": ODD, "values": COMMAS[:1]})
    assert (state.group("A") == (plain[ODD] == "a, b")).all()
    state.set_group("A", {"column": "age", "low": 50})
    assert (state.group("A") == (plain["age"] >= 50)).all()
    median = plain["gene:GENE1"].dropna().astype(float).median()
    state.set_group("A", {"gene": "GENE1", "above_quantile": 0.5})
    state.set_group("B", {"gene": "GENE1", "below_quantile": 0.5})
    values = plain["gene:GENE1"].astype(float)
    assert (state.group("A") == (values >= np.float32(median))).all()
    assert (state.group("A") | state.group("B")).sum() == values.notna().sum()
    assert not (state.group("A") & state.group("B")).any()
    state.set_group("A", plain.index[:7])
    assert state.group("A").sum() == 7 and state.group_name("A") == "A: 7 patients picked by hand"
    state.set_group("A", pd.Series(True, plain.index[:5]))
    assert state.group("A").sum() == 5
    state.set_group("A", None)
    assert state.group("A") is None and state.group_name("A") == "A"


def test_a_group_by_the_risk_of_a_panel(state, plain):
    risk = pd.Series(np.linspace(-1, 1, 50), plain.index[:50]).sample(frac=1, random_state=0)
    state.set_group("A", {"panel_risk": risk})
    state.set_group("B", {"panel_risk": risk, "below_quantile": 0.5})
    assert state.group("A").sum() == state.group("B").sum() == 25
    assert "risk of the panel" in state.group_name("A") and "Zzyzx" not in state.group_name("A")
    restored = CohortState.from_token(state.data, state.share_token())
    assert (restored.group("A") == state.group("A")).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.set_range("agee", 1), "no column 'agee'"),
        (lambda s: s.set_range("er", 1), "set_categories"),
        (lambda s: s.set_range("age", 5, 5), "below"),
        (lambda s: s.set_range("age", float("nan")), "NaN"),
        (lambda s: s.set_range("age", "forty"), "number"),
        (lambda s: s.set_range("age", 1, missing="yes"), "missing='yes'"),
        (lambda s: s.set_range("first", 2017), "date"),
        (lambda s: s.set_range("first", "soon"), "date"),
        (lambda s: s.set_categories("age", ["40"]), "set_range"),
        (lambda s: s.set_categories("er", ["2"]), "'2'.*there are 0, 1"),
        (lambda s: s.set_gene("GENE9", 1), "GENE1"),
        (lambda s: s.set_patients(["nobody"]), "1 of 1 names"),
        (lambda s: s.set_patients(np.array([True, False])), "2 values for 60"),
        (lambda s: s.set_lasso("X_tsne", [(0, 0), (1, 0), (0, 1)]), "X_umap"),
        (lambda s: s.set_lasso("X_umap", [(0, 0), (1, 0)]), "3 corners"),
        (lambda s: s.set_lasso("X_umap", [(0, 0), (1, 0), (np.nan, 1)]), "finite"),
        (lambda s: s.set_group("C", "selection"), "'A' and 'B'"),
        (lambda s: s.set_group("A", {"colour": "red"}), "set_group"),
        (lambda s: s.set_group("A", {"gene": "GENE1", "quantile": 0.5}), "set_group"),
        (lambda s: s.set_group("A", {"gene": "GENE1", "above_quantile": 50}), "0.5"),
        (lambda s: s.select_patient("nobody"), "no patient 'nobody'"),
        (lambda s: s.set_endpoint("dfs"), r"declare_endpoint"),
        (lambda s: s.set_setting("note", "Zzyzx-001"), "no setting"),
        (lambda s: s.set_setting("theme", "pink"), "page, light, dark"),
        (lambda s: s.set_setting("colour_by", "Zzyzx-001"), "no column"),
        (lambda s: s.set_setting("least_count", -1), "least_count"),
        (lambda s: s.set_setting("columns", 5), "a list of columns"),
        (lambda s: s.set_range("age", missing=np.ones(60, bool)), "missing="),
        (lambda s: s.retype({"er": "colour"}), "kinds are"),
        (lambda s: s.retype({ODD: "number"}), "none of its values"),
    ],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(state, change, message):
    state.set_range("age", 40)
    before = state.to_json()
    with pytest.raises(DataError, match=message):
        change(state)
    assert state.to_json() == before


def test_retyping_drops_what_no_longer_fits_and_can_be_undone(state):
    state.set_categories("er", "1")
    state.set_group("A", "selection")
    state.set_range("age", 40)
    state.retype({"er": "number"})
    assert set(state.filters) == {"age"} and state.group("A") is None
    state.set_range("er", 1)
    restored = CohortState.from_json(state.data, state.to_json())
    assert restored.to_json() == state.to_json()
    state.undo()
    state.undo()
    assert state.data.columns["er"].kind == "category" and set(state.filters) == {"er", "age"}


def everything(state):
    state.set_range("age", 40, 60, missing=True)
    state.set_categories(ODD, COMMAS[1:])
    state.set_categories("note", [f"Quuxville {i}" for i in range(40)])
    state.set_gene("GENE1", 2.5)
    state.set_patients(state.data.patients[:50])
    state.set_lasso("X_umap", [(-3, -3), (3, -3), (3, 3), (-3, 3)])
    state.set_group("A", "selection")
    state.set_group("B", state.data.patients[50:])
    state.select_patient("Zzyzx-007")
    state.set_setting("columns", ["er", "age"])
    state.set_setting("hide_small_counts", True)
    return state


def test_tokens_and_json_hold_no_name(state):
    import base64
    import zlib

    everything(state)
    token = state.share_token()
    packed = token.removeprefix("pmx1.")
    inside = zlib.decompress(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))[8:]).decode()
    said = [state.describe(), state.group_name("A"), state.group_name("B"), state.to_code(), repr(state)]
    for text in (token, inside, state.to_json(), *said, *state.data.notes):
        assert not re.search("zzyzx|quux", text, re.IGNORECASE)
    assert CohortState.from_token(state.data, f" {token}\n").patient == "Zzyzx-007"


def test_the_same_data_from_elsewhere_take_a_token(state, adata, tmp_path):
    everything(state)
    copy = adata.copy()
    copy.obs["first"] = copy.obs["first"].dt.strftime("%Y-%m-%d")  # h5ad takes no dates
    copy.write_h5ad(tmp_path / "mine.h5ad")
    with pytest.warns(pm.errors.PmLabWarning):
        again = CohortData.open(tmp_path / "mine.h5ad")
    assert CohortState.from_token(again, state.share_token()).selected.tolist() == state.selected.tolist()


def test_other_data_are_refused(state, adata):
    token, text = everything(state).share_token(), state.to_json()
    other = adata.copy()
    other.obs.loc["Zzyzx-003", "months"] += 1
    with pytest.warns(pm.errors.PmLabWarning):
        other = CohortData.open(other)
    for restore, given_text in ((CohortState.from_token, token), (CohortState.from_json, text)):
        with pytest.raises(DataError, match="other data"):
            restore(other, given_text)


@pytest.mark.parametrize("token", ["", "abc", "pmx1.", "pmx1.!!", "pmx2.abcd", None])
def test_what_is_no_token_is_refused(data, token):
    with pytest.raises(DataError, match="token"):
        CohortState.from_token(data, token)


def test_a_changed_token_is_refused(state):
    token = everything(state).share_token()
    for place in range(6, len(token), 37):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        with pytest.raises(DataError, match="changed or cut"):
            CohortState.from_token(state.data, changed)
    with pytest.raises(DataError, match="changed or cut"):
        CohortState.from_token(state.data, token[:-20])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(choices=st.data())
@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_changed_json_is_read_or_refused_with_a_reason(data, choices):
    """Any part is replaced by anything: a clear error, or a state that holds together."""
    tree = json.loads(everything(CohortState(data)).to_json())
    place = tree
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = choices.draw(st.sampled_from(keys))
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or choices.draw(st.booleans()):
            break
        place = inner
    if choices.draw(st.booleans()):
        place[key] = choices.draw(JSON)
    else:
        del place[key]
    try:
        state = CohortState.from_json(data, json.dumps(tree))
    except DataError as error:
        assert len(str(error)) > 20
    else:
        assert 0 <= state.n_selected <= data.n
        assert CohortState.from_json(data, state.to_json()).to_json() == state.to_json()


def test_unknown_versions_and_forms_are_refused(state):
    text = state.to_json()
    with pytest.raises(DataError, match="version 99"):
        CohortState.from_json(state.data, text.replace('"version": 1', '"version": 99'))
    for wrong in ("{", "[]", "null", "[" * 5000, '{"format": "other"}'):
        with pytest.raises(DataError):
            CohortState.from_json(state.data, wrong)


def test_restoring_in_place_is_one_step(state):
    everything(state)
    token, text = state.share_token(), state.to_json()
    fresh = CohortState(state.data)
    heard = []
    fresh.observe(heard.append)
    fresh.restore(token)
    assert fresh.to_json() == text and len(heard) == 1
    fresh.undo()
    assert fresh.describe() == "all 60 patients"
    fresh.restore(text)
    assert fresh.to_json() == text


def test_small_counts_can_be_hidden_in_words(state):
    state.set_patients(state.data.patients[:4])
    assert state.describe() == "4 patients picked by hand: 4 of 60 patients"
    assert state.describe(hide=True) == "<10 patients picked by hand: <10 of 60 patients"
    state.set_patients(state.data.patients[:57])
    assert state.describe(hide=True) == ">50 patients picked by hand: >50 of 60 patients"
    state.set_setting("least_count", 3)  # ten is the least, whatever a token sets
    assert state.describe(hide=True).endswith(">50 of 60 patients")
    assert "57" not in state.to_code().split("data.require")[0]
    state.set_setting("least_count", 20)
    assert state.describe(hide=True).endswith(">40 of 60 patients")
    state.set_setting("least_count", 10)
    state.set_setting("hide_small_counts", True)
    assert "57" not in state.describe() and "57" in state.describe(hide=False)
    state.set_group("A", state.data.patients[:4])
    assert state.group_name("A") == "A: <10 patients picked by hand"


def test_nobody_may_be_left(state):
    state.set_range("age", 1000)
    assert state.n_selected == 0 and state.selected.tolist() == []
    assert state.describe() == "age ≥ 1000: 0 of 60 patients"


def test_the_endpoint_is_the_first_declared(state, data):
    assert state.endpoint == "os"
    assert CohortState(data, endpoint="os").endpoint == "os"
    with pytest.raises(DataError, match="dfs"):
        CohortState(data, endpoint="dfs")
