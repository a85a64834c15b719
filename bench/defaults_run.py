"""Runs of one player: decision by decision on a problem, or by the replay method over a log of random decisions."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.defaults_data import Problem
from bench.defaults_policies import Player
from policies import Action, Context, FloatArray, Outcome
from replay import Matching

__all__ = ["Log", "play", "play_log"]


@dataclass(frozen=True, slots=True)
class Log:
    """Rows of a logger that chose evenly among `actions`: what it saw, the index it chose, and if it was clicked."""

    actions: Sequence[Action]
    contexts: Sequence[Context]
    chosen: Sequence[int]
    clicks: Sequence[int]


def play(player: Player, problem: Problem, *, n_rounds: int, seed: int, batch: int = 1) -> float:
    """Return the mean reward that the player could expect over the rounds, each before it learned from it.

    Expected, over what it might have drawn: that is known here, and says the same as the rewards it got, with less
    noise. The order of the rows, the draws and the noise of the rewards depend on the seed alone, so that all
    players of a seed meet the same luck.
    """
    rng = np.random.default_rng(seed)
    n_rows = len(problem.contexts)
    order = np.concatenate([rng.permutation(n_rows) for _ in range(-(-n_rounds // n_rows))])[:n_rounds]
    draws, luck = rng.random(n_rounds), rng.random(n_rounds)
    total = 0.0
    waiting: deque[Outcome] = deque()
    for i, row in enumerate(order.tolist()):
        context, actions, rewards = problem.contexts[row], problem.offered(row), problem.rewards[row]
        probabilities = player.probabilities(context, actions)
        total += float(probabilities @ rewards)
        chosen = _draw(probabilities, draws[i])
        reward = float(luck[i] < rewards[chosen]) if problem.noisy else float(rewards[chosen])
        waiting.append(Outcome(context, actions, chosen, float(probabilities[chosen]), reward))
        if len(waiting) == batch:
            while waiting:
                player.learn(waiting.popleft())
    return total / n_rounds


def play_log(player: Player, log: Log, *, seed: int, n_rows: int | None = None) -> Matching:
    """Return what the replay method makes of the log's rows in an order of the seed's.

    A row counts where the player draws what the logger chose; the player learns from those rows alone.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(log.contexts))[:n_rows]
    draws = rng.random(len(order))
    matching = Matching()
    for i, row in enumerate(order.tolist()):
        context = log.contexts[row]
        probabilities = player.probabilities(context, log.actions)
        chosen = _draw(probabilities, draws[i])
        matched = chosen == log.chosen[row]
        matching.add(matched=matched, reward=log.clicks[row])
        if matched:
            propensity = float(probabilities[chosen])
            player.learn(Outcome(context, log.actions, chosen, propensity, float(log.clicks[row])))
    return matching


def _draw(probabilities: FloatArray, uniform: float) -> int:
    edges = np.cumsum(probabilities)
    return min(int(np.searchsorted(edges, uniform * edges[-1], side="right")), len(edges) - 1)
