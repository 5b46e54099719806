"""Single cells: from raw counts to a statement about patients."""

import lazy_loader

# No function has the name of its file: importing such a file would put the module in the function's place.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "abundance": ["composition"],
        "annotation": ["annotate"],
        "markers": ["rank_markers"],
        "patients": ["differential_expression", "pseudobulk"],
        "plots": ["plot_composition", "plot_markers", "plot_quality", "plot_umap"],
        "processing": ["process"],
        "quality": ["quality_control"],
    },
)
