"""The built-in screen, and a real one where the data are at hand."""

import pytest

import pm_lab as pm


@pytest.fixture(scope="session")
def built_in():
    """300 lines × 60 drugs; not to be changed."""
    return pm.datasets.simulate_cohort(n_cells=600).screen


@pytest.fixture
def screen(built_in):
    """A copy of the built-in screen that a test may spoil."""
    return built_in.copy()


@pytest.fixture(scope="session")
def gdsc1(mirror, tmp_path_factory):
    """GDSC1 as load() builds it; not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PM_LAB_MIRROR", str(mirror))
        patch.setenv("PM_LAB_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("PM_LAB_OFFLINE", "1")
        pm.datasets.load("gdsc1")
        return pm.datasets.load("gdsc1")  # what was kept of the first
