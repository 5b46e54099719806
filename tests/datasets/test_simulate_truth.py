"""Is the truth of the built-in cohort true? What was planted is estimated again from large cohorts."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.special import polygamma
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

import pm_lab as pm

from .cohorts import (
    coefficients,
    cohort_with_many_cells,
    confounders,
    is_yes,
    large_cohort,
    within_groups,
)


@pytest.fixture(scope="module")
def large():
    return large_cohort()


@pytest.fixture(scope="module")
def many_with_cells():
    return cohort_with_many_cells()


def quiet_genes(genes):
    """Genes without a role in response, pathways or cell types."""
    no_role = (
        (genes["response_log2_fold_change"] == 0) & (genes["pathway"] == "") & (genes["marker_of"] == "")
    )
    return (no_role & ~genes.index.isin(pm.gene_sets.core()["SEX_GENES"])).to_numpy()


def bulk_log2(cohort):
    """log2 counts less the mean of the quiet genes, which stands for library size."""
    log2 = np.log2(cohort.bulk.layers["counts"].astype(float) + 0.5)
    return log2 - log2[:, quiet_genes(cohort.truth["genes"])].mean(axis=1, keepdims=True)


def test_regression_on_a_large_cohort_recovers_every_gene(large):
    """The issue's definition: yes − no given batch and age. Pathways and markers are among the genes."""
    truth, obs = large.truth["genes"], large.clinical
    common = large.bulk.layers["counts"].mean(axis=0) >= 30
    assert common.mean() > 0.9
    # The axis within the groups is noise that we know; without it, standard errors would be too large.
    axis = large.truth["response_axis"].to_numpy()
    columns = [is_yes(obs), *confounders(obs), within_groups(axis, is_yes(obs))]
    estimates, errors = coefficients(bulk_log2(large), columns)
    planted = truth["response_log2_fold_change"].to_numpy()
    z = ((estimates[1] - planted) / errors[1])[common]
    absent = planted[common] == 0
    assert absent.sum() > 700
    assert (~absent).sum() > 280
    for part in (absent, ~absent):
        assert abs(z[part].mean()) < 0.25
        assert 0.85 < z[part].std() < 1.15
    assert np.abs(z).max() < 4.5
    assert errors[1][common].max() < 0.15  # so small that a wrong path would show

    is_marker, in_pathway = (truth["marker_of"] != "").to_numpy(), (truth["pathway"] != "").to_numpy()
    for path in (is_marker, in_pathway, ~is_marker & ~in_pathway):
        chosen = common & (planted != 0) & path
        slope = (estimates[1] * planted)[chosen].sum() / (planted**2)[chosen].sum()
        assert chosen.sum() > 30
        assert abs(slope - 1) < 0.03

    age = truth["age_log2_slope"].to_numpy()
    z = ((estimates[2] - (age - age[quiet_genes(truth)].mean())) / errors[2])[common]
    assert abs(z.mean()) < 0.25
    assert 0.85 < z.std() < 1.15


def test_genes_differ_between_batches(large):
    common = large.bulk.layers["counts"].mean(axis=0) >= 30
    columns = [is_yes(large.clinical), *confounders(large.clinical)]
    estimates, _ = coefficients(bulk_log2(large)[:, common], columns)
    second, third = estimates[3], estimates[4]
    assert 0.6 < second.std() < 0.7
    np.testing.assert_allclose(third, 2 * second, atol=0.4)


def test_dispersion_of_a_large_cohort_is_the_planted_one(large):
    """Least squares on the log scale, for genes that have nothing but batch and age."""
    truth, obs = large.truth["genes"], large.clinical
    quiet = quiet_genes(truth) & (large.bulk.layers["counts"].mean(axis=0) >= 200)
    y = bulk_log2(large)[:, quiet] * np.log(2)
    estimates, _ = coefficients(y, confounders(obs))
    residual = y - np.column_stack([np.ones(len(obs)), *confounders(obs)]).astype(float) @ estimates
    # The variance of the log of a gamma factor with dispersion d is trigamma(1 / d).
    expected = polygamma(1, 1 / truth.loc[quiet, "dispersion"])
    assert abs(np.median(residual.var(axis=0) / expected) - 1) < 0.1


def test_composition_and_pathway_truth(large):
    truth, yes = large.truth, is_yes(large.clinical)
    planted = pd.Series(truth["composition"]).reindex(truth["abundance"].columns, fill_value=1.0)
    for values, expected in (
        (truth["abundance"], np.log(planted)),
        (truth["activities"], truth["pathways"]),
    ):
        estimates, errors = coefficients(values.to_numpy(), [yes])
        assert (np.abs(estimates[1] - expected) < 4 * errors[1]).all()
        assert errors[1].max() < 0.08


def test_oracle_auc(large):
    """From the model by drawing it, from a large cohort by logistic regression; nothing else adds to it."""
    truth, obs = large.truth, large.clinical
    assert 0.85 < truth["oracle_auc"] <= 0.90
    yes = is_yes(obs)
    known = np.column_stack([truth["response_axis"], *confounders(obs)]).astype(float)
    mutated = obs.filter(like="mutation_")
    more = np.column_stack([truth["activities"], truth["abundance"], mutated, obs["subtype"].cat.codes])
    for columns in (known, np.column_stack([known, more])):
        score = cross_val_predict(
            LogisticRegression(C=10, max_iter=2000), columns, yes, cv=5, method="decision_function"
        )
        assert abs(roc_auc_score(yes, score) - truth["oracle_auc"]) < 0.015


def test_biomarkers_have_their_joint_auc(large):
    """A classifier of the ten measured genes, batch and age taken out, on patients it has not seen."""
    yes, obs = is_yes(large.clinical), large.clinical
    measured = np.asarray(large.bulk[:, large.truth["biomarkers"]].X)
    estimates, _ = coefficients(measured, [yes, *confounders(obs)])
    measured = measured - np.column_stack(confounders(obs)).astype(float) @ estimates[2:]
    score = cross_val_predict(
        LogisticRegression(max_iter=2000), measured, yes, cv=5, method="decision_function"
    )
    assert large.truth["biomarker_auc"] == 0.85
    assert abs(roc_auc_score(yes, score) - 0.85) < 0.025


def test_hazard_ratios(large):
    from sksurv.linear_model import CoxPHSurvivalAnalysis
    from sksurv.util import Surv

    truth, obs = large.truth, large.clinical
    experimental = (obs["arm"] == "experimental").to_numpy()
    columns = {
        "age": (obs["age"] - 57) / 11,
        "response_axis": truth["response_axis"],
        "stage": obs["stage"].cat.codes,
        "arm": experimental,
        "arm_x_interferon": experimental * truth["activities"]["INTERFERON_GAMMA_RESPONSE"],
    }
    outcome = Surv.from_arrays(obs["os_event"], obs["os_time"])
    fitted = CoxPHSurvivalAnalysis().fit(np.column_stack(list(columns.values())).astype(float), outcome)
    found = pd.Series(fitted.coef_, index=list(columns))
    assert (found - pd.Series(truth["hazard"])).abs().max() < 0.12


def test_drug_weights(large):
    weights, activities = large.truth["drugs"], large.truth["line_activities"].to_numpy()
    found, errors = np.empty(weights.shape), np.empty(weights.shape)
    for row, response in enumerate(large.screen.obsm["response"].to_numpy().T):
        tested = ~np.isnan(response)
        estimates, error = coefficients(response[tested, None], activities[tested].T)
        found[row], errors[row] = estimates[1:, 0], error[1:, 0]
    planted = weights.to_numpy()
    z = (found - planted) / errors
    assert 0.8 < np.sqrt((z**2).mean()) < 1.2  # the line effect is shared, so its error is too
    assert abs((found * planted).sum() / (planted**2).sum() - 1) < 0.03
    target = large.screen.uns["drugs"]["pathway"]
    assert all(weights.at[drug, pathway] < 0.5 for drug, pathway in target.items())


class Expression:
    """Clean cells summed by patient and type, and what the ambient model says of them."""

    def __init__(self, cohort):
        truth, cells = cohort.truth, cohort.cells
        self.patients, self.types = truth["ambient"].index, list(truth["cell_type_response"].index)
        clean = np.flatnonzero(~truth["doublet"] & ~truth["damaged"])
        group = self.patients.get_indexer(cells.obs["patient"]) * 8
        group = (group + pd.Categorical(truth["cell_type"], self.types).codes)[clean]
        shape = (8 * len(self.patients), cells.n_obs)
        member = sparse.csr_matrix((np.ones(len(clean)), (group, clean)), shape)
        self.counts = (member @ cells.layers["counts"]).toarray().reshape(len(self.patients), 8, -1)
        self.n_cells = np.bincount(group, minlength=shape[0]).reshape(-1, 8)
        self.total = self.counts.sum(axis=2, keepdims=True).clip(1)
        self.relative = self.counts / self.total
        fraction = np.exp(truth["abundance"].loc[self.patients].to_numpy())
        fraction /= fraction.sum(axis=1, keepdims=True)
        self.soup = np.einsum("pt,ptg->pg", fraction, self.relative)
        self.ambient = truth["ambient"].to_numpy()
        ambient = self.ambient[:, None, None]
        self.without_soup = (self.counts - ambient * self.total * self.soup[:, None]) / (1 - ambient)


@pytest.fixture(scope="module")
def expression(many_with_cells):
    return Expression(many_with_cells)


def test_response_within_cell_types(many_with_cells, expression):
    truth, genes = many_with_cells.truth, many_with_cells.truth["genes"]
    obs = many_with_cells.clinical.loc[expression.patients]
    axis = truth["response_axis"].loc[expression.patients].to_numpy()
    axis = within_groups(axis, is_yes(obs))
    roleless = (genes["marker_of"] == "") & (genes["pathway"] == "") & ~genes.index.str.startswith("MT-")
    found, planted, errors = [], [], []
    for row, name in enumerate(expression.types):
        effect = truth["cell_type_response"].loc[name].to_numpy()
        patients = expression.n_cells[:, row] >= 10
        counts, own = expression.counts[patients, row], expression.without_soup[patients, row]
        library = own[:, roleless & (effect == 0)].sum(axis=1, keepdims=True)
        # Common genes whose counts are the cells' own rather than the soup's.
        seen = (counts.mean(axis=0) >= 10) & (own.sum(axis=0) >= 0.5 * counts.sum(axis=0))
        y = np.log2((own.clip(0)[:, seen] + 0.5) / library)
        estimates, error = coefficients(y, [is_yes(obs)[patients], axis[patients]])
        found.append(estimates[1])
        errors.append(error[1])
        planted.append(effect[seen])
    found, planted, errors = map(np.concatenate, (found, planted, errors))
    z = (found - planted) / errors
    absent = planted == 0
    assert (~absent).sum() > 700
    for part in (absent, ~absent):
        assert abs(z[part].mean()) < 0.35
        assert 0.85 < z[part].std() < 1.25
    slope = (found * planted).sum() / (planted**2).sum()
    assert abs(slope - 1) < 0.04


def test_ambient_rna_is_in_the_counts(many_with_cells, expression):
    """Epithelial markers in other types rise with what the patient's soup holds of them, one to one."""
    epithelial = (many_with_cells.truth["genes"]["marker_of"] == "Epithelial cell").to_numpy()
    expected = expression.ambient * expression.soup[:, epithelial].sum(axis=1)
    slopes, weights = [], []
    for row in range(1, 8):
        enough = (expression.n_cells[:, [0, row]] >= [10, 15]).all(axis=1)
        found = expression.relative[enough, row][:, epithelial].sum(axis=1, keepdims=True)
        estimates, errors = coefficients(found, [expected[enough]])
        slopes.append(estimates[1, 0])
        weights.append(1 / errors[1, 0] ** 2)
    assert np.sum(weights) ** -0.5 < 0.06
    assert abs(np.average(slopes, weights=weights) - 1) < 0.2


def test_cell_types_express_their_markers(many_with_cells, expression):
    markers = many_with_cells.truth["genes"]["marker_of"]
    sets = pm.gene_sets.core("cell_type")
    shared = [gene for gene in markers.index if sum(gene in sets[name] for name in expression.types) > 1]
    assert "CD3E" in shared
    markers = markers.mask(markers.index.isin(shared), "")
    mean = expression.relative.mean(axis=0)
    by_set = pd.DataFrame(
        {name: mean[:, (markers == name).to_numpy()].sum(axis=1) for name in expression.types},
        index=expression.types,
    )
    own = np.diag(by_set)
    others = by_set.where(~np.eye(8, dtype=bool)).max()
    assert (own > 4 * others.to_numpy()).all()
