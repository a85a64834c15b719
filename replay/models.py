"""Reward models: what an action would earn, as the doubly robust estimators need it.

Two kinds, by what keeps them honest:

- *predictable* (``"linear"``, ``"means"``): fitted on the rows before the block that they predict, and on nothing
  else, so that they may stand beside policies that learn from the same log;
- *cross-fitted* (``"ridge"``, ``"logistic"``, ``"boosting"``): a first pass over the log gathers up to 100,000
  rows and fits one model for each fold of the other folds' rows. Folds go by a hash of the event id, so that shards and
  repeated runs agree. They may stand beside policies that do not change along the log.

A model that has seen its own row flatters whoever plays what happened to pay.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, Protocol

import numpy as np

from policies.protocol import FloatArray
from replay.block import Block, IntArray
from replay.errors import InvalidLog
from replay.features import Hashed, hashed

__all__ = ["FITTED", "MODELS", "CrossFitted", "OnlineLinear", "OnlineMeans", "RewardModel", "fold_of"]

_LINEAR_BITS: Final = 9  # 512 columns: normal equations of 2 MB, solved in 10 ms
_RIDGE: Final = 10.0  # rows that the prior is worth
_GROWTH: Final = 1.1  # refitted whenever there are a tenth more rows
_FIRST: Final = 32  # rows before the first fit
_FITTED_BITS: Final = 12
_BOOSTED_BITS: Final = 8  # trees want few columns, all of them dense: 100 MB for the rows below
_FOLDS: Final = 5
_CAP_ROWS: Final = 100_000  # rows that a cross-fitted model keeps in memory, evenly over the log

Kind = Literal["linear", "means", "ridge", "logistic", "boosting"]


class RewardModel(Protocol):
    """Predicts the reward of every eligible action."""

    def predict(self, block: Block) -> FloatArray:
        """Return predictions, places one after another, shape (sum of n_eligible,)."""

    def learn(self, block: Block) -> None:
        """Take a block in, after it was predicted."""


class OnlineMeans:
    """Each action's mean reward so far, drawn towards that of all actions."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float, float]] = {}
        self._n = 0.0
        self._total = 0.0

    def predict(self, block: Block) -> FloatArray:
        """Return the means before this block."""
        overall = self._total / self._n if self._n else 0.0
        means = {action: (total + _RIDGE * overall) / (n + _RIDGE) for action, (n, total) in self._sums.items()}
        return np.array([means.get(action.id, overall) for place in block.places for action in place.actions])

    def learn(self, block: Block) -> None:
        """Add the rewards of a block to those of the actions that earned them."""
        for place, reward in zip(block.places, place_rewards(block).tolist(), strict=True):
            action = place.actions[place.chosen].id
            n, total = self._sums.get(action, (0.0, 0.0))
            self._sums[action] = n + 1.0, total + reward
            self._n += 1.0
            self._total += reward


class OnlineLinear:
    """A ridge regression on hashed features, solved anew whenever it has seen a tenth more rows."""

    def __init__(self) -> None:
        n = 1 << _LINEAR_BITS
        self._squares = np.zeros((n, n))
        self._products = np.zeros(n)
        self._weights: FloatArray = np.zeros(n)
        self._n = 0
        self._next = _FIRST
        self._last: tuple[Sequence[Any], Hashed] | None = None

    def predict(self, block: Block) -> FloatArray:
        """Return what the rows before this block say."""
        rows = hashed(block.places, bits=_LINEAR_BITS)
        self._last = block.places, rows
        return rows.dot(self._weights)

    def learn(self, block: Block) -> None:
        """Take the chosen actions and their rewards in."""
        known = self._last
        rows = known[1] if known is not None and known[0] is block.places else hashed(block.places, bits=_LINEAR_BITS)
        table = rows.dense(chosen_rows(block), 1 << _LINEAR_BITS)
        self._squares += table.T @ table
        self._products += table.T @ place_rewards(block)
        self._n += len(table)
        if self._n >= self._next:
            self._next = int(self._n * _GROWTH) + 1
            prior = np.full(len(self._products), _RIDGE)
            prior[0] = 1e-6  # the mean reward is not drawn to 0
            self._weights = np.linalg.solve(self._squares + np.diag(prior), self._products).astype(np.float64)


class CrossFitted:
    """A scikit-learn model a fold, fitted on the rows of the other folds.

    Parameters
    ----------
    kind
        ``"ridge"``, ``"logistic"`` (rewards of two values) or ``"boosting"``.
    folds
        At least 2.
    cap
        Rows to keep, of all folds together: those with the least hashes, so evenly over the log.
    """

    def __init__(self, kind: Kind, *, folds: int = _FOLDS, cap: int = _CAP_ROWS) -> None:
        self._kind = kind
        self._folds = folds
        self._cap = cap
        self._bits = _BOOSTED_BITS if kind == "boosting" else _FITTED_BITS
        self._rows: list[tuple[int, IntArray, FloatArray, float]] = []  # hash, columns, values, reward
        self._limit = 1 << 64
        self._n_seen = 0
        self._models: list[Any] = []

    def gather(self, block: Block) -> None:
        """Keep what a block adds to the rows to be fitted."""
        keys = _keys(block, self._n_seen)
        self._n_seen += block.n_places
        rewards = place_rewards(block)
        kept = [i for i, key in enumerate(keys) if key < self._limit]
        rows = hashed([_only_chosen(block.places[i]) for i in kept], bits=self._bits)
        ends = np.append(rows.starts[1:], len(rows.indices))
        for i, start, end in zip(kept, rows.starts.tolist(), ends.tolist(), strict=True):
            self._rows.append((keys[i], rows.indices[start:end], rows.values[start:end], float(rewards[i])))
        if len(self._rows) > self._cap:
            self._rows.sort(key=lambda row: row[0])
            self._limit = self._rows[self._cap][0]
            del self._rows[self._cap :]

    def fit(self) -> None:
        """Fit one model a fold.

        Raises
        ------
        InvalidLog
            A fold leaves no rows to fit on, or the rewards do not suit the kind.
        """
        folds = np.array([fold_of(key, self._folds) for key, *_ in self._rows])
        rewards = np.array([reward for *_, reward in self._rows])
        if self._kind == "logistic" and len(np.unique(rewards)) > 2:  # noqa: PLR2004 - a probability of one of two
            raise InvalidLog(
                "rewards_not_binary", "reward_model", "must be ridge or boosting: rewards have many values"
            )
        table = _table([(columns, values) for _, columns, values, _ in self._rows], 1 << self._bits)
        for fold in range(self._folds):
            others = np.flatnonzero(folds != fold)
            if not len(others):
                raise InvalidLog("too_few_rows", "reward_model", "has no rows to be fitted on: leave it out")
            self._models.append(_fitted(self._kind, table[others], rewards[others]))
        self._rows = []

    def predict(self, block: Block) -> FloatArray:
        """Return, for each place, what the model says that has not seen its fold."""
        keys = _keys(block, self._n_seen)
        self._n_seen += block.n_places
        rows = hashed(block.places, bits=self._bits)
        ends = np.append(rows.starts[1:], len(rows.indices))
        pairs = [
            (rows.indices[a:b], rows.values[a:b]) for a, b in zip(rows.starts.tolist(), ends.tolist(), strict=True)
        ]
        table = _table(pairs, 1 << self._bits)
        fold = np.repeat([fold_of(key, self._folds) for key in keys], block.n_eligible)
        result = np.zeros(len(pairs))
        for index, model in enumerate(self._models):
            of_fold = np.flatnonzero(fold == index)
            if len(of_fold):
                result[of_fold] = model(table[of_fold])
        return result

    def rewind(self) -> None:
        """Begin at the log's beginning again, as fitted."""
        self._n_seen = 0

    def learn(self, block: Block) -> None:
        """Learn nothing: it was fitted before."""


MODELS: Final[Mapping[str, Callable[[], RewardModel]]] = {
    "linear": OnlineLinear,
    "means": OnlineMeans,
    "ridge": lambda: CrossFitted("ridge"),
    "logistic": lambda: CrossFitted("logistic"),
    "boosting": lambda: CrossFitted("boosting"),
}


FITTED: Final = ("ridge", "logistic", "boosting")  # those that see all of the log before they predict


def fold_of(key: int, folds: int) -> int:
    """Return the fold of a row; other bits of its hash say whether it is kept."""
    return (key >> 8) % folds if folds < 1 << 8 else key % folds


def chosen_rows(block: Block) -> IntArray:
    """Return which of all eligible actions of all places were chosen, as indices into them."""
    result: IntArray = np.cumsum(block.n_eligible) - block.n_eligible + block.chosen
    return result


def place_rewards(block: Block) -> FloatArray:
    """Return the reward of each place, as rows count it."""
    if block.starts is not None:
        raise InvalidLog(
            "rewards_of_slots_missing", "reward_model", "needs the reward of each slot, not of all together"
        )
    return block.rewards


def _keys(block: Block, first: int) -> list[int]:
    """Return a hash of each place's event: of its id, or of its place in the log if it has none."""
    events = range(block.n_events) if block.event_of is None else block.event_of.tolist()
    ids = block.event_ids
    names = [str(ids[i]) if len(ids) and ids[i] else f"#{first + place}" for place, i in enumerate(events)]
    return [int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) for name in names]


def _only_chosen(place: Any) -> Any:
    return type(place)(place.context, (place.actions[place.chosen],), 0)


def _table(rows: Sequence[tuple[IntArray, FloatArray]], n_columns: int) -> Any:
    from scipy.sparse import csr_matrix  # type: ignore[import-untyped] # noqa: PLC0415 - with scikit-learn, an extra

    starts = np.cumsum([0, *(len(columns) for columns, _ in rows)])
    columns = np.concatenate([columns for columns, _ in rows]) if rows else np.zeros(0, dtype=np.intp)
    values = np.concatenate([values for _, values in rows]) if rows else np.zeros(0)
    return csr_matrix((values, columns, starts), shape=(len(rows), n_columns))


def _fitted(kind: Kind, table: Any, rewards: FloatArray) -> Callable[[Any], FloatArray]:
    """Return a function from rows to predictions."""
    if len(np.unique(rewards)) == 1:
        only = float(rewards[0])
        return lambda rows: np.full(rows.shape[0], only)
    if kind == "logistic":
        from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - of the extra `replay`

        low, high = float(rewards.min()), float(rewards.max())
        classifier = LogisticRegression(C=1.0, max_iter=1_000).fit(table, rewards == high)
        return lambda rows: low + (high - low) * classifier.predict_proba(rows)[:, 1]
    if kind == "boosting":
        from sklearn.ensemble import HistGradientBoostingRegressor  # noqa: PLC0415 - as above

        trees = HistGradientBoostingRegressor(random_state=0).fit(table.astype(np.float32).toarray(), rewards)
        return lambda rows: np.asarray(trees.predict(rows.toarray()))
    from sklearn.linear_model import Ridge  # noqa: PLC0415 - as above

    model = Ridge(alpha=_RIDGE, solver="lsqr").fit(table, rewards)
    return lambda rows: np.asarray(model.predict(rows))
