"""Ridge regression of all drugs on expression at once, in the space of a kernel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pandas as pd

from pm_lab.drug_response.baselines import tuning_parts
from pm_lab.drug_response.contract import screen_of
from pm_lab.drug_response.effects import (
    Effects,
    additive_effects,
    asked,
    expression_of,
    responses_of,
    with_unseen,
)

# In the order of preference: where tuning cannot tell, the first is taken.
PENALTIES = (1.0, 0.3, 3.0, 10.0)
WIDTHS = (1.0, 0.5, 0.25)  # of the Gaussian kernel, in 1 / median squared distance of two lines
N_COMPONENTS = 100
TOLERANCE = 1e-6  # of what is left of the equations, relative to the responses


@dataclass(frozen=True)
class _Parts:
    """What was learnt: effects, and what the kernel with each line of training weighs in level and drugs."""

    effects: Effects
    level: np.ndarray
    specific: np.ndarray

    def predict(self, kernel: np.ndarray, lines: pd.Index, drugs: pd.Index) -> np.ndarray:
        """Lines × drugs of training; ``kernel``: the lines with those of training."""
        line = self.effects.line.reindex(lines).to_numpy()
        line = np.where(np.isnan(line), kernel @ self.level, line)
        drug = self.effects.drug.reindex(drugs).fillna(0.0).to_numpy()
        return self.effects.overall + drug + line[:, None] + kernel @ self.specific


class _KernelModel:
    """Additive effects, a ridge regression for the level of a line, and one a drug for what these leave.

    Lines on which a drug was not measured are left out of its regression, not filled in.
    """

    widths = (1.0,)

    def __init__(self, seed: int = 0):
        self.seed = seed

    def fit(self, screen, validation=None):
        screen = screen_of(screen)
        response, expression = responses_of(screen), expression_of(screen)
        parts = tuning_parts(response, validation, self.seed)
        self.genes_, self.drugs_ = screen.var_names, response.columns
        self.center_, scale = expression.mean(axis=0), expression.std(axis=0)
        self.scale_ = np.where(scale > 0, scale, np.inf)  # a constant gene says nothing
        self.features_ = self._learn_features((expression - self.center_) / self.scale_)
        self.width_, *penalties = self._tune(response, parts)
        self.penalty_level_, self.penalty_ = penalties
        kernel = self._kernel(self.features_, self.width_)
        self.parts_ = _learn(response, kernel, *penalties)
        return self

    def predict_matrix(self, adata, drugs: pd.DataFrame | None = None) -> pd.DataFrame:
        adata = screen_of(adata)
        expression = (expression_of(adata, self.genes_) - self.center_) / self.scale_
        kernel = self._kernel(self._features(expression), self.width_)
        predicted = self.parts_.predict(kernel, adata.obs_names, self.drugs_)
        table = pd.DataFrame(predicted, adata.obs_names, self.drugs_)
        return with_unseen(table, asked(drugs, self.drugs_))

    def _tune(self, response: pd.DataFrame, parts: list[np.ndarray]) -> tuple[float, float, float]:
        """Width, and penalties of level and drugs, with the smallest error over the parts held out."""
        errors = dict.fromkeys(product(self.widths, PENALTIES, PENALTIES), 0.0)
        for width in self.widths:
            kernel = self._kernel(self.features_, width)
            for held in parts:
                for penalties, error in _errors(response, held, kernel).items():
                    errors[width, *penalties] += error
        return min(errors, key=errors.get)


class KernelRidge(_KernelModel):
    """Ridge regression with a Gaussian kernel of the expression of the lines, all drugs at once.

    ln IC50 = overall + drug + level of the line + what is specific to both. The specific part is predicted,
    and so is the level of a new line; the level of a line of training is that of its other values. Width and
    penalties are tuned within training, on the validation part and others like it. A drug that was not seen
    is predicted as the mean of the drugs.

    Attributes
    ----------
    width_ : of the kernel, in 1 / median squared distance of two lines.
    penalty_level_, penalty_ : of the regressions for the level and for the specific part.

    Source
    ------
    Saunders, Gammerman and Vovk 1998, ridge regression in dual variables.

    Examples
    --------
    >>> import pm_lab as pm
    >>> screen = pm.datasets.simulate_cohort(n_cells=600).screen
    >>> pm.drug_response.KernelRidge().fit(screen).predict_matrix(screen[:2]).shape
    (2, 60)
    """

    name = "kernel_ridge"
    widths = WIDTHS

    def _learn_features(self, expression: np.ndarray) -> np.ndarray:
        from scipy.spatial.distance import pdist

        self.unit_ = float(np.median(pdist(expression, "sqeuclidean"))) or 1.0
        return expression

    def _features(self, expression: np.ndarray) -> np.ndarray:
        return expression

    def _kernel(self, features: np.ndarray, width: float) -> np.ndarray:
        from sklearn.metrics.pairwise import rbf_kernel

        return rbf_kernel(features, self.features_, gamma=width / self.unit_)


class PCARidge(_KernelModel):
    """Ridge regression on the first 100 principal components of expression, all drugs at once.

    As :class:`KernelRidge`, with a linear kernel of the components; the penalties are in units of the mean
    squared length of a line's components.

    Examples
    --------
    >>> import pm_lab as pm
    >>> screen = pm.datasets.simulate_cohort(n_cells=600).screen
    >>> pm.drug_response.PCARidge().fit(screen).predict_matrix(screen[:2]).shape
    (2, 60)
    """

    name = "pca_ridge"

    def _learn_features(self, expression: np.ndarray) -> np.ndarray:
        from sklearn.decomposition import PCA

        n = min(N_COMPONENTS, *expression.shape)
        self.components_ = PCA(n, svd_solver="full").fit(expression).components_
        scores = expression @ self.components_.T
        self.unit_ = float(np.mean((scores**2).sum(axis=1))) or 1.0
        return scores

    def _features(self, expression: np.ndarray) -> np.ndarray:
        return expression @ self.components_.T

    def _kernel(self, features: np.ndarray, width: float) -> np.ndarray:
        return width * (features @ self.features_.T) / self.unit_


def _learn(response: pd.DataFrame, kernel: np.ndarray, penalty_level: float, penalty: float) -> _Parts:
    effects = additive_effects(response)
    line = effects.line.reindex(response.index).to_numpy()[:, None]
    level = solve_known(kernel, line, penalty_level)[:, 0]
    rest = response.to_numpy() - effects.table(response.index, response.columns)
    return _Parts(effects, level, solve_known(kernel, rest, penalty))


def _errors(response: pd.DataFrame, held: np.ndarray, kernel: np.ndarray) -> dict[tuple, float]:
    """Sum of squared errors on the pairs held out, by penalty of the level and of the specific part."""
    held = held & response.notna().to_numpy()
    lines, rest = held.any(axis=1), response.mask(held)
    names, asked_pairs = response.index[lines], held[lines]
    known_pairs = response.to_numpy()[held]
    levels, specifics = [], []
    for penalty in PENALTIES:
        learnt = _learn(rest, kernel, penalty, penalty)
        without = replace(learnt, specific=np.zeros_like(learnt.specific))
        level = without.predict(kernel[lines], names, response.columns)[asked_pairs]
        levels.append(known_pairs - level)
        specifics.append((kernel[lines] @ learnt.specific)[asked_pairs])
    return {
        (one, other): float(((left - specific) ** 2).sum())
        for (one, left), (other, specific) in product(
            zip(PENALTIES, levels, strict=True), zip(PENALTIES, specifics, strict=True)
        )
    }


def solve_known(kernel: np.ndarray, values: np.ndarray, penalty: float) -> np.ndarray:
    """Coefficients of kernel ridge regression, one column a response, whose NaN are left out.

    Each column has equations of its own, ``(K[k, k] + penalty) c[k] = values[k]`` with ``k`` its known rows
    and ``c`` = 0 elsewhere. Conjugate gradients solve them all together: a step is one product with ``K``,
    where one factorisation a column would take ten times as long.

    Parameters
    ----------
    kernel : rows × rows, positive semidefinite.
    values : rows × columns.
    penalty : above 0.

    Returns
    -------
    numpy.ndarray, rows × columns.

    Source
    ------
    Hestenes and Stiefel 1952, doi:10.6028/jres.049.044.

    Examples
    --------
    >>> import numpy as np
    >>> from pm_lab.drug_response.kernels import solve_known
    >>> solve_known(np.eye(3), np.array([[2.0], [np.nan], [4.0]]), penalty=1.0).ravel().tolist()
    [1.0, 0.0, 2.0]
    """
    known = ~np.isnan(values)
    left = np.where(known, values, 0.0)
    found, direction = np.zeros_like(left), left.copy()
    size = (left**2).sum(axis=0)
    enough = TOLERANCE**2 * size
    for _ in range(len(values)):
        if (size <= enough).all():
            break
        image = known * (kernel @ direction) + penalty * direction
        step = size / np.maximum((direction * image).sum(axis=0), np.finfo(float).tiny)
        found += step * direction
        left -= step * image
        before, size = size, (left**2).sum(axis=0)
        direction = left + size / np.maximum(before, np.finfo(float).tiny) * direction
    return found
