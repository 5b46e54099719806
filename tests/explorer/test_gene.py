"""One gene: by group as pandas has it, with survival as exploratory, in cells with patients as the unit."""

import numpy as np
import pandas as pd
import pytest

import pm_lab as pm
from pm_lab.errors import DataError
from pm_lab.explorer import (
    CohortData,
    CohortState,
    gene_by_group,
    gene_in_cells,
    gene_names,
    gene_survival,
)


def state_of(cohort, **options):
    return CohortState(CohortData.open(cohort, **options))


def test_by_group_as_pandas(followed):
    cohort = followed()
    state = state_of(cohort)
    gene = pd.Series(cohort.X[:, 0].astype(float), cohort.obs_names)
    found = gene_by_group(state, "GENE0", "arm")
    expected = gene.groupby(cohort.obs["arm"]).describe()
    table = found.table.set_index("group")
    for mine, theirs in {"n": "count", "mean": "mean", "sd": "std", "q25": "25%", "median": "50%"}.items():
        np.testing.assert_allclose(table[mine], expected.loc[table.index, theirs], rtol=1e-9)
    assert found.counts.sum(axis=1).tolist() == table["n"].tolist()
    counted = pd.cut(gene[cohort.obs["arm"] == "new"], found.edges, right=False).value_counts(sort=False)
    assert found.counts[0].tolist() == counted.tolist()
    state.set_range("age", 60)
    assert gene_by_group(state, "GENE0").table["n"].tolist() == [state.n_selected, 300 - state.n_selected]
    state.set_group("A", {"gene": "GENE0", "above_quantile": 0.5})
    groups = gene_by_group(state, "GENE0", "groups").table
    assert groups["n"].tolist() == [150, 150] and groups["group"].iloc[1] == "B: everybody else"
    state.set_range("age", 1_000)
    nobody = gene_by_group(state, "GENE0", "arm").table
    assert nobody["n"].tolist() == [0, 0] and nobody["mean"].isna().all()
    with pytest.raises(DataError, match="'GENE9' is not among 5 measured ones"):
        gene_by_group(state, "GENE9")


def test_missing_values_of_a_gene(state, plain):
    table = gene_by_group(state, "GENE1", "er").table.set_index("group")
    labels = plain["er"].fillna("missing")
    assert table["n_missing"].to_dict() == plain["gene:GENE1"].isna().groupby(labels).sum().to_dict()


@pytest.mark.parametrize("late", [False, True])
def test_survival_by_thirds_says_that_it_is_exploratory(followed, late):
    cohort = followed(late=late).copy()
    found = gene_survival(state_of(cohort), "GENE1")
    thirds = pd.qcut(cohort.X[:, 1], 3, labels=["low", "middle", "high"])
    cohort.obs["third"] = thirds
    test = pm.survival.log_rank(cohort, "os", "third")
    assert found.log_rank_p == pytest.approx(test["pvalue"].iloc[0], rel=1e-8)
    assert {curve.name: curve.n for curve in found.curves} == {"low": 100, "middle": 100, "high": 100}
    assert found.cuts == pytest.approx(np.quantile(cohort.X[:, 1], [1 / 3, 2 / 3]))
    assert found.notes[0].startswith("Exploratory: thirds of the patients by expression.")


def test_thirds_that_cannot_be_tested(followed):
    cohort = followed().copy()
    cohort.X[:, 2] = 0
    cohort.X[:60, 2] = np.linspace(1, 2, 60)
    state = state_of(cohort)
    flat = gene_survival(state, "GENE2")
    assert len(flat.curves) < 3 and "Many patients share one value" in flat.notes[1]
    state.set_patients(list(cohort.obs_names[:20]))
    few = gene_survival(state, "GENE1")
    assert few.log_rank_p is None and few.reason == "No p-value: a group has fewer than 10 people."
    assert len(few.curves) == 3
    state.set_range("age", 1_000)
    assert (
        gene_survival(state, "GENE1").curves == []
        and "Nobody is selected" in gene_survival(state, "GENE1").reason
    )
    table = cohort.to_df().iloc[:, :2]
    plain = state_of((cohort.obs[["age"]], table))
    assert "no endpoint is declared" in gene_survival(plain, "GENE1").reason


def test_in_cells_patients_are_the_unit(with_cells):
    clinical, cells = with_cells
    state = state_of(clinical, cells=cells)
    state.set_categories("response", ["yes"])
    found = gene_in_cells(state, "CD19")
    counts = cells.to_df()
    values = np.log1p(1e4 * counts["CD19"] / counts.sum(axis=1))
    chosen = cells.obs["patient"].isin(clinical.index[clinical["response"] == "yes"])
    keys = [cells.obs.loc[chosen, "patient"], cells.obs.loc[chosen, "cell_type"]]
    by_patient = values[chosen].groupby(keys).mean()
    expected = by_patient.groupby("cell_type")
    types = found.by_type.set_index("cell_type")
    np.testing.assert_allclose(types["mean"], expected.mean()[types.index])
    np.testing.assert_allclose(types["upper"], expected.quantile(0.75)[types.index])
    shares = 100 * (counts.loc[chosen, "CD19"] > 0).groupby(keys).mean().groupby("cell_type").mean()
    np.testing.assert_allclose(types["share_expressing"], shares[types.index])
    assert types.index[0] == "B cell" and (types["n_patients"] == 20).all()
    assert found.unit == "log(1 + counts per 10,000)" and len(found.by_patient) == len(by_patient)
    with pytest.raises(DataError, match="the cells have no gene 'XYZ'"):
        gene_in_cells(state, "XYZ")
    logged = cells.copy()
    logged.X = cells.X.log1p()
    other = gene_in_cells(state_of(clinical, cells=logged), "CD19")
    assert other.unit == "as in X of the cells"
    assert other.by_type["n_cells"].sum() == len(cells)
    nothing = gene_in_cells(state_of(clinical), "CD19")
    assert nothing.by_type.empty and "No cell types" in nothing.note


def test_completion_of_symbols(built_in):
    state = CohortState(built_in)
    assert gene_names(state, "cd3")[:3] == ["CD3D", "CD3E", "CD3G"]
    assert gene_names(state, "ERBB2")[0] == "ERBB2"
    assert gene_names(state, " ") == [] and gene_names(state, "no such gene") == []
    older = pd.DataFrame(np.ones((4, 2), np.float32), list("abcd"), ["IGJ", "MZB1"])
    named = state_of((pd.DataFrame({"x": [1.5, 2, 3, 4]}, list("abcd")), older))
    assert gene_names(named, "jchain") == ["IGJ"]
    assert len(gene_names(state, "GENE0", n=7)) == 7
