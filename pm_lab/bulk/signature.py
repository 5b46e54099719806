"""What a single-cell reference says of cell types: markers, profiles, their spread, the size of a cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from pm_lab import checks, keys
from pm_lab.design import as_text, check_patients
from pm_lab.errors import DataError
from pm_lab.gene_sets import match_symbols

if TYPE_CHECKING:
    from anndata import AnnData

FEWEST_PATIENTS = 3  # of the reference, and with cells of each type: below, no variance between patients
FEWEST_GENES = 200  # shared by bulk and reference
FEWEST_MARKERS = 5  # of each type
PSEUDOCOUNT = 1e-5  # share of RNA: about one count in the sum over 30 cells
CONSISTENT = 0.8  # share of patients in whom a marker is highest in its type


class Signature(NamedTuple):
    """What the reference says of each type: types × genes, and the size of a cell by type."""

    mean: pd.DataFrame  # share of the type's RNA, mean over patients
    variance: pd.DataFrame  # of that share between patients
    size: pd.Series  # captured RNA of a cell, relative to the mean type
    cell_fractions: pd.Series  # mean over the patients of the reference
    left_out: dict


def check_reference(reference: AnnData, cell_type_key: str, patient_key: str) -> None:
    checks.obs_column(reference, cell_type_key, argument="cell_type_key")
    checks.obs_column(reference, patient_key, argument="patient_key")
    check_patients(reference.obs, patient_key)
    checks.unique_names(reference)
    n_patients = reference.obs[patient_key].nunique()
    if n_patients < FEWEST_PATIENTS:
        raise DataError(
            f"the reference has {n_patients} patients; {FEWEST_PATIENTS} or more are needed to see "
            "which genes differ between people and which between cell types."
        )


def shared_genes(bulk: pd.Index, reference: pd.Index) -> tuple[list[str], list[str]]:
    """Names in the bulk and names in the reference of the genes that both have, aliases mended."""
    _, mended = match_symbols({"reference": list(reference)}, bulk)
    renamed = dict(zip(mended["symbol"], mended["matched_as"], strict=True))
    pairs = {name: name for name in reference if name in bulk}
    for name, other in renamed.items():
        pairs.setdefault(other, name)
    if len(pairs) < FEWEST_GENES:
        raise DataError(
            f"bulk and reference share {len(pairs):,} genes of {len(bulk):,} and {len(reference):,}; "
            f"{FEWEST_GENES} are needed. Bulk has {', '.join(bulk[:3])}, the reference "
            f"{', '.join(reference[:3])}: bring both to one kind of name."
        )
    return list(pairs), list(pairs.values())


class Cells(NamedTuple):
    """The cells of a reference that have a type, as plain arrays."""

    counts: sparse.csr_matrix
    cell_type: np.ndarray
    patient: np.ndarray
    genes: list[str]
    n_unassigned: int

    @classmethod
    def of(cls, reference: AnnData, columns, genes, cell_type_key: str, patient_key: str) -> Cells:
        counts = sparse.csr_matrix(checks.counts(reference))
        cell_type = as_text(reference.obs[cell_type_key]).to_numpy()
        patient = as_text(reference.obs[patient_key]).to_numpy()
        kept = cell_type != keys.UNASSIGNED
        counts = counts[kept][:, columns].astype(float)
        return cls(counts, cell_type[kept].astype(str), patient[kept].astype(str), genes, int((~kept).sum()))

    def take(self, rows: np.ndarray) -> Cells:
        return self._replace(
            counts=self.counts[rows], cell_type=self.cell_type[rows], patient=self.patient[rows]
        )


def build_signature(cells: Cells, n_markers: int, min_cells: int) -> Signature:
    """Profiles of markers by type from sums of each patient's cells of each type."""
    types, type_code = np.unique(cells.cell_type, return_inverse=True)
    patients, patient_code = np.unique(cells.patient, return_inverse=True)
    group = patient_code * len(types) + type_code
    n_groups = len(patients) * len(types)
    member = sparse.csr_matrix((np.ones(len(group)), (group, np.arange(len(group)))), (n_groups, len(group)))
    summed = (member @ cells.counts).toarray().reshape(len(patients), len(types), -1)
    n_cells = np.bincount(group, minlength=n_groups).reshape(len(patients), len(types))
    total = summed.sum(axis=2)
    used = (n_cells >= min_cells) & (total > 0)
    _check_types(types, cells.cell_type, used, min_cells)
    share = np.where(used[:, :, None], summed / np.maximum(total, 1)[:, :, None], np.nan)

    chosen = _choose_markers(share, types, n_markers)
    genes = pd.Index(cells.genes)[chosen]
    left_out = {
        "unassigned_cells": cells.n_unassigned,
        "patients_and_types": int(((n_cells > 0) & ~used).sum()),
    }
    return Signature(
        mean=pd.DataFrame(np.nanmean(share[:, :, chosen], axis=0), types, genes),
        variance=pd.DataFrame(np.nanvar(share[:, :, chosen], axis=0, ddof=1), types, genes),
        size=pd.Series(_cell_sizes(total / np.maximum(n_cells, 1), used), types),
        cell_fractions=pd.Series((n_cells / n_cells.sum(axis=1, keepdims=True)).mean(axis=0), types),
        left_out=left_out,
    )


def _check_types(types: np.ndarray, cell_type: np.ndarray, used: np.ndarray, min_cells: int) -> None:
    if len(types) < 2:
        raise DataError(
            f"the reference has {len(types)} cell type ({', '.join(types)}); two or more are needed."
        )
    few = used.sum(axis=0) < FEWEST_PATIENTS
    if few.any():
        named = ", ".join(
            f"{name} ({(cell_type == name).sum()} cells; {n} patients with {min_cells} or more)"
            for name, n in zip(types[few], used.sum(axis=0)[few], strict=True)
        )
        raise DataError(
            f"too few cells of {named}; {FEWEST_PATIENTS} patients with {min_cells} cells of a type are "
            "needed. Merge the type with its nearest one, or leave its cells out knowing that its RNA will "
            "be given to other types."
        )


def _choose_markers(share: np.ndarray, types: np.ndarray, n_markers: int) -> np.ndarray:
    """Positions of the genes that are highest in one type, patient by patient."""
    log = np.log2(share + PSEUDOCOUNT)
    chosen = np.zeros(share.shape[2], dtype=bool)
    lacking = []
    for row, name in enumerate(types):
        own = ~np.isnan(log[:, row, 0])
        others = np.delete(log[own], row, axis=1)
        margin = log[own, row] - np.nanmax(np.where(np.isnan(others), -np.inf, others), axis=1)
        margin = margin[np.isfinite(margin).all(axis=1)]
        score = margin.mean(axis=0) / (margin.std(axis=0, ddof=1) + 0.5)
        score[((margin > 0).mean(axis=0) < CONSISTENT) | (score <= 0)] = -np.inf
        best = np.argsort(-score, kind="stable")[:n_markers]
        best = best[np.isfinite(score[best])]
        if len(best) < FEWEST_MARKERS:
            lacking.append(f"{name} ({len(best)})")
        chosen[best] = True
    if lacking:
        raise DataError(
            f"too few marker genes for {', '.join(lacking)}; {FEWEST_MARKERS} are needed that are highest in "
            f"the type in {CONSISTENT:.0%} of the patients. Merge types that are hardly different."
        )
    return np.flatnonzero(chosen)


def _cell_sizes(counts_per_cell: np.ndarray, used: np.ndarray) -> np.ndarray:
    """RNA of a cell by type, from log counts = patient + type: patients differ in depth and in types."""
    patient, cell_type = np.nonzero(used)
    design = np.zeros((len(patient), sum(used.shape)))
    design[np.arange(len(patient)), patient] = 1
    design[np.arange(len(patient)), used.shape[0] + cell_type] = 1
    effects = np.linalg.lstsq(design, np.log(counts_per_cell[used]), rcond=None)[0][used.shape[0] :]
    size = np.exp(effects - effects.mean())
    return size / size.mean()
