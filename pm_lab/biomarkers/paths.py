"""Elastic-net paths: one fit gives the coefficients for every penalty, for all three kinds of outcome."""

from __future__ import annotations

import warnings

import numpy as np

from pm_lab.errors import DataError
from pm_lab.validation import Outcome

TOLERANCE = 1e-4
MOST_NEWTON_STEPS = 20


def penalties(X: np.ndarray, outcome: Outcome, l1_ratio: float, n: int, ratio: float) -> np.ndarray:
    """Penalties from the smallest at which no feature enters down to ``ratio`` of it, on a log scale."""
    return _largest_penalty(X, outcome, l1_ratio) * np.logspace(0, np.log10(ratio), n)


def _largest_penalty(X: np.ndarray, outcome: Outcome, l1_ratio: float) -> float:
    """The smallest at which no feature enters."""
    return np.abs(_gradient_at_zero(X, outcome)).max() / l1_ratio


def _gradient_at_zero(X: np.ndarray, outcome: Outcome) -> np.ndarray:
    """Gradient of the mean log likelihood at coefficients of zero."""
    if outcome.kind == "survival":
        return martingale_residuals(outcome) @ X / len(X)
    return (outcome.values - outcome.values.mean()) @ X / len(X)


def martingale_residuals(outcome: Outcome) -> np.ndarray:
    """Event minus expected events without any covariate (Breslow): the gradient of the Cox likelihood."""
    times, place = np.unique(outcome.time, return_inverse=True)
    deaths = np.bincount(place, outcome.values, len(times))
    at_risk = len(place) - np.concatenate([[0], np.cumsum(np.bincount(place))[:-1]])
    return outcome.values - np.cumsum(deaths / at_risk)[place]


def elastic_net_path(
    X: np.ndarray, outcome: Outcome, alphas: np.ndarray, l1_ratio: float, most: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (features × penalties) and intercepts, for standardised features.

    A logistic path ends early, its last coefficients repeated, once it holds ``most`` features.

    The objective is glmnet's: mean log likelihood − α (l1_ratio |β| + (1 − l1_ratio) β² / 2). Cox by
    scikit-survival, linear by scikit-learn, logistic by Newton steps on the features that can be active
    (sequential strong rules, doi:10.1111/j.1467-9868.2011.01004.x), each solved by scikit-learn.
    """
    if outcome.kind == "survival":
        return _cox(X, outcome, alphas, l1_ratio), np.zeros(len(alphas))
    if outcome.kind == "binary":
        return _logistic(X, outcome.values, alphas, l1_ratio, most)
    from sklearn.linear_model import enet_path

    centre = X.mean(axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of convergence at the end of the path, far from what is chosen
        mean = outcome.values.mean()
        coefs = enet_path(X - centre, outcome.values - mean, l1_ratio=l1_ratio, alphas=alphas)[1]
    return coefs, mean - centre @ coefs


def _cox(X: np.ndarray, outcome: Outcome, alphas: np.ndarray, l1_ratio: float) -> np.ndarray:
    """The path, shortened where the solver gives up: the last coefficients are repeated.

    The solver also stops by itself where the fit no longer changes. Penalties of another training set that
    are too large for this one would stop it before it starts, so they are not passed on.
    """
    from sksurv.linear_model import CoxnetSurvivalAnalysis

    structured = outcome.structured()
    found = np.zeros((X.shape[1], len(alphas)))
    idle = int((alphas >= _largest_penalty(X, outcome, l1_ratio)).sum())
    rest = alphas[idle:]
    if not len(rest):
        return found
    for n in (len(rest), *range(len(rest) - len(rest) // 8 - 1, 0, -max(1, len(rest) // 8))):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # "all coefficients are zero" at the largest penalty
                fitted = CoxnetSurvivalAnalysis(l1_ratio=l1_ratio, alphas=rest[:n])
                coefs = fitted.fit(X, structured).coef_
            found[:, idle:] = coefs[:, np.minimum(np.arange(len(rest)), coefs.shape[1] - 1)]
            return found
        except ArithmeticError:  # weights too large: the penalty is too small for these patients
            continue
    raise DataError(
        f"{outcome.name}: no elastic-net Cox model could be fitted to {len(outcome)} patients with "
        f"{outcome.n_events} events. Use more patients, or fewer features."
    )


def _logistic(
    X: np.ndarray, y: np.ndarray, alphas, l1_ratio: float, most: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    n, p = X.shape
    coefficients, intercept = np.zeros(p), np.log(y.mean() / (1 - y.mean()))
    found, intercepts = np.empty((p, len(alphas))), np.empty(len(alphas))
    gradient = (y - y.mean()) @ X / n
    previous = max(alphas[0], np.abs(gradient).max() / l1_ratio)
    for place, alpha in enumerate(alphas):
        active = (np.abs(gradient) >= l1_ratio * (2 * alpha - previous)) | (coefficients != 0)
        while True:
            columns = np.flatnonzero(active)
            intercept = _newton(X[:, columns], y, alpha, l1_ratio, coefficients, columns, intercept)
            gradient = (y - _probability(X[:, columns] @ coefficients[columns] + intercept)) @ X / n
            missed = ~active & (np.abs(gradient) > l1_ratio * alpha * (1 + 1e-3))
            if not missed.any():
                break
            active |= missed
        found[:, place:], intercepts[place:] = coefficients[:, None], intercept
        if most is not None and (coefficients != 0).sum() >= most:
            break
        previous = alpha
    return found, intercepts


def _probability(score: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(score, -30, 30)))


def _newton(
    X, y, alpha: float, l1_ratio: float, coefficients: np.ndarray, columns, intercept: float
) -> float:
    """Newton steps on the features given; writes their coefficients and returns the intercept."""
    from sklearn import config_context
    from sklearn.linear_model import enet_path

    for _ in range(MOST_NEWTON_STEPS):
        before, before_intercept = coefficients[columns], intercept
        score = X @ before + intercept
        probability = _probability(score)
        weight = np.maximum(probability * (1 - probability), 1e-5)
        working = score + (y - probability) / weight
        total = weight.sum()
        centre, mean = weight @ X / total, weight @ working / total
        if len(columns):
            root = np.sqrt(weight)
            # Checking the input takes longer than the step itself.
            with warnings.catch_warnings(), config_context(skip_parameter_validation=True):
                warnings.simplefilter("ignore")
                step = enet_path(
                    np.asfortranarray((X - centre) * root[:, None]),
                    (working - mean) * root,
                    l1_ratio=l1_ratio,
                    alphas=[alpha],
                    coef_init=before.copy(),
                    tol=TOLERANCE,
                    check_input=False,
                )[1][:, 0]
            coefficients[columns] = step
        intercept = mean - centre @ coefficients[columns]
        change = np.abs(coefficients[columns] - before).max(initial=0)
        if max(change, abs(intercept - before_intercept)) < TOLERANCE * 10:
            break
    return intercept
