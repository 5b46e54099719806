"""The command line and the doctor, called as a user calls them."""

import json
import os
import subprocess
import sys
from collections import namedtuple
from importlib import metadata
from pathlib import Path

import nbformat
import psutil
import pytest

from pm_lab import doctor
from pm_lab.cli import main


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("PM_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PM_LAB_MIRROR", raising=False)
    monkeypatch.setenv("PM_LAB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def fit(monkeypatch):
    """An environment in which nothing that is needed is broken, whatever this one is like."""
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: ["numpy>=1", "absent>1; extra == 'test'"])
    real = metadata.version
    monkeypatch.setattr(doctor.metadata, "version", lambda name: "0.1" if name == "pm_lab" else real(name))


def findings(check):
    return [finding for finding in doctor.findings() if finding.check == check]


def only(check):
    (finding,) = findings(check)
    return finding


def test_help_is_quick_to_start():
    code = (
        "import sys\nfrom pm_lab.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('numpy', 'pandas', 'papermill', 'anndata', 'pooch') if m in sys.modules])"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.splitlines()[-1] == "[]"
    assert all(word in done.stdout for word in ("doctor", "data", "run"))


@pytest.mark.parametrize("call", [[], ["data"], ["dokter"], ["run"]])
def test_a_call_that_makes_no_sense_exits_with_2(call, capsys):
    with pytest.raises(SystemExit) as caught:
        main(call)
    assert caught.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_doctor_exits_with_0_when_nothing_needed_is_broken(fit, capsys):
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "All that is needed works" in printed
    for check in (
        "Python",
        "packages",
        "JupyterLab",
        "pm_lab extension",
        "memory",
        "CPUs",
        "GPU",
        "data offline",
    ):
        assert check in printed


def test_doctor_in_a_process_of_its_own(tmp_path):
    """On this installation as it is, and with the record of an old numpy found before the real one."""
    command = [sys.executable, "-m", "pm_lab.cli", "doctor"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    record = tmp_path / "old" / "numpy-0.1.dist-info" / "METADATA"
    record.parent.mkdir(parents=True)
    record.write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 0.1\n")
    old = {**os.environ, "PYTHONPATH": str(tmp_path / "old")}
    done = subprocess.run(command, capture_output=True, text=True, env=old)
    assert done.returncode == 1
    assert "numpy is 0.1" in done.stdout


def test_doctor_exits_with_1_and_says_how_to_mend(fit, monkeypatch, capsys):
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: ["numpy>=99", "nowhere-to-be-found"])
    assert main(["doctor"]) == 1
    printed = capsys.readouterr().out
    assert "nowhere-to-be-found is missing" in printed and "not >=99" in printed
    assert "make lab" in printed and "1 broken" in printed


def test_doctor_json(fit, monkeypatch, capsys):
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    assert set(report["findings"][0]) == {"check", "status", "finding", "mend"}
    monkeypatch.setattr(sys, "version_info", (3, 9, 1))
    assert main(["doctor", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert [f["check"] for f in report["findings"] if f["status"] == "fail"] == ["Python"]


def test_the_table_for_the_notebook_has_no_paths_of_this_machine(fit, monkeypatch, tmp_path):
    monkeypatch.setenv("PM_LAB_MIRROR", str(tmp_path / "nowhere"))
    with pytest.warns(UserWarning, match="not a folder"):
        table = doctor.check()
    text = table.to_csv()
    for private in (tmp_path, Path.home(), sys.prefix, Path(doctor.__file__).parents[1], Path.cwd()):
        assert str(private) not in text
    assert (table["status"] == "warn").sum() >= 1


def test_doctor_says_when_pm_lab_is_not_installed(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.metadata, "requires", absent)
    assert only("packages").status == "fail"


def test_doctor_compares_with_the_lock(fit, monkeypatch, tmp_path):
    lock = tmp_path / "requirements.lock"
    monkeypatch.setattr(doctor, "LOCK", lock)
    assert only("lock").status == "info"
    lock.write_text(
        f"# exact\nnumpy=={metadata.version('numpy')}  # why\nabsent==1; sys_platform == 'never'\n"
    )
    assert only("lock").status == "ok"
    lock.write_text("numpy==1.0.0\npandas==0.1\n")
    assert only("lock").status == "warn"
    assert "2 of 2 differ" in only("lock").finding and "numpy" in only("lock").finding


def test_doctor_misses_the_widgets_extension(fit, monkeypatch, tmp_path):
    monkeypatch.setattr("jupyter_core.paths.jupyter_path", lambda *parts: [str(tmp_path)])
    assert only("JupyterLab").status == "fail" and "ipywidgets" in only("JupyterLab").mend


def test_a_broken_check_does_not_hide_the_others(fit, monkeypatch):
    def broken():
        raise RuntimeError("no such sensor")
        yield

    monkeypatch.setattr(doctor, "CHECKS", (broken, *doctor.CHECKS[:1]))
    assert [(f.status, f.check) for f in doctor.findings()] == [("warn", "broken"), ("ok", "Python")]


def group(root, cgroup, files):
    """A file system root with control groups as the kernel shows them."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroup)
    for name, text in files.items():
        file = root / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


V1 = "4:memory:/pod/box\n3:cpu,cpuacct:/pod/box\n0::/\n"
NONE_V1 = "9223372036854771712\n"


@pytest.mark.parametrize(
    ("cgroup", "files", "memory", "cpus"),
    [
        ("0::/\n", {"memory.max": "max\n", "cpu.max": "max 100000\n"}, None, None),
        ("0::/\n", {"memory.max": "2147483648\n", "cpu.max": "150000 100000\n"}, 2**31, 1.5),
        (
            "0::/a/b\n",
            {"a/memory.max": "1024\n", "a/b/memory.max": "max\n", "a/cpu.max": "50000 100000"},
            1024,
            0.5,
        ),
        ("0::/path/of/the/host\n", {"memory.max": "4096\n"}, 4096, None),
        (V1, {"memory/pod/box/memory.limit_in_bytes": NONE_V1, "cpu/cpu.cfs_quota_us": "-1\n"}, None, None),
        (
            V1,
            {
                "memory/pod/box/memory.limit_in_bytes": NONE_V1,
                "memory/pod/memory.limit_in_bytes": "1048576\n",
                "cpu/pod/box/cpu.cfs_quota_us": "200000\n",
                "cpu/pod/box/cpu.cfs_period_us": "100000\n",
            },
            2**20,
            2.0,
        ),
    ],
)
def test_limits_of_the_container(tmp_path, cgroup, files, memory, cpus):
    root = group(tmp_path, cgroup, files)
    assert doctor.memory_limit(root) == memory
    assert doctor.cpu_limit(root) == cpus


def test_no_control_groups(tmp_path):
    assert doctor.memory_limit(tmp_path) is None and doctor.cpu_limit(tmp_path) is None


def test_doctor_reports_the_limits_and_not_the_host(monkeypatch):
    monkeypatch.setattr(doctor, "memory_limit", lambda: 2**30)
    monkeypatch.setattr(doctor, "cpu_limit", lambda: 0.5)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    memory, cpus = only("memory"), only("CPUs")
    assert memory.status == "warn" and memory.finding.startswith("1.0 GiB, the limit of this container")
    assert f"{psutil.virtual_memory().total / 2**30:.1f} GiB" in memory.finding
    assert cpus.status == "warn" and cpus.finding.startswith("0.5,") and "OMP_NUM_THREADS=1" in cpus.mend
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert only("CPUs").status == "ok"


def test_doctor_reports_a_cache_that_cannot_be_used(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PM_LAB_CACHE", str(tmp_path / "file" / "cache"))
    assert only("data cache").status == "warn" and "PM_LAB_CACHE" in only("data cache").mend
    monkeypatch.setenv("PM_LAB_CACHE", str(tmp_path / "cache"))
    assert only("data cache").status == "ok"
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage(2**30, 2**30, 10))
    assert only("data cache").status == "warn"


def test_data_list_names_every_set(capsys):
    assert main(["data", "list"]) == 0
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == 20
    assert "kang2018 " in printed and "to fetch" in printed and "bundled" in printed


def test_a_reader_that_stops_reading_is_no_error():
    """As in `pm-lab data list | head -1`."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "pm_lab.cli", "data", "list"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_data_fetch(capsys):
    assert main(["data", "fetch", "gse7390"]) == 0
    assert "bundled" in capsys.readouterr().out
    assert main(["data", "fetch", "kang2018"]) == 1
    assert "kang2018/pbmc_stim.RData" in capsys.readouterr().err
    assert main(["data", "fetch", "kang2081"]) == 1
    assert "'kang2018'" in capsys.readouterr().err
    assert main(["data", "fetch"]) == 1
    assert "--all" in capsys.readouterr().err


def test_data_verify(capsys, tmp_path):
    assert main(["data", "verify"]) == 0  # nothing is here, nothing is wrong
    assert main(["data", "verify", "kang2018"]) == 1
    assert "absent" in capsys.readouterr().out
    wrong = tmp_path / "cache" / "kang2018" / "pbmc_stim.RData"
    wrong.parent.mkdir(parents=True)
    wrong.write_bytes(b"changed")
    assert main(["data", "verify"]) == 1
    printed = capsys.readouterr().out
    assert "0 of 1" in printed and str(wrong) in printed
    assert wrong.read_bytes() == b"changed"


def test_data_fetch_and_verify_from_the_mirror(mirror, monkeypatch, capsys):
    monkeypatch.setenv("PM_LAB_MIRROR", str(mirror))
    assert main(["data", "fetch", "airway", "kang2018"]) == 0
    assert "airway: 2 file(s)" in capsys.readouterr().out
    assert main(["data", "verify", "gene_sets"]) == 0
    assert "3 of 3" in capsys.readouterr().out


@pytest.fixture
def notebook(tmp_path):
    """Divides 10 by a parameter."""
    cells = [
        nbformat.v4.new_markdown_cell("# Division"),
        nbformat.v4.new_code_cell("n = 5\nlabel = 'a'", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("# the division\nprint(label, 10 / n, type(n).__name__)"),
    ]
    made = nbformat.v4.new_notebook(cells=cells)
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = tmp_path / "course" / "division.ipynb"
    path.parent.mkdir()
    nbformat.write(made, path)
    return path


def printed_by(path):
    cells = nbformat.read(path, as_version=4).cells
    return "".join(o.text for cell in cells for o in cell.get("outputs", ()) if o.get("name") == "stdout")


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_run_writes_a_copy_with_the_parameters(notebook, tmp_path, capsys):
    source = notebook.read_bytes()
    assert main(["run", str(notebook), "-p", "n", "4", "-p", "label", "halves of"]) == 0
    assert notebook.read_bytes() == source
    assert printed_by(tmp_path / "division-run.ipynb") == "halves of 2.5 int\n"
    assert sorted(path.name for path in tmp_path.glob("*.ipynb")) == ["division-run.ipynb"]
    assert "division-run.ipynb" in capsys.readouterr().out


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_run_takes_a_notebook_that_names_no_kernel_for_python(notebook, tmp_path, capsys):
    content = nbformat.read(notebook, as_version=4)
    content.metadata.clear()
    content.cells[1].source = "n: int = 5\nlabel, rest = 'a', [1]\nrest[0] = other = 2"
    nbformat.write(content, notebook)
    assert main(["run", str(notebook), "-p", "m", "4"]) == 1
    assert "has no parameter m. It has: label, n, other, rest." in capsys.readouterr().err
    assert main(["run", str(notebook), "-p", "n", "4"]) == 0
    assert printed_by(tmp_path / "division-run.ipynb") == "a 2.5 int\n"


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_run_names_notebook_and_cell_that_fail(notebook, tmp_path, capsys):
    (tmp_path / "division-run.ipynb").write_text("kept")
    assert main(["run", str(notebook), "-p", "n", "0"]) == 1
    message = capsys.readouterr().err
    assert f"{notebook}: cell In [3] failed: ZeroDivisionError: division by zero" in message
    assert "the cell begins: # the division" in message
    assert (tmp_path / "division-run.ipynb").read_text() == "kept"
    assert "ZeroDivisionError" in (tmp_path / "division-run-2.ipynb").read_text()


def test_run_refuses_to_overwrite_the_source(notebook, tmp_path, capsys):
    (tmp_path / "link.ipynb").symlink_to(notebook)
    for output in (notebook, tmp_path / "link.ipynb"):
        assert main(["run", str(notebook), "-o", str(output)]) == 1
        assert "overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (["nowhere.ipynb"], "no notebook nowhere.ipynb"),
        (["course/division.ipynb", "-p", "m", "4"], "has no parameter m. It has: label, n"),
        (["course/division.ipynb", "-o", "page.html"], "must end in .ipynb"),
        (["course/division.ipynb", "-o", "absent/page.ipynb"], "no folder absent"),
        (["course/README.md"], "README.md is no notebook"),
        (["course/README.md", "-p", "n", "4"], "README.md is no notebook"),
        (["course/magic.ipynb", "-p", "n", "4"], "the parameters cell is not plain Python"),
        (["course/broken.ipynb"], "broken.ipynb cannot be read"),
        (["course/broken.ipynb", "-p", "n", "4"], "broken.ipynb cannot be read"),
    ],
)
def test_run_refuses_what_cannot_be_run(notebook, tmp_path, capsys, call, said):
    (notebook.parent / "broken.ipynb").write_text("{not json")
    (notebook.parent / "README.md").write_text("# Not a notebook")
    magic = notebook.read_text().replace("n = 5", "%time n = 5")
    (notebook.parent / "magic.ipynb").write_text(magic)
    assert main(["run", *call]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1, "no warning of another package beside it"
    assert list(tmp_path.glob("*.ipynb")) == []


@pytest.mark.parametrize("active", [True, False])
def test_doctor_says_to_activate_an_environment_whose_commands_are_not_found(
    fit, monkeypatch, capsys, active
):
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: ["numpy>=99"])
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent) if active else "")
    assert main(["doctor"]) == 1
    assert ("activate" in capsys.readouterr().out) is not active
