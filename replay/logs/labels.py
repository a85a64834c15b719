"""What a dsjson line says beside its context, as values."""

import math
from dataclasses import dataclass

__all__ = ["Label", "SlotLabel"]


@dataclass(frozen=True, slots=True)
class SlotLabel:
    """What is known of one place.

    Attributes
    ----------
    chosen
        Index into the line's actions, 0-based.
    probability
        In (0, 1]: of the logging policy, for what it chose.
    cost
        What VW learns from; NaN where the line knows the cost of the whole decision alone.
    original_cost
        Before apprentice mode replaced it by whether the choice matched the baseline; NaN if the line does not say.
    """

    chosen: int
    probability: float
    cost: float
    original_cost: float = math.nan

    @property
    def true_cost(self) -> float:
        """The original cost where there is one, else the cost."""
        return self.cost if math.isnan(self.original_cost) else self.original_cost


@dataclass(frozen=True, slots=True)
class Label:
    """What a dsjson line says beside its context.

    Attributes
    ----------
    reason
        Why the line is left out, as in the table of docs/logs.md; "" if it can be used.
    event_id, timestamp
        As written; "" if the line has none.
    slots
        One for a contextual bandit line, one a place for CCB and slates; empty if the line is left out.
    cost, original_cost
        As of a slot, for the whole decision: the sum over the slots if they have costs of their own.
    original_cost_sum
        Of every `_original_label_cost` in the line, of lines that are left out too; 0 without one.
    drop_probability
        In [0, 1): the share of such events that the log left out.
    skip_learn
        Whether no policy is to learn from it.
    """

    reason: str
    event_id: str = ""
    timestamp: str = ""
    slots: tuple[SlotLabel, ...] = ()
    cost: float = math.nan
    original_cost: float = math.nan
    original_cost_sum: float = 0.0
    drop_probability: float = 0.0
    skip_learn: bool = False

    @property
    def chosen(self) -> int:
        """Index of what was chosen for the first place."""
        return self.slots[0].chosen

    @property
    def probability(self) -> float:
        """Its probability."""
        return self.slots[0].probability

    @property
    def true_cost(self) -> float:
        """The original cost where there is one, else the cost."""
        return self.cost if math.isnan(self.original_cost) else self.original_cost
