"""A real JupyterLab on this machine, and a Chromium in which every request beyond it is refused and noted."""

import http.client
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT = 60  # seconds

# Chromium reports, synchronises and updates on its own account; none of that is the page's doing.
QUIET = [
    *["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"],
    *["--disable-component-update", "--disable-sync", "--disable-domain-reliability", "--no-pings"],
]


@pytest.fixture(scope="session")
def chromium(missing):
    """The Chromium to drive: PM_LAB_CHROMIUM, or one on the PATH."""
    names = [os.environ.get("PM_LAB_CHROMIUM"), "chromium", "chromium-browser", "google-chrome"]
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is None:
        missing("no Chromium found: install it, or name it in PM_LAB_CHROMIUM")
    return found


@pytest.fixture(scope="session")
def browser(chromium):
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        yield running
        running.close()


@pytest.fixture
def page(browser):
    """A new page. `page.refused` lists the addresses outside this machine that it asked for."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    page = context.new_page()
    page.refused = []

    def answer(route):
        address = urlsplit(route.request.url)
        if address.scheme in ("file", "data", "blob") or address.hostname in ("127.0.0.1", "localhost"):
            route.continue_()
        else:
            page.refused.append(route.request.url)
            route.abort()

    context.route("**/*", answer)
    yield page
    context.close()


@pytest.fixture(scope="session")
def jupyterlab(tmp_path_factory):
    """The address, with its token, of a JupyterLab on a copy of the notebooks, set up as `make lab` does."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    shutil.copy(ROOT / "jupyter_lab_config.py", folder)
    port, token = _free_port(), secrets.token_hex()
    log = folder / "log.txt"
    command = [
        *[sys.executable, "-m", "jupyterlab", "--config=jupyter_lab_config.py", "--no-browser"],
        *[f"--IdentityProvider.token={token}", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"],
    ]
    with log.open("w") as written:
        server = subprocess.Popen(
            command, cwd=folder, env=_own_settings(folder), stdout=written, stderr=written
        )
        try:
            _wait_for(server, port, token, log)
            yield f"http://127.0.0.1:{port}/?token={token}"
        finally:
            server.terminate()
            server.wait(30)


def _own_settings(folder):
    """The environment without the settings, workspaces and kernels of whoever runs the tests."""
    names = ["JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"]
    names += ["JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR"]
    return {**os.environ, **{name: str(folder / name.lower()) for name in names}, "PM_LAB_OFFLINE": "1"}


def _free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _wait_for(server, port, token, log):
    give_up = time.monotonic() + START_TIMEOUT
    while time.monotonic() < give_up and server.poll() is None:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", f"/api/status?token={token}")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")
