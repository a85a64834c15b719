"""Frames on the journal's socket: a length, then one MessagePack value.

A client sends lists of commands; the server sends `Update`s. Answers come in the order of
the commands, so neither side needs numbers. The outcomes of an update were committed with
its answers or before, and come first.
"""

import struct
from typing import Final

import msgspec

from banditd.journal.commands import Answer, Command
from banditd.journal.protocol import OutcomeRow

__all__ = ["FRAME_BYTES_MAX", "FrameReader", "Update", "decode_commands", "decode_update", "frame"]

FRAME_BYTES_MAX: Final = 1 << 30  # a snapshot of a large model is one frame
_LENGTH: Final = struct.Struct(">I")


class Update(msgspec.Struct, frozen=True, array_like=True):
    """New outcomes of the store, then answers to the client's oldest open commands."""

    outcomes: list[OutcomeRow]
    answers: list[Answer]


_encode_into = msgspec.msgpack.Encoder().encode_into
decode_commands = msgspec.msgpack.Decoder(list[Command]).decode
decode_update = msgspec.msgpack.Decoder(Update).decode


def frame(value: object) -> bytearray:
    """Return `value` with its length before it."""
    whole = bytearray(_LENGTH.size)
    _encode_into(value, whole, _LENGTH.size)
    _LENGTH.pack_into(whole, 0, len(whole) - _LENGTH.size)
    return whole


class FrameReader:
    """Cuts a byte stream into frames; what is whole in one piece of it is not copied."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[memoryview]:
        """Return the frames that are whole now.

        Raises
        ------
        ValueError
            A length is larger than any frame may be: the stream is not one of ours.
        """
        if self._rest:
            self._rest += data
            if len(self._rest) < self._wanted():
                return []
            data, self._rest = bytes(self._rest), bytearray()
        buffer = memoryview(data)
        frames = []
        start = 0
        while len(buffer) - start >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(buffer, start)
            if size > FRAME_BYTES_MAX:
                raise ValueError(f"a frame of {size} bytes")
            end = start + _LENGTH.size + size
            if len(buffer) < end:
                break
            frames.append(buffer[start + _LENGTH.size : end])
            start = end
        self._rest += buffer[start:]
        return frames

    def _wanted(self) -> int:
        """Return how many bytes the frame at the front of the rest needs, its length included."""
        if len(self._rest) < _LENGTH.size:
            return _LENGTH.size
        return _LENGTH.size + int(_LENGTH.unpack_from(self._rest)[0])
