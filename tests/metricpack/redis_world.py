"""What the tests of the metric pack on Redis share: events, a pack in a thread or a process, and what should come of it."""

from __future__ import annotations

import random
import threading

from botobs.faults import Faults
from botobs.metricpack.builder import Builder, Rules
from botobs.metricpack.page import Page
from botobs.metricpack.redis_source import RedisSource
from botobs.metricpack.redis_store import RedisStore
from botobs.metricpack.service import Service
from botobs.metricpack.source import Raw
from tests.servers.redis import until
from tests.soak.processes import Bot

STREAM = "quantum:stream:apply.result"
KEYS = "quantum:metricpack"
STATE = f"{KEYS}:state"

PACK = """
import sys
from pathlib import Path
from botobs.faults import Faults
from botobs.metricpack.builder import Builder
from botobs.metricpack.opening import open_market, open_source, open_store, rules_of
from botobs.metricpack.page import Page
from botobs.metricpack.service import Service
from botobs.metricpack.settings import load_pack
settings = load_pack(Path("."), {"redis_url": sys.argv[1], "takeover": sys.argv[2]}, env={})
service = Service(
    open_source(settings), open_store(settings),
    lambda saved: Builder(rules_of(settings), open_market(settings), saved), Page("quantum_exit", {}, dict), Faults(),
    takeover_s=settings.takeover, most=20,
)
print("{}", flush=True)
service.run()
"""


def executions(count: int, seed: int = 1) -> list[dict[str, str]]:
    """Entries, exits, duplicates and what cannot be read, as a trading system would write them."""
    rng = random.Random(seed)
    held: dict[str, int] = {}
    made: list[dict[str, str]] = []
    for n in range(count):
        if made and rng.random() < 0.05:
            made.append(rng.choice(made[-50:]))
            continue
        symbol = f"S{rng.randrange(6)}USDT"
        have = held.get(symbol, 0)
        closes = have > 0 and rng.random() < 0.6
        qty = rng.randint(1, have) if closes else rng.randint(1, 9)
        held[symbol] = have - qty if closes else have + qty
        action = ("FULL_CLOSE" if qty == have else "PARTIAL_50") if closes else "ENTRY"
        made.append({
            "plan_id": f"p{n}", "order_id": f"o{n}", "symbol": symbol, "action": action, "executed": "true",
            "reduceOnly": str(closes).lower(), "side": "SELL" if closes else "BUY", "quantity": str(qty),
            "price": str(rng.randint(90, 110)), "fee": "0.01", "time": str(1_767_323_045_000 + n),
        })  # fmt: skip
        if rng.random() < 0.02:
            made[-1]["price"] = "much"
            held[symbol] = have
    return made


def publish(client, events) -> None:
    pipe = client.pipeline(transaction=False)
    for event in events:
        pipe.xadd(STREAM, event)
    pipe.execute()


def figures(builder: Builder) -> dict:
    """Everything that a scrape would tell of events."""
    return {
        "actions": {labels: tally.packed() for labels, tally in sorted(builder.by_action.items())},
        "regimes": {labels: tally.packed() for labels, tally in sorted(builder.by_regime.items())},
        "counts": dict(builder.memory.counts),
        "open": builder.open_trades,
    }


def undisturbed(client, rules: Rules | None = None) -> dict:
    """What one run over the whole stream comes to."""
    builder = Builder(rules)
    for at, fields in client.xrange(STREAM):
        builder.take(Raw(at.decode(), fields, int(at.split(b"-")[0]) * 1_000_000))
    return figures(builder)


def saved(client, keys: str = KEYS) -> dict:
    """What the pack has saved there."""
    state = {key.decode(): value for key, value in client.hgetall(f"{keys}:state").items()}
    for ours in ("source", ".turn", ".at"):
        state.pop(ours, None)
    return figures(Builder(saved=state))


def is_through(client, keys: str = KEYS) -> bool:
    """Whether the pack has saved the last entry of the stream."""
    return client.get(f"{keys}:last_id") == client.xinfo_stream(STREAM)["last-generated-id"]


class Pack:
    """A pack in a thread."""

    def __init__(self, url, *, takeover_s=0.4, most=7, rules=None, group="metricpack_builder", keys=KEYS, **more):
        self.faults = Faults()
        self.source = RedisSource(url, STREAM, group)
        self.store = RedisStore(url, keys)
        self.service = Service(
            self.source, self.store, lambda kept: Builder(rules, saved=kept), Page("quantum_exit", {}, dict), self.faults,
            takeover_s=takeover_s, most=most, **more,
        )  # fmt: skip
        self.thread = threading.Thread(target=self.service.run, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.service.stop()
        self.thread.join(20)
        assert not self.thread.is_alive()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def pack_process(url, takeover_s: float = 0.4) -> Bot:
    """A pack in a process of its own, already running."""
    bot = Bot(PACK, url, takeover_s, prelude="")
    bot.hear()
    return bot


def wait_until_through(client, keys: str = KEYS) -> None:
    until(lambda: is_through(client, keys))
