"""What `import pm_lab` loads, and that imports run one way between the modules."""

import ast
import subprocess
import sys
from pathlib import Path

import pm_lab

PACKAGE = Path(pm_lab.__file__).parent

# A module imports only from levels before its own.
LEVELS = [
    {"errors", "keys", "checks"},
    {"gene_sets", "design", "endpoints", "identifiers", "leaks", "validation", "model_card"},
    {"datasets"},
    {"singlecell", "bulk", "enrichment", "biomarkers", "survival", "drug_response"},
    {"explorer"},
    {"view"},
    {"doctor"},
    {"cli"},
]
SERVER_MAY_IMPORT = {"errors", "keys", "checks", "identifiers", "datasets"}
FLOOR = LEVELS[0] | LEVELS[1]  # modules of these two levels may import within their own level


def loaded_after(statement):
    """The modules in a new process once this statement has run."""
    code = f"{statement}; import sys; print(' '.join(sys.modules))"
    return set(
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        ).stdout.split()
    )


def part_of(path):
    """The part of the package that a source file belongs to: a module or a folder's name."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_parts(path):
    """The parts of pm_lab that a source file imports anywhere, in functions too."""
    folder = ["pm_lab", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            targets = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = folder[: len(folder) - node.level + 1] if node.level else []
            base = base + (node.module or "").split(".") if node.module else base
            targets = [[*base, alias.name] for alias in node.names]
        else:
            continue
        yield from (target[1] for target in targets if target[0] == "pm_lab" and len(target) > 1)


def level_of(part):
    return next((level for level, parts in enumerate(LEVELS) if part in parts), len(LEVELS))


def may_import(part, other):
    if other.startswith("__"):  # __version__
        return True
    if part == "server":
        return other in SERVER_MAY_IMPORT
    own, its = level_of(part), level_of(other)
    return its < own or (its == own and part in FLOOR)


def sources():
    return [path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py"]


def test_import_loads_no_heavy_library():
    loaded = loaded_after("import pm_lab")
    assert not loaded & {"scanpy", "torch", "gseapy", "anndata", "pandas", "numpy", "matplotlib"}


def test_every_public_name_can_be_reached():
    for name in pm_lab.__all__:
        assert getattr(pm_lab, name) is not None


def test_every_part_has_a_level():
    parts = {part_of(path) for path in sources()} - {"server", "labextension"}
    assert not {part for part in parts if level_of(part) == len(LEVELS)}


def test_imports_run_one_way():
    wrong = []
    for path in sources():
        part = part_of(path)
        for other in set(imported_parts(path)) - {part}:
            if not may_import(part, other):
                wrong.append(f"{path.relative_to(PACKAGE)} imports pm_lab.{other}")
    assert wrong == []


def test_imports_are_seen_in_every_form(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    source = tmp_path / "datasets" / "x.py"
    source.parent.mkdir()
    source.write_text(
        "import pm_lab.bulk\nfrom pm_lab import survival\nfrom pm_lab.singlecell import process\n"
        "from .. import checks\nfrom ..design import fit\nfrom . import download\nimport numpy\n"
        "def f():\n    from pm_lab.view import show\n"
    )
    assert set(imported_parts(source)) == {
        "bulk", "survival", "singlecell", "checks", "design", "datasets", "view",
    }  # fmt: skip
