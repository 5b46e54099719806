"""Gene sets: reading gmt files, the bundled core sets, and how well their names fit a data set."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from pm_lab.errors import DataError, PmLabWarning

# Names within the data set "gene_sets": loaded through pm.datasets, never read from here.
REGISTERED = ("hallmark", "go_bp", "c2_broad_2005")
KINDS = ("cell_type", "pathway", "signature")

_ENSEMBL = re.compile(r"ENSG\d{11}(\.\d+)?")


class _Line(NamedTuple):
    name: str
    description: str
    genes: list[str]


def _bundled(file: str) -> Path:
    # An installed wheel holds the files inside the package, a checkout beside it.
    package = Path(__file__).parent
    inside = package / "data" / "gene_sets" / file
    return inside if inside.exists() else package.parent / "data" / "gene_sets" / file


def _parse_line(line: str, where: str) -> _Line:
    name, *rest = (field.strip() for field in line.split("\t"))
    if not name or not rest:
        raise DataError(
            f"{where}: not a gmt line (set name, description and genes, separated by tabs): {line[:50]!r}."
        )
    genes = [gene for gene in rest[1:] if gene]
    if not genes:
        raise DataError(f"{where}: set {name!r} has no genes. Remove the line or add its genes.")
    return _Line(name, rest[0], genes)


def _read_lines(path: Path) -> list[_Line]:
    if not path.is_file() and str(path) in REGISTERED:
        raise DataError(
            f"{path} is a collection of the data set gene_sets, which is loaded, not read: "
            f'pm.datasets.load("gene_sets")["{path}"].'
        )
    if not path.is_file():
        raise DataError(
            f'No gmt file at {path}. Pass the path of a gmt file, or "core" for the bundled sets.'
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} is not plain text in UTF-8, as a gmt file is: {error}.") from error
    seen: dict[str, int] = {}
    lines = []
    for number, text_line in enumerate(text.splitlines(), start=1):
        if not text_line.strip():
            continue
        where = f"{path.name}, line {number}"
        line = _parse_line(text_line, where)
        if line.name in seen:
            raise DataError(f"{where}: set {line.name!r} was already given in line {seen[line.name]}.")
        seen[line.name] = number
        lines.append(line)
    if not lines:
        raise DataError(f"{path.name} holds no gene sets.")
    return _without_duplicates(lines, path.name)


def _without_duplicates(lines: list[_Line], file: str) -> list[_Line]:
    unique = [line._replace(genes=list(dict.fromkeys(line.genes))) for line in lines]
    repeated = {
        old.name: len(old.genes) - len(new.genes)
        for old, new in zip(lines, unique, strict=True)
        if len(old.genes) > len(new.genes)
    }
    if repeated:
        first = ", ".join(f"{name} ({count})" for name, count in list(repeated.items())[:3])
        warnings.warn(
            f"{file}: {sum(repeated.values())} repeated gene names removed from {len(repeated)} sets: {first}"
            f"{', …' if len(repeated) > 3 else ''}.",
            PmLabWarning,
            stacklevel=4,
        )
    return unique


def _lines_of(path_or_name: str | Path) -> list[_Line]:
    if path_or_name == "core":
        return _read_lines(_bundled("core.gmt"))
    return _read_lines(Path(path_or_name))


def read_gmt(path_or_name: str | Path) -> dict[str, list[str]]:
    """Read gene sets from a gmt file.

    Parameters
    ----------
    path_or_name
        Path of a gmt file (tab-separated: set name, description, genes), or ``"core"`` for the bundled
        sets. Published collections are loaded: ``pm.datasets.load("gene_sets")["hallmark"]``.

    Returns
    -------
    dict
        Set name to its gene names, in the order of the file. A gene repeated within a set is kept once,
        with a :class:`~pm_lab.errors.PmLabWarning` that counts what was removed.

    Raises
    ------
    DataError
        If there is no such file, or a line is not gmt, has no genes, or repeats a set name; the line is
        named by its number.

    Examples
    --------
    >>> import pm_lab as pm
    >>> pm.gene_sets.read_gmt("core")["ERBB2_AMPLICON"][:3]
    ['ERBB2', 'GRB7', 'STARD3']
    """
    return {line.name: line.genes for line in _lines_of(path_or_name)}


def core(kind: str | None = None) -> dict[str, list[str]]:
    """Bundled gene sets: cell-type markers, pathways and signatures, as HGNC symbols.

    Parameters
    ----------
    kind
        ``"cell_type"`` (markers, most specific first), ``"pathway"`` or ``"signature"``; all when None.

    Returns
    -------
    dict
        Set name to gene symbols. Each call returns a new dictionary. The literature behind each set is
        in :func:`describe`.

    Raises
    ------
    DataError
        If there is no such kind.

    Examples
    --------
    >>> import pm_lab as pm
    >>> pm.gene_sets.core("cell_type")["B cell"][:3]
    ['MS4A1', 'CD79A', 'CD79B']
    """
    if kind is not None and kind not in KINDS:
        raise DataError(f"No core sets of kind {kind!r}. Kinds are: {', '.join(KINDS)}.")
    lines = _lines_of("core")
    return {line.name: line.genes for line in lines if kind in (None, _facts(line)["kind"])}


def _facts(line: _Line) -> dict[str, str]:
    """What a description of the form ``kind=…; source=…; checked=…`` says; empty where it does not."""
    given = dict(part.split("=", 1) for part in line.description.split("; ") if "=" in part)
    return {key: given.get(key, "") for key in ("kind", "source", "checked")}


def describe(path_or_name: str | Path = "core") -> pd.DataFrame:
    """Kind, size and literature source of each gene set.

    Parameters
    ----------
    path_or_name
        As for :func:`read_gmt`.

    Returns
    -------
    pandas.DataFrame
        One row per set: ``set``, ``kind``, ``n_genes``, ``source`` and ``checked`` ("yes" where the list
        was compared with the source's own file, "no" where it was compiled from the literature without
        it). The last two and ``kind`` are empty for files that do not state them.

    Raises
    ------
    DataError
        As :func:`read_gmt`.

    Examples
    --------
    >>> import pm_lab as pm
    >>> pm.gene_sets.describe().query("set == 'PAM50'")[["n_genes", "checked"]].values.tolist()
    [[50, 'yes']]
    """
    rows = [
        {"set": line.name, "n_genes": len(line.genes), **_facts(line)} for line in _lines_of(path_or_name)
    ]
    return pd.DataFrame(rows)[["set", "kind", "n_genes", "source", "checked"]]


def _all_names(gene_sets: Mapping[str, Iterable[str]]) -> set[str]:
    for name, members in gene_sets.items():
        if isinstance(members, str):
            raise DataError(f"Gene set {name!r} is a single string; give a list of gene names.")
    names = {gene for members in gene_sets.values() for gene in members}
    if not names:
        raise DataError("There are no genes in the gene sets given.")
    return names


def _mostly_ensembl(names: Iterable[str]) -> str | None:
    """First Ensembl gene id, if more than half of the names are such ids."""
    names = [str(name) for name in names]
    ids = [name for name in names if _ENSEMBL.fullmatch(name)]
    return ids[0] if 2 * len(ids) > len(names) else None


def _measured(gene_sets: Mapping[str, Iterable[str]], genes: Iterable[str]) -> set[str]:
    """The measured gene names, after refusing ids of another kind than those of the sets."""
    if isinstance(genes, str):
        raise DataError("genes is a single string; give all gene names of the data, e.g. adata.var_names.")
    measured = {str(gene) for gene in genes}
    if not measured:
        raise DataError("genes is empty; give all gene names of the data, e.g. adata.var_names.")
    in_data, in_sets = _mostly_ensembl(measured), _mostly_ensembl(_all_names(gene_sets))
    if in_data and not in_sets:
        raise DataError(
            f"The genes of the data are Ensembl ids ({in_data}, …), the gene sets use symbols. Put symbols "
            "into var_names first, e.g. adata.var_names = adata.var['symbol'], and make them unique."
        )
    if in_sets and not in_data:
        raise DataError(f"The gene sets use Ensembl ids ({in_sets}, …), the genes of the data are symbols.")
    return measured


def mapping_report(gene_sets: Mapping[str, Iterable[str]], genes: Iterable[str]) -> pd.DataFrame:
    """How much of each gene set is measured, and which of its genes are not.

    Parameters
    ----------
    gene_sets
        Set name to gene names.
    genes
        All gene names of the data, such as ``adata.var_names``.

    Returns
    -------
    pandas.DataFrame
        One row per set: ``set``, ``size`` (genes in the set), ``measured`` (of these, in the data),
        ``fraction`` (measured / size) and ``missing`` (the others, separated by commas). Names are compared
        as they are: :func:`match_symbols` mends older symbols first.

    Raises
    ------
    DataError
        If the data are named by Ensembl ids and the sets by symbols, or the other way round.

    Examples
    --------
    >>> import pm_lab as pm
    >>> report = pm.gene_sets.mapping_report({"T cell": ["CD3D", "CD3E"]}, ["CD3D", "ACTB"])
    >>> report[["set", "size", "measured", "missing"]].astype(str).values.tolist()
    [['T cell', '2', '1', 'CD3E']]
    """
    measured = _measured(gene_sets, genes)
    rows = []
    for name, members in gene_sets.items():
        members = list(dict.fromkeys(members))
        missing = [gene for gene in members if gene not in measured]
        found = len(members) - len(missing)
        fraction = found / len(members) if members else 0.0
        rows.append((name, len(members), found, fraction, ", ".join(missing)))
    return pd.DataFrame(rows, columns=["set", "size", "measured", "fraction", "missing"])


@cache
def _approved() -> dict[str, str]:
    table = pd.read_csv(_bundled("aliases.tsv"), sep="\t", dtype=str, keep_default_na=False)
    return dict(zip(table["alias"], table["approved"], strict=True))


@cache
def _synonyms() -> dict[str, tuple[str, ...]]:
    """Every name in the alias table to the names of the same gene, the approved symbol first."""
    groups: dict[str, list[str]] = {}
    for alias, approved in _approved().items():
        groups.setdefault(approved, [approved]).append(alias)
    return {name: tuple(names) for names in groups.values() for name in names}


def match_symbols(
    gene_sets: Mapping[str, Iterable[str]], genes: Iterable[str]
) -> tuple[dict[str, list[str]], pd.DataFrame]:
    """Write gene sets in the symbols that a data set uses, where it uses an older or newer name.

    A small bundled table of renamed genes is used in both directions: a set with ``JCHAIN`` finds ``IGJ`` in
    an older data set, a set with ``CDCA1`` finds ``NUF2`` in a newer one. A gene found under its own name
    is never renamed.

    Parameters
    ----------
    gene_sets
        Set name to gene symbols.
    genes
        All gene symbols of the data, such as ``adata.var_names``.

    Returns
    -------
    matched : dict
        The same sets, renamed genes under the names of the data, each gene once. Genes that are not
        measured under any known name stay as they were, so that :func:`mapping_report` can name them.
    mended : pandas.DataFrame
        One row per renamed gene and set: ``set``, ``symbol`` (in the set) and ``matched_as`` (in the data).

    Raises
    ------
    DataError
        If the data are named by Ensembl ids and the sets by symbols, or the other way round.

    Examples
    --------
    >>> import pm_lab as pm
    >>> sets, mended = pm.gene_sets.match_symbols({"Plasma cell": ["JCHAIN", "MZB1"]}, ["IGJ", "MZB1"])
    >>> sets
    {'Plasma cell': ['IGJ', 'MZB1']}
    """
    measured = _measured(gene_sets, genes)
    matched, mended = {}, []
    for name, members in gene_sets.items():
        names = {gene: _name_in(gene, measured) for gene in members}
        mended += [(name, gene, found) for gene, found in names.items() if found != gene]
        matched[name] = list(dict.fromkeys(names.values()))
    return matched, pd.DataFrame(mended, columns=["set", "symbol", "matched_as"])


def _name_in(gene: str, measured: set[str]) -> str:
    if gene in measured:
        return gene
    return next((name for name in _synonyms().get(gene, ()) if name in measured), gene)
