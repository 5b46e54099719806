"""Which samples to look at before anything is tested, and whether batches lead."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab import checks, gene_sets, keys
from pm_lab.design import as_text
from pm_lab.errors import DataError, PmLabWarning

from .coverage import warn_of_coverage
from .normalization import dense_counts, log_cpm, median_of_ratios

if TYPE_CHECKING:
    from anndata import AnnData

TOP_GENES = 50
PCA_GENES, N_COMPONENTS, LEADING = 500, 10, 4
FEWEST_SAMPLES = 4  # below, a median of samples says nothing about one of them
FEWEST_GENES = 3  # two points always lie on a line
CLOSEST = 1 - 1e-9  # correlation that still has a finite Fisher's z
MAD_TO_SD = 1.4826  # of a normal distribution
CLEAR_SEX = 1.0  # log2: XIST and the Y genes must differ by a factor of two
FEMALE, MALE, UNCLEAR = "female", "male", "unclear"
SEX_LABELS = {"f": FEMALE, "female": FEMALE, "w": FEMALE, "woman": FEMALE}
SEX_LABELS |= {"m": MALE, "male": MALE, "man": MALE}
REASONS = ("few_counts", "few_genes", "dominated", "low_correlation", "far_in_pca", "sex_mismatch")


def quality_control(
    cohort: AnnData,
    batch: str | None = None,
    condition: str | None = None,
    sex: str = "sex",
    n_mads: float = 5.0,
    copy: bool = False,
) -> pd.DataFrame | tuple[pd.DataFrame, AnnData]:
    """Measure each sample, mark those to look at, and see what the main axes of variation follow.

    No sample is dropped: a reason is a question to the laboratory. PCA is on log2 CPM (median of ratios) of
    the 500 most variable genes, without XIST and the genes of the Y chromosome.

    Parameters
    ----------
    cohort : patients × genes with raw counts in ``layers["counts"]`` or ``X``; a Cohort's ``bulk``.
    batch, condition : columns of obs to compare the principal components with, see :func:`pc_associations`.
    sex : column of obs with the sex on record ("female"/"male", "F"/"M"), compared with XIST and the
        genes of the Y chromosome where both are there.
    n_mads : how many robust standard deviations (1.4826 × median absolute deviation) from the median of the
        samples are too far.
    copy : leave ``cohort`` as it is and return ``(table, changed copy)``.

    Returns
    -------
    DataFrame
        One row per sample, also written into obs:

        - ``library_size`` (counts), ``n_genes`` (with a count), ``top_50_share`` (of counts, in the 50
          most abundant genes)
        - ``median_correlation`` (Pearson's, of log2 CPM, with the other samples; NaN, and no reason, with
          fewer than 3 genes that most samples have), ``pca_distance`` (root mean square of the robust
          z-scores on the first 4 components)
        - ``expressed_sex`` ("female", "male", "unclear"; absent without XIST and Y genes)
        - ``qc_reason``: ``few_counts``, ``few_genes``, ``dominated`` (by few genes), ``low_correlation``,
          ``far_in_pca``, ``sex_mismatch``, joined by ";"; empty for most

        Also written: ``obsm["X_pca"]``, and ``uns["pm_lab"]["quality_control"]`` with the parameters, the
        share of variance of each component and the associations.

    Raises
    ------
    DataError
        No raw counts, a sample without counts, a name twice, fewer than 4 samples, an absent column, a view
        (``cohort[...]``) without ``copy``.

    Warns
    -----
    PmLabWarning
        Sex on record against sex expressed, and libraries that are too large to be reads, with names.

    References
    ----------
    XIST and Y genes: Tukiainen 2017, doi:10.1038/nature24265; Skaletsky 2003, doi:10.1038/nature01722.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.simulate_cohort(n_cells=600)
    >>> table = pm.bulk.quality_control(cohort, batch="batch", condition="response")
    >>> int((table["qc_reason"] != "").sum())
    0
    """
    cohort = checks.bulk_of(cohort)
    if not copy:
        checks.not_a_view(cohort)
    counts = dense_counts(cohort)
    if cohort.n_obs < FEWEST_SAMPLES:
        raise DataError(
            f"{cohort.n_obs} samples: whether one is odd shows among {FEWEST_SAMPLES} or more only."
        )
    columns = [name for name in (batch, condition) if name is not None]
    for name, argument in ((batch, "batch"), (condition, "condition")):
        if name is not None:
            checks.obs_column(cohort, name, argument=argument)
    warn_of_coverage(counts, cohort.obs_names)
    if copy:
        cohort = cohort.copy()

    log = log_cpm(counts, median_of_ratios(counts))
    table = _measures(counts, cohort.obs_names)
    table["median_correlation"] = _median_correlation(log[:, (counts > 0).mean(axis=0) > 0.5])
    cohort.obsm[keys.PCA], share = _components(log, ~cohort.var_names.isin(_sex_genes()))
    table["pca_distance"] = _distance(cohort.obsm[keys.PCA])
    expressed = _expressed_sex(log, cohort.var_names)
    if expressed is not None:
        table["expressed_sex"] = pd.Categorical(expressed, categories=[FEMALE, MALE, UNCLEAR])
    recorded = as_text(cohort.obs[sex]) if expressed is not None and sex in cohort.obs else None
    table["qc_reason"] = _reasons(table, recorded, n_mads)
    cohort.obs[table.columns] = table
    record = {"batch": batch, "condition": condition, "n_mads": n_mads, "variance_share": share}
    record = {name: value for name, value in record.items() if value is not None}
    cohort.uns.setdefault(keys.RECORD, {})["quality_control"] = record
    if columns:
        record["associations"] = pc_associations(cohort, columns)
    return (table, cohort) if copy else table


def pc_associations(cohort: AnnData, columns: list[str]) -> pd.DataFrame:
    """How much of each principal component a column of obs explains: whether the batch leads, or biology.

    Parameters
    ----------
    cohort : patients × genes after :func:`quality_control`.
    columns : of obs, labels or numbers.

    Returns
    -------
    DataFrame
        One row per column and component: ``variable``, ``component`` ("PC1" …), ``variance_share`` (of the
        component), ``r2`` (of a linear model of the component on the column), ``pvalue`` (its F test). Rows
        with component "all" have the variance over these components that the column explains, and no
        p-value. Two columns that go together explain the same variance twice.

    Raises
    ------
    DataError
        When quality control was not run, or a column is absent or has missing values.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.simulate_cohort(n_cells=600)
    >>> table = pm.bulk.quality_control(cohort)
    >>> pm.bulk.pc_associations(cohort, ["batch", "age"])["variable"].unique().tolist()
    ['batch', 'age']
    """
    from scipy.stats import f

    cohort = checks.bulk_of(cohort)
    record = cohort.uns.get(keys.RECORD, {}).get("quality_control")
    if record is None or keys.PCA not in cohort.obsm:
        raise DataError("there are no principal components. Run pm.bulk.quality_control(cohort) first.")
    points, share = cohort.obsm[keys.PCA], np.asarray(record["variance_share"])
    total = (points - points.mean(axis=0)) ** 2
    rows = []
    for name in columns:
        predictors = _predictors(checks.obs_column(cohort, name, argument="columns"))
        fitted = predictors @ np.linalg.lstsq(predictors, points, rcond=None)[0]
        r2 = 1 - ((points - fitted) ** 2).sum(axis=0) / total.sum(axis=0)
        df, rest = predictors.shape[1] - 1, len(points) - predictors.shape[1]
        pvalue = f.sf(r2 / df / ((1 - r2) / rest), df, rest) if df and rest else np.full(len(r2), np.nan)
        for i in range(len(r2)):
            rows.append((name, f"PC{i + 1}", share[i], r2[i], pvalue[i]))
        rows.append((name, "all", share.sum(), (share * r2).sum() / share.sum(), np.nan))
    return pd.DataFrame(rows, columns=["variable", "component", "variance_share", "r2", "pvalue"])


def _predictors(values: pd.Series) -> np.ndarray:
    """Intercept and the column: a number as it is, labels as indicators."""
    numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    if not numeric:
        values = pd.get_dummies(as_text(values), drop_first=True)
    return np.column_stack([np.ones(len(values)), values]).astype(float)


def _measures(counts: np.ndarray, names: pd.Index) -> pd.DataFrame:
    size = counts.sum(axis=1, dtype=float)
    n_top = min(TOP_GENES, counts.shape[1])
    top = np.partition(counts, -n_top, axis=1)[:, -n_top:].sum(axis=1, dtype=float)
    measures = {"library_size": size, "n_genes": np.count_nonzero(counts, axis=1), "top_50_share": top / size}
    return pd.DataFrame(measures, index=names)


def _median_correlation(log: np.ndarray) -> np.ndarray:
    if log.shape[1] < FEWEST_GENES:
        return np.full(len(log), np.nan)
    with np.errstate(invalid="ignore"):  # a sample without spread correlates with none: NaN
        correlation = np.corrcoef(log)
    np.fill_diagonal(correlation, np.nan)
    return pd.DataFrame(correlation).median(axis=1).to_numpy()


def _components(log: np.ndarray, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Principal components of the most variable genes, and their shares of the variance."""
    from threadpoolctl import threadpool_limits

    variance = np.where(usable, log.var(axis=0), -1)
    chosen = np.argsort(-variance, kind="stable")[:PCA_GENES]
    centred = log[:, chosen] - log[:, chosen].mean(axis=0)
    with threadpool_limits(1):  # so small a matrix takes longer when threads share it
        u, s, vt = np.linalg.svd(centred, full_matrices=False)
    n = min(N_COMPONENTS, len(log) - 1, len(s))
    # Signs are arbitrary: the largest loading is made positive, so that a figure is the same next time.
    sign = np.sign(vt[np.arange(n), np.abs(vt[:n]).argmax(axis=1)])
    return u[:, :n] * s[:n] * sign, s[:n] ** 2 / (s**2).sum()


def _robust_z(values: np.ndarray) -> np.ndarray:
    centred = values - np.median(values, axis=0)
    spread = MAD_TO_SD * np.median(np.abs(centred), axis=0)
    return np.divide(centred, spread, where=spread > 0, out=np.zeros_like(centred))


def _distance(points: np.ndarray) -> np.ndarray:
    return np.sqrt((_robust_z(points[:, :LEADING]) ** 2).mean(axis=1))


def _sex_genes() -> list[str]:
    return gene_sets.read_gmt("core")["SEX_GENES"]


def _expressed_sex(log: np.ndarray, names: pd.Index) -> np.ndarray | None:
    """The sex that XIST and the genes of the Y chromosome say, if both are measured."""
    y_genes = names.isin([name for name in _sex_genes() if name != "XIST"])
    if "XIST" not in names or not y_genes.any():
        return None
    # The median: a few genes of the Y chromosome have near twins on the X, or are silent in most tissues.
    difference = np.median(log[:, y_genes], axis=1) - log[:, names == "XIST"][:, 0]
    return np.where(difference > CLEAR_SEX, MALE, np.where(difference < -CLEAR_SEX, FEMALE, UNCLEAR))


def _reasons(table: pd.DataFrame, recorded: pd.Series | None, n_mads: float) -> pd.Categorical:
    """What is odd about each sample, joined by ";"."""
    hit = pd.DataFrame(False, index=table.index, columns=list(REASONS))
    hit["few_counts"] = _robust_z(np.log(table["library_size"].to_numpy())) < -n_mads
    hit["few_genes"] = _robust_z(table["n_genes"].to_numpy(float)) < -n_mads
    hit["dominated"] = _robust_z(table["top_50_share"].to_numpy()) > n_mads
    known = table["median_correlation"].notna()
    if known.any():
        # Fisher's z: correlations near one are skewed; those of equal samples are one.
        fisher = np.arctanh(table["median_correlation"][known].clip(-CLOSEST, CLOSEST).to_numpy())
        hit.loc[known, "low_correlation"] = _robust_z(fisher) < -n_mads
    hit["far_in_pca"] = table["pca_distance"] > n_mads
    if recorded is not None:
        known = recorded.str.lower().map(SEX_LABELS)
        clear = table["expressed_sex"].isin([FEMALE, MALE]) & known.notna()
        hit["sex_mismatch"] = clear & (table["expressed_sex"].astype(str) != known)
        if hit["sex_mismatch"].any():
            names = list(table.index[hit["sex_mismatch"]])
            warnings.warn(
                f"{len(names)} samples express the genes of the other sex than is on record: {names[:5]}. "
                "Were samples swapped? If so, their other labels are those of somebody else, too.",
                PmLabWarning,
                stacklevel=3,
            )
    return pd.Categorical([";".join(hit.columns[row]) for row in hit.to_numpy()])
