"""The models: each learns from training patients alone, its tuning included."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Real

import numpy as np
import pandas as pd

from pm_lab import checks
from pm_lab.biomarkers.features import Features, Preparation, names_given, prepare
from pm_lab.biomarkers.paths import elastic_net_path, penalties
from pm_lab.errors import DataError
from pm_lab.validation import Outcome, score_each, splits

WITH_CLINICAL = "+clinical"
SVM_PENALTIES = (0.001, 0.01, 0.1, 1.0)
LEAST_L1_RATIO = 0.01
RIDGE = 0.1  # of clinical Cox models: keeps an empty level from running away, moves nothing else


@dataclass(frozen=True)
class Settings:
    """How models are tuned and how large they are, checked."""

    n_inner: int = 5
    l1_ratios: tuple[float, ...] = (0.5,)
    n_alphas: int = 30
    alpha_ratio: float = 0.05
    n_trees: int = 200
    screen: int | None = None
    seed: int = 0
    n_jobs: int = 1

    def __post_init__(self):
        checks.whole_number(self.n_inner, "n_inner", least=2)
        checks.whole_number(self.n_trees, "n_trees")
        checks.whole_number(self.seed, "seed", least=0)
        if self.screen is not None:
            checks.whole_number(self.screen, "screen")
        if self.n_jobs != -1:
            checks.whole_number(self.n_jobs, "n_jobs")
        object.__setattr__(self, "l1_ratios", check_l1_ratios(self.l1_ratios, "l1_ratios"))


def check_l1_ratios(values, argument: str) -> tuple[float, ...]:
    """Mixings of the elastic net, refused where no path can be begun with one, or where there is none."""
    given = tuple(values) if np.iterable(values) else (values,)
    if not given or not all(isinstance(value, Real) and LEAST_L1_RATIO <= value <= 1 for value in given):
        raise DataError(
            f"{argument}={values!r}: numbers from {LEAST_L1_RATIO} (nearly ridge) to 1 (lasso). With 0 no "
            "penalty is large enough to begin the path at."
        )
    return given


@dataclass
class Training:
    """Raw values (NaN where missing), outcome and patients of the training rows of one fold."""

    values: np.ndarray
    batch: np.ndarray | None
    outcome: Outcome
    patients: np.ndarray
    settings: Settings


@dataclass
class Fitted:
    """A model that was fitted. ``weights`` by feature where the model is linear, else None."""

    preparation: Preparation
    score: Callable[[np.ndarray], np.ndarray]
    weights: np.ndarray | None = None
    intercept: float = 0.0
    parameters: dict = field(default_factory=dict)

    def predict(self, values: np.ndarray, batch: np.ndarray | None) -> np.ndarray:
        """Risk, probability of the positive class, or the number itself."""
        return self.score(self.preparation(values, batch))


def values_of(features: Features, model: str) -> tuple[np.ndarray, pd.Index]:
    """The columns that a model may use, and their names."""
    if model == "clinical":
        return features.clinical, features.clinical_names
    if model.endswith(WITH_CLINICAL):
        names = features.names.append(features.clinical_names)
        return np.hstack([features.genes, features.clinical]), names
    return features.genes, features.names


def check_models(models, features: Features, signatures: dict) -> list[str]:
    """The models asked for, refused where one is unknown or has nothing to learn from."""
    models = names_given(models, "models")
    for name in models:
        if not isinstance(name, str):
            raise DataError(f"models: {name!r} is no name; there are {', '.join(MODELS)}.")
        base = name.removesuffix(WITH_CLINICAL)
        if base not in MODELS and name not in signatures:
            raise DataError(
                f"models: {name!r} is not known. There are {', '.join(MODELS)}, each but clinical also with "
                f"{WITH_CLINICAL!r} at its end, and the names in signatures ({list(signatures)})."
            )
        if "clinical" in name and not len(features.clinical_names):
            raise DataError(f"model {name!r} needs clinical columns: pass clinical=['age', ...].")
    if not models:
        raise DataError(f"models is empty; there are {', '.join(MODELS)}.")
    return models


def fit_elastic_net(data: Training) -> Fitted:
    """Elastic net; penalty and mixing chosen by inner cross-validation along whole paths."""
    settings, outcome = data.settings, data.outcome
    preparation, X = prepare(data.values, data.batch, outcome, settings.screen)
    grids = {
        ratio: penalties(X, outcome, ratio, settings.n_alphas, settings.alpha_ratio)
        for ratio in settings.l1_ratios
    }
    scores = inner_scores(data, grids)
    l1_ratio, place = best_of(scores)
    coefs, intercepts = elastic_net_path(X, outcome, grids[l1_ratio][: place + 1], l1_ratio)
    weights, intercept = coefs[:, -1], float(intercepts[-1])
    parameters = {
        "alpha": float(grids[l1_ratio][place]),
        "l1_ratio": l1_ratio,
        "inner_score": float(scores[l1_ratio][place]),
    }
    return Fitted(preparation, _linear(weights, intercept, outcome.kind), weights, intercept, parameters)


def inner_scores(data: Training, grids: dict[float, np.ndarray]) -> dict[float, np.ndarray]:
    """Mean score over inner folds of every penalty: one path a fold and mixing gives all of them."""
    settings, outcome = data.settings, data.outcome
    found = {ratio: [] for ratio in grids}
    for split in splits(outcome, data.patients, inner_folds(data), seed=settings.seed):
        batch = None if data.batch is None else (data.batch[split.train], data.batch[split.test])
        learn = outcome.take(split.train)
        preparation, X = prepare(data.values[split.train], batch and batch[0], learn, settings.screen)
        judged = preparation(data.values[split.test], batch and batch[1])
        for ratio, alphas in grids.items():
            coefs, intercepts = elastic_net_path(X, learn, alphas, ratio)
            found[ratio].append(score_each(outcome.take(split.test), judged @ coefs + intercepts))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a fold that no two patients can be compared in
        return {ratio: np.nanmean(rows, axis=0) for ratio, rows in found.items()}


def inner_folds(data: Training) -> int:
    """Folds asked for, or as many as there are events in this training set."""
    outcome = data.outcome
    fewest = outcome.n_events
    if outcome.kind == "binary":
        fewest = min(fewest, len(outcome) - fewest)
    return max(2, min(data.settings.n_inner, fewest))


def best_of(scores: dict[float, np.ndarray]) -> tuple[float, int]:
    """Mixing and place of the best penalty; of equal ones the largest."""
    filled = {ratio: np.nan_to_num(values, nan=-np.inf) for ratio, values in scores.items()}
    ratio = max(filled, key=lambda name: filled[name].max())
    return ratio, int(filled[ratio].argmax())


def _linear(weights: np.ndarray, intercept: float, kind: str):
    def score(X: np.ndarray) -> np.ndarray:
        raw = X @ weights + intercept
        return 1 / (1 + np.exp(-np.clip(raw, -30, 30))) if kind == "binary" else raw

    return score


def fit_random_forest(data: Training) -> Fitted:
    """Survival forest, or scikit-learn's for classes and numbers; leaves of 5, the usual settings else."""
    preparation, X = prepare(data.values, data.batch, data.outcome, data.settings.screen)
    common = {
        "n_estimators": data.settings.n_trees,
        "min_samples_leaf": 5,
        "max_features": "sqrt",
        "random_state": data.settings.seed,
        "n_jobs": data.settings.n_jobs,
    }
    if data.outcome.kind == "survival":
        from sksurv.ensemble import RandomSurvivalForest

        forest = RandomSurvivalForest(low_memory=True, **common).fit(X, data.outcome.structured())
        return Fitted(preparation, forest.predict)
    from sklearn import ensemble

    binary = data.outcome.kind == "binary"
    kind = ensemble.RandomForestClassifier if binary else ensemble.RandomForestRegressor
    return Fitted(preparation, _predictor(kind(**common).fit(X, data.outcome.values), binary))


def fit_gradient_boosting(data: Training) -> Fitted:
    """Shallow boosted trees with shrinkage and subsampling."""
    preparation, X = prepare(data.values, data.batch, data.outcome, data.settings.screen)
    common = {
        "n_estimators": data.settings.n_trees,
        "learning_rate": 0.05,
        "max_depth": 2,
        "subsample": 0.5,
        "max_features": "sqrt",
        "random_state": data.settings.seed,
    }
    if data.outcome.kind == "survival":
        from sksurv.ensemble import GradientBoostingSurvivalAnalysis

        boosted = GradientBoostingSurvivalAnalysis(**common).fit(X, data.outcome.structured())
        return Fitted(preparation, boosted.predict)
    from sklearn import ensemble

    binary = data.outcome.kind == "binary"
    kind = ensemble.GradientBoostingClassifier if binary else ensemble.GradientBoostingRegressor
    return Fitted(preparation, _predictor(kind(**common).fit(X, data.outcome.values), binary))


def _predictor(model, binary: bool):
    return (lambda X: model.predict_proba(X)[:, 1]) if binary else model.predict


def fit_linear_svm(data: Training) -> Fitted:
    """Linear support vector machine; its penalty is chosen by inner cross-validation.

    The machine sees the patients' coordinates in the space that they span: it is the same model, as its
    penalty does not change when features are rotated, at the cost of patients and not of genes.
    """
    settings, outcome = data.settings, data.outcome
    found = []
    for split in splits(outcome, data.patients, inner_folds(data), seed=settings.seed):
        learn = data.outcome.take(split.train)
        batch = None if data.batch is None else (data.batch[split.train], data.batch[split.test])
        preparation, X = prepare(data.values[split.train], batch and batch[0], learn, settings.screen)
        judged = preparation(data.values[split.test], batch and batch[1])
        columns = [judged @ _svm_weights(X, learn, C, settings.seed)[0] for C in SVM_PENALTIES]
        found.append(score_each(outcome.take(split.test), np.column_stack(columns)))
    C = SVM_PENALTIES[int(np.nan_to_num(np.nanmean(found, axis=0), nan=-np.inf).argmax())]
    preparation, X = prepare(data.values, data.batch, outcome, settings.screen)
    weights, intercept = _svm_weights(X, outcome, C, settings.seed)
    return Fitted(preparation, lambda Z: Z @ weights + intercept, weights, intercept, {"C": C})


def _svm_weights(X: np.ndarray, outcome: Outcome, C: float, seed: int) -> tuple[np.ndarray, float]:
    left, size, right = np.linalg.svd(X, full_matrices=False)
    kept = size > 1e-10 * size[0]
    scale = size[kept][0]  # the machines converge badly on coordinates of very unequal size
    Z, right = left[:, kept] * size[kept] / scale, right[kept] / scale
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of convergence
        if outcome.kind == "survival":
            from sksurv.svm import FastSurvivalSVM

            fitted = FastSurvivalSVM(alpha=C * scale**2 / len(X), max_iter=100, random_state=seed)
            coefficients, intercept = -fitted.fit(Z, outcome.structured()).coef_, 0.0
        else:
            from sklearn.svm import SVC, SVR

            kind = SVC if outcome.kind == "binary" else SVR
            fitted = kind(kernel="linear", C=C * scale**2 / len(X)).fit(Z, outcome.values)
            coefficients, intercept = fitted.coef_[0], float(np.ravel(fitted.intercept_)[0])
    return coefficients @ right, intercept


def fit_clinical(data: Training) -> Fitted:
    """Cox, logistic or linear regression without choice of features."""
    preparation, X = prepare(data.values, data.batch, data.outcome)
    kind = data.outcome.kind
    if kind == "survival":
        from sksurv.linear_model import CoxPHSurvivalAnalysis

        weights = CoxPHSurvivalAnalysis(alpha=RIDGE).fit(X, data.outcome.structured()).coef_
        return Fitted(preparation, _linear(weights, 0.0, kind), weights)
    from sklearn.linear_model import LogisticRegression, Ridge

    model = LogisticRegression(C=1 / RIDGE) if kind == "binary" else Ridge(alpha=RIDGE)
    fitted = model.fit(X, data.outcome.values)
    weights, intercept = np.ravel(fitted.coef_), float(np.ravel(fitted.intercept_)[0])
    return Fitted(preparation, _linear(weights, intercept, kind), weights, intercept)


def fit_signature(data: Training, weights: np.ndarray) -> Fitted:
    """A published score: standardised expression times fixed weights; nothing but the scale is learnt."""
    preparation, _ = prepare(data.values, data.batch, data.outcome)
    weights = weights / np.abs(weights).sum()
    return Fitted(preparation, lambda X: X @ weights, weights)


MODELS: dict[str, Callable[[Training], Fitted]] = {
    "elastic_net": fit_elastic_net,
    "random_forest": fit_random_forest,
    "gradient_boosting": fit_gradient_boosting,
    "linear_svm": fit_linear_svm,
    "clinical": fit_clinical,
}
