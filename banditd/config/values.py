"""The configuration as the server uses it: resolved, checked, frozen."""

import ipaddress
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from banditd.config.tables import EvaluationsTable, KeysTable, LimitsTable, LogTable, ServerTable, StoreTable
from banditd.errors import ConfigError
from banditd.journal.protocol import Pooling, RewardRule
from banditd.segments.rules import Rule
from policies.protocol import PolicySpec

__all__ = ["Config", "Segment", "check_exposure"]

SQLITE = "sqlite:"


@dataclass(frozen=True, slots=True)
class Segment:
    """A named group of traffic.

    Attributes
    ----------
    rule
        When a request belongs to it; None: when a request names it, or nothing else applies.
    reward
        Its own settings over those of `[reward]`.
    pooling
        What it asks for; `Config.pooled` says what it gets.
    """

    name: str
    rule: Rule | None
    policy: PolicySpec
    reward: RewardRule
    pooling: Pooling = "auto"


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that was configured, with every default filled in.

    Attributes
    ----------
    server
        Its `keys` hold those of `server.keys_file` too.
    reward
        What segments start from; each segment has its own, resolved.
    segments
        In the order of their rules; the last is ``"default"``.
    """

    server: ServerTable
    store: StoreTable
    reward: RewardRule
    limits: LimitsTable
    log: LogTable
    keys: KeysTable
    evaluations: EvaluationsTable
    segments: tuple[Segment, ...]

    def pooled(self) -> dict[str, Pooling]:
        """Return by segment how it is pooled: auto alone with its policy is own."""
        sharing = Counter(segment.policy for segment in self.segments if segment.pooling != "own")
        return {
            segment.name: "own" if segment.pooling == "auto" and sharing[segment.policy] == 1 else segment.pooling
            for segment in self.segments
        }

    @property
    def store_path(self) -> Path:
        """The SQLite file."""
        return Path(self.store.url.removeprefix(SQLITE))

    @property
    def keyring_path(self) -> Path:
        """The file of the draw and subject keys: `keys.file`, or beside the store."""
        return Path(self.keys.file or f"{self.store_path}.keys")


def check_exposure(config: Config) -> None:
    """Refuse to listen beyond this machine without an API key.

    Raises
    ------
    ConfigError
        `server.host` is not loopback, there is no Unix socket instead, no key, and no `insecure`.
    """
    server = config.server
    if server.uds or server.keys or server.insecure or _is_loopback(server.host):
        return
    raise ConfigError(
        "exposed_without_keys",
        f"{server.host!r} can be reached from other machines and there is no API key: set server.keys or "
        "server.keys_file, listen on 127.0.0.1 or a Unix socket, or allow it with server.insecure (--insecure)",
        field="server.host",
    )


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a name may lead anywhere, and elsewhere tomorrow
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
