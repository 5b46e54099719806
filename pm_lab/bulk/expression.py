"""Which genes differ between groups of patients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab import checks
from pm_lab.design import design_report, fit_deseq2, in_contrast, level_name, with_categories
from pm_lab.errors import DataError

from .coverage import warn_of_coverage
from .linear_models import fit_voom
from .normalization import dense_counts, median_of_ratios

if TYPE_CHECKING:
    from anndata import AnnData

METHODS = ("auto", "deseq2", "voom")
LARGE_COHORT = 200  # samples above which method="auto" takes voom
# edgeR's filterByExpr: in groups above LARGE_GROUP samples, the rest counts for LARGE_SHARE only.
LARGE_GROUP, LARGE_SHARE, LEAST_TOTAL = 10, 0.7, 15


def differential_expression(
    cohort: AnnData,
    design: str = "~ batch + age + response",
    contrast: tuple[str, str, str] = ("response", "yes", "no"),
    shrink: bool = True,
    method: str = "auto",
    min_count: float = 10.0,
    patient_key: str = "patient",
    n_jobs: int | None = None,
) -> pd.DataFrame:
    """Test each gene between two groups of patients, given what else differs between them.

    Before anything is fitted, :func:`pm_lab.design.design_report` refuses designs that cannot answer, and
    genes too low to tell are left out as edgeR's ``filterByExpr`` does: a gene stays when its counts per
    million reach those that ``min_count`` reads are in the median library, in as many samples as the smaller
    group has (above 10, 70 % of the rest), and it has 15 reads in all. Size factors come from all genes.

    Parameters
    ----------
    cohort : patients × genes with raw counts in ``layers["counts"]`` or ``X``; a Cohort's ``bulk``.
    design : formula of obs columns, numbers and labels mixed: ``"~ batch + age + response"``. A paired study
        names the patient: ``"~ patient + condition"``, also where patients are numbered. Put what differs
        between the groups for other reasons (batch, age) into it.
    contrast : (factor, level, reference); positive log2 fold change is higher in ``level``. Samples of a
        third level are left out before anything is estimated, and counted in ``attrs``.
    shrink : add fold changes shrunken towards zero where the data say little, for ranking and plotting by
        size. The raw ones and the p-values stay as they are.
    method : ``"deseq2"`` (pydeseq2's negative binomial model), ``"voom"`` (limma's linear model of log2 CPM
        with precision weights, TMM library sizes), or ``"auto"``: voom above 200 samples, where both give
        the same answer (on the built-in cohort log2 fold changes correlate .99 and more) and voom is faster.
        ``attrs["method"]`` says which it was.
    min_count : reads in the median library below which a gene is left out; 0 keeps every gene with counts.
    patient_key : obs column of patients, if there is one: no patient may be on both sides unpaired. Without
        it each row is a patient.
    n_jobs : threads that share the genes in DESeq2; by default as many as the container has cores. No
        process is started, so none is left behind.

    Returns
    -------
    DataFrame
        Indexed by ``gene`` in the order of the cohort: ``base_mean`` (mean of normalised counts),
        ``log2_fold_change``, ``lfc_se``, ``stat`` (Wald's z; with voom the moderated t), ``pvalue``, ``padj``
        (Benjamini-Hochberg); with ``shrink`` also ``shrunken_log2_fold_change`` and ``shrunken_lfc_se``.
        With DESeq2 ``pvalue`` is NaN where a count outlier was found (Cook's distance), and ``padj`` also
        where independent filtering dropped the gene. ``attrs``: ``method``, ``design`` (the report),
        ``left_out`` (what, how many, why), ``genes_left_out`` (their names), ``warnings`` (what pydeseq2
        said).

    Raises
    ------
    DataError
        No raw counts (negative, fractions, logged), a sample without counts, a gene twice, a missing column
        or value, an unknown method.
    DesignError
        See :func:`pm_lab.design.design_report`.

    Warns
    -----
    PmLabWarning
        Libraries above 500 million, which cannot be reads, and what
        :func:`pm_lab.design.design_report` warns of.

    Notes
    -----
    Against R's DESeq2 on airway (8 samples, 3 residual degrees of freedom; 11 genes printed in R's
    vignettes): base means are equal, log2 fold changes of the strongest genes differ by less than .0005,
    standard errors by -2.5 to 0 %. Those of plain pydeseq2 differ by -12 to +11 %, and by +57 % where one
    side has no counts. Three differences are known and mended as R does it: R floors fitted means at half a
    count in the standard error (here always); and, at 3 residual degrees of freedom or fewer, R's
    prior on dispersions comes from their whole distribution (pydeseq2: from its median absolute deviation)
    and its trend leaves out genes without dispersion. What remains, up to 2.5 %, is not explained. Above 3
    residual degrees of freedom trend and prior are pydeseq2's own, and were not compared with R's.

    Voom's shrunken fold changes have the same Cauchy prior, on a normal likelihood of the estimate.

    References
    ----------
    DESeq2: Love 2014, doi:10.1186/s13059-014-0550-8. voom: Law 2014, doi:10.1186/gb-2014-15-2-r29. Filter:
    Chen 2016, doi:10.12688/f1000research.8987.2.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.simulate_cohort(n_cells=600)
    >>> results = pm.bulk.differential_expression(cohort)
    >>> bool((results["padj"] < 0.05).sum() > 100)
    True
    """
    if method not in METHODS:
        raise DataError(f"method={method!r}: choose one of {METHODS}.")
    cohort = checks.bulk_of(cohort)
    counts = dense_counts(cohort)
    report = design_report(cohort.obs, design, contrast, patient_key)
    inside = in_contrast(cohort.obs, contrast)
    obs, counts = with_categories(cohort.obs[inside], design, patient_key), counts[inside]
    warn_of_coverage(counts, obs.index)

    kept = _expressed(counts, min(report.groups.values()), min_count)
    if kept.sum() < 2:
        raise DataError(
            f"{int(kept.sum())} of {len(kept):,} genes have enough counts to test. Is this the right layer? "
            f"If so, lower min_count={min_count:g}."
        )
    table = pd.DataFrame(counts[:, kept].astype(np.int64), obs.index, cohort.var_names[kept])
    factors = pd.Series(median_of_ratios(counts), obs.index)
    if method == "auto":
        method = "voom" if len(obs) > LARGE_COHORT else "deseq2"
    if method == "voom":
        results = fit_voom(table, obs, design, contrast, factors, shrink)
    else:
        results = fit_deseq2(table, obs, design, contrast, shrink, factors, n_jobs or -1)
    results.attrs = {
        "method": method,
        "contrast": [contrast[0], *map(level_name, contrast[1:])],
        "design": report.record(),
        "left_out": _left_out(counts, kept, report.left_out, contrast, min_count),
        "genes_left_out": list(cohort.var_names[~kept]),
        "warnings": results.attrs.get("warnings", []),
    }
    return results


def _expressed(counts: np.ndarray, smallest_group: int, min_count: float) -> np.ndarray:
    """Mask over genes of edgeR's filterByExpr."""
    total = counts.sum(axis=0, dtype=float)
    if min_count <= 0:
        return total > 0
    enough = smallest_group
    if smallest_group > LARGE_GROUP:
        enough = LARGE_GROUP + LARGE_SHARE * (smallest_group - LARGE_GROUP)
    size = counts.sum(axis=1, dtype=float)
    reached = counts / size[:, None] >= min_count / np.median(size)
    return (reached.sum(axis=0) >= enough - 1e-9) & (total >= LEAST_TOTAL)


def _left_out(counts, kept, n_samples: int, contrast, min_count: float) -> list[dict]:
    """What was left out, how many, why; only what is."""
    silent = counts.sum(axis=0) == 0
    rows = [
        ("samples", n_samples, f"{contrast[0]} is neither {contrast[1]!r} nor {contrast[2]!r}"),
        ("genes", int(silent.sum()), "no count at all"),
        ("genes", int((~kept & ~silent).sum()), f"fewer than about {min_count:g} counts in too many samples"),
    ]
    return [{"what": what, "n": n, "why": why} for what, n, why in rows if n]


def top_table(
    results: pd.DataFrame, n: int = 20, padj: float = 0.05, min_log2_fold_change: float = 0.0
) -> pd.DataFrame:
    """The genes that pass, by p-value, rounded for reading.

    Parameters
    ----------
    results : of :func:`differential_expression`.
    n : rows at most.
    padj : adjusted p-values below this pass.
    min_log2_fold_change : raw fold changes of at least this size pass. It is a filter on the estimate, not a
        test that the true change is as large.

    Returns
    -------
    DataFrame
        By gene: ``direction`` ("higher in yes", "lower in yes"), ``base_mean``, ``log2_fold_change``,
        ``shrunken_log2_fold_change`` if there, ``lfc_se``, ``pvalue``, ``padj``. ``attrs``: ``n_passed``,
        ``n_tested`` (genes with an adjusted p-value).

    Raises
    ------
    DataError
        When ``results`` lacks a column, or n is below 1.

    Examples
    --------
    >>> import pm_lab as pm
    >>> results = pm.bulk.differential_expression(pm.datasets.simulate_cohort(n_cells=600))
    >>> len(pm.bulk.top_table(results, n=5))
    5
    """
    check_results(results)
    if n < 1:
        raise DataError(f"n={n!r}: ask for one row at least.")
    passed = results[(results["padj"] < padj) & (results["log2_fold_change"].abs() >= min_log2_fold_change)]
    table = passed.sort_values("pvalue").head(n)
    level = results.attrs["contrast"][1] if "contrast" in results.attrs else "the first level"
    shown = pd.DataFrame({"direction": np.where(table["log2_fold_change"] > 0, "higher in ", "lower in ")})
    shown.index = table.index
    shown["direction"] += level
    shown["base_mean"] = table["base_mean"].round(1)
    for name in ("log2_fold_change", "shrunken_log2_fold_change", "lfc_se"):
        if name in table:
            shown[name] = table[name].round(2)
    for name in ("pvalue", "padj"):
        shown[name] = [float(f"{value:.2g}") for value in table[name]]
    shown.attrs = {"n_passed": len(passed), "n_tested": int(results["padj"].notna().sum())}
    return shown


def check_results(results: pd.DataFrame) -> None:
    """Refuse a table that does not come from a test of genes."""
    needed = ["base_mean", "log2_fold_change", "lfc_se", "pvalue", "padj"]
    absent = [name for name in needed if name not in results]
    if absent:
        raise DataError(
            f"results has no column {absent}. Pass what pm.bulk.differential_expression returned, indexed by "
            "gene."
        )
