"""What a model of rewards must say of itself for Thompson sampling per action (`policies.independent`)."""

import math
from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol

from policies.shapes import Constants, Densities, Posterior, Shape

__all__ = ["ADOPTED", "Adopted", "Component", "Model", "Numbers", "mixed", "single"]

ADOPTED: Final = 20.0  # outcomes of one action that a parent's word counts for at most
_LOG_INFORMED: Final = math.log(0.8)  # how likely what a parent says of an action is held to be at first
_LOG_BASE: Final = math.log(0.2)  # and that the action is as any other
_LEAST_LOG_SHARE: Final = math.log(1e-9)  # of a mixture: a component with less cannot win what is worth computing

Numbers = tuple[float, ...]


class Component(NamedTuple):
    """One posterior of one action.

    Attributes
    ----------
    shape
        Where it lives.
    constants
        What the density needs; the last one is a logarithm that is added to that of the density.
    log_evidence
        Logarithm of how likely the prior made the rewards that came, up to a number that only depends on them.
    """

    shape: Shape
    constants: Constants
    log_evidence: float


class Adopted(NamedTuple):
    """Priors that come from what a parent learned.

    Attributes
    ----------
    base
        Of an action that the parent never learned from, and the cautious part of every other one's.
    informed
        The other part, per action id.
    """

    base: Numbers
    informed: Mapping[str, Numbers]


class Model(Densities, Protocol):
    """How rewards become statistics, and statistics a posterior; a prior is a tuple of numbers."""

    @property
    def reward_range(self) -> tuple[float, float]:
        """The least and the largest reward."""

    @property
    def prior(self) -> Numbers:
        """The prior of every action, as the settings have it."""

    @property
    def unseen(self) -> Numbers:
        """Statistics of no outcome."""

    def learned(self, statistics: Numbers, reward: float) -> Numbers:
        """Return the statistics with one more outcome."""

    def faded(self, statistics: Numbers, share: float) -> Numbers:
        """Return the statistics of the same outcomes, each of them counted as `share` of one."""

    def component(self, prior: Numbers, statistics: Numbers) -> Component:
        """Return the posterior."""

    def adopted(self, statistics: Mapping[str, Numbers]) -> Adopted:
        """Return the priors that a parent's statistics, of one action or more, make for a child."""


def single(component: Component) -> Posterior:
    """Return the posterior under one prior."""
    return Posterior(component.shape, (component.constants,))


def mixed(base: Component, informed: Component) -> Posterior:
    """Return the posterior under two priors, the second of which is held to be four times as likely at first.

    Four times, since in simulations of 30 actions whose log-odds differ between parent and child by a standard
    deviation of 0 to 2, or have nothing in common, an even start lost more in seven of nine cases, and nine times as
    likely was too slow where parent and child differ much.
    """
    weights = [_LOG_BASE + base.log_evidence, _LOG_INFORMED + informed.log_evidence]
    most = max(weights)
    log_total = most + math.log(math.fsum([math.exp(weight - most) for weight in weights]))
    first, second = [_times(part, w - log_total) for part, w in zip((base, informed), weights, strict=True)]
    if weights[0] - log_total < _LEAST_LOG_SHARE:
        return Posterior(informed.shape, (second,))
    if weights[1] - log_total < _LEAST_LOG_SHARE:
        return Posterior(base.shape, (first,))
    return Posterior(base.shape.joined(informed.shape), (first, second))


def _times(component: Component, log_weight: float) -> Constants:
    return (*component.constants[:-1], component.constants[-1] + log_weight)
