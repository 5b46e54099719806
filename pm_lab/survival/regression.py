"""Cox regression: hazard ratios, the check of proportional hazards, and a model that predicts survival."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab import checks, leaks
from pm_lab.endpoints import check_measured, column, endpoint_table, patient_rows
from pm_lab.errors import DataError

from .covariates import Encoding, as_outcome, check_events_per_variable
from .hazards import baseline_hazard, check_proportional_hazards

if TYPE_CHECKING:
    from anndata import AnnData
    from lifelines import CoxPHFitter

TIME, EVENT, ENTRY, STRATUM = "_time", "_event", "_entry", "_stratum"  # columns beside the covariates
FORMAT = "pm_lab.survival.CoxModel 1"


def cox(
    cohort: AnnData | pd.DataFrame,
    covariates: str | Sequence[str],
    endpoint: str | Mapping,
    strata: str | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Cox regression: hazard ratios with intervals, per unit and per SD, and a check of their constancy.

    Parameters
    ----------
    cohort : one row per patient; a Cohort's ``bulk``, or a table with the same columns as ``obs``.
    covariates : columns of obs or names of genes (values of ``X``), or a formula of them such as
        ``"~ age + stage + arm * response"``. Labels are compared with their first category.
    endpoint : as for :func:`endpoint_table`. With competing causes the hazard is the one of the cause of
        interest.
    strata : a column whose groups have a baseline hazard each, where their hazards are not proportional.
    level : of the confidence intervals.

    Returns
    -------
    pandas.DataFrame
        One row per coefficient, indexed by ``covariate`` (``stage[T.II]``: II over the first stage):
        ``log_hazard_ratio``, ``standard_error``, ``hazard_ratio``, ``lower``, ``upper``, ``z``, ``pvalue``;
        ``sd`` of the covariate and ``hazard_ratio_per_sd``, ``lower_per_sd``, ``upper_per_sd`` (missing where
        it has two values only); ``ph_statistic`` and ``ph_pvalue`` of scaled Schoenfeld residuals against
        the Kaplan-Meier transform of time. ``attrs``: ``endpoint``, ``unit``, ``n``, ``events``,
        ``events_per_variable``, ``c_index`` (on these same patients, so too high; missing with left
        truncation or strata), ``log_likelihood``, ``level``.

    Raises
    ------
    DataError
        As :func:`endpoint_table`; absent columns, missing or infinite values; covariates that are part of an
        endpoint, or a copy of it; a fit that does not converge.
    DesignError
        A constant covariate, collinear ones, more coefficients than events, a level without any event, a
        covariate measured after time zero.

    Warns
    -----
    PmLabWarning
        Fewer than ten events per coefficient; hazards that are not proportional (Bonferroni, 5 %).

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.simulate_cohort(n_cells=600)
    >>> table = pm.survival.cox(cohort, ["age", "stage", "arm"], "os")
    >>> table.index.tolist()
    ['age', 'stage[T.II]', 'stage[T.III]', 'arm[T.experimental]']

    Source: Cox, J R Stat Soc B 34:187 (1972), doi:10.1111/j.2517-6161.1972.tb00899.x; fitted by lifelines
    with Efron's ties. The check: Grambsch and Therneau, Biometrika 81:515 (1994),
    doi:10.1093/biomet/81.3.515.
    """
    return CoxModel(covariates, strata=strata, level=level).fit(cohort, endpoint).table_


class CoxModel:
    """Cox regression that can predict: linear predictors and survival of other patients.

    Parameters
    ----------
    covariates, strata, level : as for :func:`cox`.

    Attributes
    ----------
    table_ : what :func:`cox` returns.
    coefficients_ : log hazard ratios, by column of the design matrix.
    baseline_ : cumulative hazard of a patient with average covariates, by time.
    patients_ : names of the patients of the fit, so that evaluating on them is noticed. Not saved.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.simulate_cohort(n_cells=600)
    >>> model = pm.survival.CoxModel(["age", "stage"]).fit(cohort, "os")
    >>> model.predict_survival(cohort, [12, 36]).shape
    (120, 2)
    """

    def __init__(self, covariates: str | Sequence[str], strata: str | None = None, level: float = 0.95):
        self.covariates = covariates
        self.strata = strata
        self.level = level

    def fit(self, cohort: AnnData | pd.DataFrame, endpoint: str | Mapping) -> CoxModel:
        """Fit to the patients of a cohort. Raises and warns as :func:`cox`."""
        matrix, outcome, data, fitter = self._estimate(cohort, endpoint)
        stratum = data[STRATUM] if self.strata else None
        ph = check_proportional_hazards(fitter, data, matrix.columns, outcome, stratum)
        self.table_ = _table(fitter, matrix, outcome, ph, self.level)
        return self

    def fit_to_predict(self, cohort: AnnData | pd.DataFrame, endpoint: str | Mapping) -> CoxModel:
        """As :meth:`fit`, without ``table_`` and the check of proportional hazards: for many fits."""
        self._estimate(cohort, endpoint)
        return self

    def _estimate(self, cohort, endpoint):
        checks.shares(level=self.level)
        outcome = endpoint_table(cohort, endpoint)
        encoding = Encoding.of(cohort, self.covariates)
        check_measured(cohort, endpoint, [*encoding.names, *([self.strata] if self.strata else [])])
        matrix = encoding.matrix(cohort)
        check_events_per_variable(encoding, matrix, outcome)
        leaks.check_columns(matrix, list(matrix), as_outcome(outcome), "covariates")
        data = self._data(cohort, matrix, outcome)
        fitter = self._fitter(data)
        self.encoding_ = encoding
        self.coefficients_ = fitter.params_.rename("log_hazard_ratio")
        self.means_ = matrix.mean()
        self.patients_ = matrix.index
        self.unit_, self.endpoint_ = outcome.attrs["unit"], outcome.attrs["endpoint"]
        if self.strata is None:
            self.baseline_ = baseline_hazard(outcome, self._centred(matrix))
        return matrix, outcome, data, fitter

    def predict(self, cohort: AnnData | pd.DataFrame) -> pd.Series:
        """Log hazard ratio of each patient over the average patient of the fit: higher is worse.

        Raises
        ------
        DataError
            Absent columns or genes, missing values, levels that the fit did not see.
        """
        matrix = self.encoding_.matrix(cohort)
        return pd.Series(self._centred(matrix), matrix.index, name="log_hazard_ratio")

    def predict_survival(self, cohort: AnnData | pd.DataFrame, times: Sequence[float]) -> pd.DataFrame:
        """Chance of each patient (row) to be without event at each time (column), in the endpoint's unit.

        Raises
        ------
        DataError
            As :meth:`predict`; a time beyond the follow-up of the fit; a stratified model.
        """
        if self.strata is not None:
            raise DataError("a stratified model has no one baseline hazard: fit without strata to predict.")
        try:
            times = np.atleast_1d(np.asarray(times, float))
        except (TypeError, ValueError):
            raise DataError(f"times={times!r} are no numbers.") from None
        last = self.baseline_.index[-1]
        if not ((times >= 0) & (times <= last)).all():
            raise DataError(f"times must lie between 0 and {last:g} {self.unit_}, the follow-up of the fit.")
        place = np.searchsorted(self.baseline_.index, times, side="right") - 1
        hazard = self.baseline_.to_numpy()[place]
        risk = np.exp(self.predict(cohort))
        return pd.DataFrame(np.exp(-np.outer(risk, hazard)), risk.index, times)

    def save(self, path: str | Path) -> None:
        """Write coefficients, baseline hazard and levels as JSON; no patient names, no ``table_``."""
        if self.strata is not None:
            raise DataError("a stratified model cannot predict and is not saved; keep its table_.")
        content = {
            "format": FORMAT,
            "encoding": self.encoding_.to_dict(),
            "coefficients": self.coefficients_.to_dict(),
            "means": self.means_.to_dict(),
            "baseline": {"time": self.baseline_.index.tolist(), "hazard": self.baseline_.tolist()},
            "endpoint": self.endpoint_,
            "unit": self.unit_,
        }
        path = Path(path)
        partial = path.with_name(path.name + ".part")
        partial.write_text(json.dumps(content, indent=1), encoding="utf-8")
        partial.replace(path)

    @classmethod
    def load(cls, path: str | Path) -> CoxModel:
        """Read a model that :meth:`save` wrote; it predicts the same numbers."""
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(f"{path} is no JSON: {error}") from None
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise DataError(f"{path} is not a model that CoxModel.save wrote (format {FORMAT!r}).")
        encoding = Encoding.from_dict(content["encoding"])
        model = cls(encoding.formula)
        model.encoding_ = encoding
        model.coefficients_ = pd.Series(content["coefficients"], name="log_hazard_ratio")
        model.means_ = pd.Series(content["means"])
        model.baseline_ = pd.Series(content["baseline"]["hazard"], content["baseline"]["time"])
        model.endpoint_, model.unit_ = content["endpoint"], content["unit"]
        model.patients_ = pd.Index([])
        return model

    def _centred(self, matrix: pd.DataFrame) -> np.ndarray:
        return (matrix - self.means_).to_numpy() @ self.coefficients_[matrix.columns].to_numpy()

    def _data(self, cohort, matrix: pd.DataFrame, outcome: pd.DataFrame) -> pd.DataFrame:
        data = matrix.assign(**{TIME: outcome["time"], EVENT: outcome["event"]})
        if "entry" in outcome:
            data[ENTRY] = outcome["entry"]
        if self.strata is not None:
            data[STRATUM] = column(patient_rows(cohort), self.strata, "strata").astype(str)
        return data.sort_values([TIME, EVENT], kind="stable")  # the order in which residuals come

    def _fitter(self, data: pd.DataFrame) -> CoxPHFitter:
        from lifelines import CoxPHFitter
        from lifelines.exceptions import ConvergenceError

        try:
            return CoxPHFitter(alpha=1 - self.level).fit(
                data,
                TIME,
                EVENT,
                entry_col=ENTRY if ENTRY in data else None,
                strata=STRATUM if STRATUM in data else None,
            )
        except (ConvergenceError, np.linalg.LinAlgError) as error:
            raise DataError(
                "the Cox model did not converge: covariates that predict the event perfectly, or nearly "
                f"repeat each other. Drop one of {list(data.columns[:12])}. ({str(error).splitlines()[0]})"
            ) from None


def _table(
    fitter, matrix: pd.DataFrame, outcome: pd.DataFrame, ph: pd.DataFrame, level: float
) -> pd.DataFrame:
    from scipy.stats import norm

    found = fitter.summary
    effect, error = found["coef"], found["se(coef)"]
    reach = norm.ppf((1 + level) / 2) * error
    sd = matrix.std().where(matrix.nunique() > 2)
    table = pd.DataFrame(
        {
            "log_hazard_ratio": effect,
            "standard_error": error,
            "hazard_ratio": np.exp(effect),
            "lower": np.exp(effect - reach),
            "upper": np.exp(effect + reach),
            "z": found["z"],
            "pvalue": found["p"],
            "sd": sd,
            "hazard_ratio_per_sd": np.exp(effect * sd),
            "lower_per_sd": np.exp((effect - reach) * sd),
            "upper_per_sd": np.exp((effect + reach) * sd),
        }
    ).join(ph)
    table = table.loc[matrix.columns].rename_axis("covariate")
    events = int(outcome["event"].sum())
    plain = "entry" not in outcome and fitter.strata is None
    table.attrs = {
        **outcome.attrs,
        "n": len(matrix),
        "events": events,
        "events_per_variable": events / matrix.shape[1],
        "c_index": float(fitter.concordance_index_) if plain else float("nan"),
        "log_likelihood": float(fitter.log_likelihood_),
        "level": level,
    }
    return table
