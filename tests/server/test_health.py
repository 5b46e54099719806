"""The doctor's findings, as the panel gets them."""

import asyncio
import sys

from pm_lab.server import health

REPORT = (
    '{"ok": false, "findings": [{"check": "memory", "status": "fail", "finding": "none", "mend": "buy"}]}'
)


def doctor(monkeypatch, code):
    monkeypatch.setattr(health, "COMMAND", (sys.executable, "-c", code))


async def test_the_doctor_is_asked(call):
    status, report = await call("doctor")
    assert status == 200 and isinstance(report["ok"], bool)
    assert {"Python", "packages", "memory"} <= {finding["check"] for finding in report["findings"]}
    assert set(report["findings"][0]) == {"check", "status", "finding", "mend"}


async def test_what_is_broken_is_a_report_too(call, monkeypatch):
    doctor(monkeypatch, f"print({REPORT!r}); raise SystemExit(1)")
    status, report = await call("doctor")
    assert status == 200 and report["ok"] is False and report["findings"][0]["mend"] == "buy"


async def test_a_server_part_that_answers_is_on(call, monkeypatch):
    doctor(monkeypatch, f"print({REPORT.replace('memory', 'pm_lab server part')!r})")
    _, report = await call("doctor")
    assert report["findings"][0]["status"] == "ok" and report["findings"][0]["mend"] == ""


async def test_many_who_ask_at_once_get_one_report(call, monkeypatch, tmp_path):
    log = tmp_path / "asked"
    doctor(monkeypatch, f"open({str(log)!r}, 'a').write('x'); print({REPORT!r})")
    monkeypatch.setattr(health, "KEPT_SECONDS", 600.0)
    answers = await asyncio.gather(*(call("doctor") for _ in range(5)))
    assert {status for status, _ in answers} == {200}
    assert log.read_text() == "x"
    monkeypatch.setattr(health, "KEPT_SECONDS", -1.0)
    await call("doctor")
    assert log.read_text() == "xx"


async def test_a_doctor_that_breaks_or_hangs_is_said(call, monkeypatch):
    doctor(monkeypatch, "raise ImportError('numpy')")
    status, answer = await call("doctor")
    assert status == 502 and "without a report" in answer["what"] and "pm-lab doctor" in answer["mend"]
    doctor(monkeypatch, "import time; time.sleep(60)")
    monkeypatch.setattr(health, "TIMEOUT_SECONDS", 0.5)
    status, answer = await call("doctor")
    assert status == 504 and "did not finish" in answer["what"]


async def test_the_folder_that_is_served_lends_the_doctor_no_code(call, jp_root_dir, monkeypatch):
    monkeypatch.chdir(jp_root_dir)
    (jp_root_dir / "json.py").write_text("raise RuntimeError('run')")
    status, _ = await call("doctor")
    assert status == 200
