"""Estimators by the names that settings, tables and JSON use."""

from collections.abc import Callable, Sequence

from replay.errors import InvalidLog
from replay.estimators.base import Estimator
from replay.estimators.dr import ClippedDr, Dm, Dr, Dros, Sndr, SubGaussianDr, SwitchDr
from replay.estimators.ips import ClippedIps, Ips, Snips, SubGaussian
from replay.estimators.rejection import Replay

__all__ = ["ESTIMATORS", "available", "estimator"]

ESTIMATORS: dict[str, type[Estimator]] = {
    kind.name: kind
    for kind in (Ips, ClippedIps, Snips, Dm, Dr, ClippedDr, Sndr, SwitchDr, Dros, SubGaussian, SubGaussianDr, Replay)
}
_PARAMETER = {
    "ips_clipped": "clip",
    "dr_clipped": "clip",
    "switch_dr": "tau",
    "dros": "lam",
    "sub_gaussian": "lam",
    "sub_gaussian_dr": "lam",
}


def estimator(name: str, *, clip: float | None = None, tau: float | None = None, lam: float | None = None) -> Estimator:
    """Return a new estimator.

    Parameters
    ----------
    name
        One of `ESTIMATORS`.
    clip, tau, lam
        The parameters of those that have one; the others ignore them.

    Raises
    ------
    InvalidLog
        Nothing has that name, or its parameter is missing or out of range.
    """
    kind = ESTIMATORS.get(name)
    if kind is None:
        raise InvalidLog("estimator_unknown", "estimators", f"must be some of {', '.join(ESTIMATORS)}, not {name!r}")
    wanted = _PARAMETER.get(name)
    if wanted is None:
        return kind()
    value = {"clip": clip, "tau": tau, "lam": lam}[wanted]
    if value is None:
        raise InvalidLog("parameter_missing", wanted, f"must be given: {name} has no default, since any would bias it")
    make: Callable[..., Estimator] = kind
    return make(**{wanted: value})


def available(*, model: Sequence[object], clip: float | None, tau: float | None, lam: float | None) -> tuple[str, ...]:
    """Return the names of all that can be made of what there is, but for the replay method.

    Parameters
    ----------
    model
        What there is of a reward model: `q_logged` and `q_target`, each None if missing.
    clip, tau, lam
        None for no estimator with that parameter; a `lam` above 1 is one of `dros` alone.
    """
    has_model = all(part is not None for part in model)
    given = {"clip": clip, "tau": tau, "lam": lam}
    names = [
        name
        for name, kind in ESTIMATORS.items()
        if name != Replay.name
        and (has_model or not kind.needs_model)
        and (name not in _PARAMETER or given[_PARAMETER[name]] is not None)
    ]
    if lam is not None:
        fits = {"dros": lam > 0.0, "sub_gaussian": lam <= 1.0, "sub_gaussian_dr": lam <= 1.0}
        names = [name for name in names if fits.get(name, True)]
    return tuple(names)
