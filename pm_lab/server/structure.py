"""Route ``anndata/structure``: what is in a file, without reading a whole column of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
from tornado import web

from pm_lab import keys
from pm_lab.server.answers import PmLabHandler
from pm_lab.server.columns import plain
from pm_lab.server.elements import (
    UNREADABLE,
    Matrix,
    as_matrix,
    attribute,
    is_group,
    items,
    keys_of,
    matrix_names,
    member,
    reason,
)
from pm_lab.server.file_warnings import quick_warnings
from pm_lab.server.files import Handle
from pm_lab.server.frames import Frame, frame
from pm_lab.server.matrix_kind import judged
from pm_lab.server.refusals import Refused

MOST_COLUMNS = 2_000  # listed; a file with more says how many there are
MOST_NODES, MOST_CHILDREN, MOST_DEPTH = 200, 60, 3  # of uns
LONGEST_VALUE = 200  # characters of a single value of uns
FIRST_EMBEDDINGS = ("X_umap", "X_tsne", "X_draw_graph_fa", "X_phate", "spatial", "X_spatial", "X_pca")
MOST_PATIENTS = 20_000  # a table of more rows is hardly one of patients


def structure(handle: Handle) -> dict:
    """What the overview shows of a file; the keys are those of the route's answer."""
    return handle.remember(("structure",), lambda: _structure(handle))


def _structure(handle: Handle) -> dict:
    unreadable: list[dict] = []
    obs, var = frame(handle, "obs"), frame(handle, "var")
    matrices = dict(_matrices(handle, unreadable))
    raw = matrices.pop("raw/X", None)
    described = {
        "path": handle.name,
        "name": handle.name.rpartition("/")[2],
        "format": handle.format,
        "size": _size(handle),
        "modified": datetime.fromtimestamp(handle.identity.modified_ns / 1e9, UTC).isoformat(),
        "etag": handle.identity.etag,
        "n_obs": obs.n,
        "n_vars": var.n,
        "encoding": {
            "type": str(attribute(handle.file, "encoding-type", "") or ""),
            "version": str(attribute(handle.file, "encoding-version", "") or ""),
        },
        "x": matrices.pop("X", None),
        "layers": list(matrices.values()),
        "raw": raw and {"n_vars": raw["shape"][1], "x": raw},
        "obs": _frame(obs, "obs", unreadable),
        "var": _frame(var, "var", unreadable),
    }
    for where in ("obsm", "varm", "obsp", "varp"):
        described[where] = list(_arrays(handle, where, obs.n if where == "obsm" else None, unreadable))
    described["uns"] = _uns(handle)
    described["default_embedding"] = _default_embedding(described["obsm"])
    described["cohort"] = _cohort(handle, obs)
    described["unreadable"] = unreadable
    described["warnings"] = quick_warnings(described)
    return described


def _size(handle: Handle) -> int:
    """Bytes on disk; of a zarr folder those of all its chunks."""
    if handle.format == "h5ad":
        return handle.identity.size
    folder = handle.file.store.root
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _matrices(handle: Handle, unreadable: list[dict]) -> Iterator[tuple[str, dict]]:
    for name, where in matrix_names(handle).items():
        try:
            yield name, _matrix(as_matrix(member(handle.file, where), where), name)
        except Refused as error:
            unreadable.append({"where": where, "what": error.what})
        except UNREADABLE as error:
            unreadable.append({"where": where, "what": reason(error)})


def _matrix(matrix: Matrix, name: str) -> dict:
    holds, how = judged(matrix)
    parts = [part for part in (matrix.data, matrix.indices, matrix.indptr) if part is not None]
    return {
        "name": name,
        "kind": matrix.kind,
        "shape": list(matrix.shape),
        "dtype": str(matrix.dtype),
        "n_stored": matrix.n_stored,
        "bytes": sum(_bytes(part) for part in parts),
        "chunks": list(matrix.data.chunks) if matrix.data.chunks else None,
        "compression": _compression(matrix.data),
        "holds": holds,
        "how": how,
    }


def _bytes(array: Any) -> int:
    """What an array takes in memory, whatever it takes on disk."""
    return int(np.prod(array.shape, dtype=np.float64)) * array.dtype.itemsize if array.shape else 0


def _compression(array: Any) -> str | None:
    if hasattr(array, "compressors"):  # zarr
        names = [type(one).__name__.removesuffix("Codec").lower() for one in array.compressors]
        return ", ".join(names) or None
    return array.compression


def _frame(table: Frame, where: str, unreadable: list[dict]) -> dict:
    unreadable.extend({"where": f"{where}/{name}", "what": what} for name, what in table.unreadable.items())
    columns = []
    for column in list(table.columns.values())[:MOST_COLUMNS]:
        described = {"name": column.name, "type": column.type, "encoding": column.encoding}
        if column.type == "category":
            described["n_categories"] = column.n_categories
        columns.append(described)
    return {"n": table.n, "index": table.index_name, "columns": columns, "n_columns": len(table.columns)}


def _arrays(handle: Handle, where: str, n_obs: int | None, unreadable: list[dict]) -> Iterator[dict]:
    for name, item in items(handle, where).items():
        try:
            described = {"name": name, **_array(item)}
            if n_obs is not None:
                described["points"] = described["shape"][:1] == [n_obs] and _are_points(item, n_obs)
            yield described
        except (Refused, *UNREADABLE) as error:
            what = error.what if isinstance(error, Refused) else reason(error)
            unreadable.append({"where": f"{where}/{name}", "what": what})


def _are_points(item: Any, n: int) -> bool:
    """Whether rows can be shown at two of its columns: an array or a data frame of numbers."""
    if not is_group(item):
        return item.ndim == 2 and item.shape[1] >= 2 and item.dtype.kind in "biuf"
    if attribute(item, "encoding-type") != "dataframe":
        return False
    columns = Frame(item, n).columns.values()
    return len(columns) >= 2 and all(column.type in ("number", "integer") for column in columns)


def _array(item: Any) -> dict:
    """Kind, shape and size of an entry of obsm and the like: an array, a sparse matrix or a data frame."""
    if item is None:
        raise Refused(422, "Its type is not known here.")
    if not is_group(item):
        kind = {"kind": "dense", "shape": list(item.shape), "dtype": str(item.dtype)}
        return kind | {"bytes": _bytes(item)}
    if attribute(item, "encoding-type") == "dataframe":
        names = keys_of(item)
        index = attribute(item, "_index")
        columns = [name for name in names if name not in (index, "__categories")]
        rows = int(item[index].shape[0]) if index in names and not is_group(item[index]) else 0
        size = sum(_bytes(item[name]) for name in names if not is_group(item[name]))
        return {"kind": "dataframe", "shape": [rows, len(columns)], "dtype": "dataframe", "bytes": size}
    matrix = as_matrix(item, "")
    size = sum(_bytes(part) for part in (matrix.data, matrix.indices, matrix.indptr))
    return {"kind": matrix.kind, "shape": list(matrix.shape), "dtype": str(matrix.dtype), "bytes": size}


def _uns(handle: Handle) -> list[dict]:
    """The tree of uns, the upper levels first, cut where it is deep or long (``n_more`` says by how many)."""
    top = {"children": []}
    waiting = deque([(member(handle.file, "uns"), top, 1)])
    left = MOST_NODES
    while waiting:
        group, parent, depth = waiting.popleft()
        names = keys_of(group)
        shown = names[: min(left, MOST_CHILDREN)]
        left -= len(shown)
        parent["children"] = [{"name": name, **_node(member(group, name))} for name in shown]
        if len(shown) < len(names):
            parent["n_more"] = len(names) - len(shown)
        for node in parent["children"]:
            item = member(group, node["name"])
            if is_group(item) and depth < MOST_DEPTH:
                waiting.append((item, node, depth + 1))
    return top["children"]


def _node(item: Any) -> dict:
    if item is None:
        return {"kind": "unreadable", "shape": None, "dtype": None, "bytes": 0}
    if is_group(item):
        kind = str(attribute(item, "encoding-type", "") or "dict")
        return {"kind": kind, "shape": None, "dtype": None, "bytes": 0}
    try:
        return _leaf(item)
    except UNREADABLE:
        return _node(None)


def _leaf(item: Any) -> dict:
    shape = list(item.shape or ())
    leaf = {"kind": "array" if shape else "value", "shape": shape, "dtype": str(item.dtype)}
    leaf["bytes"] = _bytes(item)
    if not shape and item.size == 1:  # an empty dataspace has no value
        leaf["value"] = _single(item)
    return leaf


def _single(item: Any) -> Any:
    value = item[()]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    value = plain(value.item() if isinstance(value, np.ndarray) else value)
    return value[:LONGEST_VALUE] if isinstance(value, str) else value


def _default_embedding(obsm: list[dict]) -> str | None:
    names = [entry["name"] for entry in obsm if entry["points"]]
    return next((name for name in FIRST_EMBEDDINGS if name in names), names[0] if names else None)


def _cohort(handle: Handle, obs: Frame) -> dict:
    """Whether the rows are patients, so that the patient explorer makes sense; from a part of the rows."""
    declared = member(member(handle.file, "uns"), keys.ENDPOINTS)
    if is_group(declared) and keys_of(declared):
        return {"is": True, "why": f"It declares the endpoints {', '.join(keys_of(declared)[:5])}."}
    patients = obs.columns.get(keys.PATIENT)
    if patients is None:
        return {"is": False, "why": f"It declares no endpoints and obs has no column {keys.PATIENT!r}."}
    if obs.n > MOST_PATIENTS:
        return {"is": False, "why": f"{obs.n:,} rows are cells rather than patients."}
    seen = patients.read(0, MOST_PATIENTS)
    known = seen.array[~seen.missing]
    if len(known) and len(set(known.tolist())) == len(known):
        return {"is": True, "why": f"Each row has its own value in obs[{keys.PATIENT!r}]."}
    return {"is": False, "why": f"Several rows share a value in obs[{keys.PATIENT!r}]."}


class StructureHandler(PmLabHandler):
    """GET ``anndata/structure?path``: see :func:`structure`; 304 for ``If-None-Match`` with this version."""

    @web.authenticated
    async def get(self) -> None:
        if not await self.unchanged():
            found = await self.read(structure)
            self.answer(found, found["etag"])


ROUTES = [(r"anndata/structure", StructureHandler)]
