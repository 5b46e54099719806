"""The risk that splits patients into groups: of a panel that is applied here, or given for each patient."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab.errors import DataError

if TYPE_CHECKING:
    from anndata import AnnData

    from pm_lab.biomarkers import Panel

    from .cohort_data import CohortData


@dataclass(frozen=True)
class Risk:
    """One number a patient, NaN where there is none; ``fitted``: to the outcome of some of these patients."""

    values: np.ndarray
    fitted: bool = False


def risk_of(data: CohortData, source, scale: str = "panel") -> Risk:
    """The risk of each patient.

    Parameters
    ----------
    source : a Series by patient, a :class:`pm_lab.biomarkers.Panel`, or the path of its file.
    scale : of a panel, as :meth:`pm_lab.biomarkers.Panel.predict` takes it.

    Raises
    ------
    DataError
        Something else; a file that is no panel; no expression; as ``Panel.predict``.
    """
    from pm_lab.biomarkers import Panel

    if isinstance(source, str | Path):
        source = Panel.load(source)
    if isinstance(source, Panel):
        return _predicted(data, source, scale)
    if not isinstance(source, pd.Series) or source.index.duplicated().any():
        raise DataError(
            "panel_risk: the name of a column, a panel or its file, or a Series with one number for each "
            "patient, by name, is needed."
        )
    values = source.set_axis(source.index.astype(str)).reindex(data.patients)
    return Risk(pd.to_numeric(values, errors="coerce").to_numpy(float))


def _predicted(data: CohortData, panel: Panel, scale: str) -> Risk:
    if data.expression is None:
        raise DataError(f"{panel.name!r} cannot be applied: the cohort has no expression.")
    cohort = _measured(data, panel)
    fitted = len(panel.own_patients(cohort)) > 0
    return Risk(panel.predict(cohort, scale).to_numpy(float), fitted)


def _measured(data: CohortData, panel: Panel) -> AnnData:
    """The expression, its genes under each of the names that the panel may look for."""
    import anndata

    genes = data.genes.astype(str)
    names = pd.DataFrame(dict.fromkeys(("symbol", *panel.identifiers), genes), index=genes)
    patients = pd.DataFrame(index=pd.Index(data.patients, name=None))
    return anndata.AnnData(data.expression, patients, names)
