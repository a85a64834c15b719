"""The fold of a candidate along a log: what it has learned when it is asked."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from policies.errors import InvalidInput
from policies.features import Action, Context
from policies.protocol import REWARD_RANGE, FloatArray, Outcome, Policy
from replay.block import Block, block_of, places_of
from replay.candidates import PolicyRecipe, parse_candidate
from replay.events import LoggedAction, LoggedEvent, LoggedSlot
from replay.progressive import Fold, Lanes
from replay.rejection import Rejection
from tests.replay_worlds import make_events


class Recorder:
    """A policy that plays evenly and remembers what it was asked and taught, in order."""

    resumable = True
    reward_range = REWARD_RANGE

    def __init__(self, diary: list[str], *, answer: FloatArray | None = None) -> None:
        self.diary = diary
        self.answer = answer
        self.seen: list[tuple[Context, Sequence[Action]]] = []
        self.learned: list[Outcome] = []

    def probabilities(self, context: Context, actions: Sequence[Action]) -> FloatArray:
        """Note the question, and play evenly."""
        self.diary.append(f"ask {context.data['n']}")
        self.seen.append((context, actions))
        return np.full(len(actions), 1.0 / len(actions)) if self.answer is None else self.answer

    def learn(self, outcome: Outcome) -> None:
        """Note the lesson; refuse what pays more than 1."""
        if outcome.reward > 1.0:
            raise InvalidInput("reward_out_of_range", "reward", "is too large")
        self.diary.append(f"learn {outcome.context.data['n']}")
        self.learned.append(outcome)

    def adopt(self, parent: Policy) -> None:
        """Fail: a fold never asks for it."""
        raise AssertionError(f"a fold never adopts, not {parent} either")

    def dumps(self) -> bytes:
        """Fail: a fold never asks for it."""
        raise AssertionError("a fold never saves")

    def loads(self, state: bytes) -> None:
        """Fail: a fold never asks for it."""
        raise AssertionError(f"a fold never loads, not {state!r} either")


def _event(n: int, *, at: float = math.nan, reward_at: float = math.nan, **more: Any) -> LoggedEvent:
    slot = LoggedSlot(eligible=[0, 1], chosen=1, propensity=0.5, reward=1.0)
    event = LoggedEvent(f"e{n}", {"n": n}, [LoggedAction("a"), LoggedAction("b")], [slot], 1.0, at, reward_at)
    return replace(event, **more)


def _block(*events: LoggedEvent) -> Block:
    return block_of(events, places=[places_of(event) for event in events])


def _fold(answer: FloatArray | None = None) -> tuple[Fold, Recorder]:
    policy = Recorder([], answer=answer)
    return Fold(Lanes(lambda: policy)), policy


def test_a_decision_is_asked_before_it_is_learned() -> None:
    """Without times each outcome is learned after its own decision and before the next."""
    fold, policy = _fold()

    fold.play(_block(_event(0), _event(1), _event(2)))

    assert policy.diary == ["ask 0", "learn 0", "ask 1", "learn 1", "ask 2"]


def test_blocks_do_not_matter() -> None:
    """The fold goes on from block to block as if there were none."""
    fold, policy = _fold()

    for n in range(3):
        fold.play(_block(_event(n)))

    assert policy.diary == ["ask 0", "learn 0", "ask 1", "learn 1", "ask 2"]


def test_a_reward_is_learned_when_it_was_known() -> None:
    """An outcome waits until a decision comes that is no earlier than its reward; then those that wait go in order."""
    fold, policy = _fold()

    fold.play(
        _block(
            _event(0, at=0.0, reward_at=25.0),
            _event(1, at=10.0, reward_at=20.0),
            _event(2, at=20.0, reward_at=21.0),
            _event(3, at=30.0, reward_at=99.0),
        )
    )

    assert policy.diary == ["ask 0", "ask 1", "learn 1", "ask 2", "learn 2", "learn 0", "ask 3"]


def test_a_log_that_is_out_of_order_never_goes_back_in_time() -> None:
    """A decision with an earlier time than the one before it does not make known rewards unknown."""
    fold, policy = _fold()

    fold.play(_block(_event(0, at=50.0, reward_at=55.0), _event(1, at=60.0, reward_at=60.0), _event(2, at=10.0)))

    assert policy.diary == ["ask 0", "learn 0", "ask 1", "learn 1", "ask 2"]


def test_an_event_that_is_not_to_be_learned_from_is_asked_all_the_same() -> None:
    """`learn=False` counts and teaches nothing."""
    fold, policy = _fold()

    fold.play(_block(_event(0, learn=False), _event(1)))

    assert policy.diary == ["ask 0", "ask 1"]


def test_what_a_policy_refuses_is_counted_and_told() -> None:
    """An outcome that a policy will not take is counted, and the fold goes on."""
    fold, policy = _fold()

    fold.play(_block(_event(0, reward=7.0), _event(1), _event(2)))

    assert (fold.n_refused, fold.n_learned) == (1, 1)
    assert "too large" in fold.refusal
    assert policy.diary == ["ask 0", "ask 1", "learn 1", "ask 2"]


def test_a_frozen_fold_learns_no_more() -> None:
    """Freezing learns what was known by then, and forgets what was still open."""
    fold, policy = _fold()
    fold.play(_block(_event(0, at=0.0, reward_at=5.0), _event(1, at=5.0, reward_at=50.0)))

    fold.freeze()
    fold.play(_block(_event(2, at=60.0), _event(3, at=70.0)))

    assert policy.diary == ["ask 0", "learn 0", "ask 1", "ask 2", "ask 3"]


def test_each_segment_has_its_own_policy_if_asked_for() -> None:
    """With lanes apart a segment's policy sees that segment's events alone."""
    made: list[Recorder] = []

    def make() -> Policy:
        made.append(Recorder([]))
        return made[-1]

    fold = Fold(Lanes(make, apart=True))
    fold.play(_block(_event(0, segment="a"), _event(1, segment="b"), _event(2, segment="a"), _event(3, segment="b")))

    assert [policy.diary for policy in made] == [
        ["ask 0", "learn 0", "ask 2", "learn 2"],
        ["ask 1", "learn 1", "ask 3"],
    ]


def test_slots_are_filled_one_after_another_as_logged() -> None:
    """A policy sees each slot's features and the actions left, and learns each slot's own reward."""
    fold, policy = _fold()
    slots = [
        LoggedSlot(eligible=[0, 1, 2], chosen=2, propensity=0.5, reward=1.0, id="top", features={"wide": True}),
        LoggedSlot(eligible=[0, 1], chosen=0, propensity=0.25, reward=0.5, id="side"),
    ]
    actions = [LoggedAction(name) for name in "abc"]
    event = LoggedEvent("e", {"n": 0}, actions, slots, 1.5)

    played, _ = fold.play(_block(event))
    fold.settle(0.0)

    assert [len(vector) for vector in played] == [3, 2]
    assert [[action.id for action in options] for _, options in policy.seen] == [["a", "b", "c"], ["a", "b"]]
    assert "top" in policy.seen[0][0].line
    assert "wide" in policy.seen[0][0].line
    assert [(one.chosen, one.propensity, one.reward) for one in policy.learned] == [(2, 0.5, 1.0), (0, 0.25, 0.5)]


def test_a_reward_of_the_whole_decision_teaches_every_slot() -> None:
    """Where the log knows no reward of a slot, each slot learns that of the decision."""
    fold, policy = _fold()
    slots = [LoggedSlot(eligible=[0, 1], chosen=1, propensity=0.5, reward=math.nan)] * 2
    event = LoggedEvent("e", {"n": 0}, [LoggedAction("a"), LoggedAction("b")], slots, 0.75)

    fold.play(_block(event))
    fold.settle(0.0)

    assert [one.reward for one in policy.learned] == [0.75, 0.75]


def test_rejection_teaches_what_it_accepts_alone() -> None:
    """A policy that is deployed by rejection learns from the accepted events and no others."""
    fold, policy = _fold()
    rejection = Rejection(0.5, seed=3)
    rejection.start(50)

    _, accepted = fold.play(_block(*(_event(n) for n in range(50))), rejection=rejection)
    fold.settle(math.inf)
    fold.settle(0.0)

    assert accepted is not None
    assert rejection.n_accepted == sum(accepted)
    assert 10 < sum(accepted) < 40
    assert [one.context.data["n"] for one in policy.learned] == [n for n in range(50) if accepted[n]]


@pytest.mark.parametrize("answer", [[0.7, 0.7], [1.0], [1.5, -0.5], [math.nan, 1.0]])
def test_an_answer_that_is_no_distribution_is_the_policys_fault(answer: list[float]) -> None:
    """A policy whose answer is no distribution stops the evaluation."""
    fold, _ = _fold(np.array(answer))

    with pytest.raises(ArithmeticError):
        fold.play(_block(_event(0)))


def test_refused_outcomes_are_a_finding() -> None:
    """A candidate that refused outcomes says so, seriously if they were many."""
    recipe = parse_candidate({"kind": "thompson", "model": "beta"})
    candidate = recipe.build()
    events = [replace(event, reward=7.0) for event in make_events(20, seed=1)]

    candidate.play(_block(*events))
    findings = candidate.findings()

    assert [(one.code, one.serious) for one in findings] == [("outcomes_refused", True)]
    assert isinstance(recipe, PolicyRecipe)
