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
from pm_lab.drug_response.screen import CURVES, plain_name, whole_text
from pm_lab.errors import DataError, PmLabWarning

if TYPE_CHECKING:
    from anndata import AnnData

RAW = ("dose", "viability")
DOUBTS = ("too_few_doses", "poor_fit", "non_monotone", "shallow", "uncertain")
IDS = ("drug_id", "cid")
OF_A_DRUG = ("drug_id", "cid", "smiles", "targets", "pathway")
# Column of a release → our name. Drug and measures must be there; older releases lack some others.
GDSC_COLUMNS = {
    "DATASET": "dataset",
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
    ``max_dose`` (µM), ``dataset`` (GDSC1 or GDSC2); those that the file has.

    Raises
    ------
    DataError
        Columns are missing, lines have no id of this kind, or drugs no id or name.

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
    _refuse_nameless(path, table, line_id)
    known = {name: ours for name, ours in GDSC_COLUMNS.items() if name in table}
    found = table[[line_id, *known]].rename(columns={line_id: "line", **known})
    ids_of_name = found.groupby("drug")["drug_id"].transform("nunique")
    several = found["drug"] + " (" + found["drug_id"] + ")"
    found["drug"] = found["drug"].where(ids_of_name == 1, several).str.replace("/", "-")
    if keys.TISSUE in found:
        unclassified = found[keys.TISSUE].isna() | found[keys.TISSUE].isin(["UNCLASSIFIED", ""])
        found[keys.TISSUE] = found[keys.TISSUE].mask(unclassified, keys.UNKNOWN)
    return found


def _refuse_nameless(path: str | Path, table: pd.DataFrame, line_id: str) -> None:
    """Rows without a line or drug cannot be used, and would be lost on the way."""
    mend = {line_id: f"Name the lines by another one of {', '.join(GDSC_LINE_IDS)}."}
    for column in (line_id, "DRUG_ID", "DRUG_NAME"):
        nameless = table[column].isna() | (table[column].astype(str).str.strip() == "")
        if nameless.any():
            rows = [f"row {number + 1}" for number in np.flatnonzero(nameless)[:6]]
            raise DataError(
                f"{int(nameless.sum()):,} of {len(table):,} rows of {path} have no {column} ({first(rows)}). "
                + mend.get(column, "Fill it in from the list of drugs of the release, or delete these rows.")
            )


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
    drugs : a table whose index names the drugs, with ``cid``, ``smiles``, ``targets``, ``pathway`` as far as
        known; by default the columns of ``responses``.
    modalities : "copy_number", "mutation" or "methylation" → lines × features; lines may be missing.
    measure : "ln_ic50" or "auc"; by default the first of the two that the table has.
    replicates : "mean" or "median" of several values for one line and drug. By default they are refused
        unless they are equal.

    Returns
    -------
    AnnData as :func:`check_screen` describes it, lines in the order of ``expression``. Lines with responses
    but no expression go into ``uns["response_only"]``, lines with expression but no response are left out;
    both are counted in ``uns["pm_lab"]["make_screen"]`` and in a warning. Drugs without any value are left
    out and named in both. With raw viabilities the fitted curves are in ``uns["curves"]``.

    Raises
    ------
    DataError
        Columns or values are missing, one line and drug has several values, no line is in both tables,
        ``tissue`` names none of the lines or ``drugs`` none of the drugs, two drugs are told apart by a slash
        alone, or whatever :func:`check_screen` refuses.

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

    _check_names(responses)
    measure, curves, tidy = _one_measure(responses, measure)
    matrix = _pivot(tidy, measure, replicates)
    expression = _lines_of(expression, "expression")
    both = expression.index.intersection(matrix.index, sort=False)
    if not len(both):
        raise DataError(
            f"no line is in both tables: responses name {first(matrix.index)}, expression names "
            f"{first(expression.index)}. Rename one of them."
        )
    tissue = _tissue_of(tissue, matrix.index, responses)
    screen = anndata.AnnData(
        expression.loc[both].to_numpy(np.float32),
        var=pd.DataFrame(index=pd.Index(expression.columns.astype(str), dtype=object)),
        obs=_obs(both, tissue),
    )
    screen.obsm[keys.RESPONSE] = matrix.loc[both]
    screen.uns[keys.DRUGS] = _drugs(matrix.columns, drugs, responses)
    screen.uns[keys.RESPONSE_MEASURE] = measure
    if curves is not None:
        screen.uns[CURVES] = curves
    _keep_the_rest(screen, matrix, expression, tissue)
    _say_what_has_no_value(screen, tidy, matrix)
    for name, table in (modalities or {}).items():
        _add_modality(screen, name, table)
    check_screen(screen)
    return screen


def _check_names(responses: pd.DataFrame) -> None:
    """Every row must name a line and a drug, and no two drugs may become one."""
    if not isinstance(responses, pd.DataFrame):
        raise DataError(
            f"responses is a {type(responses).__name__}: give a DataFrame with one row a line and drug, "
            "such as pandas.read_csv(...)."
        )
    absent = [name for name in ("line", "drug") if name not in responses]
    if absent:
        raise DataError(
            f"responses have no column {' and no '.join(map(repr, absent))}; they have "
            f"{first(responses.columns, 12)}. One row a line and drug is needed."
        )
    nameless = responses[["line", "drug"]].isna().any(axis=1)
    if nameless.any():
        raise DataError(f"{int(nameless.sum()):,} rows of responses name no line or no drug.")
    names = pd.Series(responses["drug"].astype(str).unique())
    merged = names[plain_name(names).duplicated(keep=False)]
    if len(merged):
        raise DataError(
            f"{len(merged):,} drugs would become one, since a screen keeps a slash in a name as a dash: "
            f"{first(merged)}. Rename them."
        )


def _one_measure(responses: pd.DataFrame, measure: str | None):
    """The measure to use, the curves fitted for it, and a tidy table that has it."""
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
    doubtful = {name: int(curves[name].sum()) for name in DOUBTS}
    if any(doubtful.values()):
        counts = ", ".join(f"{name} {count:,}" for name, count in doubtful.items())
        warnings.warn(
            f"of {len(curves):,} curves: {counts}. Those of too few doses are NaN, the others are in the "
            f"screen; uns['{CURVES}'] has them all.",
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
    if pairs.empty:
        raise DataError(f"no row of responses has a value of {measure}: all {len(tidy):,} are missing.")
    pairs["drug"] = plain_name(pairs["drug"])
    grouped = pairs.groupby(["line", "drug"], sort=False)["value"]
    differ = grouped.nunique() > 1
    if differ.any() and replicates is None:
        shown = [f"{line} and {drug}" for line, drug in differ.index[differ]]
        raise DataError(
            f"{int(differ.sum()):,} pairs of line and drug have several values ({first(shown)}). "
            + _why_several(tidy)
        )
    if replicates not in (None, "mean", "median"):
        raise DataError(f"replicates={replicates!r}: 'mean' or 'median'.")
    matrix = grouped.agg(replicates or "first").unstack("drug")
    matrix = matrix.reindex(index=pairs["line"].unique(), columns=pairs["drug"].unique())
    # h5ad keeps no name of a table's columns, so none is given.
    matrix.columns = pd.Index(matrix.columns.to_numpy(object))
    matrix.index = pd.Index(matrix.index.to_numpy(object))
    return matrix


def _why_several(tidy: pd.DataFrame) -> str:
    column = next((name for name in ("dataset", "DATASET") if name in tidy), None)
    if column is not None and tidy[column].nunique() > 1:
        sets = sorted(tidy[column].dropna().astype(str).unique())
        return (
            f"They are of several data sets ({column}: {first(sets)}), whose assays differ: keep one, "
            f"responses[responses[{column!r}] == {sets[0]!r}]."
        )
    return "Pass replicates='median' (or 'mean') if they are repeated measurements; if not, rename the lines."


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
    odd = table.loc[:, [kind.kind not in "biuf" for kind in table.dtypes]]
    numbers = odd.apply(pd.to_numeric, errors="coerce")
    text = odd.columns[(numbers.isna() & odd.notna()).any()]
    if len(text):
        raise DataError(
            f"{len(text):,} columns of {what} hold text ({first(text)}). Columns are features and the index "
            "names the lines: table.set_index('line'); drop further columns."
        )
    return table


def _tissue_of(tissue, lines: pd.Index, responses: pd.DataFrame) -> pd.Series:
    """The tissue of each line as far as it is known."""
    if tissue is None:
        known = _one_each(responses, "line", keys.TISSUE) if keys.TISSUE in responses else {}
        return pd.Series(known, dtype=object)
    if not isinstance(tissue, (Mapping, pd.Series)):
        raise DataError(f"tissue is a {type(tissue).__name__}: give a dict or Series of line → tissue.")
    known = pd.Series(dict(tissue), dtype=object).dropna()
    known.index = known.index.astype(str)
    lacking = lines[~lines.isin(known.index)]
    if len(lacking) == len(lines):
        raise DataError(
            f"tissue names none of the {len(lines):,} lines: it has {first(known.index) or 'no line'}, they "
            f"are {first(lines)}."
        )
    if len(lacking):
        warnings.warn(
            f"tissue does not name {len(lacking):,} of {len(lines):,} lines ({first(lacking)}): theirs is "
            f"{keys.UNKNOWN!r}.",
            PmLabWarning,
            stacklevel=3,
        )
    return known


def _obs(lines: pd.Index, tissue: pd.Series) -> pd.DataFrame:
    values = tissue.reindex(lines)
    values = values.where(values.notna(), keys.UNKNOWN).astype(str)
    return pd.DataFrame({keys.TISSUE: pd.Categorical(values)}, index=pd.Index(lines, dtype=object))


def _one_each(table: pd.DataFrame, by: str, column: str) -> pd.Series:
    """What each line or drug is said to be; refused where it is said to be two things."""
    known = table[[by, column]].dropna().astype(str)
    known[column] = whole_text(known[column])
    known = known.drop_duplicates()
    twice = known[by][known[by].duplicated()].unique()
    if len(twice):
        raise DataError(f"{len(twice):,} of {by} have more than one {column} in responses: {first(twice)}.")
    return known.set_index(by)[column]


def _drugs(names: pd.Index, drugs: pd.DataFrame | None, responses: pd.DataFrame) -> pd.DataFrame:
    if drugs is None:
        columns = [column for column in OF_A_DRUG if column in responses]
        drugs = pd.DataFrame({column: _one_each(responses, "drug", column) for column in columns})
        drugs.index = plain_name(drugs.index)
    else:
        drugs = _given_drugs(names, drugs)
    table = drugs.reindex(names)
    for column, kind in table.dtypes.items():
        if column in IDS or kind.kind not in "biuf":
            table[column] = whole_text(table[column].astype(object).where(table[column].notna(), ""))
    table.index.name = "drug"
    return table


def _given_drugs(names: pd.Index, drugs: pd.DataFrame) -> pd.DataFrame:
    """The user's table of drugs, if it is of these drugs."""
    if not isinstance(drugs, pd.DataFrame):
        raise DataError(f"drugs is a {type(drugs).__name__}: give a DataFrame whose index names the drugs.")
    drugs = drugs.set_axis(pd.Index(plain_name(drugs.index), dtype=object))
    twice = drugs.index[drugs.index.duplicated()].unique()
    if len(twice):
        raise DataError(f"{len(twice):,} drugs have more than one row in drugs: {first(twice)}.")
    lacking = names[~names.isin(drugs.index)]
    if len(lacking) == len(names):
        raise DataError(
            f"drugs has a row for none of the {len(names):,} drugs: its index is {first(drugs.index)}, they "
            f"are {first(names)}. If a column names them: drugs.set_index('drug')."
        )
    if len(lacking):
        warnings.warn(
            f"{len(lacking):,} of {len(names):,} drugs have no row in drugs ({first(lacking)}): nothing is "
            "known of their CID, structure and targets.",
            PmLabWarning,
            stacklevel=4,
        )
    return drugs


def _say_what_has_no_value(screen: AnnData, tidy: pd.DataFrame, matrix: pd.DataFrame) -> None:
    """Drugs and lines that the responses name and give no value for are not in the screen."""
    drugs, lines = pd.Index(plain_name(tidy["drug"]).unique()), pd.Index(tidy["line"].astype(str).unique())
    lost = {"drugs": drugs[~drugs.isin(matrix.columns)], "lines": lines[~lines.isin(matrix.index)]}
    record = screen.uns[keys.RECORD]["make_screen"]
    record |= {f"{what}_without_value": list(names) for what, names in lost.items()}
    if any(map(len, lost.values())):
        told = " and ".join(
            f"{len(names):,} {what} ({first(names)})" for what, names in lost.items() if len(names)
        )
        why = ": no curve of theirs has doses enough to be fitted." if CURVES in screen.uns else "."
        warnings.warn(f"{told} have no value and are left out{why}", PmLabWarning, stacklevel=3)


def _keep_the_rest(
    screen: AnnData, matrix: pd.DataFrame, expression: pd.DataFrame, tissue: pd.Series
) -> None:
    """Lines that are in one of the two tables: kept beside the screen, or left out, and said."""
    only = matrix.index[~matrix.index.isin(screen.obs_names)]
    unused = expression.index[~expression.index.isin(matrix.index)]
    screen.uns[keys.RECORD] = {
        "make_screen": {"n_response_only": len(only), "n_without_response": len(unused)}
    }
    if len(only):
        screen.uns[keys.RESPONSE_ONLY] = {"obs": _obs(only, tissue), "response": matrix.loc[only]}
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
