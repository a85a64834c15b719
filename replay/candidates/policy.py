"""Candidates that are policies of banditd: learning along the log, or as they were saved."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from policies.errors import StateInvalid
from policies.fixed import FixedSpec
from policies.protocol import Policy, PolicySpec
from policies.state import spec_bytes
from policies.uniform_policy import UniformSpec
from replay.block import Block
from replay.candidates.protocol import Candidate, Need, Played
from replay.errors import InvalidLog
from replay.progressive import Fold, Lanes, flat
from replay.rejection import Rejection
from replay.results import Finding

__all__ = ["PolicyRecipe"]


@dataclass(frozen=True, slots=True)
class PolicyRecipe:
    """A policy of banditd.

    Parameters
    ----------
    spec
        Its settings.
    state
        What `Policy.dumps` wrote: the candidate is that state and does not learn. None: it starts from nothing and
        learns.
    per_segment
        Whether each segment of the log has a policy of its own, as a server keeps them.
    """

    spec: PolicySpec
    state: bytes | None = None
    per_segment: bool = False

    @property
    def needs(self) -> Need:
        """What policies see."""
        return "places"

    @property
    def learns(self) -> bool:
        """Whether it changes along the log."""
        return self.state is None and not isinstance(self.spec, (FixedSpec, UniformSpec))

    @property
    def text(self) -> str:
        """The spec as JSON, all defaults written out."""
        return spec_bytes(self.spec).decode() + ("" if self.state is None else f" as saved, {len(self.state)} bytes")

    def build(self) -> Candidate:
        """Make the candidate.

        Raises
        ------
        InvalidLog
            The saved state is damaged or belongs to another spec.
        """
        return _PolicyCandidate(self)

    def make(self) -> Policy:
        """Make the policy, as saved or as it is before any outcome."""
        policy = self.spec.build()
        if self.state is not None:
            try:
                policy.loads(self.state)
            except StateInvalid as error:
                raise InvalidLog("state_invalid", "state", str(error)) from None
        return policy


class _PolicyCandidate:
    """Plays along; see `replay.progressive`."""

    def __init__(self, recipe: PolicyRecipe) -> None:
        recipe.make()  # a state that does not fit is refused before anything is read
        self._fold = Fold(Lanes(recipe.make, apart=recipe.per_segment))
        if recipe.state is not None:
            self._fold.freeze()

    def play(
        self, block: Block, *, whole: Literal["whole", "chosen"] = "chosen", rejection: Rejection | None = None
    ) -> Played:
        """Ask the policy at each place, learning on the way."""
        vectors, accepted = self._fold.play(block, rejection=rejection)
        target = np.array([vector[place.chosen] for vector, place in zip(vectors, block.places, strict=True)])
        return Played(target, flat(vectors) if whole == "whole" else None, accepted)

    def freeze(self) -> None:
        """Learn no more."""
        self._fold.freeze()

    def findings(self) -> Sequence[Finding]:
        """Tell of outcomes that the policy refused."""
        fold = self._fold
        if not fold.n_refused:
            return ()
        share = fold.n_refused / (fold.n_refused + fold.n_learned)
        detail = f"refused {fold.n_refused} outcomes ({share:.2%}), learned from the others; the first: {fold.refusal}"
        return (Finding("outcomes_refused", share > 0.01, detail),)  # noqa: PLR2004 - one in a hundred
