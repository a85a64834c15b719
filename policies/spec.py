"""What every policy's spec has: the settings that any policy takes, and how one is built from them."""

from dataclasses import dataclass
from typing import ClassVar

from policies.protocol import Policy
from policies.settings import check_range
from policies.wrapped import Floored, Windowed

__all__ = ["BaseSpec"]

_LONGEST_WINDOW = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseSpec:
    """Settings that every policy takes.

    Parameters
    ----------
    min_probability
        No action is played with less, as long as there are at most 1 ÷ it of them; beyond that, and from there
        on, all are played evenly. 0 to 1.
    window
        Learn from the last `window` to 2 × `window` outcomes alone; None: from all.

    Raises
    ------
    InvalidInput
        A setting is out of its range.
    """

    kind: ClassVar[str]

    min_probability: float = 0.0
    window: int | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_range("min_probability", self.min_probability, low=0.0, high=1.0)
        if self.window is not None:
            check_range("window", self.window, low=1, high=_LONGEST_WINDOW)

    def build(self) -> Policy:
        """Make the policy, as it is before any outcome."""
        policy = self.make() if self.window is None else Windowed(self, self.make, self.window)
        return Floored(policy, self.min_probability) if self.min_probability > 0.0 else policy

    def make(self) -> Policy:
        """Make the policy itself, which knows nothing of the settings above."""
        raise NotImplementedError
