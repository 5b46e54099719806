"""Is this installation fit to run the course? Each check says what it found and how to mend it."""

from __future__ import annotations

import importlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pm_lab import __version__

if TYPE_CHECKING:
    import pandas as pd

OLDEST_PYTHON, BELOW_PYTHON = (3, 11), (3, 14)
OLDEST_NODE = 20
FRONT_END = "pm-lab-extension"
WITHOUT_IT = "The notebooks need none: jupyter lab --config=jupyter_lab_config.py opens them."
COURSE_MEMORY = 1.5e9  # what one notebook of the course may take
GIB = 2**30
LOCK = Path(__file__).parents[1] / "requirements.lock"  # in a checkout; a wheel has none


class Finding(NamedTuple):
    """One line of the report. ``status`` is "ok", "info", "warn" or "fail" (something needed is broken)."""

    check: str
    status: str
    finding: str
    mend: str = ""


def check() -> pd.DataFrame:
    """What fits and what does not, one row a finding, without paths of this machine.

    Returns
    -------
    DataFrame with the columns ``check``, ``status`` ("ok", "info", "warn" or "fail"), ``finding`` and
    ``mend`` (what to do about it, empty where nothing is).

    Examples
    --------
    >>> from pm_lab import doctor
    >>> sorted(set(doctor.check()["status"]) - {"ok", "info", "warn", "fail"})
    []
    """
    import pandas as pd

    return pd.DataFrame(list(findings()), columns=Finding._fields)


def findings(extension_only: bool = False) -> Iterator[Finding]:
    """The findings one after the other, as the checks make them: all, or those of the extension."""
    for one in EXTENSION_CHECKS if extension_only else CHECKS:
        try:
            yield from one()
        except Exception as error:  # a check that breaks must not hide the others
            name = one.__name__.strip("_").replace("_", " ")
            yield Finding(name, "warn", f"could not be checked ({type(error).__name__}: {error})")


def _python() -> Iterator[Finding]:
    version = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if OLDEST_PYTHON <= sys.version_info[:2] < BELOW_PYTHON:
        yield Finding("Python", "ok", version)
    else:
        yield Finding(
            "Python", "fail", version, "Use Python 3.11, 3.12 or 3.13: make lab makes an environment."
        )


def _packages() -> Iterator[Finding]:
    """What pm_lab declares that it needs."""
    from packaging.requirements import Requirement

    mend = "Install what is declared: make lab, or pip install -e ."
    try:
        declared = [Requirement(text) for text in metadata.requires("pm_lab") or ()]
    except metadata.PackageNotFoundError:
        yield Finding("packages", "fail", "pm_lab is not installed in this environment", mend)
        return
    needed = [requirement for requirement in declared if _applies(requirement)]
    wrong = [text for requirement in needed if (text := _misfit(requirement))]
    if wrong:
        yield Finding("packages", "fail", _first(wrong), mend)
    else:
        yield Finding("packages", "ok", f"all {len(needed)} that pm_lab {metadata.version('pm_lab')} needs")


def _lock() -> Iterator[Finding]:
    """The exact versions that the course is tested with."""
    from packaging.requirements import Requirement

    if not LOCK.is_file():
        yield Finding("lock", "info", "no requirements.lock beside the package: exact versions not compared")
        return
    lines = (line.partition("#")[0].strip() for line in LOCK.read_text(encoding="utf-8").splitlines())
    locked = [requirement for line in lines if line and _applies(requirement := Requirement(line))]
    others = [text for requirement in locked if (text := _misfit(requirement))]
    if others:
        mend = "Exact versions: make clean, then make lab. Other versions may work, but are not tested here."
        yield Finding("lock", "warn", f"{len(others)} of {len(locked)} differ: {_first(others)}", mend)
    else:
        yield Finding("lock", "ok", f"all {len(locked)} packages at the versions of requirements.lock")


def _applies(requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def _misfit(requirement) -> str:
    """How the installed version differs from a requirement; empty if it fits."""
    try:
        installed = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return f"{requirement.name} is missing"
    if requirement.specifier.contains(installed, prereleases=True):
        return ""
    return f"{requirement.name} is {installed}, not {requirement.specifier}"


def _first(texts: list[str], most: int = 5) -> str:
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return "; ".join(texts[:most]) + more


def _jupyterlab() -> Iterator[Finding]:
    from jupyter_core.paths import jupyter_path

    version = metadata.version("jupyterlab")
    manager = Path("@jupyter-widgets", "jupyterlab-manager", "package.json")
    if any(Path(folder, manager).is_file() for folder in jupyter_path("labextensions")):
        yield Finding("JupyterLab", "ok", f"{version}, with the extension that shows widgets")
    else:
        mend = "pip install ipywidgets in the environment that JupyterLab runs in, then reload the page."
        yield Finding("JupyterLab", "fail", f"{version}, without the extension that shows widgets", mend)


def _front_end() -> Iterator[Finding]:
    """Built, where JupyterLab looks for it, of the version of the package, and not switched off."""
    from jupyter_core.paths import jupyter_path

    check = "pm_lab extension"
    places = [Path(folder, FRONT_END) for folder in jupyter_path("labextensions")]
    installed = next((place for place in places if (place / "package.json").is_file()), None)
    if installed is not None and _is_whole(installed):
        version = json.loads((installed / "package.json").read_text(encoding="utf-8")).get("version")
        if off := _switched_off():
            mend = f"jupyter labextension enable {off}, then reload the page."
            yield Finding(check, "warn", f"{off} is switched off", mend)
        elif version != __version__:
            mend = (
                "jupyter labextension list says where it is: remove that folder, then make lab, or install "
                "the wheel again."
            )
            yield Finding(check, "warn", f"is {version}, but pm_lab is {__version__}", mend)
        else:
            yield Finding(check, "ok", f"{version}, built and where JupyterLab looks for it")
    elif _is_whole(Path(__file__).parent / "labextension"):
        yield Finding(check, "warn", "built, but not where JupyterLab looks for it", _how_to_build())
    else:
        found = "not built: JupyterLab opens no .h5ad files and has no PM Lab panel"
        yield Finding(check, "warn", found, _how_to_build())


def _is_whole(folder: Path) -> bool:
    """Whether a built front end has the file that its package.json says to load."""
    try:
        package = json.loads((folder / "package.json").read_text(encoding="utf-8"))
        return (folder / package["jupyterlab"]["_build"]["load"]).is_file()
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _switched_off() -> str:
    """The extension or the first of its plugins that JupyterLab's configuration disables; else empty."""
    from jupyter_core.paths import jupyter_path
    from jupyterlab.commands import get_app_dir
    from jupyterlab_server.config import get_page_config

    settings = str(Path(get_app_dir(), "settings"))
    disabled = get_page_config(jupyter_path("labextensions"), settings).get("disabledExtensions", [])
    ours = [name for name in disabled if name.partition(":")[0] == FRONT_END]
    return min(ours, default="")


def _how_to_build() -> str:
    if not (Path(__file__).parents[1] / "extension" / "package.json").is_file():
        return "Install pm_lab again from its wheel, in the environment that JupyterLab runs in."
    node = _node_version()
    if node is None:
        return f"Install Node.js {OLDEST_NODE} or newer, then run make lab again. {WITHOUT_IT}"
    if node < OLDEST_NODE:
        return (
            f"Node.js here is {node}: install {OLDEST_NODE} or newer, then run make lab again. {WITHOUT_IT}"
        )
    return "Run make lab again: it builds it."


def _node_version() -> int | None:
    """The first number of Node's version, or None where there is no Node."""
    try:
        done = subprocess.run(["node", "--version"], capture_output=True, text=True, timeout=30)
        return int(done.stdout.lstrip("v").split(".")[0])
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _server_part() -> Iterator[Finding]:
    """Can be imported, and switched on in the configuration of Jupyter Server."""
    from jupyter_core.paths import jupyter_config_path
    from jupyter_server.extension.config import ExtensionConfigManager

    check = "pm_lab server part"
    try:
        importlib.import_module("pm_lab.server.routes")
    except Exception as error:
        mend = "Install what is declared: make lab, or pip install -e ."
        yield Finding(check, "warn", f"cannot be imported ({type(error).__name__}: {error})", mend)
        return
    configured = ExtensionConfigManager(read_config_path=jupyter_config_path()).get_jpserver_extensions()
    if configured.get("pm_lab.server"):
        yield Finding(check, "ok", "switched on")
    else:
        found = "switched off" if "pm_lab.server" in configured else "not switched on"
        mend = "jupyter server extension enable --sys-prefix pm_lab.server, then start JupyterLab again."
        yield Finding(check, "warn", f"{found}: the viewer and the panel get no answers", mend)


def _app() -> Iterator[Finding]:
    """Voilà serves the explorer outside a notebook; nothing else needs it."""
    from packaging.requirements import Requirement

    if find_spec("voila") is None:
        mend = "Only pm-lab app needs it: pip install 'pm_lab[app]'."
        yield Finding("pm-lab app", "info", "Voilà is not installed", mend)
        return
    try:
        declared = [Requirement(text) for text in metadata.requires("pm_lab") or ()]
    except metadata.PackageNotFoundError:
        declared = []  # what is missing then is said by the check of the packages
    wrong = [text for need in declared if need.name == "voila" and (text := _misfit(need))]
    if wrong:
        yield Finding("pm-lab app", "warn", wrong[0], "pip install 'pm_lab[app]'")
    else:
        yield Finding("pm-lab app", "ok", f"Voilà {metadata.version('voila')}")


def _memory() -> Iterator[Finding]:
    import psutil

    seen = psutil.virtual_memory()
    limit = memory_limit()
    text = f"{seen.total / GIB:.1f} GiB"
    free = seen.available
    if limit is not None and limit < seen.total:
        text = f"{limit / GIB:.1f} GiB, the limit of this container (libraries see {text})"
        free = min(free, limit)
    if free < COURSE_MEMORY:
        mend = "Close other notebooks and programs: a notebook of the course takes up to 1.5 GB."
        yield Finding("memory", "warn", f"{text}, {free / GIB:.1f} GiB free", mend)
    else:
        yield Finding("memory", "ok", text)


def _cpus() -> Iterator[Finding]:
    seen = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else seen
    limit = cpu_limit()
    if limit is not None and limit < allowed:
        threads = max(1, int(limit))
        text = f"{limit:g}, the limit of this container (libraries see {allowed} and start as many threads)"
        mend = f"Set OMP_NUM_THREADS={threads} and NUMBA_NUM_THREADS={threads} before starting JupyterLab."
        chosen = os.environ.get("OMP_NUM_THREADS", "").isdigit()
        yield Finding("CPUs", "ok" if chosen else "warn", text, "" if chosen else mend)
    else:
        yield Finding("CPUs", "ok", str(allowed) if allowed == seen else f"{allowed} of {seen}")


def memory_limit(root: Path = Path("/")) -> int | None:
    """The smallest memory limit, in bytes, of the control groups of this process; None if they set none."""
    texts = _group_files(root, "memory", "memory.max", "memory.limit_in_bytes")
    # Version 1 writes "no limit" as a number near 2**63.
    limits = [int(text) for text in texts if text.isdigit() and int(text) < 2**60]
    return min(limits, default=None)


def cpu_limit(root: Path = Path("/")) -> float | None:
    """How many CPUs' worth of time the control groups of this process allow; None if they set no limit."""
    limits = []
    for text in _group_files(root, "cpu", "cpu.max", None):
        quota, _, period = text.partition(" ")
        if quota.isdigit():
            limits.append(int(quota) / int(period or 100_000))
    quotas = _group_files(root, "cpu", None, "cpu.cfs_quota_us")
    periods = _group_files(root, "cpu", None, "cpu.cfs_period_us")
    limits += [int(q) / int(p) for q, p in zip(quotas, periods, strict=False) if int(q) > 0]
    return min(limits, default=None)


def _group_files(root: Path, controller: str, unified: str | None, legacy: str | None) -> list[str]:
    """Contents of a limit file in the group of this process and in every group above it.

    ``unified`` names the file under version 2 of control groups, ``legacy`` the one under version 1.
    """
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return []
    found = []
    for line in groups:
        _, controllers, path = line.split(":", 2)
        mounted = root / "sys/fs/cgroup"
        if controllers == "" and unified:
            name = unified
        elif controller in controllers.split(",") and legacy:
            name, mounted = legacy, mounted / controller
        else:
            continue
        # Inside a container the path may be the host's: the mounted root is then the container's own group.
        group = Path(path.lstrip("/"))
        for folder in dict.fromkeys((group, *group.parents)):
            file = mounted / folder / name
            if file.is_file():
                found.append(file.read_text().strip())
    return found


def _data_sets() -> Iterator[Finding]:
    from pm_lab.datasets import available
    from pm_lab.datasets.download import offline

    table = available()
    readable = table[table["reader"]]
    here = readable[readable["where"] != "to fetch"]
    places = zip(here["name"], here["where"], strict=True)
    yield Finding("data offline", "ok", ", ".join(f"{name} ({where})" for name, where in places))
    absent = readable.loc[readable["where"] == "to fetch", "name"]
    if len(absent):
        network = " (PM_LAB_OFFLINE forbids it now)" if offline() else ""
        mend = f"For the case studies: pm-lab data fetch {' '.join(absent)}{network}, or set PM_LAB_MIRROR."
        yield Finding("data to fetch", "info", ", ".join(absent), mend)


def _data_folders() -> Iterator[Finding]:
    import shutil
    import tempfile

    from pm_lab.datasets.download import cache_folder

    folder = cache_folder()
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    mend = "Set PM_LAB_CACHE to a folder with room that can be written."
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        yield Finding("data cache", "warn", f"cannot be written ({error.strerror})", mend)
    else:
        free = shutil.disk_usage(there).free
        status, mend = (
            ("ok", "") if free > GIB else ("warn", f"Free some room, or {mend[0].lower()}{mend[1:]}")
        )
        yield Finding("data cache", status, f"{free / GIB:.1f} GiB free", mend)
    mirror = os.environ.get("PM_LAB_MIRROR")
    if mirror and not Path(mirror).expanduser().is_dir():
        mend = "Let PM_LAB_MIRROR name the folder that holds MANIFEST.tsv, or unset it."
        yield Finding("data mirror", "warn", "PM_LAB_MIRROR does not name a folder", mend)


def _gpu() -> Iterator[Finding]:
    if find_spec("torch") is None:
        mend = "Only drug response models need it: pip install 'pm_lab[drug-response]'."
        yield Finding("GPU", "info", "PyTorch is not installed", mend)
        return
    import torch

    if torch.cuda.is_available():
        device = torch.cuda.get_device_properties(0)
        text = f"{device.name}, {device.total_memory / GIB:.0f} GiB"
    elif torch.backends.mps.is_available():
        text = "Apple GPU"
    else:
        text = "none in use: models train on the CPU, which the course is made for"
    yield Finding("GPU", "ok", f"{text} (PyTorch {torch.__version__})")


def _compiled_code() -> Iterator[Finding]:
    """numba compiles for seconds in each new process unless it can keep what it compiled."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    folder = Path(chosen) if chosen else Path(find_spec("numba").origin).parent
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if os.access(there, os.W_OK):
        where = "in NUMBA_CACHE_DIR" if chosen else "beside the installed packages"
        yield Finding("compiled code", "ok", f"kept {where}")
    else:
        mend = "Set NUMBA_CACHE_DIR to a folder that can be written, before starting JupyterLab."
        yield Finding("compiled code", "warn", "cannot be kept: first steps of each notebook are slow", mend)


EXTENSION_CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (_front_end, _server_part)

CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _python,
    _packages,
    _lock,
    _jupyterlab,
    *EXTENSION_CHECKS,
    _app,
    _memory,
    _cpus,
    _data_sets,
    _data_folders,
    _gpu,
    _compiled_code,
)
