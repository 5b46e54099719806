"""Is the built-in cohort as hard as real data, and do the wrong analyses fail on it?"""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import pm_lab as pm
from pm_lab.design import fit_deseq2

from .cohorts import (
    coefficients,
    cohort_with_many_cells,
    confounders,
    default_cohort,
    is_yes,
    large_cohort,
    within_groups,
)


def median_dispersion(counts, columns=()):
    """Median over genes of the method-of-moments dispersion, library size taken out by median of ratios.

    With ``columns``, gene means follow a log-linear design fitted by least squares.
    """
    counts = np.asarray(counts, float)
    counts = counts[:, counts.mean(axis=0) >= 10]
    log = np.log(counts[:, (counts > 0).all(axis=0)])
    size = np.exp(np.median(log - log.mean(axis=0), axis=1))[:, None]
    log = np.log(counts / size + 0.5)
    estimates, _ = coefficients(log, columns)
    design = np.column_stack([np.ones(len(counts)), *columns]).astype(float)
    fitted = np.exp(design @ estimates)
    fitted *= (counts / size).sum(axis=0) / fitted.sum(axis=0)
    freedom = len(counts) - design.shape[1]
    variance = ((counts / size - fitted) ** 2).sum(axis=0) / freedom
    poisson = (fitted / size).mean(axis=0)
    return np.median((variance - poisson) / (fitted**2).mean(axis=0))


def test_dispersion_between_patients_is_that_of_tissue(mirror):
    table = pd.read_csv(mirror / "colorectal" / "SRP029880.raw_counts.tsv", sep="\t", index_col=0)
    table = table.drop(columns="width").T
    tumours = median_dispersion(table[table.index.str.startswith("CASE")])
    tissue = median_dispersion(table)
    table = pd.read_csv(mirror / "airway" / "airway_rawcounts.csv", index_col=0).T
    samples = pd.read_csv(mirror / "airway" / "airway_metadata.csv", index_col=0)
    cultures = median_dispersion(table, [samples.loc[table.index, "dex"] == "treated"])
    assert cultures < 0.05 < tumours < tissue < 0.4  # the estimator tells cultures from patients
    for seed in (0, 1):
        bulk = default_cohort(seed).bulk
        raw = median_dispersion(bulk.layers["counts"])
        adjusted = median_dispersion(bulk.layers["counts"], [is_yes(bulk.obs), *confounders(bulk.obs)])
        assert 0.1 < adjusted < raw < 0.4
        assert tumours < adjusted < 2 * tumours
        assert tissue < raw < 3 * tissue


def test_counts_a_cell(mirror, monkeypatch):
    monkeypatch.setenv("PM_LAB_MIRROR", str(mirror))

    def counts_and_genes(cells):
        counts = cells.layers["counts"]
        return np.asarray(counts.sum(axis=1)).ravel(), counts.getnnz(axis=1)

    counts, genes = counts_and_genes(default_cohort(0).cells)
    real_counts, real_genes = counts_and_genes(pm.datasets.load("kang2018"))
    assert 1000 < np.median(counts) < 4000
    assert 1 / 4 < np.median(counts) / np.median(real_counts) < 4
    assert 1 / 3 < np.median(genes) / np.median(real_genes) < 3
    assert 0.6 < np.log(counts).std() / np.log(real_counts).std() < 1.7


def test_ambient_doublets_and_damage():
    cohort, many_with_cells = default_cohort(0), cohort_with_many_cells()
    for each in (cohort, many_with_cells):
        assert each.truth["ambient"].between(0.02, 0.10).all()
        assert 0.04 < each.truth["doublet"].mean() < 0.08
    truth = many_with_cells.truth
    assert not (truth["doublet"] & truth["damaged"]).any()
    counts = np.asarray(many_with_cells.cells.X.sum(axis=1)).ravel()
    mitochondrial = many_with_cells.cells.var_names.str.startswith("MT-")
    share = np.asarray(many_with_cells.cells.X[:, mitochondrial].sum(axis=1)).ravel() / counts
    clean = ~truth["doublet"] & ~truth["damaged"]
    assert 1.7 < np.median(counts[truth["doublet"]]) / np.median(counts[clean]) < 2.5
    assert np.median(counts[truth["damaged"]]) < 0.4 * np.median(counts[clean])
    assert 0.03 < np.median(share[clean]) < 0.07
    assert np.median(share[truth["damaged"]]) > 0.2


def test_composition_varies_between_patients():
    large, many_with_cells = large_cohort(), cohort_with_many_cells()

    def spread(log_fraction, obs):
        residual = within_groups(log_fraction, is_yes(obs))
        return np.sqrt((residual**2).sum(axis=0) / (len(obs) - 2))

    latent = spread(large.truth["abundance"].to_numpy(), large.clinical)
    assert ((latent > 0.4) & (latent < 0.6)).all()
    # What is observed has the noise of few cells too, most in the rarest types: the median type counts.
    for each in (many_with_cells, default_cohort(0), default_cohort(1)):
        patients, types = each.cells.obs["patient"].to_numpy(), each.truth["cell_type"].to_numpy()
        observed = pd.crosstab(patients, types)
        fraction = np.log((observed + 0.5).div(observed.sum(axis=1), axis=0)).to_numpy()
        assert 0.4 < np.median(spread(fraction, each.clinical.loc[observed.index])) < 0.6


@pytest.mark.parametrize("seed", [0, 1])
def test_planted_effects_are_moderate(seed):
    truth = default_cohort(seed).truth
    for effects in (truth["genes"]["response_log2_fold_change"], truth["cell_type_response"]):
        size = np.abs(effects.to_numpy())
        assert (size > 0).any()
        assert size[size > 0].min() >= 0.5
        assert size.max() <= 2
    bulk = truth["genes"]["response_log2_fold_change"]
    assert (bulk > 0).any()
    assert (bulk < 0).any()
    assert (bulk == 0).mean() > 0.8


# The wrong analyses


@pytest.mark.parametrize("seed", [0, 1])
def test_cells_as_replicates_find_mostly_false_genes(seed):
    cohort = default_cohort(seed)
    truth = cohort.truth["cell_type_response"]
    counts = cohort.cells.X.toarray()
    expression = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    yes = is_yes(cohort.cells.obs)
    found = false = 0
    for name in truth.index:
        own = (cohort.truth["cell_type"] == name).to_numpy()
        pvalue = stats.mannwhitneyu(expression[own & yes], expression[own & ~yes]).pvalue
        significant = stats.false_discovery_control(np.nan_to_num(pvalue, nan=1.0)) < 0.05
        found += significant.sum()
        false += (significant & (truth.loc[name] == 0).to_numpy()).sum()
    assert found > 500
    assert false / found >= 0.5


@pytest.mark.parametrize("seed", [0, 1])
def test_bulk_without_batch_and_age_finds_many_false_genes(seed):
    bulk = default_cohort(seed).bulk
    absent = default_cohort(seed).truth["genes"]["response_log2_fold_change"] == 0
    counts = pd.DataFrame(bulk.layers["counts"].astype(int), index=bulk.obs_names, columns=bulk.var_names)
    proportion = {}
    for design in ("~ response", "~ batch + age + response"):
        result = fit_deseq2(counts, bulk.obs, design, ("response", "yes", "no"))
        significant = result["padj"] < 0.05
        assert significant.sum() > 250
        proportion[design] = (significant & absent).sum() / significant.sum()
    assert proportion["~ response"] > 0.2
    assert proportion["~ batch + age + response"] < 0.5 * proportion["~ response"]
