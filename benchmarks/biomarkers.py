"""Nested elastic-net Cox, 5 × 5 folds: pm_lab against a plain scikit-survival GridSearchCV loop.

    python benchmarks/biomarkers.py [--cases gse7390 simulated]

    gse7390     198 patients × 76 probes, distant metastasis
    simulated   500 patients × 5,000 genes of the built-in cohort, overall survival

The loop is what scikit-survival's own guide shows: in each outer fold the penalties of a path are found, then
GridSearchCV fits scaler and Coxnet for every one of them. Both sides use the same outer and inner folds, the
same 30 penalties a fold (the largest at which a gene enters, down to a twentieth) and one l1_ratio. Each run
is a fresh process with its imports, in turn, the shortest of the rounds counts. Memory is the largest
resident set. The C-index of both sides is shown, as the mean over the folds; it must agree to .01. It is not
equal: a Coxnet that starts cold at one small penalty stops with a numerical error or a little beside the
solution where a path arrives, and these fits ("failed") drop out of the search.

Exits with 1 when a target below is missed, after printing its table.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

CASES = {
    "gse7390": {"endpoint": "dmfs", "rounds": 3},
    "simulated": {"endpoint": "os", "rounds": 1},
}
WALL, MEMORY, DIFFERENCE = 0.5, 1.1, 0.01
L1_RATIO, N_ALPHAS, ALPHA_RATIO, FOLDS = 0.5, 30, 0.05, 5
FOLDER = Path(__file__).resolve().parents[1] / "build" / "benchmarks"


def prepare(case: str, path: Path) -> None:
    import pm_lab as pm

    if case == "gse7390":
        cohort = pm.datasets.load("gse7390")
    else:
        cohort = pm.datasets.simulate_cohort(n_patients=500, n_genes=5000, n_cells=600).bulk
    cohort.write_h5ad(path)


def run_pm_lab(path: str, endpoint: str) -> tuple[list[float], int]:
    import anndata

    import pm_lab as pm

    result = pm.biomarkers.nested_cross_validate(anndata.read_h5ad(path), endpoint, ["elastic_net"])
    return result.scores["c_index"].tolist(), 0


def run_grid_search(path: str, endpoint: str) -> tuple[list[float], int]:
    import anndata
    import numpy as np
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sksurv.linear_model import CoxnetSurvivalAnalysis
    from sksurv.util import Surv

    cohort = anndata.read_h5ad(path)
    columns = cohort.uns["endpoints"][endpoint]
    event = cohort.obs[columns["event"]].to_numpy(bool)
    y = Surv.from_arrays(event, cohort.obs[columns["time"]])
    X = np.asarray(cohort.X, dtype=float)
    X = X[:, X.std(axis=0) > 0]
    scores, n_failed = [], 0
    for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(X, event):
        path_only = CoxnetSurvivalAnalysis(n_alphas=N_ALPHAS, alpha_min_ratio=ALPHA_RATIO, l1_ratio=L1_RATIO)
        alphas = path_only.fit(StandardScaler().fit_transform(X[train]), y[train]).alphas_
        inner = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
        search = GridSearchCV(
            make_pipeline(StandardScaler(), CoxnetSurvivalAnalysis(l1_ratio=L1_RATIO)),
            {"coxnetsurvivalanalysis__alphas": [[alpha] for alpha in alphas]},
            cv=list(inner.split(X[train], event[train])),
            error_score=float("nan"),
        )
        scores.append(float(search.fit(X[train], y[train]).score(X[test], y[test])))
        inner_scores = [search.cv_results_[f"split{fold}_test_score"] for fold in range(FOLDS)]
        n_failed += int(np.isnan(inner_scores).sum())
    return scores, n_failed


SIDES = {"GridSearchCV": run_grid_search, "pm_lab": run_pm_lab}


def child(*arguments) -> dict:
    """Run one step of this script in a fresh process and return what it reports."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, "--step", *map(str, arguments), repr(time.time())],
        env=os.environ | {"PM_LAB_PROGRESS": "0"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def step(name: str, case: str, path: str, started: str) -> dict:
    if name == "prepare":
        return prepare(case, Path(path)) or {}
    scores, n_failed = SIDES[name](path, CASES[case]["endpoint"])
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"wall": time.time() - float(started), "memory": memory, "scores": scores, "failed": n_failed}


def benchmark(case: str) -> list[str]:
    """Print the table of one case and return the targets it missed."""
    path = FOLDER / f"biomarkers-{case}.h5ad"
    child("prepare", case, path)
    rounds = [{side: child(side, case, path) for side in SIDES} for _ in range(CASES[case]["rounds"])]
    path.unlink()
    runs = {
        side: {what: min(r[side][what] for r in rounds) for what in ("wall", "memory")}
        | {what: rounds[0][side][what] for what in ("scores", "failed")}
        for side in SIDES
    }
    print(f"\n{case}: {FOLDS} × {FOLDS} folds, {N_ALPHAS} penalties")
    print(f"{'':16}{'wall, s':>9}{'ratio':>8}{'GB':>7}{'ratio':>8}{'C-index':>10}{'failed':>8}   by fold")
    theirs = runs["GridSearchCV"]
    for side, run in runs.items():
        mean = sum(run["scores"]) / FOLDS
        folds = " ".join(f"{score:.3f}" for score in run["scores"])
        wall, memory = run["wall"] / theirs["wall"], run["memory"] / theirs["memory"]
        print(
            f"{side:16}{run['wall']:9.2f}{wall:8.3f}{run['memory']:7.2f}{memory:8.3f}{mean:10.3f}"
            f"{run['failed']:8}   {folds}"
        )
    sys.stdout.flush()
    ours = runs["pm_lab"]
    difference = abs(sum(ours["scores"]) - sum(theirs["scores"])) / FOLDS
    missed = []
    if ours["wall"] > WALL * theirs["wall"]:
        missed.append(f"{case}: wall {ours['wall'] / theirs['wall']:.2f} ×, target {WALL}")
    if ours["memory"] > MEMORY * theirs["memory"]:
        missed.append(f"{case}: memory {ours['memory'] / theirs['memory']:.2f} ×, target {MEMORY}")
    if not difference <= DIFFERENCE:
        missed.append(f"{case}: C-index differs by {difference:.3f}, at most {DIFFERENCE}")
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), help="what to run")
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)  # what a child process does
    arguments = parser.parse_args()
    if arguments.step:
        print(json.dumps(step(*arguments.step)))
        return 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    missed = [line for case in arguments.cases for line in benchmark(case)]
    print("\n" + ("\n".join(["MISSED", *missed]) if missed else "all targets met"))
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
