"""What a model leans on, asked of patients it did not learn from; correlated genes share one answer."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from pm_lab import checks
from pm_lab.biomarkers.features import prepare, read_features
from pm_lab.biomarkers.learners import Fitted, Settings, check_models, values_of
from pm_lab.biomarkers.nested import fit_one
from pm_lab.errors import DataError
from pm_lab.validation import Outcome, patients_of, read_outcome, score, splits

MOST_GROUPS = 500
BACKGROUND = 20  # training patients that stand for "not known" in SHAP of models that are not linear


@dataclass
class Explanation:
    """What :func:`explain` returns.

    Attributes
    ----------
    importance : one row a group of correlated features, most important first: ``group`` (its most
        important-looking member: the one with the largest mean correlation to the others), ``features``,
        ``n_features``, ``importance`` (fall of the metric in the test parts when the group is shuffled among
        patients, mean over folds and shuffles), ``sd`` over folds.
    patient : for one patient, by feature: ``group``, ``value`` (in SDs of the training patients),
        ``contribution`` (SHAP value, on the scale of the model's score).
    groups : feature → group.
    baseline, prediction : of that patient: score of an average patient, and with all contributions.
    """

    importance: pd.DataFrame
    groups: pd.Series = field(repr=False)
    patient: pd.DataFrame | None = None
    baseline: float = np.nan
    prediction: float = np.nan

    def patient_by_group(self) -> pd.Series:
        """Contributions summed over groups of correlated features, largest first."""
        if self.patient is None:
            raise DataError("no patient was explained. Call explain(..., patient=name).")
        summed = self.patient.groupby("group")["contribution"].sum()
        return summed.loc[summed.abs().sort_values(ascending=False).index]


def explain(
    cohort,
    outcome: str,
    model: str = "elastic_net",
    patient: str | None = None,
    correlation: float = 0.7,
    n_shuffles: int = 5,
    n_splits: int = 5,
    seed: int = 0,
    *,
    genes=None,
    clinical=(),
    patient_key: str | None = None,
    batch_key: str | None = None,
    screen: int | None = None,
    positive: str | None = None,
) -> Explanation:
    """Permutation importance out of fold, and SHAP values of one patient by a model that did not see them.

    Shuffling one of several genes that say the same shows no loss, and SHAP splits their effect among them
    at will: such genes are therefore shuffled, and should be read, as one group. Neither number is an effect
    of a gene on the patient.

    Parameters
    ----------
    model : one model of :func:`nested_cross_validate`.
    patient : a name in ``obs``, by default none.
    correlation : features whose absolute correlation is this or more (average linkage) are one group.
    n_shuffles : shuffles a fold and group.
    cohort, outcome, n_splits, seed, genes, clinical, patient_key, batch_key, screen, positive : as in
        :func:`nested_cross_validate`.

    Raises
    ------
    DataError
        When the model uses more than 500 groups of features, or there is no such patient.

    References
    ----------
    Permutation importance: Breiman 2001, doi:10.1023/A:1010933404324. SHAP of linear and other models:
    Štrumbelj 2014, doi:10.1007/s10115-013-0679-x.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.load("gse7390")
    >>> found = pm.biomarkers.explain(cohort, "dmfs", patient="GSE7390_001", n_shuffles=1)
    >>> bool(abs(found.baseline + found.patient["contribution"].sum() - found.prediction) < 1e-6)
    True
    """
    adata = checks.bulk_of(cohort)
    if patient is not None and patient not in adata.obs_names:
        raise DataError(f"patient={patient!r} is not in obs_names ({', '.join(adata.obs_names[:3])}, ...).")
    target = read_outcome(adata, outcome, positive)
    patients = patients_of(adata, patient_key)
    features = read_features(adata, target, genes, clinical, batch_key)
    (model,) = check_models(model, features, {})
    values, names = values_of(features, model)
    groups = _groups(values, features.batch, target, correlation)
    rng = np.random.default_rng(seed)
    rows, explained = [], {}
    for split in splits(target, patients, n_splits, seed=seed):
        settings = Settings(seed=seed, screen=screen)
        fitted = fit_one(model, values, features.batch, target, patients, split, {}, settings)
        batch = None if features.batch is None else features.batch[split.test]
        X = fitted.preparation(values[split.test], batch)
        kept = np.arange(len(names)) if fitted.preparation.kept is None else fitted.preparation.kept
        rows.append(_importance(fitted, X, target.take(split.test), groups[kept], n_shuffles, rng))
        place = np.flatnonzero(adata.obs_names[split.test] == patient)
        if len(place):
            train = None if features.batch is None else features.batch[split.train]
            background = fitted.preparation(values[split.train], train)
            explained = _shap(fitted, X[place[0]], background, names[kept], seed)
    label = _labels(values, groups, names)
    series = pd.Series([label[group] for group in groups], index=names, name="group")
    if explained:
        explained["patient"].insert(0, "group", series)
    return Explanation(_importance_table(rows, groups, label, names), series, **explained)


def _groups(values: np.ndarray, batch, outcome: Outcome, correlation: float) -> np.ndarray:
    """A number for each feature; equal numbers are one group. The outcome is not used."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    if not 0 < correlation <= 1:
        raise DataError(f"correlation={correlation}: a number above 0 and up to 1.")
    if values.shape[1] == 1:
        return np.zeros(1, int)
    _, X = prepare(values, batch, outcome)
    distance = 1 - np.abs(np.nan_to_num(X.T @ X / len(X)))
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(np.clip((distance + distance.T) / 2, 0, None), checks=False), "average")
    return fcluster(tree, 1 - correlation + 1e-12, "distance") - 1


def _importance(fitted: Fitted, X, outcome: Outcome, groups, n_shuffles: int, rng) -> dict[int, float]:
    """Fall of the metric by group, 0 for groups without a weight."""
    used = np.ones(X.shape[1], bool) if fitted.weights is None else fitted.weights != 0
    wanted = np.unique(groups[used])
    if len(wanted) > MOST_GROUPS:
        raise DataError(
            f"the model uses {len(wanted):,} groups of features; {MOST_GROUPS} at most can be shuffled one "
            "by one. Pass screen=200, which chooses genes inside each fold."
        )
    whole = score(outcome, fitted.score(X))
    found = {}
    for group in wanted:
        columns = np.flatnonzero(groups == group)
        falls = []
        for _ in range(n_shuffles):
            shuffled = X.copy()
            shuffled[:, columns] = X[rng.permutation(len(X))][:, columns]
            falls.append(whole - score(outcome, fitted.score(shuffled)))
        found[int(group)] = float(np.mean(falls))
    return found


def _shap(fitted: Fitted, x: np.ndarray, background: np.ndarray, names: pd.Index, seed: int) -> dict:
    """Contributions on the scale of the score; exact for linear models, sampled for the others."""
    if fitted.weights is not None:
        mean = background.mean(axis=0)
        contribution = fitted.weights * (x - mean)
        baseline = float(mean @ fitted.weights + fitted.intercept)
    else:
        import shap

        rng = np.random.default_rng(seed)
        chosen = background[rng.permutation(len(background))[:BACKGROUND]]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            explainer = shap.PermutationExplainer(fitted.score, chosen, seed=seed)
            found = explainer(x[None, :], max_evals=max(200, 2 * len(x) + 1), silent=True)
        contribution, baseline = found.values[0], float(np.ravel(found.base_values)[0])
    table = pd.DataFrame({"value": x, "contribution": contribution}, index=names)
    table = table.loc[table["contribution"].abs().sort_values(ascending=False, kind="stable").index]
    return {"patient": table, "baseline": baseline, "prediction": baseline + float(contribution.sum())}


def _labels(values: np.ndarray, groups: np.ndarray, names: pd.Index) -> dict[int, str]:
    """The member of each group that goes best with the others."""
    filled = np.where(np.isnan(values), np.nanmedian(values, axis=0), values)
    label = {}
    for group in np.unique(groups):
        columns = np.flatnonzero(groups == group)
        place = columns[0]
        if len(columns) > 1:
            place = columns[np.abs(np.corrcoef(filled[:, columns], rowvar=False)).mean(axis=0).argmax()]
        label[int(group)] = str(names[place])
    return label


def _importance_table(rows: list[dict], groups, label: dict, names: pd.Index) -> pd.DataFrame:
    table = pd.DataFrame(rows).fillna(0.0)
    members = {group: [str(name) for name in names[groups == group]] for group in table.columns}
    found = pd.DataFrame(
        {
            "group": [label[group] for group in table.columns],
            "features": [", ".join(members[group]) for group in table.columns],
            "n_features": [len(members[group]) for group in table.columns],
            "importance": table.mean().to_numpy(),
            "sd": table.std().to_numpy(),
        }
    )
    return found.sort_values("importance", ascending=False, kind="stable", ignore_index=True)
