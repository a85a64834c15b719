"""The journal process is started again, whatever it left behind."""

from pathlib import Path

import pytest

from banditd.journal.process import start_journal
from tests.world import until

pytestmark = pytest.mark.timeout(60)


async def test_a_journal_that_ends_in_order_is_started_again(tmp_path: Path) -> None:
    """If the connection breaks while both live, the child cleans up after itself, and the next one still comes up."""
    process = await start_journal(tmp_path / "store.db")
    try:
        first = process.pid
        came_back: list[int] = []

        async def note() -> None:
            came_back.append(process.pid)

        process.watch(note)
        transport = process.journal._transport
        assert transport is not None
        transport.close()
        await until(lambda: bool(came_back) or process.failed.done())

        assert not process.failed.done()
        assert came_back[0] != first
        assert (await process.journal.pool_info("shared")).seq == 0
    finally:
        await process.stop()
