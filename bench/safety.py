"""How long a broken limit waits for its first callback while the drainer cannot keep up; and what `check` costs."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from itertools import repeat
from pathlib import Path

from .figures import Result, median, percentile, table
from .workload import SYMBOL

_FLOOR, _START = 9_000, 10_000
_BACKLOG = 1_000  # records that wait while a limit breaks; small ones: it is no disk that is measured
_FRESH = 200  # of them made just before
_CHECKS = 200_000
_LIMIT_US, _TIMES = 100.0, 10.0
_PARTS = (0.5, 0.9, 0.99)


def run(*, quick: bool) -> Result:
    """Trips, each with the queues full; then rounds of questions and rounds of empty calls in turn."""
    result = Result("safety", "from the event that breaks a limit to the first callback; what a guard costs")
    with _bot() as bot:
        trips = 150 if quick else 500
        plain = bot.plain(trips)
        bare = percentile(plain, 0.99)
        rows = []
        for name, event in (("mark", bot.mark), ("health", bot.health), ("trip", bot.trip)):
            idle = bot.waits(event, trips // 4, busy=False)
            busy = bot.waits(event, trips, busy=True)
            rows += [[f"{name}, {what}", *_shown(found)] for what, found in (("idle", idle), ("saturated", busy))]
            result.add(
                f"{name}: p99 to the first callback", percentile(busy, 0.99), " µs",
                limit=max(_LIMIT_US, _TIMES * bare) if name == "mark" else None,
                note=f"drainer saturated; uninstrumented chain {bare:.2f} µs",
            )  # fmt: skip
        handed = bot.handed(trips)
        result.add("a function handed to a parked thread: p99", percentile(handed, 0.99), " µs", note="saturated")
        rows += [["a parked thread, saturated", *_shown(handed)], ["uninstrumented chain", *_shown(plain)]]
        _guard(result, bot, 9 if quick else 31)
    with _bot(timeout=None) as bot:
        idle = bot.waits(bot.mark, trips // 4, busy=False)
        busy = bot.waits(bot.mark, trips, busy=True)
        result.add(
            "mark: p99 to a first callback without a limit", percentile(busy, 0.99), " µs",
            limit=max(_LIMIT_US, _TIMES * bare), note="drainer saturated; on the thread that trips",
        )  # fmt: skip
        rows[2:2] = [["mark, no limit, idle", *_shown(idle)], ["mark, no limit, saturated", *_shown(busy)]]
    result.text += table(["", "p50", "p90", "p99", "max"], rows)
    return result


def _shown(ordered: list[float]) -> list[str]:
    return [f"{value:,.1f} µs" for value in (*(percentile(ordered, part) for part in _PARTS), ordered[-1])]


def _guard(result: Result, bot: _Bot, rounds: int) -> None:
    """`check` while nothing is wrong, beside a method that does nothing."""
    check, nothing = bot.obs.kill_switch.check, _Nothing().check
    bot.obs.flush()
    ratios, ours = [], []
    for _ in range(rounds):
        found = []
        for fn in (check, nothing, check, nothing):
            before = time.thread_time_ns()
            for _ in repeat(None, _CHECKS):
                fn()
            found.append((time.thread_time_ns() - before) / _CHECKS)
        empty = time.thread_time_ns()
        for _ in repeat(None, _CHECKS):
            pass
        empty = (time.thread_time_ns() - empty) / _CHECKS
        ratios.append((min(found[0], found[2]) - empty) / (min(found[1], found[3]) - empty))
        ours.append(min(found[0], found[2]) - empty)
    result.add("check()", median(ours), " ns")
    result.add("check() / an empty method", median(ratios), " x", limit=2.0)


class _Nothing:
    def check(self, reduces=False):
        pass


class _Bot:
    """A bot that holds a position, with a floor below it and something that is called within `timeout`."""

    def __init__(self, obs, timeout):
        self.obs = obs
        self.called = 0
        obs.fill(symbol="BTCUSDT", side="buy", qty=10, price=1_000, fee=0)

        def first(_trip):
            self.called = time.perf_counter_ns()

        obs.kill_switch.on_trip(first, timeout=timeout)
        obs.kill_switch.on_trip(lambda _trip: None, timeout=timeout)
        self._first = first
        self._equity = _START

    def plain(self, times: int) -> list[float]:
        """The same without botobs: a comparison, and the functions one after the other."""
        callbacks = [self._first, lambda _trip: None]

        def mark(price):
            if price * 10 < _FLOOR:
                for fn in callbacks:
                    fn(None)

        found = []
        for _ in range(times):
            begun = time.perf_counter_ns()
            mark(850)
            found.append((self.called - begun) / 1e3)
        return sorted(found)

    def handed(self, times: int) -> list[float]:
        """No design whose callbacks have a time limit is faster: a lock released, and a thread that waits for it."""
        bell, done, over = threading.Lock(), threading.Lock(), []
        bell.acquire()
        done.acquire()

        def parked():
            while not over:
                bell.acquire()
                self.called = time.perf_counter_ns()
                done.release()

        thread = threading.Thread(target=parked)
        thread.start()
        found = []
        for _ in range(times):
            self._fill_queues()
            begun = time.perf_counter_ns()
            bell.release()
            done.acquire()
            found.append((self.called - begun) / 1e3)
        over.append(True)
        bell.release()
        thread.join()
        return sorted(found)

    def mark(self) -> None:
        self.obs.mark("BTCUSDT", 850.0)

    def health(self) -> None:
        self.obs.health(equity=8_500)

    def trip(self) -> None:
        self.obs.kill_switch.trip("pulled")

    def waits(self, event, times: int, *, busy: bool) -> list[float]:
        """Microseconds from before the event to inside of the first callback, sorted."""
        obs, found = self.obs, []
        for _ in range(times):
            obs.flush()  # what the last trip left to do, and alerts on their way, are over
            if busy:
                self._fill_queues()
            begun = time.perf_counter_ns()
            event()
            found.append((self.called - begun) / 1e3)
            assert obs.kill_switch.state == "halted"
            obs.mark("BTCUSDT", 1_000.0)
            obs.health(equity=10_000)
            obs.kill_switch.reset("bench", "again")
        return sorted(found)

    def _fill_queues(self) -> None:
        n, obs = 0, self.obs
        while n < _FRESH or obs._delivery.waiting < _BACKLOG:
            n += 1
            with obs.tick(SYMBOL, bar_id=n) as tick:
                with obs.stage("feature"):
                    pass
                tick.signal(source="model", pred_bps=n % 7)
        obs._drainer.wake()


@contextlib.contextmanager
def _bot(timeout="5s"):
    import botobs

    with (
        tempfile.TemporaryDirectory(prefix="botobs-bench-") as directory,
        botobs.start(
            "bench", data_dir=Path(directory), starting_equity=_START, equity_floor=_FLOOR, durability="os",
            rotate_bytes="1TB",  # no archive is packed meanwhile: that takes a core of its own
        ) as obs,
    ):  # fmt: skip
        yield _Bot(obs, timeout)
