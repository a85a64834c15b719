"""Show a configuration as TOML: what `banditd config check` prints and what a reload compares."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from banditd.config.tables import Duration, RewardTable
from banditd.config.values import Config
from banditd.journal.protocol import RewardRule
from banditd.units import format_duration
from policies.state import spec_settings

__all__ = ["MASKED_KEY", "effective", "render"]

MASKED_KEY = "********"  # is no valid key, so that a file made from what was shown is refused, not weak


def render(config: Config) -> str:
    """Return the configuration as a TOML file, every default written out and API keys masked."""
    tables = effective(config)
    tables["server"]["keys"] = [MASKED_KEY] * len(config.server.keys)
    segments = tables.pop("segments")
    blocks = [_block(f"[{name}]", table) for name, table in tables.items()]
    blocks += [_block("[[segments]]", segment) for segment in segments]
    return "\n".join(blocks)


def effective(config: Config) -> dict[str, Any]:
    """Return the configuration as the tables and keys of its file, every default written out."""
    segments = [
        {
            "name": segment.name,
            "when": segment.rule.text if segment.rule is not None else "",
            "policy": spec_settings(segment.policy),
            "pooling": segment.pooling,
            "reward": _reward(segment.reward),
        }
        for segment in config.segments
    ]
    default = segments.pop()
    return {
        "server": _table(config.server),
        "store": _table(config.store),
        "reward": _reward(config.reward),
        "limits": _table(config.limits),
        "log": _table(config.log),
        "keys": _table(config.keys),
        "evaluations": _table(config.evaluations),
        "default": {key: default[key] for key in ("policy", "pooling", "reward")},
        "segments": segments,
    }


def _table(struct: msgspec.Struct) -> dict[str, Any]:
    return {
        field.encode_name: format_duration(value) if field.type == Duration else value
        for field in msgspec.structs.fields(struct)
        for value in (getattr(struct, field.name),)
    }


def _reward(rule: RewardRule) -> dict[str, Any]:
    return _table(RewardTable(rule.wait_s, rule.default, rule.aggregate, rule.learn, rule.slots))


def _block(header: str, table: Mapping[str, Any]) -> str:
    return "".join(f"{line}\n" for line in (header, *_assignments(table)))


def _assignments(table: Mapping[str, Any]) -> Iterable[str]:
    # TOML has no null: a key that is not there means the same.
    return [f"{_key(key)} = {_toml(value)}" for key, value in table.items() if value is not None]


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else _toml(key)


def _toml(value: Any) -> str:
    match value:
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case bool() | int() | float():
            return json.dumps(value)
        case Mapping():
            inner = ", ".join(_assignments(value))
            return f"{{ {inner} }}" if inner else "{}"
        case list() | tuple():
            return f"[{', '.join(_toml(item) for item in value)}]"
        case _:
            raise AssertionError(f"{type(value).__name__} is no TOML value")
