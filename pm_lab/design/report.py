"""What a design can and cannot answer, before anything is fitted."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass, field

import numpy as np
import pandas as pd

from pm_lab.errors import DataError, DesignError, PmLabWarning

from .formula import (
    as_text,
    check_contrast,
    contrast_vector,
    level_name,
    model_matrix,
    model_table,
    variables,
    with_categories,
)
from .replicates import check_batch, check_replicates

FEW_DEGREES = 3  # residual degrees of freedom at which DESeq2 itself calls its dispersions unreliable
SMALL_GROUP = 3
FEW_TIE_BREAKERS = 2
HIGH_INFLATION = 5.0
MOST_GROUPS = 10  # different whole numbers that may be names of groups


@dataclass(frozen=True)
class DesignReport:
    """What :func:`design_report` found."""

    design: str
    contrast: tuple[str, str, str]
    n_samples: int
    left_out: int
    coefficients: list[str]
    rank: int
    residual_df: int
    groups: dict[str, int]
    variance_inflation: float
    leverage: pd.Series = field(repr=False)
    high_leverage: list[str]
    cross_tables: dict[str, pd.DataFrame] = field(repr=False)
    warnings: list[str]
    verdict: str

    def __repr__(self) -> str:
        factor, level, reference = self.contrast
        groups = ", ".join(f"{count} {name}" for name, count in self.groups.items())
        lines = [
            f"Design {self.design}, {factor}: {level} over {reference}",
            f"  samples               {self.n_samples} ({groups}; {self.left_out} of other levels left out)",
            f"  coefficients          {self.rank}: {', '.join(self.coefficients)}",
            f"  residual df           {self.residual_df}",
            f"  variance inflation    {self.variance_inflation:.2f} (of the contrast, by the other terms)",
            f"  high leverage         {_names(self.high_leverage) or 'no sample'}",
        ]
        for name, table in self.cross_tables.items():
            lines += [f"  {factor} by {name}:"]
            lines += [f"    {line}" for line in table.to_string().splitlines()]
        return "\n".join(
            [*lines, f"  verdict               {self.verdict}", *map("  - {}".format, self.warnings)]
        )

    def record(self) -> dict:
        """Plain values for the ``attrs`` of a result; of the leverages those that stand out."""
        plain = asdict(self)
        del plain["leverage"], plain["cross_tables"]
        plain["cross_tables"] = {name: table.to_dict("index") for name, table in self.cross_tables.items()}
        return plain


def design_report(
    obs: pd.DataFrame,
    design: str,
    contrast: tuple[str, str, str],
    patient_key: str = "patient",
) -> DesignReport:
    """Say what a design can estimate, and refuse one that cannot answer its question.

    Parameters
    ----------
    obs : one row per sample. Samples of a third level of the factor are left out and counted.
    design : formula of obs columns, e.g. ``"~ batch + age + response"``. Numbers are slopes, save in
        ``patient_key`` and in columns named as a batch or a patient are ("batch", "seq_run", "donor"). The
        factor of the contrast may not interact with others.
    contrast : (factor, level, reference).
    patient_key : column of patients, to see pairs and repeated samples; where obs has none, each row is a
        patient.

    Returns
    -------
    DesignReport
        ``n_samples``, ``left_out``, ``coefficients``, ``rank``, ``residual_df``, ``groups`` (samples a side),
        ``variance_inflation`` (how many times larger the other terms make the variance of the contrast; 1 is
        a balanced design), ``leverage`` (hat value of each sample), ``high_leverage`` (samples above twice
        the mean, 2 p / n), ``cross_tables`` (term → condition × level), ``warnings``, ``verdict``. Printing
        it shows all of that.

    Raises
    ------
    DataError
        A missing column, a missing or infinite value, a patient that is not known.
    DesignError
        An interaction of the contrast's factor, terms that repeat each other, a condition that a batch fixes,
        no residual degree of freedom, fewer than two patients a side, a patient on both sides of an unpaired
        design. The message names the term to drop.

    Warns
    -----
    PmLabWarning
        A side of fewer than 3 samples, 3 or fewer residual degrees of freedom, one or two samples only that
        part the condition from a term, a variance inflated 5-fold or more, a number of 3 to 10 whole values,
        each of two patients or more, which may name groups but enters as one slope.

    Examples
    --------
    >>> import pm_lab as pm
    >>> obs = pm.datasets.simulate_cohort(n_cells=600).clinical
    >>> report = pm.design.design_report(obs, "~ batch + age + response", ("response", "yes", "no"))
    >>> report.residual_df, report.groups
    (115, {'yes': 48, 'no': 72})
    """
    check_contrast(obs, design, contrast)
    inside = in_contrast(obs, contrast)
    left_out = int((~inside).sum())
    obs = with_categories(obs[inside], design, contrast[0], patient_key)
    if patient_key not in obs:
        obs[patient_key] = obs.index
    _check_patients_known(obs[patient_key])
    check_contrast(obs, design, contrast)
    _check_patients(obs, design, contrast, patient_key)
    table = model_table(obs, design, contrast)
    matrix = model_matrix(table, design, contrast[0])

    hat = _leverage(matrix)
    limit = 2 * matrix.shape[1] / len(matrix)
    groups = {level_name(name): int((table[contrast[0]] == level_name(name)).sum()) for name in contrast[1:]}
    crossed = _cross_tables(table, contrast[0])
    residual_df = len(matrix) - matrix.shape[1]
    inflation = _variance_inflation(table, matrix, design, contrast)
    said = [
        *_concerns(groups, residual_df, crossed, contrast[0], inflation),
        *_slopes(obs.drop_duplicates(patient_key), table.select_dtypes("number").columns),
    ]
    for text in said:
        warnings.warn(text, PmLabWarning, stacklevel=2)
    return DesignReport(
        design=design,
        contrast=tuple(contrast),
        n_samples=len(matrix),
        left_out=left_out,
        coefficients=list(map(str, matrix.columns)),
        rank=matrix.shape[1],
        residual_df=residual_df,
        groups=groups,
        variance_inflation=inflation,
        leverage=hat,
        high_leverage=list(map(str, hat.index[hat > limit])),
        cross_tables=crossed,
        warnings=said,
        verdict="can be estimated, with care" if said else "can be estimated",
    )


def in_contrast(obs: pd.DataFrame, contrast: tuple[str, str, str]) -> np.ndarray:
    """Mask of the samples that have one of the two levels compared."""
    return as_text(obs[contrast[0]]).isin(list(map(level_name, contrast[1:]))).to_numpy()


def _check_patients_known(patients: pd.Series) -> None:
    missing = patients.isna()
    if missing.any():
        raise DataError(
            f"obs[{patients.name!r}] is missing for {int(missing.sum())} of {len(missing)} samples: "
            f"{_names(list(map(str, missing.index[missing])))}. Which samples are of one patient must be "
            "known: fill it in, or leave these samples out."
        )


def _check_patients(obs: pd.DataFrame, design: str, contrast, patient_key: str) -> None:
    """Replicates and batches, seen by patient."""
    # A term each of whose values holds one patient pairs as the patient would. A number does not: it is one
    # slope.
    terms = [name for name in variables(design) if name != contrast[0]]
    paired = any(
        name == patient_key or obs.groupby(name)[patient_key].nunique().max() == 1
        for name in terms
        if not pd.api.types.is_numeric_dtype(obs[name]) and obs[name].nunique() < len(obs)
    )
    _check_repeats(obs, contrast[0], patient_key)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Only two patients", PmLabWarning)  # the report says it itself
        check_replicates(obs, contrast, patient_key, paired)
    check_batch(obs, contrast[0], patient_key)


def _check_repeats(obs: pd.DataFrame, factor: str, patient_key: str) -> None:
    samples = obs.groupby([patient_key, factor]).size()
    repeated = samples[samples > 1]
    if len(repeated):
        names = [" | ".join(name) for name in repeated.index]
        raise DesignError(
            f"{len(repeated)} patients have more than one sample of the same {factor}: {_names(names)}. "
            "Samples of one patient are not independent: sum the counts of repeats, or keep one of each. "
            f"If obs[{patient_key!r}] does not name patients, pass patient_key=..."
        )


def _leverage(matrix: pd.DataFrame) -> pd.Series:
    q, _ = np.linalg.qr(matrix.to_numpy(float))
    return pd.Series((q**2).sum(axis=1), matrix.index, name="leverage")


def _cross_tables(table: pd.DataFrame, factor: str) -> dict[str, pd.DataFrame]:
    terms = [
        name for name in table.columns if name != factor and not pd.api.types.is_numeric_dtype(table[name])
    ]
    return {name: pd.crosstab(table[factor].astype(str), table[name]) for name in terms}


def _variance_inflation(table: pd.DataFrame, matrix: pd.DataFrame, design: str, contrast) -> float:
    """Variance of the contrast over that of the plain difference of the two groups."""
    weights = contrast_vector(table, design, contrast).to_numpy()
    X = matrix.to_numpy(float)
    sides = table[contrast[0]].value_counts()
    return float(weights @ np.linalg.solve(X.T @ X, weights) / (1 / sides[sides > 0]).sum())


def _concerns(groups: dict, residual_df: int, crossed: dict, factor: str, inflation: float) -> list[str]:
    said = []
    smallest = min(groups, key=groups.get)
    if groups[smallest] < SMALL_GROUP:
        said.append(
            f"Only {groups[smallest]} samples with {factor}={smallest!r}: the variance between patients is "
            "all but unknown, and no claim should rest on this."
        )
    if residual_df <= FEW_DEGREES:
        said.append(
            f"{residual_df} residual degrees of freedom: dispersions rest on what other genes show, and "
            "p-values on that prior. Drop terms or add samples."
        )
    for name, table in crossed.items():
        breakers = int(table.to_numpy().sum() - table.max(axis=0).sum())
        if breakers <= min(FEW_TIE_BREAKERS, table.to_numpy().sum() / 4):
            said.append(
                f"{factor!r} is all but fixed by {name!r}: {breakers} samples alone part the two, and the "
                f"effect of {factor} rests on them."
            )
    if inflation >= HIGH_INFLATION:
        said.append(
            f"The other terms inflate the variance of {factor} {inflation:.1f}-fold: they carry much of the "
            "same information."
        )
    return said


def _slopes(patients: pd.DataFrame, numbers: pd.Index) -> list[str]:
    """What to say of numbers that look like names of groups: a few whole ones, each given more than once."""
    said = []
    for name in numbers:
        counted = patients[name].value_counts()
        whole = (counted.index.to_numpy(float) % 1 == 0).all()
        if whole and 3 <= len(counted) <= MOST_GROUPS and counted.min() >= 2:
            said.append(
                f"{name!r} is a number with {len(counted)} values and enters as one slope: each step is "
                "taken to do the same. If its values name groups, make them text: "
                f"obs[{name!r}] = obs[{name!r}].astype(str)."
            )
    return said


def _names(names: list[str], n: int = 5) -> str:
    return ", ".join(names[:n]) + (f", ... ({len(names)})" if len(names) > n else "")
