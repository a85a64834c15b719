"""A store as a log that `replay` evaluates candidates on."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import orjson

from banditd.decision import Decision
from banditd.evaluating.entries import Entry, Selection, read_entries
from banditd.evaluating.store import ReadStore
from replay.events import LoggedAction, LoggedEvent, LoggedSlot

__all__ = ["JournalLog", "actions_of", "asked_slots", "count_missing"]


class JournalLog:
    """The decisions of an embedded store whose outcomes are known, in their order, in constant memory.

    Read while a server runs, or from a copy; the file is opened for each reading anew. A decision over several
    segments is one of the segment that it belongs to, which was drawn from the weights alone.

    Parameters
    ----------
    path
        The store.
    selection
        Which decisions; None: all.

    Attributes
    ----------
    dropped
        What the last reading left out: ``window_open``, ``not_activated`` and ``trimmed`` decisions, and ``erased``
        outcomes, whose decisions are there no more.
    noted
        Of what it did yield: ``late_reward`` and ``duplicate_reward`` (rewards that changed no outcome) and
        ``default_reward`` (slots that no reward came for).
    """

    def __init__(self, path: Path, selection: Selection | None = None) -> None:
        self._path = path
        self._selection = Selection() if selection is None else selection
        self.dropped: Counter[str] = Counter()
        self.noted: Counter[str] = Counter()

    def events(self) -> Iterator[LoggedEvent]:
        """Yield the decisions that have all of their outcomes; count the others.

        Raises
        ------
        JournalUnavailable, JournalCorrupt
            There is no store, or it is none of this format.
        """
        self.dropped = Counter()
        self.noted = Counter()
        with ReadStore(self._path) as store:
            self.dropped.update(count_missing(store, self._selection))
            for entry in read_entries(store, self._selection):
                if entry.state == "complete":
                    self._note(entry)
                    yield _event(entry)
                else:
                    self.dropped[entry.state] += 1

    def _note(self, entry: Entry) -> None:
        self.noted.update(f"{reward.status}_reward" for reward in entry.rewards if reward.status != "counted")
        self.noted.update("default_reward" for outcome in entry.outcomes.values() if not outcome.rewarded)


def count_missing(store: ReadStore, selection: Selection) -> Counter[str]:
    """Count the outcomes of the wanted lanes that were erased."""
    counted = store.rows("SELECT lane_id, count(*) FROM outcomes WHERE erased GROUP BY lane_id")
    return +Counter(erased=sum(n for lane_id, n in counted if selection.has_lane(store.lane_name(lane_id))))


def actions_of(decision: Decision) -> list[LoggedAction]:
    """Return the actions as the caller sent them; the id is None where there was none."""
    return [
        LoggedAction(action.get("id"), action.get("features") or {}) for action in orjson.loads(bytes(decision.actions))
    ]


def asked_slots(decision: Decision) -> Sequence[Mapping[str, Any]]:
    """Return the slots as the caller asked for them; one without id and features if none were asked for."""
    if decision.asked_slots is msgspec.UNSET:
        return ({"id": "", "features": {}},)
    asked: list[dict[str, Any]] = orjson.loads(bytes(decision.asked_slots))
    return asked


def _event(entry: Entry) -> LoggedEvent:
    decision = entry.decision
    slots = [
        LoggedSlot(
            eligible=slot.eligible,
            chosen=slot.chosen,
            propensity=min(slot.propensity, 1.0),  # a mixture's sum could be above 1 by rounding
            reward=entry.outcomes[number].reward,
            probabilities=np.array(slot.probabilities),
            id=asked.get("id", ""),
            features=asked.get("features") or {},
        )
        for number, (slot, asked) in enumerate(zip(decision.slots, asked_slots(decision), strict=True))
    ]
    return LoggedEvent(
        event_id=decision.event_id,
        context=orjson.loads(bytes(decision.context)),
        actions=actions_of(decision),
        slots=slots,
        reward=sum(slot.reward for slot in slots),
        at=decision.at,
        reward_at=max(entry.reward_at(number) for number in range(len(slots))),
        segment=entry.segment,
    )
