"""An evaluation as plots: what the report shows, and what a notebook asks for."""

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from replay.results import CandidateResult, Evaluation, Moment

__all__ = ["clips", "cumulative", "forest", "is_weighted", "learning", "plot", "weights"]

# Okabe & Ito's colours, which people of any colour vision can tell apart; the last is for what is refused.
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f6000", "#5e3c99")
_REFUSED: Final = "#9a9a9a"
_INK: Final = "#333333"
_WIDTH: Final = 9.0  # inches
_MOST_PANELS: Final = 12  # candidates: more make no page that anybody reads
_FEW_DECADES: Final = 1.5  # of a scale: powers of ten alone would leave it without numbers
_UNITS: Final = ((86_400.0, "days"), (3_600.0, "hours"), (60.0, "minutes"))  # seconds in each
_FOUR: Final = 4  # panels, which look better as two rows of two


def plot(evaluation: Evaluation) -> Figure:
    """Return the forest plot: each candidate's estimates, and what it earns more than the baseline."""
    return forest(evaluation)


def forest(evaluation: Evaluation) -> Figure:
    """Return estimates with their intervals on the left, lifts on the right, a band for each candidate."""
    results = list(evaluation.policies.values())
    rows = [(result, name) for result in results for name in result.estimates]
    figure = Figure(figsize=(_WIDTH, 1.1 + 0.24 * len(rows)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.6, 1.0))
    for place, (result, name) in enumerate(rows):
        estimate = result.estimates[name]
        colour = _REFUSED if estimate.refused else _colour(evaluation, result)
        _bar(left, place, (estimate.value, estimate.lower, estimate.upper), colour, refused=bool(estimate.refused))
        lift = result.lift
        if lift is not None and lift.estimator == name and not (estimate.refused or lift.refused):
            _bar(right, place, (lift.value, lift.lower, lift.upper), colour, refused=False)
    _bands(left, right, results)
    left.set_yticks(range(len(rows)), [f"{result.name}   {name}" for result, name in rows], fontsize=8)
    left.set_ylim(len(rows) - 0.5, -0.5)
    left.axvline(evaluation.health.reward_mean, color=_INK, linewidth=0.8, linestyle="--")
    right.axvline(0.0, color=_INK, linewidth=0.8, linestyle="--")
    left.set_xlabel("mean reward (dashed: what the log earned)")
    right.set_xlabel(f"more than {evaluation.baseline}, on the same rows")
    _finish(left, right)
    if not any(line.get_marker() == "o" for line in right.lines):
        right.set_xticks([])
        right.text(0.5, 0.5, "no lift can be told", transform=right.transAxes, ha="center", fontsize=8, color=_REFUSED)
    return figure


def cumulative(evaluation: Evaluation) -> Figure:
    """Return each candidate's estimate over the log with its confidence sequence: it may be read at any moment."""

    def draw(axes: Axes, result: CandidateResult, colour: str) -> None:
        x = _x_axis(axes, result.over_time)
        axes.fill_between(
            x,
            [moment.lower for moment in result.over_time],
            [moment.upper for moment in result.over_time],
            color=colour,
            alpha=0.18,
            linewidth=0,
        )
        axes.plot(x, [moment.value for moment in result.over_time], color=colour, linewidth=1.6)
        axes.axhline(evaluation.health.reward_mean, color=_INK, linewidth=0.8, linestyle="--")
        _zoom(axes, result.over_time)

    shown = [result for result in evaluation.policies.values() if result.over_time]
    return _panels(evaluation, shown, draw, share_y=False)


def learning(evaluation: Evaluation) -> Figure:
    """Return what each candidate earned between one moment and the next: for those that learn, the learning curve."""
    shown = [result for result in evaluation.policies.values() if result.over_time]
    smooth = {result.name: _smooth([moment.recent for moment in result.over_time]) for result in shown}
    ends = [value for values in smooth.values() for value in values if math.isfinite(value)]
    ends += [evaluation.health.reward_mean]
    room = 0.5 * (max(ends) - min(ends))

    def draw(axes: Axes, result: CandidateResult, colour: str) -> None:
        x = _x_axis(axes, result.over_time)
        axes.plot(x, [moment.recent for moment in result.over_time], color=colour, alpha=0.3, linewidth=0.8)
        axes.plot(x, smooth[result.name], color=colour, linewidth=1.6)
        axes.axhline(evaluation.health.reward_mean, color=_INK, linewidth=0.8, linestyle="--")
        if room > 0.0:  # single moments may lie far beyond: the curve decides the scale
            axes.set_ylim(min(ends) - room, max(ends) + room)

    return _panels(evaluation, shown, draw, share_y=True)


def is_weighted(result: CandidateResult) -> bool:
    """Tell whether any row weighs more or less than another: of what the log did itself there is nothing to show."""
    figures = result.diagnostics
    return not (figures.max_weight == 1.0 and math.isclose(figures.mean_weight, 1.0))


def weights(evaluation: Evaluation) -> Figure:
    """Return the histogram of each candidate's importance weights, both axes in powers of ten."""

    def draw(axes: Axes, result: CandidateResult, colour: str) -> None:
        bins = [one for one in result.weight_histogram if one.count and one.low > 0.0]
        axes.bar(
            [one.low for one in bins],
            [one.count for one in bins],
            width=[one.high - one.low for one in bins],
            align="edge",
            color=colour,
            linewidth=0,
        )
        axes.set_xscale("log")
        axes.set_yscale("log")
        _ticks(axes)
        axes.axvline(1.0, color=_INK, linewidth=0.8, linestyle="--")
        axes.set_xlabel(f"weight (0 on {result.diagnostics.share_zero:.1%} of the rows)", fontsize=8)

    shown = [result for result in evaluation.policies.values() if result.weight_histogram and is_weighted(result)]
    return _panels(evaluation, shown, draw, share_y=True)


def clips(evaluation: Evaluation) -> Figure:
    """Return the estimate by the weight that is clipped at: where it moves, clipping decides the answer."""

    def draw(axes: Axes, result: CandidateResult, colour: str) -> None:
        clip = [at for at, _ in result.clip_scan]
        estimates = [estimate for _, estimate in result.clip_scan]
        axes.fill_between(
            clip,
            [estimate.lower for estimate in estimates],
            [estimate.upper for estimate in estimates],
            color=colour,
            alpha=0.18,
            linewidth=0,
        )
        axes.plot(clip, [estimate.value for estimate in estimates], color=colour, marker="o", markersize=3)
        axes.set_xscale("log")
        _ticks(axes)
        axes.set_xlabel("clipped at a weight of", fontsize=8)
        axes.axhline(evaluation.health.reward_mean, color=_INK, linewidth=0.8, linestyle="--")

    shown = [result for result in evaluation.policies.values() if result.clip_scan and is_weighted(result)]
    return _panels(evaluation, shown, draw, share_y=False)


def _panels(
    evaluation: Evaluation,
    results: Sequence[CandidateResult],
    draw: Callable[[Axes, CandidateResult, str], None],
    *,
    share_y: bool,
) -> Figure:
    """Return a figure with a panel for each result, at most three in a row."""
    shown = results[:_MOST_PANELS]
    columns = 2 if len(shown) == _FOUR else min(3, max(1, len(shown)))
    rows = max(1, math.ceil(len(shown) / columns))
    figure = Figure(figsize=(_WIDTH, 2.4 * rows + 0.2), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=share_y)
    for place, axes in enumerate(grid.flat):
        if place >= len(shown):
            axes.set_axis_off()
            continue
        title = f"{shown[place].name} (refused)" if _is_refused(shown[place]) else shown[place].name
        axes.set_title(title, fontsize=9, color=_INK, loc="left")
        draw(axes, shown[place], _colour(evaluation, shown[place]))
        _finish(axes)
    return figure


def _colour(evaluation: Evaluation, result: CandidateResult) -> str:
    """Return a candidate's colour, which is the same in all figures."""
    if _is_refused(result):
        return _REFUSED
    return COLOURS[list(evaluation.policies).index(result.name) % len(COLOURS)]


def _is_refused(result: CandidateResult) -> bool:
    return all(estimate.refused for estimate in result.estimates.values())


def _bar(axes: Axes, place: int, ends: tuple[float, float, float], colour: str, *, refused: bool) -> None:
    value, lower, upper = ends
    if not math.isfinite(value):
        return
    if math.isfinite(lower) and math.isfinite(upper):
        axes.plot([lower, upper], [place, place], color=colour, linewidth=1.6, solid_capstyle="butt")
    axes.plot(
        [value], [place], marker="o", markersize=4.5, color=colour, markerfacecolor="white" if refused else colour
    )


def _bands(left: Axes, right: Axes, results: Sequence[CandidateResult]) -> None:
    """Shade every other candidate, so that a row's name and its lift are found across the page."""
    start = 0
    for place, result in enumerate(results):
        end = start + len(result.estimates)
        if place % 2 == 0:
            for axes in (left, right):
                axes.axhspan(start - 0.5, end - 0.5, color="#f2f4f7", linewidth=0, zorder=0)
        start = end


def _x_axis(axes: Axes, moments: Sequence[Moment]) -> list[float]:
    """Return where the moments stand: at their times if the log has them, else at their rows."""
    if all(math.isfinite(moment.at) for moment in moments) and moments[0].at < moments[-1].at:
        start = moments[0].at
        unit, name = next(
            ((size, name) for size, name in _UNITS if moments[-1].at - start >= 2.0 * size), (1.0, "seconds")
        )
        axes.set_xlabel(f"{name} since {datetime.fromtimestamp(start, tz=UTC):%Y-%m-%d %H:%M} UTC", fontsize=8)
        return [(moment.at - start) / unit for moment in moments]
    axes.set_xlabel("rows", fontsize=8)
    return [float(moment.n) for moment in moments]


def _ticks(axes: Axes) -> None:
    """Put numbers on a scale of powers so that it can be read, whether it spans ten powers or half of one."""
    low, high = axes.get_xlim()
    few = math.log10(high / low) < _FEW_DECADES
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _zoom(axes: Axes, moments: Sequence[Moment]) -> None:
    """Let the first few moments, whose bounds say nothing yet, not decide the scale."""
    settled = moments[len(moments) // 10 :]
    ends = [end for moment in settled for end in (moment.lower, moment.upper) if math.isfinite(end)]
    ends += [moment.value for moment in settled if math.isfinite(moment.value)]
    if ends and min(ends) < max(ends):
        margin = 0.05 * (max(ends) - min(ends))
        axes.set_ylim(min(ends) - margin, max(ends) + margin)


def _smooth(values: Sequence[float]) -> list[float]:
    """Return the mean of each value and those around it, a tenth of all to either side."""
    reach = max(1, len(values) // 10)
    result = []
    for place in range(len(values)):
        near = [v for v in values[max(0, place - reach) : place + reach + 1] if math.isfinite(v)]
        result.append(sum(near) / len(near) if near else math.nan)
    return result


def _finish(*many: Axes) -> None:
    for axes in many:
        axes.tick_params(labelsize=8, color=_INK, length=3)
        axes.grid(visible=True, axis="x", color="#e3e6ea", linewidth=0.6)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
