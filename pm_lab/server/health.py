"""Route ``doctor``: what ``pm-lab doctor`` finds, run in a process of its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time

from tornado import web

from pm_lab.server.answers import PmLabHandler
from pm_lab.server.refusals import Refused

KEPT_SECONDS = 5.0
TIMEOUT_SECONDS = 120
# -P: a folder of the user must not lend its json.py or pm_lab.py to the doctor.
COMMAND = (sys.executable, "-P", "-m", "pm_lab.cli", "doctor", "--json")
MEND = "Run pm-lab doctor in a terminal of the environment that JupyterLab runs in."


class Doctor:
    """The last report; a new one is made for whoever asks after some seconds, one at a time."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._report: dict = {}
        self._made = 0.0

    async def report(self, in_thread) -> dict:
        """``{"ok", "findings"}``, made by ``in_thread(function)`` unless a fresh one is there."""
        async with self._lock:
            if not self._report or time.monotonic() - self._made > KEPT_SECONDS:
                self._report = await in_thread(_ask)
                self._made = time.monotonic()
            return self._report


class DoctorHandler(PmLabHandler):
    """GET ``doctor``: ``{ok, findings: [{check, status, finding, mend}]}``."""

    @web.authenticated
    async def get(self) -> None:
        doctor = self.settings.setdefault("pm_lab_doctor", Doctor())
        self.answer(await doctor.report(self.in_thread))


def _ask() -> dict:
    """The doctor's JSON. It exits with 1 where something is broken, and prints the same."""
    try:
        done = subprocess.run(
            COMMAND, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, stdin=subprocess.DEVNULL
        )
        report = json.loads(done.stdout)
    except subprocess.TimeoutExpired as error:
        what = f"The doctor did not finish within {TIMEOUT_SECONDS} s."
        raise Refused(504, what, "pm-lab doctor", MEND) from error
    except (OSError, ValueError) as error:
        raise Refused(502, "The doctor ended without a report.", "pm-lab doctor", MEND) from error
    return report | {"findings": [_known_better(finding) for finding in report["findings"]]}


def _known_better(finding: dict) -> dict:
    """The doctor reads configuration files only; that this server part is on is proven by its answer."""
    if finding["check"] == "pm_lab server part" and finding["status"] != "ok":
        return finding | {"status": "ok", "finding": "switched on: it gave this report", "mend": ""}
    return finding


ROUTES = [(r"doctor", DoctorHandler)]
