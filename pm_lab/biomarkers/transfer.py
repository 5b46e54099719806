"""From one platform to another: which gene is which, what is missing, and how a fixed score does there."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from pm_lab import checks
from pm_lab.errors import DataError, PmLabWarning
from pm_lab.gene_sets import match_symbols
from pm_lab.validation import Outcome, bootstrap, patients_of, read_outcome

if TYPE_CHECKING:
    from anndata import AnnData

    from pm_lab.biomarkers.panels import Panel

LEAST_WEIGHT = 0.5  # share of the panel's absolute weight that must be measured
GOOD_WEIGHT = 0.8
FAR = 3  # SDs that the median gene may lie from the panel's mean before the scale is called another one
FEWEST_TO_SCALE = 10
FEWEST_OF_SIGNATURE = 5


@dataclass
class ExternalResult:
    """What :func:`external_validation` returns.

    Attributes
    ----------
    table : one row: ``n``, ``n_events``, the metric with ``low`` and ``high``, the effect of one SD of the
        score (``hazard_ratio_per_sd`` or ``odds_ratio_per_sd`` or ``slope_per_sd``) with ``effect_low`` and
        ``effect_high``, ``calibration_slope`` (1 is right; NaN for scores without a scale), ``n_genes``,
        ``n_measured``, ``weight_measured`` (share of the absolute weight). These three are missing where a
        score was given that does not say it (that of :func:`signature_score` says the first two).
        ``attrs``: ``outcome``; of a panel also ``scale``, and ``match``, how its genes were found.
    missing : by gene that is not measured here, its ``weight`` (NaN in a signature). Empty where all are.
    mapping : by gene of the panel: ``weight``, ``n_probes`` of this cohort that stand for it, and ``probes``,
        their names. Empty for a score.
    predictions : score of each patient.
    """

    table: pd.DataFrame
    missing: pd.DataFrame
    mapping: pd.DataFrame = field(repr=False)
    predictions: pd.Series = field(repr=False)


def external_validation(
    panel: Panel | pd.Series,
    cohort,
    outcome: str,
    scale: str = "panel",
    match: str | None = None,
    n_boot: int = 1000,
    seed: int = 0,
    patient_key: str | None = None,
    positive: str | None = None,
) -> ExternalResult:
    """Judge a fixed panel in another cohort. Nothing is refitted.

    Parameters
    ----------
    panel : a :class:`Panel`, or the score of each patient (Series by name in obs), such as that of
        :func:`signature_score`.
    cohort : patients × genes, other patients than those of discovery.
    outcome : endpoint or column of this cohort; of the panel's kind.
    scale : "panel" uses the discovery cohort's means and SDs: right for the same platform and processing,
        and for single patients. "cohort" standardises each gene in this cohort, for another platform; it
        uses no outcome, but assumes that both cohorts hold like patients.
    match : how genes are found: "name" (var_names, aliases mended), or a column of ``var`` such as "symbol"
        or "entrez" that the panel knows too. By default whichever finds most. Several probes of a gene are
        averaged after standardising.
    n_boot, seed : of the intervals, by patient.

    Raises
    ------
    DataError
        When less than half of the panel's weight is measured, the expression is on another scale than the
        panel's, the outcome is of another kind, or patients of the cohort are missing in a Series.

    Warns
    -----
    PmLabWarning
        When less than 80 % of the weight is measured.

    References
    ----------
    Royston 2013, doi:10.1186/1471-2288-13-33.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.load("gse7390")
    >>> panel = pm.biomarkers.fit_panel(cohort[:120].copy(), "dmfs")
    >>> result = pm.biomarkers.external_validation(panel, cohort[120:].copy(), "dmfs")
    >>> int(result.table["n"].iloc[0]), len(result.missing)
    (78, 0)
    """
    from pm_lab.biomarkers.panels import Panel

    if not isinstance(panel, Panel | pd.Series):
        raise DataError(
            f"panel is of type {type(panel).__name__}: pass a Panel (fit_panel, minimal_panel, Panel.load) "
            "or the score of each patient as a Series."
        )
    adata = checks.bulk_of(cohort)
    target = read_outcome(adata, outcome, positive)
    patients = patients_of(adata, patient_key)
    is_score = isinstance(panel, pd.Series)
    name = str(panel.name or "score") if is_score else panel.name
    if is_score:
        raw, mapping, missing, counts = _given_score(panel, adata)
    else:
        raw, mapping, missing, counts = _score_of(panel, adata, target, scale, match)
    interval = bootstrap(target, {name: raw.to_numpy()}, patients, n_boot=n_boot, seed=seed)
    row = {"n": len(target), "n_events": target.n_events} | interval.iloc[0].to_dict()
    row |= _effect(target, raw.to_numpy(), scaled=not is_score) | counts
    table = pd.DataFrame([row], index=pd.Index([name], name="model"))
    table = table.astype({"n_genes": "Int64", "n_measured": "Int64"})
    how = {} if is_score else {"scale": scale, "match": mapping.attrs["match"]}
    table.attrs = {"outcome": outcome} | how
    return ExternalResult(table, missing, mapping, raw.rename(name))


def _score_of(
    panel: Panel, adata: AnnData, outcome: Outcome, scale: str, match: str | None
) -> tuple[pd.Series, pd.DataFrame, pd.DataFrame, dict]:
    """The panel's score of each patient, the mapping of its genes, those not measured, and the counts."""
    if panel.kind != outcome.kind:
        raise DataError(
            f"the panel {panel.name!r} predicts a {panel.kind} outcome, {outcome.name!r} is {outcome.kind}."
        )
    X, mapping = standardised_expression(panel, adata, scale, match)
    raw = pd.Series(X.to_numpy() @ np.asarray(panel.weights) + panel.intercept, index=adata.obs_names)
    weight, found = mapping["weight"].abs(), mapping["n_probes"] > 0
    counts = {
        "n_genes": len(mapping),
        "n_measured": int(found.sum()),
        "weight_measured": float(weight[found].sum() / weight.sum()),
    }
    return raw, mapping, mapping.loc[~found, ["weight"]], counts


def _given_score(scores: pd.Series, adata: AnnData) -> tuple[pd.Series, pd.DataFrame, pd.DataFrame, dict]:
    """The score of these patients, no mapping, and what :func:`signature_score` said of missing genes."""
    names = pd.Index(scores.attrs.get("missing", []), dtype=object, name="gene")
    missing = pd.DataFrame({"weight": np.full(len(names), np.nan)}, index=names)
    counts = {name: scores.attrs.get(name, pd.NA) for name in ("n_genes", "n_measured")}
    counts["weight_measured"] = np.nan
    return _of_these_patients(scores, adata), _mapping([], [], [], ""), missing, counts


def _mapping(genes: list, weights: list, probes: list, match: str) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "weight": np.asarray(weights, float),
            "n_probes": np.array([len(names) for names in probes], int),
            "probes": pd.Series([", ".join(names) for names in probes], dtype=object).to_numpy(),
        },
        index=pd.Index(genes, dtype=object, name="gene"),
    )
    table.attrs = {"match": match}
    return table


def _of_these_patients(scores: pd.Series, adata: AnnData) -> pd.Series:
    if scores.index.has_duplicates:
        twice = scores.index[scores.index.duplicated()].unique()
        raise DataError(
            f"the score names {len(twice):,} patients more than once ({', '.join(map(str, twice[:5]))}). "
            "Give one number a row of the cohort."
        )
    if not pd.api.types.is_numeric_dtype(scores):
        raise DataError(f"the score is of type {scores.dtype}: numbers, higher = more risk, are meant.")
    found = scores.reindex(adata.obs_names)
    if found.isna().any():
        raise DataError(
            f"the score is missing for {int(found.isna().sum()):,} of {adata.n_obs:,} patients "
            f"({', '.join(found.index[found.isna()][:5])}). Leave them out for every model alike."
        )
    return found.astype(float)


def _effect(outcome: Outcome, raw: np.ndarray, scaled: bool) -> dict:
    """Effect of one SD of the score with a 95 % interval, and the calibration slope."""
    sd = raw.std()
    names = {"survival": "hazard_ratio_per_sd", "binary": "odds_ratio_per_sd", "continuous": "slope_per_sd"}
    name = names[outcome.kind]
    if sd < 1e-12:
        return {name: np.nan, "effect_low": np.nan, "effect_high": np.nan, "calibration_slope": np.nan}
    beta, error = _univariable(outcome, (raw - raw.mean()) / sd)
    shown = (lambda value: value) if outcome.kind == "continuous" else np.exp
    return {
        name: float(shown(beta)),
        "effect_low": float(shown(beta - 1.96 * error)),
        "effect_high": float(shown(beta + 1.96 * error)),
        "calibration_slope": beta / sd if scaled else np.nan,
    }


def _univariable(outcome: Outcome, z: np.ndarray) -> tuple[float, float]:
    """Coefficient and standard error of a regression on z alone."""
    if outcome.kind == "survival":
        from lifelines import CoxPHFitter

        table = pd.DataFrame({"z": z, "time": outcome.time, "event": outcome.values})
        fitted = CoxPHFitter().fit(table, "time", "event")
        return float(fitted.params_["z"]), float(fitted.standard_errors_["z"])
    import statsmodels.api as sm

    model = sm.Logit if outcome.kind == "binary" else sm.OLS
    arguments = {"disp": 0} if outcome.kind == "binary" else {}
    fitted = model(outcome.values, sm.add_constant(z)).fit(**arguments)
    return float(fitted.params[1]), float(fitted.bse[1])


def standardised_expression(
    panel: Panel, adata: AnnData, scale: str, match: str | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Patients × the panel's genes in SDs (0 where not measured), and how each gene was found."""
    if scale not in ("panel", "cohort"):
        raise DataError(f'scale={scale!r}: "panel" (same platform) or "cohort" (another platform).')
    places, how = find_genes(panel.genes, panel.identifiers, adata, match)
    probes = [list(adata.var_names[place].astype(str)) for place in places]
    mapping = _mapping(panel.genes, panel.weights, probes, how)
    _check_measured(panel.name, mapping)
    if scale == "cohort" and adata.n_obs < FEWEST_TO_SCALE:
        raise DataError(f'scale="cohort" with {adata.n_obs} patients: {FEWEST_TO_SCALE} at least have an SD.')
    X = np.zeros((adata.n_obs, len(panel.genes)))
    off = []
    for column, place in enumerate(places):
        if not len(place):
            continue
        values = adata.X[:, place]
        values = np.asarray(values.toarray() if sparse.issparse(values) else values, dtype=float)
        if scale == "cohort":
            sds = np.nanstd(values, axis=0)
            z = (values - np.nanmean(values, axis=0)) / np.where(sds > 1e-12, sds, np.inf)
        else:
            z = (values - panel.means[column]) / panel.sds[column]
            off.append(abs(np.nanmedian(z)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of a patient without any value: the mean, 0
            X[:, column] = np.nan_to_num(np.nanmean(z, axis=1))
    if off and np.median(off) > FAR and adata.n_obs >= FEWEST_TO_SCALE:
        raise DataError(
            f"the panel's genes lie {np.median(off):.1f} SDs from where they were in discovery: another "
            'platform or another scale. Pass scale="cohort" if this is a whole cohort of like patients.'
        )
    return pd.DataFrame(X, index=adata.obs_names, columns=panel.genes), mapping


def _check_measured(name: str, mapping: pd.DataFrame) -> None:
    weight = mapping["weight"].abs()
    absent = mapping["n_probes"] == 0
    share = 1 - weight[absent].sum() / weight.sum()
    text = (
        f"{int((~absent).sum())} of the {len(mapping)} genes of {name!r} are measured here, with "
        f"{share:.0%} of its weight (missing: {', '.join(mapping.index[absent][:5])})"
    )
    if share < LEAST_WEIGHT:
        raise DataError(
            f"{text}. Half is needed. Name a column of var with match=..., or learn the panel from genes "
            "that both platforms measure: fit_panel(genes=...)."
        )
    if share < GOOD_WEIGHT:
        warnings.warn(f"{text}: the others count as average.", PmLabWarning, stacklevel=5)


def find_genes(
    genes: list[str], identifiers: dict[str, list[str]], adata: AnnData, match: str | None
) -> tuple[list[np.ndarray], str]:
    """Places in var of each gene, by name or by a column, and which of these was used."""
    ways = {"name": lambda: _by_name(genes, adata)}
    for column, ids in identifiers.items():
        if column in adata.var:
            ways[column] = lambda column=column, ids=ids: _by_column(ids, adata.var[column])
    if "symbol" in adata.var and "symbol" not in identifiers:
        ways["symbol"] = lambda: _by_column(genes, adata.var["symbol"])
    if match is not None:
        if match not in ways:
            raise DataError(f"match={match!r}: genes can be found by {', '.join(ways)}.")
        return ways[match](), match
    found = {way: look() for way, look in ways.items()}
    best = max(found, key=lambda way: sum(len(place) > 0 for place in found[way]))
    return found[best], best


def _by_name(genes: list[str], adata: AnnData) -> list[np.ndarray]:
    names = adata.var_names
    try:
        _, mended = match_symbols({"panel": genes}, names)
        other = dict(zip(mended["symbol"], mended["matched_as"], strict=True))
    except DataError:  # ids of another kind: none is found by name
        other = {}
    place = names.get_indexer([other.get(gene, gene) for gene in genes])
    return [np.array([p]) if p >= 0 else np.array([], int) for p in place]


def _by_column(ids: list[str], column: pd.Series) -> list[np.ndarray]:
    groups = column.astype(str).reset_index(drop=True).groupby(column.astype(str).to_numpy()).indices
    empty = np.array([], int)
    return [groups.get(str(name), empty) if str(name) not in ("", "nan") else empty for name in ids]


def signature_score(
    cohort, signature: pd.DataFrame, er_key: str | None = None, match: str | None = None
) -> pd.Series:
    """Score of the published 70- or 76-gene signature, in SDs of each gene within this cohort.

    Parameters
    ----------
    signature : ``pm.datasets.load("breast_signatures")["gene70"]`` or ``["gene76"]``.
    er_key : column of ``obs`` with the estrogen receptor ("positive"/"negative", 1/0, booleans), for the 76
        genes, of which 60 are for ER-positive and 16 for ER-negative patients.
    match : "name" (probes as published) or "entrez" or "symbol"; by default whichever finds most.

    Returns
    -------
    Series by patient, higher = earlier metastasis. 70 genes: minus the correlation (Spearman) with the
    average profile of good prognosis. 76 genes: the mean of standardised expression weighted by the
    published coefficients, standardised within ER-positive and ER-negative patients, so that it compares
    patients of one receptor status; the published constants for absolute intensities are not used.
    ``attrs``: ``n_genes``, ``n_measured``, ``missing``, ``match``.

    Raises
    ------
    DataError
        When fewer than five of the genes are measured, or the receptor is missing.

    Warns
    -----
    PmLabWarning
        When less than half of the genes are measured.

    References
    ----------
    van 't Veer 2002, doi:10.1038/415530a; Wang 2005, doi:10.1016/S0140-6736(05)17947-1.
    """
    adata = checks.bulk_of(cohort)
    lacking = [name for name in ("probe", "NCBI.gene.symbol", "EntrezGene.ID") if name not in signature]
    if lacking:
        raise DataError(
            f"signature lacks the columns {lacking}: pass pm.datasets.load('breast_signatures')['gene70'] or "
            "['gene76']. A list of weights is scored by nested_cross_validate(signatures=...)."
        )
    signature = signature.set_index("probe")
    ids = {
        "symbol": signature["NCBI.gene.symbol"].fillna("").astype(str).tolist(),
        "entrez": signature["EntrezGene.ID"].astype("Int64").astype(str).replace("<NA>", "").tolist(),
    }
    places, how = find_genes([str(probe) for probe in signature.index], ids, adata, match)
    measured = np.array([len(place) > 0 for place in places])
    _check_signature(signature.index[~measured], len(places))
    X = np.column_stack([_mean_of(adata, place) for place in places if len(place)])
    table = signature[measured]
    if "average.good.prognosis.profile" in table:
        score = _profile_score(X, table["average.good.prognosis.profile"].to_numpy(float))
    else:
        score = _weighted_by_receptor(X, table, _receptor(adata, er_key))
    found = pd.Series(score, index=adata.obs_names)
    found.attrs = {
        "n_genes": len(places),
        "n_measured": int(measured.sum()),
        "missing": [str(probe) for probe in signature.index[~measured]],
        "match": how,
    }
    return found


def _check_signature(missing: pd.Index, n: int) -> None:
    found = n - len(missing)
    text = f"{found} of the {n} genes of the signature are measured (missing: {', '.join(missing[:5])}, ...)"
    if found < FEWEST_OF_SIGNATURE:
        raise DataError(
            f"{text}; {FEWEST_OF_SIGNATURE} at least are needed. var needs the published probes as names, or "
            "columns 'symbol' or 'entrez'."
        )
    if found < n / 2:
        warnings.warn(f"{text}: this is not the published signature any more.", PmLabWarning, stacklevel=3)


def _mean_of(adata: AnnData, place: np.ndarray) -> np.ndarray:
    values = adata.X[:, place]
    values = np.asarray(values.toarray() if sparse.issparse(values) else values, dtype=float)
    values = np.where(np.isnan(values), np.nanmean(values, axis=0), values)
    return values.mean(axis=1)


def _profile_score(X: np.ndarray, profile: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata

    ranks = rankdata(X - np.median(X, axis=0), axis=1)
    return -np.array([np.corrcoef(row, rankdata(profile))[0, 1] for row in ranks])


def _weighted_by_receptor(X: np.ndarray, table: pd.DataFrame, positive: np.ndarray) -> np.ndarray:
    score = np.zeros(len(X))
    for status in (1, 0):
        rows, columns = positive == status, (table["er"] == status).to_numpy()
        if not rows.any():
            continue
        if rows.sum() < FEWEST_TO_SCALE or not columns.any():
            word = "positive" if status else "negative"
            raise DataError(
                f"{int(rows.sum())} ER-{word} patients and {int(columns.sum())} measured genes for them; "
                f"{FEWEST_TO_SCALE} patients and one gene are needed. Leave these patients out."
            )
        part = X[np.ix_(rows, columns)]
        sds = part.std(axis=0)
        z = (part - part.mean(axis=0)) / np.where(sds > 1e-12, sds, np.inf)
        weights = table.loc[columns, "std.cox.coefficient"].to_numpy(float)
        score[rows] = z @ weights / np.abs(weights).sum()
        score[rows] /= max(score[rows].std(), 1e-12)
    return score


def _receptor(adata: AnnData, er_key: str | None) -> np.ndarray:
    if er_key is None:
        raise DataError("the 76 genes need the estrogen receptor: pass er_key='er'.")
    words = checks.obs_column(adata, er_key, argument="er_key").astype(str).str.lower()
    positive, negative = (
        words.isin(["positive", "1", "1.0", "true"]),
        words.isin(["negative", "0", "0.0", "false"]),
    )
    if not (positive | negative).all():
        raise DataError(
            f"obs[{er_key!r}] holds {sorted(set(words))[:5]}; 'positive' and 'negative' are meant."
        )
    return positive.to_numpy(int)
