"""Settings of JupyterLab under `make lab`."""

import os

c = get_config()  # noqa: F821

c.LabApp.default_url = "/lab/tree/notebooks/00_welcome.ipynb"

# JupyterLab asks the internet for news and for newer versions at every start. A hospital has none.
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"


def without_announcements(handler, page_config):
    """Leave out the plugin that asks every new user about news."""
    page_config["disabledExtensions"].append("@jupyterlab/apputils-extension:announcements")
    return page_config


c.ServerApp.tornado_settings = {"page_config_hook": without_announcements}

# Jupyter refuses to run as root unless told to; in a container root is often all there is.
c.ServerApp.allow_root = hasattr(os, "geteuid") and os.geteuid() == 0
