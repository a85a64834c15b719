"""A policy that learns along a log, asked at each decision what it would play, before it knows what came of it.

For each decision in the log's order:

1. every outcome whose reward was known by then is learned, in the order in which rewards became known;
2. the policy says what it would play, over the actions that were eligible, slot by slot, with the slots before
   filled as the log filled them;
3. the decision's outcomes are queued until their reward is known: at once, if the log does not say when.

So no probability depends on the reward it is weighted with. Scored after the update it would: a policy that has just
learned that an action paid plays it more, and looks better than it is.
"""

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from policies.errors import InvalidInput
from policies.protocol import FloatArray, Outcome, Policy
from replay.block import Block, Place
from replay.events import LoggedEvent
from replay.rejection import Rejection

__all__ = ["Fold", "Lanes"]


@dataclass(slots=True)
class Lanes:
    """The policies of a candidate: one for all, or one for each segment as a server keeps them.

    Parameters
    ----------
    make
        Makes a policy as it is before any outcome.
    apart
        Whether each segment has its own.
    """

    make: Callable[[], Policy]
    apart: bool = False
    _policies: dict[str, Policy] = field(default_factory=dict)

    def of(self, segment: str) -> Policy:
        """Return the policy that serves a segment."""
        lane = segment if self.apart else ""
        policy = self._policies.get(lane)
        if policy is None:
            policy = self._policies[lane] = self.make()
        return policy


class Fold:
    """One candidate's way along the log.

    Parameters
    ----------
    lanes
        Its policies.

    Attributes
    ----------
    n_learned, n_refused
        Outcomes that were learned; those that a policy would not take, such as a reward beyond its range.
    refusal
        Why, the first time.
    """

    def __init__(self, lanes: Lanes) -> None:
        self.lanes = lanes
        self.n_learned = 0
        self.n_refused = 0
        self.refusal = ""
        self._now = -math.inf
        self._queue: list[tuple[float, int, Policy, Outcome]] = []  # by the time that the reward was known
        self._n_queued = 0
        self._is_frozen = False

    def play(self, block: Block, *, rejection: Rejection | None = None) -> tuple[list[FloatArray], list[bool] | None]:
        """Return what would be played at each place of a block, and which events were accepted.

        Parameters
        ----------
        rejection
            Only the outcomes of what it accepts are learned; None: all are.
        """
        played: list[FloatArray] = []
        accepted: list[bool] | None = None if rejection is None else []
        places = iter(block.places)
        for index, event in enumerate(block.events):
            if not self._is_frozen:
                self.settle(event.at)
            policy = self.lanes.of(event.segment)
            seen = [next(places) for _ in event.slots]
            vectors = [checked(policy.probabilities(place.context, place.actions), place) for place in seen]
            played += vectors
            takes = event.learn and not self._is_frozen
            if rejection is not None and accepted is not None:
                target = float(vectors[0][seen[0].chosen])
                accepted.append(rejection.accepts(index, target, event.slots[0].propensity))
                takes = takes and accepted[-1]
            if takes:
                self.queue(event, seen, policy)
        return played, accepted

    def settle(self, now: float) -> None:
        """Learn every outcome whose reward was known by `now`; of a log without times, all that is queued."""
        self._now = max(self._now, now) if math.isfinite(now) else self._now
        while self._queue and self._queue[0][0] <= self._now:
            _, _, policy, outcome = heapq.heappop(self._queue)
            self._learn(policy, outcome)

    def queue(self, event: LoggedEvent, seen: Sequence[Place], policy: Policy) -> None:
        """Have the outcomes of a decision learned when their reward is known."""
        known_at = event.reward_at if math.isfinite(event.reward_at) else -math.inf  # not said: by the next decision
        for slot, place in zip(event.slots, seen, strict=True):
            outcome = Outcome(
                context=place.context,
                actions=place.actions,
                chosen=place.chosen,
                propensity=slot.propensity,
                reward=event.reward if len(event.slots) == 1 or math.isnan(slot.reward) else slot.reward,
            )
            self._n_queued += 1
            heapq.heappush(self._queue, (known_at, self._n_queued, policy, outcome))

    def freeze(self) -> None:
        """Learn no more; what was not known by the last decision never is."""
        self.settle(self._now)
        self._is_frozen = True
        self._queue.clear()

    def _learn(self, policy: Policy, outcome: Outcome) -> None:
        try:
            policy.learn(outcome)
        except InvalidInput as error:  # as a server does: it is counted, and the fold goes on
            self.refusal = self.refusal or str(error)
            self.n_refused += 1
        else:
            self.n_learned += 1


def checked(vector: FloatArray, place: Place) -> FloatArray:
    """Return a policy's answer if it is a distribution over the actions of a place.

    Raises
    ------
    ArithmeticError
        It is none: the policy is at fault, never the log.
    """
    total = float(vector.sum())
    if vector.shape != (len(place.actions),) or not abs(total - 1.0) <= 1e-5 or not float(vector.min()) >= 0.0:  # noqa: PLR2004 - as policies.draw
        raise ArithmeticError(f"not a distribution over {len(place.actions)} actions: sum {total!r}")
    return vector


def flat(vectors: Sequence[FloatArray]) -> FloatArray:
    """Return distributions one after another."""
    return np.concatenate(vectors) if vectors else np.zeros(0)
