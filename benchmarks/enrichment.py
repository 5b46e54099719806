"""gseapy's default prerank against pm_lab's gsea on GO biological processes: time, memory, the same scores.

    python benchmarks/enrichment.py

Both sides get the sets of 10 to 500 genes and the signal to noise of the P53 data (10,100 genes). Each runs
in a process of its own; the clock starts when imports and data are there, and peak memory is the process's
largest resident set. gseapy permutes genes; pm_lab takes multilevel, as it does for more than 100 sets.

Exits with 1 when a target below is missed. What either null finds among pathways that do not differ is in
recovery_bulk.py.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import warnings

LARGEST_RATIO = 0.25  # of wall time, ours to gseapy's
SMALLEST_CORRELATION = 0.99  # of normalised scores
SIZES = {"min_size": 10, "max_size": 500}


def run_side(side: str) -> dict:
    """In the fresh process: read, then time one side."""
    import gseapy
    import gseapy.gse

    import pm_lab as pm

    data = pm.datasets.load("p53")
    go = pm.datasets.load("gene_sets")["go_bp"]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "expression goes up to")  # intensities, as published
        ranking = pm.enrichment.rank_genes(data, "p53", contrast=("WT", "MUT"))
    # gseapy compares names in upper case as soon as a tenth of them are not; so that both see the same:
    ranking = ranking[~ranking.index.str.upper().duplicated()].rename(str.upper)
    go = {name: sorted({gene.upper() for gene in genes}) for name, genes in go.items()}
    if side == "gseapy":
        start = time.time()
        found = gseapy.prerank(ranking, go, **SIZES, outdir=None, no_plot=True, seed=0)
        wall = time.time() - start
        scores = found.res2d.set_index("Term")["NES"].astype(float)
    else:
        start = time.time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = pm.enrichment.gsea(ranking, go, **SIZES)
        wall = time.time() - start
        scores = found.set_index("gene_set")["normalized_enrichment_score"]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"wall": wall, "memory": memory, "scores": scores.to_dict()}


def compare() -> list[str]:
    """Print the table and return what was missed."""
    import pandas as pd

    sides = {}
    for side in ("gseapy", "pm_lab"):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", __file__, "--side", side],
            env=os.environ | {"PM_LAB_PROGRESS": "0"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        sides[side] = json.loads(done.stdout.splitlines()[-1])
    scores = pd.DataFrame({side: one["scores"] for side, one in sides.items()})
    both = scores.dropna()
    ratio = sides["pm_lab"]["wall"] / sides["gseapy"]["wall"]
    correlation = both["gseapy"].corr(both["pm_lab"])
    tested = scores.count()
    print(f"Pre-ranked GSEA, {len(both):,} GO sets tested by both", end=" ")
    print(f"(gseapy {tested['gseapy']:,}, pm_lab {tested['pm_lab']:,}: it mends older symbols)")
    print(f"{'':12}{'gseapy':>10}{'pm_lab':>10}{'ratio':>8}{'target':>8}")
    print(f"{'wall, s':12}{sides['gseapy']['wall']:10.1f}{sides['pm_lab']['wall']:10.1f}{ratio:8.3f}", end="")
    print(f"{LARGEST_RATIO:8.2f}")
    memory = [one["memory"] for one in sides.values()]
    print(f"{'memory, GB':12}{memory[0]:10.2f}{memory[1]:10.2f}{memory[1] / memory[0]:8.3f}")
    print(f"correlation of normalised scores {correlation:.4f}  (to reach: {SMALLEST_CORRELATION})\n")
    sys.stdout.flush()
    missed = []
    if ratio > LARGEST_RATIO:
        missed.append(f"wall {ratio:.3f} x gseapy's, target {LARGEST_RATIO}")
    if not correlation >= SMALLEST_CORRELATION:
        missed.append(f"correlation of normalised scores {correlation:.4f} < {SMALLEST_CORRELATION}")
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", help=argparse.SUPPRESS)  # what a child process does
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(run_side(arguments.side)))
        return 0
    missed = compare()
    print("\n".join(["MISSED", *missed]) if missed else "all targets met")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
