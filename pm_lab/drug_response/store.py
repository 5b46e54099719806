"""Models and checkpoints in a folder: numbers as safetensors, the rest as JSON. Nothing is executed."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pm_lab.errors import DataError

NUMBERS, DESCRIPTION = "numbers.safetensors", "model.json"


def write_folder(
    folder: str | Path, kind: str, version: int, numbers: Mapping[str, np.ndarray], description: Mapping
) -> Path:
    """Write numbers and a description; the description last, with the hash of the numbers.

    A process that is killed in between leaves a folder that :func:`read_folder` reads as it was before, since
    the numbers are in a file of their own until the description names them.
    """
    from safetensors.numpy import save

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    packed = save({name: np.ascontiguousarray(array) for name, array in numbers.items()})
    digest = hashlib.sha256(packed).hexdigest()
    name = f"{digest[:12]}.{NUMBERS}"
    _write(folder / name, packed)
    content = {"format": kind, "version": version, "numbers": name, "sha256": digest, **description}
    content["checksum"] = checksum(content)
    _write(folder / DESCRIPTION, json.dumps(content, indent=1).encode())
    for other in folder.glob(f"*.{NUMBERS}"):
        if other.name != name:
            other.unlink(missing_ok=True)
    return folder


def checksum(content: Mapping) -> str:
    """SHA-256 of a description without its own checksum: it shows what was changed by hand or cut off."""
    rest = {name: value for name, value in content.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _write(path: Path, content: bytes) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def read_folder(folder: str | Path, kind: str, version: int) -> tuple[dict[str, np.ndarray], dict]:
    """Read what :func:`write_folder` wrote.

    Raises
    ------
    DataError
        The folder or a file is absent, damaged, cut off, of another kind or of another version.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    content = _description(Path(folder) / DESCRIPTION, kind, version)
    path = Path(folder) / Path(str(content.get("numbers"))).name
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise DataError(f"the numbers of {folder} cannot be read: {error}. Save the model again.") from error
    if hashlib.sha256(packed).hexdigest() != content.get("sha256"):
        raise DataError(
            f"{path} is not what was saved ({len(packed):,} bytes, another SHA-256): it was cut off or "
            "changed. Copy or save the model again."
        )
    try:
        return load(packed), content
    except SafetensorError as error:
        raise DataError(f"{path} is no safetensors file: {error}.") from error


def _description(path: Path, kind: str, version: int) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{path} cannot be read: {error}. Is this the folder of a saved model?") from error
    if not isinstance(content, dict) or content.get("format") != kind:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise DataError(f"{path} is no {kind}: its format is {found!r}.")
    if content.get("version") != version:
        raise DataError(
            f"{path} was written by another version (format {content.get('version')!r}, this reads "
            f"{version}): train and save again, or use the pm_lab that wrote it."
        )
    if content.get("checksum") != checksum(content):
        raise DataError(
            f"{path} is damaged: it is not what was saved (another SHA-256). Copy or save the model again."
        )
    return content


def shaped(numbers: Mapping[str, np.ndarray], shapes: Mapping[str, tuple], folder: str | Path) -> None:
    """Raise DataError unless these numbers are there, in these shapes."""
    for name, shape in shapes.items():
        found = numbers[name].shape if name in numbers else "none"
        if found != tuple(shape):
            raise DataError(f"{folder} is damaged: {name} has the shape {found} instead of {tuple(shape)}.")
