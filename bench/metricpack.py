"""The metric pack on a file: how fast it builds, whether that stays so, and what it holds in memory."""

from __future__ import annotations

import json
import os
from itertools import pairwise
from pathlib import Path

from .child import ready, run_apart
from .figures import Result, median

_PAGE = os.sysconf("SC_PAGE_SIZE")
_OPEN = 10_000
_ACCOUNTS = 13_334  # three quarters of them have a trade open


def run(*, quick: bool) -> Result:
    events = 200_000 if quick else 1_000_000
    result = Result("metricpack", f"{events:,} events from a file, {_OPEN:,} trades open throughout")
    found = run_apart("metricpack", "file", most_s=900, events=events)
    result.add("events per second, one core", found["per_second"], limit=10_000, at_least=True,
               note="user and system time, everything saved")  # fmt: skip
    result.add("the last tenth against the first", found["last"] / found["first"], " times", limit=1.3,
               note=f"{found['first']:.0f} µs per event at first, {found['last']:.0f} µs at the end")  # fmt: skip
    note = f"{found['before'] / 1e6:.0f} MB before the first event, {found['open']:,} trades open"
    result.add("memory at the end", found["memory"] / 1e6, " MB", limit=100, note=note)
    result.add("bytes on the disk", found["disk"] / 1e6, " MB")
    result.add("reading the same file and nothing else", found["bare"] * 1e6, " µs per event",
               note=f"the pack takes {found['mean'] / found['bare']:.1f} times that")  # fmt: skip
    return result


def measure(variant: str, *, directory: Path, events: int) -> dict:
    from botobs.faults import Faults
    from botobs.metricpack import Builder
    from botobs.metricpack.jsonl import JsonlSource
    from botobs.metricpack.page import Page
    from botobs.metricpack.service import Service
    from botobs.metricpack.sqlite import SqliteStore

    directory.mkdir(parents=True)
    path = directory / "events.jsonl"
    _write(path, events)
    bare = _bare(path, min(events, 100_000))
    page = Page("quantum_exit", {}, dict)
    marks: list[tuple[int, float]] = []
    state = directory / "state.sqlite"
    ready(None)
    before = _resident()

    def told(_: object) -> None:
        marks.append((service.builder.memory.counts["events"], _cpu()))
        opened[0] = service.builder.open_trades

    opened = [0]
    begun = _cpu()
    service = Service(
        JsonlSource(path), SqliteStore(state), lambda saved: Builder(saved=saved), page, Faults(), told=told
    )  # fmt: skip
    service.run(once=True)
    took = _cpu() - begun
    tenth = max(len(marks) // 10, 1)
    settled = next(at for at, (done, _) in enumerate(marks) if done >= 4 * _ACCOUNTS)  # every account is in its turn
    first, last = marks[settled : settled + tenth + 1], marks[-tenth - 1 :]
    return {
        "per_second": events / took, "mean": took / events, "first": _each(first), "last": _each(last), "bare": bare,
        "memory": _resident(), "before": before, "disk": state.stat().st_size, "open": opened[0],
    }  # fmt: skip


def _each(marks: list[tuple[int, float]]) -> float:
    """Microseconds of an event."""
    return median([(later[1] - sooner[1]) / (later[0] - sooner[0]) * 1e6 for sooner, later in pairwise(marks)])


def _write(path: Path, events: int) -> None:
    """Trades of four events, of which ten thousand are open at any time."""
    with path.open("w") as file:
        for n in range(events):
            account = n % _ACCOUNTS
            step = (n // _ACCOUNTS + account) % 4  # of all accounts, a quarter is at each step
            action = ("ENTRY", "PARTIAL_25", "PARTIAL_50", "FULL_CLOSE")[step]
            said = {
                "plan_id": f"plan-{n // _ACCOUNTS // 4}-{account}", "order_id": f"order-{n}",
                "symbol": f"S{account % 100}USDT",
                "account": f"a{account}", "action": action, "executed": True, "reduceOnly": step > 0,
                "side": "SELL" if step else "BUY", "qty": ("4", "1", "1", "2")[step],
                "price": f"{100 + (n * 7919) % 1000 / 100:.2f}", "fee": "0.0123", "ts": 1_767_323_045_000 + n,
            }  # fmt: skip
            file.write(json.dumps(said) + "\n")


def _bare(path: Path, events: int) -> float:
    """Seconds of an event that is read and parsed, and not looked at."""
    begun = _cpu()
    with path.open("rb") as file:
        for _, line in zip(range(events), file, strict=False):
            json.loads(line)
    return (_cpu() - begun) / events


def _cpu() -> float:
    found = os.times()
    return found.user + found.system


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
