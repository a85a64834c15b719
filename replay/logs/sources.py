"""The bytes of a log: which files it has, what they are packed with, and their lines, one at a time."""

import glob
import io
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

from replay.errors import InvalidLog
from replay.logs.unpacking import BUFFER_BYTES, BrokenPack, Resumed, unpacked

__all__ = ["LINE_LIMIT_BYTES", "STDIN", "Paths", "Source", "find_sources", "read_lines"]


STDIN = "-"
LINE_LIMIT_BYTES = 16 << 20  # a decision with 1,000 actions takes up to 1 MiB; more than this is no line of a log
_PEEK_BYTES = 64 << 10  # enough for the first line of nearly any log
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(slots=True)
class Source:
    """One file of a log, or standard input, unpacked by what its first bytes say.

    Parameters
    ----------
    path
        Of a file; ``"-"`` for standard input, which can be read once.
    """

    path: str
    _held: io.BufferedReader | None = field(default=None, repr=False)  # standard input after `peek`
    _first: bytes = field(default=b"", repr=False)
    _spent: bool = field(default=False, repr=False)

    def peek(self) -> bytes:
        """Return the first bytes, unpacked, at most 64 KiB, and leave them to be read.

        Raises
        ------
        InvalidLog
            As `open` does.
        """
        if self.path != STDIN:
            with self.open() as stream:
                return stream.read(_PEEK_BYTES).removeprefix(_BYTE_ORDER_MARK)
        if self._held is None:
            with self._told():
                stream = self._stdin()
                self._first = stream.read(_PEEK_BYTES)
                self._held = io.BufferedReader(Resumed(self._first, stream), BUFFER_BYTES)
        return self._first.removeprefix(_BYTE_ORDER_MARK)

    @contextmanager
    def open(self) -> Iterator[io.BufferedReader]:
        """Open it for reading from its beginning.

        Raises
        ------
        InvalidLog
            There is no such file, it cannot be read or unpacked (while it is being read, too), or standard input is
            wanted a second time.
        """
        with self._told():
            if self.path == STDIN:
                held, self._held = self._held or self._stdin(), None
                yield held
                return
            with io.BufferedReader(io.FileIO(self.path), BUFFER_BYTES) as raw, unpacked(raw) as stream:
                yield stream

    def _stdin(self) -> io.BufferedReader:
        if self._spent:
            detail = "standard input can be read once; save it to a file for what reads a log again"
            raise InvalidLog("log_read_twice", self.path, detail)
        self._spent = True
        # The descriptor stays open: it is not ours.
        return unpacked(io.BufferedReader(io.FileIO(sys.stdin.fileno(), closefd=False), BUFFER_BYTES))

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what goes wrong with a file into an error that names it."""
        try:
            yield
        except BrokenPack as error:
            raise InvalidLog("log_broken", self.path, f"cannot be unpacked: {error}") from error
        except OSError as error:
            raise InvalidLog("log_unreadable", self.path, f"cannot be read: {error.strerror or error}") from error


Paths = str | Path | Source | Sequence[str | Path | Source]


def find_sources(paths: Paths) -> tuple[Source, ...]:
    """Return the files of a log: each path in the order given, folders and patterns in the order of their names.

    Parameters
    ----------
    paths
        Files, folders (all files in them, at any depth, but for hidden ones), patterns such as
        ``"logs/2026-*.json.gz"``, or ``"-"``; a source stands for itself.

    Raises
    ------
    InvalidLog
        A path leads to nothing.
    """
    given = [paths] if isinstance(paths, str | Path | Source) else paths
    found: list[Source] = []
    for one in given:
        found.extend([one] if isinstance(one, Source) else map(Source, _expand(str(one))))
    if not found:
        raise InvalidLog("log_missing", "path", "no file was named")
    return tuple(found)


def read_lines(paths: Paths, *, dropped: Counter[str] | None = None) -> Iterator[bytes]:
    """Yield the lines of a log, file after file, without their line ends; blank lines are left out.

    Parameters
    ----------
    paths
        As for `find_sources`.
    dropped
        Where lines over 16 MiB are counted, as ``"line_too_long"``.

    Raises
    ------
    InvalidLog
        A file cannot be found, read or unpacked.
    """
    dropped = Counter() if dropped is None else dropped
    for source in find_sources(paths):
        with source.open() as stream:
            for line in _lines(stream, dropped):
                bare = line.rstrip(b"\r\n")
                if bare and not bare.isspace():
                    yield bare


def _expand(path: str) -> list[str]:
    if path == STDIN:
        return [path]
    if Path(path).is_dir():
        inside = [one for one in Path(path).rglob("*") if one.is_file() and not _hidden(one.relative_to(path))]
        names = sorted(str(one) for one in inside)
    elif Path(path).exists() or not glob.has_magic(path):
        return [path]  # opening it says what is wrong with it
    else:
        names = sorted(one for one in glob.glob(path, recursive=True) if Path(one).is_file())  # noqa: PTH207 - a pattern may be absolute, which Path.glob refuses
    if not names:
        raise InvalidLog("log_missing", path, "no file is there")
    return names


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _lines(stream: BinaryIO, dropped: Counter[str]) -> Iterator[bytes]:
    """Split at newlines, with a bound on how long a line may become in memory."""
    read = partial(stream.readline, LINE_LIMIT_BYTES)
    first = True
    for line in iter(read, b""):
        if len(line) == LINE_LIMIT_BYTES and not line.endswith(b"\n"):
            dropped["line_too_long"] += 1
            while (rest := read()) and not rest.endswith(b"\n"):
                pass
        else:
            yield line.removeprefix(_BYTE_ORDER_MARK) if first else line
        first = False
