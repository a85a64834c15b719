"""What the README shows works as it is pasted."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api_client import running_server
from tests.e2e.tree import ROOT

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_README = (ROOT / "README.md").read_text()
_BLOCKS = [(match[1], match[2].strip()) for match in _BLOCK.finditer(_README)]
_CURLS = [text for language, text in _BLOCKS if language == "sh" and text.startswith("curl ")]


def _shape(value: object) -> object:
    """Return a JSON value with every leaf replaced by its type, lists by the shape of their first item."""
    if isinstance(value, dict):
        return {key: _shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_shape(value[0])]
    return type(value).__name__


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Return the README's port with a server behind it, or another one if 8080 is taken."""
    with socket.socket() as probe:
        taken = probe.connect_ex(("127.0.0.1", 8080)) == 0
    with running_server(tmp_path_factory.mktemp("readme"), "", "--port", "0" if taken else "8080") as server:
        yield server.client.port


def test_the_first_two_commands_are_those_that_set_everything_up() -> None:
    """A newcomer reads `make serve` first and `make test` next, and both are targets."""
    makefile = (ROOT / "Makefile").read_text()

    assert _BLOCKS[:2] == [("sh", "make serve"), ("sh", "make test")]
    assert all(
        re.search(rf"^{name}:", makefile, re.MULTILINE) for name in re.findall(r"\bmake (\w+)$", _README, re.MULTILINE)
    )


def test_every_curl_answers_what_the_readme_shows(port: int) -> None:
    """Pasted in order, each call answers 200 with the fields shown beneath it."""
    shown = [json.loads(text) for language, text in _BLOCKS if language == "json"]
    answers = []
    for text in _CURLS:
        command = [*shlex.split(text.replace("127.0.0.1:8080", f"127.0.0.1:{port}")), "--fail-with-body"]
        done = subprocess.run(command, capture_output=True, check=False, timeout=30)
        assert done.returncode == 0, done.stdout
        answers.append(json.loads(done.stdout))

    assert len(answers) == 3
    assert [_shape(answer) for answer in answers[:2]] == [_shape(example) for example in shown]
    assert answers[1] == shown[1]
    assert answers[2]["name"] == "default"


def test_the_toml_of_the_readme_is_a_configuration(tmp_path: Path) -> None:
    """What it shows can be saved and checked."""
    (tmp_path / "banditd.toml").write_text(next(text for language, text in _BLOCKS if language == "toml"))

    done = subprocess.run(
        [sys.executable, "-m", "banditd", "config", "check", "banditd.toml"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
        timeout=30,
    )

    assert done.returncode == 0


def test_every_banditd_command_of_the_readme_is_one() -> None:
    """Commands, options and files that it names exist."""
    for line in re.findall(r"\.venv/bin/banditd [^`\n]*", _README):
        words = shlex.split(line)[1:]
        options = [word for word in words if word.startswith("--")]
        assert all((ROOT / word).exists() for word in words if word.startswith("examples/")), line
        command = [sys.executable, "-m", "banditd", *words[: 2 if words[0] == "config" else 1], "--help"]
        shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=30).stdout
        assert all(option in shown for option in options), line


def test_replay_of_the_readme_prints_the_table_that_it_shows(tmp_path: Path) -> None:
    """Pasted, the command evaluates the log that is shipped, and every line shown is printed, figures within 2 %."""
    shell = next(text for language, text in _BLOCKS if language == "sh" and text.startswith("make replay "))
    shown = next(text for language, text in _BLOCKS if language == "text" and "estimator" in text)
    make, target, arguments = shlex.split(shell)
    (tmp_path / "examples").symlink_to(ROOT / "examples")

    # What make hands to the shell; make itself would look whether everything is installed.
    done = subprocess.run(
        ["sh", "-c", f"exec {shlex.quote(sys.executable)} -m banditd {target} {arguments.removeprefix('ARGS=')}"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert (make, done.returncode) == ("make", 0), done.stderr
    printed = [_cells(line) for line in done.stdout.splitlines()]
    for line in shown.splitlines():
        assert any(_are_alike(_cells(line), other) for other in printed), line
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")


def _cells(line: str) -> list[str]:
    return re.split(r"\s{2,}| to |[()]", line.strip())


def _are_alike(shown: list[str], printed: list[str]) -> bool:
    """Tell whether two lines have the same words, and numbers that a CPU's rounding may have made different."""
    return len(shown) == len(printed) and all(
        ours == theirs or _number(ours) == pytest.approx(_number(theirs), rel=0.02)
        for ours, theirs in zip(shown, printed, strict=True)
    )


def _number(text: str) -> float:
    try:
        return float(text.replace(",", "").replace("−", "-"))
    except ValueError:
        return float("nan")  # which is like nothing, not even itself


def test_every_link_of_the_readme_leads_somewhere() -> None:
    """A link within the project is a file or a folder of it."""
    links = re.findall(r"\]\(([^)#]+)\)", _README)

    assert links
    assert all((ROOT / link).exists() for link in links if "://" not in link), links
