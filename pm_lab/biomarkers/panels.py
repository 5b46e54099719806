"""A panel: genes with weights, learnt once, kept as JSON, and applied elsewhere without refitting."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from pm_lab import checks
from pm_lab.biomarkers import fingerprints, panel_file
from pm_lab.biomarkers.features import Features, prepare, read_features
from pm_lab.biomarkers.learners import Settings, Training, fit_elastic_net
from pm_lab.biomarkers.matching import find_genes, standardised_expression
from pm_lab.biomarkers.stability import path_order
from pm_lab.biomarkers.transfer import (
    refuse_late_expression,
    refuse_without_score,
    same_outcome,
    warn_of_same_patients,
)
from pm_lab.errors import DataError
from pm_lab.validation import Outcome, patients_of, read_outcome, score, score_each, splits

RIDGE = 0.05  # penalty a patient on the weights of a panel of fixed genes
SIZES = (1, 2, 3, 5, 8, 12, 20, 30)


@dataclass
class Panel:
    """Weights of genes on the scale of standard deviations, with what is needed to apply them.

    Attributes
    ----------
    genes : names in the discovery cohort. ``identifiers`` holds their ids there (``symbol``, ``entrez``).
    weights : change of the log hazard, of the log odds, or of the number, for one SD of a gene.
    means, sds : of the discovery cohort, for cohorts on the same platform and scale.
    kind, outcome, unit, positive : what is predicted.
    record : how it was made. ``missing`` counts the values that were missing and filled in with the median.
    patients : salted hashes of the names of the patients it was fitted to and, from two genes on, of their
        rounded expression of the first genes, so that meeting them again is noticed (:meth:`own_patients`).
        No name can be read from them, but who knows a name can ask whether it is among them, and expression
        of two or three genes can be guessed. ``save(path, patients=False)`` leaves them out.
    """

    name: str
    kind: str
    outcome: str
    genes: list[str]
    weights: list[float]
    means: list[float]
    sds: list[float]
    intercept: float = 0.0
    unit: str = ""
    positive: str = ""
    identifiers: dict[str, list[str]] = field(default_factory=dict)
    record: dict = field(default_factory=dict, repr=False)
    patients: dict = field(default_factory=dict, repr=False)

    def predict(self, cohort, scale: str = "panel", match: str | None = None) -> pd.Series:
        """Score of each patient: higher is earlier event, likelier class, or larger number.

        Parameters
        ----------
        cohort : patients × genes.
        scale : "panel", means and SDs of the discovery cohort (same platform and processing), or "cohort",
            those of the cohort given (another platform; needs a whole cohort of like patients, no outcome).
        match : as in :func:`external_validation`.

        Returns
        -------
        Series by patient. Missing genes and values count as average; a patient of whom less than half of the
        panel's weight is measured has NaN.

        Raises
        ------
        DataError
            When less than half of the panel's weight is measured in the cohort.

        Warns
        -----
        PmLabWarning
            Missing values, and patients without a score, with counts.
        """
        X, _ = standardised_expression(self, checks.bulk_of(cohort), scale, match)
        raw = X.to_numpy() @ np.asarray(self.weights) + self.intercept
        if self.kind == "binary":
            raw = 1 / (1 + np.exp(-np.clip(raw, -30, 30)))
        return pd.Series(raw, index=X.index, name=self.name)

    def genes_in(self, cohort) -> list[str]:
        """Names in ``var`` of what stands for the panel's genes in a cohort."""
        adata = checks.bulk_of(cohort)
        places, _ = find_genes(self.genes, self.identifiers, adata, None)
        return [str(name) for place in places for name in adata.var_names[place]]

    def own_patients(self, cohort) -> pd.Index:
        """Names of the patients of a cohort whom the panel was fitted to, by name or by expression profile.

        Not found are patients who were renamed and processed anew, and all of them where the panel holds no
        hashes.
        """
        return fingerprints.same_patients(self, checks.bulk_of(cohort))

    def save(self, path: str | Path, patients: bool = True) -> None:
        """Write JSON: under another name first, then renamed.

        ``patients=False`` leaves out the hashes of the patients: the file then says nothing of single
        patients, and validation on the same patients goes unnoticed.
        """
        content = asdict(self) if patients else asdict(self) | {"patients": {}}
        panel_file.write(content, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Panel:
        """Read what :meth:`save` wrote, and check it. Nothing in the file is run.

        Raises
        ------
        DataError
            No such file, no panel, or a damaged one: what is wrong with which part.
        """
        return cls(**panel_file.read(Path(path)))


def fit_panel(
    cohort,
    outcome: str,
    name: str = "panel",
    seed: int = 0,
    *,
    genes=None,
    batch_key: str | None = None,
    screen: int | None = None,
    l1_ratio: float = 0.5,
    patient_key: str | None = None,
    positive: str | None = None,
) -> Panel:
    """Fit an elastic net to a whole discovery cohort, its penalty tuned by cross-validation there.

    How good it is must be asked of :func:`nested_cross_validate` and of another cohort
    (:func:`external_validation`), not of this one.

    Parameters
    ----------
    genes : candidates, such as those that are measured in the validation cohorts too.
    cohort, outcome, seed, batch_key, screen, patient_key, positive : as in :func:`nested_cross_validate`.

    Examples
    --------
    >>> import pm_lab as pm
    >>> panel = pm.biomarkers.fit_panel(pm.datasets.load("gse7390"), "dmfs")
    >>> panel.kind, 0 < len(panel.genes) <= 76
    ('survival', True)
    """
    adata = checks.bulk_of(cohort)
    target = read_outcome(adata, outcome, positive)
    features = read_features(adata, target, genes, batch_key=batch_key)
    settings = Settings(l1_ratios=(l1_ratio,), screen=screen, seed=seed)
    data = Training(features.genes, features.batch, target, patients_of(adata, patient_key), settings)
    fitted = fit_elastic_net(data)
    kept = np.arange(len(features.names)) if fitted.preparation.kept is None else fitted.preparation.kept
    chosen = kept[fitted.weights != 0]
    if not len(chosen):
        raise DataError(
            f"the elastic net takes no gene: cross-validation in the {len(target)} patients finds nothing "
            f"that predicts {outcome!r}. That is a result; a panel would be noise."
        )
    record = fitted.parameters | {
        "n_candidates": len(features.names),
        "screen": screen,
        "batch_key": batch_key,
        "missing": _missing(features),
    }
    return _panel(
        name,
        adata,
        target,
        features.names[chosen],
        fitted.weights[fitted.weights != 0],
        fitted.preparation.means[chosen],
        fitted.preparation.sds[chosen],
        fitted.intercept,
        record | {"method": "elastic net", "seed": seed},
    )


def _panel(name, adata, outcome: Outcome, genes, weights, means, sds, intercept, record) -> Panel:
    from importlib.metadata import version

    var = adata.var.loc[genes]
    identifiers = {
        str(column): var[column].astype(str).tolist() for column in ("symbol", "entrez") if column in var
    }
    source = adata.uns.get("pm_lab", {}).get("load", {}).get("name", "")
    record = record | {
        "cohort": str(source),
        "n_patients": len(outcome),
        "n_events": outcome.n_events,
        "pm_lab": version("pm_lab"),
    }
    panel = Panel(
        name,
        outcome.kind,
        outcome.name,
        [str(gene) for gene in genes],
        [float(value) for value in weights],
        [float(value) for value in means],
        [float(value) for value in sds],
        float(intercept),
        outcome.unit,
        outcome.positive,
        identifiers,
        record,
    )
    panel.patients = fingerprints.fingerprints(panel, adata)
    return panel


def _missing(features: Features) -> dict[str, int]:
    """How many values of the candidates are missing, in how many genes and patients."""
    missing = np.isnan(features.genes)
    return {
        "values": int(missing.sum()),
        "genes": int(missing.any(axis=0).sum()),
        "patients": int(missing.any(axis=1).sum()),
    }


def minimal_panel(
    cohort,
    outcome: str,
    sizes=SIZES,
    n_splits: int = 5,
    n_repeats: int = 3,
    seed: int = 0,
    *,
    name: str = "minimal panel",
    genes=None,
    batch_key: str | None = None,
    patient_key: str | None = None,
    positive: str | None = None,
) -> tuple[Panel, pd.DataFrame]:
    """The smallest panel that is within one standard error of the best.

    In every training part genes are ordered by when they enter the elastic-net path, and a ridge regression
    on the first k is judged on the test part, for each size k.

    Parameters
    ----------
    sizes : numbers of genes to try.
    cohort, outcome, n_splits, n_repeats, seed, genes, batch_key, patient_key, positive : as in
        :func:`nested_cross_validate`.

    Returns
    -------
    panel : Panel
        The genes and weights from all patients, at the chosen size.
    table : DataFrame by ``n_genes``: mean of the metric over folds, ``standard_error``, ``chosen``. The
        standard error is that of the mean over the folds of one repeat, from the spread of folds within
        repeats: further repeats make it steadier, not smaller, as they are of the same patients. The score
        at the chosen size is slightly optimistic, since the size was chosen by it.

    References
    ----------
    The one-standard-error rule: Breiman 1984, Classification and Regression Trees, section 3.4.3.

    Examples
    --------
    >>> import pm_lab as pm
    >>> panel, table = pm.biomarkers.minimal_panel(pm.datasets.load("gse7390"), "dmfs", sizes=[1, 3, 10])
    >>> len(panel.genes) in (1, 3, 10)
    True
    """
    adata = checks.bulk_of(cohort)
    target = read_outcome(adata, outcome, positive)
    patients = patients_of(adata, patient_key)
    features = read_features(adata, target, genes, batch_key=batch_key)
    sizes = sorted({checks.whole_number(size, "sizes") for size in np.atleast_1d(sizes)})
    sizes = [size for size in sizes if size <= len(features.names)]
    if not sizes:
        raise DataError(f"sizes hold no number between 1 and the {len(features.names):,} genes.")
    rows = []
    for split in splits(target, patients, n_splits, n_repeats, seed):
        batch = (
            [None, None]
            if features.batch is None
            else [features.batch[split.train], features.batch[split.test]]
        )
        learn, judged = target.take(split.train), target.take(split.test)
        preparation, X = prepare(features.genes[split.train], batch[0], learn)
        order = path_order(X, learn, sizes[-1], 0.5)
        Z = preparation(features.genes[split.test], batch[1])
        rows.append([_judge(X, learn, Z, judged, order[:size]) for size in sizes])
    mean = np.nanmean(rows, axis=0)
    of_repeat = np.nanvar(np.reshape(rows, (n_repeats, n_splits, len(sizes))), axis=1, ddof=1)
    error = np.sqrt(of_repeat.mean(axis=0) / n_splits)
    best = int(mean.argmax())
    chosen = int(np.argmax(mean >= mean[best] - error[best]))
    table = pd.DataFrame(
        {target.metric: mean, "standard_error": error, "chosen": np.arange(len(sizes)) == chosen},
        index=pd.Index(sizes, name="n_genes"),
    )
    preparation, X = prepare(features.genes, features.batch, target)
    order = np.sort(path_order(X, target, sizes[chosen], 0.5))
    weights, intercept = _ridge(X[:, order], target)
    record = {
        "method": "ridge on the first genes of the elastic-net path",
        "seed": seed,
        "batch_key": batch_key,
    }
    panel = _panel(
        name,
        adata,
        target,
        features.names[order],
        weights,
        preparation.means[order],
        preparation.sds[order],
        intercept,
        record | {"n_candidates": len(features.names), "missing": _missing(features)},
    )
    return panel, table


def random_panels(
    discovery,
    cohort,
    outcome: str,
    size: int,
    n_panels: int = 500,
    seed: int = 0,
    *,
    genes=None,
    scale: str = "panel",
    match: str | None = None,
    positive: str | None = None,
) -> pd.Series:
    """What panels of random genes score in another cohort: what a discovered panel has to beat.

    Each panel draws ``size`` of the candidates by chance, learns their weights in the discovery cohort by
    ridge regression, and is judged in the other cohort, where nothing is refitted. Where one process, such as
    proliferation, moves most genes and the outcome, almost any genes will do.

    Parameters
    ----------
    discovery, cohort : patients × genes; other patients in each.
    outcome : endpoint or column of both cohorts.
    size : genes in each panel, as many as the panel has that is to be compared.
    genes : candidates; those that are not measured in ``cohort`` are not drawn.
    scale, match : as in :func:`external_validation`.
    positive : the level that counts as 1 in both cohorts; by default that of ``discovery``.

    Returns
    -------
    Series of the metric, one entry a panel. ``attrs``: ``size``, ``n_candidates``, ``seed``.

    Raises
    ------
    DataError, DesignError
        When fewer than ``size`` candidates are measured; what :func:`external_validation` refuses.

    Warns
    -----
    PmLabWarning
        When both cohorts hold the same patients.

    References
    ----------
    Venet 2011, doi:10.1371/journal.pcbi.1002240.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.load("gse7390")
    >>> first, second = cohort[:120].copy(), cohort[120:].copy()
    >>> scores = pm.biomarkers.random_panels(first, second, "dmfs", size=5, n_panels=20)
    >>> len(scores), scores.name
    (20, 'c_index')
    """
    adata, judged = checks.bulk_of(discovery), checks.bulk_of(cohort)
    target = read_outcome(adata, outcome, positive)
    held_out = same_outcome(target.kind, target.positive, judged, outcome, None)
    features = read_features(adata, target, genes)
    preparation, X = prepare(features.genes, None, target)
    n = len(features.names)
    candidates = _panel(
        "candidates", adata, target, features.names, np.ones(n), preparation.means, preparation.sds, 0.0, {}
    )
    refuse_late_expression(held_out, judged, candidates.genes_in(judged))
    warn_of_same_patients("panels of random genes", candidates.own_patients(judged), judged.n_obs)
    Z, mapping = standardised_expression(candidates, judged, scale, match)
    refuse_without_score(Z.iloc[:, 0])
    measured, Z = np.flatnonzero(mapping["n_probes"] > 0), Z.to_numpy()
    if not 0 < size <= len(measured):
        raise DataError(f"size={size}: {len(measured)} of the {n:,} candidates are measured in the cohort.")
    rng = np.random.default_rng(seed)
    scores = np.empty((len(Z), n_panels))
    for place in range(n_panels):
        drawn = rng.choice(measured, size, replace=False)
        weights, intercept = _ridge(X[:, drawn], target)
        scores[:, place] = Z[:, drawn] @ weights + intercept
    found = pd.Series(score_each(held_out, scores), name=held_out.metric)
    found.attrs = {"size": size, "n_candidates": len(measured), "seed": seed}
    return found


def _judge(X, learn: Outcome, Z, judged: Outcome, order: np.ndarray) -> float:
    weights, intercept = _ridge(X[:, order], learn)
    return score(judged, Z[:, order] @ weights + intercept)


def _ridge(X: np.ndarray, outcome: Outcome) -> tuple[np.ndarray, float]:
    penalty = RIDGE * len(X)
    if outcome.kind == "survival":
        from sksurv.linear_model import CoxPHSurvivalAnalysis

        return CoxPHSurvivalAnalysis(alpha=penalty).fit(X, outcome.structured()).coef_, 0.0
    from sklearn.linear_model import LogisticRegression, Ridge

    model = LogisticRegression(C=1 / penalty) if outcome.kind == "binary" else Ridge(alpha=penalty)
    fitted = model.fit(X, outcome.values)
    return np.ravel(fitted.coef_), float(np.ravel(fitted.intercept_)[0])
