"""What both commands take: which store, and from when until when."""

import argparse
import math
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from banditd.config import load_config
from banditd.evaluating.errors import OptionInvalid

__all__ = ["Progress", "StorePaths", "add_store", "find_store", "instant"]

_EVERY_S: Final = 0.2


class StorePaths:
    """Where a store and its keys lie."""

    def __init__(self, store: Path, keys: Path) -> None:
        self.store = store
        self.keys = keys


def add_store(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a store."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--config", type=Path, metavar="FILE", help="the server's TOML file; without it, the defaults")
    which.add_argument("--store", type=Path, metavar="PATH", help="the store's SQLite file, or a copy of it")
    parser.add_argument(
        "--since", metavar="T", help="decisions from here on: 2026-03-01, 2026-03-01T12:00Z or UTC seconds"
    )


def find_store(options: argparse.Namespace) -> StorePaths:
    """Return the store that the options name."""
    if options.store is not None:
        return StorePaths(options.store, Path(f"{options.store}.keys"))
    config = load_config(options.config, os.environ)
    if not config.store.url.startswith("sqlite:"):
        raise OptionInvalid("store_not_embedded", "only an embedded store (sqlite:) can be read", field="store.url")
    return StorePaths(config.store_path, config.keyring_path)


def instant(text: str | None, *, option: str, default: float) -> float:
    """Return UTC seconds.

    Parameters
    ----------
    text
        A date, a date with a time (UTC unless it says otherwise), or a number of seconds; None: the default.

    Raises
    ------
    OptionInvalid
        It is none of these.
    """
    if text is None:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if math.isfinite(seconds) and "-" not in text[1:]:
        return seconds
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        detail = f"must be a date, a date with a time, or UTC seconds, not {text!r}"
        raise OptionInvalid("invalid_time", detail, field=option) from None


class Progress:
    """One line on a terminal that says how far it is; nothing where standard error is no terminal.

    Parameters
    ----------
    what
        What is counted.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._shown = sys.stderr.isatty()
        self._next = 0.0
        self._width = 0

    def at(self, count: int, *, of: int = 0, now: str = "") -> None:
        """Say how many there were, of how many."""
        if not self._shown or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _EVERY_S
        share = f" of {of:,}" if of else ""
        self._write(f"{count:,}{share} {self._what}{f', {now}' if now else ''}")

    def done(self) -> None:
        """Take the line away."""
        if self._shown and self._width:
            sys.stderr.write(f"\r{' ' * self._width}\r")

    def _write(self, text: str) -> None:
        sys.stderr.write(f"\r{text.ljust(self._width)}")
        sys.stderr.flush()
        self._width = len(text)
