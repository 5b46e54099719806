"""Cell-type composition of patients, and which types differ between groups of patients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab import checks, keys
from pm_lab.design import as_text, check_batch, check_patients, check_replicates, level_name
from pm_lab.errors import DataError, DesignError

if TYPE_CHECKING:
    from anndata import AnnData

PSEUDOCOUNT = 0.5


def composition(
    cells: AnnData,
    condition: str,
    groupby: str = "cell_type",
    patient_key: str = "patient",
    contrast: tuple[str, str] | None = None,
    reference: str | list[str] | None = None,
    min_cells: int = 20,
) -> pd.DataFrame:
    """Compare cell-type fractions between two groups of patients, patients as replicates.

    Fractions sum to one: when one type grows, all others shrink. So each type's log count is taken
    relative to a reference, and "no change" means "no change relative to that reference". The reference is
    ``reference`` if given; otherwise the shortest half: the ⌊T/2⌋ + 1 of T types whose group
    differences of mean log fraction lie closest together. They share one fate, which is "unchanged" as
    long as fewer than half of the types change. Then Welch's t-test per type, Benjamini-Hochberg over
    types. If half of the types or more change, the sign and size are relative to the wrong ones: name a
    reference that you know is stable.

    Parameters
    ----------
    cells : annotated cells; patients in ``obs[patient_key]``, types in ``obs[groupby]``.
    condition : obs column with one value per patient.
    groupby : obs column of cell types. Cells "unassigned" are left out, and counted.
    contrast : (level, reference level) of ``condition``; needed if it has more than two levels. By default
        the second level in order against the first ("yes" against "no").
    reference : a cell type to compare with, or several, instead of the robust choice.
    min_cells : patients with fewer cells are left out, and counted.

    Returns
    -------
    DataFrame
        One row per type, by p-value: ``cell_type`` (named as ``groupby``), ``fraction_<level>`` (mean over
        patients) for both levels, ``log2_fold_change`` (of abundance relative to the reference, level over
        reference level), ``lower``, ``upper`` (95 % confidence limits), ``stat`` (Welch t), ``pvalue``,
        ``padj``, ``in_reference``. ``attrs`` holds ``reference`` (names), ``fractions`` (patients × types,
        as dict), ``n_patients`` by level and ``left_out``.

    Raises
    ------
    DataError
        A missing column or value, an unknown reference or level.
    DesignError
        Fewer than two patients a side, a patient on both sides, condition equal to batch.

    References
    ----------
    Shortest half: Grübel 1988, doi:10.1214/aos/1176350823. On composition in cell counts: Büttner 2021,
    doi:10.1038/s41467-021-27150-6.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.simulate_cohort(n_cells=2000)
    >>> cohort.cells.obs["cell_type"] = cohort.truth["cell_type"]
    >>> table = pm.singlecell.composition(cohort.cells, "response")
    >>> table.attrs["n_patients"]
    {'yes': 12, 'no': 12}
    """
    for column in (patient_key, groupby, condition):
        checks.obs_column(cells, column)
    check_patients(cells.obs, patient_key)
    level, base = _levels(cells.obs[condition], condition, contrast)
    obs = cells.obs.assign(**{name: as_text(cells.obs[name]) for name in (patient_key, groupby, condition)})
    obs = obs[obs[condition].isin([level, base])]
    counts, left_out = _count(obs, patient_key, groupby, min_cells)
    sides = obs[[patient_key, condition]].drop_duplicates()
    where = f" with {min_cells} cells" if left_out["patients"] else ""
    counted = sides[sides[patient_key].isin(counts.index)]
    check_replicates(counted, (condition, level, base), patient_key, paired=False, where=where)
    check_batch(obs, condition, patient_key)
    side = sides.set_index(patient_key)[condition][counts.index]
    in_level = (side == level).to_numpy()
    log_counts = np.log(counts.to_numpy() + PSEUDOCOUNT)
    groups = [LogCounts.of(log_counts[side]) for side in (in_level, ~in_level)]
    table = compare_log_counts(*groups, counts.columns, reference)
    named = list(table.index[table["in_reference"]])
    fractions = counts.div(counts.sum(axis=1), axis=0)
    table.insert(0, f"fraction_{base}", fractions[~in_level].mean())
    table.insert(0, f"fraction_{level}", fractions[in_level].mean())
    table = table.sort_values("pvalue").rename_axis(groupby).reset_index()
    table.attrs = {
        "reference": named,
        "fractions": fractions.to_dict(),
        "n_patients": {level: int(in_level.sum()), base: int((~in_level).sum())},
        "left_out": left_out,
    }
    return table


@dataclass(frozen=True)
class LogCounts:
    """Log counts of a group of patients: how many patients, mean (types) and covariance (types × types)."""

    n: int
    mean: np.ndarray
    covariance: np.ndarray

    @classmethod
    def of(cls, log_counts: np.ndarray) -> LogCounts:
        """From patients × types, two patients or more."""
        covariance = np.atleast_2d(np.cov(log_counts, rowvar=False))
        return cls(len(log_counts), log_counts.mean(axis=0), covariance)


def compare_log_counts(
    level: LogCounts, base: LogCounts, types: pd.Index, reference: str | list[str] | None = None
) -> pd.DataFrame:
    """The comparison within :func:`composition`, from the moments of both groups.

    Ratios to a reference are linear in log counts, so that their means and variances are too.

    Parameters
    ----------
    level, base : log(cells + 0.5) of the patients of both groups.
    types : names of the types.
    reference : as for :func:`composition`.

    Returns
    -------
    DataFrame, one row per type: ``log2_fold_change`` to ``padj`` and ``in_reference`` of :func:`composition`.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from pm_lab.singlecell.abundance import LogCounts, compare_log_counts
    >>> no, yes = np.log([[9, 50, 7], [11, 52, 8]]), np.log([[40, 49, 9], [39, 51, 6]])
    >>> types = pd.Index(["B cell", "T cell", "Monocyte"])
    >>> table = compare_log_counts(LogCounts.of(yes), LogCounts.of(no), types, reference="T cell")
    >>> table["log2_fold_change"].round(1).tolist()
    [2.0, 0.0, 0.0]
    """
    in_reference = _reference(level.mean - base.mean, types, reference)
    table = _welch(level, base, types, in_reference)
    return table.assign(in_reference=in_reference)


def _levels(values: pd.Series, condition: str, contrast) -> tuple[str, str]:
    present = set(as_text(values))
    if contrast is not None:
        chosen = list(map(level_name, contrast))
        if len(chosen) != 2 or not present.issuperset(chosen):
            raise DataError(f"contrast={contrast!r}: obs[{condition!r}] has the levels {sorted(present)}.")
        return chosen[0], chosen[1]
    ordered = list(map(level_name, values.cat.categories)) if hasattr(values, "cat") else sorted(present)
    ordered = [name for name in ordered if name in present]
    if len(ordered) != 2:
        raise DesignError(
            f"obs[{condition!r}] has {len(ordered)} levels ({ordered[:6]}); two are compared. Pass "
            f"contrast=(level, reference level)."
        )
    return ordered[1], ordered[0]


def _count(obs: pd.DataFrame, patient_key: str, groupby: str, min_cells: int) -> tuple[pd.DataFrame, dict]:
    """Patients × types, without unassigned cells and without patients who have too few."""
    counts = pd.crosstab(obs[patient_key], obs[groupby])
    unassigned = counts.pop(keys.UNASSIGNED) if keys.UNASSIGNED in counts else pd.Series(0, counts.index)
    few = counts.sum(axis=1) < min_cells
    left_out = {"unassigned_cells": int(unassigned.sum()), "patients": list(counts.index[few])}
    counts = counts[~few]
    if counts.shape[1] < 2:
        raise DataError(f"obs[{groupby!r}] has {counts.shape[1]} type: a composition needs at least two.")
    return counts, left_out


def _reference(difference: np.ndarray, types: pd.Index, reference: str | list[str] | None) -> np.ndarray:
    """Mask over types: those named, or the shortest half of the group differences of mean log counts."""
    if reference is not None:
        named = [reference] if isinstance(reference, str) else list(reference)
        unknown = [name for name in named if name not in types]
        if unknown or not named:
            raise DataError(f"reference={reference!r}: {unknown} is none of the cell types {list(types)}.")
        return types.isin(named)
    difference = difference - difference.mean()
    half = len(types) // 2 + 1
    ordered = np.sort(difference)
    start = np.argmin(ordered[half - 1 :] - ordered[: len(ordered) - half + 1])
    return (difference >= ordered[start]) & (difference <= ordered[start + half - 1])


def _welch(level: LogCounts, base: LogCounts, types: pd.Index, in_reference: np.ndarray) -> pd.DataFrame:
    """Welch's t-test of each type's log ratio to the other types of the reference."""
    from scipy import stats

    others = in_reference[:, None] & ~np.eye(len(types), dtype=bool)
    alone = ~others.any(axis=0)  # the single reference type itself has nothing to be compared with
    ratio = (np.eye(len(types)) - others / np.maximum(others.sum(axis=0), 1)) / np.log(2)
    parts = [
        (group.mean @ ratio, np.einsum("ij,ik,kj->j", ratio, group.covariance, ratio), group.n)
        for group in (level, base)
    ]
    (mean, variance, n), (mean_base, variance_base, n_base) = parts
    test = stats.ttest_ind_from_stats(
        mean, np.sqrt(variance), n, mean_base, np.sqrt(variance_base), n_base, equal_var=False
    )
    of_level, of_base = variance / n, variance_base / n_base
    freedom = (of_level + of_base) ** 2 / (of_level**2 / (n - 1) + of_base**2 / (n_base - 1))
    reach = stats.t.ppf(0.975, freedom) * np.sqrt(of_level + of_base)
    change = np.where(alone, 0.0, mean - mean_base)
    columns = {
        "lower": change - reach,
        "upper": change + reach,
        "stat": test.statistic,
        "pvalue": test.pvalue,
    }
    columns = {name: np.where(alone, np.nan, values) for name, values in columns.items()}
    table = pd.DataFrame({"log2_fold_change": change, **columns}, index=types)
    tested = table["pvalue"].notna()
    table["padj"] = np.nan
    if tested.any():
        table.loc[tested, "padj"] = stats.false_discovery_control(table.loc[tested, "pvalue"])
    return table
