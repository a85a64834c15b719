"""A progress bar above a live table; plain lines where no terminal is."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

__all__ = ["Screen", "sparkline", "table"]

_LIVE_EVERY_S = 0.25
_PLAIN_EVERY_S = 3.0
_PLAIN_WIDTH = 120  # a pipe has no width; this holds every column of both scenes
_BARS = "▁▂▃▄▅▆▇█"


class Screen:
    """Show how far a scene is, as often as the output can bear.

    Parameters
    ----------
    unit
        What a round is, in the plural.
    rounds
        How many there are.
    """

    def __init__(self, unit: str, rounds: int, *, console: Console | None = None) -> None:
        self._console = console or Console()
        if not self._console.is_terminal:
            self._console.width = _PLAIN_WIDTH
        self._unit = unit
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=None), MofNCompleteColumn(),
            TimeElapsedColumn(), console=self._console, expand=True,
        )  # fmt: skip
        self._task = self._progress.add_task(unit, total=rounds)
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self._every_s = _LIVE_EVERY_S if self._live else _PLAIN_EVERY_S
        self._started_s = self._shown_s = time.monotonic()

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the screen was made."""
        return time.monotonic() - self._started_s

    @property
    def due(self) -> bool:
        """Whether it is time for the next `show`."""
        return time.monotonic() - self._shown_s >= self._every_s

    def say(self, text: str) -> None:
        """Print a paragraph above whatever is live."""
        self._console.print(text, highlight=False, soft_wrap=not self._console.is_terminal)

    def show(self, done: int, content: Table, *, plain: str) -> None:
        """Show the table after `done` rounds, or one line where no terminal is."""
        self._shown_s = time.monotonic()
        self._progress.update(self._task, completed=done)
        if self._live:
            self._live.update(Group(self._progress, content), refresh=True)
        else:
            self.say(f"{self.elapsed_s:5.0f} s  {done:>7,} {self._unit}   {plain}")

    def finish(self, done: int, content: Table) -> None:
        """Leave the table standing, if there is anything in it; nothing is live any more."""
        if not done:
            return
        if self._live:
            self.show(done, content, plain="")
            self._live.stop()
        else:
            self._console.print(content)


def table(*, left: Sequence[str], right: Sequence[str]) -> Table:
    """Return an empty table with columns of words on the left and of numbers on the right."""
    made = Table()
    for column in left:
        made.add_column(column, justify="left", no_wrap=True)
    for column in right:
        made.add_column(column, justify="right", no_wrap=True)
    return made


def sparkline(values: Sequence[float], *, width: int) -> str:
    """Draw values in [0, 1] as a row of `width` bars, each the last value of its share; blank where none is yet."""
    n = len(values)
    shown = values if n <= width else [values[(i + 1) * n // width - 1] for i in range(width)]
    return "".join(_BARS[min(int(value * len(_BARS)), len(_BARS) - 1)] for value in shown).ljust(width)
