"""Formula, contrast, the checks a design must pass, and the one DESeq2 fit that every analysis shares."""

from __future__ import annotations

import os
import re
import warnings

import numpy as np
import pandas as pd

from pm_lab.errors import DataError, DesignError, PmLabWarning

RESULT_COLUMNS = ["base_mean", "log2_fold_change", "lfc_se", "stat", "pvalue", "padj"]


def variables(design: str) -> list[str]:
    """Column names that a formula such as ``"~ batch + age + response"`` uses, in order."""
    from formulaic import Formula

    try:
        formula = Formula(design)
    except Exception as error:
        raise DesignError(
            f"design={design!r} is not a formula ({error}). Write it as '~ batch + response'."
        ) from None
    if hasattr(formula, "lhs"):
        raise DesignError(
            f"design={design!r} has a left-hand side. Write only the right one: '~ batch + response'."
        )
    order = [str(factor.expr) for term in formula for factor in term.factors if factor.expr != "1"]
    return list(dict.fromkeys(order))


def check_contrast(obs: pd.DataFrame, design: str, contrast: tuple[str, str, str]) -> None:
    """Refuse a contrast whose factor or levels are not in the design, naming what there is."""
    if isinstance(contrast, str) or len(contrast) != 3:
        raise DesignError(
            f"contrast={contrast!r}: give (factor, level, reference), e.g. ('response', 'yes', 'no')."
        )
    factor, level, reference = contrast
    columns = variables(design)
    absent = [name for name in columns if name not in obs]
    if absent:
        raise DataError(
            f"design={design!r} uses {absent}, which obs does not have. It has: {list(obs.columns)}."
        )
    if factor not in columns:
        raise DesignError(f"contrast is about {factor!r}, which design={design!r} does not contain. Add it.")
    levels = list(pd.unique(obs[factor].dropna().astype(str)))
    for name in (level, reference):
        if str(name) not in levels:
            raise DesignError(f"obs[{factor!r}] has no level {name!r}. Its levels are {sorted(levels)}.")
    if str(level) == str(reference):
        raise DesignError(f"contrast={contrast!r} compares {level!r} with itself.")
    for name in columns:
        missing = int(obs[name].isna().sum())
        if missing:
            raise DataError(
                f"obs[{name!r}] is missing for {missing} of {len(obs)} samples, e.g. "
                f"{list(obs.index[obs[name].isna()][:3])}. Fill it in, or leave these samples out knowingly."
            )
        if obs[name].nunique() < 2:
            raise DesignError(
                f"obs[{name!r}] has one value only ({obs[name].iloc[0]!r}): drop it from design={design!r}."
            )


def model_matrix(obs: pd.DataFrame, design: str) -> pd.DataFrame:
    """The design matrix (samples × coefficients), refused when its columns cannot be told apart.

    The message names a term to drop; when the condition is a function of another column, e.g. each batch
    holds one condition only, no software can separate the two.
    """
    from formulaic import model_matrix as build

    matrix = pd.DataFrame(build(design, obs))
    rank = np.linalg.matrix_rank(matrix.to_numpy(float))
    if rank < matrix.shape[1]:
        raise DesignError(_why_rank_deficient(obs, design, matrix, rank))
    if len(matrix) <= rank:
        raise DesignError(
            f"design={design!r} has {rank} coefficients for {len(matrix)} samples: nothing is left to "
            "estimate the variance from. Drop terms or add patients."
        )
    return matrix


def _why_rank_deficient(obs: pd.DataFrame, design: str, matrix: pd.DataFrame, rank: int) -> str:
    columns = variables(design)
    for one in columns:
        for other in columns:
            if one == other:
                continue
            nested = obs.groupby(other, observed=True)[one].nunique().max() == 1
            if nested and not pd.api.types.is_numeric_dtype(obs[one]):
                return (
                    f"{one!r} is fixed by {other!r} (each {other} has one value of {one} only), so their "
                    f"effects cannot be told apart in design={design!r}. Drop {other!r}, and say that the "
                    "comparison is confounded with it, or bring samples that break the tie."
                )
    return (
        f"design={design!r} has {matrix.shape[1]} coefficients of which only {rank} can be estimated: some "
        f"terms repeat each other. Drop one of {columns}."
    )


def check_replicates(
    obs: pd.DataFrame, contrast: tuple[str, str, str], patient_key: str, paired: bool, where: str = ""
) -> None:
    """Patients a side: fewer than two are refused, two are warned of; no patient on both sides unpaired.

    ``obs`` has one row per sample (patient, or patient × condition when paired).
    """
    factor, level, reference = contrast
    sides = {
        name: set(obs.loc[obs[factor].astype(str) == str(name), patient_key].astype(str))
        for name in (level, reference)
    }
    both = sides[level] & sides[reference]
    if both and not paired:
        raise DesignError(
            f"{len(both)} patients are in both {level!r} and {reference!r}{where}, e.g. {sorted(both)[:3]}. "
            "Their samples are not independent: pair them by adding the patient to the design "
            f"('~ {patient_key} + {factor}')."
        )
    counted = {name: len(both) if paired else len(side) for name, side in sides.items()}
    smallest = min(counted.values())
    described = ", ".join(f"{count} with {factor}={name!r}" for name, count in counted.items())
    if smallest < 2:
        raise DesignError(
            f"Too few patients{where}: {described}. A difference between groups needs at least two patients "
            "a side (cells are not replicates), and three or more to be of use."
        )
    if smallest < 3:
        warnings.warn(
            f"Only two patients on a side{where} ({described}): the variance between patients is all but "
            "unknown, and no claim should rest on this.",
            PmLabWarning,
            stacklevel=3,
        )


BATCH_LIKE = re.compile(
    r"(seq\w*_?)?(batch|run|plate|lane|site|centre|center|library|chip|pool)(_?id)?", re.IGNORECASE
)


def check_batch(obs: pd.DataFrame, factor: str) -> None:
    """Refuse when a column named like a batch fixes the condition, whether the design names it or not."""
    for name in obs.columns:
        if name == factor or not BATCH_LIKE.fullmatch(str(name)) or obs[name].nunique() < 2:
            continue
        if obs.groupby(name, observed=True)[factor].nunique().max() == 1:
            raise DesignError(
                f"{factor!r} equals {name!r}: each value of obs[{name!r}] holds one value of {factor} only, "
                "so any difference may be the batch. No model can separate them; it takes samples that break "
                f"the tie. If {name!r} is no batch, rename or drop the column."
            )


def fit_deseq2(
    counts: pd.DataFrame, obs: pd.DataFrame, design: str, contrast: tuple[str, str, str]
) -> pd.DataFrame:
    """Fit DESeq2 (pydeseq2) to samples × genes and test one contrast (Wald).

    Parameters
    ----------
    counts : whole-number counts, samples × genes, genes without any count already left out.
    obs : one row per sample, same index.
    design, contrast : as in ``"~ batch + response"``, ``("response", "yes", "no")``.

    Returns
    -------
    DataFrame by gene: ``base_mean, log2_fold_change, lfc_se, stat, pvalue, padj``. ``pvalue`` is NaN where
    DESeq2 found a count outlier (Cook's distance), ``padj`` also where it filtered the gene for low counts.

    References
    ----------
    Love 2014, doi:10.1186/s13059-014-0550-8; pydeseq2: Muzellec 2023, doi:10.1093/bioinformatics/btad547.
    """
    from pydeseq2.dds import DeseqDataSet
    from pydeseq2.default_inference import DefaultInference
    from pydeseq2.ds import DeseqStats
    from threadpoolctl import threadpool_limits

    columns = variables(design)
    table = obs[columns].copy()
    for name in columns:
        if not pd.api.types.is_numeric_dtype(table[name]) or pd.api.types.is_bool_dtype(table[name]):
            table[name] = table[name].astype(str)
        else:
            # DESeq2's optimiser wants covariates of order one; the contrast does not change.
            table[name] = (table[name] - table[name].mean()) / table[name].std()
    inference = DefaultInference(n_cpus=1)
    # Thousands of tiny regressions: more than one linear-algebra thread only gets in the way.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        fitted = DeseqDataSet(counts=counts, metadata=table, design=design, inference=inference, quiet=True)
        fitted.deseq2()
        factor, level, reference = contrast
        stats = DeseqStats(
            fitted, contrast=[factor, str(level), str(reference)], inference=inference, quiet=True
        )
        stats.summary()
    results = stats.results_df.set_axis(RESULT_COLUMNS, axis=1)
    return results.rename_axis("gene")


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
