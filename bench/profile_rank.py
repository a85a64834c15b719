"""Run banditd in this process and say, by samples of CPU time, which lines it spends it on.

``python -m bench.profile_rank OUT serve --config FILE``. A timer of CPU time raises a signal at each tick of the
kernel (4 ms as a rule) that the process works; its handler notes the running line and the functions above it. A tracing
profiler would double the time of small functions and so point at the wrong ones. A call into C counts for the line
that makes it.
"""

import collections
import importlib
import itertools
import runpy
import signal
import sys
from pathlib import Path
from types import FrameType

__all__ = ["Samples"]

_INTERVAL_S = 0.001  # the kernel rounds it up to its tick
_SHOWN = 40


class Samples:
    """Counts of where the program was."""

    def __init__(self) -> None:
        self.n = 0
        self.lines: collections.Counter[str] = collections.Counter()
        self.functions: collections.Counter[str] = collections.Counter()

    def take(self, _signal: int, frame: FrameType | None) -> None:
        """Count one sample; fits `signal.signal`."""
        self.n += 1
        if frame is not None:
            self.lines[f"{_place(frame)}:{frame.f_lineno}"] += 1
        seen = set()
        while frame is not None:
            seen.add(f"{_place(frame)} {frame.f_code.co_qualname}")
            frame = frame.f_back
        self.functions.update(seen)

    def report(self) -> str:
        """Return two tables: functions with what they call, and lines by themselves, each as a share of all samples."""
        tables = (("functions, with what they call", self.functions), ("lines, by themselves", self.lines))
        return "\n".join(
            itertools.chain.from_iterable(
                (
                    f"{title} ({self.n} samples)",
                    *(f"{count / self.n:7.1%}  {place}" for place, count in table.most_common(_SHOWN)),
                )
                for title, table in tables
            )
        )


def _place(frame: FrameType) -> str:
    return "/".join(Path(frame.f_code.co_filename).parts[-3:])


def _main() -> None:
    out = Path(sys.argv[1])
    sys.argv = ["banditd", *sys.argv[2:]]
    importlib.import_module("banditd.cli")  # before the first sample: start-up is not what is asked about
    samples = Samples()
    signal.signal(signal.SIGPROF, samples.take)
    signal.setitimer(signal.ITIMER_PROF, _INTERVAL_S, _INTERVAL_S)
    try:
        runpy.run_module("banditd", run_name="__main__", alter_sys=True)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        out.write_text(samples.report())


if __name__ == "__main__":
    _main()
