"""What every journal promises, one claim a test; `tests/contract/journals.py` says which journals there are."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from banditd.errors import JournalUnavailable
from banditd.journal.protocol import (
    PAGE_BYTES,
    PREPARED,
    Aggregate,
    Epoch,
    Journal,
    Learn,
    NewReward,
    OpenLane,
    OutcomeRow,
    Rewarded,
    Snapshot,
)
from tests.contract.journals import LONG_S, STORES, Store, new_decision, open_lane, rule

REPEATS = 100


@pytest.fixture(params=list(STORES))
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """A fresh journal of every kind there is."""
    made = STORES[request.param]()
    folder = tmp_path / "store"
    folder.mkdir()
    await made.start(folder)
    yield made
    await made.stop()


# ------------------------------------------------------------------------------------------------------ recording


async def test_a_new_decision_is_created(store: Store) -> None:
    """The first record of an event id creates it."""
    epoch = await open_lane(store.journal, rule(LONG_S))

    recorded = await store.journal.record(new_decision("e1", epoch))

    assert recorded.created


async def test_record_returns_the_decision_that_holds_the_id(store: Store) -> None:
    """A second record with an event id answers with the body of the first, not with its own."""
    epoch = await open_lane(store.journal, rule(LONG_S))
    first, second = new_decision("e1", epoch), new_decision("e1", epoch, n_slots=2)
    await store.journal.record(first)

    recorded = await store.journal.record(second)

    assert not recorded.created
    assert recorded.body == first.body
    assert recorded.body != second.body


async def test_an_event_id_is_claimed_over_the_whole_store(store: Store) -> None:
    """An id that one lane holds can't be recorded in another lane, of another pool either."""
    here = await open_lane(store.journal, rule(LONG_S), lane="here")
    there = await open_lane(store.journal, rule(LONG_S), lane="there")
    first = new_decision("e1", here)
    await store.journal.record(first)

    recorded = await store.journal.record(new_decision("e1", there))

    assert not recorded.created
    assert recorded.body == first.body
    assert (await store.journal.lane_info("there")).decisions == 0


async def test_of_a_hundred_equal_records_at_once_one_creates(store: Store) -> None:
    """However many callers record one event id at the same time, one creates it and all the others get its body."""
    epoch = await open_lane(store.journal, rule(LONG_S))
    decisions = [new_decision("e1", epoch, n_slots=1 + i % 2) for i in range(REPEATS)]

    recorded = await asyncio.gather(*(store.journal.record(decision) for decision in decisions))

    (created,) = [i for i, answer in enumerate(recorded) if answer.created]
    others = {answer.body for i, answer in enumerate(recorded) if i != created}
    assert others == {decisions[created].body}
    assert (await store.journal.lane_info("default")).decisions == 1


async def test_counters_count_decisions(store: Store) -> None:
    """A lane's counters tell how many decisions were recorded, each once, and how many became outcomes."""
    epoch = await open_lane(store.journal, rule(LONG_S))
    for event_id in ("e1", "e2", "e2", "e3"):
        await store.journal.record(new_decision(event_id, epoch))
    await store.journal.reward(NewReward("e1", 1.0))

    info = await store.journal.lane_info("default")

    assert (info.decisions, info.seq) == (3, 1)


# -------------------------------------------------------------------------------------------------------- rewards


async def test_an_earliest_reward_is_joined_at_once(store: Store) -> None:
    """Under `earliest` the first reward makes the outcome, with its value and its decision's body."""
    epoch = await open_lane(store.journal, rule(LONG_S))
    decision = new_decision("e1", epoch)
    await store.journal.record(decision)

    answer = await store.journal.reward(NewReward("e1", 0.25))

    (row,) = await log(store.journal)
    assert answer == Rewarded("joined")
    assert (row.lane, row.seq, row.pool_seq, row.event_id, row.slot) == ("default", 1, 1, "e1", 0)
    assert (row.reward, row.rewarded, row.body, row.erased) == (0.25, True, decision.body, False)


async def test_a_reward_for_an_unknown_event_changes_nothing(store: Store) -> None:
    """A reward or an activation for an id that nobody recorded is answered `unknown` and makes no outcome."""
    epoch = await open_lane(store.journal, rule(LONG_S))

    answers = [
        (await store.journal.reward(NewReward("e1", 1.0))).status,
        (await store.journal.activate("e1")).status,
    ]
    recorded = await store.journal.record(new_decision("e1", epoch))
    after = await store.journal.reward(NewReward("e1", 0.5))

    assert answers == ["unknown", "unknown"]
    assert recorded.created
    assert after.status == "joined"
    assert [row.reward for row in await log(store.journal)] == [0.5]


@pytest.mark.parametrize("reward_id", [None, "r1"])
async def test_of_a_hundred_equal_rewards_at_once_one_is_joined(store: Store, reward_id: str | None) -> None:
    """However many callers repeat one reward at the same time, one is joined and the others are duplicates."""
    epoch = await open_lane(store.journal, rule(LONG_S))
    await store.journal.record(new_decision("e1", epoch))

    answers = await asyncio.gather(*(store.journal.reward(NewReward("e1", 1.0, reward_id)) for _ in range(REPEATS)))

    statuses = [answer.status for answer in answers]
    assert (statuses.count("joined"), statuses.count("duplicate")) == (1, REPEATS - 1)
    assert len(await log(store.journal)) == 1


@pytest.mark.parametrize("aggregate", ["latest", "sum", "max"])
async def test_of_a_hundred_rewards_with_one_id_at_once_one_counts(store: Store, aggregate: Aggregate) -> None:
    """Under an aggregate of many rewards, those that share a reward id count once."""
    epoch = await open_lane(store.journal, rule(store.wait_s, aggregate=aggregate))
    await store.journal.record(new_decision("e1", epoch))

    answers = await asyncio.gather(*(store.journal.reward(NewReward("e1", 1.0, "r1")) for _ in range(REPEATS)))
    await store.elapse(store.wait_s)

    statuses = [answer.status for answer in answers]
    assert (statuses.count("pending"), statuses.count("duplicate")) == (1, REPEATS - 1)
    assert [row.reward for row in await log(store.journal)] == [1.0]


@pytest.mark.parametrize(
    ("aggregate", "learn", "statuses", "reward"),
    [
        pytest.param("earliest", "at_close", ["pending", "duplicate", "duplicate", "duplicate"], 0.5, id="earliest"),
        pytest.param("latest", "at_once", ["pending", "pending", "duplicate", "pending"], 0.25, id="latest"),
        pytest.param("sum", "at_once", ["pending", "pending", "duplicate", "pending"], 2.75, id="sum"),
        pytest.param("max", "at_close", ["pending", "pending", "duplicate", "pending"], 2.0, id="max"),
    ],
)
async def test_rewards_are_aggregated_when_the_window_closes(
    store: Store, aggregate: Aggregate, learn: Learn, statuses: list[str], reward: float
) -> None:
    """Unless an `earliest` reward is learned at once, the outcome is made at the close, of all that counted."""
    epoch = await open_lane(store.journal, rule(store.wait_s, aggregate=aggregate, learn=learn, default=-1.0))
    await store.journal.record(new_decision("e1", epoch))

    answers = [
        await store.journal.reward(NewReward("e1", value, reward_id))
        for value, reward_id in ((0.5, None), (2.0, "r1"), (2.0, "r1"), (0.25, "r2"))
    ]
    before = await log(store.journal)
    await store.elapse(store.wait_s)

    after = await log(store.journal)
    assert [answer.status for answer in answers] == statuses
    assert before == []
    assert [(row.event_id, row.reward, row.rewarded) for row in after] == [("e1", reward, True)]


async def test_a_reward_id_belongs_to_its_decision(store: Store) -> None:
    """Two decisions may see the same reward id; neither is a duplicate of the other."""
    epoch = await open_lane(store.journal, rule(LONG_S))
    await store.journal.record(new_decision("e1", epoch))
    await store.journal.record(new_decision("e2", epoch))

    answers = [await store.journal.reward(NewReward(event_id, 1.0, "r1")) for event_id in ("e1", "e2")]

    assert [answer.status for answer in answers] == ["joined", "joined"]


# ---------------------------------------------------------------------------------------------------------- slots


async def test_each_slot_becomes_an_outcome_of_its_own(store: Store) -> None:
    """Rewards that name slots are joined one by one; what got none has the default when the window closes."""
    epoch = await open_lane(store.journal, rule(store.wait_s, default=-0.5))
    await store.journal.record(new_decision("e1", epoch, n_slots=3))

    statuses = [(await store.journal.reward(NewReward("e1", 1.0 + slot, slot=slot))).status for slot in (2, 0)]
    before = await slots(store.journal)
    await store.elapse(store.wait_s)

    assert statuses == ["joined", "joined"]
    assert before == [(2, 3.0, True), (0, 1.0, True)]
    assert await slots(store.journal) == [*before, (1, -0.5, False)]


async def test_a_decision_with_all_its_outcomes_is_done(store: Store) -> None:
    """Once each slot has its reward nothing is left for the window to close, and each repeat is a duplicate."""
    epoch = await open_lane(store.journal, rule(store.wait_s))
    await store.journal.record(new_decision("e1", epoch, n_slots=2))
    for slot in (1, 0):
        await store.journal.reward(NewReward("e1", 1.0, slot=slot))
    await store.elapse(store.wait_s)

    answers = [(await store.journal.reward(NewReward("e1", 1.0, slot=slot))).status for slot in (0, 1, None)]

    assert await slots(store.journal) == [(1, 1.0, True), (0, 1.0, True)]
    assert answers == ["duplicate"] * 3


@pytest.mark.parametrize("n_slots", [1, 3])
async def test_a_slot_that_is_not_there_is_unknown(store: Store, n_slots: int) -> None:
    """A reward for a slot beyond the last one, or before the first, makes no outcome."""
    epoch = await open_lane(store.journal, rule(LONG_S, slots="all"))
    await store.journal.record(new_decision("e1", epoch, n_slots=n_slots))

    statuses = [(await store.journal.reward(NewReward("e1", 1.0, slot=slot))).status for slot in (n_slots, -1)]

    assert statuses == ["unknown", "unknown"]
    assert await log(store.journal) == []


async def test_a_reward_without_a_slot_is_about_the_first_if_the_rule_says_so(store: Store) -> None:
    """Under ``slots = "first"`` slot 0 gets it, and the others can still have their own."""
    epoch = await open_lane(store.journal, rule(LONG_S, slots="first"))
    await store.journal.record(new_decision("e1", epoch, n_slots=3))

    statuses = [(await store.journal.reward(NewReward("e1", 2.0, slot=slot))).status for slot in (None, 0, 1)]

    assert statuses == ["joined", "duplicate", "joined"]
    assert await slots(store.journal) == [(0, 2.0, True), (1, 2.0, True)]


async def test_a_reward_without_a_slot_is_about_all_if_the_rule_says_so(store: Store) -> None:
    """Under ``slots = "all"`` each slot that has no outcome yet gets it; when none is left, it is a duplicate."""
    epoch = await open_lane(store.journal, rule(LONG_S, slots="all"))
    await store.journal.record(new_decision("e1", epoch, n_slots=3))

    rewards = [NewReward("e1", 0.25, slot=1), NewReward("e1", 2.0), NewReward("e1", 3.0), NewReward("e1", 4.0, slot=2)]
    statuses = [(await store.journal.reward(reward)).status for reward in rewards]

    assert statuses == ["joined", "joined", "duplicate", "duplicate"]
    assert await slots(store.journal) == [(1, 0.25, True), (0, 2.0, True), (2, 2.0, True)]


async def test_a_reward_id_counts_once_for_each_slot(store: Store) -> None:
    """The same reward id for another slot is another reward; for all slots it counts where it did not before."""
    epoch = await open_lane(store.journal, rule(store.wait_s, aggregate="sum", slots="all"))
    await store.journal.record(new_decision("e1", epoch, n_slots=3))

    about = (0, 0, 1, None, None, 2)
    statuses = [(await store.journal.reward(NewReward("e1", 1.0, "r1", slot))).status for slot in about]
    await store.journal.reward(NewReward("e1", 0.5, "r2"))
    await store.elapse(store.wait_s)

    assert statuses == ["pending", "duplicate", "pending", "pending", "duplicate", "duplicate"]
    assert await slots(store.journal) == [(slot, 1.5, True) for slot in range(3)]


@pytest.mark.parametrize(
    ("aggregate", "totals"),
    [("earliest", [1.0, 1.0]), ("latest", [0.5, 4.0]), ("sum", [1.5, 5.0]), ("max", [1.0, 4.0])],
)
async def test_rewards_are_aggregated_slot_by_slot(store: Store, aggregate: Aggregate, totals: list[float]) -> None:
    """A slot's outcome is made of the rewards about it, those about all of them included."""
    epoch = await open_lane(store.journal, rule(store.wait_s, aggregate=aggregate, learn="at_close", slots="all"))
    await store.journal.record(new_decision("e1", epoch, n_slots=2))

    for value, slot in ((1.0, None), (4.0, 1), (0.5, 0)):
        await store.journal.reward(NewReward("e1", value, slot=slot))
    await store.elapse(store.wait_s)

    assert await slots(store.journal) == [(slot, total, True) for slot, total in enumerate(totals)]


async def test_a_sum_beyond_the_range_of_one_slot_is_refused_for_all(store: Store) -> None:
    """A reward about all slots that one of them cannot take is counted for none."""
    epoch = await open_lane(store.journal, rule(store.wait_s, aggregate="sum", slots="all"))
    await store.journal.record(new_decision("e1", epoch, n_slots=2))
    await store.journal.reward(NewReward("e1", 9e8, slot=1))

    answer = await store.journal.reward(NewReward("e1", 2e8))
    await store.elapse(store.wait_s)

    assert answer.status == "out_of_range"
    assert await slots(store.journal) == [(0, 0.0, False), (1, 9e8, True)]


async def test_activation_joins_each_slot_that_has_a_reward(store: Store) -> None:
    """Rewards of a deferred decision wait slot by slot; the activation makes their outcomes, the close the rest."""
    epoch = await open_lane(store.journal, rule(store.wait_s))
    await store.journal.record(new_decision("e1", epoch, deferred=True, n_slots=3))

    statuses = [(await store.journal.reward(NewReward("e1", 1.0, slot=slot))).status for slot in (2, 1)]
    before = await slots(store.journal)
    await store.journal.activate("e1")
    activated = await slots(store.journal)
    await store.elapse(store.wait_s)

    assert (statuses, before) == (["pending", "pending"], [])
    assert activated == [(1, 1.0, True), (2, 1.0, True)]
    assert await slots(store.journal) == [*activated, (0, 0.0, False)]


async def test_a_slot_whose_outcome_was_trimmed_makes_no_second_one(store: Store) -> None:
    """The window of a decision closes for the slots that had no outcome, also where the others' are trimmed away."""
    epoch = await open_lane(store.journal, rule(store.wait_s))
    await store.journal.record(new_decision("e1", epoch, n_slots=2))
    await store.journal.reward(NewReward("e1", 1.0, slot=0))
    (row,) = await log(store.journal)

    await trim_all(store.journal, snapshot(row, is_base=True))
    await store.elapse(store.wait_s)

    assert await slots(store.journal) == [(1, 0.0, False)]
    assert (await store.journal.lane_info("default")).seq == 2


# -------------------------------------------------------------------------------------------------------- windows


async def test_a_window_that_closes_without_a_reward_gives_the_default(store: Store) -> None:
    """A decision that got no reward becomes, once, an outcome with the default reward, marked as such."""
    epoch = await open_lane(store.journal, rule(store.wait_s, default=-0.5))
    await store.journal.record(new_decision("e1", epoch))

    await store.elapse(store.wait_s)
    await store.elapse(store.wait_s)

    assert [(row.event_id, row.reward, row.rewarded) for row in await log(store.journal)] == [("e1", -0.5, False)]


@pytest.mark.parametrize("aggregate", ["earliest", "latest", "sum", "max"])
async def test_a_reward_after_the_window_is_late(store: Store, aggregate: Aggregate) -> None:
    """A reward that comes after the close is answered `late`, each time, and changes no outcome."""
    epoch = await open_lane(store.journal, rule(store.wait_s, aggregate=aggregate))
    await store.journal.record(new_decision("e1", epoch))
    await store.elapse(store.wait_s)
    before = await log(store.journal)

    answers = [await store.journal.reward(NewReward("e1", 1.0, reward_id)) for reward_id in (None, "r1", "r1")]

    assert [answer.status for answer in answers] == ["late", "late", "late"]
    assert await log(store.journal) == before
    assert [row.reward for row in before] == [0.0]


async def test_a_counted_reward_stays_a_duplicate_after_the_window(store: Store) -> None:
    """The repeat of a reward that counted is answered `duplicate` even when it comes after the close."""
    epoch = await open_lane(store.journal, rule(store.wait_s, aggregate="sum"))
    await store.journal.record(new_decision("e1", epoch))
    await store.journal.reward(NewReward("e1", 1.0, "r1"))
    await store.elapse(store.wait_s)

    answers = [await store.journal.reward(NewReward("e1", 1.0, reward_id)) for reward_id in ("r1", "r2")]

    assert [answer.status for answer in answers] == ["duplicate", "late"]
    assert [row.reward for row in await log(store.journal)] == [1.0]


async def test_windows_close_in_the_order_of_their_ends(store: Store) -> None:
    """Outcomes of windows that closed are numbered by when they closed, then by when their decisions were recorded."""
    slow = await open_lane(store.journal, rule(store.wait_s * 1.5), lane="slow", pool="both")
    quick = await open_lane(store.journal, rule(store.wait_s), lane="quick", pool="both")
    for event_id, epoch in (("s1", slow), ("q1", quick), ("s2", slow), ("q2", quick)):
        await store.journal.record(new_decision(event_id, epoch))

    await store.elapse(store.wait_s * 2)

    rows = [*await log(store.journal, "slow"), *await log(store.journal, "quick")]
    assert [row.event_id for row in sorted(rows, key=lambda row: row.pool_seq)] == ["q1", "q2", "s1", "s2"]


async def test_an_outage_closes_no_window(store: Store) -> None:
    """The time in which no journal runs is not counted: a reward after a long outage is still in its window."""
    epoch = await open_lane(store.journal, rule(store.wait_s))
    await store.journal.record(new_decision("e1", epoch))

    await store.reopen(outage_s=store.wait_s * 1.5)
    answer = await store.journal.reward(NewReward("e1", 1.0))

    assert answer.status == "joined"


# ---------------------------------------------------------------------------------------------- deferred activation


async def test_a_reward_before_the_activation_is_kept_and_joined_with_it(store: Store) -> None:
    """A deferred decision's reward is `pending` until the activation, which makes the outcome."""
    epoch = await open_lane(store.journal, rule(LONG_S))
    await store.journal.record(new_decision("e1", epoch, deferred=True))

    rewards = [(await store.journal.reward(NewReward("e1", value))).status for value in (0.5, 1.0)]
    before = await log(store.journal)
    activations = [(await store.journal.activate("e1")).status for _ in range(2)]

    assert (rewards, activations) == (["pending", "duplicate"], ["activated", "activated"])
    assert before == []
    assert [(row.event_id, row.reward) for row in await log(store.journal)] == [("e1", 0.5)]


async def test_a_reward_after_the_activation_is_joined(store: Store) -> None:
    """An activated decision is as one that was never deferred."""
    epoch = await open_lane(store.journal, rule(LONG_S))
    await store.journal.record(new_decision("e1", epoch, deferred=True))
    await store.journal.activate("e1")

    answer = await store.journal.reward(NewReward("e1", 1.0))

    assert answer.status == "joined"


async def test_a_decision_that_was_never_activated_is_never_learned_from(store: Store) -> None:
    """A deferred decision lapses with its window, its reward with it, and neither can be brought back."""
    epoch = await open_lane(store.journal, rule(store.wait_s))
    for event_id in ("e1", "e2"):
        await store.journal.record(new_decision(event_id, epoch, deferred=True))
    await store.journal.reward(NewReward("e1", 1.0, "r1"))
    await store.elapse(store.wait_s)

    answers = [
        (await store.journal.activate("e1")).status,
        (await store.journal.activate("e2")).status,
        (await store.journal.reward(NewReward("e1", 1.0, "r1"))).status,
        (await store.journal.reward(NewReward("e2", 1.0, "r1"))).status,
    ]
    await store.elapse(store.wait_s)

    info = await store.journal.lane_info("default")
    assert answers == ["late", "late", "duplicate", "late"]
    assert (info.decisions, info.seq) == (2, 0)


async def test_an_activated_decision_without_a_reward_gets_the_default(store: Store) -> None:
    """Of two deferred decisions without a reward, the activated one becomes an outcome and the other does not."""
    epoch = await open_lane(store.journal, rule(store.wait_s))
    await store.journal.record(new_decision("e1", epoch, deferred=True))
    await store.journal.record(new_decision("e2", epoch, deferred=True))
    await store.journal.activate("e2")

    await store.elapse(store.wait_s)

    assert [(row.event_id, row.rewarded) for row in await log(store.journal)] == [("e2", False)]


async def test_activating_what_was_never_deferred_changes_nothing(store: Store) -> None:
    """An ordinary decision answers `activated`, before its reward, after it and after its window."""
    epoch = await open_lane(store.journal, rule(store.wait_s))
    await store.journal.record(new_decision("e1", epoch))

    statuses = [(await store.journal.activate("e1")).status]
    await store.journal.reward(NewReward("e1", 1.0))
    statuses.append((await store.journal.activate("e1")).status)
    await store.elapse(store.wait_s)
    statuses.append((await store.journal.activate("e1")).status)

    assert statuses == ["activated"] * 3
    assert len(await log(store.journal)) == 1


async def test_activations_and_rewards_that_race_make_one_outcome(store: Store) -> None:
    """A hundred activations and a hundred rewards of one deferred decision at once make one outcome."""
    epoch = await open_lane(store.journal, rule(LONG_S))
    await store.journal.record(new_decision("e1", epoch, deferred=True))

    rewards, activations = await asyncio.gather(
        asyncio.gather(*(store.journal.reward(NewReward("e1", 1.0)) for _ in range(REPEATS))),
        asyncio.gather(*(store.journal.activate("e1") for _ in range(REPEATS))),
    )

    statuses = [answer.status for answer in rewards]
    assert statuses.count("duplicate") == REPEATS - 1
    assert {answer.status for answer in activations} == {"activated"}
    assert [row.reward for row in await log(store.journal)] == [1.0]


# ---------------------------------------------------------------------------------------------- order, numbers, chain


async def test_outcomes_are_numbered_without_gaps(store: Store) -> None:
    """Whatever comes at once, a lane's outcomes are 1, 2, 3 …, and so are those of a pool over its lanes."""
    epochs = {
        lane: await open_lane(store.journal, rule(LONG_S), lane=lane, pool=pool)
        for lane, pool in (("a", "shared"), ("b", "shared"), ("c", "alone"))
    }
    await asyncio.gather(
        *(store.journal.record(new_decision(f"{lane}{i}", epochs[lane])) for i in range(50) for lane in epochs)
    )

    await asyncio.gather(*(store.journal.reward(NewReward(f"{lane}{i}", 1.0)) for i in range(50) for lane in epochs))

    rows = {lane: await log(store.journal, lane) for lane in epochs}
    assert {lane: [row.seq for row in rows[lane]] for lane in epochs} == {lane: [*range(1, 51)] for lane in epochs}
    assert sorted(row.pool_seq for lane in "ab" for row in rows[lane]) == list(range(1, 101))
    assert [row.pool_seq for row in rows["c"]] == list(range(1, 51))
    assert {row.event_id for lane in epochs for row in rows[lane]} == {
        f"{lane}{i}" for i in range(50) for lane in epochs
    }


async def test_outcomes_come_in_pages(store: Store) -> None:
    """`outcomes` returns what comes after a seq, at most as many as asked for, in order."""
    await joined(store.journal, 10)

    pages = [
        [row.seq for row in await store.journal.outcomes("default", after=after, limit=limit)]
        for after, limit in ((0, 4), (4, 4), (8, 4), (10, 4))
    ]

    assert pages == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10], []]


async def test_the_chain_names_the_whole_log_before_it(store: Store) -> None:
    """Each outcome has a chain value of 32 bytes that no other has, the last one being the lane's."""
    rows = await joined(store.journal, 20)

    info = await store.journal.lane_info("default")
    assert {len(row.chain) for row in rows} == {32}
    assert len({row.chain for row in rows}) == 20
    assert (info.seq, info.chain) == (20, rows[-1].chain)


async def test_an_empty_lane_has_a_chain_to_start_from(store: Store) -> None:
    """A lane without outcomes is at seq 0, with a chain value of 32 bytes and no base."""
    await open_lane(store.journal, rule(LONG_S), pool="p")

    info = await store.journal.lane_info("default")

    assert (info.lane, info.pool, info.seq, info.pool_seq, info.base_seq) == ("default", "p", 0, 0, 0)
    assert len(info.chain) == 32
    assert await log(store.journal) == []


async def test_outcomes_are_pushed_in_the_order_of_the_log(store: Store) -> None:
    """A subscriber gets every outcome once, in the order of its pool, equal to what `outcomes` returns."""
    pushed: list[OutcomeRow] = []
    store.journal.subscribe(pushed.extend)
    epochs = [await open_lane(store.journal, rule(LONG_S), lane=lane, pool="both") for lane in ("a", "b")]
    await asyncio.gather(
        *(store.journal.record(new_decision(f"{epoch.lane}{i}", epoch)) for i in range(50) for epoch in epochs)
    )

    await asyncio.gather(*(store.journal.reward(NewReward(f"{lane}{i}", float(i))) for i in range(50) for lane in "ab"))

    assert [row.pool_seq for row in pushed] == list(range(1, 101))
    for lane in "ab":
        assert [row for row in pushed if row.lane == lane] == await log(store.journal, lane)


async def test_an_outcome_is_pushed_before_its_reward_is_answered(store: Store) -> None:
    """When `reward` returns `joined`, a subscriber beside the caller has had the outcome."""
    epoch = await open_lane(store.journal, rule(LONG_S))
    pushed: list[str] = []
    store.journal.subscribe(lambda rows: pushed.extend(row.event_id for row in rows))
    seen_at_answer = []

    for i in range(50):
        await store.journal.record(new_decision(f"e{i}", epoch))
        await store.journal.reward(NewReward(f"e{i}", 1.0))
        seen_at_answer.append(list(pushed))

    assert seen_at_answer == [[f"e{j}" for j in range(i + 1)] for i in range(50)]


async def test_closed_windows_are_pushed(store: Store) -> None:
    """An outcome that nobody's call made, of a window that closed, reaches the subscribers too."""
    epoch = await open_lane(store.journal, rule(store.wait_s))
    pushed: list[OutcomeRow] = []
    store.journal.subscribe(pushed.extend)
    await store.journal.record(new_decision("e1", epoch))

    await store.elapse(store.wait_s)

    assert [(row.event_id, row.rewarded) for row in pushed] == [("e1", False)]
    assert pushed == await log(store.journal)


# ---------------------------------------------------------------------------------------------------------- epochs


async def test_opening_a_lane_again_returns_its_epoch(store: Store) -> None:
    """The same spec, rule and build are the same epoch, from the same process and after a restart."""
    first = await open_lane(store.journal, rule(LONG_S))

    again = await open_lane(store.journal, rule(LONG_S))
    await store.reopen()
    later = await open_lane(store.journal, rule(LONG_S))

    assert first == again == later
    assert (first.lane, first.epoch, first.from_seq, first.fold_from) == ("default", 1, 0, 0)


@pytest.mark.parametrize("changed", ["spec", "rule", "build"])
async def test_a_change_opens_the_next_epoch(store: Store, changed: str) -> None:
    """Another spec, reward rule or build is the next epoch; the outcomes' numbers go on."""
    await joined(store.journal, 3)
    spec = {"kind": "epsilon_greedy", "epsilon": 0.2 if changed == "spec" else 0.1}

    epoch = await store.journal.open_lane(
        "default",
        pool="default",
        spec=spec,
        rule=rule(LONG_S, default=1.0 if changed == "rule" else 0.0),
        build="build 2" if changed == "build" else "build 1",
    )
    await store.journal.record(new_decision("next", epoch))
    await store.journal.reward(NewReward("next", 1.0))

    assert (epoch.epoch, epoch.from_seq, epoch.fold_from, epoch.spec) == (2, 3, 0, spec)
    assert [row.seq for row in await log(store.journal)] == [1, 2, 3, 4]


async def test_a_decision_keeps_the_rule_of_its_epoch(store: Store) -> None:
    """A changed reward rule holds for the decisions made under it, not for those made before."""
    old = await open_lane(store.journal, rule(store.wait_s, default=1.0))
    await store.journal.record(new_decision("old", old))
    new = await open_lane(store.journal, rule(store.wait_s, default=2.0, aggregate="sum"))
    await store.journal.record(new_decision("new", new))

    statuses = [(await store.journal.reward(NewReward("new", 0.25))).status]
    await store.elapse(store.wait_s)

    assert statuses == ["pending"]
    assert {row.event_id: row.reward for row in await log(store.journal)} == {"old": 1.0, "new": 0.25}


async def test_a_return_to_an_earlier_spec_is_an_epoch_of_its_own(store: Store) -> None:
    """Epochs are only ever opened: going back to what an older epoch said opens another one."""
    waits = (LONG_S, LONG_S * 2, LONG_S)

    epochs = [await open_lane(store.journal, rule(wait_s)) for wait_s in waits]

    assert [epoch.epoch for epoch in epochs] == [1, 2, 3]


# ------------------------------------------------------------------------------------------------------ shared pools


async def fill_pool(store: Store, turns: str = "abbab") -> list[OutcomeRow]:
    """Make outcomes of two lanes that share a pool, in this order; return the pool's log."""
    epochs = {lane: await open_lane(store.journal, rule(LONG_S), lane=lane, pool="both") for lane in "ab"}
    for i, lane in enumerate(turns):
        await store.journal.record(new_decision(f"{lane}{i}", epochs[lane]))
        await store.journal.reward(NewReward(f"{lane}{i}", 1.0))
    return list(await store.journal.pool_outcomes("both", after=0, limit=100))


async def open_parent(store: Store) -> Epoch:
    """Return the epoch of the pool's parent."""
    return await open_lane(store.journal, rule(LONG_S), lane="*/parent", pool="both")


async def test_a_pools_log_is_that_of_its_lanes_in_their_order(store: Store) -> None:
    """Read as one log, a shared pool gives every lane's outcomes by the pool's numbers, in pages."""
    rows = await fill_pool(store)
    lanes = {lane: await store.journal.outcomes(lane, after=0, limit=100) for lane in "ab"}
    page = await store.journal.pool_outcomes("both", after=1, limit=2)

    assert [(row.lane, row.seq, row.pool_seq) for row in rows] == [
        ("a", 1, 1),
        ("b", 1, 2),
        ("b", 2, 3),
        ("a", 2, 4),
        ("b", 3, 5),
    ]
    assert sorted(rows, key=lambda row: (row.lane, row.seq)) == [*lanes["a"], *lanes["b"]]
    assert list(page) == rows[1:3]


async def test_a_lane_alone_is_in_no_shared_log(store: Store) -> None:
    """What a lane alone has is said to be its own, and read as its own log only."""
    epoch = await open_lane(store.journal, rule(LONG_S))
    await store.journal.record(new_decision("e1", epoch))
    await store.journal.reward(NewReward("e1", 1.0))

    (row,) = await store.journal.outcomes("default", after=0, limit=10)

    assert not row.shared
    assert await store.journal.pool_outcomes("default", after=0, limit=10) == []
    assert await store.journal.pool_outcomes("nobody opened it", after=0, limit=10) == []


async def test_outcomes_are_pushed_as_they_are_read(store: Store) -> None:
    """A row that is pushed and the same row read are equal, shared or not."""
    pushed: list[OutcomeRow] = []
    store.journal.subscribe(pushed.extend)

    rows = await fill_pool(store)

    assert pushed == rows
    assert all(row.shared for row in rows)


@pytest.mark.parametrize("end", ["reopen", "crash"])
async def test_a_lane_that_moves_goes_on_with_its_own_numbers(store: Store, end: str) -> None:
    """Another pool opens the next epoch; the lane's numbers go on, and each pool's where it was left."""

    async def outcome(event_id: str, epoch: Epoch) -> None:
        await store.journal.record(new_decision(event_id, epoch))
        await store.journal.reward(NewReward(event_id, 1.0))

    await fill_pool(store)
    alone = await open_lane(store.journal, rule(LONG_S), lane="a")
    await outcome("alone1", alone)
    await outcome("alone2", alone)
    back = await open_lane(store.journal, rule(LONG_S), lane="a", pool="both")
    await outcome("back", back)
    await getattr(store, end)()
    again = await open_lane(store.journal, rule(LONG_S), lane="a")
    await outcome("again", again)

    rows = await store.journal.outcomes("a", after=0, limit=10)
    assert [(row.seq, row.pool_seq, row.shared) for row in rows] == [
        (1, 1, True),
        (2, 4, True),
        (3, 1, False),
        (4, 2, False),
        (5, 6, True),
        (6, 3, False),
    ]
    assert [epoch.epoch for epoch in (alone, back, again)] == [2, 3, 4]
    assert "pool" in alone.reason
    assert (await store.journal.pool_info("both")).seq == 6


async def test_a_pool_tells_who_was_in_it_when(store: Store) -> None:
    """Each lane that ever was in the pool is listed with its stretches; a changed rule makes no new stretch."""
    await fill_pool(store)
    await open_lane(store.journal, rule(LONG_S), lane="a")
    await open_lane(store.journal, rule(LONG_S, default=0.5), lane="b", pool="both")
    await open_lane(store.journal, rule(LONG_S), lane="c")
    await open_parent(store)

    info = await store.journal.pool_info("both")

    assert [(s.lane, s.epoch, s.from_seq, s.current, s.pooled) for s in info.stretches] == [
        ("a", 1, 0, 2, True),
        ("a", 2, 2, 2, False),
        ("b", 1, 0, 2, True),
    ]
    assert info.stretches[0].spec == '{"epsilon":0.1,"kind":"epsilon_greedy"}'
    assert (await store.journal.pool_info("nobody opened it")).stretches == []


async def test_many_lanes_are_opened_at_once(store: Store) -> None:
    """A batch of lanes gets its epochs, and its counters, in the order asked."""
    lanes = [OpenLane(f"l{i}", "many", {"kind": "epsilon_greedy"}, rule(LONG_S), "b") for i in range(200)]

    epochs = await store.journal.open_lanes(lanes)
    again = await store.journal.open_lanes(lanes[::-1])
    infos = await store.journal.lane_infos(["l7", "l3"])

    assert [epoch.lane for epoch in epochs] == [lane.lane for lane in lanes]
    assert again == epochs[::-1]
    assert [(info.lane, info.pool) for info in infos] == [("l7", "many"), ("l3", "many")]
    with pytest.raises(JournalUnavailable):
        await store.journal.lane_infos(["l7", "nobody opened it"])


async def test_a_parents_snapshots_are_of_places_in_its_pool(store: Store) -> None:
    """A parent has no outcomes: what its snapshots name is the pool's log."""
    rows = await fill_pool(store)
    epoch = await open_parent(store)
    snapshot = Snapshot("*/parent", epoch.epoch, 3, rows[2].chain, "build 1", bytes(16), b"state")

    await store.journal.save_snapshot(snapshot)

    assert list(await store.journal.snapshots("*/parent", epoch=1)) == [snapshot]
    assert (await store.journal.lane_info("*/parent")).seq == 5
    assert epoch.from_seq == 5
    with pytest.raises(JournalUnavailable):
        await store.journal.save_snapshot(msgspec.structs.replace(snapshot, chain=rows[1].chain))


@pytest.mark.parametrize("end", ["reopen", "crash"])
async def test_the_bases_of_a_pool_are_written_together(store: Store, end: str) -> None:
    """Bases of a parent and its lanes hide what lies before them at once; one that does not fit stops them all."""
    rows = await fill_pool(store)
    await open_parent(store)

    def base(lane: str, seq: int, chain: bytes) -> Snapshot:
        return Snapshot(lane, 1, seq, chain, "build 1", bytes(16), b"state", is_base=True)

    good = [base("*/parent", 4, rows[3].chain), base("a", 2, rows[3].chain), base("b", 2, rows[2].chain)]
    for each in good:
        await store.journal.save_snapshot(each)
    with pytest.raises(JournalUnavailable):
        await store.journal.move_bases([*good[:2], base("b", 2, rows[1].chain)])
    with pytest.raises(JournalUnavailable):
        await store.journal.move_bases([*good, base("nobody opened it", 1, b"")])
    assert len(await store.journal.pool_outcomes("both", after=0, limit=10)) == 5

    await store.journal.move_bases([msgspec.structs.replace(each, state=b"") for each in good])
    hidden = await store.journal.pool_outcomes("both", after=0, limit=10)
    dropped = [await store.journal.trim(each.lane, each) for each in good]
    await getattr(store, end)()

    assert list(hidden) == rows[4:] == list(await store.journal.pool_outcomes("both", after=0, limit=10))
    assert dropped == [0, 2, 2]
    assert await store.journal.snapshots("*/parent", epoch=1) == good[:1]
    assert (await store.journal.pool_info("both")).seq == 5


async def test_a_base_is_prepared_before_it_is_in_force(store: Store) -> None:
    """Saved, it hides nothing and only who asks for it sees it; the last one counts; what was not saved cannot move."""
    rows = await joined(store.journal, 6)
    await trim_all(store.journal, snapshot(rows[0], is_base=True))
    bases = [snapshot(row, is_base=True) for row in rows]
    newest = snapshot(rows[5])
    await store.journal.save_snapshot(newest)

    for prepared in (bases[4], bases[2], bases[0]):
        await store.journal.save_snapshot(prepared)
    usual = await store.journal.snapshots("default", epoch=1)
    asked = await store.journal.snapshots("default", epoch=PREPARED)
    before = await log(store.journal)
    with pytest.raises(JournalUnavailable):
        await store.journal.move_bases([bases[4]])
    with pytest.raises(JournalUnavailable):
        await store.journal.save_snapshot(msgspec.structs.replace(bases[4], epoch=2))
    for _ in range(2):
        await store.journal.move_bases([bases[2]])

    assert usual == [newest, bases[0]]
    assert asked == [bases[2], bases[0]]
    assert before == rows[1:]
    assert await log(store.journal) == rows[3:]
    assert await store.journal.snapshots("default", epoch=1) == [newest, bases[2]]


async def test_pages_are_bounded_in_size(store: Store) -> None:
    """However many outcomes are asked for, a page ends with the one that fills it; the next page goes on there."""
    epoch = await open_lane(store.journal, rule(LONG_S))
    for i in range(5):
        small = new_decision(f"e{i}", epoch)
        large = msgspec.json.decode(small.body, type=dict[str, Any]) | {"context": {"text": "x" * (PAGE_BYTES // 2)}}
        await store.journal.record(msgspec.structs.replace(small, body=msgspec.json.encode(large)))
        await store.journal.reward(NewReward(f"e{i}", 1.0))

    pages = [await store.journal.outcomes("default", after=after, limit=10) for after in (0, 2, 4, 5)]

    assert [[row.seq for row in page] for page in pages] == [[1, 2], [3, 4], [5], []]


async def test_last_before_of_a_parent_is_the_pools(store: Store) -> None:
    """Where the old part of a pool's log ends is told as a number of the pool, over what lanes have dropped."""
    rows = await fill_pool(store, "abab")
    await open_parent(store)
    await store.elapse(store.wait_s)
    (epoch,) = await store.journal.open_lanes(
        [OpenLane("a", "both", {"kind": "epsilon_greedy", "epsilon": 0.1}, rule(LONG_S), "build 1")]
    )
    await store.journal.record(new_decision("young", epoch))
    await store.journal.reward(NewReward("young", 1.0))
    age_s = store.wait_s / 2

    assert await store.journal.last_before("*/parent", age_s=age_s) == 4
    assert await store.journal.last_before("*/parent", age_s=LONG_S) == 0
    base = Snapshot("b", 1, 2, rows[3].chain, "build 1", bytes(16), b"state", is_base=True)
    await store.journal.save_snapshot(base)
    await store.journal.move_bases([base])
    await store.journal.trim("b", base)
    assert await store.journal.last_before("*/parent", age_s=age_s) == 3


# --------------------------------------------------------------------------------------------- snapshots, the log's end


async def test_snapshots_come_newest_first(store: Store) -> None:
    """A saved snapshot comes back as it was, the newest first, and only in its epoch."""
    rows = await joined(store.journal, 6)
    for seq in (2, 4, 6):
        await store.journal.save_snapshot(snapshot(rows[seq - 1]))

    found = await store.journal.snapshots("default", epoch=1)

    assert found[0] == snapshot(rows[5])
    assert [one.seq for one in found] == sorted((one.seq for one in found), reverse=True)
    assert await store.journal.snapshots("default", epoch=2) == []


async def test_old_snapshots_are_dropped(store: Store) -> None:
    """However many snapshots are saved, the newest is kept, with few others: they are a cache."""
    rows = await joined(store.journal, 30)
    for row in rows:
        await store.journal.save_snapshot(snapshot(row))

    found = await store.journal.snapshots("default", epoch=1)

    assert [one.seq for one in found] == list(range(30, 30 - len(found), -1))
    assert 2 <= len(found) <= 10


async def test_a_snapshot_of_a_fold_anew_is_kept(store: Store) -> None:
    """One that is older than those that are kept stays till the next one: it was made since they were of no use."""
    rows = await joined(store.journal, 6)
    for seq in (5, 6, 2):
        await store.journal.save_snapshot(snapshot(rows[seq - 1]))
    anew = [one.seq for one in await store.journal.snapshots("default", epoch=1)]
    await store.journal.save_snapshot(snapshot(rows[2]))
    later = [one.seq for one in await store.journal.snapshots("default", epoch=1)]

    assert anew == [6, 5, 2]
    assert later == [6, 5, 3]


async def test_snapshots_of_later_epochs_outlive_those_of_earlier_ones(store: Store) -> None:
    """A snapshot takes the place of all of earlier epochs, however far they were, and of none of a later one."""
    rows = await fill_pool(store, "aaaa")

    async def save(epoch: int, seq: int) -> None:
        await store.journal.save_snapshot(Snapshot("a", epoch, seq, rows[seq - 1].chain, "b", bytes(16), b"state"))

    await save(1, 4)
    await save(3, 1)
    await save(2, 3)

    kept = {epoch: [s.seq for s in await store.journal.snapshots("a", epoch=epoch)] for epoch in (1, 2, 3)}
    assert kept == {1: [], 2: [3], 3: [1]}


async def test_trim_drops_a_prefix_and_keeps_its_base(store: Store) -> None:
    """After a trim the log starts behind the base, nothing is renumbered, and the numbers go on."""
    rows = await joined(store.journal, 10)
    base = snapshot(rows[5], is_base=True)

    dropped = await trim_all(store.journal, base)
    await store.reopen()

    kept = await log(store.journal)
    info = await store.journal.lane_info("default")
    assert dropped == 6
    assert kept == rows[6:]
    assert (info.seq, info.base_seq, info.chain) == (10, 6, rows[-1].chain)
    assert base in await store.journal.snapshots("default", epoch=1)
    assert base in await store.journal.snapshots("default", epoch=2)
    assert [row.seq for row in await joined(store.journal, 1, first=10)] == [7, 8, 9, 10, 11]


async def test_trimmed_decisions_are_told_apart_from_open_ones(store: Store) -> None:
    """A reward for a decision that was trimmed away is refused, and makes no second outcome."""
    rows = await joined(store.journal, 4)
    await trim_all(store.journal, snapshot(rows[3], is_base=True))

    answer = await store.journal.reward(NewReward("e0", 1.0))

    assert answer.status in {"unknown", "late", "duplicate"}
    assert await log(store.journal) == []
    assert (await store.journal.lane_info("default")).seq == 4


async def test_trim_leaves_other_lanes_and_open_decisions_alone(store: Store) -> None:
    """What is trimmed is the lane's own log up to the base, and never a decision without an outcome."""
    rows = await joined(store.journal, 4)
    other = await open_lane(store.journal, rule(LONG_S), lane="other")
    await store.journal.record(new_decision("o1", other))
    await store.journal.reward(NewReward("o1", 1.0))
    epoch = await open_lane(store.journal, rule(LONG_S))
    await store.journal.record(new_decision("waits", epoch))

    await trim_all(store.journal, snapshot(rows[3], is_base=True))

    assert len(await log(store.journal, "other")) == 1
    assert (await store.journal.reward(NewReward("waits", 1.0))).status == "joined"


async def test_last_before_finds_where_the_old_part_of_the_log_ends(store: Store) -> None:
    """`last_before` is the last outcome older than an age on the journal's clock, 0 if there is none."""
    await joined(store.journal, 2)
    await store.elapse(store.wait_s)
    await joined(store.journal, 1, first=2)

    found = [await store.journal.last_before("default", age_s=age_s) for age_s in (0.0, store.wait_s / 2, LONG_S)]

    assert found[1:] == [2, 0]
    assert found[0] in {2, 3}  # the third is as old as the clock is fine


# ---------------------------------------------------------------------------------------------------------- restarts


@pytest.mark.parametrize("end", ["close", "crash"])
async def test_what_was_acknowledged_survives(store: Store, end: str) -> None:
    """Decisions, rewards, activations, outcomes, snapshots and counters are the same after a close and a kill."""
    epoch = await open_lane(store.journal, rule(LONG_S))
    summed = await open_lane(store.journal, rule(LONG_S, aggregate="sum"), lane="summed")
    for event_id, of, deferred in (
        ("e1", epoch, False),
        ("e2", epoch, True),
        ("e3", epoch, True),
        ("s1", summed, False),
    ):
        await store.journal.record(new_decision(event_id, of, deferred=deferred))
    await store.journal.reward(NewReward("e1", 1.0))
    await store.journal.reward(NewReward("e2", 0.5))
    await store.journal.activate("e3")
    await store.journal.reward(NewReward("s1", 2.0, "r1"))
    (row,) = await log(store.journal)
    await store.journal.save_snapshot(snapshot(row))
    before = [await store.journal.lane_info(lane) for lane in ("default", "summed")]

    await (store.reopen() if end == "close" else store.crash())

    assert [await store.journal.lane_info(lane) for lane in ("default", "summed")] == before
    assert await log(store.journal) == [row]
    assert await store.journal.snapshots("default", epoch=1) == [snapshot(row)]
    assert (await store.journal.record(new_decision("e1", epoch))).body == new_decision("e1", epoch).body
    assert (await store.journal.reward(NewReward("e1", 1.0))).status == "duplicate"
    assert (await store.journal.reward(NewReward("s1", 2.0, "r1"))).status == "duplicate"
    assert (await store.journal.reward(NewReward("e3", 0.25))).status == "joined"
    assert (await store.journal.activate("e2")).status == "activated"
    assert [(r.event_id, r.reward) for r in await log(store.journal)] == [("e1", 1.0), ("e3", 0.25), ("e2", 0.5)]


@pytest.mark.parametrize("end", ["close", "crash"])
async def test_open_windows_go_on_after_a_restart(store: Store, end: str) -> None:
    """A window that was open when the journal went away closes after it came back, with what was counted before."""
    epoch = await open_lane(store.journal, rule(store.wait_s, aggregate="sum"))
    for event_id in ("e1", "e2"):
        await store.journal.record(new_decision(event_id, epoch))
    await store.journal.reward(NewReward("e1", 2.0))

    await (store.reopen() if end == "close" else store.crash())
    await store.elapse(store.wait_s)

    assert [(row.event_id, row.reward) for row in await log(store.journal)] == [("e1", 2.0), ("e2", 0.0)]


async def test_a_window_that_closed_stays_closed_after_a_crash(store: Store) -> None:
    """The clock that a crash takes back opens no window again: what lapsed has lapsed, what was late is late."""
    epoch = await open_lane(store.journal, rule(store.wait_s))
    for event_id, deferred in (("lapses", True), ("expires", False)):
        await store.journal.record(new_decision(event_id, epoch, deferred=deferred))
    await store.elapse(store.wait_s * 0.95)
    await store.journal.record(new_decision("another", epoch))  # the clock is written with it
    await store.elapse(store.wait_s * 0.05)
    before = (
        (await store.journal.activate("lapses")).status,
        (await store.journal.reward(NewReward("expires", 1.0))).status,
    )

    await store.crash()
    after = (
        (await store.journal.activate("lapses")).status,
        (await store.journal.reward(NewReward("expires", 1.0))).status,
    )

    assert before == after == ("late", "late")


async def test_a_lapse_alone_stays_after_a_crash(store: Store) -> None:
    """A deferred decision whose lapse was the last thing written can't be activated after a crash."""
    epoch = await open_lane(store.journal, rule(store.wait_s))
    await store.journal.record(new_decision("e1", epoch, deferred=True))
    await store.elapse(store.wait_s * 0.95)
    await store.journal.record(new_decision("e2", epoch, deferred=True))  # the clock is written with it
    await store.elapse(store.wait_s * 0.05)

    await store.crash()

    assert (await store.journal.activate("e1")).status == "late"


async def test_numbers_and_chain_go_on_after_a_restart(store: Store) -> None:
    """The first outcome after a restart has the next number, and the log before it is what it was."""
    before = await joined(store.journal, 5)

    await store.crash()
    after = await joined(store.journal, 5, first=5)

    assert after[:5] == before
    assert [(row.seq, row.pool_seq) for row in after] == [(i, i) for i in range(1, 11)]
    assert len({row.chain for row in after}) == 10


async def test_a_closed_journal_says_so(store: Store) -> None:
    """After `close` a call raises `JournalUnavailable`; it neither hangs nor answers."""
    epoch = await open_lane(store.journal, rule(LONG_S))
    closed = store.journal
    await store.reopen()

    with pytest.raises(JournalUnavailable):
        await closed.record(new_decision("e1", epoch))


# ----------------------------------------------------------------------------------------------------------- helpers


async def log(journal: Journal, lane: str = "default") -> list[OutcomeRow]:
    """Return the whole of a lane's kept log."""
    return list(await journal.outcomes(lane, after=0, limit=10_000))


async def slots(journal: Journal) -> list[tuple[int, float, bool]]:
    """Return what the lane's kept log says of each outcome: the slot, the reward, and whether one came."""
    return [(row.slot, row.reward, row.rewarded) for row in await log(journal)]


async def joined(journal: Journal, count: int, *, first: int = 0) -> list[OutcomeRow]:
    """Make `count` outcomes of decisions e`first` … and return the lane's log."""
    epoch: Epoch = await open_lane(journal, rule(LONG_S))
    for i in range(first, first + count):
        await journal.record(new_decision(f"e{i}", epoch))
        await journal.reward(NewReward(f"e{i}", i / 4))
    return await log(journal)


def snapshot(row: OutcomeRow, *, is_base: bool = False) -> Snapshot:
    """Return a snapshot of the lane at `row`."""
    return Snapshot(
        lane=row.lane,
        epoch=1,
        seq=row.seq,
        chain=row.chain,
        build="build 1",
        spec_digest=b"d" * 16,
        state=b"state at %d" % row.seq,
        is_base=is_base,
    )


async def trim_all(journal: Journal, base: Snapshot) -> int:
    """Trim until nothing is left to drop: a journal may do it a bounded part at a time."""
    total = 0
    while dropped := await journal.trim(base.lane, base):
        total += dropped
    return total
