"""From cells to patients: pseudobulk sums and differential expression with patients as replicates."""

from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from pm_lab import checks, keys
from pm_lab.design import (
    check_batch,
    check_contrast,
    check_patients,
    check_replicates,
    fit_deseq2_each,
    level_name,
    model_matrix,
    with_categories,
)
from pm_lab.design import variables as design_variables
from pm_lab.errors import DataError, DesignError, PmLabWarning


def pseudobulk(
    cells: ad.AnnData,
    groupby: str = "cell_type",
    patient_key: str = "patient",
    condition: str | None = None,
) -> ad.AnnData:
    """Sum raw counts per patient and group: one row per patient × group (× condition).

    Parameters
    ----------
    cells : cells × genes with raw counts in ``layers["counts"]`` (or whole numbers in ``X``).
    groupby : obs column of groups, usually the cell type. Cells "unassigned" form a group of their own.
    patient_key : obs column of patients.
    condition : obs column that varies within patients (a paired study); splits their cells further.

    Returns
    -------
    AnnData
        Samples × genes. ``layers["counts"]``: sums; ``X``: log2(CPM + 1); ``obs``: ``patient_key``,
        ``groupby``, ``n_cells`` and every obs column of the cells that is constant within a sample.

    Raises
    ------
    DataError
        No counts, a missing column, duplicated names.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.simulate_cohort(n_cells=600)
    >>> cohort.cells.obs["cell_type"] = cohort.truth["cell_type"]
    >>> pm.singlecell.pseudobulk(cohort.cells).obs["n_cells"].sum()
    600
    """
    counts = checks.counts(cells)
    checks.unique_names(cells)
    by = [patient_key, groupby] + ([condition] if condition else [])
    for column in by:
        checks.obs_column(cells, column)
    grouped = cells.obs.groupby([cells.obs[name].astype(str) for name in by], observed=True, sort=True)
    sample = grouped.ngroup().to_numpy()
    n_samples = grouped.ngroups
    membership = sparse.csr_matrix(
        (np.ones(len(sample)), (sample, np.arange(len(sample)))), (n_samples, len(sample))
    )
    summed = membership @ counts
    summed = (summed.toarray() if sparse.issparse(summed) else np.asarray(summed)).astype(np.float32)
    obs = _constant_columns(cells.obs, sample)
    obs.index = [" | ".join(map(str, row)) for row in obs[by].itertuples(index=False)]
    obs[keys.N_CELLS] = np.bincount(sample, minlength=n_samples)
    size = np.maximum(summed.sum(axis=1, keepdims=True), 1)
    return ad.AnnData(
        X=np.log2(summed / size * 1e6 + 1).astype(np.float32),
        obs=obs,
        var=cells.var[[]].copy(),
        layers={keys.COUNTS: summed},
    )


def _constant_columns(obs: pd.DataFrame, sample: np.ndarray) -> pd.DataFrame:
    """One row per sample, with the columns that have one value within every sample."""
    first = np.unique(sample, return_index=True)[1]
    kept = {}
    for name in obs.columns:
        codes = pd.factorize(obs[name])[0]
        if (codes == codes[first][sample]).all():
            kept[name] = obs[name].iloc[first].to_numpy()
    return pd.DataFrame(kept)


def differential_expression(
    cells: ad.AnnData,
    design: str,
    contrast: tuple[str, str, str],
    groupby: str = "cell_type",
    min_cells: int = 10,
    patient_key: str = "patient",
    min_count: float = 5.0,
    max_ambient: float = 0.1,
) -> pd.DataFrame:
    """Test each gene within each cell type between groups of patients: pseudobulk, then DESeq2.

    Parameters
    ----------
    cells : cells × genes with raw counts; patients in ``obs[patient_key]``.
    design : formula of obs columns that are constant within patients, e.g. ``"~ batch + response"``. A
        paired study names the patient: ``"~ patient + condition"``; its samples are patient × condition,
        and patients without both sides are left out of a type.
    contrast : (factor, level, reference); positive log2 fold change is higher in ``level``. Cells of any
        third level are left out before anything is estimated.
    groupby : obs column of cell types; "unassigned" cells are not tested.
    min_cells : a patient with fewer cells of a type is left out of that type.
    min_count : genes with a lower mean pseudobulk count in a type are not tested in it.
    max_ambient : genes whose share of a type's counts is below this fraction of their share of all
        counts are not tested in it: free RNA at that level of contamination explains them, and would
        carry a change of composition into types that do not express the gene.

    Returns
    -------
    DataFrame
        One row per type and gene tested: ``cell_type`` (named as ``groupby``), ``gene``, ``base_mean``,
        ``log2_fold_change``, ``lfc_se``, ``stat``, ``pvalue``, ``padj`` (Benjamini-Hochberg within the
        type), sorted by type and p-value. ``pd.DataFrame(result.attrs["samples"])`` counts the patients
        a side by type, ``pd.DataFrame(result.attrs["left_out"])`` the types, samples and genes that were
        not tested, and why.

    Raises
    ------
    DataError
        No raw counts, a missing column or value.
    DesignError
        Cells as replicates, fewer than two patients a side, condition equal to batch, a patient on both
        sides of an unpaired design, terms that cannot be told apart.

    Notes
    -----
    Squair 2021, doi:10.1038/s41467-021-25960-2, on why patients, not cells, are the replicates.
    """
    contrast = _contrast_as_text(contrast)
    samples = _samples(cells, design, contrast, groupby, patient_key)
    total = samples.layers[keys.COUNTS].sum(axis=0)
    jobs, left_out, errors = {}, [], []
    for name in (name for name in samples.obs[groupby].unique() if name != keys.UNASSIGNED):
        part = samples[samples.obs[groupby] == name]
        part = part[_usable_samples(part.obs, design, contrast, min_cells, patient_key, name, left_out)]
        try:
            _check_type(part.obs, design, contrast, patient_key, name)
        except (DataError, DesignError) as error:
            errors.append(error)
            left_out.append((name, "type", 1, str(error)))
            continue
        genes = _genes_to_test(part.layers[keys.COUNTS], total, min_count, max_ambient, name, left_out)
        table = pd.DataFrame(
            part.layers[keys.COUNTS][:, genes].astype(int), part.obs_names, part.var_names[genes]
        )
        jobs[name] = (table, part.obs, design, contrast)
    if not jobs:
        raise (
            errors[0] if errors else DesignError(f"obs[{groupby!r}] names no group but {keys.UNASSIGNED!r}.")
        )
    if errors:
        types = ", ".join(name for name, what, *_ in left_out if what == "type")
        warnings.warn(f"Not tested: {types}. {errors[0]}", PmLabWarning, stacklevel=2)
    return _together(fit_deseq2_each(jobs), jobs, groupby, contrast, left_out)


def _contrast_as_text(contrast):
    if isinstance(contrast, str) or len(contrast) != 3:
        return contrast  # check_contrast says what is wrong with it
    return (contrast[0], *map(level_name, contrast[1:]))


def _samples(cells, design, contrast, groupby, patient_key) -> ad.AnnData:
    """Pseudobulk of the samples that the contrast speaks of, after the checks that need the cells."""
    checks.obs_column(cells, patient_key, argument="patient_key")
    checks.obs_column(cells, groupby, argument="groupby")
    check_contrast(cells.obs, design, contrast)
    factor, *levels = contrast
    if patient_key == factor:
        raise DesignError(
            f"patient_key={patient_key!r} is the condition itself: each side would be one pooled sample, and "
            "nothing would say how much people differ. Pass the column of patients; without one, show effect "
            "sizes (pseudobulk) and no p-values."
        )
    check_patients(cells.obs, patient_key)
    checks.unique_names(cells)
    counts = checks.counts(cells)
    obs = with_categories(cells.obs, design, patient_key, factor, groupby)
    in_contrast = obs[factor].isin(levels).to_numpy()
    obs, counts = obs[in_contrast], counts if in_contrast.all() else counts[in_contrast]
    paired = patient_key in design_variables(design)
    check_replicates(obs[[patient_key, factor]].drop_duplicates(), contrast, patient_key, paired)
    check_batch(obs, factor, patient_key)
    cells = ad.AnnData(counts, obs=obs, var=cells.var[[]])
    samples = pseudobulk(cells, groupby, patient_key, condition=factor if paired else None)
    varying = [name for name in design_variables(design) if name not in samples.obs]
    if varying:
        raise DesignError(
            f"{varying} varies between the cells of one patient, but the patient is the unit of "
            f"design={design!r}. Use columns with one value per patient."
        )
    return samples


def _usable_samples(obs, design, contrast, min_cells, patient_key, name, left_out) -> np.ndarray:
    """Samples with enough cells; in a paired design those of patients who have both sides."""
    enough = (obs[keys.N_CELLS] >= min_cells).to_numpy()
    left_out.append((name, "samples", (~enough).sum(), f"fewer than {min_cells} cells"))
    if patient_key not in design_variables(design):
        return enough
    sides = obs[enough].groupby(patient_key, observed=True)[contrast[0]].nunique()
    both = enough & obs[patient_key].isin(sides.index[sides == 2]).to_numpy()
    left_out.append((name, "samples", (enough & ~both).sum(), "the other side of the pair is missing"))
    return both


def _check_type(obs: pd.DataFrame, design, contrast, patient_key: str, name: str) -> None:
    """Refuse a type whose remaining samples cannot answer the question."""
    check_replicates(
        obs, contrast, patient_key, patient_key in design_variables(design), where=f" for {name}"
    )
    check_contrast(obs, design, contrast)
    model_matrix(obs, design, contrast[0])


def _genes_to_test(
    counts: np.ndarray, total: np.ndarray, min_count, max_ambient, name, left_out
) -> np.ndarray:
    """Mask over genes: common enough, and more than ambient RNA explains."""
    rare = counts.mean(axis=0) < min_count
    ambient = ~rare & (counts.sum(axis=0) / counts.sum() < max_ambient * total / total.sum())
    left_out.append((name, "genes", rare.sum(), f"mean count below {min_count:g}"))
    left_out.append((name, "genes", ambient.sum(), "explained by ambient RNA"))
    return ~rare & ~ambient


def _together(fitted: dict[str, pd.DataFrame], jobs: dict, groupby: str, contrast, left_out) -> pd.DataFrame:
    """One table of all types, and in its attrs who was tested, what was left out and what DESeq2 said."""
    said, counted = [], []
    for name, result in fitted.items():
        said += [{groupby: name, "warning": text} for text in result.attrs.pop("warnings", [])]
        result.insert(0, groupby, name)
        sides = jobs[name][1][contrast[0]].value_counts()
        counted.append({groupby: name} | {side: int(sides[side]) for side in contrast[1:]})
    results = pd.concat([result.sort_values("pvalue") for result in fitted.values()], ignore_index=True)
    results.attrs = {
        "samples": counted,
        "left_out": [
            {groupby: name, "what": what, "n": int(n), "why": why} for name, what, n, why in left_out if n
        ],
        "warnings": said,
    }
    return results
