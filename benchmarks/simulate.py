"""What does a simulated cohort cost? Against numpy drawing as many Poisson counts in the same process.

Targets: the default cohort under 5 s (median of three); 100,000 cells × 10,000 genes under 120 s and under
6 GB at the peak, on 2 cores. Each size runs in a process of its own, which starts after the imports.
"""

import json
import os
import statistics
import subprocess
import sys

TARGETS = {"default": (5, None), "large": (120, 6)}  # seconds, GB
SIZES = {"default": {}, "large": {"n_cells": 100_000, "n_genes": 10_000}}
ROUNDS = {"default": 3, "large": 1}
DRAWS = 20_000_000  # Poisson counts drawn by numpy, from which the time of all is extrapolated


def measure(name: str) -> None:
    """Simulate one cohort, and print seconds, processor seconds, peak memory and numpy's seconds as JSON."""
    import resource
    import time

    import numpy as np

    from pm_lab.datasets import simulate_cohort

    wall, cpu = time.perf_counter(), time.process_time()
    cohort = simulate_cohort(**SIZES[name])
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    counts = cohort.cells.X
    values = counts.shape[0] * counts.shape[1]
    mean = np.full(min(values, DRAWS), counts.sum() / values)
    start = time.perf_counter()
    np.random.default_rng(0).poisson(mean)
    poisson = (time.perf_counter() - start) * values / len(mean)
    print(json.dumps({"wall": wall, "cpu": cpu, "peak": peak / 1e9, "poisson": poisson}))


def main() -> int:
    environment = os.environ | {"PM_LAB_PROGRESS": "0"}
    print(f"{'cohort':10}{'wall s':>10}{'CPU s':>10}{'peak GB':>10}{'ratio of CPU to numpy Poisson':>32}")
    missed = []
    for name, (seconds, gigabytes) in TARGETS.items():
        command = [sys.executable, __file__, name]
        runs = [
            json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment).stdout)
            for _ in range(ROUNDS[name])
        ]
        run = {key: statistics.median(each[key] for each in runs) for key in runs[0]}
        ratio = run["cpu"] / run["poisson"]
        print(f"{name:10}{run['wall']:10.1f}{run['cpu']:10.1f}{run['peak']:10.2f}{ratio:32.1f}")
        if run["wall"] >= seconds:
            missed.append(f"{name}: under {seconds} s")
        if gigabytes is not None and run["peak"] >= gigabytes:
            missed.append(f"{name}: under {gigabytes} GB")
    print(f"targets missed: {'; '.join(missed) or 'none'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(measure(sys.argv[1]) if len(sys.argv) > 1 else main())
