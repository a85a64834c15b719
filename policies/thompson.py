"""Thompson sampling without context, with the probabilities that it plays written down.

Each action has a posterior of its mean reward, and is played with the probability that its
mean is the largest: what drawing once from each posterior and taking the best would do
(Thompson 1933), except that the probability is computed (`policies.best`) and the draw is made
from it, so that the propensity in the log is exact.

The prior is worth `prior_weight` imagined outcomes:

``beta``
    Rewards scaled from `reward_range` to [0, 1]; Beta(s, f) of successes and failures, where a
    reward of 0.3 counts as 0.3 of a success and 0.7 of a failure. Computed for y = log(x / (1 - x)):
    the same order, and smooth at both ends for any s, f > 0.
``gaussian``
    Mean and variance unknown; normal-inverse-gamma. The mean's posterior is Student's t with
    prior_weight + n degrees of freedom (Murphy 2007, "Conjugate Bayesian analysis of the
    Gaussian distribution", section 3.3).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import numpy as np

from policies.best import Shape, best_probabilities
from policies.errors import InvalidInput
from policies.features import Action, Context
from policies.outcomes import check_actions, check_outcome
from policies.per_action import PerAction
from policies.protocol import REWARD_RANGE, FloatArray, Outcome, Policy
from policies.settings import check_max_actions, check_range
from policies.spec import BaseSpec
from policies.state import seal, unseal

__all__ = ["Thompson", "ThompsonSpec"]

_EXPLORED_ANYWAY = 1e-6  # share spread evenly, so that no logged propensity is 0 however sure the posteriors are
_CACHED_VECTORS = 256  # lists of ids whose probabilities are kept until the next lesson
_CACHED_POSTERIORS = 16_384  # actions; about 1 kB each
_TAIL_Z = 5.2  # a normal's upper tail beyond it is 1e-7, below what _EXPLORED_ANYWAY gives
_TAIL_LOG = 16.2  # the same for an exponential tail: -log 1e-7
_LEAST_PSEUDO_COUNT = 0.01
_LEAST_RELATIVE_SCALE = 1e-12  # of a posterior far from 0: float64 tells places apart no closer


@dataclass(frozen=True, slots=True)
class ThompsonSpec(BaseSpec):
    """Settings of `Thompson`.

    Parameters
    ----------
    model
        ``"beta"`` for clicks and other rewards within `reward_range`; ``"gaussian"`` for any.
    prior_mean
        Mean reward of an action before its first outcome. None: the middle of `reward_range` for
        ``"beta"``, which with the default weight is the uniform prior; 0 for ``"gaussian"``.
    prior_weight
        Number of imagined outcomes that the prior is worth; 1 to 1e6.
    prior_sd
        Standard deviation of those imagined rewards, for ``"gaussian"`` alone; None is 1.
    reward_range
        Least and largest reward that is accepted. None: 0 to 1 for ``"beta"``, ±1e9 for ``"gaussian"``.
    max_actions
        Ids whose posteriors are kept; 1 to 1,000,000.

    Raises
    ------
    InvalidInput
        A setting is out of its range, or does not apply to the model.
    """

    kind: ClassVar[str] = "thompson"

    model: str = "beta"
    prior_mean: float | None = None
    prior_weight: float = 2.0
    prior_sd: float | None = None
    reward_range: tuple[float, ...] | None = None
    max_actions: int = 10_000

    def __post_init__(self) -> None:
        """Check the ranges."""
        BaseSpec.__post_init__(self)  # super() does not find the class that slots=True made
        if self.model not in _MODELS:
            raise InvalidInput("unknown_choice", "model", f"must be one of {', '.join(_MODELS)}, not {self.model!r}")
        check_range("prior_weight", self.prior_weight, low=1.0, high=1e6)
        check_max_actions(self.max_actions)
        if self.reward_range is not None:
            self._check_reward_range(self.reward_range)
        _MODELS[self.model].of(self)

    def make(self) -> "Thompson":
        """Make the policy, as it is before any outcome."""
        return Thompson(self)

    @staticmethod
    def _check_reward_range(ends: tuple[float, ...]) -> None:
        if len(ends) != 2:  # noqa: PLR2004 - two ends
            raise InvalidInput("setting_out_of_range", "reward_range", "must be two numbers: [low, high]")
        for end in ends:
            check_range("reward_range", end, low=REWARD_RANGE[0], high=REWARD_RANGE[1])
        if not ends[0] < ends[1]:
            raise InvalidInput("setting_out_of_range", "reward_range", "must have its low end below its high end")


class _Posterior(NamedTuple):
    """What the density of one action needs: its shape and its two or three constants."""

    shape: Shape
    constants: tuple[float, float, float]


class _Model(Protocol):
    """How rewards become statistics, and statistics a posterior."""

    @property
    def reward_range(self) -> tuple[float, float]: ...

    @property
    def unseen(self) -> tuple[float, ...]: ...

    @classmethod
    def of(cls, spec: ThompsonSpec) -> "_Model": ...

    def learned(self, statistics: tuple[float, ...], reward: float) -> tuple[float, ...]: ...

    def posterior(self, statistics: tuple[float, ...]) -> _Posterior: ...

    def density(self, constants: FloatArray, points: FloatArray) -> FloatArray: ...


class Thompson:
    """Plays every action with the probability that its mean is the largest."""

    __slots__ = ("_model", "_posteriors", "_spec", "_statistics", "_unseen", "_vectors", "reward_range")

    resumable = True

    def __init__(self, spec: ThompsonSpec) -> None:
        self._spec = spec
        self._model = _MODELS[spec.model].of(spec)
        self.reward_range = self._model.reward_range
        self._statistics = PerAction(width=len(self._model.unseen), max_actions=spec.max_actions)
        self._unseen = self._model.posterior(self._model.unseen)
        self._posteriors: dict[str, _Posterior] = {}
        self._vectors: dict[tuple[str, ...], FloatArray] = {}

    def probabilities(self, context: Context, actions: Sequence[Action]) -> FloatArray:  # noqa: ARG002 - context-free
        """Return what would be played now: shape (n_actions,), not to be written to."""
        check_actions(actions)
        ids = tuple([action.id for action in actions])
        vector = self._vectors.get(ids)
        if vector is None:
            vector = self._computed(ids)
            vector.flags.writeable = False
            if len(self._vectors) >= _CACHED_VECTORS:
                self._vectors.clear()
            self._vectors[ids] = vector
        return vector

    def learn(self, outcome: Outcome) -> None:
        """Take the reward into the posterior of the chosen action.

        The propensity plays no part: what an action paid says the same about it however likely
        it was to be chosen.
        """
        check_outcome(outcome, self.reward_range)
        chosen = outcome.actions[outcome.chosen].id
        before = self._statistics.values.get(chosen, self._model.unseen)
        forgotten = self._statistics.put(chosen, self._model.learned(before, outcome.reward))
        self._vectors.clear()
        self._posteriors.pop(chosen, None)
        if forgotten is not None:
            self._posteriors.pop(forgotten, None)

    def adopt(self, parent: Policy) -> None:
        """Start from what a policy of the same spec has learned."""
        if not isinstance(parent, Thompson):
            raise TypeError("the parent is of another spec")
        self._statistics.loads(parent._statistics.dumps())  # noqa: SLF001 - of the same class

    def dumps(self) -> bytes:
        """Return the whole state."""
        return seal(self._spec, self._statistics.dumps())

    def loads(self, state: bytes) -> None:
        """Replace the state."""
        self._statistics.loads(unseal(self._spec, state))
        self._vectors.clear()
        self._posteriors.clear()

    def _computed(self, ids: tuple[str, ...]) -> FloatArray:
        statistics = self._statistics.values
        posteriors = [self._posterior(action_id) for action_id in ids if action_id in statistics]
        n_seen = len(posteriors)
        n_actions = len(ids)
        counts = [1] * n_seen
        if n_seen < n_actions:
            posteriors.append(self._unseen)
            counts.append(n_actions - n_seen)

        constants = np.array([posterior.constants for posterior in posteriors]).T[:, :, None]
        chances = best_probabilities(
            [posterior.shape for posterior in posteriors],
            counts,
            lambda which, points: self._model.density(constants[:, which], points),
        )
        chances *= 1.0 - _EXPLORED_ANYWAY
        chances += _EXPLORED_ANYWAY / n_actions
        if n_seen == n_actions:
            return chances
        each = iter(chances)
        return np.array([next(each) if action_id in statistics else chances[-1] for action_id in ids])

    def _posterior(self, action_id: str) -> _Posterior:
        posterior = self._posteriors.get(action_id)
        if posterior is None:
            posterior = self._model.posterior(self._statistics.values[action_id])
            if len(self._posteriors) >= _CACHED_POSTERIORS:
                self._posteriors.clear()
            self._posteriors[action_id] = posterior
        return posterior


@dataclass(frozen=True, slots=True)
class _Beta:
    """Statistics: sums of the successes and of the failures."""

    reward_range: tuple[float, float]
    prior: tuple[float, float]
    unseen: tuple[float, ...] = (0.0, 0.0)

    @classmethod
    def of(cls, spec: ThompsonSpec) -> "_Beta":
        if spec.prior_sd is not None:
            raise InvalidInput("setting_does_not_apply", "prior_sd", "applies to model 'gaussian' alone")
        low, high = spec.reward_range or (0.0, 1.0)
        mean = (low + high) / 2 if spec.prior_mean is None else spec.prior_mean
        share = (mean - low) / (high - low)
        successes, failures = share * spec.prior_weight, (1.0 - share) * spec.prior_weight
        if not min(successes, failures) >= _LEAST_PSEUDO_COUNT:
            raise InvalidInput(
                "setting_out_of_range",
                "prior_mean",
                f"must lie inside reward_range, {low:g} to {high:g}, by {_LEAST_PSEUDO_COUNT:g} of an outcome or more",
            )
        return cls((low, high), (successes, failures))

    def learned(self, statistics: tuple[float, ...], reward: float) -> tuple[float, ...]:
        low, high = self.reward_range
        success = (reward - low) / (high - low)
        return statistics[0] + success, statistics[1] + (1.0 - success)

    def posterior(self, statistics: tuple[float, ...]) -> _Posterior:
        a = self.prior[0] + statistics[0]
        b = self.prior[1] + statistics[1]
        # Below one pseudo-count the mode wanders out into an exponential tail; the bend of the density does not.
        middle = math.log(max(a, 1.0) / max(b, 1.0))
        deviation = math.sqrt(1.0 / max(a, 1.0) + 1.0 / max(b, 1.0))
        reach = _TAIL_Z * deviation
        shape = Shape.of(
            middle, min(deviation, 1.0), low=middle - reach - _TAIL_LOG / a, high=middle + reach + _TAIL_LOG / b
        )
        peak = a * math.log(a / (a + b)) + b * math.log(b / (a + b))
        return _Posterior(shape, (a, a + b, peak))

    def density(self, constants: FloatArray, points: FloatArray) -> FloatArray:
        a, total, peak = constants
        result: FloatArray = a * points
        result -= total * np.logaddexp(0.0, points)
        result -= peak
        np.exp(result, out=result)
        return result


@dataclass(frozen=True, slots=True)
class _Gaussian:
    """Statistics: number, mean, and sum of squared deviations of the rewards (Welford)."""

    reward_range: tuple[float, float]
    prior_mean: float
    prior_weight: float
    prior_sd: float
    unseen: tuple[float, ...] = (0.0, 0.0, 0.0)

    @classmethod
    def of(cls, spec: ThompsonSpec) -> "_Gaussian":
        low, high = spec.reward_range or REWARD_RANGE
        mean = 0.0 if spec.prior_mean is None else spec.prior_mean
        sd = 1.0 if spec.prior_sd is None else spec.prior_sd
        check_range("prior_mean", mean, low=low, high=high)
        check_range("prior_sd", sd, low=1e-9, high=REWARD_RANGE[1])
        return cls((low, high), mean, spec.prior_weight, sd)

    def learned(self, statistics: tuple[float, ...], reward: float) -> tuple[float, ...]:
        n, mean, squares = statistics
        deviation = reward - mean
        n += 1.0
        mean += deviation / n
        return n, mean, squares + deviation * (reward - mean)

    def posterior(self, statistics: tuple[float, ...]) -> _Posterior:
        n, mean, squares = statistics
        weight = self.prior_weight
        total = weight + n  # degrees of freedom too: the prior is a sample of `weight` rewards
        middle = (weight * self.prior_mean + n * mean) / total
        spread = weight * self.prior_sd**2 + squares + weight * n / total * (mean - self.prior_mean) ** 2
        scale = max(math.sqrt(spread) / total, abs(middle) * _LEAST_RELATIVE_SCALE)
        reach = scale * _t_reach(total)
        return _Posterior(
            Shape.of(middle, scale, low=middle - reach, high=middle + reach),
            (middle, 1.0 / (scale * math.sqrt(total)), -(total + 1.0) / 2.0),
        )

    def density(self, constants: FloatArray, points: FloatArray) -> FloatArray:
        middle, factor, power = constants
        result: FloatArray = points - middle
        result *= factor
        result *= result
        np.log1p(result, out=result)
        result *= power
        np.exp(result, out=result)
        return result


def _t_reach(degrees: float) -> float:
    """Return where the tail of Student's t falls to 1e-7 or less (Wallace 1959, his first bound inverted)."""
    factor = (8.0 * degrees + 3.0) / (8.0 * degrees + 1.0)
    return math.sqrt(degrees * math.expm1(_TAIL_Z**2 / degrees * factor**2))


_MODELS: Mapping[str, type[_Model]] = {"beta": _Beta, "gaussian": _Gaussian}
