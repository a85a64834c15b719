"""What a policy that never learns is made of, apart from what it plays.

Its state holds nothing. Outcomes are checked all the same, so that a log which it accepts is one that any policy
could learn from.
"""

from policies.errors import StateInvalid
from policies.outcomes import check_outcome
from policies.protocol import REWARD_RANGE, Outcome, Policy, PolicySpec
from policies.state import seal, unseal

__all__ = ["Unchanging"]

_NOTHING = b"[]"


class Unchanging:
    """Everything of a policy but `probabilities`.

    Parameters
    ----------
    spec
        Whose state this is.
    """

    __slots__ = ("_spec",)

    resumable = True
    reward_range = REWARD_RANGE

    def __init__(self, spec: PolicySpec) -> None:
        self._spec = spec

    def learn(self, outcome: Outcome) -> None:
        """Check the outcome, and leave it at that."""
        check_outcome(outcome, self.reward_range)

    def adopt(self, parent: Policy) -> None:
        """Take nothing over: there is nothing."""

    def dumps(self) -> bytes:
        """Return the state: an envelope round nothing."""
        return seal(self._spec, _NOTHING)

    def loads(self, state: bytes) -> None:
        """Check that `state` is that of the same spec."""
        if unseal(self._spec, state) != _NOTHING:
            raise StateInvalid("the state of a policy that never learns holds something")
