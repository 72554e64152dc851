"""What a fill costs the bot, and what a price costs while something is held."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import time
from itertools import repeat
from pathlib import Path

import orjson

from .figures import Result, median
from .money import BOT, STARTING_EQUITY, fills, report, text

_BATCH = 400  # fills between two flushes
_SYNCED = 20
_THREADS = 8
_PRICES = 5_000


def run(*, quick: bool) -> Result:
    """Rounds of fills and rounds of bare writes of the same lines in turn; medians of the rounds' ratios."""
    result = Result("fills", "the caller's cost of `fill`, beside writing its line bare")
    with _bot("os") as bot:
        _to_the_system(result, bot, 11 if quick else 41)
        _prices(result, bot, 5 if quick else 21)
    with _bot("fsync") as bot:
        _to_the_disk(result, bot, 9 if quick else 25)
        _shared(result, bot, 20 if quick else 100)
    return result


def _to_the_system(result: Result, bot: Bot, rounds: int) -> None:
    """Processor time of the calling thread, and of the whole process until everything has followed."""
    ours, floor, whole = [], [], []
    bot.batch(_BATCH)  # warm
    for _ in range(rounds):
        told = bot.reports(_BATCH)
        bot.obs.flush()
        before, cpu = time.thread_time_ns(), time.process_time_ns()
        bot.fill(told)
        ours.append((time.thread_time_ns() - before) / _BATCH / 1e3)
        bot.obs.flush()
        whole.append((time.process_time_ns() - cpu) / _BATCH / 1e3)
        floor.append(bot.bare(_BATCH))
    ratio = median(mine / bare for mine, bare in zip(ours, floor, strict=True))
    result.add("bare orjson.dumps + os.write", median(floor), " µs", note=f"a line of {bot.length} bytes")
    result.add("fill, os", median(ours), " µs")
    result.add("fill, os / bare", ratio, " x", limit=12)
    result.add("fill, os, with all that follows", median(whole), " µs", note="processor time of the whole process")


def _prices(result: Result, bot: Bot, rounds: int) -> None:
    """What a tick's price adds: of a symbol that nobody holds, and of one that is held."""
    import botobs

    held = max(bot.obs.positions, key=lambda position: abs(position.qty)).symbol
    costs: dict[str, list[float]] = {"no price": [], "not held": [], "held": []}
    for _ in range(rounds):
        for name, found in costs.items():
            symbol = "DOGEUSDT" if name == "not held" else held
            bot.obs.flush()
            before = time.thread_time_ns()
            if name == "no price":
                for _ in repeat(None, _PRICES):
                    with botobs.tick(symbol):
                        pass
            else:
                for n in range(_PRICES):
                    with botobs.tick(symbol, price=100.0 + n % 7):
                        pass
            found.append((time.thread_time_ns() - before) / _PRICES / 1e3)
    bare = costs.pop("no price")
    for name, limit in (("not held", 1.0), ("held", 5.0)):
        more = median(each - without for each, without in zip(costs[name], bare, strict=True))
        result.add(f"price of a symbol {name}", more, " µs", limit=limit, note="beyond the tick")


def _to_the_disk(result: Result, bot: Bot, rounds: int) -> None:
    """By the clock, as it is spent waiting."""
    ratios, ours, floor = [], [], []
    bot.batch(_SYNCED)
    for _ in range(rounds):
        told = bot.reports(_SYNCED)
        bot.obs.flush()
        before = time.perf_counter_ns()
        bot.fill(told)
        mine = (time.perf_counter_ns() - before) / _SYNCED / 1e3
        bot.obs.flush()
        bare = bot.bare_synced(_SYNCED)
        ratios.append(mine / bare)
        ours.append(mine)
        floor.append(bare)
    result.add("bare write + fdatasync", median(floor), " µs")
    result.add("fill, fsync", median(ours), " µs")
    result.add("fill, fsync / bare", median(ratios), " x", limit=1.6)


def _shared(result: Result, bot: Bot, each: int) -> None:
    """Eight threads at once, each trading in an account of its own: they share their syncs."""
    parts = [bot.reports(each) for _ in range(_THREADS)]
    bot.obs.flush()
    threads = [threading.Thread(target=bot.fill, args=(part, f"account {n}")) for n, part in enumerate(parts)]
    before = time.perf_counter_ns()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = (time.perf_counter_ns() - before) / (_THREADS * each) / 1e3
    bare = bot.bare_synced(_SYNCED)
    result.add(f"fill, fsync, {_THREADS} threads", took, " µs", note="between two fills")
    result.add(f"fill, fsync, {_THREADS} threads / bare", took / bare, " x")


class Bot:
    """A bot that trades, and the bare file beside it."""

    def __init__(self, obs, folder: Path) -> None:
        self.obs = obs
        self._fills = fills(10_000_000)
        self._ts = time.time_ns() // 1_000_000 - 3_600_000
        self._ledger = folder / "data" / "metrics" / "fills.jsonl"
        self._bare = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.length = 0

    def reports(self, count: int) -> list[tuple]:
        """Fills of orders that were announced before, each a millisecond after the other."""
        told = []
        for _ in range(count):
            fill = next(self._fills)
            self.obs.mark(fill.symbol, fill.price / 100, venue="binance")
            self.obs.order(
                fill.symbol, fill.side, text(fill.qty, 4), decision_px=text(fill.price, 2), order_id=fill.order_id,
                strategy="meanrev", venue="binance",
            )  # fmt: skip
            self._ts += 1
            said = report(fill, self._ts)
            told.append((fill.order_id, *said.values()))
        return told

    def fill(self, told: list[tuple], account: str | None = None) -> None:
        fill = self.obs.fill
        for order_id, price, qty, fee, fee_asset, role, fill_id, ts in told:
            fill(
                order_id, price=price, qty=qty, fee=fee, fee_asset=fee_asset, role=role, fill_id=fill_id, ts=ts,
                account=account,
            )  # fmt: skip

    def batch(self, count: int) -> None:
        self.fill(self.reports(count))
        self.obs.flush()

    def bare(self, count: int) -> float:
        """Microseconds to encode and write the newest lines of the ledger once more."""
        lines, write, dumps, file = self.obs.ledger.latest(count), os.write, orjson.dumps, self._bare
        self.length = len(dumps(lines[-1])) + 1
        before = time.thread_time_ns()
        for line in lines:
            write(file, dumps(line) + b"\n")
        return (time.thread_time_ns() - before) / len(lines) / 1e3

    def bare_synced(self, count: int) -> float:
        """The same with a sync after each, by the clock."""
        lines, write, dumps, file = self.obs.ledger.latest(count), os.write, orjson.dumps, self._bare
        before = time.perf_counter_ns()
        for line in lines:
            write(file, dumps(line) + b"\n")
            os.fdatasync(file)
        return (time.perf_counter_ns() - before) / len(lines) / 1e3

    def close(self) -> None:
        os.close(self._bare)


@contextlib.contextmanager
def _bot(durability: str):
    import botobs

    with tempfile.TemporaryDirectory(prefix="botobs-bench-") as directory:
        folder = Path(directory)
        with botobs.start(BOT, data_dir=folder / "data", starting_equity=STARTING_EQUITY, durability=durability) as obs:
            bot = Bot(obs, folder)
            try:
                yield bot
            finally:
                bot.close()
