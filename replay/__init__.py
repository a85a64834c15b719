"""Logs in, estimates with intervals out."""

import importlib
from typing import TYPE_CHECKING, Any

from replay.arrays import estimate, estimate_difference
from replay.batch import Batch
from replay.errors import InvalidLog, ReplayError
from replay.intervals import clopper_pearson, empirical_bernstein
from replay.matching import Matching
from replay.results import Estimate, Evaluation, Lift

if TYPE_CHECKING:
    from replay.evaluation import evaluate
    from replay.logs import open_log
    from replay.sweeping import Sweep, expand, sweep

__all__ = [
    "Batch",
    "Estimate",
    "Evaluation",
    "InvalidLog",
    "Lift",
    "Matching",
    "ReplayError",
    "Sweep",
    "clopper_pearson",
    "empirical_bernstein",
    "estimate",
    "estimate_difference",
    "evaluate",
    "expand",
    "open_log",
    "sweep",
]

# These need VW and the libraries of the extra `replay`; who has arrays alone needs numpy.
_WHERE = {
    "Sweep": "replay.sweeping",
    "evaluate": "replay.evaluation",
    "expand": "replay.sweeping",
    "open_log": "replay.logs",
    "sweep": "replay.sweeping",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'replay' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)
