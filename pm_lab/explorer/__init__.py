"""The patient explorer: a cohort and one patient, side by side, in a notebook cell."""

import lazy_loader

# No function has the name of its file: importing such a file would put the module in the function's place.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "cohort_data": ["CohortData"],
        "columns": ["Column"],
        "filters": ["inside_polygon"],
        "small_counts": ["SharedSelections", "shown", "suppress"],
        "state": ["CohortState"],
    },
)
