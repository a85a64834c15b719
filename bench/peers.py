"""Learners of other libraries, each asked and told what ours are: one decision, one outcome at a time.

The libraries are in the extra `bench` alone (`make bench`); what is not installed is left out and said so.
"""

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.policies_data import Stream

__all__ = ["LIBRARIES", "Peer", "is_installed", "mabwiser_lints", "peers"]

_NONE = "none"
_OF_CHOSEN = "of the chosen one"
_ONE = "1, whatever it drew"
_JOINT_ACTIONS = 10  # coba's linear learners hold one matrix over action × context: 1,051² numbers for 50 actions
_ALPHA = 1.0
_EPSILON = 0.1
LIBRARIES = ("mabwiser", "river", "bayesianbandits", "coba")


@dataclass(frozen=True, slots=True)
class Peer:
    """One learner, trained.

    Attributes
    ----------
    name
        Library and learner.
    model
        What it learns: ``"linear"`` in the context, ``"vw"``, or ``"mean"`` per action.
    propensities
        What it says about the probability of what it chose.
    decide, update
        Make a decision on context i of the stream; learn outcome i of the stream.
    """

    name: str
    model: str
    propensities: str
    decide: Callable[[int], object]
    update: Callable[[int], object]


def is_installed(library: str) -> bool:
    """Tell whether a library can be imported."""
    return importlib.util.find_spec(library) is not None


def peers(stream: Stream, *, n_warm: int) -> Iterator[Peer]:
    """Yield the learners of every library that is installed, trained on the first `n_warm` outcomes."""
    for library, make in (("river", _river), ("bayesianbandits", _bayesianbandits), ("coba", _coba)):
        for peer in make(stream) if is_installed(library) else ():
            for i in range(n_warm):
                peer.update(i)
            yield peer
    if is_installed("mabwiser"):
        yield from _mabwiser(stream, n_warm=n_warm)


def mabwiser_lints(stream: Stream, *, n_warm: int) -> Peer | None:
    """Return MABWiser's LinTS, trained on the first `n_warm` outcomes; None if it is not installed."""
    return next(_mabwiser(stream, n_warm=n_warm)) if is_installed("mabwiser") else None


def _module(name: str) -> Any:
    return importlib.import_module(name)


def _mabwiser(stream: Stream, *, n_warm: int) -> Iterator[Peer]:
    library = _module("mabwiser.mab")
    learners = library.LearningPolicy
    rows = [stream.vectors[i : i + 1] for i in range(len(stream))]
    chosen, rewards = stream.chosen.tolist(), stream.rewards.tolist()
    for name, learner, linear in (
        ("LinTS", learners.LinTS(alpha=_ALPHA), True),
        ("LinUCB", learners.LinUCB(alpha=_ALPHA), True),
        ("LinGreedy", learners.LinGreedy(epsilon=_EPSILON), True),
        ("EpsilonGreedy", learners.EpsilonGreedy(epsilon=_EPSILON), False),
        ("ThompsonSampling", learners.ThompsonSampling(), False),
    ):
        mab = library.MAB(list(range(len(stream.actions))), learner, seed=1)
        if linear:
            mab.fit(chosen[:n_warm], rewards[:n_warm], stream.vectors[:n_warm])
        else:
            mab.fit(chosen[:n_warm], rewards[:n_warm])
        yield _mabwiser_peer(name, mab, rows=rows if linear else None, chosen=chosen, rewards=rewards)


def _mabwiser_peer(name: str, mab: Any, *, rows: list[Any] | None, chosen: list[int], rewards: list[int]) -> Peer:
    if rows is None:
        return Peer(
            f"MABWiser {name}",
            "mean",
            _NONE,
            lambda _: mab.predict(),
            lambda i: mab.partial_fit([chosen[i]], [rewards[i]]),
        )
    return Peer(
        f"MABWiser {name}",
        "linear",
        _NONE,
        lambda i: mab.predict(rows[i]),
        lambda i: mab.partial_fit([chosen[i]], [rewards[i]], rows[i]),
    )


def _river(stream: Stream) -> Iterator[Peer]:
    bandit, proba, stats = _module("river.bandit"), _module("river.proba"), _module("river.stats")
    ids = list(range(len(stream.actions)))
    chosen, rewards = stream.chosen.tolist(), stream.rewards.tolist()
    objects = stream.objects
    linear = bandit.LinUCBDisjoint(alpha=_ALPHA, seed=1)
    yield Peer(
        "river LinUCBDisjoint",
        "linear",
        _NONE,
        lambda i: linear.pull(ids, context=objects[i]),
        lambda i: linear.update(chosen[i], objects[i], rewards[i]),
    )
    thompson = bandit.ThompsonSampling(reward_obj=proba.Beta(), seed=1)
    yield Peer(
        "river ThompsonSampling",
        "mean",
        _NONE,
        lambda _: thompson.pull(ids),
        lambda i: thompson.update(chosen[i], bool(rewards[i])),
    )
    greedy = bandit.EpsilonGreedy(epsilon=_EPSILON, seed=1, reward_obj=stats.Mean())
    yield Peer(
        "river EpsilonGreedy", "mean", _NONE, lambda _: greedy.pull(ids), lambda i: greedy.update(chosen[i], rewards[i])
    )


def _bayesianbandits(stream: Stream) -> Iterator[Peer]:
    library = _module("bayesianbandits")
    n_actions = len(stream.actions)
    rows = [stream.vectors[i : i + 1] for i in range(len(stream))]
    chosen, rewards = stream.chosen.tolist(), [np.array([float(each)]) for each in stream.rewards]
    for name, choice in (
        ("ThompsonSampling", library.ThompsonSampling()),
        ("UpperConfidenceBound", library.UpperConfidenceBound()),
    ):
        arms = [library.Arm(i, learner=library.NormalRegressor(alpha=1.0, beta=1.0)) for i in range(n_actions)]
        agent = library.ContextualAgent(arms, choice, random_seed=1)
        yield _bayesian_peer(name, agent, rows=rows, chosen=chosen, rewards=rewards)


def _bayesian_peer(name: str, agent: Any, *, rows: list[Any], chosen: list[int], rewards: list[Any]) -> Peer:
    return Peer(
        f"bayesianbandits {name}",
        "linear",
        _NONE,
        lambda i: agent.pull(rows[i]),
        lambda i: agent.select_for_update(chosen[i]).update(rows[i], rewards[i]),
    )


def _coba(stream: Stream) -> Iterator[Peer]:
    learners = _module("coba.learners")
    ids = [tuple(row) for row in np.eye(len(stream.actions)).tolist()]  # it knows an action by its features
    yield _coba_peer("VowpalEpsilon", learners.VowpalEpsilonLearner(epsilon=_EPSILON), stream, ids=ids)
    yield _coba_peer("VowpalSquarecb", learners.VowpalSquarecbLearner(), stream, ids=ids)
    if len(ids) <= _JOINT_ACTIONS:
        yield _coba_peer("LinUCB", learners.LinUCBLearner(alpha=_ALPHA), stream, ids=ids)
        yield _coba_peer("LinTS", learners.LinTSLearner(v=_ALPHA), stream, ids=ids)


def _coba_peer(name: str, learner: Any, stream: Stream, *, ids: list[tuple[float, ...]]) -> Peer:
    rows = [tuple(row) for row in stream.vectors.tolist()]
    chosen, rewards = [ids[each] for each in stream.chosen], [float(each) for each in stream.rewards]
    propensity = 1.0 / len(ids)
    is_vw = name.startswith("Vowpal")
    more = (ids,) if is_vw else ()
    return Peer(
        f"coba {name}",
        "vw" if is_vw else "linear",
        _ONE if name == "LinTS" else _OF_CHOSEN,
        lambda i: learner.predict(rows[i], ids),
        lambda i: learner.learn(rows[i], chosen[i], rewards[i], propensity, *more),
    )
