"""A weighted sum of other policies: what is played is drawn from exactly the mixed distribution.

Every policy inside learns from every outcome, with the propensity that the mixture played it with: they correct
for it as they would for any other logging policy.

The payload of a state is the length and the state of each policy in turn, then that of the weights.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, cast

from policies.corral import Corral
from policies.errors import InvalidInput, StateInvalid
from policies.features import Action, Context
from policies.models import Model, model_of
from policies.outcomes import check_actions, check_outcome
from policies.protocol import FloatArray, Outcome, Policy, PolicySpec
from policies.settings import check_range
from policies.spec import BaseSpec
from policies.state import seal, unseal

__all__ = ["Mixture", "MixtureSpec"]

_MOST_POLICIES: Final = 32  # mixtures within the mixture and what is in those included: each may take megabytes
_DEFAULTS: Final = {"learning_rate": 0.5, "min_weight": 0.01}
_RANGES: Final = {"learning_rate": (1e-3, 10.0), "min_weight": (1e-4, 1.0)}
_LENGTH: Final = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class MixtureSpec(BaseSpec):
    """Settings of `Mixture`.

    Parameters
    ----------
    policies
        Specs of what is mixed; 1 to 32, those within a mixture inside included.
    model
        ``"fixed"``: the weights stay. ``"corral"``: they move towards the policies that would have earned more.
    weights
        One number > 0 per policy, of which only the proportions matter; None: all alike. With corral, to start with.
    learning_rate
        corral only: size of a step; 0.001 to 10, default 0.5.
    min_weight
        corral only: no weight falls below it, or below an even share if that is less; 0.0001 to 1, default 0.01.

    Raises
    ------
    InvalidInput
        A setting is out of its range or belongs to another model.
    """

    kind: ClassVar[str] = "mixture"

    policies: tuple[PolicySpec, ...]
    model: str = "fixed"
    weights: tuple[float, ...] | None = None
    learning_rate: float | None = None
    min_weight: float | None = None

    def __post_init__(self) -> None:
        """Check every setting and write out the defaults that depend on `model`."""
        BaseSpec.__post_init__(self)  # super() does not find the class that slots=True made
        if not 1 <= _count(self) <= _MOST_POLICIES:
            detail = f"must hold 1 to {_MOST_POLICIES} policies, those inside them included, not {_count(self)}"
            raise InvalidInput("setting_out_of_range", "policies", detail)
        for name in model_of(self, _MODELS).settings:
            if getattr(self, name) is None:
                object.__setattr__(self, name, _DEFAULTS[name])  # frozen from here on
            low, high = _RANGES[name]
            check_range(name, getattr(self, name), low=low, high=high)
        self._check_weights()

    def make(self) -> Policy:
        """Make the policy, as it is before any outcome.

        Raises
        ------
        InvalidInput
            No reward is one that all policies inside learn from.
        """
        return model_of(self, _MODELS).make(self)

    def shares(self) -> tuple[float, ...]:
        """Return the weights as shares of 1."""
        given = self.weights or (1.0,) * len(self.policies)
        total = sum(given)
        return tuple(weight / total for weight in given)

    def least(self) -> float:
        """Return what no learned weight falls below."""
        return min(self.min_weight or 0.0, *self.shares())

    def _check_weights(self) -> None:
        given = self.weights
        if given is None:
            return
        if len(given) != len(self.policies):
            detail = f"must hold one number for each of the {len(self.policies)} policies, not {len(given)}"
            raise InvalidInput("setting_out_of_range", "weights", detail)
        for i, weight in enumerate(given):
            check_range(f"weights[{i}]", weight, low=1e-6, high=1e6)
        even = 1.0 / len(given)
        for i, share in enumerate(self.shares()):
            if share < min(self.min_weight or 0.0, even):
                detail = f"is {share:g} of all weights, less than min_weight, {self.min_weight:g}"
                raise InvalidInput("setting_out_of_range", f"weights[{i}]", detail)


class Mixture:
    """Plays Σ weight × probability over the policies inside."""

    __slots__ = ("_corral", "_policies", "_reward_range", "_shares", "_spec")

    def __init__(self, spec: MixtureSpec) -> None:
        self._spec = spec
        self._policies = [inner.build() for inner in spec.policies]
        self._reward_range = _common_range(self._policies)
        self._shares = spec.shares()
        self._corral = self._new_corral()

    @property
    def resumable(self) -> bool:
        """Whether all policies inside are."""
        return all(policy.resumable for policy in self._policies)

    @property
    def reward_range(self) -> tuple[float, float]:
        """What all policies inside learn from."""
        return self._reward_range

    @property
    def weights(self) -> tuple[float, ...]:
        """Share of each policy as it is now; they sum to 1."""
        return self._shares if self._corral is None else self._corral.weights

    def probabilities(self, context: Context, actions: Sequence[Action]) -> FloatArray:
        """Return the mixed distribution: shape (n_actions,)."""
        check_actions(actions)
        first, *rest = zip(self.weights, self._policies, strict=True)
        mixed = first[0] * first[1].probabilities(context, actions)
        for weight, policy in rest:
            mixed += weight * policy.probabilities(context, actions)
        return mixed

    def learn(self, outcome: Outcome) -> None:
        """Take one outcome in: every policy learns it, and the weights do unless they are fixed."""
        check_outcome(outcome, self._reward_range)
        if self._corral is not None:
            chances = [
                float(policy.probabilities(outcome.context, outcome.actions)[outcome.chosen])
                for policy in self._policies
            ]
            self._corral.add(chances, propensity=float(outcome.propensity), reward=float(outcome.reward))
        for policy in self._policies:
            policy.learn(outcome)

    def adopt(self, parent: Policy) -> None:
        """Let each policy inside start from its like in the parent, and the weights from the parent's."""
        if not isinstance(parent, Mixture) or parent._spec != self._spec:  # noqa: SLF001 - of the same class
            raise TypeError("the parent is of another spec")
        for policy, other in zip(self._policies, parent._policies, strict=True):  # noqa: SLF001 - of the same class
            policy.adopt(other)
        if self._corral is not None:
            self._corral.adopt(cast("Corral", parent._corral))  # noqa: SLF001 - of the same class, and the same spec

    def dumps(self) -> bytes:
        """Return the whole state."""
        states = [policy.dumps() for policy in self._policies]
        parts = [part for state in states for part in (_LENGTH.pack(len(state)), state)]
        return seal(self._spec, b"".join([*parts, b"" if self._corral is None else self._corral.dumps()]))

    def loads(self, state: bytes) -> None:
        """Replace the state."""
        rest = unseal(self._spec, state)
        policies = [inner.build() for inner in self._spec.policies]  # new ones: if one refuses, none has changed
        for policy in policies:
            own, rest = _split(rest)
            policy.loads(own)
        corral = self._new_corral()
        if corral is not None:
            corral.loads(rest)
        elif rest:
            raise StateInvalid("the state goes on after its last policy")
        self._policies, self._corral = policies, corral

    def _new_corral(self) -> Corral | None:
        spec = self._spec
        if spec.learning_rate is None:
            return None
        return Corral(self._shares, learning_rate=spec.learning_rate, least=spec.least())


_MODELS: Final[Mapping[str, Model[MixtureSpec]]] = {
    "fixed": Model((), Mixture),
    "corral": Model(("learning_rate", "min_weight"), Mixture),
}


def _split(payload: bytes) -> tuple[bytes, bytes]:
    """Return the state of the next policy and what comes after it."""
    if len(payload) < _LENGTH.size:
        raise StateInvalid("the state holds too few policies")
    end = _LENGTH.size + _LENGTH.unpack_from(payload)[0]
    if len(payload) < end:
        raise StateInvalid("the state of a policy is cut short")
    return payload[_LENGTH.size : end], payload[end:]


def _common_range(policies: Sequence[Policy]) -> tuple[float, float]:
    ranges = [policy.reward_range for policy in policies]
    low, high = max(low for low, _ in ranges), min(high for _, high in ranges)
    if not low < high:
        listed = ", ".join(f"{low:g} to {high:g}" for low, high in ranges)
        raise InvalidInput("setting_out_of_range", "policies", f"must share a range of rewards; theirs are {listed}")
    return low, high


def _count(spec: Any) -> int:
    """Return how many policies are inside a spec, at any depth."""
    inner: tuple[PolicySpec, ...] = getattr(spec, "policies", ())
    return sum(1 + _count(one) for one in inner)
