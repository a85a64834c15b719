"""The stored form of a decision: one JSON document, written once, never changed.

The context and the actions stand in it byte for byte as the client sent them; numbers are
written so that reading them gives the same float64 again.
"""

from typing import Annotated

import msgspec
import orjson

__all__ = ["FORMAT", "Decision", "Slot", "decode_decision", "encode_decision", "same_request"]

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


class Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything an answer, a lesson or an audit of one rank needs.

    Attributes
    ----------
    epoch, seq, pool_seq
        The state that decided: the lane's epoch and its last outcome folded in, and the pool's.
    served_by
        Which policy of the pool it was; ``"own"`` for a lane alone.
    at, expires_at
        UTC seconds, for people; the reward window itself runs on the journal's clock.
    subject
        Pseudonym of the user, or None.
    asked
        Segment that the request named; None if the rules decided.
    key
        Id of the draw key.
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


def same_request(one: Decision, other: Decision) -> bool:
    """Tell whether two decisions answer the same request, however its JSON was written."""
    return (
        (one.event_id, one.asked, one.subject, one.deferred)
        == (other.event_id, other.asked, other.subject, other.deferred)
        and [slot.eligible for slot in one.slots] == [slot.eligible for slot in other.slots]
        and _canonical(one.context) == _canonical(other.context)
        and _canonical(one.actions) == _canonical(other.actions)
    )


def _canonical(raw: msgspec.Raw) -> bytes:
    return orjson.dumps(orjson.loads(bytes(raw)), option=orjson.OPT_SORT_KEYS)


encode_decision = msgspec.json.Encoder().encode
decode_decision = msgspec.json.Decoder(Decision).decode
