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


def as_text(values: pd.Series) -> pd.Series:
    """Labels as text, so that 1, 1.0 and "1" are one level. Missing values stay missing."""
    if pd.api.types.is_float_dtype(values) and (values.dropna() % 1 == 0).all():
        values = values.astype("Int64")
    return values.astype(object).where(values.notna()).map(str, na_action="ignore")


def level_name(level) -> str:
    """The text under which ``as_text`` writes a level."""
    return as_text(pd.Series([level])).iloc[0]


def with_categories(obs: pd.DataFrame, design: str, *labels: str) -> pd.DataFrame:
    """A copy of obs in which columns that name things are text, also where they are written as numbers.

    These are the columns given (patient, condition) and those of the design that are no numbers or whose
    name says batch: a number would enter the model as one slope.
    """
    obs = obs.copy()
    for name in {*labels, *variables(design)} & set(obs.columns):
        numeric = pd.api.types.is_numeric_dtype(obs[name]) and not pd.api.types.is_bool_dtype(obs[name])
        if name in labels or not numeric or _names_a_batch(name):
            obs[name] = as_text(obs[name])
    return obs


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
            f"design={design!r} uses {absent}, which obs does not have. It has: {list(obs.columns)}. "
            "Functions such as C(batch) or log(age) are not understood: make the column in obs and name it."
        )
    if factor not in columns:
        raise DesignError(f"contrast is about {factor!r}, which design={design!r} does not contain. Add it.")
    levels = list(as_text(obs[factor]).dropna().unique())
    for name in (level, reference):
        if level_name(name) not in levels:
            raise DesignError(f"obs[{factor!r}] has no level {name!r}. Its levels are {sorted(levels)}.")
    if level_name(level) == level_name(reference):
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


def model_matrix(obs: pd.DataFrame, design: str, factor: str) -> pd.DataFrame:
    """The design matrix (samples × coefficients), refused when its columns cannot be told apart.

    The message names a term to drop other than ``factor``, the condition; when that is a function of
    another column, e.g. each batch holds one condition only, no software can separate the two.
    """
    from formulaic import model_matrix as build

    matrix = pd.DataFrame(build(design, obs))
    rank = np.linalg.matrix_rank(matrix.to_numpy(float))
    if rank < matrix.shape[1]:
        raise DesignError(_why_rank_deficient(obs, design, factor, matrix.shape[1], rank))
    if len(matrix) <= rank:
        raise DesignError(
            f"design={design!r} has {rank} coefficients for {len(matrix)} samples: nothing is left to "
            "estimate the variance from. Drop terms or add patients."
        )
    return matrix


def _why_rank_deficient(obs: pd.DataFrame, design: str, factor: str, n_columns: int, rank: int) -> str:
    others = [name for name in variables(design) if name != factor]
    for name in others:
        if _is_nested(obs, factor, name):
            return (
                f"{name!r} fixes {factor!r} (each {name} has one value of {factor} only), so their effects "
                f"cannot be told apart in design={design!r}. Drop {name!r} and say that the comparison is "
                "confounded with it, or bring samples that break the tie."
            )
    for name in others:
        for finer in others:
            if finer != name and _is_nested(obs, name, finer):
                return (
                    f"{finer!r} fixes {name!r}, so design={design!r} says the same twice. Drop {name!r}: "
                    f"{finer!r} holds all of it."
                )
    return (
        f"design={design!r} has {n_columns} coefficients of which only {rank} can be estimated: some "
        f"terms repeat each other. Drop one of {others}."
    )


def _is_nested(obs: pd.DataFrame, coarse: str, fine: str) -> bool:
    """Whether each value of a category ``fine`` has one value of a category ``coarse``."""
    if any(pd.api.types.is_float_dtype(obs[name]) for name in (coarse, fine)):
        return False
    return obs.groupby(fine, observed=True)[coarse].nunique().max() == 1


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
    if paired and not both:
        raise DesignError(
            f"No patient has samples of both {level!r} and {reference!r}{where}, so there are no pairs: drop "
            f"{patient_key!r} from the design if {factor} does not vary within patients."
        )
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


BATCH_WORDS = {"batch", "run", "plate", "lane", "site", "centre", "center", "library", "chip", "pool"}
BATCH_WORDS |= {"flowcell", "hospital", "dataset", "technician", "capture"}


def _names_a_batch(column: str) -> bool:
    """Whether a column's name has a word for where or when samples were processed: "seq_run", "batchId"."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", str(column).replace("flow_cell", "flowcell"))
    return not BATCH_WORDS.isdisjoint(word.lower() for word in words)


def check_batch(obs: pd.DataFrame, factor: str, patient_key: str) -> None:
    """Refuse when a column named like a batch equals the condition, in the design or not.

    Several batches within each condition are warned of: their differences add to those between
    conditions. A column with a value for each patient (a library each) is no batch.
    """
    for name in obs.columns:
        if name in (factor, patient_key) or not _names_a_batch(name) or obs[name].nunique() < 2:
            continue
        if obs.groupby(name, observed=True)[patient_key].nunique().max() == 1:
            continue
        if not _is_nested(obs, factor, name):
            continue
        if obs[name].nunique() == obs[factor].nunique():
            raise DesignError(
                f"{factor!r} equals {name!r}: each value of obs[{name!r}] holds one value of {factor} only, "
                "so any difference may be the batch. No model can separate them; it takes samples that break "
                f"the tie. If {name!r} is no batch, rename or drop the column."
            )
        warnings.warn(
            f"Each value of obs[{name!r}] holds one value of {factor!r} only: differences between them add "
            "to the difference tested, and the p-values do not know of it.",
            PmLabWarning,
            stacklevel=3,
        )


def check_patients(obs: pd.DataFrame, patient_key: str) -> None:
    """Refuse a column of patients that names cells: cells of one patient are not independent."""
    n_patients = obs[patient_key].nunique()
    if n_patients > 0.5 * len(obs):
        raise DesignError(
            f"obs[{patient_key!r}] has {n_patients:,} values for {len(obs):,} cells: it names cells, not "
            "patients. Cells of one patient are not independent; pass the column of patients as patient_key."
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
    ``attrs["warnings"]``: what pydeseq2 had to say, such as a dispersion trend that did not converge.

    References
    ----------
    Love 2014, doi:10.1186/s13059-014-0550-8; pydeseq2: Muzellec 2023, doi:10.1093/bioinformatics/btad547.
    """
    from pydeseq2.dds import DeseqDataSet
    from pydeseq2.default_inference import DefaultInference
    from pydeseq2.ds import DeseqStats
    from threadpoolctl import threadpool_limits

    factor, level, reference = contrast
    table = with_categories(obs[variables(design)], design, factor)
    for name in table.select_dtypes("number"):
        # DESeq2's optimiser wants covariates of order one; the contrast does not change.
        table[name] = (table[name] - table[name].mean()) / table[name].std()
    inference = DefaultInference(n_cpus=1)
    # Thousands of tiny regressions: more than one linear-algebra thread only gets in the way.
    with warnings.catch_warnings(record=True) as caught, threadpool_limits(1):
        warnings.simplefilter("always")
        fitted = DeseqDataSet(counts=counts, metadata=table, design=design, inference=inference, quiet=True)
        fitted.deseq2()
        levels = [level_name(level), level_name(reference)]
        stats = DeseqStats(fitted, contrast=[factor, *levels], inference=inference, quiet=True)
        stats.summary()
    results = stats.results_df.set_axis(RESULT_COLUMNS, axis=1).rename_axis("gene")
    results.attrs["warnings"] = sorted({str(w.message) for w in caught if w.category is UserWarning})
    return results


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
