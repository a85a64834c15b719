"""The stored form of a decision: one JSON document, written once, never changed.

The context and the actions stand in it byte for byte as the client sent them; numbers are
written so that reading them gives the same float64 again.
"""

from typing import Annotated

import msgspec
import orjson

__all__ = ["FORMAT", "Decision", "Member", "Slot", "decode_decision", "encode_decision", "same_request"]

FORMAT = 1


class Slot(msgspec.Struct, frozen=True, array_like=False):
    """A place that was filled.

    Attributes
    ----------
    eligible
        Indices into the decision's actions, in the caller's order, without the excluded.
    probabilities
        The distribution over `eligible`, as played.
    chosen
        Index into the decision's actions.
    """

    eligible: list[int]
    probabilities: list[float]
    chosen: int

    @property
    def propensity(self) -> float:
        """Probability with which `chosen` was chosen."""
        return self.probabilities[self.eligible.index(self.chosen)]


class Member(msgspec.Struct, frozen=True):
    """One of the lanes that a decision over several segments was drawn from.

    Attributes
    ----------
    lane, epoch, seq, pool_seq
        The lane, and the state of it that took part.
    weight
        As asked; its share of the mixture is the weight ÷ the sum of them.
    served_by, parent_epoch, own_from, own_share
        As in `Decision`.
    """

    lane: str
    epoch: int
    seq: int
    pool_seq: int
    weight: float
    served_by: str = "own"
    parent_epoch: int | msgspec.UnsetType = msgspec.UNSET
    own_from: int | msgspec.UnsetType = msgspec.UNSET
    own_share: float | msgspec.UnsetType = msgspec.UNSET


class Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything an answer, a lesson or an audit of one rank needs.

    Attributes
    ----------
    epoch, seq, pool_seq
        The state that decided: the lane's epoch and its last outcome folded in, and the pool's.
    served_by
        Which policy of the pool it was, or had the larger share; ``"own"`` for a lane alone.
    parent_epoch
        Of the parent of the lane's pool; not there for a lane alone.
    own_from
        Number in the pool at which the lane's own policy started from the parent, 0 if it had learned before it
        came to the pool; not there for a lane alone, or one without a policy of its own yet.
    own_share
        There as `own_from` is: what was played is own_share × what the own policy would have played + (1 − own_share) ×
        what the parent would have.
    at, expires_at
        UTC seconds, for people; the reward window itself runs on the journal's clock.
    subject
        Pseudonym of the user, or None.
    asked
        Segment that the request named; None if the rules decided.
    key
        Id of the draw key.
    asked_slots
        The slots as they were asked for, byte for byte as the client sent them; not there where none were.
    excluded
        Indices of the actions excluded from all slots; there as `asked_slots` is. Without it, what slot 0 may choose
        from says as much.
    members
        The lanes of a mixture, by name; not there where one lane decided. `epoch`, `seq` and the rest are those of
        the lane that the decision belongs to, one of them.
    """

    event_id: str
    lane: str
    epoch: int
    seq: int
    pool_seq: int
    at: float
    expires_at: float
    subject: str | None
    context: msgspec.Raw
    actions: msgspec.Raw
    slots: Annotated[list[Slot], msgspec.Meta(min_length=1)]
    key: str
    deferred: bool = False
    asked: str | None = None
    served_by: str = "own"
    format: int = FORMAT
    asked_slots: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    excluded: list[int] | msgspec.UnsetType = msgspec.UNSET
    members: list[Member] | msgspec.UnsetType = msgspec.UNSET
    parent_epoch: int | msgspec.UnsetType = msgspec.UNSET
    own_from: int | msgspec.UnsetType = msgspec.UNSET
    own_share: float | msgspec.UnsetType = msgspec.UNSET


def same_request(one: Decision, other: Decision) -> bool:
    """Tell whether two decisions answer the same request, however its JSON was written."""
    return (
        (one.event_id, one.asked, one.subject, one.deferred)
        == (other.event_id, other.asked, other.subject, other.deferred)
        and (one.excluded, one.slots[0].eligible) == (other.excluded, other.slots[0].eligible)
        and _weights(one) == _weights(other)
        and _canonical(one.asked_slots) == _canonical(other.asked_slots)
        and _canonical(one.context) == _canonical(other.context)
        and _canonical(one.actions) == _canonical(other.actions)
    )


def _weights(decision: Decision) -> dict[str, float]:
    members = decision.members
    return {} if members is msgspec.UNSET else {member.lane: member.weight for member in members}


def _canonical(raw: msgspec.Raw | msgspec.UnsetType) -> bytes:
    if raw is msgspec.UNSET:
        return b""
    return orjson.dumps(orjson.loads(bytes(raw)), option=orjson.OPT_SORT_KEYS)


encode_decision = msgspec.json.Encoder().encode
decode_decision = msgspec.json.Decoder(Decision).decode
