"""New notebooks for the person who asked: written through the contents manager, never over a file."""

from __future__ import annotations

import asyncio
from itertools import count

from jupyter_core.utils import ensure_async
from nbformat import NotebookNode
from tornado import web

from pm_lab.server.paths import DRIVE
from pm_lab.server.refusals import Refused

_one_at_a_time = asyncio.Lock()  # two requests at once must not find the same name free


async def save_new(contents_manager, notebook: NotebookNode, folder: str, stem: str) -> str:
    """Write a notebook as ``stem.ipynb``, ``stem-2.ipynb`` … in a folder; returns its contents path.

    Raises :class:`Refused` where the folder is none, lies outside of the server's, or cannot be written.
    """
    folder = DRIVE.sub("", folder.lstrip("/"), count=1).strip("/")
    if ".." in folder.split("/") or "\0" in folder:
        raise Refused(403, "The path leaves the server's folder.", folder, "Choose a folder within it.")
    try:
        async with _one_at_a_time:
            if not await ensure_async(contents_manager.dir_exists(folder)):
                raise Refused(404, "There is no such folder.", folder, "Choose another in the file browser.")
            path = await _free_path(contents_manager, folder, stem)
            model = {"type": "notebook", "format": "json", "content": notebook}
            await ensure_async(contents_manager.save(model, path))
    except (web.HTTPError, OSError) as error:
        raise Refused(
            403,
            "The notebook cannot be written into this folder.",
            folder or "the server's folder",
            "Go to a folder in the file browser in which you may write, then try again.",
        ) from error
    return path


async def _free_path(contents_manager, folder: str, stem: str) -> str:
    for number in count(1):
        name = f"{stem}.ipynb" if number == 1 else f"{stem}-{number}.ipynb"
        path = f"{folder}/{name}" if folder else name
        if not await ensure_async(contents_manager.exists(path)):
            return path
    raise AssertionError("count never ends")
