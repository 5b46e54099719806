"""The built-in screen, and a real one where the data are at hand."""

import numpy as np
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
def few_lines(built_in):
    """60 lines × 10 drugs, with every fifth value missing; not to be changed."""
    part = pm.drug_response.take_drugs(built_in[:60].copy(), built_in.obsm["response"].columns[:10])
    gaps = (np.arange(60)[:, None] * 2 + np.arange(10)) % 5 == 3
    part.obsm["response"] = part.obsm["response"].mask(gaps)
    return part


@pytest.fixture
def little(few_lines):
    """A copy of these few that a test may spoil."""
    return few_lines.copy()


@pytest.fixture(scope="session")
def gdsc1(mirror, tmp_path_factory):
    """GDSC1 as load() builds it; not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PM_LAB_MIRROR", str(mirror))
        patch.setenv("PM_LAB_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("PM_LAB_OFFLINE", "1")
        pm.datasets.load("gdsc1")
        return pm.datasets.load("gdsc1")  # what was kept of the first
