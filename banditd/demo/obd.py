"""Replay real shop traffic through the live server, to estimate what other policies would have earned.

The rows are of the Open Bandit Dataset: one item shown at one of three places of a shop's page,
chosen uniformly at random, and whether it was clicked. By the method of Li et al. (2011) each
policy is asked what it would show. Where that is what was shown, the decision is activated and
gets the logged click as its reward, so that the policy learns from it; otherwise it lapses.
"""

import asyncio
from collections.abc import Sequence

from rich.table import Table

from banditd.demo.client import BATCH, Client, RankRequest, connected
from banditd.demo.obd_data import CAMPAIGN, Log, Row, cached_wheel, read_log
from banditd.demo.screen import Screen, table
from banditd.demo.server import POLICIES, running_server
from replay import Matching

__all__ = ["play"]

_BATCH_ROWS = BATCH // len(POLICIES)
_BODY_BYTES = 4 * 1024 * 1024  # a batch carries every item's features 100 times


async def play(*, rounds: int | None, seconds: float | None, port: int) -> None:
    """Play the scene; return when the rows or the seconds are over.

    Raises
    ------
    DataUnavailable
        The data set cannot be had.
    """
    log = read_log(await cached_wheel())
    n_rounds = rounds or len(log.rows)
    async with running_server(port=port, body_bytes=_BODY_BYTES) as address, connected(address) as client:
        with Screen("logged rows", n_rounds) as screen:
            screen.say(
                f"\n{len(log.rows):,} rows of a shop's log, campaign {CAMPAIGN}, {log.n_items} items shown at random, "
                f"{sum(row.click for row in log.rows)} clicks.\n"
                "Four policies of one server say what they would have shown; look into it meanwhile:\n"
                f"{address}/docs   {address}/v1/segments\n"
            )
            scene = _Scene(log, client, screen)
            try:
                await scene.play(n_rounds, seconds=seconds)
            finally:
                screen.finish(scene.done, scene.table())
            screen.say(scene.summary())


class _Scene:
    """The estimates, and the loop that fills them."""

    def __init__(self, log: Log, client: Client, screen: Screen) -> None:
        self._log = log
        self._client = client
        self._screen = screen
        self._estimates = {name: Matching() for name in POLICIES}
        # Rows that a policy has matched; it is never asked about them again, so that no click counts twice.
        self._matched: dict[str, set[int]] = {name: set() for name in POLICIES}
        self.done = 0

    async def play(self, rounds: int, *, seconds: float | None) -> None:
        while self.done < rounds and (seconds is None or self._screen.elapsed_s < seconds):
            first = self.done % len(self._log.rows)
            n = min(_BATCH_ROWS, rounds - self.done, len(self._log.rows) - first)
            await self._decide(range(first, first + n))
            self.done += n
            if self._screen.due:
                self._look()
        self._look()

    async def _decide(self, batch: Sequence[int]) -> None:
        asked = [(name, i) for i in batch for name in POLICIES if i not in self._matched[name]]
        cycle = self.done // len(self._log.rows)
        requests = [
            RankRequest(f"obd-{name}-{cycle}-{i}", name, self._log.rows[i].context, self._log.actions, activate=False)
            for name, i in asked
        ]
        rewards: dict[str, float] = {}
        for request, (name, i), item_id in zip(requests, asked, await self._client.rank(requests), strict=True):
            row: Row = self._log.rows[i]
            matched = item_id == row.item_id
            self._estimates[name].add(matched=matched, reward=row.click)
            if matched:
                self._matched[name].add(i)
                rewards[request.event_id] = float(row.click)
        if rewards:
            await asyncio.gather(*(self._client.activate(event_id) for event_id in rewards))
            await self._client.reward(rewards)

    def _look(self) -> None:
        self._screen.show(
            self.done,
            self.table(),
            plain="   ".join(f"{name} {estimate.n_matched} matches" for name, estimate in self._estimates.items()),
        )

    def table(self) -> Table:
        made = table(left=["policy"], right=["asked", "matches", "clicks", "reward per match", "95 % interval"])
        logged = Matching()
        for row in self._log.rows:
            logged.add(matched=True, reward=row.click)
        for name, estimate in {**self._estimates, "the log itself": logged}.items():
            lower, upper = estimate.interval()
            made.add_row(
                name,
                f"{estimate.n_rows:,}",
                f"{estimate.n_matched:,}",
                f"{estimate.value * estimate.n_matched:.0f}" if estimate.n_matched else "0",
                f"[bold]{estimate.value:.4f}[/bold]" if estimate.n_matched else "",
                f"{lower:.4f} – {upper:.4f}",
            )
        return made

    def summary(self) -> str:
        """Say what the table can tell and what it cannot."""
        asked = sum(estimate.n_rows for estimate in self._estimates.values())
        matches = sum(estimate.n_matched for estimate in self._estimates.values())
        text = (
            f"\nOf {asked:,} answers {matches:,} matched the log, one in {asked / max(matches, 1):.0f}. "
            "Only those count, so the\n"
            "intervals are wide: where two of them overlap, the log does not show which policy is better.\n"
        )
        if self.done > len(self._log.rows):
            text += (
                "After the first pass only rows that had not matched were offered again. No click counts twice, but\n"
                "those rows hold fewer of the items that a policy prefers: later passes are not exactly Li et al.'s.\n"
            )
        return text + "docs/demo.md says more. The data: Saito et al. (2021), Open Bandit Dataset and Pipeline.\n"
