"""The explorer: a change of a filter in the kernel, the first display and a large embedding in a browser.

    python benchmarks/explorer.py [--kernel] [--browser] [--patients 10000 100000]

Both parts run unless one is asked for. The browser part is described in explorer_browser.py beside this file.

Kernel: from a change of a filter to the data of all figures, against plain libraries. A cohort of n patients
× 2,000 genes with 12 charted columns, an endpoint, 23 pathways and 20 cells a patient of 8 types (made here
from random numbers; what is measured does not depend on what they say). The filter is
a brush on age that is moved; after each move the data of every figure are made anew:

    cohort    counts, 12 histograms and bars, survival of those selected and of the rest
    compare   log-rank, restricted means, hazard ratio; Welch of 2,000 genes with padj; of 23 pathways; types
    gene      one gene by group, survival by its thirds

The peer does the same with what a notebook would use: boolean masks, value_counts and cut of pandas,
KaplanMeierFitter, logrank_test and CoxPHFitter of lifelines, ttest_ind of scipy. Both sides answer the same
moves in one process and one thread, in turn; medians count, after one move that is not counted (it sorts and
codes once; its time is shown as "first"). The answers are compared before anything is timed.

Exits with 1 when a target below is missed or an answer differs, after printing its table.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(threads, "1")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

SIZES = (10_000, 100_000)
TARGETS = {10_000: 100, 100_000: 400}  # milliseconds for all views together
N_GENES, N_PATHWAYS, CELLS_EACH = 2_000, 23, 20
TYPES = ["B cell", "CD4 T cell", "CD8 T cell", "NK cell", "Macrophage", "Fibroblast", "Endothelial", "Tumour"]
MOVES = [(40 + step, 58 + step) for step in range(9)]
PEER_MOVES = {10_000: 3, 100_000: 1}
GENE = "G0007"


def make_cohort(n: int, seed: int = 0):
    """An AnnData of n patients and one of their cells (without expression)."""
    import anndata
    from scipy import sparse

    rng = np.random.default_rng(seed)
    names = pd.Index([f"P{i:06d}" for i in range(n)])
    obs = pd.DataFrame({"age": rng.normal(58, 12, n).round(1)}, names)
    for i in range(5):
        obs[f"number_{i}"] = np.where(rng.random(n) < 0.05, np.nan, rng.gamma(2, 10, n))
    for i, levels in enumerate((2, 3, 4, 6, 12, 40)):
        labels = np.array([f"level {k}" for k in range(levels)], object)
        obs[f"label_{i}"] = pd.Categorical(labels[rng.integers(0, levels, n)])
    event_time = rng.exponential(60 * np.exp(-(obs["age"] - 58) / 40))
    censoring = rng.uniform(6, 120, n)
    obs["os_time"] = np.minimum(event_time, censoring)
    obs["os_event"] = event_time <= censoring
    X = rng.standard_normal((n, N_GENES), dtype=np.float32)
    X += 6
    X[:, :50] += ((obs["age"].to_numpy(np.float32) - 58) / 60)[:, None]
    cohort = anndata.AnnData(X, obs, pd.DataFrame(index=[f"G{i:04d}" for i in range(N_GENES)]))
    cohort.uns["endpoints"] = {"os": {"time": "os_time", "event": "os_event", "unit": "months"}}
    pathways = rng.standard_normal((n, N_PATHWAYS))
    cohort.obsm["pathways"] = pd.DataFrame(pathways, names, [f"pathway {i}" for i in range(N_PATHWAYS)])
    owner = np.repeat(np.arange(n), CELLS_EACH)
    kinds = rng.integers(0, len(TYPES), len(owner))
    about = pd.DataFrame(
        {
            "patient": pd.Categorical.from_codes(owner, names),
            "cell_type": pd.Categorical.from_codes(kinds, TYPES),
        }
    )
    about.index = about.index.astype(str)
    cells = anndata.AnnData(sparse.csr_matrix((len(owner), 1), dtype=np.float32), about)
    return cohort, cells


def views(explorer, state, columns: list[str]) -> dict:
    """View → a function that makes the data of all its figures."""
    return {
        "cohort": lambda: explorer.cohort_view(state, columns),
        "compare": lambda: (
            explorer.compare_survival(state),
            explorer.differential_genes(state),
            explorer.pathway_difference(state),
            explorer.composition_difference(state),
        ),
        "gene": lambda: (explorer.gene_by_group(state, GENE), explorer.gene_survival(state, GENE)),
    }


def measure_views(state, columns: list[str]) -> dict[str, list[float]]:
    """Milliseconds of each view and of all ("processor": of the processor), one value a move."""
    import pm_lab as pm

    taken: dict[str, list[float]] = {}
    for low, high in MOVES:
        start, processor = time.perf_counter(), time.process_time()
        state.set_range("age", low, high)
        spent = {}
        for name, make in views(pm.explorer, state, columns).items():
            before = time.perf_counter()
            make()
            spent[name] = 1e3 * (time.perf_counter() - before)
        spent["all"] = 1e3 * (time.perf_counter() - start)
        spent["processor"] = 1e3 * (time.process_time() - processor)
        for name, value in spent.items():
            taken.setdefault(name, []).append(value)
    return taken


def peer(cohort, counts: pd.DataFrame, columns: list[str], low: float, high: float) -> tuple[dict, dict]:
    """What a notebook would do: milliseconds by view, and the answers that are compared."""
    from lifelines import CoxPHFitter, KaplanMeierFitter
    from lifelines.statistics import logrank_test
    from lifelines.utils import restricted_mean_survival_time
    from scipy.stats import false_discovery_control, ttest_ind

    obs, spent, start = cohort.obs, {}, time.perf_counter()
    mask = (obs["age"] >= low) & (obs["age"] < high)
    for name in columns:
        values = obs[name] if isinstance(obs[name].dtype, pd.CategoricalDtype) else pd.cut(obs[name], 30)
        values.value_counts(sort=False, dropna=False), values[mask].value_counts(sort=False, dropna=False)
    curves = [KaplanMeierFitter().fit(obs["os_time"][m], obs["os_event"][m]) for m in (mask, ~mask)]
    spent["cohort"] = time.perf_counter() - start

    start = time.perf_counter()
    time_, event = obs["os_time"], obs["os_event"]
    rank = logrank_test(time_[mask], time_[~mask], event[mask], event[~mask])
    horizon = min(time_[mask].max(), time_[~mask].max())
    [restricted_mean_survival_time(curve, t=horizon) for curve in curves]
    cox = CoxPHFitter().fit(
        pd.DataFrame({"x": mask.astype(float), "time": time_, "event": event}), "time", "event"
    )
    genes = ttest_ind(cohort.X[mask.to_numpy()], cohort.X[~mask.to_numpy()], equal_var=False)
    false_discovery_control(genes.pvalue)
    sets = cohort.obsm["pathways"]
    ttest_ind(sets[mask], sets[~mask], equal_var=False)
    shares = counts.div(counts.sum(axis=1), axis=0)
    ttest_ind(np.log(shares[mask] + 0.01), np.log(shares[~mask] + 0.01), equal_var=False)
    spent["compare"] = time.perf_counter() - start

    start = time.perf_counter()
    gene = pd.Series(cohort.X[:, cohort.var_names.get_loc(GENE)], obs.index)
    gene.groupby(mask).describe()
    thirds = pd.qcut(gene[mask], 3, labels=False)
    [KaplanMeierFitter().fit(time_[mask][thirds == k], event[mask][thirds == k]) for k in range(3)]
    spent["gene"] = time.perf_counter() - start
    spent["all"] = sum(spent.values())
    answers = {
        "survival": curves[0].survival_function_["KM_estimate"],
        "log_rank_p": rank.p_value,
        "log_hazard_ratio": float(cox.params_["x"]),
    }
    return {name: 1e3 * value for name, value in spent.items()}, answers


def differences(state, cohort, answers: dict, low: float, high: float) -> dict[str, float]:
    """The largest differences between the two sides' answers to one move; of genes, the first hundred."""
    from scipy.stats import ttest_ind

    import pm_lab as pm

    state.set_range("age", low, high)
    curve = pm.explorer.survival(state, most_points=None)[0]
    steps = answers["survival"].to_numpy()[
        np.searchsorted(answers["survival"].index.to_numpy(), curve.time, side="right") - 1
    ]
    comparison = pm.explorer.compare_survival(state)
    some, mask = cohort.var_names[:100], state.mask
    values = cohort.X[:, :100].astype(float)  # scipy counts in the precision that it is given
    t = ttest_ind(values[mask], values[~mask], equal_var=False).statistic
    genes = pm.explorer.differential_genes(state).set_index("gene").loc[some, "t"]
    return {
        "survival": float(np.abs(curve.survival - steps).max()),
        "log-rank p": abs(comparison.log_rank_p - answers["log_rank_p"]),
        "log hazard ratio": abs(np.log(comparison.hazard_ratio) - answers["log_hazard_ratio"]),
        "t of genes": float(np.abs(genes - t).max()),
    }


TOLERANCES = {"survival": 1e-9, "log-rank p": 1e-6, "log hazard ratio": 1e-4, "t of genes": 1e-4}


def measure_kernel(n: int) -> bool:
    """Print the table of one size; True where target and answers hold."""
    import pm_lab as pm

    cohort, cells = make_cohort(n)
    start = time.perf_counter()
    data = pm.explorer.CohortData.open(cohort, cells=cells)
    state = pm.explorer.CohortState(data)
    opened = time.perf_counter() - start
    columns = [name for name, column in data.columns.items() if column.group != "endpoint"]
    counts = pd.crosstab(cells.obs["patient"], cells.obs["cell_type"])
    peers = [peer(cohort, counts, columns, *move) for move in MOVES[1 : 1 + PEER_MOVES[n]]]
    apart = differences(state, cohort, peers[0][1], *MOVES[1])
    state.clear()
    state = pm.explorer.CohortState(pm.explorer.CohortData.open(cohort, cells=cells))
    taken = measure_views(state, columns)
    print(f"\n{n:,} patients × {N_GENES:,} genes; opened in {opened:.1f} s")
    print(f"{'view':10}{'first':>10}{'median':>10}{'worst':>10}{'peer':>12}{'ratio':>8}   (ms)")
    busy = taken.pop("processor")
    for name, values in taken.items():
        middle, other = np.median(values[1:]), np.median([spent[name] for spent, _ in peers])
        worst = max(values[1:])
        print(f"{name:10}{values[0]:10.0f}{middle:10.1f}{worst:10.1f}{other:12.0f}{middle / other:8.3f}")
    processor = np.median(busy[1:])
    print(f"all, in time of the processor: {processor:.1f} ms (less than the clock where others work)")
    print("largest differences: " + ", ".join(f"{name} {value:.1g}" for name, value in apart.items()))
    target, middle = TARGETS[n], np.median(taken["all"][1:])
    equal = all(value <= TOLERANCES[name] for name, value in apart.items())
    verdict = "reached" if middle <= target else "MISSED"
    print(f"target {target} ms: {verdict}; answers {'equal' if equal else 'DIFFER'}")
    return middle <= target and equal


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kernel", action="store_true", help="this part alone")
    parser.add_argument("--browser", action="store_true", help="this part alone")
    parser.add_argument("--patients", type=int, nargs="+", choices=SIZES, default=list(SIZES))
    given = parser.parse_args()
    both = given.kernel == given.browser
    warnings.simplefilter("ignore")
    held = [measure_kernel(n) for n in given.patients] if both or given.kernel else []
    if both or given.browser:
        from explorer_browser import measure_browser

        held.append(measure_browser())
    else:
        print("\nNot looked at: first display, bytes sent to the page, the large embedding (--browser).")
    if not (both or given.kernel):
        print("Not looked at: a change of a filter in the kernel (--kernel).")
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
