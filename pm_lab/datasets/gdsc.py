"""The GDSC1 screen as published beside CCLE's molecular profiles, from 533 small files to one AnnData."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pm_lab import keys
from pm_lab.datasets.open import read_table

if TYPE_CHECKING:
    import anndata
    import pandas as pd

UNCLASSIFIED = "UNABLE TO CLASSIFY"


def read_gdsc1(*paths: Path) -> anndata.AnnData:
    """525 lines × 697 genes (log2(TPM + 1)) with ln IC50 (µM) of 238 drugs, lines in the order of their list.

    ``obsm``: ``response`` (100,127 values), ``copy_number`` (log2(ratio + 1): two copies are 1),
    ``methylation`` (all lines), ``mutation`` (436 lines, the others NaN), with the names of their columns
    (symbols, promoters, Entrez ids) in ``uns["features"]``. ``obs``: ``name``, ``tissue`` (TCGA code),
    ``site``. ``uns["drugs"]``: by drug ``drug_id``, ``name``, ``cid``, ``smiles``, ``targets``, ``pathway``;
    the 28 drugs without a structure are named in ``uns["pm_lab"]["gdsc1"]``. ``uns["response_only"]``:
    ``obs`` and ``response`` of 444 lines that have no expression, one of them twice (ACH-000474 and
    ACH-001075 hold the same values).
    """
    import anndata
    import pandas as pd

    files = {path.name: path for path in paths}
    lines = pd.Index(files["cellline_list.txt"].read_text().split(), dtype=object)
    genes = pd.Index(files["gene_list.txt"].read_text().split(), dtype=object)
    expression, copy_number = _profiles([files[f"{line}.csv"] for line in lines], lines, genes)
    drugs, without_structure = _drugs(files["drug_list.csv"], files["223drugs_pubchem_smiles.txt"])
    ln_ic50 = read_table(files["GDSC_IC50.csv"], index_col=0).loc[drugs["drug_id"]].T
    ln_ic50 = ln_ic50.set_axis(list(drugs.index), axis=1)
    ln_ic50.index = pd.Index(ln_ic50.index, dtype=object)
    obs = _annotation(files["Cell_lines_annotations_20181226.txt"], ln_ic50.index)
    unprofiled = ln_ic50.index[~ln_ic50.index.isin(lines)]
    modalities = {
        keys.COPY_NUMBER: copy_number,
        keys.METHYLATION: _modality(files["methylation_561x808.csv"], lines),
        keys.MUTATION: _modality(files["mutations_580x706.csv"], lines),
    }
    screen = anndata.AnnData(expression, obs=_tidy(obs.loc[lines]), var=pd.DataFrame(index=genes))
    screen.obsm[keys.RESPONSE] = ln_ic50.loc[lines]
    for name, table in modalities.items():
        screen.obsm[name] = table.to_numpy()
    screen.uns[keys.FEATURES] = {name: table.columns.to_numpy(object) for name, table in modalities.items()}
    screen.uns[keys.DRUGS] = drugs
    screen.uns[keys.RESPONSE_MEASURE] = "ln_ic50"
    screen.uns[keys.RESPONSE_ONLY] = {"obs": _tidy(obs.loc[unprofiled]), "response": ln_ic50.loc[unprofiled]}
    screen.uns[keys.RECORD] = {"gdsc1": {"drugs_without_structure": without_structure}}
    return screen


def _profiles(paths: list[Path], lines: pd.Index, genes: pd.Index):
    """Expression as a matrix and copy number as a table, from one small file a line."""
    import numpy as np
    import pandas as pd

    expression = np.empty((len(lines), len(genes)), np.float32)
    copy_number = np.empty_like(expression)
    for row, path in enumerate(paths):
        table = read_table(path)
        if list(table["Gene_name"]) != list(genes):
            raise ValueError(f"{path.name} lists other genes than gene_list.txt")
        expression[row] = table["gene_expression"]
        copy_number[row] = table["copy_number"]
    return expression, pd.DataFrame(copy_number, index=lines, columns=genes)


def _drugs(drug_list: Path, structures: Path) -> tuple[pd.DataFrame, list[str]]:
    """The drugs whose PubChem CID has a SMILES, and the names of the others.

    Fifteen compounds were screened under two drug ids: those are told apart as "name (id)".
    """
    import pandas as pd

    table = read_table(drug_list, dtype=str).fillna("")
    smiles = read_table(structures, header=None, dtype=str).set_index(0)[1]
    cid = table["PubCHEM"].str.strip()
    known = cid.isin(smiles.index)
    twice = table["Name"].where(known).duplicated(keep=False)
    label = table["Name"].where(~twice, table["Name"] + " (" + table["drug_id"] + ")")
    drugs = pd.DataFrame(
        {
            "drug_id": "GDSC:" + table["drug_id"],
            "name": table["Name"],
            "cid": cid,
            "smiles": cid.map(smiles),
            "targets": table["Targets"],
            "pathway": table["Target pathway"],
        }
    )
    # A slash is no part of a name in HDF5.
    drugs.index = pd.Index(label.str.replace("/", "-"), name="drug", dtype=object)
    return drugs[known.to_numpy()], sorted(table["Name"][~known])


def _annotation(path: Path, lines: pd.Index) -> pd.DataFrame:
    """Name, TCGA code and site of every line of the screen, as far as the annotation knows them."""
    import pandas as pd

    columns = {"Name": "name", "tcga_code": keys.TISSUE, "Site_Primary": "site"}
    table = read_table(path, dtype=str, usecols=["depMapID", *columns])
    table = table.dropna(subset="depMapID").set_index("depMapID").rename(columns=columns)
    obs = table.reindex(lines)
    obs["name"] = obs["name"].fillna("")
    obs[[keys.TISSUE, "site"]] = (
        obs[[keys.TISSUE, "site"]].fillna(keys.UNKNOWN).replace(UNCLASSIFIED, keys.UNKNOWN)
    )
    obs.index = pd.Index(lines, dtype=object)
    return obs


def _tidy(obs: pd.DataFrame) -> pd.DataFrame:
    """Only the tissues that occur, as categories."""
    return obs.astype({keys.TISSUE: "category", "site": "category"})


def _modality(path: Path, lines: pd.Index) -> pd.DataFrame:
    """Lines × features; a line that was not measured is NaN throughout."""
    import numpy as np

    table = read_table(path, index_col=0)
    table.columns = table.columns.str.strip("()")
    return table.reindex(lines).astype(np.float32)
