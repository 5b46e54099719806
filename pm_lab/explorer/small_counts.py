"""Small counts in what is shared: fewer than ten people are shown as "<10", also as a difference.

A check of outputs, as a linter is one of code. It does not hide anything from who runs the kernel, and knows
only what this kernel has shared. It compares two exports at a time, their people and the cells of their
tables, but not their curves and numbers at risk. Somebody who combines many exports, or has other knowledge
of the patients, may still single one out.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from pm_lab import checks

LEAST = 10


def shown(n: int, least: int = LEAST) -> str:
    """A count of people as it may be shared; a true zero looks like any other small one.

    Examples
    --------
    >>> from pm_lab.explorer import shown
    >>> shown(63), shown(9), shown(0), shown(3, least=0)
    ('63', '<10', '<10', '3')
    """
    return f"<{least}" if n < least else f"{n:,}"


def shown_of(n: int, total: int, least: int = LEAST) -> str:
    """A part of a known total: what is left of it is protected as well.

    Examples
    --------
    >>> from pm_lab.explorer.small_counts import shown_of
    >>> shown_of(63, 198), shown_of(4, 198), shown_of(195, 198)
    ('63 of 198', '<10 of 198', '>188 of 198')
    """
    if least and total < least:
        return f"<{least}"
    if n >= least and total - n < least:
        return f">{total - least:,} of {total:,}"
    return f"{shown(n, least)} of {total:,}"


def suppress(
    counts: pd.DataFrame | pd.Series, least: int = LEAST, also: np.ndarray | None = None
) -> pd.DataFrame | pd.Series:
    """Counts of people as text, with "<10" where they are small or could be worked out from a total.

    Rows and columns are taken to have totals that are known. Where the hidden counts of one hold fewer than
    ``least`` people together, or only one is hidden, the smallest that is shown is hidden too ("hidden").

    Parameters
    ----------
    counts : whole numbers of people, without the totals.
    least : fewest people that are shown; 0 shows all.
    also : of the shape of ``counts``, what is to be hidden for another reason ("hidden").

    Examples
    --------
    >>> import pandas as pd
    >>> from pm_lab.explorer import suppress
    >>> suppress(pd.Series({"I": 40, "II": 25, "III": 3})).tolist()
    ['40', 'hidden', '<10']
    """
    checks.whole_number(least, "least", least=0)
    table = counts.to_frame() if isinstance(counts, pd.Series) else counts
    values = table.to_numpy(np.int64)
    hidden = values < least
    if also is not None:
        hidden = hidden | np.asarray(also, bool).reshape(values.shape)
    hidden = _hidden(values, hidden, least, both=isinstance(counts, pd.DataFrame))
    text = np.array([[shown(value, least) for value in row] for row in values], object).reshape(values.shape)
    text[hidden & (values >= least)] = "hidden"
    frame = pd.DataFrame(text, table.index, table.columns)
    return frame.iloc[:, 0].rename(counts.name) if isinstance(counts, pd.Series) else frame


def _hidden(values: np.ndarray, hidden: np.ndarray, least: int, both: bool) -> np.ndarray:
    """Hide more counts until no row or column gives one of those hidden away."""
    changed = True
    while changed:
        changed = False
        for value, hide in ((values.T, hidden.T), (values, hidden))[: 1 + both]:
            for line, mask in zip(value, hide, strict=True):
                while mask.any() and not mask.all() and (mask.sum() < 2 or line[mask].sum() < least):
                    smallest = np.flatnonzero(~mask)[np.argmin(line[~mask])]
                    mask[smallest] = changed = True
    return hidden


def coarse_steps(events: np.ndarray, at_risk: np.ndarray, n: int, least: int = LEAST) -> np.ndarray:
    """Which points of a survival curve may be shared: each step stands for ``least`` events or more.

    Parameters
    ----------
    events : how many have had the event by each time of a grid, the first of them before anybody has.
    at_risk : how many are under observation after it.
    n : people of the group.

    Returns
    -------
    Indices of the points to keep: the first, then each by which ``least`` more have had the event, as long as
    ``least`` are under observation. Empty where fewer have the event at all, or fewer do not have it.

    Examples
    --------
    >>> from pm_lab.explorer.small_counts import coarse_steps
    >>> coarse_steps([0, 4, 11, 19, 25, 37], [80, 70, 60, 40, 20, 9], n=80).tolist()
    [0, 2, 4]
    """
    if len(events) == 0 or not least <= events[-1] <= n - least:
        return np.array([], dtype=int)
    kept = [0]
    for place, (happened, left) in enumerate(zip(events, at_risk, strict=True)):
        if happened - events[kept[-1]] >= max(least, 1) and left >= least:
            kept.append(place)
    return np.array(kept, dtype=int)


class SharedSelections:
    """Selections of patients that were shared, so that two of them do not give away a few people.

    A selection is withheld when it, or what it leaves of everyone, holds fewer than ``least`` people, or when
    it differs from one that was shared before (or from that one's rest) in fewer than ``least`` people and is
    not the same. Everyone counts as shared.

    Examples
    --------
    >>> import numpy as np
    >>> from pm_lab.explorer import SharedSelections
    >>> shared = SharedSelections(100)
    >>> shared.share(np.arange(100) < 50), shared.share(np.arange(100) < 53)
    ('', 'differs in <10 people from a selection that was shared before')
    """

    def __init__(self, n: int):
        self.n = n
        self._packed: list[bytes] = []

    def why_not(self, mask: np.ndarray, least: int = LEAST) -> str:
        """Why a selection is withheld, or "" when it may be shared."""
        mask = np.asarray(mask, bool)
        n = int(mask.sum())
        if n == self.n and n >= least:
            return ""
        if n < least:
            return f"<{least} people"
        if self.n - n < least:
            return f"all but <{least} people"
        for packed in self._packed:
            differs = int((mask ^ self._unpacked(packed)).sum())
            if 0 < differs < least or 0 < self.n - differs < least:
                return f"differs in <{least} people from a selection that was shared before"
        return ""

    def share(self, mask: np.ndarray, least: int = LEAST) -> str:
        """As :meth:`why_not`, and keep the selection in mind when it may be shared."""
        reason = self.why_not(mask, least)
        packed = np.packbits(np.asarray(mask, bool)).tobytes()
        if not reason and packed not in self._packed:
            self._packed.append(packed)
        return reason

    def before(self, mask: np.ndarray) -> list[np.ndarray]:
        """The selections that were shared before this one was, everyone left out."""
        packed = np.packbits(np.asarray(mask, bool)).tobytes()
        place = self._packed.index(packed) if packed in self._packed else len(self._packed)
        return [some for some in map(self._unpacked, self._packed[:place]) if not some.all()]

    def _unpacked(self, packed: bytes) -> np.ndarray:
        return np.unpackbits(np.frombuffer(packed, np.uint8), count=self.n).astype(bool)


REGISTERS: dict[str, SharedSelections] = {}  # of this kernel, by the hash of the data


def shared_selections(data_hash: str, n: int) -> SharedSelections:
    """What was shared of these data in this kernel, also when they were opened anew."""
    return REGISTERS.setdefault(data_hash, SharedSelections(n))
