"""`banditd export`: decisions with their rewards, written in a format that other tools read."""

import argparse
import contextlib
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final, Literal, Protocol

from banditd.errors import JournalCorrupt
from banditd.evaluating.dsjson import DsjsonEncoder
from banditd.evaluating.entries import Entry, Selection, read_entries
from banditd.evaluating.errors import OptionInvalid
from banditd.evaluating.journal_log import count_missing
from banditd.evaluating.jsonl import JsonlEncoder
from banditd.evaluating.options import Progress, add_store, find_store, instant
from banditd.evaluating.output import opened, replacing
from banditd.evaluating.parquet import feature_kinds, write_parquet
from banditd.evaluating.store import ReadStore
from policies.errors import InvalidInput

__all__ = ["add_arguments", "main"]

_SUFFIXES: Final = {"none": "", "gzip": ".gz", "zstd": ".zst"}


class _Encoder(Protocol):
    def encode(self, entry: Entry) -> bytes | None: ...


_ENCODERS: Final[dict[str, Callable[[], _Encoder]]] = {"dsjson": DsjsonEncoder, "jsonl": JsonlEncoder}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_store(parser)
    parser.add_argument("--until", metavar="T", help="decisions before this time")
    parser.add_argument("--segment", default="", metavar="S", help="of this segment alone")
    parser.add_argument(
        "--format", required=True, choices=("dsjson", "jsonl", "parquet"), help="docs/export.md says more"
    )
    parser.add_argument("--output", default="", metavar="FILE", help='where to; "-" is standard output')
    parser.add_argument("--compress", choices=("none", "gzip", "zstd"), default="none", help="pack what is written")
    parser.add_argument("--force", action="store_true", help="replace the file if it is there")


def main(options: argparse.Namespace) -> int:
    """Carry the command out; return its exit code."""
    selection = Selection(
        segment=options.segment,
        since=instant(options.since, option="--since", default=float("-inf")),
        until=instant(options.until, option="--until", default=float("inf")),
    )
    is_table = options.format == "parquet"
    if is_table and options.output == "-":
        raise OptionInvalid("not_a_stream", "a Parquet file cannot be streamed: name a file", field="--output")
    suffix = "" if is_table else _SUFFIXES[options.compress]
    target = options.output or f"banditd.{options.format}{suffix}"
    path_of_store = find_store(options).store
    if Path(target).exists() and path_of_store.exists() and Path(target).samefile(path_of_store):
        raise OptionInvalid("output_is_store", f"{target} is the store itself", field="--output")
    with ReadStore(path_of_store) as store, contextlib.closing(_Reading(store, selection)) as reading:
        if is_table:
            kinds = feature_kinds(reading.complete())
            with replacing(Path(target), force=options.force) as path:
                packing: Literal["gzip", "zstd"] = "gzip" if options.compress == "gzip" else "zstd"
                write_parquet(reading.complete, path, kinds=kinds, compression=packing)
        else:
            try:
                with opened(target, compression=options.compress, force=options.force) as stream:
                    _write(_ENCODERS[options.format](), reading, stream)
            except BrokenPipeError:  # whoever reads has enough, as `head` does
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left has to go somewhere
                return 0
        reading.report(target)
    return 0


class _Reading:
    """Passes decisions on, says how far it is, and counts what is written and what is left out."""

    def __init__(self, store: ReadStore, selection: Selection) -> None:
        self._store = store
        self._selection = selection
        self._progress = Progress("decisions")
        self.counts: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()

    def entries(self) -> Iterator[Entry]:
        """Yield all that are wanted."""
        self.counts.clear()
        self.left_out.clear()
        for number, entry in enumerate(read_entries(self._store, self._selection), 1):
            self._progress.at(number)
            self.counts.update(reward.status for reward in entry.rewards)
            yield entry
        self.left_out.update(count_missing(self._store, self._selection))

    def complete(self) -> Iterator[Entry]:
        """Yield those that have all of their outcomes."""
        for entry in self.entries():
            if entry.state == "complete":
                self.counts["written"] += 1
                yield entry
            else:
                self.left_out[entry.state] += 1

    def report(self, target: str) -> None:
        """Say on standard error what was written where."""
        self._progress.done()
        where = "standard output" if target == "-" else target
        left_out = ", ".join(f"{count} {reason}" for reason, count in sorted(self.left_out.items()))
        print(
            f"{self.counts['written']} decisions written to {where}{f'; left out: {left_out}' if left_out else ''}",
            file=sys.stderr,
        )

    def close(self) -> None:
        """Take the progress away."""
        self._progress.done()


def _write(encoder: _Encoder, reading: _Reading, stream: IO[bytes]) -> None:
    for entry in reading.entries():
        try:
            line: Any = encoder.encode(entry)
        except InvalidInput as error:
            detail = f"decision {entry.number} cannot be read: {error}; banditd verify says more"
            raise JournalCorrupt("unreadable_decision", detail) from None
        if line is None:
            reading.left_out[entry.state] += 1
        else:
            reading.counts["written"] += 1
            stream.write(line + b"\n")
