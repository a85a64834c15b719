"""The floor under the probabilities and the window on what is remembered, by hand and for every kind."""

import dataclasses
from typing import Any, cast

import pytest

from policies import Outcome, Policy, PolicySpec, StateInvalid, parse_spec
from policies.state import seal, unseal
from policies.wrapped import _HEAD
from tests.contract.policies_under_test import SPECS, actions_of, contexts, folded, outcomes

PLAIN = {name: spec for name, spec in SPECS.items() if cast("Any", spec).window is None}
WINDOW = 12


def changed(spec: PolicySpec, **settings: Any) -> PolicySpec:
    """Return the spec with other settings."""
    return cast("PolicySpec", dataclasses.replace(cast("Any", spec), **settings))


def vectors(policy: Policy, n_actions: int = 6) -> bytes:
    """Return what a policy plays in a few contexts."""
    return b"".join(policy.probabilities(context, actions_of(n_actions)).tobytes() for context in contexts())


def rewarded(reward: float, *, chosen: int = 0, n_actions: int = 4) -> Outcome:
    """Return an outcome of one of `n_actions` actions."""
    return Outcome(contexts()[0], actions_of(n_actions), chosen, 1 / n_actions, reward)


@pytest.mark.parametrize(
    ("floor", "expected"),
    [
        pytest.param(0.0, [0.925, 0.025, 0.025, 0.025], id="none"),
        pytest.param(0.05, [0.79, 0.07, 0.07, 0.07], id="0.8 of what is played, and 0.05"),
        pytest.param(0.25, [0.25, 0.25, 0.25, 0.25], id="even"),
        pytest.param(0.3, [0.25, 0.25, 0.25, 0.25], id="more than there is for each"),
        pytest.param(1.0, [0.25, 0.25, 0.25, 0.25], id="all of it"),
    ],
)
def test_the_floor_is_what_it_is_by_hand(floor: float, expected: list[float]) -> None:
    """Epsilon-greedy with 0.1 plays 0.925 and three times 0.025; the floor goes on top of that in proportion."""
    spec = parse_spec({"kind": "epsilon_greedy", "initial_reward": 0.0, "min_probability": floor})

    vector = folded(spec, [rewarded(1.0)]).probabilities(contexts()[0], actions_of(4))

    assert vector == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("floor", [1e-6, 0.02, 0.1, 1 / 3, 0.9])
@pytest.mark.parametrize("n_actions", [1, 2, 3, 7, 10, 50])
def test_no_action_is_below_the_floor(floor: float, n_actions: int) -> None:
    """Every action has the floor or an even share, whichever is less, and not a rounding error less."""
    spec = parse_spec({"kind": "epsilon_greedy", "epsilon": 1e-6, "initial_reward": 0.0, "min_probability": floor})

    vector = folded(spec, [rewarded(1.0)]).probabilities(contexts()[0], actions_of(n_actions))

    assert vector.min() >= min(floor, 1 / n_actions)
    assert vector.sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("spec", PLAIN.values(), ids=PLAIN)
def test_every_kind_takes_a_floor(spec: PolicySpec) -> None:
    """With a floor any policy learns the same, and plays the floor and the rest in proportion to what it would."""
    log = list(outcomes(80, seed=21))
    low, high = (folded(changed(spec, min_probability=floor), log) for floor in (0.0, 0.03))

    for context in contexts():
        played = low.probabilities(context, actions_of(6))
        expected = played * (1 - 6 * 0.03) + 0.03
        assert high.probabilities(context, actions_of(6)) == pytest.approx(expected, abs=1e-12)
    assert high.reward_range == low.reward_range
    assert high.resumable == low.resumable


@pytest.mark.parametrize("spec", PLAIN.values(), ids=PLAIN)
def test_every_kind_takes_a_window(spec: PolicySpec) -> None:
    """With a window of 12, after n outcomes any policy plays as one that has learned those after `since` alone."""
    log = list(outcomes(37, seed=22))
    whole = changed(spec, window=None)
    windowed = changed(spec, window=WINDOW).build()
    since = {0: 0, 11: 0, 23: 0, 24: 12, 35: 12, 37: 24}

    for n in range(38):
        if n in since:
            assert vectors(windowed) == vectors(folded(whole, log[since[n] : n]))
        if n < 37:
            windowed.learn(log[n])


def test_a_window_forgets_by_hand() -> None:
    """The mean of one action, rewards 1, 2, 3, …, with a window of 3: of all, then of the last 3 to 5."""
    policy = parse_spec({"kind": "epsilon_greedy", "initial_reward": 5.5, "epsilon": 0.1, "window": 3}).build()
    above = []

    for reward in range(1, 13):
        policy.learn(rewarded(float(reward), n_actions=2))
        above.append(bool(policy.probabilities(contexts()[0], actions_of(2))[0] > 0.5))

    # Means: 1, 1.5, 2, 2.5, 3, then of 4 to 6 = 5, 4 to 7 = 5.5, 4 to 8 = 6, of 7 to 9 = 8, …; 5.5 is a tie.
    assert above == [False] * 7 + [True] * 5


@pytest.mark.parametrize("spec", PLAIN.values(), ids=PLAIN)
def test_a_child_forgets_its_parent_after_two_windows(spec: PolicySpec) -> None:
    """A windowed child starts as the policy inside would, and after 24 outcomes of its own nothing of that is left."""
    windowed = changed(spec, window=WINDOW, min_probability=0.01)
    parent = folded(windowed, list(outcomes(10, seed=23, best=1)))
    whole = changed(spec, window=None, min_probability=0.01)
    child, inner = windowed.build(), whole.build()
    log = list(outcomes(24, seed=24))

    child.adopt(parent)
    inner.adopt(folded(whole, list(outcomes(10, seed=23, best=1))))
    at_first = vectors(child), vectors(inner)
    for outcome in log:
        child.learn(outcome)

    assert at_first[0] == at_first[1]
    assert vectors(child) == vectors(folded(windowed, log))


@pytest.mark.parametrize("setting", [{"window": 5}, {"min_probability": 0.1}])
def test_parents_of_another_spec_are_refused(setting: dict[str, Any]) -> None:
    """What has no window or floor is no parent of what has one."""
    with pytest.raises(TypeError, match="of another spec"):
        parse_spec({"kind": "epsilon_greedy", **setting}).build().adopt(parse_spec({"kind": "epsilon_greedy"}).build())


def test_windowed_states_that_cannot_be_are_refused() -> None:
    """A state with a policy too many or too few, or none, or damage inside, is refused and changes nothing."""
    spec = parse_spec({"kind": "epsilon_greedy", "window": 5})
    policy = folded(spec, list(outcomes(3, seed=25)))
    before = policy.dumps()
    payload = unseal(spec, folded(spec, list(outcomes(7, seed=25))).dumps())
    n, size = _HEAD.unpack_from(payload)
    both = payload[_HEAD.size :]

    for bad in (
        payload[: _HEAD.size - 1],
        _HEAD.pack(4, size) + both,
        _HEAD.pack(n, size) + both[:size],
        _HEAD.pack(n, len(both) + 1) + both,
        _HEAD.pack(n, size) + both[:size] + both[size:-1],
        _HEAD.pack(n, size - 1) + both,
    ):
        with pytest.raises(StateInvalid):
            policy.loads(seal(spec, bad))

    assert policy.dumps() == before
