"""Subtypes known beforehand: each patient to the nearest centroid, and the centring that PAM50 needs."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from pm_lab import checks, keys
from pm_lab.bulk.subtypes import LARGEST_LOG
from pm_lab.design import as_text
from pm_lab.errors import DataError, PmLabWarning
from pm_lab.gene_sets import match_symbols

if TYPE_CHECKING:
    from anndata import AnnData

FEWEST_GENES = 10
SMALLEST_SHARE = 0.5  # of the centroids' genes that must be measured
GOOD_SHARE = 0.8  # below, a warning
FEWEST_TO_CENTRE = 10  # patients; fewer have no median worth the name
ENOUGH_TO_CENTRE = 50
# Share of ER-positive patients within which plain medians do: the further from an even mix, the more calls
# differ from those on balanced medians.
BALANCED = (0.35, 0.6)
POSITIVE = {"1", "1.0", "true", "yes", "positive", "pos", "+", "er+", "p"}
NEGATIVE = {"0", "0.0", "false", "no", "negative", "neg", "-", "er-", "n"}


def nearest_centroid(
    cohort,
    centroids: pd.DataFrame,
    method: str = "spearman",
    min_correlation: float = 0.2,
    min_margin: float = 0.1,
    key_added: str = "nearest_centroid",
    copy: bool = False,
) -> pd.DataFrame | tuple[pd.DataFrame, AnnData]:
    """Give each patient the class whose centroid correlates best with the patient's expression.

    Expression must be centred as that of the cohort in which the centroids were made: without it every
    patient looks like the centroid of the most common genes. :func:`pam50` sees to that for breast cancer.

    Parameters
    ----------
    cohort : patients × genes, ``X`` on a log scale and centred by gene (or a Cohort, whose ``bulk`` is used).
        A missing value leaves the gene out for that patient.
    centroids : genes × classes. Names are mended by the alias table (``NUF2`` for ``CDCA1``).
    method : "spearman" or "pearson".
    min_correlation, min_margin : below either a call is unsure.
    key_added : name of the label in ``obs``.
    copy : leave the cohort as it is and return ``(table, changed copy)``.

    Returns
    -------
    pandas.DataFrame
        One row per patient: ``label`` (always the nearest), ``correlation`` with it, ``second`` (the next
        class), ``margin`` (best − second correlation), ``unsure``, ``n_genes`` used, and the correlation
        with each class under its name. ``attrs``: ``n_genes`` (measured), ``n_centroid_genes``, ``missing``
        (their names) and ``mended`` (symbol in the centroids → name in the data).

        Written: ``obs[key_added]``, ``obs[key_added + "_margin"]``, ``obs[key_added + "_unsure"]``, and the
        parameters and genes under ``uns["pm_lab"][key_added]``.

    Raises
    ------
    DataError
        Fewer than half of the centroids' genes, or fewer than ten, are measured; X is not on a log scale
        or not centred; an unknown method; a view (``cohort[...]``) without ``copy``.

    Warns
    -----
    PmLabWarning
        When less than 80 % of the centroids' genes are measured.

    Examples
    --------
    >>> import pm_lab as pm
    >>> bulk = pm.datasets.simulate_cohort(n_cells=600).bulk
    >>> bulk.X -= bulk.X.mean(axis=0)
    >>> genes = pm.gene_sets.core("pathway")["ESTROGEN_RESPONSE"]
    >>> centroids = bulk[:, genes].to_df().groupby(bulk.obs["subtype"], observed=True).mean().T
    >>> pm.bulk.nearest_centroid(bulk, centroids)["label"].nunique()
    4
    """
    bulk = checks.bulk_of(cohort)
    if not copy:
        checks.not_a_view(bulk)
    expression, mapping = _expression_of(bulk, centroids)
    _check_centred(expression)
    table = _classify(expression, centroids, bulk.obs_names, method, min_correlation, min_margin)
    return _annotated(
        bulk,
        table,
        mapping,
        key_added,
        copy,
        method=method,
        min_margin=min_margin,
        min_correlation=min_correlation,
    )


def pam50(
    cohort,
    centroids: pd.DataFrame | None = None,
    centre: str | pd.Series = "median",
    receptor_key: str | None = None,
    min_correlation: float = 0.2,
    min_margin: float = 0.1,
    copy: bool = False,
) -> pd.DataFrame | tuple[pd.DataFrame, AnnData]:
    """Intrinsic subtypes of breast cancer: the nearest PAM50 centroid, centred in a way that can be checked.

    The centroids speak of expression relative to the median of a mixed cohort. In one of ER-positive
    patients only the median *is* luminal, and many of them would be called something else; so it is in one
    of triple-negatives. Ways to centre:

    - ``"median"``: each gene's median over the cohort, right for a cohort of mixed receptor status. With
      ``receptor_key`` it is checked that 35–60 % are ER-positive.
    - ``"balanced"``: the median in which ER-positive and ER-negative patients weigh the same, whatever
      their numbers (what random balanced subsets estimate); needs ``receptor_key`` and both kinds.
    - a Series of medians by gene, from a reference cohort on the same platform and scale: the only way for
      a single patient or a cohort of one receptor status.

    The calls are those of research; they are not the clinical test of that name.

    Parameters
    ----------
    cohort : patients × genes, ``X`` on a log scale (or a Cohort, whose ``bulk`` is used).
    centroids : genes × subtypes; by default Parker's, from the data set ``breast_signatures`` in the cache or
        the mirror: an analysis asks no server, ``pm.datasets.fetch("breast_signatures")`` does, once.
    centre : "median", "balanced" or the reference medians.
    receptor_key : column of ``obs`` with the estrogen receptor: booleans, 1/0, or words such as
        "positive". Missing values are allowed.
    min_correlation, min_margin, copy : as in :func:`nearest_centroid`.

    Returns
    -------
    pandas.DataFrame
        As :func:`nearest_centroid`; the labels are in ``obs["pam50"]``. ``attrs["centre"]``: the way of
        centring, ``attrs["er_positive"]``: the share of ER-positive patients (NaN where not known),
        ``attrs["medians"]``: what was subtracted, by centroid gene, to be kept as a reference for later
        patients of the same platform.

    Raises
    ------
    DataError
        Fewer than ten patients to take medians of, too few PAM50 genes, receptor values that are not
        understood, reference medians that lack genes, a view (``cohort[...]``) without ``copy``.
    DatasetUnavailable
        No centroids given, and Parker's are not on this machine.

    Warns
    -----
    PmLabWarning
        When the receptor status is skewed or unknown, when medians rest on fewer than 50 patients, or when
        less than 80 % of the 50 genes are measured.

    References
    ----------
    Parker 2009, doi:10.1200/JCO.2008.18.1370. Centring: Zhao 2015, doi:10.1186/s13058-015-0520-4.

    Examples
    --------
    >>> import pandas as pd, pm_lab as pm
    >>> bulk = pm.datasets.simulate_cohort(n_cells=600).bulk
    >>> bulk.obs["er"] = bulk.obs["subtype"].isin(["Luminal A", "Luminal B"])
    >>> made_up = pd.DataFrame({"Basal": -1.0, "LumA": 1.0}, index=pm.gene_sets.core()["PAM50"])
    >>> made_up.iloc[::2] *= -1
    >>> table = pm.bulk.pam50(bulk, made_up, receptor_key="er", centre="balanced")
    >>> table.attrs["n_genes"]
    50
    """
    bulk = checks.bulk_of(cohort)
    if not copy:
        checks.not_a_view(bulk)
    if centroids is None:
        centroids = _parkers_centroids()
    expression, mapping = _expression_of(bulk, centroids)
    positive = _receptor(bulk, receptor_key)
    medians = _medians(expression, centre, positive, centroids.index)
    share = float(np.nanmean(positive)) if np.isfinite(positive).any() else np.nan
    if isinstance(centre, str):
        _warn_of_cohort(len(expression), centre, share, receptor_key)
    table = _classify(
        expression - medians, centroids, bulk.obs_names, "spearman", min_correlation, min_margin
    )
    known = ~np.isnan(medians)
    way = centre if isinstance(centre, str) else "reference"
    table.attrs |= {
        "centre": way,
        "er_positive": share,
        "medians": dict(zip(centroids.index[known], medians[known].tolist(), strict=True)),
    }
    return _annotated(
        bulk,
        table,
        mapping,
        "pam50",
        copy,
        centre=way,
        er_positive=share,
        min_margin=min_margin,
        min_correlation=min_correlation,
    )


def _parkers_centroids() -> pd.DataFrame:
    from pm_lab import datasets

    return datasets.load("breast_signatures", fetch=False)["pam50"]


def _expression_of(bulk: AnnData, centroids: pd.DataFrame) -> tuple[np.ndarray, dict]:
    """Patients × centroid genes (NaN where a gene is not measured), and how names were matched."""
    checks.unique_names(bulk)
    _check_centroids(centroids)
    if bulk.X is None or bulk.n_obs == 0:
        raise DataError("there is no expression in X. Put log2 expression there.")
    names = [str(gene) for gene in centroids.index]
    renamed = _renamed(names, bulk.var_names)
    place = bulk.var_names.get_indexer([renamed.get(name, name) for name in names])
    measured = place >= 0
    missing = [name for name, there in zip(names, measured, strict=True) if not there]
    _check_measured(len(names), missing)
    values = bulk.X[:, place[measured]]
    values = np.asarray(values.toarray() if sparse.issparse(values) else values, dtype=float)
    _check_log(values, bulk.var_names[place[measured]])
    expression = np.full((bulk.n_obs, len(names)), np.nan)
    expression[:, measured] = values
    mapping = {
        "n_genes": int(measured.sum()),
        "n_centroid_genes": len(names),
        "missing": missing,
        "mended": renamed,
    }
    return expression, mapping


def _renamed(names: list[str], available: pd.Index) -> dict[str, str]:
    """Names that are there under an alias only, to that alias."""
    _, mended = match_symbols({"centroids": names}, available)
    pairs = zip(mended["symbol"], mended["matched_as"], strict=True)
    # Two names of one gene among the centroids must not both take the same column.
    return {name: other for name, other in pairs if other not in names}


def _check_centroids(centroids: pd.DataFrame) -> None:
    if centroids.shape[1] < 2 or centroids.index.duplicated().any() or centroids.columns.duplicated().any():
        raise DataError(
            f"centroids are a table of genes × classes with two classes or more and every name once; these "
            f"are {centroids.shape[0]} × {centroids.shape[1]}."
        )
    if not np.isfinite(centroids.to_numpy(float)).all():
        raise DataError("centroids hold missing or infinite values. Leave out those genes.")


def _check_measured(n: int, missing: list[str]) -> None:
    found = n - len(missing)
    some = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
    if found < max(FEWEST_GENES, SMALLEST_SHARE * n):
        raise DataError(
            f"{found} of the centroids' {n} genes are measured (missing: {some}); half of them, and "
            f"{FEWEST_GENES} or more, are needed. A panel made for something else cannot part the classes."
        )
    if found < GOOD_SHARE * n:
        warnings.warn(
            f"only {found} of the centroids' {n} genes are measured (missing: {some}): margins are less sure "
            "than they look.",
            PmLabWarning,
            stacklevel=4,
        )


def _check_log(values: np.ndarray, names: pd.Index) -> None:
    empty = np.isnan(values).all(axis=0)
    if empty.any() or np.isinf(values).any():
        raise DataError(
            f"{int(empty.sum())} genes have no value in any patient ({', '.join(names[empty][:5])}), and "
            f"{int(np.isinf(values).sum())} values are infinite. Leave these genes out."
        )
    seen = values[~np.isnan(values)]
    if np.abs(seen).max() > LARGEST_LOG or (seen.round() == seen).all():
        raise DataError(
            f"X goes up to {seen.max():.4g}{' in whole numbers' if (seen.round() == seen).all() else ''}, so "
            "no logarithm was taken. Put log2 expression into X: pm.bulk.normalize(cohort), or log2(CPM + 1)."
        )


def _check_centred(expression: np.ndarray) -> None:
    if len(expression) < FEWEST_TO_CENTRE:
        return  # a few patients of one kind may lie anywhere
    offset = np.abs(np.median(expression[:, ~np.isnan(expression).any(axis=0)], axis=0))
    if offset.mean() > 2:
        raise DataError(
            f"X is not centred by gene (medians lie {offset.mean():.3g} from zero on average). Subtract each "
            "gene's median in a cohort like the one the centroids are from (pam50 does for breast cancer)."
        )


def _classify(expression, centroids, names, method: str, min_correlation, min_margin) -> pd.DataFrame:
    correlation = pd.DataFrame(
        _correlations(expression, centroids.to_numpy(float), method), names, centroids.columns.astype(str)
    )
    values = np.nan_to_num(
        correlation.to_numpy(), nan=-1
    )  # a patient without any spread correlates with none
    order = np.argsort(-values, axis=1, kind="stable")
    best, second = (np.take_along_axis(values, order[:, [place]], 1)[:, 0] for place in (0, 1))
    classes = correlation.columns.to_numpy()
    table = pd.DataFrame(
        {
            "label": pd.Categorical(classes[order[:, 0]], classes),
            "correlation": best,
            "second": pd.Categorical(classes[order[:, 1]], classes),
            "margin": best - second,
            "unsure": (best < min_correlation) | (best - second < min_margin),
            "n_genes": (~np.isnan(expression)).sum(axis=1),
        },
        index=names,
    )
    return table.join(correlation)


def _correlations(expression: np.ndarray, centroids: np.ndarray, method: str) -> np.ndarray:
    """Patients × classes, over the genes that each patient has. Patients with the same genes go together."""
    from scipy.stats import rankdata

    if method not in ("spearman", "pearson"):
        raise DataError(f'method={method!r}: correlations are "spearman" or "pearson".')
    known = ~np.isnan(expression)
    patterns, group = np.unique(known, axis=0, return_inverse=True)
    found = np.empty((len(expression), centroids.shape[1]))
    for number, genes in enumerate(patterns):
        rows = np.flatnonzero(group.ravel() == number)
        sides = expression[np.ix_(rows, genes)], centroids[genes].T
        if method == "spearman":
            sides = tuple(rankdata(side, axis=1) for side in sides)
        centred = [side - side.mean(axis=1, keepdims=True) for side in sides]
        with np.errstate(invalid="ignore"):  # no spread: NaN
            own, of_class = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in centred)
        found[rows] = own @ of_class.T
    return found


def _annotated(bulk: AnnData, table: pd.DataFrame, mapping: dict, key: str, copy: bool, **parameters):
    if copy:
        bulk = bulk.copy()
    bulk.obs[key] = table["label"]
    bulk.obs[f"{key}_margin"] = table["margin"]
    bulk.obs[f"{key}_unsure"] = table["unsure"]
    bulk.uns.setdefault(keys.RECORD, {})[key] = parameters | mapping
    table.attrs |= mapping
    return (table, bulk) if copy else table


def _receptor(bulk: AnnData, receptor_key: str | None) -> np.ndarray:
    """1 for ER-positive, 0 for ER-negative, NaN for unknown patients."""
    if receptor_key is None:
        return np.full(bulk.n_obs, np.nan)
    if receptor_key not in bulk.obs:
        raise DataError(
            f"obs has no column {receptor_key!r}; it has {', '.join(map(str, bulk.obs.columns[:12]))}. "
            "Pass receptor_key=... or leave it out."
        )
    words = as_text(bulk.obs[receptor_key]).str.strip().str.lower()
    known = words.dropna()
    strange = sorted(set(known) - POSITIVE - NEGATIVE)
    if strange:
        raise DataError(
            f"obs[{receptor_key!r}] holds {', '.join(strange[:5])}: not understood as a receptor status. Use "
            "True and False, 1 and 0, or 'positive' and 'negative', and leave unknown ones missing."
        )
    return np.where(words.isna(), np.nan, words.isin(POSITIVE).astype(float))


def _medians(expression: np.ndarray, centre, positive: np.ndarray, genes: pd.Index) -> np.ndarray:
    """What to subtract from each centroid gene; NaN where a gene is not measured."""
    measured = ~np.isnan(expression).all(axis=0)
    if isinstance(centre, pd.Series):
        return _given_medians(centre, genes, measured)
    if centre not in ("median", "balanced"):
        raise DataError(f'centre={centre!r}: "median", "balanced" or a Series of reference medians by gene.')
    medians = np.full(expression.shape[1], np.nan)
    if centre == "balanced":
        n_positive, n_negative = int((positive == 1).sum()), int((positive == 0).sum())
        if min(n_positive, n_negative) < FEWEST_TO_CENTRE:
            raise DataError(
                f"{n_positive} ER-positive and {n_negative} ER-negative patients: {FEWEST_TO_CENTRE} of each "
                "are needed for balanced medians (name the column with receptor_key). Pass the medians of a "
                "reference cohort as centre."
            )
        weight = np.select([positive == 1, positive == 0], [1 / n_positive, 1 / n_negative], 0.0)
        medians[measured] = [_weighted_median(values, weight) for values in expression[:, measured].T]
        return medians
    if len(expression) < FEWEST_TO_CENTRE:
        raise DataError(
            f"{len(expression)} patients cannot be centred on their own median; {FEWEST_TO_CENTRE} are "
            f"needed, {ENOUGH_TO_CENTRE} are better. Pass the medians of a reference cohort on the same "
            'platform as centre (a Series by gene; pam50 on that cohort gives them in attrs["medians"]).'
        )
    medians[measured] = np.nanmedian(expression[:, measured], axis=0)
    return medians


def _given_medians(centre: pd.Series, genes: pd.Index, measured: np.ndarray) -> np.ndarray:
    if centre.index.duplicated().any():
        raise DataError("the reference medians name a gene more than once.")
    renamed = _renamed([str(gene) for gene in genes], centre.index)
    medians = centre.reindex([renamed.get(str(gene), str(gene)) for gene in genes]).to_numpy(float)
    lacking = genes[measured & np.isnan(medians)]
    if len(lacking):
        raise DataError(
            f"the reference medians lack {len(lacking)} measured genes: {', '.join(map(str, lacking[:5]))}. "
            "Give a median for each, or leave these genes out of the data."
        )
    return medians


def _weighted_median(values: np.ndarray, weight: np.ndarray) -> float:
    known = ~np.isnan(values) & (weight > 0)
    order = np.argsort(values[known])
    values, reached = values[known][order], np.cumsum(weight[known][order])
    half = reached[-1] / 2
    low = np.searchsorted(reached, half * (1 - 1e-12))
    high = np.searchsorted(reached, half * (1 + 1e-12), side="right")
    return float(values[low] + values[min(high, len(values) - 1)]) / 2


def _warn_of_cohort(n_patients: int, centre: str, share: float, receptor_key: str | None) -> None:
    said = []
    if n_patients < ENOUGH_TO_CENTRE:
        said.append(f"medians of {n_patients} patients are unstable, {ENOUGH_TO_CENTRE} or more are wanted")
    if centre == "median" and np.isnan(share):
        said.append(
            "the receptor status is not known, so nothing says whether the cohort's median is that of a "
            "mixed cohort (pass receptor_key)"
        )
    elif centre == "median" and not BALANCED[0] <= share <= BALANCED[1]:
        said.append(
            f"{share:.0%} of the patients with a known receptor status are ER-positive, and centring on the "
            f"cohort's median holds for {BALANCED[0]:.0%} to {BALANCED[1]:.0%}: subtypes are shifted towards "
            f"{'ER-negative' if share > BALANCED[1] else 'luminal'} ones. Use centre='balanced', or the "
            "medians of a reference cohort"
        )
    if said:
        warnings.warn("PAM50: " + "; ".join(said) + ".", PmLabWarning, stacklevel=3)
