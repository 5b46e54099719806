"""Gene sets: which pathways differ between groups, and how active they are in each patient."""

import lazy_loader

# No function has the name of its file: importing such a file would put the module in the function's place.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "activity": ["sample_activity"],
        "comparison": ["compare_activity"],
        "labels": ["rank_genes"],
        "overlap": ["leading_edge_overlap", "redundancy"],
        "overrepresentation": ["over_representation"],
        "plots": ["plot_dots", "plot_enrichment_map", "plot_running_score"],
        "ranked": ["gsea"],
        "sets": ["read_gmt"],
    },
)
