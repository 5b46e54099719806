"""What a user calls: which data sets there are, and one call that loads each."""

from __future__ import annotations

import hashlib
import os
import secrets
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pm_lab import keys
from pm_lab.datasets import download
from pm_lab.datasets.open import read_anndata
from pm_lab.datasets.readers import READERS
from pm_lab.datasets.registry import DataSet, find, listed, registered
from pm_lab.errors import DataError, DatasetUnavailable, PmLabWarning, ReaderMissing

if TYPE_CHECKING:
    import anndata
    import pandas as pd


def available() -> pd.DataFrame:
    """Every registered data set: one row each, read from the registry and the folders, with no network.

    Returns
    -------
    DataFrame with the columns ``name``, ``what``, ``n_obs``, ``n_vars`` (missing where the set is not
    one matrix), ``licence``, ``citation``, ``size_mb`` (of the files to fetch), ``where`` ("bundled",
    "cached", "mirror" or "to fetch"; "mirror" when a part of the files is there and the rest cached)
    and ``reader`` (whether :func:`load` can read it yet).

    Examples
    --------
    >>> import pm_lab as pm
    >>> sets = pm.datasets.available().set_index("name")
    >>> int(sets.loc["kang2018", "n_vars"])
    9015
    """
    import pandas as pd

    sets = list(registered().values())
    return pd.DataFrame(
        {
            "name": [s.name for s in sets],
            "what": [s.what for s in sets],
            "n_obs": pd.array([s.n_obs for s in sets], dtype="Int64"),
            "n_vars": pd.array([s.n_vars for s in sets], dtype="Int64"),
            "licence": [s.licence for s in sets],
            "citation": [s.citation for s in sets],
            "size_mb": [round(s.bytes / 1e6, 2) for s in sets],
            "where": _where(sets),
            "reader": [s.name in READERS for s in sets],
        }
    )


def load(name: str, fetch: bool = True) -> Any:
    """Load a data set by its registered name.

    Looked for in the cache, in the folder that ``PM_LAB_MIRROR`` names, and then downloaded from its
    pinned address; every raw file must have its registered SHA-256. What is built from raw files is
    kept beside them as h5ad, so that the second call is fast.

    Parameters
    ----------
    name
        A name of :func:`available`.
    fetch
        Download what is not on this machine. Analyses that load a set by themselves pass False.

    Returns
    -------
    AnnData, with its source, licence and citation in ``uns["pm_lab"]["load"]``; for ``"simulated"`` a
    :class:`~pm_lab.datasets.Cohort`; for ``"gene_sets"`` a dictionary of dictionaries of gene lists
    (``"hallmark"``, ``"go_bp"``, ``"c2_broad_2005"``); for ``"breast_signatures"`` a dictionary of
    DataFrames (``"pam50"``, ``"gene70"``, ``"gene76"``).

    Raises
    ------
    DataError
        No data set has this name.
    ReaderMissing
        The data set is registered, its reader is not written yet.
    DatasetUnavailable
        It is neither on this machine nor to be had, or a file is not the registered one.

    Examples
    --------
    >>> import pm_lab as pm
    >>> pm.datasets.load("gse7390").shape
    (198, 76)
    """
    data_set = find(name)
    if name not in READERS:
        raise ReaderMissing(
            f"{name!r} is registered, but this version has no reader for it. "
            f"pm.datasets.fetch({name!r}) gets its files:\n{listed(data_set.files)}"
        )
    if data_set.bundled_in:
        return _with_source(READERS[name].read(), data_set)
    built = _built_path(data_set)
    if built.is_file():
        data = _read_built(built, data_set)
        if data is not None:
            return data
    data = _with_source(READERS[name].read(*download.obtain(data_set.files, fetch)), data_set)
    _keep_built(data, built)
    return data


def fetch(name: str) -> list[Path]:
    """Make sure that the raw files of a data set are on this machine, and return their verified paths.

    Bundled sets have none. Raises :class:`DatasetUnavailable` as :func:`load` does.

    Examples
    --------
    >>> import pm_lab as pm
    >>> pm.datasets.fetch("gse7390")
    []
    """
    return download.obtain(find(name).files)


def verify(name: str) -> pd.DataFrame:
    """Check the raw files of a data set against their registered SHA-256, changing nothing.

    Returns
    -------
    DataFrame, one row a file: ``file``, ``where`` ("cached", "mirror" or "absent"), ``ok`` (False also
    for absent files) and ``problem`` (empty if there is none).

    Examples
    --------
    >>> import pm_lab as pm
    >>> pm.datasets.verify("gse7390").empty
    True
    """
    import pandas as pd

    rows = []
    for file, place in download.locate(find(name).files).items():
        where, problem = "absent", "absent"
        if place is not None:
            where, problem = place[0], ""
            try:
                download.refuse_other_content(file, place[1])
            except DatasetUnavailable as error:
                problem = str(error)
        rows.append((file.name, where, not problem, problem))
    return pd.DataFrame(rows, columns=["file", "where", "ok", "problem"])


def citation(name: str) -> str:
    """How to cite a data set, its licence, and what its user should know.

    Examples
    --------
    >>> import pm_lab as pm
    >>> print(pm.datasets.citation("golub"))
    Golub et al. 1999, Science 286:531, doi:10.1126/science.286.5439.531
    Licence: MIT (package datamicroarray)
    """
    data_set = find(name)
    lines = [data_set.citation, f"Licence: {data_set.licence}", data_set.notes]
    return "\n".join(line for line in lines if line)


def _where(sets: list[DataSet]) -> list[str]:
    places = download.locate(file for data_set in sets for file in data_set.files)

    def one(data_set: DataSet) -> str:
        if data_set.bundled_in:
            return "bundled"
        if data_set.name in READERS and _built_path(data_set).is_file():
            return "cached"
        found = {places[file][0] if places[file] else "to fetch" for file in data_set.files}
        return next(where for where in ("to fetch", "mirror", "cached") if where in found)

    return [one(data_set) for data_set in sets]


def _with_source(data: Any, data_set: DataSet) -> Any:
    """Say in an AnnData where it comes from; other kinds of data have no place for it."""
    import anndata

    if isinstance(data, anndata.AnnData):
        source = {"name": data_set.name, "licence": data_set.licence, "citation": data_set.citation}
        if not data_set.bundled_in:
            source["key"] = _key(data_set)
        data.uns.setdefault(keys.RECORD, {})["load"] = source
    return data


def _key(data_set: DataSet) -> str:
    """Changes with the reader and with the files, so that nothing stale is ever read."""
    parts = [data_set.name, str(READERS[data_set.name].version), *(file.sha256 for file in data_set.files)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _built_path(data_set: DataSet) -> Path:
    return download.cache_folder() / data_set.name / f"{data_set.name}-{_key(data_set)}.h5ad"


def _read_built(path: Path, data_set: DataSet) -> anndata.AnnData | None:
    """What was built before, or None, with a warning, if the file is damaged or not ours."""
    try:
        data = read_anndata(path)
        recorded = data.uns.get(keys.RECORD, {}).get("load", {}).get("key")
        if recorded == _key(data_set):
            return data
        reason = "it was not written by pm_lab for this data set"
    except DataError as error:
        reason = str(error)
    warnings.warn(f"{path} is built again: {reason}", PmLabWarning, stacklevel=3)
    return None


def _keep_built(data: Any, path: Path) -> None:
    """Write to a name of our own, then rename: two processes may build at once, and either may be killed."""
    import anndata

    if not isinstance(data, anndata.AnnData):
        return
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(_h5ad_bytes(data))
        unfinished.replace(path)
    except OSError as error:
        name = data.uns[keys.RECORD]["load"]["name"]
        warnings.warn(
            f"{name} was loaded, but not kept for next time: {path.parent} cannot be written "
            f"({error.strerror or error}). PM_LAB_CACHE names another folder.",
            PmLabWarning,
            stacklevel=3,
        )
    finally:
        with suppress(OSError):  # where the folder cannot be written, there is nothing of ours in it
            unfinished.unlink(missing_ok=True)


def _h5ad_bytes(data: anndata.AnnData) -> bytes:
    """The h5ad file in memory: HDF5 that runs into a full disk can crash the whole process."""
    import anndata
    import h5py

    with h5py.File(secrets.token_hex(8), "w", driver="core", backing_store=False) as file:
        # gzip carries a checksum: a damaged chunk is noticed when it is read.
        anndata.io.write_elem(file, "/", data, dataset_kwargs={"compression": "gzip", "compression_opts": 1})
        file.flush()
        return file.id.get_file_image()
