"""The parts that lanes had in a decision, and what is played of them together."""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from banditd.decision import Decision, Member
from banditd.segments.reading import Reader
from policies.draw import draw, uniform
from policies.features import Action, Context
from policies.protocol import FloatArray, Policy

__all__ = ["Seen", "mixed", "own_and_shared", "redrawn", "redrawn_owner", "states_of"]

_OWNER_DRAW: Final = -1  # no slot has this number


class Seen:
    """What a policy sees of a decision, slot by slot.

    Parameters
    ----------
    segment
        Of a lane that shares its policy; "" of one alone.
    """

    def __init__(self, decision: Decision, reader: Reader, *, segment: str) -> None:
        context = reader.context(decision.context)
        contexts = [context]
        if decision.asked_slots is not msgspec.UNSET:
            contexts = [context.at_slot(asked.slot) for asked in reader.slots(decision.asked_slots)]
        actions = reader.actions(decision.actions)
        self._contexts: list[Context] = [one.within(segment) for one in contexts] if segment else contexts
        self._options: list[list[Action]] = [[actions[i] for i in slot.eligible] for slot in decision.slots]

    def played_by(self, policy: Policy) -> list[FloatArray]:
        """Return what a policy plays in its state as it is, slot by slot."""
        return [
            policy.probabilities(context, options)
            for context, options in zip(self._contexts, self._options, strict=True)
        ]


def states_of(decision: Decision) -> Sequence[Decision | Member]:
    """Return the states that decided: one, or those of the lanes of a mixture."""
    return (decision,) if decision.members is msgspec.UNSET else decision.members


def own_and_shared(share: float, own: FloatArray, shared: FloatArray) -> FloatArray:
    """Return what a lane plays that has a policy of its own beside the shared one."""
    return share * own + (1.0 - share) * shared


def mixed(decision: Decision, parts: Sequence[FloatArray]) -> list[float]:
    """Return what is played in one slot, of what each lane would play there."""
    if decision.members is msgspec.UNSET:
        alone: list[float] = parts[0].tolist()
        return alone
    played = np.zeros(len(parts[0]))
    for share, part in zip(_shares(decision.members), parts, strict=True):
        played = played + share * part
    return [min(probability, 1.0) for probability in played.tolist()]


def redrawn(decision: Decision, slot: int, *, key: bytes) -> int:
    """Return the index of the action that the key draws for a slot."""
    told = decision.slots[slot]
    return told.eligible[draw(told.probabilities, uniform(key, _player(decision), decision.event_id, slot))]


def redrawn_owner(decision: Decision, *, key: bytes) -> str:
    """Return the lane that the key draws for a decision over several segments; its own for any other."""
    if decision.members is msgspec.UNSET:
        return decision.lane
    u = uniform(key, _player(decision), decision.event_id, _OWNER_DRAW)
    return decision.members[draw(_shares(decision.members), u)].lane


def _shares(members: Sequence[Member]) -> list[float]:
    total = sum(member.weight for member in members)
    return [member.weight / total for member in members]


def _player(decision: Decision) -> str:
    return "+".join(state.lane for state in states_of(decision))
