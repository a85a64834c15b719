"""A linear model of the reward that all actions share.

A column is a product: of the constant or a feature of the context with a feature of the action, or of the constant with
an action's id. What an outcome teaches about a feature holds for every action that has it, the new ones too. Context
features alone have no column: they add the same to all actions.

Features of contexts, of actions, ids and products each have their bound (`policies.linear_admission`). A product goes
with either of its features.
"""

from collections.abc import Mapping, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np

from policies.errors import StateInvalid
from policies.features import Action, Context
from policies.linear_admission import Admission
from policies.linear_blocks import Blocks
from policies.linear_models import Scores
from policies.linear_response import Response
from policies.protocol import FloatArray, Outcome
from policies.vectors import Columns

__all__ = ["SharedLinear"]

_IDS = 4  # an id may have a column for every so many features


class SharedLinear:
    """One model for all actions.

    Parameters
    ----------
    response
        What a reward says about a score.
    blocks
        The posterior: one.
    max_features
        Columns of products, and of the features of contexts and of actions that enter them.
    """

    __slots__ = (
        "_actions",
        "_admission",
        "_blocks",
        "_contexts",
        "_index",
        "_known",
        "_max_features",
        "_n",
        "_pairs",
        "_response",
        "_seen",
    )

    def __init__(self, response: Response, blocks: Blocks, *, max_features: int) -> None:
        self._response = response
        self._blocks = blocks
        self._max_features = max_features
        self._contexts = Columns(max_features=max_features)
        self._actions = Columns(max_features=max_features, max_ids=max_features // _IDS)
        self._admission = Admission(max_features)
        self._set_pairs([(0, 0)], [0])
        self._n = 0.0

    def scores(self, context: Context, actions: Sequence[Action]) -> Scores:
        """Return the posterior of the actions' scores."""
        of_context, of_action = self._index
        features = np.array([self._actions.action(action) for action in actions])
        products = features[:, of_action] * np.array(self._contexts.context(context))[of_context]
        block = self._blocks.values[0]
        n_columns = self._blocks.n_columns
        # Not BLAS, which rounds equal rows differently: actions that are alike have to tie, and to tie everywhere.
        means = np.einsum("ij,j->i", products, block[n_columns] + self._response.prior_mean * block[n_columns + 1])
        spread = np.einsum("ij,kj->ik", products, block[:n_columns])
        spread *= self._response.noise
        return Scores(means, np.einsum("ij,ij->i", spread, spread), spread)

    def learn(self, outcome: Outcome) -> None:
        """Take one outcome in."""
        action = outcome.actions[outcome.chosen]
        kept_contexts, kept_actions = self._contexts.learn(outcome.context.line), self._actions.learn(action.line)
        if kept_contexts is not None or kept_actions is not None:
            self._renumber(kept_contexts, kept_actions)
        context, features = np.array(self._contexts.context(outcome.context)), np.array(self._actions.action(action))
        x = self._products(context, features)
        self._seen[x != 0.0] = self._contexts.n
        if self._pair(context, features):
            x = self._products(context, features)
        self._blocks.widen(len(self._pairs))
        self._blocks.fade(first=0)
        self._n += 1.0
        self._response.learn(self._blocks.values[0], x, outcome.reward)

    def limit(self, n_outcomes: float) -> None:
        """Let what is known count as so many outcomes at most."""
        if self._n > n_outcomes:
            self._blocks.weaken(np.array([n_outcomes / self._n]))
            self._n = n_outcomes
        self._response.limit(n_outcomes)

    def dumps(self) -> tuple[dict[str, Any], bytes]:
        """Return the state."""
        shape, numbers = self._blocks.dumps()
        return {
            "actions": self._actions.dumps(),
            "admission": self._admission.dumps(),
            "contexts": self._contexts.dumps(),
            "n": self._n,
            "pairs": [[*pair, seen] for pair, seen in zip(self._pairs, self._seen.tolist(), strict=True)],
            "response": self._response.dumps(),
            "shape": shape,
        }, numbers

    def loads(self, state: Mapping[str, Any], numbers: bytes) -> None:
        """Replace the state."""
        pairs = [(int(i), int(j)) for i, j, _ in state["pairs"]]
        seen = [int(outcome) for _, _, outcome in state["pairs"]]
        limits = 1 + len(state["contexts"][1]), 1 + len(state["actions"][1])
        if pairs[:1] != [(0, 0)] or len({*pairs}) != len(pairs) or len(pairs) > 1 + self._max_features:
            raise StateInvalid("the columns are not products of features")
        if not all(0 <= i < limits[0] and 0 <= j < limits[1] for i, j in pairs) or not state["n"] >= 0.0:
            raise StateInvalid("a column is the product of a feature that is not there")
        if not all(0 <= outcome <= state["contexts"][2] for outcome in seen):
            raise StateInvalid("a column was seen in no outcome")
        if state["shape"][:2] != [1, len(pairs)]:
            raise StateInvalid("the posterior is not about the columns")
        blocks = self._blocks.read(state["shape"], numbers)
        contexts, of_actions = self._contexts.read(state["contexts"]), self._actions.read(state["actions"])
        admission = self._admission.read(state["admission"])
        self._response.loads(state["response"])  # the last that may refuse, so that all is replaced or nothing
        self._blocks, self._contexts, self._actions, self._admission = blocks, contexts, of_actions, admission
        self._set_pairs(pairs, seen)
        self._n = float(state["n"])

    def _products(self, context: FloatArray, action: FloatArray) -> FloatArray:
        of_context, of_action = self._index
        products: FloatArray = action[of_action] * context[of_context]
        return products

    def _pair(self, context: FloatArray, action: FloatArray) -> bool:
        """Give new products a column, features of the action before their products; return whether any got one.

        Of one outcome only the first that have none are looked at, as many as can wait for one: 500 features of a
        context by 500 of an action make 250,000 products, and a pass over all of them took 0.3 s.
        """
        mine, its = np.flatnonzero(action)[1:].tolist(), np.flatnonzero(context)[1:].tolist()
        wanted = chain(((0, j) for j in mine), ((i, j) for j in mine if not self._actions.is_id(j) for i in its))
        new = [*islice((pair for pair in wanted if pair not in self._known), self._admission.max_waiting)]
        if not new:
            return False
        keys = [self._contexts.keys[i] << 32 | self._actions.keys[j] for i, j in new]
        now = self._contexts.n
        admitted, idle = self._admission.admit(keys, range(1, len(self._pairs)), self._seen.tolist(), now)
        if idle:
            self._keep([column for column in range(len(self._pairs)) if column not in idle])
        if admitted:
            self._set_pairs(
                [*self._pairs, *(new[i] for i in admitted)], [*self._seen.tolist(), *(now for _ in admitted)]
            )
        return bool(admitted)

    def _renumber(self, contexts: list[int] | None, actions: list[int] | None) -> None:
        """Follow the features to their new columns, and drop the products of those that have none any more."""
        now_context = dict[int, int](
            (before, after) for after, before in enumerate(contexts or range(len(self._contexts)))
        )
        now_action = dict[int, int](
            (before, after) for after, before in enumerate(actions or range(len(self._actions)))
        )
        self._keep([c for c, (i, j) in enumerate(self._pairs) if i in now_context and j in now_action])
        self._set_pairs([(now_context[i], now_action[j]) for i, j in self._pairs], self._seen.tolist())

    def _keep(self, columns: list[int]) -> None:
        if len(columns) < len(self._pairs):
            self._blocks.narrow(columns)
            self._set_pairs([self._pairs[column] for column in columns], self._seen[columns].tolist())

    def _set_pairs(self, pairs: list[tuple[int, int]], seen: list[int]) -> None:
        self._pairs = pairs
        self._known = {*pairs}
        self._index = np.array([i for i, _ in pairs]), np.array([j for _, j in pairs])
        self._seen = np.array(seen)  # the outcome that had each product last
