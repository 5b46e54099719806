"""pydeseq2 as its documentation uses it against pm_lab, on equal counts: time, memory, and the same answers.

    python benchmarks/bulk.py [--cases cohort large airway]

    cohort   100 simulated patients × 2,000 genes, ~ batch + age + response
    large    300 simulated patients × 2,000 genes, where pm_lab takes voom (and its DESeq2 for comparison)
    airway   8 samples × 64,102 genes, ~ celltype + dex (a registered data set: mirror, cache or download)

Each run is a fresh process that imports, reads the h5ad and ends with a table of genes. pydeseq2 runs with
its defaults, which are worker processes on all cores; it gets the genes with a count, and a covariate that
was standardised for it. pm_lab is ``pm.bulk.differential_expression(shrink=False)``, checks, report and
filter included; "same genes" is that with ``min_count=0``, so that both sides test as many. The simulated
cases are run three times in turn and the shortest counts, airway once. Memory is the largest resident set of
the main process; pydeseq2's workers come on top and are shown.

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
    "cohort": {
        "design": "~ batch + age + response",
        "contrast": ["response", "yes", "no"],
        "n_patients": 100,
    },
    "large": {"design": "~ batch + age + response", "contrast": ["response", "yes", "no"], "n_patients": 300},
    "airway": {"design": "~ celltype + dex", "contrast": ["dex", "treated", "control"], "rounds": 1},
}
SIDES = {
    "pydeseq2": None,
    "pm_lab": {"method": "deseq2"},
    "pm_lab, same genes": {"method": "deseq2", "min_count": 0},
    "pm_lab, voom": {"method": "voom"},
}
# The largest allowed ratio to pydeseq2, by case and side.
TARGETS = {
    ("cohort", "pm_lab"): {"wall": 0.4, "memory": 1.1},
    ("cohort", "pm_lab, same genes"): {"wall": 0.4},
    ("large", "pm_lab, voom"): {"wall": 0.4},
    ("airway", "pm_lab"): {"wall": 0.25, "memory": 1.1},
    ("airway", "pm_lab, same genes"): {"wall": 0.25},
}
LEAST_CORRELATION = {"pm_lab": 0.999, "pm_lab, same genes": 0.999, "pm_lab, voom": 0.98}
ENOUGH = 10  # fold changes are compared on genes with this base mean or more
ROUNDS = 3
FOLDER = Path(__file__).resolve().parents[1] / "build" / "benchmarks"


def prepare(case: str, path: Path) -> None:
    import pm_lab as pm

    settings = CASES[case]
    if "n_patients" in settings:
        cohort = pm.datasets.simulate_cohort(n_patients=settings["n_patients"], n_cells=600)
        bulk = cohort.bulk
    else:
        bulk = pm.datasets.load(case)
    bulk.write_h5ad(path)


def run_pydeseq2(path: str, design: str, contrast: list[str]):
    import anndata
    import pandas as pd
    from pydeseq2.dds import DeseqDataSet
    from pydeseq2.default_inference import DefaultInference
    from pydeseq2.ds import DeseqStats

    bulk = anndata.read_h5ad(path)
    matrix = bulk.layers["counts"]
    matrix = matrix.toarray() if hasattr(matrix, "toarray") else matrix
    counts = pd.DataFrame(matrix.astype(int), bulk.obs_names, bulk.var_names)
    counts = counts.loc[:, counts.sum() > 0]
    obs = bulk.obs.copy()
    if "age" in obs:
        obs["age"] = (obs["age"] - obs["age"].mean()) / obs["age"].std()
    inference = DefaultInference()
    dds = DeseqDataSet(counts=counts, metadata=obs, design=design, inference=inference, quiet=True)
    dds.deseq2()
    stats = DeseqStats(dds, contrast=contrast, inference=inference, quiet=True)
    stats.summary()
    return stats.results_df.rename(
        columns={"baseMean": "base_mean", "log2FoldChange": "log2_fold_change", "lfcSE": "lfc_se"}
    )


def run_pm_lab(path: str, design: str, contrast: list[str], **settings):
    import anndata

    import pm_lab as pm

    bulk = anndata.read_h5ad(path)
    return pm.bulk.differential_expression(bulk, design, tuple(contrast), shrink=False, **settings)


def measure(side: str, case: str, path: str, started: float) -> dict:
    """In the fresh process: run, note time and memory, and keep the table."""
    arguments = (path, CASES[case]["design"], CASES[case]["contrast"])
    settings = SIDES[side]
    table = run_pydeseq2(*arguments) if settings is None else run_pm_lab(*arguments, **settings)
    wall = time.time() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    table.to_csv(f"{path.removesuffix('.h5ad')}.{side}.csv")
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor().shutdown(wait=True)  # only then are the workers counted
    workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    return {"wall": wall, "memory": memory, "largest worker": workers if settings is None else 0.0}


def compare(side: str, path: str) -> dict:
    """How the fold changes, standard errors and calls of one side differ from pydeseq2's."""
    import numpy as np
    import pandas as pd

    stem = path.removesuffix(".h5ad")
    theirs, ours = (pd.read_csv(f"{stem}.{name}.csv", index_col=0) for name in ("pydeseq2", side))
    n_ours, n_theirs = len(ours), len(theirs)
    genes = theirs.index[theirs["base_mean"] >= ENOUGH].intersection(ours.index)
    calls = [set(table.index[table["padj"] < 0.05]) for table in (ours, theirs)]
    theirs, ours = theirs.loc[genes], ours.loc[genes]
    change = (ours["log2_fold_change"] - theirs["log2_fold_change"]).abs()
    return {
        "genes tested": n_ours,
        "genes pydeseq2 tested": n_theirs,
        "r": float(np.corrcoef(ours["log2_fold_change"], theirs["log2_fold_change"])[0, 1]),
        "median difference": float(change.median()),
        "lfc_se": float((ours["lfc_se"] / theirs["lfc_se"]).median()),
        "same calls": len(calls[0] & calls[1]) / max(len(calls[0] | calls[1]), 1),
    }


def child(*arguments) -> dict:
    """Run one step of this script in a fresh process and return what it reports."""
    # This process stays small: a child's peak memory starts at its parent's.
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
    if name.startswith("compare "):
        return compare(name.removeprefix("compare "), path)
    return measure(name, case, path, float(started))


def benchmark(case: str) -> list[str]:
    """Print the table of one case and return the targets it missed."""
    path = FOLDER / f"bulk-{case}.h5ad"
    sides = [side for side in SIDES if side != "pm_lab, voom" or case == "large"]
    child("prepare", case, path)
    rounds = [
        {side: child(side, case, path) for side in sides} for _ in range(CASES[case].get("rounds", ROUNDS))
    ]
    runs = {side: {what: min(r[side][what] for r in rounds) for what in rounds[0][side]} for side in sides}
    agreement = {side: child(f"compare {side}", case, path) for side in sides if SIDES[side]}
    for left in FOLDER.glob(f"bulk-{case}.*"):
        left.unlink()

    theirs, missed = runs["pydeseq2"], []
    print(f"\n{case}: {CASES[case]['design']}")
    print(f"{'':20}{'wall, s':>9}{'ratio':>8}{'GB':>7}{'ratio':>8}{'genes':>8}{'r of log2FC':>13}", end="")
    print(f"{'median |Δ|':>12}{'SE ratio':>10}{'same calls':>12}")
    workers = theirs["largest worker"]
    print(f"{'pydeseq2':20}{theirs['wall']:9.2f}{'':8}{theirs['memory']:7.2f}{'':8}", end="")
    print(f"{next(iter(agreement.values()))['genes pydeseq2 tested']:8,}   (+ {workers:.2f} GB a worker)")
    for side, found in agreement.items():
        ratio = {what: runs[side][what] / theirs[what] for what in ("wall", "memory")}
        print(
            f"{side:20}{runs[side]['wall']:9.2f}{ratio['wall']:8.3f}{runs[side]['memory']:7.2f}"
            f"{ratio['memory']:8.3f}{found['genes tested']:8,}{found['r']:13.5f}"
            f"{found['median difference']:12.2g}{found['lfc_se']:10.3f}{found['same calls']:12.3f}"
        )
        for what, target in TARGETS.get((case, side), {}).items():
            if ratio[what] > target:
                missed.append(f"{case}, {side}: {what} {ratio[what]:.3f} × pydeseq2's, target {target}")
        if not found["r"] >= LEAST_CORRELATION[side]:
            missed.append(f"{case}, {side}: log2 fold changes correlate {found['r']:.4f}")
    sys.stdout.flush()
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
