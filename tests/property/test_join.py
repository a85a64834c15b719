"""For any interleaving of calls, time and restarts, the outcomes are those of `tests/model.py`."""

import asyncio
import shutil
import tempfile
from itertools import product
from pathlib import Path
from typing import cast, get_args

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from banditd.clock import ManualClock
from banditd.journal.local import LocalJournal
from banditd.journal.protocol import Aggregate, Epoch, Learn, NewDecision, NewReward, OutcomeRow, RewardRule
from tests.fault.stored import broken_links
from tests.model import Model

# Every aggregate with either way to learn. Halves and quarters are exact in binary: sums have no order to depend on.
LANES = {
    f"{aggregate} {learn}": RewardRule(wait_s=wait_s, default=-0.25, aggregate=aggregate, learn=learn)
    for wait_s, (aggregate, learn) in zip(
        (0.5, 4.0, 1.0, 8.0, 2.0, 0.5, 4.0, 1.0), product(get_args(Aggregate), get_args(Learn)), strict=True
    )
}
POOLS = {lane: "even" if i % 2 == 0 else "odd" for i, lane in enumerate(LANES)}
MEMORY = Path("/dev/shm")  # noqa: S108 - the order of things is in question here, not the disk

events = st.sampled_from([0, 0, 0, 1, 1, 2, 3, 5, 100])  # how many decisions back: calls meet on the last ones
rewards = st.integers(-8, 8).map(lambda quarters: quarters / 4)
reward_ids = st.sampled_from([None, "r1", "r2"])
# Often exactly as long as a window, so that calls fall on its very end.
durations = st.sampled_from([0.25, 0.25, 0.5, 0.5, 1.0, 2.0, 4.0, 8.0])


class JoinMachine(RuleBasedStateMachine):
    """A journal beside the model; both see the same calls and must say the same."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(prefix="banditd-join-", dir=MEMORY if MEMORY.is_dir() else None))
        self.generation = 0
        self.clock = ManualClock(monotonic=100.0)
        self.model = Model()
        self.epochs: dict[str, Epoch] = {}
        self.decisions: dict[str, tuple[str, bytes]] = {}  # event id → identity, body
        self.seen: list[OutcomeRow] = []
        self.settled = True  # whether the journal was told of all the time that passed
        self.open()

    @initialize()
    def open_lanes(self) -> None:
        """Open every lane: an epoch that is there is returned as it was."""
        for lane, reward_rule in LANES.items():
            epoch = self.open_lane(lane, self.epochs[lane].rule if lane in self.epochs else reward_rule)
            assert self.epochs.setdefault(lane, epoch) == epoch

    def event_id(self, back: int) -> str:
        """Return the id of the decision so many before the last; if there is none, one that nobody recorded."""
        return f"e{len(self.decisions) - 1 - back}"

    @rule(
        back=st.sampled_from([-1, -1, -1, -1, 0, 1]),
        lane=st.sampled_from(list(LANES)),
        deferred=st.sampled_from([False, False, True]),
        identity=st.sampled_from("xy"),
    )
    def rank(self, back: int, lane: str, *, deferred: bool, identity: str) -> None:
        """Record a decision; an id that is taken gives back the decision that holds it."""
        event_id = self.event_id(back) if self.decisions else "e0"
        epoch = self.epochs[lane]
        body = f'{{"event_id":"{event_id}","of":"{identity} {lane} {epoch.epoch} {deferred}"}}'.encode()
        decision = NewDecision(event_id, lane, epoch.epoch, deferred, f'"{identity}"'.encode(), body)

        recorded = self.runner.run(self.journal.record(decision))

        assert recorded.created == self.model.rank(event_id, lane=lane, rule=epoch.rule, deferred=deferred)
        first_identity, first_body = self.decisions.setdefault(event_id, (identity, body))
        if not recorded.created:
            assert recorded.body == first_body
            assert recorded.same_request == (identity == first_identity)

    @rule(back=events, reward=rewards, reward_id=reward_ids)
    def reward(self, back: int, reward: float, reward_id: str | None) -> None:
        """Send a reward."""
        event_id = self.event_id(back)

        answer = self.runner.run(self.journal.reward(NewReward(event_id, reward, reward_id)))

        assert answer.status == self.model.reward(event_id, reward, reward_id)

    @rule(back=events, reward=rewards, reward_id=reward_ids, times=st.integers(2, 5))
    def reward_at_once(self, back: int, reward: float, reward_id: str | None, times: int) -> None:
        """Send one reward several times at the same moment: the answers are those of one after the other."""
        event_id = self.event_id(back)

        async def send() -> list[str]:
            sent = [self.journal.reward(NewReward(event_id, reward, reward_id)) for _ in range(times)]
            return [answer.status for answer in await asyncio.gather(*sent)]

        statuses = self.runner.run(send())

        assert statuses == [self.model.reward(event_id, reward, reward_id) for _ in range(times)]

    @rule(back=events)
    def activate(self, back: int) -> None:
        """Activate a decision."""
        event_id = self.event_id(back)

        answer = self.runner.run(self.journal.activate(event_id))

        assert answer.status == self.model.activate(event_id)

    @rule(seconds=durations, noticed=st.booleans())
    def advance(self, seconds: float, *, noticed: bool) -> None:
        """Let time pass; the journal's timer may or may not run before the next call comes."""
        self.clock.advance(seconds)
        self.model.advance(seconds)
        self.settled = False
        if noticed:
            self.settle()

    @rule(wall=st.floats(0.0, 4e9))
    def set_wall_clock(self, wall: float) -> None:
        """Let the wall clock jump: it closes and opens no window."""
        self.clock.set_wall(wall)

    @precondition(lambda self: self.settled)
    @rule(lane=st.sampled_from(list(LANES)), wait_s=st.sampled_from([0.5, 4.0]), default=rewards)
    def change_rule(self, lane: str, wait_s: float, default: float) -> None:
        """Change a lane's reward rule: the next epoch, for the decisions made from now on."""
        old = self.epochs[lane]
        new_rule = RewardRule(wait_s=wait_s, default=default, aggregate=old.rule.aggregate, learn=old.rule.learn)

        self.epochs[lane] = self.open_lane(lane, new_rule)

        assert self.epochs[lane].epoch == old.epoch + (new_rule != old.rule)

    @rule(outage_s=st.sampled_from([0.0, 3.0, 3_600.0]))
    def restart(self, outage_s: float) -> None:
        """Close the journal, let an outage pass and open it again."""
        self.settle()
        self.runner.run(self.journal.close())
        self.clock.advance(outage_s)
        self.open()
        self.open_lanes()
        self.check_log()

    @rule()
    def crash(self) -> None:
        """Take the journal away without a word and open what it left behind.

        Its clock goes on from what was last written: up to a second is lost, in which open windows
        stay open for longer, and no window that had closed opens again.
        """
        self.settle()
        shown = self.clock_s()
        self.generation += 1
        shutil.copytree(self.folder / f"{self.generation - 1}", self.path.parent)
        self.path.with_name(f"{self.path.name}-shm").unlink(missing_ok=True)
        self.runner.run(self.journal.close())
        self.open()
        lost_s = shown - self.clock_s()
        assert 0.0 <= lost_s < 1.0 or not self.model.open
        self.model.now -= lost_s
        self.open_lanes()
        self.check_log()

    @invariant()
    def the_outcomes_are_the_models(self) -> None:
        """What was pushed, over all restarts, is what the model says, in its order."""
        if self.settled:
            said = [(row.lane, row.event_id, row.reward, row.rewarded) for row in self.seen]
            assert said == self.model.outcomes

    def teardown(self) -> None:
        """Compare the log with the model once more, compute its chain again, and clean up."""
        try:
            self.settle()
            self.check_log()
            self.runner.run(self.journal.close())
            assert [link for lane in LANES for link in broken_links(self.path, lane, after=0)] == []
        finally:
            self.runner.close()
            shutil.rmtree(self.folder)

    @property
    def path(self) -> Path:
        """Where the store of this generation lies."""
        return self.folder / f"{self.generation}" / "journal.db"

    def open(self) -> None:
        """Open the journal; what it pushes is kept."""
        self.path.parent.mkdir(exist_ok=True)
        self.runner.run(self.open_and_subscribe())

    async def open_and_subscribe(self) -> None:
        """Open the journal inside the event loop."""
        self.journal = LocalJournal.open(self.path, clock=self.clock, durability="process")
        self.journal.subscribe(self.seen.extend)

    def open_lane(self, lane: str, reward_rule: RewardRule) -> Epoch:
        """Open a lane under a reward rule."""
        opening = self.journal.open_lane(lane, pool=POOLS[lane], spec={"kind": "none"}, rule=reward_rule, build="b")
        return self.runner.run(opening)

    def clock_s(self) -> float:
        """Return the journal's own clock."""
        return self.journal._store.now_us() / 1e6

    def settle(self) -> None:
        """Let the journal notice the time."""
        self.runner.run(self.journal.tick())
        self.settled = True

    def check_log(self) -> None:
        """Hold the stored log to the model: the same outcomes, numbered without gaps."""
        stored = {lane: self.runner.run(self.journal.outcomes(lane, after=0, limit=10_000)) for lane in LANES}
        numbered = dict.fromkeys(POOLS.values(), 0)
        place = dict.fromkeys(LANES, 0)
        for lane, event_id, reward, rewarded in self.model.outcomes:
            row = stored[lane][place[lane]]
            place[lane] += 1
            numbered[POOLS[lane]] += 1
            assert (row.event_id, row.reward, row.rewarded, row.slot) == (event_id, reward, rewarded, 0)
            assert (row.seq, row.pool_seq, row.body) == (
                place[lane],
                numbered[POOLS[lane]],
                self.decisions[event_id][1],
            )
        assert place == {lane: len(rows) for lane, rows in stored.items()}
        for lane in LANES:
            info = self.runner.run(self.journal.lane_info(lane))
            decided = [event for event in self.model.events.values() if event.lane == lane]
            assert (info.seq, info.pool_seq) == (place[lane], numbered[POOLS[lane]])
            assert info.decisions == len(decided)


JoinMachine.TestCase.settings = settings(
    max_examples=300,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.timeout(400)
class TestJoin(cast("type", JoinMachine.TestCase)):  # type: ignore[misc]  # hypothesis makes the class at run time
    """Any interleaving of ranks, rewards, duplicates, activations, expiries and restarts gives the model's outcomes."""
