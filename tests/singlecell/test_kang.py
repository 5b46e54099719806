"""Reference tests on Kang 2018, real counts: the published response and the authors' cell types."""

import warnings

import numpy as np
import pandas as pd
import pytest

import pm_lab as pm
from pm_lab.errors import DataError, DesignError, PmLabWarning

CONTRAST = ("condition", "stim", "ctrl")
PUBLISHED = ["ISG15", "IFI6", "IFIT3"]
SAME = {
    "B cells": "B cell",
    "CD4 T cells": "CD4 T cell",
    "CD8 T cells": "CD8 T cell",
    "CD14+ Monocytes": "CD14 monocyte",
    "FCGR3A+ Monocytes": "FCGR3A monocyte",
}


def load(name, mirror, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PM_LAB_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("PM_LAB_MIRROR", str(mirror))
        return pm.datasets.load(name)


@pytest.fixture(scope="module")
def pool(mirror, tmp_path_factory):
    """2,000 cells, aligned over the condition and named."""
    cells = load("kang2018", mirror, tmp_path_factory)
    pm.singlecell.process(cells, batch_key="condition", resolution=2.0, umap=False)
    with pytest.warns(PmLabWarning, match="Marker sets left out"):
        pm.singlecell.annotate(cells)
    return cells


@pytest.fixture(scope="module")
def donors(mirror, tmp_path_factory):
    """Two donors, as they come."""
    return load("kang2018_donors", mirror, tmp_path_factory)


@pytest.fixture(scope="module")
def named(donors):
    """Two donors, aligned over the condition and named."""
    cells = pm.singlecell.process(donors, batch_key="condition", umap=False, copy=True)
    with pytest.warns(PmLabWarning, match="Marker sets left out"):
        pm.singlecell.annotate(cells)
    return cells


def response(cells):
    """Mean log-normalised expression, stimulated minus control, by gene."""
    stimulated = (cells.obs["condition"] == "stim").to_numpy()
    difference = cells.X[stimulated].mean(axis=0) - cells.X[~stimulated].mean(axis=0)
    return pd.Series(np.asarray(difference).ravel(), index=cells.var_names)


def agreement(cells, merged=False):
    authors = cells.obs["author_cell_type"].astype(str).map(SAME)
    ours = cells.obs["cell_type"].astype(str)
    if merged:
        authors, ours = (names.replace(["CD4 T cell", "CD8 T cell"], "T cell") for names in (authors, ours))
    return (authors == ours).mean()


def test_published_genes_lead_the_response(pool):
    ranks = response(pool).rank(ascending=False)[PUBLISHED]
    assert (ranks <= 10).all(), ranks.to_dict()


def test_published_genes_rise_in_every_type(pool):
    sides = pd.crosstab(pool.obs["cell_type"], pool.obs["condition"]).min(axis=1)
    types = sides.index[(sides >= 20) & (sides.index != "unassigned")]
    assert {"CD4 T cell", "CD8 T cell", "B cell", "CD14 monocyte", "FCGR3A monocyte"} <= set(types)
    samples = pm.singlecell.pseudobulk(pool, patient_key="condition")
    log_cpm = samples.to_df()[PUBLISHED].set_index(
        pd.MultiIndex.from_frame(samples.obs[["cell_type", "condition"]])
    )
    ratio = log_cpm.xs("stim", level="condition") - log_cpm.xs("ctrl", level="condition")
    assert (ratio.loc[types] > 1).all(axis=None), ratio.loc[types]


def test_alignment_leaves_no_cluster_to_one_condition(pool):
    share = pd.crosstab(pool.obs["cluster"], pool.obs["condition"], normalize="index").max(axis=1)
    of_cells = share[pool.obs["cluster"].astype(str)].to_numpy()
    assert (of_cells < 0.9).mean() > 0.97


def test_cell_types_agree_with_the_authors(named):
    assert agreement(named) >= 0.80
    assert agreement(named, merged=True) >= 0.92


def test_cell_types_agree_without_alignment_too(donors):
    cells = pm.singlecell.process(donors, umap=False, copy=True)
    with pytest.warns(PmLabWarning, match="Marker sets left out"):
        pm.singlecell.annotate(cells)
    assert agreement(cells) >= 0.80
    assert agreement(cells, merged=True) >= 0.92


def test_absent_marker_sets_are_counted(named):
    measured = set(named.var_names)
    plasma = pm.gene_sets.core("cell_type")["Plasma cell"]
    expected = rf"Plasma cell: {len(measured & set(plasma))} of {len(plasma)}\b"
    with pytest.warns(PmLabWarning, match=expected):
        pm.singlecell.annotate(named, copy=True)


def test_quality_control_without_mitochondrial_genes_says_so_once(donors):
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        with pytest.warns(PmLabWarning, match="no gene name starts with 'MT-'") as said:
            table, _ = pm.singlecell.quality_control(donors, doublets=False, copy=True)
    assert len(said) == 1
    assert table["median_mt_percent"].isna().all()
    assert (table["high_mt"] == 0).all()


@pytest.mark.parametrize(
    ("patient_key", "error", "message"),
    [
        ("patient", DataError, r"no column 'patient'.*Pass patient_key="),
        ("condition", DesignError, "is the condition itself"),
        ("barcode", DesignError, "names cells, not patients"),
    ],
)
def test_no_p_values_from_a_file_without_patients(pool, patient_key, error, message):
    cells = pool.copy()
    cells.obs["barcode"] = cells.obs_names
    with pytest.raises(error, match=message):
        pm.singlecell.differential_expression(cells, "~ condition", CONTRAST, patient_key=patient_key)


def test_unpaired_design_for_paired_donors_is_refused(named):
    with pytest.raises(DesignError, match=r"pair them by adding the patient"):
        pm.singlecell.differential_expression(named, "~ condition", CONTRAST)


def test_one_donor_is_refused(named):
    one = named[named.obs["patient"] == named.obs["patient"].iloc[0]].copy()
    with pytest.raises(DesignError, match="one value only"):
        pm.singlecell.differential_expression(one, "~ patient + condition", CONTRAST)


def test_two_donors_are_warned_of_and_respond_alike(named):
    monocytes = named[named.obs["cell_type"] == "CD14 monocyte"].copy()
    with pytest.warns(PmLabWarning, match="Only two patients on a side"):
        result = pm.singlecell.differential_expression(monocytes, "~ patient + condition", CONTRAST)
    assert pd.DataFrame(result.attrs["samples"])[["stim", "ctrl"]].eq(2).all(axis=None)
    assert (result.set_index("gene").loc[PUBLISHED, "log2_fold_change"] > 1).all()
    one, other = (
        response(monocytes[monocytes.obs["patient"] == name])
        for name in monocytes.obs["patient"].cat.categories
    )
    assert np.corrcoef(one, other)[0, 1] > 0.9


def test_cells_as_replicates_find_genes_between_untreated_people(named):
    """The control of the case study: nobody was treated, and counting cells finds genes all the same."""
    control = named[(named.obs["condition"] == "ctrl") & (named.obs["cell_type"] == "CD14 monocyte")].copy()
    shuffled = control.obs["patient"].sample(frac=1, random_state=0)
    half = shuffled.groupby(shuffled, observed=True).cumcount().mod(2)
    control.obs["half"] = half.map({0: "A", 1: "B"}).reindex(control.obs_names)
    called = {}
    for key in ("half", "patient"):
        table = pm.singlecell.rank_markers(control, key)
        called[key] = int((table.drop_duplicates("gene")["padj"] < 0.05).sum())
    assert called["half"] <= 1
    assert called["patient"] >= 10
