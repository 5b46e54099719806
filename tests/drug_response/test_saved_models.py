"""A model survives a disk and a kill; what is not what was saved is refused, and never executed."""

import hashlib
import json
import os
import pickle
import re
import signal
import subprocess
import sys

import anndata
import pandas as pd
import pytest

import pm_lab as pm
from pm_lab.drug_response import store
from pm_lab.errors import DataError

dr = pm.drug_response


def quick(**options):
    return dr.DrugResponseModel(**{"members": 2, "hidden": 8, "max_epochs": 10, **options})


@pytest.fixture(scope="module")
def model(few_lines):
    return quick().fit(few_lines)


@pytest.fixture
def saved(model, few_lines, tmp_path):
    return model, few_lines, model.save(tmp_path / "model")


def test_a_saved_model_predicts_the_same(saved):
    model, little, folder = saved
    again = dr.DrugResponseModel.load(folder)
    pd.testing.assert_frame_equal(again.predict(little), model.predict(little))
    pd.testing.assert_frame_equal(again.history_, model.history_)
    assert again.members == 2 and list(again.drugs_) == list(model.drugs_) and len(again.lines_) == 60
    suffixes = {path.suffix for path in folder.iterdir()}
    assert suffixes == {".json", ".safetensors"} and len(list(folder.iterdir())) == 2
    again.save(folder)
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize(
    ("device", "match"), [("cuda", "finds no CUDA device here"), ("gpu", "'auto', 'cpu' or 'cuda'")]
)
def test_a_device_that_is_not_there_is_refused_on_loading(saved, monkeypatch, device, match):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(DataError, match=match):
        dr.DrugResponseModel.load(saved[2], device=device)
    assert dr.DrugResponseModel.load(saved[2], device="cpu").members == 2


def change_description(folder, honest=True, **changes):
    """``honest``: the checksum is made anew, as somebody would who means it."""
    path = folder / "model.json"
    content = {**json.loads(path.read_text()), **changes}
    if honest:
        content["checksum"] = store.checksum(content)
    path.write_text(json.dumps(content))


@pytest.fixture
def refused(saved):
    """Load the model that a test has spoilt, see what is said, and mend it."""
    folder = saved[2]
    numbers = next(folder.glob("*.safetensors"))
    whole, description = numbers.read_bytes(), (folder / "model.json").read_text()

    def refused(match):
        with pytest.raises(DataError, match=match):
            dr.DrugResponseModel.load(folder)
        numbers.write_bytes(whole)
        (folder / "model.json").write_text(description)

    return refused


@pytest.mark.parametrize("version", [1, 3, 99, None, "2"])
def test_models_of_another_version(saved, refused, version):
    """An older one has other arrays and no checksum: neither is called damaged."""
    folder, said = saved[2], re.escape(f"was written by another version (format {version!r}, this reads 2)")
    change_description(folder, honest=False, version=version, checksum=None, genes=["TP53"])
    refused(said + ": train and save again, or use the pm_lab that wrote it")


def test_models_that_were_cut_off(saved, refused, tmp_path):
    folder = saved[2]
    numbers = next(folder.glob("*.safetensors"))
    numbers.write_bytes(numbers.read_bytes()[: numbers.stat().st_size // 2])
    refused("is not what was saved .* cut off or changed")
    numbers.unlink()
    refused("the numbers of .* cannot be read")
    path = folder / "model.json"
    path.write_text(path.read_text()[:100])
    refused("cannot be read: .* Is this the folder of a saved model")
    with pytest.raises(DataError, match="cannot be read"):
        dr.DrugResponseModel.load(tmp_path / "nowhere")


def test_models_that_were_changed_by_hand(saved, refused):
    model, _, folder = saved
    change_description(folder, honest=False, drugs=list(model.drugs_)[::-1])
    refused(r"model.json is damaged: it is not what was saved \(another SHA-256\)")
    change_description(folder, format="somebody's model")
    refused("is no pm_lab drug response model: its format is")
    (folder / "model.json").write_text("[" * 100_000)
    refused("cannot be read")
    (folder / "model.json").write_text("[1, 2]")
    refused("its format is 'list'")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"genes": ["TP53"]}, r"is damaged: expression has the shape \(60, 2000\) instead of \(60, 1\)"),
        ({"settings": {"seed": 0, "layers": 3}}, "is damaged: TypeError"),
        ({"settings": {"members": "two"}}, "members='two': a whole number"),
        ({"settings": []}, "is damaged: TypeError"),
        ({"drugs": None}, "is damaged: TypeError"),
        ({"scale": "os.getcwd()"}, "is damaged: ValueError"),
        ({"history": 3}, "is damaged: "),
        ({"numbers": "../../numbers.safetensors"}, "the numbers of .* cannot be read"),
    ],
)
def test_models_that_were_changed_with_a_new_checksum(saved, refused, changes, match):
    change_description(saved[2], **changes)
    refused(match)


def test_nothing_in_a_model_is_executed(saved, tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    folder = saved[2]
    packed = pickle.dumps(Trap())
    next(folder.glob("*.safetensors")).write_bytes(packed)
    change_description(folder, sha256=hashlib.sha256(packed).hexdigest())
    with pytest.raises(DataError, match="is no safetensors file"):
        dr.DrugResponseModel.load(folder)
    assert not (tmp_path / "sprung").exists()


def test_a_checkpoint_of_another_version(little, tmp_path):
    quick().fit(little, resume=tmp_path)
    change_description(tmp_path, version=1)
    with pytest.raises(DataError, match=r"was written by another version \(format 1, this reads 2\)"):
        quick().fit(little, resume=tmp_path)


KILLED = """
import os, signal, sys
import anndata
import pm_lab as pm
from pm_lab.drug_response import store

write, calls = store._write, []
def deadly(path, content):
    calls.append(path)
    if len(calls) == 4:  # the numbers of the second checkpoint are written, its description is not
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, content)
store._write = deadly
screen = anndata.read_h5ad(sys.argv[1])
pm.drug_response.DrugResponseModel(members=2, hidden=8, max_epochs=20).fit(screen, resume=sys.argv[2])
"""


def test_killed_in_mid_training_it_ends_with_the_same_numbers(little, tmp_path):
    screen, folder = tmp_path / "screen.h5ad", tmp_path / "checkpoint"
    little.write_h5ad(screen)
    done = subprocess.run([sys.executable, "-c", KILLED, screen, folder], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert json.loads((folder / "model.json").read_text())["epoch"] == 5
    little = anndata.read_h5ad(screen)
    new = little[:9].copy()
    new.obs_names = [f"new{i}" for i in range(9)]
    whole = quick(max_epochs=20).fit(little)
    again = quick(max_epochs=20).fit(little, resume=folder)
    pd.testing.assert_frame_equal(again.predict_matrix(new), whole.predict_matrix(new), rtol=0, atol=0)
    pd.testing.assert_frame_equal(again.history_, whole.history_, rtol=0, atol=0)
    assert json.loads((folder / "model.json").read_text())["epoch"] == 20
    finished = quick(max_epochs=20).fit(little, resume=folder)
    pd.testing.assert_frame_equal(finished.predict_matrix(new), whole.predict_matrix(new), rtol=0, atol=0)


def test_a_checkpoint_is_for_its_data_and_settings(little, tmp_path):
    quick().fit(little, resume=tmp_path)
    with pytest.raises(DataError, match=r"checkpoint of other data or other settings\. Delete"):
        quick(hidden=9).fit(little, resume=tmp_path)
    little.X[0, 0] += 1
    with pytest.raises(DataError, match="checkpoint of other data"):
        quick().fit(little, resume=tmp_path)
    with pytest.raises(DataError, match="is no pm_lab drug response model"):
        dr.DrugResponseModel.load(tmp_path)
