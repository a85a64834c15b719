"""Numbers and words as people read them, on a terminal and on a page alike."""

import math
from collections.abc import Iterator
from typing import Final

from replay.results import CandidateResult, Estimate

__all__ = ["GRADES", "OUTSIDE", "is_outside", "number", "remarks"]

GRADES: Final = {"green": "reliable", "amber": "with care", "red": "unreliable"}
OUTSIDE: Final = (
    "This value lies outside its interval: the interval is for what the policy earns, whatever the formula, and takes "
    "into account that the weights do not average 1 here. Go by the interval."
)

_DUST: Final = 1e-9  # relative; less than this apart is rounding
_SAID_BY_REFUSAL: Final = ("heavy_row", "low_ess", "no_weight")


def number(value: float, digits: int = 4) -> str:
    """Return a number as people read it: some significant digits, no exponent in the usual range."""
    if not math.isfinite(value):
        return "–"
    if value == 0.0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if -5 <= size <= 8:  # noqa: PLR2004 - beyond it the zeros would fill the column
        text = f"{value:,.{max(0, digits - 1 - size)}f}"
        return text.replace("-", "−")
    return f"{value:.{digits - 1}g}".replace("-", "−")


def is_outside(estimate: Estimate) -> bool:
    """Tell whether a value that is shown lies outside its own interval; docs/intervals.md says when that happens."""
    if estimate.refused:
        return False
    room = _DUST * max(abs(estimate.lower), abs(estimate.upper))
    return estimate.value < estimate.lower - room or estimate.value > estimate.upper + room


def remarks(result: CandidateResult) -> Iterator[tuple[str, bool]]:
    """Yield what is to be said of a candidate's figures, each with whether it is serious; why it was refused first."""
    reasons = list(dict.fromkeys(one.refused for one in result.estimates.values() if one.refused))
    yield from ((f"No estimate: {reason}.", True) for reason in reasons)
    for finding in result.findings:
        if not (reasons and finding.code in _SAID_BY_REFUSAL):
            yield finding.detail, finding.serious
