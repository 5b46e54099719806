"""The files that the tests open, and what pandas says of them (expected.json)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path


def write_files(folder: Path) -> None:
    """Write cells.h5ad, cells.zarr, cohort.h5ad, batches.h5ad and expected.json into an empty folder."""
    import warnings

    import pm_lab as pm

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    cohort = pm.datasets.simulate_cohort(n_cells=900)
    cells = cohort.cells
    cells.obs["cell_type"] = cohort.truth["cell_type"].astype("category")
    cells.obsm["X_umap"] = _layout(cells)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cells.write_h5ad(folder / "cells.h5ad")
        cells.write_zarr(folder / "cells.zarr")
        cohort.bulk.write_h5ad(folder / "cohort.h5ad")
        _batches().write_h5ad(folder / "batches.h5ad")
    (folder / "expected.json").write_text(json.dumps(_expected(cells, cohort.bulk), indent=1))


# More cells than the smallest number of points that the settings allow, and a batch that is rare.
BATCHES = {"first": 1100, "second": 460, "third": 37}


def _batches():
    import anndata
    import numpy as np
    import pandas as pd

    n = sum(BATCHES.values())
    batch = pd.Categorical(np.repeat(list(BATCHES), list(BATCHES.values())))
    obs = pd.DataFrame({"batch": batch, "cell_type": "T cell"}, index=[f"cell{i}" for i in range(n)])
    obs["cell_type"] = obs["cell_type"].astype("category")
    layout = np.random.default_rng(0).normal(size=(n, 2)).astype("float32")
    return anndata.AnnData(np.ones((n, 2), "float32"), obs=obs, obsm={"X_umap": layout})


def _layout(cells):
    """Two coordinates a cell: types apart from each other, so that a lasso can be drawn around one."""
    import numpy as np

    codes = cells.obs["cell_type"].cat.codes.to_numpy()
    angle = 2 * np.pi * codes / (codes.max() + 1)
    centres = 10 * np.column_stack([np.cos(angle), np.sin(angle)])
    return (centres + np.random.default_rng(0).normal(size=(cells.n_obs, 2))).astype("float32")


def _expected(cells, patients) -> dict:
    obs, gene = cells.obs, "CD3E"
    values = cells[:, gene].X.toarray().ravel()
    by_age = obs.sort_values("age", ascending=False, kind="stable")
    middle = obs["age"].between(40, 55)
    low, high = _around(cells, "B cell")
    inside = ((cells.obsm["X_umap"] >= low) & (cells.obsm["X_umap"] <= high)).all(axis=1)
    stages = obs.loc[inside, "stage"].value_counts()
    by_type = obs.groupby("cell_type", observed=True)["age"].agg(["size", "median"])
    return {
        "around": {"x0": low[0], "x1": high[0], "y0": low[1], "y1": high[1]},
        "n_around": int(inside.sum()),
        "n_around_without_gene": int((inside & middle & (values == 0)).sum()),
        "stages_around": stages[stages > 0].to_dict(),
        "age_by_type": {name: [int(row["size"]), float(row["median"])] for name, row in by_type.iterrows()},
        "batches": BATCHES,
        "n_in_batches": sum(BATCHES.values()),
        "n_obs": cells.n_obs,
        "n_vars": cells.n_vars,
        "n_patients": patients.n_obs,
        "columns": list(obs),
        "first_variables": sorted(cells.var_names)[:5],
        "n_variables_with_cd3": int(cells.var_names.str.contains("cd3", case=False).sum()),
        "cell_types": obs["cell_type"].value_counts().to_dict(),
        "oldest": list(by_age.index[:5]),
        "n_40_to_55": int(middle.sum()),
        "by_age_40_to_55": list(obs[middle].sort_values("age", kind="stable").index[:5]),
        "gene": gene,
        "gene_max": float(values.max()),
        "n_with_gene": int((values > 0).sum()),
    }


def _around(cells, cell_type: str) -> tuple[list[float], list[float]]:
    """Two corners of a rectangle around the cells of a type, with room for a drawn line, in tenths."""
    points = cells.obsm["X_umap"][(cells.obs["cell_type"] == cell_type).to_numpy()]
    low, high = points.min(axis=0) - 0.3, points.max(axis=0) + 0.3
    return [round(float(one), 1) for one in low], [round(float(one), 1) for one in high]
