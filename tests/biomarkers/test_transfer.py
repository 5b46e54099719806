"""What external validation says of a panel and of a given score: the same columns, whatever is missing."""

import numpy as np
import pandas as pd
import pytest

import pm_lab as pm
from pm_lab.errors import DataError

external_validation, signature_score = pm.biomarkers.external_validation, pm.biomarkers.signature_score


@pytest.fixture(scope="module")
def parts(shared):
    return shared[:80].copy(), shared[80:].copy()


@pytest.fixture(scope="module")
def of_a_panel(parts):
    return external_validation(pm.biomarkers.fit_panel(parts[0], "level"), parts[1], "level", n_boot=20)


def test_tables_have_their_columns_when_nothing_is_missing(of_a_panel, parts):
    assert of_a_panel.missing.empty and list(of_a_panel.missing.columns) == ["weight"]
    assert of_a_panel.mapping.index.name == of_a_panel.missing.index.name == "gene"
    assert (of_a_panel.mapping["probes"] == of_a_panel.mapping.index).all()
    assert of_a_panel.table.attrs == {"outcome": "level", "scale": "panel", "match": "name"}
    given = external_validation(parts[1].obs["age"], parts[1], "level", n_boot=20)
    for name in ("table", "missing", "mapping"):
        one, other = getattr(given, name), getattr(of_a_panel, name)
        pd.testing.assert_index_equal(one.columns, other.columns)
        assert one.dtypes.astype(str).tolist() == other.dtypes.astype(str).tolist()
        assert one.index.name == other.index.name
    row = given.table.iloc[0]
    assert row[["n_genes", "n_measured", "weight_measured", "calibration_slope"]].isna().all()
    assert given.missing.empty and given.mapping.empty and given.table.attrs == {"outcome": "level"}


def test_a_signature_carries_what_it_lacks(parts):
    genes = [*parts[1].var_names[:6], "X1", "X2"]
    signature = pd.DataFrame(
        {
            "probe": genes,
            "NCBI.gene.symbol": "",
            "EntrezGene.ID": pd.Series([pd.NA] * 8, dtype="Int64"),
            "average.good.prognosis.profile": np.linspace(-1, 1, 8),
        }
    )
    score = signature_score(parts[1], signature)
    result = external_validation(score.rename("published"), parts[1], "level", n_boot=20)
    assert result.table.loc["published", ["n_genes", "n_measured"]].tolist() == [8, 6]
    assert result.missing.index.tolist() == ["X1", "X2"] and result.missing["weight"].isna().all()


def test_scores_that_cannot_be_judged(parts, of_a_panel):
    age = parts[1].obs["age"]
    with pytest.raises(DataError, match=r"names 1 patients more than once \(P080\)"):
        external_validation(pd.concat([age, age.iloc[:1]]), parts[1], "level")
    with pytest.raises(DataError, match="numbers, higher = more risk"):
        external_validation(parts[1].obs["stage"].astype(str), parts[1], "level")
    with pytest.raises(DataError, match="panel is of type DataFrame: pass a Panel"):
        external_validation(of_a_panel.table, parts[1], "level")
    with pytest.raises(DataError, match=r"signature lacks the columns .*NCBI\.gene\.symbol"):
        signature_score(parts[1], pd.DataFrame({"probe": ["G00"]}))
