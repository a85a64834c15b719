"""A file that is there whole or not at all, packed or not; or standard output."""

import contextlib
import gzip
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, Literal, cast

from banditd.evaluating.errors import ExtrasMissing, OptionInvalid, OutputExists

__all__ = ["Compression", "opened", "replacing"]

Compression = Literal["none", "gzip", "zstd"]

_GZIP_LEVEL: Final = 6
_BUFFER_BYTES: Final = 1 << 20
_MODE: Final = 0o600  # contexts are somebody's data, as in the store


@contextlib.contextmanager
def replacing(target: Path, *, force: bool) -> Iterator[Path]:
    """Yield the path of a file to be written, which gets the name `target` at the end, if all went well.

    Raises
    ------
    OutputExists
        There is a file, and `force` was not asked for.
    OptionInvalid
        No file can be made there.
    """
    if target.exists() and not target.is_file():  # a device, a pipe, a folder: nothing that a file may replace
        raise OptionInvalid("output_unwritable", f"{target} is there, and is no file", field="--output")
    if target.exists() and not force:
        raise OutputExists("output_exists", f"{target} is there already: --force replaces it", field="--output")
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE))
    except OSError as error:
        raise _unwritable(target, error) from None
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        if force:
            temporary.replace(target)
        else:
            _name(temporary, target)
    except OSError as error:  # a full disk, mostly
        raise _unwritable(target, error) from None
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def opened(target: str, *, compression: Compression, force: bool) -> Iterator[IO[bytes]]:
    """Yield a stream to a file, or to standard output for ``"-"``."""
    if target == "-":
        try:
            with _packed(sys.stdout.buffer, compression) as stream:
                yield stream
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            _let_go_of_stdout()
            raise _unwritable("standard output", error) from None
        return
    with (
        replacing(Path(target), force=force) as path,
        path.open("wb", buffering=_BUFFER_BYTES) as file,
        _packed(file, compression) as stream,
    ):
        yield stream


@contextlib.contextmanager
def _packed(stream: IO[bytes], compression: Compression) -> Iterator[IO[bytes]]:
    if compression == "none":
        yield stream
    elif compression == "gzip":
        # No time and no name in it, so that the same export gives the same bytes.
        with gzip.GzipFile(filename="", mode="wb", compresslevel=_GZIP_LEVEL, fileobj=stream, mtime=0) as packed:
            yield cast("IO[bytes]", packed)
    else:
        try:
            import zstandard  # noqa: PLC0415 - of the extra `replay`, which nothing else here needs
        except ImportError:
            detail = "--compress zstd needs zstandard: pip install 'banditd[replay]'"
            raise ExtrasMissing("extras_missing", detail, field="--compress") from None
        with zstandard.ZstdCompressor().stream_writer(stream, closefd=False) as packed:
            yield packed


def _name(temporary: Path, target: Path) -> None:
    """Give the file its name; unlike a rename, this fails if somebody took it meanwhile."""
    try:
        target.hardlink_to(temporary)
    except FileExistsError:
        raise OutputExists("output_exists", f"{target} came meanwhile: --force replaces it", field="--output") from None
    except OSError:  # a file system without links: a rename is the best there is
        if target.exists():
            raise OutputExists(
                "output_exists", f"{target} came meanwhile: --force replaces it", field="--output"
            ) from None
        temporary.replace(target)


def _let_go_of_stdout() -> None:
    """Send what is still waiting nowhere: it has to go somewhere when the process ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _unwritable(target: object, error: OSError) -> OptionInvalid:
    return OptionInvalid(
        "output_unwritable", f"{target} cannot be written: {error.strerror or error}", field="--output"
    )
