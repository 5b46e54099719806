"""How far long reads are, asked for by a task id that the client chose."""

from __future__ import annotations

import threading
from collections import OrderedDict

MOST_TASKS = 200


class Progress:
    """The newest tasks and how far each is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tasks: OrderedDict[str, dict] = OrderedDict()

    def report(self, task: str, done: float, what: str) -> None:
        """Set a task to ``done`` (0 to 1); the oldest task is forgotten when there are too many."""
        if not task:
            return
        with self._lock:
            self._tasks[task] = {"done": min(1.0, max(0.0, done)), "what": what}
            self._tasks.move_to_end(task)
            while len(self._tasks) > MOST_TASKS:
                self._tasks.popitem(last=False)

    def of(self, task: str) -> dict | None:
        """How far a task is, or None where it is not known."""
        with self._lock:
            return self._tasks.get(task)
