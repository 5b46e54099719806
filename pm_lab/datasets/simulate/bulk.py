"""Bulk expression of the built-in cohort."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd

from pm_lab import keys
from pm_lab.datasets.simulate import model
from pm_lab.datasets.simulate.genes import pathway_log2
from pm_lab.datasets.simulate.patients import Latent

Y_LINKED = ("RPS4Y1", "DDX3Y", "EIF1AY", "KDM5D", "UTY", "USP9Y", "ZFY", "TXLNGY", "NLGN4Y", "TMSB4Y")
ABSENT_IN_OTHER_SEX = 6  # natural log


def simulate_bulk(
    rng: np.random.Generator, clinical: pd.DataFrame, latent: Latent, genes: pd.DataFrame, profiles
) -> ad.AnnData:
    """Patients × genes: negative-binomial counts, and log2(CPM + 1) as ``X``."""
    n, n_genes = len(clinical), len(genes)
    log_mean = _log_mean(clinical, latent, genes, profiles)
    drift = rng.normal(0, model.BATCH_DRIFT_SD, n_genes)
    log_mean += model.LN2 * np.outer(clinical["batch"].cat.codes - 1, drift)
    size = model.BULK_COUNTS_PER_GENE * n_genes * np.exp(0.3 * rng.standard_normal(n))
    dispersion = genes["dispersion"].to_numpy()
    rate = size[:, None] * np.exp(log_mean) * rng.gamma(1 / dispersion, dispersion, (n, n_genes))
    counts = rng.poisson(rate).astype(np.float32)
    cpm = counts / counts.sum(axis=1, keepdims=True) * 1e6
    bulk = ad.AnnData(
        X=np.log2(cpm + 1).astype(np.float32),
        obs=clinical.copy(),
        var=pd.DataFrame(index=genes.index),
        layers={keys.COUNTS: counts},
    )
    bulk.uns[keys.ENDPOINTS] = {"os": {"time": "os_time", "event": "os_event", "unit": "months"}}
    return bulk


def _log_mean(clinical: pd.DataFrame, latent: Latent, genes: pd.DataFrame, profiles) -> np.ndarray:
    """Natural log of relative expression, patients × genes, without batch."""
    centre = np.log(np.asarray(list(model.COMPOSITION.values())) @ profiles)
    log_mean = np.tile(centre, (len(clinical), 1))
    type_of = pd.Index(model.COMPOSITION).get_indexer(genes["marker_of"])
    marker = type_of >= 0
    weight = genes["abundance_weight"].to_numpy()[marker]
    log_mean[:, marker] += latent.deviation[:, type_of[marker]] * weight
    log2 = pathway_log2(latent.activities.to_numpy(), genes, list(latent.activities.columns))
    log2 += np.outer(latent.axis / model.AXIS_SEPARATION, genes["axis_log2"])
    log2 += np.outer(latent.age, genes["age_log2_slope"])
    log_mean += model.LN2 * log2
    male = (clinical["sex"] == "male").to_numpy()
    log_mean[:, genes.index == "XIST"] -= ABSENT_IN_OTHER_SEX * male[:, None]
    log_mean[:, genes.index.isin(Y_LINKED)] -= ABSENT_IN_OTHER_SEX * ~male[:, None]
    return log_mean
