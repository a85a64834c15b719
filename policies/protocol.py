"""The seam between a policy and everything that runs one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from policies.features import Action, Context

__all__ = ["REWARD_RANGE", "FloatArray", "Outcome", "Policy", "PolicySpec"]

FloatArray = NDArray[np.float64]
REWARD_RANGE = (-1e9, 1e9)  # of a policy without a narrower one: the largest number that a request may hold


@dataclass(frozen=True, slots=True)
class Outcome:
    """A decision joined with its final reward: the unit of learning.

    Attributes
    ----------
    context
        What the decision was made on.
    actions
        The eligible actions, in the caller's order; excluded ones are gone.
    chosen
        Index into `actions`.
    propensity
        Probability in (0, 1] with which the logging policy chose it.
    reward
        Finite, larger is better.
    """

    context: Context
    actions: Sequence[Action]
    chosen: int
    propensity: float
    reward: float


class Policy(Protocol):
    """A fold over outcomes that can say, at any point, what it would play.

    `learn` is deterministic: the same outcomes in the same order give the same
    bytes out of `dumps` and the same probabilities, in any process, however many
    calls of `probabilities` came between.
    """

    @property
    def resumable(self) -> bool:
        """Whether a loaded state and the rest of the log equal a fold of the whole log."""

    @property
    def reward_range(self) -> tuple[float, float]:
        """The least and the largest reward that `learn` takes, so that the edge can refuse the others."""

    def probabilities(self, context: Context, actions: Sequence[Action]) -> FloatArray:
        """Return what would be played now: shape (n_actions,), ≥ 0, sum 1 ± 1e-5.

        Raises
        ------
        InvalidInput
            `actions` is empty.
        """

    def learn(self, outcome: Outcome) -> None:
        """Take one outcome in.

        Raises
        ------
        InvalidInput
            The outcome is not one that a policy may learn from (see `check_outcome`); nothing changed.
        """

    def adopt(self, parent: "Policy") -> None:
        """Start from what a policy of the same spec has learned in a wider group, as far as that is to be trusted here.

        Called before the first outcome, at most once. Like `learn` it is deterministic: the state after
        it depends on the parent's state alone.
        """

    def dumps(self) -> bytes:
        """Return the whole state; the same for the same outcomes."""

    def loads(self, state: bytes) -> None:
        """Replace the state with one that `dumps` of the same spec wrote.

        Raises
        ------
        StateInvalid
            `state` is damaged or belongs to another policy or spec.
        """


class PolicySpec(Protocol):
    """A frozen dataclass of settings: plain values, each with its default."""

    kind: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]

    def build(self) -> Policy:
        """Make the policy, as it is before any outcome."""
