"""Opening logs: packed or not, one file or many, standard input, and the format seen from what is inside."""

import gzip
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
import zstandard

from replay.errors import InvalidLog
from replay.logs import DsjsonLog, JsonlLog, OpenBanditLog, TableLog, open_log, parse_mapping, read_lines
from replay.logs.sources import Source, find_sources

OBD = Path(__file__).parents[4] / "shared" / "data" / "obd"
DSJSON = (
    b'{"_label_cost":-1.0,"_label_probability":0.5,"_label_Action":1,"_labelIndex":0,"EventId":"e",'
    b'"a":[1,2],"c":{"_multi":[{"f":1},{"f":2}]},"p":[0.5,0.5]}\n'
)
JSONL = (
    b'{"event_id":"e","lane":"l","context":{},"actions":[{"id":"a"}],'
    b'"slots":[{"chosen":0,"propensity":1,"reward":1}],"reward":1}\n'
)
CSV = b"reward,propensity,action\n1,0.5,a\n"
ITEMS = b",item_id,item_feature_0,item_feature_1\n0,0,-0.5,x\n1,1,2,y\n"
CAMPAIGN = (
    b",timestamp,item_id,position,click,propensity_score,user_feature_0,user-item_affinity_0,user-item_affinity_1\n"
    b"0,2019-11-24 00:00:01.500000+00:00,1,3,1,0.25,u,0.0,2.0\n"
    b"1,2019-11-24 00:00:02+00:00,0,1,0,0.75,v,0.0,0.0\n"
)


def zstd_frames(data: bytes) -> bytes:
    """Return two frames, one behind the other."""
    half = len(data) // 2
    return zstandard.compress(data[:half]) + zstandard.compress(data[half:])


def gzip_members(data: bytes) -> bytes:
    """Return two members, one behind the other."""
    half = len(data) // 2
    return gzip.compress(data[:half]) + gzip.compress(data[half:])


@pytest.mark.parametrize("pack", [bytes, gzip_members, zstd_frames], ids=["plain", "gzip", "zstd"])
@pytest.mark.parametrize(
    ("data", "kind"),
    [(DSJSON, DsjsonLog), (JSONL, JsonlLog), (CAMPAIGN, OpenBanditLog), (CSV, TableLog)],
    ids=["dsjson", "jsonl", "obd", "csv"],
)
def test_a_log_is_known_by_what_is_inside(data: bytes, kind: type, pack: Any, tmp_path: Path) -> None:
    """Whatever it is called, and whatever it is packed with."""
    (tmp_path / "log").write_bytes(pack(data))

    log = open_log(tmp_path / "log")

    assert isinstance(log, kind)
    assert len(list(log.events())) == (2 if kind is OpenBanditLog else 1)
    assert not log.dropped


def test_parquet_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    """And an export of banditd's needs no mapping: its columns are called as we call them."""
    table = {"reward": [1.0], "propensity": [0.5], "action": ["a"], "at": [7.0], "lane": ["l"], "position": [0]}
    table |= {"action_set": [["a", "b"]], "probabilities": [[0.5, 0.5]], "context.age": [3.0], "target.new": [1.0]}
    pl.DataFrame(table).write_parquet(tmp_path / "x")

    log = open_log(tmp_path / "x")

    assert isinstance(log, TableLog)
    (event,) = log.events()
    assert (event.context, event.at, len(event.actions)) == ({"age": 3.0}, 7.0, 2)
    assert next(log.batches()).targets["new"].tolist() == [1.0]


def test_lines_before_the_first_object_do_not_hide_a_format(tmp_path: Path) -> None:
    """Some joiners write a line of their own at the head."""
    (tmp_path / "log").write_bytes(b"[CHECKPOINT]\n" + DSJSON)

    log = open_log(tmp_path / "log")

    assert len(list(log.events())) == 1
    assert log.dropped == {"not_an_object": 1}


def test_a_line_longer_than_the_first_look_is_still_known(tmp_path: Path) -> None:
    """Of both kinds of JSON lines."""
    long = b'"context":{"x":"' + b"y" * 100_000 + b'"},'
    (tmp_path / "ours").write_bytes(JSONL.replace(b'"context":{},', long))
    (tmp_path / "vws").write_bytes(DSJSON.replace(b'"c":{', b'"c":{"x":"' + b"y" * 100_000 + b'",'))

    assert isinstance(open_log(tmp_path / "ours"), JsonlLog)
    assert isinstance(open_log(tmp_path / "vws"), DsjsonLog)


def test_many_files_are_one_log(tmp_path: Path) -> None:
    """A folder in the order of names, at any depth, without hidden files; patterns too; a list in its own order."""
    (tmp_path / "b").mkdir()
    for name in ("2026-01-02.json", "2026-01-01.json.gz", "b/2026-01-03.json", ".hidden", "empty"):
        line = DSJSON.replace(b'"e"', f'"{name}"'.encode())
        (tmp_path / name).write_bytes(b"" if name == "empty" else gzip.compress(line) if name.endswith("gz") else line)

    def ids(paths: Any) -> list[str]:
        return [event.event_id for event in open_log(paths).events()]

    assert ids(tmp_path) == ["2026-01-01.json.gz", "2026-01-02.json", "b/2026-01-03.json"]
    assert ids(str(tmp_path / "2026-*")) == ["2026-01-01.json.gz", "2026-01-02.json"]
    assert ids(str(tmp_path / "**" / "*-03.json")) == ["b/2026-01-03.json"]
    assert ids([tmp_path / "2026-01-02.json", tmp_path / "2026-01-01.json.gz"])[0] == "2026-01-02.json"


def refused(paths: Any, **options: Any) -> InvalidLog:
    """Return the error that opening and reading a log ends with."""
    with pytest.raises(InvalidLog) as caught:
        list(open_log(paths, **options).events())
    return caught.value


def test_a_log_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    """Each with a code of its own and the path."""
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "blank").write_bytes(b"\n")
    (tmp_path / "a.json").write_bytes(DSJSON)
    (tmp_path / "b.csv").write_bytes(CSV)
    (tmp_path / "other.csv").write_bytes(b"x,y\n1,2\n")
    (tmp_path / "twice.csv").write_bytes(b"reward,reward\n1,2\n")
    (tmp_path / "binary.log").write_bytes(b"VWFB\x01\0\0\0\r\0")
    (tmp_path / "folder").mkdir()

    assert refused(tmp_path / "nope").code == "log_unreadable"
    assert refused(tmp_path / "folder").code == "log_missing"
    assert refused(str(tmp_path / "*.nope")).code == "log_missing"
    assert refused([]).code == "log_missing"
    assert refused(tmp_path / "empty").code == "log_empty"
    assert refused(tmp_path / "blank").code == "log_empty"
    assert refused(tmp_path / "twice.csv").code == "column_twice"
    assert refused([tmp_path / "a.json", tmp_path / "b.csv"]).code == "formats_differ"
    assert refused(tmp_path / "a.json", mapping="reward=x").code == "mapping_unused"
    assert refused(tmp_path / "a.json", format="xml").code == "format_unknown"
    error = refused(tmp_path / "binary.log")
    assert (error.code, "is binary" in error.detail) == ("log_unreadable", True)
    error = refused(tmp_path / "other.csv")
    assert (error.code, "x, y" in error.detail) == ("mapping_missing", True)


def test_a_named_format_is_not_guessed(tmp_path: Path) -> None:
    """A file of VW's lines read as banditd's has nothing in it."""
    (tmp_path / "log").write_bytes(DSJSON)

    log = open_log(tmp_path / "log", format="jsonl")

    assert list(log.events()) == []
    assert log.dropped == {"no_action": 1}


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_damaged_file_is_an_error_and_no_shorter_log(pack: Any, damage: str, tmp_path: Path) -> None:
    """Else a log whose second half is gone would be evaluated as if it were whole."""
    data = bytearray(pack(b"".join(DSJSON.replace(b"e", str(i * i).encode()) for i in range(20_000))))
    if damage == "cut":
        del data[-40:]
    else:
        data[len(data) // 2 : len(data) // 2 + 40] = b"\0" * 40
    (tmp_path / "log").write_bytes(data)

    assert refused(tmp_path / "log").code == "log_broken"


def test_a_log_can_be_read_as_often_as_one_likes(tmp_path: Path) -> None:
    """Each reading starts at the beginning, and counts anew."""
    (tmp_path / "log").write_bytes(DSJSON + b"x\n" + DSJSON)
    log = open_log(tmp_path / "log")

    first, second = list(log.events()), list(log.events())

    assert len(first) == len(second) == 2
    assert log.dropped == {"not_an_object": 1}


def test_standard_input_is_read_once(tmp_path: Path) -> None:
    """Its format is seen, packed or not; a second reading says that it needs a file."""
    program = (
        "from replay.logs import open_log\n"
        "from replay.errors import InvalidLog\n"
        "log = open_log('-')\n"
        "print(type(log).__name__, len(list(log.events())))\n"
        "try:\n"
        "    list(log.events())\n"
        "except InvalidLog as error:\n"
        "    print(error.code)\n"
    )

    def run(data: bytes) -> list[bytes]:
        done = subprocess.run([sys.executable, "-c", program], input=data, capture_output=True, check=False, timeout=60)
        assert done.returncode == 0 or b"InvalidLog" in done.stderr, done.stderr.decode()
        return done.stdout.split() or done.stderr.split()

    assert b"once;" in run(CSV)  # a table that does not say its action set is read for it first
    assert run(DSJSON * 3) == [b"DsjsonLog", b"3", b"log_read_twice"]
    assert run(zstandard.compress(JSONL * 2)) == [b"JsonlLog", b"2", b"log_read_twice"]
    pl.DataFrame({"reward": [1.0]}).write_parquet(tmp_path / "x")
    assert b"beginning" not in b" ".join(run((tmp_path / "x").read_bytes()))
    assert b"file" in b" ".join(run((tmp_path / "x").read_bytes()))


def test_lines_come_without_their_ends_and_blank_ones_not_at_all(tmp_path: Path) -> None:
    """A byte order mark is no part of the first line; a last line need not end."""
    (tmp_path / "log").write_bytes(b"\xef\xbb\xbfone\r\n\n  \ntwo")

    assert list(read_lines(tmp_path / "log")) == [b"one", b"two"]
    assert list(read_lines([Source(str(tmp_path / "log"))])) == [b"one", b"two"]
    assert list(read_lines(find_sources(tmp_path))) == [b"one", b"two"]


def test_a_line_without_end_is_counted_and_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is one endless line must not fill the memory."""
    monkeypatch.setattr("replay.logs.sources.LINE_LIMIT_BYTES", 10)
    (tmp_path / "log").write_bytes(b"a" * 35 + b"\nshort\n" + b"b" * 50)
    dropped: Counter[str] = Counter()

    assert list(read_lines(tmp_path / "log", dropped=dropped)) == [b"short"]
    assert dropped == {"line_too_long": 2}


def test_a_log_ten_times_as_long_takes_no_more_memory(tmp_path: Path) -> None:
    """Events are read one at a time."""

    def peak(n_lines: int) -> int:
        (tmp_path / "log").write_bytes(gzip.compress(DSJSON * n_lines))
        log = DsjsonLog(tmp_path / "log")
        tracemalloc.start()
        assert sum(1 for _ in log.events()) == n_lines
        _, high = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return high

    few = peak(2_000)

    assert peak(20_000) < 1.5 * few + 500_000


def test_a_campaign_of_the_open_bandit_dataset(tmp_path: Path) -> None:
    """Columns for fixed policies; events with the features of all items and the user's affinity to them."""
    (tmp_path / "women.csv").write_bytes(CAMPAIGN)
    (tmp_path / "item_context.csv").write_bytes(ITEMS)
    log = open_log(tmp_path)
    assert isinstance(log, OpenBanditLog)

    (columns,) = log.batches()
    first, second = log.events()

    assert columns.rewards.tolist() == [1.0, 0.0]
    assert columns.propensities.tolist() == [0.25, 0.75]
    assert columns.actions.tolist() == [1, 0]
    assert columns.action_ids == ("0", "1")
    assert columns.positions is not None
    assert columns.positions.tolist() == [2, 0]
    assert columns.at is not None
    assert columns.at.tolist() == [1574553601.5, 1574553602.0]
    assert columns.context["user_feature_0"].tolist() == ["u", "v"]
    assert [one.features for one in first.actions] == [
        {"item_feature_0": -0.5, "item_feature_1": "x"},
        {"item_feature_0": 2.0, "item_feature_1": "y", "affinity": 2.0},
    ]
    assert (first.slots[0].chosen, first.slots[0].id, first.context) == (1, "3", {"user_feature_0": "u"})
    assert "affinity" not in second.actions[1].features


def test_a_campaign_without_what_is_beside_it_can_be_read(tmp_path: Path) -> None:
    """Without the items' file they have no features; without affinities they are counted, as in the full data set."""
    lines: Sequence[bytes] = [line.rsplit(b",", 2)[0] for line in CAMPAIGN.splitlines()]
    (tmp_path / "all.csv").write_bytes(b"\n".join(lines))

    events = list(OpenBanditLog(tmp_path / "all.csv").events())
    assert [[one.id for one in event.actions] for event in events] == [["1", "0"]] * 2

    (tmp_path / "item_context.csv").write_bytes(ITEMS)
    events = list(OpenBanditLog(tmp_path).events())
    assert [[one.id for one in event.actions] for event in events] == [["0", "1"]] * 2
    with pytest.raises(InvalidLog, match="only item_context"):
        list(OpenBanditLog(tmp_path / "item_context.csv").batches())


@pytest.mark.skipif(not OBD.exists(), reason="the Open Bandit Dataset is not here")
@pytest.mark.parametrize("policy", ["random", "bts"])
@pytest.mark.parametrize(("campaign", "n_items"), [("all", 80), ("women", 46)])
def test_a_real_campaign_has_its_known_counts(policy: str, campaign: str, n_items: int) -> None:
    """10,000 rows, none of them left out, with the clicks that its README counts."""
    log = open_log(OBD / policy / campaign)

    (columns,) = log.batches()  # type: ignore[union-attr]  # it is a table

    clicks = {("random", "all"): 38, ("bts", "all"): 42, ("random", "women"): 46, ("bts", "women"): 46}
    assert len(columns) == 10_000
    assert columns.rewards.sum() == clicks[policy, campaign]
    assert columns.n_actions == n_items
    assert columns.positions is not None
    assert set(columns.positions.tolist()) == {0, 1, 2}
    assert not log.dropped


def test_a_mapping_is_text_or_a_file_or_an_object(tmp_path: Path) -> None:
    """All of them mean the same."""
    text = parse_mapping("reward=click, context=age+city,target.new=p_new,first_position=1,position=place")
    (tmp_path / "m.toml").write_text(
        'reward = "click"\ncontext = ["age", "city"]\nfirst_position = 1\nposition = "place"\n[target]\nnew = "p_new"\n'
    )
    words: dict[str, Any] = {"reward": "click", "context": ["age", "city"], "targets": {"new": "p_new"}}
    words |= {"first_position": 1, "position": "place"}
    (tmp_path / "m.json").write_bytes(orjson.dumps(words))

    assert parse_mapping(tmp_path / "m.toml") == text
    assert parse_mapping(str(tmp_path / "m.json")) == text
    assert parse_mapping(words) == text
    assert parse_mapping(text) is text
    assert text.reward == "click"
    assert text.targets == {"new": "p_new"}


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ("rewards=click", "rewards"),
        ("reward=", "reward="),
        ("reward=a,click", "click"),
        ("reward=a,reward=b", "reward"),
        ("first_position=two", "first_position"),
        ("first_position=2", "first_position"),
        ("actions=a+b,action_set=s", "actions"),
        ("actions=a+a", "actions"),
        ("probabilities=p", "probabilities"),
        ({"reward": True}, "reward"),
        ({"reward": ["a"]}, "reward"),
        ({"target": "p"}, "target"),
        ({"target": {"a": None}}, "target.a"),
    ],
)
def test_a_mapping_that_makes_no_sense_names_the_word(given: Any, field: str) -> None:
    """Before any log is read."""
    with pytest.raises(InvalidLog) as caught:
        parse_mapping(given)

    assert (caught.value.code, caught.value.field) == ("mapping_invalid", field)


@pytest.mark.parametrize("content", [None, b"{", b"[1]", b"\xff"])
def test_a_mapping_file_that_cannot_be_read_is_named(content: bytes | None, tmp_path: Path) -> None:
    """Missing, broken, or no object."""
    path = tmp_path / "m.json"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(InvalidLog, match=r"m\.json"):
        parse_mapping(path)


def test_a_mapping_opens_a_table(tmp_path: Path) -> None:
    """Of the Open Bandit Dataset too, for those who want it in another way."""
    (tmp_path / "log.csv").write_bytes(CAMPAIGN)

    log = open_log(tmp_path / "log.csv", mapping="reward=click,propensity=propensity_score,action=item_id")

    assert isinstance(log, TableLog)
    assert [event.reward for event in log.events()] == [1.0, 0.0]


def test_a_log_packed_with_zstd_names_the_package_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gzip is in Python itself, zstd is not."""
    (tmp_path / "log").write_bytes(zstandard.compress(DSJSON))
    monkeypatch.setitem(sys.modules, "zstandard", None)

    assert refused(tmp_path / "log").code == "package_missing"
