"""What is exported says what the journal says, and VW and `replay` read it so."""

import gzip
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw
import msgspec
import numpy as np
import orjson
import polars as pl
import pytest
import zstandard
from vowpalwabbit import Workspace, pyvw

from banditd.cli import main
from banditd.decision import Slot, decode_decision
from banditd.evaluating.dsjson import timestamp
from banditd.evaluating.entries import Entry, Selection, read_entries
from banditd.evaluating.journal_log import JournalLog
from banditd.evaluating.reading import log_reader
from banditd.evaluating.store import ReadStore
from banditd.evaluating.vw_json import features_of
from policies.features import Action, Context
from replay.events import LoggedEvent
from replay.logs import DsjsonLog, JsonlLog, TableLog, open_log
from tests.traffic import SEGMENTS_TOML, WAIT_S, traffic
from tests.world import World, until

VW_TOLERANCE = 1e-5  # VW prints so many digits of a loss, and adds in float32


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of 400 decisions, and five whose windows are open."""
    import asyncio  # noqa: PLC0415 - a fixture of a module has no loop

    world = World(tmp_path_factory.mktemp("export"))

    async def fill() -> None:
        await world.start(SEGMENTS_TOML)
        await traffic(world, 400)
        for i in range(5):
            await world.rank(f"open{i}", context={"hour": i}, segment="news")
        await until(lambda: world.service.backlog == 0)
        await world.stop()

    asyncio.run(fill())
    return world.directory / "store.db"


def exported(store: Path, folder: Path, format_: str, *options: str, segment: str = "") -> Path:
    """Export a store into a folder."""
    target = folder / f"{segment or 'all'}.{format_}"
    asked = ["export", "--store", str(store), "--format", format_, "--segment", segment, "--output", str(target)]
    assert main([*asked, *options]) == 0
    return target


def entries(store: Path, segment: str = "") -> list[Entry]:
    """Return the decisions with all of their outcomes."""
    with ReadStore(store) as opened:
        return [one for one in read_entries(opened, Selection(segment=segment)) if one.state == "complete"]


# ------------------------------------------------------------------------------------------------------------------- VW


def vw_driver(log: Path, arguments: str) -> tuple[int, float]:
    """Let VW's command line learn from a dsjson file; return the number of examples and the average loss."""
    command = [sys.executable, "-m", "vowpalwabbit", *arguments.split(), "--dsjson", "-d", str(log)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stderr
    assert "error" not in said
    count, loss = (re.search(rf"{words} = (\S+)", said) for words in ("number of examples", "average loss"))
    assert count is not None
    assert loss is not None
    return int(count[1]), float(loss[1])


def bandit_text(entry: Entry) -> tuple[list[str], int, Slot]:
    """Return a decision of one slot as VW text, the line of what was chosen, and the slot."""
    reader = log_reader()
    slot = entry.decision.slots[0]
    actions = reader.actions(entry.decision.actions)
    lines = [f"shared {reader.context(entry.decision.context).line}", *(actions[i].line for i in slot.eligible)]
    return lines, 1 + slot.eligible.index(slot.chosen), slot


@pytest.mark.parametrize(
    ("segment", "arguments"),
    [
        ("news", "--cb_explore_adf"),
        ("sport", "--cb_explore_adf --squarecb -q ::"),
        ("default", "--cb_explore_adf --cb_type ips --epsilon 0.3"),
    ],
)
def test_vw_reads_the_same_average_loss(store: Path, tmp_path: Path, segment: str, arguments: str) -> None:
    """VW's command line counts the decisions, and their loss is that of the text which our policies are told."""
    log = exported(store, tmp_path, "dsjson", segment=segment)
    vw = Workspace(f"{arguments} --quiet")
    told = entries(store, segment)
    losses: list[float] = []
    for entry in told:
        lines, chosen, slot = bandit_text(entry)
        cost = -entry.outcomes[0].reward
        losses.append(cost / slot.propensity * vw.predict("\n".join(lines))[chosen - 1])
        lines[chosen] = f"0:{cost!r}:{slot.propensity!r} {lines[chosen]}"
        vw.learn("\n".join(lines))

    count, loss = vw_driver(log, arguments)

    assert count == len(told) > 60
    assert loss == pytest.approx(sum(losses) / count, abs=VW_TOLERANCE)


def slots_text(entry: Entry) -> str:
    """Return a decision of several slots as VW text."""
    reader = log_reader()
    decision = entry.decision
    assert decision.asked_slots is not msgspec.UNSET
    actions = reader.actions(decision.actions)
    lines = [
        f"ccb shared {reader.context(decision.context).line}",
        *(f"ccb action {action.line}" for action in actions),
    ]
    for number, (slot, asked) in enumerate(zip(decision.slots, reader.slots(decision.asked_slots), strict=True)):
        pairs = list(zip(slot.eligible, slot.probabilities, strict=True))
        pairs.sort(key=lambda pair: (pair[0] != slot.chosen, -pair[1]))
        rest = "".join(f",{index}:{probability!r}" for index, probability in pairs[1:])
        label = f"{slot.chosen}:{-entry.outcomes[number].reward!r}:{pairs[0][1]!r}{rest}"
        limits = f" {','.join(str(i) for i in slot.eligible)}" if len(slot.eligible) < len(actions) - number else ""
        lines.append(f"ccb slot {label}{limits} {asked.slot.line}")
    return "\n".join(lines)


def test_vw_reads_slots_as_ccb(store: Path, tmp_path: Path) -> None:
    """Decisions over several slots have the average loss that the same decisions have as VW text."""
    told = [entry for entry in entries(store, "home") if entry.decision.asked_slots is not msgspec.UNSET]
    whole = exported(store, tmp_path, "dsjson", segment="home")
    log = tmp_path / "slots.dsjson"
    log.write_bytes(b"".join(line for line in whole.read_bytes().splitlines(keepends=True) if b"_outcomes" in line))
    vw = Workspace("--ccb_explore_adf --quiet")
    for entry in told:
        vw.learn(slots_text(entry))

    count, loss = vw_driver(log, "--ccb_explore_adf")

    assert count == len(told) > 60
    assert loss == pytest.approx(vw.get_sum_loss() / count, abs=VW_TOLERANCE)
    assert vw_driver(whole, "--ccb_explore_adf")[0] == len(entries(store, "home"))  # mixtures have one slot


EXAMPLE = pyvw.pylibvw.example  # the calls that take the number of a namespace


def seen(examples: Sequence[Any]) -> list[dict[int, float]]:
    """Return the features of parsed examples, by their hash."""
    return [
        {
            EXAMPLE.feature(one, namespace, i): EXAMPLE.feature_weight(one, namespace, i)
            for place in range(one.num_namespaces())
            for namespace in [one.namespace(place)]
            for i in range(EXAMPLE.num_features_in(one, namespace))
        }
        for one in examples
    ]


CONTEXTS = [
    pytest.param({}, id="empty"),
    pytest.param({"hour": 21, "price": 3.5, "zero": 0, "small": 1e-30}, id="numbers"),
    pytest.param({"device": "mobile", "city": "São Paulo|x:y=z", "empty": ""}, id="strings"),
    pytest.param({"on": True, "off": False, "nothing": None}, id="booleans"),
    pytest.param({"tags": ["a b", "c", "c"], "v": [0.5, 0, 2], "mixed": ["a", 2, True]}, id="lists"),
    pytest.param({"user": {"age": 30, "geo": {"city": "x"}}, "shop": {"geo": {"city": "x"}}}, id="nested"),
    pytest.param({"seen": [{"a": 1, "b": 2}, {"b": 3}]}, id="merged"),
    pytest.param({"a.b": 1, "a": {"b": 2}, "%id": "x", "a:b": 1, "ü": 1}, id="names"),
]


@pytest.mark.parametrize("data", CONTEXTS)
def test_vw_sees_the_features_of_our_own_text(data: dict[str, Any]) -> None:
    """VW makes the same features, to the hash, of the exported JSON and of the text that our policies are told."""
    context, action = Context.of(data), Action.of("an id", data)
    line = {
        "_label_cost": -1.0,
        "_label_probability": 0.5,
        "_label_Action": 1,
        "_labelIndex": 0,
        "a": [1],
        "c": {**features_of(context.line), "_multi": [features_of(action.line)]},
        "p": [0.5],
    }

    json = seen(Workspace("--cb_explore_adf --dsjson --quiet").parse(orjson.dumps(line).decode()))
    text = seen(Workspace("--cb_explore_adf --quiet").parse(f"shared {context.line}\n0:-1:0.5 {action.line}"))

    assert json[:2] == text[:2]


def test_a_name_that_begins_with_an_underscore_is_written_with_its_code() -> None:
    """VW drops keys that begin with ``_``: ours come with %5F, which no client's own name can be."""
    hidden = features_of(Context.of({"_x": True, "_user": {"_age": 3}, "%5Fx": True}).line)

    assert hidden == {"s": {"%5Fx": True, "%255Fx": True}, "s._user": {"%5Fage": 3.0}}


# --------------------------------------------------------------------------------------------------------------- replay


def facts(event: LoggedEvent, *, with_ids: bool = True) -> Any:
    """Return what a format has to keep of an event."""
    return (
        event.event_id,
        event.reward,
        [
            (
                [event.actions[i].id for i in slot.eligible] if with_ids else slot.eligible,
                event.actions[slot.chosen].id,
                slot.propensity,
                slot.reward,
                [] if slot.probabilities is None else slot.probabilities.tolist(),
                slot.id,
            )
            for slot in event.slots
        ],
    )


def test_dsjson_is_read_back_exactly(store: Path, tmp_path: Path) -> None:
    """`replay` reads from dsjson the decisions, propensities, vectors and rewards of the journal, to the last bit."""
    log = DsjsonLog(exported(store, tmp_path, "dsjson"))
    journal = JournalLog(store)

    read, told = list(log.events()), list(journal.events())

    assert [facts(event) for event in read] == [facts(event) for event in told]
    assert len(read) > 350
    assert np.allclose([event.at for event in read], [event.at for event in told], rtol=0.0, atol=1e-6)
    assert not log.dropped
    assert not log.noted


def test_jsonl_is_read_back_exactly(store: Path, tmp_path: Path) -> None:
    """`replay` reads from JSON lines everything that it reads from the journal."""
    log = JsonlLog(exported(store, tmp_path, "jsonl"))
    journal = JournalLog(store)

    read, told = list(log.events()), list(journal.events())

    assert [facts(event) for event in read] == [facts(event) for event in told]
    for one, other in zip(read, told, strict=True):
        assert (one.context, one.actions, one.segment) == (other.context, other.actions, other.segment)
        assert (one.at, one.reward_at) == (other.at, other.reward_at)
        assert [slot.features for slot in one.slots] == [slot.features for slot in other.slots]
    assert (log.dropped, log.noted) == (journal.dropped, journal.noted)
    assert journal.dropped["window_open"] == 5
    assert journal.dropped["not_activated"] > 5
    assert journal.noted["duplicate_reward"] > 5
    assert isinstance(open_log(str(tmp_path / "all.jsonl")), JsonlLog)


def test_parquet_is_read_back_exactly(store: Path, tmp_path: Path) -> None:
    """`replay` reads from the table, whose columns are called as it calls them, a row for each slot."""
    log = open_log(str(exported(store, tmp_path, "parquet")))
    assert isinstance(log, TableLog)
    told = [(event, number, slot) for event in JournalLog(store).events() for number, slot in enumerate(event.slots)]

    columns = list(log.batches())

    assert sum(len(batch) for batch in columns) == len(told)
    assert np.concatenate([batch.rewards for batch in columns]).tolist() == [slot.reward for _, _, slot in told]
    assert np.concatenate([batch.propensities for batch in columns]).tolist() == [
        slot.propensity for _, _, slot in told
    ]
    ids = [batch.action_ids[i] for batch in columns for i in batch.actions]
    assert ids == [event.actions[slot.chosen].id for event, _, slot in told]
    positions = [batch.positions for batch in columns if batch.positions is not None]
    assert np.concatenate(positions).tolist() == [number for _, number, _ in told]
    rows = list(log.events())
    vectors = [row.slots[0].probabilities for row in rows]
    assert [[] if one is None else one.tolist() for one in vectors] == [
        [] if slot.probabilities is None else slot.probabilities.tolist() for _, _, slot in told
    ]


def test_parquet_has_plain_features_as_columns(store: Path, tmp_path: Path) -> None:
    """Numbers, strings and booleans of the context are columns by their paths; the rest is in its JSON."""
    table = pl.read_parquet(exported(store, tmp_path, "parquet"))

    features = {name: kind for name, kind in table.schema.items() if name.startswith("context.")}

    assert features == {
        "context._hidden": pl.Boolean,
        "context.device": pl.String,
        "context.hour": pl.Float64,
        "context.off": pl.Boolean,
        "context.user.age": pl.Float64,
        "context.user.geo.city": pl.String,
    }
    first = orjson.loads(table["context"][0])
    assert (first["device"], first["tags"]) == (table["context.device"][0], ["a b", "c:d"])


# ---------------------------------------------------------------------------------------------------------- the journal


def test_the_journal_is_read_in_order_with_what_came_of_it(store: Path) -> None:
    """Each decision comes with its outcomes and rewards, and the time of an outcome is never before the decision's."""
    with ReadStore(store) as opened:
        read = list(read_entries(opened, Selection()))

    connection = apsw.Connection(str(store), flags=apsw.SQLITE_OPEN_READONLY)
    ids = [event_id for (event_id,) in connection.execute("SELECT event_id FROM decisions ORDER BY id")]
    n_outcomes, n_rewards = connection.execute(
        "SELECT (SELECT count(*) FROM outcomes), (SELECT count(*) FROM rewards)"
    ).fetchall()[0]
    connection.close()
    assert [entry.decision.event_id for entry in read] == ids
    assert sum(len(entry.outcomes) for entry in read) == n_outcomes
    assert sum(len(entry.rewards) for entry in read) == n_rewards
    for entry in read:
        for number, outcome in entry.outcomes.items():
            waited = entry.reward_at(number) - entry.decision.at
            assert (
                (waited == 0.0) if outcome.rewarded and not entry.decision.deferred else (0.0 <= waited < 51 * WAIT_S)
            )


def test_a_segment_and_a_time_are_a_part_of_it(store: Path, tmp_path: Path) -> None:
    """What is asked for alone is written, and the times are since ≤ at < until."""
    told = [event for event in JournalLog(store).events() if event.segment == "news"]
    since, until_ = told[len(told) // 3].at, told[-1].at
    log = exported(store, tmp_path, "jsonl", "--since", str(since), "--until", str(until_), segment="news")

    read = [event.event_id for event in JsonlLog(log).events()]

    assert read == [event.event_id for event in told if since <= event.at < until_]
    assert 0 < len(read) < len(told)


async def test_a_store_is_read_while_its_server_writes(tmp_path: Path) -> None:
    """What is added during a reading is left for the next one, and nothing waits for the reader."""
    world = World(tmp_path)
    await world.start()
    await world.learn(600)
    log = JournalLog(tmp_path / "store.db")

    reading = log.events()
    first = next(reading)
    await world.learn(20, prefix="later")
    rest = list(reading)

    assert first.event_id == "e0"
    assert len(rest) == 599
    assert len(list(log.events())) == 620
    await world.stop()


async def test_half_a_decision_is_left_out(tmp_path: Path) -> None:
    """A decision some of whose outcomes were trimmed away is counted, and not taken for a whole one."""
    world = World(tmp_path)
    await world.start(
        '[reward]\nslots = "first"\n' + SEGMENTS_TOML.partition("[[segments]]")[0].replace("[reward]", "")
    )
    await world.rank("e0", slots=[{"id": "x"}, {"id": "y"}])
    await world.reward("e0", 1.0)
    world.clock.advance(WAIT_S + 1)
    await world.journal.tick()
    await until(lambda: world.service.backlog == 0)
    world.journal._store._db.execute("DELETE FROM outcomes WHERE slot = 0")
    log = JournalLog(tmp_path / "store.db")

    read = list(log.events())

    assert read == []
    assert log.dropped == {"trimmed": 1}
    await world.stop()


# ---------------------------------------------------------------------------------------------------------- the command


@pytest.mark.parametrize("at", [0.0, 1_700_000_000.0, 1_700_000_000.1234567, 1_899_999_999.999_999_9, 1e9 - 1e-7])
def test_a_timestamp_loses_nothing(at: float) -> None:
    """Seven digits behind the seconds are more than a float of our time has."""
    whole, _, fraction = timestamp(at).removesuffix("Z").partition(".")
    seconds = np.datetime64(whole, "s").astype(int)

    assert float(seconds) + float(f"0.{fraction}") == pytest.approx(at, abs=1e-7)
    assert len(fraction) == 7


@pytest.mark.parametrize("packing", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("format_", ["dsjson", "jsonl"])
def test_lines_are_packed(store: Path, tmp_path: Path, format_: str, packing: str) -> None:
    """A packed file holds the same bytes."""
    plain = exported(store, tmp_path, format_).read_bytes()
    target = tmp_path / "packed"
    arguments = ["export", "--store", str(store), "--format", format_, "--compress", packing, "--output", str(target)]

    assert main(arguments) == 0

    with target.open("rb") as stream:
        match packing:
            case "gzip":
                assert gzip.decompress(stream.read()) == plain
            case "zstd":
                assert zstandard.ZstdDecompressor().stream_reader(stream).read() == plain
            case _:
                assert stream.read() == plain
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_there_is_kept(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file is replaced only with --force, and nothing is left behind of what was refused."""
    target = tmp_path / "log"
    target.write_text("mine")
    arguments = ["export", "--store", str(store), "--format", "jsonl", "--output", str(target)]

    refused = main(arguments)
    kept = target.read_text()
    forced = main([*arguments, "--force"])

    assert (refused, kept, forced) == (2, "mine", 0)
    assert "--force" in capsys.readouterr().err
    assert target.read_bytes().startswith(b'{"event_id"')
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["--store", "nowhere.db"], "there is no store at nowhere.db", id="no store"),
        pytest.param(["--since", "yesterday"], "--since: must be a date", id="no time"),
        pytest.param(["--output", "/nowhere/log"], "--output: /nowhere/log cannot be written", id="no folder"),
        pytest.param(
            ["--format", "parquet", "--output", "-"], "--output: a Parquet file cannot be streamed", id="stream"
        ),
    ],
)
def test_what_cannot_be_done_is_said(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    """A command that cannot be carried out ends with 2 and one sentence, and leaves nothing behind."""
    given = ["export", "--format", "jsonl", "--output", str(tmp_path / "log")]

    code = main([*given, *(["--store", str(store)] if "--store" not in arguments else []), *arguments])

    assert code == 2
    assert f"banditd: {says}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_store_is_no_place_for_its_export(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not even with --force is the store replaced by what is in it."""
    before = store.read_bytes()

    code = main(["export", "--store", str(store), "--format", "jsonl", "--output", str(store), "--force"])

    assert code == 2
    assert "is the store itself" in capsys.readouterr().err
    assert store.read_bytes() == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_standard_output_is_said(store: Path) -> None:
    """Where standard output takes no more, the command ends with 2 and one sentence."""
    command = [sys.executable, "-m", "banditd", "export", "--store", str(store), "--format", "jsonl", "--output", "-"]

    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)

    assert done.returncode == 2
    assert done.stderr == "banditd: --output: standard output cannot be written: No space left on device\n"


@pytest.mark.parametrize(
    "change",
    ["body = CAST('{' AS BLOB)", "body = CAST(replace(CAST(body AS TEXT), '\"id\"', '\"i\"') AS BLOB)", "epoch = 77"],
)
def test_a_decision_that_cannot_be_read_is_named(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    """A damaged decision ends the export with 2 and its number; no half file is left."""
    copy = tmp_path / "copy.db"
    reading = apsw.Connection(str(store), flags=apsw.SQLITE_OPEN_READONLY)
    reading.execute("VACUUM INTO ?", (str(copy),)).fetchall()
    reading.close()
    damaged = apsw.Connection(str(copy))
    damaged.execute(f"UPDATE decisions SET {change} WHERE id = 7").fetchall()  # noqa: S608 - changes of this test
    damaged.close()

    code = main(["export", "--store", str(copy), "--format", "dsjson", "--output", str(tmp_path / "log")])

    assert code == 2
    assert "decision 7" in capsys.readouterr().err
    assert not list(tmp_path.glob("*log*"))


def test_what_is_no_store_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of another kind, or of another format, is not read."""
    (tmp_path / "text").write_text("not a database, however long it may be" * 100)
    for name, statement in (("other", "CREATE TABLE t (x)"), ("old", "CREATE TABLE meta (key, value)")):
        apsw.Connection(str(tmp_path / name)).execute(statement)

    codes = [
        main(["export", "--store", str(tmp_path / name), "--format", "jsonl"]) for name in ("text", "other", "old")
    ]

    assert codes == [2, 2, 2]
    said = capsys.readouterr().err.splitlines()
    assert [line.rpartition("/")[2] for line in said] == [
        "text is not a banditd store",
        "other is not a banditd store",
        "old has format none; this banditd reads format 2",
    ]


def test_the_line_says_everything(store: Path, tmp_path: Path) -> None:
    """A JSON line has the state that decided, who asked by the pseudonym alone, and all rewards as they came."""
    lines = [orjson.loads(line) for line in exported(store, tmp_path, "jsonl").read_bytes().splitlines()]
    connection = apsw.Connection(str(store), flags=apsw.SQLITE_OPEN_READONLY)
    bodies = [decode_decision(body) for (body,) in connection.execute("SELECT body FROM decisions ORDER BY id")]
    connection.close()

    assert len(lines) == len(bodies) == 405
    for line, decision in zip(lines, bodies, strict=True):
        assert (line["lane"], line["epoch"], line["seq"]) == (decision.lane, decision.epoch, decision.seq)
        assert (line["subject"], line["deferred"]) == (decision.subject, decision.deferred)
        assert ("members" in line) == (decision.members is not msgspec.UNSET)
        assert (line["reward"] is None) == (line["state"] != "complete")
        assert [slot["chosen"] for slot in line["slots"]] == [slot.chosen for slot in decision.slots]
    duplicates = [reward for line in lines for reward in line["rewards"] if reward["status"] == "duplicate"]
    assert len(duplicates) == sum(line["duplicate_rewards"] for line in lines) > 5


# -------------------------------------------------------------------------------------------------------- the documents

DOCUMENT = Path(__file__).parents[3] / "docs" / "export.md"


def test_the_documents_mapping_is_read(store: Path, tmp_path: Path) -> None:
    """The mapping that docs/export.md shows reads the same rows as no mapping at all."""
    path = str(exported(store, tmp_path, "parquet"))
    (mapping,) = re.findall(r"^ {4}(reward=\S+)$", DOCUMENT.read_text(), re.MULTILINE)

    told = [batch for log in [open_log(path, mapping=mapping)] if isinstance(log, TableLog) for batch in log.batches()]
    plain = [batch for log in [open_log(path)] if isinstance(log, TableLog) for batch in log.batches()]

    assert [batch.rewards.tolist() for batch in told] == [batch.rewards.tolist() for batch in plain]
    assert [sorted(batch.context) for batch in told] == [sorted(batch.context) for batch in plain] != [[]]


def test_the_document_names_every_key_and_column(store: Path, tmp_path: Path) -> None:
    """Whatever an export holds is in docs/export.md."""
    named = set(re.findall(r"`([a-z_]+)`", DOCUMENT.read_text()))
    lines = [orjson.loads(line) for line in exported(store, tmp_path, "jsonl").read_bytes().splitlines()]
    columns = [name for name in pl.read_parquet_schema(exported(store, tmp_path, "parquet")) if "." not in name]

    keys = {key for line in lines for key in [*line, *line["slots"][0], *(line["rewards"] or [{}])[0]]}

    assert keys - named == set()
    assert set(columns) - named == set()
