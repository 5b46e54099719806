"""The door of the explorer: one row per patient, typed columns, endpoints, cells and predictions, checked."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd

from pm_lab import keys
from pm_lab.endpoints import endpoint_table
from pm_lab.errors import DataError, PmLabWarning, listed
from pm_lab.identifiers import identifier_columns

from .columns import FEW_LEVELS, Column, content, typed
from .reading import Parts, read_parts
from .small_counts import SharedSelections, shared_selections, shown

MOST_GENES_KEPT = 64  # columns of the expression that were asked for, kept side by side in memory


class CohortData:
    """A cohort as the explorer takes it. Made by :meth:`open`; not changed afterwards.

    Attributes
    ----------
    n : patients.
    patients : their names, as text.
    columns : name → :class:`Column`.
    genes, expression, unit : names; patients × genes (float32, C order) or None; what the values are.
    endpoints : name → declaration (:func:`pm_lab.survival.declare_endpoint`).
    embeddings : name → n × 2; where none came, ``X_pca``, worked out when it is first looked at.
    cells, cell_rows : AnnData or None; of each cell the patient's row, −1 where it is of nobody here.
    predictions : one row a patient and drug, or None.
    identifiers : columns that may identify a patient (:func:`pm_lab.identifiers.identifier_columns`).
    notes : what was inferred or left out.
    shared : selections of these data that were shared in this kernel (:class:`SharedSelections`).
    """

    def __init__(self, parts: Parts, identifiers: pd.DataFrame, kinds: Mapping[str, str]):
        self._parts = parts
        self._flagged = set(identifiers["column"])
        self._inferred = _inferred(parts, self._flagged)
        self._said: list[str] = []
        self._gene_columns: OrderedDict[str, np.ndarray] = OrderedDict()
        self.patients = parts.clinical.index
        self.n = len(self.patients)
        self.columns = _corrected(self._inferred, parts, kinds, self._flagged)
        self.genes, self.expression, self.unit = parts.genes, parts.expression, parts.unit
        self.endpoints: Mapping = MappingProxyType(parts.endpoints)
        self.cells, self.cell_rows = None, None
        self.predictions: pd.DataFrame | None = None
        self.identifiers = identifiers
        self.notes: list[str] = list(parts.notes)
        self.source = parts.source
        self.kinds = dict(kinds)

    @classmethod
    def open(cls, cohort, cells=None, predictions=None, endpoint=None, kinds=None) -> CohortData:
        """Read a cohort and what belongs to it.

        Parameters
        ----------
        cohort : a Cohort, an AnnData of patients × genes, a table with one row per patient, a pair of tables
            (clinical, expression of patients × genes), or a path (.h5ad, .zarr, .csv, .tsv, .txt).
            Patients are named by the column ``patient``, else by the rows.
        cells : AnnData with ``obs["patient"]``, or its path; by default those of a Cohort.
        predictions : as :meth:`pm_lab.drug_response.DrugResponseModel.predict` returns it.
        endpoint : a declaration ({"time": ..., "event": ..., "unit": ...}), where the cohort has none; or the
            name of a declared one, which must then be usable.
        kinds : {column: "number", "category", "text" or "date"} where what is inferred is wrong.

        Raises
        ------
        DataError
            No patients, a patient without a name or in two rows; cells or predictions of other patients; an
            ``endpoint`` that cannot be used; unknown ``kinds``.

        Warns
        -----
        PmLabWarning
            Columns that may identify a patient.

        Examples
        --------
        >>> import pm_lab as pm
        >>> data = pm.explorer.CohortData.open(pm.datasets.load("gse7390"))
        >>> data.n, data.columns["er"].kind, list(data.endpoints)
        (198, 'category', ['dmfs'])
        """
        parts = read_parts(cohort)
        if isinstance(endpoint, Mapping):
            parts.endpoints = {**parts.endpoints, "endpoint": dict(endpoint)}
        identifiers = identifier_columns(parts.clinical)
        data = cls(parts, identifiers, kinds or {})
        data._say_columns()
        data._check_endpoints("endpoint" if isinstance(endpoint, Mapping) else endpoint)
        data._put_cells(parts.cells if cells is None else cells)
        data._put_predictions(predictions)
        if len(identifiers):
            warnings.warn(_identifying(identifiers), PmLabWarning, stacklevel=2)
        return data

    def retyped(self, kinds: Mapping[str, str]) -> CohortData:
        """The same data with the kinds of some columns corrected; its hash is the same.

        Raises
        ------
        DataError
            Unknown columns or kinds, or a kind as which none of the values can be read.
        """
        kinds = {**self.kinds, **dict(kinds)}
        data = CohortData.__new__(CohortData)
        data.__dict__.update(self.__dict__)
        data.columns = _corrected(self._inferred, self._parts, kinds, self._flagged)
        data.kinds = kinds
        data.notes = [note for note in self.notes if note not in self._said]
        data._say_columns()
        return data

    def with_endpoint(self, name: str, spec: Mapping) -> CohortData:
        """The same data with one more endpoint, declared as in :meth:`open`; its hash is the same.

        Raises
        ------
        DataError
            As :func:`pm_lab.endpoints.endpoint_table`.
        """
        data = CohortData.__new__(CohortData)
        data.__dict__.update(self.__dict__)
        data.__dict__["_outcomes"] = {key: one for key, one in self._outcomes.items() if key != name}
        data.endpoints = MappingProxyType({**self.endpoints, name: dict(spec)})
        data.outcome(name)
        parts = [spec[part] for part in ("time", "event", "entry") if spec.get(part) in self.columns]
        held = {part: replace(self.columns[part], group="endpoint") for part in parts}
        data.columns = MappingProxyType({**self.columns, **held})
        return data

    def _say_columns(self) -> None:
        columns = self.columns.items()
        self._said = [f"column {name!r}: {column.note}" for name, column in columns if column.note]
        self.notes.extend(self._said)

    def column(self, name: str) -> Column:
        """A column, or DataError with the names that there are."""
        if name not in self.columns:
            raise DataError(f"there is no column {name!r}; there are {listed(self.columns, 12)}.")
        return self.columns[name]

    def gene(self, symbol: str) -> np.ndarray:
        """Values of one gene, float32, one a patient; DataError for a gene that is not measured."""
        if symbol not in self._gene_columns:
            if self.expression is None or symbol not in self.genes:
                near = [gene for gene in self.genes if str(gene).upper().startswith(str(symbol).upper()[:3])]
                hint = f" Near it: {listed(near)}." if near else ""
                raise DataError(f"the gene {symbol!r} is not among {len(self.genes):,} measured ones.{hint}")
            values = np.ascontiguousarray(self.expression[:, self.genes.get_loc(symbol)])
            values.flags.writeable = False
            self._gene_columns[symbol] = values
            while len(self._gene_columns) > MOST_GENES_KEPT:
                self._gene_columns.popitem(last=False)
        return self._gene_columns[symbol]

    def outcome(self, name: str) -> pd.DataFrame:
        """Times and events of an endpoint, as :func:`pm_lab.survival.endpoint_table`, one row per patient.

        Patients whose time or event is not known have NaN as ``time`` and False as ``event``: leave them out
        of curves. ``attrs["n_missing"]`` counts them.

        Raises
        ------
        DataError
            An unknown endpoint (the message says how to declare one), or one that cannot be used.
        """
        if name not in self.endpoints:
            known = f"Declared are {sorted(self.endpoints)}." if self.endpoints else "None is declared."
            raise DataError(
                f"there is no endpoint {name!r}. {known} Declare one with pm.survival.declare_endpoint("
                'cohort, "os", time=..., event=..., unit="months") before opening, or pass '
                'endpoint={"time": ..., "event": ..., "unit": ...}.'
            )
        if name not in self._outcomes:
            self._outcomes[name] = self._outcome(name)
        return self._outcomes[name]

    @cached_property
    def _outcomes(self) -> dict[str, pd.DataFrame]:
        return {}

    def _outcome(self, name: str) -> pd.DataFrame:
        spec, table = dict(self.endpoints[name]), self._parts.clinical
        parts = [spec[part] for part in ("time", "event", "entry") if spec.get(part) in table]
        known = table[parts].notna().all(axis=1)
        if not known.any() and parts:
            raise DataError(f"endpoint {name!r}: no patient has a value in all of {parts}.")
        part = table[known]
        part.attrs = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PmLabWarning)  # said at the door, in notes
            outcome = endpoint_table(part, spec).reindex(table.index)
        outcome["event"] = outcome["event"].eq(True)
        outcome["cause"] = outcome["cause"].astype(object).where(outcome["cause"].notna(), None)
        outcome.attrs = {"endpoint": name, "unit": str(spec["unit"]), "n_missing": int((~known).sum())}
        return outcome

    def _check_endpoints(self, wanted: str | None) -> None:
        """Endpoints that cannot be used are left out and said; the one asked for must be usable."""
        usable = {}
        for name in self.endpoints:
            try:
                outcome = self.outcome(name)
            except (DataError, KeyError) as error:
                if name == wanted:
                    raise
                # In parentheses an error names the first few patients: notes are shown, and go into reports.
                reason = re.sub(r" *\([^()]*\)", "", str(error))
                self.notes.append(f"endpoint {name!r} is left out: {reason}")
                continue
            usable[name] = self.endpoints[name]
            if outcome.attrs["n_missing"]:
                lacking = f"{outcome.attrs['n_missing']:,} of {self.n:,} patients"
                self.notes.append(f"endpoint {name!r} is not known for {lacking}")
        self.endpoints = MappingProxyType(usable)
        if wanted is not None:
            self.outcome(wanted)

    def _put_cells(self, cells) -> None:
        if cells is None:
            return
        if isinstance(cells, str | Path):
            from pm_lab import datasets

            cells = datasets.read_anndata(cells)
        elif not hasattr(cells, "obs") or not hasattr(cells, "obsm"):
            raise DataError(
                f"cells={type(cells).__name__}: an AnnData of cells, or the path of its file, is needed."
            )
        if keys.PATIENT not in cells.obs:
            raise DataError('cells have no obs["patient"], so nobody knows whose they are. Add that column.')
        codes, names = pd.factorize(cells.obs[keys.PATIENT])
        place = self.patients.get_indexer([str(name) for name in names])
        rows = np.append(place, -1)[codes].astype(np.int32)
        if not (rows >= 0).any():
            raise DataError(
                f"no cell belongs to a patient of the cohort: cells are of {listed(names)}, the cohort has "
                f"{listed(self.patients)}."
            )
        if (rows < 0).any():
            self.notes.append(
                f"{int((rows < 0).sum()):,} of {len(rows):,} cells are of no patient of the cohort"
            )
        self.cells, self.cell_rows = cells, rows

    @cached_property
    def cell_types(self) -> Column | None:
        """``obs["cell_type"]`` (else "cluster") of the cells, as codes; None where there is none."""
        if self.cells is None:
            return None
        for name in (keys.CELL_TYPE, keys.CLUSTER):
            if name in self.cells.obs:
                return typed(self.cells.obs[name], "category")
        return None

    def _put_predictions(self, predictions: pd.DataFrame | None) -> None:
        if predictions is None:
            return
        lacking = {keys.PATIENT, "drug"} - set(getattr(predictions, "columns", ()))
        if lacking:
            raise DataError(
                f"predictions lack {sorted(lacking)}: pass what DrugResponseModel.predict(cohort) returns."
            )
        names = predictions[keys.PATIENT].astype(str)
        known = names.isin(self.patients)
        if not known.any():
            raise DataError(f"predictions are of other patients ({listed(names.unique())}) than the cohort.")
        if not known.all():
            self.notes.append(f"{int((~known).sum()):,} rows of predictions are of no patient of the cohort")
        attrs = predictions.attrs
        self.predictions = predictions[known].assign(**{keys.PATIENT: names[known]}).reset_index(drop=True)
        self.predictions.attrs = attrs

    @cached_property
    def pathways(self) -> pd.DataFrame | None:
        """Activity of pathways, patients × sets: ``obsm["pathways"]``, else of the core sets, else None."""
        if self._parts.pathways is not None or self.expression is None:
            return self._parts.pathways
        from .pathway_activity import core_activity

        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                scores = core_activity(self)
        except DataError as error:
            self.notes.append(f"no pathways: {error}")
            return None
        self.notes.extend(f"pathways: {w.message}" for w in caught if issubclass(w.category, PmLabWarning))
        return scores

    def table(self, genes: Iterable[str] = (), embeddings: Iterable[str] = ()) -> pd.DataFrame:
        """All columns in plain pandas; genes are ``gene:TP53``, embeddings ``X_umap:1`` and ``X_umap:2``.

        What :meth:`CohortState.expression` states is evaluated on this table.
        """
        held = {name: column.series(self.patients) for name, column in self.columns.items()}
        held |= {f"gene:{gene}": self.gene(gene) for gene in genes}
        for name in embeddings:
            held |= {f"{name}:{axis + 1}": self.embedding(name)[:, axis] for axis in (0, 1)}
        return pd.DataFrame(held, index=self.patients)

    @property
    def embeddings(self) -> Mapping[str, np.ndarray]:
        """Those of ``obsm``; where there is none, two principal components of the expression."""
        given = self._parts.embeddings
        if given or self.expression is None or self.n < 3:
            return MappingProxyType(given)
        return _Components(self)

    @cached_property
    def _map(self) -> np.ndarray:
        from .similarity import map_of_patients

        return map_of_patients(self)

    def embedding(self, name: str) -> np.ndarray:
        """An embedding, or DataError with the names that there are."""
        if name not in self.embeddings:
            there = (
                f"there are {listed(self.embeddings)}" if self.embeddings else "the cohort has none in obsm"
            )
            raise DataError(f"there is no embedding {name!r}; {there}.")
        return self.embeddings[name]

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) over patients, columns as they came, genes, every value of X, and embeddings.

        Equal data have an equal hash on every machine; kinds, cells and predictions do not enter, for no
        selection depends on them being what they are, and neither does an embedding that was made here.
        """
        digest = hashlib.sha256(b"pm_lab cohort 1")
        digest.update(_name_hashes(self.patients))
        for name, column in sorted(self._inferred.items()):
            digest.update(f"{name!r}: {column.kind}".encode())
            digest.update(content(column))
        digest.update(_name_hashes(self.genes))
        if self.expression is not None:
            digest.update(np.ascontiguousarray(self.expression, "<f4"))
        for name, values in sorted(self._parts.embeddings.items()):
            digest.update(repr(name).encode())
            digest.update(np.ascontiguousarray(values, "<f4"))
        return digest.hexdigest()

    @property
    def shared(self) -> SharedSelections:
        return shared_selections(self.hash, self.n)

    def require(self, data_hash: str) -> None:
        """Raise DataError unless these are the data with this hash."""
        if data_hash != self.hash:
            raise DataError(
                f"made on other data (hash {str(data_hash)[:12]}…; these have {self.hash[:12]}…): rows and "
                "values may differ, so nothing was restored. Open the same file in the same version."
            )

    def __repr__(self) -> str:
        return (
            f"CohortData of {self.n:,} patients: {len(self.columns):,} columns, {len(self.genes):,} genes, "
            f"endpoints {sorted(self.endpoints)}"
        )


class _Components(Mapping):
    """``X_pca`` as the one embedding of a cohort, worked out when its values are asked for."""

    def __init__(self, data: CohortData):
        self._data = data

    def __getitem__(self, name: str) -> np.ndarray:
        if name != keys.PCA:
            raise KeyError(name)
        return self._data._map

    def __contains__(self, name: object) -> bool:
        return name == keys.PCA

    def __iter__(self) -> Iterator[str]:
        return iter((keys.PCA,))

    def __len__(self) -> int:
        return 1


def _inferred(parts: Parts, flagged: set[str]) -> dict[str, Column]:
    """All columns as their values suggest; those that may name patients are marked."""
    ends = {
        str(spec[part])
        for spec in parts.endpoints.values()
        for part in ("time", "event", "entry")
        if spec.get(part) is not None
    }
    patients, columns = parts.clinical.index, {}
    for name in parts.clinical.columns:
        column = typed(parts.clinical[name], group="endpoint" if name in ends else "clinical")
        columns[name] = replace(column, private=name in flagged or _names_some(column, patients))
    return columns


def _names_some(column: Column, patients: pd.Index) -> bool:
    """Free text, labels that most patients have to themselves, and names of patients."""
    n, known = len(column.categories), len(column.values) - column.n_missing
    if column.kind == "text" or (n > FEW_LEVELS and n > known / 2):
        return True
    return n > 0 and bool((patients.get_indexer(column.categories) >= 0).any())


def _corrected(
    inferred: dict[str, Column], parts: Parts, kinds: Mapping[str, str], flagged: set[str]
) -> Mapping[str, Column]:
    unknown = [name for name in kinds if name not in inferred]
    if unknown:
        raise DataError(f"kinds: there is no column {listed(unknown)}; there are {listed(inferred, 12)}.")
    columns = dict(inferred)
    for name, kind in kinds.items():
        column = typed(parts.clinical[name], kind, inferred[name].group)
        private = name in flagged or _names_some(column, parts.clinical.index)
        columns[name] = replace(column, private=private)
    return MappingProxyType(columns)


def _identifying(identifiers: pd.DataFrame) -> str:
    found = "; ".join(
        f"{row.column!r} ({row.reason}, {shown(row.n)})" for row in identifiers.head(5).itertuples()
    )
    more = f" and {len(identifiers) - 5:,} more" if len(identifiers) > 5 else ""
    return (
        f"{len(identifiers):,} columns may identify patients: {found}{more}. Leave them out or coarsen them "
        "before you share anything. This is a check of patterns, no proof that the rest is safe."
    )


def _name_hashes(names: pd.Index) -> bytes:
    return pd.util.hash_array(names.to_numpy(object), categorize=False).astype("<u8").tobytes()
