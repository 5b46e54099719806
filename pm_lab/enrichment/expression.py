"""What expression must be, whichever way gene sets are tested in it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pm_lab.errors import DataError

MEAN_EXPRESSION = "mean_standardized_expression"  # obs: written with the activities, tested between groups
LARGEST_LOG = 30  # log2 of the brightest array or CPM stays below
MEND = "take log2 expression (of counts: pm.bulk.normalize(cohort))"


def check_values(table: pd.DataFrame, where: str) -> None:
    """Refuse patients × genes with NaN or infinite values, and raw counts."""
    values = table.to_numpy(float)
    bad = ~np.isfinite(values).all(axis=0)
    if bad.any():
        raise DataError(
            f"{where} has NaN or infinite values in {int(bad.sum()):,} of {len(bad):,} genes "
            f"({', '.join(table.columns[bad][:5])}). Fill them in or leave these genes out."
        )
    if values.min() >= 0 and (values == values.round()).all():
        raise DataError(
            f"{where} holds whole numbers only (up to {values.max():,.0f}), as raw counts do: how deep a "
            f"patient was sequenced would pass for biology. Instead {MEND}."
        )


def not_logged(table: pd.DataFrame, where: str) -> str:
    """What is wrong with values beyond the reach of a logarithm; empty when none is."""
    largest = table.to_numpy(float).max()
    if largest <= LARGEST_LOG:
        return ""
    return (
        f"{where} goes up to {largest:,.5g}, so no logarithm was taken: a few patients with high values "
        "decide about a gene"
    )
