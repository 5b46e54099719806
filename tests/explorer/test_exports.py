"""Files that leave the explorer: complete for who may see rows, safe to share by default."""

import getpass
import io
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pm_lab.errors import DataError, PmLabWarning
from pm_lab.explorer import CohortState, figure_files, selection_code, selection_csv, state_json
from pm_lab.explorer.disclosure import Disclosure
from pm_lab.explorer.patient_figures import drugs_figure
from pm_lab.explorer.view_figures import survival_chart
from tests.explorer import exported


def head(content: bytes) -> str:
    """The lines of a CSV that say where it comes from."""
    return "\n".join(line for line in content.decode().splitlines() if line.startswith("#"))


def read(content: bytes) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(content), comment="#")


def test_rows_of_the_selection_are_those_that_pandas_selects():
    state = exported.ordinary()
    state.set_range("age", 40, 60)
    state.set_gene("GENE0", 6)
    found = read(selection_csv(state, hide_small_counts=False))
    table, genes = exported.clinical(), exported.expression(exported.clinical())
    gene = genes["GENE0"].astype(np.float32)
    wanted = table[(table["age"] >= 40) & (table["age"] < 60) & (gene >= 6)]
    assert found["patient"].tolist() == list(wanted.index)
    assert found["age"].tolist() == wanted["age"].tolist()
    assert found["grade"].isna().tolist() == wanted["grade"].isna().tolist()
    np.testing.assert_allclose(found["gene:GENE0"], gene[wanted.index], rtol=1e-6)


def test_every_table_says_where_it_comes_from():
    state = exported.ordinary()
    state.set_range("age", 40, 60)
    for hide in (True, False):
        said = head(selection_csv(state, hide_small_counts=hide))
        for part in (state.data.hash, "40 ≤ age < 60", "Research use only", "pm_lab 0", "python 3", "pandas"):
            assert part in said
    assert "Date: 20" in said


def test_the_shared_table_has_counts_and_no_patient():
    state = exported.ordinary()
    state.set_range("age", 40, 60)
    content = selection_csv(state)
    assert b"Zzyzx" not in content
    found = read(content)
    assert not found["column"].isin(["months", "died"]).any()
    shown = pd.to_numeric(pd.concat([found["everyone"], found["selected"]]), errors="coerce").dropna()
    assert len(shown) and (shown >= 10).all()
    rare = found[(found["column"] == "subtype") & (found["value"] == "rare")]
    assert rare[["everyone", "selected"]].to_numpy().tolist() == [["hidden", "hidden"]]
    mutated = found[(found["column"] == "mutation_TP53") & (found["value"] == "True")]
    table = exported.clinical()
    wanted = table["mutation_TP53"] & table["age"].between(40, 60, inclusive="left")
    assert mutated["selected"].tolist() == [str(wanted.sum())]


def test_hidden_counts_cannot_be_worked_out_from_the_total():
    found = read(selection_csv(exported.ordinary()))
    subtype = found[found["column"] == "subtype"].set_index("value")["everyone"]
    assert (subtype == "hidden").sum() >= 2
    assert subtype["common"] == "120"


def test_a_selection_too_like_a_shared_one_is_withheld():
    state = exported.ordinary()
    state.set_patients(state.data.patients[:100])
    assert "100 of 200" in head(selection_csv(state))
    state.set_patients(state.data.patients[:97])
    content = selection_csv(state)
    assert "97" not in head(content).replace(state.data.hash, "")
    assert "differs in <10 people" in head(content)
    assert (read(content)["selected"] == "hidden").all()


def test_identifiers_are_left_out_and_named():
    contact = [f"person{i}@example.org" for i in range(exported.N)]
    with pytest.warns(PmLabWarning, match="contact"):
        state = exported.ordinary(contact=contact)
    for hide in (True, False):
        content = selection_csv(state, hide_small_counts=hide)
        assert b"@example" not in content
        assert "contact (e-mail addresses)" in head(content)
    assert "contact" not in read(content)


@pytest.mark.filterwarnings("ignore::pm_lab.errors.PmLabWarning")
def test_formulas_reach_no_spreadsheet():
    content = selection_csv(exported.hostile(), hide_small_counts=False)
    found = read(content)
    assert set(found["subtype"]) == {exported.IMAGE, "'=cmd|' /C calc'!A0", "rare"}
    assert "73 texts got an apostrophe" in head(content)


def test_plus_and_minus_stay_as_they_are():
    signs = np.where(np.arange(exported.N) % 2, "+", "-")
    found = read(selection_csv(exported.ordinary(er=signs), hide_small_counts=False))
    assert found["er"].tolist() == signs.tolist()


def test_state_as_json_restores_itself_and_names_nobody():
    state = exported.ordinary()
    state.set_range("age", 40, 60)
    state.set_patients(state.data.patients[:80])
    state.select_patient("Zzyzx-003")
    content = state_json(state)
    assert b"Zzyzx" not in content
    again = CohortState.from_json(state.data, content.decode())
    assert again.describe() == state.describe()
    assert again.patient == "Zzyzx-003"


def test_copied_code_runs_as_it_stands():
    table = exported.clinical()
    cohort = (table, exported.expression(table))
    state = CohortState(cohort)
    state.set_categories("grade", ["high"], missing=True)
    state.set_gene("GENE0", 6, 9)
    state.set_patients(table.index[20:160])
    names = {"cohort": cohort}
    exec(selection_code(state), names)
    assert list(names["selected"].index) == list(state.selected)
    assert 0 < state.n_selected < 140


def test_code_of_a_cohort_from_a_file_opens_the_file(tmp_path, monkeypatch):
    exported.clinical().rename_axis("patient").to_csv(tmp_path / "my cohort.csv")
    state = CohortState(tmp_path / "my cohort.csv")
    state.set_range("age", 40)
    monkeypatch.chdir(tmp_path)
    code, names = selection_code(state), {}
    assert str(tmp_path) not in code
    exec(code, names)
    assert list(names["selected"].index) == list(state.selected)


@pytest.fixture(scope="module")
def looked_at():
    """A state with something in every view."""
    state = exported.ordinary()
    state.set_range("age", 40, 70)
    state.set_group("A", {"column": "grade", "values": ["high"]})
    state.select_patient("Zzyzx-003")
    state.set_setting("gene", "GENE0")
    return state


@pytest.mark.parametrize(
    ("view", "names"),
    [
        ("cohort", {"age", "subtype", "grade", "mutation_TP53", "survival"}),
        ("compare", {"survival", "genes"}),
        ("patient", {"columns", "timeline", "drugs"}),
        ("gene", {"by_group", "survival"}),
    ],
)
def test_figures_of_each_view(looked_at, view, names):
    files = figure_files(looked_at, view, "svg")
    assert set(files) == {f"{view}_{name}.svg" for name in names}
    for content in files.values():
        text = "".join(ET.fromstring(content).itertext())
        assert looked_at.data.hash in text
        assert "Research use only" in text
        assert str(Path.home()) not in text
        assert str(Path.cwd()) not in text


def test_text_in_an_svg_stays_text(looked_at):
    root = ET.fromstring(figure_files(looked_at, "gene", "svg")["gene_survival.svg"])
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "time, months" in texts
    assert "number at risk" in texts


def test_numbers_at_risk_in_a_shared_figure_are_never_small(looked_at):
    for hide in (True, False):
        root = ET.fromstring(figure_files(looked_at, "compare", "svg", hide)["compare_survival.svg"])
        texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
        # numbers at risk are drawn centred on their tick, one after the other, before the groups' names
        shown = texts[texts.index("time, months") + 1 : texts.index("number at risk")]
        small = [text for text in shown if text.isdigit() and int(text) < 10]
        assert bool(small) != hide


def test_long_names_of_groups_keep_their_thresholds_and_the_curves_their_room():
    state = exported.ordinary()
    areas = []
    for groups in ({}, {"A": "selection", "B": "rest"}):
        state.set_range("age", 40.25, 62.75)
        state.set_categories("mutation_TP53", ["False"])
        for name, source in groups.items():
            state.set_group(name, source)
        split = "groups" if groups else None
        figure = survival_chart(state, Disclosure(0, filtered=True), split)
        figure.draw_without_rendering()
        areas.append(figure.axes[0].get_position().height * figure.get_figheight())
        page, legend = figure.bbox, figure.legends[0].get_window_extent()
        assert legend.x0 >= 0 and legend.x1 <= page.x1 and legend.y1 <= page.y1
        assert legend.y0 >= figure.axes[0].get_window_extent().y1  # no curve lies below it
    said = " ".join(" ".join(text.get_text().split()) for text in figure.legends[0].get_texts())
    assert "A: 40.25 ≤ age < 62.75 and mutation_TP53 = False: " in said
    assert areas[1] > 0.9 * areas[0]
    assert [label.get_text() for label in figure.axes[1].get_yticklabels()] == ["A", "B"]


def test_drugs_show_the_percentile_that_orders_them():
    table = pd.DataFrame({"drug": ["x", "y"], "ln_ic50": [2.0, -1.0], "percentile": [3.0, np.nan]})
    figure = drugs_figure(table, "ln_ic50")
    right = figure.axes[0].child_axes[0]
    assert [label.get_text() for label in right.get_yticklabels()] == ["3", "–"]
    assert "x (percentile 3)" in figure.get_label()


def test_png_and_pdf(looked_at):
    png = figure_files(looked_at, "patient", "png")["patient_timeline.png"]
    assert looked_at.data.hash in Image.open(io.BytesIO(png)).text["Description"]
    pdf = figure_files(looked_at, "patient", "pdf")["patient_timeline.pdf"]
    assert pdf.startswith(b"%PDF")
    assert b"/FontFile2" in pdf  # TrueType, embedded
    assert b"/Type3" not in pdf
    if len(getpass.getuser()) > 3:
        assert getpass.getuser().encode() not in pdf


@pytest.mark.filterwarnings("ignore::pm_lab.errors.PmLabWarning")
def test_names_in_figures_are_never_read_as_markup():
    state = exported.hostile()
    files = figure_files(state, "cohort")
    assert len(files) == 5
    texts = ["".join(ET.fromstring(content).itertext()) for content in files.values()]
    assert any("<script>alert(1)</script> $\\frac" in text for text in texts)
    assert all(name.replace("_", "").replace(".svg", "").isalnum() for name in files)


def test_what_cannot_be_saved_says_why():
    state = exported.ordinary()
    with pytest.raises(DataError, match="kind='gif'"):
        figure_files(state, "cohort", "gif")
    with pytest.raises(DataError, match="view='map'"):
        figure_files(state, "map")
    with pytest.raises(DataError, match="no gene is chosen"):
        figure_files(state, "gene")
    with pytest.raises(DataError, match="nobody is looked at"):
        figure_files(state, "patient")
    state.set_group("A", {"column": "subtype", "values": ["rare"]})
    with pytest.raises(DataError, match="A: <10 people"):
        figure_files(state, "compare")
    assert "compare_survival.svg" in figure_files(state, "compare", hide_small_counts=False)
