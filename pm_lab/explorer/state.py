"""What is chosen in the explorer, in plain Python: all that the widgets can do can be done here."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
import pandas as pd

from pm_lab import checks
from pm_lab.errors import DataError

from . import filters as f
from .cohort_data import CohortData
from .small_counts import shown, shown_of

FORMAT, VERSION, TOKEN = "pm_lab.explorer.state", 1, "pmx1."
MASKS_KEPT = 64
MOST_TOKEN_BYTES = 20_000_000  # unpacked
DEFAULTS = {
    "least_count": 10,
    "hide_small_counts": False,
    "colour_by": None,
    "gene": None,
    "columns": None,
    "embedding": None,
    "bins": 30,
    "theme": "light",
    "view": "cohort",
}
VIEWS = ("cohort", "compare", "patient", "gene", "export")
ASPECTS = ("data", "filters", "groups", "patient", "endpoint", "settings")


@dataclass(frozen=True)
class Group:
    """Patients of a group: those whom all filters keep, or (``rest``) those whom they do not."""

    filters: tuple[f.Filter, ...]
    rest: bool = False
    label: str = ""

    def mask(self, data: CohortData) -> np.ndarray:
        kept = np.logical_and.reduce([np.ones(data.n, bool), *(one.mask(data) for one in self.filters)])
        return ~kept if self.rest else kept

    def describe(self) -> str:
        if self.label:
            return self.label
        said = " and ".join(one.describe() for one in self.filters) or "all patients"
        return f"not ({said})" if self.rest else said

    def code(self) -> str:
        return f"~({_code(self.filters)})" if self.rest else _code(self.filters)

    def to_dict(self) -> dict:
        return {"filters": [one.to_dict() for one in self.filters], "rest": self.rest, "label": self.label}


@dataclass(frozen=True)
class _Choices:
    """One state of everything; undo goes back to the one before."""

    data: CohortData
    filters: Mapping[str, f.Filter] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)
    patient: int | None = None  # row
    endpoint: str | None = None
    settings: Mapping = field(default_factory=lambda: dict(DEFAULTS))


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
        self._now = _Choices(data)
        self._past: list[_Choices] = []
        self._future: list[_Choices] = []
        self._observers: list[Callable[[set[str]], None]] = []
        self._before_batch: _Choices | None = None
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
            return self._kept(filters, lambda: filters[0].mask(self.data))
        return self._kept(
            filters, lambda: np.logical_and.reduce([np.ones(self.data.n, bool), *map(self._single, filters)])
        )

    def _single(self, one: f.Filter) -> np.ndarray:
        return self._mask_of((one,))

    def _kept(self, what, compute: Callable[[], np.ndarray]) -> np.ndarray:
        key = (id(self.data), what)
        if key not in self._masks:
            mask = compute()
            mask.flags.writeable = False
            self._masks[key] = mask
            if len(self._masks) > MASKS_KEPT:
                self._masks.popitem(last=False)
        self._masks.move_to_end(key)
        return self._masks[key]

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
            {"gene": ..., "above_quantile": .5} (or "below_quantile"), {"panel_risk": Series by patient,
            "above_quantile": .5}, or None to remove the group.
        """
        if name not in ("A", "B"):
            raise DataError(f"group {name!r}: groups are 'A' and 'B'.")
        groups = {key: group for key, group in self._now.groups.items() if key != name}
        if source is not None:
            groups[name] = self._group_from(source)
        self._change(groups=dict(sorted(groups.items())))

    def _group_from(self, source) -> Group:
        present = tuple(self._now.filters.values())
        if isinstance(source, str) and source in ("selection", "rest"):
            return Group(present, rest=source == "rest")
        if not isinstance(source, Mapping):
            return Group((f.rows_filter(self.data, source),))
        given = dict(source)
        if "panel_risk" in given:
            return self._risk_group(**given)
        try:
            if "gene" in given:
                return self._gene_group(**given)
            if "values" in given:
                return Group((f.category_filter(self.data, given.pop("column"), **_with(given)),))
            return Group((self._known_range(given.pop("column"), **given),))
        except (TypeError, KeyError):
            raise DataError(f"group from {sorted(source)}: see set_group for what can be given.") from None

    def _known_range(self, column: str, low=None, high=None, missing=False) -> f.Filter:
        made = f.range_filter(self.data, column, low, high, missing)
        if made is None:
            raise DataError(f"{column!r}: a group needs a low or a high limit.")
        return made

    def _gene_group(self, gene: str, above_quantile=None, below_quantile=None) -> Group:
        values = self.data.gene(gene)
        low, high = (
            None if share is None else _quantile(values, share, gene)
            for share in (above_quantile, below_quantile)
        )
        return Group((f.gene_filter(self.data, gene, low, high, False),))

    def _risk_group(self, panel_risk: pd.Series, above_quantile=None, below_quantile=None) -> Group:
        if not isinstance(panel_risk, pd.Series):
            raise DataError("panel_risk: a Series of numbers by patient is needed.")
        risk = panel_risk.set_axis(panel_risk.index.astype(str)).reindex(self.data.patients)
        values = pd.to_numeric(risk, errors="coerce").to_numpy(float)
        if above_quantile is None and below_quantile is None:
            above_quantile = 0.5
        mask, said = np.isfinite(values), []
        if above_quantile is not None:
            low = _quantile(values, above_quantile, "panel_risk")
            mask, said = mask & (values >= low), [*said, f"risk of the panel ≥ {low:.6g}"]
        if below_quantile is not None:
            high = _quantile(values, below_quantile, "panel_risk")
            mask, said = mask & (values < high), [*said, f"risk of the panel < {high:.6g}"]
        return Group((f.RowsFilter.of(mask, "patients", "by risk"),), label=" and ".join(said))

    def group(self, name: str) -> np.ndarray | None:
        """The mask of a group, or None where there is none; read only."""
        group = self._now.groups.get(name)
        return None if group is None else self._kept(group, lambda: group.mask(self.data))

    def group_name(self, name: str) -> str:
        """A group in words, e.g. "A: er = positive"."""
        group = self._now.groups.get(name)
        return f"{name}: {group.describe()}" if group else name

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

    def _known_endpoint(self, name: str | None) -> str | None:
        if name is not None:
            self.data.outcome(name)
        return name

    def set_setting(self, name: str, value) -> None:
        """Change one of :attr:`settings`; anything else is refused, for settings travel in tokens."""
        self._change(settings={**self._now.settings, name: _checked_setting(self.data, name, value)})

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
        if not _differing(before, after):
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

    def _step(self, source: list[_Choices], target: list[_Choices]) -> bool:
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
        if _differing(before, self._now):
            self._past.append(before)
            self._future.clear()
            self._tell(before)

    def observe(self, function: Callable[[set[str]], None]) -> Callable[[], None]:
        """Call a function after each change with what changed; returns a function that ends this."""
        self._observers.append(function)
        return lambda: self._observers.remove(function) if function in self._observers else None

    def _tell(self, before: _Choices) -> None:
        changed = _differing(before, self._now)
        for function in tuple(self._observers):
            function(set(changed))

    # In words and in code

    def describe(self, hide: bool | None = None) -> str:
        """The selection in words, with every threshold, and how many patients it keeps.

        Parameters
        ----------
        hide : small counts, as in what is shared; by default as ``settings["hide_small_counts"]`` says.
        """
        n, total = self.n_selected, self.data.n
        hide = self._now.settings["hide_small_counts"] if hide is None else hide
        least = self._now.settings["least_count"] if hide else 0
        if not self._now.filters:
            return f"all {shown(total, least)} patients"
        said = " and ".join(self._said(one, least) for one in self._now.filters.values())
        return f"{said}: {shown_of(n, total, least)} patients"

    def _said(self, one: f.Filter, least: int) -> str:
        if isinstance(one, f.RowsFilter) and least:
            return one.describe(lambda n: shown_of(n, self.data.n, least).split(" of ")[0])
        return one.describe()

    def expression(self) -> str:
        """The selection as a pandas expression of bools over ``table`` (:meth:`CohortData.table`)."""
        return _code(tuple(self._now.filters.values()))

    def to_code(self) -> str:
        """Python that makes the same selection, given the ``cohort`` that was opened."""
        chosen = self._now.filters.values()
        genes = sorted({one.column for one in chosen if isinstance(one, f.GeneFilter)})
        embeddings = sorted({one.embedding for one in chosen if isinstance(one, f.LassoFilter)})
        asked = [f"genes={genes!r}"] if genes else []
        asked += [f"embeddings={embeddings!r}"] if embeddings else []
        kinds = f", kinds={self.data.kinds!r}" if self.data.kinds else ""
        words = " ".join(self.describe(hide=True).splitlines())
        return (
            "import pandas as pd\n\nimport pm_lab as pm\n\n"
            f"# {words}\n"
            f"# `cohort` is what was explored: {self.data.source!r}\n"
            f"data = pm.explorer.CohortData.open(cohort{kinds})\n"
            f"data.require({self.data.hash!r})\n"
            f"table = data.table({', '.join(asked)})\n"
            f"selected = table[{self.expression()}]\n"
        )

    # JSON and token

    def to_json(self) -> str:
        """Everything that is chosen, without the name of any patient; chosen ones are kept as rows."""
        return json.dumps(self._as_dict(), ensure_ascii=False, sort_keys=True)

    def _as_dict(self) -> dict:
        now = self._now
        return {
            "format": FORMAT,
            "version": VERSION,
            "data": self.data.hash,
            "kinds": self.data.kinds,
            "filters": [{"key": key, **one.to_dict()} for key, one in now.filters.items()],
            "groups": {name: group.to_dict() for name, group in now.groups.items()},
            "patient": now.patient,
            "endpoint": now.endpoint,
            "settings": dict(now.settings),
        }

    @classmethod
    def from_json(cls, data: CohortData, text: str) -> CohortState:
        """A state from :meth:`to_json`, on the same data.

        Raises
        ------
        DataError
            Other data, another version, unknown parts, or a text that was changed.
        """
        try:
            given = json.loads(text)
        except (TypeError, ValueError, RecursionError):
            raise DataError("this is no JSON of an explorer's state: it was changed or cut.") from None
        return cls._from_dict(data, given)

    def share_token(self) -> str:
        """A short text that restores this state on the same data; it names no patient."""
        packed = zlib.compress(self.to_json().encode(), 9)
        digest = hashlib.sha256(packed).digest()[:8]
        return TOKEN + base64.urlsafe_b64encode(digest + packed).decode().rstrip("=")

    @classmethod
    def from_token(cls, data: CohortData, token: str) -> CohortState:
        """A state from :meth:`share_token`; errors as :meth:`from_json`."""
        if not isinstance(token, str) or not token.strip().startswith(TOKEN):
            raise DataError(f"this is no token of the explorer: it does not begin with {TOKEN!r}.")
        body = token.strip()[len(TOKEN) :]
        try:
            raw = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
            if hashlib.sha256(raw[8:]).digest()[:8] != raw[:8]:
                raise ValueError
            text = zlib.decompressobj().decompress(raw[8:], MOST_TOKEN_BYTES).decode()
        except (ValueError, zlib.error):
            raise DataError("the token was changed or cut: copy it again, whole.") from None
        return cls.from_json(data, text)

    @classmethod
    def _from_dict(cls, data: CohortData, given) -> CohortState:
        _check_form(given)
        data.require(given["data"])
        if given["kinds"] != data.kinds:
            data = data.retyped(given["kinds"])
        filters = {}
        for one in given["filters"]:
            made = f.from_dict(data, {name: value for name, value in one.items() if name != "key"})
            if made.key != one.get("key") or made.key in filters:
                raise DataError(
                    f"the filter {one.get('key')!r} is not of the column it names, or there twice."
                )
            filters[made.key] = made
        state = cls(data)
        state._now = _Choices(
            data=data,
            filters=filters,
            groups={name: _group_from_dict(data, name, one) for name, one in given["groups"].items()},
            patient=_checked_row(data, given["patient"]),
            endpoint=state._known_endpoint(given["endpoint"]),
            settings={name: _checked_setting(data, name, v) for name, v in given["settings"].items()},
        )
        return state

    def __repr__(self) -> str:
        return f"CohortState: {self.describe()}"


def _code(filters: tuple[f.Filter, ...]) -> str:
    return " & ".join(one.code() for one in filters) or "pd.Series(True, table.index)"


def _with(given: dict) -> dict:
    return {"missing": False, **given}


def _about(one: f.Filter) -> set[str]:
    return set() if isinstance(one, f.GeneFilter) else {one.key}


def _differing(before: _Choices, after: _Choices) -> set[str]:
    return {
        name
        for name in ASPECTS
        if (
            getattr(before, name) is not getattr(after, name)
            if name == "data"
            else getattr(before, name) != getattr(after, name)
        )
    }


def _quantile(values: np.ndarray, share, name: str) -> float:
    checks.shares(quantile=share)
    known = values[np.isfinite(values)]
    if not len(known):
        raise DataError(f"{name}: no patient of the cohort has a value.")
    return float(np.quantile(known, share))


def _check_form(given) -> None:
    """The parts that a state has, and no other."""
    parts = {
        "format": str,
        "version": int,
        "data": str,
        "kinds": dict,
        "filters": list,
        "groups": dict,
        "patient": int | None,
        "endpoint": str | None,
        "settings": dict,
    }
    if not isinstance(given, dict) or given.get("format") != FORMAT:
        raise DataError("this is not the state of an explorer.")
    if given.get("version") != VERSION:
        raise DataError(f"a state of version {given.get('version')!r}; this pm_lab reads version {VERSION}.")
    wrong = sorted(set(given) ^ set(parts))
    wrong += [name for name, kind in parts.items() if name in given and not isinstance(given[name], kind)]
    wrong += [] if set(given.get("settings", ())) == set(DEFAULTS) else ["settings"]
    if wrong or not all(isinstance(one, dict) for one in given["filters"]):
        raise DataError(f"the state was changed: {', '.join(wrong) or 'filters'} cannot be read.")


def _group_from_dict(data: CohortData, name: str, given) -> Group:
    if name not in ("A", "B") or not isinstance(given, dict) or set(given) != {"filters", "rest", "label"}:
        raise DataError(f"the group {name!r} cannot be read: the state was changed.")
    if not isinstance(given["rest"], bool) or not isinstance(given["label"], str):
        raise DataError(f"the group {name!r} cannot be read: the state was changed.")
    return Group(tuple(f.from_dict(data, one) for one in given["filters"]), given["rest"], given["label"])


def _checked_row(data: CohortData, row: int | None) -> int | None:
    if row is not None and (isinstance(row, bool) or not 0 <= row < data.n):
        raise DataError(f"the patient of row {row!r} is not among {data.n:,}.")
    return row


def _checked_setting(data: CohortData, name: str, value):
    """A setting that may be kept: of a known name, and of what it can be."""
    if name not in DEFAULTS:
        raise DataError(f"there is no setting {name!r}; settings are {', '.join(DEFAULTS)}.")
    if name in ("least_count", "bins"):
        return checks.whole_number(value, name, least=0 if name == "least_count" else 2)
    if name == "hide_small_counts" and not isinstance(value, bool):
        raise DataError(f"{name}={value!r}: True or False.")
    allowed = {"theme": ("light", "dark"), "view": VIEWS}.get(name)
    if allowed and value not in allowed:
        raise DataError(f"{name}={value!r}: one of {', '.join(allowed)}.")
    if value is None or name in ("hide_small_counts", "theme", "view"):
        return value
    if name == "columns":
        return [data.column(column).name for column in value]
    if name == "gene":
        data.gene(value)
    elif name == "embedding":
        data.embedding(value)
    elif name == "colour_by":
        data.gene(value.removeprefix("gene:")) if str(value).startswith("gene:") else data.column(value)
    return value
