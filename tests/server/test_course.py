"""The list of the course, and working copies of its notebooks."""

import shutil

import nbformat
import pytest

from pm_lab.server import course


@pytest.fixture(autouse=True)
def empty_cache(temporary_cache, monkeypatch):
    monkeypatch.delenv("PM_LAB_MIRROR", raising=False)


async def test_each_notebook_says_what_it_asks_and_needs(call):
    status, answer = await call("course")
    assert status == 200
    notebooks = {one["name"]: one for one in answer["notebooks"]}
    assert len(notebooks) == len(course.notebooks())
    assert next(iter(notebooks)) == "00_welcome" and not notebooks["00_welcome"]["case_study"]
    for name, one in notebooks.items():
        assert one["title"] and one["question"].endswith("?"), name
        assert one["runtime"].endswith("s") and one["memory"][-2:] in ("MB", "GB") and one["data"], name
        assert one["case_study"] == name.startswith("case_studies/")
    study = notebooks["case_studies/breast_cancer_prognosis"]
    assert study["needs"] == ["breast_signatures", "gene_sets", "gse7390", "nki", "vdx"]
    assert study["missing"] == ["breast_signatures", "gene_sets", "nki", "vdx"]  # the other one is bundled
    assert "airway" in notebooks["case_studies/colorectal_metastasis"]["needs"]
    assert not any(one["missing"] for one in answer["notebooks"] if not one["case_study"])


async def test_nothing_is_missing_that_a_mirror_has(call, mirror, monkeypatch):
    monkeypatch.setenv("PM_LAB_MIRROR", str(mirror))
    _, answer = await call("course")
    assert not any(one["missing"] for one in answer["notebooks"])


async def test_a_working_copy_never_overwrites(call, jp_root_dir):
    (jp_root_dir / "mine").mkdir()
    (jp_root_dir / "mine" / "00_welcome-2.ipynb").write_text("my own")
    made = []
    for _ in range(3):
        status, answer = await call("course", "POST", {"name": "00_welcome", "folder": "mine"})
        assert status == 201
        made.append(answer["path"])
    assert made == [f"mine/00_welcome{n}.ipynb" for n in ("", "-3", "-4")]
    assert (jp_root_dir / "mine" / "00_welcome-2.ipynb").read_text() == "my own"
    source = nbformat.read(course.notebooks()["00_welcome"], 4)
    copy = nbformat.read(jp_root_dir / made[0], 4)
    assert [(cell.source, cell.get("outputs")) for cell in copy.cells] == [
        (cell.source, cell.get("outputs")) for cell in source.cells
    ]


async def test_a_case_study_is_copied_by_its_own_name(call, jp_root_dir):
    name = "case_studies/interferon_kang2018"
    status, answer = await call("course", "POST", {"name": name, "folder": "RTC:"})
    assert (status, answer) == (201, {"path": "interferon_kang2018.ipynb"})
    assert (jp_root_dir / answer["path"]).is_file()


@pytest.mark.parametrize(
    ("body", "expected", "said"),
    [
        ({"name": "99_none", "folder": ""}, 404, "no such notebook"),
        ({"name": "../pyproject", "folder": ""}, 404, "no such notebook"),
        ({"name": "00_welcome", "folder": "absent"}, 404, "no such folder"),
        ({"name": "00_welcome", "folder": "a/../.."}, 403, "leaves the server's folder"),
        ({"name": "00_welcome", "folder": "null\0byte"}, 403, "leaves the server's folder"),
        ({"name": 1, "folder": ""}, 400, "must be"),
        (["00_welcome"], 400, "must be"),
        ({}, 400, "must be"),
    ],
)
async def test_a_copy_is_refused_with_a_reason(call, jp_root_dir, body, expected, said):
    status, answer = await call("course", "POST", body)
    assert status == expected and said in answer["what"]
    assert list(jp_root_dir.rglob("*.ipynb")) == []
    assert str(jp_root_dir) not in str(answer)


async def test_a_folder_that_cannot_be_written_is_named(call, jp_root_dir, jp_serverapp, monkeypatch):
    def full(*arguments):
        raise OSError(f"{jp_root_dir}: disk full")

    monkeypatch.setattr(jp_serverapp.contents_manager, "save", full)
    status, answer = await call("course", "POST", {"name": "00_welcome", "folder": ""})
    assert status == 403 and "cannot be written" in answer["what"]
    assert str(jp_root_dir) not in str(answer)


async def test_own_notebooks_beside_the_course_are_no_part_of_it(call, monkeypatch, tmp_path):
    checkout = tmp_path / "notebooks"
    shutil.copytree(course.PACKAGE.parent / "notebooks", checkout)
    monkeypatch.setattr(course, "PACKAGE", tmp_path / "pm_lab")
    _, before = await call("course")
    for name in ("00_welcome-2", "01_single_cell-Copy1", "cells", "case_studies/interferon_kang2018-2"):
        shutil.copy(checkout / "00_welcome.ipynb", checkout / f"{name}.ipynb")
    _, answer = await call("course")
    assert answer == before and len(answer["notebooks"]) > 8


async def test_without_notebooks_the_list_says_so(call, monkeypatch, tmp_path):
    monkeypatch.setattr(course, "PACKAGE", tmp_path / "nowhere")
    status, answer = await call("course")
    assert status == 404 and "not on this machine" in answer["what"] and answer["mend"]
