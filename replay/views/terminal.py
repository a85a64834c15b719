"""An evaluation on a terminal."""

from collections.abc import Iterator, Mapping
from typing import Final

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from replay.results import CandidateResult, Estimate, Evaluation, Lift, Slice
from replay.views.slices import lift_estimator, side_by_side
from replay.views.text import GRADES, OUTSIDE, is_outside, number, remarks

__all__ = ["table_of"]

_STYLE: Final = {
    "better": "green",
    "worse": "red",
    "not enough data": "yellow",
    "green": "green",
    "amber": "yellow",
    "red": "red",
}
_MOST_SLICES: Final = 31  # of one kind: the days of a month; the page and the JSON have all


def table_of(evaluation: Evaluation) -> Iterator[Table | Text]:
    """Yield what to print, in order: the log in a line, the candidates, what is wrong, a table for each slicing."""
    health = evaluation.health
    dropped = ", ".join(f"{n:,} {reason.replace('_', ' ')}" for reason, n in health.dropped.items())
    yield Text(f"{health.events:,} decisions{f', left out: {dropped}' if dropped else ''}")
    yield _candidates(evaluation)
    if any(is_outside(one) for result in evaluation.policies.values() for one in result.estimates.values()):
        yield Text(f"* {OUTSIDE}", style="yellow")
    for finding in health.findings:
        yield Text(f"log: {finding.detail}", style="red" if finding.serious else "yellow")
    for result in evaluation.policies.values():
        for remark, serious in remarks(result):
            yield Text(f"{result.name}: {remark}", style="red" if serious else "yellow")
    for kind in evaluation.policies[evaluation.baseline].slices:
        yield from _sliced(evaluation, kind)


def _table(headings: Mapping[str, bool]) -> Table:
    """Return a table without rows; headings are to the right where they are said to."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading, to_the_right in headings.items():
        table.add_column(heading, justify="right" if to_the_right else "left", overflow="fold")
    return table


def _level(evaluation: Evaluation) -> str:
    return f"{100 * float(evaluation.settings.get('level', 0.95)):g} %"


def _candidates(evaluation: Evaluation) -> Table:
    table = _table(
        {
            "candidate": False,
            "estimator": False,
            "value": True,
            _level(evaluation): True,
            f"more than {evaluation.baseline}": True,
            "effective rows": True,
            "verdict": False,
        }
    )
    for result in evaluation.policies.values():
        for place, name in enumerate(result.estimates):
            table.add_row(*_row(result, name, is_first=place == 0))
    return table


def _row(result: CandidateResult, name: str, *, is_first: bool) -> Iterator[str | Text]:
    estimate = result.estimates[name]
    yield Text(result.name, style="bold") if is_first else ""
    yield escape(name)
    yield from _figures(estimate, result.lift if result.lift is not None and result.lift.estimator == name else None)
    yield _verdict(result) if is_first and result.lift is not None else ""


def _sliced(evaluation: Evaluation, kind: str) -> Iterator[Table | Text]:
    """Yield a table with a row for each slice and candidate, by the estimator that lifts are made by."""
    estimator = lift_estimator(evaluation)
    table = _table(
        {
            kind: False,
            "candidate": False,
            "rows": True,
            estimator: True,
            _level(evaluation): True,
            f"more than {evaluation.baseline}": True,
            "effective rows": True,
            "verdict": False,
        }
    )
    groups = side_by_side(evaluation, kind)
    for group in groups[:_MOST_SLICES]:
        for place, (name, part) in enumerate(group):
            slice_name = Text(part.name or "(none)", style="bold") if place == 0 else ""
            figures = _figures(part.estimates[estimator], part.lift)
            table.add_row(
                slice_name, Text(name), f"{part.diagnostics.n:,}", *figures, _verdict(part) if part.lift else ""
            )
    yield Text("")
    yield table
    if len(groups) > _MOST_SLICES:
        yield Text(f"and {len(groups) - _MOST_SLICES:,} more of {kind}: --report and --json have them all")


def _figures(estimate: Estimate, lift: Lift | None) -> Iterator[str | Text]:
    """Yield the cells of a value, its interval, a lift and the effective rows."""
    if estimate.refused:
        yield Text("refused", style="red")
        yield ""
        yield ""
    else:
        yield f"{number(estimate.value)}*" if is_outside(estimate) else number(estimate.value)
        yield f"{number(estimate.lower)} to {number(estimate.upper)}"
        yield "" if lift is None or lift.refused else _lift(lift)
    yield number(estimate.ess, 3)


def _lift(lift: Lift) -> str:
    return f"{number(lift.value)} ({number(lift.lower)} to {number(lift.upper)})"


def _verdict(result: CandidateResult | Slice) -> Text:
    return Text.assemble((result.verdict, _STYLE[result.verdict]), ", ", (GRADES[result.grade], _STYLE[result.grade]))
