"""An evaluation on a terminal."""

from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from replay.results import CandidateResult, Evaluation
from replay.views.page import number

__all__ = ["table_of"]

_STYLE = {
    "better": "green",
    "worse": "red",
    "not enough data": "yellow",
    "green": "green",
    "amber": "yellow",
    "red": "red",
}
_GRADES = {"green": "reliable", "amber": "with care", "red": "do not rely on it"}


def table_of(evaluation: Evaluation) -> Iterator[Table | Text]:
    """Yield what to print, in order: the log in a line, the candidates, what is wrong."""
    health = evaluation.health
    dropped = ", ".join(f"{n:,} {reason.replace('_', ' ')}" for reason, n in health.dropped.items())
    yield Text(f"{health.events:,} decisions{f', left out: {dropped}' if dropped else ''}")
    yield _candidates(evaluation)
    for finding in health.findings:
        yield Text(f"log: {finding.detail}", style="red" if finding.serious else "yellow")
    for result in evaluation.policies.values():
        for finding in result.findings:
            yield Text(f"{result.name}: {finding.detail}", style="red" if finding.serious else "yellow")


def _candidates(evaluation: Evaluation) -> Table:
    level = f"{100 * float(evaluation.settings.get('level', 0.95)):g} %"
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading, side in (
        ("candidate", "left"),
        ("estimator", "left"),
        ("value", "right"),
        (level, "right"),
        (f"more than {evaluation.baseline}", "right"),
        ("effective rows", "right"),
        ("verdict", "left"),
    ):
        table.add_column(heading, justify="right" if side == "right" else "left", overflow="fold")
    for result in evaluation.policies.values():
        for place, name in enumerate(result.estimates):
            table.add_row(*_row(result, name, is_first=place == 0))
    return table


def _row(result: CandidateResult, name: str, *, is_first: bool) -> Iterator[str | Text]:
    estimate = result.estimates[name]
    yield Text(result.name, style="bold") if is_first else ""
    yield escape(name)
    if estimate.refused:
        yield Text("refused", style="red")
        yield ""
    else:
        yield number(estimate.value)
        yield f"{number(estimate.lower)} to {number(estimate.upper)}"
    lift = result.lift if result.lift is not None and result.lift.estimator == name and not estimate.refused else None
    yield f"{number(lift.value)} ({number(lift.lower)} to {number(lift.upper)})" if lift else ""
    yield number(estimate.ess, 3)
    if is_first and result.lift is not None:
        yield Text.assemble(
            (result.verdict, _STYLE[result.verdict]), ", ", (_GRADES[result.grade], _STYLE[result.grade])
        )
    else:
        yield ""
