"""Actions that have features and no id."""

import random
from typing import Any

import pytest

from policies import Action, Context, Outcome, parse_spec

NOW = Context.of({"hour": 3})
LIKED = {"kind": "hat", "price": 1.0}
OTHERS = [{"kind": kind, "price": price} for kind, price in (("coat", 3.0), ("shoe", 2.0), ("sock", 0.5))]


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "vw"},
        {"kind": "vw", "marginal": True},
        {"kind": "thompson", "model": "linear", "shared": True},
        {"kind": "ucb", "model": "linear", "shared": True},
        {"kind": "epsilon_greedy", "model": "linear", "shared": True},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_they_are_known_by_their_features_wherever_they_stand(settings: dict[str, Any]) -> None:
    """A policy of features finds the one that pays although its place changes from one decision to the next."""
    policy = parse_spec(settings).build()
    source = random.Random(4)  # noqa: S311 - makes a test's data, no secret
    for _ in range(600):
        offered = source.sample([LIKED, *OTHERS], 4)
        actions = [Action.unnamed(place, features) for place, features in enumerate(offered)]
        chosen = source.randrange(4)
        reward = float(source.random() < (0.8 if offered[chosen] is LIKED else 0.1))
        policy.learn(Outcome(NOW, actions, chosen, 0.25, reward))

    for place in range(4):
        offered = [*OTHERS[:place], LIKED, *OTHERS[place:]]
        vector = policy.probabilities(NOW, [Action.unnamed(i, features) for i, features in enumerate(offered)])
        assert int(vector.argmax()) == place
