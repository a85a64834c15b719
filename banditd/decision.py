"""The stored form of a decision: one JSON document, written once, never changed.

The context and the actions stand in it byte for byte as the client sent them; numbers are
written so that reading them gives the same float64 again.
"""

from typing import Annotated

import msgspec

__all__ = ["FORMAT", "Decision", "Slot", "decode_decision", "encode_decision"]

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
    served_by: str = "own"
    format: int = FORMAT


encode_decision = msgspec.json.Encoder().encode
decode_decision = msgspec.json.Decoder(Decision).decode
