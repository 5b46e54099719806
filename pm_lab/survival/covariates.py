"""Covariates of a survival model as a matrix of numbers, and the checks that they must pass."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab import checks
from pm_lab.design import as_text, variables
from pm_lab.endpoints import column, patient_rows
from pm_lab.errors import DataError, DesignError, PmLabWarning
from pm_lab.validation import Outcome

if TYPE_CHECKING:
    from anndata import AnnData

FEW_EVENTS = 10  # per coefficient: below, coefficients and their intervals are known to be biased


@dataclass(frozen=True)
class Encoding:
    """How covariates become columns: the formula, and the levels of labels (first: reference)."""

    formula: str
    names: list[str]
    levels: dict[str, list[str]]

    @classmethod
    def of(cls, cohort: AnnData | pd.DataFrame, covariates: str | Sequence[str]) -> Encoding:
        """Read the covariates of a cohort. One name, several names, or a formula with ``~``."""
        formula, names = formula_of(covariates)
        table = columns_of(cohort, names)
        levels = {name: _levels(table[name]) for name in names if not _is_number(table[name])}
        for name in names:
            if table[name].nunique() < 2:
                raise DesignError(f"{name!r} has one value only ({table[name].iloc[0]}): leave it out.")
        return cls(formula, names, levels)

    def matrix(self, cohort: AnnData | pd.DataFrame) -> pd.DataFrame:
        """Patients × coefficients, without intercept."""
        from formulaic import model_matrix

        table = columns_of(cohort, self.names)
        for name in self.names:
            table[name] = self._encoded(table[name])
        matrix = pd.DataFrame(model_matrix(self.formula, table)).astype(float)
        matrix.columns = [str(name).replace("`", "") for name in matrix.columns]
        return matrix.drop(columns="Intercept", errors="ignore")

    def _encoded(self, values: pd.Series) -> pd.Series:
        name = values.name
        if name not in self.levels:
            if not _is_number(values):
                raise DataError(f"{name!r} holds {values.dtype}, but numbers when the model was fitted.")
            if not np.isfinite(values).all():
                raise DataError(f"{name!r} holds infinite values. Mend them, or leave these patients out.")
            return values.astype(float)
        text, levels = as_text(values), self.levels[name]
        unknown = sorted(set(text) - set(levels))
        if unknown:
            raise DataError(
                f"{name!r} has {unknown[:5]} in {int(text.isin(unknown).sum()):,} patients, which the model "
                f"has not seen; it knows {levels}. Rename these levels, or leave these patients out."
            )
        return pd.Series(pd.Categorical(text, levels), values.index, name=name)

    def to_dict(self) -> dict:
        """Plain lists and dicts, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict) -> Encoding:
        """From what :meth:`to_dict` returned."""
        return cls(content["formula"], content["names"], content["levels"])


def formula_of(covariates: str | Sequence[str]) -> tuple[str, list[str]]:
    """One name, several names, or a formula with ``~``, as a formula and the names in it."""
    if isinstance(covariates, str) and "~" in covariates:
        formula = covariates
    else:
        if not isinstance(covariates, Iterable):
            raise DesignError(f"covariates={covariates!r}: names of columns, or a formula with ~.")
        given = [covariates] if isinstance(covariates, str) else list(covariates)
        if not given:
            raise DesignError("no covariates were given.")
        formula = "~ " + " + ".join(f"`{name}`" for name in dict.fromkeys(given))
    return formula, [name.strip("`") for name in variables(formula)]


def as_outcome(table: pd.DataFrame) -> Outcome:
    """What ``endpoint_table`` returned, in the form that validation takes."""
    event, time = table["event"].to_numpy(float), table["time"].to_numpy()
    return Outcome(table.attrs["endpoint"], "survival", event, time)


def columns_of(cohort: AnnData | pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Columns of obs, or genes of ``X`` where obs has no such column."""
    obs = patient_rows(cohort)
    genes = [] if isinstance(cohort, pd.DataFrame) else checks.bulk_of(cohort).var_names
    both = [name for name in names if name in obs and name in genes]
    if both:
        raise DataError(f"{both} are columns of obs and genes as well. Rename the columns of obs.")
    table = {}
    for name in names:
        if name in genes:
            values = checks.bulk_of(cohort)[:, name].X
            values = values.toarray() if hasattr(values, "toarray") else np.asarray(values)
            table[name] = column(pd.DataFrame({name: values.ravel()}, obs.index), name, "covariate")
        else:
            table[name] = column(obs, name, "covariate")
    return pd.DataFrame(table, obs.index)


def _is_number(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def _levels(values: pd.Series) -> list[str]:
    present = as_text(values)
    if hasattr(values, "cat"):
        return [name for name in as_text(pd.Series(values.cat.categories)) if (present == name).any()]
    return sorted(present.unique())


def check_events_per_variable(encoding: Encoding, matrix: pd.DataFrame, outcome: pd.DataFrame) -> None:
    """Refuse what a Cox model cannot estimate: too few events, repeated columns, levels without events."""
    events, n = int(outcome["event"].sum()), matrix.shape[1]
    if events < max(n, 2):
        raise DesignError(
            f"{n} coefficients for {events} events ({len(matrix):,} patients): a Cox model needs more events "
            "than coefficients, and ten times as many to be trusted. Use fewer covariates, or a penalised "
            "model (pm.biomarkers) judged by cross-validation."
        )
    _refuse_repeated(matrix)
    _refuse_levels_without_events(encoding, matrix, outcome)
    if events < FEW_EVENTS * n:
        warnings.warn(
            f"{events} events for {n} coefficients: {events / n:.1f} per variable, below {FEW_EVENTS}. "
            "Hazard ratios tend to be too extreme and intervals too narrow.",
            PmLabWarning,
            stacklevel=4,
        )


def _refuse_repeated(matrix: pd.DataFrame) -> None:
    centred = matrix - matrix.mean()
    scaled = (centred / centred.std()).to_numpy()
    if np.linalg.matrix_rank(scaled) == scaled.shape[1]:
        return
    for place in range(1, scaled.shape[1]):
        before = scaled[:, :place]
        weights, *_ = np.linalg.lstsq(before, scaled[:, place], rcond=None)
        if np.abs(before @ weights - scaled[:, place]).max() < 1e-6:
            others = [name for name, w in zip(matrix.columns, weights, strict=False) if abs(w) > 1e-6]
            raise DesignError(
                f"{matrix.columns[place]!r} says the same as {others} together (collinear), so their effects "
                "cannot be told apart. Leave one of them out."
            )
    raise DesignError(f"some of {list(matrix.columns[:12])} nearly repeat each other: leave one out.")


def _refuse_levels_without_events(encoding: Encoding, matrix: pd.DataFrame, outcome: pd.DataFrame) -> None:
    event = outcome["event"].to_numpy()
    for name, levels in encoding.levels.items():  # the reference has no column of its own
        of_level = [column for column in matrix if column.startswith(f"{name}[T.")]
        rows = (matrix[of_level] == 0).all(axis=1).to_numpy() if of_level else np.array([], bool)
        if rows.any() and not event[rows].any():
            raise DesignError(
                f"none of the {int(rows.sum()):,} patients with {name} = {levels[0]!r}, the reference, has "
                "an event, so no level can be compared with it. Make another level the first category."
            )
    for name in matrix:
        values = matrix[name]
        if values.nunique() != 2:
            continue
        for value in sorted(values.unique()):
            rows = (values == value).to_numpy()
            if not event[rows].any():
                raise DesignError(
                    f"none of the {int(rows.sum()):,} patients with {name} = {value:g} has an event, so its "
                    "hazard ratio is 0 or infinite. Merge this level with another, or leave it out."
                )
