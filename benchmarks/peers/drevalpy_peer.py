"""drevalpy's models on one fold; called by drug_response.py with a Python that has drevalpy installed.

    PYTHON peers/drevalpy_peer.py --version
    PYTHON peers/drevalpy_peer.py RandomForest fold.npz predictions.npz
    PYTHON peers/drevalpy_peer.py SimpleNeuralNetwork fold.npz predictions.npz

drevalpy is under the GPL and lives in an environment of its own: this script calls it and takes nothing from
pm_lab, files are all that passes between the two.

``fold.npz``: ``lines``, ``expression`` (lines × genes), ``drugs``, ``fingerprints`` (drugs × bits),
``response`` (lines × drugs; NaN where not measured, and for all lines of the test part), ``validation`` and
``test`` (booleans, lines). ``predictions.npz``: ``predicted`` (test lines × drugs), ``seconds`` (fit
and predict), ``peak_gb`` (largest resident memory of this process), ``hyperparameters`` (JSON).

What is done is what ``drevalpy`` itself does in a fold: hyperparameters by RMSE on the validation lines, of
which a network that stops early keeps a quarter for stopping; then a fit on training and validation lines.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

# What of drevalpy's grid is tried; all else has one value in it. The whole grid takes hours: left is the one
# that had the lowest error on validation lines of fold 0 (LCO, seed 0; one line in four, one drug in ten).
TRIED = {
    "RandomForest": {"max_depth": [30]},  # of 5, 10, 30: RMSE 1.654, 1.628, 1.615
    # of [32, 16, 8, 4], [128, 64, 32], [64, 64, 32] and this: RMSE 1.876, 1.702, 1.724, 1.654
    "SimpleNeuralNetwork": {"units_per_layer": [[1024, 128, 64, 16]]},
}
SEED = 42  # drevalpy's own


def grid(model) -> list[dict]:
    """The part of drevalpy's grid that is tried, of features that are handed over."""
    tried = TRIED[model.get_model_name()]
    return [
        {**one, "gene_list": None}
        for one in model.get_hyperparameter_set()
        if all(one[name] in values for name, values in tried.items())
    ]


def pairs(fold, of_lines: np.ndarray):
    """The pairs of some lines as drevalpy's table of responses; of test lines all pairs."""
    from drevalpy.datasets.dataset import DrugResponseDataset

    response = fold["response"]
    wanted = of_lines[:, None] & (np.isfinite(response) | fold["test"][:, None])
    line, drug = np.nonzero(wanted)
    return DrugResponseDataset(
        response=response[line, drug],
        cell_line_ids=fold["lines"][line],
        drug_ids=fold["drugs"][drug],
        dataset_name="fold",
    )


def features(fold) -> dict:
    from drevalpy.datasets.dataset import FeatureDataset

    def dataset(names, values, view):
        rows = values.astype(float)
        return FeatureDataset({str(name): {view: row} for name, row in zip(names, rows, strict=True)})

    return {
        "cl_features": dataset(fold["lines"], fold["expression"], "gene_expression"),
        "drug_features": dataset(fold["drugs"], fold["fingerprints"], "fingerprints"),
    }


def fitted(model, fold) -> tuple[np.ndarray, dict]:
    """Predictions of the test lines × drugs, and the hyperparameters that were best on validation lines."""
    from drevalpy.datasets.dataset import split_early_stopping_data
    from drevalpy.experiment import train_and_predict

    views, stopping = features(fold), None
    training = pairs(fold, ~fold["validation"] & ~fold["test"])
    validation, test = pairs(fold, fold["validation"]), pairs(fold, fold["test"])
    if model.early_stopping:
        validation, stopping = split_early_stopping_data(validation, test_mode="LCO")
    best = tuned(model, training, validation, stopping, views)
    training.add_rows(validation)
    training.shuffle(random_state=SEED)
    found = train_and_predict(model(), dict(best), "", training, test, stopping, **views)
    return found.predictions.reshape(-1, len(fold["drugs"])), best


def tuned(model, training, validation, stopping, views) -> dict:
    """The hyperparameters with the lowest error on validation lines; of one choice, that."""
    from drevalpy.experiment import train_and_predict

    choices, errors = grid(model), []
    if len(choices) == 1:
        return choices[0]
    for chosen in choices:
        found = train_and_predict(model(), dict(chosen), "", training, validation, stopping, **views)
        errors.append(float(np.sqrt(np.mean((found.predictions - found.response) ** 2))))
        print(f"validation lines: RMSE {errors[-1]:.4f} with {chosen}", flush=True)
    return choices[int(np.argmin(errors))]


def main() -> None:
    if sys.argv[1:] == ["--version"]:
        print(version("drevalpy"))
        return
    name, read, write = sys.argv[1:]
    from drevalpy.experiment import seed_everything
    from drevalpy.models import MODEL_FACTORY

    with np.load(read, allow_pickle=False) as file:
        fold = dict(file)
    seed_everything(SEED)
    start = time.perf_counter()
    predicted, best = fitted(MODEL_FACTORY[name], fold)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    # a file object: np.savez would add a suffix to another name
    with Path(write).open("wb") as file:
        np.savez(file, predicted=predicted, seconds=seconds, peak_gb=peak, hyperparameters=json.dumps(best))


if __name__ == "__main__":
    main()
