"""Time to event: declared endpoints, curves, Cox regression, and how good a risk score is."""

import lazy_loader

from pm_lab.endpoints import declare_endpoint, endpoint_table  # public here too: where they are looked for

# No function has the name of its file: importing such a file would put the module in the function's place.
__getattr__, _, _lazy = lazy_loader.attach(
    __name__,
    submod_attrs={
        "competing": ["cumulative_incidence"],
        "curves": ["kaplan_meier", "log_rank", "survival_summary"],
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
__all__ = sorted([*_lazy, declare_endpoint.__name__, endpoint_table.__name__])


def __dir__() -> list[str]:
    return __all__
