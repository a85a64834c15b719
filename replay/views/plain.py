"""An evaluation as JSON: the source of which every other view could be made again."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from replay.results import CandidateResult, Evaluation, Lift

__all__ = ["to_json", "to_plain"]


def to_plain(evaluation: Evaluation) -> dict[str, Any]:
    """Return dicts, lists, text and numbers; what is not a number (NaN, infinite) is None.

    The keys of the first level are `events`, `dropped`, `baseline`, `settings`, `log` and `policies`; those of
    a policy are the fields of `CandidateResult`, with `ess` and `max_weight` beside them.
    """
    health = evaluation.health
    plain = {
        "events": health.events,
        "dropped": dict(health.dropped),
        "baseline": evaluation.baseline,
        "settings": evaluation.settings,
        "log": {
            name: value
            for name, value in _fields(health).items()
            if name not in {"events", "dropped"}  # they stand above
        },
        "policies": {name: _candidate(result) for name, result in evaluation.policies.items()},
    }
    cleaned: dict[str, Any] = _clean(plain)
    return cleaned


def to_json(evaluation: Evaluation) -> bytes:
    """Return `to_plain` as indented JSON."""
    return orjson.dumps(to_plain(evaluation), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _candidate(result: CandidateResult) -> dict[str, Any]:
    plain = _fields(result)
    plain["ess"] = result.diagnostics.ess
    plain["max_weight"] = result.diagnostics.max_weight
    if result.lift is None:
        plain["lift"] = {field.name: None for field in dataclasses.fields(Lift)}
    plain["clip_scan"] = [{"clip": clip, **_fields(estimate)} for clip, estimate in result.clip_scan]
    return plain


def _fields(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def _clean(value: Any) -> Any:
    """Turn values into what JSON has, in all depths."""
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _clean(inner) for key, inner in value.items()}
    if dataclasses.is_dataclass(value):
        return _clean(_fields(value))
    if isinstance(value, Sequence):
        return [_clean(inner) for inner in value]
    return value
