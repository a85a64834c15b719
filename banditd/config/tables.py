"""The tables of the configuration file: every key, its default and its bounds.

`docs/configuration.md` says what each key means, and a test keeps the two the same. A name in
code ends with its unit (`keep_s`); the key in the file does not (`keep`), since its value does.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from banditd.journal.protocol import Aggregate, Learn, Pooling, Slots
from policies.features import Limits as FeatureLimits

__all__ = [
    "ApiKey",
    "DefaultSegmentTable",
    "Duration",
    "EvaluationsTable",
    "File",
    "KeysTable",
    "LimitsTable",
    "LogTable",
    "RewardTable",
    "SegmentTable",
    "ServerTable",
    "StoreTable",
]

Duration = Annotated[float, Meta(description='a duration such as "500ms", "10m" or "90d"')]
ApiKey = Annotated[
    str,
    Meta(
        pattern=r"\A[A-Za-z0-9._~+/-]{1,512}=*\Z",  # what RFC 6750 lets a Bearer header hold
        description="an API key: 1 to 512 letters, digits and -._~+/, then any number of =",
    ),
]
Name = Annotated[
    str,
    Meta(
        pattern=r"\A[a-z0-9][a-z0-9_-]{0,63}\Z",
        description="a name: 1 to 64 of a-z, 0-9, _ and -, beginning with a letter or a digit",
    ),
]
Host = Annotated[str, Meta(pattern=r"\A[^\s\x00-\x1f\x7f]{1,253}\Z", description="a host name or an address")]
Text = Annotated[str, Meta(pattern=r"\A[^\x00]*\Z", max_length=4_096, description="text of at most 4096 characters")]


class ServerTable(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the server listens and whom it answers."""

    host: Host = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8080
    uds: Text = ""
    keys: tuple[ApiKey, ...] = ()
    keys_file: Text = ""
    insecure: bool = False
    body_timeout_s: Duration = field(default=5.0, name="body_timeout")
    keepalive_s: Duration = field(default=75.0, name="keepalive")  # above the 60 s of common load balancers

    def __repr__(self) -> str:
        """Return what a traceback or a log may show: no API key."""
        return f"ServerTable(host={self.host!r}, port={self.port}, uds={self.uds!r}, {len(self.keys)} keys)"


class StoreTable(Struct, frozen=True, forbid_unknown_fields=True):
    """Where decisions and outcomes are kept, and how safely."""

    url: Text = "sqlite:banditd.db"
    durability: Literal["sync", "process"] = "sync"
    keep_s: Duration = field(default=90 * 86_400.0, name="keep")
    snapshot_every: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 10_000
    hot_lanes: Annotated[int, Meta(ge=1, le=1_000_000)] = 200  # a vw policy takes 1 to 5 MB
    queue: Annotated[int, Meta(ge=1, le=1_000_000)] = 4_096
    deadline_s: Duration = field(default=5.0, name="deadline")


class RewardTable(Struct, frozen=True, forbid_unknown_fields=True):
    """How rewards become the reward of an outcome."""

    wait_s: Duration = field(default=600.0, name="wait")
    default: float = 0.0
    aggregate: Aggregate = "earliest"
    learn: Learn = "at_once"
    slots: Slots = "first"


class LimitsTable(Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds on what one request may hold."""

    body_bytes: Annotated[int, Meta(ge=1_024, le=67_108_864)] = 262_144
    actions: Annotated[int, Meta(ge=1, le=100_000)] = 1_000
    features: Annotated[int, Meta(ge=1, le=100_000)] = 1_000
    depth: Annotated[int, Meta(ge=1, le=128)] = 16  # orjson does not write much more than 250 levels
    id_bytes: Annotated[int, Meta(ge=1, le=1_024)] = 256
    number: Annotated[float, Meta(ge=1.0, le=1e12)] = 1e9  # squares of it must stay far inside VW's float32
    batch: Annotated[int, Meta(ge=1, le=10_000)] = 100
    slots: Annotated[int, Meta(ge=1, le=100)] = 50
    scores: Annotated[int, Meta(ge=1_000, le=10_000_000)] = 5_000  # 10 to 100 ms of VW, in which nobody else is served

    def of_features(self) -> FeatureLimits:
        """Return the bounds that `policies.features` checks."""
        return FeatureLimits(
            depth=self.depth, features=self.features, id_bytes=self.id_bytes, magnitude=float(self.number)
        )


class LogTable(Struct, frozen=True, forbid_unknown_fields=True):
    """What is written to standard output."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    requests: bool = False


class EvaluationsTable(Struct, frozen=True, forbid_unknown_fields=True):
    """What evaluations that are asked for over HTTP may take."""

    queue: Annotated[int, Meta(ge=1, le=1_000)] = 8
    keep: Annotated[int, Meta(ge=1, le=1_000)] = 20
    memory_mib: Annotated[int, Meta(ge=256, le=1_048_576)] = 2_048
    deadline_s: Duration = field(default=3_600.0, name="deadline")


class KeysTable(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the secret keys of draws and pseudonyms are kept."""

    file: Text = ""


class DefaultSegmentTable(Struct, frozen=True, forbid_unknown_fields=True):
    """The segment of everything that no rule takes."""

    policy: dict[str, Any] = field(default_factory=lambda: {"kind": "vw"})
    pooling: Pooling = "auto"
    reward: dict[str, Any] = {}


class SegmentTable(Struct, frozen=True, forbid_unknown_fields=True):
    """A group of traffic with a policy and a reward rule of its own."""

    name: Name
    when: Text = ""
    policy: dict[str, Any] = field(default_factory=lambda: {"kind": "vw"})
    pooling: Pooling = "auto"
    reward: dict[str, Any] = {}


class File(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file; every table and every key but a segment's name may be left out."""

    server: ServerTable = ServerTable()
    store: StoreTable = StoreTable()
    reward: RewardTable = RewardTable()
    limits: LimitsTable = LimitsTable()
    log: LogTable = LogTable()
    keys: KeysTable = KeysTable()
    evaluations: EvaluationsTable = EvaluationsTable()
    default: DefaultSegmentTable = field(default_factory=DefaultSegmentTable)
    segments: tuple[SegmentTable, ...] = ()
