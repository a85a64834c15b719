"""`kill -9` under load loses nothing that was acknowledged; and the ledger and the folds that say so would notice."""

import asyncio
import json
import sys
from pathlib import Path

import msgspec
import pytest

from banditd.decision import Decision, Slot
from banditd.journal.protocol import OutcomeRow
from tests.fault.folds import Fold, LaneFold, PoolFold, asks_of, wrong_distributions
from tests.fault.ledger import Call, Entry, Ledger, Promise
from tests.fault.server import SEGMENTS

KILLS = 200
LANE = "greedy/main"  # its rewards are summed, and -0.5 stands for none
ALL = "home/main"  # the earliest counts, and what names no slot is about each of them
SLOTS = [{"id": "hero"}, {"id": "side"}]


@pytest.mark.timeout(1200)
async def test_two_hundred_kills_lose_nothing() -> None:
    """After 200 kills no answer is broken, no outcome comes twice, and every state and decision is that of its log."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.fault.kill",
        "--kills",
        str(KILLS),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    output, _ = await process.communicate()

    report = json.loads(output.splitlines()[-1])
    assert process.returncode == 0, output.decode()
    assert (report["kills"], report["violations"]) == (KILLS, 0)
    assert min(report["killed"].values()) > KILLS / 6  # the group, the worker and the journal each had their turn
    assert report["decisions"] > 20 * KILLS  # there was a load, and it was answered
    assert report["rewards"] > 5 * KILLS
    assert report["in_doubt"] > 0  # and it was cut off
    assert report["states_compared"] > 3 * KILLS
    assert min(report["with_slots"], report["mixtures"]) > KILLS  # of every kind of request there were many
    assert report["distributions_compared"] > report["decisions"]
    assert (report["own_policies"], report["pooled_lanes"]) == (4, 4)
    assert min(report["loads"], report["unloads"]) > KILLS


def entry(
    *rewards: tuple[float, Call], deferred: bool = False, activation: Call = "unsent", answered: bool = True
) -> Entry:
    """Return an acknowledged decision of a lane that sums its rewards."""
    return Entry(
        event_id="e1",
        lanes={LANE: SEGMENTS["greedy"]},
        request={},
        deferred=deferred,
        answer={"segment": "greedy"} if answered else None,
        activation=activation,
        rewards=[Promise(f"r{i}", value, call) for i, (value, call) in enumerate(rewards)],
    )


def of_two_slots(*rewards: Promise) -> Entry:
    """Return a decision of two slots whose rewards, if they name none, are about both."""
    lanes = {ALL: SEGMENTS["home"]}
    return Entry("e1", lanes, {"slots": SLOTS}, deferred=False, answer={"segment": "home"}, rewards=[*rewards])


def mixture(*, owner: str | None) -> Entry:
    """Return a decision that was drawn from two segments; the lane of one of them learns from it."""
    lanes = {LANE: SEGMENTS["greedy"], ALL: SEGMENTS["home"]}
    return Entry("e1", lanes, {}, deferred=False, answer=None if owner is None else {"segment": owner})


def reward(value: float, call: Call = "done", *, slot: int | None = None, was_doubtful: bool = False) -> Promise:
    """Return a reward, of a slot or of the whole decision."""
    return Promise("r", value, call, slot, was_doubtful)


def outcome(
    reward: float, *, rewarded: bool = True, seq: int = 1, event_id: str = "e1", slot: int = 0, lane: str = LANE
) -> OutcomeRow:
    """Return an outcome of that decision."""
    return OutcomeRow(lane, seq, seq, event_id, slot, reward, rewarded, bytes([seq]) * 32, b"{}")


def outcomes_of(*rewards: float, default: float = 0.25) -> list[OutcomeRow]:
    """Return the outcomes of a decision's slots; the default reward stands for none."""
    return [
        outcome(value, rewarded=value != default, seq=slot + 1, slot=slot, lane=ALL)
        for slot, value in enumerate(rewards)
    ]


@pytest.mark.parametrize(
    ("made", "rows"),
    [
        pytest.param(entry(), [outcome(-0.5, rewarded=False)], id="no reward: the default"),
        pytest.param(entry((1.0, "done"), (0.5, "done")), [outcome(1.5)], id="the sum of what was acknowledged"),
        pytest.param(entry((1.0, "done"), (0.5, "in doubt")), [outcome(1.0)], id="what is in doubt may be missing"),
        pytest.param(entry((1.0, "done"), (0.5, "in doubt")), [outcome(1.5)], id="what is in doubt may be there"),
        pytest.param(entry((1.0, "refused")), [outcome(-0.5, rewarded=False)], id="a refused reward is not there"),
        pytest.param(entry(deferred=True), [], id="never activated"),
        pytest.param(entry(deferred=True, activation="refused"), [], id="activated too late"),
        pytest.param(entry(deferred=True, activation="in doubt"), [], id="an activation in doubt was not done"),
        pytest.param(
            entry((1.0, "done"), deferred=True, activation="in doubt"), [outcome(1.0)], id="an activation in doubt was"
        ),
        pytest.param(entry(answered=False), [], id="a rank in doubt was not done"),
        pytest.param(entry(answered=False), [outcome(-0.5, rewarded=False)], id="a rank in doubt was done"),
        pytest.param(of_two_slots(reward(1.0)), outcomes_of(1.0, 1.0), id="a reward of both slots"),
        pytest.param(of_two_slots(reward(1.0, slot=1)), outcomes_of(0.25, 1.0), id="a reward of one slot"),
        pytest.param(
            of_two_slots(reward(1.0, slot=1), reward(0.5)), outcomes_of(0.5, 1.0), id="of one slot, then of both"
        ),
        pytest.param(
            of_two_slots(reward(1.0, slot=1, was_doubtful=True), reward(0.5)),
            outcomes_of(0.5, 0.5),
            id="a reward in doubt came later than the next one",
        ),
        pytest.param(mixture(owner=None), [outcome(-0.5, rewarded=False)], id="a mixture in doubt: the one"),
        pytest.param(mixture(owner=None), outcomes_of(0.25), id="a mixture in doubt: the other"),
        pytest.param(mixture(owner="home"), outcomes_of(0.25), id="a mixture is its owner's"),
    ],
)
def test_the_ledger_accepts_what_a_server_may_do(made: Entry, rows: list[OutcomeRow]) -> None:
    """A log that keeps every answer breaks no rule of the ledger."""
    ledger = Ledger()
    ledger.add(made)

    assert [*ledger.take(rows[0].lane if rows else LANE, rows), *ledger.settle()] == []


@pytest.mark.parametrize(
    ("made", "rows", "found"),
    [
        pytest.param(entry(), [], "has no outcome", id="a decision is lost"),
        pytest.param(entry(deferred=True, activation="done"), [], "has no outcome", id="an activation is lost"),
        pytest.param(entry((1.0, "done")), [outcome(-0.5, rewarded=False)], "-0.5", id="a reward is lost"),
        pytest.param(entry((1.0, "done"), (0.5, "done")), [outcome(1.0)], "1.0", id="one of two rewards is lost"),
        pytest.param(entry((1.0, "done")), [outcome(2.0)], "2.0", id="a reward counted twice"),
        pytest.param(entry((1.0, "refused")), [outcome(1.0)], "1.0", id="a refused reward counted"),
        pytest.param(entry(), [outcome(-0.5)], "-0.5", id="a default is called a reward"),
        pytest.param(entry(deferred=True), [outcome(-0.5, rewarded=False)], "never activated", id="not activated"),
        pytest.param(
            entry((1.0, "done")), [outcome(1.0), outcome(1.0, seq=2)], "outcome number 2", id="an outcome came twice"
        ),
        pytest.param(entry((1.0, "done")), [outcome(1.0, seq=2)], "stands in place 1", id="a gap in the numbers"),
        pytest.param(
            entry((1.0, "done")), [outcome(1.0), outcome(1.0, seq=2, event_id="e2")], "nobody asked", id="a stranger"
        ),
        pytest.param(of_two_slots(reward(1.0)), outcomes_of(1.0, 0.25), "0.25", id="a reward of both counted for one"),
        pytest.param(
            of_two_slots(reward(1.0, slot=1)), outcomes_of(0.25, 0.25), "0.25", id="a reward of a slot is lost"
        ),
        pytest.param(
            of_two_slots(reward(1.0, slot=1)), outcomes_of(1.0, 1.0), "[0]: 1.0", id="a reward counted for another slot"
        ),
        pytest.param(
            of_two_slots(reward(1.0, slot=1), reward(0.5)), outcomes_of(0.5, 0.5), "[1]: 0.5", id="not the earliest"
        ),
        pytest.param(of_two_slots(), outcomes_of(0.25, 0.25, 0.25), "2 slots", id="a slot that was not asked for"),
        pytest.param(mixture(owner="greedy"), outcomes_of(0.25), "not of greedy", id="learned by another lane"),
    ],
)
def test_the_ledger_notices(made: Entry, rows: list[OutcomeRow], found: str) -> None:
    """A log that breaks an answer is found out, with the event it is about."""
    ledger = Ledger()
    ledger.add(made)

    violations = [*ledger.take(rows[0].lane if rows else LANE, rows), *ledger.settle()]

    assert len(violations) == 1
    assert found in violations[0]


def test_the_ledger_notices_a_slot_without_an_outcome() -> None:
    """Either all slots of a decision have outcomes or none has; and those of an acknowledged one have."""
    ledger = Ledger()
    ledger.add(of_two_slots())

    violations = [*ledger.take(ALL, outcomes_of(0.25)), *ledger.settle()]

    assert [violation.partition(": ")[2] for violation in violations] == [
        "was acknowledged and has no outcome of slots [1] ([])",
        "has outcomes of some slots and none of [1]",
    ]


def decision(lane: str, *, probabilities: list[float], seq: int = 0, pool_seq: int = 0, own: bool = False) -> Decision:
    """Return a decision between two actions."""
    return Decision(
        event_id="e1",
        lane=lane,
        epoch=1,
        seq=seq,
        pool_seq=pool_seq,
        at=0.0,
        expires_at=0.0,
        subject=None,
        context=msgspec.Raw(b"{}"),
        actions=msgspec.Raw(b'[{"id": "a", "features": {}}, {"id": "b", "features": {}}]'),
        slots=[Slot([0, 1], probabilities, 0)],
        key="k",
        own_from=1 if own else msgspec.UNSET,
        own_share=0.5 if own else msgspec.UNSET,
    )


@pytest.mark.parametrize(
    ("fold", "made", "found"),
    [
        pytest.param(LaneFold("greedy"), decision(LANE, probabilities=[0.5, 0.5]), "", id="alone"),
        pytest.param(PoolFold(), decision(ALL, probabilities=[0.5, 0.5]), "", id="shared"),
        pytest.param(
            LaneFold("greedy"), decision(LANE, probabilities=[0.5, 0.5 - 2**-54]), "stored", id="alone, the last bit"
        ),
        pytest.param(PoolFold(), decision(ALL, probabilities=[0.5, 0.5 - 2**-54]), "stored", id="shared, the last bit"),
        pytest.param(
            LaneFold("greedy"), decision(LANE, probabilities=[0.5, 0.5], seq=3), "does not have", id="alone, no state"
        ),
        pytest.param(
            PoolFold(), decision(ALL, probabilities=[0.5, 0.5], pool_seq=3), "does not have", id="shared, no state"
        ),
        pytest.param(
            LaneFold("greedy"),
            decision(LANE, probabilities=[0.5, 0.5], pool_seq=3),
            "another state",
            id="alone, another place",
        ),
        pytest.param(
            PoolFold(), decision(ALL, probabilities=[0.5, 0.5], seq=3), "another state", id="shared, another place"
        ),
        pytest.param(
            PoolFold(), decision(ALL, probabilities=[0.5, 0.5], own=True), "another state", id="shared, no own policy"
        ),
    ],
)
def test_the_folds_notice(fold: Fold, made: Decision, found: str) -> None:
    """A decision that names a state in which other probabilities were played, or none at all, is found out."""
    asks = asks_of(made)

    fold.take([], stops={segment: {} for segment in SEGMENTS}, asks=asks)

    violations = [*fold.wrong, *wrong_distributions(made, asks)]
    assert (found in violations[0]) if found else violations == []
