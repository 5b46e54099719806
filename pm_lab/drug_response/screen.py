"""A drug screen as an AnnData: its tables, its overview, and the parts of it that one works with."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab import checks, keys
from pm_lab.drug_response.contract import FEWEST_LINES, MODALITIES, SAME, check_screen, first, screen_of
from pm_lab.errors import DataError, PmLabWarning

if TYPE_CHECKING:
    from anndata import AnnData

CURVES = "curves"  # uns of a screen made from raw viabilities: what fit_curves found
DRUG_COLUMNS = ("cid", "smiles", "targets", "pathway")


def drug_table(screen) -> pd.DataFrame:
    """The drugs of a screen, one row a drug in the order of its responses.

    Returns
    -------
    DataFrame by drug with ``cid`` (PubChem), ``smiles``, ``targets`` and ``pathway``, empty text where they
    are not known, and whatever else ``uns["drugs"]`` says. A CID is the text of a whole number, also where
    gaps in a table made it 123.0.

    Examples
    --------
    >>> import pm_lab as pm
    >>> screen = pm.datasets.simulate_cohort(n_cells=600).screen
    >>> pm.drug_response.drug_table(screen).loc["DRUG001", "cid"]
    'SIM1'
    """
    screen = screen_of(screen)
    table = screen.uns[keys.DRUGS].loc[screen.obsm[keys.RESPONSE].columns].copy()
    for column in DRUG_COLUMNS:
        known = table[column].astype(object) if column in table else pd.Series(np.nan, table.index, object)
        table[column] = known.where(known.notna(), "").astype(str).str.strip()
    table["cid"] = whole_text(table["cid"])
    table.index.name = "drug"
    return table


def whole_text(values: pd.Series) -> pd.Series:
    """Ids as text; "123.0", which pandas makes of 123 where a column has gaps, is "123" again.

    Examples
    --------
    >>> import pandas as pd
    >>> from pm_lab.drug_response.screen import whole_text
    >>> whole_text(pd.Series([123.0, 4.0])).tolist()
    ['123', '4']
    """
    return values.astype(str).str.replace(r"^(\d+)\.0$", r"\1", regex=True)


def modality(screen, name: str) -> pd.DataFrame:
    """Copy number, mutations or methylation of a screen as a table.

    Parameters
    ----------
    name : "copy_number", "mutation" or "methylation".

    Returns
    -------
    DataFrame, lines × features; lines without a measurement are NaN throughout.

    Raises
    ------
    DataError
        The screen has no such modality.

    Examples
    --------
    >>> import anndata, numpy as np, pandas as pd, pm_lab as pm
    >>> screen = anndata.AnnData(obs=pd.DataFrame(index=["A549", "MCF-7"]))
    >>> screen.obsm["mutation"] = np.array([[1.0], [0.0]])
    >>> screen.uns["features"] = {"mutation": ["KRAS"]}
    >>> pm.drug_response.modality(screen, "mutation")["KRAS"].to_dict()
    {'A549': 1.0, 'MCF-7': 0.0}
    """
    screen = screen_of(screen)
    if name not in MODALITIES or name not in screen.obsm:
        found = [known for known in MODALITIES if known in screen.obsm]
        raise DataError(f"this screen has no modality {name!r}; it has {first(found) or 'none'}.")
    columns = pd.Index(np.asarray(screen.uns[keys.FEATURES][name], dtype=object))
    return pd.DataFrame(np.asarray(screen.obsm[name]), index=screen.obs_names, columns=columns)


def measured(screen, name: str) -> np.ndarray:
    """Which lines have a modality: booleans, one a line; all False where the screen does not have it.

    Examples
    --------
    >>> import pm_lab as pm
    >>> screen = pm.datasets.simulate_cohort(n_cells=600).screen
    >>> int(pm.drug_response.measured(screen, "mutation").sum())
    0
    """
    screen = screen_of(screen)
    if name not in screen.obsm:
        return np.zeros(screen.n_obs, bool)
    return ~np.isnan(np.asarray(screen.obsm[name])).all(axis=1)


def take_drugs(screen, drugs: Iterable[str]) -> AnnData:
    """A copy of the screen with some of its drugs, in the order given, fitted curves among what is taken.

    Raises
    ------
    DataError
        Unknown drugs.

    Examples
    --------
    >>> import pm_lab as pm
    >>> screen = pm.datasets.simulate_cohort(n_cells=600).screen
    >>> pm.drug_response.take_drugs(screen, ["DRUG002", "DRUG001"]).obsm["response"].shape
    (300, 2)
    """
    screen = screen_of(screen)
    response = screen.obsm[keys.RESPONSE]
    drugs = list(drugs)
    unknown = [name for name in drugs if name not in response.columns]
    if unknown:
        raise DataError(f"{len(unknown):,} drugs are not in the screen: {first(unknown)}.")
    part = screen.copy()
    part.obsm[keys.RESPONSE] = response[drugs]
    part.uns[keys.DRUGS] = screen.uns[keys.DRUGS].loc[drugs]
    if keys.RESPONSE_ONLY in screen.uns:
        known = screen.uns[keys.RESPONSE_ONLY]
        rest = known["response"].reindex(columns=drugs)
        part.uns[keys.RESPONSE_ONLY] = {"obs": known["obs"].copy(), "response": rest}
    if CURVES in screen.uns:
        curves = screen.uns[CURVES]
        part.uns[CURVES] = curves[plain_name(curves["drug"]).isin(drugs).to_numpy()].reset_index(drop=True)
    return part


def plain_name(drugs: pd.Series | pd.Index) -> pd.Series | pd.Index:
    """Names of drugs as a screen has them: HDF5 keeps no slash in a name.

    Examples
    --------
    >>> import pandas as pd
    >>> from pm_lab.drug_response.screen import plain_name
    >>> plain_name(pd.Series(["VNLG/124"])).tolist()
    ['VNLG-124']
    """
    return drugs.astype(str).str.replace("/", "-")


def drop_unusable_drugs(screen, min_lines: int = FEWEST_LINES) -> AnnData:
    """A copy of the screen without drugs of too few lines or of one value, which are named in a warning.

    Parameters
    ----------
    min_lines : a drug measured on fewer lines is dropped.

    Returns
    -------
    AnnData; ``uns["pm_lab"]["drop_unusable_drugs"]`` names what was dropped (``too_few_lines``,
    ``constant``).

    Examples
    --------
    >>> import numpy as np, pm_lab as pm, warnings
    >>> screen = pm.datasets.simulate_cohort(n_cells=600).screen
    >>> screen.obsm["response"].iloc[3:, 0] = np.nan
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     screen = pm.drug_response.drop_unusable_drugs(screen)
    >>> screen.uns["pm_lab"]["drop_unusable_drugs"]["too_few_lines"]
    ['DRUG001']
    """
    screen = screen_of(screen)
    response = screen.obsm[keys.RESPONSE]
    n_lines = response.notna().sum()
    few = n_lines < min_lines
    constant = ~few & (response.max() - response.min() < SAME)
    kept = take_drugs(screen, response.columns[~(few | constant)])
    dropped = {"too_few_lines": list(few.index[few]), "constant": list(few.index[constant])}
    kept.uns.setdefault(keys.RECORD, {})["drop_unusable_drugs"] = {"min_lines": min_lines, **dropped}
    if (few | constant).any():
        warnings.warn(
            f"{int(few.sum()):,} drugs on fewer than {min_lines} lines ({first(dropped['too_few_lines'])}) "
            f"and {int(constant.sum()):,} constant drugs ({first(dropped['constant'])}) were dropped; "
            f"{kept.obsm[keys.RESPONSE].shape[1]:,} are left.",
            PmLabWarning,
            stacklevel=2,
        )
    return kept


def screen_overview(screen) -> pd.DataFrame:
    """What a screen holds, by tissue.

    Returns
    -------
    DataFrame by tissue, largest first, and last ``all``: ``n_lines``, ``n_drugs`` (tested on any of them),
    ``n_values``, ``share_measured`` (of all pairs), ``median_response`` (ln IC50 in µM, or area) and, for
    each modality of the screen, the number of lines that have it (``n_copy_number`` and so on).

    Examples
    --------
    >>> import pm_lab as pm
    >>> table = pm.drug_response.screen_overview(pm.datasets.simulate_cohort(n_cells=600).screen)
    >>> table.loc["all", ["n_lines", "n_drugs"]].astype(int).tolist()
    [300, 60]
    """
    screen = screen_of(screen)
    response = check_screen(screen, min_lines=0)
    tissue = checks.obs_column(screen, keys.TISSUE).astype(str)
    rows = {name: (tissue == name).to_numpy() for name in tissue.value_counts().index}
    rows["all"] = np.ones(screen.n_obs, bool)
    has = {name: measured(screen, name) for name in MODALITIES if name in screen.obsm}
    table = pd.DataFrame(
        {
            name: _summary(response.to_numpy()[some], {key: lines[some] for key, lines in has.items()})
            for name, some in rows.items()
        }
    ).T
    counts = [column for column in table if column.startswith("n_")]
    table[counts] = table[counts].astype(int)
    return table.rename_axis(index=keys.TISSUE)


def _summary(values: np.ndarray, has: dict[str, np.ndarray]) -> dict[str, float]:
    known = ~np.isnan(values)
    return {
        "n_lines": len(values),
        "n_drugs": int(known.any(axis=0).sum()),
        "n_values": int(known.sum()),
        "share_measured": float(known.mean()),
        "median_response": float(np.median(values[known])) if known.any() else np.nan,
        **{f"n_{name}": int(lines.sum()) for name, lines in has.items()},
    }
