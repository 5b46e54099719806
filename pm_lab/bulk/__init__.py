"""Bulk expression: from counts of patients × genes to genes, subtypes and cell types that differ."""

import lazy_loader

# No function has the name of its file: importing such a file would put the module in the function's place.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "centroids": ["nearest_centroid", "pam50"],
        "coverage": ["coverage_to_counts"],
        "deconvolution": ["deconvolve", "plot_deconvolution", "validate_deconvolution"],
        "expression": ["differential_expression", "top_table"],
        "normalization": ["normalize"],
        "plots": ["heatmap", "plot_quality", "volcano"],
        "quality": ["pc_associations", "quality_control"],
        "subtypes": ["plot_consensus", "subtype"],
    },
)
