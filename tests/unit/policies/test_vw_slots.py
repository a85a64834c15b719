"""Several places in one decision: VW answers by how often it was asked; place after place it does not."""

import random

import pytest
from vowpalwabbit import Workspace

from policies.vw_raw import RawVw

_OPTIONS = "--quiet --ring_size 16 --bit_precision 16 --ignore_linear s --interactions sa"
_ACTIONS = [f"|a id{k} price:{k / 4}" for k in range(4)]
_SLOTS = ["|s.slot place=0 width:0.5", "|s.slot place=1"]


def _context(chance: random.Random) -> str:
    return f"|s device=d{chance.randrange(3)} hour:{chance.random():.2f}"


def _ccb(context: str, slots: list[str]) -> str:
    """Return a decision over all actions as --ccb_explore_adf reads it."""
    return "\n".join([f"ccb shared {context}", *(f"ccb action {action}" for action in _ACTIONS), *slots])


def _place(context: str, slot: str, lines: list[str]) -> str:
    """Return the decision of one place as --cb_explore_adf reads it: its features are the context's."""
    return "\n".join([f"shared {context} {slot}", *lines])


def _taught(exploration: str, n: int) -> tuple[Workspace, RawVw]:
    """Teach --ccb_explore_adf decisions of two places, and --cb_explore_adf the same one place after another."""
    ccb = Workspace(f"--ccb_explore_adf --ccb_no_slot_index --random_seed 1 {exploration} {_OPTIONS}")
    places = RawVw(f"--cb_explore_adf --cb_type mtr {exploration} {_OPTIONS}")
    chance = random.Random(1)  # noqa: S311 - made-up traffic, not a secret
    for _ in range(n):
        context, order = _context(chance), chance.sample(range(4), 4)
        costs = [-float(chance.random() < 0.2 + 0.15 * order[0]), -float(chance.random() < 0.7 - 0.2 * order[1])]
        labels = []
        for slot in range(2):
            chosen, others = order[slot], order[slot + 1 :]
            share = 0.25 if slot == 0 else 0.5
            rest = ",".join(f"{k}:0.25" for k in others)
            labels.append(f"ccb slot {chosen}:{costs[slot]}:{share},{rest} {_SLOTS[slot]}")
            left = sorted(order[slot:])
            lines = [(f"0:{costs[slot]}:{share} " if k == chosen else "") + _ACTIONS[k] for k in left]
            places.learn(_place(context, _SLOTS[slot], lines))
        ccb.learn(_ccb(context, labels))
    return ccb, places


@pytest.mark.parametrize("exploration", ["--epsilon 0.2", "--squarecb --gamma_scale 10", "--softmax --lambda 3"])
def test_one_place_after_another_is_the_distribution_of_ccb(exploration: str) -> None:
    """Given what VW's CCB drew for the first place, its distribution for the second is that of the actions left."""
    ccb, places = _taught(exploration, 300)
    chance = random.Random(2)  # noqa: S311 - as above

    for _ in range(30):
        context = _context(chance)
        first, second = ccb.predict(_ccb(context, [f"ccb slot {slot}" for slot in _SLOTS]))
        drawn = first[0][0]
        left = [k for k in range(4) if k != drawn]

        assert places.predict(_place(context, _SLOTS[0], _ACTIONS)) == pytest.approx(
            [dict(first)[k] for k in range(4)], abs=1e-6
        )
        assert places.predict(_place(context, _SLOTS[1], [_ACTIONS[k] for k in left])) == pytest.approx(
            [dict(second)[k] for k in left], abs=1e-6
        )


def test_ccb_answers_by_how_often_it_was_asked() -> None:
    """The same question has several answers, each with other probabilities for the second place."""
    ccb, _ = _taught("--epsilon 0.2", 300)
    text = _ccb("|s device=d0 hour:0.5", [f"ccb slot {slot}" for slot in _SLOTS])

    answers = [ccb.predict(text) for _ in range(60)]

    assert len({(first[0][0], second[0][0]) for first, second in answers}) > 3
    assert len({str(sorted(second)) for _, second in answers}) > 1


def test_slates_answer_by_how_often_they_were_asked() -> None:
    """So do --slates, where every place has actions of its own."""
    slates = Workspace("--slates --quiet --random_seed 1 --epsilon 0.3")
    text = (
        "slates shared |s a\nslates action 0 |a x\nslates action 0 |a y\nslates action 1 |a u\nslates action 1 |a w\n"
        "slates slot |z p0\nslates slot |z p1"
    )

    answers = {tuple(slot[0][0] for slot in slates.predict(text)) for _ in range(30)}

    assert len(answers) > 1
