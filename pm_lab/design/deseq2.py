"""The one DESeq2 fit that every analysis shares."""

from __future__ import annotations

import os
import warnings

import pandas as pd

from pm_lab.errors import DesignError

from .dispersions import FEW_DEGREES, match_prior_variance, refit_trend
from .formula import contrast_vector, model_table

RESULT_COLUMNS = ["base_mean", "log2_fold_change", "lfc_se", "stat", "pvalue", "padj"]
SHRUNKEN_COLUMNS = ["shrunken_log2_fold_change", "shrunken_lfc_se"]


def fit_deseq2(
    counts: pd.DataFrame,
    obs: pd.DataFrame,
    design: str,
    contrast: tuple[str, str, str],
    shrink: bool = False,
    size_factors: pd.Series | None = None,
    n_jobs: int = 1,
) -> pd.DataFrame:
    """Fit DESeq2 (pydeseq2) to samples × genes and test one contrast (Wald).

    Parameters
    ----------
    counts : whole-number counts, samples × genes, genes without any count already left out.
    obs : one row per sample, same index.
    design, contrast : as in ``"~ batch + response"``, ``("response", "yes", "no")``.
    shrink : add the fold change shrunken with an apeGLM prior, and its posterior standard deviation. The
        raw fold change stays as it is.
    size_factors : by sample; by default median of ratios of these counts.
    n_jobs : threads that share the genes. No process is started.

    Returns
    -------
    DataFrame by gene: ``base_mean, log2_fold_change, lfc_se, stat, pvalue, padj``, with ``shrink`` also
    ``shrunken_log2_fold_change, shrunken_lfc_se``. ``pvalue`` is NaN where DESeq2 found a count outlier
    (Cook's distance), ``padj`` also where it filtered the gene for low counts.
    ``attrs["warnings"]``: what pydeseq2 had to say, such as a dispersion trend that did not converge.

    References
    ----------
    Love 2014, doi:10.1186/s13059-014-0550-8; pydeseq2: Muzellec 2023, doi:10.1093/bioinformatics/btad547;
    apeGLM: Zhu 2019, doi:10.1093/bioinformatics/bty895.
    """
    from pydeseq2.dds import DeseqDataSet
    from pydeseq2.ds import DeseqStats
    from threadpoolctl import threadpool_limits

    from .negative_binomial import BatchedInference

    table = model_table(obs, design, contrast)
    weights = contrast_vector(table, design, contrast)
    inference = BatchedInference(n_jobs)
    # Thousands of tiny regressions: more than one linear-algebra thread only gets in the way.
    with warnings.catch_warnings(record=True) as caught, threadpool_limits(1):
        warnings.simplefilter("always")
        fitted = DeseqDataSet(counts=counts, metadata=table, design=design, inference=inference, quiet=True)
        _fit_steps(fitted, size_factors)
        stats = DeseqStats(fitted, contrast=weights.to_numpy(), inference=inference, quiet=True)
        stats.summary()
        results = stats.results_df.set_axis(RESULT_COLUMNS, axis=1).rename_axis("gene")
        if shrink:
            stats.results_df = stats.results_df.copy()  # lfc_shrink writes into it
            stats.lfc_shrink(_one_coefficient(weights, design))
            shrunken = stats.results_df[["log2FoldChange", "lfcSE"]].set_axis(SHRUNKEN_COLUMNS, axis=1)
            results = results.join(shrunken)
    said = {str(w.message) for w in caught if w.category is UserWarning}
    results.attrs["warnings"] = sorted(text for text in said if "residual degrees" not in text)
    return results


def _fit_steps(fitted, size_factors: pd.Series | None) -> None:
    """``DeseqDataSet.deseq2`` step by step, so that size factors can be given."""
    if size_factors is None:
        fitted.fit_size_factors()
    else:
        fitted.obs["size_factors"] = size_factors
        fitted.layers["normed_counts"] = fitted.X / size_factors.to_numpy()[:, None]
        fitted.var["_normed_means"] = fitted.layers["normed_counts"].mean(axis=0)
    fitted.fit_genewise_dispersions()
    fitted.fit_dispersion_trend()
    n, p = fitted.obsm["design_matrix"].shape
    if n - p <= FEW_DEGREES:
        refit_trend(fitted)
    fitted.fit_dispersion_prior()
    if n - p <= FEW_DEGREES:
        match_prior_variance(fitted)
    fitted.fit_MAP_dispersions()
    fitted.fit_LFC()
    fitted.calculate_cooks()
    fitted.refit()
    fitted.cooks_outlier()


def _one_coefficient(weights: pd.Series, design: str) -> str:
    """The coefficient that is the contrast, which is what the apeGLM prior can be put on."""
    used = weights[weights != 0]
    if len(used) != 1 or used.iloc[0] != 1:
        raise DesignError(
            f"shrink=True: the contrast is no single coefficient of design={design!r} but "
            f"{dict(used)}. Keep the intercept in the design, or pass shrink=False."
        )
    return used.index[0]


def fit_deseq2_each(jobs: dict[str, tuple], n_jobs: int | None = None) -> dict[str, pd.DataFrame]:
    """``fit_deseq2`` for each named job; no process is left behind.

    ``n_jobs`` processes share the work: by default as many as the container has cores, and one where
    there is too little work to pay for starting them.
    """
    from joblib import Parallel, cpu_count, delayed
    from joblib.externals.loky import get_reusable_executor
    from tqdm.auto import tqdm

    if n_jobs is None:
        small = sum(counts.shape[1] for counts, *_ in jobs.values()) < 2000
        n_jobs = 1 if small else min(cpu_count(), len(jobs))
    fits = Parallel(n_jobs=n_jobs, return_as="generator")(
        delayed(fit_deseq2)(*arguments) for arguments in jobs.values()
    )
    quiet = os.environ.get("PM_LAB_PROGRESS") == "0"
    try:
        tables = list(tqdm(fits, desc="DESeq2", total=len(jobs), leave=False, disable=quiet))
    finally:
        if n_jobs > 1:
            get_reusable_executor().shutdown(wait=True)
    return {name: table.reset_index() for name, table in zip(jobs, tables, strict=True)}
