"""What any drug-response model has to beat without looking at expression, and the protocol all models keep.

The protocol of the baselines and of the network, which a model of one's own can keep too:

``fit(screen, validation=None) -> self``
    ``screen`` is an AnnData as :func:`check_screen` describes it that holds all that may be learnt from, and
    nothing else (``fold.take(screen, "train+validation")``): values that are held out are NaN, lines and
    drugs without any value are not there; ``uns["response_only"]`` has the lines without expression that the
    split allows. ``validation`` marks, in booleans of the shape of ``screen.obsm["response"]``, the pairs
    that the split sets apart, by line, tissue, compound or pair, for tuning and early stopping. Once tuned, a
    model may learn from them too. None: the model sets pairs apart itself where it has to. (The baselines
    tune on more lines than these, at random: in LTO as well, where the marked ones alone are whole tissues.)

``predict_matrix(adata, drugs=None) -> DataFrame, lines × drugs``
    Predicted ln IC50 (µM), float, no NaN, rows as ``adata.obs_names``. ``adata`` needs ``X`` alone, with the
    genes of training; tissue and modalities are used if they are there, responses never. A line of training
    is known by its name, so that a model may use its mean (LPO, LDO). ``drugs`` is a table by drug with
    ``cid`` and ``smiles`` as :func:`drug_table` returns it, whose rows are predicted in their order, drugs
    that were not in training among them (LDO); None: the drugs of training.

``name``
    What the model is called in tables; without it, the name of its class. :func:`benchmark` fits a deep copy
    in each fold, so a model is given unfitted and its seed is its own argument.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from pm_lab import checks, keys
from pm_lab.drug_response.contract import screen_of
from pm_lab.drug_response.effects import Effects, asked, average_effects, responses_of
from pm_lab.errors import DataError

MORE_PARTS = 4
SHRINKAGE = (4.0, 1.0, 2.0, 8.0, 16.0, 32.0)  # lines' worth of evidence that a tissue is like any other


class DrugMean:
    """The mean ln IC50 of each drug, whatever the line. A drug that was not seen gets the overall mean.

    Examples
    --------
    >>> import pm_lab as pm
    >>> screen = pm.datasets.simulate_cohort(n_cells=600).screen
    >>> predicted = pm.drug_response.DrugMean().fit(screen).predict_matrix(screen)
    >>> bool((predicted.nunique() == 1).all())
    True
    """

    name = "drug_mean"

    def fit(self, screen, validation=None) -> DrugMean:
        effects = average_effects(responses_of(screen))
        self.effects_ = Effects(effects.overall, pd.Series(dtype=float), effects.drug)
        return self

    def predict_matrix(self, adata, drugs: pd.DataFrame | None = None) -> pd.DataFrame:
        return _table(self.effects_, adata, drugs)


class MeanEffects:
    """Overall mean + what the drug's mean and the line's mean add to it; what was not seen adds nothing.

    For a line that was not in training it is the drug mean. Predictions are normalised by this model: see
    :func:`score_responses`.

    Source
    ------
    DrEval's naive mean effects, https://github.com/daisybio/drevalpy.

    Examples
    --------
    >>> import pm_lab as pm
    >>> screen = pm.datasets.simulate_cohort(n_cells=600).screen
    >>> pm.drug_response.MeanEffects().fit(screen).predict_matrix(screen[:2]).shape
    (2, 60)
    """

    name = "mean_effects"

    def fit(self, screen, validation=None) -> MeanEffects:
        self.effects_ = average_effects(responses_of(screen))
        return self

    def predict_matrix(self, adata, drugs: pd.DataFrame | None = None) -> pd.DataFrame:
        return _table(self.effects_, adata, drugs)


class TissueDrugMean:
    """The drug mean + how the lines of the tissue differ from it, shrunk towards 0, + the line's own level.

    The mean difference of ``n`` lines counts as ``n / (n + shrinkage)`` of itself; ``shrinkage`` is tuned on
    the validation part. A tissue that was not seen or is "unknown" adds nothing, nor does a line that was not
    in training; the level of one that was is the mean of what drug and tissue leave.

    Attributes
    ----------
    shrinkage_ : lines' worth of evidence for no difference.

    Raises
    ------
    DataError
        ``obs`` has no tissue.

    Examples
    --------
    >>> import pm_lab as pm
    >>> screen = pm.datasets.simulate_cohort(n_cells=600).screen
    >>> pm.drug_response.TissueDrugMean().fit(screen).predict_matrix(screen[:2]).shape
    (2, 60)
    """

    name = "tissue_drug_mean"

    def __init__(self, seed: int = 0):
        self.seed = seed

    def fit(self, screen, validation=None) -> TissueDrugMean:
        response, tissue = responses_of(screen), _tissue(screen)
        errors = dict.fromkeys(SHRINKAGE, 0.0)
        for held in tuning_parts(response, validation, self.seed):
            for shrinkage in SHRINKAGE:
                self._learn(response.mask(held), tissue, shrinkage)
                error = (response - self._predict(tissue, response.columns)) ** 2
                errors[shrinkage] += float(np.nansum(error.to_numpy()[held]))
        self.shrinkage_ = min(errors, key=errors.get)
        self._learn(response, tissue, self.shrinkage_)
        return self

    def _learn(self, response: pd.DataFrame, tissue: pd.Series, shrinkage: float) -> None:
        average = average_effects(response)
        rest = response - average.overall - average.drug
        by_tissue = rest.groupby(tissue.where(tissue != keys.UNKNOWN))
        self.shift_ = by_tissue.sum() / (by_tissue.count() + shrinkage)
        self.effects_ = Effects(average.overall, pd.Series(dtype=float), average.drug)
        line = (response - self._predict(tissue, response.columns)).mean(axis=1).dropna()
        self.effects_ = Effects(average.overall, line, average.drug)

    def _predict(self, tissue: pd.Series, drugs: pd.Index) -> pd.DataFrame:
        shift = self.shift_.reindex(index=tissue, columns=drugs).fillna(0.0).to_numpy()
        return pd.DataFrame(self.effects_.table(tissue.index, drugs) + shift, tissue.index, drugs)

    def predict_matrix(self, adata, drugs: pd.DataFrame | None = None) -> pd.DataFrame:
        return self._predict(_tissue(screen_of(adata)), asked(drugs, self.effects_.drug.index))


def set_apart(response: pd.DataFrame, validation, seed: int) -> np.ndarray:
    """The pairs to tune with: those marked, else all of a tenth of the lines.

    Raises
    ------
    DataError
        ``validation`` does not fit the responses, or leaves nothing to learn from or nothing to tune with.
    """
    known = response.notna().to_numpy()
    if validation is None:
        held = np.zeros(known.shape, bool)
        n_lines = len(held)
        held[np.random.default_rng(seed).permutation(n_lines)[: max(1, n_lines // 10)]] = True
    else:
        held = np.asarray(validation)
        if held.shape != known.shape or held.dtype != bool:
            raise DataError(
                f"validation is {held.dtype} of shape {held.shape}: booleans of the shape of the responses, "
                f"{known.shape}, are needed."
            )
    if not (known & held).any() or not (known & ~held).any():
        raise DataError(
            f"of {int(known.sum()):,} values, {int((known & held).sum()):,} are for validation: some must "
            "be, and some must be left to learn from."
        )
    return held


def tuning_parts(response: pd.DataFrame, validation, seed: int) -> list[np.ndarray]:
    """Parts to tune with, each held out in turn: one of a tenth of the data says little of a penalty.

    The first is that of :func:`set_apart`. Where it is of whole lines, up to four of as many other lines
    follow, at random. In LTO they are therefore of tissues that are learnt from too, and only the first is of
    tissues left out: more parts tell more of a penalty than parts of whole tissues, of which there are few.
    """
    held = set_apart(response, validation, seed)
    known = response.notna().to_numpy()
    lines = (held & known).any(axis=1)
    if (known & ~held)[lines].any():
        return [held]
    others = np.random.default_rng(seed).permutation(np.flatnonzero(~lines))
    n = int(lines.sum())
    parts = [held]
    for start in range(0, min(MORE_PARTS * n, len(others) - n), n):
        part = np.zeros_like(held)
        part[others[start : start + n]] = True
        parts.append(part)
    return [part for part in parts if (part & known).any() and (known & ~part).any()]


def _tissue(adata) -> pd.Series:
    return checks.obs_column(screen_of(adata), keys.TISSUE).astype(str)


def _table(effects: Effects, adata, drugs: pd.DataFrame | None) -> pd.DataFrame:
    lines = screen_of(adata).obs_names
    names = asked(drugs, effects.drug.index)
    return pd.DataFrame(effects.table(lines, names), lines, names)
