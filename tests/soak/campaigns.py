"""Every campaign: its function, its rounds in full, and its rounds as a sample in `make test`."""

from __future__ import annotations

from pathlib import Path

from tests.soak.backtest import replay, same_files
from tests.soak.backup import backup_rounds
from tests.soak.crash import crash_rounds
from tests.soak.edges import edges
from tests.soak.forks import busy_forks
from tests.soak.ledger import ledger_rounds
from tests.soak.metricpack import pack_rounds
from tests.soak.metricpack_redis import redis_pack_rounds
from tests.soak.money import money_rounds
from tests.soak.processes import records
from tests.soak.properties import properties
from tests.soak.redis_bot import publishing_rounds
from tests.soak.switch import days
from tests.soak.trouble import (
    collector_rounds,
    endless_starts,
    full_disk_rounds,
    sigterm_rounds,
    small_disk,
    stage_memory,
)


def backtest(folder: Path, ticks: int, seed: int) -> dict:
    """A long backtest with a tiny queue, and a second one that has to leave the same bytes."""
    done = replay(folder / "one", ticks, seed=seed, queue_size=100)
    assert done.report.delivered and not done.drops and not done.errors
    assert sum(1 for _ in records(folder / "one", "signals")) == ticks
    again = replay(folder / "two", max(ticks // 10, 1), seed=seed, queue_size=100)
    third = replay(folder / "three", max(ticks // 10, 1), seed=seed, queue_size=100)
    assert again.report.delivered and third.report.delivered
    same_files(folder / "two" / "logs", folder / "three" / "logs")
    return {"ticks": ticks, "ticks per second": round(done.per_second), "dropped": 0, "runs that differ": 0}


def forks(folder: Path, rounds: int, _seed: int) -> dict:
    """See `busy_forks`."""
    folder.mkdir(parents=True)
    return busy_forks(folder, rounds)


CAMPAIGNS = {
    "crash": (crash_rounds, 200, 2),
    "sigterm": (sigterm_rounds, 100, 2),
    "forks": (forks, 200, 5),
    "full disk": (full_disk_rounds, 100, 4),
    "small disk": (small_disk, 1, 1),
    "ledger": (ledger_rounds, 300, 3),
    "money": (money_rounds, 300, 3),
    "metricpack": (pack_rounds, 100, 3),
    "redis bot": (publishing_rounds, 100, 0),  # two rounds are in tests/sinks/test_redis.py
    "metricpack-redis": (redis_pack_rounds, 100, 0),  # three rounds are in tests/metricpack/test_redis_faults.py
    "backup": (backup_rounds, 200, 1),
    "switch": (days, 10_000, 20),
    "properties": (properties, 15, 0),
    "edges": (edges, 1_000, 0),  # its own tests have a sample
    "collector": (collector_rounds, 200, 8),
    "starts": (endless_starts, 500, 10),
    "backtest": (backtest, 1_000_000, 5_000),
    "stages": (stage_memory, 5_000_000, 200_000),
}
