"""What a model leans on, asked of patients it did not learn from; correlated genes share one answer."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from numbers import Real

import numpy as np
import pandas as pd

from pm_lab import checks
from pm_lab.biomarkers.features import prepare, read_features
from pm_lab.biomarkers.learners import WITH_CLINICAL, Fitted, Settings, check_models, values_of
from pm_lab.biomarkers.nested import fit_one
from pm_lab.errors import DataError
from pm_lab.validation import Outcome, patients_of, read_outcome, score, score_each, splits

MOST_FEATURES = 5000  # whose correlations are held at once: 0.5 GB
MOST_GROUPS = 500
FEWEST_BACKGROUND, MOST_BACKGROUND = 20, 100  # training patients that stand for "not known"
EVALUATIONS = 20_000  # of a model that is not linear, for the contributions of one patient


@dataclass
class Explanation:
    """What :func:`explain` returns.

    Attributes
    ----------
    importance : one row a group of correlated features that a fold's model uses, most important first:
        ``group`` (the member with the largest mean correlation to the others, whose name the group has),
        ``features``, ``n_features``, ``importance`` (fall of the metric in the test parts when the group is
        shuffled among patients, mean over folds and shuffles), ``sd`` over folds.
    groups : feature → group, of all features.
    patient : for one patient, by feature, the largest first: ``group``, ``value`` (in SDs of the training
        patients), ``contribution`` (SHAP value).
    baseline, prediction : of that patient: mean score of the training patients, and with all contributions.
    record : ``model``, ``outcome``, ``metric``, ``scale`` (of contributions, baseline and prediction, such as
        "log hazard ratio" or "probability"; regressions of a binary outcome have "log odds"),
        ``correlation``, ``n_unused`` (groups that no fold's model uses), ``patient``, ``n_splits``,
        ``n_shuffles``, ``seed``.
    """

    importance: pd.DataFrame
    groups: pd.Series = field(repr=False)
    patient: pd.DataFrame | None = None
    baseline: float = np.nan
    prediction: float = np.nan
    record: dict = field(default_factory=dict, repr=False)

    @property
    def note(self) -> str:
        """How to read groups of correlated features, with their number."""
        several = int((self.importance["n_features"] > 1).sum())
        return (
            f"Groups of several features that go together (|r| of about {self.record['correlation']:g} or "
            f"more): {several} of {len(self.importance)}. Which of their members matters cannot be told."
        )

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
    correlation : features whose absolute correlation is about this or more (average linkage) are one group.
    n_shuffles : shuffles a fold and group.
    cohort, outcome, n_splits, seed, genes, clinical, patient_key, batch_key, screen, positive : as in
        :func:`nested_cross_validate`.

    Returns
    -------
    Explanation
        ``importance``, ``groups``, ``patient``, ``patient_by_group()``, and ``note``, which says how many
        groups hold several features. Contributions are exact for linear models. For others they are the mean
        over random orders in which the patient's values replace those of a training patient.

    Raises
    ------
    DataError
        More than 5,000 features, or more than 500 groups that a model uses; no such patient; what
        :func:`nested_cross_validate` refuses.

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
    from threadpoolctl import threadpool_limits
    from tqdm.auto import tqdm

    adata = checks.bulk_of(cohort)
    _check_arguments(adata, model, patient, correlation, n_shuffles)
    target = read_outcome(adata, outcome, positive)
    patients = patients_of(adata, patient_key)
    features = read_features(adata, target, genes, clinical, batch_key)
    (model,) = check_models(model, features, {})
    values, names = values_of(features, model)
    groups = _groups(values, features.batch, target, correlation)
    settings = Settings(seed=seed, screen=screen)
    rng = np.random.default_rng(seed)
    rows, explained = [], {}
    quiet = os.environ.get("PM_LAB_PROGRESS") == "0"
    folds = splits(target, patients, n_splits, seed=seed)
    for split in tqdm(folds, desc="folds", leave=False, disable=quiet):
        with threadpool_limits(1):  # as in nested cross-validation, so that the numbers are the same
            fitted = fit_one(model, values, features.batch, target, patients, split, {}, settings)
        train, test = (_prepared(fitted, values, features.batch, part) for part in (split.train, split.test))
        kept = np.arange(len(names)) if fitted.preparation.kept is None else fitted.preparation.kept
        rows.append(_importance(fitted, test, target.take(split.test), groups[kept], n_shuffles, rng))
        place = np.flatnonzero(adata.obs_names[split.test] == patient)
        if len(place):
            explained = _shap(fitted, test[place[0]], train, names[kept], seed)
    label = _labels(values, groups, names)
    series = pd.Series([label[group] for group in groups], index=names, name="group")
    if explained:
        explained["patient"].insert(0, "group", series)
    importance = _importance_table(rows, groups, label, names)
    record = {"model": model, "outcome": outcome, "metric": target.metric, "scale": _scale(model, target)}
    record |= {"correlation": correlation, "n_unused": len(label) - len(importance), "patient": patient}
    record |= {"n_splits": n_splits, "n_shuffles": n_shuffles, "seed": seed}
    return Explanation(importance, series, **explained, record=record)


def _check_arguments(adata, model, patient, correlation: float, n_shuffles: int) -> None:
    if not isinstance(model, str):
        raise DataError(f"model={model!r}: the name of one model.")
    if patient is not None and patient not in adata.obs_names:
        raise DataError(f"patient={patient!r} is not in obs_names ({', '.join(adata.obs_names[:3])}, ...).")
    if not isinstance(correlation, Real) or not 0 < correlation <= 1:
        raise DataError(f"correlation={correlation!r}: a number above 0 and up to 1.")
    checks.whole_number(n_shuffles, "n_shuffles")


def _prepared(fitted: Fitted, values: np.ndarray, batch, rows: np.ndarray) -> np.ndarray:
    return fitted.preparation(values[rows], None if batch is None else batch[rows])


def _scale(model: str, outcome: Outcome) -> str:
    """What contributions add up to."""
    base = model.removesuffix(WITH_CLINICAL)
    if outcome.kind == "continuous":
        return outcome.name
    if base == "linear_svm":
        return "score of the machine, without a unit"
    if outcome.kind == "survival":
        return "expected events" if base == "random_forest" else "log hazard ratio"
    return "log odds" if base in ("elastic_net", "clinical") else "probability"


def _groups(values: np.ndarray, batch, outcome: Outcome, correlation: float) -> np.ndarray:
    """A number for each feature; equal numbers are one group. The outcome is not used."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    n = values.shape[1]
    if n > MOST_FEATURES:
        raise DataError(
            f"{n:,} features: the correlations of {MOST_FEATURES:,} at most are compared. Pass genes=... "
            "with a list that was chosen without the outcome, such as the most variable."
        )
    if n == 1:
        return np.zeros(1, int)
    _, X = prepare(values, batch, outcome)
    r = squareform(np.abs(np.nan_to_num(X.T @ X / len(X))), checks=False)
    return fcluster(linkage(np.clip(1 - r, 0, None), "average"), 1 - correlation + 1e-12, "distance") - 1


def _importance(fitted: Fitted, X, outcome: Outcome, groups, n_shuffles: int, rng) -> dict[int, float]:
    """Fall of the metric by group; groups without a weight are left out."""
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
        shuffled = np.tile(X, (n_shuffles, 1, 1))  # scored in one call: of a forest, most of it is overhead
        for copy in shuffled:
            copy[:, columns] = X[rng.permutation(len(X))][:, columns]
        predictions = fitted.score(shuffled.reshape(-1, X.shape[1])).reshape(n_shuffles, -1)
        found[int(group)] = whole - float(score_each(outcome, predictions.T).mean())
    return found


def _shap(fitted: Fitted, x: np.ndarray, train: np.ndarray, names: pd.Index, seed: int) -> dict:
    """Contributions on the scale of the score; exact for linear models, sampled for the others."""
    if fitted.weights is not None:
        mean = train.mean(axis=0)
        contribution = fitted.weights * (x - mean)
        baseline = float(mean @ fitted.weights + fitted.intercept)
    else:
        contribution, baseline = _sampled(fitted.score, x, train, np.random.default_rng(seed))
    table = pd.DataFrame({"value": x, "contribution": contribution}, index=names)
    table = table.loc[table["contribution"].abs().sort_values(ascending=False, kind="stable").index]
    return {"patient": table, "baseline": baseline, "prediction": baseline + float(contribution.sum())}


def _sampled(predict, x: np.ndarray, train: np.ndarray, rng) -> tuple[np.ndarray, float]:
    """Change of the score as x replaces a training patient, feature by feature, in random orders.

    Each order is also walked backwards, which cancels what two features do together. The package shap draws
    the same sample, but compiles for some seconds first, and sets the global seed of NumPy.
    """
    n = len(x)
    most = int(np.clip(EVALUATIONS // (2 * n + 2), FEWEST_BACKGROUND, MOST_BACKGROUND))
    background = train[rng.permutation(len(train))[:most]]
    total, start = np.zeros(n), 0.0
    for other in background:
        order = rng.permutation(n)
        for way in (order, order[::-1]):
            replaced = np.argsort(way) < np.arange(n + 1)[:, None]
            values = predict(np.where(replaced, x, other))
            total[way] += np.diff(values)
            start += values[0]
    return total / (2 * len(background)), start / (2 * len(background))


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
    seen = sorted({group for row in rows for group in row})
    table = pd.DataFrame([{group: row.get(group, 0.0) for group in seen} for row in rows], columns=seen)
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
