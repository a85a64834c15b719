"""Streams of packed files, told apart by their first bytes and unpacked a little at a time."""

import gzip
import io
import zlib
from typing import IO, Any

from replay.errors import InvalidLog

__all__ = ["BUFFER_BYTES", "BrokenPack", "Resumed", "unpacked"]

BUFFER_BYTES = 1 << 20  # fewer, larger reads are what makes gzip fast
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
# What is unpacked at once: a file made to do harm can turn each 4 bytes into 128 KiB, so 2 KiB make 64 MiB at most.
_ZSTD_STEP_BYTES = 2 << 10


class BrokenPack(OSError):
    """A packed file ends too early or holds what cannot be unpacked."""


def unpacked(raw: "io.BufferedReader[Any]") -> "io.BufferedReader[Any]":
    """Return a stream of what is inside: of gzip or zstd (several members or frames, too), or of the bytes as they are.

    Reading from it raises `BrokenPack` where the file is damaged.
    """
    first = raw.peek(len(_ZSTD_MAGIC))
    if first.startswith(_GZIP_MAGIC):
        return io.BufferedReader(_Gzip(raw), BUFFER_BYTES)
    if first.startswith(_ZSTD_MAGIC):
        return io.BufferedReader(_Zstd(raw), BUFFER_BYTES)
    return raw


class Resumed(io.RawIOBase):
    """A stream from its beginning again, of which the first bytes have been read already.

    Parameters
    ----------
    first
        What was read.
    rest
        The stream.
    """

    def __init__(self, first: bytes, rest: io.BufferedReader) -> None:
        self._first = memoryview(first)
        self._rest = rest

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer; 0 at the end."""
        if not self._first:
            return self._rest.readinto(buffer)
        n = min(len(buffer), len(self._first))
        buffer[:n] = self._first[:n]
        self._first = self._first[n:]
        return n


class _Gzip(io.RawIOBase):
    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._file = gzip.GzipFile(fileobj=raw, mode="rb")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            return self._file.readinto(buffer)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise BrokenPack(str(error)) from error

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Zstd(io.RawIOBase):
    """What zstandard's own reader does not do: notice that a file ends in the middle of a frame."""

    def __init__(self, raw: IO[bytes]) -> None:
        try:
            import zstandard  # noqa: PLC0415 - only logs packed with it need the package
        except ImportError as error:
            raise InvalidLog("package_missing", "log", 'is packed with zstd: pip install "banditd[replay]"') from error

        self._raw = raw
        self._new = zstandard.ZstdDecompressor().decompressobj
        self._error = zstandard.ZstdError
        self._frame: Any = None
        self._packed = b""
        self._plain = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._plain:
            self._packed = self._packed or self._raw.read(_ZSTD_STEP_BYTES)
            if not self._packed:
                if self._frame is not None:
                    raise BrokenPack("it ends in the middle of a frame")
                return 0
            self._step()
        n = min(len(buffer), len(self._plain))
        buffer[:n] = self._plain[:n]
        self._plain = self._plain[n:]
        return n

    def _step(self) -> None:
        self._frame = self._frame or self._new()
        try:
            self._plain = memoryview(self._frame.decompress(self._packed))
        except self._error as error:
            raise BrokenPack(str(error)) from error
        self._packed = b""
        if self._frame.eof:
            self._packed, self._frame = self._frame.unused_data, None

    def close(self) -> None:
        self._raw.close()
        super().close()
