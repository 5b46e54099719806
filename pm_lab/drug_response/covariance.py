"""How drugs go together over lines: the covariance of their responses, and the gaps that it fills."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RANK = 8  # of the factor model that the full covariance starts from
FACTOR_STEPS = 25
FULL_STEPS = 2  # more of them learn noise
SHRINKAGE = 0.1  # of the covariances between drugs
FURTHER_SHRINKAGE = (0.0, 0.2, 0.4, 0.6, 0.8)  # where lines are few; the masked pairs choose
PRIOR_LINES = 1.0  # lines' worth of evidence that a drug is as noisy as the others
LEAST_VARIANCE = 1e-3  # of a drug, that a constant one may stand beside the others
MASKED = 0.1  # of the pairs, to see how well gaps are filled in
BLOCK = 6_000_000  # numbers in the covariances that are inverted together


@dataclass(frozen=True)
class KnownLines:
    """What is expected of lines with known responses beyond what their genes say, lines × drugs.

    Attributes
    ----------
    expected : from the responses of the line to other drugs; never from the value itself.
    errors : observed − expected, NaN where not measured, as large as were the covariance not learnt from the
        same values.
    shrinkage : that the masked pairs chose.
    """

    expected: np.ndarray
    errors: np.ndarray
    shrinkage: float


def fill_responses(residual: np.ndarray, n_lines: int) -> tuple[np.ndarray, np.ndarray]:
    """Learn the covariance of the drugs by expectation–maximisation, and fill in what was not measured.

    A factor model of the drugs gives a first covariance; a few steps on the full one, its off-diagonal
    shrunk, keep what is particular to two drugs (two of one target, one compound under two names).

    Parameters
    ----------
    residual : lines × drugs, NaN where not measured; of variance about 1.
    n_lines : the first so many lines are filled in; the others only teach the covariance.

    Returns
    -------
    filled, lines × drugs: measured values, and what the other drugs of the line say where there is none; and
    the covariance, drugs × drugs.

    Source
    ------
    Rubin and Thayer 1982, doi:10.1007/BF02293851 (factor model); Dempster, Laird and Rubin 1977,
    doi:10.1111/j.2517-6161.1977.tb01600.x.
    """
    mean, covariance = _learn(residual)
    return _fill(residual[:n_lines], mean, covariance), covariance


def expect_known(deviation: np.ndarray, n_lines: int, seed: int) -> KnownLines:
    """What the responses of a line to other drugs say beyond what its genes do.

    The prediction from the genes is the prior mean of a line; how far its responses lie from it, drug by drug
    and together, is learnt as a covariance. Given that, each value is expected where the other responses of
    the line move it: a line with few of them stays at what its genes say. A covariance that is learnt without
    a tenth of the pairs judges on these by how much to shrink further what drugs share, and by what factor
    errors are larger on pairs that it did not see.

    Parameters
    ----------
    deviation : lines × drugs, what was measured less what the genes say, predicted by what had not seen the
        line (the mean of the drug for lines without expression); NaN where not measured, of variance about 1.
    n_lines : the first so many lines are asked for; the others only teach the covariance.
    seed : of the pairs that are masked.
    """
    observed = deviation[:n_lines]
    masked = _masked(deviation, n_lines, seed)
    judged = np.isnan(masked[:n_lines]) & ~np.isnan(observed)
    shrinkage, size = FURTHER_SHRINKAGE[0], 0.0
    if judged.any():
        shrinkage, size = _choose_shrinkage(masked, observed, judged)
    mean, covariance = _learn(deviation)
    expected = _expect(observed, mean, _shrunk(covariance, shrinkage))
    errors = observed - expected
    own = float(np.mean(errors[judged] ** 2)) if judged.any() else 0.0
    factor = max(np.sqrt(size / own), 1.0) if own > 0 else 1.0
    return KnownLines(expected, errors * factor, shrinkage)


def _choose_shrinkage(masked: np.ndarray, observed: np.ndarray, judged: np.ndarray) -> tuple[float, float]:
    """The further shrinkage with the smallest mean squared error on pairs that were masked, and that error.

    The error falls to its minimum and rises again: where it rises, larger ones are not tried.
    """
    mean, covariance = _learn(masked)
    best, smallest = FURTHER_SHRINKAGE[0], np.inf
    for further in FURTHER_SHRINKAGE:
        filled = _fill(masked[: len(observed)], mean, _shrunk(covariance, further))
        size = float(np.mean((observed - filled)[judged] ** 2))
        if size >= smallest:
            break
        best, smallest = further, size
    return best, smallest


def _masked(residual: np.ndarray, n_lines: int, seed: int) -> np.ndarray:
    """The same without a tenth of the pairs of the first lines."""
    masked = np.zeros(residual.shape, bool)
    masked[:n_lines] = np.random.default_rng(seed).random((n_lines, residual.shape[1])) < MASKED
    left = np.where(masked, np.nan, residual)
    # A drug keeps all of its values where masking would leave it next to none.
    return np.where((~np.isnan(left)).sum(axis=0) < 2, residual, left)


def _learn(residual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the drugs."""
    known = ~np.isnan(residual)
    values = np.where(known, residual, 0.0)
    mean, covariance = _factor_model(values, known.astype(float))
    for _ in range(FULL_STEPS):
        mean, covariance = _full_step(values, known, mean, covariance)
    return mean, covariance


def _shrunk(covariance: np.ndarray, share: float) -> np.ndarray:
    """Covariances between drugs made smaller; variances stay."""
    return (1 - share) * covariance + share * np.diag(np.diag(covariance))


def _factor_model(values: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of r = mean + loadings z + noise, z ~ N(0, 1), gaps left out."""
    n, n_drugs = values.shape
    rank = max(1, min(RANK, n_drugs - 1, n // 4))
    count = known.sum(axis=0)
    mean = values.sum(axis=0) / np.maximum(count, 1)
    _, size, axes = np.linalg.svd((values - mean) * known, full_matrices=False)
    loadings = axes[:rank].T * size[:rank] / np.sqrt(n)
    pooled = (((values - mean) * known) ** 2).sum() / known.sum()
    noise = np.full(n_drugs, pooled / 2)
    for _ in range(FACTOR_STEPS):
        difference = (values - mean) * known
        scaled = loadings / noise[:, None]
        products = (loadings[:, :, None] * scaled[:, None, :]).reshape(n_drugs, -1)
        spread = np.linalg.inv((known @ products).reshape(n, rank, rank) + np.eye(rank))
        factors = np.einsum("nij,nj->ni", spread, difference @ scaled)
        second = (spread + factors[:, :, None] * factors[:, None, :]).reshape(n, -1)
        normal = (known.T @ second).reshape(n_drugs, rank, rank) + noise[:, None, None] * np.eye(rank)
        loadings = np.linalg.solve(normal, (difference.T @ factors)[:, :, None])[:, :, 0]
        left = difference - known * (factors @ loadings.T)
        unsure = np.einsum(
            "di,dij,dj->d",
            loadings,
            (known.T @ spread.reshape(n, -1)).reshape(n_drugs, rank, rank),
            loadings,
        )
        noise = ((left**2).sum(axis=0) + unsure + PRIOR_LINES * pooled / 2) / (count + PRIOR_LINES)
        mean = mean + left.sum(axis=0) / (count + PRIOR_LINES)
    return mean, loadings @ loadings.T + np.diag(noise)


def _blocks(values: np.ndarray, known: np.ndarray, mean: np.ndarray, covariance: np.ndarray):
    """By block of lines: rows, which were measured, differences, and factors of their covariances.

    Where a drug was not measured, its row and column are those of the identity, so that all lines of a block
    are factorised in one call.
    """
    import torch

    n, n_drugs = values.shape
    step = max(1, BLOCK // n_drugs**2)
    as_tensor = lambda array: torch.as_tensor(array, dtype=torch.float32)  # noqa: E731
    mean, covariance = as_tensor(mean), as_tensor(covariance)
    for start in range(0, n, step):
        mask = as_tensor(known[start : start + step])
        square = covariance * mask[:, :, None] * mask[:, None, :]
        square.diagonal(dim1=1, dim2=2).add_(1 - mask)
        difference = (as_tensor(values[start : start + step]) - mean) * mask
        yield slice(start, start + step), mask, difference, torch.linalg.cholesky(square)


def _full_step(
    values: np.ndarray, known: np.ndarray, mean: np.ndarray, covariance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One step of expectation–maximisation for a normal distribution with gaps."""
    import torch

    full = torch.as_tensor(covariance, dtype=torch.float32)
    filled, precision = np.array(values), torch.zeros_like(full)
    for rows, mask, difference, factor in _blocks(values, known, mean, covariance):
        # Where a drug was not measured, the inverse is that of the identity, which is left out.
        inverse = torch.cholesky_inverse(factor)
        weights = (inverse @ difference[:, :, None])[:, :, 0] * mask
        guess = mean + (weights @ full).double().numpy()
        filled[rows] = np.where(known[rows], values[rows], guess)
        precision += torch.einsum("ni,nij,nj->ij", mask, inverse, mask)
    # Of each line, the covariance given what was measured: Σ − Σ P Σ, P the inverse of the measured part.
    unsure = len(values) * full - full @ precision @ full
    mean = filled.mean(axis=0)
    centred = filled - mean
    second = (centred.T @ centred + unsure.double().numpy()) / len(values)
    second += np.diag(np.maximum(LEAST_VARIANCE - np.diag(second), 0.0))
    return mean, _shrunk(second, SHRINKAGE)


def _fill(residual: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Responses with their gaps filled in by what the others of the line say."""
    import torch

    known = ~np.isnan(residual)
    values = np.where(known, residual, 0.0)
    full, filled = torch.as_tensor(covariance, dtype=torch.float32), values.copy()
    for rows, mask, difference, factor in _blocks(values, known, mean, covariance):
        weights = torch.cholesky_solve(difference[:, :, None], factor)[:, :, 0] * mask
        guess = mean + (weights @ full).double().numpy()
        filled[rows] = np.where(known[rows], values[rows], guess)
    return filled


def _expect(residual: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """What the others of the line say of each response, whether it was measured or not."""
    import torch

    known = ~np.isnan(residual)
    values = np.where(known, residual, 0.0)
    full, expected = torch.as_tensor(covariance, dtype=torch.float32), values.copy()
    for rows, mask, difference, factor in _blocks(values, known, mean, covariance):
        inverse = torch.cholesky_inverse(factor)
        weights = (inverse @ difference[:, :, None])[:, :, 0] * mask
        guess = mean + (weights @ full).double().numpy()
        # A value less what the others say of it, in one formula: no value is left out one at a time.
        without = values[rows] - (weights / inverse.diagonal(dim1=1, dim2=2)).double().numpy()
        expected[rows] = np.where(known[rows], without, guess)
    return expected
