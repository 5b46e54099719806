"""A check of columns that may identify a patient: a linter with warnings, no claim of compliance."""

from __future__ import annotations

import pandas as pd


def identifier_columns(table: pd.DataFrame) -> pd.DataFrame:
    """Columns of a table that may identify a patient."""
    return pd.DataFrame(columns=["column", "reason", "n", "example_masked"])
