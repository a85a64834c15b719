"""What to choose and how to learn: pure, synchronous, deterministic."""

from policies.bounds import RunningMean
from policies.draw import checked, draw, uniform
from policies.errors import InvalidInput, PolicyError, StateInvalid
from policies.features import Action, Context, Limits, Slot
from policies.outcomes import check_actions, check_outcome
from policies.protocol import REWARD_RANGE, FloatArray, Outcome, Policy, PolicySpec
from policies.registry import KINDS, parse_spec

__all__ = [
    "KINDS",
    "REWARD_RANGE",
    "Action",
    "Context",
    "FloatArray",
    "InvalidInput",
    "Limits",
    "Outcome",
    "Policy",
    "PolicyError",
    "PolicySpec",
    "RunningMean",
    "Slot",
    "StateInvalid",
    "check_actions",
    "check_outcome",
    "checked",
    "draw",
    "parse_spec",
    "uniform",
]
