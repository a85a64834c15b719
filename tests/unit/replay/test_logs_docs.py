"""docs/logs.md: it names every reason, and what it shows runs."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "logs.md").read_text()
SOURCES = "\n".join(path.read_text() for path in sorted((ROOT / "replay" / "logs").glob("*.py")))
LINE = (
    b'{"_label_cost":-1.0,"_label_probability":0.5,"_label_Action":1,"_labelIndex":0,"EventId":"e%d",'
    b'"a":[1,2],"c":{"_multi":[{"f":1},{"f":2}]},"p":[0.5,0.5]}\n'
)


def table(title: str) -> set[str]:
    """Return the first cells of the table whose first column has this title."""
    rows = PAGE.split(f"| {title} |")[1].split("\n\n")[0].splitlines()[2:]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}


def reasons_in_code() -> set[str]:
    """Return every reason that the readers count under."""
    found = set(re.findall(r'Refused\("(\w+)"', SOURCES))
    found |= set(re.findall(r'dropped\["(\w+)"\]', SOURCES))
    found |= set(re.findall(r'sieve\.drop\(.*, "(\w+)"\)', SOURCES))
    found |= set(re.findall(r'return "(not_an_object|parse_error)"', SOURCES))
    found |= set(re.findall(r'"(\w+)"', SOURCES.split("_STATES = frozenset({")[1].split("}")[0]))
    for kind, ends in (("number", ("missing", "not_finite")), ("probability", ("missing", "out_of_range"))):
        names = re.findall(rf'sieve\.{kind}\(.*?, "(\w+)"', SOURCES)
        found |= {f"{name}_{end}" for name in names for end in ends}
    return found | {"skip_learn", "dangling_reward"}


def test_the_page_names_every_reason_and_no_other() -> None:
    """A reason is public: whoever meets it finds what it means."""
    assert table("reason") == reasons_in_code()


def test_the_page_names_every_note_and_no_other() -> None:
    """What is noted is public too."""
    in_code = set(re.findall(r'noted\["(\w+)"\]', SOURCES)) | {"late_reward", "duplicate_reward", "default_reward"}

    assert table("note") == in_code


@pytest.mark.parametrize("snippet", re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
def test_what_the_page_shows_runs(
    snippet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a small log of each kind."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.json").write_bytes(LINE % 1 + LINE % 2)
    (tmp_path / "clicks.csv").write_text("click,pscore,item,age,city_name,p_new\n1,0.5,a,3,x,1\n0,0.5,b,4,y,0\n")
    monkeypatch.chdir(tmp_path)

    exec(compile(snippet, "docs/logs.md", "exec"), {})  # noqa: S102 - running it is the test

    assert re.search(r"e1|0\.5 1\.0", capsys.readouterr().out)
