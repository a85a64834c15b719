"""Estimators: small objects that take batches of rows and add up."""

from replay.estimators.base import Estimator
from replay.estimators.dr import ClippedDr, Dm, Dr, Dros, Sndr, SubGaussianDr, SwitchDr
from replay.estimators.ips import ClippedIps, Ips, Snips, SubGaussian
from replay.estimators.mips import EmbeddedBatch, Mips
from replay.estimators.registry import ESTIMATORS, available, estimator
from replay.estimators.rejection import Replay
from replay.estimators.slate_estimators import (
    CascadeDr,
    CascadeIps,
    IndependentIps,
    PseudoInverse,
    RewardInteractionIps,
    SlateEstimator,
    SlateIps,
)
from replay.estimators.slates import SlateBatch

__all__ = [
    "ESTIMATORS",
    "CascadeDr",
    "CascadeIps",
    "ClippedDr",
    "ClippedIps",
    "Dm",
    "Dr",
    "Dros",
    "EmbeddedBatch",
    "Estimator",
    "IndependentIps",
    "Ips",
    "Mips",
    "PseudoInverse",
    "Replay",
    "RewardInteractionIps",
    "SlateBatch",
    "SlateEstimator",
    "SlateIps",
    "Sndr",
    "Snips",
    "SubGaussian",
    "SubGaussianDr",
    "SwitchDr",
    "available",
    "estimator",
]
