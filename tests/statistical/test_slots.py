"""Intervals of decisions with several slots cover, although their slots pay together."""

import numpy as np
import pytest

from policies.protocol import FloatArray
from replay import evaluate
from replay.events import LoggedAction, LoggedEvent, LoggedSlot
from replay.results import Estimate
from tests.replay_worlds import ListLog

_LOGS, _DECISIONS, _SLOTS = 120, 300, 4
_ACTIONS = [LoggedAction(name) for name in "ab"]
# 120 logs, each missed with a probability of 0.05: more than 21 are missed less than once in 10⁶ runs.
_MOST_MISSED = 21


def _target(event: LoggedEvent) -> list[float]:
    return [0.3, 0.7] * len(event.slots)


def _events(random: np.random.Generator) -> list[LoggedEvent]:
    """Return decisions whose slots draw alone, and all of them pay or none does."""
    events = []
    for number in range(_DECISIONS):
        pays = random.random() < 0.5
        slots = []
        for _ in range(_SLOTS):
            chosen = int(random.random() < 0.5)
            slots.append(LoggedSlot([0, 1], chosen, 0.5, float(pays), np.array([0.5, 0.5])))
        reward = float(pays * _SLOTS)
        events.append(LoggedEvent(f"e{number}", {}, _ACTIONS, slots, reward))
    return events


def _found(seed: int, **settings: object) -> tuple[Estimate, FloatArray]:
    events = _events(np.random.default_rng(seed))
    found = evaluate(ListLog(events), {"new": _target}, **settings)  # type: ignore[arg-type]  # by name
    assert found.policies["new"].lift is not None
    lift = found.policies["new"].lift
    return found.policies["new"].estimates["snips"], np.array([lift.lower, lift.upper])


@pytest.mark.parametrize("interval", ["auto", "percentile_bootstrap"])
def test_intervals_cover_where_slots_pay_together(interval: str) -> None:
    """95 % intervals cover the value of a decision; counted row by row they would miss it in a quarter."""
    truth, missed, missed_lifts, narrow = 0.5 * _SLOTS, 0, 0, 0

    for seed in range(_LOGS):
        estimate, lift = _found(seed, interval=interval)
        missed += not estimate.lower <= truth <= estimate.upper
        missed_lifts += not lift[0] <= 0.0 <= lift[1]
        half = (estimate.upper - estimate.lower) / 2 / _SLOTS**0.5  # what rows that count as independent would say
        narrow += abs(estimate.value - truth) > half

    assert max(missed, missed_lifts) <= _MOST_MISSED < narrow
