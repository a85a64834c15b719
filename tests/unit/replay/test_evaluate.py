"""Evaluations: each candidate's value, its lift, and what is said of them."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from policies import parse_spec
from replay import evaluate, expand, sweep
from replay.block import block_of
from replay.errors import InvalidLog
from replay.events import LoggedAction, LoggedEvent, LoggedSlot
from replay.logs.columns import Columns
from replay.logs.mapping import ColumnMapping
from replay.results import Evaluation
from replay.slicing import slice_names
from replay.tasks import Partial, Task, here
from replay.views import to_plain
from tests.replay_worlds import ACTIONS, PAYS, ListLog, assert_alike, make_events

EPSILON = "{kind = 'epsilon_greedy', epsilon = 0.1}"


def _second(event: LoggedEvent) -> list[float]:
    return [0.0, 1.0, *(0.0 for _ in event.actions[2:])]


@dataclass
class TableLog:
    """A log of columns in memory."""

    columns: Sequence[Columns]
    mapping: ColumnMapping
    dropped: Counter[str] = field(default_factory=Counter)

    def batches(self) -> Iterator[Columns]:
        """Yield the columns."""
        return iter(self.columns)

    def events(self) -> Iterator[LoggedEvent]:
        """Yield nothing: no test may need it."""
        return iter(())


def _columns(n: int, *, seed: int = 0, **more: Any) -> Columns:
    random = np.random.default_rng(seed)
    actions = random.integers(3, size=n)
    return Columns(
        rewards=(random.random(n) < (actions + 1) / 4).astype(float),
        propensities=np.full(n, 1 / 3),
        actions=actions,
        action_ids=("a", "b", "c"),
        **more,
    )


FIXED_SET = ColumnMapping(actions=("a", "b", "c"))


def _by_hand(events: Sequence[LoggedEvent], kind: dict[str, Any]) -> tuple[float, float]:
    """Return IPS and SNIPS of a policy that learns each outcome after its decision, written down plainly."""
    from replay.block import places_of  # noqa: PLC0415 - of this one helper

    policy = parse_spec(kind).build()
    from policies.protocol import Outcome  # noqa: PLC0415 - as above

    weighted = total = 0.0
    for event in events:
        (place,) = places_of(event)
        target = policy.probabilities(place.context, place.actions)[place.chosen]
        weight = float(target) / event.slots[0].propensity
        weighted += weight * event.reward
        total += weight
        policy.learn(Outcome(place.context, place.actions, place.chosen, event.slots[0].propensity, event.reward))
    return weighted / len(events), weighted / total


def test_a_learning_policy_is_scored_as_by_hand() -> None:
    """Progressive IPS and SNIPS equal a loop that asks, scores and only then learns."""
    events = make_events(700, seed=1, skew=0.5)

    result = evaluate(ListLog(events), {"new": EPSILON}).policies["new"]

    ips, snips = _by_hand(events, {"kind": "epsilon_greedy", "epsilon": 0.1})
    assert result.question == "progressive"
    assert result.estimates["ips"].value == pytest.approx(ips, abs=1e-12)
    assert result.estimates["snips"].value == pytest.approx(snips, abs=1e-12)


def test_the_baselines_are_always_there() -> None:
    """What the log did is worth its mean reward; a lift is the difference on the same rows."""
    events = make_events(400, seed=2, skew=0.5)

    found = evaluate(ListLog(events), {"second": _second})

    rewards = np.array([event.reward for event in events])
    weights = np.array([(event.slots[0].chosen == 1) / event.slots[0].propensity for event in events])
    assert set(found.policies) == {"logged", "baseline1", "uniform", "second"}
    assert found.policies["logged"].estimates["ips"].value == pytest.approx(rewards.mean())
    assert found.policies["logged"].lift is None
    lift = found.policies["second"].lift
    assert lift is not None
    assert lift.value == pytest.approx((weights * rewards).sum() / weights.sum() - rewards.mean())
    assert {one.question for one in found.policies.values()} == {"fixed"}
    assert found.health.events == 400
    assert found.settings["lift_by"] == "snips"


def test_another_baseline_can_be_chosen() -> None:
    """Lifts are measured against any policy by name; the log then has a lift too."""
    found = evaluate(ListLog(make_events(300, seed=2)), {"second": _second}, baseline="second")

    assert found.policies["second"].lift is None
    assert found.policies["logged"].lift is not None


def test_delays_are_honoured() -> None:
    """With rewards that come after the last decision a policy has nothing to learn from and stays even."""
    events = make_events(300, seed=3, delay_s=1e6)

    result = evaluate(ListLog(events), {"new": EPSILON}).policies["new"]

    assert result.estimates["ips"].value == pytest.approx(np.mean([event.reward for event in events]))
    assert result.diagnostics.max_weight == pytest.approx(1.0)


def test_thinned_events_weigh_more_and_teach_once() -> None:
    """An event that stands for ten counts ten times in the means, and is learned once."""
    events = make_events(300, seed=4)
    thinned = [replace(event, drop_probability=0.9) if event.reward == 0.0 else event for event in events]

    found = evaluate(ListLog(thinned), {"new": EPSILON})
    plain = evaluate(ListLog(events), {"new": EPSILON})

    paid = sum(event.reward for event in events)
    expected = paid / (paid + 10 * (len(events) - paid))
    assert found.policies["logged"].estimates["ips"].value == pytest.approx(expected)
    assert found.policies["new"].diagnostics.max_weight == plain.policies["new"].diagnostics.max_weight


def _slotted(n: int, *, whole: bool = False) -> list[LoggedEvent]:
    random = np.random.default_rng(5)
    events = []
    for i in range(n):
        first = int(random.integers(3))
        left = [index for index in range(3) if index != first]
        second = left[int(random.integers(2))]
        rewards = [float(random.random() < 0.2 + 0.3 * first), float(random.random() < 0.1 + 0.3 * second)]
        slots = [
            LoggedSlot([0, 1, 2], first, 1 / 3, math.nan if whole else rewards[0], id="top"),
            LoggedSlot(left, second, 1 / 2, math.nan if whole else rewards[1], id="side"),
        ]
        events.append(LoggedEvent(f"e{i}", {}, [LoggedAction(c) for c in "abc"], slots, sum(rewards)))
    return events


def _top_down(_: LoggedEvent) -> list[float]:
    """Play the last action first, and then the last one that is left."""
    return [0.0, 0.0, 1.0, 0.0, 1.0]


def test_a_decision_with_slots_is_worth_the_sum_over_its_slots() -> None:
    """Each slot is weighted given the slots before it; the value is per decision."""
    events = _slotted(600)

    found = evaluate(ListLog(events), {"new": _top_down}, by=["slot"])

    by_hand = sum(
        (event.slots[0].chosen == 2) * 3 * event.slots[0].reward
        + (event.slots[1].chosen == event.slots[1].eligible[1]) * 2 * event.slots[1].reward
        for event in events
    ) / len(events)
    assert found.policies["new"].estimates["ips"].value == pytest.approx(by_hand)
    assert found.policies["logged"].estimates["ips"].value == pytest.approx(np.mean([e.reward for e in events]))
    assert [part.name for part in found.policies["new"].slices["slot"]] == ["0", "1"]
    assert found.health.events == 600
    assert found.settings["reward_range"] == [0.0, 2.0]


def test_the_first_slot_alone_can_be_scored() -> None:
    """With `slots="first"` a decision is worth the reward of its first slot; whole rewards stay what they are."""
    events = _slotted(600)

    found = evaluate(ListLog(events), {"new": _top_down}, slots="first")
    whole = evaluate(ListLog(_slotted(600, whole=True)), {"new": _top_down}, slots="first")

    by_hand = np.mean([(event.slots[0].chosen == 2) * 3 * event.slots[0].reward for event in events])
    assert found.policies["new"].estimates["ips"].value == pytest.approx(by_hand)
    assert found.policies["logged"].estimates["ips"].value == pytest.approx(
        np.mean([e.slots[0].reward for e in events])
    )
    assert whole.policies["logged"].estimates["ips"].value == pytest.approx(np.mean([e.reward for e in events]))


def test_a_reward_of_the_whole_decision_is_weighted_by_all_slots() -> None:
    """Without rewards of slots the decision is one row, with the product of its slots' weights."""
    events = _slotted(600, whole=True)

    found = evaluate(ListLog(events), {"new": _top_down})

    by_hand = sum(
        (event.slots[0].chosen == 2) * (event.slots[1].chosen == event.slots[1].eligible[1]) * 6 * event.reward
        for event in events
    ) / len(events)
    assert found.policies["new"].estimates["ips"].value == pytest.approx(by_hand)
    assert found.policies["new"].diagnostics.n == 600


def test_doubly_robust_needs_rewards_of_slots() -> None:
    """A reward model of single slots cannot be fitted on rewards of whole decisions."""
    with pytest.raises(InvalidLog) as caught:
        evaluate(ListLog(_slotted(50, whole=True)), {}, estimators=["dr"])

    assert caught.value.code == "rewards_of_slots_missing"


def test_slices_add_up_to_the_whole() -> None:
    """Each segment, day and hour has its own estimates, and their rows are all rows."""
    events = make_events(500, seed=6, segments=("a", "b", ""))

    found = evaluate(ListLog(events), {"new": EPSILON}, by=["segment", "day", "hour"])

    slices = found.policies["new"].slices
    rewards = {name: [e.reward for e in events if (e.segment or "(none)") == name] for name in ("a", "b", "(none)")}
    for part in found.policies["logged"].slices["segment"]:
        assert part.estimates["ips"].value == pytest.approx(np.mean(rewards[part.name]))
        assert part.lift is None
    assert [part.name for part in slices["segment"]] == ["(none)", "a", "b"]
    assert sum(part.diagnostics.n for part in slices["segment"]) == 500
    assert all(part.lift is not None for part in slices["segment"])
    assert [part.name for part in slices["day"]] == ["2023-11-14"]
    assert [part.name for part in slices["hour"]] == ["2023-11-14T22"]


def test_events_without_segment_or_time_have_slices_of_their_own() -> None:
    """What the log does not say is a slice that says so."""
    events = [replace(event, at=math.nan) for event in make_events(50, seed=6)]

    found = evaluate(ListLog(events), {}, by=["segment", "day"])

    assert [part.name for part in found.policies["logged"].slices["segment"]] == ["(none)"]
    assert [part.name for part in found.policies["logged"].slices["day"]] == ["(no time)"]


def test_more_slices_than_200_share_one() -> None:
    """The first 200 slices that come have their own; the others are one more."""
    events = make_events(600, seed=6, segments=[f"s{i}" for i in range(300)])

    found = evaluate(ListLog(events), {}, by=["segment"])

    parts = found.policies["logged"].slices["segment"]
    assert len(parts) == 201
    assert next(part for part in parts if part.name == "(others)").diagnostics.n == 200


def test_policies_of_segments_can_be_kept_apart() -> None:
    """One policy a segment learns as many policies on the parts of the log would."""
    events = make_events(600, seed=7, segments=("a", "b"))

    found = evaluate(ListLog(events), {"new": EPSILON}, by=["segment"], per_segment=True)

    for part in found.policies["new"].slices["segment"]:
        own = [event for event in events if event.segment == part.name]
        alone = evaluate(ListLog(own), {"new": EPSILON}).policies["new"]
        assert part.estimates["ips"].value == pytest.approx(alone.estimates["ips"].value, abs=1e-12)


def test_several_workers_give_the_same_numbers() -> None:
    """Two processes, or any engine, give what one process gives."""
    log = ListLog(make_events(1_500, seed=8, skew=0.5, delay_s=20.0, segments=("a", "b")))
    policies: dict[str, Any] = {"eps": EPSILON, "thompson": "thompson", "second": _second}
    settings: dict[str, Any] = {"estimators": ["ips", "snips", "dr"], "by": ["segment"]}
    counted: list[int] = []

    def engine(tasks: Sequence[Task]) -> Iterable[Partial]:
        counted.append(len(tasks))
        return here(tasks)

    alone = evaluate(log, policies, **settings)
    dealt = evaluate(log, policies, **settings, workers=4, engine=engine)
    apart = evaluate(log, {"eps": EPSILON, "thompson": "thompson"}, **settings, workers=2)

    assert counted == [4]
    _same(alone, dealt, [*policies, "logged"])
    _same(alone, apart, ["eps", "thompson", "logged", "uniform"])


def _same(one: Evaluation, other: Evaluation, names: Sequence[str]) -> None:
    mine, theirs = to_plain(one), to_plain(other)
    for name in names:
        assert_alike(mine["policies"][name], theirs["policies"][name])
    assert_alike(mine["log"], theirs["log"])


def test_frozen_learns_on_the_first_part_and_is_scored_on_the_rest() -> None:
    """A frozen policy equals one that was taught by hand on the first part and only asked on the rest."""
    events = make_events(900, seed=9)

    found = evaluate(ListLog(events), {"new": EPSILON}, question="frozen", split=0.4)

    from policies.protocol import Outcome  # noqa: PLC0415 - of this one test
    from replay.block import places_of  # noqa: PLC0415 - as above

    policy = parse_spec({"kind": "epsilon_greedy", "epsilon": 0.1}).build()
    first, rest = events[:360], events[360:]
    for event in first[:-1]:  # the last one's reward is not known before the next decision
        (place,) = places_of(event)
        policy.learn(Outcome(place.context, place.actions, place.chosen, event.slots[0].propensity, event.reward))
    value = 0.0
    for event in rest:
        (place,) = places_of(event)
        target = policy.probabilities(place.context, place.actions)[place.chosen]
        value += float(target) / event.slots[0].propensity * event.reward / len(rest)
    assert found.policies["new"].question == "frozen"
    assert found.policies["logged"].question == "fixed"
    assert found.policies["new"].diagnostics.n == 540
    assert found.settings["learned_from_events"] == 360
    assert found.policies["new"].estimates["ips"].value == pytest.approx(value, abs=1e-3)


def test_deployed_says_how_many_decisions_it_speaks_of() -> None:
    """Rejection accepts about one event in K of a uniform log; the same seed accepts the same ones."""
    log = ListLog(make_events(2_000, seed=10))

    found = evaluate(log, {"new": EPSILON, "second": _second}, question="deployed", seed=4)
    again = evaluate(log, {"new": EPSILON, "second": _second}, question="deployed", seed=4)
    other = evaluate(log, {"new": EPSILON, "second": _second}, question="deployed", seed=5)

    second = found.policies["second"]
    horizon = next(one for one in second.findings if one.code == "horizon")
    assert second.question == "deployed"
    assert 400 < second.estimates["rejection"].n < 600
    assert str(second.estimates["rejection"].n) in horizon.detail
    assert found.settings["acceptance"] == pytest.approx(1 / len(ACTIONS))
    assert second.estimates["rejection"].value == pytest.approx(PAYS[:, 1].mean(), abs=0.1)
    assert second.lift is not None
    assert "not paired" in second.lift.method
    assert found.policies["new"].estimates == again.policies["new"].estimates
    assert found.policies["new"].estimates != other.policies["new"].estimates


def test_deployed_warns_of_a_constant_that_is_too_large() -> None:
    """A constant above the least propensity accepts too few of the unlikely: the value is biased, and says so."""
    log = ListLog(make_events(300, seed=10, skew=1.0))

    found = evaluate(log, {"second": _second}, question="deployed", acceptance=0.9)

    codes = {one.code for one in found.policies["second"].findings if one.serious}
    assert "acceptance_above_one" in codes
    assert found.policies["second"].grade == "red"


def test_deployed_needs_decisions_of_one_slot() -> None:
    """Rejection takes or leaves whole decisions, of one slot each."""
    with pytest.raises(InvalidLog) as caught:
        evaluate(ListLog(_slotted(20)), {}, question="deployed")

    assert caught.value.code == "slots"


def test_columns_are_evaluated_as_columns() -> None:
    """Candidates that never learn are evaluated on columns; a target column is a candidate."""
    random = np.random.default_rng(1)
    columns = [
        _columns(
            n, seed=n, targets={"new": random.random(n)}, at=np.arange(float(n)), event_ids=np.arange(n).astype(str)
        )
        for n in (70_000, 30_000)
    ]

    found = evaluate(TableLog(columns, FIXED_SET), {"new": "column:new"}, by=["day", "segment"])

    rewards = np.concatenate([one.rewards for one in columns])
    targets = np.concatenate([one.targets["new"] for one in columns])
    assert found.policies["new"].estimates["ips"].value == pytest.approx((3 * targets * rewards).mean())
    assert found.policies["uniform"].estimates["ips"].value == pytest.approx(rewards.mean())
    assert found.health.events == 100_000
    assert len(found.policies["new"].over_time) <= 200
    assert "duplicates" in {one.code for one in found.health.findings}


def test_whole_distributions_of_columns_show_what_the_log_cannot_tell() -> None:
    """Where the log has whole distributions, a candidate's play of actions without any probability is counted."""
    n = 3_000
    vector = np.tile([0.5, 0.5, 0.0], (n, 1))
    actions = np.arange(n) % 2
    columns = Columns(np.ones(n), np.full(n, 0.5), actions, ("a", "b", "c"), probabilities=vector)

    found = evaluate(TableLog([columns], FIXED_SET), {})

    assert found.policies["uniform"].diagnostics.unsupported == pytest.approx(1 / 3)
    assert found.policies["logged"].diagnostics.unsupported == pytest.approx(0.0)


def test_a_log_that_does_not_know_its_actions_has_one_baseline() -> None:
    """Nothing can be played evenly over actions that nobody named; asked for, it is refused."""
    log = TableLog([_columns(100, segments=np.array(["x"] * 100))], ColumnMapping())

    found = evaluate(log, {}, by=["segment"])

    assert set(found.policies) == {"logged"}
    assert [part.name for part in found.policies["logged"].slices["segment"]] == ["x"]
    with pytest.raises(InvalidLog) as caught:
        evaluate(log, {"uniform": "uniform"})
    assert caught.value.code == "actions_unknown"


def test_predictions_in_columns_are_used() -> None:
    """A log with predicted rewards has the doubly robust estimate by them."""
    n = 500
    random = np.random.default_rng(3)
    target, q_logged, q_target = random.random((3, n))
    columns = _columns(n, targets={"new": target}, q_logged=q_logged, q_targets={"new": q_target})
    mapping = replace(FIXED_SET, q_logged="q", targets={"new": "t"}, q_targets={"new": "qt"})

    found = evaluate(TableLog([columns], mapping), {"new": "column:new"})

    by_hand = (q_target + 3 * target * (columns.rewards - q_logged)).mean()
    assert found.policies["new"].estimates["dr"].value == pytest.approx(by_hand)
    assert found.policies["logged"].estimates["dr"].value == pytest.approx(columns.rewards.mean())
    assert found.settings["reward_model"] is None


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"baseline": "nobody"}, "baseline_unknown"),
        ({"by": ["moon"]}, "slice_unknown"),
        ({"question": "why"}, "question_unknown"),
        ({"split": 1.0}, "split_out_of_range"),
        ({"level": 1.0}, "level_out_of_range"),
        ({"workers": 0}, "workers_out_of_range"),
        ({"estimators": []}, "estimators_missing"),
        ({"estimators": ["guess"]}, "estimator_unknown"),
        ({"estimators": ["ips_clipped"]}, "parameter_missing"),
        ({"estimators": ["dr"], "reward_model": "guess"}, "model_unknown"),
        ({"estimators": ["dr"], "reward_model": "ridge"}, "model_not_predictable"),
        ({"estimators": ["ips"], "question": "deployed"}, "estimators_unused"),
        ({"interval": "guess"}, "method_unknown"),
        ({"slots": "last"}, "slots_unknown"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(settings: dict[str, Any], code: str) -> None:
    """A wrong setting is refused by a code that names it."""
    with pytest.raises(InvalidLog) as caught:
        evaluate(ListLog(make_events(20, seed=1)), {"new": EPSILON}, **settings)

    assert caught.value.code == code


def test_the_names_of_baselines_are_taken() -> None:
    """A policy cannot hide behind a baseline's name; the baseline itself may be listed."""
    log = ListLog(make_events(20, seed=1))

    with pytest.raises(InvalidLog) as caught:
        evaluate(log, {"uniform": EPSILON})

    assert caught.value.code == "name_taken"
    assert "uniform" in evaluate(log, {"uniform": "uniform"}).policies


def test_a_log_without_usable_events_has_no_values() -> None:
    """Nothing to count is no number and no error."""
    found = evaluate(ListLog([]), {"new": EPSILON})

    assert math.isnan(found.policies["new"].estimates["ips"].value)
    assert found.policies["new"].lift is not None
    assert math.isnan(found.policies["new"].lift.value)
    assert found.policies["new"].estimates["ips"].refused
    assert found.policies["new"].grade == "red"
    assert found.health.events == 0


def test_features_that_no_policy_may_see_leave_the_event_out() -> None:
    """An event whose features are refused is dropped for all, and counted."""
    events = make_events(30, seed=1)
    events[3] = replace(events[3], context={"x": math.inf})

    found = evaluate(ListLog(events), {"new": EPSILON})

    assert found.health.dropped == {"features_refused": 1}
    assert found.policies["logged"].diagnostics.n == 29


def test_a_reward_model_needs_the_whole_distribution() -> None:
    """A candidate that says the probability of one action alone cannot be estimated with a reward model."""

    @dataclass
    class WithTargets(ListLog):
        pass

    with pytest.raises(InvalidLog) as caught:
        evaluate(WithTargets(make_events(30, seed=1)), {"new": "table:" + str(_half_table())}, estimators=["dr"])

    assert caught.value.code == "distribution_missing"


def _half_table() -> str:
    """Return the path of a table that has an action more than the log."""
    import tempfile  # noqa: PLC0415 - of this one helper
    from pathlib import Path  # noqa: PLC0415 - as above

    path = Path(tempfile.mkdtemp()) / "t.csv"
    np.savetxt(path, np.full((len(ACTIONS) + 1, 1), 1 / (len(ACTIONS) + 1)), delimiter=",")
    return str(path)


def _without_distributions(events: Sequence[LoggedEvent]) -> list[LoggedEvent]:
    return [replace(event, slots=[replace(event.slots[0], probabilities=None)]) for event in events]


def test_the_log_may_lack_distributions() -> None:
    """Some events or all may have the propensity alone: what was logged stands in for what could have been."""
    events = make_events(800, seed=11, skew=0.5)
    log = ListLog(_without_distributions(events))
    mixed = ListLog([*events[:400], *_without_distributions(events[400:])])

    for one in (log, mixed):
        found = evaluate(one, {"new": EPSILON}, estimators=["ips", "dr"])

        logged = found.policies["logged"].estimates
        assert logged["dr"].value == pytest.approx(logged["ips"].value, abs=0.02)
        assert found.policies["new"].estimates["dr"].value == pytest.approx(
            found.policies["new"].estimates["ips"].value, abs=0.1
        )


def test_frozen_policies_have_doubly_robust_values_too() -> None:
    """The reward model learns from the first part as well, and goes on learning on the rest."""
    found = evaluate(
        ListLog(make_events(1_500, seed=12)), {"new": EPSILON}, question="frozen", estimators=["ips", "dr"], split=0.7
    )

    estimates = found.policies["new"].estimates
    assert estimates["dr"].n == 450
    assert estimates["dr"].value == pytest.approx(estimates["ips"].value, abs=0.1)


def test_thinned_and_whole_stretches_of_a_log_add_up() -> None:
    """A log of which some stretch was thinned out weighs that stretch alone."""
    events = make_events(2_100, seed=13)
    thinned = [replace(event, drop_probability=0.5) for event in events[:1_050]]

    found = evaluate(ListLog([*thinned, *events[1_050:]]), {})

    rewards = np.array([event.reward for event in events])
    weights = np.repeat([2.0, 1.0], 1_050)
    assert found.policies["logged"].estimates["ips"].value == pytest.approx((weights * rewards).sum() / weights.sum())


def test_lines_that_vw_is_not_to_learn_from_are_left_out_for_all() -> None:
    """An event with a dsjson line and `learn=False` is left out, as VW does; one without a line counts."""
    events = make_events(40, seed=14)
    marked = [replace(event, learn=False, line=b"{}" if i % 2 else None) for i, event in enumerate(events)]

    found = evaluate(ListLog(marked), {"new": EPSILON})

    assert found.health.events == 20
    assert found.health.dropped == {"skip_learn": 20}
    assert found.policies["new"].diagnostics.max_weight == pytest.approx(1.0)


def test_a_block_of_which_nothing_is_left_is_passed_over() -> None:
    """A stretch of the log that no policy may see adds nothing, and the rest stands."""
    events = make_events(2_100, seed=15)
    hidden = [
        replace(event, context={"x": math.inf}) if 1_024 <= i < 2_048 else event for i, event in enumerate(events)
    ]

    found = evaluate(ListLog(hidden), {"new": EPSILON})

    assert found.health.events == 1_076
    assert found.health.dropped == {"features_refused": 1_024}


def test_what_a_reader_noted_of_rewards_is_part_of_the_logs_health() -> None:
    """That rewards came late is a finding about the log, and so, though it is no fault, is how many are the default."""
    log = NotedLog(make_events(100, seed=17), noted=Counter(default_reward=30, late_reward=5))

    found = evaluate(log, {})

    assert [(one.code, one.serious) for one in found.health.findings] == [
        ("late_rewards", False),
        ("default_rewards", False),
    ]
    assert found.health.findings[1].detail.startswith("30.0% of the rewards")


@dataclass
class NotedLog(ListLog):
    """A log whose reader noted something."""

    noted: Counter[str] = field(default_factory=Counter)


def test_a_sweep_stops_reading_where_the_first_part_ends() -> None:
    """Candidates are not shown the rest of the log while they are compared."""
    log = CountingLog(make_events(6_000, seed=16))

    sweep(log, {"second": _second}, split=0.2)

    assert log.read[0] == 6_000
    assert log.read[1] < 6_000


@dataclass
class CountingLog(ListLog):
    """A log that counts how far each reading came."""

    read: list[int] = field(default_factory=list)

    def events(self) -> Iterator[LoggedEvent]:
        """Yield all of them, counting."""
        self.read.append(0)
        for event in self.made:
            self.read[-1] += 1
            yield event


def test_rows_that_nobody_can_answer_are_no_rows() -> None:
    """A candidate without any answer has no estimate, and the log stands as it is."""
    columns = _columns(50, targets={"new": np.full(50, math.nan)})

    found = evaluate(TableLog([columns], FIXED_SET), {"new": "column:new"})

    assert math.isnan(found.policies["new"].estimates["ips"].value)
    assert found.policies["new"].grade == "red"
    assert found.policies["logged"].diagnostics.n == 50


def test_a_slice_that_nobody_knows_is_refused() -> None:
    """Slices have names of their own."""
    with pytest.raises(InvalidLog) as caught:
        slice_names(block_of([]), "moon")

    assert caught.value.code == "slice_unknown"


def test_progress_is_told() -> None:
    """Whoever watches is told how many events are done, and in the end all of them."""
    told: list[int] = []

    evaluate(ListLog(make_events(2_500, seed=1)), {}, progress=told.append)

    assert told == sorted(told)
    assert told[-1] == 2_500


@pytest.mark.parametrize(
    ("rewards", "given", "expected"),
    [
        ((0.0, 1.0), None, [0.0, 1.0]),
        ((-2.0, 3.0), None, [-2.0, 3.0]),
        ((2.0, 2.0), None, [0.0, 2.0]),
        ((0.0, 1.0), (-1.0, 5.0), [-1.0, 5.0]),
    ],
)
def test_the_range_of_rewards_is_as_given_or_as_seen(
    rewards: tuple[float, float], given: tuple[float, float] | None, expected: list[float]
) -> None:
    """Without a stated range rewards in 0 to 1 have that range, others the one that was seen."""
    events = [replace(event, reward=rewards[i % 2]) for i, event in enumerate(make_events(40, seed=1))]

    found = evaluate(ListLog(events), {}, reward_range=given)

    assert found.settings["reward_range"] == expected
    assert found.settings["reward_range_given"] is (given is not None)


def test_a_clip_scan_is_clipped_ips() -> None:
    """Each entry of the scan is `ips_clipped` at that clip."""
    log = ListLog(make_events(800, seed=2, skew=1.0))

    scan = dict(evaluate(log, {"second": _second}).policies["second"].clip_scan)

    for clip, entry in scan.items():
        alone = evaluate(log, {"second": _second}, estimators=["ips_clipped"], clip=clip, interval="gaussian")
        expected = alone.policies["second"].estimates["ips_clipped"]
        assert entry.value == pytest.approx(expected.value)
        assert entry.ess == pytest.approx(expected.ess)
        assert entry.lower == pytest.approx(expected.lower, abs=1e-2)
    assert len(scan) > 2


def test_the_last_moment_is_the_whole_log() -> None:
    """Moments grow to the whole log, and the stretches between them make up its mean."""
    for estimators in (["ips"], ["snips"], ["dr"]):
        found = evaluate(ListLog(make_events(5_000, seed=2, skew=0.5)), {"second": _second}, estimators=estimators)

        result = found.policies["second"]
        moments = result.over_time
        assert 20 <= len(moments) <= 100
        assert moments[-1].n == 5_000
        assert moments[-1].value == pytest.approx(result.estimates[estimators[0]].value)
        assert moments[-1].lower < moments[-1].value < moments[-1].upper
        assert moments[0].upper - moments[0].lower > 0.3


def test_a_sweep_confirms_its_winner_on_the_rest() -> None:
    """All are compared on the first part; the winner alone is evaluated on the rest, where it goes on learning."""
    log = ListLog(make_events(2_000, seed=3))
    grid = expand({"kind": "epsilon_greedy", "epsilon": [0.05, 0.3, 0.9]})

    found = sweep(log, grid, split=0.6)

    assert list(grid) == ["epsilon=0.05", "epsilon=0.3", "epsilon=0.9"]
    assert found.winner in grid
    assert found.n_tried == 3
    assert found.compared.health.events == 1_200
    assert found.confirmed.health.events == 800
    assert set(found.confirmed.policies) == {"logged", "baseline1", "uniform", found.winner}
    values = {name: found.compared.policies[name].estimates["snips"].value for name in grid}
    assert found.winner == max(values, key=values.__getitem__)
    assert found.confirmed.settings["winner"] == found.winner


def test_a_sweep_can_choose_by_the_lower_end_of_the_lift() -> None:
    """Chosen by the lift's lower end, the winner is the one with the largest."""
    found = sweep(
        ListLog(make_events(500, seed=3)), {"second": _second, "uni": "{kind='uniform'}"}, choose_by="lift_lower"
    )

    lifts = {name: found.compared.policies[name].lift for name in ("second", "uni")}
    assert found.winner == max(lifts, key=lambda name: lifts[name].lower if lifts[name] is not None else 0.0)  # type: ignore[union-attr]


def test_a_sweep_without_any_estimate_has_no_winner() -> None:
    """Where the log can tell nothing of any candidate, none wins."""
    found = sweep(ListLog([]), {"second": _second})

    assert found.winner == ""
    assert "second" not in found.confirmed.policies


@pytest.mark.parametrize("split", [0.0, 1.0])
def test_a_sweep_needs_two_parts(split: float) -> None:
    """Both parts of the log must hold something."""
    with pytest.raises(InvalidLog):
        sweep(ListLog([]), {"second": _second}, split=split)


@pytest.mark.parametrize("policies", [{}, {f"p{i}": "uniform" for i in range(1_001)}])
def test_a_sweep_has_bounds(policies: dict[str, str]) -> None:
    """A sweep of nothing, or of more than a thousand, is refused."""
    with pytest.raises(InvalidLog):
        sweep(ListLog([]), policies)


def test_a_grid_without_alternatives_is_one_spec() -> None:
    """A table without lists is one candidate, called by its kind; too many combinations are refused."""
    assert expand({"kind": "uniform"}) == {"uniform": {"kind": "uniform"}}
    with pytest.raises(InvalidLog):
        expand({"kind": "uniform", "min_probability": []})
