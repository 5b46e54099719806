"""Statistics of genes between two groups of patients, as observed and with the labels permuted."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from itertools import combinations
from keyword import iskeyword
from math import comb
from typing import NamedTuple

import numpy as np
import pandas as pd

from pm_lab import checks
from pm_lab.design import as_text, check_batch, check_contrast, level_name, model_matrix, with_categories
from pm_lab.enrichment.expression import MEND, check_values, not_logged
from pm_lab.errors import DataError, DesignError, PmLabWarning

STATISTICS = ("signal_to_noise", "t")
SMALLEST_GROUP = 3
FEW_LABELLINGS = 1000
SMALLEST_DEVIATION = 0.2  # of the signal to noise: of the absolute mean, and where that is zero
BLOCK = 25  # permutations computed together: few, so that they fit the cache
LABEL = "label"  # the column of labels in the design


class Comparison(NamedTuple):
    """Two groups of patients, ready to be compared gene by gene."""

    values: np.ndarray  # patients × genes
    genes: list[str]  # sorted by name
    in_level: np.ndarray  # bool by patient
    nuisance: np.ndarray  # patients × coefficients: orthonormal columns of the intercept and the covariates
    statistic: str
    facts: dict  # what was done, for attrs


def rank_genes(
    expression,
    labels,
    contrast: tuple[str, str] | None = None,
    covariates: pd.DataFrame | list[str] | None = None,
    statistic: str | None = None,
    patient_key: str = "patient",
) -> pd.Series:
    """Rank genes by how they differ between two groups of patients.

    It is the ranking that ``gsea(..., null="permute_labels")`` uses.

    Parameters
    ----------
    expression : patients × genes, log expression: a DataFrame, AnnData (its ``X``) or Cohort (its ``bulk``).
    labels : the group of each patient: a Series by patient, a list in the order of the rows, or the name of
        a column of ``obs``.
    contrast : (level, reference); positive means higher in ``level``. By default the second label in order
        (of the categories, else of the alphabet) against the first: "yes" against "no", "WT" against "MUT".
        Patients with any other label are left out and counted.
    covariates : what else differs between the groups, such as batch and age: a DataFrame by patient or names
        of columns of ``obs``. The statistic is then that of a linear model with them.
    statistic : ``"signal_to_noise"``, the difference of means over the sum of standard deviations, each
        at least 0.2 of the absolute mean (Subramanian 2005), or ``"t"`` of a linear model. By default
        the first without covariates, the second with.
    patient_key : column of ``obs`` with the patient, if there is one.

    Returns
    -------
    pandas.Series
        The statistic by gene, the highest first. Genes with one value in all patients are left out;
        ``attrs`` counts them as ``n_constant``, beside ``contrast``, ``statistic``, ``n_patients`` by label,
        ``n_left_out`` and ``covariates``.

    Raises
    ------
    DataError
        Missing values, raw counts, names that occur twice or do not match, an unknown label.
    DesignError
        Not two groups, fewer than 3 patients in one, covariates that fix the group, a patient with several
        rows: pairs are not supported, take :func:`compare_activity` with the patient in the design.

    Warns
    -----
    PmLabWarning
        Values beyond the reach of a logarithm (above 30), few ways to label the patients.

    Examples
    --------
    >>> import pm_lab as pm
    >>> bulk = pm.datasets.simulate_cohort(n_cells=600).bulk
    >>> ranking = pm.enrichment.rank_genes(bulk, "response", covariates=["batch", "age"])
    >>> ranking.attrs["contrast"]
    ('yes', 'no')
    """
    comparison = compare(expression, labels, contrast, covariates, statistic, patient_key)
    ranking = pd.Series(observed(comparison), index=pd.Index(comparison.genes, name="gene"), name="stat")
    ranking = ranking.sort_values(ascending=False, kind="stable")
    ranking.attrs = comparison.facts
    return ranking


def compare(expression, labels, contrast, covariates, statistic, patient_key) -> Comparison:
    """Check everything that ``rank_genes`` and label permutation need, and put it into arrays."""
    if statistic not in (None, *STATISTICS):
        raise DataError(f"statistic={statistic!r}: choose one of {', '.join(STATISTICS)}.")
    if statistic == "signal_to_noise" and covariates is not None:
        raise DataError('the signal to noise knows no covariates: take statistic="t", or leave them out.')
    table, obs = _table(expression, patient_key)
    label = _by_patient(labels, obs, table.index, "labels")
    level, reference = _sides(label, contrast)
    frame = _covariates(covariates, obs, table.index)
    names = list(map(str, frame.columns))
    frame = frame.set_axis(_for_formula(names), axis=1).assign(**{LABEL: as_text(label)})
    kept = frame[LABEL].isin([level, reference])
    frame, table = frame[kept], table[kept]
    n_patients = {name: int((frame[LABEL] == name).sum()) for name in (level, reference)}
    _check_groups(n_patients)
    matrix = _nuisance(frame, (LABEL, level, reference))
    values = table.to_numpy(float)
    varies = values.max(axis=0) > values.min(axis=0)
    table = table.loc[:, varies]
    if not varies.any():
        raise DataError("no gene differs between any two patients: there is nothing to rank.")
    table = table[sorted(table.columns)]
    facts = {
        "contrast": (level, reference),
        "statistic": statistic or ("signal_to_noise" if covariates is None else "t"),
        "n_patients": n_patients,
        "n_left_out": int((~kept).sum()),
        "n_constant": int((~varies).sum()),
        "covariates": names,
    }
    in_level = (frame[LABEL] == level).to_numpy()
    return Comparison(table.to_numpy(float), list(table.columns), in_level, matrix, facts["statistic"], facts)


def _table(expression, patient_key: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Expression as patients × genes, and what is known of the patients."""
    if isinstance(expression, pd.DataFrame):
        table, obs = expression, pd.DataFrame(index=expression.index)
    else:
        adata = checks.bulk_of(expression)
        if patient_key in adata.obs:
            _refuse_repeats(checks.obs_column(adata, patient_key, "patient_key"))
        checks.unique_names(adata)
        table, obs = adata.to_df(), adata.obs
    for names, what in ((table.index, "patients (rows)"), (table.columns, "genes (columns)")):
        twice = names[names.duplicated()].unique()
        if len(twice):
            raise DataError(f"expression names {len(twice):,} {what} more than once: {list(twice[:5])}.")
    table = table.set_axis(table.columns.astype(str), axis=1)
    check_values(table, "expression")
    if unlogged := not_logged(table, "expression"):
        warnings.warn(
            f"{unlogged}. The signal to noise was published for such intensities; otherwise {MEND}.",
            PmLabWarning,
            stacklevel=4,
        )
    return table, obs


def _refuse_repeats(patients: pd.Series) -> None:
    """A patient with several rows would count several times."""
    twice = patients[patients.duplicated()].unique()
    if len(twice):
        raise DesignError(
            f"{len(twice):,} patients have several rows ({', '.join(map(str, twice[:5]))}): rows of one "
            "patient are not independent, and labels are permuted between patients only. Repeats of one "
            "condition: take one row a patient, or their mean. Pairs (before and after, tumour and normal): "
            "use sample_activity and compare_activity with the patient in the design."
        )


def _by_patient(values, obs: pd.DataFrame, patients: pd.Index, argument: str) -> pd.Series:
    if values is None:
        raise DataError(
            f"{argument} is missing: a Series by patient, a list, or the name of a column of obs."
        )
    if isinstance(values, str):
        if values not in obs:
            raise DataError(
                f"{argument}={values!r}: obs has no such column; it has {list(obs.columns)[:12]}."
            )
        values = obs[values]
    elif isinstance(values, pd.Series):
        values = _aligned(values, patients, argument)
    else:
        if len(values) != len(patients):
            raise DataError(f"{argument} has {len(values):,} values for {len(patients):,} patients.")
        values = pd.Series(values, index=patients)
    missing = values.isna()
    if missing.any():
        raise DataError(
            f"{argument} is missing for {int(missing.sum()):,} of {len(values):,} patients "
            f"({', '.join(map(str, patients[missing][:5]))}). Fill it in, or leave these out knowingly."
        )
    return values


def _aligned(values, patients: pd.Index, argument: str):
    if values.index.has_duplicates:
        raise DataError(f"{argument} names some patients more than once.")
    absent = patients.difference(values.index)
    if len(absent):
        raise DataError(
            f"{argument} has no value for {len(absent):,} of {len(patients):,} patients "
            f"({', '.join(map(str, absent[:5]))}): its index must be the names of the rows of expression."
        )
    return values.loc[patients]


def _sides(labels: pd.Series, contrast) -> tuple[str, str]:
    present = list(as_text(labels).unique())
    if contrast is not None:
        if isinstance(contrast, str) or len(contrast) != 2:
            raise DesignError(f"contrast={contrast!r}: give (level, reference), e.g. ('yes', 'no').")
        level, reference = map(level_name, contrast)
        absent = [name for name in (level, reference) if name not in present]
        if absent or level == reference:
            raise DesignError(f"contrast={contrast!r}: the labels are {sorted(present)}; name two of them.")
        return level, reference
    ordered = sorted(present)
    if isinstance(labels.dtype, pd.CategoricalDtype):
        ordered = [name for name in map(level_name, labels.cat.categories) if name in present]
    if len(ordered) != 2:
        raise DesignError(
            f"labels have {len(ordered)} values ({ordered[:6]}); two are compared. Pass "
            "contrast=(level, reference)."
        )
    return ordered[1], ordered[0]


def _covariates(covariates, obs: pd.DataFrame, patients: pd.Index) -> pd.DataFrame:
    if covariates is None:
        return pd.DataFrame(index=patients)
    if not isinstance(covariates, pd.DataFrame):
        names = [covariates] if isinstance(covariates, str) else list(covariates)
        absent = [name for name in names if name not in obs]
        if absent:
            raise DataError(f"covariates {absent} are no columns of obs, which has {list(obs.columns)[:12]}.")
        covariates = obs[names]
    return _aligned(covariates, patients, "covariates")


def _for_formula(names: Iterable[str]) -> list[str]:
    """Names that a formula can hold, close enough to the ones given to be known again in messages."""
    used = [LABEL]
    for name in names:
        name = re.sub(r"\W|^(?=\d)", "_", name) or "_"
        while name in used or iskeyword(name):
            name += "_"
        used.append(name)
    return used[1:]


def _check_groups(n_patients: dict[str, int]) -> None:
    if min(n_patients.values()) < SMALLEST_GROUP:
        raise DesignError(
            f"Too few patients to permute labels: {n_patients}; {SMALLEST_GROUP} a side at least. With fewer "
            'use null="permute_genes" on a ranking, and make no claim about people.'
        )
    labellings = comb(sum(n_patients.values()), min(n_patients.values()))
    if labellings < FEW_LABELLINGS:
        warnings.warn(
            f"Only {labellings} ways to label {n_patients}, about half of them with each sign of a score: no "
            f"p-value can be much below 1/{labellings // 2}.",
            PmLabWarning,
            stacklevel=4,
        )


def _nuisance(frame: pd.DataFrame, contrast: tuple[str, str, str]) -> np.ndarray:
    """Orthonormal columns that span the intercept and the covariates, after the checks of the design."""
    others = [name for name in frame.columns if name != LABEL]
    design = "~ " + " + ".join([*others, LABEL])
    check_contrast(frame, design, contrast)
    check_batch(frame.assign(row=range(len(frame))), LABEL, "row")
    coded = with_categories(frame, design, LABEL)
    model_matrix(coded, design, LABEL)
    if not others:
        return np.full((len(frame), 1), 1 / np.sqrt(len(frame)))
    matrix = model_matrix(coded, "~ " + " + ".join(others), LABEL)
    return np.linalg.qr(matrix.to_numpy(float))[0]


def observed(comparison: Comparison) -> np.ndarray:
    """The statistic of each gene."""
    statistic = _statistic(comparison, np.float64)
    return statistic(np.arange(len(comparison.in_level))[None, :])[0]


def in_order(comparison: Comparison, order: np.ndarray) -> Comparison:
    """The same comparison with its genes in another order, which is kept among ties."""
    genes = [comparison.genes[i] for i in order]
    return comparison._replace(genes=genes, values=comparison.values[:, order])


def labellings(comparison: Comparison, n_permutations: int, seed: int) -> np.ndarray:
    """Orders of the patients: random ones, or one for each labelling but the observed if these are no more.

    Permutations × patients. With covariates residuals are permuted, and each order counts.
    """
    in_level = comparison.in_level
    n, n_level = len(in_level), int(in_level.sum())
    rows = np.arange(n, dtype=np.int32)
    if comparison.nuisance.shape[1] > 1 or comb(n, n_level) > n_permutations:
        return np.random.default_rng(seed).permuted(np.tile(rows, (n_permutations, 1)), axis=1)
    level, reference = np.flatnonzero(in_level), np.flatnonzero(~in_level)
    orders = []
    for chosen in combinations(rows, n_level):
        if chosen != tuple(level):
            order = np.empty(n, dtype=np.int32)
            order[list(chosen)], order[np.setdiff1d(rows, chosen)] = level, reference
            orders.append(order)
    return np.array(orders)


def permuted(comparison: Comparison, orders: np.ndarray) -> Iterator[np.ndarray]:
    """The statistic of each gene under each of these orders of the patients.

    With covariates it is what they leave over that is permuted (Freedman and Lane 1983), so that their
    relation to expression and to the labels stays as it is.
    """
    from threadpoolctl import threadpool_limits

    statistic = _statistic(comparison, np.float32)
    for start in range(0, len(orders), BLOCK):
        with threadpool_limits(1):  # products this small lose by a second thread
            block = statistic(orders[start : start + BLOCK])
        yield from block


def _statistic(comparison: Comparison, dtype) -> Callable[[np.ndarray], np.ndarray]:
    """The function from orders of patients (permutations × patients) to statistics (permutations × genes)."""
    return (_t if comparison.statistic == "t" else _signal_to_noise)(comparison, dtype)


def _signal_to_noise(comparison: Comparison, dtype) -> Callable[[np.ndarray], np.ndarray]:
    centre = comparison.values.mean(axis=0)
    values = (comparison.values - centre).astype(dtype)  # so that sums of squares lose no digits
    squares, centre = values**2, centre.astype(dtype)
    in_level = comparison.in_level.astype(dtype)
    n_level, n_reference = in_level.sum(), len(in_level) - in_level.sum()

    def group(total: np.ndarray, total_squares: np.ndarray, n) -> tuple[np.ndarray, np.ndarray]:
        mean = total / n
        deviation = np.sqrt(np.maximum((total_squares - total * mean) / (n - 1), 0))
        deviation = np.maximum(deviation, SMALLEST_DEVIATION * np.abs(mean + centre))
        deviation[deviation == 0] = SMALLEST_DEVIATION
        return mean, deviation

    def statistic(orders: np.ndarray) -> np.ndarray:
        chosen = in_level[orders]
        total, total_squares = chosen @ values, chosen @ squares
        mean, deviation = group(total, total_squares, n_level)
        others = group(values.sum(axis=0) - total, squares.sum(axis=0) - total_squares, n_reference)
        return (mean - others[0]) / (deviation + others[1])

    return statistic


def _t(comparison: Comparison, dtype) -> Callable[[np.ndarray], np.ndarray]:
    """t of the label in a linear model of permuted residuals, with the nuisance columns beside it."""
    nuisance = comparison.nuisance
    label = comparison.in_level - nuisance @ (nuisance.T @ comparison.in_level)
    left = comparison.values - nuisance @ (nuisance.T @ comparison.values)
    freedom = len(left) - nuisance.shape[1] - 1
    # A gene that the covariates explain whole has nothing left but rounding errors.
    explained = (left**2).sum(axis=0) <= 1e-12 * (comparison.values**2).sum(axis=0)
    left = np.where(explained, 0, left / np.maximum(np.linalg.norm(left, axis=0), 1e-300)).astype(dtype)
    columns = np.column_stack([label / np.linalg.norm(label), nuisance]).astype(dtype)
    smallest = np.finfo(dtype).eps

    def statistic(orders: np.ndarray) -> np.ndarray:
        # To permute the residuals, or the columns they are set against the other way round, is the same.
        along = columns[orders, 0] @ left
        rest = 1 - along**2
        for column in columns.T[1:]:
            rest -= (column[orders] @ left) ** 2
        return along * np.sqrt(freedom / np.maximum(rest, smallest))

    return statistic
