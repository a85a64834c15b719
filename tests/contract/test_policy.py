"""What every policy promises, whatever its kind: one suite for all of them."""

import dataclasses
import hashlib
import json
import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from policies import InvalidInput, Outcome, PolicySpec, StateInvalid, checked, parse_spec
from policies.state import seal, spec_bytes
from tests.contract.policies_under_test import (
    SETTINGS,
    SPECS,
    actions_of,
    contexts,
    folded,
    label,
    learns,
    may_be_zero,
    outcomes,
)

_IN_ANOTHER_PROCESS = """
import hashlib, json, sys
from policies import parse_spec
from tests.contract.policies_under_test import actions_of, contexts, folded, outcomes
digests = []
for settings in json.load(sys.stdin):
    policy = folded(parse_spec(settings), list(outcomes(120, seed=3)))
    vectors = b"".join(policy.probabilities(context, actions_of(5)).tobytes() for context in contexts())
    digests.append(hashlib.sha256(policy.dumps() + vectors).hexdigest())
print(json.dumps(digests))
"""

_BAD: dict[str, tuple[str, dict[str, Any]]] = {
    "propensity-0": ("propensity", {"propensity": 0.0}),
    "propensity-negative": ("propensity", {"propensity": -0.5}),
    "propensity-above-1": ("propensity", {"propensity": 1.0000001}),
    "propensity-nan": ("propensity", {"propensity": math.nan}),
    "chosen-too-large": ("chosen", {"chosen": 5}),
    "chosen-negative": ("chosen", {"chosen": -1}),
    "chosen-bool": ("chosen", {"chosen": True}),
    "reward-nan": ("reward", {"reward": math.nan}),
    "reward-inf": ("reward", {"reward": math.inf}),
    "reward-minus-inf": ("reward", {"reward": -math.inf}),
    "reward-huge": ("reward", {"reward": 1e300}),
    "propensity-text": ("propensity", {"propensity": "0.5"}),
    "reward-none": ("reward", {"reward": None}),
    "reward-float32": ("reward", {"reward": np.float32(0.5)}),
    "no-actions": ("actions", {"actions": []}),
}


def _resumes(spec: PolicySpec) -> bool:
    return spec.build().resumable


@pytest.fixture(params=list(SPECS), name="spec")
def _spec(request: pytest.FixtureRequest) -> PolicySpec:
    return SPECS[request.param]


@pytest.fixture(name="good")
def _good() -> Outcome:
    return Outcome(context=contexts()[0], actions=actions_of(5), chosen=2, propensity=0.2, reward=1.0)


@pytest.mark.parametrize("n_actions", [1, 2, 10, 200])
@pytest.mark.parametrize("n_outcomes", [0, 1, 150])
def test_probabilities_are_a_distribution(spec: PolicySpec, n_actions: int, n_outcomes: int) -> None:
    """Every vector has one finite number above 0 per action, 0 where the spec says so, and they sum to 1."""
    policy = folded(spec, list(outcomes(n_outcomes, seed=1)))

    vector = policy.probabilities(contexts()[0], actions_of(n_actions))

    assert vector.shape == (n_actions,)
    assert vector.dtype == np.float64
    assert np.isfinite(vector).all()
    assert vector.min() >= 0.0
    assert vector.min() > 0.0 or may_be_zero(spec)
    assert checked(vector.tolist(), n_actions)


@pytest.mark.parametrize("spec", [pytest.param(spec, id=name) for name, spec in SPECS.items() if spec.kind != "fixed"])
def test_before_any_outcome_all_actions_are_alike(spec: PolicySpec) -> None:
    """A policy that has learned nothing plays uniformly, unless it goes by the caller's order."""
    vector = spec.build().probabilities(contexts()[0], actions_of(7))

    assert vector == pytest.approx([1 / 7] * 7, abs=1e-6)


def test_no_actions_are_refused(spec: PolicySpec) -> None:
    """An empty list of actions is the caller's mistake and is named."""
    with pytest.raises(InvalidInput) as caught:
        spec.build().probabilities(contexts()[0], [])

    assert caught.value.field == "actions"


def test_every_process_learns_the_same() -> None:
    """The same outcomes give the same bytes and the same probabilities in another process."""
    here = []
    for settings in SETTINGS:
        policy = folded(parse_spec(settings), list(outcomes(120, seed=3)))
        vectors = b"".join(policy.probabilities(context, actions_of(5)).tobytes() for context in contexts())
        here.append(hashlib.sha256(policy.dumps() + vectors).hexdigest())

    there = subprocess.run(
        [sys.executable, "-c", _IN_ANOTHER_PROCESS],
        input=json.dumps(SETTINGS),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    digests = dict(zip(map(label, SETTINGS), json.loads(there.stdout), strict=True))
    assert digests == dict(zip(map(label, SETTINGS), here, strict=True))


def test_predicting_leaves_no_trace(spec: PolicySpec) -> None:
    """However many predictions come between the outcomes, state and probabilities end the same."""
    log = list(outcomes(60, seed=4))
    quiet = folded(spec, log)
    busy = spec.build()
    for i, outcome in enumerate(log):
        for n_actions in range(1, 2 + i % 4):
            busy.probabilities(outcome.context, actions_of(n_actions))
        busy.learn(outcome)

    before = busy.dumps()
    busy.probabilities(contexts()[1], actions_of(9))

    assert busy.dumps() == before == quiet.dumps()
    for context in contexts():
        expected = quiet.probabilities(context, actions_of(6))
        assert busy.probabilities(context, actions_of(6)).tobytes() == expected.tobytes()


def test_loading_brings_back_the_state(spec: PolicySpec) -> None:
    """A round trip through loads gives the same bytes, and loading replaces whatever was there."""
    state = folded(spec, list(outcomes(80, seed=5))).dumps()
    other = folded(spec, list(outcomes(30, seed=6)))
    other.probabilities(contexts()[0], actions_of(5))

    other.loads(state)

    assert other.dumps() == state


@pytest.mark.parametrize("cut", [0, 1, 37, 119, 120])
@pytest.mark.parametrize("spec", [pytest.param(spec, id=name) for name, spec in SPECS.items() if _resumes(spec)])
def test_snapshot_and_tail_are_the_whole_fold(spec: PolicySpec, cut: int) -> None:
    """A resumable policy that goes on from a state ends as if it had never stopped, bit for bit."""
    whole = folded(spec, list(outcomes(120, seed=7)))
    log = list(outcomes(120, seed=7))
    resumed = spec.build()
    resumed.loads(folded(spec, log[:cut]).dumps())

    for outcome in log[cut:]:
        resumed.learn(outcome)

    assert resumed.dumps() == whole.dumps()
    for context in contexts():
        expected = whole.probabilities(context, actions_of(8))
        assert resumed.probabilities(context, actions_of(8)).tobytes() == expected.tobytes()


def test_damaged_states_are_refused(spec: PolicySpec) -> None:
    """A state with any sampled byte flipped, or cut short anywhere, is refused and changes nothing."""
    state = folded(spec, list(outcomes(20, seed=8))).dumps()
    policy = folded(spec, list(outcomes(10, seed=9)))
    before = policy.dumps()
    places = sorted({*range(min(len(state), 60)), *range(60, len(state), max(1, len(state) // 97)), len(state) - 1})
    damaged = [state[:place] for place in places]
    damaged += [state[:place] + bytes([state[place] ^ 1 << place % 8]) + state[place + 1 :] for place in places]

    for one in [*damaged, state + b"\0"]:
        with pytest.raises(StateInvalid):
            policy.loads(one)

    assert policy.dumps() == before


def test_payloads_that_no_policy_wrote_are_refused(spec: PolicySpec) -> None:
    """A payload that is not ours is refused even in an envelope that is."""
    policy = spec.build()
    before = policy.dumps()

    for payload in (
        b"",
        b"\n",
        b"null",
        b"{}",
        b"\xff" * 40,
        b"[" * 5_000,
        b'[["a"]]',
        b'[["a","b","c","d"]]',
        b'[["a",1,1],["a",1,1]]',
        b"[0.0, NaN]\n[]",
        b"[0.0, 0.0]\n[[",
        b"[0.0, 0.0]\n[[1.0, 1.0, 1.0]]",
    ):
        with pytest.raises(StateInvalid):
            policy.loads(seal(spec, payload))

    assert policy.dumps() == before


def test_states_of_other_specs_are_refused(spec: PolicySpec) -> None:
    """A state is loaded by the spec that wrote it and by no other."""
    for other in SPECS.values():
        if other != spec:
            with pytest.raises(StateInvalid):
                spec.build().loads(other.build().dumps())


@pytest.mark.parametrize(("field", "change"), _BAD.values(), ids=_BAD)
def test_bad_outcomes_are_refused(spec: PolicySpec, good: Outcome, field: str, change: dict[str, Any]) -> None:
    """A bad outcome is refused by field, changes nothing, and the next good one is learned from if any is."""
    policy = folded(spec, list(outcomes(20, seed=10)))
    before = policy.dumps()

    with pytest.raises(InvalidInput) as caught:
        policy.learn(dataclasses.replace(good, **change))

    assert caught.value.field == field
    assert policy.dumps() == before
    policy.learn(good)
    assert (policy.dumps() != before) == learns(spec)


def test_the_reward_range_is_what_learn_takes(spec: PolicySpec, good: Outcome) -> None:
    """Both ends of `reward_range` are learned from, and the next number beyond either is refused."""
    low, high = spec.build().reward_range

    for reward in (low, high):
        spec.build().learn(dataclasses.replace(good, reward=reward))
    for reward in (math.nextafter(low, -math.inf), math.nextafter(high, math.inf)):
        with pytest.raises(InvalidInput) as caught:
            spec.build().learn(dataclasses.replace(good, reward=reward))
        assert caught.value.field == "reward"


@pytest.mark.parametrize("best", [0, 3])
@pytest.mark.parametrize("spec", [pytest.param(spec, id=name) for name, spec in SPECS.items() if learns(spec)])
def test_the_best_action_is_found(spec: PolicySpec, best: int) -> None:
    """After 2,000 outcomes of a world with one best action that action is the likeliest."""
    policy = folded(spec, list(outcomes(2_000, seed=11, best=best)))

    for context in contexts():
        assert int(policy.probabilities(context, actions_of(5)).argmax()) == best


def test_specs_come_back_from_their_own_bytes(spec: PolicySpec) -> None:
    """The canonical JSON of a spec describes that spec and names every setting."""
    settings = json.loads(spec_bytes(spec))

    assert parse_spec(settings) == spec
    assert set(settings) == {"kind", *(field.name for field in dataclasses.fields(type(spec)))}
