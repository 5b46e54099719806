"""The built-in cohort: patients, bulk, single cells and a drug screen from one stated latent model.

The model is stated in :func:`simulate_cohort`; its numbers are in ``model.py``.
"""

from pm_lab.datasets.simulate.cohort import Cohort, simulate_cohort

__all__ = ["Cohort", "simulate_cohort"]
