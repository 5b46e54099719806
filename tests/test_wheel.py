"""What a wheel holds, and that JupyterLab finds both halves of the extension where it is installed."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import nbformat
import pytest

import pm_lab

ROOT = Path(__file__).resolve().parents[1]
LABEXTENSION = "share/jupyter/labextensions/pm-lab-extension/"
pytestmark = pytest.mark.timeout(280)


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(missing, tmp_path_factory):
    """Built from a copy of what git tracks, with the front end built anew."""
    packages = ROOT / "extension" / "node_modules"
    if shutil.which("node") is None or not packages.is_dir():
        missing("no Node.js, or extension/node_modules is not there: make front-end")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    files = run("git", "ls-files", "-z", cwd=ROOT).split("\0")
    for name in filter(None, files):
        if (ROOT / name).is_file():
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
    (source / "extension" / "node_modules").symlink_to(packages)
    # What `python -m build` does at last; without a network nothing can be fetched into its environments.
    scripts = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"
    run("jlpm", "build:prod", cwd=source / "extension", env={**os.environ, "PATH": scripts})
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder]
    run(*build, source)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A new environment with the wheel; everything else it takes from the one that runs the tests."""
    folder = tmp_path_factory.mktemp("clean")
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    site = Path(run(folder / "bin/python", "-c", "import site; print(site.getsitepackages()[0])").strip())
    run(sys.executable, "-m", "pip", "--python", folder, "install", "--no-deps", "--no-index", wheel)
    # Later on the path than its own packages, so pm_lab is the one of the wheel.
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def test_wheel_holds_both_halves_and_the_course(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    data = [name.partition(".data/data/")[2] for name in names if ".data/data/" in name]
    package = json.loads(zipfile.ZipFile(wheel).read("pm_lab/labextension/package.json"))
    assert LABEXTENSION + package["jupyterlab"]["_build"]["load"] in data
    assert LABEXTENSION + "install.json" in data
    assert "etc/jupyter/jupyter_server_config.d/pm_lab.json" in data
    assert "pm_lab/notebooks/00_welcome.ipynb" in names
    assert "pm_lab/notebooks/case_studies/gdsc1_benchmark.ipynb" in names
    assert "pm_lab/benchmarks/results/drug_response.csv" in names
    (licence,) = [name for name in names if name.endswith(".dist-info/licenses/LICENSE")]
    assert "BSD 3-Clause" in zipfile.ZipFile(wheel).read(licence).decode()
    (bundled,) = [name for name in data if name.endswith("third-party-licenses.json")]
    of_others = json.loads(zipfile.ZipFile(wheel).read(f"pm_lab-{pm_lab.__version__}.data/data/{bundled}"))
    assert all(one["licenseId"] for one in of_others["packages"])


def test_the_case_study_of_drug_response_finds_its_recorded_results(installed, tmp_path):
    notebook = nbformat.read(ROOT / "notebooks" / "case_studies" / "gdsc1_benchmark.ipynb", 4)
    (cell,) = [one.source for one in notebook.cells if one.source.startswith("package, tables =")]
    code = "from pathlib import Path; import pandas as pd; import pm_lab as pm\n" + cell
    assert "recorded 20" in run(installed / "bin" / "python", "-c", code, cwd=tmp_path)


def test_wheel_holds_no_source_map_and_no_path_of_the_builder(wheel):
    archive = zipfile.ZipFile(wheel)
    built = [name for name in archive.namelist() if "labextension" in name]
    assert not [name for name in built if name.endswith((".map", "build_log.json"))]
    assert not [name for name in built if re.search(rb"sourceMappingURL=\S+\.map", archive.read(name))]
    assert not [name for name in built if str(ROOT).encode() in archive.read(name)]


def test_both_halves_are_active_where_the_wheel_is_installed(installed, tmp_path):
    own = {**os.environ, "JUPYTER_CONFIG_DIR": str(tmp_path), "JUPYTER_DATA_DIR": str(tmp_path)}
    own.pop("JUPYTER_PATH", None)
    python = installed / "bin" / "python"
    # The commands `jupyter labextension list` and `jupyter server extension list` of this environment.
    front = run(python, "-m", "jupyterlab.labextensions", "list", env=own, cwd=tmp_path)
    (line,) = [line for line in front.splitlines() if "pm-lab-extension" in line]
    assert "enabled" in line
    assert "OK" in line
    listed = "import sys; from jupyter_server.extension.serverextension import main; main(sys.argv[1:])"
    server = run(python, "-c", listed, "list", env=own, cwd=tmp_path)
    assert re.search(r"pm_lab\.server\S* +\S*enabled", server)
    assert re.search(r"pm_lab\.server +\S*OK", server)
    where = run(python, "-c", "import pm_lab; print(pm_lab.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(installed)
