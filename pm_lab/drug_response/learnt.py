"""What a drug-response model has learnt: how it predicts, and how it is kept in a folder."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab.drug_response.contract import first
from pm_lab.drug_response.covariance import KnownLines, expect_known
from pm_lab.drug_response.drug_inputs import DrugStructures, bits_of
from pm_lab.drug_response.lines import LineInputs, LineKernel
from pm_lab.drug_response.store import shaped
from pm_lab.errors import DataError, PmLabWarning

if TYPE_CHECKING:
    from anndata import AnnData

KERNEL_SHARE = 0.7  # of the prediction; the rest is the mean of the networks
# Of the weight of all genes. Lines of GDSC1 that lack the genes that weigh most: normalised correlation .51
# with all, .47 with .80 of the weight, .43 with .65, .37 with .52; 90 % intervals cover .90, .89, .88, .87.
WEIGHT_FOR_ACCURACY, LEAST_WEIGHT = 0.9, 0.6
SAME_LINE = 0.1  # root mean square difference of the genes, in SD; that of two lines is about 1.4


@dataclass(frozen=True)
class Learnt:
    """What fit found. Lines × drugs in ln µM, or in the units of the screen; ``net`` on the CPU.

    ``left_out`` predicts each line of training from its genes by what had not seen the line: with up to 400
    lines the whole kernel path (:func:`~pm_lab.drug_response.kernel_path.honest_left_out`), with more its
    regression, but not means, covariance, weights of genes and penalties, which one line then moves little;
    of the networks the member that the line stopped, on targets and for epochs that all lines shared in.
    ``errors_new`` are its errors, ``others`` what lines without expression are beyond the means of the drugs.
    """

    lines: pd.Index
    drugs: pd.Index
    measure: str
    inputs: LineInputs
    structures: DrugStructures | None
    kernel: LineKernel
    expression: np.ndarray
    tissue: np.ndarray
    coefficients: np.ndarray
    axes: np.ndarray
    mean: np.ndarray
    scale: float
    net: object
    left_out: np.ndarray
    errors_new: np.ndarray
    others: np.ndarray
    seed: int

    @cached_property
    def _known(self) -> KnownLines:
        """Learnt when first asked for: who predicts new lines only needs no part of it."""
        from pm_lab.drug_response.network import one_thread

        with one_thread():
            deviation = np.vstack([self.errors_new, self.others]) / self.scale
            return expect_known(deviation, len(self.lines), self.seed)

    @property
    def expected(self) -> np.ndarray:
        """Each response as predicted from the genes and the other responses of its line."""
        return self.left_out + self.scale * self._known.expected

    @property
    def errors_known(self) -> np.ndarray:
        """Errors of ``expected``, of pairs that were left out for it."""
        return self.scale * self._known.errors


_ARRAYS = ("expression", "tissue", "coefficients", "axes", "mean", "left_out", "errors_new", "others")


def known_lines(learnt: Learnt, names: pd.Index, expression: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """The places in training of rows that are lines of training, −1 for others.

    A name is not enough, since a patient may have the name of a line: the genes must be those of the line as
    well. Rows of the same name with other expression are new, and a warning names them.

    Parameters
    ----------
    expression : rows × genes of training, in SD, not aligned. measured : which of these genes the rows have.
    """
    place = learnt.lines.get_indexer(names)
    named = np.flatnonzero(place >= 0)
    difference = (expression[named] - learnt.expression[place[named]])[:, measured]
    others = named[np.sqrt((difference**2).mean(axis=1)) > SAME_LINE]
    if len(others):
        warnings.warn(
            f"{len(others):,} of {len(names):,} rows have the name of a line of training, but other "
            f"expression ({first(names[others])}): they are taken to be new, and the lines' responses "
            "are not used.",
            PmLabWarning,
            stacklevel=4,
        )
    place[others] = -1
    return place


def check_weight(learnt: Learnt, measured: np.ndarray) -> float:
    """The share of the weights of the genes that rows have; too little is refused, little is warned of.

    Raises
    ------
    DataError
        Genes with more than 40 % of the weight are absent.
    """
    share = float(learnt.kernel.weight[measured].sum() / max(learnt.kernel.weight.sum(), 1e-12))
    order = np.argsort(-np.where(measured, -1.0, learnt.kernel.weight), kind="stable")
    absent = [learnt.inputs.genes[place] for place in order[: int((~measured).sum())]]
    said = (
        f"{len(absent):,} of the {len(measured):,} genes of training are absent ({first(absent)}), and those "
        f"that are there have {share:.0%} of the weight that the model gives to genes"
    )
    if share < LEAST_WEIGHT:
        raise DataError(
            f"{said}: at least {LEAST_WEIGHT:.0%} is needed. Are genes named as in training? Else train a "
            "model on the genes that both have: screen[:, screen.var_names.isin(cohort.var_names)].copy()."
        )
    if share < WEIGHT_FOR_ACCURACY:
        warnings.warn(
            f"{said}: predictions are less accurate than of lines that have all, and intervals too narrow.",
            PmLabWarning,
            stacklevel=4,
        )
    return share


def predict_rows(learnt: Learnt, adata: AnnData) -> np.ndarray:
    """Rows × drugs of training; a line of training from its genes and its other responses."""
    inputs = learnt.inputs
    expression = inputs.expression(adata)
    measured = np.isin(inputs.genes, adata.var_names)
    check_weight(learnt, measured)
    inputs.check_scale(expression, measured, aligned=False)
    inputs.check_modalities(adata)
    place = known_lines(learnt, adata.obs_names, expression, measured)
    predicted = predict_as_new(learnt, expression, inputs.tissue(adata), inputs.network(adata, expression))
    known = place >= 0
    if known.any():
        predicted[known] = learnt.expected[place[known]]
    return predicted


def predict_as_new(learnt: Learnt, expression, tissue, for_net) -> np.ndarray:
    """Rows × drugs of training from the inputs alone, as if no row had been in training."""
    import torch

    near = learnt.kernel.between(expression, learnt.expression, tissue, learnt.tissue)
    with torch.no_grad():
        from_net = learnt.net(torch.as_tensor(for_net)).mean(dim=0).double().numpy()
    both = KERNEL_SHARE * (near @ learnt.coefficients @ learnt.axes.T) + (1 - KERNEL_SHARE) * from_net
    return learnt.mean + learnt.scale * both


def from_structures(learnt: Learnt, adata: AnnData, table: pd.DataFrame) -> np.ndarray:
    """What the structures of drugs add to the mean of the drugs of training: rows × drugs of the table.

    0 for a drug whose structure is not known, or where training looked at none.
    """
    import torch

    bits = bits_of(table)
    known = ~np.isnan(bits).any(axis=1)
    added = np.zeros((adata.n_obs, len(table)))
    if learnt.structures is None or not known.any():
        return added
    with torch.no_grad():
        lines = learnt.net.encode_lines(torch.as_tensor(learnt.inputs.network(adata)))
        drugs = learnt.net.encode_unseen(torch.as_tensor(learnt.structures.of(bits[known])))
        mean = learnt.net.encode_drugs().mean(dim=1, keepdim=True)
        added[:, known] = torch.bmm(lines, (drugs - mean).transpose(1, 2)).mean(dim=0).double().numpy()
    return (1 - KERNEL_SHARE) * learnt.scale * added


def places_of_drugs(learnt: Learnt, drugs: Iterable[str] | None) -> np.ndarray:
    """The places of drugs in training; of all of them by default."""
    if drugs is None:
        return np.arange(len(learnt.drugs))
    if not isinstance(drugs, Iterable):
        raise DataError(f"drugs={drugs!r}: the names of drugs, as in model.drugs_.")
    drugs = [drugs] if isinstance(drugs, str) else list(drugs)
    if not drugs:
        raise DataError("drugs is empty: name one at least, or leave it out for all drugs of training.")
    twice = pd.Index(drugs)[pd.Index(drugs).duplicated()].unique()
    if len(twice):
        raise DataError(f"drugs names {len(twice):,} more than once ({first(twice)}).")
    places = learnt.drugs.get_indexer(drugs)
    unknown = [name for name, place in zip(drugs, places, strict=True) if place < 0]
    if unknown:
        raise DataError(
            f"{len(unknown):,} of {len(drugs):,} drugs were not in training ({first(unknown)}): nothing is "
            f"known of them. model.drugs_ names the {len(learnt.drugs):,} that are known, such as "
            f"{first(learnt.drugs)}."
        )
    return places


def to_folder(learnt: Learnt) -> tuple[dict[str, np.ndarray], dict]:
    """Numbers and description of what was learnt."""
    numbers = {name: getattr(learnt, name) for name in _ARRAYS}
    numbers |= {f"inputs.{name}": array for name, array in learnt.inputs.numbers.items()}
    numbers |= {f"net.{name}": weight.numpy() for name, weight in learnt.net.state_dict().items()}
    numbers["weight"] = learnt.kernel.weight
    if learnt.structures is not None:
        numbers["structures.center"] = learnt.structures.center
        numbers["structures.directions"] = learnt.structures.directions
    return numbers, {
        "lines": list(learnt.lines),
        "drugs": list(learnt.drugs),
        "measure": learnt.measure,
        "scale": learnt.scale,
        "seed": int(learnt.seed),
        "unit": learnt.kernel.unit,
        "genes": learnt.inputs.genes,
        "tissues": learnt.inputs.tissues,
        "features": learnt.inputs.features,
    }


def from_folder(numbers: dict[str, np.ndarray], content: dict, folder: str | Path) -> Learnt:
    """What a model had learnt, from its folder."""
    lines, drugs = (pd.Index(content[name], dtype=object) for name in ("lines", "drugs"))
    n, n_drugs, n_genes = len(lines), len(drugs), len(content["genes"])
    shapes = dict.fromkeys(("left_out", "errors_new"), (n, n_drugs))
    shapes |= {"others": (len(numbers.get("others", ())), n_drugs)}
    shapes |= {"expression": (n, n_genes), "tissue": (n, len(content["tissues"])), "mean": (n_drugs,)}
    shapes |= {"axes": (n_drugs, n_drugs), "coefficients": (n, n_drugs), "weight": (n_genes,)}
    shaped(numbers, shapes, folder)
    return Learnt(
        lines,
        drugs,
        content["measure"],
        LineInputs(content["genes"], content["tissues"], content["features"], _prefixed(numbers, "inputs.")),
        _structures_of(_prefixed(numbers, "structures.")),
        LineKernel(numbers["weight"], float(content["unit"])),
        scale=float(content["scale"]),
        seed=int(content["seed"]),
        net=_net_of(_prefixed(numbers, "net.")),
        **{name: numbers[name] for name in _ARRAYS},
    )


def _prefixed(numbers: Mapping[str, np.ndarray], start: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(start): array for name, array in numbers.items() if name.startswith(start)}


def _structures_of(arrays: dict[str, np.ndarray]) -> DrugStructures | None:
    return DrugStructures(arrays["center"], arrays["directions"]) if arrays else None


def _net_of(weights: dict[str, np.ndarray]):
    import torch

    from pm_lab.drug_response.network import DrugResponseNet

    members, n_inputs, hidden = weights["first"].shape
    net = DrugResponseNet(n_inputs, weights["drug"][0], members, hidden, structures=weights.get("structures"))
    net.load_state_dict({name: torch.as_tensor(array) for name, array in weights.items()})
    return net
