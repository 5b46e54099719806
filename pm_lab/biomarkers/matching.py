"""Which gene of a panel is which in another cohort, and what is missing there."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from pm_lab.errors import DataError, PmLabWarning, listed
from pm_lab.gene_sets import match_symbols

if TYPE_CHECKING:
    from anndata import AnnData

    from pm_lab.biomarkers.panels import Panel

LEAST_WEIGHT = 0.5  # share of the panel's absolute weight that must be measured, in the cohort and a patient
GOOD_WEIGHT = 0.8
FAR = 3  # SDs that the median gene may lie from the panel's mean before the scale is called another one
FEWEST_TO_SCALE = 10


def standardised_expression(
    panel: Panel, adata: AnnData, scale: str, match: str | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Patients × the panel's genes in SDs, and how each gene was found.

    A gene or value that is missing counts as average, 0; a patient of whom less than half of the panel's
    weight is measured has NaN in all genes. Both are warned of, with counts.
    """
    if scale not in ("panel", "cohort"):
        raise DataError(f'scale={scale!r}: "panel" (same platform) or "cohort" (another platform).')
    places, how = find_genes(panel.genes, panel.identifiers, adata, match)
    places, values = _with_values(adata, places)
    probes = [list(adata.var_names[place].astype(str)) for place in places]
    mapping = mapping_table(panel.genes, panel.weights, probes, how)
    _check_measured(panel.name, mapping)
    if scale == "cohort" and adata.n_obs < FEWEST_TO_SCALE:
        raise DataError(f'scale="cohort" with {adata.n_obs} patients: {FEWEST_TO_SCALE} at least have an SD.')
    X = np.full((adata.n_obs, len(panel.genes)), np.nan)
    for column, block in enumerate(values):
        if not block.shape[1]:
            continue
        if scale == "cohort":
            means, sds = np.nanmean(block, axis=0), np.nanstd(block, axis=0)
            z = (block - means) / np.where(sds > 1e-12, sds, np.inf)
        else:
            z = (block - panel.means[column]) / panel.sds[column]
        X[:, column] = _mean_of_probes(z)
    measured = (mapping["n_probes"] > 0).to_numpy()
    if scale == "panel":
        _check_scale(X[:, measured])
    X = pd.DataFrame(X, index=adata.obs_names, columns=panel.genes)
    return _filled(panel, X, measured), mapping


def expression_of(adata: AnnData, place: np.ndarray) -> np.ndarray:
    """Patients × the probes at these places, dense."""
    values = adata.X[:, place]
    return np.asarray(values.toarray() if sparse.issparse(values) else values, dtype=float)


def _with_values(adata: AnnData, places: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Places and expression of each gene's probes, without probes that hold no value at all."""
    values = [expression_of(adata, place) for place in places]
    kept = [~np.isnan(block).all(axis=0) for block in values]
    places = [place[keep] for place, keep in zip(places, kept, strict=True)]
    return places, [block[:, keep] for block, keep in zip(values, kept, strict=True)]


def _mean_of_probes(z: np.ndarray) -> np.ndarray:
    known = ~np.isnan(z)
    n = known.sum(axis=1)
    return np.where(n > 0, np.where(known, z, 0).sum(axis=1) / np.maximum(n, 1), np.nan)


def _check_scale(X: np.ndarray) -> None:
    far = np.median(np.abs(np.nanmedian(X, axis=0)))
    if far > FAR and len(X) >= FEWEST_TO_SCALE:
        raise DataError(
            f"the panel's genes lie {far:.1f} SDs from where they were in discovery: another "
            'platform or another scale. Pass scale="cohort" if this is a whole cohort of like patients.'
        )


def _filled(panel: Panel, X: pd.DataFrame, measured: np.ndarray) -> pd.DataFrame:
    """Missing values as averages, NaN for patients who lack too much, and a warning that counts both."""
    missing = X.isna().to_numpy()
    weight = np.abs(panel.weights)
    unknown = ~missing @ weight / weight.sum() < LEAST_WEIGHT
    filled = missing & measured & ~unknown[:, None]
    told = []
    if filled.any():
        rows = X.index[filled.any(axis=1)]
        told.append(
            f"{int(filled.sum()):,} values of {len(rows):,} patients are missing and count as average "
            f"({listed(rows)})"
        )
    if unknown.any():
        told.append(
            f"{int(unknown.sum()):,} patients have no score, since less than half of the panel's weight is "
            f"measured in them ({listed(X.index[unknown])})"
        )
    if told:
        text = f"{panel.name!r}, {len(X):,} patients: {'; '.join(told)}."
        warnings.warn(text, PmLabWarning, stacklevel=4)
    return X.fillna(0.0).mask(np.broadcast_to(unknown[:, None], X.shape))


def _check_measured(name: str, mapping: pd.DataFrame) -> None:
    weight = mapping["weight"].abs()
    absent = mapping["n_probes"] == 0
    share = 1 - weight[absent].sum() / weight.sum()
    text = (
        f"{int((~absent).sum())} of the {len(mapping)} genes of {name!r} are measured here, with "
        f"{share:.0%} of its weight (missing: {listed(mapping.index[absent])})"
    )
    if share < LEAST_WEIGHT:
        raise DataError(
            f"{text}. Half is needed. Name a column of var with match=..., or learn the panel from genes "
            "that both platforms measure: fit_panel(genes=...)."
        )
    if share < GOOD_WEIGHT:
        warnings.warn(f"{text}: the others count as average.", PmLabWarning, stacklevel=4)


def find_genes(
    genes: list[str], identifiers: dict[str, list[str]], adata: AnnData, match: str | None
) -> tuple[list[np.ndarray], str]:
    """Places in var of each gene, by name or by a column, and which of these was used."""
    ways = {"name": lambda: _by_name(genes, adata)}
    for column, ids in identifiers.items():
        if column in adata.var:
            ways[column] = lambda column=column, ids=ids: _by_column(ids, adata.var[column])
    if "symbol" in adata.var and "symbol" not in identifiers:
        ways["symbol"] = lambda: _by_column(genes, adata.var["symbol"])
    if match is not None:
        if match not in ways:
            raise DataError(f"match={match!r}: genes can be found by {', '.join(ways)}.")
        return ways[match](), match
    found = {way: look() for way, look in ways.items()}
    best = max(found, key=lambda way: sum(len(place) > 0 for place in found[way]))
    return found[best], best


def _by_name(genes: list[str], adata: AnnData) -> list[np.ndarray]:
    names = adata.var_names
    try:
        _, mended = match_symbols({"panel": genes}, names)
        other = dict(zip(mended["symbol"], mended["matched_as"], strict=True))
    except DataError:  # ids of another kind: none is found by name
        other = {}
    place = names.get_indexer([other.get(gene, gene) for gene in genes])
    return [np.array([p]) if p >= 0 else np.array([], int) for p in place]


def _by_column(ids: list[str], column: pd.Series) -> list[np.ndarray]:
    groups = column.astype(str).reset_index(drop=True).groupby(column.astype(str).to_numpy()).indices
    empty = np.array([], int)
    return [groups.get(str(name), empty) if str(name) not in ("", "nan") else empty for name in ids]


def mapping_table(genes: list, weights: list, probes: list, match: str) -> pd.DataFrame:
    """What :class:`ExternalResult` says of each gene of a panel; empty for a score."""
    table = pd.DataFrame(
        {
            "weight": np.asarray(weights, float),
            "n_probes": np.array([len(names) for names in probes], int),
            "probes": pd.Series([", ".join(names) for names in probes], dtype=object).to_numpy(),
        },
        index=pd.Index(genes, dtype=object, name="gene"),
    )
    table.attrs = {"match": match}
    return table
