"""A store that is as it was is found to be so, and the first thing in it that is not is named."""

import logging
import math
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import apsw
import orjson
import pytest
import structlog

from banditd import logs
from banditd.cli import main
from banditd.decision import decode_decision
from banditd.evaluating.entries import Selection
from banditd.evaluating.findings import REASONS, Findings, Kind
from banditd.evaluating.store import ReadStore
from banditd.evaluating.verification import verify_store
from banditd.keys import Keyring
from policies.contest import START
from tests.traffic import SEGMENTS_TOML, close_windows, settled, traffic
from tests.world import World


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """Take back that the command quietens the logs of its process, which here is that of all tests."""
    before, level, root = structlog.get_config(), logs._threshold, logging.getLogger()
    handlers, root_level = root.handlers, root.level
    yield
    structlog.configure(**before)
    logs._threshold, root.handlers = level, handlers
    root.setLevel(root_level)


ALL = Selection()
ERASE = """
    UPDATE outcomes SET erased = 1, decision_id = NULL, salt = NULL WHERE decision_id = {0};
    DELETE FROM rewards WHERE decision_id = {0};
    DELETE FROM claims WHERE decision_id = {0};
    DELETE FROM decisions WHERE id = {0};
"""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Return a world that is not started yet."""
    made = World(tmp_path)
    yield made
    await made.stop()


def verified(store: Path, selection: Selection = ALL, *, keys: Path | None = None) -> Findings:
    """Verify a store, with the keys beside it or none."""
    keyring = None if keys is None else Keyring.load_or_create(keys)
    with ReadStore(store) as opened:
        return verify_store(opened, selection, keyring=keyring, step=lambda _: None)


def of(world: World, selection: Selection = ALL) -> Findings:
    """Verify the store of a world that runs."""
    return verified(world.directory / "store.db", selection, keys=world.directory / "store.keys")


def copied(world: World, *statements: str) -> Path:
    """Return a copy of a world's store with its keys, changed by statements of SQL."""
    folder = world.directory / "copy"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    rows(world.directory / "store.db", "VACUUM INTO ?", str(folder / "store.db"))
    shutil.copy2(world.directory / "store.keys", folder)
    connection = apsw.Connection(str(folder / "store.db"))
    for statement in statements:
        connection.execute(statement).fetchall()
    connection.close()
    return folder / "store.db"


def rows(store: Path, sql: str, *bindings: Any) -> list[Any]:
    """Query a store."""
    connection = apsw.Connection(str(store), flags=apsw.SQLITE_OPEN_READONLY)
    found = connection.execute(sql, bindings).fetchall()
    connection.close()
    return found


def rewritten(store: Path, event_id: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the stored body of a decision."""
    connection = apsw.Connection(str(store))
    found: list[Any] = connection.execute("SELECT id, body FROM decisions WHERE event_id = ?", (event_id,)).fetchall()
    ((number, body),) = found
    decision = orjson.loads(body)
    change(decision)
    connection.execute("UPDATE decisions SET body = ? WHERE id = ?", (orjson.dumps(decision), number))
    connection.close()


# ----------------------------------------------------------------------------------------------------- all is as it was


async def test_a_store_of_every_kind_of_traffic_is_right(world: World) -> None:
    """Alone, shared, mixed, in slots, deferred, expired: all vectors, draws and outcomes come out, bit for bit."""
    await world.start(SEGMENTS_TOML)
    await traffic(world, 300)
    await settled(world)

    findings = of(world)

    store = world.directory / "store.db"
    bodies = [decode_decision(body) for (body,) in rows(store, "SELECT body FROM decisions")]
    n_slots = sum(len(decision.slots) for decision in bodies)
    n_mixed = sum(isinstance(decision.members, list) for decision in bodies)
    assert findings.is_right
    assert (findings.decisions, findings.exact, findings.near) == (300, n_slots, 0)
    assert (findings.draws, findings.draws_without_key) == (n_slots + n_mixed, 0)
    assert findings.outcomes == rows(store, "SELECT count(*) FROM outcomes")[0][0]
    assert not findings.unchecked
    assert any(isinstance(decision.own_share, float) for decision in bodies)
    assert n_mixed > 20


async def test_states_of_reloads_and_crashes_are_had_again(world: World) -> None:
    """A changed policy, pool or rule opens an epoch, and a crash none: the states of all of them come out again."""
    await world.start(SEGMENTS_TOML)
    await traffic(world, 120, prefix="a")
    await world.service.apply(world.config(SEGMENTS_TOML.replace("softmax", "squarecb").replace("10m", "8m")))
    await traffic(world, 120, prefix="b")
    await world.crash()
    await world.start(SEGMENTS_TOML.replace("epsilon_greedy", "thompson"))
    await traffic(world, 120, prefix="c")
    await settled(world)

    findings = of(world)

    assert findings.is_right
    assert findings.decisions == 360
    assert not findings.unchecked


async def test_lanes_that_come_and_leave_are_had_again(world: World) -> None:
    """A lane that leaves its pool for a policy of its own, or comes back, takes its outcomes out of the parent's."""
    alone = SEGMENTS_TOML.replace(
        'name = "sport"\npolicy = { kind = "vw" }', 'name = "sport"\npolicy = { kind = "ucb" }'
    )
    grown = (
        f"{SEGMENTS_TOML.replace('[default]', '[[segments]]')}name = 'more'\n[default]\npolicy = {{ kind = 'vw' }}\n"
    )
    await world.start(SEGMENTS_TOML)
    for prefix, toml in (("b", alone), ("c", SEGMENTS_TOML), ("d", grown), ("e", alone), ("f", SEGMENTS_TOML)):
        await traffic(world, 60, prefix=prefix, segments=("news", "sport", "default"))
        await world.service.apply(world.config(toml))
    await traffic(world, 60, prefix="last", segments=("news", "sport", "default"))
    await settled(world)

    findings = of(world)

    assert findings.is_right
    assert not findings.unchecked
    epochs = rows(
        world.directory / "store.db",
        "SELECT max(epoch) FROM epochs e JOIN lanes l ON l.id = lane_id WHERE name LIKE '*/%'",
    )
    assert epochs[0][0] >= 3  # the parent was folded anew again and again


@pytest.mark.parametrize("pooling", ["own", "auto"])
async def test_policies_that_keep_no_snapshots_are_folded_whole(world: World, pooling: str) -> None:
    """What VW keeps outside of its model file is had again by the fold of the whole log, which is said."""
    policy = f'policy = {{ kind = "vw", options = "--nn 2" }}\npooling = "{pooling}"\n'
    await world.start(f'[[segments]]\nname = "news"\n{policy}[default]\n{policy}')
    await traffic(world, 60, segments=("news", "default"), mixtures=0.0)
    await settled(world)

    findings = of(world)

    assert findings.is_right
    assert findings.exact == 60
    assert len(findings.whole_folds) == (2 if pooling == "own" else 3)


async def test_one_lane_and_a_time_are_a_part_of_it(world: World) -> None:
    """What is asked for alone is compared, on folds that begin where they always do."""
    await world.start(SEGMENTS_TOML)
    await traffic(world, 100, prefix="old")
    since = world.clock.wall()
    await traffic(world, 100, prefix="young")
    await settled(world)
    store = world.directory / "store.db"

    findings = of(world, Selection(lane="news/main", since=since))

    wanted = rows(store, "SELECT body FROM decisions d JOIN lanes l ON l.id = lane_id WHERE l.name = 'news/main'")
    young = [body for (body,) in wanted if decode_decision(body).event_id.startswith("young")]
    assert findings.is_right
    assert (findings.decisions, findings.exact) == (len(young), len(young))


# ------------------------------------------------------------------------------------------------- the end of the log


@pytest.mark.parametrize("trims", [1, 2])
async def test_a_trimmed_store_is_folded_from_its_bases(world: World, trims: int) -> None:
    """What was dropped is not missed: folds begin at the bases, of lanes, of parents, of lanes' own policies."""
    await world.start(SEGMENTS_TOML)
    for trim in range(trims):
        await traffic(world, 150, prefix=f"old{trim}-", seed=trim)
        world.clock.advance(91 * 86_400.0)
        await traffic(world, 60, prefix=f"young{trim}-", seed=9)
        await settled(world)
        await world.service.trim()
    await traffic(world, 60, prefix="after")
    await settled(world)

    findings = of(world)

    assert findings.is_right
    assert not findings.unchecked
    assert {name.partition("/")[0] for name in findings.bases} == {"*", "news", "sport", "home", "default"}
    assert findings.exact > 100


async def test_what_lay_before_a_base_of_another_policy_is_said(world: World) -> None:
    """Decisions of a policy whose beginning was dropped since cannot be compared, and are no problem."""
    waiting = 'reward = { wait = "120d" }\n'
    await world.start(f'[default]\npolicy = {{ kind = "epsilon_greedy" }}\n{waiting}')
    await traffic(world, 30, prefix="first", segments=["default"], mixtures=0.0)
    await world.service.apply(world.config(f'[default]\npolicy = {{ kind = "ucb" }}\n{waiting}'))
    await world.learn(5, prefix="second")
    world.clock.advance(91 * 86_400.0)
    await world.learn(5, prefix="third")
    await world.service.trim()

    findings = of(world)

    assert findings.is_right
    assert set(findings.unchecked) == {"before_base"}
    assert findings.exact == 5


# -------------------------------------------------------------------------------------------------- what cannot be had


async def test_another_build_is_compared_within_a_millionth(world: World) -> None:
    """Vectors that another build made may differ in their last digits, and no further."""
    await world.start(SEGMENTS_TOML)
    await traffic(world, 100)
    await settled(world)
    store = copied(world, "UPDATE epochs SET build = 'banditd 0.0.1, another CPU'")
    decision = decode_decision(rows(store, "SELECT body FROM decisions WHERE event_id = 'e99'")[0][0])

    def nudged(by: float) -> Callable[[dict[str, Any]], None]:
        def change(stored: dict[str, Any]) -> None:
            stored["slots"][0]["probabilities"][0] += by

        return change

    as_it_was = verified(store)
    rewritten(store, "e99", nudged(1e-9))
    near = verified(store)
    rewritten(store, "e99", nudged(1e-5))
    far = verified(store)

    assert as_it_was.is_right
    assert (as_it_was.exact, as_it_was.builds) == (0, {"banditd 0.0.1, another CPU"})
    assert near.near == as_it_was.near
    assert near.kinds["probabilities"] == 0
    assert far.kinds["probabilities"] == 1
    assert far.problems[-1].event_id == decision.event_id


async def test_what_was_erased_since_is_no_problem(world: World) -> None:
    """States with an outcome that was erased since cannot be had again; all before it are compared."""
    await world.start(SEGMENTS_TOML)
    await traffic(world, 120)
    await settled(world)
    store = world.directory / "store.db"
    ((number,),) = rows(store, "SELECT id FROM decisions WHERE event_id = 'e20'")
    erased = copied(world, ERASE.format(number))

    findings = verified(erased, keys=erased.with_name("store.keys"))

    assert findings.is_right
    assert findings.tombstones > 0
    assert findings.unchecked["erased_since"] > 10
    assert findings.exact > 20


async def test_a_policy_that_cannot_be_built_any_more_is_said(world: World) -> None:
    """Lanes whose spec this banditd does not know are passed over; the others are compared."""
    await world.start(SEGMENTS_TOML)
    await traffic(world, 80, mixtures=0.0)
    await settled(world)
    store = copied(world, "UPDATE epochs SET spec = replace(spec, 'epsilon_greedy', 'oracle')")

    findings = verified(store)

    n_default = rows(
        store, "SELECT count(*) FROM decisions d JOIN lanes l ON l.id = lane_id WHERE name LIKE 'default%'"
    )
    assert findings.is_right
    assert findings.unchecked == {"spec_unusable": n_default[0][0]}
    assert findings.exact > 40


async def test_without_the_keys_draws_are_counted(world: World) -> None:
    """Without a key file, or with that of another store, vectors are compared and draws are not."""
    await world.start()
    await world.learn(10)
    other = Keyring.load_or_create(world.directory / "other.keys")

    without = verified(world.directory / "store.db")
    with_others = verified(world.directory / "store.db", keys=other.path)

    assert (without.exact, without.draws, without.draws_without_key) == (10, 0, 10)
    assert (with_others.exact, with_others.draws, with_others.draws_without_key) == (10, 0, 10)


# ------------------------------------------------------------------------------------------------ what is not as it was


def last_bit(stored: dict[str, Any]) -> None:
    """Change a probability by as little as can be."""
    vector = stored["slots"][0]["probabilities"]
    vector[0] = math.nextafter(vector[0], 1.0)


def chosen(stored: dict[str, Any]) -> None:
    """Choose another action."""
    slot = stored["slots"][0]
    slot["chosen"] = next(index for index in slot["eligible"] if index != slot["chosen"])


def set_to(name: str, value: object) -> Callable[[dict[str, Any]], None]:
    """Return a change of a field."""
    return lambda stored: stored.update({name: value})


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        pytest.param(last_bit, {"probabilities", "outcome"}, id="the last bit of a probability"),
        pytest.param(chosen, {"draw", "outcome"}, id="what was chosen"),
        pytest.param(set_to("context", {"hour": 99}), {"probabilities", "outcome"}, id="the context"),
        pytest.param(set_to("seq", 10_000), {"state", "outcome"}, id="a state that is not there"),
        pytest.param(set_to("pool_seq", 1), {"state", "outcome"}, id="another place in the pool"),
        pytest.param(set_to("epoch", 7), {"unreadable", "outcome"}, id="an epoch that is not there"),
        pytest.param(set_to("event_id", "e1"), {"unreadable", "outcome"}, id="the id inside"),
        pytest.param(set_to("slots", "none"), {"unreadable", "outcome"}, id="what is no decision"),
        pytest.param(set_to("subject", "f" * 32), {"outcome"}, id="the subject"),
    ],
)
async def test_a_changed_decision_is_the_first_that_is_named(
    world: World, change: Callable[[dict[str, Any]], None], kinds: set[str]
) -> None:
    """Of a store in which one decision was changed, that one is named, and in what it is not as it was."""
    await world.start('[default]\npolicy = { kind = "vw" }\n')
    for i in range(60):
        await world.rank(f"e{i}", context={"hour": i % 5})
        await world.reward(f"e{i}", float(i % 3))
    await settled(world)
    store = copied(world)
    rewritten(store, "e40", change)

    findings = verified(store, keys=store.with_name("store.keys"))

    assert {problem.event_id for problem in findings.problems} == {"e40"}
    assert {problem.kind for problem in findings.problems} == kinds


@pytest.mark.parametrize(
    ("statement", "kinds"),
    [
        pytest.param(
            "UPDATE outcomes SET reward = reward + 1 WHERE decision_id = {0}", {"outcome", "reward"}, id="reward"
        ),
        pytest.param("UPDATE outcomes SET rewarded = 0 WHERE decision_id = {0}", {"outcome", "reward"}, id="default"),
        pytest.param("UPDATE rewards SET reward = 9 WHERE decision_id = {0}", {"reward"}, id="the reward as it came"),
        pytest.param("DELETE FROM rewards WHERE decision_id = {0}", {"reward"}, id="no reward came"),
        pytest.param("UPDATE outcomes SET digest = zeroblob(32) WHERE decision_id = {0}", {"outcome"}, id="digest"),
        pytest.param("UPDATE outcomes SET chain = zeroblob(32) WHERE decision_id = {0}", {"outcome"}, id="chain"),
    ],
)
async def test_a_changed_outcome_is_the_first_that_is_named(world: World, statement: str, kinds: set[str]) -> None:
    """Of a store in which one outcome was changed, its decision is named, before all that learned from it."""
    await world.start('[default]\npolicy = { kind = "vw" }\n')
    await world.learn(60)
    await settled(world)
    ((number,),) = rows(world.directory / "store.db", "SELECT id FROM decisions WHERE event_id = 'e40'")
    store = copied(world, statement.format(number))

    findings = verified(store, keys=store.with_name("store.keys"))

    assert {problem.event_id for problem in findings.problems} == {"e40"}
    assert {problem.kind for problem in findings.problems} == kinds


@pytest.mark.parametrize(
    "statement", ["DELETE FROM outcomes WHERE decision_id = {0}", "DELETE FROM decisions WHERE id = {0}"]
)
async def test_a_lost_row_is_noticed(world: World, statement: str) -> None:
    """An outcome or a decision that is gone without a tombstone breaks the log."""
    await world.start()
    await world.learn(20)
    await settled(world)
    ((number,),) = rows(world.directory / "store.db", "SELECT id FROM decisions WHERE event_id = 'e10'")

    findings = verified(copied(world, statement.format(number)))

    assert any("missing" in problem.detail for problem in findings.problems)
    assert findings.unchecked["log_damaged"] > 0


@pytest.mark.parametrize(
    ("event_id", "statement", "kind"),
    [
        pytest.param("e19", "DELETE FROM outcomes WHERE decision_id = {0}", "outcome", id="the last outcome"),
        pytest.param("e5", "UPDATE outcomes SET erased = 1 WHERE decision_id = {0}", "outcome", id="called erased"),
        pytest.param("open", "DELETE FROM windows WHERE decision_id = {0}", "outcome", id="window"),
        pytest.param("given up", "DELETE FROM lapses WHERE decision_id = {0}", "outcome", id="lapse"),
        pytest.param("later", "DELETE FROM activations WHERE decision_id = {0}", "outcome", id="activation"),
        pytest.param("e5", "UPDATE decisions SET deferred = 1 WHERE id = {0}", "unreadable", id="deferred"),
        pytest.param("e5", "UPDATE decisions SET n_slots = 2 WHERE id = {0}", "unreadable", id="slots"),
        pytest.param("e5", "UPDATE decisions SET lane_id = 99 WHERE id = {0}", "unreadable", id="lane"),
        pytest.param("e5", "DELETE FROM claims WHERE decision_id = {0}", "unreadable", id="claim"),
        pytest.param("e5", "UPDATE claims SET decision_id = 1 WHERE decision_id = {0}", "unreadable", id="other claim"),
        pytest.param("open", "DELETE FROM decisions WHERE id = {0}", "unreadable", id="decision"),
    ],
)
async def test_what_is_lost_beside_a_decision_is_noticed(
    world: World, event_id: str, statement: str, kind: Kind
) -> None:
    """A claim, window, activation or outcome that is gone names its decision, though no later state depends on it."""
    await world.start()
    await world.rank("given up", activate=False)
    await world.rank("later", activate=False)
    await world.service.activate("later")
    await close_windows(world)
    await world.learn(20)
    await world.rank("open")
    await settled(world)
    ((number,),) = rows(world.directory / "store.db", "SELECT id FROM decisions WHERE event_id = ?", event_id)

    before = of(world)
    found = verified(copied(world, statement.format(number)))

    assert before.is_right
    assert [(problem.event_id, problem.kind) for problem in found.problems] == [(event_id, kind)]


@pytest.mark.parametrize(
    ("name", "value"),
    [("actions", []), ("actions", [{"id": "a", "wings": 2}]), ("context", "text"), ("context", {"a": [[1]]})],
)
async def test_a_decision_that_no_policy_could_make_is_named(world: World, name: str, value: object) -> None:
    """A stored decision whose parts cannot be read is a finding, and no end of the check."""
    await world.start()
    await world.learn(20)
    await settled(world)
    store = copied(world)
    rewritten(store, "e10", set_to(name, value))

    findings = verified(store)

    assert {problem.event_id for problem in findings.problems} == {"e10"}
    assert "unreadable" in {problem.kind for problem in findings.problems}


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM pools", "UPDATE epochs SET spec = '{'", "UPDATE epochs SET rule = '{}'", "DROP TABLE epochs"],
)
async def test_a_store_whose_lanes_cannot_be_read_is_said_to_be_so(
    world: World, capsys: pytest.CaptureFixture[str], statement: str
) -> None:
    """Where nothing can be checked the command ends with 2 and a sentence."""
    await world.start()
    await world.learn(3)
    await settled(world)

    code = main(["verify", "--store", str(copied(world, "PRAGMA foreign_keys = OFF", statement))])

    assert code == 2
    assert "cannot be read" in capsys.readouterr().err


async def test_what_learned_from_a_broken_decision_is_not_blamed(world: World) -> None:
    """Where a stored decision cannot be read, the states after its outcome are unknown, and it alone is named."""
    await world.start()
    await world.learn(40)
    await settled(world)
    store = copied(world, "UPDATE decisions SET body = x'7b' WHERE event_id = 'e10'")

    findings = verified(store)

    assert {problem.event_id for problem in findings.problems} == {"e10"}
    assert findings.unchecked == {"log_damaged": 29}
    assert findings.kinds == {"unreadable": 1, "outcome": 1}


async def test_a_changed_share_or_member_of_a_mixture_is_named(world: World) -> None:
    """The share of a policy of a lane's own, and the owner of a mixture, are held to what was played and drawn."""
    await world.start(SEGMENTS_TOML)
    await traffic(world, 150)
    await settled(world)
    store = world.directory / "store.db"
    decisions = [decode_decision(body) for (body,) in rows(store, "SELECT body FROM decisions ORDER BY id")]
    mixed = next(one for one in decisions[100:] if isinstance(one.members, list))
    own = next(one for one in decisions[100:] if isinstance(one.own_share, float) and not isinstance(one.members, list))

    shared = copied(world)
    rewritten(shared, own.event_id, set_to("own_share", 0.75 if own.own_share != 0.75 else 0.25))
    findings = verified(shared)
    weighed = copied(world)
    rewritten(weighed, mixed.event_id, lambda stored: stored["members"][0].update({"weight": 50.0}))
    of_weights = verified(weighed, keys=weighed.with_name("store.keys"))

    assert {problem.event_id for problem in findings.problems} == {own.event_id}
    assert {problem.event_id for problem in of_weights.problems} == {mixed.event_id}
    assert "probabilities" in {problem.kind for problem in of_weights.problems}


async def test_enough_was_learned_for_policies_of_their_own(world: World) -> None:
    """The traffic of these tests is enough for contests between policies."""
    await world.start(SEGMENTS_TOML)
    await traffic(world, 8 * START)
    await close_windows(world)

    shares = [
        decode_decision(body).own_share for (body,) in rows(world.directory / "store.db", "SELECT body FROM decisions")
    ]

    assert any(isinstance(share, float) for share in shares)


# ---------------------------------------------------------------------------------------------------------- the command


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Run the command; return its exit code and what it says."""
    code = main(["verify", *arguments])
    return code, capsys.readouterr().out


async def test_the_command_says_what_could_not_be_checked(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Erased outcomes, another build, a base, missing keys and policies without snapshots each have a sentence."""
    stays = 'policy = { kind = "vw", options = "--nn 2" }\npooling = "own"\n'
    await world.start(f'[[segments]]\nname = "stays"\n{stays}[default]\npolicy = {{ kind = "thompson" }}\n')
    await world.learn(30, prefix="old")
    world.clock.advance(91 * 86_400.0)
    await world.learn(20)
    await world.rank("s0", segment="stays")
    await settled(world)
    await world.service.trim()
    ((number,),) = rows(world.directory / "store.db", "SELECT id FROM decisions WHERE event_id = 'e10'")
    store = copied(world, ERASE.format(number), "UPDATE epochs SET build = 'another'")

    code, sentences = said(capsys, "--store", str(store))

    assert code == 0
    for part in (
        f"{store}: 20 decisions, 11 distributions, 0 draws and 19 outcomes checked",
        "11 distributions are of another build, and were compared within 1e-06: another",
        "20 draws were not repeated",
        "1 outcomes were erased",
        "default/main: the kept log begins after outcome 30",
        "stays/main: its policy keeps no snapshots",
        "everything that was checked is as it was",
    ):
        assert part in sentences
    assert f"{REASONS['erased_since']}\n" in sentences


async def test_the_command_names_the_first_problem(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """With exit code 1 come the event, where it stands, and both vectors; as JSON too."""
    await world.start()
    await world.learn(20)
    await settled(world)
    store = copied(world)
    rewritten(store, "e7", last_bit)
    keys = ("--keys", str(store.with_name("store.keys")))

    code, sentences = said(capsys, "--store", str(store), *keys)
    code_json, line = said(capsys, "--store", str(store), *keys, "--json")

    found = orjson.loads(line)
    assert code == code_json == 1
    assert "  probabilities: event 'e7', slot 0, lane default/main, epoch 1, seq 7: " in sentences
    assert "    stored  [" in sentences
    assert "    played  [" in sentences
    assert found["ok"] is False
    assert {problem["event_id"] for problem in found["first"]} == {"e7"}
    assert {problem["kind"] for problem in found["first"]} == {"probabilities", "outcome"}


def test_the_document_names_every_kind_and_reason() -> None:
    """docs/verify.md explains each kind of problem, and each reason why something cannot be compared."""
    text = (Path(__file__).parents[3] / "docs" / "verify.md").read_text()

    assert [kind for kind in get_args(Kind) if f"`{kind}`" not in text] == []
    assert [words for reason, words in REASONS.items() if reason != "dropped_meanwhile" and words not in text] == []


# ------------------------------------------------------------------------------------------- what a shared policy names


@pytest.fixture
async def pooled(world: World) -> World:
    """Return a world whose segments share policies and have their own, 90 decisions old."""
    await world.start(SEGMENTS_TOML)
    await traffic(world, 90, segments=("news", "sport"), mixtures=0.0)
    await settled(world)
    return world


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(set_to("parent_epoch", 9), "an epoch that the store does not have", id="no epoch of the parent"),
        pytest.param(set_to("pool_seq", 10_000), "the pool's log ends at", id="behind the end of the pool"),
        pytest.param(set_to("own_from", 1), "with a policy of its own from", id="another start of its own policy"),
        pytest.param(set_to("seq", 1), "of the pool", id="another place in the lane"),
    ],
)
async def test_a_state_of_a_shared_policy_that_is_not_there_is_named(
    pooled: World, change: Callable[[dict[str, Any]], None], says: str
) -> None:
    """A decision whose parent, place or policy of its own is not the log's is named with what the log has instead."""
    store = copied(pooled)
    rewritten(store, "e80", change)

    findings = verified(store)

    assert {problem.event_id for problem in findings.problems} == {"e80"}
    assert any(says in problem.detail for problem in findings.problems if problem.kind == "state")


async def test_a_shared_policy_that_cannot_be_built_any_more_is_said(pooled: World) -> None:
    """Lanes of a pool whose spec this banditd does not know are passed over."""
    store = copied(pooled, "UPDATE epochs SET spec = replace(spec, '\"squarecb\"', '\"oracle\"')")

    findings = verified(store)

    assert findings.is_right
    assert findings.unchecked == {"spec_unusable": 90}


async def test_a_lost_base_is_said(pooled: World) -> None:
    """Where the state at which a kept log begins is gone, what would be folded from it cannot be compared."""
    pooled.clock.advance(91 * 86_400.0)
    await traffic(pooled, 40, prefix="young", segments=("news", "sport"), mixtures=0.0)
    await settled(pooled)
    await pooled.service.trim()
    own = "DELETE FROM snapshots WHERE base = 1 AND lane_id IN (SELECT id FROM lanes WHERE name {} '*/%')"

    all_there = verified(copied(pooled))
    without_own = verified(copied(pooled, own.format("NOT LIKE")))
    without_parent = verified(copied(pooled, own.format("LIKE")))

    assert all_there.is_right
    assert not all_there.unchecked
    assert without_own.is_right
    assert set(without_own.unchecked) == {"before_base"}
    assert without_parent.is_right
    assert set(without_parent.unchecked) == {"before_base"}
