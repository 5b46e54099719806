"""The explorer outside a notebook: ``pm-lab app`` serves it under Voilà, on this machine alone.

A visitor is whoever has the address with its token; each gets a kernel of their own, which runs :func:`show`.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pm_lab.errors import DataError, PmLabError, PmLabWarning

if TYPE_CHECKING:
    from traitlets.config import Config

HERE = Path(__file__).parent
TEMPLATE = "patient_explorer"  # a folder in voila/templates
ASKED = "PM_LAB_APP"  # the environment variable in which a visitor's kernel finds what to show
CELL = "from pm_lab.explorer import serve\n\nserve.show()"
LABEXTENSIONS = ["@voila-dashboards/widgets-manager8", "@jupyter-widgets/jupyterlab-manager", "anywidget"]
FIRST_PORT, OTHER_PORTS = 8866, 50
IDLE_SECONDS = 3600  # after which a kernel that nobody spoke to ends, whether its page is open or not
GENES = 600  # most variable ones: the same types are found as with 2,000, in a third of the time
SMALL_MODEL = {"members": 2, "hidden": 64, "max_epochs": 10, "fingerprints": False, "device": "cpu"}
CULL_SECONDS = 60  # between two looks for such kernels

# The browser itself refuses what is not from this server, should any library ask for it.
ONLY_LOCAL = "; ".join(
    [
        *["default-src 'self'", "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:"],
        *["style-src 'self' 'unsafe-inline'", "img-src 'self' data: blob:", "font-src 'self' data:"],
        *["connect-src 'self' blob: ws://127.0.0.1:* ws://localhost:*", "worker-src 'self' blob:"],
        *["frame-ancestors 'none'", "base-uri 'self'", "form-action 'self'"],
    ]
)


class Asked(NamedTuple):
    """What a visitor is to see: files as the user named them, relative to ``folder``.

    Without a ``cohort`` it is the built-in one.
    """

    cohort: str | None = None
    cells: str | None = None
    predictions: str | None = None
    endpoint: str | dict[str, str] | None = None
    folder: str = "."

    @property
    def title(self) -> str:
        return Path(self.cohort).name if self.cohort else "built-in cohort"


def serve(asked: Asked, port: int | None = None, browser: bool = True) -> None:
    """Serve the explorer until it is interrupted.

    Parameters
    ----------
    asked : the files to show.
    port : the port to listen on; by default 8866 or the next that is free.
    browser : open the page in the user's browser.

    Raises
    ------
    DataError
        A file that is not there.
    PmLabError
        Voilà is not installed.
    """
    import tempfile

    _check_files(asked)
    try:
        from voila.app import Voila
    except ImportError as error:
        raise PmLabError("pm-lab app needs Voilà: pip install 'pm_lab[app]'.") from error
    from tornado.ioloop import IOLoop

    # jupyter_server counts pings in milliseconds, tornado in seconds, and warns that they do not fit.
    logging.getLogger("tornado.general").setLevel(logging.ERROR)
    os.environ[ASKED] = json.dumps(asked._asdict())
    # Where Voilà and nbconvert look for templates.
    os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [str(HERE), os.environ.get("JUPYTER_PATH")]))
    with tempfile.TemporaryDirectory(prefix="pm_lab_") as folder:
        write_notebook(Path(folder, "explorer.ipynb"), asked.title)
        app = Voila(config=settings(Path(folder), secrets.token_urlsafe(24), port))
        app.initialize([])
        IOLoop.current().add_callback(_announce, app, Path(folder), browser)
        app.start()


def _check_files(asked: Asked) -> None:
    """What is there but cannot be read is said on the page, where it can be mended and the page reloaded."""
    files = [asked.cohort, asked.cells, asked.predictions]
    absent = [name for name in files if name and not Path(asked.folder, name).expanduser().exists()]
    if absent:
        raise DataError(f"there is no file {absent[0]}. Name one that is here; a path may lead elsewhere.")


def write_notebook(path: Path, title: str) -> None:
    """The notebook that Voilà runs for each visitor: one cell, whose source is not shown."""
    import nbformat

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    notebook.metadata["title"] = title
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)


def settings(folder: Path, token: str, port: int | None = None) -> Config:
    """How Voilà is set up: what it may serve, to whom, and for how long.

    Parameters
    ----------
    folder : with the notebook, and for Voilà's own files while it runs.
    token : without which it answers nobody.
    port : None for 8866 or another that is free.
    """
    import jinja2
    import zmq
    from traitlets.config import Config

    config = Config()
    config.Voila.update(
        notebook_path=str(folder / "explorer.ipynb"),
        connection_dir_root=str(folder),
        config_file_paths=[],  # a user's voila.json could undo what is promised here
        ip="127.0.0.1",
        token=token,
        port=port or FIRST_PORT,
        port_retries=0 if port else OTHER_PORTS,
        open_browser=False,  # it would open the address without the token
        log_level="ERROR",
        tornado_settings={
            "allow_remote_access": False,  # refuses names of other machines that lead here
            "headers": {"Content-Security-Policy": ONLY_LOCAL, "Referrer-Policy": "no-referrer"},
            "jinja2_env": jinja2.Environment(
                loader=jinja2.FileSystemLoader(HERE / "voila" / "templates" / TEMPLATE), autoescape=True
            ),
        },
    )
    config.VoilaConfiguration.update(
        template=TEMPLATE,
        allow_template_override="NO",  # Voilà's own templates load fonts from elsewhere
        theme="system",
        file_allowlist=[],
        extension_allowlist=LABEXTENSIONS,
        prelaunch_hook=_with_cookie,
        strip_sources=True,
        show_tracebacks=False,
    )
    config.MappingKernelManager.update(
        cull_idle_timeout=IDLE_SECONDS, cull_interval=CULL_SECONDS, cull_connected=True
    )
    config.KernelRestarter.restart_limit = 0  # a new kernel under an old page would know nothing of it
    config.KernelManager.transport_encryption = "auto" if zmq.has("curve") else "disabled"
    return config


def _with_cookie(handler, notebook, cwd) -> None:
    """Set the cookie without which Voilà may not end the kernel of a page that is left."""
    handler.xsrf_token  # noqa: B018 - to ask for it is to set it


def _announce(app, folder: Path, browser: bool) -> None:
    """Say where it is, and open it by a page of its own: a command line would show the token to others."""
    import html
    import webbrowser

    address = f"http://127.0.0.1:{app.port}/?token={app.token}"
    print(f"The patient explorer is at\n  {address}\nControl-C ends it.", flush=True)
    if not browser:
        return
    page = folder / "open.html"
    page.touch(mode=0o600)
    page.write_text(f'<meta http-equiv="refresh" content="0;url={html.escape(address)}">', encoding="utf-8")
    webbrowser.open(page.as_uri())


def show() -> None:
    """Show what was asked for, or say what is wrong with it. Run by the kernel of each visitor."""
    from html import escape

    from IPython.display import HTML, display

    from .app import explore

    os.environ["PM_LAB_PROGRESS"] = "0"  # the page is sent when the cell is done: a bar would be gone by then
    asked = Asked(**json.loads(os.environ[ASKED]))
    os.chdir(asked.folder)  # so that messages name the files as the user did
    try:
        explorer = explore(*_opened(asked), endpoint=asked.endpoint)
    except PmLabError as error:
        text = str(error)
    except Exception as error:
        text = f"{type(error).__name__}: {error}. This is a defect of pm_lab, or of a library it uses."
    else:
        display(explorer.widget)
        return
    display(
        HTML(
            f'<div role="alert" class="pm-problem"><h2>{escape(asked.title)} cannot be shown</h2>'
            f"<p>{escape(text)}</p><p>Mend it and reload this page; the server goes on.</p></div>"
        )
    )


def _opened(asked: Asked) -> tuple:
    """Cohort, cells and predictions, as far as they are read here."""
    from pm_lab import datasets, keys

    if asked.cohort is None:
        return demonstration()
    cohort = asked.cohort
    predictions = asked.predictions
    if predictions is not None:
        predictions = datasets.read_table(predictions, dtype={keys.PATIENT: str})
    return cohort, asked.cells, predictions


def demonstration() -> tuple:
    """The built-in cohort with cell types, maps and predicted drugs, so that every view has something.

    The drug model is a small one, trained in seconds; the notebooks train a proper one.
    """
    import warnings

    from pm_lab import datasets, drug_response, singlecell

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PmLabWarning)  # of the simulation and the small model: not the user's
        cohort = datasets.simulate_cohort(seed=0)
        singlecell.process(cohort.cells, n_top_genes=GENES, n_comps=30)
        singlecell.annotate(cohort.cells)
        model = drug_response.DrugResponseModel(**SMALL_MODEL).fit(cohort.screen)
        return cohort, cohort.cells, model.predict(cohort.bulk)
