"""The caller's order: the baseline that a policy must beat.

Plays the first action: a point mass, plus the floor `min_probability`, without which its log says nothing about what
other actions would have earned. Callers who rank by themselves send their actions in that order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from policies.features import Action, Context
from policies.outcomes import check_actions
from policies.protocol import FloatArray, Policy
from policies.spec import BaseSpec
from policies.unchanging import Unchanging

__all__ = ["Fixed", "FixedSpec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedSpec(BaseSpec):
    """Settings of the kind ``fixed``.

    Parameters
    ----------
    min_probability
        As for every policy, but 0.001 by default; 0: the first action, always.
    """

    kind: ClassVar[str] = "fixed"

    min_probability: float = 0.001

    def make(self) -> Policy:
        """Make the policy."""
        return Fixed(self)


class Fixed(Unchanging):
    """Plays the first action."""

    __slots__ = ()

    def probabilities(self, context: Context, actions: Sequence[Action]) -> FloatArray:  # noqa: ARG002 - context-free
        """Return what would be played now: 1 for the first action, 0 for the others."""
        vector = np.zeros(check_actions(actions))
        vector[0] = 1.0
        return vector
