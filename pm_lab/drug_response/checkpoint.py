"""A training on file, so that one that was interrupted can be taken up again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from pm_lab.drug_response.store import DESCRIPTION, read_folder, write_folder
from pm_lab.errors import DataError

KIND, VERSION = "pm_lab drug response checkpoint", 2


def fingerprint(named: Iterable, arrays: Iterable) -> str:
    """SHA-256 of all that a training depends on: names and settings, and arrays, sparse ones too."""
    digest = hashlib.sha256(json.dumps(list(named), default=str).encode())
    for array in arrays:
        dense = array.toarray() if hasattr(array, "toarray") else array
        digest.update(np.ascontiguousarray(dense, dtype=np.float64).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Checkpoint:
    """A folder that keeps a training: good for the same data and settings only."""

    folder: Path
    fingerprint: str

    def write(self, state) -> None:
        numbers = {name: tensor.numpy() for name, tensor in state.tensors.items()}
        description = {
            "fingerprint": self.fingerprint,
            **{f.name: getattr(state, f.name) for f in fields(state) if f.name != "tensors"},
        }
        write_folder(self.folder, KIND, VERSION, numbers, description)

    def read(self):
        """The state of training, or None where none was kept."""
        import torch

        from pm_lab.drug_response.network import Training

        if not (self.folder / DESCRIPTION).exists():
            return None
        numbers, content = read_folder(self.folder, KIND, VERSION)
        if content["fingerprint"] != self.fingerprint:
            raise DataError(
                f"{self.folder} holds a checkpoint of other data or other settings. Delete the folder to "
                "start anew, or pass another one."
            )
        state = {f.name: content[f.name] for f in fields(Training) if f.name != "tensors"}
        return Training(**state, tensors={name: torch.as_tensor(array) for name, array in numbers.items()})
