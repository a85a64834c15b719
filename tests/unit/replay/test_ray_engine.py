"""What the engine for Ray says before it needs a cluster; tests/e2e/test_ray.py has one."""

import pickle
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from replay.errors import InvalidLog
from replay.ray_engine import RayEngine


@pytest.mark.parametrize(
    ("given", "code"),
    [
        pytest.param({"workers": 0}, "workers_out_of_range", id="no-workers"),
        pytest.param({"address": "127.0.0.1:6379"}, "address_invalid", id="no-address"),
        pytest.param({"cut": "roughly"}, "cut_unknown", id="no-cut"),
    ],
)
def test_settings_that_cannot_be_are_refused(given: Mapping[str, Any], code: str) -> None:
    """A wrong setting is named at once, not after a cluster was started."""
    with pytest.raises(InvalidLog) as caught:
        RayEngine(**given)

    assert caught.value.code == code


def test_without_ray_the_engine_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the extra is not installed, the error says which command installs it, and nothing is to be reported."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    monkeypatch.setitem(sys.modules, "ray", None)

    with pytest.raises(InvalidLog, match=r'pip install "banditd\[ray\]"') as caught:
        RayEngine("auto")([])

    assert caught.value.code == "package_missing"


def test_an_error_comes_whole_from_another_process() -> None:
    """Code, field and sentence of an error survive being sent."""
    error = pickle.loads(pickle.dumps(InvalidLog("some_code", "a field", "must be otherwise")))  # noqa: S301 - our own

    assert (error.code, error.field, error.detail) == ("some_code", "a field", "must be otherwise")
    assert str(error) == "a field: must be otherwise"
