"""The JupyterLab extension within the Jupyter Server: it reads AnnData files for the page."""

from __future__ import annotations


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "pm_lab.server"}]


def _load_jupyter_server_extension(server_app) -> None:
    """Add the routes under ``<base_url>pm-lab/`` to a running Jupyter Server."""
    from jupyter_server.utils import url_path_join

    from pm_lab.server.routes import ROUTES
    from pm_lab.server.settings import PmLab

    web_app = server_app.web_app
    web_app.settings["pm_lab"] = PmLab(parent=server_app)
    base = url_path_join(web_app.settings["base_url"], "pm-lab")
    web_app.add_handlers(".*$", [(url_path_join(base, route), handler) for route, handler in ROUTES])
