"""The Dockerfile builds, and what it builds runs as its comments say; no Docker engine is needed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.image import is_ignored, parse
from tests.e2e.tree import clean_environment, copy_tree

pytestmark = pytest.mark.timeout(900)

_KEY = "a-key-that-only-this-test-knows-about"
_AS_ROOT = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
_AS_USER = ("unshare", "--user", "--map-root-user", "--map-auto", *_AS_ROOT[1:])

# What python:3.11-slim has: the C and C++ runtimes that Debian's own essential packages need, and zlib.
_BASE_LIBRARIES = {
    "ld-linux-x86-64.so.2",
    "ld-linux-aarch64.so.1",
    "libc.so.6",
    "libdl.so.2",
    "libgcc_s.so.1",
    "libm.so.6",
    "libpthread.so.0",
    "librt.so.1",
    "libstdc++.so.6",
    "libutil.so.1",
    "libz.so.1",
    "linux-vdso.so.1",
}


def _environment() -> dict[str, str]:
    """Return a clean environment that also finds an administrator's commands, such as chroot."""
    clean = clean_environment()
    return clean | {"PATH": f"{clean.get('PATH', os.defpath)}:/usr/sbin:/sbin"}


def _namespace() -> tuple[str, ...]:
    """Return the command that gives its child a file system of its own, or skip where nothing may."""
    tried = _AS_ROOT if os.geteuid() == 0 else _AS_USER
    path = _environment()["PATH"]
    if shutil.which("unshare", path=path) is None or shutil.which("ip", path=path) is None:
        pytest.skip("unshare (util-linux) or ip (iproute2) is missing")
    probe = subprocess.run(
        [*tried, "mount", "-t", "tmpfs", "probe", "/mnt"], check=False, capture_output=True, env=_environment()
    )
    if probe.returncode:
        pytest.skip("needs root that may mount, or user namespaces with subordinate ids (/etc/subuid, newuidmap)")
    return tried


def _carry_out(context: Path, scratch: Path) -> subprocess.CompletedProcess[str]:
    scratch.mkdir()
    program = Path(__file__).with_name("image.py")
    arguments = [context / "Dockerfile", context, scratch, _KEY]
    return subprocess.run(
        [*_namespace(), sys.executable, str(program), *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        cwd=context,
        env=_environment(),
    )


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clean copy of the checkout."""
    return copy_tree(tmp_path_factory.mktemp("context"))


@pytest.fixture(scope="module")
def report(context: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what carrying out the Dockerfile and running its image showed."""
    done = _carry_out(context, tmp_path_factory.mktemp("image") / "scratch")
    if done.returncode:
        pytest.fail(f"the image could not be built:\n{done.stderr[-6000:]}", pytrace=False)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_image_holds_every_file_of_the_packages(report: dict[str, Any], context: Path) -> None:
    """Every file of banditd, policies and replay, data included, is installed in the image."""
    expected = {
        str(path.relative_to(context))
        for package in ("banditd", "policies", "replay")
        for path in (context / package).rglob("*")
        if path.is_file()
    }

    missing = expected - set(report["installed"])

    assert expected
    assert not missing


def test_the_image_needs_no_library_that_its_base_lacks(report: dict[str, Any]) -> None:
    """The installed wheels take nothing from the base image but the C and C++ runtimes and zlib."""
    assert "libc.so.6" in report["libraries"]
    assert set(report["libraries"]) <= _BASE_LIBRARIES


def test_the_image_does_not_run_as_root(report: dict[str, Any]) -> None:
    """The server's process belongs to the numeric, unprivileged user that the Dockerfile names."""
    assert report["user"] == "10001:10001"
    assert report["run"]["owner"] == [10001, 10001], report["run"]["output"]


def test_the_server_runs_on_a_read_only_root(report: dict[str, Any]) -> None:
    """With nothing writable but its volume, /tmp and /dev/shm, the server starts and its health check passes."""
    assert report["written_outside_volumes"] == []
    assert report["run"]["health"] == 0, report["run"]


def test_the_health_check_can_fail(report: dict[str, Any]) -> None:
    """Before the server runs, the image's health check reports that it does not."""
    assert report["health_before"] == 1


def test_the_store_lies_on_the_volume(report: dict[str, Any]) -> None:
    """What the server keeps is in the volume, so that it outlives the container."""
    assert report["volumes"] == ["/var/lib/banditd"]
    assert "banditd.db" in report["store"]


def test_the_server_refuses_to_listen_without_keys(report: dict[str, Any]) -> None:
    """Without an API key the container stops at once, with exit code 2, and names the setting."""
    refused = report["without_keys"]

    assert refused["exit_code"] == 2, refused
    assert "server.keys" in refused["output"]


def test_the_stop_signal_ends_the_server_cleanly(report: dict[str, Any]) -> None:
    """The image's stop signal makes the server end by itself with exit code 0."""
    assert report["run"]["exit_code"] == 0, report["run"]["output"]


def test_a_missing_file_fails_the_build(tmp_path: Path) -> None:
    """A COPY of a file that is gone fails and names its line: this is how rot would show."""
    (tmp_path / ".dockerignore").write_text("*\n!here\n")
    (tmp_path / "here").write_text("here")
    (tmp_path / "Dockerfile").write_text("FROM python:3.11-slim\nCOPY here there\nCOPY gone there\n")

    done = _carry_out(tmp_path, tmp_path / "scratch")

    assert done.returncode == 1
    assert "Dockerfile:3: COPY gone there\ngone is not in the build context" in done.stderr


def test_a_failing_step_fails_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A RUN that fails fails the build, and its output is shown; the machine's environment is not there to help."""
    monkeypatch.setenv("OF_THE_MACHINE", "set")
    (tmp_path / ".dockerignore").write_text("")
    (tmp_path / "Dockerfile").write_text(
        'FROM python:3.11-slim\nRUN test -z "$OF_THE_MACHINE" \\\n && echo so far && false\n'
    )

    done = _carry_out(tmp_path, tmp_path / "scratch")

    assert done.returncode == 1
    assert "Dockerfile:2:" in done.stderr
    assert "exit code 1\nso far\n" in done.stderr


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        pytest.param("secret.env", True, id="not-named"),
        pytest.param("banditd/cli.py", False, id="below-a-named-folder"),
        pytest.param("banditd/__pycache__/cli.pyc", True, id="cache-below-it"),
        pytest.param("docs/banditd/page.md", True, id="same-name-elsewhere"),
    ],
)
def test_ignore_patterns_decide_in_order(path: str, *, ignored: bool) -> None:
    """The last pattern of a .dockerignore that fits a file or a folder above it decides."""
    assert is_ignored(path, ["# comment", "*", "!banditd", "**/__pycache__"]) is ignored


def test_continued_lines_are_one_step() -> None:
    """A step that a backslash continues is one step, named by its first line, comments between left out."""
    steps = parse("# top\nFROM a\n\nRUN one \\\n# why\n  && two\nUSER 1:1\n")

    assert [(step.line, step.name, step.rest) for step in steps] == [
        (2, "FROM", "a"),
        (4, "RUN", "one   && two"),
        (7, "USER", "1:1"),
    ]
