"""What a drug screen must be before anything is done with it: names, scales, units, enough lines a drug."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab import checks, keys
from pm_lab.errors import DataError, PmLabWarning

if TYPE_CHECKING:
    from anndata import AnnData

MODALITIES = (keys.COPY_NUMBER, keys.MUTATION, keys.METHYLATION)
MEASURES = ("ln_ic50", "auc")
FEWEST_LINES = 5  # of a drug: with fewer, cross-validation leaves nothing to learn or to judge
MILLION = 1e6  # TPM of a sample sum to it
SUM_SLACK = 1.1
LARGEST_LOG2 = 30.0  # log2 of TPM ends at 20, of the counts of a deep sample at 25
SMALLEST_PEAK = 6.0  # some gene of a hundred has over 63 TPM in some line
GENES_FOR_PEAK = 100
LARGEST_LN_IC50 = 20.0  # e^20 µM is 485 mol/l
LARGEST_AUC = 1.5
VALUES_FOR_A_GUESS = 50
SAME = 1e-9  # a drug whose responses differ by less is constant
GENES_FOR_SCALE = 50  # fewer say nothing of the scale of all
UNIT_OF_BASE = {"the natural logarithm (log1p)": np.log(2), "base 10": np.log10(2)}


def screen_of(screen) -> AnnData:
    """Return the AnnData of a screen: the ``screen`` of a simulated Cohort, else itself.

    Raises
    ------
    DataError
        When it is neither, such as None or a DataFrame.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.simulate_cohort(n_cells=600)
    >>> pm.drug_response.screen_of(cohort) is cohort.screen
    True
    """
    found = getattr(screen, "screen", screen)
    if not hasattr(found, "obs_names"):
        raise DataError(
            f"screen is a {type(screen).__name__}: give an AnnData of cell lines × genes, such as "
            "pm.datasets.load('gdsc1'), or make one with pm.drug_response.make_screen(responses, expression)."
        )
    return found


def check_screen(screen, min_lines: int = FEWEST_LINES, allow_constant: bool = False) -> pd.DataFrame:
    """Return the responses of a screen, or say what is wrong with it. Changes nothing.

    A screen is an AnnData of cell lines × genes: ``X`` is log2(TPM + 1), ``obs["tissue"]`` names tissues
    ("unknown" where it is), ``obsm["response"]`` is a DataFrame of lines × drugs with ln IC50 (µM), NaN where
    not tested (or areas under the curve, with ``uns["response_measure"] = "auc"``), and ``uns["drugs"]`` a
    DataFrame by drug. Further modalities, ``obsm["copy_number"]``, ``["mutation"]`` (0/1) and
    ``["methylation"]`` (0–1), are matrices whose columns ``uns["features"]`` names; a line that was not
    measured is NaN throughout.

    Parameters
    ----------
    screen : the AnnData, or a simulated Cohort.
    min_lines : the fewest lines that a drug may have been measured on. 1 for the training part of a split.
    allow_constant : whether a drug may have the same value on all of its lines, as in a part of a split.

    Returns
    -------
    DataFrame, lines × drugs, float; ``obsm["response"]`` itself where its numbers are float64 already.

    Raises
    ------
    DataError
        Lines, genes or drugs occur twice; NaN or negative expression; counts, TPM without a logarithm,
        another base or two logarithms; no or non-numeric responses; IC50 without a logarithm, areas given as
        ln IC50; constant drugs or drugs on fewer than ``min_lines`` lines; a drug without a row in the drug
        table; a line under two names; lines without expression that are in the screen too or do not fit it;
        modalities whose names, gaps or ranges do not fit.

    Examples
    --------
    >>> import pm_lab as pm
    >>> screen = pm.datasets.simulate_cohort(n_cells=600).screen
    >>> pm.drug_response.check_screen(screen).shape
    (300, 60)
    """
    from pm_lab.drug_response.repeats import refuse_repeats

    screen = screen_of(screen)
    _refuse_repeated_lines(screen)
    checks.unique_names(screen)
    check_expression(screen)
    if keys.TISSUE in screen.obs:
        checks.obs_column(screen, keys.TISSUE)
    response = _numeric_response(screen)
    _check_units(response, screen.uns.get(keys.RESPONSE_MEASURE, "ln_ic50"))
    _check_drugs(response, screen, min_lines, allow_constant)
    refuse_repeats(screen, response)
    for name in MODALITIES:
        if name in screen.obsm:
            check_modality(screen, name)
    return response


def check_expression(adata: AnnData, rows: str = "lines") -> None:
    """Raise DataError unless ``X`` can be log2(TPM + 1) of all genes or of some.

    2^x − 1 sums to a million over all genes, and to less over some: what sums to more is no TPM, and what
    sums to a million under another base was logged to that base. ``rows`` is what the message calls them:
    "lines" or "patients".

    Examples
    --------
    >>> import pm_lab as pm
    >>> from pm_lab.drug_response.contract import check_expression
    >>> check_expression(pm.datasets.simulate_cohort(n_cells=600).screen)
    """
    if adata.X is None or 0 in adata.shape:
        raise DataError(f"the expression is empty: {adata.n_obs:,} {rows} × {adata.n_vars:,} genes.")
    problem = _wrong_values(adata, rows) or _wrong_scale(adata, rows)
    if problem:
        raise DataError(
            f"X {problem}. Expression must be log2(TPM + 1): np.log2(tpm + 1), where the TPM of all genes "
            f"of a {rows[:-1]} sum to a million."
        )


def _rows(adata: AnnData):
    """Blocks of rows, dense: a screen with all genes need not be copied at once."""
    for start in range(0, adata.n_obs, 100):
        block = adata.X[start : start + 100]
        yield np.asarray(block.toarray() if hasattr(block, "toarray") else block, dtype=np.float64)


def _wrong_values(adata: AnnData, rows: str) -> str:
    n_infinite = n_negative = 0
    largest, whole = 0.0, True
    bad_rows: list[str] = []
    for number, block in enumerate(_rows(adata)):
        infinite = ~np.isfinite(block)
        n_infinite += int(infinite.sum())
        n_negative += int((block < 0).sum())
        bad_rows += list(adata.obs_names[number * 100 + np.flatnonzero(infinite.any(axis=1))])
        largest = max(largest, float(np.nanmax(block, initial=0.0)))
        whole = whole and bool((block == block.round()).all())
    if n_infinite:
        return f"holds {n_infinite:,} NaN or infinite values, in {len(bad_rows):,} {rows} ({first(bad_rows)})"
    if n_negative:
        return f"holds {n_negative:,} negative values, as after centring, scaling or log2 without the + 1"
    if whole:
        return f"holds whole numbers only (up to {largest:,.0f}), as raw counts do"
    if largest > LARGEST_LOG2:
        return f"goes up to {largest:,.0f}, so no logarithm was taken (log2 of a million is 20)"
    if adata.n_vars >= GENES_FOR_PEAK and largest < SMALLEST_PEAK:
        return (
            f"goes up to {largest:.3g} only, over {adata.n_vars:,} genes: logged twice, to base 10, or scaled"
        )
    return ""


def _wrong_scale(adata: AnnData, rows: str) -> str:
    """What the sums of a row say of the logarithm."""
    sums = {base: [] for base in (2.0, np.e, 10.0)}
    for block in _rows(adata):
        for base, found in sums.items():
            found.append((base**block).sum(axis=1) - adata.n_vars)
    log2, *others = (np.concatenate(found) for found in sums.values())
    for sum_of_row, name in zip(others, ("the natural logarithm (log1p)", "base 10"), strict=True):
        if np.mean(np.abs(sum_of_row / MILLION - 1) < 0.05) > 0.9:
            of = f"a {rows[:-1]}"
            return f"was logged to {name}: undone with it, the values of {of} sum to a million, TPM's sum"
    over = log2 > SUM_SLACK * MILLION
    if over.any():
        return (
            f"is no TPM: 2^x - 1 sums to more than a million in {int(over.sum()):,} of {len(over):,} {rows} "
            f"({first(adata.obs_names[over])}; largest sum {log2.max():,.0f}), as logged counts and "
            "microarray intensities do"
        )
    return ""


@dataclass(frozen=True)
class ScaleLimits:
    """How far expression may be from that of the lines of training, as :func:`compare_scale` measures it."""

    spread: float  # and its inverse
    level: float  # either way
    correlation: float  # at least


# Single lines of GDSC1: spread .86 to 1.13, level -.9 to .7, correlation .78 at least.
LIMITS_OF_LINES = ScaleLimits(1.25, 1.5, 0.5)
# Tumours, whose genes are aligned by rank: colorectal ones .79 (TPM), .90 (CPM), 1.4, .66.
LIMITS_OF_PATIENTS = ScaleLimits(1.6, 3.5, 0.3)
ODD_IN_PATIENTS = ScaleLimits(1.28, 2.5, 0.3)


def compare_scale(values: np.ndarray, center: np.ndarray, scale: np.ndarray) -> dict:
    """How expression compares in scale with that of the lines of training, whichever genes there are.

    Parameters
    ----------
    values : rows × genes as they were given, which should be log2(TPM + 1).
    center, scale : mean and SD of each gene over the lines of training; the SD is infinite where it is 0.

    Returns
    -------
    dict with ``genes`` compared and, where these are 50 or more, ``spread`` (median over rows of the SD over
    genes, in units of that of a line: .69 for natural logarithms, .30 for base 10), ``level`` (mean over
    genes and rows, less that of the lines) and ``correlation`` of the means of genes with those of the lines
    (NaN where these hardly differ from gene to gene).

    Examples
    --------
    >>> import numpy as np
    >>> from pm_lab.drug_response.contract import compare_scale
    >>> lines = np.random.default_rng(0).normal(5, 1, (200, 100)) + np.linspace(-3, 3, 100)
    >>> found = compare_scale(lines[:9] * np.log(2), lines.mean(axis=0), lines.std(axis=0))
    >>> round(found["spread"], 1)
    0.7
    """
    varies = np.isfinite(scale)
    if varies.sum() < GENES_FOR_SCALE:
        return {"genes": int(varies.sum())}
    values, center, scale = values[:, varies], center[varies], scale[varies]
    means, within = values.mean(axis=0), np.mean(scale**2)
    differ = center.var() > within and means.std() > 0
    return {
        "genes": int(varies.sum()),
        "spread": float(np.median(values.std(axis=1)) / np.sqrt(center.var() + within)),
        "level": float(means.mean() - center.mean()),
        "correlation": float(np.corrcoef(means, center)[0, 1]) if differ else np.nan,
    }


def check_scale(values: np.ndarray, center: np.ndarray, scale: np.ndarray, aligned: bool) -> dict:
    """Return :func:`compare_scale`, or say that this is not log2(TPM + 1) of the genes of training.

    The sum of a line, which :func:`check_expression` looks at, says nothing where only some genes are there.

    Parameters
    ----------
    values, center, scale : as for :func:`compare_scale`.
    aligned : the rows are patients whose genes or samples will be aligned to the lines by rank. Another base
        or level then changes nothing, and tumours differ from lines: limits are wider, and what is merely odd
        is warned of.

    Raises
    ------
    DataError
        Spread, level or order of the genes is not that of training.
    """
    found = compare_scale(values, center, scale)
    limits = LIMITS_OF_PATIENTS if aligned else LIMITS_OF_LINES
    problem = _beyond(found, limits)
    if problem:
        mend = "Expression must be log2(TPM + 1), as that of training, of the genes that their names say."
        if not aligned:
            mend += " For patients, or lines on another platform, pass align='gene' to predict."
        raise DataError(f"X {problem}. {mend}")
    odd = _beyond(found, ODD_IN_PATIENTS) if aligned else ""
    if odd:
        warnings.warn(
            f"X {odd}. Is it log2(TPM + 1)? Alignment by rank takes differences in base and level away, but "
            "not those of genes that were cut off or rounded.",
            PmLabWarning,
            stacklevel=5,
        )
    return found


def _beyond(found: dict, limits: ScaleLimits) -> str:
    """What is wrong with the scale, if something is."""
    if "spread" not in found:
        return ""
    spread, level, correlation = found["spread"], found["level"], found["correlation"]
    seen = f"over the {found['genes']:,} genes of training that are there"
    if correlation < limits.correlation:
        return (
            f"has other genes high and low than the lines of training: {seen} their means correlate "
            f"{correlation:.2f}. Were values centred, or names put to other genes"
        )
    if 1 / limits.spread <= spread <= limits.spread and abs(level) <= limits.level:
        return ""
    unit = next((name for name, unit in UNIT_OF_BASE.items() if abs(spread / unit - 1) < 0.12), None)
    looks = f", as if logged to {unit}" if unit and level < 0 else ""
    if level > limits.level:
        looks = ", as logged counts or microarray intensities have it"
    return (
        f"is on another scale than the lines of training: {seen} a row varies {spread:.2f} times as much "
        f"from gene to gene, and is {abs(level):.1f} {'higher' if level > 0 else 'lower'} on average{looks}"
    )


def _refuse_repeated_lines(screen: AnnData) -> None:
    names = screen.obs_names
    twice = names[names.duplicated()].unique()
    if not len(twice):
        return
    response = screen.obsm.get(keys.RESPONSE)
    differing = []
    for name in twice:
        rows = np.flatnonzero(names == name)
        expression = screen.X[rows]
        parts = [expression.toarray() if hasattr(expression, "toarray") else expression]
        parts += [np.asarray(response)[rows]] if response is not None else []
        if not all(np.array_equal(part, np.repeat(part[:1], len(rows), axis=0), True) for part in parts):
            differing.append(name)
    if differing:
        raise DataError(
            f"{len(twice):,} line ids occur more than once, {len(differing):,} of them with different values "
            f"({first(differing)}): they are different lines or repeated measurements. Rename them, or "
            "average the measurements of a line: one row a line."
        )
    raise DataError(
        f"{len(twice):,} line ids occur more than once, with equal values ({first(twice)}): in training and "
        "test they would make any model look good. Mend: screen[~screen.obs_names.duplicated()].copy()."
    )


def _numeric_response(screen: AnnData) -> pd.DataFrame:
    response = screen.obsm.get(keys.RESPONSE)
    if not isinstance(response, pd.DataFrame):
        what = "is missing" if response is None else f"is a {type(response).__name__}"
        raise DataError(
            f"obsm['{keys.RESPONSE}'] {what}: a DataFrame of lines × drugs is needed (ln IC50 in µM, NaN "
            "where not tested). pm.drug_response.make_screen makes a screen from tables."
        )
    twice = response.columns[response.columns.duplicated()].unique()
    if len(twice):
        raise DataError(
            f"{len(twice):,} drugs have more than one column: {first(twice)}. Average them, or name them "
            "apart "
            'as in "Olaparib (1017)".'
        )
    slashed = [name for name in response.columns if "/" in str(name)]
    if slashed:
        raise DataError(
            f"{len(slashed):,} drug names hold a slash, which no column of an h5ad file may: "
            f"{first(slashed)}. "
            'Write "-" or "+" instead.'
        )
    try:
        response = response.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"obsm['{keys.RESPONSE}'] holds what is no number: {error}") from error
    infinite = np.isinf(response.to_numpy())
    if infinite.any():
        raise DataError(
            f"obsm['{keys.RESPONSE}'] holds {int(infinite.sum()):,} infinite values, as the logarithm of an "
            f"IC50 of 0 has ({first(response.columns[infinite.any(axis=0)])}). Make them NaN."
        )
    if response.notna().to_numpy().sum() == 0:
        raise DataError(f"obsm['{keys.RESPONSE}'] holds no value: every pair of line and drug is NaN.")
    return response


def _check_units(response: pd.DataFrame, measure: str) -> None:
    """Raise for what cannot be the measure that it is said to be; warn of what is odd."""
    if measure not in MEASURES:
        raise DataError(f"uns['{keys.RESPONSE_MEASURE}'] is {measure!r}; it must be one of {MEASURES}.")
    values = response.to_numpy()
    low, high = np.nanmin(values), np.nanmax(values)
    seen = f"the responses go from {low:.3g} to {high:.3g}"
    if measure == "auc":
        if low < 0 or high > LARGEST_AUC:
            raise DataError(
                f"{seen}, but areas under the curve lie between 0 and 1 (the share of the area without "
                "drug). Divide percentages by 100; for ln IC50, delete uns['response_measure']."
            )
        return
    if low >= 0 and high > LARGEST_LN_IC50:
        raise DataError(
            f"{seen}, with no negative one: IC50 without a logarithm, or areas in percent. ln IC50 in µM are "
            "needed: np.log(ic50_in_micromolar)."
        )
    if max(-low, high) > LARGEST_LN_IC50:
        raise DataError(
            f"{seen}: no ln IC50 in µM is beyond ±20 (e^20 µM is 485 mol/l). Find where they came from."
        )
    if np.isfinite(values).sum() < VALUES_FOR_A_GUESS or low < 0:
        return
    if high <= LARGEST_AUC:
        raise DataError(
            f"{seen}: areas under the curve, or viabilities, and no ln IC50. For areas, set "
            "uns['response_measure'] = 'auc' (1 = no effect)."
        )
    kind = "pIC50 (-log10 of mol/l)" if low >= 3 and high <= 12 else "IC50 without a logarithm"
    warnings.warn(
        f"{seen}, so every IC50 would be over 1 µM. If these are {kind}, convert them: ln IC50 in µM is "
        "np.log(ic50_in_micromolar), or np.log(10) * (6 - pic50).",
        PmLabWarning,
        stacklevel=3,
    )


def warn_of_few_lines(response: pd.DataFrame) -> None:
    """Warn, at the line that called fit, of drugs that hardly any line was tested with."""
    n_lines = response.notna().sum()
    few = n_lines[n_lines < FEWEST_LINES]
    if len(few):
        shown = [f"{name}: {n}" for name, n in few.items()]
        warnings.warn(
            f"{len(few):,} drugs were measured on fewer than {FEWEST_LINES} lines ({first(shown)}): what is "
            "predicted of them is hardly more than what all drugs have in common. To leave them out: screen "
            "= pm.drug_response.drop_unusable_drugs(screen).",
            PmLabWarning,
            stacklevel=3,
        )


def _check_drugs(response: pd.DataFrame, screen: AnnData, min_lines: int, allow_constant: bool) -> None:
    n_lines = response.notna().sum()
    few = n_lines.index[n_lines < min_lines]
    same = response.max() - response.min() < SAME
    constant = n_lines.index[same & (n_lines >= max(min_lines, FEWEST_LINES))]
    said = []
    if len(few):
        shown = [f"{name}: {n_lines[name]}" for name in few]
        said.append(f"{len(few):,} drugs were measured on fewer than {min_lines} lines ({first(shown)})")
    if len(constant) and not allow_constant:
        said.append(f"{len(constant):,} drugs have the same value on every line ({first(constant)})")
    if said:
        raise DataError(
            " and ".join(said) + ": nothing can be learnt of them or judged on them. "
            "Mend: screen = pm.drug_response.drop_unusable_drugs(screen)."
        )
    table = screen.uns.get(keys.DRUGS)
    if not isinstance(table, pd.DataFrame):
        raise DataError(
            f"uns['{keys.DRUGS}'] must be a DataFrame by drug (columns cid, smiles, targets, pathway, as "
            "far as they are known)."
        )
    twice = table.index[table.index.duplicated()].unique()
    absent = response.columns[~response.columns.isin(table.index)]
    if len(twice) or len(absent):
        names, what = (twice, "more than one row") if len(twice) else (absent, "no row")
        raise DataError(f"{len(names):,} drugs have {what} in uns['{keys.DRUGS}']: {first(names)}.")


def check_modality(screen: AnnData, name: str) -> None:
    """Raise DataError unless a modality has a name a column, whole lines, and values that it can have."""
    matrix = np.asarray(screen.obsm[name])
    features = screen.uns.get(keys.FEATURES, {}).get(name)
    if features is None or len(features) != matrix.shape[1]:
        n_names = "no" if features is None else f"{len(features):,}"
        raise DataError(
            f"obsm[{name!r}] has {matrix.shape[1]:,} columns and uns['{keys.FEATURES}'][{name!r}] {n_names} "
            "names for them; one name a column is needed."
        )
    gaps = np.isnan(matrix)
    partly = gaps.any(axis=1) & ~gaps.all(axis=1)
    if partly.any():
        raise DataError(
            f"obsm[{name!r}] is NaN in a part of {int(partly.sum()):,} lines "
            f"({first(screen.obs_names[partly])}): a line is measured or it is not. Fill in the gaps, or "
            "make the line NaN throughout."
        )
    values = matrix[~gaps]
    if np.isinf(values).any():
        raise DataError(f"obsm[{name!r}] holds {int(np.isinf(values).sum()):,} infinite values.")
    allowed = {
        keys.MUTATION: (np.isin(values, (0, 1)).all(), "0 (none) or 1 (mutated)"),
        keys.METHYLATION: (
            bool(((values >= 0) & (values <= 1)).all()),
            "shares between 0 and 1 (beta values)",
        ),
    }
    fits, what = allowed.get(name, (True, ""))
    if not fits:
        raise DataError(
            f"obsm[{name!r}] goes from {values.min():.3g} to {values.max():.3g}; it must hold {what}."
        )


def first(names, n: int = 5) -> str:
    """The first few names for a message."""
    names = [str(name) for name in names]
    return ", ".join(names[:n]) + (", ..." if len(names) > n else "")
