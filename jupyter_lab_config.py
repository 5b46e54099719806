"""Settings of `make lab` and of any `jupyter lab` started in this folder."""

import os

c = get_config()  # noqa: F821

c.LabApp.default_url = "/lab/tree/notebooks/00_welcome.ipynb"

# JupyterLab asks the internet for news and for newer versions at every start. A hospital has none.
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"

# Jupyter refuses to run as root unless told to; in a container root is often all there is.
c.ServerApp.allow_root = hasattr(os, "geteuid") and os.geteuid() == 0
