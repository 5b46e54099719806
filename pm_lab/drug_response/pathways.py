"""From genes to pathways: what drives the predictions of each drug, and whether it is what was planted."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pm_lab import gene_sets as floor
from pm_lab.checks import whole_number
from pm_lab.drug_response.attribution import Attribution, integrated_gradients
from pm_lab.drug_response.contract import check_screen, first, screen_of
from pm_lab.errors import DataError, PmLabWarning

GeneSets = Mapping[str, Iterable[str]]
FEWEST_GENES = 5  # of a pathway, measured
FEWEST_LINES = 5  # for a correlation
SMALLEST_FDR = 0.05  # that must be within reach


@dataclass(frozen=True, eq=False)
class Explanation:
    """What :func:`explain` found.

    Attributes
    ----------
    genes : DataFrame, one row a gene and drug: ``gene``, ``drug``, ``attribution`` (mean over the rows of
        the size of what the gene adds to the prediction), ``effect`` (change of the prediction where the gene
        is one SD higher; negative: more sensitive). Both in the units of the screen, ln IC50 in µM.
    pathways : DataFrame, one row a pathway and drug: ``pathway``, ``drug``, ``n_genes``, ``effect`` (sum of
        its genes' effects: all of them one SD higher), ``score`` (the effect against random sets of as many
        genes that go together as much, in SD of these: large pathways score no higher), ``p`` and ``fdr``.
    rows : DataFrame, one row a patient (or line), drug and pathway: ``contribution`` (what its genes add to
        this prediction) and ``score`` (against random sets, as above; of size, not of significance).
    attribution : of :func:`integrated_gradients`, every gene of every row.
    mapping : DataFrame by pathway, of :func:`pm_lab.gene_sets.mapping_report`, and whether it was ``used``.
    """

    genes: pd.DataFrame
    pathways: pd.DataFrame
    rows: pd.DataFrame
    attribution: Attribution
    mapping: pd.DataFrame


def explain(
    model,
    adata,
    drugs: str | Iterable[str] | None = None,
    gene_sets: GeneSets | None = None,
    n_permutations: int = 2000,
    seed: int = 0,
    align: str = "auto",
) -> Explanation:
    """Say which genes and pathways drive the predictions of each drug.

    Parameters
    ----------
    model : a fitted DrugResponseModel.
    adata : lines or patients to explain, ``X`` = log2(TPM + 1), or a Cohort, whose patients are taken.
    drugs : names; by default all of training.
    gene_sets : pathway → genes; by default the bundled pathways. Those with fewer than 5 genes among those
        of training, or with all of them, are left out; ``mapping`` names them.
    n_permutations : random orders of the genes behind each p. No fdr can be smaller than the number of
        pathways / (n_permutations + 1); where that is above 0.05, a warning says so.
    seed : of these.
    align : as for :meth:`DrugResponseModel.predict`.

    Returns
    -------
    Explanation
        ``p`` asks whether the genes of a pathway have a stronger effect than as many genes drawn at random.
        Genes of a pathway go together, random ones do not, and a model gives genes that go together like
        effects, by chance too: the spread of the random sets is widened by √(1 + (n − 1) r), with r the mean
        correlation between the genes of the pathway over the lines of training. ``fdr`` is over the
        pathways of a drug (Benjamini and Hochberg): it does not depend on which drugs are asked for, and of
        many drugs that nothing drives, a share has a pathway below it. It tells what the model uses, which
        may not be what acts on the cell: a pathway that goes along with the one that does is found as well.

    Raises
    ------
    DataError
        As :func:`integrated_gradients`; no pathway has 5 genes of training.

    Source
    ------
    Correlation between genes: Wu and Smyth 2012, doi:10.1093/nar/gks461.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.simulate_cohort(n_cells=600, n_lines=60, n_drugs=10)
    >>> model = pm.drug_response.DrugResponseModel(members=2, hidden=16).fit(cohort.screen)
    >>> found = pm.drug_response.explain(model, cohort, drugs=["DRUG001"])
    >>> len(found.genes), len(found.pathways), len(found.rows)
    (2000, 23, 2760)
    """
    whole_number(n_permutations, "n_permutations", 20)
    learnt = model._fitted()
    members, mapping = pathway_members(gene_sets, learnt.inputs.genes)
    if len(members) > SMALLEST_FDR * (n_permutations + 1):
        warnings.warn(
            f"with {n_permutations:,} permutations no fdr of {len(members):,} pathways can be below "
            f"{min(1, len(members) / (n_permutations + 1)):.2f}. Pass n_permutations={20 * len(members)} or "
            "more.",
            PmLabWarning,
            stacklevel=2,
        )
    widening = set_widening(learnt.expression, members)
    found = integrated_gradients(model, adata, drugs, align)
    effect = gene_effects(found)
    scored = _score_pathways(effect, members, widening, n_permutations, seed)
    names, drugs = list(members), list(found.drugs)
    table = pd.DataFrame(
        {
            "pathway": np.tile(np.array(names, dtype=object), len(drugs)),
            "drug": np.repeat(np.array(drugs, dtype=object), len(names)),
            "n_genes": np.tile([len(places) for places in members.values()], len(drugs)),
            **scored,
        }
    )
    rows = _row_table(found, members, widening)
    return Explanation(_gene_table(found, effect), table, rows, found, mapping)


def pathway_members(
    gene_sets: GeneSets | None, genes: list[str]
) -> tuple[dict[str, np.ndarray], pd.DataFrame]:
    """Places of each pathway's genes among those of training, and what became of each pathway."""
    matched, _ = floor.match_symbols(floor.core("pathway") if gene_sets is None else gene_sets, genes)
    mapping = floor.mapping_report(matched, genes)
    mapping["used"] = (mapping["measured"] >= FEWEST_GENES) & (mapping["measured"] < len(genes))
    if not mapping["used"].any():
        raise DataError(
            f"none of the {len(matched):,} gene sets ({first(matched)}) has {FEWEST_GENES} genes or more "
            f"among the {len(genes):,} of training ({first(genes)}). Pass gene_sets=, pathway → genes."
        )
    index = pd.Index(genes)
    places = {name: index.get_indexer(matched[name]) for name in mapping.loc[mapping["used"], "set"]}
    return {name: place[place >= 0] for name, place in places.items()}, mapping


def set_widening(expression: np.ndarray, members: dict[str, np.ndarray]) -> np.ndarray:
    """By how much a sum over the genes of each pathway spreads wider than over genes that do not go together.

    The variance of a sum of n values of unit variance and mean correlation r is n (1 + (n − 1) r).
    """
    spread = []
    for places in members.values():
        genes = expression[:, places[expression[:, places].std(axis=0) > 0]]
        spread.append(genes.sum(axis=1).var() / max(genes.var(axis=0).sum(), 1e-12))
    return np.sqrt(np.maximum(spread, 1.0))


def gene_effects(found: Attribution) -> np.ndarray:
    """Genes × drugs: the slope of what a gene adds over its expression, through the average line."""
    squares = (found.expression**2).sum(axis=0)
    slopes = np.stack(
        [np.einsum("rg,rg->g", found.values[:, drug], found.expression) for drug in range(len(found.drugs))],
        axis=1,
    )
    return np.divide(slopes, squares[:, None], out=np.zeros_like(slopes), where=squares[:, None] > 0)


def _score_pathways(
    effect: np.ndarray, members: dict[str, np.ndarray], widening: np.ndarray, n_permutations: int, seed: int
) -> dict[str, np.ndarray]:
    """Effect, score, p and fdr of drugs × pathways, one drug after the other."""
    from scipy.stats import false_discovery_control

    sizes = np.array([len(place) for place in members.values()])
    total = np.stack([effect[place].sum(axis=0) for place in members.values()], axis=1)  # drugs × pathways
    mean, deviation = _of_random_sets(effect, sizes)
    rng = np.random.default_rng(seed)
    extreme = np.zeros_like(total)
    for _ in range(n_permutations):
        # Smaller sets are the beginnings of larger ones, so that one order of the genes serves all.
        summed = effect[rng.permutation(len(effect))[: sizes.max()]].cumsum(axis=0)[sizes - 1].T
        extreme += widening * np.abs(summed - mean) >= np.abs(total - mean) * (1 - 1e-9)
    p = (extreme + 1) / (n_permutations + 1)
    deviation = deviation * widening
    score = np.divide(total - mean, deviation, out=np.zeros_like(total), where=deviation > 0)
    return {
        "effect": total.ravel(),
        "score": score.ravel(),
        "p": p.ravel(),
        "fdr": false_discovery_control(p, axis=1).ravel(),
    }


def _of_random_sets(values: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and SD of the sum over random sets of genes, drawn without replacement: columns × sizes."""
    n = len(values)
    mean = values.mean(axis=0)[:, None] * sizes
    share = sizes * (n - sizes) / (n - 1)
    return mean, np.sqrt(values.var(axis=0)[:, None] * share)


def _gene_table(found: Attribution, effect: np.ndarray) -> pd.DataFrame:
    size = np.abs(found.values).mean(axis=0)  # drugs × genes
    return pd.DataFrame(
        {
            "gene": np.tile(found.genes.to_numpy(object), len(found.drugs)),
            "drug": np.repeat(found.drugs.to_numpy(object), len(found.genes)),
            "attribution": size.ravel().astype(float),
            "effect": effect.T.ravel(),
        }
    )


def _row_table(found: Attribution, members: dict[str, np.ndarray], widening: np.ndarray) -> pd.DataFrame:
    names = np.array(list(members), dtype=object)
    n_drugs, n_names = len(found.drugs), len(names)
    contribution, score = (
        np.stack(part)
        for part in zip(*(score_row(values, members, widening) for values in found.values), strict=True)
    )
    return pd.DataFrame(
        {
            found.kind: np.repeat(found.rows.to_numpy(object), n_drugs * n_names),
            "drug": np.tile(np.repeat(found.drugs.to_numpy(object), n_names), len(found.rows)),
            "pathway": np.tile(names, len(found.rows) * n_drugs),
            "contribution": contribution.ravel().astype(float),
            "score": score.ravel(),
        }
    )


def score_row(
    values: np.ndarray, members: dict[str, np.ndarray], widening: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What the genes of each pathway add for one row, and that against random sets: drugs × pathways.

    ``values`` : drugs × genes, of :class:`Attribution`.
    """
    sizes = np.array([len(place) for place in members.values()])
    contribution = np.stack([values[:, place].sum(axis=1) for place in members.values()], axis=1)
    mean, deviation = _of_random_sets(values.T.astype(float), sizes)
    deviation = deviation * widening
    score = np.divide(contribution - mean, deviation, out=np.zeros_like(mean), where=deviation > 0)
    return contribution, score


def correlate_pathways(
    screen, drugs: str | Iterable[str] | None = None, gene_sets: GeneSets | None = None
) -> pd.DataFrame:
    """The naive baseline of an explanation: each pathway's mean expression against the measured responses.

    Parameters
    ----------
    screen : as :func:`check_screen` describes it, or a simulated Cohort.
    drugs : names; by default all.
    gene_sets : as for :func:`explain`.

    Returns
    -------
    DataFrame, one row a pathway and drug: ``pathway``, ``drug``, ``n_lines``, ``score`` (Pearson correlation
    of the mean of the standardised genes with the response; negative: more sensitive where it is active),
    ``p`` (t-test) and ``fdr`` (Benjamini and Hochberg, over the pathways of a drug).

    Raises
    ------
    DataError
        The screen is refused, a drug is not in it, or no pathway has 5 genes of it.

    Examples
    --------
    >>> import pm_lab as pm
    >>> screen = pm.datasets.simulate_cohort(n_cells=600).screen
    >>> pm.drug_response.correlate_pathways(screen, ["DRUG001"]).shape
    (23, 6)
    """
    from scipy.stats import false_discovery_control, pearsonr

    from pm_lab.drug_response.lines import LineInputs

    screen = screen_of(screen)
    response = check_screen(screen, min_lines=FEWEST_LINES)
    names = [drugs] if isinstance(drugs, str) else list(response.columns if drugs is None else drugs)
    unknown = [name for name in names if name not in response.columns]
    if unknown:
        raise DataError(f"{len(unknown):,} drugs are not in the screen: {first(unknown)}.")
    members, _ = pathway_members(gene_sets, list(screen.var_names))
    expression = LineInputs.learn(screen, ()).expression(screen)
    activity = {name: expression[:, places].mean(axis=1) for name, places in members.items()}
    rows = []
    for drug in names:
        known = response[drug].notna().to_numpy()
        for name, level in activity.items():
            r, p = pearsonr(level[known], response[drug].to_numpy()[known])
            rows.append((name, drug, int(known.sum()), float(r), float(p)))
    table = pd.DataFrame(rows, columns=["pathway", "drug", "n_lines", "score", "p"])
    table["fdr"] = table.groupby("drug")["p"].transform(false_discovery_control)
    return table


def planted_links(pathways: pd.DataFrame, truth: pd.DataFrame, smallest: float = 0.3) -> pd.DataFrame:
    """Where the pathways that were planted behind each drug stand among all.

    Parameters
    ----------
    pathways : ``explain(...).pathways``, or what :func:`correlate_pathways` returns.
    truth : drugs × pathways, the weights of the built-in screen, ``cohort.truth["drugs"]``: ln IC50 per SD
        of activity.
    smallest : size of a weight from which a link counts. The noise of a response is 0.9.

    Returns
    -------
    DataFrame, one row a planted link, strongest first within a drug: ``drug``, ``pathway``, ``weight``,
    ``n_links`` (of this drug), ``rank`` (by size of the score, 1 the largest, among ``n_pathways``),
    ``score``, ``fdr`` and ``same_sign`` (score and weight agree). A drug's second link does well at rank 2.

    Raises
    ------
    DataError
        No drug of the table is in the truth, or none of its planted pathways is in the table.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.simulate_cohort(n_cells=600)
    >>> naive = pm.drug_response.correlate_pathways(cohort.screen)
    >>> links = pm.drug_response.planted_links(naive, cohort.truth["drugs"])
    >>> bool((links["rank"] == 1).mean() > 0.5)
    True
    """
    table = pathways.copy()
    size = table["score"].abs()
    table["rank"] = size.groupby(table["drug"]).rank(ascending=False, method="min").astype(int)
    table["n_pathways"] = table.groupby("drug")["pathway"].transform("size")
    weights = (
        truth.rename_axis(index="drug").reset_index().melt("drug", var_name="pathway", value_name="weight")
    )
    weights = weights[weights["weight"].abs() >= smallest]
    weights["n_links"] = weights.groupby("drug")["weight"].transform("size")
    links = weights.merge(table, on=["drug", "pathway"])
    if links.empty:
        raise DataError(
            f"no planted link is in the table: its drugs are {first(table['drug'].unique(), 3)} and its "
            f"pathways {first(table['pathway'].unique(), 3)}; planted are {first(truth.index, 3)} and "
            f"{first(truth.columns, 3)}."
        )
    links["same_sign"] = np.sign(links["score"]) == np.sign(links["weight"])
    links["size"] = links["weight"].abs()
    links = links.sort_values(["drug", "size"], ascending=[True, False], kind="stable", ignore_index=True)
    columns = ["drug", "pathway", "weight", "n_links", "rank", "n_pathways", "score", "fdr", "same_sign"]
    return links[columns]
