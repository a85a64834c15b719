"""How many events of a log are there twice, in bounded memory."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Self

__all__ = ["Duplicates"]

_BITS = 64


@dataclass(slots=True)
class Duplicates:
    """Counts of event ids: exact up to `limit` different ids, beyond it those of a fixed share of all ids.

    An id is kept if the first bits of its hash are 0; whenever more than `limit` are kept, one more bit must be. The
    same ids are kept whatever the order and whichever shard they came from, all copies of one or none: so the share
    of duplicates among those kept is that of the log, give or take one part in a few hundred.

    Attributes
    ----------
    limit
        Different ids to keep, at most: about 100 bytes each.
    zero_bits
        First bits of a hash that must be 0; 0 while the counts are exact.
    counts
        How often each kept hash was seen.
    """

    limit: int = 100_000
    zero_bits: int = 0
    counts: Counter[int] = field(default_factory=Counter)

    def add(self, event_ids: Iterable[str]) -> None:
        """Take in event ids; the empty ones, which stand for none, are passed over."""
        shift = _BITS - self.zero_bits
        for event_id in event_ids:
            if not event_id:
                continue
            digest = int.from_bytes(blake2b(event_id.encode("utf-8", "surrogatepass"), digest_size=8).digest())
            if digest >> shift:
                continue
            self.counts[digest] += 1
            while len(self.counts) > self.limit:
                self._thin()
                shift = _BITS - self.zero_bits

    def __add__(self, other: Self) -> Self:
        """Return the counts over both sets of events: an id that each saw once is a duplicate."""
        result = type(self)(min(self.limit, other.limit), max(self.zero_bits, other.zero_bits))
        result.counts = self.counts + other.counts
        result._drop()
        while len(result.counts) > result.limit:
            result._thin()
        return result

    @property
    def is_exact(self) -> bool:
        """Whether every id was counted."""
        return self.zero_bits == 0

    @property
    def share(self) -> float:
        """Share of events whose id had been seen before; 0 without ids."""
        events = self.counts.total()
        return (events - len(self.counts)) / events if events else 0.0

    def dumps(self) -> tuple[Any, ...]:
        """Return plain numbers and lists."""
        return self.limit, self.zero_bits, list(self.counts.items())

    @classmethod
    def loads(cls, state: tuple[Any, ...]) -> Self:
        """Return what `dumps` described."""
        limit, zero_bits, items = state
        return cls(limit, zero_bits, Counter(dict(items)))

    def _thin(self) -> None:
        self.zero_bits += 1
        self._drop()

    def _drop(self) -> None:
        shift = _BITS - self.zero_bits
        self.counts = Counter({digest: count for digest, count in self.counts.items() if not digest >> shift})
