"""One evaluation that was asked for over HTTP: what is known of it, and what it is called in words."""

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import apsw

from banditd.errors import BanditdError
from banditd.evaluating.bodies import EvaluationInfo, EvaluationProblem, EvaluationProgress, EvaluationRequest, State
from banditd.evaluating.child import Child, Files
from banditd.evaluating.confined import EXIT_MEMORY
from banditd.evaluating.store import ReadStore

__all__ = ["ENDED", "Job", "problem_of", "span"]

ENDED: Final = frozenset({"done", "failed", "cancelled"})

_EXIT_REFUSED: Final = 2
_LONGEST: Final = 500  # characters of what a process complained about last


class Job:
    """An evaluation, from when it was asked for until it is forgotten.

    Parameters
    ----------
    name
        The evaluation's id.
    command
        The arguments of `banditd` that make it.
    created_at
        UTC seconds.
    """

    def __init__(
        self, name: str, request: EvaluationRequest, files: Files, command: Sequence[str], *, created_at: float
    ) -> None:
        self.name = name
        self.request = request
        self.files = files
        self.command = command
        self.created_at = created_at
        self.started_at: float | None = None
        self.ended_at: float | None = None
        self.n_events: int | None = None
        self.state: State = "queued"
        self.problem: EvaluationProblem | None = None
        self.child: Child | None = None
        self.is_cancelled = False
        self.ended = asyncio.Event()

    def described(self) -> EvaluationInfo:
        """Return what is known of it, without its result; reads a small file while it runs."""
        progress = None
        if self.state == "running":
            said = self.files.last_progress()
            progress = EvaluationProgress(0 if said is None else said.events, self.n_events)
        return EvaluationInfo(
            evaluation_id=self.name,
            state=self.state,
            policies=list(self.request.policies),
            created_at=self.created_at,
            started_at=self.started_at,
            ended_at=self.ended_at,
            progress=progress,
            error=self.problem,
        )


def problem_of(code: int, files: Files) -> EvaluationProblem:
    """Say in words why a process ended as it did."""
    if code == _EXIT_REFUSED:
        return EvaluationProblem("refused", files.last_complaint().removeprefix("banditd: "))
    if code == EXIT_MEMORY:
        return EvaluationProblem("out_of_memory", "it needs more than evaluations.memory_mib allows")
    if code < 0:
        detail = f"its process was ended by signal {-code}, perhaps since the machine ran out of memory"
        return EvaluationProblem("killed", detail)
    return EvaluationProblem("fault", f"a fault of banditd: {files.last_complaint()[:_LONGEST]}")


def span(path: Path, request: EvaluationRequest) -> int | None:
    """Return how many decisions a store has at most; None if only some of them are asked for."""
    if (request.segment, request.since, request.until) != (None, None, None):
        return None
    # What is wrong with a store, the process that is to read it says.
    with contextlib.suppress(BanditdError, apsw.Error), ReadStore(path) as store:
        ((n,),) = store.rows("SELECT ifnull(max(id) - min(id) + 1, 0) FROM decisions")
        return int(n)
    return None
