"""What every kind of test shares: a mark for the folder it lies in, and how long hypothesis searches."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

_TESTS = Path(__file__).parent
_KINDS = frozenset({"unit", "property", "contract", "fault", "e2e", "statistical"})

# No deadline: a shared machine pauses now and then, and a pause is not a counterexample. The same goes for slow input.
_SHARED = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", _SHARED, max_examples=25)
settings.register_profile("default", _SHARED, max_examples=100)
settings.register_profile("release", _SHARED, max_examples=2_000)
# `--hypothesis-profile=release` on the command line wins over this.
settings.load_profile("default")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test the mark of its folder, so that `-m unit` needs no mark by hand."""
    for item in items:
        kind = item.path.relative_to(_TESTS).parts[0]
        if kind in _KINDS:
            item.add_marker(kind)
