"""The file of an AnnData: a link that JupyterLab opens in its viewer, and a new file that replaces none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from pm_lab.errors import DataError
from pm_lab.explorer.page import Html, as_html

if TYPE_CHECKING:
    from anndata import AnnData

OPEN = "Open in viewer"


def offer(path: Path | None) -> Html:
    """The link to a file; without a file, how to get one."""
    if path is None:
        return Html(
            "To open it in the viewer, keep it in a file: "
            "<code>pm.view(adata, path=&quot;cells.h5ad&quot;)</code>"
        )
    name = as_html(path.name)
    if path.is_dir():
        return Html(f"{name} is a folder: open it from the file browser.")
    link = _relative(path)
    if link is None:
        return Html(f"{name} is outside the folders of this notebook: open it from the file browser.")
    return Html(f'<a href="{as_html(link)}">{OPEN}</a>: {name}')


def _relative(path: Path) -> str | None:
    """The way from the notebook's folder; None where it would lead over the folders of this machine."""
    here, path = Path.cwd().resolve(), path.resolve()
    try:
        shared = Path(os.path.commonpath([here, path]))
    except ValueError:  # on another drive
        return None
    home = Path.home()
    personal = (
        shared == home or home in shared.parents or (len(shared.parts) > 2 and shared not in home.parents)
    )
    if here not in path.parents and not personal:
        return None
    return quote(Path("./" + os.path.relpath(path, here)).as_posix())


def keep(adata: AnnData, path: Path) -> str:
    """Write an AnnData where there is no file yet, or see that the one there is its own; say which.

    Raises
    ------
    DataError
        The file holds another AnnData, or is none; its folder does not exist; the AnnData has another file.
    """
    if adata.isbacked:
        raise DataError(
            f"this AnnData already has a file, {Path(adata.filename).name}: leave path out to link to it."
        )
    if path.suffix.lower() != ".h5ad":
        raise DataError(f"{path.name}: the name of the file must end in .h5ad.")
    if not path.parent.is_dir():
        raise DataError(f"{path.name} cannot be written: its folder does not exist. Make it first.")
    if not path.exists():
        _write(adata, path)
        return f"{path.name} was written."
    _require_same(adata, path)
    return (
        f"{path.name} was there before and was left as it is: the names agree, the values were not compared."
    )


def _write(adata: AnnData, path: Path) -> None:
    """Write beside it first, then take the name, which fails where somebody took it meanwhile."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        adata.write_h5ad(part, compression="gzip", convert_strings_to_categoricals=False)
        with path.open("xb"):
            pass
        part.replace(path)
    except FileExistsError:
        raise DataError(
            f"{path.name} appeared while this was written and was not replaced: choose another name."
        ) from None
    finally:
        part.unlink(missing_ok=True)


def _require_same(adata: AnnData, path: Path) -> None:
    from .contents import of_file

    there = of_file(path)
    if not (there.obs.index.equals(adata.obs_names) and there.var_names.equals(adata.var_names)):
        raise DataError(
            f"{path.name} exists and holds another AnnData ({there.n_obs:,} × {there.n_vars:,}, or other "
            "names). It was not replaced: choose a name that does not exist."
        )
