"""What the runs add up to: shares of the way from random to best play, intervals, ranks, and tables of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]  # it ships neither annotations nor stubs

from replay import Matching

__all__ = ["Clicks", "Estimate", "Results", "clicks_table", "interval"]

FloatArray = NDArray[np.float64]
_LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean and half the width of its 95 % interval."""

    mean: float
    half: float

    @property
    def clear(self) -> int:
        """1 if the whole interval lies above 0, −1 if below, else 0."""
        return int(self.mean > self.half) - int(self.mean < -self.half)


def interval(values: FloatArray) -> Estimate:
    """Return the mean of independent values with Student's interval; infinitely wide for a single one."""
    n = len(values)
    if n == 1:
        return Estimate(float(values[0]), math.inf)
    spread = float(np.std(values, ddof=1)) / math.sqrt(n)
    return Estimate(float(np.mean(values)), float(stats.t.ppf(0.5 + _LEVEL / 2, n - 1)) * spread)


@dataclass(frozen=True, slots=True)
class Results:
    """Shares of the way from random (0) to best play (1), by player, problem and seed.

    Attributes
    ----------
    shares
        Shape (n_players, n_problems, n_seeds).
    opponent
        Name of the player that the others are compared with.
    """

    players: Sequence[str]
    problems: Sequence[str]
    shares: FloatArray
    opponent: str

    def cell(self, player: str, problem: str) -> Estimate:
        """Return the share of one player on one problem, with its interval over the seeds."""
        return interval(self._of(player)[self.problems.index(problem)])

    def mean(self, player: str) -> Estimate:
        """Return the mean over the problems, with its interval over the seeds: these problems, other luck."""
        return interval(self._of(player).mean(axis=0))

    def lead(self, player: str) -> Estimate:
        """Return the mean lead over the opponent, with its interval over the problems: other problems like these."""
        return interval((self._of(player) - self._of(self.opponent)).mean(axis=1))

    def leads(self, player: str) -> dict[str, Estimate]:
        """Return the lead over the opponent on each problem, with its interval over the seeds, which both share."""
        differences = self._of(player) - self._of(self.opponent)
        return {problem: interval(row) for problem, row in zip(self.problems, differences, strict=True)}

    def rank(self, player: str) -> float:
        """Return the mean over the problems of the place among all players, 1 the best; ties share theirs."""
        places = stats.rankdata(-self.shares.mean(axis=2), axis=0)
        return float(places[list(self.players).index(player)].mean())

    def worst(self, player: str) -> tuple[str, float]:
        """Return the problem on which the player lies furthest behind the best of all players, and how far."""
        means = self.shares.mean(axis=2)
        behind = means.max(axis=0) - means[list(self.players).index(player)]
        place = int(behind.argmax())
        return self.problems[place], float(behind[place])

    def summary(self) -> list[str]:
        """Return a table in Markdown, the best mean first."""
        lines = ["| policy | mean | lead | better, worse | rank | furthest behind |", "|---|---|---|---|---|---|"]
        for player in self.by_mean():
            clear = [lead.clear for lead in self.leads(player).values()]
            problem, behind = self.worst(player)
            versus = "" if player == self.opponent else f"{_signed(self.lead(player))}"
            counts = "" if player == self.opponent else f"{clear.count(1)}, {clear.count(-1)}"
            lines.append(
                f"| {player} | {_plain(self.mean(player))} | {versus} | {counts} | {self.rank(player):.1f} "
                f"| {100 * behind:.0f}: {problem} |"
            )
        return lines

    def detail(self, problems: Sequence[str]) -> list[str]:
        """Return a table in Markdown of every player on some of the problems; the best of a column in bold."""
        lines = ["| policy | " + " | ".join(problems) + " |", "|---|" + "---|" * len(problems)]
        best = {problem: max(self.cell(player, problem).mean for player in self.players) for problem in problems}
        for player in self.by_mean():
            cells = [self.cell(player, problem) for problem in problems]
            texts = [
                f"**{_plain(cell)}**" if cell.mean == best[problem] else _plain(cell)
                for problem, cell in zip(problems, cells, strict=True)
            ]
            lines.append(f"| {player} | " + " | ".join(texts) + " |")
        return lines

    def by_mean(self) -> list[str]:
        """Return the players, the best mean first."""
        return sorted(self.players, key=lambda player: -self.mean(player).mean)

    def _of(self, player: str) -> FloatArray:
        return np.asarray(self.shares[list(self.players).index(player)], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Clicks:
    """What the replay method found in a log, over several orders of its rows.

    Attributes
    ----------
    per_1000
        Clicks in 1,000 decisions that matched; mean over the orders.
    low, high
        The 95 % interval that one order gives; mean over the orders, which all share the same clicks.
    n_matched
        Decisions that matched; mean over the orders.
    """

    per_1000: float
    low: float
    high: float
    n_matched: float

    @classmethod
    def of(cls, orders: Sequence[Matching]) -> Self:
        """Sum several orders up."""
        bounds = np.array([one.interval(level=_LEVEL) for one in orders])
        low, high = (1_000 * bounds.mean(axis=0)).tolist()
        n_matched = sum(one.n_matched for one in orders)
        n_clicks = sum(one.value * one.n_matched for one in orders if one.n_matched)
        return cls(1_000 * n_clicks / max(n_matched, 1), low, high, n_matched / len(orders))


def clicks_table(clicks: Mapping[str, Clicks]) -> list[str]:
    """Return a table in Markdown, the most clicks first."""
    lines = ["| policy | clicks in 1,000 | 95 % interval | rows that counted |", "|---|---|---|---|"]
    for name, one in sorted(clicks.items(), key=lambda item: -item[1].per_1000):
        lines.append(f"| {name} | {one.per_1000:.1f} | {one.low:.1f} to {one.high:.1f} | {one.n_matched:.0f} |")
    return lines


def _plain(estimate: Estimate) -> str:
    return f"{100 * estimate.mean:.1f} ± {100 * estimate.half:.1f}"


def _signed(estimate: Estimate) -> str:
    return f"{100 * estimate.mean:+.1f} ± {100 * estimate.half:.1f}"
