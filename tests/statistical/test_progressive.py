"""Values of policies that learn: right on average, where the tempting short cuts are not."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from policies import parse_spec
from policies.protocol import FloatArray, Outcome
from replay import evaluate, sweep
from replay.block import places_of
from replay.events import LoggedEvent
from tests.replay_worlds import ACTIONS, KINDS, PAYS, ListLog, make_events

SPEC = {"kind": "epsilon_greedy", "epsilon": 0.1}
SIGNIFICANT = 5.0  # standard errors: one false alarm in 1.7 million


@dataclass
class Walk:
    """A policy's way along one log: what it is really worth, and what two ways to score it say."""

    truth: float
    after: float


def _walk(events: Sequence[LoggedEvent]) -> Walk:
    policy = parse_spec(SPEC).build()
    truth = after = 0.0
    for event in events:
        (place,) = places_of(event)
        pays = PAYS[KINDS.index(str(event.context["kind"]))]
        truth += float(policy.probabilities(place.context, place.actions) @ pays)
        propensity = event.slots[0].propensity
        policy.learn(Outcome(place.context, place.actions, place.chosen, propensity, event.reward))
        after += float(policy.probabilities(place.context, place.actions)[place.chosen]) / propensity * event.reward
    return Walk(truth / len(events), after / len(events))


def _z(differences: Sequence[float]) -> float:
    return float(np.mean(differences) / (np.std(differences, ddof=1) / math.sqrt(len(differences))))


@pytest.mark.parametrize("skew", [0.0, 0.7], ids=["uniform", "skewed"])
def test_scoring_before_the_update_is_right_and_after_it_is_too_good(skew: float) -> None:
    """Over many short logs the progressive value is that of the policies played; after the update it is above it."""
    ours, after = [], []
    for seed in range(90):
        events = make_events(120, seed=seed, skew=skew)
        walk = _walk(events)
        found = evaluate(ListLog(events), {"new": SPEC}, estimators=["ips"])
        ours.append(found.policies["new"].estimates["ips"].value - walk.truth)
        after.append(walk.after - walk.truth)

    assert abs(_z(ours)) < SIGNIFICANT
    assert _z(after) > SIGNIFICANT


def test_doubly_robust_values_of_learning_policies_are_right() -> None:
    """With a reward model that is fitted on the past alone the doubly robust value is right on average, too."""
    differences = []
    for seed in range(60):
        events = make_events(200, seed=1_000 + seed, skew=0.7)
        found = evaluate(ListLog(events), {"new": SPEC}, estimators=["dr"], reward_model="means")
        differences.append(found.policies["new"].estimates["dr"].value - _walk(events).truth)

    assert abs(_z(differences)) < SIGNIFICANT


def test_deployed_is_what_a_deployment_earns() -> None:
    """Accepted events are as if the policy had chosen itself: their mean is that of as many real decisions."""
    accepted, real = [], []
    random = np.random.default_rng(1)
    for seed in range(80):
        found = evaluate(
            ListLog(make_events(240, seed=2_000 + seed, skew=0.3)), {"new": SPEC}, question="deployed", seed=seed
        )
        estimate = found.policies["new"].estimates["rejection"]
        accepted.append(estimate.value * estimate.n)
        real.append(_deployment(estimate.n, random))

    assert abs(_z([one - other for one, other in zip(accepted, real, strict=True)])) < SIGNIFICANT


def _deployment(n: int, random: np.random.Generator) -> float:
    """Return what a policy earns in n decisions of its own, each learned before the next."""
    policy = parse_spec(SPEC).build()
    total = 0.0
    for event in make_events(n, seed=int(random.integers(1 << 30))):
        (place,) = places_of(event)
        vector = policy.probabilities(place.context, place.actions)
        chosen = int(random.choice(len(ACTIONS), p=vector / vector.sum()))
        reward = float(random.random() < PAYS[KINDS.index(str(event.context["kind"])), chosen])
        policy.learn(Outcome(place.context, place.actions, chosen, float(vector[chosen]), reward))
        total += reward
    return total


def _even(seed: int) -> list[LoggedEvent]:
    """Return a log in whose world nothing matters: everything pays half of the time."""
    from dataclasses import replace  # noqa: PLC0415 - of this one helper

    random = np.random.default_rng(seed)
    return [replace(event, reward=float(random.random() < 0.5)) for event in make_events(200, seed=seed)]


def _player(number: int) -> Callable[[LoggedEvent], FloatArray]:
    def play(event: LoggedEvent) -> FloatArray:
        chosen = (number * 7 + int(event.event_id[1:]) * (number + 1)) % len(ACTIONS)
        vector: FloatArray = np.eye(len(ACTIONS))[chosen]
        return vector

    return play


def test_the_winner_of_a_sweep_is_confirmed_without_its_luck() -> None:
    """Of candidates that are all alike the winner looks too good where it was chosen, and right on the rest."""
    candidates = {f"p{number}": _player(number) for number in range(20)}
    compared, confirmed = [], []
    for seed in range(25):
        found = sweep(ListLog(_even(3_000 + seed)), candidates, estimators=["ips"], split=0.5)
        compared.append(found.compared.policies[found.winner].estimates["ips"].value - 0.5)
        confirmed.append(found.confirmed.policies[found.winner].estimates["ips"].value - 0.5)

    assert _z(compared) > SIGNIFICANT
    assert abs(_z(confirmed)) < SIGNIFICANT
