"""The policy specs that every test of the policy contract runs, and outcomes to feed them."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

from policies import KINDS, Action, Context, Outcome, Policy, PolicySpec, parse_spec

SETTINGS: tuple[dict[str, Any], ...] = (
    *({"kind": kind} for kind in sorted(KINDS)),
    {"kind": "epsilon_greedy", "epsilon": 0.3, "initial_reward": 0.5, "max_actions": 3},
    {"kind": "thompson", "prior_mean": 0.1, "prior_weight": 10.0, "max_actions": 3},
    {"kind": "thompson", "model": "gaussian", "prior_sd": 0.5},
    {"kind": "vw", "exploration": "epsilon"},
    {"kind": "vw", "exploration": "softmax"},
)


def label(settings: dict[str, Any]) -> str:
    """Return a readable test id."""
    return "-".join(str(value) for value in settings.values())


SPECS: dict[str, PolicySpec] = {label(settings): parse_spec(settings) for settings in SETTINGS}


def actions_of(n_actions: int) -> list[Action]:
    """Return `n_actions` options with a feature each."""
    return [Action.of(f"a{i}", {"price": i / 10, "kind": "even" if i % 2 == 0 else "odd"}) for i in range(n_actions)]


def contexts() -> list[Context]:
    """Return a few moments that differ."""
    return [Context.of({"hour": hour, "user": {"plan": plan}}) for hour in (1, 12) for plan in ("free", "paid")]


def outcomes(n: int, *, seed: int, n_actions: int = 5, best: int | None = None) -> Iterator[Outcome]:
    """Yield outcomes of a uniform logging policy over changing sets of actions; rewards are 0 or 1.

    Action `best` pays in 80 of 100 cases, the others in 20; without one each pays in 50.
    """
    source = random.Random(seed)  # noqa: S311 - makes a test's data, no secret
    catalogue = actions_of(n_actions)
    moments = contexts()
    for _ in range(n):
        eligible = catalogue if best is not None else source.sample(catalogue, source.randint(2, n_actions))
        chosen = source.randrange(len(eligible))
        chance = 0.5 if best is None else 0.8 if eligible[chosen].id == f"a{best}" else 0.2
        yield Outcome(
            context=source.choice(moments),
            actions=eligible,
            chosen=chosen,
            propensity=1 / len(eligible),
            reward=float(source.random() < chance),
        )


def folded(spec: PolicySpec, log: Sequence[Outcome]) -> Policy:
    """Return a new policy that has learned the whole log."""
    policy = spec.build()
    for outcome in log:
        policy.learn(outcome)
    return policy
