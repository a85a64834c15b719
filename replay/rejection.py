"""What a policy would earn if it were deployed: rejection sampling turns a log into a shorter one that it made itself.

Each event is accepted with probability c × target ÷ logged, where c is at most the least propensity of the log. What is
accepted is distributed as if the policy itself had chosen, and the policy learns from that alone (Dudík et al.; for a
log of uniform choices this is the replay method of Li et al.). So the mean reward of the n accepted events speaks of
the first n decisions of a deployment, and of nothing later.

References
----------
Dudík, Erhan, Langford & Li (2012), "Sample-efficient Nonstationary Policy Evaluation for Contextual Bandits".
Li, Chu, Langford & Wang (2011), "Unbiased Offline Evaluation of Contextual-bandit-based News Article Recommendation
Algorithms".
"""

import numpy as np

from policies.protocol import FloatArray
from replay.errors import InvalidLog

__all__ = ["Rejection"]

_ROUNDING = 1e-6  # what a log's digits may do to a propensity


class Rejection:
    """Decides, event by event, what a candidate's own log would hold.

    Parameters
    ----------
    constant
        c, in (0, 1]: at most the least propensity, or what comes out is biased; `n_above` counts how often it was.
    seed
        Of the numbers that decide; the same for all candidates, so that they are compared on like luck.

    Attributes
    ----------
    n_accepted, n_above
        Events that were accepted; events whose probability of acceptance would have been above 1.
    """

    def __init__(self, constant: float, *, seed: int) -> None:
        if not 0.0 < constant <= 1.0:
            raise InvalidLog("constant_out_of_range", "acceptance", f"must be above 0 and at most 1, not {constant!r}")
        self.constant = constant
        self.n_accepted = 0
        self.n_above = 0
        self._random = np.random.Generator(np.random.Philox(seed))
        self._numbers: list[float] = []

    def start(self, n: int) -> None:
        """Draw for the next n events."""
        self._numbers = self._random.random(n).tolist()

    def accepts(self, index: int, target: float, propensity: float) -> bool:
        """Say whether an event of the block is accepted; one that the candidate did not answer (NaN) never is."""
        share = self.constant * target / propensity
        self.n_above += share > 1.0 + _ROUNDING
        is_accepted = self._numbers[index] < share
        self.n_accepted += is_accepted
        return is_accepted

    def all(self, target: FloatArray, propensities: FloatArray) -> list[bool]:
        """Say so for every event of a block: for candidates that do not learn."""
        pairs = zip(target.tolist(), propensities.tolist(), strict=True)
        return [self.accepts(index, *pair) for index, pair in enumerate(pairs)]
