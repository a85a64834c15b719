"""The environment and the command line: what overrides what, and how a value is read."""

from pathlib import Path
from typing import Any

import pytest

from banditd.config import Config, load_config
from banditd.errors import ConfigError
from policies.thompson import ThompsonSpec


def value_at(config: Config, path: str) -> Any:
    """Return an attribute of an attribute."""
    table, _, name = path.partition(".")
    return getattr(getattr(config, table), name)


@pytest.mark.parametrize(
    ("variable", "text", "path", "value"),
    [
        ("BANDITD_SERVER_PORT", "9000", "server.port", 9000),
        ("BANDITD_SERVER_INSECURE", "true", "server.insecure", True),
        ("BANDITD_SERVER_HOST", "::1", "server.host", "::1"),
        ("BANDITD_SERVER_UDS", "1979-05-27", "server.uds", "1979-05-27"),
        ("BANDITD_SERVER_UDS", "7", "server.uds", "7"),
        ("BANDITD_SERVER_UDS", "''", "server.uds", ""),
        ("BANDITD_SERVER_UDS", "", "server.uds", ""),
        ("BANDITD_SERVER_KEYS", '["a", "b"]', "server.keys", ("a", "b")),
        ("BANDITD_SERVER_KEYS", "a, b,", "server.keys", ("a", "b")),
        ("BANDITD_SERVER_KEYS", '"a"', "server.keys", ("a",)),
        ("BANDITD_SERVER_KEYS", "123", "server.keys", ("123",)),
        ("BANDITD_SERVER_KEYS", "", "server.keys", ()),
        ("BANDITD_SERVER_BODY_TIMEOUT", "1.5", "server.body_timeout_s", 1.5),
        ("BANDITD_STORE_URL", "sqlite:/x/y.db", "store.url", "sqlite:/x/y.db"),
        ("BANDITD_STORE_SNAPSHOT_EVERY", "1_000", "store.snapshot_every", 1_000),
        ("BANDITD_REWARD_WAIT", "48h", "reward.wait_s", 172_800.0),
        ("BANDITD_LIMITS_NUMBER", "1e6", "limits.number", 1e6),
        ("BANDITD_LOG_LEVEL", "error", "log.level", "error"),
        ("BANDITD_KEYS_FILE", "/run/keys", "keys.file", "/run/keys"),
    ],
)
def test_variable_sets_its_key(variable: str, text: str, path: str, value: object) -> None:
    """A variable is read as TOML where that fits its key, and as plain text otherwise."""
    assert value_at(load_config(None, {variable: text}), path) == value


def test_variables_set_policies_and_segments() -> None:
    """Tables and arrays of tables are written as TOML."""
    config = load_config(
        None,
        {
            "BANDITD_DEFAULT_POLICY": '{ kind = "thompson" }',
            "BANDITD_SEGMENTS": '[{ name = "m", policy = { kind = "thompson" }, when = "user" }]',
        },
    )

    assert [(segment.name, segment.policy) for segment in config.segments] == [
        ("m", ThompsonSpec()),
        ("default", ThompsonSpec()),
    ]


def test_command_line_wins_over_environment_wins_over_file(tmp_path: Path) -> None:
    """Each source overrides single keys of the ones before it."""
    file = tmp_path / "banditd.toml"
    file.write_text("[server]\nhost = '127.0.0.2'\nport = 1\n[log]\nlevel = 'error'")

    config = load_config(
        file, {"BANDITD_SERVER_PORT": "2", "BANDITD_SERVER_HOST": "127.0.0.3"}, options={"server.port": 3}
    )

    assert (config.server.host, config.server.port, config.log.level) == ("127.0.0.3", 3, "error")


def test_default_reward_of_the_environment_reaches_segments() -> None:
    """`[reward]` is inherited from wherever it is set."""
    config = load_config(None, {"BANDITD_REWARD_WAIT": "1h", "BANDITD_SEGMENTS": '[{ name = "m" }]'})

    assert [segment.reward.wait_s for segment in config.segments] == [3_600.0, 3_600.0]


@pytest.mark.parametrize(
    ("variable", "text", "field"),
    [
        ("BANDITD_SERVER_PORT", "eighty", "server.port"),
        ("BANDITD_SERVER_PORT", "1\nhost = '0.0.0.0'", "server.port"),
        ("BANDITD_SERVER_KEYS", '["a", "b c"]', "server.keys[1]"),
        ("BANDITD_LOG_REQUESTS", "yes", "log.requests"),
        ("BANDITD_DEFAULT_POLICY", "vw", "default.policy"),
        ("BANDITD_DEFAULT_POLICY", "{ kind = 'vv' }", "default.policy.kind"),
        ("BANDITD_SEGMENTS", "mobile", "segments[0]"),
        ("BANDITD_SEGMENTS", "[{ name = 'A' }]", "segments[0].name"),
        ("BANDITD_STORE_URL", "redis://h", "store.url"),
    ],
)
def test_mistake_in_a_variable_names_the_key_and_the_variable(variable: str, text: str, field: str) -> None:
    """The error has the path of the key and says which variable set it."""
    with pytest.raises(ConfigError) as caught:
        load_config(None, {variable: text})

    assert caught.value.field == field
    assert caught.value.detail.endswith(f"(set by {variable})")


def test_mistake_on_the_command_line_says_so() -> None:
    """An option's error names the key and the command line, not a variable that it overrides."""
    with pytest.raises(ConfigError, match=r"server\.port: .*\(set by the command line\)"):
        load_config(None, {"BANDITD_SERVER_PORT": "1"}, options={"server.port": -1})


def test_mistake_in_the_file_does_not_blame_a_variable(tmp_path: Path) -> None:
    """A variable for a key whose name begins alike is not named."""
    file = tmp_path / "banditd.toml"
    file.write_text("[server]\nkeys_file = 1")

    with pytest.raises(ConfigError) as caught:
        load_config(file, {"BANDITD_SERVER_KEYS": "a"})

    assert (caught.value.field, "set by" in caught.value.detail) == ("server.keys_file", False)


def test_variable_for_a_table_that_is_none_does_not_hide_the_mistake(tmp_path: Path) -> None:
    """A file that sets `server` to a number is refused, whatever the environment adds to it."""
    file = tmp_path / "banditd.toml"
    file.write_text("server = 1")

    with pytest.raises(ConfigError, match="server: must be a table, not 1"):
        load_config(file, {"BANDITD_SERVER_PORT": "1"})


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("BANDITD_SERVER_PROT", "BANDITD_SERVER_PORT"),
        ("BANDITD_STORE_URI", "BANDITD_STORE_URL"),
        ("BANDITD_PORT", "BANDITD_SERVER_PORT"),
        ("BANDITD_server_port", "BANDITD_"),
    ],
)
def test_unknown_variable_is_refused_with_the_nearest_known(variable: str, meant: str) -> None:
    """A variable that begins with our prefix and sets nothing stops the start."""
    with pytest.raises(ConfigError) as caught:
        load_config(None, {variable: "1"})

    assert (caught.value.code, caught.value.field) == ("unknown_variable", variable)
    assert meant in caught.value.detail


def test_other_programs_variables_are_none_of_ours() -> None:
    """Only names with our prefix are looked at."""
    assert load_config(None, {"PATH": "/bin", "XBANDITD_SERVER_PORT": "1"}) == load_config(None, {})


def test_variables_that_kubernetes_sets_for_a_service_are_passed_over() -> None:
    """A Service called banditd in the same namespace does not stop the start; our own variables still count."""
    service = {
        "BANDITD_SERVICE_HOST": "10.0.0.7",
        "BANDITD_SERVICE_PORT": "80",
        "BANDITD_SERVICE_PORT_HTTP": "80",
        "BANDITD_PORT": "tcp://10.0.0.7:80",
        "BANDITD_PORT_80_TCP": "tcp://10.0.0.7:80",
        "BANDITD_PORT_80_TCP_ADDR": "10.0.0.7",
    }

    assert load_config(None, {**service, "BANDITD_SERVER_PORT": "9000"}).server.port == 9000
    with pytest.raises(ConfigError, match="BANDITD_SERVICE_PORT: is no setting"):
        load_config(None, {"BANDITD_SERVICE_PORT": "9000"})
