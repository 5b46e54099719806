"""JupyterLab as Galata drives it: no token, its own folders, and the files that the tests open."""

import os
import sys
from pathlib import Path

from jupyterlab.galata import configure_jupyter_server

here = Path(__file__).resolve().parent
root = here.parents[1] / "build" / "ui-tests" / "root"
sys.path.insert(0, str(here))
os.environ["JUPYTERLAB_GALATA_ROOT_DIR"] = str(root)

from files import write_files  # noqa: E402

write_files(root)

c = get_config()  # noqa: F821
configure_jupyter_server(c)
c.ServerApp.ip = "127.0.0.1"
c.ServerApp.port = int(os.environ.get("PM_LAB_UI_PORT", "8899"))
c.ServerApp.root_dir = str(root)
c.ServerApp.allow_root = hasattr(os, "geteuid") and os.geteuid() == 0
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
