"""``pm-lab app``: what is asked for, how Voilà is set up, and what a file that cannot be read looks like."""

import json
import re
import stat
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import nbformat
import pandas as pd
import pytest

from pm_lab import doctor
from pm_lab.cli import main
from pm_lab.explorer import serve

TEMPLATES = Path(serve.__file__).parent / "voila" / "templates" / serve.TEMPLATE


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a table of eight patients and what else a user may name."""
    monkeypatch.chdir(tmp_path)
    table = pd.DataFrame({"patient": [f"P{i}" for i in range(8)], "age": range(40, 48)})
    table = table.assign(months=range(1, 9), died=[True, False] * 4)
    table.to_csv("mine.csv", index=False)
    table.assign(age=[f"{name}@clinic.org" for name in table["patient"]]).to_csv("mails.csv", index=False)
    pd.concat([table, table[:2]]).to_csv("twice.csv", index=False)
    (tmp_path / "broken.h5ad").write_text("no HDF5")
    for name in ("cells.h5ad", "drugs.csv"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.fixture
def served(monkeypatch):
    """What the command line would serve, in place of serving it."""
    calls = []
    monkeypatch.setattr(serve, "serve", lambda *given, **named: calls.append((*given, named)))
    return calls


def test_command_line_names_what_is_served(folder, served):
    call = ["app", "mine.csv", "--cells", "cells.h5ad", "--predictions", "drugs.csv", "--endpoint", "os"]
    assert main([*call, "--port", "9000", "--no-browser"]) == 0
    asked = serve.Asked("mine.csv", "cells.h5ad", "drugs.csv", "os", str(folder))
    assert served == [(asked, 9000, {"browser": False})]
    assert asked.title == "mine.csv"


def test_without_a_file_it_is_the_built_in_cohort(folder, served):
    assert main(["app"]) == 0
    asked, port, named = served[0]
    assert (asked.cohort, asked.title, port, named) == (None, "built-in cohort", None, {"browser": True})


def test_an_endpoint_can_be_declared_by_its_columns(folder, served, capsys):
    assert main(["app", "mine.csv", "--endpoint", "time=months, event=died,unit=months"]) == 0
    assert served[0][0].endpoint == {"time": "months", "event": "died", "unit": "months"}
    assert main(["app", "mine.csv", "--endpoint", "time=months,died"]) == 1
    assert "'died' is no NAME=COLUMN" in capsys.readouterr().err


@pytest.mark.parametrize("call", [["other.csv"], ["mine.csv", "--cells", "sub/x.h5ad"]])
def test_a_file_that_is_not_there_is_said_before_anything_starts(folder, capsys, call):
    assert main(["app", *call]) == 1
    said = capsys.readouterr().err
    assert f"there is no file {call[-1]}." in said
    assert str(folder) not in said


def test_without_voila_it_says_what_to_install(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "voila.app", None)
    assert main(["app", "mine.csv"]) == 1
    assert "pip install 'pm_lab[app]'" in capsys.readouterr().err
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    (finding,) = [one for one in doctor.findings() if one.check == "pm-lab app"]
    assert (finding.status, finding.mend) == ("info", "Only pm-lab app needs it: pip install 'pm_lab[app]'.")


@pytest.fixture
def voila(tmp_path, monkeypatch):
    """Voilà as it would start, in a folder where the user's own settings say otherwise."""
    from voila.app import Voila

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("signal.signal", lambda *given: None)
    monkeypatch.setenv("JUPYTER_PATH", str(Path(serve.__file__).parent))
    own = {"Voila": {"ip": "0.0.0.0", "token": ""}, "VoilaConfiguration": {"template": "lab"}}
    (tmp_path / "voila.json").write_text(json.dumps(own))
    serve.write_notebook(tmp_path / "explorer.ipynb", "mine.csv")
    app = Voila(config=serve.settings(tmp_path, "the token"))
    app.initialize([])
    return app


def test_voila_listens_to_this_machine_alone_and_wants_the_token(voila):
    assert (voila.ip, voila.port, voila.port_retries, voila.token) == ("127.0.0.1", 8866, 50, "the token")
    voila.connection_dir = str(voila.connection_dir_root)
    known = voila.init_settings() | voila.tornado_settings
    assert known["identity_provider"].token == "the token"
    assert known["allow_remote_access"] is False
    sources = re.split(r"[ ;]+", known["headers"]["Content-Security-Policy"])
    hosts = {urlsplit(source.replace(":*", "")).hostname for source in sources if "://" in source}
    assert hosts == {"127.0.0.1", "localhost"}


def test_a_port_that_was_asked_for_is_the_only_one(tmp_path):
    config = serve.settings(tmp_path, "the token", 9000)
    assert (config.Voila.port, config.Voila.port_retries) == (9000, 0)


def test_kernels_end_when_idle_and_none_takes_the_place_of_a_dead_one(voila):
    from jupyter_client.restarter import KernelRestarter

    voila.connection_dir = str(voila.connection_dir_root)
    kernels = voila.init_settings()["kernel_manager"]
    assert (kernels.cull_idle_timeout, kernels.cull_interval, kernels.cull_connected) == (3600, 60, True)
    assert KernelRestarter(config=voila.config).restart_limit == 0


def test_voila_shows_no_code_no_files_and_no_template_but_ours(voila):
    chosen = voila.voila_configuration
    assert (chosen.strip_sources, chosen.show_tracebacks, chosen.file_allowlist) == (True, False, [])
    assert (chosen.template, chosen.allow_template_override) == (serve.TEMPLATE, "NO")
    assert Path(voila.template_paths[0]) == TEMPLATES


def test_only_the_labextensions_it_needs_are_loaded(voila):
    from voila.utils import get_page_config

    mathjax = {"mathjax_config": "", "mathjax_url": ""}
    page = get_page_config("/", mathjax, voila.log, voila.voila_configuration)
    loaded = {extension["name"] for extension in page["federated_extensions"]}
    assert loaded == set(serve.LABEXTENSIONS)


def test_template_loads_nothing_from_elsewhere():
    text = "\n".join(path.read_text() for path in TEMPLATES.iterdir())
    assert "pm-spinner" in text
    assert not re.findall(r"\w+://|src=\"//|@import|fa-", text)


def test_notebook_is_one_cell_without_names_of_files(tmp_path):
    serve.write_notebook(tmp_path / "explorer.ipynb", "mine.csv")
    notebook = nbformat.read(tmp_path / "explorer.ipynb", as_version=4)
    assert [cell.source for cell in notebook.cells] == [serve.CELL]
    assert notebook.metadata.title == "mine.csv"


def test_address_is_said_and_opened_on_no_command_line_that_shows_the_token(tmp_path, capsys, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    app = SimpleNamespace(port=8867, token="abc")
    serve._announce(app, tmp_path, browser=False)
    assert "http://127.0.0.1:8867/?token=abc" in capsys.readouterr().out
    assert opened == []
    serve._announce(app, tmp_path, browser=True)
    page = tmp_path / "open.html"
    assert opened == [page.as_uri()]
    assert "http://127.0.0.1:8867/?token=abc" in page.read_text()
    assert stat.S_IMODE(page.stat().st_mode) == 0o600


@pytest.fixture
def shown(folder, monkeypatch):
    """What a visitor's kernel displays for what was asked."""

    def shown(*asked):
        displayed = []
        monkeypatch.setattr("IPython.display.display", displayed.append)
        wanted = serve.Asked(*asked, folder=str(folder))
        monkeypatch.setenv(serve.ASKED, json.dumps(wanted._asdict()))
        monkeypatch.setenv("PM_LAB_PROGRESS", "1")
        monkeypatch.chdir("/")
        serve.show()
        return displayed

    return shown


@pytest.mark.parametrize("endpoint", [None, {"time": "months", "event": "died", "unit": "months"}])
def test_a_cohort_is_shown_by_the_explorers_widget(shown, endpoint):
    (widget,) = shown("mine.csv", None, None, endpoint)
    assert "pm-explorer" in widget._dom_classes


def test_what_the_door_warns_of_stands_inside_the_explorer(shown):
    (widget,) = shown("mails.csv")
    warned = widget.children[0].children[1].description["html"]
    assert 'role="note"' in warned
    assert "may identify patients" in warned


@pytest.mark.parametrize(
    "asked, said",
    [
        (("broken.h5ad",), "broken.h5ad is not an h5ad file"),
        (("twice.csv",), "2 patients have more than one row (P0, P1)"),
        (("mine.csv", None, None, "os"), "os"),
        (("mine.csv", "cells.h5ad"), "cells.h5ad is not an h5ad file"),
        (("mine.csv", None, "drugs.csv"), "drugs.csv"),
    ],
)
def test_a_file_that_cannot_be_read_gives_a_message(shown, folder, asked, said):
    (message,) = shown(*asked)
    assert f"<h2>{asked[0]} cannot be shown</h2>" in message.data
    assert said in message.data
    assert "Traceback" not in message.data
    assert str(folder) not in message.data
    assert "reload this page" in message.data


def test_a_defect_is_said_too_and_its_text_is_escaped(shown, monkeypatch):
    def fail(*_, **__):
        raise ValueError("<script>")

    monkeypatch.setattr("pm_lab.explorer.app.explore", fail)
    (message,) = shown("mine.csv")
    assert "ValueError: &lt;script&gt;. This is a defect of pm_lab" in message.data
