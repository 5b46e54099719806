"""Cell-type fractions of bulk samples from a single-cell reference of several patients."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from pm_lab import checks, keys
from pm_lab.bulk.signature import (
    FEWEST_PATIENTS,
    PSEUDOCOUNT,
    Cells,
    Signature,
    build_signature,
    check_reference,
    shared_genes,
)
from pm_lab.errors import DataError, PmLabWarning

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.figure import Figure

FRACTIONS = "cell_type_fractions"  # obsm
POOR_FIT = 0.6  # correlation of log expression, observed and fitted, below which a patient is warned of
ITERATIONS = 25
# Of the squared residual in a gene's variance. All of it, as in MuSiC, lets single mixtures go astray (r .85
# for NK cells of the built-in cohort, .90 with a quarter); none of it, and genes that the bulk measures
# otherwise than the reference decide (mean r .81-.87, against .93-.96).
RESIDUAL_SHARE = 0.25


def deconvolve(
    cohort,
    reference: AnnData,
    cell_type_key: str = "cell_type",
    patient_key: str = "patient",
    fractions: str = "cells",
    n_markers: int = 50,
    min_cells: int = 5,
    copy: bool = False,
) -> pd.DataFrame | tuple[pd.DataFrame, AnnData]:
    """Estimate which share of each bulk sample every cell type has, from single cells of some patients.

    Bulk RNA is taken as the sum of its cells' RNA: y = Σ_t p_t θ_t, where θ_t is the expression profile of
    type t (mean over the patients of the reference) and p_t ≥ 0 its share of the *RNA*. Shares are found by
    non-negative least squares on marker genes, each weighted by one over its variance, which is what differs
    between patients within types, Σ p_t² var(θ_t), plus a quarter of the squared residual (MuSiC: all of
    it); weights and shares are iterated. A large cell gives more RNA than a small one: shares of RNA divided
    by the RNA of a cell of each type (``fractions="cells"``) are shares of *cells*. That size is what the
    single-cell protocol captured, which is not the same for nuclei as for cells.

    A type that the bulk has and the reference lacks is not seen: its RNA is given to the others. What comes
    out is only as good as :func:`validate_deconvolution` says for this reference.

    Parameters
    ----------
    cohort : patients × genes with raw counts in ``layers["counts"]`` (or a Cohort, whose ``bulk`` is used).
    reference : cells × genes with raw counts, after quality control. Cells "unassigned" are left out.
    cell_type_key, patient_key : columns of ``reference.obs``.
    fractions : "cells" or "rna", see above.
    n_markers : most marker genes a type. A marker is higher in its type than in every other one in at
        least 80 % of the patients; those with the largest log ratio relative to its spread between
        patients come first.
    min_cells : a patient with fewer cells of a type does not count for the profile of that type.
    copy : leave the cohort as it is and return ``(fractions, changed copy)``.

    Returns
    -------
    pandas.DataFrame
        Patients × cell types, rows sum to one; the same as ``obsm["cell_type_fractions"]``. Written
        besides: ``obs["deconvolution_r"]``, the correlation of observed and fitted log expression of the
        markers, and ``obs["deconvolution_residual"]``, the part of the weighted expression that is not
        fitted (0 to 1); ``uns["pm_lab"]["deconvolve"]``: parameters, what was left out, markers by type,
        size of a cell by type.

    Raises
    ------
    DataError
        No counts, gene names that do not match, too few patients, a type with too few cells or markers, a
        view (``cohort[...]``) without ``copy``.

    Warns
    -----
    PmLabWarning
        Cells left out, or samples that the reference does not fit.

    References
    ----------
    MuSiC: Wang 2019, doi:10.1038/s41467-018-08023-x.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.simulate_cohort(n_cells=2400)
    >>> cohort.cells.obs["cell_type"] = cohort.truth["cell_type"]
    >>> pm.bulk.deconvolve(cohort, cohort.cells).shape
    (120, 8)
    """
    bulk = checks.bulk_of(cohort)
    if not copy:
        checks.not_a_view(bulk)
    _check_fractions(fractions)
    checks.unique_names(bulk)
    counts = _dense(checks.counts(bulk))
    check_reference(reference, cell_type_key, patient_key)
    bulk_genes, reference_genes = shared_genes(bulk.var_names, reference.var_names)
    counts = counts[:, bulk.var_names.get_indexer(bulk_genes)]
    columns = reference.var_names.get_indexer(reference_genes)
    cells = Cells.of(reference, columns, bulk_genes, cell_type_key, patient_key)
    signature = build_signature(cells, n_markers, min_cells)
    _no_empty_sample(counts[:, pd.Index(bulk_genes).isin(signature.mean.columns)], bulk.obs_names)
    found, fit = _estimate(counts, bulk_genes, signature, fractions)
    found.index = fit.index = bulk.obs_names
    if copy:
        bulk = bulk.copy()
    bulk.obsm[FRACTIONS] = found
    bulk.obs[["deconvolution_r", "deconvolution_residual"]] = fit
    bulk.uns.setdefault(keys.RECORD, {})["deconvolve"] = {
        "fractions": fractions,
        "n_markers": n_markers,
        "min_cells": min_cells,
        "cell_type_key": cell_type_key,
        "patient_key": patient_key,
        "n_shared_genes": len(bulk_genes),
        "n_patients": len(np.unique(cells.patient)),
        "left_out": signature.left_out,
        "markers": _by_type(signature.mean),
        "cell_size": signature.size.to_dict(),
    }
    _warn_of(signature.left_out, fit)
    return (found, bulk) if copy else found


def validate_deconvolution(
    reference: AnnData,
    cell_type_key: str = "cell_type",
    patient_key: str = "patient",
    fractions: str = "cells",
    n_mixtures: int = 100,
    n_cells: int = 500,
    n_folds: int = 4,
    n_markers: int = 50,
    min_cells: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Deconvolve sums of cells whose composition is known, from patients the signature never saw.

    Patients are parted into folds. Each mixture is the sum of ``n_cells`` cells, drawn with replacement
    from one held-out patient; the signature is built from the patients of the other folds. "random"
    mixtures have fractions drawn evenly over all compositions (Dirichlet, 1 for each type that the patient
    has), "natural" ones those of the patient. The peer is the mean composition of the other patients,
    given to every mixture.

    The sums have the protocol and the genes of the reference; real bulk differs in both, so this is the
    best that can be hoped for. The bulk of the built-in cohort is log-linear in the abundance of cell
    types and not the sum of its cells: no validation of fractions can rest on it.

    Parameters
    ----------
    reference, cell_type_key, patient_key, fractions, n_markers, min_cells : as in :func:`deconvolve`.
    n_mixtures : of each kind.
    n_cells : cells summed for a mixture.
    n_folds : each with its share of the patients held out; at least three patients must remain.
    seed : of folds and mixtures.

    Returns
    -------
    pandas.DataFrame
        One row per kind and type: ``mixtures`` ("random", "natural"), ``cell_type``, ``n_mixtures``,
        ``n_patients`` (held out, in all folds together), ``r`` (Pearson; NaN where the true fraction does
        not vary), ``rmse``, ``bias`` (estimated − true), ``rmse_baseline`` (the mean composition), and
        ``skill`` = 1 − (rmse / rmse_baseline)²; below 0 the baseline is better. ``attrs["estimates"]``: each
        estimate, columns ``mixtures, mixture, patient, cell_type, true, estimated, baseline`` (as dict;
        :func:`plot_deconvolution` draws them).

    Raises
    ------
    DataError
        As :func:`deconvolve`, also where the patients left after holding out a fold are too few.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.simulate_cohort(n_cells=2400)
    >>> cohort.cells.obs["cell_type"] = cohort.truth["cell_type"]
    >>> table = pm.bulk.validate_deconvolution(cohort.cells, n_mixtures=20)
    >>> sorted(table["mixtures"].unique())
    ['natural', 'random']
    """
    _check_fractions(fractions)
    check_reference(reference, cell_type_key, patient_key)
    columns = np.arange(reference.n_vars)
    cells = Cells.of(reference, columns, list(reference.var_names), cell_type_key, patient_key)
    rng = np.random.default_rng(seed)
    patients = rng.permutation(np.unique(cells.patient))
    if len(patients) - -(-len(patients) // n_folds) < FEWEST_PATIENTS or n_folds < 2:
        raise DataError(
            f"{len(patients)} patients in {n_folds} folds leave too few to build a signature from: "
            f"{FEWEST_PATIENTS} are needed beside those held out. Use more patients or more folds."
        )
    records = []
    for fold in range(n_folds):
        held_out = patients[fold::n_folds]
        signature = build_signature(cells.take(~np.isin(cells.patient, held_out)), n_markers, min_cells)
        share = len(range(fold, n_mixtures, n_folds))
        for kind in ("random", "natural"):
            drawn = _draw_mixtures(
                cells, held_out, kind, share, n_cells, fractions, signature.mean.index, rng
            )
            found, _ = _estimate(drawn.counts, cells.genes, signature, fractions)
            mean = _as_kind(signature.cell_fractions, signature.size, fractions)
            records += _records(kind, fold, drawn, found, mean)
    return _accuracy(pd.DataFrame(records))


def _check_fractions(fractions: str) -> None:
    if fractions not in ("cells", "rna"):
        raise DataError(f'fractions={fractions!r}: they are of "cells" or of "rna".')


def _dense(matrix) -> np.ndarray:
    return matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix)


def _no_empty_sample(of_markers: np.ndarray, names: pd.Index) -> None:
    empty = names[of_markers.sum(axis=1) == 0]
    if len(empty):
        raise DataError(
            f"{len(empty)} samples have no count in any marker gene: {', '.join(map(str, empty[:5]))}. "
            "Leave them out."
        )


def _estimate(
    counts: np.ndarray, genes: list[str], signature: Signature, fractions: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fractions (samples × types) and fit (samples × r, residual) of samples × genes."""
    columns = pd.Index(genes).get_indexer(signature.mean.columns)
    observed = counts[:, columns] / counts.sum(axis=1, keepdims=True)
    profiles, variance = signature.mean.to_numpy().T, signature.variance.to_numpy().T
    solved = [_weighted_nnls(row, profiles, variance) for row in observed]
    rna = pd.DataFrame([shares for shares, _ in solved], columns=signature.mean.index)
    fitted = rna.to_numpy() @ profiles.T
    of_rna = rna.div(rna.sum(axis=1), axis=0)
    scale = [np.log2(values + PSEUDOCOUNT) for values in (observed, fitted)]
    r = [np.corrcoef(seen, given)[0, 1] for seen, given in zip(*scale, strict=True)]
    fit = pd.DataFrame({"r": r, "residual": [residual for _, residual in solved]})
    return _as_kind(of_rna, signature.size, fractions), fit


def _as_kind(shares, size: pd.Series, fractions: str):
    """Fractions of RNA to those of cells; a Series of fractions of cells to those of RNA."""
    if isinstance(shares, pd.Series):
        return shares if fractions == "cells" else shares * size / (shares * size).sum()
    if fractions == "rna":
        return shares
    cells = shares.div(size, axis=1)
    return cells.div(cells.sum(axis=1), axis=0)


def _weighted_nnls(y: np.ndarray, profiles: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, float]:
    """Shares of RNA (not scaled to one) and the unfitted part, reweighted until they no longer move."""
    from scipy.optimize import nnls

    spread = variance.mean(axis=1) + (0.1 * profiles.mean(axis=1)) ** 2
    shares = np.zeros(profiles.shape[1])
    for _ in range(ITERATIONS):
        before = shares
        root = 1 / np.sqrt(spread + PSEUDOCOUNT**2)
        shares, _ = nnls(profiles * root[:, None], y * root)
        if np.abs(shares - before).max() < 1e-4:
            break
        of_one = shares / max(shares.sum(), PSEUDOCOUNT)
        spread = variance @ of_one**2 + RESIDUAL_SHARE * (y - profiles @ shares) ** 2
    residual = np.linalg.norm((y - profiles @ shares) * root) / np.linalg.norm(y * root)
    return shares, float(residual)


def _by_type(mean: pd.DataFrame) -> dict[str, list[str]]:
    """Markers by the type in which they are highest."""
    highest = mean.idxmax()
    return {name: list(highest.index[highest == name]) for name in mean.index}


def _warn_of(left_out: dict, fit: pd.DataFrame) -> None:
    if left_out["unassigned_cells"]:
        warnings.warn(
            f"{left_out['unassigned_cells']:,} cells without a type were left out of the reference: if they "
            "are of types that it lacks, their RNA in the bulk is given to the others.",
            PmLabWarning,
            stacklevel=3,
        )
    poor = fit.index[~(fit["r"] >= POOR_FIT)]
    if len(poor):
        warnings.warn(
            f"the reference does not fit {len(poor)} of {len(fit)} samples (correlation below {POOR_FIT}: "
            f"{', '.join(map(str, poor[:5]))}): types may be missing from it, or the bulk be measured in "
            'another way. See obs["deconvolution_r"].',
            PmLabWarning,
            stacklevel=3,
        )


class _Mixtures(NamedTuple):
    counts: np.ndarray  # mixtures × genes
    true: np.ndarray  # mixtures × types
    patient: list[str]


def _draw_mixtures(
    cells: Cells, held_out: np.ndarray, kind: str, n: int, n_cells: int, fractions: str, types: pd.Index, rng
) -> _Mixtures:
    """Sums of cells, each of one held-out patient, and the fractions they were drawn with."""
    summed, true, patients = [], [], []
    for number in range(n):
        patient = held_out[number % len(held_out)]
        own = np.flatnonzero(cells.patient == patient)
        code = types.get_indexer(cells.cell_type[own])
        has = np.bincount(code[code >= 0], minlength=len(types))
        wanted = has / has.sum() if kind == "natural" else _dirichlet(rng, has > 0)
        taken = [
            rng.choice(own[code == row], size)
            for row, size in enumerate(rng.multinomial(n_cells, wanted))
            if size
        ]
        rows = np.concatenate(taken)
        weight = np.asarray(cells.counts[rows].sum(axis=1)).ravel() if fractions == "rna" else None
        drawn = np.bincount(types.get_indexer(cells.cell_type[rows]), weight, minlength=len(types))
        summed.append(np.asarray(cells.counts[rows].sum(axis=0)).ravel())
        true.append(drawn / drawn.sum())
        patients.append(patient)
    empty = (0, cells.counts.shape[1]), (0, len(types))
    return _Mixtures(np.array(summed or np.empty(empty[0])), np.array(true or np.empty(empty[1])), patients)


def _dirichlet(rng: np.random.Generator, present: np.ndarray) -> np.ndarray:
    wanted = np.zeros(len(present))
    wanted[present] = rng.dirichlet(np.ones(present.sum()))
    return wanted


def _records(kind: str, fold: int, drawn: _Mixtures, found: pd.DataFrame, mean: pd.Series) -> list[dict]:
    return [
        {
            "mixtures": kind,
            "mixture": f"{fold}-{row}",
            "patient": patient,
            "cell_type": name,
            "true": drawn.true[row, column],
            "estimated": found.iat[row, column],
            "baseline": mean[name],
        }
        for row, patient in enumerate(drawn.patient)
        for column, name in enumerate(found.columns)
    ]


def _accuracy(estimates: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for (kind, name), part in estimates.groupby(["mixtures", "cell_type"], sort=False):
        error = part["estimated"] - part["true"]
        rmse = np.sqrt((error**2).mean())
        baseline = np.sqrt(((part["baseline"] - part["true"]) ** 2).mean())
        varies = part["true"].std() > 0 and part["estimated"].std() > 0
        rows.append(
            {
                "mixtures": kind,
                "cell_type": name,
                "n_mixtures": len(part),
                "n_patients": part["patient"].nunique(),
                "r": part["true"].corr(part["estimated"]) if varies else np.nan,
                "rmse": rmse,
                "bias": error.mean(),
                "rmse_baseline": baseline,
                "skill": 1 - (rmse / baseline) ** 2 if baseline > 0 else np.nan,
            }
        )
    table = pd.DataFrame(rows).sort_values("mixtures", ascending=False, kind="stable", ignore_index=True)
    table.attrs["estimates"] = estimates.to_dict("list")
    return table


def plot_deconvolution(result, groupby: str | None = None) -> Figure:
    """Show estimated against true fractions of mixtures, or the fractions of patients as stacked bars.

    Parameters
    ----------
    result : the table of :func:`validate_deconvolution`, or a cohort (Cohort or AnnData) after
        :func:`deconvolve`.
    groupby : column of the cohort's ``obs``; patients of one value are put side by side, one panel each.

    Returns
    -------
    matplotlib.figure.Figure
        A panel for each type: mixtures as points, correlation and root mean squared error of both kinds;
        or patients in the order of their largest type's fraction.

    Raises
    ------
    DataError
        When there is nothing to show, or the column is missing.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.simulate_cohort(n_cells=2400)
    >>> cohort.cells.obs["cell_type"] = cohort.truth["cell_type"]
    >>> figure = pm.bulk.plot_deconvolution(pm.bulk.validate_deconvolution(cohort.cells, n_mixtures=20))
    """
    if isinstance(result, pd.DataFrame):
        if "estimates" not in result.attrs:
            raise DataError(
                "this table holds no estimates. Pass the one that validate_deconvolution returns."
            )
        return _plot_mixtures(result)
    bulk = checks.bulk_of(result)
    if FRACTIONS not in bulk.obsm:
        raise DataError(f"there is no obsm[{FRACTIONS!r}]. Run deconvolve(cohort, reference) first.")
    return _plot_fractions(bulk, groupby)


def _plot_mixtures(table: pd.DataFrame) -> Figure:
    from matplotlib.figure import Figure

    estimates = pd.DataFrame(table.attrs["estimates"])
    types = list(dict.fromkeys(table["cell_type"]))
    n_columns = min(4, len(types))
    n_rows = -(-len(types) // n_columns)
    figure = Figure(figsize=(2.7 * n_columns, 2.7 * n_rows + 0.5), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for ax, name in zip(axes, types, strict=False):
        said = []
        for kind, colour, marker in (("random", "#0072B2", "o"), ("natural", "#E69F00", "^")):
            points = estimates[(estimates["cell_type"] == name) & (estimates["mixtures"] == kind)]
            ax.scatter(
                points["true"], points["estimated"], s=11, color=colour, marker=marker, lw=0, label=kind
            )
            row = table[(table["cell_type"] == name) & (table["mixtures"] == kind)].iloc[0]
            said.append(f"{kind}: r {row['r']:.2f}, RMSE {row['rmse']:.3f}")
        top = float(estimates.loc[estimates["cell_type"] == name, ["true", "estimated"]].max().max()) * 1.05
        ax.plot([0, top], [0, top], color="black", lw=0.8, zorder=0)
        ax.set(xlim=(-0.02 * top, top), ylim=(-0.02 * top, top), aspect="equal")
        ax.set_title(name + "\n" + "\n".join(said), fontsize=8)
    for ax in axes[len(types) :]:
        ax.set_axis_off()
    figure.supxlabel("true fraction")
    figure.supylabel("estimated fraction")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, title="mixtures", loc="outside upper right", ncols=2, markerscale=2, frameon=False
    )
    return figure


def _plot_fractions(bulk: AnnData, groupby: str | None) -> Figure:
    from matplotlib import color_sequences, colormaps
    from matplotlib.figure import Figure

    shares = bulk.obsm[FRACTIONS]
    shares = shares[shares.mean().sort_values(ascending=False).index]
    shares = shares.sort_values(shares.columns[0], ascending=False)
    panels = {"": shares}
    if groupby is not None:
        group = checks.obs_column(bulk, groupby, argument="groupby")[shares.index]
        panels = {
            f"{groupby}: {name} (n = {len(part)})": part
            for name, part in shares.groupby(group, observed=True)
        }
    colours = color_sequences["petroff10"]  # ten that colour-blind people can tell apart
    if shares.shape[1] > len(colours):
        colours = colormaps["turbo"](np.linspace(0.03, 0.97, shares.shape[1]))
    figure = Figure(figsize=(float(np.clip(3 + 0.06 * len(shares), 6, 14)), 4), layout="constrained")
    widths = [len(part) for part in panels.values()]
    axes = figure.subplots(1, len(panels), sharey=True, width_ratios=widths, squeeze=False)[0]
    for ax, (title, part) in zip(axes, panels.items(), strict=True):
        below = np.zeros(len(part))
        for name, colour in zip(part.columns, colours, strict=False):
            ax.bar(range(len(part)), part[name], bottom=below, width=1, color=colour, label=name)
            below += part[name].to_numpy()
        ax.set(title=title, xlim=(-0.5, len(part) - 0.5), ylim=(0, 1), xticks=[], xlabel="patients")
    of = bulk.uns.get(keys.RECORD, {}).get("deconvolve", {}).get("fractions", "cells")
    axes[0].set_ylabel(f"estimated fraction of {of.replace('rna', 'RNA')}")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], title="cell type", loc="outside right upper", frameon=False)
    return figure
