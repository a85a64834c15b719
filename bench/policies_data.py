"""What the policies are asked and told: made-up requests and rewards, the same for the same seed.

Two kinds of traffic. `Shop`: contexts of 10 features (7 words, 3 numbers) and actions of 5 (2 words, 3 numbers),
as a server gets them. `Stream`: contexts of 20 numbers and actions that are ids alone, which every library of
contextual bandits takes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies import Action, Context, Outcome

__all__ = ["DIMENSIONS", "Request", "Shop", "Stream"]

DIMENSIONS = 20
_CATALOGUE = 1_000
_WORDS = {"device": 4, "country": 10, "referrer": 5, "weekday": 7, "plan": 4, "language": 6, "last_category": 8}
_RATE = 0.2  # of clicks, on the whole


@dataclass(frozen=True, slots=True)
class Request:
    """A context and its actions, as JSON decodes them: (id, features)."""

    context: dict[str, Any]
    actions: Sequence[tuple[str, dict[str, Any]]]

    def encoded(self) -> tuple[Context, list[Action]]:
        """Return what a policy takes."""
        return Context.of(self.context), [Action.of(action_id, features) for action_id, features in self.actions]


class Shop:
    """Requests with words and numbers, actions from a catalogue of 1,000 items."""

    def __init__(self, *, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._items = [(f"item-{number:06d}", self._features()) for number in range(_CATALOGUE)]

    def known(self, n: int, *, n_actions: int, same: bool = False) -> list[Request]:
        """Return requests whose actions have the catalogue's features; `same`: the same actions in all of them."""
        drawn = self._drawn(n_actions)
        return [
            Request(self.context(), [self._items[i] for i in (drawn if same else self._drawn(n_actions))])
            for _ in range(n)
        ]

    def fresh(self, n: int, *, n_actions: int) -> list[Request]:
        """Return requests whose actions have features that no other request has."""
        return [
            Request(self.context(), [(self._items[i][0], self._features()) for i in self._drawn(n_actions)])
            for _ in range(n)
        ]

    def context(self) -> dict[str, Any]:
        """Return a context: 7 words, 3 numbers."""
        rng = self._rng
        words = {name: f"{name}-{int(rng.integers(n)):02d}" for name, n in _WORDS.items()}
        return {
            **words,
            "visits": int(rng.integers(1, 60)),
            "session_minutes": round(float(rng.uniform(0, 30)), 2),
            "scroll_depth": round(float(rng.uniform(0, 1)), 4),
        }

    def outcomes(self, requests: Sequence[Request]) -> list[Outcome]:
        """Return one outcome for each request: an action evenly drawn, clicks on cheap things more often."""
        return [self._outcome(request) for request in requests]

    def _outcome(self, request: Request) -> Outcome:
        context, actions = request.encoded()
        chosen = int(self._rng.integers(len(actions)))
        chance = _RATE * (2.0 - float(request.actions[chosen][1]["price"]) / 2.0)
        return Outcome(context, actions, chosen, 1.0 / len(actions), float(self._rng.random() < chance))

    def _features(self) -> dict[str, Any]:
        rng = self._rng
        return {
            "category": f"category-{int(rng.integers(8))}",
            "brand": f"brand-{int(rng.integers(40)):02d}",
            "price": round(float(rng.uniform(0.05, 4.0)), 3),
            "mean_rating": round(float(rng.uniform(0.2, 1.0)), 3),
            "days_in_catalogue": int(rng.integers(10, 100)),
        }

    def _drawn(self, n_actions: int) -> list[int]:
        drawn: list[int] = self._rng.choice(_CATALOGUE, size=n_actions, replace=False).tolist()
        return drawn


class Stream:
    """Contexts of 20 normal numbers, actions that are ids, clicks whose chance depends on both.

    Attributes
    ----------
    vectors
        Shape (n, 20).
    chosen
        Shape (n,): the action of each outcome, evenly drawn.
    rewards
        Shape (n,): 0 or 1.
    """

    def __init__(self, n: int, *, n_actions: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        weights = rng.normal(size=(n_actions, DIMENSIONS)) / np.sqrt(DIMENSIONS)
        self.vectors: NDArray[np.float64] = np.round(rng.normal(size=(n, DIMENSIONS)), 4)
        self.chosen: NDArray[np.int64] = rng.integers(n_actions, size=n)
        scores = np.einsum("nd,nd->n", self.vectors, weights[self.chosen])
        self.rewards: NDArray[np.int64] = (rng.random(n) < 1.0 / (1.0 + np.exp(1.0 - 2.0 * scores))).astype(np.int64)
        self.actions = [Action.of(f"a{i}") for i in range(n_actions)]
        self.objects = [{f"x{i}": value for i, value in enumerate(row)} for row in self.vectors.tolist()]
        self.contexts = [Context.of(data) for data in self.objects]

    def outcome(self, i: int) -> Outcome:
        """Return outcome number i."""
        chosen = int(self.chosen[i])
        return Outcome(self.contexts[i], self.actions, chosen, 1.0 / len(self.actions), float(self.rewards[i]))

    def __len__(self) -> int:
        return len(self.contexts)
