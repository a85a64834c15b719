"""The seam between candidates and the evaluation: a candidate plays along a log, block by block."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from policies.protocol import FloatArray
from replay.block import Block
from replay.rejection import Rejection
from replay.results import Finding

__all__ = ["Candidate", "Contradiction", "Need", "Played", "Recipe"]

Need = Literal["columns", "events", "places", "lines"]


class Contradiction(Exception):
    """Labels that were read quickly are not those that VW read: the log is to be read again, with care."""


@dataclass(frozen=True, slots=True)
class Played:
    """What a candidate would have done on a block.

    Attributes
    ----------
    target
        Shape (n_places,): the probability with which it would have chosen what the log chose.
    whole
        Its distribution over the eligible actions of each place, one after another, shape (sum of n_eligible,); None
        unless asked for, or if the candidate only knows of the action that was chosen.
    accepted
        Shape (n_events,): which events rejection sampling took; None without.
    """

    target: FloatArray
    whole: FloatArray | None = None
    accepted: Sequence[bool] | None = None


class Candidate(Protocol):
    """Something that can be asked what it would have done; it sees the blocks of a log in their order, each once."""

    def play(
        self, block: Block, *, whole: Literal["whole", "chosen"] = "chosen", rejection: Rejection | None = None
    ) -> Played:
        """Say what would have been played, from the state before each decision, and learn what was known by then.

        Parameters
        ----------
        whole
            Whether the whole distributions are wanted.
        rejection
            Only what it accepts is learned; started for the block's events. None: all is learned.
        """

    def freeze(self) -> None:
        """Learn no more from here on."""

    def findings(self) -> Sequence[Finding]:
        """Return what a reader should know of how it went."""


class Recipe(Protocol):
    """What a candidate is made from: a plain value that another process can be given."""

    @property
    def needs(self) -> Need:
        """What of the log it must be shown."""

    @property
    def learns(self) -> bool:
        """Whether it changes along the log."""

    @property
    def text(self) -> str:
        """What it is, for a report."""

    def build(self) -> Candidate:
        """Make the candidate, as it is before the first block."""
