"""Random forests: one whose rows are pairs of line and drug, and one whose rows are lines."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd

from pm_lab.drug_response.contract import screen_of
from pm_lab.drug_response.effects import additive_effects, asked, expression_of, responses_of, with_unseen
from pm_lab.drug_response.screen import drug_table
from pm_lab.drug_response.structures import fingerprints
from pm_lab.errors import DataError, PmLabWarning

N_COMPONENTS = 20  # of fingerprints
LINES_AT_ONCE = 50  # predicted: each line makes a row a drug
SHARE_OF_FEATURES = 0.1  # looked at in each split


class RandomForest:
    """A forest over pairs: expression of the line and principal components of the drug's fingerprint.

    The usual way to give lines and drugs to a model of rows: 100,000 pairs make 100,000 rows, in which every
    line and every drug recurs. A drug of which no structure is known has that of an average drug.

    Parameters
    ----------
    n_trees : of the forest.
    n_jobs : threads.
    seed : of the forest.

    Raises
    ------
    DataError
        No drug has a structure that can be parsed.

    Source
    ------
    Breiman 2001, doi:10.1023/A:1010933404324; as a baseline of drug response in DrEval,
    https://github.com/daisybio/drevalpy.

    Examples
    --------
    >>> import pm_lab as pm
    >>> forest = pm.drug_response.RandomForest(n_trees=10)
    >>> (forest.name, forest.n_trees)
    ('random_forest', 10)
    """

    name = "random_forest"

    def __init__(self, n_trees: int = 40, n_jobs: int = -1, seed: int = 0):
        self.n_trees, self.n_jobs, self.seed = n_trees, n_jobs, seed

    def fit(self, screen, validation=None) -> RandomForest:
        screen = screen_of(screen)
        response, expression = responses_of(screen), expression_of(screen)
        self.genes_, self.table_ = screen.var_names, drug_table(screen)
        structures = self._learn_structures(self.table_)
        line, drug = np.nonzero(response.notna().to_numpy())
        rows = _rows(expression, structures, line, drug)
        self.forest_ = _fitted(self, rows, response.to_numpy()[line, drug], leaf=5)
        return self

    def predict_matrix(self, adata, drugs: pd.DataFrame | None = None) -> pd.DataFrame:
        adata = screen_of(adata)
        expression = expression_of(adata, self.genes_)
        names = asked(drugs, self.table_.index)
        structures = self._components(fingerprints(self.table_ if drugs is None else drugs).to_numpy())
        predicted = np.empty((len(expression), len(names)))
        for start in range(0, len(expression), LINES_AT_ONCE):
            block = expression[start : start + LINES_AT_ONCE]
            line, drug = np.divmod(np.arange(len(block) * len(names)), len(names))
            rows = _rows(block, structures, line, drug)
            predicted[start : start + len(block)] = self.forest_.predict(rows).reshape(len(block), -1)
        return pd.DataFrame(predicted, adata.obs_names, names)

    def _learn_structures(self, table: pd.DataFrame) -> np.ndarray:
        from sklearn.decomposition import PCA

        bits = fingerprints(table).to_numpy()
        known = ~np.isnan(bits).any(axis=1)
        if not known.any():
            raise DataError(
                f"none of the {len(table):,} drugs has a structure, and this forest tells drugs apart by "
                "nothing else. Put SMILES into uns['drugs'], or leave random_forest out."
            )
        if not known.all():
            warnings.warn(
                f"{int((~known).sum()):,} of {len(table):,} drugs have no structure; the random forest takes "
                "them for an average drug.",
                PmLabWarning,
                stacklevel=3,
            )
        n = min(N_COMPONENTS, int(known.sum()), bits.shape[1])
        self.pca_ = PCA(n, svd_solver="full").fit(bits[known])
        return self._components(bits)

    def _components(self, bits: np.ndarray) -> np.ndarray:
        return self.pca_.transform(np.where(np.isnan(bits), self.pca_.mean_, bits))


def _rows(expression: np.ndarray, structures: np.ndarray, line, drug) -> np.ndarray:
    """Pairs × (genes + components), in the precision that the trees use."""
    n_genes = expression.shape[1]
    rows = np.empty((len(line), n_genes + structures.shape[1]), np.float32)
    rows[:, :n_genes] = expression.astype(np.float32)[line]
    rows[:, n_genes:] = structures.astype(np.float32)[drug]
    return rows


class MultitaskForest:
    """A forest over lines that predicts all drugs of a line at once: no row recurs, no drug is described.

    It learns how the responses of a line differ from the drugs' effects; where a drug was not measured, the
    difference is taken to be the line's own effect, since the trees know no missing responses. A line of
    training keeps the level of its other values. A drug that was not seen is predicted as the mean of all.

    Parameters
    ----------
    n_trees : of the forest.
    n_jobs : threads.
    seed : of the forest.

    Examples
    --------
    >>> import pm_lab as pm
    >>> screen = pm.datasets.simulate_cohort(n_cells=600).screen
    >>> forest = pm.drug_response.MultitaskForest(n_trees=10).fit(screen)
    >>> forest.predict_matrix(screen[:2]).shape
    (2, 60)
    """

    name = "multitask_forest"

    def __init__(self, n_trees: int = 100, n_jobs: int = -1, seed: int = 0):
        self.n_trees, self.n_jobs, self.seed = n_trees, n_jobs, seed

    def fit(self, screen, validation=None) -> MultitaskForest:
        screen = screen_of(screen)
        response, expression = responses_of(screen), expression_of(screen)
        self.genes_, self.drugs_ = screen.var_names, response.columns
        self.effects_ = additive_effects(response)
        rest = response - self.effects_.overall - self.effects_.drug
        level = np.broadcast_to(self.effects_.line.reindex(rest.index).to_numpy()[:, None], rest.shape)
        tested = response.notna().any(axis=1).to_numpy()
        targets = np.where(rest.isna(), level, rest)[tested]
        self.forest_ = _fitted(self, expression[tested], targets, leaf=3)
        return self

    def predict_matrix(self, adata, drugs: pd.DataFrame | None = None) -> pd.DataFrame:
        adata = screen_of(adata)
        rest = self.forest_.predict(expression_of(adata, self.genes_)).reshape(adata.n_obs, -1)
        level = rest.mean(axis=1)
        seen = self.effects_.line.reindex(adata.obs_names).to_numpy()
        rest += np.where(np.isnan(seen), 0.0, seen - level)[:, None]
        drug = self.effects_.drug.reindex(self.drugs_).to_numpy()
        table = pd.DataFrame(self.effects_.overall + drug + rest, adata.obs_names, self.drugs_)
        return with_unseen(table, asked(drugs, self.drugs_))


def _fitted(model, rows: np.ndarray, targets: np.ndarray, leaf: int):
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(
        model.n_trees,
        max_features=SHARE_OF_FEATURES,
        min_samples_leaf=leaf,
        n_jobs=model.n_jobs,
        random_state=model.seed,
    ).fit(rows, targets)
    forest.n_jobs = 1  # threads add the trees up in any order, and the last digit would vary
    return forest
