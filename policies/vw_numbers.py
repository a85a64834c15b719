"""The numbers of a context as VW gets them: in deviations from their mean.

VW learns by steps along the features as they are. Numbers far from 0, such as a year, a price or a temperature, all
point the same way at every decision, and thousands of outcomes go by before a model has told them from a constant.
What a number says lies in how far it is from what is usual:

=====================  ==========================================================================================
in the context         what VW gets
=====================  ==========================================================================================
``name:number``        (number − mean) ÷ standard deviation of the numbers learned so far under that name, cut off at ±4
                       deviations; nothing as long as all were the same
anything else          as it is
=====================  ==========================================================================================

Mean and deviation remember about 1,000 numbers; from the tenth on a number counts at most as far out as ten deviations,
so that a single 1e9 does not flatten the others. Numbers of actions are left alone: VW has scales of its own for them,
and so the text of an action that does not change need not be written again.
"""

import json
import math
import struct
from collections.abc import Sequence
from typing import Any, Final

from policies.errors import StateInvalid
from policies.features import Action, Block, Context, Number
from policies.outcomes import check_outcome
from policies.protocol import FloatArray, Outcome, Policy, PolicySpec
from policies.state import seal, unseal
from policies.vw_policy import Vw

__all__ = ["Numbers", "Standardised"]

_LARGEST: Final = 4.0  # deviations
_MEMORY: Final = 1_000.0  # numbers
_TRUSTED: Final = 10.0  # numbers after which the deviation says what an outlier is
_OUTLIER: Final = 10.0  # deviations
_LEAST_RELATIVE_DEVIATION: Final = 1e-9  # of the mean: what is closer together may be rounding
_MAX_NAMES: Final = 4_096  # 64 names a context, in as many kinds of contexts; the one learned longest ago goes first
_NO_SCALES: Final[dict[str, tuple[float, float]]] = {}
_HEAD = struct.Struct("<I")  # bytes of the numbers

Sums = tuple[float, float, float]  # numbers, at most _MEMORY; their mean and variance


class Numbers:
    """What is usual for each number of a context."""

    __slots__ = ("_scales", "_sums")

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str], Sums] = {}  # by namespace and name, the one learned longest ago first
        self._scales: dict[str, dict[str, tuple[float, float]]] = {}  # by namespace, then by name

    def line(self, context: Context) -> str:
        """Return the line of a context with its numbers standardised."""
        blocks = context.blocks or _blocks(context.line)
        if len(blocks) == 1:
            return self._standardised(*blocks[0])
        return " ".join([self._standardised(tokens, numbers) for tokens, numbers in blocks])

    def _standardised(self, tokens: list[str], numbers: list[Number]) -> str:
        """Return the text of a namespace."""
        scales = self._scales.get(tokens[0], _NO_SCALES)
        tokens = tokens.copy()
        n_dropped = 0
        for place, name, number in numbers:
            scale = scales.get(name)
            if scale is None:
                del tokens[place - n_dropped]
                n_dropped += 1
                continue
            value = (number - scale[0]) * scale[1]
            if not -_LARGEST < value < _LARGEST:
                value = math.copysign(_LARGEST, value)
            tokens[place - n_dropped] = f"{name}:{value:.6g}"
        return " ".join(tokens)

    def learn(self, context: Context) -> None:
        """Take the numbers of a context in."""
        for tokens, numbers in context.blocks or _blocks(context.line):
            namespace = tokens[0]
            for _, name, number in numbers:
                self._set(namespace, name, _moved(self._sums.pop((namespace, name), None), float(number)))
        while len(self._sums) > _MAX_NAMES:
            namespace, name = next(iter(self._sums))
            del self._sums[namespace, name]
            self._unscale(namespace, name)

    def dumps(self) -> bytes:
        """Return the whole state."""
        return json.dumps([[*key, *sums] for key, sums in self._sums.items()], separators=(",", ":")).encode()

    def loads(self, state: bytes) -> None:
        """Replace the state.

        Raises
        ------
        StateInvalid
            It is not one that `dumps` returned.
        """
        try:
            rows = json.loads(state)
        except (ValueError, RecursionError):
            raise StateInvalid("the numbers are no JSON") from None
        if not isinstance(rows, list) or len(rows) > _MAX_NAMES:
            raise StateInvalid("not a list of numbers")
        self._sums, self._scales = {}, {}
        for row in rows:
            key, sums = _checked(row)
            if key in self._sums:
                raise StateInvalid("a number is there twice")
            self._set(*key, sums)

    def _set(self, namespace: str, name: str, sums: Sums) -> None:
        self._sums[namespace, name] = sums
        _, mean, variance = sums
        deviation = math.sqrt(variance)
        if deviation > _LEAST_RELATIVE_DEVIATION * abs(mean):
            self._scales.setdefault(namespace, {})[name] = (mean, 1.0 / deviation)
        else:
            self._unscale(namespace, name)

    def _unscale(self, namespace: str, name: str) -> None:
        table = self._scales.get(namespace, {})
        table.pop(name, None)
        if not table:
            self._scales.pop(namespace, None)


class Standardised:
    """A VW policy that gets the numbers of each context standardised.

    Parameters
    ----------
    spec
        Whose state this is.
    policy
        What is wrapped.
    """

    __slots__ = ("_numbers", "_policy", "_spec")

    def __init__(self, spec: PolicySpec, policy: Vw) -> None:
        self._spec = spec
        self._policy = policy
        self._numbers = Numbers()

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
        return self._policy.probabilities_of(self._numbers.line(context), actions)

    def learn(self, outcome: Outcome) -> None:
        """Take one outcome in."""
        check_outcome(outcome, self.reward_range)  # before anything changes
        context = outcome.context
        self._numbers.learn(context)
        seen = Context(context.data, self._numbers.line(context))
        self._policy.learn(Outcome(seen, outcome.actions, outcome.chosen, outcome.propensity, outcome.reward))

    def adopt(self, parent: Policy) -> None:
        """Start from what a policy of the same spec has learned."""
        if not isinstance(parent, Standardised):
            raise TypeError("the parent takes numbers as they are: it is of another spec")
        self._policy.adopt(parent._policy)  # noqa: SLF001 - of the same class
        self._numbers.loads(parent._numbers.dumps())  # noqa: SLF001 - of the same class

    def dumps(self) -> bytes:
        """Return the whole state."""
        numbers = self._numbers.dumps()
        return seal(self._spec, _HEAD.pack(len(numbers)) + numbers + self._policy.dumps())

    def loads(self, state: bytes) -> None:
        """Replace the state."""
        payload = unseal(self._spec, state)
        if len(payload) < _HEAD.size:
            raise StateInvalid("the numbers are not there")
        (size,) = _HEAD.unpack_from(payload)
        numbers = Numbers()
        numbers.loads(payload[_HEAD.size : _HEAD.size + size])
        self._policy.loads(payload[_HEAD.size + size :])
        self._numbers = numbers


def _moved(sums: Sums | None, number: float) -> Sums:
    if sums is None:
        return 1.0, number, 0.0
    n, mean, variance = sums
    deviation = number - mean
    if n >= _TRUSTED and variance > 0.0:
        furthest = _OUTLIER * math.sqrt(variance)
        if not -furthest < deviation < furthest:
            deviation = math.copysign(furthest, deviation)
    n = min(n + 1.0, _MEMORY)
    step = deviation / n
    return n, mean + step, variance + (deviation * (deviation - step) - variance) / n


def _blocks(line: str) -> list[Block]:
    """Return what a line is joined from."""
    blocks: list[Block] = []
    for token in line.split(" "):
        if token[0] == "|":
            blocks.append(([], []))
        tokens, numbers = blocks[-1]
        name, is_number, number = token.partition(":")
        if is_number:
            numbers.append((len(tokens), name, float(number)))
        tokens.append(token)
    return blocks


def _checked(row: Any) -> tuple[tuple[str, str], Sums]:
    match row:
        case [str(namespace), str(name), float(n), float(mean), float(variance)]:
            if n >= 1.0 and variance >= 0.0 and all(map(math.isfinite, (n, mean, variance))):
                return (namespace, name), (n, mean, variance)
    raise StateInvalid("not the sums of a number")
