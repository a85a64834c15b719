"""The answer to a rank, made from the decision alone: a repeat is answered as the first time."""

from collections.abc import Sequence

import msgspec

from banditd.decision import Decision, Slot
from banditd.messages import Ranked, RankedSlot, RankReply, Version
from policies.features import Action

__all__ = ["rank_reply"]


def rank_reply(decision: Decision, actions: Sequence[Action], slot_ids: Sequence[str]) -> RankReply:
    """Return what the client gets.

    Parameters
    ----------
    slot_ids
        Of the slots that were asked for; empty if none were.
    """
    rankings = [_ranking(slot, actions) for slot in decision.slots]
    return RankReply(
        decision.event_id,
        decision.lane.rpartition("/")[0],
        Version(decision.epoch, decision.seq),
        rankings[0][0].id,
        rankings[0],
        decision.expires_at,
        [RankedSlot(slot_id, ranking[0].id, ranking) for slot_id, ranking in zip(slot_ids, rankings, strict=True)]
        if slot_ids
        else msgspec.UNSET,
    )


def _ranking(slot: Slot, actions: Sequence[Action]) -> list[Ranked]:
    """Return the chosen action, then the others by probability, then those that could not be chosen."""
    probabilities: Sequence[float] = slot.probabilities
    if len(slot.eligible) < len(actions):
        played = dict(zip(slot.eligible, probabilities, strict=True))
        probabilities = [played.get(index, 0.0) for index in range(len(actions))]
    chosen = slot.chosen
    order = sorted(slot.eligible, key=probabilities.__getitem__, reverse=True)  # stable: ties keep the caller's order
    order.remove(chosen)
    order.insert(0, chosen)
    ranking = [Ranked(actions[index].id, probabilities[index]) for index in order]
    if len(order) < len(actions):
        eligible = set(slot.eligible)
        ranking += [Ranked(action.id, 0.0) for index, action in enumerate(actions) if index not in eligible]
    return ranking
