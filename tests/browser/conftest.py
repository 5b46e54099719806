"""A real JupyterLab on this machine, and a Chromium in which every request beyond it is refused and noted."""

import http.client
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT = 60  # seconds
SLOW = 90_000  # milliseconds: a kernel's start and its imports on a busy machine

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


@pytest.fixture(scope="session")
def open_page(browser):
    """Opens a page in a context of its own, made with the options given.

    `page.refused` lists the addresses outside this machine that it asked for, `page.broken` what went wrong.
    """

    def open_page(**options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 1000}, **options})
        context.set_default_navigation_timeout(SLOW)  # Voila answers when its notebook has run
        page = context.new_page()
        page.refused, page.broken = [], []

        def answer(route):
            address = urlsplit(route.request.url)
            if address.scheme in ("file", "data", "blob") or address.hostname in ("127.0.0.1", "localhost"):
                route.continue_()
            else:
                page.refused.append(route.request.url)
                route.abort()

        context.route("**/*", answer)
        page.on("pageerror", lambda error: page.broken.append(str(error)))
        page.on("console", lambda said: said.type == "error" and page.broken.append(said.text))
        return page

    return open_page


@pytest.fixture
def page(open_page):
    page = open_page()
    yield page
    page.context.close()


@pytest.fixture(scope="session")
def serve_app(tmp_path_factory):
    """Starts `pm-lab app` as a person does, in a folder with these files; gives its address with token."""
    running = []

    def serve_app(*arguments, **files):
        folder = tmp_path_factory.mktemp("app")
        for name, text in files.items():
            (folder / name).write_text(text)
        command = [sys.executable, "-m", "pm_lab.cli", "app", "--no-browser", f"--port={_free_port()}"]
        log = (folder / "log.txt").open("w+")
        server = subprocess.Popen(
            [*command, *arguments], cwd=folder, env=_own_settings(folder), stdout=log, stderr=log
        )
        running.append((server, log))
        give_up = time.monotonic() + START_TIMEOUT
        while time.monotonic() < give_up and server.poll() is None:
            found = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", (folder / "log.txt").read_text())
            if found:
                return SimpleNamespace(address=found.group(), folder=folder, server=server)
            time.sleep(0.2)
        pytest.fail(f"pm-lab app did not start:\n{(folder / 'log.txt').read_text()[-2000:]}")

    yield serve_app
    for server, log in running:
        server.terminate()
        server.wait(30)
        log.close()


@pytest.fixture(scope="session")
def built_in(serve_app):
    """`pm-lab app` on the built-in cohort."""
    return serve_app()


@pytest.fixture(scope="session")
def left_alone(open_page, built_in):
    """A page of the explorer that nobody touches while other tests run, and when it was left."""
    page = open_page()
    page.goto(built_in.address)
    page.locator(".pm-numbers").wait_for(timeout=SLOW)
    return SimpleNamespace(page=page, since=time.monotonic())


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
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:  # a worker of anyio stays where a kernel was just starting
                server.kill()
                server.wait()


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
