"""Thompson sampling over posteriors of which each action has its own.

With a discount, posteriors fade towards the prior with every outcome of the lane, whichever action it was of. They
do so in steps of about 1 %: an outcome's weight is ``discount ** (step × steps since)``, where a step is as many
outcomes as take off 1 %, or one if a single outcome takes off more.

A policy that has adopted a parent has two priors for each action that the parent knew: what the parent learned of
that action, counted as a few outcomes only, and what it learned of actions in general. Each makes a posterior; the
one that foretold the rewards better counts for more (`policies.posterior.mixed`). A segment that is like its parent
so gains what the parent knows, and one that is not soon stops listening.

The payload of a state is three lines of JSON: the number of outcomes and the prior that was adopted, if any; the
adopted priors per action; the statistics per action, followed, if there is a discount, by the step of the last lesson.
"""

import json
from collections.abc import Sequence
from typing import Final

import numpy as np

from policies.best import best_probabilities
from policies.errors import StateInvalid
from policies.features import Action, Context
from policies.outcomes import check_actions, check_outcome
from policies.per_action import PerAction, read_numbers
from policies.posterior import Model, Numbers, mixed, single
from policies.protocol import FloatArray, Outcome, Policy, PolicySpec
from policies.settings import check_discount, check_max_actions
from policies.shapes import Posterior
from policies.state import seal, unseal

__all__ = ["IndependentThompson"]

_EXPLORED_ANYWAY: Final = 1e-6  # share spread evenly, so that no logged propensity is 0 however sure posteriors are
_CACHED_VECTORS: Final = 256  # lists of ids whose probabilities are kept until the next lesson
_CACHED_POSTERIORS: Final = 4_096  # actions; about 2.3 kB each
_STEP: Final = 0.01  # what may fade at once


class IndependentThompson:
    """Plays every action with the probability that its mean is the largest.

    Parameters
    ----------
    spec
        Whose state this is.
    model
        How rewards become posteriors.
    discount
        What an outcome still counts after the next one of the lane.
    max_actions
        Ids kept.
    """

    __slots__ = (
        "_adopted", "_base", "_fades", "_model", "_n", "_posteriors", "_spec", "_statistics", "_step", "_unknown",
        "_vectors", "reward_range",
    )  # fmt: skip

    resumable = True

    def __init__(self, spec: PolicySpec, model: Model, *, discount: float, max_actions: int) -> None:
        check_discount(discount)
        check_max_actions(max_actions)
        self._spec = spec
        self._model = model
        self.reward_range = model.reward_range
        self._step = max(1, round(_STEP / (1.0 - discount))) if discount < 1.0 else 0  # outcomes; 0: nothing fades
        self._fades = discount**self._step
        self._n = 0
        self._base: Numbers = ()  # the prior adopted, if any
        self._adopted = PerAction(width=len(model.prior), max_actions=max_actions)
        self._statistics = PerAction(width=len(model.unseen) + (discount < 1.0), max_actions=max_actions)
        self._posteriors: dict[str, Posterior] = {}
        self._vectors: dict[tuple[str, ...], FloatArray] = {}
        self._start_again()

    def probabilities(self, context: Context, actions: Sequence[Action]) -> FloatArray:  # noqa: ARG002 - context-free
        """Return what would be played now: shape (n_actions,), not to be written to."""
        check_actions(actions)
        ids = tuple([action.id for action in actions])
        vector = self._vectors.get(ids)
        if vector is None:
            vector = self._computed(ids)
            vector.flags.writeable = False
            if len(self._vectors) >= _CACHED_VECTORS:
                self._vectors.clear()
            self._vectors[ids] = vector
        return vector

    def learn(self, outcome: Outcome) -> None:
        """Take the reward into the posterior of the chosen action.

        The propensity plays no part: what an action paid says the same about it however likely
        it was to be chosen.
        """
        check_outcome(outcome, self.reward_range)
        self._n += 1
        chosen = outcome.actions[outcome.chosen].id
        statistics = self._model.learned(self._statistics_of(chosen), outcome.reward)
        if self._step:
            statistics = (*statistics, float(self._n // self._step))
        forgotten = self._statistics.put(chosen, statistics)
        self._vectors.clear()
        if self._step and self._n % self._step == 0:
            self._posteriors.clear()
        self._posteriors.pop(chosen, None)
        if forgotten is not None:
            self._posteriors.pop(forgotten, None)

    def adopt(self, parent: Policy) -> None:
        """Take the parent's posteriors as one prior of each action, and its actions in general as the other."""
        if not isinstance(parent, IndependentThompson):
            raise TypeError("the parent is of another spec")
        statistics = {action_id: parent._statistics_of(action_id) for action_id in parent._statistics.values}  # noqa: SLF001 - of the same class
        if not statistics:
            return
        self._base, informed = self._model.adopted(statistics)
        for action_id, prior in informed.items():
            self._adopted.put(action_id, prior)
        self._start_again()

    def dumps(self) -> bytes:
        """Return the whole state."""
        head = json.dumps([float(self._n), *self._base], separators=(",", ":")).encode()
        return seal(self._spec, b"\n".join((head, self._adopted.dumps(), self._statistics.dumps())))

    def loads(self, state: bytes) -> None:
        """Replace the state."""
        lines = unseal(self._spec, state).split(b"\n")
        if len(lines) != 3:  # noqa: PLR2004 - as `dumps` writes
            raise StateInvalid("the state is not three lines")
        numbers = read_numbers(lines[0])
        if len(numbers) not in (1, 1 + len(self._model.prior)) or not numbers[0].is_integer():
            raise StateInvalid("the first line of the state is not a number of outcomes and a prior")
        adopted, statistics = self._adopted.like(), self._statistics.like()
        adopted.loads(lines[1])
        statistics.loads(lines[2])
        self._n, self._base = int(numbers[0]), numbers[1:]
        self._adopted, self._statistics = adopted, statistics
        self._start_again()

    def _start_again(self) -> None:
        self._vectors.clear()
        self._posteriors.clear()
        self._unknown = single(self._model.component(self._base or self._model.prior, self._model.unseen))

    def _computed(self, ids: tuple[str, ...]) -> FloatArray:
        posteriors = [self._posteriors.get(action_id) or self._posterior(action_id) for action_id in ids]
        unknown = self._unknown
        known = [posterior for posterior in posteriors if posterior is not unknown]
        n_known, n_actions = len(known), len(ids)
        counts = [1] * n_known
        if n_known < n_actions:
            known.append(unknown)
            counts.append(n_actions - n_known)
        chances = best_probabilities(known, counts, self._model)
        if n_known < n_actions:
            each = iter(chances)
            chances = [chances[-1] if posterior is unknown else next(each) for posterior in posteriors]
        least = _EXPLORED_ANYWAY / n_actions
        return np.array([chance * (1.0 - _EXPLORED_ANYWAY) + least for chance in chances])

    def _posterior(self, action_id: str) -> Posterior:
        """Return the posterior of an action; `_unknown` itself for one that nothing is known of."""
        informed = self._adopted.values.get(action_id)
        if informed is None and action_id not in self._statistics.values:
            return self._unknown
        statistics = self._statistics_of(action_id)
        base = self._model.component(self._base or self._model.prior, statistics)
        posterior = single(base) if informed is None else mixed(base, self._model.component(informed, statistics))
        if len(self._posteriors) >= _CACHED_POSTERIORS:
            self._posteriors.clear()
        self._posteriors[action_id] = posterior
        return posterior

    def _statistics_of(self, action_id: str) -> Numbers:
        """Return an action's statistics as of now."""
        statistics = self._statistics.values.get(action_id)
        if statistics is None:
            return self._model.unseen
        if not self._step:
            return statistics
        *then, step = statistics
        return self._model.faded(tuple(then), self._fades ** (self._n // self._step - step))
