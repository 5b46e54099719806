"""Which pathways differ in activity between two groups of patients?"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab import checks, keys
from pm_lab.design import (
    as_text,
    check_batch,
    check_contrast,
    check_replicates,
    level_name,
    model_matrix,
    variables,
    with_categories,
)
from pm_lab.enrichment.expression import MEAN_EXPRESSION
from pm_lab.errors import DataError, DesignError, PmLabWarning

if TYPE_CHECKING:
    from anndata import AnnData

CONFIDENCE = 0.95
FEW_FREEDOM = 5  # residual degrees of freedom
UNEVEN = 0.01  # p of the mean over all genes; on ten built-in cohorts the smallest is .047


def compare_activity(
    cohort: AnnData,
    design: str,
    contrast: tuple[str, str, str],
    key: str = keys.PATHWAYS,
    patient_key: str = "patient",
) -> pd.DataFrame:
    """Test each pathway's activity between two groups of patients: a linear model, patients as replicates.

    Correlation between genes does no harm here: the score is one number a patient, and the patients are
    independent.

    Parameters
    ----------
    cohort : patients with ``obsm["pathways"]`` from :func:`sample_activity`, or a Cohort.
    design : formula of columns of ``obs``, with what else differs between the groups:
        ``"~ batch + age + response"``. A paired study names the patient: ``"~ patient + condition"``.
    contrast : (factor, level, reference); a positive difference is more active in ``level``. Patients of
        any third level are left out and counted.
    key : the scores in ``obsm``, a DataFrame of patients × pathways.
    patient_key : column of ``obs`` with the patient, if there is one; else each row is a patient. None may
        have two rows of one side, and none may be on both sides unless it is in the design.

    Returns
    -------
    DataFrame
        One row per pathway, by p-value: ``pathway``, ``difference`` (level less reference, in units of the
        score, other terms of the design held), ``lower``, ``upper`` (95 % confidence limits),
        ``standardized_difference`` (over the residual standard deviation), ``stat`` (t), ``pvalue``, ``fdr``
        (Benjamini-Hochberg), ``n_<level>`` for both. ``attrs``: ``design``, ``contrast``,
        ``degrees_of_freedom``, ``n_left_out``, ``constant`` (pathways with one value in all patients).

    Raises
    ------
    DataError
        No activities, missing values (in the patients too), unknown columns.
    DesignError
        A patient with several rows of one side, a patient on both sides that is not in the design, fewer than
        two a side, a condition equal to batch, terms that cannot be told apart, nothing left to estimate the
        variance from.

    Warns
    -----
    PmLabWarning
        With fewer than 5 residual degrees of freedom; when the average gene differs between the groups
        (p < .01), which speaks of depth or quality. Of 10 built-in cohorts none is warned of as it is, and 9
        are with the responders thinned to a tenth of their reads.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.simulate_cohort(n_cells=600)
    >>> pm.enrichment.sample_activity(cohort, pm.gene_sets.core("pathway"))
    >>> table = pm.enrichment.compare_activity(
    ...     cohort, "~ batch + age + response", ("response", "yes", "no")
    ... )
    >>> int(table["n_yes"].iloc[0])
    48
    """
    adata = checks.bulk_of(cohort)
    check_contrast(adata.obs, design, contrast)
    factor, level, reference = contrast[0], level_name(contrast[1]), level_name(contrast[2])
    sides = (factor, level, reference)
    kept = as_text(adata.obs[factor]).isin([level, reference]).to_numpy()
    scores = _activities(adata, key)[kept]
    if patient_key in adata.obs:
        checks.obs_column(adata[kept], patient_key, "patient_key")
    obs = with_categories(adata.obs[kept], design, factor, patient_key)
    check_contrast(obs, design, sides)
    _check_patients(obs, design, sides, patient_key)
    model_matrix(obs, design, factor)
    varies = (scores.max() > scores.min()).to_numpy()
    if not varies.any():
        raise DataError("every pathway has one value in all of these patients: there is nothing to compare.")
    table, freedom = _fit(scores.loc[:, varies], obs, design, sides)
    for name in (level, reference):
        table[f"n_{name}"] = int((obs[factor] == name).sum())
    if key == keys.PATHWAYS:
        _warn_of_depth(obs, design, sides)
    if freedom < FEW_FREEDOM:
        warnings.warn(
            f"Only {freedom} residual degrees of freedom with design={design!r}: the spread between patients "
            "is hardly known. Drop terms or add patients.",
            PmLabWarning,
            stacklevel=2,
        )
    table.attrs = {
        "design": design,
        "contrast": sides,
        "degrees_of_freedom": freedom,
        "n_left_out": int((~kept).sum()),
        "constant": list(scores.columns[~varies]),
    }
    return table


def _check_patients(obs: pd.DataFrame, design: str, contrast: tuple[str, str, str], patient_key: str) -> None:
    """Replicates and batches seen by patient, who pairs the rows if the design names them."""
    factor = contrast[0]
    if patient_key not in obs:
        obs = obs.assign(**{patient_key: [f"row {i}" for i in range(len(obs))]})
    twice = obs.loc[obs.duplicated([patient_key, factor]), patient_key].unique()
    if len(twice):
        raise DesignError(
            f"{len(twice):,} patients have several rows of one {factor} ({', '.join(map(str, twice[:5]))}): "
            "rows of one patient are not independent. Take one row a patient and condition, or their mean."
        )
    check_replicates(obs, contrast, patient_key, paired=patient_key in variables(design))
    check_batch(obs, factor, patient_key)


def _warn_of_depth(obs: pd.DataFrame, design: str, contrast: tuple[str, str, str]) -> None:
    """Scores without an intercept follow the mean of all genes."""
    if MEAN_EXPRESSION not in obs or MEAN_EXPRESSION in variables(design):
        return
    mean = obs[[MEAN_EXPRESSION]]
    if not np.isfinite(mean.to_numpy()).all():
        return
    row = _fit(mean, obs, design, contrast)[0].iloc[0]
    if row["pvalue"] < UNEVEN:
        warnings.warn(
            f"The average gene differs between {contrast[1]!r} and {contrast[2]!r} (by "
            f"{row['difference']:+.2f} standard deviations, p = {row['pvalue']:.1g}): depth or quality, not "
            "pathways, and the scores follow it. Look at the library sizes, normalise, or check with "
            'gsea(null="permute_labels").',
            PmLabWarning,
            stacklevel=3,
        )


def _activities(adata: AnnData, key: str) -> pd.DataFrame:
    if key not in adata.obsm:
        raise DataError(
            f"obsm has no {key!r}; it has {sorted(adata.obsm)}. Run pm.enrichment.sample_activity(cohort, "
            "gene_sets) first."
        )
    scores = adata.obsm[key]
    if not isinstance(scores, pd.DataFrame):
        raise DataError(f"obsm[{key!r}] is a {type(scores).__name__}: a DataFrame with names is needed.")
    bad = ~np.isfinite(scores.to_numpy(float)).all(axis=1)
    if bad.any():
        raise DataError(
            f"obsm[{key!r}] has NaN or infinite values for {int(bad.sum()):,} of {len(bad):,} patients "
            f"({', '.join(map(str, scores.index[bad][:5]))})."
        )
    return scores.astype(float)


def _fit(scores: pd.DataFrame, obs: pd.DataFrame, design: str, contrast) -> tuple[pd.DataFrame, int]:
    """Least squares for all pathways at once, and the contrast with its t-test."""
    from scipy import stats

    matrix, wanted = _contrast_vector(obs, design, contrast)
    values = scores.to_numpy()
    coefficients, *_ = np.linalg.lstsq(matrix, values)
    freedom = len(matrix) - matrix.shape[1]
    spread = np.sqrt(((values - matrix @ coefficients) ** 2).sum(axis=0) / freedom)
    error = spread * np.sqrt(wanted @ np.linalg.inv(matrix.T @ matrix) @ wanted)
    difference = wanted @ coefficients
    stat = difference / error
    margin = stats.t.ppf((1 + CONFIDENCE) / 2, freedom) * error
    table = pd.DataFrame(
        {
            "pathway": list(scores.columns),
            "difference": difference,
            "lower": difference - margin,
            "upper": difference + margin,
            "standardized_difference": difference / spread,
            "stat": stat,
            "pvalue": 2 * stats.t.sf(np.abs(stat), freedom),
        }
    )
    table["fdr"] = stats.false_discovery_control(table["pvalue"])
    return table.sort_values("pvalue", ignore_index=True, kind="stable"), freedom


def _contrast_vector(obs: pd.DataFrame, design: str, contrast) -> tuple[np.ndarray, np.ndarray]:
    """The design matrix, and what a patient's row gains from reference to level, averaged over patients."""
    from formulaic import model_matrix as build

    factor, level, reference = contrast
    matrix = build(design, obs)
    sides = [matrix.model_spec.get_model_matrix(obs.assign(**{factor: name})) for name in (level, reference)]
    gain = np.asarray(sides[0], dtype=float) - np.asarray(sides[1], dtype=float)
    wanted = gain.mean(axis=0)
    if not wanted.any():
        raise DesignError(f"design={design!r} does not let {factor!r} make a difference.")
    return np.asarray(matrix, dtype=float), wanted
