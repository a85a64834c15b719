"""A lower bound of a mean that holds at every moment of a growing log at once."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from policies.protocol import FloatArray

__all__ = ["LowerBound"]

# Bets, of the most that can be lost, and a prior over them: each n has some of them near its best one.
_BETS: Final = np.geomspace(1e-4, 0.95, 28)
_PENALTIES: Final = -np.log1p(-_BETS) - _BETS
_LOG_PRIOR: Final = -math.log(len(_BETS))


@dataclass(slots=True)
class LowerBound:
    """A lower bound of a mean, at all times at once: a mixture of empirical-Bernstein martingales.

    For terms x with the mean v given the past, and c and s > 0 that the past decides with (x − c) ÷ s ≥ −1, each of
    exp(λ Σ (x − v) ÷ s − (−log(1 − λ) − λ) Σ ((x − c) ÷ s)²), 0 < λ < 1, is a supermartingale that begins at 1. So is
    their mean over fixed λ, and it ever exceeds 1 ÷ α with a probability of at most α: the v for which it has not yet
    is the bound.

    References
    ----------
    Waudby-Smith, Wu, Ramdas, Karampatziakis & Mineiro (2022), "Anytime-valid off-policy inference for contextual
    bandits"; Howard, Ramdas, McAuliffe & Sekhon (2021), "Time-uniform, nonparametric, nonasymptotic confidence
    sequences".
    """

    n: int = 0
    scaled: float = 0.0  # Σ x ÷ s
    inverse: float = 0.0  # Σ 1 ÷ s
    squares: float = 0.0  # Σ ((x − c) ÷ s)²

    def add(self, terms: FloatArray, centres: FloatArray, scales: FloatArray) -> None:
        """Take in x, c and s, each of shape (n,)."""
        apart = (terms - centres) / scales
        self.n += len(terms)
        self.scaled += float((terms / scales).sum())
        self.inverse += float((1.0 / scales).sum())
        self.squares += float(apart @ apart)

    def value(self, alpha: float, *, least: float) -> float:
        """Return the bound; `least` if nothing better is known."""
        threshold = -math.log(alpha)
        mean = least
        while self.n:  # Newton's steps: what has been won is convex in the mean and falls, so none of them goes too far
            won, slope = self._log_wealth(mean)
            step = (threshold - won) / slope
            if won <= threshold or not mean + step > mean:
                break
            mean += step
        return mean

    def dumps(self) -> tuple[int, float, float, float]:
        """Return the four numbers."""
        return self.n, self.scaled, self.inverse, self.squares

    def _log_wealth(self, mean: float) -> tuple[float, float]:
        """Return the logarithm of what has been won from betting that the mean is above `mean`, and its derivative."""
        exponents = _BETS * (self.scaled - mean * self.inverse) - _PENALTIES * self.squares
        most = float(exponents.max())
        shares = np.exp(exponents - most)
        total = float(shares.sum())
        return most + _LOG_PRIOR + math.log(total), -self.inverse * float(_BETS @ shares) / total
