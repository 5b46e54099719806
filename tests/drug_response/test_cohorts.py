"""A cohort that is on another scale, has other genes or no structure is refused, or it is said."""

import warnings

import numpy as np
import pytest

import pm_lab as pm
from pm_lab.drug_response.contract import check_scale
from pm_lab.drug_response.kernel_path import KernelPath, honest_left_out
from pm_lab.errors import DataError, PmLabWarning

dr = pm.drug_response
OTHER_TISSUE = "ignore:.* patients were aligned to lines of all tissues"
OUTSIDE = "ignore:.* patients are further from the lines"
quiet = pytest.mark.filterwarnings(OTHER_TISSUE, OUTSIDE)
N_TRAINED, N_GENES = 80, 1000  # the TPM of these genes sum to less than a million


@pytest.fixture(scope="module")
def cohort():
    return pm.datasets.simulate_cohort(n_cells=600, n_lines=120, n_drugs=10)


@pytest.fixture(scope="module")
def model(cohort):
    training = cohort.screen[:N_TRAINED, :N_GENES].copy()
    return dr.DrugResponseModel(members=2, hidden=16, max_epochs=10).fit(training)


@pytest.fixture
def lines(cohort):
    """Lines that were not in training, without their responses."""
    found = cohort.screen[N_TRAINED:, :N_GENES].copy()
    del found.obsm["response"]
    return found


@pytest.fixture
def patients(cohort):
    return cohort.bulk[:60, :N_GENES].copy()


def tpm(x):
    return 2**x - 1


WRONG = {
    "ln": (lambda x: np.log1p(tpm(x)), "natural logarithm"),
    "log10": (lambda x: np.log10(tpm(x) + 1), "base 10"),
    "rescaled": (lambda x: 3 + 10 * x / x.max(), "on another scale"),
    "intensities": (lambda x: 5 + 0.8 * x, "microarray intensities"),
    "centred": (lambda x: x - x.mean(axis=0) + 8, "another scale"),
    "logged counts": (lambda x: np.log2(30 * tpm(x) + 1) * 0.9, "logged counts"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_lines_on_another_scale_are_refused_whichever_genes_there_are(model, lines, kind):
    """The sum of a line tells the base where all genes are there, and here they are not."""
    change, match = WRONG[kind]
    lines.X = change(lines.X.astype(float))
    for predict in (lambda: model.predict(lines, align="none"), lambda: model.predict_matrix(lines)):
        with pytest.raises(DataError, match=match):
            predict()


def test_lines_on_the_right_scale_pass_one_by_one(model, lines):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=OUTSIDE.removeprefix("ignore:"))
        together = model.predict(lines, align="none")
        for name in lines.obs_names:
            model.predict_matrix(lines[[name]].copy())
    scale = together.attrs["scale"]
    assert scale["spread"] == pytest.approx(1, abs=0.1) and abs(scale["level"]) < 0.3
    assert scale["correlation"] > 0.9 and 900 < scale["genes"] <= N_GENES


def test_lines_of_gdsc1_are_told_from_their_natural_logarithms(gdsc1):
    values = np.asarray(gdsc1.X, float)
    center, scale = values[:400].mean(axis=0), values[:400].std(axis=0)
    scale[scale == 0] = np.inf
    for line in values[400:]:
        check_scale(line[None], center, scale, aligned=False)
    for factor in (np.log(2), np.log10(2)):
        for line in values[400:]:
            with pytest.raises(DataError, match=r"natural logarithm|base 10|another scale"):
                check_scale(line[None] * factor, center, scale, aligned=False)


@quiet
def test_patients_in_another_base_are_warned_of_and_ranked_the_same(model, patients):
    before = model.predict(patients)
    patients.X = np.log1p(tpm(patients.X.astype(float))) * 0.9
    with pytest.warns(PmLabWarning, match=r"another scale .* Is it log2\(TPM \+ 1\)\? Alignment by rank"):
        table = model.predict(patients)
    assert table.attrs["scale"]["spread"] < 0.8 < before.attrs["scale"]["spread"]
    np.testing.assert_allclose(table["ln_ic50"], before["ln_ic50"], atol=1e-6)


@quiet
def test_patients_on_no_scale_of_expression_are_refused(model, patients):
    right = patients.X.astype(float)
    patients.X = np.log10(tpm(right) + 1)
    with pytest.raises(DataError, match="base 10"):
        model.predict(patients)
    patients.X = right[:, np.random.default_rng(0).permutation(N_GENES)]
    with pytest.raises(DataError, match="names put to other genes"):
        model.predict(patients)


@quiet
def test_a_cohort_without_structure_is_found_out_although_it_is_aligned(model, patients):
    """Each gene of its own among the patients: level, spread and, once aligned, every gene are right."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*go together.*")
        real = model.predict(patients, drugs=["DRUG001"])
    random = np.random.default_rng(0)
    patients.X = np.stack([random.permutation(gene) for gene in patients.X.T], axis=1)
    with pytest.warns(PmLabWarning, match=r"genes that go together in the lines .* ranking means nothing"):
        noise = model.predict(patients, drugs=["DRUG001"])
    assert noise["out_of_distribution"].all() and not real["out_of_distribution"].all()
    assert real.attrs["out_of_distribution"]["gene_correlations"] > 0.2
    assert abs(noise.attrs["out_of_distribution"]["gene_correlations"]) < 0.05
    few = model.predict(patients[:19].copy(), drugs=["DRUG001"], align="none")
    assert few.attrs["out_of_distribution"]["gene_correlations"] is None


@quiet
@pytest.mark.filterwarnings("ignore:.* genes of training are absent")
def test_absent_genes_make_nobody_more_like_the_lines(model, lines):
    whole = model.predict(lines, drugs=["DRUG001"], align="none").set_index("patient")
    kept = np.sort(np.random.default_rng(0).permutation(N_GENES)[: int(0.75 * N_GENES)])
    part = model.predict(lines[:, kept].copy(), drugs=["DRUG001"], align="none").set_index("patient")
    ratio = part["isolation"].loc[whole.index] / whole["isolation"]
    assert ratio.mean() == pytest.approx(1, abs=0.05)
    assert ratio.std() < 0.1


@quiet
@pytest.mark.filterwarnings("ignore:.* they are taken to be average")
def test_absent_genes_that_the_model_lives_on(model, patients):
    overlap = dr.gene_overlap(model, patients).sort_values("weight", ascending=False)
    kept = lambda n: patients[:, ~patients.var_names.isin(overlap["gene"][:n])].copy()  # noqa: E731
    share = lambda n: overlap["weight"][n:].sum()  # noqa: E731
    some = next(n for n in range(10, 300) if share(n) < 0.85)
    many = next(n for n in range(10, 300) if share(n) < 0.59)
    with pytest.warns(PmLabWarning, match=r"are absent .*8\d% of the weight .* less accurate"):
        table = model.predict(kept(some), drugs=["DRUG001"])
    assert table.attrs["genes"]["weight_found"] == pytest.approx(share(some))
    with pytest.raises(DataError, match=r"59% of the weight .* at least 60% is needed"):
        model.predict(kept(many), drugs=["DRUG001"])


# Modalities


@pytest.fixture(scope="module")
def with_mutations(cohort):
    """A model with mutations, and new lines that have them."""
    screen = cohort.screen[:, :N_GENES].copy()
    genes = ["KRAS", "TP53", "BRAF", "PTEN"]
    screen.obsm["mutation"] = np.random.default_rng(0).integers(0, 2, (screen.n_obs, 4)).astype(np.float32)
    screen.uns["features"] = {"mutation": genes}
    model = dr.DrugResponseModel(members=2, hidden=8, max_epochs=5, modalities=["mutation"])
    new = screen[N_TRAINED:].copy()
    del new.obsm["response"]
    return model.fit(screen[:N_TRAINED].copy()), new


def test_modalities_that_are_there_are_counted(with_mutations):
    model, new = with_mutations
    new = new.copy()
    new.obsm["mutation"][:7] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=OUTSIDE.removeprefix("ignore:"))
        attrs = model.predict(new, align="none").attrs
    assert attrs["modalities"] == {"mutation": {"of_training": 4, "found": 4, "rows": 33}}


@quiet
def test_modalities_that_are_missing_are_said(with_mutations):
    model, new = with_mutations
    without = new.copy()
    del without.obsm["mutation"]
    with pytest.warns(PmLabWarning, match=r"learnt from mutation \(4 features\), which 0 of 40 rows have"):
        table = model.predict(without, align="none")
    assert table.attrs["modalities"]["mutation"] == {"of_training": 4, "found": 0, "rows": 0}
    with pytest.warns(PmLabWarning, match="which 0 of 40 rows have"):
        model.predict_matrix(without)
    part = new.copy()
    part.obsm["mutation"], part.uns["features"] = (
        part.obsm["mutation"][:, :3],
        {"mutation": ["KRAS", "TP53", "X"]},
    )
    with pytest.warns(PmLabWarning, match=r"2 of the 4 features of mutation .* absent \(BRAF, PTEN\)"):
        model.predict(part, align="none")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda a: a.uns.update(features={"mutation": ["A", "B", "C", "D"]}), "none of the 4 features"),
        (lambda a: a.obsm["mutation"].__setitem__((0, 0), 7.5), r"goes from 0 to 7\.5; it must hold 0"),
        (lambda a: a.obsm["mutation"].__setitem__((0, 0), np.nan), "is NaN in a part of 1 lines"),
        (lambda a: a.uns.pop("features"), "no names for them"),
    ],
    ids=["names", "range", "gap", "unnamed"],
)
def test_modalities_that_cannot_be_used(with_mutations, change, match):
    model, new = with_mutations[0], with_mutations[1].copy()
    change(new)
    for predict in (lambda: model.predict(new, align="none"), lambda: model.predict_matrix(new)):
        with pytest.raises(DataError, match=match):
            predict()


def test_a_modality_that_no_line_of_training_has(with_mutations, cohort):
    screen = cohort.screen[:N_TRAINED, :N_GENES].copy()
    screen.obsm["mutation"] = np.full((N_TRAINED, 4), np.nan, np.float32)
    screen.uns["features"] = {"mutation": ["KRAS", "TP53", "BRAF", "PTEN"]}
    with pytest.raises(DataError, match="no line of training has mutation"):
        dr.DrugResponseModel(members=2, modalities=["mutation"]).fit(screen)


# Drugs that are constant where the model learns


def test_a_drug_that_is_constant_in_training_does_not_stop_the_benchmark(cohort):
    screen = cohort.screen[:60, :N_GENES].copy()
    response = screen.obsm["response"].copy()
    fold = dr.folds(screen, "LCO", n_splits=2)[0]
    tested = fold.test.any(axis=1)
    response.iloc[~tested, 0] = 1.5
    response.iloc[tested, 0] = np.random.default_rng(0).normal(1.5, 1, tested.sum())
    screen.obsm["response"] = response
    model = dr.DrugResponseModel(members=2, hidden=8, max_epochs=5)
    (fold, *_) = dr.folds(screen, "LCO", n_splits=2)
    result = dr.benchmark(["drug_mean", model], screen, folds=[fold])
    of_drug = result.predictions.query("model == 'network' and drug == 'DRUG001'")
    assert len(of_drug) == tested.sum()
    np.testing.assert_allclose(of_drug["predicted"], 1.5, atol=0.1)
    intervals = dr.held_out_intervals(screen, model, folds=[fold])
    assert np.isfinite(intervals[["lower", "upper"]]).all(axis=None)
    with pytest.raises(DataError, match=r"1 drugs have the same value on every line \(DRUG001\)"):
        model.fit(fold.take(screen, "train+validation"))


# Intervals of small screens


@quiet
@pytest.mark.parametrize(("n_lines", "n_drugs"), [(40, 10), (80, 20)])
def test_intervals_after_small_screens_hold_what_they_promise(n_lines, n_drugs):
    """Lines that helped to weigh the genes are no lines left out: their errors covered .87 and .897."""
    found = []
    for seed in range(5):
        screen = pm.datasets.simulate_cohort(
            n_cells=600, n_lines=n_lines + 300, n_drugs=n_drugs, seed=seed
        ).screen
        test = screen[n_lines:].copy()
        observed = test.obsm.pop("response")
        model = dr.DrugResponseModel(members=2, hidden=16, max_epochs=20).fit(screen[:n_lines].copy())
        table = model.predict(test, align="none").set_index(["patient", "drug"])
        seen = observed.rename_axis(index="patient", columns="drug").stack().rename("observed")
        both = table.join(seen, how="inner")
        found.append(both["observed"].between(both["lower"], both["upper"]).mean())
    assert 0.88 <= np.mean(found) <= 0.92


def test_a_line_left_out_has_had_no_part_in_anything():
    """Responses that are noise cannot be predicted: what seems to has seen them."""
    dishonest, honest = [], []
    for seed in range(3):
        screen = pm.datasets.simulate_cohort(n_cells=600, n_lines=60, n_drugs=20, seed=seed).screen
        response = screen.obsm["response"]
        response.loc[:] = np.random.default_rng(seed).normal(size=response.shape)
        each, rest = np.arange(60), np.empty((0, 20))
        path = KernelPath.learn(screen, response, rest, each)
        correlation = lambda found, goal=path.target: np.corrcoef(found.ravel(), goal.ravel())[0, 1]  # noqa: E731
        dishonest.append(correlation(path.left_out))
        honest.append(correlation(honest_left_out(path, screen, response, rest, each, seed=0)))
    assert np.mean(honest) < 0 < min(dishonest)
