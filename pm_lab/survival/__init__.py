"""Time to event: declared endpoints, curves, Cox regression, and how good a risk score is."""

import lazy_loader

# No function has the name of its file: importing such a file would put the module in the function's place.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "competing": ["cumulative_incidence"],
        "curves": ["kaplan_meier", "log_rank", "survival_summary"],
        "endpoints": ["declare_endpoint", "endpoint_table"],
        "performance": ["RiskEvaluation", "evaluate_risk"],
        "plots": [
            "plot_calibration",
            "plot_cumulative_incidence",
            "plot_decision_curve",
            "plot_hazard_ratios",
            "plot_kaplan_meier",
        ],
        "regression": ["CoxModel", "cox"],
    },
)
