"""Which of two policies serves a lane: its own, or the one that it shares with others.

Both are scored on every outcome before they learn from it, off-policy: the outcome is worth
``(own − shared) ÷ propensity × (reward − baseline)`` to the lane's own policy, where own and shared are
the probabilities with which either would have chosen what was chosen, and the baseline is the mean of the rewards
before. Whatever the baseline is, the mean of that is the difference of what the two would have earned.
The lane's own policy takes over when the lower bound of the mean is above 0, and goes back when the upper bound of
what came since is below 0. The bounds hold at all times at once (`policies.bounds`), as they must: they are looked at
after every outcome.
"""

import math
from typing import Final, Literal

from policies.bounds import RunningMean
from policies.errors import StateInvalid

__all__ = ["Server", "Takeover", "TakeoverState"]

Server = Literal["own", "shared"]
TakeoverState = tuple[bool, tuple[int, float, float], tuple[int, float, float]]

_LEVEL: Final = 0.9  # two-sided, so that one bound errs once in twenty lanes at most


class Takeover:
    """The contest between a lane's own policy and the shared one.

    Attributes
    ----------
    serving
        Who serves; the shared one at first.
    """

    __slots__ = ("_advantage", "_rewards", "serving")

    def __init__(self) -> None:
        self.serving: Server = "shared"
        self._advantage = RunningMean()
        self._rewards = RunningMean()

    def add(self, *, own: float, shared: float, propensity: float, reward: float) -> None:
        """Take one outcome in.

        Parameters
        ----------
        own, shared
            Probability in [0, 1] with which either policy would have chosen what was chosen, before it learned this.
        propensity
            In (0, 1], as logged.
        reward
            Finite.
        """
        self._advantage.add((own - shared) / propensity * (reward - self._rewards.mean))
        self._rewards.add(reward)
        bounds = self._advantage.interval(_LEVEL)
        if bounds is None:
            return
        lower, upper = bounds
        if (self.serving == "shared" and lower > 0.0) or (self.serving == "own" and upper < 0.0):
            self.serving = "own" if self.serving == "shared" else "shared"
            self._advantage = RunningMean()

    def dumps(self) -> TakeoverState:
        """Return the whole state as plain values."""
        return self.serving == "own", self._advantage.dumps(), self._rewards.dumps()

    @classmethod
    def loads(cls, state: TakeoverState) -> "Takeover":
        """Return the one that `dumps` described.

        Raises
        ------
        StateInvalid
            The values cannot be those of one.
        """
        own, advantage, rewards = state
        if not all(math.isfinite(value) for value in (*advantage, *rewards)):
            raise StateInvalid("not the state of a takeover")
        result = cls()
        result.serving = "own" if own else "shared"
        result._advantage = RunningMean.loads(advantage)
        result._rewards = RunningMean.loads(rewards)
        return result
