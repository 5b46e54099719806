"""What a shared file gives away when it is read closely, or next to another one."""

import io
import json
import re
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest

import pm_lab as pm
from pm_lab.errors import DataError
from pm_lab.explorer import (
    CohortData,
    CohortState,
    cohort_report,
    figure_files,
    patient_report,
    selection_code,
    selection_csv,
    state_json,
    static_summary,
)
from tests.explorer import exported

N = 200
SPEC = dict(exported.SPEC)
ignored = pytest.mark.filterwarnings("ignore::pm_lab.errors.PmLabWarning")


def followed(events, unknown=(), **columns) -> CohortState:
    """200 patients followed for 60.25 months at most; those of some rows have the event, at odd times."""
    table = pd.DataFrame({"arm": ["a"] * 150 + ["b"] * 50}, [f"Zzyzx-{i:03d}" for i in range(N)])
    table["months"] = 60.25 - np.linspace(0, 20, N)
    table["died"] = False
    for i, row in enumerate(events):
        table.iloc[row, 1:] = [3.37 + 50 * i / len(events), True]
    table.iloc[list(unknown), table.columns.get_loc("months")] = np.nan
    return CohortState(CohortData.open(table.assign(**columns), endpoint=SPEC))


def text(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_a_handful_of_events_is_in_no_shared_curve():
    html = static_summary(followed(range(0, 60, 10)))
    assert "<img" not in html
    assert "<10 of 200" in text(html).replace("&lt;", "<")


def test_shared_steps_are_at_round_times_and_of_ten_events():
    state = followed(range(0, 120, 2))
    html = exported.unpacked(static_summary(state))
    end = float(re.search(r'text-anchor="middle">([\d.]+)</text><text x="210', html)[1])
    path = re.search(r'<path d="(M40\.0 [^"]+)"', html)[1]
    steps = [(float(x), float(y)) for x, y in re.findall(r"H([\d.]+)V([\d.]+)", path)]
    times = [(x - 40) / 340 * end for x, _ in steps]
    assert len(steps) >= 4
    np.testing.assert_allclose(times, np.round(times), atol=0.01)  # the grid is of whole months
    table = state.data.table()
    before = 0
    for time in times[:-1]:
        events = int((table["died"].eq("True") & (table["months"] <= round(time))).sum())
        assert events - before >= 10
        before = events


def test_hidden_events_of_the_rest_do_not_follow_from_the_total():
    state = followed([*range(74), 150, 151, 152])
    state.set_categories("arm", ["a"])
    said = text(cohort_report(state)).replace("&lt;", "<")
    assert "77 of 200" in said
    assert "74" not in re.sub(state.data.hash, "", said)
    assert "hidden of 150" in said
    assert "74 of 150" in text(cohort_report(state, hide_small_counts=False))


def test_few_unknown_outcomes_do_not_follow_from_any_count():
    state = followed(range(53), unknown=[60, 61, 62, 63])
    said = text(cohort_report(state)).replace("&lt;", "<")
    assert "not known for <10 of 200" in said
    assert "53 of 200" in said and "196" not in re.sub(state.data.hash, "", said)
    assert "≤200" in said  # the number at risk at time zero
    state.set_group("A", {"column": "arm", "values": ["a"]})
    state.set_group("B", {"column": "arm", "values": ["b"]})
    assert "146" not in re.sub(state.data.hash, "", text(cohort_report(state)))


def test_mean_survival_ends_where_enough_are_followed():
    events = [*range(0, 140, 7), *range(150, 190, 3)]
    state = followed(events)
    state.set_group("A", {"column": "arm", "values": ["a"]})
    state.set_group("B", {"column": "arm", "values": ["b"]})
    table = state.data.table()
    last = [table.loc[table["arm"] == arm, "months"] for arm in "ab"]
    shared = re.search(r"mean survival to ([\d.]+) months", text(cohort_report(state)))[1]
    assert min((months >= float(shared)).sum() for months in last) >= 10
    assert float(shared) == round(float(shared))
    whole = re.search(r"mean survival to ([\d.]+) months", text(cohort_report(state, False)))[1]
    assert float(whole) == pytest.approx(min(months.max() for months in last), rel=0.01)


@ignored
def test_ranges_of_identifying_columns_are_kept_as_rows():
    born = pd.Timestamp("1951-03-07") + pd.to_timedelta(np.arange(N) * 11, "D")
    state = followed(range(40), mrn=3792000 + np.arange(N) * 13, dob=born)
    assert {"mrn", "dob"} <= set(state.data.identifiers["column"])
    state.set_range("mrn", 3792137, 3794000)
    state.set_range("dob", "1951-03-07", "1956-11-23", missing=True)
    state.set_group("A", {"column": "mrn", "low": 3792137, "high": 3793000})
    table = state.data.table()
    kept = (table["mrn"] >= 3792137) & (table["mrn"] < 3794000) & (table["dob"] < "1956-11-23")
    assert list(state.selected) == list(table.index[kept])
    shared = [state.share_token(), state_json(state).decode(), cohort_report(state)]
    shared.insert(2, exported.unpacked(static_summary(state)))
    shared += [selection_csv(state).decode(), selection_code(state), state.describe()]
    for one in (*shared, pm.explorer.CohortState.from_token(state.data, shared[0]).to_json()):
        assert not [planted for planted in ("3792137", "3793000", "1956-11-23") if planted in one]
    assert "in a chosen range" in shared[2]
    again = CohortState.from_json(state.data, state.to_json())
    assert list(again.selected) == list(state.selected)


@ignored
def test_names_that_identify_are_rows_in_tables_of_patients():
    table = exported.clinical()
    table.index = [f"person{i}@example.org" for i in range(N)]
    state = CohortState(CohortData.open((table, exported.expression(table)), endpoint=SPEC))
    state.set_patients(state.data.patients[20:60])
    content = selection_csv(state, hide_small_counts=False)
    assert b"@example" not in content
    rows = pd.read_csv(io.BytesIO(content), comment="#")
    assert rows["patient"].tolist() == [f"row {i + 1}" for i in range(20, 60)]
    html = patient_report(state, "person3@example.org", show_similar=True)
    assert "@example" not in html
    assert len(set(re.findall(r"in row \d+", html))) == 11


def test_a_state_cannot_switch_the_protection_off():
    state = exported.ordinary()
    state.set_setting("least_count", 0)
    state.set_categories("subtype", ["rare"])
    other = CohortState.from_token(state.data, state.share_token())
    for html in (
        cohort_report(other),
        exported.unpacked(static_summary(other)),
        selection_csv(other).decode(),
    ):
        assert "7 of 200" not in html
        assert "<10 people" in html.replace("&lt;", "<")
    state.set_setting("least_count", 80)
    assert not re.search(r'"\s*73"', selection_csv(state).decode())


def test_cells_that_differ_in_few_people_from_those_shared_before_are_hidden():
    state = followed(range(40), site=["x", "y"] * 100)
    state.set_patients(np.arange(N) < 100)
    before = selected_of(selection_csv(state))
    # 12 more people, 9 of them at site x
    state.set_patients((np.arange(N) < 106) | np.isin(np.arange(N), np.arange(110, 122, 2)))
    after = selected_of(selection_csv(state))
    assert before["x"] == "50"
    assert after.to_dict() == {"x": "hidden", "y": "hidden"}


def selected_of(content: bytes, column="site") -> pd.Series:
    found = pd.read_csv(io.BytesIO(content), comment="#")
    return found[found["column"] == column].set_index("value")["selected"]


def test_what_was_shared_is_remembered_when_the_data_are_opened_anew():
    for n, reason in ((100, "100 of 200"), (97, "differs in <10 people")):
        state = exported.ordinary()
        state.set_patients(state.data.patients[:n])
        assert reason in selection_csv(state).decode()
    assert exported.ordinary(age=50.0).data.shared is not state.data.shared


def test_looking_at_summaries_and_patients_does_not_withhold_a_selection():
    state = exported.ordinary()
    for n in range(80, 100):
        state.set_patients(state.data.patients[:n])
        static_summary(state)
    assert f"{n} of 200" in selection_csv(state).decode()
    once = patient_report(state, "Zzyzx-003")
    for name in state.data.patients[:8]:
        assert "Their outcomes are not shown" not in patient_report(state, name)
    assert patient_report(state, "Zzyzx-003") == once


@pytest.mark.parametrize("clinical", [["months", "died"], []])
def test_a_patient_without_clinical_columns_has_a_report(clinical):
    table = exported.clinical()
    data = CohortData.open((table[clinical], exported.expression(table)), endpoint=SPEC if clinical else None)
    assert "No clinical column can be shown" in patient_report(CohortState(data), "Zzyzx-003")


def test_a_group_of_few_in_a_gene_s_figure_takes_another_with_it():
    table = exported.clinical().drop(columns=["subtype"])
    table["stage"] = np.repeat(["I", "II", "IV"], [95, 101, 4])
    state = CohortState((table, exported.expression(table)))
    state.set_setting("gene", "GENE0")
    state.set_setting("colour_by", "stage")
    root = ET.fromstring(figure_files(state, "gene")["gene_by_group.svg"])
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"I (hidden)", "II (101)", "IV (<10)"} <= set(texts)


def test_no_limit_of_a_shared_histogram_is_of_one_person():
    income = np.linspace(20, 60, N)
    income[7] = 987
    state = followed(range(40), income=income)
    found = pd.read_csv(io.BytesIO(selection_csv(state)), comment="#")
    found = found[found["column"] == "income"]
    assert found["value"].iloc[-1].endswith("or more")
    assert not [value for value in found["value"] if any(float(x) > 100 for x in re.findall(r"\d+", value))]
    assert pd.to_numeric(found["everyone"].drop(found.index[found["everyone"] == "hidden"])).min() >= 10
    assert (
        "or more" not in figure_files(state, "cohort", hide_small_counts=False)["cohort_income.svg"].decode()
    )


def test_the_selection_in_words_is_readable_where_it_is_of_few():
    state = exported.ordinary()
    state.set_patients(state.data.patients[:1])
    said = text(cohort_report(state))
    assert "<some" not in said and "<<" not in said
    assert "some patients picked by hand (how many patients is withheld: &lt;10 people)" in said
    assert state.describe(hide=True).startswith(
        "<10 patients picked by hand"
    )  # not "<10 patient", which is 1


def test_copied_code_runs_with_odd_signs_in_names():
    table = exported.clinical()
    table["grade"] = np.where(table["grade"] == "high", "hi\0gh\r\x1b", "low")
    state = CohortState(table)
    state.set_categories("grade", ["hi\0gh\r\x1b"])
    names = {"cohort": table}
    exec(selection_code(state), names)
    assert list(names["selected"].index) == list(state.selected)


def test_a_changed_text_puts_no_words_into_exports():
    state = exported.ordinary()
    state.set_range("age", 40)
    risk = pd.Series(np.arange(N) / 7, state.data.patients)
    state.set_group("A", {"panel_risk": risk, "above_quantile": 0.3, "below_quantile": 0.9})
    state.set_patients(state.data.patients[:80])
    given = json.loads(state.to_json())
    assert CohortState.from_json(state.data, json.dumps(given)).describe() == state.describe()
    for change in (
        lambda s: s["groups"]["A"].update(label="Jane Doe, born 1951"),
        lambda s: s["filters"][-1].update(why="of Jane Doe"),
    ):
        changed = json.loads(state.to_json())
        change(changed)
        with pytest.raises(DataError, match="changed"):
            CohortState.from_json(state.data, json.dumps(changed))
