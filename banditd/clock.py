"""Time as a value that is passed in, so that a test runs hours in milliseconds."""

import time
from typing import Protocol

__all__ = ["Clock", "ManualClock", "SystemClock"]


class Clock(Protocol):
    """Where durations and timestamps come from."""

    def monotonic(self) -> float:
        """Return seconds from an unknown point, never backwards; for durations."""

    def wall(self) -> float:
        """Return UTC seconds since 1970; data for people, never compared."""


class SystemClock:
    """The machine's clocks."""

    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)


class ManualClock:
    """A clock that moves only when told to."""

    def __init__(self, *, monotonic: float = 0.0, wall: float = 1_700_000_000.0) -> None:
        self._monotonic = monotonic
        self._wall = wall

    def monotonic(self) -> float:
        """Return the seconds advanced so far, from the start given."""
        return self._monotonic

    def wall(self) -> float:
        """Return the UTC seconds that the test says it is."""
        return self._wall

    def advance(self, seconds: float) -> None:
        """Let both clocks run on by `seconds`."""
        self._monotonic += seconds
        self._wall += seconds

    def set_wall(self, wall: float) -> None:
        """Let the wall clock jump, as a person or NTP may make it."""
        self._wall = wall
