"""The registered data sets (registry.toml) and their pinned files (files.tsv)."""

from __future__ import annotations

import csv
import os
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import resources
from urllib.parse import quote

from pm_lab.errors import DataError

BASE_ADDRESS = "https://raw.githubusercontent.com"


@dataclass(frozen=True)
class RegisteredFile:
    """One file of a data set, pinned by commit and SHA-256."""

    name: str  # path below the cache folder and below the mirror, such as "kang2018/pbmc_stim.RData"
    repository: str
    commit: str
    path_in_repository: str
    bytes: int
    sha256: str

    @property
    def address(self) -> str:
        """Where the file is downloaded from; PM_LAB_BASE_URL names an internal copy of the host."""
        base = os.environ.get("PM_LAB_BASE_URL") or BASE_ADDRESS
        return f"{base.rstrip('/')}/{self.repository}/{self.commit}/{quote(self.path_in_repository)}"


@dataclass(frozen=True)
class DataSet:
    """One registered data set. ``bundled_in`` names the package that carries its data, if one does."""

    name: str
    what: str
    licence: str
    citation: str
    n_obs: int | None = None
    n_vars: int | None = None
    notes: str = ""
    bundled_in: str | None = None
    files: tuple[RegisteredFile, ...] = ()

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)


def listed(files: Iterable[RegisteredFile], most: int = 10) -> str:
    """The files and their addresses for an error message, one a line, the first ``most`` of them."""
    files = list(files)
    lines = [f"  {file.name}  <-  {file.address}" for file in files[:most]]
    if len(files) > most:
        lines.append(f"  and {len(files) - most} more")
    return "\n".join(lines)


@cache
def registered() -> dict[str, DataSet]:
    """Every registered data set by name."""
    folder = resources.files("pm_lab.datasets")
    pinned: dict[str, list[RegisteredFile]] = {}
    lines = folder.joinpath("files.tsv").read_text(encoding="utf-8").splitlines()
    for dataset, *pin in csv.reader(lines[1:], delimiter="\t"):
        name, repository, commit, path, size, sha256 = pin
        file = RegisteredFile(name, repository, commit, path, int(size), sha256)
        pinned.setdefault(dataset, []).append(file)
    described = tomllib.loads(folder.joinpath("registry.toml").read_text(encoding="utf-8"))
    return {
        name: DataSet(name=name, files=tuple(pinned.get(name, ())), **entry)
        for name, entry in described.items()
    }


def find(name: str) -> DataSet:
    """The registered data set of this name, or a :class:`DataError` with the nearest names."""
    if not isinstance(name, str):
        raise DataError(f"a data set is named by one text, such as 'kang2018', not by {name!r}.")
    sets = registered()
    if name in sets:
        return sets[name]
    near = " or ".join(map(repr, get_close_matches(name, sets, n=3)))
    hint = f"Did you mean {near}?" if near else "pm.datasets.available() lists all."
    raise DataError(f"no data set is registered as {name!r}. {hint}")
