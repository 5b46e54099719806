"""Attributions add up, agree with captum, find what was planted, and vanish where nothing was learnt."""

import copy

import numpy as np
import pandas as pd
import pytest

import pm_lab as pm
from pm_lab.drug_response.model import KERNEL_SHARE
from pm_lab.errors import DataError, PmLabError, PmLabWarning

dr = pm.drug_response


@pytest.fixture(scope="module")
def cohort():
    """The built-in cohort: its truth, 300 lines × 60 drugs, and patients."""
    return pm.datasets.simulate_cohort(n_cells=600)


@pytest.fixture(scope="module")
def drugs(cohort):
    return list(cohort.screen.obsm["response"].columns[:12])


@pytest.fixture(scope="module")
def screen(cohort):
    """300 lines × 16 drugs; not to be changed."""
    return dr.take_drugs(cohort.screen, list(cohort.screen.obsm["response"].columns[:16]))


@pytest.fixture(scope="module")
def model(screen):
    return dr.DrugResponseModel(members=2, hidden=32, max_epochs=15).fit(screen)


@pytest.fixture(scope="module")
def found(model, screen, drugs):
    return dr.explain(model, screen, drugs, n_permutations=500)


@pytest.fixture(scope="module")
def few_genes(cohort):
    """A small screen with a further modality that some lines lack, and a model that uses it."""
    screen = cohort.screen[:40, :60].copy()
    screen = dr.take_drugs(screen, list(screen.obsm["response"].columns[:6]))
    copies = np.random.default_rng(0).normal(size=(40, 7))
    copies[:5] = np.nan
    screen.obsm["copy_number"] = copies
    screen.uns["features"] = {"copy_number": [f"C{i}" for i in range(7)]}
    model = dr.DrugResponseModel(members=2, hidden=12, max_epochs=10, modalities=["copy_number"])
    return screen, model.fit(screen)


# Attributions


@pytest.mark.filterwarnings("ignore:.*patients:pm_lab.errors.PmLabWarning")
def test_parts_add_up_to_the_prediction_less_that_of_the_average_line(model, cohort, found):
    assert np.abs(found.attribution.gaps()).max() < 1e-5
    patients = dr.integrated_gradients(model, cohort, ["DRUG003"])
    assert patients.kind == "patient" and patients.values.shape == (120, 1, 2000)
    table = model.predict(cohort, ["DRUG003"]).set_index("patient")
    predicted = table.loc[cohort.bulk.obs_names, ["ln_ic50"]].to_numpy()
    np.testing.assert_allclose(patients.predicted, predicted)
    given = patients.values.sum(axis=2) + patients.tissue + patients.further
    np.testing.assert_allclose(given, predicted - patients.baseline, atol=1e-4)
    assert np.ptp(patients.baseline) < 1e-6 < np.ptp(predicted)


def test_attributions_are_those_of_captum(few_genes):
    """The integrals in closed form against gradients by autograd, in 400 steps, of all parts together."""
    torch = pytest.importorskip("torch")
    captum = pytest.importorskip("captum.attr")
    screen, model = few_genes
    lines = screen[3:9].copy()
    ours = dr.integrated_gradients(model, lines)
    learnt = model._fitted()
    given, start = (torch.as_tensor(part, dtype=torch.float64) for part in _ends(learnt, lines))
    reference = captum.IntegratedGradients(lambda inputs, drug: _response(learnt, inputs)[:, drug])
    for drug in range(6):
        theirs = reference.attribute(given, start, additional_forward_args=drug, n_steps=400)
        theirs = theirs.numpy()
        np.testing.assert_allclose(ours.values[:, drug], theirs[:, :60], atol=2e-4)
        np.testing.assert_allclose(ours.tissue[:, drug], theirs[:, 60:68].sum(axis=1), atol=2e-4)
        np.testing.assert_allclose(ours.further[:, drug], theirs[:, 68:].sum(axis=1), atol=2e-4)
    assert np.abs(ours.values).max() > 0.01
    assert np.all(ours.further[:2] == 0) and np.all(ours.further[2:] != 0)  # two lines lack copy numbers


def _ends(learnt, lines):
    """Row and average line: genes, tissue, copy number and whether it was measured."""
    given = learnt.inputs.network(lines)
    given[:, :60], given[:, 60:68] = learnt.inputs.expression(lines), learnt.inputs.tissue(lines)
    start = np.zeros_like(given)
    start[:, 60:68], start[:, -1] = learnt.tissue.mean(axis=0), given[:, -1]
    return given, start


def _response(learnt, inputs):
    """The prediction written out again, for autograd: a share by the kernel, the rest by the networks."""
    import torch

    genes, tissue = inputs[:, :60], inputs[:, 60:68]
    tensor = lambda array: torch.as_tensor(array.copy(), dtype=torch.float64)  # noqa: E731
    apart = genes[:, None, :] - tensor(learnt.expression)[None]
    distance = (apart**2 * tensor(learnt.kernel.weight)).sum(dim=2)
    near = torch.exp(-0.7 * distance / learnt.kernel.unit) + 0.1 * tissue @ tensor(learnt.tissue).T
    from_kernel = near @ tensor(learnt.coefficients) @ tensor(learnt.axes).T
    net = copy.deepcopy(learnt.net).double()
    from_net = net(torch.cat([genes, 2 * tissue, inputs[:, 68:]], dim=1)).mean(dim=0)
    return tensor(learnt.mean) + learnt.scale * (KERNEL_SHARE * from_kernel + (1 - KERNEL_SHARE) * from_net)


@pytest.mark.filterwarnings("ignore:.*patients:pm_lab.errors.PmLabWarning")
def test_a_gene_that_is_average_or_absent_has_no_part(model, cohort):
    patients = cohort.bulk[:4].copy()
    with pytest.warns(match="1 of the 2,000 genes"):
        found = dr.integrated_gradients(model, patients[:, 1:].copy(), ["DRUG001"])
    assert np.all(found.values[:, 0, 0] == 0) and np.all(found.values[:, 0, 1:6] != 0)


def test_genes_of_one_row_come_with_the_largest_first(found, drugs):
    table = found.attribution.of_row("LINE0007", drugs[2])
    assert table["attribution"].abs().is_monotonic_decreasing and len(table) == 2000
    at = found.attribution.genes.get_loc(table["gene"][0])
    assert table["attribution"][0] == pytest.approx(found.attribution.values[6, 2, at])
    with pytest.raises(DataError, match="no line 'HELA'"):
        found.attribution.of_row("HELA", drugs[2])


def test_a_part_of_the_model_that_is_not_known_is_noticed(few_genes, monkeypatch):
    screen, model = few_genes
    monkeypatch.setattr(dr.attribution, "KERNEL_SHARE", 0.3)
    with pytest.raises(PmLabError, match="miss the predictions"):
        dr.integrated_gradients(model, screen)


# Pathways


def test_planted_links_come_first(found, cohort, drugs):
    links = dr.planted_links(found.pathways, cohort.truth["drugs"])
    strongest = links.drop_duplicates("drug")
    assert len(strongest) == len(drugs) and set(strongest["rank"]) == {1}
    assert links["same_sign"].all() and set(links["n_pathways"]) == {23}
    assert (strongest["fdr"] < 0.05).mean() > 0.9


def test_few_pathways_without_a_planted_weight_are_called(found, cohort):
    """Genes of a pathway go together: without regard to that, half of all calls were wrong."""
    weights = cohort.truth["drugs"].rename_axis("drug").reset_index()
    weights = weights.melt("drug", var_name="pathway", value_name="weight")
    table = found.pathways.merge(weights, on=["drug", "pathway"])
    called = table["fdr"] < 0.05
    assert called.sum() >= 12 and (called & (table["weight"] == 0)).sum() <= 1


def test_scores_do_not_grow_with_the_size_of_a_pathway(found, model, screen, drugs):
    """Random sets of 10 and of 200 genes: both within what random sets do, and few of them called."""
    rng = np.random.default_rng(1)
    genes = list(screen.var_names)
    sets = {f"{n} {i}": list(rng.choice(genes, n, False)) for n in (10, 200) for i in range(40)}
    table = dr.explain(model, screen[:20], drugs[:4], sets, n_permutations=2000).pathways
    spread = table.groupby("n_genes")["score"].std()
    assert spread.between(0.5, 1.5).all()
    assert (table["fdr"] < 0.05).mean() < 0.02


def test_gene_effects_say_what_a_small_step_does(model, screen, found, drugs):
    """The gene with the largest effect, raised in every line, moves the predictions by about its effect."""
    genes = found.genes[found.genes["drug"] == drugs[0]]
    top = genes.loc[genes["effect"].abs().idxmax()]
    raised = screen.copy()
    raised.obs_names = "new " + raised.obs_names
    before = model.predict_matrix(raised)[drugs[0]]
    at = raised.var_names.get_loc(top["gene"])
    step = 0.2 * np.asarray(raised.X)[:, at].std()
    raised.X[:, at] += step
    moved = (model.predict_matrix(raised)[drugs[0]] - before).mean() / 0.2
    assert moved == pytest.approx(top["effect"], rel=0.35) and abs(moved) > 0.01


def test_rows_sum_their_genes(found, drugs):
    row = found.rows.query("line == 'LINE0003' and drug == @drugs[1] and pathway == 'HYPOXIA'").iloc[0]
    genes = found.attribution.of_row("LINE0003", drugs[1]).set_index("gene")["attribution"]
    members = [gene for gene in pm.gene_sets.core("pathway")["HYPOXIA"] if gene in genes.index]
    assert row["contribution"] == pytest.approx(genes[members].sum(), abs=1e-5)


def test_a_table_does_not_depend_on_the_drugs_asked_for(model, screen, found, drugs):
    alone = dr.explain(model, screen, drugs[4], n_permutations=500).pathways
    among = found.pathways[found.pathways["drug"] == drugs[4]].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, among, rtol=1e-4)


def test_same_seed_same_tables(model, screen, found, drugs):
    again = dr.explain(model, screen, drugs, n_permutations=500)
    pd.testing.assert_frame_equal(again.pathways, found.pathways)


def test_what_cannot_be_explained_is_refused(model, screen, cohort, found):
    with pytest.raises(DataError, match=r"not in training \(X\)"):
        dr.explain(model, screen, ["X"])
    with pytest.raises(DataError, match="none of the 1 gene sets"):
        dr.explain(model, screen, ["DRUG001"], {"one": ["TP53", "MYC"]})
    with pytest.raises(DataError, match="single string"):
        dr.explain(model, screen, ["DRUG001"], {"one": "TP53"})
    with pytest.raises(DataError, match="n_permutations"):
        dr.explain(model, screen, ["DRUG001"], n_permutations=0)
    with pytest.raises(DataError, match="has not learnt"):
        dr.explain(dr.DrugResponseModel(), screen)
    with pytest.raises(DataError, match="not in the screen: X"):
        dr.correlate_pathways(screen, "X")
    with pytest.raises(DataError, match="no planted link"):
        dr.planted_links(found.pathways, cohort.truth["drugs"].rename(index="other {}".format))


def test_more_than_memory_holds_is_refused(model, screen, monkeypatch):
    monkeypatch.setattr(dr.attribution, "LARGEST_GB", 0.01)
    with pytest.raises(DataError, match=r"300 rows × 16 drugs × 2,000 genes are 0.0 GB"):
        dr.integrated_gradients(model, screen)


def test_small_sets_are_named_not_lost(model, screen):
    sets = {"small": ["TP53"], **pm.gene_sets.core("pathway")}
    with pytest.warns(PmLabWarning, match="no fdr of 23 pathways can be below 1.00"):
        mapping = dr.explain(model, screen[:5], "DRUG001", sets, n_permutations=20).mapping
    assert list(mapping.loc[~mapping["used"], "set"]) == ["small"]


def test_naive_correlations_are_those_of_means(cohort, drugs):
    table = dr.correlate_pathways(cohort.screen, drugs[:2], {"S": list(cohort.screen.var_names[:10])})
    genes = np.asarray(cohort.screen.X[:, :10], dtype=float)
    mean = pd.Series(((genes - genes.mean(0)) / genes.std(0)).mean(1), cohort.screen.obs_names)
    expected = cohort.screen.obsm["response"][drugs[0]].corr(mean)
    assert table["score"][0] == pytest.approx(expected) and list(table["drug"]) == drugs[:2]


# Randomisation, figures, card


@pytest.fixture(scope="module")
def check(model, screen, drugs):
    return dr.randomisation_check(model, screen, drugs)


def test_a_model_of_shuffled_responses_has_another_map(check, drugs):
    median = check.groupby("comparison")[["genes", "pathways"]].median()
    assert abs(median.loc["shuffled responses", "genes"]) < 0.1
    assert abs(median.loc["shuffled responses", "pathways"]) < 0.4
    assert median.loc["other lines", "genes"] > 0.25 and median.loc["other lines", "pathways"] > 0.7
    assert check.groupby("comparison")["drug"].nunique().eq(len(drugs)).all()


def test_figures_show_what_is_in_the_tables(found, check, drugs):
    bars = dr.plot_pathways(found, drugs[2], n=8).axes[0]
    of_drug = found.pathways[found.pathways["drug"] == drugs[2]]
    best = of_drug.loc[of_drug["score"].abs().idxmax()]
    assert bars.get_yticklabels()[-1].get_text() == best["pathway"].replace("_", " ")
    assert bars.patches[-1].get_width() == pytest.approx(best["score"]) and len(bars.patches) == 8
    cells = dr.plot_pathway_map(found).axes[0]
    assert cells.images[0].get_array().shape == (23, len(drugs))
    assert len(cells.lines[0].get_xdata()) == (found.pathways["fdr"] < 0.05).sum()
    names = [label.get_text() for label in cells.get_xticklabels()]
    column = found.pathways.set_index(["pathway", "drug"])["score"]
    first = cells.get_yticklabels()[0].get_text().replace(" ", "_")
    np.testing.assert_allclose(cells.images[0].get_array()[0], [column[first, name] for name in names])
    assert len(dr.plot_randomisation(check).axes) == 3
    with pytest.raises(DataError, match="no drug 'X'"):
        dr.plot_pathways(found, "X")
    with pytest.raises(DataError, match="pass what randomisation_check"):
        dr.plot_randomisation(check.drop(columns="size"))


def test_card_says_what_is_known_and_nothing_else(few_genes, check):
    screen, model = few_genes
    card = dr.response_card(model)
    text = card.to_markdown()
    n_values = int(screen.obsm["response"].notna().to_numpy().sum())
    assert f"measured pairs of line and drug: {n_values}" in text and "cell lines: 40" in text
    assert f"{240 - n_values} of 240 pairs" in text and "copy number (7 features)" in text
    assert "Cell lines are not patients" in text and "Drugs that were not in training" in text
    assert "torch" in card.items["versions"] and card.items["seed"] == 0
    unsaid = {"purpose", "discrimination", "baseline", "calibration", "negative_control", "external"}
    assert unsaid <= set(card.missing)


def test_card_shows_performance_beside_baselines(few_genes, check):
    screen, model = few_genes
    result = dr.benchmark({"network": dr.PCARidge(), "drug_mean": dr.DrugMean()}, screen, n_splits=2)
    coverage = pd.DataFrame({"drug": ["DRUG001"], "coverage": [0.91]})
    card = dr.response_card(model, [result], coverage, check, purpose="Teaching", limitations="None tested")
    assert not {"discrimination", "baseline", "calibration", "negative_control"} & set(card.missing)
    own = result.summary().loc["network", "rmse"]
    assert card.items["discrimination"].loc["LCO", "rmse"] == own
    assert list(card.items["baseline"].index) == [("LCO", "drug_mean")]
    assert card.items["limitations"] == "None tested" and "LCO (2 folds, seed 0)" in card.to_markdown()
    with pytest.raises(DataError, match="one result a split"):
        dr.response_card(model, [result, result])
    with pytest.raises(DataError, match="no benchmark has the model 'network'"):
        dr.response_card(model, dr.benchmark("drug_mean", screen, n_splits=2))
