"""One small simulated cohort and its processed cells, made once."""

import pytest

import pm_lab as pm


@pytest.fixture(scope="session")
def small_cohort():
    return pm.datasets.simulate_cohort(n_cells=2400, seed=5)


@pytest.fixture
def cells(small_cohort):
    """Raw cells, anew for each test."""
    return small_cohort.cells.copy()


@pytest.fixture(scope="session")
def processed_once(small_cohort):
    cells = small_cohort.cells[:1200].copy()
    pm.singlecell.process(cells)
    return cells


@pytest.fixture
def processed(processed_once):
    return processed_once.copy()
