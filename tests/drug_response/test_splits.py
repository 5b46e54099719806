"""Nothing of a test group is in training or validation, and a split on file is for its screen only."""

import hashlib
import json

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import KFold

import pm_lab as pm
from pm_lab.errors import DataError

dr = pm.drug_response
SPLITS = ["LPO", "LCO", "LTO", "LDO"]


def small_screen(n_lines, cids, tissues, seed=0, share_missing=0.2):
    """A screen of noise with given compounds and tissues; each drug on five lines at least."""
    rng = np.random.default_rng(seed)
    lines = [f"L{i}" for i in range(n_lines)]
    drugs = [f"D{i}" for i in range(len(cids))]
    response = rng.normal(0, 3, (n_lines, len(cids)))
    missing = rng.random(response.shape) < share_missing
    missing[:5] = False
    response[missing] = np.nan
    screen = anndata.AnnData(
        rng.uniform(0, 9, (n_lines, 4)).astype("float32"),
        obs=pd.DataFrame({"tissue": pd.Categorical(tissues)}, index=lines),
        var=pd.DataFrame(index=list("abcd")),
    )
    screen.obsm["response"] = pd.DataFrame(response, index=lines, columns=drugs)
    screen.uns["drugs"] = pd.DataFrame({"cid": cids}, index=drugs)
    return screen


def labels(screen, split):
    """What may not be shared, of each pair, by its plain meaning."""
    n_lines, n_drugs = screen.obsm["response"].shape
    cids = screen.uns["drugs"].loc[screen.obsm["response"].columns, "cid"].astype(str).to_numpy()
    line = np.repeat(screen.obs_names.to_numpy(object)[:, None], n_drugs, axis=1)
    drug = np.repeat(cids.astype(object)[None, :], n_lines, axis=0)
    tissue = np.repeat(screen.obs["tissue"].astype(str).to_numpy(object)[:, None], n_drugs, axis=1)
    return {"LCO": line, "LTO": tissue, "LDO": drug, "LPO": line + "|" + drug}[split]


def assert_nothing_leaks(screen, split, folds):
    label = labels(screen, split)
    known = screen.obsm["response"].notna().to_numpy()
    for fold in folds:
        parts = [fold.train, fold.validation, fold.test]
        assert all(part.any() for part in parts)
        np.testing.assert_array_equal(sum(part.astype(int) for part in parts), known.astype(int))
        train, validation, test = (set(label[part]) for part in parts)
        assert not train & test and not validation & test and not train & validation
    np.testing.assert_array_equal(sum(fold.test.astype(int) for fold in folds), known.astype(int))


@st.composite
def screens(draw):
    n_lines = draw(st.integers(20, 30))
    n_compounds = draw(st.integers(5, 8))
    again = draw(st.lists(st.integers(0, n_compounds - 1), max_size=4))
    cids = [str(i) for i in [*range(n_compounds), *again]]
    order = draw(st.permutations(cids))
    tissues = [f"T{i % draw(st.integers(5, 8))}" for i in range(n_lines)]
    return small_screen(n_lines, order, tissues, draw(st.integers(0, 1000)))


@pytest.mark.parametrize("split", SPLITS)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(screen=screens(), n_splits=st.integers(2, 4), seed=st.integers(0, 50))
def test_nothing_leaks(split, screen, n_splits, seed):
    assert_nothing_leaks(screen, split, dr.folds(screen, split, n_splits=n_splits, seed=seed))


@pytest.mark.parametrize("split", SPLITS)
def test_nothing_leaks_in_the_built_in_screen(built_in, split):
    assert_nothing_leaks(built_in, split, dr.folds(built_in, split))


def test_lco_folds_are_plain_kfold_over_the_lines(built_in):
    for seed in (0, 1):
        cut = KFold(5, shuffle=True, random_state=seed).split(built_in.obs_names)
        for fold, (_, test) in zip(dr.folds(built_in, "LCO", seed=seed), cut, strict=True):
            np.testing.assert_array_equal(np.flatnonzero(fold.test.any(axis=1)), test)


def test_equal_seeds_equal_folds_others_differ(built_in):
    one, same, other = (dr.folds(built_in, "LPO", seed=seed)[0] for seed in (0, 0, 1))
    assert (one.test == same.test).all() and (one.validation == same.validation).all()
    assert (one.test != other.test).any()


def test_validation_has_its_share(built_in):
    fold = dr.folds(built_in, "LCO", validation=0.25)[0]
    assert fold.validation.any(axis=1).sum() == 60 and fold.train.any(axis=1).sum() == 180


def test_compounds_by_cid_or_by_structure():
    screen = small_screen(8, ["1", "2", "1", "", "", ""], ["a"] * 8)
    screen.uns["drugs"]["smiles"] = ["C", "N", "", "N", "O", ""]
    assert dr.compounds(screen).tolist() == [0, 1, 0, 1, 2, 3]


def test_words_are_no_cid_and_gaps_make_no_other_one():
    screen = small_screen(8, ["none", "None", "nan", "-", "7", 7.0, "several", "several"], ["a"] * 8)
    assert dr.compounds(screen).tolist() == [0, 1, 2, 3, 4, 4, 5, 6]


def test_one_structure_written_in_two_ways_is_one_compound():
    pytest.importorskip("rdkit")
    screen = small_screen(8, [""] * 5, ["a"] * 8)
    screen.uns["drugs"]["smiles"] = ["CCO", "OCC", "no structure", "C(C)O", "nothing"]
    assert dr.compounds(screen).tolist() == [0, 0, 1, 0, 2]


def test_overview_of_folds(built_in):
    table = dr.fold_overview(dr.folds(built_in, "LDO"))
    tests = table[table["part"] == "test"]
    assert (tests["n_new_drug"] == tests["n_values"]).all()
    assert tests["n_values"].sum() == built_in.obsm["response"].notna().to_numpy().sum()
    assert (dr.fold_overview(dr.folds(built_in, "LCO"))["n_new_drug"] == 0).all()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"split": "random"}, "'LCO' .leave cell lines out."),
        ({"n_splits": 1}, "n_splits=1 with 300 lines"),
        ({"split": "LTO", "n_splits": 9}, "n_splits=9 with 8 tissues"),
        ({"validation": 0}, "validation=0"),
        ({"validation": "some"}, "validation='some'"),
        ({"n_splits": 5.0}, "n_splits=5.0: a whole number"),
        ({"seed": None}, "seed=None: a whole number"),
        ({"split": ["LCO"]}, "split=.'LCO'.: 'LPO'"),
    ],
)
def test_folds_that_cannot_be(built_in, options, match):
    with pytest.raises(DataError, match=match):
        dr.folds(built_in, **options)


def test_tissues_that_are_unknown_cannot_be_left_out(screen):
    screen.obs["tissue"] = screen.obs["tissue"].astype(str).replace("lung", "unknown")
    with pytest.raises(DataError, match="38 of 300 lines have the tissue 'unknown'"):
        dr.folds(screen, "LTO")
    assert len(dr.folds(screen, "LCO")) == 5


# What a model is given


def with_lines_without_expression(screen):
    names = ["Z1", "Z2", "Z3"]
    screen.uns["response_only"] = {
        "obs": pd.DataFrame({"tissue": pd.Categorical(["lung", "skin", "unknown"])}, index=names),
        "response": screen.obsm["response"].iloc[:3].set_axis(names) + 0.25,
    }
    return screen


@pytest.mark.parametrize("split", SPLITS)
def test_a_part_holds_its_own_values_and_no_others(screen, split):
    fold = dr.folds(with_lines_without_expression(screen), split)[1]
    for part, mask in {
        "train": fold.train,
        "test": fold.test,
        "train+validation": fold.train | fold.validation,
    }.items():
        given_ = fold.take(screen, part)
        whole = screen.obsm["response"].where(mask)
        expected = whole.loc[mask.any(axis=1), mask.any(axis=0)]
        pd.testing.assert_frame_equal(given_.obsm["response"], expected)
        assert list(given_.uns["drugs"].index) == list(expected.columns)
        np.testing.assert_array_equal(given_.X, screen[expected.index].X)
        dr.check_screen(given_, min_lines=1)
        rest = given_.uns.get("response_only")
        if part == "test":
            assert rest is None
        elif split == "LTO":
            seen = set(given_.obs["tissue"])
            assert rest is None or set(rest["obs"]["tissue"]) <= seen - {"unknown"}
        else:
            assert list(rest["response"].columns) == list(expected.columns) and len(rest["obs"]) == 3


def test_nothing_but_what_is_known_to_be_no_response_goes_into_a_part(screen):
    """Fitted curves are the responses once more, and so may be anything that someone put into a screen."""
    response = screen.obsm["response"]
    screen.uns["curves"] = response.stack().rename("ln_ic50").reset_index()
    screen.uns["mine"], screen.obsm["mine"] = response, response.fillna(0.0).to_numpy()
    screen.layers["mine"] = np.repeat(response.mean(axis=1).to_numpy()[:, None], screen.n_vars, axis=1)
    screen.obsp["mine"] = np.eye(screen.n_obs)
    screen.obsm["mutation"] = np.zeros((screen.n_obs, 1))
    screen.uns |= {"features": {"mutation": ["KRAS"]}, "response_measure": "ln_ic50"}
    part = dr.folds(screen)[0].take(screen)
    assert set(part.uns) == {"drugs", "features", "response_measure"}
    assert set(part.obsm) == {"response", "mutation"} and not part.layers.keys() and not part.obsp.keys()
    assert set(part.obs["tissue"].cat.categories) == set(part.obs["tissue"])
    assert "curves" in screen.uns and "mine" in screen.obsm


def test_lines_without_expression_and_without_a_tissue_are_of_an_unknown_one(screen):
    with_lines_without_expression(screen)
    del screen.uns["response_only"]["obs"]["tissue"]
    assert "response_only" not in dr.folds(screen, "LTO")[0].take(screen).uns
    assert len(dr.folds(screen, "LCO")[0].take(screen).uns["response_only"]["obs"]) == 3


def test_a_part_of_no_such_name_and_a_fold_of_another_screen(built_in):
    fold = dr.folds(built_in)[0]
    with pytest.raises(DataError, match="part='all'"):
        fold.take(built_in, "all")
    with pytest.raises(DataError, match="made for another screen"):
        fold.take(built_in[:100])


# On file


@pytest.mark.parametrize("split", SPLITS)
def test_folds_survive_a_file(built_in, split, tmp_path):
    found = dr.folds(built_in, split, seed=3)
    path = dr.save_folds(found, built_in, tmp_path / "folds.json")
    again = dr.load_folds(path, built_in.copy())
    assert [fold.number for fold in again] == [0, 1, 2, 3, 4] and again[0].split == split
    for one, other in zip(found, again, strict=True):
        for part in ("train", "validation", "test"):
            np.testing.assert_array_equal(getattr(one, part), getattr(other, part))
    assert [file.name for file in tmp_path.iterdir()] == ["folds.json"]


def one_value_more(screen):
    response = screen.obsm["response"]
    row, column = np.argwhere(response.isna().to_numpy())[0]
    response.iloc[row, column] = 0.0
    return screen


def other_tissue(screen):
    tissue = screen.obs["tissue"].astype(str).to_numpy(copy=True)
    tissue[0] = "skin" if tissue[0] != "skin" else "lung"
    screen.obs["tissue"] = tissue
    return screen


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda s: s[5:].copy(), "its lines are others: 5 of the file's are absent .LINE0001"),
        (lambda s: s[::-1].copy(), "its lines are the same in another order"),
        (lambda s: dr.take_drugs(s, s.uns["drugs"].index[1:]), "its drugs are others: 1 .*DRUG001"),
        (one_value_more, "not which pairs are measured, or the tissues"),
        (other_tissue, "not which pairs are measured, or the tissues"),
    ],
    ids=["fewer lines", "order", "fewer drugs", "one value more", "a tissue"],
)
def test_a_file_of_another_screen_is_refused(built_in, screen, change, match, tmp_path):
    path = dr.save_folds(dr.folds(built_in), built_in, tmp_path / "folds.json")
    with pytest.raises(DataError, match=match):
        dr.load_folds(path, change(screen))


def changed(path, change, signed):
    """The file, changed; where it is signed anew, its SHA-256 fits what it says now."""
    content = json.loads(path.read_text())
    change(content)
    if signed:
        rest = {name: value for name, value in content.items() if name != "sha256"}
        content["sha256"] = hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(content))
    return path


def move_a_line(content):
    content["folds"][0]["validation"].append(content["folds"][0]["test"].pop())


def take_a_line_twice(content):
    content["folds"][0]["validation"].append(content["folds"][0]["test"][0])


def forget_a_line(content):
    content["folds"][0]["test"].pop()


def forget_a_drug(content):
    """One of two drugs of a compound goes back to training."""
    next(fold for fold in content["folds"] if "D0" in fold["test"])["test"].remove("D0")


def unknown_pair(content):
    row = content["folds"][0]["pairs"][0]
    content["folds"][0]["pairs"][0] = "." + row[1:]


def repeat_a_fold(content):
    content["folds"][1] = content["folds"][0] | {"fold": 1}


CHANGES = [
    ("LCO", take_a_line_twice, r"fold 0 of LCO has 1 lines in two parts \(L\d+\)"),
    ("LCO", forget_a_line, "damaged: ValueError: some measured pairs are tested in no fold"),
    ("LCO", repeat_a_fold, "pairs are tested in several folds"),
    ("LCO", lambda content: content["folds"].pop(), "some measured pairs are tested in no fold"),
    ("LCO", lambda content: content.update(folds=content["folds"][:1] * 3), "have the numbers 0, 0, 0"),
    ("LCO", lambda content: content.update(folds=[]), "damaged: folds is empty"),
    ("LCO", lambda content: content["folds"][0]["test"].append("HeLa"), "1 names .* not of the screen .HeLa"),
    ("LCO", lambda content: content["folds"][0].update(test="L1"), "a part of a fold is 'L1', no list"),
    ("LCO", lambda content: content["folds"][0].update(test=[]), "test of fold 0 is empty"),
    ("LCO", lambda content: content["folds"][0].pop("test"), "damaged: KeyError: 'test'"),
    ("LCO", lambda content: content.update(lines=None, screen=""), "or a list is none"),
    ("LCO", lambda content: content.update(split=["LCO"]), "damaged: it is of the split .'LCO'."),
    ("LCO", lambda content: content.update(split="XXX"), "of the split 'XXX'"),
    ("LDO", forget_a_drug, r"fold \d of LDO has 1 compounds in two parts .D0"),
    ("LPO", unknown_pair, "is damaged: ValueError: pairs are in a part"),
]


@pytest.mark.parametrize(("split", "change", "match"), CHANGES)
def test_a_file_that_was_changed_is_refused(split, change, match, tmp_path):
    screen = small_screen(20, ["1", "1", "2", "3", "4", "5", "6"], ["a", "b", "c", "d"] * 5)
    path = dr.save_folds(dr.folds(screen, split, n_splits=3), screen, tmp_path / "folds.json")
    whole = path.read_text()
    with pytest.raises(DataError, match="was changed after it was saved"):
        dr.load_folds(changed(path, change, signed=False), screen)
    path.write_text(whole)
    with pytest.raises(DataError, match=match):
        dr.load_folds(changed(path, change, signed=True), screen)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (move_a_line, "was changed after it was saved"),
        (lambda content: content.update(version=9), "format version 9"),
        (lambda content: content.update(format="other"), "holds no folds"),
        (lambda content: content.pop("folds"), "damaged: it has no folds"),
        (lambda content: content.pop("sha256"), "damaged: it has no sha256"),
    ],
)
def test_a_file_of_another_kind_or_unsigned_is_refused(change, match, tmp_path):
    screen = small_screen(20, ["1", "2", "3"], ["a"] * 20)
    path = dr.save_folds(dr.folds(screen, n_splits=3), screen, tmp_path / "folds.json")
    with pytest.raises(DataError, match=match):
        dr.load_folds(changed(path, change, signed=False), screen)


def test_some_of_the_folds_may_be_kept(built_in, tmp_path):
    some = dr.folds(built_in)[1:3]
    again = dr.load_folds(dr.save_folds(some, built_in, tmp_path / "two.json"), built_in)
    assert [fold.number for fold in again] == [1, 2]


def test_folds_that_no_file_can_hold(built_in, tmp_path):
    found = dr.folds(built_in)
    other = dr.folds(built_in, seed=1)
    renumbered = [dr.Fold("LCO", 5 + fold.number, fold.train, fold.validation, fold.test) for fold in other]
    one = found[0]
    less = one.train & (np.arange(300) < 200)[:, None]
    for folds, match in {
        "none": ([], "folds is empty"),
        "text": ("LCO", "folds hold str: a list of Fold"),
        "two splits": ([*found, dr.folds(built_in, "LTO")[0]], "of the splits LCO, LTO"),
        "of two seeds": ([*found, *renumbered], "pairs are tested in several folds"),
        "less": ([dr.Fold("LCO", 0, less, one.validation, one.test)], "measured pairs out of all its parts"),
        "another screen": (dr.folds(built_in[:100].copy()), "made for another screen"),
    }.values():
        with pytest.raises(DataError, match=match):
            dr.save_folds(folds, built_in, tmp_path / "folds.json")
    with pytest.raises(DataError, match=r"cannot be written: .* a folder that exists"):
        dr.save_folds(found, built_in, tmp_path / "nowhere" / "folds.json")
    assert not list(tmp_path.iterdir())


def test_a_truncated_file_is_refused(built_in, tmp_path):
    path = dr.save_folds(dr.folds(built_in), built_in, tmp_path / "folds.json")
    path.write_text(path.read_text()[:-200])
    with pytest.raises(DataError, match="cannot be read as folds"):
        dr.load_folds(path, built_in)
