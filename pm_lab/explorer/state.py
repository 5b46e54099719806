"""What is chosen in the explorer, in plain Python: all that the widgets can do can be done here."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pandas as pd

from pm_lab.errors import DataError

from . import filters as f
from . import saved
from .choices import Choices, checked_setting
from .cohort_data import CohortData
from .groups import Group, group_from
from .small_counts import LEAST, shown, shown_of

MASKS_KEPT = 64
PASSED = "endpoint"  # what CohortData.open calls an endpoint that was passed to it


class CohortState:
    """Filters, groups, patient, endpoint and settings of an explorer, with undo, JSON and words.

    Parameters
    ----------
    data : the cohort, or what :meth:`CohortData.open` takes.
    endpoint : by default the first that is declared.

    Examples
    --------
    >>> import pm_lab as pm
    >>> state = pm.explorer.CohortState(pm.explorer.CohortData.open(pm.datasets.load("gse7390")))
    >>> state.set_categories("er", ["positive"])
    >>> state.set_range("age", 40, 55)
    >>> state.describe()
    'er = positive and 40 ≤ age < 55: 92 of 198 patients'
    """

    def __init__(self, data: CohortData, endpoint: str | None = None):
        if not isinstance(data, CohortData):
            data = CohortData.open(data)
        self._now = Choices(data)
        self._past: list[Choices] = []
        self._future: list[Choices] = []
        self._observers: list[Callable[[set[str]], None]] = []
        self._before_batch: Choices | None = None
        self._masks: OrderedDict[tuple, np.ndarray] = OrderedDict()
        first = next(iter(data.endpoints), None)
        self._now = replace(self._now, endpoint=self._known_endpoint(first if endpoint is None else endpoint))

    # What is chosen

    @property
    def data(self) -> CohortData:
        return self._now.data

    @property
    def filters(self) -> Mapping[str, f.Filter]:
        """Active filters by key: a column's name, "gene:TP53", "patients" or "lasso:X_umap"."""
        return MappingProxyType(self._now.filters)

    @property
    def groups(self) -> Mapping[str, Group]:
        """How the groups "A" and "B" were chosen, as far as they are set."""
        return MappingProxyType(self._now.groups)

    @property
    def patient(self) -> str | None:
        return None if self._now.patient is None else self.data.patients[self._now.patient]

    @property
    def endpoint(self) -> str | None:
        return self._now.endpoint

    @property
    def settings(self) -> Mapping:
        return MappingProxyType(self._now.settings)

    @property
    def mask(self) -> np.ndarray:
        """True for the patients whom all filters keep; read only."""
        return self._mask_of(tuple(self._now.filters.values()))

    @property
    def n_selected(self) -> int:
        return int(np.count_nonzero(self.mask))

    @property
    def selected(self) -> pd.Index:
        return self.data.patients[self.mask]

    def mask_without(self, key: str) -> np.ndarray:
        """As :attr:`mask`, but for one filter: what its own chart is drawn from."""
        return self._mask_of(tuple(one for name, one in self._now.filters.items() if name != key))

    def _mask_of(self, filters: tuple[f.Filter, ...]) -> np.ndarray:
        """Masks of single filters are kept, so that a change of one computes one."""
        if len(filters) == 1:
            return self._kept(filters[0])
        key = (self.data, filters)
        if key not in self._masks:
            mask = np.ones(self.data.n, bool)
            for one in filters:
                mask &= self._kept(one)
            self._keep(key, mask)
        self._masks.move_to_end(key)
        return self._masks[key]

    def _kept(self, one: f.Filter | Group) -> np.ndarray:
        key = (self.data, one)
        if key not in self._masks:
            self._keep(key, one.mask(self.data))
        self._masks.move_to_end(key)
        return self._masks[key]

    def _keep(self, key: tuple, mask: np.ndarray) -> None:
        mask.flags.writeable = False
        self._masks[key] = mask
        if len(self._masks) > MASKS_KEPT:
            self._masks.popitem(last=False)

    # Filters

    def set_range(self, column: str, low=None, high=None, missing=False) -> None:
        """Keep ``low`` ≤ column < ``high``; None is open.

        ``missing``: True keeps unknown values too, "only" keeps just them.

        Raises
        ------
        DataError
            No such column, one without numbers or dates, ``low`` not below ``high``, NaN.
        """
        self._put_filter(column, f.range_filter(self.data, column, low, high, missing))

    def set_categories(self, column: str, values, missing=False) -> None:
        """Keep the patients with one of these values; ``missing`` as in :meth:`set_range`."""
        self._put_filter(column, f.category_filter(self.data, column, values, missing))

    def set_gene(self, gene: str, low=None, high=None, missing=False) -> None:
        """Keep ``low`` ≤ expression of the gene < ``high``, in the units of X."""
        self._put_filter(f"gene:{gene}", f.gene_filter(self.data, gene, low, high, missing))

    def set_patients(self, ids) -> None:
        """Keep these patients, by name (or a bool for each)."""
        self._put_filter("patients", f.rows_filter(self.data, ids))

    def set_lasso(self, embedding: str, polygon) -> None:
        """Keep the patients inside a polygon [(x, y), …] on an embedding, by the even–odd rule."""
        self._put_filter(f"lasso:{embedding}", f.lasso_filter(self.data, embedding, polygon))

    def clear(self, key: str | None = None) -> None:
        """Remove one filter, or all of them."""
        kept = {} if key is None else {name: one for name, one in self._now.filters.items() if name != key}
        self._change(filters=kept)

    def _put_filter(self, key: str, one: f.Filter | None) -> None:
        if one is None:
            self.clear(key)
        else:
            self._change(filters={**self._now.filters, key: one})

    # Groups, patient, endpoint, settings

    def set_group(self, name: str, source) -> None:
        """Say who belongs to group "A" or "B".

        Parameters
        ----------
        source : "selection" (whom the filters keep now), "rest" (whom they do not), names of patients, a bool
            Series, {"column": ..., "values": ...} or {"column": ..., "low": ..., "high": ...},
            {"gene": ..., "above_quantile": .5} (or "below_quantile"), {"panel_risk": ..., "above_quantile":
            .5}, or None to remove the group. ``panel_risk`` is the name of a column, a Series by patient, a
            :class:`pm_lab.biomarkers.Panel` or the path of its file; of a panel ``scale`` says, as in
            ``Panel.predict``, whose mean and SD the expression is measured by.
        """
        if name not in ("A", "B"):
            raise DataError(f"group {name!r}: groups are 'A' and 'B'.")
        groups = {key: group for key, group in self._now.groups.items() if key != name}
        if source is not None:
            groups[name] = group_from(self.data, source, tuple(self._now.filters.values()))
        self._change(groups=dict(sorted(groups.items())))

    def group(self, name: str) -> np.ndarray | None:
        """The mask of a group, or None where there is none; read only."""
        group = self._now.groups.get(name)
        return None if group is None else self._kept(group)

    def group_name(self, name: str, hide: bool | None = None) -> str:
        """A group in words, e.g. "A: er = positive"; ``hide`` as in :meth:`describe`."""
        group = self._now.groups.get(name)
        return f"{name}: {group.describe(self._count(hide))}" if group else name

    def select_patient(self, patient: str | None) -> None:
        """Look at one patient; None at nobody."""
        row = None
        if patient is not None:
            row = int(self.data.patients.get_indexer([str(patient)])[0])
            if row < 0:
                raise DataError(f"there is no patient {patient!r} in the cohort.")
        self._change(patient=row)

    def set_endpoint(self, name: str | None) -> None:
        """Choose the endpoint of all survival views."""
        self._change(endpoint=self._known_endpoint(name))

    def declare_endpoint(self, time: str, event: str, unit: str, **more) -> None:
        """Declare an endpoint by its columns and choose it; ``more`` as
        :func:`pm_lab.survival.declare_endpoint` takes it.

        Raises
        ------
        DataError
            No such columns, or what they hold is no endpoint.
        """
        spec = {"time": time, "event": event, "unit": unit, **more}
        kept = {key: one for key, one in self._now.filters.items() if not _about(one) & {time, event}}
        self._change(data=self.data.with_endpoint(PASSED, spec), endpoint=PASSED, filters=kept)

    def _known_endpoint(self, name: str | None) -> str | None:
        if name is not None:
            self.data.outcome(name)
        return name

    def set_setting(self, name: str, value) -> None:
        """Change one of :attr:`settings`; anything else is refused, for settings travel in tokens."""
        self._change(settings={**self._now.settings, name: checked_setting(self.data, name, value)})

    def retype(self, kinds: Mapping[str, str]) -> None:
        """Correct kinds of columns; filters and groups that no longer fit are removed."""
        data = self.data.retyped(kinds)
        kept = {key: one for key, one in self._now.filters.items() if not _about(one) & set(kinds)}
        groups = {
            name: group
            for name, group in self._now.groups.items()
            if not any(_about(one) & set(kinds) for one in group.filters)
        }
        self._change(data=data, filters=kept, groups=groups)

    # Undo, batches, observers

    def _change(self, **changes) -> None:
        before, after = self._now, replace(self._now, **changes)
        if not before.differing(after):
            return
        self._now = after
        if self._before_batch is None:
            self._past.append(before)
            self._future.clear()
            self._tell(before)

    @property
    def can_undo(self) -> bool:
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        return bool(self._future)

    def undo(self) -> bool:
        """Go back one step; False when there is none."""
        return self._step(self._past, self._future)

    def redo(self) -> bool:
        """Take back an undo; False when there is none."""
        return self._step(self._future, self._past)

    def _step(self, source: list[Choices], target: list[Choices]) -> bool:
        if self._before_batch is not None:
            raise DataError("undo and redo cannot be part of a batch.")
        if not source:
            return False
        before = self._now
        target.append(before)
        self._now = source.pop()
        self._tell(before)
        return True

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Several changes as one step of undo and one notification; all are taken back if one fails."""
        if self._before_batch is not None:
            yield
            return
        before = self._before_batch = self._now
        try:
            yield
        except BaseException:
            self._now = before
            raise
        finally:
            self._before_batch = None
        if before.differing(self._now):
            self._past.append(before)
            self._future.clear()
            self._tell(before)

    def observe(self, function: Callable[[set[str]], None]) -> Callable[[], None]:
        """Call a function after each change with what changed; returns a function that ends this."""
        self._observers.append(function)
        return lambda: self._observers.remove(function) if function in self._observers else None

    def _tell(self, before: Choices) -> None:
        changed = before.differing(self._now)
        for function in tuple(self._observers):
            function(set(changed))

    # In words and in code

    def describe(self, hide: bool | None = None) -> str:
        """The selection in words, with every threshold, and how many patients it keeps.

        Parameters
        ----------
        hide : counts below ten (or ``settings["least_count"]``, where that is more), as in what is shared; by
            default as ``settings["hide_small_counts"]`` says.
        """
        least = self._least(hide)
        if not self._now.filters:
            return f"all {shown(self.data.n, least)} patients"
        said = f.said(self._now.filters.values(), self._count(hide))
        return f"{said}: {shown_of(self.n_selected, self.data.n, least)} patients"

    def _least(self, hide: bool | None) -> int:
        hide = self.settings["hide_small_counts"] if hide is None else hide
        return max(self.settings["least_count"], LEAST) if hide else 0

    def _count(self, hide: bool | None) -> Callable[[int], str]:
        least = self._least(hide)
        return lambda n: shown_of(n, self.data.n, least).split(" of ")[0]

    def expression(self) -> str:
        """The selection as a pandas expression of bools over ``table`` (:meth:`CohortData.table`)."""
        return f.code_of(self._now.filters.values())

    def to_code(self) -> str:
        """Python that makes the same selection, groups and outcome, given the ``cohort`` that was opened."""
        groups = self._now.groups
        chosen = [*self._now.filters.values(), *(one for group in groups.values() for one in group.filters)]
        genes = sorted({one.column for one in chosen if isinstance(one, f.GeneFilter)})
        embeddings = sorted({one.embedding for one in chosen if isinstance(one, f.LassoFilter)})
        asked = [f"genes={genes!r}"] if genes else []
        asked += [f"embeddings={embeddings!r}"] if embeddings else []
        opened = f", kinds={self.data.kinds!r}" if self.data.kinds else ""
        opened += f", endpoint={_plain(self.data.endpoints[PASSED])!r}" if self.endpoint == PASSED else ""
        words = " ".join(self.describe(hide=True).splitlines())
        code = (
            "import pandas as pd\n\nimport pm_lab as pm\n\n"
            f"# {words}\n"
            f"# `cohort` is what was explored: {self.data.source!r}\n"
            f"data = pm.explorer.CohortData.open(cohort{opened})\n"
            f"data.require({self.data.hash!r})\n"
            f"table = data.table({', '.join(asked)})\n"
            f"selected = table[{self.expression()}]\n"
        )
        for name, group in groups.items():
            words = " ".join(self.group_name(name, hide=True).splitlines())
            code += f"# {words}\ngroup_{name.lower()} = table[{group.code()}]\n"
        if self.endpoint is not None:
            code += f"outcome = data.outcome({self.endpoint!r})\n"
        return code

    # JSON and token

    def to_json(self) -> str:
        """Everything that is chosen, without the name of any patient; chosen ones are kept as rows."""
        return saved.to_json(self._now)

    @classmethod
    def from_json(cls, data: CohortData, text: str) -> CohortState:
        """A state from :meth:`to_json`, on the same data.

        Raises
        ------
        DataError
            Other data, another version, unknown parts, or a text that was changed.
        """
        return cls._of(saved.from_json(data, text))

    def share_token(self) -> str:
        """A short text that restores this state on the same data; it names no patient."""
        return saved.to_token(self._now)

    @classmethod
    def from_token(cls, data: CohortData, token: str) -> CohortState:
        """A state from :meth:`share_token`; errors as :meth:`from_json`."""
        return cls._of(saved.from_token(data, token))

    @classmethod
    def _of(cls, choices: Choices) -> CohortState:
        state = cls(choices.data)
        state._now = choices
        return state

    def restore(self, saved_state: str) -> None:
        """Take over a token or JSON of the same data in place, as one step that can be undone."""
        read = saved.from_token if saved_state.strip().startswith(saved.TOKEN) else saved.from_json
        choices = read(self.data, saved_state)
        self._change(**{name: getattr(choices, name) for name in choices.differing(self._now)})

    def __repr__(self) -> str:
        return f"CohortState: {self.describe()}"


def _plain(spec: Mapping) -> dict:
    """A declared endpoint in what Python writes: numbers of numpy as those of Python."""
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in spec.items()}


def _about(one: f.Filter) -> set[str]:
    """The column that a filter is of, for those that a change of kinds concerns."""
    return set() if isinstance(one, f.GeneFilter) else {one.key}
