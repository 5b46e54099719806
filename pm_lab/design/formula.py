"""Formula, contrast and design matrix, and the checks that they must pass."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from pm_lab.errors import DataError, DesignError


def variables(design: str) -> list[str]:
    """Column names that a formula such as ``"~ batch + age + response"`` uses, in order."""
    return list(dict.fromkeys(name for term in _terms(design) for name in term))


def _terms(design: str) -> list[list[str]]:
    """Column names of each term; an interaction has several."""
    from formulaic import Formula

    try:
        formula = Formula(design)
    except Exception as error:
        said = " ".join(re.sub(TERMINAL_CODES, "", str(error)).split())
        raise DesignError(
            f"design={design!r} is not a formula ({said}). Write it as '~ batch + response', and put names "
            "with spaces in backticks: '~ `age at diagnosis` + response'."
        ) from None
    if hasattr(formula, "lhs"):
        raise DesignError(
            f"design={design!r} has a left-hand side. Write only the right one: '~ batch + response'."
        )
    return [[str(factor.expr) for factor in term.factors if factor.expr != "1"] for term in formula]


TERMINAL_CODES = "\x1b\\[[0-9;]*m|[⧛⧚]"  # colours, and the marks with which formulaic shows the place


def as_text(values: pd.Series) -> pd.Series:
    """Labels as text, so that 1, 1.0 and "1" are one level. Missing values stay missing."""
    return values.astype(object).where(values.notna()).map(level_name, na_action="ignore")


def level_name(level) -> str:
    """The text under which ``as_text`` writes a level."""
    whole = isinstance(level, float | np.floating) and np.isfinite(level) and level % 1 == 0
    return str(int(level)) if whole else str(level)


def with_categories(obs: pd.DataFrame, design: str, *labels: str) -> pd.DataFrame:
    """A copy of obs in which columns that name things are text, also where they are written as numbers.

    These are the columns given (patient, condition) and those of the design that are no numbers or whose
    name says batch or patient: a number would enter the model as one slope.
    """
    obs = obs.copy()
    for name in {*labels, *variables(design)} & set(obs.columns):
        numeric = pd.api.types.is_numeric_dtype(obs[name]) and not pd.api.types.is_bool_dtype(obs[name])
        if name in labels or not numeric or names_a_batch(name) or names_a_patient(name):
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
    _refuse_interaction(design, factor)
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
        if pd.api.types.is_float_dtype(obs[name]) and np.isinf(obs[name]).any():
            raise DataError(f"obs[{name!r}] holds infinite values. Mend them, or leave these samples out.")
        if obs[name].nunique() < 2:
            raise DesignError(
                f"obs[{name!r}] has one value only ({obs[name].iloc[0]!r}): drop it from design={design!r}."
            )


def _refuse_interaction(design: str, factor: str) -> None:
    for term in _terms(design):
        if factor in term and len(term) > 1:
            raise DesignError(
                f"design={design!r}: {factor!r} interacts ({':'.join(term)}), so it has no single effect to "
                "test. Fit each group apart, or make one column that combines them "
                f"({'_'.join(term)!r}) and contrast two of its values."
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


def model_table(obs: pd.DataFrame, design: str, contrast: tuple[str, str, str]) -> pd.DataFrame:
    """The columns of the design as the models take them: the reference level first, numbers standardised.

    DESeq2's optimiser wants covariates of order one; the contrast does not change.
    """
    factor, level, reference = contrast
    table = with_categories(obs[variables(design)], design, factor)
    for name in table.select_dtypes("number"):
        table[name] = (table[name] - table[name].mean()) / table[name].std()
    first = [level_name(reference), level_name(level)]
    others = sorted(set(table[factor]) - set(first))
    table[factor] = pd.Categorical(table[factor], categories=first + others)
    return table


def contrast_vector(table: pd.DataFrame, design: str, contrast: tuple[str, str, str]) -> pd.Series:
    """Weights of the coefficients that make up the contrast, ``table`` being a :func:`model_table`."""
    from formulaic import model_matrix as build

    factor, *levels = contrast
    spec = build(design, table).model_spec
    sides = table.iloc[[0, 0]].reset_index(drop=True)
    for name in table.columns:
        sides[name] = 0.0 if pd.api.types.is_numeric_dtype(table[name]) else min(table[name])
    sides[factor] = pd.Categorical(list(map(level_name, levels)), categories=table[factor].cat.categories)
    rows = pd.DataFrame(spec.get_model_matrix(sides))
    return rows.iloc[0] - rows.iloc[1]


def _why_rank_deficient(obs: pd.DataFrame, design: str, factor: str, n_columns: int, rank: int) -> str:
    others = [name for name in variables(design) if name != factor]
    for name in others:
        if is_nested(obs, factor, name):
            return (
                f"{name!r} fixes {factor!r} (each {name} has one value of {factor} only), so their effects "
                f"cannot be told apart in design={design!r}. Drop {name!r} and say that the comparison is "
                "confounded with it, or bring samples that break the tie."
            )
    for name in others:
        for finer in others:
            if finer != name and is_nested(obs, name, finer):
                return (
                    f"{finer!r} fixes {name!r}, so design={design!r} says the same twice. Drop {name!r}: "
                    f"{finer!r} holds all of it."
                )
    return (
        f"design={design!r} has {n_columns} coefficients of which only {rank} can be estimated: some "
        f"terms repeat each other. Drop one of {others}."
    )


def is_nested(obs: pd.DataFrame, coarse: str, fine: str) -> bool:
    """Whether each value of a category ``fine`` has one value of a category ``coarse``."""
    if any(pd.api.types.is_float_dtype(obs[name]) for name in (coarse, fine)):
        return False
    return obs.groupby(fine, observed=True)[coarse].nunique().max() == 1


BATCH_WORDS = {"batch", "run", "plate", "lane", "site", "centre", "center", "library", "chip", "pool"}
BATCH_WORDS |= {"flowcell", "hospital", "dataset", "technician", "capture"}


def names_a_batch(column: str) -> bool:
    """Whether a column's name has a word for where or when samples were processed: "seq_run", "batchId"."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", str(column).replace("flow_cell", "flowcell"))
    return not BATCH_WORDS.isdisjoint(word.lower() for word in words)


PATIENT_NAME = "(patient|donor|subject|participant|individual|person|pair)([ _.-]?(id|no|nr|number))?"


def names_a_patient(column: str) -> bool:
    """Whether a column's name says that its values are patients: "donor", "Patient ID", not "patient_age"."""
    return re.fullmatch(PATIENT_NAME, str(column), re.IGNORECASE) is not None
