"""Who is learnt from and who is judged: splits of a screen by pair, line, tissue or drug, kept as files."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab import checks, keys
from pm_lab.drug_response.contract import check_screen, first, screen_of
from pm_lab.drug_response.screen import drug_table, take_drugs
from pm_lab.errors import DataError

if TYPE_CHECKING:
    from anndata import AnnData

SPLITS = {
    "LPO": "leave pairs out: both line and drug are known",
    "LCO": "leave cell lines out",
    "LTO": "leave tissues out",
    "LDO": "leave drugs out, by compound",
}
PARTS = ("train", "validation", "test")
FORMAT, VERSION = "pm_lab folds", 1
LETTERS = {".": "", "t": "train", "v": "validation", "s": "test"}


@dataclass(frozen=True, eq=False)
class Fold:
    """One fold of a split. Every measured pair of line and drug is in one of its three parts.

    Attributes
    ----------
    split : "LPO", "LCO", "LTO" or "LDO".
    number : 0 and on.
    train, validation, test : booleans, lines × drugs in the order of the screen. Validation is for early
        stopping and tuning; whoever needs neither learns from ``train | validation``.
    """

    split: str
    number: int
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    def take(self, screen, part: str = "train") -> AnnData:
        """The screen with nothing but one part of this fold: a model given it can see no more.

        Parameters
        ----------
        part : "train", "validation", "test", or "train+validation".

        Returns
        -------
        AnnData of the lines and drugs that have a value in the part, other responses NaN. Of the lines
        without expression, a part with training keeps what the split allows: in LTO none of a tissue that is
        validated or tested, nor of an unknown one, in LDO none of their drugs; a part without training, none.

        Examples
        --------
        >>> import pm_lab as pm
        >>> screen = pm.datasets.simulate_cohort(n_cells=600).screen
        >>> fold = pm.drug_response.folds(screen, "LCO")[0]
        >>> fold.take(screen).n_obs, fold.take(screen, "test").n_obs
        (216, 60)
        """
        screen = screen_of(screen)
        names = part.split("+")
        if not set(names) <= set(PARTS):
            raise DataError(f"part={part!r}: 'train', 'validation', 'test' or 'train+validation'.")
        mask = np.logical_or.reduce([getattr(self, name) for name in names])
        response = screen.obsm[keys.RESPONSE]
        if response.shape != mask.shape:
            raise DataError(
                f"the fold is of {mask.shape[0]:,} lines × {mask.shape[1]:,} drugs, the screen has "
                f"{response.shape[0]:,} × {response.shape[1]:,}: it was made for another screen."
            )
        lines, drugs = mask.any(axis=1), mask.any(axis=0)
        found = screen[lines].copy()
        found.obsm[keys.RESPONSE] = response.where(mask)[lines]
        found = take_drugs(found, response.columns[drugs])
        self._limit_response_only(found, screen, "train" in names)
        return found

    def _limit_response_only(self, found: AnnData, screen: AnnData, training: bool) -> None:
        """Lines without expression are training data too: nothing held out may come in through them."""
        if keys.RESPONSE_ONLY not in found.uns:
            return
        rest = found.uns[keys.RESPONSE_ONLY]
        allowed = np.full(len(rest["response"]), training)
        if self.split == "LTO":
            tissue = rest["obs"][keys.TISSUE].astype(str)
            allowed &= tissue.isin(set(found.obs[keys.TISSUE].astype(str)) - {keys.UNKNOWN}).to_numpy()
        if not allowed.any():
            del found.uns[keys.RESPONSE_ONLY]
            return
        found.uns[keys.RESPONSE_ONLY] = {name: table[allowed] for name, table in rest.items()}


def folds(
    screen, split: str = "LCO", n_splits: int = 5, seed: int = 0, validation: float = 0.1
) -> list[Fold]:
    """Cut a screen into folds, each with training, validation and test.

    Parameters
    ----------
    split : "LPO" leaves pairs of line and drug out, "LCO" cell lines, "LTO" tissues, "LDO" drugs. Drugs of
        one compound (equal CID, or equal SMILES) stay together, in LPO the pairs of one line with them.
    n_splits : folds. LCO folds are those of ``KFold(n_splits, shuffle=True, random_state=seed)`` over the
        lines in their order, the others the same over tissues, compounds or pairs.
    validation : the share of the groups outside the test part that validation takes, at random.

    Returns
    -------
    list of Fold; every measured pair is in the test part of one of them.

    Raises
    ------
    DataError
        An unknown split, more folds than groups, or a screen that :func:`check_screen` refuses.

    Source
    ------
    The names of the splits are DrEval's, https://github.com/daisybio/drevalpy.

    Examples
    --------
    >>> import pm_lab as pm
    >>> screen = pm.datasets.simulate_cohort(n_cells=600).screen
    >>> pm.drug_response.fold_overview(pm.drug_response.folds(screen, "LTO"))["n_lines"].head(3).tolist()
    [188, 38, 74]
    """
    from sklearn.model_selection import KFold

    screen = screen_of(screen)
    known = check_screen(screen).notna().to_numpy()
    groups = _groups(screen, split, known)
    n_groups = int(groups.max()) + 1
    _check_numbers(split, n_groups, n_splits, validation)
    found = []
    cut = KFold(n_splits, shuffle=True, random_state=seed).split(np.arange(n_groups))
    for number, (rest, test) in enumerate(cut):
        order = np.random.default_rng([seed, number]).permutation(rest)
        held = order[: min(max(1, round(validation * len(rest))), len(rest) - 1)]
        part_of_group = np.full(n_groups + 1, 0)  # the last one is that of pairs without a value
        part_of_group[held], part_of_group[test], part_of_group[-1] = 1, 2, -1
        part = part_of_group[np.where(known, groups, -1)]
        found.append(Fold(split, number, *(part == code for code in range(3))))
    return found


def _groups(screen: AnnData, split: str, known: np.ndarray) -> np.ndarray:
    """The number of the group of each pair, lines × drugs, in order of appearance; -1 where not measured."""
    n_lines, n_drugs = known.shape
    if split == "LCO":
        of_line, of_drug = np.arange(n_lines), np.zeros(n_drugs, int)
    elif split == "LTO":
        of_line, of_drug = pd.factorize(_tissue(screen))[0], np.zeros(n_drugs, int)
    elif split == "LDO":
        of_line, of_drug = np.zeros(n_lines, int), compounds(screen)
    elif split == "LPO":
        of_line, of_drug = np.arange(n_lines) * n_drugs, compounds(screen)
        pairs = (of_line[:, None] + of_drug)[known]
        groups = np.full(known.shape, -1)
        groups[known] = pd.factorize(pairs)[0]
        return groups
    else:
        raise DataError(
            f"split={split!r}: " + ", ".join(f"{name!r} ({what})" for name, what in SPLITS.items()) + "."
        )
    return of_line[:, None] + of_drug


def _tissue(screen: AnnData) -> np.ndarray:
    tissue = checks.obs_column(screen, keys.TISSUE).astype(str).to_numpy()
    n_unknown = int((tissue == keys.UNKNOWN).sum())
    if n_unknown:
        raise DataError(
            f"{n_unknown:,} of {len(tissue):,} lines have the tissue {keys.UNKNOWN!r}: they may be of a "
            "tissue that is left out. Name their tissues, or leave them out: "
            f"screen = screen[screen.obs['{keys.TISSUE}'] != '{keys.UNKNOWN}'].copy()."
        )
    return tissue


def compounds(screen) -> np.ndarray:
    """The number of the compound of each drug: drugs of equal CID or equal SMILES are one compound.

    Examples
    --------
    >>> import pm_lab as pm
    >>> screen = pm.datasets.simulate_cohort(n_cells=600).screen
    >>> pm.drug_response.compounds(screen)[:4].tolist()
    [0, 1, 2, 3]
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    table = drug_table(screen)
    n = len(table)
    rows, columns = [], []
    for column in ("cid", "smiles"):
        values = table[column].to_numpy()
        first_row = pd.Series(np.arange(n)).groupby(values).transform("first").to_numpy()
        named = values != ""
        rows.append(np.flatnonzero(named))
        columns.append(first_row[named])
    rows, columns = np.concatenate(rows), np.concatenate(columns)
    labels = connected_components(
        coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(n, n)), directed=False
    )[1]
    return pd.factorize(labels)[0]


def _check_numbers(split: str, n_groups: int, n_splits: int, validation: float) -> None:
    what = {"LPO": "pairs", "LCO": "lines", "LTO": "tissues", "LDO": "compounds"}[split]
    largest_test = -(-n_groups // max(n_splits, 1))
    if n_splits < 2 or n_splits > n_groups or n_groups - largest_test < 2:
        raise DataError(
            f"n_splits={n_splits} with {n_groups:,} {what}: at least two folds, and in each at least two "
            f"{what} to learn from, one of them for validation."
        )
    if not 0 < validation < 1:
        raise DataError(
            f"validation={validation!r}: the share of the groups to validate with, between 0 and 1."
        )


def fold_overview(found: Sequence[Fold]) -> pd.DataFrame:
    """How large the parts of each fold are.

    Returns
    -------
    DataFrame, one row a fold and part: ``split``, ``fold``, ``part``, ``n_lines``, ``n_drugs``, ``n_values``,
    and ``n_new_drug``: values of drugs that training has none of (all of them in LDO).

    Examples
    --------
    >>> import pm_lab as pm
    >>> screen = pm.datasets.simulate_cohort(n_cells=600).screen
    >>> table = pm.drug_response.fold_overview(pm.drug_response.folds(screen, "LDO"))
    >>> bool((table.query("part == 'test'")["n_new_drug"] == table.query("part == 'test'")["n_values"]).all())
    True
    """
    rows = []
    for fold in found:
        trained = fold.train.any(axis=0)
        for part in PARTS:
            mask = getattr(fold, part)
            lines, drugs = int(mask.any(axis=1).sum()), int(mask.any(axis=0).sum())
            sizes = {"n_lines": lines, "n_drugs": drugs, "n_values": int(mask.sum())}
            new = int(mask[:, ~trained].sum())
            rows.append({"split": fold.split, "fold": fold.number, "part": part, **sizes, "n_new_drug": new})
    return pd.DataFrame(rows)


def save_folds(found: Sequence[Fold], screen, path: str | Path) -> Path:
    """Write folds to a JSON file that others can read, and that fits this screen only.

    The file names the lines, tissues or drugs of each test and validation part; for LPO it has one text a
    line with a letter a drug (``t`` train, ``v`` validation, ``s`` test, ``.`` not measured).

    Returns
    -------
    Path of the file.

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
    split = found[0].split
    content = {
        "format": FORMAT,
        "version": VERSION,
        "split": split,
        "screen": _fingerprint(screen),
        "lines": list(screen.obs_names),
        "drugs": list(screen.obsm[keys.RESPONSE].columns),
        "folds": [{"fold": fold.number, **_described(fold, screen)} for fold in found],
    }
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        unfinished.write_text(json.dumps(content, indent=1), encoding="utf-8")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def load_folds(path: str | Path, screen) -> list[Fold]:
    """Read folds that :func:`save_folds` wrote, and make sure that they are of this screen and leak nothing.

    Raises
    ------
    DataError
        The file is not one of folds, or of a newer version; the screen has other lines, drugs, tissues,
        compounds or measured pairs, or another order of them; a group is in two parts of a fold.

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
    groups = np.where(known, _groups(screen, content["split"], known), -1)
    try:
        found = [_fold(content["split"], entry, screen, known) for entry in content["folds"]]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(f"{path} is damaged: {type(error).__name__}: {error}.") from error
    for fold in found:
        _refuse_leak(path, fold, groups)
    return found


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
    return list(screen.obs_names[lines]) if split == "LCO" else sorted(set(_tissue(screen)[lines]))


def _fold(split: str, entry: dict, screen: AnnData, known: np.ndarray) -> Fold:
    if split == "LPO":
        letters = np.array([list(row) for row in entry["pairs"]])
        if letters.shape != known.shape or not np.isin(letters, list(LETTERS)).all():
            raise ValueError("the letters of the pairs do not fit the screen")
        if ((letters == ".") == known).any():
            raise ValueError("pairs are in a part that were not measured, or in none")
        return Fold(split, int(entry["fold"]), *(letters == letter for letter in "tvs"))
    parts = []
    for part in PARTS[1:]:
        names = np.array(entry[part], dtype=object)
        if split == "LDO":
            member = screen.obsm[keys.RESPONSE].columns.isin(names)[None, :]
        else:
            member = np.isin(screen.obs_names if split == "LCO" else _tissue(screen), names)[:, None]
        parts.append(known & member)
    validation, test = parts
    return Fold(split, int(entry["fold"]), known & ~validation & ~test, validation, test)


def _refuse_leak(path: str | Path, fold: Fold, groups: np.ndarray) -> None:
    in_parts = [set(groups[getattr(fold, part)]) for part in PARTS]
    shared = (in_parts[0] & in_parts[1]) | (in_parts[0] & in_parts[2]) | (in_parts[1] & in_parts[2])
    if shared or not all(in_parts):
        what = f"has {len(shared):,} groups in two parts" if shared else "has an empty part"
        raise DataError(f"{path}: fold {fold.number} {what}. It was changed by hand; make the folds again.")


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
    absent = {"split", "screen", "lines", "drugs", "folds"} - set(content)
    if absent:
        raise DataError(f"{path} is damaged: it has no {first(sorted(absent))}.")
    if content["split"] not in SPLITS:
        raise DataError(f"{path} is of an unknown split, {content['split']!r}.")
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
