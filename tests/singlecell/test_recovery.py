"""The whole pipeline against the planted truth: two seeds here, five in benchmarks/recovery.py."""

import pandas as pd
import pytest
import recovery


@pytest.fixture(scope="module")
def found():
    return pd.DataFrame([recovery.recover(seed) for seed in (0, 1)])


@pytest.mark.timeout(600)
def test_the_pipeline_finds_what_was_planted(found):
    assert recovery.missed(found) == [], recovery.figures(found)


@pytest.mark.timeout(600)
def test_cells_as_replicates_do_not(found):
    assert found["cells_false"].sum() / found["cells_found"].sum() >= 0.5
