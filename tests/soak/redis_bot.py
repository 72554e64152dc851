"""A bot that publishes to Redis, killed at any point, and now and then the server with it: each execution is there once."""

from __future__ import annotations

import random
import time
from pathlib import Path

from botobs.accounting.ledger.reading import Reader
from tests.servers.redis import RedisServer
from tests.soak.processes import Bot

_BOT = """
with botobs.start("b", data_dir=data_dir, starting_equity=1000, redis_url=sys.argv[2], durability="os") as obs:
    say(pid=os.getpid())
    for n in range(1_000_000 if len(sys.argv) == 3 else 0):
        obs.fill(symbol="BTC-USD", side="buy" if n % 2 else "sell", qty=1, price=1, fill_id=f"{os.getpid()}-{n}")
        if n % 20 == 0:
            time.sleep(0.002)
    say(delivered=bool(obs.flush(30)))
"""


def publishing_rounds(folder: Path, rounds: int, seed: int) -> dict:
    """In each round the bot is killed while it trades; in the end the stream is the ledger, once and in order."""
    rng = random.Random(seed)
    servers = 0
    with RedisServer(folder / "redis") as server:
        client = server.client()
        for n in range(rounds):
            with Bot(_BOT, folder / "data", server.url) as bot:
                bot.hear()
                time.sleep(rng.random() * 0.6)
                if n % 4 == 1:
                    server.restart()
                    servers += 1
                bot.kill()
        with Bot(_BOT, folder / "data", server.url, "end") as bot:
            bot.hear()
            assert bot.hear() == {"delivered": True}
            bot.end()
        found = [fields[b"fill_id"].decode() for _, fields in client.xrange("quantum:stream:apply.result")]
        client.close()
    reader = Reader(folder / "data")
    parts = reader.parts()
    seqs = [seq for seq, _ in reader.lines(parts, 1, 1 << 60)]
    reader.done(parts)
    assert [int(each.rpartition("-")[2]) for each in found] == seqs, "the stream is not the ledger"
    return {"kills": rounds, "servers killed": servers, "executions": len(found), "lost, doubled or out of order": 0}
