"""The metric pack on a real Redis server: how many events, at what cost, how soon, in how much memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.servers.redis import SERVER, RedisServer

from .child import ready, run_apart
from .figures import Result, median, percentile

_STREAM = "quantum:stream:apply.result"
_OPEN = 10_000
_PAGE = os.sysconf("SC_PAGE_SIZE")


def run(*, quick: bool) -> Result:
    """Every figure from a process of its own, next to a server that keeps an append-only file."""
    result = Result("redis", "the metric pack on Redis")
    if SERVER is None:
        result.text.append("skipped: there is no redis-server here")
        return result
    with tempfile.TemporaryDirectory(prefix="botobs-bench-") as folder, RedisServer(Path(folder)) as server:
        _throughput(result, server, 50_000 if quick else 200_000)
        seconds = 5 if quick else 20
        slow = _apart(server, "paced", rate=100, seconds=seconds)
        result.add("at 100 events a second", 100 * slow["cpu_s"] / slow["wall_s"], " % of a core", limit=5)
        fast = _apart(server, "paced", rate=1_000, seconds=seconds)
        lags = sorted(fast["lags_ms"])
        result.add("lag at 1,000 a second, p99", percentile(lags, 0.99), " ms", limit=100,
                   note=f"median {percentile(lags, 0.5):.0f} ms, highest {lags[-1]:.0f} ms, until saved")  # fmt: skip
        result.add("the same, of a core", 100 * fast["cpu_s"] / fast["wall_s"], " %")
        events = 200_000 if quick else 1_000_000
        big = _apart(server, "memory", events=events)
        result.add(f"memory after {events:,} events", big["resident"] / 1e6, " MB", limit=100,
                   note=f"{big['open']:,} open trades; {big['start'] / 1e6:.0f} MB before the first")  # fmt: skip
    return result


def _throughput(result: Result, server: RedisServer, count: int) -> None:
    """The whole stream, and the same stream read by redis-py alone, in turns."""
    packs, bares = [], []
    client = server.client()
    client.flushall()
    add(client, 0, count)
    for _ in range(3):
        client.delete("quantum:metricpack:state", "quantum:metricpack:last_id", "quantum:metricpack:lease")
        packs.append(_apart(server, "pack"))
        bares.append(_apart(server, "bare"))
    client.close()
    if any(found["events"] != count for found in packs + bares):
        raise RuntimeError(f"{count} events were added, and were not all read")
    rate = median(found["events"] / found["cpu_s"] for found in packs)
    bare = median(found["events"] / found["cpu_s"] for found in bares)
    wall = median(found["events"] / found["wall_s"] for found in packs)
    result.add("events a second of one core", rate, limit=10_000, at_least=True,
               note=f"{wall:,.0f} by the clock, the server on another core; everything saved")  # fmt: skip
    result.add("redis-py alone, which does nothing with them", bare, note="events a second of one core")
    result.add("the pack / redis-py alone", bare / rate, " x the cost")
    growth = median(found["late_s"] / found["early_s"] for found in packs)
    result.add("an event of the last quarter / of the second", growth, " x the cost", limit=1.3)


def _apart(server: RedisServer, variant: str, **options) -> dict:
    return run_apart("redis", variant, most_s=280, url=server.url, **options)


# --- in the process of its own


def measure(variant: str, *, directory: Path, url: str, **options) -> dict:
    """One of the variants; what it took."""
    directory.mkdir(parents=True)
    import redis

    client = redis.Redis.from_url(url)
    ready(None)
    return {"pack": _pack, "bare": _bare, "paced": _paced, "memory": _memory}[variant](client, url, **options)


def _service(url: str, told=None):
    from botobs.faults import Faults
    from botobs.metricpack.builder import Builder
    from botobs.metricpack.page import Page
    from botobs.metricpack.redis_source import RedisSource
    from botobs.metricpack.redis_store import RedisStore
    from botobs.metricpack.service import Service

    return Service(
        RedisSource(url, _STREAM), RedisStore(url), lambda kept: Builder(saved=kept), Page("quantum_exit", {}, dict),
        Faults(), told=told,
    )  # fmt: skip


def _pack(client, url: str) -> dict:
    spent = []
    service = _service(url, lambda batch: spent.append((time.process_time(), len(batch.events))))
    wall, cpu = time.perf_counter(), time.process_time()
    service.run(once=True)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    quarter = len(spent) // 4
    early = spent[2 * quarter][0] - spent[quarter][0]
    late = spent[4 * quarter - 1][0] - spent[3 * quarter - 1][0]
    return {"events": sum(n for _, n in spent), "cpu_s": cpu, "wall_s": wall, "early_s": early, "late_s": late}


def _bare(client, url: str) -> dict:
    wall, cpu, last, count = time.perf_counter(), time.process_time(), b"0-0", 0
    while found := client.xread({_STREAM: last}, count=1_000):
        entries = found[0][1] if isinstance(found, list) else next(iter(found.values()))[0]
        count += len(entries)
        last = entries[-1][0]
    return {"events": count, "cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}


def _paced(client, url: str, *, rate: int, seconds: float) -> dict:
    client.flushall()
    lags: list[float] = []

    def told(batch) -> None:
        now = time.time() * 1e3
        lags.extend(now - raw.at_ns / 1e6 for raw in batch.events)

    service = _service(url, told)
    thread = threading.Thread(target=service.run)
    thread.start()
    _write_at(url, rate, 1.0)  # it has begun, and everything is loaded
    lags.clear()
    wall, cpu = time.perf_counter(), time.process_time()
    _write_at(url, rate, seconds)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    time.sleep(0.3)
    service.stop()
    thread.join()
    return {"cpu_s": cpu, "wall_s": wall, "lags_ms": lags}


def _write_at(url: str, rate: int, seconds: float) -> None:
    """Add `rate` events a second, one at a time, from a process of its own."""
    script = (
        "import sys, time, redis; from bench.redis import event\n"
        "client = redis.Redis.from_url(sys.argv[1]); rate, seconds = int(sys.argv[2]), float(sys.argv[3])\n"
        "begun = time.perf_counter()\n"
        "for n in range(int(rate * seconds)):\n"
        "    left = begun + n / rate - time.perf_counter()\n"
        "    if left > 0: time.sleep(left)\n"
        f"    client.xadd({_STREAM!r}, event(n))\n"
    )
    subprocess.run([sys.executable, "-c", script, url, str(rate), str(seconds)], check=True)


def _memory(client, url: str, *, events: int) -> dict:
    client.flushall()
    done = threading.Event()
    seen = [0]
    open_trades = [0]

    def told(batch) -> None:
        seen[0] += len(batch.events)
        open_trades[0] = service.builder.open_trades
        if seen[0] >= events:
            done.set()

    service = _service(url, told)
    start = _resident()
    thread = threading.Thread(target=service.run)
    thread.start()
    for first in range(0, events, 5_000):
        while seen[0] < first - 20_000:  # the server keeps only what is not read yet
            time.sleep(0.005)
        add(client, first, 5_000, holding=_OPEN)
        client.xtrim(_STREAM, maxlen=40_000, approximate=True)
    done.wait(240)
    resident = _resident()
    service.stop()
    thread.join()
    if seen[0] != events or service.gaps:
        raise RuntimeError(f"{seen[0]} of {events} events were taken, {service.gaps} gaps")
    return {"resident": resident, "start": start, "open": open_trades[0]}


def event(n: int, holding: int = 0) -> dict[str, str]:
    """Entries and exits in turns; the first `holding` ones open trades, each in an account of its own."""
    held = n < holding
    closes = not held and n % 2 == 1
    return {
        "plan_id": f"plan-{n // 2}", "order_id": f"order-{n}", "symbol": f"S{n // 2 % 20}USDT",
        "action": ("FULL_CLOSE", "PARTIAL_50", "PARTIAL_75")[n % 3] if closes else "ENTRY", "executed": "true",
        "reduceOnly": "true" if closes else "false", "side": "SELL" if closes else "BUY", "quantity": "0.5",
        "price": str(64_000 + n * 37 % 500), "fee": "0.012", "time": str(1_767_323_045_000 + n),
        "account": f"a{n}" if held else "main",
    }  # fmt: skip


def add(client, first: int, count: int, holding: int = 0) -> None:
    """Add events to the stream."""
    for begun in range(first, first + count, 5_000):
        pipe = client.pipeline(transaction=False)
        for n in range(begun, min(begun + 5_000, first + count)):
            pipe.xadd(_STREAM, event(n, holding))
        pipe.execute()


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
