"""Copied beside the notebooks that `make test-notebooks` runs: which of them need data that is not here."""

import os
import re

import pytest

LOADS = re.compile(r"datasets\.load\(\s*[\"'](\w+)[\"']")


def pytest_collection_modifyitems(items):
    if os.environ.get("CI") == "true":
        return  # nothing may be missing there: the notebook itself fails and says what is
    notebooks = {item.path for item in items}
    missing = {path: names for path in notebooks if (names := _absent(path))}
    for item in items:
        if item.path in missing:
            reason = (
                f"{item.path.name} needs {', '.join(missing[item.path])}: set PM_LAB_MIRROR or fetch them"
            )
            item.add_marker(pytest.mark.skip(reason=reason))


def _absent(path):
    """The data sets that a notebook loads and that neither the package, the cache nor the mirror has."""
    import pm_lab as pm

    wanted = set(LOADS.findall(path.read_text(encoding="utf-8").replace('\\"', '"')))
    if not wanted:
        return []
    table = pm.datasets.available().set_index("name")
    return sorted(name for name in wanted if name in table.index and table.loc[name, "where"] == "to fetch")
