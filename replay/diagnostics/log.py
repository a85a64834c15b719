"""What a log looks like, whoever is evaluated on it: counted as rows stream by."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from policies.protocol import FloatArray
from replay.diagnostics.duplicates import Duplicates
from replay.diagnostics.shares import ActionShares
from replay.moments import Moments

__all__ = ["LogCounts"]

_SUM_SLACK = 1e-3  # what decimal digits may do to the sum of some hundred probabilities


@dataclass(slots=True, kw_only=True)
class LogCounts:
    """Running counts over the rows of a log; those of shards add up.

    Attributes
    ----------
    rewards
        Moments of the reward, one column.
    first_at, last_at, reward_min, reward_max, propensity_min
        Extremes; inf, −inf before the first row.
    certain
        Rows that were chosen with probability 1.
    distributions, off
        Events with whole distributions, and those whose probabilities do not sum to 1 within 1e-3.
    furthest_sum
        The sum of probabilities that is furthest from 1.
    missing, late, n_rewards
        Events whose reward never came, or came after its time; and the events for which that is known.
    shares, duplicates
        As their classes say.
    slices
        Choices beside probabilities for parts of the log, by name: segments, days.
    """

    rewards: Moments = field(default_factory=lambda: Moments.empty(1))
    first_at: float = math.inf
    last_at: float = -math.inf
    reward_min: float = math.inf
    reward_max: float = -math.inf
    propensity_min: float = math.inf
    certain: int = 0
    distributions: int = 0
    off: int = 0
    furthest_sum: float = 1.0
    missing: int = 0
    late: int = 0
    n_rewards: int = 0
    shares: ActionShares = field(default_factory=ActionShares)
    duplicates: Duplicates = field(default_factory=Duplicates)
    slices: dict[str, ActionShares] = field(default_factory=dict)

    def add(
        self,
        rewards: FloatArray,
        propensities: FloatArray,
        *,
        at: FloatArray | None = None,
        multiplicity: FloatArray | None = None,
    ) -> None:
        """Take in rows: arrays of shape (n,); times that are NaN are passed over."""
        if not len(rewards):
            return
        self.rewards += Moments.of([rewards], multiplicity)
        self.reward_min = min(self.reward_min, float(rewards.min()))
        self.reward_max = max(self.reward_max, float(rewards.max()))
        self.propensity_min = min(self.propensity_min, float(propensities.min()))
        self.certain += int((propensities >= 1.0).sum())
        known = at[~np.isnan(at)] if at is not None else np.empty(0)
        if known.size:
            self.first_at = min(self.first_at, float(known.min()))
            self.last_at = max(self.last_at, float(known.max()))

    def add_sums(self, sums: FloatArray) -> None:
        """Take in what the probabilities of each event sum to, shape (n,)."""
        if not len(sums):
            return
        self.distributions += len(sums)
        apart = np.abs(sums - 1.0)
        self.off += int((apart > _SUM_SLACK).sum())
        furthest = float(sums[int(apart.argmax())])
        if abs(furthest - 1.0) > abs(self.furthest_sum - 1.0):
            self.furthest_sum = furthest

    def set_aside(self, events: int) -> None:
        """Take in events whose probabilities the reader could not use, as they are no distribution over the actions."""
        self.distributions += events
        self.off += events

    def add_rewards(self, events: int, *, missing: int, late: int) -> None:
        """Take in how many of some events got no reward, or got it too late."""
        self.n_rewards += events
        self.missing += missing
        self.late += late

    def slice(self, name: str) -> ActionShares:
        """Return the counts of a part of the log, new if it is the first of that name."""
        return self.slices.setdefault(name, ActionShares())

    def __add__(self, other: Self) -> Self:
        """Return the counts over both sets of rows."""
        further = max(self.furthest_sum, other.furthest_sum, key=lambda total: abs(total - 1.0))
        slices = dict(self.slices)
        for name, shares in other.slices.items():
            slices[name] = slices[name] + shares if name in slices else shares
        return type(self)(
            rewards=self.rewards + other.rewards,
            first_at=min(self.first_at, other.first_at),
            last_at=max(self.last_at, other.last_at),
            reward_min=min(self.reward_min, other.reward_min),
            reward_max=max(self.reward_max, other.reward_max),
            propensity_min=min(self.propensity_min, other.propensity_min),
            certain=self.certain + other.certain,
            distributions=self.distributions + other.distributions,
            off=self.off + other.off,
            furthest_sum=further,
            missing=self.missing + other.missing,
            late=self.late + other.late,
            n_rewards=self.n_rewards + other.n_rewards,
            shares=self.shares + other.shares,
            duplicates=self.duplicates + other.duplicates,
            slices=slices,
        )

    @property
    def n(self) -> int:
        """Rows."""
        return self.rewards.n

    def dumps(self) -> tuple[Any, ...]:
        """Return plain numbers and lists."""
        return (
            self.rewards.dumps(),
            self._plain(),
            self.shares.dumps(),
            self.duplicates.dumps(),
            [(name, shares.dumps()) for name, shares in self.slices.items()],
        )

    @classmethod
    def loads(cls, state: tuple[Any, ...]) -> Self:
        """Return what `dumps` described."""
        rewards, plain, shares, duplicates, slices = state
        return cls(
            rewards=Moments.loads(rewards),
            **dict(zip(_PLAIN, plain, strict=True)),
            shares=ActionShares.loads(shares),
            duplicates=Duplicates.loads(duplicates),
            slices={name: ActionShares.loads(each) for name, each in slices},
        )

    def _plain(self) -> list[Any]:
        return [getattr(self, name) for name in _PLAIN]


_PLAIN: Sequence[str] = (
    "first_at", "last_at", "reward_min", "reward_max", "propensity_min", "certain", "distributions", "off",
    "furthest_sum", "missing", "late", "n_rewards",
)  # fmt: skip
