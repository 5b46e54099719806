"""How good predicted responses are: over all pairs, within drugs, within lines, and beyond mean effects."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pm_lab.drug_response.contract import first
from pm_lab.errors import DataError

METRICS = ("rmse", "pearson", "r2", "per_drug_pearson", "normalized_pearson", "normalized_r2")
PREDICTIONS = ("model", "fold", "line", "drug", "observed", "predicted")
FEWEST_VALUES = 5  # of a drug or line, for a correlation within it
SAME = 1e-9  # what varies less than this, next to what is observed, is constant


def score_responses(
    observed: pd.DataFrame, predicted: pd.DataFrame, expected: pd.DataFrame | None = None
) -> pd.Series:
    """The metrics of one model on one test part.

    Parameters
    ----------
    observed : lines × drugs, ln IC50 (µM), NaN where a pair is not judged.
    predicted : by the model, at least these lines and drugs.
    expected : by :class:`MeanEffects` fitted on the same training part. None: nothing is normalised.

    Returns
    -------
    Series with

    - ``rmse`` : root mean squared error, in ln units;
    - ``pearson``, ``r2`` : over all pairs. Between drugs ln IC50 varies far more than between lines, so both
      are high for a model that knows nothing but the mean of each drug;
    - ``per_drug_pearson`` : mean over the drugs with five values or more of the correlation within the drug;
    - ``normalized_pearson``, ``normalized_r2`` : of observed − expected and predicted − expected: what the
      model knows beyond the means of line and drug. NaN without ``expected``.

    A constant prediction has Pearson 0; where the observed values are constant it is NaN.

    Raises
    ------
    DataError
        Lines or drugs without a prediction, NaN or infinite predictions of judged pairs, or no judged pair.

    Source
    ------
    The metrics of DrEval, https://github.com/daisybio/drevalpy.

    Examples
    --------
    >>> import numpy as np, pandas as pd, pm_lab as pm
    >>> observed = pd.DataFrame(np.arange(12.0).reshape(6, 2), columns=["A", "B"])
    >>> pm.drug_response.score_responses(observed, observed + 1).round(3).to_dict()["rmse"]
    1.0
    """
    o, p, e = _matrices(observed, predicted, expected)
    known = ~np.isnan(o)
    seen, said = o[known], p[known]
    scores = {
        "rmse": float(np.sqrt(np.mean((seen - said) ** 2))),
        "pearson": _pearson(seen, said),
        "r2": _r2(seen, said),
        "per_drug_pearson": _mean(_pearson_of_columns(o, p)),
        "normalized_pearson": np.nan,
        "normalized_r2": np.nan,
    }
    if e is not None:
        beyond, said_beyond = seen - e[known], said - e[known]
        scores["normalized_pearson"] = _pearson(beyond, said_beyond)
        scores["normalized_r2"] = _r2(beyond, said_beyond)
    return pd.Series(scores)


def _matrices(observed, predicted, expected) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    observed = observed.astype(float)
    known = observed.notna().to_numpy()
    if not known.any():
        raise DataError("no observed value: there is nothing to judge predictions by.")
    found = []
    for name, table in (("predicted", predicted), ("expected", expected)):
        if table is None:
            found.append(None)
            continue
        matrix = table.reindex(index=observed.index, columns=observed.columns).to_numpy(float)
        bad = known & ~np.isfinite(matrix)
        if bad.any():
            drugs = observed.columns[bad.any(axis=0)]
            raise DataError(
                f"{name}: {int(bad.sum()):,} of {int(known.sum()):,} judged pairs have no finite value, in "
                f"{len(drugs):,} drugs ({first(drugs)})."
            )
        found.append(matrix)
    return observed.to_numpy(), found[0], found[1]


def _pearson(seen: np.ndarray, said: np.ndarray) -> float:
    return float(_pearson_of_columns(seen[:, None], said[:, None], fewest=2)[0])


def _r2(seen: np.ndarray, said: np.ndarray) -> float:
    spread = np.sum((seen - seen.mean()) ** 2)
    return float(1 - np.sum((seen - said) ** 2) / spread) if spread > 0 else np.nan


def _pearson_of_columns(seen: np.ndarray, said: np.ndarray, fewest: int = FEWEST_VALUES) -> np.ndarray:
    """Pearson of each column over its known rows: 0 for constant predictions, NaN where it means nothing."""
    known = ~np.isnan(seen)
    n = known.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        a, b = (np.where(known, values, 0.0) for values in (seen, said))
        a, b = (np.where(known, values - values.sum(axis=0) / n, 0.0) for values in (a, b))
        size_a, size_b = (np.sqrt((values**2).sum(axis=0)) for values in (a, b))
        r = np.where(size_b > SAME * size_a, (a * b).sum(axis=0) / (size_a * size_b), 0.0)
    r[(n < fewest) | ~(size_a > 0)] = np.nan
    return r


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else np.nan


def score_by(predictions: pd.DataFrame, by: str = "drug") -> pd.DataFrame:
    """Error and correlations within each drug, or within each line, in each fold and then averaged.

    Parameters
    ----------
    predictions : the ``predictions`` of a benchmark.
    by : "drug" or "line".

    Returns
    -------
    DataFrame, one row a model and drug (or line): ``model``, ``drug``, ``n_values``, ``rmse``, and
    ``pearson`` and ``spearman``, averages over the folds with five values or more. Folds are not pooled: what
    differs between the fits of folds would pass for correlation.

    Raises
    ------
    DataError
        Columns are missing, or ``by`` is another word.

    Examples
    --------
    >>> import pm_lab as pm
    >>> screen = pm.datasets.simulate_cohort(n_cells=600).screen
    >>> result = pm.drug_response.benchmark(["drug_mean"], screen)
    >>> table = pm.drug_response.score_by(result.predictions, by="drug")
    >>> len(table), bool((table["pearson"] == 0).all())
    (60, True)
    """
    if by not in ("drug", "line"):
        raise DataError(f"by={by!r}: 'drug' or 'line'.")
    absent = [name for name in PREDICTIONS if name not in predictions]
    if absent:
        raise DataError(f"predictions have no column {first(absent)}; a benchmark has them all.")
    other = "line" if by == "drug" else "drug"
    parts = [
        _scores_within(part.pivot(index=other, columns=by, values=["observed", "predicted"])).assign(
            model=model
        )
        for (model, _), part in predictions.groupby(["model", "fold"], sort=False)
    ]
    grouped = pd.concat(parts).rename_axis(by).reset_index().groupby(["model", by], sort=False)
    table = grouped.agg(
        n_values=("n_values", "sum"),
        rmse=("squares", "sum"),
        pearson=("pearson", "mean"),
        spearman=("spearman", "mean"),
    ).reset_index()
    table["rmse"] = np.sqrt(table["rmse"] / table["n_values"])
    return table


def _scores_within(wide: pd.DataFrame) -> pd.DataFrame:
    """One row a column of what was observed and predicted in a fold."""
    seen, said = wide["observed"].astype(float), wide["predicted"].astype(float)
    ranks = said.round(9).rank()  # rounding errors are no order
    return pd.DataFrame(
        {
            "n_values": seen.notna().sum(),
            "squares": ((seen - said) ** 2).sum(),
            "pearson": _pearson_of_columns(seen.to_numpy(), said.to_numpy()),
            "spearman": _pearson_of_columns(seen.rank().to_numpy(), ranks.to_numpy()),
        }
    )
