"""The bodies of requests and replies; `/openapi.json` is generated from these structs."""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

__all__ = [
    "SEGMENTS_AT_MOST",
    "Action",
    "ActivateReply",
    "Bounds",
    "Interval",
    "Problem",
    "RankReply",
    "RankRequest",
    "Ranked",
    "RankedSlot",
    "RewardReply",
    "RewardRequest",
    "SegmentInfo",
    "SegmentList",
    "SlotRequest",
    "StateDigest",
    "Version",
]

# What `extra_json_schema` says is for readers and generators of clients. The service checks the limits in force, which
# can be configured.
_ID: Final = "1 to 256 bytes of UTF-8 without control characters"
_ID_SCHEMA: Final = {"minLength": 1, "maxLength": 256, "pattern": "^[^\\x00-\\x1f\\x7f-\\x9f]*$"}
SEGMENTS_AT_MOST: Final = 16  # of one mixture: each of them has to be asked
_FEATURES_SCHEMA: Final = {"$ref": "#/components/schemas/Features"}

EventId = Annotated[
    str,
    Meta(description=f"Id of the decision: {_ID}.", examples=["visit-7f3a"], extra_json_schema=_ID_SCHEMA),
]


def _no_features() -> msgspec.Raw:
    return msgspec.Raw(b"{}")


class RankRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ask which of these actions this user should see now."""

    actions: Annotated[
        msgspec.Raw,
        Meta(
            description="The options, in the caller's order, with different ids.",
            extra_json_schema={
                "type": "array",
                "minItems": 1,
                "maxItems": 1000,
                "items": {"$ref": "#/components/schemas/Action"},
            },
        ),
    ]
    context: Annotated[
        msgspec.Raw,
        Meta(
            description="The features of the moment.",
            examples=[{"device": "mobile", "hour": 21}],
            extra_json_schema=_FEATURES_SCHEMA,
        ),
    ] = msgspec.field(default_factory=_no_features)
    event_id: (
        Annotated[
            str,
            Meta(description=f"The caller's id of this decision: {_ID}. Made if absent.", extra_json_schema=_ID_SCHEMA),
        ]
        | None
    ) = None
    segment: Annotated[str, Meta(description="The segment to use; otherwise the rules decide.")] | None = None
    user: (
        Annotated[str, Meta(description="Who is asking; kept only as a keyed hash.", extra_json_schema=_ID_SCHEMA)]
        | None
    ) = None
    exclude: Annotated[list[str], Meta(description="Ids of actions that must not be chosen.")] = []
    activate: Annotated[
        bool, Meta(description="False: not learned from until it is activated; without that it lapses.")
    ] = True
    slots: (
        Annotated[
            msgspec.Raw,
            Meta(
                description="Places to fill, each with one action, an action in one place at most; ids differ. Without "
                "them there is one place, which has no id.",
                extra_json_schema={
                    "type": "array",
                    "minItems": 1,
                    "maxItems": 50,
                    "items": {"$ref": "#/components/schemas/SlotRequest"},
                },
            ),
        ]
        | msgspec.UnsetType
    ) = msgspec.UNSET
    segments: (
        Annotated[
            dict[str, float],
            Meta(
                description="Segments with their weights, instead of `segment`: what is played is the mixture of what "
                "each would play. The decision belongs to one of them, drawn by the weights.",
                examples=[{"default": 1.0}],
                extra_json_schema={
                    "minProperties": 1,
                    "maxProperties": SEGMENTS_AT_MOST,
                    "additionalProperties": {"type": "number", "exclusiveMinimum": 0, "maximum": 1e9},
                },
            ),
        ]
        | None
    ) = None


class SlotRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A place to fill."""

    id: Annotated[str, Meta(description=_ID, examples=["hero"], extra_json_schema=_ID_SCHEMA)]
    features: Annotated[
        dict[str, Any],
        Meta(description="As in a context.", examples=[{"width": 2}], extra_json_schema=_FEATURES_SCHEMA),
    ] = {}
    exclude: Annotated[list[str], Meta(description="Ids of actions that must not be chosen for this slot.")] = []


class Action(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One option: an id, features, or both."""

    id: (
        Annotated[
            str,
            Meta(
                description=f"{_ID}. Without one the action is called by its place, #0, #1, …, and needs a feature.",
                examples=["shoe-7"],
                extra_json_schema=_ID_SCHEMA,
            ),
        ]
        | msgspec.UnsetType
    ) = msgspec.UNSET
    features: Annotated[
        dict[str, Any],
        Meta(description="As in a context.", examples=[{"price": 59.9}], extra_json_schema=_FEATURES_SCHEMA),
    ] = {}


class Version(msgspec.Struct, frozen=True):
    """Which state of the policy decided: its epoch, and the last outcome it had learned from."""

    epoch: int
    seq: int


class Ranked(msgspec.Struct, frozen=True):
    """An action and the probability with which it is played; 0 if it was excluded."""

    id: str
    probability: float


class RankedSlot(msgspec.Struct, frozen=True):
    """The choice for one slot, and the distribution that it was drawn from, given the choices before it."""

    id: str
    chosen: Annotated[str, Meta(description="Id of the action to show there.")]
    ranking: Annotated[
        list[Ranked],
        Meta(description="Every action, as in a rank without slots; those that went to earlier slots have 0."),
    ]


class RankReply(msgspec.Struct, frozen=True):
    """The choice and the distribution that it was drawn from."""

    event_id: str
    segment: str
    version: Version
    chosen: Annotated[str, Meta(description="Id of the action to show; with slots, in the first of them.")]
    ranking: Annotated[
        list[Ranked], Meta(description="Every action: the chosen one first, then by probability, excluded ones last.")
    ]
    expires_at: Annotated[float, Meta(description="When the reward window closes, in UTC seconds since 1970.")]
    slots: (
        Annotated[list[RankedSlot], Meta(description="What goes where, in the order asked; not there without slots.")]
        | msgspec.UnsetType
    ) = msgspec.UNSET


class RewardRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Say how good a decision turned out."""

    event_id: EventId
    reward: Annotated[
        float,
        Meta(
            description="Larger is better; a segment's policy may take a narrower range, such as 0 to 1.",
            examples=[1.0],
            extra_json_schema={"minimum": -1e9, "maximum": 1e9},
        ),
    ]
    reward_id: (
        Annotated[
            str,
            Meta(description="The caller's id of this reward: a repeat counts once.", extra_json_schema=_ID_SCHEMA),
        ]
        | None
    ) = None
    slot: (
        Annotated[
            str,
            Meta(
                description="Id of the slot that it is about. Without it, it is about the whole decision, and the "
                "segment's `reward.slots` says whether that is the first slot or each.",
                extra_json_schema=_ID_SCHEMA,
            ),
        ]
        | None
    ) = None


class RewardReply(msgspec.Struct, frozen=True):
    """What became of the reward."""

    status: Annotated[
        Literal["joined", "pending", "duplicate"],
        Meta(
            description="joined: learned from now. pending: kept until the window closes or the decision is activated. "
            "duplicate: counted before."
        ),
    ]


class ActivateReply(msgspec.Struct, frozen=True):
    """The decision will be learned from."""

    event_id: str
    status: Literal["activated"] = "activated"


class Interval(msgspec.Struct, frozen=True):
    """Mean reward of the outcomes so far, with a 95 % interval that holds however often one looks."""

    mean: float | None
    lower: float | None
    upper: float | None


class Bounds(msgspec.Struct, frozen=True):
    """An interval that holds however often one looks."""

    lower: float
    upper: float


class StateDigest(msgspec.Struct, frozen=True):
    """BLAKE2b-128 of the policy's state in hex: two folds of the same log have the same."""

    epoch: int
    seq: int
    digest: str


class SegmentInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """A group of traffic with a policy of its own."""

    name: str
    policy: Annotated[dict[str, Any], Meta(description="The policy's settings, defaults written out.")]
    pooling: Annotated[
        Literal["own", "shared", "auto"],
        Meta(description="Whether it shares a policy with other segments; an `auto` that shares with none is `own`."),
    ]
    served_by: Annotated[
        Literal["own", "shared"],
        Meta(description="Whose policy decides, or most; in a list, of a segment not in memory, as when it was last."),
    ]
    version: Version
    decisions: int
    outcomes: int
    reward: Interval
    own_advantage: Annotated[
        Bounds | None,
        Meta(
            description="What its own policy earns more an outcome than the shared one, by this segment's outcomes. "
            "Above 0 its own serves, below 0 the shared one; around 0, what all segments that share it show decides."
        ),
    ] = None
    state: StateDigest | None = None


class SegmentList(msgspec.Struct, frozen=True):
    """All segments, in the order of their rules."""

    segments: list[SegmentInfo]


class Problem(msgspec.Struct, frozen=True):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: Annotated[str, Meta(description="Stable and machine-readable.")]
    request_id: str
    field: Annotated[str, Meta(description="Path of the value at fault, such as actions[3].id.")] | None = None
