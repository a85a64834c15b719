"""One thread for linear algebra and tables, so that CPU times compare."""

import os
import sys

__all__ = ["run_with_one_thread"]

_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "POLARS_MAX_THREADS",
)


def run_with_one_thread(module: str) -> None:
    """Begin the program again with one thread: the libraries read their variables when they are imported."""
    if any(os.environ.get(name) != "1" for name in _VARIABLES):
        sys.stdout.flush()
        os.environ.update(dict.fromkeys(_VARIABLES, "1"))
        os.execv(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]])  # noqa: S606 - itself
