"""Drugs as numbers: fingerprints of their structures."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd

from pm_lab.drug_response.contract import first
from pm_lab.errors import DataError, PmLabWarning


def fingerprints(drugs: pd.DataFrame, n_bits: int = 1024, radius: int = 2) -> pd.DataFrame:
    """Morgan fingerprints of the drugs of a table.

    Parameters
    ----------
    drugs : by drug, with ``smiles`` (empty text where the structure is not known), such as
        :func:`drug_table` returns.
    n_bits : bits that the substructures are folded into.
    radius : of the substructures, in bonds.

    Returns
    -------
    DataFrame, drugs × bits, 0 or 1 (float32). A drug without a structure, or whose SMILES cannot be parsed,
    is NaN throughout; the latter are named in a warning.

    Raises
    ------
    DataError
        There is no column ``smiles``.
    ImportError
        RDKit is not installed.

    Source
    ------
    Rogers and Hahn 2010, doi:10.1021/ci100050t; computed by RDKit.

    Examples
    --------
    >>> import pandas as pd, pm_lab as pm
    >>> drugs = pd.DataFrame({"smiles": ["CCO", "CCO", ""]}, index=["ethanol", "alcohol", "serum"])
    >>> bits = pm.drug_response.fingerprints(drugs)
    >>> bool((bits.loc["ethanol"] == bits.loc["alcohol"]).all()), bool(bits.loc["serum"].isna().all())
    (True, True)
    """
    if "smiles" not in drugs:
        raise DataError(
            f"the table of drugs has no column 'smiles'; it has {first(drugs.columns, 12)}. Use "
            "pm.drug_response.drug_table(screen)."
        )
    generator, parse = _rdkit(radius, n_bits)
    found = np.full((len(drugs), n_bits), np.nan, np.float32)
    unparsable = []
    for row, smiles in enumerate(drugs["smiles"].fillna("").astype(str)):
        molecule = parse(smiles) if smiles else None
        if molecule is not None:
            found[row] = generator.GetFingerprintAsNumPy(molecule)
        elif smiles:
            unparsable.append(f"{drugs.index[row]}: {smiles[:40]}")
    if unparsable:
        warnings.warn(
            f"{len(unparsable):,} of {len(drugs):,} SMILES cannot be parsed ({first(unparsable)}): these "
            "drugs go on without a structure.",
            PmLabWarning,
            stacklevel=2,
        )
    return pd.DataFrame(found, index=drugs.index)


def _rdkit(radius: int, n_bits: int):
    try:
        from rdkit import Chem, rdBase
        from rdkit.Chem import rdFingerprintGenerator
    except ImportError as error:
        raise ImportError(
            "fingerprints need RDKit, which is not installed: pip install 'pm_lab[drug-response]'."
        ) from error

    def parse(smiles: str):
        with rdBase.BlockLogs():  # what RDKit would print of it is said in the warning
            return Chem.MolFromSmiles(smiles)

    return rdFingerprintGenerator.GetMorganGenerator(radius=radius, fpSize=n_bits), parse
