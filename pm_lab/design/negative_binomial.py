"""The regressions of DESeq2 for many genes at once, where pydeseq2 takes one gene after the other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from pydeseq2 import utils
from pydeseq2.default_inference import DefaultInference
from scipy.special import digamma, gammaln
from scipy.stats import norm

RIDGE = 1e-6  # pydeseq2's, on natural log fold changes
BLOCK = 100_000  # counts looked at together: they stay in the processor's cache
LEAST_MEAN = 0.5  # of fitted counts, in R and in pydeseq2
# Where the likelihood is as flat as this a dispersion stays where it starts, as in R and in pydeseq2: the
# trend over genes depends on it, since many genes of a small study start at no dispersion at all.
FLAT = 1e-5
DISPERSION_TOLERANCE = 1e-7  # of the log dispersion
SHRINK_TOLERANCE = 1e-6  # of the natural log fold change
MOST_STEPS = 200


class BatchedInference(DefaultInference):
    """pydeseq2's estimators, solved for blocks of genes by matrix algebra, blocks shared by threads.

    The optima are those of :class:`pydeseq2.default_inference.DefaultInference`, found more exactly; genes
    that do not converge are handed to its solver. No process is started. Two things are R's where
    pydeseq2 0.5 differs from it: fitted means are floored in the Wald test, and the apeGLM posterior is
    maximised from two starts, with its own Hessian (pydeseq2 can stop at a fold change of the other sign, its
    issue 347, and adds the prior's curvature to whole columns).
    """

    def __init__(self, n_jobs: int = 1):
        super().__init__(n_cpus=1)
        self.n_jobs = n_jobs

    def _blocks(self, solve: Callable, n_genes: int, n_samples: int) -> list[np.ndarray]:
        """What ``solve(genes)`` returns for blocks of genes, put together along the genes."""
        from joblib import Parallel, delayed

        step = max(1, BLOCK // n_samples)
        parts = [slice(start, start + step) for start in range(0, n_genes, step)]
        solved = Parallel(n_jobs=self.n_jobs, backend="threading")(delayed(solve)(part) for part in parts)
        return [np.concatenate(pieces) for pieces in zip(*solved, strict=True)]

    def lin_reg_mu(self, counts, size_factors, design_matrix, min_mu):
        """Means of a linear model of the normalised counts, samples × genes."""
        coefficients = np.linalg.lstsq(design_matrix, counts / size_factors[:, None], rcond=None)[0]
        return np.maximum(size_factors[:, None] * (design_matrix @ coefficients), min_mu)

    def irls(self, counts, size_factors, design_matrix, disp, min_mu, beta_tol, **options):
        """Coefficients, means, leverages and convergence of the negative binomial regressions."""

        def solve(genes):
            return _regress(counts.T[genes], size_factors, design_matrix, disp[genes], min_mu, beta_tol)

        beta, mean, leverage, converged = self._blocks(solve, *counts.T.shape)
        return beta, mean.T, leverage.T, converged

    def alpha_mle(
        self,
        counts,
        design_matrix,
        mu,
        alpha_hat,
        min_disp,
        max_disp,
        prior_disp_var=None,
        cr_reg=True,
        prior_reg=False,
        **options,
    ):
        """Dispersions by maximal Cox-Reid adjusted likelihood, with ``prior_reg`` posterior."""
        prior = prior_disp_var if prior_reg else np.inf

        def solve(genes):
            slope = _DispersionSlope(
                counts.T[genes], mu.T[genes], design_matrix, np.log(alpha_hat[genes]), prior
            )
            return (np.exp(_descend(slope, slope.centre, np.log(min_disp), np.log(max_disp))),)

        (dispersion,) = self._blocks(solve, *counts.T.shape)
        return dispersion, np.isfinite(dispersion)

    def wald_test(self, design_matrix, disp, lfc, mu, ridge_factor, contrast, lfc_null, alt_hypothesis=None):
        """p-values, statistics and standard errors (natural log) of one contrast."""
        contrast = np.asarray(contrast, float)  # pydeseq2 makes a Series of ["response", "yes", "no"]

        def solve(genes):
            # R floors the means here, too; pydeseq2 does not, and a gene without counts on one side has a
            # standard error of 1.66 where R says 1.05.
            mean = np.maximum(mu.T[genes], LEAST_MEAN)
            fisher = _gram(mean / (1 + mean * disp[genes, None]), design_matrix)
            weights = np.linalg.solve(fisher + ridge_factor, contrast[:, None])
            error = np.sqrt(np.einsum("gpq,gpr,grq->gq", weights, fisher, weights))[:, 0]
            statistic = (lfc[genes] - lfc_null) @ contrast / error
            return 2 * norm.sf(np.abs(statistic)), statistic, error

        return self._blocks(solve, *mu.T.shape)

    def lfc_shrink_nbinom_glm(
        self,
        design_matrix,
        counts,
        size,
        offset,
        prior_no_shrink_scale,
        prior_scale,
        optimizer,
        shrink_index,
    ):
        """Posterior modes, inverse Hessians and convergence under the apeGLM prior."""

        def solve(genes):
            return _shrink(
                counts.T[genes],
                offset,
                design_matrix,
                1 / size[genes],
                prior_no_shrink_scale,
                prior_scale,
                shrink_index,
            )

        return self._blocks(solve, *counts.T.shape)


def _gram(weights: np.ndarray, design: np.ndarray) -> np.ndarray:
    """X'WX of every gene: genes × coefficients × coefficients, from weights genes × samples."""
    n, p = design.shape
    return (weights @ (design[:, :, None] * design[:, None, :]).reshape(n, p * p)).reshape(-1, p, p)


def _log_likelihood(counts, mean, dispersion, constant) -> np.ndarray:
    """Negative binomial log likelihood of each gene; ``constant`` is its part without the mean."""
    size = 1 / dispersion[:, None]
    return constant - ((counts + size) * np.log(size + mean) - counts * np.log(mean)).sum(axis=1)


def _constant(counts, dispersion) -> np.ndarray:
    size = 1 / dispersion[:, None]
    choose = gammaln(counts + size) - gammaln(counts + 1) - gammaln(size)
    return (choose - size * np.log(dispersion[:, None])).sum(axis=1)


def _regress(counts, size_factors, design, dispersion, min_mu, tolerance, max_beta=30.0):
    """Iteratively reweighted least squares; genes × samples in, everything by gene out."""
    start = np.log(counts / size_factors + 0.1).T
    beta = np.linalg.lstsq(design, start, rcond=None)[0].T
    constant = _constant(counts, dispersion)
    deviance = np.full(len(counts), 1000.0)
    active, failed = np.arange(len(counts)), []
    ridge = RIDGE * np.eye(design.shape[1])
    for _ in range(MOST_STEPS):
        y, alpha = counts[active], dispersion[active]
        mean = np.maximum(size_factors * np.exp(beta[active] @ design.T), min_mu)
        weight = mean / (1 + mean * alpha[:, None])
        working = np.log(mean / size_factors) + (y - mean) / mean
        step = np.linalg.solve(_gram(weight, design) + ridge, ((weight * working) @ design)[..., None])
        step = step[..., 0]
        diverged = ~(np.abs(step) <= max_beta).all(axis=1)
        failed.extend(active[diverged])
        beta[active] = step
        mean = np.maximum(size_factors * np.exp(np.clip(step, -max_beta, max_beta) @ design.T), min_mu)
        now = -2 * _log_likelihood(y, mean, alpha, constant[active])
        done = np.abs(now - deviance[active]) / (np.abs(now) + 0.1) <= tolerance
        deviance[active] = now
        active = active[~done & ~diverged]
        if not len(active):
            break
    converged = np.ones(len(counts), bool)
    for gene in [*failed, *active]:
        beta[gene], _, _, converged[gene] = utils.irls_solver(
            counts[gene], size_factors, design, dispersion[gene], min_mu, tolerance
        )
    mean = size_factors * np.exp(beta @ design.T)
    floored = np.maximum(mean, min_mu)
    weight = floored / (1 + floored * dispersion[:, None])
    inverse = np.linalg.inv(_gram(weight, design) + ridge)
    return beta, mean, weight * _quadratic(inverse, design), converged


def _quadratic(inverse: np.ndarray, design: np.ndarray) -> np.ndarray:
    """x' A x of each sample's row x of the design and each gene's matrix A: genes × samples."""
    n, p = design.shape
    return inverse.reshape(-1, p * p) @ (design[:, :, None] * design[:, None, :]).reshape(n, p * p).T


class _DispersionSlope:
    """Slope, over the log dispersion, of the negative log posterior of some genes."""

    def __init__(self, counts, mean, design, centre, prior_variance):
        self.counts, self.mean, self.design = counts, mean, design
        self.centre, self.prior_variance = centre, prior_variance

    def __call__(self, log_dispersion: np.ndarray, genes: np.ndarray) -> np.ndarray:
        y, mean, x = self.counts[genes], self.mean[genes], log_dispersion[:, None]
        alpha, size = np.exp(x), np.exp(-x)
        likelihood = size * (
            digamma(size) - digamma(y + size) + np.log1p(mean * alpha) + (y - mean) / (mean + size)
        )
        weight = mean / (1 + mean * alpha)
        inverse = np.linalg.inv(_gram(weight, self.design))
        cox_reid = np.einsum("gpq,gqp->g", inverse, _gram(-(weight**2) * alpha, self.design)) / 2
        return (
            -likelihood.sum(axis=1) + cox_reid + (log_dispersion - self.centre[genes]) / self.prior_variance
        )


def _descend(slope: Callable, start: np.ndarray, lowest: float, highest: float) -> np.ndarray:
    """The local minimum downhill of each start: bracketed by growing steps, then regula falsi (Illinois)."""
    genes = np.arange(len(start))
    near, near_slope = start.copy(), slope(start, genes)
    far, far_slope = near.copy(), near_slope.copy()
    active, stride = genes[np.abs(near_slope) > FLAT], 0.5
    while len(active):
        near[active], near_slope[active] = far[active], far_slope[active]
        far[active] = np.clip(near[active] - stride * np.sign(near_slope[active]), lowest, highest)
        far_slope[active] = slope(far[active], active)
        at_bound = (far[active] <= lowest) | (far[active] >= highest)
        active = active[(far_slope[active] * near_slope[active] > 0) & ~at_bound]
        stride *= 2
    active = genes[far_slope * near_slope < 0]
    for _ in range(MOST_STEPS):
        active = active[np.abs(far[active] - near[active]) > DISPERSION_TOLERANCE]
        if not len(active):
            break
        a, b, slope_a, slope_b = near[active], far[active], near_slope[active], far_slope[active]
        new = b - slope_b * (b - a) / (slope_b - slope_a)
        new_slope = slope(new, active)
        crossed = new_slope * slope_b < 0
        near[active] = np.where(crossed, b, a)
        near_slope[active] = np.where(crossed, slope_b, slope_a / 2)  # Illinois: no end stays for long
        far[active], far_slope[active] = new, new_slope
        # At the root itself the bracket need not close from both sides.
        near[active] = np.where(np.abs(new - b) < DISPERSION_TOLERANCE, new, near[active])
    return far


def _shrink(counts, offset, design, dispersion, other_scale, scale, index):
    """Posterior modes from two starts, the fold change at its estimate and at zero: the better one stays.

    The Cauchy prior is replaced by the parabola that touches it from above (weight 2 / (scale² + b²)), so
    that each step is a regression with a ridge and climbs.
    """
    constant = np.zeros(len(counts))
    size_factors = np.exp(offset)

    def loss(beta):
        mean = size_factors * np.exp(beta @ design.T)
        others = np.delete(beta, index, axis=1)
        prior = (others**2).sum(axis=1) / (2 * other_scale**2) + np.log1p((beta[:, index] / scale) ** 2)
        return prior - _log_likelihood(counts, mean, dispersion, constant)

    start = np.linalg.lstsq(design, np.log(counts / size_factors + 0.1).T, rcond=None)[0].T
    at_zero = start.copy()
    at_zero[:, index] = 0
    climbed = [
        _climb(start_, counts, size_factors, design, dispersion, other_scale, scale, index)
        for start_ in (start, at_zero)
    ]
    losses = [loss(beta) for beta, _ in climbed]
    better = (losses[1] < losses[0])[:, None]
    beta = np.where(better, climbed[1][0], climbed[0][0])
    converged = np.where(better[:, 0], climbed[1][1], climbed[0][1])
    mean = size_factors * np.exp(beta @ design.T)
    information = (counts + 1 / dispersion[:, None]) * mean / dispersion[:, None]
    hessian = _gram(information / (1 / dispersion[:, None] + mean) ** 2, design)
    square = beta[:, index] ** 2
    diagonal = np.full_like(beta, 1 / other_scale**2)
    diagonal[:, index] = 2 * (scale**2 - square) / (scale**2 + square) ** 2
    hessian += diagonal[:, :, None] * np.eye(design.shape[1])
    return beta, np.linalg.inv(hessian), converged


def _climb(beta, counts, size_factors, design, dispersion, other_scale, scale, index):
    beta, active = beta.copy(), np.arange(len(counts))
    for _ in range(MOST_STEPS):
        y, now = counts[active], beta[active]
        mean = size_factors * np.exp(now @ design.T)
        weight = mean / (1 + mean * dispersion[active, None])
        working = now @ design.T + (y - mean) / mean
        ridge = np.full_like(now, 1 / other_scale**2)
        ridge[:, index] = 2 / (scale**2 + now[:, index] ** 2)
        system = _gram(weight, design) + ridge[:, :, None] * np.eye(design.shape[1])
        new = np.linalg.solve(system, ((weight * working) @ design)[..., None])[..., 0]
        beta[active] = np.clip(new, -30, 30)
        active = active[(np.abs(new - now) > SHRINK_TOLERANCE).any(axis=1)]
        if not len(active):
            break
    converged = np.ones(len(counts), bool)
    converged[active] = False
    return beta, converged
