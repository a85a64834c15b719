"""Thompson sampling with its propensities, against the draw that others stop at: `rng.beta`, and MABWiser's LinTS."""

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.peers import mabwiser_lints
from bench.policies_data import Stream
from bench.policies_timing import Cell, Times, interleave, median_us, ratio
from policies import Action, Context, Outcome, parse_spec

__all__ = ["bench_beta", "bench_linear"]

_BETA_SIZES = (10, 50, 200)
_LINEAR_SIZES = (10, 50)
_RATES = (0.02, 0.2)  # of clicks: the worst and the best action's
_EARLY, _LATE = 2, 100  # outcomes per action: nearly all are still alive; most are settled
_REFRESH = 20  # outcomes that one decision is drawn from while the state is made; when timed, each has its own
_LINEAR_WARM = 40  # outcomes per action
_UPDATES = 400  # outcomes kept for updates that are timed


def bench_beta(*, rounds: int) -> dict[str, Any]:
    """Print the table and return the figures, by number of actions."""
    print("\nbeta Thompson: all propensities, µs, one outcome learned before each; ÷ rng.beta of as many actions")
    print(f"{'actions':>7}  {'outcomes':<9}{'us':>8}{'unchanged':>11}{'rng.beta':>10}  ÷ rng.beta")
    return {str(size): _bench_beta_size(size, rounds=rounds) for size in _BETA_SIZES}


def _bench_beta_size(n_actions: int, *, rounds: int) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for name, per_action in (("early", _EARLY), ("", _LATE)):
        times = interleave(_beta_cells(n_actions, n_outcomes=per_action * n_actions), rounds=rounds)
        each = ratio(times, "after an outcome", "rng.beta")
        key = f"{name}_" if name else ""
        figures |= {
            f"{key}us": round(median_us(times, "after an outcome"), 1),
            f"{key}times_rng_beta": round(each.median, 1),
            f"{key}times_rng_beta_spread": [round(each.low, 1), round(each.high, 1)],
            f"{key}us_unchanged": round(median_us(times, "unchanged"), 2),
            f"{key}us_rng_beta": round(median_us(times, "rng.beta"), 2),
        }
        print(
            f"{n_actions:>7}  {per_action * n_actions:<9,}{figures[f'{key}us']:>8}{figures[f'{key}us_unchanged']:>11}"
            f"{figures[f'{key}us_rng_beta']:>10}  {each}"
        )
    return figures


def _beta_cells(n_actions: int, *, n_outcomes: int) -> list[Cell]:
    arms = _Arms(n_actions)
    for number in range(n_outcomes):
        if number % _REFRESH == 0:
            arms.decide()
        arms.play()
    state, successes, failures = arms.policy.dumps(), arms.successes.copy(), arms.failures.copy()
    still = parse_spec({"kind": "thompson"}).build()
    still.loads(state)
    still.probabilities(arms.context, arms.actions)

    def next_outcome(i: int) -> None:
        if i == 0:  # each round begins where the last one did, so that "early" stays early
            arms.policy.loads(state)
            arms.decide()
        arms.play()

    return [
        Cell("after an outcome", lambda _: arms.decide(), max(1_000 // n_actions, 20), before=next_outcome),
        Cell("unchanged", lambda _: still.probabilities(arms.context, arms.actions), 2_000),
        Cell("rng.beta", lambda _: arms.rng.beta(1.0 + successes, 1.0 + failures), 500),
    ]


class _Arms:
    """Beta Thompson that plays arms with rates of its own making."""

    def __init__(self, n_actions: int) -> None:
        self.rng = np.random.default_rng(n_actions)
        self.rates = np.sort(self.rng.uniform(*_RATES, size=n_actions))
        self.policy = parse_spec({"kind": "thompson"}).build()
        self.context = Context.of({})
        self.actions = [Action.of(f"a{i}") for i in range(n_actions)]
        self.successes = np.zeros(n_actions)
        self.failures = np.zeros(n_actions)
        self.vector = np.full(n_actions, 1.0 / n_actions)

    def decide(self) -> None:
        self.vector = self.policy.probabilities(self.context, self.actions)

    def play(self) -> None:
        """Draw an action from the last decision and learn what it paid."""
        total = self.vector.cumsum()
        chosen = min(int(np.searchsorted(total, self.rng.random() * total[-1], side="right")), len(total) - 1)
        reward = float(self.rng.random() < self.rates[chosen])
        self.policy.learn(Outcome(self.context, self.actions, chosen, float(self.vector[chosen]), reward))
        self.successes[chosen] += reward
        self.failures[chosen] += 1.0 - reward


def bench_linear(*, rounds: int) -> dict[str, Any]:
    """Print the table and return the figures, by number of actions; none without MABWiser."""
    print(
        "\nlinear Thompson, 20 context features, an outcome learned before each decision: µs, and how many times faster"
    )
    figures: dict[str, Any] = {}
    for n_actions in _LINEAR_SIZES:
        stream = Stream(_LINEAR_WARM * n_actions + _UPDATES, n_actions=n_actions, seed=n_actions)
        cells = _linear_cells(stream, n_warm=_LINEAR_WARM * n_actions)
        if cells is None:
            print("  MABWiser is not installed: `make bench` installs it")
            return {}
        figures[str(n_actions)] = _report_linear(interleave(cells, rounds=rounds), n_actions)
    least = {key: min(each[key] for each in figures.values()) for key in _CLAIMED}
    return figures | {key: round(value, 1) for key, value in least.items()}


_CLAIMED = ("times_mabwiser_decide", "times_mabwiser_update")


def _linear_cells(stream: Stream, *, n_warm: int) -> list[Cell] | None:
    peer = mabwiser_lints(stream, n_warm=n_warm)
    if peer is None:
        return None
    policy = parse_spec({"kind": "thompson", "model": "linear"}).build()
    for i in range(n_warm):
        policy.learn(stream.outcome(i))
    outcomes = [stream.outcome(i) for i in range(n_warm, len(stream))]
    contexts, objects, actions = stream.contexts, stream.objects, stream.actions
    learn = _in_turn(lambda i: policy.learn(outcomes[i]), len(outcomes))
    relearn = _in_turn(lambda i: peer.update(n_warm + i), len(outcomes))
    return [
        Cell("decide", lambda i: policy.probabilities(contexts[i], actions), 30, before=learn),
        Cell("decide_object", lambda i: policy.probabilities(Context.of(objects[i]), actions), 30, before=learn),
        Cell("decide_mabwiser", peer.decide, 30, before=relearn),
        Cell("quiet", lambda i: policy.probabilities(contexts[i], actions), 100),
        Cell("quiet_mabwiser", peer.decide, 30),
        Cell("update", learn, 100),
        Cell("update_mabwiser", relearn, 20),
    ]


def _in_turn(do: Callable[[int], object], n: int) -> Callable[[int], None]:
    """Return a call that goes through 0 to n − 1 and begins again, whatever it is given."""
    place = -1

    def step(_: int) -> None:
        nonlocal place
        place = (place + 1) % n
        do(place)

    return step


def _report_linear(times: Times, n_actions: int) -> dict[str, Any]:
    figures: dict[str, Any] = {f"us_{name}": round(median_us(times, name), 1) for name in times}
    for name, ours, theirs in (
        ("decide", "decide", "decide_mabwiser"),
        ("decide_from_object", "decide_object", "decide_mabwiser"),
        ("decide_quiet", "quiet", "quiet_mabwiser"),
        ("update", "update", "update_mabwiser"),
    ):
        each = ratio(times, theirs, ours)
        figures[f"times_mabwiser_{name}"] = round(each.median, 2)
        figures[f"times_mabwiser_{name}_spread"] = [round(each.low, 2), round(each.high, 2)]
        us, mabwiser_us = median_us(times, ours), median_us(times, theirs)
        print(f"{n_actions:>7} actions  {name:<20}{us:>8.1f}   MABWiser {mabwiser_us:>8.1f}   {each}")
    return figures
