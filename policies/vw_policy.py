"""The policy that plays what VW makes of its predictions."""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from policies.errors import StateInvalid
from policies.features import Action, Context
from policies.outcomes import check_actions, check_outcome
from policies.protocol import FloatArray, Outcome, Policy, PolicySpec
from policies.state import seal, unseal
from policies.vw_model import canonical, layout_of, with_clock, with_steps
from policies.vw_raw import RawVw

__all__ = ["Vw", "VwPlan"]

_ADOPTED_OUTCOMES: Final = 200  # how many a parent's weights count for in a child
_ADOPTED_CLOCK: Final = 20  # the same for how sure it is; docs/adr/0007 has the measurements of both
_SUM_TOLERANCE: Final = 1e-3  # of VW's scores: up to 1,000 float32 numbers
_HEAD = struct.Struct("<QQdd")


@dataclass(frozen=True, slots=True)
class VwPlan:
    """What a spec comes down to.

    Attributes
    ----------
    arguments
        VW options.
    epsilon
        Share of the decisions that is drawn evenly; in (0, 1].
    has_free_options
        Whether a user gave options that may change anything: how steps shrink, what a prediction writes where.
    is_regression
        See `Exploration`.
    overflows
        Whether hundreds of numbers of 1e9 can make a score NaN, as they do with rnd. All are then played evenly.
    sums_to_one
        Whether VW's scores do: regcbopt gives ties a 1 each.
    least_propensity
        See `Exploration`.
    marginal
        Whether VW gets a namespace ``m`` with the id of each action.
    resumable
        As `Policy.resumable`.
    reward_range
        As `Policy.reward_range`.
    """

    arguments: str
    epsilon: float
    has_free_options: bool
    is_regression: bool
    overflows: bool
    sums_to_one: bool
    least_propensity: float
    marginal: bool
    resumable: bool
    reward_range: tuple[float, float]


class Vw:
    """Plays what VW's exploration makes of its predictions, and `epsilon` of the time anything."""

    __slots__ = ("_asked", "_mean", "_n", "_n_adopted", "_plan", "_raw", "_spec", "_squares")

    def __init__(self, spec: PolicySpec, plan: VwPlan) -> None:
        self._spec = spec
        self._plan = plan
        self._raw: RawVw | None = None  # 4 ms, which a policy that is loaded at once need not spend
        # The last actions that were asked about and their lines: most often the next question is about the same.
        self._asked: tuple[list[Action], list[str]] = [], []
        self._n = 0  # outcomes that the model learned, a parent's included
        self._n_adopted = 0  # those of them that squarecb and regcb do not count
        self._mean = 0.0
        self._squares = 0.0

    @property
    def resumable(self) -> bool:
        """Whether a loaded state goes on bit for bit, which tests hold for every setting but some `options`."""
        return self._plan.resumable

    @property
    def reward_range(self) -> tuple[float, float]:
        """The least and the largest reward that `learn` takes."""
        return self._plan.reward_range

    def probabilities(self, context: Context, actions: Sequence[Action]) -> FloatArray:
        """Return what would be played now: shape (n_actions,), each at least epsilon ÷ n_actions.

        Raises
        ------
        ArithmeticError
            VW answers with what is no distribution; none of the settings makes it, `options` could.
        """
        return self.probabilities_of(context.line, actions)

    def probabilities_of(self, context_line: str, actions: Sequence[Action]) -> FloatArray:
        """Return the same for the text of a context, as `Context.line` has it."""
        if not actions:
            check_actions(actions)
        n_actions = len(actions)
        if self._n == 0:  # rnd and synthcover would prefer some to others without a reason
            return np.full(n_actions, 1.0 / n_actions)
        plan = self._plan
        if actions != self._asked[0]:
            self._asked = list(actions), self._lines(actions)
        scores = self._scores(f"shared {context_line}", self._asked[1])
        if len(scores) != n_actions:
            raise AssertionError(f"VW saw {len(scores)} actions in {n_actions} lines")
        total = sum(scores)
        if math.isnan(total) and plan.overflows:
            return np.full(n_actions, 1.0 / n_actions)
        most = (1.0 if plan.sums_to_one else n_actions) + _SUM_TOLERANCE
        if not 1.0 - _SUM_TOLERANCE <= total <= most or min(scores) < 0.0:  # also where a score is NaN
            raise ArithmeticError(f"VW answered {n_actions} actions with what is no distribution: sum {total!r}")
        share, evenly = (1.0 - plan.epsilon) / total, plan.epsilon / n_actions
        return np.array([score * share + evenly for score in scores])  # for fewer than 100, half the time of arrays

    def learn(self, outcome: Outcome) -> None:
        """Take one outcome in."""
        check_outcome(outcome, self._plan.reward_range)
        n = self._n + 1
        mean = self._mean + (outcome.reward - self._mean) / n
        squares = self._squares + (outcome.reward - self._mean) * (outcome.reward - mean)
        cost = (mean - outcome.reward) / (2.0 * math.sqrt(squares / n)) if squares > 0.0 else 0.0
        lines = [f"shared {outcome.context.line}", *self._lines(outcome.actions)]
        # float(): a numpy scalar writes itself as "np.float64(…)", which VW would read as no label at all.
        label = f"0:{float(cost)!r}:{float(self._weighed(outcome.propensity))!r} "
        lines[1 + outcome.chosen] = label + lines[1 + outcome.chosen]
        self._vw().learn("\n".join(lines))
        self._n, self._mean, self._squares = n, float(mean), float(squares)

    def adopt(self, parent: Policy) -> None:
        """Start from the weights of a policy of the same spec, and unlearn them easily.

        Its steps are as large as after 200 outcomes, so that it is not bound to a parent that saw thousands; squarecb
        and regcb, which explore less the more outcomes they count, count on from 20.
        """
        if not isinstance(parent, Vw):
            raise TypeError("the parent is of another spec")
        self.loads(parent.dumps())
        clock = min(self._n - self._n_adopted, _ADOPTED_CLOCK)
        model = with_clock(self._model(), clock)
        if not self._plan.has_free_options and self._n > _ADOPTED_OUTCOMES:
            layout = layout_of(self._plan.arguments)
            model = with_steps(model, layout, n_outcomes=self._n, share=_ADOPTED_OUTCOMES / self._n)
        self._raw = RawVw(self._plan.arguments, model=model)
        self._n_adopted = self._n - clock

    def dumps(self) -> bytes:
        """Return the whole state."""
        try:
            model = self._model()
        except StateInvalid as error:
            raise AssertionError(str(error)) from error
        return seal(self._spec, _HEAD.pack(self._n, self._n_adopted, self._mean, self._squares) + model)

    def loads(self, state: bytes) -> None:
        """Replace the state."""
        payload = unseal(self._spec, state)
        if len(payload) < _HEAD.size:
            raise StateInvalid("the moments of the reward are not there")
        n, n_adopted, mean, squares = _HEAD.unpack_from(payload)
        model = payload[_HEAD.size :]
        if canonical(model, layout_of(self._plan.arguments), n_outcomes=n, clock=n - n_adopted) != model:
            raise StateInvalid("the VW model counts predictions, so that `dumps` did not write it")
        self._raw = RawVw(self._plan.arguments, model=model)
        self._n, self._n_adopted, self._mean, self._squares = n, n_adopted, mean, squares

    def _scores(self, shared: str, lines: list[str]) -> list[float]:
        vw = self._raw or self._vw()
        if self._plan.has_free_options:
            return vw.predict("\n".join([shared, *lines]))
        return vw.predict_actions(shared, lines)

    def _vw(self) -> RawVw:
        if self._raw is None:
            self._raw = RawVw(self._plan.arguments)
        return self._raw

    def _model(self) -> bytes:
        layout = layout_of(self._plan.arguments)
        return canonical(self._vw().save(), layout, n_outcomes=self._n, clock=self._n - self._n_adopted)

    def _lines(self, actions: Sequence[Action]) -> list[str]:
        if self._plan.marginal:
            return [f"{action.line} |m {_id_feature(action)} %" for action in actions]
        return [action.line for action in actions]

    def _weighed(self, propensity: float) -> float:
        """Return the propensity that VW learns with."""
        return 1.0 if self._plan.is_regression else max(propensity, self._plan.least_propensity)


def _id_feature(action: Action) -> str:
    first = action.line.split(" ", 2)[1]
    return first if first.startswith("%id=") else f"%id={action.id}"  # called by its place: nothing in it to escape
