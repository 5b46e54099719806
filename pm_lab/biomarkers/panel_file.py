"""Panels as JSON: written whole or not at all, and checked part by part when they are read."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pm_lab.errors import DataError
from pm_lab.validation import METRICS

FORMAT = 1
LARGEST = 1e12  # weights, means and SDs above this are damage


def write(content: dict, path: Path) -> None:
    """Write under another name first, then rename."""
    if not path.parent.is_dir():
        raise DataError(f"there is no folder {path.parent} to save the panel in. Make it first.")
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        unfinished.write_text(json.dumps({"format": FORMAT, **content}, indent=1, allow_nan=False))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def read(path: Path) -> dict:
    """What :func:`write` wrote, checked; DataError for anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except FileNotFoundError:
        raise DataError(f"there is no panel at {path}.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no panel: not JSON ({error}).") from None
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise DataError(f"{path} is no panel of this version (format {FORMAT}).")
    absent = [part for part in REQUIRED if part not in content]
    unknown = [part for part in content if part not in PARTS]
    if absent or unknown:
        wrong = f"it lacks {absent}" if absent else f"it has {unknown[:5]}, which mean nothing"
        raise DataError(f"{path} is no panel: {wrong}.")
    wrong = [f"{part} {PARTS[part][1]}" for part in content if not PARTS[part][0](content[part])]
    wrong = wrong or _do_not_fit(content)
    if wrong:
        raise DataError(f"{path} is damaged: {'; '.join(wrong)}. Fit and save the panel again.")
    return content


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST


def _is_sd(value: Any) -> bool:
    return _is_number(value) and value > 0


def _list_of(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(check(item) for item in value)


def _are_genes(value: Any) -> bool:
    return _list_of(_is_name)(value) and 0 < len(value) == len(set(value))


def _are_weights(value: Any) -> bool:
    return _list_of(_is_number)(value) and any(value)


def _are_identifiers(value: Any) -> bool:
    return isinstance(value, dict) and all(_list_of(_is_text)(ids) for ids in value.values())


def _are_patients(value: Any) -> bool:
    if value == {}:
        return True
    if not isinstance(value, dict) or set(value) != {"salt", "names", "profiles"}:
        return False
    return _is_text(value["salt"]) and all(_list_of(_is_text)(value[part]) for part in ("names", "profiles"))


# Part → its check, and what the part then is not.
PARTS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (_is_text, "is no text"),
    "kind": (lambda value: _is_text(value) and value in METRICS, f"is none of {', '.join(METRICS)}"),
    "outcome": (_is_name, "is no text"),
    "genes": (_are_genes, "are no names, each once"),
    "weights": (_are_weights, "are no finite numbers, or all zero"),
    "means": (_list_of(_is_number), "are no finite numbers"),
    "sds": (_list_of(_is_sd), "are no numbers above 0"),
    "intercept": (_is_number, "is no finite number"),
    "unit": (_is_text, "is no text"),
    "positive": (_is_text, "is no text"),
    "identifiers": (_are_identifiers, "are no lists of text by column"),
    "record": (lambda value: isinstance(value, dict), "is no record"),
    "patients": (_are_patients, "are no salt and hashes"),
}
REQUIRED = ("name", "kind", "outcome", "genes", "weights", "means", "sds")


def _do_not_fit(content: dict) -> list[str]:
    """What is wrong between parts that are right each for itself."""
    n = len(content["genes"])
    lists = {part: content[part] for part in ("weights", "means", "sds")}
    lists |= {f"identifiers[{column!r}]": ids for column, ids in content.get("identifiers", {}).items()}
    wrong = [f"{len(given)} {part} for {n} genes" for part, given in lists.items() if len(given) != n]
    if content["kind"] == "binary" and not content.get("positive"):
        wrong.append("positive does not say which class is predicted")
    return wrong
