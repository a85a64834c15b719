"""The bodies of the calls about evaluations; `/openapi.json` has them beside those of `banditd.messages`."""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

__all__ = [
    "NAME_PATTERN",
    "POLICIES_AT_MOST",
    "Baseline",
    "EvaluationEnd",
    "EvaluationInfo",
    "EvaluationList",
    "EvaluationProblem",
    "EvaluationProgress",
    "EvaluationRequest",
    "State",
]

POLICIES_AT_MOST: Final = 50
NAME_PATTERN: Final = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"

State = Literal["queued", "running", "done", "failed", "cancelled"]
Baseline = Literal["logged", "baseline1", "uniform"]

_SINCE_1970: Final = {"minimum": 0, "maximum": 1e11}
Instant = Annotated[float, Meta(ge=0.0, le=1e11)]


class EvaluationRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ask what other policies would have earned on the decisions of this server."""

    policies: Annotated[
        dict[str, str | dict[str, Any]],
        Meta(
            description="The candidates by name: a policy as in the configuration, its kind alone, or one of logged "
            "(what was done), baseline1 (the caller's first action) and uniform. Those three are always there.",
            extra_json_schema={
                "minProperties": 1,
                "maxProperties": POLICIES_AT_MOST,
                "propertyNames": {"pattern": NAME_PATTERN},
            },
        ),
    ]
    evaluation_id: (
        Annotated[
            str,
            Meta(
                description="The caller's id of this evaluation: 1 to 256 bytes of UTF-8 without control characters. "
                "Made if absent.",
                extra_json_schema={"minLength": 1, "maxLength": 256, "pattern": "^[^\\x00-\\x1f\\x7f-\\x9f]*$"},
            ),
        ]
        | None
    ) = None
    segment: Annotated[str, Meta(description="Decisions of this segment alone.")] | None = None
    since: (
        Annotated[
            Instant, Meta(description="Decisions from here on: UTC seconds since 1970.", extra_json_schema=_SINCE_1970)
        ]
        | None
    ) = None
    until: Annotated[Instant, Meta(description="Decisions before this.", extra_json_schema=_SINCE_1970)] | None = None
    estimators: (
        Annotated[
            list[str],
            Meta(
                min_length=1,
                max_length=20,
                description="By name, as `banditd replay --estimator` takes them. Absent: ips and snips.",
                examples=[["snips", "dr"]],
            ),
        ]
        | None
    ) = None
    clip: Annotated[float, Meta(description="Of ips_clipped and dr_clipped.")] | None = None
    tau: Annotated[float, Meta(description="Of switch_dr.")] | None = None
    lam: Annotated[float, Meta(description="Of dros, sub_gaussian and sub_gaussian_dr.")] | None = None
    baseline: Annotated[str, Meta(description="The name of the policy that lifts are measured against.")] = "logged"
    by: Annotated[
        list[Literal["segment", "day", "hour", "slot"]], Meta(max_length=4, description="What to slice by.")
    ] = []
    level: Annotated[
        float,
        Meta(
            gt=0.0,
            lt=1.0,
            description="Coverage that the intervals are to promise.",
            extra_json_schema={"exclusiveMinimum": 0, "exclusiveMaximum": 1},
        ),
    ] = 0.95
    seed: Annotated[int, Meta(ge=0, le=2**53 - 1, description="Of whatever is drawn.")] = 0
    question: Annotated[
        Literal["progressive", "frozen", "deployed"],
        Meta(
            description="Of policies that learn: the value while they learned along the log, of what they were at its "
            "middle on the rest, or of a deployment, by rejection sampling."
        ),
    ] = "progressive"
    per_segment: Annotated[
        bool, Meta(description="Whether a candidate is a policy for each segment, or one for all of them.")
    ] = False


class EvaluationProgress(msgspec.Struct, frozen=True):
    """How far it is."""

    events: Annotated[int, Meta(description="Decisions that have been read.")]
    of: Annotated[int | None, Meta(description="Of at most how many; null where `since` or `until` was given.")] = None


class EvaluationProblem(msgspec.Struct, frozen=True):
    """Why there is no result."""

    code: Literal["refused", "out_of_memory", "took_too_long", "killed", "fault"]
    detail: str


class EvaluationInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """An evaluation and what is known of it."""

    evaluation_id: str
    state: State
    policies: Annotated[list[str], Meta(description="Names of the candidates.")]
    created_at: Annotated[float, Meta(description="UTC seconds since 1970.")]
    started_at: float | None = None
    ended_at: float | None = None
    progress: EvaluationProgress | None = None
    error: Annotated[EvaluationProblem | None, Meta(description="Of one that failed.")] = None
    result: Annotated[
        msgspec.Raw | msgspec.UnsetType,
        Meta(
            description="Of one that is done, and not in a list: what `banditd replay --json` writes.",
            extra_json_schema={"type": "object"},
        ),
    ] = msgspec.UNSET


class EvaluationList(msgspec.Struct, frozen=True):
    """The evaluations that are there, in the order in which they were asked for."""

    evaluations: list[EvaluationInfo]


class EvaluationEnd(msgspec.Struct, frozen=True):
    """What a deletion did."""

    evaluation_id: str
    status: Annotated[
        Literal["cancelled", "forgotten"],
        Meta(description="cancelled: it waited or ran, and does no more. forgotten: it had ended, and is gone."),
    ]
