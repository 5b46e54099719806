"""What lines and drugs contribute by themselves, and how a baseline reads a screen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab import checks, keys
from pm_lab.drug_response.contract import check_expression, first, screen_of
from pm_lab.errors import DataError

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True)
class Effects:
    """An overall level, and what each line and each drug adds to it (ln µM); unseen ones add nothing."""

    overall: float
    line: pd.Series
    drug: pd.Series

    def table(self, lines: pd.Index, drugs: pd.Index) -> np.ndarray:
        """Overall + line + drug, lines × drugs."""
        line = self.line.reindex(lines).fillna(0.0).to_numpy()
        drug = self.drug.reindex(drugs).fillna(0.0).to_numpy()
        return self.overall + line[:, None] + drug


def average_effects(response: pd.DataFrame) -> Effects:
    """The mean of each line and of each drug, as differences from the mean of all values.

    The effects that predictions are normalised by, as in DrEval. A line that was tested with potent drugs
    looks sensitive: nothing is adjusted for which pairs were measured.

    Examples
    --------
    >>> import pandas as pd
    >>> from pm_lab.drug_response.effects import average_effects
    >>> effects = average_effects(pd.DataFrame({"A": [1.0, 3.0], "B": [5.0, None]}, index=["L1", "L2"]))
    >>> effects.overall, effects.line.tolist(), effects.drug.tolist()
    (3.0, [0.0, 0.0], [-1.0, 2.0])
    """
    overall = float(np.nanmean(response.to_numpy()))
    return Effects(overall, response.mean(axis=1).dropna() - overall, response.mean().dropna() - overall)


def additive_effects(response: pd.DataFrame) -> Effects:
    """Line and drug effects by least squares, which adjusts for which pairs were measured.

    Both add up to 0, so that an unseen line is an average line and an unseen drug an average drug. Then the
    line effects are shrunk towards 0 by their reliability, ``variance between lines / (that + variance of the
    error of a mean)``: of a line on which few drugs were tested little is known.

    Examples
    --------
    >>> import pandas as pd
    >>> from pm_lab.drug_response.effects import additive_effects
    >>> effects = additive_effects(pd.DataFrame({"A": [1.0, 3.0], "B": [5.0, None]}, index=["L1", "L2"]))
    >>> [round(value, 3) for value in (effects.overall, *effects.line, *effects.drug)]
    [4.0, -1.0, 1.0, -2.0, 2.0]
    """
    response = response.dropna(how="all").dropna(axis=1, how="all")
    known = response.notna().to_numpy().astype(float)
    values = response.fillna(0.0).to_numpy()
    n_of_line = known.sum(axis=1)
    weights = known / n_of_line[:, None]
    # The lines are eliminated: what is left are as many equations as drugs, with one level free.
    drug = np.linalg.lstsq(
        np.diag(known.sum(axis=0)) - known.T @ weights,
        values.sum(axis=0) - weights.T @ values.sum(axis=1),
        rcond=None,
    )[0]
    line = (weights * (values - drug)).sum(axis=1)
    errors = (known * (values - drug - line[:, None])).ravel()
    overall, line, drug = line.mean() + drug.mean(), line - line.mean(), drug - drug.mean()
    freedom = known.sum() - len(line) - len(drug) + 1
    if freedom > 0:
        of_mean = (errors @ errors) / freedom / n_of_line
        between = max(0.0, float(np.mean(line**2 - of_mean)))
        line = line * np.divide(between, between + of_mean, out=np.ones_like(line), where=of_mean > 0)
    return Effects(float(overall), pd.Series(line, response.index), pd.Series(drug, response.columns))


def responses_of(screen) -> pd.DataFrame:
    """The responses that a baseline learns from, lines × drugs; any value will do.

    Fewer checks than :func:`check_screen`, which the whole screen must pass: a drug may be constant in the
    training part of a split.

    Raises
    ------
    DataError
        There are no responses, or not one value.

    Examples
    --------
    >>> import pm_lab as pm
    >>> from pm_lab.drug_response.effects import responses_of
    >>> responses_of(pm.datasets.simulate_cohort(n_cells=600).screen).shape
    (300, 60)
    """
    screen = screen_of(screen)
    response = screen.obsm.get(keys.RESPONSE)
    if not isinstance(response, pd.DataFrame):
        raise DataError(
            f"obsm['{keys.RESPONSE}'] must be a DataFrame of lines × drugs with ln IC50 (µM). "
            "pm.drug_response.make_screen makes a screen from tables."
        )
    checks.unique_names(screen)
    response = response.astype(float)
    if not response.notna().to_numpy().any():
        raise DataError(f"obsm['{keys.RESPONSE}'] holds no value: there is nothing to learn from.")
    return response


def expression_of(adata: AnnData, genes: pd.Index | None = None) -> np.ndarray:
    """Expression, rows × genes, float64; ``genes``: those of training, in their order.

    Raises
    ------
    DataError
        Names that occur twice, genes of training that are absent, or expression that
        :func:`check_expression` refuses.

    Examples
    --------
    >>> import pm_lab as pm
    >>> from pm_lab.drug_response.effects import expression_of
    >>> screen = pm.datasets.simulate_cohort(n_cells=600).screen
    >>> expression_of(screen, screen.var_names[:3]).shape
    (300, 3)
    """
    adata = screen_of(adata)
    checks.unique_names(adata)
    check_expression(adata)
    if genes is not None and not adata.var_names.equals(genes):
        absent = genes[~genes.isin(adata.var_names)]
        if len(absent):
            raise DataError(
                f"{len(absent):,} of the {len(genes):,} genes of training are absent ({first(absent)}). A "
                "baseline needs them all: train it on the genes that both have, "
                "screen[:, screen.var_names.isin(other.var_names)].copy()."
            )
        adata = adata[:, genes]
    return np.asarray(adata.X.toarray() if hasattr(adata.X, "toarray") else adata.X, dtype=np.float64)


def asked(drugs: pd.DataFrame | None, trained: pd.Index) -> pd.Index:
    """The names of the drugs to predict: rows of a table, or by default those of training."""
    if drugs is None:
        return pd.Index(trained.to_numpy(object))
    if not isinstance(drugs, pd.DataFrame):
        raise DataError(
            f"drugs is a {type(drugs).__name__}: give a table by drug, such as "
            "pm.drug_response.drug_table(screen)."
        )
    return pd.Index(drugs.index.to_numpy(object))


def with_unseen(predicted: pd.DataFrame, drugs: pd.Index) -> pd.DataFrame:
    """Predictions for these drugs; one that was not in training is the mean of those that were.

    Examples
    --------
    >>> import pandas as pd
    >>> from pm_lab.drug_response.effects import with_unseen
    >>> with_unseen(pd.DataFrame({"A": [1.0], "B": [3.0]}), pd.Index(["B", "C"])).iloc[0].tolist()
    [3.0, 2.0]
    """
    mean = predicted.mean(axis=1)
    return predicted.reindex(columns=drugs).apply(lambda column: column.fillna(mean))
