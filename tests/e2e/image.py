"""Carry out a Dockerfile without Docker, run the image it describes, and report what happened as JSON.

Runs as root of its own mount namespace (`unshare --mount`), which the caller provides:

- each stage is an overlay on this machine's root file system, written to a tmpfs: the machine stays as it is, and
  all of it is gone when the namespace ends;
- this machine stands in for the base image: `/usr/local/bin/python` becomes the Python that runs this file, and what
  the machine has in /opt, /srv, /mnt, /tmp and the folders of the context and the checkout is hidden;
- every RUN gets an empty environment plus ENV, and the machine's way to its package registry, as Docker's build
  arguments would pass it on;
- CMD and HEALTHCHECK run as USER in a network of their own, with the root file system read-only.

What it cannot see is a library or a program that this machine has and the base image lacks; the report therefore lists
the shared libraries that the image takes from its base.
"""

import ctypes
import fnmatch
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

_BASE = re.compile(r"python:3\.\d+-slim")
_BASE_PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
_PASSED_ON = re.compile(r"PIP_\w+|SSL_CERT_\w+|(https?|no|all)_proxy", re.IGNORECASE)
_IGNORED = frozenset({"EXPOSE"})
_HIDDEN = ("opt", "srv", "mnt", "tmp", "var/lib/banditd")
_CLONE_NEWNET = 0x40000000
_START_S = 60
_STOP_S = 20
_COMMAND_S = 15


class BuildError(Exception):
    """A step of the Dockerfile cannot be carried out; the message begins with its line."""


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction: its first line in the file, its name, and the rest."""

    line: int
    name: str
    rest: str

    def failed(self, why: str) -> BuildError:
        """Return the error that names this step."""
        return BuildError(f"Dockerfile:{self.line}: {self.name} {self.rest}\n{why}")


@dataclass(slots=True)
class Stage:
    """What one FROM has become so far."""

    root: Path
    name: str
    env: dict[str, str] = field(default_factory=lambda: {"PATH": _BASE_PATH})
    workdir: str = "/"
    user: str = "0:0"
    cmd: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)
    stop_signal: str = "SIGTERM"

    def command(self, argv: Sequence[str], *, env: dict[str, str], user: str) -> list[str]:
        """Return the command line that runs `argv` inside, with nothing but `env` around it."""
        home = "/root" if user == "0:0" else "/"
        variables = [f"{name}={value}" for name, value in {"HOME": home, **env, **self.env}.items()]
        inside = ["env", "-i", "-C", self.workdir, *variables, *argv]
        return ["chroot", "--groups=", f"--userspec={user}", str(self.root), *inside]


def parse(text: str) -> list[Step]:
    """Return the instructions of a Dockerfile, comments gone and continued lines joined."""
    steps: list[Step] = []
    first, pending = 0, ""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("#") or not (pending or line.strip()):
            continue
        first = first if pending else number
        pending += line.rstrip().removesuffix("\\")
        if line.rstrip().endswith("\\"):
            continue
        name, _, rest = pending.strip().partition(" ")
        steps.append(Step(first, name.upper(), rest.strip()))
        pending = ""
    return steps


def build(dockerfile: Path, context: Path, scratch: Path) -> Stage:
    """Carry out every step in order and return the last stage.

    Raises
    ------
    BuildError
        A step fails, or is of a kind that this file does not know.
    """
    ignored = (context / ".dockerignore").read_text().splitlines()
    files = [path for path in _files(context) if not is_ignored(path, ignored)]
    stages: list[Stage] = []
    for step in parse(dockerfile.read_text()):
        print(f"{step.name} {step.rest}", file=sys.stderr, flush=True)
        if step.name == "FROM":
            stages.append(_from(step, scratch / f"stage{len(stages)}", hide=context))
        elif not stages:
            raise step.failed("no FROM before it")
        elif step.name == "COPY":
            _copy(step, stages, context=context, files=files)
        elif step.name == "RUN":
            _run(step, stages[-1])
        else:
            _apply(step, stages[-1])
    return stages[-1]


def is_ignored(path: str, patterns: Sequence[str]) -> bool:
    """Return whether `.dockerignore` keeps a file out: the last pattern that fits it, or a folder above it, decides."""
    parts = path.split("/")
    prefixes = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
    verdict = False
    for line in patterns:
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        keeps = pattern.startswith("!")
        pattern = pattern.removeprefix("!").strip("/")
        anywhere = pattern.startswith("**/")
        if any(
            fnmatch.fnmatchcase(prefix.rsplit("/", 1)[-1] if anywhere else prefix, pattern.removeprefix("**/"))
            and (anywhere or prefix.count("/") == pattern.count("/"))
            for prefix in prefixes
        ):
            verdict = not keeps
    return verdict


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def _from(step: Step, folder: Path, *, hide: Path) -> Stage:
    image, _, name = step.rest.partition(" AS ")
    if not _BASE.fullmatch(image.strip()):
        raise step.failed("this machine can only stand in for an official slim Python image")
    upper, work, root = (folder / part for part in ("upper", "work", "root"))
    for each in (upper, work, root):
        each.mkdir(parents=True)
    _mount("-t", "overlay", "overlay", "-o", f"lowerdir=/,upperdir={upper},workdir={work}", str(root))
    # A mount point of the machine is a plain folder in the overlay, so its /proc, /dev and /tmp are not in the way.
    _mount("-t", "proc", "proc", str(root / "proc"))
    _mount("--bind", "/dev", str(root / "dev"))
    _mount("-t", "tmpfs", "-o", "mode=1777", "shm", str(root / "dev/shm"))
    python = Path(os.path.realpath(sys.executable))
    for hidden in (*_HIDDEN, *(str(folder.relative_to("/")) for folder in (hide, Path(__file__).resolve().parents[2]))):
        if (root / hidden).is_dir() and not python.is_relative_to(Path("/") / hidden):
            _mount("-t", "tmpfs", "-o", f"mode={'1777' if hidden == 'tmp' else '755'}", "hidden", str(root / hidden))
    _stand_in(root, python)
    return Stage(root, name.strip())


def _stand_in(root: Path, python: Path) -> None:
    """Put the machine's Python where the base image has its own, for every user to run."""
    for folder in python.parents:
        inside = root / folder.relative_to("/")
        inside.chmod(inside.stat().st_mode | 0o011)
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    places = {f"bin/{name}": python for name in ("python", "python3", version)}
    # An environment made by it looks for the standard library beside it, as it would find it in the base image.
    places[f"lib/{version}"] = Path(sysconfig.get_path("stdlib"))
    for place, real in places.items():
        link = root / "usr/local" / place
        if link.is_dir() and not link.is_symlink():
            shutil.rmtree(link)
        link.unlink(missing_ok=True)
        link.symlink_to(real)


def _run(step: Step, stage: Stage) -> None:
    passed_on = {name: value for name, value in os.environ.items() if _PASSED_ON.fullmatch(name)}
    command = stage.command(["/bin/sh", "-c", step.rest], env=passed_on, user=stage.user)
    done = subprocess.run(
        command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
    )
    if done.returncode:
        raise step.failed(f"exit code {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")


def _apply(step: Step, stage: Stage) -> None:
    if step.name == "ENV":
        for pair in shlex.split(step.rest):
            name, _, value = pair.partition("=")
            stage.env[name] = Template(value).substitute(stage.env)
    elif step.name == "WORKDIR":
        stage.workdir = step.rest
        (stage.root / step.rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
    elif step.name == "USER":
        stage.user = step.rest
    elif step.name == "VOLUME":
        stage.volumes.append(step.rest)
    elif step.name == "CMD":
        stage.cmd = json.loads(step.rest)
    elif step.name == "HEALTHCHECK":
        stage.healthcheck = json.loads(step.rest.partition("CMD ")[2])
    elif step.name == "STOPSIGNAL":
        stage.stop_signal = step.rest
    elif step.name not in _IGNORED:
        raise step.failed("an instruction that nothing here carries out")


def _copy(step: Step, stages: list[Stage], *, context: Path, files: list[str]) -> None:
    words = shlex.split(step.rest)
    origin = words.pop(0).removeprefix("--from=") if words[0].startswith("--from=") else None
    if len(words) < 2 or any(word.startswith("--") for word in words):
        raise step.failed("not `COPY [--from=STAGE] SOURCE... DESTINATION`")
    *sources, destination = words
    stage = stages[-1]
    target = stage.root / Path("/", stage.workdir, destination).relative_to("/")
    for source in sources:
        if origin is not None:
            _copy_from_stage(step, next((s for s in stages[:-1] if s.name == origin), None), source, target)
            continue
        below = [path for path in files if path == source or path.startswith(f"{source}/")]
        if not below:
            raise step.failed(f"{source} is not in the build context")
        into_folder = destination.endswith("/") or len(sources) > 1
        for path in below:
            inner = Path(path).name if into_folder else Path(path).relative_to(source)
            (target / inner).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(context / path, target / inner)


def _copy_from_stage(step: Step, origin: Stage | None, source: str, target: Path) -> None:
    if origin is None:
        raise step.failed("no earlier stage has that name")
    if not (origin.root / source.lstrip("/")).is_dir():
        raise step.failed(f"{source} is not a folder of that stage")
    shutil.copytree(origin.root / source.lstrip("/"), target, symlinks=True, dirs_exist_ok=True)


def libraries_of_the_base(root: Path, folder: str) -> list[str]:
    """Return the names of the shared libraries that the files under `folder` take from outside it."""
    shared = [f"/{path.relative_to(root)}" for path in (root / folder.lstrip("/")).rglob("*.so*") if path.is_file()]
    done = subprocess.run(
        ["chroot", str(root), "ldd", *shared], check=False, capture_output=True, text=True, errors="replace"
    )
    found = re.findall(r"^\s+(\S+?)(?: => (\S+|not found))?(?: \(0x[0-9a-f]+\))?$", done.stdout, re.MULTILINE)
    return sorted({Path(name).name for name, at in found if not at.startswith(folder)})


def _seal(stage: Stage) -> None:
    """Make the root read-only but for /tmp, /dev/shm and the volumes, which keep their owner, and cut the network."""
    for folder in stage.volumes:
        inside = stage.root / folder.lstrip("/")
        was = inside.stat()
        options = f"mode={was.st_mode & 0o7777:o},uid={was.st_uid},gid={was.st_gid}"
        _mount("-t", "tmpfs", "-o", options, "volume", str(inside))
    for line in Path("/proc/self/mounts").read_text().splitlines():
        where = Path(line.split()[1])
        kept = {stage.root / part.lstrip("/") for part in ("dev/shm", "tmp", "proc", "dev", *stage.volumes)}
        if where.is_relative_to(stage.root) and where not in kept:
            _mount("-o", "remount,ro", str(where))
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "a network namespace")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def _quick(stage: Stage, argv: Sequence[str], *, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = stage.command(argv, env=env or {}, user=stage.user)
    try:
        return subprocess.run(
            command, check=False, capture_output=True, text=True, errors="replace", timeout=_COMMAND_S
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"still running after {_COMMAND_S} s")


def _every(seconds: float, *, until_s: float) -> Iterator[None]:
    end = time.monotonic() + until_s
    while time.monotonic() < end:
        yield
        time.sleep(seconds)


def run(stage: Stage, *, env: dict[str, str]) -> dict[str, Any]:
    """Start CMD, wait until HEALTHCHECK passes, stop it with STOPSIGNAL, and return what happened."""
    with tempfile.TemporaryFile("w+") as output:
        command = stage.command(stage.cmd, env=env, user=stage.user)
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        health: subprocess.CompletedProcess[str] | None = None
        for _ in _every(0.2, until_s=_START_S):
            health = _quick(stage, stage.healthcheck, env=env)
            if health.returncode == 0 or server.poll() is not None:
                break
        owner = Path(f"/proc/{server.pid}").stat() if server.poll() is None else None
        server.send_signal(signal.Signals[stage.stop_signal])
        try:
            exit_code = server.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            server.kill()
            exit_code = None
        output.seek(0)
        return {
            "health": health and health.returncode,
            "health_says": health and health.stderr[-2000:],
            "owner": owner and [owner.st_uid, owner.st_gid],
            "exit_code": exit_code,
            "output": output.read()[-4000:],
        }


def main(dockerfile: Path, context: Path, scratch: Path, key: str) -> dict[str, Any]:
    """Build the image and try it; `key` is an API key for it."""
    _mount("-t", "tmpfs", "-o", "size=3g", "scratch", str(scratch))
    stage = build(dockerfile, context, scratch)
    report: dict[str, Any] = {
        "volumes": stage.volumes,
        "user": stage.user,
        "installed": _files(next((stage.root / "opt/venv/lib").glob("python3.*/site-packages"))),
        "libraries": libraries_of_the_base(stage.root, "/opt/venv"),
    }
    _seal(stage)
    report["written_outside_volumes"] = [
        folder
        for folder in ("/", "/etc", "/opt/venv", "/usr/local/bin", "/var/lib")
        if _quick(stage, ["touch", f"{folder}/written"]).returncode == 0
        or subprocess.run(["touch", f"{stage.root}{folder}/written"], check=False, capture_output=True).returncode == 0
    ]
    report["health_before"] = _quick(stage, stage.healthcheck).returncode
    refused = _quick(stage, stage.cmd)
    report["without_keys"] = {"exit_code": refused.returncode, "output": (refused.stdout + refused.stderr)[-4000:]}
    report["run"] = run(stage, env={"BANDITD_SERVER_KEYS": json.dumps([key])})
    report["store"] = [path for folder in stage.volumes for path in _files(stage.root / folder.lstrip("/"))]
    return report


if __name__ == "__main__":
    try:
        found = main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
    except BuildError as error:
        sys.exit(str(error))
    print(json.dumps(found))
