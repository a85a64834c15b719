"""The bench of the policies as a program."""

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from bench.peers import is_installed
from bench.policies_family import SPECS
from policies import KINDS, parse_spec

ROOT = Path(__file__).parents[3]


def test_last_line_is_json() -> None:
    """The last line of a run is one JSON object, whose ratios are those between the costs that it states."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.policies", "--part", "vw", "--rounds", "1"],
        check=True,
        capture_output=True,
        cwd=ROOT,
        timeout=100,
    )
    figures = orjson.loads(done.stdout.splitlines()[-1])

    assert figures["bench"] == "policies"
    assert list(figures["vw"]) == ["10", "50", "200"]
    for each in figures["vw"].values():
        assert each["ratio_to_vw"] == pytest.approx(each["us"] / each["us_vw"], abs=0.01)
        assert each["ratio_public"] == pytest.approx(each["us_public"] / each["us_vw"], abs=0.01)
        assert each["us_cached"] < each["us"]


def test_every_kind_is_timed() -> None:
    """No kind of policy is left out of the table."""
    assert {parse_spec(spec).kind for spec in SPECS.values()} == set(KINDS)


@pytest.mark.parametrize(("library", "there"), [("numpy", True), ("no_such_library", False)])
def test_libraries_that_are_missing_are_noticed(library: str, there: bool) -> None:  # noqa: FBT001 - a column of the table
    """A library is compared with only if it is installed."""
    assert is_installed(library) is there
