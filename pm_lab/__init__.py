"""pm_lab: notebooks and helpers for personalized medicine. Use it as ``import pm_lab as pm``."""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        *("biomarkers", "bulk", "checks", "datasets", "design", "doctor", "drug_response", "endpoints"),
        *("enrichment", "errors", "explorer", "gene_sets", "identifiers", "keys", "model_card"),
        *("singlecell", "survival", "validation"),
    ],
    submod_attrs={
        "explorer.app": ["explore"],
        "view": ["view", "load_ipython_extension", "unload_ipython_extension"],
    },
)


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    """Where JupyterLab finds the front end, once it is built."""
    return [{"src": "labextension", "dest": "pm-lab-extension"}]
