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


@dataclass(slots=True, eq=False)
class Event:
    """A decision as the join sees it: its rule, the end of its window and the rewards that count."""

    event_id: str
    lane: str
    rule: RewardRule
    due: float
    deferred: bool
    active: bool
    rewards: list[float] = field(default_factory=list)
    reward_ids: set[str | None] = field(default_factory=set)


@dataclass(slots=True)
class Model:
    """Decisions, and the outcomes they became, in order: (lane, event id, reward, rewarded)."""

    now: float = 0.0
    events: dict[str, Event] = field(default_factory=dict)
    open: list[Event] = field(default_factory=list)
    outcomes: list[tuple[str, str, float, bool]] = field(default_factory=list)

    def rank(self, event_id: str, *, lane: str, rule: RewardRule, deferred: bool) -> bool:
        """Add a decision; False if the id is taken."""
        if event_id in self.events:
            return False
        event = Event(event_id, lane, rule, self.now + rule.wait_s, deferred, active=not deferred)
        self.events[event_id] = event
        self.open.append(event)
        return True

    def reward(self, event_id: str, reward: float, reward_id: str | None) -> str:
        """Take a reward; what the journal must answer."""
        event = self.events.get(event_id)
        if event is None:
            return "unknown"
        first_only = event.rule.aggregate == "earliest"
        if (reward_id is not None and reward_id in event.reward_ids) or (first_only and event.rewards):
            return "duplicate"
        if event not in self.open:
            return "late"
        event.rewards.append(reward)
        event.reward_ids.add(reward_id)
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
                self._add_outcome(event)
            else:
                self.open.remove(event)

    def _join_at_once(self, event: Event) -> bool:
        rule = event.rule
        ready = event.active and bool(event.rewards) and rule.aggregate == "earliest" and rule.learn == "at_once"
        if ready:
            self._add_outcome(event)
        return ready

    def _add_outcome(self, event: Event) -> None:
        rewarded = bool(event.rewards)
        reward = _AGGREGATES[event.rule.aggregate](event.rewards) if rewarded else event.rule.default
        self.outcomes.append((event.lane, event.event_id, float(reward), rewarded))
        self.open.remove(event)
