"""The sampler says where a program was."""

import sys

from bench.profile_rank import Samples


def test_report_names_line_and_function() -> None:
    """A sample counts for its line and once for each function above it."""
    samples = Samples()

    def inner() -> None:
        samples.take(0, sys._getframe())

    inner()
    inner()
    functions, lines = samples.report().split("lines, by themselves")

    assert samples.n == 2
    assert "100.0%  unit/bench/test_profile_rank.py test_report_names_line_and_function" in functions
    assert lines.count("100.0%") == 1


def test_sample_outside_python() -> None:
    """A sample that no Python frame belongs to is counted without a place."""
    samples = Samples()

    samples.take(0, None)

    assert (samples.n, samples.lines, samples.functions) == (1, {}, {})
