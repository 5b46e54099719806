"""From the path that the page knows a file by to the file itself, within the server's folder only."""

from __future__ import annotations

import re
from pathlib import Path

from jupyter_core.paths import is_hidden
from jupyter_server.services.contents.fileio import FileManagerMixin

from pm_lab.server.refusals import Refused

DRIVE = re.compile(r"^[A-Za-z][\w.-]*:")


def resolve(contents_manager, path: str, follow_symlinks: bool = False) -> tuple[Path, str]:
    """Find a file by its contents path (``/`` between folders, relative to the server's root).

    Returns the real path and the contents path without drive and leading slashes; messages name only the
    latter. Raises :class:`Refused` for whatever lies outside of the root, is hidden, or does not exist.
    """
    if not isinstance(contents_manager, FileManagerMixin):
        raise Refused(
            409,
            "This server keeps its files elsewhere than in a folder, so the viewer cannot open them.",
            "its contents manager",
            "Load the file in a notebook and show it there: import pm_lab as pm; pm.view(adata).",
        )
    root = Path(contents_manager.root_dir).resolve()
    parts = [part for part in _without_drive(root, path).split("/") if part not in ("", ".")]
    name = "/".join(parts)
    if not parts or "\0" in name:
        raise Refused(400, "The request names no file.", "path", "Pass path=folder/file.h5ad.")
    if ".." in parts:
        raise Refused(403, "The path leaves the server's folder.", name, "Open a file within that folder.")
    lexical = root.joinpath(*parts)
    try:
        real = lexical.resolve(strict=True)
        hidden = is_hidden(str(lexical), str(root)) or (
            real.is_relative_to(root) and is_hidden(str(real), str(root))
        )
    except (OSError, ValueError, RuntimeError):
        real, hidden = None, False
    inside = real is not None and real.is_relative_to(root)
    if real is not None and not inside and not _by_link(lexical, root):
        raise Refused(403, "The path leaves the server's folder.", name, "Open a file within that folder.")
    if real is None or (hidden and not contents_manager.allow_hidden):
        raise Refused(
            404, "There is no such file.", name, "Refresh the file browser: it may have been moved."
        )
    if not inside and not follow_symlinks:
        raise Refused(
            403,
            "This is a link to a file outside of the server's folder.",
            name,
            "Copy the file here, or let the server's administrator set PmLab.follow_symlinks to True.",
        )
    return real, name


def _without_drive(root: Path, path: str) -> str:
    """Drop ``RTC:`` and the like, which JupyterLab puts before paths of its drives."""
    if DRIVE.match(path.lstrip("/")) and not _exists(root / path.lstrip("/")):
        return DRIVE.sub("", path.lstrip("/"), count=1)
    return path


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _by_link(path: Path, root: Path) -> bool:
    """Whether a part of the path below the root is a symbolic link."""
    return any(
        step.is_symlink() for step in (path, *path.parents) if step.is_relative_to(root) and step != root
    )
