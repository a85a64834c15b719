"""`banditd verify`: fold the journal again, and hold every decision in it to what it says."""

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Final

import orjson

from banditd import logs
from banditd.build import build_id
from banditd.evaluating.entries import Selection
from banditd.evaluating.errors import OptionInvalid
from banditd.evaluating.findings import REASONS, Findings, Problem
from banditd.evaluating.options import Progress, add_store, find_store, instant
from banditd.evaluating.store import ReadStore
from banditd.evaluating.verification import NEAR, verify_store
from banditd.keys import Keyring

__all__ = ["add_arguments", "main"]

_WRONG: Final = 1
_STDERR: Final = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_store(parser)
    parser.add_argument("--lane", default="", metavar="L", help="decisions of this lane alone, as news/main")
    parser.add_argument("--keys", type=Path, metavar="FILE", help="the key file; by default that beside the store")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output instead of sentences")


def main(options: argparse.Namespace) -> int:
    """Carry the command out; return its exit code: 0, or 1 if something is not as it was."""
    # The descriptor and not `sys.stderr`: a caller in the same process may put another in its place, and log again.
    logs.configure(level="error", stream=open(_STDERR, "wb", buffering=0, closefd=False))  # noqa: SIM115 - stays open
    paths = find_store(options)
    selection = Selection(lane=options.lane, since=instant(options.since, option="--since", default=float("-inf")))
    keyring = _keyring(options.keys or paths.keys, must_be_there=options.keys is not None)
    progress = Progress("steps")
    steps: Counter[str] = Counter()

    def step(what: str) -> None:
        steps[what] += 1
        progress.at(sum(steps.values()), now=f"{steps[what]:,} {what}")

    with ReadStore(paths.store) as store:
        if options.lane and options.lane not in store.lanes:
            known = ", ".join(sorted(lane for lane in store.lanes if not lane.startswith("*/")))
            raise OptionInvalid("unknown_lane", f"there is no lane {options.lane!r}; there are {known}", field="--lane")
        try:
            findings = verify_store(store, selection, keyring=keyring, step=step)
        finally:
            progress.done()
    if options.json:
        sys.stdout.write(orjson.dumps({**findings.as_json(), "build": build_id()}).decode() + "\n")
    else:
        print("\n".join(_sentences(findings, paths.store)))
    return 0 if findings.is_right else _WRONG


def _keyring(path: Path, *, must_be_there: bool) -> Keyring | None:
    """Return the keys, which are never made here; None if there are none."""
    if path.exists():
        return Keyring.load_or_create(path)
    if must_be_there:
        raise OptionInvalid("keys_missing", f"there is no file {path}", field="--keys")
    return None


def _sentences(findings: Findings, store: Path) -> list[str]:
    lines = [
        _counted(findings, store),
    ]
    if findings.near:
        builds = "; ".join(sorted(findings.builds))
        lines.append(f"{findings.near} distributions are of another build, and were compared within {NEAR:g}: {builds}")
    if findings.draws_without_key:
        lines.append(f"{findings.draws_without_key} draws were not repeated: the key file with their key is not there")
    if findings.tombstones:
        lines.append(f"{findings.tombstones} outcomes were erased; their places in the chain are whole")
    lines += [f"{lane}: the kept log begins after outcome {seq}" for lane, seq in sorted(findings.bases.items())]
    lines += [
        f"{lane}: its policy keeps no snapshots, so the server folds its whole log at each start"
        for lane in sorted(findings.whole_folds)
    ]
    lines += [
        f"{count} decisions could not be compared: {REASONS[reason]}"
        for reason, count in sorted(findings.unchecked.items())
    ]
    if findings.is_right:
        return [*lines, "everything that was checked is as it was"]
    counts = ", ".join(f"{count} × {kind}" for kind, count in sorted(findings.kinds.items()))
    lines.append(f"NOT AS IT WAS: {counts}; the first decision that is not:")
    for problem in findings.problems:
        lines += _about(problem)
    return lines


def _counted(findings: Findings, store: Path) -> str:
    n_compared = findings.exact + findings.near
    return (
        f"{store}: {findings.decisions} decisions, {n_compared} distributions, "
        f"{findings.draws} draws and {findings.outcomes} outcomes checked"
    )


def _about(problem: Problem) -> list[str]:
    place = f"lane {problem.lane}, epoch {problem.epoch}, seq {problem.seq}"
    where = f"event {problem.event_id!r}, slot {problem.slot}, {place}"
    lines = [f"  {problem.kind}: {where}: {problem.detail}"]
    if problem.stored is not None:
        lines += [f"    stored  {problem.stored}", f"    played  {problem.played}"]
    return lines
