"""Consensus of clusterings of resampled patients, and what it would be without clusters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

RESAMPLED = 0.8  # share of the patients in each resample
AMBIGUOUS = (0.1, 0.9)  # a pair with a consensus between these is neither together nor apart
GRID = np.linspace(0, 1, 101)  # of consensus values, for their distribution
SMALLEST = 0.005  # added to the ambiguous share before its logarithm: perfect clusters have none


def components(X: np.ndarray, n: int) -> np.ndarray:
    """Scores of patients × genes on the first n principal components, patients × n."""
    U, size, _ = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)
    return (U * size)[:, :n]


def ward(points: np.ndarray, ks: list[int]) -> np.ndarray:
    """Cluster numbers by Ward's method, one row for each k. One tree serves every k."""
    from scipy.cluster.hierarchy import fcluster, linkage

    tree = linkage(points, "ward")
    return np.array([fcluster(tree, k, "maxclust") for k in ks])


def consensus_matrices(points: np.ndarray, ks: list[int], n_resamples: int, rng) -> np.ndarray:
    """How often two patients fall together among the resamples that hold both: ks × patients × patients."""
    n = len(points)
    labels = np.zeros((len(ks), n_resamples, n), dtype=int)  # 0: not in the resample
    for number in range(n_resamples):
        rows = rng.choice(n, round(RESAMPLED * n), replace=False)
        labels[:, number, rows] = ward(points[rows], ks)
    both = _pairs(labels[0] > 0)
    # One matrix product a k: a row for each cluster of each resample.
    together = [
        _pairs((of_k[:, None] == np.arange(1, k + 1)[:, None]).reshape(-1, n))
        for k, of_k in zip(ks, labels, strict=True)
    ]
    matrices = np.array(together) / np.maximum(both, 1)
    matrices[:, np.arange(n), np.arange(n)] = 1
    return matrices


def _pairs(member: np.ndarray) -> np.ndarray:
    """In how many rows of groups × patients both patients are, patients × patients."""
    member = member.astype(np.float32)
    return member.T @ member


def labels_of(matrix: np.ndarray, k: int) -> np.ndarray:
    """Cluster of each patient by average linkage of 1 − consensus; 0 is the largest, then the next."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    if k == 1:
        return np.zeros(len(matrix), dtype=int)
    found = fcluster(linkage(squareform(1 - matrix, checks=False), "average"), k, "maxclust")
    names, first, size = np.unique(found, return_index=True, return_counts=True)
    rank = np.empty(len(names), dtype=int)
    rank[np.lexsort((first, -size))] = np.arange(len(names))
    return rank[np.searchsorted(names, found)]


def distribution(matrix: np.ndarray) -> np.ndarray:
    """Share of pairs of patients whose consensus is at most each value of ``GRID``."""
    pairs = matrix[np.triu_indices(len(matrix), 1)]
    reached = np.ceil(pairs * (len(GRID) - 1) - 1e-4).astype(int)
    return np.cumsum(np.bincount(reached, minlength=len(GRID))) / len(pairs)


def ambiguity(cdf: np.ndarray) -> np.ndarray:
    """Proportion of ambiguous clustering from the distribution(s) over ``GRID`` in the last axis."""
    low, high = (np.searchsorted(GRID, value - 1e-9) for value in AMBIGUOUS)
    return cdf[..., high] - cdf[..., low]


def without_clusters(points: np.ndarray, rng) -> Callable[[], np.ndarray]:
    """A function that draws patients × components like ``points``, each component with a single mode.

    A component is drawn from its own values blurred just enough for one mode (Silverman's critical
    bandwidth), shrunk to the variance it had. A normal component stays normal, an even gradient stays an even
    gradient, two humps become one. Components are drawn independently.
    """
    blur = np.array([_critical_bandwidth(values) for values in points.T])
    middle, shrink = points.mean(axis=0), 1 / np.sqrt(1 + blur**2 / points.var(axis=0))

    def draw() -> np.ndarray:
        chosen = np.take_along_axis(points, rng.integers(0, len(points), points.shape), axis=0)
        return middle + (chosen - middle + blur * rng.standard_normal(points.shape)) * shrink

    return draw


def _critical_bandwidth(values: np.ndarray) -> float:
    """Smallest standard deviation of a normal kernel whose density estimate has one mode."""
    sd = values.std()
    grid = np.linspace(values.min() - sd, values.max() + sd, 300)
    low, high = 0.01 * sd, 2 * sd
    for _ in range(16):
        middle = np.sqrt(low * high)
        density = np.exp(-0.5 * ((grid[:, None] - values) / middle) ** 2).sum(axis=1)
        n_modes = (np.diff(np.sign(np.diff(density))) < 0).sum()
        low, high = (middle, high) if n_modes > 1 else (low, middle)
    return float(high)


def bootstrap_ari(points: np.ndarray, labels: list[np.ndarray], ks: list[int], n: int, rng) -> np.ndarray:
    """Mean adjusted Rand index between each k's labels and the clusters of bootstrapped patients."""
    from sklearn.metrics import adjusted_rand_score

    found = []
    for _ in range(n):
        rows = np.unique(rng.integers(0, len(points), len(points)))
        again = ward(points[rows], ks)
        found.append([adjusted_rand_score(own[rows], new) for own, new in zip(labels, again, strict=True)])
    return np.mean(found, axis=0)


def against_null(observed: np.ndarray, null: np.ndarray) -> pd.DataFrame:
    """Compare ambiguity by k with that without clusters (draws × ks).

    The statistic is −log ambiguity. P-values are Monte Carlo; ``padj`` compares each k's standardised
    statistic with the largest over all k in each draw (single-step maxT), for having looked at several k.
    """
    score, of_null = -np.log(observed + SMALLEST), -np.log(null + SMALLEST)
    everything = np.vstack([score, of_null])  # with the observed one, so that all are alike under the null
    z = (everything - everything.mean(axis=0)) / np.maximum(everything.std(axis=0), 1e-9)
    largest = z[1:].max(axis=1)
    n = len(null) + 1
    return pd.DataFrame(
        {
            "pac": observed,
            "pac_null": null.mean(axis=0),
            "log_ratio": score - of_null.mean(axis=0),
            "z": (score - of_null.mean(axis=0)) / np.maximum(of_null.std(axis=0), 1e-9),
            "pvalue": (1 + (of_null >= score).sum(axis=0)) / n,
            "padj": (1 + (largest[:, None] >= z[0]).sum(axis=0)) / n,
        }
    )
