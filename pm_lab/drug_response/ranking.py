"""Predictions as a ranked table with their evidence: the lines that are near, the pathways that decide."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from pm_lab import keys
from pm_lab.drug_response.contract import first
from pm_lab.drug_response.evidence import top_pathways
from pm_lab.drug_response.learnt import Learnt
from pm_lab.drug_response.patients import PreparedRows
from pm_lab.drug_response.resemblance import say_unlike
from pm_lab.errors import PmLabWarning

NEIGHBOURS = 5  # lines whose mean distance says how far a patient is from all of them
MOST_ISOLATED = 0.99  # of the lines are nearer to their neighbours
SHOWN_LINES = 3
EXPLAINED = 5  # drugs of each row, the first of the ranking
PURPOSE = (
    "A ranking for research, made from cell lines: no recommendation of a treatment. Intervals are measured "
    "on cell lines left out; for patients their coverage is not known."
)

SAYS = (
    "Patients far from all lines once their genes are aligned. What a cohort shares is gone by then: that it "
    "is unlike the lines as a whole shows in gene_correlations (about 0: no structure in common), not here."
)


@dataclass(frozen=True)
class Neighbours:
    """Where rows are among the lines of training, in the space of the kernel and of the genes that they have.

    Attributes
    ----------
    order : rows × lines, places of the lines, nearest first.
    isolation : mean distance to the five nearest lines; 1 is that of the line of training that only 1 % of
        the lines are further from their own neighbours than.
    """

    order: np.ndarray
    isolation: np.ndarray

    @classmethod
    def of(
        cls, learnt: Learnt, expression: np.ndarray, place: np.ndarray, measured: np.ndarray
    ) -> Neighbours:
        """``place`` : of rows that are lines of training, −1 for others. ``measured`` : genes of the rows."""
        kernel = replace(learnt.kernel, weight=learnt.kernel.weight * measured)
        to_lines = kernel.distances(expression, learnt.expression)
        known = np.flatnonzero(place >= 0)
        to_lines[known, place[known]] = np.inf  # a line is no neighbour of itself
        between = kernel.distances(learnt.expression, learnt.expression)
        np.fill_diagonal(between, np.inf)
        limit = np.quantile(_to_nearest(between), MOST_ISOLATED)
        return cls(np.argsort(to_lines, axis=1, kind="stable"), _to_nearest(to_lines) / max(limit, 1e-12))

    def tested(self, measured: np.ndarray) -> np.ndarray:
        """Rows × up to 3: places of the nearest lines on which a drug was measured."""
        number = np.cumsum(measured[self.order], axis=1)
        n = min(SHOWN_LINES, int(measured.sum()))
        first_places = np.stack([(number > k).argmax(axis=1) for k in range(n)], axis=1)
        return np.take_along_axis(self.order, first_places, axis=1)


def _to_nearest(distances: np.ndarray) -> np.ndarray:
    return np.sort(distances, axis=1)[:, :NEIGHBOURS].mean(axis=1)


def ranked_table(
    learnt: Learnt,
    rows: pd.Index,
    prepared: PreparedRows,
    predicted: np.ndarray,
    width: np.ndarray,
    chosen: np.ndarray,
) -> pd.DataFrame:
    """Predictions as a table, most sensitive first within a patient; what it says is with ``predict``.

    Parameters
    ----------
    predicted, width : rows × chosen drugs: predictions, and half widths of their intervals.
    chosen : places of the drugs in training.
    """
    n_rows, n_drugs = predicted.shape
    near = Neighbours.of(learnt, prepared.expression, prepared.known, prepared.measured)
    nearest, responses = _evidence(learnt, near, chosen)
    percentile, beyond = np.empty(predicted.shape), np.empty(predicted.shape)
    # Lines that are known are predicted with their other responses, and further apart: each among its like.
    known = prepared.known >= 0
    for some, like in ((known, "expected"), (~known, "left_out")):
        if not some.any():
            continue  # what is expected of known lines takes seconds to learn
        reference = getattr(learnt, like)[:, chosen]
        percentile[some] = _percentiles(predicted[some], reference)
        beyond[some] = (predicted[some] - reference.mean(axis=0)) / np.maximum(reference.std(axis=0), 1e-12)
    order = np.lexsort((beyond, percentile), axis=1)  # drugs beyond all lines are told apart
    unlike = say_unlike(prepared.gene_correlations)
    outside = (near.isolation > 1) | unlike
    pathways, n_pathways = top_pathways(learnt, prepared, chosen[order[:, :EXPLAINED]])
    at = lambda array: np.take_along_axis(array, order, axis=1).ravel()  # noqa: E731
    names = learnt.drugs[chosen].to_numpy(object)
    table = pd.DataFrame(
        {
            prepared.kind: np.repeat(rows.to_numpy(object), n_drugs),
            "drug": names[order].ravel(),
            "rank": np.tile(np.arange(1, n_drugs + 1), n_rows),
            learnt.measure: at(predicted),
            "lower": at(predicted - width),
            "upper": at(predicted + width),
            "percentile": at(percentile),
            "top_pathways": np.pad(
                pathways, ((0, 0), (0, n_drugs - pathways.shape[1])), constant_values=""
            ).ravel(),
            "nearest_lines": at(nearest),
            f"nearest_{learnt.measure}": at(responses),
            "out_of_distribution": np.repeat(outside, n_drugs),
            "isolation": np.repeat(near.isolation, n_drugs),
        }
    )
    if not unlike:
        _say_outside(outside, rows, prepared.kind)
    table.attrs = {
        "purpose": PURPOSE,
        **prepared.record,
        "out_of_distribution": {
            "rows": n_rows,
            "outside": int(outside.sum()),
            "neighbours": NEIGHBOURS,
            "gene_correlations": prepared.gene_correlations,
            "says": SAYS,
        },
        "top_pathways": {"drugs_of_each": pathways.shape[1], "pathways": n_pathways},
    }
    return table


def _evidence(learnt: Learnt, near: Neighbours, chosen: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Names of the nearest lines on which each drug was measured, and their mean response; rows × drugs."""
    lines, response = learnt.lines.to_numpy(object), learnt.left_out + learnt.errors_new
    names = np.empty((len(near.order), len(chosen)), dtype=object)
    means = np.empty(names.shape)
    for place, drug in enumerate(chosen):
        tested = near.tested(~np.isnan(response[:, drug]))
        names[:, place] = [", ".join(map(str, row)) for row in lines[tested]]
        means[:, place] = response[tested, drug].mean(axis=1)
    return names, means


def _percentiles(predicted: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The share of the reference below each prediction, in percent, drug by drug."""
    columns = [
        np.searchsorted(np.sort(known), new) for known, new in zip(reference.T, predicted.T, strict=True)
    ]
    return 100 * np.stack(columns, axis=1) / len(reference)


def _say_outside(outside: np.ndarray, names: pd.Index, who: str) -> None:
    if outside.any() and who == keys.PATIENT:
        warnings.warn(
            f"{int(outside.sum()):,} of {len(outside):,} patients are further from the lines of training "
            f"than 99 % of these lines are from each other ({first(names[outside])}): out_of_distribution. "
            "How well such patients are predicted, no line can tell.",
            PmLabWarning,
            stacklevel=4,
        )
