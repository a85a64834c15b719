"""The reader of what was stored."""

from typing import Final

from banditd.segments.reading import Reader
from policies.features import Limits

__all__ = ["log_reader"]

# What is in the log was within the limits of its day: today's must change nothing.
_NO_LIMITS: Final = Limits(depth=1_000, features=1_000_000, id_bytes=1_000_000, magnitude=1e30)


def log_reader() -> Reader:
    """Return a reader of stored contexts, actions and slots."""
    return Reader(_NO_LIMITS, actions=_NO_LIMITS.features)
