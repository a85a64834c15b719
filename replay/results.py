"""What an evaluation found out: plain values, of which JSON, tables, plots and the report are views."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

__all__ = [
    "Bin",
    "CandidateResult",
    "Diagnostics",
    "Estimate",
    "Evaluation",
    "Finding",
    "Lift",
    "LogHealth",
    "Moment",
    "Question",
    "Slice",
]

Question = Literal["fixed", "progressive", "frozen", "deployed"]
Verdict = Literal["better", "worse", "not enough data"]
Grade = Literal["green", "amber", "red"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean reward with its interval.

    Attributes
    ----------
    value
        NaN where the log cannot answer at all.
    lower, upper
        Ends of the interval.
    method
        How the interval was made, and by which rule it was chosen, in a few words.
    n
        Rows that were used.
    ess
        Effective sample size, (Σw)² / Σw².
    max_weight
        The largest weight that was seen.
    refused
        Why no one should call this an estimate; "" if nothing stands against it.
    """

    value: float
    lower: float
    upper: float
    method: str
    n: int
    ess: float
    max_weight: float
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Lift:
    """What a candidate earns more than the baseline, a row: the paired difference on the same rows.

    Attributes
    ----------
    estimator
        By which both were estimated.
    value, lower, upper, method
        As in `Estimate`, for candidate − baseline.
    relative
        value ÷ the baseline's mean reward; NaN if that is 0.
    refused
        As in `Estimate`: why the estimate of one of the two is none.
    """

    estimator: str
    value: float
    lower: float
    upper: float
    method: str
    relative: float
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a log, or with a candidate on it, that no number should hide.

    Attributes
    ----------
    code
        Stable, machine-readable, e.g. ``"mean_weight"``.
    serious
        Whether estimates are not to be trusted because of it.
    detail
        One sentence for a person, with the figures.
    """

    code: str
    serious: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """How much of the log speaks of a candidate.

    Attributes
    ----------
    n
        Rows.
    ess
        Effective sample size.
    max_weight, q99_weight, mean_weight
        Of the importance weights; the mean should be 1.
    mean_weight_z
        How many standard errors the mean weight is away from 1.
    share_zero
        Rows whose logged action the candidate would never play.
    unsupported
        Share of rows on which the candidate gives probability to actions that the logging policy could not have
        chosen; NaN where the log has no whole distributions.
    top_share
        Share of all weight that the heaviest row has.
    """

    n: int
    ess: float
    max_weight: float
    q99_weight: float
    mean_weight: float
    mean_weight_z: float
    share_zero: float
    unsupported: float
    top_share: float


@dataclass(frozen=True, slots=True)
class Moment:
    """The estimate over the rows up to some moment.

    Attributes
    ----------
    n
        Rows so far.
    at
        UTC seconds of the last of them; NaN if the log does not say.
    value
        The estimate over all rows so far.
    lower, upper
        The confidence sequence: holds at all moments at once; NaN where there is none, which a finding explains.
    recent
        The estimate over the rows since the moment before: the learning curve.
    """

    n: int
    at: float
    value: float
    lower: float
    upper: float
    recent: float


@dataclass(frozen=True, slots=True)
class Bin:
    """One bar of a histogram: low ≤ weight < high."""

    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class Slice:
    """A candidate on one part of the log, such as a segment or a day."""

    name: str
    estimates: Mapping[str, Estimate]
    lift: Lift | None
    diagnostics: Diagnostics
    verdict: Verdict
    grade: Grade


@dataclass(frozen=True, slots=True)
class CandidateResult:
    """What is known of one candidate.

    Attributes
    ----------
    name
        As the caller gave it.
    spec
        What it was, e.g. its spec as a table.
    question
        Which value this is: of a policy that does not learn (`fixed`), of the sequence of policies that it became
        while it learned from this log (`progressive`), of what it was at the end of the first part of the log, on
        the rest (`frozen`), or of a deployment for as many events as rejection accepted (`deployed`).
    estimates
        By the estimator's name.
    lift
        Against the baseline; None for the baseline itself.
    diagnostics, findings
        What stands for and against the figures.
    verdict, grade
        In a word.
    over_time, weight_histogram, clip_scan, slices
        For the report; a clip scan is pairs of (clip, `Estimate`).
    """

    name: str
    spec: str
    question: Question
    estimates: Mapping[str, Estimate]
    lift: Lift | None
    diagnostics: Diagnostics
    findings: Sequence[Finding]
    verdict: Verdict
    grade: Grade
    over_time: Sequence[Moment] = ()
    weight_histogram: Sequence[Bin] = ()
    clip_scan: Sequence[tuple[float, Estimate]] = ()
    slices: Mapping[str, Sequence[Slice]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LogHealth:
    """What the log itself looks like, whoever is evaluated on it.

    Attributes
    ----------
    events, dropped
        Rows used; rows left out, by reason.
    first_at, last_at
        UTC seconds; NaN if the log does not say.
    reward_min, reward_max, reward_mean
        As seen.
    propensity_min
        As seen.
    findings
        Propensities that do not sum to 1, action shares unlike the propensities (sample ratio mismatch), missing and
        late rewards, duplicates.
    """

    events: int
    dropped: Mapping[str, int]
    first_at: float
    last_at: float
    reward_min: float
    reward_max: float
    reward_mean: float
    propensity_min: float
    findings: Sequence[Finding]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything that `evaluate` found out.

    Attributes
    ----------
    health
        Of the log.
    policies
        The candidates by name, the baselines among them.
    baseline
        The name of the one that lifts are measured against.
    settings
        What was asked for, with all defaults written out: estimators, level, seed, reward range.
    """

    health: LogHealth
    policies: Mapping[str, CandidateResult]
    baseline: str
    settings: Mapping[str, Any]

    def summary(self) -> "DataFrame":
        """Return a table with a row for each candidate and estimator; see `replay.views.summary`."""
        from replay.views import summary  # noqa: PLC0415 - only who looks needs the libraries to look with

        return summary(self)

    def plot(self) -> "Figure":
        """Return the forest plot, a `matplotlib.figure.Figure`."""
        from replay.views import plot  # noqa: PLC0415 - see above

        return plot(self)

    def to_html(self) -> str:
        """Return the report: one page that needs no network."""
        from replay.views import to_html  # noqa: PLC0415 - see above

        return to_html(self)

    def to_json(self) -> bytes:
        """Return everything as JSON; see `replay.views.to_plain` for its shape."""
        from replay.views import to_json  # noqa: PLC0415 - see above

        return to_json(self)
