"""Logs in, estimates with intervals out."""

from replay.arrays import estimate, estimate_difference
from replay.batch import Batch
from replay.errors import InvalidLog, ReplayError
from replay.intervals import clopper_pearson, empirical_bernstein
from replay.matching import Matching
from replay.results import Estimate, Lift

__all__ = [
    "Batch",
    "Estimate",
    "InvalidLog",
    "Lift",
    "Matching",
    "ReplayError",
    "clopper_pearson",
    "empirical_bernstein",
    "estimate",
    "estimate_difference",
]
