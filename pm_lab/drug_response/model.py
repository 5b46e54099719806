"""The drug-response model: what drugs share, a kernel path and networks; from a screen to patients."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab import keys
from pm_lab.checks import bulk_of, shares, whole_number
from pm_lab.drug_response.baselines import set_apart
from pm_lab.drug_response.checkpoint import Checkpoint, fingerprint
from pm_lab.drug_response.contract import MODALITIES, check_screen, screen_of, warn_of_few_lines
from pm_lab.drug_response.drug_inputs import DrugStructures, bits_of
from pm_lab.drug_response.effects import asked, with_unseen
from pm_lab.drug_response.kernel_path import KernelPath, honest_left_out
from pm_lab.drug_response.learnt import (
    KERNEL_SHARE,
    Learnt,
    from_folder,
    from_structures,
    places_of_drugs,
    predict_as_new,
    predict_rows,
    to_folder,
)
from pm_lab.drug_response.lines import tissue_of
from pm_lab.drug_response.patients import prepare_rows
from pm_lab.drug_response.ranking import ranked_table
from pm_lab.drug_response.screen import drug_table
from pm_lab.drug_response.store import read_folder, write_folder
from pm_lab.drug_response.uncertainty import half_widths
from pm_lab.errors import DataError

if TYPE_CHECKING:
    from anndata import AnnData

MODEL, MODEL_VERSION = "pm_lab drug response model", 2
N_AXES = 64  # of response that the networks predict
FEWEST_LINES = 4  # a member, for one to learn from the others


@dataclass(frozen=True)
class _Settings:
    seed: int
    members: int
    hidden: int
    max_epochs: int
    modalities: tuple[str, ...]
    fingerprints: bool


class DrugResponseModel:
    """Predicts the response of new lines or patients to the drugs of a screen, from their expression.

    Three steps. (1) What drugs have in common is learnt from all responses, those of lines without expression
    too, and fills in what was not measured. (2) A kernel path: ridge regression in the space of a Gaussian
    kernel of the genes, each axis of response with a penalty of its own. (3) Networks,
    :class:`~pm_lab.drug_response.network.DrugResponseNet`, trained together, each validated on the lines
    that it does not see. The prediction is the mean of the drug plus 0.7 of (2) and 0.3 of (3). That is where
    a line of training starts from too, predicted by what had not seen it; its responses to other drugs move
    it from there, as far as responses were seen to go together beyond what genes predict
    (:func:`~pm_lab.drug_response.covariance.expect_known`).

    Parameters
    ----------
    seed : of the networks and of the lines that each is validated on.
    device : "auto" trains on CUDA where there is one (in mixed precision), else on the CPU.
    members : networks.
    hidden : hidden units of each.
    max_epochs : passes over the lines, at most; training stops where the validated lines stop gaining.
    modalities : "copy_number", "mutation", "methylation": further inputs of the networks. Lines may lack
        them. On GDSC1 they add nothing to expression and tissue, so none is used by default.
    fingerprints : whether the networks are given the structures of the drugs, where SMILES are known (RDKit),
        beside an embedding that they learn for each. A drug that was not in training is then predicted as
        the mean of those that were and what its structure adds. On GDSC1 that is little: in two folds of
        drugs left out the correlation per drug was .515 and .507, and .511 and .504 by the mean alone; lines
        left out are predicted as well with structures as without.

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
    (1200, 12)
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
        fingerprints: bool = True,
    ):
        self.seed, self.device = seed, device
        self.members, self.hidden, self.max_epochs = members, hidden, max_epochs
        self.modalities, self.fingerprints = modalities, fingerprints

    def fit(self, screen, validation=None, resume: str | Path | None = None) -> DrugResponseModel:
        """Learn from a screen.

        Parameters
        ----------
        screen : an AnnData as :func:`check_screen` describes it, or a simulated Cohort.
        validation : booleans of the shape of ``obsm["response"]``, the pairs that a split sets apart. They
            say what is left out together: whole tissues where they are all lines of some tissues, else
            lines. Penalties and early stopping are judged on all lines, those of ``validation`` among them,
            each by what learnt without the lines that are left out with it: the networks share the lines out,
            so that each is stopped by some of them and learns from the others. A drug may have one value on
            all lines of a part of a split, and is then predicted to have it; without ``validation`` it is
            refused.
        resume : a folder for checkpoints. If a training of the same data and settings was interrupted there,
            it is taken up, and ends with the numbers of one that was not interrupted.

        Raises
        ------
        DataError
            The screen or an argument cannot be used, or the checkpoint is of other data or settings.
        PmLabError
            Training diverged, or memory does not suffice.
        """
        from pm_lab.drug_response.network import advice_on_memory, choose_device, one_thread

        screen = screen_of(screen)
        settings, device = self._settings(), choose_device(self.device)
        response = check_screen(screen, min_lines=1, allow_constant=validation is not None)
        _check_size(screen, settings)
        if validation is None:  # the training part of a split may leave a drug few
            warn_of_few_lines(response)
        groups = _left_out_together(validation, response, tissue_of(screen))
        elsewhere = ", or train on the CPU, device='cpu'" if device.type == "cuda" else ""
        advice = (
            f"{device} has too little memory for {settings.members:,} networks of {settings.hidden:,} hidden "
            f"units. Pass fewer of either, DrugResponseModel(members={max(2, settings.members // 2)}, "
            f"hidden={max(1, settings.hidden // 2)}){elsewhere}, or a screen with fewer genes."
        )
        with one_thread(), advice_on_memory(advice):
            self._learn(screen, response, groups, settings, device, resume)
        return self

    def _learn(
        self,
        screen: AnnData,
        response: pd.DataFrame,
        groups: np.ndarray,
        settings: _Settings,
        device,
        resume: str | Path | None,
    ) -> None:
        rest = _responses_alone(screen, response)
        path = KernelPath.learn(screen, response, rest, groups, settings.modalities)
        bits = bits_of(drug_table(screen)) if settings.fingerprints else None
        structures = None if bits is None else DrugStructures.learn(bits)
        net, history, from_net = _train(
            *(settings, device, path.inputs.network(screen, path.expression), path.target, path.axes, groups),
            None if structures is None else structures.of(bits),
            _checkpoint(resume, screen, groups, settings),
        )
        from_kernel = honest_left_out(path, screen, response, rest, groups, settings.seed)
        from_genes = path.center + KERNEL_SHARE * from_kernel + (1 - KERNEL_SHARE) * from_net
        left_out = path.base + path.scale * from_genes
        self.history_ = pd.DataFrame(history).set_index("epoch")
        self._learnt = Learnt(
            screen.obs_names.astype(object),
            response.columns,
            screen.uns.get(keys.RESPONSE_MEASURE, "ln_ic50"),
            *(path.inputs, structures, path.kernel, path.expression, path.tissue),
            *(path.coefficients, path.axes, path.base + path.scale * path.center, path.scale, net),
            *(left_out, response.to_numpy() - left_out, path.scale * path.residual[len(response) :]),
            settings.seed,
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
        adata : lines × genes with ``X`` = log2(TPM + 1), taken as it is; ``obs["tissue"]`` and modalities
            are used if there. Patients have to be brought to the scale of the lines: :meth:`predict` does.
        drugs : a table by drug, as :func:`drug_table` returns it; by default the drugs of training. A drug
            that was not in training is predicted as the mean of those that were, and what its structure
            adds (``fingerprints``).
        """
        learnt = self._fitted()
        if not hasattr(adata, "obs_names"):
            raise DataError(
                f"predict_matrix takes an AnnData of cell lines, not {type(adata).__name__}. For "
                "patients call predict(cohort), which aligns them; for lines, predict_matrix(cohort.screen)."
            )
        names = asked(drugs, learnt.drugs)
        with _advice_on_rows(adata.n_obs, len(learnt.drugs)):
            table = pd.DataFrame(predict_rows(learnt, adata), adata.obs_names, learnt.drugs)
            found, unseen = with_unseen(table, names), ~names.isin(learnt.drugs)
            if unseen.any():
                found.loc[:, unseen] += from_structures(learnt, adata, drugs[unseen])
        return found

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
        - ``top_pathways`` : the three bundled pathways whose genes move the prediction most, compared with as
          many genes drawn at random (:func:`explain`), for the five first drugs of each patient and empty for
          the others. "-": towards sensitive; "+": towards resistant. Of a line of training, what is
          explained is what its genes say, without its other responses.
        - ``nearest_lines``, ``nearest_ln_ic50`` : the three most similar lines on which the drug was measured
          and their mean response, as evidence.
        - ``out_of_distribution``, ``isolation`` : distance to the nearest lines over the genes that were
          measured; above 1 it is larger than between 99 % of the lines. After alignment by "gene" a patient
          can stand out among the patients, but not a cohort as a whole: noise in the place of a gene has the
          level and spread of the lines as well. So all patients of a cohort in which genes do not go together
          as in the lines are flagged (:func:`~pm_lab.drug_response.resemblance.gene_correlations`).

        ``attrs`` say what was done: "purpose", "coverage", "genes" (with the share of their weights that was
        found), "scale" (against the lines), "alignment", "modalities", "out_of_distribution",
        "top_pathways" (how many drugs of a patient have them, of how many pathways). A row is taken for a
        line of training if it has its name and its genes; a patient who happens to have the name of a line is
        new, and a warning says so.

        Raises
        ------
        DataError
            Drugs that were not in training, genes that are missing, expression on another scale.
        PmLabError
            Memory does not suffice for so many rows.
        """
        learnt, adata = self._fitted(), bulk_of(adata)
        shares(coverage=coverage)
        chosen = places_of_drugs(learnt, drugs)
        with _advice_on_rows(adata.n_obs, len(chosen)):
            rows = prepare_rows(learnt, adata, align)
            predicted = predict_as_new(learnt, rows.expression, rows.tissue, rows.network)
            width = np.tile(half_widths(learnt.errors_new, coverage), (len(predicted), 1))
            known = rows.known >= 0
            if known.any():
                predicted[known] = learnt.expected[rows.known[known]]
                width[known] = half_widths(learnt.errors_known, coverage)
            values = (predicted[:, chosen], width[:, chosen])
            table = ranked_table(learnt, adata.obs_names, rows, *values, chosen)
        table.attrs["coverage"] = coverage
        return table

    def save(self, folder: str | Path) -> Path:
        """Write the model to a folder: numbers as safetensors, the rest as JSON.

        The expression of the lines of training and errors on their responses are in it: predictions and
        intervals need them.
        """
        numbers, description = to_folder(self._fitted())
        description["settings"] = asdict(self._settings())
        description["history"] = self.history_.reset_index().to_dict("records")
        return write_folder(folder, MODEL, MODEL_VERSION, numbers, description)

    @classmethod
    def load(cls, folder: str | Path, device: str = "auto") -> DrugResponseModel:
        """Read a model that :meth:`save` wrote.

        Raises
        ------
        DataError
            The folder holds no model, one of another version, or a file that is cut off or was changed;
            ``device`` is none of this machine.
        """
        from pm_lab.drug_response.network import choose_device

        choose_device(device)  # said now, not at the next fit
        numbers, content = read_folder(folder, MODEL, MODEL_VERSION)
        try:
            model = cls(device=device, **content["settings"])
            model.history_ = pd.DataFrame(content["history"]).set_index("epoch")
            model._settings()
            model._learnt = from_folder(numbers, content, folder)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError) as error:
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
        if whole_number(self.seed, "seed", least=0) >= 2**31:
            raise DataError(f"seed={self.seed!r}: a whole number below 2**31.")
        return _Settings(
            *(self.seed, self.members, self.hidden, self.max_epochs, tuple(self.modalities)),
            bool(self.fingerprints),
        )

    def _fitted(self) -> Learnt:
        if not hasattr(self, "_learnt"):
            raise DataError("this model has not learnt anything: call fit(screen) or load(folder) first.")
        return self._learnt


def _advice_on_rows(n_rows: int, n_drugs: int):
    from pm_lab.drug_response.network import advice_on_memory

    return advice_on_memory(
        f"this machine has too little memory to predict {n_rows:,} rows and {n_drugs:,} drugs at once. "
        "Predict the rows in parts of some hundred, adata[:500] and so on, or fewer drugs. Patients are "
        'aligned within the part that they are in: draw the parts at random, or pass align="sample".'
    )


def _check_size(screen: AnnData, settings: _Settings) -> None:
    fewest = FEWEST_LINES * settings.members
    if screen.n_obs < fewest:
        raise DataError(
            f"the screen has {screen.n_obs:,} lines; {settings.members} networks that are each validated on "
            f"some of them need {fewest:,} at least. Pass fewer networks: DrugResponseModel(members=2)."
        )


def _responses_alone(screen: AnnData, response: pd.DataFrame) -> np.ndarray:
    """Responses of lines without expression, in the same columns."""
    if keys.RESPONSE_ONLY not in screen.uns:
        return np.empty((0, response.shape[1]))
    rest = screen.uns[keys.RESPONSE_ONLY]["response"].reindex(columns=response.columns)
    return rest.dropna(how="all").to_numpy(float)


def _left_out_together(validation, response: pd.DataFrame, tissue: np.ndarray) -> np.ndarray:
    """Numbers of groups of lines, left out in turn: lines, or tissues where validation is of whole ones."""
    each = np.arange(len(response))
    if validation is None:
        return each
    held = set_apart(response, validation, seed=0)
    known = response.notna().to_numpy()
    lines = (held & known).any(axis=1)
    parted = (known & ~held)[lines].any() or np.isin(tissue[~lines], tissue[lines]).any()
    if parted or (tissue[lines] == keys.UNKNOWN).any():
        return each
    names = np.where(tissue == keys.UNKNOWN, each.astype(str), tissue)
    return pd.factorize(names)[0]


def _checkpoint(folder, screen: AnnData, groups: np.ndarray, settings: _Settings) -> Checkpoint | None:
    if folder is None:
        return None
    table = drug_table(screen)
    named = [list(screen.obs_names), list(screen.var_names), list(table.index), asdict(settings)]
    named += [list(table["smiles"]), list(tissue_of(screen)), groups.tolist()]
    response = screen.obsm[keys.RESPONSE]
    arrays = [screen.X, response, _responses_alone(screen, response)]
    arrays += [screen.obsm[name] for name in settings.modalities]
    return Checkpoint(Path(folder), fingerprint(named, arrays))


def _train(
    settings: _Settings,
    device,
    inputs: np.ndarray,
    target: np.ndarray,
    axes: np.ndarray,
    groups: np.ndarray,
    structures: np.ndarray | None,
    checkpoint: Checkpoint | None,
):
    """The networks, how training went, and their predictions of lines that they were validated on."""
    import torch

    from pm_lab.drug_response.network import DrugResponseNet, held_out_lines, train

    net = DrugResponseNet(
        *(inputs.shape[1], axes[:, :N_AXES].copy(), settings.members, settings.hidden, settings.seed),
        structures=structures,
    )
    member = held_out_lines(groups, settings.members, settings.seed)
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
