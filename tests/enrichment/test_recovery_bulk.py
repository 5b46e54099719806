"""Genes and pathways of bulk against the planted truth: two seeds, five in benchmarks/recovery_bulk.py."""

import pandas as pd
import pytest
import recovery_bulk


@pytest.fixture(scope="module")
def found():
    return pd.DataFrame([recovery_bulk.recover(seed) for seed in (0, 1)])


def test_genes_and_pathways_planted_are_found_and_others_are_not(found):
    assert recovery_bulk.missed(found) == [], recovery_bulk.figures(found)


def test_the_shortcuts_are_fooled(found):
    values = recovery_bulk.figures(found)
    assert values["careless gene FDP"] > 0.2
    assert values["null set FDP, random genes"] > 0.1
