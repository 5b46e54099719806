"""Which genes made a prediction: integrated gradients through the kernel path and the networks."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab.checks import bulk_of
from pm_lab.drug_response.learnt import KERNEL_SHARE, Learnt, places_of_drugs, predict_as_new
from pm_lab.drug_response.lines import TISSUE_SIZE, TISSUE_WEIGHT, WIDTH
from pm_lab.drug_response.patients import prepare_rows
from pm_lab.errors import DataError, PmLabError

if TYPE_CHECKING:
    from pm_lab.drug_response.model import DrugResponseModel

NODES = 24  # of Gauss and Legendre, for the kernel along the path
LARGEST_GB = 2.0
COLUMNS = 512  # rows × drugs that go through the networks together
LARGEST_GAP = 1e-3  # of the largest change explained, or of one unit; rounding of float32 is below 1e-5


@dataclass(frozen=True, eq=False)
class Attribution:
    """What :func:`integrated_gradients` found, in the units of the screen (ln IC50 in µM).

    Attributes
    ----------
    values : rows × drugs × genes, float32: what each gene adds to the prediction, compared with a line of
        average expression. Negative: more sensitive.
    expression : rows × genes, in SD of the lines of training from their mean, as aligned.
    rows, drugs, genes : names.
    kind : what a row is, "line" or "patient".
    tissue, further : rows × drugs, what tissue and further modalities add.
    predicted, baseline : rows × drugs, of the rows and of the average line.
    measure : "ln_ic50" or "auc".
    """

    values: np.ndarray
    expression: np.ndarray
    rows: pd.Index
    drugs: pd.Index
    genes: pd.Index
    kind: str
    tissue: np.ndarray
    further: np.ndarray
    predicted: np.ndarray
    baseline: np.ndarray
    measure: str

    def gaps(self) -> np.ndarray:
        """Rows × drugs: the prediction less the baseline less all that was attributed. 0 but for rounding."""
        given = self.values.sum(axis=2, dtype=float) + self.tissue + self.further
        return self.predicted - self.baseline - given

    def of_row(self, row: str, drug: str) -> pd.DataFrame:
        """Genes of one row and drug, the largest part first: ``gene``, ``attribution``, ``expression`` (SD).

        Raises
        ------
        DataError
            There is no such row or drug.
        """
        for name, names, what in ((row, self.rows, self.kind), (drug, self.drugs, "drug")):
            if name not in names:
                raise DataError(f"no {what} {name!r} was explained; there are {', '.join(names[:5])} ...")
        at = self.rows.get_loc(row)
        table = pd.DataFrame(
            {
                "gene": self.genes,
                "attribution": self.values[at, self.drugs.get_loc(drug)].astype(float),
                "expression": self.expression[at],
            }
        )
        return table.sort_values("attribution", key=np.abs, ascending=False, kind="stable", ignore_index=True)


def integrated_gradients(
    model: DrugResponseModel, adata, drugs: str | Iterable[str] | None = None, align: str = "auto"
) -> Attribution:
    """Attribute each prediction to genes: integrated gradients from the average line to the row.

    A gene's part is its distance from the mean of training times the gradient of the prediction with respect
    to it, averaged along the straight line from the average line of training (mean expression, mean mix of
    tissues) to the row. The parts of all genes, of tissue and of further modalities add up to the prediction
    less that of the average line. The integrals need no steps: a hidden unit of the networks (ReLU) is on
    for a share of the path that can be told from its ends, and the Gaussian kernel along a line is a Gaussian
    curve. A line of training is explained as if it were new, from its expression alone.

    Parameters
    ----------
    model : a fitted DrugResponseModel.
    adata : rows × genes with ``X`` = log2(TPM + 1), or a Cohort, whose patients are taken.
    drugs : names; by default all of training.
    align : as for :meth:`DrugResponseModel.predict`. It looks at the whole cohort: pass all patients to
        explain the predictions that they got together.

    Raises
    ------
    DataError
        Drugs that were not in training, expression that the model refuses, or more numbers than 2 GB hold.
    PmLabError
        The parts do not add up to the prediction.

    Source
    ------
    Sundararajan 2017, doi:10.48550/arXiv.1703.01365.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.simulate_cohort(n_cells=600, n_lines=60, n_drugs=10)
    >>> model = pm.drug_response.DrugResponseModel(members=2, hidden=16).fit(cohort.screen)
    >>> found = pm.drug_response.integrated_gradients(model, cohort.screen[:3], "DRUG001")
    >>> found.values.shape, bool(abs(found.gaps()).max() < 1e-3)
    ((3, 1, 2000), True)
    """
    learnt, adata = model._fitted(), bulk_of(adata)
    chosen = places_of_drugs(learnt, drugs)
    _check_size(adata.n_obs, len(chosen), len(learnt.inputs.genes))
    rows = prepare_rows(learnt, adata, align)
    expression, tissue, inputs = rows.expression, rows.tissue, rows.network
    start = start_of(learnt, inputs)
    mix = np.repeat(learnt.tissue.mean(axis=0)[None, :], len(expression), axis=0)
    each = np.tile(chosen, (len(expression), 1))
    values, of_tissue, further = through_network(learnt, inputs, start, each)
    values += through_kernel(learnt, expression, each)
    of_tissue += (
        KERNEL_SHARE
        * TISSUE_WEIGHT
        * ((tissue - mix) @ learnt.tissue.T @ learnt.coefficients @ learnt.axes[chosen].T)
    )
    found = Attribution(
        values * np.float32(learnt.scale),
        expression,
        adata.obs_names.astype(object),
        learnt.drugs[chosen],
        pd.Index(learnt.inputs.genes, dtype=object),
        rows.kind,
        of_tissue * learnt.scale,
        further * learnt.scale,
        predict_as_new(learnt, expression, tissue, inputs)[:, chosen],
        predict_as_new(learnt, np.zeros_like(expression), mix, start)[:, chosen],
        learnt.measure,
    )
    _check_sum(found)
    return found


def _check_size(n_rows: int, n_drugs: int, n_genes: int) -> None:
    size = 4e-9 * n_rows * n_drugs * n_genes
    if size > LARGEST_GB:
        raise DataError(
            f"{n_rows:,} rows × {n_drugs:,} drugs × {n_genes:,} genes are {size:.1f} GB of attributions. "
            "Pass some of the drugs, drugs=[...], or fewer rows, such as adata[:100]."
        )


def _check_sum(found: Attribution) -> None:
    gap = float(np.abs(found.gaps()).max(initial=0.0))
    allowed = LARGEST_GAP * max(1.0, float(np.abs(found.predicted - found.baseline).max(initial=0.0)))
    if gap > allowed:
        raise PmLabError(
            f"the attributions miss the predictions by up to {gap:.2g}: the model has a part that "
            "integrated_gradients does not know."
        )


def start_of(learnt: Learnt, inputs: np.ndarray) -> np.ndarray:
    """Inputs of the network at the average line; which modalities were measured stays as in each row."""
    n_genes, n_tissues = len(learnt.inputs.genes), len(learnt.inputs.tissues)
    start = np.zeros_like(inputs)
    start[:, n_genes : n_genes + n_tissues] = TISSUE_SIZE * learnt.tissue.mean(axis=0)
    at = n_genes + n_tissues
    for features in learnt.inputs.features.values():
        at += len(features) + 1
        start[:, at - 1] = inputs[:, at - 1]
    return start


def through_network(learnt: Learnt, inputs: np.ndarray, start: np.ndarray, chosen: np.ndarray):
    """Share of the networks: rows × drugs × genes, and rows × drugs of tissue and of further modalities.

    Between the ends of the path a hidden unit rises by its slope times the rise of its input, where the slope
    is the share of the path on which it is on.

    Parameters
    ----------
    start : the inputs at the other end of the path. chosen : rows × drugs, places of the drugs in training.
    """
    import torch

    net = learnt.net
    n_genes, n_tissues = len(learnt.inputs.genes), len(learnt.inputs.tissues)
    with torch.no_grad():
        to_drug = torch.bmm(net.second, net.encode_drugs().transpose(1, 2))  # members × hidden × drugs
        to_drug = to_drug.reshape(-1, to_drug.shape[2]) * ((1 - KERNEL_SHARE) / len(net.first))
        first = net.first.permute(1, 0, 2).reshape(net.first.shape[1], -1)  # inputs × (members · hidden)
        bias = net.first_bias.reshape(1, -1)
        ends = [torch.as_tensor(part) @ first + bias for part in (inputs, start)]
        rise = ends[0] - ends[1]
        slope = (torch.relu(ends[0]) - torch.relu(ends[1])) / torch.where(rise == 0, 1.0, rise)
        slope = torch.where(rise == 0, (ends[0] > 0).float(), slope)
        step = torch.as_tensor(inputs - start)
        values = np.empty((*chosen.shape, n_genes), dtype=np.float32)
        tissue, further = np.empty((2, *chosen.shape))
        for rows in _blocks(*chosen.shape):
            drugs = torch.as_tensor(chosen[rows])
            weighted = slope[rows].T[:, :, None] * to_drug[:, drugs]  # (members · hidden) × rows × drugs
            part = (first @ weighted.reshape(len(weighted), -1)).reshape(-1, *drugs.shape)
            part = (part * step[rows].T[:, :, None]).numpy()
            values[rows] = part[:n_genes].transpose(1, 2, 0)
            tissue[rows] = part[n_genes : n_genes + n_tissues].sum(axis=0)
            further[rows] = part[n_genes + n_tissues :].sum(axis=0)
    return values, tissue, further


def through_kernel(learnt: Learnt, expression: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Share of the Gaussian kernel: rows × drugs × genes; ``chosen`` as for :func:`through_network`.

    At a share s of the path the gradient of the kernel between s·x and a line z is
    −2 γ w (s·x − z) k(s), so that all genes need two integrals a pair only: those of k(s) and of s·k(s).
    """
    weight, gamma = learnt.kernel.weight, WIDTH / learnt.kernel.unit
    known = learnt.expression
    length = (expression**2 @ weight)[:, None]
    product = (expression * weight) @ known.T
    other = (known**2 @ weight)[None, :]
    once, with_share = np.zeros_like(product), np.zeros_like(product)
    for node, size in zip(*np.polynomial.legendre.leggauss(NODES), strict=True):
        share = (node + 1) / 2
        near = np.exp(-gamma * np.maximum(share**2 * length - 2 * share * product + other, 0.0))
        once += size / 2 * near
        with_share += size / 2 * share * near
    to_drug = (KERNEL_SHARE * learnt.coefficients @ learnt.axes.T).astype(np.float32)  # lines × drugs
    values = np.empty((*chosen.shape, expression.shape[1]), dtype=np.float32)
    transposed = known.T.astype(np.float32)
    for row, (x, drugs) in enumerate(zip(expression, chosen, strict=True)):
        towards = transposed @ (once[row][:, None].astype(np.float32) * to_drug[:, drugs])
        pulled = with_share[row] @ to_drug[:, drugs]
        values[row] = (-2 * gamma * (weight * x)[:, None] * (x[:, None] * pulled - towards)).T
    return values


def _blocks(n_rows: int, n_drugs: int):
    """Slices of rows, with a progress bar where they are many."""
    from tqdm.auto import tqdm

    step = max(1, COLUMNS // max(n_drugs, 1))
    quiet = os.environ.get("PM_LAB_PROGRESS") == "0" or n_rows <= step
    starts = tqdm(range(0, n_rows, step), desc="attributions", leave=False, disable=quiet)
    return (slice(start, start + step) for start in starts)
