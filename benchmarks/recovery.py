"""Does the single-cell pipeline find what the simulator planted? From raw counts to patients, seed by seed.

    python benchmarks/recovery.py            five seeds
    python benchmarks/recovery.py 0 1        these seeds

The peers are the usual shortcuts on the same cells: cells as replicates, and a t-test on plain fractions.
Exits with 1 when a target is missed.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd

TARGETS = {
    "ARI of cell types": (">=", 0.95),
    "composition recall": (">=", 0.8),
    "composition FDP": ("<=", 0.1),
    "expression recall": (">=", 0.7),
    "expression FDP": ("<=", 0.1),
}
ALPHA = 0.05


def recover(seed: int) -> dict[str, float]:
    """Counts of what was found and what is true on one simulated cohort."""
    from sklearn.metrics import adjusted_rand_score

    import pm_lab as pm

    cohort = pm.datasets.simulate_cohort(seed=seed)
    cells, truth = cohort.cells, cohort.truth
    pm.singlecell.quality_control(cells)
    cells = cells[cells.obs["keep"]].copy()
    pm.singlecell.process(cells, umap=False)
    pm.singlecell.annotate(cells)
    planted = truth["cell_type"][cells.obs_names].astype(str)
    found = {"seed": seed, "ari": adjusted_rand_score(planted, cells.obs["cell_type"])}

    table = pm.singlecell.composition(cells, "response").set_index("cell_type")
    changed = table.index.isin(truth["composition"])
    found |= _counts("composition", table["padj"] < ALPHA, changed, n_true=len(truth["composition"]))
    fractions = pd.DataFrame(table.attrs["fractions"])
    found |= _counts(
        "fractions", _plain_fractions(fractions, cohort.clinical), changed_types(fractions, truth)
    )

    results = pm.singlecell.differential_expression(cells, "~ response", ("response", "yes", "no"))
    effects = truth["cell_type_response"]
    known = results["cell_type"].isin(effects.index)
    effect = np.zeros(len(results))
    effect[known] = [
        effects.at[t, g] for t, g in results.loc[known, ["cell_type", "gene"]].itertuples(index=False)
    ]
    significant = (results["padj"] < ALPHA).to_numpy()
    eligible = _eligible(pm.singlecell.pseudobulk(cells), effects)
    hit = sum(
        (t, g) in eligible for t, g in results.loc[significant, ["cell_type", "gene"]].itertuples(index=False)
    )
    found |= {
        "expression_found": int(significant.sum()),
        "expression_false": int((significant & (effect == 0)).sum()),
        "expression_hit": hit,
        "expression_true": len(eligible),
    }
    found |= _cells_as_replicates(cells, effects)
    return found


def changed_types(fractions: pd.DataFrame, truth: dict) -> np.ndarray:
    return fractions.columns.isin(truth["composition"])


def _counts(name: str, significant, true, n_true: int | None = None) -> dict[str, int]:
    significant = np.asarray(significant, bool)
    return {
        f"{name}_found": int(significant.sum()),
        f"{name}_false": int((significant & ~true).sum()),
        f"{name}_hit": int((significant & true).sum()),
        f"{name}_true": int(true.sum() if n_true is None else n_true),
    }


def _plain_fractions(fractions: pd.DataFrame, clinical: pd.DataFrame) -> np.ndarray:
    """The usual shortcut: a t-test on each fraction."""
    from scipy import stats

    yes = (clinical.loc[fractions.index, "response"] == "yes").to_numpy()
    p = stats.ttest_ind(fractions[yes], fractions[~yes], equal_var=False).pvalue
    return stats.false_discovery_control(p) < ALPHA


def _eligible(samples, effects: pd.DataFrame) -> set[tuple[str, str]]:
    """Pairs with planted |log2 fold change| >= 1.5, mean count >= 5 and 8 patients a side with 10 cells."""
    pairs = set()
    for name in effects.index:
        part = samples[(samples.obs["cell_type"] == name) & (samples.obs["n_cells"] >= 10)]
        if part.obs["response"].value_counts().reindex(["yes", "no"], fill_value=0).min() < 8:
            continue
        planted = (effects.loc[name].abs() >= 1.5).to_numpy() & (part.layers["counts"].mean(axis=0) >= 5)
        pairs |= {(name, gene) for gene in effects.columns[planted]}
    return pairs


def _cells_as_replicates(cells, effects: pd.DataFrame) -> dict[str, int]:
    """The other shortcut: rank sums between the cells of responders and of the others, type by type."""
    from scipy import stats

    found = false = 0
    yes = (cells.obs["response"] == "yes").to_numpy()
    for name in effects.index:
        of_type = (cells.obs["cell_type"] == name).to_numpy()
        p = stats.mannwhitneyu(cells.X[of_type & yes].toarray(), cells.X[of_type & ~yes].toarray()).pvalue
        significant = stats.false_discovery_control(np.nan_to_num(p, nan=1.0)) < ALPHA
        found += int(significant.sum())
        false += int((significant & (effects.loc[name] == 0).to_numpy()).sum())
    return {"cells_found": found, "cells_false": false}


def figures(found: pd.DataFrame) -> dict[str, float]:
    """The figures that TARGETS speak of, pooled over seeds (ARI: the lowest)."""
    total = found.sum()
    return {
        "ARI of cell types": found["ari"].min(),
        "composition recall": total["composition_hit"] / total["composition_true"],
        "composition FDP": total["composition_false"] / max(total["composition_found"], 1),
        "expression recall": total["expression_hit"] / total["expression_true"],
        "expression FDP": total["expression_false"] / max(total["expression_found"], 1),
    }


def missed(found: pd.DataFrame) -> list[str]:
    """The names of the targets missed."""
    values = figures(found)
    return [
        name
        for name, (sign, bound) in TARGETS.items()
        if not (values[name] >= bound if sign == ">=" else values[name] <= bound)
    ]


def main(seeds: list[int]) -> int:
    from tqdm.auto import tqdm

    found = pd.DataFrame([recover(seed) for seed in tqdm(seeds, desc="seeds")])
    print(found.set_index("seed").T.round(3).to_string())
    total = found.sum()
    print(f"\nPooled over {len(seeds)} seeds:")
    for name, value in figures(found).items():
        sign, bound = TARGETS[name]
        print(f"  {name:22s} {value:.3f}  (to reach: {sign} {bound})")
    print(
        f"  cells as replicates    FDP {total['cells_false'] / total['cells_found']:.3f}\n"
        f"  t-test of fractions    FDP {total['fractions_false'] / max(total['fractions_found'], 1):.3f}"
    )
    failed = missed(found)
    if failed:
        print("MISSED:", ", ".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main([int(seed) for seed in sys.argv[1:]] or [0, 1, 2, 3, 4]))
