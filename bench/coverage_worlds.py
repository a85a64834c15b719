"""Worlds whose truth is known: logs drawn from them tell how often an interval holds, and what it costs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.protocol import FloatArray

__all__ = ["CASES", "Case", "Log", "World", "worlds"]


@dataclass(frozen=True, slots=True)
class Case:
    """A kind of log.

    Attributes
    ----------
    name
        As the table has it.
    logging
        "uniform", or "epsilon-greedy" with a least propensity of 0.025.
    n
        Rows of each log.
    click_rate
        Mean reward of all actions; None for rewards of any size.
    n_actions
        None for 2 to 10.
    """

    name: str
    logging: str
    n: int
    click_rate: float | None = None
    n_actions: int | None = None


CASES = (
    Case("uniform log", "uniform", 50),
    Case("uniform log", "uniform", 1_000),
    Case("epsilon-greedy log, least propensity 0.025", "epsilon-greedy", 200),
    Case("epsilon-greedy log, least propensity 0.025", "epsilon-greedy", 1_000),
    Case("34 actions, 0.3 % clicks", "uniform", 1_000, click_rate=0.003, n_actions=34),
    Case("34 actions, 0.3 % clicks", "uniform", 10_000, click_rate=0.003, n_actions=34),
)
_LEAST_PROPENSITY = 0.025


@dataclass(frozen=True, slots=True)
class Log:
    """One log: three columns of shape (n,)."""

    rewards: FloatArray
    propensities: FloatArray
    target: FloatArray


@dataclass(frozen=True, slots=True)
class World:
    """Contexts of a few kinds, what each action earns in each, and who logs and who is evaluated.

    Attributes
    ----------
    case
        Which kind of log it gives.
    name
        In words.
    shares
        Shape (contexts,), sum 1.
    means
        Shape (contexts, actions): mean rewards, from 0 to 1.
    logging, target
        Shape (contexts, actions): probabilities.
    concentration
        Of beta rewards; 0 for rewards of 0 or 1.
    """

    case: Case
    name: str
    shares: FloatArray
    means: FloatArray
    logging: FloatArray
    target: FloatArray
    concentration: float

    @property
    def value(self) -> float:
        """The target policy's mean reward."""
        return float(self.shares @ (self.target * self.means).sum(axis=1))

    @property
    def max_weight(self) -> float:
        """The largest importance weight that there can be."""
        return float((self.target / self.logging).max())

    def log(self, rng: np.random.Generator) -> Log:
        """Draw a log."""
        probabilities = (self.shares[:, None] * self.logging).ravel().cumsum()
        cells = np.searchsorted(probabilities, rng.random(self.case.n) * probabilities[-1], side="right")
        means = self.means.ravel()[cells]
        if self.concentration:
            rewards = rng.beta(means * self.concentration, (1.0 - means) * self.concentration)
        else:
            rewards = (rng.random(self.case.n) < means).astype(np.float64)
        return Log(rewards, self.logging.ravel()[cells], self.target.ravel()[cells])


def worlds(case: Case, n_worlds: int, seed: int) -> list[World]:
    """Return worlds of one case, all different: targets of every kind, binary and continuous rewards."""
    rng = np.random.default_rng([seed, case.n, len(case.name)])
    return [_world(case, rng) for _ in range(n_worlds)]


def _world(case: Case, rng: np.random.Generator) -> World:
    n_contexts, n_actions = int(rng.integers(1, 13)), case.n_actions or int(rng.integers(2, 11))
    shares = rng.dirichlet(np.full(n_contexts, 5.0))
    means = _means(case, (n_contexts, n_actions), rng)
    scores = rng.normal(size=means.shape) + rng.choice([0.0, 1.0, 2.0]) * (means - means.mean()) / (means.std() + 1e-9)
    kind = str(rng.choice(["greedy", "epsilon-greedy", "softmax"]))
    concentration = 0.0 if case.click_rate or rng.random() < 0.7 else float(rng.uniform(1.0, 6.0))
    if case.logging == "uniform":
        logging = np.full(means.shape, 1.0 / n_actions)
    else:
        logging = _explored(rng.normal(size=means.shape), _LEAST_PROPENSITY * n_actions)
    target = _target(kind, scores, rng)
    rewards = "continuous" if concentration else "binary"
    name = f"{n_actions} actions, {n_contexts} contexts, {kind} target, {rewards} rewards"
    return World(case, name, shares, means, logging, target, concentration)


def _means(case: Case, shape: tuple[int, int], rng: np.random.Generator) -> FloatArray:
    if case.click_rate:
        raw = rng.gamma(2.0, 0.5, size=shape)
        clicks: FloatArray = np.minimum(raw * (case.click_rate / raw.mean()), 0.5)
        return clicks
    mean, spread = rng.uniform(0.1, 0.9), rng.uniform(2.0, 8.0)
    means: FloatArray = rng.beta(mean * spread, (1.0 - mean) * spread, size=shape)
    return means


def _target(kind: str, scores: FloatArray, rng: np.random.Generator) -> FloatArray:
    if kind == "softmax":
        odds = np.exp(rng.uniform(0.5, 3.0) * (scores - scores.max(axis=1, keepdims=True)))
        softmax: FloatArray = odds / odds.sum(axis=1, keepdims=True)
        return softmax
    return _explored(scores, 0.0 if kind == "greedy" else float(rng.choice([0.1, 0.2, 0.3])))


def _explored(scores: FloatArray, epsilon: float) -> FloatArray:
    best: NDArray[np.intp] = scores.argmax(axis=1)
    n_actions = scores.shape[1]
    result: FloatArray = epsilon / n_actions + (1.0 - epsilon) * np.eye(n_actions)[best]
    return result
