"""The model card of a drug-response model, filled from what it learnt and from what was measured of it."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version

import numpy as np
import pandas as pd

from pm_lab.drug_response.benchmarking import Benchmark
from pm_lab.errors import DataError
from pm_lab.model_card import ModelCard, model_card

SHOWN = ("rmse", "normalized_pearson", "normalized_pearson_sd", "per_drug_pearson", "seconds")
LIMITATIONS = (
    "Cell lines are not patients: no immune cells, no stroma, no metabolism of the drug, other doses. How "
    "well predictions of patients agree with what becomes of them was not measured",
    "Drugs that were not in training are not predicted: predict refuses them, predict_matrix gives them the "
    "mean of all drugs",
    "Responses of two drugs cannot be compared; percentiles among the lines of training can",
    "Pathways tell what the model uses, which need not be what acts on the cell",
)


def response_card(
    model,
    benchmark: Benchmark | Iterable[Benchmark] | None = None,
    coverage: pd.DataFrame | None = None,
    randomisation: pd.DataFrame | None = None,
    **items,
) -> ModelCard:
    """Model card of a fitted DrugResponseModel (TRIPOD+AI); what is not given stays "not provided".

    Parameters
    ----------
    model : a fitted DrugResponseModel.
    benchmark : of :func:`benchmark`, or several, one a split: performance of the model named "network" and,
        as naive baselines, of the others.
    coverage : coverage and width of intervals, any table.
    randomisation : of :func:`randomisation_check`, the negative control.
    items : further items of :func:`pm_lab.model_card.model_card`, such as ``purpose`` or ``source``. They
        replace what would be there.

    Raises
    ------
    DataError
        The model is not fitted, two benchmarks are of one split, or none of them has the model.

    Examples
    --------
    >>> import pm_lab as pm
    >>> screen = pm.datasets.simulate_cohort(n_cells=600, n_lines=60, n_drugs=10).screen
    >>> model = pm.drug_response.DrugResponseModel(members=2, hidden=16).fit(screen)
    >>> card = pm.drug_response.response_card(model, source="Simulated")
    >>> "calibration" in card.missing, "limitations" in card.missing
    (True, False)
    """
    learnt, settings = model._fitted(), model._settings()
    measure = {"ln_ic50": "ln IC50 (µM)", "auc": "area under the dose–response curve (1 = no effect)"}
    found = {
        "not_for": "The choice of treatment: it ranks drugs for research",
        "n": _population(learnt),
        "participants": _tissues(learnt),
        "outcome": measure[learnt.measure],
        "predictors": _predictors(learnt),
        "missing": _missing(learnt),
        "method": _method(settings),
        "limitations": list(LIMITATIONS),
        "seed": settings.seed,
    }
    if benchmark is not None:
        found |= _performance(benchmark, model.name)
    if coverage is not None:
        found["calibration"] = coverage
    if randomisation is not None:
        values = randomisation.groupby("comparison")[["genes", "pathways", "size"]].median()
        found["negative_control"] = values.rename_axis("effects compared with (medians over drugs)")
    card = model_card("Drug-response model of cell lines", **(found | items))
    if "versions" not in items:
        card.items["versions"] = card.items["versions"] | {"torch": version("torch")}
    return card


def _population(learnt) -> dict[str, str | int]:
    n_values = int((~np.isnan(learnt.errors_new)).sum())
    return {
        "cell lines": f"{len(learnt.lines):,}",
        "drugs": f"{len(learnt.drugs):,}",
        "measured pairs of line and drug": f"{n_values:,}",
        "patients": 0,
    }


def _tissues(learnt) -> pd.DataFrame | str:
    """Lines by tissue, the most frequent first."""
    if not learnt.inputs.tissues:
        return "cell lines of tissues that nobody named"
    counts = pd.Series(learnt.tissue.sum(axis=0).astype(int), index=learnt.inputs.tissues)
    unnamed = len(learnt.lines) - int(counts.sum())
    counts = counts.sort_values(ascending=False, kind="stable")
    if unnamed:
        counts["unknown"] = unnamed
    return counts.rename_axis("tissue").rename("lines").to_frame()


def _predictors(learnt) -> str:
    parts = [f"expression of {len(learnt.inputs.genes):,} genes, log2(TPM + 1)"]
    parts += [f"tissue ({len(learnt.inputs.tissues):,} kinds)"] if learnt.inputs.tissues else []
    parts += [
        f"{name.replace('_', ' ')} ({len(columns):,} features)"
        for name, columns in learnt.inputs.features.items()
    ]
    return "; ".join(parts)


def _missing(learnt) -> list[str]:
    gaps = np.isnan(learnt.errors_new)
    most = gaps.mean(axis=0).argmax()
    return [
        f"{gaps.sum():,} of {gaps.size:,} pairs ({gaps.mean():.0%}) were not measured, most often of "
        f"{learnt.drugs[most]} ({gaps[:, most].mean():.0%}); in training they are filled in by what the "
        "line's other responses say",
        "where the model is applied, genes that are absent count as average, with a warning that names them; "
        "with more than 30 % of the genes absent it refuses",
    ]


def _method(settings) -> dict[str, object]:
    return {
        "method": "mean of a kernel ridge regression and of networks that are trained together, on responses "
        "of which drugs share what they have in common",
        "networks": settings.members,
        "hidden units": settings.hidden,
        "epochs, at most": settings.max_epochs,
        "further modalities": ", ".join(settings.modalities) or "none",
    }


def _performance(benchmark, name: str) -> dict[str, object]:
    """Means over folds of the model and of the others, and how they were measured."""
    results = [benchmark] if isinstance(benchmark, Benchmark) else list(benchmark)
    splits = [result.split for result in results]
    if not results or len(set(splits)) < len(splits):
        raise DataError(f"benchmarks of the splits {splits}: give one result a split.")
    table = pd.concat(
        {result.split: result.summary()[list(SHOWN)] for result in results}, names=["split", "model"]
    )
    own = table.index.get_level_values("model") == name
    if not own.any():
        raise DataError(
            f"no benchmark has the model {name!r}; there are {', '.join(table.index.unique('model'))}."
        )
    n_folds = {result.split: result.metrics["fold"].nunique() for result in results}
    how = ", ".join(
        f"{split} ({n} folds, seed {r.seed})" for (split, n), r in zip(n_folds.items(), results, strict=True)
    )
    return {
        "discrimination": table[own].droplevel("model"),
        "baseline": table[~own],
        "validation": f"cross-validation: {how}; LCO leaves lines out, LPO pairs, LTO tissues, LDO drugs; "
        "the normalised correlation is what is left beyond the means of lines and drugs",
    }
