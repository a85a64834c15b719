"""Evaluations that are asked for over HTTP: one at a time, each in a process of its own, the last ones kept."""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

import msgspec

from banditd.clock import Clock, SystemClock
from banditd.config import Config
from banditd.errors import Conflict, JournalUnavailable, NotFound, TooMany
from banditd.evaluating.asking import check_id_of, check_possible, command_of
from banditd.evaluating.bodies import (
    EvaluationEnd,
    EvaluationInfo,
    EvaluationList,
    EvaluationProblem,
    EvaluationRequest,
    State,
)
from banditd.evaluating.child import PROGRAM, Child, Files
from banditd.evaluating.job import ENDED, Job, problem_of, span
from banditd.ids import new_event_id
from banditd.logs import get_logger

__all__ = ["Jobs"]

log = get_logger()


class Jobs:
    """The evaluations of one server; an asynchronous context, at whose end all of them end.

    Parameters
    ----------
    config
        Returns the configuration in force.
    program
        What runs a command: after it come its memory in MiB, its file for progress, and the command.
    """

    def __init__(
        self, config: Callable[[], Config], *, clock: Clock | None = None, program: Sequence[str] = PROGRAM
    ) -> None:
        self._config = config
        self._clock = clock or SystemClock()
        self._program = program
        self._folder: Path | None = None
        self._jobs: dict[str, Job] = {}  # in the order in which they were asked for
        self._checking = asyncio.Lock()  # one request after another: checking a policy may start a process
        self._n_checking = 0
        self._runner: asyncio.Task[None] | None = None
        self._is_closed = False
        self._ends: dict[State, int] = {"done": 0, "failed": 0, "cancelled": 0}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def counts(self) -> Mapping[State, int]:
        """How many wait and run now, and how many have ended how since the server started."""
        states = [job.state for job in self._jobs.values()]
        return {"queued": states.count("queued"), "running": states.count("running"), **self._ends}

    async def create(self, request: EvaluationRequest) -> EvaluationInfo:
        """Queue an evaluation; the same id with the same request is the one that is there already.

        Raises
        ------
        Conflict
            The id came before with another request.
        TooMany
            As many wait as may.
        JournalUnavailable
            The server ends.
        NotPossible, NotFound, Unprocessable, InvalidInput
            What is asked for cannot be done; says why.
        """
        self._require_open()
        config = self._config()
        check_possible(config)
        check_id_of(request, config)
        known = self._known(request)
        if known is not None:
            return await self._info(known)
        if self.counts["queued"] + self._n_checking >= config.evaluations.queue:
            detail = f"{config.evaluations.queue} evaluations wait already: come back when one of them has ended"
            raise TooMany("evaluation_queue_full", detail)
        self._n_checking += 1
        try:
            async with self._checking:
                job = self._known(request) or await self._queued(request, config)
        finally:
            self._n_checking -= 1
        return await self._info(job)

    def all(self) -> EvaluationList:
        """Return what is known of all of them, without their results."""
        return EvaluationList([job.described() for job in self._jobs.values()])

    async def info(self, name: str) -> EvaluationInfo:
        """Return what is known of one, its result included.

        Raises
        ------
        NotFound
            There is none of this id.
        """
        return await self._info(self._find(name))

    async def report(self, name: str) -> bytes:
        """Return the page about one that is done.

        Raises
        ------
        NotFound, Conflict
            There is none of this id; it is not done.
        """
        job = self._find(name)
        if job.state == "done":
            with contextlib.suppress(FileNotFoundError):  # forgotten meanwhile
                return await asyncio.to_thread(job.files.report.read_bytes)
        self._find(name)
        raise Conflict("evaluation_not_done", f"there is no report: the evaluation is {job.state}")

    async def delete(self, name: str) -> EvaluationEnd:
        """End one that waits or runs, and return once its process is gone; forget one that has ended.

        Raises
        ------
        NotFound
            There is none of this id.
        """
        job = self._find(name)
        if job.state in ENDED:
            await self._forget(job)
            return EvaluationEnd(job.name, "forgotten")
        self._cancel(job)
        await job.ended.wait()
        await self._forget_oldest()
        return EvaluationEnd(job.name, "cancelled")

    async def close(self) -> None:
        """End what runs, and leave nothing behind."""
        self._is_closed = True
        for job in self._jobs.values():
            if job.state not in ENDED:
                self._cancel(job)
        if self._runner is not None:
            await asyncio.gather(self._runner, return_exceptions=True)
        if self._folder is not None:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    # -- asking

    def _require_open(self) -> None:
        if self._is_closed:
            raise JournalUnavailable("not_ready", "the server is about to end")

    def _find(self, name: str) -> Job:
        job = self._jobs.get(name)
        if job is None:
            raise NotFound("unknown_evaluation", "there is no such evaluation, or it was forgotten")
        return job

    def _known(self, request: EvaluationRequest) -> Job | None:
        job = None if request.evaluation_id is None else self._jobs.get(request.evaluation_id)
        if job is not None and job.request != request:
            raise Conflict(
                "evaluation_id_reused", "the evaluation id came before with another request", field="evaluation_id"
            )
        return job

    async def _queued(self, request: EvaluationRequest, config: Config) -> Job:
        name = new_event_id()
        files = self._files(name)
        command = await asyncio.to_thread(command_of, request, config, files, goes_on=lambda: not self._is_closed)
        self._require_open()
        job = Job(request.evaluation_id or name, request, files, command, created_at=self._clock.wall())
        job.files.folder.mkdir()
        self._jobs[job.name] = job
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run(), name="evaluations")
        return job

    def _files(self, name: str) -> Files:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="banditd-evaluations-"))  # 0700: nobody else reads results
        return Files(self._folder / name)

    async def _info(self, job: Job) -> EvaluationInfo:
        info = job.described()
        if job.state == "done":
            with contextlib.suppress(FileNotFoundError):  # forgotten meanwhile
                result = await asyncio.to_thread(job.files.result.read_bytes)
                return msgspec.structs.replace(info, result=msgspec.Raw(result.strip()))
        return info

    # -- running

    async def _run(self) -> None:
        """Run what waits, one after another."""
        while (job := next((job for job in self._jobs.values() if job.state == "queued"), None)) is not None:
            job.state = "running"
            job.started_at = self._clock.wall()
            try:
                await self._watched(job)
            except OSError as error:
                self._end(job, "failed", EvaluationProblem("fault", f"no process could be started: {error.strerror}"))
            except Exception:  # a fault of ours: nobody waits for it for ever, and the next one is tried
                self._end(job, "failed", EvaluationProblem("fault", "a fault of banditd; its log says more"))
                with contextlib.suppress(OSError, ValueError):  # a log that cannot be written, or is closed
                    log.exception("evaluation_broke_off")
            await self._forget_oldest()

    async def _watched(self, job: Job) -> None:
        settings = self._config().evaluations
        job.n_events = await asyncio.to_thread(span, self._config().store_path, job.request)
        job.child = child = await Child.start(
            job.command, job.files, memory_mib=settings.memory_mib, program=self._program
        )
        log.info("evaluation_started", pid=child.pid, policies=len(job.request.policies))
        is_late = False
        try:
            async with asyncio.timeout(settings.deadline_s):
                if job.is_cancelled:  # while the process was being started
                    child.end()
                code = await child.wait()
        except TimeoutError:
            is_late = True
            child.end()
            code = await child.wait()
        if job.is_cancelled:
            self._end(job, "cancelled")
        elif is_late:
            detail = f"it was not done within evaluations.deadline, {settings.deadline_s:g} s"
            self._end(job, "failed", EvaluationProblem("took_too_long", detail))
        elif code == 0:
            self._end(job, "done")
        else:
            self._end(job, "failed", problem_of(code, job.files))

    def _cancel(self, job: Job) -> None:
        job.is_cancelled = True
        if job.state == "queued":
            self._end(job, "cancelled")
        elif job.child is not None:
            job.child.end()

    def _end(self, job: Job, state: State, problem: EvaluationProblem | None = None) -> None:
        job.state = state
        job.problem = problem
        job.child = None
        job.ended_at = self._clock.wall()
        self._ends[state] += 1
        job.ended.set()
        log.info("evaluation_ended", state=state, code=None if problem is None else problem.code)

    async def _forget_oldest(self) -> None:
        ended = [job for job in self._jobs.values() if job.state in ENDED]
        for job in ended[: -self._config().evaluations.keep]:
            await self._forget(job)

    async def _forget(self, job: Job) -> None:
        self._jobs.pop(job.name, None)
        await asyncio.to_thread(shutil.rmtree, job.files.folder, ignore_errors=True)
