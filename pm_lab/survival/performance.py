"""How good risk scores are: discrimination, calibration and net benefit, beside what needs no model."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pm_lab import checks, leaks, validation
from pm_lab.endpoints import check_measured, endpoint_table, patient_rows
from pm_lab.errors import DataError, DesignError, PmLabWarning

from .covariates import as_outcome, columns_of, formula_of
from .hazards import baseline_hazard, incidence
from .metrics import NAMES, FollowUp, Prediction, Setting, incidence_of_groups, measure, quantile_groups
from .predictions import read_prediction
from .regression import CoxModel

if TYPE_CHECKING:
    from anndata import AnnData

NO_INFORMATION, AGE, CLINICAL = "no information", "age", "clinical only"
THRESHOLDS = tuple(np.round(np.arange(0.05, 0.61, 0.025), 3).tolist())
COMPARED = ("c_index", "c_index_uno", "auc", "integrated_brier")
N_FOLDS, N_TIMES, N_GROUPS, FEW_EVENTS = 5, 10, 5, 20


@dataclass(frozen=True)
class RiskEvaluation:
    """What :func:`evaluate_risk` found. Intervals are percentiles over resampled patients.

    Attributes
    ----------
    scores : model, ``metric``, ``estimate``, ``lower``, ``upper``, ``failed`` (resamples without a value).
    differences : model, ``reference``, ``metric``, ``difference`` (model − reference), ``lower``, ``upper``.
    curves : model, ``metric`` (``auc`` or ``brier``), ``time``, ``estimate``, ``lower``, ``upper``,
        ``failed``.
    calibration : model, ``group`` (fifth of predicted risk, low to high), ``n``, ``predicted`` (mean risk by
        the horizon), ``observed`` (by Kaplan-Meier, with competing events by Aalen-Johansen; missing where
        under left truncation nobody was left at risk before others entered), ``lower``, ``upper``.
    net_benefit : model, ``threshold``, ``net_benefit``, ``lower``, ``upper``; also for "treat all" and
        "treat none".
    endpoint, unit, horizon, n, events, n_boot, level : of the evaluation.
    notes : what could not be computed, and why.
    """

    scores: pd.DataFrame
    differences: pd.DataFrame
    curves: pd.DataFrame
    calibration: pd.DataFrame
    net_benefit: pd.DataFrame
    endpoint: str
    unit: str
    horizon: float
    n: int
    events: int
    n_boot: int
    level: float
    notes: list[str] = field(default_factory=list)


def evaluate_risk(
    model: Any,
    cohort: AnnData | pd.DataFrame,
    endpoint: str | Mapping,
    horizon: float | None = None,
    clinical: str | Sequence[str] | None = None,
    train: AnnData | pd.DataFrame | None = None,
    thresholds: Sequence[float] = THRESHOLDS,
    n_boot: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> RiskEvaluation:
    """Judge risk scores on patients they were not made from, beside references that need no molecules.

    Parameters
    ----------
    model : one of these, or a dict of them by name:

        - a model with ``predict(cohort)`` (one risk per patient, higher is worse) and, for everything that
          needs probabilities, ``predict_survival(cohort, times)``, such as a :class:`CoxModel`
        - a fitted scikit-survival estimator that knows its ``feature_names_in_`` (columns of obs or genes)
        - risk scores: a Series by patient, or the name of a column of obs. They have no probabilities, so
          Brier score, calibration and net benefit are left out
        - survival probabilities: a DataFrame patients × times
    cohort : one row per patient; a Cohort's ``bulk``, or a table with the same columns as ``obs``.
    endpoint : as for :func:`endpoint_table`. Left truncation and competing events: see the notes below.
    horizon : the time, in the endpoint's unit, by which risks are predicted and up to which Uno's C, AUC and
        Brier score look. By default the median follow-up (reverse Kaplan-Meier; under left truncation the
        median of all times).
    clinical : covariates of the reference "clinical only", as for :func:`cox`.
    train : other patients, from whom the references are then learnt. By default they are learnt by five-fold
        cross-validation within ``cohort``, so that none is judged on its own patients.
    thresholds : risks from which a patient would be treated, for the net benefit.
    n_boot : resamples of patients. Predictions stay as they are: what varies is who is judged.
    level : of the intervals.
    seed : of resamples and folds.

    Returns
    -------
    RiskEvaluation
        The metrics of ``scores`` are ``c_index`` (Harrell), ``c_index_uno``, ``auc`` (cumulative/dynamic,
        mean over the times up to the horizon), ``auc_at_horizon``, ``hazard_ratio_per_sd`` and, with
        probabilities, ``integrated_brier``, ``calibration_slope`` (1 is right, below it predictions are too
        extreme) and ``observed_over_expected`` (events by the horizon; above 1, risks are too low).
        References are "no information" (everybody has the average risk), "age" where obs has it, and
        "clinical only".

    Raises
    ------
    DataError
        As :func:`endpoint_table`; fewer than two events; patients without a score; a horizon beyond the
        follow-up or before any event.
    DesignError
        A score, or a column or gene that a model uses, measured after time zero; patients who are in
        ``train`` too.

    Warns
    -----
    PmLabWarning
        The model was fitted to these very patients; fewer than 20 events.

    Notes
    -----
    Competing events: ``c_index``, ``c_index_uno``, ``auc``, ``auc_at_horizon`` and ``hazard_ratio_per_sd``
    are cause-specific, a competing event counts as censored. Observed risks, ``observed_over_expected``, the
    Brier score and the net benefit are about the share of patients who have the event in a world with the
    other causes (Aalen-Johansen), and ask for predictions of that share, as those of the references are: they
    combine Cox models of the event and of the competing events (of these without covariates where they are
    too few). There is no ``calibration_slope``.

    Left truncation: ``c_index`` compares pairs that were under observation together; it,
    ``hazard_ratio_per_sd``, ``calibration_slope`` and the observed risks of the calibration count a patient
    from after the entry on, and so are the references learnt. The other measures are left out.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.load("gse7390")
    >>> evaluation = pm.survival.evaluate_risk("size", cohort, "dmfs", horizon=3650, n_boot=20)
    >>> sorted(evaluation.scores["model"].unique())
    ['age', 'no information', 'size']

    Source: C: Uno et al., Stat Med 30:1105 (2011), doi:10.1002/sim.4154, by scikit-survival; Brier score:
    Graf et al., Stat Med 18:2529 (1999), with competing events Schoop et al., Biom J 53:88 (2011),
    doi:10.1002/bimj.201000073; net benefit: Vickers and Elkin, Med Decis Making 26:565 (2006),
    doi:10.1177/0272989X06295361.
    """
    checks.shares(level=level)
    checks.whole_number(n_boot, "n_boot")
    checks.whole_number(seed, "seed", least=0)
    outcome = _judged_patients(cohort, endpoint)
    followed = FollowUp.of(outcome)
    models = model if isinstance(model, Mapping) else {_name_of(model): model}
    _check_models(models, cohort, endpoint, train)
    if clinical is not None:
        check_measured(cohort, endpoint, formula_of(clinical)[1])
    setting = _setting(outcome, horizon, thresholds)
    predictions = {name: read_prediction(name, one, cohort, setting) for name, one in models.items()}
    for name, one in predictions.items():
        leaks.check_columns(pd.DataFrame({name: one.risk}), [name], as_outcome(outcome), "model")
    references, notes = _references(cohort, endpoint, outcome, setting, clinical, train, seed)
    clash = sorted(set(predictions) & {*references, "treat all", "treat none"})
    if clash:
        raise DataError(f"models are called {clash}, as references are. Rename them.")
    notes += [
        f"{name}: scores without probabilities have no Brier score, calibration or net benefit"
        for name, one in predictions.items()
        if one.survival is None
    ]
    predictions |= references
    notes += _notes_on_causes(followed, models) + _notes_on_entries(followed)
    drawn = _resample(followed, predictions, setting, n_boot, seed)
    tails = [(1 - level) / 2, (1 + level) / 2]
    return _collect(outcome, predictions, setting, drawn, tails, models, notes, level)


def _judged_patients(cohort, endpoint) -> pd.DataFrame:
    outcome = endpoint_table(cohort, endpoint)
    events = int(outcome["event"].sum())
    if events < 2:
        raise DataError(f"{events} event in {len(outcome):,} patients: nothing can be judged.")
    if events < FEW_EVENTS:
        warnings.warn(
            f"{events} events only: intervals are wide and their coverage doubtful; about 100 events are "
            "advised for judging a risk model.",
            PmLabWarning,
            stacklevel=3,
        )
    return outcome


def _setting(outcome: pd.DataFrame, horizon: float | None, thresholds: Sequence[float]) -> Setting:
    time, event = outcome["time"], outcome["event"]
    if horizon is None:
        horizon = _median_follow_up(outcome)
    checks.number(horizon, "horizon")
    first, last = float(np.quantile(time[event], 0.1)), float(time.max())
    if not time[event].min() <= horizon < last:
        raise DataError(
            f"horizon={horizon:g} {outcome.attrs['unit']}: it must lie between the first event "
            f"({time[event].min():g}) and the end of follow-up ({last:g}, not included)."
        )
    try:
        thresholds = np.atleast_1d(np.asarray(thresholds, float))
    except (TypeError, ValueError):
        raise DataError(f"thresholds={thresholds!r}: risks between 0 and 1.") from None
    if not thresholds.size or not ((thresholds > 0) & (thresholds < 1)).all():
        raise DataError(f"thresholds are risks between 0 and 1, not {thresholds.tolist()}.")
    grid = np.unique(np.linspace(min(first, horizon), horizon, N_TIMES))
    return Setting(grid, float(horizon), thresholds)


def _median_follow_up(outcome: pd.DataFrame) -> float:
    from lifelines import KaplanMeierFitter

    if "entry" in outcome:
        return float(outcome["time"].median())
    median = KaplanMeierFitter().fit(outcome["time"], outcome["cause"].isna()).median_survival_time_
    return float(median if np.isfinite(median) else outcome["time"].median())


def _name_of(model: Any) -> str:
    return model if isinstance(model, str) else str(getattr(model, "name", None) or "model")


def _check_models(models: Mapping, cohort, endpoint, train) -> None:
    patients = patient_rows(cohort).index
    for one in models.values():
        check_measured(cohort, endpoint, _looked_at(one, cohort))
    if train is not None:
        shared = patients.intersection(patient_rows(train).index)
        if len(shared):
            raise DesignError(
                f"{len(shared):,} patients are in train and in the cohort "
                f"({', '.join(map(str, shared[:5]))}). Judge on others than those learnt from."
            )
    for name, one in models.items():
        if hasattr(one, "own_patients"):  # a panel, which knows its patients without their names
            own = one.own_patients(cohort)
        else:
            own = patients.intersection(getattr(one, "patients_", patients[:0]))
        if len(own):
            warnings.warn(
                f"{name}: {len(own):,} of {len(patients):,} patients are those it was fitted to, so it looks "
                "better than it is (apparent performance). Pass out-of-fold predictions, or other patients.",
                PmLabWarning,
                stacklevel=3,
            )


def _looked_at(model: Any, cohort) -> list[str]:
    """Columns of obs and genes that a model makes its prediction from, as far as it says so."""
    if isinstance(model, str):
        return [model]
    if isinstance(model, pd.Series):  # a column of obs keeps its name
        return [model.name] if isinstance(model.name, str) else []
    if hasattr(model, "genes_in"):
        return model.genes_in(cohort)
    if hasattr(model, "encoding_"):
        return model.encoding_.names
    return [str(name) for name in getattr(model, "feature_names_in_", [])]


def _references(cohort, endpoint, outcome, setting: Setting, clinical, train, seed: int):
    """Predictions of the references by name, and notes on those left out."""
    obs, notes = patient_rows(cohort), []
    if train is None:
        folds = [(outcome.iloc[a], _rows(cohort, a), _rows(cohort, b), b) for a, b in _folds(outcome, seed)]
    else:
        folds = [(endpoint_table(train, endpoint), train, cohort, np.arange(len(outcome)))]
    null = np.empty((len(outcome), len(setting.times)))
    for learnt, _, _, rows in folds:
        followed, everyone = FollowUp.of(learnt), np.ones((len(learnt), 1), bool)
        null[rows] = [1 - incidence_of_groups(followed, everyone, time)[0] for time in setting.times]
    known = null if np.isfinite(null).all() else None
    references = {NO_INFORMATION: Prediction(np.zeros(len(outcome)), known)}
    if known is None:
        notes.append("no probabilities of 'no information': nobody was left at risk before others entered")
    wanted = {AGE: ["age"], CLINICAL: clinical}
    if "age" not in obs or not pd.api.types.is_numeric_dtype(obs["age"]):
        del wanted[AGE]
        notes.append("no reference 'age': obs has no such column of numbers")
    if clinical is None:
        del wanted[CLINICAL]
        notes.append("no reference 'clinical only': clinical= was not given")
    for name, covariates in wanted.items():
        references[name] = _cox_reference(name, covariates, folds, endpoint, setting, len(outcome))
    return references, notes


def _folds(outcome: pd.DataFrame, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    values = as_outcome(outcome)
    n_splits = min(N_FOLDS, values.n_events)
    return [(split.train, split.test) for split in validation.splits(values, n_splits=n_splits, seed=seed)]


def _rows(cohort, rows: np.ndarray):
    if isinstance(cohort, pd.DataFrame):
        return cohort.iloc[rows]
    return getattr(cohort, "bulk", cohort)[rows]


def _cox_reference(name, covariates, folds, endpoint, setting: Setting, n: int) -> Prediction:
    survival = np.empty((n, len(setting.times)))
    for _, learn, judge, rows in folds:
        try:
            with warnings.catch_warnings():  # of the reference's design, which is not in question here
                warnings.simplefilter("ignore", PmLabWarning)
                survival[rows] = _survival_by_cox(covariates, learn, judge, endpoint, setting.times)
        except (DataError, DesignError) as error:
            raise type(error)(
                f"the reference {name!r} could not be learnt: {error} A rare level may be missing from a "
                "fold: merge it with another, or pass train=<other patients>."
            ) from None
    # Log hazards of different folds have no common scale; risks by the horizon have.
    return Prediction(1 - survival[:, setting.at_horizon], survival)


def _survival_by_cox(covariates, learn, judge, endpoint, times: np.ndarray):
    """Chance of no event of interest; with competing causes one minus the share who will have it."""
    fitted = CoxModel(covariates).fit_to_predict(learn, endpoint)
    times = np.minimum(times, fitted.baseline_.index[-1])
    outcome = endpoint_table(learn, endpoint)
    outcome["event"] = outcome["cause"].notna() & ~outcome["event"]
    if not outcome["event"].any():
        return fitted.predict_survival(judge, times)
    try:
        table = columns_of(learn, fitted.encoding_.names).join(outcome.add_prefix("_"))
        spec = {part: f"_{part}" for part in outcome if part != "cause"} | {"unit": ""}
        competing = CoxModel(covariates).fit_to_predict(table, spec)
        other, other_ratio = competing.baseline_, np.exp(competing.predict(judge))
    except (DataError, DesignError):  # too few of them: the same for everybody
        other, other_ratio = baseline_hazard(outcome, np.zeros(len(outcome))), np.ones(len(judge))
    return 1 - incidence(fitted.baseline_, np.exp(fitted.predict(judge)), other, other_ratio, times)


def _notes_on_causes(followed: FollowUp, models: Mapping) -> list[str]:
    if not followed.competing:
        return []
    n = int((followed.any_cause & ~followed.event).sum())
    notes = [
        f"{n:,} patients have a competing event: measures of ranking count it as censored (cause-specific), "
        "observed risks are cumulative incidences; no calibration slope"
    ]
    return notes + [
        f"{name}: a Cox model or scikit-survival estimator takes competing events for censored, so its "
        "probabilities overstate the risk"
        for name, one in models.items()
        if isinstance(one, CoxModel) or hasattr(one, "feature_names_in_")
    ]


def _notes_on_entries(followed: FollowUp) -> list[str]:
    if followed.entry is None:
        return []
    n, first = int((followed.entry > 0).sum()), followed.entry.min()
    notes = [
        f"{n:,} of {len(followed.entry):,} patients entered late (left truncation): Uno's C, AUC, Brier "
        "score, observed over expected and net benefit are left out"
    ]
    if first > 0:
        notes.append(
            f"nobody was under observation before {first:g}: observed risks are those of patients without "
            "event until then, predicted ones count from time zero"
        )
    return notes


def _resample(
    followed: FollowUp, predictions: Mapping[str, Prediction], setting: Setting, n_boot: int, seed: int
) -> dict:
    """By model: the measures of all patients in row 0, then those of each resample."""
    from tqdm.auto import tqdm

    rng = np.random.default_rng(seed)
    n = len(followed.time)
    groups = {name: quantile_groups(one, setting, N_GROUPS) for name, one in predictions.items()}
    draws = [np.arange(n), *(rng.integers(0, n, n) for _ in range(n_boot))]
    quiet = os.environ.get("PM_LAB_PROGRESS") == "0"
    drawn = {name: [] for name in predictions}
    for rows in tqdm(draws, desc="resamples", disable=quiet, leave=False):
        drawn_patients = followed.take(rows)
        for name, one in predictions.items():
            drawn[name].append(measure(drawn_patients, one.take(rows), groups[name][rows], setting))
    return drawn


def _collect(outcome, predictions, setting, drawn, tails, models, notes, level) -> RiskEvaluation:
    scores, curves, calibration, benefit = [], [], [], []
    for name, measured in drawn.items():
        scores.append(
            _intervals([m.scalars for m in measured], tails).assign(metric=NAMES).dropna(subset="estimate")
        )
        for metric in ("auc", "brier"):
            one = _intervals([getattr(m, metric) for m in measured], tails)
            curves.append(one.assign(metric=metric, time=setting.times, model=name).dropna(subset="estimate"))
        scores[-1]["model"] = name
        if predictions[name].survival is None:
            continue
        groups = _intervals([m.observed for m in measured], tails).drop(columns="failed")
        groups = groups.rename(columns={"estimate": "observed"})
        calibration.append(groups.assign(**measured[0].groups, model=name).query("n > 0"))
        unknown = int(calibration[-1]["observed"].isna().sum())
        if unknown:
            notes.append(f"{name}: {unknown} groups whose risk set emptied early have no observed risk")
        if name != NO_INFORMATION:
            benefit.append(_benefit(name, [m.net_benefit for m in measured], tails, setting))
    everyone = next(iter(drawn.values()))
    benefit.append(_benefit("treat all", [m.treat_all for m in everyone], tails, setting))
    benefit.append(_benefit("treat none", [0 * m.treat_all for m in everyone], tails, setting))
    return RiskEvaluation(
        scores=_tidy(scores, "metric"),
        differences=_differences(drawn, list(models), tails),
        curves=_tidy(curves, "metric", "time"),
        calibration=_tidy(calibration, "group", "n", "predicted"),
        net_benefit=_tidy(benefit, "threshold"),
        endpoint=outcome.attrs["endpoint"],
        unit=outcome.attrs["unit"],
        horizon=setting.horizon,
        n=len(outcome),
        events=int(outcome["event"].sum()),
        n_boot=len(everyone) - 1,
        level=level,
        notes=notes,
    )


def _intervals(values: list[np.ndarray], tails: list[float]) -> pd.DataFrame:
    values = np.asarray(values, float)
    estimate, draws = values[0], values[1:]
    lower = np.full(len(estimate), np.nan)
    upper = lower.copy()
    known = np.isfinite(draws).any(axis=0) & np.isfinite(estimate)
    if known.any():
        lower[known], upper[known] = np.nanquantile(draws[:, known], tails, axis=0)
    failed = (~np.isfinite(draws)).sum(axis=0)
    return pd.DataFrame({"estimate": estimate, "lower": lower, "upper": upper, "failed": failed})


def _benefit(name: str, values: list[np.ndarray], tails, setting: Setting) -> pd.DataFrame:
    table = _intervals(values, tails).rename(columns={"estimate": "net_benefit"}).drop(columns="failed")
    return table.assign(threshold=setting.thresholds, model=name).dropna(subset="net_benefit")


def _differences(drawn: dict, models: list[str], tails: list[float]) -> pd.DataFrame:
    """Each model less each reference and each other model before it, on the same resamples."""
    names = list(drawn)
    places = [NAMES.index(name) for name in COMPARED]
    values = {name: np.array([m.scalars for m in measured])[:, places] for name, measured in drawn.items()}
    parts = []
    for model in models:
        for reference in [name for name in names if name not in models] + models[: models.index(model)]:
            table = _intervals(list(values[model] - values[reference]), tails).drop(columns="failed")
            table = table.rename(columns={"estimate": "difference"}).assign(metric=COMPARED)
            parts.append(table.assign(reference=reference, model=model).dropna(subset="difference"))
    return _tidy(parts, "reference", "metric")


def _tidy(parts: list[pd.DataFrame], *first: str) -> pd.DataFrame:
    if not parts:
        return pd.DataFrame(columns=["model", *first])
    table = pd.concat(parts, ignore_index=True)
    order = ["model", *first]
    return table[order + [name for name in table if name not in order]]
