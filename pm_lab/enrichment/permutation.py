"""Enrichment scores of many sets in many rankings, and what they mean against a null."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

TOLERANCE = 1e-5  # relative; null scores are kept with the digits of float32


class SetIndex(NamedTuple):
    """Members of all sets as gene numbers, one set after the other."""

    genes: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray
    segment: np.ndarray  # by member: number of its set times the number of genes, so that one sort sorts all
    fall: np.ndarray  # by member: what the walk falls at each gene outside its set
    before: np.ndarray  # by member: members of its set before it

    @classmethod
    def of(cls, members: list[np.ndarray], n_genes: int) -> SetIndex:
        sizes = np.array([len(one) for one in members])
        starts = np.cumsum(sizes) - sizes
        return cls(
            genes=np.concatenate(members),
            starts=starts,
            sizes=sizes,
            segment=np.repeat(np.arange(len(sizes)) * n_genes, sizes),
            fall=np.repeat(1 / (n_genes - sizes), sizes),
            before=np.arange(sizes.sum()) - np.repeat(starts, sizes),
        )


def enrichment_scores(position: np.ndarray, weight: np.ndarray, sets: SetIndex) -> np.ndarray:
    """Enrichment score of each set in one ranking (Subramanian 2005).

    A walk down the ranking rises by each member's share of the set's weight and falls by 1 / (genes outside
    the set) at each other gene; the score is its largest distance from zero, with its sign. Only members
    matter: the walk is highest right after one and lowest right before one.

    Parameters
    ----------
    position : place of each gene in the ranking, from 0, the highest first.
    weight : absolute statistic by place.
    """
    place = np.sort(position[sets.genes] + sets.segment) - sets.segment
    step = weight[place].astype(float)
    total = np.add.reduceat(step, sets.starts)
    step *= np.repeat(1 / np.where(total > 0, total, 1), sets.sizes)
    risen = np.cumsum(step)
    after = risen - np.repeat(risen[sets.starts] - step[sets.starts], sets.sizes)
    after -= (place - sets.before) * sets.fall
    highest = np.maximum.reduceat(after, sets.starts)
    lowest = np.minimum.reduceat(after - step, sets.starts)
    scores = np.where(highest >= -lowest, highest, lowest)
    return np.where(total > 0, scores, 0.0)  # no member has any weight: nothing to tell


def places(statistic: np.ndarray, stable: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Position of each gene, the highest statistic first, and the absolute statistic by place.

    Genes with equal values stay in the order given; ``stable=False`` does without and is faster.
    """
    order = np.argsort(-statistic, kind="stable" if stable else None)
    position = np.empty(len(order), dtype=np.int64)
    position[order] = np.arange(len(order))
    return position, np.abs(statistic[order])


def leading_edges(position: np.ndarray, weight: np.ndarray, members: list[np.ndarray], scores) -> list:
    """Gene numbers of each set up to the peak of its walk, the most extreme gene first."""
    edges = []
    for genes, score in zip(members, scores, strict=True):
        genes = genes[np.argsort(position[genes])]
        place = position[genes]
        risen = np.cumsum(weight[place])
        share = risen / risen[-1] if risen[-1] > 0 else risen
        fallen = (place - np.arange(len(place))) / (len(position) - len(place))
        if score >= 0:
            edges.append(genes[: np.argmax(share - fallen) + 1])
        else:
            lowest = np.argmin(np.concatenate([[0], share[:-1]]) - fallen)
            edges.append(genes[lowest:][::-1])
    return edges


def gene_null(weight: np.ndarray, sizes: np.ndarray, n_permutations: int, seed: int) -> np.ndarray:
    """Scores of random sets of the given sizes: sets × permutations.

    Sets of one size share their null: it depends on nothing else. Smaller sets are the beginnings of larger
    ones, so one random order serves all.
    """
    distinct, which = np.unique(sizes, return_inverse=True)
    nested = SetIndex.of([np.arange(size) for size in distinct], len(weight))
    rng = np.random.default_rng(seed)
    null = np.empty((len(distinct), n_permutations), dtype=np.float32)
    for column in progress(n_permutations):
        null[:, column] = enrichment_scores(rng.permutation(len(weight)), weight, nested)
    return null[which]


def progress(n_permutations: int):
    from tqdm.auto import tqdm

    quiet = os.environ.get("PM_LAB_PROGRESS") == "0"
    return tqdm(range(n_permutations), desc="permutations", leave=False, disable=quiet)


def significance(scores: np.ndarray, null: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normalised score, nominal p and false discovery rate of each set, after Subramanian 2005.

    Everything is done within one sign. The normalised score is the score over the mean of the set's null
    scores of its sign; a set without any has 1 or -1 (and p = 1). The nominal p is (b + 1) / (n + 1) with b
    of n null scores of that sign at least as extreme. The false discovery rate is the share of all sets'
    null scores at least as extreme as the set's, over the share of observed ones; one is added to both
    counts of the null, so that it is never zero.

    Parameters
    ----------
    scores : by set.
    null : sets × permutations. It is changed in place: with thousands of sets it is large.
    """
    normalised, pvalue = np.empty(len(scores)), np.empty(len(scores))
    for row, (score, of_set) in enumerate(zip(scores, null, strict=True)):
        up = of_set >= 0
        same = np.abs(of_set[up == (score >= 0)])
        # The observed labelling may be drawn again; it must count as extreme whatever its last digits.
        pvalue[row] = ((same >= abs(score) * (1 - TOLERANCE)).sum() + 1) / (len(same) + 1)
        own = abs(score) or 1.0
        size = same.mean() if len(same) and same.any() else own
        normalised[row] = score / size
        for side in (up, ~up):
            if of_set[side].any():
                of_set[side] /= np.abs(of_set[side]).mean()
    pooled = null.ravel()
    pooled.sort()
    n_down = np.searchsorted(pooled, 0)
    up, fdr = scores >= 0, np.empty(len(scores))
    fdr[up] = _pooled_fdr(normalised[up], pooled[n_down:])
    fdr[~up] = _pooled_fdr(-normalised[~up], -pooled[:n_down][::-1])
    return normalised, pvalue, fdr


def _pooled_fdr(observed: np.ndarray, null: np.ndarray) -> np.ndarray:
    """``null`` is sorted."""
    ordered = np.sort(observed)
    expected = (len(null) - np.searchsorted(null, observed * (1 - TOLERANCE)) + 1) / (len(null) + 1)
    found = (len(ordered) - np.searchsorted(ordered, observed)) / max(len(ordered), 1)
    return np.minimum(expected / found, 1)
