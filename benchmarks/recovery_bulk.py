"""Do bulk expression and enrichment find what the simulator planted? From counts to pathways, seed by seed.

    python benchmarks/recovery_bulk.py            five seeds
    python benchmarks/recovery_bulk.py 0 1        these seeds

The peers are the usual shortcuts on the same patients: a test without batch and age, and GSEA whose null is
random genes. A null set of genes has no member with a planted effect. Exits with 1 when a target is missed.
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pandas as pd

DESIGN, CONTRAST = "~ batch + age + response", ("response", "yes", "no")
ALPHA = 0.05
LARGE_EFFECT = 0.8  # log2 fold change

# In the top: among as many sets as hold a gene with a planted effect (8 of 23: the four planted pathways and
# four that share genes with them or with what else was planted).
TARGETS = {
    "gene recall": (">=", 0.8),
    "gene FDP": ("<=", 0.1),
    "planted pathways in the top, label permutation": (">=", 1.0),
    "planted pathways in the top, compare_activity": (">=", 1.0),
    "null set FDP, label permutation": ("<=", 0.1),
    "null set FDP, compare_activity": ("<=", 0.1),
}


def recover(seed: int) -> dict[str, float]:
    """What was found and what is true in one simulated cohort."""
    import pm_lab as pm

    cohort = pm.datasets.simulate_cohort(seed=seed)
    effect = cohort.truth["genes"]["response_log2_fold_change"]
    sets = pm.gene_sets.core("pathway")
    null = {name for name, genes in sets.items() if not effect.reindex(genes).fillna(0).any()}
    planted = list(cohort.truth["pathways"].index[cohort.truth["pathways"] != 0])

    results = pm.bulk.differential_expression(cohort, DESIGN, CONTRAST, shrink=False)
    careless = pm.bulk.differential_expression(cohort, "~ response", CONTRAST, shrink=False)
    found = {"seed": seed, **_genes("gene", results, effect), **_genes("careless", careless, effect)}

    tables = {
        "label permutation": pm.enrichment.gsea(
            gene_sets=sets,
            null="permute_labels",
            expression=cohort.bulk,
            labels="response",
            covariates=["batch", "age"],
            seed=seed,
        ),
        "label permutation without covariates": pm.enrichment.gsea(
            gene_sets=sets, null="permute_labels", expression=cohort.bulk, labels="response", seed=seed
        ),
    }
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", pm.errors.PmLabWarning
        )  # that its null ignores correlation: measured here
        tables["random genes"] = pm.enrichment.gsea(results, sets, seed=seed)
    pm.enrichment.sample_activity(cohort.bulk, sets)
    compared = pm.enrichment.compare_activity(cohort, DESIGN, CONTRAST)
    tables["compare_activity"] = compared.rename(columns={"pathway": "gene_set"})
    for method, table in tables.items():
        found |= _sets(method, table, null, planted, top=len(sets) - len(null))
    return found


def _genes(name: str, results: pd.DataFrame, effect: pd.Series) -> dict[str, int]:
    effect_tested = effect.reindex(results.index)
    called = results["padj"] < ALPHA
    large = effect.index[effect.abs() >= LARGE_EFFECT]
    return {
        f"{name}_found": int(called.sum()),
        f"{name}_false": int((called & (effect_tested == 0)).sum()),
        f"{name}_hit": int(called.reindex(large, fill_value=False).sum()),  # a gene not tested is not found
        f"{name}_true": len(large),
    }


def _sets(method: str, table: pd.DataFrame, null: set[str], planted: list[str], top: int) -> dict[str, float]:
    called = set(table.loc[table["fdr"] < ALPHA, "gene_set"])
    leading = set(table["gene_set"].head(top))
    return {
        f"{method}: sets found": len(called),
        f"{method}: null sets among them": len(called & null),
        f"{method}: FDP": len(called & null) / max(len(called), 1),
        f"{method}: planted in the top": np.mean([name in leading for name in planted]),
    }


def figures(found: pd.DataFrame) -> dict[str, float]:
    """The figures that TARGETS speak of: genes pooled over seeds, sets averaged (in the top: the lowest)."""
    total = found.sum()
    values = {
        "gene recall": total["gene_hit"] / total["gene_true"],
        "gene FDP": total["gene_false"] / max(total["gene_found"], 1),
        "careless gene FDP": total["careless_false"] / max(total["careless_found"], 1),
    }
    for column in found.columns[found.columns.str.endswith(": FDP")]:
        values[f"null set FDP, {column.removesuffix(': FDP')}"] = found[column].mean()
    for column in found.columns[found.columns.str.endswith(": planted in the top")]:
        values[f"planted pathways in the top, {column.split(':')[0]}"] = found[column].min()
    return values


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
    print(f"\nOver {len(seeds)} seeds:")
    for name, value in figures(found).items():
        bound = " ".join(map(str, TARGETS[name])) if name in TARGETS else ""
        print(f"  {name:60s} {value:.3f}" + (f"  (to reach: {bound})" if bound else ""))
    failed = missed(found)
    if failed:
        print("MISSED:", ", ".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main([int(seed) for seed in sys.argv[1:]] or [0, 1, 2, 3, 4]))
