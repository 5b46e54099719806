"""Negative controls: how far above nested cross-validation the shortcuts come, and what luck alone gives."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from pm_lab import checks
from pm_lab.biomarkers.features import Features, association, names_given, prepare, read_features
from pm_lab.biomarkers.learners import (
    MODELS,
    WITH_CLINICAL,
    Settings,
    Training,
    check_models,
    values_of,
)
from pm_lab.biomarkers.nested import NestedResult, run_folds, signature_weights
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
    checks.whole_number(n_chosen, "n_chosen")
    adata = checks.bulk_of(cohort)
    target = read_outcome(adata, outcome, positive)
    patients = patients_of(adata, patient_key)
    features = read_features(adata, target, genes, clinical, batch_key)
    model = _one_model(model, features, {})
    if model == "clinical":
        raise DataError("the clinical model chooses no genes, so there is no shortcut to compare it with.")
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


def _one_model(model, features: Features, signatures: dict) -> str:
    if not isinstance(model, str):
        raise DataError(f"model={model!r}: one name. Run the function again for each further model.")
    return check_models(model, features, signatures)[0]


@dataclass
class PermutationNull:
    """What :func:`permutation_null` returns.

    Attributes
    ----------
    observed : mean score over folds with the outcomes as they are.
    null : the same under each permutation.
    p_value : (1 + permutations that are at least as good) / (1 + permutations).
    metric : ``c_index``, ``auc`` or ``r2``.
    predictions : out of fold under each permutation: ``permutation``, ``repeat``, ``fold``, ``prediction``
        and the permuted outcome, for :func:`stratify`.
    outcome : as it is.
    record : sizes, folds, settings and seed, as of a :class:`NestedResult`.
    """

    observed: float
    null: np.ndarray = field(repr=False)
    p_value: float
    metric: str
    model: str
    predictions: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)
    outcome: Outcome | None = field(default=None, repr=False)
    record: dict = field(default_factory=dict, repr=False)

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
    n_repeats: int = 1,
    genes=None,
    clinical=(),
    signatures: dict | None = None,
    patient_key: str | None = None,
    batch_key: str | None = None,
    screen: int | None = None,
    n_inner: int = 5,
    l1_ratios=(0.5,),
    n_trees: int = 200,
    n_jobs: int = 1,
    positive: str | None = None,
) -> PermutationNull:
    """Run the whole nested pipeline on permuted outcomes: what a lucky panel would score.

    Time and event of a patient are permuted together, and patients with all their rows. Pass what was passed
    to :func:`nested_cross_validate`: a null of another pipeline says nothing of this one.

    Parameters
    ----------
    model : one model.
    n_permutations : 50 give a p-value of .02 at best; the null's spread needs no more.
    cohort, outcome, n_splits, seed, n_repeats, genes, clinical, signatures, patient_key, batch_key, screen, \
n_inner, l1_ratios, n_trees, n_jobs, positive : as in :func:`nested_cross_validate`.

    Raises
    ------
    DataError
        As :func:`nested_cross_validate`; also when a patient's rows differ in the outcome, which then is not
        the patient's to be exchanged.

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

    checks.whole_number(n_permutations, "n_permutations")
    settings = Settings(n_inner, l1_ratios, n_trees=n_trees, screen=screen, seed=seed, n_jobs=n_jobs)
    clinical = names_given(clinical, "clinical")
    adata = checks.bulk_of(cohort)
    target = read_outcome(adata, outcome, positive)
    patients = patients_of(adata, patient_key)
    first_rows, code = _first_rows(target, patients)
    features = read_features(adata, target, genes, clinical, batch_key)
    signatures = signature_weights(signatures or {}, features.names)
    model = _one_model(model, features, signatures)

    def run(outcome: Outcome) -> NestedResult:
        folds = splits(outcome, patients, n_splits, n_repeats, seed)
        return run_folds(features, outcome, patients, folds, [model], signatures, settings, quiet=True)

    rng = np.random.default_rng(seed)
    true = run(target)
    quiet = os.environ.get("PM_LAB_PROGRESS") == "0"
    scores, tables = [], []
    for number in tqdm(range(n_permutations), desc="permutations", leave=False, disable=quiet):
        found = run(target.take(rng.permutation(first_rows)[code]))
        scores.append(float(found.scores[target.metric].mean()))
        lean = found.predictions.drop(columns=["place", "patient", "model"])
        tables.append(lean.assign(permutation=number))
    null, observed = np.array(scores), float(true.scores[target.metric].mean())
    record = {"n_splits": n_splits, "n_repeats": n_repeats, "clinical": clinical, "batch_key": batch_key}
    return PermutationNull(
        observed,
        null,
        (1 + int((null >= observed).sum())) / (1 + n_permutations),
        target.metric,
        model,
        pd.concat(tables, ignore_index=True),
        target,
        true.record | record,
    )


def _first_rows(outcome: Outcome, patients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first row of each patient, and the patient of each row as a number."""
    code = pd.factorize(patients)[0]
    first_rows = np.unique(code, return_index=True)[1]
    of_patient = outcome.take(first_rows[code])
    differs = of_patient.values != outcome.values
    if outcome.kind == "survival":
        differs |= of_patient.time != outcome.time
    if differs.any():
        names = pd.unique(patients[differs])
        raise DataError(
            f"the rows of {len(names):,} patients differ in {outcome.name!r} ({', '.join(names[:5])}), so it "
            "cannot be exchanged between patients. Keep one row a patient."
        )
    return first_rows, code
