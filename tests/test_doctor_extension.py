"""What the doctor says of the two halves of the extension for JupyterLab."""

import json
import subprocess
from pathlib import Path

import pytest

from pm_lab import __version__, doctor
from pm_lab.cli import main


@pytest.fixture(autouse=True)
def jupyter(tmp_path, monkeypatch):
    """Folders of Jupyter in which nothing is installed and nothing is configured."""
    monkeypatch.setattr(
        "jupyter_core.paths.jupyter_path", lambda *parts: [str(tmp_path.joinpath("share", *parts))]
    )
    monkeypatch.setattr("jupyter_core.paths.jupyter_config_path", lambda: [str(tmp_path / "etc")])
    monkeypatch.setattr("jupyterlab.commands.get_app_dir", lambda: str(tmp_path / "app"))
    monkeypatch.setattr("jupyterlab_server.config.get_static_page_config", lambda **rest: {})
    return tmp_path


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A checkout of pm_lab in which the front end is not built."""
    (tmp_path / "checkout" / "extension").mkdir(parents=True)
    (tmp_path / "checkout" / "extension" / "package.json").write_text("{}")
    monkeypatch.setattr(doctor, "__file__", str(tmp_path / "checkout" / "pm_lab" / "doctor.py"))
    return tmp_path / "checkout" / "pm_lab"


def build(folder: Path, version: str = __version__):
    """The two files that a built front end cannot do without."""
    (folder / "static").mkdir(parents=True)
    (folder / "static" / "remoteEntry.js").write_text("")
    described = {"name": "pm-lab-extension", "version": version}
    described["jupyterlab"] = {"_build": {"load": "static/remoteEntry.js"}}
    (folder / "package.json").write_text(json.dumps(described))


def configure(jupyter, enabled):
    folder = jupyter / "etc" / "jupyter_server_config.d"
    folder.mkdir(parents=True, exist_ok=True)
    switch = {"ServerApp": {"jpserver_extensions": {"pm_lab.server": enabled}}}
    (folder / "pm_lab.json").write_text(json.dumps(switch))


def installed(jupyter):
    return jupyter / "share" / "labextensions" / "pm-lab-extension"


def halves():
    front, server = doctor.findings(extension_only=True)
    assert (front.check, server.check) == ("pm_lab extension", "pm_lab server part")
    return front, server


def test_both_halves_work(jupyter, package, capsys):
    build(installed(jupyter))
    configure(jupyter, True)
    front, server = halves()
    assert (front.status, server.status) == ("ok", "ok")
    assert __version__ in front.finding
    assert main(["doctor", "--extension"]) == 0
    assert len(capsys.readouterr().out.strip().splitlines()) == 4


def test_one_half_that_is_off_ends_with_1_although_notebooks_need_none(jupyter, package, capsys):
    build(installed(jupyter))
    assert main(["doctor", "--extension"]) == 1
    assert "jupyter server extension enable" in capsys.readouterr().out
    assert main(["doctor", "--extension", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is False and {one["status"] for one in report["findings"]} == {"ok", "warn"}


def node(monkeypatch, printed):
    def run(command, **rest):
        assert command[0] == "node"
        if printed is None:
            raise FileNotFoundError("node")
        return subprocess.CompletedProcess(command, 0, printed, "")

    monkeypatch.setattr(doctor.subprocess, "run", run)


@pytest.mark.parametrize(
    ("printed", "mend"),
    [
        (None, "Install Node.js 20 or newer"),
        ("v18.19.0\n", "Node.js here is 18"),
        ("v20.1.0\n", "Run make lab again"),
        ("?\n", "Install Node.js 20 or newer"),
    ],
)
def test_what_was_not_built_says_what_is_missing(jupyter, package, monkeypatch, printed, mend):
    node(monkeypatch, printed)
    front, _ = halves()
    assert front.status == "warn" and "not built" in front.finding
    assert mend in front.mend and "make lab" in front.mend


def test_a_wheel_is_not_told_to_build(jupyter, package):
    (package.parent / "extension" / "package.json").unlink()
    assert "wheel" in halves()[0].mend


@pytest.mark.parametrize("missing", ["package.json", "static/remoteEntry.js"])
def test_a_part_of_it_is_none_of_it(jupyter, package, monkeypatch, missing):
    """An install without Node leaves a folder with nothing but install.json."""
    node(monkeypatch, None)
    build(installed(jupyter))
    (installed(jupyter) / missing).unlink()
    (installed(jupyter) / "install.json").write_text("{}")
    front, _ = halves()
    assert front.status == "warn" and "not built" in front.finding


def test_built_but_not_found_by_jupyterlab(jupyter, package, monkeypatch):
    node(monkeypatch, "v20.1.0")
    build(package / "labextension")
    front, _ = halves()
    assert front.status == "warn" and "not where JupyterLab looks" in front.finding and front.mend


@pytest.mark.parametrize("name", ["pm-lab-extension", "pm-lab-extension:viewer"])
def test_switched_off_in_jupyterlab(jupyter, package, name):
    build(installed(jupyter))
    settings = jupyter / "app" / "settings"
    settings.mkdir(parents=True)
    (settings / "page_config.json").write_text(
        json.dumps({"disabledExtensions": {name: True, "another": True}})
    )
    front, _ = halves()
    assert front.status == "warn" and name in front.finding
    assert f"jupyter labextension enable {name}" in front.mend


def test_of_another_version_than_the_package(jupyter, package):
    build(installed(jupyter), "0.0.9")
    front, _ = halves()
    assert front.status == "warn" and "0.0.9" in front.finding and __version__ in front.finding
    assert "remove that folder" in front.mend


def test_switched_off_in_the_server(jupyter, package):
    configure(jupyter, False)
    _, server = halves()
    assert server.status == "warn" and "switched off" in server.finding
    configure(jupyter, True)
    assert halves()[1].status == "ok"


def test_a_server_part_that_breaks(jupyter, package, monkeypatch):
    def broken(name):
        raise ImportError("no h5py")

    configure(jupyter, True)
    monkeypatch.setattr(doctor.importlib, "import_module", broken)
    _, server = halves()
    assert server.status == "warn" and "no h5py" in server.finding and "make lab" in server.mend
