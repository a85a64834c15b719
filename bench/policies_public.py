"""Why the public `Workspace.predict` takes several times as long as the library needs.

Both parse, predict, read and finish the same. The public call also puts a Python `Example` around each line that
was parsed; here each part of that is timed by itself, on the lines of one request.
"""

from typing import Any

from vowpalwabbit import Example

from bench.policies_data import Shop
from bench.policies_timing import Cell, Times, interleave, median_us
from bench.policies_vw import RawCalls, request_text
from policies.vw import VwSpec

__all__ = ["bench_public"]

_ACTIONS = 50
_CALLS = 100


def bench_public(*, rounds: int) -> dict[str, Any]:
    """Print the table and return the figures: µs for each line of a request of 50 actions."""
    base = RawCalls(VwSpec().arguments())
    workspace = base.workspace
    [request] = Shop(seed=_ACTIONS).fresh(1, n_actions=_ACTIONS)
    text = request_text(*request.encoded())
    examples = workspace._parse(text)  # noqa: SLF001 - what `Workspace.parse` calls
    label_type = workspace.get_label_type()
    wrapped = [Example(workspace, each, None) for each in examples]

    def mark() -> None:
        for each in wrapped:
            each.setup_done = True
        if all(each.finished == False for each in wrapped):  # noqa: E712 - as the library has it
            for each in wrapped:
                each.finished = False

    cells = {
        "raw calls": lambda: base.predict(text),
        "public call": lambda: workspace.predict(text),
        "an Example around each line": lambda: [Example(workspace, each, None) for each in examples],
        "the same, told the label's type": lambda: [Example(workspace, each, label_type) for each in examples],
        "asking for the label's type": lambda: [workspace.get_label_type() for _ in examples],
        "marks on each Example": mark,
    }
    times = interleave([Cell(name, _ignoring(call), _CALLS) for name, call in cells.items()], rounds=rounds)
    workspace._finish_example_multi_ex(examples)  # noqa: SLF001 - they were parsed by hand
    return _report(times, n_lines=len(examples))


def _ignoring(call: Any) -> Any:
    return lambda _: call()


def _report(times: Times, *, n_lines: int) -> dict[str, Any]:
    print(f"\nwhy the public predict is slow: µs a line, {_ACTIONS} actions")
    figures = {name: round(median_us(times, name) / n_lines, 3) for name in times}
    for name, us in figures.items():
        print(f"{name:<34}{us:>8.2f}")
    return figures
