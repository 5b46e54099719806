"""From one platform to another: which gene is which, what is missing, and how a fixed score does there."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab import checks, keys
from pm_lab.biomarkers.matching import mapping_table, standardised_expression
from pm_lab.endpoints import EXPRESSION, check_measured
from pm_lab.errors import DataError, PmLabWarning
from pm_lab.validation import Outcome, bootstrap, patients_of, read_outcome

if TYPE_CHECKING:
    from anndata import AnnData

    from pm_lab.biomarkers.panels import Panel


@dataclass
class ExternalResult:
    """What :func:`external_validation` returns.

    Attributes
    ----------
    table : one row: ``n``, ``n_events``, the metric with ``low`` and ``high``, the effect of one SD of the
        score (``hazard_ratio_per_sd`` or ``odds_ratio_per_sd`` or ``slope_per_sd``) with ``effect_low`` and
        ``effect_high``, ``calibration_slope`` (1 is right; NaN for scores without a scale), ``n_genes``,
        ``n_measured``, ``weight_measured`` (share of the absolute weight). These three are missing where a
        score was given that does not say it (that of :func:`signature_score` says the first two).
        ``same_patients``: of the ``n``, those whom the panel was fitted to; above 0 the row is no validation
        (missing for a score, and for a panel saved without its patients).
        ``attrs``: ``outcome``; of a panel also ``scale``, and ``match``, how its genes were found.
    missing : by gene that is not measured here, its ``weight`` (NaN in a signature). Empty where all are.
    mapping : by gene of the panel: ``weight``, ``n_probes`` of this cohort that stand for it, and ``probes``,
        their names. Empty for a score.
    predictions : score of each patient.
    """

    table: pd.DataFrame
    missing: pd.DataFrame
    mapping: pd.DataFrame = field(repr=False)
    predictions: pd.Series = field(repr=False)


def external_validation(
    panel: Panel | pd.Series,
    cohort,
    outcome: str,
    scale: str = "panel",
    match: str | None = None,
    n_boot: int = 1000,
    seed: int = 0,
    patient_key: str | None = None,
    positive: str | None = None,
) -> ExternalResult:
    """Judge a fixed panel in another cohort. Nothing is refitted.

    Parameters
    ----------
    panel : a :class:`Panel`, or the score of each patient (Series by name in obs), such as that of
        :func:`signature_score`.
    cohort : patients × genes, other patients than those of discovery.
    outcome : endpoint or column of this cohort; of the panel's kind.
    scale : "panel" uses the discovery cohort's means and SDs: right for the same platform and processing,
        and for single patients. "cohort" standardises each gene in this cohort, for another platform; it
        uses no outcome, but assumes that both cohorts hold like patients.
    match : how genes are found: "name" (var_names, aliases mended), or a column of ``var`` such as "symbol"
        or "entrez" that the panel knows too. By default whichever finds most. Several probes of a gene are
        averaged after standardising.
    n_boot, seed : of the intervals, by patient.
    positive : the level of a binary outcome that counts as 1; by default the panel's own.

    Raises
    ------
    DataError
        When less than half of the panel's weight is measured in the cohort or in one of its patients, the
        expression is on another scale than the panel's, the outcome is of another kind or lacks the panel's
        level, or patients of the cohort are missing in a Series.
    DesignError
        When the endpoint declares expression as measured after time zero.

    Warns
    -----
    PmLabWarning
        Patients whom the panel was fitted to; less than 80 % of the weight measured; missing values.

    References
    ----------
    Royston 2013, doi:10.1186/1471-2288-13-33.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.load("gse7390")
    >>> panel = pm.biomarkers.fit_panel(cohort[:120].copy(), "dmfs")
    >>> result = pm.biomarkers.external_validation(panel, cohort[120:].copy(), "dmfs")
    >>> int(result.table["n"].iloc[0]), len(result.missing)
    (78, 0)
    """
    from pm_lab.biomarkers.panels import Panel

    if not isinstance(panel, Panel | pd.Series):
        raise DataError(
            f"panel is of type {type(panel).__name__}: pass a Panel (fit_panel, minimal_panel, Panel.load) "
            "or the score of each patient as a Series."
        )
    adata = checks.bulk_of(cohort)
    patients = patients_of(adata, patient_key)
    is_score = isinstance(panel, pd.Series)
    if is_score:
        target = read_outcome(adata, outcome, positive)
    else:
        target = same_outcome(panel.kind, panel.positive, adata, outcome, positive)
    name = str(panel.name or "score") if is_score else panel.name
    if is_score:
        raw, mapping, missing, counts = _given_score(panel, adata)
    else:
        raw, mapping, missing, counts = _score_of(panel, adata, target, scale, match)
    interval = bootstrap(target, {name: raw.to_numpy()}, patients, n_boot=n_boot, seed=seed)
    row = {"n": len(target), "n_events": target.n_events} | interval.iloc[0].to_dict()
    row |= _effect(target, raw.to_numpy(), scaled=not is_score) | counts
    table = pd.DataFrame([row], index=pd.Index([name], name="model"))
    table = table.astype({"n_genes": "Int64", "n_measured": "Int64", "same_patients": "Int64"})
    how = {} if is_score else {"scale": scale, "match": mapping.attrs["match"]}
    table.attrs = {"outcome": outcome} | how
    return ExternalResult(table, missing, mapping, raw.rename(name))


def _score_of(
    panel: Panel, adata: AnnData, outcome: Outcome, scale: str, match: str | None
) -> tuple[pd.Series, pd.DataFrame, pd.DataFrame, dict]:
    """The panel's score of each patient, the mapping of its genes, those not measured, and the counts."""
    if panel.kind != outcome.kind:
        raise DataError(
            f"the panel {panel.name!r} predicts a {panel.kind} outcome, {outcome.name!r} is {outcome.kind}."
        )
    refuse_late_expression(outcome, adata, panel.genes_in(adata))
    X, mapping = standardised_expression(panel, adata, scale, match)
    refuse_without_score(X.iloc[:, 0])
    own = panel.own_patients(adata)
    warn_of_same_patients(repr(panel.name), own, adata.n_obs)
    raw = pd.Series(X.to_numpy() @ np.asarray(panel.weights) + panel.intercept, index=adata.obs_names)
    weight, found = mapping["weight"].abs(), mapping["n_probes"] > 0
    counts = {
        "n_genes": len(mapping),
        "n_measured": int(found.sum()),
        "weight_measured": float(weight[found].sum() / weight.sum()),
        "same_patients": len(own) if panel.patients else pd.NA,
    }
    return raw, mapping, mapping.loc[~found, ["weight"]], counts


def _given_score(scores: pd.Series, adata: AnnData) -> tuple[pd.Series, pd.DataFrame, pd.DataFrame, dict]:
    """The score of these patients, no mapping, and what :func:`signature_score` said of missing genes."""
    names = pd.Index(scores.attrs.get("missing", []), dtype=object, name="gene")
    missing = pd.DataFrame({"weight": np.full(len(names), np.nan)}, index=names)
    counts = {name: scores.attrs.get(name, pd.NA) for name in ("n_genes", "n_measured")}
    counts |= {"weight_measured": np.nan, "same_patients": pd.NA}
    return _of_these_patients(scores, adata), mapping_table([], [], [], ""), missing, counts


def same_outcome(kind: str, level: str, adata: AnnData, outcome: str, positive: str | None) -> Outcome:
    """The outcome of another cohort, its classes the same way round as where a model was learnt."""
    if kind != "binary" or outcome in adata.uns.get(keys.ENDPOINTS, {}) or outcome not in adata.obs:
        return read_outcome(adata, outcome, positive)
    levels = sorted(adata.obs[outcome].dropna().astype(str).unique())
    if positive is None and len(levels) == 2 and level not in levels:
        raise DataError(
            f"higher scores mean {level!r}, and obs[{outcome!r}] holds {' and '.join(map(repr, levels))}: "
            "say which of them is the same with positive=..., or rename them."
        )
    return read_outcome(adata, outcome, level if positive is None and len(levels) == 2 else positive)


def refuse_late_expression(outcome: Outcome, adata: AnnData, genes: Iterable[str]) -> None:
    """Expression that the endpoint declares as measured after time zero, all of it or one of these genes."""
    if outcome.kind == "survival":
        check_measured(adata, outcome.name, [EXPRESSION, *genes])


def refuse_without_score(scores: pd.Series) -> None:
    """Patients who cannot be scored, and so cannot be judged either."""
    lacking = scores.index[scores.isna()]
    if len(lacking):
        raise DataError(
            f"{len(lacking):,} of {len(scores):,} patients have less than half of the panel's weight "
            f"measured ({', '.join(map(str, lacking[:5]))}). Leave them out knowingly: "
            "cohort[panel.predict(cohort).notna()].copy()."
        )


def warn_of_same_patients(name: str, own: pd.Index, n: int) -> None:
    """Judged on the patients it was learnt from, a model looks better than it is."""
    if len(own):
        named = ", ".join(map(str, own[:5])) + (", ..." if len(own) > 5 else "")
        warnings.warn(
            f"{name}: {len(own):,} of {n:,} patients are those it was fitted to, by name or by expression "
            f"profile ({named}), so it looks better than it is (apparent performance)."
            " Judge it on others; other patients under the same names need names of their own.",
            PmLabWarning,
            stacklevel=4,
        )


def _of_these_patients(scores: pd.Series, adata: AnnData) -> pd.Series:
    if scores.index.has_duplicates:
        twice = scores.index[scores.index.duplicated()].unique()
        raise DataError(
            f"the score names {len(twice):,} patients more than once ({', '.join(map(str, twice[:5]))}). "
            "Give one number a row of the cohort."
        )
    if not pd.api.types.is_numeric_dtype(scores):
        raise DataError(f"the score is of type {scores.dtype}: numbers, higher = more risk, are meant.")
    found = scores.reindex(adata.obs_names)
    if found.isna().any():
        raise DataError(
            f"the score is missing for {int(found.isna().sum()):,} of {adata.n_obs:,} patients "
            f"({', '.join(found.index[found.isna()][:5])}). Leave them out for every model alike."
        )
    return found.astype(float)


def _effect(outcome: Outcome, raw: np.ndarray, scaled: bool) -> dict:
    """Effect of one SD of the score with a 95 % interval, and the calibration slope."""
    sd = raw.std()
    names = {"survival": "hazard_ratio_per_sd", "binary": "odds_ratio_per_sd", "continuous": "slope_per_sd"}
    name = names[outcome.kind]
    if sd < 1e-12:
        return {name: np.nan, "effect_low": np.nan, "effect_high": np.nan, "calibration_slope": np.nan}
    beta, error = _univariable(outcome, (raw - raw.mean()) / sd)
    shown = (lambda value: value) if outcome.kind == "continuous" else np.exp
    return {
        name: float(shown(beta)),
        "effect_low": float(shown(beta - 1.96 * error)),
        "effect_high": float(shown(beta + 1.96 * error)),
        "calibration_slope": beta / sd if scaled else np.nan,
    }


def _univariable(outcome: Outcome, z: np.ndarray) -> tuple[float, float]:
    """Coefficient and standard error of a regression on z alone."""
    if outcome.kind == "survival":
        from lifelines import CoxPHFitter

        table = pd.DataFrame({"z": z, "time": outcome.time, "event": outcome.values})
        fitted = CoxPHFitter().fit(table, "time", "event")
        return float(fitted.params_["z"]), float(fitted.standard_errors_["z"])
    import statsmodels.api as sm

    model = sm.Logit if outcome.kind == "binary" else sm.OLS
    arguments = {"disp": 0} if outcome.kind == "binary" else {}
    fitted = model(outcome.values, sm.add_constant(z)).fit(**arguments)
    return float(fitted.params[1]), float(fitted.bse[1])
