"""Estimates from columns, for notebooks and for comparison with other libraries."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from replay.batch import Batch
from replay.diagnostics.rules import refusal, settled
from replay.errors import InvalidLog
from replay.estimators.base import Estimator
from replay.estimators.registry import available, estimator
from replay.intervals import METHODS, Bootstrap, Interval
from replay.intervals import interval as interval_of
from replay.intervals.interval import check_level
from replay.results import Estimate, Lift
from replay.sums import PairedSums, Sums

__all__ = ["estimate", "estimate_difference", "estimate_of", "lift_of"]

PERCENTILE: Final = "percentile_bootstrap"
STUDENTISED: Final = "studentised_bootstrap"
_SLACK: Final = 1e-9  # relative: the largest weight of a log may be the largest there can be but for rounding


def estimate(  # noqa: PLR0913 - the columns of a log and how to look at them, all but three by name
    rewards: ArrayLike,
    propensities: ArrayLike,
    target: ArrayLike,
    *,
    q_logged: ArrayLike | None = None,
    q_target: ArrayLike | None = None,
    estimators: Sequence[str] | None = None,
    clip: float | None = None,
    tau: float | None = None,
    lam: float | None = None,
    reward_range: tuple[float, float] = (0.0, 1.0),
    max_weight: float | None = None,
    interval: str = "auto",
    level: float = 0.95,
    seed: int = 0,
    multiplicity: ArrayLike | None = None,
) -> dict[str, Estimate]:
    """Estimate a target policy's mean reward from a log of another policy, by several estimators.

    Parameters
    ----------
    rewards
        Shape (n,), finite, larger is better, within `reward_range`.
    propensities
        Shape (n,), in (0, 1]: the logging policy's probability of the logged action.
    target
        Shape (n,), in [0, 1]: the target policy's probability of the logged action.
    q_logged, q_target
        Shape (n,): predicted reward of the logged action, and expected predicted reward under the target; for the
        estimators with a reward model. Cross-fit them: predictions of rows that a model was fitted on flatter it.
    estimators
        Names, see docs/estimators.md; None for all that the arrays and parameters given allow.
    clip, tau, lam
        Of `ips_clipped` and `dr_clipped`; of `switch_dr`; of `dros`, `sub_gaussian` and `sub_gaussian_dr`. There is no
        default: each buys less variance for a bias that the log cannot tell.
    reward_range
        What a reward can be, not what was seen: smallest and largest.
    max_weight
        The largest weight that there can be, not the largest seen; None, or infinity, if nobody knows.
    interval
        How to make intervals; "auto" chooses for the log at hand by the rules in docs/intervals.md.
    level
        Coverage to promise, in (0, 1).
    seed
        Of the bootstrap, where an interval is one.
    multiplicity
        Shape (n,), ≥ 1: how many events each row stands for, 1 ÷ (1 − drop probability), in a log that was thinned out.

    Returns
    -------
    By name. `refused` is not empty where nobody should call the value an estimate.

    Raises
    ------
    InvalidLog
        An array, a name or a parameter is not as said above; names it.
    """
    batch = Batch.of(rewards, propensities, target, q_logged=q_logged, q_target=q_target, multiplicity=multiplicity)
    _check_names(estimators)
    _check(batch, reward_range=reward_range, max_weight=max_weight)
    if estimators is None:
        estimators = available(model=(q_logged, q_target), clip=clip, tau=tau, lam=lam)
    kinds = [estimator(name, clip=clip, tau=tau, lam=lam) for name in estimators]
    for each in kinds:
        each.add(batch)
    if interval in (PERCENTILE, STUDENTISED):
        found = _bootstrapped(kinds, batch, method=interval, level=level, seed=seed)
    else:
        _known(interval)
        settings = {"level": level, "reward_range": reward_range, "max_weight": max_weight}
        found = [interval_of(each.sums, interval, **settings) for each in kinds]  # type: ignore[arg-type]  # by name
    return {each.name: estimate_of(each.sums, ends) for each, ends in zip(kinds, found, strict=True)}


def estimate_difference(  # noqa: PLR0913 - as `estimate`
    rewards: ArrayLike,
    propensities: ArrayLike,
    target: ArrayLike,
    baseline_target: ArrayLike,
    *,
    q_logged: ArrayLike | None = None,
    q_target: ArrayLike | None = None,
    q_baseline: ArrayLike | None = None,
    estimators: Sequence[str] | None = None,
    clip: float | None = None,
    tau: float | None = None,
    lam: float | None = None,
    reward_range: tuple[float, float] = (0.0, 1.0),
    max_weight: float | None = None,
    interval: str = "auto",
    level: float = 0.95,
    seed: int = 0,
    multiplicity: ArrayLike | None = None,
) -> dict[str, Lift]:
    """Estimate how much more a target policy earns a row than a baseline, both on the same rows.

    Always paired: what makes both look better cancels, so that the interval is far tighter than the gap between two
    separate ones. The logging policy itself is the baseline whose target is the propensities.

    Parameters
    ----------
    baseline_target
        Shape (n,), in [0, 1]: the baseline's probability of the logged action.
    q_baseline
        Shape (n,): expected predicted reward under the baseline.
    rewards, propensities, target, q_logged, q_target, estimators, clip, tau, lam, reward_range, max_weight, interval, \
    level, seed, multiplicity
        As of `estimate`; the studentised bootstrap is not for differences.

    Returns
    -------
    By name.

    Raises
    ------
    InvalidLog
        An array, a name or a parameter is not as said; names it.
    """
    shared = {"q_logged": q_logged, "multiplicity": multiplicity}
    candidate = Batch.of(rewards, propensities, target, q_target=q_target, **shared)
    try:
        baseline = Batch.of(rewards, propensities, baseline_target, q_target=q_baseline, **shared)
    except InvalidLog as refused:  # only what is the baseline's can still be wrong
        theirs = {"target": "baseline_target", "q_target": "q_baseline"}.get(refused.field, refused.field)
        raise InvalidLog(refused.code, theirs, refused.detail) from None
    _check_names(estimators)
    for batch in (candidate, baseline):
        _check(batch, reward_range=reward_range, max_weight=max_weight)
    if estimators is None:
        estimators = available(model=(q_logged, q_target, q_baseline), clip=clip, tau=tau, lam=lam)
    result = {}
    for name in estimators:
        by = estimator(name, clip=clip, tau=tau, lam=lam)
        terms = (by.terms(candidate), by.terms(baseline))
        sums = PairedSums.of(*terms, candidate.multiplicity)
        if interval == PERCENTILE:
            bootstrap = Bootstrap(seed=seed)
            bootstrap.add(terms, candidate.multiplicity)
            found = difference(bootstrap, 0, 1, level=level)
        else:
            _known(interval)
            found = interval_of(sums, interval, level=level, reward_range=reward_range, max_weight=max_weight)
        result[name] = lift_of(sums, found, name=name)
    return result


def estimate_of(sums: Sums, found: Interval) -> Estimate:
    """Return the estimate that sums and an interval make, refused where the rules say so."""
    return Estimate(
        value=sums.value,
        lower=found.lower,
        upper=found.upper,
        method=found.method,
        n=sums.n,
        ess=sums.used.ess,
        max_weight=sums.used.largest,
        refused=refusal(sums.used),
    )


def lift_of(sums: PairedSums, found: Interval, *, name: str) -> Lift:
    """Return the lift that paired sums and an interval make, refused where either policy's estimate is."""
    baseline = sums.baseline.value
    lift = Lift(
        estimator=name,
        value=sums.value,
        lower=found.lower,
        upper=found.upper,
        method=found.method,
        relative=sums.value / baseline if baseline else math.nan,
        refused=refusal(sums.candidate.used) or refusal(sums.baseline.used),
    )
    return settled(lift)


def _bootstrapped(kinds: Sequence[Estimator], batch: Batch, *, method: str, level: float, seed: int) -> list[Interval]:
    bootstrap = Bootstrap(seed=seed, studentised=method == STUDENTISED)
    bootstrap.add([each.terms(batch) for each in kinds], batch.multiplicity)
    return [bootstrap.interval(index, level=level) for index in range(len(kinds))]


def difference(bootstrap: Bootstrap, candidate: int, baseline: int, *, level: float) -> Interval:
    """Return the percentile interval of one estimate of a bootstrap less another, by their places in it."""
    check_level(level)
    apart = bootstrap.values(candidate) - bootstrap.values(baseline)  # the same copies of each row in both
    apart = apart[np.isfinite(apart)]
    words = f"paired percentile bootstrap, {bootstrap.n_replicates} Poisson replicates"
    if not apart.size:
        return Interval(-math.inf, math.inf, f"{words}: none has weight")
    low, high = np.quantile(apart, [(1.0 - level) / 2, (1.0 + level) / 2]).tolist()
    return Interval(low, high, words)


def _known(method: str) -> None:
    if method not in METHODS:
        names = ", ".join((*METHODS, PERCENTILE, STUDENTISED))
        raise InvalidLog("method_unknown", "interval", f"must be one of {names}, not {method!r}")


def _check_names(estimators: Sequence[str] | None) -> None:
    if isinstance(estimators, str):
        raise InvalidLog("estimators_invalid", "estimators", f"must be a sequence of names, such as ({estimators!r},)")


def _check(batch: Batch, *, reward_range: tuple[float, float], max_weight: float | None) -> None:
    try:
        low, high = reward_range
    except (TypeError, ValueError):
        raise InvalidLog(
            "range_invalid", "reward_range", f"must be two numbers, smallest and largest, not {reward_range!r}"
        ) from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InvalidLog("range_invalid", "reward_range", f"must be two finite numbers in order, not {reward_range}")
    if not len(batch):
        raise InvalidLog("no_rows", "rewards", "must hold at least one row")
    least, most = float(batch.rewards.min()), float(batch.rewards.max())
    if least < low or most > high:
        raise InvalidLog(
            "reward_out_of_range", "rewards", f"must lie in the reward_range {reward_range}, not {least!r} to {most!r}"
        )
    with np.errstate(over="ignore"):
        largest = float(batch.weights.max())
    if not math.isfinite(largest):
        raise InvalidLog("propensity_too_small", "propensities", "must not be so small that a weight is infinite")
    if max_weight is not None and largest > max_weight * (1.0 + _SLACK):
        raise InvalidLog("weight_out_of_range", "max_weight", f"must be at least {largest:.6g}, which a row has")
