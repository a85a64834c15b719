"""Logs in, estimates with intervals out."""

from replay.errors import InvalidLog, ReplayError
from replay.intervals import clopper_pearson, empirical_bernstein
from replay.matching import Matching

__all__ = ["InvalidLog", "Matching", "ReplayError", "clopper_pearson", "empirical_bernstein"]
