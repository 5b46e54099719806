"""The files that set up an environment agree, and hold no address and no path of anyone's machine."""

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import pm_lab
from pm_lab.datasets.registry import registered
from tests.conftest import REAL_DATA, real_data

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
CONDA_FILES = ["environment.yml", "binder/environment.yml"]
CONDA_NAMES = {"matplotlib": "matplotlib-base", "igraph": "python-igraph", "torch": "pytorch-cpu"}
CONDA_TOOLS = {"python", "pip", "nodejs"}
SET_UP = [
    *CONDA_FILES,
    *["pyproject.toml", "requirements.lock", "Makefile", "binder/postBuild", "jupyter_lab_config.py"],
    *[".ci/run", ".ci/lock.py", ".github/workflows/test.yml"],
]


def requirements(lines):
    """{canonical name: its version range}"""
    parsed = [Requirement(line) for line in lines]
    return {canonicalize_name(requirement.name): requirement.specifier for requirement in parsed}


EXTRAS = PROJECT["optional-dependencies"]
RUNTIME = requirements(PROJECT["dependencies"] + EXTRAS["app"] + EXTRAS["drug-response"])
DEVELOPMENT = requirements(EXTRAS["test"] + EXTRAS["dev"])
BUILD = requirements([*PYPROJECT["build-system"]["requires"], "editables"])


def lock_lines():
    text = (ROOT / "requirements.lock").read_text()
    return [line for line in text.splitlines() if not line.startswith("#")]


def locked():
    """{canonical name: the exact version in requirements.lock}"""
    lines = [
        line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")
    ]
    pins = {}
    for line in lines:
        name, version = line.split("==")
        pins[canonicalize_name(name)] = Version(version)
    assert len(pins) == len(lines), "a package is locked twice"
    return pins


def conda(name):
    """{canonical pip name: its range} of an environment file, conda and pip parts together."""
    content = yaml.safe_load((ROOT / name).read_text())
    pip = next(item for item in content["dependencies"] if isinstance(item, dict))["pip"]
    plain = [item for item in content["dependencies"] if isinstance(item, str)]
    python = next(item for item in plain if item.startswith("python="))
    assert re.fullmatch(r"python=3\.\d+", python), "python is pinned to a minor version"
    pip_names = {conda_name: pip_name for pip_name, conda_name in CONDA_NAMES.items()}
    ranges = requirements(item for item in plain if item != python)
    ranges = {pip_names.get(conda_name, conda_name): versions for conda_name, versions in ranges.items()}
    return ranges | requirements(pip) | {"python": SpecifierSet(f"=={python.removeprefix('python=')}.*")}


@pytest.mark.parametrize("name", sorted(RUNTIME | DEVELOPMENT | BUILD))
def test_lock_has_every_requirement_within_its_range(name):
    assert locked()[name] in (RUNTIME | DEVELOPMENT | BUILD)[name]


def test_lock_is_complete():
    """Whatever a locked package needs on this machine is locked too."""
    pins, missing = locked(), set()
    for name in pins:
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # for another platform
        for need in map(Requirement, needs):
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                missing.add(canonicalize_name(need.name))
    missing -= set(pins)
    assert not {name for name in missing if not re.match(r"nvidia|cuda|triton", name)}


def test_lock_leaves_the_build_of_torch_to_pip():
    lines = lock_lines()
    assert all(re.fullmatch(r"[\w.-]+==[\w.!]+", line) for line in lines), "exact versions and nothing else"
    assert not [line for line in lines if re.match(r"nvidia|cuda|triton|pip==", line)]


def test_lock_avoids_the_pynndescent_that_scanpy_cannot_read():
    assert locked()["pynndescent"] < Version("0.7")


def test_scanpy_finds_neighbours_where_it_calls_pynndescent():
    """Versions that do not fit together fail only in the approximate search, so only on many cells."""
    import anndata as ad
    import numpy as np
    import scanpy as sc

    points = np.random.default_rng(0).normal(size=(20_500, 5)).astype("float32")
    cells = ad.AnnData(points)
    sc.pp.neighbors(cells, n_neighbors=5, use_rep="X")
    assert "pynndescent" in sys.modules
    assert cells.obsp["connectivities"].shape == (20_500, 20_500)
    nearest = cells.obsp["distances"][0].indices
    exact = np.argsort(np.linalg.norm(points - points[0], axis=1))[1:5]
    assert len(set(nearest) & set(exact)) >= 3


@pytest.mark.parametrize("name", CONDA_FILES)
def test_conda_file_has_every_runtime_requirement_in_the_same_range(name):
    ranges = conda(name)
    assert {pip_name: ranges.get(pip_name) for pip_name in RUNTIME} == RUNTIME
    assert set(ranges) - CONDA_TOOLS == set(RUNTIME), "a package that pyproject.toml does not ask for"


@pytest.mark.parametrize("name", CONDA_FILES)
def test_conda_file_admits_the_locked_versions(name):
    pins, ranges = locked(), conda(name)
    assert all(pins[pip_name] in ranges[pip_name] for pip_name in RUNTIME)
    python = SpecifierSet(PROJECT["requires-python"])
    assert any(f"3.{minor}.9" in python and f"3.{minor}.9" in ranges["python"] for minor in range(20))


def test_binder_installs_what_conda_does():
    first, second = (yaml.safe_load((ROOT / name).read_text()) for name in CONDA_FILES)
    assert first == second


@pytest.mark.parametrize("name", SET_UP)
def test_no_address_or_local_path_in_the_set_up(name):
    text = (ROOT / name).read_text()
    assert not re.findall(r"\w+://\S+", text)
    assert not re.findall(r"--(?:extra-)?index-url|--find-links|--trusted-host", text)
    assert not re.findall(r"(?:^|[\s\"'=])/(?:opt|root|home|work|tmp|mnt|srv)\b\S*", text)


@pytest.mark.parametrize("name", ["binder/postBuild", ".ci/run"])
def test_script_stops_at_the_first_error(name):
    script = ROOT / name
    assert os.access(script, os.X_OK)
    lines = script.read_text().splitlines()
    assert re.match(r"#!.*\bbash$", lines[0])
    assert re.search(r"^set -e", script.read_text(), re.MULTILINE)
    subprocess.run(["bash", "-n", script], check=True)


def test_repo2docker_accepts_the_repository():
    command = ["repo2docker", "--no-build", "--debug", "--user-name", "u", "--user-id", "1000", "."]
    run = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    build_file = run.stdout + run.stderr
    assert "FROM " in build_file
    assert "binder/environment.yml" in build_file
    assert "binder/postBuild" in build_file


def test_workflow_runs_make_test_on_every_supported_python():
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())
    pythons = workflow["jobs"]["locked"]["strategy"]["matrix"]["python"]
    supported = SpecifierSet(PROJECT["requires-python"])
    assert pythons == [f"3.{minor}" for minor in range(20) if f"3.{minor}.9" in supported]
    for job in workflow["jobs"].values():
        assert any(step.get("run", "").startswith("make test") for step in job["steps"])
    assert "NEWEST=1" in workflow["jobs"]["newest"]["steps"][-1]["run"]
    assert workflow[True]["schedule"], "`on` reads as true in YAML"


@pytest.mark.parametrize("job", ["locked", "newest"])
def test_workflow_has_the_data_and_the_browser_that_no_test_may_miss_in_ci(job):
    """GitHub sets CI=true, where a test without them fails."""
    steps = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())["jobs"][job]["steps"]
    commands = [step.get("run", "") for step in steps]
    (install,) = [i for i, command in enumerate(commands) if command.startswith("make install")]
    (kept,) = [i for i, step in enumerate(steps) if step.get("uses", "").startswith("actions/cache@")]
    (fetch,) = [i for i, command in enumerate(commands) if "pm-lab data fetch" in command]
    (test,) = [i for i, command in enumerate(commands) if command.startswith("make test")]
    assert max(install, kept) < fetch < test
    newest = "NEWEST=1" in commands[test]
    assert ("NEWEST=1" in commands[install]) == newest
    assert commands[fetch] == f"{'.venv-newest' if newest else '.venv'}/bin/pm-lab data fetch --all"
    folder = steps[test]["env"]["PM_LAB_MIRROR"]
    assert folder == steps[fetch]["env"]["PM_LAB_CACHE"] == steps[kept]["with"]["path"]
    assert "hashFiles('pm_lab/datasets/files.tsv')" in steps[kept]["with"]["key"]
    assert steps[test]["env"]["PM_LAB_CHROMIUM"] == "google-chrome"


def make(*arguments, path=os.environ["PATH"]):
    command = ["make", "--no-print-directory", *arguments]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**clean, "PATH": path})


def test_make_says_what_is_wrong_when_no_python_fits():
    run = make("lab", "VENV=build/none", "PYTHON=false")
    assert run.returncode != 0
    assert "pm_lab needs Python 3.11, 3.12 or 3.13" in run.stderr
    assert "make lab PYTHON=" in run.stderr
    assert not (ROOT / "build" / "none").exists()


def test_make_passes_over_a_python_that_does_not_run(tmp_path):
    """A shim on the PATH can be there and fail."""
    broken, working = tmp_path / "python3.11", tmp_path / "python3.12"
    broken.write_text("#!/bin/sh\nexit 127\n")
    working.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    broken.chmod(0o755)
    working.chmod(0o755)
    run = make("--eval=show:;@echo $(PYTHON)", "show", path=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert run.stdout.strip() == "python3.12"


def test_make_help_lists_the_targets():
    listed = re.findall(r"^  make ([\w-]+)", make("help").stdout, re.MULTILINE)
    assert {"lab", "test", "test-fast", "notebooks", "bench", "lint", "lock", "clean"} <= set(listed)


def test_real_data_are_found_in_the_mirror_or_the_cache(missing, tmp_path, monkeypatch):
    monkeypatch.setenv("CI", "false")
    monkeypatch.delenv("PM_LAB_MIRROR", raising=False)
    monkeypatch.setenv("PM_LAB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(pytest.skip.Exception, match=r"pm-lab data fetch airway .*p53"):
        real_data(missing)
    files = [tmp_path / "cache" / file.name for name in REAL_DATA for file in registered()[name].files]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert real_data(missing) == tmp_path / "cache"
    files[-1].unlink()
    with pytest.raises(pytest.skip.Exception, match=rf"pm-lab data fetch {REAL_DATA[-1]}$"):
        real_data(missing)
    (tmp_path / "mirror").mkdir()
    monkeypatch.setenv("PM_LAB_MIRROR", str(tmp_path / "mirror"))
    assert real_data(missing) == tmp_path / "mirror"
    monkeypatch.setenv("PM_LAB_MIRROR", str(tmp_path / "nowhere"))
    with pytest.raises(pytest.skip.Exception, match="names no folder"):
        real_data(missing)


def test_what_is_missing_is_said_and_fails_in_ci(missing, monkeypatch):
    monkeypatch.setenv("CI", "false")
    with pytest.raises(pytest.skip.Exception, match="no Chromium found"):
        missing("no Chromium found")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no Chromium found"):
        missing("no Chromium found")


def test_front_end_and_package_are_of_one_version():
    front = json.loads((ROOT / "extension" / "package.json").read_text())
    assert front["version"] == PROJECT["version"] == pm_lab.__version__
