"""Reload: which keys differ, and which of them a running server takes over."""

import pytest

from banditd.config import check_exposure, diff_reload, load_config, merge_reload
from banditd.errors import ConfigError

SEGMENTS = "[{ name = 'a', when = 'user' }, { name = 'b' }, { name = 'c' }]"


@pytest.mark.parametrize(
    ("environ", "reloadable", "needs_restart"),
    [
        ({}, [], []),
        ({"BANDITD_SERVER_KEYS": "b"}, ["server.keys"], []),
        ({"BANDITD_LOG_LEVEL": "debug", "BANDITD_LOG_REQUESTS": "true"}, ["log.level", "log.requests"], []),
        ({"BANDITD_LIMITS_BATCH": "7"}, ["limits.batch"], []),
        ({"BANDITD_SERVER_HOST": "::1"}, [], ["server.host"]),
        ({"BANDITD_SERVER_PORT": "1"}, [], ["server.port"]),
        ({"BANDITD_SERVER_UDS": "x"}, [], ["server.uds"]),
        ({"BANDITD_SERVER_KEEPALIVE": "1s"}, [], ["server.keepalive"]),
        ({"BANDITD_STORE_KEEP": "1d", "BANDITD_STORE_QUEUE": "1"}, [], ["store.keep", "store.queue"]),
        ({"BANDITD_KEYS_FILE": "x"}, [], ["keys.file"]),
        ({"BANDITD_DEFAULT_POLICY": "{ kind = 'thompson' }"}, ["default.policy"], []),
        ({"BANDITD_DEFAULT_REWARD": "{ wait = '1h' }"}, ["default.reward"], []),
        (
            {"BANDITD_REWARD_WAIT": "1h", "BANDITD_SERVER_PORT": "1"},
            ["default.reward", "reward.wait", "segments.a.reward", "segments.b.reward", "segments.c.reward"],
            ["server.port"],
        ),
        ({"BANDITD_SEGMENTS": SEGMENTS.replace("'user'", "'context'")}, ["segments.a.when"], []),
        (
            {"BANDITD_SEGMENTS": SEGMENTS.replace("'b'", "'b', policy = { kind = 'thompson' }")},
            ["segments.b.policy"],
            [],
        ),
        ({"BANDITD_SEGMENTS": SEGMENTS.replace("'b'", "'d'")}, ["segments.b", "segments.d"], []),
        ({"BANDITD_SEGMENTS": "[]"}, ["segments.a", "segments.b", "segments.c"], []),
        (
            {"BANDITD_SEGMENTS": "[{ name = 'b' }, { name = 'a', when = 'user' }, { name = 'c' }]"},
            ["segments"],
            [],
        ),
    ],
)
def test_difference_is_told_by_path(environ: dict[str, str], reloadable: list[str], needs_restart: list[str]) -> None:
    """Each key that differs is named once, in the list of what becomes of it."""
    base = {"BANDITD_SERVER_KEYS": "a", "BANDITD_SEGMENTS": SEGMENTS}

    difference = diff_reload(load_config(None, base), load_config(None, {**base, **environ}))

    assert difference == (reloadable, needs_restart)


def test_default_written_out_is_no_difference() -> None:
    """A key that is set to what it was anyway has not changed."""
    explicit = {
        "BANDITD_REWARD_WAIT": "600s",
        "BANDITD_DEFAULT_POLICY": "{ kind = 'vw' }",
        "BANDITD_DEFAULT_REWARD": "{ default = 0 }",
    }

    assert diff_reload(load_config(None, {}), load_config(None, explicit)) == ([], [])


def test_what_needs_a_restart_stays_in_force() -> None:
    """After a reload the old host is still listened on, so it is the old host that must not be exposed."""
    old = load_config(None, {"BANDITD_SERVER_HOST": "0.0.0.0", "BANDITD_SERVER_KEYS": "sesame"})  # noqa: S104 - the point
    new = load_config(None, {"BANDITD_STORE_KEEP": "1h", "BANDITD_LIMITS_ACTIONS": "7"})

    merged = merge_reload(old, new)

    assert (merged.server.host, merged.server.keys) == ("0.0.0.0", ())  # noqa: S104 - as above
    assert (merged.store, merged.limits) == (old.store, new.limits)
    with pytest.raises(ConfigError, match="no API key"):
        check_exposure(merged)
