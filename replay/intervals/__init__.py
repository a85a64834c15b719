"""Intervals: which set of values the log does not rule out.

Those here are for a log that was complete before anybody looked. An interval that may be looked at again and again
while the log grows is another thing: `policies.sequences` has it.
"""

from policies.sequences import LiftSequence, ValueSequence
from replay.intervals.bernstein import empirical_bernstein
from replay.intervals.binomial import clopper_pearson
from replay.intervals.bootstrap import Bootstrap
from replay.intervals.choose import METHODS, interval
from replay.intervals.interval import Interval

__all__ = [
    "METHODS",
    "Bootstrap",
    "Interval",
    "LiftSequence",
    "ValueSequence",
    "clopper_pearson",
    "empirical_bernstein",
    "interval",
]
