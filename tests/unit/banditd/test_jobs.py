"""Evaluations over HTTP, without HTTP: queued, run one at a time, ended, kept, forgotten, by a program of the test."""

import asyncio
import contextlib
import json
import sys
import time
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from banditd.config import Config, load_config
from banditd.errors import BanditdError, Conflict, JournalUnavailable, NotFound, NotPossible, TooMany
from banditd.evaluating.asking import EXTRA, command_of
from banditd.evaluating.bodies import EvaluationInfo, EvaluationRequest
from banditd.evaluating.child import Files
from banditd.evaluating.jobs import Jobs
from policies.errors import InvalidInput
from tests.world import until

ROOT = Path(__file__).parents[3]
POLICIES = {"new": {"kind": "thompson"}}
SOON_S = 20.0  # less than a program of the test sleeps

# What it does is said by the seed that it is given.
PROGRAM = """
import json, os, signal, sys, time
memory_mib, progress, *command = sys.argv[1:]
given = dict(word[2:].split("=", 1) for word in command if "=" in word)
def write(path, text):
    with open(path, "w") as file:
        file.write(text)
def sleep():
    write(progress, json.dumps({"events": 1024}) + chr(10) + json.dumps({"events": 2048}) + chr(10) + '{"eve')
    write(os.path.join(os.path.dirname(progress), "pid"), str(os.getpid()))
    time.sleep(60)
match int(given["seed"]):
    case 0:
        write(given["json"], json.dumps({"memory_mib": memory_mib, "command": command}, indent=2) + chr(10))
        write(given["report"], "<!doctype html>")
    case 1:
        sleep()
    case 2:
        print("something else", "banditd: estimators: must be better", sep=chr(10), file=sys.stderr)
        sys.exit(2)
    case 3:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sleep()
    case 4:
        os.kill(os.getpid(), signal.SIGKILL)
    case code:
        print("ZeroDivisionError: division by zero", file=sys.stderr)
        sys.exit(code - 10)
"""
DONE, SLEEPING, REFUSED, STUBBORN, KILLED = range(5)
EXITS_WITH_1, EXITS_WITH_3 = 11, 13


class Clients:
    """Jobs whose program is the one above, and a configuration that a test exchanges."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "program.py").write_text(PROGRAM)
        self.config: Config
        self.configure()
        self.jobs = Jobs(lambda: self.config, program=(sys.executable, "-S", str(folder / "program.py")))

    def configure(self, **settings: object) -> None:
        """Have other settings of `[evaluations]` in force."""
        given = {f"evaluations.{name}": value for name, value in settings.items()}
        self.config = load_config(None, {}, options={"store.url": f"sqlite:{self.folder}/store.db", **given})

    async def ask(self, behaviour: int = DONE, evaluation_id: str | None = None, **fields: Any) -> EvaluationInfo:
        """Ask for an evaluation."""
        return await self.jobs.create(
            EvaluationRequest(policies={**POLICIES}, evaluation_id=evaluation_id, seed=behaviour, **fields)
        )

    async def state(self, name: str, *states: str) -> EvaluationInfo:
        """Wait until an evaluation is in one of these states."""
        await until(
            lambda: next(one.state for one in self.jobs.all().evaluations if one.evaluation_id == name) in states
        )
        return await self.jobs.info(name)

    async def sleeping(self, name: str) -> int:
        """Wait until a program sleeps; return its process id."""
        await until(lambda: any(path.read_text() for path in self.jobs_folder.glob("*/pid")))
        assert (await self.jobs.info(name)).state == "running"
        return int(next(self.jobs_folder.glob("*/pid")).read_text())

    @property
    def jobs_folder(self) -> Path:
        """Where the evaluations lie."""
        assert self.jobs._folder is not None
        return self.jobs._folder


@pytest.fixture
async def clients(tmp_path: Path) -> AsyncIterator[Clients]:
    """Return jobs that are closed after the test."""
    made = Clients(tmp_path)
    async with made.jobs:
        yield made


def is_alive(pid: int) -> bool:
    """Tell whether a process runs (a zombie does not)."""
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


async def test_an_evaluation_is_run_with_its_bounds_and_what_was_asked(clients: Clients) -> None:
    """Its program gets its memory and its command; its result and its page are what that wrote."""
    clients.configure(memory_mib=300)

    asked = await clients.ask(evaluation_id="é/1", segment="default", since=10.0, until=20.5, by=["day", "segment"])
    info = await clients.state("é/1", "done")

    assert (asked.evaluation_id, asked.state, asked.policies) == ("é/1", "queued", ["new"])
    assert isinstance(info.result, msgspec.Raw)
    result = json.loads(bytes(info.result))
    assert result["memory_mib"] == "300"
    assert result["command"][0] == "replay"
    assert {
        f"--store={clients.folder}/store.db",
        "--segment=default",
        "--since=10.000000",
        "--until=20.500000",
        "--by=day,segment",
        "--baseline=logged",
        "--level=0.95",
        "--question=progressive",
    } <= set(result["command"])
    assert info.started_at is not None
    assert info.ended_at is not None
    assert info.created_at <= info.started_at <= info.ended_at
    assert await clients.jobs.report("é/1") == b"<!doctype html>"


async def test_a_list_has_no_results(clients: Clients) -> None:
    """The evaluations are listed in the order in which they were asked for, each as it is."""
    for name in ("b", "a"):
        await clients.ask(evaluation_id=name)
    await clients.state("a", "done")

    listed = clients.jobs.all().evaluations

    assert [info.evaluation_id for info in listed] == ["b", "a"]
    assert [info.result for info in listed] == [msgspec.UNSET, msgspec.UNSET]


async def test_one_runs_at_a_time_and_says_how_far_it_is(clients: Clients) -> None:
    """The second waits while the first runs, whose last whole line of progress is shown."""
    first = await clients.ask(SLEEPING)
    second = await clients.ask(DONE)
    await clients.sleeping(first.evaluation_id)

    running, waiting = clients.jobs.all().evaluations

    assert (running.state, waiting.state) == ("running", "queued")
    assert running.progress is not None
    assert (running.progress.events, running.progress.of) == (2_048, None)
    assert waiting.progress is None
    assert (clients.jobs.counts["running"], clients.jobs.counts["queued"]) == (1, 1)
    with pytest.raises(Conflict) as refused:
        await clients.jobs.report(first.evaluation_id)
    assert refused.value.code == "evaluation_not_done"
    await clients.jobs.delete(first.evaluation_id)
    await clients.state(second.evaluation_id, "done")


async def test_the_same_request_again_is_the_same_evaluation(clients: Clients) -> None:
    """An id names one request: repeated it is what is there, and another request with it is refused."""
    first, again = await asyncio.gather(*[clients.ask(evaluation_id="x") for _ in range(2)])

    assert first.created_at == again.created_at
    assert len(clients.jobs.all().evaluations) == 1
    with pytest.raises(Conflict) as refused:
        await clients.ask(evaluation_id="x", level=0.9)
    assert (refused.value.code, refused.value.field) == ("evaluation_id_reused", "evaluation_id")
    assert (await clients.state("x", "done")).created_at == first.created_at
    assert (await clients.ask(evaluation_id="x")).state == "done"


async def test_only_so_many_wait(clients: Clients) -> None:
    """Beyond `queue` an evaluation is refused, whether it is asked for alone or with others at once."""
    clients.configure(queue=2)
    running = await clients.ask(SLEEPING)
    await clients.sleeping(running.evaluation_id)

    answers = await asyncio.gather(*[clients.ask(DONE) for _ in range(4)], return_exceptions=True)

    assert [getattr(answer, "code", "taken") for answer in answers] == ["taken"] * 2 + ["evaluation_queue_full"] * 2
    with pytest.raises(TooMany):
        await clients.ask(DONE)
    await clients.jobs.delete(running.evaluation_id)


@pytest.mark.parametrize("behaviour", [SLEEPING, STUBBORN], ids=["ends when asked to", "does not listen"])
async def test_a_cancelled_evaluation_has_no_process(clients: Clients, behaviour: int) -> None:
    """When a cancellation returns, the process is gone, even one that ignores SIGTERM; then it can be forgotten."""
    name = (await clients.ask(behaviour)).evaluation_id
    pid = await clients.sleeping(name)
    assert is_alive(pid)

    async with asyncio.timeout(SOON_S):
        ended = await clients.jobs.delete(name)

    assert ended.status == "cancelled"
    assert not is_alive(pid)
    assert (await clients.jobs.info(name)).state == "cancelled"
    assert (await clients.jobs.delete(name)).status == "forgotten"
    with pytest.raises(NotFound):
        await clients.jobs.info(name)
    assert clients.jobs.counts["cancelled"] == 1


async def test_one_that_waits_is_cancelled_without_ever_running(clients: Clients) -> None:
    """What was cancelled while it waited is not started later."""
    running = (await clients.ask(SLEEPING)).evaluation_id
    waiting = (await clients.ask(DONE)).evaluation_id
    await clients.sleeping(running)

    assert (await clients.jobs.delete(waiting)).status == "cancelled"
    await clients.jobs.delete(running)

    info = await clients.jobs.info(waiting)
    assert (info.state, info.started_at) == ("cancelled", None)


async def test_one_is_cancelled_before_its_process_is_there(clients: Clients) -> None:
    """A cancellation that comes while the process is being started ends it as soon as it is there."""
    name = (await clients.ask(SLEEPING)).evaluation_id
    await asyncio.sleep(0)  # the runner has begun

    async with asyncio.timeout(SOON_S):
        ended = await clients.jobs.delete(name)

    assert ended.status == "cancelled"
    assert (await clients.jobs.info(name)).state == "cancelled"


@pytest.mark.parametrize(
    ("behaviour", "code", "detail"),
    [
        (REFUSED, "refused", "estimators: must be better"),
        (EXITS_WITH_3, "out_of_memory", "it needs more than evaluations.memory_mib allows"),
        (KILLED, "killed", "its process was ended by signal 9, perhaps since the machine ran out of memory"),
        (EXITS_WITH_1, "fault", "a fault of banditd: ZeroDivisionError: division by zero"),
    ],
)
async def test_a_failure_says_why(clients: Clients, behaviour: int, code: str, detail: str) -> None:
    """However its process ends, an evaluation that failed says what that means, and has no report."""
    name = (await clients.ask(behaviour)).evaluation_id

    info = await clients.state(name, "failed")

    assert info.error is not None
    assert (info.error.code, info.error.detail) == (code, detail)
    assert clients.jobs.counts["failed"] == 1
    with pytest.raises(Conflict):
        await clients.jobs.report(name)


async def test_an_evaluation_has_its_time(clients: Clients) -> None:
    """One that is not done within `deadline` is ended, and the next begins."""
    clients.configure(deadline="300ms")
    late = (await clients.ask(SLEEPING)).evaluation_id
    info = await clients.state(late, "failed")
    clients.configure()

    assert info.error is not None
    assert info.error.code == "took_too_long"
    await clients.state((await clients.ask(DONE)).evaluation_id, "done")


async def test_no_process_is_a_failure_and_no_end_of_all(clients: Clients) -> None:
    """Where a process cannot be started the evaluation fails, and the next is tried."""
    clients.jobs._program = ("/nowhere/at/all",)
    first = await clients.state((await clients.ask()).evaluation_id, "failed")
    second = await clients.state((await clients.ask()).evaluation_id, "failed")

    assert first.error is not None
    assert first.error.detail == "no process could be started: No such file or directory"
    assert second.error == first.error


async def test_a_fault_of_ours_keeps_nobody_waiting(clients: Clients) -> None:
    """What nobody foresaw ends the evaluation that it came upon, and not those behind it."""
    program, clients.jobs._program = clients.jobs._program, (b"", None)  # type: ignore[assignment]  # what cannot be run
    info = await clients.state((await clients.ask()).evaluation_id, "failed")
    clients.jobs._program = program

    assert info.error is not None
    assert info.error.detail == "a fault of banditd; its log says more"
    await clients.state((await clients.ask()).evaluation_id, "done")


async def test_closing_stops_what_is_still_being_checked(clients: Clients) -> None:
    """A request whose policies are being checked when the server ends is refused, and starts nothing."""
    asking = asyncio.create_task(clients.ask())
    await asyncio.sleep(0)

    await clients.jobs.close()

    with pytest.raises(JournalUnavailable):
        await asking
    assert clients.jobs.all().evaluations == []


async def test_the_oldest_are_forgotten_with_their_files(clients: Clients) -> None:
    """Of those that have ended the last `keep` are there."""
    clients.configure(keep=2)
    for name in ("a", "b", "c"):
        await clients.ask(evaluation_id=name)
        await clients.state(name, "done")

    await until(lambda: len(clients.jobs.all().evaluations) == 2)

    assert [info.evaluation_id for info in clients.jobs.all().evaluations] == ["b", "c"]
    assert len([path for path in clients.jobs_folder.iterdir() if path.name != "matplotlib"]) == 2
    with pytest.raises(NotFound):
        await clients.jobs.report("a")


async def test_closing_ends_everything_and_leaves_nothing(clients: Clients) -> None:
    """At the end no process is left, no file, and nothing more is taken."""
    running = (await clients.ask(STUBBORN)).evaluation_id
    await clients.ask(DONE)
    pid = await clients.sleeping(running)
    folder = clients.jobs_folder
    began = time.monotonic()

    await clients.jobs.close()

    assert not is_alive(pid)
    assert not folder.exists()
    assert time.monotonic() - began < 8.0
    assert {info.state for info in clients.jobs.all().evaluations} == {"cancelled"}
    with pytest.raises(JournalUnavailable):
        await clients.ask()


async def test_an_id_must_be_one(clients: Clients) -> None:
    """An id that is empty or holds control characters is refused."""
    for name, code in (("", "id_length"), ("a\nb", "control_character"), ("x" * 257, "id_length")):
        with pytest.raises(InvalidInput) as refused:
            await clients.ask(evaluation_id=name)
        assert (refused.value.code, refused.value.field) == (code, "evaluation_id")


# -- what is refused before anything is started


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"policies": {}}, "invalid_value", "policies"),
        ({"policies": {f"p{i}": "uniform" for i in range(51)}}, "invalid_value", "policies"),
        ({"policies": {"a=b": "uniform"}}, "invalid_policy", "policies"),
        ({"policies": {"a\n": "uniform"}}, "invalid_policy", "policies"),
        ({"policies": {"-x": "uniform"}}, "invalid_policy", "policies"),
        ({"policies": {"a": "state:/etc/passwd"}}, "invalid_policy", "policies.a"),
        ({"policies": {"a": "table:/etc/passwd"}}, "invalid_policy", "policies.a"),
        ({"policies": {"a": "vw --cb_explore_adf -f /tmp/x"}}, "invalid_policy", "policies.a"),
        (
            {"policies": {"a": {"kind": "vw_command", "arguments": "--cb_explore_adf"}}},
            "invalid_policy",
            "policies.a.kind",
        ),
        ({"policies": {"a": {"kind": "vw", "options": "-f /tmp/x"}}}, "invalid_policy", "policies.a.options"),
        ({"policies": {"a": {}}}, "invalid_policy", "policies.a.kind"),
        ({"policies": {"a": {"kind": "epsilon_greedy", "epsilon": 2}}}, "invalid_policy", "policies.a.epsilon"),
        ({"policies": {"a": {"kind": "thompson", "wings": 2}}}, "invalid_policy", "policies.a.wings"),
        ({"policies": {"a": "mixture"}}, "invalid_policy", "policies.a.policies"),
        ({"policies": {"uniform": "logged"}}, "invalid_policy", "policies.uniform"),
        ({"policies": {"logged": {"kind": "thompson"}}}, "invalid_policy", "policies.logged"),
        ({"segment": "nobody"}, "unknown_segment", "segment"),
        ({"since": 20.0, "until": 20.0}, "invalid_value", "until"),
        ({"baseline": "older"}, "invalid_value", "baseline"),
        ({"estimators": ["ips", "guess"]}, "invalid_value", "estimators[1]"),
        ({"estimators": ["ips", "ips"]}, "invalid_value", "estimators[1]"),
        ({"estimators": ["ips_clipped"]}, "invalid_value", "clip"),
        ({"estimators": ["switch_dr"], "tau": -1.0}, "invalid_value", "tau"),
        ({"estimators": ["ips"], "question": "deployed"}, "invalid_value", "estimators"),
    ],
    ids=str,
)
def test_what_cannot_be_asked_is_refused(tmp_path: Path, fields: dict[str, Any], code: str, field: str) -> None:
    """A request that no process could answer is refused with the field that is wrong."""
    request = EvaluationRequest(**{"policies": POLICIES, **fields})

    with pytest.raises(BanditdError) as refused:
        command_of(request, load_config(None, {}), Files(tmp_path))

    assert (refused.value.code, refused.value.field) == (code, field)


def test_nobody_waits_for_ever_while_policies_are_tried_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checking policies has an end after which the request is refused, and so has it when the server ends."""
    request = EvaluationRequest(policies={"a": "uniform"})
    config, files = load_config(None, {}), Files(tmp_path)

    with pytest.raises(BanditdError) as ended:
        command_of(request, config, files, goes_on=lambda: False)
    monkeypatch.setattr("banditd.evaluating.asking._CHECKING_S", 0.0)
    with pytest.raises(BanditdError) as late:
        command_of(request, config, files)

    for refused in (ended, late):
        assert (refused.value.code, refused.value.field) == ("invalid_policy", "policies")


def test_one_policy_that_no_argument_holds_is_refused(tmp_path: Path) -> None:
    """A single argument has a limit of its own, below that of all together."""
    large: dict[str, Any] = {"kind": "vw"}
    for _ in range(3):
        large = {"kind": "mixture", "policies": [large] * 10}
    request = EvaluationRequest(policies={"large": large})

    with pytest.raises(BanditdError) as refused:
        command_of(request, load_config(None, {}), Files(tmp_path))

    assert refused.value.code == "invalid_policy"


def test_more_settings_than_a_command_line_holds_are_refused(tmp_path: Path) -> None:
    """Policies that each are right, and together too long for the system, are refused before a process is started."""
    large = {"kind": "mixture", "policies": [{"kind": "vw"}] * 32}
    request = EvaluationRequest(policies={f"p{i}": large for i in range(50)})

    with pytest.raises(BanditdError) as refused:
        command_of(request, load_config(None, {}), Files(tmp_path))

    assert (refused.value.code, refused.value.field) == ("invalid_policy", "policies")


@pytest.mark.parametrize("policy", ["logged", "baseline1", "uniform"])
def test_baselines_are_candidates_by_their_own_names(tmp_path: Path, policy: str) -> None:
    """What is always there may be named once more, under its name or another."""
    request = EvaluationRequest(policies={policy: policy, "mine": policy}, baseline="mine")

    command = command_of(request, load_config(None, {}), Files(tmp_path))

    assert [word for word in command if word.startswith("--policy")] == [
        f"--policy={policy}={policy}",
        f"--policy=mine={policy}",
    ]
    assert "--baseline=mine" in command
    assert "--per-segment" not in command


def test_options_of_estimators_go_along(tmp_path: Path) -> None:
    """Parameters and names reach the command line as they were given."""
    request = EvaluationRequest(
        policies={**POLICIES}, estimators=["ips_clipped", "dros"], clip=10.0, lam=2.5, per_segment=True
    )

    command = command_of(request, load_config(None, {}), Files(tmp_path))

    assert {"--estimator=ips_clipped,dros", "--clip=10.0", "--lam=2.5", "--per-segment"} <= set(command)
    assert not [word for word in command if word.startswith("--tau")]


async def test_a_missing_package_is_said_to_be_missing(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the answer is what to install."""
    monkeypatch.setitem(sys.modules, "polars", None)

    with pytest.raises(NotPossible) as refused:
        await clients.ask()

    assert refused.value.code == "replay_not_installed"
    assert "pip install 'banditd[replay]'" in refused.value.detail


async def test_another_store_is_said_to_be_none(clients: Clients) -> None:
    """Only a store that is a file of this machine can be read."""
    store = msgspec.structs.replace(clients.config.store, url="redis://elsewhere")
    object.__setattr__(clients.config, "store", store)

    with pytest.raises(NotPossible) as refused:
        await clients.ask()

    assert (refused.value.code, refused.value.field) == ("store_not_embedded", "store.url")


def test_what_is_looked_for_is_what_the_extra_installs() -> None:
    """The modules are those of the packages of the extra `replay`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [text.partition(">")[0] for text in project["optional-dependencies"]["replay"]]

    assert sorted(EXTRA) == sorted({"scikit-learn": "sklearn"}.get(name, name) for name in names)


async def test_the_loop_goes_on_while_evaluations_run(clients: Clients) -> None:
    """Nothing that jobs do keeps the loop from others for as long as a process takes."""
    late_s: list[float] = []

    async def tick() -> None:
        while True:
            due = time.perf_counter() + 0.002
            await asyncio.sleep(0.002)
            late_s.append(time.perf_counter() - due)

    ticking = asyncio.create_task(tick())
    began = time.perf_counter()
    for _ in range(5):
        await clients.state((await clients.ask(DONE)).evaluation_id, "done")
    taken_s = time.perf_counter() - began
    ticking.cancel()

    assert len(late_s) > 20
    assert sum(late for late in late_s if late > 0.02) < 0.5 * taken_s
