"""Reports: safe pages that load nothing, say where they come from, and hide few people."""

import datetime
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pandas as pd
import pytest

import pm_lab as pm
from pm_lab.errors import DataError, PmLabWarning
from pm_lab.explorer import CohortData, CohortState, cohort_report, patient_report, static_summary
from tests.explorer import exported

DATE = datetime.date(2026, 1, 31)


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, html: str):
        super().__init__()
        self.tags, self.attributes, self.texts = set(), [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data):
        self.texts.append(data.strip())

    @property
    def text(self) -> str:
        return " ".join(self.texts)


@pytest.fixture(scope="module")
def broken_into():
    """All three pages of a cohort that tries to break them."""
    state = exported.hostile()
    state.set_group("A", {"column": "subtype", "values": [exported.IMAGE]})
    patient = state.data.patients[3]
    return cohort_report(state), patient_report(state, patient, show_similar=True), static_summary(state)


def test_nothing_of_the_data_becomes_markup(broken_into):
    for html in (*broken_into[:2], exported.unpacked(broken_into[2])):
        page = Page(html)
        assert not page.tags & {"script", "img", "iframe", "object", "link", "base", "form"}
        assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert exported.SCRIPT in Page(broken_into[0]).text
    assert exported.IMAGE in Page(broken_into[1]).text


def test_a_page_names_no_address_and_forbids_loading(broken_into):
    for html in broken_into:
        page = Page(html)
        links = [value for name, value in page.attributes if name in ("href", "src", "xlink:href", "data")]
        assert all(value.startswith(("#", "data:image/svg+xml;base64,")) for value in links)
        assert "://" not in html
        assert "@import" not in html
    assert "default-src 'none'" in broken_into[0]
    assert "default-src 'none'" in broken_into[1]


def test_ids_of_a_page_are_its_own(broken_into):
    ids = [value for name, value in Page(broken_into[0]).attributes if name == "id"]
    used = set(re.findall(r"url\(#([^)]+)\)", broken_into[0]))
    assert used <= set(ids)
    assert all(ids.count(name) == 1 for name in used)


def test_reports_say_where_they_come_from():
    state = exported.ordinary()
    state.set_range("age", 40, 60)
    for html in (cohort_report(state, date=DATE), patient_report(state, "Zzyzx-003", date=DATE)):
        text = Page(html).text
        for part in (state.data.hash, "pm_lab 0", "python 3", "lifelines", "2026-01-31", "time months"):
            assert part in text
        assert "Research use only" in text
        assert "not a medical device" in text
        assert "fewer than 10 people are shown as <10" in text
    assert "40 ≤ age < 60" in Page(cohort_report(state)).text


def test_a_cohort_report_counts_as_pandas_does():
    state, table = exported.ordinary(), exported.clinical()
    state.set_range("age", 40, 60)
    chosen = table[table["age"].between(40, 60, inclusive="left")]
    text = Page(cohort_report(state)).text
    assert f"{len(chosen)} of 200" in text
    assert f"{chosen['died'].sum()} of {len(chosen)}" in text
    assert f"{table['died'].sum()} of 200" in text


def test_few_selected_people_are_hidden_unless_asked_for():
    state = exported.ordinary()
    state.set_categories("subtype", ["rare"])
    hidden, shown = (Page(cohort_report(state, hide_small_counts=hide)).text for hide in (True, False))
    assert "subtype = a rare value" in hidden
    assert "subtype = rare" in shown
    assert "7 of 200" not in hidden
    assert "<10 people" in hidden
    assert "7 of 200" in shown


def test_numbers_at_risk_below_ten_are_hidden():
    state = exported.ordinary()
    for hide in (True, False):
        texts = Page(cohort_report(state, hide_small_counts=hide)).texts
        start = texts.index("time, months") + 1
        at_risk = texts[start : texts.index("number at risk")]
        small = [text for text in at_risk if text.isdigit() and int(text) < 10]
        assert bool(small) != hide


def test_groups_are_compared_with_their_numbers():
    state, table = exported.ordinary(), exported.clinical()
    state.set_group("A", {"column": "grade", "values": ["high"]})
    state.set_group("B", {"column": "grade", "values": ["low"]})
    text = Page(cohort_report(state)).text
    for grade in ("high", "low"):
        group = table[table["grade"] == grade]
        assert f"{group['died'].sum()} of {len(group)}" in text
    assert "log-rank p" in text
    assert "Exploratory" in text
    assert re.search(r"padj\s+GENE0\s", text)  # the planted gene is the first row of the table


def test_groups_of_few_people_are_not_compared():
    state = exported.ordinary()
    state.set_group("A", {"column": "subtype", "values": ["rare"]})
    text = Page(cohort_report(state)).text
    assert "Not shown: A: <10 people" in text
    assert "log-rank" not in text


def test_a_patient_report_places_the_patient():
    state, table = exported.ordinary(), exported.clinical()
    text = Page(patient_report(state, "Zzyzx-003")).text
    assert "Patient Zzyzx-003" in text
    age = table["age"]
    percentile = 100 * ((age < age.iloc[3]).mean() + (age == age.iloc[3]).mean() / 2)
    assert re.search(rf"age {age.iloc[3]:.0f} {percentile:.0f}\b", " ".join(text.split()))


def test_drugs_come_with_interval_percentile_flag_and_no_advice():
    state = exported.ordinary()
    text = " ".join(Page(patient_report(state, "Zzyzx-001")).text.split())
    assert "Quickib 4 -0.5 (-1.5 to 0.5) out of distribution" in text
    assert text.index("Quickib") < text.index("Slowib")
    assert "never a recommendation" in text
    assert "unlike the lines" not in " ".join(Page(patient_report(state, "Zzyzx-150")).text.split())


def test_similar_patients_are_named_only_when_asked():
    state = exported.ordinary()
    assert set(re.findall(r"Zzyzx-\d+", patient_report(state, "Zzyzx-003"))) == {"Zzyzx-003"}
    shown = patient_report(state, "Zzyzx-003", show_similar=True)
    assert len(set(re.findall(r"Zzyzx-\d+", shown))) == 11


def test_a_predicted_risk_is_shown_with_its_calibration():
    state = exported.ordinary()
    text = Page(patient_report(state, "Zzyzx-003", risk="age")).text
    assert "Predicted risk" in text
    assert "similar predictions" in text


def test_identifiers_are_left_out_and_named():
    with pytest.warns(PmLabWarning, match="contact"):
        state = exported.ordinary(contact=[f"person{i}@example.org" for i in range(exported.N)])
    for html in (cohort_report(state), patient_report(state, "Zzyzx-003")):
        assert "@example" not in html
        assert "contact (e-mail addresses)" in html


def test_a_name_that_identifies_is_not_the_title():
    table = exported.clinical()
    table.index = [f"person{i}@example.org" for i in range(exported.N)]
    with pytest.warns(PmLabWarning, match="patient"):
        state = CohortState(CohortData.open(table, endpoint=dict(exported.SPEC)))
    html = patient_report(state, "person3@example.org")
    assert "@example" not in html
    assert "Patient in row 4" in html


def test_notes_name_no_patient_and_count_no_few():
    table = exported.clinical()
    table.loc["Zzyzx-017", "months"] = -3.0
    table.attrs["endpoints"] = {"os": dict(exported.SPEC)}
    state = CohortState(table)
    text = Page(cohort_report(state)).text
    assert "'months' is negative for <10 of 200 patients" in text
    assert "'months' is negative for 1 of 200 patients" in Page(cohort_report(state, False)).text
    assert "Zzyzx" not in text


def test_a_saved_notebook_shows_aggregates_alone():
    table = exported.clinical()
    table["age"] = [40 + i / 7 for i in range(exported.N)]  # values that nothing else has
    state = CohortState(CohortData.open(table, endpoint=dict(exported.SPEC)))
    state.set_range("age", 45, 60)
    state.select_patient("Zzyzx-003")
    html = exported.unpacked(static_summary(state))
    assert "Zzyzx" not in html
    assert not [age for age in table["age"] if f"{age:.4f}" in html]
    assert f"{state.n_selected} of 200" in html
    assert Page(html).tags.isdisjoint({"script", "html"})
    assert len(html) < 60_000


def test_curves_of_a_saved_notebook_are_an_image_that_every_notebook_shows(broken_into):
    for html in (static_summary(exported.ordinary()), broken_into[2]):
        # a notebook that is not trusted would keep the words alone
        assert not Page(html).tags & {"svg", "text", "path"}
        described = dict(Page(html).attributes)["alt"]
        assert re.search(r"share without event, at the end: .* 0\.\d\d; time, ", described)
        image = re.search(r"<svg.*</svg>", exported.unpacked(html), re.DOTALL)[0]
        assert len(ET.fromstring(image).findall("{http://www.w3.org/2000/svg}path")) >= 2  # axes, and curves


def test_odd_cohorts_still_have_reports():
    table = exported.clinical().drop(columns=["months", "died"])
    plain = CohortState(table)
    assert "no endpoint is declared" in cohort_report(plain)
    assert "Zzyzx-003" in patient_report(plain, "Zzyzx-003")
    alone = CohortState(table.iloc[:1])
    assert "Cohort report: <10 patients" in Page(cohort_report(alone)).text
    assert "no other patient" in patient_report(alone, "Zzyzx-000")
    nobody = exported.ordinary()
    nobody.set_range("age", 1000)
    assert "<10 people" in Page(cohort_report(nobody)).text
    assert "0 of 200" in cohort_report(nobody, hide_small_counts=False)
    empty = CohortState(table.assign(empty=None))
    assert "missing for all" in cohort_report(empty)


def test_an_unknown_patient_has_no_report():
    with pytest.raises(DataError, match="nobody is looked at"):
        patient_report(exported.ordinary())
    with pytest.raises(DataError, match="there is no patient"):
        patient_report(exported.ordinary(), "nobody")


@pytest.fixture
def sheets(tmp_path, missing):
    """Prints a page with Chromium; how many sheets of A4 it takes."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        missing("no Chromium found to print with")

    def sheets(html):
        (tmp_path / "report.html").write_text(html, encoding="utf-8")
        command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer"]
        command += [f"--user-data-dir={tmp_path / 'profile'}", f"--print-to-pdf={tmp_path / 'report.pdf'}"]
        subprocess.run(
            [*command, (tmp_path / "report.html").as_uri()], check=True, capture_output=True, timeout=120
        )
        pdf = (tmp_path / "report.pdf").read_bytes()
        assert b"/MediaBox [0 0 595" in pdf or b"/MediaBox [0 0 594" in pdf  # A4
        return len(re.findall(rb"/Type\s*/Page\b", pdf))

    return sheets


def test_a_patient_report_prints_on_one_sheet(sheets):
    clinical = {f"marker {i}": pd.Series(range(exported.N), exported.clinical().index) for i in range(6)}
    state = exported.ordinary(**clinical)
    assert sheets(patient_report(state, "Zzyzx-003", risk="age")) == 1


def test_a_cohort_report_prints_on_one_sheet_with_groups_and_without(sheets):
    """The built-in cohort has all that a report can hold: cells, pathways, many columns, a long selection."""
    cohort = pm.datasets.simulate_cohort(seed=0, n_cells=1200)
    cohort.cells.obs["cell_type"] = [f"type {i % 9}" for i in range(cohort.cells.n_obs)]
    state = CohortState(cohort)
    state.set_range("age", 30, 70)
    state.set_categories("subtype", ["Luminal A", "Luminal B", "Basal-like"])
    assert sheets(cohort_report(state)) == 1
    state.set_group("A", {"column": "response", "values": ["yes"]})
    html = cohort_report(state)
    assert "Cell types" in Page(html).text and "Pathways" in Page(html).text
    assert sheets(html) == 1


def test_a_report_that_is_too_long_would_be_seen(sheets):
    state = exported.ordinary()
    state.data.notes.extend(f"note {i}" for i in range(100))
    assert sheets(cohort_report(state)) > 1
