"""Biomarkers: panels that are chosen, tuned and judged on different patients."""

import lazy_loader

# No function has the name of its file: importing such a file would put the module in the function's place.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "card": ["panel_card"],
        "controls": ["PermutationNull", "optimism", "permutation_null"],
        "explanation": ["Explanation", "explain"],
        "forest": ["plot_external", "plot_subgroups"],
        "groups": ["RiskGroups", "stratify", "subgroup_performance"],
        "nested": ["NestedResult", "nested_cross_validate"],
        "panels": ["Panel", "fit_panel", "minimal_panel", "random_panels"],
        "plots": [
            "plot_explanation",
            "plot_optimism",
            "plot_panel_sizes",
            "plot_permutation_null",
            "plot_scores",
            "plot_stability",
        ],
        "signatures": ["signature_score"],
        "stability": ["error_bound", "stability_selection"],
        "transfer": ["ExternalResult", "external_validation"],
    },
)
