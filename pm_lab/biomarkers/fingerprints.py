"""Whom a panel was fitted to, kept without names: enough to notice when it meets them again."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab import keys
from pm_lab.biomarkers.matching import expression_of, find_genes

if TYPE_CHECKING:
    from anndata import AnnData

    from pm_lab.biomarkers.panels import Panel

LENGTH = 10  # hexadecimal digits of a hash: about one pair among a million patients meets by chance
FEWEST_GENES = 2  # one number alone is shared by chance
MOST_GENES = 8  # enough to tell patients apart; each more is one more that rounding may change
DECIMALS = 4  # of an SD


def fingerprints(panel: Panel, adata: AnnData) -> dict:
    """Salted hashes of the patients' names and of their expression of the panel's first genes.

    The order is that of the hashes, so a name's and a profile's cannot be put together. The salt differs
    between panels and is no secret: who knows a name or a profile can ask whether it is among them.
    """
    salt = hashlib.sha256(json.dumps([panel.genes, panel.means, panel.sds]).encode()).hexdigest()[:16]
    names = _names(adata)
    if list(adata.obs_names) == [str(row) for row in range(adata.n_obs)]:
        names = names.drop(columns="row")  # numbers of rows name nobody
    hashes = {
        "names": _hashes(salt, pd.Series(names.to_numpy().ravel())),
        "profiles": _hashes(salt, _profiles(panel, adata)),
    }
    return {"salt": salt} | {what: sorted(set(found.dropna())) for what, found in hashes.items()}


def same_patients(panel: Panel, adata: AnnData) -> pd.Index:
    """Names of the patients of a cohort whom the panel was fitted to; none where it does not say."""
    if not panel.patients:
        return adata.obs_names[:0]
    salt, names = panel.patients["salt"], _names(adata)
    known = names.apply(lambda part: _hashes(salt, part).isin(panel.patients["names"])).any(axis=1)
    profiles = _hashes(salt, _profiles(panel, adata))
    return adata.obs_names[(known | profiles.isin(panel.patients["profiles"])).to_numpy()]


def _names(adata: AnnData) -> pd.DataFrame:
    """What each row is called: its name and, where there is one, its patient."""
    names = {"row": adata.obs_names.astype(str).to_numpy()}
    if keys.PATIENT in adata.obs:
        names["patient"] = adata.obs[keys.PATIENT].astype(str).to_numpy()
    return pd.DataFrame(names)


def _profiles(panel: Panel, adata: AnnData) -> pd.Series:
    """Rounded expression of the first genes as text; None where it is not complete or not the only one."""
    genes, empty = panel.genes[:MOST_GENES], pd.Series([None] * adata.n_obs, dtype=object)
    ids = {column: given[:MOST_GENES] for column, given in panel.identifiers.items()}
    places, _ = find_genes(genes, ids, adata, None)
    if len(genes) < FEWEST_GENES or any(len(place) != 1 for place in places):
        return empty
    values = expression_of(adata, np.concatenate(places))
    z = np.round((values - panel.means[: len(genes)]) / panel.sds[: len(genes)], DECIMALS) + 0.0  # no -0
    text = pd.Series([" ".join(f"{value:.{DECIMALS}f}" for value in row) for row in z], dtype=object)
    return text.mask(np.isnan(z).any(axis=1) | text.duplicated(keep=False).to_numpy(), None)


def _hashes(salt: str, texts: pd.Series) -> pd.Series:
    return texts.map(
        lambda text: hashlib.sha256(f"{salt} {text}".encode()).hexdigest()[:LENGTH], na_action="ignore"
    )
