"""The one guarded opener: every h5ad, zarr and table that a user brings is read through here.

A crafted file can make HDF5 return the content of other files of this machine (external links,
external storage, virtual datasets), run code (zarr's pickle codec), or declare arrays that do not fit
in memory. All of it is looked for before anything is read.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pm_lab.errors import DataError

if TYPE_CHECKING:
    import anndata
    import h5py
    import pandas as pd

# Count matrices compress 5 to 50 times; only a bomb declares more than this for what it takes on disk.
MOST_EXPANSION = 200
SMALL_BYTES = 256 * 2**20  # below this size the ratio does not matter
MOST_OBJECTS = 100_000  # groups and datasets: an h5ad has hundreds, and each takes time to look at
ZARR_CODECS = {
    *("blosc", "bytes", "bz2", "crc32c", "gzip", "lz4", "lzma", "sharding_indexed", "transpose"),
    *("vlen-array", "vlen-bytes", "vlen-utf8", "zlib", "zstd"),
}


def read_anndata(path: str | Path, *, max_bytes: int | None = None) -> anndata.AnnData:
    """Read an ``.h5ad`` file or a ``.zarr`` folder that may come from anywhere.

    Parameters
    ----------
    path
        A local file or folder; addresses are refused.
    max_bytes
        The most memory its arrays may declare together. By default what this machine has free.

    Raises
    ------
    DataError
        The file points outside itself, declares more than ``max_bytes``, declares over 200 times (and
        over 256 MiB) what it takes on disk, uses a codec that can run code, or is no readable AnnData.

    Examples
    --------
    >>> import anndata, numpy, tempfile, pathlib
    >>> import pm_lab as pm
    >>> file = pathlib.Path(tempfile.mkdtemp(), "mine.h5ad")
    >>> anndata.AnnData(numpy.eye(3)).write_h5ad(file)
    >>> pm.datasets.read_anndata(file).shape
    (3, 3)
    """
    path = _local(path)
    if path.is_dir():
        return _read_zarr(path, max_bytes)
    import anndata

    with opened_h5ad(path, max_bytes):
        pass
    with _readable(path):
        return anndata.io.read_h5ad(path)


@contextmanager
def opened_h5ad(path: str | Path, max_bytes: float | None = math.inf) -> Iterator[h5py.File]:
    """Open an h5ad that was checked as :func:`read_anndata` does, to read parts of it.

    Raises
    ------
    DataError
        As :func:`read_anndata`; also what goes wrong while the file is open, with its name.
    """
    import h5py

    path = _local(path)
    if not h5py.is_hdf5(path):
        raise DataError(f"{path} is not an h5ad file (it has no HDF5 signature). Was it copied completely?")
    with _readable(path), h5py.File(path, "r") as file:
        check_hdf5(file, path, max_bytes)
        yield file


def read_table(path: str | Path, *, max_bytes: int | None = None, **options) -> pd.DataFrame:
    """Read a ``.csv``, ``.tsv`` or ``.txt`` table, gzipped or not, from this machine only.

    Parameters
    ----------
    path
        A local file; addresses are refused.
    max_bytes
        The most bytes it may have when unpacked. By default what this machine has free.
    **options
        Passed to :func:`pandas.read_csv`. The separator is a comma for ``.csv``, else a tab.

    Raises
    ------
    DataError
        Another kind of file, one that unpacks to too much, or one that is no table.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> import pm_lab as pm
    >>> file = pathlib.Path(tempfile.mkdtemp(), "mine.csv")
    >>> _ = file.write_text("patient,age\\nP1,61\\n")
    >>> pm.datasets.read_table(file)
      patient  age
    0      P1   61
    """
    import pandas as pd

    path = _local(path)
    kinds = [suffix.lower() for suffix in path.suffixes]
    packed = kinds[-1:] == [".gz"]
    kind = (kinds[:-1] if packed else kinds)[-1:]
    if kind not in ([".csv"], [".tsv"], [".txt"]):
        raise DataError(f"{path.name}: a table must be .csv, .tsv or .txt, gzipped (.gz) or not.")
    with _readable(path):
        if packed:
            _check_sizes(path, _unpacked_bytes(path, max_bytes), max_bytes, path.stat().st_size)
        else:
            _check_sizes(path, path.stat().st_size, max_bytes)
        options = {"sep": "," if kind == [".csv"] else "\t"} | options
        return pd.read_csv(path, compression="gzip" if packed else None, **options)


def _local(path: str | Path) -> Path:
    if "://" in str(path):
        raise DataError(f"{path} is an address: download the file first, then pass its path.")
    path = Path(path).expanduser()
    if not path.exists():
        raise DataError(f"{path} does not exist.")
    return path


@contextmanager
def _readable(path: Path):
    """Turn whatever a reader raises on a broken file into a :class:`DataError` that names the file."""
    try:
        yield
    except (DataError, MemoryError):
        raise
    except Exception as error:
        raise DataError(f"{path} cannot be read: {type(error).__name__}: {error}") from error


def _check_sizes(path: Path, declared: int, max_bytes: float | None, on_disk: int | None = None) -> None:
    """Refuse what does not fit in memory, and what declares far more than it holds."""
    if max_bytes is None:
        import psutil

        max_bytes = psutil.virtual_memory().available
    if declared > max_bytes:
        raise DataError(
            f"{path} declares {declared / 1e9:,.1f} GB of data and {max_bytes / 1e9:,.1f} GB are allowed. "
            "Pass max_bytes= if it may have more."
        )
    if on_disk is not None and declared > max(SMALL_BYTES, MOST_EXPANSION * on_disk):
        raise DataError(
            f"{path} takes {on_disk:,} bytes on disk and declares {declared:,}: no measured data shrink "
            "that much. It is damaged or made to exhaust memory. If it is yours, write it again without "
            "compression."
        )


def check_hdf5(file: h5py.File, path: Path, max_bytes: float | None = None) -> None:
    """Walk every object of an open HDF5 file before its data are read.

    Raises :class:`DataError` where it points outside itself or declares more than ``max_bytes`` (by default
    what this machine has free; ``math.inf`` for a reader that takes a part at a time) or far more than it
    takes on disk.
    """
    import h5py

    seen: set[int] = set()
    declared = 0
    waiting: list[h5py.Group | h5py.Dataset] = [file["/"]]
    referred: list[tuple[str, h5py.Group | h5py.Dataset]] = []
    while waiting:
        item = waiting.pop()
        if isinstance(item, h5py.Dataset):
            _check_dataset(item, path)
            # Once for every link to it, as a reader would allocate it. An empty dataspace has no size.
            # The type's own size: of some types numpy has no equivalent.
            declared += (item.size or 0) * item.id.get_type().get_size()
        elif _address(item) in seen:
            raise DataError(f"{path}: the group {item.name!r} is linked twice, which no h5ad needs.")
        else:
            waiting.extend(_members(item, path))
        seen.add(_address(item))
        if len(seen) > MOST_OBJECTS:
            raise DataError(f"{path} holds over {MOST_OBJECTS:,} groups and datasets, which no h5ad needs.")
        referred.extend((item.name, target) for target in _referred(item))
    for name, target in referred:
        if _address(target) not in seen:
            raise DataError(f"{path}: an attribute of {name!r} refers to an object that is in no group.")
    _check_sizes(path, declared, max_bytes, path.stat().st_size)


def _address(item: h5py.Group | h5py.Dataset) -> int:
    import h5py

    return h5py.h5o.get_info(item.id).addr


def _check_dataset(dataset: h5py.Dataset, path: Path) -> None:
    if dataset.external or dataset.is_virtual:
        kind = "external storage" if dataset.external else "a virtual dataset"
        raise DataError(
            f"{path}: {dataset.name!r} is {kind}: its values would be read from other files of this machine. "
            "Ask its sender for a file that holds its own data."
        )


def _members(group: h5py.Group, path: Path) -> Iterator[h5py.Group | h5py.Dataset]:
    import h5py

    for name in group:
        if isinstance(name, bytes):
            raise DataError(f"{path}: {name!r} in {group.name} is no name in UTF-8, as those of an h5ad are.")
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            kind = "an external link" if isinstance(link, h5py.ExternalLink) else "a soft link"
            raise DataError(
                f"{path}: {group.name.rstrip('/')}/{name} is {kind} to {link.path!r}. An h5ad file holds its "
                "own data. Ask its sender for one that does."
            )
        member = group[name]
        if isinstance(member, (h5py.Group, h5py.Dataset)):
            yield member


def _referred(item: h5py.Group | h5py.Dataset) -> Iterator[h5py.Group | h5py.Dataset]:
    """What object references in attributes point to: old h5ad files name their categories that way."""
    import h5py
    import numpy as np

    for name in item.attrs:
        if h5py.check_ref_dtype(item.attrs.get_id(name).dtype) is not None:
            for reference in np.ravel(np.asarray(item.attrs[name], dtype=object)):
                if reference:
                    yield item.file[reference]


def _read_zarr(path: Path, max_bytes: int | None) -> anndata.AnnData:
    import anndata
    import zarr

    with _readable(path):
        check_zarr(path, max_bytes)
        # Consolidated metadata are a second copy that could differ from what was checked.
        return anndata.io.read_zarr(zarr.open_group(str(path), mode="r", use_consolidated=False))


def check_zarr(path: Path, max_bytes: float | None = None) -> None:
    """Walk a zarr folder before its data are read: as :func:`check_hdf5`, and no codec may run code."""
    on_disk, declared = 0, 0
    for item in path.rglob("*"):
        if item.is_symlink():
            raise DataError(f"{path}: {item.relative_to(path)} is a symbolic link to another file.")
        if item.is_file():
            on_disk += item.stat().st_size
        elif not item.is_dir():
            raise DataError(f"{path}: {item.relative_to(path)} is a pipe or a device, no file.")
        if item.name in (".zarray", "zarr.json"):
            declared += _check_zarr_array(item, path)
    _check_sizes(path, declared, max_bytes, on_disk)


def _check_zarr_array(file: Path, path: Path) -> int:
    """Bytes that one array's metadata declare; its codecs must be among those that only compress."""
    metadata = json.loads(file.read_text(encoding="utf-8"))
    if metadata.get("node_type") == "group":
        return 0
    foreign = sorted(set(_codec_names(metadata)) - ZARR_CODECS)
    if foreign:
        raise DataError(
            f"{path}: {file.parent.relative_to(path)} uses the codec(s) {', '.join(foreign)}, which are not "
            "among those that only compress. Ask its sender to write it with blosc, gzip or zstd."
        )
    return math.prod(metadata["shape"]) * _item_bytes(metadata.get("dtype") or metadata["data_type"])


def _codec_names(metadata: dict) -> Iterator[str]:
    """Names of all codecs of zarr format 2 (compressor, filters) and 3 (codecs, nested in shards)."""
    for codec in [metadata.get("compressor"), *(metadata.get("filters") or [])]:
        if codec is not None:
            yield str(codec["id"])
    for codec in metadata.get("codecs") or []:
        yield str(codec["name"]).removeprefix("numcodecs.")
        configuration = codec.get("configuration") or {}
        yield from _codec_names({"codecs": configuration.get("codecs")})
        yield from _codec_names({"codecs": configuration.get("index_codecs")})


def _item_bytes(kind: str | list | dict) -> int:
    """Bytes of one element of a zarr data type: a name, a list of fields, or (format 3) a description."""
    import numpy as np

    if isinstance(kind, list):
        return sum(_field_bytes(field) for field in kind)
    if isinstance(kind, dict):
        configuration = kind.get("configuration") or {}
        if "fields" in configuration:
            return _item_bytes(configuration["fields"])
        return configuration.get("length_bytes", np.dtype("O").itemsize)
    try:
        return np.dtype(kind).itemsize
    except TypeError:  # strings of any length and the like: one pointer each
        return np.dtype("O").itemsize


def _field_bytes(field: list | dict) -> int:
    """Bytes of one field: (name, type, shape) of format 2, or a description of format 3."""
    if isinstance(field, dict):
        return _item_bytes(field["data_type"])
    return _item_bytes(field[1]) * math.prod(field[2] if len(field) > 2 else ())


def _unpacked_bytes(path: Path, max_bytes: int | None) -> int:
    """Size of a gzip file unpacked, counted no further than it may grow."""
    most = max(SMALL_BYTES, MOST_EXPANSION * path.stat().st_size)
    if max_bytes is not None:
        most = min(most, max_bytes)
    size = 0
    with gzip.open(path) as stream:
        while size <= most and (chunk := stream.read(1 << 20)):
            size += len(chunk)
    return size
