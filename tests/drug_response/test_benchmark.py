"""Metrics as other libraries compute them, a benchmark in which nothing leaks, and a test of differences."""

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import r2_score, root_mean_squared_error

import pm_lab as pm
from pm_lab.errors import DataError

dr = pm.drug_response
METRICS = [
    "model",
    "fold",
    "rmse",
    "pearson",
    "r2",
    "per_drug_pearson",
    "normalized_pearson",
    "normalized_r2",
]
METRICS += ["seconds", "peak_gb"]
MEANS = ["tissue_drug_mean", "mean_effects", "drug_mean"]


@pytest.fixture(scope="module")
def small(built_in):
    """80 lines × 300 genes × 20 drugs of the built-in screen; not to be changed."""
    return dr.take_drugs(built_in[:80, :300], built_in.obsm["response"].columns[:20])


@pytest.fixture(scope="module")
def result(built_in):
    return dr.benchmark(["drug_mean", "pca_ridge", "tissue_drug_mean"], built_in, n_splits=3)


# Metrics


def tables(seed=0, n_lines=30, n_drugs=6):
    rng = np.random.default_rng(seed)
    drug, line = rng.normal(0, 3, n_drugs), rng.normal(0, 1, n_lines)
    expected = pd.DataFrame(drug + np.zeros((n_lines, 1)))
    observed = expected + line[:, None] + rng.normal(0, 1, expected.shape)
    predicted = expected + 0.5 * line[:, None] + rng.normal(0, 1, expected.shape)
    return observed.mask(rng.random(observed.shape) < 0.2), predicted, expected


def test_metrics_are_those_of_scipy_and_scikit_learn():
    observed, predicted, expected = tables()
    observed[5] = observed[5].where(np.arange(30) < 3)  # too few to correlate
    scores = dr.score_responses(observed, predicted, expected)
    known = observed.notna().to_numpy()
    o, p, e = (table.to_numpy()[known] for table in (observed, predicted, expected))
    assert scores["rmse"] == pytest.approx(root_mean_squared_error(o, p))
    assert scores["pearson"] == pytest.approx(stats.pearsonr(o, p).statistic)
    assert scores["r2"] == pytest.approx(r2_score(o, p))
    assert scores["normalized_pearson"] == pytest.approx(stats.pearsonr(o - e, p - e).statistic)
    assert scores["normalized_r2"] == pytest.approx(r2_score(o - e, p - e))
    within = [
        stats.pearsonr(observed[d].dropna(), predicted[d][observed[d].notna()]).statistic for d in range(5)
    ]
    assert scores["per_drug_pearson"] == pytest.approx(np.mean(within))


def test_a_constant_prediction_has_correlation_0_rounding_errors_included():
    observed, _, expected = tables()
    noise = 1e-13 * np.random.default_rng(1).normal(size=expected.shape)
    for said in (expected, expected + noise):
        scores = dr.score_responses(observed, said, expected)
        assert scores["per_drug_pearson"] == 0 and scores["normalized_pearson"] == 0
        assert -0.05 < scores["normalized_r2"] <= 0
    assert dr.score_responses(observed, expected * 0)["pearson"] == 0
    assert np.isnan(dr.score_responses(observed, expected)["normalized_pearson"])


def test_the_truth_is_perfect():
    observed, _, expected = tables()
    scores = dr.score_responses(observed, observed.fillna(99.0), expected)
    assert scores["rmse"] == 0
    np.testing.assert_allclose(scores.drop("rmse"), 1)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 100), shift=st.floats(-5, 5), scale=st.floats(0.1, 10))
def test_correlations_do_not_depend_on_level_and_scale_nor_on_order(seed, shift, scale):
    observed, predicted, expected = tables(seed)
    one = dr.score_responses(observed, predicted, expected)
    other = dr.score_responses(observed, shift + scale * predicted)
    for name in ("pearson", "per_drug_pearson"):
        assert other[name] == pytest.approx(one[name])
    beyond = dr.score_responses(observed, expected + scale * (predicted - expected) + shift, expected)
    assert beyond["normalized_pearson"] == pytest.approx(one["normalized_pearson"])
    mixed = dr.score_responses(observed.iloc[::-1, ::-1], predicted, expected)
    np.testing.assert_allclose(mixed, one)


def test_scores_within_drugs_and_lines_are_those_of_scipy(result):
    predictions = result.predictions
    for by, name in (("drug", "DRUG003"), ("line", "LINE0007")):
        row = dr.score_by(predictions, by).set_index(["model", by]).loc[("pca_ridge", name)]
        some = predictions[(predictions["model"] == "pca_ridge") & (predictions[by] == name)]
        folds = [part for _, part in some.groupby("fold")]
        pearson = [stats.pearsonr(part["observed"], part["predicted"]).statistic for part in folds]
        spearman = [stats.spearmanr(part["observed"], part["predicted"]).statistic for part in folds]
        assert row["n_values"] == len(some)
        assert row["rmse"] == pytest.approx(root_mean_squared_error(some["observed"], some["predicted"]))
        assert row["pearson"] == pytest.approx(np.mean(pearson))
        assert row["spearman"] == pytest.approx(np.mean(spearman), abs=1e-6)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda o, p: (o, p.drop(columns=2)), r"predicted: \d+ of \d+ judged pairs .* in 1 drugs \(2\)"),
        (lambda o, p: (o, p.drop(index=2)), "judged pairs have no finite value"),
        (lambda o, p: (o, p * np.inf), "judged pairs have no finite value, in 6 drugs"),
        (lambda o, p: (o * np.nan, p), "no observed value"),
    ],
)
def test_predictions_that_cannot_be_judged(change, match):
    observed, predicted, _ = tables()
    with pytest.raises(DataError, match=match):
        dr.score_responses(*change(observed, predicted))


# The benchmark


def test_tables_of_a_benchmark(result, built_in):
    assert list(result.metrics.columns) == METRICS
    assert list(result.predictions.columns) == ["model", "fold", "line", "drug", "observed", "predicted"]
    models = ["drug_mean", "pca_ridge", "tissue_drug_mean"]
    assert result.metrics[["model", "fold"]].values.tolist() == [[m, f] for m in models for f in range(3)]
    observed = built_in.obsm["response"].stack().rename_axis(["line", "drug"])
    for _, part in result.predictions.groupby("model"):
        given_ = part.set_index(["line", "drug"])["observed"]
        pd.testing.assert_series_equal(given_.sort_index(), observed.sort_index(), check_names=False)
    lines = result.predictions.groupby("line")["fold"].nunique()
    assert (lines == 1).all() and len(lines) == 300
    assert (result.metrics[["seconds", "peak_gb"]] > 0).all(axis=None) and result.test_share == pytest.approx(
        0.5, abs=0.01
    )


def test_metrics_can_be_recomputed_from_predictions(result, built_in):
    for fold in dr.folds(built_in, n_splits=3):
        part = result.predictions.query("model == 'pca_ridge' and fold == @fold.number")
        response = built_in.obsm["response"].where(~fold.test)
        expected = part["drug"].map(response.mean())
        row = result.metrics.query("model == 'pca_ridge' and fold == @fold.number").iloc[0]
        assert row["rmse"] == pytest.approx(root_mean_squared_error(part["observed"], part["predicted"]))
        beyond = [part[column] - expected for column in ("observed", "predicted")]
        assert row["normalized_pearson"] == pytest.approx(stats.pearsonr(*beyond).statistic)
        assert row["normalized_r2"] == pytest.approx(r2_score(*beyond))


def test_expression_finds_what_was_planted_and_means_find_nothing(result):
    table = result.summary()
    assert table.index.tolist() == ["pca_ridge", "tissue_drug_mean", "drug_mean"]
    assert table.loc["drug_mean", ["per_drug_pearson", "normalized_pearson"]].tolist() == [0, 0]
    assert table.loc["drug_mean", "pearson"] > 0.8  # which says nothing of patients
    assert table.loc["pca_ridge", "normalized_pearson"] > 0.35


def small_forest():
    return dr.MultitaskForest(n_trees=10, n_jobs=1)


@pytest.mark.parametrize("split", ["LPO", "LTO", "LDO"])
def test_other_splits(small, split):
    result = dr.benchmark([*MEANS, "kernel_ridge", small_forest()], small, split, n_splits=2)
    table = result.summary()
    assert np.isfinite(result.predictions["predicted"]).all() and result.split == split
    assert table.loc["mean_effects", "normalized_pearson"] == 0
    if split == "LPO":
        assert table.loc["kernel_ridge", "rmse"] < table.loc["drug_mean", "rmse"]
    if split == "LDO":
        assert table.loc["drug_mean", "pearson"] == 0
        assert table.loc["kernel_ridge", "rmse"] == pytest.approx(table.loc["mean_effects", "rmse"], rel=0.02)


class Spy:
    """Notes what it is given, predicts zeros."""

    def __init__(self):
        self.seen = []

    def __deepcopy__(self, memo):
        return self

    def fit(self, screen, validation=None):
        self.seen.append({"screen": screen, "validation": validation})
        return self

    def predict_matrix(self, adata, drugs=None):
        self.seen[-1] |= {"adata": adata, "drugs": drugs}
        return pd.DataFrame(0.0, adata.obs_names, drugs.index)


@pytest.mark.parametrize("split", ["LPO", "LCO", "LTO", "LDO"])
def test_a_model_sees_nothing_of_the_test_part(small, split):
    spy = Spy()
    dr.benchmark([spy], small, split, n_splits=2)
    for fold, seen in zip(dr.folds(small, split, n_splits=2), spy.seen, strict=True):
        whole = small.obsm["response"]
        learnt = seen["screen"].obsm["response"]
        expected = whole.where(fold.train | fold.validation).stack()
        pd.testing.assert_series_equal(learnt.stack(), expected)
        marked = learnt.where(seen["validation"]).stack()
        pd.testing.assert_series_equal(marked, whole.where(fold.validation).stack())
        assert seen["adata"].obsm["response"].isna().all(axis=None)
        assert "response_only" not in seen["adata"].uns
        assert list(seen["drugs"].columns[:2]) == ["cid", "smiles"]


class Thief(Spy):
    """Looks every response up in whatever has a column of lines, one of drugs and one of ln IC50."""

    def predict_matrix(self, adata, drugs=None):
        given_ = [*self.seen[-1]["screen"].uns.values(), *adata.uns.values()]
        tables = [table for table in given_ if "ln_ic50" in getattr(table, "columns", [])]
        found = super().predict_matrix(adata, drugs)
        for table in tables:
            found.update(table.pivot(index="line", columns="drug", values="ln_ic50"))
        return found


def raw_viabilities():
    """A screen made from wells, whose fitted curves are kept in it."""
    rng, doses = np.random.default_rng(0), 10 / 4.0 ** np.arange(5)
    pairs = pd.MultiIndex.from_product([[f"L{i}" for i in range(20)], ["A", "B"]], names=["line", "drug"])
    truth = pd.Series(rng.normal(0, 1, 40), pairs).repeat(5).rename("truth").reset_index()
    truth["dose"] = np.tile(doses, 40)
    wells = truth.assign(viability=1 / (1 + truth["dose"] / np.exp(truth["truth"])))
    expression = pd.DataFrame(rng.uniform(0, 9, (20, 5)), [f"L{i}" for i in range(20)], list("VWXYZ"))
    return dr.make_screen(wells, expression)


@pytest.mark.parametrize("split", ["LPO", "LCO"])
def test_fitted_curves_of_the_test_part_are_not_handed_out(split):
    screen = raw_viabilities()
    assert len(screen.uns["curves"]) == 40
    table = dr.benchmark({"thief": Thief(), "zeros": Spy()}, screen, split, n_splits=2).summary()
    assert table.loc["thief", "rmse"] == table.loc["zeros", "rmse"] > 0.5


def test_changed_test_responses_change_no_prediction(small):
    models = [*MEANS, "kernel_ridge", "pca_ridge", small_forest()]
    fold = dr.folds(small, n_splits=2)[0]
    other = small.copy()
    response = other.obsm["response"]
    other.obsm["response"] = response.mask(
        fold.test, response + np.random.default_rng(0).normal(0, 3, response.shape)
    )
    one, changed = (dr.benchmark(models, screen, folds=[fold]).predictions for screen in (small, other))
    assert (one["observed"] != changed["observed"]).all()
    np.testing.assert_array_equal(one["predicted"], changed["predicted"])


def test_two_processes_find_what_one_does(small):
    models = ["tissue_drug_mean", "mean_effects"]
    one, two = (dr.benchmark(models, small, n_splits=2, n_jobs=n) for n in (1, 2))
    pd.testing.assert_frame_equal(one.predictions, two.predictions)
    pd.testing.assert_frame_equal(one.metrics.iloc[:, :8], two.metrics.iloc[:, :8])


class Greedy(Spy):
    """Takes 0.2 GB while it is fitted, and gives it back."""

    name = "greedy"

    def fit(self, screen, validation=None):
        taken = np.ones(25_000_000)
        time.sleep(0.05)
        del taken
        return super().fit(screen)


def test_memory_is_the_largest_of_the_fit(small):
    metrics = dr.benchmark({"plain": Spy(), "greedy": Greedy()}, small, n_splits=2).metrics
    peak = metrics.set_index(["model", "fold"])["peak_gb"]
    assert 0.15 < peak["greedy", 0] - peak["plain", 0] < 0.3
    assert peak["greedy", 1] - peak["plain", 1] > 0.15
    assert (metrics.query("model == 'greedy'")["seconds"] > 0.04).all()


def test_models_by_name_as_objects_and_in_a_dict(small):
    fold = dr.folds(small, n_splits=2)[:1]
    mixed = dr.benchmark(["drug_mean", dr.MeanEffects(), Spy()], small, folds=fold)
    assert mixed.metrics["model"].tolist() == ["drug_mean", "mean_effects", "Spy"]
    named = dr.benchmark({"a": dr.DrugMean(), "b": dr.DrugMean()}, small, folds=fold)
    assert named.metrics["model"].tolist() == ["a", "b"]
    assert dr.benchmark("drug_mean", small, folds=fold).metrics["model"].tolist() == ["drug_mean"]
    fitted = dr.MeanEffects()
    dr.benchmark(fitted, small, folds=fold)
    assert not hasattr(fitted, "effects_")


class Wrong(Spy):
    def __init__(self, change, **methods):
        super().__init__()
        self.change = change
        vars(self).update(methods)

    def predict_matrix(self, adata, drugs=None):
        return self.change(super().predict_matrix(adata, drugs))


@pytest.mark.parametrize(
    ("models", "match"),
    [
        (["drug_mean", "lasso"], "no model 'lasso': network, kernel_ridge"),
        ([], "models is empty"),
        (["drug_mean", dr.DrugMean()], "drug_mean: several models of one name"),
        ([dr.DrugMean], "'drug_mean' is a class: make an object"),
        ({"mine": object()}, "'mine' has no fit"),
        (None, "'NoneType' has no fit"),
        (5, "'int' has no fit"),
        ({"mine": Wrong(None, fit=lambda screen: None)}, r"cannot be called as fit\(screen, validation\)"),
        (
            {"mine": Wrong(None, predict_matrix=lambda adata: None)},
            r"called as predict_matrix\(adata, drugs\)",
        ),
    ],
)
def test_models_that_cannot_be(small, models, match):
    with pytest.raises(DataError, match=match):
        dr.benchmark(models, small)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda table: table.to_numpy(), "returned a ndarray"),
        (lambda table: table.drop(columns="DRUG004"), "20 drugs and left 1 of them out .DRUG004."),
        (lambda table: table.iloc[3:], "40 lines and left 3 of them out"),
        (lambda table: table.assign(DRUG004=np.nan), "judged pairs have no finite value"),
    ],
)
def test_predictions_that_do_not_fit_name_model_and_fold(small, change, match):
    with pytest.raises(DataError, match=match) as error:
        dr.benchmark({"mine": Wrong(change)}, small, n_splits=2)
    assert error.value.__notes__ == ["This was the model 'mine' in fold 0 of LCO."]


def test_a_fit_that_returns_nothing_is_said(small):
    forgetful = Wrong(None, fit=lambda screen, validation=None: None)
    with pytest.raises(
        DataError, match="fit returned a NoneType; it must return the model: return self"
    ) as error:
        dr.benchmark({"mine": forgetful}, small, n_splits=2)
    assert error.value.__notes__ == ["This was the model 'mine' in fold 0 of LCO."]


@pytest.mark.parametrize("options", [{"n_splits": 5.0}, {"seed": None}, {"seed": -1}, {"n_splits": "5"}])
def test_numbers_that_are_none(small, options):
    with pytest.raises(DataError, match=f"{next(iter(options))}=.*: a whole number"):
        dr.benchmark(["drug_mean"], small, **options)


def by_hand(fold, **parts):
    return dr.Fold(
        fold.split, fold.number, *(parts.get(p, getattr(fold, p)) for p in ("train", "validation", "test"))
    )


def leaks(fold, known):
    """Folds made by hand that must not pass, and why."""
    first_line = fold.test & (np.arange(len(known)) == np.flatnonzero(fold.test.any(axis=1))[0])[:, None]
    one_pair = first_line & (np.arange(known.shape[1]) == np.flatnonzero(first_line.any(axis=0))[0])
    return {
        "training is the test": (by_hand(fold, train=fold.test), r"40 lines in two parts \(LINE00"),
        "one pair": (by_hand(fold, train=fold.train | one_pair), "has 1 lines in two parts"),
        "another pair of the line": (
            by_hand(fold, train=fold.train | (first_line & ~one_pair), test=one_pair),
            "has 1 lines in two parts",
        ),
        "validation": (by_hand(fold, validation=fold.validation | first_line), "1 lines in two parts"),
        "not measured": (by_hand(fold, test=fold.test | ~known), "pairs that were not measured"),
        "numbers": (by_hand(fold, test=fold.test.astype(float)), "test of fold 0 is float64"),
        "table": (by_hand(fold, test=pd.DataFrame(fold.test)), "test of fold 0 is DataFrame"),
        "no test": (by_hand(fold, test=np.zeros_like(fold.test)), "test of fold 0 is empty"),
    }


def test_folds_made_by_hand_must_not_leak(small):
    known = small.obsm["response"].notna().to_numpy()
    fold = dr.folds(small, n_splits=2)[0]
    for folds, match in leaks(fold, known).values():
        with pytest.raises(DataError, match=match):
            dr.benchmark(["drug_mean"], small, folds=[folds])
    for folds, match in (([fold, fold], "numbers 0, 0"), (["LCO"], "folds hold str"), (5, "folds hold int")):
        with pytest.raises(DataError, match=match):
            dr.benchmark(["drug_mean"], small, folds=folds)
    less = by_hand(fold, train=fold.train & (np.arange(80) < 60)[:, None])
    assert len(dr.benchmark(["drug_mean"], small, folds=[less]).metrics) == 1


@pytest.mark.parametrize(("split", "what"), [("LTO", "tissues"), ("LDO", "compounds"), ("LPO", "pairs")])
def test_folds_made_by_hand_must_not_leak_by_tissue_compound_or_pair(small, split, what):
    screen = small.copy()
    screen.uns["drugs"]["cid"] = [str(i // 2) for i in range(20)]
    fold = dr.folds(screen, split, n_splits=2)[0]
    moved = np.zeros_like(fold.test)
    line, twin = np.argwhere(fold.test[:, ::2] & fold.test[:, 1::2])[
        0
    ]  # tested with both drugs of a compound
    moved[line, 2 * twin] = True
    shared = by_hand(fold, train=fold.train | moved, test=fold.test & ~moved)
    with pytest.raises(DataError, match=f"fold 0 of {split} has 1 {what} in two parts"):
        dr.benchmark(["drug_mean"], screen, folds=[shared])


def test_screens_and_folds_that_do_not_fit(small, built_in):
    with pytest.raises(DataError, match="made for another screen"):
        dr.benchmark(["drug_mean"], small, folds=dr.folds(built_in))
    with pytest.raises(DataError, match="folds is empty"):
        dr.benchmark(["drug_mean"], small, folds=[])
    constant = small.copy()
    constant.obsm["response"]["DRUG002"] = 1.0
    with pytest.raises(DataError, match=r"1 drugs have the same value on every line \(DRUG002\)"):
        dr.benchmark(["drug_mean"], constant)


# Comparison


def made_up(values, seed=0, share=0.25, split="LCO"):
    """A result with these normalised Pearsons, model → folds."""
    rows = [
        {"model": model, "fold": fold, "normalized_pearson": value, "rmse": 2 - value, "seconds": 1.0}
        for model, folds in values.items()
        for fold, value in enumerate(folds)
    ]
    metrics = pd.DataFrame(rows).reindex(columns=METRICS)
    return dr.Benchmark(metrics, pd.DataFrame(), split, seed, share)


def test_corrected_test_by_hand_and_ordinary_test_where_nothing_is_shared():
    rng = np.random.default_rng(0)
    values = {"kernel_ridge": rng.normal(0.48, 0.02, 5), "network": rng.normal(0.5, 0.02, 5)}
    row = dr.compare_models(made_up(values)).iloc[0]
    d = values["network"] - values["kernel_ridge"]
    t = d.mean() / np.sqrt((1 / 5 + 0.25) * d.var(ddof=1))
    assert (row["model"], row["n_better"], row["n_folds"]) == ("network", (d > 0).sum(), 5)
    assert row["t"] == pytest.approx(t) and row["p"] == pytest.approx(2 * stats.t.sf(abs(t), 4))
    assert (row["low"] <= 0 <= row["high"]) == (row["p"] >= 0.05)
    plain = dr.compare_models(made_up(values, share=0.0)).iloc[0]
    peer = stats.ttest_rel(values["network"], values["kernel_ridge"])
    interval = peer.confidence_interval()
    np.testing.assert_allclose(
        plain[["t", "p", "low", "high"]].astype(float), [peer.statistic, peer.pvalue, *interval]
    )
    assert row["p"] > plain["p"]


def test_seeds_are_taken_together_and_lower_errors_are_better():
    rng = np.random.default_rng(0)
    results = [
        made_up({"kernel_ridge": rng.normal(0.4, 0.02, 5), "network": rng.normal(0.5, 0.02, 5)}, seed)
        for seed in (1, 2, 3)
    ]
    row = dr.compare_models(results, metric="rmse").iloc[0]
    assert row["n_folds"] == row["n_better"] == 15 and row["high"] < 0
    same = dr.compare_models(made_up({"kernel_ridge": [0.4, 0.5], "copy": [0.4, 0.5]})).iloc[0]
    assert (same["difference"], same["t"], same["p"]) == (0, 0, 1)


def test_the_corrected_test_holds_its_level_where_folds_share_their_training():
    """Two models that are equally good in truth differ in every fold by what training they share."""
    rng = np.random.default_rng(0)
    corrected, plain = [], []
    for _ in range(200):
        shared = rng.normal(0, np.sqrt(0.25 / 1.25))  # correlation of folds n_test / (n_test + n_train)
        d = shared + rng.normal(0, np.sqrt(1 / 1.25), 5)
        values = {"kernel_ridge": np.zeros(5), "other": d}
        corrected.append(dr.compare_models(made_up(values)).at[0, "p"] < 0.05)
        plain.append(stats.ttest_1samp(d, 0).pvalue < 0.05)
    assert np.mean(corrected) < 0.08 and np.mean(plain) > 0.12


@pytest.mark.parametrize(
    ("results", "options", "match"),
    [
        (made_up({"a": [0.1, 0.2]}), {}, "no model 'kernel_ridge' to compare with; there are a"),
        (made_up({"kernel_ridge": [0.1], "a": [0.2]}), {}, "one fold only"),
        (made_up({"a": [0.1, 0.2]}), {"metric": "auc"}, "metric='auc': one of rmse"),
        (made_up({"a": [0.1, np.nan]}), {"reference": "a"}, "missing in some folds of a"),
        ([made_up({"a": [0.1, 0.2]})] * 2, {"reference": "a"}, "results of the seeds 0, 0"),
        ([made_up({"a": [1]}), made_up({"a": [1]}, 1, split="LTO")], {}, "several splits, LCO, LTO"),
        ([], {}, "what pm.drug_response.benchmark returned"),
    ],
)
def test_results_that_cannot_be_compared(results, options, match):
    with pytest.raises(DataError, match=match):
        dr.compare_models(results, **options)


def test_figure_of_a_benchmark(result):
    figure = dr.plot_benchmark(result, highlight="pca_ridge")
    first = figure.axes[0]
    assert [text.get_text() for text in first.get_yticklabels()] == [
        "drug mean",
        "tissue drug mean",
        "pca ridge",
    ]
    dots = first.collections[2].get_offsets()[:, 0]
    expected = result.metrics.query("model == 'pca_ridge'")["normalized_pearson"]
    np.testing.assert_allclose(np.sort(dots), np.sort(expected))
    assert len(figure.axes) == 3 and figure.axes[2].get_xscale() == "log"
    assert len(dr.plot_benchmark(result, ["rmse"]).axes) == 1
    with pytest.raises(DataError, match="metrics is empty"):
        dr.plot_benchmark(result, [])


def test_errors_of_areas_are_not_called_ln_micromolar(small):
    areas = small.copy()
    areas.obsm["response"] = 1 / (1 + np.exp(-small.obsm["response"]))
    areas.uns["response_measure"] = "auc"
    labels = {}
    for screen in (small, areas):
        result = dr.benchmark(["drug_mean"], screen, n_splits=2)
        labels[result.measure] = dr.plot_benchmark(result, ["rmse"]).axes[0].get_xlabel()
    assert labels == {"ln_ic50": "RMSE (ln µM)", "auc": "RMSE (area under the curve)"}
    other = made_up({"drug_mean": [0.1, 0.2]}, seed=1)
    with pytest.raises(DataError, match="several measures, auc, ln_ic50"):
        dr.plot_benchmark([result, other])


# Reference numbers


def test_means_on_gdsc1_are_those_of_the_reference_table(gdsc1):
    lco = dr.benchmark(["drug_mean", "tissue_drug_mean"], gdsc1, "LCO").summary()
    assert lco.loc["drug_mean", "pearson"] == pytest.approx(0.847, abs=0.0005)
    assert lco.loc["drug_mean", "rmse"] == pytest.approx(1.449, abs=0.002)
    columns = ["pearson", "per_drug_pearson", "rmse", "normalized_pearson", "normalized_r2"]
    np.testing.assert_allclose(
        lco.loc["tissue_drug_mean", columns].astype(float), [0.876, 0.382, 1.314, 0.421, 0.175], atol=0.0025
    )
    lpo = dr.benchmark("mean_effects", gdsc1, "LPO").summary().loc["mean_effects"]
    np.testing.assert_allclose(lpo[columns[:4]].astype(float), [0.883, 0.501, 1.278, 0], atol=0.0015)


def test_ridge_on_gdsc1_is_as_good_as_in_the_reference_table(gdsc1):
    """.478 and 1.278 are the means over the five folds; the first of them is close to the mean."""
    found = dr.benchmark("pca_ridge", gdsc1, folds=dr.folds(gdsc1)[:1]).metrics.iloc[0]
    assert found["normalized_pearson"] > 0.478 and found["rmse"] < 1.278
