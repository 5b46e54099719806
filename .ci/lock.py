"""Write requirements.lock: the exact versions that `make lab` and `make test` install.

Run by `make lock` with the oldest Python the project supports. Installs the newest versions that
pyproject.toml allows into a fresh environment and records what came.
"""

import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
ENVIRONMENT = ROOT / "build" / "lock"
HEADER = """\
# Exact versions of everything that `make lab` and `make test` install. Written by `make lock`: do not edit.
# torch has no "+cpu" and no CUDA packages are listed, so pip takes a CPU build where its own settings
# offer one and the platform's usual build elsewhere. See README for choosing between CPU and GPU.
"""
# pip comes with the environment; the rest is what torch brings along with a CUDA build, which a lock
# would force on every machine.
NOT_LOCKED = re.compile(r"^(pip|nvidia|cuda|triton)\b", re.IGNORECASE)


def wanted(torch: str | None) -> list[str]:
    """Every requirement of pyproject.toml, the build backend included; torch at the version given."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = pyproject["project"]
    # editables is what hatchling asks for when the package is installed in place.
    requirements = [*project["dependencies"], *pyproject["build-system"]["requires"], "editables"]
    for extra in project["optional-dependencies"].values():
        requirements += extra
    return requirements + ([f"torch=={torch}"] if torch else [])


def locked_torch() -> str | None:
    """The torch now in the lock: kept, since a newer one may have no CPU build at hand."""
    found = re.search(r"^torch==(\S+)", LOCK.read_text(), re.MULTILINE) if LOCK.exists() else None
    return found.group(1) if found else None


def main() -> None:
    torch = sys.argv[1] if len(sys.argv) > 1 else locked_torch()
    venv.create(ENVIRONMENT, clear=True, with_pip=True)
    pip = [ENVIRONMENT / "bin" / "python", "-m", "pip"]
    subprocess.run([*pip, "install", *wanted(torch)], check=True)
    frozen = subprocess.run([*pip, "freeze", "--all"], check=True, capture_output=True, text=True).stdout
    pins = [line.split("+")[0] for line in frozen.splitlines() if not NOT_LOCKED.match(line)]
    strange = [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.!]+", pin)]
    if strange:
        sys.exit(f"Not an exact version from a package index, so not locked: {strange}")
    unfinished = LOCK.with_suffix(".tmp")
    unfinished.write_text(HEADER + "\n".join(pins) + "\n")
    unfinished.replace(LOCK)
    print(f"requirements.lock: {len(pins)} packages")


if __name__ == "__main__":
    main()
