"""The interval of a difference: both policies on the same rows, so that what moves both moves neither."""

import numpy as np

from policies.protocol import FloatArray
from replay.intervals.auto import masses
from replay.intervals.interval import Interval, Limits
from replay.intervals.known import Known
from replay.intervals.likelihood import Cloud, least_mean
from replay.sums import PairedSums, Sums

__all__ = ["paired"]


def paired(sums: PairedSums, limits: Limits) -> Interval:
    """Return an interval for candidate − baseline by empirical likelihood.

    Both weights are controls with mean 1; a phantom row has the least or the largest weight of each, or of one of them
    and what the other goes with it, and the reward that is worst.
    """
    both = (sums.candidate, sums.baseline)
    span = (-limits.width, limits.width)
    if not sums.n or not all(each.n_weighted for each in both):
        return Interval(*span, "everything: no row speaks of both policies")
    if sums.squares == 0.0 and all(each.weight_min == each.weight_max for each in both):
        return Interval(sums.value, sums.value, "none: both policies are the same on every row")
    known = [Known.of(each, limits) for each in both]
    pulls = [masses(each, limits, reach) for each, reach in zip(both, known, strict=True)]
    # What the candidate lacks at one end, the baseline lacks at the other.
    mass = (max(pulls[0][0], pulls[1][1]), max(pulls[0][1], pulls[1][0]))
    varied = [each.weight_min < each.weight_max for each in both]
    pairs = _pairs(sums, known)
    ends = []
    for sign, each in ((1.0, mass[0]), (-1.0, mass[1])):
        cloud = Cloud.of(sums.moments, _columns(sign, varied))
        rows = _phantoms(sign, both, known, pairs)
        phantoms = [row[[True, *varied]] for row in rows]
        likeliest = min(phantoms, key=lambda row: cloud.with_row(row, each).misfit())
        ends.append(sign * least_mean(cloud, phantoms, likeliest, mass=each, alpha=limits.alpha, worst=-limits.width))
    words = f"paired empirical likelihood, phantom mass {mass[0]:.2g} and {mass[1]:.2g} at weights " + " and ".join(
        f"{each.weight:.4g} ({each.source})" for each in known
    )
    return Interval(ends[0], max(ends), words).within(*span)


def _columns(sign: float, varied: list[bool]) -> FloatArray:
    """Return x and the controls as combinations of (numerator, weight, base) of the candidate and of the baseline."""
    rows = np.array([[sign, 0, sign, -sign, 0, -sign], [0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0]], dtype=np.float64)
    result: FloatArray = rows[[True, *varied]]
    return result


def _phantoms(
    sign: float, both: tuple[Sums, Sums], known: list[Known], pairs: list[tuple[float, float]]
) -> list[FloatArray]:
    base = float(both[0].moments.mean[2] - both[1].moments.mean[2])
    # It is one row, with one reward, for both; what one knows of its reach the other must not forget.
    ends = (min(each.low for each in known), max(each.high for each in known))
    return [
        np.array([sign * (base + (min(w, known[0].used) - min(v, known[1].used)) * end), w, v])
        for w, v in pairs
        for end in ends
    ]


def _pairs(sums: PairedSums, known: list[Known]) -> list[tuple[float, float]]:
    """Return the weights that a row which did not come could have had: of the candidate and of the baseline.

    Where one follows from the other (two epsilons around the same choice), rows off their line cannot be: the
    controls would give a phantom there no weight, and the interval would hold as seldom as one without. So the ends of
    the line are among them.
    """
    ends = [
        (0.0, each.weight) if part.weight_min < part.weight_max else (part.weight_max,)
        for part, each in zip(sums.parts, known, strict=True)
    ]
    found = [(mine, other) for mine in ends[0] for other in ends[1]]
    columns = (1, 4)  # the weights among the six columns
    for mine, other in ((0, 1), (1, 0)):
        i, j = columns[mine], columns[other]
        square = float(sums.moments.comoment[i, i])
        slope = float(sums.moments.comoment[i, j]) / square if square > 0.0 else 0.0
        for weight in ends[mine]:
            partner = float(sums.moments.mean2[j] + slope * (weight - sums.moments.mean2[i]))
            pair = (weight, min(max(partner, ends[other][0]), ends[other][-1]))
            found.append(pair if mine == 0 else (pair[1], pair[0]))
    return found
