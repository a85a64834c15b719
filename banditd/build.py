"""What makes two runs of the same fold the same to the last bit."""

import platform
from functools import cache
from importlib.metadata import version

import numpy as np
from numpy.lib import introspect

__all__ = ["banditd_version", "build_id"]


@cache
def banditd_version() -> str:
    """Return banditd's own version."""
    return version("banditd")


@cache
def build_id() -> str:
    """Return a name for this banditd, VW, numpy and class of CPU.

    The class of CPU is the instruction set that numpy picked for `exp`, since a wider one may round otherwise.
    """
    targets = introspect.opt_func_info(func_name="^exp$", signature="float64")
    kernels = {kernel["current"] for signatures in targets.values() for kernel in signatures.values()}
    cpu = f"{platform.machine()}-{'+'.join(sorted(kernels)) or 'baseline'}".replace(" ", "")
    return f"banditd {banditd_version()}, vowpalwabbit {version('vowpalwabbit')}, numpy {np.__version__}, {cpu}"
