"""A store lets go of its file whatever its checkpoint thread is at."""

import threading
from pathlib import Path

from banditd.clock import ManualClock
from banditd.journal.commands import EpochPage, OpenLanes
from banditd.journal.protocol import OpenLane
from banditd.journal.store import Store
from tests.contract.journals import LONG_S, new_decision, rule

CLOSES = 20
DECISIONS = 1_200  # more than the log holds before a checkpoint starts
DEADLINE_S = 30.0


def test_a_store_closes_while_a_checkpoint_runs(tmp_path: Path) -> None:
    """`close` right after the commit that started a checkpoint ends, each time: nobody waits for a lost signal."""
    for i in range(CLOSES):
        store = Store(tmp_path / f"{i}.db", clock=ManualClock(), durability="process")
        (page,) = store.apply([OpenLanes([OpenLane("default", "default", {}, rule(LONG_S), "b")])]).answers
        assert isinstance(page, EpochPage)
        (epoch,) = page.rows
        store.apply([new_decision(f"e{n}", epoch, n_slots=100) for n in range(DECISIONS)])

        closing = threading.Thread(target=store.close, daemon=True)
        closing.start()
        closing.join(DEADLINE_S)

        assert not closing.is_alive()
