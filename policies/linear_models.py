"""What a linear model of the reward answers, and the one with weights for each action.

Each action has its own weights of the context's features. An action that has not been learned from has the prior;
beyond `max_actions` the one whose last lesson lies furthest back goes back to it.
"""

import operator
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from policies.errors import StateInvalid
from policies.features import Action, Context
from policies.linear_blocks import Blocks
from policies.linear_response import Response
from policies.protocol import FloatArray, Outcome
from policies.vectors import Columns

__all__ = ["LinearModel", "PerActionLinear", "Scores"]

IntArray = NDArray[np.intp]

_ID = operator.attrgetter("id")
_NOWHERE = (0, 0.0)  # of an action that was never learned from: the prior's block, and no outcomes
_NO_CALL: tuple[list[str], IntArray] = ([], np.zeros(0, np.intp))
_WIDEST_GATHER = 2  # blocks looked at for each action asked for, rather than copying just those out


class Scores(NamedTuple):
    """The joint posterior of the actions' scores: normal.

    Attributes
    ----------
    means, variances
        Shape (n_actions,).
    spread
        Shape (n_actions, d), the covariances being ``spread @ spread.T``; None where the scores are independent.
    """

    means: FloatArray
    variances: FloatArray
    spread: FloatArray | None


class LinearModel(Protocol):
    """What `LinearPolicy` asks of a model."""

    def scores(self, context: Context, actions: Sequence[Action]) -> Scores:
        """Return the posterior of the actions' scores."""

    def learn(self, outcome: Outcome) -> None:
        """Take one outcome in, which has been checked."""

    def limit(self, n_outcomes: float) -> None:
        """Let what is known count as so many outcomes at most."""

    def dumps(self) -> tuple[dict[str, Any], bytes]:
        """Return the state as JSON values and the numbers of the posteriors."""

    def loads(self, state: Mapping[str, Any], numbers: bytes) -> None:
        """Replace the state; raises `StateInvalid`, `KeyError`, `TypeError` or `ValueError` if it is none."""


class PerActionLinear:
    """A model for each action.

    Parameters
    ----------
    response
        What a reward says about a score.
    blocks
        The posteriors; the first stays the prior.
    max_features
        Features of the context that get a column.
    max_actions
        Ids kept.
    """

    __slots__ = ("_blocks", "_columns", "_last", "_max_actions", "_places", "_response")

    def __init__(self, response: Response, blocks: Blocks, *, max_features: int, max_actions: int) -> None:
        self._response = response
        self._blocks = blocks
        self._columns = Columns(max_features=max_features)
        self._max_actions = max_actions
        self._last = _NO_CALL
        self._places: dict[str, tuple[int, float]] = {}  # block and number of outcomes, last learned last

    def scores(self, context: Context, actions: Sequence[Action]) -> Scores:
        """Return the posterior of the actions' scores."""
        values = self._columns.context(context)
        x = np.fromiter(values, np.float64, len(values))  # sooner than an array of the list
        chosen = self._chosen(list(map(_ID, actions)))
        blocks = self._blocks.values
        if len(blocks) <= _WIDEST_GATHER * len(chosen):
            products = (blocks @ x).take(chosen, 0)
        else:
            products = blocks.take(chosen, 0) @ x
        v, m, q = products[:, :-2], products[:, -2], products[:, -1]
        variances = np.vecdot(v, v)
        noise = self._response.noise
        variances *= noise * noise
        means = q * self._response.prior_mean
        means += m
        return Scores(means, variances, None)

    def learn(self, outcome: Outcome) -> None:
        """Take one outcome in."""
        kept = self._columns.learn(outcome.context.line)
        if kept is not None:
            self._blocks.narrow(kept)
        self._blocks.widen(len(self._columns))
        self._blocks.fade(first=1)
        place = self._place(outcome.actions[outcome.chosen].id)
        self._response.learn(
            self._blocks.values[place], np.array(self._columns.context(outcome.context)), outcome.reward
        )

    def limit(self, n_outcomes: float) -> None:
        """Let what is known of each action count as so many outcomes at most."""
        shares = np.ones(len(self._blocks.values))
        for place, n in self._places.values():
            shares[place] = min(1.0, n_outcomes / n)
        self._blocks.weaken(shares)
        self._places = {action_id: (place, min(n, n_outcomes)) for action_id, (place, n) in self._places.items()}
        self._response.limit(n_outcomes)

    def dumps(self) -> tuple[dict[str, Any], bytes]:
        """Return the state."""
        shape, numbers = self._blocks.dumps()
        return {
            "actions": [[action_id, place, n] for action_id, (place, n) in self._places.items()],
            "columns": self._columns.dumps(),
            "response": self._response.dumps(),
            "shape": shape,
        }, numbers

    def loads(self, state: Mapping[str, Any], numbers: bytes) -> None:
        """Replace the state."""
        places = {str(action_id): (int(place), float(n)) for action_id, place, n in state["actions"]}
        if sorted(place for place, _ in places.values()) != [*range(1, len(state["actions"]) + 1)]:
            raise StateInvalid("an action has no posterior of its own")
        if len(places) > self._max_actions or state["shape"][0] != len(places) + 1:
            raise StateInvalid("the posteriors are not those of the actions")
        if state["shape"][1] != 1 + len(state["columns"][1]):
            raise StateInvalid("the posteriors are not about the columns")
        blocks = self._blocks.read(state["shape"], numbers)
        columns = self._columns.read(state["columns"])
        self._response.loads(state["response"])  # the last that may refuse, so that all is replaced or nothing
        self._blocks, self._columns, self._places = blocks, columns, places
        self._last = _NO_CALL

    def _chosen(self, ids: list[str]) -> IntArray:
        """Return the blocks of actions; most calls ask for the same actions as the one before."""
        if ids != self._last[0]:
            self._last = ids, np.array([self._places.get(action_id, _NOWHERE)[0] for action_id in ids])
        return self._last[1]

    def _place(self, action_id: str) -> int:
        known = self._places.pop(action_id, None)
        if known is not None:
            place, n = known
        elif len(self._places) < self._max_actions:
            place, n = len(self._places) + 1, 0.0
            self._blocks.append()
            self._last = _NO_CALL
        else:
            place, n = self._places.pop(next(iter(self._places)))[0], 0.0
            self._blocks.reset(place)
            self._last = _NO_CALL
        self._places[action_id] = (place, n + 1.0)
        return place
