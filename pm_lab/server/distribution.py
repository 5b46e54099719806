"""Route ``anndata/distribution``: a column or a gene, by the groups of another column."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from tornado import web

from pm_lab.server.answers import PmLabHandler
from pm_lab.server.colour import Labels, plotted
from pm_lab.server.files import Handle
from pm_lab.server.filters import rows as filtered_rows
from pm_lab.server.frames import frame
from pm_lab.server.genes import gene_values
from pm_lab.server.refusals import Refused

MOST_GROUPS = 50
MOST_NAMED = 200  # groups that are left out
GRID = 64  # points at which a density is given
BINS = 512  # of the finer grid on which the values are counted first
LARGEST = 1e150  # the square of a larger number is none
SMALLEST = 1e-290  # of narrower values the density is too high to be a number


def describe(values: np.ndarray) -> dict:
    """Quartiles, whiskers and density of the numbers of one group.

    Parameters
    ----------
    values
        Numbers; those that are not finite, or beyond 1e150, count as missing.

    Returns
    -------
    dict
        ``n`` (not missing), ``n_missing``, ``n_zero``, ``min``, ``q1``, ``median``, ``q3``, ``max``,
        ``mean``, ``whisker_low`` and ``whisker_high`` (the outermost values within 1.5 interquartile ranges
        of the quartiles), and ``density`` (see :func:`density`). What does not exist without values is None.

    Examples
    --------
    >>> import numpy as np
    >>> from pm_lab.server.distribution import describe
    >>> found = describe(np.array([1.0, 2, 3, 4, 100, np.nan]))
    >>> found["median"], found["whisker_high"], found["n_missing"]
    (3.0, 4.0, 1)
    """
    exact = values.astype(np.float64)
    known = np.sort(exact[np.abs(exact) < LARGEST])
    found = {"n": len(known), "n_missing": len(values) - len(known), "n_zero": int((known == 0).sum())}
    if not len(known):
        nothing = ("min", "q1", "median", "q3", "max", "mean", "whisker_low", "whisker_high")
        return found | dict.fromkeys(nothing) | {"density": {"x": [], "y": []}}
    q1, median, q3 = (float(value) for value in np.quantile(known, [0.25, 0.5, 0.75]))
    reach = 1.5 * (q3 - q1)
    return found | {
        "min": float(known[0]),
        "q1": q1,
        "median": median,
        "q3": q3,
        "max": float(known[-1]),
        "mean": float(known.mean()),
        # Never inside the box, which can happen where the values near a quartile lie far apart.
        "whisker_low": min(q1, float(known[np.searchsorted(known, q1 - reach)])),
        "whisker_high": max(q3, float(known[np.searchsorted(known, q3 + reach, side="right") - 1])),
        "density": density(known),
    }


def density(known: np.ndarray) -> dict[str, list[float]]:
    """A Gaussian kernel density at ``GRID`` points from the smallest to the largest value.

    The bandwidth is Scott's, standard deviation times n^(-1/5), but at least half the distance between two
    points, so that no value falls between them unseen. Values are counted on a finer grid first, each shared
    between its two neighbours there. Empty where all values are equal.
    """
    low, high = float(known[0]), float(known[-1])
    width = high - low
    if len(known) < 2 or width < SMALLEST:
        return {"x": [], "y": []}
    places = (known - low) * (BINS - 1) / width
    left = np.minimum(places.astype(np.int64), BINS - 2)
    share = places - left
    counts = np.bincount(left, 1 - share, BINS) + np.bincount(left + 1, share, BINS)
    bandwidth = max(known.std(ddof=1) * len(known) ** -0.2, width / (GRID - 1) / 2)
    x = np.linspace(low, high, GRID)
    apart = (x[:, None] - np.linspace(low, high, BINS)) / bandwidth
    y = np.exp(-0.5 * apart**2) @ counts / (len(known) * bandwidth * np.sqrt(2 * np.pi))
    return {"x": x.tolist(), "y": y.tolist()}


def distribution(handle: Handle, obs: str, gene: str, layer: str, by: str, filters: list[dict]) -> dict:
    """What the route answers."""
    found = gene_values(handle, gene, layer or None) if gene else plotted(handle, obs)
    groups, codes, about = _groups(handle, by, filtered_rows(handle, "obs", filters))
    about |= {"name": gene or obs, "by": by}
    rows = _split(codes, len(groups))
    if isinstance(found, Labels):
        n = len(found.categories)
        answer = {"kind": "category", "categories": found.categories}
        tables = [np.bincount(found.codes[here] + 1, minlength=n + 1) for here in rows]
        each = [{"n": int(t[1:].sum()), "n_missing": int(t[0]), "counts": t[1:].tolist()} for t in tables]
    else:
        answer, each = {"kind": "number"}, [describe(found[here]) for here in rows]
    named = [{"name": name, **one} for name, one in zip(groups, each, strict=True)]
    return answer | about | {"groups": named}


def _groups(handle: Handle, by: str, kept: np.ndarray | None) -> tuple[list[str], np.ndarray, dict]:
    """Names of the groups shown, the group of each row (-1 for none), and what is said of the rest."""
    n = frame(handle, "obs").n
    if not by:
        codes = np.zeros(n, np.int32) if kept is None else np.where(kept, 0, -1)
        return ["all"], codes, {"left_out": [], "n_left_out": 0, "n_without_group": 0}
    labels = _as_labels(plotted(handle, by), by)
    codes = labels.codes if kept is None else np.where(kept, labels.codes, -1)
    counts = np.bincount(codes + 1, minlength=len(labels.categories) + 1)
    without = int(counts[0]) - (0 if kept is None else n - int(kept.sum()))
    counts = counts[1:]
    used = np.flatnonzero(counts)
    largest = used[np.argsort(-counts[used], kind="stable")]
    shown, rest = np.sort(largest[:MOST_GROUPS]), largest[MOST_GROUPS:]
    place = np.full(len(counts) + 1, -1, np.int32)  # its last entry is that of the code -1
    place[shown] = np.arange(len(shown), dtype=np.int32)
    left_out = [{"name": labels.categories[i], "n": int(counts[i])} for i in rest[:MOST_NAMED]]
    about = {"left_out": left_out, "n_left_out": len(rest), "n_without_group": without}
    return [labels.categories[i] for i in shown], place[codes], about


def _as_labels(found: Labels | np.ndarray, by: str) -> Labels:
    """Groups; of whole numbers too, such as numbers of clusters, as long as they are few."""
    if isinstance(found, Labels):
        return found
    known = np.isfinite(found)
    levels = np.unique(found[known])
    if len(levels) > MOST_GROUPS or (levels != np.round(levels)).any():
        raise Refused(
            422,
            f"This column of numbers has {len(levels):,} different values, which make no groups.",
            f"obs[{by!r}]",
            "Choose a column of categories.",
        )
    codes = np.where(known, np.searchsorted(levels, found), -1).astype(np.int32)
    return Labels([f"{level:.0f}" for level in levels], codes)


def _split(codes: np.ndarray, n_groups: int) -> list[np.ndarray]:
    """Rows of each group."""
    order = np.argsort(codes, kind="stable")
    ends = np.searchsorted(codes[order], np.arange(n_groups + 1))
    return [order[start:stop] for start, stop in pairwise(ends)]


class DistributionHandler(PmLabHandler):
    """GET ``anndata/distribution?path&(obs=|gene=&layer=)&by&filters&task``: see :func:`describe`.

    At most 50 groups, the largest; ``left_out`` names further ones. Counts by category for labels.
    """

    @web.authenticated
    async def get(self) -> None:
        obs, gene, layer = self.text("obs"), self.text("gene"), self.text("layer")
        if bool(obs) == bool(gene):
            raise Refused(400, "Ask for a column (obs=) or a gene (gene=), not for both.", "obs")
        self.answer(await self.read(distribution, obs, gene, layer, self.text("by"), self.filters()))


ROUTES = [(r"anndata/distribution", DistributionHandler)]
