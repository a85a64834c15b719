"""The `vw` policy against the library that it is made of, on the same requests.

The base is what the library itself needs for a request whose text is ready: parse it, predict, read the
probabilities, hand the examples back. No Python that could be left out is in it.
"""

from collections.abc import Sequence
from typing import Any

from vowpalwabbit import Example, Workspace

from bench.policies_data import Request, Shop
from bench.policies_timing import Cell, Times, interleave, median_us, ratio
from policies import Action, Context, Outcome, Policy, parse_spec
from policies.vw import VwSpec

__all__ = ["SIZES", "RawCalls", "bench_vw", "request_text"]

SIZES = (10, 50, 200)
_ACTIONS_LEARNED = 5_000  # that the outcomes both learned from hold, at least 100 outcomes
_ACTIONS_A_ROUND = 4_000  # that a cell predicts for
_LEAST_CALLS = 20


def bench_vw(*, rounds: int, numbers: str) -> dict[str, Any]:
    """Print the table for a setting of `numbers` and return the figures, by number of actions."""
    print(f"\nvw, numbers {numbers}: from objects to probabilities, µs, and ÷ VW's own parse + predict on ready text")
    print(f"{'actions':>7}{'VW':>8}{'fresh':>8}{'known':>8}{'encode':>8}{'public':>8}  {'fresh ÷ VW':<19}", end="")
    print(f"{'new ÷ VW':<19}{'known ÷ VW':<19}{'subset ÷ VW':<19}{'public ÷ VW':<19}wrapping ÷ VW")
    return {str(n_actions): _bench_size(n_actions, rounds=rounds, numbers=numbers) for n_actions in SIZES}


def _bench_size(n_actions: int, *, rounds: int, numbers: str) -> dict[str, Any]:
    n = max(_ACTIONS_A_ROUND // n_actions, _LEAST_CALLS)
    shop = Shop(seed=n_actions)
    spec = parse_spec({"kind": "vw", "numbers": numbers})
    if not isinstance(spec, VwSpec):
        raise TypeError("VwSpec is not what the kind vw stands for")
    policy, base = spec.build(), RawCalls(spec.arguments())
    for outcome in shop.outcomes(shop.fresh(max(_ACTIONS_LEARNED // n_actions, 100), n_actions=n_actions)):
        policy.learn(outcome)
        base.learn(outcome)

    fresh = shop.fresh(n, n_actions=n_actions)
    same = shop.known(n, n_actions=n_actions, same=True)
    subset = shop.known(n, n_actions=n_actions)
    texts = [request_text(*request.encoded()) for request in fresh]
    if base.predict(texts[0]) != base.workspace.predict(texts[0]):
        raise AssertionError("the raw calls and the public ones do not say the same")
    cells = [
        Cell("fresh", lambda i: policy.probabilities(*fresh[i].encoded()), n),
        Cell("encode", lambda i: fresh[i].encoded(), n),
        Cell("fresh_vw", lambda i: base.predict(texts[i]), n),
        Cell("public", lambda i: base.workspace.predict(texts[i]), n),
        Cell("wrapping", lambda i: base.wrap(texts[i]), n),
        *_known("same", same, policy=policy, base=base),
        *_known("subset", subset, policy=policy, base=base),
    ]
    new = _New(shop, n_actions)
    apart = [  # so many new actions would take the place of those that come again
        Cell("new", lambda _: policy.probabilities(*new.request.encoded()), n, before=lambda _: new.draw()),
        Cell("new_vw", lambda _: base.predict(new.text), n, before=lambda _: new.draw()),
    ]
    return _report(interleave(cells, rounds=rounds) | interleave(apart, rounds=rounds), n_actions)


class _New:
    """A request with features that nobody has seen before, and its text."""

    def __init__(self, shop: Shop, n_actions: int) -> None:
        self._shop = shop
        self._n_actions = n_actions
        self.draw()

    def draw(self) -> None:
        """Take another one; the text is written from a copy, so that reading the request is left to who is timed."""
        (self.request,) = self._shop.fresh(1, n_actions=self._n_actions)
        actions = [Action.of(action_id, {**features, "drawn": 1}) for action_id, features in self.request.actions]
        self.text = request_text(Context.of(self.request.context), actions).replace(" drawn:1", "")


def _known(name: str, requests: Sequence[Request], *, policy: Policy, base: "RawCalls") -> tuple[Cell, Cell]:
    """Return the cells of requests whose actions were read before: the context alone is encoded."""
    read = {action_id: Action.of(action_id, features) for each in requests for action_id, features in each.actions}
    actions = [[read[action_id] for action_id, _ in request.actions] for request in requests]
    texts = [request_text(*request.encoded()) for request in requests]
    return (
        Cell(name, lambda i: policy.probabilities(Context.of(requests[i].context), actions[i]), len(requests)),
        Cell(f"{name}_vw", lambda i: base.predict(texts[i]), len(requests)),
    )


def _report(times: Times, n_actions: int) -> dict[str, Any]:
    against = {
        "ratio_to_vw": ratio(times, "fresh", "fresh_vw"),
        "ratio_new": ratio(times, "new", "new_vw"),
        "ratio_cached": ratio(times, "same", "same_vw"),
        "ratio_catalogue_subsets": ratio(times, "subset", "subset_vw"),
        "ratio_public": ratio(times, "public", "fresh_vw"),
        "ratio_wrapping": ratio(times, "wrapping", "fresh_vw"),
    }
    spent = {
        "us_vw": median_us(times, "fresh_vw"),
        "us": median_us(times, "fresh"),
        "us_cached": median_us(times, "same"),
        "us_encode": median_us(times, "encode"),
        "us_public": median_us(times, "public"),
    }
    print(f"{n_actions:>7}" + "".join(f"{us:>8.1f}" for us in spent.values()), end="  ")
    print("".join(f"{each!s:<19}" for each in against.values()).rstrip())
    spent |= {"us_vw_cached": median_us(times, "same_vw"), "us_new": median_us(times, "new")}
    return {name: round(us, 2) for name, us in spent.items()} | {
        key: value
        for name, each in against.items()
        for key, value in ((name, round(each.median, 3)), (f"{name}_spread", [round(each.low, 3), round(each.high, 3)]))
    }


class RawCalls:
    """VW without anything around it, that learns from what the policy learns from."""

    def __init__(self, arguments: str) -> None:
        self.workspace: Any = Workspace(arguments)
        self._parse = self.workspace._parse  # noqa: SLF001 - the calls that cost least
        self._predict = self.workspace.predict_multi
        self._finish = self.workspace._finish_example_multi_ex  # noqa: SLF001 - the same

    def predict(self, text: str) -> list[float]:
        """Return the probabilities of the action lines of `text`."""
        examples = self._parse(text)
        self._predict(examples)
        scores: list[float] = examples[0].get_action_scores()
        self._finish(examples)
        return scores

    def learn(self, outcome: Outcome) -> None:
        """Learn from an outcome; the cost is its reward with the sign turned."""
        lines = request_text(outcome.context, outcome.actions).split("\n")
        lines[1 + outcome.chosen] = f"0:{-outcome.reward!r}:{outcome.propensity!r} {lines[1 + outcome.chosen]}"
        examples = self._parse("\n".join(lines))
        self.workspace.learn_multi(examples)
        self._finish(examples)

    def wrap(self, text: str) -> None:
        """Do what the public `predict` does beyond the raw calls: an `Example` around each line."""
        examples = self._parse(text)
        for example in examples:
            Example(self.workspace, example, None)
        self._finish(examples)


def request_text(context: Context, actions: Sequence[Action]) -> str:
    """Return a request as VW reads it."""
    return f"shared {context.line}\n" + "\n".join([action.line for action in actions])
