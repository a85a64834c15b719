"""Estimators of whole slates in an evaluation: what a log must have for them, and its blocks as they take them."""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Final

import numpy as np

from policies.protocol import FloatArray
from replay.block import Block
from replay.errors import InvalidLog
from replay.estimators.slate_estimators import (
    CascadeIps,
    IndependentIps,
    PseudoInverse,
    RewardInteractionIps,
    SlateEstimator,
    SlateIps,
)
from replay.estimators.slates import SlateBatch
from replay.events import LoggedEvent

__all__ = ["SLATE_ESTIMATORS", "check_slates", "slates_of"]

SLATE_ESTIMATORS: Final[Mapping[str, type[SlateEstimator]]] = {
    kind.name: kind for kind in (SlateIps, IndependentIps, CascadeIps, RewardInteractionIps, PseudoInverse)
}
_OF_WHOLE_REWARDS: Final = frozenset({SlateIps.name, PseudoInverse.name})


def check_slates(block: Block, names: Iterable[str]) -> None:
    """Refuse a block that lacks what estimators of slates need.

    Raises
    ------
    InvalidLog
        Its decisions have one slot, or not all as many; it has no rewards of slots; its slots are not filled
        independently of each other. Says which estimator needs it.
    """
    wanted = set(names)
    n_slots = block.n_places // max(1, block.n_events)
    known = block.slot.reshape(-1, n_slots) if block.n_places == n_slots * block.n_events else None
    if n_slots < 2 or known is None or (known != np.arange(n_slots)).any():  # noqa: PLR2004 - one is no slate
        detail = f"{_listed(wanted)}: the decisions of the log must all have as many slots, two or more"
        raise InvalidLog("slots_differ", "estimators", detail)
    if block.starts is not None and wanted - _OF_WHOLE_REWARDS:
        detail = f"{_listed(wanted - _OF_WHOLE_REWARDS)}: the log must have a reward for each slot"
        raise InvalidLog("rewards_of_slots_missing", "estimators", detail)
    if PseudoInverse.name in wanted and any(_takes_away(event) for event in block.events):
        detail = f"{PseudoInverse.name}: slots must be filled independently of each other, and here what one slot "
        raise InvalidLog("slots_dependent", "estimators", f"{detail}showed the next could not")


def slates_of(block: Block, target: FloatArray) -> SlateBatch:
    """Return decisions with all of their slots, and a candidate's probability of what each was filled with.

    Parameters
    ----------
    block
        One that `check_slates` takes.
    target
        Shape (n_places,).
    """
    shape = (block.n_events, block.n_places // block.n_events)
    if block.starts is None:
        rewards = block.rewards.reshape(shape) / shape[1]  # a row's counts once for each slot
        multiplicity = None if block.multiplicity is None else block.multiplicity.reshape(shape).sum(axis=1)
    else:  # the reward is the whole slate's: any slot may have it
        rewards = np.zeros(shape)
        rewards[:, -1] = block.rewards
        multiplicity = block.multiplicity
    return SlateBatch(
        rewards=rewards,
        propensities=block.place_propensities.reshape(shape),
        target=target.reshape(shape),
        multiplicity=multiplicity,
    )


def _takes_away(event: LoggedEvent) -> bool:
    """Whether an action that fills a slot cannot fill the next, which could have been filled with it."""
    return any(set(now.eligible) == set(before.eligible) - {before.chosen} for before, now in pairwise(event.slots))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
