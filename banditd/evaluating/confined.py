"""`python -m banditd.evaluating.confined`: a command of banditd that may take what nobody else wants.

It has the lowest priority, a bound on its memory and its files, and ends when the process that started it does.
"""

import contextlib
import os
import resource
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

__all__ = ["EXIT_MEMORY", "main"]

EXIT_MEMORY: Final = 3

_LOWEST_PRIORITY: Final = 19
_MIB: Final = 1_048_576
_VW_WITHOUT_MEMORY: Final = "Failed to allocate"
_FILE_MIB: Final = 256  # a report of a hundred policies has some 10


def main(arguments: Sequence[str]) -> int:
    """Run a command under bounds; return its exit code, or `EXIT_MEMORY` if they left it too little memory.

    Parameters
    ----------
    arguments
        MiB of memory, a file for the command's progress, then the command as the command line takes it.
    """
    memory_mib, progress, *command = arguments
    _stand_back()
    _bound(resource.RLIMIT_DATA, int(memory_mib))
    _bound(resource.RLIMIT_FSIZE, _FILE_MIB)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    descriptor = os.open(progress, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        from banditd.cli import main as run  # noqa: PLC0415 - libraries are loaded under the bounds, too

        return run([*command, f"--progress-fd={descriptor}"])
    except MemoryError:
        return EXIT_MEMORY
    except RuntimeError as error:
        if _VW_WITHOUT_MEMORY in str(error):
            return EXIT_MEMORY
        raise
    finally:
        os.close(descriptor)


def _stand_back() -> None:
    """Take the processor when nobody else does, and be the first to go if the machine's memory runs out."""
    os.nice(_LOWEST_PRIORITY)
    with contextlib.suppress(OSError):  # no Linux, or no /proc
        Path("/proc/self/oom_score_adj").write_text("1000")


def _bound(kind: int, mib: int) -> None:
    _, hard = resource.getrlimit(kind)
    wanted = mib * _MIB
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(kind, (limit, limit))


def _end_with_parent() -> None:
    """End as soon as standard input does: the parent holds its other end, and lets go of it however it ends."""
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
