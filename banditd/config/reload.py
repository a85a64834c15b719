"""Tell what a changed configuration changes, and what of it a running server can take over."""

import dataclasses
from typing import Any

import msgspec

from banditd.config.render import effective
from banditd.config.values import Config

__all__ = ["diff_reload", "is_reloadable", "merge_reload"]

_RELOADABLE = ("server.keys", "server.keys_file", "reward", "limits", "log", "evaluations", "default", "segments")


def diff_reload(old: Config, new: Config) -> tuple[list[str], list[str]]:
    """Return the paths that differ: those that a reload takes over, and those that need a restart.

    A segment that came or went is one path, ``segments.mobile``; of one that stayed, each key that differs
    is, ``segments.mobile.policy``; ``segments`` alone means that the order changed.
    """
    before, after = _flat(old), _flat(new)
    changed = [path for path in before | after if before.get(path) != after.get(path)]
    names_before, names_after = _names(old), _names(new)
    came_or_went = set(names_before) ^ set(names_after)
    changed = [path for path in changed if not path.startswith(tuple(f"segments.{name}." for name in came_or_went))]
    changed += [f"segments.{name}" for name in came_or_went]
    if [n for n in names_before if n not in came_or_went] != [n for n in names_after if n not in came_or_went]:
        changed.append("segments")
    changed.sort()
    return [path for path in changed if is_reloadable(path)], [path for path in changed if not is_reloadable(path)]


def merge_reload(old: Config, new: Config) -> Config:
    """Return `new` where a running server can take it over, and `old` elsewhere: what is in force after a reload."""
    server = msgspec.structs.replace(old.server, keys=new.server.keys, keys_file=new.server.keys_file)
    return dataclasses.replace(new, server=server, store=old.store, keys=old.keys)


def is_reloadable(path: str) -> bool:
    """Tell whether a running server can take over a change of the key at `path`."""
    return any(path == known or path.startswith((f"{known}.", f"{known}[")) for known in _RELOADABLE)


def _names(config: Config) -> list[str]:
    return [segment.name for segment in config.segments]


def _flat(config: Config) -> dict[str, Any]:
    tables = effective(config)
    segments = tables.pop("segments")
    flat = {f"{name}.{key}": value for name, table in tables.items() for key, value in table.items()}
    for segment in segments:
        flat |= {f"segments.{segment['name']}.{key}": value for key, value in segment.items() if key != "name"}
    return flat
