"""Honest validation, shared by every analysis: outcomes, grouped splits, metrics, bootstrap by patient."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab import checks, keys
from pm_lab.endpoints import endpoint_columns, endpoint_rows, specification
from pm_lab.errors import DataError, PmLabWarning, listed

if TYPE_CHECKING:
    from anndata import AnnData

METRICS = {"survival": "c_index", "binary": "auc", "continuous": "r2"}
TRUE_WORDS = {"yes", "true", "positive", "responder", "case", "1", "event"}
MOST_PAIRS = 25_000_000  # of patients held at once for a concordance


@dataclass(frozen=True)
class Outcome:
    """What is predicted, one entry a patient.

    Attributes
    ----------
    name : endpoint or column.
    kind : "survival", "binary" or "continuous".
    values : event (1) or censored (0); class 1 or 0; or the number itself.
    time : follow-up time of a survival outcome, in ``unit``.
    positive : the level of a binary outcome that is 1.
    columns : the obs columns that it is made of.
    """

    name: str
    kind: str
    values: np.ndarray
    time: np.ndarray | None = None
    unit: str = ""
    positive: str = ""
    columns: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    @property
    def metric(self) -> str:
        """``c_index`` (Harrell), ``auc`` or ``r2``."""
        return METRICS[self.kind]

    @property
    def n_events(self) -> int:
        """Events, or patients of the positive class; for a continuous outcome the patients."""
        return len(self) if self.kind == "continuous" else int(self.values.sum())

    def take(self, rows) -> Outcome:
        """The outcome of some patients."""
        return replace(self, values=self.values[rows], time=None if self.time is None else self.time[rows])

    def structured(self) -> np.ndarray:
        """A survival outcome as scikit-survival takes it."""
        from sksurv.util import Surv

        return Surv.from_arrays(self.values.astype(bool), self.time)

    def table(self, index: pd.Index) -> pd.DataFrame:
        """The outcome as columns: ``time`` and ``event``, or ``outcome``."""
        if self.kind == "survival":
            return pd.DataFrame({"time": self.time, "event": self.values.astype(bool)}, index=index)
        return pd.DataFrame({"outcome": self.values}, index=index)


def read_outcome(adata: AnnData, outcome: str, positive: str | None = None) -> Outcome:
    """Read an endpoint of ``uns["endpoints"]`` or a column of ``obs``, and check it.

    Parameters
    ----------
    adata : one row per patient, or several where ``patient_key`` keeps them together (:func:`patients_of`).
    outcome : an endpoint's name, or a column with two levels (binary) or numbers (continuous).
    positive : the level that counts as 1; by default True, 1, "yes" and the like, else the last category.

    Raises
    ------
    DataError
        No such endpoint or column; what :func:`pm_lab.endpoints.endpoint_table` refuses of times and events;
        one event only; patients who entered late (left truncation), which models and scores here do not
        honour; one class only; a class of one patient; more than two levels of text; the time column of an
        endpoint.

    Warns
    -----
    PmLabWarning
        Competing events: they count as censored, so everything that is learnt and measured is cause-specific.

    Examples
    --------
    >>> import pm_lab as pm
    >>> outcome = pm.validation.read_outcome(pm.datasets.load("gse7390"), "dmfs")
    >>> outcome.kind, len(outcome), outcome.n_events
    ('survival', 198, 51)
    """
    endpoints = adata.uns.get(keys.ENDPOINTS, {})
    if outcome in endpoints:
        if positive not in (None, ""):
            raise DataError(f"positive={positive!r}: {outcome!r} is an endpoint, without classes.")
        return _survival(adata, outcome)
    part_of = endpoint_columns(adata)
    if outcome in part_of:
        raise DataError(
            f"obs[{outcome!r}] is a part of the endpoint {part_of[outcome]!r}: alone it ignores censoring. "
            f"Pass outcome={part_of[outcome]!r}."
        )
    if outcome not in adata.obs:
        raise DataError(
            f"outcome={outcome!r} is neither an endpoint of uns['endpoints'] ({listed(endpoints) or 'none'}) "
            f"nor a column of obs ({listed(adata.obs.columns, 12)})."
        )
    column = adata.obs[outcome]
    _refuse_missing(column, outcome)
    return _continuous_or_binary(column, outcome, positive)


def _refuse_missing(column: pd.Series, name: str) -> None:
    missing = column.isna()
    if missing.any():
        raise DataError(
            f"obs[{name!r}] is missing for {int(missing.sum()):,} of {len(column):,} patients "
            f"({listed(column.index[missing])}). Leave them out knowingly: "
            f"cohort = cohort[cohort.obs[{name!r}].notna()].copy()."
        )


def _survival(adata: AnnData, name: str) -> Outcome:
    table, spec = endpoint_rows(adata, name), specification(adata, name)
    _refuse_late_entries(table, spec, name)
    _warn_of_competing_events(table, name)
    if table["event"].sum() < 2:
        raise DataError(
            f"endpoint {name!r}: there is one event only ({len(table):,} patients). Nothing can be learnt "
            f"about time to an event that is hardly seen; check the coding of obs[{spec['event']!r}]."
        )
    events, times = (table[part].to_numpy(float) for part in ("event", "time"))
    columns = (spec["time"], spec["event"])
    return Outcome(name, "survival", events, times, table.attrs["unit"], columns=columns)


def _refuse_late_entries(table: pd.DataFrame, spec: dict, name: str) -> None:
    late = table["entry"] > 0 if "entry" in table else pd.Series(False, table.index)
    if late.any():
        raise DataError(
            f"endpoint {name!r}: {int(late.sum()):,} of {len(table):,} patients came under observation after "
            f"time zero (entry {spec['entry']!r}, left truncation), and models that are fitted here would "
            "count them as at risk before. Mend: start the clock at the entry, with an endpoint whose time "
            f"is obs[{spec['time']!r}] - obs[{spec['entry']!r}]. Scores that are fixed already are judged "
            "with entries by pm.survival.evaluate_risk, and covariates by pm.survival.cox."
        )


def _warn_of_competing_events(table: pd.DataFrame, name: str) -> None:
    competing = table["cause"].notna() & ~table["event"]
    if competing.any():
        warnings.warn(
            f"endpoint {name!r}: {int(competing.sum()):,} patients have a competing event and count as "
            "censored there, so models and measures are cause-specific: they rank the hazard of the event of "
            "interest and say nothing of the share of patients who will have it "
            "(pm.survival.cumulative_incidence does).",
            PmLabWarning,
            stacklevel=4,
        )


def _continuous_or_binary(column: pd.Series, name: str, positive: str | None) -> Outcome:
    numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    levels = list(column.cat.categories) if column.dtype == "category" else sorted(column.unique(), key=str)
    levels = [level for level in levels if (column == level).any()]
    if len(levels) < 2:
        raise DataError(f"obs[{name!r}] has one value only ({levels[0]!r}): there is nothing to predict.")
    if numeric and len(levels) > 2:
        values = column.to_numpy(float)
        if not np.isfinite(values).all():
            raise DataError(f"obs[{name!r}] holds infinite values.")
        return Outcome(name, "continuous", values, columns=(name,))
    if len(levels) > 2:
        raise DataError(
            f"obs[{name!r}] has {len(levels)} levels ({listed(levels)}). Make a column with the two to tell "
            "apart, or one of numbers."
        )
    chosen = _positive_level(levels, name, positive)
    values = (column == chosen).to_numpy(float)
    smaller = int(min(values.sum(), len(values) - values.sum()))
    if smaller < 2:
        raise DataError(f"obs[{name!r}]: one patient only in the smaller of the classes {levels}.")
    return Outcome(name, "binary", values, positive=str(chosen), columns=(name,))


def _positive_level(levels: list, name: str, positive: str | None):
    if positive not in (None, ""):
        found = [level for level in levels if str(level) == str(positive)]
        if not found:
            raise DataError(f"positive={positive!r} is no level of obs[{name!r}]: {levels}.")
        return found[0]
    known = [level for level in levels if str(level).lower() in TRUE_WORDS]
    return known[0] if len(known) == 1 else levels[-1]


def patients_of(adata: AnnData, patient_key: str | None = None) -> np.ndarray:
    """The patient of each row, refused where one patient has several rows and nobody said so.

    Parameters
    ----------
    patient_key : the column of patients; rows of one patient then stay together in every split. By default
        each row is a patient, which ``obs["patient"]``, where there is one, must bear out.

    Raises
    ------
    DataError
        Repeated patients without ``patient_key``.

    Examples
    --------
    >>> import pm_lab as pm
    >>> len(set(pm.validation.patients_of(pm.datasets.load("gse7390"))))
    198
    """
    if patient_key is not None:
        return checks.obs_column(adata, patient_key, argument="patient_key").astype(str).to_numpy()
    checks.unique_names(adata)
    if keys.PATIENT in adata.obs:
        patient = checks.obs_column(adata, keys.PATIENT, argument="patient_key").astype(str)
        twice = patient[patient.duplicated()].unique()
        if len(twice):
            raise DataError(
                f"{len(twice):,} patients have more than one row ({listed(twice)}): in training and in test "
                f"they would make any model look good. Pass patient_key={keys.PATIENT!r} to keep the rows of "
                "a patient together, or keep one row a patient."
            )
        return patient.to_numpy()
    return adata.obs_names.astype(str).to_numpy()


@dataclass(frozen=True)
class Split:
    """Rows to learn from and rows to be judged on; no patient is in both."""

    repeat: int
    fold: int
    train: np.ndarray
    test: np.ndarray


def splits(
    outcome: Outcome,
    patients: np.ndarray | None = None,
    n_splits: int = 5,
    n_repeats: int = 1,
    seed: int = 0,
) -> list[Split]:
    """Repeated cross-validation, grouped by patient and stratified by event, class or fifths of the number.

    Raises
    ------
    DataError
        Fewer events (or patients of the smaller class) than folds: a fold without any cannot be judged.

    Examples
    --------
    >>> import pm_lab as pm
    >>> outcome = pm.validation.read_outcome(pm.datasets.load("gse7390"), "dmfs")
    >>> folds = pm.validation.splits(outcome, n_splits=5)
    >>> [int(outcome.values[split.test].sum()) for split in folds]
    [11, 10, 10, 10, 10]
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    strata = _strata(outcome)
    patients = np.arange(len(outcome)) if patients is None else pd.factorize(patients)[0]
    _check_enough(outcome, patients, n_splits, n_repeats)
    grouped = len(np.unique(patients)) < len(patients)
    kind = StratifiedGroupKFold if grouped else StratifiedKFold
    found = []
    with warnings.catch_warnings():  # of strata smaller than the folds: fifths of a small cohort
        warnings.filterwarnings("ignore", "The least populated class")
        for repeat in range(n_repeats):
            cut = kind(n_splits, shuffle=True, random_state=seed + repeat)
            for fold, (train, test) in enumerate(cut.split(strata, strata, patients if grouped else None)):
                found.append(Split(repeat, fold, train, test))
    return found


def _strata(outcome: Outcome) -> np.ndarray:
    if outcome.kind != "continuous":
        return outcome.values.astype(int)
    rank = pd.Series(outcome.values).rank(method="first").to_numpy() - 1
    return (rank * 5 // len(rank)).astype(int)


def _check_enough(outcome: Outcome, patients: np.ndarray, n_splits: int, n_repeats: int) -> None:
    checks.whole_number(n_splits, "n_splits", least=2)
    checks.whole_number(n_repeats, "n_repeats")
    if outcome.kind == "continuous":
        fewest, what = len(np.unique(patients)), "patients"
    else:
        sides = [len(np.unique(patients[outcome.values == value])) for value in (0, 1)]
        fewest, what = min(sides), "patients of a class"
    if outcome.kind == "survival":
        fewest, what = sides[1], "patients with an event"
    if fewest < n_splits:
        raise DataError(
            f"{outcome.name}: {fewest} {what} for {n_splits} folds; a fold without any cannot be judged. "
            f"Use n_splits={max(2, fewest)} or fewer, or more patients."
        )


def score(outcome: Outcome, prediction: np.ndarray, within: np.ndarray | None = None) -> float:
    """Harrell's C (higher prediction = earlier event), AUC, or R² of the predictions.

    Parameters
    ----------
    within : labels, such as of the fold; only patients of one label are compared (C and AUC). Scores of
        models from different folds have no common scale.

    Returns
    -------
    float, NaN where no two patients can be compared.

    Examples
    --------
    >>> import numpy as np, pm_lab as pm
    >>> outcome = pm.validation.Outcome("x", "binary", np.array([0.0, 0.0, 1.0, 1.0]))
    >>> float(pm.validation.score(outcome, np.array([0.1, 0.6, 0.4, 0.9])))
    0.75
    """
    prediction = np.asarray(prediction, float)
    if outcome.kind == "continuous":
        return _r2(outcome.values, prediction[:, None], np.ones((1, len(outcome))))[0, 0]
    first, second = _pairs(outcome, within)
    return _concordance(prediction[:, None], first, second)[0]


def score_each(outcome: Outcome, predictions: np.ndarray) -> np.ndarray:
    """:func:`score` of each column of predictions (patients × candidates).

    Examples
    --------
    >>> import numpy as np, pm_lab as pm
    >>> outcome = pm.validation.Outcome("x", "binary", np.array([0.0, 1.0]))
    >>> pm.validation.score_each(outcome, np.array([[0.0, 1.0], [1.0, 0.0]])).tolist()
    [1.0, 0.0]
    """
    predictions = np.asarray(predictions, float)
    if outcome.kind == "continuous":
        return _r2(outcome.values, predictions, np.ones((1, len(outcome))))[0]
    return _concordance(predictions, *_pairs(outcome, None))


def _pairs(outcome: Outcome, within) -> tuple[np.ndarray, np.ndarray]:
    """Rows (i, j) of one label where i should have the higher prediction."""
    code = np.zeros(len(outcome), int) if within is None else pd.factorize(np.asarray(within))[0]
    groups = np.split(np.argsort(code, kind="stable"), np.cumsum(np.bincount(code))[:-1])
    if sum(int(outcome.values[rows].sum()) * len(rows) for rows in groups) > MOST_PAIRS * 4:
        raise DataError(f"{len(outcome):,} patients are too many to compare all pairs; take a subset.")
    time = 1 - outcome.values if outcome.kind == "binary" else outcome.time
    found = []
    for rows in groups:
        events, censored = rows[outcome.values[rows] > 0], outcome.values[rows] == 0
        same, later = time[rows] == time[events, None], time[rows] > time[events, None]
        row, column = np.nonzero(later | (same & censored))
        found.append(np.array([events[row], rows[column]]))
    first, second = np.concatenate(found, axis=1)
    return first, second


def _concordance(predictions: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    if len(first) == 0:
        return np.full(predictions.shape[1], np.nan)
    step = max(1, MOST_PAIRS // len(first))
    found = []
    for start in range(0, predictions.shape[1], step):
        block = predictions[:, start : start + step]
        difference = block[first] - block[second]
        found.append((difference > 0).mean(axis=0) + 0.5 * (difference == 0).mean(axis=0))
    return np.concatenate(found)


def _r2(values: np.ndarray, predictions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted R², one row of weights a result: (weightings × candidates)."""
    total = weights.sum(axis=1, keepdims=True)
    mean = weights @ values[:, None] / total
    spread = (weights * (values - mean) ** 2).sum(axis=1, keepdims=True)
    error = weights @ (values[:, None] - predictions) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return 1 - error / spread


def bootstrap(
    outcome: Outcome,
    predictions: dict[str, np.ndarray],
    patients: np.ndarray | None = None,
    within: np.ndarray | None = None,
    n_boot: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    reference: str | None = None,
    repeats: np.ndarray | None = None,
) -> pd.DataFrame:
    """Percentile intervals of :func:`score` by resampling patients, the same draws for every model.

    Parameters
    ----------
    predictions : model → prediction by row.
    patients : patient of each row; all rows of a patient are drawn together.
    within : as in :func:`score`.
    reference : a model to which the others are compared: adds ``difference``, ``difference_low``,
        ``difference_high``.
    repeats : repeat of cross-validation of each row, where the predictions are out of fold. The spread is
        then that within single repeats, which does not shrink with their number R, times √(1.4 + 0.3/R),
        since models that were learnt from the same patients add to it: see
        :meth:`NestedResult.summary <pm_lab.biomarkers.NestedResult.summary>` for how far that holds.

    Returns
    -------
    DataFrame by model: the metric's name (``c_index``, ``auc`` or ``r2``), ``low``, ``high``. Without
    ``repeats`` what varies is who is judged: the interval is that of one fixed model.

    Examples
    --------
    >>> import numpy as np, pm_lab as pm
    >>> outcome = pm.validation.Outcome("x", "binary", np.repeat([0.0, 1.0], 30))
    >>> table = pm.validation.bootstrap(outcome, {"same": np.zeros(60)})
    >>> table.loc["same"].tolist()
    [0.5, 0.5, 0.5]
    """
    checks.whole_number(n_boot, "n_boot")
    if not 0 < level < 1:
        raise DataError(f"level={level!r}: between 0 and 1, such as 0.95.")
    names = list(predictions)
    if reference is not None and reference not in names:
        raise DataError(f"reference={reference!r} is no model here; there are {listed(names, 12)}.")
    given = np.column_stack([np.asarray(predictions[name], float) for name in names])
    estimate, drawn = _drawn_scores(outcome, given, patients, within, repeats, n_boot, seed)
    tails = [(1 - level) / 2, (1 + level) / 2]
    worst = -np.inf if outcome.kind == "continuous" else 0.0
    low, high = np.nanquantile(drawn, tails, axis=1).clip(worst, 1.0)
    index = pd.Index(names, name="model")
    table = pd.DataFrame({outcome.metric: estimate, "low": low, "high": high}, index=index)
    if reference is not None:
        base = names.index(reference)
        bounds = np.nanquantile(drawn - drawn[base], tails, axis=1)
        columns = ["difference", "difference_low", "difference_high"]
        table[columns] = np.column_stack([estimate - estimate[base], *bounds])
    return table


def _drawn_scores(outcome: Outcome, given, patients, within, repeats, n_boot: int, seed: int) -> tuple:
    """Score by model (mean over repeats), and models × draws."""
    rng = np.random.default_rng(seed)
    all_rows = np.arange(len(outcome))
    code = all_rows if patients is None else pd.factorize(patients)[0]
    n = code.max() + 1
    weights = rng.multinomial(n, np.full(n, 1 / n), size=n_boot)
    weights = np.vstack([np.ones(n), weights]).astype(np.float32)  # first everybody once
    found = []
    for rows in pd.Series(all_rows).groupby(0 * all_rows if repeats is None else repeats).indices.values():
        inside = None if within is None else np.asarray(within)[rows]
        found.append(
            _weighted_scores(outcome.take(rows), list(given[rows].T), inside, weights[:, code[rows]])
        )
    estimate = np.mean([scores[:, 0] for scores in found], axis=0)
    spread = np.concatenate([scores[:, 1:] - scores[:, :1] for scores in found], axis=1)
    wider = 1.0 if repeats is None else np.sqrt(1.4 + 0.3 / len(found))
    return estimate, estimate[:, None] + wider * spread


def _weighted_scores(outcome: Outcome, predictions: list, within, weights: np.ndarray) -> np.ndarray:
    """Models × draws."""
    if outcome.kind == "continuous":
        return _r2(outcome.values, np.column_stack(predictions), weights).T
    first, second = _pairs(outcome, within)
    if len(first) == 0:
        return np.full((len(predictions), len(weights)), np.nan)
    from scipy.sparse import csr_matrix

    def summed(value: np.ndarray) -> np.ndarray:
        matrix = csr_matrix((value.astype(np.float32), (first, second)), 2 * (len(outcome),))
        return ((weights @ matrix) * weights).sum(axis=1, dtype=float)

    comparable = summed(np.ones(len(first)))
    with np.errstate(invalid="ignore", divide="ignore"):
        rows = []
        for prediction in predictions:
            difference = prediction[first] - prediction[second]
            rows.append(summed((difference > 0) + 0.5 * (difference == 0)) / comparable)
    return np.array(rows)
