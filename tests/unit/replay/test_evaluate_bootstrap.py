"""Evaluations whose intervals are bootstrapped."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from replay import estimate, estimate_difference, evaluate
from replay.errors import InvalidLog
from replay.events import LoggedEvent
from replay.sweeping import sweep
from tests.replay_worlds import ListLog, make_events

_PLAYED = np.array([0.1, 0.6, 0.2, 0.1])
_EVENTS = make_events(2_500, seed=11, skew=0.4, segments=["home", "shop"])
_BOOTSTRAPS = ["percentile_bootstrap", "studentised_bootstrap"]


def _plays(_: LoggedEvent) -> list[float]:
    return [float(one) for one in _PLAYED]


def _arrays(events: Sequence[LoggedEvent]) -> tuple[list[float], list[float], list[float]]:
    slots = [event.slots[0] for event in events]
    return (
        [event.reward for event in events],
        [slot.propensity for slot in slots],
        [float(_PLAYED[slot.chosen]) for slot in slots],
    )


@pytest.mark.parametrize("interval", _BOOTSTRAPS)
@pytest.mark.parametrize("seed", [0, 7])
def test_bootstraps_are_those_of_arrays(interval: str, seed: int) -> None:
    """Each estimate has the ends that `estimate` gives the same rows, and lifts the paired ones."""
    found = evaluate(ListLog(_EVENTS), {"new": _plays}, interval=interval, seed=seed, estimators=["ips", "snips"])
    arrays = _arrays(_EVENTS)

    alone = estimate(*arrays, estimators=["ips", "snips"], interval=interval, seed=seed)
    # The estimates beside it do not matter: a row is drawn as often for all of them.
    apart = estimate_difference(*arrays, arrays[1], estimators=["snips"], interval="percentile_bootstrap", seed=seed)[
        "snips"
    ]

    for name, one in alone.items():
        mine = found.policies["new"].estimates[name]
        assert (mine.lower, mine.upper) == pytest.approx((one.lower, one.upper), rel=1e-6)
        assert mine.method == one.method
    lift = found.policies["new"].lift
    assert lift is not None
    assert (lift.lower, lift.upper) == pytest.approx((apart.lower, apart.upper), rel=1e-5)
    assert lift.method == apart.method


def test_slices_and_workers_have_the_same_replicates() -> None:
    """A slice is bootstrapped by its own rows; candidates that are dealt out to processes find the same ends."""
    settings: dict[str, Any] = {"interval": "percentile_bootstrap", "by": ["segment"], "estimators": ["snips"]}

    one = evaluate(ListLog(_EVENTS), {"even": "uniform"}, **settings)
    two = evaluate(ListLog(_EVENTS), {"even": "uniform"}, workers=2, **settings)
    home = evaluate(ListLog(_EVENTS[::2]), {"even": "uniform"}, **settings)

    assert one.policies["even"].estimates == two.policies["even"].estimates
    sliced = one.policies["even"].slices["segment"][0]
    alone = home.policies["even"].estimates["snips"]
    assert sliced.name == "home"
    assert (sliced.estimates["snips"].lower, sliced.estimates["snips"].upper) == pytest.approx(
        (alone.lower, alone.upper), rel=1e-5
    )


def test_a_sweep_can_be_bootstrapped() -> None:
    """Both parts of a sweep have the interval that was asked for."""
    found = sweep(ListLog(_EVENTS), {"a": "uniform", "b": "thompson"}, interval="percentile_bootstrap")

    for part in (found.compared, found.confirmed):
        assert all("bootstrap" in one.method for one in part.policies[found.winner].estimates.values())


@pytest.mark.parametrize("interval", _BOOTSTRAPS)
def test_deployed_has_no_bootstrap(interval: str) -> None:
    """Candidates that accept other rows each have nothing to pair."""
    with pytest.raises(InvalidLog, match="deployed") as caught:
        evaluate(ListLog(_EVENTS), {"even": "uniform"}, question="deployed", interval=interval)

    assert caught.value.code == "method_unfit"


def test_an_interval_that_nobody_knows_is_refused_before_the_log_is_read() -> None:
    """A wrong name costs no time."""

    class Unread(ListLog):
        """A log that must not be read."""

        def events(self) -> Any:
            """Fail."""
            raise AssertionError

    with pytest.raises(InvalidLog, match="percentile_bootstrap") as caught:
        evaluate(Unread([]), {}, interval="exact")

    assert caught.value.code == "method_unknown"


def test_nothing_to_bootstrap_is_no_error() -> None:
    """A log without events has no ends."""
    found = evaluate(ListLog([]), {}, interval="studentised_bootstrap")

    assert found.policies["logged"].estimates["ips"].method == "no rows"
