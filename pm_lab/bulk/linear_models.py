"""limma's voom: linear models of log2 counts per million, weighted by their precision."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pm_lab.design import contrast_vector, model_matrix, model_table

from .normalization import tmm_factors

LEAST_SPREAD, LARGEST_SPREAD = 1e-6, 400.0  # bounds of the prior variance, as pydeseq2 has them
MOST_STEPS = 200


def fit_voom(
    counts: pd.DataFrame, obs: pd.DataFrame, design: str, contrast, size_factors: pd.Series, shrink: bool
) -> pd.DataFrame:
    """Fit voom (limma) to samples × genes and test one contrast by the moderated t.

    Precision weights and the moderation of variances are pylimma's; the weighted regressions, which it does
    gene by gene in some 3 ms each, are solved for all genes at once. ``size_factors`` only serve
    ``base_mean``, so that it is the same under both methods.

    Returns
    -------
    DataFrame by gene with the columns of ``fit_deseq2``.
    """
    from pylimma import squeeze_var, voom
    from scipy import stats
    from threadpoolctl import threadpool_limits

    table = model_table(obs, design, contrast)
    matrix = model_matrix(table, design, contrast[0])
    weights = contrast_vector(table, design, contrast).to_numpy()
    library = counts.sum(axis=1).to_numpy() * tmm_factors(counts.to_numpy())
    with threadpool_limits(1):
        transformed = voom(counts.to_numpy(float).T, matrix.to_numpy(float), lib_size=library)
        estimate, unscaled, variance = _regress(
            transformed["E"], transformed["weights"], matrix.to_numpy(float), weights
        )
    df = len(matrix) - matrix.shape[1]
    squeezed = squeeze_var(variance, df)
    # Pooled over genes, no test has more degrees of freedom than all residuals together.
    total_df = np.minimum(df + squeezed["df_prior"], df * counts.shape[1])
    error = np.sqrt(squeezed["var_post"] * unscaled)
    statistic = estimate / error
    pvalue = 2 * stats.t.sf(np.abs(statistic), total_df)
    results = pd.DataFrame(
        {
            "base_mean": (counts.to_numpy() / size_factors.to_numpy()[:, None]).mean(axis=0),
            "log2_fold_change": estimate,
            "lfc_se": error,
            "stat": statistic,
            "pvalue": pvalue,
            "padj": stats.false_discovery_control(pvalue),
        },
        index=counts.columns.rename("gene"),
    )
    if shrink:
        shrunken = _shrink(estimate * np.log(2), error * np.log(2))
        results["shrunken_log2_fold_change"], results["shrunken_lfc_se"] = shrunken / np.log(2)
    return results


def _regress(response, weight, design, contrast) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each gene: the contrast, its variance per unit of residual variance, and that residual variance."""
    n, p = design.shape
    gram = (weight @ (design[:, :, None] * design[:, None, :]).reshape(n, p * p)).reshape(-1, p, p)
    beta = np.linalg.solve(gram, ((weight * response) @ design)[..., None])[..., 0]
    unscaled = np.linalg.solve(gram, np.broadcast_to(contrast[:, None], (len(gram), p, 1)))[..., 0] @ contrast
    residual = response - beta @ design.T
    return beta @ contrast, unscaled, (weight * residual**2).sum(axis=1) / (n - p)


def _shrink(estimate: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Posterior mode and standard deviation of estimates (natural log) under apeGLM's Cauchy prior.

    Its scale comes from how the estimates spread beyond their errors (Zhu 2019,
    doi:10.1093/bioinformatics/bty895). Each step replaces the prior by the parabola that touches it.
    """
    scale = min(np.sqrt(_spread(estimate, error)), 1.0)
    precision = 1 / error**2
    mode = estimate.copy()
    for _ in range(MOST_STEPS):
        before = mode
        mode = estimate * precision / (precision + 2 / (scale**2 + mode**2))
        if np.abs(mode - before).max() < 1e-8:
            break
    curvature = precision + 2 * (scale**2 - mode**2) / (scale**2 + mode**2) ** 2
    return np.array([mode, np.sqrt(1 / np.abs(curvature))])


def _spread(estimate: np.ndarray, error: np.ndarray) -> float:
    """Variance of the true effects, by which estimates vary more than their errors say."""
    from scipy.optimize import root_scalar

    def excess(variance: float) -> float:
        weight = 1 / (2 * (variance + error**2) ** 2)
        return float(((estimate**2 - error**2) * weight).sum() / weight.sum() - variance)

    if excess(LEAST_SPREAD) < 0:
        return LEAST_SPREAD
    return float(root_scalar(excess, bracket=(LEAST_SPREAD, LARGEST_SPREAD)).root)
