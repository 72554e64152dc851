"""A ledger of a year of fills: composing it, restarting on it, asking it, and the memory that takes."""

from __future__ import annotations

import gc
import os
import resource
import tempfile
import time
from decimal import Decimal
from pathlib import Path

import orjson

from .child import ready, run_apart
from .figures import Result, median
from .money import A_YEAR, BOT, END_NS, STARTING_EQUITY, Fill, fills, report, text, write_ledger

_BATCH = 200


def run(*, quick: bool) -> Result:
    """Each step in a process of its own, on one generated ledger; what is composed is compared with the generator."""
    count = 100_000 if quick else A_YEAR
    result = Result("ledger", f"a ledger of {count:,} fills, a million a year")
    with tempfile.TemporaryDirectory(prefix="botobs-bench-") as directory:
        root = Path(directory) / "data"
        trader = write_ledger(root, count)
        expected = text(trader.cash + trader.worth, 6)

        def apart(variant: str, folder: Path = root) -> dict:
            return run_apart("ledger", variant, most_s=200, root=str(folder), bot=BOT)

        empty = Path(directory) / "empty"
        write_ledger(empty, 0)
        nothing = apart("start", empty)
        looks = [apart("look") for _ in range(1 if quick else 3)]
        cold = apart("cold")
        warm = [apart("start") for _ in range(1 if quick else 3)]
        for found in (*looks, cold, *warm):
            if Decimal(found["total_pnl"]) != Decimal(expected):
                raise RuntimeError(f"composed to {found['total_pnl']}, and it is {expected}")
        _times(result, count, looks, cold, warm)
        _memory(result, count, nothing, cold, warm)
        _windows(result, apart("window"))
        _growth(result, count, apart("growth"), quick=quick)
    return result


def _times(result: Result, count: int, looks: list[dict], cold: dict, warm: list[dict]) -> None:
    again = median(found["took_s"] for found in warm)
    loads = median(found["loads_s"] for found in (*looks, cold))
    look = median(found["took_s"] for found in looks)
    ratios = [found["took_s"] / found["loads_s"] for found in looks]
    result.add("orjson.loads over its lines", loads / count * 1e6, " µs", note="a line")
    result.add("cold composition", look / count * 1e6, " µs", note=f"a line; {look:.1f} s, to look")
    result.add(
        "cold composition / orjson.loads", median(ratios), " x", limit=6,
        note=f"rounds: {', '.join(f'{ratio:.2f}' for ratio in ratios)}",
    )  # fmt: skip
    result.add("the same for a bot", cold["took_s"] / cold["loads_s"], " x", note="index of duplicates, snapshots")
    result.add("restart from the checkpoint", again * 1e3, " ms")
    result.add("restart / cold composition", 100 * again / look, " %", limit=5)


def _memory(result: Result, count: int, nothing: dict, cold: dict, warm: list[dict]) -> None:
    for name, found in (("after cold composition", cold), ("after a restart", warm[-1])):
        for what in ("resident", "peak"):
            more = (found[what] - nothing[what]) / 1e6
            limit = 64 if count == A_YEAR else None
            result.add(f"memory {name}, {what}", more, " MB", limit=limit, note="above an empty ledger's")


def _windows(result: Result, found: dict) -> None:
    result.add('totals("6h")', found["took_s"] * 1e3, " ms", note=f"{found['fills']:,} fills in it")
    share = 100 * found["read"] / found["size"]
    result.add('totals("6h"), read of the ledger', share, " %", limit=1, note=f"{found['read']:,} bytes")


def _growth(result: Result, count: int, found: dict, *, quick: bool) -> None:
    ratio = median(large / small for large, small in zip(found["large"], found["small"], strict=True))
    result.add(f"fill, os, after {count:,}", median(found["large"]), " µs")
    result.add("the same in an empty ledger", median(found["small"]), " µs", limit=None)
    result.add(f"fill after {count:,} / first", ratio, " x", limit=None if quick else 1.1)


# -- what runs apart -------------------------------------------------------------------------------------------------


def measure(variant: str, *, directory: Path, root: str, bot: str) -> dict:
    """One step, in a process of its own."""
    folder = Path(root)
    ready(None)
    if variant == "growth":
        return _grow(folder, directory)
    if variant == "window":
        return _window(folder)
    return _composed(folder, variant)


def _account(root: Path, *, writing: bool = True):
    from botobs.accounting.account import Account, Terms
    from botobs.accounting.ledger import Ledger

    (root / "state").mkdir(parents=True, exist_ok=True)
    terms = Terms(starting_equity=Decimal(STARTING_EQUITY))
    ledger = Ledger(root, durability="os", read_only=not writing)
    return Account(ledger, terms, lambda: END_NS, snapshots=root / "state" / "books.jsonl", writing=writing)


def _composed(root: Path, variant: str) -> dict:
    from botobs.accounting.checkpoint import Checkpoint, restore
    from botobs.accounting.summing import totals

    gc.collect()
    account = _account(root, writing=variant != "look")
    loads = [_loads(account.ledger)] if variant == "look" else []  # before and after: speed changes in ten seconds
    before = time.thread_time()
    restore(account, root / "state")
    took = time.thread_time() - before
    found = {"took_s": took, "total_pnl": str(totals(account).total_pnl), **_used()}
    if variant == "cold":
        Checkpoint(account, root / "state").save({}, last=True)
    if variant in ("look", "cold"):
        loads.append(_loads(account.ledger))
        found["loads_s"] = sum(loads) / len(loads)
    account.ledger.close(time.monotonic() + 10)
    return found


def _used() -> dict:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"resident": pages * os.sysconf("SC_PAGE_SIZE"), "peak": peak}


def _loads(ledger) -> float:
    """Seconds that `orjson.loads` alone takes for all lines; reading them does not count."""
    loads, took, lines = orjson.loads, 0.0, []
    for seq, line in ledger.lines():
        lines.append(line)
        if len(lines) == 5_000 or seq == ledger.next_seq - 1:
            before = time.thread_time()
            for each in lines:
                loads(each)
            took += time.thread_time() - before
            lines = []
    return took


def _window(root: Path) -> dict:
    """Time, and bytes read from the ledger's files."""
    from botobs.accounting.checkpoint import restore
    from botobs.accounting.summing import totals

    account = _account(root)
    restore(account, root / "state")
    took = []
    for _ in range(5):
        before = time.perf_counter()
        found = totals(account, "6h")
        took.append(time.perf_counter() - before)
    read, plain = 0, os.pread

    def counting(fd, size, at):
        nonlocal read
        data = plain(fd, size, at)
        if "fills" in str(Path(f"/proc/self/fd/{fd}").readlink()):
            read += len(data)
        return data

    os.pread = counting
    try:
        totals(account, "6h")
    finally:
        os.pread = plain
    files = [root / "metrics" / "fills.jsonl", *(root / "metrics" / "archive").glob("fills-*.jsonl")]
    size = sum(path.stat().st_size for path in files)
    return {"took_s": median(took), "fills": found.fills, "read": read, "size": size}


def _entry(fill: Fill, said: dict):
    """What the verb `fill` would make of it."""
    from botobs.accounting.entries import read_fill

    words = (fill.symbol, fill.side, said["fee_asset"], said["role"], None, None, None, None, "live")
    numbers = (said["price"], said["qty"], said["fee"])
    return read_fill(words, *numbers, said["fill_id"], said["ts"], END_NS, fill.order_id)


def _grow(root: Path, directory: Path) -> dict:
    """Fills booked behind many others and fills booked into an empty ledger, in turn."""
    from botobs.accounting.checkpoint import restore

    large, small = _account(root), _account(directory)
    restore(large, root / "state")
    coming = fills(1_000_000, seed=99, end_ns=END_NS + 10**15, span_ns=10**15 - 10**12)
    found: dict[str, list[float]] = {"large": [], "small": []}
    for turn in range(60):
        told = []
        for _ in range(_BATCH):
            fill = next(coming)
            told.append((fill, report(fill, END_NS // 1_000_000 + turn * _BATCH + len(told))))
        order = (("large", large), ("small", small))
        for name, account in order if turn % 2 else order[::-1]:
            entries = [_entry(*one) for one in told]
            before = time.thread_time_ns()
            for entry in entries:
                account.ledger.settle_line(account.fill(entry).ticket)
            if turn >= 10:
                found[name].append((time.thread_time_ns() - before) / _BATCH / 1e3)
    return found
