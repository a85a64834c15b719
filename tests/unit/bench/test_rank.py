"""The arithmetic of the table."""

import pytest

from bench.rank import Cell, summarise


def _cell(
    server: str, *, rps: float, latencies_us: list[float], connections: int = 16, worker_us: float = 50.0
) -> Cell:
    return Cell(server, connections, rps, latencies_us, worker_us, children_us=worker_us / 2, load_us=12.0)


@pytest.fixture(name="cells")
def _cells() -> list[Cell]:
    return [
        _cell("bare", rps=1_000, latencies_us=[100.0, 200.0]),
        _cell("vw", rps=500, latencies_us=[200.0, 800.0], worker_us=100),
        _cell("vw", rps=9_999, latencies_us=[1.0], connections=64),
        _cell("bare", rps=2_000, latencies_us=[100.0, 100.0]),
        _cell("vw", rps=600, latencies_us=[200.0, 300.0], worker_us=120),
        _cell("bare", rps=1_000, latencies_us=[100.0, 400.0]),
        _cell("vw", rps=400, latencies_us=[400.0, 400.0], worker_us=140),
    ]


def test_ratios_are_taken_within_rounds(cells: list[Cell]) -> None:
    """The ratio is the median of 500/1000, 600/2000 and 400/1000, not the ratio of the medians."""
    row = summarise(cells, server="vw", connections=16)

    assert row["ratio_rounds"] == [0.5, 0.3, 0.4]
    assert row["ratio"] == 0.4
    assert row["p99_ratio"] == 3.0  # of 800/200, 300/100, 400/400
    assert row["cpu_ratio"] == 0.417  # of 50/100, 50/120, 50/140


def test_percentiles_are_over_all_rounds(cells: list[Cell]) -> None:
    """Percentiles are those of all the replies together: 200, 200, 300, 400, 400 and 800 µs."""
    row = summarise(cells, server="vw", connections=16)

    assert (row["p50_ms"], row["p99_ms"], row["p999_ms"], row["n"]) == (0.3, 0.8, 0.8, 6)


def test_rates_are_medians(cells: list[Cell]) -> None:
    """Rates and CPU times are medians over the rounds."""
    row = summarise(cells, server="vw", connections=16)

    assert (row["rps"], row["cpu_us"], row["journal_cpu_us"], row["load_cpu_us"]) == (500, 120.0, 60.0, 12.0)


def test_bare_is_one(cells: list[Cell]) -> None:
    """The bare handler's ratio to itself is 1."""
    assert summarise(cells, server="bare", connections=16)["ratio"] == 1.0


def test_a_missing_round_is_an_error(cells: list[Cell]) -> None:
    """A server without a bare run beside it in each round has no ratio."""
    with pytest.raises(ValueError, match="shorter"):
        summarise(cells[1:], server="vw", connections=16)
