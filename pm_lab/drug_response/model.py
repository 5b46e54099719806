"""The drug-response model: what drugs share, a kernel path and networks; from a screen to patients."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab import keys
from pm_lab.checks import bulk_of, shares
from pm_lab.drug_response.contract import MODALITIES, check_screen, first, screen_of
from pm_lab.drug_response.covariance import errors_of_filling, fill_responses
from pm_lab.drug_response.effects import additive_effects, asked, with_unseen
from pm_lab.drug_response.lines import LineInputs, LineKernel, ridge_path
from pm_lab.drug_response.patients import prepare_rows, ranked_table
from pm_lab.drug_response.store import read_folder, shaped, write_folder
from pm_lab.drug_response.uncertainty import half_widths
from pm_lab.errors import DataError

if TYPE_CHECKING:
    from anndata import AnnData

MODEL, MODEL_VERSION = "pm_lab drug response model", 1
CHECKPOINT, CHECKPOINT_VERSION = "pm_lab drug response checkpoint", 1
N_AXES = 64  # of response that the networks predict
KERNEL_SHARE = 0.7  # of the prediction; the rest is the mean of the networks
FEWEST_LINES = 4  # a member, for one to learn from the others


@dataclass(frozen=True)
class _Settings:
    seed: int
    members: int
    hidden: int
    max_epochs: int
    modalities: tuple[str, ...]


@dataclass(frozen=True)
class _Learnt:
    """What fit found. Lines × drugs in ln µM, or in the units of the screen; ``net`` on the CPU.

    ``left_out`` predicts each line of training from the others' responses and its genes, ``expected`` each
    response from the other drugs of its line; ``errors_new`` and ``errors_known`` are those of pairs that
    were left out for it.
    """

    lines: pd.Index
    drugs: pd.Index
    measure: str
    inputs: LineInputs
    kernel: LineKernel
    expression: np.ndarray
    tissue: np.ndarray
    coefficients: np.ndarray
    axes: np.ndarray
    mean: np.ndarray
    scale: float
    net: object
    left_out: np.ndarray
    expected: np.ndarray
    errors_new: np.ndarray
    errors_known: np.ndarray


class DrugResponseModel:
    """Predicts the response of new lines or patients to the drugs of a screen, from their expression.

    Three steps. (1) What drugs have in common is learnt from all responses, those of lines without expression
    too, and fills in what was not measured. (2) A kernel path: ridge regression in the space of a Gaussian
    kernel of the genes, each axis of response with a penalty of its own. (3) Networks,
    :class:`~pm_lab.drug_response.network.DrugResponseNet`, trained together, each validated on the lines
    that it does not see. The prediction is the mean of the drug plus 0.7 of (2) and 0.3 of (3). A line of
    training is predicted from its other responses.

    Parameters
    ----------
    seed : of the networks and of the lines that each is validated on.
    device : "auto" trains on CUDA where there is one (in mixed precision), else on the CPU.
    members : networks.
    hidden : hidden units of each.
    max_epochs : passes over the lines, at most; training stops where the validated lines stop gaining.
    modalities : "copy_number", "mutation", "methylation": further inputs of the networks. Lines may lack
        them. On GDSC1 they add nothing to expression and tissue, so none is used by default.

    Attributes
    ----------
    history_ : DataFrame by epoch with ``training_loss`` and ``validation_loss`` (variance of all = 1).
    lines_, drugs_ : names of the lines and drugs of training.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.simulate_cohort(n_cells=600, n_lines=60, n_drugs=10)
    >>> model = pm.drug_response.DrugResponseModel(members=2, hidden=16).fit(cohort.screen)
    >>> model.predict(cohort).shape
    (1200, 11)
    """

    name = "network"

    def __init__(
        self,
        seed: int = 0,
        device: str = "auto",
        members: int = 8,
        hidden: int = 256,
        max_epochs: int = 40,
        modalities: Sequence[str] = (),
    ):
        self.seed, self.device = seed, device
        self.members, self.hidden, self.max_epochs = members, hidden, max_epochs
        self.modalities = modalities

    def fit(self, screen, validation=None, resume: str | Path | None = None) -> DrugResponseModel:
        """Learn from a screen.

        Parameters
        ----------
        screen : an AnnData as :func:`check_screen` describes it, or a simulated Cohort.
        validation : pairs that a split sets apart. The model learns from them too: early stopping and
            penalties are judged on lines that it sets apart itself, each line once.
        resume : a folder for checkpoints. If a training of the same data and settings was interrupted there,
            it is taken up, and ends with the numbers of one that was not interrupted.

        Raises
        ------
        DataError
            The screen or an argument cannot be used, or the checkpoint is of other data or settings.
        PmLabError
            Training diverged, or the memory of the device does not suffice.
        """
        from pm_lab.drug_response.network import choose_device, one_thread

        screen = screen_of(screen)
        settings, device = self._settings(), choose_device(self.device)
        response = check_screen(screen, min_lines=1)
        _check_size(screen, settings)
        with one_thread():
            self._learn(screen, response, settings, device, _Checkpoint.of(resume, screen, settings))
        return self

    def _learn(
        self, screen: AnnData, response: pd.DataFrame, settings: _Settings, device, checkpoint
    ) -> None:
        effects = additive_effects(response)
        base = effects.overall + effects.drug.reindex(response.columns).to_numpy()
        scale = float(np.nanstd(response.to_numpy() - base)) or 1.0
        residual = (_all_responses(screen, response) - base) / scale
        filled = fill_responses(residual, len(response))
        center = filled.filled.mean(axis=0)
        target = filled.filled - center
        inputs = LineInputs.learn(screen, settings.modalities)
        expression, tissue = inputs.expression(screen), inputs.tissue(screen)
        kernel = LineKernel.learn(expression, target)
        axes = np.linalg.eigh(filled.covariance)[1][:, ::-1]
        near = kernel.between(expression, expression, tissue, tissue)
        coefficients, from_kernel = ridge_path(near, target, axes)
        net, history, from_net = _train(settings, device, inputs.network(screen), target, axes, checkpoint)
        left_out = base + scale * (center + KERNEL_SHARE * from_kernel + (1 - KERNEL_SHARE) * from_net)
        self.history_ = pd.DataFrame(history).set_index("epoch")
        self._learnt = _Learnt(
            screen.obs_names.astype(object),
            response.columns,
            screen.uns.get(keys.RESPONSE_MEASURE, "ln_ic50"),
            inputs,
            kernel,
            *(expression, tissue, coefficients, axes, base + scale * center, scale, net),
            left_out,
            base + scale * filled.expected,
            response.to_numpy() - left_out,
            scale * errors_of_filling(residual, filled.expected, settings.seed),
        )

    @property
    def lines_(self) -> pd.Index:
        return self._fitted().lines

    @property
    def drugs_(self) -> pd.Index:
        return self._fitted().drugs

    def predict_matrix(self, adata, drugs: pd.DataFrame | None = None) -> pd.DataFrame:
        """Predicted responses, rows × drugs, in the units of the screen (ln IC50 in µM).

        Parameters
        ----------
        adata : rows × genes with ``X`` = log2(TPM + 1); ``obs["tissue"]`` and modalities are used if there.
        drugs : a table by drug, as :func:`drug_table` returns it; by default the drugs of training. A drug
            that was not in training is predicted as the mean of those that were.
        """
        learnt, adata = self._fitted(), screen_of(adata)
        table = pd.DataFrame(_predict(learnt, adata), adata.obs_names, learnt.drugs)
        return with_unseen(table, asked(drugs, learnt.drugs))

    def predict(
        self, adata, drugs: Iterable[str] | None = None, coverage: float = 0.9, align: str = "auto"
    ) -> pd.DataFrame:
        """Predicted responses of patients or lines, with intervals: a ranking for research, no advice.

        Parameters
        ----------
        adata : rows × genes with ``X`` = log2(TPM + 1), or a Cohort, whose patients are taken.
            ``obs["tissue"]``, in the words of training, says which lines patients are compared with.
        drugs : names of drugs; by default all of training.
        coverage : of the intervals, as measured on lines left out (:func:`half_widths`); that of patients is
            not known.
        align : how expression is brought to the scale of the lines, :func:`prepare_rows`: by default patients
            are, "gene" by gene if they are 20 or more and by "sample" if fewer, and lines are not ("none").

        Returns
        -------
        DataFrame, one row a patient (or line) and drug, most sensitive first within a patient: ``patient``
        (or ``line``), ``drug``, ``rank``, ``ln_ic50`` (µM; ``auc`` where the screen has areas), ``lower``,
        ``upper``, and

        - ``percentile`` : the share of the lines of training, in percent, that are predicted to be more
          sensitive to this drug. IC50 of two drugs cannot be compared, percentiles can; ranks are theirs.
        - ``nearest_lines``, ``nearest_ln_ic50`` : the three most similar lines on which the drug was measured
          and their mean response, as evidence.
        - ``out_of_distribution``, ``isolation`` : distance to the nearest lines; above 1 it is larger than
          between 99 % of the lines, and the prediction is extrapolated.

        ``attrs`` say what was done: "purpose", "coverage", "genes", "alignment", "out_of_distribution".

        Raises
        ------
        DataError
            Drugs that were not in training, genes that are missing, expression on another scale.
        """
        learnt, adata = self._fitted(), bulk_of(adata)
        shares(coverage=coverage)
        chosen = places_of_drugs(learnt, drugs)
        rows = prepare_rows(learnt, adata, align)
        predicted = predict_as_new(learnt, rows.expression, rows.tissue, rows.network)
        place = learnt.lines.get_indexer(adata.obs_names)
        known = (place >= 0)[:, None]
        predicted = np.where(known, learnt.expected[place], predicted)[:, chosen]
        width = np.where(
            known,
            half_widths(learnt.errors_known, coverage)[chosen],
            half_widths(learnt.errors_new, coverage)[chosen],
        )
        table = ranked_table(learnt, adata, rows, predicted, width, chosen)
        table.attrs["coverage"] = coverage
        return table

    def save(self, folder: str | Path) -> Path:
        """Write the model to a folder: numbers as safetensors, the rest as JSON.

        The expression of the lines of training and errors on their responses are in it: predictions and
        intervals need them.
        """
        learnt = self._fitted()
        numbers = {name: getattr(learnt, name) for name in _ARRAYS}
        numbers |= {f"inputs.{name}": array for name, array in learnt.inputs.numbers.items()}
        numbers |= {f"net.{name}": weight.numpy() for name, weight in learnt.net.state_dict().items()}
        description = {
            "settings": asdict(self._settings()),
            "lines": list(learnt.lines),
            "drugs": list(learnt.drugs),
            "measure": learnt.measure,
            "scale": learnt.scale,
            "unit": learnt.kernel.unit,
            "genes": learnt.inputs.genes,
            "tissues": learnt.inputs.tissues,
            "features": learnt.inputs.features,
            "history": self.history_.reset_index().to_dict("records"),
        }
        numbers["weight"] = learnt.kernel.weight
        return write_folder(folder, MODEL, MODEL_VERSION, numbers, description)

    @classmethod
    def load(cls, folder: str | Path, device: str = "auto") -> DrugResponseModel:
        """Read a model that :meth:`save` wrote.

        Raises
        ------
        DataError
            The folder holds no model, one of another version, or a file that is cut off or was changed.
        """
        numbers, content = read_folder(folder, MODEL, MODEL_VERSION)
        try:
            model = cls(device=device, **content["settings"])
            model.history_ = pd.DataFrame(content["history"]).set_index("epoch")
            model._learnt = _read(numbers, content, folder)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{folder} is damaged: {type(error).__name__}: {error}.") from error
        return model

    def _settings(self) -> _Settings:
        for name, least in (("members", 2), ("hidden", 1), ("max_epochs", 1)):
            value = getattr(self, name)
            if not isinstance(value, (int, np.integer)) or value < least:
                raise DataError(f"{name}={value!r}: a whole number of at least {least}.")
        unknown = [name for name in self.modalities if name not in MODALITIES]
        if isinstance(self.modalities, str) or unknown:
            raise DataError(f"modalities={self.modalities!r}: a list of some of {', '.join(MODALITIES)}.")
        return _Settings(self.seed, self.members, self.hidden, self.max_epochs, tuple(self.modalities))

    def _fitted(self) -> _Learnt:
        if not hasattr(self, "_learnt"):
            raise DataError("this model has not learnt anything: call fit(screen) or load(folder) first.")
        return self._learnt


_BY_PAIR = ("left_out", "expected", "errors_new", "errors_known")
_ARRAYS = ("expression", "tissue", "coefficients", "axes", "mean", *_BY_PAIR)


def _check_size(screen: AnnData, settings: _Settings) -> None:
    fewest = FEWEST_LINES * settings.members
    if screen.n_obs < fewest:
        raise DataError(
            f"the screen has {screen.n_obs:,} lines; {settings.members} networks that are each validated on "
            f"some of them need {fewest:,} at least. Pass fewer networks: DrugResponseModel(members=2)."
        )


def _all_responses(screen: AnnData, response: pd.DataFrame) -> np.ndarray:
    """Responses of the lines, and below them those of lines without expression."""
    rows = [response.to_numpy()]
    if keys.RESPONSE_ONLY in screen.uns:
        rest = screen.uns[keys.RESPONSE_ONLY]["response"].reindex(columns=response.columns)
        rows.append(rest.dropna(how="all").to_numpy(float))
    return np.vstack(rows)


def _train(settings: _Settings, device, inputs: np.ndarray, target: np.ndarray, axes: np.ndarray, checkpoint):
    """The networks, how training went, and their predictions of lines that they were validated on."""
    import torch

    from pm_lab.drug_response.network import DrugResponseNet, held_out_lines, train

    net = DrugResponseNet(
        inputs.shape[1], axes[:, :N_AXES].copy(), settings.members, settings.hidden, settings.seed
    )
    member = held_out_lines(len(inputs), settings.members, settings.seed)
    state = train(
        net,
        inputs,
        target.astype(np.float32),
        member,
        device,
        settings.max_epochs,
        settings.seed,
        start=checkpoint.read() if checkpoint else None,
        keep=checkpoint.write if checkpoint else None,
    )
    net.cpu()
    with torch.no_grad():
        own = net(torch.as_tensor(inputs))[torch.as_tensor(member), torch.arange(len(inputs))]
    return net, state.history, own.double().numpy()


@dataclass(frozen=True)
class _Checkpoint:
    """A training on file: good for the same data and settings only."""

    folder: Path
    fingerprint: str

    @classmethod
    def of(cls, folder: str | Path | None, screen: AnnData, settings: _Settings) -> _Checkpoint | None:
        if folder is None:
            return None
        named = [list(screen.obs_names), list(screen.var_names), list(screen.obsm[keys.RESPONSE].columns)]
        digest = hashlib.sha256(json.dumps([named, asdict(settings)], default=str).encode())
        arrays = [screen.X, _all_responses(screen, screen.obsm[keys.RESPONSE])]
        for array in arrays + [screen.obsm[name] for name in settings.modalities]:
            dense = array.toarray() if hasattr(array, "toarray") else array
            digest.update(np.ascontiguousarray(dense, dtype=np.float64).tobytes())
        if keys.TISSUE in screen.obs:
            digest.update(json.dumps(list(screen.obs[keys.TISSUE].astype(str))).encode())
        return cls(Path(folder), digest.hexdigest())

    def write(self, state) -> None:
        numbers = {name: tensor.numpy() for name, tensor in state.tensors.items()}
        description = {
            "fingerprint": self.fingerprint,
            **{f.name: getattr(state, f.name) for f in fields(state) if f.name != "tensors"},
        }
        write_folder(self.folder, CHECKPOINT, CHECKPOINT_VERSION, numbers, description)

    def read(self):
        """The state of training, or None where none was kept."""
        import torch

        from pm_lab.drug_response.network import Training
        from pm_lab.drug_response.store import DESCRIPTION

        if not (self.folder / DESCRIPTION).exists():
            return None
        numbers, content = read_folder(self.folder, CHECKPOINT, CHECKPOINT_VERSION)
        if content["fingerprint"] != self.fingerprint:
            raise DataError(
                f"{self.folder} holds a checkpoint of other data or other settings. Delete the folder to "
                "start anew, or pass another one."
            )
        state = {f.name: content[f.name] for f in fields(Training) if f.name != "tensors"}
        return Training(**state, tensors={name: torch.as_tensor(array) for name, array in numbers.items()})


def _read(numbers: dict[str, np.ndarray], content: dict, folder: str | Path) -> _Learnt:
    """What a model had learnt, from its folder."""
    from pm_lab.drug_response.network import DrugResponseNet

    lines, drugs = (pd.Index(content[name], dtype=object) for name in ("lines", "drugs"))
    n, n_drugs, n_genes = len(lines), len(drugs), len(content["genes"])
    shapes = dict.fromkeys(_BY_PAIR, (n, n_drugs))
    shapes |= {"expression": (n, n_genes), "tissue": (n, len(content["tissues"])), "mean": (n_drugs,)}
    shapes |= {"axes": (n_drugs, n_drugs), "coefficients": (n, n_drugs), "weight": (n_genes,)}
    shaped(numbers, shapes, folder)
    prefixed = lambda start: {  # noqa: E731
        name.removeprefix(start): array for name, array in numbers.items() if name.startswith(start)
    }
    inputs = LineInputs(content["genes"], content["tissues"], content["features"], prefixed("inputs."))
    net = _net_of(DrugResponseNet, prefixed("net."))
    arrays = {name: numbers[name] for name in _ARRAYS}
    kernel = LineKernel(numbers["weight"], float(content["unit"]))
    return _Learnt(
        lines, drugs, content["measure"], inputs, kernel, scale=float(content["scale"]), net=net, **arrays
    )


def _net_of(build, weights: dict[str, np.ndarray]):
    import torch

    members, n_inputs, hidden = weights["first"].shape
    net = build(n_inputs, weights["drug"][0], members, hidden)
    net.load_state_dict({name: torch.as_tensor(array) for name, array in weights.items()})
    return net


def _predict(learnt: _Learnt, adata: AnnData) -> np.ndarray:
    """Rows × drugs of training; a line of training from its other responses."""
    inputs = learnt.inputs
    predicted = predict_as_new(learnt, inputs.expression(adata), inputs.tissue(adata), inputs.network(adata))
    place = learnt.lines.get_indexer(adata.obs_names)
    return np.where((place >= 0)[:, None], learnt.expected[place], predicted)


def predict_as_new(learnt: _Learnt, expression, tissue, for_net) -> np.ndarray:
    """Rows × drugs of training from the inputs alone, as if no row had been in training."""
    import torch

    near = learnt.kernel.between(expression, learnt.expression, tissue, learnt.tissue)
    with torch.no_grad():
        from_net = learnt.net(torch.as_tensor(for_net)).mean(dim=0).double().numpy()
    both = KERNEL_SHARE * (near @ learnt.coefficients @ learnt.axes.T) + (1 - KERNEL_SHARE) * from_net
    return learnt.mean + learnt.scale * both


def places_of_drugs(learnt: _Learnt, drugs: Iterable[str] | None) -> np.ndarray:
    if drugs is None:
        return np.arange(len(learnt.drugs))
    drugs = [drugs] if isinstance(drugs, str) else list(drugs)
    places = learnt.drugs.get_indexer(drugs)
    unknown = [name for name, place in zip(drugs, places, strict=True) if place < 0]
    if unknown:
        raise DataError(
            f"{len(unknown):,} of {len(drugs):,} drugs were not in training ({first(unknown)}): nothing is "
            f"known of them. Known are {len(learnt.drugs):,}, such as {first(learnt.drugs)}."
        )
    return places
