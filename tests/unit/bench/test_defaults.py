"""The comparison of defaults, as its command runs it."""

from pathlib import Path

import orjson
import pytest

from bench import defaults
from bench.defaults_data import PROBLEMS
from bench.defaults_policies import ENTRANTS, OPPONENT

TABLES = ("played", "summary", "problems 1 to 2")


def test_small_run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prints tables and, last, JSON with every player's mean and settings; the page keeps all but its tables."""
    page = tmp_path / "defaults.md"
    page.write_text("Before.\n" + "".join(f"<!-- {name} -->\nold\n<!-- end -->\nAfter {name}.\n" for name in TABLES))
    monkeypatch.setattr(defaults, "_PAGE", page)
    choice = ["--player", "`vw`", "--problem", "iris", "--problem", "wine", "--without-log", "--write"]

    assert defaults.main(["--quick", "--seeds", "2", "--processes", "1", *choice]) == 0

    printed = capsys.readouterr().out.splitlines()
    figures = orjson.loads(printed[-1])
    assert figures["bench"] == "defaults"
    assert figures["problems"] == ["iris", "wine"]
    assert set(figures["players"]) == {OPPONENT, "`vw`"}
    assert figures["players"]["`vw`"]["settings"] == {"kind": "vw"}
    assert figures["players"][OPPONENT]["lead"] == 0.0
    assert all(-1 <= player["mean"] <= 1 for player in figures["players"].values())
    text = page.read_text()
    assert "old" not in text
    assert text.startswith("Before.\n<!-- played -->\n\n| problem |")
    assert "After played.\n<!-- summary -->\n\n| policy | mean |" in text
    assert text.endswith("<!-- end -->\nAfter problems 1 to 2.\n")


def test_page_without_a_place(tmp_path: Path) -> None:
    """A table without a place in the page is an error that names it, and the page stays as it was."""
    page = tmp_path / "page.md"
    page.write_text("<!-- summary -->\nno end")

    with pytest.raises(ValueError, match="no place for the table 'summary'"):
        defaults._write(page, {"summary": ["|"]})
    assert page.read_text() == "<!-- summary -->\nno end"


def test_page_in_the_tree() -> None:
    """docs/defaults.md has a row for every policy of the comparison, and every problem as a column and a row."""
    text = defaults._PAGE.read_text(encoding="utf-8")
    summary = text.partition("<!-- summary -->")[2].partition("<!-- end -->")[0]
    played = text.partition("<!-- played -->")[2].partition("<!-- end -->")[0]

    rows = [line.split(" | ")[0].removeprefix("| ") for line in summary.splitlines() if line.startswith("| ")][1:]
    assert sorted(rows) == sorted(entrant.name for entrant in ENTRANTS)
    for name in PROBLEMS:
        assert f"| {name} |" in played
        assert f" {name} |" in text.partition("## All problems")[2]
