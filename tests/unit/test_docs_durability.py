"""docs/durability.md names the test that holds each promise; every one of them exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs" / "durability.md").read_text())


@pytest.mark.parametrize(("file", "test"), NAMED, ids=[test for _, test in NAMED])
def test_a_promise_names_a_test_that_exists(file: str, test: str) -> None:
    """Each test that docs/durability.md points to is in the file that it says."""
    assert re.search(rf"^(async def|def|class) {test}\b", (ROOT / file).read_text(), re.MULTILINE)


def test_promises_are_found() -> None:
    """The document names tests in the form that this file looks for."""
    assert len(NAMED) > 20
