"""What every policy demands of an outcome before it learns from it."""

import math
from collections.abc import Sequence
from typing import Any

from policies.errors import InvalidInput
from policies.features import Action
from policies.protocol import Outcome

__all__ = ["check_actions", "check_outcome"]


def check_actions(actions: Sequence[Action]) -> int:
    """Return how many actions there are.

    Raises
    ------
    InvalidInput
        There is none.
    """
    if not actions:
        raise InvalidInput("no_actions", "actions", "must hold at least one action")
    return len(actions)


def check_outcome(outcome: Outcome, reward_range: tuple[float, float]) -> None:
    """Refuse an outcome that a policy may not learn from.

    Raises
    ------
    InvalidInput
        No actions, `chosen` is not one of them, the propensity is not in (0, 1], the reward is
        not finite or outside `reward_range`, or either is no number; the field is that of `Outcome`.
    """
    n_actions = check_actions(outcome.actions)
    if type(outcome.chosen) is not int or not 0 <= outcome.chosen < n_actions:
        raise InvalidInput("chosen_out_of_range", "chosen", f"must be 0 to {n_actions - 1}, not {outcome.chosen!r}")
    _check_number("propensity", outcome.propensity)
    if not 0.0 < outcome.propensity <= 1.0:  # also refuses NaN
        raise InvalidInput("propensity_out_of_range", "propensity", f"must be in (0, 1], not {outcome.propensity!r}")
    _check_number("reward", outcome.reward)
    low, high = reward_range
    if not low <= outcome.reward <= high:
        if type(outcome.reward) is float and not math.isfinite(outcome.reward):
            raise InvalidInput("number_not_finite", "reward", "must be a finite number")
        raise InvalidInput("reward_out_of_range", "reward", f"must be from {low:g} to {high:g}, not {outcome.reward!r}")


def _check_number(field: str, value: Any) -> None:
    if not isinstance(value, (float, int)):  # a numpy scalar of 64 bits is a float; narrower ones spoil sums and JSON
        raise InvalidInput("invalid_type", field, f"must be a number, not {type(value).__name__}")
