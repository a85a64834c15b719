"""A stretch of a log as columns: what candidates play on and what estimates are made from.

A *place* is one slot of one decision: what a policy fills. A *row* is what an estimate counts. They are the same
for ordinary decisions. Where a decision has several slots and a reward for each, each slot is a row whose reward
counts once for each slot and which stands for one slot's share of a decision, so that means are per decision. Where
only the reward of the whole decision is known, the decision is one row, with the product of its slots' probabilities.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.features import Action, Context, Limits, Slot
from policies.protocol import FloatArray
from replay.events import LoggedEvent, LoggedSlot

__all__ = ["Block", "Place", "block_of", "places_of"]

_LIMITS = Limits(depth=64, features=100_000, id_bytes=4_096)  # a log is read at leisure, a request is not

_OF_PLACES = ("n_eligible", "chosen", "slot", "chosen_id", "place_propensities", "places", "distributions")
_OF_EVENTS = ("events", "lines", "learn", "event_ids", "segments")
_OPTIONAL = ("multiplicity", "vw_costs", "q_logged")
_TABLES = ("targets", "q_targets")

IntArray = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Place:
    """What a policy sees where it is to fill a slot: the slots before it are as the log filled them.

    Attributes
    ----------
    context
        With the features of the slot, if the decision has slots.
    actions
        The eligible ones.
    chosen
        Index into `actions` of what the log chose.
    """

    context: Context
    actions: tuple[Action, ...]
    chosen: int


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive rows of a log.

    Attributes
    ----------
    rewards, propensities
        Shape (n,), a row each.
    at
        Shape (n,), UTC seconds; NaN where the log does not say.
    multiplicity
        Shape (n,), as in `Batch`; None for 1 each.
    n_events
        Decisions.
    n_eligible, chosen, slot
        Shape (n_places,): how many actions were eligible (0 if the log does not say), the place of the chosen one
        among them, and which slot of its decision this is, from 0.
    chosen_id
        Shape (n_places,): index of the chosen action among all actions of the decision.
    place_propensities
        Shape (n_places,): as logged, of each slot by itself.
    starts
        Index of the first place of each row, shape (n,); None if each place is a row.
    events
        The decisions; empty where the log is columns alone or lines alone.
    event_of, row_event
        Index into `events` of each place and of each row; None if each event is one place and one row.
    places
        What policies see, shape (n_places,); empty unless asked for.
    lines
        The dsjson lines of the decisions, for VW; empty unless asked for.
    segments
        Segment of each event; empty if the log has none.
    event_ids
        Of each event; empty if the log has none.
    action_names
        What the log calls its actions, if they are the same for all events; empty otherwise.
    distributions
        Of each place, what the logging policy drew from; None, or a None in it, where the log has the propensity
        alone.
    vw_costs
        What VW is to find as the costs of the lines, if labels were read quickly and VW's counts are to confirm them.
    learn
        Whether policies learn from an event; empty for all.
    targets, q_logged, q_targets
        What columns of the log say: a candidate's probability, by the column's name; predicted rewards.
    """

    rewards: FloatArray
    propensities: FloatArray
    at: FloatArray
    n_events: int
    n_eligible: IntArray
    chosen: IntArray
    slot: IntArray
    chosen_id: IntArray
    place_propensities: FloatArray
    multiplicity: FloatArray | None = None
    starts: IntArray | None = None
    events: Sequence[LoggedEvent] = ()
    event_of: IntArray | None = None
    places: Sequence[Place] = ()
    row_event: IntArray | None = None
    lines: Sequence[bytes] = ()
    vw_costs: FloatArray | None = None
    learn: Sequence[bool] = ()
    event_ids: Sequence[str | bytes | None] | NDArray[Any] = ()
    action_names: Sequence[str] = ()
    distributions: Sequence[FloatArray | None] | FloatArray = ()
    segments: Sequence[str] | NDArray[Any] = ()
    targets: Mapping[str, FloatArray] = field(default_factory=dict)
    q_logged: FloatArray | None = None
    q_targets: Mapping[str, FloatArray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def n_places(self) -> int:
        """Slots of all decisions."""
        return len(self.n_eligible)

    def part(self, start: int, stop: int) -> "Block":
        """Return some consecutive events of it."""
        if start <= 0 and stop >= self.n_events:
            return self
        places = rows = slice(start, stop)
        event_of, row_event, starts = self.event_of, self.row_event, self.starts
        if event_of is not None and row_event is not None:
            places = slice(*np.searchsorted(event_of, (start, stop)).tolist())
            rows = slice(*np.searchsorted(row_event, (start, stop)).tolist())
            event_of, row_event = event_of[places] - start, row_event[rows] - start
            starts = None if starts is None else starts[rows] - places.start
        cut = {name: getattr(self, name)[rows] for name in ("rewards", "propensities", "at")}
        cut |= {name: getattr(self, name)[places] for name in _OF_PLACES if len(getattr(self, name))}
        cut |= {name: getattr(self, name)[start:stop] for name in _OF_EVENTS if len(getattr(self, name))}
        cut |= {name: value[rows] for name in _OPTIONAL if (value := getattr(self, name)) is not None}
        cut |= {name: {key: value[rows] for key, value in getattr(self, name).items()} for name in _TABLES}
        n_events = max(0, min(stop, self.n_events) - max(start, 0))
        return replace(self, n_events=n_events, event_of=event_of, row_event=row_event, starts=starts, **cut)

    def rows(self, of_places: FloatArray) -> FloatArray:
        """Return the probability of each row, given that of each place."""
        if self.starts is None:
            return of_places
        result: FloatArray = np.multiply.reduceat(of_places, self.starts) if len(of_places) else of_places
        return result


def places_of(event: LoggedEvent) -> list[Place]:
    """Return what a policy sees at each slot of a decision.

    Raises
    ------
    InvalidInput
        A feature is one that no policy may see.
    """
    context = Context.of(event.context, limits=_LIMITS)
    actions = tuple(
        Action.unnamed(place, action.features, limits=_LIMITS)
        if action.id is None
        else Action.of(action.id, action.features, limits=_LIMITS)
        for place, action in enumerate(event.actions)
    )
    has_slots = len(event.slots) > 1 or bool(event.slots[0].id)
    return [
        Place(
            context.at_slot(_slot(slot, position)) if has_slots else context,
            actions if len(slot.eligible) == len(actions) else tuple(actions[index] for index in slot.eligible),
            _place_of(slot),
        )
        for position, slot in enumerate(event.slots)
    ]


def block_of(events: Sequence[LoggedEvent], *, places: Iterable[list[Place]] = ()) -> Block:
    """Return decisions as columns.

    Parameters
    ----------
    places
        What `places_of` returned for each of the events; empty if no candidate asks for it.
    """
    slots = [(index, position, slot) for index, event in enumerate(events) for position, slot in enumerate(event.slots)]
    rows = _Rows.of(events)
    is_plain = len(slots) == len(events)
    multiplicity = np.array(rows.multiplicity)
    event_of = None if is_plain else np.array([index for index, _, _ in slots], dtype=np.intp)
    return Block(
        rewards=np.array(rows.rewards, dtype=np.float64),
        propensities=np.array(rows.propensities, dtype=np.float64),
        at=np.array([events[index].at for index in rows.events], dtype=np.float64),
        multiplicity=multiplicity if (multiplicity != 1.0).any() else None,
        n_events=len(events),
        n_eligible=np.array([len(slot.eligible) for _, _, slot in slots], dtype=np.intp),
        chosen=np.array([_place_of(slot) for _, _, slot in slots], dtype=np.intp),
        slot=np.array([position for _, position, _ in slots], dtype=np.intp),
        chosen_id=np.array([slot.chosen for _, _, slot in slots], dtype=np.intp),
        place_propensities=np.array([slot.propensity for _, _, slot in slots], dtype=np.float64),
        starts=np.array(rows.starts, dtype=np.intp) if len(rows.starts) < len(slots) else None,
        events=events,
        event_of=event_of,
        row_event=None if is_plain else np.array(rows.events, dtype=np.intp),
        places=[place for of_event in places for place in of_event],
        lines=[event.line for event in events if event.line is not None],
        learn=[event.learn for event in events],
        event_ids=[event.event_id for event in events],
        distributions=[slot.probabilities for _, _, slot in slots],
        segments=[event.segment for event in events] if any(event.segment for event in events) else (),
    )


@dataclass(slots=True)
class _Rows:
    """What estimates count, while it is gathered: where the row starts among the places, and of which event it is."""

    rewards: list[float]
    propensities: list[float]
    multiplicity: list[float]
    starts: list[int]
    events: list[int]

    @classmethod
    def of(cls, events: Sequence[LoggedEvent]) -> "_Rows":
        rows = cls([], [], [], [], [])
        n_places = 0
        for index, event in enumerate(events):
            slots = event.slots
            if len(slots) == 1:
                rows._add(index, n_places, event.reward, slots[0].propensity, event.multiplicity)
            elif any(math.isnan(slot.reward) for slot in slots):
                propensity = math.prod(slot.propensity for slot in slots)
                rows._add(index, n_places, event.reward, propensity, event.multiplicity)
            else:
                for position, slot in enumerate(slots):
                    reward, share = slot.reward * len(slots), event.multiplicity / len(slots)
                    rows._add(index, n_places + position, reward, slot.propensity, share)
            n_places += len(slots)
        return rows

    def _add(self, event: int, start: int, reward: float, propensity: float, multiplicity: float) -> None:
        self.events.append(event)
        self.starts.append(start)
        self.rewards.append(reward)
        self.propensities.append(propensity)
        self.multiplicity.append(multiplicity)


def _place_of(slot: LoggedSlot) -> int:
    return slot.eligible.index(slot.chosen)


def _slot(slot: LoggedSlot, position: int) -> Slot:
    """Return a slot as policies see it; one without an id is called by its position."""
    return Slot.of(slot.id or f"#{position}", position=position, features=slot.features, limits=_LIMITS)
