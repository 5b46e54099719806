"""Route ``progress``: how far a long read is."""

from __future__ import annotations

from tornado import web

from pm_lab.server.answers import PmLabHandler
from pm_lab.server.refusals import Refused


class TaskHandler(PmLabHandler):
    """GET ``progress?task=``: ``{"done": 0..1, "what": "reading CD3E"}``; 404 where the task is not known."""

    @web.authenticated
    async def get(self) -> None:
        task = self.lab.progress.of(self.text("task"))
        if task is None:
            raise Refused(404, "No such task is running.", "task")
        self.answer(task)


ROUTES = [(r"progress", TaskHandler)]
