"""`kill -9` under load loses nothing that was acknowledged; and the ledger that says so would notice."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from banditd.journal.protocol import OutcomeRow
from tests.fault.ledger import Call, Entry, Ledger, Promise

KILLS = 200
LANE = "greedy/main"


@pytest.mark.timeout(900)
async def test_two_hundred_kills_lose_nothing() -> None:
    """After 200 kills no answer was broken, no outcome came twice, and every state is the fold of its log."""
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


def entry(*rewards: tuple[float, Call], deferred: bool = False, activation: Call = "unsent") -> Entry:
    """Return an acknowledged decision of a lane that sums its rewards."""
    return Entry(
        event_id="e1",
        lane=LANE,
        aggregate="sum",
        default=-0.5,
        request={},
        deferred=deferred,
        answer={"event_id": "e1"},
        activation=activation,
        rewards=[Promise(f"r{i}", value, call) for i, (value, call) in enumerate(rewards)],
    )


def outcome(reward: float, *, rewarded: bool = True, seq: int = 1, event_id: str = "e1") -> OutcomeRow:
    """Return an outcome of that decision."""
    return OutcomeRow(LANE, seq, seq, event_id, 0, reward, rewarded, bytes([seq]) * 32, b"{}")


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
    ],
)
def test_the_ledger_accepts_what_a_server_may_do(made: Entry, rows: list[OutcomeRow]) -> None:
    """A log that keeps every answer breaks no rule of the ledger."""
    ledger = Ledger()
    ledger.add(made)

    assert [*ledger.take(LANE, rows), *ledger.settle()] == []


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
    ],
)
def test_the_ledger_notices(made: Entry, rows: list[OutcomeRow], found: str) -> None:
    """A log that breaks an answer is found out, with the event it is about."""
    ledger = Ledger()
    ledger.add(made)

    violations = [*ledger.take(LANE, rows), *ledger.settle()]

    assert len(violations) == 1
    assert found in violations[0]
