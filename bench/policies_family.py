"""Every policy, with its default settings: what a decision, an outcome and a snapshot cost; and other libraries'."""

import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

import orjson

from bench.peers import LIBRARIES, Peer, is_installed, peers
from bench.policies_data import Shop, Stream
from bench.policies_timing import Cell, interleave, median_us
from policies import Outcome, Policy, parse_spec

__all__ = ["SPECS", "bench_family", "bench_memory", "bench_peers"]

SPECS: Mapping[str, Mapping[str, Any]] = {
    "vw": {"kind": "vw"},
    "epsilon_greedy": {"kind": "epsilon_greedy"},
    "epsilon_greedy linear": {"kind": "epsilon_greedy", "model": "linear"},
    "thompson": {"kind": "thompson"},
    "thompson gaussian": {"kind": "thompson", "model": "gaussian"},
    "thompson linear": {"kind": "thompson", "model": "linear"},
    "thompson logistic": {"kind": "thompson", "model": "logistic"},
    "ucb": {"kind": "ucb"},
    "ucb linear": {"kind": "ucb", "model": "linear"},
    "uniform": {"kind": "uniform"},
    "fixed": {"kind": "fixed"},
    "mixture": {"kind": "mixture", "policies": [{"kind": "thompson"}, {"kind": "epsilon_greedy"}]},
}
_SIZES = (10, 50, 200)
_SHOP_OUTCOMES = 1_000
_PEER_SIZES = (10, 50)
_PEER_WARM = 40  # outcomes per action
_PEER_KEPT = 200
_OURS_BESIDE_PEERS = (
    "thompson linear",
    "ucb linear",
    "epsilon_greedy linear",
    "vw",
    "thompson",
    "epsilon_greedy",
    "ucb",
)
_CELL_US = 20_000.0  # what a learner's decisions of one round may take, as far as it makes 3 to 30 of them
_CHILD_TIMEOUT_S = 120.0


def bench_family(*, rounds: int, quick: bool) -> dict[str, Any]:
    """Print the table and return the figures, by policy."""
    sizes = _SIZES[:2] if quick else _SIZES
    print("\nevery policy: µs a decision (one outcome learned before each; actions read before), µs an outcome,")
    print("and the whole state after 1,000 outcomes over 1,000 items")
    print(f"{'policy':<24}" + "".join(f"{f'decide {n}':>12}{f'learn {n}':>11}" for n in sizes), end="")
    print(f"{'dumps ms':>10}{'loads ms':>10}{'bytes':>11}  resumes")
    figures: dict[str, dict[str, Any]] = {name: {} for name in SPECS}
    for n_actions in sizes:
        shop = Shop(seed=n_actions)
        log = shop.outcomes(shop.known(_SHOP_OUTCOMES, n_actions=n_actions))
        policies = {name: _trained(spec, log) for name, spec in SPECS.items()}
        times = interleave(
            [cell for name, policy in policies.items() for cell in _cells(name, policy, log)], rounds=rounds
        )
        for name in SPECS:
            figures[name][f"us_decide_{n_actions}"] = round(median_us(times, f"{name} decide"), 1)
            figures[name][f"us_learn_{n_actions}"] = round(median_us(times, f"{name} learn"), 1)
        if n_actions == sizes[0]:
            for name, policy in policies.items():
                figures[name] |= _state(policy, SPECS[name], rounds=rounds)
    for name, each in figures.items():
        print(f"{name:<24}", end="")
        print("".join(f"{each[f'us_decide_{n}']:>12,}{each[f'us_learn_{n}']:>11,}" for n in sizes), end="")
        print(f"{each['dumps_ms']:>10}{each['loads_ms']:>10}{each['state_bytes']:>11,}  {each['resumable']}")
    return figures


def _trained(spec: Mapping[str, Any], log: list[Outcome]) -> Policy:
    policy = parse_spec(spec).build()
    for outcome in log:
        policy.learn(outcome)
    return policy


def _cells(name: str, policy: Policy, log: list[Outcome]) -> tuple[Cell, Cell]:
    return (
        Cell(
            f"{name} decide",
            lambda i: policy.probabilities(log[i + 1].context, log[i + 1].actions),
            20,
            before=lambda i: policy.learn(log[i]),
        ),
        Cell(f"{name} learn", lambda i: policy.learn(log[i]), 50),
    )


def _state(policy: Policy, spec: Mapping[str, Any], *, rounds: int) -> dict[str, Any]:
    state = policy.dumps()
    other = parse_spec(spec).build()
    times = interleave(
        [Cell("dumps", lambda _: policy.dumps(), 1), Cell("loads", lambda _: other.loads(state), 1)], rounds=rounds
    )
    return {
        "dumps_ms": round(median_us(times, "dumps") / 1e3, 2),
        "loads_ms": round(median_us(times, "loads") / 1e3, 2),
        "state_bytes": len(state),
        "resumable": policy.resumable,
    }


def bench_peers(*, rounds: int, quick: bool) -> dict[str, Any]:
    """Print the table and return the figures, by number of actions and learner."""
    missing = [library for library in LIBRARIES if not is_installed(library)]
    if missing:
        print(f"\nnot installed, so not in the table: {', '.join(missing)} (`make bench` installs them)")
    figures: dict[str, Any] = {}
    for n_actions in _PEER_SIZES[:1] if quick else _PEER_SIZES:
        n_warm = _PEER_WARM * n_actions
        stream = Stream(n_warm + _PEER_KEPT, n_actions=n_actions, seed=n_actions)
        entrants = [*(_ours(name, stream, n_warm=n_warm) for name in _OURS_BESIDE_PEERS), *peers(stream, n_warm=n_warm)]
        figures[str(n_actions)] = _race(entrants, n_actions, n_warm=n_warm, rounds=rounds)
    return figures


def _race(entrants: list[Peer], n_actions: int, *, n_warm: int, rounds: int) -> dict[str, Any]:
    def shifted(do: Any) -> Any:
        return lambda i: do(n_warm + i)

    cells = [
        cell
        for peer in entrants
        for cell in (
            Cell(f"{peer.name} decide", shifted(peer.decide), _calls(peer, n_warm), before=shifted(peer.update)),
            Cell(f"{peer.name} update", shifted(peer.update), 20),
        )
    ]
    times = interleave(cells, rounds=rounds)
    print(f"\nother libraries, {n_actions} actions, 20 context features, the same stream of outcomes")
    print(f"{'learner':<38}{'learns':<8}{'decide us':>11}{'update us':>11}  propensities")
    for peer in entrants:
        print(
            f"{peer.name:<38}{peer.model:<8}{median_us(times, f'{peer.name} decide'):>11,.1f}"
            f"{median_us(times, f'{peer.name} update'):>11,.1f}  {peer.propensities}"
        )
    return {
        peer.name: {
            "us_decide": round(median_us(times, f"{peer.name} decide"), 1),
            "us_update": round(median_us(times, f"{peer.name} update"), 1),
            "propensities": peer.propensities,
        }
        for peer in entrants
    }


def _calls(peer: Peer, i: int) -> int:
    started = time.perf_counter()
    peer.update(i)
    peer.decide(i)
    return int(min(max(_CELL_US / (time.perf_counter() - started) / 1e6, 3), 30))


def _ours(name: str, stream: Stream, *, n_warm: int) -> Peer:
    policy = parse_spec(SPECS[name]).build()
    for i in range(n_warm):
        policy.learn(stream.outcome(i))
    outcomes = {i: stream.outcome(i) for i in range(n_warm, len(stream))}
    return Peer(
        f"banditd {name}",
        "linear" if "linear" in name else "vw" if name == "vw" else "mean",
        "of all actions",
        lambda i: policy.probabilities(stream.contexts[i], stream.actions),
        lambda i: policy.learn(outcomes[i]),
    )


def bench_memory(*, quick: bool) -> dict[str, int]:
    """Print the table and return the bytes of a lane, by policy; each is measured in a process of its own."""
    print("\nmemory of a lane, bytes: growth of a fresh process by many copies")
    print(f"{'policy':<24}{'built':>12}{'after 200 outcomes':>20}{'copies':>8}")
    figures = {}
    for name, spec in SPECS.items():
        job = orjson.dumps({"spec": spec, "quick": quick}).decode()
        done = subprocess.run(
            [sys.executable, "-m", "bench.policies_memory", job],
            check=True,
            stdout=subprocess.PIPE,
            timeout=_CHILD_TIMEOUT_S,
        )
        answer = orjson.loads(done.stdout)
        print(f"{name:<24}{answer['built']:>12,}{answer['trained']:>20,}{answer['copies']:>8}")
        figures[name] = answer["trained"]
    return figures
