"""The patient explorer: a cohort and one patient, side by side, in a notebook cell."""

import lazy_loader

# No function has the name of its file: importing such a file would put the module in the function's place.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "app": ["Explorer", "explore"],
        "cohort_data": ["CohortData"],
        "columns": ["Column"],
        "comparison": [
            "SurvivalComparison",
            "compare_survival",
            "composition_difference",
            "differential_genes",
            "groups_of",
            "pathway_difference",
        ],
        "exports": ["figure_files", "selection_code", "selection_csv", "state_json"],
        "filters": ["inside_polygon"],
        "gene": ["gene_by_group", "gene_in_cells", "gene_names", "gene_survival"],
        "patient": [
            "alterations",
            "gene_percentiles",
            "pathway_percentiles",
            "patient_cells",
            "patient_drugs",
            "patient_summary",
            "timeline",
        ],
        "report": ["cohort_report", "patient_report", "static_summary"],
        "risk": ["patient_risk"],
        "similarity": ["similar_patients"],
        "small_counts": ["SharedSelections", "shown", "suppress"],
        "state": ["CohortState"],
        "summaries": [
            "Bars",
            "Curve",
            "Histogram",
            "bars",
            "chart",
            "cohort_view",
            "counts",
            "histogram",
            "survival",
        ],
    },
)
