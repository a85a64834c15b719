"""The policy specs that every test of the policy contract runs, and outcomes to feed them."""

import random
from collections.abc import Iterator, Sequence
from typing import Any, cast

from policies import KINDS, Action, Context, Outcome, Policy, PolicySpec, parse_spec
from policies.spec import BaseSpec

SETTINGS: tuple[dict[str, Any], ...] = (
    *({"kind": kind} for kind in sorted(KINDS) if kind != "mixture"),  # which is nothing without policies
    {"kind": "epsilon_greedy", "epsilon": 0.3, "initial_reward": 0.5, "max_actions": 3},
    {"kind": "thompson", "prior_mean": 0.1, "prior_weight": 10.0, "max_actions": 3},
    {"kind": "thompson", "model": "gaussian", "prior_sd": 0.5},
    {"kind": "thompson", "model": "linear"},
    {"kind": "thompson", "model": "linear", "max_actions": 3, "max_features": 4, "discount": 0.99},
    {"kind": "thompson", "model": "linear", "shared": True, "seed": 7},
    {"kind": "thompson", "model": "logistic", "reward_range": [-1, 2]},
    {"kind": "thompson", "model": "logistic", "shared": True, "discount": 0.995},
    {"kind": "epsilon_greedy", "model": "linear", "prior_weight": 0.5},
    {"kind": "epsilon_greedy", "model": "linear", "shared": True, "initial_reward": 0.5},
    {"kind": "ucb", "model": "linear", "alpha": 0.5},
    {"kind": "ucb", "model": "linear", "shared": True, "max_features": 12},
    {"kind": "vw", "exploration": "epsilon"},
    {"kind": "vw", "exploration": "softmax"},
    {"kind": "vw", "exploration": "first", "n_first": 60},
    {"kind": "vw", "exploration": "bag", "greedify": True},
    {"kind": "vw", "exploration": "bag", "cb_type": "dr", "n_models": 3},
    {"kind": "vw", "exploration": "cover"},
    {"kind": "vw", "exploration": "cover", "cb_type": "ips", "n_models": 3, "psi": 1.0},
    {"kind": "vw", "exploration": "regcb"},
    {"kind": "vw", "exploration": "regcbopt"},
    {"kind": "vw", "exploration": "rnd", "bits": 20},
    {"kind": "vw", "exploration": "synthcover"},
    {"kind": "vw", "exploration": "epsilon", "cb_type": "dm"},
    {"kind": "vw", "learning_rate": 0.1, "power_t": 0.0},
    {"kind": "vw", "marginal": True, "bits": 12},
    {"kind": "vw", "options": "--coin --l2 1e-6"},
    {"kind": "vw", "options": "--nn 2"},
    {"kind": "mixture", "policies": [{"kind": "thompson"}, {"kind": "epsilon_greedy"}]},
    {"kind": "mixture", "policies": [{"kind": "vw"}, {"kind": "epsilon_greedy"}], "model": "corral", "weights": [3, 1]},
    {
        "kind": "mixture",
        "policies": [{"kind": "mixture", "policies": [{"kind": "epsilon_greedy"}]}, {"kind": "thompson", "window": 30}],
        "model": "corral",
        "min_probability": 0.001,
        "window": 50,
    },
    {"kind": "vw", "window": 50},
    {"kind": "thompson", "min_probability": 0.002},
    {"kind": "epsilon_greedy", "decay_after": 20.0, "least_epsilon": 0.02, "discount": 0.95},
    {"kind": "thompson", "discount": 0.98},
    {"kind": "thompson", "model": "gaussian", "discount": 0.995, "max_actions": 4},
    {"kind": "ucb", "reward_range": [-1.0, 2.0], "alpha": 0.5},
    {"kind": "ucb", "discount": 0.995, "min_probability": 0.0},
    {"kind": "fixed", "min_probability": 0.0},
)
NEVER_LEARN = ("fixed", "uniform")  # kinds that no outcome changes
POINT_MASSES = ("fixed", "ucb")  # kinds that give 0 to what they would not play, unless there is a floor


def label(settings: dict[str, Any]) -> str:
    """Return a readable test id."""
    return "-".join(_said(value) for value in settings.values())


def _said(value: Any) -> str:
    if isinstance(value, list):
        return "+".join(_said(item) for item in value)
    return f"({label(value)})" if isinstance(value, dict) else str(value)


SPECS: dict[str, PolicySpec] = {label(settings): parse_spec(settings) for settings in SETTINGS}


def learns(spec: PolicySpec) -> bool:
    """Return whether outcomes change anything."""
    return spec.kind not in NEVER_LEARN


def may_be_zero(spec: PolicySpec) -> bool:
    """Return whether a probability may be 0: that of a point mass to which the spec adds no floor."""
    return spec.kind in POINT_MASSES and cast("BaseSpec", spec).min_probability == 0.0


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
