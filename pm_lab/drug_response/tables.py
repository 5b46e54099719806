"""From a user's own tables, or an official GDSC release, to a screen."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab import keys
from pm_lab.datasets.open import read_table
from pm_lab.drug_response.contract import MEASURES, MODALITIES, check_screen, first
from pm_lab.drug_response.curves import fit_curves
from pm_lab.errors import DataError, PmLabWarning

if TYPE_CHECKING:
    from anndata import AnnData

RAW = ("dose", "viability")
OF_A_DRUG = ("drug_id", "cid", "smiles", "targets", "pathway")
# Column of a release → our name. The first two and a measure must be there; older releases lack some others.
GDSC_COLUMNS = {
    "DRUG_ID": "drug_id",
    "DRUG_NAME": "drug",
    "LN_IC50": "ln_ic50",
    "AUC": "auc",
    "RMSE": "rmse",
    "TCGA_DESC": keys.TISSUE,
    "PUTATIVE_TARGET": "targets",
    "PATHWAY_NAME": "pathway",
    "MIN_CONC": "min_dose",
    "MAX_CONC": "max_dose",
    "MIN_CONC_MICROMOLAR": "min_dose",
    "MAX_CONC_MICROMOLAR": "max_dose",
}
GDSC_LINE_IDS = ("CELL_LINE_NAME", "SANGER_MODEL_ID", "COSMIC_ID")


def read_gdsc_release(path: str | Path, line_id: str = "CELL_LINE_NAME") -> pd.DataFrame:
    """Read a table of fitted responses as cancerrxgene.org publishes it (``GDSC1_fitted_dose_response_...``).

    The site offers it as a spreadsheet; save it as .csv first. Columns of releases 6 to 8 are known.

    Parameters
    ----------
    path : .csv, .tsv or .txt, gzipped or not.
    line_id : what names the lines: "CELL_LINE_NAME", "SANGER_MODEL_ID" or "COSMIC_ID"; the one by which the
        expression is named too.

    Returns
    -------
    DataFrame, one row a line and drug, as :func:`make_screen` takes it: ``line``, ``drug`` (name, with the
    drug id in brackets where a name has several), ``drug_id``, ``ln_ic50`` (µM), ``auc`` (0–1), ``rmse``,
    ``tissue`` (TCGA code, "unknown" where it is not classified), ``targets``, ``pathway``, ``min_dose``,
    ``max_dose`` (µM); those that the file has.

    Raises
    ------
    DataError
        Columns are missing, or lines have no id of this kind.

    Examples
    --------
    >>> import pathlib, tempfile, pm_lab as pm
    >>> file = pathlib.Path(tempfile.mkdtemp(), "release.csv")
    >>> _ = file.write_text("CELL_LINE_NAME,DRUG_ID,DRUG_NAME,LN_IC50,AUC\\nMC-CAR,1,Erlotinib,2.39,0.98\\n")
    >>> pm.drug_response.read_gdsc_release(file)
         line drug_id       drug  ln_ic50   auc
    0  MC-CAR       1  Erlotinib     2.39  0.98
    """
    if line_id not in GDSC_LINE_IDS:
        raise DataError(f"line_id={line_id!r}: a release names lines by one of {', '.join(GDSC_LINE_IDS)}.")
    table = read_table(path, dtype=dict.fromkeys((*GDSC_LINE_IDS, "DRUG_ID"), str))
    absent = [name for name in (line_id, "DRUG_ID", "DRUG_NAME", "LN_IC50", "AUC") if name not in table]
    if absent:
        raise DataError(
            f"{path} has no column {', '.join(absent)}: it is not a table of fitted responses of GDSC. It "
            f"has {first(table.columns, 12)}."
        )
    nameless = table[line_id].isna()
    if nameless.any():
        raise DataError(
            f"{int(nameless.sum()):,} of {len(table):,} rows of {path} have no {line_id}. Name the lines by "
            "another one of " + ", ".join(GDSC_LINE_IDS) + "."
        )
    known = {name: ours for name, ours in GDSC_COLUMNS.items() if name in table}
    found = table[[line_id, *known]].rename(columns={line_id: "line", **known})
    ids_of_name = found.groupby("drug")["drug_id"].transform("nunique")
    several = found["drug"] + " (" + found["drug_id"] + ")"
    found["drug"] = found["drug"].where(ids_of_name == 1, several).str.replace("/", "-")
    if keys.TISSUE in found:
        unclassified = found[keys.TISSUE].isna() | found[keys.TISSUE].isin(["UNCLASSIFIED", ""])
        found[keys.TISSUE] = found[keys.TISSUE].mask(unclassified, keys.UNKNOWN)
    return found


def make_screen(
    responses: pd.DataFrame,
    expression: pd.DataFrame,
    tissue: Mapping[str, str] | pd.Series | None = None,
    drugs: pd.DataFrame | None = None,
    modalities: Mapping[str, pd.DataFrame] | None = None,
    measure: str | None = None,
    replicates: str | None = None,
) -> AnnData:
    """Make a screen from a user's own tables, and check it.

    Parameters
    ----------
    responses : tidy table with ``line``, ``drug`` and one of: ``ln_ic50`` (µM), ``auc`` (0–1, 1 = no effect),
        or raw ``dose`` (µM) and ``viability`` (1 = untreated), one row a well, from which
        :func:`fit_curves` estimates ln IC50. It may have ``tissue``, ``cid``, ``smiles``, ``targets`` and
        ``pathway`` too.
    expression : lines × genes, log2(TPM + 1), named as the lines of ``responses``.
    tissue : line → tissue; by default the column of ``responses``, else "unknown".
    drugs : by drug, with ``cid``, ``smiles``, ``targets``, ``pathway`` as far as known; by default the
        columns of ``responses``.
    modalities : "copy_number", "mutation" or "methylation" → lines × features; lines may be missing.
    measure : "ln_ic50" or "auc"; by default the first of the two that the table has.
    replicates : "mean" or "median" of several values for one line and drug. By default they are refused
        unless they are equal.

    Returns
    -------
    AnnData as :func:`check_screen` describes it, lines in the order of ``expression``. Lines with responses
    but no expression go into ``uns["response_only"]``, lines with expression but no response are left out;
    both are counted in ``uns["pm_lab"]["make_screen"]`` and in a warning. With raw viabilities the fitted
    curves are in ``uns["curves"]``.

    Raises
    ------
    DataError
        Columns or values are missing, one line and drug has several values, no line is in both tables, or
        whatever :func:`check_screen` refuses.

    Examples
    --------
    >>> import numpy as np, pandas as pd, pm_lab as pm
    >>> lines = [f"L{i}" for i in range(6)]
    >>> rng = np.random.default_rng(0)
    >>> expression = pd.DataFrame(rng.uniform(0, 9, (6, 3)), lines, ["TP53", "MYC", "EGFR"])
    >>> responses = pd.DataFrame({"line": lines, "drug": "Gefitinib", "ln_ic50": rng.normal(size=6)})
    >>> pm.drug_response.make_screen(responses, expression).shape
    (6, 3)
    """
    import anndata

    measure, curves, tidy = _one_measure(responses, measure)
    matrix = _pivot(tidy, measure, replicates)
    expression = _lines_of(expression, "expression")
    both = expression.index.intersection(matrix.index, sort=False)
    if not len(both):
        raise DataError(
            f"no line is in both tables: responses name {first(matrix.index)}, expression names "
            f"{first(expression.index)}. Rename one of them."
        )
    screen = anndata.AnnData(
        expression.loc[both].to_numpy(np.float32),
        var=pd.DataFrame(index=pd.Index(expression.columns.astype(str), dtype=object)),
        obs=_tissues(both, tissue, responses),
    )
    screen.obsm[keys.RESPONSE] = matrix.loc[both]
    screen.uns[keys.DRUGS] = _drugs(matrix.columns, drugs, responses)
    screen.uns[keys.RESPONSE_MEASURE] = measure
    if curves is not None:
        screen.uns["curves"] = curves
    _keep_the_rest(screen, matrix, expression, tissue, responses)
    for name, table in (modalities or {}).items():
        _add_modality(screen, name, table)
    check_screen(screen)
    return screen


def _one_measure(responses: pd.DataFrame, measure: str | None):
    """The measure to use, the curves fitted for it, and a tidy table that has it."""
    absent = [name for name in ("line", "drug") if name not in responses]
    if absent:
        raise DataError(
            f"responses have no column {' and no '.join(map(repr, absent))}; they have "
            f"{first(responses.columns, 12)}. One row a line and drug is needed."
        )
    nameless = responses[["line", "drug"]].isna().any(axis=1)
    if nameless.any():
        raise DataError(f"{int(nameless.sum()):,} rows of responses name no line or no drug.")
    if measure not in (None, *MEASURES):
        raise DataError(f"measure={measure!r}: it must be one of {MEASURES}.")
    found = [name for name in MEASURES if name in responses]
    if measure in found or (measure is None and found):
        return measure or found[0], None, responses
    if all(name in responses for name in RAW):
        curves = fit_curves(responses)
        _warn_of_curves(curves)
        return measure or "ln_ic50", curves, curves
    raise DataError(
        f"responses have neither {measure or ' nor '.join(MEASURES)} nor dose and viability; they have "
        f"{first(responses.columns, 12)}."
    )


def _warn_of_curves(curves: pd.DataFrame) -> None:
    """Doubtful curves stay in the screen; their user should know how many there are."""
    doubtful = {name: int(curves[name].sum()) for name in ("too_few_doses", "poor_fit", "non_monotone")}
    if any(doubtful.values()):
        counts = ", ".join(f"{name} {count:,}" for name, count in doubtful.items())
        warnings.warn(
            f"of {len(curves):,} curves: {counts}. Those of too few doses are NaN, the others are in the "
            "screen; uns['curves'] has them all.",
            PmLabWarning,
            stacklevel=4,
        )


def _pivot(tidy: pd.DataFrame, measure: str, replicates: str | None) -> pd.DataFrame:
    """Lines × drugs; several values of a pair are refused unless they are equal or to be averaged."""
    values = pd.to_numeric(tidy[measure], errors="coerce")
    no_number = values.isna() & tidy[measure].notna()
    if no_number.any():
        raise DataError(
            f"{int(no_number.sum()):,} values of {measure} are no numbers: {first(tidy[measure][no_number])}."
        )
    pairs = pd.DataFrame(
        {"line": tidy["line"].astype(str), "drug": tidy["drug"].astype(str), "value": values}
    ).dropna()
    pairs["drug"] = pairs["drug"].str.replace("/", "-")
    grouped = pairs.groupby(["line", "drug"], sort=False)["value"]
    differ = grouped.nunique() > 1
    if differ.any() and replicates is None:
        shown = [f"{line} and {drug}" for line, drug in differ.index[differ]]
        raise DataError(
            f"{int(differ.sum()):,} pairs of line and drug have several values ({first(shown)}). Pass "
            "replicates='median' (or 'mean') if they are repeated measurements; if not, rename the lines."
        )
    if replicates not in (None, "mean", "median"):
        raise DataError(f"replicates={replicates!r}: 'mean' or 'median'.")
    matrix = grouped.agg(replicates or "first").unstack("drug")
    matrix = matrix.reindex(index=pairs["line"].unique(), columns=pairs["drug"].unique())
    # h5ad keeps no name of a table's columns, so none is given.
    matrix.columns = pd.Index(matrix.columns.to_numpy(object))
    matrix.index = pd.Index(matrix.index.to_numpy(object))
    return matrix


def _lines_of(table: pd.DataFrame, what: str) -> pd.DataFrame:
    """A table whose index names each line once."""
    if not isinstance(table, pd.DataFrame):
        raise DataError(f"{what} is a {type(table).__name__}: give a DataFrame of lines × features.")
    table = table.set_axis(pd.Index(table.index.astype(str), dtype=object))
    twice = table.index[table.index.duplicated()].unique()
    if len(twice):
        raise DataError(
            f"{len(twice):,} lines have more than one row of {what}: {first(twice)}. Keep one a line, or "
            "rename."
        )
    return table


def _tissues(lines: pd.Index, tissue, responses: pd.DataFrame) -> pd.DataFrame:
    if tissue is None and keys.TISSUE in responses:
        tissue = _one_each(responses, "line", keys.TISSUE)
    known = pd.Series({} if tissue is None else dict(tissue), dtype=object)
    known.index = known.index.astype(str)
    values = known.reindex(lines).astype(object)
    values = values.where(values.notna(), keys.UNKNOWN).astype(str)
    return pd.DataFrame({keys.TISSUE: pd.Categorical(values)}, index=pd.Index(lines, dtype=object))


def _one_each(table: pd.DataFrame, by: str, column: str) -> pd.Series:
    """What each line or drug is said to be; refused where it is said to be two things."""
    known = table[[by, column]].dropna().astype(str).drop_duplicates()
    twice = known[by][known[by].duplicated()].unique()
    if len(twice):
        raise DataError(f"{len(twice):,} of {by} have more than one {column} in responses: {first(twice)}.")
    return known.set_index(by)[column]


def _drugs(names: pd.Index, drugs: pd.DataFrame | None, responses: pd.DataFrame) -> pd.DataFrame:
    if drugs is None:
        columns = [column for column in OF_A_DRUG if column in responses]
        drugs = pd.DataFrame({column: _one_each(responses, "drug", column) for column in columns})
    drugs = drugs.set_axis(pd.Index(drugs.index.astype(str).str.replace("/", "-"), dtype=object))
    twice = drugs.index[drugs.index.duplicated()].unique()
    if len(twice):
        raise DataError(f"{len(twice):,} drugs have more than one row in drugs: {first(twice)}.")
    table = drugs.reindex(names)
    for column in table.select_dtypes(object):
        table[column] = table[column].where(table[column].notna(), "").astype(str)
    table.index.name = "drug"
    return table


def _keep_the_rest(
    screen: AnnData, matrix: pd.DataFrame, expression: pd.DataFrame, tissue, responses
) -> None:
    """Lines that are in one of the two tables: kept beside the screen, or left out, and said."""
    only = matrix.index[~matrix.index.isin(screen.obs_names)]
    unused = expression.index[~expression.index.isin(matrix.index)]
    screen.uns[keys.RECORD] = {
        "make_screen": {"n_response_only": len(only), "n_without_response": len(unused)}
    }
    if len(only):
        obs = _tissues(only, tissue, responses)
        screen.uns[keys.RESPONSE_ONLY] = {"obs": obs, "response": matrix.loc[only]}
    if len(only) or len(unused):
        warnings.warn(
            f"{screen.n_obs:,} lines are in both tables. {len(only):,} lines have responses and no "
            f"expression ({first(only) or 'none'}): kept in uns['{keys.RESPONSE_ONLY}']. {len(unused):,} "
            f"lines have expression and no response ({first(unused) or 'none'}): left out.",
            PmLabWarning,
            stacklevel=3,
        )


def _add_modality(screen: AnnData, name: str, table: pd.DataFrame) -> None:
    if name not in MODALITIES:
        raise DataError(f"modalities: {name!r} is not one of {', '.join(MODALITIES)}.")
    table = _lines_of(table, name)
    known = table.index.isin(screen.obs_names)
    if not known.any():
        raise DataError(f"no line of {name} ({first(table.index)}) is a line of the screen.")
    screen.obsm[name] = table.reindex(screen.obs_names).to_numpy(np.float32)
    screen.uns.setdefault(keys.FEATURES, {})[name] = table.columns.to_numpy(object).astype(str).astype(object)
