"""What a request for an evaluation asks for, checked, as the command that answers it."""

import importlib.util
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, get_args

from banditd.config import Config
from banditd.errors import NotFound, NotPossible, Unprocessable
from banditd.evaluating.bodies import NAME_PATTERN, POLICIES_AT_MOST, Baseline, EvaluationRequest
from banditd.evaluating.child import Files
from policies.errors import InvalidInput
from policies.features import check_id
from policies.registry import KINDS, parse_spec
from policies.state import spec_settings

__all__ = ["EXTRA", "check_id_of", "check_possible", "command_of"]

EXTRA: Final = ("jinja2", "matplotlib", "pandas", "polars", "rich", "sklearn", "zstandard")
"""The modules that evaluating needs beyond what the server does."""

_BASELINES: Final[tuple[str, ...]] = get_args(Baseline)
_NAME: Final = re.compile(NAME_PATTERN)
_SETTINGS_AT_MOST: Final = 500_000  # characters, of all policies together: a command line has room for 2 MB
_ARGUMENT_AT_MOST: Final = 120_000  # characters, of one policy: Linux takes no argument of 128 KiB
_CHECKING_S: Final = 60.0  # of all policies of a request together: nobody else is checked meanwhile
_EMBEDDED: Final = "sqlite:"


def check_possible(config: Config) -> None:
    """Refuse what this installation cannot do at all.

    Raises
    ------
    NotPossible
        The store is no file, or a package is missing.
    """
    if not config.store.url.startswith(_EMBEDDED):
        raise NotPossible("store_not_embedded", "only an embedded store (sqlite:) can be evaluated", field="store.url")
    missing = [name for name in EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        detail = f"{missing[0]} is not installed beside the server: pip install 'banditd[replay]'"
        raise NotPossible("replay_not_installed", detail)


def check_id_of(request: EvaluationRequest, config: Config) -> None:
    """Refuse an id that is none.

    Raises
    ------
    InvalidInput
        It is empty, too long, or holds control characters.
    """
    if request.evaluation_id is not None:
        check_id(request.evaluation_id, field="evaluation_id", limits=config.limits.of_features())


def command_of(
    request: EvaluationRequest, config: Config, files: Files, *, goes_on: Callable[[], bool] = lambda: True
) -> list[str]:
    """Return the arguments of `banditd` that evaluate what is asked for. May take seconds: VW tries its options out.

    Parameters
    ----------
    goes_on
        Asked after each policy whether anybody still wants to know.

    Raises
    ------
    NotFound
        There is no such segment.
    Unprocessable
        Something else that was asked for is none; names the field.
    """
    candidates = _candidates(request.policies, goes_on)
    _check_choices(request, config, candidates)
    estimators = _estimators(request)
    values: dict[str, Any] = {
        "store": config.store_path.absolute(),
        "segment": request.segment,
        "since": None if request.since is None else f"{request.since:.6f}",
        "until": None if request.until is None else f"{request.until:.6f}",
        "estimator": ",".join(estimators) or None,
        "clip": request.clip,
        "tau": request.tau,
        "lam": request.lam,
        "baseline": request.baseline,
        "by": ",".join(request.by) or None,
        "level": request.level,
        "seed": request.seed,
        "question": request.question,
        "json": files.result,
        "report": files.report,
    }
    # Tied to its option, no value can be taken for another option.
    options = [f"--{name}={value}" for name, value in values.items() if value is not None]
    options += [f"--policy={name}={text}" for name, text in candidates.items()]
    return ["replay", *options, *(["--per-segment"] if request.per_segment else [])]


def _candidates(policies: Mapping[str, str | dict[str, Any]], goes_on: Callable[[], bool]) -> dict[str, str]:
    """Return by name what the command line calls each policy."""
    if not 1 <= len(policies) <= POLICIES_AT_MOST:
        detail = f"must be 1 to {POLICIES_AT_MOST} policies, not {len(policies)}"
        raise Unprocessable("invalid_value", detail, field="policies")
    candidates: dict[str, str] = {}
    ends_at = time.monotonic() + _CHECKING_S
    for name, given in policies.items():
        if _NAME.match(name) is None or name.endswith("\n"):
            detail = f"{name[:64]!r} is no name: 1 to 64 letters, digits and _.- beginning with a letter or a digit"
            raise Unprocessable("invalid_policy", detail, field="policies")
        candidates[name] = _candidate(name, given)
        if not goes_on() or time.monotonic() > ends_at:
            detail = f"took more than {_CHECKING_S:g} s to try out: ask about fewer, or smaller ones"
            raise Unprocessable("invalid_policy", detail, field="policies")
        if len(candidates[name]) > _ARGUMENT_AT_MOST:
            detail = f"must hold at most {_ARGUMENT_AT_MOST} characters of settings, defaults written out"
            raise Unprocessable("invalid_policy", detail, field=f"policies.{name}")
    if sum(map(len, candidates.values())) > _SETTINGS_AT_MOST:
        detail = f"must hold at most {_SETTINGS_AT_MOST} characters of settings, defaults written out"
        raise Unprocessable("invalid_policy", detail, field="policies")
    return candidates


def _candidate(name: str, given: str | dict[str, Any]) -> str:
    field = f"policies.{name}"
    if name in _BASELINES and given != name:
        raise Unprocessable("invalid_policy", "is the name of a policy that is always there", field=field)
    if isinstance(given, str) and given in _BASELINES:
        return given
    if isinstance(given, str) and given not in KINDS:
        known = ", ".join([*_BASELINES, *sorted(KINDS)])
        raise Unprocessable("invalid_policy", f"must be one of {known}, or an object, not {given[:64]!r}", field=field)
    try:
        spec = parse_spec({"kind": given} if isinstance(given, str) else given)
    except InvalidInput as error:
        inner = error.under(field)
        raise Unprocessable("invalid_policy", inner.detail, field=inner.field.rstrip(".")) from None
    return json.dumps(spec_settings(spec))


def _check_choices(request: EvaluationRequest, config: Config, candidates: Iterable[str]) -> None:
    if request.segment is not None and request.segment not in {segment.name for segment in config.segments}:
        raise NotFound("unknown_segment", f"there is no segment {request.segment[:64]!r}", field="segment")
    if request.since is not None and request.until is not None and request.since >= request.until:
        raise Unprocessable("invalid_value", "must be later than since", field="until")
    names = [*_BASELINES, *(name for name in candidates if name not in _BASELINES)]
    if request.baseline not in names:
        detail = f"must be one of {', '.join(names)}, not {request.baseline[:64]!r}"
        raise Unprocessable("invalid_value", detail, field="baseline")


def _estimators(request: EvaluationRequest) -> list[str]:
    """Return the names of the estimators; none: the default ones."""
    from replay.errors import InvalidLog  # noqa: PLC0415 - only who asks for an evaluation pays for what it takes
    from replay.estimators import estimator  # noqa: PLC0415 - see above

    if request.estimators is not None and request.question == "deployed":
        raise Unprocessable("invalid_value", "have no place in deployed, which takes a plain mean", field="estimators")
    names = request.estimators or []
    for place, name in enumerate(names):
        if name in names[:place]:
            raise Unprocessable("invalid_value", f"{name[:64]!r} is there twice", field=f"estimators[{place}]")
        try:
            estimator(name[:64], clip=request.clip, tau=request.tau, lam=request.lam)
        except InvalidLog as error:
            field = f"estimators[{place}]" if error.field == "estimators" else error.field
            raise Unprocessable("invalid_value", error.detail, field=field) from None
    return names
