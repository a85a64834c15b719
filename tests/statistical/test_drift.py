"""A reward that flips half way: with a discount or a window every family finds the new best action, and in time.

The best of three actions becomes the worst and the worst the best. Each run plays what its policy says, learns ten
outcomes at a time, as a server with delayed rewards does, and is measured by the mean probability of the new best
action in the last hundred outcomes before the limit.

With the fixed seeds every share below is at least six standard errors of its mean away from what it is held to, so
that with other seeds one of these tests would fail less than once in a million times.
"""

import random
from typing import Any, Final

import numpy as np
import pytest

from policies import Action, Context, FloatArray, Outcome, draw, parse_spec

RATES: Final = ((0.8, 0.4, 0.2), (0.2, 0.4, 0.8))
ACTIONS: Final = [Action.of(f"a{i}") for i in range(3)]
NOW: Final = Context.of({"hour": 3})
N_RUNS: Final = 16
BATCH: Final = 10
TAIL: Final = 100
RECOVERED: Final = 0.6  # share of the new best action
APART: Final = 0.25  # by which forgetting is ahead of not forgetting

WINDOW: Final = {"window": 100}
# Settings, what makes them forget, outcomes before the flip, and outcomes after it within which they recover.
FAMILIES: dict[str, tuple[dict[str, Any], dict[str, Any], int, int]] = {
    "epsilon_greedy, window": ({"kind": "epsilon_greedy"}, WINDOW, 2_000, 400),
    "epsilon_greedy, discount": ({"kind": "epsilon_greedy"}, {"discount": 0.9}, 2_000, 400),
    "epsilon_greedy linear, window": ({"kind": "epsilon_greedy", "model": "linear"}, WINDOW, 2_000, 400),
    "epsilon_greedy linear, discount": ({"kind": "epsilon_greedy", "model": "linear"}, {"discount": 0.98}, 2_000, 400),
    "thompson beta, window": ({"kind": "thompson"}, WINDOW, 2_000, 400),
    "thompson beta, discount": ({"kind": "thompson"}, {"discount": 0.98}, 2_000, 400),
    "thompson gaussian, window": ({"kind": "thompson", "model": "gaussian"}, WINDOW, 2_000, 400),
    "thompson gaussian, discount": ({"kind": "thompson", "model": "gaussian"}, {"discount": 0.98}, 2_000, 400),
    "thompson linear, window": ({"kind": "thompson", "model": "linear"}, WINDOW, 2_000, 400),
    "thompson linear, discount": ({"kind": "thompson", "model": "linear"}, {"discount": 0.98}, 2_000, 400),
    "thompson logistic, window": ({"kind": "thompson", "model": "logistic"}, WINDOW, 2_000, 400),
    "thompson logistic, discount": ({"kind": "thompson", "model": "logistic"}, {"discount": 0.98}, 2_000, 400),
    "ucb ucb1, window": ({"kind": "ucb", "alpha": 0.5}, WINDOW, 4_000, 400),
    "ucb ucb1, discount": ({"kind": "ucb", "alpha": 0.5}, {"discount": 0.98}, 4_000, 400),
    "ucb linear, window": ({"kind": "ucb", "model": "linear"}, WINDOW, 2_000, 400),
    "ucb linear, discount": ({"kind": "ucb", "model": "linear"}, {"discount": 0.98}, 2_000, 400),
    "vw, window": ({"kind": "vw"}, WINDOW, 4_000, 300),
    "mixture, window": (
        {"kind": "mixture", "policies": [{"kind": "thompson"}, {"kind": "epsilon_greedy"}]},
        WINDOW,
        2_000,
        400,
    ),
}
# A policy that does not forget, and a mixture of it with one that does, weighed by what they earn.
STEADY: Final = {"kind": "thompson"}
LEARNED: Final = {
    "kind": "mixture",
    "model": "corral",
    "min_weight": 0.05,
    "policies": [STEADY, {**STEADY, **WINDOW}],
}


def shares(settings: dict[str, Any], *, before: int, after: int) -> FloatArray:
    """Return, per run, the mean probability of the new best action at the end."""
    return np.array([_share(settings, seed=seed, before=before, after=after) for seed in range(N_RUNS)])


def _share(settings: dict[str, Any], *, seed: int, before: int, after: int) -> float:
    source = random.Random(seed)  # noqa: S311 - makes a test's data, no secret
    policy = parse_spec(settings).build()
    played: list[float] = []
    vector: list[float] = []
    for i in range(before + after):
        if i % BATCH == 0:
            vector = policy.probabilities(NOW, ACTIONS).tolist()
        chosen = draw(vector, source.random())
        reward = float(source.random() < RATES[i >= before][chosen])
        policy.learn(Outcome(NOW, ACTIONS, chosen, vector[chosen], reward))
        played.append(vector[2])
    return float(np.mean(played[-TAIL:]))


@pytest.mark.parametrize("name", FAMILIES)
def test_what_forgets_recovers_and_what_does_not_is_slower(name: str) -> None:
    """Within the outcomes stated the new best action is played most, and clearly more than without forgetting."""
    settings, forgetting, before, after = FAMILIES[name]

    steady = shares(settings, before=before, after=after)
    forgetful = shares({**settings, **forgetting}, before=before, after=after)

    assert forgetful.mean() >= RECOVERED
    assert (forgetful - steady).mean() >= APART


def test_learned_weights_turn_to_the_policy_that_forgets() -> None:
    """A mixture of a policy with a window and one without plays what the first does soon after the flip."""
    steady = shares(STEADY, before=1_000, after=400)
    learned = shares(LEARNED, before=1_000, after=400)

    assert learned.mean() >= RECOVERED
    assert (learned - steady).mean() >= APART
