"""Frames on the journal's socket: a length, then one MessagePack value.

A client sends lists of commands; the server sends `Update`s. Answers come in the order of
the commands, so neither side needs numbers. The outcomes of an update were committed with
its answers or before, and come first. A decision with many slots may be large: of its outcomes
that come one after another, only the first has the body.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from banditd.journal.commands import Answer, Command, OutcomePage
from banditd.journal.protocol import OutcomeRow

__all__ = ["FRAME_BYTES_MAX", "FrameReader", "Update", "decode_commands", "decode_update", "frame", "packed", "split"]

FRAME_BYTES_MAX: Final = 1 << 30  # a snapshot of a large model is one frame
_LENGTH: Final = struct.Struct(">I")
_OUTCOMES_PER_UPDATE: Final = 256
_BODIES_PER_UPDATE: Final = 1 << 22  # bytes; one decision may be larger


class Update(msgspec.Struct, frozen=True, array_like=True):
    """New outcomes of the store, then answers to the client's oldest open commands."""

    outcomes: list[OutcomeRow]
    answers: list[Answer]


_encode_into = msgspec.msgpack.Encoder().encode_into
decode_commands = msgspec.msgpack.Decoder(list[Command]).decode
_decode_update = msgspec.msgpack.Decoder(Update).decode


def decode_update(body: bytes | memoryview) -> Update:
    """Return the update that a frame holds, every outcome with its body."""
    return _each_page(_decode_update(body), _with_bodies)


def packed(update: Update) -> Update:
    """Return an update as it is sent."""
    return _each_page(update, _without_repeats)


def split(outcomes: list[OutcomeRow]) -> list[list[OutcomeRow]]:
    """Return the outcomes in parts, each small enough for an update; one empty part if there is none."""
    parts: list[list[OutcomeRow]] = [[]]
    n_bytes = 0
    for row in outcomes:
        part = parts[-1]
        size = 0 if part and part[-1].event_id == row.event_id else len(row.body)
        if part and (len(part) == _OUTCOMES_PER_UPDATE or n_bytes + size > _BODIES_PER_UPDATE):
            parts.append(part := [])
            n_bytes, size = 0, len(row.body)
        part.append(row)
        n_bytes += size
    return parts


def _each_page(update: Update, change: Callable[[Sequence[OutcomeRow]], list[OutcomeRow]]) -> Update:
    outcomes = change(update.outcomes) if len(update.outcomes) > 1 else update.outcomes
    answers: list[Answer] = [
        OutcomePage(change(answer.rows)) if isinstance(answer, OutcomePage) else answer for answer in update.answers
    ]
    return Update(outcomes, answers)


def _without_repeats(rows: Sequence[OutcomeRow]) -> list[OutcomeRow]:
    return [
        msgspec.structs.replace(row, body=b"") if i and _has_body_of(row, rows[i - 1]) else row
        for i, row in enumerate(rows)
    ]


def _with_bodies(rows: Sequence[OutcomeRow]) -> list[OutcomeRow]:
    whole: list[OutcomeRow] = []
    for row in rows:
        is_repeat = whole and _has_body_of(row, whole[-1])
        whole.append(msgspec.structs.replace(row, body=whole[-1].body) if is_repeat else row)
    return whole


def _has_body_of(row: OutcomeRow, before: OutcomeRow) -> bool:
    return row.event_id == before.event_id and not (row.erased or before.erased)


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
