"""What a model says of each patient, in one form: a risk and, where there are any, survival probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pm_lab.endpoints import column, patient_rows
from pm_lab.errors import DataError, listed

from .covariates import columns_of
from .metrics import Prediction, Setting


def read_prediction(name: str, model: Any, cohort, setting: Setting) -> Prediction:
    """Predictions of a model, scores or probabilities for the patients of a cohort, checked."""
    patients = patient_rows(cohort).index
    if isinstance(model, str):
        return _from_scores(name, column(patient_rows(cohort), model, "risk score"), patients)
    if isinstance(model, pd.Series):
        return _from_scores(name, model, patients)
    if isinstance(model, pd.DataFrame):
        return _from_probabilities(name, model, patients, setting)
    if isinstance(model, (np.ndarray, list, tuple)):
        raise DataError(
            f"{name}: scores without patients' names may be in another order. Pass a Series with the "
            "patients as index."
        )
    if hasattr(model, "feature_names_in_"):
        return _from_scikit_survival(name, model, cohort, setting)
    if not hasattr(model, "predict"):
        raise DataError(
            f"{name} is a {type(model).__name__}: pass a fitted model, a Series of risks, a DataFrame of "
            "survival probabilities (patients × times), or the name of a column of obs."
        )
    risk = _from_scores(name, pd.Series(model.predict(cohort), patients), patients).risk
    if not hasattr(model, "predict_survival"):
        return Prediction(risk, None)
    survival = pd.DataFrame(model.predict_survival(cohort, setting.times))
    return Prediction(risk, _checked_probabilities(name, survival.to_numpy(float)))


def _from_scores(name: str, scores: pd.Series, patients: pd.Index) -> Prediction:
    if not pd.api.types.is_numeric_dtype(scores):
        raise DataError(f"{name} holds {scores.dtype}; a risk score is a number, higher is worse.")
    twice = scores.index[scores.index.duplicated()].unique()
    if len(twice):
        raise DataError(
            f"{name}: {len(twice):,} patients have several scores ({listed(twice)}). Average them."
        )
    risk = scores.reindex(patients).to_numpy(float)
    lacking = ~np.isfinite(risk)
    if lacking.any():
        raise DataError(
            f"{name}: {int(lacking.sum()):,} of {len(patients):,} patients have no finite score "
            f"({listed(patients[lacking])}). Score them, or leave them out of the cohort knowingly."
        )
    return Prediction(risk, None)


def _from_probabilities(name: str, table: pd.DataFrame, patients: pd.Index, setting: Setting) -> Prediction:
    try:
        times = np.asarray(table.columns, float)
    except (TypeError, ValueError):
        raise DataError(f"{name}: the columns of survival probabilities are times, as numbers.") from None
    table = table.iloc[:, np.argsort(times)]
    times = np.sort(times)
    if times[-1] < setting.horizon:
        raise DataError(f"{name}: probabilities end at {times[-1]:g}, before horizon={setting.horizon:g}.")
    lacking = patients.difference(table.index)
    if len(lacking) or table.index.has_duplicates:
        raise DataError(
            f"{name}: {len(lacking):,} of {len(patients):,} patients have no row of probabilities "
            f"({listed(lacking)}), or some have several."
        )
    values = _checked_probabilities(name, table.loc[patients].to_numpy(float))
    survival = np.column_stack([np.ones(len(values)), values])[
        :, np.searchsorted(times, setting.times, side="right")
    ]
    return Prediction(1 - survival[:, setting.at_horizon], survival)


def _from_scikit_survival(name: str, model: Any, cohort, setting: Setting) -> Prediction:
    features = columns_of(cohort, [str(feature) for feature in model.feature_names_in_])
    risk = np.asarray(model.predict(features), float)
    if not hasattr(model, "predict_survival_function"):
        return Prediction(risk, None)
    functions = model.predict_survival_function(features)
    last = functions[0].x[-1]
    if last < setting.horizon:
        raise DataError(f"{name} was fitted up to {last:g}, before horizon={setting.horizon:g}.")
    times = np.maximum(setting.times, functions[0].x[0])
    survival = np.array([function(times) for function in functions])
    survival[:, setting.times < functions[0].x[0]] = 1.0
    return Prediction(risk, _checked_probabilities(name, survival))


def _checked_probabilities(name: str, survival: np.ndarray) -> np.ndarray:
    if not ((survival >= 0) & (survival <= 1)).all():
        wrong = int((~((survival >= 0) & (survival <= 1))).any(axis=1).sum())
        raise DataError(
            f"{name}: {wrong:,} patients have survival probabilities that are not within 0 and 1."
        )
    if (np.diff(survival, axis=1) > 1e-9).any():
        raise DataError(f"{name}: survival rises with time in some patients: are these risks of the event?")
    return survival
