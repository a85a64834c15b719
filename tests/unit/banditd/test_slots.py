"""Slots and mixtures on a real store: what is stored, repeated, learned and rebuilt, slot by slot, lane by lane."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from banditd.decision import Decision, decode_decision
from banditd.errors import Conflict, NotFound, Unprocessable
from banditd.keys import Keyring
from banditd.messages import RankReply, RewardRequest
from banditd.segments.lane import learned_from
from banditd.segments.reading import Reader
from policies import InvalidInput, Limits
from policies.draw import draw, uniform
from tests.world import ACTIONS, World

VW = 'policy = { kind = "vw" }'  # looks at the context, so that a slot can make a difference
OWN = f'{VW}\npooling = "own"'
TOML = f"""
[[segments]]
name = "a"
{OWN}
[[segments]]
name = "b"
policy = {{ kind = "epsilon_greedy" }}
reward = {{ slots = "all", wait = "1h" }}
[default]
{OWN}
"""
POOLED = f"""
[[segments]]
name = "a"
{VW}
pooling = "shared"
[default]
{VW}
pooling = "auto"
"""
SLOTS: list[dict[str, Any]] = [{"id": "hero", "features": {"width": 2}}, {"id": "side", "exclude": ["b"]}]
READER = Reader(Limits(), actions=10)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Return a started world with three segments."""
    made = World(tmp_path)
    await made.start(TOML)
    yield made
    await made.stop()


async def stored(world: World, event_id: str) -> Decision:
    """Return the stored decision."""
    body = await world.journal.decision(event_id)
    assert body is not None
    return decode_decision(body)


async def learn_slots(world: World, n: int) -> None:
    """Rank two slots n times, and reward `hero` if it shows a, `side` if it shows c."""
    for i in range(n):
        reply = await world.rank(f"l{i}", slots=SLOTS)
        assert not isinstance(reply.slots, msgspec.UnsetType)
        for slot, best in zip(reply.slots, "ac", strict=True):
            await send(world, f"l{i}", float(slot.chosen == best), slot.id)


async def send(world: World, event_id: str, reward: float, slot: str | None) -> str:
    """Send a reward for a slot."""
    return (await world.service.reward(RewardRequest(event_id, reward, None, slot))).status


def shown(reply: RankReply) -> list[tuple[str, str]]:
    """Return what goes where."""
    assert not isinstance(reply.slots, msgspec.UnsetType)
    return [(slot.id, slot.chosen) for slot in reply.slots]


async def test_stored_slots_explain_their_draws(world: World, tmp_path: Path) -> None:
    """The choice of each slot is the one that the logged key, the event id, the slot and the distribution give."""
    await learn_slots(world, 5)
    reply = await world.rank("visit", slots=SLOTS, exclude=["b"])
    decision = await stored(world, "visit")
    key = Keyring.load_or_create(tmp_path / "store.keys").draw_key(decision.key)

    for number, slot in enumerate(decision.slots):
        u = uniform(key, "default/main", "visit", number)
        assert slot.chosen == slot.eligible[draw(slot.probabilities, u)]
    assert shown(reply) == [
        (asked["id"], "abc"[slot.chosen]) for asked, slot in zip(SLOTS, decision.slots, strict=True)
    ]
    assert decision.excluded == [1]
    assert [slot.eligible for slot in decision.slots] == [[0, 2], [2 - decision.slots[0].chosen]]


@pytest.mark.parametrize("change", ["nothing", "learned", "gone"])
async def test_a_repeat_is_answered_as_the_first_was(world: World, change: str) -> None:
    """The same request gets the same slots again, after the policy has learned and after its segment is gone."""
    request: dict[str, Any] = {"slots": SLOTS, "segment": "a"}
    first = await world.rank("visit", **request)
    if change == "learned":
        await learn_slots(world, 5)
    if change == "gone":
        await world.service.apply(world.config(f"[default]\n{OWN}"))

    assert await world.rank("visit", **request) == first
    for other in ({"slots": SLOTS[:1]}, {"slots": SLOTS, "exclude": ["b"]}, {}):
        with pytest.raises(Conflict):
            await world.rank("visit", **{"segment": "a", **other})


@pytest.mark.parametrize("change", ["nothing", "gone"])
async def test_a_repeat_of_a_mixture_is_answered_as_the_first_was(world: World, change: str) -> None:
    """The same weights get the same answer, also after a member is gone; other weights are another request."""
    first = await world.rank("visit", segments={"a": 0.25, "b": 0.75})
    if change == "gone":
        await world.service.apply(world.config(f"[default]\n{OWN}"))

    assert await world.rank("visit", segments={"b": 0.75, "a": 0.25}) == first
    for other in ({"segments": {"a": 0.5, "b": 0.5}}, {"segments": {"a": 0.25}}, {}):
        with pytest.raises(Conflict):
            await world.rank("visit", **other)


async def test_a_mixture_of_an_unknown_segment_is_not_found(world: World) -> None:
    """A segment that is not configured is named with its path."""
    with pytest.raises(NotFound) as caught:
        await world.rank("visit", segments={"a": 1.0, "nowhere": 1.0})

    assert (caught.value.code, caught.value.field) == ("unknown_segment", "segments.nowhere")


async def test_each_slot_is_learned_with_what_it_was_drawn_from(world: World) -> None:
    """An outcome has the slot's context, its eligible actions and the propensity of what was drawn there."""
    await learn_slots(world, 3)
    await world.rank("visit", slots=SLOTS, context={"device": "tv"})
    decision = await stored(world, "visit")
    for slot_id in ("side", "hero"):
        await send(world, "visit", 1.0, slot_id)

    rows = (await world.journal.outcomes("default/main", after=0, limit=100))[-2:]

    lines = {0: "%id=hero %position=0 width:2", 1: "%id=side %position=1"}
    assert [row.slot for row in rows] == [1, 0]
    for row in rows:
        slot, outcome = decision.slots[row.slot], learned_from(row, READER)
        assert outcome.context.line == f"|s device=tv |s.%slot {lines[row.slot]}"
        assert [action.id for action in outcome.actions] == ["abc"[index] for index in slot.eligible]
        assert outcome.actions[outcome.chosen].id == "abc"[slot.chosen]
        assert outcome.propensity == slot.propensity


async def test_stored_distributions_are_those_of_the_named_state(world: World) -> None:
    """Folding the log up to the seq that a decision names gives each slot's distribution again, bit for bit."""
    await learn_slots(world, 6)
    reply = await world.rank("visit", slots=SLOTS)
    decision = await stored(world, "visit")
    past = world.fresh_lane()

    for row in await world.journal.outcomes("default/main", after=0, limit=reply.version.seq):
        past.fold(row)

    assert reply.version.seq == past.seq == 12
    actions = READER.actions(decision.actions)
    assert decision.asked_slots is not msgspec.UNSET
    for asked, slot in zip(READER.slots(decision.asked_slots), decision.slots, strict=True):
        context = READER.context(decision.context).at_slot(asked.slot)
        assert past.distribution(context, [actions[index] for index in slot.eligible]) == slot.probabilities


async def test_a_policy_learns_what_suits_which_slot(world: World) -> None:
    """Where one action does well in one slot and another in the other, a policy that sees the slot finds both."""
    await learn_slots(world, 150)

    found = [shown(await world.rank(slots=SLOTS)) for _ in range(40)]

    assert sum(choices == [("hero", "a"), ("side", "c")] for choices in found) > 25


@pytest.mark.parametrize(("segment", "n"), [("default", 1), ("b", 2)])
async def test_a_reward_without_a_slot_is_what_the_segment_says(world: World, segment: str, n: int) -> None:
    """By default it is about the first slot; under ``slots = "all"`` about each."""
    await world.rank("visit", slots=SLOTS, segment=segment)

    status = await send(world, "visit", 0.5, None)

    rows = await world.journal.outcomes(f"{segment}/main", after=0, limit=10)
    assert status == "joined"
    assert [(row.slot, row.reward) for row in rows] == [(0, 0.5), (1, 0.5)][:n]


async def test_a_reward_for_what_is_not_there_is_refused(world: World) -> None:
    """An unknown slot, a slot of a decision without slots, and a slot of an unknown event are told apart."""
    await world.rank("slotted", slots=SLOTS)
    await world.rank("plain")

    for event_id, slot in (("slotted", "footer"), ("plain", "hero")):
        with pytest.raises(Unprocessable) as refused:
            await send(world, event_id, 1.0, slot)
        assert (refused.value.code, refused.value.field) == ("unknown_slot", "slot")
    with pytest.raises(NotFound) as unknown:
        await send(world, "nowhere", 1.0, "hero")
    assert (unknown.value.code, unknown.value.field) == ("unknown_event", "event_id")


async def test_a_mixture_can_be_audited(world: World, tmp_path: Path) -> None:
    """A stored mixture names every member's state, its propensity is the mixture's, and its lane the drawn one."""
    await world.rank("first", segment="a")
    await world.reward("first")

    reply = await world.rank("visit", segments={"b": 1, "a": 3})
    await world.reward("visit")

    decision = await stored(world, "visit")
    assert decision.members is not msgspec.UNSET
    lanes = {name: world.fresh_lane(name) for name in "ab"}
    (row,) = await world.journal.outcomes("a/main", after=0, limit=1)
    lanes["a"].fold(row)
    context, actions = READER.context(decision.context), READER.actions(decision.actions)
    a, b = (lanes[name].distribution(context, actions) for name in "ab")
    key = Keyring.load_or_create(tmp_path / "store.keys").draw_key(decision.key)
    owner = "a" if uniform(key, "a/main+b/main", "visit", -1) < 0.75 else "b"

    assert [(member.lane, member.epoch, member.seq, member.weight) for member in decision.members] == [
        ("a/main", 1, 1, 3.0),
        ("b/main", 1, 0, 1.0),
    ]
    assert decision.slots[0].probabilities == [0.75 * p + 0.25 * q for p, q in zip(a, b, strict=True)]
    assert decision.slots[0].chosen == draw(decision.slots[0].probabilities, uniform(key, "a/main+b/main", "visit", 0))
    assert (reply.segment, decision.lane) == (owner, f"{owner}/main")
    learned = learned_from((await world.journal.outcomes(decision.lane, after=0, limit=9))[-1], READER)
    assert learned.propensity == decision.slots[0].propensity


@pytest.mark.parametrize("toml", [TOML, POOLED], ids=["own", "pooled"])
async def test_a_crash_leaves_slots_as_they_were(tmp_path: Path, toml: str) -> None:
    """After a kill the slots' outcomes are folded to the same state, and an open decision still takes its rewards."""
    world = World(tmp_path)
    await world.start(toml)
    await learn_slots(world, 4)
    await world.rank("open", slots=SLOTS)
    await send(world, "open", 1.0, "side")
    before = await digest(world)
    await world.crash()

    await world.start(toml)

    assert await digest(world) == before
    assert await send(world, "open", 1.0, "hero") == "joined"
    assert await send(world, "open", 1.0, "side") == "duplicate"
    await world.stop()


async def test_a_mixture_may_hold_lanes_that_share_a_policy(tmp_path: Path) -> None:
    """Each member of a pool plays as it would alone, and its part of the mixture is stored with what serves it."""
    world = World(tmp_path)
    await world.start(POOLED)
    await learn_slots(world, 3)
    context, actions = READER.context(msgspec.Raw(b"{}")), READER.actions(msgspec.Raw(ACTIONS))

    await world.rank("visit", segments={"a": 1, "default": 1})
    decision = await stored(world, "visit")

    played = [world.lane(name).distribution(context, actions) for name in ("a", "default")]
    assert decision.slots[0].probabilities == [0.5 * p + 0.5 * q for p, q in zip(*played, strict=True)]
    assert decision.members is not msgspec.UNSET
    assert [(member.lane, member.served_by, member.pool_seq) for member in decision.members] == [
        ("a/main", "shared", 6),
        ("default/main", "shared", 6),
    ]
    await world.stop()


async def digest(world: World) -> str:
    """Return the digest of the state of the default segment, loaded if it was not."""
    state = (await world.service.segment("default", with_digest=True)).state
    assert state is not None
    return state.digest


@pytest.mark.parametrize(("pooling", "n_actions"), [("own", 1_000), ("shared", 1_000), ("auto", 500)])
async def test_work_does_not_depend_on_what_was_learned(tmp_path: Path, pooling: str, n_actions: int) -> None:
    """A segment that may have two policies is held to the work of two, before it has its own as after."""
    world = World(tmp_path)
    segment = f'pooling = "{pooling}"\npolicy = {{ kind = "thompson" }}\n'
    await world.start(f'[limits]\nscores = 1000\n[[segments]]\nname = "other"\n{segment}[default]\n{segment}')
    most = [{"id": f"a{i}"} for i in range(n_actions)]

    for started in (False, True):
        await world.rank(actions=most)
        with pytest.raises(InvalidInput) as caught:
            await world.rank(actions=most[:-1], context={"hour": 1, "day": 2})
        assert (caught.value.code, caught.value.field) == ("too_many_scores", "actions")
        assert (getattr(world.lane(), "own", None) is not None) is (started and pooling == "auto")
        await world.learn(10)
    await world.stop()
