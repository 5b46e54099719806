"""Does an explanation depend on what was learnt? The map of a model against that of one taught nonsense."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

import numpy as np
import pandas as pd

from pm_lab import keys
from pm_lab.drug_response.attribution import integrated_gradients
from pm_lab.drug_response.contract import check_screen, screen_of
from pm_lab.drug_response.pathways import GeneSets, gene_effects, pathway_members

SHUFFLED, OTHER = "shuffled responses", "other lines"


def randomisation_check(
    model,
    screen,
    drugs: str | Iterable[str] | None = None,
    gene_sets: GeneSets | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare a model's map of effects with that of a model that learnt from shuffled responses.

    An explanation that looks the same whatever the model learnt explains the data, or nothing. The responses
    are shuffled between the lines, whole rows, so that drugs still go together as they did; tissue and genes
    stay where they are. Beside it, how far two models agree that learnt from one half of the lines each:
    more cannot be hoped for. Three models are trained, with the settings of the one given.

    Parameters
    ----------
    model : a fitted DrugResponseModel.
    screen : what it was fitted to; its lines are explained.
    drugs : names; by default all of training.
    gene_sets : as for :func:`explain`.
    seed : of the shuffling and of the halves.

    Returns
    -------
    DataFrame, one row a comparison and drug: ``comparison`` ("shuffled responses", "other lines"), ``drug``,
    ``genes`` and ``pathways`` (Pearson correlation of the effects over genes and over pathways, in which the
    many small ones count little; 0 where a model finds no effect at all), ``size`` (root mean square of the
    effects of genes over that of the model; for halves the mean of both).

    Raises
    ------
    DataError
        As :func:`explain` and :meth:`DrugResponseModel.fit`; half of the lines are too few for the networks.

    Source
    ------
    Adebayo 2018, doi:10.48550/arXiv.1810.03292.

    Examples
    --------
    >>> import pm_lab as pm
    >>> screen = pm.datasets.simulate_cohort(n_cells=600, n_lines=60, n_drugs=10).screen
    >>> model = pm.drug_response.DrugResponseModel(members=2, hidden=16).fit(screen)
    >>> check = pm.drug_response.randomisation_check(model, screen)
    >>> check.groupby("comparison").size().to_dict()
    {'other lines': 10, 'shuffled responses': 10}
    """
    screen = screen_of(screen)
    check_screen(screen, min_lines=1)
    places, _ = pathway_members(gene_sets, model._fitted().inputs.genes)
    drugs = [drugs] if isinstance(drugs, str) else drugs
    rng = np.random.default_rng(seed)
    own = _map(model, screen, drugs)
    shuffled = _map(_fitted_like(model, _shuffled(screen, rng)), screen, drugs)
    order = rng.permutation(screen.n_obs)
    halves = [np.sort(part) for part in np.array_split(order, 2)]
    one, other = (_map(_fitted_like(model, screen[part].copy()), screen, drugs) for part in halves)
    size = _root_mean_square(own)
    of_halves = (_root_mean_square(one) + _root_mean_square(other)) / 2
    return pd.concat(
        [
            _agreement(SHUFFLED, own, shuffled, places, _root_mean_square(shuffled) / size),
            _agreement(OTHER, one, other, places, of_halves / size),
        ],
        ignore_index=True,
    )


def _shuffled(screen, rng: np.random.Generator):
    mixed = screen.copy()
    response = screen.obsm[keys.RESPONSE]
    order = rng.permutation(screen.n_obs)
    mixed.obsm[keys.RESPONSE] = response.iloc[order].set_axis(response.index)
    return mixed


def _fitted_like(model, screen):
    """A model of the same settings, fitted to another screen."""
    return type(model)(**asdict(model._settings()), device=model.device).fit(screen)


def _map(model, screen, drugs) -> pd.DataFrame:
    """Effects, genes × drugs."""
    found = integrated_gradients(model, screen, drugs)
    return pd.DataFrame(gene_effects(found), found.genes, found.drugs)


def _root_mean_square(effect: pd.DataFrame) -> pd.Series:
    return np.sqrt((effect**2).mean()).clip(lower=np.finfo(float).tiny)


def _agreement(
    name: str, one: pd.DataFrame, other: pd.DataFrame, places: dict[str, np.ndarray], size: pd.Series
) -> pd.DataFrame:
    """Correlation of two maps, drug by drug."""

    def summed(effect: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({set_name: effect.iloc[rows].sum() for set_name, rows in places.items()}).T

    return pd.DataFrame(
        {
            "comparison": name,
            "drug": one.columns.to_numpy(object),
            "genes": one.corrwith(other).fillna(0.0).to_numpy(),
            "pathways": summed(one).corrwith(summed(other)).fillna(0.0).to_numpy(),
            "size": size.to_numpy(),
        }
    )
