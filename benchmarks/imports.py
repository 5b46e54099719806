"""Does `import pm_lab` cost the user anything? Against `import numpy`, in fresh processes, taking turns.

Target: under 0.15 s (median), the start of Python itself not counted.
"""

import statistics
import subprocess
import sys

TARGET = 0.15  # seconds
ROUNDS = 11
CLOCK = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"


def import_time(module: str) -> float:
    """Seconds that one import takes in a new process."""
    command = [sys.executable, "-c", CLOCK.format(module)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> int:
    modules = ("pm_lab", "numpy", "scanpy")
    for module in modules:
        import_time(module)  # the first reads the files from disk and compiles them
    times = {module: [] for module in modules}
    for _ in range(ROUNDS):
        for module in ("pm_lab", "numpy"):
            times[module].append(import_time(module))
    times["scanpy"].append(import_time("scanpy"))
    median = {module: statistics.median(values) for module, values in times.items()}
    print(f"{'import':10}{'median s':>10}{'ratio to pm_lab':>18}")
    for module, seconds in median.items():
        print(f"{module:10}{seconds:10.3f}{seconds / median['pm_lab']:18.1f}")
    reached = median["pm_lab"] < TARGET
    print(f"target: import pm_lab < {TARGET} s: {'reached' if reached else 'MISSED'}")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
