"""An engine that runs the tasks of an evaluation on a Ray cluster: one task of ours is one task of Ray's.

Everything else is as on one machine: what a task does, and how results are put together; see `replay.tasks` and
`replay.shards`. So the numbers are the same, too. What a cluster must have is in docs/replay.md.
"""

import importlib
import itertools
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

from replay.errors import InvalidLog
from replay.shards import cut
from replay.tasks import Partial, Task, run

__all__ = ["RayEngine"]

_STORE_BYTES: Final = 256 << 20  # of a cluster of our own: tasks and their results are some hundred kB each
_RETRIES: Final = 3  # of a task whose machine went away; it gives the same result wherever it runs

# What Ray reads when it is imported or started: nothing is reported to anyone, and a cluster of our own is reached from
# this machine alone (the last name is from where it was needed first; here it means "the node is 127.0.0.1").
_REPORTS: Final = {"RAY_USAGE_STATS_ENABLED": "0"}
_LOOPBACK: Final = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


@dataclass(frozen=True, slots=True)
class RayEngine:
    """Runs tasks on a Ray cluster.

    Parameters
    ----------
    address
        ``"auto"`` for the cluster that this machine is part of, ``"ray://HOST:PORT"`` for another, ``"local"`` for one
        on this machine that is started for the evaluation and stopped after it. Where the program has connected to a
        cluster already, that one is used, and stays.
    workers
        Processes of a local cluster; of another, how many tasks run at a time.
    cut
        ``"by_candidate"``: tasks stay as they are, and their numbers are those of one process to the last digit.
        ``"finely"``: by files of the log and by segments too; see `replay.shards` for what can be cut, and the price.
    """

    address: str = "auto"
    workers: int = 1
    cut: Literal["by_candidate", "finely"] = "by_candidate"

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise InvalidLog("workers_out_of_range", "workers", f"must be 1 or more, not {self.workers!r}")
        if self.address not in {"auto", "local"} and not self.address.startswith("ray://"):
            detail = f"must be auto, local or ray://HOST:PORT, not {self.address!r}"
            raise InvalidLog("address_invalid", "ray_address", detail)
        if self.cut not in {"by_candidate", "finely"}:
            raise InvalidLog("cut_unknown", "cut", f"must be by_candidate or finely, not {self.cut!r}")

    def __call__(self, tasks: Sequence[Task]) -> list[Partial]:
        """Run tasks side by side, cut into shards where they can be, and return what came of them.

        Raises
        ------
        InvalidLog
            There is no cluster, or what a task raises: the first one that failed.
        """
        shards = cut(tasks, self.workers if self.cut == "finely" else 1)
        with self._connected() as ray:
            remote = ray.remote(num_cpus=1, max_retries=_RETRIES)(run)
            found = _gathered(ray, remote, [task for one in shards for task in one.tasks], at_once=self.workers)
        return [one.joined(list(itertools.islice(found, len(one.tasks)))) for one in shards]

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        """Yield the module `ray`, connected to a cluster; leave it as it was."""
        ray = _imported(is_local=self.address == "local")
        if ray.is_initialized():
            yield ray
            return
        options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
        if self.address == "local":
            options |= {"num_cpus": self.workers, "include_dashboard": False, "object_store_memory": _STORE_BYTES}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # the error says it
                ray.init(self.address, **options)
        except (ConnectionError, ValueError, RuntimeError) as error:
            detail = f"does not answer: {str(error).partition(chr(10))[0]}"
            raise InvalidLog("ray_unreachable", "ray_address", f"{self.address!r} {detail}") from None
        try:
            yield ray
        finally:
            ray.shutdown()


def _imported(*, is_local: bool) -> Any:
    os.environ.update(_REPORTS | (_LOOPBACK if is_local else {}))
    try:
        return importlib.import_module("ray")
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise InvalidLog("package_missing", "engine", 'is ray: pip install "banditd[ray]"') from None


def _gathered(ray: Any, remote: Any, tasks: Sequence[Task], *, at_once: int) -> Iterator[Partial]:
    """Return the results in order, with so many tasks under way at a time."""
    waiting = list(enumerate(tasks))[::-1]
    running: dict[Any, int] = {}
    results: dict[int, Partial] = {}
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                index, task = waiting.pop()
                running[remote.remote(task)] = index
            for done in ray.wait(list(running), num_returns=1)[0]:
                index = running.pop(done)  # before `get` raises: what is done must not be cancelled
                results[index] = ray.get(done)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, InvalidLog):
            raise error.cause from None
        raise
    finally:
        for reference in running:
            ray.cancel(reference, force=False)
    return iter([results[index] for index in range(len(tasks))])
