"""Gaussian posteriors of the weights of linear models, kept as factors.

One *block* holds one posterior over d weights, as d + 2 rows of d numbers:

=========  ======================================================================================================
rows       meaning
=========  ======================================================================================================
0 to d−1   F, with F'F = P: the covariance of the weights, in units of the noise variance
d          m: their mean if the prior mean of the constant's weight were 0
d + 1      q: what a prior mean of 1 adds to m; the mean is m + c q for any c
=========  ======================================================================================================

For a vector x one product of the block with x gives all that is asked: F x, whose square is the variance of the score,
and both parts of the score's mean. An outcome changes the block by one outer product: the factor is never inverted and
never formed anew, and P stays positive whatever comes (Potter's square-root form of the Kalman filter; Bierman 1977,
"Factorization Methods for Discrete Sequential Estimation", chapter II). The mean is linear in the rewards, so that
keeping q lets the prior mean move (with the mean of all rewards, say) as if it had been there from the start.

The products here are numpy's own loops (`einsum`), not BLAS, whose sums may differ between numbers of threads: the
state has to be the same everywhere.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from policies.protocol import FloatArray

__all__ = ["MEAN_ROWS", "fade", "grown", "learn", "learn_click", "narrowed", "prior_block", "weaken"]

MEAN_ROWS: Final = 2
_SEARCH_STEPS: Final = 200  # halving alone takes fewer
_SEARCH_PRECISION: Final = 1e-12


def prior_block(n_columns: int, precision: float) -> FloatArray:
    """Return the block before any outcome: shape (d + 2, d); weights independent, each of variance 1 ÷ `precision`."""
    block = np.zeros((n_columns + MEAN_ROWS, n_columns))
    np.fill_diagonal(block, 1.0 / math.sqrt(precision))
    block[n_columns + 1, 0] = 1.0
    return block


def grown(blocks: FloatArray, n_columns: int, precision: float) -> FloatArray:
    """Return blocks, shape (n, d + 2, d), with more columns, of which they know nothing."""
    n_blocks, _, before = blocks.shape
    result = np.zeros((n_blocks, n_columns + MEAN_ROWS, n_columns))
    result[:, :before, :before] = blocks[:, :before]
    result[:, n_columns:, :before] = blocks[:, before:]
    new = np.arange(before, n_columns)
    result[:, new, new] = 1.0 / math.sqrt(precision)
    return result


def narrowed(blocks: FloatArray, kept: Sequence[int]) -> FloatArray:
    """Return blocks, shape (n, d + 2, d), of some of their columns: the posterior of those weights alone.

    The factor without the other columns has more rows than columns; reflections (Householder's) make it square again.
    Where nothing was learned about the other columns their rows are 0 now, and there is nothing to reflect.
    """
    n_columns = len(kept)
    gone = [column for column in range(blocks.shape[2]) if column not in kept]
    result = np.zeros((len(blocks), n_columns + MEAN_ROWS, n_columns))
    for before, after in zip(blocks, result, strict=True):
        after[n_columns:] = before[-MEAN_ROWS:, kept]
        if not before[np.ix_(gone, kept)].any():
            after[:n_columns] = before[np.ix_(kept, kept)]
            continue
        columns = np.ascontiguousarray(before[:-MEAN_ROWS, kept].T)
        for i in range(n_columns):
            _reflect(columns[i:, i:])
        after[:n_columns] = np.tril(columns[:, :n_columns]).T
    return result


def learn(block: FloatArray, x: FloatArray, reward: float) -> tuple[float, float, float]:
    """Take in a reward with noise of variance 1 on the score of x.

    Returns
    -------
    The score's variance before, and its mean before for prior means 0 and, on top of it, 1.
    """
    n_columns = len(x)
    products: FloatArray = np.einsum("ij,j->i", block, x)
    v = products[:n_columns]
    variance, mean, prior_share = _sum_of_squares(v), float(products[-2]), float(products[-1])
    gain = 1.0 / (1.0 + variance)
    factor_gain = 1.0 / (1.0 + variance + math.sqrt(1.0 + variance))
    _step(block, v, factor_gain, (mean - reward) * gain, prior_share * gain)
    return variance, mean, prior_share


def learn_click(block: FloatArray, x: FloatArray, success: float, *, prior_mean: float) -> None:
    """Take in a success (1), failure (0) or part of one, whose log-odds are the score of x.

    The posterior is Laplace's for this one outcome: the mean moves to the mode, and the likelihood counts with its
    curvature there. Both depend on the score alone, so that finding the mode is a search along one line.
    """
    n_columns = len(x)
    products: FloatArray = np.einsum("ij,j->i", block, x)
    v = products[:n_columns]
    variance, prior_share = _sum_of_squares(v), float(products[-1])
    before = float(products[-2]) + prior_mean * prior_share
    chance = _mode(before, variance, success)
    weight = chance * (1.0 - chance)
    total = 1.0 + weight * variance
    _step(block, v, weight / (total + math.sqrt(total)), chance - success, prior_share * weight / total)


def weaken(blocks: FloatArray, share: FloatArray | float) -> None:
    """Let what blocks, shape (n, d + 2, d), know count only a `share` in (0, 1] of what it did; their means stay."""
    n_columns = blocks.shape[2]
    blocks[:, :n_columns] /= np.sqrt(np.broadcast_to(share, len(blocks)))[:, None, None]


def fade(blocks: FloatArray, column: int, precision: FloatArray | float, *, towards_prior: bool) -> None:
    """Give blocks, shape (n, d + 2, d), some of the prior's precision back on the weight of one column.

    With `towards_prior` the mean of the weight goes to the prior's by as much; else the means stay.
    """
    n_columns = blocks.shape[2]
    v = blocks[:, :n_columns, column].copy()
    gained = np.einsum("ni,nij->nj", v, blocks[:, :n_columns])
    total = 1.0 + precision * np.einsum("ni,ni->n", v, v)
    blocks[:, :n_columns] -= ((precision / (total + np.sqrt(total)))[:, None] * v)[:, :, None] * gained[:, None, :]
    if towards_prior:
        short = blocks[:, n_columns:, column].copy()
        short[:, 1] -= column == 0
        blocks[:, n_columns:] -= ((precision / total)[:, None] * short)[:, :, None] * gained[:, None, :]


def _step(block: FloatArray, v: FloatArray, factor_gain: float, mean_gain: float, prior_gain: float) -> None:
    n_columns = len(v)
    direction = np.einsum("i,ij->j", v, block[:n_columns])
    gains = np.empty(n_columns + MEAN_ROWS)
    np.multiply(v, factor_gain, out=gains[:n_columns])
    gains[n_columns] = mean_gain
    gains[n_columns + 1] = prior_gain
    block -= gains[:, None] * direction


def _reflect(columns: FloatArray) -> None:
    """Reflect the columns of a matrix, given as rows, so that the first has nothing below its first number."""
    v = columns[0].copy()
    v[0] += math.copysign(math.sqrt(_sum_of_squares(v)), v[0])
    length = _sum_of_squares(v)
    if length > 0.0:
        columns -= np.einsum("ji,i->j", columns, v)[:, None] * (v * (2.0 / length))


def _sum_of_squares(v: FloatArray) -> float:
    return float(np.einsum("i,i->", v, v))


def _mode(before: float, variance: float, success: float) -> float:
    """Return the chance p at the mode: its log-odds are s = before + variance × (success − p).

    The left side less the right one grows with s, by 1 to 1 + variance / 4 times as much, so that its root lies between
    before − variance and before + variance. Newton's steps find it, and half the bracket is taken where one of them
    would leave the bracket or is no shorter than half the one before.
    """
    low, high = before - variance * (1.0 - success), before + variance * success
    score, last = before, high - low
    for _ in range(_SEARCH_STEPS):
        chance = _logistic(score)
        excess = score - before - variance * (success - chance)
        if excess > 0.0:
            high = score
        else:
            low = score
        step = excess / (1.0 + variance * chance * (1.0 - chance))
        if abs(step) <= _SEARCH_PRECISION * (1.0 + abs(score)):
            break
        if abs(step) > last / 2.0 or not low < score - step < high:
            step = score - (low + high) / 2.0
        score -= step
        last = abs(step)
    return _logistic(score)


def _logistic(score: float) -> float:
    if score < 0.0:
        odds = math.exp(score)  # of a large negative number: 0, no overflow
        return odds / (1.0 + odds)
    return 1.0 / (1.0 + math.exp(-score))
