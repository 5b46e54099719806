"""The patient tab: one patient against the cohort."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import ipywidgets as widgets
import numpy as np
import pandas as pd

from pm_lab.errors import DataError

from . import charts, patient, similarity
from .layout import MOST_OFFERED, Search, card, column_box, fold, labelled, row_box
from .live_figure import LiveFigure
from .paged_table import PagedTable
from .state import CohortState

MOST_IN_TABLE = 8  # columns of the table that patients are picked from
MOST_ROWS = 14  # of pathways and drugs drawn; the tables have all
EVENT_COLOURS = {
    "event": 1,
    "competing event": 6,
    "censored": 0,
    "start": 7,
    "entry": 2,
    "measured": 5,
    "date": 7,
}
PERCENTILE = "Percentile within the cohort; the middle half is marked on each scale."


class PatientPanel:
    """The patient tab."""

    def __init__(self, state: CohortState, on_error: Callable[[Exception], None]):
        self._state = state
        self._search = Search("patient", "name", self._complete, state.select_patient, on_error)
        self._who = LiveFigure()
        self._list = PagedTable("Selected patients", on_row=self._pick, page_rows=6, on_error=on_error)
        self._summary, self._pathways, self._timeline = LiveFigure(), LiveFigure(), LiveFigure()
        self._altered, self._types, self._map = LiveFigure(), LiveFigure(), LiveFigure()
        self._similar = PagedTable("Similar patients", on_row=self._pick_similar, on_error=on_error)
        self._drugs = LiveFigure()
        self._drug_table = PagedTable("All predicted drugs", page_rows=10, on_error=on_error)
        self._risk = LiveFigure()
        self._risk_column = labelled(
            widgets.Dropdown, "predicted risk in column", "320px", options=[("none", "")]
        )
        self._risk_column.observe(lambda _: self._draw_risk(), "value")
        self._pathway_card = card("pm-card", self._pathways)
        self._drug_cards = card("pm-card", self._drugs), card("pm-card", self._drug_table)
        self._map_card, self._type_card = card("pm-card", self._map), card("pm-card", self._types)
        self._lacking = LiveFigure()
        self._absent: list[str] = []
        self._alike: pd.DataFrame = pd.DataFrame()
        self._cells_sent = False
        self._details = column_box(
            card("pm-two", card("pm-card", self._summary), card("pm-card", self._timeline, self._altered)),
            card("pm-two", card("pm-card", self._similar), self._pathway_card),
            card("pm-two", *self._drug_cards),
            card("pm-two", self._map_card, self._type_card),
            card("pm-card", self._risk_column, self._risk),
            self._lacking,
        )
        self.box = column_box(
            card("pm-card", row_box(self._search.figure), self._who, self._list), self._details
        )

    def update(self, changed: set[str]) -> None:
        """Draw what a change concerns."""
        state = self._state
        if changed & {"data", "filters", "patient"}:
            self._fill_list()
        if not changed & {"data", "patient", "endpoint", "settings"}:
            return
        self._search.set_value(state.patient)
        self._details.layout.display = "none" if state.patient is None else ""
        if state.patient is None:
            return self._who.show(charts.html("<p>Search for a patient, or choose one in the table.</p>"))
        row = patient.patient_row(state)
        inside = "one of those selected" if state.mask[row] else "not among those selected"
        self._who.show(charts.html(f"<p><b>Patient {escape(str(state.patient))}</b>, {inside}.</p>"))
        self._absent = []
        for draw in (
            self._draw_summary, self._draw_timeline, self._draw_alterations, self._draw_pathways,
            self._draw_drugs, self._draw_cells, self._draw_risk, self._draw_similar,
        ):  # fmt: skip
            draw()
        said = "".join(f"<p class='pm-note'>{escape(text)}</p>" for text in dict.fromkeys(self._absent))
        self._lacking.show(charts.html(said))

    def _leave_out(self, why: str, *boxes: widgets.Widget) -> None:
        """Fold cards that have nothing to show (``why`` is empty where they have), and say why below."""
        for box in boxes:
            fold(box, bool(why))
        if why:
            self._absent.append(why)

    def _complete(self, text: str) -> list[str]:
        names, text = self._state.data.patients, text.casefold().strip()
        found = [str(name) for name in names[:50_000] if text in str(name).casefold()]
        return sorted(found, key=lambda name: not name.casefold().startswith(text))[:MOST_OFFERED]

    def _fill_list(self) -> None:
        state = self._state
        columns = [c for c in state.data.columns.values() if c.kind != "text" and not c.private][
            :MOST_IN_TABLE
        ]
        names = pd.Index(state.selected, name="patient")
        held = {c.name: c.series(state.data.patients)[state.mask].to_numpy() for c in columns}
        table = pd.DataFrame(held, index=names).reset_index()
        marked = int(names.get_indexer([state.patient])[0]) if state.patient is not None else -1
        self._list.fill(table, "Choose a patient by the first column.", marked)

    def _pick(self, place: int) -> None:
        self._state.select_patient(self._state.selected[place])

    def _pick_similar(self, place: int) -> None:
        self._state.select_patient(self._alike["patient"].iloc[place])

    def _draw_summary(self) -> None:
        table = patient.patient_summary(self._state)
        common = table["share"].notna()
        table = table.assign(value=[charts.words(value) for value in table["value"]])
        least, n = charts.screen_rules(self._state).least, self._state.data.n
        table.loc[common, "value"] += [
            "" if share * n / 100 < least else f" ({share:.0f} %)" for share in table.loc[common, "share"]
        ]
        columns = self._state.data.columns
        kept = [columns[name].kind != "text" for name in table["column"]]  # nobody reads along in free text
        table = table[(table["group"] == "clinical") & np.array(kept, bool)]
        note = f"{PERCENTILE} In brackets: share of the cohort with the same value."
        self._summary.show(charts.position_chart(table, "Clinical summary", "column", note))

    def _draw_pathways(self) -> None:
        table = patient.pathway_percentiles(self._state)
        self._leave_out("No pathway activities for this cohort." if table.empty else "", self._pathway_card)
        if table.empty:
            return
        table = table.iloc[np.argsort(-np.abs(table["percentile"] - 50), kind="stable")[:MOST_ROWS]]
        table = table.sort_values("percentile", ascending=False)
        title = "Activity of pathways and cell types"
        self._pathways.show(charts.position_chart(table, title, "pathway", PERCENTILE))

    def _draw_timeline(self) -> None:
        table = patient.timeline(self._state)
        if table.empty:
            text = "No events: declare an endpoint, or keep dates as columns."
            return self._timeline.show(charts.message("Timeline", text))
        in_unit = table["unit"].nunique() == 1
        times = table["time" if in_unit else "days"].to_numpy(float)
        known = np.isfinite(times)
        if not known.all():
            self._absent.append(_apart(table[~known], table.attrs["note"]))
        table, times = table[known], times[known]
        rows = [
            {
                "label": str(row["what"])[:32],
                "start": 0.0 if row["kind"] in ("event", "competing event", "censored") else float(time),
                "end": float(time),
                "open": row["kind"] == "censored",
                "colour": EVENT_COLOURS.get(row["kind"], 7),
                "note": f"{time:.3g}",
            }
            for (_, row), time in zip(table.iterrows(), times, strict=True)
        ]
        low, high = min(0.0, times.min(initial=0)), times.max(initial=0)
        high = high if high > low else low + 1.0  # a point alone in time
        unit = table["unit"].iloc[0] if in_unit else "days"
        said = "; ".join(
            f"{row['what']} ({row['kind']}) at {time:.3g}"
            for (_, row), time in zip(table.iterrows(), times, strict=True)
        )
        self._timeline.show(
            {
                "kind": "timeline",
                "title": "Timeline",
                "rows": rows,
                "from": low,
                "to": high + (high - low) * 0.02,
                "x_name": f"time ({unit}); open circle: follow-up ends",
                "summary": said,
                "table": {
                    "columns": ["what", "kind", unit],
                    "rows": [
                        [row["what"], row["kind"], float(time)]
                        for (_, row), time in zip(table.iterrows(), times, strict=True)
                    ],
                },
            }
        )

    def _draw_alterations(self) -> None:
        table = patient.alterations(self._state)
        if table.empty:
            return self._altered.show(charts.html(""))
        least = charts.screen_rules(self._state).least
        cells = [_altered(row, least) for _, row in table.iterrows()]
        self._altered.show(charts.html(f'<h4>Alterations</h4><ul class="pm-print">{"".join(cells)}</ul>'))

    def _draw_similar(self) -> None:
        try:
            self._alike = table = similarity.similar_patients(self._state)
        except DataError as error:
            self._alike = pd.DataFrame()
            return self._similar.fill(self._alike, str(error))
        unit = table.attrs.get("unit", "")
        shown = table.drop(columns=["n_compared"]).rename(columns={"time": f"time ({unit})"})
        if "event" in shown:
            shown["event"] = [None if e is None else "yes" if e else "no" for e in shown["event"]]
            if shown["cause"].dropna().isin(["event"]).all():
                shown = shown.drop(columns="cause")
        self._similar.fill(shown, table.attrs.get("note", ""))

    def _draw_drugs(self) -> None:
        table = patient.patient_drugs(self._state)
        note = table.attrs.get("note", "")
        measure = next((name for name in ("ln_ic50", "auc") if name in table), None)
        self._leave_out(note if table.empty or measure is None else "", *self._drug_cards)
        if table.empty or measure is None:
            return
        self._drug_table.fill(table, note)
        top = table.head(MOST_ROWS)
        flagged = top.get("out_of_distribution", pd.Series(False, top.index)).fillna(False).astype(bool)
        percentile = top.get("percentile", pd.Series(np.nan, top.index))
        top = top.assign(
            said=[
                f"{'' if pd.isna(p) else f'percentile {p:.0f}'}{', unlike' if far else ''}"
                for p, far in zip(percentile, flagged, strict=True)
            ]
        )
        self._drugs.show(
            charts.interval_chart(
                top,
                f"Predicted drugs: the first {len(top)} of {len(table)}",
                "drug",
                measure,
                "ln IC50 (µM)" if measure == "ln_ic50" else "AUC",
                lower="lower",
                upper="upper",
                note="said",
                summary=note,
                colours=[1 if far else 4 for far in flagged],
            )
        )

    def _draw_cells(self) -> None:
        found, rules = patient.patient_cells(self._state), charts.screen_rules(self._state)
        types = found.types.assign(
            value=[
                f"{rules.people(n)} cells, {100 * f:.0f} %"
                for n, f in zip(found.types["n"], found.types["fraction"], strict=True)
            ]
        )
        lacking = found.note or "No cells of this patient."
        self._leave_out(lacking if types.empty or not len(found.rows) else "", self._type_card)
        if not types.empty and len(found.rows):
            note = f"{PERCENTILE} Of patients with at least 20 cells. {found.note}"
            self._types.show(charts.position_chart(types, "Composition of cell types", "cell_type", note))
        if len(found.rows):
            lacking = 'No map of the cells: they need obsm["X_umap"].' if found.embedding is None else ""
        self._leave_out(lacking, self._map_card)
        if lacking:
            return
        rows = np.arange(len(found.embedding))
        said = f"{len(found.rows):,} cells of this patient in colour, {len(rows):,} in all."
        if len(rows) > charts.MOST_POINTS:
            said += f" Of the others {charts.MOST_POINTS:,} are drawn, a sample."
            rows = np.union1d(np.linspace(0, len(rows) - 1, charts.MOST_POINTS).astype(int), found.rows)
        mask = np.isin(rows, found.rows).astype(np.uint8)
        types = self._state.data.cell_types
        more = charts.coloured(types.values[rows], types.categories) if types is not None else {}
        description = charts.point_chart(
            *found.embedding[rows].T,
            "Cells of the patient within all cells",
            said, "UMAP 1", "UMAP 2", mask=mask, points="cells", height=340, **more,
        )  # fmt: skip
        kept = (
            ("x", "y", "codes")
            if self._cells_sent and "codes" in description and len(rows) == len(found.embedding)
            else ()
        )
        self._map.show(description, kept)
        self._cells_sent = True

    def _draw_risk(self) -> None:
        from .risk import patient_risk

        state, name = self._state, self._risk_column.value
        numbers = [
            c.name for c in state.data.columns.values() if c.kind == "number" and c.group != "endpoint"
        ]
        fold(self._risk_column, not numbers)
        options = [("none", ""), *((n, n) for n in numbers)]
        if list(self._risk_column.options) != options:
            self._risk_column.options = options
        if not name or state.patient is None:
            text = "Choose a column with a predicted risk (higher is worse) to see its calibration."
            return self._risk.show(charts.message("Risk", text))
        try:
            found = patient_risk(state, name)
        except DataError as error:
            return self._risk.show(charts.message("Risk", str(error)))
        said = [f"{name} {found.value:.3g}, percentile {found.percentile:.0f} of {found.n_known:,} patients."]
        if found.observed is not None:
            said.append(
                f"Of {found.n:,} with {found.low:.3g} to {found.high:.3g}, {100 * found.observed:.0f} % had "
                f"the event by {found.horizon:.3g} {found.unit}."
            )
        if found.lower is not None:
            said.append(f"Interval of 95 %: {100 * found.lower:.0f} to {100 * found.upper:.0f} %.")
        return self._risk.show(charts.message("Risk with its calibration", " ".join([*said, found.note])))


def _altered(row: pd.Series, least: int) -> str:
    """One cell of an oncoprint's row, with its meaning in words."""
    seen = "unknown" if row["altered"] is None else "altered" if row["altered"] else "unaltered"
    words = f"{row['alteration']} {row['kind']}: {seen} ({charts.words(row['value'])})"
    n_altered = row["frequency"] * row["n_known"] / 100
    few = min(n_altered, row["n_known"] - n_altered) < least
    share = "in few, or in nearly all" if few else f"{row['frequency']:.0f} % of the cohort"
    sign = '<span class="pm-sign" aria-hidden="true"></span>'
    return f'<li class="pm-gene pm-{seen}">{sign}{escape(f"{words}, {share}")}</li>'


def _apart(table: pd.DataFrame, note: str) -> str:
    """What the timeline has no place for, with its date or time, and why."""
    parts = [
        f"{row.what} {row.time:.3g} {row.unit}" if pd.isna(row.date) else f"{row.what} {row.date:%Y-%m-%d}"
        for row in table.itertuples()
    ]
    why = note or "Their unit leads to no number of days."
    return f"Not in the timeline: {', '.join(parts)}. {why}"
