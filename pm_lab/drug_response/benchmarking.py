"""Models on the same folds of a screen: how good, how fast, how large."""

from __future__ import annotations

import copy
import inspect
import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab import checks, keys
from pm_lab.drug_response.baselines import MeanEffects
from pm_lab.drug_response.contract import check_screen, first, screen_of
from pm_lab.drug_response.metrics import METRICS, PREDICTIONS, score_responses
from pm_lab.drug_response.screen import drug_table
from pm_lab.drug_response.splits import Fold, check_folds
from pm_lab.drug_response.splits import folds as cut
from pm_lab.errors import DataError

if TYPE_CHECKING:
    from anndata import AnnData

NAMES = (
    "network",
    "kernel_ridge",
    "pca_ridge",
    "random_forest",
    "multitask_forest",
    "tissue_drug_mean",
    "mean_effects",
    "drug_mean",
)
LOOK_EVERY = 0.005  # seconds between two looks at the memory


@dataclass(frozen=True, eq=False)
class Benchmark:
    """What :func:`benchmark` found.

    Attributes
    ----------
    metrics : DataFrame, one row a model and fold: ``model``, ``fold``, the metrics of
        :func:`score_responses`, ``seconds`` (fit and predict), ``peak_gb``.
    predictions : DataFrame, one row a model and test pair: ``model``, ``fold``, ``line``, ``drug``,
        ``observed``, ``predicted`` (ln IC50, µM, or area under the curve).
    split : "LPO", "LCO", "LTO" or "LDO".
    seed : of the folds.
    test_share : values tested / values learnt from, mean over the folds.
    measure : what the responses are: "ln_ic50" (µM) or "auc".
    """

    metrics: pd.DataFrame
    predictions: pd.DataFrame
    split: str
    seed: int
    test_share: float
    measure: str = "ln_ic50"

    def summary(self) -> pd.DataFrame:
        """Means over the folds by model, best first, and the spread of the main metric.

        Returns
        -------
        DataFrame by model: the metrics, ``normalized_pearson_sd`` (SD between folds), ``seconds`` (sum over
        the folds) and ``peak_gb`` (largest).
        """
        grouped = self.metrics.groupby("model", sort=False)
        table = grouped[list(METRICS)].mean()
        place = table.columns.get_loc("normalized_pearson") + 1
        table.insert(place, "normalized_pearson_sd", grouped["normalized_pearson"].std())
        table["seconds"], table["peak_gb"] = grouped["seconds"].sum(), grouped["peak_gb"].max()
        return table.sort_values("rmse", kind="stable")


def benchmark(
    models: str | Iterable | Mapping[str, object],
    screen,
    split: str = "LCO",
    n_splits: int = 5,
    seed: int = 0,
    folds: Sequence[Fold] | None = None,
    n_jobs: int = 1,
) -> Benchmark:
    """Fit models on each fold of a split and judge them on what was left out.

    Every model learns from the training and validation part of the same folds; of the test part it is given
    the lines without their responses.

    Parameters
    ----------
    models : names ("network", "kernel_ridge", "pca_ridge", "random_forest", "multitask_forest",
        "tissue_drug_mean", "mean_effects", "drug_mean"), unfitted objects that keep the protocol of
        :mod:`pm_lab.drug_response.baselines`, or both; or a dict of name → object.
    screen : as :func:`check_screen` describes it, or a simulated Cohort.
    split : "LPO", "LCO", "LTO" or "LDO", cut by :func:`folds`.
    n_splits : number of folds.
    seed : of the folds, and of models given by name.
    folds : folds that were made or loaded before, or by hand; ``split`` and ``n_splits`` then do not count.
    n_jobs : processes that share models and folds. With several, all is done sooner, but a model is slower
        than alone, and ``seconds`` say so.

    Returns
    -------
    Benchmark
        ``metrics``, ``predictions`` and ``summary()``. ``seconds`` are those of fit and predict, without
        imports where an earlier fold made them. ``peak_gb`` is the largest resident memory of the process
        meanwhile, looked at every 5 ms: interpreter, libraries and screen are in it, and what earlier models
        left; memory of a GPU is not.

    Raises
    ------
    DataError
        Unknown or repeated names, an object without ``fit`` and ``predict_matrix`` as the protocol has them,
        predictions that do not fit the test part or are not finite, whatever :func:`folds` refuses, and
        ``folds`` in which a line (LCO), tissue (LTO), compound (LDO) or pair is both learnt from and tested.

    Source
    ------
    Protocol and metrics after DrEval, https://github.com/daisybio/drevalpy.

    Examples
    --------
    >>> import pm_lab as pm
    >>> screen = pm.datasets.simulate_cohort(n_cells=600).screen
    >>> result = pm.drug_response.benchmark(["pca_ridge", "mean_effects"], screen)
    >>> result.summary().index.tolist(), len(result.metrics)
    (['pca_ridge', 'mean_effects'], 10)
    """
    from joblib import Parallel, delayed
    from tqdm.auto import tqdm

    screen = screen_of(screen)
    named = _models(models, checks.whole_number(seed, "seed", least=0))
    check_screen(screen)
    folds = cut(screen, split, n_splits, seed) if folds is None else check_folds(folds, screen)
    jobs = [(name, model, fold) for fold in folds for name, model in named.items()]
    quiet = os.environ.get("PM_LAB_PROGRESS") == "0"
    found = Parallel(n_jobs=n_jobs, return_as="generator")(delayed(_run)(screen, *job) for job in jobs)
    found = list(tqdm(found, desc="models × folds", total=len(jobs), leave=False, disable=quiet))
    metrics, predictions = (pd.concat(parts, ignore_index=True) for parts in zip(*found, strict=True))
    order = metrics["model"].map({name: place for place, name in enumerate(named)})
    return Benchmark(
        metrics.iloc[np.lexsort((metrics["fold"], order))].reset_index(drop=True),
        predictions,
        folds[0].split,
        seed,
        float(np.mean([fold.test.sum() / (fold.train | fold.validation).sum() for fold in folds])),
        screen.uns.get(keys.RESPONSE_MEASURE, "ln_ic50"),
    )


def _models(models, seed: int) -> dict[str, object]:
    """Name → unfitted model."""
    if isinstance(models, Mapping):
        named = list(models.items())
    else:
        alone = isinstance(models, str) or hasattr(models, "fit") or not isinstance(models, Iterable)
        named = [
            (model, make_model(model, seed))
            if isinstance(model, str)
            else (getattr(model, "name", type(model).__name__), model)
            for model in ([models] if alone else models)
        ]
    if not named:
        raise DataError(f"models is empty: name some of {', '.join(NAMES)}.")
    names = [name for name, _ in named]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"{first(twice)}: several models of one name. Give a dict, such as "
            "{'narrow': model, 'wide': other}."
        )
    for name, model in named:
        problem = _unlike_the_protocol(model)
        if problem:
            raise DataError(
                f"the model {name!r} {problem}. pm_lab.drug_response.baselines says what a model must have."
            )
    return dict(named)


def _unlike_the_protocol(model) -> str:
    """What keeps an object from being a model; nothing where it is one."""
    if isinstance(model, type):
        return "is a class: make an object of it"
    for method, arguments in (("fit", ("screen", "validation")), ("predict_matrix", ("adata", "drugs"))):
        if not callable(getattr(model, method, None)):
            return f"has no {method}"
        try:
            inspect.signature(getattr(model, method)).bind(*arguments)
        except TypeError:
            return f"cannot be called as {method}({', '.join(arguments)})"
    return ""


def make_model(name: str, seed: int = 0):
    """An unfitted model by its name.

    Raises
    ------
    DataError
        There is no model of this name.

    Examples
    --------
    >>> from pm_lab.drug_response.benchmarking import make_model
    >>> make_model("kernel_ridge").name
    'kernel_ridge'
    """
    from pm_lab import drug_response as dr

    if name in ("drug_mean", "mean_effects"):
        return {"drug_mean": dr.DrugMean, "mean_effects": dr.MeanEffects}[name]()
    seeded = {
        "network": "DrugResponseModel",
        "kernel_ridge": "KernelRidge",
        "pca_ridge": "PCARidge",
        "random_forest": "RandomForest",
        "multitask_forest": "MultitaskForest",
        "tissue_drug_mean": "TissueDrugMean",
    }
    if name not in seeded:
        raise DataError(f"there is no model {name!r}: {', '.join(NAMES)}, or an object of your own.")
    return getattr(dr, seeded[name])(seed=seed)


def _run(screen: AnnData, name: str, model, fold: Fold) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The row of metrics and the predictions of one model on one fold."""
    learnt_from = fold.train | fold.validation
    training = fold.take(screen, "train+validation")
    lines, drugs = learnt_from.any(axis=1), learnt_from.any(axis=0)
    validation = fold.validation[np.ix_(lines, drugs)]
    test = fold.take(screen, "test")
    observed = test.obsm[keys.RESPONSE]
    test.obsm[keys.RESPONSE] = observed * np.nan
    expected = MeanEffects().fit(training).predict_matrix(test, drug_table(test))
    try:
        with _Watch() as watch:
            fitted = copy.deepcopy(model).fit(training, validation)
            if not hasattr(fitted, "predict_matrix"):
                raise DataError(
                    f"fit returned a {type(fitted).__name__}; it must return the model: return self."
                )
            predicted = fitted.predict_matrix(test, drug_table(test))
        scores = score_responses(observed, _checked(predicted, observed), expected)
    except Exception as error:
        error.add_note(f"This was the model {name!r} in fold {fold.number} of {fold.split}.")
        raise
    row = {"model": name, "fold": fold.number, **scores, "seconds": watch.seconds, "peak_gb": watch.peak_gb}
    return pd.DataFrame([row]), _tidy(name, fold.number, observed, predicted)


def _checked(predicted, observed: pd.DataFrame) -> pd.DataFrame:
    if not isinstance(predicted, pd.DataFrame):
        raise DataError(
            f"predict_matrix returned a {type(predicted).__name__}; a DataFrame of lines × drugs is due."
        )
    for what, asked, given in (
        ("lines", observed.index, predicted.index),
        ("drugs", observed.columns, predicted.columns),
    ):
        absent = asked[~asked.isin(given)]
        if len(absent) or given.has_duplicates:
            raise DataError(
                f"predict_matrix was asked for {len(asked):,} {what} and left {len(absent):,} of them out "
                f"({first(absent) or 'none'}), or gave some twice."
            )
    return predicted


def _tidy(name: str, fold: int, observed: pd.DataFrame, predicted: pd.DataFrame) -> pd.DataFrame:
    line, drug = np.nonzero(observed.notna().to_numpy())
    said = predicted.reindex(index=observed.index, columns=observed.columns).to_numpy(float)
    columns = (
        name,
        fold,
        observed.index.to_numpy(object)[line],
        observed.columns.to_numpy(object)[drug],
        observed.to_numpy()[line, drug],
        said[line, drug],
    )
    return pd.DataFrame(dict(zip(PREDICTIONS, columns, strict=True)))


class _Watch:
    """Seconds and largest resident memory (GB) of what runs inside."""

    def __enter__(self) -> _Watch:
        import psutil

        self._process, self._done = psutil.Process(), threading.Event()
        self._largest = self._process.memory_info().rss
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        self._start = time.perf_counter()
        return self

    def _look(self) -> None:
        while not self._done.wait(LOOK_EVERY):
            self._largest = max(self._largest, self._process.memory_info().rss)

    def __exit__(self, *error) -> None:
        self.seconds = time.perf_counter() - self._start
        self._done.set()
        self._thread.join()
        self.peak_gb = max(self._largest, self._process.memory_info().rss) / 1e9
