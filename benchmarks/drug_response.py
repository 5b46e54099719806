"""Does the network beat means, ridge regression and forests on GDSC1, on the same folds in the same run?

    python benchmarks/drug_response.py                         LCO, LPO and LDO, folds of seed 0
    python benchmarks/drug_response.py --splits LCO --seeds 1 2 3
    python benchmarks/drug_response.py --models kernel_ridge pca_ridge

525 lines × 238 drugs. Lines are cut by KFold(5, shuffle=True, random_state=seed) in the order of the file,
pairs and compounds likewise. Each model runs the folds of a split in a fresh process, one model after the
other. Seconds are those of fit and predict, over the five folds; memory is the largest resident set
meanwhile.
The random forest of pairs takes minutes and runs on LCO alone.

drevalpy's models are not run.

Exits with 1 when a target below is missed, after printing its table.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

MODELS = ["network", "kernel_ridge", "pca_ridge", "random_forest", "multitask_forest"]
MODELS += ["tissue_drug_mean", "mean_effects", "drug_mean"]
SPLITS = ["LCO", "LPO", "LDO"]
ONLY_IN = {"random_forest": ["LCO"]}
# split → metric → sign and bound for the network, mean over the folds
TARGETS = {
    "LCO": {"normalized_pearson": (">=", 0.50), "rmse": ("<=", 1.26)},
    "LPO": {"normalized_pearson": (">=", 0.45), "rmse": ("<=", 1.15)},
}
TO_BEAT = ["kernel_ridge", "random_forest", "multitask_forest"]  # in LCO
SHARE_BETTER = 0.8  # of the folds: 12 of 15
SECONDS, OF_FOREST, PEAK_GB = 60, 0.2, 1.5
FOLDER = Path(__file__).resolve().parents[1] / "build" / "benchmarks"


def run(model: str, split: str, seed: int, path: Path) -> None:
    """What a child process does: one model on one split."""
    import pm_lab as pm

    result = pm.drug_response.benchmark([model], pm.datasets.load("gdsc1"), split, seed=seed)
    content = {"metrics": result.metrics.to_dict("list"), "test_share": result.test_share}
    path.write_text(json.dumps(content), encoding="utf-8")


def child(model: str, split: str, seed: int) -> dict:
    path = FOLDER / f"drug_response-{model}-{split}-{seed}.json"
    command = [sys.executable, "-W", "ignore", __file__, "--step", model, split, str(seed), str(path)]
    subprocess.run(command, env=os.environ | {"PM_LAB_PROGRESS": "0"}, check=True)
    return json.loads(path.read_text(encoding="utf-8"))


def results(models: list[str], split: str, seeds: list[int]) -> list:
    """One Benchmark a seed, of all models."""
    import pandas as pd

    from pm_lab.drug_response import Benchmark

    found = []
    for seed in seeds:
        runs = [child(model, split, seed) for model in models if split in ONLY_IN.get(model, [split])]
        metrics = pd.concat([pd.DataFrame(one["metrics"]) for one in runs], ignore_index=True)
        found.append(Benchmark(metrics, pd.DataFrame(), split, seed, runs[0]["test_share"]))
    return found


def show(found: list, split: str) -> tuple:
    """Print the table of a split; return it and the comparison of the network with each other model."""
    import pandas as pd

    import pm_lab as pm

    pd.set_option("display.width", 200, "display.max_columns", 20)
    summaries = [result.summary() for result in found]
    grouped = pd.concat(summaries).groupby(level=0)
    table = grouped.mean().assign(peak_gb=grouped["peak_gb"].max()).loc[summaries[0].index]
    seeds = ", ".join(str(result.seed) for result in found)
    print(f"\n{split}, seeds {seeds}: means over {5 * len(found)} folds, seconds of five folds")
    print(table.round(3).to_string())
    if "network" not in table.index or len(table) < 2:
        return table, None
    comparison = pm.drug_response.compare_models(found, "network").set_index("model")
    print(
        "\nNormalised Pearson of the others - the network's (n_better: folds in which the other is better):"
    )
    print(comparison.round(4).to_string())
    sys.stdout.flush()
    return table, comparison


def missed(split: str, table, comparison) -> list[str]:
    if comparison is None:
        return []
    network, lines = table.loc["network"], []
    for metric, (sign, bound) in TARGETS.get(split, {}).items():
        if not (network[metric] >= bound if sign == ">=" else network[metric] <= bound):
            lines.append(f"{split}: {metric} {network[metric]:.3f}, to reach {sign} {bound}")
    if split == "LDO" and "mean_effects" in table.index:
        excess = network["rmse"] - table.at["mean_effects", "rmse"]
        if excess > 0.02 * table.at["mean_effects", "rmse"]:
            lines.append(f"LDO: RMSE {excess:.3f} above that of mean effects, at most 2 %")
    if split != "LCO":
        return lines
    for other in [name for name in TO_BEAT if name in comparison.index]:
        row = comparison.loc[other]
        n_won = row["n_folds"] - row["n_better"]
        if not (row["difference"] < 0 and n_won >= SHARE_BETTER * row["n_folds"]):
            lines.append(f"LCO: better than {other} in {n_won:.0f} of {row['n_folds']:.0f} folds")
    if network["seconds"] > SECONDS:
        lines.append(f"LCO: {network['seconds']:.0f} s for five folds, at most {SECONDS}")
    if "random_forest" in table.index:
        ratio = network["seconds"] / table.at["random_forest", "seconds"]
        if ratio > OF_FOREST:
            lines.append(f"LCO: {ratio:.2f} × the time of the random forest, at most {OF_FOREST}")
    if network["peak_gb"] > PEAK_GB:
        lines.append(f"LCO: {network['peak_gb']:.2f} GB, at most {PEAK_GB}")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS, help="what to run")
    parser.add_argument("--splits", nargs="+", choices=[*SPLITS, "LTO"], default=SPLITS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="of the folds")
    parser.add_argument("--step", nargs=4, help=argparse.SUPPRESS)  # what a child process does
    arguments = parser.parse_args()
    if arguments.step:
        model, split, seed, path = arguments.step
        run(model, split, int(seed), Path(path))
        return 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    lines = []
    for split in arguments.splits:
        found = results(arguments.models, split, arguments.seeds)
        lines += missed(split, *show(found, split))
    if "network" not in arguments.models or len(arguments.models) < 2:
        print("\nno target looked at: they are about the network beside other models")
    else:
        print("\n" + ("\n".join(["MISSED", *lines]) if lines else "all targets met"))
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main())
