"""What a rank leaves to chance: which actions may fill which slot, what is played there, and what was drawn."""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import msgspec

from banditd.config.tables import LimitsTable
from banditd.decision import Member, Slot
from banditd.messages import SEGMENTS_AT_MOST, RankRequest
from banditd.segments.lane import Lane
from banditd.segments.reading import AskedSlot, Reader
from policies.draw import draw, uniform
from policies.errors import InvalidInput
from policies.features import Action, Context

__all__ = ["Decided", "Mixture", "Question", "check_work", "decide"]

_OWNER_DRAW: Final = -1  # no slot has this number, so the draw of the owner is no slot's


class Question(msgspec.Struct, frozen=True):  # made for every rank: a frozen dataclass takes five times as long to make
    """What a rank asks, checked.

    Attributes
    ----------
    allowed
        For each slot, the indices of the actions that may fill it as long as no earlier slot has them.
    slots
        The slots as they were asked for; empty if none were, and then there is one, without an id.
    excluded
        As in `Decision`.
    weights
        The segments of a mixture, by name, with their weights; empty if one segment decides.
    """

    allowed: Sequence[list[int]]
    slots: Sequence[AskedSlot]
    excluded: list[int] | msgspec.UnsetType
    weights: Mapping[str, float]

    @classmethod
    def of(cls, request: RankRequest, actions: Sequence[Action], *, reader: Reader, limits: LimitsTable) -> "Question":
        """Check what a request asks for.

        Raises
        ------
        InvalidInput
            An id is unknown, a weight is none, or a slot could be left without any action.
        """
        weights = _weights(request, limits) if request.segments is not None else {}
        if request.slots is msgspec.UNSET:
            return cls([_eligible(actions, request.exclude)], (), msgspec.UNSET, weights)
        slots = reader.slots(request.slots)
        eligible = _eligible(actions, request.exclude)
        if len(slots) > len(eligible):
            detail = f"asks for {len(slots)} actions, and {len(eligible)} may be chosen"
            raise InvalidInput("slot_count", "slots", detail)
        allowed = _allowed(actions, slots, eligible)
        excluded = sorted(set(range(len(actions))).difference(eligible))
        return cls(allowed, slots, excluded, weights)


class Decided(msgspec.Struct, frozen=True):
    """What was decided: the slots, the lane that learns from it, and the lanes that it was drawn from if several."""

    lane: Lane
    slots: list[Slot]
    members: list[Member] | msgspec.UnsetType


class _Player(Protocol):
    """Who says what is played, and by its name is part of each draw."""

    name: str

    def distribution(self, context: Context, options: Sequence[Action]) -> list[float]: ...


class Mixture:
    """Several lanes at once, each with a share: what is played is the weighted sum of what each would play.

    Which lane a decision belongs to is drawn from the shares alone, whatever was chosen. So what each lane
    learns from was drawn from the mixture, and the mixture's probability is the propensity of it. (Drawn with a
    regard to what was chosen, each lane's outcomes would have been chosen by its own distribution, and the logged
    propensity would be another one than that.)

    Parameters
    ----------
    lanes
        In the order of their names.
    weights
        Of each, > 0.
    """

    def __init__(self, lanes: Sequence[Lane], weights: Sequence[float]) -> None:
        self.name = "+".join(lane.name for lane in lanes)  # no lane's name holds a "+"
        total = sum(weights)
        self._lanes = lanes
        self._weights = weights
        self._shares = [weight / total for weight in weights]

    def distribution(self, context: Context, options: Sequence[Action]) -> list[float]:
        """Return what is played: shape (n_options,)."""
        mixed = [0.0] * len(options)
        for lane, share in zip(self._lanes, self._shares, strict=True):
            played = lane.distribution(context, options)
            mixed = [sum_ + share * probability for sum_, probability in zip(mixed, played, strict=True)]
        return [min(probability, 1.0) for probability in mixed]  # the shares may sum to more, by rounding

    def owner(self, event_id: str, *, key: bytes) -> Lane:
        """Draw the lane that a decision belongs to."""
        return self._lanes[draw(self._shares, uniform(key, self.name, event_id, _OWNER_DRAW))]

    def members(self) -> list[Member]:
        """Return the lanes as a decision holds them."""
        return [
            Member(
                lane=lane.name,
                epoch=lane.epoch.epoch,
                seq=lane.seq,
                pool_seq=lane.pool_seq,
                weight=weight,
                served_by=lane.served_by,
                parent_epoch=lane.parent_epoch,
                own_from=lane.own_from,
                own_share=lane.own_share,
            )
            for lane, weight in zip(self._lanes, self._weights, strict=True)
        ]


def check_work(
    question: Question, lanes: Sequence[Lane], context: Context, actions: Sequence[Action], *, limits: LimitsTable
) -> None:
    """Refuse what would keep everybody else waiting, whatever has been learned so far.

    For each slot, each policy reads the context once and scores each action; a feature of the context takes about as
    long as an action.

    Raises
    ------
    InvalidInput
        It is more than `limits.scores`.
    """
    n_scores = len(actions) + context.n_features
    if question.slots:
        n_scores *= len(question.slots)
        n_scores += sum([asked.slot.line.count(" ") for asked in question.slots])
    n_scores *= sum([lane.n_asked for lane in lanes])
    if n_scores > limits.scores:
        field = "slots" if question.slots else "segments" if question.weights else "actions"
        rule = "(actions + features of the context) × slots × policies asked"
        raise InvalidInput("too_many_scores", field, f"{rule} must be at most {limits.scores}, not {n_scores}")


def decide(
    question: Question,
    lanes: Sequence[Lane],
    context: Context,
    actions: Sequence[Action],
    *,
    event_id: str,
    key: bytes,
) -> Decided:
    """Fill the slots.

    Parameters
    ----------
    lanes
        The one that serves, or those of `question.weights` in their order.
    key
        The draw key.
    """
    if not question.weights:
        (lane,) = lanes
        if not question.slots:
            slot = lane.decide(context, actions, eligible=question.allowed[0], event_id=event_id, key=key)
            return Decided(lane, [slot], msgspec.UNSET)
        return Decided(lane, _fill(question, lane, context, actions, event_id=event_id, key=key), msgspec.UNSET)
    mixture = Mixture(lanes, list(question.weights.values()))
    slots = _fill(question, mixture, context, actions, event_id=event_id, key=key)
    return Decided(mixture.owner(event_id, key=key), slots, mixture.members())


def _fill(
    question: Question, player: _Player, context: Context, actions: Sequence[Action], *, event_id: str, key: bytes
) -> list[Slot]:
    """Draw one slot after the other; what was chosen is out for those that follow."""
    contexts = [context.at_slot(asked.slot) for asked in question.slots] or [context]
    taken: set[int] = set()
    slots: list[Slot] = []
    for number, (seen, allowed) in enumerate(zip(contexts, question.allowed, strict=True)):
        eligible = [index for index in allowed if index not in taken]
        played = player.distribution(seen, [actions[index] for index in eligible])
        chosen = eligible[draw(played, uniform(key, player.name, event_id, number))]
        slots.append(Slot(eligible, played, chosen))
        taken.add(chosen)
    return slots


def _weights(request: RankRequest, limits: LimitsTable) -> dict[str, float]:
    """Return the weights of a mixture in the order of the names, so that no order of keys makes another sum."""
    weights = request.segments or {}
    if request.segment is not None:
        raise InvalidInput("invalid_value", "segments", "comes beside segment: send one of the two")
    if not 1 <= len(weights) <= SEGMENTS_AT_MOST:
        detail = f"must hold 1 to {SEGMENTS_AT_MOST} segments, not {len(weights)}"
        raise InvalidInput("segment_count", "segments", detail)
    for name, weight in weights.items():
        if not 0.0 < weight <= limits.number:  # also refuses NaN
            field = f"segments.{name[:64]}"
            raise InvalidInput("number_out_of_range", field, f"must be above 0 and at most {limits.number:g}")
    return dict(sorted(weights.items()))


def _eligible(actions: Sequence[Action], exclude: Sequence[str]) -> list[int]:
    if not exclude:
        return list(range(len(actions)))
    _check_known(exclude, {action.id for action in actions}, "exclude")
    excluded = set(exclude)
    eligible = [index for index, action in enumerate(actions) if action.id not in excluded]
    if not eligible:
        raise InvalidInput("nothing_to_choose", "exclude", "leaves no action to choose")
    return eligible


def _check_known(exclude: Sequence[str], known: set[str], field: str) -> None:
    for index, action_id in enumerate(exclude):
        if action_id not in known:
            raise InvalidInput("unknown_action", f"{field}[{index}]", f"{action_id[:64]!r} is not one of the actions")


def _allowed(actions: Sequence[Action], slots: Sequence[AskedSlot], eligible: list[int]) -> list[list[int]]:
    """Return for each slot what may come there, so that whatever comes before, something is left for it."""
    known = {action.id for action in actions}
    allowed: list[list[int]] = []
    for number, asked in enumerate(slots):
        _check_known(asked.exclude, known, f"slots[{number}].exclude")
        excluded = set(asked.exclude)
        options = [index for index in eligible if actions[index].id not in excluded] if excluded else eligible
        # Only what earlier slots can take all of is in danger; where there are more options than slots, none is.
        if len(options) <= number and _most_taken(allowed, options) == len(options):
            reason = "leaves only what earlier slots can take" if options else "leaves no action to choose"
            raise InvalidInput("nothing_to_choose", f"slots[{number}].exclude", reason)
        allowed.append(options)
    return allowed


def _most_taken(earlier: Sequence[list[int]], options: list[int]) -> int:
    """Return how many of the options earlier slots can take at most: a largest matching, along augmenting paths."""
    bits = {index: 1 << place for place, index in enumerate(options)}
    reach = [sum(bits[index] for index in slot if index in bits) for slot in earlier]
    taker: dict[int, int] = {}
    seen = 0

    def place(slot: int) -> bool:
        nonlocal seen
        while new := reach[slot] & ~seen:
            bit = new & -new
            seen |= bit
            if bit not in taker or place(taker[bit]):
                taker[bit] = slot
                return True
        return False

    for slot in range(len(earlier)):
        seen = 0
        place(slot)
    return len(taker)
