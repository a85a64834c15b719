"""When a number is refused, what counts as wrong, and how that becomes a grade and a verdict: all the rules, here.

docs/estimators.md says the same in a table.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from replay.diagnostics.duplicates import Duplicates
from replay.diagnostics.log import LogCounts
from replay.diagnostics.shares import Mismatch
from replay.diagnostics.weights import two_sided
from replay.moments import Spread
from replay.results import Diagnostics, Finding, Grade, Lift, LogHealth, Verdict

__all__ = ["candidate_findings", "grade", "log_findings", "log_health", "refusal", "settled", "verdict"]

MOST_TOP_SHARE = 0.1  # of all weight in one row: beyond it an estimate is that row's reward
FEWEST_ESS, ENOUGH_ESS = 100.0, 1_000.0  # red below the first, green from the second
NOTED_UNSUPPORTED, MOST_UNSUPPORTED = 0.01, 0.2  # share of the target's play that the log cannot speak of
NOTED_Z, MOST_Z = 3.0, 5.0  # standard errors of the mean weight from 1; with the sizes below
NOTED_APART, MOST_APART = 0.01, 0.05  # of the mean weight from 1: less is the rounding of logs
NOTED_P, LEAST_P = 1e-3, 1e-6  # of the choices, given the probabilities
NOTED_SHARE, MOST_SHARE = 0.01, 0.2  # of events with missing or late rewards
MOST_OFF = 0.01  # share of events whose probabilities do not sum to 1, or that are duplicates
HEAVIER = 3.0  # times the largest weight seen: what intervals without `max_weight` provide for, too
ROUNDING = 1e-6  # of the baseline's mean: propensities that were written as floats of 32 bits differ by so much
SMALL_PROPENSITY = 1e-4  # a row that was so unlikely can outweigh ten thousand


def refusal(used: Spread) -> str:
    """Return why nobody should call what these weights made an estimate; "" if nothing stands against it.

    One row with more than a tenth of all weight: whatever the others say, its reward decides. That implies an
    effective sample below 100, so that what is refused is always graded red.
    """
    if used.total <= 0.0:
        return "no row of the log has any weight left: the target never plays what was logged, or tau cuts all of it"
    if used.top_share > MOST_TOP_SHARE:
        return (
            f"one row has {used.top_share:.0%} of all weight (weight {used.heaviest:.4g}): the effective sample is "
            f"{used.ess:.1f} rows"
        )
    return ""


def candidate_findings(figures: Diagnostics) -> tuple[Finding, ...]:
    """Return what stands against a candidate's figures."""
    return tuple(_candidate(figures))


def _off_one(figures: Diagnostics) -> tuple[float, float]:
    """Return how far the mean weight is from 1, and in how many standard errors.

    A mean below 1 may just lack the heavy row that did not come, of which a sample's own spread knows nothing: so one
    more row is imagined, with three times the largest weight seen.
    """
    below = 1.0 - figures.mean_weight
    if below <= 0.0:
        return -below, abs(figures.mean_weight_z)
    rest = below - (HEAVIER * figures.max_weight - figures.mean_weight) / (figures.n + 1)
    return max(0.0, rest), abs(figures.mean_weight_z) * max(0.0, rest) / below


def _candidate(figures: Diagnostics) -> Iterator[Finding]:
    if not figures.ess > 0.0:
        yield Finding("no_weight", serious=True, detail="The candidate never plays what was logged.")
        return
    if figures.ess < ENOUGH_ESS:
        detail = f"The effective sample is {figures.ess:,.0f} of {figures.n:,} rows, and under {ENOUGH_ESS:,.0f}."
        yield Finding("low_ess", serious=figures.ess < FEWEST_ESS, detail=detail)
    if figures.top_share > MOST_TOP_SHARE:
        detail = f"One row has {figures.top_share:.0%} of all weight (the largest is {figures.max_weight:.4g})."
        yield Finding("heavy_row", serious=True, detail=detail)
    apart, z = _off_one(figures)
    if apart > NOTED_APART and z > NOTED_Z:
        detail = (
            f"The mean weight is {figures.mean_weight:.4g} instead of 1, {z:.1f} standard errors away "
            f"(p = {two_sided(z):.2g}): propensities are wrong, or the candidate plays what was never logged."
        )
        yield Finding("mean_weight", serious=apart > MOST_APART and z > MOST_Z, detail=detail)
    if figures.unsupported > NOTED_UNSUPPORTED:
        detail = f"{figures.unsupported:.1%} of the candidate's play is of actions that could not have been logged."
        yield Finding("unsupported", serious=figures.unsupported > MOST_UNSUPPORTED, detail=detail)


def log_health(counts: LogCounts, *, events: int, dropped: Mapping[str, int]) -> LogHealth:
    """Return what a log looks like, with what is wrong.

    Parameters
    ----------
    counts
        Of all rows.
    events
        Decisions that were used; the same as rows where decisions have one slot.
    dropped
        What the reader left out, by reason.
    """
    any_rows, any_time = counts.n > 0, counts.first_at <= counts.last_at
    return LogHealth(
        events=events,
        dropped=dict(dropped),
        first_at=counts.first_at if any_time else math.nan,
        last_at=counts.last_at if any_time else math.nan,
        reward_min=counts.reward_min if any_rows else math.nan,
        reward_max=counts.reward_max if any_rows else math.nan,
        reward_mean=float(counts.rewards.mean[0]) if any_rows else math.nan,
        propensity_min=counts.propensity_min if any_rows else math.nan,
        findings=log_findings(counts),
    )


def log_findings(counts: LogCounts) -> tuple[Finding, ...]:
    """Return what is wrong with a log, whoever is evaluated on it."""
    return (*_propensities(counts), *_mismatches(counts), *_rewards(counts), *_duplicates(counts.duplicates))


def _propensities(counts: LogCounts) -> Iterator[Finding]:
    if counts.off:
        share = counts.off / counts.distributions
        seen = f"; one sums to {counts.furthest_sum:.4g}" if counts.furthest_sum != 1.0 else ", and were set aside"
        detail = f"The probabilities of {share:.2%} of the events do not sum to 1{seen}."
        yield Finding("propensity_sum", serious=share > MOST_OFF, detail=detail)
    if counts.certain > NOTED_SHARE * counts.n:
        detail = f"{counts.certain / counts.n:.1%} of the rows were certain (propensity 1) and tell of no other action."
        yield Finding("certain", serious=False, detail=detail)
    if counts.propensity_min < SMALL_PROPENSITY:
        detail = f"The least propensity is {counts.propensity_min:.2g}: a row of that kind can outweigh all others."
        yield Finding("small_propensity", serious=False, detail=detail)


def _mismatches(counts: LogCounts) -> Iterator[Finding]:
    found = counts.shares.test()
    if found.p_value < NOTED_P:
        yield _mismatch("The log", found, found.p_value)
    for name, shares in counts.slices.items():
        part = shares.test()
        p_value = min(1.0, part.p_value * len(counts.slices))  # Bonferroni: one of many slices is odd by chance
        if p_value < NOTED_P:
            yield _mismatch(f"The part {name!r}", part, p_value)


def _mismatch(what: str, found: Mismatch, p_value: float) -> Finding:
    detail = (
        f"{what} did not choose as its probabilities say (chi-square {found.statistic:.4g}, {found.freedom} degrees of "
        f"freedom, p = {p_value:.2g}): {found.worst!r} was chosen {found.observed:.0f} times instead of "
        f"{found.expected:.1f}."
    )
    return Finding("action_shares", serious=p_value < LEAST_P, detail=detail)


def _rewards(counts: LogCounts) -> Iterator[Finding]:
    if counts.n and counts.reward_min == counts.reward_max:
        yield Finding("rewards_equal", serious=False, detail=f"All rewards are {counts.reward_min:g}.")
    for code, number, what in (
        ("missing_rewards", counts.missing, "No reward came for {:.1%} of the events: they were left out."),
        ("late_rewards", counts.late, "The rewards of {:.1%} of the events came too late to count."),
    ):
        if number > NOTED_SHARE * counts.n_rewards:
            share = number / counts.n_rewards
            detail = what.format(share)
            yield Finding(code, serious=share > MOST_SHARE, detail=detail)


def _duplicates(duplicates: Duplicates) -> Iterator[Finding]:
    share = duplicates.share
    if share > 0.0:
        about = "" if duplicates.is_exact else "about "
        detail = f"{about}{share:.2%} of the events are there more than once.".capitalize()
        yield Finding("duplicates", serious=share > MOST_OFF, detail=detail)


def grade(findings: Sequence[Finding]) -> Grade:
    """Return how far to trust figures: red if a finding is serious, amber if there is any, else green."""
    if any(finding.serious for finding in findings):
        return "red"
    return "amber" if findings else "green"


def verdict(lift: Lift | None, how_far: Grade) -> Verdict:
    """Return what the paired lift's interval says; red figures and refused ones say nothing.

    Parameters
    ----------
    lift
        None for the baseline itself.
    how_far
        The grade of the candidate.
    """
    if lift is None or lift.refused or how_far == "red" or math.isnan(lift.lower) or math.isnan(lift.upper):
        return "not enough data"
    if lift.lower > 0.0:
        return "better"
    return "worse" if lift.upper < 0.0 else "not enough data"


def settled(lift: Lift) -> Lift:
    """Return a lift that holds 0 where both play alike but for the digits with which the log was written."""
    mean = abs(lift.value / lift.relative) if lift.relative else math.nan
    if lift.value != 0.0 and not max(abs(lift.lower), abs(lift.upper)) <= ROUNDING * mean:
        return lift
    return replace(lift, lower=min(lift.lower, lift.value, 0.0), upper=max(lift.upper, lift.value, 0.0))
