"""Weights made smaller: less variance for more bias, and how much more the log cannot say.

Each takes weights ≥ 0 of shape (n,) and returns as many.
"""

import math

import numpy as np

from policies.protocol import FloatArray
from replay.errors import InvalidLog

__all__ = ["above_zero", "clipped", "optimistic", "share", "sub_gaussian", "switched"]


def clipped(weights: FloatArray, clip: float) -> FloatArray:
    """Return min(w, clip) (Ionides 2008, "Truncated Importance Sampling")."""
    return np.minimum(weights, clip)


def switched(weights: FloatArray, tau: float) -> FloatArray:
    """Return w where w ≤ tau, else 0 (Wang, Agarwal & Dudík 2017)."""
    return np.where(weights <= tau, weights, 0.0)


def optimistic(weights: FloatArray, lam: float) -> FloatArray:
    """Return lam·w ÷ (w² + lam) (Su, Dimakopoulou, Krishnamurthy & Dudík 2020); 0 for w = 0."""
    result: FloatArray = weights / (weights * (weights / lam) + 1.0)  # this way round no lam overflows
    return result


def sub_gaussian(weights: FloatArray, lam: float) -> FloatArray:
    """Return w ÷ (1 − lam + lam·w) (Metelli, Russo & Restelli 2021); 0 for w = 0."""
    return np.divide(weights, 1.0 - lam + lam * weights, out=np.zeros_like(weights), where=weights > 0.0)


def above_zero(name: str, value: float) -> float:
    """Return the parameter.

    Raises
    ------
    InvalidLog
        It is not a finite number above 0.
    """
    if not (math.isfinite(value) and value > 0.0):
        raise InvalidLog("parameter_out_of_range", name, f"must be a number above 0, not {value!r}")
    return value


def share(name: str, value: float) -> float:
    """Return the parameter.

    Raises
    ------
    InvalidLog
        It does not lie from 0 to 1.
    """
    if not 0.0 <= value <= 1.0:
        raise InvalidLog("parameter_out_of_range", name, f"must lie from 0 to 1, not {value!r}")
    return value
