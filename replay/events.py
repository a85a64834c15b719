"""What a log says: decisions with the propensities they were drawn with, and the rewards that came."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from policies.protocol import FloatArray

__all__ = ["EventLog", "LoggedAction", "LoggedEvent", "LoggedSlot"]


@dataclass(frozen=True, slots=True)
class LoggedAction:
    """One option as the log has it.

    Attributes
    ----------
    id
        None where the log names actions by their features alone.
    features
        A JSON object, {} if the log has none.
    """

    id: str | None
    features: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LoggedSlot:
    """One place that a decision filled.

    Attributes
    ----------
    eligible
        Indices into the event's actions, in the order of `probabilities`.
    chosen
        Index into the event's actions; one of `eligible`.
    propensity
        Probability in (0, 1] with which the logging policy chose it.
    reward
        NaN where the log knows the reward of the whole decision alone.
    probabilities
        Shape (len(eligible),), what the logging policy drew from; None where the log has the propensity alone.
    id, features
        Of the place; "" and {} for an ordinary decision.
    """

    eligible: Sequence[int]
    chosen: int
    propensity: float
    reward: float
    probabilities: FloatArray | None = None
    id: str = ""
    features: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """One decision and what is known of its reward.

    Attributes
    ----------
    event_id
        Unique in the log; "" where it has none.
    context
        A JSON object.
    actions
        All that were there, the excluded ones too, in the caller's order.
    slots
        One for an ordinary decision.
    reward
        Of the whole decision, larger is better.
    at
        UTC seconds of the decision; NaN if the log does not say.
    reward_at
        UTC seconds at which its reward was known and a policy could learn from it; NaN if the log does not say.
    segment
        "" if the log has none.
    drop_probability
        In [0, 1): the share of such events that the log left out; this one stands for 1 / (1 − it).
    learn
        False for an event that counts but that no policy learns from.
    line
        The dsjson line it was read from, where VW itself is to read it; None otherwise.
    """

    event_id: str
    context: Mapping[str, Any]
    actions: Sequence[LoggedAction]
    slots: Sequence[LoggedSlot]
    reward: float
    at: float = float("nan")
    reward_at: float = float("nan")
    segment: str = ""
    drop_probability: float = 0.0
    learn: bool = True
    line: bytes | None = None

    @property
    def multiplicity(self) -> float:
        """How many events this one stands for: more than 1 in a log that was thinned out."""
        return 1.0 / (1.0 - self.drop_probability)


class EventLog(Protocol):
    """A log that can be read from its beginning, as often as it is asked for, in constant memory.

    Attributes
    ----------
    dropped
        Why lines of the last reading were left out, and how many: ``{"parse_error": 2}``; complete once it is
        read to its end.
    """

    dropped: Counter[str]

    def events(self) -> Iterator[LoggedEvent]:
        """Yield what can be used, in the log's order; count the rest in `dropped`."""
