"""Chance: every action alike, for control groups and for logs that any policy can be evaluated on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from policies.features import Action, Context
from policies.outcomes import check_actions
from policies.protocol import FloatArray, Policy
from policies.spec import BaseSpec
from policies.unchanging import Unchanging

__all__ = ["Uniform", "UniformSpec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UniformSpec(BaseSpec):
    """Settings of the kind ``uniform``: it has none of its own."""

    kind: ClassVar[str] = "uniform"

    def make(self) -> Policy:
        """Make the policy."""
        return Uniform(self)


class Uniform(Unchanging):
    """Plays every action alike."""

    __slots__ = ()

    def probabilities(self, context: Context, actions: Sequence[Action]) -> FloatArray:  # noqa: ARG002 - context-free
        """Return what would be played now: 1 ÷ n for each."""
        n_actions = check_actions(actions)
        return np.full(n_actions, 1.0 / n_actions)
