"""All routes under ``pm-lab/``: each module lists its own."""

from __future__ import annotations

from importlib import import_module

# A module is added here once it exists; each has ROUTES = [(r"anndata/structure", Handler), ...].
MODULES = (
    "structure",
    "file_warnings",
    "table",
    "summaries",
    "export",
    "tasks",
    "course",
    "data_sets",
    "health",
    "notebook",
    "embedding",
    "colour",
    "distribution",
)

ROUTES = [route for module in MODULES for route in import_module(f"pm_lab.server.{module}").ROUTES]
