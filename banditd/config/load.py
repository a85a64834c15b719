"""Read the configuration: the file, then the environment, then the command line."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from banditd.config.decode import decode
from banditd.config.environment import overrides
from banditd.config.tables import ApiKey, DefaultSegmentTable, File, RewardTable, SegmentTable, ServerTable, StoreTable
from banditd.config.values import SQLITE, Config, Segment
from banditd.errors import ConfigError
from banditd.journal.protocol import RewardRule
from banditd.segments.rules import DEFAULT_SEGMENT, Rule, RuleInvalid
from policies.errors import InvalidInput
from policies.protocol import Policy, PolicySpec
from policies.registry import parse_spec

__all__ = ["load_config"]

_UDS_BYTES = 107  # what the kernel takes: 108 with the final NUL
_TOML_PLACE = re.compile(r" \(at line (\d+), column (\d+)\)$")
_TOML_END = " (at end of document)"


def load_config(path: Path | None, environ: Mapping[str, str], *, options: Mapping[str, Any] | None = None) -> Config:
    """Read the configuration, or take the defaults.

    Parameters
    ----------
    path
        A TOML file, or None.
    environ
        Its ``BANDITD_…`` variables override the file.
    options
        By path, as ``{"server.port": 9000}``: what the command line says overrides both.

    Raises
    ------
    ConfigError
        The file cannot be read, or a key or a value is not one; `field` is its path.
    """
    raw = {} if path is None else _read(path)
    origins: dict[str, str] = {}
    for key, (variable, value) in overrides(environ).items():
        _put(raw, key, value)
        origins[key] = variable
    for key, value in (options or {}).items():
        _put(raw, key, value)
        origins[key] = "the command line"
    try:
        return _resolve(decode(File, raw, ""), raw)
    except ConfigError as error:
        for key, origin in origins.items():
            if error.field is not None and re.match(rf"{re.escape(key)}($|[.\[])", error.field):
                raise ConfigError(error.code, f"{error.detail} (set by {origin})", field=error.field) from None
        raise


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError("config_unreadable", f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError("config_syntax", f"{path}: byte {error.start + 1} is not UTF-8") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        if (place := _TOML_PLACE.search(message)) is not None:
            line, column = int(place[1]), int(place[2])
        else:
            line, column = text.count("\n") + 1, len(text) - (text.rfind("\n") + 1) + 1
        reason = _TOML_PLACE.sub("", message).removesuffix(_TOML_END)
        raise ConfigError("config_syntax", f"{path}: line {line}, column {column}: {reason}") from None
    except RecursionError:
        raise ConfigError("config_syntax", f"{path}: values are nested too deeply") from None


def _put(raw: dict[str, Any], path: str, value: Any) -> None:
    table, _, key = path.rpartition(".")
    target = raw.setdefault(table, {}) if table else raw
    if isinstance(target, dict):  # if it is not, decoding says so
        target[key] = value


def _resolve(file: File, raw: Mapping[str, Any]) -> Config:
    _check_store(file.store)
    reward = _reward(file.reward, "reward", (-file.limits.number, file.limits.number))
    inherited = dict(raw.get("reward", {}))
    segments: list[Segment] = []
    names: set[str] = set()
    for i, table in enumerate(file.segments):
        path = f"segments[{i}]"
        if table.name == DEFAULT_SEGMENT or table.name in names:
            reason = "is the name of [default]" if table.name == DEFAULT_SEGMENT else "is the name of two segments"
            raise ConfigError("invalid_value", f"{table.name!r} {reason}", field=f"{path}.name")
        names.add(table.name)
        segments.append(_segment(table.name, table, path, inherited))
    segments.append(_segment(DEFAULT_SEGMENT, file.default, "default", inherited))
    _check_hot_lanes(file.store.hot_lanes, segments)
    return Config(
        server=_server(file.server),
        store=file.store,
        reward=reward,
        limits=file.limits,
        log=file.log,
        keys=file.keys,
        evaluations=file.evaluations,
        segments=tuple(segments),
    )


def _server(server: ServerTable) -> ServerTable:
    size = len(server.uds.encode())
    if size > _UDS_BYTES:
        raise ConfigError(
            "invalid_value", f"must be a path of at most {_UDS_BYTES} bytes, not {size}", field="server.uds"
        )
    keys = (*server.keys, *_keys_in(Path(server.keys_file))) if server.keys_file else server.keys
    return msgspec.structs.replace(server, keys=tuple(dict.fromkeys(keys)))


def _keys_in(path: Path) -> list[str]:
    field = "server.keys_file"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError("config_unreadable", f"{path} cannot be read: {reason}", field=field) from None
    keys: list[str] = []
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            keys.append(msgspec.convert(text, ApiKey))
        except msgspec.ValidationError:
            raise ConfigError("invalid_value", f"{path}: line {number} is no API key", field=field) from None
    if not keys:
        # An emptied file must not open the server to everybody.
        raise ConfigError("invalid_value", f"{path} holds no API key", field=field)
    return keys


def _check_store(store: StoreTable) -> None:
    url = store.url
    if url.startswith(("redis://", "rediss://", "unix://")):
        detail = "Redis comes with a later release; use sqlite:PATH"
    elif not url.startswith(SQLITE):
        detail = f"must be sqlite:PATH, not {url.partition(':')[0][:20]!r}"  # a URL may hold a password
    elif url.startswith(f"{SQLITE}//"):
        detail = "takes the path right after the colon: sqlite:banditd.db or sqlite:/var/lib/banditd/banditd.db"
    elif url == SQLITE or url.endswith("/") or ":memory:" in url:
        detail = "must name a file: sqlite:banditd.db"
    else:
        return
    raise ConfigError("invalid_value", detail, field="store.url")


def _rule(text: str, field: str) -> Rule | None:
    if not text.strip():
        return None
    try:
        return Rule.of(text)
    except RuleInvalid as error:
        raise ConfigError("invalid_rule", str(error), field=field) from None


def _segment(name: str, table: SegmentTable | DefaultSegmentTable, path: str, inherited: Mapping[str, Any]) -> Segment:
    rule = _rule(table.when, f"{path}.when") if isinstance(table, SegmentTable) else None
    try:
        policy = parse_spec(table.policy)
        reward_range = _built(policy).reward_range  # type: ignore[arg-type]  # a spec is a frozen dataclass
    except InvalidInput as error:
        inner = error.under(f"{path}.policy")
        raise ConfigError("invalid_policy", inner.detail, field=inner.field) from None
    own = decode(RewardTable, {**inherited, **table.reward}, f"{path}.reward")
    reward = _reward(own, f"{path}.reward", reward_range)
    return Segment(name=name, rule=rule, policy=policy, reward=reward, pooling=table.pooling)


@lru_cache(maxsize=16)
def _built(spec: PolicySpec) -> Policy:
    """Return a policy to ask what it takes: made once for the many segments that share a spec."""
    return spec.build()


def _check_hot_lanes(hot_lanes: int, segments: Sequence[Segment]) -> None:
    """Refuse more policies that cannot be unloaded than may be in memory."""
    staying = [segment for segment in segments if not _built(segment.policy).resumable]  # type: ignore[arg-type]  # as above
    if len(staying) > hot_lanes:
        detail = (
            f"is {hot_lanes}, but {len(staying)} segments have policies that cannot be unloaded, "
            f"such as that of {staying[0].name!r}: raise it, or choose policies that keep snapshots"
        )
        raise ConfigError("invalid_value", detail, field="store.hot_lanes")


def _reward(table: RewardTable, path: str, reward_range: tuple[float, float]) -> RewardRule:
    low, high = reward_range
    if not low <= table.default <= high:  # also refuses NaN
        detail = f"must be from {low:g} to {high:g}, the rewards that can be learned from, not {table.default!r}"
        raise ConfigError("invalid_value", detail, field=f"{path}.default")
    return RewardRule(
        wait_s=table.wait_s,
        default=float(table.default),
        aggregate=table.aggregate,
        learn=table.learn,
        low=low,
        high=high,
        slots=table.slots,
    )
