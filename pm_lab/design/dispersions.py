"""DESeq2's trend and prior of dispersions in studies so small that R and pydeseq2 part ways."""

from __future__ import annotations

import numpy as np
import pandas as pd

FEW_DEGREES = 3  # residual degrees of freedom up to which R takes the prior from the whole distribution
HISTOGRAM = np.arange(-20, 21) / 2  # of log dispersions around their trend, R's
PRIOR_VARIANCES = np.arange(801) / 100
LEAST_PRIOR_VARIANCE = 0.25
ONE_DRAW = 1e-4  # share of one of R's 10,000 draws, so that no logarithm is of zero
NEAREST, FARTHEST = 1e-4, 15  # dispersion over trend: genes beyond are left out of the next fit of the trend
MOST_ROUNDS = 100


def refit_trend(fitted) -> None:
    """Fit the trend of dispersions over means to the genes that R's DESeq2 fits it to.

    With so few degrees of freedom many genes have a dispersion of zero (70 % of them on airway, most with
    hardly a count). R leaves these out from the start and judges all others anew in each round; pydeseq2
    begins with all genes, and what it once left out stays out. Where no trend is found, pydeseq2's stays.
    """
    if fitted.uns["disp_function_type"] != "parametric":
        return
    dispersion = fitted.var["genewise_dispersions"].to_numpy()
    mean = fitted.var["_normed_means"].to_numpy()
    usable = dispersion > 100 * fitted.min_disp
    coefficients = np.array([0.1, 1.0])
    for _ in range(MOST_ROUNDS):
        ratio = dispersion / (coefficients[0] + coefficients[1] / mean)
        good = usable & (ratio > NEAREST) & (ratio < FARTHEST)
        new = _gamma_regression(1 / mean[good], dispersion[good], coefficients)
        if not (np.isfinite(new) & (new > 0)).all():
            return
        change = (np.log(new / coefficients) ** 2).sum()
        coefficients = new
        if change < 1e-6:
            break
    fitted.uns["trend_coeffs"] = pd.Series(coefficients, index=["a0", "a1"])
    fitted.var["fitted_dispersions"] = fitted.disp_function(fitted.var["_normed_means"])


def _gamma_regression(x: np.ndarray, y: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Intercept and slope of a gamma regression with identity link."""
    design = np.column_stack([np.ones_like(x), x])
    coefficients = start
    for _ in range(MOST_ROUNDS):
        weighted = design.T / (design @ coefficients) ** 2
        new = np.linalg.lstsq(weighted @ design, weighted @ y, rcond=None)[0]
        if not (new > 0).all() or np.allclose(new, coefficients, rtol=1e-8):
            return new
        coefficients = new
    return coefficients


def match_prior_variance(fitted) -> None:
    """The prior variance of log dispersions as R's DESeq2 takes it at 3 residual degrees of freedom or fewer.

    There log dispersions are skewed, and pydeseq2's median absolute deviation comes out small (.25 where
    this gives .51 on airway). What is observed is compared with log(chi-squared / df) + N(0, variance) for a
    grid of variances, by Kullback-Leibler divergence of histograms; R draws the latter at random, here it is
    integrated.
    """
    from scipy.stats import chi2

    n, p = fitted.obsm["design_matrix"].shape
    gene = fitted.var["genewise_dispersions"]
    residuals = np.log(gene / fitted.var["fitted_dispersions"])[gene >= 100 * fitted.min_disp]
    observed = np.histogram(residuals, HISTOGRAM)[0]
    if not observed.any():
        return
    observed = observed / observed.sum()
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    spread = np.sqrt(PRIOR_VARIANCES)[:, None, None] * nodes
    cumulative = chi2.cdf((n - p) * np.exp(HISTOGRAM[:, None] - spread), n - p) @ (weights / weights.sum())
    expected = np.diff(cumulative, axis=1)
    divergence = -(observed * np.log(expected / expected.sum(axis=1, keepdims=True) + ONE_DRAW)).sum(axis=1)
    best = PRIOR_VARIANCES[divergence.argmin()]
    fitted.uns["prior_disp_var"] = np.float64(max(best, LEAST_PRIOR_VARIANCE))
