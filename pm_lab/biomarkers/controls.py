"""Negative controls: how far above nested cross-validation the shortcuts come, and what luck alone gives."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from pm_lab import checks
from pm_lab.biomarkers.features import Features, association, prepare, read_features
from pm_lab.biomarkers.learners import (
    MODELS,
    WITH_CLINICAL,
    Settings,
    Training,
    check_models,
    values_of,
)
from pm_lab.biomarkers.nested import run_folds
from pm_lab.errors import DataError
from pm_lab.validation import Outcome, patients_of, read_outcome, score, splits


def optimism(
    cohort,
    outcome: str,
    model: str = "elastic_net",
    n_chosen: int = 30,
    n_splits: int = 5,
    n_repeats: int = 1,
    seed: int = 0,
    *,
    genes=None,
    clinical=(),
    patient_key: str | None = None,
    batch_key: str | None = None,
    positive: str | None = None,
) -> pd.DataFrame:
    """The same model judged in four ways, of which one is honest.

    Parameters
    ----------
    model : ``"elastic_net"``, ``"random_forest"``, ``"gradient_boosting"`` or ``"linear_svm"``.
    n_chosen : genes that the shortcut chooses by univariate association in all patients.
    cohort, outcome, n_splits, n_repeats, seed, genes, clinical, patient_key, batch_key, positive : as in
        :func:`nested_cross_validate`.

    Returns
    -------
    DataFrame by ``way``: the metric and its ``optimism`` (difference from nested).

        - "apparent": judged on the patients it was learnt from
        - "genes chosen outside the folds": the ``n_chosen`` best genes in all patients, then cross-validation
        - "search not nested": the best inner score of a search over penalties in all patients, which is what
          ``GridSearchCV.best_score_`` says (elastic net only)
        - "nested": everything inside the folds

    References
    ----------
    Ambroise 2002, doi:10.1073/pnas.102102699; Varma 2006, doi:10.1186/1471-2105-7-91.

    Examples
    --------
    >>> import pm_lab as pm
    >>> table = pm.biomarkers.optimism(pm.datasets.load("gse7390"), "dmfs")
    >>> bool(table.loc["apparent", "c_index"] > table.loc["nested", "c_index"])
    True
    """
    adata = checks.bulk_of(cohort)
    target = read_outcome(adata, outcome, positive)
    patients = patients_of(adata, patient_key)
    features = read_features(adata, target, genes, clinical, batch_key)
    (model,) = check_models(model, features, {})
    settings = Settings(seed=seed)
    folds = splits(target, patients, n_splits, n_repeats, seed)

    def judged(chosen: Features) -> float:
        result = run_folds(chosen, target, patients, folds, [model], {}, settings)
        return float(result.scores[target.metric].mean())

    values, _ = values_of(features, model)
    whole = Training(values, features.batch, target, patients, settings)
    fitted = MODELS[model.removesuffix(WITH_CLINICAL)](whole)
    found = {"apparent": score(target, fitted.predict(values, features.batch))}
    found["genes chosen outside the folds"] = judged(_best_genes(features, target, n_chosen))
    if "inner_score" in fitted.parameters:
        found["search not nested"] = fitted.parameters["inner_score"]
    found["nested"] = judged(features)
    table = pd.DataFrame({target.metric: found}).rename_axis("way")
    table["optimism"] = table[target.metric] - found["nested"]
    return table


def _best_genes(features: Features, outcome: Outcome, n: int) -> Features:
    """What must not be done: genes chosen with the outcomes of all patients, later test patients too."""
    _, X = prepare(features.genes, features.batch, outcome)
    best = np.sort(np.argsort(-np.abs(association(X, outcome)), kind="stable")[:n])
    return replace(features, genes=features.genes[:, best], names=features.names[best])


@dataclass
class PermutationNull:
    """What :func:`permutation_null` returns.

    Attributes
    ----------
    observed : mean score over folds with the outcomes as they are.
    null : the same under each permutation.
    p_value : (1 + permutations that are at least as good) / (1 + permutations).
    metric : ``c_index``, ``auc`` or ``r2``.
    """

    observed: float
    null: np.ndarray = field(repr=False)
    p_value: float
    metric: str
    model: str

    def table(self) -> pd.DataFrame:
        """One row: observed, mean, 2.5 % and 97.5 % of the null, p-value."""
        low, high = np.quantile(self.null, [0.025, 0.975])
        return pd.DataFrame(
            {
                "model": [self.model],
                self.metric: [self.observed],
                "null_mean": [self.null.mean()],
                "null_low": [low],
                "null_high": [high],
                "p_value": [self.p_value],
                "n_permutations": [len(self.null)],
            }
        )


def permutation_null(
    cohort,
    outcome: str,
    model: str = "elastic_net",
    n_permutations: int = 50,
    n_splits: int = 5,
    seed: int = 0,
    *,
    genes=None,
    clinical=(),
    batch_key: str | None = None,
    screen: int | None = None,
    positive: str | None = None,
) -> PermutationNull:
    """Run the whole nested pipeline on permuted outcomes: what a lucky panel would score.

    Time and event of a patient are permuted together. One row a patient is needed.

    Parameters
    ----------
    n_permutations : 50 give a p-value of .02 at best; the null's spread needs no more.
    cohort, outcome, model, n_splits, seed, genes, clinical, batch_key, screen, positive : as in
        :func:`nested_cross_validate`, for one model.

    Raises
    ------
    DataError
        As :func:`nested_cross_validate`; also when patients have several rows.

    References
    ----------
    Ojala 2010, Journal of Machine Learning Research 11:1833.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.load("gse7390")
    >>> null = pm.biomarkers.permutation_null(cohort, "dmfs", n_permutations=5)
    >>> len(null.null)
    5
    """
    from tqdm.auto import tqdm

    if n_permutations < 1:
        raise DataError(f"n_permutations={n_permutations}: one at least.")
    adata = checks.bulk_of(cohort)
    target = read_outcome(adata, outcome, positive)
    patients = patients_of(adata)
    features = read_features(adata, target, genes, clinical, batch_key)
    (model,) = check_models(model, features, {})
    settings = Settings(seed=seed, screen=screen)

    def mean_score(permuted: Outcome) -> float:
        folds = splits(permuted, patients, n_splits, seed=seed)
        result = run_folds(features, permuted, patients, folds, [model], {}, settings, quiet=True)
        return float(result.scores[target.metric].mean())

    rng = np.random.default_rng(seed)
    observed = mean_score(target)
    quiet = os.environ.get("PM_LAB_PROGRESS") == "0"
    rounds = tqdm(range(n_permutations), desc="permutations", leave=False, disable=quiet)
    null = np.array([mean_score(target.take(rng.permutation(len(target)))) for _ in rounds])
    p_value = (1 + int((null >= observed).sum())) / (1 + n_permutations)
    return PermutationNull(observed, null, p_value, target.metric, model)
