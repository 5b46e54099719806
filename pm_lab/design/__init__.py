"""Formula, contrast, the checks a design must pass, and the one DESeq2 fit that every analysis shares."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "deseq2": ["RESULT_COLUMNS", "fit_deseq2", "fit_deseq2_each"],
        "formula": [
            "as_text",
            "check_contrast",
            "contrast_vector",
            "level_name",
            "model_matrix",
            "model_table",
            "variables",
            "with_categories",
        ],
        "replicates": ["check_batch", "check_patients", "check_replicates"],
        "report": ["DesignReport", "design_report", "in_contrast"],
    },
)
