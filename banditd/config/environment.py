"""Environment variables that override keys of the file: ``BANDITD_SERVER_PORT`` is ``server.port``."""

import re
import tomllib
from collections.abc import Mapping
from typing import Any, get_origin

import msgspec

from banditd.config.decode import nearest
from banditd.config.tables import File
from banditd.errors import ConfigError

__all__ = ["PREFIX", "overrides"]

PREFIX = "BANDITD_"

# Kubernetes sets these in every pod beside a Service called "banditd", and nobody can turn single ones off.
_OF_KUBERNETES = re.compile(r"BANDITD_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_\d+_(TCP|UDP|SCTP)(_.*)?)?)")


def overrides(environ: Mapping[str, str]) -> dict[str, tuple[str, Any]]:
    """Return what the environment sets: by path in the file, the variable's name and its value.

    A value is read as TOML where it is TOML of the kind that the key takes, and as plain text otherwise;
    plain text for a list is split at commas.

    Raises
    ------
    ConfigError
        A name that begins with ``BANDITD_`` and belongs to no key.
    """
    known = _variables()
    beside_a_service = environ.get("BANDITD_PORT", "").startswith(("tcp://", "udp://", "sctp://"))
    found: dict[str, tuple[str, Any]] = {}
    for name in sorted(environ):
        if not name.startswith(PREFIX) or (beside_a_service and _OF_KUBERNETES.fullmatch(name)):
            continue
        if name not in known:
            raise ConfigError("unknown_variable", f"is no setting{nearest(name, known)}", field=name)
        path, type_ = known[name]
        found[path] = (name, _parsed(environ[name], type_))
    return found


def _variables() -> dict[str, tuple[str, Any]]:
    """Return the path and the type behind every variable's name."""
    known: dict[str, tuple[str, Any]] = {}
    for table in msgspec.structs.fields(File):
        if isinstance(table.type, type) and issubclass(table.type, msgspec.Struct):
            for field in msgspec.structs.fields(table.type):
                name = f"{PREFIX}{table.name}_{field.encode_name}".upper()
                known[name] = (f"{table.name}.{field.encode_name}", field.type)
        else:
            known[f"{PREFIX}{table.name}".upper()] = (table.name, table.type)
    return known


def _parsed(text: str, type_: Any) -> Any:
    is_list = get_origin(type_) is tuple
    try:
        document = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        document = {}
    # More than one key: the text held a line break, so it is no single value.
    value = document["value"] if list(document) == ["value"] else text
    if is_list and not isinstance(value, list):
        plain = value if isinstance(value, str) else text
        return [item for item in (part.strip() for part in plain.split(",")) if item]
    if not isinstance(value, str) and _is_text(type_):
        return text  # a path or a name that happens to read as a number, a date or true
    return value


def _is_text(type_: Any) -> bool:
    return isinstance(msgspec.inspect.type_info(type_), msgspec.inspect.StrType | msgspec.inspect.LiteralType) or (
        isinstance(info := msgspec.inspect.type_info(type_), msgspec.inspect.Metadata)
        and isinstance(info.type, msgspec.inspect.StrType)
    )
