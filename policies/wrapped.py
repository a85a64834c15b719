"""What any policy can be wrapped in: a floor under its probabilities, a window on what it remembers."""

import struct
from collections.abc import Callable, Sequence

from policies.errors import StateInvalid
from policies.features import Action, Context
from policies.protocol import FloatArray, Outcome, Policy, PolicySpec
from policies.state import seal, unseal

__all__ = ["Floored", "Windowed"]

_HEAD = struct.Struct("<QQ")  # outcomes learned, bytes of the older policy's state


class Floored:
    """Plays every action with at least `floor`: (1 − n × floor) of what the policy plays, and `floor` of each.

    Parameters
    ----------
    policy
        What is wrapped.
    floor
        In (0, 1]; where n actions × floor is more than 1, all are played evenly.
    """

    __slots__ = ("_floor", "_policy")

    def __init__(self, policy: Policy, floor: float) -> None:
        self._policy = policy
        self._floor = floor

    @property
    def resumable(self) -> bool:
        """As the policy inside."""
        return self._policy.resumable

    @property
    def reward_range(self) -> tuple[float, float]:
        """As the policy inside."""
        return self._policy.reward_range

    def probabilities(self, context: Context, actions: Sequence[Action]) -> FloatArray:
        """Return what would be played now: shape (n_actions,)."""
        inner = self._policy.probabilities(context, actions)
        floor = min(self._floor, 1.0 / len(actions))
        return inner * max(0.0, 1.0 - floor * len(actions)) + floor

    def learn(self, outcome: Outcome) -> None:
        """Take one outcome in."""
        self._policy.learn(outcome)

    def adopt(self, parent: Policy) -> None:
        """Start from what a policy of the same spec has learned."""
        if not isinstance(parent, Floored):
            raise TypeError("the parent has no floor: it is of another spec")
        self._policy.adopt(parent._policy)  # noqa: SLF001 - of the same class

    def dumps(self) -> bytes:
        """Return the whole state."""
        return self._policy.dumps()

    def loads(self, state: bytes) -> None:
        """Replace the state."""
        self._policy.loads(state)


class Windowed:
    """Forgets: two policies learn, and each time the younger has seen `window` outcomes the older one goes.

    The older one plays. It has learned from the last `window` to 2 × `window` outcomes, or from all while there
    are fewer; what lies further back has no part in it. This works for any policy, at twice the cost of learning.

    Parameters
    ----------
    spec
        Whose state this is.
    make
        Makes a policy that has learned nothing.
    window
        In outcomes, ≥ 1.
    """

    __slots__ = ("_make", "_n", "_older", "_spec", "_window", "_younger")

    def __init__(self, spec: PolicySpec, make: Callable[[], Policy], window: int) -> None:
        self._spec = spec
        self._make = make
        self._window = window
        self._n = 0
        self._older = make()
        self._younger: Policy | None = None

    @property
    def resumable(self) -> bool:
        """As the policies inside."""
        return self._older.resumable

    @property
    def reward_range(self) -> tuple[float, float]:
        """As the policies inside."""
        return self._older.reward_range

    def probabilities(self, context: Context, actions: Sequence[Action]) -> FloatArray:
        """Return what the older policy would play now: shape (n_actions,)."""
        return self._older.probabilities(context, actions)

    def learn(self, outcome: Outcome) -> None:
        """Take one outcome in."""
        self._older.learn(outcome)
        if self._younger is not None:
            self._younger.learn(outcome)
        self._n += 1
        if self._n % self._window == 0:
            self._older = self._older if self._younger is None else self._younger
            self._younger = self._make()

    def adopt(self, parent: Policy) -> None:
        """Start from what a policy of the same spec has learned."""
        if not isinstance(parent, Windowed):
            raise TypeError("the parent has no window: it is of another spec")
        self._older.adopt(parent._older)  # noqa: SLF001 - of the same class

    def dumps(self) -> bytes:
        """Return the whole state."""
        older = self._older.dumps()
        younger = b"" if self._younger is None else self._younger.dumps()
        return seal(self._spec, _HEAD.pack(self._n, len(older)) + older + younger)

    def loads(self, state: bytes) -> None:
        """Replace the state."""
        payload = unseal(self._spec, state)
        if len(payload) < _HEAD.size:
            raise StateInvalid("the head of the windowed state is not there")
        n, size = _HEAD.unpack_from(payload)
        if (n < self._window) != (len(payload) == _HEAD.size + size):
            raise StateInvalid("the state holds one policy too many or too few")
        older = self._make()
        older.loads(payload[_HEAD.size : _HEAD.size + size])
        younger = None if n < self._window else self._make()
        if younger is not None:
            younger.loads(payload[_HEAD.size + size :])
        self._n, self._older, self._younger = n, older, younger
