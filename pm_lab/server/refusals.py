"""What a request is refused with: a status, what is wrong, where, and how to mend it."""

from __future__ import annotations


class Refused(Exception):
    """The request cannot be answered. Becomes a JSON body with the same three texts."""

    def __init__(self, status: int, what: str, where: str = "", mend: str = "") -> None:
        super().__init__(what)
        self.status, self.what, self.where, self.mend = status, what, where, mend


class Cancelled(Exception):
    """The client went away: nobody waits for this answer any more."""
