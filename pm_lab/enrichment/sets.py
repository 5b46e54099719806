"""Gene sets as the analyses need them: read, in the data's symbols, and of a size that can be tested."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from pm_lab import gene_sets as floor
from pm_lab.errors import DataError

GeneSets = Mapping[str, Iterable[str]] | str | Path


def read_gmt(path_or_name: str | Path) -> dict[str, list[str]]:
    """Read gene sets from a gmt file, the bundled core sets, or a registered collection.

    Parameters
    ----------
    path_or_name : path of a gmt file; ``"core"`` for the bundled sets; or ``"hallmark"``, ``"go_bp"``,
        ``"c2_broad_2005"`` of the data set ``gene_sets``, from the cache or the mirror: an analysis asks no
        server, ``pm.datasets.fetch("gene_sets")`` does, once.

    Returns
    -------
    dict
        Set name to its gene names, in the order of the file.

    Raises
    ------
    DataError
        No such file, or a line that is not gmt, named by its number.
    DatasetUnavailable
        A registered collection that is not on this machine.

    Examples
    --------
    >>> import pm_lab as pm
    >>> pm.enrichment.read_gmt("core")["ERBB2_AMPLICON"][:3]
    ['ERBB2', 'GRB7', 'STARD3']
    """
    if str(path_or_name) in floor.REGISTERED and not Path(path_or_name).is_file():
        from pm_lab import datasets

        return datasets.load("gene_sets", fetch=False)[str(path_or_name)]
    return floor.read_gmt(path_or_name)


class TestableSets(NamedTuple):
    members: dict[str, list[str]]  # set name to the genes that are measured, in the data's symbols
    mapping: dict[str, list]  # one entry a set given: set, size, measured, tested, why
    mended: dict[str, list]  # set, symbol, matched_as


def testable(gene_sets: GeneSets, genes: Iterable[str], min_size: int, max_size: int) -> TestableSets:
    """Cut gene sets to the genes measured and keep those of a size from ``min_size`` to ``max_size``."""
    if not 1 <= min_size <= max_size:
        raise DataError(f"min_size={min_size}, max_size={max_size}: sizes from 1 on, the first the smaller.")
    if isinstance(gene_sets, str | Path):
        gene_sets = read_gmt(gene_sets)
    if not isinstance(gene_sets, Mapping):
        raise DataError(
            f"gene_sets is a {type(gene_sets).__name__}: give a dict of set name to genes, the path of a gmt "
            f'file, "core", or one of {", ".join(floor.REGISTERED)}.'
        )
    gene_sets = _as_text(gene_sets)
    genes = list(map(str, genes))
    matched, mended = floor.match_symbols(gene_sets, genes)
    measured = set(genes)
    present = {name: [g for g in members if g in measured] for name, members in matched.items()}
    why = {name: _why_not(len(found), len(measured), min_size, max_size) for name, found in present.items()}
    members = {name: found for name, found in present.items() if not why[name]}
    mapping = {
        "set": list(matched),
        "size": [len(all_of_it) for all_of_it in matched.values()],
        "measured": [len(found) for found in present.values()],
        "tested": [not reason for reason in why.values()],
        "why": list(why.values()),
    }
    if not members:
        raise DataError(_nothing_left(present, matched, genes, min_size, max_size))
    return TestableSets(members, mapping, mended.to_dict("list"))


def _as_text(gene_sets: Mapping) -> dict[str, list[str]]:
    """Names of sets and genes as text: Entrez ids are often whole numbers."""
    named = {}
    for name, members in gene_sets.items():
        if isinstance(members, str):
            raise DataError(f"Gene set {name!r} is a single string; give a list of gene names.")
        members = list(members)
        if any(pd.isna(gene) for gene in members):
            raise DataError(
                f"Gene set {name!r} has a missing value (NaN, None) among its {len(members):,} genes. Leave "
                "it out: [gene for gene in genes if pd.notna(gene)]."
            )
        if str(name) in named:
            raise DataError(f"Two gene sets are called {str(name)!r}. Rename one.")
        named[str(name)] = list(map(str, members))
    return named


def _why_not(n_found: int, n_genes: int, min_size: int, max_size: int) -> str:
    if n_found == 0:
        return "no gene measured"
    if n_found < min_size:
        return f"fewer than {min_size} genes measured"
    if n_found > max_size:
        return f"more than {max_size} genes measured"
    return "holds every gene of the data" if n_found == n_genes else ""


def _nothing_left(present: dict, matched: dict, genes: list[str], min_size: int, max_size: int) -> str:
    largest = max(present, key=lambda name: len(present[name]))
    if not present[largest]:
        members = [gene for found in matched.values() for gene in found][:3]
        return (
            f"None of the genes of the {len(present):,} sets ({', '.join(members)}, ...) is among the "
            f"{len(genes):,} of the data ({', '.join(genes[:3])}, ...). Are these the same species and kind "
            "of gene name?"
        )
    return (
        f"None of the {len(present):,} sets has {min_size} to {max_size} measured genes; the largest, "
        f"{largest!r}, has {len(present[largest]):,} of {len(matched[largest]):,}. Change min_size or "
        "max_size, or look at pm.gene_sets.mapping_report."
    )
