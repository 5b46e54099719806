"""Data sets: what is registered, where it is on this machine, and one call that loads it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "catalogue": ["available", "citation", "fetch", "load", "verify"],
        "open": ["read_anndata", "read_table"],
        "simulate": ["Cohort", "simulate_cohort"],
    },
)
