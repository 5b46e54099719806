"""The network: each line and each drug is encoded once, and a matrix product combines them."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from pm_lab.errors import DataError, PmLabError

INPUT_DROPOUT = 0.5
DROPOUT = 0.5
LEARNING_RATE = 3e-3
WARM_UP = 0.2  # of the epochs
WEIGHT_DECAY = 1e-2
BATCH = 128
LOOK_EVERY = 5  # epochs between two looks at the validation part
PATIENCE = 4  # looks without a better one
UNKNOWN = 0.1  # of the drugs, which in a step are known by their structures alone
NO_MEMORY = ("allocate memory", "not enough memory", "ALLOC_FAILED")  # in what torch says of it


class DrugResponseNet(nn.Module):
    """An ensemble of networks that are trained together: every tensor has an axis of members.

    A line is encoded from its genes by one hidden layer (ReLU, dropout of genes and of hidden units), a drug
    is a learnt embedding, which starts from the axes along which drugs go together, and if structures are
    given a linear map of these on top. The response of all lines to all drugs is the product of the two.

    Parameters
    ----------
    n_inputs : numbers that describe a line.
    axes : drugs × axes, where the embeddings of the drugs start.
    members, hidden : networks of the ensemble, and hidden units of each.
    seed : of the first weights.
    structures : drugs × numbers that describe their structures, 0 where nothing is known, or None.

    Examples
    --------
    >>> import torch
    >>> from pm_lab.drug_response.network import DrugResponseNet
    >>> net = DrugResponseNet(n_inputs=5, axes=torch.eye(3), members=2, hidden=4)
    >>> net(torch.zeros(7, 5)).shape
    torch.Size([2, 7, 3])
    """

    def __init__(self, n_inputs: int, axes, members: int, hidden: int, seed: int = 0, structures=None):
        super().__init__()
        axes = torch.as_tensor(axes, dtype=torch.float32)
        random = torch.Generator().manual_seed(seed)
        first = torch.randn(members, n_inputs, hidden, generator=random)
        second = torch.randn(members, hidden, axes.shape[1], generator=random)
        self.first = nn.Parameter(first * 1.4 / math.sqrt(n_inputs))
        self.first_bias = nn.Parameter(torch.zeros(members, 1, hidden))
        self.second = nn.Parameter(second * 0.1 / math.sqrt(hidden))
        self.second_bias = nn.Parameter(torch.zeros(members, 1, axes.shape[1]))
        self.drug = nn.Parameter(axes.repeat(members, 1, 1))
        known = None if structures is None else torch.as_tensor(structures, dtype=torch.float32)
        self.register_buffer("structures", known)
        if known is not None:
            self.of_structure = nn.Parameter(torch.zeros(members, known.shape[1], axes.shape[1]))

    def encode_lines(self, lines, random: torch.Generator | None = None):
        """Members × lines × axes. ``random``: dropout is on, and takes its numbers from there."""
        if lines.dim() == 2:
            lines = lines.expand(len(self.first), -1, -1)
        lines = _dropout(lines, INPUT_DROPOUT, random)
        hidden = torch.relu(torch.baddbmm(self.first_bias, lines, self.first))
        return torch.baddbmm(self.second_bias, _dropout(hidden, DROPOUT, random), self.second)

    def encode_drugs(self, random: torch.Generator | None = None):
        """Members × drugs × axes. ``random``: a tenth of the drugs is taken for unseen in each member."""
        if self.structures is None:
            return self.drug
        own = self.drug
        if random is not None:
            unseen = torch.rand(*own.shape[:2], 1, generator=random, device=own.device) < UNKNOWN
            own = torch.where(unseen, own.mean(dim=1, keepdim=True), own)
        return own + self.structures @ self.of_structure

    def encode_unseen(self, structures):
        """Members × drugs × axes of drugs that were not in training: the mean drug, and their structures."""
        return self.drug.mean(dim=1, keepdim=True) + structures @ self.of_structure

    def forward(self, lines, random: torch.Generator | None = None):
        """Members × lines × drugs: what each line adds to the mean of each drug."""
        return torch.bmm(self.encode_lines(lines, random), self.encode_drugs(random).transpose(1, 2))


def _dropout(values, share: float, random: torch.Generator | None):
    if random is None:
        return values
    kept = torch.rand(values.shape, generator=random, device=values.device) >= share
    return values * kept / (1 - share)


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch and BLAS to one thread, and give the others back.

    Training is a long row of small steps: a second thread gains little, and where another process has the
    core it waits for it at every step (2 s became 24 s on two cores).
    """
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def advice_on_memory(advice: str) -> Iterator[None]:
    """Raise PmLabError with this advice where memory runs out: that of the device, of numpy or of torch."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError
        full = isinstance(error, (MemoryError, torch.OutOfMemoryError))
        if not full and not any(words in str(error) for words in NO_MEMORY):
            raise
        raise PmLabError(advice) from error


def choose_device(device: str) -> torch.device:
    """The device to train on: "auto" is CUDA where there is one, else the CPU.

    Raises
    ------
    DataError
        CUDA was asked for and is absent, or there is no such device.

    Examples
    --------
    >>> from pm_lab.drug_response.network import choose_device
    >>> choose_device("cpu").type
    'cpu'
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise DataError(f"device={device!r} is none: 'auto', 'cpu' or 'cuda'.") from error
    if found.type not in ("cpu", "cuda"):
        raise DataError(f"device={device!r} is not made use of: 'auto', 'cpu' or 'cuda'.")
    if found.type == "cuda" and not torch.cuda.is_available():
        raise DataError(
            f"device={device!r}, but torch {torch.__version__} finds no CUDA device here. Pass "
            "device='auto' or 'cpu', or install a build of torch with CUDA."
        )
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise DataError(f"device={device!r}, but there are {torch.cuda.device_count()} CUDA devices here.")
    return found


@dataclass
class Training:
    """Where a training stands: everything that the next epoch depends on, so that it can be taken up again.

    Attributes
    ----------
    epoch : epochs done.
    best_epoch, best_loss, looks_since : of early stopping.
    history : dicts of ``epoch``, ``training_loss``, ``validation_loss`` (mean squared error over members).
    tensors : weights, moments of the optimiser, and the best weights.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_loss: float = math.inf
    looks_since: int = 0
    history: list[dict] = field(default_factory=list)
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)


def held_out_lines(groups: np.ndarray, members: int, seed: int) -> np.ndarray:
    """The member that is validated on each line: every line once, about an equal share a member.

    Parameters
    ----------
    groups : numbers from 0, one a line: lines of one group are held out together.
    """
    sizes = np.bincount(groups)
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    member, share = np.empty(len(sizes), int), np.zeros(members, int)
    for group in order:  # the largest first, each to the member with the fewest lines so far
        member[group] = share.argmin()
        share[member[group]] += sizes[group]
    return member[groups]


def train(
    net: DrugResponseNet,
    inputs: np.ndarray,
    target: np.ndarray,
    member_of_line: np.ndarray,
    device: torch.device,
    max_epochs: int,
    seed: int,
    start: Training | None = None,
    keep: Callable[[Training], None] | None = None,
) -> Training:
    """Train all members together, each without the lines that it is validated on; leave the best weights.

    Parameters
    ----------
    inputs : lines × numbers. target : lines × drugs, no gaps. Both float32.
    member_of_line : as :func:`held_out_lines` gives it.
    start : a training to take up again. keep : called with the state after each look at the validation part.

    Raises
    ------
    PmLabError
        The loss is no number any more.
    """
    from tqdm.auto import tqdm

    net.to(device)
    lines, goal = torch.as_tensor(inputs, device=device), torch.as_tensor(target, device=device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    state = start or Training()
    if start:
        _restore(net, optimizer, start)
    parts = _training_lines(member_of_line, len(net.first))
    quiet = os.environ.get("PM_LAB_PROGRESS") == "0"
    bar = tqdm(total=max_epochs, initial=state.epoch, desc="network", leave=False, disable=quiet)
    with bar:
        while state.epoch < max_epochs and state.looks_since < PATIENCE:
            loss = _epoch(net, optimizer, lines, goal, parts, state.epoch, max_epochs, seed)
            state.epoch += 1
            bar.update()
            if state.epoch % LOOK_EVERY == 0 or state.epoch == max_epochs:
                _look(net, optimizer, lines, goal, member_of_line, loss, state)
                bar.set_postfix(validation=f"{state.history[-1]['validation_loss']:.4f}")
                if keep:
                    keep(state)
    with torch.no_grad():
        for name, weight in net.named_parameters():
            weight.copy_(state.tensors[f"best.{name}"])
    return state


def _training_lines(member_of_line: np.ndarray, members: int) -> list[torch.Tensor]:
    """The lines that each member learns from."""
    return [torch.as_tensor(np.flatnonzero(member_of_line != member)) for member in range(members)]


def _epoch(net, optimizer, lines, goal, parts, epoch: int, max_epochs: int, seed: int) -> float:
    """One pass over the lines. Its random numbers depend on seed and epoch alone, whatever came before."""
    number = seed * 100_003 + epoch
    shuffle = torch.Generator().manual_seed(number)
    random = torch.Generator(device=lines.device).manual_seed(number)
    size = min(len(part) for part in parts)
    order = torch.stack([part[torch.randperm(len(part), generator=shuffle)[:size]] for part in parts])
    n_steps = max(1, size // BATCH)
    total = 0.0
    for step, batch in enumerate(order.to(lines.device).tensor_split(n_steps, dim=1)):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * _schedule((epoch + step / n_steps) / max_epochs)
        optimizer.zero_grad()
        with torch.autocast(lines.device.type, torch.bfloat16, enabled=halves(lines.device)):
            predicted = net(lines[batch], random)
        # Summed over members: the step of one does not depend on how many there are.
        loss = ((predicted.float() - goal[batch]) ** 2).mean(dim=(1, 2)).sum()
        loss.backward()
        optimizer.step()
        total += loss.item() / len(parts)
    if not math.isfinite(total):
        raise PmLabError(f"the loss of the network is {total} after epoch {epoch + 1}: training diverged.")
    return total / n_steps


def halves(device: torch.device) -> bool:
    """Whether to train in mixed precision: with bfloat16, whose range needs no scaling of the loss.

    GPUs that would only emulate it train in float32.
    """
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def _schedule(done: float) -> float:
    """The share of the learning rate: up in a line, down in a cosine."""
    if done < WARM_UP:
        return max(done / WARM_UP, 0.01)
    return max((1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP))) / 2, 0.001)


def _look(net, optimizer, lines, goal, member_of_line, training_loss: float, state: Training) -> None:
    """Judge every member on the lines that it did not see, and note where training stands."""
    with torch.no_grad():
        own = net(lines)[torch.as_tensor(member_of_line), torch.arange(len(lines))]
        loss = float(((own - goal) ** 2).mean())
    if not math.isfinite(loss):
        raise PmLabError(f"the validation loss is {loss} after epoch {state.epoch}: training diverged.")
    state.history.append({"epoch": state.epoch, "training_loss": training_loss, "validation_loss": loss})
    weights = {name: weight.detach().cpu().clone() for name, weight in net.named_parameters()}
    best = {name: state.tensors.get(f"best.{name}") for name in weights}
    state.looks_since += 1
    if loss < state.best_loss:
        state.best_loss, state.best_epoch, state.looks_since, best = loss, state.epoch, 0, weights
    state.tensors = {f"net.{name}": weight for name, weight in weights.items()}
    state.tensors |= {f"best.{name}": weight for name, weight in best.items()}
    for (name, _), moments in zip(
        net.named_parameters(), optimizer.state_dict()["state"].values(), strict=True
    ):
        state.tensors |= {f"{key}.{name}": value.detach().cpu().clone() for key, value in moments.items()}


def _restore(net: DrugResponseNet, optimizer, state: Training) -> None:
    """Put weights and moments back where they were."""
    content = optimizer.state_dict()
    with torch.no_grad():
        for number, (name, weight) in enumerate(net.named_parameters()):
            weight.copy_(state.tensors[f"net.{name}"])
            content["state"][number] = {
                key: state.tensors[f"{key}.{name}"].clone() for key in ("step", "exp_avg", "exp_avg_sq")
            }
    optimizer.load_state_dict(content)
