"""The configuration: what a file means, what is refused and under which path."""

import tomllib
from pathlib import Path

import pytest

from banditd.config import Config, check_exposure, load_config, render
from banditd.errors import ConfigError
from banditd.journal.protocol import RewardRule
from banditd.segments.rules import Rule
from policies.epsilon_greedy import EpsilonGreedySpec
from policies.features import Limits
from policies.mixture import MixtureSpec
from policies.registry import parse_spec
from policies.thompson import ThompsonSpec

EVERYTHING = """
[server]
host = "0.0.0.0"
port = 9000
keys = ["one", "two"]
body_timeout = 2
[store]
url = "sqlite:/var/lib/banditd/store.db"
durability = "process"
keep = "1.5d"
[reward]
wait = "1h"
default = 0.5
[limits]
actions = 7
number = 1e6
[log]
level = "debug"
requests = true
[[segments]]
name = "mobile"
when = "context.device == 'mobile'"
policy = { kind = "epsilon_greedy", epsilon = 1 }
reward = { aggregate = "sum" }
[[segments]]
name = "by-name-only"
policy = { kind = "thompson" }
reward = { wait = "2d", default = 1 }
[default]
policy = { kind = "epsilon_greedy" }
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return where the configuration file of a test is."""
    return tmp_path / "banditd.toml"


def config_of(file: Path, text: str) -> Config:
    """Return the configuration that a file with this text means."""
    file.write_text(text)
    return load_config(file, {})


def test_no_file_and_no_environment_is_a_configuration() -> None:
    """Every key has a default: one segment, loopback, a file in the current folder."""
    config = load_config(None, {})

    assert (config.server.host, config.server.port, config.server.keys) == ("127.0.0.1", 8080, ())
    assert config.store_path == Path("banditd.db")
    assert config.keyring_path == Path("banditd.db.keys")
    assert [(segment.name, segment.rule, segment.policy.kind) for segment in config.segments] == [
        ("default", None, "vw")
    ]
    assert config.reward == RewardRule(wait_s=600.0, default=0.0, aggregate="earliest", learn="at_once")


def test_file_sets_what_it_names(file: Path) -> None:
    """Values of the file arrive typed and in seconds; what it does not name keeps its default."""
    config = config_of(file, EVERYTHING)

    assert (config.server.host, config.server.port, config.server.keys) == ("0.0.0.0", 9000, ("one", "two"))  # noqa: S104
    assert (config.server.body_timeout_s, config.server.keepalive_s) == (2.0, 75.0)
    assert (config.store.durability, config.store.keep_s, config.store.queue) == ("process", 129_600.0, 4_096)
    assert config.keyring_path == Path("/var/lib/banditd/store.db.keys")
    assert (config.log.level, config.log.requests) == ("debug", True)
    assert config.limits.of_features() == Limits(depth=16, features=1_000, id_bytes=256, magnitude=1e6)
    assert config.limits.actions == 7


def test_segments_are_resolved_in_order_with_default_last(file: Path) -> None:
    """Each segment has its compiled rule, its policy spec and `[reward]` with its own settings over it."""
    mobile, by_name, default = config_of(file, EVERYTHING).segments

    assert (mobile.name, mobile.rule) == ("mobile", Rule.of("context.device == 'mobile'"))
    assert mobile.policy == EpsilonGreedySpec(epsilon=1.0)
    assert mobile.reward == RewardRule(wait_s=3_600.0, default=0.5, aggregate="sum")
    assert (by_name.name, by_name.rule, by_name.policy) == ("by-name-only", None, ThompsonSpec())
    assert by_name.reward == RewardRule(wait_s=172_800.0, default=1.0, aggregate="earliest", low=0.0, high=1.0)
    assert (default.name, default.rule, default.policy) == ("default", None, EpsilonGreedySpec())
    assert default.reward == RewardRule(wait_s=3_600.0, default=0.5, aggregate="earliest")


REFUSED = [
    pytest.param("[servr]", "servr", "did you mean server?", id="unknown-table"),
    pytest.param("[server]\nprot = 1", "server.prot", "did you mean port?", id="unknown-key"),
    pytest.param("[keys]\nzzz = 1", "keys.zzz", "is no key of [keys]; there are file", id="unlike-any-key"),
    pytest.param("server = 1", "server", "must be a table, not 1", id="table-expected"),
    pytest.param("[server]\nport = '80'", "server.port", "a whole number from 0 to 65535, not '80'", id="text-for-int"),
    pytest.param("[server]\nport = 65536", "server.port", "from 0 to 65535, not 65536", id="too-large"),
    pytest.param("[server]\nport = true", "server.port", "whole number", id="bool-for-int"),
    pytest.param("[server]\nport = {}", "server.port", "65535, not a table", id="table-for-int"),
    pytest.param("[server]\nport = [1]", "server.port", "65535, not a list", id="list-for-int"),
    pytest.param("[server]\nhost = ''", "server.host", "a host name or an address", id="empty-host"),
    pytest.param("[server]\ninsecure = 1", "server.insecure", "true or false, not 1", id="int-for-bool"),
    pytest.param("[server]\nkeys = 'a'", "server.keys", "must be a list, each item an API key", id="no-list"),
    pytest.param("[server]\nkeys = ['a', 'b c']", "server.keys[1]", "must be an API key", id="key-with-space"),
    pytest.param("[server]\nkeys = ['']", "server.keys[0]", "must be an API key", id="empty-key"),
    pytest.param(f"[server]\nuds = '{'ü' * 54}'", "server.uds", "at most 107 bytes, not 108", id="long-socket-path"),
    pytest.param("[server]\nkeys_file = '/none/x'", "server.keys_file", "No such file", id="no-keys-file"),
    pytest.param("[server]\nbody_timeout = 0", "server.body_timeout", "a duration from", id="zero-duration"),
    pytest.param("[store]\nkeep = '90 days'", "store.keep", "number with ms, s, m, h or d", id="bad-unit"),
    pytest.param("[store]\nkeep = 2024-01-01", "store.keep", "must be a duration", id="date"),
    pytest.param("[store]\ndurability = 'fast'", "store.durability", "one of process, sync, not 'fast'", id="choice"),
    pytest.param("[store]\nurl = 'redis://h:1'", "store.url", "comes with a later release", id="redis"),
    pytest.param("[store]\nurl = 'mysql://u:pw@h'", "store.url", "must be sqlite:PATH, not 'mysql'", id="other-store"),
    pytest.param("[store]\nurl = 'sqlite:///x.db'", "store.url", "right after the colon", id="slashes"),
    pytest.param("[store]\nurl = 'sqlite::memory:'", "store.url", "must name a file", id="in-memory"),
    pytest.param("[store]\nurl = 'sqlite:'", "store.url", "must name a file", id="no-path"),
    pytest.param("[store]\nqueue = 0", "store.queue", "from 1 to 1000000, not 0", id="no-queue"),
    pytest.param(
        "[reward]\naggregate = 'mean'", "reward.aggregate", "one of earliest, latest, max, sum", id="aggregate"
    ),
    pytest.param("[reward]\ndefault = nan", "reward.default", "not nan", id="nan"),
    pytest.param("[reward]\ndefault = inf", "reward.default", "from -1e+09 to 1e+09", id="infinite"),
    pytest.param("[limits]\ndepth = 1.5", "limits.depth", "from 1 to 128, not 1.5", id="float-for-int"),
    pytest.param("[limits]\nnumber = nan", "limits.number", "from 1 to 1e+12, not nan", id="nan-limit"),
    pytest.param("[log]\nlevel = 'loud'", "log.level", "one of debug, error, info, warning", id="level"),
    pytest.param("[default]\npolicy = 'vw'", "default.policy", "must be a table, not 'vw'", id="policy-as-text"),
    pytest.param("[default]\npolicy = {}", "default.policy.kind", "must be one of epsilon_greedy,", id="policy-kind"),
    pytest.param("[default]\nwhen = 'user'", "default.when", "is no key of [default]", id="default-has-no-rule"),
    pytest.param("[default.reward]\nwait = 0", "default.reward.wait", "duration", id="reward-of-default"),
    pytest.param(
        "[default]\npolicy = { kind = 'epsilon_greedy', epsilon = 2 }",
        "default.policy.epsilon",
        "1",
        id="setting-out-of-range",
    ),
    pytest.param(
        "[default]\npolicy = { kind = 'thompson' }\nreward = { default = -1 }",
        "default.reward.default",
        "must be from 0 to 1, the rewards that can be learned from",
        id="default-reward-that-the-policy-refuses",
    ),
    pytest.param("segments = 1", "segments", "must be an array of tables", id="segments-as-number"),
    pytest.param("segments = [1]", "segments[0]", "must be a table, not 1", id="segment-as-number"),
    pytest.param("[[segments]]", "segments[0].name", "is missing: it must be a name:", id="no-name"),
    pytest.param("[[segments]]\nname = 'Mobile'", "segments[0].name", "1 to 64 of a-z", id="capital"),
    pytest.param("[[segments]]\nname = 'a\\n'".replace("'", '"'), "segments[0].name", "a name:", id="line-break"),
    pytest.param("[[segments]]\nname = 'default'", "segments[0].name", "is the name of [default]", id="reserved"),
    pytest.param(
        "[[segments]]\nname = 'a'\n[[segments]]\nname = 'a'", "segments[1].name", "of two segments", id="twice"
    ),
    pytest.param(
        "[[segments]]\nname = 'a'\n[[segments]]\nname = 'b'\nwhen = 'context.x ='",
        "segments[1].when",
        "column 11",
        id="rule",
    ),
    pytest.param(
        "[[segments]]\nname = 'a'\npolicy = { kind = 'epsilon_greedy', epsilom = 1 }",
        "segments[0].policy.epsilom",
        "it has model, epsilon,",
        id="policy-setting",
    ),
    pytest.param(
        "[[segments]]\nname = 'a'\n"
        "policy = { kind = 'mixture', policies = [{ kind = 'vw' }, { kind = 'epsilon_greedy', epsilon = 2 }] }",
        "segments[0].policy.policies[1].epsilon",
        "must be from 1e-06 to 1, not 2",
        id="setting-of-a-policy-in-a-mixture",
    ),
    pytest.param(
        "[default.policy]\nkind = 'mixture'\n[[default.policy.policies]]\nkind = 'magic'",
        "default.policy.policies[0].kind",
        "not 'magic'",
        id="kind-in-a-mixture",
    ),
    pytest.param(
        "[default]\npolicy = { kind = 'mixture' }", "default.policy.policies", "is missing", id="mixture-of-nothing"
    ),
    pytest.param(
        "[default.policy]\nkind = 'mixture'\n"
        "policies = [{ kind = 'thompson' }, { kind = 'thompson', reward_range = [2, 3] }]",
        "default.policy.policies",
        "must share a range of rewards; theirs are 0 to 1, 2 to 3",
        id="mixture-without-a-common-reward",
    ),
    pytest.param(
        "[[segments]]\nname = 'a'\nreward = { wiat = 1 }",
        "segments[0].reward.wiat",
        "is no key of [segments[0].reward]; did you mean wait?",
        id="reward-setting",
    ),
]


@pytest.mark.parametrize(("text", "field", "detail"), REFUSED)
def test_mistake_is_named_with_its_path_and_what_is_allowed(file: Path, text: str, field: str, detail: str) -> None:
    """Each mistake is one `ConfigError` whose field is the path of the key."""
    with pytest.raises(ConfigError) as caught:
        config_of(file, text)

    assert caught.value.field == field
    assert detail in caught.value.detail


@pytest.mark.parametrize("text", ["[server]\nkeys = 'hunter2!'", "[server]\nkeys = ['hunter2!']"])
def test_message_about_a_key_does_not_show_it(file: Path, text: str) -> None:
    """A mistyped API key in `server.keys` is a secret still."""
    with pytest.raises(ConfigError) as caught:
        config_of(file, text)

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "place"),
    [
        pytest.param(b"[server]\nport = = 1", "line 2, column 8: Invalid value", id="value"),
        pytest.param(b"a = 1\nb", "line 2, column 2: Expected '='", id="end-of-document"),
        pytest.param(b"a = 1\na = 2", "line 2, column 6: Cannot overwrite", id="twice"),
        pytest.param(b"a = '\xff'", "byte 6 is not UTF-8", id="encoding"),
        pytest.param(b"a = " + b"[" * 9_000, "values are nested too deeply", id="depth"),
    ],
)
def test_syntax_error_is_placed(file: Path, content: bytes, place: str) -> None:
    """What is no TOML is named with file, line and column."""
    file.write_bytes(content)

    with pytest.raises(ConfigError) as caught:
        load_config(file, {})

    assert (caught.value.code, caught.value.field) == ("config_syntax", None)
    assert f"{file}: {place}" in caught.value.detail


def test_byte_order_mark_is_no_mistake(file: Path) -> None:
    """A file that an editor began with a byte order mark is read as without."""
    file.write_bytes(b"\xef\xbb\xbf[server]\nport = 9000")

    assert load_config(file, {}).server.port == 9000


@pytest.mark.parametrize(("name", "reason"), [("none.toml", "No such file"), ("", "Is a directory")])
def test_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, reason: str) -> None:
    """A missing file or a folder in its place is a `ConfigError`."""
    with pytest.raises(ConfigError, match=reason) as caught:
        load_config(tmp_path / name, {})

    assert caught.value.code == "config_unreadable"


def test_keys_of_the_file_of_keys_join_the_listed_ones(tmp_path: Path, file: Path) -> None:
    """Keys come from both places, each once; comments and empty lines do not count."""
    secrets = tmp_path / "api-keys"
    secrets.write_text("# rotated in May\n\n  two \nthree\n")

    config = config_of(file, f"[server]\nkeys = ['one', 'two']\nkeys_file = '{secrets}'")

    assert config.server.keys == ("one", "two", "three")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"# none\n", "holds no API key", id="emptied"),
        pytest.param(b"fine\nhun ter2\n", "line 2 is no API key", id="bad-line"),
        pytest.param(b"\xff", "not UTF-8", id="encoding"),
    ],
)
def test_bad_file_of_keys_is_refused(tmp_path: Path, file: Path, content: bytes, reason: str) -> None:
    """A file of keys without a key, or with something else, stops the start and is not shown."""
    secrets = tmp_path / "api-keys"
    secrets.write_bytes(content)

    with pytest.raises(ConfigError, match=reason) as caught:
        config_of(file, f"[server]\nkeys_file = '{secrets}'")

    assert caught.value.field == "server.keys_file"
    assert "ter2" not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.8.7", "::1", "localhost", "LocalHost", "::ffff:127.0.0.1"])
def test_loopback_needs_no_key(host: str) -> None:
    """Every way to write this machine's own address may be bound without a key."""
    check_exposure(load_config(None, {"BANDITD_SERVER_HOST": host}))


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",  # noqa: S104 - what must be refused
        "::",
        "10.0.0.1",
        "::ffff:10.0.0.1",
        "example.org",
        "localhost.example.org",
        "127.1",
        "128.0.0.1",
    ],
)
def test_other_hosts_need_a_key_or_insecure(tmp_path: Path, host: str) -> None:
    """Anything else is refused, until there is a key, a Unix socket instead, or `insecure`."""
    exposed = {"BANDITD_SERVER_HOST": host}
    secrets = tmp_path / "api-keys"
    secrets.write_text("one")

    with pytest.raises(ConfigError) as caught:
        check_exposure(load_config(None, exposed))
    check_exposure(load_config(None, {**exposed, "BANDITD_SERVER_KEYS": "one"}))
    check_exposure(load_config(None, {**exposed, "BANDITD_SERVER_KEYS_FILE": str(secrets)}))
    check_exposure(load_config(None, {**exposed, "BANDITD_SERVER_UDS": "banditd.sock"}))
    check_exposure(load_config(None, {**exposed, "BANDITD_SERVER_INSECURE": "true"}))

    assert (caught.value.code, caught.value.field) == ("exposed_without_keys", "server.host")


def test_shown_configuration_reads_as_the_same(file: Path) -> None:
    """What `render` writes is a file that means the same configuration, API keys aside."""
    config = config_of(file, EVERYTHING.replace('keys = ["one", "two"]', ""))

    again = config_of(file, render(config))

    assert again == config


def test_mixtures_are_shown_with_all_that_is_in_them(file: Path) -> None:
    """A policy within a policy is read from nested tables and shown with its kind, so that it reads as the same."""
    config = config_of(
        file,
        """
[default]
policy = { kind = "mixture", model = "corral", policies = [{ kind = "vw" }, { kind = "thompson", window = 500 }] }

[[segments]]
name = "nested"
[segments.policy]
kind = "mixture"
weights = [9, 1]
[[segments.policy.policies]]
kind = "mixture"
policies = [{ kind = "epsilon_greedy", epsilon = 0.2 }]
[[segments.policy.policies]]
kind = "epsilon_greedy"
epsilon = 1
""",
    )

    again = config_of(file, render(config))

    nested, default = again.segments
    assert again == config
    assert default.policy == parse_spec(
        {"kind": "mixture", "model": "corral", "policies": [{"kind": "vw"}, {"kind": "thompson", "window": 500}]}
    )
    assert isinstance(nested.policy, MixtureSpec)
    assert nested.policy.shares() == (0.9, 0.1)
    assert nested.policy.policies[1] == EpsilonGreedySpec(epsilon=1.0)


def test_shown_configuration_survives_odd_text(file: Path) -> None:
    """Quotes, control characters and letters beyond ASCII in a value are written so that they read the same."""
    odd = "sqlite:a\"\\'\n\t\x7f\x1fü\U0001f600"

    config = load_config(None, {}, options={"store.url": odd})

    assert config_of(file, render(config)).store.url == odd


def test_api_keys_are_never_shown(file: Path) -> None:
    """Neither `render` nor `repr` holds a key, and the mask is refused as one."""
    config = config_of(file, EVERYTHING.replace('"one", "two"', '"hunter2"'))

    shown = render(config)

    assert "hunter2" not in shown
    assert "hunter2" not in repr(config)
    assert tomllib.loads(shown)["server"]["keys"] == ["********"]
    with pytest.raises(ConfigError, match=r"server\.keys\[0\]"):
        config_of(file, shown)
