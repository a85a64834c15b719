"""The journal's join, as small as it can be said: what the property tests compare every journal with."""

from collections.abc import Callable
from dataclasses import dataclass, field

from banditd.journal.protocol import Aggregate, RewardRule

__all__ = ["Event", "Model"]

_AGGREGATES: dict[Aggregate, Callable[[list[float]], float]] = {
    "earliest": lambda r: r[0],
    "latest": lambda r: r[-1],
    "sum": sum,
    "max": max,
}


@dataclass(slots=True)
class Place:
    """A slot of a decision: the rewards that count for it, and whether its outcome is made."""

    rewards: list[float] = field(default_factory=list)
    reward_ids: set[str | None] = field(default_factory=set)
    is_joined: bool = False

    def knows(self, reward_id: str | None, rule: RewardRule) -> bool:
        """Tell whether a reward would change nothing here."""
        return (reward_id is not None and reward_id in self.reward_ids) or (
            rule.aggregate == "earliest" and bool(self.rewards)
        )


@dataclass(slots=True, eq=False)
class Event:
    """A decision as the join sees it: its rule, the end of its window and its slots."""

    event_id: str
    lane: str
    rule: RewardRule
    due: float
    deferred: bool
    active: bool
    slots: list[Place]

    def about(self, slot: int | None) -> list[Place]:
        """Return the slots that a reward is about."""
        if slot is not None:
            return [self.slots[slot]]
        return self.slots if self.rule.slots == "all" else self.slots[:1]


@dataclass(slots=True)
class Model:
    """Decisions, and the outcomes they became, in order: (lane, event id, slot, reward, rewarded)."""

    now: float = 0.0
    events: dict[str, Event] = field(default_factory=dict)
    open: list[Event] = field(default_factory=list)
    outcomes: list[tuple[str, str, int, float, bool]] = field(default_factory=list)

    def rank(self, event_id: str, *, lane: str, rule: RewardRule, deferred: bool, n_slots: int) -> bool:
        """Add a decision; False if the id is taken."""
        if event_id in self.events:
            return False
        slots = [Place() for _ in range(n_slots)]
        event = Event(event_id, lane, rule, self.now + rule.wait_s, deferred, active=not deferred, slots=slots)
        self.events[event_id] = event
        self.open.append(event)
        return True

    def reward(self, event_id: str, reward: float, reward_id: str | None, slot: int | None) -> str:
        """Take a reward; what the journal must answer."""
        event = self.events.get(event_id)
        if event is None or (slot is not None and slot >= len(event.slots)):
            return "unknown"
        news = [place for place in event.about(slot) if not place.knows(reward_id, event.rule)]
        if not news:
            return "duplicate"
        if event not in self.open:
            return "late"
        for place in news:
            place.rewards.append(reward)
            place.reward_ids.add(reward_id)
        return "joined" if self._join_at_once(event) else "pending"

    def activate(self, event_id: str) -> str:
        """Activate a decision; what the journal must answer."""
        event = self.events.get(event_id)
        if event is None:
            return "unknown"
        if not event.active:
            if event not in self.open:
                return "late"
            event.active = True
            self._join_at_once(event)
        return "activated"

    def advance(self, seconds: float) -> None:
        """Let time pass: windows close in the order of their ends, then of their ranks."""
        self.now += seconds
        closing = sorted((event for event in self.open if event.due <= self.now), key=lambda event: event.due)
        for event in closing:
            if event.active:
                for slot in range(len(event.slots)):
                    self._join(event, slot)
            if event in self.open:
                self.open.remove(event)

    def _join_at_once(self, event: Event) -> bool:
        if not event.active or (event.rule.aggregate, event.rule.learn) != ("earliest", "at_once"):
            return False
        before = len(self.outcomes)
        for slot, place in enumerate(event.slots):
            if place.rewards:
                self._join(event, slot)
        return len(self.outcomes) > before

    def _join(self, event: Event, slot: int) -> None:
        """Make a slot's outcome unless it is made; a decision that has all of them is open no more."""
        place = event.slots[slot]
        if not place.is_joined:
            rewarded = bool(place.rewards)
            reward = _AGGREGATES[event.rule.aggregate](place.rewards) if rewarded else event.rule.default
            self.outcomes.append((event.lane, event.event_id, slot, float(reward), rewarded))
            place.is_joined = True
        if all(place.is_joined for place in event.slots) and event in self.open:
            self.open.remove(event)
