"""Evaluations of decisions with several slots: what counts as one, whole slates, and curves over time."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from replay import evaluate
from replay.errors import InvalidLog
from replay.estimators import Ips
from replay.estimators.slate_estimators import (
    CascadeIps,
    IndependentIps,
    PseudoInverse,
    RewardInteractionIps,
    SlateEstimator,
    SlateIps,
)
from replay.estimators.slates import SlateBatch
from replay.events import LoggedAction, LoggedEvent, LoggedSlot
from replay.results import Evaluation
from replay.tally import Tally
from tests.replay_worlds import ListLog, make_events

_ACTIONS = [LoggedAction(name) for name in "abc"]
_LOGGED = np.array([0.2, 0.3, 0.5])
_PLAYED = np.array([0.5, 0.3, 0.2])
_ALL = ("slate_ips", "iips", "cascade_ips", "rips", "pi")


def _slates(n: int, *, whole: bool = False, n_slots: int = 3) -> list[LoggedEvent]:
    """Return decisions whose slots are drawn independently of each other from all three actions."""
    random = np.random.default_rng(n_slots)
    events = []
    for number in range(n):
        drawn = random.choice(3, p=_LOGGED, size=n_slots)
        rewards = (random.random(n_slots) < 0.1 + 0.3 * drawn).astype(float)
        slots = [
            LoggedSlot([0, 1, 2], int(one), float(_LOGGED[one]), math.nan if whole else float(reward), _LOGGED)
            for one, reward in zip(drawn, rewards, strict=True)
        ]
        events.append(LoggedEvent(f"e{number}", {}, _ACTIONS, slots, float(rewards.sum()), at=1.7e9 + number))
    return events


def _plays(event: LoggedEvent) -> list[float]:
    return [float(one) for one in _PLAYED] * len(event.slots)


def _by_hand(events: Sequence[LoggedEvent]) -> SlateBatch:
    chosen = np.array([[slot.chosen for slot in event.slots] for event in events])
    rewards = np.array([[slot.reward for slot in event.slots] for event in events])
    whole = np.zeros(rewards.shape)
    whole[:, 0] = [event.reward for event in events]
    multiplicity = np.array([event.multiplicity for event in events])
    filled = whole if np.isnan(rewards).any() else rewards
    return SlateBatch.of(filled, _LOGGED[chosen], _PLAYED[chosen], multiplicity=multiplicity)


@pytest.mark.parametrize("kind", [SlateIps, IndependentIps, CascadeIps, RewardInteractionIps, PseudoInverse])
@pytest.mark.parametrize("thinned", [0.0, 0.75])
def test_slates_are_estimated_as_by_their_objects(kind: type[SlateEstimator], thinned: float) -> None:
    """Each estimator of slates has the value and the interval that its object has on the same decisions."""
    events = [replace(one, drop_probability=thinned if one.reward else 0.0) for one in _slates(2_500)]
    by_hand = kind()
    by_hand.add(_by_hand(events))

    found = evaluate(ListLog(events), {"new": _plays}, estimators=[kind.name, "snips"]).policies["new"]

    estimate = found.estimates[kind.name]
    assert estimate.value == pytest.approx(by_hand.value)
    assert (estimate.lower, estimate.upper) == pytest.approx(_ends(by_hand))
    assert estimate.n == 2_500
    assert list(found.estimates) == ["snips", kind.name]


def test_slice_of_a_slot_is_worth_what_that_slot_earned() -> None:
    """The log's own value on a slot is the mean reward of that slot, with as many rows as there are decisions."""
    events = _slates(900)
    events = [
        replace(one, slots=[replace(one.slots[0], reward=0.0), *one.slots[1:]], reward=one.reward) for one in events
    ]

    found = evaluate(ListLog(events), {}, by=["slot"]).policies["logged"].slices["slot"]

    assert {one.name: one.estimates["ips"].value for one in found} == pytest.approx(
        {str(slot): np.mean([event.slots[slot].reward for event in events]) for slot in range(3)}
    )
    assert [one.diagnostics.n for one in found] == [900, 900, 900]


def _ends(by: SlateEstimator) -> tuple[float, float]:
    found = by.interval()
    return found.lower, found.upper


@pytest.mark.parametrize("kind", [SlateIps, PseudoInverse])
def test_rewards_of_whole_slates_are_enough_for_some(kind: type[SlateEstimator]) -> None:
    """Where only the whole slate has a reward, `slate_ips` and `pi` estimate as by their objects."""
    events = _slates(800, whole=True)
    by_hand = kind()
    by_hand.add(_by_hand(events))

    found = evaluate(ListLog(events), {"new": _plays}, estimators=[kind.name])

    assert found.policies["new"].estimates[kind.name].value == pytest.approx(by_hand.value)
    assert found.settings["estimators"] == ["ips", kind.name]


def test_independent_slots_are_what_rows_say() -> None:
    """`iips` is plain `ips` of slots, and what was logged earns its mean reward by all of them."""
    events = _slates(900)

    found = evaluate(ListLog(events), {"new": _plays}, estimators=["ips", *_ALL])

    new, logged = found.policies["new"].estimates, found.policies["logged"].estimates
    assert new["iips"].value == pytest.approx(new["ips"].value)
    for name in _ALL:
        assert logged[name].value == pytest.approx(np.mean([event.reward for event in events]))


def _shrinking(n: int) -> list[LoggedEvent]:
    slots = [LoggedSlot([0, 1, 2], 1, 0.3, 1.0), LoggedSlot([0, 2], 2, 0.5, 0.0)]
    return [LoggedEvent(f"e{i}", {}, _ACTIONS, slots, 1.0) for i in range(n)]


def _even(event: LoggedEvent) -> list[float]:
    return [1 / len(slot.eligible) for slot in event.slots for _ in slot.eligible]


@pytest.mark.parametrize(
    ("events", "settings", "code"),
    [
        (make_events(20, seed=1), {}, "slots_differ"),
        ([*_slates(20), *_slates(20, n_slots=2)], {}, "slots_differ"),
        ([*_slates(10, n_slots=4), *_slates(10, n_slots=2)], {}, "slots_differ"),
        (_slates(20, whole=True), {}, "rewards_of_slots_missing"),
        (_shrinking(20), {}, "slots_dependent"),
        (_slates(20), {"slots": "first"}, "slots_unfit"),
        (_slates(20), {"interval": "percentile_bootstrap"}, "method_unfit"),
    ],
)
def test_a_log_that_is_none_of_slates_is_refused(
    events: Sequence[LoggedEvent], settings: dict[str, Any], code: str
) -> None:
    """Estimators of slates say what the log lacks."""
    with pytest.raises(InvalidLog) as caught:
        evaluate(ListLog(events), {"new": _even}, estimators=_ALL, **settings)

    assert caught.value.code == code


def test_slots_that_take_from_each_other_have_cascades() -> None:
    """Filled without repetition, slots can be weighted given those before: all but the pseudo-inverse are defined."""
    names = [name for name in _ALL if name != "pi"]

    found = evaluate(ListLog(_shrinking(20)), {"new": _even}, estimators=names)

    assert found.policies["new"].estimates["slate_ips"].value == pytest.approx(1 / 0.9)


def test_slates_that_a_candidate_cannot_answer_are_left_out() -> None:
    """A decision without an answer in one of its slots is no slate of that candidate."""
    events, tally = _slates(6), Tally({"ips": Ips()}, lift="ips", slates={"slate_ips": SlateIps()})
    batch = _by_hand(events)
    target = batch.target.copy()
    target[2, 1] = math.nan

    tally.add_slates(replace(batch, target=target))

    expected = SlateIps()
    expected.add(batch.only(np.array([True, True, False, True, True, True])))
    assert tally.slates["slate_ips"].sums is not None
    assert tally.slates["slate_ips"].sums.n == 5
    assert tally.slates["slate_ips"].value == expected.value


def test_a_log_without_events_has_no_slates() -> None:
    """Nothing to count is no number and no error."""
    found = evaluate(ListLog([]), {"new": _plays}, estimators=_ALL)

    assert math.isnan(found.policies["new"].estimates["slate_ips"].value)


def test_slots_of_one_decision_count_as_one() -> None:
    """Decisions whose slots are copies of each other say no more than their first slots do."""
    events = [
        LoggedEvent(one.event_id, {}, one.actions, [one.slots[0], one.slots[0]], 2 * one.reward, at=one.at)
        for one in make_events(1_500, seed=4, skew=0.5)
    ]

    def second(event: LoggedEvent) -> list[float]:
        return [0.1, 0.7, 0.1, 0.1] * len(event.slots)

    both = evaluate(ListLog(events), {"new": second}, interval="gaussian").policies["new"]
    first = evaluate(ListLog(events), {"new": second}, interval="gaussian", slots="first").policies["new"]

    for name, one in first.estimates.items():
        other = both.estimates[name]
        assert (other.value, other.lower, other.upper) == pytest.approx((2 * one.value, 2 * one.lower, 2 * one.upper))
        assert other.n == one.n
        assert other.ess == pytest.approx(one.ess)
    assert both.lift is not None
    assert first.lift is not None
    assert both.lift.upper == pytest.approx(2 * first.lift.upper)
    assert both.diagnostics == first.diagnostics
    assert [(m.n, m.at) for m in both.over_time] == [(m.n, m.at) for m in first.over_time]
    assert [m.upper for m in both.over_time] == pytest.approx([2 * m.upper for m in first.over_time])
    clip, scanned = both.clip_scan[0]
    assert scanned.upper - scanned.value == pytest.approx(
        2 * (dict(first.clip_scan)[clip].upper - dict(first.clip_scan)[clip].value)
    )


def test_blocks_with_slots_and_without_are_one_log() -> None:
    """A log whose decisions have one slot in one stretch and two in the next is counted by decision throughout."""
    plain = make_events(1_100, seed=1)
    slotted = [
        LoggedEvent(f"s{one.event_id}", {}, one.actions, [one.slots[0], one.slots[0]], 2 * one.reward, at=one.at)
        for one in make_events(1_100, seed=2)
    ]

    found = evaluate(ListLog([*plain, *slotted]), {}, by=["slot"])

    assert found.policies["logged"].diagnostics.n == 2_200
    assert found.policies["logged"].estimates["ips"].n == 2_200
    expected = np.mean([one.reward for one in [*plain, *slotted]])
    assert found.policies["logged"].estimates["ips"].value == pytest.approx(expected)
    assert [part.diagnostics.n for part in found.policies["logged"].slices["slot"]] == [2_200, 1_100]


def _has_bounds(found: Evaluation) -> bool:
    moments = found.policies["logged"].over_time
    known = [math.isfinite(end) for moment in moments for end in (moment.lower, moment.upper)]
    assert all(known) or all(math.isnan(end) for moment in moments for end in (moment.lower, moment.upper))
    return all(known)


def _with(event: LoggedEvent, reward: float) -> LoggedEvent:
    return replace(event, reward=reward, slots=[replace(event.slots[0], reward=reward)])


_PLAIN = make_events(200, seed=3)


@pytest.mark.parametrize(
    ("events", "settings", "why"),
    [
        (_PLAIN, {}, ""),
        (_slates(200), {}, ""),
        ([replace(one, drop_probability=0.9) for one in _PLAIN], {}, ""),
        ([_with(one, 7.0 * one.reward) for one in _PLAIN], {"reward_range": (0.0, 7.0)}, ""),
        ([_with(one, 7.0 * one.reward) for one in _PLAIN], {}, "outside 0 to 1"),
        ([_with(one, one.reward - 0.5) for one in _PLAIN], {}, "outside 0 to 1"),
        ([replace(one, drop_probability=0.9 * one.reward) for one in _PLAIN], {}, "stand for more than others"),
        ([*_PLAIN, *(replace(one, drop_probability=0.5) for one in _PLAIN)], {}, "stand for more than others"),
    ],
)
def test_curves_have_bounds_or_a_reason_why_not(
    events: Sequence[LoggedEvent], settings: dict[str, Any], why: str
) -> None:
    """Confidence sequences hold for slots, evenly thinned logs and stated ranges; else there are none, and why."""
    found = evaluate(ListLog(events), {}, **settings)

    told = [one.detail for one in found.health.findings if one.code == "no_sequence"]
    assert _has_bounds(found) is (not why)
    assert len(told) == bool(why)
    assert all(why in detail for detail in told)
    assert all(math.isfinite(moment.value) for moment in found.policies["logged"].over_time)
