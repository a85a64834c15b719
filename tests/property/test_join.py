"""For any interleaving of calls, time and restarts, the outcomes are those of `tests/model.py`."""

import asyncio
import shutil
import tempfile
from itertools import product
from pathlib import Path
from typing import Any, Final, get_args

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from banditd.clock import ManualClock
from banditd.journal.local import LocalJournal
from banditd.journal.protocol import Aggregate, Epoch, Learn, NewDecision, NewReward, OutcomeRow, RewardRule, Slots
from tests.fault.stored import broken_links
from tests.model import Model

# Every aggregate with either way to learn and either meaning of a reward without a slot. Halves and quarters are exact
# in binary: sums have no order to depend on.
LANES: Final = {
    f"{aggregate} {learn} {slots}": RewardRule(
        wait_s=wait_s, default=-0.25, aggregate=aggregate, learn=learn, slots=slots
    )
    for wait_s, (aggregate, learn, slots) in zip(
        (4.0, 0.5, 1.0, 8.0, 2.0, 0.5, 4.0, 1.0) * 2,
        product(get_args(Aggregate), get_args(Learn), get_args(Slots)),
        strict=True,
    )
}
POOLS: Final = {lane: "even" if i % 2 == 0 else "odd" for i, lane in enumerate(LANES)}
MEMORY: Final = Path("/dev/shm")  # noqa: S108 - the order of things is in question here, not the disk
CLOCK_LOST_S: Final = 1.0  # at most, by a crash

Step = tuple[str, dict[str, Any]]

# Joined at once means out of turn; the first of the two is the default.
LANE = st.sampled_from([*LANES, *["earliest at_once first"] * 5, *["earliest at_once all"] * 3])
BACK = st.sampled_from([0, 0, 0, 0, 1, 1, 2, 3, 100])  # decisions before the last: calls meet on few, some on none
REWARD = st.integers(-8, 8).map(lambda quarters: quarters / 4)
REWARD_ID = st.sampled_from([None, None, "r1", "r2"])
SLOT = st.sampled_from([None, None, None, 0, 1, 2])


def step(name: str, **arguments: SearchStrategy[Any]) -> SearchStrategy[Step]:
    """Return calls of the method `name` of `Join`."""
    return st.tuples(st.just(name), st.fixed_dictionaries(arguments))


RANK = step(
    "rank",
    back=st.sampled_from([-1, -1, -1, -1, -1, 0, 1]),  # -1: a new decision
    lane=LANE,
    deferred=st.sampled_from([False, False, True]),
    of=st.sampled_from("xy"),
    n_slots=st.sampled_from([1, 1, 2, 3]),
)
SEND = step("reward", back=BACK, reward=REWARD, reward_id=REWARD_ID, slot=SLOT, times=st.sampled_from([1, 1, 1, 3]))
ACTIVATE = step("activate", back=BACK)
# Often exactly as long as a window, or as what is left of it, so that calls fall on its very end.
ADVANCE = step("advance", seconds=st.sampled_from([0.25, 0.25, 0.5, 0.5, 1.0, 2.0, 4.0]), noticed=st.booleans())
RARE = st.one_of(
    step("restart", outage_s=st.sampled_from([0.0, 3.0, 3_600.0])),
    step("crash"),
    step("set_wall_clock", wall=st.floats(0.0, 4e9)),
    step("change_rule", lane=LANE, wait_s=st.sampled_from([0.5, 4.0]), default=REWARD),
)
WEIGHTS = [(RANK, 6), (SEND, 8), (ACTIVATE, 2), (ADVANCE, 5), (RARE, 1)]
# Not `one_of`: it takes repetitions out, and then every tenth call is a crash.
SCRIPT = st.lists(
    st.sampled_from([kind for kind, weight in WEIGHTS for _ in range(weight)]).flatmap(lambda kind: kind),
    min_size=20,
    max_size=60,
)


@pytest.mark.timeout(400)
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(script=SCRIPT)
def test_the_outcomes_are_the_models(script: list[Step]) -> None:
    """Ranks, rewards, repeats, activations, expiries, restarts, crashes: the answers and outcomes are the model's."""
    folder = Path(tempfile.mkdtemp(prefix="banditd-join-", dir=MEMORY if MEMORY.is_dir() else None))
    try:
        asyncio.run(Join(folder).run(script))
    finally:
        shutil.rmtree(folder)


class Join:
    """A journal beside the model; both see the same calls and must say the same."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.generation = 0  # of the store's files; a crash goes on with a copy
        self.clock = ManualClock(monotonic=100.0)
        self.model = Model()
        self.epochs: dict[str, Epoch] = {}
        self.decisions: dict[str, bytes] = {}  # event id → body
        self.pushed: list[OutcomeRow] = []
        self.is_settled = True  # whether the journal has looked at the clock since it moved

    async def run(self, script: list[Step]) -> None:
        """Carry out a script, comparing after each step."""
        await self.open()
        for name, arguments in script:
            await getattr(self, name)(**arguments)
            if self.is_settled:
                self.check_pushed()
        await self.settle()
        self.check_pushed()
        await self.check_log()
        await self.journal.close()
        assert [link for lane in LANES for link in broken_links(self.path, lane, after=0)] == []

    async def rank(self, *, back: int, lane: str, deferred: bool, of: str, n_slots: int) -> None:
        """Record a decision; an id that is taken gives back the decision that holds it."""
        event_id, epoch = self.event_id(back), self.epochs[lane]
        body = f'{{"event_id":"{event_id}","of":"{of} {lane} {epoch.epoch} {deferred}"}}'.encode()
        decision = NewDecision(event_id, lane, epoch.epoch, deferred, body, n_slots)

        recorded = await self.journal.record(decision)

        expected = self.model.rank(event_id, lane=lane, rule=epoch.rule, deferred=deferred, n_slots=n_slots)
        assert recorded.created == expected
        first_body = self.decisions.setdefault(event_id, body)
        assert recorded.created or recorded.body == first_body

    async def reward(self, *, back: int, reward: float, reward_id: str | None, slot: int | None, times: int) -> None:
        """Send a reward, or several times the same at one moment: as if one came after the other."""
        event_id = self.event_id(back)

        answers = await asyncio.gather(
            *(self.journal.reward(NewReward(event_id, reward, reward_id, slot)) for _ in range(times))
        )

        expected = [self.model.reward(event_id, reward, reward_id, slot) for _ in range(times)]
        assert [answer.status for answer in answers] == expected

    async def activate(self, *, back: int) -> None:
        """Activate a decision."""
        event_id = self.event_id(back)

        answer = await self.journal.activate(event_id)

        assert answer.status == self.model.activate(event_id)

    async def advance(self, *, seconds: float, noticed: bool) -> None:
        """Let time pass; the journal's timer may or may not run before the next call comes."""
        self.clock.advance(seconds)
        self.model.advance(seconds)
        self.is_settled = False
        if noticed:
            await self.settle()

    async def set_wall_clock(self, *, wall: float) -> None:
        """Let the wall clock jump: it closes and opens no window."""
        self.clock.set_wall(wall)

    async def change_rule(self, *, lane: str, wait_s: float, default: float) -> None:
        """Change a lane's reward rule: the next epoch, for the decisions made from now on."""
        old = self.epochs[lane]
        new_rule = msgspec.structs.replace(old.rule, wait_s=wait_s, default=default)

        self.epochs[lane] = await self.open_lane(lane, new_rule)

        assert self.epochs[lane].epoch == old.epoch + (new_rule != old.rule)

    async def restart(self, *, outage_s: float) -> None:
        """Close the journal, let an outage pass and open it again."""
        await self.settle()
        await self.journal.close()
        self.clock.advance(outage_s)
        await self.open()
        await self.check_log()

    async def crash(self) -> None:
        """Take the journal away without a word and open what it left behind.

        Its clock goes on from what was last written: open windows stay open for as much longer, and
        none that had closed opens again.
        """
        await self.settle()
        shown_s = self.journal_clock_s()
        left = self.path.parent
        self.generation += 1
        shutil.copytree(left, self.path.parent)
        self.path.with_name(f"{self.path.name}-shm").unlink(missing_ok=True)
        await self.journal.close()

        await self.open()

        lost_s = shown_s - self.journal_clock_s()
        assert 0.0 <= lost_s < CLOCK_LOST_S or not self.model.open
        self.model.now -= lost_s
        await self.check_log()

    @property
    def path(self) -> Path:
        """Where the store of this generation lies."""
        return self.folder / f"{self.generation}" / "journal.db"

    def event_id(self, back: int) -> str:
        """Return the id of the decision so many before the last; if there is none, one that nobody recorded."""
        return f"e{len(self.decisions) - 1 - back}"

    async def open(self) -> None:
        """Open the journal and its lanes; an epoch that is there is returned as it was."""
        self.path.parent.mkdir(exist_ok=True)
        self.journal = LocalJournal.open(self.path, clock=self.clock, durability="process")
        self.journal.subscribe(self.pushed.extend)
        for lane, reward_rule in LANES.items():
            epoch = await self.open_lane(lane, self.epochs[lane].rule if lane in self.epochs else reward_rule)
            assert self.epochs.setdefault(lane, epoch) == epoch

    async def open_lane(self, lane: str, reward_rule: RewardRule) -> Epoch:
        """Open a lane under a reward rule."""
        return await self.journal.open_lane(lane, pool=POOLS[lane], spec={"kind": "none"}, rule=reward_rule, build="b")

    def journal_clock_s(self) -> float:
        """Return the journal's own clock."""
        return self.journal._store.now_us() / 1e6

    async def settle(self) -> None:
        """Let the journal notice the time."""
        await self.journal.tick()
        self.is_settled = True

    def check_pushed(self) -> None:
        """Compare what was pushed, over all restarts, with the model, in its order."""
        pushed = [(row.lane, row.event_id, row.slot, row.reward, row.rewarded) for row in self.pushed]
        assert pushed == self.model.outcomes

    async def check_log(self) -> None:
        """Hold the stored log to the model: the same outcomes, numbered without gaps in lane and pool."""
        stored = {lane: await self.journal.outcomes(lane, after=0, limit=10_000) for lane in LANES}
        numbered = dict.fromkeys(POOLS.values(), 0)
        place = dict.fromkeys(LANES, 0)
        for lane, event_id, slot, reward, rewarded in self.model.outcomes:
            row = stored[lane][place[lane]]
            place[lane] += 1
            numbered[POOLS[lane]] += 1
            assert (row.event_id, row.slot, row.reward, row.rewarded) == (event_id, slot, reward, rewarded)
            assert (row.seq, row.pool_seq, row.body) == (
                place[lane],
                numbered[POOLS[lane]],
                self.decisions[event_id],
            )
        assert place == {lane: len(rows) for lane, rows in stored.items()}
        for lane in LANES:
            info = await self.journal.lane_info(lane)
            decided = [event for event in self.model.events.values() if event.lane == lane]
            assert (info.seq, info.pool_seq) == (place[lane], numbered[POOLS[lane]])
            assert info.decisions == len(decided)
