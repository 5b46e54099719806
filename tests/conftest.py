"""What all tests share: no network, no progress bars, and the data that may or may not be at hand."""

import os
from pathlib import Path

import pytest

os.environ["PM_LAB_PROGRESS"] = "0"
os.environ.setdefault("MPLBACKEND", "agg")

# These talk to a server or a kernel of their own; nothing beyond this machine is reached even there.
LOCAL_SERVERS = ("notebooks", "browser", "server")
LOCAL_HOSTS = ["127.0.0.1", "::1", "localhost"]

# The registered data sets that tests read from the folder of the fixture `mirror`.
REAL_DATA = ["airway", "breast_signatures", "colorectal", "gdsc1", "gene_sets", "golub"]
REAL_DATA += ["kang2018", "kang2018_donors", "leukemia", "nki", "p53", "vdx"]


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and item.path.relative_to(here).parts[0] in LOCAL_SERVERS:
            item.add_marker(pytest.mark.allow_hosts(LOCAL_HOSTS))


@pytest.fixture(scope="session")
def missing():
    """Skip, saying what is missing. Under CI=true nothing may be missing: there it fails."""

    def missing(what: str) -> None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must not skip: {what}")
        pytest.skip(what)

    return missing


@pytest.fixture(scope="session")
def mirror(missing) -> Path:
    """The folder with the real data sets, or a skip that says how to get them."""
    return real_data(missing)


def real_data(missing) -> Path:
    """The folder PM_LAB_MIRROR; without one the user's cache, if it holds all of REAL_DATA."""
    folder = os.environ.get("PM_LAB_MIRROR")
    if folder:
        if not Path(folder).is_dir():
            missing(f"PM_LAB_MIRROR names no folder: {folder}")
        return Path(folder).resolve()

    from pm_lab.datasets.download import cache_folder
    from pm_lab.datasets.registry import registered

    cache = cache_folder().resolve()
    files = {name: [cache / file.name for file in registered()[name].files] for name in REAL_DATA}
    absent = [name for name, paths in files.items() if not all(path.is_file() for path in paths)]
    if absent:
        missing(
            "PM_LAB_MIRROR names no folder with the real data sets, and the cache lacks some: "
            f"pm-lab data fetch {' '.join(absent)}"
        )
    return cache


@pytest.fixture
def temporary_cache(tmp_path, monkeypatch) -> Path:
    """An empty cache folder for data sets, in place of the user's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("PM_LAB_CACHE", str(folder))
    return folder
