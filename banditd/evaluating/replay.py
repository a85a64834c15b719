"""`banditd replay`: what other policies would have earned on a log, and how sure that is."""

import argparse
import importlib.util
import os
import sys
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson

import replay
from banditd.evaluating.asking import EXTRA
from banditd.evaluating.entries import Selection
from banditd.evaluating.errors import ExtrasMissing, OptionInvalid, OutputExists
from banditd.evaluating.options import find_store, instant
from banditd.evaluating.output import opened
from banditd.evaluating.replay_options import add_arguments
from replay.errors import InvalidLog
from replay.gate import Requirement, parse_requirement

__all__ = ["EXIT_NOT_MET", "add_arguments", "main"]

EXIT_NOT_MET: Final = 1  # a requirement; a pipeline tells it from 2, which is a mistake in the command

_SQLITE_MAGIC: Final = b"SQLite format 3\0"

_WIDTH: Final = 140  # characters, where the output is no terminal that has a width
_EVERY: Final = 1_000  # events between two lines of progress for a program


def main(options: argparse.Namespace) -> int:
    """Carry the command out; return its exit code: 1 if a requirement is not met."""
    _need_extra()
    _check_outputs(options)
    try:
        requirements = [parse_requirement(text) for text in options.require]
        evaluation, sweep = _evaluated(options)
        _need_decisions(evaluation)
        failures = [failure for one in requirements for failure in one.failures(evaluation)]
    except InvalidLog as error:
        raise OptionInvalid(error.code, error.detail, field=error.field) from None
    _write(options, evaluation, sweep)
    _show(evaluation, sweep, to_stderr=options.json == "-")
    return _gate(requirements, failures)


def _need_extra() -> None:
    missing = [name for name in EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        detail = f"{missing[0]} is not installed: pip install 'banditd[replay]'"
        raise ExtrasMissing("extras_missing", detail)


def _check_outputs(options: argparse.Namespace) -> None:
    """Refuse what could not be written, before minutes of work rather than after them."""
    for option, given in (("--report", options.report), ("--json", options.json)):
        if not given or given == "-":
            continue
        if Path(given).exists() and not options.force:
            raise OutputExists("output_exists", f"{given} is there already: --force replaces it", field=option)
        if not Path(given).parent.is_dir():
            detail = f"{given} cannot be written: there is no folder {Path(given).parent}"
            raise OptionInvalid("output_unwritable", detail, field=option)


def _evaluated(options: argparse.Namespace) -> tuple[Any, Any]:
    """Return the `Evaluation`, and the `Sweep` that it confirms, if there was one."""
    names = [name.strip() for given in options.estimator for name in given.split(",") if name.strip()]
    common: dict[str, Any] = {
        "estimators": names or None,
        "reward_model": options.reward_model,
        "reward_range": _range(options.reward_range),
        "interval": options.interval,
        "level": options.level,
        "per_segment": options.per_segment,
        "workers": options.workers,
        "baseline": options.baseline,
    }
    if options.split is not None:
        common["split"] = options.split
    if options.engine == "ray":
        from replay.ray_engine import RayEngine  # noqa: PLC0415 - only with the extra `ray`

        common["engine"] = RayEngine(options.ray_address, workers=options.workers, cut=options.ray_cut)
    policies = _policies(options.policy)
    log = _log(options)
    with _progress(options) as progress:
        if options.grid:
            _check_grid(options)
            for table in options.grid:
                policies |= _expanded(table)
            swept = replay.sweep(log, policies, progress=progress, **common)
            return swept.confirmed, swept
        evaluation = replay.evaluate(
            log,
            policies,
            question=options.question,
            by=[name.strip() for given in options.by for name in given.split(",")],
            clip=options.clip,
            tau=options.tau,
            lam=options.lam,
            seed=options.seed,
            progress=progress,
            **common,
        )
        return evaluation, None


def _need_decisions(evaluation: Any) -> None:
    """Refuse a log of which nothing could be used: whatever is asked of it, there is no answer."""
    health = evaluation.health
    if not health.events:
        dropped = ", ".join(f"{n:,} {reason.replace('_', ' ')}" for reason, n in health.dropped.items())
        detail = f"holds no decision that can be evaluated{f' (left out: {dropped})' if dropped else ''}"
        raise OptionInvalid("no_decisions", detail, field="LOG")


def _check_grid(options: argparse.Namespace) -> None:
    """Refuse what a sweep cannot do, in the place of leaving it out in silence."""
    plain: dict[str, Any] = {"question": "progressive", "by": [], "clip": None, "tau": None, "lam": None, "seed": 0}
    for name, default in plain.items():
        if getattr(options, name) != default:
            detail = "has no place beside --grid, which compares what learns as it learns"
            raise OptionInvalid("grid_option_unused", detail, field=f"--{name}")


def _expanded(text: str) -> dict[str, Any]:
    """Return the candidates of a grid: an inline table, or a file with one."""
    try:
        written = f"grid = {text}" if text.lstrip().startswith("{") else Path(text).read_text("utf-8")
        table = tomllib.loads(written)
    except OSError as error:
        raise OptionInvalid("file_unreadable", f"{text} cannot be read: {error.strerror}", field="--grid") from None
    except ValueError as error:
        raise OptionInvalid("bad_table", f"is no TOML table: {error}", field="--grid") from None
    inner = table.get("grid", table)
    if not isinstance(inner, dict) or "kind" not in inner:
        raise OptionInvalid("bad_table", "must be a table with a kind and lists of settings", field="--grid")
    return dict(replay.expand(inner))


def _log(options: argparse.Namespace) -> Any:
    """Open what the command names: files, or the journal of a store."""
    from banditd.evaluating.journal_log import JournalLog  # noqa: PLC0415 - only with the extra

    chosen = (options.segment, options.since, options.until)
    if options.log and not (len(options.log) == 1 and _is_store(Path(options.log[0]))):
        if any(chosen) or options.config or options.store:
            detail = "--config, --store, --segment, --since and --until are for a store, and LOG is none"
            raise OptionInvalid("store_option_unused", detail, field="LOG")
        return replay.open_log(options.log, format=options.format, mapping=_mapping(options.mapping))
    selection = Selection(
        segment=options.segment,
        since=instant(options.since, option="--since", default=float("-inf")),
        until=instant(options.until, option="--until", default=float("inf")),
    )
    path = Path(options.log[0]) if options.log else find_store(options).store
    return JournalLog(path, selection)


def _is_store(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE_MAGIC)) == _SQLITE_MAGIC
    except OSError:
        return False


def _mapping(given: str | None) -> Path | str | None:
    return Path(given) if given is not None and "=" not in given else given


def _policies(given: Sequence[str]) -> dict[str, str]:
    policies: dict[str, str] = {}
    for text in given:
        name, equals, spec = text.partition("=")
        if not equals or not name.strip() or not spec.strip():
            raise OptionInvalid("invalid_policy", f"must be NAME=SPEC, not {text!r}", field="--policy")
        if name.strip() in policies:
            raise OptionInvalid("name_taken", f"{name.strip()!r} is given twice", field="--policy")
        policies[name.strip()] = spec.strip()
    return policies


def _range(given: str | None) -> tuple[float, float] | None:
    if given is None:
        return None
    try:
        low, high = (float(part) for part in given.split(","))
    except ValueError:
        raise OptionInvalid("invalid_range", f"must be LOW,HIGH, not {given!r}", field="--reward-range") from None
    return low, high


@contextmanager
def _progress(options: argparse.Namespace) -> Iterator[Any]:
    """Yield what is called with the number of events so far: a bar on a terminal, lines for a program, or nothing."""
    if options.progress_fd is not None:
        yield _Lines(options.progress_fd)
    elif not sys.stderr.isatty():
        yield None
    else:
        from rich.console import Console  # noqa: PLC0415 - only with the extra
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - see above

        columns = (TextColumn("{task.completed:,.0f} decisions"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("replay", total=None)
            yield lambda n: bar.update(task, completed=n)


class _Lines:
    """Writes a JSON line to a file descriptor now and then."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._next = 0

    def __call__(self, n_events: int) -> None:
        if n_events >= self._next:
            self._next = n_events + _EVERY
            os.write(self._descriptor, orjson.dumps({"events": n_events}) + b"\n")


def _write(options: argparse.Namespace, evaluation: Any, sweep: Any) -> None:
    from replay.views import to_plain  # noqa: PLC0415 - only with the extra

    if options.report:
        with opened(options.report, compression="none", force=options.force) as stream:
            stream.write(evaluation.to_html().encode())
    if options.json:
        plain = to_plain(evaluation)
        if sweep is not None:
            plain["sweep"] = {"winner": sweep.winner, "n_tried": sweep.n_tried, "compared": to_plain(sweep.compared)}
        with opened(options.json, compression="none", force=options.force) as stream:
            stream.write(orjson.dumps(plain, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def _show(evaluation: Any, sweep: Any, *, to_stderr: bool) -> None:
    """Print the tables for people."""
    from rich.console import Console  # noqa: PLC0415 - only with the extra
    from rich.text import Text  # noqa: PLC0415 - see above

    from replay.views.terminal import table_of  # noqa: PLC0415 - see above

    console = Console(stderr=to_stderr)
    if not console.is_terminal:
        console.width = _WIDTH
    if sweep is not None:
        console.print(
            f"The first part of the log, on which {sweep.n_tried} were compared: the best of many looks too good."
        )
        for part in table_of(sweep.compared):
            console.print(part, soft_wrap=isinstance(part, Text) and not console.is_terminal)
        console.print("\nThe rest, which had no part in the choice:")
    for part in table_of(evaluation):
        console.print(part, soft_wrap=isinstance(part, Text) and not console.is_terminal)


def _gate(requirements: Sequence[Requirement], failures: Sequence[str]) -> int:
    for failure in failures:
        print(f"not met: {failure}", file=sys.stderr)
    if requirements and not failures:
        print("the requirement is met" if len(requirements) == 1 else "all requirements are met", file=sys.stderr)
    return EXIT_NOT_MET if failures else 0
