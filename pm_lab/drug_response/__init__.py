"""Drug response of cell lines: screens, dose–response curves, and splits that leak nothing."""

import lazy_loader

# No function has the name of its file: importing such a file would put the module in the function's place.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "attribution": ["Attribution", "integrated_gradients"],
        "baselines": ["DrugMean", "MeanEffects", "TissueDrugMean"],
        "benchmarking": ["Benchmark", "benchmark"],
        "card": ["response_card"],
        "compare": ["compare_models", "plot_benchmark"],
        "contract": ["check_screen", "screen_of"],
        "curves": ["fit_curves", "viability_at"],
        "fold_files": ["load_folds", "save_folds"],
        "forests": ["MultitaskForest", "RandomForest"],
        "kernels": ["KernelRidge", "PCARidge"],
        "metrics": ["score_by", "score_responses"],
        "model": ["DrugResponseModel"],
        "network": ["DrugResponseNet"],
        "pathway_plots": ["plot_pathway_map", "plot_pathways", "plot_randomisation"],
        "pathways": ["Explanation", "correlate_pathways", "explain", "planted_links"],
        "patients": ["gene_overlap"],
        "plots": ["plot_curves", "plot_measured", "plot_responses"],
        "randomisation": ["randomisation_check"],
        "screen": [
            "drop_unusable_drugs",
            "drug_table",
            "measured",
            "modality",
            "screen_overview",
            "take_drugs",
        ],
        "splits": ["Fold", "compounds", "fold_overview", "folds"],
        "structures": ["fingerprints"],
        "tables": ["make_screen", "read_gdsc_release"],
        "uncertainty": ["coverage_report", "held_out_intervals", "plot_coverage"],
    },
)
