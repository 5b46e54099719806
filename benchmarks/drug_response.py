"""Does the network beat means, ridge regression and forests on GDSC1, on the same folds in the same run?

    python benchmarks/drug_response.py                         LCO, LPO and LDO, folds of seed 0
    python benchmarks/drug_response.py --splits LCO --seeds 1 2 3
    python benchmarks/drug_response.py --models kernel_ridge pca_ridge
    python benchmarks/drug_response.py --record                also keep the numbers in benchmarks/results
    python benchmarks/drug_response.py --peer-python PYTHON    with drevalpy, installed for that Python

525 lines × 238 drugs. Lines are cut by KFold(5, shuffle=True, random_state=seed) in the order of the file,
pairs and compounds likewise. Each model runs the folds of a split in a fresh process, one model after the
other. Seconds are those of fit and predict, over the five folds; memory is the largest resident set
meanwhile. The random forest of pairs takes minutes and runs on LCO alone.

The network's 90 % intervals are judged on the same test pairs, beside those around the mean of each drug.

drevalpy's RandomForest and SimpleNeuralNetwork are run where --peer-python, or PM_LAB_DREVALPY_PYTHON in the
environment, names a Python that has drevalpy (an environment of its own: it is under the GPL, and no part of
pm_lab). They get the same expression, Morgan fingerprints of the same SMILES in the 128 bits that drevalpy
uses, and the same training, validation and test lines; peers/drevalpy_peer.py says which hyperparameters.
They take long, half an hour a fold: --peer-folds names the folds to run, and --record adds each to what was
kept before. One value of each grid is tried, so their seconds hold no tuning. Where there is no drevalpy the
output says so.

Exits with 1 when a target below is missed, after printing its table; says which were not looked at.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

MODELS = ["network", "kernel_ridge", "pca_ridge", "random_forest", "multitask_forest"]
MODELS += ["tissue_drug_mean", "mean_effects", "drug_mean"]
PEERS = {
    "drevalpy_random_forest": "RandomForest",
    "drevalpy_simple_neural_network": "SimpleNeuralNetwork",
}
EVERY = [*MODELS, *PEERS]
SPLITS = ["LCO", "LPO", "LDO"]
ONLY_IN = {model: ["LCO"] for model in ["random_forest", *PEERS]}
# split → metric → sign and bound for the network, mean over the folds
TARGETS = {
    "LCO": {"normalized_pearson": (">=", 0.50), "rmse": ("<=", 1.26)},
    "LPO": {"normalized_pearson": (">=", 0.45), "rmse": ("<=", 1.15)},
}
TO_BEAT = ["kernel_ridge", "random_forest", "multitask_forest", *PEERS]  # in LCO
SHARE_BETTER = 0.8  # of the folds: 12 of 15
SECONDS, OF_FOREST, PEAK_GB = 60, 0.2, 1.5
COVERAGE, COVERED, LOWEST_COVERED, FEWEST_VALUES = 0.9, (0.88, 0.92), 0.80, 50
HAVE_INTERVALS = ["LCO", "LTO", "LPO"]  # in LDO no drug of the test part has errors to learn from
PEER_BITS = 128  # of the fingerprints that drevalpy gives its models
PEER_SCRIPT = Path(__file__).parent / "peers" / "drevalpy_peer.py"
ROOT = Path(__file__).resolve().parents[1]
STARTED = datetime.datetime.now().isoformat(timespec="minutes")
FOLDER, RESULTS = ROOT / "build" / "benchmarks", ROOT / "benchmarks" / "results"


def run(model: str, split: str, seed: int, path: Path) -> None:
    """What a child process does: one model on one split."""
    import pm_lab as pm

    screen, fitted = pm.datasets.load("gdsc1"), []
    judged = model == "network" and split in HAVE_INTERVALS
    one = keeping(fitted)(seed=seed) if judged else model
    result = pm.drug_response.benchmark([one], screen, split, seed=seed)
    content = {"metrics": result.metrics.to_dict("list"), "test_share": result.test_share}
    content["intervals"] = judge_intervals(fitted, screen, split, seed) if judged else []
    path.write_text(json.dumps(content), encoding="utf-8")


def keeping(fitted: list) -> type:
    """The network, keeping each fit in a list: its intervals are judged when the clock has stopped."""
    import pm_lab as pm

    class Network(pm.drug_response.DrugResponseModel):
        def predict_matrix(self, adata, drugs=None):
            fitted.append(self)
            return super().predict_matrix(adata, drugs)

    return Network


def judge_intervals(fitted: list, screen, split: str, seed: int) -> list[dict]:
    """How many test pairs the intervals of the network and of the drug mean cover, and how wide they are."""
    import pm_lab as pm

    class Fitted:
        name = "network"

        def fit(self, training, validation=None):
            return fitted.pop(0)

    folds = pm.drug_response.folds(screen, split, seed=seed)
    pairs = pm.drug_response.held_out_intervals(screen, Fitted(), folds=folds, coverage=COVERAGE)
    overall = pm.drug_response.coverage_report(pairs, by=None).set_index("model")
    by_drug = pm.drug_response.coverage_report(pairs, by="drug").query("n_values >= @FEWEST_VALUES")
    overall["lowest_drug"] = by_drug.groupby("model")["coverage"].min()
    kept = overall[["coverage", "lowest_drug", "mean_width", "n_values"]]
    return kept.reset_index().to_dict("records")


def child(model: str, split: str, seed: int) -> dict:
    path = FOLDER / f"drug_response-{model}-{split}-{seed}.json"
    command = [sys.executable, "-W", "ignore", __file__, "--step", model, split, str(seed), str(path)]
    subprocess.run(command, env=os.environ | {"PM_LAB_PROGRESS": "0"}, check=True)
    return json.loads(path.read_text(encoding="utf-8"))


def with_peers(models: list[str], python: str | None) -> list[str]:
    """Which models can be run, and a line on why drevalpy's are not or in which version they are."""
    if not any(model in PEERS for model in models):
        print("drevalpy: not asked for")
        return models
    others = [model for model in models if model not in PEERS]
    if not python:
        print("drevalpy: not run; --peer-python names a Python that has it")
        return others
    try:
        asked = [python, PEER_SCRIPT, "--version"]
        version = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1]
        print(f"drevalpy: not run; {python} does not have it ({reason})")
        return others
    print(f"drevalpy {version}, in its own Python")
    return models


def peer(model: str, split: str, seed: int, python: str, numbers: list[int]) -> dict:
    """A model of drevalpy on some folds of a split of GDSC1."""
    import pm_lab as pm

    screen, said = pm.datasets.load("gdsc1"), []
    every = pm.drug_response.folds(screen, split, seed=seed)
    folds = [every[number] for number in numbers]
    name = f"drug_response-{model}-{split}-{seed}"
    one = peer_model(model, python, name, said)()
    result = pm.drug_response.benchmark([one], screen, folds=folds, seed=seed)
    metrics = result.metrics.assign(**{key: [fold[key] for fold in said] for key in ("seconds", "peak_gb")})
    chosen = [fold["hyperparameters"] for fold in said]
    content = {"metrics": metrics.to_dict("list"), "test_share": result.test_share, "intervals": []}
    content["hyperparameters"] = chosen
    (FOLDER / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    print(f"{model}: by fold {'; '.join(chosen)}")
    return content


def peer_model(model: str, python: str, name: str, said: list) -> type:
    """A model of drevalpy behind the protocol of pm_lab; what it says of each fit goes into a list.

    It learns when it is asked to predict, since the peer does both in one process: it is given the test lines
    without their responses.
    """
    import pandas as pd

    import pm_lab as pm

    class Peer:
        def fit(self, training, validation):
            self.training, self.validation = training, validation
            return self

        def predict_matrix(self, adata, drugs):
            known = self.training.obsm["response"]
            bits = pm.drug_response.fingerprints(drugs.loc[known.columns], n_bits=PEER_BITS)
            n, n_test = len(known), adata.n_obs
            ends = [FOLDER / f"{name}-fold{len(said)}-{end}.npz" for end in ("given", "predicted")]
            np.savez(
                ends[0],
                lines=np.r_[self.training.obs_names, adata.obs_names].astype(str),
                expression=np.r_[np.asarray(self.training.X), np.asarray(adata.X)],
                drugs=known.columns.to_numpy(str),
                fingerprints=bits.to_numpy(),
                response=np.r_[known.to_numpy(float), np.full((n_test, known.shape[1]), np.nan)],
                validation=np.r_[self.validation.any(axis=1), np.zeros(n_test, bool)],
                test=np.r_[np.zeros(n, bool), np.ones(n_test, bool)],
            )
            with open(FOLDER / f"{name}.log", "a" if said else "w", encoding="utf-8") as log:
                command = [python, PEER_SCRIPT, PEERS[model], *ends]
                subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=True)
            with np.load(ends[1], allow_pickle=False) as found:
                said.append({key: found[key].item() for key in ("seconds", "peak_gb", "hyperparameters")})
                return pd.DataFrame(found["predicted"], adata.obs_names, known.columns)

    Peer.name = model
    return Peer


def results(models: list[str], split: str, seeds: list[int], python=None, peer_folds=()) -> tuple:
    """One Benchmark a seed, of all models; and how the intervals did, one row a seed and model."""
    import pandas as pd

    from pm_lab.drug_response import Benchmark

    found, intervals = [], []
    for seed in seeds:
        runs = [
            peer(model, split, seed, python, peer_folds) if model in PEERS else child(model, split, seed)
            for model in models
            if split in ONLY_IN.get(model, [split])
        ]
        metrics = pd.concat([pd.DataFrame(one["metrics"]) for one in runs], ignore_index=True)
        found.append(Benchmark(metrics, pd.DataFrame(), split, seed, runs[0]["test_share"]))
        intervals += [{"split": split, "seed": seed, **row} for one in runs for row in one["intervals"]]
    return found, pd.DataFrame(intervals)


def show(found: list, intervals, split: str) -> tuple:
    """Print the tables of a split; return them, and the comparison of the network with each other model."""
    import pandas as pd

    pd.set_option("display.width", 200, "display.max_columns", 20)
    summaries = [result.summary() for result in found]
    grouped = pd.concat(summaries).groupby(level=0)
    table = grouped.mean().assign(peak_gb=grouped["peak_gb"].max()).loc[summaries[0].index]
    n_folds = pd.concat([result.metrics["model"] for result in found]).value_counts()
    seeds = ", ".join(str(result.seed) for result in found)
    print(f"\n{split}, seeds {seeds}: means over {n_folds.max()} folds, seconds of those of a seed")
    print(table.assign(n_folds=n_folds).round(3).to_string())
    covers = None
    if len(intervals):
        grouped = intervals.groupby("model", sort=False)
        covers = grouped[["coverage", "mean_width"]].mean().assign(lowest_drug=grouped["lowest_drug"].min())
        print(f"\n{COVERAGE:.0%} intervals (lowest_drug: of drugs with {FEWEST_VALUES} test lines or more)")
        print(covers.round(3).to_string())
    if "network" not in table.index or len(table) < 2:
        return table, covers, None
    comparison = compare_network(found)
    print("\nNormalised Pearson of the network - that of the other, corrected resampled t-test")
    print(comparison.round(4).to_string())
    for forest in [name for name in table.index if "forest" in name and name not in PEERS]:
        ratio = table.at["network", "seconds"] / table.at[forest, "seconds"]
        print(f"time of the network / {forest}: {ratio:.3f}")
    sys.stdout.flush()
    return table, covers, comparison


def compare_network(found: list):
    """The network − each other model, on the folds that both ran on (a peer may have run on some).

    n_better: folds in which the network is better. A model with one fold is left out.
    """
    import pandas as pd

    import pm_lab as pm

    models_on = {}
    metrics = pd.concat([result.metrics.assign(seed=result.seed) for result in found])
    for model, part in metrics.groupby("model", sort=False):
        models_on.setdefault(frozenset(zip(part["seed"], part["fold"], strict=True)), []).append(model)
    tables = [
        pm.drug_response.compare_models(_part(found, {*models, "network"}, on), "network")
        for on, models in models_on.items()
        if len(on) > 1 and models != ["network"]
    ]
    if not tables:
        return pd.DataFrame(columns=["difference", "low", "high", "n_better", "n_folds", "t", "p"])
    other = pd.concat(tables).set_index("model")
    return other.assign(
        difference=-other["difference"],
        low=-other["high"],
        high=-other["low"],
        n_better=other["n_folds"] - other["n_better"],
        t=-other["t"],
    )


def _part(found: list, models: set[str], on: frozenset) -> list:
    """Some models and (seed, fold) of Benchmarks."""
    parts = []
    for result in found:
        folds = [fold for seed, fold in on if seed == result.seed]
        kept = result.metrics["model"].isin(models) & result.metrics["fold"].isin(folds)
        parts += [dataclasses.replace(result, metrics=result.metrics[kept])] if folds else []
    return parts


def missed(split: str, table, covers, comparison) -> list[str]:
    if comparison is None:
        return []
    network, lines = table.loc["network"], []
    for metric, (sign, bound) in TARGETS.get(split, {}).items():
        if not (network[metric] >= bound if sign == ">=" else network[metric] <= bound):
            lines.append(f"{split}: {metric} {network[metric]:.4f}, to reach {sign} {bound}")
    if split == "LDO" and "mean_effects" in table.index:
        excess = network["rmse"] - table.at["mean_effects", "rmse"]
        if excess > 0.02 * table.at["mean_effects", "rmse"]:
            lines.append(f"LDO: RMSE {excess:.3f} above that of mean effects, at most 2 %")
    if split != "LCO":
        return lines
    for other in [name for name in TO_BEAT if name in comparison.index]:
        row = comparison.loc[other]
        if not (row["difference"] > 0 and row["n_better"] >= SHARE_BETTER * row["n_folds"]):
            lines.append(f"LCO: better than {other} in {row['n_better']:.0f} of {row['n_folds']:.0f} folds")
    if network["seconds"] > SECONDS:
        lines.append(f"LCO: {network['seconds']:.0f} s for five folds, at most {SECONDS}")
    if "random_forest" in table.index:
        ratio = network["seconds"] / table.at["random_forest", "seconds"]
        if ratio > OF_FOREST:
            lines.append(f"LCO: {ratio:.2f} × the time of the random forest, at most {OF_FOREST}")
    if network["peak_gb"] > PEAK_GB:
        lines.append(f"LCO: {network['peak_gb']:.2f} GB, at most {PEAK_GB}")
    return lines + missed_intervals(covers)


def not_judged(split: str, models: list[str], peers: bool) -> list[str]:
    """Targets of a split that this choice of models leaves out."""
    if split not in [*TARGETS, "LDO"]:
        return [f"{split} has no targets"]
    lines = []
    if "network" not in models or len(models) < 2:
        lines.append(f"{split}: all, they need the network and another model")
    if split == "LDO" and "mean_effects" not in models:
        lines.append("LDO: the network beside mean_effects")
    if split == "LCO":
        asked = [name for name in TO_BEAT if name not in models and (peers or name not in PEERS)]
        lines += [f"LCO: the network beside {name}" for name in asked]
        lines += ["LCO: time beside the random forest"] if "random_forest" not in models else []
    return lines


def missed_intervals(covers) -> list[str]:
    ours, means = covers.loc["network"], covers.loc["drug_mean"]
    lines = []
    if not COVERED[0] <= ours["coverage"] <= COVERED[1]:
        lines.append(f"LCO: intervals cover {ours['coverage']:.3f}, to reach {COVERED[0]} to {COVERED[1]}")
    if ours["lowest_drug"] < LOWEST_COVERED:
        lines.append(f"LCO: intervals of a drug cover {ours['lowest_drug']:.3f}, at least {LOWEST_COVERED}")
    if ours["mean_width"] >= means["mean_width"]:
        lines.append(f"LCO: intervals {ours['mean_width']:.2f} wide, of drug means {means['mean_width']:.2f}")
    return lines


def record(found: list, intervals) -> None:
    """Put the numbers of this run into the tables in benchmarks/results, in place of older ones."""
    import pandas as pd

    parts = [result.metrics.assign(split=result.split, seed=result.seed) for result in found]
    RESULTS.mkdir(exist_ok=True)
    for name, table, by in (
        ("drug_response.csv", pd.concat(parts), ["split", "seed", "model", "fold"]),
        ("drug_response_intervals.csv", intervals, ["split", "seed", "model"]),
    ):
        if not len(table):
            continue
        path = RESULTS / name
        # Seconds of two runs cannot be compared: the load of the machine was another.
        table = table.assign(date=STARTED)
        older = [pd.read_csv(path)] if path.exists() else []
        kept = pd.concat([*older, table]).drop_duplicates(by, keep="last").sort_values(by)
        kept[[*by, *kept.columns.drop(by)]].round(4).to_csv(path, index=False)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=EVERY, default=EVERY, help="what to run")
    parser.add_argument("--splits", nargs="+", choices=[*SPLITS, "LTO"], default=SPLITS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="of the folds")
    parser.add_argument("--record", action="store_true", help="keep the numbers in benchmarks/results")
    parser.add_argument("--peer-python", default=os.environ.get("PM_LAB_DREVALPY_PYTHON"), metavar="PYTHON")
    parser.add_argument(
        "--peer-folds", type=int, nargs="+", choices=range(5), default=[*range(5)], help="drevalpy's folds"
    )
    parser.add_argument("--step", nargs=4, help=argparse.SUPPRESS)  # what a child process does
    arguments = parser.parse_args()
    if arguments.step:
        model, split, seed, path = arguments.step
        run(model, split, int(seed), Path(path))
        return 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    lines, left_out, peers = [], [], (arguments.peer_python, arguments.peer_folds)
    models = with_peers(arguments.models, arguments.peer_python)
    for split in arguments.splits:
        if not any(split in ONLY_IN.get(model, [split]) for model in models):
            print(f"\n{split}: none of the models is run on it")
            continue
        found, intervals = results(models, split, arguments.seeds, *peers)
        if arguments.record:
            record(found, intervals)
        lines += missed(split, *show(found, intervals, split))
        left_out += not_judged(split, models, arguments.peer_python is not None)
    if left_out:
        print("\n" + "\n".join(["NOT LOOKED AT", *left_out]))
    if lines:
        print("\n" + "\n".join(["MISSED", *lines]))
    else:
        print("\nof those looked at none was missed" if left_out else "\nall targets met")
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main())
