"""Frames on the journal's socket come out as they went in, however the stream is cut."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from banditd.journal.wire import FRAME_BYTES_MAX, FrameReader, frame


@given(st.lists(st.binary(max_size=300), max_size=8), st.lists(st.integers(0, 2_500), max_size=8))
def test_a_stream_cut_anywhere_gives_the_same_frames(values: list[bytes], cuts: list[int]) -> None:
    """Frames survive any cut of the stream, within a length or a body."""
    stream = b"".join(frame(value) for value in values)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    reader = FrameReader()

    found = [
        msgspec.msgpack.decode(body)
        for start, end in itertools.pairwise(edges)
        for body in reader.feed(stream[start:end])
    ]

    assert found == values


def test_an_impossible_length_is_refused() -> None:
    """A stream that is not ours is noticed, not waited for."""
    with pytest.raises(ValueError, match="a frame of"):
        FrameReader().feed((FRAME_BYTES_MAX + 1).to_bytes(4))
