"""What a matrix holds (counts, log values, scaled values), judged from a sample of its stored values."""

from __future__ import annotations

import numpy as np

from pm_lab.checks import scale_of
from pm_lab.server.elements import Matrix

STRETCHES = 5  # spread over the matrix, so that one odd batch is seen
VALUES = 2_000  # of each stretch


def judged(matrix: Matrix) -> tuple[str, str]:
    """``counts``, ``log``, ``scaled`` or ``unknown``, and one sentence that says how that was judged."""
    values = sample(matrix)
    holds, reason = scale_of(values)
    return holds, f"Judged from {len(values):,} of {matrix.n_stored:,} stored values: {reason}."


def sample(matrix: Matrix) -> np.ndarray:
    """Stored values from a few places of the matrix; of a dense one, parts of a few rows."""
    array = matrix.data
    if matrix.kind != "dense":
        starts = _starts(matrix.n_stored, VALUES)
        return np.concatenate([np.asarray(array[start : start + VALUES]) for start in starts])
    n_rows, n_columns = matrix.shape
    columns = min(n_columns, VALUES)
    rows = max(1, VALUES // max(1, columns))
    parts = [np.asarray(array[start : start + rows, :columns]).ravel() for start in _starts(n_rows, rows)]
    return np.concatenate(parts)


def _starts(n: int, length: int) -> list[int]:
    return sorted({int(place) for place in np.linspace(0, max(0, n - length), STRETCHES)})
