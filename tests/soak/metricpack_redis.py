"""The metric pack on Redis, killed at any point, and now and then the server with it: no event is lost or doubled."""

from __future__ import annotations

import random
import time
from pathlib import Path

from tests.metricpack.redis_world import (
    STATE,
    executions,
    is_through,
    pack_process,
    publish,
    saved,
    undisturbed,
)
from tests.servers.redis import RedisServer, until

_EVENTS = 800


def redis_pack_rounds(folder: Path, rounds: int, seed: int) -> dict:
    """In each round one process works and is killed within its work; the figures are those of one undisturbed run."""
    rng = random.Random(seed)
    in_work = servers = 0
    with RedisServer(folder / "redis") as server:
        client = server.client()
        for n in range(rounds):
            with pack_process(server.url, 0.2) as pack:
                publish(client, executions(_EVENTS, seed=rng.randrange(1 << 30)))
                goal = _turn(client) + rng.randrange(1, 30)  # of 40 commits
                until(lambda: _turn(client) >= goal or is_through(client))
                time.sleep(rng.random() * 0.005)
                in_work += not is_through(client)
                pack.kill()
            if n % 5 == 2:
                server.restart()
                servers += 1
        with pack_process(server.url, 0.2):
            until(lambda: is_through(client), 300)  # what the killed ones left is much
        found, wanted = saved(client), undisturbed(client)
        client.close()
    assert found == wanted, "the figures are not those of one undisturbed run"
    assert in_work or rounds < 3
    return {
        "kills": rounds, "in the middle of work": in_work, "servers killed": servers,
        "events": wanted["counts"]["events"], "lost or doubled": 0,
    }  # fmt: skip


def _turn(client) -> int:
    return int(client.hget(STATE, ".turn") or 0)
