"""Folds as files that others can read, and that cannot be changed unnoticed."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pm_lab import keys
from pm_lab.drug_response.contract import check_screen, first, screen_of
from pm_lab.drug_response.splits import PARTS, SPLITS, Fold, check_folds, compounds, tissue_of
from pm_lab.errors import DataError

if TYPE_CHECKING:
    from anndata import AnnData

FORMAT, VERSION = "pm_lab folds", 2
LETTERS = {".": "", "t": "train", "v": "validation", "s": "test"}


def save_folds(found: Iterable[Fold], screen, path: str | Path) -> Path:
    """Write folds to a JSON file that others can read, and that fits this screen only.

    The file names the lines, tissues or drugs of each test and validation part; for LPO it has one text a
    line with a letter a drug (``t`` train, ``v`` validation, ``s`` test, ``.`` not measured). ``complete``
    says whether every measured pair is tested, and ``sha256`` is that of all the rest as JSON with sorted
    keys.

    Parameters
    ----------
    found : of :func:`folds`; some of them may be left out.
    path : of the file, in a folder that exists.

    Returns
    -------
    Path of the file.

    Raises
    ------
    DataError
        Folds that leak or are of another screen, that test a pair twice or leave measured pairs out of all
        parts; or the file cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile, pm_lab as pm
    >>> screen = pm.datasets.simulate_cohort(n_cells=600).screen
    >>> found = pm.drug_response.folds(screen, "LCO")
    >>> path = pm.drug_response.save_folds(found, screen, pathlib.Path(tempfile.mkdtemp(), "lco.json"))
    >>> len(pm.drug_response.load_folds(path, screen))
    5
    """
    screen = screen_of(screen)
    known = check_screen(screen).notna().to_numpy()
    found = check_folds(found, screen)
    content = {
        "format": FORMAT,
        "version": VERSION,
        "split": found[0].split,
        "screen": _fingerprint(screen),
        "lines": list(screen.obs_names),
        "drugs": list(screen.obsm[keys.RESPONSE].columns),
        "complete": _tests_everything(found, known),
        "folds": [{"fold": int(fold.number), **_described(fold, screen)} for fold in found],
    }
    _write(Path(path), json.dumps({**content, "sha256": _digest(content)}, indent=1))
    return Path(path)


def load_folds(path: str | Path, screen) -> list[Fold]:
    """Read folds that :func:`save_folds` wrote, and make sure that they are of this screen and leak nothing.

    Raises
    ------
    DataError
        The file is not one of folds, of another version, or was changed since; the screen has other lines,
        drugs, tissues, compounds or measured pairs, or another order of them; a group is in two parts of a
        fold, in no test part or in several, or not in the screen.

    Examples
    --------
    >>> import pathlib, tempfile, pm_lab as pm
    >>> screen = pm.datasets.simulate_cohort(n_cells=600).screen
    >>> file = pathlib.Path(tempfile.mkdtemp(), "lco.json")
    >>> path = pm.drug_response.save_folds(pm.drug_response.folds(screen), screen, file)
    >>> try:
    ...     pm.drug_response.load_folds(path, screen[:200].copy())
    ... except pm.errors.DataError as error:
    ...     print(str(error).partition(": ")[2][:52])
    its lines are others: 100 of the file's are absent (
    """
    screen = screen_of(screen)
    content = _read(Path(path))
    _refuse_other_screen(path, content, screen)
    known = check_screen(screen).notna().to_numpy()
    try:
        found = [_fold(content["split"], entry, screen, known) for entry in content["folds"]]
        complete = _tests_everything(check_folds(found, screen), known)
        if content["complete"] and not complete:
            raise ValueError("some measured pairs are tested in no fold")
    except (KeyError, TypeError, ValueError, IndexError) as error:  # DataError is a ValueError
        what = "" if isinstance(error, DataError) else f"{type(error).__name__}: "
        raise DataError(f"{path} is damaged: {what}{str(error).removesuffix('.')}.") from error
    return found


def _tests_everything(found: list[Fold], known: np.ndarray) -> bool:
    """Whether each measured pair is tested; refused where one is tested twice, or is in no part of a fold."""
    n_tested = sum(fold.test.astype(int) for fold in found)
    if n_tested.max() > 1:
        raise DataError(
            f"{int((n_tested > 1).sum()):,} pairs are tested in several folds; a file holds the folds of one "
            "split. Save those of each seed in a file of their own."
        )
    for fold in found:
        n_left_out = int((known & ~(fold.train | fold.validation | fold.test)).sum())
        if n_left_out:
            raise DataError(
                f"fold {fold.number} leaves {n_left_out:,} measured pairs out of all its parts, which the "
                "file has no words for. Save the fold as folds() made it, and take the pairs out afterwards."
            )
    return bool((n_tested == 1)[known].all())


def _write(path: Path, text: str) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error}. Name a file in a folder that exists.") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _digest(content: dict) -> str:
    rest = {name: value for name, value in content.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _described(fold: Fold, screen: AnnData) -> dict:
    """The test and validation part of a fold in words."""
    if fold.split == "LPO":
        letters = np.full(fold.test.shape, ".", dtype="<U1")
        for letter, part in list(LETTERS.items())[1:]:
            letters[getattr(fold, part)] = letter
        return {"pairs": ["".join(row) for row in letters]}
    return {part: _names(fold.split, getattr(fold, part), screen) for part in PARTS[1:]}


def _names(split: str, mask: np.ndarray, screen: AnnData) -> list[str]:
    if split == "LDO":
        return list(screen.obsm[keys.RESPONSE].columns[mask.any(axis=0)])
    lines = mask.any(axis=1)
    return list(screen.obs_names[lines]) if split == "LCO" else sorted(set(tissue_of(screen)[lines]))


def _fold(split: str, entry: dict, screen: AnnData, known: np.ndarray) -> Fold:
    if split == "LPO":
        letters = np.array([list(row) for row in entry["pairs"]])
        if letters.shape != known.shape or not np.isin(letters, list(LETTERS)).all():
            raise ValueError("the letters of the pairs do not fit the screen")
        if ((letters == ".") == known).any():
            raise ValueError("pairs are in a part that were not measured, or in none")
        return Fold(split, int(entry["fold"]), *(letters == letter for letter in "tvs"))
    validation, test = (known & _members(split, entry[part], screen) for part in PARTS[1:])
    return Fold(split, int(entry["fold"]), known & ~validation & ~test, validation, test)


def _members(split: str, names: list[str], screen: AnnData) -> np.ndarray:
    """Which pairs are of the lines, tissues or drugs named."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"a part of a fold is {str(names)[:40]!r}, no list of names")
    if split == "LDO":
        groups = screen.obsm[keys.RESPONSE].columns.to_numpy(object)
    else:
        groups = np.asarray(screen.obs_names if split == "LCO" else tissue_of(screen), dtype=object)
    ours = set(groups)
    unknown = [name for name in names if name not in ours]
    if unknown:
        raise ValueError(f"{len(unknown):,} names of a part are not of the screen ({first(unknown)})")
    member = np.isin(groups, np.array(names, dtype=object))
    return member[None, :] if split == "LDO" else member[:, None]


def _read(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path} cannot be read as folds: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DataError(f"{path} holds no folds of pm_lab.")
    if content.get("version") != VERSION:
        raise DataError(
            f"{path} has the format version {content.get('version')!r}, this pm_lab reads {VERSION}. Make "
            "the folds again with pm.drug_response.folds."
        )
    absent = {"split", "screen", "lines", "drugs", "complete", "folds", "sha256"} - set(content)
    if absent:
        raise DataError(f"{path} is damaged: it has no {first(sorted(absent))}.")
    if content["sha256"] != _digest(content):
        raise DataError(
            f"{path} was changed after it was saved (its SHA-256 is another): take it again from where it "
            "came, or make the folds again with pm.drug_response.folds."
        )
    lists = all(isinstance(content[name], list) for name in ("lines", "drugs", "folds"))
    if not lists or content["split"] not in list(SPLITS):
        raise DataError(f"{path} is damaged: it is of the split {content['split']!r}, or a list is none.")
    return content


def _refuse_other_screen(path: str | Path, content: dict, screen: AnnData) -> None:
    if content["screen"] == _fingerprint(screen):
        return
    for what, names in (("lines", screen.obs_names), ("drugs", screen.obsm[keys.RESPONSE].columns)):
        ours, theirs = list(names), content[what]
        if set(ours) != set(theirs):
            absent = [name for name in theirs if name not in set(ours)]
            n_new = len(set(ours) - set(theirs))
            raise DataError(
                f"{path} was made for another screen: its {what} are others: {len(absent):,} of the file's "
                f"are absent ({first(absent)}), {n_new:,} are new."
            )
        if ours != theirs:
            raise DataError(
                f"{path} was made for another screen: its {what} are the same in another order. Sort the "
                "screen as the file does."
            )
    raise DataError(
        f"{path} was made for another screen: lines and drugs are the same, but not which pairs are "
        "measured, or the tissues, CIDs or SMILES."
    )


def _fingerprint(screen: AnnData) -> str:
    """SHA-256 of everything that a split depends on: names, tissues, compounds, which pairs are measured."""
    response = screen.obsm[keys.RESPONSE]
    has_tissue = keys.TISSUE in screen.obs
    parts = [
        list(screen.obs_names),
        list(response.columns),
        list(screen.obs[keys.TISSUE].astype(str)) if has_tissue else [],
        compounds(screen).tolist(),
    ]
    digest = hashlib.sha256(json.dumps(parts).encode())
    digest.update(np.packbits(response.notna().to_numpy()).tobytes())
    return digest.hexdigest()
