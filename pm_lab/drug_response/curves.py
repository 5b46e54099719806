"""Dose–response curves from raw viabilities: one sigmoid a line and drug, with flags on its quality."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pandas as pd

from pm_lab.drug_response.contract import first
from pm_lab.errors import DataError, PmLabWarning

FEWEST_DOSES = 4
# Weak prior knowledge, as pseudo-observations with the noise of one well: it settles only what the doses
# tested leave open, such as how far above the highest dose the IC50 of a line without response lies.
NOISE = 0.05  # of a viability
SLOPE_SD = 0.7  # of ln slope, around a slope of 1
IC50_SD = 5.0  # of ln IC50, around the highest dose
LARGEST_RMSE = 0.2
SMALLEST_SLOPE = 0.4  # one curve in a hundred of those with a sigmoid's shape is less steep
LARGEST_SE = 0.5  # of ln IC50: 95 % of such an IC50 lies between a third and three times of it
SAME = 1e-9  # wells that differ by less are one value: there is nothing to explain
NO_RESPONSE = 0.8  # fitted viability at the highest dose
LARGEST_RISE = 0.3  # of the mean viability, from any dose to a higher one
USUAL = (-0.5, 2.0)  # viabilities
LARGEST_DOSE = 1e4  # µM; and 10 µM in nM, the commonest highest dose
CHUNK = 1000  # curves that a worker fits at once


def fit_curves(responses: pd.DataFrame, n_jobs: int = 1) -> pd.DataFrame:
    """Fit viability = 1 / (1 + (dose / IC50)^slope) to each line and drug, by least squares (MINPACK).

    The sigmoid falls from 1 (untreated) to 0, as in GDSC, so that every curve has an IC50; where the doses do
    not reach it, it is an extrapolation and flagged. A weak prior on slope and IC50 (ln slope 0 ± 0.7, ln
    IC50 at the highest dose ± 5, each with the weight of one well) stands in for GDSC's mixed-effects model.

    Parameters
    ----------
    responses : one row a well: ``line``, ``drug``, ``dose`` (µM, above 0) and ``viability`` (1 = untreated,
        0 = blank). Wells of one dose may be repeated.
    n_jobs : processes.

    Returns
    -------
    DataFrame, one row a line and drug:

    - ``ln_ic50`` (µM) and its standard error ``ln_ic50_se`` (NaN where the fit did not converge); ``slope``
      (Hill coefficient)
    - ``auc`` : area under the curve between lowest and highest dose, on the log scale (1 = no effect)
    - ``rmse`` and ``r2`` of the wells (NaN where all are one value); ``n_doses``, ``n_wells``, ``min_dose``,
      ``max_dose`` (µM)
    - flags: ``extrapolated`` (IC50 outside the doses), ``no_response`` (viability over .8 at the highest
      dose), ``non_monotone`` (it rises by over .3 somewhere), ``poor_fit`` (RMSE over .2), ``shallow`` (slope
      under .4: the drug kills a part of the cells, whatever the dose, and an IC50 means little),
      ``uncertain`` (standard error of ln IC50 over .5 although it lies within the doses, or none),
      ``too_few_doses`` (fewer than 4: not fitted, NaN)

    Pairs whose wells all lack a viability are not in it; a warning names them.

    Raises
    ------
    DataError
        No table; columns missing; wells without line or drug; missing, zero or negative doses; viabilities
        in percent or that are no numbers.

    Source
    ------
    Sigmoid: Vis et al. 2016, Pharmacogenomics 17:691, doi:10.2217/pgs.16.15.

    Examples
    --------
    >>> import numpy as np, pandas as pd, pm_lab as pm
    >>> dose = np.array([0.01, 0.1, 1.0, 10.0, 100.0])
    >>> wells = pd.DataFrame({"line": "A549", "drug": "X", "dose": dose, "viability": 1 / (1 + dose / 2)})
    >>> round(float(np.exp(pm.drug_response.fit_curves(wells).loc[0, "ln_ic50"])), 1)
    2.0
    """
    wells = _checked(responses)
    starts = np.flatnonzero(np.r_[True, wells["pair"].to_numpy()[1:] != wells["pair"].to_numpy()[:-1]])
    ln_dose = np.log(wells["dose"].to_numpy(np.float64))
    viability = wells["viability"].to_numpy(np.float64)
    table = _measures(wells, starts)
    fitted = ~table["too_few_doses"].to_numpy()
    parameters = np.full((len(starts), 3), np.nan)
    if fitted.any():
        bounds = np.c_[starts, np.r_[starts[1:], len(wells)]][fitted]
        parameters[fitted] = _fit_all(ln_dose, viability, bounds, n_jobs)
    ln_ic50, slope = parameters[:, 0], np.exp(parameters[:, 1])
    table.insert(2, "ln_ic50", ln_ic50)
    table.insert(3, "ln_ic50_se", parameters[:, 2])
    table.insert(4, "slope", slope)
    table.insert(5, "auc", _area(ln_ic50, slope, np.log(table["min_dose"]), np.log(table["max_dose"])))
    return _judged(table, wells, starts, ln_dose, viability)


def viability_at(dose: np.ndarray, ln_ic50, slope) -> np.ndarray:
    """The fitted sigmoid.

    Parameters
    ----------
    dose : µM.
    ln_ic50, slope : of :func:`fit_curves`.

    Examples
    --------
    >>> import pm_lab as pm
    >>> float(pm.drug_response.viability_at(1.0, 0.0, 1.0))
    0.5
    """
    return _sigmoid(np.log(dose), np.asarray(ln_ic50), np.asarray(slope))


def _sigmoid(ln_dose, ln_ic50, slope) -> np.ndarray:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(slope * (ln_dose - ln_ic50)))


def _checked(responses: pd.DataFrame) -> pd.DataFrame:
    """The wells, sorted by pair (``pair`` numbers them in order of appearance) and dose."""
    if not isinstance(responses, pd.DataFrame):
        raise DataError(f"wells are a {type(responses).__name__}: give a DataFrame with one row a well.")
    absent = [name for name in ("line", "drug", "dose", "viability") if name not in responses]
    if absent:
        raise DataError(
            f"wells have no column {', '.join(map(repr, absent))}; they have {first(responses.columns, 12)}."
        )
    wells = responses[["line", "drug", "dose", "viability"]].copy()
    nameless = wells[["line", "drug"]].isna().any(axis=1)
    if nameless.any():
        raise DataError(
            f"{int(nameless.sum()):,} of {len(wells):,} wells name no line or no drug (row "
            f"{first(np.flatnonzero(nameless) + 1)}). Fill them in, or delete them."
        )
    for column in ("dose", "viability"):
        numbers = pd.to_numeric(wells[column], errors="coerce")
        wrong = numbers.isna() & wells[column].notna()
        if wrong.any():
            raise DataError(
                f"{int(wrong.sum()):,} values of {column} are no numbers: {first(wells[column][wrong])}."
            )
        wells[column] = numbers
    not_above_0 = ~(wells["dose"] > 0) | np.isinf(wells["dose"])
    if not_above_0.any():
        raise DataError(
            f"{int(not_above_0.sum()):,} of {len(wells):,} doses are missing, infinite, zero or negative. "
            "Doses are in µM and not logged; untreated wells (dose 0) are the 1 by which the others are "
            "divided: leave them out."
        )
    _check_viability(wells)
    wells = _with_viability(wells)
    if wells["dose"].max() >= LARGEST_DOSE:
        _warn(f"doses go up to {wells['dose'].max():,.0f} µM: if they are in nM, divide them by 1,000.")
    wells["pair"] = wells.groupby(["line", "drug"], sort=False).ngroup()
    return wells.sort_values(["pair", "dose"], kind="stable", ignore_index=True)


def _with_viability(wells: pd.DataFrame) -> pd.DataFrame:
    """The wells that have one; what is lost is said."""
    missing = wells["viability"].isna()
    if not missing.any():
        return wells
    kept = wells[~missing]
    lost = pd.MultiIndex.from_frame(wells[["line", "drug"]]).drop_duplicates()
    lost = lost.difference(pd.MultiIndex.from_frame(kept[["line", "drug"]]), sort=False)
    pairs = [f"{line} and {drug}" for line, drug in lost]
    gone = (
        f" {len(pairs):,} pairs of line and drug have none left and no curve: {first(pairs)}."
        if pairs
        else ""
    )
    _warn(f"{int(missing.sum()):,} of {len(wells):,} wells have no viability and are left out.{gone}")
    return kept


def _check_viability(wells: pd.DataFrame) -> None:
    viability = wells["viability"]
    n_missing = int(viability.isna().sum())
    if n_missing == len(wells):
        raise DataError("no well has a viability.")
    if viability.median() > USUAL[1] or np.isinf(viability).any():
        raise DataError(
            f"viabilities have a median of {viability.median():.3g} and go up to {viability.max():.3g}: "
            "percent or raw signals. Divide each by the untreated wells of its plate: 1 = untreated, 0 = "
            "blank."
        )
    n_odd = int(((viability < USUAL[0]) | (viability > USUAL[1])).sum())
    if n_odd:
        _warn(
            f"{n_odd:,} of {len(wells):,} viabilities are below {USUAL[0]} or above {USUAL[1]}; they are "
            "used."
        )


def _warn(text: str) -> None:
    warnings.warn(text, PmLabWarning, stacklevel=5)


def _measures(wells: pd.DataFrame, starts: np.ndarray) -> pd.DataFrame:
    """What can be said of each pair before it is fitted."""
    dose = wells["dose"].to_numpy(np.float64)
    ends = np.r_[starts[1:], len(wells)]
    new_dose = np.r_[True, dose[1:] != dose[:-1]]
    new_dose[starts] = True
    n_doses = np.add.reduceat(new_dose.astype(int), starts)
    return pd.DataFrame(
        {
            "line": wells["line"].to_numpy()[starts],
            "drug": wells["drug"].to_numpy()[starts],
            "n_doses": n_doses,
            "n_wells": ends - starts,
            "min_dose": dose[starts],
            "max_dose": dose[ends - 1],
            "too_few_doses": n_doses < FEWEST_DOSES,
        }
    )


def _fit_all(ln_dose: np.ndarray, viability: np.ndarray, bounds: np.ndarray, n_jobs: int) -> np.ndarray:
    from joblib import Parallel, delayed
    from tqdm.auto import tqdm

    quiet = os.environ.get("PM_LAB_PROGRESS") == "0"
    chunks = [bounds[start : start + CHUNK] for start in range(0, len(bounds), CHUNK)]
    bar = tqdm(total=len(bounds), desc="Curves", unit="curve", disable=quiet, leave=False)
    work = (
        delayed(_fit_chunk)(
            ln_dose[part[0, 0] : part[-1, 1]], viability[part[0, 0] : part[-1, 1]], part - part[0, 0]
        )
        for part in chunks
    )
    found = []
    with bar:
        for fits in Parallel(n_jobs=n_jobs, return_as="generator")(work):
            found.append(fits)
            bar.update(len(fits))
    return np.concatenate(found)


def _fit_chunk(ln_dose: np.ndarray, viability: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """ln IC50, ln slope and the standard error of ln IC50 of each curve; NaN where it did not converge."""
    return np.array([_fit_one(ln_dose[start:end], viability[start:end]) for start, end in bounds])


def _fit_one(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    from scipy.optimize import leastsq

    n, low, high = len(x), x[0], x[-1]

    def residuals(p):
        out = np.empty(n + 2)
        out[:n] = _sigmoid(x, p[0], np.exp(p[1])) - y
        out[n] = NOISE * (p[0] - high) / IC50_SD
        out[n + 1] = NOISE * p[1] / SLOPE_SD
        return out

    def jacobian(p):
        slope = np.exp(p[1])
        value = _sigmoid(x, p[0], slope)
        steep = value * (1 - value) * slope
        out = np.zeros((n + 2, 2))
        out[:n, 0] = steep
        out[:n, 1] = -steep * (x - p[0])
        out[n, 0], out[n + 1, 1] = NOISE / IC50_SD, NOISE / SLOPE_SD
        return out

    # The area under a sigmoid tells where it falls; a slope of 1 is broad enough to find the way from there.
    start = (low + np.clip(y.mean(), 0, 1) * (high - low), 0.0)
    (ln_ic50, ln_slope), covariance, *_ = leastsq(
        residuals, start, Dfun=jacobian, full_output=True, maxfev=200
    )
    if covariance is None:  # it did not converge
        return ln_ic50, ln_slope, np.nan
    error = residuals((ln_ic50, ln_slope))[:n]
    return ln_ic50, ln_slope, np.sqrt(covariance[0, 0] * float(error @ error) / (n - 2))


def _area(ln_ic50, slope, low, high) -> np.ndarray:
    """Mean of the sigmoid between two logarithms of doses."""
    low, high = np.asarray(low), np.asarray(high)

    def integral(x):
        return x - np.logaddexp(0, slope * (x - ln_ic50)) / slope

    with np.errstate(invalid="ignore", divide="ignore"):
        return (integral(high) - integral(low)) / (high - low)


def _judged(
    table: pd.DataFrame, wells: pd.DataFrame, starts: np.ndarray, ln_dose: np.ndarray, viability: np.ndarray
) -> pd.DataFrame:
    """The table with goodness of fit and flags."""
    n_wells = table["n_wells"].to_numpy()
    ln_ic50, slope = table["ln_ic50"].to_numpy(), table["slope"].to_numpy()
    error = (_sigmoid(ln_dose, np.repeat(ln_ic50, n_wells), np.repeat(slope, n_wells)) - viability) ** 2
    mean = np.add.reduceat(viability, starts) / n_wells
    spread = np.add.reduceat((viability - np.repeat(mean, n_wells)) ** 2, starts)
    sum_of_squares = np.add.reduceat(error, starts)
    rmse = np.sqrt(sum_of_squares / n_wells)
    with np.errstate(divide="ignore", invalid="ignore"):
        r2 = np.where(spread > n_wells * SAME**2, 1 - sum_of_squares / spread, np.nan)
    table.insert(6, "rmse", rmse)
    table.insert(7, "r2", r2)
    ic50 = np.exp(ln_ic50)
    table["extrapolated"] = (ic50 < table["min_dose"]) | (ic50 > table["max_dose"])
    table["no_response"] = _sigmoid(np.log(table["max_dose"].to_numpy()), ln_ic50, slope) > NO_RESPONSE
    table["non_monotone"] = _largest_rise(wells) > LARGEST_RISE
    table["poor_fit"] = rmse > LARGEST_RMSE
    table["shallow"] = slope < SMALLEST_SLOPE
    error = table["ln_ic50_se"]
    fitted = ~table["too_few_doses"]
    table["uncertain"] = fitted & (error.isna() | (~table["extrapolated"] & (error > LARGEST_SE)))
    table["too_few_doses"] = table.pop("too_few_doses")
    return table


def _largest_rise(wells: pd.DataFrame) -> np.ndarray:
    """By pair, how far the mean viability rises at most from one dose to any higher one."""
    by_dose = wells.groupby(["pair", "dose"])["viability"].mean()
    lowest_so_far = by_dose.groupby(level="pair").cummin()
    return (by_dose - lowest_so_far).groupby(level="pair").max().to_numpy()
