"""What was recorded, in the order of time, with the time that it was recorded at. For a replay."""

from __future__ import annotations

import contextlib
import heapq
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

import orjson

from botobs.accounting.ledger import Ledger
from botobs.accounting.numbers import ZERO
from botobs.clock import epoch_ns
from botobs.safety.limits import decimal_of
from botobs.streams.reader import StreamReader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from decimal import Decimal
    from pathlib import Path

__all__ = ["Aftermath", "Record", "Tape", "TapeTime"]

_S: Final = 1_000_000_000
_LAST: Final = 1 << 62
_STREAMS: Final = (
    "equity_curve", "rejections", "trade_lifecycle", "execution", "connections", "health", "feature_log", "runs",
    "kill_switch", "alerts",
)  # fmt: skip

Record = dict[str, Any]


class Tape:
    """The records, in the order of time."""

    def __init__(self, data_dir: Path, start: str | None, end: str | None) -> None:
        self.reader = StreamReader(data_dir)
        self.unread = 0
        self._ledger = Ledger(data_dir, read_only=True)
        self._window = start, end
        transfers = [line for line in self._lines() if line["type"] == "transfer"]
        self._seqs = [line["seq"] for line in transfers]
        self._sums = list(accumulate((decimal_of(line.get("value")) or ZERO for line in transfers), initial=ZERO))
        self.unread = 0

    def moved(self, seq: int) -> Decimal:
        """All money moved in, less what was moved out, up to a line of the ledger."""
        return self._sums[bisect_right(self._seqs, seq)]

    def records(self) -> Iterator[tuple[int, str, Record]]:
        """When, from where, what."""
        sources = [self._booked(), *map(self._stream, _STREAMS)]
        for (ts_ns, _, _), source, record in heapq.merge(*sources, key=lambda item: item[0]):
            yield ts_ns, source, record

    def _stream(self, name: str) -> Iterator[tuple[tuple[int, int, int], str, Record]]:
        for record in self.reader.read(name, *self._window):
            try:
                ts_ns = epoch_ns(record["ts"])
            except (KeyError, TypeError, ValueError, OverflowError):
                self.unread += 1
                continue
            seq = record.get("seq") if name == "equity_curve" else None
            yield (ts_ns, seq if type(seq) is int else _LAST, 1), name, record

    def _booked(self) -> Iterator[tuple[tuple[int, int, int], str, Record]]:
        """Lines of the ledger when they came; what was imported came to no switch."""
        since, until = (None if each is None else epoch_ns(each) for each in self._window)
        for line in self._lines():
            try:
                ts_ns = epoch_ns(line.get("received") or line["ts"])
            except (KeyError, TypeError, ValueError, OverflowError):
                self.unread += 1
                continue
            inside = (since is None or since <= ts_ns) and (until is None or ts_ns < until)
            if inside and line.get("kind") != "import":
                yield (ts_ns, line["seq"], 0), "ledger", line

    def _lines(self) -> Iterator[Record]:
        for _, raw in self._ledger.lines():
            with contextlib.suppress(ValueError):
                line = orjson.loads(raw)
                if isinstance(line, dict) and type(line.get("seq")) is int and "type" in line:
                    yield line
                    continue
            self.unread += 1


class TapeTime:
    """Recorded time. Where a clock was set back, the steady one stands still."""

    def __init__(self) -> None:
        self.wall = 0
        self.steady = _S

    def time_ns(self) -> int:
        """The time of the record, in nanoseconds since 1970."""
        return self.wall

    def perf_ns(self) -> int:
        """Nanoseconds that never run backwards."""
        return self.steady

    def go_to(self, ns: int) -> None:
        """It is `ns` now."""
        if self.wall:
            self.steady += max(ns - self.wall, 0)
        if ns > self.wall or self.wall - ns > 5 * _S:  # threads hand in records slightly out of order
            self.wall = ns


class Aftermath:
    """Equity after each of many moments, in one pass: the lowest of each stretch between two of them."""

    def __init__(self) -> None:
        self.now: Decimal | None = None  # money moved left out
        self._stretches: list[tuple[Decimal, int] | None] = []

    def feed(self, ts_ns: int, equity: Decimal) -> None:
        """Equity, less what was moved in."""
        self.now = equity
        if self._stretches:
            low = self._stretches[-1]
            if low is None or equity < low[0]:
                self._stretches[-1] = equity, ts_ns

    def mark(self, ts_ns: int) -> None:
        """Here begins another stretch."""
        self._stretches.append(None if self.now is None else (self.now, ts_ns))

    def lows(self) -> list[tuple[Decimal, int] | None]:
        """The lowest from each mark up to the end."""
        lows: list[tuple[Decimal, int] | None] = []
        low: tuple[Decimal, int] | None = None
        for stretch in reversed(self._stretches):
            low = min((each for each in (stretch, low) if each is not None), default=None)
            lows.append(low)
        return lows[::-1]
