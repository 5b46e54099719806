"""Who is learnt from and who is judged: splits of a screen by pair, line, tissue or drug."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab import checks, keys
from pm_lab.drug_response.contract import MODALITIES, check_screen, first, screen_of
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
UNITS = {"LPO": "pairs", "LCO": "lines", "LTO": "tissues", "LDO": "compounds"}  # what is left out whole
# All of uns that a model may see; fitted curves, say, are responses once more.
KEPT_UNS = (keys.DRUGS, keys.FEATURES, keys.RESPONSE_MEASURE, keys.RESPONSE_ONLY, keys.RECORD)
NO_ID = ("", "-", "--", "?", "na", "n/a", "nan", "none", "null", "several", "unknown", "<na>")


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

        Beside ``X``, ``obs`` and ``var`` there are the modalities, the drug table and the measure; whatever
        else the screen has (``uns["curves"]``, layers, further matrices) stays behind, since responses may be
        in it. Columns of ``obs`` and of the drug table must not be made from responses.

        Examples
        --------
        >>> import pm_lab as pm
        >>> screen = pm.datasets.simulate_cohort(n_cells=600).screen
        >>> fold = pm.drug_response.folds(screen, "LCO")[0]
        >>> fold.take(screen).n_obs, fold.take(screen, "test").n_obs
        (216, 60)
        """
        import anndata

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
        some = screen[lines]
        found = anndata.AnnData(some.X.copy(), obs=some.obs.copy(), var=some.var.copy())
        for name in MODALITIES:
            if name in screen.obsm:
                found.obsm[name] = some.obsm[name].copy()
        found.uns = {name: screen.uns[name] for name in KEPT_UNS if name in screen.uns}
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
            nowhere = pd.Series(keys.UNKNOWN, rest["obs"].index)
            tissue = rest["obs"].get(keys.TISSUE, nowhere).astype(str)
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
        An unknown split, more folds than groups, numbers that are none, or a screen that
        :func:`check_screen` refuses.

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

    n_splits = checks.whole_number(n_splits, "n_splits")
    seed = checks.whole_number(seed, "seed", least=0)
    checks.shares(validation=validation)
    screen = screen_of(screen)
    known = check_screen(screen).notna().to_numpy()
    groups = _groups(screen, split, known)
    n_groups = int(groups.max()) + 1
    _check_numbers(split, n_groups, n_splits)
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
        of_line, of_drug = pd.factorize(tissue_of(screen))[0], np.zeros(n_drugs, int)
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


def tissue_of(screen: AnnData) -> np.ndarray:
    """The tissue of each line, as text; refused where one is unknown."""
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
    """The number of the compound of each drug: drugs of equal CID or equal structure are one compound.

    Words such as "none" or "-" are no CID. With RDKit, one structure written as two SMILES is found to be
    one; without it only equal texts are. Where that matters, keep the folds on file.

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
    for values in (table["cid"], _canonical(table["smiles"])):
        named = ~values.str.lower().isin(NO_ID).to_numpy()
        first_row = pd.Series(np.arange(n)).groupby(values.to_numpy()).transform("first").to_numpy()
        rows.append(np.flatnonzero(named))
        columns.append(first_row[named])
    rows, columns = np.concatenate(rows), np.concatenate(columns)
    labels = connected_components(
        coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(n, n)), directed=False
    )[1]
    return pd.factorize(labels)[0]


def _canonical(smiles: pd.Series) -> pd.Series:
    """Each SMILES as RDKit writes it; as it is where RDKit cannot read it or is not installed."""
    try:
        from rdkit import Chem, rdBase
    except ImportError:
        return smiles
    with rdBase.BlockLogs():
        molecules = [Chem.MolFromSmiles(text) if text else None for text in smiles]
    texts = [
        text if molecule is None else Chem.MolToSmiles(molecule)
        for text, molecule in zip(smiles, molecules, strict=True)
    ]
    return pd.Series(texts, smiles.index, dtype=object)


def _check_numbers(split: str, n_groups: int, n_splits: int) -> None:
    what = UNITS[split]
    largest_test = -(-n_groups // n_splits)
    if n_splits < 2 or n_splits > n_groups or n_groups - largest_test < 2:
        raise DataError(
            f"n_splits={n_splits} with {n_groups:,} {what}: at least two folds, and in each at least two "
            f"{what} to learn from, one of them for validation."
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


def check_folds(found: Iterable[Fold], screen) -> list[Fold]:
    """Return folds as a list if they are of this screen and leak nothing; made by hand, they may.

    A fold may leave measured pairs out of all its parts, as one that learns from fewer lines does.

    Raises
    ------
    DataError
        No fold, or what is none; folds of several splits or of equal numbers; a fold of another screen, with
        pairs that were not measured, with an empty part, or with a line (LCO), tissue (LTO), compound (LDO)
        or pair (LPO) in two parts.

    Examples
    --------
    >>> import pm_lab as pm
    >>> from pm_lab.drug_response.splits import check_folds
    >>> screen = pm.datasets.simulate_cohort(n_cells=600).screen
    >>> len(check_folds(pm.drug_response.folds(screen), screen))
    5
    """
    screen = screen_of(screen)
    found = list(found) if isinstance(found, Iterable) else [found]
    if not found:
        raise DataError("folds is empty: there is nothing to test on.")
    strange = sorted({type(fold).__name__ for fold in found if not isinstance(fold, Fold)})
    if strange:
        raise DataError(f"folds hold {first(strange)}: a list of Fold is needed, as folds() returns it.")
    splits, numbers = {fold.split for fold in found}, [fold.number for fold in found]
    if len(splits) > 1 or len(set(numbers)) < len(numbers):
        raise DataError(
            f"folds are of the splits {first(sorted(map(str, splits)))} and have the numbers "
            f"{first(numbers, 12)}: one split and a number of its own for each is needed."
        )
    known = screen.obsm[keys.RESPONSE].notna().to_numpy()
    groups = np.where(known, _groups(screen, found[0].split, known), -1)
    for fold in found:
        _check_shape(fold, known)
        _refuse_leak(fold, screen, groups)
    return found


def _check_shape(fold: Fold, known: np.ndarray) -> None:
    for part in PARTS:
        mask = getattr(fold, part)
        if not isinstance(mask, np.ndarray) or mask.shape != known.shape or mask.dtype != bool:
            raise DataError(
                f"{part} of fold {fold.number} is {getattr(mask, 'dtype', type(mask).__name__)} of shape "
                f"{np.shape(mask)}; booleans of the lines × drugs of the screen, {known.shape}, are needed: "
                "it was made for another screen."
            )
        n_unknown = int((mask & ~known).sum())
        if n_unknown:
            raise DataError(
                f"{part} of fold {fold.number} has {n_unknown:,} pairs that were not measured: it was made "
                "for another screen. Made by hand, take part & screen.obsm['response'].notna().to_numpy()."
            )
        if not mask.any():
            raise DataError(f"{part} of fold {fold.number} is empty. Make the folds again with folds().")


def _refuse_leak(fold: Fold, screen: AnnData, groups: np.ndarray) -> None:
    train, validation, test = (set(groups[getattr(fold, part)]) for part in PARTS)
    shared = sorted((train & validation) | (train & test) | (validation & test))
    if shared:
        names = [_name_of(fold.split, screen, np.argwhere(groups == group)[0]) for group in shared[:6]]
        raise DataError(
            f"fold {fold.number} of {fold.split} has {len(shared):,} {UNITS[fold.split]} in two parts "
            f"({first(names)}): what is learnt from would be tested. Make the folds again with folds()."
        )


def _name_of(split: str, screen: AnnData, pair: np.ndarray) -> str:
    line, drug = screen.obs_names[pair[0]], screen.obsm[keys.RESPONSE].columns[pair[1]]
    if split == "LTO":
        return str(screen.obs[keys.TISSUE].iloc[pair[0]])
    return {"LCO": line, "LDO": drug, "LPO": f"{line} and {drug}"}[split]
