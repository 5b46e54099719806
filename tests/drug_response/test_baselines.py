"""Baselines against what was planted, against other libraries, and against themselves on changed input."""

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import rbf_kernel

import pm_lab as pm
from pm_lab.drug_response.effects import additive_effects, average_effects
from pm_lab.drug_response.kernels import solve_known
from pm_lab.errors import DataError

dr = pm.drug_response
LINES, DRUGS, GENES, TISSUES = 60, 8, 12, ("lung", "skin", "bone")


def planted(noise=0.1, share_missing=0.2, seed=0, n_lines=LINES):
    """ln IC50 = drug + line + (gene 0 with drugs 0–3, gene 1 with drugs 4–7) + tissue with drug 0 + noise."""
    rng = np.random.default_rng(seed)
    expression = rng.uniform(0, 8, (n_lines, GENES))
    expression[:, 0] += 1e-3 * np.arange(n_lines)
    tissue = np.array(TISSUES)[np.arange(n_lines) % 3]
    weights = np.zeros((GENES, DRUGS))
    weights[0, :4], weights[1, 4:] = 0.5, -0.5
    truth = {
        "drug": rng.normal(0, 3, DRUGS),
        "line": rng.normal(0, 0.5, n_lines),
        "specific": (expression - 4) @ weights,
    }
    response = (
        truth["drug"] + truth["line"][:, None] + truth["specific"] + rng.normal(0, noise, (n_lines, DRUGS))
    )
    missing = rng.random(response.shape) < share_missing
    missing[:5] = False
    lines = [f"L{i:02d}" for i in range(n_lines)]
    drugs = [f"D{j}" for j in range(DRUGS)]
    screen = anndata.AnnData(
        expression.astype("float32"),
        obs=pd.DataFrame({"tissue": pd.Categorical(tissue)}, index=lines),
        var=pd.DataFrame(index=[f"G{g}" for g in range(GENES)]),
    )
    screen.obsm["response"] = pd.DataFrame(np.where(missing, np.nan, response), lines, drugs)
    smiles = ["CCO", "CCN", "c1ccccc1", "CC(=O)O", "CCCC", "C1CCCCC1", "c1ccncc1", "CCS"]
    screen.uns["drugs"] = pd.DataFrame({"cid": [str(j) for j in range(DRUGS)], "smiles": smiles}, index=drugs)
    screen.uns["truth"] = truth
    return screen


def without_lines(screen, n=15):
    """Training and new lines."""
    return screen[n:].copy(), screen[:n].copy()


MODELS = {
    "drug_mean": dr.DrugMean,
    "mean_effects": dr.MeanEffects,
    "tissue_drug_mean": dr.TissueDrugMean,
    "pca_ridge": dr.PCARidge,
    "kernel_ridge": dr.KernelRidge,
    "multitask_forest": lambda: dr.MultitaskForest(n_trees=30, n_jobs=1),
    "random_forest": lambda: dr.RandomForest(n_trees=10, n_jobs=1),
}
OF_EXPRESSION = ["pca_ridge", "kernel_ridge", "multitask_forest", "random_forest"]


@pytest.fixture(params=MODELS)
def model(request):
    if request.param == "random_forest":
        pytest.importorskip("rdkit")
    made = MODELS[request.param]()
    assert made.name == request.param
    return made


# Effects


def test_additive_effects_are_found_whatever_was_measured_and_averages_are_not():
    rng = np.random.default_rng(0)
    line, drug = rng.normal(0, 1, 30), rng.normal(0, 3, 10)
    table = pd.DataFrame(2 + (line - line.mean())[:, None] + (drug - drug.mean()))
    holes = table.mask(rng.random(table.shape) < np.linspace(0, 0.8, 10))  # the later drugs on few lines
    effects = additive_effects(holes)
    assert effects.overall == pytest.approx(2)
    np.testing.assert_allclose(effects.line, line - line.mean(), atol=1e-9)
    np.testing.assert_allclose(effects.table(table.index, table.columns), table, atol=1e-9)
    average = average_effects(holes)
    assert np.abs(average.line - (line - line.mean())).max() > 0.5
    pd.testing.assert_series_equal(average.drug, holes.mean() - average.overall)
    assert average.overall == pytest.approx(np.nanmean(holes))


def test_line_effects_are_shrunk_as_far_as_they_are_noise():
    """As a mixed model would: of 400 lines, half tested with 4 drugs, half with 40."""
    rng = np.random.default_rng(0)
    line, noise = rng.normal(0, 0.5, 400), 1.2
    table = pd.DataFrame(line[:, None] + rng.normal(0, 3, 40) + rng.normal(0, noise, (400, 40)))
    for row in range(200):
        table.iloc[row, rng.permutation(40)[:36]] = np.nan
    effects = additive_effects(table)
    for n, rows in ((4, slice(0, 200)), (40, slice(200, 400))):
        slope = np.polyfit(effects.line[rows], line[rows], 1)[0]
        assert slope == pytest.approx(1, abs=0.2)  # a shrunk estimate is what to expect of the truth
        reliability = 0.25 / (0.25 + noise**2 / n)
        assert effects.line[rows].var() == pytest.approx(0.25 * reliability, rel=0.25)


def test_drug_mean_and_mean_effects_by_hand():
    screen = planted(n_lines=20)
    response = screen.obsm["response"]
    screen, new = without_lines(screen, 5)
    trained = screen.obsm["response"]
    overall = np.nanmean(trained)
    both = anndata.concat([screen[:1], new[:1]])
    drugs = pd.DataFrame(index=["D1", "NEW"])
    drug_mean = dr.DrugMean().fit(screen).predict_matrix(both, drugs)
    np.testing.assert_allclose(drug_mean, [[trained["D1"].mean(), overall]] * 2)
    effects = dr.MeanEffects().fit(screen).predict_matrix(both, drugs)
    line = response.loc["L05"].mean() - overall
    np.testing.assert_allclose(effects.loc["L05"], [trained["D1"].mean() + line, overall + line])
    np.testing.assert_allclose(effects.loc["L00"], [trained["D1"].mean(), overall])


def test_tissue_drug_mean_by_hand():
    lines = [f"L{i}" for i in range(8)]
    screen = anndata.AnnData(
        np.ones((8, 2), "float32") * np.linspace(0.5, 8, 16).reshape(8, 2),
        obs=pd.DataFrame({"tissue": ["a"] * 4 + ["b"] * 3 + ["unknown"]}, index=lines),
    )
    values = np.array([3.0, 3, 3, 3, -4, -4, -4, 0])
    screen.obsm["response"] = pd.DataFrame({"D": values, "E": -values}, lines)
    fitted = dr.TissueDrugMean().fit(screen)
    new = screen.copy()
    new.obs_names = [f"N{i}" for i in range(8)]
    shift = 3 * 4 / (4 + fitted.shrinkage_)
    predicted = fitted.predict_matrix(new)
    np.testing.assert_allclose(predicted.iloc[0], [shift, -shift])
    np.testing.assert_allclose(predicted.iloc[7], 0, atol=1e-12)  # an unknown tissue
    # A line of training keeps its level: here 0, since D and E cancel.
    np.testing.assert_allclose(fitted.predict_matrix(screen[:1]), predicted.iloc[:1])


def test_shrinkage_is_strong_where_tissue_says_nothing_and_weak_where_it_says_all():
    screen = planted(noise=0.3)
    said = screen.copy()
    shifts = pd.Series({"lung": 3.0, "skin": -3.0, "bone": 0.0})[screen.obs["tissue"]].to_numpy()
    signs = np.where(np.arange(DRUGS) % 2, 1, -1)
    said.obsm["response"] = screen.obsm["response"] + shifts[:, None] * signs
    assert dr.TissueDrugMean().fit(screen).shrinkage_ > 4 > dr.TissueDrugMean().fit(said).shrinkage_


# Kernels


def test_equations_with_missing_responses_are_solved_as_one_by_one():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(40, 5))
    kernel = rbf_kernel(points, gamma=0.2)
    values = np.where(rng.random((40, 7)) < 0.4, np.nan, rng.normal(size=(40, 7)))
    values[:, 0], values[:, 1], values[1:, 2] = np.nan, 1.0, np.nan  # no value, all values, one value
    found = solve_known(kernel, values, penalty=0.3)
    for column in range(7):
        known = ~np.isnan(values[:, column])
        exact = np.linalg.solve(
            kernel[np.ix_(known, known)] + 0.3 * np.eye(known.sum()), values[known, column]
        )
        np.testing.assert_allclose(found[known, column], exact, atol=1e-4)
        assert not found[~known, column].any()
    peer = KernelRidge(alpha=0.3, kernel="precomputed").fit(kernel, values[:, 1])
    np.testing.assert_allclose(found[:, 1], peer.dual_coef_, atol=1e-4)


def test_kernel_ridge_is_that_of_scikit_learn_where_nothing_is_missing():
    screen, new = without_lines(planted(share_missing=0, noise=0.5))
    fitted = dr.KernelRidge().fit(screen)
    response = screen.obsm["response"]
    effects = additive_effects(response)
    scale = screen.X.std(axis=0)
    X, X_new = ((part.X - screen.X.mean(axis=0)) / scale for part in (screen, new))
    gamma = fitted.width_ / np.median(pdist(X, "sqeuclidean"))
    level = KernelRidge(alpha=fitted.penalty_level_, kernel="rbf", gamma=gamma).fit(X, effects.line)
    rest = response - effects.table(response.index, response.columns)
    specific = KernelRidge(alpha=fitted.penalty_, kernel="rbf", gamma=gamma).fit(X, rest)
    expected = (
        effects.overall + effects.drug.to_numpy() + level.predict(X_new)[:, None] + specific.predict(X_new)
    )
    np.testing.assert_allclose(fitted.predict_matrix(new), expected, atol=1e-3)


def test_a_tenth_is_set_apart_by_default_and_four_more_tenths_follow():
    from pm_lab.drug_response.baselines import tuning_parts

    response = planted().obsm["response"]
    parts = tuning_parts(response, None, seed=0)
    lines = np.array([part.any(axis=1) for part in parts])
    assert len(parts) == 5 and (lines.sum(axis=1) == 6).all() and (lines.sum(axis=0) <= 1).all()
    pairs = np.zeros(response.shape, bool)
    pairs[::3, ::2] = True
    np.testing.assert_array_equal(tuning_parts(response, pairs, seed=0), [pairs])


# All of them


def beyond_mean_effects(model, screen, new):
    fitted = model.fit(screen)
    expected = dr.MeanEffects().fit(screen).predict_matrix(new)
    return dr.score_responses(new.obsm["response"], fitted.predict_matrix(new), expected)[
        "normalized_pearson"
    ]


@pytest.mark.parametrize("name", OF_EXPRESSION)
def test_planted_genes_are_found_in_new_lines_and_shuffled_ones_are_not(name):
    if name == "random_forest":
        pytest.importorskip("rdkit")
    screen, new = without_lines(planted(noise=0.3, n_lines=120), 40)
    # The forest of pairs must find out from structures which drugs go with which gene.
    assert beyond_mean_effects(MODELS[name](), screen, new) > (0.35 if name == "random_forest" else 0.6)
    shuffled = screen.copy()
    shuffled.X = screen.X[np.random.default_rng(0).permutation(screen.n_obs)]
    assert abs(beyond_mean_effects(MODELS[name](), shuffled, new)) < 0.25


@pytest.mark.parametrize("name", [*OF_EXPRESSION[:3], "tissue_drug_mean", "mean_effects"])
def test_a_known_line_keeps_its_level(name):
    """Its other drugs say by how much it is above or below others."""
    screen = planted(noise=0.05, share_missing=0)
    screen.obsm["response"].loc["L07"] += 6.0
    held = screen.obsm["response"].at["L07", "D3"]
    screen.obsm["response"].at["L07", "D3"] = np.nan
    predicted = MODELS[name]().fit(screen).predict_matrix(screen[["L07"]], screen.uns["drugs"])
    assert abs(predicted.at["L07", "D3"] - held) < 2.5


def test_responses_are_not_read_at_prediction(model):
    screen, new = without_lines(planted())
    fitted = model.fit(screen)
    bare = new.copy()
    del bare.obsm["response"], bare.uns["drugs"]
    new.obsm["response"] += 100.0
    pd.testing.assert_frame_equal(fitted.predict_matrix(new), fitted.predict_matrix(bare))


def test_the_order_of_what_is_asked_does_not_matter(model):
    screen, new = without_lines(planted())
    fitted = model.fit(screen)
    predicted = fitted.predict_matrix(new)
    assert list(predicted.index) == list(new.obs_names) and list(predicted.columns) == [
        f"D{j}" for j in range(8)
    ]
    assert np.isfinite(predicted.to_numpy()).all()
    other = fitted.predict_matrix(new[::-1, ::-1].copy(), screen.uns["drugs"].iloc[[5, 2]])
    pd.testing.assert_frame_equal(other, predicted.iloc[::-1][["D5", "D2"]])


def test_drugs_that_were_not_in_training_are_predicted_all_the_same(model):
    screen, new = without_lines(planted())
    drugs = pd.concat([screen.uns["drugs"], pd.DataFrame({"cid": "9", "smiles": "CCO"}, index=["NEW"])])
    predicted = model.fit(screen).predict_matrix(new, drugs)
    assert list(predicted.columns) == list(drugs.index) and np.isfinite(predicted["NEW"]).all()
    if model.name == "random_forest":  # D0 has the same structure
        pd.testing.assert_series_equal(predicted["NEW"], predicted["D0"], check_names=False)
    elif model.name in OF_EXPRESSION:
        pd.testing.assert_series_equal(
            predicted["NEW"], predicted.drop(columns="NEW").mean(axis=1), check_names=False
        )


def test_equal_seeds_equal_predictions(model):
    screen, new = without_lines(planted())
    again = type(model)(**{"n_trees": model.n_trees} if hasattr(model, "n_trees") else {})
    pd.testing.assert_frame_equal(
        model.fit(screen).predict_matrix(new), again.fit(screen.copy()).predict_matrix(new)
    )


@pytest.mark.parametrize(
    "name", ["drug_mean", "mean_effects", "tissue_drug_mean", "pca_ridge", "kernel_ridge"]
)
def test_a_shift_of_one_drug_shifts_its_predictions(name):
    screen, new = without_lines(planted())
    moved = screen.copy()
    moved.obsm["response"] = screen.obsm["response"].assign(D2=screen.obsm["response"]["D2"] + 1.5)
    before, after = (MODELS[name]().fit(part).predict_matrix(new) for part in (screen, moved))
    np.testing.assert_allclose((after - before)["D2"], 1.5, atol=1e-4)
    np.testing.assert_allclose((after - before).drop(columns="D2"), 0, atol=1e-4)


def test_a_drug_that_is_constant_in_training_is_no_obstacle(model):
    screen, new = without_lines(planted())
    screen.obsm["response"]["D4"] = 2.5
    assert np.abs(model.fit(screen).predict_matrix(new)["D4"] - 2.5).max() < 3


# Bad input


def without_response(screen):
    del screen.obsm["response"]


def no_values(screen):
    screen.obsm["response"].loc[:] = np.nan


def natural_logarithm(screen):
    screen.X = np.log1p(2.0**screen.X * 1e6 / (2.0**screen.X).sum(axis=1, keepdims=True))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (without_response, "must be a DataFrame of lines × drugs"),
        (no_values, "holds no value"),
        (natural_logarithm, "was logged to the natural logarithm"),
    ],
)
def test_screens_that_cannot_be_learnt_from(change, match):
    screen = planted()
    change(screen)
    with pytest.raises(DataError, match=match):
        dr.KernelRidge().fit(screen)


def test_genes_of_training_must_be_there():
    screen, new = without_lines(planted())
    fitted = dr.PCARidge().fit(screen)
    with pytest.raises(DataError, match=r"2 of the 12 genes of training are absent \(G3, G7\)"):
        fitted.predict_matrix(new[:, ~new.var_names.isin(["G3", "G7"])].copy())
    with pytest.raises(DataError, match="drugs is a list: give a table"):
        fitted.predict_matrix(new, ["D1"])


def test_tissue_must_be_there():
    screen = planted()
    del screen.obs["tissue"]
    with pytest.raises(DataError, match="obs has no column 'tissue'"):
        dr.TissueDrugMean().fit(screen)


@pytest.mark.parametrize(
    ("validation", "match"),
    [
        (np.zeros((3, 3), bool), r"of shape \(3, 3\): booleans of the shape"),
        (np.zeros((LINES, DRUGS)), "is float64 of shape"),
        (np.zeros((LINES, DRUGS), bool), "0 are for validation"),
        (np.ones((LINES, DRUGS), bool), "some must be left to learn from"),
    ],
)
def test_validation_that_does_not_fit(validation, match):
    with pytest.raises(DataError, match=match):
        dr.KernelRidge().fit(planted(), validation)


def test_structures_are_needed_by_the_forest_of_pairs():
    pytest.importorskip("rdkit")
    screen, new = without_lines(planted())
    bits = dr.fingerprints(screen.uns["drugs"])
    assert bits.shape == (8, 1024) and set(np.unique(bits)) == {0.0, 1.0}
    screen.uns["drugs"].loc["D1", "smiles"] = "this is none"
    with pytest.warns(pm.errors.PmLabWarning) as said:
        fitted = dr.RandomForest(n_trees=3, n_jobs=1).fit(screen)
    texts = " ".join(str(warning.message) for warning in said)
    assert "1 of 8 SMILES cannot be parsed (D1: this is none)" in texts
    assert "1 of 8 drugs have no structure" in texts
    with pytest.warns(pm.errors.PmLabWarning):
        assert np.isfinite(fitted.predict_matrix(new).to_numpy()).all()
    screen.uns["drugs"]["smiles"] = ""
    with pytest.raises(DataError, match="none of the 8 drugs has a structure"):
        dr.RandomForest(n_trees=3).fit(screen)
    with pytest.raises(DataError, match="no column 'smiles'; it has cid"):
        dr.fingerprints(screen.uns["drugs"][["cid"]])
