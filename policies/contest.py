"""How much of a lane's traffic its own policy serves, and how much the one that it shares with others.

Both are scored on every outcome before they learn from it, off-policy: the outcome is worth
``(own − shared) ÷ propensity × (reward − baseline)`` to the lane's own policy, where own and shared are
the probabilities with which either would have chosen what was chosen, and the baseline is the mean of the lane's
rewards before. Whatever the baseline is, the mean of that is how much more the own policy would have earned.

The own policy takes over when the lower bound of that mean is above 0, and goes back when the upper bound is below: by
the lane's own evidence or, as long as that says nothing, by the evidence of all lanes of the pool together. Forty
outcomes of one lane tell nothing; forty of each of fifty lanes tell whether lanes as these are better off alone. The
bounds hold at all times at once (`policies.bounds`), as they must: they are looked at after every outcome.

The other one keeps a share, as likely as it is to be the better one after all (by the normal approximation), at least
2 % and at most half: a policy that is never played can neither learn what is special here nor be seen to be better.
What is played is the mixture, and that is what is logged.
"""

import math
from typing import Final, Literal

from policies.bounds import RunningMean
from policies.errors import StateInvalid
from policies.evidence import Evidence, EvidenceState

__all__ = ["START", "Contest", "ContestState", "Server"]

Server = Literal["own", "shared"]
ContestState = tuple[Server, EvidenceState, tuple[int, float, float]]

START: Final = 5  # outcomes of a lane before its own policy starts from the shared one; docs/pooling.md
LEVEL: Final = 0.9  # two-sided, so that either bound errs once in twenty at most
_LEAST_PROPENSITY: Final = 1e-12  # divided by it, a reward of 1e9 is far from any float's end
_LEAST: Final = 0.02  # share of the policy that does not serve
_ROOT_2: Final = math.sqrt(2.0)


class Contest:
    """The contest between a lane's own policy and the shared one.

    Parameters
    ----------
    holder
        Who serves as long as there is no evidence.

    Attributes
    ----------
    evidence
        How much more the own policy would have earned, of this lane.
    """

    __slots__ = ("_holder", "_rewards", "evidence")

    def __init__(self, holder: Server = "shared") -> None:
        self._holder: Server = holder
        self._rewards = RunningMean()
        self.evidence = Evidence()

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
        if self._rewards.n:  # the first one has no baseline
            weight = (own - shared) / max(propensity, _LEAST_PROPENSITY)
            self.evidence.add(weight * (reward - self._rewards.mean))
        self._rewards.add(reward)

    def serving(self, pool: Evidence) -> Server:
        """Return who serves, given the evidence of all lanes of the pool together."""
        return _verdict(self.evidence) or _verdict(pool) or self._holder

    def own_share(self, pool: Evidence) -> float:
        """Return which share of the traffic the own policy serves; in [0.02, 0.98]."""
        own = _verdict(self.evidence)
        better = _normal(self.evidence.z if own else (self.evidence.z + pool.z) / _ROOT_2)
        if (own or _verdict(pool) or self._holder) == "own":
            return min(max(better, 0.5), 1.0 - _LEAST)
        return min(max(better, _LEAST), 0.5)

    def dumps(self) -> ContestState:
        """Return the whole state as plain values."""
        return self._holder, self.evidence.dumps(), self._rewards.dumps()

    @classmethod
    def loads(cls, state: ContestState) -> "Contest":
        """Return the one that `dumps` described.

        Raises
        ------
        StateInvalid
            The values cannot be those of one.
        """
        holder, evidence, rewards = state
        if holder not in ("own", "shared"):
            raise StateInvalid("not the state of a contest")
        result = cls(holder)
        result.evidence = Evidence.loads(evidence)
        result._rewards = RunningMean.loads(rewards)
        return result


def _verdict(evidence: Evidence) -> Server | None:
    bounds = evidence.interval(LEVEL)
    if bounds is None or bounds[0] <= 0.0 <= bounds[1]:
        return None
    return "own" if bounds[0] > 0.0 else "shared"


def _normal(z: float) -> float:
    return 0.5 * math.erfc(-z / _ROOT_2)
